/// \file
/// A figure for a paper or a talk, as plain values: Figure.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <limits>
#include <string>
#include <variant>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

/// Panels of points, lines and matrices, written by write_svg(). Texts are UTF-8; `_` and `^` set the next
/// character, or what stands in braces, lower and higher: "z_1", "e^{−tV}". A backslash before them keeps them.
/// What is not finite is not drawn: in a line it is a gap, so that one Line holds many pieces.
struct Figure {
  /// Colours are places in a palette that is told apart by all kinds of colour vision (Okabe and Ito), modulo
  /// its length; these two are neutral.
  static constexpr int grey = -1, black = -2;
  enum class Mark { circle, square, triangle, diamond, cross };
  /// Of the numbers of a heat map, to shades.
  enum class Shade { linear, root, logarithmic };

  /// In what follows x, y and, in space, z have the same length. A layer with a label has an entry in the
  /// legend; layers of one label share it.
  struct Points {
    std::string label;
    std::vector<double> x, y, z = {};
    int colour = 0;
    std::vector<int> colours = {};  ///< of each point; or none: `colour`
    Mark mark = Mark::circle;
    double size = 4;  ///< the radius, in pixels of 1/96 inch
    double opacity = 1;
  };
  struct Line {
    std::string label;
    std::vector<double> x, y, z = {};
    int colour = 0;
    double width = 1.5;  ///< in pixels
    bool dashed = false;
    double opacity = 1;
  };
  struct Polygon {
    std::string label;
    std::vector<double> x, y, z = {};  ///< corners in turn
    int colour = 0;
    bool dashed = false;
    double opacity = 0.12;  ///< of the inside; the outline is opaque
  };
  /// Between two curves, such as mean ± spread.
  struct Band {
    std::string label;
    std::vector<double> x, low, high;
    int colour = 0;
    double opacity = 0.2;
  };
  /// A histogram: bar k from edges[k] to edges[k + 1].
  struct Bars {
    std::string label;
    std::vector<double> edges, heights;
    int colour = 0;
    double opacity = 0.6;
  };
  /// A matrix; entry (0, 0) is at the corner (x_low, y_low), row i goes up with i. With y_low > y_high the
  /// first row is at the top, as matrices are written.
  struct HeatMap {
    std::string label;  ///< of the colour bar; none: no bar
    Eigen::MatrixXd values;
    double x_low, x_high, y_low, y_high;  ///< the outer edges
    Shade shade = Shade::linear;
    double least = std::numeric_limits<double>::quiet_NaN();  ///< of the colours; NaN: that of the values
    double most = std::numeric_limits<double>::quiet_NaN();
  };
  struct Text {
    std::string text;
    double x, y, z = 0;
    int colour = black;
  };
  using Layer = std::variant<Points, Line, Polygon, Band, Bars, HeatMap, Text>;

  struct Axis {
    std::string label;
    double low = std::numeric_limits<double>::quiet_NaN();  ///< NaN: from the data, with a margin
    double high = std::numeric_limits<double>::quiet_NaN();
    bool logarithmic = false;  ///< what is not positive is not drawn
    bool whole = false;        ///< ticks at whole numbers only
  };
  struct Panel {
    std::string title;
    Axis x, y, z = {};  ///< z in space only
    std::vector<Layer> layers = {};
    bool equal = false;  ///< one unit is as long along x as along y (and z)
    bool legend = true;
    /// A panel one of whose points, lines or polygons has z shows space: seen from this yaw and pitch, in radians.
    double yaw = 0.6, pitch = 0.4;
  };

  std::string title, caption;
  std::vector<Panel> panels = {};
  int columns = 0;                               ///< of panels; 0: as square as may be
  double panel_width = 420, panel_height = 340;  ///< in pixels, with the labels

  /// \throws std::invalid_argument naming panel, layer and field at fault.
  void validate() const;
};

}  // namespace attnflow::inline ATTNFLOW_ABI
