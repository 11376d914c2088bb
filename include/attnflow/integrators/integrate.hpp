/// \file
/// The driver: a field, a stepper, a state, a plan, and whoever wants to look on.
#pragma once

#include <attnflow/detail/value_of.hpp>
#include <attnflow/integrators/concepts.hpp>
#include <attnflow/integrators/plan.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <type_traits>
#include <utility>

namespace attnflow::inline ATTNFLOW_ABI {

/// Looks at nothing.
struct NoObserver {
  /// Does nothing.
  void operator()(double, const auto&) const noexcept {}
};

namespace detail {

/// A field that counts its evaluations.
template <VectorField F>
struct CountedField {
  using State = typename F::State;
  const F& field;
  long& evaluations;
  void operator()(double t, const State& x, State& dx) const {
    ++evaluations;
    field(t, x, dx);
  }
  [[nodiscard]] bool rows_have_one_scale() const { return detail::rows_have_one_scale(field); }
};

/// How far the next number lies above t.
[[nodiscard]] inline double spacing_at(double t) noexcept {
  return std::nextafter(t, std::numeric_limits<double>::infinity()) - t;
}

/// The step that the clock makes from t when it is asked for h, rounded down: where t is so large that t + h is rounded
/// by a part of h that matters, the state has to be moved by the rounded step. Not less than the spacing of the numbers
/// at t.
[[nodiscard]] inline double clock_step(double t, double h) noexcept {
  const double spacing = spacing_at(t);
  double step = (t + h) - t;
  if (step > h) step = (t + h - spacing) - t;
  return (std::max)(step, spacing);
}

/// Whether every entry is a finite number: 0 · x sums to 0, not to NaN. Faster than allFinite(), which goes
/// entry by entry and takes longer than a small step.
template <class State>
[[nodiscard]] bool all_finite(const State& x) {
  using Scalar = typename State::Scalar;
  return (x * Scalar(0)).sum() == Scalar(0);
}

/// Shows the step that the stepper made last to the observer.
template <class Field, class Stepper, class State, class Observer>
Flow show(const Field& field, Stepper& stepper, double t0, const Report& report, const State& x,
          Observer& observer) {
  struct Context {
    const Field& field;
    Stepper& stepper;
  } context{field, stepper};
  const StepView<State> view(
      t0, report.t, x, &context,
      [](void* self, double t, State& at) {
        auto& c = *static_cast<Context*>(self);
        c.stepper.interpolate(c.field, t, at);
      },
      &report);
  return notify<State>(observer, view);
}

/// \param before  scratch space: the state that a step began with, which comes back where the next is not
/// finite.
template <class F, class S, class O>
Report integrate_fixed(const F& f, S& stepper, typename F::State& x, const FixedSteps& plan, O& observer,
                       typename F::State& before) {
  plan.validate();
  Report report{.t = plan.time_after(plan.first)};
  const CountedField<F> field{f, report.evaluations};
  stepper.reset();
  const auto end = [&](Outcome outcome) {
    report.outcome = outcome;
    return report;
  };
  if (!all_finite(x)) return end(Outcome::non_finite);
  if (show(field, stepper, report.t, report, x, observer) == Flow::stop)
    return end(Outcome::stopped_by_observer);
  while (report.t < plan.to) {
    const double next = plan.time_after(plan.first + report.steps + 1);
    before = x;
    stepper.step(field, report.t, x, next - report.t);
    if (!all_finite(x)) {
      x = before;
      return end(Outcome::non_finite);
    }
    ++report.steps;
    const double from = std::exchange(report.t, next);
    if (show(field, stepper, from, report, x, observer) == Flow::stop)
      return end(Outcome::stopped_by_observer);
  }
  return end(Outcome::reached_end);
}

template <class F, class S, class O>
Report integrate_adaptive(const F& f, S& stepper, typename F::State& x, const AdaptiveSteps& plan,
                          O& observer) {
  using Scalar = typename F::State::Scalar;
  plan.validate(static_cast<double>(detail::value_of(Eigen::NumTraits<Scalar>::epsilon())));
  Report report{.t = plan.from};
  const CountedField<F> field{f, report.evaluations};
  stepper.reset();
  const auto end = [&](Outcome outcome) {
    report.outcome = outcome;
    return report;
  };
  if (!all_finite(x)) return end(Outcome::non_finite);
  if (show(field, stepper, report.t, report, x, observer) == Flow::stop)
    return end(Outcome::stopped_by_observer);
  if (plan.to == plan.from) return end(Outcome::reached_end);
  double longest = plan.max_step;
  if constexpr (StepBoundedField<F>) longest = (std::min)(longest, static_cast<double>(f.max_step()));
  double h = stepper.memory().next_step > 0 ? stepper.memory().next_step : plan.first_step;
  if (!(h > 0))
    h = stepper.first_step(field, plan.from, x, (std::min)(longest, plan.to - plan.from), plan.rtol,
                           plan.atol);
  while (report.t < plan.to) {
    if (report.steps + report.rejected >= plan.max_steps) return end(Outcome::step_limit);
    if (longest < spacing_at(report.t)) return end(Outcome::step_limit);  // the time would stand still
    h = (std::min)(h, longest);
    const double left = plan.to - report.t;
    const bool last = h >= left * (1 - 1e-12);
    const double step = last ? left : clock_step(report.t, h);
    const double error = stepper.attempt(field, report.t, x, step, plan.rtol, plan.atol);
    if (error <= 1) {
      stepper.accept(x);
      ++report.steps;
      const double from = std::exchange(report.t, last ? plan.to : report.t + step);
      h = stepper.propose(step, error, true);
      if (show(field, stepper, from, report, x, observer) == Flow::stop)
        return end(Outcome::stopped_by_observer);
    } else {
      ++report.rejected;
      h = stepper.propose(step, error, false);
      const double resolution = 4 * std::numeric_limits<double>::epsilon() * std::abs(report.t);
      if (h <= (std::max)(resolution, (std::numeric_limits<double>::min)()))
        return end(std::isfinite(error) ? Outcome::step_limit : Outcome::non_finite);
    }
  }
  return end(Outcome::reached_end);
}

}  // namespace detail

/// Integrates ẋ = f(t, x) from plan.from to plan.to with equal steps and replaces x by the last state that is
/// finite. With plan.first a run that was stopped goes on, to the bits of one never stopped.
///
/// The observer is called at the start and after each step; the trajectory has the same bits with any
/// observer and with none.
/// Cost of a step: that of the stepper, plus one evaluation where an observer looks in between.
/// \throws std::invalid_argument naming the field of the plan at fault; x is then unchanged.
template <VectorField F, class Stepper, class Observer = NoObserver>
requires StepperFor<std::remove_cvref_t<Stepper>, F> &&
    (!AdaptiveStepperFor<std::remove_cvref_t<Stepper>, F>)&&ObserverOf<std::remove_reference_t<Observer>,
                                                                       F> [[nodiscard]] Report
    integrate(const F& field, Stepper&& stepper, typename F::State& x, const FixedSteps& plan,
              Observer&& observer = {}) {
  typename F::State before;
  return detail::integrate_fixed(field, stepper, x, plan, observer, before);
}

/// The same with steps chosen by error control. The step is also at most field.max_step() where the field has
/// one. A stepper whose memory was restored goes on with it: a run stopped after a step and resumed has the
/// bits of one never stopped.
/// \throws std::invalid_argument naming the field of the plan at fault; x is then unchanged.
template <VectorField F, class Stepper, class Observer = NoObserver>
requires AdaptiveStepperFor<std::remove_cvref_t<Stepper>, F> &&
    ObserverOf<std::remove_reference_t<Observer>, F>
[[nodiscard]] Report integrate(const F& field, Stepper&& stepper, typename F::State& x,
                               const AdaptiveSteps& plan, Observer&& observer = {}) {
  return detail::integrate_adaptive(field, stepper, x, plan, observer);
}

/// An embedded pair with equal steps; the plan's type is spelled out: integrate(f, stepper, x,
/// FixedSteps{…}).
template <VectorField F, class Stepper, std::same_as<FixedSteps> Plan, class Observer = NoObserver>
requires AdaptiveStepperFor<std::remove_cvref_t<Stepper>, F> &&
    ObserverOf<std::remove_reference_t<Observer>, F>
[[nodiscard]] Report integrate(const F& field, Stepper&& stepper, typename F::State& x, const Plan& plan,
                               Observer&& observer = {}) {
  typename F::State before;
  return detail::integrate_fixed(field, stepper, x, plan, observer, before);
}

}  // namespace attnflow::inline ATTNFLOW_ABI
