#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>

#include "catch.hpp"
#include "integrators/fields.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace {

using attnflow::FixedSteps;
using attnflow::integrate;
using attnflow::Outcome;
using attnflow::StepView;

/// The solution at `to` of the run from (from, x), by a method and with steps of its own: RK4 extrapolated (order 5)
/// with 256 steps for each unit of time and at least 32. For |x| ≤ 1 its error is below 1e-13.
template <class F>
typename F::State reference(const F& field, double from, typename F::State x, double to) {
  if (to == from) return x;
  const auto run = [&](double steps) {
    auto y = x;
    const FixedSteps plan{.from = from, .to = to, .step = (to - from) / steps};
    REQUIRE(integrate(field, attnflow::RungeKutta4<typename F::State>{}, y, plan).outcome ==
            Outcome::reached_end);
    return y;
  };
  const double steps = std::max(32.0, std::ceil(256 * (to - from)));
  const typename F::State coarse = run(steps), fine = run(2 * steps);
  return fine + (fine - coarse) / 15;
}

template <class Stepper, class F>
double error_at_end(const F& field, const typename F::State& start, double to, double h,
                    const typename F::State& exact) {
  auto x = start;
  const auto report = integrate(field, Stepper{}, x, FixedSteps{.to = to, .step = h});
  REQUIRE(report.outcome == Outcome::reached_end);
  return (x - exact).norm();
}

/// The largest error of interpolated states within one step that starts on the solution.
template <class Stepper, class F>
double error_inside_a_step(const F& field, double from, const typename F::State& start, double h) {
  Stepper stepper;
  auto x = start;
  stepper.step(field, from, x, h);
  double worst = 0;
  typename F::State inside;
  for (const double s : {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95}) {
    stepper.interpolate(field, from + s * h, inside);
    worst = std::max(worst, (inside - reference(field, from, start, from + s * h)).norm());
  }
  return worst;
}

/// The largest error at 10 places in every step of a run.
template <class Stepper>
double error_anywhere(double h) {
  double worst = 0;
  const auto look = [&](const StepView<Riccati::State>& step) {
    Riccati::State x;
    for (int k = 1; k <= 10; ++k) {
      const double t = step.t0() + k / 10. * (step.t1() - step.t0());
      step.at(t, x);
      worst = std::max(worst, (x - Riccati::exact(t)).norm());
    }
  };
  auto x = Riccati::exact(0);
  REQUIRE(integrate(Riccati{}, Stepper{}, x, FixedSteps{.to = 1, .step = h}, look).outcome ==
          Outcome::reached_end);
  return worst;
}

template <class State>
using Steppers =
    std::tuple<attnflow::Euler<State>, attnflow::RungeKutta4<State>, attnflow::DormandPrince5<State>>;
using OfRiccati = Steppers<Riccati::State>;
using OfAttention = Steppers<attnflow::Tokens<double, 3>>;

}  // namespace

// Steps are halved where the leading term of the error rules (what follows it is a part h of it, whence the margin)
// and the error is far above rounding, 1e-15: at order 5 and h = 1/40 it is about 1e-10.
TEMPLATE_LIST_TEST_CASE("a stepper converges at its stated order on a field with t in it", "[integrators]",
                        OfRiccati) {
  const auto error = [](double h) {
    return error_at_end<TestType>(Riccati{}, Riccati::exact(0), 1, h, Riccati::exact(1));
  };
  const double h = TestType::order == 1 ? 1. / 128 : 1. / 40;
  CHECK(std::log2(error(h) / error(h / 2)) == Approx(TestType::order).margin(0.15));
  CHECK(error(h / 2) > 1e-13);
}

TEMPLATE_LIST_TEST_CASE("a stepper converges at its stated order on attention whose matrix depends on t",
                        "[integrators]", OfAttention) {
  const auto field = twisted_attention();
  const auto start = small_tokens();
  const attnflow::Tokens<double, 3> exact = reference(field, 0, start, 1);
  const double h = TestType::order == 1 ? 1. / 128 : 1. / 32;
  const double coarse = error_at_end<TestType>(field, start, 1, h, exact);
  const double fine = error_at_end<TestType>(field, start, 1, h / 2, exact);
  CHECK(std::log2(coarse / fine) == Approx(TestType::order).margin(0.15));
  CHECK(fine > 1e-12);
}

// A method of order p errs by O(h^{p+1}) in one step; so does its dense output of order p inside it.
TEMPLATE_LIST_TEST_CASE("states inside a step have the stated dense order", "[integrators]", OfRiccati) {
  const auto error = [](double h) {
    return error_inside_a_step<TestType>(Riccati{}, 0.5, Riccati::exact(0.5), h);
  };
  const double h = TestType::order == 1 ? 1. / 128 : 1. / 32;
  CHECK(std::log2(error(h) / error(h / 2)) == Approx(TestType::dense_order + 1).margin(0.15));
}

TEMPLATE_LIST_TEST_CASE("states inside a step of attention have the stated dense order", "[integrators]",
                        OfAttention) {
  const auto field = twisted_attention();
  const auto error = [&](double h) { return error_inside_a_step<TestType>(field, 0.5, small_tokens(), h); };
  const double h = TestType::order == 1 ? 1. / 128 : 1. / 16;
  CHECK(std::log2(error(h) / error(h / 2)) == Approx(TestType::dense_order + 1).margin(0.15));
  CHECK(error(h / 2) > 1e-11);
}

// Over a whole run steps err by O(h^order) and the interpolant adds O(h^{dense_order + 1}).
TEMPLATE_LIST_TEST_CASE("states inside the steps of a run are as accurate as the steps", "[integrators]",
                        OfRiccati) {
  const double h = TestType::order == 1 ? 1. / 128 : 1. / 32;
  const int expected = std::min(TestType::order, TestType::dense_order + 1);
  CHECK(std::log2(error_anywhere<TestType>(h) / error_anywhere<TestType>(h / 2)) ==
        Approx(expected).margin(0.15));
}

TEMPLATE_LIST_TEST_CASE("dense output meets the ends of its step", "[integrators]", OfRiccati) {
  const auto start = Riccati::exact(0.25);
  auto x = start;
  TestType stepper;
  stepper.step(Riccati{}, 0.25, x, 0.25);
  Riccati::State at;
  stepper.interpolate(Riccati{}, 0.25, at);
  CHECK(same_bits(at, start));
  stepper.interpolate(Riccati{}, 0.5, at);  // b − a is rounded, and so is a + (b − a)
  CHECK((at - x).cwiseAbs().maxCoeff() <= 2 * std::numeric_limits<double>::epsilon());
}
