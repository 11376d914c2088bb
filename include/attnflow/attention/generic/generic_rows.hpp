/// \file
/// The operator for scalars that no kernel is compiled for: long double, Eigen::AutoDiffScalar, a user's dual number.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/numerics/scaled_matrix.hpp>
#include <attnflow/parallel/threads.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// 2^e.
template <class Scalar>
[[nodiscard]] Scalar power_of_two(int e) {
  return static_cast<Scalar>(std::ldexp(Value<Scalar>(1), e));
}

/// The largest |number| of `count` entries; NaN or ∞ if one is.
template <class Scalar>
[[nodiscard]] Value<Scalar> largest_number(const Scalar* entries, Eigen::Index count) {
  Value<Scalar> largest = 0;
  for (Eigen::Index k = 0; k < count; ++k) {
    const Value<Scalar> size = std::abs(value_of(entries[k]));
    if (!(size <= largest)) largest = size;
    if (std::isnan(largest)) break;
  }
  return largest;
}

/// y = a x for d × d and d × n entries. Every product becomes a Scalar before it is added: sums of the expressions that
/// an autodiff type makes of a · b may not allow for an operand without derivatives. A matrix that several threads share
/// is copied first, see private_copy.
template <class Scalar>
void multiply_entries(const Scalar* a, const Scalar* x, Scalar* y, Eigen::Index d, Eigen::Index n) {
  for (Eigen::Index j = 0; j < n; ++j)
    for (Eigen::Index i = 0; i < d; ++i) {
      Scalar sum = a[i] * x[j * d];
      for (Eigen::Index k = 1; k < d; ++k) {
        const Scalar term = a[i + k * d] * x[j * d + k];
        sum += term;
      }
      y[j * d + i] = sum;
    }
}

/// What decides the scores of one head, in the scalar of the tokens: sᵢⱼ = β 2^exponent e^{log_scale} xᵢᵀ M xⱼ. The
/// derivatives that Q and K carry are in M.
template <class Scalar, int Dim>
struct GenericForm {
  detail::ColumnMajor<Scalar, Dim, Dim> M;  ///< d × d; 0 × 0 for the identity
  int exponent = 0;
  double log_scale = 0;
  double beta = 1;
};

/// M = QᵀK of a head without overflow. Cost: O(d_k d²).
template <class Scalar, int Dim>
[[nodiscard]] GenericForm<Scalar, Dim> generic_form(const Head<Scalar, Dim>& head, double beta) {
  auto Q = head.Q, K = head.K;
  const int q = exponent_of(largest_number(Q.data(), Q.size())),
            k = exponent_of(largest_number(K.data(), K.size()));
  scale_by_power_of_two(Q, -q);
  scale_by_power_of_two(K, -k);
  const Eigen::Index d = head.dim();
  GenericForm<Scalar, Dim> form{detail::ColumnMajor<Scalar, Dim, Dim>(d, d), q + k, 0, beta};
  for (Eigen::Index i = 0; i < d; ++i)
    for (Eigen::Index j = 0; j < d; ++j) {
      Scalar sum = Q(0, i) * K(0, j);
      for (Eigen::Index c = 1; c < Q.rows(); ++c) {
        const Scalar term = Q(c, i) * K(c, j);
        sum += term;
      }
      form.M(i, j) = sum;
    }
  return form;
}

/// e^s, and nothing where that underflows: there a derivative e^s s' would be 0 · ∞, which is nothing as well.
template <class Scalar>
[[nodiscard]] Scalar exponential(const Scalar& s) {
  using std::exp;
  if (std::exp(value_of(s)) == 0) return Scalar(0);
  return exp(s);
}

/// One row of scores: those of its keys less the largest, sᵢⱼ − sᵢᵣ; −∞ for keys that the mask leaves out.
template <class Scalar>
struct GenericRow {
  KeyRange range;
  Eigen::Index largest_key = 0;          ///< r
  std::vector<Scalar> difference;        ///< of key begin + k
  Scalar largest_score = Scalar(0);      ///< sᵢᵣ, its positional bias included
  std::vector<Scalar> query, temporary;  ///< d numbers each
  std::vector<Scalar> moment;

  bool empty = true;  ///< nothing to attend to
};

/// Points in units of 2^exponent, in which no product of two of them overflows: read where they lie, or copied where they
/// are too large for that or may carry derivatives (see private_copy).
template <class Scalar>
struct ScaledPoints {
  const Scalar* data = nullptr;
  int exponent = 0;
  bool finite = true;

  ScaledPoints(const Scalar* points, Eigen::Index size) : data(points) {
    constexpr int comfortable = std::numeric_limits<Value<Scalar>>::max_exponent / 2;
    const auto largest = largest_number(points, size);
    finite = std::isfinite(largest);
    if (!finite || size == 0) return;
    exponent = (std::max)(0, exponent_of(largest) - comfortable);
    if (exponent == 0 && std::floating_point<Scalar>) return;
    copy_.assign(points, points + size);
    if (exponent > 0)
      for (Scalar& entry : copy_) entry *= power_of_two<Scalar>(-exponent);
    data = copy_.data();
  }
  ScaledPoints(const ScaledPoints&) = delete;
  ScaledPoints& operator=(const ScaledPoints&) = delete;
  ScaledPoints(ScaledPoints&&) noexcept = default;
  ~ScaledPoints() = default;

 private:
  std::vector<Scalar> copy_;
};

/// The rows of one evaluation, by plain loops in the scalar of the tokens: with queries q, keys y and p = first_position + i,
///
///     sᵢⱼ = F ⟨uᵢ, yⱼ⟩ − slope |p − j| + b(p, j),   uᵢ = Eᵀ Mᵀ E qᵢ,   F = β 2^{exponent} e^{log},
///
/// where b is the table of a TabledBias.
///
/// Overflow-safe as the kernels' exact rows are, see ExactRow: the key of largest score first, found on the numbers
/// alone; differences of tokens before products; the scale F kept apart as the square of a number that is finite, so
/// that a difference of scores is 0 for tokens that agree and −∞ or finite otherwise, but never NaN. A weight that
/// underflows adds nothing, and nothing to the derivatives. The difference of the largest score with itself is the
/// constant zero.
///
/// Where a derivative is itself beyond the range of the scalar (two equal scores at a scale of 10³⁰⁸) it comes out
/// ±∞ or NaN; the number beside it does not suffer.
///
/// Cost: O(n d) a row and O(d³) once; O(n d) memory.
template <class Scalar, int Dim, class Mask, class Bias = NoBias>
class GenericRows {
  using Number = Value<Scalar>;
  using Wide = std::common_type_t<Number, double>;

 public:
  /// \param points  the queries and the keys. \param terms  added to the scores of each key: n numbers, or none. They outlive
  /// the rows. \param corrections  small numbers that are added to them after differences have been taken, by make() alone:
  /// two vectors of corrections with the same terms differ by themselves, whatever the size of scores and terms.
  /// \param bias  whose table is added, which outlives the rows; its slope is the argument. Null: none.
  GenericRows(const GenericForm<Scalar, Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow,
              const Mask& mask, double slope, const PointViews<Scalar, Dim>& points,
              std::span<const Scalar> terms = {}, std::span<const Scalar> corrections = {},
              const Bias* bias = nullptr)
      : form_(form),
        mask_(mask),
        bias_(bias),
        slope_(slope),
        terms_(terms),
        corrections_(corrections),
        n_(points.keys.cols()),
        d_(points.keys.rows()),
        first_position_(points.first_position),
        scaled_keys_(points.keys.data(), n_ * d_),
        keys_(scaled_keys_.data),
        queries_(points.queries.data()) {
    const Eigen::Index queries_size = points.queries.cols() * d_;
    if (points.queries.data() != points.keys.data())
      scaled_queries_.emplace_back(points.queries.data(), queries_size);
    const ScaledPoints<Scalar>& queries = scaled_queries_.empty() ? scaled_keys_ : scaled_queries_.front();
    finite_ = scaled_keys_.finite && queries.finite;
    if (!finite_ || n_ == 0) return;
    queries_ = queries.data;
    // Queries are made of points that are not too small, either.
    constexpr int comfortable = std::numeric_limits<Number>::max_exponent / 2;
    grow_ = std::clamp(-exponent_of(largest_number(queries_, queries_size)) - comfortable, 0, comfortable);
    exponents_ = scaled_keys_.exponent + queries.exponent;
    numbers_.reserve(static_cast<std::size_t>(n_ * d_));
    for (Eigen::Index k = 0; k < n_ * d_; ++k) numbers_.push_back(value_of(keys_[k]));
    log_ = form.log_scale;
    if (flow != nullptr) {
      log_ = ScaledMatrix<Dim>::clamp_log(log_ + 2 * flow->log_scale);
      flow_ = flow->matrix.template cast<Scalar>();
      flow_transposed_ = flow_.transpose();
    }
    form_transposed_ = form.M.transpose();
  }

  [[nodiscard]] bool finite() const noexcept { return finite_; }

  /// Whether row i takes key j of its range.
  [[nodiscard]] bool takes(Eigen::Index i, Eigen::Index j) const {
    return is_attended(mask_, first_position_ + i, j);
  }

  /// Makes row i.
  void make(Eigen::Index i, GenericRow<Scalar>& row) const {
    Number half = 0;
    if (!begin(i, row, half)) return;
    const Eigen::Index r = row.largest_key = find_largest(i, row, half);
    for (Eigen::Index j = row.range.begin; j < row.range.end; ++j) {
      if (j == r) continue;
      Scalar& difference = row.difference[static_cast<std::size_t>(j - row.range.begin)];
      if (!takes(i, j)) {
        difference = static_cast<Scalar>(-std::numeric_limits<Number>::infinity());
        continue;
      }
      Scalar s = score(product_with_difference(row, j, r), half);
      if (falls()) s += static_cast<Scalar>(static_cast<Number>(fall(i, r) - fall(i, j)));
      if (!terms_.empty()) s += term(j) - term(r);
      const Number number = value_of(s);
      if (number == -std::numeric_limits<Number>::infinity())
        s = static_cast<Scalar>(number);  // whatever its derivative has become
      else if (number > 0)                // by rounding: r is the largest
        s = std::isfinite(number) ? Scalar(s - static_cast<Scalar>(number)) : Scalar(0);
      difference = s;
    }
    if (!corrections_.empty()) correct(row);
    row.largest_score = score_of(i, row.largest_key, row, half);
    if (!corrections_.empty()) row.largest_score += corrections_[static_cast<std::size_t>(row.largest_key)];
  }

  /// Makes row i with the scores themselves for differences; one beyond the range is infinite.
  void make_scores(Eigen::Index i, GenericRow<Scalar>& row) const {
    Number half = 0;
    if (!begin(i, row, half)) return;
    for (Eigen::Index j = row.range.begin; j < row.range.end; ++j) {
      if (!takes(i, j)) continue;
      const Scalar s = score_of(i, j, row, half);
      // Without derivatives, which may be anything there.
      row.difference[static_cast<std::size_t>(j - row.range.begin)] =
          std::isinf(value_of(s)) ? static_cast<Scalar>(value_of(s)) : s;
    }
  }

  /// Makes row i with zeros for the keys that share the largest score, see Hardmax::tolerance, and −∞ for others.
  void make_ties(Eigen::Index i, double tolerance, GenericRow<Scalar>& row) const {
    Number half = 0;
    if (!begin(i, row, half)) return;
    const Eigen::Index r = row.largest_key = find_largest(i, row, half);
    row.largest_score = score_of(i, r, row, half);
    Eigen::Index first = row.range.end;
    for (Eigen::Index j = row.range.begin; j < row.range.end; ++j) {
      Number delta = value_of(product_with_difference(row, j, r)), size = 0;
      for (Eigen::Index c = 0; c < d_; ++c)
        size += std::abs(value_of(row.query[static_cast<std::size_t>(c)]) *
                         (numbers_[static_cast<std::size_t>(j * d_ + c)] -
                          numbers_[static_cast<std::size_t>(r * d_ + c)]));
      if (falls()) {
        delta = (delta * half) * half + static_cast<Number>(fall(i, r) - fall(i, j));
        size = (size * half) * half;
      }
      const bool tied = takes(i, j) && !(delta < -static_cast<Number>(tolerance) * size);
      row.difference[static_cast<std::size_t>(j - row.range.begin)] =
          tied ? Scalar(0) : static_cast<Scalar>(-std::numeric_limits<Number>::infinity());
      if (tied) first = (std::min)(first, j);
    }
    row.largest_key = first;
  }

 private:
  [[nodiscard]] double fall(Eigen::Index i, Eigen::Index j) const {
    double result = slope_ == 0 ? 0 : slope_ * std::abs(static_cast<double>(first_position_ + i - j));
    if constexpr (TabledBias<Bias>) result -= static_cast<double>(bias_->at(first_position_ + i, j));
    return result;
  }
  /// Whether scores have a part of the positions, −fall(i, j).
  [[nodiscard]] bool falls() const noexcept { return TabledBias<Bias> || slope_ != 0; }
  [[nodiscard]] const Scalar& term(Eigen::Index j) const { return terms_[static_cast<std::size_t>(j)]; }
  /// Adds the corrections to the differences, which are then counted from the key that is the largest with them.
  void correct(GenericRow<Scalar>& row) const {
    const auto first = static_cast<std::size_t>(row.range.begin);
    std::size_t best = static_cast<std::size_t>(row.largest_key) - first;
    const Scalar own = corrections_[first + best];
    for (std::size_t k = 0; k < row.difference.size(); ++k) {
      Scalar& difference = row.difference[k];
      if (value_of(difference) == -std::numeric_limits<Number>::infinity()) continue;
      difference += Scalar(corrections_[first + k] - own);
    }
    for (std::size_t k = 0; k < row.difference.size(); ++k)
      if (value_of(row.difference[k]) > value_of(row.difference[best])) best = k;
    const Scalar shift = row.difference[best];
    for (Scalar& difference : row.difference) difference -= shift;
    row.difference[best] = Scalar(0);
    row.largest_key = row.range.begin + static_cast<Eigen::Index>(best);
  }
  /// Room for the differences of row i, and its query. \returns false where there is nothing to attend to.
  [[nodiscard]] bool begin(Eigen::Index i, GenericRow<Scalar>& row, Number& half) const {
    row.range = key_range(mask_, first_position_ + i, n_);
    row.largest_key = 0;
    row.empty = nearest_key(mask_, first_position_ + i, n_) < 0;
    if (row.empty) return false;
    half = make_query(i, row);
    row.difference.assign(static_cast<std::size_t>(row.range.end - row.range.begin), Scalar(0));
    return true;
  }
  /// ⟨query, xⱼ − xᵣ⟩.
  [[nodiscard]] Scalar product_with_difference(const GenericRow<Scalar>& row, Eigen::Index j,
                                               Eigen::Index r) const {
    Scalar product = row.query[0] * Scalar(keys_[j * d_] - keys_[r * d_]);
    for (Eigen::Index c = 1; c < d_; ++c) {
      const Scalar delta = keys_[j * d_ + c] - keys_[r * d_ + c];
      const Scalar part = row.query[static_cast<std::size_t>(c)] * delta;
      product += part;
    }
    return product;
  }
  /// sᵢⱼ.
  [[nodiscard]] Scalar score_of(Eigen::Index i, Eigen::Index j, const GenericRow<Scalar>& row,
                                Number half) const {
    Scalar product = row.query[0] * keys_[j * d_];
    for (Eigen::Index c = 1; c < d_; ++c) {
      const Scalar part = row.query[static_cast<std::size_t>(c)] * keys_[j * d_ + c];
      product += part;
    }
    Scalar s = score(product, half);
    if (falls()) s -= static_cast<Scalar>(static_cast<Number>(fall(i, j)));
    if (!terms_.empty()) s += term(j);
    return s;
  }
  /// The score of a product ⟨query, y⟩, in two factors neither of which overflows.
  [[nodiscard]] static Scalar score(const Scalar& product, Number half) {
    const Scalar factor = static_cast<Scalar>(half), once = product * factor;
    return once * factor;
  }

  /// row.query: uᵢ with the mantissa of β, in units in which its largest number is below 4. \returns half with F
  /// ⟨uᵢ, y⟩ = (⟨query, y⟩ half) half, at most the largest finite number.
  [[nodiscard]] Number make_query(Eigen::Index i, GenericRow<Scalar>& row) const {
    const auto width = static_cast<std::size_t>(d_);
    row.temporary.assign(queries_ + i * d_, queries_ + (i + 1) * d_);
    if (grow_ != 0)
      for (Scalar& entry : row.temporary) entry *= power_of_two<Scalar>(grow_);
    row.query.assign(width, Scalar(0));
    const auto apply = [&](const auto& a) {
      multiply_entries(a.data(), row.temporary.data(), row.query.data(), d_, 1);
      row.query.swap(row.temporary);
    };
    if (flow_.size() != 0) apply(flow_);
    if (form_transposed_.size() != 0) apply(form_transposed_);
    if (flow_.size() != 0) apply(flow_transposed_);
    row.query.swap(row.temporary);

    int beta_exponent = 0;
    const double beta = std::frexp(form_.beta, &beta_exponent);
    const int others = form_.exponent + exponents_ - grow_ + beta_exponent;
    int down = exponent_of(largest_number(row.query.data(), d_));
    if ((down + others) % 2 != 0) --down;  // an even power has an exact root
    // 2^{−down} in two factors: by itself it may not be a number.
    const Scalar first = static_cast<Scalar>(std::ldexp(static_cast<Number>(beta), -(down / 2))),
                 second = power_of_two<Scalar>(-(down - down / 2));
    for (Scalar& entry : row.query) {
      entry *= second;
      entry *= first;
    }
    if (form_.beta == 0) return 0;
    const Wide root = std::exp(Wide(0.5) * static_cast<Wide>(log_));
    const int power = down + others;
    const Wide half = std::isnormal(root)
                          ? std::ldexp(root, power / 2)
                          : std::exp(Wide(0.5) * (static_cast<Wide>(log_) +
                                                  static_cast<Wide>(power) * std::numbers::ln2_v<Wide>));
    return static_cast<Number>((std::min)(half, static_cast<Wide>((std::numeric_limits<Number>::max)())));
  }

  /// The key of largest score.
  [[nodiscard]] Eigen::Index find_largest(Eigen::Index i, const GenericRow<Scalar>& row, Number half) const {
    Eigen::Index best = row.range.begin;
    while (!takes(i, best)) ++best;
    for (Eigen::Index j = best + 1; j < row.range.end; ++j) {
      if (!takes(i, j)) continue;
      Number product = 0;
      for (Eigen::Index c = 0; c < d_; ++c)
        product += value_of(row.query[static_cast<std::size_t>(c)]) *
                   (numbers_[static_cast<std::size_t>(j * d_ + c)] -
                    numbers_[static_cast<std::size_t>(best * d_ + c)]);
      Number rise = (product * half) * half;
      if (falls()) rise += static_cast<Number>(fall(i, best) - fall(i, j));
      if (!terms_.empty()) rise += value_of(term(j)) - value_of(term(best));
      if (rise > 0) best = j;
    }
    return best;
  }

  const GenericForm<Scalar, Dim>& form_;
  const Mask& mask_;
  const Bias* bias_;
  double slope_;
  std::span<const Scalar> terms_, corrections_;
  Eigen::Index n_, d_, first_position_;
  ScaledPoints<Scalar> scaled_keys_;
  std::vector<ScaledPoints<Scalar>> scaled_queries_;  // one, unless they are the keys
  const Scalar *keys_, *queries_;
  bool finite_ = true;
  int grow_ = 0, exponents_ = 0;
  double log_ = 0;
  std::vector<Number> numbers_;
  detail::ColumnMajor<Scalar, Dim, Dim> form_transposed_;
  detail::ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic> flow_, flow_transposed_;  // none: the identity
};

/// Calls f(i) for i < m, rows of n keys in d coordinates: by several threads for plain numbers; by one for others, which may
/// change their constants in place (see private_copy).
template <class Scalar, class F>
void for_each_generic_row(Eigen::Index m, Eigen::Index n, Eigen::Index d, F&& f) {
  if constexpr (std::floating_point<Scalar>)
    parallel_for(m, 5 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(d),
                 std::forward<F>(f));
  else
    for (Eigen::Index i = 0; i < m; ++i) f(i);
}

}}}  // namespace attnflow::detail
