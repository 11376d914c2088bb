/// \file
/// The three things that make a kind of attention: a law, a mask and a positional bias.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <concepts>
#include <span>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// How the scores of a row become its weights.
enum class WeightFunction {
  exponential,  ///< e^{sᵢⱼ}, with a factor for the row
  pointwise,    ///< any function of one score, law.weight(sᵢⱼ), and a scale for the row
  maximum,      ///< 1 where sᵢⱼ is the largest of its row, else 0; law.ties says what becomes of several
  row           ///< any function of a whole row of scores, law.weigh_row(scores)
};

/// How the weights of a pointwise law are scaled in each row.
enum class RowScale {
  none,  ///< not at all
  mean,  ///< divided by the number n of keys, whatever the mask
  sum    ///< divided by their sum; a row whose sum is zero has weights zero
};

/// What becomes of several keys that share the largest score of a row.
enum class Ties {
  average,  ///< each has the weight 1 / how many there are
  first,    ///< the one that comes first has the weight 1
  all       ///< each has the weight 1; rows do not sum to one
};

namespace detail {
// What a law says beside its β, for each kind.
template <class L>
concept ScalesExponentials = requires(const L& law, double log_normalizer, Eigen::Index n) {
  { law.log_row_factor(log_normalizer, n) } -> std::convertible_to<double>;
};
template <class L>
concept NormalizesRows = static_cast<bool>(L::rows_sum_to_one);
template <class L>
concept WeighsScores = requires(const L& law, double score) {
  { law.weight(score) } -> std::convertible_to<double>;
  { law.rows } -> std::convertible_to<RowScale>;
};
template <class L>
concept WeighsRows = requires(const L& law, std::span<double> scores) {
  law.weigh_row(scores);
};
template <class L>
concept BreaksTies = requires(const L& law) {
  { law.ties } -> std::convertible_to<Ties>;
};
template <class L, WeightFunction Function>
concept SaysItsRows = (Function == WeightFunction::exponential &&
                       (NormalizesRows<L> || ScalesExponentials<L>)) ||
                      (Function == WeightFunction::maximum && BreaksTies<L>) ||
                      (Function == WeightFunction::pointwise && WeighsScores<L>) ||
                      (Function == WeightFunction::row && WeighsRows<L>);
}  // namespace detail

/// How one row of scores becomes weights: a small value type with its inverse temperature `beta` and its kind, `function`.
/// With the scores sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j) and the sum over the keys that the mask leaves to row i,
///
///     exponential:  wᵢⱼ = e^{f} e^{sᵢⱼ} / ∑ₗ e^{sᵢₗ},   f = log_row_factor(log ∑ₗ e^{sᵢₗ}, n),
///
/// where `rows_sum_to_one` stands for f = 0, which is softmax; f = log ∑ₗ e^{sᵢₗ} is no normalisation;
///
///     pointwise:    wᵢⱼ = weight(sᵢⱼ), scaled as `rows` says (see RowScale): a template in the scalar, written with
///                   arithmetic, comparisons and the functions of pointwise.hpp, which become vector instructions;
///     maximum:      see Hardmax;
///     row:          weigh_row(span) replaces the scores of a row, less the largest of them and −∞ where the mask leaves a
///                   key out, by its weights, which sum to one: a template in the scalar.
///
/// Optional are `name`, for messages, and validate(), for what is to be refused beside a β that is not finite.
///
/// For tokens of another scalar than float and double, a law of exponentials whose rows do not sum to one takes and
/// returns that scalar in log_row_factor, too, so that derivatives pass through it: see Unnormalized.
template <class L>
concept WeightLaw = requires(const L& law) {
  { L::function } -> std::convertible_to<WeightFunction>;
  { law.beta } -> std::convertible_to<double>;
}
&&detail::SaysItsRows<L, L::function>;

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
};

namespace detail {

/// Whether the weights of every row with a key sum to one.
template <class L>
[[nodiscard]] constexpr bool rows_sum_to_one() noexcept {
  if constexpr (L::function == WeightFunction::pointwise)
    return false;  // a row may have no weight at all
  else if constexpr (L::function == WeightFunction::row)
    return true;
  else
    return L::rows_sum_to_one;
}

/// What messages call a law.
template <class L>
[[nodiscard]] constexpr const char* name_of_law() noexcept {
  if constexpr (requires { L::name; })
    return L::name;
  else
    return "the weight law";
}

/// \throws std::invalid_argument unless β is finite and the law finds itself valid.
template <class L>
void validate_law(const L& law) {
  if (!std::isfinite(static_cast<double>(law.beta)))
    refuse(name_of_law<L>(), "::beta is ", law.beta, ", expected a finite number");
  if constexpr (requires { law.validate(); }) law.validate();
}

/// f of a law of exponentials, for n keys that count alike.
template <class L, class S>
[[nodiscard]] S log_row_factor(const L& law, const S& log_normalizer, Eigen::Index n) {
  if constexpr (NormalizesRows<L>)
    return static_cast<void>(law), static_cast<void>(log_normalizer), static_cast<void>(n), S(0);
  else
    return law.log_row_factor(log_normalizer, n);
}

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

/// A mask of where the points are: takes(query, key, d), on pointers to d coordinates each, says whether the query takes the
/// key among those of its range, see Within.
template <class M>
concept StateMask = AttentionMask<M> && requires(const M& mask, const double* point, Eigen::Index d) {
  { mask.takes(point, point, d) } -> std::same_as<bool>;
  { mask.validate() } -> std::same_as<void>;
};

/// What is added to a score for the positions i and j: −slope |i − j|. A bias may also have masses: a factor
/// n mⱼ / ∑ₗ mₗ of the weights of key j, see TokenMasses; any table or function of i and j, see TabledBias; or, in place of all
/// these, it turns queries and keys, see RotatingPositions.
template <class B>
concept PositionalBias = requires(const B& bias) {
  { bias.slope } -> std::convertible_to<double>;
  { bias.validate() } -> std::same_as<void>;
};

/// A bias with a further term at(i, j), see BiasTable.
template <class B>
concept TabledBias = PositionalBias<B> && requires(const B& bias, Eigen::Index i, Eigen::Index j) {
  { bias.at(i, j) } -> std::convertible_to<double>;
};

/// Positions that turn queries and keys: angle(k, h, p, n) is the angle of plane k < h at position p of n keys, and
/// `planes` says which coordinates make a plane, see Rotary.
template <class B>
concept RotatingPositions = PositionalBias<B> && requires(const B& bias, Eigen::Index i) {
  { bias.angle(i, i, i, i) } -> std::convertible_to<double>;
  bias.planes;
};

/// Every token attends to every token, itself included.
struct NoMask {
  /// All keys: 0, …, n − 1.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index /*i*/, Eigen::Index n) const noexcept { return {0, n}; }
  /// The mask is symmetric.
  [[nodiscard]] constexpr bool symmetric() const noexcept { return true; }
};

/// Scores carry no term that depends on the positions i and j.
struct NoBias {
  /// λ = 0: scores do not depend on positions.
  static constexpr double slope = 0;
  /// There is nothing to check.
  void validate() const noexcept {}
};

}}  // namespace attnflow
