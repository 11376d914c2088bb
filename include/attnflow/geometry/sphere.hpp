/// \file
/// The unit sphere: lengths, tangent vectors, tokens on an arc.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/geometry/generic_columns.hpp>
#include <attnflow/simd/portable.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>

#if defined(__GNUC__) && defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace attnflow { inline namespace ATTNFLOW_ABI {

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
  return squares > (Limits::min)() / (Limits::epsilon() * Limits::epsilon()) && squares <= (Limits::max)();
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

/// As many tokens of few coordinates as a pack has places, coordinate k of all of them in one pack. A column
/// at a time, such tokens would leave most of a vector register empty.
template <class Scalar, int Dim>
struct TokenPack {
  using S = portable::Simd<Scalar>;
  using Pack = typename S::Pack;
  static constexpr int width = S::width;
  using Lanes = std::array<Scalar, static_cast<std::size_t>(width)>;
  static constexpr bool pays = Dim > 0 && Dim <= 4 && width > 1;

  Pack at[static_cast<std::size_t>(Dim > 0 ? Dim : 1)];

  void load(const Scalar* p) {
    for (int k = 0; k < Dim; ++k)
      if constexpr (width == 4)
        at[k] = Pack{p[k], p[k + Dim], p[k + 2 * Dim], p[k + 3 * Dim]};
      else if constexpr (width == 2)
        at[k] = Pack{p[k], p[k + Dim]};
      else
        at[k] = S::all(p[k]);
  }
  void store(Scalar* p) const {
    for (int k = 0; k < Dim; ++k) {
      const Lanes lanes = lanes_of(at[k]);
      for (int w = 0; w < width; ++w) p[w * Dim + k] = lanes[static_cast<std::size_t>(w)];
    }
  }
  [[nodiscard]] Pack dot(const TokenPack& other) const {
    Pack sum = at[0] * other.at[0];
    for (int k = 1; k < Dim; ++k) sum = S::fma(at[k], other.at[k], sum);
    return sum;
  }

  static Lanes lanes_of(const Pack& pack) {
    Lanes lanes;
    S::store(lanes.data(), pack);
    return lanes;
  }
  /// is_ordinary, in each place.
  static typename S::Mask ordinary(const Pack& squares) {
    using Limits = std::numeric_limits<Scalar>;
    return S::both(S::greater(squares, S::all((Limits::min)() / (Limits::epsilon() * Limits::epsilon()))),
                   S::greater(S::all((Limits::max)()), squares));
  }
  static bool all(const typename S::Mask& mask) {
    return !S::any(S::greater(S::select(mask, S::all(0), S::all(1)), S::all(0)));
  }
  static Pack root(const Pack& squares) {
#if defined(__GNUC__) && defined(__SSE2__)
    if constexpr (width == 4)
      return _mm_sqrt_ps(squares);
    else
      return _mm_sqrt_pd(squares);
#else
    Lanes lanes = lanes_of(squares);
    for (Scalar& lane : lanes) lane = std::sqrt(lane);
    return S::load(lanes.data());
#endif
  }

  /// Scales a pack of tokens to length one and writes the lengths they had, see sphere::normalize.
  /// \returns whether all had length one.
  static bool normalize(Scalar* p, Scalar* lengths) {
    TokenPack x;
    x.load(p);
    const Pack squares = x.dot(x), one = S::all(1);
    // A sum of squares near one is a multiple of ε/2: below (d + 4¼) ε is up to (d + 4) ε.
    const auto bound = (static_cast<Scalar>(Dim) + Scalar(4.25)) * std::numeric_limits<Scalar>::epsilon();
    const typename S::Mask unit = S::greater(S::all(bound), S::magnitude(squares - one));
    if (all(unit)) {
      S::store(lengths, one);
      return true;
    }
    const Pack length = S::select(unit, one, root(squares)), inverse = one / length;
    const typename S::Mask usual = ordinary(squares);
    S::store(lengths, length);
    if (all(usual)) {
      for (Pack& coordinate : x.at) coordinate = coordinate * inverse;
      x.store(p);
      return false;
    }
    const Lanes fine = lanes_of(S::select(usual, one, S::all(0))), scale = lanes_of(inverse);
    for (int w = 0; w < width; ++w) {
      Eigen::Map<Eigen::Matrix<Scalar, Dim, 1>> column(p + w * Dim);
      if (fine[static_cast<std::size_t>(w)] != Scalar(0))
        column *= scale[static_cast<std::size_t>(w)];
      else
        lengths[w] = normalize_extreme(column);
    }
    return false;
  }

  /// Projects a pack of vectors, see sphere::project_tangent.
  static void project(const Scalar* tokens, Scalar* vectors) {
    TokenPack x, y;
    x.load(tokens);
    y.load(vectors);
    const Pack squares = x.dot(x);
    typename S::Mask usual = ordinary(squares);
    for (int pass = 0; pass < 2; ++pass) {
      const Pack share = x.dot(y) / squares;  // 1 to the last bit where the two are equal
      usual = S::both(usual, S::greater(S::all((std::numeric_limits<Scalar>::max)()), S::magnitude(share)));
      for (int k = 0; k < Dim; ++k) y.at[k] = y.at[k] - share * x.at[k];
    }
    if (all(usual)) {
      y.store(vectors);
      return;
    }
    const Lanes fine = lanes_of(S::select(usual, S::all(1), S::all(0)));
    std::array<Scalar, static_cast<std::size_t>(width) * static_cast<std::size_t>(Dim)> projected;
    y.store(projected.data());
    for (int w = 0; w < width; ++w) {
      const Eigen::Map<const Eigen::Matrix<Scalar, Dim, 1>> column(tokens + w * Dim);
      Eigen::Map<Eigen::Matrix<Scalar, Dim, 1>> vector(vectors + w * Dim);
      if (fine[static_cast<std::size_t>(w)] != Scalar(0))
        vector = Eigen::Map<const Eigen::Matrix<Scalar, Dim, 1>>(projected.data() + w * Dim);
      else
        project_extreme(column, vector);
    }
  }
};

/// Whether tokens are taken several at a time.
template <RealScalar Scalar, int Dim>
[[nodiscard]] constexpr bool packs_pay() {
  if constexpr (KernelScalar<Scalar>)
    return TokenPack<Scalar, Dim>::pays;
  else
    return false;
}

/// sphere::project_tangent, for tokens and vectors in memory of any kind.
template <RealScalar Scalar, int Dim, class X, class Y>
void project_columns(const X& x, Y& y) {
  eigen_assert(x.rows() == y.rows() && x.cols() == y.cols());
  if constexpr (!KernelScalar<Scalar>) {
    for (Eigen::Index i = 0; i < x.cols(); ++i)
      project_generic_column(x.data() + i * x.rows(), y.data() + i * x.rows(), x.rows());
  } else {
    using Pack = TokenPack<Scalar, Dim>;
    if constexpr (Pack::pays) {
      constexpr Eigen::Index width = Pack::width;
      const Eigen::Index n = x.cols();
      Eigen::Index i = 0;
      for (; i + width <= n; i += width) Pack::project(x.data() + i * Dim, y.data() + i * Dim);
      if (i < n) {  // the rest, with usual numbers in the empty places
        detail::ColumnMajor<Scalar, Dim, Pack::width> tokens, vectors;
        tokens.setOnes();
        vectors.setZero();
        tokens.leftCols(n - i) = x.rightCols(n - i);
        vectors.leftCols(n - i) = y.rightCols(n - i);
        Pack::project(tokens.data(), vectors.data());
        y.rightCols(n - i) = vectors.leftCols(n - i);
      }
      return;
    }
    for (Eigen::Index i = 0; i < x.cols(); ++i) {
      const auto token = x.col(i);
      auto vector = y.col(i);
      const Scalar squares = token.squaredNorm();
      const bool ordinary = is_ordinary(squares);
      for (int pass = 0; pass < 2; ++pass) {
        const Scalar share = token.dot(vector) / squares;  // 1 to the last bit where the two are equal
        if (!ordinary || !std::isfinite(share)) {
          project_extreme(token, vector);
          break;
        }
        vector -= share * token;
      }
    }
  }
}

}  // namespace detail

/// The unit sphere of ℝᵈ: what systems and steppers on it are made of.
namespace sphere {

/// Scales token i to length one and returns the length it had.
///
/// A token that has length one up to roundings, |‖x‖² − 1| ≤ (d + 4) ε, is left as it is and 1 is returned:
/// what was normalised once is never touched again. The length of a token at the origin is 0 and of one that
/// is not finite NaN; both are left as they are. No intermediate result overflows. O(d).
///
/// A scalar that carries derivatives is divided by its length in any case: so the derivatives become tangent.
template <RealScalar Scalar, int Dim>
Scalar normalize(Tokens<Scalar, Dim>& x, Eigen::Index i) {
  if constexpr (!KernelScalar<Scalar>) {
    return detail::normalize_generic_column(x.data() + i * x.rows(), x.rows());
  } else {
    auto column = x.col(i);
    const Scalar squares = column.squaredNorm();
    if (detail::is_unit(squares, x.rows())) return 1;
    if (!detail::is_ordinary(squares)) return detail::normalize_extreme(column);
    const Scalar length = std::sqrt(squares);
    column *= 1 / length;
    return length;
  }
}

/// Scales every token to length one, as above: the nearest point of the sphere. O(n d).
/// \param lengths  the lengths that the tokens had, resized to n.
/// \returns whether all had length one, up to roundings: then x is as it was.
template <RealScalar Scalar, int Dim>
bool normalize(Tokens<Scalar, Dim>& x, Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& lengths) {
  const Eigen::Index n = x.cols();
  lengths.resize(n);
  bool unit = true;
  if constexpr (detail::packs_pay<Scalar, Dim>()) {
    using Pack = detail::TokenPack<Scalar, Dim>;
    constexpr Eigen::Index width = Pack::width;
    Eigen::Index i = 0;
    for (; i + width <= n; i += width) unit = Pack::normalize(x.data() + i * Dim, lengths.data() + i) && unit;
    if (i < n) {  // the rest, with the first basis vector in the empty places
      detail::ColumnMajor<Scalar, Dim, Pack::width> rest;
      rest.colwise() = Eigen::Matrix<Scalar, Dim, 1>::Unit(0);
      rest.leftCols(n - i) = x.rightCols(n - i);
      std::array<Scalar, static_cast<std::size_t>(width)> theirs;
      unit = Pack::normalize(rest.data(), theirs.data()) && unit;
      x.rightCols(n - i) = rest.leftCols(n - i);
      std::copy_n(theirs.data(), n - i, lengths.data() + i);
    }
  } else {
    for (Eigen::Index i = 0; i < n; ++i) {
      lengths(i) = normalize(x, i);
      unit = unit && std::floating_point<Scalar> && lengths(i) == Scalar(1);
    }
  }
  return unit;
}
/// The same where nobody asks for the lengths. O(n d).
template <RealScalar Scalar, int Dim>
void normalize(Tokens<Scalar, Dim>& x) {
  static constinit thread_local detail::Scratch<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> lengths;
  normalize(x, *lengths);
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
  detail::project_columns<Scalar, Dim>(x, y);
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

}}  // namespace attnflow
