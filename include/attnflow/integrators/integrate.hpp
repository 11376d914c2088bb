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
#include <string_view>
#include <type_traits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Looks at nothing.
struct NoObserver {
  /// Does nothing.
  void operator()(double, const auto&) const noexcept {}
};

/// A field that counts its evaluations, as Report::evaluations does: for steps made without integrate().
template <VectorField F>
struct CountedField {
  using State = typename F::State;
  const F& field;     ///< must live as long as this
  long& evaluations;  ///< one more after each call
  /// Writes the velocity to dx. \throws std::invalid_argument if dx then has another shape than x.
  void operator()(double t, const State& x, State& dx) const {
    ++evaluations;
    field(t, x, dx);
    if (dx.rows() != x.rows() || dx.cols() != x.cols())
      detail::refuse("integrate: the field wrote a velocity of ", dx.rows(), " x ", dx.cols(), ", expected ",
                     x.rows(), " x ", x.cols(), " as the state is");
  }
  /// See RowScaledField.
  [[nodiscard]] bool rows_have_one_scale() const { return detail::rows_have_one_scale(field); }
  /// See StepBoundedField.
  [[nodiscard]] double max_step() const requires StepBoundedField<F> {
    return static_cast<double>(field.max_step());
  }
};

namespace detail {

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

/// Notices that adaptive steps have collapsed and cannot reach the end of the plan.
///
/// Where a velocity jumps across a surface and points to it from both sides, as that of Hardmax does where keys tie, the
/// solution slides along the surface (Filippov), and step control crosses it to and fro by steps of about the tolerance
/// divided by the jump. A softmax of very large |β| does the same. The signs, over the last 1000 tries: each moved the
/// state by 0.1 to 1000 times the tolerance (a smooth motion moves it by 10⁴ and more, a state at rest by less than 0.1), and at
/// this pace the rest takes more than max_steps; a hundredth of them where all steps are shorter than 10⁻³ of the
/// longest before. A run that was resumed begins to count anew.
template <class State>
class CollapsedSteps {
 public:
  /// To be called after each try; step: its length where it was accepted, else 0.
  [[nodiscard]] bool operator()(const Report& report, const State& x, double step,
                                const AdaptiveSteps& plan) {
    constexpr long window = 1000;
    longest_ = (std::max)(longest_, step);
    const long tries = report.steps + report.rejected;
    if (tries < mark_ + window) return false;
    bool collapsed = false;
    if (mark_ > 0) {
      double size = 0, moved = 0;
      for (Eigen::Index j = 0; j < x.cols(); ++j)
        for (Eigen::Index i = 0; i < x.rows(); ++i) {
          const auto now = static_cast<double>(value_of(x(i, j)));
          size = (std::max)(size, std::abs(now));
          moved = (std::max)(moved, std::abs(now - static_cast<double>(value_of(x_(i, j)))));
        }
      moved /= window * (plan.atol + plan.rtol * size);
      const double needed = (plan.to - report.t) / (report.t - t_) * window,
                   limit =
                       static_cast<double>(plan.max_steps) / (longest_ < 1e-3 * longest_before_ ? 100 : 1);
      collapsed = moved >= 0.1 && moved <= 1000 && needed > limit;
    }
    mark_ = tries;
    t_ = report.t;
    x_ = x;
    longest_before_ = (std::max)(longest_before_, std::exchange(longest_, 0));
    return collapsed;
  }

 private:
  long mark_ = 0;  // the number of tries at t_ and x_
  double t_ = 0, longest_ = 0, longest_before_ = 0;
  State x_;
};

/// Whether every entry is a finite number: 0 · x sums to 0, not to NaN. Faster than allFinite(), which goes
/// entry by entry and takes longer than a small step.
template <class State>
[[nodiscard]] bool all_finite(const State& x) {
  using Scalar = typename State::Scalar;
  return (x * Scalar(0)).sum() == Scalar(0);
}

inline constexpr std::string_view next_not_finite = "the next state would have an entry that is not finite";

/// Shows the step that the stepper made last to the observer. Where it ends the run within the step, report.t and x
/// become the time and the state there.
template <class Field, class Stepper, class State, class Observer>
Flow show(const Field& field, Stepper& stepper, double t0, Report& report, State& x, Observer& observer) {
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
  const Flow flow = notify<State>(observer, view);
  if (view.run_end() == report.t) return flow;
  report.t = view.run_end();
  stepper.interpolate(field, report.t, x);
  return Flow::stop;
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
  const auto end = [&](Outcome outcome, std::string_view reason = {}) {
    report.outcome = outcome;
    report.reason = reason;
    return report;
  };
  if (!all_finite(x)) return end(Outcome::non_finite, "the start has an entry that is not finite");
  if (show(field, stepper, report.t, report, x, observer) == Flow::stop)
    return end(Outcome::stopped_by_observer);
  while (report.t < plan.to) {
    const double next = plan.time_after(plan.first + report.steps + 1);
    before = x;
    stepper.step(field, report.t, x, next - report.t);
    if (!all_finite(x)) {
      x = before;
      return end(Outcome::non_finite, next_not_finite);
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
  const auto end = [&](Outcome outcome, std::string_view reason = {}) {
    report.outcome = outcome;
    report.reason = reason;
    return report;
  };
  if (!all_finite(x)) return end(Outcome::non_finite, "the start has an entry that is not finite");
  if (show(field, stepper, report.t, report, x, observer) == Flow::stop)
    return end(Outcome::stopped_by_observer);
  if (plan.to == plan.from) return end(Outcome::reached_end);
  double longest = plan.max_step;
  if constexpr (StepBoundedField<F>) longest = (std::min)(longest, static_cast<double>(f.max_step()));
  double h = stepper.memory().next_step > 0 ? stepper.memory().next_step : plan.first_step;
  if (!(h > 0))
    h = stepper.first_step(field, plan.from, x, (std::min)(longest, plan.to - plan.from), plan.rtol,
                           plan.atol);
  CollapsedSteps<typename F::State> collapsed;
  while (report.t < plan.to) {
    if (report.steps + report.rejected >= plan.max_steps)
      return end(Outcome::step_limit, "max_steps were made");
    if (longest < spacing_at(report.t))  // the time would stand still
      return end(Outcome::step_limit, "the longest step allowed is shorter than the time resolves");
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
        return std::isfinite(error)
                   ? end(Outcome::step_limit, "the tolerance asks for steps shorter than the time resolves")
                   : end(Outcome::non_finite, next_not_finite);
    }
    if (collapsed(report, x, error <= 1 ? step : 0, plan))
      return end(Outcome::step_limit,
                 "steps have collapsed, as they do where the velocity jumps (Hardmax: a token slides along a "
                 "tie) or the "
                 "problem is too stiff, and max_steps will not do; take equal steps (Euler, Layers) or a "
                 "larger rtol");
  }
  return end(Outcome::reached_end);
}

}  // namespace detail

/// Integrates ẋ = f(t, x) from plan.from to plan.to with equal steps and replaces x by the last state that is
/// finite. With plan.first a run that was stopped goes on, to the bits of one never stopped.
///
/// The observer is called at the start and after each step; the trajectory has the same bits with any
/// observer and with none. One that ends the run within a step (StepView::end_at, as locate() does) leaves in x the
/// state at that time by dense output: `first` does not fit then, a run goes on with `from` = Report::t.
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
/// one. Where steps collapse, as on a surface across which the velocity jumps, the run ends early as step_limit, with
/// Report::reason. A stepper whose memory was restored goes on with it: a run stopped after a step and resumed has the
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

}}  // namespace attnflow
