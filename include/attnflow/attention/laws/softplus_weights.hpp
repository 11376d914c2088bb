/// \file
/// Weights that are smooth positive parts of scores.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/pointwise.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Softplus attention:
///
///     wᵢⱼ = φ(sᵢⱼ) / ∑ₗ φ(sᵢₗ),   φ(s) = log(1 + e^s),   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),
///
/// or another scale of the rows. φ(s) underflows to zero below s = −708 (float: −87): a row of such scores has weights zero.
struct SoftplusWeights {
  static constexpr const char* name = "SoftplusWeights";
  static constexpr auto function = WeightFunction::pointwise;
  /// β, finite.
  double beta = 1;
  /// How weights are scaled.
  RowScale rows = RowScale::sum;
  /// log(1 + e^s) = max(s, 0) + log(1 + e^{−|s|}).
  template <class S>
  [[nodiscard]] S weight(const S& s) const {
    const S rest = pointwise::log1p_of_fraction(pointwise::exp(detail::value_of(s) < 0 ? s : S(-s)));
    return pointwise::positive_part(s) + rest;
  }
  /// Its logarithm.
  [[nodiscard]] double log_weight(double s) const {
    return s < -30 ? s - std::exp(s) / 2 : std::log((s > 0 ? s : 0) + std::log1p(std::exp(-std::abs(s))));
  }
};

}}  // namespace attnflow
