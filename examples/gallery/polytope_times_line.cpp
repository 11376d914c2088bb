// Tokens run to vertical lines over the vertices of a polygon: V = diag(1, 1, −½), Q = K = I.
// arXiv:2305.05465, Theorem 5.2, with ℱ the plane of z₁, z₂ and 𝒢 the line of z₃: what a token is in ℱ tends
// to a vertex of a polygon, what it is in 𝒢 need not converge. It diverges, at a known rate: once row i of P
// is Boolean with leader l,
//
//     d/dt (z₃ᵢ − z₃ₗ) = ½ (z₃ᵢ − z₃ₗ),   so that   z₃ᵢ − z₃ₗ = const · e^{t/2}.
#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"
#include "gallery/run.hpp"

#include <attnflow/geometry/distance_to_hull.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace {

using Eigen::Index;
using figures::Figure;

constexpr double end = 12, shown = 4;

/// Which vertex a token ends at, as the number of its leader.
std::vector<Index> leaders(const gallery::Run& run) {
  const std::vector<Index>& vertices = run.analysis.found.hull_vertices.value();
  const Eigen::MatrixXd flat = run.z.back().topRows(2),
                        corners = flat(Eigen::placeholders::all_t(), vertices);
  std::vector<Index> leaders;
  for (Index i = 0; i < flat.cols(); ++i) {
    Index nearest = 0;
    (corners.colwise() - flat.col(i)).colwise().norm().minCoeff(&nearest);
    leaders.push_back(vertices[static_cast<std::size_t>(nearest)]);
  }
  return leaders;
}

/// maxᵢ |aᵢ(t) − a_leader(i)(t)| at each time, a some of the coordinates.
std::vector<double> offsets(const gallery::Run& run, Index first, Index count) {
  const std::vector<Index> leader = leaders(run);
  std::vector<double> offsets;
  for (const Eigen::MatrixXd& z : run.z)
    offsets.push_back(
        (z - z(Eigen::placeholders::all_t(), leader)).middleRows(first, count).colwise().norm().maxCoeff());
  return offsets;
}

void claims(gallery::Exhibit& exhibit, const gallery::Run& run) {
  exhibit.at_most("(z₁, z₂) at t = 12: distance to 𝒮 of the polygon",
                  run.analysis.distance_to_prediction.value(), run.analysis.expected_distance.value());
  double outside = 0;  // of what the integrator errs: 1e-9 of |z| < 10 in a few steps
  for (std::size_t k = 1; k < run.z.size(); ++k)
    outside = std::max(outside, attnflow::hull_hausdorff(run.z[k].topRows(2), run.z[k - 1].topRows(2)));
  exhibit.at_most("the polygon conv (z₁, z₂)(t) is nested, reach beyond the one 0.1 before", outside, 1e-8);
  exhibit.equal("leaders are as many as vertices", static_cast<double>(run.analysis.found.leaders.size()),
                static_cast<double>(run.analysis.found.hull_vertices->size()));
  // The rates are exact while P is Boolean, which it is to 1e-6 before t = 6 unless a token starts near a
  // border.
  const std::vector<double> flat = offsets(run, 0, 2), third = offsets(run, 2, 1);
  const auto fit = attnflow::fit_exponential_rate(run.times, flat, {.low = 1e-4, .high = 0.02});
  const double approach = fit ? fit->rate : std::nan("");
  exhibit.claim("rate of approach in (z₁, z₂)", approach, "1 within 0.01", std::abs(approach - 1) < 0.01);
  const std::size_t half = run.times.size() / 2;
  const double growth = std::log(third.back() / third[half]) / (run.times.back() - run.times[half]);
  exhibit.claim("rate of growth of max |z₃ − z₃ of the leader| from t = 6 on", growth, "1/2 within 0.001",
                std::abs(growth - 0.5) < 0.001);
  // |x₃ᵢ(t)| ≤ e^{t/2} maxⱼ |z₃ⱼ(0)|, as every eigenvalue of V bounds its coordinate of x; and z₃ = e^{t/2}
  // x₃.
  double largest = 0;
  for (std::size_t k = 1; k < run.z.size(); ++k)
    largest = std::max(largest, run.z[k].row(2).cwiseAbs().maxCoeff() * std::exp(-run.times[k]));
  exhibit.at_most("max |z₃(t)| e^{−t} over max |z₃(0)|, t ≥ 0.1",
                  largest / run.z[0].row(2).cwiseAbs().maxCoeff(), 1);
  exhibit.note("max |z₃| at t = 12", run.z.back().row(2).cwiseAbs().maxCoeff());
}

/// The paths of the early run, and a vertical line over each vertex of the limit.
Figure::Panel space(const gallery::Run& run, const gallery::Run& early) {
  const Eigen::MatrixXd& now = early.z.back();
  const double low = now.row(2).minCoeff(), high = now.row(2).maxCoeff();
  Figure::Line lines{.label = "line over a vertex", .colour = 1, .width = 1.5, .dashed = true};
  for (const Index v : run.analysis.found.hull_vertices.value()) {
    Eigen::MatrixXd line = run.z.back()(Eigen::placeholders::all_t(), std::array{v, v});
    line.row(2) << low, high;
    gallery::add_piece(lines, line);
  }
  return {.title = "up to t = 4",
          .x = {"z_1"},
          .y = {"z_2"},
          .z = {"z_3"},
          .layers = {lines, gallery::paths({.label = "paths", .colour = Figure::grey, .width = 0.8}, early.z),
                     gallery::points({.label = "z(0)", .colour = Figure::black, .size = 2.5}, run.z[0]),
                     gallery::points({.label = "z(4)", .size = 3.5}, now)}};
}

Figure::Panel from_above(const gallery::Run& run) {
  const std::vector<Eigen::MatrixXd> flat = gallery::images(Eigen::MatrixXd::Identity(2, 3), run.z);
  return {.title = "from above, up to t = 12",
          .x = {"z_1"},
          .y = {"z_2"},
          .layers =
              {gallery::hulls({.label = "hull, t = 0, 0.5, …, 5", .colour = 2, .width = 0.8},
                              std::span(flat).first(51), 5),
               gallery::paths({.label = "paths", .colour = Figure::grey, .width = 0.8}, flat),
               gallery::points({.label = "z(0)", .colour = Figure::black, .size = 2.5}, flat[0]),
               gallery::points(
                   {.label = "vertices of the limit", .colour = 1, .mark = Figure::Mark::diamond, .size = 6},
                   flat.back()(Eigen::placeholders::all_t(), run.analysis.found.hull_vertices.value()))},
          .equal = true};
}

Figure::Panel rates(const gallery::Run& run) {
  return {
      .title = "distance to the leader, largest of all tokens",
      .x = {"t"},
      .y = {.label = "max_i |z_i(t) − z_{leader(i)}(t)|", .logarithmic = true},
      .layers = {Figure::Line{.label = "in (z_1, z_2)", .x = run.times, .y = offsets(run, 0, 2), .colour = 0},
                 gallery::exponential({.label = "20 e^{−t}", .colour = Figure::black, .dashed = true},
                                      run.times, 20, -1),
                 Figure::Line{.label = "in z_3", .x = run.times, .y = offsets(run, 2, 1), .colour = 1},
                 gallery::exponential({.label = "3 e^{t/2}", .colour = Figure::grey, .dashed = true},
                                      run.times, 3, 0.5)}};
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "polytope_times_line", "A polygon times a line",
      "With V = diag(1, 1, −½) two coordinates of every token tend to a vertex of a polygon, while the "
      "third grows like e^{t/2} (Theorem 5.2).");
  attnflow::Generator generator(5);
  const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(3, 3);
  const gallery::Run run =
      gallery::follow({identity, identity, Eigen::Vector3d(1, 1, -0.5).asDiagonal().toDenseMatrix()},
                      attnflow::uniform_box(generator, 40, 3, -5, 5), {.to = end, .count = 121});
  // At t = 12 the third coordinate would dwarf the others.
  const gallery::Run early = gallery::until(run, shown);
  claims(exhibit, run);
  exhibit.figure({.title = "A polygon times a line",
                  .caption = "V = diag(1, 1, −1/2), Q = K = I, n = 40, z(0) uniform in [−5, 5]^3, seed 5",
                  .panels = {space(run, early), from_above(run), rates(run)},
                  .columns = 3,
                  .panel_height = 400});
  exhibit.data(run);
  attnflow::View view = gallery::view_of(early, "A polygon times a line");
  view.note = "Shown up to t = 4, as z₃ grows like e^{t/2}; clusters and limits are those found at t = 12.";
  exhibit.page(view);
  return exhibit.finish();
}
