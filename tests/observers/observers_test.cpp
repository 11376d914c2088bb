#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/locate.hpp>
#include <attnflow/observers/progress.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/observers/trajectory.hpp>

#include "catch.hpp"
#include "integrators/fields.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::at_times;
using attnflow::DormandPrince5;
using attnflow::equal_times;
using attnflow::Euler;
using attnflow::every;
using attnflow::FixedSteps;
using attnflow::Flow;
using attnflow::integrate;
using attnflow::Outcome;
using attnflow::RungeKutta4;
using attnflow::StepView;
using attnflow::Trajectory;
using Catch::Matchers::ContainsSubstring;
using State = Riccati::State;

using Steppers = std::tuple<Euler<State>, RungeKutta4<State>, DormandPrince5<State>>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Shows an observer a step from t0 to t1 between states that are lines in t.
template <class Observer>
Flow show(Observer& observer, double t0, double t1) {
  const State end = State::Constant(2, 1, t1);
  const StepView<State> view(t0, t1, end, nullptr,
                             [](void*, double t, State& x) { x = State::Constant(2, 1, t); });
  return attnflow::notify<State>(observer, view);
}

}  // namespace

TEST_CASE("observers never steer: a run has the same bits with any of them and with none", "[observers]") {
  const auto field = twisted_attention();
  using Three = attnflow::Tokens<double, 3>;
  const auto compare = [&](auto fresh, const auto& plan) {
    using Stepper = decltype(fresh);
    const auto run = [&](auto&& observer) {
      Three x = small_tokens();
      std::vector<double> times;
      const auto note = [&](double t, const auto&) { times.push_back(t); };
      auto both = attnflow::together<Three>(observer, note);
      const auto report = integrate(field, Stepper{}, x, plan, both);
      CHECK(report.outcome == Outcome::reached_end);
      return std::pair(x, times);
    };
    Three alone = small_tokens();
    const auto report = integrate(field, Stepper{}, alone, plan);
    const auto nothing = run(attnflow::NoObserver{});
    CHECK(same_bits(nothing.first, alone));
    CHECK(nothing.second.size() == static_cast<std::size_t>(report.steps) + 1);
    const auto same = [&](const auto& other) {
      return same_bits(other.first, alone) && other.second == nothing.second;
    };
    CHECK(same(run(Trajectory<Three>(equal_times(0, 3, 1001)))));
    CHECK(same(run(Trajectory<Three>({0, 0.1, 2.9, 3}))));
    CHECK(same(run(at_times<Three>({0.5, 0.50001, 1.7}, [](double, const Three&) {}))));
    CHECK(same(run(every<Three>(0.07, [](double, const Three&) {}))));
    CHECK(same(run(attnflow::locate<Three>([](double, const Three& x) { return x(0, 0) - x(1, 1); }))));
    CHECK(same(run(attnflow::StopWhenConsensus{})));
    CHECK(same(run(attnflow::StopWhenStill<Three>(1e-12))));
    std::ostringstream out;
    CHECK(same(run(attnflow::Progress(out, 0, 3, 0))));
    Trajectory<Three> record(equal_times(0, 3, 17));
    auto calls = every<Three>(0.3, [](double, const Three&) {});
    auto stop = attnflow::stop_when([](double, const auto& x) { return !(x.norm() < 1e9); });
    CHECK(same(run(attnflow::together<Three>(record, calls, stop))));
  };
  // Steps of 0.1 from 0.013: t0 + (t1 − t0) is not always t1.
  for (const FixedSteps plan :
       {FixedSteps{.to = 3, .step = 0.1}, FixedSteps{.from = 0.013, .to = 3, .step = 0.1},
        FixedSteps{.from = -0.03, .to = 3, .step = 0.25}}) {
    compare(Euler<Three>{}, plan);
    compare(RungeKutta4<Three>{}, plan);
    compare(DormandPrince5<Three>{}, plan);
  }
  compare(DormandPrince5<Three>{}, AdaptiveSteps{.to = 3});
  compare(DormandPrince5<Three>{}, AdaptiveSteps{.to = 3, .rtol = 1e-3, .first_step = 2});
}

TEMPLATE_LIST_TEST_CASE("a trajectory holds the states at its times", "[observers]", Steppers) {
  // 0 and 1 are ends of the run; 0.5 is one of a step; 0.51 and 0.53 lie in one step; between 0.53 and 0.93 are many.
  const std::vector<double> times{0, 0.005, 0.5, 0.51, 0.53, 0.93, 1};
  Trajectory<State> record(times);
  std::vector<State> ends;
  const auto keep = [&](double, const State& x) { ends.push_back(x); };
  auto x = Riccati::exact(0);
  auto both = attnflow::together<State>(record, keep);
  const auto report = integrate(Riccati{}, TestType{}, x, FixedSteps{.to = 1, .step = 1. / 32}, both);
  REQUIRE(report.outcome == Outcome::reached_end);
  CHECK(record.times() == times);
  REQUIRE(record.states().size() == times.size());
  CHECK(record.size() == times.size());
  // At ends of steps the states themselves.
  CHECK(same_bits(record.states()[0], Riccati::exact(0)));
  CHECK(same_bits(record.states()[2], ends[16]));
  CHECK(same_bits(record.states()[6], x));
  // In between, as accurate as the method: h |f'| = 1/32, and (1/32)^4 = 1e-6.
  const double tolerance = TestType::order == 1 ? 0.03 : 1e-6;
  for (std::size_t k = 0; k < times.size(); ++k)
    CHECK((record.states()[k] - Riccati::exact(times[k])).norm() < tolerance);
}

TEST_CASE("a step shown at its end is the state, not what dense output makes of it", "[observers]") {
  const State end = State::Constant(2, 1, 5);
  const auto seven = [](void*, double, State& x) { x = State::Constant(2, 1, 7); };
  State x;
  const StepView<State> step(1, 2, end, nullptr, seven);
  step.at(2, x);
  CHECK(same_bits(x, end));
  step.at(std::nextafter(2, 1), x);
  CHECK(x(0) == 7);
  step.at(1, x);
  CHECK(x(0) == 7);
  const StepView<State> start(1, 1, end, nullptr, seven);  // nothing has been stepped yet
  start.at(1, x);
  CHECK(same_bits(x, end));
}

TEST_CASE("an adaptive run is recorded at the times asked for", "[observers]") {
  const auto times = equal_times(0, 20, 401);
  Trajectory<State> record(times);
  auto x = Riccati::exact(0);
  const auto report = integrate(Riccati{}, DormandPrince5<State>{}, x, {.to = 20}, record);
  REQUIRE(report.outcome == Outcome::reached_end);
  CHECK(report.steps < 400);  // several times in one step
  CHECK(record.times() == times);
  for (std::size_t k = 0; k < times.size(); ++k)
    CHECK((record.states()[k] - Riccati::exact(times[k])).norm() < 1e-7);  // rtol 1e-9, dense order 4
  CHECK(same_bits(record.states().back(), x));
}

TEST_CASE("times outside the run are passed over", "[observers]") {
  Trajectory<State> record({-1, 0.25, 0.5, 3});
  auto x = Riccati::exact(0.5);
  REQUIRE(
      integrate(Riccati{}, RungeKutta4<State>{}, x, {.from = 0.5, .to = 1, .step = 0.125}, record).outcome ==
      Outcome::reached_end);
  CHECK(record.times() == std::vector<double>{0.5});
  CHECK(same_bits(record.states()[0], Riccati::exact(0.5)));
  // The next run goes on with what is left; 1, its start, has been passed.
  Trajectory<State> whole({0.5, 1, 2});
  x = Riccati::exact(0.5);
  REQUIRE(
      integrate(Riccati{}, RungeKutta4<State>{}, x, {.from = 0.5, .to = 1, .step = 0.125}, whole).outcome ==
      Outcome::reached_end);
  REQUIRE(integrate(Riccati{}, RungeKutta4<State>{}, x, {.from = 1, .to = 2, .step = 0.125}, whole).outcome ==
          Outcome::reached_end);
  CHECK(whole.times() == std::vector<double>{0.5, 1, 2});
  Trajectory<State> none({});
  CHECK(integrate(Riccati{}, RungeKutta4<State>{}, x, {.to = 1, .step = 0.5}, none).outcome ==
        Outcome::reached_end);
  CHECK(none.size() == 0);
}

TEST_CASE("times that do not increase or are not finite are refused", "[observers]") {
  CHECK_THAT(refusal([] { Trajectory<State>({0, 1, 1}); }), ContainsSubstring("AtTimes: time 2 is 1"));
  CHECK_THAT(refusal([] { Trajectory<State>({0, 1, 0.5}); }), ContainsSubstring("AtTimes: time 2 is 0.5"));
  CHECK_THAT(refusal([] { Trajectory<State>({not_a_number}); }), ContainsSubstring("AtTimes: time 0"));
  CHECK_THAT(refusal([] { Trajectory<State>({0, infinity}); }), ContainsSubstring("AtTimes: time 1 is inf"));
  const auto nothing = [](double, const State&) {};
  for (const double interval : {0.0, -1.0, infinity, not_a_number})
    CHECK_THAT(refusal([&] { (void)every<State>(interval, nothing); }),
               ContainsSubstring("every: interval is "));
}

TEST_CASE("equal times have both ends, to the last bit", "[observers]") {
  const auto times = equal_times(-0.1, 0.7, 9);
  REQUIRE(times.size() == 9);
  CHECK(times.front() == -0.1);
  CHECK(times.back() == 0.7);
  for (std::size_t k = 0; k + 1 < times.size(); ++k)
    CHECK(times[k + 1] - times[k] == Approx(0.1).epsilon(1e-14));
  CHECK(equal_times(0, 1, 2) == std::vector<double>{0, 1});
  CHECK(equal_times(0, 1, 1) == std::vector<double>{1});
  CHECK(equal_times(3, 3, 100) == std::vector<double>{3});
  CHECK_THAT(refusal([] { (void)equal_times(0, 1, 0); }), ContainsSubstring("equal_times"));
  CHECK_THAT(refusal([] { (void)equal_times(1, 0, 2); }), ContainsSubstring("equal_times"));
  CHECK_THAT(refusal([] { (void)equal_times(0, infinity, 2); }), ContainsSubstring("equal_times"));
  CHECK_THAT(refusal([] { (void)equal_times(not_a_number, 1, 2); }), ContainsSubstring("equal_times"));
}

TEST_CASE("every calls at multiples of its interval from the start", "[observers]") {
  std::vector<double> seen;
  double worst = 0;
  auto x = Riccati::exact(0.3);
  auto note = every<State>(0.1, [&](double t, const State& at) {
    seen.push_back(t);
    worst = std::max(worst, (at - Riccati::exact(t)).norm());
  });
  REQUIRE(integrate(Riccati{}, DormandPrince5<State>{}, x, {.from = 0.3, .to = 2.35}, note).outcome ==
          Outcome::reached_end);
  REQUIRE(seen.size() == 21);  // 0.3, 0.4, …, 2.3
  for (std::size_t k = 0; k < seen.size(); ++k) CHECK(seen[k] == 0.3 + static_cast<double>(k) * 0.1);
  CHECK(worst < 1e-7);
  // With steps as long as the interval, the calls are the ends of the steps, to the last bit.
  std::vector<State> ends, calls;
  const auto keep_end = [&](double, const State& at) { ends.push_back(at); };
  auto keep_call = every<State>(0.1, [&](double, const State& at) { calls.push_back(at); });
  auto both = attnflow::together<State>(keep_end, keep_call);
  x = Riccati::exact(0);
  REQUIRE(integrate(Riccati{}, RungeKutta4<State>{}, x, {.to = 0.95, .step = 0.1}, both).outcome ==
          Outcome::reached_end);
  REQUIRE(ends.size() == 11);
  REQUIRE(calls.size() == 10);
  for (std::size_t k = 0; k < calls.size(); ++k) CHECK(same_bits(calls[k], ends[k]));
}

TEST_CASE("a function called at times ends the run at the end of the step", "[observers]") {
  std::vector<double> seen;
  const auto until = [&](double t, const State&) {
    seen.push_back(t);
    return t > 0.25 ? Flow::stop : Flow::proceed;
  };
  auto at = at_times<State>({0.1, 0.26, 0.27, 0.9}, until);
  auto x = Riccati::exact(0);
  const FixedSteps plan{.to = 1, .step = 0.125};
  auto report = integrate(Riccati{}, RungeKutta4<State>{}, x, plan, at);
  CHECK(report.outcome == Outcome::stopped_by_observer);
  CHECK(report.t == 0.375);
  CHECK(seen == std::vector<double>{0.1, 0.26});
  seen.clear();
  auto interval = every<State>(0.2, until);
  report = integrate(Riccati{}, RungeKutta4<State>{}, x = Riccati::exact(0), plan, interval);
  CHECK(report.outcome == Outcome::stopped_by_observer);
  CHECK(report.t == 0.5);
  CHECK(seen == std::vector<double>{0, 0.2, 0.4});
}

TEST_CASE("an observer that stopped a run goes on in the next without calls twice or late", "[observers]") {
  // Each call gets the state at its time (here t itself), whatever run it falls into.
  std::vector<double> seen;
  long wrong = 0;
  const auto stop_always = [&](double t, const State& x) {
    seen.push_back(t);
    wrong += x(0) != t ? 1 : 0;
    return Flow::stop;
  };
  auto at = at_times<State>({0, 0.25, 0.3, 0.5, 0.75, 1}, stop_always);
  auto interval = every<State>(0.25, stop_always);
  CHECK(show(at, 0, 0) == Flow::stop);
  CHECK(show(at, 0, 0) == Flow::proceed);  // resumed from 0: that time has been served
  CHECK(show(at, 0, 0.5) == Flow::stop);
  CHECK(show(at, 0.5, 0.5) == Flow::stop);
  CHECK(show(at, 0.5, 0.5) == Flow::proceed);
  CHECK(show(at, 0.5, 0.6) == Flow::proceed);
  CHECK(seen == std::vector<double>{0, 0.25, 0.5});
  seen.clear();
  CHECK(show(interval, 0, 0) == Flow::stop);
  CHECK(show(interval, 0, 0) == Flow::proceed);
  CHECK(show(interval, 0, 0.6) == Flow::stop);
  CHECK(show(interval, 0.6, 0.6) == Flow::proceed);
  CHECK(show(interval, 0.6, 0.7) == Flow::proceed);
  CHECK(show(interval, 0.7, 1.2) == Flow::stop);
  CHECK(seen == std::vector<double>{0, 0.25, 0.75});
  CHECK(wrong == 0);
}

TEST_CASE("a run ends once a condition holds", "[observers]") {
  auto x = Riccati::exact(0);
  auto low = attnflow::stop_when([](double t, const State& at) { return t > 0.1 && at(1, 0) < 0.9; });
  const auto report = integrate(Riccati{}, RungeKutta4<State>{}, x, {.to = 10, .step = 0.01}, low);
  CHECK(report.outcome == Outcome::stopped_by_observer);
  // Im z = 1/(t⁴/4 + 1) = 0.9 at t = (4/9)^{1/4} = 0.8165: the first step that ends behind it.
  CHECK(report.t == 82 * 0.01);
  CHECK(x(1, 0) < 0.9);
}

TEST_CASE("consensus is the distance from the first token, coordinate by coordinate", "[observers]") {
  attnflow::StopWhenConsensus stop{.tol = 0.5};
  Eigen::MatrixXd x(2, 3);
  x << 0, 0.5, -0.5, 0, -0.5, 0.5;
  CHECK(stop(0, x) == Flow::stop);
  x(1, 2) = 0.51;
  CHECK(stop(0, x) == Flow::proceed);
  x(1, 2) = -0.51;
  CHECK(stop(0, x) == Flow::proceed);
  x(1, 2) = not_a_number;
  CHECK(stop(0, Eigen::MatrixXd(x.leftCols(1))) == Flow::stop);
  CHECK(stop(0, Eigen::MatrixXd(2, 0)) == Flow::stop);
  // V = I and small scores, hence nearly equal weights: z − mean shrinks like e^{−t}.
  const attnflow::RescaledDynamics<double, 3> field(attnflow::Head<double, 3>::identity());
  attnflow::Tokens<double, 3> z = 0.01 * small_tokens();
  const auto report = integrate(field, DormandPrince5<attnflow::Tokens<double, 3>>{}, z, {.to = 100},
                                attnflow::StopWhenConsensus{.tol = 1e-3});
  CHECK(report.outcome == Outcome::stopped_by_observer);
  CHECK((z.colwise() - z.col(0)).cwiseAbs().maxCoeff() <= 1e-3);
  // It was the first such step: 0.02 e^{−t} = 1e-3 at t = 3.
  CHECK(report.t > 1);
  CHECK(report.t < 6);
}

TEST_CASE("a run ends once nothing moves faster than asked", "[observers]") {
  Decay::State x = Decay::State::Constant(1, 1, 1);
  attnflow::StopWhenStill<Decay::State> still(1e-3);
  const auto report = integrate(Decay{}, RungeKutta4<Decay::State>{}, x, {.to = 100, .step = 0.01}, still);
  CHECK(report.outcome == Outcome::stopped_by_observer);
  CHECK(report.t == Approx(std::log(1e3)).margin(0.02));  // the speed is e^{−t}, a step's mean of it within h
}

TEST_CASE("observers together all see every step, and any of them ends the run", "[observers]") {
  long first = 0, last = 0;
  const auto count_first = [&](double, const State&) { ++first; };
  auto stop = attnflow::stop_when([](double t, const State&) { return t >= 0.5; });
  const auto count_last = [&](const StepView<State>&) { ++last; };
  auto x = Riccati::exact(0);
  auto all = attnflow::together<State>(count_first, stop, count_last);
  const auto report = integrate(Riccati{}, RungeKutta4<State>{}, x, {.to = 1, .step = 0.125}, all);
  CHECK(report.outcome == Outcome::stopped_by_observer);
  CHECK(report.steps == 4);
  CHECK(first == 5);
  CHECK(last == 5);
  auto none = attnflow::together<State>();
  CHECK(integrate(Riccati{}, RungeKutta4<State>{}, x, {.to = 1, .step = 0.125}, none).outcome ==
        Outcome::reached_end);
}

TEST_CASE("progress is silent before its patience ends", "[observers]") {
  std::ostringstream out;
  attnflow::Progress progress(out, 0, 1, 3600);
  auto x = Riccati::exact(0);
  REQUIRE(integrate(Riccati{}, RungeKutta4<State>{}, x, {.to = 1, .step = 0.1}, progress).outcome ==
          Outcome::reached_end);
  progress.finish();
  CHECK(out.str().empty());
}

TEST_CASE("progress writes a whole line over itself, and clears it", "[observers]") {
  std::ostringstream out;
  attnflow::Progress progress(out, 0, 10, 0);
  const State x = Riccati::exact(0);
  progress(0, x);
  CHECK(out.str().substr(0, 32) == "\r[" + std::string(30, ' '));
  CHECK_THAT(out.str(), ContainsSubstring("] t = 0 of 10, 0 steps, ? left"));
  // Ten times a second: at once, nothing more.
  const auto before = out.str();
  progress(1, x);
  CHECK(out.str() == before);
  progress.finish();
  const std::string cleared = out.str().substr(before.size());
  const std::size_t width = before.size() - 1;
  CHECK(cleared.size() >= width + 2);
  CHECK(cleared == "\r" + std::string(cleared.size() - 2, ' ') + "\r");
  progress.finish();  // nothing left to clear
  CHECK(out.str().size() == before.size() + cleared.size());
  // Shown again, half the way.
  progress(5, x);
  const std::string again = out.str().substr(before.size() + cleared.size());
  CHECK(again.substr(0, 33) == "\r[" + std::string(15, '#') + std::string(15, ' ') + "]");
  CHECK_THAT(again, ContainsSubstring("t = 5 of 10, 2 steps, 0 s left"));
  CHECK(again.find('\n') == std::string::npos);
}

TEST_CASE("a short line of progress leaves nothing of a long one behind", "[observers]") {
  std::ostringstream out;
  attnflow::Progress progress(out, 0, 1, 0);
  const State x = Riccati::exact(0);
  progress(0.000123457, x);
  const std::size_t width = out.str().size();
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(110)) {
  }
  progress(1, x);
  const std::string second = out.str().substr(width);
  CHECK_THAT(second, ContainsSubstring("t = 1 of 1"));
  CHECK(second.size() >= width);
  CHECK(second.front() == '\r');
}

TEST_CASE("progress of a run whose times say nothing", "[observers]") {
  const State x = Riccati::exact(0);
  for (const auto& [from, to, t] :
       {std::tuple(1., 1., 1.), {0., 1., 2.}, {0., 1., -1.}, {0., 1e300, 1e-300}}) {
    std::ostringstream out;
    attnflow::Progress progress(out, from, to, 0);
    progress(t, x);
    CHECK(out.str().size() > 40);
    CHECK(out.str().size() < 112);
    CHECK(out.str().find("nan") == std::string::npos);
  }
}
