/// \file
/// The unit sphere: lengths, tangent vectors, tokens on an arc.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow::inline ATTNFLOW_ABI {

namespace detail {

/// Whether a sum of squares is that of a unit token of d coordinates, up to roundings: dividing a token by
/// its length leaves |‖x‖² − 1| ≤ (d + 3) ε as it is computed.
template <class Scalar>
[[nodiscard]] bool is_unit(Scalar squares, Eigen::Index d) noexcept {
  return std::abs(squares - 1) <= static_cast<Scalar>(d + 4) * std::numeric_limits<Scalar>::epsilon();
}

/// Whether a sum of squares has neither overflowed nor lost its small terms.
template <class Scalar>
[[nodiscard]] bool is_ordinary(Scalar squares) noexcept {
  using Limits = std::numeric_limits<Scalar>;
  return squares > Limits::min() / (Limits::epsilon() * Limits::epsilon()) && squares <= Limits::max();
}

/// normalize for one token whose squares overflow or underflow.
template <class Column>
typename Column::Scalar normalize_extreme(Column& x) {
  using Scalar = typename Column::Scalar;
  if (!x.allFinite()) return std::numeric_limits<Scalar>::quiet_NaN();
  const Scalar largest = x.cwiseAbs().maxCoeff();
  if (largest == 0) return 0;
  x /= largest;
  const Scalar length = std::sqrt(x.squaredNorm());
  x /= length;
  return largest * length;  // may be ∞, or lose bits below the normal range; the direction is right
}

/// project_tangent for one token where squares or products leave the range of Scalar.
template <class Column, class Vector>
void project_extreme(const Column& x, Vector& y) {
  using Scalar = typename Column::Scalar;
  Eigen::Matrix<Scalar, Column::RowsAtCompileTime, 1> direction = x;
  const Scalar largest = y.cwiseAbs().maxCoeff();
  if (!(normalize_extreme(direction) > 0) || !y.allFinite() || largest == 0) return;
  y /= largest;
  for (int pass = 0; pass < 2; ++pass) y -= direction.dot(y) * direction;
  y *= largest;
}

}  // namespace detail

namespace sphere {

/// Scales token i to length one and returns the length it had.
///
/// A token that has length one up to roundings, |‖x‖² − 1| ≤ (d + 4) ε, is left as it is and 1 is returned:
/// what was normalised once is never touched again. The length of a token at the origin is 0 and of one that
/// is not finite NaN; both are left as they are. No intermediate result overflows. O(d).
template <RealScalar Scalar, int Dim>
Scalar normalize(Tokens<Scalar, Dim>& x, Eigen::Index i) {
  auto column = x.col(i);
  const Scalar squares = column.squaredNorm();
  if (detail::is_unit(squares, x.rows())) return 1;
  if (!detail::is_ordinary(squares)) return detail::normalize_extreme(column);
  const Scalar length = std::sqrt(squares);
  column *= 1 / length;
  return length;
}

/// Scales every token to length one, as above: the nearest point of the sphere. O(n d).
template <RealScalar Scalar, int Dim>
void normalize(Tokens<Scalar, Dim>& x) {
  for (Eigen::Index i = 0; i < x.cols(); ++i) normalize(x, i);
}

/// Replaces each column of y by its component orthogonal to the token,
///
///     P(xᵢ) yᵢ = yᵢ − (⟨xᵢ, yᵢ⟩ / ‖xᵢ‖²) xᵢ.
///
/// On the unit sphere this is the tangent projection y − ⟨x, y⟩ x of [GLPR25]. Dividing by ‖x‖² makes it
/// orthogonal to x at any length: a drift so projected neither draws tokens to the sphere nor drives them
/// away, where the formula without it does the latter, at the rate −2⟨x, y⟩, when y points inwards.
///
/// It is done twice: the first pass leaves ⟨x, P y⟩ of the size ε ‖y‖, which near a consensus is not small
/// against P y, the second makes it ε ‖P y‖ [GLR05]. A token at the origin has no tangent and leaves y as it
/// is. Finite x and y give a finite result unless ‖yᵢ‖ itself overflows. O(n d).
/// \pre x and y are different objects of the same shape.
template <RealScalar Scalar, int Dim>
void project_tangent(const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& y) {
  eigen_assert(x.rows() == y.rows() && x.cols() == y.cols());
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    const auto token = x.col(i);
    auto vector = y.col(i);
    const Scalar squares = token.squaredNorm();
    const bool ordinary = detail::is_ordinary(squares);
    for (int pass = 0; pass < 2; ++pass) {
      const Scalar share = token.dot(vector) / squares;  // 1 to the last bit where the two are equal
      if (!ordinary || !std::isfinite(share)) {
        detail::project_extreme(token, vector);
        break;
      }
      vector -= share * token;
    }
  }
}

/// n tokens on the unit circle at equally spaced angles from `from` to `to`, both included; one token: at
/// `from`.
/// \throws std::invalid_argument unless n ≥ 0 and both angles are finite.
template <RealScalar Scalar = double>
[[nodiscard]] Tokens<Scalar, 2> arc(Eigen::Index n, double from, double to) {
  if (n < 0) detail::refuse("sphere::arc: n is ", n, ", expected at least 0");
  if (!std::isfinite(from)) detail::refuse("sphere::arc: from is ", from, ", expected a finite angle");
  if (!std::isfinite(to)) detail::refuse("sphere::arc: to is ", to, ", expected a finite angle");
  Tokens<Scalar, 2> x(2, n);
  for (Eigen::Index i = 0; i < n; ++i) {
    const double share = n > 1 ? static_cast<double>(i) / static_cast<double>(n - 1) : 0;
    const double angle = from * (1 - share) + to * share;
    x.col(i) << static_cast<Scalar>(std::cos(angle)), static_cast<Scalar>(std::sin(angle));
  }
  return x;
}

}  // namespace sphere

}  // namespace attnflow::inline ATTNFLOW_ABI
