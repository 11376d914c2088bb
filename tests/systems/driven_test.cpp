// Systems with parts beside their attention.
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/systems/driven.hpp>
#include <attnflow/systems/perceptron.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"
#include "velocity.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

namespace {

using attnflow::Driven;
using attnflow::ExternalField;
using attnflow::Head;
using attnflow::LinearPart;
using attnflow::Perceptron;
using attnflow::PerceptronPotential;
using attnflow::RescaledDynamics;
using attnflow::ResidualInput;
using attnflow::SphereDynamics;
using attnflow::TokenDynamics;
using Eigen::Index;
using Matrix = Eigen::MatrixXd;

/// A part of a user, with time in it and nothing beside.
struct Tide {
  void add(double t, const Matrix& /*x*/, Matrix& dx) const { dx.row(0).array() += std::sin(t); }
};

template <class Field>
concept has_jacobian = requires(const Field& f, const typename Field::State& x) {
  f.jacobian(0, x);
};

/// Any field behind one type, so that steppers are compiled once.
struct AnyField {
  using State = Matrix;
  std::function<void(double, const Matrix&, Matrix&)> f;
  void operator()(double t, const Matrix& x, Matrix& dx) const { f(t, x, dx); }
};

/// Where a run from x is at time `to`.
template <class Stepper>
Matrix end(const AnyField& field, Stepper stepper, Matrix x, double to) {
  const auto report = attnflow::integrate(field, stepper, x, attnflow::AdaptiveSteps{.to = to});
  REQUIRE(report.outcome == attnflow::Outcome::reached_end);
  return x;
}
using Plain = attnflow::DormandPrince5<Matrix>;
using OnSphere = attnflow::OnSphere<Plain>;

/// Attention of V = 0: nothing.
TokenDynamics<double> silence(Index d) {
  return TokenDynamics<double>(Head<double>::with_value(Matrix::Zero(d, d)));
}

Matrix on_sphere(Matrix x) {
  x.colwise().normalize();
  return x;
}

Matrix rotation(double angle) {
  return (Matrix(2, 2) << std::cos(angle), -std::sin(angle), std::sin(angle), std::cos(angle)).finished();
}

/// The largest difference between a jacobian and central differences of the field, relative to its largest entry.
double jacobian_error(const AnyField& field, const Matrix& J, double t, const Matrix& x) {
  const double h = 1e-5;
  double worst = 0;
  for (Index k = 0; k < x.size(); ++k) {
    Matrix after = x, before = x;
    after.data()[k] += h;
    before.data()[k] -= h;
    const Matrix slope = (velocity(field, t, after) - velocity(field, t, before)) / (2 * h);
    for (Index i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(slope.data()[i] - J(i, k)));
  }
  return worst / J.cwiseAbs().maxCoeff();
}

}  // namespace

TEST_CASE("parts are added, and on the sphere the sum is projected", "[systems][driven]") {
  std::mt19937_64 generator(100);
  const Index d = 3, n = 7;
  const auto head = random_head<double>(generator, d);
  const Matrix x = on_sphere(random(d, n, generator)), b = random(d, n, generator);
  const Matrix Omega = random(d, d, generator);
  const TokenDynamics<double> plain(head);
  const Matrix sum = velocity(plain, 0, x) + b + Omega * x;
  CHECK((velocity(Driven(plain, ExternalField(b), LinearPart(Omega)), 0, x) - sum).cwiseAbs().maxCoeff() <=
        1e-14);
  Matrix tangent = sum;
  for (Index i = 0; i < n; ++i) tangent.col(i) -= x.col(i).dot(sum.col(i)) * x.col(i);
  const Matrix v = velocity(Driven(SphereDynamics<double>(head), ExternalField(b), LinearPart(Omega)), 0, x);
  CHECK((v - tangent).cwiseAbs().maxCoeff() <= 1e-14);
  for (Index i = 0; i < n; ++i)  // to the rounding of the velocity, see project_tangent
    CHECK(std::abs(x.col(i).dot(v.col(i))) <= 6 * std::numeric_limits<double>::epsilon() * v.col(i).norm());
}

TEST_CASE("jacobians of driven systems are derivatives", "[systems][driven]") {
  std::mt19937_64 generator(101);
  const Index d = 3, n = 5;
  const auto head = random_head<double>(generator, d);
  const Matrix b = random(d, n, generator), Omega = random(d, d, generator), W = random(d, 4, generator),
               U = random(4, d, generator), x = random(d, n, generator);
  const Eigen::VectorXd omega = random(4, 1, generator);
  const auto check = [&](double t, const auto& system) {
    const Driven field(system, ExternalField(b), ResidualInput(0.6, b), ResidualInput(Omega, b),
                       LinearPart(Omega), Perceptron(W, U, attnflow::Gelu{}),
                       PerceptronPotential(omega, W, attnflow::Tanh{}));
    for (const Matrix& at : {x, on_sphere(x)})                              // of any radius
      CHECK(jacobian_error({field}, field.jacobian(t, at), t, at) < 1e-8);  // h² and ε/h, with h = 1e-5
  };
  check(0, TokenDynamics<double>(head));
  check(0.3, RescaledDynamics<double>(head));
  check(0, SphereDynamics<double>(head));
  // Parts behind parts.
  const LinearPart turn(Omega);
  const Driven inner(SphereDynamics<double>(head), turn);
  const Driven outer(inner, ExternalField(b));
  CHECK(jacobian_error({outer}, outer.jacobian(0, x), 0, x) < 1e-8);
}

TEST_CASE("what a driven system has is what the system has", "[systems][driven]") {
  std::mt19937_64 generator(102);
  const auto head = random_head<double>(generator, 2), other = random_head<double>(generator, 2);
  const Matrix x = random(2, 6, generator), nothing = Matrix::Zero(2, 1);
  const TokenDynamics<double> tokens(std::vector{head, other});
  const Driven driven(tokens, ExternalField(nothing));
  CHECK(velocity(driven, 0, x) == velocity(tokens, 0, x));
  CHECK(driven.attention(0, x, 1) == tokens.attention(0, x, 1));
  CHECK(driven.attention(0, x) == tokens.attention(0, x));
  CHECK(driven.dim() == 2);
  CHECK(driven.system().heads().size() == 2);
  CHECK(std::get<0>(driven.parts()).field() == nothing);
  // Time passes through, and a bare part of a user does.
  const Matrix tide = velocity(Driven(silence(2), Tide{}), 0.5, x);
  CHECK(tide.row(0) == Matrix::Constant(1, 6, std::sin(0.5)));
  CHECK(tide.row(1).isZero(0));
  using Bare = Driven<TokenDynamics<double>, Tide>;
  using Whole = Driven<TokenDynamics<double>, LinearPart<double>>;
  STATIC_REQUIRE(attnflow::VectorField<Bare>);
  STATIC_REQUIRE(!has_jacobian<Bare>);
  STATIC_REQUIRE(has_jacobian<Whole>);
  STATIC_REQUIRE(!attnflow::StepBoundedField<Whole>);
  STATIC_REQUIRE(!attnflow::TangentField<Whole>);
  STATIC_REQUIRE(attnflow::TangentField<Driven<SphereDynamics<double>, Tide>>);
}

TEST_CASE("the largest step of a driven system counts its parts", "[systems][driven]") {
  const Matrix I = Matrix::Identity(2, 2);
  const RescaledDynamics<double> system(Head<double>::with_value(4 * I));  // h = 1/4
  const ExternalField one(Matrix::Ones(2, 1));
  const LinearPart twice(2 * I);
  CHECK(Driven(system, one).max_step() == 0.25);
  CHECK(Driven(system, Tide{}).max_step() == 0.25);
  CHECK(Driven(system, twice).max_step() == Approx(1 / 6.0));
  CHECK(Driven(system, twice, ResidualInput(-3, I)).max_step() == Approx(1 / 9.0));
  CHECK(Driven(system, ResidualInput(I, I), one).max_step() == 0.25);
  CHECK(Driven(system, Perceptron(2 * I, 3 * I, attnflow::Tanh{})).max_step() == Approx(0.1));
  CHECK(Driven(system, PerceptronPotential(Eigen::Vector2d(1, -2), I)).max_step() == Approx(1 / 6.0));
  const RescaledDynamics<double> resting(Head<double>::with_value(0 * I));
  CHECK(Driven(resting, twice).max_step() == std::numeric_limits<double>::infinity());
}

TEST_CASE("parts without attention have the solutions of their own equations", "[systems][driven]") {
  std::mt19937_64 generator(103);
  const Matrix start = random(2, 4, generator), input = random(2, 4, generator), C = random(2, 2, generator);
  const double T = 1.3;
  const auto run = [&](const auto& part, const Matrix& x) {
    return end({Driven(silence(2), part)}, Plain{}, x, T);
  };
  // Some tens of steps, each to 1e-9; a polynomial of degree one in t has no error.
  const Matrix drawn = input + std::exp(-0.8 * T) * (start - input);
  CHECK((run(ResidualInput(0.8, input), start) - drawn).cwiseAbs().maxCoeff() <= 1e-7);
  CHECK(run(ResidualInput(0.8, input), input) == input);  // at rest, to the last bit
  CHECK((run(ResidualInput(C, input), start) - (start + T * C * input)).cwiseAbs().maxCoeff() <= 1e-14);
  const Matrix turn = (Matrix(2, 2) << 0, -2, 2, 0).finished();
  CHECK((run(LinearPart(turn), start) - rotation(2 * T) * start).cwiseAbs().maxCoeff() <= 1e-7);
}

TEST_CASE("a rotation beside attention that does not see it turns the run", "[systems][driven]") {
  // Q = K = V = I commutes with rotations: with Ω antisymmetric x(t) = e^{tΩ} y(t), y the run without Ω.
  std::mt19937_64 generator(104);
  const double T = 2, rate = 1.5;
  const Matrix start = on_sphere(random(2, 9, generator));
  const SphereDynamics<double> attention(Head<double>::identity(2), attnflow::Softmax{2});
  const Matrix turn = (Matrix(2, 2) << 0, -rate, rate, 0).finished();
  const Matrix x = end({Driven(attention, LinearPart(turn))}, OnSphere{}, start, T),
               y = end({attention}, OnSphere{}, start, T);
  CHECK((x - rotation(rate * T) * y).cwiseAbs().maxCoeff() <= 1e-7);  // some tens of steps, each to 1e-9
  CHECK((x - y).cwiseAbs().maxCoeff() > 0.1);
  CHECK((x.colwise().norm().array() - 1).abs().maxCoeff() <= 1e-14);
}

TEST_CASE("attention less the tokens is what rows that sum to one make of displacements",
          "[systems][driven]") {
  std::mt19937_64 generator(105);
  Head<double> head = random_head<double>(generator, 3);
  head.V.setIdentity();
  const Matrix x = random(3, 8, generator);
  const TokenDynamics<double> attention(head);
  CHECK((velocity(Driven(attention, LinearPart(-Matrix::Identity(3, 3))), 0, x) -
         velocity(RescaledDynamics<double>(head), 0, x))
            .cwiseAbs()
            .maxCoeff() <= 1e-14);
}

TEST_CASE("a driven system refuses parts of another dimension", "[systems][driven]") {
  const TokenDynamics<double> system(Head<double>::identity(2));
  CHECK(refusal([&] {
          Driven f(system, LinearPart(Matrix::Identity(2, 2)), ExternalField(Matrix::Ones(3, 1)));
        }) == "Driven: part 1 is for tokens in dimension 3, expected 2, the dimension of the system");
}
