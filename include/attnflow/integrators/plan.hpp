/// \file
/// What a run is asked for, and how it ended.
#pragma once

#include <attnflow/detail/refuse.hpp>

#include <cmath>
#include <limits>
#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Stands where an option has no sensible default; validate() refuses it.
inline constexpr double required = std::numeric_limits<double>::quiet_NaN();

namespace detail {
inline void require_option(bool holds, std::string_view field, double value, std::string_view expected) {
  if (holds) return;
  if (std::isnan(value)) refuse(field, " is not set or not a number, expected ", expected);
  refuse(field, " is ", value, ", expected ", expected);
}
}  // namespace detail

/// Equal steps from `from` to `to`; the last is shortened to land on `to`. Step k begins at from + k · step.
///
/// A run that was stopped after k steps goes on with `first` = k and all else as it was: its times are then the
/// same products. With `from` at the time reached they would be other sums, rounded otherwise.
struct FixedSteps {
  /// The time at which the run begins, finite.
  double from = 0;
  double to = required;    ///< at least `from`
  double step = required;  ///< positive
  long first = 0;          ///< the step to begin with: the state given is the one after so many

  /// The time after k steps, which is `to` after the last. What rounding leaves of the last step is not a step
  /// of its own.
  [[nodiscard]] double time_after(long k) const noexcept {
    if (k == 0) return from;
    const double t = from + static_cast<double>(k) * step;
    return t > to - 1e-9 * step ? to : t;
  }

  /// \throws std::invalid_argument naming the field at fault.
  void validate() const {
    detail::require_option(std::isfinite(from), "FixedSteps::from", from, "a finite time");
    detail::require_option(std::isfinite(to) && to >= from, "FixedSteps::to", to,
                           "a finite time not before `from`");
    detail::require_option(std::isfinite(step) && step > 0, "FixedSteps::step", step,
                           "a positive finite number");
    detail::require_option(from + step > from && to - step < to, "FixedSteps::step", step,
                           "a step that moves the time, which double resolves");
    detail::require_option(first == 0 || (first > 0 && time_after(first - 1) < to), "FixedSteps::first",
                           static_cast<double>(first), "from 0 to the number of steps up to `to`");
  }
};

/// Steps chosen so that the estimated error of each, componentwise, is at most atol + rtol · max(|x| before,
/// |x| after). Where the rows of the state have one scale (see RowScaledField), |x| is the largest entry of the row: in
/// z = e^{−tV} x a coordinate grows like e^{|λ| t}, and a token that is near zero in it changes with the others.
///
/// A run that was stopped goes on with `from` at the time it reached, all else as it was, and the stepper's memory
/// restored.
struct AdaptiveSteps {
  /// The time at which the run begins, finite.
  double from = 0;
  double to = required;                                       ///< at least `from`
  double rtol = 1e-9;                                         ///< at least 10 ε of the scalar
  double atol = 1e-11;                                        ///< positive, or zero
  double first_step = 0;                                      ///< zero: chosen from the field [HNW93, II.4]
  double max_step = std::numeric_limits<double>::infinity();  ///< beside the field's own bound
  long max_steps = 100'000'000;                               ///< accepted and rejected ones

  /// \throws std::invalid_argument naming the field at fault.
  void validate(double epsilon = std::numeric_limits<double>::epsilon()) const {
    detail::require_option(std::isfinite(from), "AdaptiveSteps::from", from, "a finite time");
    detail::require_option(std::isfinite(to) && to >= from, "AdaptiveSteps::to", to,
                           "a finite time not before `from`");
    detail::require_option(std::isfinite(rtol) && rtol >= 10 * epsilon, "AdaptiveSteps::rtol", rtol,
                           "at least 10 epsilon of the scalar type");
    detail::require_option(std::isfinite(atol) && atol >= 0, "AdaptiveSteps::atol", atol,
                           "zero or a positive number");
    detail::require_option(std::isfinite(first_step) && first_step >= 0, "AdaptiveSteps::first_step",
                           first_step, "zero or a positive number");
    detail::require_option(max_step > 0, "AdaptiveSteps::max_step", max_step, "a positive number");
    detail::require_option(max_steps > 0, "AdaptiveSteps::max_steps", static_cast<double>(max_steps),
                           "a positive number");
  }
};

/// How a run ended.
enum class Outcome {
  reached_end,          ///< at plan.to
  stopped_by_observer,  ///< an observer answered Flow::stop
  /// max_steps were made or would not do, or the error or max_step asks for steps that the time cannot resolve; see
  /// Report::reason
  step_limit,
  non_finite  ///< the next state would not be finite; the state returned is the last that is
};

/// The report of a run, or of the part of it that one call of integrate() made.
struct Report {
  /// Why the run ended.
  Outcome outcome = Outcome::reached_end;
  double t = 0;          ///< the time of the state returned
  long steps = 0;        ///< accepted
  long rejected = 0;     ///< tried and discarded
  long evaluations = 0;  ///< of the field
  /// For step_limit and non_finite a sentence that says why, without a full stop; empty otherwise.
  std::string_view reason = {};
};

}}  // namespace attnflow
