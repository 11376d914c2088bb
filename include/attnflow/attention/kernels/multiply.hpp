/// \file
/// Products of a square matrix with tokens, by the kernels of this program's level.
#pragma once

#include <attnflow/algebra/multiply.hpp>
#include <attnflow/attention/kernels/kernels.hpp>
#include <attnflow/detail/aligned_vector.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/parallel/threads.hpp>

#include <algorithm>
#include <cstddef>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// y = A x for a d × d matrix and d × n columns without padding. Equal columns have equal products.
/// Cost: O(d² n) time; at most 2 d² numbers of scratch space.
template <class Scalar>
void multiply_tokens(const Scalar* a, const Scalar* x, Scalar* y, Eigen::Index d, Eigen::Index n) {
  if (d <= most_small_coordinates)
    return multiply<most_small_coordinates>(a, x, y, d, n);  // too few for packs
  const TokenKernels<Scalar>& kernels = token_kernels<Scalar>();
  const auto share_out = [&](const Scalar* matrix, Eigen::Index step) {
    constexpr Eigen::Index columns = 32;
    const double cost = 0.025 * static_cast<double>(d * d) * static_cast<double>(n);  // nanoseconds
    parallel_for((n + columns - 1) / columns, cost, [&](Eigen::Index k) {
      const Eigen::Index j = k * columns;
      kernels.multiply(matrix, step, x + j * d, y + j * d, d, d, (std::min)(columns, n - j));
    });
  };
  // Columns a multiple of 1024 bytes apart would share a few sets of the cache.
  Eigen::Index step = (d + kernels.width - 1) / kernels.width * kernels.width;
  if (step * static_cast<Eigen::Index>(sizeof(Scalar)) % 1024 == 0) step += kernels.width;
  if (d == step) return share_out(a, d);
  static constinit thread_local Scratch<AlignedVector<Scalar>> kept;
  AlignedVector<Scalar>& padded = *kept;
  padded.assign(static_cast<std::size_t>(step * d), Scalar(0));
  for (Eigen::Index k = 0; k < d; ++k) std::copy_n(a + k * d, d, padded.data() + k * step);
  share_out(padded.data(), step);
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
