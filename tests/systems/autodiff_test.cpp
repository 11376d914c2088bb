// Drifts and flows of scalars that carry derivatives, against the Jacobians and the variational equation.
#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/biases/token_masses.hpp>
#include <attnflow/attention/laws/sinkhorn.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/systems/convex_layers.hpp>
#include <attnflow/systems/driven.hpp>
#include <attnflow/systems/feed_forward.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/perceptron.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <unsupported/Eigen/AutoDiff>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::Alibi;
using attnflow::Causal;
using attnflow::DormandPrince5;
using attnflow::Euler;
using attnflow::FixedSteps;
using attnflow::Head;
using attnflow::integrate;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::Outcome;
using attnflow::RescaledDynamics;
using attnflow::RungeKutta4;
using attnflow::Softmax;
using attnflow::SphereDynamics;
using attnflow::StrictCausal;
using attnflow::TokenDynamics;
using attnflow::Tokens;
using attnflow::Unnormalized;
using reference::Index;

/// A number and its derivatives with respect to as many variables as one likes; constants have none.
using Dual = Eigen::AutoDiffScalar<Eigen::VectorXd>;
/// The same with respect to six variables.
using Dual6 = Eigen::AutoDiffScalar<Eigen::Matrix<double, 6, 1>>;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

template <class Scalar, int Dim>
Head<Scalar, Dim> as(const Head<double, Dim>& head) {
  return {head.Q.template cast<Scalar>(), head.K.template cast<Scalar>(), head.V.template cast<Scalar>()};
}

/// Entries as the variables first, first + 1, … of `count`.
template <class Scalar, class Matrix>
void seed(Matrix& m, Index count, Index first = 0) {
  for (Index k = 0; k < m.size(); ++k) {
    Scalar& entry = m.data()[k];
    entry.derivatives() = std::remove_cvref_t<decltype(entry.derivatives())>::Unit(count, first + k);
  }
}
template <class Scalar, int Dim>
Tokens<Scalar, Dim> seeded(const Tokens<double, Dim>& x) {
  Tokens<Scalar, Dim> y = x.template cast<Scalar>();
  seed<Scalar>(y, x.size());
  return y;
}

/// Row k: the derivatives of entry k. Each must know all variables, also where it depends on none.
template <class Matrix>
Eigen::MatrixXd derivatives(const Matrix& y, Index count) {
  Eigen::MatrixXd J(y.size(), count);
  for (Index k = 0; k < y.size(); ++k) {
    REQUIRE(y.data()[k].derivatives().size() == count);
    J.row(k) = y.data()[k].derivatives().transpose();
  }
  return J;
}
template <class Matrix>
Eigen::MatrixXd values(const Matrix& y) {
  return attnflow::detail::in_double(y);
}

double largest(const Eigen::MatrixXd& m) { return m.size() == 0 ? 0 : m.cwiseAbs().maxCoeff(); }
/// Roundings of sums of n d terms and of scores and their slopes of a few units, beside the size of the result.
double tolerance(const Eigen::MatrixXd& J, Index n) {
  return epsilon * static_cast<double>(128 + 8 * n) * (1 + largest(J));
}

/// The drift of duals has the Jacobian as its derivatives, and the drift as its values.
template <class Scalar, int Dim, class Field, class DualField>
void expect_jacobian(const Field& field, const DualField& dual, double t, const Tokens<double, Dim>& x) {
  Tokens<Scalar, Dim> dx;
  dual(t, seeded<Scalar, Dim>(x), dx);
  Tokens<double, Dim> expected;
  field(t, x, expected);
  const Eigen::MatrixXd J = field.jacobian(t, x);
  CHECK(largest(values(dx) - expected) <= tolerance(expected, x.cols()));
  CHECK(largest(derivatives(dx, x.size()) - J) <= tolerance(J, x.cols()));
}

template <class Law, class Mask, class Bias, class Scalar, int Dim>
void expect_token_jacobian(const std::vector<Head<double, Dim>>& heads, double beta, const Mask& mask,
                           const Bias& bias, const Tokens<double, Dim>& x) {
  std::vector<Head<Scalar, Dim>> duals;
  for (const auto& head : heads) duals.push_back(as<Scalar>(head));
  expect_jacobian<Scalar>(TokenDynamics<double, Dim, Law, Mask, Bias>(heads, {beta}, mask, bias),
                          TokenDynamics<Scalar, Dim, Law, Mask, Bias>(duals, {beta}, mask, bias), 0, x);
}

/// V with a positive or a negative part that grows.
template <int Dim>
Head<double, Dim> drawn_head(std::mt19937_64& generator, Index d, double shift) {
  auto head = random_head<double, Dim>(generator, d);
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  head.Q *= scale, head.K *= scale, head.V *= scale;
  head.V.diagonal().array() += shift;
  return head;
}

}  // namespace

TEST_CASE("the token drift of duals has the Jacobian as its derivatives", "[systems][autodiff]") {
  std::mt19937_64 generator(71);
  for (const Index n : {1, 2, 5})
    for (const double beta : {1.0, -0.6, 3.0}) {
      CAPTURE(n, beta);
      std::vector<Head<double, 3>> heads{drawn_head<3>(generator, 3, 0), drawn_head<3>(generator, 3, 0)};
      const auto x = reference::random<Tokens<double, 3>>(generator, 3, n);
      expect_token_jacobian<Softmax, NoMask, NoBias, Dual>(heads, beta, {}, {}, x);
      heads[1].V *= 1e-30;  // heads in units of their own
      expect_token_jacobian<Unnormalized, StrictCausal, Alibi, Dual>(heads, beta, {}, {0.2}, x);
    }
  // Many coordinates: what the kernels would take as products.
  const std::vector<Head<double>> wide{drawn_head<Eigen::Dynamic>(generator, 11, 0)};
  expect_token_jacobian<Softmax, Causal, NoBias, Dual>(
      wide, 1, {}, {}, Tokens<double>(reference::random<Tokens<double>>(generator, 11, 4)));
  // As many derivatives as the type says.
  const Head<double, 2> head = drawn_head<2>(generator, 2, 0);
  expect_jacobian<Dual6>(TokenDynamics<double, 2>(head), TokenDynamics<Dual6, 2>(as<Dual6>(head)), 0,
                         reference::random<Tokens<double, 2>>(generator, 2, 3));
}

TEST_CASE("the rescaled drift of duals has the Jacobian as its derivatives", "[systems][autodiff]") {
  std::mt19937_64 generator(72);
  for (const double shift : {0.5, -0.7})
    for (const double t : {0.0, 0.6, 2.0, -0.8}) {
      CAPTURE(shift, t);
      const auto head = drawn_head<3>(generator, 3, shift);
      expect_jacobian<Dual>(RescaledDynamics<double, 3>(head, {0.5}),
                            RescaledDynamics<Dual, 3>(as<Dual>(head), {0.5}), t,
                            reference::random<Tokens<double, 3>>(generator, 3, 4));
      const auto wide = drawn_head<Eigen::Dynamic>(generator, 9, shift / 2);
      expect_jacobian<Dual>(RescaledDynamics<double>(wide), RescaledDynamics<Dual>(as<Dual>(wide)), t,
                            Tokens<double>(reference::random<Tokens<double>>(generator, 9, 3)));
    }
  // Late rows are Boolean: weights that vanish leave no 0 · ∞ in the derivatives.
  const auto one = Head<double>::identity(1);
  Tokens<double> z(1, 3);
  z << 1, 2, -1;
  for (const double t : {20.0, 500.0, 1e6}) {
    CAPTURE(t);
    expect_jacobian<Dual>(RescaledDynamics<double>(one), RescaledDynamics<Dual>(as<Dual>(one)), t, z);
    const auto P = RescaledDynamics<Dual>(as<Dual>(one)).attention(t, seeded<Dual, Eigen::Dynamic>(z));
    for (const Dual& p : P.reshaped()) CHECK((p.derivatives().size() == 0 || p.derivatives().isZero(1e-300)));
  }
  // Derivatives that the weights carry are dropped, V's among them.
  Head<Dual> carrying = as<Dual>(one);
  seed<Dual>(carrying.V, 1);
  Tokens<Dual> dz;
  RescaledDynamics<Dual>{carrying}(0.5, Tokens<Dual>(z.cast<Dual>()), dz);
  for (const Dual& entry : dz.reshaped())
    CHECK((entry.derivatives().size() == 0 || entry.derivatives().isZero(0)));
}

TEST_CASE("the drift of duals on the sphere has the Jacobian as its derivatives", "[systems][autodiff]") {
  std::mt19937_64 generator(73);
  for (const double size : {1.0, 1e-3, 1e5}) {
    auto head = drawn_head<3>(generator, 3, 0);
    Tokens<double, 3> x = reference::random<Tokens<double, 3>>(generator, 3, 5);
    attnflow::sphere::normalize(x);
    x *= size;
    head.Q /= size, head.K /= size;
    Tokens<Dual, 3> dx;
    const SphereDynamics<double, 3> field(head, {2});
    const SphereDynamics<Dual, 3> dual(as<Dual>(head), {2});
    dual(0, seeded<Dual, 3>(x), dx);
    Tokens<double, 3> expected;
    field(0, x, expected);
    const Eigen::MatrixXd J = field.jacobian(0, x);
    CHECK(largest(values(dx) - expected) <= 128 * epsilon * (largest(expected) + size));
    CHECK(largest(derivatives(dx, x.size()) - J) <= 256 * epsilon * (1 + largest(J)));
  }
}

TEST_CASE("parts of duals beside attention have their derivatives", "[systems][autodiff]") {
  std::mt19937_64 generator(79);
  const Index d = 3, n = 4;
  const auto head = drawn_head<3>(generator, d, 0);
  const Eigen::MatrixXd b = random(d, n, generator), Omega = random(d, d, generator),
                        W = random(d, 5, generator), U = random(5, d, generator);
  const Eigen::VectorXd omega = random(5, 1, generator);
  const auto drive = [&](const auto& system) {
    using S = typename std::remove_cvref_t<decltype(system)>::Scalar;
    const attnflow::Tokens<S> field = b.cast<S>(), map = Omega.cast<S>(), out = W.cast<S>(), in = U.cast<S>();
    const Eigen::Matrix<S, Eigen::Dynamic, 1> weights = omega.cast<S>();
    return attnflow::Driven(system, attnflow::ExternalField(field), attnflow::ResidualInput(0.6, field),
                            attnflow::ResidualInput(map, field), attnflow::LinearPart(map),
                            attnflow::Perceptron(out, in, attnflow::Tanh{}, weights),
                            attnflow::PerceptronPotential(weights, out, attnflow::Relu{}));
  };
  const auto x = reference::random<Tokens<double, 3>>(generator, d, n);
  expect_jacobian<Dual>(drive(TokenDynamics<double, 3>(head)), drive(TokenDynamics<Dual, 3>(as<Dual>(head))),
                        0, x);
  expect_jacobian<Dual>(drive(SphereDynamics<double, 3>(head)),
                        drive(SphereDynamics<Dual, 3>(as<Dual>(head))), 0, x);
}

TEST_CASE("derivatives with respect to the weights are carried", "[systems][autodiff]") {
  std::mt19937_64 generator(74);
  const auto head = drawn_head<2>(generator, 2, 0.3);
  const Tokens<double, 2> x = reference::random<Tokens<double, 2>>(generator, 2, 4);
  Head<Dual, 2> dual = as<Dual>(head);
  seed<Dual>(dual.Q, 12), seed<Dual>(dual.K, 12, 4), seed<Dual>(dual.V, 12, 8);
  Tokens<Dual, 2> dx;
  const Tokens<Dual, 2> constants = x.cast<Dual>();  // no derivatives of their own
  TokenDynamics<Dual, 2>(dual, {1.5})(0, constants, dx);
  const Eigen::MatrixXd J = derivatives(dx, 12);
  // Central differences in long double: h² and ε / h are 10⁻¹² and 10⁻¹³.
  using Real = long double;
  const Real h = 1e-6L;
  const Tokens<Real, 2> wide = x.cast<Real>();
  for (Index k = 0; k < 12; ++k) {
    Tokens<Real, 2> up, down;
    for (const bool plus : {true, false}) {
      Head<Real, 2> moved = as<Real>(head);
      Real* entry = k < 4 ? moved.Q.data() + k : k < 8 ? moved.K.data() + (k - 4) : moved.V.data() + (k - 8);
      *entry += plus ? h : -h;
      TokenDynamics<Real, 2>(moved, {1.5})(0, wide, plus ? up : down);
    }
    const Eigen::VectorXd slope = ((up - down) / (2 * h)).cast<double>().reshaped();
    CHECK(largest(J.col(k) - slope) <= 1e-10);
  }
  // Constants stay constants: nothing of the caller's is written to.
  for (const Dual& entry : constants.reshaped()) CHECK(entry.derivatives().size() == 0);
  // V = I and V = 0 by their values: their derivatives count all the same.
  for (const double v : {1.0, 0.0}) {
    Head<Dual, 2> special = as<Dual>(head);
    special.V = (v * Eigen::Matrix2d::Identity()).cast<Dual>();
    seed<Dual>(special.V, 4);
    // Also beside a head whose V is small, in units of its own.
    Head<Dual, 2> small = as<Dual>(head);
    small.V *= Dual(1e-30);
    TokenDynamics<Dual, 2>(std::vector<Head<Dual, 2>>{special, small})(0, constants, dx);
    const auto mean = attend(Head<double, 2>{head.Q, head.K, Eigen::Matrix2d::Identity()}, x);
    for (Index i = 0; i < 4; ++i) {
      CHECK(dx(1, i).derivatives()(1) == Approx(mean(0, i)).epsilon(1e-14));  // ∂/∂V₁₀
      CHECK(std::abs(dx(0, i).derivatives()(1)) <= 1e-29);
    }
  }
  // One token of several carries derivatives.
  Tokens<Dual, 2> single = constants;
  for (Index c = 0; c < 2; ++c) single(c, 2).derivatives() = Eigen::VectorXd::Unit(2, c);
  TokenDynamics<Dual, 2>(as<Dual>(head), {1.5})(0, single, dx);
  const Eigen::MatrixXd columns = TokenDynamics<double, 2>(head, {1.5}).jacobian(0, x).middleCols(4, 2);
  CHECK(largest(derivatives(dx, 2) - columns) <= tolerance(columns, 4));
}

TEST_CASE("derivatives may have derivatives", "[systems][autodiff]") {
  using Inner = Eigen::AutoDiffScalar<Eigen::Matrix<double, 2, 1>>;
  using Outer = Eigen::AutoDiffScalar<Eigen::Matrix<Inner, 2, 1>>;
  const Head<double, 1> head{Eigen::MatrixXd::Constant(1, 1, 1.3), Eigen::MatrixXd::Constant(1, 1, 0.7),
                             Eigen::Matrix<double, 1, 1>(-0.8)};
  const Tokens<double, 1> x = (Tokens<double, 1>(1, 2) << 0.4, -0.9).finished();
  Tokens<Outer, 1> y(1, 2), dy;
  for (Index k = 0; k < 2; ++k) {
    y(k).value() = Inner(x(k), 2, static_cast<int>(k));
    y(k).derivatives()(k) = Inner(1);
    y(k).derivatives()(1 - k) = Inner(0);
  }
  TokenDynamics<Outer, 1>{as<Outer>(head)}(0, y, dy);
  const TokenDynamics<double, 1> field(head);
  const Eigen::MatrixXd J = field.jacobian(0, x);
  for (Index k = 0; k < 2; ++k) {
    // The Jacobian's differences: h² and ε / h are 10⁻¹⁰ and 10⁻¹¹.
    constexpr double h = 1e-5;
    Tokens<double, 1> up = x, down = x;
    up(k) += h, down(k) -= h;
    const Eigen::MatrixXd second = (field.jacobian(0, up) - field.jacobian(0, down)) / (2 * h);
    for (Index i = 0; i < 2; ++i)
      for (Index j = 0; j < 2; ++j) {
        CHECK(dy(i).derivatives()(j).value() == Approx(J(i, j)).epsilon(1e-13));
        CHECK(std::abs(dy(i).derivatives()(j).derivatives()(k) - second(i, j)) <= 1e-8);
      }
  }
}

namespace {

/// x and the derivative Φ of x with respect to its start, side by side: Φ̇ = Df(x) Φ.
struct Variational {
  using State = Tokens<double, 2>;
  const TokenDynamics<double, 2>& field;
  Index n;
  void operator()(double t, const State& s, State& ds) const {
    ds.resize(2, s.cols());
    const State x = s.leftCols(n);
    State dx;
    field(t, x, dx);
    ds.leftCols(n) = dx;
    const Eigen::Map<const Eigen::MatrixXd> flow(s.data() + 2 * n, 2 * n, 2 * n);
    Eigen::Map<Eigen::MatrixXd>(ds.data() + 2 * n, 2 * n, 2 * n) = field.jacobian(t, x) * flow;
  }
};

template <template <class> class Stepper, class Plan>
void expect_flow(const Plan& plan, double tolerance) {
  std::mt19937_64 generator(75);
  const auto head = drawn_head<2>(generator, 2, 0.2);
  const Index n = 3;
  const Tokens<double, 2> start = reference::random<Tokens<double, 2>>(generator, 2, n);
  const TokenDynamics<double, 2> field(head);
  Tokens<double, 2> joint(2, n + n * 2 * n);
  joint.leftCols(n) = start;
  Eigen::Map<Eigen::MatrixXd>(joint.data() + 2 * n, 2 * n, 2 * n).setIdentity();
  CHECK(integrate(Variational{field, n}, Stepper<Tokens<double, 2>>{}, joint, plan).outcome ==
        Outcome::reached_end);

  Tokens<Dual6, 2> x = seeded<Dual6, 2>(start);
  const TokenDynamics<Dual6, 2> dual(as<Dual6>(head));
  const auto report = integrate(dual, Stepper<Tokens<Dual6, 2>>{}, x, plan);
  CHECK(report.outcome == Outcome::reached_end);
  CHECK(report.t == plan.to);
  const Eigen::Map<const Eigen::MatrixXd> flow(joint.data() + 2 * n, 2 * n, 2 * n);
  CHECK(largest(values(x) - joint.leftCols(n)) <= tolerance);
  CHECK(largest(derivatives(x, 6) - flow) <= tolerance * (1 + largest(flow)));
}

}  // namespace

TEST_CASE("flows of duals carry the sensitivity to the start", "[integrators][autodiff]") {
  // A Runge-Kutta step of the pair (x, Φ) is the derivative of the step of x: the two differ by roundings, those of
  // some hundred operations a step.
  const FixedSteps fixed{.to = 2, .step = 0.05};
  expect_flow<Euler>(fixed, 4000 * epsilon);
  expect_flow<RungeKutta4>(fixed, 4000 * epsilon);
  expect_flow<DormandPrince5>(fixed, 4000 * epsilon);
  // The two choose their steps by errors of their own.
  expect_flow<DormandPrince5>(AdaptiveSteps{.to = 2, .rtol = 1e-10, .atol = 1e-12}, 1e-8);

  // Steps are those of the values: derivatives decide nothing, and in between there are derivatives, too.
  const auto head = Head<double, 2>::identity();
  Tokens<double, 2> x(2, 3);
  x << 1, -0.3, 0.2, 0.5, 0.4, -1;
  Tokens<Dual6, 2> y = seeded<Dual6, 2>(x), middle;
  const AdaptiveSteps plan{.to = 3, .rtol = 1e-6, .atol = 1e-8};
  const RescaledDynamics<double, 2> field(head);
  const RescaledDynamics<Dual6, 2> dual(as<Dual6>(head));
  double jump = 0;
  const auto look = [&](const attnflow::StepView<Tokens<Dual6, 2>>& step) {
    step.at(step.t1() - 1e-9 * (step.t1() - step.t0()), middle);
    jump = std::max(jump, largest(derivatives(middle, 6) - derivatives(step.state(), 6)));
  };
  const auto of_values = integrate(field, DormandPrince5<Tokens<double, 2>>{}, x, plan);
  const auto of_duals = integrate(dual, DormandPrince5<Tokens<Dual6, 2>>{}, y, plan, look);
  CHECK(of_duals.steps == of_values.steps);
  CHECK(of_duals.rejected == of_values.rejected);
  CHECK(largest(values(y) - x) <= 4000 * epsilon);
  CHECK(jump <= 1e-7);
}

TEST_CASE("steppers notice derivatives that the caller has changed", "[integrators][autodiff]") {
  // A run is linear in the derivatives of its start. The values stay, so that a stepper which compares values alone would
  // go on with slopes of the old derivatives.
  const auto expect = [](auto stepper, const auto& field, auto x) {
    auto fresh = stepper;
    stepper.step(field, 0, x, 0.1);
    for (auto& entry : x.reshaped()) entry.derivatives() *= 2;
    auto again = x;
    stepper.step(field, 0.1, x, 0.1);
    fresh.step(field, 0.1, again, 0.1);
    CHECK(largest(derivatives(x, 6) - derivatives(again, 6)) == 0);
    CHECK(largest(derivatives(x, 6)) > 1);
  };
  using State = Tokens<Dual6, 2>;
  std::mt19937_64 generator(77);
  const auto head = as<Dual6>(drawn_head<2>(generator, 2, 0.2));
  Tokens<double, 2> x = reference::random<Tokens<double, 2>>(generator, 2, 3);
  expect(DormandPrince5<State>{}, TokenDynamics<Dual6, 2>(head), seeded<Dual6, 2>(x));
  attnflow::sphere::normalize(x);
  expect(attnflow::OnSphere<DormandPrince5<State>>{}, SphereDynamics<Dual6, 2>(head), seeded<Dual6, 2>(x));
}

TEST_CASE("layers, feed-forward parts and the sphere's steppers take duals", "[systems][autodiff]") {
  std::mt19937_64 generator(76);
  const auto head = drawn_head<3>(generator, 3, 0.4);
  Tokens<double, 3> x = reference::random<Tokens<double, 3>>(generator, 3, 4);
  const Eigen::MatrixXd J = TokenDynamics<double, 3>(head).jacobian(0, x);
  const Index size = x.size();
  const Eigen::MatrixXd I = Eigen::MatrixXd::Identity(size, size);

  Tokens<Dual, 3> y = seeded<Dual, 3>(x);
  attnflow::Layers<Dual, 3>(as<Dual>(head), 0.25).apply(y);
  CHECK(largest(derivatives(y, size) - (I + 0.25 * J)) <= tolerance(J, 4));

  // A convex layer: (1 − γ) x and γ times the mean that V = I makes.
  auto mean = head;
  mean.V.setIdentity();
  y = seeded<Dual, 3>(x);
  attnflow::ConvexLayers<Dual, 3>(as<Dual>(mean), 0.25).apply(0, y);
  CHECK(largest(derivatives(y, size) - (0.75 * I + 0.25 * TokenDynamics<double, 3>(mean).jacobian(0, x))) <=
        tolerance(J, 4));

  // The rescaled layer is the layer between its rescalings, derivatives included.
  const attnflow::RescaledLayers<double, 3> rescaled(head, 0.25);
  const attnflow::RescaledLayers<Dual, 3> rescaled_dual(as<Dual>(head), 0.25);
  y = rescaled_dual.rescale(2, seeded<Dual, 3>(x));
  rescaled_dual.apply(2, y);
  y = rescaled_dual.unrescale(3, y);
  CHECK(largest(derivatives(y, size) - (I + 0.25 * J)) <= 4 * tolerance(J, 4));
  const RescaledDynamics<Dual, 3> frame(as<Dual>(head));
  y = unrescale(frame.exponential(), 1.5, rescale(frame.exponential(), 1.5, seeded<Dual, 3>(x)));
  CHECK(largest(derivatives(y, size) - I) <= 256 * epsilon);

  // σ = tanh behind the attention: its slope times W times the drift's derivative.
  const Eigen::Matrix3d W = reference::random<Eigen::Matrix3d>(generator, 3, 3);
  const Eigen::Vector3d b(0.1, -0.2, 0.3);
  const attnflow::FeedForward<TokenDynamics<Dual, 3>, attnflow::Tanh> behind(
      TokenDynamics<Dual, 3>(as<Dual>(head)), W.cast<Dual>(), {}, b.cast<Dual>());
  Tokens<Dual, 3> dy;
  behind(0, seeded<Dual, 3>(x), dy);
  Tokens<double, 3> dx;
  TokenDynamics<double, 3>{head}(0, x, dx);
  dx.colwise() += b;
  Eigen::MatrixXd expected(size, size);
  for (Index i = 0; i < 4; ++i) {
    const Eigen::Vector3d slope = (1 - dx.col(i).array().tanh().square()).matrix();
    expected.middleRows(3 * i, 3) = W * slope.asDiagonal() * J.middleRows(3 * i, 3);
  }
  CHECK(largest(derivatives(dy, size) - expected) <= 4 * tolerance(expected, 4));
  using Smooth = attnflow::FeedForward<RescaledDynamics<Dual, 3>, attnflow::Relu>;
  CHECK(Smooth(frame, W.cast<Dual>()).max_step() > 0);

  // Projected steps: unit tokens, and the derivative of each is tangent.
  attnflow::sphere::normalize(x);
  Tokens<Dual, 3> on_sphere = seeded<Dual, 3>(x);
  CHECK(integrate(SphereDynamics<Dual, 3>(as<Dual>(head)), attnflow::OnSphere<RungeKutta4<Tokens<Dual, 3>>>{},
                  on_sphere, FixedSteps{.to = 1, .step = 0.1})
            .outcome == Outcome::reached_end);
  const Eigen::MatrixXd D = derivatives(on_sphere, size);
  const auto at_end = values(on_sphere);
  CHECK(largest(at_end.colwise().norm().array() - 1) <= 8 * epsilon);
  const auto flow = [&](Tokens<double, 3> at) {
    static_cast<void>(integrate(SphereDynamics<double, 3>(head),
                                attnflow::OnSphere<RungeKutta4<Tokens<double, 3>>>{}, at,
                                FixedSteps{.to = 1, .step = 0.1}));
    return at;
  };
  CHECK(largest(flow(x) - at_end) <= 1e-13);
  for (Index k = 0; k < size; ++k) {
    constexpr double h = 1e-5;
    Tokens<double, 3> up = x, down = x;
    up.data()[k] += h, down.data()[k] -= h;
    const Eigen::VectorXd slope = (flow(up) - flow(down)).reshaped() / (2 * h);
    CHECK(largest(D.col(k) - slope) <= 1e-8);
    for (Index i = 0; i < 4; ++i) CHECK(std::abs(at_end.col(i).dot(D.col(k).segment(3 * i, 3))) <= 1e-13);
  }
}

// The terms that Newton's method finds are constants to the scalars; their derivatives are those of the solution.
TEST_CASE("Sinkhorn's weights have the derivatives of the scaling", "[systems][autodiff]") {
  using attnflow::Sinkhorn, attnflow::TokenMasses;
  std::mt19937_64 generator(78);
  const TokenMasses masses{{1, 2, 0.5, 1, 1.5}};
  const auto head = random_head<double, 2>(generator, 2);
  for (const double size : {1., 4.}) {  // of tokens: smooth weights and sharp ones
    const Tokens<double, 2> x = reference::random<Tokens<double, 2>>(generator, 2, 5, -size, size);
    Tokens<Dual, 2> dx;
    TokenDynamics<Dual, 2, Sinkhorn, NoMask, TokenMasses>(as<Dual>(head), {1}, {}, masses)(
        0, seeded<Dual, 2>(x), dx);
    const Eigen::MatrixXd J = derivatives(dx, 10);
    using Real = long double;
    const TokenDynamics<Real, 2, Sinkhorn, NoMask, TokenMasses> field(
        as<Real>(head), {.beta = 1, .tolerance = 1e-18}, {}, masses);
    for (Index k = 0; k < 10; ++k) {
      constexpr Real h = 1e-6L;  // h² and ε / h are 10⁻¹² and 10⁻¹³
      Tokens<Real, 2> up = x.cast<Real>(), down = up, up_dx, down_dx;
      up.data()[k] += h, down.data()[k] -= h;
      field(0, up, up_dx), field(0, down, down_dx);
      const Tokens<double, 2> difference = ((up_dx - down_dx) / (2 * h)).cast<double>();
      CHECK(largest(difference.reshaped() - J.col(k)) <= 1e-9 * (1 + largest(J)));
    }
  }
  // Of second order, on the line: differences of first ones.
  using Inner = Eigen::AutoDiffScalar<Eigen::Matrix<double, 3, 1>>;
  using Outer = Eigen::AutoDiffScalar<Eigen::Matrix<Inner, 3, 1>>;
  const Head<double, 1> line = Head<double, 1>::identity();
  const Tokens<double, 1> x = (Tokens<double, 1>(1, 3) << 0.9, -1.2, 0.3).finished();
  Tokens<Outer, 1> y(1, 3), dy;
  for (Index k = 0; k < 3; ++k) {
    y(k).value() = Inner(x(k), 3, static_cast<int>(k));
    for (Index j = 0; j < 3; ++j) y(k).derivatives()(j) = Inner(j == k ? 1 : 0);
  }
  TokenDynamics<Outer, 1, Sinkhorn>(as<Outer>(line))(0, y, dy);
  const auto first = [&](const Tokens<double, 1>& at) {
    Tokens<Dual, 1> of_dual;
    TokenDynamics<Dual, 1, Sinkhorn>(as<Dual>(line))(0, seeded<Dual, 1>(at), of_dual);
    return derivatives(of_dual, 3);
  };
  for (Index k = 0; k < 3; ++k) {
    constexpr double h = 1e-5;
    Tokens<double, 1> up = x, down = x;
    up(k) += h, down(k) -= h;
    const Eigen::MatrixXd second = (first(up) - first(down)) / (2 * h);
    for (Index i = 0; i < 3; ++i)
      for (Index j = 0; j < 3; ++j)
        CHECK(std::abs(dy(i).derivatives()(j).derivatives()(k) - second(i, j)) <= 1e-8);
  }
}
