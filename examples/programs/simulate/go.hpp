// How a run goes: from its start or from a checkpoint to its end, or to a signal.
#pragma once

#include "programs/simulate/checkpoint.hpp"
#include "programs/simulate/models.hpp"

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/every_seconds.hpp>
#include <attnflow/observers/progress.hpp>
#include <attnflow/observers/stop_on_signal.hpp>
#include <attnflow/observers/trajectory.hpp>

#include <functional>

namespace simulation {

/// Who looks on.
template <class Scalar>
struct Watch {
  using State = Tokens<Scalar>;
  std::vector<double> times;                         ///< still to come
  std::function<void(double, const State&)> record;  ///< called at these
  attnflow::Progress* progress;                      ///< or null
  const attnflow::StopOnSignal& signal;
  Keeper<Scalar>& keeper;
  double seconds;  ///< between checkpoints

  void tell(double t, const State& x) const {
    if (progress != nullptr) (*progress)(t, x);
  }
};

/// Layers are a map, not a flow: the state shown at t is the output of layer ⌊t / Δt⌋.
template <class Scalar>
attnflow::Report go_through_layers(const Run<Scalar>& run, double step, double t_end, Tokens<Scalar>& x,
                                   const Watch<Scalar>& watch) {
  using State = Tokens<Scalar>;
  attnflow::Report report;
  const auto keep = [&](double, const State& state) { watch.keeper.save(report, state, false, nullptr); };
  auto keep_sometimes = attnflow::every_seconds<State>(watch.seconds, keep);
  const long last = layer_at(t_end, step);
  std::size_t next = 0;
  for (long k = watch.keeper.before().steps;; ++k) {
    const double before = std::exchange(report.t, std::min(static_cast<double>(k) * step, t_end));
    for (; next < watch.times.size() && layer_at(watch.times[next], step) == k; ++next)
      watch.record(watch.times[next], x);
    watch.tell(report.t, x);
    if (k == last) return report;
    const bool stop = watch.signal.signal() != 0;
    if (watch.keeper.active()) {
      if (stop)
        keep(report.t, x);
      else
        keep_sometimes(attnflow::StepView<State>(before, report.t, x, nullptr, nullptr));
    }
    if (stop) {
      report.outcome = attnflow::Outcome::stopped_by_observer;
      return report;
    }
    State previous = x;
    run.layer(x);
    ++report.evaluations;
    if (!x.allFinite()) {
      x = std::move(previous);
      report.outcome = attnflow::Outcome::non_finite;
      return report;
    }
    ++report.steps;
  }
}

/// Integrates by one stepper. Checkpoints are made once the row of a step is recorded.
template <class Scalar, class Stepper, class Plan>
attnflow::Report go_by(Stepper& stepper, const Plan& plan, const Run<Scalar>& run, Tokens<Scalar>& x,
                       const Watch<Scalar>& watch) {
  using State = Tokens<Scalar>;
  using View = attnflow::StepView<State>;
  // The last slope of a step of an embedded pair is the first of the next; others evaluate it where a row is
  // recorded inside the step.
  constexpr bool reuses_slopes = attnflow::AdaptiveStepperFor<Stepper, Field<Scalar>>;
  bool slope_known = false;
  auto record = attnflow::at_times<State>(watch.times, watch.record);
  const auto keep = [&](const View& step) {
    watch.keeper.save(step.report(), step.state(), slope_known, stepper);
  };
  auto keep_sometimes = attnflow::every_seconds<State>(watch.seconds, keep);
  const auto look = [&](const View& step) {
    const long evaluations = step.report().evaluations;
    record(step);
    slope_known = reuses_slopes || step.report().evaluations > evaluations;
    watch.tell(step.t1(), step.state());
    if (step.t1() >= plan.to) return attnflow::Flow::proceed;  // it ends anyway
    const bool stop = watch.signal.signal() != 0;
    if (watch.keeper.active()) {
      if (stop)
        keep(step);
      else
        keep_sometimes(step);
    }
    return stop ? attnflow::Flow::stop : attnflow::Flow::proceed;
  };
  return attnflow::integrate(run.field, stepper, x, plan, look);
}

/// Runs from x, records states at the times to come, leaves the last state in x. The report is of the whole run.
template <class Scalar>
attnflow::Report go(const Run<Scalar>& run, const Options& o, Tokens<Scalar>& x, const Watch<Scalar>& watch) {
  using State = Tokens<Scalar>;
  const Keeper<Scalar>& keeper = watch.keeper;
  if (o.system == "layers") return keeper.whole(go_through_layers(run, *o.dt, o.t_end, x, watch));
  const auto by = [&](auto stepper, const auto& plan) {
    keeper.kept().restore(stepper);
    if (o.system != "sphere") return keeper.whole(go_by(stepper, plan, run, x, watch));
    attnflow::OnSphere on_sphere(stepper);
    return keeper.whole(go_by(on_sphere, plan, run, x, watch));
  };
  const attnflow::Report& before = keeper.before();
  if (o.stepper == "dopri5") {
    attnflow::AdaptiveSteps plan{.from = before.t, .to = o.t_end, .rtol = *o.rtol, .atol = *o.atol};
    plan.max_steps -= before.steps + before.rejected;
    if (plan.max_steps <= 0) return keeper.whole({.outcome = attnflow::Outcome::step_limit, .t = before.t});
    return by(attnflow::DormandPrince5<State>{}, plan);
  }
  const attnflow::FixedSteps plan{.to = o.t_end, .step = *o.dt, .first = before.steps};
  if (o.stepper == "rk4") return by(attnflow::RungeKutta4<State>{}, plan);
  return by(attnflow::Euler<State>{}, plan);
}

}  // namespace simulation
