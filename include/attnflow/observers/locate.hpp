/// \file
/// Events of a run: the times at which functions of time and state change their sign.
#pragma once

#include <attnflow/detail/crossing.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/integrators/concepts.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Which changes of sign count.
enum class Crossing {
  rising,   ///< from negative to positive
  falling,  ///< from positive to negative
  either    ///< both
};

/// How events are looked for.
struct LocateOptions {
  /// Which changes of sign are events.
  Crossing direction = Crossing::either;
  bool terminal = false;          ///< whether the first event ends the run
  double tolerance = 1e-12;       ///< of the time, as a share of the step that the event lies in
  double absolute_tolerance = 0;  ///< of the time; the larger of the two counts
  int subdivisions = 8;  ///< into how many equal parts a step is divided; signs at their ends are compared

  /// \throws std::invalid_argument naming the field at fault.
  void validate() const {
    if (!(tolerance >= 0 && tolerance < 1))
      detail::refuse("LocateOptions::tolerance is ", tolerance, ", expected a number from 0 to less than 1");
    if (!(absolute_tolerance >= 0 && std::isfinite(absolute_tolerance)))
      detail::refuse("LocateOptions::absolute_tolerance is ", absolute_tolerance,
                     ", expected a finite number, at least 0");
    if (subdivisions < 1)
      detail::refuse("LocateOptions::subdivisions is ", subdivisions, ", expected at least 1");
  }
};

/// A change of sign.
template <StateMatrix State>
struct Event {
  double t = 0;                           ///< when
  State state;                            ///< the state at t, by dense output
  Eigen::Index index = 0;                 ///< the component of g; 0 where g is a number
  Crossing direction = Crossing::rising;  ///< rising or falling
};

namespace detail {
template <class Value>
concept EventNumber = std::convertible_to<Value, double> && !std::same_as<std::remove_cvref_t<Value>, bool>;
template <class Values>
concept EventNumbers = requires(const Values& values, Eigen::Index k) {
  values.size();
  { values[static_cast<decltype(values.size())>(k)] } -> EventNumber;
};
}  // namespace detail

/// A function g(t, x) whose changes of sign are events: a number, or several in a vector (of Eigen or of the standard
/// library) with the same number of components at each call. A condition, which is true or false, is for stop_when().
template <class G, class State>
concept EventFunction = StateMatrix<State> && std::copy_constructible<G> &&
    requires(G& g, double t, const State& x) {
  g(t, x);
} &&(detail::EventNumber<std::invoke_result_t<G&, double, const State&>> ||
     detail::EventNumbers<std::remove_cvref_t<std::invoke_result_t<G&, double, const State&>>>);

/// The observer that locate() makes.
///
/// **What is an event.** A component of g has the sign of its last value that was not zero; it has crossed zero once a
/// value has the other sign. So a zero that is touched is no event, a zero at the end of a step is one at most once, and
/// where g is zero for a while before its sign changes, the event is at the end of that while. A run that begins at a
/// zero of g has no event there; the next run from the state of an event does not find it again.
///
/// **When.** g is compared at the ends of `subdivisions` equal parts of each accepted step. Where the sign changes, the
/// time is found on dense output: Event::t is the end of an interval, no longer than the tolerance, in which the sign
/// changes, and the state there has the new sign. Two crossings in one part are missed as a pair, of three one is found:
/// more subdivisions or shorter steps tell them apart. The time has also the error of dense output, O(h^{p+1}) for a
/// step of h and the stepper's dense_order p, divided by dg/dt. In float, dense output resolves about 10⁻⁷ of a step.
/// Where the state jumps at the end of a step, as in Merging, a crossing by the jump is an event at that time.
///
/// **The run.** Steps are not changed: a run has the same bits as one without events. A terminal event ends it by
/// StepView::end_at: Report::t and x are time and state of the event, and the outcome is stopped_by_observer. Later
/// events of the step are not recorded. Other observers beside have seen the whole step; the events of another
/// locate() may lie after Report::t. The observer keeps nothing that a checkpoint needs: in a resumed run a new one
/// finds the events that are left, unless g is zero at the time of the checkpoint.
///
/// Cost: one call of g and one of dense output for each part of a step, about ten of both for each event; memory: one
/// state for each event. Discrete layers have no times between them and are no fields: compare their states in a loop.
template <StateMatrix State, EventFunction<State> G>
class Locate {
 public:
  /// \throws std::invalid_argument as LocateOptions::validate does.
  Locate(G g, const LocateOptions& options) : g_(std::move(g)), options_(options) { options_.validate(); }

  /// Looks for events in the step. \throws std::invalid_argument, naming the time, if a value of g is not finite or the
  /// number of its components has changed.
  Flow operator()(const StepView<State>& step) {
    if (step.t0() == step.t1() || step.t0() != t_) begin(step);
    const double length = step.t1() - step.t0();
    const double tolerance = (std::max)(options_.absolute_tolerance, options_.tolerance * length);
    for (int k = 1; k <= options_.subdivisions; ++k) {
      const double next = k == options_.subdivisions
                              ? step.t1()
                              : step.t0() + length * (static_cast<double>(k) / options_.subdivisions);
      if (!(next > t_)) continue;
      evaluate(step, next, next_values_);
      if (cross(step, next, tolerance)) return step.end_at(t_);
      t_ = next;
      values_.swap(next_values_);
    }
    return Flow::proceed;
  }

  /// The events so far, in the order of time.
  [[nodiscard]] const std::vector<Event<State>>& events() const noexcept { return events_; }
  /// Forgets the events so far.
  void clear_events() noexcept { events_.clear(); }

 private:
  /// The values of g at t in the step.
  void evaluate(const StepView<State>& step, double t, std::vector<double>& values) {
    const bool at_end = t >= step.t1();
    if (!at_end) step.at(t, x_);
    const State& x = at_end ? step.state() : x_;
    using Values = std::invoke_result_t<G&, double, const State&>;
    if constexpr (detail::EventNumber<Values>) {
      values.assign(1, static_cast<double>(g_(t, x)));
      if (!std::isfinite(values[0]))
        detail::refuse("locate: g is ", values[0], " at t = ", t, ", expected a finite number");
    } else {
      const auto& all = g_(t, x);
      values.clear();
      for (Eigen::Index k = 0; k < static_cast<Eigen::Index>(all.size()); ++k) {
        values.push_back(static_cast<double>(all[static_cast<decltype(all.size())>(k)]));
        if (!std::isfinite(values.back()))
          detail::refuse("locate: component ", k, " of g is ", values.back(), " at t = ", t,
                         ", expected a finite number");
      }
      if (!sides_.empty() && values.size() != sides_.size())
        detail::refuse("locate: g has ", values.size(), " components at t = ", t, ", expected ",
                       sides_.size(), ", as before");
    }
  }

  /// Takes the signs at the step's start. Where g is zero, a run that goes on keeps the sign.
  void begin(const StepView<State>& step) {
    evaluate(step, step.t0(), values_);
    if (sides_.size() != values_.size() || t_ != step.t0()) sides_.assign(values_.size(), 0);
    for (std::size_t i = 0; i < values_.size(); ++i)
      if (values_[i] != 0) sides_[i] = values_[i] > 0 ? 1 : -1;
    t_ = step.t0();
  }

  /// Records the events in (t_, next]. \returns true if one of them ends the run, at t_ then.
  bool cross(const StepView<State>& step, double next, double tolerance) {
    found_.clear();
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      const double side = sides_[i];
      if (next_values_[i] == 0 || side * next_values_[i] > 0) continue;
      sides_[i] = next_values_[i] > 0 ? 1 : -1;
      const bool counts = options_.direction == Crossing::either ||
                          (options_.direction == Crossing::rising) == (sides_[i] > 0);
      if (side == 0 || !counts) continue;
      const auto v = [&](double t) {
        evaluate(step, t, between_);
        return side * between_[i];
      };
      found_.emplace_back(detail::crossing(t_, side * values_[i], next, side * next_values_[i], tolerance, v),
                          i);
    }
    std::ranges::sort(found_);
    for (const auto& [t, i] : found_) {
      step.at(t, x_);
      events_.push_back(
          {t, x_, static_cast<Eigen::Index>(i), sides_[i] > 0 ? Crossing::rising : Crossing::falling});
      if (!options_.terminal) continue;
      t_ = t;
      return true;
    }
    return false;
  }

  G g_;
  LocateOptions options_;
  double t_ = std::numeric_limits<double>::quiet_NaN();  // the time of values_
  std::vector<double> values_, next_values_, between_;
  std::vector<int> sides_;  // the last sign of each component; 0 where there was none
  std::vector<std::pair<double, std::size_t>> found_;  // times and components
  std::vector<Event<State>> events_;
  State x_;
};

/// An observer that finds the times at which g(t, x) crosses zero (see Locate), as in
///
///     auto met = locate<State>(token_distance(0, 1, 1e-3), {.direction = Crossing::falling, .terminal = true});
///     integrate(field, stepper, x, plan, met);   // x is the state at met.events()[0].t
template <StateMatrix State, EventFunction<State> G>
[[nodiscard]] auto locate(G g, const LocateOptions& options = {}) {
  return Locate<State, G>(std::move(g), options);
}

}}  // namespace attnflow
