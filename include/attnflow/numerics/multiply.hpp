/// \file
/// The product of a matrix with columns, compiled once for all shapes of a scalar type.
#pragma once

#include <attnflow/detail/column_major.hpp>
#include <attnflow/detail/scratch.hpp>

#include <Eigen/Core>

#include <algorithm>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Up to so many rows a general product costs more than it gives.
inline constexpr Eigen::Index few_rows = 8;

/// y = a x for m × d and d × n matrices without padding, by a general product.
template <class Scalar>
void multiply_many_rows(const Scalar* a, const Scalar* x, Scalar* y, Eigen::Index m, Eigen::Index d,
                        Eigen::Index n) {
  // A general product sums the columns beyond a multiple of four in another order. Fill up to one, so that equal
  // columns have equal products wherever they stand: equal tokens stay equal.
  using Matrix = ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  const auto multiply_whole = [&](const Scalar* from, Scalar* to, Eigen::Index columns) {
    const Eigen::Map<const Matrix> A(a, m, d),
        X(from, d, columns);  // one kind of product: it takes long to compile
    Eigen::Map<Matrix>(to, m, columns).noalias() = A * X;
  };
  const Eigen::Index whole = n / 4 * 4, rest = n - whole;
  if (whole > 0) multiply_whole(x, y, whole);
  if (rest == 0) return;
  static constinit thread_local Scratch<Matrix> kept_filled, kept_products;
  Matrix &filled = *kept_filled, &products = *kept_products;
  filled.setZero(d, 4);
  products.resize(m, 4);
  std::copy_n(x + whole * d, rest * d, filled.data());
  multiply_whole(filled.data(), products.data(), 4);
  std::copy_n(products.data(), rest * m, y + whole * m);
}

/// The same by a plain loop. Every product becomes a Scalar before it is added, see multiply_entries.
template <class Scalar>
void multiply_few_rows(const Scalar* a, const Scalar* x, Scalar* y, Eigen::Index m, Eigen::Index d,
                       Eigen::Index n) {
  for (Eigen::Index j = 0; j < n; ++j, x += d, y += m)
    for (Eigen::Index i = 0; i < m; ++i) {
      Scalar sum = a[i] * x[0];
      for (Eigen::Index k = 1; k < d; ++k) {
        const Scalar term = a[i + k * m] * x[k];
        sum += term;
      }
      y[i] = sum;
    }
}

/// For m = d, by the better way. Where d is known to be at most `Most`, and that is few, only one is compiled.
template <int Most = Eigen::Dynamic, class Scalar>
void multiply(const Scalar* a, const Scalar* x, Scalar* y, Eigen::Index d, Eigen::Index n) {
  if constexpr (Most == Eigen::Dynamic || Most > few_rows)
    if (d > few_rows) return multiply_many_rows(a, x, y, d, d, n);
  multiply_few_rows(a, x, y, d, d, n);
}

/// y = A x for a square A, y resized. \pre x and y are different objects.
template <class Scalar, int Dim, int Columns>
void multiply(const ColumnMajor<Scalar, Dim, Dim>& a, const ColumnMajor<Scalar, Dim, Columns>& x,
              ColumnMajor<Scalar, Dim, Columns>& y) {
  eigen_assert(&x != &y && a.cols() == x.rows());
  y.resize(x.rows(), x.cols());
  multiply<Dim>(a.data(), x.data(), y.data(), x.rows(), x.cols());
}

/// A x, returned.
template <class Scalar, int Dim, int Columns>
[[nodiscard]] ColumnMajor<Scalar, Dim, Columns> product(const ColumnMajor<Scalar, Dim, Dim>& a,
                                                        const ColumnMajor<Scalar, Dim, Columns>& x) {
  ColumnMajor<Scalar, Dim, Columns> y;
  multiply(a, x, y);
  return y;
}

}}}  // namespace attnflow::detail
