#include <attnflow/geometry/convex_hull.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using attnflow::convex_hull;
using attnflow::distance_outside;
using attnflow::support;
using attnflow::Tokens;
using Eigen::Index;
using Indices = std::vector<Index>;
using Integers = Eigen::Matrix<std::int64_t, 2, Eigen::Dynamic>;
__extension__ using Wide = __int128;

/// Which way i, j, k turn, in integers.
int turn(const Integers& x, Index i, Index j, Index k) {
  const Wide determinant = static_cast<Wide>(x(0, j) - x(0, i)) * (x(1, k) - x(1, i)) -
                           static_cast<Wide>(x(1, j) - x(1, i)) * (x(0, k) - x(0, i));
  return determinant > 0 ? 1 : determinant < 0 ? -1 : 0;
}

/// The hull by half-planes: i → j is an edge if every other point is left of it or on it, between its ends.
Indices hull_by_half_planes(const Integers& x) {
  Indices first;  // one index for each location
  for (Index i = 0; i < x.cols(); ++i)
    if (std::ranges::none_of(first, [&](Index j) { return x.col(j) == x.col(i); })) first.push_back(i);
  if (first.size() < 2) return first;
  const auto before = [&](Index i, Index j) {
    return std::pair(x(0, i), x(1, i)) < std::pair(x(0, j), x(1, j));
  };
  const auto edge = [&](Index i, Index j) {
    return std::ranges::all_of(first, [&](Index k) {
      const int side = turn(x, i, j, k);
      const auto along = [&](Index row) {
        return static_cast<Wide>(x(row, k) - x(row, i)) * (x(row, k) - x(row, j));
      };
      const bool between = along(0) + along(1) <= 0;
      return side > 0 || (side == 0 && between);
    });
  };
  const Index start = *std::ranges::min_element(first, before);
  Indices hull{start};
  for (Index from = start;;) {
    const auto next = std::ranges::find_if(first, [&](Index j) { return j != from && edge(from, j); });
    REQUIRE(next != first.end());
    if (*next == start) return hull;
    from = *next;
    hull.push_back(from);
  }
}

Tokens<double, 2> scaled(const Integers& x, int exponent) {
  return x.cast<double>().unaryExpr([exponent](double v) { return std::ldexp(v, exponent); });
}

/// The distance by duality: max over unit u of ⟨u, p⟩ − h(u), taken over many u, is a little too small.
double distance_by_directions(const Eigen::Vector2d& p, const Tokens<double, 2>& vertices) {
  double best = 0;
  for (int k = 0; k < 3600; ++k) {
    const double angle = std::acos(-1.) * k / 1800;
    const Eigen::Vector2d u(std::cos(angle), std::sin(angle));
    best = std::max(best, u.dot(p) - support(vertices, u));
  }
  return best;
}

}  // namespace

TEST_CASE("the hull of lattice points is that of all half-planes", "[polytope]") {
  std::mt19937_64 generator(1);
  for (const std::uint64_t range : {1u, 2u, 3u, 5u, 9u, 1000u})
    for (int repeat = 0; repeat < 40; ++repeat) {
      const auto n = static_cast<Index>(generator() % 25);
      const Integers x = Integers::NullaryExpr(
          2, n, [&](Index, Index) { return static_cast<std::int64_t>(generator() % range) - 2; });
      const Indices expected = hull_by_half_planes(x);
      CHECK(convex_hull(scaled(x, 0)) == expected);
      CHECK(convex_hull(x.cast<float>()) == expected);
      CHECK(convex_hull(Eigen::MatrixXd(scaled(x, 0))) == expected);
    }
}

// Coordinates near 2⁵² and a line whose points are moved by a unit or so: determinants of size 2⁵² as the
// difference of products near 2¹⁰⁴, which plain arithmetic gets wrong.
TEST_CASE("the hull of nearly collinear points is exact at any scale", "[polytope]") {
  std::mt19937_64 generator(2);
  for (int repeat = 0; repeat < 200; ++repeat) {
    const auto n = static_cast<Index>(3 + generator() % 20);
    const std::int64_t a = static_cast<std::int64_t>(generator() % 1000) - 500,
                       b = 501 + static_cast<std::int64_t>(generator() % 500);
    Integers x(2, n);
    for (Index i = 0; i < n; ++i) {
      const auto along = static_cast<std::int64_t>(generator() % (std::uint64_t{1} << 42));
      x(0, i) = (std::int64_t{1} << 51) + a * along + static_cast<std::int64_t>(generator() % 2);
      x(1, i) = -(std::int64_t{1} << 51) + b * along + static_cast<std::int64_t>(generator() % 2);
    }
    const Indices expected = hull_by_half_planes(x);
    for (const int exponent : {0, -53, 900, -900, 970}) CHECK(convex_hull(scaled(x, exponent)) == expected);
  }
}

TEST_CASE("degenerate tokens have degenerate hulls", "[polytope]") {
  CHECK(convex_hull(Tokens<double, 2>(2, 0)).empty());
  CHECK(convex_hull(Tokens<double>(0, 0)).empty());
  CHECK(convex_hull(Tokens<double, 2>::Constant(2, 1, 3.)) == Indices{0});
  CHECK(convex_hull(Tokens<double, 2>::Constant(2, 7, 0.1)) == Indices{0});
  CHECK(convex_hull(Tokens<double, 2>::Zero(2, 3)) == Indices{0});
  const Tokens<double, 2> line = (Tokens<double, 2>(2, 4) << 1, 3, 0, 2, 10, 30, 0, 20).finished();
  CHECK(convex_hull(line) == Indices{2, 1});
  const Tokens<double, 2> upright = (Tokens<double, 2>(2, 4) << 1, 1, 1, 1, 5, 7, 5, 6).finished();
  CHECK(convex_hull(upright) == Indices{0, 1});
  const Tokens<double, 2> doubled =
      (Tokens<double, 2>(2, 6) << 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1).finished();
  CHECK(convex_hull(doubled) == Indices{2, 3, 0, 1});
  const Tokens<double, 2> signed_zeros = (Tokens<double, 2>(2, 3) << 0., -0., 0., -0., 0., 0.).finished();
  CHECK(convex_hull(signed_zeros) == Indices{0});
}

TEST_CASE("a circle is all extreme, and its inside is not", "[polytope]") {
  const Index n = 1000;
  Tokens<double, 2> x(2, 2 * n);
  for (Index i = 0; i < n; ++i) {
    const double angle = 2 * std::acos(-1.) * static_cast<double>(i) / static_cast<double>(n);
    x.col(2 * i) << std::cos(angle), std::sin(angle);
    x.col(2 * i + 1) = 0.999 * x.col(2 * i);
  }
  const Indices hull = convex_hull(x);
  REQUIRE(hull.size() == 1000);
  for (std::size_t k = 0; k < hull.size(); ++k) {
    CHECK(hull[k] % 2 == 0);
    CHECK((hull[(k + 1) % hull.size()] - hull[k] - 2) % (2 * n) == 0);  // counter-clockwise
  }
}

TEMPLATE_TEST_CASE("on the line the hull is the two ends", "[polytope]", float, double) {
  const Tokens<TestType, 1> x = (Tokens<TestType, 1>(1, 6) << TestType(2), TestType(-1), TestType(5),
                                 TestType(-1), TestType(5), TestType(0))
                                    .finished();
  CHECK(convex_hull(x) == Indices{1, 2});
  CHECK(convex_hull(Tokens<TestType>(x)) == Indices{1, 2});
  CHECK(convex_hull(x.leftCols(1)) == Indices{0});
  CHECK(convex_hull(Tokens<TestType, 1>::Constant(1, 5, TestType(4))) == Indices{0});
  CHECK(convex_hull(Tokens<TestType, 1>(1, 0)).empty());
}

TEST_CASE("the distance to a polygon", "[polytope]") {
  const Tokens<double, 2> square = (Tokens<double, 2>(2, 4) << 0, 1, 1, 0, 0, 0, 1, 1).finished();
  const auto from = [&](double x, double y) { return distance_outside(Eigen::Vector2d(x, y), square); };
  CHECK(from(0.5, 0.5) == 0);
  CHECK(from(1, 0.5) == 0);
  CHECK(from(1, 1) == 0);
  CHECK(from(0.5, -2) == 2);
  CHECK(from(4, 5) == 5);
  CHECK(from(-3, 0.25) == 3);
  CHECK(from(1 + 0x1p-52, 0.5) == 0x1p-52);
  CHECK(from(-5e-324, 0.5) >= 0);
  CHECK(distance_outside(Eigen::Vector2f(0.5f, 3), square.cast<float>()) == 2);

  std::mt19937_64 generator(3);
  int outside = 0;
  for (int repeat = 0; repeat < 60; ++repeat) {
    const auto n = static_cast<Index>(1 + generator() % 8);
    const Tokens<double, 2> x =
        Tokens<double, 2>::NullaryExpr(2, n, [&](Index, Index) { return unit(generator); });
    const Indices hull = convex_hull(x);
    const Tokens<double, 2> vertices = x(Eigen::placeholders::all_t(), hull);
    const Eigen::Vector2d p(2 * unit(generator) - 0.5, 2 * unit(generator) - 0.5);
    const double exact = distance_outside(p, vertices), sampled = distance_by_directions(p, vertices);
    // The best of 3600 directions is within 2π/7200 of the right one, and |p − x| ≤ 3.
    CHECK(sampled <= exact + 1e-14);
    CHECK(sampled >= exact - 3 * (2 * std::acos(-1.) / 7200));
    CHECK(distance_outside(p, x(Eigen::placeholders::all_t(), hull)) == exact);
    outside += exact > 0;
    for (Index i = 0; i < n; ++i) CHECK(distance_outside(x.col(i), vertices) == 0);
    const Eigen::VectorXd mean = x.rowwise().mean();
    if (hull.size() > 2) CHECK(distance_outside(mean, vertices) == 0);
    // No scale matters.
    for (const int exponent : {1000, -1000}) {
      const double power = std::ldexp(1., exponent);
      CHECK(distance_outside(p * power, vertices * power) == exact * power);
    }
  }
  CHECK(outside > 20);
}

TEST_CASE("the distance to what is less than a polygon", "[polytope]") {
  const double inf = std::numeric_limits<double>::infinity();
  const Eigen::Vector2d p(3, 4);
  CHECK(distance_outside(p, Eigen::MatrixXd(2, 0)) == inf);
  CHECK(distance_outside(p, Eigen::Vector2d(0, 0)) == 5);
  CHECK(distance_outside(p, Eigen::Vector2d(3, 4)) == 0);
  const Tokens<double, 2> segment = (Tokens<double, 2>(2, 2) << 0, 10, 0, 0).finished();
  CHECK(distance_outside(p, segment) == 4);
  CHECK(distance_outside(Eigen::Vector2d(13, 4), segment) == 5);
  CHECK(distance_outside(Eigen::Vector2d(-3, 4), segment) == 5);
  CHECK(distance_outside(Eigen::Vector2d(5, 0), segment) == 0);
  CHECK(distance_outside(p, Tokens<double, 2>::Zero(2, 2)) == 5);

  const Tokens<double, 1> interval = (Tokens<double, 1>(1, 2) << -1, 2).finished();
  const auto from = [&](double x) { return distance_outside(Eigen::Matrix<double, 1, 1>(x), interval); };
  CHECK(from(-3) == 2);
  CHECK(from(-1) == 0);
  CHECK(from(0.3) == 0);
  CHECK(from(2.5) == 0.5);
  const double huge = std::numeric_limits<double>::max();
  CHECK(distance_outside(Eigen::Matrix<double, 1, 1>(-huge), Tokens<double, 1>::Constant(1, 1, huge)) == inf);
  CHECK(distance_outside(Eigen::Matrix<double, 1, 1>(-huge / 4),
                         Tokens<double, 1>::Constant(1, 1, huge / 4)) == huge / 2);
}

TEMPLATE_TEST_CASE("the support function is the largest inner product", "[polytope]", float, double) {
  std::mt19937_64 generator(4);
  for (const Index d : {1, 2, 3, 17}) {
    const Tokens<TestType> x = Tokens<TestType>::NullaryExpr(
        d, 9, [&](Index, Index) { return static_cast<TestType>(unit(generator) - 0.5); });
    const Eigen::VectorXd u = Eigen::VectorXd::NullaryExpr(d, [&](Index) { return unit(generator) - 0.5; });
    double expected = -100;
    for (Index i = 0; i < 9; ++i) {
      double product = 0;
      for (Index k = 0; k < d; ++k) product += u(k) * static_cast<double>(x(k, i));
      expected = std::max(expected, product);
    }
    CHECK(support(x, u) == Approx(expected).epsilon(1e-13));
    CHECK(support(x, (2 * u).eval()) == 2 * support(x, u));
    CHECK(support(x, Eigen::VectorXd::Zero(d)) == 0);
  }
  const Tokens<TestType, 2> fixed = Tokens<TestType, 2>::Identity(2, 2);
  CHECK(support(fixed, Eigen::Vector2d(3, -1)) == 3);
  CHECK(support(Tokens<TestType>(3, 0), Eigen::Vector3d::Ones()) == -std::numeric_limits<double>::infinity());
}

TEST_CASE("extreme points attain the support function and all others stay below", "[polytope]") {
  std::mt19937_64 generator(5);
  const Tokens<double, 2> x =
      Tokens<double, 2>::NullaryExpr(2, 300, [&](Index, Index) { return unit(generator) - 0.5; });
  const Tokens<double, 2> vertices = x(Eigen::placeholders::all_t(), convex_hull(x));
  for (int k = 0; k < 500; ++k) {
    const Eigen::Vector2d u(unit(generator) - 0.5, unit(generator) - 0.5);
    CHECK(support(vertices, u) == support(x, u));
  }
}

TEST_CASE("what has no hull is refused in words", "[polytope]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  CHECK(refusal([] { (void)convex_hull(Tokens<double, 4>::Zero(4, 4)); }) ==
        "convex_hull: tokens have d = 4, expected d = 1, 2 or 3");
  CHECK(refusal([] { (void)convex_hull(Tokens<float>(7, 0)); }) ==
        "convex_hull: tokens have d = 7, expected d = 1, 2 or 3");
  CHECK(refusal([] { (void)convex_hull(Tokens<double>(0, 2)); }) ==
        "convex_hull: tokens have d = 0, expected d = 1, 2 or 3");
  Tokens<double> x = Tokens<double>::Zero(2, 3);
  x(0, 1) = nan;
  CHECK(refusal([&] { (void)convex_hull(x); }) ==
        "convex_hull: column 1 of tokens is (nan   0), expected finite numbers");
  CHECK(refusal([&] { (void)distance_outside(Eigen::Vector2d::Zero(), x); }) ==
        "distance_outside: column 1 of vertices is (nan   0), expected finite numbers");
  CHECK(refusal([&] { (void)distance_outside(Eigen::Vector2d(inf, 0), Tokens<double, 2>::Zero(2, 1)); }) ==
        "distance_outside: column 0 of point is (inf   0), expected finite numbers");
  CHECK(refusal([] { (void)distance_outside(Eigen::Vector3d::Zero(), Eigen::Vector3d::Zero()); }) ==
        "distance_outside: vertices have d = 3, expected d = 1 or d = 2");
  CHECK(refusal([] { (void)distance_outside(Eigen::Vector3d::Zero(), Eigen::Vector2d::Zero()); }) ==
        "distance_outside: point is 3 x 1, expected 2 x 1, as the vertices are");
  const Tokens<double, 2> clockwise = (Tokens<double, 2>(2, 3) << 0, 0, 1, 0, 1, 0).finished();
  CHECK(refusal([&] { (void)distance_outside(Eigen::Vector2d::Zero(), clockwise); }) ==
        "distance_outside: vertices do not turn left at vertex 1, expected those of a convex polygon, "
        "counter-clockwise");
  CHECK(refusal([&] {
          (void)distance_outside(Eigen::Vector2d(5, 0), Tokens<double, 2>::Zero(2, 3));
        }).starts_with("distance_outside: vertices do not turn left at vertex 1"));
  CHECK(refusal([&] { (void)support(clockwise, Eigen::Vector3d::Ones()); }) ==
        "support: direction is 3 x 1, expected 2 x 1, as the tokens are");
  CHECK(refusal([&] { (void)support(clockwise, Eigen::Vector2d(nan, 1)); }) ==
        "support: column 0 of direction is (nan   1), expected finite numbers");
  CHECK(refusal([&] { (void)support(x, Eigen::Vector2d::Ones()); }) ==
        "support: the inner product with column 1 of tokens is nan, expected a finite number");
  CHECK(refusal([&] { (void)support(Tokens<double, 2>::Constant(2, 1, 1e308), Eigen::Vector2d(10, 0)); }) ==
        "support: the inner product with column 0 of tokens is inf, expected a finite number");
}
