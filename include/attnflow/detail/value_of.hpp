/// \file
/// The number behind a scalar that carries more than a number.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/detail/column_major.hpp>

#include <Eigen/Core>

#include <concepts>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// A function value_of(s) found beside the scalar's type, in its namespace.
namespace beside_type {
template <class S>
concept HasValueOf = requires(const S& s) {
  value_of(s);
};
template <class S>
[[nodiscard]] decltype(auto) call(const S& s) {
  return value_of(s);
}
}  // namespace beside_type

/// The floating-point number that a real scalar stands for, by the first of these that there is: the scalar itself,
/// value_of(s) found beside its type, s.value() as Eigen::AutoDiffScalar has it (down to the number where they are
/// nested), or its conversion to double.
///
/// Whatever the library decides (which score is the largest, how long a step may be, whether something is finite) it
/// decides on this number. Derivatives follow, they decide nothing.
template <class S>
[[nodiscard]] constexpr std::floating_point auto value_of(const S& s) {
  if constexpr (std::floating_point<S>)
    return s;
  else if constexpr (beside_type::HasValueOf<S>)
    return detail::value_of(beside_type::call(s));
  else if constexpr (requires { s.value(); })
    return detail::value_of(s.value());
  else
    return static_cast<double>(s);
}

/// The type of that number.
template <class S>
using Value = decltype(value_of(std::declval<const S&>()));

/// The numbers of a matrix, in double.
template <class Derived>
[[nodiscard]] ColumnMajor<double, Derived::RowsAtCompileTime, Derived::ColsAtCompileTime> in_double(
    const Eigen::MatrixBase<Derived>& m) {
  using Scalar = typename Derived::Scalar;
  if constexpr (std::floating_point<Scalar>)
    return m.template cast<double>();
  else
    return m.unaryExpr([](const Scalar& s) { return static_cast<double>(value_of(s)); });
}

/// A matrix that several threads may read at once: itself, or for scalars that carry derivatives a copy, since
/// Eigen::AutoDiffScalar gives a constant, const or not, the size of the derivatives that it meets.
template <class Matrix>
[[nodiscard]] decltype(auto) private_copy(const Matrix& m) {
  if constexpr (std::floating_point<typename Matrix::Scalar>)
    return (m);
  else
    return Matrix(m);
}

/// A matrix without the derivatives that its entries carry.
template <class Matrix>
[[nodiscard]] Matrix without_derivatives(const Matrix& m) {
  using Scalar = typename Matrix::Scalar;
  if constexpr (std::floating_point<Scalar>)
    return m;
  else
    return m.unaryExpr([](const Scalar& s) { return static_cast<Scalar>(value_of(s)); });
}

}}}  // namespace attnflow::detail
