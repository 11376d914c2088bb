/// \file
/// Where tokens start: random laws whose draws are the same on every platform, and regular figures.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <numbers>
#include <random>
#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The usual generator: the C++ standard fixes every integer it yields.
using Generator = std::mt19937_64;

/// A generator whose integers fill 64 bits, as those of std::mt19937_64 do.
template <class G>
concept BitGenerator64 = std::uniform_random_bit_generator<G> &&((G::min)() == 0) &&
                         ((G::max)() == (std::numeric_limits<std::uint64_t>::max)());

namespace detail {

/// Refuses a shape that Tokens<Scalar, Dim> cannot have.
template <int Dim>
void validate_start(const char* function, Eigen::Index n, Eigen::Index d) {
  if (n < 0) refuse(function, ": n is ", n, ", expected at least 0");
  if (d < 1) refuse(function, ": d is ", d, ", expected at least 1");
  if (Dim != Eigen::Dynamic && d != Dim)
    refuse(function, ": d is ", d, ", expected ", Dim, ", the dimension of the type");
}

/// (u >> 11) 2⁻⁵³, exact and in [0, 1).
template <BitGenerator64 G>
[[nodiscard]] double draw_unit(G& generator) {
  return static_cast<double>(static_cast<std::uint64_t>(generator()) >> 11) * 0x1p-53;
}

/// √(−2 log u) cos(2πv) with u in (0, 1], so that the logarithm is finite, and v in [0, 1). Two
/// integers, u's first. No sum has a product as a term, so fused arithmetic changes nothing.
template <BitGenerator64 G>
[[nodiscard]] double draw_normal(G& generator) {
  const double u = 1 - draw_unit(generator);
  const double v = draw_unit(generator);
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

}  // namespace detail

/// n independent tokens, uniform in the box [low, high]^d:
///
///     xₖᵢ = low + (high − low) u,   u = (integer >> 11) 2⁻⁵³ in [0, 1).
///
/// Token after token, coordinate after coordinate, one integer each; so the first tokens of a large
/// draw are those of a small one. Computed in double by one fused multiply-add, then rounded to
/// Scalar: the same bits on every platform. Rounding may yield `high` itself. O(n d).
/// \throws std::invalid_argument unless n ≥ 0, d ≥ 1 (d = Dim where that is fixed), low ≤ high, both
/// are finite as Scalar and high − low is finite as a double.
template <std::floating_point Scalar = double, int Dim = Eigen::Dynamic, BitGenerator64 G>
[[nodiscard]] Tokens<Scalar, Dim> uniform_box(G& generator, Eigen::Index n, Eigen::Index d, double low,
                                              double high) {
  detail::validate_start<Dim>("uniform_box", n, d);
  constexpr double largest = static_cast<double>((std::numeric_limits<Scalar>::max)());
  if (!(std::abs(low) <= largest)) detail::refuse("uniform_box: low is ", low, ", expected a finite number");
  if (!(std::abs(high) <= largest))
    detail::refuse("uniform_box: high is ", high, ", expected a finite number");
  if (low > high) detail::refuse("uniform_box: high is ", high, ", expected at least low = ", low);
  const double width = high - low;
  if (!std::isfinite(width))
    detail::refuse("uniform_box: high - low is ", width, ", expected a finite width, from low = ", low,
                   " to high = ", high);
  Tokens<Scalar, Dim> x(d, n);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index k = 0; k < d; ++k)
      x(k, i) = static_cast<Scalar>(std::fma(width, detail::draw_unit(generator), low));
  return x;
}

/// n independent Gaussian tokens of mean 0 and covariance σ² I, by Box and Muller [BM58]:
///
///     xₖᵢ = σ √(−2 log u) cos(2πv),   u in (0, 1], v in [0, 1).
///
/// Each coordinate takes two integers, u's then v's, and the sine is never used: nothing is kept from
/// one call to the next, an odd number of normals leaves none over, and the first tokens of a large
/// draw are those of a small one. |xₖᵢ| ≤ 8.6 σ. Computed in double, 2πv rounded before its cosine, then
/// rounded to Scalar. For σ = 1 two platforms agree within 4 units in the last place if log and cos of both
/// are faithful (an error under one unit). O(n d).
/// \throws std::invalid_argument unless n ≥ 0, d ≥ 1 (d = Dim where that is fixed) and
/// 0 ≤ σ ≤ (largest Scalar)/16.
template <std::floating_point Scalar = double, int Dim = Eigen::Dynamic, BitGenerator64 G>
[[nodiscard]] Tokens<Scalar, Dim> gaussian(G& generator, Eigen::Index n, Eigen::Index d, double sigma = 1) {
  detail::validate_start<Dim>("gaussian", n, d);
  constexpr double largest = static_cast<double>((std::numeric_limits<Scalar>::max)()) / 16;
  if (!(sigma >= 0 && sigma <= largest))
    detail::refuse("gaussian: sigma is ", sigma, ", expected a number from 0 to ", largest);
  Tokens<Scalar, Dim> x(d, n);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index k = 0; k < d; ++k)
      x(k, i) = static_cast<Scalar>(sigma * detail::draw_normal(generator));
  return x;
}

/// n independent tokens, uniform on the unit sphere of R^d: xᵢ = gᵢ / ‖gᵢ‖ with gᵢ Gaussian [Mul59].
///
/// The gᵢ are those of `gaussian`, two integers a coordinate. Should all coordinates of gᵢ vanish
/// (probability 2^(−53 d)), xᵢ is the first basis vector. ‖gᵢ‖² is summed in order by fused
/// multiply-adds in double, and the quotient rounded to Scalar; two platforms agree as they do in `gaussian`,
/// within (10 + d/2) ε. O(n d) time, O(d) scratch.
/// \throws std::invalid_argument unless n ≥ 0 and d ≥ 1 (d = Dim where that is fixed).
template <std::floating_point Scalar = double, int Dim = Eigen::Dynamic, BitGenerator64 G>
[[nodiscard]] Tokens<Scalar, Dim> uniform_sphere(G& generator, Eigen::Index n, Eigen::Index d) {
  detail::validate_start<Dim>("uniform_sphere", n, d);
  Tokens<Scalar, Dim> x(d, n);
  Eigen::Matrix<double, Dim, 1> g(d);
  for (Eigen::Index i = 0; i < n; ++i) {
    double squares = 0;  // a coordinate that is not zero exceeds 1e-25: no square underflows
    for (Eigen::Index k = 0; k < d; ++k) {
      g(k) = detail::draw_normal(generator);
      squares = std::fma(g(k), g(k), squares);
    }
    if (squares == 0) {
      g(0) = 1;
      squares = 1;
    }
    const double norm = std::sqrt(squares);
    for (Eigen::Index k = 0; k < d; ++k) x(k, i) = static_cast<Scalar>(g(k) / norm);
  }
  return x;
}

/// n unit tokens with ⟨xᵢ, xⱼ⟩ = c for all i ≠ j. Such tokens exist for −1/(n−1) ≤ c ≤ 1.
///
/// The columns of the transposed Cholesky factor of the Gram matrix (1 − c) I + c 𝟙𝟙ᵀ: with
/// s_k = 1 + k c, token i (from 0) has the coordinates
///
///     a_k = c √((1 − c) / (s_{k−1} s_k)) for k < i,   b_i = √((1 − c) s_i / s_{i−1}),   then zeros
///
/// (a_0 = c, b_0 = 1). They span n dimensions; n − 1 if c = −1/(n−1), the regular simplex, recognised
/// within 2⁻⁵² of (n−1) c; one if c = 1, where all are equal. No randomness. O(n d).
/// \throws std::invalid_argument unless n ≥ 0, d ≥ 1 (d = Dim where that is fixed), c is in its range
/// and d is at least the number of dimensions spanned.
template <std::floating_point Scalar = double, int Dim = Eigen::Dynamic>
[[nodiscard]] Tokens<Scalar, Dim> equiangular(Eigen::Index n, Eigen::Index d, double inner_product) {
  detail::validate_start<Dim>("equiangular", n, d);
  const double c = inner_product;
  const auto s = [c](Eigen::Index k) { return std::fma(static_cast<double>(k), c, 1.0); };
  constexpr double roundoff = 0x1p-52;
  if (!(std::abs(c) <= 1) || (n > 1 && s(n - 1) < -roundoff)) {
    const double lowest = n > 1 ? -1 / static_cast<double>(n - 1) : -1;
    detail::refuse("equiangular: inner_product is ", c, ", expected a number from ", lowest,
                   n > 1 ? " = -1/(n-1)" : "", " to 1");
  }
  const bool simplex = n > 1 && s(n - 1) <= roundoff;
  const Eigen::Index spanned = c == 1 ? 1 : simplex ? n - 1 : n;
  if (d < spanned)
    detail::refuse("equiangular: d is ", d, ", expected at least ", spanned, " for n = ", n,
                   " tokens with inner products ", c);
  Tokens<Scalar, Dim> x = Tokens<Scalar, Dim>::Zero(d, n);
  for (Eigen::Index k = 0; k < n && k < spanned; ++k) {
    const double own = k == 0 ? 1 : std::sqrt((1 - c) * s(k) / s(k - 1));
    x(k, k) = static_cast<Scalar>(own);
    if (k + 1 == n) break;
    const double shared = k == 0 ? c : c * std::sqrt((1 - c) / (s(k - 1) * s(k)));
    for (Eigen::Index i = k + 1; i < n; ++i) x(k, i) = static_cast<Scalar>(shared);
  }
  return x;
}

/// Tokens written out, one row for each: tokens_from_rows({{0, 1}, {2, 3}, {4, 5}}) is d × n = 2 × 3.
/// No rows at all give n = 0, with d = Dim, or d = 0 where that is dynamic.
/// \throws std::invalid_argument naming the row, unless all are equally long (d ≥ 1, d = Dim where that
/// is fixed) and every number is finite.
template <std::floating_point Scalar = double, int Dim = Eigen::Dynamic>
[[nodiscard]] Tokens<Scalar, Dim> tokens_from_rows(
    std::initializer_list<std::initializer_list<std::type_identity_t<Scalar>>> rows) {
  const Eigen::Index n = static_cast<Eigen::Index>(rows.size());
  const Eigen::Index d = Dim != Eigen::Dynamic ? Dim
                         : n > 0               ? static_cast<Eigen::Index>(rows.begin()->size())
                                               : 0;
  Tokens<Scalar, Dim> x(d, n);
  Eigen::Index i = 0;
  for (const auto& row : rows) {
    if (static_cast<Eigen::Index>(row.size()) != d || d < 1)
      detail::refuse("tokens_from_rows: row ", i, " has ", row.size(), " numbers, expected ",
                     d < 1 ? "at least " : "", d < 1 ? Eigen::Index{1} : d);
    Eigen::Index k = 0;
    for (const Scalar value : row) {
      if (!std::isfinite(value))
        detail::refuse("tokens_from_rows: number ", k, " of row ", i, " is ", value,
                       ", expected a finite number");
      x(k++, i) = value;
    }
    ++i;
  }
  return x;
}

}}  // namespace attnflow
