/// \file
/// Prediction and finding side by side: what the weights promise, what the tokens did, and how far
/// apart they are.
#pragma once

#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/prediction/analysis.hpp>
#include <attnflow/prediction/analyzer.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

template <class Scalar, int Dim>
[[nodiscard]] std::vector<Head<double>> heads_in_double(const std::vector<Head<Scalar, Dim>>& heads) {
  std::vector<Head<double>> result;
  for (const auto& h : heads)
    result.push_back(
        {h.Q.template cast<double>(), h.K.template cast<double>(), h.value().template cast<double>()});
  return result;
}

/// In double, rows summing to one to its rounding; those of tokens that attend to nothing remain zero.
template <class Scalar>
[[nodiscard]] std::vector<Eigen::MatrixXd> stochastic(const std::vector<SquareMatrix<Scalar>>& attention) {
  std::vector<Eigen::MatrixXd> P;
  for (const auto& given : attention) {
    P.push_back(given.template cast<double>());
    for (Eigen::Index i = 0; i < P.back().rows(); ++i)
      if (const double sum = P.back().row(i).sum(); sum != 0) P.back().row(i) /= sum;
  }
  return P;
}

/// The heads in double. \throws std::invalid_argument unless analyze() can take them with these options.
template <class Scalar, int Dim>
[[nodiscard]] std::vector<Head<double>> heads_to_analyze(const std::vector<Head<Scalar, Dim>>& heads,
                                                         const AnalyzeOptions& options) {
  if (heads.empty()) refuse("analyze: no head given, expected at least one");
  if (heads.size() > 1 && options.variable == StateVariable::rescaled)
    refuse("analyze: variable is rescaled with ", heads.size(),
           " heads, expected tokens: several heads have no common rescaling");
  if (!(options.layer_step >= 0 && std::isfinite(options.layer_step)))
    refuse("analyze: layer_step is ", options.layer_step, ", expected zero or a positive number");
  if (options.coordinates != nullptr && options.coordinates->basis.rows() != heads[0].dim())
    refuse("analyze: coordinates have d = ", options.coordinates->basis.rows(), ", expected ",
           heads[0].dim());
  return heads_in_double(heads);
}

/// \throws std::invalid_argument unless x has d rows.
template <class X>
void require_rows(Eigen::Index d, const char* name, const X& x) {
  if (x.rows() != d) refuse("analyze: ", name, " has ", x.rows(), " rows, expected d = ", d);
}

/// \throws std::invalid_argument unless t is a time from 0 and both states are d × n and finite.
template <class X>
void require_states(Eigen::Index d, double t, const X& start, const X& state) {
  if (!(std::isfinite(t) && t >= 0)) refuse("analyze: t is ", t, ", expected a finite time, at least 0");
  for (const auto& [name, x] : {std::pair<const char*, const X&>{"start", start}, {"state", state}}) {
    require_rows(d, name, x);
    if (x.cols() != start.cols())
      refuse("analyze: ", name, " has ", x.cols(), " tokens, expected ", start.cols(), " as start has");
    if (!x.allFinite()) refuse("analyze: ", name, " has an entry that is not finite");
  }
}

}  // namespace detail

/// The analysis of many states of one run, as analyze() makes it of one: what follows from the weights is worked out
/// once, in O(d³).
class Analyzer {
 public:
  /// \param options  as for analyze(); what its pointer refers to must live as long as this.
  /// \throws std::invalid_argument as analyze() does of heads and options.
  template <KernelScalar Scalar, int Dim>
  explicit Analyzer(const std::vector<Head<Scalar, Dim>>& heads, const AnalyzeOptions& options = {})
      : work_(detail::heads_to_analyze(heads, options), options), dim_(heads[0].dim()) {}

  /// What the weights promise.
  [[nodiscard]] const Prediction& prediction() const noexcept { return work_.prediction(); }

  /// What analyze() answers for this state, at its cost but that of the weights.
  /// \throws std::invalid_argument as analyze() does of times and states.
  template <KernelScalar Scalar, int Dim>
  [[nodiscard]] Analysis at(double t, const Tokens<Scalar, Dim>& start, const Tokens<Scalar, Dim>& state,
                            const std::vector<SquareMatrix<Scalar>>& attention = {}) const {
    detail::require_states(dim_, t, start, state);
    return work_.at(t, start.template cast<double>(), state.template cast<double>(),
                    static_cast<double>(std::numeric_limits<Scalar>::epsilon()),
                    detail::stochastic(attention));
  }

  /// Where the tokens of a state are, as far as the limit is concerned: the positions of Finding.
  /// \throws std::invalid_argument unless the state has d rows.
  template <KernelScalar Scalar, int Dim>
  [[nodiscard]] Eigen::MatrixXd positions(double t, const Tokens<Scalar, Dim>& state) const {
    detail::require_rows(dim_, "state", state);
    return work_.positions(t, state.template cast<double>());
  }
  /// Where they are in the subspace ℱ of the prediction; without one, their positions.
  /// \throws std::invalid_argument unless the state has d rows.
  template <KernelScalar Scalar, int Dim>
  [[nodiscard]] Eigen::MatrixXd limit_positions(double t, const Tokens<Scalar, Dim>& state) const {
    detail::require_rows(dim_, "state", state);
    return work_.limit_positions(t, state.template cast<double>());
  }
  /// The distance up to which positions count as one cluster where no gap tells: followers are within some e^{−λt} of
  /// their leaders, λ the least positive real part of an eigenvalue of V, so it falls with t from 2 % of the spread to a
  /// thousandth. first, now: positions at time 0 and t.
  [[nodiscard]] double tolerance_at(double t, const Eigen::MatrixXd& first,
                                    const Eigen::MatrixXd& now) const {
    return work_.tolerance_at(t, first, now);
  }

 private:
  detail::AnalyzerInDouble work_;
  Eigen::Index dim_;
};

/// Predicts the limit from the weights, finds it in a state, and measures the distance between the two.
///
/// \param t  the time of `state`; \param start  the state at time 0, d × n, in the same coordinates. \param attention  P of
/// each head at `state` if at hand; computed otherwise.
/// Cost: O(d³) for the weights, a real Schur form of V and with options.coordinates one more of V in them (some 4 s each
/// for a general V with d = 1000), O(n² d) for attention and clusters, some thirty times that for the past and the
/// future of the tokens' decisions, O(n³) for the ranks (n ≤ most_for_rank), and at most a fraction of a second for
/// the limit candidates of a polytope (limit_candidates).
/// \throws std::invalid_argument as predict_limit, if t is negative or not finite, a state is not finite or
/// of another size, or several heads come with rescaled states.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] Analysis analyze(const std::vector<Head<Scalar, Dim>>& heads, double t,
                               const Tokens<Scalar, Dim>& start, const Tokens<Scalar, Dim>& state,
                               const AnalyzeOptions& options = {},
                               const std::vector<SquareMatrix<Scalar>>& attention = {}) {
  if (!heads.empty()) detail::require_states(heads[0].dim(), t, start, state);  // before what costs O(d³)
  return Analyzer(heads, options).at(t, start, state, attention);
}

/// The same for a whole run: its last state, compared with its first, and the rate with which tokens came to
/// where they ended. A run has to start at time 0.
///
/// found.rate is fitted to e(t) = maxᵢ ‖aᵢ(t) − a_leader(i)(T)‖, a the coordinates in ℱ of the prediction
/// (for `none` the positions of Finding), leader(i) the leader nearest in the end, over the times at which 10
/// e(T) < e < extent/10.
/// \throws std::invalid_argument as above, and if the trajectory is empty or does not start at 0.
template <StateMatrix State>
[[nodiscard]] Analysis analyze(
    const std::vector<Head<typename State::Scalar, State::RowsAtCompileTime>>& heads,
    const Trajectory<State>& trajectory, const AnalyzeOptions& options = {}) {
  if (trajectory.size() == 0) detail::refuse("analyze: the trajectory is empty, expected at least one state");
  if (trajectory.times().front() != 0)
    detail::refuse("analyze: the trajectory starts at t = ", trajectory.times().front(), ", expected 0");
  const State& start = trajectory.states().front();
  const State& last = trajectory.states().back();
  const double end = trajectory.times().back();
  const Analyzer analyzer(heads, options);
  Analysis analysis = analyzer.at(end, start, last);
  const Eigen::Index n = last.cols();
  if (n == 0 || trajectory.size() < 3) return analysis;

  const std::vector<Eigen::Index>& leading = analysis.found.leaders;
  if (leading.empty()) return analysis;
  const auto at = [&](std::size_t k) -> Eigen::MatrixXd {
    return analyzer.limit_positions(trajectory.times()[k], trajectory.states()[k]);
  };
  const Eigen::MatrixXd ends = at(trajectory.size() - 1);
  Eigen::MatrixXd goals =
      ends;  // where the nearest leader is: leaders stand still, and the others come to them
  for (Eigen::Index i = 0; i < n; ++i) {
    Eigen::Index nearest = 0;
    (ends(Eigen::placeholders::all_t(), leading).colwise() - ends.col(i)).colwise().norm().minCoeff(&nearest);
    goals.col(i) = ends.col(leading[static_cast<std::size_t>(nearest)]);
  }
  std::vector<double> errors;
  for (std::size_t k = 0; k < trajectory.size(); ++k)
    errors.push_back((at(k) - goals).colwise().norm().maxCoeff());
  const double extent = detail::extent_of(at(0));
  const FitWindow window{.low = (std::max)(10 * errors.back(), options.accuracy * extent),
                         .high = extent / 10};
  if (window.low < window.high)
    analysis.found.rate = fit_exponential_rate(trajectory.times(), errors, window);
  return analysis;
}

/// One head.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] Analysis analyze(const Head<Scalar, Dim>& head, double t, const Tokens<Scalar, Dim>& start,
                               const Tokens<Scalar, Dim>& state, const AnalyzeOptions& options = {}) {
  return analyze(std::vector<Head<Scalar, Dim>>{head}, t, start, state, options);
}

/// One head and a whole run.
template <StateMatrix State>
[[nodiscard]] Analysis analyze(const Head<typename State::Scalar, State::RowsAtCompileTime>& head,
                               const Trajectory<State>& trajectory, const AnalyzeOptions& options = {}) {
  return analyze(std::vector<Head<typename State::Scalar, State::RowsAtCompileTime>>{head}, trajectory,
                 options);
}

}}  // namespace attnflow
