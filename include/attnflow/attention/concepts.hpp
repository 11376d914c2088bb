/// \file
/// The three things that make a kind of attention: a law, a mask and a positional bias.
#pragma once

#include <attnflow/types.hpp>

#include <concepts>

namespace attnflow::inline ATTNFLOW_ABI {

/// What a score becomes before rows are scaled. The kernels are compiled for each.
enum class WeightFunction {
  exponential  ///< e^{sᵢⱼ}
};

/// How one row of scores becomes weights: a small value type. With the scores sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),
///
///     wᵢⱼ = e^{f} e^{sᵢⱼ} / ∑ₗ e^{sᵢₗ},   f = log_row_factor(log ∑ₗ e^{sᵢₗ}, n),
///
/// the sum over the keys that the mask leaves to row i. f = 0 is softmax; f = log ∑ₗ e^{sᵢₗ} is no normalisation.
template <class L, class Scalar>
concept WeightLaw = std::same_as<typename L::Scalar, Scalar> &&
    requires(const L& law, double log_normalizer, Eigen::Index n) {
  { L::rows_sum_to_one } -> std::convertible_to<bool>;
  { L::function } -> std::convertible_to<WeightFunction>;
  { law.beta } -> std::convertible_to<double>;
  { law.validate() } -> std::same_as<void>;
  { law.log_row_factor(log_normalizer, n) } -> std::convertible_to<double>;
};

/// The keys begin, begin + 1, …, end − 1.
struct KeyRange {
  Eigen::Index begin = 0, end = 0;
};

/// Which of n keys query i attends to: a range of positions, maybe an empty one. A row with nothing to attend to
/// has weights zero.
template <class M>
concept AttentionMask = requires(const M& mask, Eigen::Index i, Eigen::Index n) {
  { mask.keys(i, n) } -> std::same_as<KeyRange>;
};

/// What is added to a score for the positions i and j: −slope |i − j|.
template <class B>
concept PositionalBias = requires(const B& bias) {
  { bias.slope } -> std::convertible_to<double>;
  { bias.validate() } -> std::same_as<void>;
};

/// Every token attends to every token, itself included.
struct NoMask {
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index /*i*/, Eigen::Index n) const noexcept { return {0, n}; }
};

/// Scores carry no term that depends on the positions i and j.
struct NoBias {
  static constexpr double slope = 0;
  void validate() const noexcept {}
};

}  // namespace attnflow::inline ATTNFLOW_ABI
