/// \file
/// ℝᵈ as the sum of two invariant subspaces of V.
#pragma once

#include <attnflow/numerics/linear_systems.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/schur.hpp>

#include <Eigen/Core>

#include <cmath>
#include <complex>
#include <concepts>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// ℝᵈ = ℱ ⊕ 𝒢, both invariant under V: ℱ belongs to the eigenvalues that were chosen, 𝒢 to the others. With
/// the coordinates a = inside_dual · x and b = outside_dual · x,
///
///     x = inside · a + outside · b,   (V x)'s coordinates are V_inside a and V_outside b.
struct InvariantSplitting {
  Eigen::MatrixXd inside;        ///< d × m: an orthonormal basis of ℱ
  Eigen::MatrixXd outside;       ///< d × (d − m): an orthonormal basis of 𝒢
  Eigen::MatrixXd inside_dual;   ///< m × d: 0 on 𝒢, inside_dual · inside = I
  Eigen::MatrixXd outside_dual;  ///< (d − m) × d: 0 on ℱ, outside_dual · outside = I
  Eigen::MatrixXd V_inside;      ///< m × m
  Eigen::MatrixXd V_outside;     ///< (d − m) × (d − m)
  double condition = 1;  ///< ‖inside_dual‖_F / √m: at least 1, the number for m = 1 of the eigenvalue

  /// m = dim ℱ.
  [[nodiscard]] Eigen::Index dim() const noexcept { return inside.cols(); }
  /// The projector on ℱ along 𝒢, d × d.
  [[nodiscard]] Eigen::MatrixXd projector() const { return detail::product_of(inside, inside_dual); }
};

/// The splitting for the diagonal blocks chosen (see move_to_top), from two reordered Schur forms. O(d³).
/// \throws std::invalid_argument if the number of flags is wrong.
[[nodiscard]] inline InvariantSplitting split_invariant(const SchurForm& form, std::vector<bool> chosen) {
  SchurForm first = form, second = form;
  const Eigen::Index d = form.dim(), m = move_to_top(first, chosen);
  chosen.flip();
  move_to_top(second, chosen);
  InvariantSplitting split;
  split.inside = first.U.leftCols(m);
  split.outside = second.U.leftCols(d - m);
  split.V_inside = first.T.topLeftCorner(m, m);
  split.V_outside = second.T.topLeftCorner(d - m, d - m);
  Eigen::MatrixXd basis(d, d);
  basis << split.inside, split.outside;
  Eigen::MatrixXd inverse = basis.transpose();
  if (m > 0 && m < d) inverse = detail::inverse_of(basis);
  split.inside_dual = inverse.topRows(m);
  split.outside_dual = inverse.bottomRows(d - m);
  if (m > 0) split.condition = split.inside_dual.norm() / std::sqrt(static_cast<double>(m));
  return split;
}

/// The splitting for the eigenvalues of V that a predicate chooses; it must answer alike for λ and its
/// conjugate, and sees the one with positive imaginary part.
template <std::predicate<std::complex<double>> Choice>
[[nodiscard]] InvariantSplitting split_invariant(const SchurForm& form, const Choice& choice) {
  std::vector<bool> chosen;
  for (const auto block : form.blocks()) chosen.push_back(choice(form.eigenvalue(block)));
  return split_invariant(form, std::move(chosen));
}

/// The number of eigenvalues with positive real part, counted with multiplicity, and the splitting into the
/// subspace ℱ in which e^{tV} grows and the subspace 𝒢 of the others: the codimension k of the affine
/// subspaces that [GLPR23, codimension conjecture] expects tokens to approach.
struct UnstableDimension {
  Eigen::Index dimension = 0;    ///< k
  double smallest_positive = 0;  ///< the least positive real part; 0 for k = 0
  double largest_other = 0;      ///< the largest real part of the others, at most 0; 0 for k = d
  /// ℱ inside, 𝒢 outside.
  InvariantSplitting splitting;
};

/// \param tol  a real part up to tol · max |λ| does not count as positive.
/// O(d³). \throws std::invalid_argument unless tol is in [0, 1).
[[nodiscard]] inline UnstableDimension unstable_dimension(const SchurForm& form, double tol = 1e-12) {
  if (!(tol >= 0 && tol < 1))
    detail::refuse("unstable_dimension: tol is ", tol, ", expected a number from 0 to below 1");
  double radius = 0;
  for (const auto block : form.blocks()) radius = (std::max)(radius, std::abs(form.eigenvalue(block)));
  UnstableDimension found;
  bool any_other = false;
  std::vector<bool> chosen;
  for (const auto block : form.blocks()) {
    const double real = form.eigenvalue(block).real();
    chosen.push_back(real > tol * radius);
    if (chosen.back()) {
      found.smallest_positive = found.dimension == 0 ? real : (std::min)(found.smallest_positive, real);
      found.dimension += block.size;
    } else {
      found.largest_other = any_other ? (std::max)(found.largest_other, real) : real;
      any_other = true;
    }
  }
  found.splitting = split_invariant(form, std::move(chosen));
  return found;
}

/// The same from V. \throws std::invalid_argument also unless V is square and finite.
[[nodiscard]] inline UnstableDimension unstable_dimension(const Eigen::MatrixXd& V, double tol = 1e-12) {
  detail::validate_square("unstable_dimension", "V", V);
  return unstable_dimension(schur_form(V), tol);
}

}}  // namespace attnflow
