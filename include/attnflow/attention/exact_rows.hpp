/// \file
/// Rows of attention whose scores may be of any size.
#pragma once

#include <attnflow/attention/kernels/kernels.hpp>
#include <attnflow/attention/scores.hpp>
#include <attnflow/detail/scratch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// What an exact row leaves behind, with r the key of largest score:
///
///     sum = ∑ⱼ e^{sᵢⱼ − sᵢᵣ},   moment = ∑ⱼ e^{sᵢⱼ − sᵢᵣ} (keyⱼ − keyᵣ).
///
/// Differences are taken before products: near a tie the score differences keep their relative accuracy at
/// any scale, and tokens that are equal contribute exactly nothing to the moment. direction, reference (key r) and
/// moment are d numbers, `stride` apart.
template <class Scalar>
struct ExactRow {
  Eigen::Index largest_key = 0;
  Scalar sum = 0;  ///< zero where the mask leaves nothing
  const Scalar* direction = nullptr;
  const Scalar* reference = nullptr;
  const Scalar* moment = nullptr;
  Eigen::Index stride = 1;
  double half_scale = 0;
  double fall = 0;  ///< what the positional bias takes from the largest score, less what the key's term adds

  /// The score of a difference of keys, ⟨direction, y⟩ half_scale², in two factors neither of which overflows.
  [[nodiscard]] double score(double product) const noexcept { return (product * half_scale) * half_scale; }

  /// log ∑ⱼ e^{sᵢⱼ}; ±∞ only where it is beyond 10³⁰⁸, −∞ where the mask leaves nothing.
  [[nodiscard]] double log_normalizer(Eigen::Index d) const {
    if (sum == Scalar(0)) return -std::numeric_limits<double>::infinity();  // whatever the score of no key is
    double product = 0;
    for (Eigen::Index c = 0; c < d; ++c)
      product += static_cast<double>(direction[c * stride]) * static_cast<double>(reference[c * stride]);
    return score(product) - fall + std::log(static_cast<double>(sum));
  }
};

/// √(log₂ e): scores in base two are (⟨direction, y⟩ half) half with half = half_scale √(log₂ e).
inline constexpr double exp2_root = 0x1.337cc2183b050p+0;

/// Calls finish(i, row) for the rows listed, a pack of them at a time. Cost: O(n d) time for each, O(d) memory.
template <class Scalar, class Finish>
void for_each_exact_row(const PreparedScores<Scalar>& scores, const RowKernels<Scalar>& kernels,
                        std::span<const Eigen::Index> rows, Finish&& finish) {
  static constinit thread_local Scratch<std::vector<Scalar>> kept;
  std::vector<Scalar>& scratch = *kept;
  const auto width = static_cast<std::size_t>(kernels.width), d = static_cast<std::size_t>(scores.d);
  scratch.resize((3 * d + 6) * width);
  Scalar* at = scratch.data();
  const auto take = [&](std::size_t numbers) {
    Scalar* part = at;
    at += numbers * width;
    return part;
  };
  Scalar *direction = take(d), *reference = take(d), *moment = take(d);
  Scalar *half = take(1), *begin = take(1), *end = take(1), *position = take(1), *best = take(1),
         *sum = take(1);
  static constinit thread_local Scratch<std::vector<double>> kept_scale;
  std::vector<double>& half_scale = *kept_scale;
  half_scale.resize(width);
  ExactTask<Scalar> task;
  task.n = scores.n;
  task.d = scores.d;
  task.keys = scores.keys();
  task.queries = direction;
  task.half = half;
  task.begin = begin;
  task.end = end;
  task.position = position;
  task.slope = scores.slope;
  task.key_terms = scores.key_terms.data();
  task.picked = scores.picked;
  task.hard = scores.function == WeightFunction::maximum;
  task.tolerance = static_cast<Scalar>(scores.tie_tolerance);
  task.best = best;
  task.reference = reference;
  task.sum = sum;
  task.moment = moment;
  const bool terms = kernels.kind == RowKind::general;
  for (std::size_t first = 0; first < rows.size(); first += width) {
    const std::size_t filled = (std::min)(width, rows.size() - first);
    for (std::size_t l = 0; l < width; ++l) {
      if (l < filled) {
        const Eigen::Index i = rows[first + l];
        scores.direction(i, direction + l, static_cast<Eigen::Index>(width), half_scale[l]);
        begin[l] = scores.ranged ? scores.begin[static_cast<std::size_t>(i)] : Scalar(0);
        end[l] = scores.ranged ? scores.end[static_cast<std::size_t>(i)] : static_cast<Scalar>(scores.n);
        position[l] = static_cast<Scalar>(i);
      } else {  // a lane without a row attends to nothing
        for (std::size_t c = 0; c < d; ++c) direction[c * width + l] = 0;
        half_scale[l] = 0;
        begin[l] = end[l] = position[l] = 0;
      }
      half[l] = PreparedScores<Scalar>::representable(half_scale[l] * exp2_root);
    }
    kernels.exact(task);
    for (std::size_t l = 0; l < filled; ++l) {
      const double away = std::abs(static_cast<double>(position[l]) - static_cast<double>(best[l]));
      const auto key = static_cast<Eigen::Index>(best[l]);
      double fall = static_cast<double>(scores.slope) * std::numbers::ln2 * away;
      if (terms && sum[l] != Scalar(0))
        fall -= scores.largest_term +
                static_cast<double>(scores.key_terms[static_cast<std::size_t>(key)]) * std::numbers::ln2;
      finish(rows[first + l], ExactRow<Scalar>{key, sum[l], direction + l, reference + l, moment + l,
                                               static_cast<Eigen::Index>(width), half_scale[l], fall});
    }
  }
}

}}}  // namespace attnflow::detail
