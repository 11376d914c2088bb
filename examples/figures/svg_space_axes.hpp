/// \file
/// Sides, ticks and labels of a box in space.
#pragma once

#include "figures/camera.hpp"
#include "figures/figure.hpp"
#include "figures/occupancy.hpp"
#include "figures/svg_axes.hpp"
#include "figures/svg_text.hpp"
#include "figures/ticks.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace figures {

/// The three far sides of the box with a grid, and an axis with its label on three edges of its outline.
class SpaceAxes {
 public:
  SpaceAxes(const Camera& camera, const Figure::Panel& panel, Occupancy& taken)
      : camera_(camera), taken_(taken), labels_{&panel.x.label, &panel.y.label, &panel.z.label} {
    for (std::size_t k = 0; k < 3; ++k) {
      far_[k] = camera.nearness[k] > 0 ? 0 : 1;
      const Pixel& a = camera.axes[k];
      const double length = std::hypot(a.x, a.y), slope = length > 0 ? std::abs(a.x) / length : 0;
      // A label needs its width along a level axis, and its height along an upright one.
      if (length >= 24)
        ticks_[k] = fitting_ticks(camera.scales[k], length, 26, [&](const std::string& s) {
          return (std::min)((text_width(s, tick_size) + 2) / (std::max)(slope, 0.05),
                            (tick_size + 1) / (std::max)(std::sqrt(1 - slope * slope), 0.05));
        });
    }
  }

  [[nodiscard]] std::string text() {
    std::string out = "<g class=\"sides\" stroke=\"#d5d5da\" stroke-width=\"0.8\">\n";
    for (std::size_t k = 0; k < 3; ++k) {
      const std::size_t i = (k + 1) % 3, j = (k + 2) % 3;
      const auto corner = [&](double u, double v) {
        Place p{};
        p[k] = far_[k];
        p[i] = u;
        p[j] = v;
        return p;
      };
      out += "<path fill=\"#f7f7f9\" stroke=\"#b8b8be\" d=\"M" + at(corner(0, 0)) + 'L' + at(corner(1, 0)) +
             ' ' + at(corner(1, 1)) + ' ' + at(corner(0, 1)) + "z\"/>\n<path fill=\"none\" d=\"";
      for (const auto& [a, b] :
           {std::pair(corner(0, 0), corner(1, 0)), std::pair(corner(1, 0), corner(1, 1)),
            std::pair(corner(1, 1), corner(0, 1)), std::pair(corner(0, 1), corner(0, 0))})
        taken_.line(camera_.pixel(a), camera_.pixel(b));
      for (const double value : ticks_[i].at) {
        const double u = camera_.scales[i].place(value);
        out += 'M' + at(corner(u, 0)) + 'L' + at(corner(u, 1));
      }
      for (const double value : ticks_[j].at) {
        const double v = camera_.scales[j].place(value);
        out += 'M' + at(corner(0, v)) + 'L' + at(corner(1, v));
      }
      out += "\"/>\n";
    }
    out += "</g>\n";
    for (const std::size_t k : {2U, 0U, 1U}) out += axis(k);
    return out;
  }

 private:
  struct Box {
    double left, top, right, bottom;
  };
  [[nodiscard]] std::string at(const Place& u) const {
    const Pixel p = camera_.pixel(u);
    return px(p.x) + ' ' + px(p.y);
  }
  /// Whether nothing has been written there yet; then it is.
  bool reserve(const Box& box) {
    for (const Box& other : texts_)
      if (box.left < other.right && other.left < box.right && box.top < other.bottom &&
          other.top < box.bottom)
        return false;
    texts_.push_back(box);
    taken_.area(box.left, box.top, box.right, box.bottom);
    return true;
  }
  [[nodiscard]] static Box box_of(const Pixel& centre, const std::string& s, double size) {
    const double half = text_width(s, size) / 2 + 1.5;
    return {centre.x - half, centre.y - size * 0.58, centre.x + half, centre.y + size * 0.58};
  }
  /// The centre of a text that touches the line through p across `out` from outside, at this distance.
  [[nodiscard]] static Pixel beside(const Pixel& p, const Pixel& out, double distance, const std::string& s,
                                    double size) {
    const double reach = distance + std::abs(out.x) * text_width(s, size) / 2 + std::abs(out.y) * size * 0.45;
    return {p.x + out.x * reach, p.y + out.y * reach};
  }

  /// Of the four edges along axis k the outline holds two: those between a side that faces the reader and one
  /// that does not. The lower is taken, for the z-axis the left one.
  [[nodiscard]] std::string axis(std::size_t k) {
    const Ticks& ticks = ticks_[k];
    std::string out = "<g class=\"axis ";
    out += "xyz"[k];
    out += "\" text-anchor=\"middle\">\n";
    if (ticks.at.empty()) return out + "</g>\n";
    const std::size_t i = (k + 1) % 3, j = (k + 2) % 3;
    Place start{}, best{};
    double lowest = -1e9;
    for (const bool first : {true, false}) {
      start[k] = 0.5;
      start[i] = first ? far_[i] : 1 - far_[i];
      start[j] = first ? 1 - far_[j] : far_[j];
      const Pixel middle = camera_.pixel(start);
      if (const double merit = k == 2 ? -middle.x : middle.y; merit > lowest) {
        lowest = merit;
        best = start;
      }
    }
    start = best;
    const Pixel middle = camera_.pixel(start), heart = camera_.pixel({0.5, 0.5, 0.5}),
                along = camera_.axes[k];
    const double length = std::hypot(along.x, along.y);
    Pixel normal{-along.y / length, along.x / length};
    if (normal.x * (middle.x - heart.x) + normal.y * (middle.y - heart.y) < 0)
      normal = {-normal.x, -normal.y};
    const auto on_edge = [&](double u) {
      Place p = start;
      p[k] = u;
      return p;
    };
    out += "<path stroke=\"#333\" fill=\"none\" d=\"M" + at(on_edge(0)) + 'L' + at(on_edge(1)) + "\"/>\n";
    double widest_label = 0;
    for (std::size_t n = 0; n < ticks.at.size(); ++n) {
      const Pixel p = camera_.pixel(on_edge(camera_.scales[k].place(ticks.at[n])));
      const std::string& label = ticks.labels[n];
      const Pixel centre = beside(p, normal, tick_length + 3, label, tick_size);
      out += "<g class=\"tick\"><path stroke=\"#333\" d=\"M" + px(p.x) + ' ' + px(p.y) + 'l' +
             px(normal.x * tick_length) + ' ' + px(normal.y * tick_length) + "\"/>";
      if (reserve(box_of(centre, label, tick_size))) {
        out += text_element(centre.x, centre.y + 0.36 * tick_size, label, tick_size);
        widest_label = (std::max)(widest_label, std::abs(normal.x) * text_width(label, tick_size) +
                                                    std::abs(normal.y) * tick_size * 0.9);
      }
      out += "</g>\n";
    }
    const std::string label =
        *labels_[k] + (ticks.power != 0 ? (labels_[k]->empty() ? "" : "  ") + factor_text(ticks.power) : "");
    if (!label.empty()) {
      const double reach = tick_length + 3 + widest_label + 5;
      if (text_width(label, label_size) <= 44) {
        Pixel centre = beside(middle, normal, reach, label, label_size);
        for (int step = 0; step < 12 && !reserve(box_of(centre, label, label_size)); ++step)
          centre = {centre.x + 3 * normal.x, centre.y + 3 * normal.y};
        out += text_element(centre.x, centre.y + 0.36 * label_size, label, label_size, " class=\"label\"");
      } else {  // along the edge, readable from below or from the right
        double degrees = std::atan2(along.y, along.x) * 180 / 3.14159265358979323846;
        if (degrees > 90) degrees -= 180;
        if (degrees <= -90 + 1e-9) degrees += degrees < -90 - 1e-9 ? 180 : 0;
        const double distance = reach + label_size * 0.5;
        const Pixel centre{middle.x + normal.x * distance, middle.y + normal.y * distance};
        // The baseline is below the middle of the letters, across the turned text.
        const double turn = degrees * 3.14159265358979323846 / 180, down = 0.36 * label_size;
        out += turned_text(centre.x - down * std::sin(turn), centre.y + down * std::cos(turn), degrees, label,
                           fitting_size(label, label_size, length + 60), " class=\"label\"");
        const double half = text_width(label, label_size) / 2;
        for (const double side : {-6.0, 0.0, 6.0}) {
          const Pixel p{centre.x + side * normal.x, centre.y + side * normal.y};
          taken_.line({p.x - half * std::cos(turn), p.y - half * std::sin(turn)},
                      {p.x + half * std::cos(turn), p.y + half * std::sin(turn)});
        }
      }
    }
    return out + "</g>\n";
  }

  const Camera& camera_;
  Occupancy& taken_;
  std::array<const std::string*, 3> labels_;
  std::array<double, 3> far_{};  ///< 0 or 1: which side across axis k the reader sees from inside
  std::array<Ticks, 3> ticks_;
  std::vector<Box> texts_;
};

}  // namespace figures
