/// \file
/// The maxima of sums of bell-shaped terms, isolated by bounds on slope and curvature.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// What a density does at a point, relative to its largest term there.
struct DensityShape {
  int sign = 0;         // of the slope; 0 where it is rounding
  bool single = false;  // the slope has no zero in the cell asked about, or it is monotone there
};

/// ∑ⱼ e^{−β (y − xⱼ)²/2}.
struct LineKernel {
  static constexpr bool periodic = false;
  double beta;
  [[nodiscard]] double difference(double x, double y) const { return x - y; }
  [[nodiscard]] double exponent(double difference) const { return difference * difference / 2 * beta; }
  [[nodiscard]] double pull(double difference) const { return difference; }
  [[nodiscard]] double bend(double difference) const { return beta * difference * difference - 1; }
  [[nodiscard]] double most_pull(double difference, double off) const { return std::abs(difference) + off; }
  [[nodiscard]] double most_change_of_bend(double pull) const {
    return pull * beta * (beta * pull * pull + 3);
  }
  /// Where a sum of such terms has a maximum, one term at least bends downwards.
  [[nodiscard]] double reach() const { return 1 / std::sqrt(beta); }
};

/// ∑ⱼ e^{β (cos(y − xⱼ) − 1)}.
struct CircleKernel {
  static constexpr bool periodic = true;
  static constexpr double turn = 2 * std::numbers::pi;
  double beta;
  [[nodiscard]] double difference(double x, double y) const { return std::remainder(x - y, turn); }
  [[nodiscard]] double exponent(double difference) const {
    const double half = std::sin(difference / 2);
    return 2 * beta * half * half;
  }
  [[nodiscard]] double pull(double difference) const { return std::sin(difference); }
  [[nodiscard]] double bend(double difference) const {
    const double sine = std::sin(difference);
    return beta * sine * sine - std::cos(difference);
  }
  [[nodiscard]] double most_pull(double difference, double off) const {
    return (std::min)(1., std::abs(std::sin(difference)) + off);
  }
  /// Of |sin u (β² sin² u − 3 β cos u − 1)|.
  [[nodiscard]] double most_change_of_bend(double pull) const {
    return pull * (beta * (beta * pull * pull + 3) + 1);
  }
  /// β sin² u ≤ cos u, which is cos u ≥ c = 2β/(1 + r) with r = √(1 + 4β²); by 1 − c = (1 + 1/(r + 2β))/(1 + r).
  [[nodiscard]] double reach() const {
    const double r = std::hypot(1, 2 * beta);
    return 2 * std::asin(std::sqrt((1 + 1 / (r + 2 * beta)) / (1 + r) / 2));
  }
};

/// The density of sorted points, and its modes.
template <class Kernel>
class KernelDensity {
 public:
  KernelDensity(std::vector<double> points, Kernel kernel)
      : x_(std::move(points)), kernel_(kernel), step_(kernel.reach() / 16) {
    std::ranges::sort(x_);
    cut_ = 40 + std::log(static_cast<double>(x_.size()));
  }

  [[nodiscard]] std::vector<double> modes() {
    // A mode is in reach of a point. Where gaps leave no way round the circle, it is a line.
    const double reach = 1.01 * kernel_.reach();
    bool closed = false;
    if constexpr (Kernel::periodic) {
      std::size_t cut = 0;
      double widest = x_.front() + Kernel::turn - x_.back();
      for (std::size_t j = 1; j < x_.size(); ++j)
        if (x_[j] - x_[j - 1] > widest) {
          widest = x_[j] - x_[j - 1];
          cut = j;
        }
      closed = widest <= 2 * reach;
      from_.assign(x_.begin() + static_cast<std::ptrdiff_t>(cut), x_.end());
      for (std::size_t j = 0; j < cut; ++j) from_.push_back(x_[j] + Kernel::turn);
    } else {
      from_ = x_;
    }
    std::vector<double> found;
    if (closed) {
      scan(from_.front(), from_.front() + CircleKernel::turn, true, found);
    } else {
      for (std::size_t first = 0, last = 0; first < from_.size(); first = last) {
        for (last = first + 1; last < from_.size() && from_[last] - from_[last - 1] <= 2 * reach;) ++last;
        scan(from_[first] - reach, from_[last - 1] + reach, false, found);
      }
    }
    if constexpr (!Kernel::periodic)
      for (double& mode : found) mode = std::clamp(mode, x_.front(), x_.back());
    else
      for (double& mode : found) {
        mode = std::fmod(mode, Kernel::turn);
        if (mode < 0) mode += Kernel::turn;
        if (mode >= Kernel::turn) mode = 0;
      }
    std::ranges::sort(found);
    return found;
  }

 private:
  struct Node {
    double y;
    int sign;  // of the slope there
  };

  /// Terms are summed outwards from the nearest point, relative to it, as far as they count. With the half width of a
  /// cell about y its slope and curvature are bounded on all of it: a term e^{−β…} grows by e^{β pull off} at most.
  [[nodiscard]] DensityShape shape(double y, double half = 0) const {
    const auto n = static_cast<std::ptrdiff_t>(x_.size());
    double place = y;
    if constexpr (Kernel::periodic)
      place = x_.front() + (y - x_.front()) - Kernel::turn * std::floor((y - x_.front()) / Kernel::turn);
    const std::ptrdiff_t right = std::ranges::lower_bound(x_, place) - x_.begin();
    const auto exponent = [&](std::ptrdiff_t j) {
      return kernel_.exponent(kernel_.difference(x_[static_cast<std::size_t>((j + n) % n)], y));
    };
    const bool both = Kernel::periodic || (right > 0 && right < n);
    const double least = both        ? (std::min)(exponent(right - 1), exponent(right))
                         : right > 0 ? exponent(right - 1)
                                     : exponent(right);
    double slope = 0, size = 0, bend = 0, most_bend = 0, most_change = 0;
    const auto add = [&](std::ptrdiff_t j) {
      const double difference = kernel_.difference(x_[static_cast<std::size_t>((j + n) % n)], y);
      const double above = kernel_.exponent(difference) - least;
      if (above > cut_) return false;
      const double weight = std::exp(-above), pull = weight * kernel_.pull(difference);
      slope += pull;
      size += std::abs(pull);
      if (half > 0) {
        const double most = kernel_.most_pull(difference, half);
        const double grown = weight * std::exp(kernel_.beta * most * half);
        bend += weight * kernel_.bend(difference);
        most_bend += grown * (kernel_.beta * most * most + 1);
        most_change += grown * kernel_.most_change_of_bend(most);
      }
      return true;
    };
    // On the circle n points in all, to the right from `right` and to the left from the one before.
    std::ptrdiff_t taken = 0;
    for (std::ptrdiff_t j = right; taken < n && (Kernel::periodic || j < n) && add(j); ++j) ++taken;
    for (std::ptrdiff_t j = right - 1; taken < n && (Kernel::periodic || j >= 0) && add(j); --j) ++taken;
    const double rounding = 64 * std::numeric_limits<double>::epsilon();
    DensityShape found;
    if (std::abs(slope) > rounding * size) found.sign = slope > 0 ? 1 : -1;
    found.single = half > 0 && (std::abs(slope) > half * most_bend + rounding * size ||
                                std::abs(bend) > half * most_change + rounding * most_bend);
    return found;
  }

  /// Halves a cell until its slope has one zero at most, and gives the nodes between to `nodes`.
  void divide(const Node& a, const Node& b, int depth, std::vector<Node>& nodes) const {
    const double half = (b.y - a.y) / 2, middle = a.y + half;
    if (depth == 0 || budget_ == 0 || middle <= a.y || middle >= b.y) return;
    --budget_;
    const DensityShape centre = shape(middle, half);
    const bool flat = a.sign == 0 && centre.sign == 0 && b.sign == 0;
    if (centre.single || flat) return;
    const Node node{middle, centre.sign};
    divide(a, node, depth - 1, nodes);
    nodes.push_back(node);
    divide(node, b, depth - 1, nodes);
  }

  void scan(double begin, double end, bool closed, std::vector<double>& found) const {
    const double largest = (std::max)(std::abs(begin), std::abs(end));
    if (!(step_ > 4 * std::numeric_limits<double>::epsilon() * largest)) {
      found.push_back(begin + (end - begin) / 2);
      return;
    }
    const double count = std::ceil((end - begin) / step_);
    budget_ = 100'000 + 50 * static_cast<long>(count);
    std::vector<Node> nodes;
    for (double k = 0; k <= count; ++k) {
      const double y = k == count ? end : begin + (end - begin) * (k / count);
      const Node node{y, shape(y).sign};
      if (!nodes.empty()) {
        const Node last = nodes.back();
        divide(last, node, 12, nodes);
      }
      nodes.push_back(node);
    }
    if (closed) {  // once more round, so that the last rise meets the first fall
      const std::size_t once = nodes.size();
      for (std::size_t k = 1; k < once; ++k)
        nodes.push_back({nodes[k].y + CircleKernel::turn, nodes[k].sign});
    }
    const Node* rise = nullptr;
    for (const Node& node : nodes) {
      if (node.sign > 0) rise = &node;
      if (node.sign < 0 && rise != nullptr) {
        if (!closed || rise->y < end) found.push_back(between(rise->y, node.y));
        rise = nullptr;
      }
    }
  }

  [[nodiscard]] double between(double rising, double falling) const {
    for (int k = 0; k < 2200; ++k) {  // from the largest number to the smallest
      const double middle = rising + (falling - rising) / 2;
      if (middle <= rising || middle >= falling) break;
      const int sign = shape(middle).sign;
      if (sign == 0) return middle;
      (sign > 0 ? rising : falling) = middle;
    }
    return rising + (falling - rising) / 2;
  }

  std::vector<double> x_, from_;  // sorted; the same from behind the widest gap on
  Kernel kernel_;
  double step_, cut_ = 0;
  mutable long budget_ = 0;  // of cells to divide
};

}}}  // namespace attnflow::detail
