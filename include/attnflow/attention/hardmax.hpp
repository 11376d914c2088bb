/// \file
/// Weights on the largest score alone: softmax at zero temperature.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/value_of.hpp>

#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Hardmax, the limit of softmax for β → ∞ at fixed scores [AFZ24, GLPR25]:
///
///     wᵢⱼ = 1/|Cᵢ| for j ∈ Cᵢ, else 0,   Cᵢ = argmaxⱼ sᵢⱼ,   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j).
///
/// Of β only the sign counts, and with a positional bias its size: β < 0 follows the smallest ⟨Q xᵢ, K xⱼ⟩, β = 0
/// attends to all alike. On the sphere with QᵀK = I a token's best match is itself: the limit of interest has the mask
/// ExcludeSelf. The drift is discontinuous where the leader changes.
template <RealScalar Scalar_>
struct Hardmax {
  using Scalar = Scalar_;
  /// P is a stochastic matrix, unless ties is Ties::all.
  static constexpr bool rows_sum_to_one = true;
  /// Only the largest score counts.
  static constexpr WeightFunction function = WeightFunction::maximum;

  /// β, finite.
  double beta = 1;
  /// What becomes of several largest scores.
  Ties ties = Ties::average;
  /// Scores are equal that differ by no more than this times ∑ |qᵢ| |xⱼ − xᵣ|, coordinate by coordinate, q the query
  /// and r the key of largest score. By default some roundings: what is equal in exact arithmetic stays equal.
  double tolerance = 16 * static_cast<double>(std::numeric_limits<detail::Value<Scalar_>>::epsilon());

  /// \throws std::invalid_argument unless β is finite and the tolerance at least 0 and below 1.
  void validate() const {
    if (!std::isfinite(beta)) detail::refuse("Hardmax::beta is ", beta, ", expected a finite number");
    if (!(tolerance >= 0 && tolerance < 1))
      detail::refuse("Hardmax::tolerance is ", tolerance, ", expected a number from 0 to below 1");
  }
};

}}  // namespace attnflow
