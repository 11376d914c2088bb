#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/geometry/circle.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/circle_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "refusal.hpp"
#include "velocity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <vector>

namespace {

using attnflow::Alibi;
using attnflow::Causal;
using attnflow::CircleDynamics;
using attnflow::Generator;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::Softmax;
using attnflow::StrictCausal;
using attnflow::Tokens;
using attnflow::Unnormalized;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;
using reference::Real;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

template <class Scalar = double>
Tokens<Scalar, 1> uniform_angles(Index n, std::uint64_t seed, double low = -3, double high = 4) {
  Generator generator(seed);
  return attnflow::uniform_box<Scalar, 1>(generator, n, 1, low, high);
}

/// The field by its definition, and what it may be off by: an ε of each weight of a token that is not i's equal.
struct Reference {
  std::vector<Real> velocity, weight;

  template <class Scalar, class Law, class Mask, class Bias>
  Reference(const Law& law, double value, const Mask& mask, const Bias& bias,
            const Tokens<Scalar, 1>& theta) {
    const Index n = theta.cols();
    for (Index i = 0; i < n; ++i) {
      const auto keys = mask.keys(i, n);
      Real force = 0, others = 0, sum = 0;
      for (Index j = keys.begin; j < keys.end; ++j) {
        const Real u = static_cast<Real>(theta(0, j)) - static_cast<Real>(theta(0, i));
        Real score = static_cast<Real>(law.beta) * std::cos(u);
        score -= static_cast<Real>(bias.slope) * static_cast<Real>(std::abs(i - j));
        const Real w = std::exp(score);
        sum += w;
        if (u == 0) continue;
        force += w * std::sin(u);
        others += w;
      }
      Real factor = 1 / static_cast<Real>(n);
      if constexpr (attnflow::detail::rows_sum_to_one<Law>())
        factor = sum > 0 ? 1 / sum : 0;
      else if (law.less_one)
        factor *= std::exp(-static_cast<Real>(law.beta));
      velocity.push_back(static_cast<Real>(value) * factor * force);
      weight.push_back(std::abs(static_cast<Real>(value)) * factor * others);
    }
  }
};

template <class Scalar, class Law, class Mask = NoMask, class Bias = NoBias>
void check_definition(const Law& law, double value = 1, const Mask& mask = {}, const Bias& bias = {}) {
  const CircleDynamics<Scalar, Law, Mask, Bias> field(law, value, mask, bias);
  for (const Index n : {0, 1, 2, 31}) {
    Tokens<Scalar, 1> theta = uniform_angles<Scalar>(n, 70);
    if (n > 20) {
      theta(0, 7) = theta(0, 3);
      theta(0, 20) = theta(0, 3);
    }
    CAPTURE(n, law.beta, value);
    const Reference expected(law, value, mask, bias, theta);
    const Tokens<Scalar, 1> found = velocity(field, 0, theta);
    REQUIRE(found.cols() == n);
    for (Index i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      // Points are right to 4 ε (angles from the first one are up to 7), scores to 8 |β| ε, sums to n ε.
      const Real bound = (24 + static_cast<Real>(n) + 8 * static_cast<Real>(std::abs(law.beta))) *
                         reference::epsilon<Scalar> * expected.weight[k];
      CAPTURE(i, found(0, i), static_cast<double>(expected.velocity[k]));
      CHECK(std::abs(static_cast<Real>(found(0, i)) - expected.velocity[k]) <= bound);
    }
  }
}

template <class Law>
CircleDynamics<double, Law> circle(const Law& law, double value = 1) {
  return CircleDynamics<double, Law>(law, value);
}

/// Five points: errors of h⁴ and ε/h.
template <class Field>
Eigen::MatrixXd differences(const Field& field, const Tokens<double, 1>& theta) {
  const double h = 1e-3;
  Eigen::MatrixXd J(theta.cols(), theta.cols());
  for (Index k = 0; k < theta.cols(); ++k) {
    const auto at = [&](double s) {
      Tokens<double, 1> moved = theta;
      moved(0, k) += s * h;
      return Eigen::VectorXd(velocity(field, 0, moved).transpose());
    };
    J.col(k) = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h);
  }
  return J;
}

}  // namespace

TEMPLATE_TEST_CASE("the circle field is its definition", "[circle]", float, double) {
  using Scalar = TestType;
  for (const double beta : {0., 1., 5.}) {
    check_definition<Scalar>(Softmax{beta});
    check_definition<Scalar>(Unnormalized{beta});
  }
  check_definition<Scalar>(Softmax{20}, -0.7);
  check_definition<Scalar>(Unnormalized{30, true}, 2.5);
  check_definition<Scalar>(Softmax{2}, 1, Causal{});
  check_definition<Scalar>(Softmax{2}, 1, StrictCausal{}, Alibi{0.1});
  check_definition<Scalar>(Unnormalized{2}, 1, NoMask{}, Alibi{0.3});
}

// What a metastable state needs: clusters of equal tokens feel nothing but each other, to the last bits of e^{−β(1 − cos u)}.
TEST_CASE("forces between clusters are right relative to themselves", "[circle]") {
  for (const double beta : {30., 50., 200.}) {
    Tokens<double, 1> theta(1, 6);
    theta << 0.3, 0.3, 1.7, 0.3, 1.7, 2.9;  // e^{−200 · 0.83} = 10^{−72}
    const auto law = Unnormalized{beta, true};
    const Reference expected(law, 1, NoMask{}, NoBias{}, theta);
    const auto found = velocity(circle(law), 0, theta);
    for (Index i = 0; i < 6; ++i) {
      CAPTURE(beta, i, found(0, i));
      CHECK(found(0, i) == Approx(static_cast<double>(expected.velocity[static_cast<std::size_t>(i)]))
                               .epsilon(32 * (1 + beta) * epsilon)
                               .margin(0));
      CHECK(found(0, i) != 0);
    }
    CHECK(found(0, 0) == found(0, 1));
    CHECK(found(0, 2) == found(0, 4));
    theta.setConstant(1.25);
    CHECK(velocity(circle(law), 0, theta).isZero(0));
    CHECK(velocity(circle(Softmax{beta}), 0, theta).isZero(0));
  }
}

TEST_CASE("near a consensus velocities keep the accuracy of the angles' differences", "[circle]") {
  // θ̇ᵢ = m − θᵢ + O(spread³) for softmax, with the mean m; differences of angles 2 + 10⁻⁹ k/32 are exact.
  const double unit = 0x1p-35;
  Tokens<double, 1> theta(1, 3);
  theta << 2, 2 + unit, 2 + 5 * unit;
  const auto found = velocity(circle(Softmax{3}), 0, theta);
  const Eigen::Vector3d expected(2 * unit, unit, -3 * unit);
  CHECK((found.transpose() - expected).cwiseAbs().maxCoeff() <= 8 * epsilon * unit);
}

TEST_CASE("angles and points have the same flow", "[circle]") {
  const auto theta = uniform_angles(20, 71);
  const Tokens<double, 2> x = attnflow::circle::points(theta);
  const auto check = [&](const auto& law) {
    using Law = std::remove_cvref_t<decltype(law)>;
    const attnflow::SphereDynamics<double, 2, Law> plane(attnflow::Head<double, 2>::identity(), law);
    const Tokens<double, 2> dx = velocity(plane, 0, x);
    const auto dtheta = velocity(circle(law), 0, theta);
    for (Index i = 0; i < 20; ++i)
      CHECK(std::abs(x(0, i) * dx(1, i) - x(1, i) * dx(0, i) - dtheta(0, i)) <=
            200 * epsilon * std::exp(law.beta));
  };
  check(Softmax{4});
  check(Unnormalized{1.5});
  const Tokens<double, 1> back = attnflow::circle::angles(x);
  for (Index i = 0; i < 20; ++i)
    CHECK(std::abs(std::remainder(back(0, i) - theta(0, i), 2 * std::numbers::pi)) <= 8 * epsilon);
  CHECK(attnflow::circle::angles(Tokens<double, 2>(Tokens<double, 2>::Zero(2, 1))).isZero(0));
}

TEST_CASE("turns commute with the circle field", "[circle][laws]") {
  const auto theta = uniform_angles(24, 72);
  for (const double turn : {0.7, -12.5}) {
    const Tokens<double, 1> turned = (theta.array() + turn).matrix();
    CHECK((velocity(circle(Softmax{6}), 0, turned) - velocity(circle(Softmax{6}), 0, theta))
              .cwiseAbs()
              .maxCoeff() <= 400 * epsilon);  // rounding of θ + turn, of forces that change at the rate β
  }
}

TEST_CASE("the mean angle is conserved by unnormalised weights, and their energy grows", "[circle][laws]") {
  const auto law = Unnormalized{2};
  const auto theta = uniform_angles(24, 73);
  const double n = 24;
  const auto energy = [&](const Tokens<double, 1>& at) {
    double sum = 0;
    for (Index i = 0; i < 24; ++i)
      for (Index j = 0; j < 24; ++j) sum += std::exp(2 * std::cos(at(0, i) - at(0, j)));
    return sum / (4 * n * n);
  };
  // Weights are below e²; 24 terms.
  CHECK(std::abs(velocity(circle(law), 0, theta).sum()) <= 24 * 24 * 8 * epsilon);
  CHECK(std::abs(velocity(circle(Softmax{2}), 0, theta).sum()) > 1e-2);  // of softmax it is not
  Tokens<double, 1> x = theta;
  double last = 0;
  const auto look = [&](double, const Tokens<double, 1>& at) {
    const double now = energy(at), h = 1e-4;
    CHECK(now >= last * (1 - 1e-13));
    last = now;
    const auto v = velocity(circle(law), 0, at);
    const double rate = (energy(at + h * v) - energy(at - h * v)) / (2 * h);
    CHECK(rate == Approx(v.squaredNorm() / n).epsilon(1e-5).margin(1e-11));  // h² |v|² β of it; ε/h
  };
  const auto report =
      integrate(circle(law), attnflow::DormandPrince5<Tokens<double, 1>>{}, x, {.to = 3}, look);
  REQUIRE(report.outcome == attnflow::Outcome::reached_end);
  CHECK(std::abs(x.sum() - theta.sum()) <= 24 * 1e-10);  // the rounding of about 100 steps
  CHECK(last > energy(theta) * 1.1);
}

TEST_CASE("the Jacobian of the circle field is its derivative", "[circle][jacobian]") {
  const auto theta = uniform_angles(9, 74);
  const auto check = [&](const auto& field) {
    const Eigen::MatrixXd J = field.jacobian(0, theta);
    // Five points: h⁴ β⁵ / 30 and ε/h, of weights up to e^{β} / n.
    CHECK((J - differences(field, theta)).cwiseAbs().maxCoeff() <= 2e-10);
    CHECK(J.rowwise().sum().cwiseAbs().maxCoeff() <= 40 * epsilon * J.cwiseAbs().maxCoeff());
    CHECK(J.cwiseAbs().maxCoeff() > 0.05);
  };
  check(circle(Softmax{1.3}));
  check(circle(Softmax{0.8}, -2));
  check(circle(Unnormalized{1.3}));
  check(circle(Unnormalized{2, true}));
  check(CircleDynamics<double, Softmax, Causal>(Softmax{1.3}));
  check(CircleDynamics<double, Softmax, StrictCausal, Alibi>(Softmax{1}, 1, {}, Alibi{0.2}));
}

// Linearised at the uniform law, cos kθ grows at the rate k² Iₖ(β)/β with unnormalised weights, and at that over I₀(β)
// with softmax. Numbers: Bessel functions at 5, by their series.
TEST_CASE("modes of a uniform circle grow at their rates", "[circle][rates]") {
  const auto bessel = [](int k) {
    Real term = 1, sum = 0;
    for (int m = 1; m <= k; ++m) term *= Real(2.5) / static_cast<Real>(m);
    for (int m = 0; m < 60; ++m) {
      sum += term;
      term *= Real(6.25) / (static_cast<Real>(m + 1) * static_cast<Real>(m + 1 + k));
    }
    return static_cast<double>(sum);
  };
  const Index n = 240;
  Tokens<double, 1> theta(1, n);
  for (Index i = 0; i < n; ++i) theta(0, i) = 2 * std::numbers::pi * static_cast<double>(i) / 240;
  const Eigen::MatrixXd usa = circle(Unnormalized{5}).jacobian(0, theta),
                        sa = circle(Softmax{5}).jacobian(0, theta);
  const std::vector<std::pair<int, double>> stated{{1, 4.86713}, {3, 18.59607}, {5, 10.78987}};
  for (const auto& [k, rate] : stated) {
    const Eigen::VectorXd mode = (k * theta.array()).cos().matrix().transpose();
    const double usa_rate = k * k * bessel(k) / 5, sa_rate = usa_rate / bessel(0);
    CHECK(usa_rate == Approx(rate).epsilon(1e-6));
    CHECK((usa * mode - usa_rate * mode).norm() <= 1e-12 * usa_rate * mode.norm());
    CHECK((sa * mode - sa_rate * mode).norm() <= 1e-12 * sa_rate * mode.norm());
  }
}

// A difference of such angles overflows, or is rounded to another angle: 10¹⁶ − 1 is no double.
TEST_CASE("angles of any number of turns are taken as they are", "[circle]") {
  Tokens<double, 1> theta(1, 4), reduced(1, 4);
  theta << 1e308, -1e308, 1e16, 1;
  for (Index i = 0; i < 4; ++i) reduced(0, i) = std::atan2(std::sin(theta(0, i)), std::cos(theta(0, i)));
  for (const double beta : {0.0, 1.5}) {
    const CircleDynamics<double> field(Softmax{beta});
    CHECK((velocity(field, 0, theta) - velocity(field, 0, reduced)).cwiseAbs().maxCoeff() <= 1e-14);
    CHECK((field.jacobian(0, theta) - field.jacobian(0, reduced)).cwiseAbs().maxCoeff() <= 1e-14);
  }
  // Nothing times ∞ is nothing: with V = 0 tokens rest where weights overflow, too.
  const CircleDynamics<double, Unnormalized> still(Unnormalized{2000}, 0);
  CHECK(velocity(still, 0, theta).isZero(0));
  theta(0, 2) = std::numeric_limits<double>::infinity();
  CHECK(velocity(still, 0, theta).array().isNaN().all());
}

TEST_CASE("the circle field for other scalars", "[circle]") {
  const CircleDynamics<long double> field(Softmax{2});
  Tokens<long double, 1> theta(1, 3);
  theta << 0.25L, 1.5L, -2;
  const Reference expected(Softmax{2}, 1, NoMask{}, NoBias{}, theta);
  const auto found = velocity(field, 0, theta);
  for (Index i = 0; i < 3; ++i)
    CHECK(std::abs(found(0, i) - expected.velocity[static_cast<std::size_t>(i)]) <=
          64 * std::numeric_limits<long double>::epsilon());
}

TEST_CASE("the circle system refuses what it cannot use", "[circle]") {
  CHECK_THAT(refusal([] { CircleDynamics<double> f(Softmax{std::nan("")}); }),
             ContainsSubstring("Softmax::beta is nan"));
  CHECK_THAT(refusal([] { CircleDynamics<double> f(Softmax{}, std::nan("")); }),
             ContainsSubstring("CircleDynamics: value is nan"));
  Tokens<double, 1> theta(1, 3);
  theta << 0, std::numeric_limits<double>::infinity(), 1;
  CHECK_FALSE(velocity(circle(Softmax{}), 0, theta).allFinite());
  CHECK(circle(Softmax{3}, -1).law().beta == 3);
  CHECK(circle(Softmax{3}, -1).value() == -1);
  STATIC_REQUIRE(CircleDynamics<double>::dim() == 1);
}
