/// \file
/// Colours of figures, told apart by all kinds of colour vision.
#pragma once

#include "figures/figure.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace figures {

/// The palette of Okabe and Ito without black; its yellow, faint on white, comes last and darker.
[[nodiscard]] inline std::string colour_text(int colour) {
  constexpr std::array<std::string_view, 7> palette{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                    "#e69f00", "#56b4e9", "#b8a800"};
  if (colour == Figure::black) return "#111111";
  if (colour == Figure::white) return "#ffffff";
  if (colour < 0) return "#8a8a8a";
  return std::string(palette[static_cast<std::size_t>(colour) % palette.size()]);
}

/// Viridis (S. van der Walt, N. Smith) at 0 to 1: its lightness grows evenly, for all kinds of colour vision
/// and in grey.
[[nodiscard]] inline std::array<std::uint8_t, 3> viridis(double value) {
  constexpr std::array<std::array<double, 3>, 11> colours{{{68, 1, 84},
                                                           {72, 36, 117},
                                                           {65, 68, 135},
                                                           {53, 95, 141},
                                                           {42, 120, 142},
                                                           {33, 145, 140},
                                                           {34, 168, 132},
                                                           {68, 191, 112},
                                                           {122, 209, 81},
                                                           {189, 223, 38},
                                                           {253, 231, 37}}};
  const double place = std::clamp(value, 0.0, 1.0) * 10;
  const auto below = std::min<std::size_t>(static_cast<std::size_t>(place), 9);
  std::array<std::uint8_t, 3> rgb{};
  for (std::size_t k = 0; k < 3; ++k)
    rgb[k] = static_cast<std::uint8_t>(
        std::lround(std::lerp(colours[below][k], colours[below + 1][k], place - static_cast<double>(below))));
  return rgb;
}

[[nodiscard]] inline std::string colour_text(const std::array<std::uint8_t, 3>& rgb) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "#";
  for (const std::uint8_t part : rgb) {
    out += digits[part >> 4];
    out += digits[part & 15U];
  }
  return out;
}

/// From the numbers of a heat map to shades, 0 to 1.
struct Shading {
  double low = 0, high = 1;
  Figure::Shade shade = Figure::Shade::linear;

  explicit Shading(const Figure::HeatMap& map) : shade(map.shade) {
    const bool log = shade == Figure::Shade::logarithmic;
    double least = std::numeric_limits<double>::infinity(), most = -least;
    for (Eigen::Index k = 0; k < map.values.size(); ++k) {
      const double value = map.values.data()[k];
      if (!(std::abs(value) <= 1e300) || (log && value <= 0)) continue;
      least = (std::min)(least, value);
      most = (std::max)(most, value);
    }
    if (least > most) {
      least = log ? 0.1 : 0;
      most = 1;
    }
    low = std::isfinite(map.least) ? map.least : least;
    high = std::isfinite(map.most) ? map.most : most;
    if (high > low && apart(low, high)) return;
    if (std::isfinite(map.least))
      high = log ? low * 10 : low + (std::max)(std::abs(low), 1.0);
    else if (std::isfinite(map.most) || log)
      low = log ? high / 10 : high - (std::max)(std::abs(high), 1.0);
    else
      low = high - (high == 0 ? 1 : std::abs(high));
  }

  /// NaN for what has no shade.
  [[nodiscard]] double operator()(double value) const {
    if (std::isnan(value)) return value;
    if (shade == Figure::Shade::logarithmic)
      return value <= 0
                 ? 0
                 : std::clamp((std::log(value) - std::log(low)) / (std::log(high) - std::log(low)), 0.0, 1.0);
    const double place = std::clamp((std::clamp(value, low, high) - low) / (high - low), 0.0, 1.0);
    return shade == Figure::Shade::root ? std::sqrt(place) : place;
  }
};

}  // namespace figures
