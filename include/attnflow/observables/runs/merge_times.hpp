/// \file
/// When clusters merge: followed along a run, or read off from a record of their number.
#pragma once

#include <attnflow/detail/crossing.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A time at which the number of clusters fell.
struct Merge {
  double t = 0;             ///< when it was first found to be less
  Eigen::Index before = 0;  ///< how many there were
  Eigen::Index after = 0;   ///< how many there are from then on, less than before
};

/// Follows the clusters of a run, which may only merge: at each time
///
///     tokens are in one cluster that were, or that are connected by distances of at most `tolerance` now.
///
/// So clusters that meet and part by rounding, or pass each other, do not count twice, as those of detect_clusters at
/// each time would. An observer: integrate(field, stepper, x, plan, merge_times) compares the ends of steps, and where
/// clusters have merged, finds the times on dense output, one after the other: to 10⁻⁹ of the step, beside the error of
/// dense output. Tokens that meet and part within a step are not seen. every<State>(interval, std::ref(merge_times)) looks
/// at equal times, which are then the times of merges.
///
/// Memory O(n). Each look costs what detect_clusters does: one for a step, and some 30 for each merge. The tolerance is a
/// length: on the sphere that of a cosine is sphere::chord_of_cosine.
class MergeTimes {
 public:
  /// \param tolerance  of detect_clusters. \throws std::invalid_argument unless it is finite and not negative.
  explicit MergeTimes(double tolerance) : tolerance_(tolerance) {
    if (!(tolerance >= 0) || !std::isfinite(tolerance))
      detail::refuse("MergeTimes: tolerance is ", tolerance, ", expected a finite number, at least 0");
  }

  /// Looks at a step of a run (StepView). \throws std::invalid_argument as for tokens.
  template <class Step>
  requires requires(const Step& step) {
    step.t0();
    step.state();
  }
  void operator()(const Step& step) {
    if (count_ < 0) return (*this)(step.t1(), step.state());
    auto x = step.state();
    const auto unmerged = [&](double t) {  // -1 once clusters merge, else 1
      step.at(t, x);
      return joins(t, x, detect_clusters(x, tolerance_)) ? -1. : 1.;
    };
    double from = step.t0();
    const double tolerance = 1e-9 * (step.t1() - from);
    while (from < step.t1() && count_ > 1 && unmerged(step.t1()) < 0) {
      from = detail::crossing(from, 1, step.t1(), -1, tolerance, unmerged);
      step.at(from, x);
      (*this)(from, x);
    }
  }

  /// Looks at tokens, d × n. \throws std::invalid_argument if one is not finite or n is not what it was.
  template <class Derived>
  requires KernelScalar<typename Derived::Scalar>
  void operator()(double t, const Eigen::MatrixBase<Derived>& x) {
    const Clusters now = detect_clusters(x, tolerance_);
    if (parent_.empty() && count_ < 0) {
      parent_.resize(static_cast<std::size_t>(x.cols()));
      std::iota(parent_.begin(), parent_.end(), Eigen::Index{0});
      count_ = initial_ = x.cols();
      join(now);
      initial_ = count_;
      return;
    }
    if (!joins(t, x, now)) return;
    const Eigen::Index before = count_;
    join(now);
    merges_.push_back({t, before, count_});
  }

  /// In the order of time.
  [[nodiscard]] const std::vector<Merge>& merges() const noexcept { return merges_; }
  /// How many clusters there were when it first looked; 0 before.
  [[nodiscard]] Eigen::Index initial_count() const noexcept { return count_ < 0 ? 0 : initial_; }
  /// How many there are; 0 before it first looked.
  [[nodiscard]] Eigen::Index count() const noexcept { return count_ < 0 ? 0 : count_; }
  /// The clusters as they are now, numbered by their first tokens.
  [[nodiscard]] Clusters clusters() const {
    Clusters found;
    std::vector<Eigen::Index> label(parent_.size(), -1);
    for (std::size_t i = 0; i < parent_.size(); ++i) {
      Eigen::Index& own = label[static_cast<std::size_t>(root(static_cast<Eigen::Index>(i)))];
      if (own < 0) {
        own = found.count();
        found.sizes.push_back(0);
        found.representatives.push_back(static_cast<Eigen::Index>(i));
      }
      ++found.sizes[static_cast<std::size_t>(own)];
      found.labels.push_back(own);
    }
    return found;
  }

 private:
  [[nodiscard]] Eigen::Index root(Eigen::Index i) const {
    while (parent_[static_cast<std::size_t>(i)] != i) i = parent_[static_cast<std::size_t>(i)];
    return i;
  }
  /// Whether clusters of x, at the time t, hold tokens that were apart.
  template <class X>
  [[nodiscard]] bool joins(double t, const X& x, const Clusters& now) const {
    if (static_cast<Eigen::Index>(parent_.size()) != x.cols())
      detail::refuse("MergeTimes: there are ", x.cols(), " tokens at t = ", t, ", expected ", parent_.size(),
                     ", as before");
    for (std::size_t i = 0; i < parent_.size(); ++i) {
      const auto first = now.representatives[static_cast<std::size_t>(now.labels[i])];
      if (parent_[i] != parent_[static_cast<std::size_t>(first)]) return true;
    }
    return false;
  }
  /// Joins what is one cluster now. The smaller token is the root; paths are then shortened to one step.
  void join(const Clusters& now) {
    for (std::size_t i = 0; i < parent_.size(); ++i) {
      const auto first = now.representatives[static_cast<std::size_t>(now.labels[i])];
      const Eigen::Index a = root(static_cast<Eigen::Index>(i)), b = root(first);
      if (a == b) continue;
      parent_[static_cast<std::size_t>((std::max)(a, b))] = (std::min)(a, b);
      --count_;
    }
    for (std::size_t i = 0; i < parent_.size(); ++i) parent_[i] = root(static_cast<Eigen::Index>(i));
  }

  double tolerance_;
  std::vector<Eigen::Index> parent_;  // of a forest; the roots stand for clusters
  Eigen::Index count_ = -1, initial_ = 0;
  std::vector<Merge> merges_;
};

/// The times at which a recorded number of clusters fell below all numbers before; what rises again is not counted
/// twice.
///
/// times: increasing; counts: one for each, such as detect_clusters(x, tol).count(). O(m).
/// \throws std::invalid_argument unless there are as many counts as times, times increase and counts are not negative.
[[nodiscard]] inline std::vector<Merge> merges_in(std::span<const double> times,
                                                  std::span<const Eigen::Index> counts) {
  if (counts.size() != times.size())
    detail::refuse("merges_in: there are ", counts.size(), " counts, expected ", times.size(),
                   ", one for each time");
  std::vector<Merge> merges;
  Eigen::Index least = 0;
  for (std::size_t k = 0; k < times.size(); ++k) {
    if (!std::isfinite(times[k]) || (k > 0 && !(times[k] > times[k - 1])))
      detail::refuse("merges_in: times[", k, "] is ", times[k], ", expected finite times that increase");
    if (counts[k] < 0) detail::refuse("merges_in: counts[", k, "] is ", counts[k], ", expected at least 0");
    if (k == 0) least = counts[k];
    if (counts[k] < least) {
      merges.push_back({times[k], least, counts[k]});
      least = counts[k];
    }
  }
  return merges;
}

}}  // namespace attnflow
