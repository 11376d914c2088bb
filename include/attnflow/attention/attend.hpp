/// \file
/// The attention operator: scores → weights → weighted sums of values, without the n × n matrix.
#pragma once

#include <attnflow/attention/attend_rows.hpp>
#include <attnflow/attention/balance.hpp>
#include <attnflow/attention/distances.hpp>
#include <attnflow/attention/forms.hpp>
#include <attnflow/attention/generic_attend.hpp>
#include <attnflow/attention/kernels/kernels.hpp>
#include <attnflow/attention/position_sums.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/attention/scores.hpp>
#include <attnflow/attention/softmax.hpp>
#include <attnflow/attention/token_masses.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// The kind of row that a law, a mask and a bias make.
template <class Law, class Mask, class Bias>
[[nodiscard]] constexpr RowKind row_kind() noexcept {
  constexpr bool ranged = !std::is_same_v<Mask, NoMask>, biased = !std::is_same_v<Bias, NoBias>;
  if (Law::function != WeightFunction::exponential || DoublyStochasticLaw<Law> || PickingMask<Mask> ||
      MassiveBias<Bias>)
    return RowKind::general;
  return ranged ? (biased ? RowKind::ranged_biased : RowKind::ranged)
                : (biased ? RowKind::biased : RowKind::plain);
}

/// Sinkhorn's terms of keys, by passes of the operator that keep the logarithms of the sums alone. Not settled where that
/// is not the way: the plain loops have another.
template <class Scalar, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] Balance<double> balance_rows(const ScoreForm<Dim>& form,
                                           const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                                           const Law& law, const Mask& mask, const Bias& bias,
                                           const RowKernels<Scalar>& kernels, PreparedScores<Scalar>& scores,
                                           const std::vector<double>& log_masses) {
  require_symmetric(mask);
  const ScoreForm<Dim> transposed = transposed_form(form);
  const auto sum = [&](const ScoreForm<Dim>& of, const std::vector<double>& terms,
                       std::vector<double>& logs) {
    scores.prepare_queries(of, flow, mask, static_cast<double>(bias.slope), kernels,
                           kernels.bounded == nullptr, terms);
    logs.resize(static_cast<std::size_t>(scores.n));
    for_all_rows(
        scores, kernels,
        [&](std::int64_t first, std::int64_t last, std::int64_t) {
          for (std::int64_t i = first; i < last; ++i)
            logs[static_cast<std::size_t>(i)] = log_normalizer_of(scores, i);
        },
        [&](Eigen::Index i, const ExactRow<Scalar>& row) {
          logs[static_cast<std::size_t>(i)] = row.log_normalizer(scores.d);
        });
  };
  return balance(
      law, scores.n, log_masses, attended_keys(mask, scores.n),
      [&](const std::vector<double>& terms, std::vector<double>& logs) { sum(form, terms, logs); },
      [&](const std::vector<double>& terms, std::vector<double>& logs) { sum(transposed, terms, logs); },
      static_cast<double>(std::numeric_limits<Scalar>::epsilon()));
}

/// attend_scaled (below) by the plain loops in double, where the kernels are not exact enough, times 2^{−exponent}.
template <KernelScalar Scalar, int Dim, class Law, class Mask, class Bias>
void attend_in_double(const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                      Weighted what, const Law& law, const Mask& mask, const Bias& bias,
                      const TokenView<Scalar, Dim>& x, Tokens<Scalar, Dim>& out, RowRecord* rows,
                      int exponent) {
  const Tokens<double, Dim> wide = x.map().template cast<double>();
  Tokens<double, Dim> sums;
  const int unit = attend_scaled(generic_form_of<double>(form), flow, what, law, mask, bias,
                                 TokenView<double, Dim>(wide), sums, rows);
  scale_by_power_of_two(sums, unit - exponent);
  out = sums.template cast<Scalar>();
}

/// Linear attention over all tokens without looking at pairs: factor β (∑ⱼ xⱼ xⱼᵀ) uᵢ, with the scores of
/// prepare_function. Cost: O(n d²).
template <class Scalar>
void attend_linearly(const PreparedScores<Scalar>& scores, Weighted what, double factor, Scalar* out) {
  const std::int64_t d = scores.d, n = scores.n;
  const auto width = static_cast<std::size_t>(d);
  static constinit thread_local Scratch<std::vector<double>> kept_second, kept_first;
  std::vector<double>&second = *kept_second, &first = *kept_first;
  second.assign(width * width, 0);
  first.assign(width, 0);
  const Scalar* x = scores.keys();
  for (std::int64_t j = 0; j < n; ++j, x += d)
    for (std::int64_t c = 0; c < d; ++c) {
      const auto value = static_cast<double>(x[c]);
      first[static_cast<std::size_t>(c)] += value;
      double* column = second.data() + c * d;
      for (std::int64_t k = 0; k < d; ++k) column[k] += value * static_cast<double>(x[k]);
    }
  x = scores.keys();
  for (std::int64_t i = 0; i < n; ++i) {
    const Scalar* own = x + i * d;
    double weights = 0;  // ∑ⱼ sᵢⱼ
    if (what == Weighted::displacements)
      for (std::int64_t c = 0; c < d; ++c)
        weights += scores.scaled_query(i * d + c) * first[static_cast<std::size_t>(c)];
    for (std::int64_t c = 0; c < d; ++c) {
      double sum = what == Weighted::displacements ? -weights * static_cast<double>(own[c]) : 0;
      const double* column = second.data() + c * d;
      for (std::int64_t k = 0; k < d; ++k) sum += column[k] * scores.scaled_query(i * d + k);
      out[i * d + c] = static_cast<Scalar>(sum * factor);
    }
  }
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
  constexpr RowKind kind = row_kind<Law, Mask, Bias>();
  out.resize(x.rows(), x.cols());
  clear(rows, x.cols());
  auto& scores = PreparedScores<Scalar>::of_this_thread();
  if (!same_tokens) scores.finite = scores.template prepare_keys<Dim>(x.data(), x.rows(), x.cols());
  if (!scores.finite) {
    out.setConstant(std::numeric_limits<Scalar>::quiet_NaN());
    return 0;
  }
  if (x.cols() == 0) return 0;
  const auto slope = static_cast<double>(bias.slope);
  const RowKernels<Scalar> kernels = row_kernels<Scalar, Dim, kind>(x.rows());
  std::vector<double> terms;  // of keys: allocates where there are some
  if constexpr (MassiveBias<Bias>) log_relative_masses(bias, x.cols(), terms);

  if constexpr (Law::function == WeightFunction::maximum) {
    static_assert(!MassiveBias<Bias>,
                  "Hardmax does not take masses: they do not change which score is the largest");
    scores.prepare_queries(form, flow, mask, slope, kernels, true);
    scores.function = Law::function;
    scores.tie_tolerance = law.tolerance;
    attend_rows<Dim>(scores, kernels, what, law, out.data(), rows);
  } else if constexpr (Law::function != WeightFunction::exponential) {
    for (double& term : terms) term = std::exp(term);
    const double constant = constant_of(law);
    const bool pairless = Law::function == WeightFunction::linear && std::is_same_v<Mask, NoMask> &&
                          std::is_same_v<Bias, NoBias>;
    // Rows are asked for one by one, and scores of any size in plain loops.
    if (rows != nullptr ||
        !scores.prepare_function(form, flow, mask, slope, kernels, Law::function, constant, terms))
      return attend_scaled(generic_form_of<Scalar>(form), flow, what, law, mask, bias, x, out, rows);
    if (pairless)
      attend_linearly(scores, what, law.row_factor(x.cols()), out.data());
    else
      attend_function_rows(scores, kernels, what, law.row_factor(x.cols()), out.data());
  } else {
    double largest = 0;
    if constexpr (DoublyStochasticLaw<Law>) {
      Balance<double> balanced = balance_rows<Scalar>(form, flow, law, mask, bias, kernels, scores, terms);
      if (!balanced.settled) {
        attend_in_double(form, flow, what, law, mask, bias, x, out, rows, scores.exponent);
        return scores.exponent;
      }
      balanced.write(rows);
      largest = balanced.largest;
      terms = std::move(balanced.key_terms);
      if (!all_finite(terms)) {
        out.setConstant(std::numeric_limits<Scalar>::quiet_NaN());
        return 0;
      }
    }
    scores.prepare_queries(form, flow, mask, slope, kernels, rows != nullptr, terms);
    attend_rows<Dim>(scores, kernels, what, law, out.data(), rows, positions_for<Law>(mask, bias, terms));
    if (rows != nullptr && largest != 0)
      for (double& log_normalizer : rows->log_normalizer) log_normalizer -= largest;
  }
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
  const int exponent = detail::attend_scaled(detail::form_of(head, law), nullptr, Weighted::tokens, law, mask,
                                             bias, x, sums, rows) +
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

}}  // namespace attnflow
