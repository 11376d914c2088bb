/// \file
/// The three roles of a run: a field gives velocities, a stepper moves the state, an observer looks on.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/integrators/plan.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <concepts>
#include <limits>
#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A state of a run: a matrix of Eigen that holds its numbers itself, such as Tokens; not a Map, a block or an
/// expression.
template <class X>
concept StateMatrix = std::derived_from<X, Eigen::PlainObjectBase<X>>;

/// The right-hand side of ẋ = f(t, x): a const call f(t, x, dx) that writes the velocity to its last
/// argument. The state is a matrix of Eigen, as a rule d × n with a particle in each column.
template <class F>
concept VectorField = StateMatrix<typename F::State> &&
    requires(const F& f, double t, const typename F::State& x, typename F::State& dx) {
  { f(t, x, dx) } -> std::same_as<void>;
};

/// A field that knows the largest step at which explicit stages stay where the flow stays, such as
/// RescaledDynamics.
template <class F>
concept StepBoundedField = VectorField<F> && requires(const F& f) {
  { f.max_step() } -> std::convertible_to<double>;
};

/// A field that says whether the entries of a row of its state, one coordinate of all particles, have one scale, such as
/// RescaledDynamics: error control then measures an error against the largest entry of the row.
template <class F>
concept RowScaledField = VectorField<F> && requires(const F& f) {
  { f.rows_have_one_scale() } -> std::convertible_to<bool>;
};

namespace detail {
template <VectorField F>
[[nodiscard]] bool rows_have_one_scale([[maybe_unused]] const F& f) {
  if constexpr (RowScaledField<F>)
    return f.rows_have_one_scale();
  else
    return false;
}
}  // namespace detail

/// Advances x from t to t + h and interpolates in the step it made last. `order` is the order of accuracy,
/// `dense_order` that of interpolate(); tests measure both.
template <class S, class F>
concept StepperFor = VectorField<F> &&
    requires(S& stepper, const F& f, double t, typename F::State& x, double h, typename F::State& y) {
  { S::order } -> std::convertible_to<int>;
  { S::dense_order } -> std::convertible_to<int>;
  { stepper.step(f, t, x, h) } -> std::same_as<void>;
  { stepper.interpolate(f, t, y) } -> std::same_as<void>;
  { stepper.reset() } -> std::same_as<void>;
};

/// A stepper that estimates its error and proposes the next step.
template <class S, class F>
concept AdaptiveStepperFor = StepperFor<S, F> && requires(S& stepper, const typename S::Memory& memory) {
  { stepper.memory() } -> std::same_as<typename S::Memory>;
  { stepper.restore(memory) } -> std::same_as<void>;
} && requires(S& stepper, const F& f, double t, typename F::State& x, double h, double tolerance) {
  { stepper.attempt(f, t, x, h, tolerance, tolerance) } -> std::convertible_to<double>;
  { stepper.accept(x) } -> std::same_as<void>;
  { stepper.propose(h, tolerance, true) } -> std::convertible_to<double>;
  { stepper.first_step(f, t, x, h, tolerance, tolerance) } -> std::convertible_to<double>;
};

namespace detail {
/// The memory of a stepper, where it has one: for steppers that wrap one.
template <class Stepper>
struct MemoryOf {};
template <class Stepper>
requires requires { typename Stepper::Memory; }
struct MemoryOf<Stepper> {
  using Memory = typename Stepper::Memory;
};
}  // namespace detail

/// What an observer answers: go on, or end the run after this step.
enum class Flow { proceed, stop };

/// One step of a run as an observer sees it: from t0 to t1, the state at its end, and states in between.
/// At the start of a run observers are shown a step with t0 = t1. It lives as long as the call.
template <StateMatrix State>
class StepView {
 public:
  /// Writes the state at t to x.
  using Interpolator = void (*)(void* self, double t, State& x);
  /// \param end  the state at t1. \param self, interpolator  called as interpolator(self, t, x) for states in
  /// between.
  StepView(double t0, double t1, const State& end, void* self, Interpolator interpolator,
           const Report* report = nullptr)
      : t0_(t0),
        t1_(t1),
        run_end_(t1),
        end_(end),
        self_(self),
        interpolator_(interpolator),
        report_(report) {}

  /// Where the step begins.
  [[nodiscard]] double t0() const noexcept { return t0_; }
  /// Where it ends.
  [[nodiscard]] double t1() const noexcept { return t1_; }
  /// The state at t1.
  [[nodiscard]] const State& state() const noexcept { return end_; }
  /// The state at a time in [t0, t1], by the stepper's dense output; at t1 itself the state, to the last bit.
  void at(double t, State& x) const {
    if (t >= t1_ || t0_ == t1_)
      x = end_;
    else
      interpolator_(self_, t, x);
  }
  /// What the run has taken so far, this step included; the outcome is not known yet. Evaluations that at() makes
  /// are counted at once. \pre the view is one that integrate() shows.
  [[nodiscard]] const Report& report() const noexcept {
    eigen_assert(report_ != nullptr);
    return *report_;
  }
  /// Ends the run at t in (t0, t1] in place of t1, so that its state is the one at t by dense output; of several such
  /// times the earliest counts. Beside this, the step is as it was: observers see all of it.
  /// \returns Flow::stop, the observer's answer.
  Flow end_at(double t) const noexcept {
    run_end_ = (std::min)(run_end_, (std::max)(t, t0_));
    return Flow::stop;
  }
  /// The time at which the run ends if it ends in this step: t1, or that of end_at().
  [[nodiscard]] double run_end() const noexcept { return run_end_; }

 private:
  double t0_, t1_;
  mutable double run_end_;
  const State& end_;
  void* self_;
  Interpolator interpolator_;
  const Report* report_;
};

namespace detail {
template <class R>
concept FlowOrVoid = std::same_as<R, void> || std::same_as<R, Flow>;

template <class O, class State>
concept StateObserver = requires(O& observer, double t, const State& x) {
  { observer(t, x) } -> FlowOrVoid;
};
template <class O, class State>
concept StepObserver = requires(O& observer, const StepView<State>& step) {
  { observer(step) } -> FlowOrVoid;
};
template <class O, class State>
concept RunObserver = StateObserver<O, State> || StepObserver<O, State>;
}  // namespace detail

/// Looks at a run and never changes it: callable with (t, state) at the end of each step, or with a StepView.
/// Returns nothing, or a Flow.
template <class O, class F>
concept ObserverOf = VectorField<F> && detail::RunObserver<O, typename F::State>;

/// A state on which a condition (t, x) can be decided: yes or no.
template <class State, class Condition>
concept DecidedBy = std::predicate<Condition&, double, const State&>;

/// Shows a step to an observer in the form it takes.
template <StateMatrix State, detail::RunObserver<State> O>
Flow notify(O& observer, const StepView<State>& step) {
  if constexpr (detail::StepObserver<O, State>) {
    if constexpr (std::same_as<decltype(observer(step)), Flow>)
      return observer(step);
    else
      observer(step);
  } else {
    if constexpr (std::same_as<decltype(observer(step.t1(), step.state())), Flow>)
      return observer(step.t1(), step.state());
    else
      observer(step.t1(), step.state());
  }
  return Flow::proceed;
}

}}  // namespace attnflow
