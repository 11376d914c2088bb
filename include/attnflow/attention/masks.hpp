/// \file
/// Masks: which tokens a token attends to.
#pragma once

#include <attnflow/attention/concepts.hpp>

namespace attnflow::inline ATTNFLOW_ABI {

/// A token attends to itself and to those before it: j ≤ i.
struct Causal {
  /// 0, …, i.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index i, Eigen::Index /*n*/) const noexcept {
    return {0, i + 1};
  }
};

/// A token attends to those before it: j < i. The first has nothing to attend to.
struct StrictCausal {
  /// 0, …, i − 1.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index i, Eigen::Index /*n*/) const noexcept { return {0, i}; }
};

}  // namespace attnflow::inline ATTNFLOW_ABI
