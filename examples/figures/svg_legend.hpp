/// \file
/// The legend of a panel: within the frame where there is room, else below.
#pragma once

#include "figures/colours.hpp"
#include "figures/figure.hpp"
#include "figures/occupancy.hpp"
#include "figures/svg_marks.hpp"
#include "figures/svg_text.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace figures {

class Legend {
 public:
  static constexpr double swatch = 22, gap = 6, pad = 6, row = 16, text_size = 11;

  explicit Legend(const Figure::Panel& panel) {
    if (!panel.legend) return;
    for (const Figure::Layer& layer : panel.layers)
      std::visit(
          [&](const auto& l) {
            using Layer = std::remove_cvref_t<decltype(l)>;
            if constexpr (!std::is_same_v<Layer, Figure::Text> && !std::is_same_v<Layer, Figure::HeatMap>) {
              if (l.label.empty()) return;
              auto entry = std::find_if(entries_.begin(), entries_.end(),
                                        [&](const Entry& e) { return e.label == l.label; });
              if (entry == entries_.end()) entry = entries_.insert(entry, {l.label, {}});
              entry->layers.push_back(&layer);
            }
          },
          layer);
  }
  [[nodiscard]] bool empty() const { return entries_.empty(); }

  /// The place for a column of entries in the frame that covers nothing, if there is one: the corners first.
  [[nodiscard]] std::optional<Pixel> room(const Frame& frame, const Occupancy& taken) const {
    const double w = width(), h = height(), edge = 8;
    if (w > 0.6 * frame.width || h > 0.6 * frame.height) return {};
    const double left = frame.left + edge, right = frame.right() - edge - w,
                 middle = frame.left + (frame.width - w) / 2;
    const double top = frame.top + edge, bottom = frame.bottom() - edge - h,
                 level = frame.top + (frame.height - h) / 2;
    for (const Pixel p : {Pixel{right, top}, Pixel{left, top}, Pixel{right, bottom}, Pixel{left, bottom},
                          Pixel{right, level}, Pixel{left, level}, Pixel{middle, top}, Pixel{middle, bottom}})
      if (taken.taken(p.x, p.y, p.x + w, p.y + h) == 0) return p;
    return {};
  }
  [[nodiscard]] double width() const {
    double widest = 0;
    for (const Entry& e : entries_) widest = (std::max)(widest, text_width(e.label, text_size));
    return 2 * pad + swatch + gap + widest;
  }
  [[nodiscard]] double height() const { return 2 * pad - 2 + row * static_cast<double>(entries_.size()); }

  [[nodiscard]] std::string inside(const Pixel& corner) const {
    std::string out =
        "<g class=\"legend\">\n<rect x=\"" + px(corner.x) + "\" y=\"" + px(corner.y) + "\" width=\"" +
        px(width()) + "\" height=\"" + px(height()) +
        "\" rx=\"3\" fill=\"#fff\" fill-opacity=\"0.85\" stroke=\"#ccc\" stroke-width=\"0.8\"/>\n";
    double y = corner.y + pad - 1 + row / 2;
    for (const Entry& e : entries_) {
      out += entry(e, corner.x + pad, y, text_size);
      y += row;
    }
    return out + "</g>\n";
  }

  /// The entries in rows no wider than the room.
  [[nodiscard]] double height_below(double room) const {
    return row * static_cast<double>(rows(room).size()) + 4;
  }
  [[nodiscard]] std::string below(double left, double top, double room) const {
    std::string out = "<g class=\"legend\">\n";
    double y = top + row / 2;
    for (const std::vector<const Entry*>& line : rows(room)) {
      double total = -between;
      for (const Entry* e : line) total += entry_width(*e, room) + between;
      double x = left + (room - total) / 2;
      for (const Entry* e : line) {
        out += entry(*e, x, y, fitting_size(e->label, text_size, room - swatch - gap));
        x += entry_width(*e, room) + between;
      }
      y += row;
    }
    return out + "</g>\n";
  }

 private:
  static constexpr double between = 16;
  struct Entry {
    std::string label;
    std::vector<const Figure::Layer*> layers;
  };
  [[nodiscard]] static double entry_width(const Entry& e, double room) {
    return (std::min)(swatch + gap + text_width(e.label, text_size), room);
  }
  [[nodiscard]] std::vector<std::vector<const Entry*>> rows(double room) const {
    std::vector<std::vector<const Entry*>> lines;
    double used = room;
    for (const Entry& e : entries_) {
      const double width = entry_width(e, room);
      if (lines.empty() || used + between + width > room) {
        lines.emplace_back();
        used = -between;
      }
      lines.back().push_back(&e);
      used += between + width;
    }
    return lines;
  }
  [[nodiscard]] static std::string entry(const Entry& e, double x, double y, double font) {
    std::string out = "<g class=\"entry\">";
    std::string last;
    for (const Figure::Layer* layer : e.layers) {  // layers that look the same are drawn once
      const std::string sample = std::visit([&](const auto& l) { return sample_of(l, x, y); }, *layer);
      if (sample != last) out += sample;
      last = sample;
    }
    return out + text_element(x + swatch + gap, y + 0.36 * font, e.label, font) + "</g>\n";
  }

  [[nodiscard]] static std::string sample_of(const Figure::Points& l, double x, double y) {
    std::vector<int> colours;  // the first three there are
    for (const int c : l.colours)
      if (colours.size() < 3 && std::find(colours.begin(), colours.end(), c) == colours.end())
        colours.push_back(c);
    if (colours.empty()) colours.push_back(l.colour);
    const double size = std::clamp(l.size, 2.0, colours.size() > 1 ? 3.2 : 5.0);
    std::string out;
    for (std::size_t k = 0; k < colours.size(); ++k) {
      const double offset = (static_cast<double>(k) - static_cast<double>(colours.size() - 1) / 2) * 7.4;
      out += mark_element(
          l.mark, x + swatch / 2 + offset, y, size,
          mark_edge(l.mark, size) + mark_paint(l.mark, colours[k]) + opaque("opacity", l.opacity));
    }
    return out;
  }
  [[nodiscard]] static std::string sample_of(const Figure::Line& l, double x, double y) {
    return "<path d=\"M" + px(x) + ' ' + px(y) + 'h' + px(swatch) + '"' +
           pen(l.colour, std::clamp(l.width, 1.0, 5.0), l.dashed) +
           opaque("opacity", (std::max)(l.opacity, 0.3)) + "/>";
  }
  [[nodiscard]] static std::string sample_of(const Figure::Polygon& l, double x, double y) {
    return patch(x, y, l.opacity) + pen(l.colour, 1.2, l.dashed) + "/>" + patch(x, y, l.opacity) +
           " fill=\"" + colour_text(l.colour) + "\"/>";
  }
  [[nodiscard]] static std::string sample_of(const Figure::Band& l, double x, double y) {
    return patch(x, y, l.opacity) + " fill=\"" + colour_text(l.colour) + "\"/>";
  }
  [[nodiscard]] static std::string sample_of(const Figure::Bars& l, double x, double y) {
    return patch(x, y, l.opacity) + " fill=\"" + colour_text(l.colour) + "\" stroke=\"" +
           colour_text(l.colour) + "\" stroke-width=\"0.8\"/>";
  }
  [[nodiscard]] static std::string sample_of(const Figure::HeatMap&, double, double) { return {}; }
  [[nodiscard]] static std::string sample_of(const Figure::Text&, double, double) { return {}; }
  [[nodiscard]] static std::string opaque(const char* name, double opacity) {
    return opacity < 1 ? std::string(" ") + name + "=\"" + px(opacity) + '"' : "";
  }
  [[nodiscard]] static std::string patch(double x, double y, double opacity) {
    return "<rect x=\"" + px(x) + "\" y=\"" + px(y - 5) + "\" width=\"" + px(swatch) + "\" height=\"10\"" +
           opaque("fill-opacity", opacity);
  }

  std::vector<Entry> entries_;
};

}  // namespace figures
