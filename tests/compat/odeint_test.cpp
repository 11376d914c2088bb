// Boost.odeint both ways.
#include <attnflow/compat/odeint.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <boost/numeric/odeint/integrate/integrate_adaptive.hpp>
#include <boost/numeric/odeint/integrate/integrate_const.hpp>
#include <boost/numeric/odeint/integrate/integrate_times.hpp>
#include <boost/numeric/odeint/stepper/bulirsch_stoer.hpp>
#include <boost/numeric/odeint/stepper/controlled_runge_kutta.hpp>
#include <boost/numeric/odeint/stepper/dense_output_runge_kutta.hpp>
#include <boost/numeric/odeint/stepper/generation/generation_controlled_runge_kutta.hpp>
#include <boost/numeric/odeint/stepper/generation/generation_dense_output_runge_kutta.hpp>
#include <boost/numeric/odeint/stepper/generation/generation_runge_kutta_dopri5.hpp>
#include <boost/numeric/odeint/stepper/generation/make_controlled.hpp>
#include <boost/numeric/odeint/stepper/generation/make_dense_output.hpp>
#include <boost/numeric/odeint/stepper/runge_kutta4.hpp>
#include <boost/numeric/odeint/stepper/runge_kutta_dopri5.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "heap.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace odeint = boost::numeric::odeint;
using attnflow::AdaptiveSteps;
using attnflow::DormandPrince5;
using attnflow::FixedSteps;
using attnflow::from_odeint;
using attnflow::Head;
using attnflow::odeint_system;
using attnflow::Outcome;
using attnflow::RescaledDynamics;
using attnflow::RungeKutta4;
using attnflow::TokenDynamics;
using attnflow::Tokens;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// A run by our own stepper.
template <class Stepper, class Field, class Plan>
typename Field::State ours(const Field& field, typename Field::State x, const Plan& plan) {
  const auto report = attnflow::integrate(field, Stepper{}, x, plan);
  CHECK(report.outcome == Outcome::reached_end);
  return x;
}
template <class State>
double distance(const State& a, const State& b) {
  return static_cast<double>((a - b).cwiseAbs().maxCoeff());
}

/// The system of a driven pendulum for each column, as a user of odeint writes it: dxdt comes in with the right size.
struct Pendulum {
  using State = Tokens<double, 2>;
  void operator()(const State& x, State& dxdt, double t) const {
    for (Eigen::Index i = 0; i < x.cols(); ++i) {
      dxdt(0, i) = x(1, i);
      dxdt(1, i) = -std::sin(x(0, i)) + 0.3 * std::cos(1.3 * t);
    }
  }
};

template <class Scalar, int Dim>
void expect_agreement(Eigen::Index d) {
  using State = Tokens<Scalar, Dim>;
  const double unit = static_cast<double>(std::numeric_limits<Scalar>::epsilon());
  std::mt19937_64 generator(91);
  const RescaledDynamics<Scalar, Dim> field(random_head<Scalar, Dim>(generator, d));
  const State start = reference::random<State>(generator, d, 9);
  // The same tableau and the same steps: forty of them, each off by some roundings.
  const State expected = ours<RungeKutta4<State>>(field, start, FixedSteps{.to = 2, .step = 0.05});
  State x = start;
  using Stepper = odeint::runge_kutta4<State, Scalar>;
  CHECK(odeint::integrate_const(Stepper{}, odeint_system(field), x, 0.0, 2.0, 0.05) == 40);
  CHECK(distance(x, expected) <= 400 * unit);
  CHECK(distance(x, start) > 0.01);
}

}  // namespace

TEST_CASE("fields of ours in odeint's steppers", "[compat][odeint]") {
  expect_agreement<double, 3>(3);
  expect_agreement<double, Eigen::Dynamic>(5);
  expect_agreement<float, 2>(2);

  using State = Tokens<double, 3>;
  std::mt19937_64 generator(92);
  const TokenDynamics<double, 3> field(random_head<double, 3>(generator, 3));
  const State start = reference::random<State>(generator, 3, 9);
  const State expected =
      ours<DormandPrince5<State>>(field, start, AdaptiveSteps{.to = 1, .rtol = 1e-12, .atol = 1e-13});
  const double size = expected.cwiseAbs().maxCoeff();
  const auto run = [&](auto stepper) {
    State x = start;
    CHECK(odeint::integrate_adaptive(stepper, odeint_system(field), x, 0.0, 1.0, 0.1) > 1);
    return distance(x, expected) / size;
  };
  CHECK(run(odeint::make_controlled(1e-10, 1e-10, odeint::runge_kutta_dopri5<State>())) < 1e-8);
  CHECK(run(odeint::make_controlled(1e-4, 1e-4, odeint::runge_kutta_dopri5<State>())) < 1e-3);
  CHECK(run(odeint::make_dense_output(1e-10, 1e-10, odeint::runge_kutta_dopri5<State>())) < 1e-8);
  CHECK(run(odeint::bulirsch_stoer<State>(1e-10, 1e-10)) < 1e-8);

  // Dense output at times of the user's: our own gives the states.
  State x = start;
  const std::vector<double> times{0, 0.31, 0.62, 0.97};
  std::size_t seen = 0;
  odeint::integrate_times(
      odeint::make_dense_output(1e-10, 1e-10, odeint::runge_kutta_dopri5<State>()), odeint_system(field), x,
      times.begin(), times.end(), 0.1, [&](const State& at, double t) {
        CHECK(t == times[seen++]);
        CHECK(distance(at, t == 0 ? start
                                  : ours<DormandPrince5<State>>(
                                        field, start, AdaptiveSteps{.to = t, .rtol = 1e-12})) <= 1e-8 * size);
      });
  CHECK(seen == times.size());

  // A temporary field would be gone before the first step.
  const auto takes = []<class F>(std::type_identity<F>) {
    return requires(F f) { odeint_system(std::forward<F>(f)); };
  };
  using Field = TokenDynamics<double, 3>;
  CHECK(takes(std::type_identity<const Field&>{}));
  CHECK(!takes(std::type_identity<Field>{}));
}

TEST_CASE("systems of odeint's in our steppers", "[compat][odeint]") {
  using State = Pendulum::State;
  State start(2, 3);
  start << 0.1, 1.0, 3.0, 0.0, -0.4, 0.2;
  State theirs = start;
  odeint::integrate_const(odeint::runge_kutta4<State>{}, Pendulum{}, theirs, 0.0, 5.0, 0.05);
  CHECK(distance(ours<RungeKutta4<State>>(from_odeint<State>(Pendulum{}), start,
                                          FixedSteps{.to = 5, .step = 0.05}),
                 theirs) <= 4000 * epsilon);
  theirs = start;
  odeint::integrate_adaptive(odeint::make_controlled(1e-11, 1e-11, odeint::runge_kutta_dopri5<State>()),
                             Pendulum{}, theirs, 0.0, 5.0, 0.1);
  CHECK(distance(ours<DormandPrince5<State>>(from_odeint<State>(Pendulum{}), start,
                                             AdaptiveSteps{.to = 5, .rtol = 1e-11, .atol = 1e-11}),
                 theirs) <= 1e-8);
  // A lambda, and by reference something that counts.
  long calls = 0;
  auto counting = [&calls](const State& x, State& dxdt, double t) mutable {
    ++calls;
    Pendulum{}(x, dxdt, t);
  };
  State x = start;
  const auto report = attnflow::integrate(from_odeint<State>(std::ref(counting)), RungeKutta4<State>{}, x,
                                          {.to = 1, .step = 0.25});
  CHECK(calls == 16);
  CHECK(report.evaluations == 16);
  // There and back again: the field itself.
  const auto field = from_odeint<State>(Pendulum{});
  const auto system = odeint_system(field);
  State direct(2, 3), around;
  Pendulum{}(start, direct, 0.7);
  system(start, around, 0.7);
  CHECK(around == direct);
}

TEST_CASE("steps in odeint take nothing from the heap after the first", "[compat][odeint]") {
#ifdef ATTNFLOW_TEST_COUNTS
  std::mt19937_64 generator(93);
  const auto taken_by_steps = [&](auto stepper, auto x, const auto& field) {
    const auto system = odeint_system(field);
    double t = 0;
    long before = 0;
    for (int k = 0; k < 30; ++k) {
      if (k == 5) before = taken;
      if constexpr (requires { stepper.do_step(system, x, t, 0.01); })
        stepper.do_step(system, x, t, 0.01), t += 0.01;
    }
    return taken - before;
  };
  const RescaledDynamics<double, 3> fixed(random_head<double, 3>(generator, 3));
  const Tokens<double, 3> x = reference::random<Tokens<double, 3>>(generator, 3, 40);
  CHECK(taken_by_steps(odeint::runge_kutta4<Tokens<double, 3>>{}, x, fixed) == 0);
  CHECK(taken_by_steps(odeint::runge_kutta_dopri5<Tokens<double, 3>>{}, x, fixed) == 0);
  const RescaledDynamics<double> dynamic(random_head<double>(generator, 6));
  const Tokens<double> y = reference::random<Tokens<double>>(generator, 6, 40);
  CHECK(taken_by_steps(odeint::runge_kutta4<Tokens<double>>{}, y, dynamic) == 0);

  auto controlled = odeint::make_controlled(1e-9, 1e-9, odeint::runge_kutta_dopri5<Tokens<double, 3>>());
  Tokens<double, 3> state = x;
  double t = 0, h = 0.5;
  long before = 0, rejected = 0;
  for (int k = 0; k < 40; ++k) {
    if (k == 10) before = taken;
    rejected += controlled.try_step(odeint_system(fixed), state, t, h) == odeint::fail ? 1 : 0;
  }
  CHECK(taken == before);
  CHECK(rejected > 0);
#endif
  // An error that is not a number is not small.
  Tokens<double> error = Tokens<double>::Constant(2, 2, 1e-3);
  CHECK(attnflow::TokenAlgebra::norm_inf(error) == 1e-3);
  error(1, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK(attnflow::TokenAlgebra::norm_inf(error) == std::numeric_limits<double>::infinity());
}
