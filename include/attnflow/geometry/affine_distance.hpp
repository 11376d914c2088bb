/// \file
/// The distance to a hyperplane and to an affine subspace.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/orthonormal_basis.hpp>
#include <attnflow/numerics/scale.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

[[nodiscard]] inline Eigen::VectorXd hyperplane_distances(const Eigen::MatrixXd& normal, double level,
                                                          const Eigen::MatrixXd& x) {
  const char* const function = "distance_to_hyperplane";
  if (normal.rows() != x.rows() || normal.cols() != 1)
    refuse(function, ": normal is ", normal.rows(), " x ", normal.cols(), ", expected ", x.rows(),
           " x 1, as x has ", x.rows(), " rows");
  refuse_unless_finite(function, "normal", normal, "column");
  refuse_unless_finite(function, "x", x, "column");
  if (!std::isfinite(level)) refuse(function, ": level is ", level, ", expected a finite number");
  if (normal.isZero(0)) refuse(function, ": normal is zero, expected a direction");
  const int a = unit_shift(normal);
  const Eigen::VectorXd n = scaled_by_power(normal, a);
  const double length = n.norm();
  Eigen::VectorXd distances(x.cols());
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    int b = unit_shift(x.col(i));  // so that 2^b x and 2^{a+b} c are at most 1
    if (x.col(i).isZero(0)) b = (std::numeric_limits<int>::max)();
    if (level != 0) b = (std::min)(b, -1 - std::ilogb(level) - a);
    if (b == (std::numeric_limits<int>::max)()) b = 0;
    const Eigen::VectorXd at = scaled_by_power(x.col(i), b);
    const double above = n.dot(at) - std::ldexp(level, a + b);
    distances(i) = std::ldexp(std::abs(above) / length, -b);
  }
  return distances;
}

[[nodiscard]] inline Eigen::VectorXd affine_distances(const Eigen::MatrixXd& point_on_it,
                                                      const Eigen::MatrixXd& basis,
                                                      const Eigen::MatrixXd& x) {
  const char* const function = "distance_to_affine";
  if (point_on_it.rows() != x.rows() || point_on_it.cols() != 1)
    refuse(function, ": point_on_it is ", point_on_it.rows(), " x ", point_on_it.cols(), ", expected ",
           x.rows(), " x 1, as x has ", x.rows(), " rows");
  if (basis.rows() != x.rows())
    refuse(function, ": basis has ", basis.rows(), " rows, expected ", x.rows(), ", as x has");
  refuse_unless_finite(function, "point_on_it", point_on_it, "column");
  refuse_unless_finite(function, "basis", basis, "column");
  refuse_unless_finite(function, "x", x, "column");
  const Eigen::Index d = x.rows();
  OrthonormalBasis directions(d, basis.cols());
  const double negligible =
      10 * std::sqrt(static_cast<double>(d)) * std::numeric_limits<double>::epsilon();  // of a unit vector
  for (Eigen::Index j = 0; j < basis.cols(); ++j) {
    const Eigen::VectorXd direction = scaled_by_power(basis.col(j), unit_shift(basis.col(j)));
    const double length = direction.norm();
    if (length > 0) directions.append(direction / length, negligible);
  }
  Eigen::VectorXd distances(x.cols());
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    const int coarse = (std::min)(unit_shift(x.col(i)), unit_shift(point_on_it));
    const Eigen::VectorXd difference =
        scaled_by_power(x.col(i), coarse) - scaled_by_power(point_on_it, coarse);
    const int fine = unit_shift(difference);
    distances(i) = std::ldexp(directions.rejection(scaled_by_power(difference, fine)).norm(), -coarse - fine);
  }
  return distances;
}

}  // namespace detail

/// The distance of each column of x to the hyperplane { x : ⟨n, x⟩ = c },
///
///     |⟨n, xᵢ⟩ − c| / ‖n‖.
///
/// Tokens come close to at most three such planes [GLPR23, Theorem 4.2], orthogonal to the left eigenvector
/// n = φ₁* of V (the right one is something else). normal: d, of any length but 0; level: c; x: d × n.
/// Returns n numbers, right to d ε (‖xᵢ‖ + |c| / ‖n‖), infinite beyond the largest double. O(n d).
/// \throws std::invalid_argument unless the shapes agree, all is finite and the normal is not zero.
template <class Normal, class Derived>
requires KernelScalar<typename Normal::Scalar> && KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::VectorXd distance_to_hyperplane(const Eigen::MatrixBase<Normal>& normal, double level,
                                                     const Eigen::MatrixBase<Derived>& x) {
  return detail::hyperplane_distances(normal.template cast<double>(), level, x.template cast<double>());
}

/// The same for one point, that is where x is a column by its type.
template <class Normal, class Derived>
requires KernelScalar<typename Normal::Scalar> && KernelScalar<typename Derived::Scalar> &&
    (Derived::ColsAtCompileTime == 1)
        [[nodiscard]] double distance_to_hyperplane(const Eigen::MatrixBase<Normal>& normal, double level,
                                                    const Eigen::MatrixBase<Derived>& x) {
  return detail::hyperplane_distances(normal.template cast<double>(), level, x.template cast<double>())(0);
}

/// The distance of each column of x to the affine subspace p + span{b₁ … b_k},
///
///     ‖(I − QQᵀ)(xᵢ − p)‖,   Q an orthonormal basis of the span.
///
/// point_on_it: p, d; basis: d × k, any k, of any lengths, not orthogonal, perhaps dependent: a column is
/// passed over if, scaled to length one, it is within 10 √d ε of the span of those before it, and so are
/// columns of zeros. x: d × n. Returns n numbers, right to a few √d ε ‖xᵢ − p‖ times the condition number
/// of the scaled basis, infinite beyond the largest double. O((n + k) d k).
/// \throws std::invalid_argument unless the shapes agree and all is finite.
template <class PointType, class Basis, class Derived>
requires KernelScalar<typename PointType::Scalar> && KernelScalar<typename Basis::Scalar> &&
    KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::VectorXd distance_to_affine(const Eigen::MatrixBase<PointType>& point_on_it,
                                                 const Eigen::MatrixBase<Basis>& basis,
                                                 const Eigen::MatrixBase<Derived>& x) {
  return detail::affine_distances(point_on_it.template cast<double>(), basis.template cast<double>(),
                                  x.template cast<double>());
}

/// The same for one point, that is where x is a column by its type.
template <class PointType, class Basis, class Derived>
requires KernelScalar<typename PointType::Scalar> && KernelScalar<typename Basis::Scalar> &&
    KernelScalar<typename Derived::Scalar> &&(Derived::ColsAtCompileTime == 1)
        [[nodiscard]] double distance_to_affine(const Eigen::MatrixBase<PointType>& point_on_it,
                                                const Eigen::MatrixBase<Basis>& basis,
                                                const Eigen::MatrixBase<Derived>& x) {
  return detail::affine_distances(point_on_it.template cast<double>(), basis.template cast<double>(),
                                  x.template cast<double>())(0);
}

}}  // namespace attnflow
