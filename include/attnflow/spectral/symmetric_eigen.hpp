/// \file
/// Eigenvalues of symmetric matrices. The one header with Eigen's solver for them.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scale.hpp>

#include <Eigen/Core>
#include <Eigen/Eigenvalues>

#include <stdexcept>
#include <string>

namespace attnflow::inline ATTNFLOW_ABI::detail {

inline void validate_square(const char* function, const char* name, const Eigen::MatrixXd& A) {
  if (A.rows() != A.cols() || A.rows() < 1)
    refuse(function, ": ", name, " is ", A.rows(), " x ", A.cols(),
           ", expected a square matrix of size at least 1");
  if (!A.allFinite()) refuse(function, ": ", name, " has an entry that is not finite");
}

/// The eigenvalues of a symmetric matrix, increasing, and an orthonormal basis of eigenvectors if wanted.
struct SymmetricEigen {
  Eigen::VectorXd values;
  Eigen::MatrixXd vectors;
};

[[nodiscard]] inline SymmetricEigen symmetric_eigen(const char* function, const Eigen::MatrixXd& A,
                                                    bool with_vectors) {
  const int shift = unit_shift(A);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(
      scaled_by_power(A, shift), with_vectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
  if (solver.info() != Eigen::Success)
    throw std::runtime_error(std::string(function) + ": no eigenvalues found");
  SymmetricEigen found{scaled_by_power(solver.eigenvalues(), -shift), {}};
  if (with_vectors) found.vectors = solver.eigenvectors();
  return found;
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
