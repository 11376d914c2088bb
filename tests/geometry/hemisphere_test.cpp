#include <attnflow/geometry/hemisphere.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

namespace {

using attnflow::hemisphere_margin;
using attnflow::open_hemisphere;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double pi = std::numbers::pi;

/// 2^{−(n−1)} ∑_{k<d} C(n−1, k).
double wendel(Index n, Index d) {
  double sum = 0, binomial = 1;
  for (Index k = 0; k < d; ++k) {
    sum += binomial;
    binomial *= static_cast<double>(n - 1 - k) / static_cast<double>(k + 1);
  }
  return std::ldexp(sum, -static_cast<int>(n - 1));
}

}  // namespace

// The margin is that of the pole, and no pole has more: min ⟨xᵢ, w⟩ ≤ ⟨∑ weights xᵢ, w⟩ ≤ ‖∑ weights xᵢ‖ for unit w.
TEST_CASE("either answer has a witness", "[polytope]") {
  attnflow::Generator generator(1);
  int yes = 0, no = 0;
  for (const Index d : {1, 2, 3, 8, 20})
    for (const Index n : {1, 2, 3, 5, 10, 16, 40})
      for (int draw = 0; draw < 5; ++draw) {
        const Eigen::MatrixXd x = attnflow::uniform_sphere(generator, n, d);
        const auto found = open_hemisphere(x);
        const double rounding = 10 * std::sqrt(static_cast<double>(d)) * epsilon;
        REQUIRE(found.weights.size() == n);
        CHECK(found.weights.minCoeff() >= 0);
        CHECK(found.weights.sum() == Approx(1).epsilon(32 * epsilon));
        const double bound = (x * found.weights).norm();
        if (found.contains) {
          ++yes;
          CHECK(found.pole.norm() == Approx(1).epsilon(4 * epsilon));
          CHECK(found.margin > 0);
          CHECK(found.margin == Approx(hemisphere_margin(x, found.pole)).epsilon(8 * epsilon));
          CHECK(found.margin == Approx(bound).margin(4 * rounding));
        } else {
          ++no;
          CHECK(found.pole.size() == 0);
          CHECK(found.margin == 0);
          CHECK(bound <= 4 * rounding);
        }
        if (n <= d) CHECK(found.contains);
      }
  CHECK(std::min(yes, no) > 40);
}

TEST_CASE("on the circle it is the widest gap that decides", "[polytope]") {
  attnflow::Generator generator(2);
  for (int draw = 0; draw < 200; ++draw) {
    const Index n = 2 + draw % 5;
    std::vector<double> angles;
    for (Index i = 0; i < n; ++i) angles.push_back(attnflow::uniform_box(generator, 1, 1, 0, 2 * pi)(0, 0));
    Eigen::MatrixXd x(2, n);
    for (Index i = 0; i < n; ++i)
      x.col(i) << std::cos(angles[static_cast<std::size_t>(i)]),
          std::sin(angles[static_cast<std::size_t>(i)]);
    std::ranges::sort(angles);
    double gap = angles.front() + 2 * pi - angles.back();
    for (std::size_t i = 1; i < angles.size(); ++i) gap = std::max(gap, angles[i] - angles[i - 1]);
    const auto found = open_hemisphere(x);
    CHECK(found.contains == (gap > pi));
    CHECK(found.margin == Approx(gap > pi ? -std::cos(gap / 2) : 0).margin(64 * epsilon));
  }
  // To the last: a cone that opens, an antipodal pair, a triangle around 0.
  for (const double margin : {1e-3, 1e-8, 1e-13}) {
    const Eigen::MatrixXd x =
        (Eigen::MatrixXd(2, 2) << 1, -1, margin, margin).finished().colwise().normalized();
    CHECK(open_hemisphere(x).contains);
    CHECK(open_hemisphere(x).margin == Approx(margin).epsilon(1e-6 + 32 * epsilon / margin));
  }
  CHECK(!open_hemisphere((Eigen::MatrixXd(2, 2) << 0.6, -0.6, 0.8, -0.8).finished()).contains);
  CHECK(!open_hemisphere(attnflow::equiangular(3, 2, -0.5)).contains);
  // A margin that rounding of unit tokens could make: 10 √2 ε is 3·10⁻¹⁵.
  for (const double margin : {1e-15, 1e-17, 1e-300})
    CHECK(!open_hemisphere((Eigen::MatrixXd(2, 2) << 1, -1, margin, margin).finished()).contains);
  CHECK(!open_hemisphere(Eigen::MatrixXd(3, 0)).contains);
  CHECK(!open_hemisphere(Eigen::MatrixXd::Zero(3, 2)).contains);
  CHECK(open_hemisphere(Eigen::MatrixXd::Constant(1, 4, -1.)).margin == 1);
  CHECK(open_hemisphere(Eigen::MatrixXd::Constant(2, 4, 1e300)).contains);
  CHECK(open_hemisphere(Eigen::MatrixXd::Constant(2, 4, 1e-310)).contains);
}

// 4 standard deviations of a frequency in so many draws.
TEST_CASE("uniform tokens are in a hemisphere as often as Wendel says", "[polytope]") {
  CHECK(wendel(8, 3) == Approx(0.2265625).epsilon(epsilon));
  CHECK(wendel(16, 8) == Approx(0.5).epsilon(4 * epsilon));
  attnflow::Generator generator(3);
  for (const auto& [n, d] : {std::pair<Index, Index>{8, 3}, {16, 8}, {4, 2}, {5, 5}}) {
    const int draws = 2000;
    int count = 0;
    for (int k = 0; k < draws; ++k)
      count += open_hemisphere(attnflow::uniform_sphere(generator, n, d)).contains;
    const double p = wendel(n, d);
    CHECK(std::abs(count - draws * p) <= 4 * std::sqrt(draws * p * (1 - p)));
  }
}

TEST_CASE("what has no hemisphere is refused in words", "[polytope]") {
  Eigen::MatrixXd x = Eigen::MatrixXd::Identity(2, 2);
  CHECK(hemisphere_margin(Eigen::MatrixXd(2, 0), Eigen::VectorXd::Unit(2, 0)) ==
        std::numeric_limits<double>::infinity());
  CHECK(hemisphere_margin(x.cast<float>(), Eigen::Vector2d(0.5, -2)) == -2);
  CHECK(refusal([&] { (void)hemisphere_margin(x, Eigen::VectorXd::Unit(3, 0)); }) ==
        "hemisphere_margin: w is 3 x 1, expected 2 x 1, as the tokens are");
  x(0, 0) = std::nan("");
  CHECK(refusal([&] { (void)open_hemisphere(x); }) ==
        "open_hemisphere: token 0 of x is (nan   0), expected finite numbers");
}
