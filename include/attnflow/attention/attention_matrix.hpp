/// \file
/// The attention matrix itself, for those who want to see it.
#pragma once

#include <attnflow/attention/attend.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A matrix with a row for each query and a column for each key.
template <RealScalar Scalar>
using SquareMatrix = detail::ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic>;

namespace detail {

/// log wᵢⱼ = f + sᵢⱼ − log ∑ₗ exp(sᵢₗ) for a law with the row factor e^f, −∞ where the mask leaves j out; m × n.
/// \param terms  of keys, or none.
template <KernelScalar Scalar, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] SquareMatrix<Scalar> log_weights_of_rows(const QuerySource<Scalar, Dim>& source,
                                                       const PointLayout<Scalar>& keys, const Law& law,
                                                       const Mask& mask, const Bias& bias,
                                                       const RowKernels<Scalar>& kernels,
                                                       const std::vector<double>& terms,
                                                       AttentionScratch<Scalar>& scratch) {
  const Eigen::Index n = keys.n;
  const double steepest = (std::numeric_limits<double>::max)() / (8 * static_cast<double>(n + 1));
  const double slope = std::clamp(static_cast<double>(bias.slope), -steepest, steepest);
  SquareMatrix<Scalar> result(source.count, n);
  if (result.size() == 0) return result;
  const auto positions = positions_for<Law>(mask, bias, terms);
  const QueryPack<Scalar>& queries = scratch.queries;
  scratch.queries.pack(source, keys, mask, slope, kernels, true, terms);
  std::vector<double> w;
  for_each_exact_row(
      queries, keys, kernels, std::span<const Eigen::Index>(queries.exact),
      [&](Eigen::Index i, const ExactRow<Scalar>& row) {
        result.row(i).setConstant(static_cast<Scalar>(-std::numeric_limits<double>::infinity()));
        if (row.sum == Scalar(0)) return;  // nothing to attend to
        const KeyRange range = score_differences(queries, kernels, mask, slope, terms, i, row, w);
        double sum = 0;
        for (const double difference : w) sum += std::exp(difference);
        double shift = -std::log(sum);
        if constexpr (!detail::rows_sum_to_one<Law>())
          shift += positions.log_row_factor(law, row.log_normalizer(), n, source.first_position + i);
        for (Eigen::Index j = range.begin; j < range.end; ++j)
          result(i, j) = static_cast<Scalar>(w[static_cast<std::size_t>(j - range.begin)] + shift);
      });
  return result;
}

/// The same for queries on keys with scores of the form of a head, or β 2^power ⟨qᵢ, kⱼ⟩ where it is null.
template <KernelScalar Scalar, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] SquareMatrix<Scalar> log_weights_of_points(const ScoreForm<Dim>* form,
                                                         const ScaledMatrix<Dim>* flow, int power,
                                                         const Law& law, const Mask& given_mask,
                                                         const Bias& bias,
                                                         const PointViews<Scalar, Dim>& points) {
  require_still_positions<Bias>();
  const TokenView<Scalar, Dim>& x = points.keys;
  const auto& mask = bound_mask(given_mask, points);
  // In plain loops, on doubles.
  const auto in_double = [&] {
    const auto widen = [](const TokenView<Scalar, Dim>& of) -> Tokens<double, Dim> {
      return of.map().template cast<double>();
    };
    const Tokens<double, Dim> wide_queries = widen(points.queries), wide_keys = widen(x);
    const bool one = points.queries.data() == x.data();
    const TokenView<double, Dim> q(wide_queries), k(wide_keys);
    return SquareMatrix<Scalar>(
        log_weights<double>(form == nullptr ? GenericForm<double, Dim>{{}, power, 0, law.beta}
                                            : generic_form_of<double>(*form),
                            flow, law, mask, bias,
                            PointViews<double, Dim>(one ? k : q, k, k, points.first_position))
            .template cast<Scalar>());
  };
  if constexpr (TabledBias<Bias>) return in_double();
  auto& scratch = AttentionScratch<Scalar>::of_this_thread();
  scratch.tokens.template read<Dim>(x.data(), x.rows(), x.cols());
  const auto queries = query_points(points, scratch.tokens);
  if (!scratch.tokens.finite) refuse("log_attention: x has an entry that is not finite");
  if (x.cols() == 0) return SquareMatrix<Scalar>(queries.count, 0);
  constexpr RowKind kind = exact_kind(row_kind<Law, std::remove_cvref_t<decltype(mask)>, Bias>());
  const auto kernels = exact_kernels_at<Scalar, kind>(scratch.level);
  const auto source = form == nullptr ? QuerySource<Scalar, Dim>(queries, law.beta, power * std::numbers::ln2)
                                      : QuerySource<Scalar, Dim>(queries, *form, flow);
  std::vector<double> terms;
  if constexpr (MassiveBias<Bias>) log_relative_masses(bias, x.cols(), terms);
  if constexpr (DoublyStochasticLaw<Law>) {
    Balance<double> balanced = balance_rows(source, scratch.tokens, law, mask, bias, kernels, scratch, terms);
    if (!balanced.settled) return in_double();
    require_balance(balanced);
    terms = std::move(balanced.key_terms);
  }
  return log_weights_of_rows(source, scratch.tokens, law, mask, bias, kernels, terms, scratch);
}

/// The same for the form of a head.
template <KernelScalar Scalar, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] SquareMatrix<Scalar> log_weights(const ScoreForm<Dim>& form,
                                               const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                                               const Law& law, const Mask& mask, const Bias& bias,
                                               const std::type_identity_t<PointViews<Scalar, Dim>>& points) {
  return log_weights_of_points(&form, flow, 0, law, mask, bias, points);
}

/// The same for a law of distances.
template <class Scalar, class Wide, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] SquareMatrix<Scalar> log_weights(const DistanceForm<Wide, Dim>& form,
                                               const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                                               const Law& law, const Mask& mask, const Bias& bias,
                                               const std::type_identity_t<TokenView<Scalar, Dim>>& x) {
  return log_weights_of_distances<Scalar>(form, flow, law, mask, bias, x);
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

/// The weights themselves, or their logarithms, of the same arguments. Laws that are no exponentials have no logarithms, and
/// take plain loops.
template <class Scalar, int Dim, bool Logarithms = false, class FormType, class Law, class Mask, class Bias>
[[nodiscard]] SquareMatrix<Scalar> weights(const FormType& form, const ScaledMatrix<Dim>* flow,
                                           const Law& law, const Mask& mask, const Bias& bias,
                                           const PointViews<Scalar, Dim>& points) {
  if constexpr (Law::function == WeightFunction::exponential) {
    SquareMatrix<Scalar> P;
    if constexpr (DistanceLaw<Law>)
      P = log_weights<Scalar>(form, flow, law, mask, bias, points.keys);
    else
      P = log_weights<Scalar>(form, flow, law, mask, bias, points);
    if (!Logarithms) exponentiate(P);
    return P;
  } else {
    return function_weights(generic_form_of<Scalar>(form), flow, law, mask, bias, points);
  }
}

/// The same of queries on keys with scores β 2^power ⟨qᵢ, kⱼ⟩.
template <class Scalar, bool Logarithms = false, class Law, class Mask, class Bias>
[[nodiscard]] SquareMatrix<Scalar> weights_of_points(const PointViews<Scalar, Eigen::Dynamic>& points,
                                                     int power, const Law& law, const Mask& mask,
                                                     const Bias& bias) {
  if constexpr (RotatingPositions<Bias>) {
    TurnedPoints<Scalar> turned{points.queries.map(), points.keys.map()};
    turned.turn(bias, points.first_position);
    const TokenView<Scalar, Eigen::Dynamic> q(turned.queries), k(turned.keys);
    return weights_of_points<Scalar, Logarithms>(
        PointViews<Scalar, Eigen::Dynamic>(q, k, k, points.first_position), power, law,
        bound_mask(mask, points), NoBias{});
  } else if constexpr (KernelScalar<Scalar> && Law::function == WeightFunction::exponential) {
    auto P = log_weights_of_points<Scalar, Eigen::Dynamic>(nullptr, nullptr, power, law, mask, bias, points);
    if (!Logarithms) exponentiate(P);
    return P;
  } else {
    return weights<Scalar, Eigen::Dynamic, Logarithms>(
        GenericForm<Scalar, Eigen::Dynamic>{{}, power, 0, law.beta}, nullptr, law, mask, bias, points);
  }
}

/// The same of a head.
template <class Scalar, bool Logarithms = false, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] SquareMatrix<Scalar> weights_of_head(const HeadOperator<Scalar, Dim, Law, Bias>& head,
                                                   const Law& law, const Mask& mask, const Bias& bias,
                                                   const PointViews<Scalar, Dim>& points) {
  if constexpr (RotatingPositions<Bias>) {
    TurnedPoints<Scalar> turned;
    head.factors.images(bias, points, turned);
    const TokenView<Scalar, Eigen::Dynamic> q(turned.queries), k(turned.keys);
    return weights_of_points<Scalar, Logarithms>(
        PointViews<Scalar, Eigen::Dynamic>(q, k, k, points.first_position), turned.exponent, law,
        bound_mask(mask, points), NoBias{});
  } else {
    return weights<Scalar, Dim, Logarithms>(head.form, nullptr, law, mask, bias, points);
  }
}

/// Refuses queries, keys, a law or a bias that do not fit, in the name of a function.
template <class Queries, class Keys, class Law, class Bias>
void require_points(const char* function, const Queries& queries, const Keys& keys, const Law& law,
                    const Bias& bias) {
  detail::validate_law(law);
  bias.validate();
  if (keys.rows() < 1) refuse(function, ": keys have 0 rows, expected d_k, at least 1");
  if (queries.rows() != keys.rows())
    refuse(function, ": queries have ", queries.rows(), " rows, expected ", keys.rows(), " as keys have");
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
  return detail::log_weights<Scalar>(detail::form_for<Scalar>(form), flow, Softmax{form.beta}, NoMask{},
                                     NoBias{}, detail::TokenView<Scalar, Dim>(x));
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

/// log P of queries on keys, P = law(β ⟨qᵢ, kⱼ⟩ + bias(i, j)), m × n; −∞ where the mask leaves j out. Query i stands at
/// position i among the keys. queries: d_k × m, keys: d_k × n. For laws of exponentials whose rows stand alone.
/// Cost: O(m n d_k) time, m n numbers.
/// \throws std::invalid_argument unless queries and keys have the same d_k ≥ 1 rows and are finite; if the law or the bias
/// is wrong.
template <class Queries, TokenSource<typename Queries::Scalar, Eigen::Dynamic> Keys, WeightLaw Law,
          AttentionMask Mask, PositionalBias Bias>
requires(Law::function == WeightFunction::exponential && !DoublyStochasticLaw<Law> && !DistanceLaw<Law>)
    [[nodiscard]] SquareMatrix<typename Queries::Scalar> log_attention(
        const Eigen::MatrixBase<Queries>& queries, const Keys& keys, const Law& law, const Mask& mask,
        const Bias& bias) {
  using Scalar = typename Queries::Scalar;
  detail::require_points("log_attention", queries, keys, law, bias);
  const detail::TokenView<Scalar, Eigen::Dynamic> q(queries.derived()), k(keys);
  return detail::weights_of_points<Scalar, true>(detail::PointViews<Scalar, Eigen::Dynamic>(q, k, k, 0), 0,
                                                 law, mask, bias);
}

/// P itself, for all laws whose rows stand alone: zero where the mask leaves j out. Else as log_attention.
template <class Queries, TokenSource<typename Queries::Scalar, Eigen::Dynamic> Keys, WeightLaw Law,
          AttentionMask Mask, PositionalBias Bias>
requires(!DoublyStochasticLaw<Law> && !DistanceLaw<Law>)
    [[nodiscard]] SquareMatrix<typename Queries::Scalar> attention_matrix(
        const Eigen::MatrixBase<Queries>& queries, const Keys& keys, const Law& law, const Mask& mask,
        const Bias& bias) {
  using Scalar = typename Queries::Scalar;
  detail::require_points("attention_matrix", queries, keys, law, bias);
  const detail::TokenView<Scalar, Eigen::Dynamic> q(queries.derived()), k(keys);
  return detail::weights_of_points<Scalar>(detail::PointViews<Scalar, Eigen::Dynamic>(q, k, k, 0), 0, law,
                                           mask, bias);
}

/// The weights that m points y give to n tokens x through a head, P = law(β ⟨Q yᵢ, K xⱼ⟩ + bias(i, j)), m × n.
/// y: d × m, x: d × n. Laws as for queries and keys; errors as log_attention.
template <RealScalar Scalar, int Dim, TokenSource<Scalar, Dim> Y, TokenSource<Scalar, Dim> X, WeightLaw Law,
          AttentionMask Mask, PositionalBias Bias>
requires(!DoublyStochasticLaw<Law> && !DistanceLaw<Law>)
    [[nodiscard]] SquareMatrix<Scalar> attention_matrix(const Head<Scalar, Dim>& head, const Y& y, const X& x,
                                                        const Law& law, const Mask& mask, const Bias& bias) {
  head.validate("attention_matrix");
  detail::validate_law(law);
  bias.validate();
  detail::require_dimension("attention_matrix", x, head.dim());
  if (y.rows() != head.dim())
    detail::refuse("attention_matrix: y has ", y.rows(), " rows, expected d = ", head.dim());
  const detail::TokenView<Scalar, Dim> queries(y), keys(x);
  return detail::weights_of_head<Scalar>(detail::HeadOperator<Scalar, Dim, Law, Bias>(head, law), law, mask,
                                         bias, detail::PointViews<Scalar, Dim>(queries, keys, keys, 0));
}

/// log P of one head on tokens x, P = law(β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j)); −∞ where the mask leaves j out. For laws of
/// exponentials: weights of others may vanish or be negative.
/// \throws std::invalid_argument if the head, the law, the bias, the number of rows of x or an entry of it is wrong,
/// std::runtime_error if the law is Sinkhorn and its weights cannot be found.
template <RealScalar Scalar, int Dim, TokenSource<Scalar, Dim> X, WeightLaw Law = Softmax,
          AttentionMask Mask = NoMask, PositionalBias Bias = NoBias>
[[nodiscard]] SquareMatrix<Scalar> log_attention(
    const Head<Scalar, Dim>& head, const X& x, const Law& law = {}, const Mask& mask = {},
    const Bias& bias = {}) requires(Law::function == WeightFunction::exponential) {
  head.validate("log_attention");
  detail::validate_law(law);
  bias.validate();
  detail::require_dimension("log_attention", x, head.dim());
  const detail::TokenView<Scalar, Dim> view(x);
  return detail::weights_of_head<Scalar, true>(detail::HeadOperator<Scalar, Dim, Law, Bias>(head, law), law,
                                               mask, bias, detail::PointViews<Scalar, Dim>(view));
}

/// The weights of one head on tokens x; rows sum to one where the law says so [GLPR23, eq. (P)], and are zero where
/// the mask leaves nothing. Errors as log_attention.
template <RealScalar Scalar, int Dim, TokenSource<Scalar, Dim> X, WeightLaw Law = Softmax,
          AttentionMask Mask = NoMask, PositionalBias Bias = NoBias>
[[nodiscard]] SquareMatrix<Scalar> attention_matrix(const Head<Scalar, Dim>& head, const X& x,
                                                    const Law& law = {}, const Mask& mask = {},
                                                    const Bias& bias = {}) {
  head.validate("attention_matrix");
  detail::validate_law(law);
  bias.validate();
  detail::require_dimension("attention_matrix", x, head.dim());
  const detail::TokenView<Scalar, Dim> view(x);
  return detail::weights_of_head<Scalar>(detail::HeadOperator<Scalar, Dim, Law, Bias>(head, law), law, mask,
                                         bias, detail::PointViews<Scalar, Dim>(view));
}

}}  // namespace attnflow
