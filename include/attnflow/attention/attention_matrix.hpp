/// \file
/// The attention matrix itself, for those who want to see it.
#pragma once

#include <attnflow/attention/attend.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

/// An n × n matrix with a row for each query.
template <RealScalar Scalar>
using SquareMatrix = detail::ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

namespace detail {

/// log wᵢⱼ = f + sᵢⱼ − log ∑ₗ exp(sᵢₗ) for a law with the row factor e^f, −∞ where the mask leaves j out.
template <KernelScalar Scalar, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] SquareMatrix<Scalar> log_weights(const ScoreForm<Dim>& form,
                                               const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                                               const Law& law, const Mask& mask, const Bias& bias,
                                               const std::type_identity_t<TokenView<Scalar, Dim>>& x) {
  auto& scores = PreparedScores<Scalar>::of_this_thread();
  if (!scores.template prepare_keys<Dim>(x.data(), x.rows(), x.cols()))
    refuse("log_attention: x has an entry that is not finite");
  const Eigen::Index n = x.cols(), d = x.rows();
  constexpr double nothing = -std::numeric_limits<double>::infinity();
  SquareMatrix<Scalar> result(n, n);
  if (n == 0) return result;
  constexpr bool biased = !std::is_same_v<Bias, NoBias>;
  const RowKernels<Scalar> kernels = exact_kernels_at<Scalar, biased>(simd_level());
  const double steepest = (std::numeric_limits<double>::max)() / (8 * static_cast<double>(n + 1));
  const double slope = std::clamp(static_cast<double>(bias.slope), -steepest, steepest);
  scores.prepare_queries(form, flow, mask, slope, kernels, true);
  std::vector<double> w(static_cast<std::size_t>(n));
  for_each_exact_row(
      scores, kernels, std::span<const Eigen::Index>(scores.exact),
      [&](Eigen::Index i, const ExactRow<Scalar>& row) {
        const KeyRange range = mask.keys(i, n);
        const double away = std::abs(static_cast<double>(i - row.largest_key));
        double sum = 0;
        for (Eigen::Index j = range.begin; j < range.end; ++j) {
          double delta = 0;
          for (Eigen::Index c = 0; c < d; ++c)
            delta += static_cast<double>(row.direction[c * row.stride]) *
                     static_cast<double>(scores.keys()[j * d + c] - row.reference[c * row.stride]);
          if (!biased) delta = (std::min)(delta, 0.0);
          double difference = row.score(delta);
          if (biased)
            difference = (std::min)(difference + slope * (away - std::abs(static_cast<double>(i - j))), 0.0);
          w[static_cast<std::size_t>(j)] = difference;
          sum += std::exp(difference);
        }
        double shift = -std::log(sum);
        if constexpr (!Law::rows_sum_to_one)
          if (range.begin < range.end)
            shift += static_cast<double>(law.log_row_factor(row.log_normalizer(d), n));
        for (Eigen::Index j = 0; j < n; ++j)
          result(i, j) = static_cast<Scalar>(
              range.begin <= j && j < range.end ? w[static_cast<std::size_t>(j)] + shift : nothing);
      });
  return result;
}

/// Replaces logarithms of weights by the weights.
template <class Scalar>
void exponentiate(SquareMatrix<Scalar>& P) {
  for (Scalar& p : P.reshaped())
    if constexpr (KernelScalar<Scalar>)
      p = std::exp(p);
    else
      p = exponential(p);
}

/// The weights themselves, of the same arguments.
template <class Scalar, class... Arguments>
[[nodiscard]] SquareMatrix<Scalar> weights(const Arguments&... arguments) {
  SquareMatrix<Scalar> P = log_weights<Scalar>(arguments...);
  exponentiate(P);
  return P;
}

}  // namespace detail

/// log Pᵢⱼ = sᵢⱼ − log ∑ₗ exp(sᵢₗ) for scores given as a form, E = e^{tV} applied to the tokens first (null:
/// identity).
///
/// Finite where P itself underflows (its rows converge to Boolean ones like exp(−c e^{2λt})); −∞ only below
/// −10³⁰⁸ (float: −10³⁸). The differences sᵢⱼ − maxₗ sᵢₗ are taken from differences of tokens.
/// Cost: O(n² d) time, n² numbers.
/// \throws std::invalid_argument if a token is not finite.
template <int Dim, class X>
requires TokenSource<X, typename X::Scalar, Dim>
[[nodiscard]] SquareMatrix<typename X::Scalar> log_attention(
    const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow, const X& x) {
  using Scalar = typename X::Scalar;
  return detail::log_weights<Scalar>(detail::form_for<Scalar>(form), flow, Softmax<Scalar>{form.beta},
                                     NoMask{}, NoBias{}, x);
}

/// P with Pᵢⱼ the weight of token j in row i: rows sum to one. Parameters, cost and errors as log_attention.
template <int Dim, class X>
requires TokenSource<X, typename X::Scalar, Dim>
[[nodiscard]] SquareMatrix<typename X::Scalar> attention_matrix(
    const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow, const X& x) {
  SquareMatrix<typename X::Scalar> P = log_attention(form, flow, x);
  detail::exponentiate(P);
  return P;
}

/// log P of one head on tokens x, P = law(β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j)); −∞ where the mask leaves j out.
/// \throws std::invalid_argument if the head, the law, the bias, the number of rows of x or an entry of it is wrong.
template <RealScalar Scalar, int Dim, TokenSource<Scalar, Dim> X, WeightLaw<Scalar> Law = Softmax<Scalar>,
          AttentionMask Mask = NoMask, PositionalBias Bias = NoBias>
[[nodiscard]] SquareMatrix<Scalar> log_attention(const Head<Scalar, Dim>& head, const X& x,
                                                 const Law& law = {}, const Mask& mask = {},
                                                 const Bias& bias = {}) {
  head.validate("log_attention");
  law.validate();
  bias.validate();
  detail::require_dimension("log_attention", x, head.dim());
  return detail::log_weights<Scalar>(detail::form_of(head, law.beta), nullptr, law, mask, bias, x);
}

/// The weights of one head on tokens x; rows sum to one where the law says so [GLPR23, eq. (P)], and are zero where
/// the mask leaves nothing. Errors as log_attention.
template <RealScalar Scalar, int Dim, TokenSource<Scalar, Dim> X, WeightLaw<Scalar> Law = Softmax<Scalar>,
          AttentionMask Mask = NoMask, PositionalBias Bias = NoBias>
[[nodiscard]] SquareMatrix<Scalar> attention_matrix(const Head<Scalar, Dim>& head, const X& x,
                                                    const Law& law = {}, const Mask& mask = {},
                                                    const Bias& bias = {}) {
  SquareMatrix<Scalar> P = log_attention(head, x, law, mask, bias);
  detail::exponentiate(P);
  return P;
}

}  // namespace attnflow::inline ATTNFLOW_ABI
