/// \file
/// Logistic weights: every key by itself, without competition.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Sigmoid attention [CACP25; Ram25 for the bias]:
///
///     wᵢⱼ = σ(sᵢⱼ + b) / n,   σ(u) = 1 / (1 + e^{−u}),   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),
///
/// the mean over all n tokens, whatever the mask, as the mean-field model has it. With mean = false there is no 1/n;
/// then b = −log n makes rows sum to about one for small scores. Weights neither overflow nor sum to one.
template <RealScalar Scalar_>
struct Sigmoid {
  using Scalar = Scalar_;
  /// Rows sum to whatever they do.
  static constexpr bool rows_sum_to_one = false;
  /// A weight is the logistic function of its score.
  static constexpr WeightFunction function = WeightFunction::logistic;

  /// β, finite.
  double beta = 1;
  /// b, finite.
  double bias = 0;
  /// Whether weights are divided by n.
  bool mean = true;

  /// \throws std::invalid_argument unless β and b are finite.
  void validate() const {
    if (!std::isfinite(beta)) detail::refuse("Sigmoid::beta is ", beta, ", expected a finite number");
    if (!std::isfinite(bias)) detail::refuse("Sigmoid::bias is ", bias, ", expected a finite number");
  }
  /// 1/n, or 1 with mean = false.
  [[nodiscard]] double row_factor(Eigen::Index n) const noexcept {
    return mean ? 1 / static_cast<double>(n) : 1;
  }
};

}}  // namespace attnflow
