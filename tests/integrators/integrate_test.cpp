#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "catch.hpp"
#include "integrators/fields.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::DormandPrince5;
using attnflow::Euler;
using attnflow::FixedSteps;
using attnflow::Flow;
using attnflow::integrate;
using attnflow::Outcome;
using attnflow::RungeKutta4;
using attnflow::StepView;
using Catch::Matchers::ContainsSubstring;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// A field that remembers where it was evaluated.
template <class F>
struct Recorded {
  using State = typename F::State;
  F field;
  std::vector<std::pair<double, State>>* calls;
  void operator()(double t, const State& x, State& dx) const {
    calls->emplace_back(t, x);
    field(t, x, dx);
  }
};

using FixedSteppers =
    std::tuple<Euler<Riccati::State>, RungeKutta4<Riccati::State>, DormandPrince5<Riccati::State>>;

}  // namespace

TEST_CASE("a plan names the field that is wrong", "[integrate]") {
  const auto fixed = [](FixedSteps plan) { return refusal([=] { plan.validate(); }); };
  CHECK_THAT(fixed({.step = 1}), ContainsSubstring("FixedSteps::to is not set"));
  CHECK_THAT(fixed({.to = 1}), ContainsSubstring("FixedSteps::step is not set"));
  CHECK_THAT(fixed({.from = infinity, .to = 1, .step = 1}), ContainsSubstring("FixedSteps::from is inf"));
  CHECK_THAT(fixed({.from = 1, .to = 0.5, .step = 1}), ContainsSubstring("FixedSteps::to is 0.5"));
  CHECK_THAT(fixed({.to = infinity, .step = 1}), ContainsSubstring("FixedSteps::to is inf"));
  for (const double step : {0.0, -1.0, infinity, not_a_number})
    CHECK_THAT(fixed({.to = 1, .step = step}), ContainsSubstring("FixedSteps::step is "));
  CHECK_THAT(fixed({.from = 1, .to = 2, .step = 1e-17}), ContainsSubstring("FixedSteps::step is 1e-17"));
  CHECK_THAT(fixed({.from = 0, .to = 1e9, .step = 1e-9}), ContainsSubstring("FixedSteps::step is 1e-09"));
  CHECK_NOTHROW(FixedSteps{.from = 1, .to = 1, .step = 1}.validate());

  const auto adaptive = [](AdaptiveSteps plan) { return refusal([=] { plan.validate(); }); };
  CHECK_THAT(adaptive({}), ContainsSubstring("AdaptiveSteps::to is not set"));
  CHECK_THAT(adaptive({.from = not_a_number, .to = 1}), ContainsSubstring("AdaptiveSteps::from is not"));
  CHECK_THAT(adaptive({.from = 2, .to = 1}), ContainsSubstring("AdaptiveSteps::to is 1"));
  for (const double rtol : {0.0, -1e-9, 2e-15, infinity, not_a_number})
    CHECK_THAT(adaptive({.to = 1, .rtol = rtol}), ContainsSubstring("AdaptiveSteps::rtol is "));
  for (const double atol : {-1e-12, infinity, not_a_number})
    CHECK_THAT(adaptive({.to = 1, .atol = atol}), ContainsSubstring("AdaptiveSteps::atol is "));
  for (const double first : {-1e-12, infinity, not_a_number})
    CHECK_THAT(adaptive({.to = 1, .first_step = first}), ContainsSubstring("AdaptiveSteps::first_step is "));
  for (const double most : {0.0, -1.0, not_a_number})
    CHECK_THAT(adaptive({.to = 1, .max_step = most}), ContainsSubstring("AdaptiveSteps::max_step is "));
  for (const long most : {0L, -3L})
    CHECK_THAT(adaptive({.to = 1, .max_steps = most}), ContainsSubstring("AdaptiveSteps::max_steps is "));
  CHECK_NOTHROW(AdaptiveSteps{.to = 1, .rtol = 3e-15, .atol = 0}.validate());
}

TEST_CASE("a plan that is refused leaves the state as it was", "[integrate]") {
  auto x = Riccati::exact(0);
  const auto start = x;
  CHECK_THAT(refusal([&] {
               (void)integrate(Riccati{}, RungeKutta4<Riccati::State>{}, x,
                               {.from = 1, .to = 0, .step = 0.1});
             }),
             ContainsSubstring("FixedSteps::to"));
  CHECK_THAT(
      refusal([&] { (void)integrate(Riccati{}, DormandPrince5<Riccati::State>{}, x, {.from = 1, .to = 0}); }),
      ContainsSubstring("AdaptiveSteps::to"));
  CHECK(same_bits(x, start));
  // Ten epsilon of float are 1.2e-6: the default tolerance is for double.
  auto small = small_tokens<float>();
  const auto field = twisted_attention<float>();
  using Stepper = DormandPrince5<attnflow::Tokens<float, 3>>;
  CHECK_THAT(refusal([&] { (void)integrate(field, Stepper{}, small, {.to = 1}); }),
             ContainsSubstring("AdaptiveSteps::rtol is 1e-09"));
  CHECK_THAT(refusal([&] { (void)integrate(field, Stepper{}, small, {.to = 1, .rtol = 1.1e-6}); }),
             ContainsSubstring("AdaptiveSteps::rtol"));
  CHECK(same_bits(small, small_tokens<float>()));
  CHECK(integrate(field, Stepper{}, small, {.to = 1, .rtol = 1.2e-6}).outcome == Outcome::reached_end);
}

TEMPLATE_LIST_TEST_CASE("equal steps begin at from + k step and land on the end", "[integrate]",
                        FixedSteppers) {
  struct Case {
    double from, to, step;
    long steps;
  };
  for (const Case c : {Case{0, 1, 0.1, 10}, Case{0, 1, 0.3, 4}, Case{-0.3, 2.1, 0.1, 24},
                       Case{3.3, 3.4, 1, 1}, Case{0, 0.7, 0.7, 1}, Case{0, 0.9, 0.3, 3}, Case{0, 2.1, 0.7, 3},
                       Case{0.1, 10.1, 1. / 3, 30}, Case{0, 1, 1 - 1e-7, 2}}) {
    INFO(c.from << " to " << c.to << " by " << c.step);
    std::vector<std::pair<double, double>> seen;
    auto x = Riccati::exact(0);
    const auto report =
        integrate(Riccati{}, TestType{}, x, FixedSteps{.from = c.from, .to = c.to, .step = c.step},
                  [&](const StepView<Riccati::State>& step) { seen.emplace_back(step.t0(), step.t1()); });
    CHECK(report.outcome == Outcome::reached_end);
    CHECK(report.t == c.to);
    REQUIRE(report.steps == c.steps);
    CHECK(report.rejected == 0);
    REQUIRE(seen.size() == static_cast<std::size_t>(c.steps) + 1);
    CHECK(seen.front() == std::pair(c.from, c.from));
    for (long k = 0; k < c.steps; ++k) {
      const auto [t0, t1] = seen[static_cast<std::size_t>(k) + 1];
      CHECK(t0 == c.from + static_cast<double>(k) * c.step);
      CHECK(t1 == (k + 1 == c.steps ? c.to : c.from + static_cast<double>(k + 1) * c.step));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("many equal steps: times are products, not sums", "[integrate]", FixedSteppers) {
  auto x = Riccati::exact(0);
  long k = 0, off = 0;
  const auto look = [&](double t, const auto&) { off += t != static_cast<double>(k++) * 0.001 ? 1 : 0; };
  const auto report = integrate(Riccati{}, TestType{}, x, FixedSteps{.to = 20, .step = 0.001}, look);
  CHECK(report.steps == 20'000);
  CHECK(off == 0);
  CHECK(report.t == 20);
}

TEST_CASE("the last step has what is left as its length", "[integrate]") {
  // Euler on ẋ = −x: the length of the step can be read off the state. 1 − 0.3·3 = 0.1 is left.
  Decay::State x = Decay::State::Constant(1, 1, 1);
  REQUIRE(integrate(Decay{}, Euler<Decay::State>{}, x, {.to = 1, .step = 0.3}).steps == 4);
  CHECK(x(0) == Approx(0.7 * 0.7 * 0.7 * 0.9).epsilon(1e-14));
}

TEST_CASE("a run from a time to itself looks once and moves nothing", "[integrate]") {
  long calls = 0;
  const auto look = [&](const StepView<Riccati::State>& step) {
    ++calls;
    Riccati::State at;
    step.at(2, at);
    CHECK(same_bits(at, Riccati::exact(0)));
    CHECK(step.t0() == 2);
    CHECK(step.t1() == 2);
  };
  auto x = Riccati::exact(0);
  for (const auto& report :
       {integrate(Riccati{}, RungeKutta4<Riccati::State>{}, x, {.from = 2, .to = 2, .step = 1}, look),
        integrate(Riccati{}, DormandPrince5<Riccati::State>{}, x, {.from = 2, .to = 2}, look)}) {
    CHECK(report.outcome == Outcome::reached_end);
    CHECK(report.t == 2);
    CHECK(report.steps == 0);
    CHECK(report.evaluations == 0);
  }
  CHECK(calls == 2);
  CHECK(same_bits(x, Riccati::exact(0)));
}

TEST_CASE("an observer ends a run: at the start, or after a step", "[integrate]") {
  const auto run = [](auto stepper, const auto& plan, double until) {
    auto x = Riccati::exact(0);
    const auto report = integrate(Riccati{}, stepper, x, plan, [=](double t, const auto&) {
      return t >= until ? Flow::stop : Flow::proceed;
    });
    CHECK((x - Riccati::exact(report.t)).norm() < 0.01);  // the state is the one at report.t
    return report;
  };
  const FixedSteps fixed{.to = 1, .step = 0.01};
  for (const auto& report : {run(RungeKutta4<Riccati::State>{}, fixed, 0),
                             run(DormandPrince5<Riccati::State>{}, AdaptiveSteps{.to = 1}, 0)}) {
    CHECK(report.outcome == Outcome::stopped_by_observer);
    CHECK(report.steps == 0);
    CHECK(report.evaluations == 0);
    CHECK(report.t == 0);
  }
  const auto later = run(Euler<Riccati::State>{}, fixed, 0.495);
  CHECK(later.outcome == Outcome::stopped_by_observer);
  CHECK(later.t == 0.5);
  CHECK(later.steps == 50);
  const auto adaptive = run(DormandPrince5<Riccati::State>{}, AdaptiveSteps{.to = 1}, 0.5);
  CHECK(adaptive.outcome == Outcome::stopped_by_observer);
  CHECK(adaptive.t >= 0.5);
  CHECK(adaptive.t < 1);
  // Stop in the last step is still a stop.
  CHECK(run(Euler<Riccati::State>{}, fixed, 1).outcome == Outcome::stopped_by_observer);
}

TEST_CASE("max_steps counts accepted and rejected steps", "[integrate]") {
  auto x = Riccati::exact(0);
  const AdaptiveSteps plan{.to = 100, .rtol = 1e-12, .first_step = 50, .max_steps = 7};
  const auto report = integrate(Riccati{}, DormandPrince5<Riccati::State>{}, x, plan);
  CHECK(report.outcome == Outcome::step_limit);
  CHECK(report.rejected > 0);
  CHECK(report.steps > 0);
  CHECK(report.steps + report.rejected == 7);
  CHECK(report.t < 100);
  CHECK((x - Riccati::exact(report.t)).norm() < 1e-10);
}

TEST_CASE("a solution that leaves every bound: the state returned is the last that is finite",
          "[integrate]") {
  using State = BlowUp<double>::State;
  State x = State::Constant(1, 2, 1);
  const auto report = integrate(BlowUp<double>{}, DormandPrince5<State>{}, x, {.to = 2});
  // The next state is infinite, or a step that ends before t = 1 is shorter than what the time resolves.
  CHECK((report.outcome == Outcome::non_finite || report.outcome == Outcome::step_limit));
  CHECK(report.t < 1);
  CHECK(report.t > 1 - 1e-8);  // x = 1/(1 − t): the time of the blow-up is as exact as rtol = 1e-9
  CHECK(x.allFinite());
  CHECK(x.minCoeff() > 1e8);

  // Equal steps jump over t = 1 (the numerical solution is finite for a while), and stop before the first ∞.
  const auto fixed = [](auto stepper) {
    State y = State::Constant(1, 1, 1);
    const auto r = integrate(BlowUp<double>{}, stepper, y, FixedSteps{.to = 2, .step = 0.01});
    CHECK(r.outcome == Outcome::non_finite);
    CHECK(y.allFinite());
    CHECK(y(0) > 1e8);
    CHECK(r.t > 0.9);
    CHECK(r.t < 1.2);
    CHECK(r.t == static_cast<double>(r.steps) * 0.01);
    // One step more, by hand, is not finite.
    stepper.reset();
    stepper.step(BlowUp<double>{}, r.t, y, 0.01);
    CHECK_FALSE(y.allFinite());
  };
  fixed(Euler<State>{});
  fixed(RungeKutta4<State>{});
  fixed(DormandPrince5<State>{});
}

TEST_CASE("towards a singularity the run ends whatever the tolerance, in finite numbers", "[integrate]") {
  // The error control meets the resolution of time, or the numbers their range: either is an end, no NaN.
  const auto run = [](auto one, double rtol) {
    using Scalar = decltype(one);
    using State = typename BlowUp<Scalar>::State;
    State x = State::Constant(1, 1, one);
    const auto report = integrate(BlowUp<Scalar>{}, DormandPrince5<State>{}, x, {.to = 2, .rtol = rtol});
    CHECK((report.outcome == Outcome::non_finite || report.outcome == Outcome::step_limit));
    CHECK(x.allFinite());
    CHECK(report.t == Approx(1).margin(100 * rtol));
  };
  for (const double rtol : {1e-3, 1e-6, 1e-12}) run(1.0, rtol);
  for (const double rtol : {1e-3, 1e-5}) run(1.0F, rtol);
}

TEMPLATE_TEST_CASE("a start that is not finite ends the run before it begins", "[integrate]", float, double) {
  using State = typename BlowUp<TestType>::State;
  for (const TestType bad :
       {std::numeric_limits<TestType>::quiet_NaN(), std::numeric_limits<TestType>::infinity()}) {
    State x = State::Constant(1, 3, 1);
    x(0, 1) = bad;
    long calls = 0;
    const auto look = [&](double, const auto&) { ++calls; };
    for (const auto& report : {integrate(BlowUp<TestType>{}, RungeKutta4<State>{}, x,
                                         FixedSteps{.from = 0.5, .to = 1, .step = 0.1}, look),
                               integrate(BlowUp<TestType>{}, DormandPrince5<State>{}, x,
                                         AdaptiveSteps{.from = 0.5, .to = 1, .rtol = 1e-3}, look)}) {
      CHECK(report.outcome == Outcome::non_finite);
      CHECK(report.t == 0.5);
      CHECK(report.evaluations == 0);
    }
    CHECK(calls == 0);
    CHECK(x(0, 0) == 1);
  }
}

namespace {
/// A field that is nowhere finite.
struct Nowhere {
  using State = attnflow::Tokens<double>;
  void operator()(double, const State& x, State& dx) const {
    dx.setConstant(x.rows(), x.cols(), not_a_number);
  }
};
/// ẋ = −x with a bound on its steps.
struct Bounded : Decay {
  double longest;
  [[nodiscard]] double max_step() const { return longest; }
};
}  // namespace

TEST_CASE("a field that is not finite ends the run where it is", "[integrate]") {
  Nowhere::State x = Nowhere::State::Constant(2, 2, 1);
  const auto report = integrate(Nowhere{}, DormandPrince5<Nowhere::State>{}, x, {.to = 1});
  CHECK(report.outcome == Outcome::non_finite);
  CHECK(report.t == 0);
  CHECK(report.steps == 0);
  CHECK((x.array() == 1).all());
  CHECK(integrate(Nowhere{}, Euler<Nowhere::State>{}, x, {.to = 1, .step = 0.1}).outcome ==
        Outcome::non_finite);
  CHECK((x.array() == 1).all());
}

TEST_CASE("steps are no longer than the field and the plan allow", "[integrate]") {
  // At rest every error is zero: nothing but the bounds holds the steps back.
  const auto longest_of = [](const auto& field, const AdaptiveSteps& plan) {
    Decay::State x = Decay::State::Zero(2, 3);
    double longest = 0;
    const auto look = [&](const StepView<Decay::State>& step) {
      longest = std::max(longest, step.t1() - step.t0());
    };
    CHECK(integrate(field, DormandPrince5<Decay::State>{}, x, plan, look).outcome == Outcome::reached_end);
    return longest;
  };
  const double epsilon = std::numeric_limits<double>::epsilon();  // t1 − t0, t1 up to 100
  CHECK(longest_of(Bounded{{}, 0.25}, {.to = 100}) == Approx(0.25).epsilon(0).margin(100 * epsilon));
  CHECK(longest_of(Bounded{{}, 0.25}, {.to = 100, .first_step = 7}) ==
        Approx(0.25).epsilon(0).margin(100 * epsilon));
  CHECK(longest_of(Bounded{{}, 0.25}, {.to = 100, .max_step = 0.125}) ==
        Approx(0.125).epsilon(0).margin(100 * epsilon));
  CHECK(longest_of(Bounded{{}, 0.25}, {.to = 100, .max_step = 3}) ==
        Approx(0.25).epsilon(0).margin(100 * epsilon));
  CHECK(longest_of(Decay{}, {.to = 100, .max_step = 0.5}) == Approx(0.5).epsilon(0).margin(100 * epsilon));
  CHECK(longest_of(Decay{}, {.to = 100}) > 10);
  // RescaledDynamics: h ρ(V) ≤ 1.
  const attnflow::RescaledDynamics<double> attention(
      attnflow::Head<double>::with_value(4 * Eigen::MatrixXd::Identity(2, 2)));
  CHECK(longest_of(attention, {.to = 10}) == Approx(0.25).epsilon(0).margin(10 * epsilon));
}

TEST_CASE("a bound on the step below the resolution of time ends the run at once", "[integrate]") {
  // 1e17 + 1 is 1e17: a run of such steps would go on without its time moving.
  Decay::State x = Decay::State::Constant(1, 1, 1);
  auto report = integrate(Decay{}, DormandPrince5<Decay::State>{}, x,
                          {.from = 1e17, .to = 2e17, .max_step = 1, .max_steps = 100});
  CHECK(report.outcome == Outcome::step_limit);
  CHECK(report.steps == 0);
  report = integrate(Bounded{{}, 0}, DormandPrince5<Decay::State>{}, x, {.to = 1, .max_steps = 100});
  CHECK(report.outcome == Outcome::step_limit);
  CHECK(report.steps == 0);
  CHECK(x(0) == 1);
}

TEST_CASE("far from t = 0 the state moves by the steps that the clock makes", "[integrate]") {
  // ẋ = −x: the largest relative error of x, within steps and at their ends, against e^{−(t − from)}.
  const auto largest_error = [](auto stepper, const auto& plan) {
    Decay::State x = Decay::State::Constant(1, 1, 1), inside;
    double error = 0;
    const auto look = [&](const StepView<Decay::State>& step) {
      for (const double share : {0., 0.3, 0.7, 1.}) {
        const double t = step.t0() + share * (step.t1() - step.t0());
        step.at(t, inside);
        const double relative = std::abs(inside(0) * std::exp(t - plan.from) - 1);
        error = relative <= error ? error : relative;  // also where it is not a number
      }
    };
    const auto report = integrate(Decay{}, stepper, x, plan, look);
    CHECK((report.outcome == Outcome::reached_end || report.outcome == Outcome::step_limit));
    if (std::abs(plan.from) < 5e14) CHECK(report.outcome == Outcome::reached_end);
    if (std::abs(plan.from) > 5e15) CHECK(report.outcome == Outcome::step_limit);
    return error;
  };
  for (const double from : {0., 1e9, 1e12, -1e12, 1e13, 1e14, -1e14, 1e15, 1e16}) {
    CAPTURE(from);  // some 200 steps, each within 1e-9
    CHECK(largest_error(DormandPrince5<Decay::State>{},
                        AdaptiveSteps{.from = from, .to = from + 16, .rtol = 1e-9, .atol = 0}) < 2e-7);
  }
  const auto same_as_at_zero = [&](auto stepper) {
    const double at_zero = largest_error(stepper, FixedSteps{.to = 16, .step = 0.1});
    for (const double from : {1e12, -1e12})
      CHECK(largest_error(stepper, FixedSteps{.from = from, .to = from + 16, .step = 0.1}) ==
            Approx(at_zero).epsilon(0.02));
  };
  same_as_at_zero(Euler<Decay::State>{});
  same_as_at_zero(RungeKutta4<Decay::State>{});
  same_as_at_zero(DormandPrince5<Decay::State>{});
}

namespace {
/// ẋ = 1, ẏ = −sign y: y is 0 from t = |y(0)| on, and steps cross y = 0 to and fro.
struct Slide {
  using State = attnflow::Tokens<double, 2>;
  void operator()(double, const State& x, State& dx) const {
    dx.resize(2, 1);
    dx << 1, x(1) > 0 ? -1 : 1;
  }
};
}  // namespace

TEST_CASE("a run whose steps collapse ends early and says why", "[integrate]") {
  Slide::State x(2, 1);
  x << 0, 0.5;
  auto report = integrate(Slide{}, DormandPrince5<Slide::State>{}, x, {.to = 10});
  CHECK(report.outcome == Outcome::step_limit);
  CHECK(report.reason.find("steps have collapsed") != std::string_view::npos);
  CHECK(report.t == Approx(0.5).margin(1e-4));
  CHECK(report.steps + report.rejected <= 4000);
  CHECK(x(0) == Approx(report.t));
  // A tolerance at which the end can be reached follows the sliding solution.
  x << 0, 0.5;
  report = integrate(Slide{}, DormandPrince5<Slide::State>{}, x, {.to = 10, .rtol = 1e-4, .atol = 1e-4});
  CHECK(report.outcome == Outcome::reached_end);
  CHECK(report.reason.empty());
  CHECK(x(0) == Approx(10));
  CHECK(std::abs(x(1)) < 1e-2);
  // Short steps at rest are another matter: stability holds them back, and max_steps alone ends the run.
  Decay::State rest = Decay::State::Constant(1, 1, 1);
  report = integrate(Decay{}, DormandPrince5<Decay::State>{}, rest, {.to = 1e5, .max_steps = 5000});
  CHECK(report.outcome == Outcome::step_limit);
  CHECK(report.reason == "max_steps were made");
  CHECK(report.steps + report.rejected == 5000);
}

TEST_CASE("hardmax with V = -I, where tokens slide along ties, ends early", "[integrate]") {
  attnflow::Generator generator(1);
  auto x = attnflow::uniform_box<double>(generator, 15, 3, -1, 1);
  const attnflow::TokenDynamics<double, Eigen::Dynamic, attnflow::Hardmax> field(
      attnflow::Head<double>::with_value(-Eigen::MatrixXd::Identity(3, 3)));
  const auto report = integrate(field, DormandPrince5<attnflow::Tokens<double>>{}, x, {.to = 3});
  CHECK(report.outcome == Outcome::step_limit);
  CHECK(report.reason.find("Hardmax") != std::string_view::npos);
  CHECK(report.steps + report.rejected <= 5000);
}

TEST_CASE("each method evaluates the field as often as it says", "[integrate]") {
  const auto count = [](auto stepper, const auto& plan, const auto& observer) {
    std::vector<std::pair<double, Riccati::State>> calls;
    auto x = Riccati::exact(0);
    const auto report = integrate(Recorded<Riccati>{{}, &calls}, stepper, x, plan, observer);
    CHECK(report.evaluations == static_cast<long>(calls.size()));
    long repeated = 0;
    for (std::size_t i = 0; i < calls.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        repeated += calls[i].first == calls[j].first && same_bits(calls[i].second, calls[j].second) ? 1 : 0;
    CHECK(repeated == 0);
    return report;
  };
  const auto look_at_ends = [](double, const auto&) {};
  const auto look_inside = [](const StepView<Riccati::State>& step) {
    Riccati::State x;
    for (const double s : {0.25, 0.5, 0.75}) step.at(step.t0() + s * (step.t1() - step.t0()), x);
  };
  const auto look_once_inside = [](const StepView<Riccati::State>& step) {
    Riccati::State x;
    if (step.t0() < 0.35 && step.t1() > 0.35) step.at(0.35, x);
  };
  const FixedSteps fixed{.to = 1, .step = 0.1};
  CHECK(count(Euler<Riccati::State>{}, fixed, look_at_ends).evaluations == 10);
  CHECK(count(RungeKutta4<Riccati::State>{}, fixed, look_at_ends).evaluations == 40);
  CHECK(count(DormandPrince5<Riccati::State>{}, fixed, look_at_ends).evaluations == 61);
  // Looking in between needs the slope at the end, which is the first of the next step: one more in all.
  CHECK(count(Euler<Riccati::State>{}, fixed, look_inside).evaluations == 11);
  CHECK(count(RungeKutta4<Riccati::State>{}, fixed, look_inside).evaluations == 41);
  CHECK(count(DormandPrince5<Riccati::State>{}, fixed, look_inside).evaluations == 61);
  CHECK(count(Euler<Riccati::State>{}, fixed, look_once_inside).evaluations == 10);
  CHECK(count(RungeKutta4<Riccati::State>{}, fixed, look_once_inside).evaluations == 40);
  // Adaptive: 6 for each step tried; the slope at the start, and one more where the first step is chosen.
  for (const double first_step : {0.0, 0.01, 3.0}) {
    const auto report = count(DormandPrince5<Riccati::State>{},
                              AdaptiveSteps{.to = 5, .first_step = first_step}, look_inside);
    CHECK(report.evaluations == 6 * (report.steps + report.rejected) + (first_step > 0 ? 1 : 2));
    if (first_step == 3) CHECK(report.rejected > 0);
  }
}

TEMPLATE_LIST_TEST_CASE("a state changed between steps is noticed", "[integrate]", FixedSteppers) {
  TestType used;
  auto x = Riccati::exact(0);
  used.step(Riccati{}, 0, x, 0.25);
  Riccati::State inside;
  used.interpolate(Riccati{}, 0.1, inside);
  x(1, 0) *= 0.5;
  auto y = x;
  used.step(Riccati{}, 0.25, x, 0.25);
  TestType{}.step(Riccati{}, 0.25, y, 0.25);
  CHECK(same_bits(x, y));
}

TEMPLATE_LIST_TEST_CASE("a stepper used before gives the bits of a fresh one", "[integrate]", FixedSteppers) {
  TestType used;
  const auto run = [](TestType& stepper, double factor) {
    auto x = Riccati::exact(0);
    x *= factor;
    REQUIRE(integrate(Riccati{}, stepper, x, FixedSteps{.to = 1, .step = 0.1}).outcome ==
            Outcome::reached_end);
    return x;
  };
  // The second run starts where the first one ended with another field: a remembered slope would be wrong.
  (void)run(used, 1);
  auto x = Riccati::exact(1);
  used.step(Riccati{}, 0, x, 0.1);
  Riccati::State start = x;
  struct Other {
    using State = Riccati::State;
    void operator()(double t, const State& at, State& dx) const { dx = std::cos(t) * at; }
  };
  auto y = start;
  const FixedSteps plan{.from = 0.1, .to = 1, .step = 0.1};
  REQUIRE(integrate(Other{}, used, x = start, plan).outcome == Outcome::reached_end);
  REQUIRE(integrate(Other{}, TestType{}, y, plan).outcome == Outcome::reached_end);
  CHECK(same_bits(x, y));
  TestType fresh;
  CHECK(same_bits(run(used, 0.5), run(fresh, 0.5)));
}

TEST_CASE("runs without tokens reach their end", "[integrate]") {
  const attnflow::RescaledDynamics<double, 3> field = twisted_attention();
  using State = attnflow::Tokens<double, 3>;
  State x(3, 0);
  attnflow::Trajectory<State> record({0, 0.05, 1});
  CHECK(integrate(field, DormandPrince5<State>{}, x, {.to = 1}, record).outcome == Outcome::reached_end);
  CHECK(record.size() == 3);
  CHECK(integrate(field, RungeKutta4<State>{}, x, {.to = 1, .step = 0.1}, record).outcome ==
        Outcome::reached_end);
  CHECK(integrate(field, Euler<State>{}, x, {.to = 1, .step = 0.1}).outcome == Outcome::reached_end);
  CHECK(x.rows() == 3);
  CHECK(x.cols() == 0);
  attnflow::Tokens<double> y(3, 0);
  const attnflow::RescaledDynamics<double> any(attnflow::Head<double>::identity(3));
  CHECK(integrate(any, DormandPrince5<attnflow::Tokens<double>>{}, y, {.to = 50}).outcome ==
        Outcome::reached_end);
}
