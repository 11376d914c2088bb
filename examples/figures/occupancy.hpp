/// \file
/// Where a panel has room for a legend.
#pragma once

#include "figures/camera.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace figures {

/// The cells of a frame, 4 pixels wide, in which something is drawn.
class Occupancy {
 public:
  explicit Occupancy(const Frame& frame)
      : frame_(frame),
        columns_(static_cast<std::size_t>(std::ceil(frame.width / cell)) + 1),
        rows_(static_cast<std::size_t>(std::ceil(frame.height / cell)) + 1),
        taken_(columns_ * rows_, false) {}

  void area(double left, double top, double right, double bottom) {
    for (std::size_t i = row(top); i <= row(bottom); ++i)
      for (std::size_t j = column(left); j <= column(right); ++j) taken_[i * columns_ + j] = true;
  }
  void point(const Pixel& p, double radius) { area(p.x - radius, p.y - radius, p.x + radius, p.y + radius); }
  void line(const Pixel& a, const Pixel& b) {
    const auto steps = static_cast<int>((std::min)(std::hypot(b.x - a.x, b.y - a.y) / cell, 5000.0)) + 1;
    for (int k = 0; k <= steps; ++k)
      point({std::lerp(a.x, b.x, static_cast<double>(k) / steps),
             std::lerp(a.y, b.y, static_cast<double>(k) / steps)},
            1);
  }
  /// How many cells of the rectangle are taken.
  [[nodiscard]] long taken(double left, double top, double right, double bottom) const {
    long count = 0;
    for (std::size_t i = row(top); i <= row(bottom); ++i)
      for (std::size_t j = column(left); j <= column(right); ++j) count += taken_[i * columns_ + j];
    return count;
  }

 private:
  static constexpr double cell = 4;
  static std::size_t index(double offset, std::size_t count) {
    return static_cast<std::size_t>(std::clamp(offset / cell, 0.0, static_cast<double>(count - 1)));
  }
  [[nodiscard]] std::size_t row(double y) const { return index(y - frame_.top, rows_); }
  [[nodiscard]] std::size_t column(double x) const { return index(x - frame_.left, columns_); }

  Frame frame_;
  std::size_t columns_, rows_;
  std::vector<bool> taken_;
};

}  // namespace figures
