// Tokens as layers of a figure: what the pictures of the gallery have in common. Points are columns of 2 or 3
// coordinates, as the tokens of a state are.
#pragma once

#include "gallery/run.hpp"

#include <attnflow/geometry/convex_hull.hpp>
#include "figures/figure.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace gallery {

using figures::Figure, Eigen::Index, Eigen::MatrixXd;
using States = std::span<const MatrixXd>;  // d × n at each time

/// Appends the columns of z to Points, a Line or a Polygon.
void add(auto& layer, const MatrixXd& z) {
  for (const auto& [coordinate, k] : {std::pair{&layer.x, 0}, {&layer.y, 1}, {&layer.z, 2}})
    if (k < z.rows())
      for (const double value : z.row(k)) coordinate->push_back(value);
}

/// Appends a piece through the columns of z, and the gap behind it.
inline void add_piece(Figure::Line& line, const MatrixXd& z) {
  add(line, z);
  add(line, Eigen::VectorXd::Constant(z.rows(), std::nan("")));
}

/// Points at the columns of z.
inline Figure::Points points(Figure::Points style, const MatrixXd& z) {
  add(style, z);
  return style;
}

/// Where token i is at each time, d × m.
inline MatrixXd path(States states, Index i) {
  MatrixXd path(states.front().rows(), static_cast<Index>(states.size()));
  for (Index k = 0; const MatrixXd& z : states) path.col(k++) = z.col(i);
  return path;
}

/// The paths of all tokens, pieces of one line.
inline Figure::Line paths(Figure::Line style, States states) {
  for (Index i = 0; i < states.front().cols(); ++i) add_piece(style, path(states, i));
  return style;
}

/// The paths of all tokens, each a line of its own colour.
inline void add_paths(Figure::Panel& panel, const Figure::Line& style, States states,
                      const std::vector<int>& colours) {
  for (Index i = 0; const int colour : colours) {
    Figure::Line line = style;
    line.colour = colour;
    add(line, path(states, i++));
    panel.layers.emplace_back(std::move(line));
  }
}

/// The outlines of conv z, in the plane, for every so many of the times, pieces of one line.
inline Figure::Line hulls(Figure::Line style, States states, std::size_t every) {
  for (std::size_t k = 0; k < states.size(); k += every) {
    std::vector<Index> hull = attnflow::convex_hull(states[k]);
    hull.push_back(hull[0]);
    add_piece(style, states[k](Eigen::placeholders::all_t(), hull));
  }
  return style;
}

/// size · e^{rate t} against t.
inline Figure::Line exponential(Figure::Line style, std::span<const double> times, double size, double rate) {
  style.x.assign(times.begin(), times.end());
  for (const double t : times) style.y.push_back(size * std::exp(rate * t));
  return style;
}

/// The tokens in other coordinates: A z at each time.
inline std::vector<MatrixXd> images(const MatrixXd& A, States states) {
  std::vector<MatrixXd> images;
  for (const MatrixXd& z : states) images.emplace_back(A * z);
  return images;
}

/// The points (t, φ*(zᵢ(t))) of the plane, whose paths are the graphs of φ*(zᵢ); φ* is a row.
inline std::vector<MatrixXd> graphs(std::span<const double> times, const MatrixXd& phi, States states) {
  std::vector<MatrixXd> graphs;
  for (std::size_t k = 0; k < times.size(); ++k) {
    graphs.emplace_back(2, states[k].cols()).row(0).setConstant(times[k]);
    graphs.back().row(1) = phi * states[k];
  }
  return graphs;
}

/// The run up to a time, as later tokens may be far away; what was found of its end stays.
inline Run until(Run run, double t) {
  run.times.erase(std::ranges::upper_bound(run.times, t), run.times.end());
  run.z.resize(run.times.size());
  run.P.resize(std::min(run.P.size(), run.times.size()));
  return run;
}

}  // namespace gallery
