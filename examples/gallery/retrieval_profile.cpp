// Lost in the middle. arXiv:2605.09213: causal attention with ALiBi on the circle, weights normalised over the positions,
//
//     θ̇ⱼ = −β ∑_{k<j} ωⱼₖ sin(θⱼ − θₖ) e^{β cos(θⱼ − θₖ)},   ωⱼₖ = e^{−λ(j−k)/N} / ∑_{l<j} e^{−λ(j−l)/N}.
//
// Of a prompt of N independent uniform angles the last token remembers the one at σ₀N as
//
//     N E cos(θ_N(t) − θ_{σ₀N}(0)) → g_a(t, 1; σ₀),   a = I₁(β),
//
// and the accuracy of decoding it among M codewords varies with σ₀ as the profile S_t does: high at the begin (primacy),
// high at the end until a critical time (recency), lowest in between.
#include "gallery/exhibit.hpp"

#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/laws/position_weighted.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/ensembles/ensemble.hpp>
#include <attnflow/ensembles/statistics.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/reductions/retrieval.hpp>
#include <attnflow/systems/circle_dynamics.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <vector>

namespace {

using Eigen::Index;
using figures::Figure;
using State = attnflow::Tokens<double, 1>;

constexpr Index n = 40, prompts = 20000;
constexpr double beta = 1, lambda = 1, end = 1;
constexpr int codewords = 8;

/// N (cos(θ_N(t) − θᵢ(0)) − cos(θ_N(0) − θᵢ(0))) for every i but the last. The second term has mean zero, and nearly the
/// fluctuations of the first: without it twenty times as many prompts would be needed.
class Memory {
 public:
  void operator()(Index /*k*/, double t, const State& theta) {
    if (t == 0) start_ = theta;
    if (t < end) return;
    for (Index i = 0; i + 1 < n; ++i)
      moments_[static_cast<std::size_t>(i)].add(
          static_cast<double>(n) *
          (std::cos(theta(0, n - 1) - start_(0, i)) - std::cos(start_(0, n - 1) - start_(0, i))));
  }
  void merge(const Memory& other) {
    for (std::size_t i = 0; i < moments_.size(); ++i) moments_[i].merge(other.moments_[i]);
  }
  [[nodiscard]] const std::vector<attnflow::Moments>& moments() const { return moments_; }

 private:
  State start_;
  std::vector<attnflow::Moments> moments_ = std::vector<attnflow::Moments>(static_cast<std::size_t>(n - 1));
};

/// The particles against g.
Figure::Panel particles(gallery::Exhibit& exhibit) {
  using attnflow::Alibi, attnflow::PositionWeighted, attnflow::StrictCausal;
  const attnflow::CircleDynamics<double, PositionWeighted, StrictCausal, Alibi> system(
      PositionWeighted{.beta = beta}, beta, {}, Alibi{.slope = lambda / static_cast<double>(n)});
  const attnflow::Ensemble ensemble(
      prompts, [&](Index) -> const auto& { return system; },
      [](Index, attnflow::Generator& generator) {
        return State(attnflow::uniform_box<double, 1>(generator, n, 1, -std::numbers::pi, std::numbers::pi));
      });
  const auto [memory, report] =
      ensemble.run(attnflow::RungeKutta4<State>{}, {.to = end, .step = 0.125}, Memory{});
  exhibit.equal("prompts that were followed to the end", static_cast<double>(report.reached_end), prompts);

  Figure::Line theory{.label = "g_a(t, 1; σ_0)", .colour = Figure::black, .width = 1.5};
  for (int k = 20; k <= 1000; ++k) {
    theory.x.push_back(k / 1000.);
    theory.y.push_back(attnflow::retrieval_gain(
        attnflow::RetrievalProfile(beta, lambda, codewords).rates()[0], lambda, end, 1, theory.x.back()));
  }
  Figure::Points measured{.label = "40 tokens, 20000 prompts", .colour = 0, .size = 3};
  Figure::Band error{.label = "± 2 standard errors", .colour = 0};
  double worst = 0, largest_error = 0;
  const double a = attnflow::RetrievalProfile(beta, lambda, codewords).rates()[0];
  for (Index i = 0; i + 1 < n; ++i) {
    const attnflow::Moments& m = memory.moments()[static_cast<std::size_t>(i)];
    const double at = (static_cast<double>(i) + 1) / static_cast<double>(n);
    measured.x.push_back(at);
    measured.y.push_back(m.mean());
    error.x.push_back(at);
    error.low.push_back(m.mean() - 2 * m.standard_error());
    error.high.push_back(m.mean() + 2 * m.standard_error());
    if (i < 5) continue;  // of the first few positions N = 40 is not many
    worst = std::max(worst, std::abs(m.mean() - attnflow::retrieval_gain(a, lambda, end, 1, at)));
    largest_error = std::max(largest_error, m.standard_error());
  }
  // Corrections are of the order 1/N; of 34 positions one may be off by 3.5 standard errors.
  exhibit.note("largest standard error", largest_error);
  exhibit.at_most("N E cos(θ_N(t) − θ_i(0)) against g_a, from the sixth position on", worst,
                  0.05 + 3.5 * largest_error);
  const auto mean_of = [&](Index from, Index to) {
    double sum = 0;
    for (Index i = from; i < to; ++i) sum += measured.y[static_cast<std::size_t>(i)];
    return sum / static_cast<double>(to - from);
  };
  const double low = *std::min_element(measured.y.begin(), measured.y.end());
  exhibit.at_least("primacy: the first three positions above the least of all", mean_of(0, 3) - low, 0.2);
  exhibit.at_least("recency: the last three positions above the least of all", mean_of(n - 4, n - 1) - low,
                   0.1);
  return {.title = "the last token's memory of position σ_0",
          .x = {.label = "σ_0 = i/N", .low = 0, .high = 1},
          .y = {.label = "N E cos(θ_N(t) − θ_i(0)), t = 1", .low = 0},
          .layers = {error, theory, measured}};
}

/// S_t less its minimum.
Figure::Panel profiles(gallery::Exhibit& exhibit) {
  const attnflow::RetrievalProfile profile(beta, lambda, codewords);
  Figure::Panel panel{.title = "retrieval profiles, β = λ = 1, M = 8",
                      .x = {.label = "σ_0", .low = 0, .high = 1},
                      .y = {.label = "S_t(σ_0) − min S_t", .low = 0, .high = 1}};
  int colour = 0;
  for (const double t : {0.25, 0.5, 1., 2., 3., 5.}) {
    std::vector<double> x, y;
    for (int k = 0; k <= 800; ++k) {
      x.push_back(0.02 + 0.96 * k / 800);
      y.push_back(profile(t, x.back()));
    }
    const auto least = std::min_element(y.begin(), y.end());
    const double bottom = *least;
    const auto at = static_cast<std::size_t>(least - y.begin());
    bool one_minimum = true;
    for (std::size_t k = 1; k < y.size(); ++k) one_minimum = one_minimum && ((y[k] > y[k - 1]) == (k > at));
    const bool recent = profile(t, 1) > profile(t, 0.9999);
    const std::string when = "t = " + std::to_string(t).substr(0, 4) + ": ";
    exhibit.claim(when + "the profile rises towards σ_0 = 1 exactly before the critical time", recent ? 1 : 0,
                  t < profile.critical_time() ? "1" : "0", recent == (t < profile.critical_time()));
    if (t < profile.critical_time())
      exhibit.claim(when + "place of its only minimum", x[at], "between 0 and 1, none beside it",
                    one_minimum && at > 0 && at + 1 < y.size());
    for (double& value : y) value -= bottom;
    panel.layers.emplace_back(Figure::Line{.label = "t = " + std::to_string(t).substr(0, t < 1 ? 4 : 1),
                                           .x = x,
                                           .y = y,
                                           .colour = colour++,
                                           .dashed = t > profile.critical_time()});
  }
  exhibit.claim("critical time at β = λ = 1, M = 8", profile.critical_time(), "2.457489 (computed elsewhere)",
                std::abs(profile.critical_time() - 2.457489) < 1e-6);
  exhibit.at_most("time up to which the theorem certifies the U, over the critical one",
                  profile.certified_time() / profile.critical_time(), 1);
  return panel;
}

/// Until when the end of the prompt is remembered best.
Figure::Panel critical_times() {
  Figure::Panel panel{.title = "until when recency lasts",
                      .x = {.label = "β"},
                      .y = {.label = "critical time", .logarithmic = true}};
  int colour = 0;
  for (const double slope : {0.25, 1., 4.}) {
    Figure::Line line{.label = "λ = " + std::to_string(slope).substr(0, slope < 1 ? 4 : 1),
                      .colour = colour++};
    for (double b = 0.25; b <= 4; b += 0.05) {
      line.x.push_back(b);
      line.y.push_back(attnflow::RetrievalProfile(b, slope, codewords).critical_time());
    }
    panel.layers.emplace_back(std::move(line));
  }
  return panel;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "retrieval_profile", "The last token forgets the middle of the prompt",
      "Causal attention with ALiBi on the circle: the last token remembers the begin of a prompt and, "
      "until a critical time, its end.");
  Figure figure{.title = "Causal attention with ALiBi on the circle: lost in the middle", .columns = 3};
  figure.panels = {particles(exhibit), profiles(exhibit), critical_times()};
  exhibit.figure(figure);
  return exhibit.finish();
}
