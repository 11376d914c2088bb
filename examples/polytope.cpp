// Tokens run to the vertices of a convex polytope: Q = K = V = I, in the plane and in space.
// arXiv:2305.05465, Theorem 3.1: hulls are nested, conv{zᵢ(t)} → 𝒦, and every zᵢ(t) tends to a point of the
// finite set 𝒮 of the points of 𝒦 that no vertex attracts more than they attract themselves. Vertices of 𝒦
// are leaders.
#include "gallery/exhibit.hpp"
#include "gallery/run.hpp"

#include <attnflow/clustering/convergence_rate.hpp>
#include <attnflow/polytope/convex_hull.hpp>
#include <attnflow/polytope/distance_to_hull.hpp>
#include <attnflow/polytope/limit_candidates.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using attnflow::Figure;
using Eigen::Index;

constexpr double end = 16, gap = std::numeric_limits<double>::quiet_NaN();

gallery::Run run(Index n, Index d, std::uint64_t seed) {
  attnflow::Generator generator(seed);
  return gallery::follow(attnflow::Head<double>::identity(d), attnflow::uniform_box(generator, n, d, -5, 5),
                         {.to = end, .count = 161});
}

/// Where tokens go: a vertex of the hull that is left when followers are as near as e^{−t} to their leaders.
Eigen::MatrixXd vertices(const gallery::Run& run) {
  return run.z.back()(Eigen::all, run.analysis.found.hull_vertices.value());
}

/// The largest distance of a token to the leader that it ends with, at each time.
std::vector<double> errors(const gallery::Run& run) {
  Eigen::MatrixXd goals = run.z.back();
  const Eigen::MatrixXd corners = vertices(run);
  for (Index i = 0; i < goals.cols(); ++i) {
    Index nearest = 0;
    (corners.colwise() - goals.col(i)).colwise().norm().minCoeff(&nearest);
    goals.col(i) = corners.col(nearest);
  }
  std::vector<double> errors;
  for (const Eigen::MatrixXd& z : run.z) errors.push_back((z - goals).colwise().norm().maxCoeff());
  return errors;
}

void claims(gallery::Exhibit& exhibit, const gallery::Run& run, const std::string& where) {
  // A later token outside of an earlier hull is what the integrator erred: 1e-9 of |z| < 10 in a few steps.
  double outside = 0;
  for (std::size_t k = 1; k < run.z.size(); ++k)
    outside = std::max(outside, attnflow::hull_hausdorff(run.z[k], run.z[k - 1]));
  exhibit.at_most(where + ": conv z(t) is nested, reach beyond the hull 0.1 before", outside, 1e-8);
  exhibit.at_most(where + ": distance of the tokens at t = 16 to 𝒮",
                  run.analysis.distance_to_prediction.value(), run.analysis.expected_distance.value());
  const Eigen::MatrixXd corners = vertices(run),
                        identity = Eigen::MatrixXd::Identity(corners.rows(), corners.rows());
  exhibit.at_most(where + ": vertices attend to themselves, max_k ⟨v, v_k⟩/|v|² − 1",
                  attnflow::self_attention_residual(identity, corners).maxCoeff(), 1e-6);
  exhibit.equal(where + ": leaders are as many as vertices",
                static_cast<double>(run.analysis.found.leaders.size()), static_cast<double>(corners.cols()));
  // Once all rows of P are Boolean, zᵢ − z_leader falls exactly like e^{−t}; a slow row delays the window.
  const auto fit = attnflow::fit_exponential_rate(run.times, errors(run), {.low = 1e-5, .high = 0.1});
  const double rate = fit ? fit->rate : gap;
  exhibit.claim(where + ": rate of approach", rate, "1 within 0.01", std::abs(rate - 1) < 0.01);
}

std::vector<double> numbers(const auto& row) { return {row.begin(), row.end()}; }

/// The paths of all tokens, in one line with gaps.
Figure::Line paths(const gallery::Run& run) {
  Figure::Line line{.label = "paths", .colour = Figure::grey, .width = 0.8, .opacity = 0.8};
  const bool space = run.z[0].rows() == 3;
  for (Index i = 0; i < run.z[0].cols(); ++i) {
    for (const Eigen::MatrixXd& z : run.z) {
      line.x.push_back(z(0, i));
      line.y.push_back(z(1, i));
      if (space) line.z.push_back(z(2, i));
    }
    for (auto* coordinate : {&line.x, &line.y}) coordinate->push_back(gap);
    if (space) line.z.push_back(gap);
  }
  return line;
}

Figure::Points points(const Eigen::MatrixXd& z, const std::string& label, int colour, Figure::Mark mark,
                      double size) {
  Figure::Points points{.label = label,
                        .x = numbers(z.row(0)),
                        .y = numbers(z.row(1)),
                        .colour = colour,
                        .mark = mark,
                        .size = size};
  if (z.rows() == 3) points.z = numbers(z.row(2));
  return points;
}

Figure::Panel plane(const gallery::Run& run) {
  Figure::Panel panel{.title = "in the plane, n = 20", .x = {"z_1"}, .y = {"z_2"}, .equal = true};
  Figure::Line hulls{.label = "conv z(t), t = 0, 0.5, …, 5", .colour = 1, .width = 0.8};
  for (std::size_t k = 0; k <= 50; k += 5) {
    std::vector<Index> hull = attnflow::convex_hull(run.z[k]);
    hull.push_back(hull[0]);
    for (const Index i : hull) {
      hulls.x.push_back(run.z[k](0, i));
      hulls.y.push_back(run.z[k](1, i));
    }
    hulls.x.push_back(gap);
    hulls.y.push_back(gap);
  }
  const Eigen::MatrixXd corners = vertices(run);
  panel.layers.push_back(Figure::Polygon{
      .label = "limit", .x = numbers(corners.row(0)), .y = numbers(corners.row(1)), .colour = 1});
  panel.layers.push_back(hulls);
  panel.layers.push_back(paths(run));
  panel.layers.push_back(points(run.z[0], "z(0)", Figure::black, Figure::Mark::circle, 2.5));
  panel.layers.push_back(points(corners, "vertices of the limit", 0, Figure::Mark::diamond, 6));
  return panel;
}

Figure::Panel space(const gallery::Run& run) {
  Figure::Panel panel{
      .title = "in space, n = 40", .x = {"z_1"}, .y = {"z_2"}, .z = {"z_3"}, .equal = true, .legend = false};
  const Eigen::MatrixXd corners = vertices(run);
  std::set<std::pair<Index, Index>> edges;
  for (const auto& facet : attnflow::hull_facets(corners).facets)
    for (std::size_t k = 0; k < 3; ++k) edges.insert(std::minmax(facet[k], facet[(k + 1) % 3]));
  Figure::Line line{.label = "limit", .colour = 1, .width = 1.5};
  for (const auto& [a, b] : edges)
    for (const auto& [coordinate, k] : {std::pair{&line.x, 0}, {&line.y, 1}, {&line.z, 2}})
      coordinate->insert(coordinate->end(), {corners(k, a), corners(k, b), gap});
  panel.layers = {line, paths(run), points(run.z[0], "z(0)", Figure::black, Figure::Mark::circle, 2.5),
                  points(corners, "vertices of the limit", 0, Figure::Mark::diamond, 6)};
  return panel;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "polytope", "Tokens run to the vertices of a polytope",
      "With Q = K = V = I every token, seen at the scale e^t, follows a leader; the leaders are the "
      "vertices of a convex polytope, and all hulls on the way are nested (Theorem 3.1).");
  const gallery::Run flat = run(20, 2, 1), solid = run(40, 3, 3);
  exhibit.progress(0.5);
  claims(exhibit, flat, "plane");
  claims(exhibit, solid, "space");
  exhibit.note("vertices in the plane", static_cast<double>(vertices(flat).cols()));
  exhibit.note("vertices in space", static_cast<double>(vertices(solid).cols()));

  Figure::Panel approach{
      .title = "the last token arrives",
      .x = {"t"},
      .y = {.label = "max_i |z_i(t) − z_{leader(i)}(16)|", .low = 1e-7, .high = 50, .logarithmic = true}};
  std::vector<double> reference;
  for (const double t : flat.times) reference.push_back(30 * std::exp(-t));
  approach.layers = {
      Figure::Line{.label = "plane", .x = flat.times, .y = errors(flat), .colour = 0},
      Figure::Line{.label = "space", .x = solid.times, .y = errors(solid), .colour = 1},
      Figure::Line{
          .label = "30 e^{−t}", .x = flat.times, .y = reference, .colour = Figure::black, .dashed = true}};
  exhibit.figure({.title = "Tokens run to the vertices of a polytope",
                  .caption = "Q = K = V = I, z(0) uniform in [−5, 5]^d, seeds 1 and 3, paths up to t = 16",
                  .panels = {plane(flat), space(solid), approach},
                  .columns = 3,
                  .panel_height = 400});
  exhibit.page(gallery::view_of(flat, "Tokens run to the vertices of a polygon"));
  exhibit.page(gallery::view_of(solid, "Tokens run to the vertices of a polytope"), "space");
  exhibit.data(flat);
  exhibit.data(solid, "space");
  return exhibit.finish();
}
