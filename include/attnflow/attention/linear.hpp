/// \file
/// Scores as weights.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Linear attention [CACP25]:
///
///     wᵢⱼ = sᵢⱼ / n,   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),   hence   ∑ⱼ wᵢⱼ xⱼ = β (1/n ∑ⱼ xⱼ xⱼᵀ) KᵀQ xᵢ
///
/// without mask and bias: O(n d²) and no pair of tokens looked at. Weights may be negative, and the drift is cubic: tokens
/// may leave every bound in finite time. A weight whose true value is beyond the range of Scalar is infinite.
template <RealScalar Scalar_>
struct Linear {
  using Scalar = Scalar_;
  /// Rows sum to whatever they do.
  static constexpr bool rows_sum_to_one = false;
  /// A weight is its score.
  static constexpr WeightFunction function = WeightFunction::linear;

  /// β, finite.
  double beta = 1;

  /// \throws std::invalid_argument unless β is finite.
  void validate() const {
    if (!std::isfinite(beta)) detail::refuse("Linear::beta is ", beta, ", expected a finite number");
  }
  /// 1/n.
  [[nodiscard]] double row_factor(Eigen::Index n) const noexcept { return 1 / static_cast<double>(n); }
};

}}  // namespace attnflow
