// The trajectories of a recording as a figure.
#pragma once

#include "programs/render/recording.hpp"

#include <attnflow/io/view.hpp>
#include "figures/figure.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace render {

/// `_` and `^` of a file's name are no sub- and superscripts.
inline std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '_' || c == '^') out += '\\';
    out += c;
  }
  return out;
}

/// The largest clusters, at most `most`, each of two tokens or more.
inline std::vector<int> largest_clusters(const std::vector<int>& labels, std::size_t most) {
  std::vector<Index> sizes;
  for (const int label : labels) {
    if (label < 0) continue;
    if (sizes.size() <= static_cast<std::size_t>(label)) sizes.resize(static_cast<std::size_t>(label) + 1);
    ++sizes[static_cast<std::size_t>(label)];
  }
  std::vector<int> largest(sizes.size());
  std::iota(largest.begin(), largest.end(), 0);
  const auto size = [&](int label) { return sizes[static_cast<std::size_t>(label)]; };
  std::ranges::stable_sort(largest, std::ranges::greater{}, size);
  largest.resize(std::min(largest.size(), most));
  std::erase_if(largest, [&](int label) { return size(label) < 2; });
  return largest;
}

/// Draws the trajectories: against time (d = 1), in the plane, or in space (the first three coordinates).
/// Tokens of the largest clusters have their colour, the others are grey.
class Trajectories {
 public:
  using Figure = figures::Figure;

  Trajectories(const Recording& r, const attnflow::View& view)
      : r_(r), view_(view), largest_(largest_clusters(view.clusters, most_colours)) {}

  [[nodiscard]] Figure figure() {
    Figure::Panel panel{.title = plain(view_.title), .x = {}, .y = {}};
    panel.x.label = timed_ ? "t" : "x_1";
    panel.y.label = timed_ ? "x_1" : "x_2";
    panel.z.label = "x_3";
    panel.equal = !timed_;
    for (const int label : largest_) add_group(panel, label);
    add_group(panel, others);
    if (r_.m > 1 && !timed_) {
      Figure::Points starts = points("start", Figure::grey, 2);
      for (Index i = 0; i < r_.n; ++i) corner(starts, 0, i);
      panel.layers.push_back(std::move(starts));
    }
    if (!view_.leaders.empty()) {  // rims of the marks that come over them
      Figure::Points rims = points(view_.leaders.size() == 1 ? "leader" : "leaders", Figure::black, 6);
      for (const Index i : view_.leaders) corner(rims, r_.m - 1, i);
      panel.layers.push_back(std::move(rims));
    }
    for (auto& end : ends_) panel.layers.push_back(std::move(end));

    Figure figure;
    if (r_.d > 3) figure.caption = "The first three of " + std::to_string(r_.d) + " coordinates.";
    if (lines_ < r_.n && r_.m > 1)
      figure.caption += std::string(figure.caption.empty() ? "" : " ") + "Lines are of " +
                        std::to_string(lines_) + " of the " + std::to_string(r_.n) + " tokens.";
    figure.panel_width = 560;
    figure.panel_height = timed_ ? 380 : 480;
    figure.panels.push_back(std::move(panel));
    return figure;
  }

 private:
  static constexpr std::size_t most_colours = 6;
  static constexpr Index most_lines = 1000, most_corners = 200'000;
  static constexpr int others = -2;  // those of no large cluster

  static Figure::Points points(std::string label, int colour, double size) {
    Figure::Points layer{.label = std::move(label), .x = {}, .y = {}};
    layer.colour = colour;
    layer.size = size;
    return layer;
  }

  /// Appends token i at moment k.
  template <class Layer>
  void corner(Layer& layer, Index k, Index i) const {
    const Recording::Moment x = r_.at(k);
    if (timed_) layer.x.push_back(r_.times[static_cast<std::size_t>(k)]);
    std::vector<double>* const to[] = {timed_ ? &layer.y : &layer.x, &layer.y, &layer.z};
    for (Index c = 0; c < dims_; ++c) to[c]->push_back(x(c, i));
  }
  void gap(Figure::Line& line) const {
    constexpr double none = std::numeric_limits<double>::quiet_NaN();
    line.x.push_back(none);
    line.y.push_back(none);
    if (dims_ == 3) line.z.push_back(none);
  }

  /// The lines of a cluster's tokens; their ends are drawn later, over everything.
  void add_group(Figure::Panel& panel, int group) {
    const auto place = std::ranges::find(largest_, group) - largest_.begin();
    const bool alone = group == others && largest_.empty();
    Figure::Points end =
        points("", group == others && !alone ? Figure::grey : static_cast<int>(place), r_.n > 1000 ? 2 : 3.5);
    Figure::Line line{.label = "", .x = {}, .y = {}};
    line.colour = end.colour;
    line.width = r_.n > 200 ? 0.7 : 1.2;
    line.opacity = 0.6;
    Index count = 0;
    for (Index i = 0; i < r_.n; ++i) {
      const int label = view_.clusters[static_cast<std::size_t>(i)];
      const bool large = std::ranges::find(largest_, label) != largest_.end();
      if (group == others ? large : label != group) continue;
      ++count;
      corner(end, r_.m - 1, i);
      if (r_.m < 2 || (i + 1) * lines_ / r_.n == i * lines_ / r_.n) continue;  // evenly spaced ones
      for (Index k = 0; k < r_.m; k = k == r_.m - 1 ? r_.m : std::min(k + stride_, r_.m - 1))
        corner(line, k, i);
      gap(line);
    }
    if (count == 0) return;
    end.label = alone ? "end"
                : group == others
                    ? "others"
                    : "cluster " + std::to_string(group) + " (" + std::to_string(count) + " tokens)";
    panel.layers.push_back(std::move(line));
    ends_.push_back(std::move(end));
  }

  const Recording& r_;
  const attnflow::View& view_;
  std::vector<int> largest_;
  Index dims_ = std::min<Index>(r_.d, 3);
  bool timed_ = dims_ == 1;
  Index lines_ = std::min(r_.n, most_lines);
  Index stride_ = std::max<Index>(1, (r_.m * lines_ + most_corners - 1) / most_corners);
  std::vector<Figure::Points> ends_;
};

}  // namespace render
