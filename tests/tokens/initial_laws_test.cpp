#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using attnflow::Tokens;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// Yields the same integer for ever, and counts how often.
struct Stuck {
  using result_type = std::uint64_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  result_type operator()() {
    ++calls;
    return value;
  }
  result_type value = 0;
  int calls = 0;
};

/// Kolmogorov's distance between a sample and a continuous distribution function.
template <class Distribution>
double kolmogorov(std::vector<double> sample, const Distribution& distribution) {
  std::ranges::sort(sample);
  const auto n = static_cast<double>(sample.size());
  double distance = 0, rank = 0;
  for (const double value : sample) {
    const double expected = distribution(value);
    distance = std::max({distance, expected - rank / n, (rank + 1) / n - expected});
    ++rank;
  }
  return distance;
}

/// By Dvoretzky, Kiefer, Wolfowitz and Massart exceeded with probability 1e-6 at most.
double kolmogorov_bound(std::size_t n) { return std::sqrt(std::log(2e6) / (2 * static_cast<double>(n))); }

std::vector<double> coordinates(const Tokens<double>& x, Index k) {
  std::vector<double> values;
  for (Index i = 0; i < x.cols(); ++i) values.push_back(x(k, i));
  return values;
}

double units_apart(double a, double b) {
  return std::abs(a - b) /
         (std::nextafter(std::abs(b), std::numeric_limits<double>::infinity()) - std::abs(b));
}

}  // namespace

TEST_CASE("the generator yields the integers of the standard", "[tokens]") {
  attnflow::Generator first;
  CHECK(first() == 14514284786278117030u);
  first.discard(9998);
  CHECK(first() == 9981545732273789042u);
  attnflow::Generator seeded(2024);
  const std::vector<std::uint64_t> expected = {11302035004393361974u, 14659923886798723969u,
                                               4900509279141520181u, 6166694541703810714u};
  for (const std::uint64_t integer : expected) CHECK(seeded() == integer);
}

// Golden values of seed 2024, from an independent Mersenne twister in integers of any size. Uniform ones
// by rational arithmetic rounded once, normal ones with logarithms and cosines of 120 digits, each rounded.
TEST_CASE("uniform draws have the same bits everywhere", "[tokens]") {
  attnflow::Generator generator(2024);
  const Tokens<double> x = attnflow::uniform_box(generator, 3, 2, -3, 5);
  REQUIRE(x.rows() == 2);
  REQUIRE(x.cols() == 3);
  CHECK(x(0, 0) == 0x1.e6c727a55f2c8p+0);
  CHECK(x(1, 0) == 0x1.adca0c69eb9b6p+1);
  CHECK(x(0, 1) == -0x1.bfde4c64e43a0p-1);
  CHECK(x(1, 1) == -0x1.4d6fff946cef0p-2);
  CHECK(x(0, 2) == -0x1.79a8338652012p+1);
  CHECK(x(1, 2) == -0x1.e0db65c21b558p+0);

  generator.seed(2024);
  const Tokens<double, 1> fused = attnflow::uniform_box<double, 1>(generator, 4, 1, 0.1, 0.7);
  CHECK(fused(0) == 0x1.ded558b19c8d5p-2);
  CHECK(fused(1) == 0x1.275636ec937b6p-1);
  CHECK(fused(2) == 0x1.099ea7bdaa90ep-2);
  CHECK(fused(3) == 0x1.33caccd4de3aep-2);
}

TEST_CASE("normal draws agree with their formula to four units", "[tokens]") {
  const std::vector<double> normal = {0.3819019681583157,  -0.3970387452746018, 0.07094661391464958,
                                      -2.1438465062728236, -0.712411255404775,  -1.0340180097685365};
  const std::vector<double> directions = {0.6875568543846372, -0.7148083370354957, 0.127728670600033,
                                          -0.862884273304385, -0.2867408961486463, -0.4161855227657912};
  attnflow::Generator generator(2024);
  const Tokens<double, 3> x = attnflow::gaussian<double, 3>(generator, 2, 3);
  generator.seed(2024);
  const Tokens<double> scaled = attnflow::gaussian(generator, 2, 3, 4.0);
  generator.seed(2024);
  const Tokens<double, 3> unit = attnflow::uniform_sphere<double, 3>(generator, 2, 3);
  for (Index i = 0; i < 2; ++i)
    for (Index k = 0; k < 3; ++k) {
      const auto at = static_cast<std::size_t>(3 * i + k);
      CHECK(units_apart(x(k, i), normal[at]) <= 4);
      CHECK(scaled(k, i) == 4 * x(k, i));
      CHECK(units_apart(unit(k, i), directions[at]) <= 4);
    }
}

TEST_CASE("float draws are the double ones, rounded", "[tokens]") {
  const auto rounded = [](const auto& draw) {
    attnflow::Generator one(7), two(7);
    const Tokens<double> exact = draw(one, double{});
    const Tokens<float> coarse = draw(two, float{});
    return coarse == exact.cast<float>() && one == two;
  };
  CHECK(rounded([](auto& g, auto s) { return attnflow::uniform_box<decltype(s)>(g, 50, 3, -0.3, 0.9); }));
  CHECK(rounded([](auto& g, auto s) { return attnflow::gaussian<decltype(s)>(g, 50, 3, 0.7); }));
  CHECK(rounded([](auto& g, auto s) { return attnflow::uniform_sphere<decltype(s)>(g, 50, 3); }));
}

TEST_CASE("a smaller draw is the beginning of a larger one", "[tokens]") {
  const auto begins = [](const auto& draw, int per_coordinate) {
    attnflow::Generator few(3), many(3), stream(3);
    const Tokens<double> small = draw(few, 5), large = draw(many, 9);
    stream.discard(static_cast<unsigned long long>(5 * 3 * per_coordinate));
    return small == large.leftCols(5) && few == stream;
  };
  CHECK(begins([](auto& g, Index n) { return attnflow::uniform_box(g, n, 3, 0, 1); }, 1));
  CHECK(begins([](auto& g, Index n) { return attnflow::gaussian(g, n, 3); }, 2));
  CHECK(begins([](auto& g, Index n) { return attnflow::uniform_sphere(g, n, 3); }, 2));
}

TEST_CASE("the extreme integers give extreme tokens and no others", "[tokens]") {
  Stuck zeros{.value = 0}, ones{.value = Stuck::max()};
  CHECK(attnflow::uniform_box(zeros, 1, 1, 0.1, 0.7)(0) == 0.1);
  const double top = attnflow::uniform_box(ones, 1, 1, 0.1, 0.7)(0);
  CHECK(top <= 0.7);
  CHECK(top >= 0.7 - 2 * epsilon);
  CHECK(attnflow::uniform_box(ones, 1, 1, 0.5, 0.5)(0) == 0.5);
  CHECK(zeros.calls == 1);

  CHECK(attnflow::gaussian(zeros, 2, 2).isZero(0));                          // u = 1 has logarithm 0
  CHECK(attnflow::gaussian(ones, 1, 1)(0) == Approx(8.5717).epsilon(1e-4));  // u = 2⁻⁵³
  CHECK(attnflow::uniform_sphere(zeros, 2, 3) == Tokens<double>::Identity(3, 1).replicate(1, 2));
  CHECK(attnflow::uniform_sphere(ones, 1, 4).isApprox(Tokens<double>::Constant(4, 1, 0.5)));

  const double huge = std::numeric_limits<double>::max();
  Stuck half{.value = std::uint64_t{1} << 63};
  CHECK(attnflow::uniform_box(half, 1, 1, -huge / 2, huge / 2)(0) == 0);
  CHECK(std::isfinite(attnflow::gaussian(ones, 1, 1, huge / 16)(0)));
  const float largest = std::numeric_limits<float>::max();
  CHECK(std::isfinite(attnflow::gaussian<float>(ones, 1, 1, static_cast<double>(largest) / 16)(0)));
  CHECK(std::isfinite(attnflow::uniform_box<float>(ones, 1, 1, -static_cast<double>(largest),
                                                   static_cast<double>(largest))(0)));
}

TEST_CASE("uniform_box is uniform", "[tokens]") {
  attnflow::Generator generator(11);
  const Index n = 20000;
  const Tokens<double> x = attnflow::uniform_box(generator, n, 2, -2, 3);
  for (Index k = 0; k < 2; ++k)
    CHECK(kolmogorov(coordinates(x, k), [](double v) { return (v + 2) / 5; }) < kolmogorov_bound(20000));
  // The standard error of the covariance is (25/12)/√n.
  const auto centred = (x.colwise() - x.rowwise().mean()).eval();
  CHECK(std::abs(centred.row(0).dot(centred.row(1))) / n < 5 * (25. / 12) / std::sqrt(n));
}

TEST_CASE("gaussian has the normal distribution, coordinate by coordinate", "[tokens]") {
  attnflow::Generator generator(12);
  const Index n = 20000;
  const Tokens<double> x = attnflow::gaussian(generator, n, 3, 2);
  const auto normal = [](double v) { return std::erfc(-v / (2 * std::sqrt(2.))) / 2; };
  for (Index k = 0; k < 3; ++k) {
    CHECK(kolmogorov(coordinates(x, k), normal) < kolmogorov_bound(20000));
    CHECK(std::abs(x.row(k).squaredNorm() / (4 * n) - 1) < 5 * std::sqrt(2. / n));
    CHECK(std::abs(x.row(k).dot(x.row((k + 1) % 3))) / (4 * n) < 5 / std::sqrt(n));
    // Neighbours in the stream, too.
    const auto squares = x.row(k).array().square().eval();
    const auto other = x.row((k + 1) % 3).array().square().eval();
    CHECK(std::abs((squares / 4 - 1).matrix().dot((other / 4 - 1).matrix())) / n < 5 * 2 / std::sqrt(n));
  }
}

TEST_CASE("uniform_sphere is uniform on the sphere", "[tokens]") {
  attnflow::Generator generator(13);
  const Index n = 20000;
  const Tokens<double> x = attnflow::uniform_sphere(generator, n, 3);
  CHECK((x.colwise().norm().array() - 1).abs().maxCoeff() < 4 * epsilon);
  // Archimedes: in three dimensions each coordinate is uniform on [−1, 1].
  for (Index k = 0; k < 3; ++k)
    CHECK(kolmogorov(coordinates(x, k), [](double v) { return (v + 1) / 2; }) < kolmogorov_bound(20000));
  const Tokens<double> circle = attnflow::uniform_sphere(generator, n, 2);
  std::vector<double> angles;
  for (Index i = 0; i < n; ++i) angles.push_back(std::atan2(circle(1, i), circle(0, i)));
  const double pi = std::acos(-1.);
  CHECK(kolmogorov(angles, [&](double a) { return (a + pi) / (2 * pi); }) < kolmogorov_bound(20000));

  const Tokens<double> line = attnflow::uniform_sphere(generator, n, 1);
  CHECK((line.array().abs() == 1).all());
  CHECK(std::abs(line.mean()) < 5 / std::sqrt(n));
  const Tokens<double> high = attnflow::uniform_sphere(generator, 3, 1000);
  CHECK((high.colwise().norm().array() - 1).abs().maxCoeff() < 1000 * epsilon);
  const Tokens<float, 3> coarse = attnflow::uniform_sphere<float, 3>(generator, 100, 3);
  CHECK((coarse.colwise().norm().array() - 1).abs().maxCoeff() < 3 * std::numeric_limits<float>::epsilon());
}

TEST_CASE("equiangular tokens have the Gram matrix asked for", "[tokens]") {
  const auto gram = [](Index n, double c) {
    return (Eigen::MatrixXd::Identity(n, n) * (1 - c) + Eigen::MatrixXd::Constant(n, n, c)).eval();
  };
  const auto error = [&](const auto& x, Index n, double c) {
    const Eigen::MatrixXd y = x.template cast<double>();
    return (y.transpose() * y - gram(n, c)).cwiseAbs().maxCoeff();
  };
  for (const Index n : {1, 2, 3, 7, 40})
    for (const double c : {0.0, 0.3, 0.99, 1.0, -0.02}) {
      CHECK(error(attnflow::equiangular(n, n, c), n, c) < 4 * static_cast<double>(n) * epsilon);
      CHECK(error(attnflow::equiangular(n, n + 2, c), n, c) < 4 * static_cast<double>(n) * epsilon);
    }
  for (const Index n : {2, 3, 4, 10, 49, 300}) {  // the regular simplex
    const double c = -1 / static_cast<double>(n - 1);
    const Tokens<double> x = attnflow::equiangular(n, n - 1, c);
    REQUIRE(x.rows() == n - 1);
    CHECK(error(x, n, c) < 4 * static_cast<double>(n) * epsilon);
    CHECK(error(attnflow::equiangular(n, n, c), n, c) < 4 * static_cast<double>(n) * epsilon);
  }
  CHECK(attnflow::equiangular(5, 1, 1) == Tokens<double>::Ones(1, 5));
  CHECK(attnflow::equiangular(1, 2, -1).col(0) == Eigen::Vector2d::UnitX());
  const Tokens<float, 3> coarse = attnflow::equiangular<float, 3>(3, 3, 0.5);
  CHECK(error(coarse, 3, 0.5) < 8 * static_cast<double>(std::numeric_limits<float>::epsilon()));
}

TEST_CASE("tokens_from_rows writes one token a row", "[tokens]") {
  const auto x = attnflow::tokens_from_rows({{0, 1}, {2, 3}, {4, 5}});
  static_assert(std::is_same_v<decltype(x), const Tokens<double>>);
  CHECK(x == (Tokens<double>(2, 3) << 0, 2, 4, 1, 3, 5).finished());
  const auto fixed = attnflow::tokens_from_rows<float, 2>({{0.5f, 1}, {2, 3}});
  static_assert(std::is_same_v<decltype(fixed), const Tokens<float, 2>>);
  CHECK(fixed(0, 0) == 0.5f);
  CHECK(fixed(0, 1) == 2.f);
  const auto line = attnflow::tokens_from_rows<double, 1>({{3}, {4}});
  CHECK(line.rows() == 1);
  CHECK(line(0, 1) == 4);
  CHECK(attnflow::tokens_from_rows({}).cols() == 0);
  CHECK(attnflow::tokens_from_rows<double, 3>({}).rows() == 3);
}

TEST_CASE("no tokens at all are a start", "[tokens]") {
  attnflow::Generator generator, untouched;
  CHECK(attnflow::uniform_box(generator, 0, 2, 0, 1).cols() == 0);
  CHECK(attnflow::gaussian<double, 3>(generator, 0, 3).cols() == 0);
  CHECK(attnflow::uniform_sphere<float>(generator, 0, 5).rows() == 5);
  CHECK(attnflow::equiangular(0, 1, -1).cols() == 0);
  CHECK(generator == untouched);
}

TEST_CASE("only generators of 64 bits are accepted", "[tokens]") {
  STATIC_REQUIRE(attnflow::BitGenerator64<attnflow::Generator>);
  STATIC_REQUIRE(attnflow::BitGenerator64<Stuck>);
  STATIC_REQUIRE_FALSE(attnflow::BitGenerator64<std::mt19937>);
  STATIC_REQUIRE_FALSE(attnflow::BitGenerator64<std::minstd_rand>);
}

TEST_CASE("a start that cannot be is refused in words", "[tokens]") {
  attnflow::Generator g;
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  using namespace attnflow;
  CHECK(refusal([&] { (void)uniform_box(g, -1, 2, 0, 1); }) == "uniform_box: n is -1, expected at least 0");
  CHECK(refusal([&] { (void)uniform_box(g, 3, 0, 0, 1); }) == "uniform_box: d is 0, expected at least 1");
  CHECK(refusal([&] { (void)uniform_box<double, 2>(g, 3, 3, 0, 1); }) ==
        "uniform_box: d is 3, expected 2, the dimension of the type");
  CHECK(refusal([&] { (void)uniform_box(g, 3, 1, nan, 1); }) ==
        "uniform_box: low is nan, expected a finite number");
  CHECK(refusal([&] { (void)uniform_box(g, 3, 1, 0, inf); }) ==
        "uniform_box: high is inf, expected a finite number");
  CHECK(refusal([&] { (void)uniform_box<float>(g, 3, 1, 0, 1e39); }) ==
        "uniform_box: high is 1e+39, expected a finite number");
  CHECK(refusal([&] { (void)uniform_box(g, 3, 1, 2, 1); }) ==
        "uniform_box: high is 1, expected at least low = 2");
  CHECK(refusal([&] { (void)uniform_box(g, 3, 1, -1e308, 1e308); }) ==
        "uniform_box: high - low is inf, expected a finite width, from low = -1e+308 to high = 1e+308");
  CHECK(refusal([&] {
          (void)gaussian(g, 3, 1, -1);
        }).starts_with("gaussian: sigma is -1, expected a number from 0 to "));
  CHECK(refusal([&] { (void)gaussian(g, 3, 1, nan); }).starts_with("gaussian: sigma is nan, expected"));
  CHECK(refusal([&] { (void)gaussian(g, 3, 1, inf); }).starts_with("gaussian: sigma is inf, expected"));
  CHECK(refusal([&] {
          (void)gaussian<float>(g, 3, 1, 1e38);
        }).starts_with("gaussian: sigma is 1e+38, expected"));
  CHECK(refusal([&] { (void)gaussian(g, -2, 1); }) == "gaussian: n is -2, expected at least 0");
  CHECK(refusal([&] { (void)uniform_sphere(g, 2, 0); }) == "uniform_sphere: d is 0, expected at least 1");
  CHECK(refusal([&] { (void)equiangular(4, 4, -0.34); }) ==
        "equiangular: inner_product is -0.34, expected a number from -0.333333 = -1/(n-1) to 1");
  CHECK(refusal([&] { (void)equiangular(4, 4, 1.01); }) ==
        "equiangular: inner_product is 1.01, expected a number from -0.333333 = -1/(n-1) to 1");
  CHECK(refusal([&] { (void)equiangular(1, 4, nan); }) ==
        "equiangular: inner_product is nan, expected a number from -1 to 1");
  CHECK(refusal([&] { (void)equiangular(4, 3, 0.5); }) ==
        "equiangular: d is 3, expected at least 4 for n = 4 tokens with inner products 0.5");
  CHECK(refusal([&] { (void)equiangular(4, 2, -1. / 3); }) ==
        "equiangular: d is 2, expected at least 3 for n = 4 tokens with inner products -0.333333");
  CHECK(refusal([&] {
          (void)tokens_from_rows({{1, 2}, {3}});
        }) == "tokens_from_rows: row 1 has 1 numbers, expected 2");
  CHECK(refusal([&] {
          (void)tokens_from_rows<double, 3>({{1, 2}});
        }) == "tokens_from_rows: row 0 has 2 numbers, expected 3");
  CHECK(refusal([&] {
          (void)tokens_from_rows({{}, {}});
        }) == "tokens_from_rows: row 0 has 0 numbers, expected at least 1");
  CHECK(refusal([&] {
          (void)tokens_from_rows({{1, 2}, {3, nan}});
        }) == "tokens_from_rows: number 1 of row 1 is nan, expected a finite number");
}
