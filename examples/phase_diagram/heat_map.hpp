// A heat map as an SVG picture: axes, colour bar, a curve on top.
#pragma once

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace phase_diagram {

/// values(i, j) in [0, 1] at (x[j], y[i]), both equally spaced and increasing.
struct HeatMap {
  std::string title, caption, x_label, y_label, value_label, curve_label;
  std::vector<double> x, y;
  Eigen::MatrixXd values;
  std::vector<double> curve_x, curve_y;  ///< may leave the frame
};

namespace detail {

/// Viridis (S. van der Walt, N. Smith): lightness grows evenly, for all kinds of colour vision and in grey.
inline std::string viridis(double value) {
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
  std::array<int, 3> rgb{};
  for (std::size_t k = 0; k < 3; ++k)
    rgb[k] = static_cast<int>(
        std::lround(std::lerp(colours[below][k], colours[below + 1][k], place - static_cast<double>(below))));
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", static_cast<unsigned>(rgb[0]),
                static_cast<unsigned>(rgb[1]), static_cast<unsigned>(rgb[2]));
  return text;
}

inline std::string number(double value, const char* format = "%.6g") {
  char text[40];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// Multiples of 1, 2 or 5 times a power of ten in [low, high], some six of them.
inline std::vector<double> ticks(double low, double high) {
  const double rough = (high - low) / 6, power = std::pow(10, std::floor(std::log10(rough)));
  const double step = (rough <= 1.5 * power   ? 1
                       : rough <= 3.5 * power ? 2
                       : rough <= 7.5 * power ? 5
                                              : 10) *
                      power;
  std::vector<double> at;
  for (auto k = std::lround(std::ceil(low / step - 1e-9));
       static_cast<double>(k) * step <= high + 1e-9 * step; ++k)
    at.push_back(static_cast<double>(k) * step);
  return at;
}

inline std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

inline std::string text_at(double x, double y, const std::string& text, const std::string& more = "") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\"" + more + ">" + escaped(text) + "</text>\n";
}

}  // namespace detail

/// The picture, 960 × 680.
inline std::string svg(const HeatMap& map) {
  using detail::number;
  using detail::text_at;
  constexpr double left = 84, top = 64, width = 700, height = 480, bar_left = left + width + 28,
                   bar_width = 22;
  constexpr int shades = 200;
  const auto columns = map.values.cols(), rows = map.values.rows();
  const auto spacing = [](const std::vector<double>& v) {
    return v.size() > 1 ? (v.back() - v.front()) / static_cast<double>(v.size() - 1) : 1.0;
  };
  const double dx = spacing(map.x), dy = spacing(map.y);
  const auto across = [&](double x) {
    return left + width * ((x - map.x.front()) / dx + 0.5) / static_cast<double>(columns);
  };
  const auto up = [&](double y) {
    return top + height - height * ((y - map.y.front()) / dy + 0.5) / static_cast<double>(rows);
  };

  std::string out =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 680\" width=\"960\" height=\"680\" "
      "role=\"img\" font-family=\"'DejaVu Sans', Verdana, sans-serif\" font-size=\"16\" fill=\"#111\">\n";
  out += "<title>" + detail::escaped(map.title) + "</title>\n<desc>" + detail::escaped(map.caption) +
         "</desc>\n";
  out += "<rect width=\"960\" height=\"680\" fill=\"#fff\"/>\n";
  out += text_at(left, 38, map.title, " font-size=\"20\"");

  // Cells in their own coordinates, runs of one shade as one rectangle, one path for each shade.
  std::vector<std::string> paths(shades + 1);
  for (Eigen::Index i = 0; i < rows; ++i)
    for (Eigen::Index j = 0, end = 0; j < columns; j = end) {
      const auto shade_at = [&](Eigen::Index k) {
        return static_cast<std::size_t>(std::lround(std::clamp(map.values(i, k), 0.0, 1.0) * shades));
      };
      const std::size_t shade = shade_at(j);
      while (end < columns && (end <= j || shade_at(end) == shade)) ++end;
      const std::string run = std::to_string(end - j);
      paths[shade] +=
          "M" + std::to_string(j) + " " + std::to_string(rows - 1 - i) + "h" + run + "v1h-" + run + "z";
    }
  out += "<g transform=\"translate(" + number(left) + " " + number(top) + ") scale(" +
         number(width / static_cast<double>(columns)) + " " + number(height / static_cast<double>(rows)) +
         ")\" shape-rendering=\"crispEdges\">\n";
  for (std::size_t shade = 0; shade < paths.size(); ++shade)
    if (!paths[shade].empty())
      out += "<path fill=\"" + detail::viridis(static_cast<double>(shade) / shades) + "\" d=\"" +
             paths[shade] + "\"/>\n";
  out += "</g>\n";

  // The curve, white around black: seen on every shade.
  std::string points;
  for (std::size_t k = 0; k < map.curve_x.size(); ++k)
    if (std::isfinite(map.curve_x[k]) && std::abs(map.curve_x[k]) < 1e6)
      points += number(across(map.curve_x[k]), "%.2f") + "," + number(up(map.curve_y[k]), "%.2f") + " ";
  const std::string frame = "x=\"" + number(left) + "\" y=\"" + number(top) + "\" width=\"" + number(width) +
                            "\" height=\"" + number(height) + "\"";
  const std::string white = " fill=\"none\" stroke=\"#fff\" stroke-width=\"6\"";
  const std::string black = " fill=\"none\" stroke=\"#000\" stroke-width=\"2.5\"";
  out += "<clipPath id=\"frame\"><rect " + frame + "/></clipPath>\n<g clip-path=\"url(#frame)\">\n";
  for (const auto& pen : {white, black}) out += "<polyline points=\"" + points + "\"" + pen + "/>\n";
  out += "</g>\n<rect " + frame + " fill=\"none\" stroke=\"#111\"/>\n";

  for (const double x : detail::ticks(map.x.front(), map.x.back())) {
    out += "<path stroke=\"#111\" d=\"M" + number(across(x)) + " " + number(top + height) + "v6\"/>\n";
    out += text_at(across(x), top + height + 24, number(x), " text-anchor=\"middle\"");
  }
  for (const double y : detail::ticks(map.y.front(), map.y.back())) {
    out += "<path stroke=\"#111\" d=\"M" + number(left) + " " + number(up(y)) + "h-6\"/>\n";
    out += text_at(left - 12, up(y) + 5.5, number(y), " text-anchor=\"end\"");
  }
  const auto sideways = [](double x, double y, const std::string& text) {
    return text_at(x, y, text,
                   " text-anchor=\"middle\" transform=\"rotate(-90 " + number(x) + " " + number(y) + ")\"");
  };
  out += text_at(left + width / 2, top + height + 52, map.x_label, " text-anchor=\"middle\"");
  out += sideways(30, top + height / 2, map.y_label);

  out += "<linearGradient id=\"bar\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\">";
  for (int k = 0; k <= 10; ++k)
    out += "<stop offset=\"" + number(k / 10.) + "\" stop-color=\"" + detail::viridis(k / 10.) + "\"/>";
  out += "</linearGradient>\n<rect x=\"" + number(bar_left) + "\" y=\"" + number(top) + "\" width=\"" +
         number(bar_width) + "\" height=\"" + number(height) + "\" fill=\"url(#bar)\" stroke=\"#111\"/>\n";
  for (int k = 0; k <= 5; ++k) {
    const double y = top + height * (1 - k / 5.);
    out += "<path stroke=\"#111\" d=\"M" + number(bar_left + bar_width) + " " + number(y) + "h6\"/>\n";
    out += text_at(bar_left + bar_width + 11, y + 5.5, number(k / 5., "%.1f"));
  }
  out += sideways(bar_left + bar_width + 68, top + height / 2, map.value_label);

  const double legend = top + height + 82;
  out += "<path d=\"M" + number(left) + " " + number(legend - 5) + "h44\"" + black + "/>\n";
  out += text_at(left + 54, legend, map.curve_label);
  out += text_at(left, legend + 30, map.caption, " font-size=\"14\"");
  return out + "</svg>\n";
}

}  // namespace phase_diagram
