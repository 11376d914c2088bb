// Causal attention on the sphere [KPR24]: each token attends to itself and to those before it, with V = I. The first
// token rests and in the end all others join it, but for large β only after a very long time. Until then tokens
// gather at Rényi centres, those that come before all others near them: cars that park where they are dropped, if
// there is room.
#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"

#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/ensembles/statistics.hpp>
#include <attnflow/geometry/chords.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/observables/runs/merge_times.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/observables/tokens/renyi_centres.hpp>
#include <attnflow/observables/tokens/spread.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/reductions/sphere_counts.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using figures::Figure;

/// The states of a causal run at given times, the first of which is 0; and when its clusters merged.
struct Run {
  std::vector<double> times;
  std::vector<MatrixXd> x;
  attnflow::MergeTimes merges;

  Run(double beta, MatrixXd start, const std::vector<double>& at, double tolerance) : merges(tolerance) {
    using Field = attnflow::SphereDynamics<double, Eigen::Dynamic, attnflow::Softmax, attnflow::Causal>;
    const Field field(attnflow::Head<double>::identity(start.rows()), {beta});
    attnflow::Trajectory<MatrixXd> record(at);
    auto both = attnflow::together<MatrixXd>(record, merges);
    const auto report = attnflow::integrate(
        field, attnflow::OnSphere<attnflow::DormandPrince5<MatrixXd>>{}, start,
        attnflow::AdaptiveSteps{
            .to = at.back(), .rtol = 1e-9, .atol = 1e-11, .max_step = 0.25 + at.back() / 1000},
        both);
    if (report.outcome != attnflow::Outcome::reached_end) throw std::runtime_error("a run ended early");
    times = record.times();
    x = record.states();
  }
};

/// 0 and equal steps of log t from `from` to `to`.
std::vector<double> logarithmic_times(double from, double to, std::size_t count) {
  std::vector<double> times{0};
  for (const double exponent : attnflow::equal_times(std::log(from), std::log(to), count))
    times.push_back(std::exp(exponent));
  times.back() = to;
  return times;
}

/// Near the first token the k-th comes like e^{−(1 − 1/k) t}: all together like e^{−t/2}.
Figure::Panel collapse(gallery::Exhibit& exhibit, attnflow::Generator& generator) {
  Figure::Panel panel{.title = "β = 1: all tokens join the first",
                      .x = {"t", 0, 60},
                      .y = {.label = "max_i |x_i − x_1|", .low = 1e-12, .high = 4, .logarithmic = true}};
  for (const Index d : {2, 3}) {
    const Run run(1, attnflow::uniform_sphere(generator, 32, d), attnflow::equal_times(0, 60, 241), 1e-3);
    const bool plane = d == 2;
    const std::string name = plane ? "circle" : "sphere";
    std::vector<double> distance;
    double moved = 0;
    for (const MatrixXd& x : run.x) {
      distance.push_back(attnflow::distance_to_consensus(x, x.col(0)));
      moved = std::max(moved, (x.col(0) - run.x.front().col(0)).norm());
    }
    exhibit.at_most(name + ", β = 1: motion of x_1", moved, 1e-15);
    exhibit.at_most(name + ", β = 1: max_i |x_i − x_1| at t = 60", distance.back(), 1e-9);
    const auto fit = attnflow::fit_exponential_rate(run.times, distance, {.low = 1e-11, .high = 1e-7});
    const double rate = fit ? fit->rate : std::nan("");
    exhibit.claim(name + ", β = 1: rate of max_i |x_i − x_1|", rate, "1/2 within 2 %",
                  std::abs(2 * rate - 1) < 0.02);
    panel.layers.emplace_back(
        Figure::Line{.label = name, .x = run.times, .y = distance, .colour = plane ? 0 : 1, .width = 2});
  }
  panel.layers.emplace_back(
      gallery::exponential({.label = "e^{−t/2}", .colour = Figure::black, .width = 1, .dashed = true},
                           attnflow::equal_times(0, 60, 31), 1, -0.5));
  return panel;
}

/// The force between tokens at an angle, of which e^β is taken out.
double force(double beta, double angle) {
  return std::exp(-2 * beta * std::pow(std::sin(angle / 2), 2)) * std::sin(angle);
}

/// Many tokens on the circle for a long time, and its Rényi centres.
struct Circle {
  static constexpr double beta = 100, c = 4, epsilon = 0.1;
  double delta = c / std::sqrt(beta);
  Run run;
  std::vector<Index> centres, strong;
  std::vector<int> nearest;  // of each token the centre it is nearest to at the start

  explicit Circle(attnflow::Generator& generator)
      : run(beta, attnflow::uniform_sphere(generator, 200, 2), logarithmic_times(0.05, 2000, 301), 2e-3) {
    const MatrixXd& start = run.x.front();
    centres = attnflow::renyi_centres(start, delta);
    strong = attnflow::strong_renyi_centres(start, (1 + 2 * epsilon) * delta);
    for (const Index q :
         attnflow::nearest_centres(start, start(Eigen::placeholders::all_t(), centres)).labels)
      nearest.push_back(static_cast<int>(q));
  }

  [[nodiscard]] std::vector<double> displacement(Index i) const {
    std::vector<double> angles;
    for (const MatrixXd& x : run.x) angles.push_back(attnflow::sphere::angle(x.col(i), run.x.front().col(i)));
    return angles;
  }
  /// Until T_j a strong centre, the s-th token, has not moved by εδ: earlier tokens, farther than δ, draw it by h(δ)
  /// each.
  [[nodiscard]] double certain(Index i) const {
    return epsilon * delta / (static_cast<double>(i + 1) * force(beta, delta));
  }

  void claims(gallery::Exhibit& exhibit) const {
    double most = 0, longest = 0;
    for (const Index i : strong) {
      const std::vector<double> moved = displacement(i);
      if (i > 0) longest = std::max(longest, certain(i));
      for (std::size_t k = 0; k < moved.size(); ++k)
        if (run.times[k] <= certain(i)) most = std::max(most, moved[k]);
    }
    exhibit.claim("circle, β = 100: motion of strong centres by T_j, over εδ = 0.4 β^{−1/2}",
                  most / (epsilon * delta), "less than 1", most < epsilon * delta);
    exhibit.note("circle, β = 100: strong centres at (1 + 2ε) δ", static_cast<double>(strong.size()));
    exhibit.note("circle, β = 100: longest T_j but for x_1", longest);
    exhibit.note("circle, β = 100: Rényi centres at δ", static_cast<double>(centres.size()));
    exhibit.note("circle, β = 100: clusters at t = 10", static_cast<double>(count_at(10)));
    exhibit.note("circle, β = 100: clusters at t = 2000", static_cast<double>(run.merges.count()));
  }
  [[nodiscard]] Index count_at(double t) const {
    Index count = run.merges.initial_count();
    for (const auto& merge : run.merges.merges())
      if (merge.t <= t) count = merge.after;
    return count;
  }

  [[nodiscard]] Figure::Panel paths() const {
    Figure::Panel panel{.title = "circle, β = 100: tokens gather at centres",
                        .x = {.label = "t", .low = 0.05, .high = 2000, .logarithmic = true},
                        .y = {"θ_i", -std::numbers::pi, std::numbers::pi}};
    const std::vector<Index> rest = attnflow::strong_renyi_centres(run.x.front(), delta);
    for (Index i = run.x.front().cols(); i-- > 0;) {
      const bool centre = std::ranges::find(centres, i) != centres.end(),
                 is_strong = std::ranges::find(rest, i) != rest.end();
      Figure::Line line{.label = is_strong ? "strong centres"
                                 : centre  ? "other Rényi centres"
                                           : "",
                        .colour = centre ? Figure::black : nearest[static_cast<std::size_t>(i)],
                        .width = centre ? 1.8 : 0.7,
                        .dashed = centre && !is_strong,
                        .opacity = centre ? 1 : 0.6};
      double last = std::nan("");
      for (std::size_t k = 1; k < run.times.size(); ++k) {
        const double theta = std::atan2(run.x[k](1, i), run.x[k](0, i));
        if (std::abs(theta - last) > 3) {  // round the back
          line.x.push_back(run.times[k]);
          line.y.push_back(std::nan(""));
        }
        line.x.push_back(run.times[k]);
        line.y.push_back(last = theta);
      }
      panel.layers.emplace_back(std::move(line));
    }
    return panel;
  }

  [[nodiscard]] Figure::Panel motions() const {
    Figure::Panel panel{
        .title = "and strong centres hardly move",
        .x = {.label = "t", .low = 0.05, .high = 2000, .logarithmic = true},
        .y = {.label = "∠(x_j(t), x_j(0)) / εδ", .low = 1e-7, .high = 10, .logarithmic = true}};
    for (const Index i : strong) {
      if (i == 0) continue;
      Figure::Line line{.label = "strong centres", .colour = 0, .width = 1.4};
      Figure::Points until{.label = "at T_j", .colour = 1, .size = 4};
      const std::vector<double> moved = displacement(i);
      for (std::size_t k = 1; k < moved.size(); ++k) {
        line.x.push_back(run.times[k]);
        line.y.push_back(moved[k] / (epsilon * delta));
        if (until.x.empty() && run.times[k] >= certain(i)) {
          until.x.push_back(run.times[k]);
          until.y.push_back(line.y.back());
        }
      }
      panel.layers.emplace_back(line);
      panel.layers.emplace_back(until);
    }
    panel.layers.emplace_back(Figure::Line{.label = "bound",
                                           .x = {0.05, 2000},
                                           .y = {1, 1},
                                           .colour = Figure::black,
                                           .width = 1,
                                           .dashed = true});
    return panel;
  }

  [[nodiscard]] Figure::Panel counts() const {
    Figure::Line line{.label = "clusters", .width = 2};
    double count = static_cast<double>(run.merges.initial_count());
    const auto add = [&](double t) {
      line.x.push_back(std::max(t, 0.05));
      line.y.push_back(count);
    };
    add(0.05);
    for (const auto& merge : run.merges.merges()) {
      add(merge.t);
      count = static_cast<double>(merge.after);
      add(merge.t);
    }
    add(2000);
    Figure::Panel panel{.title = "circle, β = 100: clusters that last",
                        .x = {.label = "t", .low = 0.05, .high = 2000, .logarithmic = true},
                        .y = {.label = "number", .low = 3, .high = 300, .logarithmic = true},
                        .layers = {line}};
    const auto level = [&](const std::string& label, std::size_t value, int colour) {
      const auto y = static_cast<double>(value);
      panel.layers.emplace_back(Figure::Line{
          .label = label, .x = {0.05, 2000}, .y = {y, y}, .colour = colour, .width = 1.2, .dashed = true});
    };
    level("Rényi centres", centres.size(), Figure::black);
    level("strong ones", attnflow::strong_renyi_centres(run.x.front(), delta).size(), 1);
    return panel;
  }
};

/// Tokens on the sphere after some time, and the centres at the start.
Figure::Panel sphere(attnflow::Generator& generator) {
  const double beta = 60;
  const Run run(beta, attnflow::uniform_sphere(generator, 400, 3), {0, 12}, 1e-2);
  const MatrixXd start = run.x.front(), &end = run.x.back();
  const auto centres = attnflow::renyi_centres(start, 4 / std::sqrt(beta));
  Figure::Line globe{.label = "", .colour = Figure::grey, .width = 0.4, .opacity = 0.7};
  for (int k = 0; k < 4; ++k) {
    MatrixXd meridian(3, 73), parallel(3, 73);
    const double along = k * std::numbers::pi / 4, height = -0.75 + 0.5 * k;
    for (Index j = 0; j < 73; ++j) {
      const double a = static_cast<double>(j) * std::numbers::pi / 36,
                   radius = std::sqrt(1 - height * height);
      meridian.col(j) << std::cos(a) * std::cos(along), std::cos(a) * std::sin(along), std::sin(a);
      parallel.col(j) << radius * std::cos(a), radius * std::sin(a), height;
    }
    gallery::add_piece(globe, meridian);
    gallery::add_piece(globe, parallel);
  }
  Figure::Line moved{.label = "", .colour = 0, .width = 0.5, .opacity = 0.5};
  for (Index i = 0; i < end.cols(); ++i) {
    MatrixXd arc(3, 9);
    for (Index k = 0; k < 9; ++k) {
      const double share = static_cast<double>(k) / 8;
      arc.col(k) = ((1 - share) * start.col(i) + share * end.col(i)).normalized();
    }
    gallery::add_piece(moved, arc);
  }
  return {.title = "sphere, β = 60: t = 12",
          .x = {"x_1"},
          .y = {"x_2"},
          .z = {"x_3"},
          .layers = {globe, moved, gallery::points({.label = "tokens", .colour = 0, .size = 4.5}, end),
                     gallery::points({.label = "Rényi centres, t = 0",
                                      .colour = Figure::black,
                                      .mark = Figure::Mark::cross,
                                      .size = 3.5},
                                     start(Eigen::placeholders::all_t(), centres))},
          .equal = true,
          .yaw = 0.7,
          .pitch = 0.35};
}

/// Mean numbers of centres of uniform tokens at δ = 4 β^{−1/2}, against what is known of them.
Figure::Panel numbers(gallery::Exhibit& exhibit, attnflow::Generator& generator) {
  constexpr Index n = 2000;
  constexpr int draws = 100;
  const auto delta_of = [](double beta) { return 4 / std::sqrt(beta); };
  const auto strong_mean = [&](Index d, double beta) {
    return attnflow::mean_strong_centres(n, attnflow::cap_share(d, delta_of(beta)));
  };
  // Rényi's constant times the places on the circle, less what n tokens have not filled yet: e^{−2γ}/τ of a place
  // after τ tokens for each, to first order.
  const auto parked = [&](double beta) {
    const double places = 2 * std::numbers::pi / delta_of(beta), each = static_cast<double>(n) / places;
    return places * (attnflow::parking_constant - std::exp(-2 * std::numbers::egamma) / each);
  };
  Figure::Panel panel{.title = "numbers of centres at δ = 4 β^{−1/2}",
                      .x = {.label = "β", .low = 10, .high = 1600, .logarithmic = true},
                      .y = {.label = "mean number", .low = 1, .high = 1000, .logarithmic = true}};
  Figure::Points circle{.label = "strong, circle", .colour = 0},
      sphere{.label = "strong, sphere", .colour = 1},
      ordinary{.label = "Rényi, circle", .colour = 2, .mark = Figure::Mark::square};
  double strong_off = 0, parked_off = 0;
  for (const double beta : {16., 64., 256., 1024.})
    for (const Index d : {2, 3}) {
      attnflow::Moments strong, all;
      for (int k = 0; k < draws; ++k) {
        const MatrixXd x = attnflow::uniform_sphere(generator, n, d);
        strong.add(static_cast<double>(attnflow::strong_renyi_centres(x, delta_of(beta)).size()));
        if (d == 2) all.add(static_cast<double>(attnflow::renyi_centres(x, delta_of(beta)).size()));
      }
      strong_off =
          std::max(strong_off, std::abs(strong.mean() - strong_mean(d, beta)) / strong.standard_error());
      if (d == 2)
        parked_off = std::max(parked_off, std::abs(all.mean() - parked(beta)) / all.standard_error());
      Figure::Points& marks = d == 2 ? circle : sphere;
      marks.x.push_back(beta);
      marks.y.push_back(strong.mean());
      if (d == 3) continue;
      ordinary.x.push_back(beta);
      ordinary.y.push_back(all.mean());
    }
  // 8 and 4 means of 100 draws: more than 4 standard errors come once in 2000 such comparisons.
  exhibit.at_most("strong centres: |mean − (1 − (1 − σ)^n)/σ| in standard errors, d = 2, 3", strong_off, 4);
  exhibit.at_most("Rényi centres: |mean − 0.7476 · 2π/δ, less what is not filled| in standard errors, d = 2",
                  parked_off, 4);
  const auto curve = [&](const std::string& label, int colour, const auto& value) {
    Figure::Line line{.label = label, .colour = colour, .width = 1.2, .dashed = colour == 2};
    for (const double exponent : attnflow::equal_times(std::log(10), std::log(1600), 61)) {
      line.x.push_back(std::exp(exponent));
      line.y.push_back(value(std::exp(exponent)));
    }
    panel.layers.emplace_back(std::move(line));
  };
  curve("(1 − (1 − σ)^n) / σ", 0, [&](double beta) { return strong_mean(2, beta); });
  curve("", 1, [&](double beta) { return strong_mean(3, beta); });
  curve("0.7476 · 2π/δ", 2, parked);
  for (const Figure::Points& marks : {circle, sphere, ordinary}) panel.layers.emplace_back(marks);
  return panel;
}

attnflow::View page(const Circle& circle) {
  const Run& run = circle.run;
  attnflow::View view;
  view.title = "Causal attention on the circle";
  view.note =
      "From one moment to the next log t grows by the same. Marked: the Rényi centres at the start; "
      "coloured: by the nearest.";
  view.tokens = run.x.front().cols();
  view.dim = 2;
  view.mask = "causal";
  view.heads.emplace_back();
  view.clusters = circle.nearest;
  view.leaders = circle.centres;
  view.parameters = {{"n", "200"}, {"d", "2"}, {"β", "100"}, {"Q, K, V", "identity"}, {"mask", "causal"}};
  attnflow::View::Series clusters{"clusters", {}};
  for (std::size_t k = 0; k < run.times.size(); k += 2) {
    view.times.push_back(run.times[k]);
    view.positions.insert(view.positions.end(), run.x[k].data(), run.x[k].data() + run.x[k].size());
    for (const double entry : {Circle::beta, 0., 0., Circle::beta}) view.heads[0].forms.push_back(entry);
    clusters.values.push_back(static_cast<double>(circle.count_at(run.times[k])));
  }
  view.series = {clusters};
  return view;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "causal_collapse", "Causal attention: centres, then one cluster",
      "Tokens that attend to those before them gather at Rényi centres, which hardly move for a "
      "very long time, and in the end join the first.");
  attnflow::Generator generator(5);
  const Circle circle(generator);
  circle.claims(exhibit);
  Figure figure{
      .title = "Causal attention: centres, then one cluster",
      .caption =
          "Q = K = V = I, softmax over the token itself and those before it, uniform starts. (a), (b), "
          "(d): n = 200, ε = 0.1. Rényi centre: farther than δ from all centres before; strong: from all "
          "tokens before, in (b) than (1 + 2ε)δ. (c): n = 400. (e): n = 2000, 100 draws. (f): n = 32",
      .columns = 3,
      .panel_height = 370};
  figure.panels = {circle.paths(), circle.motions(), sphere(generator), circle.counts()};
  figure.panels.push_back(numbers(exhibit, generator));
  figure.panels.push_back(collapse(exhibit, generator));
  exhibit.figure(figure);
  exhibit.page(page(circle));
  MatrixXd angles(static_cast<Index>(circle.run.times.size()), 201);
  for (Index k = 0; k < angles.rows(); ++k) {
    const MatrixXd& x = circle.run.x[static_cast<std::size_t>(k)];
    angles(k, 0) = circle.run.times[static_cast<std::size_t>(k)];
    for (Index i = 0; i < 200; ++i) angles(k, i + 1) = std::atan2(x(1, i), x(0, i));
  }
  exhibit.data(angles, "angles");  // t, then the angles of all tokens
  return exhibit.finish();
}
