#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/prediction/limit_candidates.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::candidate_residual;
using attnflow::distance_to_candidates;
using attnflow::limit_candidates;
using attnflow::LimitCandidates;
using attnflow::self_attention_residual;
using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using Indices = std::vector<Index>;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

MatrixXd draws(std::mt19937_64& generator, Index rows, Index cols, double low = -1, double high = 1) {
  MatrixXd x(rows, cols);
  for (double& value : x.reshaped())
    value = low + (high - low) * (static_cast<double>(generator() >> 11) * 0x1p-53);
  return x;
}

MatrixXd positive_definite(std::mt19937_64& generator, Index d) {
  const MatrixXd A = draws(generator, d, d);
  return A * A.transpose() + 0.2 * MatrixXd::Identity(d, d);
}

VectorXd point(double x, double y) { return Eigen::Vector2d(x, y); }

/// The corners of the cube from −1 to 1.
MatrixXd cube(Index d) {
  return MatrixXd::NullaryExpr(d, Index{1} << d,
                               [](Index k, Index j) { return ((j >> k) & 1) != 0 ? 1. : -1.; });
}

/// 𝒮 of a polygon by its definition, in integers but for the division: vertices by their inequalities, the foot of
/// the M-perpendicular on an edge where 0 is strictly on the inner side, 0 where it is in the polygon.
std::vector<VectorXd> candidates_in_integers(const std::array<std::int64_t, 3>& M,
                                             const std::vector<std::array<std::int64_t, 2>>& v) {
  using Vector = std::array<std::int64_t, 2>;
  const auto form = [&](const Vector& a, const Vector& b) {
    return M[0] * a[0] * b[0] + M[1] * (a[0] * b[1] + a[1] * b[0]) + M[2] * a[1] * b[1];
  };
  std::vector<VectorXd> found;
  const auto add = [&](double x, double y) { found.push_back(point(x, y)); };
  bool inside = true;
  for (std::size_t k = 0; k < v.size(); ++k) {
    const Vector a = v[k], b = v[(k + 1) % v.size()], edge{b[0] - a[0], b[1] - a[1]};
    const bool origin = a == Vector{};
    if (!origin && std::ranges::all_of(v, [&](const Vector& w) { return form(a, w) <= form(a, a); }))
      add(static_cast<double>(a[0]), static_cast<double>(a[1]));
    const std::int64_t side = a[0] * b[1] - a[1] * b[0];  // a, b, 0 turn left if positive
    inside = inside && side >= 0;
    const std::int64_t along = -form(a, edge), whole = form(edge, edge);
    if (side > 0 && along > 0 && along < whole) {
      const double s = static_cast<double>(along) / static_cast<double>(whole);
      add(static_cast<double>(a[0]) + s * static_cast<double>(edge[0]),
          static_cast<double>(a[1]) + s * static_cast<double>(edge[1]));
    }
  }
  if (inside) add(0, 0);
  return found;
}

void check_equal(const LimitCandidates& found, const std::vector<VectorXd>& expected, double tolerance) {
  REQUIRE(found.points.cols() == static_cast<Index>(expected.size()));
  for (const VectorXd& x : expected) CHECK(distance_to_candidates(found, x) <= tolerance);
}

}  // namespace

TEST_CASE("the candidates of a lattice polygon are those of the definition", "[polytope]") {
  std::mt19937_64 generator(1);
  int polygons = 0, feet = 0, zeros = 0, lost_vertices = 0;
  for (int repeat = 0; repeat < 400; ++repeat) {
    const std::int64_t range = 3 + repeat % 20, shift = repeat % 3 == 0 ? 0 : range / 2;
    MatrixXd x(2, 3 + repeat % 9);
    for (double& value : x.reshaped())
      value = static_cast<double>(static_cast<std::int64_t>(generator() % static_cast<std::uint64_t>(range)) -
                                  shift);
    const MatrixXd vertices = x(Eigen::placeholders::all_t(), attnflow::convex_hull(x));
    if (vertices.cols() < 3) continue;
    const std::array<std::int64_t, 3> m{1 + static_cast<std::int64_t>(generator() % 5),
                                        static_cast<std::int64_t>(generator() % 5) - 2,
                                        5 + static_cast<std::int64_t>(generator() % 5)};
    MatrixXd M(2, 2);
    M(0, 0) = static_cast<double>(m[0]);
    M(0, 1) = M(1, 0) = static_cast<double>(m[1]);
    M(1, 1) = static_cast<double>(m[2]);
    std::vector<std::array<std::int64_t, 2>> v;
    for (Index k = 0; k < vertices.cols(); ++k)
      v.push_back({static_cast<std::int64_t>(vertices(0, k)), static_cast<std::int64_t>(vertices(1, k))});
    const std::vector<VectorXd> expected = candidates_in_integers(m, v);
    const LimitCandidates found = limit_candidates(M, vertices);
    check_equal(found, expected, 100 * epsilon * static_cast<double>(range));
    CHECK(found.complete);
    ++polygons;
    Index at_vertices = 0;
    for (std::size_t i = 0; i < found.faces.size(); ++i) {
      const VectorXd p = found.points.col(static_cast<Index>(i));
      CHECK(candidate_residual(M, vertices, p) == Approx(found.residuals[i]).margin(1e-12));
      CHECK(found.residuals[i] <= 1e-11);
      // The face holds its point.
      const MatrixXd face = vertices(Eigen::placeholders::all_t(), found.faces[i]);
      CHECK(attnflow::in_hull(p, face, 1e-13 * static_cast<double>(range)));
      at_vertices += found.faces[i].size() == 1 && p.norm() > 0;
      feet += found.faces[i].size() == 2 && p.norm() > 0;
      zeros += p.norm() == 0;
    }
    lost_vertices += at_vertices < vertices.cols();
    // The same in words of vertices: the residual of each one is 0 if and only if it is a candidate.
    const VectorXd residuals = self_attention_residual(M, vertices);
    for (Index k = 0; k < vertices.cols(); ++k)
      CHECK((residuals(k) == 0) == (distance_to_candidates(found, vertices.col(k)) == 0));
  }
  CHECK(polygons > 300);
  CHECK(feet > 200);
  CHECK(zeros > 100);
  CHECK(lost_vertices > 50);
}

TEST_CASE("along the boundary the residual is positive but at the candidates", "[polytope]") {
  std::mt19937_64 generator(2);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const MatrixXd x = draws(generator, 2, 12), M = positive_definite(generator, 2);
    const MatrixXd vertices = x(Eigen::placeholders::all_t(), attnflow::convex_hull(x));
    const LimitCandidates found = limit_candidates(M, vertices);
    for (Index k = 0; k < vertices.cols(); ++k)
      for (int step = 0; step < 100; ++step) {
        const double s = step / 100.;
        const VectorXd p = (1 - s) * vertices.col(k) + s * vertices.col((k + 1) % vertices.cols());
        const double residual = candidate_residual(M, vertices, p);
        CHECK(residual >= -10 * epsilon);
        const double distance = distance_to_candidates(found, p);
        if (distance > 0.02) CHECK(residual > 1e-6);
        if (residual < 1e-12) CHECK(distance < 1e-6);
      }
  }
}

TEST_CASE("a cube has 3^d candidates, in whatever coordinates", "[polytope]") {
  std::mt19937_64 generator(3);
  for (const Index d : {1, 2, 3, 4}) {
    const auto expected = static_cast<Index>(std::pow(3, d));
    const LimitCandidates plain = limit_candidates(MatrixXd::Identity(d, d), cube(d));
    REQUIRE(plain.points.cols() == expected);
    CHECK(plain.points.col(expected - 1).norm() == 0);  // 0 comes last
    for (Index i = 0; i < expected; ++i) {
      const VectorXd p = plain.points.col(i);
      CHECK((p - VectorXd(p.array().round())).norm() <= 10 * epsilon);  // entries −1, 0, 1
      if (i > 0 && i + 1 < expected)
        CHECK(plain.faces[static_cast<std::size_t>(i - 1)].size() <=
              plain.faces[static_cast<std::size_t>(i)].size());
    }
    // y = T x with M = T⁻ᵀ T⁻¹, T triangular with a known inverse.
    MatrixXd T = MatrixXd::Identity(d, d), inverse = MatrixXd::Identity(d, d);
    for (Index k = 0; k + 1 < d; ++k) {
      T.row(k) += 0.5 * T.row(k + 1);  // row k + 1 is still that of the identity
      for (Index j = k + 1; j < d; ++j) inverse(k, j) = inverse(k, j - 1) * -0.5;
    }
    REQUIRE((T * inverse - MatrixXd::Identity(d, d)).norm() == 0);
    const MatrixXd M = inverse.transpose() * inverse, bent = T * cube(d);
    const LimitCandidates found = limit_candidates(M, bent);
    REQUIRE(found.points.cols() == expected);
    for (Index i = 0; i < expected; ++i) {
      const VectorXd p = T * plain.points.col(i);
      CHECK(distance_to_candidates(found, p) <= 1e-13);
    }
    CHECK(self_attention_residual(M, bent).maxCoeff() <= 1e-14);
  }
}

TEST_CASE("a polytope away from 0 has its nearest point, one far from it may lack vertices", "[polytope]") {
  // The square from (1, −1) to (3, 1): the foot (1, 0) is of the near edge; no vertex of it attends to itself.
  const MatrixXd square = (MatrixXd(2, 4) << 1, 3, 3, 1, -1, -1, 1, 1).finished(),
                 I = MatrixXd::Identity(2, 2);
  const LimitCandidates found = limit_candidates(I, square);
  CHECK(found.points == (MatrixXd(2, 3) << 3, 3, 3, -1, 1, 0).finished());
  CHECK(found.faces == std::vector<Indices>{{1}, {2}, {1, 2}});
  CHECK(self_attention_residual(I, square) == Eigen::Vector4d(1, 0, 0, 1));
  CHECK(candidate_residual(I, square, point(1, 0)) == 2);
  CHECK(candidate_residual(I, square, point(2, 0)) == 2);
  CHECK(candidate_residual(I, square, point(0, 0)) == 0);  // not in the polytope
  // 0 on an edge, and at a vertex.
  const MatrixXd on_edge = (MatrixXd(2, 3) << 0, 0, 2, -1, 1, 0).finished();
  CHECK(distance_to_candidates(limit_candidates(I, on_edge), point(0, 0)) == 0);
  const MatrixXd at_vertex = (MatrixXd(2, 3) << 0, 3, 0, 0, 0, 4).finished();
  const LimitCandidates corner = limit_candidates(I, at_vertex);
  CHECK(corner.points.cols() == 4);
  CHECK(corner.points.col(3) == point(0, 0));
  CHECK(corner.faces[3] == Indices{0});
  CHECK(self_attention_residual(I, at_vertex) == VectorXd::Zero(3));
}

TEST_CASE("few vertices, or dependent ones", "[polytope]") {
  const MatrixXd I = MatrixXd::Identity(3, 3);
  const LimitCandidates none = limit_candidates(I, MatrixXd(3, 0));
  CHECK(none.points.rows() == 3);
  CHECK(none.points.cols() == 0);
  CHECK(none.complete);
  CHECK(distance_to_candidates(none, Eigen::Vector3d::Zero()) == std::numeric_limits<double>::infinity());
  CHECK(candidate_residual(I, MatrixXd(3, 0), Eigen::Vector3d::Zero()) ==
        -std::numeric_limits<double>::infinity());
  CHECK(self_attention_residual(I, MatrixXd(3, 0)).size() == 0);
  const MatrixXd one = MatrixXd::Ones(3, 1);
  CHECK(limit_candidates(I, one).points == one);
  CHECK(limit_candidates(I, MatrixXd(MatrixXd::Zero(3, 1))).points == MatrixXd::Zero(3, 1));
  CHECK(limit_candidates(I, MatrixXd(MatrixXd::Ones(3, 4))).points == one);
  // A segment at height 1 over its middle, and one through 0.
  const MatrixXd segment = (MatrixXd(3, 2) << -1, 1, 1, 1, 0, 0).finished();
  CHECK(limit_candidates(I, segment).points == (MatrixXd(3, 3) << -1, 1, 0, 1, 1, 1, 0, 0, 0).finished());
  const MatrixXd through = (MatrixXd(3, 2) << -1, 3, 0, 0, 0, 0).finished();
  const LimitCandidates three = limit_candidates(I, through);
  CHECK(three.points == (MatrixXd(3, 3) << -1, 3, 0, 0, 0, 0, 0, 0, 0).finished());
  CHECK(three.faces == std::vector<Indices>{{0}, {1}, {0, 1}});
  // d = 1.
  const MatrixXd line = (MatrixXd(1, 2) << 1, 3).finished(), unit = MatrixXd::Ones(1, 1);
  CHECK(limit_candidates(unit, line).points == MatrixXd::Constant(1, 1, 3));
  CHECK(self_attention_residual(unit, line)(0) == 2);
}

TEST_CASE("no scale changes the candidates", "[polytope]") {
  std::mt19937_64 generator(4);
  const MatrixXd M = positive_definite(generator, 3), v = draws(generator, 3, 9);
  const LimitCandidates found = limit_candidates(M, v);
  REQUIRE(found.points.cols() > 4);
  for (const double power : {0x1p400, 0x1p-400})
    for (const double form : {1., 0x1p600, 0x1p-600}) {
      const LimitCandidates scaled = limit_candidates(MatrixXd(M * form), MatrixXd(v * power));
      CHECK(scaled.points == MatrixXd(found.points * power));
      CHECK(scaled.faces == found.faces);
      CHECK(self_attention_residual(MatrixXd(M * form), MatrixXd(v * power)) ==
            self_attention_residual(M, v));
      for (const double residual : scaled.residuals) CHECK_FALSE(std::isnan(residual));
    }
  CHECK(candidate_residual(M, MatrixXd(v * 0x1p400), VectorXd(v.col(0) * 0x1p400)) ==
        candidate_residual(M, v, v.col(0)) * 0x1p800);
  CHECK(std::isinf(candidate_residual(M, MatrixXd(v * 0x1p600), VectorXd(-v.col(0) * 0x1p600))));
  const MatrixXd uneven = (MatrixXd(1, 2) << 1e-250, 1).finished();
  CHECK(self_attention_residual(MatrixXd::Ones(1, 1), uneven)(0) == Approx(1e250));
}

TEST_CASE("a bound on the sets of vertices is kept, and told", "[polytope]") {
  const MatrixXd I = MatrixXd::Identity(3, 3), v = cube(3);  // 8, 28 and 56 sets of 1, 2 and 3 vertices
  const auto count = [&](double most) {
    const LimitCandidates found = limit_candidates(I, v, 1e-9, {.max_subsets = most});
    CHECK(found.complete == (most >= 92));
    CHECK(found.sets_left_out == (most < 8 ? 92 : most < 36 ? 84 : most < 92 ? 56 : 0));
    return found.points.cols();
  };
  CHECK(count(0) == 1);
  CHECK(count(7) == 1);
  CHECK(count(8) == 9);
  CHECK(count(35) == 9);
  CHECK(count(36) == 27);
  CHECK(count(92) == 27);
  // 28 pairs of 3 (3 + 16 + 8) multiplications, 56 sets of three of 3 (3 + 16 + 12)
  const auto by_work = [&](double most) {
    return limit_candidates(I, v, 1e-9, {.max_work = most}).sets_left_out;
  };
  CHECK(by_work(0) == 84);
  CHECK(by_work(2267) == 84);
  CHECK(by_work(2268) == 56);
  CHECK(by_work(7475) == 56);
  CHECK(by_work(7476) == 0);
}

// The sets of up to six of 20 vertices in 100 dimensions, as many as 10⁵, took half a minute.
TEST_CASE("in many dimensions few sets of vertices are tried", "[polytope]") {
  std::mt19937_64 generator(6);
  for (const Index d : {100, 1000}) {
    const MatrixXd v = draws(generator, d, 20);
    const LimitCandidates found = limit_candidates(MatrixXd::Identity(d, d), v);
    CHECK_FALSE(found.complete);
    const double tried = std::ldexp(1, 20) - 1 - found.sets_left_out;
    CHECK(tried >= 20);
    CHECK(tried <= 20 + 1e8 / static_cast<double>(d * d));
    for (Index k = 0; k < 20; ++k) CHECK(distance_to_candidates(found, v.col(k)) == 0);
  }
  const LimitCandidates many = limit_candidates(MatrixXd::Identity(200, 200), draws(generator, 200, 1200));
  CHECK(many.sets_left_out > 1e200);
  CHECK(std::isfinite(many.sets_left_out));
}

TEST_CASE("vertices with noise have as many candidates at a tolerance above it", "[polytope]") {
  std::mt19937_64 generator(5);
  for (const double noise : {1e-12, 1e-9, 1e-7}) {
    const MatrixXd v = cube(3) + noise * draws(generator, 3, 8);
    const LimitCandidates found = limit_candidates(MatrixXd::Identity(3, 3), v, 10 * noise);
    CHECK(found.points.cols() == 27);
    for (Index k = 0; k < 8; ++k) CHECK(distance_to_candidates(found, v.col(k)) == 0);
  }
}

TEST_CASE("what has no candidates is refused in words", "[polytope]") {
  const double nan = std::nan("");
  const MatrixXd I = MatrixXd::Identity(2, 2), v = MatrixXd::Ones(2, 3);
  MatrixXd M = I;
  CHECK(refusal([&] { (void)limit_candidates(MatrixXd(MatrixXd::Ones(3, 3)), v); }) ==
        "limit_candidates: M is 3 x 3, expected 2 x 2, as the vertices are in d = 2");
  CHECK(refusal([&] { (void)limit_candidates(I, v, 0); }) ==
        "limit_candidates: tol is 0, expected a number in (0, 1)");
  CHECK(refusal([&] { (void)limit_candidates(I, v, nan); }) ==
        "limit_candidates: tol is nan, expected a number in (0, 1)");
  CHECK(refusal([&] { (void)limit_candidates(I, v, 1e-9, {.max_subsets = nan}); }) ==
        "LimitCandidatesOptions::max_subsets is nan, expected at least 0");
  CHECK(refusal([&] { (void)limit_candidates(I, v, 1e-9, {.max_work = -1}); }) ==
        "LimitCandidatesOptions::max_work is -1, expected at least 0");
  M(0, 1) = 0.5;
  CHECK(refusal([&] { (void)limit_candidates(M, v); }) ==
        "limit_candidates: M(0, 1) is 0.5 and M(1, 0) is 0, expected a symmetric matrix");
  M(1, 0) = 0.5;
  M(1, 1) = 0.25;
  CHECK(refusal([&] { (void)self_attention_residual(M, v); }) ==
        "self_attention_residual: M has no Cholesky factor, expected a positive definite matrix");
  M(1, 1) = nan;
  CHECK(refusal([&] {
          (void)candidate_residual(M, v, point(0, 0));
        }).starts_with("candidate_residual: column 1 of M is ("));
  CHECK(refusal([&] { (void)candidate_residual(I, v, VectorXd(VectorXd::Zero(3))); }) ==
        "candidate_residual: point is 3 x 1, expected 2 x 1, as the vertices are");
  CHECK(refusal([&] { (void)candidate_residual(I, MatrixXd(v * nan), point(0, 0)); }) ==
        "candidate_residual: column 0 of vertices is (nan nan), expected finite numbers");
  CHECK(refusal([&] { (void)distance_to_candidates(limit_candidates(I, v), VectorXd(VectorXd::Zero(3))); }) ==
        "distance_to_candidates: point is 3 x 1, expected 2 x 1, as the candidates are");
  CHECK(refusal([&] { (void)distance_to_candidates(limit_candidates(I, v), point(nan, 0)); }) ==
        "distance_to_candidates: column 0 of point is (nan   0), expected finite numbers");
}
