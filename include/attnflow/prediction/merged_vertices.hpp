/// \file
/// The vertices of a polytope that tokens are still on their way to.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/geometry/distance_to_hull.hpp>
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

namespace detail {

/// names[k] for enough columns k of `points` to have all others at most tol from their hull.
[[nodiscard]] inline std::vector<Eigen::Index> vertices_within(const Eigen::MatrixXd& points,
                                                               const std::vector<Eigen::Index>& names,
                                                               double tol) {
  struct LeftOut {
    Eigen::Index column;
    std::vector<Eigen::Index> beside;  // columns still there whose hull comes within tol
  };
  std::vector<LeftOut> left_out;
  std::vector<Eigen::Index> kept(names.size());
  std::iota(kept.begin(), kept.end(), Eigen::Index{0});
  for (Eigen::Index column = 0; column < points.cols(); ++column) {
    std::vector<Eigen::Index> others = kept;
    std::erase(others, column);
    const Eigen::MatrixXd rest = points(Eigen::placeholders::all_t(), others);
    // The column may go if it and those gone before that have leaned on it find the rest near enough.
    std::vector<LeftOut> after = left_out;
    after.push_back({column, {column}});
    const bool expendable = std::ranges::all_of(after, [&](LeftOut& gone) {
      if (std::ranges::find(gone.beside, column) == gone.beside.end()) return true;
      const NearestPoint nearest = nearest_point_of_hull(points.col(gone.column), rest);
      gone.beside.clear();
      for (std::size_t k = 0; k < others.size(); ++k)
        if (nearest.weights(static_cast<Eigen::Index>(k)) > 0) gone.beside.push_back(others[k]);
      return nearest.distance <= tol;
    });
    if (!expendable) continue;
    left_out = after;
    kept = others;
  }
  for (Eigen::Index& column : kept) column = names[static_cast<std::size_t>(column)];
  return kept;
}

}  // namespace detail

/// The extreme points of conv{x₁ … xₙ} after tokens have been merged, as indices of tokens. At a finite
/// time, tokens at distance e^{−t} from a vertex of the limit are extreme points, too; with a tolerance of
/// some e^{−t} times the diameter, one for each vertex is left.
///
/// Tokens are merged by single linkage at tol (detect_clusters). A cluster is represented by the first
/// token of `preferred` that belongs to it, or else by its token of smallest index. Where leaders are
/// known they are to be preferred: a leader stands still, and the others come to it [GLPR23, §3].
///
/// tokens: d × n. d ≤ 3: the extreme points of the representatives, decided exactly and ordered as
/// by convex_hull; one that reaches beyond the others by less than tol still counts. d > 3: those whose
/// distance to the hull of the others exceeds tol, increasing. Where several are near each other's hulls, as
/// on a finely cut sphere, one after the other is left out as long as all that are left out stay within tol
/// of the hull of the rest. The cost is convex_hull's and detect_clusters's; for d > 3 that of a nearest_point
/// for each of the c clusters, and again for those left out when what they were near to is left out.
/// \throws std::invalid_argument unless d ≥ 1 (or n = 0), every token is finite, tol is finite and not
/// negative, and preferred tokens are numbers from 0 to n − 1.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] std::vector<Eigen::Index> merged_vertices(const Eigen::MatrixBase<Derived>& tokens, double tol,
                                                        std::span<const Eigen::Index> preferred = {}) {
  if (!(tol >= 0) || !std::isfinite(tol))
    detail::refuse("merged_vertices: tol is ", tol, ", expected a finite number, at least 0");
  detail::refuse_unless_finite("merged_vertices", "tokens", tokens, "column");
  const Eigen::Index d = tokens.rows(), n = tokens.cols();
  if (d < 1 && n > 0) detail::refuse("merged_vertices: tokens have d = 0, expected at least 1");
  for (std::size_t k = 0; k < preferred.size(); ++k)
    if (preferred[k] < 0 || preferred[k] >= n)
      detail::refuse("merged_vertices: preferred[", k, "] is ", preferred[k], ", expected a token, 0 to ",
                     n - 1);

  const Eigen::MatrixXd x = tokens.template cast<double>();
  const Clusters clusters = detect_clusters(x, tol);
  std::vector<Eigen::Index> chosen = clusters.representatives;
  std::vector<bool> settled(chosen.size(), false);
  for (const Eigen::Index i : preferred) {
    const auto label = static_cast<std::size_t>(clusters.labels[static_cast<std::size_t>(i)]);
    if (!settled[label]) chosen[label] = i;
    settled[label] = true;
  }
  std::ranges::sort(chosen);
  const Eigen::MatrixXd points = x(Eigen::placeholders::all_t(), chosen);
  if (d <= 3) {
    std::vector<Eigen::Index> vertices = convex_hull(points);
    for (Eigen::Index& vertex : vertices) vertex = chosen[static_cast<std::size_t>(vertex)];
    return vertices;
  }
  return detail::vertices_within(points, chosen, tol);
}

}}  // namespace attnflow
