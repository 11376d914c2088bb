#include <attnflow/reductions/sphere_counts.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

namespace {

using attnflow::cap_share;
using attnflow::hemisphere_probability;
using attnflow::interaction_range;
using attnflow::mean_strong_centres;
using attnflow::saturated_centres;
using Catch::Matchers::ContainsSubstring;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double pi = std::numbers::pi;

auto close(double value, double units = 16) { return Approx(value).epsilon(units * epsilon); }

/// All columns of x have a positive inner product with some vector: the normal of a plane through two of them, if the
/// others are on one side. Almost surely right for points in R³.
bool in_hemisphere(const Eigen::MatrixXd& x) {
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    for (Eigen::Index j = 0; j < i; ++j) {
      const Eigen::Vector3d a = x.col(i), b = x.col(j);
      const Eigen::Vector3d normal(a(1) * b(2) - a(2) * b(1), a(2) * b(0) - a(0) * b(2),
                                   a(0) * b(1) - a(1) * b(0));
      Eigen::Index above = 0, below = 0;
      for (Eigen::Index k = 0; k < x.cols(); ++k) {
        if (k == i || k == j) continue;
        ++(normal.dot(x.col(k)) > 0 ? above : below);
      }
      if (above == 0 || below == 0) return true;
    }
  return false;
}

/// The mean of count(x) over draws of uniform tokens, and its standard error.
struct Mean {
  double value, error;
};
template <class Count>
Mean mean_of(int draws, Eigen::Index n, Eigen::Index d, const Count& count) {
  attnflow::Generator generator(7);
  double sum = 0, squares = 0;
  for (int k = 0; k < draws; ++k) {
    const double found = count(attnflow::uniform_sphere(generator, n, d));
    sum += found;
    squares += found * found;
  }
  const double mean = sum / draws;
  return {mean, std::sqrt((squares / draws - mean * mean) / draws)};
}

/// Tokens farther than δ from all previous tokens, or, unless strong, from all previous centres.
int centres(const Eigen::MatrixXd& x, double delta, bool strong) {
  std::vector<Eigen::Index> kept;
  int found = 0;
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    const bool apart = std::none_of(
        kept.begin(), kept.end(), [&](Eigen::Index j) { return x.col(i).dot(x.col(j)) >= std::cos(delta); });
    found += apart;
    if (apart || strong) kept.push_back(i);
  }
  return found;
}

}  // namespace

TEST_CASE("probabilities of a hemisphere are Wendel's", "[sphere_counts]") {
  // By sums of integers.
  CHECK(hemisphere_probability(8, 3) == 0.2265625);
  CHECK(hemisphere_probability(16, 8) == 0.5);
  CHECK(hemisphere_probability(5, 1) == 0.0625);
  CHECK(hemisphere_probability(100, 40) == close(0.0219376467935076, 4));
  CHECK(hemisphere_probability(10000, 5000) == 0.5);
  CHECK(hemisphere_probability(10000, 4800) == close(3.1577634020062816e-05, 4));
  CHECK(hemisphere_probability(10000, 4000) == close(6.958264616429435e-90, 4));
  CHECK(1 - hemisphere_probability(10000, 5300) == Approx(9.741919189952975e-10).epsilon(0).margin(epsilon));
  CHECK(hemisphere_probability(10000, 9000) == 1);
  CHECK(hemisphere_probability(300, 2) == close(300 * std::ldexp(1, -299), 2));
  CHECK(hemisphere_probability(1000000, 3) == 0);  // 2^−10⁶
  for (const int n : {0, 1, 6, 7}) CHECK(hemisphere_probability(n, 7) == 1);
  for (const int n : {20, 21, 1001})  // complements: P(n, d) + P(n, n − d) = 1
    for (int d = 1; d < n; d += 5)
      CHECK(hemisphere_probability(n, d) + hemisphere_probability(n, n - d) == close(1, 4));
  const Mean found = mean_of(4000, 8, 3, [](const Eigen::MatrixXd& x) { return in_hemisphere(x) ? 1. : 0.; });
  CHECK(std::abs(found.value - hemisphere_probability(8, 3)) < 5 * found.error);
}

TEST_CASE("caps have their share of the sphere", "[sphere_counts]") {
  struct Row {
    int d;
    double angle, share;
  };
  // The regularised incomplete beta function to 25 digits.
  for (const Row& row : std::array<Row, 10>{{{2, 0.25, 0.079577471545947667884},
                                             {3, 0.25, 0.015543789144677607928},
                                             {5, 1.0, 0.13420542191164356788},
                                             {10, 1.5, 0.41813339763911577367},
                                             {100, 1.4, 0.044633727653229708068},
                                             {1000, 1.3, 3.6501091398316042494e-18},
                                             {1000, 1.55, 0.25553647638018679275},
                                             {100001, 1.57, 0.40059008832453510853},
                                             {7, 1e-3, 1.5624990234377996743e-19},
                                             {50, 0.2, 2.3464007108736937307e-36}}}) {
    CAPTURE(row.d, row.angle);
    const double exponent = row.d * std::abs(std::log(std::sin(row.angle)));
    CHECK(cap_share(row.d, row.angle) == close(row.share, 16 + exponent));
    CHECK(cap_share(row.d, pi - row.angle) == close(1 - row.share, 16 + std::sqrt(row.d)));  // π is rounded
  }
  for (int k = 0; k <= 64; ++k) {
    const double angle = pi * k / 64;
    CAPTURE(angle);
    CHECK(cap_share(2, angle) == close(angle / pi));
    CHECK(cap_share(3, angle) == close(std::sin(angle / 2) * std::sin(angle / 2)));
    CHECK(cap_share(4, angle) ==
          close((angle - std::sin(angle) * std::cos(angle)) / pi, 64).margin(8 * epsilon));
    const double c = std::cos(angle);
    CHECK(cap_share(5, angle) == Approx((2 - 3 * c + c * c * c) / 4).epsilon(0).margin(8 * epsilon));
    for (const int d : {2, 3, 8, 101, 1000000})  // no step where one fraction gives way to the other
      if (k > 0) CHECK(cap_share(d, angle) >= cap_share(d, pi * (k - 1) / 64));
  }
  for (const int d : {2, 3, 119, 120, 121, 122, 4000}) {
    CAPTURE(d);
    CHECK(cap_share(d, pi / 2) == close(0.5));
    // The two fractions meet at tan² δ = d − 1. The share itself changes by a part in 10¹² √d or so.
    const double angle = std::atan(std::sqrt(d - 1.));
    CHECK(cap_share(d, angle * (1 - 1e-12)) ==
          Approx(cap_share(d, angle * (1 + 1e-12))).epsilon(1e-11 * std::sqrt(d)));
  }
}

TEST_CASE("strong centres are counted by their mean", "[sphere_counts]") {
  CHECK(mean_strong_centres(100000, cap_share(2, 0.25)) == Approx(12.566).margin(1e-3));
  CHECK(mean_strong_centres(100000, cap_share(3, 0.25)) == Approx(64.334).margin(1e-3));
  CHECK(mean_strong_centres(7, 1e-18) == close(7, 2));
  CHECK(mean_strong_centres(7, 0) == 7);
  CHECK(mean_strong_centres(7, 1) == 1);
  CHECK(mean_strong_centres(0, 0.5) == 0);
  CHECK(mean_strong_centres(3, 0.5) == close(1.75));
  for (const int d : {2, 3, 5}) {
    const double delta = 0.4 * d;
    const Mean found =
        mean_of(2000, 60, d, [&](const Eigen::MatrixXd& x) { return centres(x, delta, true); });
    CAPTURE(d);
    CHECK(std::abs(found.value - mean_strong_centres(60, cap_share(d, delta))) < 5 * found.error);
    CHECK(found.error < 0.02 * found.value);
  }
}

TEST_CASE("centres on the circle park like cars", "[sphere_counts]") {
  // ∫₀^t (1 − e^{−s})/s ds along t, and e^{−2 that}, by Simpson's rule; beyond t = 64 the integrand is e^{−2γ}/t².
  double inner = 0, outer = 0;
  constexpr int steps = 64000;
  constexpr double h = 64. / steps;
  const auto slope = [](double s) { return s == 0 ? 1 : -std::expm1(-s) / s; };
  for (int k = 0; k < steps; ++k) {
    const double t = k * h, middle = inner + h / 24 * (5 * slope(t) + 8 * slope(t + h / 2) - slope(t + h));
    const double end = inner + h / 6 * (slope(t) + 4 * slope(t + h / 2) + slope(t + h));
    outer += h / 6 * (std::exp(-2 * inner) + 4 * std::exp(-2 * middle) + std::exp(-2 * end));
    inner = end;
  }
  outer += std::exp(-2 * std::numbers::egamma) / 64;
  CHECK(attnflow::parking_constant == Approx(outer).epsilon(1e-12));
  CHECK(saturated_centres(0.25) == Approx(18.79).margin(5e-3));
  // 600 arrivals leave few gaps: the missing centres are of order 1/600 of all.
  const Mean found = mean_of(300, 600, 2, [](const Eigen::MatrixXd& x) { return centres(x, 0.5, false); });
  CHECK(std::abs(found.value - saturated_centres(0.5)) < 5 * found.error + 0.01);
}

TEST_CASE("the pull of attention is largest at its range", "[sphere_counts]") {
  for (const double beta : {-20.0, -1.0, 1e-9, 0.5, 1.0, 9.0, 1e4}) {
    const double u = interaction_range(beta);
    CAPTURE(beta);
    CHECK(std::cos(u) == Approx((std::sqrt(4 * beta * beta + 1) - 1) / (2 * beta)).margin(1e-7));
    // cos u = β sin² u there.
    CHECK(std::cos(u) == Approx(beta * std::sin(u) * std::sin(u)).epsilon(1e-12).margin(4 * epsilon));
  }
  CHECK(interaction_range(0) == close(pi / 2));
  CHECK(interaction_range(1e12) == Approx(1e-6).epsilon(1e-11));
  CHECK(interaction_range(1e300) == Approx(1e-150).epsilon(1e-12));
}

TEST_CASE("counts on the sphere refuse what has no meaning", "[sphere_counts]") {
  CHECK_THAT(refusal([] { (void)hemisphere_probability(-1, 3); }),
             ContainsSubstring("hemisphere_probability: n is -1, expected at least 0"));
  CHECK_THAT(refusal([] { (void)hemisphere_probability(3, 0); }),
             ContainsSubstring("hemisphere_probability: d is 0"));
  CHECK_THAT(refusal([] { (void)cap_share(1, 1); }), ContainsSubstring("cap_share: d is 1"));
  CHECK_THAT(refusal([] { (void)cap_share(3, 4); }), ContainsSubstring("cap_share: angle is 4"));
  CHECK_THAT(refusal([] { (void)mean_strong_centres(3, 1.5); }),
             ContainsSubstring("mean_strong_centres: share is 1.5, expected a number from 0 to 1"));
  CHECK_THAT(refusal([] { (void)mean_strong_centres(-3, 0.5); }), ContainsSubstring("n is -3"));
  CHECK_THAT(refusal([] { (void)saturated_centres(0); }),
             ContainsSubstring("saturated_centres: separation is 0"));
  CHECK_THAT(refusal([] { (void)interaction_range(std::nan("")); }),
             ContainsSubstring("interaction_range: beta is nan"));
}
