/// \file
/// Products of a matrix with columns, by the kernels of this program's level.
#pragma once

#include <attnflow/attention/kernels/kernels.hpp>
#include <attnflow/detail/aligned_vector.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/numerics/multiply.hpp>
#include <attnflow/parallel/threads.hpp>

#include <algorithm>
#include <cstddef>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// y = A x for a rows × d matrix and d × n columns, which are x_step apart in x and without padding in y. Equal columns have
/// equal products. Cost: O(rows d n) time; at most 2 rows d numbers of scratch space.
template <class Scalar>
void multiply_columns(const Scalar* a, Eigen::Index rows, Eigen::Index d, const Scalar* x,
                      Eigen::Index x_step, Scalar* y, Eigen::Index n) {
  const TokenKernels<Scalar>& kernels = token_kernels<Scalar>();
  const auto share_out = [&](const Scalar* matrix, Eigen::Index step) {
    constexpr Eigen::Index columns = 32;
    const double cost = 0.025 * static_cast<double>(rows * d) * static_cast<double>(n);  // nanoseconds
    parallel_for((n + columns - 1) / columns, cost, [&](Eigen::Index k) {
      const Eigen::Index j = k * columns;
      kernels.multiply(matrix, step, x + j * x_step, x_step, y + j * rows, rows, d,
                       (std::min)(columns, n - j));
    });
  };
  // Columns a multiple of 1024 bytes apart would share a few sets of the cache.
  Eigen::Index step = (rows + kernels.width - 1) / kernels.width * kernels.width;
  if (step * static_cast<Eigen::Index>(sizeof(Scalar)) % 1024 == 0) step += kernels.width;
  if (rows == step) return share_out(a, rows);
  static constinit thread_local Scratch<AlignedVector<Scalar>> kept;
  AlignedVector<Scalar>& padded = *kept;
  padded.assign(static_cast<std::size_t>(step * d), Scalar(0));
  for (Eigen::Index k = 0; k < d; ++k) std::copy_n(a + k * rows, rows, padded.data() + k * step);
  share_out(padded.data(), step);
}

/// y = A x for a d × d matrix and d × n columns without padding.
template <class Scalar>
void multiply_tokens(const Scalar* a, const Scalar* x, Scalar* y, Eigen::Index d, Eigen::Index n) {
  if (d <= most_small_coordinates)
    return multiply<most_small_coordinates>(a, x, y, d, n);  // too few for packs
  multiply_columns(a, d, d, x, d, y, n);
}

/// The same for d = Dim, where that is known: no kernel is compiled for few coordinates.
template <int Dim, class Scalar>
void multiply_tokens(const Scalar* a, const Scalar* x, Scalar* y, Eigen::Index d, Eigen::Index n) {
  if constexpr (is_small<Dim>)
    return multiply<Dim>(a, x, y, Dim, n);
  else
    return multiply_tokens(a, x, y, d, n);
}

}}}  // namespace attnflow::detail
