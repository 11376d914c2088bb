#include <attnflow/geometry/sphere.hpp>
#include <attnflow/types.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "refusal.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <string>

namespace {

using attnflow::Tokens;
namespace sphere = attnflow::sphere;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

template <class Scalar>
Real worst_length(const Tokens<Scalar>& x) {
  Real worst = 0;
  for (Index i = 0; i < x.cols(); ++i) worst = std::max(worst, std::abs(wide(x.col(i)).norm() - 1));
  return worst;
}
template <class A, class B>
bool same_bits(const A& a, const B& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && (a.array() == b.array()).all();
}

}  // namespace

TEMPLATE_TEST_CASE("scaling gives length one, keeps directions, and is done once", "[sphere]", float,
                   double) {
  using Limits = std::numeric_limits<TestType>;
  constexpr Real eps = reference::epsilon<TestType>;
  std::mt19937_64 generator(90);
  for (const Index d : {1, 2, 3, 4, 17, 300})
    for (const TestType size :
         {TestType(1), TestType(1) + 40 * Limits::epsilon(), TestType(1e-3), TestType(7e4),
          Limits::min() * 1000, std::sqrt(Limits::min()), std::sqrt(Limits::max()), Limits::max() / 4}) {
      CAPTURE(d, size);
      const auto start = reference::random<Tokens<TestType>>(generator, d, 40);
      const Tokens<TestType> scaled = start * size;
      Tokens<TestType> x = scaled;
      for (Index i = 0; i < x.cols(); ++i) {
        const Real length = wide(scaled.col(i)).norm();
        const TestType returned = sphere::normalize(x, i);
        const Real bound = static_cast<Real>(d + 4) * eps;
        if (length < static_cast<Real>(Limits::max()))
          CHECK(std::abs(static_cast<Real>(returned) / length - 1) <= bound);
        const Wide direction = wide(scaled.col(i)) / length;
        CHECK(reference::largest(wide(x.col(i)) - direction) <= bound);
      }
      // |‖x‖² − 1| as computed is at most (d + 4) ε, and d ε more may lie in the computation.
      CHECK(worst_length<TestType>(x) <= static_cast<Real>(d + 2) * eps);
      Tokens<TestType> again = x;
      sphere::normalize(again);
      CHECK(same_bits(again, x));
      for (Index i = 0; i < x.cols(); ++i) CHECK(sphere::normalize(again, i) == 1);
    }
}

TEST_CASE("scaling leaves what has no direction", "[sphere]") {
  Tokens<double> x(2, 3);
  x << 0, std::numeric_limits<double>::infinity(), 3, 0, 1, std::nan("");
  CHECK(sphere::normalize(x, 0) == 0);
  CHECK(std::isnan(sphere::normalize(x, 1)));
  CHECK(std::isnan(sphere::normalize(x, 2)));
  CHECK(x.col(0).isZero(0));
  CHECK(x(1, 1) == 1);
  CHECK(x(0, 2) == 3);
  Tokens<double, 3> none(3, 0);
  sphere::normalize(none);
}

TEMPLATE_TEST_CASE("the projection is its formula, and tangent to its own size", "[sphere]", float, double) {
  constexpr Real eps = reference::epsilon<TestType>;
  std::mt19937_64 generator(91);
  for (const Index d : {1, 2, 3, 4, 17, 300})
    for (const double near : {1.0, 1e-2, 1e-4, 1e-6})  // y is x and this much of something else
      for (const TestType radius : {TestType(1), TestType(1e-4), TestType(300)}) {
        CAPTURE(d, near, radius);
        auto x = reference::random<Tokens<TestType>>(generator, d, 20);
        sphere::normalize(x);
        const Tokens<TestType> y =
            x + static_cast<TestType>(near) * reference::random<Tokens<TestType>>(generator, d, 20);
        x *= radius;
        Tokens<TestType> projected = y;
        sphere::project_tangent(x, projected);
        for (Index i = 0; i < x.cols(); ++i) {
          const Wide token = wide(x.col(i)), vector = wide(y.col(i)), found = wide(projected.col(i));
          const Real share = (token.transpose() * vector)(0, 0) / token.squaredNorm();
          const Wide expected = vector - share * token;
          // The first pass rounds at the size of y.
          const Real bound = static_cast<Real>(d + 8) * eps;
          CHECK(reference::largest(found - expected) <= bound * vector.norm());
          // The second leaves ε ‖P y‖, and of its own share of x, ε ‖y‖, another ε.
          const Real radial = std::abs((token.transpose() * found)(0, 0)) / token.norm();
          CHECK(radial <= bound * (found.norm() + static_cast<Real>(d + 8) * eps * vector.norm()));
        }
      }
}

TEMPLATE_TEST_CASE("the projection of finite vectors is finite", "[sphere]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  std::mt19937_64 generator(92);
  for (const Index d : {1, 2, 3, 9})
    for (const TestType size : {TestType(0), Limits::denorm_min(), Limits::min(), std::sqrt(Limits::min()),
                                TestType(1), std::sqrt(Limits::max()), Limits::max()})
      for (const TestType drift : {TestType(0), Limits::denorm_min(), Limits::min(), TestType(1),
                                   std::sqrt(Limits::max()), Limits::max() / 4}) {
        CAPTURE(d, size, drift);
        const Tokens<TestType> x = reference::random<Tokens<TestType>>(generator, d, 9) * size;
        const Tokens<TestType> y = reference::random<Tokens<TestType>>(generator, d, 9) * drift;
        Tokens<TestType> projected = y;
        sphere::project_tangent(x, projected);
        CHECK(projected.allFinite());
        if (size == 0) CHECK(same_bits(projected, y));
        if (size >= Limits::min() && drift >= 1)
          for (Index i = 0; i < x.cols(); ++i) {
            const Wide direction = wide(x.col(i)) / wide(x.col(i)).norm();
            CHECK(std::abs((direction.transpose() * wide(projected.col(i)))(0, 0)) <=
                  static_cast<Real>(4 * (d + 8)) * reference::epsilon<TestType> * wide(y.col(i)).norm());
          }
      }
}

TEMPLATE_TEST_CASE("the projection of a token on its own tangents is zero to the last bit", "[sphere]", float,
                   double) {
  std::mt19937_64 generator(93);
  for (const Index d : {1, 2, 3, 4, 17}) {
    const auto x = reference::random<Tokens<TestType>>(generator, d, 40);
    for (const TestType factor : {TestType(1), TestType(-4), TestType(0.125)}) {
      Tokens<TestType> y = factor * x;
      sphere::project_tangent(x, y);
      CHECK(y.isZero(0));
    }
  }
}

// Tokens of few coordinates are done several at once; what is rare is done by itself.
TEMPLATE_TEST_CASE_SIG("few coordinates fixed at compile time give what any number at run time gives",
                       "[sphere]", ((class Scalar, int Dim), Scalar, Dim), (float, 1), (float, 2), (float, 3),
                       (float, 4), (float, 5), (double, 1), (double, 2), (double, 3), (double, 4)) {
  using Limits = std::numeric_limits<Scalar>;
  using Fixed = Tokens<Scalar, Dim>;
  // Both round in their own order; -march=native may fuse one of them.
  constexpr Real bound = 2 * (Dim + 8) * reference::epsilon<Scalar>;
  std::mt19937_64 generator(94);
  const std::array<Scalar, 6> rare{
      0, Limits::denorm_min(), Limits::min(), Limits::max() / 4, Limits::infinity(), Limits::quiet_NaN()};
  const auto expect_close = [&](const auto& found, const auto& expected, Real scale) {
    for (Index k = 0; k < found.size(); ++k) {
      const Scalar a = found.data()[k], b = expected.data()[k];
      if (std::isfinite(b))
        CHECK(std::abs(static_cast<Real>(a) - static_cast<Real>(b)) <= bound * scale);
      else
        CHECK((std::isnan(b) ? std::isnan(a) : a == b));
    }
  };
  for (Index n = 0; n <= 9; ++n)
    for (const Scalar odd : rare)
      for (Index place = -1; place < n; ++place) {  // −1: no token is rare
        CAPTURE(n, odd, place);
        Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, Dim, n);
        const Tokens<Scalar> y = reference::random<Tokens<Scalar>>(generator, Dim, n);
        if (n > 0) sphere::normalize(x, 0);  // among tokens of other lengths one that stays
        if (place >= 0) x.col(place).setConstant(odd);

        Fixed projected = y;
        sphere::project_tangent(Fixed(x), projected);
        Tokens<Scalar> one_by_one = y;
        sphere::project_tangent(x, one_by_one);
        expect_close(projected, one_by_one, 4);
        // Tangent to its own size, where little is left: the second pass.
        if (place < 0 && n > 0) {
          const Fixed at = x;
          Fixed left = Scalar(3) * at + Scalar(1e-4) * Fixed(y);
          const Wide start = wide(left);
          sphere::project_tangent(at, left);
          for (Index i = 0; i < n; ++i) {
            const Wide token = wide(at.col(i)), found = wide(left.col(i));
            CHECK(std::abs((token.transpose() * found)(0, 0)) <=
                  bound * token.norm() * (found.norm() + bound * start.col(i).norm()));
          }
        }
        Fixed large = y * (Limits::max() / 8);
        const Fixed far = y * std::sqrt(std::sqrt(Limits::max()));  // squares are usual, products are not
        sphere::project_tangent(far, large);
        CHECK(large.allFinite());

        Fixed fixed = x;
        Tokens<Scalar> single = x;
        Eigen::Matrix<Scalar, Eigen::Dynamic, 1> lengths, expected(n);
        const bool unit = sphere::normalize(fixed, lengths);
        for (Index i = 0; i < n; ++i) expected(i) = sphere::normalize(single, i);
        expect_close(fixed, single, 1);
        REQUIRE(lengths.size() == n);
        for (Index i = 0; i < n; ++i)
          expect_close(lengths.segment(i, 1), expected.segment(i, 1), static_cast<Real>(expected(i)));
        CHECK(unit == (expected.array() == 1).all());
        if (n > 0 && place != 0) CHECK(same_bits(fixed.col(0), x.col(0)));
        if (place >= 0 && (odd == 0 || !std::isfinite(odd))) continue;  // no length
        const Fixed once = fixed;
        CHECK(sphere::normalize(fixed, lengths));
        CHECK(same_bits(fixed, once));
        CHECK((lengths.array() == 1).all());
      }
}

TEST_CASE("an arc has the angles it is asked for", "[sphere]") {
  const auto x = sphere::arc(5, 0.25, 0.25 + std::numbers::pi);
  REQUIRE(x.cols() == 5);
  for (Index i = 0; i < 5; ++i) {
    const double angle = 0.25 + static_cast<double>(i) * std::numbers::pi / 4;
    CHECK(x(0, i) == Approx(std::cos(angle)).margin(1e-15));
    CHECK(x(1, i) == Approx(std::sin(angle)).margin(1e-15));
  }
  CHECK(x(0, 4) == Approx(-x(0, 0)));
  CHECK(sphere::arc<float>(1, 0, 2)(0, 0) == 1.0F);
  CHECK(sphere::arc(0, 0, 2).cols() == 0);
  CHECK_THAT(refusal([] { (void)sphere::arc(-1, 0, 1); }),
             ContainsSubstring("sphere::arc: n is -1, expected at least 0"));
  CHECK_THAT(refusal([] { (void)sphere::arc(2, std::nan(""), 1); }),
             ContainsSubstring("sphere::arc: from is"));
  CHECK_THAT(refusal([] { (void)sphere::arc(2, 0, std::nan("")); }), ContainsSubstring("sphere::arc: to is"));
}
