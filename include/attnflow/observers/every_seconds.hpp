/// \file
/// An observer that is called by the clock on the wall.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/integrators/concepts.hpp>

#include <chrono>
#include <cmath>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Shows another observer the start of a run and then the first step that ends `interval` seconds or more after the
/// last call ended: as for a checkpoint (io/checkpoint.hpp). Which steps these are differs from run to run; the steps
/// do not.
template <StateMatrix State, detail::RunObserver<State> Observer>
class EverySeconds {
 public:
  /// \param interval  0: every step.
  /// \throws std::invalid_argument unless the interval is finite and at least 0.
  EverySeconds(double interval, Observer observer) : interval_(interval), observer_(std::move(observer)) {
    if (!(std::isfinite(interval) && interval >= 0))
      detail::refuse("every_seconds: interval is ", interval, ", expected a finite number, at least 0");
  }

  /// Shows the step to the observer if its time has come.
  Flow operator()(const StepView<State>& step) {
    if (called_ && std::chrono::duration<double>(Clock::now() - last_).count() < interval_)
      return Flow::proceed;
    const Flow flow = notify<State>(observer_, step);
    last_ = Clock::now();
    called_ = true;
    return flow;
  }

 private:
  using Clock = std::chrono::steady_clock;
  double interval_;
  Observer observer_;
  bool called_ = false;
  Clock::time_point last_;
};

/// An observer that shows a run to another one at most every `interval` seconds.
template <StateMatrix State, detail::RunObserver<State> Observer>
[[nodiscard]] auto every_seconds(double interval, Observer observer) {
  return EverySeconds<State, Observer>(interval, std::move(observer));
}

}}  // namespace attnflow
