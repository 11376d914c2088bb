/// \file
/// At which distances single-linkage clusters merge, and a tolerance read off from them.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// ‖xᵢ − xⱼ‖ without overflow or underflow of squares; infinite only where the distance is.
[[nodiscard]] inline double column_distance(const Eigen::MatrixXd& x, Eigen::Index i, Eigen::Index j) {
  double squares = 0;
  for (Eigen::Index k = 0; k < x.rows(); ++k) {
    const double difference = x(k, i) - x(k, j);
    squares += difference * difference;
  }
  if (squares > 1e-280 && squares < 1e300) return std::sqrt(squares);
  double largest = 0;
  for (Eigen::Index k = 0; k < x.rows(); ++k)
    largest = (std::max)(largest, std::abs(x(k, i) / 2 - x(k, j) / 2));
  if (!(largest > 0)) {  // halves of the smallest number vanish, their difference does not
    for (Eigen::Index k = 0; k < x.rows(); ++k) largest = (std::max)(largest, std::abs(x(k, i) - x(k, j)));
    return largest;
  }
  const int exponent = std::ilogb(largest);
  const auto scaled = [exponent](double value) { return std::ldexp(value, -exponent); };
  squares = 0;
  for (Eigen::Index k = 0; k < x.rows(); ++k) {
    const double whole = x(k, i) - x(k, j);
    const double difference = std::isfinite(whole) ? scaled(whole) : 2 * scaled(x(k, i) / 2 - x(k, j) / 2);
    squares += difference * difference;
  }
  return std::ldexp(std::sqrt(squares), exponent);
}

/// The edges of a minimum spanning tree, sorted, by Prim's algorithm [Pri57]. \pre x has columns.
[[nodiscard]] inline std::vector<double> spanning_tree_lengths(const Eigen::MatrixXd& x) {
  std::vector<Eigen::Index> outside;  // tokens that are not in the tree yet
  for (Eigen::Index i = 1; i < x.cols(); ++i) outside.push_back(i);
  std::vector<double> nearest(outside.size(), std::numeric_limits<double>::infinity());
  std::vector<double> lengths;
  lengths.reserve(outside.size());
  for (Eigen::Index added = 0; !outside.empty();) {
    std::size_t next = 0;
    for (std::size_t p = 0; p < outside.size(); ++p) {
      nearest[p] = (std::min)(nearest[p], column_distance(x, added, outside[p]));
      if (nearest[p] < nearest[next]) next = p;
    }
    lengths.push_back(nearest[next]);
    added = outside[next];
    outside[next] = outside.back();
    nearest[next] = nearest.back();
    outside.pop_back();
    nearest.pop_back();
  }
  std::ranges::sort(lengths);
  return lengths;
}

}  // namespace detail

/// The most tokens, d > 1, that are compared pair by pair unless the caller allows more: a second or so.
inline constexpr Eigen::Index merge_limit = 20000;

/// The n − 1 distances at which single-linkage clusters merge, increasing: as tol grows, the number of
/// clusters of detect_clusters(tokens, tol) is
///
///     n − #{k : hₖ ≤ tol}.
///
/// They are the edge lengths of a minimum spanning tree, found by Prim's algorithm [Pri57]: O(n² d) time, O(n
/// d) memory, no matrix of distances. For d = 1 they are the gaps between sorted tokens: O(n log n), any n.
/// Distances are those of double arithmetic (a relative error of about d ε) at any scale; those below 10⁻³⁰⁸
/// are rounded to multiples of the smallest number, and the count above is off where tol is as small.
///
/// tokens: d × n; n = 0 or 1 has no merges. limit: the largest n accepted for d > 1.
/// \throws std::invalid_argument unless every token is finite, no merge is at a distance beyond the range
/// of double, and n is at most `limit` (any n for d = 1).
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] std::vector<double> merge_heights(const Eigen::MatrixBase<Derived>& tokens,
                                                Eigen::Index limit = merge_limit) {
  const Eigen::Index d = tokens.rows(), n = tokens.cols();
  if (d != 1 && n > limit)
    detail::refuse("merge_heights: there are ", n, " tokens, expected at most limit = ", limit,
                   ", as the time grows like n squared");
  detail::refuse_unless_finite("merge_heights", "tokens", tokens);
  std::vector<double> heights;
  if (n < 2) return heights;
  const Eigen::MatrixXd x = tokens.template cast<double>();
  if (d == 1) {
    std::vector<double> sorted(x.data(), x.data() + n);
    std::ranges::sort(sorted);
    for (std::size_t i = 1; i < sorted.size(); ++i) heights.push_back(sorted[i] - sorted[i - 1]);
    std::ranges::sort(heights);
  } else {
    heights = detail::spanning_tree_lengths(x);
  }
  if (std::isinf(heights.back()))
    detail::refuse("merge_heights: the largest merge distance is ", heights.back(),
                   ", expected tokens whose distances are finite numbers");
  return heights;
}

/// A tolerance between two merge distances that lie far apart, and how far.
struct MergeGap {
  double tolerance = 0;  ///< for detect_clusters: the geometric mean of below and above
  double below = 0;      ///< up to this distance tokens are joined
  double above = 0;      ///< from this distance on they are not
  double ratio = std::numeric_limits<double>::infinity();  ///< the largest above/below that was found
  Eigen::Index clusters = 0;                               ///< their number at the tolerance
  bool clear = true;                                       ///< whether the ratio is clear_merge_ratio or more
};

/// From this ratio of neighbouring merge distances on, tokens count as clustered beyond doubt.
inline constexpr double clear_merge_ratio = 10;

/// A tolerance for detect_clusters read off from the tokens: where the merge distances h₁ ≤ … ≤ hₙ₋₁ jump
/// most. Distances up to
///
///     floor = max(64 ε · (largest |coordinate|), resolution),   ε of the tokens' own Scalar,
///
/// come from rounding, or from what computed the tokens, and count as floor. The candidates are
///
///   * between hₖ and hₖ₊₁, 1 ≤ k ≤ n − 2: n − k clusters, ratio hₖ₊₁ / hₖ;
///   * one cluster: below = E, the diagonal of the tokens' bounding box (at least floor), and above = the
///     largest |coordinate|. So tokens are one cluster if their extent is small against their distance from
///     the origin. Scale alone tells nothing: tokens scattered about the origin look the same at any size,
///     and the last merge distance is of no use, as it is small against E for any dense cloud.
///
/// The largest ratio is chosen, of equal ones that with fewer clusters. It is `clear` if it reaches
/// clear_merge_ratio = 10. If no candidate is clear, the tokens are as good as scattered: every token is its
/// own cluster, tokens closer than floor apart excepted (below = floor, above = the first larger merge
/// distance), `ratio` is the largest of the candidates and `clear` is false. That is also the answer for
/// well-separated clusters of one token each, and for a cloud about the origin that is about to collapse.
/// That every token is its own is never preferred to a clear gap: h₁ / floor is huge at most times.
///
/// n = 0: no clusters, tolerance 0. All tokens at the origin: one cluster, tolerance 0, infinite ratio.
/// Cost and refusals as merge_heights, which sorts the distances.
/// \throws std::invalid_argument as merge_heights does, and unless resolution is finite and not negative.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] MergeGap automatic_tolerance(const Eigen::MatrixBase<Derived>& tokens,
                                           Eigen::Index limit = merge_limit, double resolution = 0) {
  if (!(resolution >= 0) || !std::isfinite(resolution))
    detail::refuse("automatic_tolerance: resolution is ", resolution,
                   ", expected a finite number, at least 0");
  const std::vector<double> heights = merge_heights(tokens, limit);
  const Eigen::Index n = tokens.cols();
  if (n == 0) return {};
  const Eigen::MatrixXd x = tokens.template cast<double>();
  const double largest = x.size() == 0 ? 0 : x.cwiseAbs().maxCoeff();
  if (largest == 0) return {.clusters = 1};

  constexpr double epsilon = static_cast<double>(std::numeric_limits<typename Derived::Scalar>::epsilon());
  const double floor =
      (std::max)({64 * epsilon * largest, resolution, std::numeric_limits<double>::denorm_min()});
  const auto gap = [](double below, double above, Eigen::Index clusters) {
    const double mean = std::sqrt(below) * std::sqrt(above);
    const double tolerance = mean < above ? (std::max)(mean, below) : below;  // rounding joins no more
    return MergeGap{tolerance, below, above, above / below, clusters, true};
  };
  // Infinite extents are of tokens on opposite sides of the origin, which are not one cluster.
  const Eigen::VectorXd range = x.rowwise().maxCoeff() - x.rowwise().minCoeff();
  const double extent = (std::max)(detail::safe_norm(range), floor);
  MergeGap best = std::isfinite(extent) ? gap(extent, largest, 1) : MergeGap{0, 0, 0, 0, 1, false};
  for (std::size_t k = heights.size(); k-- > 1;) {  // from few clusters to many
    const MergeGap next = gap((std::max)(heights[k - 1], floor), (std::max)(heights[k], floor),
                              n - static_cast<Eigen::Index>(k));
    if (next.ratio > best.ratio) best = next;
  }
  if (best.ratio >= clear_merge_ratio) return best;
  // All within floor, and still no clear single cluster: a chain of very many tokens, or subnormal ones.
  const auto first = std::ranges::upper_bound(heights, floor);
  const double above = first == heights.end() ? (std::max)(largest, floor) : *first;
  MergeGap scattered = gap(floor, above, n - static_cast<Eigen::Index>(first - heights.begin()));
  scattered.ratio = best.ratio;
  scattered.clear = false;
  return scattered;
}

/// Clusters at a tolerance of their own, and the gap that it lies in.
struct AutomaticClusters {
  /// The clusters at gap.tolerance.
  Clusters clusters;
  /// The gap in the merge distances, and whether it is a clear one.
  MergeGap gap;
};

/// The clusters at the tolerance of automatic_tolerance. Whether to trust them says gap.clear.
/// \throws std::invalid_argument as merge_heights does.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] AutomaticClusters detect_clusters_automatically(const Eigen::MatrixBase<Derived>& tokens,
                                                              Eigen::Index limit = merge_limit) {
  const MergeGap gap = automatic_tolerance(tokens, limit);
  return {detect_clusters(tokens, gap.tolerance), gap};
}

}}  // namespace attnflow
