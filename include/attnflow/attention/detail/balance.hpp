/// \file
/// Sinkhorn's iteration on the logarithms of what scales rows and columns.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/detail/words.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// \throws std::invalid_argument unless i attends to j wherever j attends to i.
template <class Mask>
void require_symmetric(const Mask& mask) {
  static_assert(
      requires {
        { mask.symmetric() } -> std::convertible_to<bool>;
      },
      "Sinkhorn needs a mask that may be symmetric, such as NoMask, Band, ExcludeSelf or Graph: a triangular "
      "matrix "
      "whose rows and columns sum to one is the identity");
  if (!mask.symmetric())
    refuse(
        "Sinkhorn: the mask lets a token attend to one that does not attend to it, expected a symmetric "
        "mask");
}

/// The tolerance of Sinkhorn's columns for tokens of a scalar.
template <class Scalar, class Law>
[[nodiscard]] double column_tolerance(const Law& law) {
  return law.tolerance.value_or(std::is_same_v<Value<Scalar>, float> ? 1e-5 : 1e-12);
}

/// Whether every number is finite.
[[nodiscard]] inline bool all_finite(const std::vector<double>& numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [](double x) { return std::isfinite(x); });
}

/// What is added to the scores of each key, so that the softmax rows of the sums are doubly stochastic.
template <class Number>
struct Balance {
  std::vector<Number> key_terms;    // NaN where columns do not sum to one as they should
  std::vector<Number> corrections;  // of plain loops, see GenericRows
  double largest = 0;               // the largest gⱼ: g is known up to a number that is added to all of it
  int iterations = 0;
  double marginal_error = 0;
  bool settled = true;  // false: the iteration would take too long, or is too inexact for the tolerance

  void write(RowRecord* rows) const {
    if (rows == nullptr) return;
    rows->iterations = iterations;
    rows->marginal_error = marginal_error;
  }
};

/// Whether some query attends to each of n keys, under a symmetric mask.
template <class Mask>
[[nodiscard]] std::vector<bool> attended_keys(const Mask& mask, Eigen::Index n) {
  std::vector<bool> result(static_cast<std::size_t>(n));
  for (Eigen::Index j = 0; j < n; ++j) result[static_cast<std::size_t>(j)] = nearest_key(mask, j, n) >= 0;
  return result;
}

/// Whether a law is the limit of its iteration.
template <class Law>
[[nodiscard]] bool asks_for_the_limit(const Law& law) noexcept {
  return law.iterations == (std::numeric_limits<int>::max)();
}

/// \throws std::runtime_error where the weights were not found.
template <class Number>
void require_balance(const Balance<Number>& balanced) {
  for (const Number& term : balanced.key_terms)
    if (!std::isfinite(value_of(term)))
      throw std::runtime_error(
          std::isinf(balanced.marginal_error)
              ? words_of({"Sinkhorn: the scores are beyond what has logarithms in double, about 1e300"})
              : words_of({"Sinkhorn: after ", balanced.iterations,
                          " steps a column sum is off by the factor 1 ± ", balanced.marginal_error,
                          ", expected the tolerance: the mask may leave no weights whose rows and columns "
                          "sum to one"}));
}

/// The iteration of [SABP22] on logarithms, for masses mⱼ (log_masses: log mⱼ, or none for ones):
///
///     fᵢ = −log ∑ⱼ mⱼ e^{sᵢⱼ + gⱼ},   gⱼ = −log ∑ᵢ mᵢ e^{sᵢⱼ + fᵢ},
///
/// f first with g = 0, then g and f by turns. Before g changes, column j of P sums to e^{gⱼ} ∑ᵢ mᵢ e^{sᵢⱼ + fᵢ} mⱼ.
/// sum_rows(terms, result) and sum_columns(terms, result) write log ∑ e^{s + term} of each row and column, with an error
/// of `rounding` times their size. A key that nobody attends to has neither a row nor a column.
///
/// Where law.iterations asks for the limit, the iteration gives up once it is clear that it needs more than 100 sweeps or
/// that rounding is above the tolerance.
template <class Number, class Law, class SumRows, class SumColumns>
[[nodiscard]] Balance<Number> balance(const Law& law, Eigen::Index n, const std::vector<Number>& log_masses,
                                      const std::vector<bool>& attended, const SumRows& sum_rows,
                                      const SumColumns& sum_columns, double tolerance, double rounding) {
  constexpr int most_sweeps = 100;
  const auto count = static_cast<std::size_t>(n);
  Balance<Number> result;
  std::vector<Number> g(count, Number(0)), f, columns, terms;
  const auto with_masses = [&](const std::vector<Number>& potential, bool negative) {
    terms.assign(count, Number(0));
    for (std::size_t j = 0; j < count; ++j) {
      if (!attended[j]) continue;
      terms[j] = negative ? Number(-potential[j]) : potential[j];
      if (!log_masses.empty()) terms[j] += log_masses[j];
    }
  };
  with_masses(g, false);
  double before = std::numeric_limits<double>::infinity();
  for (;; ++result.iterations) {
    if (n == 0) break;
    sum_rows(terms, f);
    with_masses(f, true);
    sum_columns(terms, columns);
    result.marginal_error = 0;
    for (std::size_t j = 0; j < count; ++j) {
      if (!attended[j]) continue;
      const double log_sum = static_cast<double>(value_of(g[j])) + static_cast<double>(value_of(columns[j]));
      const double error = std::abs(std::expm1(log_sum));
      if (!(error <= result.marginal_error)) result.marginal_error = error;  // NaN, too
    }
    if (asks_for_the_limit(law)) {
      const double error = result.marginal_error;
      double size = 0;
      for (std::size_t j = 0; j < count; ++j)
        if (attended[j])
          size = (std::max)({size, std::abs(static_cast<double>(value_of(f[j]))),
                             std::abs(static_cast<double>(value_of(columns[j])))});
      const bool met = error <= tolerance;
      result.settled = std::isfinite(error) && size * rounding <= tolerance;
      if (!met && result.iterations > 5)
        result.settled =
            result.settled && error < before &&
            result.iterations + std::log(tolerance / error) / std::log(error / before) < most_sweeps;
      if (met || !result.settled) break;
      before = error;
    } else if (!(result.marginal_error > tolerance) || result.iterations >= law.iterations) {
      break;
    }
    for (std::size_t j = 0; j < count; ++j)
      if (attended[j] && !std::isinf(value_of(columns[j]))) g[j] = -columns[j];
    with_masses(g, false);
  }
  with_masses(g, false);
  bool first = true;
  for (std::size_t j = 0; j < count; ++j) {
    if (!attended[j]) continue;
    const auto number = static_cast<double>(value_of(g[j]));
    result.largest = first ? number : (std::max)(result.largest, number);
    first = false;
  }
  result.key_terms = std::move(terms);
  return result;
}

}}}  // namespace attnflow::detail
