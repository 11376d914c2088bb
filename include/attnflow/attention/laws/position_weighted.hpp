/// \file
/// Exponential weights, normalised over the positions alone.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Exponential weights, normalised over positions and not over content [DGR26]:
///
///     wᵢⱼ = ωᵢⱼ e^{β ⟨Q xᵢ, K xⱼ⟩},   ωᵢⱼ = e^{bias(i, j)} / ∑ₗ e^{bias(i, l)},
///
/// both sums over the keys that the mask leaves. β = 0 leaves the position-only weights ω, whose rows sum to one. Without
/// mask and bias it is Unnormalized. A weight whose true value is beyond the range of Scalar overflows.
struct PositionWeighted {
  static constexpr const char* name = "PositionWeighted";
  static constexpr auto function = WeightFunction::exponential;
  static constexpr bool rows_sum_to_one = false;
  /// β, finite.
  double beta = 1;
  /// exp(β (⟨Q xᵢ, K xⱼ⟩ − 1)) instead: at most ωᵢⱼ on the unit sphere with Q = K = I.
  bool less_one = false;

  /// f = log ∑ₗ e^{sᵢₗ} − log ∑ₗ e^{bias(i, l)}, less β with less_one.
  template <RealScalar S>
  [[nodiscard]] S log_row_factor(const S& log_normalizer, Eigen::Index /*n*/, double log_positions) const {
    const S ratio = log_normalizer - static_cast<S>(static_cast<detail::Value<S>>(log_positions));
    return ratio - static_cast<S>(static_cast<detail::Value<S>>(less_one ? beta : 0));
  }
  /// The same without mask and bias, where positions count alike.
  template <RealScalar S>
  [[nodiscard]] S log_row_factor(const S& log_normalizer, Eigen::Index n) const {
    return log_row_factor(log_normalizer, n, std::log(static_cast<double>(n)));
  }
};

}}  // namespace attnflow
