/// \file
/// Many independent runs at once: the same law of motion from many starts, or one system for each parameter.
#pragma once

#include <attnflow/integrators/integrate.hpp>
#include <attnflow/parallel/threads.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The generator of run k of an ensemble: it depends on the seed and on k, on nothing else. Its seed is
///
///     mix(mix(seed) ⊕ k),   mix the finaliser of SplitMix64 [SLF14] after adding 0x9e3779b97f4a7c15,
///
/// so that neighbouring seeds do not share the runs of neighbouring k.
[[nodiscard]] inline Generator generator_for(std::uint64_t seed, std::uint64_t k) {
  const auto mix = [](std::uint64_t z) {
    z += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  };
  return Generator(mix(mix(seed) ^ k));
}

/// The report of an ensemble: its runs by their outcome, and what they cost together.
struct EnsembleReport {
  /// How many runs ended by each Outcome.
  long reached_end = 0, stopped_by_observer = 0, step_limit = 0, non_finite = 0;  ///< runs
  long steps = 0;                                                                 ///< accepted
  long rejected = 0;                                                              ///< tried and discarded
  long evaluations = 0;                                                           ///< of the fields
  Eigen::Index first_failure = -1;  ///< the first run that ended by step_limit or non_finite; −1: none did

  /// Adds the report of run k. \pre the runs are added in the order of k.
  void add(Eigen::Index k, const Report& run) {
    reached_end += run.outcome == Outcome::reached_end;
    stopped_by_observer += run.outcome == Outcome::stopped_by_observer;
    step_limit += run.outcome == Outcome::step_limit;
    non_finite += run.outcome == Outcome::non_finite;
    steps += run.steps;
    rejected += run.rejected;
    evaluations += run.evaluations;
    const bool failed = run.outcome == Outcome::step_limit || run.outcome == Outcome::non_finite;
    if (failed && first_failure < 0) first_failure = k;
  }
  /// Adds the report of runs that come after these.
  void merge(const EnsembleReport& later) {
    reached_end += later.reached_end;
    stopped_by_observer += later.stopped_by_observer;
    step_limit += later.step_limit;
    non_finite += later.non_finite;
    steps += later.steps;
    rejected += later.rejected;
    evaluations += later.evaluations;
    if (first_failure < 0) first_failure = later.first_failure;
  }
};

/// What an ensemble found and how it went.
template <class Statistic>
struct EnsembleResult {
  /// What all copies of the statistic saw, merged in the order of runs.
  Statistic statistic;
  /// How the runs ended, and what they cost.
  EnsembleReport report;
};

namespace detail {
template <class S, class State>
concept StateStatistic = requires(S& statistic, Eigen::Index k, double t, const State& x) {
  { statistic(k, t, x) } -> FlowOrVoid;
};
template <class S, class State>
concept StepStatistic = requires(S& statistic, Eigen::Index k, const StepView<State>& step) {
  { statistic(k, step) } -> FlowOrVoid;
};
}  // namespace detail

/// An observer of many runs, callable with (k, t, state) at the end of each step of run k, or with (k,
/// StepView); it returns nothing, or a Flow, which ends run k. A run begins with a step whose t0 and t1 are
/// equal, and one copy sees one run after the other. merge(other) adds what another copy saw of the runs that
/// follow.
template <class S, class State>
concept StatisticOf = std::copy_constructible<S> && requires(S& statistic, const S& other) {
  statistic.merge(other);
} &&(detail::StateStatistic<S, State> || detail::StepStatistic<S, State>);

/// Gives the system of run k: a VectorField, or a reference to one.
template <class M>
concept SystemSource = std::invocable<const M&, Eigen::Index> &&
    VectorField<std::remove_cvref_t<std::invoke_result_t<const M&, Eigen::Index>>>;

namespace detail {
template <SystemSource M>
using StateOf = typename std::remove_cvref_t<std::invoke_result_t<const M&, Eigen::Index>>::State;
template <class M, class MakeSystem>
concept FillsStart = requires(const M& start, Eigen::Index k, Generator& generator, StateOf<MakeSystem>& x) {
  start(k, generator, x);
};
template <class M, class MakeSystem>
concept MakesStart = requires(const M& start, Eigen::Index k, Generator& generator) {
  { start(k, generator) } -> std::convertible_to<StateOf<MakeSystem>>;
};
}  // namespace detail

/// Gives the state in which run k starts, f(k, generator), or fills it, f(k, generator, x).
template <class M, class MakeSystem>
concept StartSource = detail::FillsStart<M, MakeSystem> || detail::MakesStart<M, MakeSystem>;

/// `count` independent runs: run k moves make_system(k) from make_start(k, generator), with a generator of
/// its own (see generator_for), so that a run depends neither on how many there are nor on who makes it.
///
///     const Ensemble ensemble(2048, [&](Index) -> const auto& { return system; },
///                             [](Index, Generator& g) { return uniform_sphere(g, 32, 2); });
///     const auto [mean, report] = ensemble.run(Euler<State>{}, {.to = 30, .step = 0.1},
///                                              mean_at_times<State>(times, f));
///
/// The runs are shared out among threads() threads; loops inside a run then stay on its thread. Results have
/// the same bits for any number of threads: runs are gathered in blocks of neighbours, at most 256 of them
/// and the same for any number of threads, each block has a copy of the statistic, and copies are merged in
/// the order of blocks. Memory: a state and a stepper for each thread, and those copies that wait for an
/// earlier block.
///
/// \tparam MakeSystem  called as make_system(k); returns a VectorField or a reference to one.
/// \tparam MakeStart   called as make_start(k, generator) and returns a state, or as
///                     make_start(k, generator, x) and fills x, which a thread keeps from run to run: then no
///                     run but a thread's first takes memory.
/// Both are called from several threads at once.
template <SystemSource MakeSystem, StartSource<MakeSystem> MakeStart>
class Ensemble {
 public:
  /// What make_system returns.
  using System = std::remove_cvref_t<std::invoke_result_t<const MakeSystem&, Eigen::Index>>;
  /// What make_start returns or fills.
  using State = typename System::State;
  /// Whether make_start fills a state instead of returning one.
  static constexpr bool fills = std::invocable<const MakeStart&, Eigen::Index, Generator&, State&>;

  /// \throws std::invalid_argument unless count ≥ 0.
  Ensemble(Eigen::Index count, MakeSystem make_system, MakeStart make_start, std::uint64_t seed = 0)
      : count_(count), seed_(seed), make_system_(std::move(make_system)), make_start_(std::move(make_start)) {
    if (count < 0) detail::refuse("Ensemble: count is ", count, ", expected at least 0");
  }

  /// Makes all runs with equal steps. Every thread has its own copy of the stepper; the statistic given must
  /// not have seen anything yet. What a run throws reaches the caller: that of the first k, where several
  /// throw.
  template <StepperFor<System> Stepper, StatisticOf<State> Statistic>
  requires(!AdaptiveStepperFor<Stepper, System>)
      [[nodiscard]] EnsembleResult<Statistic> run(const Stepper& stepper, const FixedSteps& plan,
                                                  const Statistic& statistic) const {
    return run_all(stepper, plan, statistic);
  }
  /// The same with steps chosen by error control, in each run by itself.
  template <AdaptiveStepperFor<System> Stepper, StatisticOf<State> Statistic>
  [[nodiscard]] EnsembleResult<Statistic> run(const Stepper& stepper, const AdaptiveSteps& plan,
                                              const Statistic& statistic) const {
    return run_all(stepper, plan, statistic);
  }
  /// An embedded pair with equal steps; the plan's type is spelled out.
  template <AdaptiveStepperFor<System> Stepper, std::same_as<FixedSteps> Plan, StatisticOf<State> Statistic>
  [[nodiscard]] EnsembleResult<Statistic> run(const Stepper& stepper, const Plan& plan,
                                              const Statistic& statistic) const {
    return run_all(stepper, plan, statistic);
  }

  /// The number of runs.
  [[nodiscard]] Eigen::Index count() const noexcept { return count_; }
  /// The seed that the generators of the runs are made from.
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

 private:
  static constexpr Eigen::Index most_blocks = 256;

  /// What a thread keeps from one run to the next.
  template <class Stepper>
  struct Workspace {
    Stepper stepper;
    State x, before;
  };

  template <class Stepper, class Plan, class Statistic>
  EnsembleResult<Statistic> run_all(const Stepper& stepper, const Plan& plan,
                                    const Statistic& statistic) const {
    using Part = EnsembleResult<Statistic>;
    if constexpr (std::same_as<Plan, FixedSteps>)
      plan.validate();
    else
      plan.validate(static_cast<double>(std::numeric_limits<typename State::Scalar>::epsilon()));
    if (count_ == 0) return {statistic, {}};
    const Eigen::Index blocks = (std::min)(count_, most_blocks);
    detail::Mutex mutex;
    std::vector<std::unique_ptr<Workspace<Stepper>>> idle;
    std::vector<std::optional<Part>> finished(static_cast<std::size_t>(blocks));
    std::size_t merged = 0;
    std::optional<Part> total;

    const auto make_block = [&](Eigen::Index block) {
      std::unique_ptr<Workspace<Stepper>> workspace;
      {
        const detail::Lock lock(mutex);
        if (!idle.empty()) {
          workspace = std::move(idle.back());
          idle.pop_back();
        }
      }
      if (!workspace) workspace.reset(new Workspace<Stepper>{stepper, {}, {}});
      Part part{statistic, {}};
      const Eigen::Index end = first_of(block + 1, blocks);
      for (Eigen::Index k = first_of(block, blocks); k < end; ++k)
        part.report.add(k, run_one(k, *workspace, plan, part.statistic));

      const detail::Lock lock(mutex);
      idle.push_back(std::move(workspace));
      finished[static_cast<std::size_t>(block)].emplace(std::move(part));
      for (; merged < finished.size() && finished[merged]; ++merged) {
        if (total) {
          total->statistic.merge(finished[merged]->statistic);
          total->report.merge(finished[merged]->report);
        } else {
          total.emplace(std::move(*finished[merged]));
        }
        finished[merged].reset();
      }
    };
    detail::parallel_for(blocks, std::numeric_limits<double>::infinity(), make_block);
    return std::move(*total);
  }

  /// The first run of a block: count · block / blocks, without the overflow of the product.
  [[nodiscard]] Eigen::Index first_of(Eigen::Index block, Eigen::Index blocks) const noexcept {
    return count_ / blocks * block + count_ % blocks * block / blocks;
  }

  template <class Stepper, class Plan, class Statistic>
  Report run_one(Eigen::Index k, Workspace<Stepper>& workspace, const Plan& plan,
                 Statistic& statistic) const {
    Generator generator = generator_for(seed_, static_cast<std::uint64_t>(k));
    State& x = workspace.x;
    if constexpr (fills)
      make_start_(k, generator, x);
    else
      x = make_start_(k, generator);
    const System& system = make_system_(k);
    auto observer = [&](const StepView<State>& step) {
      if constexpr (detail::StepStatistic<Statistic, State>)
        return statistic(k, step);
      else
        return statistic(k, step.t1(), step.state());
    };
    if constexpr (std::same_as<Plan, FixedSteps>)
      return detail::integrate_fixed(system, workspace.stepper, x, plan, observer, workspace.before);
    else
      return detail::integrate_adaptive(system, workspace.stepper, x, plan, observer);
  }

  Eigen::Index count_;
  std::uint64_t seed_;
  MakeSystem make_system_;
  MakeStart make_start_;
};

}}  // namespace attnflow
