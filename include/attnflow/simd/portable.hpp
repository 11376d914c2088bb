/// \file
/// Packs that every processor of the target has: 16 bytes with g++ and clang (SSE2, NEON), one number elsewhere.
#pragma once

#include <attnflow/simd/exp2.hpp>
#include <attnflow/simd/level.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__GNUC__)
#define ATTNFLOW_PORTABLE_INLINE [[gnu::always_inline]] static inline
#else
#define ATTNFLOW_PORTABLE_INLINE static inline
#endif

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail::portable {

template <class T>
using Bits = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;

#if defined(__GNUC__) && !defined(ATTNFLOW_DETAIL_ONE_LANE)  // a test goes without the vectors
/// Pack and Mask of Simd<T>, and packs of unsigned numbers: vectors of the compiler.
template <class T>
struct Vectors {
  typedef T Pack __attribute__((vector_size(16)));
  typedef Bits<T> Mask __attribute__((vector_size(16)));
  typedef std::make_unsigned_t<Bits<T>> Words __attribute__((vector_size(16)));
  static constexpr int width = 16 / static_cast<int>(sizeof(T));
};
#else
template <class T>
struct Vectors {
  using Pack = T;
  using Mask = bool;
  using Words = std::make_unsigned_t<Bits<T>>;
  static constexpr int width = 1;
};
#endif

/// What kernels ask of a pack; sums, differences and products are written with operators.
template <class T>
struct Simd {
  using Pack = typename Vectors<T>::Pack;
  using Mask = typename Vectors<T>::Mask;
  static constexpr int width = Vectors<T>::width, registers = 16;

  ATTNFLOW_PORTABLE_INLINE Pack load(const T* p) {
    Pack a;
    std::memcpy(&a, p, sizeof(a));
    return a;
  }
  ATTNFLOW_PORTABLE_INLINE void store(T* p, const Pack& a) { std::memcpy(p, &a, sizeof(a)); }
  ATTNFLOW_PORTABLE_INLINE Pack all(T x) {
    if constexpr (width == 4)
      return Pack{x, x, x, x};
    else if constexpr (width == 2)
      return Pack{x, x};
    else
      return Pack{x};
  }
  ATTNFLOW_PORTABLE_INLINE Pack fma(const Pack& a, const Pack& b, const Pack& c) { return a * b + c; }
  ATTNFLOW_PORTABLE_INLINE Pack larger(const Pack& a, const Pack& b) { return a > b ? a : b; }
  ATTNFLOW_PORTABLE_INLINE Pack smaller(const Pack& a, const Pack& b) { return a < b ? a : b; }
  ATTNFLOW_PORTABLE_INLINE Pack magnitude(const Pack& a) { return larger(a, -a); }
  ATTNFLOW_PORTABLE_INLINE Mask greater(const Pack& a, const Pack& b) { return a > b; }
  ATTNFLOW_PORTABLE_INLINE Mask both(const Mask& a, const Mask& b) { return a & b; }
  ATTNFLOW_PORTABLE_INLINE Pack select(const Mask& m, const Pack& a, const Pack& b) { return m ? a : b; }
  ATTNFLOW_PORTABLE_INLINE bool any(const Mask& m) {
    if constexpr (width == 1) {
      return static_cast<bool>(m);
    } else {
      std::uint64_t halves[2];
      std::memcpy(halves, &m, sizeof(halves));
      return (halves[0] | halves[1]) != 0;
    }
  }

  /// Lane l where bit l is set.
  ATTNFLOW_PORTABLE_INLINE Mask lanes(unsigned bits) {
    if constexpr (width == 1)
      return static_cast<Mask>(bits & 1U);
    else if constexpr (width == 2)
      return Mask{-Bits<T>(bits & 1U), -Bits<T>(bits >> 1U & 1U)};
    else
      return Mask{-Bits<T>(bits & 1U), -Bits<T>(bits >> 1U & 1U), -Bits<T>(bits >> 2U & 1U),
                  -Bits<T>(bits >> 3U & 1U)};
  }

  /// a 2^k, where k stands in the low bits of `shifted`.
  ATTNFLOW_PORTABLE_INLINE Pack times_power_of_two(const Pack& a, const Pack& shifted) {
    using Words = typename Vectors<T>::Words;
    return std::bit_cast<Pack>(std::bit_cast<Words>(a) +
                               (std::bit_cast<Words>(shifted) << Exp2<T>::mantissa_bits));
  }
};

/// x ↦ 2ˣ in R packs, within 2 ulp, for Exp2<T>::lowest ≤ x < 1023 (float: 127).
///
/// Stage by stage over the packs, which are independent: a coefficient is loaded once for all of them.
template <class T, std::size_t R>
inline void exp2_packs(typename Simd<T>::Pack (&x)[R]) {
  using S = Simd<T>;
  using E = Exp2<T>;
  constexpr int degree = static_cast<int>(sizeof(E::whole) / sizeof(T)) - 1;
  typename S::Pack shifted[R], q[R];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) {
    shifted[r] = x[r] + S::all(E::magic);
    x[r] = x[r] - (shifted[r] - S::all(E::magic));
    q[r] = S::all(E::whole[degree]);
  }
#pragma GCC unroll 16
  for (int k = degree - 1; k >= 0; --k)
#pragma GCC unroll 8
    for (std::size_t r = 0; r < R; ++r) q[r] = S::fma(q[r], x[r], S::all(E::whole[k]));
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) x[r] = S::times_power_of_two(S::fma(q[r], x[r], S::all(1)), shifted[r]);
}

}}}  // namespace attnflow::detail::portable
