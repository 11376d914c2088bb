#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observables/runs/merge_times.hpp>
#include <attnflow/observables/runs/staircase.hpp>
#include <attnflow/observers/trajectory.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace {

using attnflow::Merge;
using attnflow::merges_in;
using attnflow::MergeTimes;
using attnflow::Tokens;
using Eigen::Index;

/// Tokens on the line, d = 1.
Eigen::MatrixXd line(std::initializer_list<double> x) {
  Eigen::MatrixXd tokens(1, static_cast<Index>(x.size()));
  Index i = 0;
  for (const double value : x) tokens(0, i++) = value;
  return tokens;
}

/// ẋ = −x: every distance shrinks like e^{−t}.
struct Contraction {
  using State = Tokens<double, 1>;
  void operator()(double, const State& x, State& dx) const { dx = -x; }
};

/// Tokens 1, 3, 5, … move to the left at given speeds, the others rest.
struct Straight {
  using State = Tokens<double, 1>;
  std::vector<double> speeds;
  void operator()(double, const State& x, State& dx) const {
    dx = State::Zero(1, x.cols());
    for (std::size_t k = 0; k < speeds.size(); ++k) dx(2 * static_cast<Index>(k) + 1) = -speeds[k];
  }
};

}  // namespace

TEST_CASE("merges are seen once, whatever tokens do afterwards", "[clustering]") {
  MergeTimes merges(0.1);
  CHECK(merges.count() == 0);
  merges(0, line({0, 1, 2, 3, 3.05}));
  CHECK(merges.initial_count() == 4);
  CHECK(merges.merges().empty());
  merges(1, line({0, 0.95, 1, 3, 3.05}));      // 1 meets 2
  merges(2, line({0, 0.5, 1.5, 3, 3.05}));     // and parts
  merges(3, line({0, 0.95, 1, 3, 3.05}));      // and meets again
  merges(4, line({0.9, 0.5, 0.99, 3, 1.01}));  // 0 meets 2, and 4 meets 2
  REQUIRE(merges.merges().size() == 2);
  CHECK(merges.merges()[0].t == 1);
  CHECK(merges.merges()[0].before == 4);
  CHECK(merges.merges()[0].after == 3);
  CHECK(merges.merges()[1].t == 4);
  CHECK(merges.merges()[1].before == 3);
  CHECK(merges.merges()[1].after == 1);
  CHECK(merges.count() == 1);
  CHECK(merges.clusters() == attnflow::detect_clusters(line({0, 0, 0, 0, 0}), 0));
  MergeTimes none(1);
  none(0, Eigen::MatrixXd(3, 0));
  none(1, Eigen::MatrixXd(3, 0));
  CHECK(none.count() == 0);
  CHECK(none.merges().empty());
}

// The partition is the finest one that all components of the past refine.
TEST_CASE("clusters are joined over time", "[clustering]") {
  std::mt19937_64 generator(1);
  for (int draw = 0; draw < 30; ++draw) {
    const Index n = 1 + draw;
    MergeTimes merges(0.02);
    std::vector<std::vector<bool>> joined(static_cast<std::size_t>(n),
                                          std::vector<bool>(static_cast<std::size_t>(n)));
    Index last = n;
    for (int step = 0; step < 6; ++step) {
      const Eigen::MatrixXd x = random(2, n, generator);
      merges(step, x.cast<float>());
      const auto at = [](Index i) { return static_cast<std::size_t>(i); };
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j)
          if (i == j || (x.col(i).cast<float>() - x.col(j).cast<float>()).norm() <= 0.02F)
            joined[at(i)][at(j)] = true;
      for (Index k = 0; k < n; ++k)
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < n; ++j)
            if (joined[at(i)][at(k)] && joined[at(k)][at(j)]) joined[at(i)][at(j)] = true;
      const auto found = merges.clusters();
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j)
          CHECK((found.labels[at(i)] == found.labels[at(j)]) == joined[at(i)][at(j)]);
      CHECK(found.count() == merges.count());
      CHECK(merges.count() <= last);
      last = merges.count();
      Index sum = 0;
      for (const Index size : found.sizes) sum += size;
      CHECK(sum == n);
    }
    const auto& seen = merges.merges();
    for (std::size_t m = 0; m < seen.size(); ++m) {
      CHECK(seen[m].after < seen[m].before);
      CHECK(seen[m].before == (m == 0 ? merges.initial_count() : seen[m - 1].after));
    }
    CHECK(merges.count() == (seen.empty() ? merges.initial_count() : seen.back().after));
  }
}

TEST_CASE("it observes runs", "[clustering]") {
  // Gaps 1, 2 and 4 are 0.1 at t = log 10, log 20 and log 40.
  const std::vector<double> expected{std::log(10.), std::log(20.), std::log(40.)};
  const Contraction::State start = line({-1, 0, 2, 6});
  Contraction::State x = start;
  MergeTimes steps(0.1), looks(0.1);
  (void)integrate(Contraction{}, attnflow::RungeKutta4<Contraction::State>{}, x, {.to = 5, .step = 0.01},
                  steps);
  x = start;
  auto often = attnflow::every<Contraction::State>(0.02, std::ref(looks));
  (void)integrate(Contraction{}, attnflow::RungeKutta4<Contraction::State>{}, x, {.to = 5, .step = 0.1},
                  often);
  REQUIRE(steps.merges().size() == 3);
  REQUIRE(looks.merges().size() == 3);
  for (std::size_t m = 0; m < 3; ++m) {
    CHECK(steps.merges()[m].t == Approx(expected[m]).margin(1e-9));  // found on dense output
    // Seen at the first look after it happened.
    CHECK((looks.merges()[m].t >= expected[m] - 1e-3 && looks.merges()[m].t <= expected[m] + 0.02 + 1e-3));
    CHECK(steps.merges()[m].after == 3 - static_cast<Index>(m));
  }
}

TEST_CASE("several merges in one step are found one after the other", "[clustering]") {
  // Pairs whose distance is 0.05 + c (1 − t), which is 0.1 at t = 1 − 0.05/c: at 0.5, 0.75 and 0.95, where two pairs
  // meet at once. Euler's method and its dense output are exact.
  const std::vector<double> speeds{0.2, 0.1, 1, 1};
  for (const double step : {1., 0.3, 0.01}) {
    Straight::State x(1, 8);
    for (Index k = 0; k < 4; ++k) {
      x(2 * k) = static_cast<double>(10 * k);
      x(2 * k + 1) = x(2 * k) + 0.05 + speeds[static_cast<std::size_t>(k)];
    }
    MergeTimes merges(0.1);
    (void)integrate(Straight{speeds}, attnflow::Euler<Straight::State>{}, x, {.to = 1, .step = step}, merges);
    CHECK(merges.initial_count() == 8);
    REQUIRE(merges.merges().size() >= 3);
    REQUIRE(merges.merges().size() <= 4);  // rounding may tell the last two pairs apart
    CHECK(merges.merges()[0].t == Approx(0.5).margin(1e-8));
    CHECK(merges.merges()[0].after == 7);
    CHECK(merges.merges()[1].t == Approx(0.75).margin(1e-8));
    CHECK(merges.merges()[2].t == Approx(0.95).margin(1e-8));
    CHECK(merges.merges().back().t == Approx(0.95).margin(1e-8));
    CHECK(merges.merges().back().after == 4);
    CHECK(merges.count() == 4);
    CHECK(merges.clusters().labels == std::vector<Index>{0, 0, 1, 1, 2, 2, 3, 3});
  }
}

TEST_CASE("merges of a record", "[clustering]") {
  const std::vector<double> times{0, 1, 2, 3, 4, 5};
  const std::vector<Index> counts{5, 5, 3, 4, 3, 1};
  const auto merges = merges_in(times, counts);
  REQUIRE(merges.size() == 2);
  CHECK(merges[0].t == 2);
  CHECK(merges[0].before == 5);
  CHECK(merges[0].after == 3);
  CHECK(merges[1].t == 5);
  CHECK(merges[1].before == 3);
  CHECK(merges[1].after == 1);
  CHECK(merges_in({}, {}).empty());
}

TEST_CASE("what cannot be followed is refused in words", "[clustering]") {
  CHECK(refusal([] { MergeTimes(-1); }) ==
        "MergeTimes: tolerance is -1, expected a finite number, at least 0");
  MergeTimes merges(1);
  merges(0, line({0, 1}));
  CHECK(refusal([&] { merges(0.5, line({0})); }) ==
        "MergeTimes: there are 1 tokens at t = 0.5, expected 2, as before");
  const std::vector<double> times{0, 0};
  CHECK(refusal([&] { (void)merges_in(times, std::vector<Index>{1}); }) ==
        "merges_in: there are 1 counts, expected 2, one for each time");
  CHECK(refusal([&] {
          (void)merges_in(times, std::vector<Index>{1, 1});
        }) == "merges_in: times[1] is 0, expected finite times that increase");
  CHECK(refusal([&] { (void)merges_in(std::vector<double>{0}, std::vector<Index>{-2}); }) ==
        "merges_in: counts[0] is -2, expected at least 0");
}
