/// \file
/// What the operator sums, and what it can write beside its result.
#pragma once

#include <attnflow/types.hpp>

#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

/// What the operator can write beside its result, in the same pass. A row to which the mask leaves nothing has the
/// log-normaliser −∞.
struct RowRecord {
  std::vector<double> log_normalizer;  ///< log ∑ⱼ exp(sᵢⱼ); ±∞ only where it is beyond 10³⁰⁸
  std::vector<Eigen::Index> largest_key;  ///< argmaxⱼ sᵢⱼ, the token that i attends to most
};

/// What is summed over the keys of a row.
enum class Weighted {
  tokens,        ///< ∑ⱼ wᵢⱼ xⱼ
  displacements  ///< ∑ⱼ wᵢⱼ (xⱼ − xᵢ): exactly zero where i attends only to tokens equal to itself
};

}  // namespace attnflow::inline ATTNFLOW_ABI
