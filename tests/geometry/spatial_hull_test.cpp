#include <attnflow/geometry/convex_hull.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using attnflow::convex_hull;
using attnflow::Hull3;
using attnflow::hull_facets;
using Eigen::Index;
using Eigen::MatrixXd;
using Indices = std::vector<Index>;
__extension__ using Wide = __int128;
using Point = std::array<std::int64_t, 3>;
using Cloud = std::vector<Point>;

Wide volume(const Point& a, const Point& b, const Point& c, const Point& e) {
  std::array<Wide, 3> u{}, v{}, w{};
  for (std::size_t k = 0; k < 3; ++k) {
    u[k] = b[k] - a[k];
    v[k] = c[k] - a[k];
    w[k] = e[k] - a[k];
  }
  return u[0] * (v[1] * w[2] - v[2] * w[1]) + u[1] * (v[2] * w[0] - v[0] * w[2]) +
         u[2] * (v[0] * w[1] - v[1] * w[0]);
}
int side(const Point& a, const Point& b, const Point& c, const Point& e) {
  const Wide twice = volume(a, b, c, e);
  return twice > 0 ? 1 : twice < 0 ? -1 : 0;
}
bool on_segment(const Point& p, const Point& a, const Point& b) {
  Wide along = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    const std::size_t l = (k + 1) % 3;
    if (static_cast<Wide>(b[k] - a[k]) * (p[l] - a[l]) != static_cast<Wide>(b[l] - a[l]) * (p[k] - a[k]))
      return false;
    along += static_cast<Wide>(p[k] - a[k]) * (p[k] - b[k]);
  }
  return along <= 0;
}
/// Whether p, in the plane of a, b, c, lies in the triangle: by the sides of planes through p's coordinates.
bool in_triangle(const Point& p, const Point& a, const Point& b, const Point& c) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    Point off = a;  // a point off the plane
    off[axis] += 1;
    const int whole = side(a, b, c, off);
    if (whole == 0) continue;
    return side(p, a, b, off) * whole >= 0 && side(p, b, c, off) * whole >= 0 &&
           side(p, c, a, off) * whole >= 0;
  }
  return false;  // no triangle
}

/// The extreme points by Carathéodory: those in no segment, triangle or tetrahedron of others.
Indices extreme_by_simplices(const Cloud& all) {
  Indices first;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (std::ranges::find(all.begin(), all.begin() + static_cast<Index>(i), all[i]) ==
        all.begin() + static_cast<Index>(i))
      first.push_back(static_cast<Index>(i));
  const auto covered = [&](const Point& p) {
    Cloud x;
    for (const Index i : first)
      if (all[static_cast<std::size_t>(i)] != p) x.push_back(all[static_cast<std::size_t>(i)]);
    for (std::size_t a = 0; a < x.size(); ++a)
      for (std::size_t b = a + 1; b < x.size(); ++b) {
        if (on_segment(p, x[a], x[b])) return true;
        for (std::size_t c = b + 1; c < x.size(); ++c) {
          const int here = side(x[a], x[b], x[c], p);
          if (here == 0 && in_triangle(p, x[a], x[b], x[c])) return true;
          if (here == 0) continue;
          for (std::size_t e = c + 1; e < x.size(); ++e) {
            const int s = side(x[a], x[b], x[c], x[e]);
            if (s != 0 && here * s > 0 && side(x[b], x[a], x[e], p) * s >= 0 &&
                side(x[c], x[b], x[e], p) * s >= 0 && side(x[a], x[c], x[e], p) * s >= 0)
              return true;
          }
        }
      }
    return false;
  };
  Indices extreme;
  for (const Index i : first)
    if (!covered(all[static_cast<std::size_t>(i)])) extreme.push_back(i);
  return extreme;
}

MatrixXd tokens(const Cloud& x, int exponent = 0) {
  MatrixXd out(3, static_cast<Index>(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t k = 0; k < 3; ++k)
      out(static_cast<Index>(k), static_cast<Index>(i)) = std::ldexp(static_cast<double>(x[i][k]), exponent);
  return out;
}

Point transformed(const Point& p, const std::array<Point, 3>& T) {
  Point out{};
  for (std::size_t k = 0; k < 3; ++k) out[k] = T[k][0] * p[0] + T[k][1] * p[1] + T[k][2] * p[2];
  return out;
}

/// Exactly: every edge belongs to two facets, one each way; nothing lies above a facet; Euler's count.
void check_surface(const Cloud& x, const Hull3& hull) {
  std::set<std::pair<Index, Index>> edges;
  std::set<Index> corners;
  for (const auto& facet : hull.facets) {
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(edges.insert({facet[k], facet[(k + 1) % 3]}).second);
      corners.insert(facet[k]);
    }
    const auto at = [&](Index i) { return x[static_cast<std::size_t>(i)]; };
    int below = 0, above = 0;
    for (const Point& p : x) {
      const int s = side(at(facet[0]), at(facet[1]), at(facet[2]), p);
      below += s < 0;
      above += s > 0;
    }
    CHECK(above == 0);
    CHECK(below > 0);
  }
  for (const auto& [from, to] : edges) CHECK(edges.count({to, from}) == 1);
  CHECK(Indices(corners.begin(), corners.end()) == hull.vertices);
  CHECK(hull.facets.size() == 2 * hull.vertices.size() - 4);
}

}  // namespace

TEST_CASE("extreme points in space are those in no simplex of others", "[polytope]") {
  std::mt19937_64 generator(1);
  int solid = 0;
  for (const std::uint64_t range : {1u, 2u, 3u, 4u, 6u, 1000u})
    for (int repeat = 0; repeat < 25; ++repeat) {
      Cloud x(generator() % 18);
      for (Point& p : x)
        for (std::int64_t& value : p) value = static_cast<std::int64_t>(generator() % range) - 1;
      const Indices expected = extreme_by_simplices(x);
      CHECK(convex_hull(tokens(x)) == expected);
      CHECK(convex_hull(tokens(x).cast<float>()) == expected);
      const attnflow::Tokens<double, 3> fixed = tokens(x, -3);
      CHECK(convex_hull(fixed) == expected);
      const Hull3 hull = hull_facets(tokens(x));
      CHECK(hull.vertices == expected);
      if (hull.facets.empty()) continue;
      check_surface(x, hull);
      ++solid;
    }
  CHECK(solid > 80);
}

// A shear and a turn in integers: facets with many points in them and on their edges, in no coordinate plane.
TEST_CASE("points in facets and edges are not extreme, at any scale", "[polytope]") {
  std::mt19937_64 generator(2);
  const std::array<std::array<Point, 3>, 3> maps{{{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}},
                                                  {{{1, 2, 2}, {2, 1, -2}, {2, -2, 1}}},
                                                  {{{7, 100003, -5}, {11, 3, 999983}, {-1000003, 13, 17}}}}};
  for (const auto& T : maps) {
    Cloud cube, prism, octahedron;
    for (std::int64_t i = 0; i <= 4; ++i)
      for (std::int64_t j = 0; j <= 4; ++j)
        for (std::int64_t k = 0; k <= 4; ++k) {
          cube.push_back(transformed({i, j, k}, T));
          if (i + j <= 4) prism.push_back(transformed({i, j, k}, T));
          if (std::abs(i - 2) + std::abs(j - 2) + std::abs(k - 2) <= 2)
            octahedron.push_back(transformed({i - 2, j - 2, k - 2}, T));
        }
    const auto corners = [&](const Cloud& shape, const Cloud& wanted) {
      Indices found;
      for (std::size_t i = 0; i < shape.size(); ++i)
        if (std::ranges::find(wanted, shape[i]) != wanted.end()) found.push_back(static_cast<Index>(i));
      return found;
    };
    for (int repeat = 0; repeat < 4; ++repeat) {
      Cloud wanted_cube, wanted_prism, wanted_octahedron;
      for (const std::int64_t k : {0, 4}) {
        for (const Point& p : {Point{0, 0, k}, Point{4, 0, k}, Point{0, 4, k}})
          wanted_prism.push_back(transformed(p, T));
        for (const std::int64_t i : {0, 4})
          for (const std::int64_t j : {0, 4}) wanted_cube.push_back(transformed({i, j, k}, T));
        for (const Point& p : {Point{k - 2, 0, 0}, Point{0, k - 2, 0}, Point{0, 0, k - 2}})
          wanted_octahedron.push_back(transformed(p, T));
      }
      for (const int exponent : {0, 450, -450, 1000, -900}) {
        CHECK(convex_hull(tokens(cube, exponent)) == corners(cube, wanted_cube));
        CHECK(convex_hull(tokens(prism, exponent)) == corners(prism, wanted_prism));
        CHECK(convex_hull(tokens(octahedron, exponent)) == corners(octahedron, wanted_octahedron));
      }
      check_surface(cube, hull_facets(tokens(cube)));
      check_surface(prism, hull_facets(tokens(prism)));
      check_surface(octahedron, hull_facets(tokens(octahedron)));
      for (Cloud* shape : {&cube, &prism, &octahedron}) std::shuffle(shape->begin(), shape->end(), generator);
    }
  }
}

// Points of a plane moved by a unit or less, with coordinates of 34 bits: determinants of 30 bits as the difference
// of products of 100, in which plain arithmetic sees noise of 50.
TEST_CASE("the hull of nearly coplanar points is exact", "[polytope]") {
  std::mt19937_64 generator(3);
  for (int repeat = 0; repeat < 60; ++repeat) {
    Cloud x(5 + generator() % 9);
    const auto draw = [&](std::int64_t most) {
      return static_cast<std::int64_t>(generator() % static_cast<std::uint64_t>(2 * most + 1)) - most;
    };
    const Point u{draw(500), draw(500), draw(500)}, v{draw(500), draw(500), draw(500)};
    for (Point& p : x) {
      const std::int64_t a = draw(1 << 23), b = draw(1 << 23);
      for (std::size_t k = 0; k < 3; ++k)
        p[k] = (std::int64_t{1} << 33) + a * u[k] + b * v[k] + draw(repeat % 2);
    }
    const Indices expected = extreme_by_simplices(x);
    for (const int exponent : {0, -40, 700, -700}) CHECK(convex_hull(tokens(x, exponent)) == expected);
    const Hull3 hull = hull_facets(tokens(x));
    if (!hull.facets.empty()) check_surface(x, hull);
  }
}

// Units beside 2⁵⁴, whose differences are not doubles: here the longest sum decides.
TEST_CASE("the hull is exact where differences are not doubles", "[polytope]") {
  std::mt19937_64 generator(5);
  const std::array<std::int64_t, 5> sizes{0, 1, 2, std::int64_t{1} << 54, std::int64_t{1} << 55};
  int solid = 0;
  for (int repeat = 0; repeat < 100; ++repeat) {
    Cloud x(5 + generator() % 10);
    const auto draw = [&] { return sizes[generator() % 5] * (generator() % 2 == 0 ? 1 : -1); };
    for (Point& p : x) p = {draw(), static_cast<std::int64_t>(generator() % 4), draw()};
    const Indices expected = extreme_by_simplices(x);
    for (const int exponent : {0, 900, -900}) CHECK(convex_hull(tokens(x, exponent)) == expected);
    const Hull3 hull = hull_facets(tokens(x));
    CHECK(hull.vertices == expected);
    if (hull.facets.empty()) continue;
    check_surface(x, hull);
    ++solid;
  }
  CHECK(solid > 80);
}

TEST_CASE("flat tokens in space have flat hulls", "[polytope]") {
  CHECK(convex_hull(MatrixXd(3, 0)).empty());
  CHECK(convex_hull(MatrixXd::Constant(3, 1, 2.)) == Indices{0});
  CHECK(convex_hull(MatrixXd::Constant(3, 6, 0.1)) == Indices{0});
  CHECK(convex_hull(MatrixXd::Zero(3, 3)) == Indices{0});
  MatrixXd signed_zeros = MatrixXd::Zero(3, 3);
  signed_zeros(1, 0) = signed_zeros(2, 1) = -0.0;
  CHECK(convex_hull(signed_zeros) == Indices{0});
  const MatrixXd pair = (MatrixXd(3, 3) << 1, 0, 1, 5, 5, 5, 2, 2, 2).finished();
  CHECK(convex_hull(pair) == Indices{0, 1});
  for (const Point& direction : {Point{1, 2, 3}, Point{0, 0, -7}, Point{0, 5, 1}, Point{1, 0, 0}}) {
    Cloud line;
    for (const std::int64_t s : {3, -2, 9, 0, 9, 4})
      line.push_back({7 + s * direction[0], 1 + s * direction[1], s * direction[2] - 2});
    CHECK(convex_hull(tokens(line)) == Indices{1, 2});
    CHECK(convex_hull(tokens(line, 800)) == Indices{1, 2});
    CHECK(hull_facets(tokens(line)).facets.empty());
  }
  // A square with points in it and on its edges, in planes of all kinds.
  for (const auto& [u, v] : {std::pair<Point, Point>{{1, 0, 0}, {0, 1, 0}},
                             {{0, 0, 1}, {1, 0, 0}},
                             {{0, 1, 0}, {0, 0, 1}},
                             {{3, 1, -2}, {1, 5, 7}},
                             {{1000003, 999983, 12345}, {-7, 1, 3}}}) {
    Cloud square;
    for (std::int64_t i = 0; i < 4; ++i)
      for (std::int64_t j = 0; j < 4; ++j)
        square.push_back({i * u[0] + j * v[0] + 5, i * u[1] + j * v[1], i * u[2] + j * v[2] - 9});
    for (const int exponent : {0, 850, -850})
      CHECK(convex_hull(tokens(square, exponent)) == Indices{0, 3, 12, 15});
    CHECK(hull_facets(tokens(square)).facets.empty());
  }
}

TEST_CASE("a hundred thousand tokens in space", "[polytope]") {
  std::mt19937_64 generator(4);
  const Index n = 100000;
  MatrixXd ball(3, n);
  for (Index i = 0; i < n; ++i) do {
      for (Index k = 0; k < 3; ++k) ball(k, i) = 2 * unit(generator) - 1;
    } while (ball.col(i).squaredNorm() > 1);
  const Indices hull = convex_hull(ball);
  CHECK(hull.size() > 500);
  CHECK(hull.size() < 5000);
  const MatrixXd vertices = ball(Eigen::placeholders::all_t(), hull);
  for (int k = 0; k < 200; ++k) {
    const Eigen::VectorXd u = ball.col(k);
    CHECK(attnflow::support(vertices, u) == attnflow::support(ball, u));
  }
  // On a sphere they are far enough apart for rounding to leave all of them extreme.
  MatrixXd sphere = ball.leftCols(20000);
  sphere.colwise().normalize();
  CHECK(convex_hull(sphere).size() == 20000);
  // A lattice, most of whose tests end in exact zeros.
  Cloud lattice;
  for (std::int64_t i = 0; i < 27000; ++i) lattice.push_back({i % 30, i / 30 % 30, i / 900});
  CHECK(convex_hull(tokens(lattice)).size() == 8);
}

TEST_CASE("what has no facets is refused in words", "[polytope]") {
  CHECK(refusal([] { (void)hull_facets(MatrixXd::Zero(2, 4)); }) ==
        "hull_facets: tokens have d = 2, expected d = 3");
  MatrixXd x = MatrixXd::Zero(3, 4);
  x(1, 2) = std::nan("");
  CHECK(refusal([&] { (void)hull_facets(x); }) ==
        "hull_facets: column 2 of tokens is (  0 nan   0), expected finite numbers");
  CHECK(refusal([&] { (void)convex_hull(x); }) ==
        "convex_hull: column 2 of tokens is (  0 nan   0), expected finite numbers");
}
