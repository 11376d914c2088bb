/// \file
/// Marks and pens of figures.
#pragma once

#include "figures/colours.hpp"
#include "figures/figure.hpp"
#include "figures/svg_text.hpp"

#include <algorithm>
#include <string>

namespace figures {

/// The outline of a mark as a path that starts in its middle; empty for the circle, which has an element.
/// The five marks have about the same area.
[[nodiscard]] inline std::string mark_path(Figure::Mark mark, double x, double y, double size) {
  const auto at = [&](double across, double down) { return px(across * size) + ' ' + px(down * size); };
  std::string out = 'M' + px(x) + ' ' + px(y);
  switch (mark) {
    case Figure::Mark::square:
      return out + 'm' + at(-0.89, -0.89) + 'l' + at(1.78, 0) + ' ' + at(0, 1.78) + ' ' + at(-1.78, 0) + 'z';
    case Figure::Mark::triangle:
      return out + 'm' + at(0, -1.35) + 'l' + at(1.17, 2.02) + ' ' + at(-2.34, 0) + 'z';
    case Figure::Mark::diamond:
      return out + 'm' + at(0, -1.25) + 'l' + at(1.25, 1.25) + ' ' + at(-1.25, 1.25) + ' ' +
             at(-1.25, -1.25) + 'z';
    case Figure::Mark::cross:
      return out + 'm' + at(-0.85, -0.85) + 'l' + at(1.7, 1.7) + 'm' + at(0, -1.7) + 'l' + at(-1.7, 1.7);
    case Figure::Mark::circle:
      break;
  }
  return {};
}

/// A mark as an element. \param more  attributes, each with a space before it.
[[nodiscard]] inline std::string mark_element(Figure::Mark mark, double x, double y, double size,
                                              const std::string& more) {
  if (mark == Figure::Mark::circle)
    return "<circle" + more + " cx=\"" + px(x) + "\" cy=\"" + px(y) + "\" r=\"" + px(size) + "\"/>\n";
  return "<path" + more + " d=\"" + mark_path(mark, x, y, size) + "\"/>\n";
}

/// How marks of this colour are painted: crosses are strokes.
[[nodiscard]] inline std::string mark_paint(Figure::Mark mark, int colour) {
  const char* const attribute = mark == Figure::Mark::cross ? " stroke=\"" : " fill=\"";
  return attribute + colour_text(colour) + '"';
}
[[nodiscard]] inline std::string mark_edge(Figure::Mark mark, double size) {
  if (mark == Figure::Mark::cross)
    return " fill=\"none\" stroke-width=\"" + px((std::max)(1.0, size * 0.45)) + '"';
  return size >= 2.5 ? " stroke=\"#fff\" stroke-width=\"0.6\"" : "";
}

[[nodiscard]] inline std::string pen(int colour, double width, bool dashed) {
  std::string out = " fill=\"none\" stroke=\"" + colour_text(colour) + "\" stroke-width=\"" + px(width) +
                    "\" stroke-linejoin=\"round\"";
  if (dashed) out += " stroke-dasharray=\"" + px(3.5 * width + 1) + ' ' + px(2 * width + 1) + '"';
  return out;
}

}  // namespace figures
