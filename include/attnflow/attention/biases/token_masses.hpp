/// \file
/// Tokens that weigh more or less than others.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <cmath>
#include <cstddef>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Weighted tokens, the measure μ = ∑ⱼ mⱼ δ_{xⱼ} / ∑ₗ mₗ in place of the mean of Diracs: key j counts n mⱼ / ∑ₗ mₗ times,
///
///     wᵢⱼ = mⱼ e^{sᵢⱼ} / ∑ₗ mₗ e^{sᵢₗ} (Softmax),   mⱼ e^{sᵢⱼ} / ∑ₗ mₗ (Unnormalized),   …
///
/// so that a token of mass 2 acts on the others as two tokens in one place do. It stands where a positional bias does, and
/// has a slope as Alibi has. Hardmax, to which masses mean nothing, does not take it.
struct TokenMasses {
  /// m, a positive number for each token.
  std::vector<double> masses;
  /// What a score falls by with each position: see Alibi.
  double slope = 0;

  /// \throws std::invalid_argument unless every mass is positive and finite, and the slope finite.
  void validate() const {
    if (!std::isfinite(slope)) detail::refuse("TokenMasses::slope is ", slope, ", expected a finite number");
    for (std::size_t j = 0; j < masses.size(); ++j)
      if (!(masses[j] > 0 && std::isfinite(masses[j])))
        detail::refuse("TokenMasses::masses[", j, "] is ", masses[j], ", expected a positive number");
  }
};

namespace detail {

/// A bias with masses.
template <class B>
concept MassiveBias = requires(const B& bias) {
  { bias.masses[0] } -> std::convertible_to<double>;
  { bias.masses.size() } -> std::convertible_to<std::size_t>;
};

/// log(n mⱼ / ∑ₗ mₗ), one for each of n tokens. \throws std::invalid_argument unless there are n masses.
template <MassiveBias B>
void log_relative_masses(const B& bias, Eigen::Index n, std::vector<double>& result) {
  const std::size_t count = bias.masses.size();
  if (count != static_cast<std::size_t>(n))
    refuse("TokenMasses: ", count, " masses for ", n, " tokens, expected one for each");
  result.resize(count);
  double largest = 0, sum = 0;
  for (const double m : bias.masses) largest = m > largest ? m : largest;
  for (const double m : bias.masses) sum += m / largest;
  const double log_mean = std::log(largest) + std::log(sum / static_cast<double>(n));
  for (std::size_t j = 0; j < count; ++j) result[j] = std::log(bias.masses[j]) - log_mean;
}

}  // namespace detail
}}  // namespace attnflow
