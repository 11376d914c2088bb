// Tokens run to the vertices of a convex polytope: Q = K = V = I, in the plane and in space.
// arXiv:2305.05465, Theorem 3.1: hulls are nested, conv{zᵢ(t)} → 𝒦, and every zᵢ(t) tends to a point of the
// finite set 𝒮 of the points of 𝒦 that no vertex attracts more than they attract themselves. Vertices of 𝒦
// are leaders.
#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"
#include "gallery/run.hpp"

#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/geometry/distance_to_hull.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/prediction/limit_candidates.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using figures::Figure;

constexpr double end = 16;

gallery::Run run(Index n, Index d, std::uint64_t seed) {
  attnflow::Generator generator(seed);
  return gallery::follow(attnflow::Head<double>::identity(d), attnflow::uniform_box(generator, n, d, -5, 5),
                         {.to = end, .count = 161});
}

/// Where tokens go: a vertex of the hull that is left when followers are as near as e^{−t} to their leaders.
Eigen::MatrixXd vertices(const gallery::Run& run) {
  return run.z.back()(Eigen::placeholders::all_t(), run.analysis.found.hull_vertices.value());
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
  const double rate = fit ? fit->rate : std::nan("");
  exhibit.claim(where + ": rate of approach", rate, "1 within 0.01", std::abs(rate - 1) < 0.01);
}

/// The limit as it is drawn, then the tokens on their way to it.
std::vector<Figure::Layer> tokens(const gallery::Run& run, std::vector<Figure::Layer> layers) {
  layers.push_back(
      gallery::paths({.label = "paths", .colour = Figure::grey, .width = 0.8, .opacity = 0.8}, run.z));
  layers.push_back(gallery::points({.label = "z(0)", .colour = Figure::black, .size = 2.5}, run.z[0]));
  layers.push_back(gallery::points(
      {.label = "vertices of the limit", .mark = Figure::Mark::diamond, .size = 6}, vertices(run)));
  return layers;
}

Figure::Panel plane(const gallery::Run& run) {
  Figure::Panel panel{.title = "in the plane, n = 20", .x = {"z_1"}, .y = {"z_2"}, .equal = true};
  Figure::Polygon limit{.label = "limit", .colour = 1};
  gallery::add(limit, vertices(run));
  panel.layers =
      tokens(run, {limit, gallery::hulls({.label = "conv z(t), t = 0, 0.5, …, 5", .colour = 1, .width = 0.8},
                                         std::span(run.z).first(51), 5)});
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
    gallery::add_piece(line, corners(Eigen::placeholders::all_t(), std::array{a, b}));
  panel.layers = tokens(run, {line});
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
  approach.layers = {Figure::Line{.label = "plane", .x = flat.times, .y = errors(flat), .colour = 0},
                     Figure::Line{.label = "space", .x = solid.times, .y = errors(solid), .colour = 1},
                     gallery::exponential({.label = "30 e^{−t}", .colour = Figure::black, .dashed = true},
                                          flat.times, 30, -1)};
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
