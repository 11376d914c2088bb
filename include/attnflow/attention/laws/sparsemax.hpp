/// \file
/// Weights that are exactly zero for low scores: projections of a row of scores on the simplex.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/value_of.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {
/// The scores of a row in falling order, as far as a score differs from the largest, which is 0, by less than `reach`.
template <class S>
[[nodiscard]] std::vector<S> highest_scores(std::span<const S> scores, double reach) {
  std::vector<S> highest;
  for (const S& s : scores)
    if (static_cast<double>(value_of(s)) > -reach) highest.push_back(s);
  std::sort(highest.begin(), highest.end(), [](const S& a, const S& b) { return value_of(a) > value_of(b); });
  return highest;
}
}  // namespace detail

/// Sparsemax [MA16]: the point of the simplex nearest to the row of scores,
///
///     wᵢⱼ = max(sᵢⱼ − τᵢ, 0),   τᵢ such that ∑ⱼ wᵢⱼ = 1,   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j).
///
/// Scores that are 1 or more below the largest have the weight zero. Cost of a row: O(n d + n log n).
struct Sparsemax {
  static constexpr const char* name = "Sparsemax";
  static constexpr auto function = WeightFunction::row;
  /// β, finite.
  double beta = 1;

  /// Scores to weights.
  template <class S>
  void weigh_row(std::span<S> scores) const {
    using Number = detail::Value<S>;
    const std::vector<S> highest = detail::highest_scores<S>(scores, 1);
    S sum = S(0), threshold = S(0);
    for (std::size_t k = 0; k < highest.size(); ++k) {
      sum += highest[k];
      const S candidate = S(sum - S(1)) / static_cast<S>(static_cast<Number>(k + 1));
      if (!(detail::value_of(highest[k]) > detail::value_of(candidate))) break;
      threshold = candidate;
    }
    for (S& s : scores) s = detail::value_of(s) > detail::value_of(threshold) ? S(s - threshold) : S(0);
  }
};

/// 1.5-entmax [PNM19], between softmax and sparsemax:
///
///     wᵢⱼ = max(sᵢⱼ/2 − τᵢ, 0)²,   τᵢ such that ∑ⱼ wᵢⱼ = 1.
///
/// Scores that are 2 or more below the largest have the weight zero. Cost of a row as for Sparsemax.
struct Entmax15 {
  static constexpr const char* name = "Entmax15";
  static constexpr auto function = WeightFunction::row;
  /// β, finite.
  double beta = 1;

  /// Scores to weights.
  template <class S>
  void weigh_row(std::span<S> scores) const {
    using std::sqrt;
    using Number = detail::Value<S>;
    const std::vector<S> highest = detail::highest_scores<S>(scores, 2);
    // With the k highest scores in the support, τ is the lower root of ∑ (s/2 − τ)² = 1: their mean less √((1 − V)/k), where V
    // is the sum of the squares of their deviations. One key adds to V what it differs from the mean before.
    S mean = S(0), squares = S(0), threshold = S(0);
    for (std::size_t k = 0; k < highest.size(); ++k) {
      const auto count = static_cast<S>(static_cast<Number>(k + 1));
      const S half = highest[k] * static_cast<S>(Number(0.5)), step = half - mean;
      mean += S(step / count);
      const S deviation = half - mean;
      squares += S(step * deviation);
      const S rest = S(1) - squares;
      if (!(detail::value_of(rest) > 0)) break;
      const S root = sqrt(S(rest / count)), candidate = mean - root;
      if (!(detail::value_of(half) > detail::value_of(candidate))) break;
      threshold = candidate;
    }
    for (S& s : scores) {
      const S above = s * static_cast<S>(Number(0.5)) - threshold;
      s = detail::value_of(above) > 0 ? S(above * above) : S(0);
    }
  }
};

}}  // namespace attnflow
