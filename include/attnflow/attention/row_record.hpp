/// \file
/// What the operator sums, and what it can write beside its result.
#pragma once

#include <attnflow/types.hpp>

#include <cstddef>
#include <limits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What the operator can write beside its result, in the same pass. A row to which the mask leaves nothing has the
/// log-normaliser −∞.
struct RowRecord {
  std::vector<double> log_normalizer;  ///< log ∑ⱼ exp(sᵢⱼ); ±∞ only where it is beyond 10³⁰⁸
  std::vector<Eigen::Index> largest_key;  ///< argmaxⱼ sᵢⱼ, the token that i attends to most
  /// For Sinkhorn, whose scores here have gⱼ − maxₗ gₗ added: how many sweeps over columns and rows were made, or Newton steps.
  int iterations = 0;
  /// For Sinkhorn, the largest |∑ᵢ Pᵢⱼ − 1| of the weights P that were used, or found where that was too much; with masses
  /// |∑ᵢ mᵢ Pᵢⱼ − mⱼ| / mⱼ. ∞ where scores are beyond what has logarithms.
  double marginal_error = 0;
};

namespace detail {
/// Makes a record of n rows that are not known yet; nothing where there is none.
inline void clear(RowRecord* rows, Eigen::Index n) {
  if (rows == nullptr) return;
  rows->log_normalizer.assign(static_cast<std::size_t>(n), std::numeric_limits<double>::quiet_NaN());
  rows->largest_key.assign(static_cast<std::size_t>(n), 0);
  rows->iterations = 0;
  rows->marginal_error = 0;
}
}  // namespace detail

/// What is summed over the keys of a row.
enum class Weighted {
  tokens,        ///< ∑ⱼ wᵢⱼ xⱼ
  displacements  ///< ∑ⱼ wᵢⱼ (xⱼ − xᵢ): exactly zero where i attends only to tokens equal to itself
};

}}  // namespace attnflow
