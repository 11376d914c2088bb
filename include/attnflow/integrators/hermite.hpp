/// \file
/// Slopes that are not evaluated twice, and the cubic through two states and their slopes.
#pragma once

#include <attnflow/integrators/concepts.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cstddef>
#include <cstring>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A point (t, x) of a run and f(t, x), which is evaluated when it is first asked for and never again.
///
/// A stepper keeps two, the ends of its last step, and begins a step by exchanging them: what was the end is
/// the beginning, with its slope if somebody looked in between. A state that the caller changed is noticed,
/// since x is compared; a field that was changed is not: reset() then.
template <StateMatrix State>
class Slope {
 public:
  /// Whether this is the point (t, x), bit for bit: compared as bytes, several times as fast as entry by
  /// entry. Of scalars that are neither float nor double nobody knows which of their bytes count: the answer is
  /// no, and costs an evaluation.
  [[nodiscard]] bool is_at(double t, const State& x) const {
    if constexpr (!KernelScalar<typename State::Scalar>)
      return false;
    else
      return placed_ && t == t_ && x.rows() == x_.rows() && x.cols() == x_.cols() &&
             (x.size() == 0 || std::memcmp(x.data(), x_.data(), sizeof_entries(x)) == 0);
  }
  /// Moves to (t, x); the slope there is not known yet.
  void place(double t, const State& x) {
    t_ = t;
    x_ = x;
    placed_ = true;
    known_ = false;
  }
  /// Moves to (t, x) with what `slope` holds as f(t, x); `slope` is left with other contents.
  void take(double t, const State& x, State& slope) {
    place(t, x);
    value_.swap(slope);
    known_ = true;
  }
  /// f at the point.
  template <class F>
  const State& value(const F& f) {
    if (!known_) {
      f(t_, x_, value_);
      known_ = true;
    }
    return value_;
  }
  /// f at the point, where value(f) or take() has provided it.
  [[nodiscard]] const State& value() const noexcept { return value_; }
  /// The time of the point.
  [[nodiscard]] double t() const noexcept { return t_; }
  /// The state of the point.
  [[nodiscard]] const State& x() const noexcept { return x_; }
  /// Forgets the point: is_at() is false until place() or take().
  void reset() noexcept { placed_ = known_ = false; }
  /// Exchanges two points with their slopes, without copying.
  void swap(Slope& other) noexcept {
    std::swap(placed_, other.placed_);
    std::swap(known_, other.known_);
    std::swap(t_, other.t_);
    x_.swap(other.x_);
    value_.swap(other.value_);
  }

 private:
  static std::size_t sizeof_entries(const State& x) noexcept {
    return static_cast<std::size_t>(x.size()) * sizeof(typename State::Scalar);
  }

  bool placed_ = false, known_ = false;
  double t_ = 0;
  State x_, value_;
};

/// The cubic with the values and slopes of two points, at time t in between. Its own error is O((t₁ − t₀)⁴).
/// \pre both slopes have been evaluated.
template <StateMatrix State>
void hermite(const Slope<State>& begin, const Slope<State>& end, double t, State& x) {
  using Scalar = typename State::Scalar;
  const double h = end.t() - begin.t(), s = (t - begin.t()) / h;
  const auto c = [](double value) { return static_cast<Scalar>(value); };
  const State &a = begin.x(), &b = end.x(), &da = begin.value(), &db = end.value();
  // a + s (b − a) + s (1 − s) ((1 − s) (h da − (b − a)) − s (h db − (b − a)))
  x = a + c(s) * (b - a) + c(s * (1 - s)) * (c(1 - s) * (c(h) * da - (b - a)) - c(s) * (c(h) * db - (b - a)));
}

}}  // namespace attnflow
