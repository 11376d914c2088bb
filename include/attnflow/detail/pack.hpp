/// \file
/// A handful of numbers that are computed at once, and their exponential.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace attnflow::inline ATTNFLOW_ABI::detail {

#if defined(__GNUC__)
#if defined(__AVX512F__)
inline constexpr int pack_bytes = 64;
#elif defined(__AVX__)
inline constexpr int pack_bytes = 32;
#else
inline constexpr int pack_bytes = 16;
#endif
template <class T>
struct PackOf {
  using Bits = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;
  typedef T Value __attribute__((vector_size(pack_bytes)));
  typedef Bits Integer __attribute__((vector_size(pack_bytes)));
  static constexpr int width = pack_bytes / static_cast<int>(sizeof(T));
};
#else
/// Other compilers compute one number at a time; the code that uses packs is the same.
template <class T>
struct PackOf {
  using Bits = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;
  using Value = T;
  using Integer = Bits;
  static constexpr int width = 1;
};
#endif

template <class T>
using Pack = typename PackOf<T>::Value;
template <class T>
using IntegerPack = typename PackOf<T>::Integer;
template <class T>
inline constexpr int pack_width = PackOf<T>::width;
/// The entries of a pack, one by one.
template <class T>
using Lanes = std::array<T, static_cast<std::size_t>(pack_width<T>)>;

template <class T>
[[nodiscard]] inline Pack<T> load(const T* from) noexcept {
  Pack<T> p;
  std::memcpy(&p, from, sizeof(p));
  return p;
}
template <class T>
inline void store(T* to, const Pack<T>& p) noexcept {
  std::memcpy(to, &p, sizeof(p));
}
/// All entries equal to x.
template <class T>
[[nodiscard]] inline Pack<T> broadcast(T x) noexcept {
  return Pack<T>{} + x;
}
template <class T>
[[nodiscard]] inline Lanes<T> lanes_of(const Pack<T>& p) noexcept {
  return std::bit_cast<Lanes<T>>(p);
}
template <class T>
[[nodiscard]] inline T horizontal_sum(const Pack<T>& p) noexcept {
  const Lanes<T> lanes = lanes_of<T>(p);
  T sum = lanes[0];
  for (std::size_t l = 1; l < lanes.size(); ++l) sum += lanes[l];
  return sum;
}
template <class T>
[[nodiscard]] inline T horizontal_max(const Pack<T>& p) noexcept {
  const Lanes<T> lanes = lanes_of<T>(p);
  return *std::max_element(lanes.begin(), lanes.end());
}

/// Whether an entry of a comparison holds.
template <class T>
[[nodiscard]] inline bool any(const IntegerPack<T>& holds) noexcept {
  typename PackOf<T>::Bits some = 0;
  for (const auto lane : std::bit_cast<std::array<typename PackOf<T>::Bits, Lanes<T>{}.size()>>(holds))
    some |= lane;
  return some != 0;
}

/// What exp_nonpositive is made of: x = n ln 2 + r with |r| ≤ ln 2 / 2, ln 2 in two parts whose
/// first has trailing zeros enough that n · high is exact, and the Taylor polynomial of eʳ.
template <class T>
struct ExpConstants;
template <>
struct ExpConstants<double> {
  static constexpr double lowest = -708;     ///< below this the result is 0: it would be < 3.4e-308
  static constexpr double magic = 0x1.8p52;  ///< x + magic rounds x to an integer, kept in the low bits
  static constexpr double ln2_high = 0x1.62e42fee00000p-1;
  static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr int degree = 13, mantissa_bits = 52, bias = 1023;
};
template <>
struct ExpConstants<float> {
  static constexpr float lowest = -87;  ///< below this the result is 0: it would be < 1.7e-38
  static constexpr float magic = 0x1.8p23F;
  static constexpr float ln2_high = 0x1.62e400p-1F;
  static constexpr float ln2_low = 0x1.7f7d1cp-20F;
  static constexpr int degree = 7, mantissa_bits = 23, bias = 127;
};

template <class T, int K>
inline constexpr T inverse_factorial = inverse_factorial<T, K - 1> / static_cast<T>(K);
template <class T>
inline constexpr T inverse_factorial<T, 0> = T(1);

/// eˣ for x ≤ 0, in every entry, within 2 ulp; 0 below ExpConstants::lowest. NaN gives 0.
template <class T>
[[nodiscard]] inline Pack<T> exp_nonpositive(const Pack<T>& x) noexcept {
  using C = ExpConstants<T>;
  const Pack<T> lowest = broadcast<T>(C::lowest);
  const Pack<T> clamped = x > lowest ? x : lowest;
  const Pack<T> shifted = clamped * static_cast<T>(0x1.71547652b82fep0) + C::magic;  // log₂ e
  const Pack<T> n = shifted - C::magic;
  const Pack<T> r = (clamped - n * C::ln2_high) - n * C::ln2_low;
  // eʳ = 1 + (r + r² (even(r²) + r odd(r²))): two short chains instead of a long one.
  const Pack<T> r2 = r * r;
  Pack<T> even = broadcast<T>(inverse_factorial<T, 6>), odd = broadcast<T>(inverse_factorial<T, 7>);
  if constexpr (C::degree == 13) {
    even =
        ((inverse_factorial<T, 12> * r2 + inverse_factorial<T, 10>)*r2 + inverse_factorial<T, 8>)*r2 + even;
    odd = ((inverse_factorial<T, 13> * r2 + inverse_factorial<T, 11>)*r2 + inverse_factorial<T, 9>)*r2 + odd;
  }
  even = (even * r2 + inverse_factorial<T, 4>)*r2 + inverse_factorial<T, 2>;
  odd = (odd * r2 + inverse_factorial<T, 5>)*r2 + inverse_factorial<T, 3>;
  const Pack<T> p = (r + r2 * (even + r * odd)) + T(1);
  using Bits = typename PackOf<T>::Bits;
  const auto shifted_bits = std::bit_cast<IntegerPack<T>>(shifted);
  const IntegerPack<T> exponent =
      (shifted_bits << C::mantissa_bits) + (static_cast<Bits>(C::bias) << C::mantissa_bits);
  return x > lowest ? p * std::bit_cast<Pack<T>>(exponent) : Pack<T>{};
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
