/// \file
/// Numbers of 106 bits as sums of two doubles, for recurrences of thousands of steps.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// high + low, |low| at most half a unit in the last place of high [Dek71]. Results are within some 2⁻¹⁰² of the true
/// ones where nothing cancels, overflows or underflows.
struct DoubleDouble {
  double high = 0, low = 0;
};

/// a + b, exactly. \pre |a| ≥ |b|, or a = 0.
[[nodiscard]] inline DoubleDouble ordered_sum(double a, double b) {
  require_sums_in_order();
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

/// a + b, exactly.
[[nodiscard]] inline DoubleDouble exact_sum(double a, double b) {
  require_sums_in_order();
  const double sum = a + b, of_b = sum - a;
  return {sum, (a - (sum - of_b)) + (b - of_b)};
}

/// a b, exactly.
[[nodiscard]] inline DoubleDouble exact_product(double a, double b) {
  const double product = a * b;
  return {product, std::fma(a, b, -product)};
}

[[nodiscard]] inline DoubleDouble operator+(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble sum = exact_sum(a.high, b.high);
  return ordered_sum(sum.high, sum.low + (a.low + b.low));
}

[[nodiscard]] inline DoubleDouble operator*(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble product = exact_product(a.high, b.high);
  return ordered_sum(product.high, product.low + (a.high * b.low + a.low * b.high));
}

[[nodiscard]] inline DoubleDouble operator/(DoubleDouble a, DoubleDouble b) {
  const double quotient = a.high / b.high;
  const DoubleDouble back = exact_product(quotient, b.high);
  const double rest = (a.high - back.high) - back.low + (a.low - quotient * b.low);
  return ordered_sum(quotient, rest / b.high);
}

}}}  // namespace attnflow::detail
