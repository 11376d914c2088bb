#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/geodesic_runge_kutta4.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/event_functions.hpp>
#include <attnflow/observers/locate.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/reductions/two_tokens.hpp>
#include <attnflow/systems/merging.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>

#include "catch.hpp"
#include "integrators/fields.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <tuple>
#include <vector>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::Crossing;
using attnflow::DormandPrince5;
using attnflow::Euler;
using attnflow::FixedSteps;
using attnflow::integrate;
using attnflow::locate;
using attnflow::LocateOptions;
using attnflow::OnSphere;
using attnflow::Outcome;
using attnflow::RungeKutta4;
using attnflow::StepView;

constexpr double pi = std::numbers::pi;

template <class Scalar>
using Plane = attnflow::Tokens<Scalar, 2>;

/// Tokens that turn about the origin, one radian in a unit of time.
template <class Scalar>
struct Turn {
  using State = Plane<Scalar>;
  void operator()(double, const State& x, State& dx) const {
    dx.resize(2, x.cols());
    dx.row(0) = -x.row(1);
    dx.row(1) = x.row(0);
  }
  static State start() { return State::Identity(2, 1); }
};

/// A token on the line at t: every stepper and its dense output are exact but for rounding.
template <class Scalar>
struct Clock {
  using State = attnflow::Tokens<Scalar, 1>;
  void operator()(double, const State& x, State& dx) const { dx = State::Ones(1, x.cols()); }
  static State start(double t = 0) { return State::Constant(1, 1, static_cast<Scalar>(t)); }
};
using Line = Clock<double>::State;

/// The times of events.
template <class Observer>
std::vector<double> times_of(const Observer& observer) {
  std::vector<double> times;
  for (const auto& event : observer.events()) times.push_back(event.t);
  return times;
}

/// The events of g on the line x = t from 0 to 1.
template <class G>
std::vector<double> events_on_line(const G& g, const LocateOptions& options = {}, double step = 1) {
  auto observer = locate<Line>([&](double, const Line& x) { return g(x(0)); }, options);
  Line x = Clock<double>::start();
  const auto report = integrate(Clock<double>{}, Euler<Line>{}, x, {.to = 1, .step = step}, observer);
  CHECK((options.terminal || report.outcome == Outcome::reached_end));
  return times_of(observer);
}

/// Whether times are the expected ones, with errors from 0 to `tolerance`, and `rounding` to both sides.
bool are_times(const std::vector<double>& times, const std::vector<double>& expected, double tolerance,
               double rounding = 1e-15) {
  if (times.size() != expected.size()) return false;
  for (std::size_t k = 0; k < times.size(); ++k) {
    const double error = times[k] - expected[k];
    if (!(error >= -rounding && error <= tolerance + rounding)) return false;
  }
  return true;
}

template <class Stepper, class Plan>
double worst_time_of_rotation(const Plan& plan, std::size_t expected) {
  using State = typename Stepper::State;
  auto observer = locate<State>([](double, const State& x) { return x(0, 0); });
  State x = Turn<typename State::Scalar>::start();
  REQUIRE(integrate(Turn<typename State::Scalar>{}, Stepper{}, x, plan, observer).outcome ==
          Outcome::reached_end);
  REQUIRE(observer.events().size() == expected);
  double worst = 0;
  for (std::size_t k = 0; k < expected; ++k) {
    const auto& event = observer.events()[k];
    worst = std::max(worst, std::abs(event.t - (static_cast<double>(k) + 0.5) * pi));
    CHECK(event.direction == (k % 2 == 0 ? Crossing::falling : Crossing::rising));
    CHECK((event.state(0, 0) < 0) == (k % 2 == 0));  // behind the crossing
    CHECK(event.index == 0);
  }
  return worst;
}

}  // namespace

TEMPLATE_TEST_CASE("events are found to the tolerance that was asked for", "[observers]", Euler<Line>,
                   RungeKutta4<Line>, DormandPrince5<Line>) {
  for (const double tolerance : {1e-12, 1e-6, 1e-2})
    for (const double step : {0.1, 0.25, 1.}) {
      const std::vector<double> expected{0.123, 0.5, 0.75, 0.876543};
      auto observer = locate<Line>(
          [&](double, const Line& x) {
            return Eigen::Vector4d(x(0) - expected[3], expected[2] - x(0), x(0) - expected[0],
                                   std::pow(x(0) - expected[1], 3));
          },
          {.tolerance = tolerance});
      Line x = Clock<double>::start();
      REQUIRE(
          integrate(Clock<double>{}, TestType{}, x, FixedSteps{.to = 1, .step = step}, observer).outcome ==
          Outcome::reached_end);
      CHECK(are_times(times_of(observer), expected, tolerance * step));
      REQUIRE(observer.events().size() == 4);
      CHECK(observer.events()[0].index == 2);
      CHECK(observer.events()[1].index == 3);
      CHECK(observer.events()[2].index == 1);
      CHECK(observer.events()[2].direction == Crossing::falling);
      CHECK(observer.events()[3].index == 0);
      for (const auto& event : observer.events()) CHECK(event.state(0) == Approx(event.t).epsilon(1e-14));
    }
  // The absolute tolerance, where it is larger.
  const auto g = [](double x) { return x - 0.3; };
  const auto rough = events_on_line(g, {.absolute_tolerance = 0.05});
  CHECK(are_times(rough, {0.3}, 0.05));
  CHECK(!are_times(rough, {0.3}, 1e-6));
  CHECK(are_times(events_on_line(g, {.tolerance = 0}), {0.3}, 4e-16));
}

TEST_CASE("events of a rotation", "[observers]") {
  // Phase errors of RK4 are t h⁴/120, of Euler t h²/3; those of dense output are smaller.
  CHECK(worst_time_of_rotation<RungeKutta4<Plane<double>>>(FixedSteps{.to = 20, .step = 1. / 64}, 6) < 2e-8);
  CHECK(worst_time_of_rotation<Euler<Plane<double>>>(FixedSteps{.to = 20, .step = 1. / 64}, 6) <
        20. / 64 / 64);
  CHECK(worst_time_of_rotation<DormandPrince5<Plane<double>>>(AdaptiveSteps{.to = 20, .rtol = 1e-10}, 6) <
        1e-8);
  CHECK(worst_time_of_rotation<OnSphere<DormandPrince5<Plane<double>>>>(
            AdaptiveSteps{.to = 20, .rtol = 1e-10}, 6) < 1e-8);
  // Along great circles it is exact, and one step passes a quarter.
  CHECK(worst_time_of_rotation<attnflow::GeodesicRungeKutta4<Plane<double>>>(FixedSteps{.to = 20, .step = 1},
                                                                             6) < 1e-11);
  CHECK(worst_time_of_rotation<RungeKutta4<Plane<float>>>(FixedSteps{.to = 20, .step = 1. / 16}, 6) < 3e-5);
  CHECK(worst_time_of_rotation<DormandPrince5<Plane<float>>>(
            AdaptiveSteps{.to = 20, .rtol = 1e-5, .atol = 1e-6}, 6) < 1e-3);
}

TEST_CASE("directions of events are chosen", "[observers]") {
  const auto g = [](double x) { return std::sin(20 * x); };  // falls at π/20, rises at 2π/20, …
  const auto all = events_on_line(g, {}, 0.1);
  CHECK(are_times(all, {pi / 20, pi / 10, 3 * pi / 20, pi / 5, pi / 4, 3 * pi / 10}, 1e-13));
  CHECK(events_on_line(g, {.direction = Crossing::falling}, 0.1) ==
        std::vector<double>{all[0], all[2], all[4]});
  CHECK(events_on_line(g, {.direction = Crossing::rising}, 0.1) ==
        std::vector<double>{all[1], all[3], all[5]});
}

TEST_CASE("two crossings in one part of a step need more parts", "[observers]") {
  const auto pair = [](double centre, double width) {
    return [=](double x) { return (x - centre) * (x - centre) - width * width; };
  };
  CHECK(are_times(events_on_line(pair(0.5, 0.1)), {0.4, 0.6}, 1e-12));
  CHECK(events_on_line(pair(0.5, 0.1), {.subdivisions = 1}).empty());
  CHECK(events_on_line(pair(0.56, 0.01)).empty());  // between 1/2 and 5/8
  CHECK(are_times(events_on_line(pair(0.56, 0.01), {.subdivisions = 64}), {0.55, 0.57}, 1e-12));
  CHECK(are_times(events_on_line(pair(0.56, 0.01), {}, 1. / 8), {0.55, 0.57}, 1e-12));
}

TEST_CASE("zeros that are touched, met at the end of a step, or stay a while", "[observers]") {
  for (const double step : {0.25, 0.3, 1.}) {  // 1/2 is the end of a step, of a part of one, or neither
    CHECK(events_on_line([](double x) { return (x - 0.5) * (x - 0.5); }, {}, step).empty());
    CHECK(are_times(events_on_line([](double x) { return x - 0.5; }, {}, step), {0.5}, 1e-12));
    const auto rest = [](double x) { return std::min(0., x - 0.25) + std::max(0., x - 0.5); };
    CHECK(are_times(events_on_line(rest, {}, step), {0.5}, 1e-12));
    CHECK(events_on_line([](double x) { return std::min(0., x - 0.25); }, {}, step).empty());
    CHECK(events_on_line([](double x) { return x; }, {}, step).empty());  // begins at the zero
    CHECK(events_on_line([](double x) { return x * (x - 0.5); }, {}, step).size() == 1);
    CHECK(events_on_line([](double) { return 0; }, {}, step).empty());
    // A jump is a change of sign, too.
    CHECK(are_times(events_on_line([](double x) { return x < 0.7 ? -1 : 3; }, {}, step), {0.7}, 1e-12));
  }
}

TEST_CASE("a run that stopped at a zero and goes on has the event if the observer is the same",
          "[observers]") {
  const auto g = [](double, const Line& x) { return x(0) - 0.5; };
  auto same = locate<Line>(g), fresh = locate<Line>(g);
  Line x = Clock<double>::start();
  Euler<Line> stepper;
  (void)integrate(Clock<double>{}, stepper, x, FixedSteps{.to = 0.5, .step = 0.25}, same);
  CHECK(same.events().empty());
  auto both = attnflow::together<Line>(same, fresh);
  (void)integrate(Clock<double>{}, stepper, x, FixedSteps{.from = 0.5, .to = 1, .step = 0.25}, both);
  CHECK(are_times(times_of(same), {0.5}, 1e-12));
  CHECK(fresh.events().empty());
  // Another run is no continuation: its start is not compared with the end of the one before.
  x = Clock<double>::start(0.25);
  (void)integrate(Clock<double>{}, stepper, x, FixedSteps{.from = 0.25, .to = 0.375, .step = 0.125}, same);
  x = Clock<double>::start(0.5);
  (void)integrate(Clock<double>{}, stepper, x, FixedSteps{.to = 0.25, .step = 0.125}, same);
  CHECK(same.events().size() == 1);
  same.clear_events();
  CHECK(same.events().empty());
}

TEST_CASE("a terminal event ends the run at its time", "[observers]") {
  const auto check = [](auto stepper, const auto& plan) {
    using State = Plane<double>;
    std::vector<State> whole, part;
    const auto keep = [](std::vector<State>& to) {
      return [&to](double, const State& x) { to.push_back(x); };
    };
    State x = Turn<double>::start();
    (void)integrate(Turn<double>{}, stepper, x, plan, keep(whole));

    auto falling = locate<State>(attnflow::hyperplane_crossing(Eigen::Vector2d(1, 0), 0, 0),
                                 {.direction = Crossing::falling, .terminal = true});
    auto rising = locate<State>([](double, const State& at) { return at(0, 0); },
                                {.direction = Crossing::rising, .terminal = true});
    auto ends = keep(part);
    auto all = attnflow::together<State>(rising, falling, ends);
    x = Turn<double>::start();
    auto report = integrate(Turn<double>{}, stepper, x, plan, all);
    CHECK(report.outcome == Outcome::stopped_by_observer);
    CHECK(report.reason == "");
    REQUIRE(falling.events().size() == 1);
    CHECK(rising.events().empty());
    CHECK(report.t == falling.events()[0].t);
    CHECK(report.t == Approx(pi / 2).epsilon(1e-6));
    CHECK(same_bits(x, falling.events()[0].state));
    CHECK(part.size() == static_cast<std::size_t>(report.steps) + 1);
    for (std::size_t k = 0; k < part.size(); ++k) CHECK(same_bits(part[k], whole[k]));

    // Runs go on from there, with the same observers and with new ones, and do not find it again.
    auto next = plan;
    next.from = report.t;
    State y = x;
    report = integrate(Turn<double>{}, stepper, x, next, all);
    CHECK(falling.events().size() == 1);
    REQUIRE(rising.events().size() == 1);
    CHECK(report.t == Approx(3 * pi / 2).epsilon(1e-6));
    auto fresh =
        locate<State>(attnflow::hyperplane_crossing(Eigen::Vector2d(1, 0), 0, 0), {.terminal = true});
    report = integrate(Turn<double>{}, stepper, y, next, fresh);
    CHECK(same_bits(x, y));
    CHECK(fresh.events()[0].t == rising.events()[0].t);
  };
  check(RungeKutta4<Plane<double>>{}, FixedSteps{.to = 10, .step = 1. / 32});
  check(DormandPrince5<Plane<double>>{}, AdaptiveSteps{.to = 10});
  check(OnSphere<DormandPrince5<Plane<double>>>{}, AdaptiveSteps{.to = 10});
  check(attnflow::GeodesicRungeKutta4<Plane<double>>{}, FixedSteps{.to = 10, .step = 0.5});
  // Of two in one step the earlier one ends the run, and later ones are not recorded.
  const auto two = [](double x) { return Eigen::Vector2d(x - 0.52, 0.51 - x); };
  CHECK(are_times(events_on_line(two, {.terminal = true}), {0.51}, 1e-12));
  CHECK(are_times(events_on_line([](double x) { return std::sin(20 * x); }, {.terminal = true}), {pi / 20},
                  1e-12));
}

TEST_CASE("of several ends of a run within a step the earliest counts", "[observers]") {
  const auto end_at = [](double t) { return [t](const StepView<Line>& step) { return step.end_at(t); }; };
  const auto later = end_at(0.75), earlier = end_at(0.25);
  for (const bool swapped : {false, true}) {
    auto both = swapped ? attnflow::together<Line>(earlier, later) : attnflow::together<Line>(later, earlier);
    Line x = Clock<double>::start();
    Euler<Line> stepper;
    auto report = integrate(Clock<double>{}, stepper, x, {.from = 0.125, .to = 2, .step = 1}, both);
    CHECK(report.t == 0.125);  // the view of the start, where no step has been made
    CHECK(report.steps == 0);
    CHECK(x(0) == 0);
    const auto after_start = [&](const StepView<Line>& step) {
      return step.t0() == step.t1() ? attnflow::Flow::proceed : both(step);
    };
    report = integrate(Clock<double>{}, stepper, x, {.to = 2, .step = 1}, after_start);
    CHECK(report.t == 0.25);
    CHECK(report.steps == 1);
    CHECK(report.outcome == Outcome::stopped_by_observer);
    CHECK(x(0) == 0.25);
  }
}

TEST_CASE("only accepted steps are searched", "[observers]") {
  using State = Riccati::State;
  std::vector<double> seen;
  auto observer = locate<State>([&](double t, const State& x) {
    seen.push_back(t);
    return 1 + x.squaredNorm();
  });
  auto x = Riccati::exact(0);
  const auto report =
      integrate(Riccati{}, DormandPrince5<State>{}, x, AdaptiveSteps{.to = 3, .first_step = 2}, observer);
  CHECK(report.rejected > 0);
  CHECK(seen.size() == 1 + 8 * static_cast<std::size_t>(report.steps));
  CHECK(std::ranges::adjacent_find(seen, std::ranges::greater_equal{}) == seen.end());
  CHECK(seen.front() == 0);
  CHECK(seen.back() == 3);
  // A rejected step would have seen the crossing: Im z = 1/(t⁴/4 + 1) = 0.9 at (4/9)^{1/4}.
  auto low = locate<State>([](double, const State& at) { return at(1, 0) - 0.9; }, {.terminal = true});
  const auto ended = integrate(Riccati{}, DormandPrince5<State>{}, x = Riccati::exact(0),
                               AdaptiveSteps{.to = 3, .first_step = 2}, low);
  CHECK(ended.rejected > 0);
  CHECK(ended.t == Approx(std::pow(4. / 9, 0.25)).margin(1e-8));
}

TEST_CASE("a crossing costs ten evaluations, or what bisection costs and one", "[observers]") {
  long calls = 0;
  const auto costs = [&](auto g) {
    calls = 0;
    const auto counted = [&](double x) {
      ++calls;
      return g(x);
    };
    CHECK(events_on_line(counted, {.subdivisions = 1}).size() == 1);
    return calls - 2;
  };
  CHECK(costs([](double x) { return std::exp(3 * x) - 2.5; }) <= 10);
  CHECK(costs([](double x) { return std::cos(2 * x + 0.9); }) <= 10);
  // Flat, steep and discontinuous ones: 40 bisections take 1 to 10⁻¹².
  CHECK(costs([](double x) { return std::pow(x - 0.55, 9); }) <= 41);
  CHECK(costs([](double x) { return std::expm1(600 * (x - 0.6)); }) <= 41);
  CHECK(costs([](double x) { return x < 0.7 ? -1e-308 : 1e308; }) <= 41);
  CHECK(costs([](double x) { return x < 0.7 ? -1e308 : 1e-308; }) <= 41);
  CHECK(costs([](double x) { return x < 0.7 ? -1 : 1; }) <= 41);
}

TEST_CASE("tokens of attention meet at the times that theory gives", "[observers]") {
  // Weights 1/2 (β = 0): differences of z shrink like e^{−t}.
  using Row = attnflow::Tokens<double, 1>;
  const attnflow::RescaledDynamics<double, 1> line(attnflow::Head<double, 1>::identity(), {.beta = 0});
  Row z(1, 2);
  z << -1, 2;
  auto near = locate<Row>(attnflow::token_distance(0, 1, 0.03), {.direction = Crossing::falling});
  REQUIRE(integrate(line, DormandPrince5<Row>{}, z, {.to = 10}, near).outcome == Outcome::reached_end);
  CHECK(are_times(times_of(near), {std::log(100.)}, 0, 1e-8));

  // On the sphere by quadrature: from the inner product −0.2 to 0.9 with β = 6 in 116.150.
  using Space = attnflow::Tokens<double, 3>;
  const attnflow::Softmax law{.beta = 6};
  const double expected = attnflow::two_token_time(law, -0.2, 0.9);
  CHECK(expected == Approx(116.150).margin(5e-4));
  const attnflow::SphereDynamics<double, 3> field(attnflow::Head<double, 3>::identity(), law);
  const auto meet = [&](auto stepper, const auto& plan) {
    Space x(3, 2);
    x << 1, -0.2, 0, 0, 0, std::sqrt(0.96);
    auto event = locate<Space>(attnflow::token_distance(1, 0, attnflow::sphere::chord_of_cosine(0.9)),
                               {.terminal = true});
    const auto report = integrate(field, stepper, x, plan, event);
    CHECK(report.outcome == Outcome::stopped_by_observer);
    CHECK(x.col(0).dot(x.col(1)) == Approx(0.9).margin(1e-12));
    return std::abs(report.t - expected);
  };
  CHECK(meet(OnSphere<DormandPrince5<Space>>{}, AdaptiveSteps{.to = 200, .rtol = 1e-11}) < 1e-7);
  CHECK(meet(attnflow::GeodesicRungeKutta4<Space>{}, FixedSteps{.to = 200, .step = 0.05}) < 1e-6);
  CHECK(meet(OnSphere<RungeKutta4<Space>>{}, FixedSteps{.to = 200, .step = 0.05}) < 1e-6);
}

TEST_CASE("tokens cross hyperplanes and leave caps", "[observers]") {
  using State = Plane<double>;
  State x(2, 2);
  x << 0, 1, 1, 0;  // token 1 is at (1, 0)
  const Eigen::Vector2d up(0, 2), right(1, 0);
  auto plane = locate<State>(attnflow::hyperplane_crossing(up, 1, 1));  // 2 sin t = 1
  auto cap = locate<State>(attnflow::cap_exit(right.cast<float>(), 1 - std::cos(0.7), 1),
                           {.direction = Crossing::rising});
  auto both = attnflow::together<State>(plane, cap);
  REQUIRE(integrate(Turn<double>{}, OnSphere<DormandPrince5<State>>{}, x,
                    AdaptiveSteps{.to = 6, .rtol = 1e-11}, both)
              .outcome == Outcome::reached_end);
  CHECK(are_times(times_of(plane), {pi / 6, 5 * pi / 6}, 0, 1e-9));
  CHECK(are_times(times_of(cap), {0.7}, 0, 1e-9));

  CHECK(attnflow::token_distance(0, 1, 0.5)(0, State(2 * x)) == Approx(2 * std::sqrt(2) - 0.5));
  CHECK(attnflow::token_distance(0, 1, 1e200)(0, State(1e300 * x)) == Approx(std::sqrt(2) * 1e300));
  CHECK(refusal([] { (void)attnflow::token_distance(0, 1, 0); }) ==
        "token_distance: delta is 0, expected a positive finite number");
  CHECK(refusal([&] { (void)attnflow::token_distance(0, 2, 1)(0, x); }) ==
        "token_distance: token 2 is asked for, expected an index from 0 to 1");
  CHECK(refusal([&] { (void)attnflow::token_distance(-1, 0, 1)(0, x); }) ==
        "token_distance: token -1 is asked for, expected an index from 0 to 1");
  CHECK(refusal([] { (void)attnflow::hyperplane_crossing(Eigen::Vector2d(0, 0), 0, 0); }) ==
        "hyperplane_crossing: a is 0 or not finite, expected a finite vector other than 0");
  CHECK(refusal([&] { (void)attnflow::hyperplane_crossing(right, std::nan(""), 0); }) ==
        "hyperplane_crossing: c is nan, expected a finite number");
  CHECK(refusal([&] { (void)attnflow::hyperplane_crossing(Eigen::Vector3d(0, 0, 1), 0, 0)(0, x); }) ==
        "hyperplane_crossing: tokens have 2 coordinates, expected 3, as the vector has");
  CHECK(refusal([&] { (void)attnflow::cap_exit(right, 0, 0); }) ==
        "cap_exit: epsilon is 0, expected a number between 0 and 2");
  CHECK(refusal([&] { (void)attnflow::cap_exit(Eigen::Vector2d(std::nan(""), 0), 1, 0); }) ==
        "cap_exit: w is not finite, expected a unit vector");
}

TEST_CASE("a merge at the end of a step is an event at its time", "[observers]") {
  Decay::State x(1, 2);
  x << -1, 1;
  auto event = locate<Decay::State>(attnflow::token_distance(0, 1, 1e-3));
  attnflow::Merging<RungeKutta4<Decay::State>> stepper(0.1);
  REQUIRE(integrate(Decay{}, stepper, x, {.to = 10, .step = 0.125}, event).outcome == Outcome::reached_end);
  REQUIRE(stepper.events().size() == 1);
  CHECK(times_of(event) == std::vector<double>{stepper.events()[0].t});
  CHECK(event.events()[0].direction == Crossing::falling);
}

TEST_CASE("values that are no numbers and options without sense are refused in words", "[observers]") {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  CHECK(refusal([&] { (void)events_on_line([&](double x) { return x < 0.5 ? 1 : nan; }); }) ==
        "locate: g is nan at t = 0.5, expected a finite number");
  CHECK(refusal([&] {
          (void)events_on_line([&](double x) { return Eigen::Vector2d(x, x < 1 ? 1 : infinity); });
        }) == "locate: component 1 of g is inf at t = 1, expected a finite number");
  CHECK(refusal([&] {
          (void)events_on_line([](double x) { return std::vector<double>(x < 0.25 ? 2 : 1, 1.); });
        }) == "locate: g has 1 components at t = 0.25, expected 2, as before");
  const auto option = [](const LocateOptions& options) {
    return refusal([&] { (void)locate<Line>([](double, const Line&) { return 1.; }, options); });
  };
  CHECK(option({.tolerance = 1}) == "LocateOptions::tolerance is 1, expected a number from 0 to less than 1");
  CHECK(option({.tolerance = nan}) ==
        "LocateOptions::tolerance is nan, expected a number from 0 to less than 1");
  CHECK(option({.absolute_tolerance = infinity}) ==
        "LocateOptions::absolute_tolerance is inf, expected a finite number, at least 0");
  CHECK(option({.subdivisions = 0}) == "LocateOptions::subdivisions is 0, expected at least 1");
  CHECK(events_on_line([](double) { return std::vector<double>(); }).empty());
}
