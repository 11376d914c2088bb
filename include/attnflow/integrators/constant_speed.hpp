/// \file
/// A field in another time, in which its solutions move at a constant speed.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/integrators/concepts.hpp>

#include <cmath>
#include <limits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The time change by the norm of a field that does not depend on time, ẋ = f(x) [GKPR24],
///
///     dx/dτ = c f(x) / ‖f(x)‖,   dt/dτ = c / ‖f(x)‖,
///
/// ‖·‖ over all tokens: the same orbits, on which τ is c⁻¹ times the length and t, which ElapsedTime gathers, the time of
/// f. A metastable state, where t passes by e^{const · β} while next to nothing moves, takes no longer than a merge.
///
/// Where f vanishes to the last bit, at a point of rest or where all of it has underflowed, dx/dτ is 0 and dt/dτ = ∞:
/// the run stands still. Near a point of rest that attracts, the field keeps its speed and turns at once: fixed steps
/// go to and fro over it, at its distance c h at most, and step control makes steps small. Where tokens meet, Merging
/// takes them past it. Norms neither overflow nor underflow. Cost: that of f and O(n d).
template <VectorField F>
class ConstantSpeed {
 public:
  using State = typename F::State;
  /// The number type of the state.
  using Scalar = typename State::Scalar;

  /// \param field  f, whose time argument is of no account; it is called with 0.
  /// \param speed  c.
  /// \throws std::invalid_argument unless c is positive and finite.
  explicit ConstantSpeed(F field, double speed = 1) : field_(std::move(field)), speed_(speed) {
    if (!(speed > 0 && std::isfinite(speed)))
      detail::refuse("ConstantSpeed: speed is ", speed, ", expected a positive finite number");
  }

  /// Writes dx/dτ at x to dx, resized to fit; where f is not finite, f.
  void operator()(double /*tau*/, const State& x, State& dx) const {
    field_(0, x, dx);
    const Scalar largest = dx.size() == 0 ? Scalar(0) : dx.cwiseAbs().maxCoeff();
    if (largest == Scalar(0) || !dx.allFinite()) return;
    dx /= largest;
    dx *= static_cast<Scalar>(speed_) / dx.norm();
  }

  /// dt/dτ = c / ‖f(x)‖ at x: ∞ where f vanishes, NaN where it is not finite. One evaluation.
  [[nodiscard]] double time_rate(const State& x) const {
    State dx;
    field_(0, x, dx);
    if (!dx.allFinite()) return std::numeric_limits<double>::quiet_NaN();
    const Scalar largest = dx.size() == 0 ? Scalar(0) : dx.cwiseAbs().maxCoeff();
    if (largest == Scalar(0)) return std::numeric_limits<double>::infinity();
    dx /= largest;
    return speed_ / static_cast<double>(dx.norm()) / static_cast<double>(largest);
  }

  /// f.
  [[nodiscard]] const F& field() const noexcept { return field_; }
  /// c.
  [[nodiscard]] double speed() const noexcept { return speed_; }

 private:
  F field_;
  double speed_;
};

}}  // namespace attnflow
