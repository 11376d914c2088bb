/// \file
/// One row of softmax attention, fused: scores, weights and weighted sums in one pass over tiles.
#pragma once

#include <attnflow/attention/scores.hpp>
#include <attnflow/detail/pack.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI::detail {

/// What a row of softmax leaves behind, with r the key of largest score:
///
///     sum = ∑ⱼ e^{sᵢⱼ − sᵢᵣ},   moment = ∑ⱼ e^{sᵢⱼ − sᵢᵣ} (keyⱼ − keyᵣ).
///
/// Differences are taken before products: near a tie the score differences keep their relative accuracy at
/// any scale, and tokens that are equal contribute exactly nothing to the moment.
template <class Scalar>
struct SoftmaxRow {
  Eigen::Index reference = 0;
  Scalar sum = 0;
};

/// Room for one row: d numbers each, and the sums of the lanes where d is known at run time only.
template <class Scalar>
struct RowScratch {
  std::vector<Scalar> zero, reference, moment, lanes;
  explicit RowScratch(Eigen::Index d)
      : zero(static_cast<std::size_t>(d)),
        reference(zero.size()),
        moment(zero.size()),
        lanes(zero.size() * Lanes<Scalar>{}.size()) {}
};

/// δⱼ = ⟨query, keyⱼ − keyᵣ⟩ for one pack of keys. D = 0 means that d is known at run time only.
template <int D, class Scalar>
[[nodiscard]] inline Pack<Scalar> score_differences(const Scalar* query, const Scalar* keys,
                                                    const Scalar* reference, Eigen::Index d,
                                                    Eigen::Index stride) {
  Pack<Scalar> delta = query[0] * (load(keys) - reference[0]);
  if constexpr (D > 0) {
    for (int c = 1; c < D; ++c) delta += query[c] * (load(keys + c * stride) - reference[c]);
  } else {
    for (Eigen::Index c = 1; c < d; ++c) delta += query[c] * (load(keys + c * stride) - reference[c]);
  }
  return delta;
}

/// The key of largest score for query i (the first of equal ones among those compared in one lane).
template <int D, class Scalar>
[[nodiscard]] Eigen::Index best_key(const PreparedScores<Scalar>& scores, Eigen::Index i,
                                    const RowScratch<Scalar>& scratch) {
  constexpr int width = pack_width<Scalar>;
  using Bits = typename PackOf<Scalar>::Bits;
  const Scalar* zero = scratch.zero.data();
  const Scalar* query = scores.query(i);
  Pack<Scalar> best = broadcast<Scalar>(-std::numeric_limits<Scalar>::infinity());
  IntegerPack<Scalar> block{};
  Bits b = 0;
  for (Eigen::Index j = 0; j < scores.padded; j += width, ++b) {
    const Pack<Scalar> s = score_differences<D>(query, scores.keys.data() + j, zero, scores.d, scores.padded);
    const auto better = s > best;
    best = better ? s : best;
    block = better ? IntegerPack<Scalar>{} + b : block;
  }
  const Lanes<Scalar> value = lanes_of<Scalar>(best);
  const auto at = std::bit_cast<std::array<Bits, value.size()>>(block);
  std::size_t lane = 0;
  for (std::size_t l = 1; l < value.size(); ++l)
    if (value[l] > value[lane] || (value[l] == value[lane] && at[l] < at[lane])) lane = l;
  const Eigen::Index j = static_cast<Eigen::Index>(at[lane]) * width + static_cast<Eigen::Index>(lane);
  return j < scores.n ? j : 0;  // padding repeats key 0
}

/// One pass over the keys with the given reference, in tiles whose sums are added up apart: rounding grows
/// like the length of a tile and the number of tiles, not like n.
/// \returns the largest score difference found: positive only where rounding misled best_key.
template <int D, class Scalar>
Scalar softmax_pass(const PreparedScores<Scalar>& scores, Eigen::Index i, SoftmaxRow<Scalar>& row,
                    RowScratch<Scalar>& scratch) {
  constexpr int width = pack_width<Scalar>;
  constexpr Eigen::Index tile = 64 * width;
  const Eigen::Index d = D > 0 ? D : scores.d, stride = scores.padded;
  const Scalar* query = scores.query(i);
  const Scalar* keys = scores.keys.data();
  const Scalar half = scores.half_scale_of(i);
  const bool sharp = half > 30;  // most weights of such a row are zero or one: look before computing them
  Scalar* reference = scratch.reference.data();
  for (Eigen::Index c = 0; c < d; ++c) reference[c] = scores.key(c, row.reference);
  std::fill(scratch.moment.begin(), scratch.moment.end(), Scalar(0));

  row.sum = 0;
  Pack<Scalar> worst{};
  std::array<Pack<Scalar>, static_cast<std::size_t>(std::max(D, 1))> fixed;
  for (Eigen::Index start = 0; start < stride; start += tile) {
    Pack<Scalar> sum{};
    fixed.fill(Pack<Scalar>{});
    if constexpr (D == 0) std::fill(scratch.lanes.begin(), scratch.lanes.end(), Scalar(0));
    for (Eigen::Index j = start; j < std::min(start + tile, stride); j += width) {
      const Pack<Scalar> delta = score_differences<D>(query, keys + j, reference, d, stride);
      worst = delta > worst ? delta : worst;
      const Pack<Scalar> capped = delta < Scalar(0) ? delta : Pack<Scalar>{};
      const Pack<Scalar> log_weight = (capped * half) * half;
      Pack<Scalar> weight;
      if (sharp && !any<Scalar>((log_weight < Scalar(0)) & (log_weight > ExpConstants<Scalar>::lowest))) {
        if (!any<Scalar>(log_weight == Scalar(0))) continue;
        weight = log_weight == Scalar(0) ? broadcast<Scalar>(1) : Pack<Scalar>{};
      } else {
        weight = exp_nonpositive<Scalar>(log_weight);
      }
      if (j + width > scores.n) {  // padding weighs nothing
        Lanes<Scalar> values = lanes_of<Scalar>(weight);
        for (Eigen::Index l = scores.n - j; l < width; ++l) values[static_cast<std::size_t>(l)] = 0;
        weight = load(values.data());
      }
      sum += weight;
      if constexpr (D > 0) {
        for (std::size_t c = 0; c < D; ++c)
          fixed[c] += weight * (load(keys + static_cast<Eigen::Index>(c) * stride + j) - reference[c]);
      } else {
        for (Eigen::Index c = 0; c < d; ++c) {
          Scalar* lane = scratch.lanes.data() + c * width;
          store<Scalar>(lane, load(lane) + weight * (load(keys + c * stride + j) - reference[c]));
        }
      }
    }
    row.sum += horizontal_sum<Scalar>(sum);
    for (std::size_t c = 0; c < static_cast<std::size_t>(d); ++c)
      scratch.moment[c] += horizontal_sum<Scalar>(
          D > 0 ? fixed[D > 0 ? c : 0] : load(scratch.lanes.data() + c * static_cast<std::size_t>(width)));
  }
  return horizontal_max<Scalar>(worst);
}

/// Row i of softmax, for d = D tokens, or any d where D = 0. Leaves key r in scratch.reference and the moment
/// in scratch.moment. Cost: O(n d).
template <int D, class Scalar>
SoftmaxRow<Scalar> softmax_row(const PreparedScores<Scalar>& scores, Eigen::Index i,
                               RowScratch<Scalar>& scratch) {
  SoftmaxRow<Scalar> row{best_key<D>(scores, i, scratch), 0};
  for (int attempt = 0;; ++attempt) {
    const Scalar worst = softmax_pass<D>(scores, i, row, scratch);
    if (worst <= 0 || attempt == 2) return row;
    // The scores of two keys agree to rounding: the differences say which one is larger.
    Scalar largest = 0;
    for (Eigen::Index j = 0; j < scores.n; ++j) {
      Scalar delta = 0;
      for (Eigen::Index c = 0; c < scores.d; ++c)
        delta += scores.query(i)[c] * (scores.key(c, j) - scratch.reference[static_cast<std::size_t>(c)]);
      if (delta > largest) largest = delta, row.reference = j;
    }
    if (largest == 0) return row;
  }
}

/// The kernel for a dimension. A faster arithmetic for a range of sizes, or for what the processor has, goes
/// in here.
template <class Scalar>
using RowKernel = SoftmaxRow<Scalar> (*)(const PreparedScores<Scalar>&, Eigen::Index, RowScratch<Scalar>&);
template <class Scalar>
[[nodiscard]] RowKernel<Scalar> row_kernel(Eigen::Index d) {
  switch (d) {
    case 1:
      return softmax_row<1, Scalar>;
    case 2:
      return softmax_row<2, Scalar>;
    case 3:
      return softmax_row<3, Scalar>;
    case 4:
      return softmax_row<4, Scalar>;
    default:
      return softmax_row<0, Scalar>;
  }
}

/// Calls finish(i, row, reference, moment) for every row i; the last two point to d numbers each.
/// Cost: O(n² d) time, O(d) memory.
template <class Scalar, class Finish>
void for_each_softmax_row(const PreparedScores<Scalar>& scores, Finish&& finish) {
  const RowKernel<Scalar> kernel = row_kernel<Scalar>(scores.d);
  RowScratch<Scalar> scratch(scores.d);
  for (Eigen::Index i = 0; i < scores.n; ++i) {
    const SoftmaxRow<Scalar> row = kernel(scores, i, scratch);
    finish(i, row, scratch.reference.data(), scratch.moment.data());
  }
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
