/// \file
/// Logistic weights: every key by itself, without competition.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/pointwise.hpp>
#include <attnflow/detail/refuse.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Sigmoid attention [CACP25; Ram25 for the bias]:
///
///     wᵢⱼ = σ(sᵢⱼ + b) / n,   σ(u) = 1 / (1 + e^{−u}),   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),
///
/// the mean over all n keys, whatever the mask, as the mean-field model has it. With RowScale::none there is no 1/n;
/// then b = −log n makes rows sum to about one for small scores. Weights neither overflow nor sum to one.
struct Sigmoid {
  static constexpr const char* name = "Sigmoid";
  static constexpr auto function = WeightFunction::pointwise;
  /// β, finite.
  double beta = 1;
  /// b, finite.
  double bias = 0;
  /// How weights are scaled.
  RowScale rows = RowScale::mean;

  /// σ(s + b).
  template <class S>
  [[nodiscard]] S weight(const S& s) const {
    const S u = s + static_cast<S>(static_cast<detail::Value<S>>(bias));
    const bool below = detail::value_of(u) < 0;
    const S power = pointwise::exp(below ? u : S(-u)), sum = S(1) + power, part = below ? power : S(1);
    return part / sum;
  }
  /// log σ(s + b).
  [[nodiscard]] double log_weight(double s) const {
    const double u = s + bias;
    return u < 0 ? u - std::log1p(std::exp(u)) : -std::log1p(std::exp(-u));
  }
  /// \throws std::invalid_argument unless b is finite.
  void validate() const {
    if (!std::isfinite(bias)) detail::refuse("Sigmoid::bias is ", bias, ", expected a finite number");
  }
};

}}  // namespace attnflow
