/// \file
/// The weight law of the papers: softmax.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Softmax weights at inverse temperature β: wᵢⱼ = exp(β sᵢⱼ) / ∑ₗ exp(β sᵢₗ), sᵢⱼ = ⟨Q xᵢ, K xⱼ⟩.
/// β may be zero (uniform weights) or negative.
template <RealScalar Scalar_>
struct Softmax {
  using Scalar = Scalar_;
  /// P is a stochastic matrix.
  static constexpr bool rows_sum_to_one = true;
  /// A weight is an exponential of its score.
  static constexpr WeightFunction function = WeightFunction::exponential;

  /// β, finite.
  double beta = 1;

  /// \throws std::invalid_argument unless β is finite.
  void validate() const {
    if (!std::isfinite(beta)) detail::refuse("Softmax::beta is ", beta, ", expected a finite number");
  }
  /// f = 0: rows stay as softmax has them.
  [[nodiscard]] double log_row_factor(double /*log_normalizer*/, Eigen::Index /*n*/) const noexcept {
    return 0;
  }
};

}}  // namespace attnflow
