/// \file
/// What an analysis is asked, and what it answers.
#pragma once

#include <attnflow/observables/attention/boolean_distance.hpp>
#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/attention/leaders.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/observables/tokens/merge_tree.hpp>
#include <attnflow/prediction/invariant_basis.hpp>
#include <attnflow/prediction/predict_limit.hpp>

#include <Eigen/Core>

#include <optional>
#include <string>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What the states of a run are.
enum class StateVariable {
  rescaled,    ///< z = e^{−tV} x (of layers: zᵏ = R⁻ᵏ xᵏ)
  tokens,      ///< x
  unit_tokens  ///< x on the unit sphere
};

/// What analyze() needs to know of the states, and how much it may compute.
struct AnalyzeOptions {
  double beta = 1;  ///< the factor of the scores
  /// What the states are: z or x.
  StateVariable variable = StateVariable::rescaled;
  double layer_step = 0;  ///< positive: the states are those of layers of this step, t a multiple of it
  /// Not null: the states are y with z (or x) = basis · y, the heads are those of the original coordinates.
  const InvariantBasis* coordinates = nullptr;
  /// Not empty: why the theorems are not of these states, such as a mask, or the sphere. The prediction is
  /// `none` with this reason. Leaders and what else is found in P need P to be given, with rows that sum to
  /// one or, where a mask leaves nothing, are zero.
  std::string outside_theory = {};
  double accuracy = 1e-8;  ///< of the states, relative to the extent of the start: errors of the integration
  /// Attention, leaders, hull, verdict, … for n up to this: some 5 s at n = 2000, 40 s at 4000. Beyond, the verdict
  /// stays open, as it needs P at some thirty times.
  Eigen::Index most_tokens = 2000;
  Eigen::Index most_for_rank = 500;  ///< ranks for n up to this
};

/// What the tokens did. Positions are those of z in the invariant subspace ℱ of the eigenvalues of V with
/// positive real part, that is modulo the subspace 𝒢 of the others, along which z need not converge. (No such
/// eigenvalue, several heads, or the sphere: positions are those of the tokens x.)
struct Finding {
  Clusters clusters;             ///< of the positions
  double cluster_tolerance = 0;  ///< at which they were told apart
  /// The gap in the merge tree from which the tolerance was read, if there is a clear one.
  std::optional<MergeGap> gap;
  /// Who is attended to most, coincident tokens merged; increasing, of all heads.
  std::vector<Eigen::Index> leaders;
  std::vector<LeaderTie> ties;  ///< rows that could not decide (of the first head)
  /// The least over rows of log Pᵢ,best − log Pᵢ,second, between distinct positions.
  double decision_margin = 0;
  std::optional<std::vector<Eigen::Index>> hull_vertices;  ///< the extreme positions after merging
  /// φ₁*(z) of the hyperplanes found, increasing; only if hyperplanes, or a line, are predicted.
  std::vector<double> levels;
  /// Of P (one head), unless some token attends to nothing. On the line its columns are the first and the
  /// last token of the start, elsewhere the best.
  std::optional<BooleanDistance> boolean;
  std::optional<EffectiveRank> rank;  ///< of P (one head)
  /// Polytopes: maxₖ ⟨Mv, vₖ⟩/⟨Mv, v⟩ − 1 over the vertices v; at most rounding where every vertex attends to
  /// itself.
  std::optional<double> self_attention;
  /// e^{−rate t}, with which tokens approach leaders; needs a trajectory.
  std::optional<RateFit> rate;
};

/// Prediction and finding.
struct Analysis {
  /// The time of the state.
  double t = 0;
  /// What the weights promise.
  Prediction prediction;
  /// What the tokens did.
  Finding found;
  /// How far the tokens are from the predicted limit set; nothing for `none`.
  ///
  ///     polytope, × subspace     maxᵢ minₛ ‖πzᵢ − s‖ over the limit candidates s ∈ 𝒮 of the hull that was found
  ///     hyperplanes              maxᵢ min_c |φ₁*(zᵢ) − c| / ‖φ₁*‖ over c ∈ {0, minⱼ φ₁*(zⱼ), maxⱼ φ₁*(zⱼ)}
  ///     boolean_line             ℓ¹ distance of P to the Boolean matrices, one row left out (boolean_distance)
  ///     origin                   maxᵢ ‖xᵢ‖
  std::optional<double> distance_to_prediction;
  /// What it should be at most by time t, for a run that has its start in double precision:
  ///
  ///     polytopes, hyperplanes   extent · (2 e^{−λ₁(t − decided_since)} + accuracy of the states): followers come to
  ///                              leaders like e^{−λ₁t} from the time on at which they have decided whom to follow
  ///     boolean_line             10⁻⁶: the rate is e^{−c e^t}
  ///     origin                   √(n / ct λ_min(QᵀK)) + e^{−ct} maxᵢ ‖xᵢ(0)‖, as ∑‖xᵢ‖²/n ≈ d / 2ct
  std::optional<double> expected_distance;
  /// The time since which every token's choice of a leader has been final, as far as the weights and the state
  /// tell (detail::DecidedRun); 0 where it was so from the start. Nothing while choices are open, or will be
  /// revised. For polytopes, hyperplanes and the line.
  std::optional<double> decided_since;
  bool candidates_complete = true;  ///< false: 𝒮 was too large to be listed, the distance is an upper bound
  /// The sets of vertices that were not tried for 𝒮; 0 once tokens have decided, as then only vertices matter.
  double candidate_sets_left_out = 0;
  /// Whether the comparison says something. Otherwise it is too early to tell, or no limit is predicted.
  ///
  ///     polytopes, hyperplanes   all tokens have decided, their decisions are final (decided_since), and
  ///                              expected_distance is at most a tenth of the extent of the start
  ///     boolean_line             all rows of P but one are within 10⁻⁶ of Boolean, with any two columns
  ///     origin                   expected_distance is at most half of maxᵢ ‖xᵢ(0)‖, or the tokens are as near
  ///
  /// Then a longer run says the same. A row that seems to have been undecided for longer than double precision allows
  /// contradicts the theorem in a run of the differential equation; of layers it makes decided_since later, as a step
  /// may jump across a tie. n > AnalyzeOptions::most_tokens: conclusive for the origin alone.
  bool conclusive = false;

  /// Whether a limit is predicted, and found as near as it should be after a time long enough to tell.
  [[nodiscard]] bool agrees() const { return conclusive && *distance_to_prediction <= *expected_distance; }
};

}}  // namespace attnflow
