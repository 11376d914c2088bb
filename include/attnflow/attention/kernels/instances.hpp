/// \file
/// The kernels of attention compiled once for many source files, where compile time matters.
///
/// A program of many files that defines ATTNFLOW_EXTERN_KERNELS for all of them compiles kernels in none. One file
/// says so and has them:
///
///     #define ATTNFLOW_DEFINE_KERNELS
///     #include <attnflow/attention/kernels/instances.hpp>
///
/// Nothing else changes: the header-only way stays the default.
#pragma once

#include <attnflow/attention/kernels/kernels.hpp>

/// `keyword` template, for every kind of row of one scalar type: coordinates, masks, biases.
// NOLINTBEGIN(bugprone-macro-parentheses): template arguments stand in none.
#define ATTNFLOW_DETAIL_ROW_INSTANCES(keyword, T, D)                                      \
  keyword template RowKernels<T> row_kernels_at<T, D, RowKind::plain>(SimdLevel);         \
  keyword template RowKernels<T> row_kernels_at<T, D, RowKind::ranged>(SimdLevel);        \
  keyword template RowKernels<T> row_kernels_at<T, D, RowKind::biased>(SimdLevel);        \
  keyword template RowKernels<T> row_kernels_at<T, D, RowKind::ranged_biased>(SimdLevel); \
  keyword template RowKernels<T> row_kernels_at<T, D, RowKind::general>(SimdLevel);
#define ATTNFLOW_DETAIL_INSTANCES(keyword, T)                                      \
  keyword template TokenKernels<T> token_kernels_at<T>(SimdLevel);                 \
  keyword template RowKernels<T> exact_kernels_at<T, RowKind::plain>(SimdLevel);   \
  keyword template RowKernels<T> exact_kernels_at<T, RowKind::biased>(SimdLevel);  \
  keyword template RowKernels<T> exact_kernels_at<T, RowKind::general>(SimdLevel); \
  ATTNFLOW_DETAIL_ROW_INSTANCES(keyword, T, 0)                                     \
  ATTNFLOW_DETAIL_ROW_INSTANCES(keyword, T, 1)                                     \
  ATTNFLOW_DETAIL_ROW_INSTANCES(keyword, T, 2)                                     \
  ATTNFLOW_DETAIL_ROW_INSTANCES(keyword, T, 3)                                     \
  ATTNFLOW_DETAIL_ROW_INSTANCES(keyword, T, 4)
// NOLINTEND(bugprone-macro-parentheses)

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {
#if defined(ATTNFLOW_DEFINE_KERNELS)
ATTNFLOW_DETAIL_INSTANCES(, float)
ATTNFLOW_DETAIL_INSTANCES(, double)
#else
ATTNFLOW_DETAIL_INSTANCES(extern, float)
ATTNFLOW_DETAIL_INSTANCES(extern, double)
#endif
}}}  // namespace attnflow::detail

#undef ATTNFLOW_DETAIL_INSTANCES
#undef ATTNFLOW_DETAIL_ROW_INSTANCES
