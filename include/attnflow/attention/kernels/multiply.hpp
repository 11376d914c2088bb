/// \file
/// Products of a square matrix with tokens, by the kernels of this program's level.
#pragma once

#include <attnflow/algebra/multiply.hpp>
#include <attnflow/attention/kernels/kernels.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI::detail {

/// y = A x, or Aᵀ x, for a d × d matrix and d × n columns without padding. Equal columns have equal products.
/// Cost: O(d² n) time, d² numbers of scratch space.
template <class Scalar>
void multiply_tokens(const Scalar* a, bool transposed, const Scalar* x, Scalar* y, Eigen::Index d,
                     Eigen::Index n) {
  constexpr Eigen::Index widest = 16;
  static thread_local std::vector<Scalar> scratch;
  const bool few = d <= 8;  // too few for packs
  if (few && !transposed) return multiply(a, x, y, d, n);
  const Eigen::Index step = few ? d : (d + widest - 1) / widest * widest;
  scratch.assign(static_cast<std::size_t>(step * d), Scalar(0));
  for (Eigen::Index k = 0; k < d; ++k)
    for (Eigen::Index i = 0; i < d; ++i)
      scratch[static_cast<std::size_t>(k * step + i)] = transposed ? a[i * d + k] : a[k * d + i];
  if (few) return multiply(scratch.data(), x, y, d, n);
  multiply_padded(scratch.data(), step, x, y, d, d, n);
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
