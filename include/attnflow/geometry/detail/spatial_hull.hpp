/// \file
/// The extreme points and facets of points in space.
#pragma once

#include <attnflow/geometry/detail/orientation.hpp>
#include <attnflow/geometry/detail/planar_hull.hpp>
#include <attnflow/geometry/detail/quickhull.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The power of two that takes coordinates up to `largest` to 2³³⁰: products of three differences then
/// neither overflow nor, unless one is under 10⁻¹⁸⁰ of the largest, underflow.
[[nodiscard]] inline int space_shift(double largest) { return largest > 0 ? 330 - std::ilogb(largest) : 0; }

/// Exactly: whether three points are on one line, that is so in all three coordinate planes. If not, `axis`
/// is the coordinate to leave out.
[[nodiscard]] inline bool collinear(const SpacePoint& a, const SpacePoint& b, const SpacePoint& c,
                                    std::size_t& axis) {
  for (axis = 0; axis < 3; ++axis) {
    const auto flat = [&](const SpacePoint& x) {
      return Eigen::Vector2d(x[(axis + 1) % 3], x[(axis + 2) % 3]);
    };
    if (orientation(flat(a), flat(b), flat(c)) != 0) return false;
  }
  return true;
}

/// The extreme points of the columns (3 × n), increasing; and the triangles of the surface, if wanted.
[[nodiscard]] inline std::vector<Eigen::Index> spatial_hull(
    const Eigen::MatrixXd& given, std::vector<std::array<Eigen::Index, 3>>* facets = nullptr) {
  if (given.cols() == 0) return {};
  const Eigen::MatrixXd original = without_dust(given, 598);
  const int shift = space_shift(original.cwiseAbs().maxCoeff());
  const auto place = [&](Eigen::Index i) {
    return SpacePoint{std::ldexp(original(0, i), shift), std::ldexp(original(1, i), shift),
                      std::ldexp(original(2, i), shift)};
  };
  std::vector<Eigen::Index> order(static_cast<std::size_t>(original.cols()));
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  std::ranges::sort(order, [&](Eigen::Index i, Eigen::Index j) {
    for (Eigen::Index k = 0; k < 3; ++k)
      if (original(k, i) != original(k, j)) return original(k, i) < original(k, j);
    return i < j;
  });
  const auto equal = [&](Eigen::Index i, Eigen::Index j) { return original.col(i) == original.col(j); };
  order.erase(std::unique(order.begin(), order.end(), equal), order.end());  // the smallest index stays
  const auto named = [&](std::vector<std::size_t> indices) {
    std::vector<Eigen::Index> names;
    names.reserve(indices.size());
    for (const std::size_t i : indices) names.push_back(order[i]);
    std::ranges::sort(names);
    return names;
  };
  if (order.size() == 1) return named({0});
  std::vector<SpacePoint> x;
  x.reserve(order.size());
  for (const Eigen::Index i : order) x.push_back(place(i));

  // The largest by a rounded measure, or if that one is degenerate, the first that is not.
  const auto choose = [&](const auto& measure, const auto& degenerate) {
    std::size_t best = 0;
    double most = -1;
    for (std::size_t i = 0; i < x.size(); ++i)
      if (const double size = measure(x[i]); size > most) {
        most = size;
        best = i;
      }
    if (!degenerate(x[best])) return best;
    best = 0;
    while (best < x.size() && degenerate(x[best])) ++best;
    return best;
  };
  const std::size_t a = 0, b = x.size() - 1;  // the ends in lexicographic order
  std::size_t axis = 0;
  const auto cross = [&](const SpacePoint& u, const SpacePoint& v, const SpacePoint& w, std::size_t k) {
    const std::size_t l = (k + 1) % 3, m = (k + 2) % 3;
    return (v[l] - u[l]) * (w[m] - u[m]) - (v[m] - u[m]) * (w[l] - u[l]);
  };
  const std::size_t c = choose(
      [&](const SpacePoint& p) {
        return std::abs(cross(x[a], x[b], p, 0)) + std::abs(cross(x[a], x[b], p, 1)) +
               std::abs(cross(x[a], x[b], p, 2));
      },
      [&](const SpacePoint& p) { return collinear(x[a], x[b], p, axis); });
  if (c == x.size()) return named({a, b});
  (void)collinear(x[a], x[b], x[c], axis);
  const std::size_t e = choose(
      [&](const SpacePoint& p) {
        double volume = 0;
        for (std::size_t k = 0; k < 3; ++k) volume += cross(x[a], x[b], x[c], k) * (p[k] - x[a][k]);
        return std::abs(volume);
      },
      [&](const SpacePoint& p) { return orientation(x[a], x[b], x[c], p) == 0; });
  if (e == x.size()) {  // in a plane, which the projection along `axis` takes one-to-one to another
    Plane flat(2, static_cast<Eigen::Index>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i)
      flat.col(static_cast<Eigen::Index>(i)) << original(static_cast<Eigen::Index>((axis + 1) % 3), order[i]),
          original(static_cast<Eigen::Index>((axis + 2) % 3), order[i]);
    std::vector<std::size_t> extreme;
    for (const Eigen::Index i : planar_hull(flat)) extreme.push_back(static_cast<std::size_t>(i));
    return named(extreme);
  }

  const QuickHull hull(x, {a, b, c, e});
  if (facets)
    for (const QuickHull::Triangle& t : hull.triangles())
      facets->push_back({order[t[0]], order[t[1]], order[t[2]]});
  return named(hull.extreme_points());
}

}}}  // namespace attnflow::detail
