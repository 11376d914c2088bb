// What view.html shows.
#pragma once

#include "report.hpp"

#include <attnflow/clustering/clusters.hpp>
#include <attnflow/io/html.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
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
  PageBuilder(const Options& o, const std::vector<double>& times, const Tokens<Scalar>& start,
              const attnflow::detail::Analyzer& analyzer)
      : analyzer_(analyzer), tokens_(start.cols()) {
    constexpr double most_numbers = 8e6;  // of positions: 43 MB as text
    constexpr double most_attention = 1e6;
    const auto d = static_cast<int>(start.rows());
    view_.dim = std::min(d, 3);
    const double room = most_numbers / view_.dim;
    shown_ = static_cast<Index>(std::min<double>(static_cast<double>(start.cols()), room / 25));
    const double frames =
        std::max(1.0, std::min(static_cast<double>(times.size()), room / static_cast<double>(shown_)));
    stride_ = static_cast<std::size_t>(std::ceil(static_cast<double>(times.size()) / frames));
    view_.tokens = shown_;
    const auto kept = static_cast<double>((times.size() + stride_ - 1) / stride_);
    with_attention_ = start.cols() == shown_ && kept * static_cast<double>(shown_ * shown_) <= most_attention;
    const char* letter = o.system == "rescaled" ? "z" : "x";
    const char* const subscripts[] = {"₁", "₂", "₃"};
    for (int c = 0; c < view_.dim; ++c) view_.axes.push_back(std::string(letter) + subscripts[c]);
    if (shown_ < start.cols())
      view_.note += "Shown are the first " + std::to_string(shown_) + " of " + std::to_string(start.cols()) +
                    " tokens. ";
    if (stride_ > 1) view_.note += "Every " + std::to_string(stride_) + "th saved time is shown. ";
    if (d > 3) view_.note += "Shown are the first three of " + std::to_string(d) + " coordinates. ";
  }

  void add(double t, const Tokens<Scalar>& x, const Tokens<Scalar>& inside, const Run<Scalar>& run) {
    if (count_++ % stride_ != 0) return;
    view_.times.push_back(t);
    for (Index j = 0; j < shown_; ++j)
      for (Index c = 0; c < view_.dim; ++c) view_.positions.push_back(static_cast<double>(x(c, j)));
    clusters_.push_back(x.cols() <= 1000 ? clusters_at(t, inside) : attnflow::required);
    if (!with_attention_) return;
    const SquareMatrix<Scalar> P = run.attention(t, inside)[0];
    for (Index i = 0; i < shown_; ++i)
      for (Index j = 0; j < shown_; ++j) view_.attention.push_back(static_cast<float>(P(i, j)));
  }

  /// The page; labels and leaders are of all tokens.
  attnflow::View finish(const std::string& title, const attnflow::Clusters& clusters,
                        const std::vector<Index>& leaders, std::vector<attnflow::View::Parameter> parameters,
                        std::size_t heads) {
    view_.title = title;
    for (Index j = 0; j < shown_; ++j)
      view_.clusters.push_back(static_cast<int>(clusters.labels[static_cast<std::size_t>(j)]));
    for (const Index i : leaders)
      if (i < shown_) view_.leaders.push_back(i);
    if (tokens_ <= 1000) view_.series.push_back({"clusters", clusters_});
    view_.parameters = std::move(parameters);
    if (heads > 1 && with_attention_) view_.note += "The attention matrix is that of the first head. ";
    return std::move(view_);
  }

 private:
  attnflow::View view_;
  /// The number of clusters of the positions, as in the report.
  double clusters_at(double t, const Tokens<Scalar>& inside) {
    const Eigen::MatrixXd now = analyzer_.positions(t, inside.template cast<double>());
    if (clusters_.empty()) first_ = now;
    return static_cast<double>(
        attnflow::detect_clusters(now, analyzer_.tolerance_at(t, first_, now)).count());
  }

  const attnflow::detail::Analyzer& analyzer_;
  Index tokens_;
  Eigen::MatrixXd first_;  // positions at the first frame
  std::vector<double> clusters_;
  Index shown_ = 0;
  std::size_t stride_ = 1, count_ = 0;
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
  if (o.system != "layers") rows.push_back({"stepper", o.stepper});
  if (o.dt) rows.push_back({"step", compact(*o.dt)});
  if (o.rtol) rows.push_back({"tolerance", compact(*o.rtol) + ", " + compact(*o.atol)});
  rows.push_back({"precision", o.precision});
  rows.push_back({"steps", std::to_string(report.steps)});
  rows.push_back({"ended", std::string(name_of(report.outcome)) + " at t = " + compact(report.t)});
  return rows;
}

}  // namespace simulation
