#include <attnflow/systems/activations.hpp>

#include "catch.hpp"

#include <cmath>
#include <limits>

namespace {

using attnflow::Gelu;
using attnflow::Identity;
using attnflow::Relu;
using attnflow::Tanh;
using Real = long double;

/// derivative() and primitive() against σ, by central differences in long double with steps of 10⁻⁶: σ'''/6 · 10⁻¹²,
/// and roundings of numbers of size 1 + y², 10⁻¹⁹/10⁻⁶ of that.
template <class Sigma>
void check_slopes(const Sigma& sigma, double from, double to) {
  const Real h = 1e-6L;
  for (double at = from; at <= to; at += 0.25) {
    CAPTURE(at);
    const auto y = static_cast<Real>(at);
    CHECK(std::abs((sigma(y + h) - sigma(y - h)) / (2 * h) - sigma.derivative(y)) <=
          2e-12L + 2e-13L * (1 + y * y));
    CHECK(std::abs((sigma.primitive(y + h) - sigma.primitive(y - h)) / (2 * h) - sigma(y)) <=
          2e-12L + 2e-13L * (1 + y * y));
    // The other types: to their rounding. A primitive is right to ε (1 + y²).
    for (const auto& [error, epsilon] :
         {std::pair{sigma.derivative(at) - static_cast<double>(sigma.derivative(y)), 2.3e-16},
          {static_cast<double>(sigma.derivative(static_cast<float>(at))) - sigma.derivative(at), 1.2e-7},
          {(sigma.primitive(at) - static_cast<double>(sigma.primitive(y))) / (1 + at * at), 2.3e-16},
          {(static_cast<double>(sigma.primitive(static_cast<float>(at))) - sigma.primitive(at)) /
               (1 + at * at),
           1.2e-7}})
      CHECK(std::abs(error) <= 4 * epsilon);
  }
  CHECK(sigma.primitive(0.0) == 0);
}

}  // namespace

TEST_CASE("activations have their derivatives and primitives", "[systems][activations]") {
  check_slopes(Identity{}, -8, 8);
  check_slopes(Tanh{}, -20, 20);
  check_slopes(Gelu{}, -20, 20);
  check_slopes(Relu{}, 0.25, 8);
  check_slopes(Relu{}, -8, -0.25);
  CHECK(Relu{}.derivative(0.0) == 0);
}

TEST_CASE("slopes bound derivatives, and both are told apart by their types", "[systems][activations]") {
  double most = 0;
  for (double y = -6; y <= 6; y += 1e-3) most = std::max(most, Gelu{}.derivative(y));
  CHECK(most <= Gelu::slope);
  CHECK(most >= Gelu::slope - 1e-6);
  struct Bare {
    double operator()(double y) const { return y; }
  };
  STATIC_REQUIRE(attnflow::Activation<Bare, double>);
  STATIC_REQUIRE(!attnflow::DifferentiableActivation<Bare, double>);
  STATIC_REQUIRE(!attnflow::IntegrableActivation<Bare, double>);
  STATIC_REQUIRE(attnflow::DifferentiableActivation<Gelu, float>);
  STATIC_REQUIRE(attnflow::IntegrableActivation<Relu, long double>);
}

TEST_CASE("derivatives and primitives at the ends of their range", "[systems][activations]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(Tanh{}.derivative(inf) == 0);
  CHECK(Tanh{}.derivative(-800.0) == 0);
  CHECK(Tanh{}.primitive(-inf) == inf);
  CHECK(Tanh{}.primitive(1e300) == 1e300);
  // 1/cosh² 20 = 4 e^{−40}, where 1 − tanh² has no digit.
  CHECK(Tanh{}.derivative(20.0) == Approx(4 * std::exp(-40.0)).epsilon(1e-12));
  CHECK(Gelu{}.derivative(inf) == 1);
  CHECK(Gelu{}.derivative(-inf) == 0);
  CHECK(Gelu{}.primitive(-inf) == 0.25);
  CHECK(Gelu{}.primitive(inf) == inf);
  CHECK(Relu{}.primitive(-inf) == 0);
  CHECK(Relu{}.primitive(inf) == inf);
  for (const double y : {Tanh{}.derivative(nan), Tanh{}.primitive(nan), Relu{}.derivative(nan),
                         Relu{}.primitive(nan), Gelu{}.derivative(nan), Gelu{}.primitive(nan)})
    CHECK(std::isnan(y));
}
