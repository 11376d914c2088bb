/// \file
/// Scores as weights.
#pragma once

#include <attnflow/attention/concepts.hpp>

#include <Eigen/Core>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Linear attention [CACP25]:
///
///     wᵢⱼ = sᵢⱼ / n,   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),   hence   ∑ⱼ wᵢⱼ xⱼ = β (1/n ∑ⱼ xⱼ xⱼᵀ) KᵀQ xᵢ
///
/// without mask and bias: O(n d²) and no pair of tokens looked at. Weights may be negative, and the drift is cubic: tokens
/// may leave every bound in finite time. A weight whose true value is beyond the range of Scalar is infinite.
struct Linear {
  static constexpr const char* name = "Linear";
  static constexpr auto function = WeightFunction::pointwise;
  static constexpr auto rows = RowScale::mean;
  /// β, finite.
  double beta = 1;
  /// s.
  template <class S>
  [[nodiscard]] const S& weight(const S& s) const {
    return s;
  }
};

}}  // namespace attnflow
