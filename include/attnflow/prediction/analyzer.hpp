/// \file
/// The work behind analyze.
#pragma once

#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/detail/words.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/schur.hpp>
#include <attnflow/observables/attention/boolean_distance.hpp>
#include <attnflow/observables/attention/decision_margins.hpp>
#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/attention/leaders.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/observables/tokens/merge_tree.hpp>
#include <attnflow/prediction/analysis.hpp>
#include <attnflow/prediction/decided_run.hpp>
#include <attnflow/prediction/definiteness.hpp>
#include <attnflow/prediction/invariant_splitting.hpp>
#include <attnflow/prediction/limit_candidates.hpp>
#include <attnflow/prediction/limit_coordinates.hpp>
#include <attnflow/prediction/merged_vertices.hpp>
#include <attnflow/prediction/predict_limit.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

[[nodiscard]] inline Prediction no_prediction(std::string reason) {
  Prediction prediction;
  prediction.reason = std::move(reason);
  return prediction;
}

/// The work of Analyzer, on numbers of double that have been checked.
class AnalyzerInDouble {
 public:
  AnalyzerInDouble(std::vector<Head<double>> heads, const AnalyzeOptions& options)
      : heads_(std::move(heads)),
        options_(options),
        frame_{options.variable == StateVariable::rescaled, options.layer_step, options.coordinates},
        prediction_(no_prediction(options.outside_theory)) {
    const bool single = heads_.size() == 1, theory = options.outside_theory.empty();
    const Head<double> own = single ? in_coordinates(heads_[0], frame_) : Head<double>{};
    std::optional<SchurForm> form;  // of own.V, at most once
    const auto form_of_own = [&]() -> const SchurForm& {
      return form ? *form : form.emplace(schur_form(own.V));
    };
    if (theory && single && !frame_.has_basis())
      prediction_ = predict_limit_by(form_of_own, heads_, options.beta, 1e-8);
    else if (theory)
      prediction_ = predict_limit(heads_, options.beta);
    if (!single || options.variable == StateVariable::unit_tokens) return;
    if (theory) {
      const Prediction inside = frame_.has_basis()
                                    ? predict_limit_by(form_of_own, std::vector{own}, options.beta, 1e-8)
                                    : prediction_;
      if (inside.limit == prediction_.limit && inside.splitting.dim() == prediction_.splitting.dim())
        limit_ = PartCoordinates::of(inside.splitting, frame_);
    }
    const UnstableDimension unstable = unstable_dimension(form_of_own());
    if (!theory) prediction_.unstable_dimension = unstable.dimension;
    require_stable_layers();
    slowest_ = unstable.smallest_positive;
    if (unstable.dimension > 0) growing_ = PartCoordinates::of(unstable.splitting, frame_);
    if (prediction_.limit == LimitCase::hyperplanes && limit_) {  // φ₁ and φ₁* with their sign
      const double sign = limit_->basis.col(0).dot(prediction_.splitting.inside.col(0)) < 0 ? -1 : 1;
      limit_->map *= sign;
      limit_->basis *= sign;
    }
  }

  [[nodiscard]] const Prediction& prediction() const noexcept { return prediction_; }

  /// Where tokens are, as far as the limit is concerned: see Finding.
  [[nodiscard]] Eigen::MatrixXd positions(double t, const Eigen::MatrixXd& state) const {
    Eigen::MatrixXd seen = state;
    if (growing_)
      seen = growing_->of_state(frame_, t, state);
    else if (heads_.size() == 1)
      seen = tokens_of_state(heads_[0].V, frame_, t, state);
    return seen.allFinite() ? seen : state;  // at the ends of the range of double
  }

  /// Where tokens are in ℱ of the prediction; without one, their positions.
  [[nodiscard]] Eigen::MatrixXd limit_positions(double t, const Eigen::MatrixXd& state) const {
    return limit_ && prediction_.rate > 0 ? limit_->of_state(frame_, t, state) : positions(t, state);
  }

  /// The distance up to which positions count as one where no gap tells: followers are within some e^{−λt} of their
  /// leaders, λ the least positive real part, so it falls with t from 2 % of the spread to a thousandth.
  [[nodiscard]] double tolerance_at(double t, const Eigen::MatrixXd& first,
                                    const Eigen::MatrixXd& now) const {
    const double decay = std::exp(-frame_.log_growth(slowest_, t));
    return std::clamp(10 * decay, 1e-3, 2e-2) * (std::max)(spread_of(first), spread_of(now));
  }

  /// \param epsilon  of the scalar of the states; P of each head, or none.
  [[nodiscard]] Analysis at(double t, const Eigen::MatrixXd& start, const Eigen::MatrixXd& state,
                            double epsilon, std::vector<Eigen::MatrixXd> attention) const {
    Analysis analysis;
    analysis.t = t;
    analysis.prediction = prediction_;
    Finding& found = analysis.found;
    const Eigen::Index n = state.cols();
    const Eigen::MatrixXd now = positions(t, state), first = positions(0, start);
    find_clusters(t, first, now, found);
    std::vector<Eigen::Index> labels;
    double off_two_columns = std::numeric_limits<double>::infinity();
    if (n <= options_.most_tokens && n > 0) {
      if (attention.empty() && options_.outside_theory.empty()) attention = attention_at(t, state);
      labels = coincident(t, state, epsilon);
      off_two_columns = look_at_attention(attention, labels, start, found);
      find_hull(found, now);
    }
    if (limit_ && in_range(start) && in_range(state)) compare(t, start, state, off_two_columns, analysis);
    return analysis;
  }

 private:
  /// Layers with V = −cI multiply the mean of tokens near 0 by 1 − cΔt, and so does a token that attends to itself.
  void require_stable_layers() {
    if (prediction_.limit != LimitCase::origin || !(options_.layer_step > 0)) return;
    const double c = -heads_[0].V.trace() / static_cast<double>(heads_[0].dim());
    if (c * options_.layer_step < 2) return;
    prediction_.limit = LimitCase::none;
    prediction_.reference.clear();
    prediction_.reason =
        words("V = ", -c, " I: the tokens of the differential equation tend to 0, but layers of step ",
              options_.layer_step, " multiply their mean by ", 1 - c * options_.layer_step,
              ", expected a step below 2/", c, " = ", 2 / c);
  }

  void find_clusters(double t, const Eigen::MatrixXd& first, const Eigen::MatrixXd& now,
                     Finding& found) const {
    if (now.cols() <= options_.most_tokens && in_range(now) && in_range(first)) {
      const MergeGap gap =
          automatic_tolerance(now, options_.most_tokens, options_.accuracy * extent_of(first));
      if (gap.clear) found.gap = gap;
    }
    found.cluster_tolerance = found.gap ? found.gap->tolerance : tolerance_at(t, first, now);
    found.clusters = detect_clusters(now, found.cluster_tolerance);
  }

  /// Labels of tokens that are equal up to rounding, in x up to its size, so that P cannot tell them apart. Tokens
  /// that differ by a vector of 𝒢 alone are not.
  [[nodiscard]] std::vector<Eigen::Index> coincident(double t, const Eigen::MatrixXd& state,
                                                     double epsilon) const {
    Eigen::MatrixXd x = state;
    if (frame_.rescaled)
      x = product_of(growth_of(in_coordinates(heads_[0], frame_).V, frame_, t).matrix, state);
    if (!x.allFinite()) x = state;
    return detect_clusters(x, 64 * epsilon * x.cwiseAbs().maxCoeff()).labels;
  }

  /// Whether squares of the entries, and products of them with weights, are far from overflow.
  [[nodiscard]] static bool in_range(const Eigen::MatrixXd& x) {
    return x.size() > 0 && x.cwiseAbs().maxCoeff() < 1e140;
  }

  [[nodiscard]] static double spread_of(const Eigen::MatrixXd& x) {
    if (x.size() == 0) return 0;
    return (std::min)(2 * (x.maxCoeff() / 2 - x.minCoeff() / 2), (std::numeric_limits<double>::max)());
  }

  [[nodiscard]] std::vector<Eigen::MatrixXd> attention_at(double t, const Eigen::MatrixXd& state) const {
    const Tokens<double>& own = state;
    const Softmax law{.beta = options_.beta};
    std::vector<Eigen::MatrixXd> P;
    for (const auto& head : heads_) {
      const Head<double> seen = in_coordinates(head, frame_);
      if (!frame_.rescaled)
        P.push_back(attention_matrix(seen, own, law));
      else if (frame_.layer_step > 0)
        P.push_back(RescaledLayers<double>(seen, frame_.layer_step, law).attention(frame_.layer(t), own));
      else
        P.push_back(RescaledDynamics<double>(seen, law).attention(t, own));
    }
    return P;
  }

  /// \returns how far P is from Boolean with the two columns that suit it best, where there is one head.
  double look_at_attention(const std::vector<Eigen::MatrixXd>& attention,
                           std::span<const Eigen::Index> labels, const Eigen::MatrixXd& start,
                           Finding& found) const {
    double off_two_columns = std::numeric_limits<double>::infinity();
    std::set<Eigen::Index> all;
    found.decision_margin = std::numeric_limits<double>::infinity();
    for (std::size_t h = 0; h < attention.size(); ++h) {
      Leaders leading = attnflow::leaders(attention[h], labels, 1e-12);
      all.insert(leading.indices.begin(), leading.indices.end());
      if (h == 0) found.ties = std::move(leading.ties);
      const Eigen::MatrixXd log_P = attention[h].array().log().matrix();
      found.decision_margin = (std::min)(found.decision_margin, log_margins(log_P, labels).minCoeff());
    }
    found.leaders.assign(all.begin(), all.end());
    if (attention.size() != 1) return off_two_columns;
    if ((attention[0].rowwise().sum().array() > 0).all()) {  // the distance is one of probability vectors
      found.boolean = boolean_distance(attention[0], labels);
      off_two_columns = found.boolean->to_family;
      if (state_is_line()) {
        Eigen::Index smallest = 0, largest = 0;
        start.row(0).minCoeff(&smallest);
        start.row(0).maxCoeff(&largest);
        found.boolean = boolean_distance(attention[0], labels, smallest, largest);
      }
    }
    if (attention[0].cols() <= options_.most_for_rank) found.rank = effective_rank(attention[0]);
    return off_two_columns;
  }

  [[nodiscard]] bool state_is_line() const { return heads_[0].dim() == 1; }

  /// Extreme points in dimensions up to three exactly; beyond, only where clusters are few enough.
  void find_hull(Finding& found, const Eigen::MatrixXd& now) const {
    if (!in_range(now) || (now.rows() > 3 && found.clusters.count() > 64)) return;
    found.hull_vertices = merged_vertices(now, found.cluster_tolerance, found.leaders);
  }

  void compare(double t, const Eigen::MatrixXd& start, const Eigen::MatrixXd& state, double off_two_columns,
               Analysis& analysis) const {
    if (prediction_.limit == LimitCase::none) return;
    if (prediction_.limit == LimitCase::origin) return compare_origin(start, state, t, analysis);
    const Eigen::MatrixXd first = limit_->of_state(frame_, 0, start),
                          now = limit_->of_state(frame_, t, state);
    const double extent = extent_of(first);
    std::vector<Eigen::Index> leading;  // those that have decided for good
    if (state.cols() <= options_.most_tokens) leading = decide(t, state, extent, analysis);
    const double decay = analysis.decided_since
                             ? std::exp(-frame_.log_growth(prediction_.rate, t) +
                                        frame_.log_growth(prediction_.rate, *analysis.decided_since))
                             : 1;
    const double relative = (std::min)(2 * decay, 1.) + options_.accuracy;
    analysis.expected_distance = extent * relative;
    analysis.conclusive = relative <= 0.1;
    if (prediction_.limit == LimitCase::polytope || prediction_.limit == LimitCase::polytope_times_subspace)
      compare_polytope(now, extent, leading, analysis);
    else
      compare_levels(now, extent, leading, analysis);
    if (prediction_.limit == LimitCase::boolean_line) compare_rows(off_two_columns, analysis);
  }

  /// Sets decided_since. \returns the leaders, if decisions are final.
  [[nodiscard]] std::vector<Eigen::Index> decide(double t, const Eigen::MatrixXd& state, double extent,
                                                 Analysis& analysis) const {
    if (!(extent > 0)) {  // all tokens are where the limit will be
      analysis.decided_since = 0;
      return {0};
    }
    const DecidedRun run(in_coordinates(heads_[0], frame_), frame_, options_.beta, prediction_.rate,
                         limit_->map, limit_->map.rows() == state.rows(), options_.accuracy);
    const DecidedRun::Answer answer = run.at(t, state, extent);
    analysis.decided_since = answer.since;
    if (!answer.since) return {};
    const std::set<Eigen::Index> distinct(answer.leader.begin(), answer.leader.end());
    return {distinct.begin(), distinct.end()};
  }

  /// Leaders that decided for good are the vertices, as each attends to itself. Until then those of the hull as
  /// it is, merged at 2 % of the extent, and what lies on its faces.
  void compare_polytope(const Eigen::MatrixXd& now, double extent, const std::vector<Eigen::Index>& leading,
                        Analysis& analysis) const {
    const double relative = 2e-2;
    const Eigen::MatrixXd corners =
        now(Eigen::placeholders::all_t(),
            leading.empty() ? merged_vertices(now, relative * extent, analysis.found.leaders) : leading);
    const Eigen::MatrixXd M =
        transposed_product(limit_->basis, product_of(bilinear_form(heads_[0], options_.beta), limit_->basis));
    const Eigen::MatrixXd form = (M + M.transpose()) / 2;  // symmetric up to rounding already
    LimitCandidates candidates;
    candidates.points = corners;
    if (leading.empty()) candidates = limit_candidates(form, corners, relative);
    double farthest = 0;
    for (Eigen::Index i = 0; i < now.cols(); ++i)
      farthest = (std::max)(farthest, distance_to_candidates(candidates, now.col(i)));
    analysis.distance_to_prediction = farthest;
    analysis.candidates_complete = candidates.complete;
    analysis.candidate_sets_left_out = candidates.sets_left_out;
    analysis.found.self_attention = self_attention_residual(form, corners).maxCoeff();
  }

  void compare_levels(const Eigen::MatrixXd& now, double extent, const std::vector<Eigen::Index>& leading,
                      Analysis& analysis) const {
    const Eigen::MatrixXd c = now.row(0);
    const double a = c.minCoeff(), b = c.maxCoeff();
    double farthest = 0;
    for (const double level : c.reshaped())
      farthest = (std::max)(farthest, (std::min)({std::abs(level), level - a, b - level}));
    const double norm = prediction_.splitting.inside_dual.row(0).norm();
    analysis.distance_to_prediction = farthest / norm;
    *analysis.expected_distance /= norm;
    const Eigen::MatrixXd seen =
        leading.empty() ? c : Eigen::MatrixXd(c(Eigen::placeholders::all_t(), leading));
    const Clusters levels = detect_clusters(seen, (leading.empty() ? 2e-2 : 4 * options_.accuracy) * extent);
    for (Eigen::Index k = 0; k < levels.count(); ++k) {
      double level = 0;  // that of the member farthest out, which leads
      for (Eigen::Index i = 0; i < seen.size(); ++i)
        if (levels.labels[static_cast<std::size_t>(i)] == k && std::abs(seen(0, i)) >= std::abs(level))
          level = seen(0, i);
      analysis.found.levels.push_back(level);
    }
    std::ranges::sort(analysis.found.levels);
  }

  /// On the line the limit is that of P, which is told once its rows have become Boolean in any two columns. They
  /// stay so: a token follows the largest if it is positive, and then grows.
  void compare_rows(double off_two_columns, Analysis& analysis) const {
    analysis.distance_to_prediction.reset();
    analysis.expected_distance.reset();
    analysis.conclusive = false;
    if (!analysis.found.boolean) return;
    analysis.distance_to_prediction = analysis.found.boolean->to_family;
    analysis.expected_distance = 1e-6;
    analysis.conclusive = off_two_columns <= 1e-6;
  }

  /// For small scores, c = 1 and QᵀK = I, deviations from the mean obey u̇ᵢ = −C uᵢ with their covariance C, so Ċ =
  /// −2C² and uᵢᵀ C⁻¹ uᵢ is constant. It is at most n, of any n vectors. So ‖uᵢ‖² ≤ n ‖C‖ ≤ n / 2(t − s) if scores are
  /// small from s on, which is at most n / t for s ≤ t/2.
  void compare_origin(const Eigen::MatrixXd& start, const Eigen::MatrixXd& state, double t,
                      Analysis& analysis) const {
    const Eigen::MatrixXd x = tokens_of_state(heads_[0].V, frame_, t, state);
    const Eigen::MatrixXd x0 = tokens_of_state(heads_[0].V, frame_, 0, start);
    const double c = -heads_[0].V.trace() / static_cast<double>(heads_[0].dim());
    const double least = definiteness(bilinear_form(heads_[0], options_.beta)).smallest;
    const double distance = x.colwise().norm().maxCoeff(), largest = x0.colwise().norm().maxCoeff();
    const double mean = frame_.layer_step > 0 ? std::pow(std::abs(1 - c * frame_.layer_step), frame_.layer(t))
                                              : std::exp(-c * t);
    const double expected =
        t > 0 ? std::sqrt(static_cast<double>(x.cols()) / (c * t * least)) + mean * largest : largest;
    analysis.distance_to_prediction = distance;
    analysis.expected_distance = expected;
    analysis.conclusive = expected <= largest / 2 || distance <= (std::min)(expected, largest / 2);
  }

  std::vector<Head<double>> heads_;
  AnalyzeOptions options_;
  Frame frame_;
  Prediction prediction_;
  std::optional<PartCoordinates> limit_;    // ℱ of the prediction
  std::optional<PartCoordinates> growing_;  // ℱ of the eigenvalues with positive real part
  double slowest_ = 0;                      // the least of those real parts
};

}}}  // namespace attnflow::detail
