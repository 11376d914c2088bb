/// \file
/// Clusters of tokens up to the directions of a subspace.
#pragma once

#include <attnflow/clustering/clusters.hpp>
#include <attnflow/clustering/finite_tokens.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow {

namespace detail {

/// The power of two that takes numbers up to `largest` to [1, 2), as an exponent.
[[nodiscard]] inline int unit_shift(double largest) { return largest > 0 ? -std::ilogb(largest) : 0; }

[[nodiscard]] inline Eigen::MatrixXd shifted(const Eigen::MatrixXd& x, int shift) {
  return x.unaryExpr([shift](double value) { return std::ldexp(value, shift); });
}

/// An orthonormal basis of the span of G's columns, by Gram and Schmidt. Columns are brought to length one
/// first, so that only directions matter. The column with most left over comes next, until no more than
/// 64 √d m ε is left of any: that is what rounding leaves of a combination of the others.
[[nodiscard]] inline Eigen::MatrixXd orthonormal_basis(Eigen::MatrixXd G) {
  const Eigen::Index d = G.rows(), m = G.cols();
  for (Eigen::Index k = 0; k < m; ++k) {
    Eigen::MatrixXd column = G.col(k);
    column = shifted(column, unit_shift(column.cwiseAbs().maxCoeff()));
    const double length = column.norm();
    G.col(k) = length > 0 ? column / length : column;
  }
  const double negligible = 64 * std::sqrt(static_cast<double>(d)) * static_cast<double>(m) *
                            std::numeric_limits<double>::epsilon();
  Eigen::MatrixXd basis(d, std::min(d, m));
  Eigen::Index rank = 0;
  for (; rank < basis.cols(); ++rank) {
    Eigen::Index next = 0;
    if (!(G.colwise().norm().maxCoeff(&next) > negligible)) break;
    Eigen::VectorXd q = G.col(next).normalized();
    for (Eigen::Index k = 0; k < rank; ++k) q -= basis.col(k) * basis.col(k).dot(q);  // twice is enough
    q.normalize();
    basis.col(rank) = q;
    for (Eigen::Index k = 0; k < m; ++k) G.col(k) -= q * q.dot(G.col(k));
  }
  return basis.leftCols(rank);
}

/// x without its components along an orthonormal basis; a second pass takes what rounding left.
inline void remove_components(const Eigen::MatrixXd& basis, Eigen::MatrixXd& x) {
  for (int pass = 0; pass < 2; ++pass)
    for (Eigen::Index i = 0; i < x.cols(); ++i)
      for (Eigen::Index k = 0; k < basis.cols(); ++k) x.col(i) -= basis.col(k) * basis.col(k).dot(x.col(i));
}

}  // namespace detail

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
requires RealScalar<typename Derived::Scalar> && RealScalar<typename Basis::Scalar>
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
  const Eigen::MatrixXd basis = detail::orthonormal_basis(subspace.template cast<double>());
  if (basis.cols() == 0) return detect_clusters(x, tol);
  if (basis.cols() == x.rows()) x.setZero();  // what is left would be rounding errors
  const int shift = detail::unit_shift(x.cwiseAbs().maxCoeff());
  x = detail::shifted(x, shift);
  detail::remove_components(basis, x);
  return detect_clusters(x, std::min(std::ldexp(tol, shift), std::numeric_limits<double>::max()));
}

}  // namespace attnflow
