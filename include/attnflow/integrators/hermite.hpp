/// \file
/// Slopes that are not evaluated twice, and the cubic through two states and their slopes.
#pragma once

#include <attnflow/integrators/concepts.hpp>

#include <Eigen/Core>

namespace attnflow::inline ATTNFLOW_ABI::detail {

/// f(t, x), remembered: asking again for the same t and x gives the stored slope. A state that was changed in
/// between is noticed, a field that was changed is not: reset() then.
template <class State>
class Slope {
 public:
  template <class F>
  const State& at(const F& f, double t, const State& x) {
    const bool known = known_ && t == t_ && x.rows() == x_.rows() && x.cols() == x_.cols() && x == x_;
    if (!known) {
      f(t, x, value_);
      set(t, x);
    }
    return value_;
  }
  /// Takes what `slope` holds as f(t, x); `slope` is left with the old contents.
  void take(double t, const State& x, State& slope) {
    value_.swap(slope);
    set(t, x);
  }
  /// The slope asked for or taken last.
  [[nodiscard]] const State& value() const noexcept { return value_; }
  void reset() noexcept { known_ = false; }

 private:
  void set(double t, const State& x) {
    t_ = t;
    x_ = x;
    known_ = true;
  }
  bool known_ = false;
  double t_ = 0;
  State x_, value_;
};

/// The cubic with values a, b and slopes da, db at the ends of [t0, t1], at time t. Its own error is O((t1 −
/// t0)⁴).
template <class State>
void hermite(double t0, double t1, const State& a, const State& da, const State& b, const State& db, double t,
             State& x) {
  using Scalar = typename State::Scalar;
  const double h = t1 - t0, s = (t - t0) / h;
  const auto c = [](double value) { return static_cast<Scalar>(value); };
  // a + s (b − a) + s (1 − s) ((1 − s) (h da − (b − a)) − s (h db − (b − a)))
  x = a + c(s) * (b - a) + c(s * (1 - s)) * (c(1 - s) * (c(h) * da - (b - a)) - c(s) * (c(h) * db - (b - a)));
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
