/// \file
/// Eigenvalues of symmetric matrices. The one header with Eigen's solver for them.
#pragma once

#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>
#include <Eigen/Eigenvalues>

#include <cmath>
#include <stdexcept>
#include <string>

namespace attnflow::detail {

inline void validate_square(const char* function, const char* name, const Eigen::MatrixXd& A) {
  if (A.rows() != A.cols() || A.rows() < 1)
    refuse(function, ": ", name, " is ", A.rows(), " x ", A.cols(),
           ", expected a square matrix of size at least 1");
  if (!A.allFinite()) refuse(function, ": ", name, " has an entry that is not finite");
}

/// The exponent of the power of two just above the largest entry; 0 for a matrix of zeros.
[[nodiscard]] inline int unit_exponent(const Eigen::MatrixXd& A) {
  int exponent = 0;
  if (A.size() > 0) std::frexp(A.cwiseAbs().maxCoeff(), &exponent);
  return exponent;
}

[[nodiscard]] inline Eigen::MatrixXd times_power_of_two(const Eigen::MatrixXd& A, int exponent) {
  return A.unaryExpr([exponent](double a) { return std::ldexp(a, exponent); });
}

/// The eigenvalues of a symmetric matrix, increasing, and an orthonormal basis of eigenvectors if wanted.
struct SymmetricEigen {
  Eigen::VectorXd values;
  Eigen::MatrixXd vectors;
};

[[nodiscard]] inline SymmetricEigen symmetric_eigen(const char* function, const Eigen::MatrixXd& A,
                                                    bool with_vectors) {
  const int exponent = unit_exponent(A);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(
      times_power_of_two(A, -exponent), with_vectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
  if (solver.info() != Eigen::Success)
    throw std::runtime_error(std::string(function) + ": no eigenvalues found");
  SymmetricEigen found{times_power_of_two(solver.eigenvalues(), exponent), {}};
  if (with_vectors) found.vectors = solver.eigenvectors();
  return found;
}

}  // namespace attnflow::detail
