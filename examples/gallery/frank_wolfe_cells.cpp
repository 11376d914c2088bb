// Hard attention as Frank and Wolfe's method, x ← (1 − γ) x + γ v, v the token with the largest ⟨B x, v⟩ [AGR25]. For
// B > 0 and a polygon each of whose vertices attends to itself, every token goes straight to the vertex of its cell,
//
//     xᵏ = p x⁰ + (1 − p) v,   p = ∏ (1 − γₛ) over s < k:
//
// it arrives if ∑ γₛ = ∞. For B < 0 tokens need not come to the origin: 3 and −1 on the line both end at 1/3.
#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"

#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/systems/convex_layers.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::Matrix2d;
using Eigen::MatrixXd;
using Eigen::Vector2d;
using figures::Figure;

using Layers = attnflow::ConvexLayers<double, Eigen::Dynamic, attnflow::Hardmax>;

constexpr Index corners = 7, others = 40;
constexpr double margin =
    0.02;  // by which scores differ: every vertex is well inside its cell, tokens are in one

/// Scores ⟨B x, y⟩.
attnflow::Head<double> form(const MatrixXd& B) {
  const MatrixXd identity = MatrixXd::Identity(B.rows(), B.rows());
  return {B, identity, identity};
}

/// The vertex whose cell x is in, and by how much it wins.
std::pair<Index, double> winner(const MatrixXd& vertices, const Matrix2d& B, const Vector2d& x) {
  Eigen::VectorXd scores = vertices.transpose() * (B * x);
  Index best = 0;
  const double most = scores.maxCoeff(&best);
  scores(best) = -1e9;
  return {best, most - scores.maxCoeff()};
}

/// Corners in turn, at random radii and angles, drawn until each wins its own cell and all are extreme.
MatrixXd polygon(attnflow::Generator& generator, const Matrix2d& B) {
  for (;;) {
    const MatrixXd draw = attnflow::uniform_box(generator, corners, 2, 0, 1);
    MatrixXd v(2, corners);
    for (Index j = 0; j < corners; ++j) {
      const double angle = 2 * std::numbers::pi * (static_cast<double>(j) + 0.6 * draw(0, j)) / corners;
      v.col(j) = (0.7 + 0.3 * draw(1, j)) * Vector2d(std::cos(angle), std::sin(angle));
    }
    bool good = true;
    for (Index j = 0; j < corners; ++j) {
      const auto [best, gap] = winner(v, B, v.col(j));
      const Vector2d a = v.col((j + 1) % corners) - v.col(j), b = v.col((j + 2) % corners) - v.col(j);
      good = good && best == j && gap > margin && a.x() * b.y() - a.y() * b.x() > margin;
    }
    if (good) return v;
  }
}

/// What of a convex polygon lies in {⟨u, x⟩ ≥ 0}, by Sutherland and Hodgman.
std::vector<Vector2d> clip(const std::vector<Vector2d>& shape, const Vector2d& u) {
  std::vector<Vector2d> kept;
  for (std::size_t k = 0; k < shape.size(); ++k) {
    const Vector2d &a = shape[k], &b = shape[(k + 1) % shape.size()];
    const double from = u.dot(a), to = u.dot(b);
    if (from >= 0) kept.push_back(a);
    if (from * to < 0) kept.push_back(a + from / (from - to) * (b - a));
  }
  return kept;
}

/// The vertices, and tokens inside each of which is in one cell.
struct Cells {
  std::string title;
  Matrix2d B;
  MatrixXd start;
  std::vector<int> goal;

  Cells(std::string name, const Matrix2d& form, attnflow::Generator& generator)
      : title(std::move(name)), B(form), start(2, corners + others) {
    start.leftCols(corners) = polygon(generator, B);
    for (Index j = 0; j < corners; ++j) goal.push_back(static_cast<int>(j));
    for (Index i = corners; i < start.cols();) {
      const MatrixXd draw = attnflow::uniform_box(generator, 1, 2, -1, 1);
      start.col(i) = draw.col(0);
      bool inside = true;
      for (Index j = 0; j < corners; ++j) {
        const Vector2d a = start.col(j), edge = start.col((j + 1) % corners) - a, to = draw.col(0) - a;
        inside = inside && edge.x() * to.y() - edge.y() * to.x() > 0;
      }
      const auto [best, gap] = winner(vertices(), B, draw.col(0));
      if (!inside || gap < margin) continue;
      goal.push_back(static_cast<int>(best));
      ++i;
    }
  }
  [[nodiscard]] MatrixXd vertices() const { return start.leftCols(corners); }
  [[nodiscard]] MatrixXd goals() const { return start(Eigen::placeholders::all_t(), goal); }

  /// {x in the polygon: ⟨B x, v − v_l⟩ ≥ 0 for all l}.
  [[nodiscard]] Figure::Polygon cell(Index j) const {
    std::vector<Vector2d> shape;
    for (Index l = 0; l < corners; ++l) shape.emplace_back(start.col(l));
    for (Index l = 0; l < corners; ++l)
      if (l != j) shape = clip(shape, B.transpose() * (start.col(j) - start.col(l)));
    Figure::Polygon polygon{.label = "", .colour = static_cast<int>(j), .opacity = 0.2};
    for (const Vector2d& corner : shape) gallery::add(polygon, corner);
    return polygon;
  }
  [[nodiscard]] Figure::Panel panel(const std::vector<MatrixXd>& states) const {
    Figure::Panel panel{.title = title, .x = {"x_1"}, .y = {"x_2"}, .equal = true, .legend = false};
    for (Index j = 0; j < corners; ++j) panel.layers.emplace_back(cell(j));
    gallery::add_paths(panel, {.label = "", .width = 0.9}, states, goal);
    panel.layers.emplace_back(gallery::points({.label = "", .colours = goal, .size = 2.5}, start));
    std::vector<int> own(goal.begin(), goal.begin() + corners);
    panel.layers.emplace_back(
        gallery::points({.label = "", .colours = own, .mark = Figure::Mark::diamond, .size = 6}, vertices()));
    return panel;
  }
};

struct Steps {
  std::string name;
  Layers::Schedule gamma;
};

/// Runs the layers, holds them against the solution, and draws what is left of the distances.
std::vector<MatrixXd> follow(gallery::Exhibit& exhibit, const Cells& cells, const Steps& steps, long count,
                             Figure::Panel& distances, int colour) {
  const Layers layers(form(cells.B), steps.gamma);
  std::vector<MatrixXd> states{cells.start};
  const MatrixXd goals = cells.goals();
  Figure::Line left{.label = steps.name, .colour = colour};
  double off = 0, moved = 0, p = 1;
  for (long k = 0; k <= count; ++k) {
    MatrixXd x = states.back();
    off = std::max(off, (x - p * cells.start - (1 - p) * goals).cwiseAbs().maxCoeff());
    moved = std::max(moved, (x.leftCols(corners) - cells.vertices()).cwiseAbs().maxCoeff());
    left.x.push_back(static_cast<double>(k));
    left.y.push_back(
        ((x - goals).colwise().norm().array() / (cells.start - goals).colwise().norm().array().max(1e-300))
            .maxCoeff());
    p *= 1 - layers.gamma(k);
    layers.apply(k, x);
    states.push_back(x);
  }
  const std::string where = cells.title + ", " + steps.name;
  exhibit.at_most(where + ": distance to the explicit solution", off, 1e-14);
  exhibit.equal(where + ": how far a vertex moves", moved, 0);
  distances.layers.emplace_back(std::move(left));
  return states;
}

/// d = 1, B = −1, tokens 3 and −1, γₖ = 2/(k + 2).
Figure::Panel line(gallery::Exhibit& exhibit) {
  const Layers layers(form(-MatrixXd::Identity(1, 1)), attnflow::frank_wolfe_step);
  MatrixXd x = (MatrixXd(1, 2) << 3, -1).finished();
  Figure::Panel panel{.title = "B < 0 on the line: 3 and −1",
                      .x = {.label = "layer", .low = 0, .high = 20, .whole = true},
                      .y = {"x"}};
  std::array<Figure::Line, 2> paths;
  for (std::size_t i = 0; i < 2; ++i)
    paths[i] = {.label = i == 0 ? "from 3" : "from −1", .colour = static_cast<int>(i)};
  for (long k = 0; k < 20000; ++k) {
    for (Index i = 0; i < 2 && k <= 20; ++i) {
      paths[static_cast<std::size_t>(i)].x.push_back(static_cast<double>(k));
      paths[static_cast<std::size_t>(i)].y.push_back(x(i));
    }
    layers.apply(k, x);
  }
  // The upper one is 8/(k (k + 1)) above the other, which is at 1/3 from k = 2 on.
  exhibit.at_most("3 and −1 both end at 1/3: distance after 20000 layers",
                  (x.array() - 1 / 3.0).abs().maxCoeff(), 3e-8);
  for (const double level : {0.0, 1 / 3.0})
    panel.layers.emplace_back(Figure::Line{.label = level == 0 ? "origin" : "1/3",
                                           .x = {0, 20},
                                           .y = {level, level},
                                           .colour = level == 0 ? Figure::grey : Figure::black,
                                           .width = 1,
                                           .dashed = true});
  for (Figure::Line& path : paths) panel.layers.emplace_back(std::move(path));
  return panel;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(argc, argv, "frank_wolfe_cells", "Hard attention is a Frank–Wolfe method",
                           "For B > 0 a token goes straight to the vertex that dominates its cell, and "
                           "arrives if the steps do not sum up; "
                           "for B < 0 tokens may end elsewhere than at the origin.");
  attnflow::Generator generator(11);
  const Cells plain("B = I", Matrix2d::Identity(), generator),
      tilted("B = [1.3, 0.5; 0.5, 0.6]", (Matrix2d() << 1.3, 0.5, 0.5, 0.6).finished(), generator);
  const std::array<Steps, 3> steps{
      Steps{"γ = 0.2", [](long) { return 0.2; }},
      Steps{"γ_k = 1/(k + 2)", [](long k) { return 1 / (static_cast<double>(k) + 2); }},
      Steps{"γ_k = 2^{−k−1}",
            [](long k) { return std::ldexp(1.0, static_cast<int>(-(std::min)(k, 1000L)) - 1); }}};
  Figure::Panel distances{
      .title = "what is left of the distance to the vertex",
      .x = {"layer"},
      .y = {.label = "max_i |x_i^k − v_i|/|x_i^0 − v_i|", .low = 1e-6, .high = 2, .logarithmic = true}};
  Figure figure{.title = "Hard attention is a Frank–Wolfe method",
                .caption = "x ← (1 − γ) x + γ v, v the token with the largest ⟨B x, v⟩; " +
                           std::to_string(corners) +
                           " random vertices (diamonds), their dominance cells, and " +
                           std::to_string(others) + " random tokens with their paths",
                .columns = 2};
  std::vector<MatrixXd> first;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    std::vector<MatrixXd> states = follow(exhibit, plain, steps[s], 60, distances, static_cast<int>(s));
    if (s == 0) first = std::move(states);
  }
  // ∏ (1 − 2^{−k}) over k ≥ 1: they do not arrive.
  const auto& stuck = std::get<Figure::Line>(distances.layers.back()).y.back();
  exhibit.claim("γ_k = 2^{−k−1}: what is left after 60 layers", stuck, "0.288788 within 1e-6",
                std::abs(stuck - 0.288788095) < 1e-6);
  Figure::Panel unused;
  const std::vector<MatrixXd> second = follow(exhibit, tilted, steps[0], 60, unused, 0);
  figure.panels = {plain.panel(first), tilted.panel(second), distances, line(exhibit)};
  exhibit.figure(figure);
  return exhibit.finish();
}
