/// \file
/// Softmax over the largest scores of a row.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/pointwise.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/value_of.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Top-k attention [GDG21]: softmax over the k largest scores of a row, and over all that are equal to the k-th of them, so
/// that the order of the tokens does not matter. Of fewer keys than k it is Softmax. Cost of a row: O(n (d + log k)).
struct TopK {
  static constexpr const char* name = "TopK";
  static constexpr auto function = WeightFunction::row;
  /// k, at least 1.
  Eigen::Index k = 1;
  /// β, finite.
  double beta = 1;

  /// Scores to weights.
  template <class S>
  void weigh_row(std::span<S> scores) const {
    using Number = detail::Value<S>;
    std::vector<Number> numbers;
    for (const S& s : scores) numbers.push_back(detail::value_of(s));
    const auto kept = static_cast<std::size_t>((std::min)(k, static_cast<Eigen::Index>(numbers.size())));
    const auto last = numbers.begin() + static_cast<std::ptrdiff_t>(kept) - 1;
    std::nth_element(numbers.begin(), last, numbers.end(), [](Number a, Number b) { return a > b; });
    S sum = S(0);
    for (S& s : scores) {
      s = detail::value_of(s) < *last ? S(0) : pointwise::exp(s);
      sum += s;
    }
    for (S& s : scores) s /= sum;
  }
  /// \throws std::invalid_argument unless k ≥ 1.
  void validate() const {
    if (k < 1) detail::refuse("TopK::k is ", k, ", expected at least 1");
  }
};

}}  // namespace attnflow
