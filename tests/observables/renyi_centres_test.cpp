#include <attnflow/observables/tokens/renyi_centres.hpp>
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

using attnflow::nearest_centres;
using attnflow::renyi_centres;
using attnflow::strong_renyi_centres;
using Eigen::Index;

constexpr double pi = std::numbers::pi;

/// The angle in long double.
long double angle(const Eigen::MatrixXd& x, Index i, Index j) {
  long double apart = 0, together = 0;
  for (Index k = 0; k < x.rows(); ++k) {
    const auto a = static_cast<long double>(x(k, i)), b = static_cast<long double>(x(k, j));
    apart += (a - b) * (a - b);
    together += (a + b) * (a + b);
  }
  return 2 * std::atan2(std::sqrt(apart), std::sqrt(together));
}

/// Both definitions, word by word.
std::vector<Index> by_definition(const Eigen::MatrixXd& x, double delta, bool strong) {
  std::vector<Index> centres;
  for (Index i = 0; i < x.cols(); ++i) {
    const auto far_from = [&](Index j) { return angle(x, i, j) > static_cast<long double>(delta); };
    bool is_one = true;
    for (Index j = 0; j < i; ++j)
      if ((strong || std::ranges::find(centres, j) != centres.end()) && !far_from(j)) is_one = false;
    if (is_one) centres.push_back(i);
  }
  return centres;
}

Eigen::MatrixXd on_circle(const std::vector<double>& angles) {
  Eigen::MatrixXd x(2, static_cast<Index>(angles.size()));
  for (Index i = 0; i < x.cols(); ++i) {
    const double theta = angles[static_cast<std::size_t>(i)];
    x.col(i) << std::cos(theta), std::sin(theta);
  }
  return x;
}

}  // namespace

TEST_CASE("centres are those of their definitions", "[clustering]") {
  attnflow::Generator generator(1);
  for (const Index d : {2, 3, 8})
    for (const Index n : {0, 1, 2, 60})
      for (const double delta : {0., 1e-6, 0.2, 1., 2.5, 3.1, pi, 10.}) {
        const Eigen::MatrixXd x = attnflow::uniform_sphere(generator, n, d);
        CHECK(renyi_centres(x, delta) == by_definition(x, delta, false));
        CHECK(strong_renyi_centres(x, delta) == by_definition(x, delta, true));
      }
  // A token near one that is no centre is a centre, but not a strong one: 0, 0.6, 1.2 at δ = 1.
  const Eigen::MatrixXd chain = on_circle({0, 0.6, 1.2});
  CHECK(renyi_centres(chain, 1) == std::vector<Index>{0, 2});
  CHECK(strong_renyi_centres(chain, 1) == std::vector<Index>{0});
  // Angles of 10⁻⁹, whose cosine is one.
  const Eigen::MatrixXd near_by = on_circle({0, 1e-9, 3e-9});
  CHECK(renyi_centres(near_by, 1.5e-9) == std::vector<Index>{0, 2});
  CHECK(renyi_centres(near_by.cast<float>(), 0).size() == 3);
  CHECK(renyi_centres(on_circle({1, 1, 1}), 0) == std::vector<Index>{0});
  CHECK(renyi_centres(on_circle({0, pi}), pi) == std::vector<Index>{0});
}

// Each token is within δ of a centre and no two centres are: a maximal packing, for any draw.
TEST_CASE("centres are a packing that covers", "[clustering]") {
  attnflow::Generator generator(2);
  for (const double delta : {0.3, 1.}) {
    const Eigen::MatrixXd x = attnflow::uniform_sphere(generator, 500, 3);
    const auto centres = renyi_centres(x, delta), strong = strong_renyi_centres(x, delta);
    const auto nearest = nearest_centres(x, x(Eigen::placeholders::all_t(), centres));
    CHECK(*std::ranges::max_element(nearest.angles) <= delta);
    for (std::size_t a = 0; a < centres.size(); ++a)
      for (std::size_t b = 0; b < a; ++b)
        CHECK(static_cast<double>(angle(x, centres[a], centres[b])) > delta);
    CHECK(std::ranges::includes(centres, strong));
  }
}

// Means over independent draws. The standard errors are taken from the draws; 4 of them are passed once in 16 000.
TEST_CASE("numbers of centres of uniform tokens", "[clustering]") {
  const double delta = 0.25;
  const Index n = 1500;
  const int draws = 200;
  attnflow::Generator generator(3);
  for (const Index d : {2, 3}) {
    const double sigma = d == 2 ? delta / pi : std::pow(std::sin(delta / 2), 2);
    const double expected = (1 - std::pow(1 - sigma, n)) / sigma;
    CHECK(expected == Approx(d == 2 ? 12.566 : 64.334).margin(1e-3));
    double sum = 0, squares = 0, ordinary = 0, ordinary_squares = 0;
    for (int k = 0; k < draws; ++k) {
      const Eigen::MatrixXd x = attnflow::uniform_sphere(generator, n, d);
      const auto count = static_cast<double>(strong_renyi_centres(x, delta).size());
      sum += count;
      squares += count * count;
      if (d == 3) continue;
      const auto all = static_cast<double>(renyi_centres(x, delta).size());
      ordinary += all;
      ordinary_squares += all * all;
    }
    const auto error = [&](double total, double total_squares) {
      const double mean = total / draws;
      return std::sqrt((total_squares / draws - mean * mean) / (draws - 1));
    };
    CHECK(std::abs(sum / draws - expected) < 4 * error(sum, squares));
    // Rényi's constant times the places of length δ of the circle, once it is full; 1500 tokens leave a few gaps
    // hardly longer than 2δ unfilled, 0.3 of a centre.
    if (d == 2) {
      const double parked = 0.7475979 * 2 * pi / delta;
      CHECK(ordinary / draws < parked + 4 * error(ordinary, ordinary_squares));
      CHECK(ordinary / draws > parked - 0.3 - 4 * error(ordinary, ordinary_squares));
    }
  }
}

TEST_CASE("tokens are matched to the nearest centre", "[clustering]") {
  const Eigen::MatrixXd centres = on_circle({0, 2, 4}), x = on_circle({0.9, 1.1, 3.1, 6, 4 + 1e-9});
  const auto found = nearest_centres(x, centres);
  CHECK(found.labels == std::vector<Index>{0, 1, 2, 0, 2});
  const std::vector<double> expected{0.9, 0.9, 0.9, 2 * pi - 6, 1e-9};
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(found.angles[i] == Approx(expected[i]).epsilon(1e-6).margin(1e-15));
  // Equally near: the first.
  CHECK(nearest_centres(on_circle({0}), on_circle({0.5, -0.5})).labels.front() == 0);
  CHECK(nearest_centres(Eigen::MatrixXd(2, 0), Eigen::MatrixXd(2, 0)).labels.empty());
}

TEST_CASE("what has no centres is refused in words", "[clustering]") {
  Eigen::MatrixXd x = Eigen::MatrixXd::Identity(2, 2);
  CHECK(refusal([&] { (void)renyi_centres(x, -1); }) ==
        "renyi_centres: separation is -1, expected a finite angle, at least 0");
  CHECK(refusal([&] { (void)strong_renyi_centres(x, std::nan("")); }) ==
        "strong_renyi_centres: separation is nan, expected a finite angle, at least 0");
  CHECK(refusal([&] { (void)nearest_centres(x, Eigen::MatrixXd(2, 0)); }) ==
        "nearest_centres: there are no centres, expected at least one");
  CHECK(refusal([&] { (void)nearest_centres(x, Eigen::MatrixXd(3, 1)); }) ==
        "nearest_centres: centres has 3 rows, expected d = 2, as x has");
  x(0, 0) = std::nan("");
  CHECK(refusal([&] { (void)renyi_centres(x, 1); }) ==
        "renyi_centres: token 0 of x is (nan   0), expected finite numbers");
}
