/// \file
/// The staircase of the energy: the levels it stays at while clusters do not meet, and where a series stays.
#pragma once

#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The normalised energy (normalized_energy) of points that are far apart in units of β^{−1/2} and hold the shares
/// m_q of the tokens [GKPR24],
///
///     Ê = ∑_q m_q²,
///
/// up to the e^{−β ‖x_p − x_q‖²/2} between them: 1/n for n separate tokens, 1 for one cluster.
/// \throws std::invalid_argument unless no mass is negative and their sum is one, up to √ε.
[[nodiscard]] inline double plateau_energy(std::span<const double> masses) {
  double sum = 0, squares = 0;
  for (std::size_t q = 0; q < masses.size(); ++q) {
    if (!(masses[q] >= 0 && masses[q] <= 2))
      detail::refuse("plateau_energy: masses[", q, "] is ", masses[q], ", expected a number from 0 to 1");
    sum += masses[q];
    squares += masses[q] * masses[q];
  }
  if (!(std::abs(sum - 1) <= 1e-8)) detail::refuse("plateau_energy: masses sum to ", sum, ", expected 1");
  return squares;
}

/// The same for clusters of so many tokens each, as Clusters::sizes has them: ∑ n_q² / (∑ n_q)².
/// \throws std::invalid_argument unless there is a cluster and every size is positive.
[[nodiscard]] inline double plateau_energy(std::span<const Eigen::Index> sizes) {
  double sum = 0, squares = 0;
  for (std::size_t q = 0; q < sizes.size(); ++q) {
    if (sizes[q] < 1) detail::refuse("plateau_energy: sizes[", q, "] is ", sizes[q], ", expected at least 1");
    const auto size = static_cast<double>(sizes[q]);
    sum += size;
    squares += size * size;
  }
  if (sizes.empty()) detail::refuse("plateau_energy: there are no sizes, expected at least one");
  return squares / sum / sum;
}

/// By how much plateau_energy rises where the clusters of masses a and b become one: (a + b)² − a² − b² = 2 a b.
/// \throws std::invalid_argument unless both lie in [0, 1] and a + b ≤ 1, up to √ε.
[[nodiscard]] inline double merge_increment(double a, double b) {
  if (!(a >= 0 && b >= 0 && a + b <= 1 + 1e-8))
    detail::refuse("merge_increment: a is ", a, " and b is ", b, ", expected shares of one");
  return 2 * a * b;
}

/// Times during which a series hardly changes.
struct Plateau {
  double value = 0;       ///< midway between the least and the largest there
  double from = 0;        ///< the first of its times
  double to = 0;          ///< the last of its times
  std::size_t first = 0;  ///< where in the series it begins
  std::size_t last = 0;   ///< and where it ends
  double spread = 0;      ///< the largest less the least
};

/// What counts as one.
struct PlateauOptions {
  double tolerance = 1e-3;  ///< at most so much between the least and the largest; not negative
  double duration = 0;      ///< at least so long in time; not negative. A single time is no plateau
};

namespace detail {

/// The longest window of [begin, end) in which values spread by at most `tolerance`; in time, the first of several. Two
/// monotone queues hold the candidates for the least and the largest.
[[nodiscard]] inline std::pair<std::size_t, std::size_t> longest_level(std::span<const double> times,
                                                                       std::span<const double> values,
                                                                       std::size_t begin, std::size_t end,
                                                                       double tolerance) {
  std::deque<std::size_t> least, largest;
  std::size_t first = begin;
  std::pair best{begin, begin};
  for (std::size_t k = begin; k < end; ++k) {
    while (!least.empty() && values[least.back()] >= values[k]) least.pop_back();
    while (!largest.empty() && values[largest.back()] <= values[k]) largest.pop_back();
    least.push_back(k);
    largest.push_back(k);
    while (values[largest.front()] - values[least.front()] > tolerance) {
      ++first;
      if (least.front() < first) least.pop_front();
      if (largest.front() < first) largest.pop_front();
    }
    if (times[k] - times[first] > times[best.second] - times[best.first]) best = {first, k};
  }
  return best;
}

}  // namespace detail

/// The plateaus of a series, such as the steps of the energy's staircase, in the order of time.
///
/// The longest interval of times in which values spread by at most `tolerance` is a plateau; then the longest one
/// before it and the longest one after it, and so on, down to `duration`. What touches a plateau found before and
/// differs from it by no more than twice the tolerance is its shoulder, where the series comes or leaves slowly, and
/// not another one. So choose the tolerance above the drift and the noise of a plateau and below half of the least
/// step.
///
/// times: increasing (a run in logarithmic or otherwise changed time has its plateaus there); values: one for each,
/// finite. O(m) for m times and for each plateau found.
/// \throws std::invalid_argument unless there are as many values as times, times increase, all is finite, and both
/// options are finite and not negative.
[[nodiscard]] inline std::vector<Plateau> find_plateaus(std::span<const double> times,
                                                        std::span<const double> values,
                                                        const PlateauOptions& options = {}) {
  if (!(options.tolerance >= 0) || !std::isfinite(options.tolerance))
    detail::refuse("find_plateaus: options.tolerance is ", options.tolerance,
                   ", expected a finite number, at least 0");
  if (!(options.duration >= 0) || !std::isfinite(options.duration))
    detail::refuse("find_plateaus: options.duration is ", options.duration,
                   ", expected a finite number, at least 0");
  if (values.size() != times.size())
    detail::refuse("find_plateaus: there are ", values.size(), " values, expected ", times.size(),
                   ", one for each time");
  for (std::size_t k = 0; k < times.size(); ++k) {
    if (!std::isfinite(times[k]) || (k > 0 && !(times[k] > times[k - 1])))
      detail::refuse("find_plateaus: times[", k, "] is ", times[k], ", expected finite times that increase");
    if (!std::isfinite(values[k]))
      detail::refuse("find_plateaus: values[", k, "] is ", values[k], ", expected a finite number");
  }
  std::vector<Plateau> found;
  // What is left to search, with the plateaus that it touches, by their place in `found`.
  struct Part {
    std::size_t begin, end;
    std::ptrdiff_t before, after;
  };
  std::vector<Part> parts{{0, times.size(), -1, -1}};
  while (!parts.empty()) {
    const Part part = parts.back();
    parts.pop_back();
    if (part.end < part.begin + 2) continue;
    const auto [first, last] = detail::longest_level(times, values, part.begin, part.end, options.tolerance);
    if (first == last || times[last] - times[first] < options.duration) continue;
    const auto inside = values.subspan(first, last - first + 1);
    const auto [least, largest] = std::ranges::minmax(inside);
    const double value = least / 2 + largest / 2;
    const auto shoulder = [&](std::ptrdiff_t neighbour, bool touches) {
      return touches && neighbour >= 0 &&
             std::abs(found[static_cast<std::size_t>(neighbour)].value - value) <= 2 * options.tolerance;
    };
    if (shoulder(part.before, first == part.begin)) {  // what is behind it still touches that plateau
      parts.push_back({last + 1, part.end, part.before, part.after});
    } else if (shoulder(part.after, last + 1 == part.end)) {
      parts.push_back({part.begin, first, part.before, part.after});
    } else {
      const auto here = static_cast<std::ptrdiff_t>(found.size());
      found.push_back({value, times[first], times[last], first, last, largest - least});
      parts.push_back({part.begin, first, part.before, here});
      parts.push_back({last + 1, part.end, here, part.after});
    }
  }
  std::ranges::sort(found, {}, &Plateau::first);
  return found;
}

}}  // namespace attnflow
