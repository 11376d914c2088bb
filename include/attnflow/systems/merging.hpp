/// \file
/// Steppers that identify tokens once they have met.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/integrators/concepts.hpp>
#include <attnflow/observables/tokens/merge_tokens.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Tokens that became one at the end of a step.
struct MergeEvent {
  double t = 0;        ///< the end of the step
  MergedGroups merge;  ///< the groups of equal tokens that met
};

/// Any stepper, with tokens identified that are at most `tol` apart at the end of a step, as in the simulations of the
/// energy staircase [GKPR24]: merge_tokens says where they are put. Merged tokens stay together under fields that treat
/// tokens alike, and what drove them together no longer hides the weaker forces between clusters.
///
/// Dense output leads to the end of the step before the merge; what observers are shown as the step's end, and the next
/// step, is the state after it. A slope known at the end is evaluated anew where tokens have merged, nothing else
/// changes: without a merge a run has the bits of the stepper's own. Beside the stepper's own cost: O(n log n + n d), or
/// O(n² d) for up to 64 tokens.
template <class Stepper>
requires StateMatrix<typename Stepper::State> && KernelScalar<typename Stepper::State::Scalar>
class Merging : public detail::MemoryOf<Stepper> {
 public:
  using State = typename Stepper::State;
  static constexpr int order = Stepper::order;
  static constexpr int dense_order = Stepper::dense_order;

  /// \param tol  the distance at which tokens are one. \param space  where they lie.
  /// \throws std::invalid_argument as merge_tokens does.
  explicit Merging(double tol, TokenSpace space = TokenSpace::euclidean, Stepper stepper = {})
      : stepper_(std::move(stepper)), tol_(tol), space_(space) {
    State none = State::Zero(fixed_rows, 0);
    (void)merge_tokens(none, tol, space);
  }

  /// One step of given length, and the merges at its end.
  template <VectorField F>
  requires StepperFor<Stepper, F>
  void step(const F& f, double t, State& x, double h) {
    stepper_.step(f, t, x, h);
    merge(t + h, x);
  }
  /// The state at a time of the step made last, before the merges at its end. Costs what it costs the stepper.
  template <VectorField F>
  requires StepperFor<Stepper, F>
  void interpolate(const F& f, double t, State& x) { stepper_.interpolate(f, t, x); }
  /// Forgets the last step, not the events.
  void reset() noexcept { stepper_.reset(); }

  /// As the stepper's own.
  template <VectorField F>
  requires AdaptiveStepperFor<Stepper, F>
  [[nodiscard]] double attempt(const F& f, double t, const State& x, double h, double rtol, double atol) {
    end_ = t + h;
    return stepper_.attempt(f, t, x, h, rtol, atol);
  }
  /// Moves x to the end of the step tried last, and merges.
  void accept(State& x) {
    stepper_.accept(x);
    merge(end_, x);
  }
  /// As the stepper's own.
  [[nodiscard]] double propose(double h, double error, bool accepted) {
    return stepper_.propose(h, error, accepted);
  }
  /// As the stepper's own.
  template <VectorField F>
  requires AdaptiveStepperFor<Stepper, F>
  [[nodiscard]] double first_step(const F& f, double t, const State& x, double longest, double rtol,
                                  double atol) {
    return stepper_.first_step(f, t, x, longest, rtol, atol);
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

  /// The merges of all steps so far, in order.
  [[nodiscard]] const std::vector<MergeEvent>& events() const noexcept { return events_; }
  /// Forgets the merges so far.
  void clear_events() noexcept { events_.clear(); }

 private:
  static constexpr int fixed_rows = State::RowsAtCompileTime == Eigen::Dynamic ? 1 : State::RowsAtCompileTime;

  void merge(double t, State& x) {
    if (!x.allFinite()) return;  // which the driver finds
    for (MergedGroups& merge : merge_tokens(x, tol_, space_)) events_.push_back({t, std::move(merge)});
  }

  Stepper stepper_;
  double tol_;
  TokenSpace space_;
  double end_ = 0;
  std::vector<MergeEvent> events_;
};

}}  // namespace attnflow
