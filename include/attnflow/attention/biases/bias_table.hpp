/// \file
/// Any bias of the positions: a table or a function of query and key.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>

#include <cmath>
#include <concepts>
#include <memory>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A bias given pair by pair: sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bᵢⱼ, for as many queries and keys as the table has rows and columns, or
/// fewer. Copies share the table. Rows are computed by plain loops in double, see `laws_bench` for what that costs.
class BiasTable {
 public:
  /// \throws std::invalid_argument unless all entries are finite: masks leave keys out.
  explicit BiasTable(Eigen::MatrixXd b) : b_(std::make_shared<const Eigen::MatrixXd>(std::move(b))) {
    for (Eigen::Index i = 0; i < b_->rows(); ++i)
      for (Eigen::Index j = 0; j < b_->cols(); ++j)
        if (!std::isfinite((*b_)(i, j)))
          detail::refuse("BiasTable: b(", i, ", ", j, ") is ", (*b_)(i, j), ", expected a finite number");
  }
  /// There is no part −slope |i − j| beside the table.
  static constexpr double slope = 0;
  /// The table was checked when it was made.
  void validate() const noexcept {}
  /// \throws std::invalid_argument where there are more queries or keys than the table has rows or columns.
  void require_size(Eigen::Index queries, Eigen::Index keys) const {
    if (queries > b_->rows() || keys > b_->cols())
      detail::refuse("BiasTable: b is ", b_->rows(), " x ", b_->cols(), ", but there are ", queries,
                     " queries and ", keys, " keys");
  }
  /// bᵢⱼ.
  [[nodiscard]] double at(Eigen::Index i, Eigen::Index j) const { return (*b_)(i, j); }

 private:
  std::shared_ptr<const Eigen::MatrixXd> b_;
};

/// The same by a function b(i, j), which has to be finite: relative positions are functions of j − i. It is called for every
/// pair, by several threads at a time.
template <class F>
requires std::is_invocable_r_v<double, const F&, Eigen::Index, Eigen::Index>
struct BiasFunction {
  /// b.
  F b;
  /// There is no part −slope |i − j| beside the function.
  static constexpr double slope = 0;
  /// There is nothing to check.
  void validate() const noexcept {}
  /// b(i, j).
  [[nodiscard]] double at(Eigen::Index i, Eigen::Index j) const { return b(i, j); }
};
/// Names the type of the function.
template <class F>
BiasFunction(F) -> BiasFunction<F>;

}}  // namespace attnflow
