/// \file
/// The convex hull of tokens on the line and in the plane, and the support function in any dimension.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

namespace attnflow {

namespace detail {

template <class Derived>
void validate_columns(const char* function, const char* name, const Eigen::MatrixBase<Derived>& x) {
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    if (!x.col(i).allFinite())
      refuse(function, ": column ", i, " of ", name, " is (", x.col(i).transpose(),
             "), expected finite numbers");
}

using Plane = Eigen::Matrix<double, 2, Eigen::Dynamic>;

/// The power of two that takes coordinates up to `largest` to 2⁵⁰⁰: products of two then neither
/// overflow nor, unless one of them is under 10⁻²⁸⁰ of the largest, underflow.
[[nodiscard]] inline int plane_shift(double largest) { return largest > 0 ? 500 - std::ilogb(largest) : 0; }

[[nodiscard]] inline Plane scaled_plane(const Plane& points, int shift) {
  return points.unaryExpr([shift](double value) { return std::ldexp(value, shift); });
}

/// The sign, exact, of
///
///     (b − a) × (c − a) = (b₀ − a₀)(c₁ − a₁) − (b₁ − a₁)(c₀ − a₀),
///
/// positive where a, b, c turn left. First in plain arithmetic with a bound of its error, and if that
/// does not decide, as a sum of six exact products in an expansion: numbers of increasing magnitude
/// whose bits do not overlap, so that the last one tells the sign [She97]. \pre scaled coordinates.
template <class Point>
[[nodiscard]] int orientation(const Point& a, const Point& b, const Point& c) {
  const double left = (b(0) - a(0)) * (c(1) - a(1));
  const double right = (b(1) - a(1)) * (c(0) - a(0));
  const double determinant = left - right;
  constexpr double half_epsilon = std::numeric_limits<double>::epsilon() / 2;
  const double bound = (3 + 16 * half_epsilon) * half_epsilon * (std::abs(left) + std::abs(right));
  if (determinant > bound) return 1;
  if (determinant < -bound) return -1;

  std::array<double, 12> expansion{};
  std::size_t length = 0;
  const auto add = [&](double term) {
    for (std::size_t k = 0; k < length; ++k) {  // term + expansion[k] = sum + rest, exactly
      const double sum = term + expansion[k];
      const double virtual_part = sum - term;
      expansion[k] = (term - (sum - virtual_part)) + (expansion[k] - virtual_part);
      term = sum;
    }
    expansion[length++] = term;
  };
  const auto add_product = [&](double p, double q) {
    const double product = p * q;
    add(std::fma(p, q, -product));
    add(product);
  };
  add_product(b(0), c(1));
  add_product(-b(0), a(1));
  add_product(-a(0), c(1));
  add_product(-b(1), c(0));
  add_product(b(1), a(0));
  add_product(a(1), c(0));
  for (std::size_t k = length; k-- > 0;)
    if (expansion[k] != 0) return expansion[k] > 0 ? 1 : -1;
  return 0;
}

/// Andrew's monotone chain [And79]: the lower and then the upper boundary, from left to right and back.
[[nodiscard]] inline std::vector<Eigen::Index> planar_hull(const Plane& original) {
  std::vector<Eigen::Index> order(static_cast<std::size_t>(original.cols()));
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  const auto point = [&](Eigen::Index i) { return std::array{original(0, i), original(1, i)}; };
  std::ranges::sort(order, [&](Eigen::Index i, Eigen::Index j) {
    return point(i) != point(j) ? point(i) < point(j) : i < j;
  });
  const auto equal = [&](Eigen::Index i, Eigen::Index j) { return point(i) == point(j); };
  order.erase(std::unique(order.begin(), order.end(), equal), order.end());  // the smallest index stays
  if (order.size() < 3) return order;

  const Plane x = scaled_plane(original, plane_shift(original.cwiseAbs().maxCoeff()));
  std::vector<Eigen::Index> hull;
  const auto walk = [&](Eigen::Index i, std::size_t fixed) {
    while (hull.size() > fixed &&
           orientation(x.col(hull[hull.size() - 2]), x.col(hull.back()), x.col(i)) <= 0)
      hull.pop_back();
    hull.push_back(i);
  };
  for (auto i = order.begin(); i != order.end(); ++i) walk(*i, 1);
  const std::size_t lower = hull.size();
  for (auto i = order.rbegin() + 1; i != order.rend(); ++i) walk(*i, lower);
  hull.pop_back();  // the walk ends where it began
  return hull;
}

/// The distance from p to the segment from a to b. \pre differences do not overflow.
template <class Point>
[[nodiscard]] double distance_to_segment(const Point& p, const Point& a, const Point& b) {
  const double to_a = std::hypot(p(0) - a(0), p(1) - a(1));
  const double length = std::hypot(b(0) - a(0), b(1) - a(1));
  if (!(length > 0)) return to_a;
  const double u = (b(0) - a(0)) / length, v = (b(1) - a(1)) / length;
  const double along = u * (p(0) - a(0)) + v * (p(1) - a(1));
  if (along <= 0) return to_a;
  if (along >= length) return std::hypot(p(0) - b(0), p(1) - b(1));
  return std::abs(u * (p(1) - a(1)) - v * (p(0) - a(0)));
}

}  // namespace detail

/// The extreme points of conv{x₁ … xₙ}, as indices of columns; d = 1 or 2.
///
/// d = 2: counter-clockwise from the leftmost token (the lower one of two). d = 1: the smallest, then
/// the largest. No index stands for a point inside an edge. Equal tokens are represented by the smallest
/// index. All tokens equal: one index. All on a line: two. n = 0: none.
///
/// The turns are decided exactly, so that the answer is that of exact arithmetic on the given numbers,
/// as long as no coordinate other than 0 is under 10⁻²⁸⁰ of the largest. (Options that give up IEEE
/// arithmetic, such as -ffast-math, void this.) O(n log n) time, O(n) memory.
/// \throws std::invalid_argument unless d is 1 or 2 and every token is finite.
template <class Derived>
requires RealScalar<typename Derived::Scalar>
[[nodiscard]] std::vector<Eigen::Index> convex_hull(const Eigen::MatrixBase<Derived>& tokens) {
  const Eigen::Index d = tokens.rows(), n = tokens.cols();
  if (d > 2 || (d < 1 && n > 0))
    detail::refuse("convex_hull: tokens have d = ", d, ", expected d = 1 or d = 2");
  detail::validate_columns("convex_hull", "tokens", tokens);
  if (n == 0) return {};
  if (d == 2) {
    const Eigen::MatrixXd any =
        tokens.template cast<double>();  // which compiles for a fixed d other than 2, too
    return detail::planar_hull(any);
  }
  Eigen::Index smallest = 0, largest = 0;
  for (Eigen::Index i = 1; i < n; ++i) {
    if (tokens(0, i) < tokens(0, smallest)) smallest = i;
    if (tokens(0, i) > tokens(0, largest)) largest = i;
  }
  if (smallest == largest) return {smallest};
  return {smallest, largest};
}

/// The Euclidean distance from a point to the convex polygon with the given vertices, 0 inside and on
/// the boundary; d = 1 or 2.
///
/// vertices: d × m, for d = 2 as convex_hull orders them, tokens(Eigen::all, convex_hull(tokens)). One
/// vertex is a point, two are a segment, none are as far as infinity. Whether the point is inside is
/// decided exactly (with convex_hull's proviso); the distance is rounded, to a few ε of the size of
/// point and polygon. O(m).
/// \throws std::invalid_argument unless d is 1 or 2 and the same for both, all numbers are finite, and
/// three or more vertices turn left at each (it is not noticed if they go round more than once).
template <class PointType, class Derived>
requires RealScalar<typename PointType::Scalar> && RealScalar<typename Derived::Scalar>
[[nodiscard]] double distance_outside(const Eigen::MatrixBase<PointType>& point,
                                      const Eigen::MatrixBase<Derived>& vertices) {
  const Eigen::Index d = vertices.rows(), m = vertices.cols();
  if (d < 1 || d > 2) detail::refuse("distance_outside: vertices have d = ", d, ", expected d = 1 or d = 2");
  if (point.rows() != d || point.cols() != 1)
    detail::refuse("distance_outside: point is ", point.rows(), " x ", point.cols(), ", expected ", d,
                   " x 1, as the vertices are");
  detail::validate_columns("distance_outside", "vertices", vertices);
  detail::validate_columns("distance_outside", "point", point);
  if (m == 0) return std::numeric_limits<double>::infinity();

  detail::Plane all = detail::Plane::Zero(2, m + 1);                 // the vertices and, last, the point
  const Eigen::MatrixXd corners = vertices.template cast<double>();  // fixed sizes other than 2 compile, too
  const Eigen::MatrixXd single = point.template cast<double>();
  all.topLeftCorner(d, m) = corners;
  all.topRightCorner(d, 1) = single;
  const int shift = detail::plane_shift(all.cwiseAbs().maxCoeff());
  const detail::Plane scaled = detail::scaled_plane(all, shift);
  const auto unscaled = [shift](double distance) { return std::ldexp(distance, -shift); };
  const Eigen::Vector2d p = scaled.col(m);
  if (d == 1) {
    const double below = scaled.row(0).head(m).minCoeff() - p(0);
    const double above = p(0) - scaled.row(0).head(m).maxCoeff();
    return unscaled(std::max({below, above, 0.0}));
  }
  const auto vertex = [&](Eigen::Index k) -> Eigen::Vector2d { return scaled.col(k % m); };
  if (m < 3) return unscaled(detail::distance_to_segment(p, vertex(0), vertex(1)));
  double nearest = std::numeric_limits<double>::infinity();
  for (Eigen::Index k = 0; k < m; ++k) {
    if (detail::orientation(vertex(k), vertex(k + 1), vertex(k + 2)) <= 0)
      detail::refuse("distance_outside: vertices do not turn left at vertex ", (k + 1) % m,
                     ", expected those of a convex polygon, counter-clockwise");
    if (detail::orientation(vertex(k), vertex(k + 1), p) < 0)
      nearest = std::min(nearest, detail::distance_to_segment(p, vertex(k), vertex(k + 1)));
  }
  return std::isfinite(nearest) ? unscaled(nearest) : 0;
}

/// The support function of the tokens' convex hull:
///
///     h(u) = maxᵢ ⟨u, xᵢ⟩,   −∞ for n = 0.
///
/// tokens: d × n, any d; direction: d, of any length. Summed in double. O(n d).
/// \throws std::invalid_argument unless the direction has d coordinates, all finite, and every ⟨u, xᵢ⟩ is
/// finite: neither a token that is not nor an overflow passes in silence.
template <class Derived, class Direction>
requires RealScalar<typename Derived::Scalar> && RealScalar<typename Direction::Scalar>
[[nodiscard]] double support(const Eigen::MatrixBase<Derived>& tokens,
                             const Eigen::MatrixBase<Direction>& direction) {
  if (direction.rows() != tokens.rows() || direction.cols() != 1)
    detail::refuse("support: direction is ", direction.rows(), " x ", direction.cols(), ", expected ",
                   tokens.rows(), " x 1, as the tokens are");
  detail::validate_columns("support", "direction", direction);
  const Eigen::VectorXd u = direction.template cast<double>();
  double largest = -std::numeric_limits<double>::infinity();
  for (Eigen::Index i = 0; i < tokens.cols(); ++i) {
    const double product = tokens.col(i).template cast<double>().dot(u);
    if (!std::isfinite(product))
      detail::refuse("support: the inner product with column ", i, " of tokens is ", product,
                     ", expected a finite number");
    largest = std::max(largest, product);
  }
  return largest;
}

}  // namespace attnflow
