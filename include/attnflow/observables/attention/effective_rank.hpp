/// \file
/// How many directions an attention matrix really uses: plain, stable and entropy rank.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/scale.hpp>
#include <attnflow/numerics/symmetric_eigen.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Three ranks of a matrix and the singular values σ₁ ≥ σ₂ ≥ … that they are made of.
/// All three are 0 for a matrix of zeros.
struct EffectiveRank {
  Eigen::VectorXd singular_values;  ///< decreasing; ∞ beyond the largest double
  double tolerance = 0;             ///< singular values up to this count as zero in `rank`
  Eigen::Index rank = 0;            ///< how many singular values exceed the tolerance
  double stable_rank = 0;           ///< ‖P‖_F² / ‖P‖₂² = ∑ σₖ² / σ₁²
  double entropy_rank = 0;          ///< exp(−∑ pₖ log pₖ) with pₖ = σₖ / ∑ σ [RV07]
};

/// The ranks of P, of any shape (an attention matrix is n × n):
///
///     rank = #{k : σₖ > tolerance},   stable = ‖P‖_F² / ‖P‖₂²,   entropy = exp(H(σ / ∑ σ)).
///
/// Without a tolerance it is max(rows, columns) ε σ₁, with ε of P's own Scalar. The plain rank jumps as
/// singular values cross it, and is not monotone along a solution; the other two vary continuously and
/// satisfy 1 ≤ stable ≤ rank, 1 ≤ entropy ≤ rank (for tolerance 0 and P ≠ 0).
///
/// Computed in double as the positive eigenvalues of the symmetric matrix (0 P; Pᵀ 0), which are the singular
/// values of P with errors of order ε σ₁ [GVL13, §8.6]; P is scaled first so that nothing overflows. Three times the
/// operations of a singular value decomposition, in a fifth of its time to compile. O(n³) time, O(n²) memory: about a
/// second for n = 500.
/// \throws std::invalid_argument unless P is finite, and the tolerance finite and not negative.
/// \throws std::runtime_error if the eigenvalues are not found.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] EffectiveRank effective_rank(const Eigen::MatrixBase<Derived>& P,
                                           std::optional<double> tolerance = std::nullopt) {
  for (Eigen::Index j = 0; j < P.cols(); ++j)
    for (Eigen::Index i = 0; i < P.rows(); ++i)
      if (!std::isfinite(P(i, j)))
        detail::refuse("effective_rank: P(", i, ", ", j, ") is ", P(i, j), ", expected a finite number");
  if (tolerance && !(*tolerance >= 0 && std::isfinite(*tolerance)))
    detail::refuse("effective_rank: tolerance is ", *tolerance, ", expected a finite number, at least 0");

  EffectiveRank found;
  found.tolerance = tolerance.value_or(0);
  found.singular_values = Eigen::VectorXd::Zero((std::min)(P.rows(), P.cols()));
  if (P.size() == 0) return found;
  const Eigen::Index m = P.rows(), n = P.cols(), least = (std::min)(m, n);
  // In units of a power of two: a singular value may be beyond the largest number, ratios and counts are not.
  const Eigen::MatrixXd plain = P.template cast<double>();
  const int shift = detail::unit_shift(plain);
  Eigen::MatrixXd symmetric = Eigen::MatrixXd::Zero(m + n, m + n);
  symmetric.topRightCorner(m, n) = detail::scaled_by_power(plain, shift);
  symmetric.bottomLeftCorner(n, m) = symmetric.topRightCorner(m, n).transpose();
  if (symmetric.isZero(0)) return found;
  const Eigen::VectorXd s =
      detail::symmetric_eigen("effective_rank", symmetric, false).values.tail(least).reverse().cwiseMax(0);
  found.singular_values = detail::scaled_by_power(s, -shift);
  if (tolerance) {
    found.rank = (found.singular_values.array() > found.tolerance).count();
  } else {
    const double epsilon = static_cast<double>(std::numeric_limits<typename Derived::Scalar>::epsilon());
    const double scaled = static_cast<double>((std::max)(m, n)) * epsilon * s(0);
    found.tolerance = std::ldexp(scaled, -shift);
    found.rank = (s.array() > scaled).count();
  }
  found.stable_rank = (s / s(0)).squaredNorm();
  const Eigen::VectorXd weights = s / s(0) / (s / s(0)).sum();
  double entropy = 0;
  for (const double weight : weights)
    if (weight > 0) entropy -= weight * std::log(weight);
  found.entropy_rank = std::exp(entropy);
  return found;
}

}}  // namespace attnflow
