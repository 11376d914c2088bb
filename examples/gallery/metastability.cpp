// Tokens on the circle, θ̇ᵢ = (1/n) ∑ⱼ e^{β cos(θⱼ − θᵢ)} sin(θⱼ − θᵢ), cluster twice.
//
// First, many uniform tokens [BPA24]: a mode cos kθ of their density grows at the rate λₖ = k² Iₖ(β)/β, and k*, the
// mode of the largest rate, is the number of clusters that appear, centred where its phase says so. Modes start with
// random sizes, and the growth is not endless: k* is the likeliest number. For β = 7 mode 3 grows nearly as fast as
// mode 4, and about as many starts end with three clusters as with four.
//
// Then, clusters that are separate merge one pair after the other [GKPR24], after times e^{const · β}: a staircase of the
// energy Ê = (1/n²) ∑ᵢⱼ e^{β (cos(θᵢ − θⱼ) − 1)}, which is ∑ m² over clusters of mass m on each step, and rises by 2 mₐ m_b
// when two of them merge. In the time in which tokens move at a constant speed it takes a thousand steps.
#include "gallery/exhibit.hpp"

#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/integrators/constant_speed.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/numerics/bessel.hpp>
#include <attnflow/observers/elapsed_time.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/systems/circle_dynamics.hpp>
#include <attnflow/systems/circle_series.hpp>
#include <attnflow/systems/merging.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using Eigen::Index;
using figures::Figure;
using Angles = attnflow::Tokens<double, 1>;
using Weights = attnflow::Unnormalized;

constexpr double pi = std::numbers::pi;

/// A number in a text.
std::string text(const char* format, double value) {
  char line[80];
  std::snprintf(line, sizeof line, format, value);
  return line;
}

// ---- Which cluster number appears first -----------------------------------------------------------------------

/// (1/n) ∑ⱼ e^{ikθⱼ} for k < count.
std::vector<std::complex<double>> modes_of(const Angles& theta, std::size_t count) {
  std::vector<std::complex<double>> modes(count);
  for (Index j = 0; j < theta.cols(); ++j) {
    const std::complex<double> z = std::polar(1., theta(0, j));
    std::complex<double> power = 1;
    for (auto& mode : modes) {
      mode += power;
      power *= z;
    }
  }
  for (auto& mode : modes) mode /= static_cast<double>(theta.cols());
  return modes;
}

struct FirstClusters {
  double beta, time;  // when clusters are counted
  int expected;       // k*
  std::uint64_t seed;

  static constexpr Index n = 20000;
  static constexpr int most = 8, starts = 10, columns = 180;
  std::vector<double> rates = {}, measured = {};  // of the modes 1 … 8
  int as_expected = 0;                            // of ten starts
  Angles end = {};
  double phase = 0;                // of mode k* at the start
  Eigen::MatrixXd history = {};    // density, angles × times
  std::vector<double> peaks = {};  // of the density at the end, smoothed by the kernel

  [[nodiscard]] attnflow::CircleSeries<double, Weights> field() const {
    return attnflow::CircleSeries<double, Weights>({beta});
  }
  static Angles start(std::uint64_t seed) {
    attnflow::Generator generator(seed);
    return attnflow::uniform_box<double, 1>(generator, n, 1, 0, 2 * pi);
  }

  /// λₖ, and the rates at which modes grow along themselves while they are small, over ten starts; how many of these
  /// have k* clusters in the end.
  void measure_rates() {
    const auto bessel = attnflow::scaled_bessel_series(most + 1, beta);
    for (int k = 1; k <= most; ++k)
      rates.push_back(k * k * bessel[static_cast<std::size_t>(k)] * std::exp(beta) / beta);
    std::vector<double> along(most), size(most);
    const double soon = 0.5 / *std::ranges::max_element(rates);
    for (std::uint64_t s = 0; s < starts; ++s) {
      Angles theta = start(100 + s);
      const auto before = modes_of(theta, most + 1);
      (void)integrate(field(), attnflow::RungeKutta4<Angles>{}, theta, {.to = soon, .step = soon / 5});
      const auto after = modes_of(theta, most + 1);
      for (std::size_t k = 1; k <= most; ++k) {
        along[k - 1] += (after[k] * std::conj(before[k])).real();
        size[k - 1] += std::norm(before[k]);
      }
      (void)integrate(field(), attnflow::RungeKutta4<Angles>{}, theta,
                      {.from = soon, .to = time, .step = time / 60});
      if (peaks_of(theta).size() == static_cast<std::size_t>(expected)) ++as_expected;
    }
    for (std::size_t k = 0; k < most; ++k) measured.push_back(std::log(along[k] / size[k]) / soon);
  }

  /// A run to twice the time at which clusters are counted.
  void follow() {
    Angles theta = start(seed);
    phase = -std::arg(std::conj(modes_of(theta, most + 1)[static_cast<std::size_t>(expected)]));
    const int frames = 60;
    history = Eigen::MatrixXd::Zero(columns, frames + 1);
    int frame = 0;
    auto look = attnflow::every<Angles>(2 * time / frames, [&](double, const Angles& at) {
      if (2 * frame == frames) end = at;
      if (frame <= frames)
        for (const double angle : at.row(0)) ++history(bin(angle), frame);
      ++frame;
    });
    (void)integrate(field(), attnflow::RungeKutta4<Angles>{}, theta, {.to = 2 * time, .step = time / 60},
                    look);
    history *= columns / (2 * pi * static_cast<double>(n));
    peaks = peaks_of(end);
  }
  static Index bin(double angle) {
    const double turn = angle / (2 * pi), part = turn - std::floor(turn);
    return std::min<Index>(columns - 1, static_cast<Index>(part * columns));
  }

  /// ∑ⱼ e^{β (cos(φ − θⱼ) − 1)} / n at the angle φ.
  [[nodiscard]] double smoothed(double angle, const std::vector<std::complex<double>>& modes,
                                const std::vector<double>& weights) const {
    double sum = weights[0];
    for (std::size_t k = 1; k < modes.size(); ++k)
      sum += 2 * weights[k] * (modes[k] * std::polar(1., -static_cast<double>(k) * angle)).real();
    return sum;
  }
  /// The angles at which it is largest.
  [[nodiscard]] std::vector<double> peaks_of(const Angles& theta) const {
    const std::size_t terms = 40, places = 720;
    const auto modes = modes_of(theta, terms);
    const auto weights = attnflow::scaled_bessel_series(static_cast<int>(terms), beta);
    std::vector<double> density, found;
    const auto at = [&](std::size_t g) { return 2 * pi * static_cast<double>(g) / places; };
    for (std::size_t g = 0; g < places; ++g) density.push_back(smoothed(at(g), modes, weights));
    for (std::size_t g = 0; g < places; ++g)
      if (density[g] > density[(g + 1) % places] && density[g] >= density[(g + places - 1) % places])
        found.push_back(at(g));
    return found;
  }
  /// The centres that the phase of mode k* at the start predicts, and the largest distance of one from a peak.
  [[nodiscard]] double centre(int m) const {
    const double angle = std::fmod((2 * pi * m + phase) / expected + 4 * pi, 2 * pi);
    return angle;
  }
  [[nodiscard]] double distance_to_centres() const {
    double worst = 0;
    for (int m = 0; m < expected; ++m) {
      double nearest = pi;
      for (const double peak : peaks)
        nearest = std::min(nearest, std::abs(std::remainder(peak - centre(m), 2 * pi)));
      worst = std::max(worst, nearest);
    }
    return worst;
  }

  void claims(gallery::Exhibit& exhibit) const {
    const std::string name = text("β = %g: ", beta);
    const auto fastest = [](const std::vector<double>& of) {
      return static_cast<double>(std::ranges::max_element(of) - of.begin() + 1);
    };
    exhibit.equal(name + "the mode k of largest k² I_k(β)/β", fastest(rates), expected);
    exhibit.equal(name + "the mode that grows fastest, mean of 10 starts", fastest(measured), expected);
    double worst = 0;
    const double largest = *std::ranges::max_element(rates);
    for (std::size_t k = 0; k < most; ++k)
      worst = std::max(worst, std::abs(measured[k] - rates[k]) / largest);
    exhibit.at_most(name + "measured rates of the modes 1 … 8, largest error over the largest rate", worst,
                    0.05);
    exhibit.note(name + "starts, of 10, with as many clusters", as_expected);
    exhibit.equal(name + text("clusters at t = %g in the start shown", time),
                  static_cast<double>(peaks.size()), expected);
    exhibit.at_most(name + "distance of clusters from the centres that the start predicts",
                    distance_to_centres(), 0.35);
  }

  [[nodiscard]] Figure::Panel panel() const {
    Figure::Panel panel{.title = text("n = 20000, β = %g: density", beta) + text(", %g clusters", expected),
                        .x = {.label = "t", .low = 0, .high = 2 * time},
                        .y = {.label = "θ", .low = 0, .high = 2 * pi},
                        .legend = false};
    panel.layers.emplace_back(Figure::HeatMap{.label = "",
                                              .values = history,
                                              .x_low = 0,
                                              .x_high = 2 * time,
                                              .y_low = 0,
                                              .y_high = 2 * pi,
                                              .shade = Figure::Shade::root,
                                              .least = 0,
                                              .most = 2});
    for (int m = 0; m < expected; ++m)
      panel.layers.emplace_back(Figure::Line{.label = "",
                                             .x = {0, 2 * time},
                                             .y = {centre(m), centre(m)},
                                             .colour = Figure::white,
                                             .width = 1,
                                             .dashed = true});
    panel.layers.emplace_back(Figure::Line{
        .label = "", .x = {time, time}, .y = {0, 2 * pi}, .colour = Figure::white, .width = 0.8});
    return panel;
  }
};

/// λₖ / λ_{k*} against k, and what was measured.
Figure::Panel rates_of(std::span<const FirstClusters> firsts) {
  Figure::Panel panel{.title = "growth of modes",
                      .x = {.label = "k", .low = 0.5, .high = 8.5, .whole = true},
                      .y = {.label = "rate, of the largest λ_k", .low = 0, .high = 1.5}};
  for (int colour = 0; const FirstClusters& first : firsts) {
    const double largest = *std::ranges::max_element(first.rates);
    Figure::Line line{.label = text("k^2 I_k(β)/β, β = %g", first.beta), .colour = colour};
    Figure::Points dots{.label = text("measured, β = %g", first.beta), .colour = colour};
    for (std::size_t k = 0; k < first.rates.size(); ++k) {
      line.x.push_back(static_cast<double>(k + 1));
      line.y.push_back(first.rates[k] / largest);
      dots.x.push_back(static_cast<double>(k + 1));
      dots.y.push_back(first.measured[k] / largest);
    }
    panel.layers.emplace_back(line);
    panel.layers.emplace_back(dots);
    ++colour;
  }
  return panel;
}

// ---- The staircase of the energy ------------------------------------------------------------------------------

struct Staircase {
  double beta;
  using Field = attnflow::CircleDynamics<double, Weights>;
  static constexpr double tolerance = 1e-3;
  std::vector<double> tau = {}, t = {}, energy = {};
  std::vector<Angles> states = {};
  std::vector<attnflow::MergeEvent> events = {};

  static Angles start() {
    Angles theta(1, 5);
    theta << 0, 0.042490, 0.169961, 0.339923, 0.594865;  // {0, 0.5, 2, 4, 7} log b / (2 √b), b = 2000
    return theta;
  }
  [[nodiscard]] double energy_of(const Angles& theta) const {
    double sum = 0;
    for (const double a : theta.row(0))
      for (const double b : theta.row(0)) sum += std::exp(-2 * beta * std::pow(std::sin((a - b) / 2), 2));
    return sum / 25;
  }

  void follow() {
    const attnflow::ConstantSpeed<Field> field(Field({beta, true}), std::log(beta));
    attnflow::Merging<attnflow::RungeKutta4<Angles>> stepper(tolerance, attnflow::TokenSpace::circle);
    attnflow::ElapsedTime<Field> elapsed(field);
    Angles theta = start();
    const auto look = [&](const attnflow::StepView<Angles>& step) {
      elapsed(step);
      states.push_back(step.state());
      energy.push_back(energy_of(step.state()));
      const bool one = (step.state().array() == step.state()(0, 0)).all();
      return one ? attnflow::Flow::stop : attnflow::Flow::proceed;
    };
    (void)integrate(field, stepper, theta, {.to = 1, .step = 1e-4}, look);
    tau = elapsed.taus();
    t = elapsed.times();
    events = stepper.events();
  }
  /// The step at whose end an event was.
  [[nodiscard]] std::size_t place(const attnflow::MergeEvent& event) const {
    return static_cast<std::size_t>(std::ranges::lower_bound(tau, event.t - 1e-9) - tau.begin());
  }
  /// Two clusters of masses 3/5 and 2/5 at the distance u: u̇ = −e^{β (cos u − 1)} sin u. The time from the merge before
  /// to the last one, by Simpson's rule.
  [[nodiscard]] double last_wait() const {
    const Angles& at = states[place(events[2])];
    const double from = tolerance, to = at(0, 4) - at(0, 0);
    const int parts = 20000;
    double sum = 0;
    for (int k = 0; k <= parts; ++k) {
      const double u = from + (to - from) * k / parts, half = std::sin(u / 2);
      const double weight = k == 0 || k == parts ? 1 : k % 2 == 1 ? 4 : 2;
      sum += weight * std::exp(2 * beta * half * half) / std::sin(u);
    }
    return sum * (to - from) / parts / 3;
  }
};

using Parts = std::vector<std::vector<Index>>;
const std::vector<Parts> merge_order{{{0}, {1}}, {{0, 1}, {2}}, {{3}, {4}}, {{0, 1, 2}, {3, 4}}};
constexpr double plateaus[] = {0.28, 0.44, 0.52, 1};  // ∑ m² of {01}, 2, 3, 4; {012}, 3, 4; {012}, {34}; all

void claims(gallery::Exhibit& exhibit, std::span<const Staircase> stairs) {
  double same = 0, off_plateau = 0, off_step = 0, off_time = 0, fall = 0, drift = 0;
  for (const Staircase& s : stairs) {
    bool ordered = s.events.size() == merge_order.size();
    double before = 0.2;
    for (std::size_t e = 0; ordered && e < merge_order.size(); ++e) {
      const Parts& parts = s.events[e].merge.parts;
      ordered = parts == merge_order[e];
      const double now = s.energy[s.place(s.events[e])];
      const double rise = 2. * static_cast<double>(parts[0].size() * parts[1].size()) / 25;
      off_plateau = std::max(off_plateau, std::abs(now - plateaus[e]));
      off_step = std::max(off_step, std::abs(now - before - rise));
      before = now;
    }
    same += ordered ? 1 : 0;
    for (std::size_t k = 1; k < s.energy.size(); ++k) fall = std::max(fall, s.energy[k - 1] - s.energy[k]);
    drift = std::max(drift, std::abs(s.states.back().mean() - Staircase::start().mean()));
    if (ordered)
      off_time = std::max(off_time, std::abs((s.t.back() - s.t[s.place(s.events[2])]) / s.last_wait() - 1));
  }
  exhibit.equal("staircases, of 6, that merge {0,1}, then 2, then {3,4}, then all", same, 6);
  exhibit.at_most("energy after a merge less ∑ m_q²", off_plateau, 2e-3);
  exhibit.at_most("rise of the energy from merge to merge less 2 m_a m_b", off_step, 2e-3);
  exhibit.at_most("fall of the energy in a step", fall, 1e-12);
  exhibit.at_most("change of the mean angle", drift, 1e-12);
  exhibit.at_most("time of the last merge, relative error", off_time, 0.01);
  exhibit.note("log10 of the time until all are one, β = 500", std::log10(stairs.front().t.back()));
  exhibit.note("log10 of the time until all are one, β = 4000", std::log10(stairs.back().t.back()));
}

Figure::Panel energies(std::span<const Staircase> stairs) {
  Figure::Panel panel{.title = "the staircase of the energy",
                      .x = {.label = "τ, in which tokens move at speed log β", .low = 0, .high = 0.13},
                      .y = {.label = "Ê", .low = 0.18, .high = 1.05}};
  for (const double plateau : plateaus)
    panel.layers.emplace_back(Figure::Line{.label = plateau == 1 ? "∑ m_q^2" : "",
                                           .x = {0, 0.13},
                                           .y = {plateau, plateau},
                                           .colour = Figure::grey,
                                           .width = 1,
                                           .dashed = true});
  for (int colour = 0; const Staircase& s : stairs) {
    panel.layers.emplace_back(
        Figure::Line{.label = text("β = %g", s.beta), .x = s.tau, .y = s.energy, .colour = colour});
    ++colour;
  }
  return panel;
}

/// The angles against a time, and where they merge.
Figure::Panel angles(const Staircase& s, const std::vector<double>& times, Figure::Panel panel) {
  for (Index i = 0; i < 5; ++i) {
    Figure::Line line{.label = "", .x = times, .colour = static_cast<int>(i)};
    for (const Angles& theta : s.states) line.y.push_back(theta(0, i));
    panel.layers.emplace_back(line);
  }
  Figure::Points merges{.label = "merge", .colour = Figure::black, .size = 3.5};
  for (const attnflow::MergeEvent& event : s.events) {
    const std::size_t k = s.place(event);
    merges.x.push_back(times[k]);
    merges.y.push_back(s.states[k](0, event.merge.parts[0][0]));
  }
  panel.layers.emplace_back(merges);
  return panel;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "metastability", "Clusters that last, and merge pair by pair",
      "On the circle uniform tokens first form as many clusters as the fastest growing mode has "
      "waves; these merge one pair after the other, up a staircase of the energy.");
  std::vector<FirstClusters> firsts{{5, 0.3, 3, 4}, {7, 0.045, 4, 4}};
  Figure figure{
      .title = "Clusters that last, and merge pair by pair",
      .caption =
          "Unnormalised attention on the circle. (a), (b): dashed, the centres that the phase of the "
          "fastest mode predicts at t = 0; clusters are counted at the line. (d)–(f): five tokens, "
          "merged at a distance of 10^{−3}",
      .columns = 3};
  for (FirstClusters& first : firsts) {
    first.measure_rates();
    first.follow();
    first.claims(exhibit);
    figure.panels.push_back(first.panel());
  }
  figure.panels.push_back(rates_of(firsts));
  std::vector<Staircase> stairs;
  for (const double beta : {500., 1000., 1500., 2000., 3000., 4000.}) stairs.push_back({beta});
  for (Staircase& s : stairs) s.follow();
  claims(exhibit, stairs);
  figure.panels.push_back(energies(stairs));
  figure.panels.push_back(
      angles(stairs[3], stairs[3].tau,
             {.title = "β = 2000 at constant speed", .x = {.label = "τ", .low = 0}, .y = {.label = "θ_i"}}));
  figure.panels.push_back(angles(stairs[0], stairs[0].t,
                                 {.title = "β = 500 in its own time",
                                  .x = {.label = "t", .low = 0.1, .logarithmic = true},
                                  .y = {.label = "θ_i"}}));
  exhibit.figure(figure);
  return exhibit.finish();
}
