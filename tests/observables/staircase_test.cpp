#include <attnflow/observables/attention/sphere_energy.hpp>
#include <attnflow/observables/runs/staircase.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::find_plateaus;
using attnflow::merge_increment;
using attnflow::Plateau;
using attnflow::plateau_energy;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// Levels one after the other, `length` times each, with slow logistic steps between.
struct Stairs {
  std::vector<double> times, values;
  Stairs(const std::vector<double>& levels, std::size_t length, double width) {
    const std::size_t count = length * levels.size();
    for (std::size_t k = 0; k < count; ++k) {
      const auto t = static_cast<double>(k);
      double value = levels[0];
      for (std::size_t s = 1; s < levels.size(); ++s)
        value += (levels[s] - levels[s - 1]) / (1 + std::exp((static_cast<double>(s * length) - t) / width));
      times.push_back(t);
      values.push_back(value);
    }
  }
};

/// The longest window by trying all of them.
double longest(const std::vector<double>& times, const std::vector<double>& values, double tolerance) {
  double most = 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    double least = values[i], largest = values[i];
    for (std::size_t j = i; j < times.size(); ++j) {
      least = std::min(least, values[j]);
      largest = std::max(largest, values[j]);
      if (largest - least <= tolerance) most = std::max(most, times[j] - times[i]);
    }
  }
  return most;
}

}  // namespace

TEST_CASE("plateau energies are sums of squares, and merges raise them by 2ab", "[energies]") {
  CHECK(plateau_energy(std::vector<double>{1}) == 1);
  CHECK(plateau_energy(std::vector<double>{0.5, 0.25, 0.25}) == 0.375);
  CHECK(plateau_energy(std::vector<Index>{4, 2, 1}) == Approx(21. / 49).epsilon(epsilon));
  CHECK(plateau_energy(std::vector<Index>(50, 3)) == Approx(1. / 50).epsilon(4 * epsilon));
  CHECK(plateau_energy(std::vector<double>{0.5, 0.5}) -
            plateau_energy(std::vector<double>{0.5, 0.25, 0.25}) ==
        merge_increment(0.25, 0.25));
  CHECK(merge_increment(0.5, 0.25) == 0.25);
  // Five tokens that merge one by one, as energies of tokens at β = 400: e^{−400 · 0.2²/2} is 3·10⁻⁴.
  Eigen::MatrixXd x(2, 5);
  for (Index i = 0; i < 5; ++i) {
    const double angle = 0.4 * static_cast<double>(i);
    x.col(i) << std::cos(angle), std::sin(angle);
  }
  std::vector<Index> sizes(5, 1);
  double level = attnflow::normalized_energy(x, 400);
  CHECK(level == Approx(plateau_energy(sizes)).margin(1e-12));  // e^{−400 · 0.4²/2} = 10⁻¹⁴
  for (Index merged = 1; merged < 5; ++merged) {
    x.col(merged) = x.col(0);
    const double next = attnflow::normalized_energy(x, 400);
    CHECK(next - level == Approx(merge_increment(static_cast<double>(sizes[0]) / 5, 0.2)).margin(1e-12));
    ++sizes[0];
    sizes.pop_back();
    CHECK(next == Approx(plateau_energy(sizes)).margin(1e-12));
    level = next;
  }
}

TEST_CASE("plateaus of a staircase are found, and nothing else", "[energies]") {
  const std::vector<double> levels{0.2, 0.28, 0.44, 0.68, 1};
  for (const double width : {0.1, 1., 4.}) {
    const Stairs stairs(levels, 100, width);
    const auto found = find_plateaus(stairs.times, stairs.values, {.tolerance = 1e-3, .duration = 10});
    REQUIRE(found.size() == levels.size());
    for (std::size_t s = 0; s < levels.size(); ++s) {
      CHECK(std::abs(found[s].value - levels[s]) <= 1e-3);
      CHECK(found[s].spread <= 1e-3);
      // Logistic tails of at most 0.32 leave the tolerance 8 widths from the step.
      CHECK(found[s].from <= 100 * static_cast<double>(s) + 8 * width + 1);
      CHECK(found[s].to >= 100 * static_cast<double>(s + 1) - 8 * width - 1);
      CHECK(found[s].from == stairs.times[found[s].first]);
      CHECK(found[s].to == stairs.times[found[s].last]);
      if (s > 0) CHECK(found[s].first > found[s - 1].last);
    }
  }
}

TEST_CASE("a drift beyond the tolerance is one plateau with shoulders, not several", "[energies]") {
  // A level that drifts by 2.4 tolerances, beside a step of 100.
  std::vector<double> times, values;
  for (int k = 0; k < 200; ++k) {
    times.push_back(k);
    values.push_back(k < 100 ? 0.2 + 2.4e-5 * k : 0.3);
  }
  const auto found = find_plateaus(times, values, {.tolerance = 1e-3, .duration = 3});
  REQUIRE(found.size() == 2);
  CHECK(found[1].first == 100);
  CHECK(found[1].last == 199);
  CHECK(found[1].spread == 0);
  CHECK(found[0].last - found[0].first == 41);
  // Without the rule for shoulders, every third of it would be one.
}

TEST_CASE("the first plateau found is the longest level of the series", "[energies]") {
  std::mt19937_64 generator(2);
  for (int repeat = 0; repeat < 40; ++repeat) {
    const std::size_t n = 1 + generator() % 60;
    std::vector<double> times, values;
    double t = 0;
    for (std::size_t k = 0; k < n; ++k) {
      times.push_back(t += 0.1 + unit(generator));
      values.push_back(std::round(3 * unit(generator)) + 0.3 * unit(generator));
    }
    for (const double tolerance : {0., 0.1, 0.3, 1.2, 10.}) {
      const auto found = find_plateaus(times, values, {.tolerance = tolerance});
      double most = 0;
      for (std::size_t p = 0; p < found.size(); ++p) {
        most = std::max(most, found[p].to - found[p].from);
        CHECK(found[p].spread <= tolerance);
        const auto window = std::ranges::minmax(
            std::vector<double>(values.begin() + static_cast<std::ptrdiff_t>(found[p].first),
                                values.begin() + static_cast<std::ptrdiff_t>(found[p].last) + 1));
        CHECK(found[p].value == window.min / 2 + window.max / 2);
        if (p > 0) CHECK(found[p].first > found[p - 1].last);
      }
      CHECK(most == longest(times, values, tolerance));
    }
  }
}

TEST_CASE("no plateaus where there is nothing to see", "[energies]") {
  CHECK(find_plateaus({}, {}).empty());
  CHECK(find_plateaus(std::vector<double>{1}, std::vector<double>{2}).empty());
  CHECK(find_plateaus(std::vector<double>{1, 2}, std::vector<double>{2, 3}).empty());
  const auto all = find_plateaus(std::vector<double>{1, 2, 4}, std::vector<double>{2, 2, 2});
  REQUIRE(all.size() == 1);
  CHECK(all[0].from == 1);
  CHECK(all[0].to == 4);
  CHECK(find_plateaus(std::vector<double>{1, 2, 4}, std::vector<double>{2, 2, 2}, {.duration = 3.5}).empty());
}

TEST_CASE("what has no plateaus is refused in words", "[energies]") {
  const std::vector<double> two{0, 1}, three{0, 1, 2}, back{1, 0};
  CHECK(refusal([&] { (void)find_plateaus(two, three); }) ==
        "find_plateaus: there are 3 values, expected 2, one for each time");
  CHECK(refusal([&] { (void)find_plateaus(back, two); }) ==
        "find_plateaus: times[1] is 0, expected finite times that increase");
  CHECK(refusal([&] {
          (void)find_plateaus(two, std::vector<double>{0, std::nan("")});
        }) == "find_plateaus: values[1] is nan, expected a finite number");
  CHECK(refusal([&] { (void)find_plateaus(two, two, {.tolerance = -1}); }) ==
        "find_plateaus: options.tolerance is -1, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)find_plateaus(two, two, {.duration = std::nan("")}); }) ==
        "find_plateaus: options.duration is nan, expected a finite number, at least 0");
  CHECK(refusal([&] {
          (void)plateau_energy(std::vector<double>{0.5, 0.4});
        }) == "plateau_energy: masses sum to 0.9, expected 1");
  CHECK(refusal([&] {
          (void)plateau_energy(std::vector<double>{1.5, -0.5});
        }) == "plateau_energy: masses[1] is -0.5, expected a number from 0 to 1");
  CHECK(refusal([&] {
          (void)plateau_energy(std::vector<Index>{3, 0});
        }) == "plateau_energy: sizes[1] is 0, expected at least 1");
  CHECK(refusal([&] { (void)plateau_energy(std::vector<Index>{}); }) ==
        "plateau_energy: there are no sizes, expected at least one");
  CHECK(refusal([&] { (void)merge_increment(0.7, 0.5); }) ==
        "merge_increment: a is 0.7 and b is 0.5, expected shares of one");
}
