/// \file
/// The nearest point of a convex hull in any dimension, and the Hausdorff distance between hulls.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/detail/min_norm_point.hpp>
#include <attnflow/numerics/scale.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The nearest point q of a convex hull to a point p. Without vertices there is no q: the distance is
/// infinite, point and weights have size 0.
struct NearestPoint {
  double distance = 0;      ///< ‖p − q‖
  Eigen::VectorXd point;    ///< q (d)
  Eigen::VectorXd weights;  ///< m: none negative, sum one, q = ∑ₖ wₖ vₖ; at most d + 1 are positive
  double gap = 0;           ///< ‖p − q‖ exceeds the distance to the hull by no more (see nearest_point)
};

namespace detail {

/// nearest_point for what is known to be valid.
[[nodiscard]] inline NearestPoint nearest_point_of_hull(const Eigen::VectorXd& p, const Eigen::MatrixXd& v) {
  NearestPoint found;
  found.distance = std::numeric_limits<double>::infinity();
  if (v.cols() == 0) return found;
  // Scaled twice: first so that no difference overflows, then so that no square does or vanishes.
  const int coarse = (std::min)(unit_shift(p), unit_shift(v));
  const Eigen::MatrixXd corners = scaled_by_power(v, coarse);
  const Eigen::VectorXd origin = scaled_by_power(p, coarse);
  Eigen::MatrixXd differences = corners.colwise() - origin;
  const int fine = unit_shift(differences);
  differences = scaled_by_power(differences, fine);

  const MinNormPoint nearest = min_norm_point(differences);
  found.distance = std::ldexp(nearest.length, -coarse - fine);
  found.gap = std::ldexp(nearest.gap, -coarse - fine);
  found.weights = Eigen::VectorXd::Zero(v.cols());
  found.point = Eigen::VectorXd::Zero(v.rows());
  Eigen::Index i = 0;
  for (const Eigen::Index k : nearest.columns) {
    found.weights(k) = nearest.weights(i++);
    found.point += found.weights(k) * corners.col(k);  // keeps its digits if p is far away
  }
  found.point = scaled_by_power(found.point, -coarse);
  return found;
}

inline void validate_point_and_hull(const char* function, const Eigen::MatrixXd& point,
                                    const Eigen::MatrixXd& vertices) {
  if (point.rows() != vertices.rows() || point.cols() != 1)
    refuse(function, ": point is ", point.rows(), " x ", point.cols(), ", expected ", vertices.rows(),
           " x 1, as the vertices are");
  refuse_unless_finite(function, "vertices", vertices, "column");
  refuse_unless_finite(function, "point", point, "column");
}

[[nodiscard]] inline NearestPoint validated_nearest_point(const char* function, const Eigen::MatrixXd& point,
                                                          const Eigen::MatrixXd& vertices) {
  validate_point_and_hull(function, point, vertices);
  return nearest_point_of_hull(point, vertices);
}

[[nodiscard]] inline double one_sided_distance(const Eigen::MatrixXd& from, const Eigen::MatrixXd& to) {
  double largest = 0;
  for (Eigen::Index i = 0; i < from.cols(); ++i)
    largest = (std::max)(largest, nearest_point_of_hull(from.col(i), to).distance);
  return largest;
}

inline void validate_two_hulls(const char* function, const char* name_a, const Eigen::MatrixXd& a,
                               const char* name_b, const Eigen::MatrixXd& b) {
  if (a.rows() != b.rows())
    refuse(function, ": ", name_a, " has d = ", a.rows(), " and ", name_b, " has d = ", b.rows(),
           ", expected the same");
  refuse_unless_finite(function, name_a, a, "column");
  refuse_unless_finite(function, name_b, b, "column");
}

}  // namespace detail

/// The point of conv{v₁ … v_m} nearest to p, by Wolfe's algorithm [Wol76].
///
/// point: d; vertices: d × m, any d and m. They need not be extreme, distinct or affinely independent.
/// With q the point found, the answer is certified by the vertex that lies deepest on p's side of q,
///
///     ‖p − q‖ − gap ≤ dist(p, conv) ≤ ‖p − q‖,   gap = min(‖p − q‖, maxₖ ⟨p − q, vₖ − q⟩ / ‖p − q‖),
///
/// also ‖q − q*‖² ≤ gap ‖p − q‖ for the true q*. The gap, the distance and, for points of the hull, the
/// distance found instead of 0 are rounding: at most about 10 √d ε maxₖ ‖vₖ − p‖. The point q is right to
/// that and ε maxₖ ‖vₖ‖. Nothing overflows on the way; a distance beyond the largest double is infinite.
/// O(d m + d k²) for each of usually a few d steps, k ≤ d + 1; O(d (m + d)) memory.
/// \throws std::invalid_argument unless the point has as many coordinates as the vertices and all are finite.
template <class PointType, class Derived>
requires KernelScalar<typename PointType::Scalar> && KernelScalar<typename Derived::Scalar>
[[nodiscard]] NearestPoint nearest_point(const Eigen::MatrixBase<PointType>& point,
                                         const Eigen::MatrixBase<Derived>& vertices) {
  return detail::validated_nearest_point("nearest_point", point.template cast<double>(),
                                         vertices.template cast<double>());
}

/// The Euclidean distance from a point to conv{v₁ … v_m}, as nearest_point finds it; infinite for m = 0.
/// In one and two dimensions distance_outside decides exactly what is inside.
/// \throws std::invalid_argument as nearest_point.
template <class PointType, class Derived>
requires KernelScalar<typename PointType::Scalar> && KernelScalar<typename Derived::Scalar>
[[nodiscard]] double distance_to_hull(const Eigen::MatrixBase<PointType>& point,
                                      const Eigen::MatrixBase<Derived>& vertices) {
  return detail::validated_nearest_point("distance_to_hull", point.template cast<double>(),
                                         vertices.template cast<double>())
      .distance;
}

/// Whether a point is at most tol (a length) from conv{v₁ … v_m}. Let tol be no less than the rounding
/// that nearest_point states. Nothing is in the hull of no vertices.
/// \throws std::invalid_argument as nearest_point, and unless tol is finite and not negative.
template <class PointType, class Derived>
requires KernelScalar<typename PointType::Scalar> && KernelScalar<typename Derived::Scalar>
[[nodiscard]] bool in_hull(const Eigen::MatrixBase<PointType>& point,
                           const Eigen::MatrixBase<Derived>& vertices, double tol) {
  if (!(tol >= 0) || !std::isfinite(tol))
    detail::refuse("in_hull: tol is ", tol, ", expected a finite number, at least 0");
  return detail::validated_nearest_point("in_hull", point.template cast<double>(),
                                         vertices.template cast<double>())
             .distance <= tol;
}

/// How far the hull of `outer` reaches beyond that of `inner`:
///
///     max over x ∈ conv(outer) of dist(x, conv(inner)),
///
/// attained at a column of outer, as the distance is convex. It is one-sided: the Hausdorff distance
/// exactly when conv(inner) ⊆ conv(outer), as for the hulls of tokens at a later and an earlier time.
/// outer: d × n; inner: d × m. 0 for n = 0; infinite for m = 0 < n. The cost of n nearest points.
/// \throws std::invalid_argument unless both have the same d and finite columns.
template <class Outer, class Inner>
requires KernelScalar<typename Outer::Scalar> && KernelScalar<typename Inner::Scalar>
[[nodiscard]] double hull_hausdorff(const Eigen::MatrixBase<Outer>& outer,
                                    const Eigen::MatrixBase<Inner>& inner) {
  const Eigen::MatrixXd from = outer.template cast<double>(), to = inner.template cast<double>();
  detail::validate_two_hulls("hull_hausdorff", "outer", from, "inner", to);
  return detail::one_sided_distance(from, to);
}

/// The Hausdorff distance between conv(a) and conv(b): the larger one-sided distance. 0 for two empty
/// hulls, infinite for one.
/// \throws std::invalid_argument unless both have the same d and finite columns.
template <class A, class B>
requires KernelScalar<typename A::Scalar> && KernelScalar<typename B::Scalar>
[[nodiscard]] double hausdorff_distance(const Eigen::MatrixBase<A>& a, const Eigen::MatrixBase<B>& b) {
  const Eigen::MatrixXd left = a.template cast<double>(), right = b.template cast<double>();
  detail::validate_two_hulls("hausdorff_distance", "a", left, "b", right);
  return (std::max)(detail::one_sided_distance(left, right), detail::one_sided_distance(right, left));
}

}}  // namespace attnflow
