/// \file
/// Weights without the denominator of softmax.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/value_of.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Unnormalised exponential weights (USA) at inverse temperature β: wᵢⱼ = exp(β sᵢⱼ) / n, sᵢⱼ = ⟨Q xᵢ, K xⱼ⟩, for n
/// tokens whatever the mask [GLPR25, eq. (USA)].
///
/// Rows do not sum to one. A weight whose true value is beyond the range of Scalar overflows.
template <RealScalar Scalar_>
struct Unnormalized {
  using Scalar = Scalar_;
  /// Rows sum to whatever they do.
  static constexpr bool rows_sum_to_one = false;
  /// A weight is an exponential of its score.
  static constexpr WeightFunction function = WeightFunction::exponential;

  /// β, finite.
  double beta = 1;
  bool less_one = false;  ///< exp(β (sᵢⱼ − 1)) / n instead: at most 1/n on the unit sphere with Q = K = I

  /// \throws std::invalid_argument unless β is finite.
  void validate() const {
    if (!std::isfinite(beta)) detail::refuse("Unnormalized::beta is ", beta, ", expected a finite number");
  }
  /// f = log ∑ₗ exp(β sᵢₗ) − log n, less β with less_one.
  [[nodiscard]] double log_row_factor(double log_normalizer, Eigen::Index n) const noexcept {
    return log_normalizer - std::log(static_cast<double>(n)) - (less_one ? beta : 0);
  }
  /// The same in the scalar of the tokens, with its derivatives.
  template <RealScalar S>
  requires(!KernelScalar<S>) [[nodiscard]] S log_row_factor(const S& log_normalizer, Eigen::Index n) const {
    const S mean = log_normalizer - static_cast<S>(std::log(static_cast<detail::Value<S>>(n)));
    return mean - static_cast<S>(less_one ? beta : 0);
  }
};

}}  // namespace attnflow
