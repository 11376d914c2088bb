/// \file
/// Small dense linear systems: inverses and a Cholesky factor, by plain loops over columns.
///
/// Eigen's LU and LLT are blocked for matrices of thousands of rows, and take seconds to compile. Here d is that of a
/// token, and decompositions are made a few times in a run.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/numerics/products.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Gaussian elimination, P A Q = L U with pivots of largest modulus [GVL13, §3.4]: in their column, or (`complete`)
/// among all that is left. 2/3 d³ operations.
class Elimination {
 public:
  Elimination(ColumnMatrix A, bool complete) : LU_(std::move(A)) {
    const Eigen::Index d = LU_.rows();
    for (Eigen::Index k = 0; k < d; ++k) {
      Eigen::Index row = k, column = k;
      for (Eigen::Index j = k; j < (complete ? d : k + 1); ++j)
        for (Eigen::Index i = k; i < d; ++i)
          if (std::abs(LU_(i, j)) > std::abs(LU_(row, column))) {
            row = i;
            column = j;
          }
      for (Eigen::Index j = 0; j < d && row != k; ++j) std::swap(LU_(k, j), LU_(row, j));
      for (Eigen::Index i = 0; i < d && column != k; ++i) std::swap(LU_(i, k), LU_(i, column));
      rows_.push_back(row);
      columns_.push_back(column);
      const double pivot = LU_(k, k);
      if (pivot == 0) continue;  // and so is all that could be eliminated
      for (Eigen::Index i = k + 1; i < d; ++i) LU_(i, k) /= pivot;
      for (Eigen::Index j = k + 1; j < d; ++j)
        subtract_multiple(&LU_(k, j) + 1, LU_(k, j), &LU_(k, k) + 1, d - k - 1);
    }
  }

  /// All pivots exceed d ε times the largest.
  [[nodiscard]] bool is_invertible() const {
    double least = std::numeric_limits<double>::infinity(), largest = 0;
    for (Eigen::Index k = 0; k < LU_.rows(); ++k) {
      least = (std::min)(least, std::abs(LU_(k, k)));
      largest = (std::max)(largest, std::abs(LU_(k, k)));
    }
    return least > static_cast<double>(LU_.rows()) * std::numeric_limits<double>::epsilon() * largest;
  }

  /// A⁻¹ B; not finite where a pivot is zero. 2 d² operations for each column.
  [[nodiscard]] ColumnMatrix solve(ColumnMatrix B) const {
    const Eigen::Index d = LU_.rows();
    for (Eigen::Index j = 0; j < B.cols(); ++j) {
      double* const b = B.data() + j * d;
      for (Eigen::Index k = 0; k < d; ++k) std::swap(b[k], b[rows_[static_cast<std::size_t>(k)]]);
      for (Eigen::Index k = 0; k < d; ++k) subtract_multiple(b + k + 1, b[k], &LU_(0, k) + k + 1, d - k - 1);
      for (Eigen::Index k = d; k-- > 0;) {
        b[k] /= LU_(k, k);
        subtract_multiple(b, b[k], &LU_(0, k), k);
      }
      for (Eigen::Index k = d; k-- > 0;) std::swap(b[k], b[columns_[static_cast<std::size_t>(k)]]);
    }
    return B;
  }

 private:
  ColumnMatrix LU_;                           // U, and below its diagonal L without its ones
  std::vector<Eigen::Index> rows_, columns_;  // with which the k-th was exchanged
};

/// A⁻¹ by LU with partial pivoting, d × d; of a singular matrix not finite, or large. O(d³).
[[nodiscard]] inline Eigen::MatrixXd inverse_of(const Eigen::MatrixXd& A) {
  return Elimination(A, false).solve(Eigen::MatrixXd::Identity(A.rows(), A.cols()));
}

/// A⁻¹ and A⁻¹ B by LU with complete pivoting, where A is invertible.
struct FullPivoting {
  bool invertible = false;
  double rcond = 0;  ///< 1 / (‖A‖₁ ‖A⁻¹‖₁)
  Eigen::MatrixXd inverse, solution;
};
[[nodiscard]] inline FullPivoting solve_fully(const Eigen::MatrixXd& A, const Eigen::MatrixXd& B) {
  const Elimination elimination(A, true);
  FullPivoting result;
  result.invertible = elimination.is_invertible();
  if (!result.invertible) return result;
  result.inverse = elimination.solve(Eigen::MatrixXd::Identity(A.rows(), A.cols()));
  result.solution = elimination.solve(B);
  const auto norm = [](const Eigen::MatrixXd& m) { return m.cwiseAbs().colwise().sum().maxCoeff(); };
  result.rcond = 1 / norm(A) / norm(result.inverse);
  return result;
}

/// The upper triangular R with RᵀR = A, symmetric and positive definite, and R⁻¹.
struct CholeskyFactor {
  Eigen::MatrixXd upper, inverse;
};

/// R column by column, from the upper triangle of A [GVL13, §4.2]. O(d³). What is not positive definite gives NaN.
[[nodiscard]] inline CholeskyFactor cholesky(const Eigen::MatrixXd& A) {
  const Eigen::Index d = A.rows();
  ColumnMatrix R = ColumnMatrix::Zero(d, d), inverse = R;
  for (Eigen::Index j = 0; j < d; ++j) {
    for (Eigen::Index i = 0; i < j; ++i) R(i, j) = (A(i, j) - inner_product(&R(0, i), &R(0, j), i)) / R(i, i);
    R(j, j) = std::sqrt(A(j, j) - inner_product(&R(0, j), &R(0, j), j));
    double* const x = &inverse(0, j);  // R x = eⱼ, upwards
    x[j] = 1;
    for (Eigen::Index k = j + 1; k-- > 0;) {
      x[k] /= R(k, k);
      subtract_multiple(x, x[k], &R(0, k), k);
    }
  }
  return {std::move(R), std::move(inverse)};
}

}}}  // namespace attnflow::detail
