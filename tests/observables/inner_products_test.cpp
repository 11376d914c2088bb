#include <attnflow/ensembles/statistics.hpp>
#include <attnflow/observables/tokens/inner_products.hpp>
#include <attnflow/tokens/initial_laws.hpp>

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

using attnflow::freedman_diaconis_edges;
using attnflow::Histogram;
using attnflow::histogram;
using attnflow::inner_product_histogram;
using attnflow::inner_products;
using attnflow::Tokens;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

Tokens<double> unit_tokens(Index d, Index n, std::uint64_t seed) {
  attnflow::Generator generator(seed);
  return attnflow::uniform_sphere(generator, n, d);
}

}  // namespace

TEST_CASE("inner products are those of the pairs", "[clustering]") {
  std::mt19937_64 generator(1);
  const Eigen::MatrixXd x = 3 * random(4, 7, generator);
  const auto raw = inner_products(x, {.normalize = false});
  const auto directions = inner_products(x);
  REQUIRE(raw.size() == 21);
  REQUIRE(directions.size() == 21);
  std::size_t at = 0;
  for (Index i = 0; i < 7; ++i)
    for (Index j = i + 1; j < 7; ++j, ++at) {
      const double product = x.col(i).dot(x.col(j));
      CHECK(raw[at] == Approx(product).epsilon(8 * epsilon).margin(16 * epsilon));
      CHECK(directions[at] == Approx(product / (x.col(i).norm() * x.col(j).norm())).margin(8 * epsilon));
    }
  const auto all = inner_products(x, {.normalize = false, .with_itself = true});
  CHECK(all.size() == 49);
  CHECK(std::accumulate(all.begin(), all.end(), 0.) == Approx(x.rowwise().sum().squaredNorm()));
  // Equal tokens have products of exactly one at most, and huge ones a direction.
  const Eigen::MatrixXd same = unit_tokens(7, 1, 4).replicate(1, 3);
  for (const double product : inner_products(same)) CHECK((product <= 1 && product > 1 - 4 * epsilon));
  const Eigen::MatrixXd huge = Eigen::MatrixXd::Constant(2, 2, 1.7e308);
  CHECK(inner_products(huge).at(0) == Approx(1).epsilon(4 * epsilon));
  CHECK(inner_products(Eigen::MatrixXd(3, 0)).empty());
  CHECK(inner_products(x.cast<float>()).at(3) == Approx(directions[3]).margin(1e-6));
}

TEST_CASE("histograms count every value once, edges included", "[clustering]") {
  const Histogram found = histogram(std::vector<double>{-2, 0, 0.5, 1, 1, 1.5, 2, 2.5, -1e300}, {0, 1, 2});
  CHECK(found.counts == std::vector<Index>{2, 4});
  CHECK(found.below == 2);
  CHECK(found.above == 1);
  CHECK(found.total() == 9);
  CHECK(found.density() == std::vector<double>{2. / 9, 4. / 9});
  CHECK(histogram({}, {0, 1}).density() == std::vector<double>{0});
  std::mt19937_64 generator(2);
  std::vector<double> values;
  for (int k = 0; k < 1000; ++k) values.push_back(2 * unit(generator) - 1);
  const std::vector<double> edges{-0.9, -0.5, -0.49, 0.2, 0.21, 0.8};
  const Histogram random_values = histogram(values, edges);
  for (std::size_t b = 0; b + 1 < edges.size(); ++b)
    CHECK(random_values.counts[b] == std::ranges::count_if(values, [&](double v) {
            return v >= edges[b] && (v < edges[b + 1] || (b + 2 == edges.size() && v == edges[b + 1]));
          }));
  CHECK(random_values.total() == 1000);
}

// By hand, from the definition of numpy.histogram_bin_edges(v, "fd").
TEST_CASE("bins of Freedman and Diaconis are NumPy's", "[clustering]") {
  const auto five = freedman_diaconis_edges({1, 2, 3, 4, 10});  // quartiles 2 and 4: width 4/∛5, 3.85 bins
  REQUIRE(five.size() == 5);
  for (std::size_t b = 0; b < 5; ++b)
    CHECK(five[b] == Approx(1 + 9. / 4 * static_cast<double>(b)).epsilon(2 * epsilon));
  std::vector<double> squares;
  for (int k = 0; k < 100; ++k) squares.push_back(k * k);
  // Quartiles 612.75 and 5513.25: width 2111.5…, 9801 / 2111.5 = 4.64.
  const auto found = freedman_diaconis_edges(squares);
  REQUIRE(found.size() == 6);
  CHECK(found.front() == 0);
  CHECK(found[1] == Approx(1960.2).epsilon(2 * epsilon));
  CHECK(found.back() == 9801);
  CHECK(freedman_diaconis_edges({3, 3}) == std::vector<double>{2.5, 3.5});
  CHECK(freedman_diaconis_edges({0, 1, 1, 1, 1, 1, 1, 1, 2}) == std::vector<double>{0, 2});
  CHECK(freedman_diaconis_edges(squares, 3).size() == 4);
  CHECK(freedman_diaconis_edges({7}) == std::vector<double>{6.5, 7.5});
  // Values a few ε apart: as many edges as there are numbers.
  CHECK(freedman_diaconis_edges({1, 1 + epsilon, 1 + 2 * epsilon, 1 + 2 * epsilon, 1 + 2 * epsilon}).size() <=
        3);
}

TEST_CASE("histograms of inner products are those of the list", "[clustering]") {
  for (const Index n : {2, 30}) {
    const auto x = unit_tokens(3, n, 5);
    const std::vector<double> edges{-1, -0.25, 0, 0.5, 0.999, 1};
    for (const bool with_itself : {false, true}) {
      const auto expected = histogram(inner_products(x, {.with_itself = with_itself}), edges);
      const auto found = inner_product_histogram(x, edges, {.with_itself = with_itself});
      CHECK(found.counts == expected.counts);
      CHECK(found.total() == (with_itself ? n * n : n * (n - 1) / 2));
    }
    // On S² products are uniform in [−1, 1]: 435 values that are pairwise independent, here within 5 deviations.
    const auto halves = inner_product_histogram(x, {-1, 0, 1});
    if (n == 30) CHECK(std::abs(static_cast<double>(halves.counts[0]) - 217.5) < 5 * std::sqrt(435. / 4));
    // The share of aligned pairs is that of the last bin, where no product is the edge.
    const auto found = inner_product_histogram(x, {-1, 0.3, 1});
    CHECK(static_cast<double>(found.counts[1]) / static_cast<double>(found.total()) ==
          Approx(attnflow::share_of_aligned_pairs(x, 0.3)).epsilon(4 * epsilon));
    const auto automatic = histogram(inner_products(x));
    CHECK(automatic.edges == freedman_diaconis_edges(inner_products(x)));
    CHECK(automatic.below + automatic.above == 0);
    double mass = 0;
    for (std::size_t b = 0; b < automatic.counts.size(); ++b)
      mass += automatic.density()[b] * (automatic.edges[b + 1] - automatic.edges[b]);
    CHECK(mass == Approx(1).epsilon(32 * epsilon));
  }
}

TEST_CASE("what has no histogram is refused in words", "[clustering]") {
  Eigen::MatrixXd x = Eigen::MatrixXd::Identity(2, 2);
  CHECK(refusal([&] { (void)histogram({}, {1}); }) == "histogram: there are 1 edges, expected at least 2");
  CHECK(refusal([&] {
          (void)inner_product_histogram(x, {0, 1, 1});
        }) == "inner_product_histogram: edges[2] is 1, expected finite numbers that increase");
  CHECK(refusal([&] {
          (void)histogram(std::vector<double>{std::nan("")}, {0, 1});
        }) == "histogram: values[0] is nan, expected a number");
  CHECK(refusal([&] { (void)freedman_diaconis_edges({}); }) ==
        "freedman_diaconis_edges: there are no values, expected at least one");
  CHECK(refusal([&] { (void)freedman_diaconis_edges({1}, 0); }) ==
        "freedman_diaconis_edges: most is 0, expected at least 1");
  CHECK(refusal([&] {
          (void)freedman_diaconis_edges({1, std::nan("")});
        }) == "freedman_diaconis_edges: values[1] is nan, expected a finite number");
  CHECK(refusal([&] {
          (void)freedman_diaconis_edges({-1e308, 1e308});
        }) == "freedman_diaconis_edges: values from -1e+308 to 1e+308 have no finite range");
  CHECK(refusal([&] {
          (void)inner_products((1e200 * x).eval(), {.normalize = false, .with_itself = true});
        }) == "inner_products: the product of tokens 0 and 0 is inf, expected a finite number");
  x.col(1).setZero();
  CHECK(refusal([&] { (void)inner_products(x); }) ==
        "inner_products: token 1 of x is at the origin, expected one with a direction");
  x(0, 0) = std::nan("");
  CHECK(refusal([&] {
          (void)inner_product_histogram(x, {0, 1});
        }) == "inner_product_histogram: token 0 of x is (nan   0), expected finite numbers");
}
