#include <attnflow/prediction/merged_vertices.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::convex_hull;
using attnflow::merged_vertices;
using Eigen::Index;
using Eigen::MatrixXd;
using Indices = std::vector<Index>;

/// The 2^d corners of a cube and its inside, each in a crowd of `crowd` tokens no wider than `width`: token i
/// belongs to place i modulo 2^d + 1, and the last place is the centre.
MatrixXd crowded_cube(std::mt19937_64& generator, Index d, Index crowd, double width) {
  const Index places = (Index{1} << d) + 1;
  MatrixXd x(d, crowd * places);
  for (Index i = 0; i < x.cols(); ++i)
    for (Index k = 0; k < d; ++k) {
      const Index place = i % places;
      const double corner = place == places - 1 ? 0 : ((place >> k) & 1) != 0 ? 1 : -1;
      x(k, i) = corner + width * (unit(generator) - 0.5);
    }
  return x;
}

Indices sorted(Indices indices) {
  std::ranges::sort(indices);
  return indices;
}

}  // namespace

TEST_CASE("one token for each crowded corner of a cube", "[polytope]") {
  std::mt19937_64 generator(1);
  for (const Index d : {1, 2, 3, 4, 5})
    for (const double width : {0., 1e-9, 1e-3}) {
      const Index corners = Index{1} << d;
      const MatrixXd x = crowded_cube(generator, d, 7, width);
      Indices first;
      for (Index k = 0; k < corners; ++k) first.push_back(k);
      CHECK(sorted(merged_vertices(x, 0.1)) == first);
      if (d > 2) CHECK(merged_vertices(x, 0.1) == first);  // increasing
      const MatrixXd representatives = x.leftCols(corners);
      if (d <= 3) CHECK(merged_vertices(x, 0.1) == convex_hull(representatives));
      CHECK(merged_vertices(x.cast<float>(), 0.1) == merged_vertices(x, 0.1));
      // Leaders represent their corners: the first that is listed. The centre's changes nothing.
      const Index places = corners + 1;
      const Indices leaders{3 * places + 1, 5 * places, places - 1, 2 * places + 1, 4 * places};
      Indices expected = first;
      expected[0] = 5 * places;
      expected[1] = 3 * places + 1;
      CHECK(sorted(merged_vertices(x, 0.1, leaders)) == sorted(expected));
      if (d > 2) CHECK(merged_vertices(x, 0.1, leaders) == sorted(expected));
    }
}

TEST_CASE("what is not merged is the hull itself", "[polytope]") {
  std::mt19937_64 generator(2);
  for (const Index d : {1, 2, 3})
    for (const Index n : {0, 1, 2, 5, 40}) {
      MatrixXd x(d, n);
      for (double& value : x.reshaped()) value = unit(generator);
      CHECK(merged_vertices(x, 0) == convex_hull(x));
      CHECK(merged_vertices(x, 10).size() == (n > 0 ? 1u : 0u));
    }
}

TEST_CASE("above three dimensions nearly redundant points go, but not all of them", "[polytope]") {
  // A square in the plane of the first two of five coordinates, and a point over the middle of an edge.
  MatrixXd x = MatrixXd::Zero(5, 6);
  x.topRows(2) << 1, -1, 0.2, 1, -1, 0, 1, 1, 0.3, -1, -1, 1.01;
  CHECK(merged_vertices(x, 0.001) == Indices{0, 1, 3, 4, 5});
  CHECK(merged_vertices(x, 0.02) == Indices{0, 1, 3, 4});
  // A circle of many points, each within tol of the hull of the others: enough stay to keep its shape.
  const Index n = 200;
  const double tol = 0.02;
  MatrixXd circle = MatrixXd::Zero(4, n);
  for (Index i = 0; i < n; ++i) {
    const double angle = 2 * std::acos(-1.) * static_cast<double>(i) / static_cast<double>(n);
    circle.col(i).head(2) << std::cos(angle), std::sin(angle);
  }
  const Indices left = merged_vertices(circle, tol);
  CHECK(left.size() >= 8);  // chords of sagitta 0.02 span 0.4
  CHECK(left.size() < 40);
  CHECK(std::ranges::is_sorted(left));
  const MatrixXd vertices = circle(Eigen::placeholders::all_t(), left);
  CHECK(attnflow::hull_hausdorff(circle, vertices) <= tol);
}

TEST_CASE("coincident and collinear tokens merge, too", "[polytope]") {
  for (const Index d : {1, 2, 3, 4, 6}) {
    CHECK(merged_vertices(MatrixXd(d, 0), 1).empty());
    CHECK(merged_vertices(MatrixXd::Ones(d, 1), 0) == Indices{0});
    CHECK(merged_vertices(MatrixXd::Ones(d, 9), 0) == Indices{0});
    CHECK(merged_vertices(MatrixXd::Ones(d, 9), 0, Indices{4, 3}) == Indices{4});
    const MatrixXd line = MatrixXd::NullaryExpr(d, 9, [](Index, Index i) { return static_cast<double>(i); });
    CHECK(sorted(merged_vertices(line, 0.1)) == Indices{0, 8});
    CHECK(merged_vertices(line, 0.1, Indices{8}).size() == 2);
    for (const double power : {0x1p400, 0x1p-400})
      CHECK(sorted(merged_vertices(line * power, 0.1 * power)) == Indices{0, 8});
  }
}

TEST_CASE("what cannot be merged is refused in words", "[polytope]") {
  const double inf = std::numeric_limits<double>::infinity();
  MatrixXd x = MatrixXd::Zero(2, 3);
  CHECK(refusal([&] { (void)merged_vertices(x, -1); }) ==
        "merged_vertices: tol is -1, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)merged_vertices(x, inf); }) ==
        "merged_vertices: tol is inf, expected a finite number, at least 0");
  CHECK(refusal([&] {
          (void)merged_vertices(x, 1, Indices{0, 3});
        }) == "merged_vertices: preferred[1] is 3, expected a token, 0 to 2");
  CHECK(refusal([&] { (void)merged_vertices(x, 1, Indices{-1}); }) ==
        "merged_vertices: preferred[0] is -1, expected a token, 0 to 2");
  CHECK(refusal([] { (void)merged_vertices(MatrixXd(0, 2), 1); }) ==
        "merged_vertices: tokens have d = 0, expected at least 1");
  x(1, 1) = inf;
  CHECK(refusal([&] { (void)merged_vertices(x, 1); }) ==
        "merged_vertices: column 1 of tokens is (  0 inf), expected finite numbers");
}
