// What view.html shows.
#pragma once

#include "programs/page_parts.hpp"
#include "programs/simulate/report.hpp"

#include <attnflow/io/add_heads.hpp>
#include <attnflow/io/add_limits.hpp>
#include <attnflow/io/html.hpp>
#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/tokens/clusters.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace simulation {

namespace fs = std::filesystem;

/// Collects what the page shows while the run goes on: at most so many numbers, and says what was left out.
template <class Scalar>
class PageBuilder {
 public:
  /// \param analyzer  counts clusters; none without it.
  PageBuilder(const Options& o, const std::vector<double>& times, const Tokens<Scalar>& start,
              const std::vector<Head<double>>& heads, const attnflow::Analyzer* analyzer)
      : options_(o), heads_(heads), analyzer_(analyzer) {
    constexpr double most_numbers = 8e6;  // of positions
    constexpr double most_attention = 1e6;
    const auto m = static_cast<double>(times.size()), n = static_cast<double>(start.cols());
    const auto d = static_cast<int>(start.rows());
    whole_ = m * n * d <= most_numbers;
    view_.dim = whole_ ? d : std::min(d, 3);
    const double room = most_numbers / view_.dim;
    shown_ = static_cast<Index>(std::min(n, room / 25));
    const double frames = std::max(1.0, std::min(m, room / static_cast<double>(shown_)));
    stride_ = static_cast<std::size_t>(std::ceil(m / frames));
    view_.tokens = shown_;
    const auto kept = static_cast<double>((times.size() + stride_ - 1) / stride_);
    with_attention_ = heads.size() == 1 && start.cols() == shown_ && kept * n * n <= most_attention;
    view_.axes = page_parts::coordinate_names(rescaled() ? "z" : "x", view_.dim);
    if (shown_ < start.cols())
      view_.note += "Shown are the first " + std::to_string(shown_) + " of " + std::to_string(start.cols()) +
                    " tokens. ";
    if (stride_ > 1) view_.note += "Every " + std::to_string(stride_) + "th saved time is shown. ";
    if (d > view_.dim) view_.note += "Shown are the first three of " + std::to_string(d) + " coordinates. ";
  }

  void add(double t, const Tokens<Scalar>& x, const Tokens<Scalar>& inside, const Run<Scalar>& run) {
    if (count_++ % stride_ != 0) return;
    view_.times.push_back(t);
    for (Index j = 0; j < shown_; ++j)
      for (Index c = 0; c < view_.dim; ++c) view_.positions.push_back(static_cast<double>(x(c, j)));
    clusters_.push_back(x.cols() <= 1000 && analyzer_ != nullptr ? clusters_at(t, inside)
                                                                 : attnflow::required);
    energy_.push_back(x.cols() <= 300 && exponential() ? log_energy(t, x) : attnflow::required);
    if (!with_attention_ && x.cols() > 100) return;
    const std::vector<SquareMatrix<Scalar>> pattern = run.pattern(t, inside);
    const bool ranked = x.cols() <= 100 && !pattern.empty() && pattern[0].allFinite();
    rank_.push_back(ranked ? static_cast<double>(attnflow::effective_rank(pattern[0]).rank)
                           : attnflow::required);
    if (!with_attention_) return;
    const SquareMatrix<Scalar> weights = run.attention(t, inside)[0];
    for (Index i = 0; i < shown_; ++i)
      for (Index j = 0; j < shown_; ++j) view_.attention.push_back(static_cast<float>(weights(i, j)));
  }

  /// Whether nothing has been added.
  [[nodiscard]] bool is_empty() const { return count_ == 0; }

  /// The page; the analysis, if there is one, is of all tokens. \pre it is not empty.
  attnflow::View finish(const std::string& title, const std::optional<attnflow::Analysis>& analysis,
                        std::vector<attnflow::View::Parameter> parameters) {
    view_.title = title;
    if (analysis) {
      const attnflow::Finding& found = analysis->found;
      for (Index j = 0; j < shown_; ++j)
        view_.clusters.push_back(static_cast<int>(found.clusters.labels[static_cast<std::size_t>(j)]));
      for (const Index i : found.leaders)
        if (i < shown_) view_.leaders.push_back(i);
    }
    const auto show = [&](const char* name, std::vector<double>& values) {
      if (std::ranges::any_of(values, [](double v) { return std::isfinite(v); }))
        view_.series.push_back({name, std::move(values)});
    };
    show("clusters", clusters_);
    show("rank of P", rank_);
    show("log energy log ∑ᵢ Zᵢ", energy_);
    if (whole_ && rescaled() && analysis) attnflow::add_limits(view_, *analysis, heads_[0].V);
    if (whole_ && !with_attention_ && exponential()) add_heads();
    view_.parameters = std::move(parameters);
    return std::move(view_);
  }

 private:
  [[nodiscard]] bool rescaled() const { return options_.system == "rescaled"; }
  /// Whether weights are e^⟨Qx, Ky⟩, normalised or not: laws that the page knows, and that the energy is of.
  [[nodiscard]] bool exponential() const {
    return options_.law == "softmax" || options_.law == "unnormalized";
  }

  /// The number of clusters of the positions, as in the report.
  double clusters_at(double t, const Tokens<Scalar>& inside) {
    const Eigen::MatrixXd now = analyzer_->positions(t, inside);
    if (clusters_.empty()) first_ = now;
    return static_cast<double>(
        attnflow::detect_clusters(now, analyzer_->tolerance_at(t, first_, now)).count());
  }

  static double rank_at(double t, const Tokens<Scalar>& inside, const Run<Scalar>& run) {
    const SquareMatrix<Scalar> P = run.pattern(t, inside)[0];
    return P.allFinite() ? static_cast<double>(attnflow::effective_rank(P).rank) : attnflow::required;
  }

  double log_energy(double t, const Tokens<Scalar>& state) const {
    const Tokens<double> x = state.template cast<double>();
    return rescaled() ? page_parts::log_energy_rescaled(heads_[0], options_.beta, t, x)
                      : page_parts::log_energy(heads_[0], options_.beta, x);
  }

  /// The weights, from which the page computes P.
  void add_heads() {
    const auto numbers = static_cast<double>(heads_.size() * view_.times.size()) * view_.dim * view_.dim;
    if (numbers > 1e6 || options_.rope || options_.within) return;  // of which the page knows nothing
    view_.law = options_.law;
    view_.mask = options_.mask;
    view_.slope = options_.alibi.value_or(0);
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      const std::string name = heads_.size() > 1 ? "head " + std::to_string(h + 1) : "";
      if (rescaled())
        attnflow::add_rescaled_head(view_, heads_[h], options_.beta, name);
      else
        attnflow::add_head(view_, heads_[h], options_.beta, name);
    }
  }

  const Options& options_;
  const std::vector<Head<double>>& heads_;
  const attnflow::Analyzer* analyzer_;
  attnflow::View view_;
  Eigen::MatrixXd first_;  // positions at the first frame
  std::vector<double> clusters_, rank_, energy_;
  Index shown_ = 0;
  std::size_t stride_ = 1, count_ = 0;
  bool whole_ = true;  // all tokens, times and coordinates
  bool with_attention_ = false;
};

inline std::string compact(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

inline std::vector<attnflow::View::Parameter> parameters_of(const Options& o, Index n, Index d,
                                                            std::size_t heads,
                                                            const attnflow::Report& report) {
  std::vector<attnflow::View::Parameter> rows{
      {"system", o.system}, {"n", std::to_string(n)}, {"d", std::to_string(d)}};
  if (heads > 1) rows.push_back({"heads", std::to_string(heads)});
  rows.push_back({"start", !o.tokens.empty()        ? fs::path(o.tokens).filename().string()
                           : !o.uniform_box.empty() ? "uniform box " + o.uniform_box
                           : !o.gaussian.empty()    ? "Gaussian " + o.gaussian
                                                    : "uniform sphere " + o.uniform_sphere});
  if (o.tokens.empty()) rows.push_back({"seed", std::to_string(o.seed)});
  for (const auto& [name, path] : {std::pair{"Q", o.query}, {"K", o.key}, {"V", o.value}})
    rows.push_back({name, path.empty() ? "identity" : fs::path(path).filename().string()});
  if (o.law != "softmax") rows.push_back({"law", o.law});
  rows.push_back({"β", compact(o.beta)});
  if (o.mask != "none") rows.push_back({"mask", o.mask});
  if (o.alibi) rows.push_back({"ALiBi slope", compact(*o.alibi)});
  if (o.rope) rows.push_back({"rotary base", compact(*o.rope)});
  if (o.frozen) rows.push_back({"frozen tokens", std::to_string(*o.frozen)});
  if (o.within) rows.push_back({"attends within", compact(*o.within)});
  if (o.system != "layers") rows.push_back({"stepper", o.stepper});
  if (o.dt) rows.push_back({"step", compact(*o.dt)});
  if (o.rtol) rows.push_back({"tolerance", compact(*o.rtol) + ", " + compact(*o.atol)});
  rows.push_back({"precision", o.precision});
  rows.push_back({"steps", std::to_string(report.steps)});
  rows.push_back({"ended", std::string(name_of(report.outcome)) + " at t = " + compact(report.t)});
  return rows;
}

}  // namespace simulation
