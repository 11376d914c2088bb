/// \file
/// The embedded pair of Dormand and Prince, with step control and dense output.
#pragma once

#include <attnflow/integrators/hermite.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow::inline ATTNFLOW_ABI {

namespace detail {
template <class Scalar>
[[nodiscard]] constexpr Scalar ratio(double p, double q) {
  return static_cast<Scalar>(p / q);
}
}  // namespace detail

/// Dormand–Prince 5(4) [DP80; HNW93, II.5 table 5.2]: seven stages, six evaluations a step (the last slope of
/// a step is the first of the next), error estimate of order 4, dense output of order 4 [HNW93, II.6]. The PI
/// controller of [HW96, IV.2] with safety 0.9, exponents 0.17 and 0.04, and step ratios from 0.2 to 10.
template <StateMatrix State_>
class DormandPrince5 {
 public:
  using State = State_;
  using Scalar = typename State::Scalar;
  static constexpr int order = 5;
  static constexpr int dense_order = 4;

  /// What the controller carries from one step to the next. With the time and the state it is all that a run
  /// needs to go on as if it had never stopped.
  struct Memory {
    double next_step = 0;  ///< proposed by the last accepted step; zero: none yet
    double previous_error = 1e-4;
    bool after_rejection = false;
  };

  /// One step of given length.
  template <VectorField F>
  void step(const F& f, double t, State& x, double h) {
    make_stages(f, t, x, h);
    accept(x);
  }

  /// Tries a step from (t, x); accept() takes it. \returns the estimated error as a multiple of what is
  /// allowed, the largest over all components: acceptable up to 1; not finite if the new state or the
  /// estimate is not.
  template <VectorField F>
  [[nodiscard]] double attempt(const F& f, double t, const State& x, double h, double rtol, double atol) {
    make_stages(f, t, x, h);
    const State& k1 = end_.value();
    double worst = 0;
    for (Eigen::Index j = 0; j < x.cols(); ++j)
      for (Eigen::Index i = 0; i < x.rows(); ++i) {
        const double after = static_cast<double>(next_(i, j));
        if (!std::isfinite(after)) return std::numeric_limits<double>::infinity();
        const double error = std::abs(
            static_cast<double>(static_cast<Scalar>(h) * (e1 * k1(i, j) + e3 * k3_(i, j) + e4 * k4_(i, j) +
                                                          e5 * k5_(i, j) + e6 * k6_(i, j) + e7 * k7_(i, j))));
        if (error == 0) continue;
        const double allowed =
            atol + rtol * std::max(std::abs(static_cast<double>(x(i, j))), std::abs(after));
        const double ratio = error / allowed;
        if (!std::isfinite(ratio)) return std::numeric_limits<double>::infinity();
        worst = std::max(worst, ratio);
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
    if (memory_.after_rejection) ratio = std::min(ratio, 1.0);
    memory_.previous_error = std::max(error, 1e-4);
    memory_.after_rejection = false;
    memory_.next_step = h * ratio;
    return memory_.next_step;
  }

  /// A first step from the sizes of the state, its slope and its curvature [HNW93, II.4]; two evaluations,
  /// one of which the step reuses.
  template <VectorField F>
  [[nodiscard]] double first_step(const F& f, double t, const State& x, double longest, double rtol,
                                  double atol) {
    const auto size = [&](const State& v) {
      double worst = 0;
      for (Eigen::Index j = 0; j < x.cols(); ++j)
        for (Eigen::Index i = 0; i < x.rows(); ++i) {
          const double allowed = atol + rtol * std::abs(static_cast<double>(x(i, j)));
          const double value = std::abs(static_cast<double>(v(i, j)));
          if (value != 0 && allowed > 0) worst = std::max(worst, value / allowed);
        }
      return worst;
    };
    if (!end_.is_at(t, x)) end_.place(t, x);
    const State& slope = end_.value(f);
    const double state_size = size(x), slope_size = size(slope);
    double h = state_size < 1e-5 || slope_size < 1e-5 ? 1e-6 : 0.01 * state_size / slope_size;
    h = std::min(h, longest);
    stage_ = x + static_cast<Scalar>(h) * slope;
    f(t + h, stage_, k2_);
    k2_ -= slope;
    const double bend_size = size(k2_) / h, steepest = std::max(slope_size, bend_size);
    const double refined =
        steepest <= 1e-15 ? std::max(1e-6, h * 1e-3) : std::pow(0.01 / steepest, 1.0 / order);
    const double chosen = std::min({100 * h, refined, longest});
    return chosen > 0 ? chosen
                      : std::min(1e-6, longest);  // not finite where the field is not: the attempt says so
  }

  /// The state at a time of the step made last; no evaluation.
  template <VectorField F>
  void interpolate(const F&, double t, State& x) {
    const double s = (t - begin_.t()) / (end_.t() - begin_.t());
    const auto c = [](double value) { return static_cast<Scalar>(value); };
    const Scalar h = c(end_.t() - begin_.t());
    const State &k1 = begin_.value(), &k7 = end_.value();
    State &difference = stage_, &bend = k2_;  // neither is needed any more
    difference = end_.x() - begin_.x();
    bend = h * k1 - difference;
    x = begin_.x() + c(s) * (difference + c(1 - s) * (bend + c(s) * ((difference - h * k7 - bend) +
                                                                     c(1 - s) * h *
                                                                         (d1 * k1 + d3 * k3_ + d4 * k4_ +
                                                                          d5 * k5_ + d6 * k6_ + d7 * k7))));
  }

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
  template <VectorField F>
  void make_stages(const F& f, double t, const State& x, double step) {
    const auto h = static_cast<Scalar>(step);
    if (!end_.is_at(t, x)) end_.place(t, x);
    const State& k1 = end_.value(f);
    stage_ = x + h * (a21 * k1);
    f(t + c2 * step, stage_, k2_);
    stage_ = x + h * (a31 * k1 + a32 * k2_);
    f(t + c3 * step, stage_, k3_);
    stage_ = x + h * (a41 * k1 + a42 * k2_ + a43 * k3_);
    f(t + c4 * step, stage_, k4_);
    stage_ = x + h * (a51 * k1 + a52 * k2_ + a53 * k3_ + a54 * k4_);
    f(t + c5 * step, stage_, k5_);
    stage_ = x + h * (a61 * k1 + a62 * k2_ + a63 * k3_ + a64 * k4_ + a65 * k5_);
    f(t + step, stage_, k6_);
    next_ = x + h * (b1 * k1 + b3 * k3_ + b4 * k4_ + b5 * k5_ + b6 * k6_);
    f(t + step, next_, k7_);
    t1_ = t + step;
  }

  // The tableau [HNW93, II.5 table 5.2]: nodes, stages, weights, weights less those of order 4, dense output.
  static constexpr double c2 = 1. / 5, c3 = 3. / 10, c4 = 4. / 5, c5 = 8. / 9;
  static constexpr Scalar a21 = detail::ratio<Scalar>(1, 5), a31 = detail::ratio<Scalar>(3, 40),
                          a32 = detail::ratio<Scalar>(9, 40);
  static constexpr Scalar a41 = detail::ratio<Scalar>(44, 45), a42 = detail::ratio<Scalar>(-56, 15),
                          a43 = detail::ratio<Scalar>(32, 9);
  static constexpr Scalar a51 = detail::ratio<Scalar>(19372, 6561), a52 = detail::ratio<Scalar>(-25360, 2187),
                          a53 = detail::ratio<Scalar>(64448, 6561), a54 = detail::ratio<Scalar>(-212, 729);
  static constexpr Scalar a61 = detail::ratio<Scalar>(9017, 3168), a62 = detail::ratio<Scalar>(-355, 33),
                          a63 = detail::ratio<Scalar>(46732, 5247), a64 = detail::ratio<Scalar>(49, 176),
                          a65 = detail::ratio<Scalar>(-5103, 18656);
  static constexpr Scalar b1 = detail::ratio<Scalar>(35, 384), b3 = detail::ratio<Scalar>(500, 1113),
                          b4 = detail::ratio<Scalar>(125, 192), b5 = detail::ratio<Scalar>(-2187, 6784),
                          b6 = detail::ratio<Scalar>(11, 84);
  static constexpr Scalar e1 = detail::ratio<Scalar>(71, 57600), e3 = detail::ratio<Scalar>(-71, 16695),
                          e4 = detail::ratio<Scalar>(71, 1920), e5 = detail::ratio<Scalar>(-17253, 339200),
                          e6 = detail::ratio<Scalar>(22, 525), e7 = detail::ratio<Scalar>(-1, 40);
  static constexpr Scalar d1 = detail::ratio<Scalar>(-12715105075., 11282082432.),
                          d3 = detail::ratio<Scalar>(87487479700., 32700410799.),
                          d4 = detail::ratio<Scalar>(-10690763975., 1880347072.),
                          d5 = detail::ratio<Scalar>(701980252875., 199316789632.),
                          d6 = detail::ratio<Scalar>(-1453857185., 822651844.),
                          d7 = detail::ratio<Scalar>(69997945., 29380423.);

  Memory memory_;
  bool restored_ = false;
  detail::Slope<State> begin_, end_;  // of the step accepted last; end_ is where the next one is tried from
  State next_, stage_, k2_, k3_, k4_, k5_, k6_, k7_;
  double t1_ = 0;  // the end of the step tried last
};

}  // namespace attnflow::inline ATTNFLOW_ABI
