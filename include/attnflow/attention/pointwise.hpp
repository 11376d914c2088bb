/// \file
/// Functions of one score, for weight laws: they become vector instructions.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/abi.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/simd/exp2.hpp>
#include <attnflow/types.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace pointwise {

/// max(s, 0).
template <class S>
[[nodiscard]] S positive_part(const S& s) {
  return detail::value_of(s) > 0 ? s : S(0);
}

/// e^s, with a relative error of some ε (1 + |s|). Below the range of the scalar it is some number between 0 and the smallest
/// normal one, above the range ∞. For float and double there is neither a call nor a branch. For other scalars it is the exp
/// that is found for them, with derivatives that are zero where e^s is.
template <class S>
[[nodiscard]] inline S exp(const S& s) {
  if constexpr (KernelScalar<S>) {
    using E = detail::Exp2<S>;
    using Bits = std::conditional_t<std::is_same_v<S, double>, std::uint64_t, std::uint32_t>;
    // 2^x is exactly 0 at the lower of these and ∞ at the upper. Written so that a NaN stays one.
    constexpr S lowest = E::lowest - 1, highest = std::numeric_limits<S>::max_exponent;
    const S wanted = s * static_cast<S>(std::numbers::log2e), above = lowest > wanted ? lowest : wanted,
            x = highest < above ? highest : above;
    const S shifted = x + E::magic;  // its low bits hold x, rounded to a whole number
    const S r = x - (shifted - E::magic);
    constexpr int degree = static_cast<int>(sizeof(E::whole) / sizeof(S)) - 1;
    S q = E::whole[degree];
#if defined(__GNUC__)
#pragma GCC unroll 16
#endif
    for (int k = degree - 1; k >= 0; --k) q = q * r + E::whole[k];
    return std::bit_cast<S>(static_cast<Bits>(std::bit_cast<Bits>(q * r + S(1)) +
                                              (std::bit_cast<Bits>(shifted) << E::mantissa_bits)));
  } else {
    using std::exp;
    if (std::exp(detail::value_of(s)) == 0) return S(0);
    return exp(s);
  }
}

/// log(1 + u) for 0 ≤ u ≤ 1, with a relative error of some ε.
template <class S>
[[nodiscard]] inline S log1p_of_fraction(const S& u) {
  if constexpr (KernelScalar<S>) {
    // log(1 + u) = 2 artanh z, z = u / (2 + u) ≤ 1/3: the series of artanh, whose terms fall by z² ≤ 1/9.
    const S z = u / (S(2) + u), square = z * z;
    constexpr int terms = std::is_same_v<S, double> ? 17 : 8;
    S sum = S(1) / S(2 * terms + 1);
#if defined(__GNUC__)
#pragma GCC unroll 32
#endif
    for (int k = terms - 1; k >= 0; --k) sum = sum * square + S(1) / S(2 * k + 1);
    return S(2) * z * sum;
  } else {
    using std::log;
    return log(S(S(1) + u));
  }
}

}}}  // namespace attnflow::pointwise

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// What the weights of a row of a pointwise law are multiplied by.
template <class S>
[[nodiscard]] S row_factor(RowScale scale, const S& sum_of_weights, Eigen::Index n) {
  if (scale == RowScale::none) return S(1);
  if (scale == RowScale::mean) return static_cast<S>(1 / static_cast<Value<S>>(n));
  return value_of(sum_of_weights) == 0 ? S(0) : S(S(1) / sum_of_weights);
}

}}}  // namespace attnflow::detail
