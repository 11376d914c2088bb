/// \file
/// The linear assignment problem, which the distance between measures leads to.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <Eigen/Core>

#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The assignment of columns to rows of least total cost, by shortest augmenting paths with dual variables
/// [JV87]: column minima first, and then for every row left over a path of Dijkstra's algorithm in the reduced
/// costs cᵢⱼ − uᵢ − vⱼ ≥ 0. Returns the column of each row. O(n³) time at worst, O(n) memory.
/// \param cost  n × n, finite; entry (j, i) is for row i and column j, so that a row is contiguous.
[[nodiscard]] inline std::vector<Eigen::Index> least_assignment(const Eigen::MatrixXd& cost) {
  constexpr Eigen::Index none = -1;
  const Eigen::Index n = cost.rows();
  Eigen::VectorXd u = Eigen::VectorXd::Zero(n), v = u;
  std::vector<Eigen::Index> column_of(static_cast<std::size_t>(n), none), row_of = column_of;
  const auto at = [](std::vector<Eigen::Index>& list, Eigen::Index k) -> Eigen::Index& {
    return list[static_cast<std::size_t>(k)];
  };
  for (Eigen::Index j = 0; j < n; ++j) {
    Eigen::Index cheapest = 0;
    v(j) = cost.row(j).minCoeff(&cheapest);
    if (at(column_of, cheapest) != none) continue;
    at(column_of, cheapest) = j;
    at(row_of, j) = cheapest;
  }

  std::vector<Eigen::Index> previous(static_cast<std::size_t>(n)), open;
  Eigen::VectorXd length(n);
  for (Eigen::Index free = 0; free < n; ++free) {
    if (at(column_of, free) != none) continue;
    length.setConstant(std::numeric_limits<double>::infinity());
    open.resize(static_cast<std::size_t>(n));
    std::iota(open.begin(), open.end(), Eigen::Index{0});
    std::vector<Eigen::Index> closed;
    Eigen::Index row = free, end = none;
    double reached = 0;
    while (end == none) {
      std::size_t next = 0;
      for (std::size_t k = 0; k < open.size(); ++k) {
        const Eigen::Index j = open[k];
        const double through = reached + (cost(j, row) - u(row) - v(j));
        if (through < length(j)) {
          length(j) = through;
          at(previous, j) = row;
        }
        // Of equal ones a free column, which ends the search.
        const Eigen::Index best = open[next];
        if (length(j) < length(best) || (length(j) == length(best) && at(row_of, j) == none)) next = k;
      }
      const Eigen::Index j = open[next];
      reached = length(j);
      open[next] = open.back();
      open.pop_back();
      if (at(row_of, j) == none) {
        end = j;
      } else {
        closed.push_back(j);
        row = at(row_of, j);
      }
    }
    u(free) += reached;
    for (const Eigen::Index j : closed) {
      u(at(row_of, j)) += reached - length(j);
      v(j) -= reached - length(j);
    }
    for (Eigen::Index j = end; j != none;) {  // back along the path
      const Eigen::Index from = at(previous, j);
      at(row_of, j) = from;
      std::swap(j, at(column_of, from));
      if (from == free) break;
    }
  }
  return column_of;
}

}}}  // namespace attnflow::detail
