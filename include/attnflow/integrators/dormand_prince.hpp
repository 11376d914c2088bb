/// \file
/// The embedded pair of Dormand and Prince, with step control and dense output.
#pragma once

#include <attnflow/detail/value_of.hpp>
#include <attnflow/integrators/hermite.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {
template <class Scalar>
[[nodiscard]] constexpr Scalar ratio(double p, double q) {
  using Wide = std::common_type_t<Scalar, double>;
  return static_cast<Scalar>(static_cast<Wide>(p) / static_cast<Wide>(q));
}
}  // namespace detail

/// Dormand–Prince 5(4) [DP80; HNW93, II.5 table 5.2]: seven stages, six evaluations a step (the last slope of
/// a step is the first of the next), error estimate of order 4, dense output of order 4 [HNW93, II.6]. The PI
/// controller of [HW96, IV.2] with safety 0.9, exponents 0.17 and 0.04, and step ratios from 0.2 to 10.
/// Of scalars that carry derivatives the error of the values decides; such a step costs seven evaluations.
template <StateMatrix State_>
class DormandPrince5 {
 public:
  using State = State_;
  /// The number type of the state.
  using Scalar = typename State::Scalar;
  static constexpr int order = 5;
  static constexpr int dense_order = 4;

  /// What the controller carries from one step to the next. With the time and the state it is all that a run
  /// needs to go on as if it had never stopped.
  struct Memory {
    double next_step = 0;  ///< proposed by the last accepted step; zero: none yet
    /// The error ratio of the last accepted step, at least 10⁻⁴.
    double previous_error = 1e-4;
    /// The last try was rejected: the next step is no longer than it.
    bool after_rejection = false;
  };

  /// One step of given length.
  template <VectorField F>
  void step(const F& f, double t, State& x, double h) {
    make_stages(f, t, x, h);
    accept(x);
  }

  /// Tries a step from (t, x); accept() takes it. \returns the estimated error as a multiple of what is
  /// allowed (see AdaptiveSteps), the largest over all components: acceptable up to 1; not finite if the new
  /// state or the estimate is not.
  template <VectorField F>
  [[nodiscard]] double attempt(const F& f, double t, const State& x, double h, double rtol, double atol) {
    make_stages(f, t, x, h);
    const State& k1 = end_.value();
    const bool by_row = detail::rows_have_one_scale(f);
    if (by_row) set_row_scales(x, next_);
    double worst = 0;
    for (Eigen::Index j = 0; j < x.cols(); ++j)
      for (Eigen::Index i = 0; i < x.rows(); ++i) {
        const double after = number(next_(i, j));
        if (!std::isfinite(after)) return std::numeric_limits<double>::infinity();
        const auto v = [&](const State& k) { return detail::value_of(k(i, j)); };
        const double error =
            std::abs(static_cast<double>(static_cast<Real>(h) * (e1 * v(k1) + e3 * v(k3_) + e4 * v(k4_) +
                                                                 e5 * v(k5_) + e6 * v(k6_) + e7 * v(k7_))));
        if (error == 0) continue;
        const double size = by_row ? row_scales_(i) : (std::max)(std::abs(number(x(i, j))), std::abs(after));
        const double allowed = atol + rtol * size;
        const double ratio = error / allowed;
        if (!std::isfinite(ratio)) return std::numeric_limits<double>::infinity();
        worst = (std::max)(worst, ratio);
      }
    return worst;
  }

  /// Moves x to the end of the step tried last.
  void accept(State& x) {
    x.swap(next_);
    begin_.swap(end_);
    end_.take(t1_, x, k7_);
  }

  /// The step to try after one of length h with the given error ratio, accepted or not.
  [[nodiscard]] double propose(double h, double error, bool accepted) {
    constexpr double safety = 0.9, alpha = 0.17, beta = 0.04, smallest = 0.2, largest = 10;
    if (!std::isfinite(error)) {
      memory_.after_rejection = true;
      return h * smallest;
    }
    const double decline = std::pow(error, alpha);
    if (!accepted) {
      memory_.after_rejection = true;
      return h * std::clamp(safety / decline, smallest, 1.0);
    }
    double ratio = largest;
    if (error > 0)
      ratio = std::clamp(safety * std::pow(memory_.previous_error, beta) / decline, smallest, largest);
    if (memory_.after_rejection) ratio = (std::min)(ratio, 1.0);
    memory_.previous_error = (std::max)(error, 1e-4);
    memory_.after_rejection = false;
    memory_.next_step = h * ratio;
    return memory_.next_step;
  }

  /// A first step from the sizes of the state, its slope and its curvature [HNW93, II.4]; two evaluations,
  /// one of which the step reuses.
  template <VectorField F>
  [[nodiscard]] double first_step(const F& f, double t, const State& x, double longest, double rtol,
                                  double atol) {
    const bool by_row = detail::rows_have_one_scale(f);
    if (by_row) set_row_scales(x, x);
    const auto size = [&](const State& v) {
      double worst = 0;
      for (Eigen::Index j = 0; j < x.cols(); ++j)
        for (Eigen::Index i = 0; i < x.rows(); ++i) {
          const double allowed = atol + rtol * (by_row ? row_scales_(i) : std::abs(number(x(i, j))));
          const double value = std::abs(number(v(i, j)));
          if (value != 0 && allowed > 0) worst = (std::max)(worst, value / allowed);
        }
      return worst;
    };
    if (!end_.is_at(t, x)) end_.place(t, x);
    const State& slope = end_.value(f);
    const double state_size = size(x), slope_size = size(slope);
    double h = state_size < 1e-5 || slope_size < 1e-5 ? 1e-6 : 0.01 * state_size / slope_size;
    h = (std::min)(h, longest);
    stage_ = x + static_cast<Scalar>(h) * slope;
    f(t + h, stage_, k2_);
    k2_ -= slope;
    const double bend_size = size(k2_) / h, steepest = (std::max)(slope_size, bend_size);
    const double refined =
        steepest <= 1e-15 ? (std::max)(1e-6, h * 1e-3) : std::pow(0.01 / steepest, 1.0 / order);
    const double chosen = (std::min)({100 * h, refined, longest});
    return chosen > 0 ? chosen
                      : (std::min)(1e-6, longest);  // not finite where the field is not: the attempt says so
  }

  /// The state at a time of the step made last; no evaluation.
  template <VectorField F>
  void interpolate(const F&, double t, State& x) {
    const double s = (t - begin_.t()) / (end_.t() - begin_.t());
    const Scalar h = c(end_.t() - begin_.t());
    const State &k1 = begin_.value(), &k7 = end_.value();
    State &difference = stage_, &bend = k2_;  // neither is needed any more
    difference = end_.x() - begin_.x();
    bend = h * k1 - difference;
    x = begin_.x() +
        c(s) * (difference + c(1 - s) * (bend + c(s) * ((difference - h * k7 - bend) +
                                                        c(1 - s) * h *
                                                            (c(d1) * k1 + c(d3) * k3_ + c(d4) * k4_ +
                                                             c(d5) * k5_ + c(d6) * k6_ + c(d7) * k7))));
  }

  /// What restore() takes: to be kept with t and x where a run is to be resumed.
  [[nodiscard]] Memory memory() const noexcept { return memory_; }
  /// The next run goes on with this memory instead of choosing a first step.
  void restore(const Memory& memory) noexcept {
    memory_ = memory;
    restored_ = true;
  }
  /// Forgets everything but a memory just restored. A run begins with it.
  void reset() noexcept {
    end_.reset();
    if (!restored_) memory_ = {};
    restored_ = false;
  }

 private:
  /// The scalar of the tableau: numbers without derivatives.
  using Real = detail::Value<Scalar>;
  [[nodiscard]] static double number(const Scalar& s) { return static_cast<double>(detail::value_of(s)); }
  /// A coefficient as a factor of states.
  template <std::floating_point T>
  [[nodiscard]] static Scalar c(T coefficient) {
    return static_cast<Scalar>(static_cast<Real>(coefficient));
  }

  /// The largest entry of each row before and after a step.
  void set_row_scales(const State& before, const State& after) {
    row_scales_.setZero(before.rows());
    for (Eigen::Index j = 0; j < before.cols(); ++j)
      for (Eigen::Index i = 0; i < before.rows(); ++i)
        row_scales_(i) =
            (std::max)({row_scales_(i), std::abs(number(before(i, j))), std::abs(number(after(i, j)))});
  }

  template <VectorField F>
  void make_stages(const F& f, double t, const State& x, double step) {
    const auto h = static_cast<Scalar>(step);
    if (!end_.is_at(t, x)) end_.place(t, x);
    const State& k1 = end_.value(f);
    stage_ = x + h * (c(a21) * k1);
    f(t + c2 * step, stage_, k2_);
    stage_ = x + h * (c(a31) * k1 + c(a32) * k2_);
    f(t + c3 * step, stage_, k3_);
    stage_ = x + h * (c(a41) * k1 + c(a42) * k2_ + c(a43) * k3_);
    f(t + c4 * step, stage_, k4_);
    stage_ = x + h * (c(a51) * k1 + c(a52) * k2_ + c(a53) * k3_ + c(a54) * k4_);
    f(t + c5 * step, stage_, k5_);
    stage_ = x + h * (c(a61) * k1 + c(a62) * k2_ + c(a63) * k3_ + c(a64) * k4_ + c(a65) * k5_);
    f(t + step, stage_, k6_);
    next_ = x + h * (c(b1) * k1 + c(b3) * k3_ + c(b4) * k4_ + c(b5) * k5_ + c(b6) * k6_);
    f(t + step, next_, k7_);
    t1_ = t + step;
  }

  // The tableau [HNW93, II.5 table 5.2]: nodes, stages, weights, weights less those of order 4, dense output.
  static constexpr double c2 = 1. / 5, c3 = 3. / 10, c4 = 4. / 5, c5 = 8. / 9;
  static constexpr Real a21 = detail::ratio<Real>(1, 5), a31 = detail::ratio<Real>(3, 40),
                        a32 = detail::ratio<Real>(9, 40);
  static constexpr Real a41 = detail::ratio<Real>(44, 45), a42 = detail::ratio<Real>(-56, 15),
                        a43 = detail::ratio<Real>(32, 9);
  static constexpr Real a51 = detail::ratio<Real>(19372, 6561), a52 = detail::ratio<Real>(-25360, 2187),
                        a53 = detail::ratio<Real>(64448, 6561), a54 = detail::ratio<Real>(-212, 729);
  static constexpr Real a61 = detail::ratio<Real>(9017, 3168), a62 = detail::ratio<Real>(-355, 33),
                        a63 = detail::ratio<Real>(46732, 5247), a64 = detail::ratio<Real>(49, 176),
                        a65 = detail::ratio<Real>(-5103, 18656);
  static constexpr Real b1 = detail::ratio<Real>(35, 384), b3 = detail::ratio<Real>(500, 1113),
                        b4 = detail::ratio<Real>(125, 192), b5 = detail::ratio<Real>(-2187, 6784),
                        b6 = detail::ratio<Real>(11, 84);
  static constexpr Real e1 = detail::ratio<Real>(71, 57600), e3 = detail::ratio<Real>(-71, 16695),
                        e4 = detail::ratio<Real>(71, 1920), e5 = detail::ratio<Real>(-17253, 339200),
                        e6 = detail::ratio<Real>(22, 525), e7 = detail::ratio<Real>(-1, 40);
  static constexpr Real d1 = detail::ratio<Real>(-12715105075., 11282082432.),
                        d3 = detail::ratio<Real>(87487479700., 32700410799.),
                        d4 = detail::ratio<Real>(-10690763975., 1880347072.),
                        d5 = detail::ratio<Real>(701980252875., 199316789632.),
                        d6 = detail::ratio<Real>(-1453857185., 822651844.),
                        d7 = detail::ratio<Real>(69997945., 29380423.);

  Memory memory_;
  bool restored_ = false;
  Slope<State> begin_, end_;  // of the step accepted last; end_ is where the next one is tried from
  State next_, stage_, k2_, k3_, k4_, k5_, k6_, k7_;
  Eigen::Matrix<double, State::RowsAtCompileTime, 1> row_scales_;
  double t1_ = 0;  // the end of the step tried last
};

}}  // namespace attnflow
