/// \file
/// Clusters of tokens up to the directions of a subspace.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/orthonormal_basis.hpp>
#include <attnflow/numerics/scale.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Single-linkage clusters of tokens modulo the span 𝒢 of given vectors: the connected components of the
/// graph with an edge between i and j where the distance of xᵢ and xⱼ, up to 𝒢, is at most tol,
///
///     ‖π(xᵢ − xⱼ)‖ ≤ tol,   π the orthogonal projection with kernel 𝒢 = span(G).
///
/// So tokens on one line parallel to 𝒢 are in one cluster, however far apart. With 𝒢 the invariant subspace
/// of V for the eigenvalues that are not the leading one, these are the hyperplanes of [GLPR23, Thm 4.2].
///
/// tokens: d × n; subspace G: d × m, any vectors, dependent or zero ones too. Which of them are dependent is
/// decided relative to each one's length, up to 64 √d m ε. m = 0 is detect_clusters(tokens, tol); 𝒢 = R^d
/// makes one cluster. Otherwise distances are computed in double to within a few d ε times the largest
/// coordinate (of x, not of πx), at no risk of overflow: a smaller tol tells rounding errors apart.
/// O(d m min(d, m) + n d m) time beyond that of detect_clusters, O(n d) memory.
/// \throws std::invalid_argument unless tol is finite and not negative, every token and every vector of the
/// subspace is finite, and these have d entries (or there are none).
template <class Derived, class Basis>
requires KernelScalar<typename Derived::Scalar> && KernelScalar<typename Basis::Scalar>
[[nodiscard]] Clusters detect_clusters_modulo(const Eigen::MatrixBase<Derived>& tokens,
                                              const Eigen::MatrixBase<Basis>& subspace, double tol) {
  if (!(tol >= 0) || !std::isfinite(tol))
    detail::refuse("detect_clusters_modulo: tol is ", tol, ", expected a finite number, at least 0");
  detail::refuse_unless_finite("detect_clusters_modulo", "tokens", tokens);
  if (subspace.cols() == 0) return detect_clusters(tokens, tol);
  if (subspace.rows() != tokens.rows())
    detail::refuse("detect_clusters_modulo: subspace is ", subspace.rows(), " x ", subspace.cols(),
                   ", expected d = ", tokens.rows(), " rows, as the tokens have");
  detail::refuse_unless_finite("detect_clusters_modulo", "subspace", subspace, "vector");
  Eigen::MatrixXd x = tokens.template cast<double>();
  if (x.size() == 0) return detect_clusters(x, tol);
  detail::OrthonormalBasis basis(x.rows(), subspace.cols());
  const double negligible = 64 * std::sqrt(static_cast<double>(x.rows())) *
                            static_cast<double>(subspace.cols()) * std::numeric_limits<double>::epsilon();
  for (Eigen::Index k = 0; k < subspace.cols();
       ++k) {  // brought to length one, so that only directions matter
    Eigen::VectorXd direction = subspace.col(k).template cast<double>();
    direction = detail::scaled_by_power(direction, detail::unit_shift(direction));
    if (direction.norm() > 0) basis.append(direction.normalized(), negligible);
  }
  if (basis.size() == 0) return detect_clusters(x, tol);
  const int shift = detail::unit_shift(x);
  x = detail::scaled_by_power(x, shift);
  for (Eigen::Index i = 0; i < x.cols(); ++i) x.col(i) = basis.rejection(x.col(i));
  return detect_clusters(x, (std::min)(std::ldexp(tol, shift), (std::numeric_limits<double>::max)()));
}

}}  // namespace attnflow
