/// \file
/// Axes of figures: their ends, the places of numbers on them, and ticks at round numbers.
#pragma once

#include "figures/figure.hpp"
#include "figures/svg_text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace figures {

/// Beyond this a number is not drawn: differences of two must not overflow. On a logarithmic axis, neither
/// below its inverse.
inline constexpr double largest_drawn = 1e300;

[[nodiscard]] inline bool drawable(double value, bool logarithmic) {
  return std::abs(value) <= largest_drawn && (!logarithmic || value >= 1 / largest_drawn);
}

/// What an axis has to show. `firm` ends, of matrices and bars, get no margin.
struct Extent {
  static constexpr double infinity = std::numeric_limits<double>::infinity();
  double low = infinity, high = -infinity, firm_low = infinity, firm_high = -infinity;

  void see(double value) {
    low = (std::min)(low, value);
    high = (std::max)(high, value);
  }
  void see_firm(double value) {
    firm_low = (std::min)(firm_low, value);
    firm_high = (std::max)(firm_high, value);
  }
  [[nodiscard]] bool empty() const { return low > high && firm_low > firm_high; }
};

/// An axis with its ends: place() takes low to 0 and high to 1. With low > high it runs the other way.
struct Scale {
  double low = 0, high = 1;
  bool logarithmic = false, whole = false;

  [[nodiscard]] double measure(double value) const { return logarithmic ? std::log10(value) : value; }
  /// NaN for what cannot be drawn.
  [[nodiscard]] double place(double value) const {
    if (logarithmic && !(value > 0)) return std::numeric_limits<double>::quiet_NaN();
    return (measure(value) - measure(low)) / (measure(high) - measure(low));
  }
  /// Widens both ends about the middle by this factor. \pre not logarithmic.
  void widen(double factor) {
    const double middle = low / 2 + high / 2, half = (std::min)((high - low) / 2 * factor, 1e300);
    low = middle - half;
    high = middle + half;
  }
};

/// The ends as the axis names them, or from the extent with a margin of 4 % beside what is not firm. Where
/// all numbers are equal, to nine digits, the axis reaches to both sides of them; numbers below 10⁻²⁹⁰ are as
/// good as 0.
[[nodiscard]] inline Scale scale_of(const Figure::Axis& axis, const Extent& extent) {
  Scale scale{0, 1, axis.logarithmic, axis.whole};
  const bool log = axis.logarithmic;
  double low = (std::min)(extent.low, extent.firm_low), high = (std::max)(extent.high, extent.firm_high);
  if (extent.empty()) {
    low = log ? 1 : 0;
    high = log ? 10 : 1;
  }
  const double size = (std::max)(std::abs(low), std::abs(high));
  const bool vanish = !log && size < 1e-290;  // zeros, to the eye, and their differences have no digits
  const bool equal = vanish || !apart(low, high);
  if (equal && log) {
    low /= 2;
    high *= 2;
  } else if (equal) {
    const double half = vanish ? 1 : (std::max)(std::abs(low) / 10, axis.whole ? 1.0 : 0.0);
    low -= half;
    high += half;
  } else if (!extent.empty()) {
    const double margin = 0.04 * (scale.measure(high) - scale.measure(low));
    const bool soft_low = extent.low<extent.firm_low, soft_high = extent.high> extent.firm_high;
    if (soft_low) low = log ? (std::max)(low * std::pow(10, -margin), 1e-305) : low - margin;
    if (soft_high) high = log ? (std::min)(high * std::pow(10, margin), 1e305) : high + margin;
  }
  const bool low_given = std::isfinite(axis.low), high_given = std::isfinite(axis.high);
  scale.low = low_given ? axis.low : low;
  scale.high = high_given ? axis.high : high;
  // All numbers may be beyond the only end that was given.
  if (low_given != high_given && !(scale.low < scale.high && apart(scale.low, scale.high))) {
    const double step = (std::max)(1.0, std::abs(low_given ? axis.low : axis.high));
    if (low_given) scale.high = log ? scale.low * 10 : scale.low + step;
    if (high_given) scale.low = log ? scale.high / 10 : scale.high - step;
  }
  return scale;
}

struct Ticks {
  std::vector<double> at, minor = {};
  std::vector<std::string> labels = {};
  int power = 0;  ///< the labels are multiples of 10^power
};

[[nodiscard]] inline std::string with_minus(std::string text) {
  return !text.empty() && text[0] == '-' ? "−" + text.substr(1) : text;
}

/// At most `most` multiples of 1, 2 or 5 times a power of ten, and labels with the digits that part them.
/// \pre most ≥ 2.
[[nodiscard]] inline Ticks linear_ticks(double low, double high, int most, bool whole) {
  Ticks ticks;
  const double room = std::clamp(high - low, 1e-290, 1e300),
               slack = 1e-9;  // a room whose powers of ten are numbers
  auto power = static_cast<int>(std::floor(std::log10(room / most)));
  if (whole) power = (std::max)(power, 0);
  double first = 0, last = 0, step = 1;
  int mantissa = 1;
  for (bool fits = false; !fits;) {
    for (const int m : {1, 2, 5}) {
      mantissa = m;
      step = m * std::pow(10, power);
      first = std::ceil(low / step - slack);
      last = std::floor(high / step + slack);
      fits = last - first + 1 <= most;
      if (fits) break;
    }
    if (!fits) ++power;
  }
  const double largest = (std::max)(std::abs(first * step), std::abs(last * step));
  const auto size = largest > 0 ? static_cast<int>(std::floor(std::log10(largest) + slack)) : 0;
  ticks.power = size >= 5 || size <= -4 ? size : 0;
  const int digits = (std::max)(0, ticks.power - power);
  for (double k = first; k <= last; ++k) {
    const double at = power < 0 ? k * mantissa / std::pow(10, -power) : k * step;
    if (at < low - slack * room || at > high + slack * room) continue;  // step may be far more than the room
    ticks.at.push_back(at);
    ticks.labels.push_back(with_minus(fixed(k * mantissa * std::pow(10, power - ticks.power), digits)));
  }
  return ticks;
}

/// m·10^k as a label: a plain number in the middle, scripts outside.
[[nodiscard]] inline std::string power_label(int mantissa, int k) {
  if (mantissa != 1 && k >= -3 && k <= 3) return fixed(mantissa * std::pow(10, k), (std::max)(0, -k));
  return (mantissa == 1 ? "" : std::to_string(mantissa) + "·") + "10^{" + with_minus(std::to_string(k)) + '}';
}

/// Powers of ten; within a decade or two also their multiples by 2 and 5, or round numbers.
[[nodiscard]] inline Ticks logarithmic_ticks(double low, double high, int most) {
  Ticks ticks;
  const double a = std::log10(low), b = std::log10(high), slack = 1e-9;
  const auto first = static_cast<int>(std::ceil(a - slack)), last = static_cast<int>(std::floor(b + slack));
  const int decades = last - first + 1;
  const auto inside = [&](double place) { return place >= a - slack && place <= b + slack; };
  if (decades >= 3 || (decades == 2 && most < 4)) {
    int stride = 1;
    for (const int s : {1, 2, 3, 5, 10, 20, 50, 100, 200})
      if (stride = s; (decades + s - 1) / s <= most) break;
    const int start = static_cast<int>(std::ceil(static_cast<double>(first) / stride)) * stride;
    for (int k = start; k <= last; k += stride) {
      ticks.at.push_back(std::pow(10, k));
      ticks.labels.push_back(power_label(1, k));
    }
    for (int k = first - 1; k <= last && decades <= 40; ++k)
      for (int m = stride == 1 ? 2 : 1; m <= (stride == 1 ? 9 : 1); ++m)
        if (inside(k + std::log10(m)) && (stride == 1 || (k - start) % stride != 0))
          ticks.minor.push_back(std::pow(10, k) * m);
    return ticks;
  }
  for (const bool fine : {true, false}) {
    ticks = {};
    for (int k = first - 1; k <= last; ++k)
      for (int m = 1; m <= 9; ++m) {
        if (!inside(k + std::log10(m))) continue;
        if (m == 1 || (fine && (m == 2 || m == 5))) {
          ticks.at.push_back(std::pow(10, k) * m);
          const bool plain = k >= -3 && k <= 3 && fine;
          ticks.labels.push_back(plain ? fixed(m * std::pow(10, k), (std::max)(0, -k)) : power_label(m, k));
        } else {
          ticks.minor.push_back(std::pow(10, k) * m);
        }
      }
    if (static_cast<int>(ticks.at.size()) <= most) break;
  }
  return ticks.at.size() >= 3 || b - a > 1 ? ticks : linear_ticks(low, high, most, false);
}

[[nodiscard]] inline Ticks ticks_of(const Scale& scale, int most) {
  const double low = (std::min)(scale.low, scale.high), high = (std::max)(scale.low, scale.high);
  return scale.logarithmic ? logarithmic_ticks(low, high, most) : linear_ticks(low, high, most, scale.whole);
}

}  // namespace figures
