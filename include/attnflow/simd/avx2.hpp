/// \file
/// Packs of 32 bytes, for functions compiled for AVX2 and FMA.
#pragma once

#include <attnflow/simd/exp2.hpp>
#include <attnflow/simd/level.hpp>

#include <cstddef>

#if ATTNFLOW_X86_LEVELS

#include <immintrin.h>

#define ATTNFLOW_AVX2_TARGET gnu::target("avx2,fma")
#define ATTNFLOW_AVX2_INLINE [[gnu::always_inline, ATTNFLOW_AVX2_TARGET]] static inline

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail::avx2 {

/// What kernels ask of a pack; sums, differences and products are written with operators.
template <class T>
struct Simd;

template <>
struct Simd<double> {
  using Pack = __m256d;
  using Mask = __m256d;
  static constexpr int width = 4, registers = 16;

  ATTNFLOW_AVX2_INLINE Pack load(const double* p) { return _mm256_loadu_pd(p); }
  ATTNFLOW_AVX2_INLINE void store(double* p, const Pack& a) { _mm256_storeu_pd(p, a); }
  ATTNFLOW_AVX2_INLINE Pack all(double x) { return _mm256_set1_pd(x); }
  ATTNFLOW_AVX2_INLINE Pack fma(const Pack& a, const Pack& b, const Pack& c) {
    return _mm256_fmadd_pd(a, b, c);
  }
  ATTNFLOW_AVX2_INLINE Pack larger(const Pack& a, const Pack& b) { return _mm256_max_pd(a, b); }
  ATTNFLOW_AVX2_INLINE Pack smaller(const Pack& a, const Pack& b) { return _mm256_min_pd(a, b); }
  ATTNFLOW_AVX2_INLINE Pack magnitude(const Pack& a) { return _mm256_andnot_pd(all(-0.0), a); }
  ATTNFLOW_AVX2_INLINE Mask greater(const Pack& a, const Pack& b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
  ATTNFLOW_AVX2_INLINE Mask both(const Mask& a, const Mask& b) { return _mm256_and_pd(a, b); }
  ATTNFLOW_AVX2_INLINE bool any(const Mask& m) { return _mm256_movemask_pd(m) != 0; }
  /// Lane l where bit l is set.
  ATTNFLOW_AVX2_INLINE Mask lanes(unsigned bits) {
    const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi64x(static_cast<long long>(bits)), bit);
    return _mm256_castsi256_pd(_mm256_cmpeq_epi64(set, bit));
  }
  ATTNFLOW_AVX2_INLINE Pack select(const Mask& m, const Pack& a, const Pack& b) {
    return _mm256_blendv_pd(b, a, m);
  }

  /// a 2^k, where k stands in the low bits of `shifted`.
  ATTNFLOW_AVX2_INLINE Pack times_power_of_two(const Pack& a, const Pack& shifted) {
    const __m256i k = _mm256_slli_epi64(_mm256_castpd_si256(shifted), Exp2<double>::mantissa_bits);
    return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(a), k));
  }
};

template <>
struct Simd<float> {
  using Pack = __m256;
  using Mask = __m256;
  static constexpr int width = 8, registers = 16;

  ATTNFLOW_AVX2_INLINE Pack load(const float* p) { return _mm256_loadu_ps(p); }
  ATTNFLOW_AVX2_INLINE void store(float* p, const Pack& a) { _mm256_storeu_ps(p, a); }
  ATTNFLOW_AVX2_INLINE Pack all(float x) { return _mm256_set1_ps(x); }
  ATTNFLOW_AVX2_INLINE Pack fma(const Pack& a, const Pack& b, const Pack& c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  ATTNFLOW_AVX2_INLINE Pack larger(const Pack& a, const Pack& b) { return _mm256_max_ps(a, b); }
  ATTNFLOW_AVX2_INLINE Pack smaller(const Pack& a, const Pack& b) { return _mm256_min_ps(a, b); }
  ATTNFLOW_AVX2_INLINE Pack magnitude(const Pack& a) { return _mm256_andnot_ps(all(-0.0F), a); }
  ATTNFLOW_AVX2_INLINE Mask greater(const Pack& a, const Pack& b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
  ATTNFLOW_AVX2_INLINE Mask both(const Mask& a, const Mask& b) { return _mm256_and_ps(a, b); }
  ATTNFLOW_AVX2_INLINE bool any(const Mask& m) { return _mm256_movemask_ps(m) != 0; }
  ATTNFLOW_AVX2_INLINE Mask lanes(unsigned bits) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), bit);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, bit));
  }
  ATTNFLOW_AVX2_INLINE Pack select(const Mask& m, const Pack& a, const Pack& b) {
    return _mm256_blendv_ps(b, a, m);
  }

  ATTNFLOW_AVX2_INLINE Pack times_power_of_two(const Pack& a, const Pack& shifted) {
    const __m256i k = _mm256_slli_epi32(_mm256_castps_si256(shifted), Exp2<float>::mantissa_bits);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), k));
  }
};

/// x ↦ 2ˣ in R packs, within 2 ulp, for Exp2<T>::lowest ≤ x < 1023 (float: 127).
template <class T, std::size_t R>
[[gnu::always_inline, ATTNFLOW_AVX2_TARGET]] inline void exp2_packs(typename Simd<T>::Pack (&x)[R]) {
  using S = Simd<T>;
  using E = Exp2<T>;
  constexpr int degree = static_cast<int>(sizeof(E::whole) / sizeof(T)) - 1;
  typename S::Pack shifted[R], q[R];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) shifted[r] = x[r] + S::all(E::magic);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) x[r] = x[r] - (shifted[r] - S::all(E::magic));
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r)
    q[r] = S::fma(S::all(E::whole[degree]), x[r], S::all(E::whole[degree - 1]));
#pragma GCC unroll 16
  for (int k = degree - 2; k >= 0; --k)
#pragma GCC unroll 8
    for (std::size_t r = 0; r < R; ++r) q[r] = S::fma(q[r], x[r], S::all(E::whole[k]));
#pragma GCC unroll 8
  for (std::size_t r = 0; r < R; ++r) x[r] = S::times_power_of_two(S::fma(q[r], x[r], S::all(1)), shifted[r]);
}

}}}  // namespace attnflow::detail::avx2

#endif
