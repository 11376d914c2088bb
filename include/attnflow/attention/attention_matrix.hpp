/// \file
/// The attention matrix itself, for those who want to see it.
#pragma once

#include <attnflow/attention/attend.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

/// An n × n matrix with a row for each query.
template <class Scalar>
using SquareMatrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

/// log Pᵢⱼ = sᵢⱼ − log ∑ₗ exp(sᵢₗ) for scores given as a form, E = e^{tV} applied to the tokens first (null:
/// identity).
///
/// Finite where P itself underflows (its rows converge to Boolean ones like exp(−c e^{2λt})); −∞ only below
/// −10³⁰⁸ (float: −10³⁸). The differences sᵢⱼ − maxₗ sᵢₗ are taken from differences of tokens.
/// Cost: O(n² d) time, n² numbers.
/// \throws std::invalid_argument if a token is not finite.
template <class Scalar, int Dim>
[[nodiscard]] SquareMatrix<Scalar> log_attention(const ScoreForm<Dim>& form,
                                                 const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                                                 const Tokens<Scalar, Dim>& x) {
  auto& scores = detail::PreparedScores<Scalar>::of_this_thread();
  if (!scores.prepare(x, form, flow)) detail::refuse("log_attention: x has an entry that is not finite");
  SquareMatrix<Scalar> log_weights(x.cols(), x.cols());
  std::vector<double> w(static_cast<std::size_t>(x.cols()));
  detail::for_each_softmax_row(scores, [&](Eigen::Index i, const detail::SoftmaxRow<Scalar>&,
                                           const Scalar* reference, const Scalar* /*moment*/) {
    const double half = scores.half_scale[static_cast<std::size_t>(i)];
    double sum = 0;
    for (Eigen::Index j = 0; j < scores.n; ++j) {
      double delta = 0;
      for (Eigen::Index c = 0; c < scores.d; ++c)
        delta +=
            static_cast<double>(scores.query(i)[c]) * static_cast<double>(scores.key(c, j) - reference[c]);
      const double difference = (std::min(delta, 0.0) * half) * half;
      w[static_cast<std::size_t>(j)] = difference;
      sum += std::exp(difference);
    }
    const double log_sum = std::log(sum);
    for (Eigen::Index j = 0; j < scores.n; ++j)
      log_weights(i, j) = static_cast<Scalar>(w[static_cast<std::size_t>(j)] - log_sum);
  });
  return log_weights;
}

/// P with Pᵢⱼ the weight of token j in row i: rows sum to one. Parameters, cost and errors as log_attention.
template <class Scalar, int Dim>
[[nodiscard]] SquareMatrix<Scalar> attention_matrix(const ScoreForm<Dim>& form,
                                                    const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                                                    const Tokens<Scalar, Dim>& x) {
  SquareMatrix<Scalar> P = log_attention(form, flow, x);
  for (Scalar& p : P.reshaped()) p = std::exp(p);
  return P;
}

/// log P of one head on tokens x, P = law(⟨Q xᵢ, K xⱼ⟩).
/// \throws std::invalid_argument if the head, the law, the number of rows of x or an entry of it is wrong.
template <class Scalar, int Dim, WeightLaw<Scalar> Law = Softmax<Scalar>, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
[[nodiscard]] SquareMatrix<Scalar> log_attention(const Head<Scalar, Dim>& head, const Tokens<Scalar, Dim>& x,
                                                 const Law& law = {}, const Mask& = {}, const Bias& = {}) {
  head.validate("log_attention");
  law.validate();
  if (x.rows() != head.dim())
    detail::refuse("log_attention: x has ", x.rows(), " rows, expected d = ", head.dim());
  return log_attention(score_form(head, law.beta), nullptr, x);
}

/// P of one head on tokens x, rows summing to one [GLPR23, eq. (P)]. Errors as log_attention.
template <class Scalar, int Dim, WeightLaw<Scalar> Law = Softmax<Scalar>, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
[[nodiscard]] SquareMatrix<Scalar> attention_matrix(const Head<Scalar, Dim>& head,
                                                    const Tokens<Scalar, Dim>& x, const Law& law = {},
                                                    const Mask& mask = {}, const Bias& bias = {}) {
  SquareMatrix<Scalar> P = log_attention(head, x, law, mask, bias);
  for (Scalar& p : P.reshaped()) p = std::exp(p);
  return P;
}

}  // namespace attnflow::inline ATTNFLOW_ABI
