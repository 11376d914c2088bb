// What the page of a recording shows.
#pragma once

#include "programs/render/recording.hpp"

#include <attnflow/io/view.hpp>
#include <attnflow/observables/tokens/clusters.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace render {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
/// Tokens closer than this share of their spread, at the start or at that moment, whichever is larger, count as
/// one. What moved them is not known here, so no rate says how close they should be by now.
constexpr double cluster_share = 0.02;
constexpr Index most_counted = 1000;  ///< tokens up to which clusters are counted at every moment

/// The largest range of a coordinate; what is not finite does not count.
inline double spread_of(const Recording::Moment& x) {
  double spread = 0;
  for (Index c = 0; c < x.rows(); ++c) {
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (Index i = 0; i < x.cols(); ++i)
      if (std::isfinite(x(c, i))) {
        low = std::min(low, x(c, i));
        high = std::max(high, x(c, i));
      }
    if (low <= high) spread = std::max(spread, high / 2 - low / 2);
  }
  return std::min(2 * spread, std::numeric_limits<double>::max());
}

/// Labels of the tokens at moment k, −1 for one that is not finite.
struct Labels {
  std::vector<int> of;
  std::vector<Index> sizes;
  double tolerance = 0;
};
inline Labels labels_at(const Recording& r, Index k) {
  const Recording::Moment x = r.at(k);
  std::vector<Index> finite;
  for (Index i = 0; i < r.n; ++i)
    if (x.col(i).allFinite()) finite.push_back(i);
  Labels labels{std::vector<int>(static_cast<std::size_t>(r.n), -1), {}, 0};
  labels.tolerance = cluster_share * std::max(spread_of(r.at(0)), spread_of(x));
  const Eigen::MatrixXd known = x(Eigen::placeholders::all_t(), finite);
  const attnflow::Clusters clusters = attnflow::detect_clusters(known, labels.tolerance);
  for (std::size_t p = 0; p < finite.size(); ++p)
    labels.of[static_cast<std::size_t>(finite[p])] = static_cast<int>(clusters.labels[p]);
  labels.sizes = clusters.sizes;
  return labels;
}

/// Tokens to which some token attends most at the last moment.
inline std::vector<Index> leaders_of(const Recording& r) {
  std::vector<Index> leaders;
  if (r.attention.empty()) return leaders;
  for (Index i = 0; i < r.n; ++i) {
    const double* const row = r.attention.data() + ((r.m - 1) * r.n + i) * r.n;
    Index best = 0;
    for (Index j = 0; j < r.n; ++j)
      if (row[j] > row[best]) best = j;
    if (row[best] > 0) leaders.push_back(best);  // a row of zeros has none
  }
  std::ranges::sort(leaders);
  leaders.erase(std::unique(leaders.begin(), leaders.end()), leaders.end());
  return leaders;
}

inline attnflow::View view_of(const Recording& r, const Options& o) {
  attnflow::View view;
  view.title = o.title;
  view.times = r.times;
  view.tokens = r.n;
  view.dim = static_cast<int>(r.d);
  view.positions = r.positions;
  Labels last = labels_at(r, r.m - 1);
  view.clusters = std::move(last.of);
  view.leaders = leaders_of(r);
  constexpr auto most = static_cast<double>(std::numeric_limits<float>::max());
  for (const double weight : r.attention)
    view.attention.push_back(static_cast<float>(std::min(weight, most)));
  if (r.n <= most_counted) {
    std::vector<double> counts;
    for (Index k = 0; k < r.m; ++k) {
      const std::size_t count = labels_at(r, k).sizes.size();
      counts.push_back(count > 0 ? static_cast<double>(count) : not_a_number);
    }
    view.series.push_back({"clusters", std::move(counts)});
  }
  const auto name = [](const std::string& path) { return fs::path(path).filename().string(); };
  view.parameters = {{"tokens", name(o.tokens)},
                     {"n", std::to_string(r.n)},
                     {"d", std::to_string(r.d)},
                     {"moments", std::to_string(r.m)}};
  if (!o.times.empty()) view.parameters.push_back({"times", name(o.times)});
  if (!o.attention.empty()) view.parameters.push_back({"P", name(o.attention)});
  view.parameters.push_back({"one cluster", "up to " + exact(last.tolerance) + " apart, 2 % of the spread"});
  return view;
}

}  // namespace render
