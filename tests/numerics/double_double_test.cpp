#include <attnflow/numerics/double_double.hpp>

#include "catch.hpp"

#include <cmath>

namespace {

using attnflow::detail::DoubleDouble;
using attnflow::detail::exact_product;
using attnflow::detail::exact_sum;

/// (a − b) / b, given that the two are close.
double relative(DoubleDouble a, DoubleDouble b) { return ((a.high - b.high) + (a.low - b.low)) / b.high; }

}  // namespace

TEST_CASE("sums and products of two doubles are exact", "[double_double]") {
  const DoubleDouble sum = exact_sum(1e-20, 1);  // in either order
  CHECK(sum.high == 1);
  CHECK(sum.low == 1e-20);
  const double odd = 0x1p52 + 1;
  const DoubleDouble square = exact_product(odd, odd);  // 2¹⁰⁴ + 2⁵³ + 1
  CHECK(square.high == 0x1p104 + 0x1p53);
  CHECK(square.low == 1);
}

TEST_CASE("arithmetic of 106 bits keeps 100 of them", "[double_double]") {
  // π, e, their sum, product and quotient, by 60-digit arithmetic.
  const DoubleDouble pi{3.141592653589793, 1.2246467991473532e-16},
      e{2.718281828459045, 1.4456468917292502e-16};
  const auto close = [](DoubleDouble value, double high, double low) {
    return std::abs(relative(value, {high, low})) < 0x1p-100;
  };
  CHECK(close(pi + e, 5.859874482048839, -1.7705984076240228e-16));
  CHECK(close(pi * e, 8.539734222673568, -6.773815290502424e-16));
  CHECK(close(pi / e, 1.1557273497909217, -1.3998972600526045e-17));
  CHECK(close(DoubleDouble{1, 0} / DoubleDouble{3, 0} * DoubleDouble{3, 0}, 1, 0));
}
