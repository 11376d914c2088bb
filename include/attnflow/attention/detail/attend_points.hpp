/// \file
/// The one dispatch of the attention operator: which arithmetic does a law, a mask and a bias on laid-out points.
#pragma once

#include <attnflow/attention/attention_scratch.hpp>
#include <attnflow/attention/biases/token_masses.hpp>
#include <attnflow/attention/detail/attend_rows.hpp>
#include <attnflow/attention/detail/balance.hpp>
#include <attnflow/attention/detail/forms.hpp>
#include <attnflow/attention/detail/position_sums.hpp>
#include <attnflow/attention/detail/query_pack.hpp>
#include <attnflow/attention/detail/rotated_head.hpp>
#include <attnflow/attention/generic/generic_attend.hpp>
#include <attnflow/attention/kernels/kernels.hpp>
#include <attnflow/attention/laws/linear.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/attention/within.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

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
/// is not the way: the plain loops have another. \pre the queries are the tokens that keys are.
template <int Dim, class Scalar, class Law, class Mask, class Bias>
[[nodiscard]] Balance<double> balance_rows(const QuerySource<Scalar, Dim>& source,
                                           const PointLayout<Scalar>& tokens, const Law& law,
                                           const Mask& mask, const Bias& bias,
                                           const RowKernels<Scalar>& kernels,
                                           AttentionScratch<Scalar>& scratch,
                                           const std::vector<double>& log_masses) {
  require_symmetric(mask);
  const ScoreForm<Dim> transposed = transposed_form(*source.form);
  QuerySource<Scalar, Dim> of_columns = source;
  of_columns.form = &transposed;
  const RowProblem<Scalar> rows{scratch.queries, tokens, kernels, scratch.sums, Weighted::tokens};
  const auto sum = [&](const QuerySource<Scalar, Dim>& of, const std::vector<double>& terms,
                       std::vector<double>& logs) {
    scratch.queries.pack(of, tokens, mask, static_cast<double>(bias.slope), kernels,
                         kernels.bounded == nullptr, terms);
    logs.resize(static_cast<std::size_t>(tokens.n));
    for_all_rows(
        rows,
        [&](std::int64_t first, std::int64_t last, std::int64_t) {
          for (std::int64_t i = first; i < last; ++i)
            logs[static_cast<std::size_t>(i)] = log_normalizer_of(rows, i);
        },
        [&](Eigen::Index i, const ExactRow<Scalar>& row) {
          logs[static_cast<std::size_t>(i)] = row.log_normalizer();
        });
  };
  return balance(
      law, tokens.n, log_masses, attended_keys(mask, tokens.n),
      [&](const std::vector<double>& terms, std::vector<double>& logs) { sum(source, terms, logs); },
      [&](const std::vector<double>& terms, std::vector<double>& logs) { sum(of_columns, terms, logs); },
      column_tolerance<Scalar>(law), static_cast<double>(std::numeric_limits<Scalar>::epsilon()));
}

/// Linear attention over all keys without looking at pairs: factor (∑ⱼ vⱼ kⱼᵀ) uᵢ, with the queries of pack_scores.
/// Cost: O((m + n) d_k d_v).
template <class Scalar>
void attend_linearly(const RowProblem<Scalar>& rows, double factor, Scalar* out) {
  const PointLayout<Scalar>&keys = *rows.queries.keys, &values = rows.values;
  const std::int64_t d = keys.d, value_d = values.d, n = keys.n, m = rows.queries.m;
  const auto width = static_cast<std::size_t>(d);
  static constinit thread_local Scratch<std::vector<double>> kept_second, kept_first, kept_key;
  std::vector<double>&second = *kept_second, &first = *kept_first, &key = *kept_key;
  second.assign(width * static_cast<std::size_t>(value_d), 0);
  first.assign(width, 0);
  key.resize(width);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t k = 0; k < d; ++k) {
      key[static_cast<std::size_t>(k)] = static_cast<double>(keys.points()[j * d + k]) + keys.origin_of(k);
      first[static_cast<std::size_t>(k)] += key[static_cast<std::size_t>(k)];
    }
    for (std::int64_t c = 0; c < value_d; ++c) {
      const double value = static_cast<double>(values.points()[j * value_d + c]) + values.origin_of(c);
      double* column = second.data() + c * d;
      for (std::size_t k = 0; k < width; ++k) column[k] += value * key[k];
    }
  }
  for (std::int64_t i = 0; i < m; ++i) {
    double weights = 0;  // ∑ⱼ sᵢⱼ
    if (rows.what == Weighted::displacements)
      for (std::int64_t k = 0; k < d; ++k)
        weights += rows.queries.scaled_query(i * d + k) * first[static_cast<std::size_t>(k)];
    for (std::int64_t c = 0; c < value_d; ++c) {
      double sum = rows.what == Weighted::displacements
                       ? -weights * (static_cast<double>(values.points()[rows.own(i) * value_d + c]) +
                                     values.origin_of(c))
                       : 0;
      const double* column = second.data() + c * d;
      for (std::int64_t k = 0; k < d; ++k) sum += column[k] * rows.queries.scaled_query(i * d + k);
      out[i * value_d + c] = static_cast<Scalar>(sum * factor);
    }
  }
}

/// The operator on laid-out points, by the kernels, in units of 2^{values.exponent}: writes d_v × m numbers.
/// ValueDim is d_v where that is known. KeysAreValues says that `keys` and `values` are one object.
/// \returns false where the kernels have no way: plain loops in double have one.
template <int Dim, int ValueDim, bool KeysAreValues, KernelScalar Scalar, class Law, class Mask, class Bias>
[[nodiscard]] bool attend_points(const QuerySource<Scalar, Dim>& source, const PointLayout<Scalar>& keys,
                                 const PointLayout<Scalar>& values, Weighted what, const Law& law,
                                 const Mask& mask, const Bias& bias, Scalar* out, RowRecord* record,
                                 AttentionScratch<Scalar>& scratch, bool all_exact = false) {
  constexpr RowKind kind = row_kind<Law, Mask, Bias>();
  if constexpr (TabledBias<Bias>) return false;  // for plain loops
  clear(record, source.count);
  const Eigen::Index size = values.d * source.count, n = keys.n;
  if (!keys.finite || !values.finite) {
    std::fill_n(out, size, std::numeric_limits<Scalar>::quiet_NaN());
    return true;
  }
  const auto slope = static_cast<double>(bias.slope);
  std::vector<double> terms;  // of keys: allocates where there are some
  if constexpr (MassiveBias<Bias>) log_relative_masses(bias, n, terms);
  if (size == 0) return true;
  if (n == 0) {
    std::fill_n(out, size, Scalar(0));
    if (record != nullptr)
      for (double& log_normalizer : record->log_normalizer)
        log_normalizer = -std::numeric_limits<double>::infinity();
    return true;
  }
  const RowKernels<Scalar> kernels = [&] {
    if constexpr (Law::function == WeightFunction::pointwise)
      return pointwise_kernels<Scalar, Law>(scratch.level);
    else
      return row_kernels<Scalar, Dim, kind, KeysAreValues>(scratch.level, keys.d);
  }();
  QueryPack<Scalar>& queries = scratch.queries;
  const RowProblem<Scalar> rows{queries, values, kernels, scratch.sums, what, &law};
  all_exact = all_exact || record != nullptr || values.exponent > 0;
  require_no_masses<Law, Bias>();

  if constexpr (Law::function == WeightFunction::maximum) {
    queries.pack(source, keys, mask, slope, kernels, true);
    queries.hard = true;
    queries.tie_tolerance = tie_tolerance<Scalar>(law);
    attend_rows<ValueDim>(rows, law, out, record);
  } else if constexpr (Law::function == WeightFunction::row) {
    queries.pack(source, keys, mask, slope, kernels, true);
    attend_whole_rows(rows, law, mask, slope, out, record);
  } else if constexpr (Law::function == WeightFunction::pointwise) {
    for (double& term : terms) term = std::exp(term);
    // Rows are asked for one by one, and scores of any size, in plain loops.
    if (record != nullptr || values.exponent > 0 ||
        !queries.pack_scores(source, keys, mask, slope, kernels, terms))
      return false;
    if constexpr (std::is_same_v<Law, Linear> && std::is_same_v<Mask, NoMask> && std::is_same_v<Bias, NoBias>)
      attend_linearly(rows, 1 / static_cast<double>(n), out);
    else
      attend_pointwise(rows, law.rows, out);
  } else {
    double largest = 0;
    if constexpr (DoublyStochasticLaw<Law>) {
      Balance<double> balanced = balance_rows(source, keys, law, mask, bias, kernels, scratch, terms);
      if (!balanced.settled) return false;
      balanced.write(record);
      largest = balanced.largest;
      terms = std::move(balanced.key_terms);
      if (!all_finite(terms)) {
        std::fill_n(out, size, std::numeric_limits<Scalar>::quiet_NaN());
        return true;
      }
    }
    queries.pack(source, keys, mask, slope, kernels, all_exact, terms);
    attend_rows<ValueDim>(rows, law, out, record, positions_for<Law>(mask, bias, terms));
    if (record != nullptr && largest != 0)
      for (double& log_normalizer : record->log_normalizer) log_normalizer -= largest;
  }
  return true;
}

/// The same by plain loops in double.
template <KernelScalar Scalar, int Dim, class Law, class Mask, class Bias>
void attend_in_double(const GenericForm<double, Dim>& form,
                      const std::type_identity_t<ScaledMatrix<Dim>>* flow, Weighted what, const Law& law,
                      const Mask& mask, const Bias& bias, const PointViews<Scalar, Dim>& points, int exponent,
                      Tokens<Scalar, Dim>& out, RowRecord* record) {
  const auto widen = [](const TokenView<Scalar, Dim>& x) -> Tokens<double, Dim> {
    return x.map().template cast<double>();
  };
  const Tokens<double, Dim> queries = widen(points.queries), keys = widen(points.keys),
                            values = widen(points.values);
  const bool one = points.queries.data() == points.keys.data();
  const TokenView<double, Dim> q(queries), k(keys), v(values);
  Tokens<double, Dim> sums;
  const int unit =
      attend_generically(form, flow, what, law, mask, bias,
                         PointViews<double, Dim>(one ? k : q, k, v, points.first_position), sums, record);
  scale_by_power_of_two(sums, unit - exponent);
  out = sums.template cast<Scalar>();
}

/// Attention of points to tokens that are laid out, with scores of a form; E = e^{tV} is applied to both first. In units of
/// 2^e: writes out · 2^{−e} and returns e, which is zero unless tokens are so large that products of them could overflow.
/// For callers that apply a value matrix before going back to plain units. \param layout  of the tokens. \param points  what
/// the queries are made of. \param views  the same queries and tokens.
template <KernelScalar Scalar, int Dim, class Law, class Mask, class Bias>
int attend_tokens(const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                  Weighted what, const Law& law, const Mask& given_mask, const Bias& bias,
                  const PointLayout<Scalar>& layout, const QueryPoints<Scalar>& points,
                  const PointViews<Scalar, Dim>& views, Tokens<Scalar, Dim>& out, RowRecord* record,
                  AttentionScratch<Scalar>& scratch) {
  require_still_positions<Bias>();
  const auto& mask = bound_mask(given_mask, views);
  eigen_assert(views.keys.data() != out.data() || views.keys.cols() == 0);
  out.resize(views.values.rows(), points.count);
  if (!attend_points<Dim, Dim, true>(QuerySource<Scalar, Dim>(points, form, flow), layout, layout, what, law,
                                     mask, bias, out.data(), record, scratch))
    attend_in_double(generic_form_of<double>(form), flow, what, law, mask, bias, views, layout.exponent, out,
                     record);
  return layout.finite ? layout.exponent : 0;
}

/// The same of tokens to one another.
template <KernelScalar Scalar, int Dim, class Law, class Mask, class Bias>
int attend_scaled(const ScoreForm<Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                  Weighted what, const Law& law, const Mask& mask, const Bias& bias,
                  const std::type_identity_t<TokenView<Scalar, Dim>>& x, Tokens<Scalar, Dim>& out,
                  RowRecord* record,
                  AttentionScratch<Scalar>& scratch = AttentionScratch<Scalar>::of_this_thread()) {
  scratch.tokens.template read<Dim>(x.data(), x.rows(), x.cols());
  return attend_tokens(form, flow, what, law, mask, bias, scratch.tokens,
                       QueryPoints<Scalar>::of(scratch.tokens), PointViews<Scalar, Dim>(x), out, record,
                       scratch);
}

/// The same in a scalar that no kernel is compiled for.
template <class Scalar, int Dim, class Law, class Mask, class Bias>
int attend_scaled(const GenericForm<Scalar, Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                  Weighted what, const Law& law, const Mask& mask, const Bias& bias,
                  const std::type_identity_t<TokenView<Scalar, Dim>>& x, Tokens<Scalar, Dim>& out,
                  RowRecord* record) {
  return attend_generically(form, flow, what, law, mask, bias, PointViews<Scalar, Dim>(x), out, record);
}

/// The queries of an evaluation whose keys are laid out; where they are the keys themselves, their sizes are known. A query that
/// is not finite makes the layout one that is not.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] QueryPoints<Scalar> query_points(const PointViews<Scalar, Dim>& views,
                                               PointLayout<Scalar>& keys) {
  const TokenView<Scalar, Dim>& queries = views.queries;
  if (queries.data() == views.keys.data() && queries.cols() == views.keys.cols() && views.first_position == 0)
    return QueryPoints<Scalar>::of(keys);
  const auto largest = largest_number(queries.data(), queries.rows() * queries.cols());
  if (!std::isfinite(largest)) keys.finite = false;
  return {queries.data(), queries.cols(), static_cast<double>(largest), views.first_position, false};
}

/// The operator on three sets of points (attend.hpp), whose shapes agree, with scores β 2^power ⟨qᵢ, kⱼ⟩. In units of
/// 2^e: writes out · 2^{−e} and returns e.
template <class Scalar, class Law, class Mask, class Bias>
int attend_views(const PointViews<Scalar, Eigen::Dynamic>& points, int power, const Law& law,
                 const Mask& given_mask, const Bias& bias, Tokens<Scalar>& out, RowRecord* record,
                 [[maybe_unused]] std::type_identity_t<AttentionScratch<Scalar>>* given) {
  const auto& [queries, keys, values, first_position] = points;
  if constexpr (RotatingPositions<Bias>) {
    TurnedPoints<Scalar> turned{queries.map(), keys.map()};
    turned.turn(bias, first_position);
    const TokenView<Scalar, Eigen::Dynamic> q(turned.queries), k(turned.keys);
    return attend_views(PointViews<Scalar, Eigen::Dynamic>(q, k, values, first_position), power, law,
                        bound_mask(given_mask, points), NoBias{}, out, record, given);
  } else {
    const auto& mask = bound_mask(given_mask, points);
    out.resize(values.rows(), queries.cols());
    if constexpr (KernelScalar<Scalar>) {
      AttentionScratch<Scalar>& scratch =
          given == nullptr ? AttentionScratch<Scalar>::of_this_thread() : *given;
      scratch.keys.read(keys.data(), keys.rows(), keys.cols());
      const bool same = values.data() == keys.data() && values.rows() == keys.rows();
      if (!same) scratch.values.read(values.data(), values.rows(), values.cols());
      const QuerySource<Scalar> source(query_points(points, scratch.keys), law.beta,
                                       power * std::numbers::ln2);
      const PointLayout<Scalar>& of_values = same ? scratch.keys : scratch.values;
      const int exponent = of_values.finite ? of_values.exponent : 0;
      const auto attend = [&](auto shared) {
        return attend_points<Eigen::Dynamic, Eigen::Dynamic, shared.value>(
            source, scratch.keys, of_values, Weighted::tokens, law, mask, bias, out.data(), record, scratch);
      };
      if (!(same ? attend(std::true_type()) : attend(std::false_type())))
        attend_in_double(GenericForm<double, Eigen::Dynamic>{{}, power, 0, law.beta}, nullptr,
                         Weighted::tokens, law, mask, bias, points, exponent, out, record);
      return exponent;
    } else {
      return attend_generically(GenericForm<Scalar, Eigen::Dynamic>{{}, power, 0, law.beta}, nullptr,
                                Weighted::tokens, law, mask, bias, points, out, record);
    }
  }
}

}}}  // namespace attnflow::detail
