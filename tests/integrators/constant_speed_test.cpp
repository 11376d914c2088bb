#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/integrators/constant_speed.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/elapsed_time.hpp>
#include <attnflow/systems/circle_dynamics.hpp>
#include <attnflow/systems/merging.hpp>
#include <attnflow/types.hpp>

#include "catch.hpp"
#include "refusal.hpp"
#include "velocity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace {

using attnflow::ConstantSpeed;
using attnflow::ElapsedTime;
using attnflow::FixedSteps;
using attnflow::integrate;
using attnflow::Outcome;
using attnflow::RungeKutta4;
using Catch::Matchers::ContainsSubstring;
using Plane = attnflow::Tokens<double, 2>;
using State = Plane;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// ẋ = scale · (−x₁, −3 x₂): x₂ = C x₁³ on orbits.
struct Node {
  using State = Plane;
  double scale = 1;
  void operator()(double, const State& x, State& dx) const {
    dx.resize(2, x.cols());
    dx.row(0) = -scale * x.row(0);
    dx.row(1) = -3 * scale * x.row(1);
  }
};
State start() {
  State x(2, 2);
  x << 1, -0.5, 0.75, 2;
  return x;
}

/// The largest distance from the solution of ẋ = f(x) at the time that has elapsed.
double error(double step) {
  const ConstantSpeed<Node> field(Node{}, 2);
  ElapsedTime<Node> elapsed(field);
  State x = start();
  double worst = 0;
  const auto look = [&](const attnflow::StepView<State>& at) {
    elapsed(at);
    const double t = elapsed.t();
    State exact = start();
    exact.row(0) *= std::exp(-t);
    exact.row(1) *= std::exp(-3 * t);
    worst = std::max(worst, (at.state() - exact).norm());
  };
  REQUIRE(integrate(field, RungeKutta4<State>{}, x, FixedSteps{.to = 1.05, .step = step}, look).outcome ==
          Outcome::reached_end);
  CHECK(elapsed.t() > 0.8);
  CHECK(elapsed.taus().size() == elapsed.times().size());
  CHECK(elapsed.taus().back() == 1.05);
  CHECK(elapsed.times().front() == 0);
  return worst;
}

}  // namespace

TEST_CASE("a field at constant speed has the same orbits, and its time is known", "[constant_speed]") {
  // Fourth order in both, the state and the time.
  CHECK(error(0.0125) <= 1e-6);
  CHECK(std::log2(error(0.025) / error(0.0125)) > 3.7);
  CHECK(error(0.0125) > 1e-12);
}

TEST_CASE("the speed is constant at any size of the field", "[constant_speed]") {
  for (const double scale : {1., 1e-300, 1e300, -1e-160}) {
    const ConstantSpeed<Node> field(Node{scale}, 1.5);
    const State x = start(), v = velocity(field, 0.3, x), f = velocity(Node{std::copysign(1., scale)}, 0, x);
    CAPTURE(scale);
    CHECK(v.norm() == Approx(1.5).epsilon(8 * epsilon));
    CHECK((v / 1.5 - f / f.norm()).norm() <= 8 * epsilon);
    CHECK(field.time_rate(x) == Approx(1.5 / f.norm() / std::abs(scale)).epsilon(8 * epsilon));
  }
  const ConstantSpeed<Node> tiny(Node{1e-322});
  CHECK(velocity(tiny, 0, start()).norm() == Approx(1).epsilon(8 * epsilon));
  CHECK(tiny.time_rate(start()) == std::numeric_limits<double>::infinity());
}

TEST_CASE("where the field vanishes the run stands still", "[constant_speed]") {
  const ConstantSpeed<Node> field(Node{}, 2);
  State rest = State::Zero(2, 3);
  CHECK(velocity(field, 0, rest).isZero(0));
  CHECK(field.time_rate(rest) == std::numeric_limits<double>::infinity());
  ElapsedTime<Node> elapsed(field);
  REQUIRE(integrate(field, RungeKutta4<State>{}, rest, FixedSteps{.to = 1, .step = 0.25}, elapsed).outcome ==
          Outcome::reached_end);
  CHECK(rest.isZero(0));
  CHECK(elapsed.t() == std::numeric_limits<double>::infinity());
  State none(2, 0);
  CHECK(velocity(field, 0, none).cols() == 0);
  State wrong = start();
  wrong(1, 1) = std::nan("");
  CHECK_FALSE(velocity(field, 0, wrong).allFinite());
  CHECK(std::isnan(field.time_rate(wrong)));
  // Past a point of rest that attracts, fixed steps stay within their own length.
  State x = start();
  REQUIRE(integrate(field, RungeKutta4<State>{}, x, FixedSteps{.to = 3, .step = 0.01}).outcome ==
          Outcome::reached_end);
  CHECK(x.norm() <= 2 * 0.01);
}

// Masses 3/5 and 2/5 on the circle at the distance u: u̇ = −e^{β (cos u − 1)} sin u, so the last merge takes
// ∫ e^{β (1 − cos u)} / sin u du, about e^{40} and e^{630} units of time.
TEST_CASE("metastable clusters merge at their time, whatever e^beta is", "[constant_speed][circle]") {
  using Angles = attnflow::Tokens<double, 1>;
  using Field = attnflow::CircleDynamics<double, attnflow::Unnormalized>;
  for (const double beta : {500., 8000.}) {
    const double tolerance = 1e-3, distance = 0.4;
    const ConstantSpeed<Field> field(Field({beta, true}), std::log(beta));
    attnflow::Merging<RungeKutta4<Angles>> stepper(tolerance, attnflow::TokenSpace::circle);
    ElapsedTime<Field> elapsed(field);
    Angles theta(1, 5);
    theta << 1, 1 + distance, 1, 1 + distance, 1;
    const auto look = [&](const attnflow::StepView<Angles>& step) {
      elapsed(step);
      return stepper.events().empty() ? attnflow::Flow::proceed : attnflow::Flow::stop;
    };
    REQUIRE(integrate(field, stepper, theta, FixedSteps{.to = 1, .step = 2e-5}, look).outcome ==
            Outcome::stopped_by_observer);
    REQUIRE(stepper.events().size() == 1);
    CHECK((theta.array() - (1 + 0.4 * distance)).abs().maxCoeff() <= 1e-12);  // the mean has not moved
    double exact = 0;
    const int parts = 100000;  // Simpson's rule
    for (int k = 0; k <= parts; ++k) {
      const double u = tolerance + (distance - tolerance) * k / parts, half = std::sin(u / 2);
      exact += (k == 0 || k == parts ? 1
                : k % 2 == 1         ? 4
                                     : 2) *
               std::exp(2 * beta * half * half) / std::sin(u);
    }
    exact *= (distance - tolerance) / parts / 3;
    CAPTURE(beta, elapsed.t(), exact);
    // Of the distance that a step makes, times the slope β sin u of the logarithm, the fourth power or so; at the end
    // the last step oversteps the tolerance, of no weight.
    CHECK(elapsed.t() == Approx(exact).epsilon(1e-3));
  }
}

TEST_CASE("the speed has to be a positive number", "[constant_speed]") {
  for (const double speed : {0., -1., std::nan(""), std::numeric_limits<double>::infinity()})
    CHECK_THAT(refusal([=] { ConstantSpeed<Node> f(Node{}, speed); }),
               ContainsSubstring("ConstantSpeed: speed is "));
  CHECK(ConstantSpeed<Node>(Node{4}, 3).speed() == 3);
  CHECK(ConstantSpeed<Node>(Node{4}, 3).field().scale == 4);
}
