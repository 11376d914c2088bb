/// \file
/// Euler's method.
#pragma once

#include <attnflow/integrators/hermite.hpp>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Forward Euler, x(t + h) ≈ x + h f(t, x): order 1, one evaluation a step. In between, the cubic Hermite
/// interpolant.
template <StateMatrix State_>
class Euler {
 public:
  using State = State_;
  static constexpr int order = 1;
  static constexpr int dense_order = 1;

  /// Replaces x, the state at t, by the state at t + h. One evaluation, none where interpolate() made it.
  template <VectorField F>
  void step(const F& f, double t, State& x, double h) {
    if (!end_.is_at(t, x)) end_.place(t, x);
    begin_.swap(end_);
    x += static_cast<typename State::Scalar>(h) * begin_.value(f);
    end_.place(t + h, x);
  }
  /// The state at a time of the step made last. Costs one evaluation, which the next step reuses.
  template <VectorField F>
  void interpolate(const F& f, double t, State& x) {
    end_.value(f);
    hermite(begin_, end_, t, x);
  }
  /// Forgets the last step. Needed where the field changes between steps.
  void reset() noexcept { end_.reset(); }

 private:
  Slope<State> begin_, end_;  // of the step made last
};

}}  // namespace attnflow
