/// \file
/// Euler's method.
#pragma once

#include <attnflow/integrators/hermite.hpp>

namespace attnflow::inline ATTNFLOW_ABI {

/// Forward Euler, x(t + h) ≈ x + h f(t, x): order 1, one evaluation a step. In between, the cubic Hermite
/// interpolant.
template <class State_>
class Euler {
 public:
  using State = State_;
  static constexpr int order = 1;
  static constexpr int dense_order = 1;

  template <VectorField F>
  void step(const F& f, double t, State& x, double h) {
    begin_slope_ = slope_.at(f, t, x);
    begin_ = x;
    x += static_cast<typename State::Scalar>(h) * begin_slope_;
    end_ = x;
    t0_ = t;
    t1_ = t + h;
  }
  /// The state at a time of the step made last. Costs one evaluation, which the next step reuses.
  template <VectorField F>
  void interpolate(const F& f, double t, State& x) {
    detail::hermite(t0_, t1_, begin_, begin_slope_, end_, slope_.at(f, t1_, end_), t, x);
  }
  /// Forgets the last step. Needed where the field changes between steps.
  void reset() noexcept { slope_.reset(); }

 private:
  detail::Slope<State> slope_;
  State begin_, begin_slope_, end_;
  double t0_ = 0, t1_ = 0;
};

}  // namespace attnflow::inline ATTNFLOW_ABI
