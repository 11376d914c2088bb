/// \file
/// The cells of a heat map.
#pragma once

#include <attnflow/io/detail/base64.hpp>
#include "figures/camera.hpp"
#include "figures/colours.hpp"
#include "figures/png.hpp"
#include "figures/svg_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace figures {

/// A heat map in a frame. Up to some 150 kB it is made of rectangles, beyond that a picture of at most
/// 512 × 512 averages of cells.
class HeatMapCells {
 public:
  HeatMapCells(const Camera& camera, const Figure::HeatMap& map)
      : camera_(camera), map_(map), shading_(map), x_(edges(0)), y_(edges(1)) {}

  [[nodiscard]] std::string text() const {
    if (!std::isfinite(x_[0] + x_.back() + y_[0] + y_.back())) return {};
    std::string out = map_.values.size() <= 40000 ? rectangles() : "";
    return !out.empty() && out.size() <= 150000 ? out : picture();
  }

 private:
  static constexpr std::size_t shades = 255, none = 255;

  [[nodiscard]] Eigen::Index count(std::size_t axis) const {
    return axis == 0 ? map_.values.cols() : map_.values.rows();
  }
  /// Where the edges of columns (axis 0) or rows are on the axis.
  [[nodiscard]] std::vector<double> edges(std::size_t axis) const {
    const double low = axis == 0 ? map_.x_low : map_.y_low, high = axis == 0 ? map_.x_high : map_.y_high;
    std::vector<double> at;
    for (Eigen::Index k = 0; k <= count(axis); ++k)
      at.push_back(camera_.scales[axis].place(std::lerp(
          low, high, static_cast<double>(k) / static_cast<double>(std::max<Eigen::Index>(count(axis), 1)))));
    return at;
  }
  [[nodiscard]] std::size_t shade(double value) const {
    const double place = shading_(value);
    return std::isnan(place) ? none : static_cast<std::size_t>(std::lround(place * (shades - 1)));
  }
  [[nodiscard]] static std::array<std::uint8_t, 3> colour(std::size_t shade) {
    return viridis(static_cast<double>(shade) / (shades - 1));
  }
  /// Whether cells are of equal size and all in the frame.
  [[nodiscard]] bool even() const {
    const auto within = [](double u) { return u > -1e-9 && u < 1 + 1e-9; };
    return !camera_.scales[0].logarithmic && !camera_.scales[1].logarithmic && within(x_[0]) &&
           within(x_.back()) && within(y_[0]) && within(y_.back());
  }

  /// Runs of one shade as one rectangle, one path for each shade; where it can be in units of cells.
  [[nodiscard]] std::string rectangles() const {
    const Frame& f = camera_.frame;
    const bool units = even();
    const auto across = [&](std::size_t j) {
      return units ? static_cast<double>(j) : f.left + f.width * std::clamp(x_[j], 0.0, 1.0);
    };
    const auto up = [&](std::size_t i) {
      return units ? static_cast<double>(i) : f.bottom() - f.height * std::clamp(y_[i], 0.0, 1.0);
    };
    std::vector<std::string> paths(shades);
    const auto columns = static_cast<std::size_t>(count(0)), rows = static_cast<std::size_t>(count(1));
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0, end = 0; j < columns; j = end) {
        const auto shade_at = [&](std::size_t k) {
          return shade(map_.values(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(k)));
        };
        const std::size_t shade = shade_at(j);
        for (end = j + 1; end < columns && shade_at(end) == shade;) ++end;
        const std::string width = px(across(end) - across(j)), height = px(up(i + 1) - up(i));
        if (shade == none || width == "0" || height == "0") continue;
        const std::string back = px(across(j) - across(end));
        for (const std::string& part :
             {"M" + px(across(j)), " " + px(up(i)), "h" + width, "v" + height, "h" + back})
          paths[shade] += part;
        paths[shade] += 'z';
      }
    std::string out = "<g class=\"cells\" shape-rendering=\"crispEdges\"";
    if (units && columns > 0 && rows > 0) {
      const auto digits = [](double v) { return fixed(v, 6); };
      out += " transform=\"matrix(" + digits(f.width * (x_.back() - x_[0]) / static_cast<double>(columns)) +
             " 0 0 " + digits(-f.height * (y_.back() - y_[0]) / static_cast<double>(rows)) + ' ' +
             px(f.left + f.width * x_[0]) + ' ' + px(f.bottom() - f.height * y_[0]) + ")\"";
    }
    out += ">\n";
    for (std::size_t k = 0; k < shades; ++k)
      if (!paths[k].empty())
        out += "<path fill=\"" + colour_text(colour(k)) + "\" d=\"" + paths[k] + "\"/>\n";
    return out + "</g>\n";
  }

  /// The cells of the axis that the part of the frame from u to v shows, at least one.
  [[nodiscard]] std::pair<Eigen::Index, Eigen::Index> cells(std::size_t axis, double u, double v) const {
    const std::vector<double>& at = axis == 0 ? x_ : y_;
    const bool grows = at.back() > at[0];
    const auto cell = [&](double place) {  // the edge nearest to the place, counted from the start
      const auto before = [&](double edge, double p) { return grows ? edge < p : edge > p; };
      auto k = std::lower_bound(at.begin(), at.end(), place, before) - at.begin();
      if (k > 0 && (k == static_cast<std::ptrdiff_t>(at.size()) ||
                    std::abs(at[static_cast<std::size_t>(k - 1)] - place) <
                        std::abs(at[static_cast<std::size_t>(k)] - place)))
        --k;
      return static_cast<Eigen::Index>(k);
    };
    const auto [a, b] = std::minmax({cell(u), cell(v)});
    if (a < b) return {a, b};
    // Within one cell: the one that holds the middle.
    const double middle = (u + v) / 2;
    Eigen::Index k = (std::min)(a, count(axis) - 1);
    const double edge = at[static_cast<std::size_t>(k)];
    if (k > 0 && (grows ? middle < edge : middle > edge)) --k;
    return {k, k + 1};
  }
  [[nodiscard]] std::string picture() const {
    const auto bound = [](double u) { return std::clamp(u, 0.0, 1.0); };
    const auto [left, right] = std::minmax({bound(x_[0]), bound(x_.back())});
    const auto [low, high] = std::minmax({bound(y_[0]), bound(y_.back())});
    if (map_.values.size() == 0 || !(right > left && high > low)) return {};
    const std::size_t width = std::min<std::size_t>(static_cast<std::size_t>(count(0)), 512);
    const std::size_t height = std::min<std::size_t>(static_cast<std::size_t>(count(1)), 512);
    std::vector<std::uint8_t> picked;
    picked.reserve(width * height);
    const auto part = [](double from, double to, std::size_t k, std::size_t of) {
      return std::lerp(from, to, static_cast<double>(k) / static_cast<double>(of));
    };
    for (std::size_t i = 0; i < height; ++i) {
      const auto [top_row, end_row] = cells(1, part(high, low, i, height), part(high, low, i + 1, height));
      for (std::size_t j = 0; j < width; ++j) {
        const auto [first, end] = cells(0, part(left, right, j, width), part(left, right, j + 1, width));
        double sum = 0;
        int values = 0;
        for (Eigen::Index c = first; c < end; ++c)
          for (Eigen::Index r = top_row; r < end_row; ++r)
            if (const double value = map_.values(r, c); std::isfinite(value)) {
              sum += value;
              ++values;
            }
        picked.push_back(static_cast<std::uint8_t>(values == 0 ? none : shade(sum / values)));
      }
    }
    std::vector<std::array<std::uint8_t, 3>> palette;
    for (std::size_t k = 0; k < shades; ++k) palette.push_back(colour(k));
    palette.push_back({255, 255, 255});
    const Frame& f = camera_.frame;
    return "<image class=\"cells\" x=\"" + px(f.left + f.width * left) + "\" y=\"" +
           px(f.bottom() - f.height * high) + "\" width=\"" + px(f.width * (right - left)) + "\" height=\"" +
           px(f.height * (high - low)) +
           "\" preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\" "
           "xlink:href=\"data:image/png;base64," +
           attnflow::detail::base64(png(width, height, picked, palette)) + "\"/>\n";
  }

  const Camera& camera_;
  const Figure::HeatMap& map_;
  Shading shading_;
  std::vector<double> x_, y_;
};

}  // namespace figures
