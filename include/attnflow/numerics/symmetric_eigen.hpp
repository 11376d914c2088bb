/// \file
/// Eigenvalues of symmetric matrices, at any scale.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/decompositions.hpp>
#include <attnflow/numerics/scale.hpp>

#include <Eigen/Core>

#include <stdexcept>
#include <string>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

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
  SymmetricParts parts = symmetric_parts(scaled_by_power(A, shift), with_vectors);
  if (!parts.converged) throw std::runtime_error(std::string(function) + ": no eigenvalues found");
  return {scaled_by_power(parts.values, -shift).col(0), std::move(parts.vectors)};
}

}}}  // namespace attnflow::detail
