/// \file
/// The weight law of the papers: softmax.
#pragma once

#include <attnflow/attention/concepts.hpp>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Softmax weights at inverse temperature β: wᵢⱼ = exp(β sᵢⱼ) / ∑ₗ exp(β sᵢₗ), sᵢⱼ = ⟨Q xᵢ, K xⱼ⟩.
/// β may be zero (uniform weights) or negative.
struct Softmax {
  static constexpr const char* name = "Softmax";
  static constexpr auto function = WeightFunction::exponential;
  static constexpr bool rows_sum_to_one = true;
  /// β, finite.
  double beta = 1;
};

}}  // namespace attnflow
