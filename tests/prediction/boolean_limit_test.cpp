#include <attnflow/prediction/boolean_limit.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>

namespace {

using attnflow::bounded_token_threshold;
using attnflow::exceptional_row;
using attnflow::ExceptionalRow;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// The sign of ∑ γ e^{θγ}, in long double.
long double drift(const Eigen::VectorXd& gamma, long double theta) {
  const long double top = std::max(theta * static_cast<long double>(gamma.maxCoeff()),
                                   theta * static_cast<long double>(gamma.minCoeff()));
  long double sum = 0;
  for (const double g : gamma)
    sum += static_cast<long double>(g) * std::exp(theta * static_cast<long double>(g) - top);
  return sum;
}

/// The minimiser by bisection over all of [−bound, bound].
double by_bisection(const Eigen::VectorXd& gamma, long double bound) {
  long double low = -bound, high = bound;
  for (int k = 0; k < 200; ++k) {
    const long double middle = (low + high) / 2;
    (drift(gamma, middle) > 0 ? high : low) = middle;
  }
  return static_cast<double>(low);
}

}  // namespace

TEST_CASE("the threshold solves its equation", "[theory]") {
  for (const Index n : {Index(1), Index(2), Index(3), Index(5), Index(20), Index(40), Index(100),
                        Index(12345), Index(1) << 40, std::numeric_limits<Index>::max()}) {
    const double A = bounded_token_threshold(n), u = A * A;
    // The residual of u + log u = 2 log n: relative errors of u, log n and the root.
    CHECK(std::abs(u + std::log(u) - 2 * std::log(static_cast<double>(n))) <= 8 * epsilon * (1 + u));
  }
  CHECK(bounded_token_threshold(1) == Approx(0.7530891649796748).epsilon(1e-14));  // √0.567143290409783873
  const double values[][2] = {{1, 0.753},  {2, 1.096},  {3, 1.296},  {5, 1.536},
                              {20, 2.119}, {40, 2.376}, {100, 2.689}};
  for (const auto& [n, A] : values)
    CHECK(bounded_token_threshold(static_cast<Index>(n)) == Approx(A).margin(6e-4));
  for (Index n = 1; n < 50; ++n) CHECK(bounded_token_threshold(n) < bounded_token_threshold(n + 1));
}

// With one bounded token of a symmetric pair the row is uniform: (−u, 0, u) has θ = 0.
TEST_CASE("symmetric limits have a uniform exceptional row", "[theory]") {
  for (const double u : {1., 1e-300, 1e300, 0.1}) {
    const ExceptionalRow row = exceptional_row(Eigen::Vector3d(-u, 0, u));
    CHECK(row.theta == 0);
    CHECK(row.weights.isApprox(Eigen::Vector3d::Constant(1. / 3), 4 * epsilon));
  }
}

TEST_CASE("two limits have an exceptional row in closed form", "[theory]") {
  // a e^{θa} = b e^{−θb}
  for (const auto& [a, b] :
       {std::pair(1., 2.), std::pair(3., 0.01), std::pair(1e-8, 1.), std::pair(7., 7.5)}) {
    const ExceptionalRow row = exceptional_row(Eigen::RowVector3d(a, -b, 0));
    const double theta = std::log(b / a) / (a + b);
    CHECK(row.theta == Approx(theta).epsilon(1e-13));
    CHECK(row.weights(0) == Approx(1 / (1 + a / b + std::exp(-theta * a))).epsilon(1e-12));
    CHECK(row.weights(1) * b == Approx(row.weights(0) * a).epsilon(1e-12));
  }
}

TEST_CASE("the exceptional row is that of the minimiser", "[theory]") {
  std::mt19937_64 generator(1);
  for (const Index n : {2, 3, 10, 100})
    for (const double shift : {0., 0.3, 0.49, -0.49, 0.4999}) {
      for (int repeat = 0; repeat < 5; ++repeat) {
        Eigen::VectorXd gamma =
            Eigen::VectorXd::NullaryExpr(n, [&](Index) { return unit(generator) - 0.5 + shift; });
        gamma(0) = -1e-3 - 0.1 * unit(generator);
        gamma(1) = 1e-3 + 0.1 * unit(generator);
        if (n > 2) gamma(2) = 0;
        const ExceptionalRow row = exceptional_row(gamma);
        const double expected = by_bisection(gamma, 1e5L);
        // f is a difference of logarithms of sizes up to |θ| + log n, its slope at least 2·10⁻³.
        CHECK(std::abs(row.theta - expected) <= 500 * 8 * epsilon * (std::abs(expected) + 5));
        CHECK(row.weights.sum() == Approx(1).epsilon(4 * epsilon * static_cast<double>(n)));
        CHECK(row.weights.minCoeff() >= 0);
        CHECK(std::abs(row.weights.dot(gamma)) <= 16 * epsilon *
                                                      (std::abs(row.theta) + static_cast<double>(n)) *
                                                      row.weights.dot(gamma.cwiseAbs()));
        // A minimum, and at any scale and sign.
        const auto log_sum = [&](double theta) {
          return theta * gamma.maxCoeff() +
                 std::log((theta * (gamma.array() - gamma.maxCoeff())).exp().sum());
        };
        CHECK(log_sum(row.theta) <= log_sum(row.theta + 0.1) + 1e-14 * (1 + std::abs(row.theta)));
        CHECK(log_sum(row.theta) <= log_sum(row.theta - 0.1) + 1e-14 * (1 + std::abs(row.theta)));
        for (const double scale : {0x1p-1000, 0x1p1000}) {
          const ExceptionalRow scaled = exceptional_row((gamma * scale).eval());
          CHECK(scaled.theta * scale == row.theta);
          CHECK(scaled.weights == row.weights);
        }
        CHECK(exceptional_row((-gamma).eval()).theta == Approx(-row.theta).epsilon(1e-9).margin(1e-9));
        CHECK(exceptional_row(gamma.cast<float>()).theta == Approx(row.theta).epsilon(1e-3).margin(1e-3));
      }
    }
}

TEST_CASE("limits of very different sizes", "[theory]") {
  // a tiny positive against n large negative ones: θ a ≈ log(b/a) − θ b, dominated by b.
  for (const double a : {1e-10, 1e-100, 1e-300}) {
    const ExceptionalRow row = exceptional_row(Eigen::Vector2d(a, -1));
    CHECK(row.theta == Approx(-std::log(a)).epsilon(1e-9));
    CHECK(row.weights(0) == Approx(1));
    CHECK(row.weights(1) == Approx(a).epsilon(1e-9));
  }
  // Two sizes on either side: f is bent, and Newton's steps from one end overshoot.
  Eigen::VectorXd gamma(4);
  gamma << 1e-6, 1, -1e-6, -1e-3;
  const ExceptionalRow row = exceptional_row(gamma);
  CHECK(row.theta == Approx(by_bisection(gamma, 1e3L)).epsilon(1e-10));
  CHECK(std::abs(row.weights.dot(gamma)) <= 1e-13 * row.weights.dot(gamma.cwiseAbs()));
}

TEST_CASE("what has no exceptional row is refused in words", "[theory]") {
  CHECK(refusal([] { (void)bounded_token_threshold(0); }) ==
        "bounded_token_threshold: n is 0, expected at least 1");
  CHECK(refusal([] { (void)exceptional_row(Eigen::Vector3d(1, 2, 0)); }) ==
        "exceptional_row: gamma has no entries of negative sign, expected both, as there is no minimiser "
        "otherwise");
  CHECK(refusal([] { (void)exceptional_row(Eigen::Vector3d(-1, -2, 0)); }) ==
        "exceptional_row: gamma has no entries of positive sign, expected both, as there is no minimiser "
        "otherwise");
  CHECK(refusal([] { (void)exceptional_row(Eigen::VectorXd(0)); }) ==
        "exceptional_row: gamma has no entries of positive sign, expected both, as there is no minimiser "
        "otherwise");
  CHECK(refusal([] { (void)exceptional_row(Eigen::Vector3d(-1, std::nan(""), 1)); }) ==
        "exceptional_row: gamma(1) is nan, expected a finite number");
  CHECK(refusal([] { (void)exceptional_row(Eigen::MatrixXd::Zero(2, 2)); }) ==
        "exceptional_row: gamma is 2 x 2, expected a vector");
  CHECK(refusal([] { (void)exceptional_row(Eigen::Vector2d(5e-324, -1e-322)); }) ==
        "exceptional_row: theta is inf, expected entries of gamma that are less far apart, or larger");
}
