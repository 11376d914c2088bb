#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/geodesic_runge_kutta4.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/systems/merging.hpp>
#include <attnflow/types.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <cmath>
#include <vector>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::DormandPrince5;
using attnflow::FixedSteps;
using attnflow::Flow;
using attnflow::integrate;
using attnflow::Merging;
using attnflow::Outcome;
using attnflow::RungeKutta4;
using attnflow::StepView;
using attnflow::TokenSpace;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;
using Parts = std::vector<std::vector<Index>>;
using State = attnflow::Tokens<double, 1>;

/// Each token runs to 0 at a rate 1, and to a constant on top of it, the same for all: ẋ = 1 − x.
struct Drawn {
  using State = attnflow::Tokens<double, 1>;
  void operator()(double, const State& x, State& dx) const { dx = (1 - x.array()).matrix(); }
};
/// From 0, 4, 5 and 9 differences are 4, 1, 4, … times e^{−t}.
State start() {
  State x(1, 4);
  x << 0, 4, 5, 9;
  return x;
}

template <class A, class B>
bool same_bits(const A& a, const B& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && (a.array() == b.array()).all();
}

}  // namespace

TEST_CASE("tokens merge when they meet, and the run says when", "[merging]") {
  Merging<RungeKutta4<State>> stepper(0.1);
  State x = start();
  REQUIRE(integrate(Drawn{}, stepper, x, FixedSteps{.to = 5, .step = 0.01}).outcome == Outcome::reached_end);
  // 4 and 5 meet at 4.5 at t = log 10, 2.303; then 0 and 4.5, 4.5 and 9 at log 45, 3.807.
  REQUIRE(stepper.events().size() == 2);
  CHECK(stepper.events()[0].t == Approx(2.31).epsilon(1e-12));
  CHECK(stepper.events()[0].merge.parts == Parts{{1}, {2}});
  CHECK(stepper.events()[1].t == Approx(3.81).epsilon(1e-12));
  CHECK(stepper.events()[1].merge.parts == Parts{{0}, {1, 2}, {3}});
  CHECK((x.array() == x(0, 0)).all());
  CHECK(x(0, 0) == Approx(1 + 3.5 * std::exp(-5.)).epsilon(1e-9));  // the mean, 4.5, has not been moved
  stepper.clear_events();
  CHECK(stepper.events().empty());
}

TEST_CASE("without a merge a run has the bits of its stepper", "[merging]") {
  const auto compare = [](auto stepper, const auto& plan) {
    using Stepper = decltype(stepper);
    State x = start(), y = x;
    Merging<Stepper> merging(1e-9, TokenSpace::euclidean, stepper);
    const auto plain = integrate(Drawn{}, stepper, x, plan), merged = integrate(Drawn{}, merging, y, plan);
    CHECK(same_bits(x, y));
    CHECK(plain.evaluations == merged.evaluations);
    CHECK(plain.steps == merged.steps);
    CHECK(merging.events().empty());
  };
  compare(attnflow::Euler<State>{}, FixedSteps{.to = 2, .step = 0.1});
  compare(RungeKutta4<State>{}, FixedSteps{.to = 2, .step = 0.1});
  compare(DormandPrince5<State>{}, AdaptiveSteps{.to = 2});
}

TEST_CASE("merging with step control: the same merges, resumed to the same bits", "[merging]") {
  using Stepper = Merging<DormandPrince5<State>>;
  const AdaptiveSteps plan{.to = 5, .max_step = 0.05};
  State whole = start();
  Stepper stepper(0.1);
  const auto full = integrate(Drawn{}, stepper, whole, plan);
  REQUIRE(full.outcome == Outcome::reached_end);
  REQUIRE(stepper.events().size() == 2);
  CHECK(stepper.events()[0].t == Approx(2.33).margin(0.03));
  CHECK(stepper.events()[1].merge.parts == Parts{{0}, {1, 2}, {3}});
  for (const long k : {1L, full.steps / 2, full.steps - 1}) {
    State x = start();
    Stepper first(0.1), second(0.1);
    long seen = -1;
    const auto stop = [&](double, const State&) { return ++seen == k ? Flow::stop : Flow::proceed; };
    const auto before = integrate(Drawn{}, first, x, plan, stop);
    second.restore(first.memory());
    AdaptiveSteps rest = plan;
    rest.from = before.t;
    CHECK(integrate(Drawn{}, second, x, rest).outcome == Outcome::reached_end);
    CHECK(same_bits(x, whole));
    CHECK(first.events().size() + second.events().size() == 2);
  }
}

TEST_CASE("inside the step of a merge states are those before it", "[merging]") {
  Merging<RungeKutta4<State>> stepper(0.1);
  State x = start(), inside;
  double jump = -1, gap = -1;
  const auto look = [&](const StepView<State>& step) {
    if (stepper.events().empty() || jump >= 0) return;
    step.at(step.t1() - 1e-9, inside);
    gap = inside(0, 2) - inside(0, 1);
    jump = std::abs(step.state()(0, 1) - inside(0, 1));
    CHECK(step.state()(0, 1) == step.state()(0, 2));
  };
  REQUIRE(integrate(Drawn{}, stepper, x, FixedSteps{.to = 3, .step = 0.01}, look).outcome ==
          Outcome::reached_end);
  CHECK(gap == Approx(std::exp(-2.31)).epsilon(1e-6));
  CHECK(jump == Approx(gap / 2).epsilon(1e-6));
}

TEST_CASE("merging on the sphere and on the circle", "[merging]") {
  using Points = attnflow::Tokens<double, 3>;
  struct Pole {  // ẋ = P(x) e₃
    using State = Points;
    void operator()(double, const Points& x, Points& dx) const {
      dx = -x * x.row(2).asDiagonal();
      dx.row(2).array() += 1;
    }
  };
  Points x(3, 3);
  x << 1, 0.8, 0, 0, 0.6, -1, 0, 0, 0;
  Merging<attnflow::GeodesicRungeKutta4<Points>> stepper(0.01, TokenSpace::sphere);
  REQUIRE(integrate(Pole{}, stepper, x, FixedSteps{.to = 8, .step = 0.05}).outcome == Outcome::reached_end);
  CHECK((x.colwise().norm().array() - 1).abs().maxCoeff() <= 1e-15);
  CHECK(stepper.events().size() == 2);
  CHECK(x.col(0) == x.col(2));

  struct Turning {  // angles to an angle that turns
    using State = attnflow::Tokens<double, 1>;
    void operator()(double t, const State& theta, State& dtheta) const {
      dtheta = (t - theta.array()).sin().matrix();
    }
  };
  State theta(1, 2);
  theta << 3, -2.9;  // 0.38 apart, across the cut
  Merging<RungeKutta4<State>> on_circle(0.05, TokenSpace::circle);
  REQUIRE(integrate(Turning{}, on_circle, theta, FixedSteps{.to = 12, .step = 0.05}).outcome ==
          Outcome::reached_end);
  CHECK(on_circle.events().size() == 1);
  CHECK(theta(0, 0) == theta(0, 1));
}

TEST_CASE("merging refuses a tolerance that is none, and leaves what is not finite to the driver",
          "[merging]") {
  CHECK_THAT(refusal([] { Merging<RungeKutta4<State>> s(-1); }),
             ContainsSubstring("merge_tokens: tol is -1"));
  CHECK_THAT(refusal([] { Merging<RungeKutta4<State>> s(2, TokenSpace::circle); }),
             ContainsSubstring("merge_tokens: tol is 2"));
  struct Explosion {
    using State = attnflow::Tokens<double, 1>;
    void operator()(double, const State& x, State& dx) const { dx = (x.array() * 1e300).matrix(); }
  };
  State x = start();
  CHECK(integrate(Explosion{}, Merging<RungeKutta4<State>>(0.1), x, FixedSteps{.to = 1, .step = 1}).outcome ==
        Outcome::non_finite);
}
