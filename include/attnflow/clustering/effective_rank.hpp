/// \file
/// How many directions an attention matrix really uses: plain, stable and entropy rank.
/// The one header that includes Eigen's singular value decompositions, which take long to compile.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/SVD>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>

namespace attnflow {

/// Three ranks of a matrix and the singular values σ₁ ≥ σ₂ ≥ … that they are made of.
/// All three are 0 for a matrix of zeros.
struct EffectiveRank {
  Eigen::VectorXd singular_values;  ///< decreasing
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
/// Computed in double, by divide and conquer on the bidiagonal form (errors of order ε σ₁), P scaled
/// first so that nothing overflows. O(n³) time, O(n²) memory.
/// \throws std::invalid_argument unless P is finite, and the tolerance finite and not negative.
/// \throws std::runtime_error if the decomposition does not converge.
template <class Derived>
requires RealScalar<typename Derived::Scalar>
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
  found.singular_values = Eigen::VectorXd::Zero(std::min(P.rows(), P.cols()));
  if (P.size() == 0) return found;
  Eigen::MatrixXd scaled = P.template cast<double>();
  const double largest = scaled.cwiseAbs().maxCoeff();
  if (largest == 0) return found;
  int exponent = 0;
  std::frexp(largest, &exponent);
  scaled = scaled.unaryExpr([exponent](double value) { return std::ldexp(value, -exponent); });

  const Eigen::BDCSVD<Eigen::MatrixXd> decomposition(scaled);
  if (decomposition.info() != Eigen::Success)
    throw std::runtime_error("effective_rank: the singular value decomposition did not converge");
  const Eigen::VectorXd& s = decomposition.singularValues();  // of the scaled matrix
  const auto unscaled = [exponent](double value) { return std::ldexp(value, exponent); };
  found.singular_values = s.unaryExpr(unscaled);
  if (!tolerance) {
    const double epsilon = static_cast<double>(std::numeric_limits<typename Derived::Scalar>::epsilon());
    found.tolerance = unscaled(static_cast<double>(std::max(P.rows(), P.cols())) * epsilon * s(0));
  }
  found.rank = (found.singular_values.array() > found.tolerance).count();
  found.stable_rank = (s / s(0)).squaredNorm();
  const double sum = s.sum();
  double entropy = 0;
  for (const double value : s)
    if (value > 0) entropy -= value / sum * std::log(value / sum);
  found.entropy_rank = std::exp(entropy);
  return found;
}

}  // namespace attnflow
