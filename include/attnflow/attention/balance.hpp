/// \file
/// Sinkhorn's iteration on the logarithms of what scales rows and columns.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/value_of.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI::detail {

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

/// Whether every number is finite.
[[nodiscard]] inline bool all_finite(const std::vector<double>& numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [](double x) { return std::isfinite(x); });
}

/// What is added to the scores of each key, so that the softmax rows of the sums are doubly stochastic.
template <class Number>
struct Balance {
  std::vector<Number> key_terms;
  int iterations = 0;
  double marginal_error = 0;

  void write(RowRecord* rows) const {
    if (rows == nullptr) return;
    rows->iterations = iterations;
    rows->marginal_error = marginal_error;
  }
};

/// The iteration of [SABP22] on logarithms, for masses mⱼ (log_masses: log mⱼ, or none for ones):
///
///     fᵢ = −log ∑ⱼ mⱼ e^{sᵢⱼ + gⱼ},   gⱼ = −log ∑ᵢ mᵢ e^{sᵢⱼ + fᵢ},
///
/// f first with g = 0, then g and f by turns. Before g changes, column j of P sums to e^{gⱼ} ∑ᵢ mᵢ e^{sᵢⱼ + fᵢ} mⱼ.
/// sum_rows(terms, result) and sum_columns(terms, result) write log ∑ e^{s + term} of each row and column.
template <class Number, class Law, class SumRows, class SumColumns>
[[nodiscard]] Balance<Number> balance(const Law& law, Eigen::Index n, const std::vector<Number>& log_masses,
                                      const SumRows& sum_rows, const SumColumns& sum_columns) {
  const auto count = static_cast<std::size_t>(n);
  Balance<Number> result;
  std::vector<Number> g(count, Number(0)), f, columns, terms;
  const auto with_masses = [&](const std::vector<Number>& potential, bool negative) {
    terms.assign(count, Number(0));
    for (std::size_t j = 0; j < count; ++j) {
      terms[j] = negative ? Number(-potential[j]) : potential[j];
      if (!log_masses.empty()) terms[j] += log_masses[j];
    }
  };
  with_masses(g, false);
  for (;; ++result.iterations) {
    if (n == 0) break;
    sum_rows(terms, f);
    with_masses(f, true);
    sum_columns(terms, columns);
    result.marginal_error = 0;
    for (std::size_t j = 0; j < count; ++j) {
      // A key that nobody attends to has no column.
      const double log_sum = static_cast<double>(value_of(g[j])) + static_cast<double>(value_of(columns[j]));
      const double error = std::isinf(log_sum) && log_sum < 0 ? 0 : std::abs(std::expm1(log_sum));
      if (!(error <= result.marginal_error)) result.marginal_error = error;  // NaN, too
    }
    if (!(result.marginal_error > law.tolerance) || result.iterations >= law.iterations) break;
    for (std::size_t j = 0; j < count; ++j)
      if (!std::isinf(value_of(columns[j]))) g[j] = -columns[j];
    with_masses(g, false);
  }
  with_masses(g, false);
  result.key_terms = std::move(terms);
  return result;
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
