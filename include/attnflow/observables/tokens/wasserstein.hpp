/// \file
/// The Wasserstein distance of order 2 between empirical measures: exact, and sliced.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/tokens/assignment.hpp>
#include <attnflow/tokens/initial_laws.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A distance between two empirical measures and, for equal numbers of tokens, who goes where.
struct Transport {
  /// W₂, of the unit of the tokens.
  double distance = 0;
  std::vector<Eigen::Index> matching;  ///< y.col(matching[i]) belongs to x.col(i); empty for unequal numbers
};

namespace detail {

/// The tokens of two measures times a power of two, such that squares of differences stay in range.
struct ScaledPair {
  Eigen::MatrixXd x, y;
  int shift = 0;

  template <class A, class B>
  ScaledPair(const char* function, const Eigen::MatrixBase<A>& first, const Eigen::MatrixBase<B>& second) {
    if (first.rows() != second.rows())
      refuse(function, ": y has ", second.rows(), " rows, expected d = ", first.rows(), ", as x has");
    if ((first.cols() == 0) != (second.cols() == 0))
      refuse(function, ": ", first.cols() == 0 ? "x" : "y", " has no tokens, expected at least one, as ",
             first.cols() == 0 ? "y" : "x", " has");
    refuse_unless_finite(function, "x", first);
    refuse_unless_finite(function, "y", second);
    x = first.template cast<double>();
    y = second.template cast<double>();
    double largest = 0, half_extent = 0;
    for (Eigen::Index k = 0; k < x.rows() && x.cols() > 0; ++k) {
      const double low = (std::min)(x.row(k).minCoeff(), y.row(k).minCoeff());
      const double high = (std::max)(x.row(k).maxCoeff(), y.row(k).maxCoeff());
      largest = (std::max)({largest, -low, high});
      half_extent = (std::max)(half_extent, high / 2 - low / 2);
    }
    if (!(half_extent > 0))
      half_extent = (std::numeric_limits<double>::min)();  // halves of subnormal numbers
    if (!(largest > 0)) return;
    // Differences to about 1, unless other coordinates are so much larger than these that they overflowed.
    shift = (std::min)(-std::ilogb(half_extent), 1000 - std::ilogb(largest));
    for (Eigen::MatrixXd* m : {&x, &y})
      *m = m->unaryExpr([this](double value) { return std::ldexp(value, shift); }).eval();
  }

  [[nodiscard]] double unscaled(const char* function, double distance) const {
    const double result = std::ldexp(distance, -shift);
    if (!std::isfinite(result)) refuse(function, ": the distance is ", result, ", expected a finite number");
    return result;
  }
};

[[nodiscard]] inline std::vector<Eigen::Index> sorted_order(const Eigen::VectorXd& values) {
  std::vector<Eigen::Index> order(static_cast<std::size_t>(values.size()));
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  std::ranges::stable_sort(order, {}, [&](Eigen::Index i) { return values(i); });
  return order;
}

/// W₂² on the line: the mean square difference of the quantile functions, which are constant on intervals that
/// end at multiples of 1/n and of 1/m. Positions are counted in units of 1/(n m).
[[nodiscard]] inline double squared_on_line(const Eigen::VectorXd& x, const Eigen::VectorXd& y) {
  const std::vector<Eigen::Index> rank_x = sorted_order(x), rank_y = sorted_order(y);
  const Eigen::Index n = x.size(), m = y.size();
  double sum = 0;
  for (Eigen::Index i = 0, j = 0, position = 0; i < n && j < m;) {
    const Eigen::Index end_x = (i + 1) * m, end_y = (j + 1) * n, end = (std::min)(end_x, end_y);
    const double difference = x(rank_x[static_cast<std::size_t>(i)]) - y(rank_y[static_cast<std::size_t>(j)]);
    sum += static_cast<double>(end - position) * difference * difference;
    position = end;
    if (end == end_x) ++i;
    if (end == end_y) ++j;
  }
  return sum / (static_cast<double>(n) * static_cast<double>(m));
}

}  // namespace detail

/// The most tokens, d > 1, between which wasserstein2 finds the exact matching: a few seconds.
inline constexpr Eigen::Index assignment_limit = 2000;

/// The Wasserstein distance of order 2 between the empirical measures (1/n) ∑ δ(xᵢ) and (1/m) ∑ δ(yⱼ),
///
///     W₂² = min over matchings π of (1/n) ∑ᵢ ‖xᵢ − y_{π(i)}‖²        (n = m),
///
/// exact: a vertex of the transport polytope between equal uniform weights is a permutation.
///
/// d = 1: both sides sorted, O(n log n) for any n; for n ≠ m too, as the mean square difference of the quantile
/// functions, and then without a matching. d > 1: n = m ≤ 2000, a linear assignment problem by shortest
/// augmenting paths [JV87], O(n³) time at worst and O(n²) memory; beyond that sliced_wasserstein2 is a lower
/// bound. (Entropic regularisation is not offered: its bias is of the size of the distances studied here.)
///
/// Squares neither overflow nor underflow. The matching is optimal up to roundings: W₂² is too large by a few
/// n ε times the squared extent of the tokens at most. Two measures without tokens: 0.
/// \throws std::invalid_argument unless x and y have equally many rows and, for d > 1, equally many columns, at
/// most assignment_limit; if just one has no tokens; unless all tokens are finite and so is the distance.
template <class A, class B>
requires KernelScalar<typename A::Scalar> && KernelScalar<typename B::Scalar>
[[nodiscard]] Transport wasserstein2(const Eigen::MatrixBase<A>& x, const Eigen::MatrixBase<B>& y) {
  const Eigen::Index d = x.rows(), n = x.cols();
  const detail::ScaledPair pair("wasserstein2", x, y);
  if (d != 1 && n != y.cols())
    detail::refuse("wasserstein2: y has ", y.cols(), " tokens, expected ", n, ", as x has, for d = ", d);
  if (d != 1 && n > assignment_limit)
    detail::refuse("wasserstein2: there are ", n, " tokens, expected at most ", assignment_limit,
                   " for d = ", d, "; sliced_wasserstein2 takes more");
  Transport found;
  if (n == 0) return found;
  if (d == 1 && n != y.cols()) {
    found.distance =
        pair.unscaled("wasserstein2", std::sqrt(detail::squared_on_line(pair.x.row(0), pair.y.row(0))));
    return found;
  }
  if (d == 1) {
    const std::vector<Eigen::Index> rank_x = detail::sorted_order(pair.x.row(0)),
                                    rank_y = detail::sorted_order(pair.y.row(0));
    found.matching.resize(rank_x.size());
    for (std::size_t k = 0; k < rank_x.size(); ++k)
      found.matching[static_cast<std::size_t>(rank_x[k])] = rank_y[k];
  } else {
    // A translation of either side changes the cost of all matchings alike. Without it far-off measures would
    // have their least costs all in one row, and the search would start from nothing. The mean difference is
    // taken by differences: a large coordinate that all tokens share leaves no rounding error.
    Eigen::VectorXd between = Eigen::VectorXd::Zero(d);
    for (Eigen::Index i = 0; i < n; ++i)
      between += ((pair.x.col(i) - pair.x.col(0)) - (pair.y.col(i) - pair.x.col(0))) / static_cast<double>(n);
    Eigen::MatrixXd cost(n, n);
    for (Eigen::Index i = 0; i < n; ++i)
      for (Eigen::Index j = 0; j < n; ++j)
        cost(j, i) = ((pair.x.col(i) - pair.y.col(j)) - between).squaredNorm();
    found.matching = detail::least_assignment(cost);
  }
  double sum = 0;
  for (Eigen::Index i = 0; i < n; ++i)
    sum += (pair.x.col(i) - pair.y.col(found.matching[static_cast<std::size_t>(i)])).squaredNorm();
  found.distance = pair.unscaled("wasserstein2", std::sqrt(sum / static_cast<double>(n)));
  return found;
}

/// The sliced Wasserstein distance [BRPP15], by the mean over L random directions θ, uniform on the unit sphere,
///
///     SW₂² ≈ (1/L) ∑ W₂²(⟨θ, x⟩, ⟨θ, y⟩).
///
/// A projection shortens distances, so every draw is a lower bound of W₂, whatever L. The mean over all directions
/// obeys SW₂ ≤ W₂/√d, with equality for translations; the Monte Carlo error of SW₂² is of order W₂²/√L. d = 1 is
/// exact.
///
/// Any n and m. The directions are those of uniform_sphere(generator, directions, d). O(L (n + m)(d + log n))
/// time, O((n + m) d + L d) memory.
/// \throws std::invalid_argument unless x and y have equally many rows, at least one; if just one has no tokens;
/// unless directions ≥ 1, all tokens are finite and so is the distance.
template <class A, class B, BitGenerator64 G>
requires KernelScalar<typename A::Scalar> && KernelScalar<typename B::Scalar>
[[nodiscard]] double sliced_wasserstein2(const Eigen::MatrixBase<A>& x, const Eigen::MatrixBase<B>& y,
                                         G& generator, Eigen::Index directions = 100) {
  if (directions < 1)
    detail::refuse("sliced_wasserstein2: directions is ", directions, ", expected at least 1");
  if (x.rows() < 1) detail::refuse("sliced_wasserstein2: x has 0 rows, expected at least 1");
  const detail::ScaledPair pair("sliced_wasserstein2", x, y);
  const Eigen::MatrixXd theta = uniform_sphere(generator, directions, x.rows());
  if (x.cols() == 0) return 0;
  const auto projected = [](const Eigen::MatrixXd& tokens, const auto& direction) {
    Eigen::VectorXd along(tokens.cols());
    for (Eigen::Index i = 0; i < tokens.cols(); ++i) along(i) = direction.dot(tokens.col(i));
    return along;
  };
  double mean = 0;
  for (Eigen::Index l = 0; l < directions; ++l)
    mean += detail::squared_on_line(projected(pair.x, theta.col(l)), projected(pair.y, theta.col(l))) /
            static_cast<double>(directions);
  return pair.unscaled("sliced_wasserstein2", std::sqrt(mean));
}

}}  // namespace attnflow
