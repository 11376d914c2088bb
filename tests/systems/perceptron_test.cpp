// A hidden layer beside attention, and the one that is a gradient.
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/systems/driven.hpp>
#include <attnflow/systems/perceptron.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>

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

namespace {

using attnflow::Gelu;
using attnflow::Identity;
using attnflow::Perceptron;
using attnflow::PerceptronPotential;
using attnflow::Relu;
using attnflow::Tanh;
using attnflow::Tokens;
using reference::Index;
using reference::Real;
using reference::Wide;
using reference::wide;
using Matrix = Eigen::MatrixXd;

template <class Part, class State>
State added(const Part& part, const State& x) {
  State dx = State::Ones(x.rows(), x.cols());
  part.add(0.3, x, dx);
  return dx;
}

template <class Scalar, int Dim>
void check_definitions(std::mt19937_64& generator, Index d, Index k) {
  CAPTURE(d, k, Dim);
  const Index n = 7;
  const auto W = reference::random<Tokens<Scalar>>(generator, d, k);
  const auto U = reference::random<Tokens<Scalar>>(generator, k, d);
  const auto b = reference::random<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>>(generator, k, 1),
             omega = reference::random<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>>(generator, k, 1);
  auto x = reference::random<Tokens<Scalar, Dim>>(generator, d, n);
  x.col(5) = x.col(1);
  Wide plain = Wide::Ones(d, n), biased = plain, gradient = plain;
  for (Index i = 0; i < n; ++i)
    for (Index r = 0; r < k; ++r) {
      Real inner = 0, along = 0;
      for (Index e = 0; e < d; ++e) {
        inner += static_cast<Real>(U(r, e)) * static_cast<Real>(x(e, i));
        along += static_cast<Real>(W(e, r)) * static_cast<Real>(x(e, i));
      }
      for (Index c = 0; c < d; ++c) {
        const Real w = static_cast<Real>(W(c, r));
        plain(c, i) += w * std::max(inner, Real(0));
        biased(c, i) += w * std::tanh(inner + static_cast<Real>(b(r)));
        gradient(c, i) += w * static_cast<Real>(omega(r)) * std::tanh(along);
      }
    }
  // Sums of k numbers, each of which a sum of d.
  const Real bound = 4 * static_cast<Real>(k * (d + 2) + k * d) * reference::epsilon<Scalar>;
  const auto relu = added(Perceptron(W, U), x);
  CHECK(reference::excess(wide(relu), plain, bound) <= 1);
  CHECK(relu.col(5) == relu.col(1));  // equal tokens alike, to the last bit
  CHECK(reference::excess(wide(added(Perceptron(W, U, Tanh{}, b), x)), biased, bound) <= 1);
  CHECK(reference::excess(wide(added(PerceptronPotential(omega, W, Tanh{}), x)), gradient, bound) <= 1);
}

/// Any field behind one type, so that the stepper is compiled once.
struct AnyField {
  using State = Matrix;
  std::function<void(double, const Matrix&, Matrix&)> f;
  void operator()(double t, const Matrix& x, Matrix& dx) const { f(t, x, dx); }
};

}  // namespace

TEMPLATE_TEST_CASE("a perceptron is its double loop", "[systems][perceptron]", float, double) {
  std::mt19937_64 generator(120);
  for (const auto& [d, k] : {std::pair<Index, Index>{1, 1}, {3, 5}, {2, 40}, {12, 30}})
    check_definitions<TestType, Eigen::Dynamic>(generator, d, k);  // the last two by general products
  check_definitions<TestType, 2>(generator, 2, 3);
}

TEST_CASE("a perceptron that is a gradient adds its potential to the energy that attention ascends",
          "[systems][perceptron]") {
  // E = ∑ᵢⱼ e^{β⟨xᵢ, xⱼ⟩}/(2 β n²) and (1/n) ∑ᵢ v(xᵢ): together they grow at the rate (1/n) ∑ᵢ ‖ẋᵢ‖².
  std::mt19937_64 generator(121);
  const Index d = 3, n = 8, k = 5;
  const double beta = 1.5;
  const Matrix A = random(d, k, generator);
  Matrix x = random(d, n, generator);
  x.colwise().normalize();
  const Eigen::VectorXd omega = random(k, 1, generator);
  const attnflow::SphereDynamics<double, Eigen::Dynamic, attnflow::Unnormalized> attention(
      attnflow::Head<double>::identity(d), {beta});
  const auto check = [&](const std::string& name, const auto& sigma) {
    CAPTURE(name);
    const PerceptronPotential part(omega, A, sigma);
    const AnyField field{attnflow::Driven(attention, part)};
    const auto energy = [&](const Matrix& y) {
      double sum = 0;
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) sum += std::exp(beta * y.col(i).dot(y.col(j)));
      return sum / (2 * beta * static_cast<double>(n * n)) + part.energy(y);
    };
    const Matrix v = velocity(field, 0, x);
    const double h = 1e-5, rate = (energy(x + h * v) - energy(x - h * v)) / (2 * h);
    CHECK(rate == Approx(v.squaredNorm() / static_cast<double>(n)).epsilon(1e-8));  // h² and ε/h
    Matrix state = x;
    double last = energy(x), fall = 0;
    const auto report =
        attnflow::integrate(field, attnflow::OnSphere<attnflow::DormandPrince5<Matrix>>{}, state,
                            attnflow::AdaptiveSteps{.to = 5}, [&](double, const Matrix& y) {
                              fall = std::max(fall, last - energy(y));
                              last = energy(y);
                            });
    CHECK(report.outcome == attnflow::Outcome::reached_end);
    CHECK(fall <= 1e-9);  // of rtol 1e-9
    CHECK(last > energy(x) + 0.01);
  };
  check("tanh", Tanh{});
  check("ReLU", Relu{});
  check("GELU", Gelu{});
}

TEST_CASE("potentials by hand", "[systems][perceptron]") {
  std::mt19937_64 generator(122);
  const Matrix A = random(3, 5, generator), x = random(3, 4, generator);
  const Eigen::VectorXd omega = random(5, 1, generator);
  CHECK(PerceptronPotential(Eigen::VectorXd::Zero(5), A).energy(x) == 0);
  CHECK(PerceptronPotential(omega, A).energy(Matrix(3, 0)) == 0);
  const Matrix two = (Matrix(2, 2) << 3, -5, 1, 4).finished();
  CHECK(PerceptronPotential(Eigen::Vector2d(2, -1), Matrix::Identity(2, 2)).energy(two) ==
        Approx((9.0 - 0.5 - 8) / 2));
  CHECK(PerceptronPotential(Eigen::Vector2d(2, -1), Matrix::Identity(2, 2), Identity{}).energy(two) ==
        Approx((9.0 - 0.5 + 25 - 8) / 2));
  CHECK(added(PerceptronPotential(omega, A, Tanh{}), x) ==
        added(Perceptron(A * omega.asDiagonal(), A.transpose(), Tanh{}), x));
  // A σ that is no type of the library, with a state of its own.
  const double slope = 3;
  CHECK(added(Perceptron(Matrix::Identity(3, 3), Matrix::Identity(3, 3),
                         [slope](double y) { return slope * y; }),
              x) == Matrix(Matrix::Ones(3, 4) + slope * x));
}

TEST_CASE("perceptrons refuse what does not fit", "[systems][perceptron]") {
  using Catch::Matchers::ContainsSubstring;
  const Matrix I = Matrix::Identity(2, 2), x = Matrix::Ones(2, 3), broken = I / 0.0;
  const auto check = [](const auto& call, const std::string& words) {
    CHECK_THAT(refusal(call), ContainsSubstring(words));
  };
  check([&] { Perceptron f(x, I); }, "Perceptron: U is 2 x 2, expected 3 x 2, as W is 2 x 3");
  check([&] { Perceptron f(I, I, Relu{}, Eigen::VectorXd::Ones(3)); },
        "Perceptron: b has 3 entries, expected none or 2, as U has rows");
  check([&] { Perceptron f(I, broken); }, "Perceptron: U has an entry that is not finite");
  check([&] { Perceptron f(Matrix(0, 2), I); }, "Perceptron: W is 0 x 2");
  check(
      [&] {
        Perceptron f(I, I, Relu{}, Eigen::VectorXd::Constant(2, std::numeric_limits<double>::infinity()));
      },
      "Perceptron: b has an entry that is not finite");
  check([&] { (void)added(Perceptron(I, I), Matrix(Matrix::Ones(3, 1))); },
        "Perceptron: the tokens are 3 x 1, expected 2 x any number");
  check([&] { PerceptronPotential f(Eigen::VectorXd::Ones(2), x); },
        "PerceptronPotential: A is 2 x 3, expected 2 columns, as omega has entries");
  check([&] { PerceptronPotential f(Eigen::VectorXd(0), I); }, "PerceptronPotential: omega is 0 x 1");
  check([&] { PerceptronPotential f(Eigen::VectorXd::Constant(2, 1e200), 1e200 * I); },
        "PerceptronPotential: A diag(omega) has an entry that is not finite");
  check([&] { (void)PerceptronPotential(Eigen::VectorXd::Ones(2), I).energy(Matrix(Matrix::Ones(3, 1))); },
        "PerceptronPotential::energy: the tokens are 3 x 1, expected 2 x any number");
}
