/// \file
/// The attention operator: scores → weights → weighted sums of values, without the matrix of weights.
#pragma once

#include <attnflow/attention/attention_scratch.hpp>
#include <attnflow/attention/detail/attend_points.hpp>
#include <attnflow/attention/detail/head_operator.hpp>
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <limits>
#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The operator on three sets of points:
///
///     outᵢ = ∑ⱼ wᵢⱼ vⱼ,   w = law(β ⟨qᵢ, kⱼ⟩ + bias(i, j)) over the keys that the mask leaves to query i.
///
/// Self-attention, cross-attention, the field of a measure and attention to a fixed prompt are cases of it. Query i stands at
/// position i among the keys, for masks and biases.
///
/// \param queries  d_k × m. \param keys  d_k × n. \param values  d_v × n: Tokens, or an Eigen::Map, Ref or Block, read in
///              place where its columns follow one another without gaps and copied once otherwise.
/// \param out   d_v × m, resized. A point that is not finite makes all of it NaN. \pre not one of the three.
/// \param rows  filled if not null; takes about twice the time.
/// \param scratch  the memory to work in and the vector instructions, for float and double; null: those of this thread.
///
/// Overflow-safe at any scale: differences of keys before products, the scale last. Cost: O(m n (d_k + d_v)) time, O((m + n)
/// (d_k + d_v)) memory. Scalars that are neither float nor double take plain loops, weights and scores then being in Scalar.
/// Laws are those of products whose rows stand alone: neither L2Softmax nor Sinkhorn.
/// \throws std::invalid_argument unless queries and keys have the same d_k ≥ 1 rows and there are as many values as keys, with
/// d_v ≥ 1 rows; if the law or the bias is wrong.
template <RealScalar Scalar, TokenSource<Scalar, Eigen::Dynamic> Queries,
          TokenSource<Scalar, Eigen::Dynamic> Keys, TokenSource<Scalar, Eigen::Dynamic> Values, WeightLaw Law,
          AttentionMask Mask, PositionalBias Bias>
requires(!DoublyStochasticLaw<Law> &&
         !DistanceLaw<Law>) void attend(const Queries& queries, const Keys& keys, const Values& values,
                                        const Law& law, const Mask& mask, const Bias& bias,
                                        Tokens<Scalar>& out, RowRecord* rows = nullptr,
                                        AttentionScratch<Scalar>* scratch = nullptr) {
  detail::validate_law(law);
  bias.validate();
  if (keys.rows() < 1) detail::refuse("attend: keys have 0 rows, expected d_k, at least 1");
  if (queries.rows() != keys.rows())
    detail::refuse("attend: queries have ", queries.rows(), " rows, expected ", keys.rows(), " as keys have");
  if (values.rows() < 1) detail::refuse("attend: values have 0 rows, expected d_v, at least 1");
  if (values.cols() != keys.cols())
    detail::refuse("attend: there are ", values.cols(), " values, expected ", keys.cols(),
                   ", one for each key");
  const detail::TokenView<Scalar, Eigen::Dynamic> q(queries), k(keys), v(values);
  const int exponent = detail::attend_views(detail::PointViews<Scalar, Eigen::Dynamic>(q, k, v, 0), 0, law,
                                            mask, bias, out, rows, scratch);
  if (exponent != 0) detail::scale_by_power_of_two(out, exponent);
}

/// Self-attention with scores given as a form (see ScoreForm) and e^{tV} = E applied to the tokens first:
///
///     outᵢ = ∑ⱼ wᵢⱼ xⱼ   or   ∑ⱼ wᵢⱼ (xⱼ − xᵢ),   w = softmaxⱼ(β xᵢᵀ Eᵀ M E xⱼ).
///
/// Values and keys are the tokens themselves; a value matrix is applied by the caller, once for each row.
///
/// \param x     d × n tokens. \param flow  E = e^{tV} as a scaled matrix, or null for the identity.
/// \param out   d × n, resized. A token that is not finite makes all of it NaN. \pre not the object x.
/// \param rows  filled if not null; takes about twice the time.
/// Cost: O(n² d + n d²) time, O(n d) memory, kept by the thread as scratch space.
template <RealScalar Scalar, int Dim, TokenSource<Scalar, Dim> X>
void attend(const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow, Weighted what,
            const X& x, Tokens<Scalar, Dim>& out, RowRecord* rows = nullptr) {
  const int exponent = detail::attend_scaled(detail::form_for<Scalar>(form), flow, what, Softmax{form.beta},
                                             NoMask{}, NoBias{}, x, out, rows);
  if (exponent != 0) detail::scale_by_power_of_two(out, exponent);
}

/// Attention of one head: outᵢ = ∑ⱼ wᵢⱼ O V xⱼ with w = law(β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j)) over the keys that the mask
/// leaves [GLPR23, eq. (1.1)]. Shapes as above. Cost: O(n² d + n d²) through the forms QᵀK and O V, or O(n² (d_k + d_v) +
/// n d (d_k + d_v)) through the factors, whichever is less; half of the pairs for a causal mask.
/// \throws std::invalid_argument if the head, the law, the bias or the number of rows of x is wrong.
template <RealScalar Scalar, int Dim, WeightLaw Law = Softmax, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias, TokenSource<Scalar, Dim> X>
void attend(const Head<Scalar, Dim>& head, const Law& law, const Mask& mask, const Bias& bias, const X& x,
            Tokens<Scalar, Dim>& out, RowRecord* rows = nullptr) {
  head.validate("attend");
  detail::validate_law(law);
  bias.validate();
  detail::require_dimension("attend", x, head.dim());
  Tokens<Scalar, Dim> sums;
  const detail::HeadOperator<Scalar, Dim, Law, Bias> attention(head, law);
  const detail::TokenView<Scalar, Dim> view(x);
  const int exponent =
      attention.attend(law, mask, bias, detail::PointViews<Scalar, Dim>(view), sums, out, rows);
  if (exponent != 0) detail::scale_by_power_of_two(out, exponent);
}

/// Attention of m points y to n tokens x through a head: outᵢ = ∑ⱼ wᵢⱼ O V xⱼ with w = law(β ⟨Q yᵢ, K xⱼ⟩ + bias(i, j)), the
/// field that the measure of the tokens makes at the points [GLPR23, §6]. y: d × m, x: d × n, out: d × m. Laws, scratch space
/// and errors as for three sets of points; cost as for a head, with m n pairs.
template <RealScalar Scalar, int Dim, WeightLaw Law, AttentionMask Mask, PositionalBias Bias,
          TokenSource<Scalar, Dim> Y, TokenSource<Scalar, Dim> X>
requires(!DoublyStochasticLaw<Law> &&
         !DistanceLaw<Law>) void attend(const Head<Scalar, Dim>& head, const Law& law, const Mask& mask,
                                        const Bias& bias, const Y& y, const X& x, Tokens<Scalar, Dim>& out,
                                        RowRecord* rows = nullptr) {
  head.validate("attend");
  detail::validate_law(law);
  bias.validate();
  detail::require_dimension("attend", x, head.dim());
  if (y.rows() != head.dim()) detail::refuse("attend: y has ", y.rows(), " rows, expected d = ", head.dim());
  Tokens<Scalar, Dim> sums;
  const detail::HeadOperator<Scalar, Dim, Law, Bias> attention(head, law);
  const detail::TokenView<Scalar, Dim> queries(y), keys(x);
  const int exponent = attention.attend(
      law, mask, bias, detail::PointViews<Scalar, Dim>(queries, keys, keys, 0), sums, out, rows);
  if (exponent != 0) detail::scale_by_power_of_two(out, exponent);
}

/// Softmax attention with β = 1, returned.
template <RealScalar Scalar, int Dim, TokenSource<Scalar, Dim> X>
[[nodiscard]] Tokens<Scalar, Dim> attend(const Head<Scalar, Dim>& head, const X& x) {
  Tokens<Scalar, Dim> out;
  attend(head, Softmax{}, NoMask{}, NoBias{}, x, out);
  return out;
}

}}  // namespace attnflow
