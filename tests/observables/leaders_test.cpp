#include <attnflow/observables/attention/leaders.hpp>
#include <attnflow/observables/tokens/clusters.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using attnflow::leaders;
using attnflow::Leaders;
using attnflow::LeaderTie;
using Eigen::Index;
using Indices = std::vector<Index>;

/// An n × n matrix of random weights, rows summing to one.
Eigen::MatrixXd stochastic(Index n, std::mt19937_64& generator) {
  Eigen::MatrixXd P = Eigen::MatrixXd::NullaryExpr(
      n, n, [&](Index, Index) { return static_cast<double>(generator() >> 11) * 0x1p-53; });
  for (Index i = 0; i < n; ++i) P.row(i) /= P.row(i).sum();
  return P;
}

}  // namespace

TEMPLATE_TEST_CASE("leaders are the largest entries of the rows", "[clustering]", float, double) {
  std::mt19937_64 generator(1);
  for (const Index n : {1, 2, 5, 30}) {
    const Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic> P =
        stochastic(n, generator).cast<TestType>();
    std::set<Index> expected;
    Indices argmax;
    for (Index i = 0; i < n; ++i) {
      Index best = 0;
      P.row(i).maxCoeff(&best);
      expected.insert(best);
      argmax.push_back(best);
    }
    CHECK(leaders(P) == Leaders{Indices(expected.begin(), expected.end()), {}});
    CHECK(leaders(argmax) == leaders(P));
    CHECK(leaders(P).count() == static_cast<Index>(expected.size()));
  }
}

TEST_CASE("a fixed-size matrix and an expression have leaders", "[clustering]") {
  const Eigen::Matrix3d P = (Eigen::Matrix3d() << 0.1, 0.2, 0.7, 0.3, 0.3, 0.4, 0.6, 0.3, 0.1).finished();
  CHECK(leaders(P).indices == Indices{0, 2});
  CHECK(leaders(P.transpose()).indices == Indices{0, 1, 2});
  CHECK(leaders(P.topLeftCorner(2, 2)).indices == Indices{0, 1});
}

TEST_CASE("tied rows are reported, grouped by their columns", "[clustering]") {
  Eigen::MatrixXd P(4, 4);
  P << 0.4, 0.1, 0.4, 0.1,  //
      0.1, 0.4, 0.1, 0.4,   //
      0.4, 0.2, 0.4, 0.0,   //
      0.0, 0.0, 0.0, 1.0;
  CHECK(leaders(P) == Leaders{{0, 1, 3}, {{{0, 2}, {0, 2}}, {{1, 3}, {1}}}});

  const Eigen::MatrixXd even = Eigen::MatrixXd::Constant(3, 3, 1. / 3);
  CHECK(leaders(even) == Leaders{{0}, {{{0, 1, 2}, {0, 1, 2}}}});

  P(0, 2) += 1e-9;  // decided now, except to a tolerant eye
  CHECK(leaders(P) == Leaders{{0, 1, 2, 3}, {{{0, 2}, {2}}, {{1, 3}, {1}}}});
  CHECK(leaders(P, 1e-8) == Leaders{{0, 1, 2, 3}, {{{0, 2}, {0, 2}}, {{1, 3}, {1}}}});
}

TEST_CASE("a row that attends to nothing follows nobody", "[clustering]") {
  Eigen::MatrixXd P = Eigen::MatrixXd::Zero(3, 3);  // strictly causal
  P(1, 0) = 1;
  P(2, 1) = 1;
  CHECK(leaders(P) == Leaders{{0, 1}, {}});
  CHECK(leaders(P, Indices{0, 1, 2}) == Leaders{{0, 1}, {}});
  CHECK(leaders(Indices{-1, 0, 1}) == Leaders{{0, 1}, {}});
  CHECK(leaders(Eigen::MatrixXd::Zero(2, 2)) == Leaders{});
}

TEST_CASE("coincident tokens lead together", "[clustering]") {
  // Tokens 1, 3 and 4 lie in one place: together they outweigh token 2, which none of them does.
  Eigen::MatrixXd P(5, 5);
  for (Index i = 0; i < 5; ++i) P.row(i) << 0.05, 0.2, 0.35, 0.2, 0.2;
  CHECK(leaders(P).indices == Indices{2});
  const Eigen::MatrixXd x = (Eigen::MatrixXd(2, 5) << 0, 1, 0, 1, 1, 0, 1, 2, 1, 1).finished();
  const attnflow::Clusters clusters = attnflow::detect_clusters(x, 1e-12);
  REQUIRE(clusters.labels == Indices{0, 1, 2, 1, 1});
  CHECK(leaders(P, clusters.labels) == Leaders{{1}, {}});
  CHECK(leaders(P.cast<float>(), clusters.labels).indices == Indices{1});

  // Any numbering of the clusters will do, and singletons change nothing.
  CHECK(leaders(P, Indices{4, 0, 2, 0, 0}) == Leaders{{1}, {}});
  CHECK(leaders(P, Indices{4, 3, 2, 1, 0}) == leaders(P));
  // One cluster: its first token leads all.
  CHECK(leaders(P, Indices{3, 3, 3, 3, 3}) == Leaders{{0}, {}});
}

TEST_CASE("ties between clusters are named by their first tokens", "[clustering]") {
  Eigen::MatrixXd P(4, 4);
  for (Index i = 0; i < 4; ++i) P.row(i) << 0.25, 0.125, 0.5, 0.125;
  CHECK(leaders(P, Indices{0, 1, 2, 0}).ties.empty());
  CHECK(leaders(P, Indices{1, 1, 0, 1}) == Leaders{{0}, {{{0, 2}, {0, 1, 2, 3}}}});

  // 0.1 + 0.2 exceeds 0.3 by a rounding error.
  Eigen::MatrixXd rounded(5, 5);
  for (Index i = 0; i < 5; ++i) rounded.row(i) << 0.3, 0.1, 0.2, 0.2, 0.2;
  CHECK(leaders(rounded, Indices{0, 1, 1, 3, 4}) == Leaders{{1}, {}});
  CHECK(leaders(rounded, Indices{0, 1, 1, 3, 4}, 1e-15) == Leaders{{1}, {{{0, 1}, {0, 1, 2, 3, 4}}}});
}

TEST_CASE("merging columns agrees with the double sum", "[clustering]") {
  std::mt19937_64 generator(2);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const Index n = 12;
    const Eigen::MatrixXd P = stochastic(n, generator);
    Indices labels;
    for (Index j = 0; j < n; ++j) labels.push_back(static_cast<Index>(generator() % 5));
    std::set<Index> expected;
    for (Index i = 0; i < n; ++i) {
      double best = -1;
      Index leader = -1;
      for (Index j = 0; j < n; ++j) {
        double sum = 0;
        Index representative = -1;
        for (Index k = 0; k < n; ++k)
          if (labels[static_cast<std::size_t>(k)] == labels[static_cast<std::size_t>(j)]) {
            if (representative < 0) representative = k;
            sum += P(i, k);
          }
        if (sum > best) {
          best = sum;
          leader = representative;
        }
      }
      expected.insert(leader);
    }
    CHECK(leaders(P, labels).indices == Indices(expected.begin(), expected.end()));
  }
}

TEST_CASE("no tokens have no leaders", "[clustering]") {
  CHECK(leaders(Eigen::MatrixXd(0, 0)) == Leaders{});
  CHECK(leaders(Eigen::MatrixXf(0, 0), Indices{}) == Leaders{});
  CHECK(leaders(Indices{}) == Leaders{});
  CHECK(leaders(Eigen::MatrixXd::Ones(1, 1)) == Leaders{{0}, {}});
}

TEST_CASE("what has no leaders is refused in words", "[clustering]") {
  const double nan = std::nan("");
  Eigen::MatrixXd P = Eigen::MatrixXd::Identity(3, 3);
  CHECK(refusal([&] { (void)leaders(P.leftCols(2)); }) == "leaders: P is 3 x 2, expected a square matrix");
  CHECK(refusal([&] { (void)leaders(P, -1.0); }) ==
        "leaders: tie_tolerance is -1, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)leaders(P, nan); }) ==
        "leaders: tie_tolerance is nan, expected a finite number, at least 0");
  CHECK(refusal([&] {
          (void)leaders(P, Indices{0, 1});
        }) == "leaders: there are 2 labels, expected 3, as P has columns");
  CHECK(refusal([&] {
          (void)leaders(P, Indices{0, 1, 3});
        }) == "leaders: labels[2] is 3, expected a number from 0 to 2");
  CHECK(refusal([&] {
          (void)leaders(P, Indices{0, -1, 0});
        }) == "leaders: labels[1] is -1, expected a number from 0 to 2");
  CHECK(refusal([&] {
          (void)leaders(Indices{0, 2});
        }) == "leaders: row_argmax[1] is 2, expected a number from -1 to 1");
  CHECK(refusal([&] { (void)leaders(Indices{-2}); }) ==
        "leaders: row_argmax[0] is -2, expected a number from -1 to 0");
  P(2, 1) = nan;
  CHECK(refusal([&] { (void)leaders(P); }) == "leaders: P(2, 1) is nan, expected a finite number");
  CHECK(refusal([&] {
          (void)leaders(P, Indices{0, 1, 2});
        }) == "leaders: P(2, 1) is nan, expected a finite number");
}
