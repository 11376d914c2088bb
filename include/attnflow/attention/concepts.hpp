/// \file
/// The three things that make a kind of attention: a law, a mask and a positional bias.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <concepts>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What a score becomes before rows are scaled.
enum class WeightFunction {
  exponential,  ///< e^{sᵢⱼ}
  logistic,     ///< 1 / (1 + e^{−sᵢⱼ − b}), b = law.bias
  linear,       ///< sᵢⱼ itself
  maximum       ///< 1 where sᵢⱼ is the largest of its row, else 0; law.ties says what becomes of several
};

/// What becomes of several keys that share the largest score of a row.
enum class Ties {
  average,  ///< each has the weight 1 / how many there are
  first,    ///< the one that comes first has the weight 1
  all       ///< each has the weight 1; rows do not sum to one
};

namespace detail {
// What a law says beside its β, for each function of a score.
template <class L>
concept ScalesExponentials = requires(const L& law, double log_normalizer, Eigen::Index n) {
  { law.log_row_factor(log_normalizer, n) } -> std::convertible_to<double>;
};
template <class L>
concept ScalesScores = requires(const L& law, Eigen::Index n) {
  { law.row_factor(n) } -> std::convertible_to<double>;
};
template <class L>
concept BreaksTies = requires(const L& law) {
  { law.ties } -> std::convertible_to<Ties>;
  { law.tolerance } -> std::convertible_to<double>;
};
template <class L, WeightFunction Function>
concept SaysItsRows = (Function == WeightFunction::exponential && ScalesExponentials<L>) ||
                      (Function == WeightFunction::maximum && BreaksTies<L>) || ScalesScores<L>;
}  // namespace detail

/// How one row of scores becomes weights: a small value type. With the scores sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),
/// and the sum over the keys that the mask leaves to row i,
///
///     wᵢⱼ = e^{f} e^{sᵢⱼ} / ∑ₗ e^{sᵢₗ},   f = log_row_factor(log ∑ₗ e^{sᵢₗ}, n),
///
/// for a law of exponentials: f = 0 is softmax, f = log ∑ₗ e^{sᵢₗ} is no normalisation. A logistic or linear law has
/// wᵢⱼ = row_factor(n) function(sᵢⱼ), and one of the maximum its Ties and, relative to the size of what is compared, the
/// tolerance within which scores are equal.
///
/// For tokens of another scalar than float and double, a law of exponentials whose rows do not sum to one takes and
/// returns that scalar in log_row_factor, too, so that derivatives pass through it: see Unnormalized.
template <class L, class Scalar>
concept WeightLaw = std::same_as<typename L::Scalar, Scalar> && requires(const L& law) {
  { L::rows_sum_to_one } -> std::convertible_to<bool>;
  { L::function } -> std::convertible_to<WeightFunction>;
  { law.beta } -> std::convertible_to<double>;
  { law.validate() } -> std::same_as<void>;
} && detail::SaysItsRows<L, L::function>;

/// A law whose log_row_factor(log ∑ₗ e^{sᵢₗ}, n, log ∑ₗ e^{bias(i, l)}) also sees what the positions alone would give.
template <class L>
concept PositionAware = requires(const L& law, double log_normalizer, Eigen::Index n) {
  { law.log_row_factor(log_normalizer, n, log_normalizer) } -> std::convertible_to<double>;
};

/// A law of the distances: sᵢⱼ = −β c ‖Q xᵢ − K xⱼ‖² in place of β ⟨Q xᵢ, K xⱼ⟩, with c = law.scale.
template <class L>
concept DistanceLaw = L::function == WeightFunction::exponential&& requires(const L& law) {
  { law.scale } -> std::convertible_to<double>;
};

/// A law that needs the whole matrix: rows and columns of P sum to one within a tolerance. `iterations` is the number of
/// alternate scalings of columns and rows that are to be made, see Sinkhorn, or the largest int for the limit of them.
template <class L>
concept DoublyStochasticLaw = L::function == WeightFunction::exponential&& requires(const L& law) {
  { law.iterations } -> std::convertible_to<int>;
  { law.tolerance } -> std::convertible_to<double>;
};

namespace detail {
/// Refuses a law that says at run time that its rows do not sum to one.
template <class Law>
void require_rows_of_one(const Law& law, const char* owner) {
  if constexpr (Law::function == WeightFunction::maximum)
    if (law.ties == Ties::all)
      refuse(owner, ": the law is Hardmax with Ties::all, expected one whose rows sum to one");
}
}  // namespace detail

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

/// A mask that leaves out some keys of its range, too: those for which attends(i, j) is false.
template <class M>
concept PickingMask = AttentionMask<M> && requires(const M& mask, Eigen::Index i, Eigen::Index j) {
  { mask.attends(i, j) } -> std::same_as<bool>;
};

/// What is added to a score for the positions i and j: −slope |i − j|. A bias may also have masses: a factor
/// n mⱼ / ∑ₗ mₗ of the weights of key j, see TokenMasses.
template <class B>
concept PositionalBias = requires(const B& bias) {
  { bias.slope } -> std::convertible_to<double>;
  { bias.validate() } -> std::same_as<void>;
};

/// Every token attends to every token, itself included.
struct NoMask {
  /// All: 0, …, n − 1.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index /*i*/, Eigen::Index n) const noexcept { return {0, n}; }
  /// It is.
  [[nodiscard]] constexpr bool symmetric() const noexcept { return true; }
};

/// Scores carry no term that depends on the positions i and j.
struct NoBias {
  /// Scores do not fall.
  static constexpr double slope = 0;
  /// Nothing can be wrong.
  void validate() const noexcept {}
};

}}  // namespace attnflow
