#include <attnflow/observables/tokens/merge_tree.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::automatic_tolerance;
using attnflow::detect_clusters;
using attnflow::detect_clusters_automatically;
using attnflow::merge_heights;
using attnflow::MergeGap;
using attnflow::Tokens;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// Kruskal: all pairs in order of distance, and a pair merges if its ends had different names.
std::vector<double> kruskal(const Eigen::MatrixXd& x) {
  struct Pair {
    double distance;
    Index i, j;
  };
  std::vector<Pair> pairs;
  std::vector<Index> name;
  for (Index i = 0; i < x.cols(); ++i) {
    name.push_back(i);
    for (Index j = 0; j < i; ++j) {
      long double squares = 0;
      for (Index k = 0; k < x.rows(); ++k) {
        const long double difference = static_cast<long double>(x(k, i)) - static_cast<long double>(x(k, j));
        squares += difference * difference;
      }
      pairs.push_back({static_cast<double>(std::sqrt(squares)), i, j});
    }
  }
  std::ranges::sort(pairs, {}, [](const Pair& pair) { return pair.distance; });
  std::vector<double> heights;
  for (const Pair& pair : pairs) {
    const Index from = name[static_cast<std::size_t>(pair.i)], to = name[static_cast<std::size_t>(pair.j)];
    if (from == to) continue;
    heights.push_back(pair.distance);
    std::ranges::replace(name, from, to);
  }
  return heights;
}

/// m tokens around each of the columns of `centres`, within `radius` in every coordinate.
Eigen::MatrixXd crowds(const Eigen::MatrixXd& centres, Index m, double radius, std::mt19937_64& generator) {
  Eigen::MatrixXd x(centres.rows(), m * centres.cols());
  for (Index i = 0; i < x.cols(); ++i)
    for (Index k = 0; k < x.rows(); ++k)
      x(k, i) = centres(k, i % centres.cols()) + radius * (2 * unit(generator) - 1);
  return x;
}

}  // namespace

TEMPLATE_TEST_CASE("merge distances are those of Kruskal at any scale", "[clustering]", float, double) {
  std::mt19937_64 generator(1);
  for (const Index d : {0, 1, 2, 3, 6})
    for (const Index n : {0, 1, 2, 3, 17, 60}) {
      const Tokens<TestType> x = Tokens<TestType>::NullaryExpr(
          d, n, [&](Index, Index) { return static_cast<TestType>(unit(generator) - 0.5); });
      const std::vector<double> expected = kruskal(x.template cast<double>());
      for (const int exponent : {0, 1000, -900, -1000}) {
        if (exponent != 0 && std::is_same_v<TestType, float>) continue;
        const std::vector<double> found = merge_heights((x * std::ldexp(TestType(1), exponent)).eval());
        REQUIRE(found.size() == expected.size());
        CHECK(std::ranges::is_sorted(found));
        // d products, d sums and a root, each rounded; at 2⁻¹⁰⁰⁰ the tokens have all their bits still.
        for (std::size_t k = 0; k < found.size(); ++k)
          CHECK(std::abs(std::ldexp(found[k], -exponent) - expected[k]) <=
                static_cast<double>(d + 4) * epsilon * expected[k]);
      }
    }
}

TEST_CASE("the number of clusters at a tolerance is told by the merge distances", "[clustering]") {
  std::mt19937_64 generator(2);
  for (const Index d : {1, 2, 4}) {
    const Eigen::MatrixXd x =
        Eigen::MatrixXd::NullaryExpr(d, 50, [&](Index, Index) { return unit(generator); });
    const std::vector<double> heights = merge_heights(x);
    REQUIRE(heights.size() == 49);
    for (std::size_t k = 0; k < heights.size(); ++k) {
      // Half-way to a neighbour rounding does not matter.
      const double next = k + 1 < heights.size() ? heights[k + 1] : heights[k] + 1;
      CHECK(detect_clusters(x, (heights[k] + next) / 2).count() == 49 - static_cast<Index>(k));
    }
  }
}

TEST_CASE("merge distances of extreme tokens", "[clustering]") {
  const double tiny = std::numeric_limits<double>::denorm_min(), huge = std::numeric_limits<double>::max();
  CHECK(merge_heights(Eigen::MatrixXd::Constant(3, 4, huge)) == std::vector<double>(3, 0.));
  CHECK(merge_heights((Eigen::MatrixXd(2, 2) << 0, 0, 0, tiny).finished()) == std::vector<double>{tiny});
  CHECK(merge_heights((Eigen::MatrixXd(2, 2) << 0, 3 * tiny, 0, 4 * tiny).finished()) ==
        std::vector<double>{5 * tiny});
  CHECK(merge_heights((Eigen::MatrixXd(2, 2) << -huge / 4, huge / 4, 0, 0).finished()) ==
        std::vector<double>{huge / 2});
  // Both differences are over the range, no merge is.
  CHECK(merge_heights((Eigen::MatrixXd(1, 3) << -huge, 0, huge).finished()) ==
        std::vector<double>{huge, huge});
  CHECK(merge_heights((Eigen::MatrixXd(2, 3) << -huge, 0, huge, 0, 0, 0).finished()) ==
        std::vector<double>{huge, huge});
}

TEST_CASE("tight crowds are found at any scale and in any order", "[clustering]") {
  std::mt19937_64 generator(3);
  for (const Index d : {1, 2, 3, 8})
    for (const double radius : {1e-2, 1e-6, 1e-12, 0.})
      for (const Index count : {2, 3, 5}) {
        Eigen::MatrixXd centres(d, count);
        for (Index j = 0; j < count; ++j) centres.col(j).setConstant(static_cast<double>(j * j) - 2);
        const Eigen::MatrixXd x = crowds(centres, 12, radius, generator);
        for (const double scale : {1., 0x1p-900, 0x1p900}) {
          const auto found = detect_clusters_automatically((x * scale).eval());
          CHECK(found.gap.clear);
          CHECK(found.gap.clusters == count);
          CHECK(found.clusters.count() == count);
          CHECK(found.clusters.sizes == std::vector<Index>(static_cast<std::size_t>(count), 12));
          CHECK(found.gap.below < found.gap.tolerance);
          CHECK(found.gap.tolerance < found.gap.above);
          CHECK(found.gap.ratio == found.gap.above / found.gap.below);
          CHECK(found.gap.tolerance ==
                Approx(std::sqrt(found.gap.below / scale * (found.gap.above / scale)) * scale));
        }
      }
}

TEST_CASE("the largest jump decides, whichever it is", "[clustering]") {
  // Four pairs, two by two: 10⁻⁹ in a pair, `between` between pairs, 1 between the fours.
  const auto gap = [](double between) {
    Tokens<double> x(1, 8);
    for (Index i = 0; i < 8; ++i)
      x(0, i) = 1e-9 * static_cast<double>(i % 2) + between * static_cast<double>(i / 2 % 2) +
                static_cast<double>(i / 4);
    return automatic_tolerance(x);
  };
  CHECK(gap(1e-7).clusters == 2);
  CHECK(gap(1e-3).clusters == 4);
  CHECK(gap(1e-3).below == Approx(1e-9));
  CHECK(gap(1e-3).above == Approx(1e-3));
  CHECK(gap(1e-3).ratio == Approx(1e6));
  // Powers of two, so that both jumps are exactly 2¹⁰: fewer clusters.
  const Tokens<double> even = (Tokens<double>(1, 4) << 0, 0x1p-20, 0x1p-20 + 0x1p-10, 1).finished();
  const Tokens<double> tie =
      (Tokens<double>(2, 4) << 0, 0x1p-20, 0, 1, 0, 0, 0x1p-10, 0).finished();  // 1 is 1 − 2⁻²⁰ away
  CHECK(automatic_tolerance(even).clusters == 3);
  CHECK(automatic_tolerance(tie).clusters == 3);
  const Tokens<double> equal = (Tokens<double>(2, 4) << 0, 0x1p-20, 0, 0, 0, 0, -0x1p-10, 1).finished();
  CHECK(automatic_tolerance(equal).clusters == 2);
}

TEST_CASE("a crowd far from the origin is one cluster, and one about it is nothing clear", "[clustering]") {
  std::mt19937_64 generator(4);
  for (const Index d : {1, 2, 5}) {
    const Eigen::MatrixXd far = crowds(Eigen::MatrixXd::Ones(d, 1), 30, 1e-6, generator);
    const auto one = detect_clusters_automatically(far);
    CHECK(one.gap.clear);
    CHECK(one.gap.clusters == 1);
    CHECK(one.clusters.count() == 1);
    CHECK(one.gap.below <= 2e-6 * std::sqrt(static_cast<double>(d)) * (1 + 1e-9));
    CHECK(one.gap.above == far.cwiseAbs().maxCoeff());
  }
  // A lattice: equal gaps, whatever its size.
  Tokens<double> lattice(2, 400);
  for (Index i = 0; i < 400; ++i)
    lattice.col(i) << static_cast<double>(i % 20) - 10, static_cast<double>(i / 20) - 10;
  for (const double scale : {1., 1e-9, 1e9}) {
    const auto found = detect_clusters_automatically((scale * lattice).eval());
    CHECK_FALSE(found.gap.clear);
    CHECK(found.gap.clusters == 400);
    CHECK(found.clusters.count() == 400);
    CHECK(found.gap.ratio < attnflow::clear_merge_ratio);
    CHECK(found.gap.above == Approx(scale));
  }
}

TEST_CASE("few tokens, equal tokens and tokens equal up to rounding", "[clustering]") {
  CHECK(automatic_tolerance(Tokens<double>(3, 0)).clusters == 0);
  CHECK(detect_clusters_automatically(Tokens<float>(0, 0)).clusters.count() == 0);
  CHECK(automatic_tolerance(Tokens<double>::Ones(3, 1)).clusters == 1);
  CHECK(automatic_tolerance(Tokens<double>::Ones(3, 1)).clear);
  for (const double value : {0., 5e-324, 1e-310, 1e-3, 1.7e308}) {
    const auto same = detect_clusters_automatically(Tokens<double>::Constant(2, 5, value));
    CHECK(same.gap.clusters == 1);
    CHECK(same.clusters.sizes == std::vector<Index>{5});
    CHECK(std::isfinite(same.gap.tolerance));
  }
  const auto two = detect_clusters_automatically((Tokens<double>(1, 2) << -1, 1).finished());
  CHECK(two.clusters.count() == 2);
  CHECK_FALSE(two.gap.clear);
  const auto near = detect_clusters_automatically((Tokens<double>(1, 2) << 1, 1 + 1e-3).finished());
  CHECK(near.clusters.count() == 1);
  CHECK(near.gap.clear);
  CHECK(near.gap.ratio == Approx(1.001 / 1e-3));
  const auto least = detect_clusters_automatically((Tokens<double>(1, 2) << 0, 5e-324).finished());
  CHECK(least.clusters.count() == least.gap.clusters);
  CHECK_FALSE(least.gap.clear);

  // Three places and differences of a rounding error or none.
  Tokens<float> x(1, 6);
  x << 1.f, 2.f, 3.f, 1.f, std::nextafter(2.f, 9.f), 3.f;
  const auto rounded = detect_clusters_automatically(x);
  CHECK(rounded.clusters.labels == std::vector<Index>{0, 1, 2, 0, 1, 2});
  CHECK(rounded.gap.below == 64 * static_cast<double>(std::numeric_limits<float>::epsilon()) * 3);
  CHECK(rounded.gap.clear);
  // Two of many scattered tokens coincide: they are joined, and no others.
  std::mt19937_64 generator(5);
  Tokens<double> scattered =
      Tokens<double>::NullaryExpr(3, 9, [&](Index, Index) { return unit(generator) - 0.5; });
  scattered.col(7) = scattered.col(2);
  CHECK(detect_clusters_automatically(scattered).clusters.labels ==
        std::vector<Index>{0, 1, 2, 3, 4, 5, 6, 2, 7});
}

TEST_CASE("many tokens of one dimension need no pairs", "[clustering]") {
  std::mt19937_64 generator(6);
  const Tokens<double, 1> x = Tokens<double, 1>::NullaryExpr(
      1, 100000, [&](Index, Index i) { return static_cast<double>(i % 7) + 1e-3 * unit(generator); });
  const auto found = detect_clusters_automatically(x);
  CHECK(found.gap.clusters == 7);
  CHECK(found.clusters.count() == 7);
}

TEST_CASE("what has no merge distances is refused in words", "[clustering]") {
  const double nan = std::nan(""), huge = std::numeric_limits<double>::max();
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(2, 5);
  CHECK(refusal([&] { (void)merge_heights(x, 4); }) ==
        "merge_heights: there are 5 tokens, expected at most limit = 4, as the time grows like n squared");
  CHECK(refusal([&] { (void)detect_clusters_automatically(Eigen::MatrixXd::Zero(2, 20001)); }) ==
        "merge_heights: there are 20001 tokens, expected at most limit = 20000, as the time grows like n "
        "squared");
  CHECK(
      refusal([&] { (void)merge_heights((Eigen::MatrixXd(1, 2) << -huge, huge).finished()); }) ==
      "merge_heights: the largest merge distance is inf, expected tokens whose distances are finite numbers");
  CHECK(
      refusal([&] { (void)automatic_tolerance((Eigen::MatrixXd(2, 2) << 0, huge, 0, huge).finished()); }) ==
      "merge_heights: the largest merge distance is inf, expected tokens whose distances are finite numbers");
  x(1, 3) = nan;
  CHECK(refusal([&] { (void)merge_heights(x); }) ==
        "merge_heights: token 3 of tokens is (  0 nan), expected finite numbers");
}

TEST_CASE("what computed the tokens resolves them no finer than it says", "[clustering]") {
  // Two crowds at 0 and 1, whose members are 1e-12 to 1e-5 apart: the widest gap is within them.
  const Tokens<double, 1> x = (Tokens<double, 1>(1, 6) << 0, 1e-12, 1e-6, 1, 1 + 1e-12, 1 + 1e-5).finished();
  CHECK(attnflow::automatic_tolerance(x).clusters == 4);
  CHECK(attnflow::automatic_tolerance(x, attnflow::merge_limit, 1e-7).clusters == 2);
  CHECK(refusal([&] { (void)attnflow::automatic_tolerance(x, attnflow::merge_limit, -1); }) ==
        "automatic_tolerance: resolution is -1, expected a finite number, at least 0");
}
