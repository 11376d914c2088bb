#include <attnflow/ensembles/ensemble.hpp>
#include <attnflow/ensembles/statistics.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/trajectory.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::DormandPrince5;
using attnflow::Ensemble;
using attnflow::EnsembleReport;
using attnflow::Euler;
using attnflow::FixedSteps;
using attnflow::Flow;
using attnflow::Generator;
using attnflow::generator_for;
using attnflow::integrate;
using attnflow::RungeKutta4;
using attnflow::StepView;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
using State = attnflow::Tokens<double, 2>;

/// Tokens drawn to their mean with a strength of their own system, and turned with the time.
struct Swarm {
  using State = attnflow::Tokens<double, 2>;
  double strength = 1;
  void operator()(double t, const State& x, State& dx) const {
    dx.resize(2, x.cols());
    const Eigen::Vector2d mean = x.cols() > 0 ? Eigen::Vector2d(x.rowwise().mean()) : Eigen::Vector2d::Zero();
    // A loop of the operator's kind inside a run.
    attnflow::detail::parallel_for(x.cols(), 1e9, [&](Index i) {
      dx.col(i) = strength * (mean - x.col(i)) + std::cos(t) * Eigen::Vector2d(-x(1, i), x(0, i));
    });
  }
};

/// ẋ = x², which leaves every bound at t = 1/x(0).
struct BlowUp {
  using State = attnflow::Tokens<double, 1>;
  void operator()(double, const State& x, State& dx) const { dx = x.cwiseProduct(x); }
};

Swarm system_of(Index k) { return {1 + 0.01 * static_cast<double>(k)}; }
/// The number of tokens differs from run to run.
State start_of(Index k, Generator& generator) {
  return attnflow::uniform_box<double, 2>(generator, 3 + k % 4, 2, -1, 1);
}

/// Keeps the last state of every run; a block's runs follow those of the block before.
struct LastStates {
  std::vector<Index> runs;
  std::vector<State> states;
  void operator()(Index k, const StepView<State>& step) {
    if (step.t0() == step.t1()) {
      runs.push_back(k);
      states.emplace_back();
    }
    states.back() = step.state();
  }
  void merge(const LastStates& later) {
    runs.insert(runs.end(), later.runs.begin(), later.runs.end());
    states.insert(states.end(), later.states.begin(), later.states.end());
  }
};

bool same_bits(const State& a, const State& b) {
  return a.cols() == b.cols() && (a.array() == b.array()).all();
}

struct Threads {
  explicit Threads(int n) : before(attnflow::threads()) { attnflow::set_threads(n); }
  ~Threads() { attnflow::set_threads(before); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  int before;
};

double radius(double /*t*/, const State& x) { return x.norm(); }
auto radius_at(std::vector<double> times) {
  return attnflow::mean_at_times<State>(std::move(times), &radius);
}

}  // namespace

TEST_CASE("run k is the run of system k from start k, however many there are and whoever makes it",
          "[ensemble]") {
  constexpr std::uint64_t seed = 42;
  const auto expect_lone_runs = [&](const auto& stepper, const auto& plan, Index count) {
    for (const int n : {1, 2, 5}) {
      const Threads some(n);
      const Ensemble ensemble(count, system_of, start_of, seed);
      const auto [last, report] = ensemble.run(stepper, plan, LastStates{});
      REQUIRE(static_cast<Index>(last.runs.size()) == count);
      EnsembleReport expected;
      for (Index k = 0; k < count; ++k) {
        const auto i = static_cast<std::size_t>(k);
        REQUIRE(last.runs[i] == k);
        Generator generator = generator_for(seed, static_cast<std::uint64_t>(k));
        State x = start_of(k, generator);
        auto fresh = stepper;
        expected.add(k, integrate(system_of(k), fresh, x, plan));
        REQUIRE(same_bits(last.states[i], x));
      }
      CHECK(report.reached_end == count);
      CHECK(report.steps == expected.steps);
      CHECK(report.rejected == expected.rejected);
      CHECK(report.evaluations == expected.evaluations);
      CHECK(report.first_failure == -1);
    }
  };
  const FixedSteps fixed{.to = 1, .step = 0.1};
  for (const Index count : {1, 2, 7, 255, 256, 257, 700}) expect_lone_runs(Euler<State>{}, fixed, count);
  expect_lone_runs(RungeKutta4<State>{}, fixed, 20);
  expect_lone_runs(DormandPrince5<State>{}, fixed, 20);
  expect_lone_runs(DormandPrince5<State>{}, AdaptiveSteps{.to = 1, .rtol = 1e-6, .first_step = 1}, 300);
}

TEST_CASE("generators of runs are fixed by the seed and the run", "[ensemble]") {
  // By the definitions of SplitMix64 and of mt19937_64, computed apart from this library.
  CHECK(generator_for(0, 0)() == 0x7b6903c09fc7cabeU);
  CHECK(generator_for(42, 7)() == 0xda14cf6e29a4cec9U);
  std::set<std::uint64_t> first;
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (std::uint64_t k = 0; k < 50; ++k) first.insert(generator_for(seed, k)());
  CHECK(first.size() == 20 * 50);
  CHECK(generator_for(3, 5)() == generator_for(3, 5)());
}

TEST_CASE("means over runs are those of all numbers at once, with the same bits on any number of threads",
          "[ensemble]") {
  constexpr Index count = 600;
  const std::vector<double> times{-1, 0, 0.05, 0.1, 0.55, 1, 2};  // before, at ends, within steps, after
  const FixedSteps plan{.to = 1, .step = 0.1};
  const Ensemble ensemble(count, system_of, start_of, 7);
  const auto mean = [&](int n) {
    const Threads some(n);
    return ensemble.run(RungeKutta4<State>{}, plan, radius_at(times)).statistic;
  };
  const auto one = mean(1), two = mean(2), many = mean(6);
  REQUIRE(one.size() == times.size());
  std::vector<std::vector<double>> values(times.size());
  for (Index k = 0; k < count; ++k) {
    Generator generator = generator_for(7, static_cast<std::uint64_t>(k));
    State x = start_of(k, generator);
    std::size_t i = 1;
    auto look = attnflow::at_times<State>(
        {0, 0.05, 0.1, 0.55, 1}, [&](double t, const State& at) { values[i++].push_back(radius(t, at)); });
    (void)integrate(system_of(k), RungeKutta4<State>{}, x, plan, look);
  }
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto& v = values[i];
    CHECK(one[i].count() == static_cast<long>(v.size()));
    if (v.empty()) {
      CHECK(std::isnan(one[i].mean()));
      continue;
    }
    long double sum = 0, squares = 0;
    for (const double value : v) sum += static_cast<long double>(value);
    const long double exact = sum / static_cast<long double>(v.size());
    for (const double value : v)
      squares += (static_cast<long double>(value) - exact) * (static_cast<long double>(value) - exact);
    const auto variance = static_cast<double>(squares / static_cast<long double>(v.size() - 1));
    // One rounding or two for each number, of the size of the mean, and they average out: 16 ε is ample.
    CHECK(one[i].mean() == Approx(static_cast<double>(exact)).epsilon(16 * epsilon));
    CHECK(one[i].variance() == Approx(variance).epsilon(64 * epsilon));
    CHECK(one[i].standard_error() == Approx(std::sqrt(variance / count)).epsilon(64 * epsilon));
    for (const auto* other : {&two, &many}) {
      CHECK((*other)[i].mean() == one[i].mean());
      CHECK((*other)[i].variance() == one[i].variance());
      CHECK((*other)[i].count() == one[i].count());
    }
  }
}

TEST_CASE("moments merge at any split, and where the mean is far larger than the spread", "[ensemble]") {
  const std::vector<double> values{1e8 + 1, 1e8 + 4, 1e8 - 2, 1e8 + 5,
                                   1e8,     1e8 - 8, 1e8 + 7};  // mean 1e8 + 1
  for (std::size_t split = 0; split <= values.size(); ++split) {
    attnflow::Moments left, right;
    for (std::size_t i = 0; i < values.size(); ++i) (i < split ? left : right).add(values[i]);
    left.merge(right);
    CHECK(left.count() == 7);
    CHECK(left.mean() == Approx(1e8 + 1).epsilon(4 * epsilon));
    // (0 + 9 + 9 + 16 + 1 + 81 + 36) / 6. A mean rounded by 1e8 ε errs by 1e8 ε · 9 in each square.
    CHECK(left.variance() == Approx(152. / 6).epsilon(0).margin(64 * 1e8 * epsilon));
  }
  attnflow::Moments single;
  CHECK(std::isnan(single.mean()));
  single.add(3);
  CHECK(single.mean() == 3);
  CHECK(std::isnan(single.variance()));
}

TEMPLATE_TEST_CASE("the share of aligned pairs is the count by definition", "[ensemble]", float, double) {
  using Scalar = TestType;
  Generator generator(5);
  const auto expect = [](const auto& x, double threshold) {
    const Index n = x.cols();
    long count = 0;
    for (Index i = 0; i < n; ++i)
      for (Index j = i + 1; j < n; ++j) {
        Scalar product = x(0, i) * x(0, j);
        for (Index k = 1; k < x.rows(); ++k) product += x(k, i) * x(k, j);
        count += product > static_cast<Scalar>(threshold) ? 1 : 0;
      }
    const double pairs = static_cast<double>(n * (n - 1)) / 2;
    CHECK(attnflow::share_of_aligned_pairs(x, threshold) ==
          Approx(static_cast<double>(count) / pairs).epsilon(1e-15));
  };
  for (const Index n : {2, 3, 7, 32, 61})
    for (const double threshold : {-0.3, 0.001, 0.5, 0.999}) {
      expect(attnflow::uniform_sphere<Scalar, 2>(generator, n, 2), threshold);
      expect(attnflow::uniform_sphere<Scalar, 3>(generator, n, 3), threshold);
      expect(attnflow::uniform_sphere<Scalar>(generator, n, 5), threshold);
    }
  // Products of whole numbers: at the threshold itself a pair does not count.
  attnflow::Tokens<Scalar, 2> x(2, 4);
  x << 1, 2, 1, 0, 0, 0, 1, 3;
  expect(x, 2);
  CHECK(attnflow::share_of_aligned_pairs(x, 2) == Approx(1. / 6));
  CHECK(attnflow::share_of_aligned_pairs(attnflow::Tokens<Scalar, 2>(x.leftCols(1)), 2) == 1);
}

TEST_CASE("states between steps cost the same bits in an ensemble with other statistics", "[ensemble]") {
  // A statistic that looks on changes no run.
  const Ensemble ensemble(30, system_of, start_of, 1);
  struct Both {
    LastStates last;
    decltype(radius_at({})) mean;
    void operator()(Index k, const StepView<State>& step) {
      mean(k, step);
      last(k, step);
    }
    void merge(const Both& later) {
      mean.merge(later.mean);
      last.merge(later.last);
    }
  };
  const FixedSteps plan{.to = 1, .step = 0.1};
  const auto with = ensemble.run(Euler<State>{}, plan, Both{{}, radius_at(attnflow::equal_times(0, 1, 77))});
  const auto without = ensemble.run(Euler<State>{}, plan, LastStates{});
  for (std::size_t k = 0; k < 30; ++k)
    CHECK(same_bits(with.statistic.last.states[k], without.statistic.states[k]));
  CHECK(with.report.evaluations == without.report.evaluations + 30);  // the slope at the very end
}

TEST_CASE("runs end each in their own way, and the report says how many did how", "[ensemble]") {
  // Run k starts from 0, 1, −1, 3, in turn: it stays, blows up at t = 1, decays, blows up at t = 1/3.
  const std::array<double, 4> starts{0, 1, -1, 3};
  const auto fill = [&](Index k, Generator&, BlowUp::State& x) {
    x.setConstant(1, 1, starts[static_cast<std::size_t>(k % 4)]);
  };
  const BlowUp field;
  const Ensemble ensemble(
      1000, [&](Index) -> const BlowUp& { return field; }, fill);
  for (const int n : {1, 3}) {
    const Threads some(n);
    const auto [first, report] = ensemble.run(
        Euler<BlowUp::State>{}, {.to = 100, .step = 0.25},
        attnflow::FirstTime([](double, const BlowUp::State& x) { return x(0, 0) < -0.5 && x(0, 0) > -0.9; }));
    CHECK(report.reached_end == 250);
    CHECK(report.stopped_by_observer == 250);  // −1, −0.75: at t = 0.25
    CHECK(report.non_finite == 500);
    CHECK(report.step_limit == 0);
    CHECK(report.first_failure == 1);
    CHECK(first.moments().count() == 250);
    CHECK(first.moments().mean() == 0.25);
    CHECK(first.moments().variance() == 0);
  }
  const auto limited = ensemble.run(DormandPrince5<BlowUp::State>{}, {.to = 2, .max_steps = 3},
                                    attnflow::FirstTime([](double, const auto&) { return false; }));
  CHECK(limited.report.step_limit + limited.report.reached_end == 1000);
  CHECK(limited.report.step_limit >= 500);
}

TEST_CASE("what an ensemble refuses", "[ensemble]") {
  const auto refused = [](const auto& call) { return refusal(call); };
  CHECK_THAT(refused([] { Ensemble(-1, system_of, start_of); }),
             ContainsSubstring("Ensemble: count is -1, expected at least 0"));
  CHECK_THAT(refused([] { (void)radius_at({0, 1, 1}); }), ContainsSubstring("MeanAtTimes: time 2 is 1"));
  CHECK_THAT(refused([] {
               (void)radius_at({0, std::nan("")});
             }),
             ContainsSubstring("MeanAtTimes: time 1 is nan"));
  for (const Index count : {0, 10}) {
    const Ensemble ensemble(count, system_of, start_of);
    CHECK_THAT(refused([&] { (void)ensemble.run(Euler<State>{}, {.to = 1}, LastStates{}); }),
               ContainsSubstring("FixedSteps::step"));
    CHECK_THAT(refused([&] { (void)ensemble.run(DormandPrince5<State>{}, {.rtol = 1e-6}, LastStates{}); }),
               ContainsSubstring("AdaptiveSteps::to"));
  }
  const auto nothing =
      Ensemble(0, system_of, start_of).run(Euler<State>{}, {.to = 1, .step = 0.1}, radius_at({0}));
  CHECK(nothing.statistic[0].count() == 0);
  CHECK(nothing.report.steps == 0);

  // The mistake of the first run at fault is the one reported, and no thread is lost by it.
  for (const int n : {1, 4}) {
    const Threads some(n);
    const auto broken = [](Index k) {
      if (k >= 337) throw std::invalid_argument("run " + std::to_string(k));
      return system_of(k);
    };
    for (int repeat = 0; repeat < 20; ++repeat)
      CHECK(
          refused([&] {
            (void)Ensemble(2000, broken, start_of).run(Euler<State>{}, {.to = 1, .step = 0.5}, LastStates{});
          }) == "run 337");
  }
}
