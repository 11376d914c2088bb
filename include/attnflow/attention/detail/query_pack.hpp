/// \file
/// The queries of an evaluation as the kernels of attention read them: directions, with their scale kept apart.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/detail/point_layout.hpp>
#include <attnflow/attention/kernels/multiply.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/attention/score_form.hpp>
#include <attnflow/detail/aligned_vector.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// What counts for a key whatever the query: nothing, or a number for each key, added to its scores (exponentials) or a
/// factor of its weights (other functions).
using KeyTerms = std::span<const double>;

/// The points that queries are made of.
template <class Scalar>
struct QueryPoints {
  const Scalar* points = nullptr;  ///< d × count
  Eigen::Index count = 0;          ///< m
  double largest = 0;              ///< the largest |coordinate| of the points
  /// Query i stands at position first_position + i among the keys, for masks and positional biases.
  Eigen::Index first_position = 0;
  /// Whether the key at that position is made of the same point: rows then start from its score.
  bool own_keys = true;

  /// All points of a layout, which the keys are made of, too.
  static QueryPoints of(const PointLayout<Scalar>& layout) {
    return {layout.given(), layout.n, layout.largest, 0, true};
  }
};

/// Where the queries come from: uᵢ = Eᵀ Mᵀ E qᵢ for points q₁ … qₘ. M is that of `form`, or the identity where there is
/// none; E = e^{tV} is `flow`, or the identity. The score of query i on key j is β e^{log_scale} ⟨uᵢ, yⱼ⟩.
template <class Scalar, int Dim = Eigen::Dynamic>
struct QuerySource : QueryPoints<Scalar> {
  const ScoreForm<Dim>* form = nullptr;
  const ScaledMatrix<Dim>* flow = nullptr;
  double beta = 1, log_scale = 0;

  QuerySource(const QueryPoints<Scalar>& of, double inverse_temperature, double log = 0)
      : QueryPoints<Scalar>(of), beta(inverse_temperature), log_scale(log) {}
  QuerySource(const QueryPoints<Scalar>& of, const ScoreForm<Dim>& M, const ScaledMatrix<Dim>* E = nullptr)
      : QueryPoints<Scalar>(of),
        form(&M),
        flow(E),
        beta(M.beta),
        log_scale(E == nullptr ? M.M.log_scale
                               : ScaledMatrix<Dim>::clamp_log(M.M.log_scale + 2 * E->log_scale)) {}
};

/// The packed queries of one evaluation, for the keys y₁ … yₙ of a layout. With F = β e^{log_scale}, the scores are
/// sᵢⱼ = F ⟨uᵢ, yⱼ⟩. A row comes in one of two forms.
///
/// Bounded rows (see RowTask) take ⟨uᵢ, yⱼ − c⟩, c the middle of the box around the keys: a softmax does not see the
/// shift, and no rounding is larger than the cloud. From the score of its own key (or of the nearest one that the mask
/// leaves), which is attained, a row can rise by at most |F uᵢ| R − ⟨F uᵢ, y − c⟩, R = maxⱼ |yⱼ − c| (Cauchy and Schwarz).
/// Queries that have no key of their own start from c, from which a score differs by at most |F uᵢ| R. Where that is below
/// the range of the exponential, its sums neither overflow nor vanish: one pass over the keys, no maximum taken. In few
/// coordinates weights must not vanish, either (|F uᵢ| R + |⟨F uᵢ, y − c⟩| within the range), so that nobody need look
/// for those that do.
///
/// The others are exact rows (see ExactTask): the largest score first, and differences of keys before products.
/// They carry a direction whose largest entry is below 4, and half_scale with F ⟨uᵢ, y⟩ = (⟨direction, y⟩ half_scale)
/// half_scale. It is at most the largest finite number, so that a difference of scores is 0 for δ = 0 and −∞ or
/// finite for δ < 0, but never NaN, however large the scale.
///
/// Terms of keys (see KeyTerms) are counted from the largest of them. Rows of other functions than the exponential see
/// no shift by themselves: their exponents start from the score of c, and c times the sum of the weights is added in
/// the end. Either all of them are bounded, or none is.
template <class Scalar>
class QueryPack {
 public:
  Eigen::Index m = 0;  ///< how many queries there are
  Eigen::Index first_position = 0;
  const PointLayout<Scalar>* keys = nullptr;
  AlignedVector<Scalar> queries;  ///< F uᵢ log₂ e, in packs
  AlignedVector<Scalar> start;    ///< minus the score from which row i starts, from c, in base two
  bool ranged = false;            ///< rows have ranges of keys: begin and end
  std::vector<Scalar> begin, end, positions;
  std::vector<Eigen::Index> exact;  ///< the rows that are not bounded, in order
  Scalar slope = 0;                 ///< of the positional bias, in base two
  AlignedVector<Scalar>
      key_terms;             ///< of general kernels, in base two; of other functions, factors of the weights
  double largest_term = 0;   ///< from which they are counted
  PickedKeys picked;         ///< keys that rows leave out although they are in their range
  bool hard = false;         ///< rows are those of the maximum
  double tie_tolerance = 0;  ///< of the maximum

  /// Packs sᵢⱼ = F ⟨uᵢ, yⱼ⟩ − fall |i − j| for exponentials or their maximum.
  /// \param all_exact  no row is bounded. \param terms  of keys, for general kernels; none or n numbers.
  template <int Dim, class Mask>
  void pack(const QuerySource<Scalar, Dim>& source, const PointLayout<Scalar>& of_keys, const Mask& mask,
            double fall, const RowKernels<Scalar>& kernels, bool all_exact, KeyTerms terms = {}) {
    begin_rows(source, of_keys, mask, fall, kernels);
    hard = false;
    set_key_terms(kernels, terms);
    multiply_queries(source);
    const auto own_key = [&](Eigen::Index i) {
      if (!source.own_keys) return Eigen::Index(-1);
      if constexpr (std::is_same_v<Mask, NoMask>) return first_position + i;
      return (std::max)(Eigen::Index(0), nearest_key(mask, first_position + i, keys->n));
    };
    constexpr bool plain = std::is_same_v<Mask, NoMask>;
    if (given_ != nullptr)
      set_queries<Dim, plain>(given_, source, kernels, all_exact, own_key);
    else
      set_queries<Dim, plain>(u_.data(), source, kernels, all_exact, own_key);
  }

  /// Packs the rows of a pointwise law: their exponents are the scores themselves. \param factors  of the weights of each
  /// key; none or n numbers. \returns false where scores cannot be taken from sums of that size: nothing is packed then.
  template <int Dim, class Mask>
  [[nodiscard]] bool pack_scores(const QuerySource<Scalar, Dim>& source, const PointLayout<Scalar>& of_keys,
                                 const Mask& mask, double fall, const RowKernels<Scalar>& kernels,
                                 KeyTerms factors);

  /// Direction and half_scale of row i, as exact rows have them: d numbers `stride` apart.
  void direction(Eigen::Index i, Scalar* to, Eigen::Index stride, double& half_scale) const;
  /// At most the largest finite Scalar.
  [[nodiscard]] static Scalar representable(double half_scale) {
    return static_cast<Scalar>(
        (std::min)(half_scale, static_cast<double>((std::numeric_limits<Scalar>::max)())));
  }
  /// The score of row i with the middle of the keys, in base two; its bias apart. Bounded rows only.
  [[nodiscard]] double centre_score(Eigen::Index i) const {
    double product = 0;
    for (Eigen::Index c = 0; c < keys->d; ++c) product += query(i * keys->d + c) * keys->middle_of(c);
    return product * factor_;
  }
  /// Number k of the queries of pack_scores, with the factor of the scores.
  [[nodiscard]] double scaled_query(Eigen::Index k) const { return query(k) * factor_; }

 private:
  template <int Dim, class Mask>
  void begin_rows(const QuerySource<Scalar, Dim>& source, const PointLayout<Scalar>& of_keys,
                  const Mask& mask, double fall, const RowKernels<Scalar>& kernels);
  template <class Mask>
  const std::uint8_t* bits_of(const Mask& mask);
  void set_key_terms(const RowKernels<Scalar>& kernels, KeyTerms terms);
  template <int Dim>
  void multiply_queries(const QuerySource<Scalar, Dim>& source);
  template <int Dim, bool PlainKeys, class U, class OwnKey>
  void set_queries(const U* u, const QuerySource<Scalar, Dim>& source, const RowKernels<Scalar>& kernels,
                   bool all_exact, const OwnKey& own_key);
  [[nodiscard]] std::size_t padded(const RowKernels<Scalar>& kernels) const {
    const auto lanes = static_cast<std::size_t>(kernels.width), count = static_cast<std::size_t>(m);
    return (count + lanes - 1) / lanes * lanes;
  }
  /// Number k of all uᵢ, times 2^{−query_exponent_} / multiple_.
  [[nodiscard]] double query(Eigen::Index k) const {
    return given_ != nullptr ? static_cast<double>(given_[k]) : u_[static_cast<std::size_t>(k)];
  }
  /// e^{log / 2} · 2^{power / 2} for an even power, at most the largest finite double.
  static double half_scale_for(double log, int power) {
    const double root = std::exp(0.5 * log);
    const double half =
        std::isnormal(root) ? std::ldexp(root, power / 2) : std::exp(0.5 * (log + power * std::numbers::ln2));
    return (std::min)(half, (std::numeric_limits<double>::max)());
  }

  std::vector<std::uint8_t> bits_;
  double term_span_ = 0;  // of key_terms
  std::vector<Scalar> product_;
  std::vector<double> transposed_, v_, u_;
  const Scalar* given_ = nullptr;  // the queries, where they are not in u_
  double multiple_ = 1;
  int query_exponent_ = 0;
  double factor_ = 0, beta_ = 1, log_ = 0;
};

template <class Scalar>
template <int Dim, class Mask>
void QueryPack<Scalar>::begin_rows(const QuerySource<Scalar, Dim>& source, const PointLayout<Scalar>& of_keys,
                                   const Mask& mask, double fall, const RowKernels<Scalar>& kernels) {
  keys = &of_keys;
  m = source.count;
  first_position = source.first_position;
  const Eigen::Index n = keys->n;
  // Where n slopes would overflow, smaller ones do: nobody but the nearest key counts.
  const double steepest = static_cast<double>((std::numeric_limits<Scalar>::max)()) /
                          (8 * static_cast<double>((std::max)(n, first_position + m) + 1));
  slope = static_cast<Scalar>(std::clamp(fall * std::numbers::log2e, -steepest, steepest));
  const std::size_t rows = padded(kernels);
  ranged = has_ranges(kernels.kind) || !std::is_same_v<Mask, NoMask>;
  if (ranged) {
    begin.assign(rows, Scalar(0));
    end.assign(rows, Scalar(0));
    for (Eigen::Index i = 0; i < m; ++i) {
      const KeyRange range = key_range(mask, first_position + i, n);
      if (range.begin >= range.end) continue;
      begin[static_cast<std::size_t>(i)] = static_cast<Scalar>(range.begin);
      end[static_cast<std::size_t>(i)] = static_cast<Scalar>(range.end);
    }
  }
  picked = {};
  if constexpr (std::is_same_v<Mask, ExcludeSelf>)
    picked.not_self = true;
  else if constexpr (PickingMask<Mask>)
    picked.bits = bits_of(mask);
  const std::size_t places =
      (std::max)(static_cast<std::size_t>(n), static_cast<std::size_t>(first_position) + rows);
  if (has_bias(kernels.kind) && positions.size() < places) {
    positions.resize(places);
    for (std::size_t i = 0; i < places; ++i) positions[i] = static_cast<Scalar>(i);
  }
}

/// The keys that a mask picks, as kernels read them. Cost: n m calls, n m / 8 bytes; none for a Graph.
template <class Scalar>
template <class Mask>
const std::uint8_t* QueryPack<Scalar>::bits_of(const Mask& mask) {
  if constexpr (requires { mask.bits(); })
    if (first_position == 0) return mask.bits();
  const Eigen::Index n = keys->n;
  bits_.assign(static_cast<std::size_t>((m + 15) / 16 * 2 * n), 0);
  for (Eigen::Index i = 0; i < m; ++i) {
    const KeyRange range = key_range(mask, first_position + i, n);
    for (Eigen::Index j = range.begin; j < range.end; ++j)
      if (mask.attends(first_position + i, j))
        bits_[static_cast<std::size_t>(i / 8 * n + j)] |= static_cast<std::uint8_t>(1U << (i % 8));
  }
  return bits_.data();
}

template <class Scalar>
void QueryPack<Scalar>::set_key_terms(const RowKernels<Scalar>& kernels, KeyTerms terms) {
  largest_term = term_span_ = 0;
  if (kernels.kind != RowKind::general) return;
  key_terms.assign(static_cast<std::size_t>(keys->n), Scalar(0));
  if (terms.empty()) return;
  const auto [least, most] = std::minmax_element(terms.begin(), terms.end());
  largest_term = *most;
  term_span_ = (largest_term - *least) * std::numbers::log2e;
  constexpr double lowest = -static_cast<double>((std::numeric_limits<Scalar>::max)()) / 16;
  for (std::size_t j = 0; j < terms.size(); ++j)
    key_terms[j] = static_cast<Scalar>((std::max)((terms[j] - largest_term) * std::numbers::log2e, lowest));
}

template <class Scalar>
template <int Dim, class Mask>
bool QueryPack<Scalar>::pack_scores(const QuerySource<Scalar, Dim>& source,
                                    const PointLayout<Scalar>& of_keys, const Mask& mask, double fall,
                                    const RowKernels<Scalar>& kernels, KeyTerms factors) {
  if (of_keys.exponent > 0) return false;
  begin_rows(source, of_keys, mask, fall / std::numbers::log2e, kernels);
  multiply_queries(source);
  beta_ = source.beta * multiple_;
  factor_ = beta_ == 0 ? 0 : beta_ * (log_ == 0 ? 1.0 : std::exp(log_));
  if (query_exponent_ != 0) factor_ *= std::ldexp(1.0, query_exponent_);
  const double largest = static_cast<double>((std::numeric_limits<Scalar>::max)()) / 16;
  if (!std::isfinite(factor_) ||
      std::abs(static_cast<double>(slope)) * static_cast<double>((std::max)(keys->n, first_position + m)) >
          std::sqrt(largest))
    return false;
  exact.clear();
  largest_term = 0;
  key_terms.assign(static_cast<std::size_t>(keys->n), Scalar(1));
  for (std::size_t j = 0; j < factors.size(); ++j) key_terms[j] = static_cast<Scalar>(factors[j]);
  const auto count = static_cast<std::size_t>(m), coordinates = static_cast<std::size_t>(keys->d);
  const auto lanes = static_cast<std::size_t>(kernels.width);
  const std::size_t rows = padded(kernels);
  queries.resize(rows * coordinates);
  start.resize(rows);
  const double reach = keys->reach();
  for (std::size_t i = 0; i < rows; ++i) {
    Scalar* q = queries.data() + i / lanes * lanes * coordinates + i % lanes;
    double score = 0, size = 0;
    for (std::size_t c = 0; c < coordinates; ++c) {
      const double value = i < count ? query(static_cast<Eigen::Index>(i * coordinates + c)) * factor_ : 0;
      q[c * lanes] = static_cast<Scalar>(value);
      score += value * keys->middle_of(static_cast<Eigen::Index>(c));
      size = (std::max)(size, std::abs(value));
    }
    start[i] = static_cast<Scalar>(score);
    // What a score is summed up from stays far from the largest number.
    if (!(size * reach * static_cast<double>(coordinates) < largest)) return false;
  }
  return true;
}

/// uᵢ = Eᵀ Mᵀ E qᵢ, from points whose products neither overflow nor vanish.
template <class Scalar>
template <int Dim>
void QueryPack<Scalar>::multiply_queries(const QuerySource<Scalar, Dim>& source) {
  const Eigen::Index d = keys->d;
  const auto size = static_cast<std::size_t>(m * d), square = static_cast<std::size_t>(d * d);
  const double* Mt = source.form == nullptr ? nullptr : source.form->transposed.data();
  const double* E = source.flow == nullptr ? nullptr : source.flow->matrix.data();
  constexpr int comfortable = std::numeric_limits<double>::max_exponent / 2;
  const int magnitude = exponent_of(source.largest);
  query_exponent_ = magnitude - std::clamp(magnitude, -comfortable, comfortable);
  log_ = source.log_scale;
  given_ = nullptr;
  multiple_ = 1;
  if (E == nullptr) {
    bool scalar_matrix = true;  // a multiple of the identity, as often in this field
    for (Eigen::Index k = 0; Mt != nullptr && scalar_matrix && k < d; ++k)
      for (Eigen::Index i = 0; i < d; ++i) scalar_matrix &= Mt[k * d + i] == (i == k ? Mt[0] : 0.0);
    // Products in Scalar: their rounding is that of the scores themselves.
    if (query_exponent_ == 0 && std::abs(magnitude) < std::numeric_limits<Scalar>::max_exponent / 2 - 4) {
      given_ = source.points;
      if (scalar_matrix) {
        if (Mt != nullptr) multiple_ = Mt[0];
        return;
      }
      product_.resize(size);
      if constexpr (std::is_same_v<Scalar, float>)
        multiply_tokens<Dim>(source.form->narrow.data(), source.points, product_.data(), d, m);
      else
        multiply_tokens<Dim>(Mt, source.points, product_.data(), d, m);
      given_ = product_.data();
      return;
    }
  }
  u_.resize(size);
  const double shrink = std::ldexp(1.0, -query_exponent_);
  for (std::size_t k = 0; k < size; ++k) u_[k] = static_cast<double>(source.points[k]) * shrink;
  v_.resize(size);
  const auto apply = [&](const double* a) {
    multiply_tokens<Dim>(a, u_.data(), v_.data(), d, m);
    u_.swap(v_);
  };
  if (E != nullptr) apply(E);
  if (Mt != nullptr) apply(Mt);
  if (E == nullptr) return;
  transposed_.resize(square);
  for (Eigen::Index k = 0; k < d; ++k)
    for (Eigen::Index i = 0; i < d; ++i) transposed_[static_cast<std::size_t>(k * d + i)] = E[i * d + k];
  apply(transposed_.data());
}

template <class Scalar>
template <int Dim, bool PlainKeys, class U, class OwnKey>
void QueryPack<Scalar>::set_queries(const U* u, const QuerySource<Scalar, Dim>& source,
                                    const RowKernels<Scalar>& kernels, bool all_exact,
                                    const OwnKey& own_key) {
  // Exponents, in base two, that a bounded row may reach, and the largest |F uᵢ| R: beyond, differences of keys keep
  // more of the scores' accuracy.
  constexpr bool single = std::is_same_v<Scalar, float>;
  constexpr double highest = single ? 100 : 900, widest = single ? 256 : 2048,
                   longest = single ? 0x1p60 : 0x1p500;
  const auto count = static_cast<std::size_t>(m),
             coordinates = static_cast<std::size_t>(Dim > 0 ? Dim : keys->d);
  const auto lanes = static_cast<std::size_t>(kernels.width);
  const std::size_t rows = padded(kernels);
  const double radius = keys->radius;
  beta_ = source.beta * multiple_;
  factor_ = beta_ == 0 ? 0 : beta_ * std::numbers::log2e * (log_ == 0 ? 1.0 : std::exp(log_));
  if (query_exponent_ != 0) factor_ *= std::ldexp(1.0, query_exponent_);
  exact.clear();
  const double positional =
      std::abs(static_cast<double>(slope)) * static_cast<double>((std::max)(keys->n, first_position + m)) +
      term_span_;
  // n numbers of size R times 2^{highest} stay finite.
  const double room = std::numeric_limits<Scalar>::max_exponent - 4 -
                      std::ilogb(static_cast<double>(keys->n)) - (radius > 1 ? std::ilogb(radius) : 0);
  // From the own key's term the largest is at most their span away.
  const double limit = (std::min)(highest, room) - (slope < 0 ? positional : term_span_);
  if (all_exact || keys->exponent > 0 || !std::isfinite(factor_) || positional > (single ? 0x1p17 : 0x1p40)) {
    for (Eigen::Index i = 0; i < m; ++i) exact.push_back(i);
    return;
  }
  queries.resize(rows * coordinates);
  start.resize(rows);
  const U factor = static_cast<U>(factor_);
  const bool few = kernels.pack != nullptr && slope == 0 && term_span_ == 0;
  if constexpr (std::is_same_v<U, Scalar> && PlainKeys)
    if (few && source.own_keys &&
        kernels.pack({m, u, keys->centred.data() + first_position * keys->step, factor,
                      static_cast<Scalar>(radius * (1 + 1e-6)), static_cast<Scalar>(limit),
                      static_cast<Scalar>(longest)},
                     queries.data(), start.data()))
      return;
  for (std::size_t i = 0; i < rows; ++i) {
    Scalar* q = queries.data() + i / lanes * lanes * coordinates + i % lanes;
    if (i >= count) {
      for (std::size_t c = 0; c < coordinates; ++c) q[c * lanes] = 0;
      start[i] = 0;
      continue;
    }
    const Eigen::Index own = own_key(static_cast<Eigen::Index>(i));
    const U* own_u = u + i * coordinates;
    const Scalar* key = own < 0 ? nullptr : keys->centred.data() + own * keys->step;
    // In four parts, so that one sum need not wait for another.
    U squares[4] = {0, 0, 0, 0}, products[4] = {0, 0, 0, 0};
    const auto take = [&](std::size_t c, std::size_t part) {
      const U value = own_u[c] * factor;
      q[c * lanes] = static_cast<Scalar>(value);
      squares[part] += value * value;
      if (key != nullptr) products[part] += value * static_cast<U>(key[c]);
    };
    std::size_t c = 0;
    for (; c + 4 <= coordinates; c += 4) take(c, 0), take(c + 1, 1), take(c + 2, 2), take(c + 3, 3);
    for (; c < coordinates; ++c) take(c, c % 4);
    const auto square = static_cast<double>((squares[0] + squares[1]) + (squares[2] + squares[3]));
    double score = static_cast<double>((products[0] + products[1]) + (products[2] + products[3]));
    if (own >= 0) {
      const Eigen::Index away = first_position + static_cast<Eigen::Index>(i) - own;
      score -= static_cast<double>(slope) * std::abs(static_cast<double>(away));
      if (term_span_ != 0) score += static_cast<double>(key_terms[static_cast<std::size_t>(own)]);
    }
    start[i] = static_cast<Scalar>(-score);
    // How large |F uᵢ| R may be. Kernels of few coordinates do not look for weights that vanish; without an own key nothing
    // says that a score is attained which is not far below the start.
    const double reach = (std::min)(
        few || own < 0 ? limit - std::abs(score) - (own < 0 ? positional : 0) : limit + score, widest);
    if (square * radius * radius <= reach * reach && reach >= 0 && square <= longest * longest) continue;
    exact.push_back(static_cast<Eigen::Index>(i));
    for (c = 0; c < coordinates; ++c)
      q[c * lanes] = 0;  // what its lane computes is not used, and is harmless
    start[i] = 0;
  }
}

template <class Scalar>
void QueryPack<Scalar>::direction(Eigen::Index i, Scalar* to, Eigen::Index stride, double& half_scale) const {
  const Eigen::Index d = keys->d;
  int beta_exponent = 0;
  const double beta_mantissa = std::frexp(beta_, &beta_exponent);
  const int others = query_exponent_ + keys->exponent + beta_exponent;
  double size = 0;
  for (Eigen::Index c = 0; c < d; ++c) size = (std::max)(size, std::abs(query(i * d + c)));
  int down = exponent_of(size);
  if ((down + others) % 2 != 0) --down;  // an even power has an exact root
  // 2^{−down} in two factors: by itself it may not be a double.
  const double first = std::ldexp(beta_mantissa, -(down / 2)), second = std::ldexp(1.0, -(down - down / 2));
  for (Eigen::Index c = 0; c < d; ++c)
    to[c * stride] = static_cast<Scalar>(query(i * d + c) * second * first);
  half_scale = beta_ == 0 ? 0 : half_scale_for(log_, down + others);
}

}}}  // namespace attnflow::detail
