/// \file
/// The classical Runge–Kutta method.
#pragma once

#include <attnflow/integrators/hermite.hpp>

namespace attnflow::inline ATTNFLOW_ABI {

/// The classical Runge–Kutta method of order 4 [HNW93, II.1, table 1.2]: four evaluations a step, each stage
/// at its own time and state. In between, the cubic Hermite interpolant (order 3).
template <class State_>
class RungeKutta4 {
 public:
  using State = State_;
  static constexpr int order = 4;
  static constexpr int dense_order = 3;

  template <VectorField F>
  void step(const F& f, double t, State& x, double h) {
    using Scalar = typename State::Scalar;
    const auto c = [](double value) { return static_cast<Scalar>(value); };
    k1_ = slope_.at(f, t, x);
    begin_ = x;
    stage_ = x + c(h / 2) * k1_;
    f(t + h / 2, stage_, k2_);
    stage_ = x + c(h / 2) * k2_;
    f(t + h / 2, stage_, k3_);
    stage_ = x + c(h) * k3_;
    f(t + h, stage_, k4_);
    x += c(h / 6) * (k1_ + Scalar(2) * (k2_ + k3_) + k4_);
    end_ = x;
    t0_ = t;
    t1_ = t + h;
  }
  /// The state at a time of the step made last. Costs one evaluation, which the next step reuses.
  template <VectorField F>
  void interpolate(const F& f, double t, State& x) {
    detail::hermite(t0_, t1_, begin_, k1_, end_, slope_.at(f, t1_, end_), t, x);
  }
  /// Forgets the last step. Needed where the field changes between steps.
  void reset() noexcept { slope_.reset(); }

 private:
  detail::Slope<State> slope_;
  State begin_, end_, stage_, k1_, k2_, k3_, k4_;
  double t0_ = 0, t1_ = 0;
};

}  // namespace attnflow::inline ATTNFLOW_ABI
