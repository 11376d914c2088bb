/// \file
/// Frame, ticks and labels of the plane, and the bar of a heat map's colours.
#pragma once

#include "figures/camera.hpp"
#include "figures/colours.hpp"
#include "figures/svg_text.hpp"
#include "figures/ticks.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <variant>
#include <vector>

namespace figures {

inline constexpr double tick_length = 4.5, line_height = 15;

/// As many ticks as have room beside each other, at most 10, and where it can be two.
/// \param spacing  of ticks in pixels, about. \param extent  of a label along the axis, in pixels.
template <class Length>
[[nodiscard]] Ticks fitting_ticks(const Scale& scale, double length, double spacing, Length extent) {
  const auto fits = [&](const Ticks& ticks) {
    for (std::size_t k = 0; k + 1 < ticks.at.size(); ++k)
      if (std::abs(scale.place(ticks.at[k + 1]) - scale.place(ticks.at[k])) * length <
          (extent(ticks.labels[k]) + extent(ticks.labels[k + 1])) / 2 + 4)
        return false;
    return true;
  };
  const int wanted = std::clamp(static_cast<int>(length / spacing), 2, 10);
  Ticks lonely;                           // a single tick, or none
  for (int k = 0; k < wanted + 3; ++k) {  // fewer and fewer, and then some more
    const int most = k < wanted - 1 ? wanted - k : k + 2;
    Ticks ticks = ticks_of(scale, most);
    if (!fits(ticks)) continue;
    if (ticks.at.size() >= 2) return ticks;
    if (lonely.at.empty()) lonely = ticks;
  }
  return lonely;
}
[[nodiscard]] inline Ticks ticks_across(const Scale& scale, double width) {
  return fitting_ticks(scale, width, 45, [](const std::string& s) { return text_width(s, tick_size) + 5; });
}
[[nodiscard]] inline Ticks ticks_up(const Scale& scale, double height) {
  return fitting_ticks(scale, height, 36, [](const std::string&) { return tick_size + 1; });
}

[[nodiscard]] inline double widest(const std::vector<std::string>& labels) {
  double width = 0;
  for (const std::string& s : labels) width = (std::max)(width, text_width(s, tick_size));
  return width;
}

/// "×10⁵", which the labels of an axis are multiples of; empty for ×1.
[[nodiscard]] inline std::string factor_text(int power) {
  return power == 0 ? "" : "×10^{" + with_minus(std::to_string(power)) + '}';
}

/// The bar of colours of a heat map: its ticks are where its shades are.
struct ColourBar {
  static constexpr double gap = 16, thickness = 12;
  const Figure::HeatMap* map;
  Shading shading;
  Ticks ticks;

  ColourBar(const Figure::HeatMap& of, double height)
      : map(&of), shading(of), ticks(ticks_up({shading.low, shading.high, logarithmic(of), false}, height)) {
    if (of.shade != Figure::Shade::root) return;
    Ticks kept = ticks;  // crowded at one end
    kept.at.clear();
    kept.labels.clear();
    double free = height + 20;
    for (std::size_t k = ticks.at.size(); k-- > 0;)
      if (const double up = shading(ticks.at[k]) * height; up <= free) {
        kept.at.insert(kept.at.begin(), ticks.at[k]);
        kept.labels.insert(kept.labels.begin(), ticks.labels[k]);
        free = up - tick_size - 4;
      }
    ticks = kept;
  }
  static bool logarithmic(const Figure::HeatMap& map) { return map.shade == Figure::Shade::logarithmic; }
  [[nodiscard]] double width() const {
    return gap + thickness + tick_length + 3 + widest(ticks.labels) + 6 + label_size + 2;
  }
  /// Beside a frame, `right` pixels from its right side.
  [[nodiscard]] std::string text(const Frame& frame, double right) const {
    const double left = frame.right() + right + gap, end = left + thickness;
    std::string out = "<g class=\"colour-bar\">\n<g shape-rendering=\"crispEdges\">\n";
    constexpr int steps = 64;
    for (int k = 0; k < steps; ++k)
      out += "<rect x=\"" + px(left) + "\" y=\"" + px(frame.bottom() - frame.height * (k + 1) / steps) +
             "\" width=\"" + px(thickness) + "\" height=\"" + px(frame.height / steps + 0.5) + "\" fill=\"" +
             colour_text(viridis((k + 0.5) / steps)) + "\"/>\n";
    out += "</g>\n<rect x=\"" + px(left) + "\" y=\"" + px(frame.top) + "\" width=\"" + px(thickness) +
           "\" height=\"" + px(frame.height) + "\" fill=\"none\" stroke=\"#333\"/>\n";
    for (std::size_t k = 0; k < ticks.at.size(); ++k) {
      const double y = frame.bottom() - frame.height * shading(ticks.at[k]);
      out += "<g class=\"tick\"><path stroke=\"#333\" d=\"M" + px(end) + ' ' + px(y) + 'h' + px(tick_length) +
             "\"/>" + text_element(end + tick_length + 3, y + 0.36 * tick_size, ticks.labels[k], tick_size) +
             "</g>\n";
    }
    if (ticks.power != 0) out += text_element(left, frame.top - 6, factor_text(ticks.power), tick_size);
    const double x = end + tick_length + 3 + widest(ticks.labels) + 6 + label_size * 0.8;
    out += turned_text(x, frame.top + frame.height / 2, -90, map->label,
                       fitting_size(map->label, label_size, frame.height + 40), " text-anchor=\"middle\"");
    return out + "</g>\n";
  }
};

/// What stands around a frame of the plane.
struct PlaneAxes {
  Ticks x, y;
  std::vector<ColourBar> bars;

  PlaneAxes(const Camera& camera, const Figure::Panel& panel)
      : x(ticks_across(camera.scales[0], camera.frame.width)),
        y(ticks_up(camera.scales[1], camera.frame.height)) {
    for (const Figure::Layer& layer : panel.layers)
      if (const auto* map = std::get_if<Figure::HeatMap>(&layer); map != nullptr && !map->label.empty())
        bars.emplace_back(*map, camera.frame.height);
  }
  [[nodiscard]] double left(const Figure::Panel& panel) const {
    return 10 + (panel.y.label.empty() ? 0 : label_size + 7) + widest(y.labels) + 4 + tick_length;
  }
  [[nodiscard]] double right() const {
    double width = 14;
    for (const ColourBar& bar : bars) width += bar.width();
    return bars.empty() && !x.labels.empty()
               ? (std::max)(width, text_width(x.labels.back(), tick_size) / 2 + 6)
               : width;
  }
  [[nodiscard]] double bottom(const Figure::Panel& panel) const {
    return tick_length + 16 + (panel.x.label.empty() ? (x.power == 0 ? 0 : 14) : label_size + 8) + 6;
  }
  [[nodiscard]] bool factor_above() const {
    return y.power != 0 ||
           std::any_of(bars.begin(), bars.end(), [](const auto& b) { return b.ticks.power != 0; });
  }

  [[nodiscard]] std::string text(const Camera& camera, const Figure::Panel& panel) const {
    const Frame& f = camera.frame;
    std::string out = "<g class=\"axes\" stroke=\"#333\" fill=\"none\">\n<rect class=\"frame\" x=\"" +
                      px(f.left) + "\" y=\"" + px(f.top) + "\" width=\"" + px(f.width) + "\" height=\"" +
                      px(f.height) + "\"/>\n<path class=\"minor\" stroke-width=\"0.7\" d=\"";
    for (const double v : x.minor)
      out += 'M' + px(f.left + f.width * camera.scales[0].place(v)) + ' ' + px(f.bottom()) + "v2.5";
    for (const double v : y.minor)
      out += 'M' + px(f.left) + ' ' + px(f.bottom() - f.height * camera.scales[1].place(v)) + "h-2.5";
    out += "\"/>\n</g>\n<g class=\"axis x\" text-anchor=\"middle\">\n";
    for (std::size_t k = 0; k < x.at.size(); ++k) {
      const double at = f.left + f.width * camera.scales[0].place(x.at[k]);
      out += "<g class=\"tick\"><path stroke=\"#333\" d=\"M" + px(at) + ' ' + px(f.bottom()) + 'v' +
             px(tick_length) + "\"/>" +
             text_element(at, f.bottom() + tick_length + 13, x.labels[k], tick_size) + "</g>\n";
    }
    const double below = f.bottom() + tick_length + 16 + label_size + 2;
    const double centre = f.left + f.width / 2;
    if (!panel.x.label.empty())
      out += text_element(centre, below, panel.x.label, fitting_size(panel.x.label, label_size, f.width + 24),
                          " class=\"label\"");
    out += "</g>\n";
    if (x.power != 0)
      out += text_element(f.right(), below, factor_text(x.power), tick_size, " text-anchor=\"end\"");
    out += "<g class=\"axis y\" text-anchor=\"end\">\n";
    for (std::size_t k = 0; k < y.at.size(); ++k) {
      const double at = f.bottom() - f.height * camera.scales[1].place(y.at[k]);
      out += "<g class=\"tick\"><path stroke=\"#333\" d=\"M" + px(f.left) + ' ' + px(at) + "h-" +
             px(tick_length) + "\"/>" +
             text_element(f.left - tick_length - 3, at + 0.36 * tick_size, y.labels[k], tick_size) + "</g>\n";
    }
    if (!panel.y.label.empty())
      out += turned_text(f.left - tick_length - 3 - widest(y.labels) - 8, f.top + f.height / 2, -90,
                         panel.y.label, fitting_size(panel.y.label, label_size, f.height + 40),
                         " class=\"label\" text-anchor=\"middle\"");
    out += "</g>\n";
    if (y.power != 0) out += text_element(f.left, f.top - 6, factor_text(y.power), tick_size);
    double offset = 0;
    for (const ColourBar& bar : bars) {
      out += bar.text(f, offset);
      offset += bar.width();
    }
    return out;
  }
};

}  // namespace figures
