/// \file
/// The product of a square matrix with columns, compiled once for all shapes of a scalar type.
#pragma once

#include <attnflow/detail/column_major.hpp>

#include <Eigen/Core>

namespace attnflow::inline ATTNFLOW_ABI::detail {

/// y = a x for d × d and d × n matrices without padding. A general product costs more than it gives for few rows.
template <class Scalar>
void multiply(const Scalar* a, const Scalar* x, Scalar* y, Eigen::Index d, Eigen::Index n) {
  if (d > 8) {
    // A general product sums the columns beyond a multiple of four in another order. Fill up to one, so that equal
    // columns have equal products wherever they stand: equal tokens stay equal.
    using Matrix = ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
    const Eigen::Map<const Matrix> A(a, d, d);
    const Eigen::Index whole = n / 4 * 4, rest = n - whole;
    if (whole > 0) Eigen::Map<Matrix>(y, d, whole).noalias() = A * Eigen::Map<const Matrix>(x, d, whole);
    if (rest > 0) {
      static thread_local Matrix filled, products;
      filled.setZero(d, 4);
      filled.leftCols(rest) = Eigen::Map<const Matrix>(x + whole * d, d, rest);
      products.noalias() = A * filled;
      Eigen::Map<Matrix>(y + whole * d, d, rest) = products.leftCols(rest);
    }
    return;
  }
  for (Eigen::Index j = 0; j < n; ++j, x += d, y += d)
    for (Eigen::Index i = 0; i < d; ++i) {
      Scalar sum = a[i] * x[0];
      for (Eigen::Index k = 1; k < d; ++k) sum += a[i + k * d] * x[k];
      y[i] = sum;
    }
}

/// y = A x for a square A, y resized. \pre x and y are different objects.
template <class Scalar, int Dim, int Columns>
void multiply(const ColumnMajor<Scalar, Dim, Dim>& a, const ColumnMajor<Scalar, Dim, Columns>& x,
              ColumnMajor<Scalar, Dim, Columns>& y) {
  eigen_assert(&x != &y && a.cols() == x.rows());
  y.resize(x.rows(), x.cols());
  multiply(a.data(), x.data(), y.data(), x.rows(), x.cols());
}

/// A x, returned.
template <class Scalar, int Dim, int Columns>
[[nodiscard]] ColumnMajor<Scalar, Dim, Columns> product(const ColumnMajor<Scalar, Dim, Dim>& a,
                                                        const ColumnMajor<Scalar, Dim, Columns>& x) {
  ColumnMajor<Scalar, Dim, Columns> y;
  multiply(a, x, y);
  return y;
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
