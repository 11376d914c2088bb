/// \file
/// From numbers to pixels: a frame of the plane, or a box in space seen from afar.
#pragma once

#include "figures/ticks.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace figures {

/// Places along the axes; the unit cube (square, in the plane) is what is seen.
using Place = std::array<double, 3>;

struct Pixel {
  double x = 0, y = 0;
};

struct Frame {
  double left = 0, top = 0, width = 0, height = 0;
  [[nodiscard]] double right() const { return left + width; }
  [[nodiscard]] double bottom() const { return top + height; }
};

/// Takes numbers to places by the scales, and places to pixels by a linear map: origin + ∑ₖ uₖ axes[k]. In
/// space it is an orthographic view: parallel lines stay parallel, and lengths along an axis can be compared.
struct Camera {
  std::array<Scale, 3> scales;
  Frame frame;
  bool space = false;
  Pixel origin;
  std::array<Pixel, 3> axes;
  Place nearness{};  ///< ∑ₖ nearness[k] uₖ grows towards the reader

  /// NaN along an axis that cannot show the number.
  [[nodiscard]] Place place(double x, double y, double z) const {
    const auto along = [&](std::size_t k, double value) {
      return drawable(value, scales[k].logarithmic) ? scales[k].place(value)
                                                    : std::numeric_limits<double>::quiet_NaN();
    };
    return {along(0, x), along(1, y), space ? along(2, z) : 0};
  }
  [[nodiscard]] Pixel pixel(const Place& u) const {
    Pixel p = origin;
    for (std::size_t k = 0; k < 3; ++k) {
      p.x += axes[k].x * u[k];
      p.y += axes[k].y * u[k];
    }
    return p;
  }
  [[nodiscard]] double closeness(const Place& u) const {
    return nearness[0] * u[0] + nearness[1] * u[1] + nearness[2] * u[2];
  }
  /// Whether the place is in the unit cube, to rounding.
  [[nodiscard]] static bool inside(const Place& u) {
    return std::all_of(u.begin(), u.end(), [](double v) { return v >= -1e-9 && v <= 1 + 1e-9; });
  }
};

[[nodiscard]] inline Camera plane_camera(const std::array<Scale, 3>& scales, const Frame& frame) {
  return {scales, frame, false, {frame.left, frame.bottom()}, {{{frame.width, 0}, {0, -frame.height}, {}}},
          {}};
}

/// The box in the middle of the frame, as large as fits. Yaw turns about z, pitch lifts the eye above the
/// xy-plane: the eye is in the direction (cos pitch cos yaw, cos pitch sin yaw, sin pitch).
[[nodiscard]] inline Camera space_camera(const std::array<Scale, 3>& scales, const Frame& frame, bool equal,
                                         double yaw, double pitch) {
  const double cy = std::cos(yaw), sy = std::sin(yaw), cp = std::cos(pitch), sp = std::sin(pitch);
  const std::array<Place, 3> basis{{{-sy, cy, 0}, {-sp * cy, -sp * sy, cp}, {cp * cy, cp * sy, sp}}};
  Place sides{1, 1, 0.8};  // panels are wider than high
  if (equal) {
    double longest = 0;
    for (const Scale& s : scales) longest = (std::max)(longest, std::abs(s.high - s.low));
    for (std::size_t k = 0; k < 3; ++k) sides[k] = std::abs(scales[k].high - scales[k].low) / longest;
  }
  double width = 0, height = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    width += std::abs(basis[0][k]) * sides[k];
    height += std::abs(basis[1][k]) * sides[k];
  }
  const double pixels = (std::min)(frame.width / width, frame.height / height);
  Camera camera{scales, frame, true, {}, {}, {}};
  camera.origin = {frame.left + frame.width / 2, frame.top + frame.height / 2};
  for (std::size_t k = 0; k < 3; ++k) {
    camera.axes[k] = {pixels * sides[k] * basis[0][k], -pixels * sides[k] * basis[1][k]};
    camera.nearness[k] = sides[k] * basis[2][k];
    camera.origin.x -= camera.axes[k].x / 2;
    camera.origin.y -= camera.axes[k].y / 2;
  }
  return camera;
}

/// The part of the segment from a to b in the unit cube. \returns whether there is one. [Liang and Barsky
/// 1984]
[[nodiscard]] inline bool clip(Place& a, Place& b) {
  double from = 0, to = 1;
  for (std::size_t k = 0; k < 3; ++k) {
    const double step = b[k] - a[k];
    for (const auto& [slope, room] : {std::pair(-step, a[k]), std::pair(step, 1 - a[k])}) {
      if (slope == 0 && room < 0) return false;
      if (slope < 0) from = (std::max)(from, room / slope);
      if (slope > 0) to = (std::min)(to, room / slope);
    }
  }
  if (!(from <= to)) return false;
  const Place start = a;
  for (std::size_t k = 0; k < 3; ++k) {
    const double step = b[k] - start[k];
    a[k] = from > 0 ? start[k] + from * step : start[k];
    b[k] = to < 1 ? start[k] + to * step : b[k];
  }
  return true;
}

/// The part of the polygon in the unit cube, halfspace by halfspace. [Sutherland and Hodgman 1974]
[[nodiscard]] inline std::vector<Place> clip(std::vector<Place> corners) {
  for (std::size_t k = 0; k < 3; ++k)
    for (const double sign : {1.0, -1.0}) {
      const auto depth = [&](const Place& u) { return sign > 0 ? u[k] : 1 - u[k]; };
      std::vector<Place> kept;
      for (std::size_t i = 0; i < corners.size(); ++i) {
        const Place &a = corners[i], &b = corners[(i + 1) % corners.size()];
        const double at_a = depth(a), at_b = depth(b);
        if (at_a >= 0) kept.push_back(a);
        if ((at_a >= 0) != (at_b >= 0)) {
          Place cut;
          for (std::size_t m = 0; m < 3; ++m) cut[m] = a[m] + (b[m] - a[m]) * (at_a / (at_a - at_b));
          cut[k] = sign > 0 ? 0 : 1;
          kept.push_back(cut);
        }
      }
      corners = std::move(kept);
    }
  return corners;
}

}  // namespace figures
