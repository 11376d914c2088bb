/// \file
/// Coordinates in which V is block diagonal. The one header with Eigen's eigen-solvers.
#pragma once

#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <Eigen/LU>

#include <complex>
#include <stdexcept>

namespace attnflow {

/// V = basis · blocks · inverse, `blocks` with a 1 × 1 block for each real eigenvalue and a 2 × 2 block (a b;
/// −b a) for each pair a ± ib.
struct InvariantBasis {
  Eigen::MatrixXd basis, inverse, blocks;
  double condition = 1;     ///< ‖basis‖_F ‖inverse‖_F / d: at least 1, and 1 for an orthogonal basis
  bool is_identity = true;  ///< V is diagonal already, or has no basis of acceptable condition
};

/// Real coordinates y = basis⁻¹ x in which the invariant subspaces of V are coordinate subspaces.
///
/// In rescaled time the coordinates of eigenvalues with negative real part grow like e^{|λ| t} and, in any
/// basis that mixes them with the leading ones, round those away from |λ| t ≈ 36 on (double). In these
/// coordinates each keeps its own relative accuracy. The dynamics is the same one for V' = blocks, Q' = Q
/// basis, K' = K basis.
///
/// \param max_condition  a basis of worse condition is not used (a defective V has none): the result is then the identity, blocks = V.
/// Cost: O(d³). \throws std::invalid_argument unless V is square and finite; std::runtime_error if its
/// eigenvalues cannot be found.
[[nodiscard]] inline InvariantBasis invariant_basis(const Eigen::MatrixXd& V, double max_condition = 1e4) {
  if (V.rows() != V.cols())
    detail::refuse("invariant_basis: V is ", V.rows(), " x ", V.cols(), ", expected a square matrix");
  if (!V.allFinite()) detail::refuse("invariant_basis: V has an entry that is not finite");
  const Eigen::Index d = V.rows();
  InvariantBasis result{Eigen::MatrixXd::Identity(d, d), Eigen::MatrixXd::Identity(d, d), V, 1, true};
  if (V.isDiagonal(0)) return result;
  InvariantBasis found{Eigen::MatrixXd(d, d), Eigen::MatrixXd(d, d), Eigen::MatrixXd::Zero(d, d), 1, false};
  if (V == V.transpose()) {
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(V);
    if (solver.info() != Eigen::Success) throw std::runtime_error("invariant_basis: no eigenvalues found");
    found.basis = solver.eigenvectors();
    found.inverse = found.basis.transpose();
    found.blocks.diagonal() = solver.eigenvalues();
    return found;
  }
  const Eigen::EigenSolver<Eigen::MatrixXd> solver(V);
  if (solver.info() != Eigen::Success) throw std::runtime_error("invariant_basis: no eigenvalues found");
  for (Eigen::Index k = 0; k < d;) {
    const std::complex<double> lambda = solver.eigenvalues()[k];
    const Eigen::VectorXcd v = solver.eigenvectors().col(k);
    if (lambda.imag() == 0) {
      found.basis.col(k) = v.real().normalized();
      found.blocks(k, k) = lambda.real();
      k += 1;
    } else {  // V (u + iw) = (a + ib)(u + iw): Vu = a u − b w, Vw = b u + a w
      found.basis.col(k) = v.real();
      found.basis.col(k + 1) = v.imag();
      found.blocks.block<2, 2>(k, k) << lambda.real(), lambda.imag(), -lambda.imag(), lambda.real();
      k += 2;
    }
  }
  const Eigen::FullPivLU<Eigen::MatrixXd> lu(found.basis);
  if (!lu.isInvertible()) return result;
  found.inverse = lu.inverse();
  found.condition = found.basis.norm() * found.inverse.norm() / static_cast<double>(d);
  return found.condition <= max_condition ? found : result;
}

}  // namespace attnflow
