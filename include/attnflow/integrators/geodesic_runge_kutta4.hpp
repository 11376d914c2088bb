/// \file
/// A Runge–Kutta method that never leaves the unit sphere.
#pragma once

#include <attnflow/geometry/sphere.hpp>
#include <attnflow/integrators/hermite.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// Normal coordinates y ⟂ x of the unit sphere about the point x, and the tangent vectors in them:
///
///     p = exp_x(y) = cos r x + sin r u,   r = |y|,   u = y/r.
///
/// The unit vector e = ∂p/∂r = −sin r x + cos r u is where the geodesic from x points to at p. The differential of exp_x
/// takes u to e, and a w that is orthogonal to x and u, about which geodesics part, to (sin r / r) w; so a vector v
/// tangent at p is, in coordinates,
///
///     d exp⁻¹ v = ⟨v, e⟩ u + (r / sin r) (v − ⟨v, x⟩ x − ⟨v, u⟩ u).
struct NormalCoordinates {
  /// to = exp_x(y).
  template <class X, class Y, class To>
  static void exponential(const X& x, const Y& y, To&& to) {
    const auto r = y.norm();
    if (r == 0)
      to = x;
    else
      to = std::cos(r) * x + (std::sin(r) / r) * y;
  }
  /// to = d exp⁻¹ v at exp_x(y), 0 ≤ |y| < π. Of v the part along p is dropped: a field is tangent up to rounding.
  template <class X, class Y, class V, class To>
  static void pull_back(const X& x, const Y& y, const V& v, To&& to) {
    const auto r = y.norm();
    const auto along_x = v.dot(x);
    if (r == 0) {
      to = v - along_x * x;
    } else {
      const auto sine = std::sin(r), factor = r / sine, along_u = v.dot(y) / r,
                 along_e = std::cos(r) * along_u - sine * along_x;
      to = factor * (v - along_x * x) + ((along_e - factor * along_u) / r) * y;
    }
    to -= x.dot(to) * x;  // what rounding has left of x would add up along a run
  }
};

}  // namespace detail

/// The classical Runge–Kutta method in geodesic normal coordinates about the start of each step, on a product of unit
/// spheres: order 4, a method of Munthe-Kaas's kind [MK99; HLW06, IV.5 and IV.8] with the exponential map of the sphere
/// in place of that of its group. Columns of the state are points of the unit sphere of ℝᵈ, each with coordinates of its
/// own, y ⟂ x, xᵢ(t + s) = exp(yᵢ(s)) and
///
///     ẏ = d exp⁻¹ f(t + s, exp_x(y)),   y(0) = 0,
///
/// which RungeKutta4 solves for one step: four evaluations, all on the sphere. In between, the cubic in y (order 3),
/// which is on the sphere, too. Lengths stay 1 to (d + 4)/2 ε after any number of steps, and a motion along great
/// circles at constant speed is exact. The field has to be tangent; what it has along the radius is dropped.
///
/// Coordinates fail at the antipode of x, |y| = π, the injectivity radius. A step in which a stage would go farther than
/// π/2 is made in 2, 4, 8, … equal parts instead, of four evaluations each beside those of the tries before, until all stay
/// within; if 1024 are not enough, the state becomes NaN, and the run ends as non_finite. A start off the sphere is
/// scaled to it; a token at the origin stays.
///
/// Beside the evaluations: O(n d) a stage with a sine and a cosine for each token, seven states of memory.
template <StateMatrix State_>
requires std::floating_point<typename State_::Scalar>
class GeodesicRungeKutta4 {
 public:
  using State = State_;
  /// The number type of the state.
  using Scalar = typename State::Scalar;
  static constexpr int order = 4;
  static constexpr int dense_order = 3;

  /// Replaces x, the state at t, by the state at t + h. Four evaluations, three where interpolate() made the first.
  template <VectorField F>
  void step(const F& f, double t, State& x, double h) {
    constexpr int most_parts = 1024;
    if (ends_.back().is_at(t, x)) {
      ends_.front().swap(ends_.back());
    } else {
      stage_ = x;
      sphere::normalize(stage_, lengths_);
      ends_.front().place(t, stage_);
    }
    for (int parts = 1;; parts *= 2) {
      const auto count = static_cast<std::size_t>(parts);
      ends_.resize(count + 1);
      y_.resize(count);
      bool within = true;
      for (std::size_t k = 0; within && k < count; ++k) {
        const double next = k + 1 == count ? t + h : t + h * (static_cast<double>(k + 1) / parts);
        within = advance(f, k, next, count == 1 ? h : next - ends_[k].t());
      }
      if (within) break;
      if (parts == most_parts) {
        x.setConstant(std::numeric_limits<Scalar>::quiet_NaN());
        return reset();
      }
    }
    x = ends_.back().x();
  }

  /// The state at a time of the step made last. Costs one evaluation, which the next step reuses.
  template <VectorField F>
  void interpolate(const F& f, double t, State& x) {
    std::size_t k = 0;
    while (k + 2 < ends_.size() && ends_[k + 1].t() < t) ++k;
    const State &from = ends_[k].x(), &y = y_[k];
    const double h = ends_[k + 1].t() - ends_[k].t();
    const auto length = static_cast<Scalar>(h), s = static_cast<Scalar>((t - ends_[k].t()) / h);
    pull_back(from, y, ends_[k + 1].value(f), k4_);
    pull_back_start(from, ends_[k].value(f), k1_);
    // The cubic of hermite() from y = 0.
    stage_ = s * y + s * (1 - s) * ((1 - s) * (length * k1_ - y) - s * (length * k4_ - y));
    exponential(from, stage_, x);
    sphere::normalize(x);
  }

  /// Forgets the last step. Needed where the field changes between steps.
  void reset() noexcept {
    for (auto& end : ends_) end.reset();
  }

 private:
  using Coordinates = detail::NormalCoordinates;

  /// Makes part k of the step, to the time `next`. \returns false if a stage would be too far away.
  template <class F>
  bool advance(const F& f, std::size_t k, double next, double step) {
    Slope<State>& begin = ends_[k];
    const State& x = begin.x();
    State& y = y_[k];
    const double t = begin.t();
    const auto h = static_cast<Scalar>(step), half = h / 2;
    const auto stage = [&](double time, Scalar weight, const State& slope, State& to) {
      stage_ = weight * slope;
      if (too_far(stage_)) return false;
      exponential(x, stage_, point_);
      sphere::normalize(point_);
      f(time, point_, velocity_);
      pull_back(x, stage_, velocity_, to);
      return true;
    };
    pull_back_start(x, begin.value(f), k1_);
    if (!stage(t + step / 2, half, k1_, k2_) || !stage(t + step / 2, half, k2_, k3_) ||
        !stage(t + step, h, k3_, k4_))
      return false;
    y = (h / 6) * (k1_ + Scalar(2) * (k2_ + k3_) + k4_);
    if (too_far(y)) return false;
    exponential(x, y, point_);
    sphere::normalize(point_);
    ends_[k + 1].place(next, point_);
    return true;
  }

  /// Whether a token has more than a right angle to go; not so where it is not a number, which the driver finds.
  static bool too_far(const State& y) {
    constexpr Scalar farthest = std::numbers::pi_v<Scalar> / 2;
    for (Eigen::Index i = 0; i < y.cols(); ++i)
      if (y.col(i).squaredNorm() > farthest * farthest) return true;
    return false;
  }
  static void exponential(const State& x, const State& y, State& to) {
    to.resize(x.rows(), x.cols());
    for (Eigen::Index i = 0; i < x.cols(); ++i) Coordinates::exponential(x.col(i), y.col(i), to.col(i));
  }
  void pull_back(const State& x, const State& y, const State& v, State& to) const {
    to.resize(x.rows(), x.cols());
    for (Eigen::Index i = 0; i < x.cols(); ++i)
      if (x.col(i).isZero(0))
        to.col(i).setZero();
      else
        Coordinates::pull_back(x.col(i), y.col(i), v.col(i), to.col(i));
  }
  /// The same at y = 0.
  void pull_back_start(const State& x, const State& v, State& to) {
    stage_.setZero(x.rows(), x.cols());
    pull_back(x, stage_, v, to);
  }

  // The ends of the parts of the step made last, each but the first with its coordinates about the one before.
  std::vector<Slope<State>> ends_ = std::vector<Slope<State>>(2);
  std::vector<State> y_;
  State stage_, point_, velocity_, k1_, k2_, k3_, k4_;
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1> lengths_;
};

}}  // namespace attnflow
