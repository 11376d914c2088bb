/// \file
/// Any boolean mask: a directed graph on the positions.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A mask given pair by pair: token i attends to token j where there is an edge i → j [WAWJJ24]. Copies share their
/// bits, n² / 8 bytes. A drift costs what one without a mask does, however few edges there are.
class Graph {
 public:
  /// \param n  how many tokens there are: the mask fits no other number.
  /// \param edge  edge(i, j) → bool, asked once for every pair.
  /// \throws std::invalid_argument if n is negative. Cost: n² calls.
  template <std::predicate<Eigen::Index, Eigen::Index> Edge>
  Graph(Eigen::Index n, const Edge& edge) : n_(n) {
    if (n < 0) detail::refuse("Graph: n is ", n, ", expected zero or a positive number");
    auto bits = std::make_shared<std::vector<std::uint8_t>>(static_cast<std::size_t>((n + 15) / 16 * 2 * n));
    ranges_.assign(static_cast<std::size_t>(n), KeyRange{});
    for (Eigen::Index i = 0; i < n; ++i) {
      KeyRange& range = ranges_[static_cast<std::size_t>(i)];
      for (Eigen::Index j = 0; j < n; ++j) {
        if (!edge(i, j)) continue;
        (*bits)[static_cast<std::size_t>(i / 8 * n + j)] |= static_cast<std::uint8_t>(1U << (i % 8));
        if (range.begin == range.end) range.begin = j;
        range.end = j + 1;
      }
    }
    bits_ = std::move(bits);
    for (Eigen::Index i = 0; i < n; ++i)
      for (Eigen::Index j = 0; symmetric_ && j < i; ++j) symmetric_ = attends(i, j) == attends(j, i);
  }

  /// The edges of a square matrix: those whose entry is not zero.
  /// \throws std::invalid_argument if it is not square.
  template <class Derived>
  [[nodiscard]] static Graph from_matrix(const Eigen::MatrixBase<Derived>& adjacency) {
    if (adjacency.rows() != adjacency.cols())
      detail::refuse("Graph: the matrix is ", adjacency.rows(), " x ", adjacency.cols(),
                     ", expected a square one");
    const auto entries = adjacency.eval();
    using Entry = typename Derived::Scalar;
    return Graph(entries.rows(), [&](Eigen::Index i, Eigen::Index j) { return entries(i, j) != Entry(0); });
  }

  /// From the first to the last key of query i. \throws std::invalid_argument unless n is that of the graph.
  [[nodiscard]] KeyRange keys(Eigen::Index i, Eigen::Index n) const {
    if (n != n_) detail::refuse("Graph: for ", n_, " tokens, but there are ", n);
    return ranges_[static_cast<std::size_t>(i)];
  }
  /// Whether there is an edge i → j.
  [[nodiscard]] bool attends(Eigen::Index i, Eigen::Index j) const noexcept {
    return ((*bits_)[static_cast<std::size_t>(i / 8 * n_ + j)] >> (i % 8) & 1) != 0;
  }
  /// Whether every edge has its opposite.
  [[nodiscard]] bool symmetric() const noexcept { return symmetric_; }
  /// How many tokens it is for.
  [[nodiscard]] Eigen::Index size() const noexcept { return n_; }
  /// The edges as the kernels read them: byte j of group g, at g n + j, has bit i mod 8 for the edge i → j of the rows
  /// i = 8 g, …, 8 g + 7; an even number of groups.
  [[nodiscard]] const std::uint8_t* bits() const noexcept { return bits_->data(); }

 private:
  Eigen::Index n_;
  bool symmetric_ = true;
  std::vector<KeyRange> ranges_;
  std::shared_ptr<const std::vector<std::uint8_t>> bits_;
};

}}  // namespace attnflow
