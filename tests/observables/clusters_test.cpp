#include <attnflow/observables/tokens/clusters.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using attnflow::Clusters;
using attnflow::detect_clusters;
using attnflow::Tokens;
using Eigen::Index;

/// Single linkage by the transitive closure of `linked`, an n × n relation.
template <class Linked>
Clusters closure(Index n, const Linked& linked) {
  std::vector<std::vector<bool>> joined(static_cast<std::size_t>(n));
  const auto at = [](Index i) { return static_cast<std::size_t>(i); };
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) joined[at(i)].push_back(i == j || linked(i, j));
  for (Index k = 0; k < n; ++k)
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < n; ++j)
        if (joined[at(i)][at(k)] && joined[at(k)][at(j)]) joined[at(i)][at(j)] = true;
  Clusters clusters;
  clusters.labels.assign(at(n), -1);
  for (Index i = 0; i < n; ++i) {
    if (clusters.labels[at(i)] >= 0) continue;
    Index size = 0;
    for (Index j = 0; j < n; ++j)
      if (joined[at(i)][at(j)]) {
        clusters.labels[at(j)] = clusters.count();
        ++size;
      }
    clusters.sizes.push_back(size);
    clusters.representatives.push_back(i);
  }
  return clusters;
}

}  // namespace

TEMPLATE_TEST_CASE("clusters are those of the transitive closure", "[clustering]", float, double) {
  std::mt19937_64 generator(1);
  for (const Index d : {1, 2, 3, 4, 7})
    for (const double tol : {0.01, 0.05, 0.2, 0.5, 1.0})
      for (int repeat = 0; repeat < 6; ++repeat) {
        const Index n = 1 + static_cast<Index>(generator() % 60);
        // Uneven coordinates, so that the grid has to choose among them.
        const Tokens<TestType> x = Tokens<TestType>::NullaryExpr(d, n, [&](Index k, Index) {
          return static_cast<TestType>(unit(generator) / (1 + static_cast<double>((k * 3) % d)));
        });
        const Eigen::MatrixXd exact = x.template cast<double>();
        const Clusters found = detect_clusters(x, tol);
        CHECK(found ==
              closure(n, [&](Index i, Index j) { return (exact.col(i) - exact.col(j)).norm() <= tol; }));
      }
}

// Integers: the oracle is exact, many distances are exactly the tolerance, and powers of two change nothing.
TEST_CASE("tokens exactly as far apart as the tolerance are joined at any scale", "[clustering]") {
  std::mt19937_64 generator(2);
  for (const Index d : {1, 2, 3, 5})
    for (const std::int64_t tol : {0, 1, 2, 5, 13})
      for (int repeat = 0; repeat < 8; ++repeat) {
        const Index n = 1 + static_cast<Index>(generator() % 50);
        const auto range = static_cast<std::uint64_t>(d == 1 ? 20 * tol + 20 : 4 * tol + 6);
        const auto z = Eigen::Matrix<std::int64_t, Eigen::Dynamic, Eigen::Dynamic>::NullaryExpr(d, n, [&] {
                         return static_cast<std::int64_t>(generator() % range) - 7;
                       }).eval();
        const Clusters expected =
            closure(n, [&](Index i, Index j) { return (z.col(i) - z.col(j)).squaredNorm() <= tol * tol; });
        for (const int exponent : {0, 900, -900, -1074}) {
          const Tokens<double> x =
              z.cast<double>().unaryExpr([&](double v) { return std::ldexp(v, exponent); });
          CHECK(detect_clusters(x, std::ldexp(static_cast<double>(tol), exponent)) == expected);
        }
        CHECK(detect_clusters(z.cast<float>(), static_cast<double>(tol)) == expected);
      }
}

TEST_CASE("one unit in the last place decides", "[clustering]") {
  const Tokens<double, 2> x = (Tokens<double, 2>(2, 2) << 0, 3, 0, 4).finished();
  CHECK(detect_clusters(x, 5).count() == 1);
  CHECK(detect_clusters(x, std::nextafter(5., 0.)).count() == 2);
  const Tokens<double, 1> equal = Tokens<double, 1>::Constant(1, 4, 0.1);
  CHECK(detect_clusters(equal, 0).count() == 1);
  Tokens<double, 1> almost = equal;
  almost(0, 2) = std::nextafter(0.1, 1.);
  CHECK(detect_clusters(almost, 0) == Clusters{{0, 0, 1, 0}, {3, 1}, {0, 2}});
  const Tokens<double, 1> tiny = (Tokens<double, 1>(1, 2) << 0, 5e-324).finished();
  CHECK(detect_clusters(tiny, 0).count() == 2);
  CHECK(detect_clusters(tiny, 5e-324).count() == 1);
}

TEST_CASE("no scale overflows", "[clustering]") {
  const double huge = std::numeric_limits<double>::max();
  const Tokens<double> x = (Tokens<double>(2, 3) << -huge, huge, huge, -huge, huge, huge).finished();
  CHECK(detect_clusters(x, 1) == Clusters{{0, 1, 1}, {1, 2}, {0, 1}});
  CHECK(detect_clusters(x, huge).count() == 2);
  CHECK(detect_clusters(x / 4, huge).count() == 1);
  const Tokens<float> coarse = x.cwiseSign().cast<float>() * std::numeric_limits<float>::max();
  CHECK(detect_clusters(coarse, 1e38).count() == 2);
  CHECK(detect_clusters(coarse, 1e39).count() == 1);
}

TEST_CASE("labels count up as clusters first appear", "[clustering]") {
  const Tokens<double, 1> x = (Tokens<double, 1>(1, 6) << 9, 0, 5, 9.1, 5.1, 0).finished();
  const Clusters found = detect_clusters(x, 0.5);
  CHECK(found.labels == std::vector<Index>{0, 1, 2, 0, 2, 1});
  CHECK(found.sizes == std::vector<Index>{2, 2, 2});
  CHECK(found.representatives == std::vector<Index>{0, 1, 2});
  CHECK(found.count() == 3);
}

TEST_CASE("few tokens, or none, are clusters too", "[clustering]") {
  CHECK(detect_clusters(Tokens<double>(3, 0), 1) == Clusters{});
  CHECK(detect_clusters(Tokens<float, 2>(2, 0), 0) == Clusters{});
  CHECK(detect_clusters(Tokens<double>(0, 0), 0).count() == 0);
  CHECK(detect_clusters(Tokens<double>::Ones(4, 1), 0) == Clusters{{0}, {1}, {0}});
  const Tokens<double, 3> fixed = Tokens<double, 3>::Zero(3, 5);
  CHECK(detect_clusters(fixed, 0).sizes == std::vector<Index>{5});
  CHECK(detect_clusters(fixed.leftCols(2), 0).sizes == std::vector<Index>{2});
}

// Sizes at which a matrix of distances would fill 80 GB.
TEST_CASE("a hundred thousand tokens", "[clustering]") {
  const Index n = 100000;
  std::mt19937_64 generator(3);
  SECTION("crowds around a hundred leaders") {
    const Tokens<double, 3> x = Tokens<double, 3>::NullaryExpr(3, n, [&](Index k, Index i) {
      const Index leader = (i * 7) % 100;
      const Index place = k == 0 ? leader % 5 : k == 1 ? leader / 5 % 5 : leader / 25;
      return static_cast<double>(place) + 1e-6 * unit(generator);
    });
    const Clusters found = detect_clusters(x, 1e-5);
    CHECK(found.count() == 100);
    CHECK(found.sizes == std::vector<Index>(100, n / 100));
    CHECK(found.labels[12345] == 12345 % 100);
  }
  SECTION("a chain in no order") {
    const Tokens<double, 1> x = Tokens<double, 1>::NullaryExpr(1, n, [&](Index, Index i) {
      const Index place = (i * 70001) % n;  // 70001 and n have no common factor
      return static_cast<double>(place < n / 2 ? place : place + 1);
    });
    const Clusters found = detect_clusters(x, 1.5);
    CHECK(found.sizes == std::vector<Index>{n / 2, n / 2});
  }
  SECTION("a lattice in the plane, in pieces and whole") {
    const Index side = 316;
    const Tokens<double, 2> x = Tokens<double, 2>::NullaryExpr(
        2, side * side, [&](Index k, Index i) { return static_cast<double>(k == 0 ? i % side : i / side); });
    CHECK(detect_clusters(x, 1).count() == 1);
    CHECK(detect_clusters(x, 0.999).count() == side * side);
  }
  SECTION("scattered in sixteen dimensions") {
    const Tokens<double> x =
        Tokens<double>::NullaryExpr(16, n, [&](Index, Index) { return unit(generator); });
    CHECK(detect_clusters(x, 0.01).count() == n);
  }
}

TEST_CASE("what has no clusters is refused in words", "[clustering]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  Tokens<double> x = Tokens<double>::Zero(2, 3);
  CHECK(refusal([&] { (void)detect_clusters(x, -1); }) ==
        "detect_clusters: tol is -1, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)detect_clusters(x, nan); }) ==
        "detect_clusters: tol is nan, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)detect_clusters(x, inf); }) ==
        "detect_clusters: tol is inf, expected a finite number, at least 0");
  x(1, 2) = inf;
  CHECK(refusal([&] { (void)detect_clusters(x, 1); }) ==
        "detect_clusters: token 2 of tokens is (  0 inf), expected finite numbers");
  x(1, 2) = nan;
  CHECK(refusal([&] {
          (void)detect_clusters(x.cast<float>(), 1);
        }).starts_with("detect_clusters: token 2 of tokens is ("));
}
