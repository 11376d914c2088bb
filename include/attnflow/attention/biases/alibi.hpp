/// \file
/// Attention with linear biases.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Attention with linear biases [PSL22]: a score falls by the slope λ with each position between query and key,
///
///     sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ − λ |i − j|.
///
/// β does not multiply the bias. Where scores ⟨Q xᵢ, K xⱼ⟩ themselves are beyond 10³⁰⁸ (float: 10³⁸), weights
/// are still finite and sum to one, but which of such keys leads is left open.
struct Alibi {
  /// λ, by which a score falls with each position.
  double slope = 1;

  /// \throws std::invalid_argument unless the slope is finite.
  void validate() const {
    if (!std::isfinite(slope)) detail::refuse("Alibi::slope is ", slope, ", expected a finite number");
  }
};

}}  // namespace attnflow
