#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>

#include "catch.hpp"
#include "integrators/fields.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::DormandPrince5;
using attnflow::FixedSteps;
using attnflow::Flow;
using attnflow::integrate;
using attnflow::Outcome;

/// [HNW93, II.5 table 5.2] as it is printed there: c, A, and the weights of order 5 and of order 4.
constexpr std::array<double, 7> c{0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1};
constexpr std::array<std::array<double, 6>, 7> A{{
    {},
    {1. / 5},
    {3. / 40, 9. / 40},
    {44. / 45, -56. / 15, 32. / 9},
    {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
    {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
    {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84},
}};
constexpr std::array<double, 7> b4{5179. / 57600,    0,           7571. / 16695, 393. / 640,
                                   -92097. / 339200, 187. / 2100, 1. / 40};

/// The new state and the estimate, by the definition.
template <class F>
std::pair<typename F::State, typename F::State> by_definition(const F& f, double t,
                                                              const typename F::State& x, double h) {
  std::array<typename F::State, 7> k;
  typename F::State stage = x;
  for (std::size_t i = 0; i < 7; ++i) {
    stage = x;
    for (std::size_t j = 0; j < i; ++j) stage += h * A[i][j] * k[j];
    f(t + c[i] * h, stage, k[i]);
  }
  typename F::State other = x;
  for (std::size_t i = 0; i < 7; ++i) other += h * b4[i] * k[i];
  return {stage, stage - other};
}

/// ẋ = t^k, the same in every entry.
struct Power {
  using State = attnflow::Tokens<double, 1>;
  int k;
  void operator()(double t, const State& x, State& dx) const { dx.setConstant(1, x.cols(), std::pow(t, k)); }
};

/// Riccati with time as a third coordinate: ṡ = 1, ż = s z².
struct AutonomousRiccati {
  using State = attnflow::Tokens<double, 3>;
  void operator()(double, const State& x, State& dx) const {
    dx.resize(3, x.cols());
    dx.row(0) = x.row(2).array() * (x.row(0).array().square() - x.row(1).array().square());
    dx.row(1) = 2 * x.row(2).array() * x.row(0).array() * x.row(1).array();
    dx.row(2).setOnes();
  }
};

constexpr double epsilon = std::numeric_limits<double>::epsilon();

}  // namespace

TEST_CASE("a step and its error estimate are those of the table", "[dormand_prince]") {
  // The stages are sums of at most 6 terms; |h A| sums to about 24 h, h = 1/8: a few tens of ε. The estimate is compared
  // with a difference of states of size one.
  const auto compare = [](const auto& field, double t, const auto& start, double h) {
    using State = typename std::remove_cvref_t<decltype(field)>::State;
    const auto [next, difference] = by_definition(field, t, start, h);
    DormandPrince5<State> stepper;
    State x = start;
    stepper.step(field, t, x, h);
    CHECK((x - next).cwiseAbs().maxCoeff() <= 64 * epsilon);
    for (const double atol : {1e-3, 1e-6}) {
      DormandPrince5<State> fresh;
      CHECK(fresh.attempt(field, t, start, h, 0, atol) * atol ==
            Approx(difference.cwiseAbs().maxCoeff()).epsilon(0).margin(64 * epsilon));
    }
    const double rtol = 1e-4, atol = 1e-5;
    State size = start.cwiseAbs().cwiseMax(next.cwiseAbs());
    if constexpr (attnflow::RowScaledField<std::remove_cvref_t<decltype(field)>>)
      size = size.rowwise().maxCoeff().eval().replicate(1, size.cols()).eval();
    const double worst = (difference.cwiseAbs().array() / (atol + rtol * size.array())).maxCoeff();
    DormandPrince5<State> fresh;
    CHECK(fresh.attempt(field, t, start, h, rtol, atol) ==
          Approx(worst).epsilon(0).margin(64 * epsilon / atol));
  };
  compare(Riccati{}, 0.5, Riccati::exact(0.5), 0.25);
  compare(twisted_attention(), 0.5, small_tokens(), 0.125);
  compare(twisted_attention(), 0.5, small_tokens(), -0.125);  // backwards tokens grow apart
}

TEST_CASE("steps integrate polynomials as far as order conditions go", "[dormand_prince]") {
  for (int k = 0; k <= 4; ++k) {
    const Power field{k};
    Power::State x = Power::State::Zero(1, 2), inside;
    DormandPrince5<Power::State> stepper;
    stepper.step(field, 1, x, 1);
    const auto exact = [&](double t) { return (std::pow(t, k + 1) - 1) / (k + 1); };
    // Values up to 2^4, weights whose absolute values sum to 2 (steps) and to about 30 (dense output).
    CHECK(x(0, 1) == Approx(exact(2)).epsilon(0).margin(16 * 8 * epsilon));
    const double estimate =
        DormandPrince5<Power::State>{}.attempt(field, 1, Power::State::Zero(1, 2), 1, 0, 1);
    if (k <= 3)
      CHECK(estimate <= 16 * 8 * epsilon);
    else
      CHECK(estimate > 1e-5);
    for (const double t : {1.1, 1.37, 1.5, 1.9}) {
      stepper.interpolate(field, t, inside);
      if (k <= 3) CHECK(inside(0, 0) == Approx(exact(t)).epsilon(0).margin(16 * 32 * epsilon));
    }
  }
}

TEST_CASE("time as a coordinate makes no difference: stages are at their nodes", "[dormand_prince]") {
  Riccati::State x = Riccati::exact(0.5);
  AutonomousRiccati::State y(3, 1);
  y << x, 0.5;
  DormandPrince5<Riccati::State> on_x;
  DormandPrince5<AutonomousRiccati::State> on_y;
  on_x.step(Riccati{}, 0.5, x, 0.5);
  on_y.step(AutonomousRiccati{}, 0, y, 0.5);
  CHECK((y.topRows(2) - x).cwiseAbs().maxCoeff() <= 64 * epsilon);
  CHECK(y(2, 0) == Approx(1).epsilon(0).margin(8 * epsilon));
  Riccati::State at_x;
  AutonomousRiccati::State at_y;
  on_x.interpolate(Riccati{}, 0.7, at_x);
  on_y.interpolate(AutonomousRiccati{}, 0.2, at_y);
  CHECK((at_y.topRows(2) - at_x).cwiseAbs().maxCoeff() <= 256 * epsilon);
}

TEST_CASE("the error estimate falls like the fifth power of the step", "[dormand_prince]") {
  const auto estimate = [](double h) {
    return DormandPrince5<Riccati::State>{}.attempt(Riccati{}, 0.5, Riccati::exact(0.5), h, 0, 1);
  };
  CHECK(std::log2(estimate(1. / 32) / estimate(1. / 64)) == Approx(5).margin(0.15));
  const auto attention = twisted_attention();
  const auto of_attention = [&](double h) {
    return DormandPrince5<attnflow::Tokens<double, 3>>{}.attempt(attention, 0.5, small_tokens(), h, 0, 1);
  };
  CHECK(std::log2(of_attention(1. / 32) / of_attention(1. / 64)) == Approx(5).margin(0.15));
}

TEST_CASE("the error ratio is the largest over the components, and infinite where anything is not finite",
          "[dormand_prince]") {
  using State = BlowUp<double>::State;
  State x(1, 3);
  x << 0, 0.5, 0.25;
  const double alone = DormandPrince5<State>{}.attempt(BlowUp<double>{}, 0, x.col(1), 0.1, 1e-6, 1e-6);
  CHECK(DormandPrince5<State>{}.attempt(BlowUp<double>{}, 0, x, 0.1, 1e-6, 1e-6) == alone);
  x(0, 2) = 1e200;
  const double infinite = DormandPrince5<State>{}.attempt(BlowUp<double>{}, 0, x, 0.1, 1e-6, 1e-6);
  CHECK(infinite == std::numeric_limits<double>::infinity());
  // An entry that is zero and stays zero asks for nothing, also where atol is zero.
  x << 0, 0, 0;
  CHECK(DormandPrince5<State>{}.attempt(BlowUp<double>{}, 0, x, 0.1, 1e-6, 0) == 0);
}

TEST_CASE("a token near zero does not shorten the first step where its row has one scale",
          "[dormand_prince]") {
  struct OneScale : Decay {
    [[nodiscard]] bool rows_have_one_scale() const { return true; }
  };
  Decay::State x(1, 2);
  x << 1, 1;
  const auto first = [&](const auto& field) {
    return DormandPrince5<Decay::State>{}.first_step(field, 0, x, 1, 1e-6, 1e-9);
  };
  CHECK(first(OneScale{}) == first(Decay{}));
  x << 1, 0;
  const double alone = first(OneScale{});
  struct Uneven : OneScale {  // the token at zero moves as the other one does
    void operator()(double, const State& at, State& dx) const { dx = State::Constant(1, 2, -at(0, 0)); }
  };
  CHECK(first(Uneven{}) == alone);
}

TEST_CASE("the controller keeps to its limits", "[dormand_prince]") {
  const double infinity = std::numeric_limits<double>::infinity();
  DormandPrince5<Riccati::State> stepper;
  CHECK(stepper.memory().next_step == 0);
  CHECK(stepper.propose(1, 0, true) == 10);
  CHECK(stepper.memory().next_step == 10);
  CHECK(stepper.propose(1, 1e-30, true) == 10);
  // 0.9 (1e-4)^0.04 / 1^0.17: the error before counted as 1e-4.
  CHECK(stepper.propose(1, 1, true) == Approx(0.9 * std::pow(1e-4, 0.04)));
  CHECK(stepper.propose(1, 1, true) == Approx(0.9));
  // Rejections: never longer, at least a fifth, and no growth in the step that follows.
  CHECK(stepper.propose(1, 1.001, false) == Approx(0.9 / std::pow(1.001, 0.17)));
  CHECK(stepper.propose(1, 1e-9, true) == 1);
  CHECK(stepper.propose(1, 1e-9, true) == 10);
  CHECK(stepper.propose(1, 1e30, false) == Approx(0.2));
  CHECK(stepper.propose(1, infinity, false) == Approx(0.2));
  CHECK(stepper.propose(1, std::numeric_limits<double>::quiet_NaN(), false) == Approx(0.2));
  CHECK(stepper.memory().next_step == 10);  // what was accepted last
}

TEST_CASE("the accuracy of a run follows the tolerance", "[dormand_prince]") {
  double previous = 1;
  for (const double rtol : {1e-4, 1e-6, 1e-8, 1e-10, 1e-12}) {
    auto x = Riccati::exact(0);
    const auto report = integrate(Riccati{}, DormandPrince5<Riccati::State>{}, x,
                                  {.to = 4, .rtol = rtol, .atol = rtol / 100});
    REQUIRE(report.outcome == Outcome::reached_end);
    const double error = (x - Riccati::exact(4)).norm();
    CHECK(error < previous);
    CHECK(error < 10 * rtol);  // the flow contracts; a few dozen steps, each within rtol |x|
    previous = error;
  }
}

namespace {

/// Stops after a number of accepted steps.
struct StopAfter {
  long steps;
  long seen = -1;
  Flow operator()(double, const auto&) { return ++seen >= steps ? Flow::stop : Flow::proceed; }
};

/// The oscillator of van der Pol in a wind: it rests, then jumps, and steps are rejected at every jump.
struct Jumps {
  using State = attnflow::Tokens<double, 2>;
  void operator()(double t, const State& x, State& dx) const {
    dx.resize(2, x.cols());
    dx.row(0) = x.row(1);
    dx.row(1) =
        10 * (1 - x.row(0).array().square()) * x.row(1).array() - x.row(0).array() + 0.1 * std::sin(t);
  }
  static State start() { return State{{2, 1, -2}, {0, 1, 0.5}}; }
  static AdaptiveSteps plan() { return {.to = 30, .rtol = 1e-4, .atol = 1e-6}; }
};

}  // namespace

TEST_CASE("a run stopped after any step and resumed has the bits of one never stopped", "[dormand_prince]") {
  using State = Jumps::State;
  State whole = Jumps::start();
  const auto full = integrate(Jumps{}, DormandPrince5<State>{}, whole, Jumps::plan());
  REQUIRE(full.outcome == Outcome::reached_end);
  REQUIRE(full.rejected > 3);
  long after_a_rejection = 0, rejected_before = 0;
  for (long k = 0; k < full.steps; ++k) {
    State x = Jumps::start();
    DormandPrince5<State> stepper;
    const auto first = integrate(Jumps{}, stepper, x, Jumps::plan(), StopAfter{k});
    REQUIRE(first.outcome == Outcome::stopped_by_observer);
    REQUIRE(first.steps == k);
    after_a_rejection += first.rejected > std::exchange(rejected_before, first.rejected) ? 1 : 0;
    const auto memory = stepper.memory();
    AdaptiveSteps rest = Jumps::plan();
    rest.from = first.t;
    DormandPrince5<State> another;
    another.restore(memory);
    const auto second = integrate(Jumps{}, another, x, rest);
    CHECK(second.outcome == Outcome::reached_end);
    CHECK(first.steps + second.steps == full.steps);
    CHECK(first.rejected + second.rejected == full.rejected);
    CHECK(same_bits(x, whole));
  }
  CHECK(after_a_rejection > 3);
}

TEST_CASE("a run that met max_steps, also in the middle of rejections, resumes with the same bits",
          "[dormand_prince]") {
  using State = Jumps::State;
  State whole = Jumps::start();
  const auto full = integrate(Jumps{}, DormandPrince5<State>{}, whole, Jumps::plan());
  REQUIRE(full.rejected > 3);
  for (long attempts = 1; attempts < full.steps + full.rejected; ++attempts) {
    State x = Jumps::start();
    DormandPrince5<State> stepper, another;
    AdaptiveSteps plan = Jumps::plan();
    plan.max_steps = attempts;
    const auto first = integrate(Jumps{}, stepper, x, plan);
    REQUIRE(first.outcome == Outcome::step_limit);
    CHECK(first.steps + first.rejected == attempts);
    another.restore(stepper.memory());
    plan = Jumps::plan();
    plan.from = first.t;
    CHECK(integrate(Jumps{}, another, x, plan).outcome == Outcome::reached_end);
    CHECK(same_bits(x, whole));
  }
}

TEST_CASE("a memory serves the next run alone", "[dormand_prince]") {
  const AdaptiveSteps plan{.to = 2, .rtol = 1e-6};
  const auto run = [&](DormandPrince5<Riccati::State>& stepper) {
    auto x = Riccati::exact(0);
    REQUIRE(integrate(Riccati{}, stepper, x, plan).outcome == Outcome::reached_end);
    return x;
  };
  DormandPrince5<Riccati::State> stepper, restored;
  const auto fresh = run(stepper);
  restored.restore({.next_step = 0.37, .previous_error = 0.5, .after_rejection = true});
  CHECK_FALSE(same_bits(run(restored), fresh));
  CHECK(same_bits(run(restored), fresh));
  CHECK(same_bits(run(stepper), fresh));
}

TEST_CASE("a state changed between steps is noticed by the reused slope", "[dormand_prince]") {
  const Riccati field;
  DormandPrince5<Riccati::State> used;
  auto x = Riccati::exact(0);
  used.step(field, 0, x, 0.25);
  x(0, 0) += 0.125;
  auto y = x;
  used.step(field, 0.25, x, 0.25);
  DormandPrince5<Riccati::State>{}.step(field, 0.25, y, 0.25);
  CHECK(same_bits(x, y));
  // The same state at another time is another slope.
  y = x;
  used.step(field, 0.75, x, 0.25);
  DormandPrince5<Riccati::State>{}.step(field, 0.75, y, 0.25);
  CHECK(same_bits(x, y));
  // Another number of tokens.
  Riccati::State more(2, 3), same(2, 3);
  more << 1, 2, 3, 4, 5, 6;
  same = more;
  used.step(field, 1, more, 0.01);
  DormandPrince5<Riccati::State>{}.step(field, 1, same, 0.01);
  CHECK(same_bits(more, same));
}
