/// \file
/// A figure for a paper or a talk, as plain values: Figure.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace figures {

using attnflow::detail::refuse;

/// Panels of points, lines and matrices, written by write_svg(). Texts are UTF-8; `_` and `^` set the next
/// character, or what stands in braces, lower and higher: "z_1", "e^{−tV}". A backslash before them keeps
/// them. What is not finite is not drawn: in a line it is a gap, so that one Line holds many pieces.
struct Figure {
  /// Colours are places in a palette that is told apart by all kinds of colour vision (Okabe and Ito), modulo
  /// its length; these are neutral.
  static constexpr int grey = -1, black = -2, white = -3;
  /// What is drawn at a point.
  enum class Mark { circle, square, triangle, diamond, cross };
  /// Of the numbers of a heat map, to shades.
  enum class Shade { linear, root, logarithmic };

  /// In what follows x, y and, in space, z have the same length. A layer with a label has an entry in the
  /// legend; layers of one label share it.
  struct Points {
    /// Its entry in the legend; none: no entry.
    std::string label = {};
    /// Coordinates, of equal length; z in space only.
    std::vector<double> x = {}, y = {}, z = {};
    /// A place in the palette, or a neutral colour.
    int colour = 0;
    std::vector<int> colours = {};  ///< of each point; or none: `colour`
    /// The shape of the points.
    Mark mark = Mark::circle;
    double size = 4;  ///< the radius, in pixels of 1/96 inch
    /// From 0, invisible, to 1.
    double opacity = 1;
  };
  /// A line through points; what is not finite is a gap in it.
  struct Line {
    /// Its entry in the legend; none: no entry.
    std::string label = {};
    /// Coordinates, of equal length; z in space only.
    std::vector<double> x = {}, y = {}, z = {};
    /// A place in the palette, or a neutral colour.
    int colour = 0;
    double width = 1.5;  ///< in pixels
    /// Dashes instead of a line.
    bool dashed = false;
    /// From 0, invisible, to 1.
    double opacity = 1;
  };
  /// A closed polygon, filled.
  struct Polygon {
    /// Its entry in the legend; none: no entry.
    std::string label = {};
    std::vector<double> x = {}, y = {}, z = {};  ///< corners in turn
    /// A place in the palette, or a neutral colour.
    int colour = 0;
    /// Of the outline: dashes instead of a line.
    bool dashed = false;
    double opacity = 0.12;  ///< of the inside; the outline is opaque
  };
  /// Between two curves, such as mean ± spread.
  struct Band {
    /// Its entry in the legend; none: no entry.
    std::string label = {};
    /// The curves (x, low) and (x, high), of equal length.
    std::vector<double> x = {}, low = {}, high = {};
    /// A place in the palette, or a neutral colour.
    int colour = 0;
    /// Of the band, from 0 to 1.
    double opacity = 0.2;
  };
  /// A histogram: bar k from edges[k] to edges[k + 1].
  struct Bars {
    /// Its entry in the legend; none: no entry.
    std::string label = {};
    /// One edge more than heights; edges increase.
    std::vector<double> edges = {}, heights = {};
    /// A place in the palette, or a neutral colour.
    int colour = 0;
    /// Of the bars, from 0 to 1.
    double opacity = 0.6;
  };
  /// A matrix; entry (0, 0) is at the corner (x_low, y_low), and y grows with the row, from y_low to y_high.
  /// With y_low > y_high the first row is at the top, as matrices are written; to number the rows downwards,
  /// keep y_low < y_high and turn the axis instead: y = {.low = y_high, .high = y_low}.
  struct HeatMap {
    std::string label = {};  ///< of the colour bar; none: no bar
    /// The matrix, of any shape.
    Eigen::MatrixXd values = {};
    /// Its outer edges in the coordinates of the panel.
    double x_low = 0, x_high = 1, y_low = 0, y_high = 1;  ///< the outer edges
    /// How numbers become shades.
    Shade shade = Shade::linear;
    double least = std::numeric_limits<double>::quiet_NaN();  ///< of the colours; NaN: that of the values
    /// The number of the darkest shade; NaN: the largest value.
    double most = std::numeric_limits<double>::quiet_NaN();
  };
  /// A word or two inside the panel.
  struct Text {
    std::string text = {};  ///< centred at (x, y, z)
    /// The middle of the text.
    double x = 0, y = 0, z = 0;
    /// A place in the palette, or a neutral colour.
    int colour = black;
  };
  /// What a panel is made of, in the order in which it is drawn.
  using Layer = std::variant<Points, Line, Polygon, Band, Bars, HeatMap, Text>;

  /// One axis of a panel.
  struct Axis {
    /// Beside the axis; may be empty.
    std::string label = {};
    double low = std::numeric_limits<double>::quiet_NaN();   ///< NaN: from the data, with a margin
    double high = std::numeric_limits<double>::quiet_NaN();  ///< below `low`: the axis runs the other way
    bool logarithmic = false;                                ///< what is not positive is not drawn
    bool whole = false;                                      ///< ticks at whole numbers only
  };
  /// One plot.
  struct Panel {
    /// Above the panel; may be empty.
    std::string title = {};
    Axis x = {}, y = {}, z = {};  ///< z in space only
    /// Drawn one over the other.
    std::vector<Layer> layers = {};
    bool equal = false;  ///< one unit is as long along x as along y (and z)
    /// Whether labelled layers are listed in a legend.
    bool legend = true;
    /// A panel one of whose points, lines or polygons has z shows space: seen from this yaw and pitch, in
    /// radians.
    double yaw = 0.6, pitch = 0.4;
  };

  /// Above and below all panels; may be empty.
  std::string title = {}, caption = {};
  /// In rows from left to right, lettered (a), (b), … if there are several.
  std::vector<Panel> panels = {};
  int columns = 0;  ///< of panels; 0: as square as may be
  /// Of a panel, in pixels, with its labels.
  double panel_width = 420, panel_height = 340;  ///< in pixels, with the labels

  /// \throws std::invalid_argument naming panel, layer and field at fault.
  void validate() const;
};

/// Whether the numbers differ in their first nine digits: what lies between two nearer ones is rounding.
[[nodiscard]] inline bool apart(double a, double b) {
  return std::abs(b - a) > 1e-9 * (std::max)(std::abs(a), std::abs(b));
}

/// Checks a panel of a Figure, and what it says of itself in messages.
struct PanelCheck {
  const Figure::Panel& panel;
  std::string where;

  static bool has_z(const Figure::Layer& layer) {
    return std::visit(
        [](const auto& l) {
          if constexpr (requires { l.z.empty(); }) return !l.z.empty();
          return false;
        },
        layer);
  }
  /// Whether the panel shows space.
  static bool space(const Figure::Panel& p) {
    for (const Figure::Layer& layer : p.layers)
      if (has_z(layer)) return true;
    return false;
  }
  static void same(const std::string& field, std::size_t found, std::size_t expected, const char* meaning) {
    if (found != expected)
      refuse("Figure::", field, " has ", found, " entries, expected ", meaning, " = ", expected);
  }
  static void within(const std::string& field, double value, double low, double high) {
    if (!(value >= low && value <= high))
      refuse("Figure::", field, " is ", value, ", expected ", low, " to ", high);
  }
  static void colour(const std::string& field, int value) {
    if (value < Figure::white)
      refuse("Figure::", field, " is ", value, ", expected at least ", Figure::white);
  }

  void axis(const Figure::Axis& a, const char* name) const {
    const std::string field = where + '.' + name;
    for (const double end : {a.low, a.high})
      if (std::abs(end) > 1e300 || (a.logarithmic && end <= 0))
        refuse("Figure::", field, " ends at ", end, ", expected NaN or a ",
               a.logarithmic ? "positive" : "finite", " number, at most 1e300");
    if (std::isfinite(a.low) && std::isfinite(a.high) && !apart(a.low, a.high))
      refuse("Figure::", field, " has low = ", a.low, " and high = ", a.high,
             ", expected two different numbers");
    if (panel.equal && a.logarithmic) refuse("Figure::", where, ".equal is true and ", name, " logarithmic");
  }
  template <class Layer>
  void layer(const Layer& l, const std::string& field, bool in_space) const {
    if constexpr (requires { l.opacity; }) within(field + ".opacity", l.opacity, 0, 1);
    if constexpr (requires { l.colour; }) colour(field + ".colour", l.colour);
    if constexpr (requires { l.width; }) within(field + ".width", l.width, 0, 1000);
    if constexpr (requires { l.z.empty(); }) {
      same(field + ".y", l.y.size(), l.x.size(), "that of x");
      if (in_space || !l.z.empty()) same(field + ".z", l.z.size(), l.x.size(), "that of x");
    } else if constexpr (!std::is_same_v<Layer, Figure::Text>) {
      if (in_space)
        refuse("Figure::", field, " lies in the plane, expected points, lines, polygons or texts");
    }
    if constexpr (std::is_same_v<Layer, Figure::Points>) {
      within(field + ".size", l.size, 0, 1000);
      if (!l.colours.empty()) same(field + ".colours", l.colours.size(), l.x.size(), "none or that of x");
      for (const int c : l.colours) colour(field + ".colours", c);
    } else if constexpr (std::is_same_v<Layer, Figure::Band>) {
      same(field + ".low", l.low.size(), l.x.size(), "that of x");
      same(field + ".high", l.high.size(), l.x.size(), "that of x");
    } else if constexpr (std::is_same_v<Layer, Figure::Bars>) {
      if (!l.heights.empty() || !l.edges.empty())
        same(field + ".edges", l.edges.size(), l.heights.size() + 1, "one more than heights");
    } else if constexpr (std::is_same_v<Layer, Figure::HeatMap>) {
      for (const double edge : {l.x_low, l.x_high, l.y_low, l.y_high})
        if (!(std::abs(edge) <= 1e300) || !apart(l.x_low, l.x_high) || !apart(l.y_low, l.y_high))
          refuse("Figure::", field, " reaches from (", l.x_low, ", ", l.y_low, ") to (", l.x_high, ", ",
                 l.y_high, "), expected finite numbers, different along x and along y");
      const bool both = std::isfinite(l.least) && std::isfinite(l.most);
      if ((both && !(l.least < l.most && apart(l.least, l.most))) || std::abs(l.least) > 1e300 ||
          std::abs(l.most) > 1e300)
        refuse("Figure::", field, " has least = ", l.least, " and most = ", l.most,
               ", expected finite numbers or NaN, least < most");
      if (l.shade == Figure::Shade::logarithmic && (l.least <= 0 || l.most <= 0))
        refuse("Figure::", field, " has least = ", l.least, " and most = ", l.most,
               ", expected positive numbers for logarithmic shades");
    }
  }
  void all() const {
    axis(panel.x, "x");
    axis(panel.y, "y");
    axis(panel.z, "z");
    within(where + ".yaw", panel.yaw, -1e6, 1e6);
    within(where + ".pitch", panel.pitch, -1e6, 1e6);
    const bool in_space = space(panel);
    for (std::size_t k = 0; k < panel.layers.size(); ++k)
      std::visit([&](const auto& l) { layer(l, where + ".layers[" + std::to_string(k) + ']', in_space); },
                 panel.layers[k]);
  }
};

inline void Figure::validate() const {
  if (columns < 0) refuse("Figure::columns is ", columns, ", expected at least 0");
  PanelCheck::within("panel_width", panel_width, 120, 10000);
  PanelCheck::within("panel_height", panel_height, 120, 10000);
  for (std::size_t k = 0; k < panels.size(); ++k)
    PanelCheck{panels[k], "panels[" + std::to_string(k) + ']'}.all();
}

}  // namespace figures
