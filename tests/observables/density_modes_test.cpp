#include <attnflow/observables/tokens/density_modes.hpp>
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

using attnflow::circle_density_modes;
using attnflow::line_density_modes;
using Eigen::Index;
using Eigen::RowVectorXd;

constexpr double pi = std::numbers::pi;

/// Local maxima of log g on a grid, in long double and with a largest term taken out, by looking at neighbours.
template <class Exponent>
std::vector<double> on_grid(const RowVectorXd& x, double from, double to, int count, bool closed,
                            const Exponent& exponent) {
  std::vector<long double> g;
  const auto place = [&](int k) { return from + (to - from) * k / count; };
  for (int k = 0; k < count; ++k) {
    long double top = -1e4000L, sum = 0;
    for (const double point : x) top = std::max(top, exponent(point, place(k)));
    for (const double point : x) sum += std::exp(exponent(point, place(k)) - top);
    g.push_back(top + std::log(sum));
  }
  std::vector<double> found;
  const auto at = [&](int k) { return g[static_cast<std::size_t>((k + count) % count)]; };
  for (int k = 0; k < count; ++k)
    if ((closed || (k > 0 && k + 1 < count)) && at(k) > at(k - 1) && at(k) > at(k + 1))
      found.push_back(place(k));
  return found;
}

std::vector<double> circle_grid(const RowVectorXd& x, double beta, int count) {
  return on_grid(x, 0, 2 * pi, count, true, [beta](double point, double y) {
    const long double half = std::sin((static_cast<long double>(y) - static_cast<long double>(point)) / 2);
    return -2 * static_cast<long double>(beta) * half * half;
  });
}
std::vector<double> line_grid(const RowVectorXd& x, double beta, int count) {
  const double reach = 2 / std::sqrt(beta);
  return on_grid(x, x.minCoeff() - reach, x.maxCoeff() + reach, count, false, [beta](double point, double y) {
    const long double off = static_cast<long double>(y) - static_cast<long double>(point);
    return -static_cast<long double>(beta) * off * off / 2;
  });
}

void compare(const std::vector<double>& found, const std::vector<double>& expected, double step) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t m = 0; m < found.size(); ++m) CHECK(std::abs(found[m] - expected[m]) <= step);
}

}  // namespace

TEST_CASE("modes are the maxima on a fine grid", "[clustering]") {
  std::mt19937_64 generator(1);
  for (const Index n : {1, 2, 5, 40})
    for (const double beta : {0.3, 2., 20., 500.})
      for (int draw = 0; draw < 3; ++draw) {
        const RowVectorXd x = pi * random(1, n, generator), turned = x.array() + 40 * pi;
        const int count = 3000;
        auto expected = circle_grid(x, beta, count);
        if (expected.size() > 1 && expected.front() == 0)
          std::rotate(expected.begin(), expected.begin() + 1, expected.end());
        compare(circle_density_modes(x, beta), expected, 2 * pi / count);
        compare(circle_density_modes(turned.transpose(), beta), expected, 2 * pi / count);
        const double step = (x.maxCoeff() - x.minCoeff() + 4 / std::sqrt(beta)) / count;
        compare(line_density_modes(x, beta), line_grid(x, beta, count), step);
      }
}

TEST_CASE("two tokens have two modes beyond the exact distance", "[clustering]") {
  for (const double beta : {0.5, 3., 100., 1e8}) {
    // On the line at ±a: g″(0) = 2 e^{−βa²/2} (β² a² − β), two modes for a > β^{−1/2}.
    // On the circle β sin² a > cos a.
    const double line = 1 / std::sqrt(beta),
                 circle = std::acos(2 * beta / (1 + std::sqrt(1 + 4 * beta * beta)));
    for (const double off : {-1e-2, -1e-4, -1e-7, 1e-7, 1e-4, 1e-2}) {
      const double a = line * (1 + off);
      const auto modes = line_density_modes(RowVectorXd{{3 - a, 3 + a}}, beta);
      REQUIRE(modes.size() == (off > 0 ? 2 : 1));
      // Where βm tanh… : m = a tanh(β a m), which is a √(6 off) near the threshold.
      if (off > 0) CHECK(modes[1] - modes[0] == Approx(2 * line * std::sqrt(6 * off)).epsilon(0.05));
      if (beta > 1e6) continue;  // acos above has lost what is asked for here
      const double b = circle * (1 + off);
      CHECK(circle_density_modes(RowVectorXd{{1 - b, 1 + b}}, beta).size() == (off > 0 ? 2 : 1));
      CHECK(circle_density_modes(RowVectorXd{{-b, b}}, beta).size() == (off > 0 ? 2 : 1));
    }
  }
}

TEST_CASE("separate tokens, equal tokens and many tokens", "[clustering]") {
  // Separate ones are modes, wherever they are: 6.2 and 0.1 are 0.183 apart, 5.8 β^{−1/2}, e^{−16.8} = 5·10⁻⁸.
  const RowVectorXd apart{{0.1, 0.5, 1, 4, 6.2}};
  const auto circle = circle_density_modes(apart, 1000);
  REQUIRE(circle.size() == 5);
  for (std::size_t m = 0; m < 5; ++m) CHECK(circle[m] == Approx(apart(static_cast<Index>(m))).margin(1e-7));
  const auto line = line_density_modes((RowVectorXd{{-1e6, 0, 1e-3, 1e6}}), 1e10);
  REQUIRE(line.size() == 4);
  CHECK(line[2] == Approx(1e-3).epsilon(1e-12));
  CHECK(line_density_modes((RowVectorXd{{0, 1}}), 1e100) == std::vector<double>{0, 1});
  CHECK(circle_density_modes(RowVectorXd::Constant(7, 2.), 3).at(0) == Approx(2).epsilon(1e-15));
  CHECK(circle_density_modes(RowVectorXd::Constant(7, 2.), 3).size() == 1);
  CHECK(circle_density_modes(RowVectorXd{{-1e-300}}, 1e4).size() == 1);
  CHECK(circle_density_modes(RowVectorXd(), 3).empty());
  // k equally spaced: the k-th mode of e^{β cos} alone, however small, unless it is below rounding.
  for (const int k : {2, 3, 6, 240})
    for (const double beta : {0.5, 1., 5., 30.}) {
      RowVectorXd x(k);
      for (int j = 0; j < k; ++j) x(j) = 0.1 + 2 * pi * j / k;
      const auto modes = circle_density_modes(x, beta);
      if (k == 240) CHECK(modes.empty());
      if (k <= 3 || (k == 6 && beta > 4)) CHECK(modes.size() == static_cast<std::size_t>(k));
      for (std::size_t m = 0; m < modes.size() && k <= 6; ++m)
        CHECK(modes[m] == Approx(x(static_cast<Index>(m))).margin(1e-6));
    }
  // Few of many: the clusters, not the tokens.
  attnflow::Generator generator(3);
  RowVectorXd clouds = 0.02 * attnflow::gaussian(generator, 1, 3000).transpose();
  for (Index j = 0; j < 3000; ++j) clouds(j) += static_cast<double>(j % 4);
  CHECK(line_density_modes(clouds, 100).size() == 4);
  CHECK(circle_density_modes(clouds, 100).size() == 4);
}

TEST_CASE("what has no modes is refused in words", "[clustering]") {
  CHECK(refusal([] { (void)circle_density_modes(RowVectorXd::Zero(2), 0); }) ==
        "circle_density_modes: beta is 0, expected a positive finite number");
  CHECK(refusal([] { (void)line_density_modes(RowVectorXd::Zero(2), std::nan("")); }) ==
        "line_density_modes: beta is nan, expected a positive finite number");
  CHECK(refusal([] { (void)line_density_modes(RowVectorXd::Constant(2, std::nan("")), 1); }) ==
        "line_density_modes: point 0 is nan, expected a finite number");
}
