/// \file
/// The operator for scalars that no kernel is compiled for, and its weights: by the plain loops of generic_rows.hpp.
#pragma once

#include <attnflow/attention/biases/token_masses.hpp>
#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/detail/balance.hpp>
#include <attnflow/attention/detail/doubly_stochastic.hpp>
#include <attnflow/attention/detail/forms.hpp>
#include <attnflow/attention/detail/position_sums.hpp>
#include <attnflow/attention/generic/generic_rows.hpp>
#include <attnflow/attention/pointwise.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/attention/within.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <concepts>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// f = log_row_factor(log ∑ⱼ e^{sᵢⱼ}, n) of a law whose rows do not sum to one. A law that takes the logarithm as a
/// double alone cannot pass its derivatives on.
template <class Scalar, class Law, class Positions>
[[nodiscard]] Scalar generic_log_row_factor(const Law& law, const Positions& positions,
                                            const Scalar& log_normalizer, Eigen::Index n, Eigen::Index i) {
  static_assert(
      requires {
        { law.log_row_factor(log_normalizer, n) } -> std::convertible_to<Scalar>;
      },
      "the law's log_row_factor(log_normalizer, n) has to take and to return the scalar of the tokens, too");
  if constexpr (requires { positions.log_sum(i, n); })
    return law.log_row_factor(log_normalizer, n, positions.log_sum(i, n));
  else
    return law.log_row_factor(log_normalizer, n);
}

/// The tolerance within which Hardmax takes scores for equal.
template <class Scalar, class Law>
[[nodiscard]] double tie_tolerance(const Law& law) {
  return law.tolerance.value_or(16 * static_cast<double>(std::numeric_limits<Value<Scalar>>::epsilon()));
}

/// Refuses to compile laws that have no place for masses.
template <class Law, class Bias>
constexpr void require_no_masses() {
  static_assert(!MassiveBias<Bias> ||
                    (Law::function != WeightFunction::maximum && Law::function != WeightFunction::row),
                "Hardmax, TopK, Sparsemax and Entmax15 do not take masses: a mass is a factor of a weight, "
                "and these laws compare "
                "scores");
}

/// Refuses to compile rotary positions where scores are those of a form.
template <class Bias>
constexpr void require_still_positions() {
  static_assert(
      !RotatingPositions<Bias>,
      "rotary positions turn Q x and K x: they are for attend(), attention_matrix(), TokenDynamics, "
      "SphereDynamics and Layers, with laws that are neither L2Softmax nor Sinkhorn");
}

/// Sinkhorn's terms of keys by Newton's method, on the numbers. Their derivatives are those of the solution: c = m holds
/// as the tokens move, so H ∂g = −∂c for the columns c at the terms found. Two of these steps make the first and the
/// second derivatives right.
template <class Scalar, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] Balance<Scalar> generic_balance(const GenericForm<Scalar, Dim>& form,
                                              const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                                              const Law& law, const Mask& mask, const Bias& bias,
                                              const TokenView<Scalar, Dim>& x,
                                              const std::vector<Scalar>& log_masses) {
  using Number = Value<Scalar>;
  const auto slope = static_cast<double>(bias.slope);
  ListedRows<Number> rows;
  std::vector<Number> masses;
  if constexpr (std::floating_point<Scalar>) {
    return balance_by_newton(form, flow, mask, slope, x, log_masses, column_tolerance<Scalar>(law), rows,
                             masses);
  } else {
    const auto number = [](const Scalar& s) { return value_of(s); };
    const GenericForm<Number, Dim> of_numbers{form.M.unaryExpr(number), form.exponent, form.log_scale,
                                              form.beta};
    const Tokens<Number, Dim> tokens = x.map().unaryExpr(number);
    std::vector<Number> logs;
    for (const Scalar& log_mass : log_masses) logs.push_back(value_of(log_mass));
    const Balance<Number> found =
        balance_by_newton(of_numbers, flow, mask, slope, TokenView<Number, Dim>(tokens), logs,
                          column_tolerance<Scalar>(law), rows, masses);
    Balance<Scalar> result;
    result.iterations = found.iterations;
    result.marginal_error = found.marginal_error;
    result.largest = found.largest;
    for (const Number& term : found.key_terms) result.key_terms.push_back(static_cast<Scalar>(term));
    for (const Number& correction : found.corrections)
      result.corrections.push_back(static_cast<Scalar>(correction));
    if (found.key_terms.empty() || !std::isfinite(found.key_terms[0])) return result;
    std::vector<Number> ground = masses;
    for (Number& entry : ground) entry *= std::numeric_limits<Number>::epsilon();
    const GroundedLaplacian<Number> laplacian(rows, masses, ground);
    const GenericRows<Scalar, Dim, Mask> scores(form, flow, mask, slope, x, result.key_terms,
                                                result.corrections);
    GenericRow<Scalar> row;
    for (int order = 1; order <= 2; ++order) {
      std::vector<Scalar> change(masses.size(), Scalar(0));
      for (std::size_t i = 0; i < masses.size(); ++i) {
        scores.make(static_cast<Eigen::Index>(i), row);
        if (row.empty) continue;
        Scalar sum = Scalar(0);
        for (Scalar& entry : row.difference) {
          const Scalar weight = exponential(entry);
          entry = weight;
          sum += weight;
        }
        const Scalar factor = Scalar(static_cast<Scalar>(masses[i]) / sum);
        for (std::size_t k = 0; k < row.difference.size(); ++k) {
          const Scalar weight = row.difference[k] * factor;
          change[static_cast<std::size_t>(row.range.begin) + k] -= weight;
        }
      }
      for (Scalar& entry : change)
        entry -= static_cast<Scalar>(value_of(entry));  // the numbers are right already
      change = laplacian.solve(std::move(change));
      for (std::size_t j = 0; j < change.size(); ++j) result.corrections[j] += change[j];
    }
    return result;
  }
}

/// The terms of keys of a law and a bias, in the scalar of the tokens: logarithms of masses, and those of Sinkhorn. Laws
/// that are no exponentials have factors in their place.
template <class Scalar, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] Balance<Scalar> generic_terms(const GenericForm<Scalar, Dim>& form,
                                            const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                                            const Law& law, const Mask& mask, const Bias& bias,
                                            const PointViews<Scalar, Dim>& points) {
  const TokenView<Scalar, Dim>& x = points.keys;
  static_assert(!(DoublyStochasticLaw<Law> && TabledBias<Bias>), "Sinkhorn does not take a table of biases");
  if constexpr (requires { bias.require_size(x.cols(), x.cols()); })
    bias.require_size(points.first_position + points.queries.cols(), x.cols());
  Balance<Scalar> terms;
  if constexpr (MassiveBias<Bias>) {
    std::vector<double> logs;
    log_relative_masses(bias, x.cols(), logs);
    for (const double log : logs)
      terms.key_terms.push_back(static_cast<Scalar>(
          static_cast<Value<Scalar>>(Law::function == WeightFunction::exponential ? log : std::exp(log))));
  }
  if constexpr (DoublyStochasticLaw<Law>) {
    require_symmetric(mask);
    if (x.cols() == 0) return terms;
    if (asks_for_the_limit(law)) return generic_balance(form, flow, law, mask, bias, x, terms.key_terms);
    const GenericForm<Scalar, Dim> transposed = transposed_form(form);
    const auto sum = [&](const GenericForm<Scalar, Dim>& of, const std::vector<Scalar>& given,
                         std::vector<Scalar>& logs) {
      const GenericRows<Scalar, Dim, Mask> scores(of, flow, mask, static_cast<double>(bias.slope), x, given);
      logs.resize(static_cast<std::size_t>(x.cols()));
      for_each_generic_row<Scalar>(x.cols(), x.cols(), x.rows(), [&](Eigen::Index i) {
        using std::log;
        static constinit thread_local Scratch<GenericRow<Scalar>> kept;
        GenericRow<Scalar>& row = *kept;
        scores.make(i, row);
        Scalar& to = logs[static_cast<std::size_t>(i)];
        if (row.empty) {
          to = static_cast<Scalar>(-std::numeric_limits<Value<Scalar>>::infinity());
          return;
        }
        Scalar total = Scalar(0);
        for (const Scalar& difference : row.difference) {
          const Scalar weight = exponential(difference);
          total += weight;
        }
        to = row.largest_score + Scalar(log(total));
      });
    };
    const std::vector<Scalar> masses = terms.key_terms;
    terms = balance(
        law, x.cols(), masses, attended_keys(mask, x.cols()),
        [&](const std::vector<Scalar>& given, std::vector<Scalar>& logs) { sum(form, given, logs); },
        [&](const std::vector<Scalar>& given, std::vector<Scalar>& logs) { sum(transposed, given, logs); },
        column_tolerance<Scalar>(law), static_cast<double>(std::numeric_limits<Value<Scalar>>::epsilon()));
  }
  return terms;
}

/// The same as doubles, for what sees positions.
template <class Scalar>
[[nodiscard]] std::vector<double> numbers_of(const std::vector<Scalar>& entries) {
  std::vector<double> numbers;
  numbers.reserve(entries.size());
  for (const Scalar& entry : entries) numbers.push_back(static_cast<double>(value_of(entry)));
  return numbers;
}

/// The operator (see attend.hpp) in the scalar of the tokens, in units of 2^e: writes out · 2^{−e} and returns e.
template <class Scalar, int Dim, class Law, class Mask, class Bias>
int attend_generically(const GenericForm<Scalar, Dim>& form,
                       const std::type_identity_t<ScaledMatrix<Dim>>* flow, Weighted what, const Law& law,
                       const Mask& given_mask, const Bias& bias,
                       const std::type_identity_t<PointViews<Scalar, Dim>>& points, Tokens<Scalar, Dim>& out,
                       RowRecord* rows) {
  using Number = Value<Scalar>;
  constexpr bool exponentials = Law::function == WeightFunction::exponential,
                 hard = Law::function == WeightFunction::maximum,
                 whole = Law::function == WeightFunction::row;
  require_no_masses<Law, Bias>();
  require_still_positions<Bias>();
  const auto& mask = bound_mask(given_mask, points);
  const Eigen::Index n = points.keys.cols(), m = points.queries.cols(), d = points.values.rows();
  out.resize(d, m);
  clear(rows, m);
  const auto nan = static_cast<Scalar>(std::numeric_limits<Number>::quiet_NaN());
  const auto is_finite = [](const TokenView<Scalar, Dim>& x) {
    return std::isfinite(largest_number(x.data(), x.rows() * x.cols()));
  };
  if (!is_finite(points.keys) || !is_finite(points.queries) || !is_finite(points.values)) {
    out.setConstant(nan);
    return 0;
  }
  const Balance<Scalar> terms = generic_terms(form, flow, law, mask, bias, points);
  terms.write(rows);
  if (!std::isfinite(
          largest_number(terms.key_terms.data(), static_cast<Eigen::Index>(terms.key_terms.size())))) {
    out.setConstant(nan);
    return 0;
  }
  const std::vector<double> term_numbers = numbers_of(terms.key_terms);
  const auto positions = positions_for<Law>(mask, bias, term_numbers);
  const GenericRows<Scalar, Dim, std::remove_cvref_t<decltype(mask)>, Bias> scores(
      form, flow, mask, static_cast<double>(bias.slope), points,
      exponentials ? std::span<const Scalar>(terms.key_terms) : std::span<const Scalar>(), terms.corrections,
      &bias);
  const ScaledPoints<Scalar> scaled_values(points.values.data(), d * n);
  const Scalar* values = scaled_values.data;
  const auto zero = [&](Eigen::Index c) {  // with derivatives that are zero
    return n == 0 ? Scalar(0) : Scalar(values[c] - values[c]);
  };
  for_each_generic_row<Scalar>(m, n, d + points.keys.rows(), [&](Eigen::Index i) {
    using std::log;
    static constinit thread_local Scratch<GenericRow<Scalar>> kept;
    GenericRow<Scalar>& row = *kept;
    if constexpr (hard)
      scores.make_ties(i, tie_tolerance<Scalar>(law), row);
    else
      scores.make(i, row);
    const Eigen::Index position = points.first_position + i;
    const Scalar* own = what == Weighted::displacements ? values + position * d : nullptr;
    if (row.empty) {
      for (Eigen::Index c = 0; c < d; ++c) out(c, i) = zero(c);
      if (rows != nullptr)
        rows->log_normalizer[static_cast<std::size_t>(i)] = -std::numeric_limits<double>::infinity();
      return;
    }
    const Scalar* reference = values + row.largest_key * d;
    [[maybe_unused]] std::vector<Scalar> weights;  // of a whole row
    if constexpr (whole) {
      weights = row.difference;
      law.weigh_row(std::span<Scalar>(weights));
    }
    Scalar sum = Scalar(1);
    row.moment.clear();
    for (Eigen::Index c = 0; c < d; ++c) row.moment.push_back(zero(c));
    for (Eigen::Index j = row.range.begin; j < row.range.end; ++j) {
      if (j == row.largest_key) continue;
      const Scalar weight = exponential(row.difference[static_cast<std::size_t>(j - row.range.begin)]);
      if (value_of(weight) == 0) continue;
      sum += weight;
      for (Eigen::Index c = 0; c < d; ++c) {
        const Scalar delta = values[j * d + c] - reference[c];
        const Scalar part = weight * delta;
        row.moment[static_cast<std::size_t>(c)] += part;
      }
    }
    const Scalar log_normalizer = row.largest_score + Scalar(log(sum));
    if (rows != nullptr) {
      rows->log_normalizer[static_cast<std::size_t>(i)] =
          static_cast<double>(value_of(log_normalizer)) - terms.largest;
      rows->largest_key[static_cast<std::size_t>(i)] = row.largest_key;
    }
    if constexpr (whole) {
      for (Eigen::Index c = 0; c < d; ++c) {
        Scalar entry = own == nullptr ? reference[c] : Scalar(reference[c] - own[c]);
        for (Eigen::Index j = row.range.begin; j < row.range.end; ++j) {
          const Scalar& weight = weights[static_cast<std::size_t>(j - row.range.begin)];
          if (value_of(weight) == 0) continue;
          const Scalar delta = values[j * d + c] - reference[c];
          const Scalar part = weight * delta;
          entry += part;
        }
        out(c, i) = entry;
      }
    } else if constexpr (exponentials || hard) {
      Scalar factor = Scalar(1);
      bool single = false, plain = detail::rows_sum_to_one<Law>();
      if constexpr (hard) {
        single = law.ties == Ties::first;
        plain = law.ties != Ties::all;
        if (!plain) factor = sum;
      } else if constexpr (!detail::rows_sum_to_one<Law>()) {
        factor = exponential(generic_log_row_factor<Scalar>(law, positions, log_normalizer, n, position));
      }
      for (Eigen::Index c = 0; c < d; ++c) {
        Scalar mean = row.moment[static_cast<std::size_t>(c)] / sum;
        if (single) mean = Scalar(0);
        Scalar entry = reference[c] + mean;
        if (own != nullptr) entry = Scalar(reference[c] - own[c]) + mean;
        if (!plain) {
          // Nothing times ∞ is nothing.
          const bool nothing =
              value_of(factor) == 0 || (value_of(entry) == 0 && !std::isfinite(value_of(factor)));
          entry = nothing ? Scalar(0) : Scalar(entry * factor);
        }
        out(c, i) = entry;
      }
    } else {
      scores.make_scores(i, row);
      for (Eigen::Index c = 0; c < d; ++c) row.moment[static_cast<std::size_t>(c)] = zero(c);
      sum = Scalar(0);
      for (Eigen::Index j = row.range.begin; j < row.range.end; ++j) {
        if (!scores.takes(i, j)) continue;
        Scalar weight = law.weight(row.difference[static_cast<std::size_t>(j - row.range.begin)]);
        if (!terms.key_terms.empty()) weight *= terms.key_terms[static_cast<std::size_t>(j)];
        sum += weight;
        for (Eigen::Index c = 0; c < d; ++c) {
          Scalar value = values[j * d + c];
          if (own != nullptr) value -= own[c];
          if (value_of(value) == 0 && std::isinf(value_of(weight))) continue;  // nothing times ∞ is nothing
          const Scalar part = weight * value;
          row.moment[static_cast<std::size_t>(c)] += part;
        }
      }
      const Scalar factor = row_factor(law.rows, sum, n);
      for (Eigen::Index c = 0; c < d; ++c) out(c, i) = row.moment[static_cast<std::size_t>(c)] * factor;
    }
  });
  return scaled_values.exponent;
}

/// The weights of a law that is no exponential, entry by entry.
template <class Scalar, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] detail::ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic> function_weights(
    const GenericForm<Scalar, Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow, const Law& law,
    const Mask& given_mask, const Bias& bias, const PointViews<Scalar, Dim>& points) {
  require_still_positions<Bias>();
  const auto& mask = bound_mask(given_mask, points);
  const Eigen::Index n = points.keys.cols(), m = points.queries.cols();
  const Balance<Scalar> factors = generic_terms(form, flow, law, mask, bias, points);
  const GenericRows<Scalar, Dim, std::remove_cvref_t<decltype(mask)>, Bias> scores(
      form, flow, mask, static_cast<double>(bias.slope), points, {}, {}, &bias);
  if (!scores.finite()) refuse("attention_matrix: x has an entry that is not finite");
  detail::ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic> result(m, n);
  result.setConstant(Scalar(0));
  for_each_generic_row<Scalar>(m, n, points.keys.rows(), [&](Eigen::Index i) {
    static constinit thread_local Scratch<GenericRow<Scalar>> kept;
    GenericRow<Scalar>& row = *kept;
    if constexpr (Law::function == WeightFunction::maximum)
      scores.make_ties(i, tie_tolerance<Scalar>(law), row);
    else if constexpr (Law::function == WeightFunction::row)
      scores.make(i, row);
    else
      scores.make_scores(i, row);
    if (row.empty) return;
    std::vector<Scalar>& entries = row.difference;
    if constexpr (Law::function == WeightFunction::row) law.weigh_row(std::span<Scalar>(entries));
    Scalar sum = Scalar(0);
    for (Eigen::Index j = row.range.begin; j < row.range.end; ++j) {
      if (!scores.takes(i, j)) continue;
      Scalar weight = entries[static_cast<std::size_t>(j - row.range.begin)];
      if constexpr (Law::function == WeightFunction::maximum) {
        if (value_of(weight) != 0 || (law.ties == Ties::first && j != row.largest_key)) continue;
        weight = Scalar(1);
      } else if constexpr (Law::function == WeightFunction::pointwise) {
        weight = law.weight(weight);
        if (!factors.key_terms.empty()) weight *= factors.key_terms[static_cast<std::size_t>(j)];
      }
      result(i, j) = weight;
      sum += weight;
    }
    Scalar factor = Scalar(1);
    if constexpr (Law::function == WeightFunction::pointwise) factor = row_factor(law.rows, sum, n);
    if constexpr (Law::function == WeightFunction::maximum)
      if (law.ties == Ties::average) factor = Scalar(1) / sum;
    if (value_of(factor) == 1) return;
    for (Eigen::Index j = row.range.begin; j < row.range.end; ++j) result(i, j) *= factor;
  });
  return result;
}

/// log_weights (attention_matrix.hpp) in the scalar of the tokens.
template <class Scalar, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] detail::ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic> log_weights(
    const GenericForm<Scalar, Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow, const Law& law,
    const Mask& given_mask, const Bias& bias, const std::type_identity_t<PointViews<Scalar, Dim>>& points) {
  using Number = Value<Scalar>;
  require_still_positions<Bias>();
  const auto& mask = bound_mask(given_mask, points);
  const Eigen::Index n = points.keys.cols(), m = points.queries.cols();
  for (const TokenView<Scalar, Dim>* x : {&points.keys, &points.queries})
    if (!std::isfinite(largest_number(x->data(), x->rows() * x->cols())))
      refuse("log_attention: x has an entry that is not finite");
  const Balance<Scalar> terms = generic_terms(form, flow, law, mask, bias, points);
  if constexpr (DoublyStochasticLaw<Law>) require_balance(terms);
  const std::vector<double> term_numbers = numbers_of(terms.key_terms);
  const auto positions = positions_for<Law>(mask, bias, term_numbers);
  const GenericRows<Scalar, Dim, std::remove_cvref_t<decltype(mask)>, Bias> scores(
      form, flow, mask, static_cast<double>(bias.slope), points, terms.key_terms, terms.corrections, &bias);
  detail::ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic> result(m, n);
  result.setConstant(static_cast<Scalar>(-std::numeric_limits<Number>::infinity()));
  for_each_generic_row<Scalar>(m, n, points.keys.rows(), [&](Eigen::Index i) {
    using std::log;
    static constinit thread_local Scratch<GenericRow<Scalar>> kept;
    GenericRow<Scalar>& row = *kept;
    scores.make(i, row);
    if (row.empty) return;
    Scalar sum = Scalar(0);
    for (const Scalar& difference : row.difference) {
      const Scalar weight = exponential(difference);
      sum += weight;
    }
    const Scalar log_sum = log(sum);
    Scalar shift = -log_sum;
    if constexpr (!detail::rows_sum_to_one<Law>())
      shift += generic_log_row_factor<Scalar>(law, positions, Scalar(row.largest_score + log_sum), n,
                                              points.first_position + i);
    for (Eigen::Index j = row.range.begin; j < row.range.end; ++j)
      result(i, j) = row.difference[static_cast<std::size_t>(j - row.range.begin)] + shift;
  });
  return result;
}

}}}  // namespace attnflow::detail
