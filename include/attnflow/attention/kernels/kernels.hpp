/// \file
/// The kernels of attention, compiled for each level of vector instructions and chosen at run time.
///
/// Functions that carry a target attribute and one pointer for each kind of row: no compiler flag, no library. A
/// level is a namespace with Simd<T> and exp2_packs; row_kernels.inc is the same text for all.
#pragma once

#include <attnflow/attention/kernels/row_task.hpp>
#include <attnflow/simd/avx2.hpp>
#include <attnflow/simd/avx512.hpp>
#include <attnflow/simd/level.hpp>
#include <attnflow/simd/portable.hpp>

#include <limits>
#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The least and the largest of n numbers, `step` apart. \returns 0, or NaN if one is not finite.
template <class T>
[[nodiscard]] T find_interval(const T* x, std::int64_t step, std::int64_t n, T& low, T& high) {
  // Four numbers at a time, so that one comparison need not wait for another.
  T least[4], most[4], zero[4];
  for (int k = 0; k < 4; ++k) {
    least[k] = most[k] = x[0];
    zero[k] = 0;
  }
  const auto take = [&](int k, T value) {
    least[k] = value < least[k] ? value : least[k];
    most[k] = value > most[k] ? value : most[k];
    zero[k] += value * T(0);
  };
  std::int64_t j = 0;
  for (; j + 4 <= n; j += 4, x += 4 * step)
    take(0, x[0]), take(1, x[step]), take(2, x[2 * step]), take(3, x[3 * step]);
  for (; j < n; ++j, x += step) take(0, x[0]);
  low = least[0];
  high = most[0];
  for (int k = 1; k < 4; ++k) {
    low = least[k] < low ? least[k] : low;
    high = most[k] > high ? most[k] : high;
  }
  return (zero[0] + zero[1]) + (zero[2] + zero[3]);
}

}}}  // namespace attnflow::detail

#define ATTNFLOW_KERNELS "row_kernels.inc"
#include <attnflow/attention/kernels/each_level.inc>
#undef ATTNFLOW_KERNELS

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The kernels for one number of coordinates at one level; `width` rows make a pack.
template <class T>
struct RowKernels {
  int width;
  RowKind kind;
  void (*bounded)(const RowTask<T>&, std::int64_t first, std::int64_t last);
  void (*exact)(const ExactTask<T>&);
  bool (*pack)(const QueryTask<T>&, T* queries, T* start);  ///< null for many coordinates
};

/// The kernels for D coordinates, or any number of them where D is 0, of one level.
template <class T, int D, RowKind Kind>
[[nodiscard]] RowKernels<T> row_kernels_at(SimdLevel level) {
#define ATTNFLOW_DETAIL_KERNELS(space)                                          \
  if constexpr (D > 0)                                                          \
    return {space::Simd<T>::width, Kind, space::small_rows<T, D, Kind>,         \
            space::exact_rows<T, D, exact_kind(Kind)>, space::pack_rows<T, D>}; \
  else                                                                          \
    return {space::Simd<T>::width, Kind, space::large_rows<T, Kind>,            \
            space::exact_rows<T, 0, exact_kind(Kind)>, nullptr};
#if ATTNFLOW_X86_LEVELS
  if (level == SimdLevel::avx512) {
    ATTNFLOW_DETAIL_KERNELS(avx512)
  }
  if (level == SimdLevel::avx2) {
    ATTNFLOW_DETAIL_KERNELS(avx2)
  }
#endif
  static_cast<void>(level);
  ATTNFLOW_DETAIL_KERNELS(portable)
#undef ATTNFLOW_DETAIL_KERNELS
}

/// The kernels for d coordinates at a level, where Dim is d or Eigen::Dynamic, which is −1. Those of few coordinates are
/// for keys that are values.
template <class T, int Dim, RowKind Kind, bool KeysAreValues = true>
[[nodiscard]] RowKernels<T> row_kernels(SimdLevel level, std::int64_t d) {
  if constexpr (Dim > most_small_coordinates || !KeysAreValues) {
    return row_kernels_at<T, 0, Kind>(level);
  } else if constexpr (Dim > 0) {
    return row_kernels_at<T, Dim, Kind>(level);
  } else {
    switch (d) {
      case 1:
        return row_kernels_at<T, 1, Kind>(level);
      case 2:
        return row_kernels_at<T, 2, Kind>(level);
      case 3:
        return row_kernels_at<T, 3, Kind>(level);
      case 4:
        return row_kernels_at<T, 4, Kind>(level);
      default:
        return row_kernels_at<T, 0, Kind>(level);
    }
  }
}

/// The kernels of a pointwise law, for any number of coordinates: bounded rows alone.
template <class T, class Law>
[[nodiscard]] RowKernels<T> pointwise_kernels(SimdLevel level) {
#if ATTNFLOW_X86_LEVELS
  if (level == SimdLevel::avx512)
    return {avx512::Simd<T>::width, RowKind::general, avx512::large_rows<T, RowKind::general, Law>, nullptr,
            nullptr};
  if (level == SimdLevel::avx2)
    return {avx2::Simd<T>::width, RowKind::general, avx2::large_rows<T, RowKind::general, Law>, nullptr,
            nullptr};
#endif
  static_cast<void>(level);
  return {portable::Simd<T>::width, RowKind::general, portable::large_rows<T, RowKind::general, Law>, nullptr,
          nullptr};
}

/// The kernels of exact rows alone, for any number of coordinates: for those who want P itself, late in a run or once.
template <class T, RowKind Kind>
[[nodiscard]] RowKernels<T> exact_kernels_at(SimdLevel level) {
#if ATTNFLOW_X86_LEVELS
  if (level == SimdLevel::avx512)
    return {avx512::Simd<T>::width, Kind, nullptr, avx512::exact_rows<T, 0, exact_kind(Kind)>, nullptr};
  if (level == SimdLevel::avx2)
    return {avx2::Simd<T>::width, Kind, nullptr, avx2::exact_rows<T, 0, exact_kind(Kind)>, nullptr};
#endif
  static_cast<void>(level);
  return {portable::Simd<T>::width, Kind, nullptr, portable::exact_rows<T, 0, exact_kind(Kind)>, nullptr};
}

/// What is done to tokens beside attention, at this program's level; see row_kernels.inc.
template <class T>
struct TokenKernels {
  int width;
  void (*multiply)(const T* a, std::int64_t a_step, const T* x, std::int64_t x_step, T* y, std::int64_t rows,
                   std::int64_t inner, std::int64_t n);
  bool (*find_box)(const T* x, std::int64_t d, std::int64_t n, T* low, T* high);
  T (*shift)(const T* x, const T* centre, T unit, std::int64_t d, std::int64_t n, T* y, std::int64_t y_step);
};

template <class T>
[[nodiscard]] TokenKernels<T> token_kernels_at(SimdLevel level) {
#if ATTNFLOW_X86_LEVELS
  if (level == SimdLevel::avx512)
    return {avx512::Simd<T>::width, avx512::multiply_columns<T>, avx512::find_box<T>,
            avx512::shift_tokens<T>};
  if (level == SimdLevel::avx2)
    return {avx2::Simd<T>::width, avx2::multiply_columns<T>, avx2::find_box<T>, avx2::shift_tokens<T>};
#endif
  static_cast<void>(level);
  return {portable::Simd<T>::width, portable::multiply_columns<T>, portable::find_box<T>,
          portable::shift_tokens<T>};
}

template <class T>
[[nodiscard]] const TokenKernels<T>& token_kernels() {
  static const TokenKernels<T> kernels = token_kernels_at<T>(simd_level());
  return kernels;
}

}}}  // namespace attnflow::detail

#if defined(ATTNFLOW_EXTERN_KERNELS)
#include <attnflow/attention/kernels/instances.hpp>
#endif
