// Tokens run to parallel hyperplanes. arXiv:2305.05465, Theorem 4.2: if the leading eigenvalue λ₁ of V is
// positive and simple and ⟨Qφ₁, Kφ₁⟩ > 0, every φ₁*(zᵢ(t)) converges, to 0 or to one of
//
//     a = lim minⱼ φ₁*(zⱼ),   b = lim maxⱼ φ₁*(zⱼ).
//
// The hyperplanes {φ₁* = c} belong to the left eigenvector φ₁*, not to φ₁. Inside them tokens need not
// converge: a pair of complex eigenvalues makes them spiral, outwards if its real part is negative, inwards
// if it is positive.
#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"
#include "gallery/run.hpp"

#include <attnflow/numerics/matrix_exponential.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using figures::Figure;

struct Example {
  std::string name, title;
  Eigen::MatrixXd V;
  std::uint64_t seed;
  double to;  // about 28/λ₁: at 36/λ₁ followers would equal their leader to the last bit
  gallery::Run run = {};
  Eigen::MatrixXd c = {};       // φ₁*(zᵢ), a row for each time
  std::vector<int> upper = {};  // whether a token ends at b, not a

  void follow() {
    attnflow::Generator generator(seed);
    const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(V.rows(), V.rows());
    run = gallery::follow({identity, identity, V}, attnflow::uniform_box(generator, 40, V.rows(), -5, 5),
                          {.to = to, .count = 281});
    c.resize(static_cast<Index>(run.z.size()), 40);
    for (std::size_t k = 0; k < run.z.size(); ++k)
      c.row(static_cast<Index>(k)) = splitting().inside_dual * run.z[k];
    for (const double end : c.bottomRows(1).reshaped()) upper.push_back(end > (a() + b()) / 2);
  }
  /// ℱ is the line of φ₁, and inside_dual is φ₁*; 𝒢 = ker φ₁* are the directions of the hyperplanes.
  [[nodiscard]] const attnflow::InvariantSplitting& splitting() const {
    return run.analysis.prediction.splitting;
  }
  [[nodiscard]] double lambda() const { return splitting().V_inside(0, 0); }
  [[nodiscard]] double a() const { return c.bottomRows(1).minCoeff(); }
  [[nodiscard]] double b() const { return c.bottomRows(1).maxCoeff(); }
};

/// The example matrices of the authors' scripts.
std::array<Example, 3> examples() {
  Eigen::MatrixXd plane(2, 2), outward(3, 3), inward(3, 3);
  plane << .64709742, .81911926, .61210449, .63263484;
  outward << .2362413, .0599536, .40506019, .81321448, .49948705, .33754772, .2160645, .38505272, .14588075;
  inward << .18608476, .34391026, .13905949, .35244288, .6694859, .39992145, .46685606, .17094454, .42092308;
  return {Example{"plane", "d = 2", plane, 1, 20},
          Example{"outward", "d = 3, Re λ₂ < 0: spirals outwards", outward, 2, 28},
          Example{"inward", "d = 3, Re λ₂ > 0: spirals inwards", inward, 3, 26}};
}

void claims(gallery::Exhibit& exhibit, const Example& e) {
  const Eigen::VectorXd low = e.c.rowwise().minCoeff(), high = e.c.rowwise().maxCoeff();
  const Index last = e.c.rows() - 1;
  // No φ₁*(zᵢ) leaves the interval of all but for the integrator's 1e-9 of |φ₁*(z)| < 10, in a few steps.
  const double fall = (low.head(last) - low.tail(last)).maxCoeff(),
               rise = (high.tail(last) - high.head(last)).maxCoeff();
  exhibit.at_most(e.name + ": growth of max_i φ₁*(z_i), fall of min_i φ₁*(z_i)", std::max(fall, rise), 1e-7);
  exhibit.at_most(e.name + ": distance to the hyperplanes at the end",
                  e.run.analysis.distance_to_prediction.value(), e.run.analysis.expected_distance.value());
  exhibit.at_most(e.name + ": hyperplanes found", static_cast<double>(e.run.analysis.found.levels.size()), 3);
  std::vector<double> errors;
  for (Index k = 0; k <= last; ++k)
    errors.push_back((e.c.row(k).array() - e.a()).abs().min((e.c.row(k).array() - e.b()).abs()).maxCoeff());
  const auto fit = attnflow::fit_exponential_rate(e.run.times, errors, {.low = 1e-7, .high = 0.1});
  const double rate = fit ? fit->rate / e.lambda() : std::nan("");
  exhibit.claim(e.name + ": rate of approach over λ₁", rate, "1 within 0.05", std::abs(rate - 1) < 0.05);
}

/// Once P is Boolean, from long before half of the time on, tokens of one hyperplane follow one leader: their
/// differences are e^{−tV} times a constant, in coordinates g of 𝒢 with V on 𝒢, whose complex eigenvalues turn
/// it.
void claim_spiral(gallery::Exhibit& exhibit, const Example& e) {
  const std::size_t last = e.run.z.size() - 1, half = last / 2;
  const attnflow::InvariantSplitting& s = e.splitting();
  const Eigen::MatrixXd turn =
      attnflow::MatrixExponential<>(s.V_outside)(e.run.times[half] - e.run.times[last]).plain();
  const auto g = [&](std::size_t k, Index i, Index j) -> Eigen::VectorXd {
    return s.outside_dual * (e.run.z[k].col(i) - e.run.z[k].col(j));
  };
  double worst = 0;
  for (Index i = 0; i < 40; ++i)
    for (Index j = 0; j < i; ++j)
      if (e.upper[static_cast<std::size_t>(i)] == e.upper[static_cast<std::size_t>(j)])
        worst = std::max(worst, (g(last, i, j) - turn * g(half, i, j)).norm() / g(last, i, j).norm());
  exhibit.at_most(e.name + ": in a hyperplane z_i − z_j ~ e^{−tV}, relative error over the second half",
                  worst, 1e-6);
  const Eigen::MatrixXd& V = s.V_outside;
  const double real = V.trace() / 2, determinant = V(0, 0) * V(1, 1) - V(0, 1) * V(1, 0);
  exhibit.note(e.name + ": Re λ₂", real);
  exhibit.note(e.name + ": turns of the spiral",
               std::sqrt(determinant - real * real) * e.to / (2 * std::numbers::pi));
}

/// {φ₁* = c} = cφ₁ + 𝒢, as far along an orthonormal basis of 𝒢 as its tokens reach.
Figure::Layer hyperplane(const Example& e, bool upper) {
  const Eigen::MatrixXd &end = e.run.z.back(), &G = e.splitting().outside;
  const Eigen::VectorXd foot = (upper ? e.b() : e.a()) * e.splitting().inside;
  Eigen::VectorXd low = Eigen::VectorXd::Zero(G.cols()), high = low;
  for (Index i = 0; i < end.cols(); ++i) {
    if ((e.upper[static_cast<std::size_t>(i)] == 1) != upper) continue;
    const Eigen::VectorXd g = G.transpose() * (end.col(i) - foot);
    low = low.cwiseMin((g.array() - 1).matrix());
    high = high.cwiseMax((g.array() + 1).matrix());
  }
  const std::string label = upper ? "{φ_1^*(z) = b}" : "{φ_1^*(z) = a}";
  if (G.cols() == 1) {
    Figure::Line line{.label = label, .colour = upper, .dashed = true};
    for (const double g : {low(0), high(0)}) gallery::add(line, foot + g * G.col(0));
    return line;
  }
  Figure::Polygon plane{.label = label, .colour = upper};
  for (const auto& [g, h] :
       {std::pair{low(0), low(1)}, {high(0), low(1)}, {high(0), high(1)}, {low(0), high(1)}})
    gallery::add(plane, foot + g * G.col(0) + h * G.col(1));
  return plane;
}

Figure::Panel paths(const Example& e) {
  const Index d = e.V.rows();
  return {.title = e.title,
          .x = {"z_1"},
          .y = {"z_2"},
          .z = {d == 3 ? "z_3" : ""},
          .layers = {hyperplane(e, true), hyperplane(e, false),
                     gallery::paths({.label = "paths", .colour = Figure::grey, .width = 0.8}, e.run.z),
                     gallery::points({.label = "z(0)", .colour = Figure::black, .size = 2}, e.run.z.front()),
                     gallery::points({.label = "", .colours = e.upper, .size = 3.5}, e.run.z.back())},
          .equal = true,
          .legend = d == 2,
          .yaw = 2.1,
          .pitch = 0.3};
}

/// φ₁*(zᵢ(t)) until it has nearly converged.
Figure::Panel levels(const Example& e) {
  const double shown = 6 / e.lambda();
  Figure::Panel panel{.title = "hyperplanes found: " + std::to_string(e.run.analysis.found.levels.size()),
                      .x = {.label = "t", .low = 0, .high = shown},
                      .y = {"φ_1^*(z_i(t))"}};
  gallery::add_paths(panel, {.label = "", .width = 1, .opacity = 0.7},
                     gallery::graphs(e.run.times, e.splitting().inside_dual, e.run.z), e.upper);
  for (const double level : {0., e.a(), e.b()})
    panel.layers.push_back(Figure::Line{.label = "",
                                        .x = {0, shown},
                                        .y = {level, level},
                                        .colour = Figure::black,
                                        .width = 1,
                                        .dashed = true});
  return panel;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "hyperplanes", "Tokens run to parallel hyperplanes",
      "If V has a simple positive leading eigenvalue, a single linear functional of the tokens "
      "takes at most three values in the limit: its left eigenvector (Theorem 4.2).");
  Figure figure{.title = "Tokens run to parallel hyperplanes",
                .caption =
                    "Q = K = I, n = 40, z(0) uniform in [−5, 5]^d, t up to 28/λ_1; V: the example matrices "
                    "of the paper's code. Dashed: 0, a = lim min_j φ_1^*(z_j) and b = lim max_j φ_1^*(z_j)",
                .columns = 3,
                .panel_height = 370};
  std::vector<Figure::Panel> below;
  for (Example e : examples()) {
    e.follow();
    claims(exhibit, e);
    if (e.V.rows() == 3) claim_spiral(exhibit, e);
    figure.panels.push_back(paths(e));
    below.push_back(levels(e));
    exhibit.page(gallery::view_of(e.run, "Tokens run to parallel hyperplanes: " + e.title), e.name);
    exhibit.data(e.run, e.name);
  }
  figure.panels.insert(figure.panels.end(), below.begin(), below.end());
  exhibit.figure(figure);
  return exhibit.finish();
}
