/// \file
/// One panel of a figure.
#pragma once

#include "figures/camera.hpp"
#include "figures/figure.hpp"
#include "figures/occupancy.hpp"
#include "figures/svg_axes.hpp"
#include "figures/svg_layers.hpp"
#include "figures/svg_legend.hpp"
#include "figures/svg_space_axes.hpp"
#include "figures/svg_text.hpp"
#include "figures/ticks.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace figures {

/// What the layers of a panel reach over, axis by axis; what one axis cannot draw does not count on the
/// others.
[[nodiscard]] inline std::array<Extent, 3> extents_of(const Figure::Panel& panel, bool space) {
  std::array<Extent, 3> extents;
  const std::array<bool, 3> log{panel.x.logarithmic, panel.y.logarithmic, panel.z.logarithmic};
  const auto see = [&](double x, double y, double z) {
    if (!drawable(x, log[0]) || !drawable(y, log[1]) || (space && !drawable(z, log[2]))) return;
    extents[0].see(x);
    extents[1].see(y);
    extents[2].see(z);
  };
  const auto see_firm = [&](std::size_t axis, double value) {
    if (drawable(value, log[axis])) extents[axis].see_firm(value);
  };
  const auto of = [&](const auto& l) {
    using Layer = std::remove_cvref_t<decltype(l)>;
    if constexpr (std::is_same_v<Layer, Figure::Text>) {
      see(l.x, l.y, l.z);
    } else if constexpr (std::is_same_v<Layer, Figure::HeatMap>) {
      for (const double x : {l.x_low, l.x_high}) see_firm(0, x);
      for (const double y : {l.y_low, l.y_high}) see_firm(1, y);
    } else if constexpr (std::is_same_v<Layer, Figure::Bars>) {
      for (const double x : l.edges) see_firm(0, x);
      for (const double y : l.heights)
        if (drawable(y, log[1])) extents[1].see(y);
      if (!l.heights.empty()) see_firm(1, 0);
    } else if constexpr (std::is_same_v<Layer, Figure::Band>) {
      for (std::size_t k = 0; k < l.x.size(); ++k)
        if (drawable(l.low[k], log[1]) && drawable(l.high[k], log[1]))
          for (const double y : {l.low[k], l.high[k]}) see(l.x[k], y, 0);
    } else {
      for (std::size_t k = 0; k < l.x.size(); ++k) see(l.x[k], l.y[k], l.z.empty() ? 0 : l.z[k]);
    }
  };
  for (const Figure::Layer& layer : panel.layers) std::visit(of, layer);
  return extents;
}

/// The space around a frame.
struct Margins {
  double left = 0, right = 0, top = 0, bottom = 0;
  double factor = 0;  ///< the part of `top` between title and frame, for the factor of an axis
  void cover(const Margins& m) {
    left = (std::max)(left, m.left);
    right = (std::max)(right, m.right);
    top = (std::max)(top, m.top);
    bottom = (std::max)(bottom, m.bottom);
    factor = (std::max)(factor, m.factor);
  }
};

/// Lays out a panel and writes it; its corner is (0, 0).
class PanelWriter {
 public:
  PanelWriter(const Figure::Panel& panel, std::size_t number, bool lettered, double width, double height)
      : panel_(&panel),
        width_(width),
        height_(height),
        space_(PanelCheck::space(panel)),
        legend_(panel),
        title_(wrapped(panel.title, title_size, width - (lettered ? 84 : 24))) {
    if (lettered) {  // (a) to (z), then (aa), …
      for (std::size_t k = number + 1; k > 0; k = (k - 1) / 26)
        letter_.insert(letter_.begin(), static_cast<char>('a' + (k - 1) % 26));
      letter_ = '(' + letter_ + ')';
    }
    const std::array<Extent, 3> extents = extents_of(panel, space_);
    scales_ = {scale_of(panel.x, extents[0]), scale_of(panel.y, extents[1]), scale_of(panel.z, extents[2])};
    const auto free = [](const Figure::Axis& axis, const Extent& e) {
      return std::isnan(axis.low) && std::isnan(axis.high) && e.firm_low > e.firm_high;
    };
    free_ = {free(panel.x, extents[0]), free(panel.y, extents[1])};
    fit({60, 20, 30, 50});
  }

  [[nodiscard]] Margins margins() const {
    Margins m{10, 10, 12, 10};
    if (!title_.empty() || !letter_.empty())
      m.top = 12 + 18 * static_cast<double>(std::max<std::size_t>(title_.size(), 1));
    if (space_) {
      m.bottom += 2;
    } else {
      const PlaneAxes axes(camera_, *panel_);
      m.left = axes.left(*panel_);
      m.right = axes.right();
      m.bottom = axes.bottom(*panel_);
      if (axes.factor_above()) m.factor = 14;
    }
    if (legend_below_) m.bottom += legend_.height_below(width_ - 30);
    return m;
  }

  /// Gives the frame what these margins leave; at least 20 pixels.
  void fit(Margins margins) {
    if (space_) {  // a box is in line with nothing: it uses what its neighbours need for labels
      const Margins own = this->margins();
      margins = {own.left, own.right, margins.top, own.bottom, 0};
    }
    margins_ = margins;
    const double top = margins.top + margins.factor;
    const Frame frame{margins.left, top, (std::max)(width_ - margins.left - margins.right, 20.0),
                      (std::max)(height_ - top - margins.bottom, 20.0)};
    if (space_) {
      // Room for the texts around the box.
      const Frame inner{frame.left + 42, frame.top + 6, (std::max)(frame.width - 84, 20.0),
                        (std::max)(frame.height - 46, 20.0)};
      camera_ = space_camera(scales_, inner, panel_->equal, panel_->yaw, panel_->pitch);
      camera_.frame = frame;
    } else {
      camera_ = panel_->equal ? equal_camera(frame) : plane_camera(scales_, frame);
    }
  }

  /// Decides whether the legend has room in the frame; if not, it goes below.
  void place_legend() {
    if (legend_.empty()) return;
    Occupancy taken(camera_.frame);
    std::string ignored;
    draw(ignored, taken);
    legend_below_ = !legend_.room(camera_.frame, taken);
  }

  [[nodiscard]] std::string text() const {
    std::string out;
    double y = margins_.top - 10 - 18 * (static_cast<double>(title_.size()) - 1);
    if (!letter_.empty())
      out += text_element(10, title_.empty() ? margins_.top - 10 : y, letter_, title_size,
                          " class=\"letter\" font-weight=\"bold\"");
    const double centre = std::clamp(camera_.frame.left + camera_.frame.width / 2, 0.0, width_);
    for (const std::string& line : title_) {
      const double room = width_ - (letter_.empty() ? 16 : 84), size = fitting_size(line, title_size, room);
      const double half = text_width(line, size) / 2, start = letter_.empty() ? 8 : 40;
      out += text_element((std::max)((std::min)(centre, width_ - 8 - half), start + half), y, line, size,
                          " class=\"title\" text-anchor=\"middle\"");
      y += 18;
    }
    Occupancy taken(camera_.frame);
    draw(out, taken);
    if (legend_.empty()) return out;
    if (legend_below_) {
      const double room = width_ - 30;
      return out + legend_.below(15, height_ - legend_.height_below(room), room);
    }
    const std::optional<Pixel> corner = legend_.room(camera_.frame, taken);
    return out + legend_.inside(corner.value_or(
                     Pixel{camera_.frame.right() - 8 - legend_.width(), camera_.frame.top + 8}));
  }

 private:
  void draw(std::string& out, Occupancy& taken) const {
    if (space_) out += SpaceAxes(camera_, *panel_, taken).text();
    out += "<g class=\"layers\">\n";
    LayerWriter writer(camera_, out, taken);
    for (const Figure::Layer& layer : panel_->layers) std::visit(writer, layer);
    out += "</g>\n";
    if (!space_) out += PlaneAxes(camera_, *panel_).text(camera_, *panel_);
  }

  /// One unit as long along x as along y: an axis that nobody bounds reaches further, else the frame is
  /// smaller.
  [[nodiscard]] Camera equal_camera(Frame frame) const {
    std::array<Scale, 3> scales = scales_;
    const auto length = [&](std::size_t k) { return std::abs(scales[k].high - scales[k].low); };
    const double unit_x = length(0) / frame.width, unit_y = length(1) / frame.height;  // of each pixel
    if (unit_x < unit_y && free_[0]) {
      scales[0].widen(unit_y / unit_x);
    } else if (unit_y < unit_x && free_[1]) {
      scales[1].widen(unit_x / unit_y);
    } else {
      const double unit = (std::max)(unit_x, unit_y);
      const double width = length(0) / unit, height = length(1) / unit;
      frame = {frame.left + (frame.width - width) / 2, frame.top + (frame.height - height) / 2, width,
               height};
    }
    return plane_camera(scales, frame);
  }

  const Figure::Panel* panel_;
  double width_, height_;
  bool space_;
  Legend legend_;
  std::vector<std::string> title_;
  std::string letter_;
  std::array<Scale, 3> scales_;
  std::array<bool, 2> free_{};
  Margins margins_;
  Camera camera_;
  bool legend_below_ = false;
};

}  // namespace figures
