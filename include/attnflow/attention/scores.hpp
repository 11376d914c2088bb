/// \file
/// Scores that cannot overflow: directions of the queries, and their scale kept apart.
#pragma once

#include <attnflow/algebra/products.hpp>
#include <attnflow/algebra/scaled_matrix.hpp>
#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/kernels/multiply.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/detail/aligned_vector.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What decides the scores of one head: sᵢⱼ = β xᵢᵀ M xⱼ with M = QᵀK, as a scaled matrix.
template <int Dim = Eigen::Dynamic>
struct ScoreForm {
  ScaledMatrix<Dim> M;  ///< d × d
  /// The factor of the scores.
  double beta;
  typename ScaledMatrix<Dim>::Matrix transposed;  ///< M.matrixᵀ, which products with queries read
  detail::ColumnMajor<float, Dim, Dim> narrow;    ///< the same in float

  /// \param form  M. \param inverse_temperature  β.
  ScoreForm(ScaledMatrix<Dim> form, double inverse_temperature)
      : M(std::move(form)),
        beta(inverse_temperature),
        transposed(M.matrix.transpose()),
        narrow(transposed.template cast<float>()) {}
};

/// M = QᵀK of a head, computed in double without overflow, with the factor β; of weights that carry derivatives, the
/// numbers. Cost: O(d_k d²).
template <RealScalar Scalar, int Dim>
[[nodiscard]] ScoreForm<Dim> score_form(const Head<Scalar, Dim>& head, double beta) {
  Eigen::MatrixXd Q = detail::in_double(head.Q), K = detail::in_double(head.K);
  const int q = detail::exponent_of(Q.cwiseAbs().maxCoeff()),
            k = detail::exponent_of(K.cwiseAbs().maxCoeff());
  detail::scale_by_power_of_two(Q, -q);
  detail::scale_by_power_of_two(K, -k);
  const Eigen::MatrixXd product = detail::transposed_product(Q, K);
  auto M = ScaledMatrix<Dim>::of(product);
  M.log_scale += (q + k) * std::numbers::ln2;
  return {std::move(M), beta};
}

namespace detail {

/// What counts for a key whatever the query: nothing, or a number for each key, added to its scores (exponentials) or a
/// factor of its weights (other functions).
using KeyTerms = std::span<const double>;

/// The tokens and queries of one evaluation, laid out for the kernels. Scratch space: grows, never shrinks, one
/// for each thread.
///
/// With uᵢ = Eᵀ Mᵀ E xᵢ and F = β e^{log}, the scores are sᵢⱼ = F ⟨uᵢ, xⱼ⟩. A row comes in one of two forms.
///
/// Bounded rows (see RowTask) take ⟨uᵢ, xⱼ − c⟩, c the middle of the box around the tokens: a softmax does not see
/// the shift, and no rounding is larger than the cloud. From the score of its own key (or of the nearest one that
/// the mask leaves), which is attained, a row can rise by at most |F uᵢ| R − ⟨F uᵢ, xᵢ − c⟩, R = maxⱼ |xⱼ − c| (Cauchy and
/// Schwarz). Where that is below the range of the exponential, its sums neither overflow nor vanish: one pass over
/// the keys, no maximum taken. In few coordinates weights must not vanish, either (|F uᵢ| R + |⟨F uᵢ, xᵢ − c⟩|
/// within the range), so that nobody need look for those that do.
///
/// The others are exact rows (see ExactTask): the largest score first, and differences of tokens before products.
/// They carry a direction whose largest entry is below 4, and half_scale with F ⟨uᵢ, y⟩ = (⟨direction, y⟩ half_scale)
/// half_scale. It is at most the largest finite number, so that a difference of scores is 0 for δ = 0 and −∞ or
/// finite for δ < 0, but never NaN, however large the scale.
///
/// Terms of keys (see KeyTerms) are counted from the largest of them. Rows of other functions than the exponential see
/// no shift by themselves: their exponents start from the score of c, and c times the sum of the weights is added in
/// the end. Either all of them are bounded, or none is.
template <class Scalar>
class PreparedScores {
 public:
  Eigen::Index n = 0, d = 0;
  bool finite = false;            ///< all tokens prepared last are; otherwise the rest is of tokens before
  int exponent = 0;               ///< keys() are tokens times 2^{−exponent}
  std::vector<Scalar> centre;     ///< c, d numbers
  AlignedVector<Scalar> centred;  ///< d × n: xⱼ − c, key_step apart
  Eigen::Index key_step = 0;
  AlignedVector<Scalar> queries;  ///< F uᵢ log₂ e, in packs
  AlignedVector<Scalar> start;    ///< minus the score of row i's own key, from c, in base two
  bool ranged = false;            ///< rows have ranges of keys: begin and end
  std::vector<Scalar> begin, end, positions;
  AlignedVector<Scalar> sum, mean;
  std::vector<Eigen::Index> exact;  ///< the rows that are not bounded, in order
  Scalar slope = 0;                 ///< of the positional bias, in base two
  AlignedVector<Scalar>
      key_terms;            ///< of general kernels, in base two; of other functions, factors of the weights
  double largest_term = 0;  ///< from which they are counted
  PickedKeys picked;        ///< keys that rows leave out although they are in their range
  WeightFunction function = WeightFunction::exponential;  ///< of the rows prepared last
  double tie_tolerance = 0;                               ///< of the maximum

  /// Tokens times 2^{−exponent}, d × n.
  [[nodiscard]] const Scalar* keys() const noexcept { return keys_; }

  /// Reads the tokens, d × n, which outlive the evaluation. \returns false if one is not finite.
  template <int Dim = Eigen::Dynamic>
  bool prepare_keys(const Scalar* x, Eigen::Index rows, Eigen::Index columns);

  /// Prepares sᵢⱼ = β xᵢᵀ Eᵀ M E xⱼ − slope |i − j| for packs of rows; E is the identity where `flow` is null.
  /// \param all_exact  no row is bounded. \param terms  of keys, for general kernels; none or n numbers.
  template <int Dim, class Mask>
  void prepare_queries(const ScoreForm<Dim>& form, const ScaledMatrix<Dim>* flow, const Mask& mask,
                       double fall, const RowKernels<Scalar>& kernels, bool all_exact, KeyTerms terms = {}) {
    function = WeightFunction::exponential;
    set_ranges(mask, fall, kernels);
    set_key_terms(kernels, terms);
    const double log = multiply_by_form(form, flow);
    const auto own_key = [&](Eigen::Index i) {
      if constexpr (std::is_same_v<Mask, NoMask>) return i;
      return (std::max)(Eigen::Index(0), nearest_key(mask, i, n));
    };
    if (given_ != nullptr)
      set_queries<Dim, std::is_same_v<Mask, NoMask>>(given_, form.beta, log, kernels, all_exact, own_key);
    else
      set_queries<Dim, std::is_same_v<Mask, NoMask>>(u_.data(), form.beta, log, kernels, all_exact, own_key);
  }

  /// Prepares logistic or linear rows for general kernels: their exponents are eᵢⱼ = (sᵢⱼ + constant) log₂ e, or without
  /// the logarithm for a linear law. \param factors  of the weights of each key; none or n numbers.
  /// \returns false where scores cannot be taken from sums of that size: nothing is prepared then.
  template <int Dim, class Mask>
  [[nodiscard]] bool prepare_function(const ScoreForm<Dim>& form, const ScaledMatrix<Dim>* flow,
                                      const Mask& mask, double fall, const RowKernels<Scalar>& kernels,
                                      WeightFunction wanted, double constant, KeyTerms factors) {
    if (exponent > 0) return false;
    function = wanted;
    const double unit = wanted == WeightFunction::linear ? 1 : std::numbers::log2e;
    set_ranges(mask, fall / std::numbers::log2e * unit, kernels);
    const double log = multiply_by_form(form, flow);
    beta_ = form.beta * multiple_;
    log_ = log;
    factor_ = beta_ == 0 ? 0 : beta_ * unit * (log == 0 ? 1.0 : std::exp(log));
    if (query_exponent_ != 0) factor_ *= std::ldexp(1.0, query_exponent_);
    const double largest = static_cast<double>((std::numeric_limits<Scalar>::max)()) / 16;
    if (!std::isfinite(factor_) ||
        std::abs(static_cast<double>(slope)) * static_cast<double>(n) > std::sqrt(largest))
      return false;
    exact.clear();
    largest_term = 0;
    key_terms.assign(static_cast<std::size_t>(n), Scalar(1));
    for (std::size_t j = 0; j < factors.size(); ++j) key_terms[j] = static_cast<Scalar>(factors[j]);
    const auto count = static_cast<std::size_t>(n), coordinates = static_cast<std::size_t>(d);
    const auto lanes = static_cast<std::size_t>(kernels.width), padded = (count + lanes - 1) / lanes * lanes;
    make_room(padded, coordinates);
    for (std::size_t i = 0; i < padded; ++i) {
      Scalar* q = queries.data() + i / lanes * lanes * coordinates + i % lanes;
      double score = 0, size = 0;
      for (std::size_t c = 0; c < coordinates; ++c) {
        const double value = i < count ? query(static_cast<Eigen::Index>(i * coordinates + c)) * factor_ : 0;
        q[c * lanes] = static_cast<Scalar>(value);
        score += value * static_cast<double>(centre[c]);
        size = (std::max)(size, std::abs(value));
      }
      start[i] = static_cast<Scalar>(score + constant * unit);
      // What a score is summed up from stays far from the largest number.
      if (!(size * (radius_ + largest_) * static_cast<double>(d) < largest)) return false;
    }
    return true;
  }

  /// Direction and half_scale of row i, as exact rows have them: d numbers `stride` apart.
  void direction(Eigen::Index i, Scalar* to, Eigen::Index stride, double& half_scale) const;
  /// At most the largest finite Scalar.
  [[nodiscard]] static Scalar representable(double half_scale) {
    return static_cast<Scalar>(
        (std::min)(half_scale, static_cast<double>((std::numeric_limits<Scalar>::max)())));
  }
  /// The score of row i with the point c, in base two; its bias apart. Bounded rows only.
  [[nodiscard]] double centre_score(Eigen::Index i) const {
    double product = 0;
    for (Eigen::Index c = 0; c < d; ++c)
      product += query(i * d + c) * static_cast<double>(centre[static_cast<std::size_t>(c)]);
    return product * factor_;
  }

  /// Number k of the queries of prepare_function, with the factor of the scores.
  [[nodiscard]] double scaled_query(Eigen::Index k) const { return query(k) * factor_; }

  /// The scratch space of this thread.
  [[nodiscard]] static PreparedScores& of_this_thread() {
    static constinit thread_local Scratch<PreparedScores> kept;
    return *kept;
  }

 private:
  template <class Mask>
  void set_ranges(const Mask& mask, double fall, const RowKernels<Scalar>& kernels);
  void set_key_terms(const RowKernels<Scalar>& kernels, KeyTerms terms);
  /// Room for the rows: queries, starts, sums, means.
  void make_room(std::size_t padded, std::size_t coordinates) {
    queries.resize(padded * coordinates);
    mean.resize(padded * coordinates);
    start.resize(padded);
    sum.resize(padded);
  }
  /// The queries of the form, with the flow. \returns the logarithm of the scale of the scores.
  template <int Dim>
  double multiply_by_form(const ScoreForm<Dim>& form, const ScaledMatrix<Dim>* flow) {
    multiply_queries<Dim>(form.transposed.data(), form.narrow.data(),
                          flow == nullptr ? nullptr : flow->matrix.data());
    return flow == nullptr ? form.M.log_scale
                           : ScaledMatrix<Dim>::clamp_log(form.M.log_scale + 2 * flow->log_scale);
  }
  template <int Dim>
  void multiply_queries(const double* Mt, const float* narrow, const double* E);
  template <int Dim, bool PlainKeys, class U, class OwnKey>
  void set_queries(const U* u, double beta, double log, const RowKernels<Scalar>& kernels, bool all_exact,
                   const OwnKey& own_key);
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

  template <class Mask>
  const std::uint8_t* bits_of(const Mask& mask);

  const Scalar* x_ = nullptr;
  const Scalar* keys_ = nullptr;
  std::vector<std::uint8_t> bits_;
  double term_span_ = 0;  // of key_terms
  std::vector<Scalar> scaled_, low_, high_, product_;
  std::vector<double> transposed_, v_;
  std::vector<double> u_;
  const Scalar* given_ = nullptr;  // the queries, where they are not in u_
  double multiple_ = 1;
  int query_exponent_ = 0;
  double largest_ = 0, radius_ = 0, factor_ = 0, beta_ = 1, log_ = 0;
};

template <class Scalar>
template <int Dim>
bool PreparedScores<Scalar>::prepare_keys(const Scalar* x, Eigen::Index rows, Eigen::Index columns) {
  x_ = x;
  d = rows;
  n = columns;
  exponent = 0;
  if (n == 0) return true;
  const auto width = static_cast<std::size_t>(d), size = static_cast<std::size_t>(n * d);
  low_.resize(width);
  high_.resize(width);
  if constexpr (is_small<Dim>) {
    Scalar nothing = 0;
    for (std::size_t c = 0; c < Dim; ++c) nothing += find_interval(x + c, Dim, n, low_[c], high_[c]);
    if (nothing != Scalar(0)) return false;
  } else if (!token_kernels<Scalar>().find_box(x, d, n, low_.data(), high_.data())) {
    return false;
  }
  Scalar largest = 0;
  for (std::size_t c = 0; c < width; ++c) largest = (std::max)({largest, -low_[c], high_[c]});
  largest_ = static_cast<double>(largest);

  // Tokens as they are, unless their products could overflow.
  constexpr int comfortable = std::numeric_limits<Scalar>::max_exponent / 2;
  exponent = (std::max)(0, exponent_of(largest) - comfortable);
  keys_ = x;
  if (exponent > 0) {
    const Scalar shrink = std::ldexp(Scalar(1), -exponent);
    scaled_.resize(size);
    for (std::size_t k = 0; k < size; ++k) scaled_[k] = x[k] * shrink;
    keys_ = scaled_.data();
    return true;
  }
  centre.resize(width);
  key_step = RowTask<Scalar>::key_step_for(d);
  centred.resize(static_cast<std::size_t>(n * key_step));
  Scalar half_width = 0;
  for (std::size_t c = 0; c < width; ++c) {
    const Scalar half = (high_[c] - low_[c]) / 2;
    centre[c] = low_[c] + half;
    half_width = (std::max)(half_width, half);
  }
  if (is_small<Dim> || d <= most_small_coordinates) {
    double square = 0;  // half the diagonal of the box is at most twice as much
    for (std::size_t c = 0; c < width; ++c) {
      if (!(half_width > 0)) break;
      const double half = static_cast<double>(high_[c] - low_[c]) / (2 * static_cast<double>(half_width));
      square += half * half;
    }
    radius_ = std::sqrt(square) * static_cast<double>(half_width);
    for (std::size_t c = 0; c < width; ++c)
      for (std::size_t k = c; k < size; k += width) centred[k] = x[k] - centre[c];
    return true;
  }
  if constexpr (!is_small<Dim>) {
    // Squares in units of the box: they neither overflow nor vanish.
    const int box = exponent_of(half_width);
    const Scalar unit =
        std::ldexp(Scalar(1), (std::min)(-box, std::numeric_limits<Scalar>::max_exponent - 2));
    const Scalar square =
        token_kernels<Scalar>().shift(x, centre.data(), unit, d, n, centred.data(), key_step);
    radius_ = std::sqrt(static_cast<double>(square)) / static_cast<double>(unit);
  }
  return true;
}

template <class Scalar>
template <class Mask>
void PreparedScores<Scalar>::set_ranges(const Mask& mask, double fall, const RowKernels<Scalar>& kernels) {
  // Where n slopes would overflow, smaller ones do: nobody but the nearest key counts.
  const double steepest =
      static_cast<double>((std::numeric_limits<Scalar>::max)()) / (8 * static_cast<double>(n + 1));
  slope = static_cast<Scalar>(std::clamp(fall * std::numbers::log2e, -steepest, steepest));
  const auto padded = static_cast<std::size_t>((n + kernels.width - 1) / kernels.width * kernels.width);
  ranged = has_ranges(kernels.kind) || !std::is_same_v<Mask, NoMask>;
  if (ranged) {
    begin.assign(padded, Scalar(0));
    end.assign(padded, Scalar(0));
    for (Eigen::Index i = 0; i < n; ++i) {
      const KeyRange range = mask.keys(i, n);
      const bool some = range.begin < range.end;
      begin[static_cast<std::size_t>(i)] = some ? static_cast<Scalar>(range.begin) : Scalar(0);
      end[static_cast<std::size_t>(i)] = some ? static_cast<Scalar>(range.end) : Scalar(0);
    }
  }
  picked = {};
  if constexpr (std::is_same_v<Mask, ExcludeSelf>)
    picked.not_self = true;
  else if constexpr (requires { mask.bits(); })
    picked.bits = mask.bits();
  else if constexpr (PickingMask<Mask>)
    picked.bits = bits_of(mask);
  if (has_bias(kernels.kind) && positions.size() < padded) {
    positions.resize(padded);
    for (std::size_t i = 0; i < padded; ++i) positions[i] = static_cast<Scalar>(i);
  }
}

/// The keys that a mask picks, as kernels read them. Cost: n² calls, n² / 8 bytes.
template <class Scalar>
template <class Mask>
const std::uint8_t* PreparedScores<Scalar>::bits_of(const Mask& mask) {
  bits_.assign(static_cast<std::size_t>((n + 15) / 16 * 2 * n), 0);
  for (Eigen::Index i = 0; i < n; ++i) {
    const KeyRange range = mask.keys(i, n);
    for (Eigen::Index j = range.begin; j < range.end; ++j)
      if (mask.attends(i, j))
        bits_[static_cast<std::size_t>(i / 8 * n + j)] |= static_cast<std::uint8_t>(1U << (i % 8));
  }
  return bits_.data();
}

template <class Scalar>
void PreparedScores<Scalar>::set_key_terms(const RowKernels<Scalar>& kernels, KeyTerms terms) {
  largest_term = term_span_ = 0;
  if (kernels.kind != RowKind::general) return;
  key_terms.assign(static_cast<std::size_t>(n), Scalar(0));
  if (terms.empty()) return;
  largest_term = terms[0];
  double least = largest_term;
  for (const double term : terms) {
    largest_term = (std::max)(largest_term, term);
    least = (std::min)(least, term);
  }
  constexpr double lowest = -static_cast<double>((std::numeric_limits<Scalar>::max)()) / 16;
  for (std::size_t j = 0; j < terms.size(); ++j)
    key_terms[j] = static_cast<Scalar>((std::max)((terms[j] - largest_term) * std::numbers::log2e, lowest));
  term_span_ = (largest_term - least) * std::numbers::log2e;
}

/// uᵢ = Eᵀ Mᵀ E xᵢ, from tokens whose products neither overflow nor vanish.
template <class Scalar>
template <int Dim>
void PreparedScores<Scalar>::multiply_queries(const double* Mt, [[maybe_unused]] const float* narrow,
                                              const double* E) {
  const auto size = static_cast<std::size_t>(n * d), square = static_cast<std::size_t>(d * d);
  constexpr int comfortable = std::numeric_limits<double>::max_exponent / 2;
  const int magnitude = exponent_of(largest_);
  query_exponent_ = magnitude - std::clamp(magnitude, -comfortable, comfortable);
  given_ = nullptr;
  multiple_ = 1;
  if (E == nullptr) {
    bool scalar_matrix = true;  // a multiple of the identity, as often in this field
    for (Eigen::Index k = 0; scalar_matrix && k < d; ++k)
      for (Eigen::Index i = 0; i < d; ++i) scalar_matrix &= Mt[k * d + i] == (i == k ? Mt[0] : 0.0);
    // Products in Scalar: their rounding is that of the scores themselves.
    if (query_exponent_ == 0 && std::abs(magnitude) < std::numeric_limits<Scalar>::max_exponent / 2 - 4) {
      given_ = x_;
      if (scalar_matrix) {
        multiple_ = Mt[0];
        return;
      }
      product_.resize(size);
      if constexpr (std::is_same_v<Scalar, float>)
        multiply_tokens<Dim>(narrow, x_, product_.data(), d, n);
      else
        multiply_tokens<Dim>(Mt, x_, product_.data(), d, n);
      given_ = product_.data();
      return;
    }
  }
  u_.resize(size);
  const double shrink = std::ldexp(1.0, -query_exponent_);
  for (std::size_t k = 0; k < size; ++k) u_[k] = static_cast<double>(x_[k]) * shrink;
  v_.resize(size);
  const auto apply = [&](const double* a) {
    multiply_tokens<Dim>(a, u_.data(), v_.data(), d, n);
    u_.swap(v_);
  };
  if (E == nullptr) return apply(Mt);
  apply(E);
  apply(Mt);
  transposed_.resize(square);
  for (Eigen::Index k = 0; k < d; ++k)
    for (Eigen::Index i = 0; i < d; ++i) transposed_[static_cast<std::size_t>(k * d + i)] = E[i * d + k];
  apply(transposed_.data());
}

template <class Scalar>
template <int Dim, bool PlainKeys, class U, class OwnKey>
void PreparedScores<Scalar>::set_queries(const U* u, double beta, double log,
                                         const RowKernels<Scalar>& kernels, bool all_exact,
                                         const OwnKey& own_key) {
  // Exponents, in base two, that a bounded row may reach, and the largest |F uᵢ| R: beyond, differences of tokens
  // keep more of the scores' accuracy.
  constexpr bool single = std::is_same_v<Scalar, float>;
  constexpr double highest = single ? 100 : 900, widest = single ? 256 : 2048,
                   longest = single ? 0x1p60 : 0x1p500;
  const auto count = static_cast<std::size_t>(n), coordinates = static_cast<std::size_t>(Dim > 0 ? Dim : d);
  const auto lanes = static_cast<std::size_t>(kernels.width), padded = (count + lanes - 1) / lanes * lanes;
  beta_ = beta * multiple_;
  log_ = log;
  factor_ = beta_ == 0 ? 0 : beta_ * std::numbers::log2e * (log == 0 ? 1.0 : std::exp(log));
  if (query_exponent_ != 0) factor_ *= std::ldexp(1.0, query_exponent_);
  exact.clear();
  const double positional = std::abs(static_cast<double>(slope)) * static_cast<double>(n) + term_span_;
  // n numbers of size R times 2^{highest} stay finite.
  const double room = std::numeric_limits<Scalar>::max_exponent - 4 - std::ilogb(static_cast<double>(n)) -
                      (radius_ > 1 ? std::ilogb(radius_) : 0);
  // From the own key's term the largest is at most their span away.
  const double limit = (std::min)(highest, room) - (slope < 0 ? positional : term_span_);
  if (all_exact || exponent > 0 || !std::isfinite(factor_) || positional > (single ? 0x1p17 : 0x1p40)) {
    for (Eigen::Index i = 0; i < n; ++i) exact.push_back(i);
    return;
  }
  make_room(padded, coordinates);
  const U factor = static_cast<U>(factor_);
  const bool few = kernels.pack != nullptr && slope == 0 && term_span_ == 0;
  if constexpr (std::is_same_v<U, Scalar> && PlainKeys)
    if (few && kernels.pack({n, u, centred.data(), factor, static_cast<Scalar>(radius_ * (1 + 1e-6)),
                             static_cast<Scalar>(limit), static_cast<Scalar>(longest)},
                            queries.data(), start.data()))
      return;
  for (std::size_t i = 0; i < padded; ++i) {
    Scalar* q = queries.data() + i / lanes * lanes * coordinates + i % lanes;
    if (i >= count) {
      for (std::size_t c = 0; c < coordinates; ++c) q[c * lanes] = 0;
      start[i] = 0;
      continue;
    }
    const Eigen::Index own = own_key(static_cast<Eigen::Index>(i));
    const U* own_u = u + i * coordinates;
    const Scalar* key = centred.data() + own * key_step;
    // In four parts, so that one sum need not wait for another.
    U squares[4] = {0, 0, 0, 0}, products[4] = {0, 0, 0, 0};
    const auto take = [&](std::size_t c, std::size_t part) {
      const U value = own_u[c] * factor;
      q[c * lanes] = static_cast<Scalar>(value);
      squares[part] += value * value;
      products[part] += value * static_cast<U>(key[c]);
    };
    std::size_t c = 0;
    for (; c + 4 <= coordinates; c += 4) take(c, 0), take(c + 1, 1), take(c + 2, 2), take(c + 3, 3);
    for (; c < coordinates; ++c) take(c, c % 4);
    const auto square = static_cast<double>((squares[0] + squares[1]) + (squares[2] + squares[3]));
    double score = static_cast<double>((products[0] + products[1]) + (products[2] + products[3]));
    score -= static_cast<double>(slope) * std::abs(static_cast<double>(static_cast<Eigen::Index>(i) - own));
    if (term_span_ != 0) score += static_cast<double>(key_terms[static_cast<std::size_t>(own)]);
    start[i] = static_cast<Scalar>(-score);
    // How large |F uᵢ| R may be. Kernels of few coordinates do not look for weights that vanish.
    const double reach = (std::min)(few ? limit - std::abs(score) : limit + score, widest);
    if (square * radius_ * radius_ <= reach * reach && reach >= 0 && square <= longest * longest) continue;
    exact.push_back(static_cast<Eigen::Index>(i));
    for (c = 0; c < coordinates; ++c)
      q[c * lanes] = 0;  // what its lane computes is not used, and is harmless
    start[i] = 0;
  }
}

template <class Scalar>
void PreparedScores<Scalar>::direction(Eigen::Index i, Scalar* to, Eigen::Index stride,
                                       double& half_scale) const {
  int beta_exponent = 0;
  const double beta_mantissa = std::frexp(beta_, &beta_exponent);
  const int others = query_exponent_ + exponent + beta_exponent;
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

}  // namespace detail
}}  // namespace attnflow
