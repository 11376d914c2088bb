#include <attnflow/observables/tokens/wasserstein.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace {

using attnflow::sliced_wasserstein2;
using attnflow::Tokens;
using attnflow::wasserstein2;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

double cost(const Eigen::MatrixXd& x, const Eigen::MatrixXd& y, const std::vector<Index>& matching) {
  double sum = 0;
  for (Index i = 0; i < x.cols(); ++i)
    sum += (x.col(i) - y.col(matching[static_cast<std::size_t>(i)])).squaredNorm() /
           static_cast<double>(x.cols());
  return std::sqrt(sum);
}

/// The least cost over all permutations.
double by_permutations(const Eigen::MatrixXd& x, const Eigen::MatrixXd& y) {
  std::vector<Index> order(static_cast<std::size_t>(x.cols()));
  std::iota(order.begin(), order.end(), Index{0});
  double best = std::numeric_limits<double>::infinity();
  do best = std::min(best, cost(x, y, order));
  while (std::next_permutation(order.begin(), order.end()));
  return best;
}

bool is_permutation(std::vector<Index> matching) {
  std::ranges::sort(matching);
  for (std::size_t k = 0; k < matching.size(); ++k)
    if (matching[k] != static_cast<Index>(k)) return false;
  return true;
}

}  // namespace

TEST_CASE("the distance is the least over all permutations", "[measures]") {
  std::mt19937_64 generator(1);
  for (const Index d : {1, 2, 3, 6})
    for (const Index n : {1, 2, 3, 5, 7})
      for (int repeat = 0; repeat < 5; ++repeat) {
        Eigen::MatrixXd x = random(d, n, generator), y = random(d, n, generator);
        if (repeat == 1) y = x.rowwise().reverse();
        if (repeat == 2) x = (2 * x).array().round(), y = (2 * y).array().round();  // many ties
        if (repeat == 3) x.colwise() = x.col(0).eval();
        const auto found = wasserstein2(x, y);
        const double expected = by_permutations(x, y);
        CHECK(found.distance == Approx(expected).epsilon(1e-14).margin(1e-15));
        CHECK(is_permutation(found.matching));
        CHECK(cost(x, y, found.matching) == Approx(found.distance).epsilon(1e-14).margin(1e-15));
        for (const double scale : {0x1p-1000, 0x1p1000})
          CHECK(wasserstein2((x * scale).eval(), (y * scale).eval()).distance == found.distance * scale);
        CHECK(wasserstein2(x.cast<float>(), y).distance == Approx(expected).epsilon(1e-6).margin(1e-6));
      }
}

// On a line in space sorting is optimal.
TEST_CASE("many tokens in space are matched as on the line they lie on", "[measures]") {
  std::mt19937_64 generator(2);
  for (const Index n : {2, 40, 300}) {
    const Eigen::MatrixXd s = random(1, n, generator), t = 3 * random(1, n, generator).array() + 1;
    const Eigen::Vector3d direction(0.6, 0, -0.8), origin(5, 6, 7);
    const Eigen::MatrixXd x = direction.lazyProduct(s).colwise() + origin;
    const Eigen::MatrixXd y = direction.lazyProduct(t).colwise() + origin;
    const auto line = wasserstein2(s, t), space = wasserstein2(x, y);
    CHECK(space.distance == Approx(line.distance).epsilon(1e-13));
    CHECK(space.matching == line.matching);
  }
}

TEST_CASE("the optimal matching of many tokens has no cheaper cycles of two or three", "[measures]") {
  std::mt19937_64 generator(3);
  const Index n = 120;
  const Eigen::MatrixXd x = random(2, n, generator), y = random(2, n, generator);
  const std::vector<Index> matching = wasserstein2(x, y).matching;
  const auto squared = [&](Index i, Index j) {
    return (x.col(i) - y.col(matching[static_cast<std::size_t>(j)])).squaredNorm();
  };
  bool cheaper = false;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) {
      cheaper |= squared(i, j) + squared(j, i) < squared(i, i) + squared(j, j) - 1e-13;
      for (Index k = 0; k < n; ++k)
        cheaper |= squared(i, j) + squared(j, k) + squared(k, i) <
                   squared(i, i) + squared(j, j) + squared(k, k) - 1e-13;
    }
  CHECK_FALSE(cheaper);
}

TEST_CASE("a translation is as long as its vector, and a relabelling has no length", "[measures]") {
  std::mt19937_64 generator(4);
  const Eigen::MatrixXd x = random(3, 200, generator);
  const Eigen::Vector3d shift(0.3, -2, 1);
  CHECK(wasserstein2(x, (x.colwise() + shift).eval()).distance == Approx(shift.norm()).epsilon(1e-13));
  CHECK(wasserstein2(x, x.rowwise().reverse()).distance == 0);
  CHECK(wasserstein2(x, x).matching[17] == 17);
  const Eigen::MatrixXd near = x.array() + 1e-9;
  CHECK(wasserstein2(x, near).distance == Approx(1e-9 * std::sqrt(3.)).epsilon(1e-6));
}

TEST_CASE("unequal numbers on the line are as if each token were repeated", "[measures]") {
  std::mt19937_64 generator(5);
  for (const Index n : {1, 2, 3, 6, 10})
    for (const Index m : {1, 4, 6, 7}) {
      const Eigen::MatrixXd x = random(1, n, generator), y = random(1, m, generator);
      Eigen::MatrixXd xs(1, n * m), ys(1, n * m);
      for (Index k = 0; k < n * m; ++k) xs(0, k) = x(0, k % n), ys(0, k) = y(0, k % m);
      const auto found = wasserstein2(x, y);
      CHECK(found.distance == Approx(wasserstein2(xs, ys).distance).epsilon(1e-13));
      CHECK(found.matching.empty() == (n != m));
    }
  CHECK(wasserstein2((Tokens<double, 1>(1, 2) << 0, 1).finished(), Tokens<double, 1>::Zero(1, 1)).distance ==
        Approx(std::sqrt(0.5)));
}

TEST_CASE("no tokens, and extreme ones", "[measures]") {
  const double huge = std::numeric_limits<double>::max(), tiny = std::numeric_limits<double>::denorm_min();
  CHECK(wasserstein2(Tokens<double>(2, 0), Tokens<double>(2, 0)).distance == 0);
  CHECK(wasserstein2(Tokens<float>(0, 3), Tokens<float>(0, 3)).distance == 0);
  CHECK(wasserstein2(Eigen::Vector2d(1, 0), Eigen::Vector2d(1, 1e-200)).distance == Approx(1e-200));
  CHECK(wasserstein2(Eigen::Vector2d(1, 0), Eigen::Vector2d(1, tiny)).distance == tiny);
  CHECK(wasserstein2(Eigen::Vector2d(0, 0), Eigen::Vector2d(0, tiny)).distance == tiny);
  CHECK(wasserstein2(Eigen::Vector2d(0, -huge / 2), Eigen::Vector2d(0, huge / 2)).distance == huge);
  CHECK(wasserstein2(Eigen::Vector2d(huge, huge), Eigen::Vector2d(huge, huge)).distance == 0);
  // All share a coordinate that is far larger than what sets them apart.
  std::mt19937_64 generator(10);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const Eigen::MatrixXd s = random(1, 6, generator), t = random(1, 6, generator);
    Eigen::MatrixXd x = Eigen::MatrixXd::Constant(2, 6, 0.3), y = x;
    x.row(1) = s * 0x1p-900;
    y.row(1) = t * 0x1p-900;
    CHECK(wasserstein2(x, y).distance == Approx(wasserstein2(s, t).distance * 0x1p-900).epsilon(1e-14));
  }
}

TEST_CASE("the sliced distance is a lower bound with the right mean", "[measures]") {
  std::mt19937_64 generator(6), directions(7);
  for (const Index d : {1, 2, 5})
    for (const Index n : {1, 3, 30}) {
      const Eigen::MatrixXd x = random(d, n, generator), y = random(d, n, generator);
      const double exact = wasserstein2(x, y).distance;
      CHECK(sliced_wasserstein2(x, x, directions) == 0);
      for (const Index count : {1, 10}) {
        const double sliced = sliced_wasserstein2(x, y, directions, count);
        CHECK(sliced <= exact * (1 + 8 * epsilon * static_cast<double>(n)));
        if (d == 1) CHECK(sliced == Approx(exact).epsilon(1e-13));
      }
      // The mean of ⟨θ, v⟩² over the sphere is |v|²/d, its standard deviation under √2 |v|²/d.
      const Eigen::MatrixXd moved = x.colwise() + Eigen::VectorXd::Ones(d);
      const double squared = std::pow(sliced_wasserstein2(x, moved, directions, 10000), 2);
      CHECK(std::abs(squared - 1) < 5 * std::sqrt(2.) / 100);
    }
  // Seeded, so the same again; any numbers of tokens; any scale.
  const Eigen::MatrixXd x = random(3, 5, generator), y = random(3, 8, generator);
  std::mt19937_64 one(8), two(8), three(8);
  const double distance = sliced_wasserstein2(x, y, one, 20);
  CHECK(sliced_wasserstein2(x, y, two, 20) == distance);
  CHECK(sliced_wasserstein2((x * 0x1p900).eval(), (y * 0x1p900).eval(), three, 20) == distance * 0x1p900);
  CHECK(sliced_wasserstein2(Tokens<double>(2, 0), Tokens<double>(2, 0), one) == 0);
}

TEST_CASE("what has no distance is refused in words", "[measures]") {
  std::mt19937_64 generator(9);
  const double huge = std::numeric_limits<double>::max();
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(2, 3);
  CHECK(refusal([&] { (void)wasserstein2(x, Eigen::MatrixXd::Zero(3, 3)); }) ==
        "wasserstein2: y has 3 rows, expected d = 2, as x has");
  CHECK(refusal([&] { (void)wasserstein2(x, Eigen::MatrixXd::Zero(2, 4)); }) ==
        "wasserstein2: y has 4 tokens, expected 3, as x has, for d = 2");
  CHECK(refusal([&] { (void)wasserstein2(Eigen::MatrixXd(2, 0), x); }) ==
        "wasserstein2: x has no tokens, expected at least one, as y has");
  CHECK(
      refusal([&] { (void)wasserstein2(Eigen::MatrixXd::Zero(2, 2001), Eigen::MatrixXd::Zero(2, 2001)); }) ==
      "wasserstein2: there are 2001 tokens, expected at most 2000 for d = 2; sliced_wasserstein2 takes more");
  CHECK(refusal([&] { (void)wasserstein2(Eigen::Vector2d(0, -huge), Eigen::Vector2d(0, huge)); }) ==
        "wasserstein2: the distance is inf, expected a finite number");
  CHECK(refusal([&] { (void)sliced_wasserstein2(x, x, generator, 0); }) ==
        "sliced_wasserstein2: directions is 0, expected at least 1");
  CHECK(refusal([&] { (void)sliced_wasserstein2(Eigen::MatrixXd(0, 2), x, generator); }) ==
        "sliced_wasserstein2: x has 0 rows, expected at least 1");
  x(1, 2) = std::nan("");
  CHECK(refusal([&] { (void)wasserstein2(x, Eigen::MatrixXd::Zero(2, 3)); }) ==
        "wasserstein2: token 2 of x is (  0 nan), expected finite numbers");
  CHECK(refusal([&] { (void)sliced_wasserstein2(Eigen::MatrixXd::Zero(2, 3), x, generator); }) ==
        "sliced_wasserstein2: token 2 of y is (  0 nan), expected finite numbers");
}
