/// \file
/// Weights without the denominator of softmax.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Unnormalised exponential weights (USA) at inverse temperature β: wᵢⱼ = exp(β sᵢⱼ) / n, sᵢⱼ = ⟨Q xᵢ, K xⱼ⟩, for n
/// tokens whatever the mask [GLPR25, eq. (USA)].
///
/// Rows do not sum to one. A weight whose true value is beyond the range of Scalar overflows.
struct Unnormalized {
  static constexpr const char* name = "Unnormalized";
  static constexpr auto function = WeightFunction::exponential;
  static constexpr bool rows_sum_to_one = false;
  /// β, finite.
  double beta = 1;
  /// exp(β (sᵢⱼ − 1)) / n instead: at most 1/n on the unit sphere with Q = K = I.
  bool less_one = false;

  /// f = log ∑ₗ exp(β sᵢₗ) − log n, less β with less_one.
  template <RealScalar S>
  [[nodiscard]] S log_row_factor(const S& log_normalizer, Eigen::Index n) const {
    const S mean = log_normalizer - static_cast<S>(std::log(static_cast<detail::Value<S>>(n)));
    return mean - static_cast<S>(static_cast<detail::Value<S>>(less_one ? beta : 0));
  }
};

}}  // namespace attnflow
