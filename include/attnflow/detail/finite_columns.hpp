/// \file
/// The refusal of tokens, or other columns, that are not finite.
#pragma once

#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>

namespace attnflow::inline ATTNFLOW_ABI::detail {

/// \throws std::invalid_argument naming `function`, the column of `name` at fault and its coordinates.
template <class Derived>
void refuse_unless_finite(const char* function, const char* name, const Eigen::MatrixBase<Derived>& x,
                          const char* column = "token") {
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    if (!x.col(i).allFinite())
      refuse(function, ": ", column, " ", i, " of ", name, " is (", x.col(i).transpose(),
             "), expected finite numbers");
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
