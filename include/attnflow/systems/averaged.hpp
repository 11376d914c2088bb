/// \file
/// The mean of several heads instead of their sum.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Heads whose sum is the mean of the given ones, Vₕ/H for H heads: systems add heads, and
///
///     TokenDynamics(averaged(heads)):   ẋᵢ = (1/H) ∑ₕ ∑ⱼ Pʰᵢⱼ Vₕ xⱼ.
///
/// Entries of V are rounded once; for H a power of two nothing is, unless an entry falls below the normal range.
/// \throws std::invalid_argument if there is no head.
template <RealScalar Scalar, int Dim>
[[nodiscard]] std::vector<Head<Scalar, Dim>> averaged(std::vector<Head<Scalar, Dim>> heads) {
  if (heads.empty()) detail::refuse("averaged: no head given, expected at least one");
  const auto count = static_cast<Scalar>(static_cast<double>(heads.size()));
  for (Head<Scalar, Dim>& head : heads) head.V /= count;
  return heads;
}

}}  // namespace attnflow
