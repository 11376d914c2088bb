/// \file
/// The convex hull of tokens on the line, in the plane and in space; the support function in any dimension.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/detail/orientation.hpp>
#include <attnflow/geometry/detail/planar_hull.hpp>
#include <attnflow/geometry/detail/spatial_hull.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

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

/// The extreme points of conv{x₁ … xₙ}, as indices of columns; d = 1, 2 or 3.
///
/// d = 3: in increasing order. d = 2: counter-clockwise from the leftmost token (the lower one of two).
/// d = 1: the smallest, then the largest. No index stands for a point inside an edge or a facet. Equal
/// tokens are represented by the smallest index. All tokens equal: one index. All on a line: two; in a
/// plane: the hull in that plane. n = 0: none.
///
/// On which side of a line or plane a point lies is decided exactly, so that the answer is that of exact
/// arithmetic on the given numbers; coordinates under 10⁻²⁸⁰ (d = 3: 10⁻¹⁸⁰) of the largest count as 0.
/// (Options that give up IEEE arithmetic, such as -ffast-math, void this.) O(n log n) time,
/// for d = 3 usually, at worst O(n h) with h points on the surface; O(n) memory.
/// \throws std::invalid_argument unless d is 1, 2 or 3 and every token is finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] std::vector<Eigen::Index> convex_hull(const Eigen::MatrixBase<Derived>& tokens) {
  const Eigen::Index d = tokens.rows(), n = tokens.cols();
  if (d > 3 || (d < 1 && n > 0))
    detail::refuse("convex_hull: tokens have d = ", d, ", expected d = 1, 2 or 3");
  detail::refuse_unless_finite("convex_hull", "tokens", tokens, "column");
  if (n == 0) return {};
  if (d > 1) {
    const Eigen::MatrixXd any = tokens.template cast<double>();  // compiles for any fixed d
    return d == 2 ? detail::planar_hull(any) : detail::spatial_hull(any);
  }
  Eigen::Index smallest = 0, largest = 0;
  for (Eigen::Index i = 1; i < n; ++i) {
    if (tokens(0, i) < tokens(0, smallest)) smallest = i;
    if (tokens(0, i) > tokens(0, largest)) largest = i;
  }
  if (smallest == largest) return {smallest};
  return {smallest, largest};
}

/// The surface of a convex hull in space.
struct Hull3 {
  std::vector<Eigen::Index> vertices;               ///< as convex_hull gives them
  std::vector<std::array<Eigen::Index, 3>> facets;  ///< triangles, counter-clockwise as seen from outside
};

/// The extreme points of tokens in space, and triangles between them that make up the hull's surface: for
/// h > 3 extreme points not in a plane 2h − 4 of them, flat facets of more corners being cut up. Tokens in
/// a plane have no facets. The same promises and cost as convex_hull.
/// \throws std::invalid_argument unless d = 3 and every token is finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Hull3 hull_facets(const Eigen::MatrixBase<Derived>& tokens) {
  if (tokens.rows() != 3) detail::refuse("hull_facets: tokens have d = ", tokens.rows(), ", expected d = 3");
  detail::refuse_unless_finite("hull_facets", "tokens", tokens, "column");
  Hull3 hull;
  const Eigen::MatrixXd any = tokens.template cast<double>();
  hull.vertices = detail::spatial_hull(any);
  // Points inside facets and edges may be corners of triangles: once more, without them.
  const Eigen::MatrixXd corners = any(Eigen::placeholders::all_t(), hull.vertices);
  (void)detail::spatial_hull(corners, &hull.facets);
  for (std::array<Eigen::Index, 3>& facet : hull.facets)
    for (Eigen::Index& corner : facet) corner = hull.vertices[static_cast<std::size_t>(corner)];
  return hull;
}

/// The Euclidean distance from a point to the convex polygon with the given vertices, 0 inside and on
/// the boundary; d = 1 or 2.
///
/// vertices: d × m, for d = 2 as convex_hull orders them: the columns convex_hull(tokens) of tokens. One vertex is a
/// point, two are a segment, none are as far as infinity. Whether the point is inside is decided exactly
/// unless a coordinate other than 0 is under 10⁻²⁸⁰ of the largest; the distance is rounded, to a few ε of
/// the size of point and polygon. O(m).
/// \throws std::invalid_argument unless d is 1 or 2 and the same for both, all numbers are finite, and
/// three or more vertices turn left at each (it is not noticed if they go round more than once).
template <class PointType, class Derived>
requires KernelScalar<typename PointType::Scalar> && KernelScalar<typename Derived::Scalar>
[[nodiscard]] double distance_outside(const Eigen::MatrixBase<PointType>& point,
                                      const Eigen::MatrixBase<Derived>& vertices) {
  const Eigen::Index d = vertices.rows(), m = vertices.cols();
  if (d < 1 || d > 2) detail::refuse("distance_outside: vertices have d = ", d, ", expected d = 1 or d = 2");
  if (point.rows() != d || point.cols() != 1)
    detail::refuse("distance_outside: point is ", point.rows(), " x ", point.cols(), ", expected ", d,
                   " x 1, as the vertices are");
  detail::refuse_unless_finite("distance_outside", "vertices", vertices, "column");
  detail::refuse_unless_finite("distance_outside", "point", point, "column");
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
    return unscaled((std::max)({below, above, 0.0}));
  }
  const auto vertex = [&](Eigen::Index k) -> Eigen::Vector2d { return scaled.col(k % m); };
  if (m < 3) return unscaled(detail::distance_to_segment(p, vertex(0), vertex(1)));
  double nearest = std::numeric_limits<double>::infinity();
  for (Eigen::Index k = 0; k < m; ++k) {
    if (detail::orientation(vertex(k), vertex(k + 1), vertex(k + 2)) <= 0)
      detail::refuse("distance_outside: vertices do not turn left at vertex ", (k + 1) % m,
                     ", expected those of a convex polygon, counter-clockwise");
    if (detail::orientation(vertex(k), vertex(k + 1), p) < 0)
      nearest = (std::min)(nearest, detail::distance_to_segment(p, vertex(k), vertex(k + 1)));
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
requires KernelScalar<typename Derived::Scalar> && KernelScalar<typename Direction::Scalar>
[[nodiscard]] double support(const Eigen::MatrixBase<Derived>& tokens,
                             const Eigen::MatrixBase<Direction>& direction) {
  if (direction.rows() != tokens.rows() || direction.cols() != 1)
    detail::refuse("support: direction is ", direction.rows(), " x ", direction.cols(), ", expected ",
                   tokens.rows(), " x 1, as the tokens are");
  detail::refuse_unless_finite("support", "direction", direction, "column");
  const Eigen::VectorXd u = direction.template cast<double>();
  double largest = -std::numeric_limits<double>::infinity();
  for (Eigen::Index i = 0; i < tokens.cols(); ++i) {
    const double product = tokens.col(i).template cast<double>().dot(u);
    if (!std::isfinite(product))
      detail::refuse("support: the inner product with column ", i, " of tokens is ", product,
                     ", expected a finite number");
    largest = (std::max)(largest, product);
  }
  return largest;
}

}}  // namespace attnflow
