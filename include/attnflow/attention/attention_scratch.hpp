/// \file
/// The memory of the attention operator.
#pragma once

#include <attnflow/attention/detail/attend_rows.hpp>
#include <attnflow/attention/detail/query_pack.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/simd/level.hpp>
#include <attnflow/types.hpp>

#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What the operator works in, and with which vector instructions. It holds nothing from one evaluation to the next but
/// memory, which grows and never shrinks: O((m + n) d) numbers. One evaluation at a time may use it.
template <RealScalar Scalar>
struct AttentionScratch {
  /// The instructions of the loops over pairs. \pre has_simd_level(level).
  SimdLevel level = simd_level();

  /// Sets of points as the kernels read them.
  detail::PointLayout<Scalar> tokens, keys, values;
  /// The packed queries.
  detail::QueryPack<Scalar> queries;
  /// What the kernels leave.
  detail::RowSums<Scalar> sums;
  /// Images Q x, K x and V x of tokens, and sums of values.
  detail::AlignedVector<Scalar> query_images, key_images, value_images, value_sums;

  /// That of this thread, which every function takes that is given none.
  [[nodiscard]] static AttentionScratch& of_this_thread() {
    static constinit thread_local detail::Scratch<AttentionScratch> kept;
    return *kept;
  }
};

}}  // namespace attnflow
