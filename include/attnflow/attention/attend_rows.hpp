/// \file
/// The rows of attention, once scores are prepared: kernels, and what a law makes of their sums.
#pragma once

#include <attnflow/attention/exact_rows.hpp>
#include <attnflow/attention/kernels/kernels.hpp>
#include <attnflow/attention/position_sums.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/attention/scores.hpp>
#include <attnflow/parallel/threads.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// v factor, where nothing times ∞ is nothing.
template <class Scalar>
[[nodiscard]] Scalar scaled_entry(Scalar v, Scalar factor) noexcept {
  return v == Scalar(0) ? Scalar(0) : v * factor;
}

/// What a pair of tokens takes on one thread with AVX-512, in nanoseconds: to tell what is worth sharing out.
template <class Scalar>
[[nodiscard]] constexpr double row_cost(Eigen::Index d) noexcept {
  return (0.28 + 0.05 * static_cast<double>(d)) * (sizeof(Scalar) == sizeof(float) ? 0.45 : 1);
}

/// All rows of the scores prepared: the bounded ones in tiles, after which finish_bounded(first, last, width) reads their
/// sums; the others by packs, finish_exact(i, row). Rows are shared out among threads; no row's bits depend on the rows
/// beside it.
template <class Scalar, class FinishBounded, class FinishExact>
void for_all_rows(PreparedScores<Scalar>& scores, const RowKernels<Scalar>& kernels,
                  const FinishBounded& finish_bounded, const FinishExact& finish_exact) {
  if (scores.exact.size() < static_cast<std::size_t>(scores.n)) {
    RowTask<Scalar> task;
    task.n = scores.n;
    task.d = scores.d;
    task.keys = scores.centred.data();
    task.key_step = scores.key_step;
    task.queries = scores.queries.data();
    task.start = scores.start.data();
    task.begin = scores.ranged ? scores.begin.data() : nullptr;
    task.end = scores.ranged ? scores.end.data() : nullptr;
    task.positions = scores.positions.data();
    task.slope = scores.slope;
    task.sum = scores.sum.data();
    task.mean = scores.mean.data();
    task.function = scores.function;
    task.key_terms = scores.key_terms.data();
    task.picked = scores.picked;
    const std::int64_t width = kernels.width, n = scores.n, packs = (n + width - 1) / width;
    // Tiles of three packs, eight shares or more.
    const std::int64_t share = std::clamp<std::int64_t>(packs / 24 * 3, 3, 24);
    parallel_for((packs + share - 1) / share, row_cost<Scalar>(scores.d) * static_cast<double>(n * n),
                 [&](std::int64_t k) {
                   const std::int64_t first = k * share * width,
                                      last = (std::min)((k + 1) * share, packs) * width;
                   kernels.bounded(task, first, last);
                   finish_bounded(first, (std::min)(last, n), width);
                 });
  }
  const std::span<const Eigen::Index> exact = scores.exact;
  if (exact.empty()) return;
  const auto share = static_cast<std::size_t>(4 * kernels.width), shares = (exact.size() + share - 1) / share;
  const double cost =
      4 * row_cost<Scalar>(scores.d) * static_cast<double>(exact.size()) * static_cast<double>(scores.n);
  parallel_for(static_cast<Eigen::Index>(shares), cost, [&](Eigen::Index k) {
    const std::size_t first = static_cast<std::size_t>(k) * share;
    for_each_exact_row(scores, kernels, exact.subspan(first, (std::min)(share, exact.size() - first)),
                       finish_exact);
  });
}

/// log ∑ⱼ e^{sᵢⱼ} of a bounded row; −∞ where the mask leaves nothing.
template <class Scalar>
[[nodiscard]] double log_normalizer_of(const PreparedScores<Scalar>& scores, Eigen::Index i) {
  const auto row = static_cast<std::size_t>(i);
  if (scores.sum[row] == Scalar(0)) return -std::numeric_limits<double>::infinity();
  const double log2_sum =
      std::log2(static_cast<double>(scores.sum[row])) - static_cast<double>(scores.start[row]);
  return (log2_sum + scores.centre_score(i)) * std::numbers::ln2 + scores.largest_term;
}

/// The bounded rows first … last − 1 of exponentials, finished: the sums of their kernel to columns of out.
template <int Dim, class Scalar, class Law, class Positions>
void finish_bounded_rows(const PreparedScores<Scalar>& scores, Weighted what, const Law& law,
                         const Positions& positions, std::int64_t first, std::int64_t last,
                         std::int64_t width, Scalar* out) {
  const std::int64_t d = Dim > 0 ? Dim : scores.d;
  for (std::int64_t i = first; i < last; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const Scalar* mean = scores.mean.data() + i / width * width * d + i % width;
    const Scalar* own = scores.centred.data() + i * scores.key_step;
    Scalar* to = out + i * d;
    if (scores.sum[row] == Scalar(0)) {  // nothing to attend to
      for (std::int64_t c = 0; c < d; ++c) to[c] = 0;
      continue;
    }
    if (what == Weighted::tokens)
      for (std::int64_t c = 0; c < d; ++c)
        to[c] = mean[c * width] + scores.centre[static_cast<std::size_t>(c)];
    else
      for (std::int64_t c = 0; c < d; ++c) to[c] = mean[c * width] - own[c];
    if constexpr (!Law::rows_sum_to_one) {
      const auto factor = static_cast<Scalar>(
          std::exp(positions.log_row_factor(law, log_normalizer_of(scores, i), scores.n, i)));
      for (std::int64_t c = 0; c < d; ++c) to[c] = scaled_entry(to[c], factor);
    }
  }
}

/// An exact row of exponentials or of the maximum, finished.
template <class Scalar, class Law, class Positions>
void finish_exact_row(const PreparedScores<Scalar>& scores, Weighted what, const Law& law,
                      const Positions& positions, Eigen::Index i, const ExactRow<Scalar>& row, Scalar* out,
                      RowRecord* rows) {
  const Scalar* own = scores.keys() + i * scores.d;
  Scalar* to = out + i * scores.d;
  for (Eigen::Index c = 0; c < scores.d; ++c) {
    const Scalar from = what == Weighted::tokens ? Scalar(0) : own[c];
    to[c] = row.sum == Scalar(0)
                ? Scalar(0)
                : (row.reference[c * row.stride] - from) + row.moment[c * row.stride] / row.sum;
  }
  if constexpr (Law::function == WeightFunction::maximum) {
    if (row.sum == Scalar(0)) {
      // nothing to attend to
    } else if (law.ties == Ties::first) {
      const Scalar* leader = scores.keys() + row.largest_key * scores.d;
      for (Eigen::Index c = 0; c < scores.d; ++c)
        to[c] = what == Weighted::tokens ? leader[c] : leader[c] - own[c];
    } else if (law.ties == Ties::all) {
      for (Eigen::Index c = 0; c < scores.d; ++c) to[c] *= row.sum;
    }
    if (rows == nullptr) return;
    rows->log_normalizer[static_cast<std::size_t>(i)] = row.log_normalizer(scores.d);
  } else {
    if (Law::rows_sum_to_one && rows == nullptr) return;
    const double log_normalizer = row.log_normalizer(scores.d);
    if (!Law::rows_sum_to_one && row.sum != Scalar(0)) {
      const auto factor =
          static_cast<Scalar>(std::exp(positions.log_row_factor(law, log_normalizer, scores.n, i)));
      for (Eigen::Index c = 0; c < scores.d; ++c) to[c] = scaled_entry(to[c], factor);
    }
    if (rows == nullptr) return;
    rows->log_normalizer[static_cast<std::size_t>(i)] = log_normalizer;
  }
  rows->largest_key[static_cast<std::size_t>(i)] = row.largest_key;
}

/// All rows of exponentials, or of the maximum, to columns of out.
template <int Dim, class Scalar, class Law, class Positions = EqualPositions>
void attend_rows(PreparedScores<Scalar>& scores, const RowKernels<Scalar>& kernels, Weighted what,
                 const Law& law, Scalar* out, RowRecord* rows, const Positions& positions = {}) {
  for_all_rows(
      scores, kernels,
      [&](std::int64_t first, std::int64_t last, std::int64_t width) {
        finish_bounded_rows<Dim>(scores, what, law, positions, first, last, width, out);
      },
      [&](Eigen::Index i, const ExactRow<Scalar>& row) {
        finish_exact_row(scores, what, law, positions, i, row, out, rows);
      });
}

/// All rows of a logistic or linear law, prepared by prepare_function, to columns of out: `factor` times
/// ∑ⱼ wᵢⱼ xⱼ, or ∑ⱼ wᵢⱼ (xⱼ − xᵢ).
template <class Scalar>
void attend_function_rows(PreparedScores<Scalar>& scores, const RowKernels<Scalar>& kernels, Weighted what,
                          double factor, Scalar* out) {
  const std::int64_t d = scores.d;
  for_all_rows(
      scores, kernels,
      [&](std::int64_t first, std::int64_t last, std::int64_t width) {
        for (std::int64_t i = first; i < last; ++i) {
          const Scalar* moment = scores.mean.data() + i / width * width * d + i % width;
          const Scalar* own = scores.centred.data() + i * scores.key_step;
          const Scalar sum = scores.sum[static_cast<std::size_t>(i)];
          for (std::int64_t c = 0; c < d; ++c) {
            const Scalar from =
                what == Weighted::tokens ? -scores.centre[static_cast<std::size_t>(c)] : own[c];
            out[i * d + c] = (moment[c * width] - sum * from) * static_cast<Scalar>(factor);
          }
        }
      },
      [](Eigen::Index, const ExactRow<Scalar>&) {});
}

}}}  // namespace attnflow::detail
