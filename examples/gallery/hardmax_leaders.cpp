// Leaders of hardmax attention: layers z ← (z + α mean of C)/(1 + α), C the tokens with the largest ⟨z, zⱼ⟩, from the
// four starts of [AFZ24]. A token that is the only one in its own C leads: it rests, and goes on to lead. In the
// end every token is at a leader, or at the foot of the origin on a face of the leaders' polytope.
#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"

#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/systems/convex_layers.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using figures::Figure;

constexpr double alpha = 0.5;
constexpr long layers_run = 30;
constexpr std::array<std::size_t, 5> snapshots{0, 1, 2, 5, 30};

using Layers = attnflow::ConvexLayers<double, Eigen::Dynamic, attnflow::Hardmax>;

struct Start {
  std::string name, title;
  MatrixXd z0;
  std::vector<MatrixXd> z = {}, P = {};  // at every layer

  void follow() {
    const Layers layers(attnflow::Head<double>::identity(2), attnflow::convex_step(alpha));
    MatrixXd x = z0;
    for (long k = 0; k <= layers_run; ++k) {
      z.push_back(x);
      P.push_back(layers.attention(x));
      layers.apply(k, x);
    }
  }
  /// Whether token i attends to itself alone at layer k.
  [[nodiscard]] bool leads(std::size_t k, Index i) const { return P[k](i, i) == 1; }
  [[nodiscard]] MatrixXd leaders(std::size_t k) const {
    std::vector<Index> indices;
    for (Index i = 0; i < z0.cols(); ++i)
      if (leads(k, i)) indices.push_back(i);
    return z[k](Eigen::placeholders::all_t(), indices);
  }
};

std::array<Start, 4> starts() {
  attnflow::Generator generator(5);
  const auto with = [&](const MatrixXd& given, Index more, double size) {
    MatrixXd z(2, given.cols() + more);
    z << given, attnflow::uniform_box(generator, more, 2, -size, size);
    return z;
  };
  MatrixXd late(2, 8), triangle(2, 5), square(2, 4), tied(2, 6);
  late << 1, -1 / 12.0, -1, 0, -0.3, -0.6, 0.8, 0.6, 1 / 3.0, 1 / 12.0, -1, 0.25, -0.7, -0.9, 0.1, 0.15;
  triangle << 1, 0.5, -1, 0.3, 0.1, 1, -0.5, -1, -0.2, -0.2;
  MatrixXd shares = attnflow::uniform_box(generator, 4, 3, 0, 1), inside(2, 9);
  for (auto share : shares.colwise()) share /= share.sum();
  inside << triangle, triangle.leftCols(3) * shares;
  square << 1, 1, -1, -1, 1, -1, 1, -1;
  tied << square, Eigen::Vector2d(0.5, 0), Eigen::Vector2d(-0.5, 0);
  return {Start{"late", "a late leader", late}, Start{"triangle", "a triangle", inside},
          Start{"square", "a square", with(square, 6, 0.5)},
          Start{"tied", "tied tokens", with(tied, 4, 0.5)}};
}

/// Where tokens may end: the leaders, and the feet of the origin on the edges of their polytope and on all of it.
MatrixXd candidates(const MatrixXd& leaders) {
  std::vector<Index> hull = attnflow::convex_hull(leaders);
  MatrixXd found = leaders(Eigen::placeholders::all_t(), hull);
  const auto add = [&](const Eigen::Vector2d& point) {
    found.conservativeResize(2, found.cols() + 1);
    found.col(found.cols() - 1) = point;
  };
  hull.push_back(hull[0]);
  bool inside = hull.size() > 3;
  for (std::size_t k = 0; k + 1 < hull.size(); ++k) {
    const Eigen::Vector2d a = leaders.col(hull[k]), edge = leaders.col(hull[k + 1]) - a;
    const double share = -a.dot(edge) / edge.squaredNorm();
    if (share > 0 && share < 1) add(a + share * edge);
    inside = inside && edge.x() * a.y() - edge.y() * a.x() < 0;
  }
  if (inside) add(Eigen::Vector2d::Zero());
  return found;
}

/// The cluster of each token in the end, from 0.
std::vector<int> clusters(const Start& s) {
  std::vector<int> labels;
  for (const Index label : attnflow::detect_clusters(s.z.back(), 1e-3).labels)
    labels.push_back(static_cast<int>(label));
  return labels;
}

void claims(gallery::Exhibit& exhibit, const Start& s) {
  Index lost = 0;
  double moved = 0;
  for (std::size_t k = 0; k + 1 < s.z.size(); ++k)
    for (Index i = 0; i < s.z0.cols(); ++i)
      if (s.leads(k, i)) {
        if (!s.leads(k + 1, i)) ++lost;
        moved = std::max(moved, (s.z[k + 1].col(i) - s.z[k].col(i)).norm());
      }
  exhibit.equal(s.title + ": leaders that cease to lead", static_cast<double>(lost), 0);
  exhibit.equal(s.title + ": how far a leader moves", moved, 0);
  const MatrixXd leaders = s.leaders(layers_run), points = candidates(leaders);
  double off = 0;
  for (const auto& end : s.z.back().colwise())
    off = std::max(off, (points.colwise() - end).colwise().norm().minCoeff());
  // 30 layers leave (2/3)^30 = 5e-6 of a distance below 2, and a few more where it was another leader at first.
  exhibit.at_most(s.title + ": distance to leaders and feet of the origin at layer 30", off, 1e-4);
  const std::vector<int> labels = clusters(s);
  const int count = 1 + *std::ranges::max_element(labels);
  exhibit.note(s.title + ": leaders at layer 30", static_cast<double>(leaders.cols()));
  exhibit.note(s.title + ": clusters at layer 30", count);
  if (s.name == "late") {
    std::size_t first = 0;
    while (s.leaders(first).cols() < leaders.cols()) ++first;
    exhibit.equal(s.title + ": leaders at the start", static_cast<double>(s.leaders(0).cols()), 2);
    exhibit.equal(s.title + ": leaders at the end", static_cast<double>(leaders.cols()), 3);
    exhibit.at_least(s.title + ": layer of the third", static_cast<double>(first), 1);
  }
  if (s.name == "tied")
    exhibit.equal(s.title + ": clusters that are no leaders", count - static_cast<double>(leaders.cols()), 2);
}

/// Tokens of one layer, whom they follow, and who leads.
Figure::Panel panel(const Start& s, std::size_t k) {
  Figure::Line follows{.label = "", .colour = Figure::grey, .width = 0.7, .opacity = 0.7};
  for (Index i = 0; i < s.z0.cols(); ++i)
    for (Index j = 0; j < s.z0.cols(); ++j)
      if (i != j && s.P[k](i, j) > 0)
        gallery::add_piece(follows, (Eigen::Matrix2d() << s.z[k].col(i), s.z[k].col(j)).finished());
  Figure::Polygon limit{.label = "", .colour = Figure::grey, .dashed = true, .opacity = 0.08};
  const MatrixXd corners = s.leaders(layers_run);
  gallery::add(limit, corners(Eigen::placeholders::all_t(), attnflow::convex_hull(corners)));
  std::vector<int> colours = clusters(s);
  return {.title = (k == 0 ? s.title + ", layer " : "layer ") + std::to_string(k),
          .x = {.label = "", .low = -1.25, .high = 1.25},
          .y = {.label = "", .low = -1.25, .high = 1.25},
          .layers = {limit, follows,
                     gallery::points(
                         {.label = "", .colour = Figure::black, .mark = Figure::Mark::diamond, .size = 7.5},
                         s.leaders(k)),
                     gallery::points({.label = "", .colours = colours, .size = 3.5}, s.z[k])},
          .equal = true,
          .legend = false};
}

attnflow::View view_of(const Start& s) {
  attnflow::View view;
  view.title = "Leaders of hardmax attention: " + s.title;
  view.note = "the time is the layer";
  view.tokens = s.z0.cols();
  view.axes = {"z₁", "z₂"};
  view.clusters = clusters(s);
  attnflow::View::Series count{"leaders", {}};
  for (std::size_t k = 0; k < s.z.size(); ++k) {
    view.times.push_back(static_cast<double>(k));
    view.positions.insert(view.positions.end(), s.z[k].data(), s.z[k].data() + s.z[k].size());
    const Eigen::MatrixXf rows = s.P[k].cast<float>().transpose();
    view.attention.insert(view.attention.end(), rows.data(), rows.data() + rows.size());
    count.values.push_back(static_cast<double>(s.leaders(k).cols()));
  }
  for (Index i = 0; i < s.z0.cols(); ++i)
    if (s.leads(layers_run, i)) view.leaders.push_back(i);
  view.series = {count};
  view.parameters = {{"α", "0.5"}, {"law", "hardmax, ties averaged"}, {"A", "I"}};
  return view;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(argc, argv, "hardmax_leaders", "Leaders of hardmax attention",
                           "Who attends to itself alone leads: leaders rest and only grow in number, and "
                           "every token comes to a leader or to "
                           "the foot of the origin on a face between leaders.");
  Figure figure{
      .title = "Leaders of hardmax attention",
      .caption =
          "z ← (z + α m)/(1 + α), m the mean of the tokens with the largest ⟨z, z_j⟩, α = 0.5. Lines: who "
          "attends to whom; diamonds: leaders; colours: clusters at layer 30; dashed: the polytope of "
          "the leaders at layer 30",
      .columns = static_cast<int>(snapshots.size()),
      .panel_width = 250,
      .panel_height = 250};
  for (Start& s : starts()) {
    s.follow();
    claims(exhibit, s);
    for (const std::size_t k : snapshots) figure.panels.push_back(panel(s, k));
    exhibit.page(view_of(s), s.name);
  }
  exhibit.figure(figure);
  return exhibit.finish();
}
