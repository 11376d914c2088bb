/// \file
/// Rows of attention whose scores may be of any size.
#pragma once

#include <attnflow/attention/detail/query_pack.hpp>
#include <attnflow/attention/kernels/kernels.hpp>
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
///     sum = ∑ⱼ e^{sᵢⱼ − sᵢᵣ},   moment = ∑ⱼ e^{sᵢⱼ − sᵢᵣ} (valueⱼ − valueᵣ).
///
/// Differences are taken before products: near a tie the score differences keep their relative accuracy at
/// any scale, and values that are equal contribute exactly nothing to the moment. Numbers of direction, reference (value
/// r) and moment are `stride` apart.
template <class Scalar>
struct ExactRow {
  Eigen::Index largest_key = 0;
  Scalar sum = 0;  ///< zero where the mask leaves nothing
  const Scalar* direction = nullptr;
  const Scalar* reference = nullptr;
  const Scalar* moment = nullptr;
  Eigen::Index stride = 1;
  double half_scale = 0;
  double product = 0;  ///< ⟨direction, key r⟩
  double fall = 0;  ///< what the positional bias takes from the largest score, less what the key's term adds

  /// The score of a difference of keys, ⟨direction, y⟩ half_scale², in two factors neither of which overflows.
  [[nodiscard]] double score(double of) const noexcept { return (of * half_scale) * half_scale; }

  /// log ∑ⱼ e^{sᵢⱼ}; ±∞ only where it is beyond 10³⁰⁸, −∞ where the mask leaves nothing.
  [[nodiscard]] double log_normalizer() const {
    if (sum == Scalar(0)) return -std::numeric_limits<double>::infinity();  // whatever the score of no key is
    return score(product) - fall + std::log(static_cast<double>(sum));
  }
};

/// √(log₂ e): scores in base two are (⟨direction, y⟩ half) half with half = half_scale √(log₂ e).
inline constexpr double exp2_root = 0x1.337cc2183b050p+0;

/// Calls finish(i, row) for the rows listed, a pack of them at a time. Values may be the keys of the queries.
/// Cost: O(n d) time for each, O(d) memory.
template <class Scalar, class Finish>
void for_each_exact_row(const QueryPack<Scalar>& queries, const PointLayout<Scalar>& values,
                        const RowKernels<Scalar>& kernels, std::span<const Eigen::Index> rows,
                        Finish&& finish) {
  const PointLayout<Scalar>& keys = *queries.keys;
  const bool shared = &keys == &values;
  static constinit thread_local Scratch<std::vector<Scalar>> kept;
  std::vector<Scalar>& scratch = *kept;
  const auto width = static_cast<std::size_t>(kernels.width), d = static_cast<std::size_t>(keys.d),
             value_d = static_cast<std::size_t>(values.d);
  scratch.resize((2 * d + 2 * value_d + 6) * width);
  Scalar* at = scratch.data();
  const auto take = [&](std::size_t numbers) {
    Scalar* part = at;
    at += numbers * width;
    return part;
  };
  Scalar *direction = take(d), *reference = take(d), *moment = take(value_d);
  Scalar* value_reference = shared ? reference : take(value_d);
  Scalar *half = take(1), *begin = take(1), *end = take(1), *position = take(1), *best = take(1),
         *sum = take(1);
  static constinit thread_local Scratch<std::vector<double>> kept_scale;
  std::vector<double>& half_scale = *kept_scale;
  half_scale.resize(width);
  ExactTask<Scalar> task;
  task.n = keys.n;
  task.d = keys.d;
  task.keys = keys.points();
  task.value_d = values.d;
  task.values = values.points();
  task.queries = direction;
  task.half = half;
  task.begin = begin;
  task.end = end;
  task.position = position;
  task.first_position = queries.first_position;
  task.slope = queries.slope;
  task.key_terms = queries.key_terms.data();
  task.picked = queries.picked;
  task.hard = queries.hard;
  task.tolerance = static_cast<Scalar>(queries.tie_tolerance);
  task.best = best;
  task.reference = reference;
  task.value_reference = value_reference;
  task.sum = sum;
  task.moment = moment;
  const bool terms = kernels.kind == RowKind::general;
  for (std::size_t first = 0; first < rows.size(); first += width) {
    const std::size_t filled = (std::min)(width, rows.size() - first);
    for (std::size_t l = 0; l < width; ++l) {
      if (l < filled) {
        const Eigen::Index i = rows[first + l];
        queries.direction(i, direction + l, static_cast<Eigen::Index>(width), half_scale[l]);
        begin[l] = queries.ranged ? queries.begin[static_cast<std::size_t>(i)] : Scalar(0);
        end[l] = queries.ranged ? queries.end[static_cast<std::size_t>(i)] : static_cast<Scalar>(keys.n);
        position[l] = static_cast<Scalar>(queries.first_position + i);
      } else {  // a lane without a row attends to nothing
        for (std::size_t c = 0; c < d; ++c) direction[c * width + l] = 0;
        half_scale[l] = 0;
        begin[l] = end[l] = 0;
        position[l] = static_cast<Scalar>(queries.first_position);
      }
      half[l] = QueryPack<Scalar>::representable(half_scale[l] * exp2_root);
    }
    kernels.exact(task);
    for (std::size_t l = 0; l < filled; ++l) {
      const double away = std::abs(static_cast<double>(position[l]) - static_cast<double>(best[l]));
      const auto key = static_cast<Eigen::Index>(best[l]);
      double fall = static_cast<double>(queries.slope) * std::numbers::ln2 * away, product = 0;
      if (terms && sum[l] != Scalar(0))
        fall -= queries.largest_term +
                static_cast<double>(queries.key_terms[static_cast<std::size_t>(key)]) * std::numbers::ln2;
      for (std::size_t c = 0; c < d; ++c)
        product +=
            static_cast<double>(direction[c * width + l]) *
            (static_cast<double>(reference[c * width + l]) + keys.origin_of(static_cast<Eigen::Index>(c)));
      finish(rows[first + l],
             ExactRow<Scalar>{key, sum[l], direction + l, value_reference + l, moment + l,
                              static_cast<Eigen::Index>(width), half_scale[l], product, fall});
    }
  }
}

}}}  // namespace attnflow::detail
