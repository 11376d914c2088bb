/// \file
/// Statistics of ensembles: means at given times, and the times at which something happens.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/integrators/concepts.hpp>
#include <attnflow/simd/portable.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Count, mean and variance of numbers seen one by one [Wel62], or in groups that are merged [CGL83].
class Moments {
 public:
  /// Adds a number.
  void add(double value) noexcept {
    ++count_;
    const double distance = value - mean_;
    mean_ += distance / static_cast<double>(count_);
    squares_ += distance * (value - mean_);
  }
  /// Adds all numbers that the other has seen.
  void merge(const Moments& other) noexcept {
    if (other.count_ == 0) return;
    const auto n = static_cast<double>(count_), m = static_cast<double>(other.count_);
    const double distance = other.mean_ - mean_;
    count_ += other.count_;
    mean_ += distance * (m / (n + m));
    squares_ += other.squares_ + distance * distance * (n * m / (n + m));
  }

  /// How many numbers were seen.
  [[nodiscard]] long count() const noexcept { return count_; }
  /// NaN where nothing was seen.
  [[nodiscard]] double mean() const noexcept { return count_ > 0 ? mean_ : nan; }
  /// ∑ (v − mean)² / (count − 1), NaN for fewer than two numbers.
  [[nodiscard]] double variance() const noexcept {
    return count_ > 1 ? squares_ / static_cast<double>(count_ - 1) : nan;
  }
  /// The standard deviation of the mean, √(variance / count).
  [[nodiscard]] double standard_error() const noexcept {
    return std::sqrt(variance() / static_cast<double>(count_));
  }

 private:
  static constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  long count_ = 0;
  double mean_ = 0, squares_ = 0;  // squares_: of the distances from the mean, summed
};

/// A function f(t, x) of a state that yields a number.
template <class F, class State>
concept NumberOf = requires(F& f, double t, const State& x) {
  static_cast<double>(f(t, x));
};

/// The moments over the runs of a number f(t, x) at given times, x by dense output; at the end of a step the
/// state itself. A run that ends before a time does not count there. Memory: that of the times, however many
/// the runs.
template <StateMatrix State, NumberOf<State> Function>
class MeanAtTimes {
 public:
  /// \param f  the same for all runs; each block of runs calls a copy.
  /// \throws std::invalid_argument unless the times are finite and increase.
  MeanAtTimes(std::vector<double> times, Function f)
      : times_(std::move(times)), f_(std::move(f)), moments_(times_.size()) {
    for (std::size_t i = 0; i < times_.size(); ++i)
      if (!std::isfinite(times_[i]) || (i > 0 && !(times_[i] > times_[i - 1])))
        detail::refuse("MeanAtTimes: time ", i, " is ", times_[i], ", expected finite times that increase");
  }

  /// Adds f at the times that lie in the step.
  void operator()(Eigen::Index /*k*/, const StepView<State>& step) {
    if (step.t0() == step.t1()) next_ = 0;  // a run begins
    while (next_ < times_.size() && times_[next_] < step.t0()) ++next_;
    for (; next_ < times_.size() && times_[next_] <= step.t1(); ++next_) {
      const double t = times_[next_];
      if (t == step.t1()) {
        moments_[next_].add(static_cast<double>(f_(t, step.state())));
      } else {
        step.at(t, between_);
        moments_[next_].add(static_cast<double>(f_(t, between_)));
      }
    }
  }

  /// \pre the other one has the same times.
  void merge(const MeanAtTimes& other) {
    eigen_assert(times_ == other.times_);
    for (std::size_t i = 0; i < moments_.size(); ++i) moments_[i].merge(other.moments_[i]);
  }

  /// The times asked for.
  [[nodiscard]] const std::vector<double>& times() const noexcept { return times_; }
  /// Of the numbers at times()[i].
  [[nodiscard]] const Moments& operator[](std::size_t i) const noexcept { return moments_[i]; }
  /// The number of times.
  [[nodiscard]] std::size_t size() const noexcept { return moments_.size(); }

 private:
  std::vector<double> times_;
  Function f_;
  std::vector<Moments> moments_;
  std::size_t next_ = 0;
  State between_;
};

/// f's means at given times; f(t, x) yields a number.
template <StateMatrix State, NumberOf<State> Function>
[[nodiscard]] auto mean_at_times(std::vector<double> times, Function f) {
  return MeanAtTimes<State, Function>(std::move(times), std::move(f));
}

/// The share of the pairs i < j with ⟨xᵢ, xⱼ⟩ > threshold; on the sphere and for a threshold near one, of
/// those that have met. 1 for fewer than two tokens. Cost: n² d / 2 multiplications, O(n d) memory kept by
/// the thread.
/// \pre x is finite, with at least one row.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] double share_of_aligned_pairs(const Tokens<Scalar, Dim>& x, double threshold) {
  using S = detail::portable::Simd<Scalar>;
  using Pack = typename S::Pack;
  constexpr Eigen::Index width = S::width, tile = 2 * width;
  const Eigen::Index n = x.cols(), d = x.rows();
  if (n < 2) return 1;
  // Tokens as rows: a coordinate of many tokens fills a vector register. The last tile reaches beyond the
  // tokens; NaN is not above any threshold.
  static constinit thread_local detail::Scratch<detail::ColumnMajor<Scalar, Eigen::Dynamic, Dim>> kept;
  auto& rows = *kept;
  const Eigen::Index padded = n + tile;
  rows.resize(padded, d);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index k = 0; k < d; ++k) rows.data()[k * padded + i] = x.data()[i * d + k];
  rows.bottomRows(tile).setConstant(std::numeric_limits<Scalar>::quiet_NaN());

  const Pack above = S::all(static_cast<Scalar>(threshold)), one = S::all(1), zero = S::all(0);
  // Counted in Scalar, where whole numbers are exact up to 1/ε: emptied long before.
  const Eigen::Index rows_at_once = 1 + (Eigen::Index{1} << 20) / n;
  double pairs = 0;
  for (Eigen::Index begin = 0; begin + 1 < n; begin += rows_at_once) {
    Pack lefts = zero, rights = zero;  // two sums: one would wait for itself
    for (Eigen::Index i = begin; i < (std::min)(begin + rows_at_once, n - 1); ++i)
      for (Eigen::Index j = i + 1; j < n; j += tile) {
        const Scalar *own = rows.data() + i, *other = rows.data() + j;
        Pack left = S::all(*own) * S::load(other), right = S::all(*own) * S::load(other + width);
        for (Eigen::Index k = 1; k < (Dim > 0 ? Dim : d); ++k) {
          own += padded;
          other += padded;
          left = S::fma(S::all(*own), S::load(other), left);
          right = S::fma(S::all(*own), S::load(other + width), right);
        }
        lefts = lefts + S::select(S::greater(left, above), one, zero);
        rights = rights + S::select(S::greater(right, above), one, zero);
      }
    std::array<Scalar, static_cast<std::size_t>(width)> counts;
    S::store(counts.data(), lefts + rights);
    for (const Scalar c : counts) pairs += static_cast<double>(c);
  }
  return 2 * pairs / (static_cast<double>(n) * static_cast<double>(n - 1));
}

/// The moments over the runs of the first time at which holds(t, x), looked at where steps end; the run ends
/// there. count() of them is the number of runs in which that happened.
template <std::copy_constructible Condition>
class FirstTime {
 public:
  /// \param holds  called as holds(t, x); each block of runs calls a copy.
  explicit FirstTime(Condition holds) : holds_(std::move(holds)) {}

  /// Stops the run, and notes the time, once the condition holds.
  Flow operator()(Eigen::Index /*k*/, double t, const DecidedBy<Condition> auto& x) {
    if (!holds_(t, x)) return Flow::proceed;
    moments_.add(t);
    return Flow::stop;
  }
  /// Adds what another copy saw.
  void merge(const FirstTime& other) noexcept { moments_.merge(other.moments_); }

  /// Of the times, over the runs in which the condition came to hold.
  [[nodiscard]] const Moments& moments() const noexcept { return moments_; }

 private:
  Condition holds_;
  Moments moments_;
};

}}  // namespace attnflow
