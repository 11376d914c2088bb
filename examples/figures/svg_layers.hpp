/// \file
/// The layers of a panel as SVG elements.
#pragma once

#include "figures/camera.hpp"
#include "figures/colours.hpp"
#include "figures/figure.hpp"
#include "figures/occupancy.hpp"
#include "figures/svg_heat_map.hpp"
#include "figures/svg_marks.hpp"
#include "figures/svg_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace figures {

/// Writes the layers one after the other and notes where they are.
class LayerWriter {
 public:
  /// More points than this are one path for each colour.
  static constexpr std::size_t most_elements = 20000;

  LayerWriter(const Camera& camera, std::string& out, Occupancy& taken)
      : camera_(camera), out_(out), taken_(taken) {}

  void operator()(const Figure::Points& layer) {
    std::vector<std::pair<std::size_t, Place>> seen;
    for (std::size_t k = 0; k < layer.x.size(); ++k)
      if (const Place u = place(layer, k); Camera::inside(u)) seen.emplace_back(k, u);
    if (camera_.space)  // far to near
      std::stable_sort(seen.begin(), seen.end(), [&](const auto& a, const auto& b) {
        return camera_.closeness(a.second) < camera_.closeness(b.second);
      });
    for (const auto& [k, u] : seen) taken_.point(camera_.pixel(u), layer.size);
    const auto colour = [&](std::size_t k) {
      return layer.colours.empty() ? layer.colour : layer.colours[k];
    };
    open("points", layer.opacity);
    if (seen.size() > most_elements) {
      dots(layer, seen, colour);
    } else {
      out_ += mark_edge(layer.mark, layer.size) +
              (layer.colours.empty() ? mark_paint(layer.mark, layer.colour) : "") + ">\n";
      for (const auto& [k, u] : seen) {
        const Pixel p = camera_.pixel(u);
        out_ += mark_element(layer.mark, p.x, p.y, layer.size,
                             " class=\"point\" data-k=\"" + std::to_string(k) + '"' +
                                 (layer.colours.empty() ? "" : mark_paint(layer.mark, colour(k))));
      }
    }
    close();
  }

  void operator()(const Figure::Line& layer) {
    open("line", layer.opacity);
    std::vector<Place> places;
    for (std::size_t k = 0; k < layer.x.size(); ++k) places.push_back(place(layer, k));
    out_ += pen(layer.colour, layer.width, layer.dashed) + ">\n";
    stroke(places);
    close();
  }

  /// Entries that are not finite part one polygon from the next.
  void operator()(const Figure::Polygon& layer) {
    std::vector<std::vector<Place>> pieces(1);
    for (std::size_t k = 0; k < layer.x.size(); ++k)
      if (const Place u = place(layer, k); finite(u))
        pieces.back().push_back(u);
      else if (!pieces.back().empty())
        pieces.emplace_back();
    const auto closeness = [&](const std::vector<Place>& piece) {
      double sum = 0;
      for (const Place& u : piece) sum += camera_.closeness(u);
      return sum / static_cast<double>(std::max<std::size_t>(piece.size(), 1));
    };
    if (camera_.space)
      std::stable_sort(pieces.begin(), pieces.end(),
                       [&](const auto& a, const auto& b) { return closeness(a) < closeness(b); });
    open("polygon", 1);
    out_ += pen(layer.colour, 1.2, layer.dashed) + ">\n";
    for (std::vector<Place>& piece : pieces) {
      if (piece.empty()) continue;
      fill(clip(piece), layer.colour, layer.opacity);
      piece.push_back(piece.front());
      stroke(piece);
    }
    close();
  }

  void operator()(const Figure::Band& layer) {
    open("band", 1);
    out_ += ">\n";
    std::vector<Place> above, below;
    const auto flush = [&] {
      for (std::size_t k = 0; k + 1 < above.size(); ++k)
        shade(below[k], above[k], below[k + 1], above[k + 1]);
      above.insert(above.end(), below.rbegin(), below.rend());
      fill(clip(above), layer.colour, layer.opacity);
      above.clear();
      below.clear();
    };
    for (std::size_t k = 0; k < layer.x.size(); ++k) {
      const Place low = camera_.place(layer.x[k], layer.low[k], 0),
                  high = camera_.place(layer.x[k], layer.high[k], 0);
      if (finite(low) && finite(high)) {
        below.push_back(low);
        above.push_back(high);
      } else {
        flush();
      }
    }
    flush();
    close();
  }

  void operator()(const Figure::Bars& layer) {
    open("bars", 1);
    out_ += " fill=\"" + colour_text(layer.colour) + "\" fill-opacity=\"" + px(layer.opacity) +
            "\" stroke=\"" + colour_text(layer.colour) + "\" stroke-width=\"0.8\">\n";
    for (std::size_t k = 0; k < layer.heights.size(); ++k) {
      Place a = camera_.place(layer.edges[k], layer.heights[k], 0),
            b = camera_.place(layer.edges[k + 1], 0, 0);
      if (camera_.scales[1].logarithmic) b[1] = camera_.scales[1].low < camera_.scales[1].high ? 0 : 1;
      if (!finite(a) || !finite(b) || (std::max)(a[0], b[0]) < 0 || (std::min)(a[0], b[0]) > 1) continue;
      for (Place* const u : {&a, &b})
        for (double& v : *u) v = std::clamp(v, 0.0, 1.0);
      const Pixel p = camera_.pixel(a), q = camera_.pixel(b);
      const auto [left, right] = std::minmax(p.x, q.x);
      const auto [top, bottom] = std::minmax(p.y, q.y);
      taken_.area(left, top, right, bottom);
      out_ += "<rect class=\"bar\" data-k=\"" + std::to_string(k) + "\" x=\"" + px(left) + "\" y=\"" +
              px(top) + "\" width=\"" + px(right - left) + "\" height=\"" + px(bottom - top) + "\"/>\n";
    }
    close();
  }

  void operator()(const Figure::HeatMap& layer) {
    open("heat-map", 1);
    out_ += ">\n" + HeatMapCells(camera_, layer).text();
    close();
    Place a = camera_.place(layer.x_low, layer.y_low, 0), b = camera_.place(layer.x_high, layer.y_high, 0);
    if (!finite(a) || !finite(b)) return;
    const Pixel p = camera_.pixel(a), q = camera_.pixel(b);
    taken_.area((std::min)(p.x, q.x), (std::min)(p.y, q.y), (std::max)(p.x, q.x), (std::max)(p.y, q.y));
  }

  void operator()(const Figure::Text& layer) {
    const Place u = camera_.place(layer.x, layer.y, layer.z);
    if (!Camera::inside(u)) return;
    const Pixel p = camera_.pixel(u);
    const double half = text_width(layer.text, label_size) / 2;
    taken_.area(p.x - half, p.y - label_size / 2, p.x + half, p.y + label_size / 2);
    out_ += text_element(p.x, p.y + 0.36 * label_size, layer.text, label_size,
                         " class=\"text\" text-anchor=\"middle\" stroke=\"#fff\" stroke-width=\"3\" "
                         "stroke-linejoin=\"round\" paint-order=\"stroke\" fill=\"" +
                             colour_text(layer.colour) + '"');
  }

 private:
  template <class Layer>
  [[nodiscard]] Place place(const Layer& layer, std::size_t k) const {
    return camera_.place(layer.x[k], layer.y[k], camera_.space && !layer.z.empty() ? layer.z[k] : 0);
  }
  /// Whether there is a place, and one so near that differences do not overflow.
  [[nodiscard]] static bool finite(const Place& u) {
    return std::all_of(u.begin(), u.end(), [](double v) { return std::abs(v) < 1e200; });
  }

  void open(const char* name, double opacity) {
    out_ += std::string("<g class=\"") + name + '"';
    if (opacity < 1) out_ += " opacity=\"" + px(opacity) + '"';
  }
  void close() { out_ += "</g>\n"; }

  /// Many points: ends of strokes without length, which are round or square. Of those on the same tenth of a
  /// pixel one is drawn.
  template <class Colour>
  void dots(const Figure::Points& layer, const std::vector<std::pair<std::size_t, Place>>& seen,
            Colour colour) {
    std::map<int, std::pair<std::string, std::set<std::pair<long, long>>>> paths;
    for (const auto& [k, u] : seen) {
      const Pixel p = camera_.pixel(u);
      auto& [text, places] = paths[colour(k)];
      if (places.emplace(std::lround(p.x * 10), std::lround(p.y * 10)).second)
        text += 'M' + px(p.x) + ' ' + px(p.y) + "h0";
    }
    out_ += std::string(" fill=\"none\" stroke-linecap=\"") +
            (layer.mark == Figure::Mark::square ? "square" : "round") + "\" stroke-width=\"" +
            px(2 * layer.size) + "\">\n";
    for (const auto& [key, path] : paths)
      out_ += "<path class=\"points\" stroke=\"" + colour_text(key) + "\" d=\"" + path.first + "\"/>\n";
  }

  /// The polyline, cut to the frame, as one path. Long ones leave out what is nearer than a fifth of a pixel
  /// to the corner before.
  void stroke(const std::vector<Place>& places) {
    std::string path;
    Pixel last, skipped;
    bool open = false, pending = false;
    const double least = places.size() > 5000 ? 0.2 : 0.005;
    const auto put = [&](const Pixel& p, char command) {
      if (command == 'M' || path.empty())
        path += 'M';
      else if (!open)
        path += 'L';
      else
        path += ' ';
      open = command == 'L';
      path += px(p.x) + ' ' + px(p.y);
      last = p;
      pending = false;
    };
    bool joined = false;  // whether the path has reached the end of the segment before
    for (std::size_t k = 0; k + 1 < places.size(); ++k) {
      Place a = places[k], b = places[k + 1];
      const bool drawn = finite(a) && finite(b) && clip(a, b);
      if (!drawn || !joined || a != places[k]) {
        if (pending) put(skipped, 'L');
        if (drawn) put(camera_.pixel(a), 'M');
      }
      joined = drawn && b == places[k + 1];
      if (!drawn) continue;
      const Pixel q = camera_.pixel(b);
      taken_.line(camera_.pixel(a), q);
      if (std::hypot(q.x - last.x, q.y - last.y) >= least) {
        put(q, 'L');
      } else {
        skipped = q;
        pending = true;
      }
    }
    if (pending) put(skipped, 'L');
    if (!path.empty()) out_ += "<path d=\"" + path + "\"/>\n";
  }

  void fill(const std::vector<Place>& corners, int colour, double opacity) {
    if (corners.size() < 3 || opacity == 0) return;
    std::string path;
    for (const Place& u : corners) {
      const Pixel p = camera_.pixel(u);
      path += (path.empty()                          ? "M"
               : path.find('L') == std::string::npos ? "L"
                                                     : " ") +
              px(p.x) + ' ' + px(p.y);
    }
    out_ += "<path stroke=\"none\" fill=\"" + colour_text(colour) + "\" fill-opacity=\"" + px(opacity) +
            "\" d=\"" + path + "z\"/>\n";
  }

  /// Notes the trapezium between two pairs of places.
  void shade(const Place& low, const Place& high, const Place& next_low, const Place& next_high) {
    const double wide = std::abs(next_low[0] - low[0]) * camera_.frame.width;
    const auto steps = static_cast<int>((std::min)(wide / 4, 3000.0)) + 1;
    for (int k = 0; k <= steps; ++k) {
      const double s = static_cast<double>(k) / steps;
      const double x = std::lerp(low[0], next_low[0], s);
      if (!(x >= 0 && x <= 1)) continue;
      const Pixel p = camera_.pixel({x, std::clamp(std::lerp(low[1], next_low[1], s), 0.0, 1.0), 0});
      const Pixel q = camera_.pixel({x, std::clamp(std::lerp(high[1], next_high[1], s), 0.0, 1.0), 0});
      taken_.area(p.x, (std::min)(p.y, q.y), p.x, (std::max)(p.y, q.y));
    }
  }

  const Camera& camera_;
  std::string& out_;
  Occupancy& taken_;
};

}  // namespace figures
