/// \file
/// The place where a function of one variable changes its sign.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// A number b' in (a, b] with v(b') < 0 and v(a') ≥ 0 for some a' ≥ b' − tolerance: v(a) ≥ 0 and v(b) < 0, the numbers
/// va and vb, are known. If v changes its sign several times, b' is one of these places.
///
/// The ITP method [OT20]: points of regula falsi, moved towards the midpoint and never so far from it that more than
/// ⌈log₂((b − a) / tolerance)⌉ + 1 evaluations could be needed, as many as bisection takes and one. A smooth v takes about
/// ten. The tolerance is at least two units in the last place of a and b.
template <class V>
[[nodiscard]] double crossing(double a, double va, double b, double vb, double tolerance, V&& v) {
  const double resolved = 2 * std::numeric_limits<double>::epsilon() * (std::max)(std::abs(a), std::abs(b));
  tolerance = (std::max)({tolerance, resolved, (std::numeric_limits<double>::min)()});
  const double first = b - a;
  double allowed =
      tolerance * std::exp2(std::ceil(std::log2((std::max)(first / tolerance, 1.))));  // for b − a next
  for (; b - a > tolerance; allowed /= 2) {
    const double half = (b - a) / 2, middle = a + half, reach = (std::max)(allowed - half, 0.);
    double share = va / (va - vb);
    if (!(share >= 0 && share <= 1)) share = 0.5;
    const double straight = a + share * (b - a), shift = 0.2 * (b - a) / first * (b - a);
    double m =
        std::abs(middle - straight) <= shift ? middle : straight + std::copysign(shift, middle - straight);
    m = std::clamp(m, middle - reach, middle + reach);
    m = std::clamp(m, a + tolerance / 2, b - tolerance / 2);
    const double vm = v(m);
    (vm < 0 ? b : a) = m;
    (vm < 0 ? vb : va) = vm;
  }
  return b;
}

}}}  // namespace attnflow::detail
