/// \file
/// Eigen's decompositions, all of them in one place: they take longer to compile than everything else, and a program
/// of many files can have them compiled once (see kernels/instances.hpp).
#pragma once

#include <attnflow/detail/abi.hpp>

#include <Eigen/Core>

#if !defined(ATTNFLOW_EXTERN_KERNELS)
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#endif

namespace attnflow::inline ATTNFLOW_ABI::detail {

/// A = U T Uᵀ, U orthogonal, T with 1 × 1 and 2 × 2 blocks on its diagonal.
template <class Matrix>
struct RealSchurParts {
  Matrix U, T;
  bool converged;
};
template <class Matrix>
[[nodiscard]] RealSchurParts<Matrix> real_schur(const Matrix& A);

/// A symmetric A = vectors · diag(values) · vectorsᵀ, values increasing, a column.
template <class Matrix>
struct SymmetricParts {
  Matrix values, vectors;  ///< no vectors where none are wanted
  bool converged;
};
template <class Matrix>
[[nodiscard]] SymmetricParts<Matrix> symmetric_parts(const Matrix& A, bool with_vectors);

/// A⁻¹ by LU with partial pivoting; of a singular matrix not finite, or large.
template <class Matrix>
[[nodiscard]] Matrix inverse_of(const Matrix& A);

/// A⁻¹ and A⁻¹ B by LU with full pivoting, where A is invertible.
template <class Matrix>
struct FullPivoting {
  bool invertible;
  double rcond;  ///< an estimate of the reciprocal condition number
  Matrix inverse, solution;
};
template <class Matrix>
[[nodiscard]] FullPivoting<Matrix> solve_fully(const Matrix& A, const Matrix& B);

/// The upper triangular R with RᵀR = A, symmetric and positive definite, and R⁻¹.
template <class Matrix>
struct CholeskyFactor {
  Matrix upper, inverse;
};
template <class Matrix>
[[nodiscard]] CholeskyFactor<Matrix> cholesky(const Matrix& A);

#if defined(ATTNFLOW_EXTERN_KERNELS)

extern template RealSchurParts<Eigen::MatrixXd> real_schur(const Eigen::MatrixXd&);
extern template SymmetricParts<Eigen::MatrixXd> symmetric_parts(const Eigen::MatrixXd&, bool);
extern template Eigen::MatrixXd inverse_of(const Eigen::MatrixXd&);
extern template FullPivoting<Eigen::MatrixXd> solve_fully(const Eigen::MatrixXd&, const Eigen::MatrixXd&);
extern template CholeskyFactor<Eigen::MatrixXd> cholesky(const Eigen::MatrixXd&);

#else

template <class Matrix>
RealSchurParts<Matrix> real_schur(const Matrix& A) {
  const Eigen::RealSchur<Matrix> solver(A);
  return {solver.matrixU(), solver.matrixT(), solver.info() == Eigen::Success};
}

template <class Matrix>
SymmetricParts<Matrix> symmetric_parts(const Matrix& A, bool with_vectors) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(
      A, with_vectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
  SymmetricParts<Matrix> parts{solver.eigenvalues(), {}, solver.info() == Eigen::Success};
  if (with_vectors && parts.converged) parts.vectors = solver.eigenvectors();
  return parts;
}

template <class Matrix>
Matrix inverse_of(const Matrix& A) {
  return A.partialPivLu().inverse();
}

template <class Matrix>
FullPivoting<Matrix> solve_fully(const Matrix& A, const Matrix& B) {
  const Eigen::FullPivLU<Matrix> lu(A);
  FullPivoting<Matrix> result{lu.isInvertible(), lu.rcond(), {}, {}};
  if (result.invertible) {
    result.inverse = lu.inverse();
    result.solution = lu.solve(B);
  }
  return result;
}

template <class Matrix>
CholeskyFactor<Matrix> cholesky(const Matrix& A) {
  const Eigen::LLT<Matrix> factor(A);
  return {factor.matrixU(), factor.matrixU().solve(Matrix::Identity(A.rows(), A.cols()))};
}

#endif

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
