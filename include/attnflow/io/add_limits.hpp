/// \file
/// The limits of a run in the page of it: add_limits().
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/io/view.hpp>
#include <attnflow/prediction/analysis.hpp>
#include <attnflow/prediction/invariant_basis.hpp>
#include <attnflow/prediction/invariant_splitting.hpp>
#include <attnflow/prediction/limit_candidates.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// d × n positions of moment k.
[[nodiscard]] inline Eigen::MatrixXd positions_at(const View& view, std::size_t k) {
  const Eigen::Index d = view.dim, n = view.tokens;
  return Eigen::Map<const detail::ColumnMajor<double, Eigen::Dynamic, Eigen::Dynamic>>(
      view.positions.data() + k * static_cast<std::size_t>(d * n), d, n);
}

/// inside · a + span(outside).
[[nodiscard]] inline View::Flat flat_over(const std::string& name, bool predicted,
                                          const InvariantSplitting& split, const Eigen::VectorXd& a) {
  const Eigen::VectorXd point = split.inside * a;
  return {name,
          predicted,
          {point.data(), point.data() + point.size()},
          {split.outside.data(), split.outside.data() + split.outside.size()}};
}

/// The points of ℱ at which tokens can end, given where they are, as columns; none if nothing is predicted.
[[nodiscard]] inline Eigen::MatrixXd predicted_points(const Analysis& analysis, const Eigen::MatrixXd& last) {
  const Prediction& prediction = analysis.prediction;
  switch (prediction.limit) {
    case LimitCase::hyperplanes:
    case LimitCase::boolean_line: {  // [GLPR23, Theorems 2.1 and 4.2]
      Eigen::MatrixXd levels(1, 3);
      levels << last.minCoeff(), 0, last.maxCoeff();
      return levels;
    }
    case LimitCase::polytope:
    case LimitCase::polytope_times_subspace: {  // [GLPR23, Theorems 3.1 and 5.2]
      if (!analysis.found.hull_vertices || analysis.found.hull_vertices->empty()) return {};
      const double tol = std::clamp(10 * std::exp(-prediction.rate * analysis.t), 1e-9, 2e-2);
      const Eigen::MatrixXd M = (prediction.M_inside + prediction.M_inside.transpose()) / 2;
      return limit_candidates(M, last(Eigen::placeholders::all_t(), *analysis.found.hull_vertices), tol)
          .points;
    }
    case LimitCase::origin:
    case LimitCase::none:
      break;
  }
  return {};
}

/// The largest distance of a token from the nearest point, both in ℱ.
[[nodiscard]] inline double distance_to_points(const Eigen::MatrixXd& a, const Eigen::MatrixXd& points,
                                               double unit) {
  double farthest = 0;
  for (Eigen::Index i = 0; i < a.cols(); ++i)
    farthest = (std::max)(farthest, (points.colwise() - a.col(i)).colwise().norm().minCoeff());
  return a.allFinite() ? farthest * unit : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace detail

/// Adds to the view of a run of the rescaled system what its analysis, made at the last moment, says of the limit:
///
///  - `flats`: the predicted limit set s + 𝒢, s ∈ 𝒮 ⊂ ℱ: points of the polytope that the hull has shrunk to,
///    hyperplanes φ₁* = c with c the least, the largest and 0; and what was found: the leaders' cosets modulo the
///    subspace of V's eigenvalues with Re λ ≤ 0, as the codimension conjecture expects, or modulo 𝒢 if there is none;
///  - the series "distance to the limit", maxᵢ min_s ‖aᵢ(t) − s‖ with a the coordinates in ℱ: e^{−λ₁t} is expected;
///  - the eigen-coordinates of V as a basis, where V is not diagonal.
///
/// The positions of the view are z of all tokens, in d coordinates, V is d × d. Cost: O(m n d s), and the
/// candidates of a polytope (limit_candidates).
/// \throws std::invalid_argument if V is not d × d.
inline void add_limits(View& view, const Analysis& analysis, const Eigen::MatrixXd& V) {
  view.validate();
  if (V.rows() != view.dim || V.cols() != view.dim)
    detail::refuse("add_limits: V is ", V.rows(), " x ", V.cols(), ", expected d x d, d = ", view.dim);
  const InvariantBasis eigen = invariant_basis(V);
  if (!eigen.is_identity) {
    View::Basis basis{"eigenvectors of V", {}, {}};
    for (Eigen::Index k = 0; k < V.rows(); ++k) {
      for (Eigen::Index c = 0; c < V.cols(); ++c) basis.rows.push_back(eigen.inverse(k, c));
      basis.axes.push_back("y" + std::to_string(k + 1));
    }
    view.bases.push_back(std::move(basis));
  }
  if (view.tokens == 0) return;
  const Eigen::MatrixXd last = detail::positions_at(view, view.times.size() - 1);
  if (!last.allFinite()) return;

  const InvariantSplitting& limit = analysis.prediction.splitting;
  if (limit.dim() > 0) {
    const Eigen::MatrixXd points = detail::predicted_points(analysis, limit.inside_dual * last);
    const std::string limit_name = analysis.prediction.limit == LimitCase::hyperplanes
                                       ? "predicted hyperplanes"
                                   : limit.dim() < V.rows() ? "predicted subspaces"
                                                            : "predicted limit points";
    for (Eigen::Index s = 0; s < points.cols(); ++s)
      view.flats.push_back(detail::flat_over(limit_name, true, limit, points.col(s)));
    if (points.cols() > 0) {
      // Of hyperplanes the distance in space, of which φ₁* measures ‖φ₁*‖ times as much.
      const double unit = limit.dim() == 1 ? 1 / limit.inside_dual.norm() : 1;
      View::Series series{"distance to the limit", {}};
      for (std::size_t k = 0; k < view.times.size(); ++k)
        series.values.push_back(
            detail::distance_to_points(limit.inside_dual * detail::positions_at(view, k), points, unit));
      view.series.push_back(std::move(series));
    }
  }

  const InvariantSplitting unstable = unstable_dimension(V).splitting;
  const bool all_grow = unstable.dim() == V.rows() && analysis.prediction.limit == LimitCase::hyperplanes;
  const InvariantSplitting& growing = all_grow ? limit : unstable;
  if (growing.dim() == 0 || growing.dim() == V.rows()) return;
  const Eigen::MatrixXd a = growing.inside_dual * last;
  for (const Eigen::Index i : analysis.found.leaders)
    view.flats.push_back(detail::flat_over("found: leaders modulo 𝒢", false, growing, a.col(i)));
}

}}  // namespace attnflow
