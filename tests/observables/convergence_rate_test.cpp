#include <attnflow/observables/runs/convergence_rate.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::fit_double_exponential_rate;
using attnflow::fit_exponential_rate;
using attnflow::log_complement;
using Eigen::Index;
using Indices = std::vector<Index>;
using Numbers = std::vector<double>;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double inf = std::numeric_limits<double>::infinity();

/// Least squares by the normal equations, in long double.
struct Line {
  long double slope, intercept, residual;

  Line(const Numbers& t, const Numbers& y) {
    long double n = 0, st = 0, sy = 0, stt = 0, sty = 0;
    for (std::size_t k = 0; k < t.size(); ++k) {
      const long double a = static_cast<long double>(t[k]), b = std::log(static_cast<long double>(y[k]));
      n += 1, st += a, sy += b, stt += a * a, sty += a * b;
    }
    slope = (n * sty - st * sy) / (n * stt - st * st);
    intercept = (sy - slope * st) / n;
    residual = 0;
    for (std::size_t k = 0; k < t.size(); ++k) {
      const long double off =
          std::log(static_cast<long double>(y[k])) - intercept - slope * static_cast<long double>(t[k]);
      residual += off * off / n;
    }
    residual = std::sqrt(residual);
  }
};

}  // namespace

TEST_CASE("an exact exponential gives its rate back", "[clustering]") {
  for (const double rate : {1., 0.05, -2., 0.})
    for (const double prefactor : {1., 1e-12, 1e12}) {
      Numbers times, errors;
      for (int k = 0; k < 30; ++k) {
        times.push_back(3 + 0.25 * k);
        errors.push_back(prefactor * std::exp(-rate * times.back()));
      }
      const auto fit = fit_exponential_rate(times, errors);
      REQUIRE(fit);
      CHECK(fit->rate == Approx(rate).margin(1e-13));
      CHECK(fit->prefactor == Approx(prefactor).epsilon(1e-11));
      CHECK(fit->points == 30);
      CHECK(fit->from == 3);
      CHECK(fit->to == 3 + 0.25 * 29);
      CHECK(fit->residual < 1e-13);
    }
}

TEST_CASE("a noisy exponential is fitted by least squares, in any order of the times", "[clustering]") {
  std::mt19937_64 generator(1);
  for (const std::size_t n : {3u, 4u, 50u}) {
    Numbers times, errors;
    for (std::size_t k = 0; k < n; ++k) {
      times.push_back(10 * unit(generator));
      errors.push_back(std::exp(1 - 0.7 * times.back() + unit(generator)));
    }
    const Line line(times, errors);
    const auto fit = fit_exponential_rate(times, errors);
    REQUIRE(fit);
    CHECK(fit->rate == Approx(static_cast<double>(-line.slope)).epsilon(1e-12));
    CHECK(fit->prefactor == Approx(static_cast<double>(std::exp(line.intercept))).epsilon(1e-12));
    CHECK(fit->residual == Approx(static_cast<double>(line.residual)).epsilon(1e-10));
  }
}

TEST_CASE("only what is in the window counts", "[clustering]") {
  Numbers times, errors;
  for (int k = 0; k <= 60; ++k) {
    const double t = 0.5 * k;
    times.push_back(t);
    errors.push_back(t < 5 ? 1. : t > 20 ? 1e-9 : std::exp(5 - t));  // a transient and a floor
  }
  errors[30] = 0;
  const auto fit = fit_exponential_rate(times, errors, {.low = 2e-6, .high = 0.99});
  REQUIRE(fit);
  CHECK(fit->rate == Approx(1).epsilon(1e-13));
  CHECK(fit->from == 5.5);
  CHECK(fit->to == 18);
  CHECK(fit->points == 25);
  CHECK(std::abs(fit_exponential_rate(times, errors)->rate - 1) > 0.05);
  // The bounds themselves are outside.
  CHECK_FALSE(fit_exponential_rate(Numbers{0, 1, 2}, Numbers{4, 2, 1}, {.low = 1, .high = 8}));
  CHECK_FALSE(fit_exponential_rate(Numbers{0, 1, 2}, Numbers{4, 2, 1}, {.low = 0.5, .high = 4}));
  CHECK(fit_exponential_rate(Numbers{0, 1, 2}, Numbers{4, 2, 1}, {.low = 0.5, .high = 5})->rate ==
        Approx(std::log(2.)));
}

TEST_CASE("too few points give no rate", "[clustering]") {
  CHECK_FALSE(fit_exponential_rate(Numbers{}, Numbers{}));
  CHECK_FALSE(fit_exponential_rate(Numbers{1, 2}, Numbers{1, 2}));
  CHECK_FALSE(fit_exponential_rate(Numbers{1, 2, 3}, Numbers{1, 0, 2}));
  CHECK_FALSE(fit_exponential_rate(Numbers{1, 1, 1}, Numbers{1, 2, 3}));
  CHECK_FALSE(fit_exponential_rate(Numbers{0, 0, 5e-324}, Numbers{1, 2, 3}));
}

TEST_CASE("times of any size", "[clustering]") {
  const double huge = std::numeric_limits<double>::max();
  const auto far = fit_exponential_rate(Numbers{-huge, 0, huge}, Numbers{4, 2, 1});
  REQUIRE(far);
  CHECK(far->rate * huge == Approx(std::log(2.)));
  CHECK(far->prefactor == Approx(2));
  const auto near = fit_exponential_rate(Numbers{0, 1e-300, 2e-300}, Numbers{4, 2, 1});
  REQUIRE(near);
  CHECK(near->rate * 1e-300 == Approx(std::log(2.)));
  // At t = 0 the line is beyond the range.
  CHECK(fit_exponential_rate(Numbers{1e6, 1e6 + 1, 1e6 + 2}, Numbers{4, 2, 1})->prefactor == inf);
  CHECK(fit_exponential_rate(Numbers{1e6, 1e6 + 1, 1e6 + 2}, Numbers{1, 2, 4})->prefactor == 0);
}

TEST_CASE("a double exponential gives its rate back", "[clustering]") {
  for (const double rate : {1., 2.}) {
    Numbers times, p;
    for (int k = 0; k < 80; ++k) {
      times.push_back(0.1 * k);
      p.push_back(0.5 * std::exp(rate * times.back()));
    }
    p.back() = inf;
    const auto fit = fit_double_exponential_rate(times, p);
    REQUIRE(fit);
    CHECK(fit->rate == Approx(rate).epsilon(1e-12));
    CHECK(fit->prefactor == Approx(0.5).epsilon(1e-11));
    CHECK(0.5 * std::exp(rate * fit->from) > 10);
    CHECK(0.5 * std::exp(rate * fit->to) < 700);
    CHECK(0.5 * std::exp(rate * (fit->from - 0.1)) <= 10);
    CHECK(fit_double_exponential_rate(times, p, {.low = 0, .high = inf})->points == 79);
  }
}

TEST_CASE("the complement of the leader's weight keeps its digits", "[clustering]") {
  std::mt19937_64 generator(2);
  for (const Index n : {2, 3, 10}) {
    Eigen::MatrixXd log_P(n, n);
    Indices leaders;
    for (Index i = 0; i < n; ++i) {
      const Index leader = (2 * i) % n;
      leaders.push_back(leader);
      // Scores of the others, and then a row of weights in long double.
      for (Index j = 0; j < n; ++j)
        log_P(i, j) = j == leader ? 0 : -50 * static_cast<double>(i) - 3 * unit(generator);
      long double sum = 0;
      for (Index j = 0; j < n; ++j) sum += std::exp(static_cast<long double>(log_P(i, j)));
      for (Index j = 0; j < n; ++j)
        log_P(i, j) = static_cast<double>(static_cast<long double>(log_P(i, j)) - std::log(sum));
    }
    const Eigen::VectorXd p = log_complement(log_P, leaders);
    for (Index i = 0; i < n; ++i) {
      long double others = 0;
      for (Index j = 0; j < n; ++j)
        if (j != leaders[static_cast<std::size_t>(i)])
          others += std::exp(static_cast<long double>(log_P(i, j)));
      const double expected = static_cast<double>(-std::log(others));
      CHECK(std::abs(p(i) - expected) <= 4 * epsilon * (static_cast<double>(n) + expected));
      if (i == 0) CHECK(std::exp(-p(i)) == Approx(1 - std::exp(log_P(i, leaders[0]))));
    }
  }
  // Weights far below the smallest number.
  const Eigen::MatrixXd deep = (Eigen::MatrixXd(1, 3) << 0, -5000, -5000).finished();
  CHECK(log_complement(deep, Indices{0})(0) == Approx(5000 - std::log(2.)).epsilon(4 * epsilon));
  CHECK(log_complement(deep.cast<float>(), Indices{0})(0) == Approx(5000 - std::log(2.)).epsilon(1e-6));
}

TEST_CASE("a leader's cluster is left out as a whole", "[clustering]") {
  const double half = std::log(0.5), small = -30;
  const Eigen::MatrixXd log_P =
      (Eigen::MatrixXd(2, 4) << half, small, half, small, small, 0, -inf, -inf).finished();
  const Eigen::VectorXd own = log_complement(log_P, Indices{0, 1});
  CHECK(own(0) == Approx(-half));
  CHECK(own(1) == 30);
  const Eigen::VectorXd merged = log_complement(log_P, Indices{2, 1}, Indices{3, 0, 3, 1});
  CHECK(merged(0) == Approx(30 - std::log(2.)));
  CHECK(merged(1) == 30);
  CHECK(log_complement(log_P, Indices{0, 1}, Indices{0, 0, 0, 0}) == Eigen::Vector2d(inf, inf));
}

TEST_CASE("complements without others", "[clustering]") {
  CHECK(log_complement(Eigen::MatrixXd(0, 0), Indices{}).size() == 0);
  CHECK(log_complement(Eigen::MatrixXd::Zero(1, 1), Indices{0})(0) == inf);
  CHECK(log_complement((Eigen::MatrixXd(1, 2) << 0, -inf).finished(), Indices{0})(0) == inf);
  CHECK(log_complement((Eigen::MatrixXd(1, 2) << -inf, 1e-16).finished(), Indices{0})(0) == 0);
}

TEST_CASE("what has no rate is refused in words", "[clustering]") {
  const double nan = std::nan("");
  const Numbers t{0, 1, 2};
  CHECK(refusal([&] {
          (void)fit_exponential_rate(t, Numbers{1, 2});
        }) == "fit_exponential_rate: there are 2 errors, expected 3, one for each time");
  CHECK(refusal([&] {
          (void)fit_exponential_rate(t, Numbers{1, -2, 3});
        }) == "fit_exponential_rate: errors[1] is -2, expected a finite number, at least 0");
  CHECK(refusal([&] {
          (void)fit_exponential_rate(t, Numbers{1, 2, inf});
        }) == "fit_exponential_rate: errors[2] is inf, expected a finite number, at least 0");
  CHECK(refusal([&] {
          (void)fit_exponential_rate(Numbers{0, nan, 2}, t);
        }) == "fit_exponential_rate: times[1] is nan, expected a finite number");
  CHECK(refusal([&] { (void)fit_exponential_rate(t, t, {.low = -1, .high = 2}); }) ==
        "fit_exponential_rate: window.low is -1, expected at least 0");
  CHECK(refusal([&] { (void)fit_double_exponential_rate(t, t, {.low = 1, .high = 1}); }) ==
        "fit_double_exponential_rate: window.high is 1, expected more than window.low = 1");
  CHECK(refusal([&] {
          (void)fit_double_exponential_rate(t, Numbers{1, nan, 2});
        }) == "fit_double_exponential_rate: minus_log_gap[1] is nan, expected a number, at least 0");
  const Eigen::MatrixXd log_P = (Eigen::MatrixXd(2, 2) << 0, -1, -1, 0.5).finished();
  CHECK(refusal([&] { (void)log_complement(log_P, Indices{0}); }) ==
        "log_complement: there are 1 leaders, expected 2, as log_P has rows");
  CHECK(refusal([&] {
          (void)log_complement(log_P, Indices{0, 2});
        }) == "log_complement: leaders[1] is 2, expected a column from 0 to 1");
  CHECK(refusal([&] {
          (void)log_complement(log_P, Indices{0, 1});
        }) == "log_complement: log_P(1, 1) is 0.5, expected at most 0");
  CHECK(refusal([&] {
          (void)log_complement(log_P, Indices{0, 1}, Indices{0});
        }) == "log_complement: there are 1 labels, expected 2, as log_P has columns");
}
