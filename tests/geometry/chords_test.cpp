#include <attnflow/geometry/chords.hpp>
#include <attnflow/observables/tokens/clusters.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

namespace {

namespace sphere = attnflow::sphere;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

Eigen::VectorXd direction(Index d, std::mt19937_64& generator) {
  return random(d, 1, generator).col(0).normalized();
}

/// The unit vector at an angle from u, towards v: its true angle differs by what rounding its coordinates does.
Eigen::VectorXd turned(const Eigen::VectorXd& u, const Eigen::VectorXd& v, double angle) {
  const Eigen::VectorXd across = (v - u.dot(v) * u).normalized();
  return std::cos(angle) * u + std::sin(angle) * across;
}

/// 1 − cos and the angle of x/‖x‖ and y/‖y‖ in long double, from ‖x ∓ y‖² = 2 ‖x‖ ‖y‖ (1 ∓ cos) + (‖x‖ − ‖y‖)²:
/// differences of coordinates are exact there, those of coordinates divided by their lengths were not.
struct Exact {
  long double gap = 0, angle = 0;
  Exact(const Eigen::VectorXd& x, const Eigen::VectorXd& y) {
    long double xx = 0, yy = 0, apart = 0, together = 0, lengths = 0;
    for (Index k = 0; k < x.size(); ++k) {
      const auto a = static_cast<long double>(x(k)), b = static_cast<long double>(y(k));
      xx += a * a;
      yy += b * b;
      apart += (a - b) * (a - b);
      together += (a + b) * (a + b);
      lengths += (a - b) * (a + b);
    }
    lengths /= std::sqrt(xx) + std::sqrt(yy);
    gap = (apart - lengths * lengths) / (2 * std::sqrt(xx * yy));
    angle = 2 * std::atan2(std::sqrt(apart - lengths * lengths), std::sqrt(together - lengths * lengths));
  }
};

}  // namespace

TEST_CASE("gap and angle of unit vectors keep their digits at every distance", "[geometry]") {
  std::mt19937_64 generator(1);
  for (const Index d : {2, 3, 8, 128})
    for (const double apart : {1e-14, 1e-11, 1e-8, 1e-4, 0.1, 1., 2., 3., 3.14159, 3.1415926535}) {
      const Eigen::VectorXd x = direction(d, generator), y = turned(x, direction(d, generator), apart);
      const Exact exact(x, y);
      CAPTURE(d, apart);
      const double bound = static_cast<double>(d + 4) * epsilon;
      CHECK(std::abs(sphere::cosine_gap(x, y) - static_cast<double>(exact.gap)) <=
            bound * static_cast<double>(exact.gap) + bound * bound / 2);
      CHECK(std::abs(sphere::angle(x, y) - static_cast<double>(exact.angle)) <=
            bound * (apart < 1e-8 ? 1 : static_cast<double>(exact.angle)));
      // Which the product does not: it is rounded to multiples of ε/2.
      if (apart == 1e-8)
        CHECK(std::abs(1 - x.dot(y) - static_cast<double>(exact.gap)) >
              0.01 * static_cast<double>(exact.gap));
    }
  const Eigen::VectorXd x = direction(5, generator);
  CHECK(sphere::cosine_gap(x, x) == 0);
  CHECK(sphere::angle(x, x) == 0);
  CHECK(sphere::angle(x, -x) == std::numbers::pi);
  CHECK(sphere::cosine_gap(x.transpose(), -x) == Approx(2).epsilon(4 * epsilon));
  CHECK(sphere::cosine_gap(x.cast<float>(), x.cast<float>()) == 0);
}

TEST_CASE("chords of angles and of cosines", "[geometry]") {
  for (const double angle : {0., 1e-9, 0.25, 1., 2., std::numbers::pi}) {
    const long double half = static_cast<long double>(angle) / 2;
    CHECK(sphere::chord_of_angle(angle) ==
          Approx(static_cast<double>(2 * std::sin(half))).epsilon(2 * epsilon));
  }
  CHECK(sphere::chord_of_angle(std::numbers::pi / 3) == Approx(1).epsilon(2 * epsilon));
  CHECK(sphere::chord_of_cosine(1) == 0);
  CHECK(sphere::chord_of_cosine(0) == Approx(std::numbers::sqrt2).epsilon(epsilon));
  CHECK(sphere::chord_of_cosine(-1) == 2);
  CHECK(sphere::chord_of_cosine(0.9999) ==
        Approx(std::sqrt(2e-4)).epsilon(1e-12));  // 1 − 0.9999 has 10⁻¹⁶/10⁻⁴
}

// Clusters at a cosine are detect_clusters at its chord: the closure of the relation, no pair near the threshold.
TEST_CASE("components of aligned tokens are clusters at the chord", "[geometry]") {
  std::mt19937_64 generator(2);
  for (const Index d : {2, 3, 6})
    for (const double cosine : {0.9999, 0.99, 0.8, 0.3, -0.2}) {
      const Index n = 40;
      Eigen::MatrixXd x(d, n);
      for (Index i = 0; i < n; ++i) x.col(i) = direction(d, generator);
      for (Index i = n / 2; i < n; ++i)
        x.col(i) = (x.col(i - n / 2) + 0.7 * std::sqrt(1 - cosine) * random(d, 1, generator)).normalized();
      std::vector<Index> label(static_cast<std::size_t>(n));
      for (Index i = 0; i < n; ++i) label[static_cast<std::size_t>(i)] = i;
      for (Index repeat = 0; repeat < n; ++repeat)
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < n; ++j)
            if (x.col(i).dot(x.col(j)) >= cosine) {
              Index &a = label[static_cast<std::size_t>(i)], &b = label[static_cast<std::size_t>(j)];
              a = b = std::min(a, b);
            }
      Index count = 0;
      for (Index i = 0; i < n; ++i) count += label[static_cast<std::size_t>(i)] == i;
      const auto found = attnflow::detect_clusters(x, sphere::chord_of_cosine(cosine));
      CHECK(found.count() == count);
      for (Index i = 0; i < n; ++i)
        CHECK(found.representatives[static_cast<std::size_t>(found.labels[static_cast<std::size_t>(i)])] ==
              label[static_cast<std::size_t>(i)]);
    }
}

TEST_CASE("what is no chord is refused in words", "[geometry]") {
  const Eigen::VectorXd x = Eigen::VectorXd::Unit(3, 0), y = Eigen::VectorXd::Unit(2, 0);
  CHECK(refusal([&] { (void)sphere::cosine_gap(x, y); }) ==
        "sphere::cosine_gap: y has 2 coordinates, expected 3, as x has");
  CHECK(refusal([&] { (void)sphere::angle(x, y); }) ==
        "sphere::angle: y has 2 coordinates, expected 3, as x has");
  CHECK(refusal([&] { (void)sphere::chord_of_angle(-0.5); }) ==
        "sphere::chord_of_angle: angle is -0.5, expected a number from 0 to pi");
  CHECK(refusal([&] { (void)sphere::chord_of_cosine(std::nan("")); }) ==
        "sphere::chord_of_cosine: cosine is nan, expected a number from -1 to 1");
}
