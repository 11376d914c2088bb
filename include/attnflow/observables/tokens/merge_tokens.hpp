/// \file
/// Tokens that nearly coincide, made equal.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/circle.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Where tokens lie: what their distances are, and their means.
enum class TokenSpace {
  euclidean,  ///< ℝᵈ
  sphere,     ///< unit columns: distances along the chord, means scaled to length one
  circle      ///< one angle each, modulo 2π: distances along the arc
};

/// What became one: groups of tokens that were equal within and different from each other.
struct MergedGroups {
  std::vector<std::vector<Eigen::Index>> parts;  ///< at least two, in the order of their first tokens
};

namespace detail {

/// v − w in a coordinate of tokens, the shorter way around a circle.
template <class Scalar>
[[nodiscard]] Scalar coordinate_difference(Scalar v, Scalar w, TokenSpace space) {
  if (space != TokenSpace::circle) return v - w;
  return static_cast<Scalar>(
      std::remainder(static_cast<double>(v) - static_cast<double>(w), 2 * std::numbers::pi));
}

/// Whether there are two tokens, not equal but at most tol apart. In a small system nearly every step is answered so.
template <class Points>
[[nodiscard]] bool any_to_merge(const Points& x, double tol, TokenSpace space) {
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    for (Eigen::Index j = 0; j < i; ++j) {
      double square = 0;
      for (Eigen::Index k = 0; k < x.rows(); ++k) {
        const auto difference = static_cast<double>(coordinate_difference(x(k, i), x(k, j), space));
        square += difference * difference;
      }
      if (std::sqrt(square) <= tol * (1 + 1e-9) && (x.col(i).array() != x.col(j).array()).any()) return true;
    }
  return false;
}

}  // namespace detail

/// Identifies tokens that are at most tol apart: each cluster of single linkage (see detect_clusters) is put at the mean
/// of its tokens, all of them at the same bits, and so conserves the mean of all. Equal tokens stay equal under any
/// field that treats tokens alike, such as attention without a mask and a bias. O(n log n + n d) for tokens that are
/// few near any one.
///
/// Single linkage follows chains: tokens that are spread out with gaps below tol all become one. On the circle a cluster
/// takes the angles of its first token's turn.
/// \param x  d × n; unit columns for the sphere, 1 × n for the circle.
/// \returns the clusters that were not one point before, in the order of their first tokens.
/// \throws std::invalid_argument unless tol ≥ 0 is finite, on the circle at most π/2, x has one row there, and all is
/// finite.
template <KernelScalar Scalar, int Dim>
std::vector<MergedGroups> merge_tokens(Tokens<Scalar, Dim>& x, double tol,
                                       TokenSpace space = TokenSpace::euclidean) {
  if (!(tol >= 0) || !std::isfinite(tol))
    detail::refuse("merge_tokens: tol is ", tol, ", expected a finite number, at least 0");
  const bool circle = space == TokenSpace::circle;
  if (circle && x.rows() != 1)
    detail::refuse("merge_tokens: x has ", x.rows(), " rows, expected one, of angles");
  if (circle && tol > std::numbers::pi / 2)
    detail::refuse("merge_tokens: tol is ", tol, ", expected at most pi/2 on the circle");
  detail::refuse_unless_finite("merge_tokens", "x", x);
  std::vector<MergedGroups> merges;
  constexpr Eigen::Index small_system = 64;
  if (x.cols() <= small_system && !detail::any_to_merge(x, tol, space)) return merges;
  Clusters clusters;
  if (circle) {
    Tokens<double, 1> theta(1, x.cols());
    for (Eigen::Index i = 0; i < x.cols(); ++i) theta(0, i) = static_cast<double>(x(0, i));
    clusters = detect_clusters(circle::points(theta), 2 * std::sin(tol / 2));
  } else {
    clusters = detect_clusters(x, tol);
  }
  std::vector<std::vector<Eigen::Index>> members(static_cast<std::size_t>(clusters.count()));
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    members[static_cast<std::size_t>(clusters.labels[static_cast<std::size_t>(i)])].push_back(i);
  for (const std::vector<Eigen::Index>& cluster : members) {
    MergedGroups merge;
    for (const Eigen::Index i : cluster) {
      std::size_t part = 0;
      while (part < merge.parts.size() &&
             (x.col(i).array() != x.col(merge.parts[part].front()).array()).any())
        ++part;
      if (part == merge.parts.size()) merge.parts.emplace_back();
      merge.parts[part].push_back(i);
    }
    if (merge.parts.size() < 2) continue;
    const Eigen::Index first = cluster.front();
    Eigen::Matrix<Scalar, Dim, 1> mean = x.col(first);
    for (Eigen::Index k = 0; k < x.rows(); ++k) {
      Scalar sum = 0;
      for (const Eigen::Index i : cluster) sum += detail::coordinate_difference(x(k, i), x(k, first), space);
      mean(k) += sum / static_cast<Scalar>(cluster.size());
    }
    if (space == TokenSpace::sphere) mean /= mean.norm();
    for (const Eigen::Index i : cluster) x.col(i) = mean;
    merges.push_back(std::move(merge));
  }
  return merges;
}

}}  // namespace attnflow
