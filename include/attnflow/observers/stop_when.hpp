/// \file
/// Observers that end a run, and observers that stand together.
#pragma once

#include <attnflow/integrators/concepts.hpp>

#include <concepts>
#include <tuple>
#include <type_traits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Ends a run after the first step at whose end a condition on (t, x) holds.
template <std::copy_constructible Condition>
struct StopWhen {
  /// Called as holds(t, x).
  Condition holds;
  /// Stops where the condition holds.
  Flow operator()(double t, const DecidedBy<Condition> auto& x) {
    return holds(t, x) ? Flow::stop : Flow::proceed;
  }
};

/// An observer that stops the run once condition(t, x) holds:
///
///     integrate(field, stepper, x, plan, stop_when([](double, const auto& x) { return x.norm() > 1e6; }));
template <std::copy_constructible Condition>
[[nodiscard]] auto stop_when(Condition condition) {
  return StopWhen<Condition>{std::move(condition)};
}

/// Ends a run once every token is within `tol` of the first one, coordinate by coordinate.
struct StopWhenConsensus {
  /// The largest difference of a coordinate from that of the first token.
  double tol = 1e-6;
  /// Stops where all tokens are near the first; at once where there are none.
  Flow operator()(double /*t*/, const auto& x) const {
    if (x.cols() == 0) return Flow::stop;
    const auto spread = (x.colwise() - x.col(0)).cwiseAbs().maxCoeff();
    return static_cast<double>(spread) <= tol ? Flow::stop : Flow::proceed;
  }
};

/// Ends a run once no coordinate of a token moved by more than `tol` · Δt within a step of length Δt.
/// A metastable state stands still, too: choose `tol` below the speeds of interest.
template <StateMatrix State>
class StopWhenStill {
 public:
  /// \param tol  a speed: change of a coordinate per unit of time.
  explicit StopWhenStill(double tol) : tol_(tol) {}
  /// Stops where nothing moved faster in this step.
  Flow operator()(const StepView<State>& step) {
    const double duration = step.t1() - step.t0();
    const bool still = duration > 0 && before_.size() == step.state().size() && before_.size() > 0 &&
                       static_cast<double>((step.state() - before_).cwiseAbs().maxCoeff()) <= tol_ * duration;
    before_ = step.state();
    return still ? Flow::stop : Flow::proceed;
  }

 private:
  double tol_;
  State before_;
};

/// Several observers as one. All of them see every step, also the one at which one of them says stop.
template <StateMatrix State, detail::RunObserver<State>... Observers>
class Together {
 public:
  /// \param observers  must live as long as this.
  explicit Together(Observers&... observers) : observers_(observers...) {}
  /// Shows the step to each in turn.
  Flow operator()(const StepView<State>& step) {
    bool stop = false;
    std::apply([&](auto&... each) { ((stop |= notify<State>(each, step) == Flow::stop), ...); }, observers_);
    return stop ? Flow::stop : Flow::proceed;
  }

 private:
  std::tuple<Observers&...> observers_;
};

/// Makes one observer of several, which are held by reference and must have names of their own:
///
///     auto both = together<State>(trajectory, progress);
template <StateMatrix State, detail::RunObserver<State>... Observers>
[[nodiscard]] auto together(Observers&... observers) {
  return Together<State, Observers...>(observers...);
}

}}  // namespace attnflow
