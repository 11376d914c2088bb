// A feed-forward part behind attention, ż = W σ(V Σ P (z_j − z_i)), in the three variants of [GLPR23, last
// figure]. Its captions are not theorems: what is claimed here follows from the equation, the rest is told as
// it was found.

#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"

#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/prediction/spectrum.hpp>
#include <attnflow/systems/feed_forward.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

using Eigen::Index;
using Eigen::MatrixXd;
using figures::Figure;

namespace {

using Attention = attnflow::RescaledDynamics<double>;
// Any σ behind one type, so that the driver is compiled once; FeedForward<Attention, Relu> is the plain way.
using Field = attnflow::FeedForward<Attention, std::function<double(double)>>;

struct Variant {
  std::string sigma, W;
  Field field;
};

/// The page: tokens coloured by the side on which they end.
attnflow::View view_of(const attnflow::Trajectory<MatrixXd>& record, const Variant& variant,
                       const std::vector<int>& sides) {
  attnflow::View view;
  view.title = "żᵢ = W σ(V ∑ⱼ Pᵢⱼ (zⱼ − zᵢ)), σ = " + variant.sigma + ", " + variant.W;
  view.times = record.times();
  view.tokens = static_cast<Index>(sides.size());
  view.axes = {"z₁", "z₂"};
  view.clusters = sides;
  for (std::size_t k = 0; k < record.size(); ++k) {
    const MatrixXd& z = record.states()[k];
    view.positions.insert(view.positions.end(), z.data(), z.data() + z.size());
    const Eigen::MatrixXf rows = variant.field.attention(record.times()[k], z).cast<float>().transpose();
    view.attention.insert(view.attention.end(), rows.data(), rows.data() + rows.size());
  }
  view.parameters = {{"σ", variant.sigma}, {"W", variant.W}, {"stepper", "Runge–Kutta 4, step 0.01"}};
  return view;
}

/// The paths of z in the plane, and of two functionals of z against t.
std::vector<Figure::Panel> pictures(const attnflow::Trajectory<MatrixXd>& record, const Variant& variant,
                                    const Eigen::Matrix2d& phi, const std::vector<int>& sides) {
  const std::string name = "σ = " + variant.sigma + ", " + variant.W;
  std::vector<Figure::Panel> panels{{name + ": paths", {"z_1"}, {"z_2"}},
                                    {name + ": across the lines", {"t"}, {"φ_1^*(z_i)"}},
                                    {name + ": along the lines", {"t"}, {"φ_2^*(z_i)"}}};
  const std::vector<MatrixXd>& states = record.states();
  const Figure::Line style{.label = "", .width = 0.8, .opacity = 0.7};
  gallery::add_paths(panels[0], style, states, sides);
  for (const Index k : {0, 1})
    gallery::add_paths(panels[static_cast<std::size_t>(k + 1)], style,
                       gallery::graphs(record.times(), phi.row(k), states), sides);
  panels[0].layers.emplace_back(
      gallery::points({.label = "t = 0", .colour = Figure::grey, .size = 2}, states.front()));
  panels[0].layers.emplace_back(
      gallery::points({.label = "t = 15", .colours = sides, .size = 3}, states.back()));
  return panels;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "feed_forward", "A feed-forward part behind attention",
      "ReLU lets tokens move up only: some line up and never stop, others freeze where they are; "
      "tanh slows the approach to two lines down to a crawl.");
  const Eigen::Matrix2d V{{.64709742, .81911926}, {.61210449, .63263484}};
  const double T = 15;
  attnflow::Generator generator(1);
  const MatrixXd start = attnflow::uniform_box(generator, 40, 2, -5, 5), I = MatrixXd::Identity(2, 2);
  const MatrixXd random = attnflow::uniform_box(generator, 2, 2, -1, 1);
  const Attention attention(attnflow::Head<double>::with_value(V));
  const std::vector<Variant> variants{{"ReLU", "W = I", Field(attention, I, attnflow::Relu{})},
                                      {"tanh", "W = I", Field(attention, I, attnflow::Tanh{})},
                                      {"ReLU", "W random", Field(attention, random, attnflow::Relu{})}};
  const Eigen::Matrix2d functionals = attnflow::spectrum(V).left.real();
  const Eigen::RowVector2d phi = functionals.row(0);  // φ₁* > 0, as V > 0

  std::array<char, 80> weights;
  std::snprintf(weights.data(), weights.size(), "[%.2f, %.2f; %.2f, %.2f]", random(0, 0), random(0, 1),
                random(1, 0), random(1, 1));
  Figure figure{"Feed-forward rows: ż_i = W σ(V Σ_j P_{ij} (z_j − z_i))",
                std::string("Q = K = I, V of the two-dimensional example; n = 40 tokens uniform in [−5, "
                            "5]^2, seed 1, to t = 15, ") +
                    "coloured by the sign of φ_1^* at the end; random W = " + weights.data()};
  figure.columns = 3;
  const std::size_t count = 151;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    const auto& [sigma, W, field] = variants[v];
    const std::string name = sigma + ", " + W;
    attnflow::Trajectory<MatrixXd> record(attnflow::equal_times(0, T, count));
    MatrixXd z = start, before = start;
    double fall = 0, speed = 0;
    const auto watch = [&](double t, const MatrixXd& x) {
      if (t == 0) return;
      fall = std::max(fall, (before - x).maxCoeff());
      speed = std::max(speed, (x - before).cwiseAbs().maxCoeff() / 0.01);
      before = x;
    };
    auto both = attnflow::together<MatrixXd>(record, watch);
    const auto report = attnflow::integrate(field, attnflow::RungeKutta4<MatrixXd>{}, z,
                                            attnflow::FixedSteps{.to = T, .step = 0.01}, both);
    exhibit.equal(name + ": reached t", report.t, T);
    // Runge–Kutta's steps are means of velocities with positive weights, so that what holds of velocities
    // holds of them.
    if (sigma == "ReLU" && W == "W = I")
      exhibit.at_most(name + ": a coordinate never falls: largest fall in a step", fall, 0);
    if (sigma == "tanh")
      exhibit.at_most(name + ": no coordinate is faster than 1: largest speed", speed, 1 + 1e-9);
    const auto level = [&](std::size_t k) { return (phi * record.states()[k]).maxCoeff(); };
    const Eigen::RowVectorXd c = phi * z;
    const double spread = c.maxCoeff() - c.minCoeff();
    exhibit.note(name + ": values of φ_1* at t = 15, told apart at 1/100 of their range",
                 static_cast<double>(attnflow::detect_clusters(c, 1e-2 * spread).count()));
    exhibit.note(name + ": largest φ_1* at t = 5", level(count / 3));
    exhibit.note(name + ": largest φ_1* at t = 15", level(count - 1));
    exhibit.note(name + ": max |z_i(15)| over max |z_i(0)|",
                 z.colwise().norm().maxCoeff() / start.colwise().norm().maxCoeff());
    const MatrixXd moved = z - record.states()[2 * count / 3];
    exhibit.note(name + ": tokens that rest from t = 10 on",
                 static_cast<double>((moved.colwise().norm().array() < 1e-6).count()));
    std::vector<int> sides;
    for (const double value : c) sides.push_back(value > 0 ? 0 : 1);
    for (Figure::Panel& panel : pictures(record, variants[v], functionals, sides))
      figure.panels.push_back(std::move(panel));
    const std::string file = sigma + (W == "W = I" ? "" : "_random_W");
    exhibit.page(view_of(record, variants[v], sides), file);
    MatrixXd table(static_cast<Index>(count),
                   1 + z.size());  // t, then z₁ of token 0, z₂ of token 0, z₁ of token 1, …
    for (std::size_t k = 0; k < count; ++k)
      table.row(static_cast<Index>(k)) << record.times()[k], record.states()[k].reshaped().transpose();
    exhibit.data(table, file);
    exhibit.progress(static_cast<double>(v + 1) / 3);
  }
  exhibit.figure(figure);
  return exhibit.finish();
}
