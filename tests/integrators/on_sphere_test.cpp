#include <attnflow/geometry/sphere.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/geodesic_runge_kutta4.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/types.hpp>

#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::DormandPrince5;
using attnflow::Euler;
using attnflow::FixedSteps;
using attnflow::Flow;
using attnflow::GeodesicRungeKutta4;
using attnflow::integrate;
using attnflow::OnSphere;
using attnflow::Outcome;
using attnflow::RungeKutta4;
using attnflow::StepView;
using State = attnflow::Tokens<double, 3>;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// A turn about the first axis by the angle φ.
Eigen::Matrix3d turn(double angle) {
  Eigen::Matrix3d R = Eigen::Matrix3d::Identity();
  R(1, 1) = R(2, 2) = std::cos(angle);
  R(2, 1) = std::sin(angle);
  R(1, 2) = -R(2, 1);
  return R;
}

/// Points drawn to a pole e(t) and away from it on the unit sphere, and nowhere else, while all turns by the
/// angle φ = t + sin 2t: ẋ = 3 cos 3t P(x) e + φ̇ ω × x, e(t) = R(φ) (0, 0.6, 0.8). The angle to e obeys θ̇ =
/// −3 cos 3t sin θ, so that tan(θ/2) = tan(θ₀/2) e^{−sin 3t} along a great circle that turns. Nonlinear, with
/// t in it.
struct Attraction {
  using State = attnflow::Tokens<double, 3>;
  long* outside = nullptr;  ///< counts evaluations at points that are not of length one

  void operator()(double t, const State& x, State& dx) const {
    if (outside != nullptr && (x.colwise().squaredNorm().array() - 1).abs().maxCoeff() > 9 * epsilon)
      ++*outside;
    dx.resize(3, x.cols());
    const Eigen::Vector3d e = turn(t + std::sin(2 * t)) * pole();
    const double spin = 1 + 2 * std::cos(2 * t);
    for (Eigen::Index i = 0; i < x.cols(); ++i)
      dx.col(i) = 3 * std::cos(3 * t) * (e - e.dot(x.col(i)) * x.col(i)) +
                  spin * Eigen::Vector3d(0, -x(2, i), x(1, i));
  }
  static Eigen::Vector3d pole() { return {0, 0.6, 0.8}; }
  static State start() {
    State x(3, 3);
    x << 1, 0.28, 0, 0, 0.96, -0.8, 0, 0, 0.6;
    return x;
  }
  /// The solution at t of the run from start() at t = 0.
  static State exact(double t) {
    State x = start();
    for (Eigen::Index i = 0; i < x.cols(); ++i) {
      const double cosine = pole().dot(x.col(i));
      const Eigen::Vector3d across = (x.col(i) - cosine * pole()).normalized();
      const double angle = 2 * std::atan(std::tan(std::acos(cosine) / 2) * std::exp(-std::sin(3 * t)));
      x.col(i) = std::cos(angle) * pole() + std::sin(angle) * across;
    }
    return turn(t + std::sin(2 * t)) * x;
  }
};

/// Points drawn to a pole and away, while all turns in short bursts: it never comes to rest, and steps are
/// rejected.
struct Swing {
  using State = attnflow::Tokens<double, 3>;
  void operator()(double t, const State& x, State& dx) const {
    dx.resize(3, x.cols());
    const double spin = 40 * std::pow(std::sin(t), 9), pull = 3 * std::cos(2 * t);
    for (Eigen::Index i = 0; i < x.cols(); ++i)
      dx.col(i) = pull * (Attraction::pole() - Attraction::pole().dot(x.col(i)) * x.col(i)) +
                  spin * Eigen::Vector3d(0, -x(2, i), x(1, i));
  }
  static AdaptiveSteps plan() { return {.to = 12, .rtol = 1e-5, .atol = 1e-6}; }
};

template <class A, class B>
bool same_bits(const A& a, const B& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && (a.array() == b.array()).all();
}
double farthest_from_one(const State& x) { return (x.colwise().norm().array() - 1).abs().maxCoeff(); }

using Steppers =
    std::tuple<OnSphere<Euler<State>>, OnSphere<RungeKutta4<State>>, OnSphere<DormandPrince5<State>>>;
/// And those that need no division.
using AllSteppers = std::tuple<OnSphere<Euler<State>>, OnSphere<RungeKutta4<State>>,
                               OnSphere<DormandPrince5<State>>, GeodesicRungeKutta4<State>>;

/// The largest error at the ends of the steps of a run, and at 7 places inside them. (At a single time an
/// error may be near a change of its sign.)
template <class Stepper>
std::pair<double, double> errors(double h) {
  double at_ends = 0, inside = 0;
  const auto look = [&](const StepView<State>& step) {
    at_ends = std::max(at_ends, (step.state() - Attraction::exact(step.t1())).norm());
    State x;
    for (int k = 1; k < 8; ++k) {
      const double t = step.t0() + k / 8. * (step.t1() - step.t0());
      step.at(t, x);
      inside = std::max(inside, (x - Attraction::exact(t)).norm());
    }
  };
  State x = Attraction::start();
  REQUIRE(integrate(Attraction{}, Stepper{}, x, FixedSteps{.to = 1, .step = h}, look).outcome ==
          Outcome::reached_end);
  return {at_ends, inside};
}

/// Stops after a number of accepted steps.
struct StopAfter {
  long steps;
  long seen = -1;
  Flow operator()(double, const auto&) { return ++seen >= steps ? Flow::stop : Flow::proceed; }
};

}  // namespace

TEMPLATE_LIST_TEST_CASE("on the sphere a stepper keeps its order, inside its steps too", "[on_sphere]",
                        AllSteppers) {
  const double h = TestType::order == 1 ? 1. / 512 : 1. / 160;  // errors of 1e-13 at least, rounding 1e-14
  const auto coarse = errors<TestType>(h), fine = errors<TestType>(h / 2);
  CHECK(std::log2(coarse.first / fine.first) == Approx(TestType::order).margin(0.2));
  CHECK(std::log2(coarse.second / fine.second) ==
        Approx(std::min(TestType::order, TestType::dense_order + 1)).margin(0.2));
  CHECK(fine.first > 1e-13);
}

// Projected Euler by its formula, and what Euler's scaled point is: not the geodesic step, which differs at
// order h³.
TEST_CASE("projected Euler is a step and a division", "[on_sphere]") {
  State x = Attraction::start(), slope;
  Attraction{}(0.5, x, slope);
  const State expected = (x + 0.25 * slope).colwise().normalized();
  OnSphere<Euler<State>> stepper;
  stepper.step(Attraction{}, 0.5, x, 0.25);
  CHECK((x - expected).cwiseAbs().maxCoeff() <= 2 * epsilon);
}

TEMPLATE_LIST_TEST_CASE("norms stay at one over long runs, inside the steps too", "[on_sphere]",
                        AllSteppers) {
  // Scaling leaves (d + 4)/2 ε at most of ‖x‖ − 1, after any number of steps; measuring it adds a rounding.
  double worst = 0;
  long outside = 0, steps = 0;
  const auto look = [&](const StepView<State>& step) {
    State x;
    if (++steps % 16 == 0)
      for (const double s : {0.25, 0.75}) {
        step.at(step.t0() + s * (step.t1() - step.t0()), x);
        worst = std::max(worst, farthest_from_one(x));
      }
    worst = std::max(worst, farthest_from_one(step.state()));
  };
  State x = Attraction::start();
  REQUIRE(integrate(Swing{}, TestType{}, x, FixedSteps{.to = 100, .step = 0.01}, look).outcome ==
          Outcome::reached_end);
  CHECK(steps == 10001);
  if constexpr (attnflow::AdaptiveStepperFor<TestType, Swing>) {
    x = Attraction::start();
    REQUIRE(integrate(Swing{}, TestType{}, x, Swing::plan(), look).outcome == Outcome::reached_end);
  }
  CHECK(worst <= 4.5 * epsilon);
  // Long steps, stages far outside: the field is evaluated on the sphere alone.
  x = Attraction::start();
  REQUIRE(
      integrate(Attraction{&outside}, TestType{}, x, FixedSteps{.from = 1, .to = 3, .step = 0.4}).outcome ==
      Outcome::reached_end);
  CHECK(outside == 0);
  CHECK(farthest_from_one(x) <= 4.5 * epsilon);
}

TEMPLATE_LIST_TEST_CASE("scaling after each step and at the end alone give the same directions",
                        "[on_sphere]", Steppers) {
  // The wrapped stepper on the field extended by degree one, without a division in between.
  struct Extended {
    using State = attnflow::Tokens<double, 3>;
    void operator()(double t, const State& x, State& dx) const {
      const State unit = x.colwise().normalized();
      Attraction{}(t, unit, dx);
      dx = (dx * x.colwise().norm().asDiagonal()).eval();
    }
  };
  State scaled = Attraction::start(), free = scaled;
  TestType on_sphere;
  [&]<class Stepper>(const OnSphere<Stepper>&) {
    Stepper ambient;
    for (int k = 0; k < 20; ++k) {
      on_sphere.step(Attraction{}, 0.1 * k, scaled, 0.1);
      ambient.step(Extended{}, 0.1 * k, free, 0.1);
    }
  }(on_sphere);
  CHECK((free.colwise().normalized() - scaled).cwiseAbs().maxCoeff() <= 200 * epsilon);
  if (TestType::order == 1) CHECK((free.colwise().norm().array() - 1).maxCoeff() > 1e-2);
}

TEST_CASE("no slope is evaluated twice", "[on_sphere]") {
  State x = Attraction::start();
  const auto fixed = [&](auto stepper) {
    x = Attraction::start();
    return integrate(Attraction{}, stepper, x, FixedSteps{.to = 1, .step = 1. / 64}).evaluations;
  };
  CHECK(fixed(OnSphere<Euler<State>>{}) == 64);
  CHECK(fixed(OnSphere<RungeKutta4<State>>{}) == 4 * 64);
  CHECK(fixed(OnSphere<DormandPrince5<State>>{}) == 6 * 64 + 1);
  CHECK(fixed(GeodesicRungeKutta4<State>{}) == 4 * 64);
  x = Attraction::start();
  const auto report = integrate(Swing{}, OnSphere<DormandPrince5<State>>{}, x, Swing::plan());
  REQUIRE(report.rejected > 3);
  CHECK(report.evaluations ==
        6 * (report.steps + report.rejected) + 2);  // a first slope, and one for the first step
  // An observer that looks inside every step costs the cubic its slope at the end, which the next step
  // reuses.
  long looks = 0;
  const auto look = [&](const StepView<State>& step) {
    State inside;
    step.at(0.5 * (step.t0() + step.t1()), inside);
    step.at(0.75 * step.t1() + 0.25 * step.t0(), inside);
    ++looks;
  };
  x = Attraction::start();
  CHECK(integrate(Attraction{}, OnSphere<RungeKutta4<State>>{}, x, FixedSteps{.to = 1, .step = 1. / 64}, look)
            .evaluations == 4 * 64 + 1);
  CHECK(looks == 65);
  x = Attraction::start();
  CHECK(integrate(Attraction{}, GeodesicRungeKutta4<State>{}, x, FixedSteps{.to = 1, .step = 1. / 64}, look)
            .evaluations == 4 * 64 + 1);
}

TEST_CASE("on the sphere a run has the same bits with observers and without", "[on_sphere]") {
  const auto compare = [](auto fresh, const auto& plan) {
    using Stepper = decltype(fresh);
    const auto look = [](const StepView<State>& step) {
      State inside;
      for (const double s : {0.9, 0.1, 0.5}) step.at(step.t0() + s * (step.t1() - step.t0()), inside);
    };
    State alone = Attraction::start(), watched = alone;
    REQUIRE(integrate(Swing{}, Stepper{}, alone, plan).outcome == Outcome::reached_end);
    REQUIRE(integrate(Swing{}, Stepper{}, watched, plan, look).outcome == Outcome::reached_end);
    CHECK(same_bits(alone, watched));
  };
  const FixedSteps fixed{.to = 3, .step = 0.03};
  compare(OnSphere<Euler<State>>{}, fixed);
  compare(OnSphere<RungeKutta4<State>>{}, fixed);
  compare(OnSphere<DormandPrince5<State>>{}, fixed);
  compare(GeodesicRungeKutta4<State>{}, fixed);
  compare(OnSphere<DormandPrince5<State>>{}, Swing::plan());
}

TEST_CASE("on the sphere a run stopped after any step and resumed has the bits of one never stopped",
          "[on_sphere]") {
  using Stepper = OnSphere<DormandPrince5<State>>;
  State whole = Attraction::start();
  const auto full = integrate(Swing{}, Stepper{}, whole, Swing::plan());
  REQUIRE(full.outcome == Outcome::reached_end);
  REQUIRE(full.rejected > 3);
  for (long k = 0; k < full.steps; ++k) {
    State x = Attraction::start();
    Stepper stepper, another;
    const auto first = integrate(Swing{}, stepper, x, Swing::plan(), StopAfter{k});
    REQUIRE(first.steps == k);
    AdaptiveSteps rest = Swing::plan();
    rest.from = first.t;
    another.restore(stepper.memory());
    const auto second = integrate(Swing{}, another, x, rest);
    CHECK(second.outcome == Outcome::reached_end);
    CHECK(first.steps + second.steps == full.steps);
    CHECK(same_bits(x, whole));
  }
}

TEMPLATE_LIST_TEST_CASE("a particle moved between steps is noticed", "[on_sphere]", AllSteppers) {
  const Swing field;
  TestType used;
  const auto steps_as_fresh = [&](State x, double t) {
    State y = x;
    used.step(field, t, x, 0.1);
    TestType{}.step(field, t, y, 0.1);
    CHECK(same_bits(x, y));
    return x;
  };
  State x = steps_as_fresh(Attraction::start(), 0);
  x.col(1) = x.col(0);  // moved
  x = steps_as_fresh(x, 0.1);
  x = steps_as_fresh(x, 0.5);    // another time
  x.col(2) *= 1 + 64 * epsilon;  // no longer of length one, and no rounding either
  x = steps_as_fresh(x, 0.6);
  x.conservativeResize(3, 2);  // fewer
  x = steps_as_fresh(x, 0.7);
  // A field that changes is not noticed: reset. At the point evaluated first in a step and last.
  const auto as_fresh_after_reset = [&](double t) {
    State y = x, z = x;
    used.reset();
    used.step(Attraction{}, t, y, 0.1);
    TestType{}.step(Attraction{}, t, z, 0.1);
    CHECK(same_bits(y, z));
  };
  State end = x;
  used.step(field, 0.8, end, 0.1);
  as_fresh_after_reset(0.8);
  used.step(field, 0.8, x, 0.1);
  as_fresh_after_reset(0.8 + 0.1);
}

TEMPLATE_LIST_TEST_CASE("a start near the sphere or far from it is scaled, the origin stays", "[on_sphere]",
                        AllSteppers) {
  State x = Attraction::start(), y = x;
  y.col(0) *= 1 + 1e-6;
  y.col(1) *= 1e200;
  y.col(2).setZero();
  TestType on_x, on_y;
  on_x.step(Attraction{}, 0.5, x, 0.25);
  on_y.step(Attraction{}, 0.5, y, 0.25);
  CHECK((x - y).leftCols(2).cwiseAbs().maxCoeff() <= 16 * epsilon);
  CHECK(y.col(2).isZero(0));
  // What is not finite is for the driver to find.
  y = Attraction::start();
  y(0, 0) = std::numeric_limits<double>::quiet_NaN();
  on_y.step(Attraction{}, 0.5, y, 0.25);
  CHECK_FALSE(y.allFinite());
  CHECK((y - x).rightCols(2).cwiseAbs().maxCoeff() == 0);
}

TEST_CASE("a run on the sphere without particles, and in float", "[on_sphere]") {
  State none(3, 0);
  CHECK(integrate(Attraction{}, OnSphere<DormandPrince5<State>>{}, none, {.to = 1}).outcome ==
        Outcome::reached_end);
  using Single = attnflow::Tokens<float>;
  struct Turn {
    using State = Single;
    void operator()(double, const Single& x, Single& dx) const {
      dx.resize(2, x.cols());
      dx.row(0) = -x.row(1);
      dx.row(1) = x.row(0);
    }
  };
  Single x = Single::Identity(2, 2);
  REQUIRE(integrate(Turn{}, OnSphere<DormandPrince5<Single>>{}, x, {.to = 50, .rtol = 1e-5, .atol = 1e-6})
              .outcome == Outcome::reached_end);
  CHECK((x.colwise().norm().array() - 1).abs().maxCoeff() <= 3 * std::numeric_limits<float>::epsilon());
  CHECK(static_cast<double>(x(0, 0)) == Approx(std::cos(50.)).margin(1e-3));
}
