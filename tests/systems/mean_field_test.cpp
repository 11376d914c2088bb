#include <attnflow/observables/tokens/wasserstein.hpp>
#include <attnflow/systems/mean_field.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace {

using attnflow::attention_field;
using attnflow::attention_field_gradient;
using attnflow::field_bounds;
using attnflow::FieldBounds;
using attnflow::Head;
using attnflow::stability_bound;
using attnflow::Tokens;
using attnflow::wasserstein2;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double inf = std::numeric_limits<double>::infinity();

Head<double> random_head(Index d, std::mt19937_64& generator) {
  return {random(2, d, generator), random(2, d, generator), random(d, d, generator)};
}

/// Tokens of norm R at most, some of them on the sphere.
Eigen::MatrixXd in_ball(Index d, Index n, double R, std::mt19937_64& generator) {
  Eigen::MatrixXd x = random(d, n, generator);
  for (Index i = 0; i < n; ++i) x.col(i) *= R * (i % 3 == 0 ? 1 : unit(generator)) / x.col(i).norm();
  return x;
}

/// The definition, in long double: sums of e^{⟨Qx, Ky⟩} y over sums of e^{⟨Qx, Ky⟩}.
Eigen::VectorXd by_definition(const Head<double>& head, const Eigen::MatrixXd& mu, const Eigen::VectorXd& x) {
  using Wide = Eigen::Matrix<long double, Eigen::Dynamic, 1>;
  const auto wide = [](const Eigen::MatrixXd& m) { return m.cast<long double>().eval(); };
  const Wide query = wide(head.Q).lazyProduct(wide(x));
  Wide sum = Wide::Zero(x.size());
  long double total = 0;
  for (Index j = 0; j < mu.cols(); ++j) {
    const Wide key = wide(head.K).lazyProduct(wide(mu.col(j)));
    const long double weight = std::exp(query.dot(key));
    sum += weight * wide(mu.col(j));
    total += weight;
  }
  return wide(head.V).lazyProduct(sum / total).cast<double>();
}

/// The largest stretch of A over many directions: below ‖A‖₂, and near it.
double stretch(const Eigen::MatrixXd& A, std::mt19937_64& generator) {
  double most = 0;
  for (int k = 0; k < 200; ++k) {
    const Eigen::VectorXd u = random(A.cols(), 1, generator), Au = A.lazyProduct(u);
    most = std::max(most, Au.norm() / u.norm());
  }
  return most;
}

}  // namespace

TEST_CASE("the field is the quotient of two integrals", "[measures]") {
  std::mt19937_64 generator(1);
  for (const Index d : {1, 2, 5})
    for (const Index n : {1, 2, 12}) {
      const Head<double> head = random_head(d, generator);
      const Eigen::MatrixXd mu = 2 * random(d, n, generator), x = 3 * random(d, 6, generator);
      const Eigen::MatrixXd field = attention_field(head, mu, x);
      REQUIRE(field.cols() == 6);
      for (Index a = 0; a < 6; ++a) {
        // Scores of size 2 d · 3 · 2 d at most, sums of n terms, a product with V.
        const double tolerance =
            8 * epsilon * static_cast<double>(12 * d * d + n + d) * 2 * static_cast<double>(d);
        CHECK((field.col(a) - by_definition(head, mu, x.col(a))).norm() <= tolerance);
      }
      const Head<float> coarse{head.Q.cast<float>(), head.K.cast<float>(), head.V.cast<float>()};
      CHECK((attention_field(coarse, mu.cast<float>(), x.cast<float>()) - field).norm() < 1e-3);
      CHECK(attention_field(head, mu, Eigen::MatrixXd(d, 0)).cols() == 0);
      // It depends on the measure only: every token twice is the same measure.
      Eigen::MatrixXd twice(d, 2 * n);
      twice << mu, mu;
      CHECK(attention_field(head, twice, x).isApprox(field, 1e-13));
    }
}

TEST_CASE("large scores leave the leader, and ties their mean", "[measures]") {
  const Head<double> head = Head<double>::identity(2);
  Eigen::MatrixXd mu(2, 3);
  mu << 1e6, 1e6, -1e6, 3, 5, 0;
  CHECK(attention_field(head, mu, Eigen::Vector2d(1e6, 0)) == Eigen::Vector2d(1e6, 4));
  CHECK(attention_field(head, mu, Eigen::Vector2d(1e6, 1e6)) == Eigen::Vector2d(1e6, 5));
  CHECK(attention_field(head, mu, Eigen::Vector2d(-1e6, 0)) == Eigen::Vector2d(-1e6, 0));
  CHECK(attention_field_gradient(head, mu, Eigen::Vector2d(-1e6, 0)).isZero(0));
  // Two tokens at ±1 in the second coordinate: covariance 1, whatever the score.
  CHECK(attention_field_gradient(head, mu, Eigen::Vector2d(1e6, 0))
            .isApprox(Eigen::Vector2d(0, 1).asDiagonal().toDenseMatrix()));
  const Eigen::MatrixXd far = Eigen::MatrixXd::Constant(2, 3, 1e200);
  CHECK(attention_field(head, far, Eigen::Vector2d(1e200, 0)) == far.col(0));
  // A difference of scores beyond the range leaves the leaders, too.
  mu << 0, 1e200, 0, 1, 0, 3;
  CHECK(attention_field(head, mu, Eigen::Vector2d(-1e200, 0)) == Eigen::Vector2d(0, 2));
  CHECK(attention_field(head, mu, Eigen::Vector2d(1e200, 0)) == Eigen::Vector2d(1e200, 0));
}

TEST_CASE("the gradient is that of central differences", "[measures]") {
  std::mt19937_64 generator(2);
  for (const Index d : {1, 2, 4})
    for (const Index n : {1, 3, 9}) {
      const Head<double> head = random_head(d, generator);
      const Eigen::MatrixXd mu = random(d, n, generator);
      const Eigen::VectorXd x = random(d, 1, generator);
      const Eigen::MatrixXd gradient = attention_field_gradient(head, mu, x);
      REQUIRE(gradient.rows() == d);
      const double h = 1e-5;
      for (Index l = 0; l < d; ++l) {
        const Eigen::VectorXd ahead = x + h * Eigen::VectorXd::Unit(d, l),
                              behind = x - h * Eigen::VectorXd::Unit(d, l);
        const Eigen::VectorXd difference =
            (attention_field(head, mu, ahead) - attention_field(head, mu, behind)) / (2 * h);
        // h² times third derivatives of size (2 d)⁴, and roundings over h.
        CHECK((gradient.col(l) - difference).norm() < 1e-9 * static_cast<double>(d * d * d));
      }
      if (n == 1) CHECK(gradient.isZero(1e-15));
    }
}

TEST_CASE("the bounds hold for measures in a ball", "[measures]") {
  std::mt19937_64 generator(3);
  for (const Index d : {1, 2, 3})
    for (const double R : {0.1, 0.5, 1.})
      for (int repeat = 0; repeat < 20; ++repeat) {
        const Head<double> head = random_head(d, generator);
        const FieldBounds bounds = field_bounds(head, R);
        CHECK(bounds.gradient == 2 * bounds.gradient_sharp);
        const Eigen::MatrixXd mu = in_ball(d, 6, R, generator);
        Eigen::MatrixXd nu = in_ball(d, 6, R, generator);
        if (repeat % 2 == 1) nu = 0.999 * mu + 0.001 * nu;
        const Eigen::MatrixXd x = in_ball(d, 12, R, generator), far = 50 * x;
        const Eigen::MatrixXd field = attention_field(head, mu, x);
        const double distance = wasserstein2(mu, nu).distance;
        CHECK(field.colwise().norm().maxCoeff() <= bounds.value);
        CHECK(attention_field(head, mu, far).colwise().norm().maxCoeff() <= bounds.value);
        CHECK((field - attention_field(head, nu, x)).colwise().norm().maxCoeff() <=
              bounds.wasserstein * distance);
        for (Index a = 0; a < 4; ++a) {
          CHECK(stretch(attention_field_gradient(head, mu, x.col(a)), generator) <= bounds.gradient_sharp);
          CHECK(stretch(attention_field_gradient(head, mu, far.col(a)), generator) <= bounds.gradient_sharp);
        }
      }
}

TEST_CASE("the bounds are attained where they can be", "[measures]") {
  // One token at distance R: the value. Half the mass at ±R on the line: variance R², so the sharp gradient at 0.
  const Head<double> head = Head<double>::with_value(3 * Eigen::MatrixXd::Identity(1, 1));
  const Tokens<double> pair = (Tokens<double>(1, 2) << -2, 2).finished();
  const FieldBounds bounds = field_bounds(head, 2);
  CHECK(bounds.value == Approx(6).epsilon(1e-13));
  CHECK(attention_field(head, Tokens<double>::Constant(1, 1, 2), pair)(0) == 6);
  CHECK(bounds.gradient_sharp == Approx(12).epsilon(1e-13));
  CHECK(attention_field_gradient(head, pair, Tokens<double>::Zero(1, 1))(0) == Approx(12).epsilon(1e-13));
  CHECK(bounds.wasserstein == Approx(std::exp(8.) * 3 * 9).epsilon(1e-12));
  CHECK(field_bounds(Head<double>::identity(5), 1).value == Approx(1).epsilon(1e-12));
}

TEST_CASE("norms are bounded from above and not by far", "[measures]") {
  std::mt19937_64 generator(4);
  for (const Index d : {1, 2, 5}) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      const Eigen::MatrixXd A = random(d, d, generator);
      const double bound = attnflow::detail::operator_norm_bound(A), below = stretch(A, generator);
      CHECK(below <= bound);
      CHECK(bound <= A.norm() * (1 + 1e-12));
    }
    const Eigen::MatrixXd diagonal = Eigen::VectorXd::LinSpaced(d, -3, 2).asDiagonal();
    CHECK(attnflow::detail::operator_norm_bound(diagonal) == Approx(d == 1 ? 2 : 3));
  }
}

TEST_CASE("bounds of nothing and bounds beyond the range", "[measures]") {
  const FieldBounds none = field_bounds(Head<double>::identity(2), 0);
  CHECK(none.value == 0);
  CHECK(none.gradient == 0);
  CHECK(none.wasserstein == Approx(1));
  const FieldBounds large = field_bounds(Head<double>::identity(2), 1e160);
  CHECK(large.value == Approx(1e160));
  CHECK(large.gradient == inf);
  CHECK(large.wasserstein == inf);
  const FieldBounds still = field_bounds(Head<double>::with_value(Eigen::MatrixXd::Zero(2, 2)), 1e300);
  CHECK(still.value == 0);
  CHECK(still.gradient == 0);
  CHECK(still.wasserstein == 0);
  CHECK(stability_bound(Head<double>::with_value(Eigen::MatrixXd::Zero(2, 2)), 1e300, 1e300) == 0);
  CHECK(stability_bound(Head<double>::identity(2), 1, 1e3) == inf);
  CHECK(stability_bound(Head<double>::identity(2), 0, 1e3) == Approx(1));
  CHECK(stability_bound(Head<double>::identity(2), 0.5, 0) ==
        Approx(0.25 + std::exp(0.5) * 1.5).epsilon(1e-12));
  Head<double> extreme = Head<double>::identity(1);
  extreme.Q(0, 0) = 1e200;
  extreme.K(0, 0) = 1e200;
  CHECK(field_bounds(extreme, 1).gradient == inf);
}

// Particles by Heun's method with fine steps: an error far below what the inequality leaves.
TEST_CASE("nearby measures stay as near as the stability bound says", "[measures]") {
  std::mt19937_64 generator(5);
  const double R = 0.5, T = 0.5;
  for (const Index d : {1, 2, 3})
    for (const double perturbation : {1e-6, 1e-2, 1.}) {
      const Head<double> head = random_head(d, generator);
      const double C = stability_bound(head, R, T);
      Eigen::MatrixXd mu = in_ball(d, 8, R, generator), nu = in_ball(d, 8, R, generator);
      nu = (1 - perturbation) * mu + perturbation * nu;
      const double start = wasserstein2(mu, nu).distance;
      const int steps = 50;
      const double h = T / steps, growth = field_bounds(head, 1).value;
      const auto advance = [&](Eigen::MatrixXd& x) {
        const Eigen::MatrixXd v = attention_field(head, x, x), ahead = x + h * v;
        x += h / 2 * (v + attention_field(head, ahead, ahead));
      };
      for (int k = 1; k <= steps; ++k) {
        advance(mu);
        advance(nu);
        const double t = k * h;
        CHECK(wasserstein2(mu, nu).distance <= std::exp(C * t) * start);
        CHECK(mu.colwise().norm().maxCoeff() <= R * std::exp(growth * t));
      }
    }
}

TEST_CASE("what has no field is refused in words", "[measures]") {
  const Head<double> head = Head<double>::identity(2);
  const Eigen::MatrixXd x = Eigen::MatrixXd::Zero(2, 3);
  Eigen::MatrixXd bad = x;
  CHECK(refusal([&] { (void)attention_field(head, Eigen::MatrixXd(2, 0), x); }) ==
        "attention_field: mu has no tokens, expected at least one");
  CHECK(refusal([&] { (void)attention_field(head, Eigen::MatrixXd::Zero(3, 1), x); }) ==
        "attention_field: mu has 3 rows, expected d = 2");
  CHECK(refusal([&] { (void)attention_field(head, x, Eigen::MatrixXd::Zero(1, 1)); }) ==
        "attention_field: x has 1 rows, expected d = 2");
  CHECK(refusal([&] { (void)attention_field_gradient(head, x, x); }) ==
        "attention_field_gradient: point has 3 columns, expected one");
  CHECK(refusal([&] { (void)attention_field(Head<double>{}, x, x); }) ==
        "attention_field: V is 0 x 0, expected a square matrix of size at least 1");
  CHECK(refusal([&] { (void)field_bounds(head, -1); }) ==
        "field_bounds: R is -1, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)stability_bound(head, inf, 1); }) ==
        "stability_bound: R is inf, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)stability_bound(head, 1, -1); }) ==
        "stability_bound: T is -1, expected a finite number, at least 0");
  bad(0, 1) = 1e200;
  CHECK(refusal([&] { (void)attention_field_gradient(head, bad, Eigen::Vector2d(0, 0)); }) ==
        "attention_field_gradient: the gradient overflows, expected smaller tokens or weights");
  bad(0, 1) = std::nan("");
  CHECK(refusal([&] { (void)attention_field(head, bad, x); }) ==
        "attention_field: token 1 of mu is (nan   0), expected finite numbers");
  CHECK(refusal([&] { (void)attention_field(head, x, bad); }) ==
        "attention_field: column 1 of x is (nan   0), expected finite numbers");
}
