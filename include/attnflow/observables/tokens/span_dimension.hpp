/// \file
/// How many directions the tokens themselves span, by the eigenvalues of their Gram matrix.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/symmetric_eigen.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The dimension of the span of tokens, as the number of eigenvalues of their Gram matrix above a threshold [GLPR25],
///
///     #{k : λ_k(XᵀX) > threshold},   (XᵀX)ᵢⱼ = ⟨xᵢ, xⱼ⟩:
///
/// of n tokens at one point of the sphere one eigenvalue is n and the others 0. Taken from XᵀX or X Xᵀ, whichever is
/// smaller: both have the same eigenvalues but for zeros. They are right to some (n + d) ε λ₁; let the threshold be
/// more.
///
/// x: d × n. The threshold is a square of lengths. 0 without tokens. O(n d m + m³) time for m = min(d, n), O(n d)
/// memory.
/// \throws std::invalid_argument unless all tokens and their products are finite, the threshold is finite and not
/// negative.
/// \throws std::runtime_error if the eigenvalues are not found.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::Index span_dimension(const Eigen::MatrixBase<Derived>& x, double threshold = 1e-3) {
  if (!(threshold >= 0) || !std::isfinite(threshold))
    detail::refuse("span_dimension: threshold is ", threshold, ", expected a finite number, at least 0");
  detail::refuse_unless_finite("span_dimension", "x", x);
  if (x.size() == 0) return 0;
  Eigen::MatrixXd rows;  // whose products are wanted, as columns
  if (x.cols() <= x.rows())
    rows = x.template cast<double>();
  else
    rows = x.template cast<double>().transpose();
  const Eigen::Index m = rows.cols();
  Eigen::MatrixXd gram(m, m);
  for (Eigen::Index i = 0; i < m; ++i)
    for (Eigen::Index j = 0; j <= i; ++j) gram(i, j) = gram(j, i) = rows.col(i).dot(rows.col(j));
  if (!gram.allFinite())
    detail::refuse("span_dimension: a product of tokens overflows, expected tokens within 10^150");
  const Eigen::VectorXd values = detail::symmetric_eigen("span_dimension", gram, false).values;
  return (values.array() > threshold).count();
}

}}  // namespace attnflow
