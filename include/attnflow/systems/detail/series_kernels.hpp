/// \file
/// Trigonometric sums over points of the unit circle, compiled for each level of vector instructions.
#pragma once

#include <attnflow/simd/avx2.hpp>
#include <attnflow/simd/avx512.hpp>
#include <attnflow/simd/level.hpp>
#include <attnflow/simd/portable.hpp>

#include <cstdint>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {
/// Up to here points_of() is exact to rounding: 2²⁰ quarters of a turn are about 1.6 · 10⁶.
inline constexpr double largest_quick_angle = 1e6;
}}}  // namespace attnflow::detail

#define ATTNFLOW_KERNELS "series_kernels.inc"
#include <attnflow/attention/kernels/each_level.inc>
#undef ATTNFLOW_KERNELS

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The sums of one level; counts of points are multiples of `width`.
struct SeriesKernels {
  int width;
  void (*points)(const double* angle, std::int64_t count, double* re, double* im);
  void (*sum_powers)(const double* re, const double* im, std::int64_t count, std::int64_t terms,
                     double* lanes, double* sums);
  void (*evaluate)(const double* re, const double* im, std::int64_t count, std::int64_t terms,
                   const double* a, const double* b, double* odd, double* even);
};

[[nodiscard]] inline SeriesKernels series_kernels_at(SimdLevel level) {
#if ATTNFLOW_X86_LEVELS
  if (level == SimdLevel::avx512)
    return {avx512::Simd<double>::width, avx512::points_of<double>, avx512::sum_powers<double>,
            avx512::evaluate_series<double>};
  if (level == SimdLevel::avx2)
    return {avx2::Simd<double>::width, avx2::points_of<double>, avx2::sum_powers<double>,
            avx2::evaluate_series<double>};
#endif
  static_cast<void>(level);
  return {portable::Simd<double>::width, portable::points_of<double>, portable::sum_powers<double>,
          portable::evaluate_series<double>};
}

}}}  // namespace attnflow::detail
