/// \file
/// The surface of the convex hull of points in space.
#pragma once

#include <attnflow/geometry/detail/orientation.hpp>

#include <array>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Quickhull [BDH96] with exact tests: from a tetrahedron on, a point strictly outside takes the place of
/// the facets that it sees, by triangles from their outline (the horizon) to itself.
///
/// A facet is seen only from strictly above its plane. So triangles in one plane are seen together, what is
/// seen is a disc with a simple outline, and no new triangle is degenerate, as its edge lies in a facet
/// that the point is strictly above. A point that was above a facet now gone and still is outside is above
/// a new one: along its own disc of facets it passes the horizon, or sees none but new ones; and a new
/// facet's normal lies between those of the two that met at its edge of the horizon.
class QuickHull {
 public:
  using Triangle = std::array<std::size_t, 3>;

  /// \pre distinct points scaled as by space_shift; the simplex is four of them, not in a plane.
  QuickHull(const std::vector<SpacePoint>& points, std::array<std::size_t, 4> simplex)
      : points_(&points), facet_from_(points.size()) {
    if (side({simplex[0], simplex[1], simplex[2]}, simplex[3]) > 0) std::swap(simplex[0], simplex[1]);
    const auto [a, b, c, e] = simplex;  // a, b, c turn left as seen from outside
    const std::array<Triangle, 4> triangles{{{a, b, c}, {b, a, e}, {c, b, e}, {a, c, e}}};
    for (const Triangle& triangle : triangles) facets_.push_back(facet(triangle));
    facets_[0].across = {1, 2, 3};
    facets_[1].across = {0, 3, 2};
    facets_[2].across = {0, 1, 3};
    facets_[3].across = {0, 2, 1};
    std::vector<std::size_t> others(points.size());
    std::iota(others.begin(), others.end(), std::size_t{0});
    hand_out(others, {0, 1, 2, 3});
    while (!waiting_.empty()) {
      const std::size_t next = waiting_.back();
      waiting_.pop_back();
      if (!facets_[next].outside.empty()) add_point(next);
    }
  }

  [[nodiscard]] std::vector<Triangle> triangles() const {
    std::vector<Triangle> all;
    for (const Facet& each : facets_)
      if (each.alive) all.push_back(each.corners);
    return all;
  }

  /// Corners that lie neither inside an edge nor inside a facet, increasing: where three edges or more meet
  /// that are edges of the polytope, and not between two triangles in one plane.
  [[nodiscard]] std::vector<std::size_t> extreme_points() const {
    std::vector<int> edges(points_->size(), 0);
    for (std::size_t f = 0; f < facets_.size(); ++f)
      for (std::size_t k = 0; k < 3 && facets_[f].alive; ++k) {
        const Facet& other = facets_[facets_[f].across[k]];
        std::size_t opposite = 0;
        while (other.corners[opposite] != facets_[f].corners[(k + 1) % 3]) ++opposite;
        if (side(facets_[f].corners, other.corners[(opposite + 2) % 3]) != 0) ++edges[facets_[f].corners[k]];
      }
    std::vector<std::size_t> extreme;
    for (std::size_t i = 0; i < edges.size(); ++i)
      if (edges[i] >= 3) extreme.push_back(i);
    return extreme;
  }

 private:
  struct Facet {
    Triangle corners{};                   // turn left as seen from outside
    std::array<std::size_t, 3> across{};  // the facet beyond the edge from corner k to corner k + 1
    SpacePoint normal{};                  // rounded: for heights, which need not be exact
    std::vector<std::size_t> outside;     // points above, each in one facet's list; the highest is last
    double height = 0;                    // of the highest
    bool alive = true;
    std::size_t seen_by = 0, unseen_by = 0;  // the last point, plus one, that was tested
  };

  [[nodiscard]] const SpacePoint& at(std::size_t i) const { return (*points_)[i]; }
  [[nodiscard]] int side(const Triangle& t, std::size_t i) const {
    return orientation(at(t[0]), at(t[1]), at(t[2]), at(i));
  }

  [[nodiscard]] Facet facet(const Triangle& corners) const {
    Facet made;
    made.corners = corners;
    const SpacePoint &a = at(corners[0]), &b = at(corners[1]), &c = at(corners[2]);
    for (std::size_t k = 0; k < 3; ++k) {
      const std::size_t l = (k + 1) % 3, m = (k + 2) % 3;
      made.normal[k] = (b[l] - a[l]) * (c[m] - a[m]) - (b[m] - a[m]) * (c[l] - a[l]);
    }
    return made;
  }

  /// Gives each point to one of the facets that it is above, if there is one.
  void hand_out(const std::vector<std::size_t>& candidates, const std::vector<std::size_t>& among) {
    for (const std::size_t i : candidates)
      for (const std::size_t f : among) {
        Facet& here = facets_[f];
        if (side(here.corners, i) <= 0) continue;
        const SpacePoint& a = at(here.corners[0]);
        double height = 0;
        for (std::size_t k = 0; k < 3; ++k) height += here.normal[k] * (at(i)[k] - a[k]);
        here.outside.push_back(i);
        if (here.outside.size() == 1 || height > here.height)
          here.height = height;
        else
          std::swap(here.outside.back(), here.outside[here.outside.size() - 2]);
        break;
      }
    for (const std::size_t f : among)
      if (!facets_[f].outside.empty()) waiting_.push_back(f);
  }

  /// Adds the highest point above facet `first`.
  void add_point(std::size_t first) {
    const std::size_t p = facets_[first].outside.back(), stamp = p + 1;
    std::vector<std::size_t> seen{first}, fresh, orphans;
    facets_[first].seen_by = stamp;
    for (std::size_t s = 0; s < seen.size(); ++s)
      for (std::size_t k = 0; k < 3; ++k) {
        const std::size_t f = seen[s], g = facets_[f].across[k];
        if (facets_[g].seen_by == stamp) continue;
        if (facets_[g].unseen_by != stamp && side(facets_[g].corners, p) > 0) {
          facets_[g].seen_by = stamp;
          seen.push_back(g);
          continue;
        }
        facets_[g].unseen_by = stamp;
        const std::size_t u = facets_[f].corners[k], v = facets_[f].corners[(k + 1) % 3];
        const std::size_t made = store(facet({u, v, p}));
        facets_[made].across[0] = g;
        std::size_t edge = 0;  // of g, from v to u
        while (facets_[g].corners[edge] != v) ++edge;
        facets_[g].across[edge] = made;
        facet_from_[u] = made;
        fresh.push_back(made);
      }
    for (const std::size_t f : fresh) {
      const std::size_t next = facet_from_[facets_[f].corners[1]];
      facets_[f].across[1] = next;
      facets_[next].across[2] = f;
    }
    for (const std::size_t f : seen) {
      for (const std::size_t i : facets_[f].outside)
        if (i != p) orphans.push_back(i);
      facets_[f].outside = {};
      facets_[f].alive = false;
      free_.push_back(f);
    }
    hand_out(orphans, fresh);
  }

  std::size_t store(Facet made) {
    if (free_.empty()) {
      facets_.push_back(std::move(made));
      return facets_.size() - 1;
    }
    const std::size_t place = free_.back();
    free_.pop_back();
    facets_[place] = std::move(made);
    return place;
  }

  const std::vector<SpacePoint>* points_;
  std::vector<Facet> facets_;
  std::vector<std::size_t> free_;        // facets that are gone
  std::vector<std::size_t> waiting_;     // facets with points above, and perhaps others
  std::vector<std::size_t> facet_from_;  // the new facet whose edge of the horizon starts at a point
};

}}}  // namespace attnflow::detail
