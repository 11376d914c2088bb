/// \file
/// A matrix whose size is kept apart as a logarithm, so that products and powers never overflow.
#pragma once

#include <attnflow/detail/value_of.hpp>
#include <attnflow/numerics/multiply.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <numbers>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// e^{log_scale} · matrix, with the entries of `matrix` at most 2 in absolute value (all zero for
/// the zero matrix). log_scale stays finite: it is clamped to ±10³⁰⁰.
template <int Dim = Eigen::Dynamic>
struct ScaledMatrix {
  /// d × d.
  using Matrix = detail::ColumnMajor<double, Dim, Dim>;
  /// The matrix without its size.
  Matrix matrix;
  /// The logarithm of the factor.
  double log_scale = 0;

  /// The scaled form of a finite matrix.
  [[nodiscard]] static ScaledMatrix of(Matrix m) {
    ScaledMatrix scaled{std::move(m), 0};
    scaled.normalize();
    return scaled;
  }

  /// The identity of size d.
  [[nodiscard]] static ScaledMatrix identity(Eigen::Index d) { return {Matrix::Identity(d, d), 0}; }

  /// Moves a power of two from the matrix to the logarithm: exact but for denormal entries.
  void normalize();

  /// Squares the matrix it stands for. Cost: one product, O(d³).
  void square() {
    matrix = detail::product(matrix, matrix);
    log_scale = clamp_log(2 * log_scale);
    normalize();
  }

  /// Multiplies by another scaled matrix from the left.
  void premultiply(const ScaledMatrix& left) {
    matrix = detail::product(left.matrix, matrix);
    log_scale = clamp_log(log_scale + left.log_scale);
    normalize();
  }

  /// The plain matrix; entries may overflow to ±∞ or underflow to zero, none is NaN.
  [[nodiscard]] Matrix plain() const {
    const double half = (std::min)(std::exp(0.5 * log_scale), (std::numeric_limits<double>::max)());
    return (matrix * half) * half;
  }

  /// Keeps sums of logarithms away from ∞ − ∞.
  [[nodiscard]] static double clamp_log(double log) noexcept { return std::clamp(log, -1e300, 1e300); }
};

namespace detail {

/// The power of two e with 2^e ≤ |value| < 2^{e+1}; zero for zero and for what is not finite.
template <std::floating_point T>
[[nodiscard]] inline int exponent_of(T value) noexcept {
  return value == T(0) || !std::isfinite(value) ? 0 : std::ilogb(value);
}

/// m · 2^exponent, without an overflow on the way.
template <class Derived>
inline void scale_by_power_of_two(Eigen::MatrixBase<Derived>& m, int exponent) {
  using Scalar = typename Derived::Scalar;
  const int half = exponent / 2;  // two factors: 2^1100 itself is not a double
  m *= static_cast<Scalar>(std::ldexp(Value<Scalar>(1), half));
  m *= static_cast<Scalar>(std::ldexp(Value<Scalar>(1), exponent - half));
}

}  // namespace detail

template <int Dim>
void ScaledMatrix<Dim>::normalize() {
  if (matrix.size() == 0) return;
  const int exponent = detail::exponent_of(matrix.cwiseAbs().maxCoeff());
  if (exponent == 0) return;
  detail::scale_by_power_of_two(matrix, -exponent);
  log_scale = clamp_log(log_scale + exponent * std::numbers::ln2);
}

}}  // namespace attnflow
