/// \file
/// The classical Runge–Kutta method.
#pragma once

#include <attnflow/detail/value_of.hpp>
#include <attnflow/integrators/hermite.hpp>

#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The classical Runge–Kutta method of order 4 [HNW93, II.1, table 1.2]: four evaluations a step, each stage
/// at its own time and state. In between, the cubic Hermite interpolant (order 3).
template <StateMatrix State_>
class RungeKutta4 {
 public:
  using State = State_;
  static constexpr int order = 4;
  static constexpr int dense_order = 3;

  /// Replaces x, the state at t, by the state at t + h. Four evaluations, three where interpolate() made the
  /// first.
  template <VectorField F>
  void step(const F& f, double t, State& x, double h) {
    using Scalar = typename State::Scalar;
    using Real = detail::Value<Scalar>;
    using Wide = std::common_type_t<Real, double>;
    const auto c = [](Wide value) { return static_cast<Scalar>(static_cast<Real>(value)); };
    const auto length = static_cast<Wide>(h);
    if (!end_.is_at(t, x)) end_.place(t, x);
    begin_.swap(end_);
    const State& k1 = begin_.value(f);
    stage_ = x + c(length / 2) * k1;
    f(t + h / 2, stage_, k2_);
    stage_ = x + c(length / 2) * k2_;
    f(t + h / 2, stage_, k3_);
    stage_ = x + c(length) * k3_;
    f(t + h, stage_, k4_);
    x += c(length / 6) * (k1 + Scalar(2) * (k2_ + k3_) + k4_);
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
  State stage_, k2_, k3_, k4_;
};

}}  // namespace attnflow
