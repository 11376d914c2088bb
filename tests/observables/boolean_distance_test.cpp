#include <attnflow/observables/attention/boolean_distance.hpp>
#include <attnflow/observables/tokens/clusters.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::boolean_distance;
using attnflow::BooleanDistance;
using Eigen::Index;
using Indices = std::vector<Index>;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// Rows summing to one; the larger the power, the closer to Boolean.
Eigen::MatrixXd stochastic(Index n, double power, std::mt19937_64& generator) {
  Eigen::MatrixXd P =
      Eigen::MatrixXd::NullaryExpr(n, n, [&](Index, Index) { return std::pow(unit(generator), power); });
  for (Index i = 0; i < n; ++i) P.row(i) /= P.row(i).sum();
  return P;
}

/// By the definition: the ℓ¹ distance of every row to either basis vector, sorted.
BooleanDistance by_definition(const Eigen::MatrixXd& P, Index first, Index second) {
  const Index n = P.rows();
  std::vector<double> distances;
  BooleanDistance expected{.columns = {first, second}};
  for (Index i = 0; i < n; ++i) {
    double nearest = 3;
    for (const Index column : {first, second}) {
      double sum = 0;
      for (Index j = 0; j < n; ++j) sum += std::abs(P(i, j) - (j == column ? 1 : 0));
      nearest = std::min(nearest, sum);
    }
    if (nearest > expected.to_pair) {
      expected.to_pair = nearest;
      expected.exceptional_row = i;
    }
    distances.push_back(nearest);
  }
  std::ranges::sort(distances, std::ranges::greater{});
  expected.to_family = n > 1 ? distances[1] : 0;
  return expected;
}

void check_close(const BooleanDistance& found, const BooleanDistance& expected, const Eigen::MatrixXd& P) {
  const Index n = P.rows();
  const double tolerance = 4 * static_cast<double>(n) * epsilon;  // sums of n numbers up to 2
  CHECK(std::abs(found.to_family - expected.to_family) <= tolerance);
  CHECK(std::abs(found.to_pair - expected.to_pair) <= tolerance);
  // Of rows equally far up to rounding any may be named.
  REQUIRE(found.exceptional_row >= (expected.to_pair > tolerance ? 0 : -1));
  if (found.exceptional_row < 0) return;
  const double farthest = 2 * (1 - std::max(P(found.exceptional_row, expected.columns[0]),
                                            P(found.exceptional_row, expected.columns[1])));
  CHECK(std::abs(farthest - expected.to_pair) <= tolerance);
}

}  // namespace

TEST_CASE("the distance to two columns is that of the definition", "[clustering]") {
  std::mt19937_64 generator(1);
  for (const Index n : {1, 2, 3, 8, 30})
    for (const double power : {1., 8., 200.}) {
      const Eigen::MatrixXd P = stochastic(n, power, generator);
      for (int repeat = 0; repeat < 5; ++repeat) {
        const auto draw = [&] { return static_cast<Index>(generator() % static_cast<std::uint64_t>(n)); };
        const Index first = draw(), second = draw();
        const BooleanDistance found = boolean_distance(P, first, second);
        CHECK(found.columns == std::array<Index, 2>{first, second});
        check_close(found, by_definition(P, first, second), P);
        const BooleanDistance swapped = boolean_distance(P, second, first);
        CHECK(swapped.to_family == found.to_family);
        CHECK(swapped.to_pair == found.to_pair);
      }
    }
}

TEST_CASE("free columns are the best of all, unless P is far from Boolean", "[clustering]") {
  std::mt19937_64 generator(2);
  int near = 0, far = 0;
  for (const Index n : {2, 3, 4, 7})
    for (const double power : {1., 3., 10., 40.})
      for (int repeat = 0; repeat < 25; ++repeat) {
        Eigen::MatrixXd P = stochastic(n, power, generator);
        if (repeat % 2 == 0)  // two leaders, and a row of its own
          for (Index i = 1; i < n; ++i) P.row(i) = 0.1 * P.row(i) + 0.9 * Eigen::RowVectorXd::Unit(n, i % 2);
        BooleanDistance all{.to_family = 3, .to_pair = 3}, leading = all;
        std::vector<bool> leads(static_cast<std::size_t>(n));
        for (Index i = 0; i < n; ++i) {
          Index argmax = 0;
          P.row(i).maxCoeff(&argmax);
          leads[static_cast<std::size_t>(argmax)] = true;
        }
        for (Index a = 0; a < n; ++a)
          for (Index b = 0; b < n; ++b) {
            const BooleanDistance next = boolean_distance(P, a, b);
            const auto improve = [&](BooleanDistance& best) {
              if (next.to_family < best.to_family ||
                  (next.to_family == best.to_family && next.to_pair < best.to_pair))
                best = next;
            };
            improve(all);
            if (leads[static_cast<std::size_t>(a)] && leads[static_cast<std::size_t>(b)]) improve(leading);
          }
        const BooleanDistance found = boolean_distance(P);
        CHECK(found.to_family == leading.to_family);
        CHECK(found.to_pair == leading.to_pair);
        CHECK(found.columns[0] <= found.columns[1]);
        const BooleanDistance there = boolean_distance(P, found.columns[0], found.columns[1]);
        CHECK(there == found);
        if (found.to_family < 1) CHECK(found.to_family == all.to_family);
        CHECK((all.to_family >= 1 || found.to_family == all.to_family));
        ++(found.to_family < 1 ? near : far);
      }
  CHECK(near > 100);
  CHECK(far > 20);
}

TEST_CASE("members of the family are at distance zero", "[clustering]") {
  Eigen::MatrixXd P = Eigen::MatrixXd::Zero(5, 5);
  for (const Index i : {0, 1}) P(i, 3) = 1;
  for (const Index i : {3, 4}) P(i, 1) = 1;
  P.row(2) << 0.25, 0, 0.5, 0, 0.25;
  CHECK(boolean_distance(P) == BooleanDistance{0, 2, 2, {1, 3}});
  CHECK(boolean_distance(P, 3, 1) == BooleanDistance{0, 2, 2, {3, 1}});
  CHECK(boolean_distance(P, 3, 2) == BooleanDistance{2, 2, 3, {3, 2}});
  P.row(2) << 0, 0.75, 0, 0.25, 0;
  CHECK(boolean_distance(P) == BooleanDistance{0, 0.5, 2, {1, 3}});
  P.row(2) << 0, 1, 0, 0, 0;
  CHECK(boolean_distance(P) == BooleanDistance{0, 0, -1, {1, 3}});
  CHECK(boolean_distance(P.cast<float>()) == BooleanDistance{0, 0, -1, {1, 3}});
  Eigen::MatrixXd one = Eigen::MatrixXd::Zero(4, 4);
  one.col(2).setOnes();
  CHECK(boolean_distance(one) == BooleanDistance{0, 0, -1, {2, 2}});
  CHECK(boolean_distance(one, 2, 2).to_pair == 0);
  CHECK(boolean_distance(Eigen::MatrixXd::Identity(6, 6)) == BooleanDistance{2, 2, 2, {0, 1}});
  CHECK(boolean_distance(Eigen::Matrix3d::Identity()) == BooleanDistance{0, 2, 2, {0, 1}});
}

TEST_CASE("nearly Boolean rows keep their digits", "[clustering]") {
  Eigen::MatrixXd P(3, 3);
  P << 1, 1e-30, 2e-30, 3e-300, 1e-300, 1, 1e-200, 2e-20, 1;
  const BooleanDistance found = boolean_distance(P);
  CHECK(found.to_pair == Approx(4e-20).epsilon(1e-14));
  CHECK(found.to_family == Approx(6e-30).epsilon(1e-14));
  CHECK(found.exceptional_row == 2);
  CHECK(found.columns == std::array<Index, 2>{0, 2});
}

TEST_CASE("columns of coincident tokens count as one", "[clustering]") {
  std::mt19937_64 generator(3);
  Eigen::MatrixXd P(4, 4);
  for (Index i = 0; i < 4; ++i) P.row(i) << 0.75, 0.125, 0.125, 0;
  P.row(3) << 0, 0.5, 0.375, 0.125;
  CHECK(boolean_distance(P) == BooleanDistance{0.5, 1, 3, {0, 1}});
  CHECK(boolean_distance(P, Indices{0, 1, 1, 3}) == BooleanDistance{0.5, 0.5, 0, {0, 1}});
  CHECK(boolean_distance(P, Indices{3, 0, 0, 2}, 2, 0) == BooleanDistance{0.5, 0.5, 0, {1, 0}});
  CHECK(boolean_distance(P, Indices{0, 0, 0, 0}) == BooleanDistance{0, 0, -1, {0, 0}});
  for (const Index n : {1, 5, 9}) {
    const Eigen::MatrixXd R = stochastic(n, 6, generator);
    Indices own;
    for (Index j = 0; j < n; ++j) own.push_back(n - 1 - j);
    CHECK(boolean_distance(R, own) == boolean_distance(R));
    CHECK(boolean_distance(R, own, 0, n - 1) == boolean_distance(R, 0, n - 1));
  }
}

TEST_CASE("one token or none is Boolean", "[clustering]") {
  CHECK(boolean_distance(Eigen::MatrixXd(0, 0)) == BooleanDistance{});
  CHECK(boolean_distance(Eigen::MatrixXf(0, 0), Indices{}) == BooleanDistance{0, 0, -1, {-1, -1}});
  CHECK(boolean_distance(Eigen::MatrixXd::Ones(1, 1)) == BooleanDistance{0, 0, -1, {0, 0}});
  CHECK(boolean_distance(Eigen::MatrixXf::Ones(1, 1), 0, 0) == BooleanDistance{0, 0, -1, {0, 0}});
}

TEST_CASE("a thousand leaders are compared in no time", "[clustering]") {
  const Index n = 1000;
  const Eigen::MatrixXd P =
      0.9 * Eigen::MatrixXd::Identity(n, n) + Eigen::MatrixXd::Constant(n, n, 0.1 / 1000);
  CHECK(boolean_distance(P).to_family == Approx(2 * (1 - 0.1 / 1000)));
}

TEST_CASE("what has no distance to Boolean matrices is refused in words", "[clustering]") {
  Eigen::MatrixXd P = Eigen::MatrixXd::Identity(3, 3);
  CHECK(refusal([&] { (void)boolean_distance(P.leftCols(2)); }) ==
        "boolean_distance: P is 3 x 2, expected a square matrix");
  CHECK(refusal([&] { (void)boolean_distance(P, 0, 3); }) ==
        "boolean_distance: second is 3, expected a column from 0 to 2");
  CHECK(refusal([&] { (void)boolean_distance(P, -1, 3); }) ==
        "boolean_distance: first is -1, expected a column from 0 to 2");
  CHECK(refusal([&] { (void)boolean_distance(Eigen::MatrixXd(0, 0), 0, 0); }) ==
        "boolean_distance: first is 0, expected a column from 0 to -1");
  CHECK(refusal([&] {
          (void)boolean_distance(P, Indices{0, 1});
        }) == "boolean_distance: there are 2 labels, expected 3, as P has columns");
  CHECK(refusal([&] {
          (void)boolean_distance(P, Indices{0, 1, 2}, 0, 4);
        }) == "boolean_distance: second is 4, expected a column from 0 to 2");
  P(1, 1) = 0.5;
  CHECK(refusal([&] { (void)boolean_distance(P); }) ==
        "boolean_distance: row 1 of P sums to 0.5, expected 1 up to 1.49012e-08");
  P(1, 1) = -1;
  CHECK(refusal([&] { (void)boolean_distance(P); }) ==
        "boolean_distance: P(1, 1) is -1, expected a number from 0 to 1");
  P(1, 1) = std::nan("");
  CHECK(refusal([&] {
          (void)boolean_distance(P, Indices{0, 1, 2});
        }) == "boolean_distance: P(1, 1) is nan, expected a number from 0 to 1");
}
