/// \file
/// The attention operator: scores → weights → weighted sums of values, without the n × n matrix.
#pragma once

#include <attnflow/attention/row_kernel.hpp>
#include <attnflow/attention/scores.hpp>
#include <attnflow/attention/softmax.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

/// What the operator can write beside its result, in the same pass.
struct RowRecord {
  std::vector<double> log_normalizer;  ///< log ∑ⱼ exp(sᵢⱼ); ±∞ only where it is beyond 10³⁰⁸
  std::vector<Eigen::Index> largest_key;  ///< argmaxⱼ sᵢⱼ, the token that i attends to most
};

/// What is summed over the keys of a row.
enum class Weighted {
  tokens,        ///< ∑ⱼ wᵢⱼ xⱼ
  displacements  ///< ∑ⱼ wᵢⱼ (xⱼ − xᵢ): exactly zero where i attends only to tokens equal to itself
};

namespace detail {

/// The operator in units of 2^e: writes out · 2^{−e} and returns e, which is zero unless tokens are so large
/// that products of them could overflow. For callers that apply a value matrix before going back to plain
/// units.
template <class Scalar, int Dim>
int attend_scaled(const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                  Weighted what, const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& out, RowRecord* rows) {
  eigen_assert(&x != &out);
  out.resize(x.rows(), x.cols());
  if (rows != nullptr) {
    rows->log_normalizer.assign(static_cast<std::size_t>(x.cols()), std::numeric_limits<double>::quiet_NaN());
    rows->largest_key.assign(static_cast<std::size_t>(x.cols()), 0);
  }
  auto& scores = PreparedScores<Scalar>::of_this_thread();
  if (!scores.prepare(x, form, flow)) {
    out.setConstant(std::numeric_limits<Scalar>::quiet_NaN());
    return 0;
  }
  for_each_softmax_row(scores, [&](Eigen::Index i, const SoftmaxRow<Scalar>& row, const Scalar* reference,
                                   const Scalar* moment) {
    for (Eigen::Index c = 0; c < scores.d; ++c) {
      const Scalar from = what == Weighted::tokens ? Scalar(0) : scores.key(c, i);
      out(c, i) = (reference[c] - from) + moment[c] / row.sum;
    }
    if (rows == nullptr) return;
    const double half = scores.half_scale[static_cast<std::size_t>(i)];  // beyond the largest float, too
    double product = 0;
    for (Eigen::Index c = 0; c < scores.d; ++c)
      product += static_cast<double>(scores.query(i)[c]) * static_cast<double>(reference[c]);
    rows->log_normalizer[static_cast<std::size_t>(i)] =
        product * half * half + std::log(static_cast<double>(row.sum));
    rows->largest_key[static_cast<std::size_t>(i)] = row.reference;
  });
  return scores.exponent;
}

/// A value matrix in units of a power of two, so that V times a sum of tokens overflows at the very end or
/// not at all.
template <class Scalar, int Dim>
struct ScaledValue {
  Eigen::Matrix<Scalar, Dim, Dim> matrix;
  int exponent = 0;

  explicit ScaledValue(Eigen::Matrix<Scalar, Dim, Dim> V) : matrix(std::move(V)) {
    exponent = exponent_of(matrix.cwiseAbs().maxCoeff());
    scale_by_power_of_two(matrix, -exponent);
  }
};

}  // namespace detail

/// The operator on scores given as a form (see ScoreForm) with e^{tV} = E applied to the tokens first:
///
///     outᵢ = ∑ⱼ wᵢⱼ xⱼ   or   ∑ⱼ wᵢⱼ (xⱼ − xᵢ),   w = softmaxⱼ(β xᵢᵀ Eᵀ M E xⱼ).
///
/// Overflow-safe at any scale: score differences are taken from differences of tokens, the scale enters last.
/// Values and keys are the tokens themselves; a value matrix is applied by the caller, once for each row.
///
/// \param x     d × n tokens.
/// \param flow  E = e^{tV} as a scaled matrix, or null for the identity.
/// \param out   d × n, resized. A token that is not finite makes all of it NaN. \pre not the object x.
/// \param rows  filled if not null.
/// Cost: O(n² d + n d²) time, O(n d) memory, kept by the thread as scratch space.
template <class Scalar, int Dim>
void attend(const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow, Weighted what,
            const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& out, RowRecord* rows = nullptr) {
  const int exponent = detail::attend_scaled(form, flow, what, x, out, rows);
  if (exponent != 0) detail::scale_by_power_of_two(out, exponent);
}

/// Attention of one head: outᵢ = ∑ⱼ wᵢⱼ V xⱼ with w = law(⟨Q xᵢ, K xⱼ⟩) [GLPR23, eq. (1.1)].
/// Shapes and cost as above; V is applied once to every row's sum.
/// \throws std::invalid_argument if the head, the law or the number of rows of x is wrong.
template <class Scalar, int Dim, WeightLaw<Scalar> Law = Softmax<Scalar>, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
void attend(const Head<Scalar, Dim>& head, const Law& law, const Mask&, const Bias&,
            const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& out, RowRecord* rows = nullptr) {
  head.validate("attend");
  law.validate();
  if (x.rows() != head.dim()) detail::refuse("attend: x has ", x.rows(), " rows, expected d = ", head.dim());
  const detail::ScaledValue<Scalar, Dim> value(head.V);
  Tokens<Scalar, Dim> sums;
  const int exponent =
      detail::attend_scaled(score_form(head, law.beta), nullptr, Weighted::tokens, x, sums, rows) +
      value.exponent;
  detail::multiply(value.matrix, sums, out);
  if (exponent != 0) detail::scale_by_power_of_two(out, exponent);
}

/// Softmax attention with β = 1, returned.
template <class Scalar, int Dim>
[[nodiscard]] Tokens<Scalar, Dim> attend(const Head<Scalar, Dim>& head, const Tokens<Scalar, Dim>& x) {
  Tokens<Scalar, Dim> out;
  attend(head, Softmax<Scalar>{}, NoMask{}, NoBias{}, x, out);
  return out;
}

}  // namespace attnflow::inline ATTNFLOW_ABI
