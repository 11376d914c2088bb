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
///
/// For tokens of another scalar than float and double, a law whose rows do not sum to one takes and returns that scalar
/// in log_row_factor, too, so that derivatives pass through it: see Unnormalized.
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
  /// The first key, and the one after the last.
  Eigen::Index begin = 0, end = 0;
};

namespace detail {
template <class M, class R, std::signed_integral Position, std::signed_integral Count>
void takes_signed_positions(R (M::*)(Position, Count) const);
template <std::signed_integral Position, std::signed_integral Count>
void takes_signed_positions(KeyRange (*)(Position, Count));

template <class M>
concept OneKeysFunction = requires {
  &M::keys;
};
template <class M>
concept SignedKeysFunction = requires {
  takes_signed_positions(&M::keys);
};
}  // namespace detail

/// Positions are counted with a sign: i − 3 is negative for the first tokens, and not a huge number. A function keys()
/// with overloads, or a template, is taken at its word.
template <class M>
concept SignedPositions = !detail::OneKeysFunction<M> || detail::SignedKeysFunction<M>;

/// Which of n keys query i attends to: a range of positions, maybe an empty one. A row with nothing to attend to
/// has weights zero.
template <class M>
concept AttentionMask = SignedPositions<M> && requires(const M& mask, Eigen::Index i, Eigen::Index n) {
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
  /// All: 0, …, n − 1.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index /*i*/, Eigen::Index n) const noexcept { return {0, n}; }
};

/// Scores carry no term that depends on the positions i and j.
struct NoBias {
  /// Scores do not fall.
  static constexpr double slope = 0;
  /// Nothing can be wrong.
  void validate() const noexcept {}
};

}  // namespace attnflow::inline ATTNFLOW_ABI
