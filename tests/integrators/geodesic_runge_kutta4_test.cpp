#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/geometry/sphere.hpp>
#include <attnflow/integrators/geodesic_runge_kutta4.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>
#include <attnflow/types.hpp>

#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

namespace {

using attnflow::FixedSteps;
using attnflow::GeodesicRungeKutta4;
using attnflow::integrate;
using attnflow::Outcome;
using attnflow::StepView;
using State = attnflow::Tokens<double, 3>;
using Stepper = GeodesicRungeKutta4<State>;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// A(t), whose values at two times do not commute, and which is not symmetric.
template <class Scalar>
Eigen::Matrix<Scalar, 3, 3> matrix_at(double t) {
  const double c = std::cos(2 * t), s = std::sin(3 * t);
  Eigen::Matrix3d A;
  A << 0.5, 1.5 * s, -0.7, -2 * c, -0.4 + 0.3 * s, 1.2, 1.1 * c, 0.8, 0.9 * s;
  return A.cast<Scalar>();
}

/// ẋ = P(x) A(t) x: the direction of the solution of ż = A(t) z.
struct Projected {
  using State = attnflow::Tokens<double, 3>;
  void operator()(double t, const State& x, State& dx) const {
    dx = matrix_at<double>(t) * x;
    attnflow::sphere::project_tangent(x, dx);
  }
  static State start() {
    State x(3, 2);
    x << 0.6, -0.48, 0, 0.6, 0.8, 0.64;
    return x;
  }
  /// From (from, x), by z in long double with RungeKutta4, steps of 1/2000 at most: errors of 10⁻¹⁵.
  static State exact(double from, const State& x, double to) {
    struct Linear {
      using State = attnflow::Tokens<long double, 3>;
      void operator()(double t, const State& z, State& dz) const { dz = matrix_at<long double>(t) * z; }
    };
    if (to == from) return x;
    Linear::State z = x.cast<long double>();
    const double steps = std::max(20., std::ceil(2000 * (to - from)));
    REQUIRE(integrate(Linear{}, attnflow::RungeKutta4<Linear::State>{}, z,
                      FixedSteps{.from = from, .to = to, .step = (to - from) / steps})
                .outcome == Outcome::reached_end);
    return z.colwise().normalized().cast<double>();
  }
};

/// Attention with weights that are not symmetric.
attnflow::SphereDynamics<double, 3> attention() {
  attnflow::Head<double, 3> head = attnflow::Head<double, 3>::identity();
  head.Q << 1.2, 0.3, -0.2, 0, 0.9, 0.5, 0.4, 0, 1.1;
  head.V << 1.3, 1.1, 0, -0.9, 0.6, 0.4, 0.3, 0, 1.5;
  return attnflow::SphereDynamics<double, 3>(head, attnflow::Softmax{3});
}
State attention_start() {
  attnflow::Generator generator(80);
  return attnflow::uniform_sphere<double, 3>(generator, 7, 3);
}

template <class F, class Exact>
std::pair<double, double> errors(const F& field, const State& start, double to, double h,
                                 const Exact& exact) {
  double at_ends = 0, inside = 0;
  const auto look = [&](const StepView<State>& step) {
    if (step.t1() == step.t0()) return;
    at_ends = std::max(at_ends, (step.state() - exact(step.t1())).norm());
    State x;
    for (const double s : {0.25, 0.5, 0.75}) {
      const double t = step.t0() + s * (step.t1() - step.t0());
      step.at(t, x);
      inside = std::max(inside, (x - exact(t)).norm());
    }
  };
  State x = start;
  REQUIRE(integrate(field, Stepper{}, x, FixedSteps{.to = to, .step = h}, look).outcome ==
          Outcome::reached_end);
  return {at_ends, inside};
}

/// The largest error at places within one step from `start` at time `from`.
template <class F, class Exact>
double error_inside_a_step(const F& field, double from, const State& start, double h, const Exact& exact) {
  Stepper stepper;
  State x = start, inside;
  stepper.step(field, from, x, h);
  double worst = 0;
  for (int k = 1; k < 10; ++k) {
    stepper.interpolate(field, from + k * h / 10, inside);
    worst = std::max(worst, (inside - exact(from + k * h / 10)).norm());
  }
  return worst;
}

Eigen::Vector3d cross(const Eigen::Vector3d& a, const Eigen::Vector3d& b) {
  return {a(1) * b(2) - a(2) * b(1), a(2) * b(0) - a(0) * b(2), a(0) * b(1) - a(1) * b(0)};
}

/// Turns about an axis at a constant rate.
struct Turn {
  using State = attnflow::Tokens<double, 3>;
  Eigen::Vector3d axis;
  void operator()(double, const State& x, State& dx) const {
    dx.resize(3, x.cols());
    for (Index i = 0; i < x.cols(); ++i) dx.col(i) = cross(axis, x.col(i));
  }
};

}  // namespace

TEST_CASE("normal coordinates: the field pulled back is the derivative of the coordinates", "[geodesic]") {
  using Coordinates = attnflow::detail::NormalCoordinates;
  const Eigen::Vector3d x(0.6, 0, 0.8), b1(0, 1, 0), b2(-0.8, 0, 0.6);
  for (const double length : {1e-9, 0.3, 1.5, 2.9}) {
    const Eigen::Vector3d y = length * (0.6 * b1 - 0.8 * b2), rate = 0.7 * b1 + 0.4 * b2;
    const double h = 1e-5;
    const auto point = [&](double s) {
      Eigen::Vector3d p;
      Coordinates::exponential(x, Eigen::Vector3d(y + s * h * rate), p);
      return p;
    };
    const Eigen::Vector3d velocity = (point(1) - point(-1)) / (2 * h);
    Eigen::Vector3d found;
    Coordinates::pull_back(x, y, velocity, found);
    CAPTURE(length);
    // h² and ε/h, times r / sin r, which is 12 at 2.9.
    CHECK((found - rate).norm() <= 1e-9);
    CHECK(std::abs(found.dot(x)) <= 2 * epsilon);
    CHECK(std::abs(point(0).norm() - 1) <= 2 * epsilon);
  }
}

TEST_CASE("the geodesic method has its order on a field that does not commute", "[geodesic][order]") {
  const auto exact = [](double t) { return Projected::exact(0, Projected::start(), t); };
  const auto coarse = errors(Projected{}, Projected::start(), 1, 1. / 32, exact),
             fine = errors(Projected{}, Projected::start(), 1, 1. / 64, exact);
  CHECK(std::log2(coarse.first / fine.first) == Approx(4).margin(0.15));
  CHECK(std::log2(coarse.second / fine.second) == Approx(4).margin(0.15));
  CHECK(fine.first > 1e-11);
  // Inside one step that starts on the solution: O(h⁴) of a cubic.
  const State start = exact(0.5);
  const auto inside = [&](double h) {
    return error_inside_a_step(Projected{}, 0.5, start, h,
                               [&](double t) { return Projected::exact(0.5, start, t); });
  };
  CHECK(std::log2(inside(1. / 32) / inside(1. / 64)) == Approx(Stepper::dense_order + 1).margin(0.15));
}

TEST_CASE("the geodesic method has its order on attention", "[geodesic][order]") {
  const auto field = attention();
  const auto run = [&](double to, double h) {
    State x = attention_start();
    REQUIRE(integrate(field, Stepper{}, x, FixedSteps{.to = to, .step = h}).outcome == Outcome::reached_end);
    return x;
  };
  // The reference: another method in the space around the sphere, extrapolated.
  const auto ambient = [&](double h) {
    State x = attention_start();
    REQUIRE(integrate(field, attnflow::RungeKutta4<State>{}, x, FixedSteps{.to = 2, .step = h}).outcome ==
            Outcome::reached_end);
    return x;
  };
  const State crude = ambient(1. / 512), better = ambient(1. / 1024),
              exact = (better + (better - crude) / 15).colwise().normalized();
  const double coarse = (run(2, 1. / 16) - exact).norm(), fine = (run(2, 1. / 32) - exact).norm();
  CHECK(std::log2(coarse / fine) == Approx(4).margin(0.15));
  CHECK(fine > 1e-10);
}

TEST_CASE("motions along great circles are exact, in steps beyond the antipode too", "[geodesic]") {
  const Eigen::Vector3d axis(2. / 3, -1. / 3, 2. / 3), a(2. / 3, 2. / 3, -1. / 3), b = cross(axis, a);
  const Turn field{axis};
  for (const double h : {0.25, 1., 3., 7., 100.}) {  // up to 16 turns in a step
    State x = a;
    Stepper stepper;
    stepper.step(field, 0.5, x, h);
    CAPTURE(h);
    CHECK((x.col(0) - (std::cos(h) * a + std::sin(h) * b)).norm() <= 16 * epsilon * (1 + h));
    State inside;
    for (const double s : {0., 0.1, 0.5, 0.77, 1.}) {
      stepper.interpolate(field, 0.5 + s * h, inside);
      CHECK((inside.col(0) - (std::cos(s * h) * a + std::sin(s * h) * b)).norm() <= 24 * epsilon * (1 + h));
    }
    // The next step begins where the last part ended.
    State alone = x;
    stepper.step(field, 0.5 + h, x, 0.1);
    Stepper{}.step(field, 0.5 + h, alone, 0.1);
    CHECK((x.array() == alone.array()).all());
  }
  // In small circles nothing is exact, but a step made in parts is what those parts are.
  State whole = Projected::start().leftCols(1), parts;
  Stepper stepper, another;
  stepper.step(Projected{}, 0, whole, 2);
  double nearest = 1;
  for (const int count : {2, 4, 8, 16}) {
    parts = Projected::start().leftCols(1);
    for (int k = 0; k < count; ++k) another.step(Projected{}, k * 2. / count, parts, 2. / count);
    nearest = std::min(nearest, (whole - parts).norm());
  }
  CHECK(nearest <= 8 * epsilon);
}

TEST_CASE("parts of a step move the state by what the clock makes of them", "[geodesic]") {
  // Numbers from 2⁵² on are 1 apart: a step of 3 in four or more parts has times between which nothing lies.
  const double t = 0x1p52;
  const Turn field{Eigen::Vector3d(0, 0, 1.4)};
  State x(3, 1), inside;
  x << 1, 0, 0;
  Stepper stepper;
  stepper.step(field, t, x, 3);
  for (const double s : {0., 1., 2., 3.}) {
    stepper.interpolate(field, t + s, inside);
    CHECK((inside - Eigen::Vector3d(std::cos(1.4 * s), std::sin(1.4 * s), 0)).norm() < 1e-12);
  }
}

TEST_CASE("a step too long for any number of parts ends the run", "[geodesic]") {
  const Turn field{Eigen::Vector3d(0, 0, 1e6)};
  State x(3, 2);
  x << 1, 0, 0, 1, 0, 0;
  const State start = x;
  const auto report = integrate(field, Stepper{}, x, FixedSteps{.to = 1, .step = 0.5});
  CHECK(report.outcome == Outcome::non_finite);
  CHECK((x.array() == start.array()).all());
  x = start;
  const Turn infinite{Eigen::Vector3d(0, 0, std::numeric_limits<double>::infinity())};
  CHECK(integrate(infinite, Stepper{}, x, FixedSteps{.to = 1, .step = 0.5}).outcome == Outcome::non_finite);
}

TEST_CASE("the geodesic method without tokens, in one dimension and in float", "[geodesic]") {
  State none(3, 0);
  Stepper{}.step(attention(), 0, none, 0.1);
  CHECK(none.cols() == 0);
  using Single = attnflow::Tokens<float>;
  struct Pole {  // ẋ = P(x) e₁
    using State = Single;
    void operator()(double, const Single& x, Single& dx) const {
      dx.setZero(x.rows(), x.cols());
      dx.row(0).setOnes();
      attnflow::sphere::project_tangent(x, dx);
    }
  };
  GeodesicRungeKutta4<Single> stepper;
  Single points(1, 2);
  points << 1, -1;  // the sphere of dimension 0
  stepper.step(Pole{}, 0, points, 0.1);
  CHECK(points(0, 0) == 1);
  CHECK(points(0, 1) == -1);
  Single x = attention_start().cast<float>();
  for (int k = 0; k < 100; ++k) stepper.step(Pole{}, k * 0.25, x, 0.25);
  CHECK((x.colwise().norm().array() - 1).abs().maxCoeff() <= 5 * std::numeric_limits<float>::epsilon());
  CHECK(x.row(0).minCoeff() > 0.9999F);
}
