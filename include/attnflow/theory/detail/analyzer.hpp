/// \file
/// The work behind analyze.
#pragma once

#include <attnflow/algebra/products.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/clustering/boolean_distance.hpp>
#include <attnflow/clustering/clusters.hpp>
#include <attnflow/clustering/decision_margins.hpp>
#include <attnflow/clustering/effective_rank.hpp>
#include <attnflow/clustering/leaders.hpp>
#include <attnflow/clustering/merge_tree.hpp>
#include <attnflow/polytope/limit_candidates.hpp>
#include <attnflow/polytope/merged_vertices.hpp>
#include <attnflow/spectral/definiteness.hpp>
#include <attnflow/spectral/invariant_splitting.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/theory/analysis.hpp>
#include <attnflow/theory/detail/limit_coordinates.hpp>
#include <attnflow/theory/predict_limit.hpp>
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

namespace attnflow::inline ATTNFLOW_ABI::detail {

[[nodiscard]] inline Prediction no_prediction(std::string reason) {
  Prediction prediction;
  prediction.reason = std::move(reason);
  return prediction;
}

/// Everything that the analysis of one state needs.
class Analyzer {
 public:
  Analyzer(std::vector<Head<double>> heads, const AnalyzeOptions& options)
      : heads_(std::move(heads)),
        options_(options),
        frame_{options.variable == StateVariable::rescaled, options.layer_step, options.coordinates},
        prediction_(options.outside_theory.empty() ? predict_limit(heads_, options.beta)
                                                   : no_prediction(options.outside_theory)) {
    if (heads_.size() > 1 || options.variable == StateVariable::unit_tokens) return;
    const Head<double> own = in_coordinates(heads_[0], frame_);
    const UnstableDimension unstable = unstable_dimension(own.V);
    if (options.outside_theory.empty()) {
      const Prediction inside = frame_.has_basis() ? predict_limit(own, options.beta) : prediction_;
      if (inside.limit == prediction_.limit && inside.splitting.dim() == prediction_.splitting.dim())
        limit_ = PartCoordinates::of(inside.splitting, frame_);
    } else {
      prediction_.unstable_dimension = unstable.dimension;
    }
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
    if (n <= options_.most_tokens && n > 0) {
      if (attention.empty() && options_.outside_theory.empty()) attention = attention_at(t, state);
      labels = detect_clusters(now, 64 * epsilon * now.cwiseAbs().maxCoeff()).labels;
      look_at_attention(attention, labels, start, found);
      find_hull(found, now);
    }
    if (limit_ && in_range(start) && in_range(state)) compare(t, start, state, analysis);
    return analysis;
  }

 private:
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
    const Softmax<double> law{.beta = options_.beta};
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

  void look_at_attention(const std::vector<Eigen::MatrixXd>& attention, std::span<const Eigen::Index> labels,
                         const Eigen::MatrixXd& start, Finding& found) const {
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
    if (attention.size() != 1) return;
    if ((attention[0].rowwise().sum().array() > 0).all()) {  // the distance is one of probability vectors
      if (state_is_line()) {
        Eigen::Index smallest = 0, largest = 0;
        start.row(0).minCoeff(&smallest);
        start.row(0).maxCoeff(&largest);
        found.boolean = boolean_distance(attention[0], labels, smallest, largest);
      } else {
        found.boolean = boolean_distance(attention[0], labels);
      }
    }
    if (attention[0].cols() <= options_.most_for_rank) found.rank = effective_rank(attention[0]);
  }

  [[nodiscard]] bool state_is_line() const { return heads_[0].dim() == 1; }

  /// Extreme points in dimensions up to three exactly; beyond, only where clusters are few enough.
  void find_hull(Finding& found, const Eigen::MatrixXd& now) const {
    if (!in_range(now) || (now.rows() > 3 && found.clusters.count() > 64)) return;
    found.hull_vertices = merged_vertices(now, found.cluster_tolerance, found.leaders);
  }

  void compare(double t, const Eigen::MatrixXd& start, const Eigen::MatrixXd& state,
               Analysis& analysis) const {
    switch (prediction_.limit) {
      case LimitCase::none:
        return;
      case LimitCase::polytope:
      case LimitCase::polytope_times_subspace:
        return compare_polytope(limit_->of_state(frame_, 0, start), limit_->of_state(frame_, t, state), t,
                                analysis);
      case LimitCase::hyperplanes:
        return compare_levels(limit_->of_state(frame_, 0, start), limit_->of_state(frame_, t, state), t,
                              analysis);
      case LimitCase::boolean_line:
        compare_levels(limit_->of_state(frame_, 0, start), limit_->of_state(frame_, t, state), t, analysis);
        analysis.distance_to_prediction.reset();
        analysis.expected_distance.reset();
        if (analysis.found.boolean) {
          analysis.distance_to_prediction = analysis.found.boolean->to_family;
          analysis.expected_distance = 1e-6;
        }
        analysis.conclusive = analysis.found.boolean.has_value();
        return;
      case LimitCase::origin:
        return compare_origin(start, state, t, analysis);
    }
  }

  /// The distance that followers still have: 5 · extent · e^{−λt}, and what the states are accurate to.
  void expect(Analysis& analysis, double t, double extent) const {
    const double decay = std::exp(-frame_.log_growth(prediction_.rate, t));
    analysis.expected_distance = extent * (5 * decay + options_.accuracy);
    analysis.conclusive = decay <= 0.01;
  }

  void compare_polytope(const Eigen::MatrixXd& first, const Eigen::MatrixXd& now, double t,
                        Analysis& analysis) const {
    const double extent = extent_of(first), decay = std::exp(-frame_.log_growth(prediction_.rate, t));
    const double relative = std::clamp(10 * decay, (std::max)(options_.accuracy, 1e-12), 2e-2);
    const auto vertices = merged_vertices(now, relative * extent, analysis.found.leaders);
    const Eigen::MatrixXd corners = now(Eigen::placeholders::all_t(), vertices);
    const Eigen::MatrixXd M =
        transposed_product(limit_->basis, product_of(bilinear_form(heads_[0], options_.beta), limit_->basis));
    const Eigen::MatrixXd form = (M + M.transpose()) / 2;  // symmetric up to rounding already
    const LimitCandidates candidates =
        limit_candidates(form, corners, (std::max)(relative, 1e-9), {.max_subsets = 1e5});
    double farthest = 0;
    for (Eigen::Index i = 0; i < now.cols(); ++i)
      farthest = (std::max)(farthest, distance_to_candidates(candidates, now.col(i)));
    analysis.distance_to_prediction = farthest;
    expect(analysis, t, extent);
    analysis.candidates_complete = candidates.complete;
    analysis.found.self_attention = self_attention_residual(form, corners).maxCoeff();
  }

  void compare_levels(const Eigen::MatrixXd& first, const Eigen::MatrixXd& now, double t,
                      Analysis& analysis) const {
    const Eigen::MatrixXd c = now.row(0);
    const double range = first.row(0).maxCoeff() - first.row(0).minCoeff();
    const double a = c.minCoeff(), b = c.maxCoeff();
    double farthest = 0;
    for (const double level : c.reshaped())
      farthest = (std::max)(farthest, (std::min)({std::abs(level), level - a, b - level}));
    const double norm = prediction_.splitting.inside_dual.row(0).norm();
    analysis.distance_to_prediction = farthest / norm;
    expect(analysis, t, range / norm);
    const double decay = std::exp(-frame_.log_growth(prediction_.rate, t));
    const Clusters levels = detect_clusters(c, std::clamp(10 * decay, 1e-3, 2e-2) * range);
    for (Eigen::Index k = 0; k < levels.count(); ++k) {
      double level = 0;  // that of the member farthest out, which leads
      for (Eigen::Index i = 0; i < c.size(); ++i)
        if (levels.labels[static_cast<std::size_t>(i)] == k && std::abs(c(0, i)) >= std::abs(level))
          level = c(0, i);
      analysis.found.levels.push_back(level);
    }
    std::ranges::sort(analysis.found.levels);
  }

  void compare_origin(const Eigen::MatrixXd& start, const Eigen::MatrixXd& state, double t,
                      Analysis& analysis) const {
    const Eigen::MatrixXd x = tokens_of_state(heads_[0].V, frame_, t, state);
    const Eigen::MatrixXd x0 = tokens_of_state(heads_[0].V, frame_, 0, start);
    const double c = -heads_[0].V.trace() / static_cast<double>(heads_[0].dim());
    const double least = definiteness(bilinear_form(heads_[0], options_.beta)).smallest;
    analysis.distance_to_prediction = x.colwise().norm().maxCoeff();
    const double largest = x0.colwise().norm().maxCoeff();
    analysis.expected_distance =
        t > 0 ? std::sqrt(static_cast<double>(x.size()) / (c * t * least)) + std::exp(-c * t) * largest
              : largest;
    analysis.conclusive = *analysis.expected_distance <= largest / 2;
  }

  std::vector<Head<double>> heads_;
  AnalyzeOptions options_;
  Frame frame_;
  Prediction prediction_;
  std::optional<PartCoordinates> limit_;    // ℱ of the prediction
  std::optional<PartCoordinates> growing_;  // ℱ of the eigenvalues with positive real part
  double slowest_ = 0;                      // the least of those real parts
};

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
