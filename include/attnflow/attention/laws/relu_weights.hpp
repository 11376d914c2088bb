/// \file
/// Weights that are the positive parts of scores.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/pointwise.hpp>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// ReLU attention [WLGK23]:
///
///     wᵢⱼ = max(sᵢⱼ, 0) / ∑ₗ max(sᵢₗ, 0),   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),
///
/// or another scale of the rows. A row without a positive score has weights zero.
struct ReluWeights {
  static constexpr const char* name = "ReluWeights";
  static constexpr auto function = WeightFunction::pointwise;
  /// β, finite.
  double beta = 1;
  /// How weights are scaled.
  RowScale rows = RowScale::sum;
  /// max(s, 0).
  template <class S>
  [[nodiscard]] S weight(const S& s) const {
    return pointwise::positive_part(s);
  }
};

}}  // namespace attnflow
