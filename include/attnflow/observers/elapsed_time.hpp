/// \file
/// The time that passes where a run has another one.
#pragma once

#include <attnflow/integrators/concepts.hpp>
#include <attnflow/integrators/constant_speed.hpp>

#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The time t of a field f along a run of ConstantSpeed<F>, dt/dτ = c / ‖f(x(τ))‖, at the end of each step:
///
///     integrate(fast, stepper, x, {.to = 10, .step = 1e-3}, elapsed);   // elapsed.t() is the time of f
///
/// Each step adds the two-point rule of Gauss on the dense output, right to the fourth order and without the ends of the
/// step, at which tokens may have merged. t may be as large as e^{const · β}, and ∞ where f vanishes. Two evaluations of
/// f a step, which no report counts, and two numbers of memory.
template <VectorField F>
class ElapsedTime {
 public:
  using State = typename F::State;

  /// \param field  of the run; must live as long as this.
  explicit ElapsedTime(const ConstantSpeed<F>& field) : field_(&field) {}

  /// Adds the time that the step takes.
  void operator()(const StepView<State>& step) {
    const double h = step.t1() - step.t0();
    if (h > 0) {
      constexpr double node = 0.21132486540518712;  // (1 − 1/√3) / 2
      double rates = 0;
      for (const double s : {node, 1 - node}) {
        step.at(step.t0() + s * h, x_);
        rates += field_->time_rate(x_);
      }
      t_ += h / 2 * rates;
    }
    taus_.push_back(step.t1());
    times_.push_back(t_);
  }

  /// t at the end of the step made last, from 0 at the start.
  [[nodiscard]] double t() const noexcept { return t_; }
  /// The ends of the steps in the time τ of the run, its start included.
  [[nodiscard]] const std::vector<double>& taus() const noexcept { return taus_; }
  /// times()[k] is t at taus()[k].
  [[nodiscard]] const std::vector<double>& times() const noexcept { return times_; }

 private:
  const ConstantSpeed<F>* field_;
  double t_ = 0;
  std::vector<double> taus_, times_;
  State x_;
};

}}  // namespace attnflow
