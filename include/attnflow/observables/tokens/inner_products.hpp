/// \file
/// Inner products between tokens: all of them, and their histogram.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// How many numbers lie in each of several bins.
struct Histogram {
  std::vector<double> edges;         ///< increasing, one more than bins
  std::vector<Eigen::Index> counts;  ///< bin b is [edges[b], edges[b + 1]), the last one closed
  Eigen::Index below = 0;            ///< how many are less than the first edge
  Eigen::Index above = 0;            ///< how many exceed the last edge

  /// How many numbers there are, those outside all bins too.
  [[nodiscard]] Eigen::Index total() const noexcept {
    Eigen::Index sum = below + above;
    for (const Eigen::Index count : counts) sum += count;
    return sum;
  }
  /// For each bin its share of all numbers over its width; they integrate to one if none lies outside. Zeros where
  /// there are no numbers.
  [[nodiscard]] std::vector<double> density() const {
    std::vector<double> heights(counts.size());
    const auto all = static_cast<double>((std::max)(total(), Eigen::Index{1}));
    for (std::size_t b = 0; b < counts.size(); ++b)
      heights[b] = static_cast<double>(counts[b]) / all / (edges[b + 1] - edges[b]);
    return heights;
  }
};

/// Which products, and of what.
struct InnerProductOptions {
  /// Of xᵢ/‖xᵢ‖ instead of xᵢ, and never beyond ±1.
  bool normalize = true;
  /// All n² ordered pairs with i = j among them, instead of the n (n − 1)/2 pairs i < j. Of ordered pairs i ≠ j there
  /// are just twice as many of each value as of pairs i < j.
  bool with_itself = false;
};

namespace detail {

inline void validate_edges(const char* function, const std::vector<double>& edges) {
  if (edges.size() < 2) refuse(function, ": there are ", edges.size(), " edges, expected at least 2");
  for (std::size_t b = 0; b < edges.size(); ++b)
    if (!std::isfinite(edges[b]) || (b > 0 && !(edges[b] > edges[b - 1])))
      refuse(function, ": edges[", b, "] is ", edges[b], ", expected finite numbers that increase");
}

inline void count_in(Histogram& histogram, double value, Eigen::Index times = 1) {
  const std::vector<double>& edges = histogram.edges;
  if (value < edges.front())
    histogram.below += times;
  else if (value > edges.back())
    histogram.above += times;
  else if (value == edges.back())
    histogram.counts.back() += times;
  else
    histogram.counts[static_cast<std::size_t>(std::ranges::upper_bound(edges, value) - edges.begin()) - 1] +=
        times;
}

/// Calls use(⟨xᵢ, xⱼ⟩, how often it counts) for every pair i < j, and for i = j if asked for.
template <class Derived, class Use>
void for_each_product(const char* function, const Eigen::MatrixBase<Derived>& x,
                      const InnerProductOptions& options, const Use& use) {
  refuse_unless_finite(function, "x", x);
  Eigen::MatrixXd tokens = x.template cast<double>();
  if (options.normalize)
    for (Eigen::Index i = 0; i < x.cols(); ++i) {
      const double length = tokens.col(i).stableNorm();
      if (!(length > 0))
        refuse(function, ": token ", i, " of x is at the origin, expected one with a direction");
      if (!std::isfinite(length)) tokens.col(i) /= 4;  // and so its length is in range
      tokens.col(i) /= std::isfinite(length) ? length : tokens.col(i).stableNorm();
    }
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    for (Eigen::Index j = i + (options.with_itself ? 0 : 1); j < x.cols(); ++j) {
      double product = 0;
      for (Eigen::Index k = 0; k < x.rows(); ++k) product += tokens(k, i) * tokens(k, j);
      if (!std::isfinite(product))
        refuse(function, ": the product of tokens ", i, " and ", j, " is ", product,
               ", expected a finite number");
      if (options.normalize) product = std::clamp(product, -1., 1.);
      use(product, options.with_itself && i != j ? 2 : 1);
    }
}

/// The number at the share p of the way through sorted values, linear between two of them.
[[nodiscard]] inline double quantile(std::vector<double>& values, double p) {
  const double place = p * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(place);
  std::ranges::nth_element(values, values.begin() + below);
  const double low = values[static_cast<std::size_t>(below)];
  if (below + 1 == static_cast<std::ptrdiff_t>(values.size())) return low;
  const double high = *std::min_element(values.begin() + below + 1, values.end());
  return low + (high - low) * (place - static_cast<double>(below));
}

}  // namespace detail

/// The inner products ⟨xᵢ, xⱼ⟩, by default for i < j and of directions [GLPR25]: (1, 2), (1, 3), …, (2, 3), …; with
/// `with_itself` each product of i < j twice. x: d × n. O(n² d) time, O(n²) memory.
/// \throws std::invalid_argument unless all tokens and products are finite and, where they are normalised, none is at
/// the origin.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] std::vector<double> inner_products(const Eigen::MatrixBase<Derived>& x,
                                                 const InnerProductOptions& options = {}) {
  std::vector<double> products;
  detail::for_each_product("inner_products", x, options, [&](double product, Eigen::Index times) {
    products.insert(products.end(), static_cast<std::size_t>(times), product);
  });
  return products;
}

/// Counts values between edges. O(log bins) for each.
/// \throws std::invalid_argument unless there are two edges or more, finite and increasing, and no value is NaN.
[[nodiscard]] inline Histogram histogram(std::span<const double> values, std::vector<double> edges) {
  detail::validate_edges("histogram", edges);
  Histogram found;
  found.counts.resize(edges.size() - 1);
  found.edges = std::move(edges);
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (std::isnan(values[k])) detail::refuse("histogram: values[", k, "] is nan, expected a number");
    detail::count_in(found, values[k]);
  }
  return found;
}

/// Equal bins from the least to the largest value, of width at most 2 (q₃ − q₁) m^{−1/3} for m values with the
/// quartiles q₁ and q₃ [FD81]; quartiles are linear between values, as NumPy has them. One bin where both agree, from
/// v − ½ to v + ½ if all values are one. At most `most` bins. O(m).
/// \throws std::invalid_argument unless there is a value, all are finite and so is their range, and most ≥ 1.
[[nodiscard]] inline std::vector<double> freedman_diaconis_edges(std::vector<double> values,
                                                                 Eigen::Index most = 10000) {
  if (values.empty()) detail::refuse("freedman_diaconis_edges: there are no values, expected at least one");
  if (most < 1) detail::refuse("freedman_diaconis_edges: most is ", most, ", expected at least 1");
  for (std::size_t k = 0; k < values.size(); ++k)
    if (!std::isfinite(values[k]))
      detail::refuse("freedman_diaconis_edges: values[", k, "] is ", values[k], ", expected a finite number");
  const auto [least, largest] = std::ranges::minmax(values);
  const double range = largest - least;
  if (!std::isfinite(range))
    detail::refuse("freedman_diaconis_edges: values from ", least, " to ", largest, " have no finite range");
  if (range == 0) return {least - 0.5, least + 0.5};
  const double spread = detail::quantile(values, 0.75) - detail::quantile(values, 0.25);
  const double width = 2 * spread / std::cbrt(static_cast<double>(values.size()));
  const double wanted = width > 0 ? std::ceil(range / width) : 1;
  const auto bins = static_cast<std::size_t>(std::clamp(wanted, 1., static_cast<double>(most)));
  std::vector<double> edges(bins + 1);
  for (std::size_t b = 0; b < bins; ++b)
    edges[b] = least + range * (static_cast<double>(b) / static_cast<double>(bins));
  edges[bins] = largest;
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());  // of values that differ by a few ε
  return edges;
}

/// Counts values in the bins of freedman_diaconis_edges: histogram(inner_products(x)). O(m log bins).
/// \throws std::invalid_argument as freedman_diaconis_edges.
[[nodiscard]] inline Histogram histogram(const std::vector<double>& values) {
  return histogram(values, freedman_diaconis_edges(values));
}

/// The histogram of inner products between given edges. x: d × n. O(n² (d + log bins)) time, O(n d) memory. Beside it:
/// share_of_aligned_pairs is the share above one threshold.
/// \throws std::invalid_argument as inner_products and histogram.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Histogram inner_product_histogram(const Eigen::MatrixBase<Derived>& x,
                                                std::vector<double> edges,
                                                const InnerProductOptions& options = {}) {
  detail::validate_edges("inner_product_histogram", edges);
  Histogram found;
  found.counts.resize(edges.size() - 1);
  found.edges = std::move(edges);
  detail::for_each_product("inner_product_histogram", x, options, [&](double product, Eigen::Index times) {
    detail::count_in(found, product, times);
  });
  return found;
}

}}  // namespace attnflow
