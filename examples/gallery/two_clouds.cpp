// The two clouds of attention, {K xᵢ} and {Q xⱼ}, with an edge from Q xᵢ to K xⱼ wherever Pᵢⱼ > 10⁻⁴, i ≠ j:
// at the start many tokens attend to many, in the end all edges lead to two tokens, the leaders. V = BBᵀ has
// a simple leading eigenvalue and M = QᵀK = CCᵀ is positive definite, so that Theorem 4.2 of arXiv:2305.05465
// holds: Mᵀxᵢ turns to ±Mᵀφ₁, and the leaders are the tokens farthest in these two directions.
#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"
#include "gallery/run.hpp"

#include <attnflow/numerics/matrix_exponential.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <set>
#include <vector>

namespace {

using Eigen::Index;
using figures::Figure;

constexpr Index n = 20, d = 2;
constexpr double end = 10, least_weight = 1e-4;

/// Whom somebody else attends to.
std::set<Index> attended(const Eigen::MatrixXd& P) {
  std::set<Index> attended;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      if (i != j && P(i, j) > least_weight) attended.insert(j);
  return attended;
}

/// x = e^{tV} z.
Eigen::MatrixXd tokens(const gallery::Run& run, const Eigen::MatrixXd& z, double t) {
  return attnflow::MatrixExponential<>(run.head.V)(t).plain() * z;
}

/// The clouds of x = e^{tV} z, each divided by its largest norm, as both grow like e^{λ₁t}.
Figure::Panel clouds(const gallery::Run& run, double t) {
  const auto k = static_cast<std::size_t>(std::ranges::lower_bound(run.times, t - 1e-9) - run.times.begin());
  const Eigen::MatrixXd x = tokens(run, run.z[k], run.times[k]);
  const auto cloud = [&](const Eigen::MatrixXd& W) -> Eigen::MatrixXd {
    const Eigen::MatrixXd y = W * x;
    return y / y.colwise().norm().maxCoeff();
  };
  const Eigen::MatrixXd keys = cloud(run.head.K), queries = cloud(run.head.Q);
  const Eigen::MatrixXd& P = run.P[k];

  Figure::Line edges{
      .label = "P_{ij} > 10^{−4}, i ≠ j", .colour = Figure::grey, .width = 0.7, .opacity = 0.5};
  int count = 0;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      if (i != j && P(i, j) > least_weight) {
        gallery::add_piece(edges, (Eigen::Matrix2d() << queries.col(i), keys.col(j)).finished());
        ++count;
      }
  char title[60];
  std::snprintf(title, sizeof title, "t = %.3g: %d edges", run.times[k], count);
  return {.title = title,
          .x = {.label = "first coordinate", .low = -1.1, .high = 1.1},
          .y = {.label = "second coordinate", .low = -1.1, .high = 1.1},
          .layers = {edges,
                     gallery::points(
                         {.label = "Q x_i", .colour = 1, .mark = Figure::Mark::square, .size = 3.5}, queries),
                     gallery::points({.label = "K x_j", .colour = 0, .size = 3.5}, keys),
                     gallery::points({.label = "K x_j of the leaders",
                                      .colour = Figure::black,
                                      .mark = Figure::Mark::diamond,
                                      .size = 6},
                                     keys(Eigen::placeholders::all_t(), run.analysis.found.leaders))},
          .equal = true,
          .legend = t == end};
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "two_clouds", "All attention goes to two leaders",
      "Tokens as queries and as keys, with an edge wherever one attends to another: in the end all edges "
      "lead to two tokens.");
  attnflow::Generator generator(13);
  const Eigen::MatrixXd B = attnflow::uniform_box(generator, d, d, -1, 1),
                        C = attnflow::uniform_box(generator, d, d, -1, 1);
  // P, and with it the motion, depends on QᵀK only: Q = CCᵀ and K = I show two clouds, Q = K = Cᵀ would show
  // one.
  const attnflow::Head<double> head{C * C.transpose(), Eigen::MatrixXd::Identity(d, d), B * B.transpose()};
  const gallery::Run run =
      gallery::follow(head, attnflow::uniform_box(generator, n, d, -1, 1), {.to = end, .count = 201});

  // Whether row i follows the one or the other end is decided by the sign of φ₁*(xᵢ) = e^{λ₁t} φ₁*(zᵢ).
  const Eigen::MatrixXd& z = run.z.back();
  const attnflow::InvariantSplitting& splitting = run.analysis.prediction.splitting;  // ℱ is the line of φ₁
  const Eigen::RowVectorXd side = splitting.inside_dual * z;
  const Eigen::RowVectorXd reach =
      (head.K.transpose() * (head.Q * splitting.inside)).transpose() * tokens(run, z, end);
  std::set<Index> farthest;
  Index low = 0, high = 0;
  reach.minCoeff(&low);
  reach.maxCoeff(&high);
  if (side.maxCoeff() > 0) farthest.insert(high);
  if (side.minCoeff() < 0) farthest.insert(low);
  const std::set<Index> leaders(run.analysis.found.leaders.begin(), run.analysis.found.leaders.end());
  exhibit.at_most("t = 10: distance to the hyperplanes of Theorem 4.2",
                  run.analysis.distance_to_prediction.value(), run.analysis.expected_distance.value());
  exhibit.at_most("t = 10: leaders", static_cast<double>(leaders.size()), 2);
  exhibit.claim("t = 10: leaders, and that they are farthest along ±Mᵀφ₁",
                static_cast<double>(leaders.size()), "those tokens", leaders == farthest);
  const std::set<Index> left = attended(run.P.back());
  exhibit.claim("t = 10: tokens that somebody else attends to", static_cast<double>(left.size()),
                "leaders only", std::ranges::includes(leaders, left));
  exhibit.note("tokens that somebody else attends to at t = 0",
               static_cast<double>(attended(run.P[0]).size()));
  exhibit.note("λ₂/λ₁ of V", run.analysis.prediction.splitting.V_outside(0, 0) /
                                 run.analysis.prediction.splitting.V_inside(0, 0));

  Figure figure{.title = "All attention goes to two leaders",
                .caption =
                    "n = 20, d = 2, x(0) uniform in [−1, 1]^2, V = BB^T, Q = CC^T, K = I, B and C uniform "
                    "in [−1, 1]. Each cloud is divided by its largest norm: both grow like e^{λ₁t}",
                .columns = 3,
                .panel_width = 340,
                .panel_height = 330};
  for (const double t : {0., 1., 2., 3., 4., end}) figure.panels.push_back(clouds(run, t));
  exhibit.figure(figure);
  exhibit.page(gallery::view_of(run, "All attention goes to two leaders"));
  exhibit.data(run);
  return exhibit.finish();
}
