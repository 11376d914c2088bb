#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/geometry/distance_to_hull.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

using attnflow::distance_to_hull;
using attnflow::hausdorff_distance;
using attnflow::hull_hausdorff;
using attnflow::in_hull;
using attnflow::nearest_point;
using attnflow::NearestPoint;
using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using Real = long double;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// The weights c, ∑ c = 1, of the point ∑ cᵢ aᵢ of an affine hull nearest to 0, by elimination with complete
/// pivoting in the bordered system of Gram's matrix; nothing if that is nearly singular.
std::vector<Real> affine_weights(const std::vector<std::vector<Real>>& a) {
  const std::size_t n = a.size() + 1;
  std::vector<std::vector<Real>> A(n, std::vector<Real>(n + 1, 1));  // and the right side, last
  Real scale = 1;
  for (std::size_t i = 0; i + 1 < n; ++i) {
    for (std::size_t j = 0; j + 1 < n; ++j) {
      A[i][j] = 0;
      for (std::size_t k = 0; k < a[i].size(); ++k) A[i][j] += a[i][k] * a[j][k];
      scale = std::max(scale, std::abs(A[i][j]));
    }
    A[i][n] = 0;
  }
  A[n - 1][n - 1] = 0;
  std::vector<std::size_t> place(n);
  for (std::size_t k = 0; k < n; ++k) place[k] = k;
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t row = k, col = k;
    for (std::size_t i = k; i < n; ++i)
      for (std::size_t j = k; j < n; ++j)
        if (std::abs(A[i][j]) > std::abs(A[row][col])) {
          row = i;
          col = j;
        }
    if (std::abs(A[row][col]) <= 1e-14L * scale) return {};
    std::swap(A[k], A[row]);
    for (std::size_t i = 0; i < n; ++i) std::swap(A[i][k], A[i][col]);
    std::swap(place[k], place[col]);
    for (std::size_t i = 0; i < n; ++i) {
      if (i == k) continue;
      const Real factor = A[i][k] / A[k][k];
      for (std::size_t j = 0; j <= n; ++j) A[i][j] -= factor * A[k][j];
    }
  }
  std::vector<Real> x(n);
  for (std::size_t k = 0; k < n; ++k) x[place[k]] = A[k][n] / A[k][k];
  x.pop_back();  // the multiplier
  return x;
}

/// The distance as the smallest over all sets of at most d + 1 vertices: from the nearest point of the affine
/// hull, where that is in the simplex.
double distance_by_subsets(const VectorXd& p, const MatrixXd& v) {
  Real nearest = std::numeric_limits<Real>::infinity();
  for (std::uint32_t set = 1; set < (1u << v.cols()); ++set) {
    if (std::popcount(set) > p.size() + 1) continue;
    std::vector<std::vector<Real>> chosen;
    for (Index j = 0; j < v.cols(); ++j) {
      if (!((set >> j) & 1u)) continue;
      chosen.emplace_back();
      for (Index k = 0; k < p.size(); ++k)
        chosen.back().push_back(static_cast<Real>(v(k, j)) - static_cast<Real>(p(k)));
    }
    const std::vector<Real> c = chosen.size() == 1 ? std::vector<Real>{1} : affine_weights(chosen);
    if (c.empty() || std::ranges::any_of(c, [](Real weight) { return weight < 0; })) continue;
    Real squares = 0;
    for (std::size_t k = 0; k < chosen[0].size(); ++k) {
      Real coordinate = 0;
      for (std::size_t i = 0; i < c.size(); ++i) coordinate += c[i] * chosen[i][k];
      squares += coordinate * coordinate;
    }
    nearest = std::min(nearest, std::sqrt(squares));
  }
  return static_cast<double>(nearest);
}

/// What every answer has to satisfy; returns the distance.
double checked_distance(const VectorXd& p, const MatrixXd& vertices) {
  const NearestPoint found = nearest_point(p, vertices);
  const double reach = (vertices.colwise() - p).colwise().norm().maxCoeff();
  const double size = reach + vertices.colwise().norm().maxCoeff();
  const double rounding = 10 * std::sqrt(static_cast<double>(p.size())) * epsilon;
  CHECK((found.weights.array() >= 0).all());
  CHECK(found.weights.sum() == Approx(1).epsilon(1e-14));
  CHECK((found.weights.array() > 0).count() <= p.size() + 1);
  CHECK((found.point - vertices * found.weights).norm() <= rounding * size);
  CHECK(std::abs((found.point - p).norm() - found.distance) <= rounding * size);
  CHECK(found.gap >= 0);
  CHECK(found.gap <= rounding * reach);
  CHECK(distance_to_hull(p, vertices) == found.distance);
  return found.distance;
}

VectorXd point(double x, double y) { return Eigen::Vector2d(x, y); }

MatrixXd draws(std::mt19937_64& generator, Index rows, Index cols, double low = -1, double high = 1) {
  MatrixXd x(rows, cols);
  for (double& value : x.reshaped())
    value = low + (high - low) * (static_cast<double>(generator() >> 11) * 0x1p-53);
  return x;
}

VectorXd draw(std::mt19937_64& generator, Index d, double low = -1, double high = 1) {
  return draws(generator, d, 1, low, high);
}

/// A reflection with no zero in it.
MatrixXd orthogonal(Index d) {
  VectorXd u(d);
  for (Index k = 0; k < d; ++k) u(k) = 1 + 0.1 * static_cast<double>(k % 7);
  u /= u.norm();
  return MatrixXd::Identity(d, d) - 2 * u * u.transpose();
}

}  // namespace

TEST_CASE("the distance is the smallest over all simplices of vertices", "[polytope]") {
  std::mt19937_64 generator(1);
  int inside = 0, outside = 0;
  for (const Index d : {1, 2, 3, 4})
    for (int repeat = 0; repeat < 60; ++repeat) {
      const auto m = static_cast<Index>(1 + generator() % 8);
      MatrixXd v = draws(generator, d, m);
      if (repeat % 3 == 1) v = (3 * v).array().round();  // coincident and dependent vertices
      if (repeat % 3 == 2) v.row(d - 1).setZero();
      const VectorXd p = repeat % 2 == 0 ? draw(generator, d, -0.4, 0.4)
                                         : VectorXd((2 * draw(generator, d)).array().round());
      const double expected = distance_by_subsets(p, v);
      const double reach = (v.colwise() - p).colwise().norm().maxCoeff();
      // In long double the oracle is right to the square root of its own singular pivots' rounding, 1e-14.
      CHECK(std::abs(checked_distance(p, v) - expected) <= 40 * epsilon * reach);
      (expected > 1e-10 ? outside : inside) += 1;
    }
  CHECK(inside > 20);
  CHECK(outside > 60);
}

TEST_CASE("tiny distances are right to rounding of the size", "[polytope]") {
  std::mt19937_64 generator(2);
  for (const Index d : {2, 3, 5, 20, 64}) {
    // A facet in the plane of the first d − 1 coordinates, the rest of the hull below it, the point above.
    const Index m = 4 * d;
    MatrixXd v = draws(generator, d, m);
    v.row(d - 1).head(2 * d).setZero();
    v.row(d - 1).tail(m - 2 * d) = v.row(d - 1).tail(m - 2 * d).cwiseAbs() * -1;
    const MatrixXd R = orthogonal(d);
    VectorXd weights = draw(generator, 2 * d, 0, 1);
    weights /= weights.sum();
    for (const double height : {0., 1e-14, 1e-12, 1e-9, 1e-3, 1.}) {
      VectorXd p = v.leftCols(2 * d) * weights;
      p(d - 1) = height;
      const double scale = std::sqrt(static_cast<double>(d));  // of the vertices and their rotation
      CHECK(std::abs(checked_distance(p, v) - height) <= 20 * scale * epsilon);
      CHECK(std::abs(checked_distance(R * p, R * v) - height) <= 40 * scale * scale * epsilon);
    }
    const VectorXd deep = 0.5 * v.rowwise().mean() + 0.5 * (v.leftCols(2 * d) * weights);
    CHECK(checked_distance(deep, v) <= 20 * std::sqrt(static_cast<double>(d)) * epsilon);
  }
}

TEST_CASE("the distance to a box is that of its coordinates", "[polytope]") {
  std::mt19937_64 generator(3);
  for (const Index d : {1, 2, 3, 6, 10}) {
    const MatrixXd box = MatrixXd::NullaryExpr(
        d, Index{1} << d, [](Index k, Index j) { return static_cast<double>((j >> k) & 1); });
    for (int repeat = 0; repeat < 20; ++repeat) {
      const VectorXd p = draw(generator, d, -1, 2);
      const VectorXd q = p.cwiseMax(0).cwiseMin(1);
      CHECK(std::abs(checked_distance(p, box) - (p - q).norm()) <= 10 * static_cast<double>(d) * epsilon);
      CHECK((nearest_point(p, box).point - q).norm() <= 1e-7);  // √(gap ‖p − q‖)
    }
  }
}

TEST_CASE("points of many vertices in many dimensions are inside, and others certified", "[polytope]") {
  std::mt19937_64 generator(4);
  const Index d = 128, m = 2000;
  const MatrixXd v = draws(generator, d, m);
  VectorXd weights = draw(generator, m, 0, 1);
  weights /= weights.sum();
  CHECK(checked_distance(v * weights, v) <= 1e-13);
  CHECK(checked_distance(v.col(17), v) == 0);
  CHECK(checked_distance(2 * draw(generator, d), v) > 1);
  CHECK(checked_distance(0.5 * v.col(3) + 0.5 * v.col(4), v) <= 1e-13);
}

TEST_CASE("dependent and nearly dependent vertices are no trouble", "[polytope]") {
  std::mt19937_64 generator(5);
  for (const double noise : {0., 1e-300, 1e-17, 1e-16, 1e-15, 1e-13, 1e-10, 1e-8, 1e-5})
    for (int repeat = 0; repeat < 20; ++repeat) {
      const Index d = 3 + repeat % 4;
      // Crowds around three points, so that the hull is a triangle up to noise.
      const MatrixXd corners = draws(generator, d, 3);
      MatrixXd v(d, 60);
      for (Index j = 0; j < 60; ++j) v.col(j) = corners.col(j % 3) + noise * draw(generator, d);
      const VectorXd p = draw(generator, d);
      const double distance = checked_distance(p, v), expected = distance_by_subsets(p, corners);
      CHECK(std::abs(distance - expected) <= noise * static_cast<double>(d) + 100 * epsilon);
      const VectorXd centre = corners.rowwise().mean();
      CHECK(checked_distance(centre, v) <= noise * static_cast<double>(d) + 20 * epsilon);
    }
}

TEST_CASE("in the plane it is the exact test's distance", "[polytope]") {
  std::mt19937_64 generator(6);
  for (int repeat = 0; repeat < 200; ++repeat) {
    const MatrixXd x = draws(generator, 2, static_cast<Index>(1 + generator() % 30));
    const MatrixXd vertices = x(Eigen::placeholders::all_t(), attnflow::convex_hull(x));
    const VectorXd p = 1.5 * draw(generator, 2);
    CHECK(std::abs(distance_to_hull(p, x) - attnflow::distance_outside(p, vertices)) <= 40 * epsilon);
  }
}

TEST_CASE("no scale overflows or vanishes, and powers of two change nothing", "[polytope]") {
  std::mt19937_64 generator(7);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const MatrixXd v = draws(generator, 4, 9);
    const VectorXd p = draw(generator, 4);
    const NearestPoint at_one = nearest_point(p, v);
    for (const double power : {0x1p1020, 0x1p500, 0x1p-500, 0x1p-960}) {
      const NearestPoint found = nearest_point(VectorXd(p * power), MatrixXd(v * power));
      CHECK(found.distance == at_one.distance * power);
      CHECK(found.gap == at_one.gap * power);
      CHECK(found.weights == at_one.weights);
      CHECK(found.point == at_one.point * power);
    }
  }
  const double huge = std::numeric_limits<double>::max(), inf = std::numeric_limits<double>::infinity();
  const VectorXd corner = point(huge, huge);
  CHECK(distance_to_hull(point(-huge, -huge), corner) == inf);
  CHECK(nearest_point(point(-huge, -huge), corner).point == corner);
  CHECK(distance_to_hull(point(-huge / 4, 0), point(huge / 4, 0)) == huge / 2);
  CHECK(distance_to_hull(point(5e-324, 0), point(0, 0)) == 5e-324);
  const MatrixXd widest = (MatrixXd(2, 2) << -huge, huge, 0, 0).finished();  // differences overflow
  CHECK(distance_to_hull(point(0.9 * huge, 0), widest) <= 20 * epsilon * huge);
  CHECK(distance_to_hull(point(0.9 * huge, 0.5 * huge), widest) == Approx(0.5 * huge));
  // A far point: the nearest point keeps the hull's digits.
  const MatrixXd segment = (MatrixXd(2, 2) << 0.1, 0.1, -1e-3, 2e-3).finished();
  const VectorXd q = nearest_point(point(1e12, 0), segment).point;
  CHECK(q(0) == Approx(0.1).epsilon(1e-15));
}

TEST_CASE("few vertices, or none", "[polytope]") {
  const double inf = std::numeric_limits<double>::infinity();
  const MatrixXd nothing(2, 0);
  const NearestPoint none = nearest_point(point(0, 0), nothing);
  CHECK(none.distance == inf);
  CHECK(none.point.size() == 0);
  CHECK(none.weights.size() == 0);
  CHECK_FALSE(in_hull(point(0, 0), nothing, 1e300));
  CHECK(checked_distance(point(3, 4), point(0, 0)) == 5);
  CHECK(checked_distance(point(3, 4), MatrixXd::Zero(2, 7)) == 5);
  CHECK(checked_distance(point(3, 4), point(3, 4)) == 0);
  const MatrixXd interval = (MatrixXd(1, 3) << -1, 2, 0).finished();
  CHECK(checked_distance(VectorXd::Constant(1, 2.5), interval) == 0.5);
  CHECK(checked_distance(VectorXd::Constant(1, -3), interval) == 2);
  CHECK(checked_distance(VectorXd::Constant(1, 0.3), interval) == 0);
  CHECK(distance_to_hull(Eigen::Vector2f(0, 3), Eigen::Matrix2f::Identity()) == 2);
  const MatrixXd segment = MatrixXd::Identity(2, 2);
  CHECK(in_hull(point(0.5, 0.5), segment, 1e-15));
  CHECK(in_hull(point(1, 1), segment, 0.71));
  CHECK_FALSE(in_hull(point(1, 1), segment, 0.70));
}

TEST_CASE("the Hausdorff distance between hulls", "[polytope]") {
  const double inf = std::numeric_limits<double>::infinity();
  const MatrixXd square = (MatrixXd(2, 4) << -1, 1, 1, -1, -1, -1, 1, 1).finished();
  const MatrixXd large = 3 * square, nothing(2, 0);
  CHECK(hull_hausdorff(large, square) == Approx(2 * std::sqrt(2.)).epsilon(1e-15));
  CHECK(hull_hausdorff(square, large) <= 20 * epsilon);
  CHECK(hausdorff_distance(square, large) == hull_hausdorff(large, square));
  // Neither inside the other: (4, 0) is 3 from the square, the corners (−1, ±1) are √2 from the segment.
  const MatrixXd segment = (MatrixXd(2, 2) << 0, 4, 0, 0).finished();
  CHECK(hull_hausdorff(segment, square) == Approx(3));
  CHECK(hull_hausdorff(square, segment) == Approx(std::sqrt(2.)));
  CHECK(hausdorff_distance(square, segment) == Approx(3));
  CHECK(hausdorff_distance(segment, square) == Approx(3));
  CHECK(hull_hausdorff(nothing, square) == 0);
  CHECK(hull_hausdorff(square, nothing) == inf);
  CHECK(hull_hausdorff(nothing, nothing) == 0);
  CHECK(hausdorff_distance(nothing, square) == inf);

  // Against the support functions: max over unit u of h_outer(u) − h_inner(u) is the distance for nested hulls.
  std::mt19937_64 generator(8);
  for (int repeat = 0; repeat < 10; ++repeat) {
    const MatrixXd outer = draws(generator, 3, 12);
    MatrixXd mix = draws(generator, 12, 8, 0, 1);
    for (Index j = 0; j < mix.cols(); ++j) mix.col(j) /= mix.col(j).sum();
    const MatrixXd inner = outer * mix;
    const double distance = hull_hausdorff(outer, inner);
    double sampled = 0;
    for (int k = 0; k < 4000; ++k) {
      const VectorXd u = draw(generator, 3).normalized();
      sampled = std::max(sampled, attnflow::support(outer, u) - attnflow::support(inner, u));
    }
    CHECK(sampled <= distance + 20 * epsilon);
    CHECK(sampled >= 0.97 * distance);  // 4000 directions: some within 0.1 of any, cos 0.1 > 0.99, ‖x‖ ≤ √3
  }
}

TEST_CASE("what has no distance to a hull is refused in words", "[polytope]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  MatrixXd v = MatrixXd::Zero(2, 3);
  const VectorXd p = point(1, 1);
  CHECK(refusal([&] { (void)nearest_point(VectorXd(VectorXd::Zero(3)), v); }) ==
        "nearest_point: point is 3 x 1, expected 2 x 1, as the vertices are");
  CHECK(refusal([&] { (void)distance_to_hull(MatrixXd(MatrixXd::Zero(2, 2)), v); }) ==
        "distance_to_hull: point is 2 x 2, expected 2 x 1, as the vertices are");
  CHECK(refusal([&] { (void)nearest_point(point(inf, 0), v); }) ==
        "nearest_point: column 0 of point is (inf   0), expected finite numbers");
  CHECK(refusal([&] { (void)in_hull(p, v, -1); }) ==
        "in_hull: tol is -1, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)in_hull(p, v, nan); }) ==
        "in_hull: tol is nan, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)hull_hausdorff(v, MatrixXd(MatrixXd::Zero(3, 2))); }) ==
        "hull_hausdorff: outer has d = 2 and inner has d = 3, expected the same");
  v(0, 1) = nan;
  CHECK(refusal([&] { (void)distance_to_hull(p, v); }) ==
        "distance_to_hull: column 1 of vertices is (nan   0), expected finite numbers");
  CHECK(refusal([&] { (void)in_hull(p, v, 1); }) ==
        "in_hull: column 1 of vertices is (nan   0), expected finite numbers");
  CHECK(refusal([&] { (void)hull_hausdorff(p, v); }) ==
        "hull_hausdorff: column 1 of inner is (nan   0), expected finite numbers");
  CHECK(refusal([&] { (void)hausdorff_distance(v, p); }) ==
        "hausdorff_distance: column 1 of a is (nan   0), expected finite numbers");
}
