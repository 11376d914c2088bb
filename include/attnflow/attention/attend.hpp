/// \file
/// The attention operator: scores → weights → weighted sums of values, without the n × n matrix.
#pragma once

#include <attnflow/attention/exact_rows.hpp>
#include <attnflow/attention/generic_rows.hpp>
#include <attnflow/attention/kernels/kernels.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/attention/scores.hpp>
#include <attnflow/attention/softmax.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/parallel/threads.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

namespace detail {

/// What a law multiplies a row of softmax weights by.
template <class Scalar, class Law>
[[nodiscard]] Scalar row_factor(const Law& law, double log_normalizer, Eigen::Index n) {
  return static_cast<Scalar>(std::exp(static_cast<double>(law.log_row_factor(log_normalizer, n))));
}

/// v factor, where nothing times ∞ is nothing.
template <class Scalar>
[[nodiscard]] Scalar scaled_entry(Scalar v, Scalar factor) noexcept {
  return v == Scalar(0) ? Scalar(0) : v * factor;
}

/// The bounded rows first … last − 1, finished: the sums of their kernel to columns of out.
template <int Dim, class Scalar, class Law>
void finish_bounded_rows(const PreparedScores<Scalar>& scores, Weighted what, const Law& law,
                         std::int64_t first, std::int64_t last, std::int64_t width, Scalar* out) {
  const std::int64_t d = Dim > 0 ? Dim : scores.d;
  for (std::int64_t i = first; i < last; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const Scalar* mean = scores.mean.data() + i / width * width * d + i % width;
    const Scalar* own = scores.centred.data() + i * scores.key_step;
    Scalar* to = out + i * d;
    const Scalar sum = scores.sum[row];
    if (sum == Scalar(0)) {  // nothing to attend to
      for (std::int64_t c = 0; c < d; ++c) to[c] = 0;
      continue;
    }
    if (what == Weighted::tokens)
      for (std::int64_t c = 0; c < d; ++c)
        to[c] = mean[c * width] + scores.centre[static_cast<std::size_t>(c)];
    else
      for (std::int64_t c = 0; c < d; ++c) to[c] = mean[c * width] - own[c];
    if constexpr (!Law::rows_sum_to_one) {
      const double log2_sum = std::log2(static_cast<double>(sum)) - static_cast<double>(scores.start[row]);
      const auto factor =
          row_factor<Scalar>(law, (log2_sum + scores.centre_score(i)) * std::numbers::ln2, scores.n);
      for (std::int64_t c = 0; c < d; ++c) to[c] = scaled_entry(to[c], factor);
    }
  }
}

/// An exact row, finished.
template <class Scalar, class Law>
void finish_exact_row(const PreparedScores<Scalar>& scores, Weighted what, const Law& law, Eigen::Index i,
                      const ExactRow<Scalar>& row, Scalar* out, RowRecord* rows) {
  const Scalar* own = scores.keys() + i * scores.d;
  Scalar* to = out + i * scores.d;
  for (Eigen::Index c = 0; c < scores.d; ++c) {
    const Scalar from = what == Weighted::tokens ? Scalar(0) : own[c];
    to[c] = row.sum == Scalar(0)
                ? Scalar(0)
                : (row.reference[c * row.stride] - from) + row.moment[c * row.stride] / row.sum;
  }
  if (Law::rows_sum_to_one && rows == nullptr) return;
  const double log_normalizer = row.log_normalizer(scores.d);
  if constexpr (!Law::rows_sum_to_one) {
    const auto factor = row_factor<Scalar>(law, log_normalizer, scores.n);
    for (Eigen::Index c = 0; c < scores.d; ++c) to[c] = scaled_entry(to[c], factor);
  }
  if (rows == nullptr) return;
  rows->log_normalizer[static_cast<std::size_t>(i)] = log_normalizer;
  rows->largest_key[static_cast<std::size_t>(i)] = row.largest_key;
}

/// What a pair of tokens takes on one thread with AVX-512, in nanoseconds: to tell what is worth sharing out.
template <class Scalar>
[[nodiscard]] constexpr double row_cost(Eigen::Index d) noexcept {
  return (0.28 + 0.05 * static_cast<double>(d)) * (sizeof(Scalar) == sizeof(float) ? 0.45 : 1);
}

/// All rows of the scores prepared: the bounded ones in tiles, the others by packs. Rows are shared out among
/// threads; no row's bits depend on the rows beside it.
template <int Dim, class Scalar, class Law>
void attend_rows(PreparedScores<Scalar>& scores, const RowKernels<Scalar>& kernels, Weighted what,
                 const Law& law, Scalar* out, RowRecord* rows) {
  if (scores.exact.size() < static_cast<std::size_t>(scores.n)) {
    const RowTask<Scalar> task{scores.n,
                               scores.d,
                               scores.centred.data(),
                               scores.key_step,
                               scores.queries.data(),
                               scores.start.data(),
                               scores.ranged ? scores.begin.data() : nullptr,
                               scores.ranged ? scores.end.data() : nullptr,
                               scores.positions.data(),
                               scores.slope,
                               scores.sum.data(),
                               scores.mean.data()};
    const std::int64_t width = kernels.width, n = scores.n, packs = (n + width - 1) / width;
    // Tiles of three packs, eight shares or more.
    const std::int64_t share = std::clamp<std::int64_t>(packs / 24 * 3, 3, 24);
    parallel_for((packs + share - 1) / share, row_cost<Scalar>(scores.d) * static_cast<double>(n * n),
                 [&](std::int64_t k) {
                   const std::int64_t first = k * share * width,
                                      last = (std::min)((k + 1) * share, packs) * width;
                   kernels.bounded(task, first, last);
                   finish_bounded_rows<Dim>(scores, what, law, first, (std::min)(last, n), width, out);
                 });
  }
  const std::span<const Eigen::Index> exact = scores.exact;
  if (exact.empty()) return;
  const auto share = static_cast<std::size_t>(4 * kernels.width), shares = (exact.size() + share - 1) / share;
  const double cost =
      4 * row_cost<Scalar>(scores.d) * static_cast<double>(exact.size()) * static_cast<double>(scores.n);
  parallel_for(static_cast<Eigen::Index>(shares), cost, [&](Eigen::Index k) {
    const std::size_t first = static_cast<std::size_t>(k) * share;
    for_each_exact_row(scores, kernels, exact.subspan(first, (std::min)(share, exact.size() - first)),
                       [&](Eigen::Index i, const ExactRow<Scalar>& row) {
                         finish_exact_row(scores, what, law, i, row, out, rows);
                       });
  });
}

/// The operator in units of 2^e: writes out · 2^{−e} and returns e, which is zero unless tokens are so large
/// that products of them could overflow. For callers that apply a value matrix before going back to plain
/// units. \param same_tokens  x is what this thread prepared last: for the heads of one layer.
template <KernelScalar Scalar, int Dim, class Law, class Mask, class Bias>
int attend_scaled(const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                  Weighted what, const Law& law, const Mask& mask, const Bias& bias,
                  const std::type_identity_t<TokenView<Scalar, Dim>>& x, Tokens<Scalar, Dim>& out,
                  RowRecord* rows, bool same_tokens = false) {
  eigen_assert(x.data() != out.data() || x.cols() == 0);
  out.resize(x.rows(), x.cols());
  if (rows != nullptr) {
    rows->log_normalizer.assign(static_cast<std::size_t>(x.cols()), std::numeric_limits<double>::quiet_NaN());
    rows->largest_key.assign(static_cast<std::size_t>(x.cols()), 0);
  }
  auto& scores = PreparedScores<Scalar>::of_this_thread();
  if (!same_tokens) scores.finite = scores.template prepare_keys<Dim>(x.data(), x.rows(), x.cols());
  if (!scores.finite) {
    out.setConstant(std::numeric_limits<Scalar>::quiet_NaN());
    return 0;
  }
  if (x.cols() == 0) return 0;
  constexpr bool ranged = !std::is_same_v<Mask, NoMask>, biased = !std::is_same_v<Bias, NoBias>;
  const RowKernels<Scalar> kernels = row_kernels<Scalar, Dim, ranged, biased>(x.rows());
  scores.prepare_queries(form, flow, mask, static_cast<double>(bias.slope), kernels, rows != nullptr);
  attend_rows<Dim>(scores, kernels, what, law, out.data(), rows);
  return scores.exponent;
}

/// A value matrix in units of a power of two, so that V times a sum of tokens overflows at the very end or
/// not at all.
template <class Scalar, int Dim>
struct ScaledValue {
  ColumnMajor<Scalar, Dim, Dim> matrix;
  int exponent = 0;
  bool identity = false;  ///< V = 2^exponent I

  explicit ScaledValue(ColumnMajor<Scalar, Dim, Dim> V) : matrix(std::move(V)) {
    if constexpr (KernelScalar<Scalar>)
      exponent = exponent_of(matrix.cwiseAbs().maxCoeff());
    else
      exponent = exponent_of(largest_number(matrix.data(), matrix.size()));
    scale_by_power_of_two(matrix, -exponent);
    if constexpr (std::floating_point<Scalar>) identity = matrix.isIdentity(0);  // without derivatives
  }

  /// out = V x 2^{−exponent}. \pre x and out are different objects; x may be moved from.
  void apply(Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& out) const {
    out.resize(x.rows(), x.cols());
    if (identity)
      out.swap(x);
    else
      multiply(x, out.data());
  }
  /// The same to memory of that shape.
  void apply(Tokens<Scalar, Dim>& x, Eigen::Map<Tokens<Scalar, Dim>>& out) const {
    if (identity)
      out = x;
    else
      multiply(x, out.data());
  }

 private:
  void multiply(const Tokens<Scalar, Dim>& x, Scalar* out) const {
    if constexpr (KernelScalar<Scalar>)
      multiply_tokens<Dim>(matrix.data(), x.data(), out, x.rows(), x.cols());
    else
      multiply_entries(private_copy(matrix).data(), x.data(), out, x.rows(), x.cols());
  }
};

/// What the operator of a scalar takes the scores from.
template <class Scalar, int Dim>
using Form = std::conditional_t<KernelScalar<Scalar>, ScoreForm<Dim>, GenericForm<Scalar, Dim>>;

/// The form of a head.
template <class Scalar, int Dim>
[[nodiscard]] Form<Scalar, Dim> form_of(const Head<Scalar, Dim>& head, double beta) {
  if constexpr (KernelScalar<Scalar>)
    return score_form(head, beta);
  else
    return generic_form(head, beta);
}
/// The form for a scalar of scores given in double.
template <class Scalar, int Dim>
[[nodiscard]] decltype(auto) form_for(const ScoreForm<Dim>& form) {
  if constexpr (KernelScalar<Scalar>)
    return (form);
  else
    return GenericForm<Scalar, Dim>{form.M.matrix.template cast<Scalar>(), 0, form.M.log_scale, form.beta};
}

}  // namespace detail

/// The operator on scores given as a form (see ScoreForm) with e^{tV} = E applied to the tokens first:
///
///     outᵢ = ∑ⱼ wᵢⱼ xⱼ   or   ∑ⱼ wᵢⱼ (xⱼ − xᵢ),   w = softmaxⱼ(β xᵢᵀ Eᵀ M E xⱼ).
///
/// Overflow-safe at any scale: differences of tokens before products, the scale last. Values and keys
/// are the tokens themselves; a value matrix is applied by the caller, once for each row.
///
/// \param x     d × n tokens: Tokens, or an Eigen::Map, Ref or Block, read in place where its columns follow one
///              another without gaps and copied once otherwise.
/// \param flow  E = e^{tV} as a scaled matrix, or null for the identity.
/// \param out   d × n, resized. A token that is not finite makes all of it NaN. \pre not the object x.
/// \param rows  filled if not null; takes about twice the time.
/// Cost: O(n² d + n d²) time, O(n d) memory, kept by the thread as scratch space.
/// Scalars that are neither float nor double (long double, Eigen::AutoDiffScalar) take the plain loops of
/// generic_rows.hpp, weights and scores then being in Scalar.
template <RealScalar Scalar, int Dim, TokenSource<Scalar, Dim> X>
void attend(const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow, Weighted what,
            const X& x, Tokens<Scalar, Dim>& out, RowRecord* rows = nullptr) {
  const int exponent = detail::attend_scaled(detail::form_for<Scalar>(form), flow, what,
                                             Softmax<Scalar>{form.beta}, NoMask{}, NoBias{}, x, out, rows);
  if (exponent != 0) detail::scale_by_power_of_two(out, exponent);
}

/// Attention of one head: outᵢ = ∑ⱼ wᵢⱼ V xⱼ with w = law(β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j)) over the keys that the mask
/// leaves [GLPR23, eq. (1.1)]. Shapes and cost as above, half of it for a causal mask; V is applied once to every
/// row's sum.
/// \throws std::invalid_argument if the head, the law, the bias or the number of rows of x is wrong.
template <RealScalar Scalar, int Dim, WeightLaw<Scalar> Law = Softmax<Scalar>, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias, TokenSource<Scalar, Dim> X>
void attend(const Head<Scalar, Dim>& head, const Law& law, const Mask& mask, const Bias& bias, const X& x,
            Tokens<Scalar, Dim>& out, RowRecord* rows = nullptr) {
  head.validate("attend");
  law.validate();
  bias.validate();
  detail::require_dimension("attend", x, head.dim());
  const detail::ScaledValue<Scalar, Dim> value(head.V);
  Tokens<Scalar, Dim> sums;
  const int exponent = detail::attend_scaled(detail::form_of(head, law.beta), nullptr, Weighted::tokens, law,
                                             mask, bias, x, sums, rows) +
                       value.exponent;
  value.apply(sums, out);
  if (exponent != 0) detail::scale_by_power_of_two(out, exponent);
}

/// Softmax attention with β = 1, returned.
template <RealScalar Scalar, int Dim, TokenSource<Scalar, Dim> X>
[[nodiscard]] Tokens<Scalar, Dim> attend(const Head<Scalar, Dim>& head, const X& x) {
  Tokens<Scalar, Dim> out;
  attend(head, Softmax<Scalar>{}, NoMask{}, NoBias{}, x, out);
  return out;
}

}  // namespace attnflow::inline ATTNFLOW_ABI
