/// \file
/// Products of matrices in double, by plain loops over columns, compiled once for all shapes.
///
/// For what is done a few times in a run. An Eigen product is compiled anew for every pair of expressions, blocked
/// and unblocked: a program that analyses had a third of its compile time from them.
#pragma once

#include <attnflow/detail/column_major.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Columns one after the other in memory, whatever order is Eigen's default.
using ColumnMatrix = ColumnMajor<double, Eigen::Dynamic, Eigen::Dynamic>;
/// The same to be read: a matrix, a vector, some columns of one, without a copy.
using ConstColumns = Eigen::Ref<const ColumnMatrix>;

/// y −= a x, for m numbers.
inline void subtract_multiple(double* y, double a, const double* x, Eigen::Index m) {
  Eigen::Map<Eigen::VectorXd>(y, m) -= a * Eigen::Map<const Eigen::VectorXd>(x, m);
}

/// ⟨x, y⟩, for m numbers.
[[nodiscard]] inline double inner_product(const double* x, const double* y, Eigen::Index m) {
  return Eigen::Map<const Eigen::VectorXd>(x, m).dot(Eigen::Map<const Eigen::VectorXd>(y, m));
}

/// A x, given the numbers of x.
[[nodiscard]] inline Eigen::VectorXd image_of(const ConstColumns& A, const double* x) {
  Eigen::VectorXd y = Eigen::VectorXd::Zero(A.rows());
  for (Eigen::Index k = 0; k < A.cols(); ++k)
    subtract_multiple(y.data(), -x[k], A.data() + k * A.outerStride(), A.rows());
  return y;
}

/// Aᵀ x.
[[nodiscard]] inline Eigen::VectorXd transposed_image(const ConstColumns& A, const double* x) {
  Eigen::VectorXd y(A.cols());
  for (Eigen::Index k = 0; k < A.cols(); ++k)
    y(k) = inner_product(A.data() + k * A.outerStride(), x, A.rows());
  return y;
}

/// A B.
[[nodiscard]] inline ColumnMatrix product_of(const ConstColumns& A, const ConstColumns& B) {
  eigen_assert(A.cols() == B.rows());
  ColumnMatrix C = ColumnMatrix::Zero(A.rows(), B.cols());
  for (Eigen::Index j = 0; j < B.cols(); ++j)
    for (Eigen::Index k = 0; k < A.cols(); ++k)
      subtract_multiple(C.data() + j * A.rows(), -B.data()[j * B.outerStride() + k],
                        A.data() + k * A.outerStride(), A.rows());
  return C;
}

/// Aᵀ B.
[[nodiscard]] inline ColumnMatrix transposed_product(const ConstColumns& A, const ConstColumns& B) {
  eigen_assert(A.rows() == B.rows());
  ColumnMatrix C(A.cols(), B.cols());
  for (Eigen::Index j = 0; j < B.cols(); ++j)
    for (Eigen::Index i = 0; i < A.cols(); ++i)
      C(i, j) = inner_product(A.data() + i * A.outerStride(), B.data() + j * B.outerStride(), A.rows());
  return C;
}

/// ‖x‖ without overflow or underflow of squares; NaN or ∞ where an entry is.
[[nodiscard]] inline double safe_norm(const ConstColumns& x) {
  double largest = 0, squares = 0;
  for (Eigen::Index j = 0; j < x.cols(); ++j)
    for (Eigen::Index i = 0; i < x.rows(); ++i) {
      const double size = std::abs(x(i, j));
      if (!std::isfinite(size)) return size;
      largest = (std::max)(largest, size);
    }
  if (largest == 0) return 0;
  const int exponent = std::ilogb(largest);
  for (Eigen::Index j = 0; j < x.cols(); ++j)
    for (Eigen::Index i = 0; i < x.rows(); ++i) {
      const double scaled = std::ldexp(x(i, j), -exponent);
      squares += scaled * scaled;
    }
  return std::ldexp(std::sqrt(squares), exponent);
}

}}}  // namespace attnflow::detail
