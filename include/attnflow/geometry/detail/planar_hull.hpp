/// \file
/// The extreme points of points in the plane.
#pragma once

#include <attnflow/geometry/detail/orientation.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

using Plane = Eigen::Matrix<double, 2, Eigen::Dynamic>;

/// The power of two that takes coordinates up to `largest` to 2⁵⁰⁰: products of two then neither
/// overflow nor, unless one of them is under 10⁻²⁸⁰ of the largest, underflow.
[[nodiscard]] inline int plane_shift(double largest) { return largest > 0 ? 500 - std::ilogb(largest) : 0; }

[[nodiscard]] inline Plane scaled_plane(const Plane& points, int shift) {
  return points.unaryExpr([shift](double value) { return std::ldexp(value, shift); });
}

/// Andrew's monotone chain [And79]: the lower and then the upper boundary, from left to right and back.
[[nodiscard]] inline std::vector<Eigen::Index> planar_hull(const Plane& given) {
  const Plane original = without_dust(given, 930);
  std::vector<Eigen::Index> order(static_cast<std::size_t>(original.cols()));
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  const auto point = [&](Eigen::Index i) { return std::array{original(0, i), original(1, i)}; };
  std::ranges::sort(order, [&](Eigen::Index i, Eigen::Index j) {
    return point(i) != point(j) ? point(i) < point(j) : i < j;
  });
  const auto equal = [&](Eigen::Index i, Eigen::Index j) { return point(i) == point(j); };
  order.erase(std::unique(order.begin(), order.end(), equal), order.end());  // the smallest index stays
  if (order.size() < 3) return order;

  const Plane x = scaled_plane(original, plane_shift(original.cwiseAbs().maxCoeff()));
  std::vector<Eigen::Index> hull;
  const auto walk = [&](Eigen::Index i, std::size_t fixed) {
    while (hull.size() > fixed &&
           orientation(x.col(hull[hull.size() - 2]), x.col(hull.back()), x.col(i)) <= 0)
      hull.pop_back();
    hull.push_back(i);
  };
  for (auto i = order.begin(); i != order.end(); ++i) walk(*i, 1);
  const std::size_t lower = hull.size();
  for (auto i = order.rbegin() + 1; i != order.rend(); ++i) walk(*i, lower);
  hull.pop_back();  // the walk ends where it began
  return hull;
}

}}}  // namespace attnflow::detail
