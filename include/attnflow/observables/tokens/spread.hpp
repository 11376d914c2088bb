/// \file
/// How far tokens are from each other and from a point.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/tokens/merge_tree.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The diameter of a set of tokens, max ‖xᵢ − xⱼ‖; 0 for fewer than two. On the unit sphere at most 2, where geodesic
/// distances are 2 asin(‖xᵢ − xⱼ‖/2). No square overflows or underflows; ∞ beyond the largest double. x: d × n. O(n²
/// d).
/// \throws std::invalid_argument unless all tokens are finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] double diameter(const Eigen::MatrixBase<Derived>& x) {
  detail::refuse_unless_finite("diameter", "x", x);
  const Eigen::MatrixXd tokens = x.template cast<double>();
  double largest = 0;
  for (Eigen::Index i = 1; i < x.cols(); ++i)
    for (Eigen::Index j = 0; j < i; ++j) largest = (std::max)(largest, detail::column_distance(tokens, i, j));
  return largest;
}

/// The distance to consensus at a point, maxᵢ ‖xᵢ − p‖; 0 without tokens. With p the last state's mean, or the first
/// token of a causal run, fit_exponential_rate reads off how fast the tokens come. x: d × n, point: d. O(n d).
/// \throws std::invalid_argument unless all is finite and the point has d coordinates.
template <class Derived, class Point>
requires KernelScalar<typename Derived::Scalar> && KernelScalar<typename Point::Scalar>
[[nodiscard]] double distance_to_consensus(const Eigen::MatrixBase<Derived>& x,
                                           const Eigen::MatrixBase<Point>& point) {
  if (point.rows() != x.rows() || point.cols() != 1)
    detail::refuse("distance_to_consensus: point is ", point.rows(), " x ", point.cols(), ", expected ",
                   x.rows(), " x 1, as the tokens are");
  detail::refuse_unless_finite("distance_to_consensus", "x", x);
  detail::refuse_unless_finite("distance_to_consensus", "point", point, "column");
  Eigen::MatrixXd all(x.rows(), x.cols() + 1);
  all.leftCols(x.cols()) = x.template cast<double>();
  all.rightCols(1) = point.template cast<double>();
  double largest = 0;
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    largest = (std::max)(largest, detail::column_distance(all, i, x.cols()));
  return largest;
}

}}  // namespace attnflow
