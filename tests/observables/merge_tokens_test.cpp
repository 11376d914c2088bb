#include <attnflow/observables/tokens/merge_tokens.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

namespace {

using attnflow::merge_tokens;
using attnflow::MergedGroups;
using attnflow::Tokens;
using attnflow::TokenSpace;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;
using Parts = std::vector<std::vector<Index>>;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

}  // namespace

TEST_CASE("tokens within the tolerance become one, at their mean", "[merge]") {
  Tokens<double> x(2, 7);
  x << 0, 5, 0.1, 9, 5, 0.2, 20,  //
      0, 1, 0, 0, 1, 0.3, 0;      // 0 and 2, 0.1 apart, 5 too far; 1 and 4 are equal
  const Tokens<double> start = x;
  const std::vector<MergedGroups> merges = merge_tokens(x, 0.1);
  REQUIRE(merges.size() == 1);
  CHECK(merges[0].parts == Parts{{0}, {2}});
  CHECK(x(0, 0) == 0.05);
  CHECK(x.col(2) == x.col(0));
  for (const Index i : {1, 3, 4, 5, 6}) CHECK(x.col(i) == start.col(i));
  // Once more: what is one point is no merge.
  CHECK(merge_tokens(x, 0.1).empty());
  // A chain becomes one, weighted by tokens, and its groups are told apart.
  const std::vector<MergedGroups> chain = merge_tokens(x, 5.5);
  REQUIRE(chain.size() == 1);
  CHECK(chain[0].parts == Parts{{0, 2}, {1, 4}, {3}, {5}});
  CHECK((x.col(3) - start.leftCols(6).rowwise().mean()).norm() <= 8 * epsilon);
  CHECK(x.col(6) == start.col(6));
  CHECK(merge_tokens(x, 0).empty());
  Tokens<double> none(3, 0);
  CHECK(merge_tokens(none, 1).empty());
}

TEST_CASE("angles merge across the cut, points of the sphere on the sphere", "[merge]") {
  Tokens<double, 1> theta(1, 4);
  theta << std::numbers::pi - 0.01, 2, -std::numbers::pi + 0.02, 2 + 2 * std::numbers::pi;
  const auto merges = merge_tokens(theta, 0.04, TokenSpace::circle);
  REQUIRE(merges.size() == 2);
  CHECK(merges[0].parts == Parts{{0}, {2}});
  CHECK(merges[1].parts == Parts{{1}, {3}});  // equal points, but not equal angles
  CHECK(theta(0, 0) == Approx(std::numbers::pi + 0.005).epsilon(4 * epsilon));
  CHECK(theta(0, 2) == theta(0, 0));
  CHECK(theta(0, 3) == theta(0, 1));
  CHECK(theta(0, 1) == Approx(2).epsilon(4 * epsilon));
  theta << 0, 0.041, 1, 2;
  CHECK(merge_tokens(theta, 0.04, TokenSpace::circle).empty());

  Tokens<double, 3> x(3, 3);
  x << 1, 0.6, std::cos(0.2), 0, 0.8, std::sin(0.2), 0, 0, 0;
  REQUIRE(merge_tokens(x, 0.2, TokenSpace::sphere).size() == 1);
  CHECK((x.col(0) - Eigen::Vector3d(std::cos(0.1), std::sin(0.1), 0)).norm() <= 4 * epsilon);
  CHECK(x.col(2) == x.col(0));
}

TEST_CASE("many tokens merge as few do, whatever their order", "[merge]") {
  std::mt19937_64 generator(33);
  for (const Index n : {60, 300}) {
    Tokens<double> x = random(2, n, generator);
    const double tol = 0.5 / std::sqrt(static_cast<double>(n));
    Tokens<double> reversed = x.rowwise().reverse();
    const Eigen::VectorXd mean = x.rowwise().mean();
    const auto merges = merge_tokens(x, tol), others = merge_tokens(reversed, tol);
    CHECK(merges.size() >= 2);
    CHECK(merges.size() == others.size());
    CHECK((x - reversed.rowwise().reverse()).cwiseAbs().maxCoeff() <= 8 * epsilon);
    CHECK((x.rowwise().mean() - mean).cwiseAbs().maxCoeff() <= 8 * epsilon);
  }
}

TEST_CASE("merges refuse what they cannot use", "[merge]") {
  Tokens<double> x = Tokens<double>::Zero(2, 2);
  CHECK_THAT(refusal([&] { merge_tokens(x, -1); }), ContainsSubstring("merge_tokens: tol is -1"));
  CHECK_THAT(refusal([&] { merge_tokens(x, 0.1, TokenSpace::circle); }),
             ContainsSubstring("merge_tokens: x has 2 rows, expected one"));
  Tokens<double, 1> theta(1, 1);
  theta << 0;
  CHECK_THAT(refusal([&] { merge_tokens(theta, 2, TokenSpace::circle); }),
             ContainsSubstring("merge_tokens: tol is 2, expected at most pi/2"));
  x(1, 1) = std::nan("");
  CHECK_THAT(refusal([&] { merge_tokens(x, 0.1); }), ContainsSubstring("merge_tokens: token 1 of x is"));
}
