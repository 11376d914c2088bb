/// \file
/// Packs of 64 bytes, for functions compiled for AVX-512.
#pragma once

#include <attnflow/simd/exp2.hpp>
#include <attnflow/simd/level.hpp>

#include <cstddef>

#if ATTNFLOW_X86_LEVELS

#include <immintrin.h>

#define ATTNFLOW_AVX512_TARGET gnu::target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define ATTNFLOW_AVX512_INLINE [[gnu::always_inline, ATTNFLOW_AVX512_TARGET]] static inline

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail::avx512 {

/// What kernels ask of a pack; sums, differences and products are written with operators.
template <class T>
struct Simd;

template <>
struct Simd<double> {
  using Pack = __m512d;
  using Mask = __mmask8;
  static constexpr int width = 8, registers = 32;

  ATTNFLOW_AVX512_INLINE Pack load(const double* p) { return _mm512_loadu_pd(p); }
  ATTNFLOW_AVX512_INLINE void store(double* p, const Pack& a) { _mm512_storeu_pd(p, a); }
  ATTNFLOW_AVX512_INLINE Pack all(double x) { return _mm512_set1_pd(x); }
  ATTNFLOW_AVX512_INLINE Pack fma(const Pack& a, const Pack& b, const Pack& c) {
    return _mm512_fmadd_pd(a, b, c);
  }
  ATTNFLOW_AVX512_INLINE Pack larger(const Pack& a, const Pack& b) { return _mm512_maskz_max_pd(0xFF, a, b); }
  ATTNFLOW_AVX512_INLINE Pack smaller(const Pack& a, const Pack& b) {
    return _mm512_maskz_min_pd(0xFF, a, b);
  }
  ATTNFLOW_AVX512_INLINE Pack magnitude(const Pack& a) { return _mm512_abs_pd(a); }
  ATTNFLOW_AVX512_INLINE Mask greater(const Pack& a, const Pack& b) {
    return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ);
  }
  ATTNFLOW_AVX512_INLINE Mask both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
  ATTNFLOW_AVX512_INLINE bool any(Mask m) { return m != 0; }
  /// Lane l where bit l is set.
  ATTNFLOW_AVX512_INLINE Mask lanes(unsigned bits) { return static_cast<Mask>(bits); }
  ATTNFLOW_AVX512_INLINE Pack select(Mask m, const Pack& a, const Pack& b) {
    return _mm512_mask_blend_pd(m, b, a);
  }

  /// The power of two among 2^{0/16} … 2^{15/16} that the low bits of `shifted` name.
  ATTNFLOW_AVX512_INLINE Pack sixteenth_power(const Pack& shifted) {
    return _mm512_permutex2var_pd(load(sixteenth_powers<double>), _mm512_castpd_si512(shifted),
                                  load(sixteenth_powers<double> + 8));
  }
  ATTNFLOW_AVX512_INLINE Pack times_power_of_two(const Pack& a, const Pack& n) {
    return _mm512_maskz_scalef_pd(0xFF, a, n);
  }
};

template <>
struct Simd<float> {
  using Pack = __m512;
  using Mask = __mmask16;
  static constexpr int width = 16, registers = 32;

  ATTNFLOW_AVX512_INLINE Pack load(const float* p) { return _mm512_loadu_ps(p); }
  ATTNFLOW_AVX512_INLINE void store(float* p, const Pack& a) { _mm512_storeu_ps(p, a); }
  ATTNFLOW_AVX512_INLINE Pack all(float x) { return _mm512_set1_ps(x); }
  ATTNFLOW_AVX512_INLINE Pack fma(const Pack& a, const Pack& b, const Pack& c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  ATTNFLOW_AVX512_INLINE Pack larger(const Pack& a, const Pack& b) {
    return _mm512_maskz_max_ps(0xFFFF, a, b);
  }
  ATTNFLOW_AVX512_INLINE Pack smaller(const Pack& a, const Pack& b) {
    return _mm512_maskz_min_ps(0xFFFF, a, b);
  }
  ATTNFLOW_AVX512_INLINE Pack magnitude(const Pack& a) { return _mm512_abs_ps(a); }
  ATTNFLOW_AVX512_INLINE Mask greater(const Pack& a, const Pack& b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
  }
  ATTNFLOW_AVX512_INLINE Mask both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
  ATTNFLOW_AVX512_INLINE bool any(Mask m) { return m != 0; }
  /// Lane l where bit l is set.
  ATTNFLOW_AVX512_INLINE Mask lanes(unsigned bits) { return static_cast<Mask>(bits); }
  ATTNFLOW_AVX512_INLINE Pack select(Mask m, const Pack& a, const Pack& b) {
    return _mm512_mask_blend_ps(m, b, a);
  }

  ATTNFLOW_AVX512_INLINE Pack sixteenth_power(const Pack& shifted) {
    return _mm512_maskz_permutexvar_ps(0xFFFF, _mm512_castps_si512(shifted), load(sixteenth_powers<float>));
  }
  ATTNFLOW_AVX512_INLINE Pack times_power_of_two(const Pack& a, const Pack& n) {
    return _mm512_maskz_scalef_ps(0xFFFF, a, n);
  }
};

/// x ↦ 2ˣ in R packs, within 2 ulp, for Exp2<T>::lowest ≤ x < 1023 (float: 127).
///
/// Stage by stage over the packs: the processor looks ahead over fewer instructions than one power takes.
template <class T, std::size_t R>
[[gnu::always_inline, ATTNFLOW_AVX512_TARGET]] inline void exp2_packs(typename Simd<T>::Pack (&x)[R]) {
  using S = Simd<T>;
  using E = Exp2<T>;
  constexpr int degree = static_cast<int>(sizeof(E::sixteenth) / sizeof(T)) - 1;
  typename S::Pack shifted[R], n[R], q[R];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) shifted[r] = x[r] + S::all(E::magic16);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) n[r] = shifted[r] - S::all(E::magic16);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) x[r] = x[r] - n[r];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r)
    q[r] = S::fma(S::all(E::sixteenth[degree]), x[r], S::all(E::sixteenth[degree - 1]));
#pragma GCC unroll 8
  for (int k = degree - 2; k >= 0; --k)
#pragma GCC unroll 8
    for (std::size_t r = 0; r < R; ++r) q[r] = S::fma(q[r], x[r], S::all(E::sixteenth[k]));
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) x[r] = q[r] * x[r];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) shifted[r] = S::sixteenth_power(shifted[r]);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) x[r] = S::fma(shifted[r], x[r], shifted[r]);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) x[r] = S::times_power_of_two(x[r], n[r]);  // 2^⌊n⌋
}

}}}  // namespace attnflow::detail::avx512

#endif
