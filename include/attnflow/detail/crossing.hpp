/// \file
/// The place where a function of one variable changes its sign.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// A number b' in (a, b] with v(b') < 0 and v(a') ≥ 0 for some a' ≥ b' − tolerance: v(a) ≥ 0 and v(b) < 0, the numbers
/// va and vb, are known. If v changes its sign several times, b' is one of these places.
///
/// Regula falsi with halved weights (the Illinois method); every third point is the midpoint, so that
/// 3 log₂((b − a) / tolerance) evaluations are enough for any v, even a discontinuous one. A smooth v takes about a dozen.
/// The tolerance is at least two units in the last place of a and b.
template <class V>
[[nodiscard]] double crossing(double a, double va, double b, double vb, double tolerance, V&& v) {
  const double resolved = 2 * std::numeric_limits<double>::epsilon() * (std::max)(std::abs(a), std::abs(b));
  tolerance = (std::max)({tolerance, resolved, (std::numeric_limits<double>::min)()});
  int moved = 0;  // the end that moved last: 1 is b, -1 is a
  for (int k = 1; b - a > tolerance; ++k) {
    double share = va / (va - vb);
    if (k % 3 == 0 || !(share >= 0 && share <= 1)) share = 0.5;
    const double m = std::clamp(a + share * (b - a), a + tolerance / 2, b - tolerance / 2), vm = v(m);
    if (vm < 0) {
      b = m;
      vb = vm;
      if (std::exchange(moved, 1) == 1) va /= 2;
    } else {
      a = m;
      va = vm;
      if (std::exchange(moved, -1) == -1) vb /= 2;
    }
  }
  return b;
}

}}}  // namespace attnflow::detail
