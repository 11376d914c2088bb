/// \file
/// Clusters of tokens: single linkage at a tolerance, without the n × n matrix of distances.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A partition of n tokens. Clusters are numbered from 0 in the order in which their first tokens come.
struct Clusters {
  std::vector<Eigen::Index> labels;           ///< n: the cluster of each token
  std::vector<Eigen::Index> sizes;            ///< for each cluster, how many tokens it holds
  std::vector<Eigen::Index> representatives;  ///< for each cluster, its first token; increasing

  /// The number of clusters.
  [[nodiscard]] Eigen::Index count() const noexcept { return static_cast<Eigen::Index>(sizes.size()); }

  friend bool operator==(const Clusters&, const Clusters&) = default;
};

namespace detail {

/// Cuts a coordinate into intervals no longer than tol; values at most tol apart get numbers that differ
/// by at most one. Proof: let v < w have the numbers of intervals k and k + 2 or later. The one that
/// follows k starts at s > v, and the next start is more than s + tol. Rounding is monotone, so what
/// holds of the exact differences holds of the computed ones. Gaps wider than tol skip a number.
[[nodiscard]] inline std::vector<Eigen::Index> cut_into_intervals(const Eigen::VectorXd& values, double tol) {
  std::vector<Eigen::Index> order(static_cast<std::size_t>(values.size()));
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  std::ranges::sort(order, {}, [&](Eigen::Index i) { return values(i); });
  std::vector<Eigen::Index> intervals(order.size());
  Eigen::Index number = 0;
  double start = values(order.front()), previous = start;
  for (const Eigen::Index i : order) {
    const double value = values(i);
    if (value - start > tol) {
      number += value - previous > tol ? 2 : 1;
      start = value;
    }
    previous = value;
    intervals[static_cast<std::size_t>(i)] = number;
  }
  return intervals;
}

/// Tells whether two columns are at most tol apart. Differences are scaled by the power of two that
/// takes tol to [1, 2), so squares near tol² neither overflow nor underflow.
class WithinTolerance {
 public:
  explicit WithinTolerance(double tol) {
    const int exponent = tol > 0 ? std::clamp(std::ilogb(tol), -1000, 1000) : -1000;
    scale_ = std::ldexp(1.0, -exponent);
    limit_ = (tol * scale_) * (tol * scale_);
  }

  template <class Points>
  [[nodiscard]] bool operator()(const Points& x, Eigen::Index i, Eigen::Index j) const {
    double squares = 0;
    for (Eigen::Index k = 0; k < x.rows(); ++k) {
      const double difference = (x(k, i) - x(k, j)) * scale_;
      squares += difference * difference;
      if (squares > limit_) return false;
    }
    return true;
  }

 private:
  double scale_;
  double limit_;
};

/// Tokens sorted into the cells of a grid. A token is taken out once its cluster is known, so that a
/// crowd of nearly equal tokens is looked at once and not once for each of its members.
class CellGrid {
 public:
  using Cell = std::array<Eigen::Index, 3>;

  /// The grid lies in the (at most three) coordinates of largest spread. \pre x has columns.
  template <class Points>
  CellGrid(const Points& x, double tol)
      : cells_(static_cast<std::size_t>(x.cols()), Cell{}), order_(cells_.size()) {
    const Eigen::VectorXd spread = x.rowwise().maxCoeff() - x.rowwise().minCoeff();
    std::vector<Eigen::Index> axes(static_cast<std::size_t>(x.rows()));
    std::iota(axes.begin(), axes.end(), Eigen::Index{0});
    std::ranges::stable_sort(axes, std::ranges::greater{}, [&](Eigen::Index k) { return spread(k); });
    axes.resize(std::min<std::size_t>(axes.size(), 3));
    for (std::size_t a = 0; a < axes.size(); ++a) {
      const Eigen::VectorXd coordinate = x.row(axes[a]).transpose();
      const std::vector<Eigen::Index> intervals = cut_into_intervals(coordinate, tol);
      for (std::size_t i = 0; i < cells_.size(); ++i) cells_[i][2 - a] = intervals[i];
    }
    reach_ = {axes.size() > 2 ? 1 : 0, axes.size() > 1 ? 1 : 0, 1};

    std::iota(order_.begin(), order_.end(), Eigen::Index{0});
    std::ranges::sort(order_, {}, [&](Eigen::Index i) { return cell(i); });
    for (std::size_t p = 0; p < order_.size(); ++p) {
      if (p == 0 || cell(order_[p]) != keys_.back()) {
        keys_.push_back(cell(order_[p]));
        begin_.push_back(p);
        end_.push_back(p);
      }
      ++end_.back();
    }
  }

  /// Takes out the tokens of i's cell and its neighbours that `near` accepts, and gives each to `found`.
  template <class Near, class Found>
  void take_around(Eigen::Index i, const Near& is_near, const Found& found) {
    const Cell centre = cell(i);
    for (Eigen::Index a = -reach_[0]; a <= reach_[0]; ++a)
      for (Eigen::Index b = -reach_[1]; b <= reach_[1]; ++b) {
        const Cell first{centre[0] + a, centre[1] + b, centre[2] - 1};
        const Cell last{centre[0] + a, centre[1] + b, centre[2] + 1};
        auto c = static_cast<std::size_t>(std::ranges::lower_bound(keys_, first) - keys_.begin());
        for (; c < keys_.size() && keys_[c] <= last; ++c)
          for (std::size_t p = begin_[c]; p < end_[c];) {
            const Eigen::Index j = order_[p];
            if (is_near(j)) {
              order_[p] = order_[--end_[c]];
              found(j);
            } else {
              ++p;
            }
          }
      }
  }

 private:
  [[nodiscard]] const Cell& cell(Eigen::Index i) const { return cells_[static_cast<std::size_t>(i)]; }

  std::vector<Cell> cells_;              // of each token
  std::vector<Eigen::Index> order_;      // tokens, cell after cell
  std::vector<Cell> keys_;               // the cells that hold tokens, sorted
  std::vector<std::size_t> begin_;       // where each starts in order_
  std::vector<std::size_t> end_;         // and where those not yet taken out end
  std::array<Eigen::Index, 3> reach_{};  // neighbours to look at along each coordinate
};

}  // namespace detail

/// Single-linkage clusters: the connected components of the graph with an edge between i and j where
///
///     ‖xᵢ − xⱼ‖ ≤ tol.
///
/// tokens: d × n, any d and n, n = 0 included; tol = 0 joins equal tokens only. The answer is exact for
/// distances as computed in double, which overflow and underflow at no scale. Clusters modulo a
/// subspace: detect_clusters_modulo. A tolerance found from the tokens: automatic_tolerance.
///
/// A search from token to token over a grid of cells no wider than tol in the three coordinates of
/// largest spread; O(n d) memory. Time O(n log n + n d) while the tokens near any one are few or of
/// its own cluster; at worst O(n² d), for crowds in neighbouring cells that are over tol apart.
/// \throws std::invalid_argument unless tol is finite and not negative, and every token is finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Clusters detect_clusters(const Eigen::MatrixBase<Derived>& tokens, double tol) {
  if (!(tol >= 0) || !std::isfinite(tol))
    detail::refuse("detect_clusters: tol is ", tol, ", expected a finite number, at least 0");
  const Tokens<double, Derived::RowsAtCompileTime> x = tokens.template cast<double>();
  detail::refuse_unless_finite("detect_clusters", "tokens", x);

  Clusters clusters;
  if (x.cols() == 0) return clusters;
  constexpr Eigen::Index unknown = -1;
  clusters.labels.assign(static_cast<std::size_t>(x.cols()), unknown);
  detail::CellGrid grid(x, tol);
  const detail::WithinTolerance within(tol);
  std::vector<Eigen::Index> members;
  for (Eigen::Index seed = 0; seed < x.cols(); ++seed) {
    if (clusters.labels[static_cast<std::size_t>(seed)] != unknown) continue;
    const Eigen::Index label = clusters.count();
    const auto join = [&](Eigen::Index j) {
      Eigen::Index& own = clusters.labels[static_cast<std::size_t>(j)];
      if (own == unknown) members.push_back(j);  // the seed is known before it is taken out
      own = label;
    };
    members.clear();
    join(seed);
    for (std::size_t m = 0; m < members.size(); ++m) {
      const Eigen::Index i = members[m];
      grid.take_around(
          i, [&](Eigen::Index j) { return within(x, i, j); }, join);
    }
    clusters.sizes.push_back(static_cast<Eigen::Index>(members.size()));
    clusters.representatives.push_back(seed);
  }
  return clusters;
}

}}  // namespace attnflow
