/// \file
/// Coordinates in which V is block diagonal.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/prediction/spectrum.hpp>

#include <Eigen/Core>

#include <cmath>
#include <complex>
#include <concepts>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// V = basis · blocks · inverse, `blocks` with a 1 × 1 block for each real eigenvalue and a 2 × 2 block (a b;
/// −b a) for each pair a ± ib.
struct InvariantBasis {
  /// d × d each.
  Eigen::MatrixXd basis, inverse, blocks;
  double condition = 1;     ///< ‖basis‖_F ‖inverse‖_F / d: at least 1, and 1 for an orthogonal basis
  bool is_identity = true;  ///< V is diagonal already, or has no basis of acceptable condition
};

/// The largest condition of a basis in which runs of this number type should go, ε^{−1/4}: 8192 in double, 54 in float.
/// Coordinates in a basis are known to about ε times its condition; three quarters of the digits remain.
template <std::floating_point Scalar>
[[nodiscard]] double largest_basis_condition() {
  return std::pow(static_cast<double>(std::numeric_limits<Scalar>::epsilon()), -0.25);
}

/// Real coordinates y = basis⁻¹ x in which the invariant subspaces of V are coordinate subspaces.
///
/// In rescaled time the coordinates of eigenvalues with negative real part grow like e^{|λ| t} and, in any
/// basis that mixes them with the leading ones, round those away from |λ| t ≈ 36 on (double). In these
/// coordinates each keeps its own relative accuracy. The dynamics is the same one for V' = blocks, Q' = Q
/// basis, K' = K basis. The columns are the real eigenvectors of `spectrum`, of a pair the real and the
/// imaginary part.
///
/// \param max_condition  a basis of worse condition is not used (a defective V has none): the result is then the
/// identity, blocks = V. For runs in float: largest_basis_condition<float>().
/// Cost: O(d³). \throws std::invalid_argument unless V is square and finite; std::runtime_error if its
/// eigenvalues cannot be found.
[[nodiscard]] inline InvariantBasis invariant_basis(
    const Eigen::MatrixXd& V, double max_condition = largest_basis_condition<double>()) {
  detail::validate_square("invariant_basis", "V", V);
  const Eigen::Index d = V.rows();
  InvariantBasis result{Eigen::MatrixXd::Identity(d, d), Eigen::MatrixXd::Identity(d, d), V, 1, true};
  if (V.isDiagonal(0)) return result;
  const Spectrum found = spectrum(V);
  if (found.left.size() == 0) return result;
  InvariantBasis split{Eigen::MatrixXd(d, d), Eigen::MatrixXd(d, d), Eigen::MatrixXd::Zero(d, d), 1, false};
  for (Eigen::Index k = 0; k < d;) {
    const std::complex<double> lambda = found.eigenvalues(k);
    split.basis.col(k) = found.right.col(k).real();
    if (lambda.imag() == 0) {
      split.inverse.row(k) = found.left.row(k).real();
      split.blocks(k, k) = lambda.real();
      k += 1;
    } else {  // V (u + iw) = (a + ib)(u + iw): Vu = a u − b w, Vw = b u + a w
      split.basis.col(k + 1) = found.right.col(k).imag();
      split.inverse.row(k) = 2 * found.left.row(k).real();
      split.inverse.row(k + 1) = -2 * found.left.row(k).imag();
      split.blocks.block<2, 2>(k, k) << lambda.real(), lambda.imag(), -lambda.imag(), lambda.real();
      k += 2;
    }
  }
  split.condition = split.basis.norm() * split.inverse.norm() / static_cast<double>(d);
  return split.condition <= max_condition ? split : result;
}

}}  // namespace attnflow
