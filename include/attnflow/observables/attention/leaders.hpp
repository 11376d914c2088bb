/// \file
/// Leaders: the tokens that others attend to most.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Columns that share the largest entry of a row, and the rows in which just they do.
struct LeaderTie {
  std::vector<Eigen::Index> columns;  ///< two or more, increasing
  std::vector<Eigen::Index> rows;     ///< one or more, increasing

  friend bool operator==(const LeaderTie&, const LeaderTie&) = default;
};

/// Who leads, and where that was a draw.
struct Leaders {
  std::vector<Eigen::Index> indices;  ///< the leaders, increasing, each once
  std::vector<LeaderTie> ties;        ///< one for each set of tied columns, in lexicographic order

  /// The number of leaders.
  [[nodiscard]] Eigen::Index count() const noexcept { return static_cast<Eigen::Index>(indices.size()); }

  friend bool operator==(const Leaders&, const Leaders&) = default;
};

namespace detail {

template <class Derived>
void validate_leaders(const Eigen::MatrixBase<Derived>& P, double tie_tolerance) {
  if (P.rows() != P.cols()) refuse("leaders: P is ", P.rows(), " x ", P.cols(), ", expected a square matrix");
  for (Eigen::Index j = 0; j < P.cols(); ++j)
    for (Eigen::Index i = 0; i < P.rows(); ++i)
      if (!std::isfinite(P(i, j)))
        refuse("leaders: P(", i, ", ", j, ") is ", P(i, j), ", expected a finite number");
  if (!(tie_tolerance >= 0) || !std::isfinite(tie_tolerance))
    refuse("leaders: tie_tolerance is ", tie_tolerance, ", expected a finite number, at least 0");
}

/// Leaders by the columns of `weights` (n × c), where column j stands for token names[j]; names increase.
template <class Weights>
[[nodiscard]] Leaders leaders_by_column(const Weights& weights, const std::vector<Eigen::Index>& names,
                                        double tie_tolerance) {
  const auto name = [&](Eigen::Index j) { return names[static_cast<std::size_t>(j)]; };
  const Eigen::Index n = weights.rows(), c = weights.cols();
  // Column after column, as the memory lies.
  const auto size = static_cast<std::size_t>(n);
  std::vector<double> best(size, -std::numeric_limits<double>::infinity());
  std::vector<Eigen::Index> first(size, 0), sharing(size, 0);
  std::vector<bool> attends(size, false);
  const auto at = [](Eigen::Index i) { return static_cast<std::size_t>(i); };
  for (Eigen::Index j = 0; j < c; ++j)
    for (Eigen::Index i = 0; i < n; ++i) {
      const double weight = static_cast<double>(weights(i, j));
      if (weight != 0) attends[at(i)] = true;
      if (weight > best[at(i)]) {
        best[at(i)] = weight;
        first[at(i)] = j;
      }
    }
  for (Eigen::Index j = 0; j < c; ++j)
    for (Eigen::Index i = 0; i < n; ++i)
      if (best[at(i)] - static_cast<double>(weights(i, j)) <= tie_tolerance) ++sharing[at(i)];

  std::set<Eigen::Index> indices;
  std::map<std::vector<Eigen::Index>, std::vector<Eigen::Index>> rows_of;
  for (Eigen::Index i = 0; i < n; ++i) {
    if (!attends[at(i)]) continue;
    indices.insert(name(first[at(i)]));
    if (sharing[at(i)] < 2) continue;
    std::vector<Eigen::Index> columns;
    for (Eigen::Index j = 0; j < c; ++j)
      if (best[at(i)] - static_cast<double>(weights(i, j)) <= tie_tolerance) columns.push_back(name(j));
    rows_of[columns].push_back(i);
  }
  Leaders found;
  found.indices.assign(indices.begin(), indices.end());
  for (const auto& [columns, rows] : rows_of) found.ties.push_back({columns, rows});
  return found;
}

/// Columns that are to be merged: where each goes, and the first token of each merged one.
struct MergedColumns {
  std::vector<Eigen::Index> target;  // for each column
  std::vector<Eigen::Index> names;   // increasing

  [[nodiscard]] Eigen::Index count() const noexcept { return static_cast<Eigen::Index>(names.size()); }
};

/// The columns of equal labels together. \throws std::invalid_argument unless there are n labels, 0 to n − 1.
[[nodiscard]] inline MergedColumns merged_columns(const char* function, const char* matrix, Eigen::Index n,
                                                  std::span<const Eigen::Index> labels) {
  if (static_cast<Eigen::Index>(labels.size()) != n)
    refuse(function, ": there are ", labels.size(), " labels, expected ", n, ", as ", matrix, " has columns");
  constexpr Eigen::Index unseen = -1;
  MergedColumns merged;
  std::vector<Eigen::Index> column_of(labels.size(), unseen);
  for (std::size_t j = 0; j < labels.size(); ++j) {
    if (labels[j] < 0 || labels[j] >= n)
      refuse(function, ": labels[", j, "] is ", labels[j], ", expected a number from 0 to ", n - 1);
    Eigen::Index& column = column_of[static_cast<std::size_t>(labels[j])];
    if (column == unseen) {
      column = merged.count();
      merged.names.push_back(static_cast<Eigen::Index>(j));
    }
    merged.target.push_back(column);
  }
  return merged;
}

/// P with the columns of one cluster added up.
template <class Derived>
[[nodiscard]] Eigen::MatrixXd add_columns(const Eigen::MatrixBase<Derived>& P, const MergedColumns& merged) {
  Eigen::MatrixXd sums = Eigen::MatrixXd::Zero(P.rows(), merged.count());
  for (Eigen::Index j = 0; j < P.cols(); ++j)
    sums.col(merged.target[static_cast<std::size_t>(j)]) += P.col(j).template cast<double>();
  return sums;
}

}  // namespace detail

/// The leaders of an attention matrix [GLPR23, §2]: the set
///
///     { argmaxⱼ Pᵢⱼ : i }.
///
/// P: n × n, rows summing to one; n = 0 has no leaders. Of equal largest entries the first column leads.
/// Whatever lies within tie_tolerance of the largest entry counts as tied, and is reported. A row of
/// zeros attends to nothing and follows nobody. O(n²) time, O(n) memory.
/// \throws std::invalid_argument unless P is square and finite, tie_tolerance finite and not negative.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Leaders leaders(const Eigen::MatrixBase<Derived>& P, double tie_tolerance = 0) {
  detail::validate_leaders(P, tie_tolerance);
  std::vector<Eigen::Index> names(static_cast<std::size_t>(P.cols()));
  for (std::size_t j = 0; j < names.size(); ++j) names[j] = static_cast<Eigen::Index>(j);
  return detail::leaders_by_column(P, names, tie_tolerance);
}

/// Leaders after coincident tokens are merged: columns of one cluster are added up before the maximum
/// is taken, and the leader is the first token of its cluster. Without it, a crowd of equal tokens
/// splits its weight and may lose to a single one.
///
/// labels: n numbers from 0 to n − 1, equal for tokens of one cluster (as in Clusters::labels). Sums are
/// rounded, so let tie_tolerance be a few epsilon to see ties. O(n²) time, O(n · clusters) memory.
/// \throws std::invalid_argument as above, and unless there are n labels in range.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Leaders leaders(const Eigen::MatrixBase<Derived>& P, std::span<const Eigen::Index> labels,
                              double tie_tolerance = 0) {
  detail::validate_leaders(P, tie_tolerance);
  const detail::MergedColumns merged = detail::merged_columns("leaders", "P", P.cols(), labels);
  return detail::leaders_by_column(detail::add_columns(P, merged), merged.names, tie_tolerance);
}

/// The leaders where the arg-max of every row is known already, and P never formed: the set of the
/// entries of row_argmax. A row that attends to nothing holds −1. Ties are not visible here. O(n log n).
/// \throws std::invalid_argument unless every entry is from −1 to n − 1.
[[nodiscard]] inline Leaders leaders(std::span<const Eigen::Index> row_argmax) {
  const auto n = static_cast<Eigen::Index>(row_argmax.size());
  std::set<Eigen::Index> indices;
  for (std::size_t i = 0; i < row_argmax.size(); ++i) {
    if (row_argmax[i] < -1 || row_argmax[i] >= n)
      detail::refuse("leaders: row_argmax[", i, "] is ", row_argmax[i], ", expected a number from -1 to ",
                     n - 1);
    if (row_argmax[i] >= 0) indices.insert(row_argmax[i]);
  }
  Leaders found;
  found.indices.assign(indices.begin(), indices.end());
  return found;
}

}}  // namespace attnflow
