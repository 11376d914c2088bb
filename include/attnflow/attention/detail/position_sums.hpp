/// \file
/// What a law that sees positions is told of them: ∑ₗ e^{bias(i, l)} over the keys that the mask leaves.
#pragma once

#include <attnflow/attention/biases/token_masses.hpp>
#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/masks.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// log(e^a + e^b).
[[nodiscard]] inline double log_sum_of(double a, double b) {
  const double most = (std::max)(a, b), least = (std::min)(a, b);
  return std::isinf(most) ? most : most + std::log1p(std::exp(least - most));
}

/// log ∑ e^{−λ m} over m = a, …, b; −∞ if there are none. \pre 0 ≤ a.
[[nodiscard]] inline double log_geometric_sum(double slope, Eigen::Index a, Eigen::Index b) {
  if (a > b) return -std::numeric_limits<double>::infinity();
  const auto count = static_cast<double>(b - a + 1);
  const double size = std::abs(slope), largest = -slope * static_cast<double>(slope > 0 ? a : b);
  if (size * count < 1e-300) return largest + std::log(count);
  return largest + std::log(std::expm1(-size * count) / std::expm1(-size));
}

/// Positions that count alike: for laws that do not ask.
struct EqualPositions {
  /// f of row i.
  template <class Law>
  [[nodiscard]] double log_row_factor(const Law& law, double log_normalizer, Eigen::Index n,
                                      Eigen::Index /*i*/) const {
    return static_cast<double>(detail::log_row_factor(law, log_normalizer, n));
  }
};

/// The positions of a mask and a bias, the latter with terms of keys or none.
template <class Mask, class Bias>
struct PositionSums {
  const Mask& mask;
  const Bias& bias;
  std::span<const double> terms;

  /// log ∑ₗ e^{bias(i, l)}. Cost: O(1) for a range of keys and no masses, else O(n).
  [[nodiscard]] double log_sum(Eigen::Index i, Eigen::Index n) const {
    const auto slope = static_cast<double>(bias.slope);
    const KeyRange range = key_range(mask, i, n);
    if constexpr (!PickingMask<Mask> && !TabledBias<Bias>)
      if (terms.empty()) {
        const double before =
            range.begin <= i ? log_geometric_sum(slope, i - (std::min)(i, range.end - 1), i - range.begin)
                             : -std::numeric_limits<double>::infinity();
        return log_sum_of(before,
                          log_geometric_sum(slope, (std::max)(range.begin, i + 1) - i, range.end - 1 - i));
      }
    double sum = -std::numeric_limits<double>::infinity();
    for (Eigen::Index j = range.begin; j < range.end; ++j) {
      if (!is_attended(mask, i, j)) continue;
      double term = terms.empty() ? 0 : terms[static_cast<std::size_t>(j)];
      if constexpr (TabledBias<Bias>) term += bias.at(i, j);
      sum = log_sum_of(sum, term - slope * std::abs(static_cast<double>(i - j)));
    }
    return sum;
  }

  /// f of row i.
  template <class Law>
  [[nodiscard]] double log_row_factor(const Law& law, double log_normalizer, Eigen::Index n,
                                      Eigen::Index i) const {
    return static_cast<double>(law.log_row_factor(log_normalizer, n, log_sum(i, n)));
  }
};

/// What laws of this type are told.
template <class Law, class Mask, class Bias>
[[nodiscard]] auto positions_for(const Mask& mask, const Bias& bias, std::span<const double> terms) {
  if constexpr (PositionAware<Law>)
    return PositionSums<Mask, Bias>{mask, bias, terms};
  else
    return static_cast<void>(mask), static_cast<void>(bias), static_cast<void>(terms), EqualPositions{};
}

}}}  // namespace attnflow::detail
