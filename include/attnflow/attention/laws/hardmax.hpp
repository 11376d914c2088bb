/// \file
/// Weights on the largest score alone: softmax at zero temperature.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <optional>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Hardmax, the limit of softmax for β → ∞ at fixed scores [AFZ24, GLPR25]:
///
///     wᵢⱼ = 1/|Cᵢ| for j ∈ Cᵢ, else 0,   Cᵢ = argmaxⱼ sᵢⱼ,   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j).
///
/// Of β only the sign counts, and with a positional bias its size: β < 0 follows the smallest ⟨Q xᵢ, K xⱼ⟩, β = 0
/// attends to all alike. On the sphere with QᵀK = I a token's best match is itself: the limit of interest has the mask
/// ExcludeSelf. The drift is discontinuous where the leader changes.
struct Hardmax {
  static constexpr const char* name = "Hardmax";
  static constexpr auto function = WeightFunction::maximum;
  /// P is a stochastic matrix, unless ties is Ties::all.
  static constexpr bool rows_sum_to_one = true;
  /// β, finite.
  double beta = 1;
  /// What becomes of several largest scores.
  Ties ties = Ties::average;
  /// Scores are equal that differ by no more than this times ∑ |qᵢ| |xⱼ − xᵣ|, coordinate by coordinate, q the query
  /// and r the key of largest score. Without a number it is 16 ε of the tokens' scalar: what is equal in exact arithmetic
  /// stays equal.
  std::optional<double> tolerance = {};

  /// \throws std::invalid_argument unless the tolerance is at least 0 and below 1.
  void validate() const {
    if (tolerance && !(*tolerance >= 0 && *tolerance < 1))
      detail::refuse("Hardmax::tolerance is ", *tolerance, ", expected a number from 0 to below 1");
  }
};

}}  // namespace attnflow
