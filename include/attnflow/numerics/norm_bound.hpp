/// \file
/// A bound of the spectral norm that costs no eigenvalues.
#pragma once

#include <attnflow/detail/value_of.hpp>

#include <Eigen/Core>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// √(‖A‖₁ ‖A‖_∞) ≥ ‖A‖₂, at most √d times as much for a d × d matrix; equal for ±a permutation matrix. O(entries).
template <class Derived>
[[nodiscard]] double norm_bound(const Eigen::MatrixBase<Derived>& A) {
  if (A.size() == 0) return 0;
  const ColumnMajor<double, Derived::RowsAtCompileTime, Derived::ColsAtCompileTime> size =
      in_double(A).cwiseAbs();
  return std::sqrt(size.colwise().sum().maxCoeff()) * std::sqrt(size.rowwise().sum().maxCoeff());
}

}}}  // namespace attnflow::detail
