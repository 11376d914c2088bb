/// \file
/// Observers that record: states at given times, and calls at equal intervals.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/integrators/concepts.hpp>

#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Times in [from, to], `count` of them, equally spaced with both ends; one time if from = to or count = 1.
/// \throws std::invalid_argument unless count ≥ 1 and from ≤ to, both finite.
[[nodiscard]] inline std::vector<double> equal_times(double from, double to, std::size_t count) {
  if (count < 1 || !std::isfinite(from) || !std::isfinite(to) || from > to)
    detail::refuse("equal_times: from ", from, " to ", to, ", count ", count,
                   ", expected from <= to, both finite, and a count of at least 1");
  if (from == to || count == 1) return {to};
  std::vector<double> times(count);
  for (std::size_t k = 0; k + 1 < count; ++k)
    times[k] = from + (to - from) * (static_cast<double>(k) / static_cast<double>(count - 1));
  times.back() = to;
  return times;
}

/// What at_times() and every() call: f(t, x), which does not change x and returns nothing or a Flow.
template <class Function, class State>
concept StateCallback = StateMatrix<State> && detail::StateObserver<Function, State>;

namespace detail {
/// f(t, x), and its answer as a Flow.
template <class Function, class State>
Flow call(Function& f, double t, const State& x) {
  if constexpr (std::is_same_v<std::invoke_result_t<Function&, double, const State&>, Flow>)
    return f(t, x);
  else
    f(t, x);
  return Flow::proceed;
}
}  // namespace detail

/// Calls f(t, x) at given times, x by dense output; at the end of a step the state itself. Times outside the
/// run are passed over. f returns nothing or a Flow; Flow::stop ends the run at the end of the step in which
/// the time lies.
template <StateMatrix State, StateCallback<State> Function>
class AtTimes {
 public:
  /// \throws std::invalid_argument unless the times are finite and increase.
  AtTimes(std::vector<double> times, Function f) : times_(std::move(times)), f_(std::move(f)) {
    for (std::size_t k = 0; k < times_.size(); ++k)
      if (!std::isfinite(times_[k]) || (k > 0 && !(times_[k] > times_[k - 1])))
        detail::refuse("AtTimes: time ", k, " is ", times_[k], ", expected finite times that increase");
  }

  /// Calls f at the times that lie in the step.
  Flow operator()(const StepView<State>& step) {
    while (next_ < times_.size() && times_[next_] < step.t0()) ++next_;
    while (next_ < times_.size() && times_[next_] <= step.t1()) {
      const double t = times_[next_++];  // served, also if f says stop: a run resumed does not serve it again
      step.at(t, scratch_);
      if (detail::call(f_, t, scratch_) == Flow::stop) return Flow::stop;
    }
    return Flow::proceed;
  }
  /// f, with what it gathered.
  [[nodiscard]] const Function& function() const noexcept { return f_; }

 private:
  std::vector<double> times_;
  Function f_;
  std::size_t next_ = 0;
  State scratch_;
};

/// Calls f(t, x) at t = from + k · interval, k = 0, 1, …, where the run starts at `from`. f as in AtTimes.
template <StateMatrix State, StateCallback<State> Function>
class Every {
 public:
  /// \throws std::invalid_argument unless the interval is positive and finite.
  Every(double interval, Function f) : interval_(interval), f_(std::move(f)) {
    if (!(std::isfinite(interval) && interval > 0))
      detail::refuse("every: interval is ", interval, ", expected a positive finite number");
  }

  /// Calls f at the multiples of the interval that lie in the step.
  Flow operator()(const StepView<State>& step) {
    if (next_ == 0) from_ = step.t0();
    const auto next = [&] { return from_ + static_cast<double>(next_) * interval_; };
    while (next() < step.t0()) ++next_;  // what was left of a step at which f said stop
    while (next() <= step.t1()) {
      const double t = next();
      ++next_;
      step.at(t, scratch_);
      if (detail::call(f_, t, scratch_) == Flow::stop) return Flow::stop;
    }
    return Flow::proceed;
  }

 private:
  double interval_, from_ = 0;
  Function f_;
  long next_ = 0;
  State scratch_;
};

/// An observer that calls f(t, x) at the given increasing times, such as
///
///     at_times<State>({0, 1, 10}, [&](double t, const State& x) { std::cout << t << ' ' << x.norm() << '\n'; })
template <StateMatrix State, StateCallback<State> Function>
[[nodiscard]] auto at_times(std::vector<double> times, Function f) {
  return AtTimes<State, Function>(std::move(times), std::move(f));
}

/// An observer that calls f(t, x) at equal intervals from the start of the run: every<State>(0.5, f).
template <StateMatrix State, StateCallback<State> Function>
[[nodiscard]] auto every(double interval, Function f) {
  return Every<State, Function>(interval, std::move(f));
}

/// Keeps the states at given times. Memory: one state for each time reached.
template <StateMatrix State>
class Trajectory {
 public:
  /// \throws std::invalid_argument unless the times are finite and increase.
  explicit Trajectory(std::vector<double> at) : recorder_(std::move(at), Keep{}) {}

  /// Keeps the states at the times that lie in the step.
  Flow operator()(const StepView<State>& step) { return recorder_(step); }

  /// The times reached, in order, and the states at them.
  [[nodiscard]] const std::vector<double>& times() const noexcept { return recorder_.function().times; }
  /// states()[k] is the state at times()[k].
  [[nodiscard]] const std::vector<State>& states() const noexcept { return recorder_.function().states; }
  /// How many times were reached.
  [[nodiscard]] std::size_t size() const noexcept { return times().size(); }

 private:
  struct Keep {
    std::vector<double> times;
    std::vector<State> states;
    void operator()(double t, const State& x) {
      times.push_back(t);
      states.push_back(x);
    }
  };
  AtTimes<State, Keep> recorder_;
};

}}  // namespace attnflow
