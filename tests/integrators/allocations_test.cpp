// What steps take from the heap after the first ones: nothing.
#include <attnflow/ensembles/ensemble.hpp>
#include <attnflow/ensembles/statistics.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/geodesic_runge_kutta4.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#if __has_include(<attnflow/systems/sphere_dynamics.hpp>)
#include <attnflow/systems/sphere_dynamics.hpp>
#define ATTNFLOW_TEST_SPHERE
#endif

#include "catch.hpp"
#include "draws.hpp"
#include "heap.hpp"

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#ifdef ATTNFLOW_TEST_COUNTS

namespace {

using attnflow::AdaptiveSteps;
using attnflow::DormandPrince5;
using attnflow::Euler;
using attnflow::FixedSteps;
using attnflow::integrate;
using attnflow::Outcome;
using attnflow::RungeKutta4;
using attnflow::StepView;

/// Counts the steps of a run, and what was taken from the heap since the tenth of them.
template <class State>
struct Watch {
  long steps = -1, since = 0, taken_since = 0;  // the start of a run is shown as a step, too
  void operator()(const StepView<State>&) {
    if (++steps == 10) since = taken;
    if (steps > 10) taken_since = taken - since;
  }
};

/// What 100 steps and more took from the heap after the tenth, with observers that look in between.
template <class Field, class Stepper, class Plan>
long taken_by_steps(const Field& field, Stepper stepper, typename Field::State x, const Plan& plan) {
  using State = typename Field::State;
  double sum = 0;
  const auto add = [&](double, const State& at) { sum += static_cast<double>(at.sum()); };
  auto at_times = attnflow::at_times<State>(attnflow::equal_times(plan.from, plan.to, 977), add);
  auto every = attnflow::every<State>((plan.to - plan.from) / 313, add);
  Watch<State> watch;
  auto observer = attnflow::together<State>(at_times, every, watch);
  const auto report = integrate(field, stepper, x, plan, observer);
  CHECK(report.outcome == Outcome::reached_end);
  CHECK(watch.steps >= 110);
  CHECK(std::isfinite(sum));
  if constexpr (std::is_same_v<Plan, AdaptiveSteps>) CHECK(report.rejected > 0);
  return watch.taken_since;
}

/// Linear decay toward a point that moves, fast at times: steps are rejected.
template <int Dim>
struct Chase {
  using State = attnflow::Tokens<double, Dim>;
  void operator()(double t, const State& x, State& dx) const {
    dx = (-3 * (x.array() - std::tanh(40 * std::sin(t)))).matrix();
  }
};

template <class Field>
void expect_nothing_taken(const Field& field, const typename Field::State& x, double to, double rtol) {
  using State = typename Field::State;
  const FixedSteps fixed{.to = to, .step = to / 150};
  CHECK(taken_by_steps(field, Euler<State>{}, x, fixed) == 0);
  CHECK(taken_by_steps(field, RungeKutta4<State>{}, x, fixed) == 0);
  CHECK(taken_by_steps(field, DormandPrince5<State>{}, x, fixed) == 0);
  // Every first step is far too long: some are rejected before the tenth; those of Chase, all along.
  CHECK(taken_by_steps(field, DormandPrince5<State>{}, x,
                       AdaptiveSteps{.to = to, .rtol = rtol, .atol = rtol, .first_step = to}) == 0);
}

template <int Dim>
attnflow::Tokens<double, Dim> start(Eigen::Index d, Eigen::Index n) {
  std::mt19937_64 generator(5);
  return random(d, n, generator);
}

/// Q, K and V with entries of the size of 1/√d, V with a positive diagonal.
template <int Dim>
attnflow::Head<double, Dim> weights(Eigen::Index d) {
  std::mt19937_64 generator(11);
  auto head = random_head<double, Dim>(generator, d);
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  head.Q *= scale;
  head.K *= scale;
  head.V *= scale / 2;
  head.V.diagonal().array() += 0.1;
  return head;
}

template <template <class, int> class System, int Dim>
void expect_system_takes_nothing(Eigen::Index d, double to) {
  expect_nothing_taken(System<double, Dim>(weights<Dim>(d)), start<Dim>(d, 33), to, 1e-13);
}

template <class Scalar, int Dim>
using Moving = attnflow::TokenDynamics<Scalar, Dim>;
template <class Scalar, int Dim>
using Rescaled = attnflow::RescaledDynamics<Scalar, Dim>;

}  // namespace

TEST_CASE("the counter counts", "[allocations]") {
  const void* volatile seen = nullptr;  // what is seen is not optimised away
  const long before = taken;
  const attnflow::Tokens<double> matrix(3, 100);
  seen = matrix.data();
  const std::vector<double> vector(100);
  seen = vector.data();
  const auto number = std::make_unique<double>(1);
  seen = number.get();
  const long counted = taken - before;
  CHECK(counted == 3);
  CHECK(seen == number.get());
}

TEST_CASE("steps after the first take nothing from the heap, states in between neither", "[allocations]") {
  expect_nothing_taken(Chase<3>{}, start<3>(3, 33), 30, 1e-7);
  expect_nothing_taken(Chase<Eigen::Dynamic>{}, start<Eigen::Dynamic>(3, 33), 30, 1e-7);
  expect_nothing_taken(Chase<Eigen::Dynamic>{}, start<Eigen::Dynamic>(16, 200), 30, 1e-7);
}

TEST_CASE("exponentials that are remembered take nothing from the heap", "[allocations]") {
  const auto taken_by_times = [](const auto& exponential) {
    double sum = 0;
    long before = 0;
    for (int k = -10; k < 100; ++k) {
      if (k == 0) before = taken;
      sum += exponential.recall(0.37 * k).matrix(0, 0) + exponential.recall(0.37 * k).log_scale;
    }
    CHECK(std::isfinite(sum));
    return taken - before;
  };
  CHECK(taken_by_times(attnflow::MatrixExponential<3>(weights<3>(3).V)) == 0);
  for (const Eigen::Index d : {1, 3, 8, 16})
    CHECK(taken_by_times(attnflow::MatrixExponential<>(weights<Eigen::Dynamic>(d).V)) == 0);
  CHECK(taken_by_times(attnflow::MatrixExponential<>(Eigen::MatrixXd::Identity(5, 5))) == 0);
}

TEST_CASE("exponentials that are remembered are those asked for", "[allocations]") {
  const auto same = [](const auto& a, const auto& b) {
    return (a.matrix.array() == b.matrix.array()).all() && a.log_scale == b.log_scale;
  };
  const attnflow::MatrixExponential<> first(weights<Eigen::Dynamic>(3).V),
      other(2 * weights<Eigen::Dynamic>(3).V), larger(weights<Eigen::Dynamic>(5).V),
      diagonal(Eigen::Matrix3d::Identity());
  const attnflow::MatrixExponential<> copy = first;
  for (int round = 0; round < 3; ++round)
    for (const double t : {0.5, -0.5, 0.5, 0.0, -0.0, 3.0, 0.7, 1e5, 0.5, 0.9})
      for (const auto* exponential : {&first, &other, &first, &larger, &copy, &diagonal, &first})
        REQUIRE(same(exponential->recall(t), (*exponential)(t)));
  // Another V under the same name.
  attnflow::MatrixExponential<> changing = first;
  CHECK(same(changing.recall(0.5), first(0.5)));
  changing = other;
  CHECK(same(changing.recall(0.5), other(0.5)));
  // Asked for again, also through a copy, the same object answers.
  const auto* const remembered = &first.recall(0.25);
  CHECK(&copy.recall(0.25) == remembered);
  (void)first.recall(0.5), (void)first.recall(0.75), (void)first.recall(1.0);
  CHECK(&first.recall(0.25) == remembered);
}

TEST_CASE("runs of an ensemble after the first take nothing from the heap", "[allocations]") {
  using State = attnflow::Tokens<double>;
  const Chase<Eigen::Dynamic> field;
  attnflow::set_threads(1);  // each thread has a first run of its own
  const auto taken_by = [&](Eigen::Index count, const auto& stepper, const auto& plan) {
    const attnflow::Ensemble ensemble(
        count, [&](Eigen::Index) -> const auto& { return field; },
        [](Eigen::Index k, attnflow::Generator& generator, State& x) {
          x.resize(3, 17);
          for (double& entry : x.reshaped()) entry = unit(generator) + static_cast<double>(k);
        });
    const auto statistic = attnflow::mean_at_times<State>(attnflow::equal_times(plan.from, plan.to, 77),
                                                          [](double, const State& x) { return x.mean(); });
    const long before = taken;
    const auto [mean, report] = ensemble.run(stepper, plan, statistic);
    const long after = taken;
    CHECK(report.reached_end == count);
    CHECK(mean[76].count() == count);
    return after - before;
  };
  // As many blocks of runs, and so of statistics, but four times the runs.
  const FixedSteps fixed{.to = 2, .step = 0.05};
  const AdaptiveSteps adaptive{.to = 2, .rtol = 1e-6, .first_step = 2};
  CHECK(taken_by(1024, Euler<State>{}, fixed) == taken_by(256, Euler<State>{}, fixed));
  CHECK(taken_by(1024, RungeKutta4<State>{}, fixed) == taken_by(256, RungeKutta4<State>{}, fixed));
  CHECK(taken_by(1024, DormandPrince5<State>{}, adaptive) ==
        taken_by(256, DormandPrince5<State>{}, adaptive));
}

TEST_CASE("drifts of attention take nothing from the heap", "[allocations][systems]") {
  expect_system_takes_nothing<Moving, 3>(3, 5);
  expect_system_takes_nothing<Moving, Eigen::Dynamic>(3, 5);
  expect_system_takes_nothing<Moving, Eigen::Dynamic>(16, 5);
  expect_system_takes_nothing<Rescaled, 3>(3, 5);
  expect_system_takes_nothing<Rescaled, Eigen::Dynamic>(3, 5);
  expect_system_takes_nothing<Rescaled, Eigen::Dynamic>(16, 5);
}

#ifdef ATTNFLOW_TEST_SPHERE
namespace {
template <class Scalar, int Dim>
using OnTheSphere = attnflow::SphereDynamics<Scalar, Dim>;
}
TEST_CASE("drifts on the sphere take nothing from the heap", "[allocations][systems]") {
  expect_system_takes_nothing<OnTheSphere, 3>(3, 5);
  expect_system_takes_nothing<OnTheSphere, Eigen::Dynamic>(16, 5);
  attnflow::Tokens<double> x = start<Eigen::Dynamic>(16, 33);
  x.colwise().normalize();
  CHECK(taken_by_steps(OnTheSphere<double, Eigen::Dynamic>(weights<Eigen::Dynamic>(16)),
                       attnflow::GeodesicRungeKutta4<attnflow::Tokens<double>>{}, x,
                       FixedSteps{.to = 5, .step = 0.04}) == 0);
}
#endif

#else

TEST_CASE("allocations are counted with glibc and without sanitizers", "[allocations]") { SUCCEED(); }

#endif
