/// \file
/// Refuses points that are not finite.
#pragma once

#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>

namespace attnflow::detail {

/// \throws std::invalid_argument naming function, argument and column, unless all numbers are finite.
template <class Derived>
void validate_columns(const char* function, const char* name, const Eigen::MatrixBase<Derived>& x) {
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    if (!x.col(i).allFinite())
      refuse(function, ": column ", i, " of ", name, " is (", x.col(i).transpose(),
             "), expected finite numbers");
}

}  // namespace attnflow::detail
