/// \file
/// The rows of attention, once queries are packed: kernels, and what a law makes of their sums.
#pragma once

#include <attnflow/attention/detail/exact_rows.hpp>
#include <attnflow/attention/detail/position_sums.hpp>
#include <attnflow/attention/detail/query_pack.hpp>
#include <attnflow/attention/kernels/kernels.hpp>
#include <attnflow/attention/pointwise.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/parallel/threads.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// v factor, where nothing times ∞ is nothing.
template <class Scalar>
[[nodiscard]] Scalar scaled_entry(Scalar v, Scalar factor) noexcept {
  return v == Scalar(0) ? Scalar(0) : v * factor;
}

/// What a pair of tokens takes on one thread with AVX-512, in nanoseconds: to tell what is worth sharing out.
template <class Scalar>
[[nodiscard]] constexpr double row_cost(double coordinates) noexcept {
  return (0.28 + 0.025 * coordinates) * (sizeof(Scalar) == sizeof(float) ? 0.45 : 1);
}

/// What is summed over the keys of each row, and what the kernels of bounded rows leave of it: sums of weights, and means of
/// values in packs.
template <class Scalar>
struct RowSums {
  AlignedVector<Scalar> sum, mean;
};

/// The rows of one evaluation: packed queries, on keys, with values that may be the same points.
template <class Scalar>
struct RowProblem {
  const QueryPack<Scalar>& queries;
  const PointLayout<Scalar>& values;
  const RowKernels<Scalar>& kernels;
  RowSums<Scalar>& sums;
  Weighted what;
  const void* law = nullptr;  ///< what pointwise kernels read

  /// The value of the key at the position of row i.
  [[nodiscard]] Eigen::Index own(Eigen::Index i) const { return queries.first_position + i; }
};

/// All rows: the bounded ones in tiles, after which finish_bounded(first, last, width) reads their sums; the others by
/// packs, finish_exact(i, row). Rows are shared out among threads; no row's bits depend on the rows beside it.
template <class Scalar, class FinishBounded, class FinishExact>
void for_all_rows(const RowProblem<Scalar>& rows, const FinishBounded& finish_bounded,
                  const FinishExact& finish_exact) {
  const QueryPack<Scalar>& queries = rows.queries;
  const PointLayout<Scalar>&keys = *queries.keys, &values = rows.values;
  const RowKernels<Scalar>& kernels = rows.kernels;
  const std::int64_t width = kernels.width, m = queries.m, packs = (m + width - 1) / width;
  const double pair = row_cost<Scalar>(static_cast<double>(keys.d + values.d));
  if (queries.exact.size() < static_cast<std::size_t>(m)) {
    rows.sums.sum.resize(static_cast<std::size_t>(packs * width));
    rows.sums.mean.resize(static_cast<std::size_t>(packs * width * values.d));
    RowTask<Scalar> task;
    task.n = keys.n;
    task.d = keys.d;
    task.keys = keys.centred.data();
    task.key_step = keys.step;
    task.value_d = values.d;
    task.values = values.centred.data();
    task.value_step = values.step;
    task.queries = queries.queries.data();
    task.start = queries.start.data();
    task.begin = queries.ranged ? queries.begin.data() : nullptr;
    task.end = queries.ranged ? queries.end.data() : nullptr;
    task.first_position = queries.first_position;
    task.positions = queries.positions.data();
    task.slope = queries.slope;
    task.sum = rows.sums.sum.data();
    task.mean = rows.sums.mean.data();
    task.law = rows.law;
    task.key_terms = queries.key_terms.data();
    task.picked = queries.picked;
    // Tiles of three packs, eight shares or more.
    const std::int64_t share = std::clamp<std::int64_t>(packs / 24 * 3, 3, 24);
    parallel_for((packs + share - 1) / share, pair * static_cast<double>(m) * static_cast<double>(keys.n),
                 [&](std::int64_t k) {
                   const std::int64_t first = k * share * width,
                                      last = (std::min)((k + 1) * share, packs) * width;
                   kernels.bounded(task, first, last);
                   finish_bounded(first, (std::min)(last, m), width);
                 });
  }
  const std::span<const Eigen::Index> exact = queries.exact;
  if (exact.empty()) return;
  const auto share = static_cast<std::size_t>(4 * kernels.width), shares = (exact.size() + share - 1) / share;
  const double cost = 4 * pair * static_cast<double>(exact.size()) * static_cast<double>(keys.n);
  parallel_for(static_cast<Eigen::Index>(shares), cost, [&](Eigen::Index k) {
    const std::size_t first = static_cast<std::size_t>(k) * share;
    for_each_exact_row(queries, values, kernels,
                       exact.subspan(first, (std::min)(share, exact.size() - first)), finish_exact);
  });
}

/// log ∑ⱼ e^{sᵢⱼ} of a bounded row; −∞ where the mask leaves nothing.
template <class Scalar>
[[nodiscard]] double log_normalizer_of(const RowProblem<Scalar>& rows, Eigen::Index i) {
  const auto row = static_cast<std::size_t>(i);
  const Scalar sum = rows.sums.sum[row];
  if (sum == Scalar(0)) return -std::numeric_limits<double>::infinity();
  const double log2_sum = std::log2(static_cast<double>(sum)) - static_cast<double>(rows.queries.start[row]);
  return (log2_sum + rows.queries.centre_score(i)) * std::numbers::ln2 + rows.queries.largest_term;
}

/// The bounded rows first … last − 1 of exponentials, finished: the sums of their kernel to columns of out.
/// ValueDim is the number of coordinates of the values where that is known.
template <int ValueDim, class Scalar, class Law, class Positions>
void finish_bounded_rows(const RowProblem<Scalar>& rows, const Law& law, const Positions& positions,
                         std::int64_t first, std::int64_t last, std::int64_t width, Scalar* out) {
  const PointLayout<Scalar>& values = rows.values;
  const std::int64_t d = ValueDim > 0 ? ValueDim : values.d;
  const bool from_origin = !values.origin.empty();
  for (std::int64_t i = first; i < last; ++i) {
    const Scalar* mean = rows.sums.mean.data() + i / width * width * d + i % width;
    Scalar* to = out + i * d;
    if (rows.sums.sum[static_cast<std::size_t>(i)] == Scalar(0)) {  // nothing to attend to
      for (std::int64_t c = 0; c < d; ++c) to[c] = 0;
      continue;
    }
    if (rows.what == Weighted::displacements) {
      const Scalar* own = values.centred.data() + rows.own(i) * values.step;
      for (std::int64_t c = 0; c < d; ++c) to[c] = mean[c * width] - own[c];
    } else if (from_origin) {
      for (std::int64_t c = 0; c < d; ++c)
        to[c] = static_cast<Scalar>(static_cast<double>(mean[c * width]) + values.middle_of(c));
    } else {
      for (std::int64_t c = 0; c < d; ++c)
        to[c] = mean[c * width] + values.centre[static_cast<std::size_t>(c)];
    }
    if constexpr (!detail::rows_sum_to_one<Law>()) {
      const auto factor = static_cast<Scalar>(std::exp(
          positions.log_row_factor(law, log_normalizer_of(rows, i), rows.queries.keys->n, rows.own(i))));
      for (std::int64_t c = 0; c < d; ++c) to[c] = scaled_entry(to[c], factor);
    }
  }
}

/// An exact row of exponentials or of the maximum, finished.
template <class Scalar, class Law, class Positions>
void finish_exact_row(const RowProblem<Scalar>& rows, const Law& law, const Positions& positions,
                      Eigen::Index i, const ExactRow<Scalar>& row, Scalar* out, RowRecord* record) {
  const PointLayout<Scalar>& values = rows.values;
  const Eigen::Index d = values.d, n = values.n;
  const bool displacements = rows.what == Weighted::displacements, nothing = row.sum == Scalar(0);
  Scalar* to = out + i * d;
  const auto from = [&](Eigen::Index c) {
    return displacements ? values.points()[rows.own(i) * d + c] : static_cast<Scalar>(-values.origin_of(c));
  };
  for (Eigen::Index c = 0; c < d; ++c)
    to[c] = nothing ? Scalar(0)
                    : (row.reference[c * row.stride] - from(c)) + row.moment[c * row.stride] / row.sum;
  const double log_normalizer =
      record != nullptr || (Law::function == WeightFunction::exponential && !detail::rows_sum_to_one<Law>())
          ? row.log_normalizer()
          : 0;
  if constexpr (Law::function == WeightFunction::maximum) {
    if (!nothing && law.ties == Ties::first) {
      const Scalar* leader = values.points() + row.largest_key * d;
      for (Eigen::Index c = 0; c < d; ++c) to[c] = leader[c] - from(c);
    } else if (!nothing && law.ties == Ties::all) {
      for (Eigen::Index c = 0; c < d; ++c) to[c] *= row.sum;
    }
  } else if constexpr (!detail::rows_sum_to_one<Law>()) {
    if (!nothing) {
      const auto factor =
          static_cast<Scalar>(std::exp(positions.log_row_factor(law, log_normalizer, n, rows.own(i))));
      for (Eigen::Index c = 0; c < d; ++c) to[c] = scaled_entry(to[c], factor);
    }
  }
  if (record == nullptr) return;
  record->log_normalizer[static_cast<std::size_t>(i)] = log_normalizer;
  record->largest_key[static_cast<std::size_t>(i)] = row.largest_key;
}

/// All rows of exponentials, or of the maximum, to columns of out.
template <int ValueDim, class Scalar, class Law, class Positions = EqualPositions>
void attend_rows(const RowProblem<Scalar>& rows, const Law& law, Scalar* out, RowRecord* record,
                 const Positions& positions = {}) {
  for_all_rows(
      rows,
      [&](std::int64_t first, std::int64_t last, std::int64_t width) {
        finish_bounded_rows<ValueDim>(rows, law, positions, first, last, width, out);
      },
      [&](Eigen::Index i, const ExactRow<Scalar>& row) {
        finish_exact_row(rows, law, positions, i, row, out, record);
      });
}

/// All rows of a pointwise law, packed by pack_scores, to columns of out.
template <class Scalar>
void attend_pointwise(const RowProblem<Scalar>& rows, RowScale scale, Scalar* out) {
  const PointLayout<Scalar>& values = rows.values;
  const std::int64_t d = values.d;
  for_all_rows(
      rows,
      [&](std::int64_t first, std::int64_t last, std::int64_t width) {
        for (std::int64_t i = first; i < last; ++i) {
          const Scalar* moment = rows.sums.mean.data() + i / width * width * d + i % width;
          const Scalar* own =
              rows.what == Weighted::tokens ? nullptr : values.centred.data() + rows.own(i) * values.step;
          const Scalar sum = rows.sums.sum[static_cast<std::size_t>(i)],
                       factor = row_factor(scale, sum, values.n);
          for (std::int64_t c = 0; c < d; ++c) {
            const Scalar from = own == nullptr ? static_cast<Scalar>(-values.middle_of(c)) : own[c];
            out[i * d + c] = (moment[c * width] - sum * from) * factor;
          }
        }
      },
      [](Eigen::Index, const ExactRow<Scalar>&) {});
}

/// The scores of an exact row less the largest of them, −∞ for keys that the mask leaves out, to w, the keys of its range.
/// \param terms  of keys, or none. \returns the range.
template <class Scalar, class Mask>
KeyRange score_differences(const QueryPack<Scalar>& queries, const RowKernels<Scalar>& kernels,
                           const Mask& mask, double slope, KeyTerms terms, Eigen::Index i,
                           const ExactRow<Scalar>& row, std::vector<double>& w) {
  const PointLayout<Scalar>& keys = *queries.keys;
  const Eigen::Index position = queries.first_position + i, d = keys.d;
  const KeyRange range = key_range(mask, position, keys.n);
  const bool plain = !has_bias(kernels.kind);
  const double away = std::abs(static_cast<double>(position - row.largest_key));
  w.assign(static_cast<std::size_t>(range.end - range.begin), -std::numeric_limits<double>::infinity());
  const Scalar* reference = keys.points() + row.largest_key * d;
  for (Eigen::Index j = range.begin; j < range.end; ++j) {
    if (!is_attended(mask, position, j)) continue;
    double delta = 0;
    for (Eigen::Index c = 0; c < d; ++c)
      delta += static_cast<double>(row.direction[c * row.stride]) *
               static_cast<double>(keys.points()[j * d + c] - reference[c]);
    if (plain) delta = (std::min)(delta, 0.0);
    double difference = row.score(delta);
    if (!plain) {
      difference += slope * (away - std::abs(static_cast<double>(position - j)));
      if (!terms.empty())
        difference += terms[static_cast<std::size_t>(j)] - terms[static_cast<std::size_t>(row.largest_key)];
      difference = (std::min)(difference, 0.0);
    }
    w[static_cast<std::size_t>(j - range.begin)] = difference;
  }
  return range;
}

/// All rows of a law of whole rows to columns of out. Cost: O(m n (d + d_v)) and what the law takes.
template <class Scalar, class Law, class Mask>
void attend_whole_rows(const RowProblem<Scalar>& rows, const Law& law, const Mask& mask, double slope,
                       Scalar* out, RowRecord* record) {
  const PointLayout<Scalar>& values = rows.values;
  const Eigen::Index d = values.d;
  for_all_rows(
      rows, [](std::int64_t, std::int64_t, std::int64_t) {},
      [&](Eigen::Index i, const ExactRow<Scalar>& row) {
        Scalar* to = out + i * d;
        std::fill_n(to, d, Scalar(0));
        if (record != nullptr) {
          record->log_normalizer[static_cast<std::size_t>(i)] = row.log_normalizer();
          record->largest_key[static_cast<std::size_t>(i)] = row.largest_key;
        }
        if (row.sum == Scalar(0)) return;
        static constinit thread_local Scratch<std::vector<double>> kept_weights, kept_sums;
        std::vector<double>&w = *kept_weights, &sums = *kept_sums;
        const KeyRange range = score_differences(rows.queries, rows.kernels, mask, slope, {}, i, row, w);
        law.weigh_row(std::span<double>(w));
        const Scalar* reference = values.points() + row.largest_key * d;
        sums.assign(static_cast<std::size_t>(d), 0);
        for (Eigen::Index j = range.begin; j < range.end; ++j) {
          const double weight = w[static_cast<std::size_t>(j - range.begin)];
          if (weight == 0) continue;
          for (Eigen::Index c = 0; c < d; ++c)
            sums[static_cast<std::size_t>(c)] +=
                weight * static_cast<double>(values.points()[j * d + c] - reference[c]);
        }
        for (Eigen::Index c = 0; c < d; ++c) {
          const Scalar from = rows.what == Weighted::displacements
                                  ? values.points()[rows.own(i) * d + c]
                                  : static_cast<Scalar>(-values.origin_of(c));
          to[c] = (reference[c] - from) + static_cast<Scalar>(sums[static_cast<std::size_t>(c)]);
        }
      });
}

}}}  // namespace attnflow::detail
