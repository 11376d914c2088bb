/// \file
/// Scaling by powers of two, which rounds nothing.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <Eigen/Core>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

[[nodiscard]] inline Eigen::MatrixXd scaled_by_power(const Eigen::MatrixXd& x, int exponent) {
  return x.unaryExpr([exponent](double value) { return std::ldexp(value, exponent); });
}

/// The exponent that takes the largest entry to [1/2, 1); 0 if all are 0.
[[nodiscard]] inline int unit_shift(const Eigen::MatrixXd& x) {
  const double largest = x.size() > 0 ? x.cwiseAbs().maxCoeff() : 0;
  return largest > 0 ? -1 - std::ilogb(largest) : 0;
}

}}}  // namespace attnflow::detail
