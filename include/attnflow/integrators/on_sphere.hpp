/// \file
/// Steppers that keep every particle on the unit sphere.
#pragma once

#include <attnflow/geometry/sphere.hpp>
#include <attnflow/integrators/concepts.hpp>

#include <Eigen/Core>

#include <concepts>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Any stepper, with every column scaled to length one after each step [HLW06, IV.4]: OnSphere<Euler<State>>
/// is the projected Euler method of the papers, OnSphere<DormandPrince5<State>> has error control and dense
/// output. The field f has to be tangent to the spheres; it is evaluated at unit columns alone.
///
/// In between, the stepper sees f extended to all of space,
///
///     g(t, x)ᵢ = ‖xᵢ‖ f(t, u)ᵢ,   uⱼ = xⱼ / ‖xⱼ‖,
///
/// which is tangent and as smooth as f away from the origin. Scaling takes a step's end by O(h^{p+1}) along
/// the radius, as far as the step's own error: steps and dense output, scaled likewise, keep their order. And
/// since g(t, x D) = g(t, x) D for every positive diagonal D, which Runge–Kutta methods preserve, scaling
/// after each step and at the end of the run alone give the same directions: nothing is lost to it but the
/// growth of the lengths.
///
/// The slope at the end of a step, g at its end before scaling, is known to be that at its scaled end, to the
/// last bit: no evaluation is made twice, however the stepper reuses its stages. The start of a run is taken
/// as it is; a particle at the origin stays. Beside the stepper's own cost: O(n d) an evaluation, three
/// states of memory.
template <class Stepper>
requires StateMatrix<typename Stepper::State>
class OnSphere : public detail::MemoryOf<Stepper> {
 public:
  /// What a run moves: d × n, unit columns.
  using State = typename Stepper::State;
  /// The number type of the state.
  using Scalar = typename State::Scalar;
  static constexpr int order = Stepper::order;
  static constexpr int dense_order = Stepper::dense_order;

  OnSphere() = default;
  /// \param stepper  that makes the steps in the space around the sphere.
  explicit OnSphere(Stepper stepper) : stepper_(std::move(stepper)) {}

  /// One step of given length.
  template <VectorField F>
  requires StepperFor<Stepper, F>
  void step(const F& f, double t, State& x, double h) {
    stepper_.step(Extended<F>{f, *this}, t, x, h);
    sphere::normalize(x);
  }

  /// The state at a time of the step made last. Costs what it costs the stepper.
  template <VectorField F>
  requires StepperFor<Stepper, F>
  void interpolate(const F& f, double t, State& x) {
    stepper_.interpolate(Extended<F>{f, *this}, t, x);
    sphere::normalize(x);
  }

  /// Forgets the last step. Needed where the field changes between steps.
  void reset() noexcept {
    known_ = false;
    stepper_.reset();
  }

  /// As the stepper's own; the error is that of the extended field.
  template <VectorField F>
  requires AdaptiveStepperFor<Stepper, F>
  [[nodiscard]] double attempt(const F& f, double t, const State& x, double h, double rtol, double atol) {
    return stepper_.attempt(Extended<F>{f, *this}, t, x, h, rtol, atol);
  }
  /// Moves x to the end of the step tried last, on the sphere.
  void accept(State& x) {
    stepper_.accept(x);
    sphere::normalize(x);
  }
  /// As the stepper's own.
  [[nodiscard]] double propose(double h, double error, bool accepted) {
    return stepper_.propose(h, error, accepted);
  }
  /// As the stepper's own, for the extended field.
  template <VectorField F>
  requires AdaptiveStepperFor<Stepper, F>
  [[nodiscard]] double first_step(const F& f, double t, const State& x, double longest, double rtol,
                                  double atol) {
    return stepper_.first_step(Extended<F>{f, *this}, t, x, longest, rtol, atol);
  }
  /// What the stepper carries from one step to the next; with t and x all that a run needs to be resumed.
  [[nodiscard]] auto memory() const noexcept requires requires(const Stepper& s) { s.memory(); }
  { return stepper_.memory(); }
  /// The next run goes on with this memory instead of choosing a first step.
  template <class Memory>
  void restore(const Memory& memory) noexcept requires requires(Stepper& s) {
    s.restore(memory);
  }
  { stepper_.restore(memory); }

 private:
  /// g, with f and the point of its last evaluation at hand. Points are compared after scaling, and scaling
  /// leaves alone what is scaled: so the end of a step and the same end scaled are one point.
  template <class F>
  struct Extended {
    using State = typename OnSphere::State;
    const F& f;
    OnSphere& self;

    void operator()(double t, const State& x, State& dx) const {
      State& trial = self.trial_;
      trial = x;
      const bool unit = sphere::normalize(trial, self.lengths_);
      const State& point = self.point_;
      // Scalars that carry derivatives compare by their values alone.
      const bool known = std::floating_point<Scalar> && self.known_ && t == self.t_ &&
                         trial.rows() == point.rows() && trial.cols() == point.cols() && trial == point;
      if (!known) {
        self.known_ = false;  // should f throw
        self.point_.swap(trial);
        f(t, self.point_, self.slope_);
        self.t_ = t;
        self.known_ = true;
      }
      if (unit) {  // as at every step's start
        dx = self.slope_;
        return;
      }
      dx.resize(x.rows(), x.cols());
      for (Eigen::Index i = 0; i < x.cols(); ++i) dx.col(i) = self.lengths_(i) * self.slope_.col(i);
    }
  };

  Stepper stepper_;
  bool known_ = false;
  double t_ = 0;
  State trial_, point_, slope_;  // f(t_, point_) is slope_
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1> lengths_;
};

}}  // namespace attnflow
