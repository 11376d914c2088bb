/// \file
/// The points of a polytope at which tokens can end: the finite set 𝒮 and its residuals.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/distance_to_hull.hpp>
#include <attnflow/numerics/orthonormal_basis.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/scale.hpp>
#include <attnflow/prediction/bilinear_form.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The points of 𝒮, and how they lie.
struct LimitCandidates {
  Eigen::MatrixXd points;                        ///< d × s: vertices, then points of edges, …, then 0
  std::vector<double> residuals;                 ///< s: candidate_residual of each
  std::vector<std::vector<Eigen::Index>> faces;  ///< s: vertices (increasing) whose simplex has it inside
  bool complete = true;                          ///< false where a limit of the options cut the search short
  double sets_left_out = 0;  ///< sets of vertices not tried for it; up to the largest double
};

/// How long to look for candidates.
struct LimitCandidatesOptions {
  double max_subsets = 1e6;  ///< sets of vertices that may be tried
  /// Multiplications that sets of two or more vertices may cost, by the estimate in limit_candidates; the
  /// default takes a fraction of a second.
  double max_work = 1e8;
};

namespace detail {

/// Visits sets of `up_to` or fewer columns, affinely independent ones only: as no set that holds dependent
/// columns can become independent again, the search goes back where it meets one.
template <class Visit>
void visit_independent(const Eigen::MatrixXd& W, Eigen::Index up_to, double negligible,
                       std::vector<Eigen::Index>& set, OrthonormalBasis& basis, const Visit& visit) {
  for (Eigen::Index k = set.empty() ? 0 : set.back() + 1; k < W.cols(); ++k) {
    const Eigen::Index size = basis.size();
    if (!set.empty() && !basis.append(W.col(k) - W.col(set[0]), negligible)) continue;
    set.push_back(k);
    visit();
    if (static_cast<Eigen::Index>(set.size()) < up_to)
      visit_independent(W, up_to, negligible, set, basis, visit);
    set.pop_back();
    basis.truncate(size);
  }
}

/// limit_candidates, once its options are known to be valid.
[[nodiscard]] inline LimitCandidates limit_candidates_of(const Eigen::MatrixXd& M,
                                                         const Eigen::MatrixXd& vertices, double tol,
                                                         const LimitCandidatesOptions& options) {
  const Eigen::Index d = vertices.rows(), m = vertices.cols();
  const FormAndVertices form = validated_form("limit_candidates", M, vertices, Eigen::VectorXd::Zero(d));
  LimitCandidates found;
  found.points.resize(d, 0);
  if (m == 0) return found;

  // With w = Lᵀv the M-norm is ‖w‖.
  const Eigen::MatrixXd W = transposed_product(form.L, form.V);
  const double size = form.V.colwise().norm().maxCoeff(), reach = W.colwise().norm().maxCoeff();
  double diameter = 0;
  for (Eigen::Index j = 0; j < m; ++j)
    diameter = (std::max)(diameter, (form.V.colwise() - form.V.col(j)).colwise().norm().maxCoeff());

  Eigen::Index largest_set = 0;
  double subsets = 0, work = 0, binomial = 1;
  for (Eigen::Index k = 1; k <= (std::min)(d, m); ++k) {
    binomial = (std::min)(binomial * static_cast<double>(m - k + 1) / static_cast<double>(k),
                          (std::numeric_limits<double>::max)());
    subsets += binomial;
    if (k > 1) work += binomial * static_cast<double>(d * (d + 2 * m + 4 * k));
    if (largest_set == k - 1 && subsets <= options.max_subsets && work <= options.max_work)
      largest_set = k;
    else
      found.sets_left_out += binomial;
  }
  found.sets_left_out = (std::min)(found.sets_left_out, (std::numeric_limits<double>::max)());
  found.complete = largest_set == (std::min)(d, m);

  struct Kept {
    Eigen::VectorXd point;
    std::vector<Eigen::Index> face;
  };
  std::vector<Kept> kept;
  std::vector<Eigen::Index> set;
  OrthonormalBasis basis(d, d);
  const auto visit = [&] {
    const Eigen::VectorXd first = W.col(set[0]);
    if (basis.rejection(first).norm() <= tol * reach) return;  // p = 0
    const Eigen::VectorXd c = -basis.coefficients(first);
    if ((c.array() <= tol).any() || 1 - c.sum() <= tol) return;
    Eigen::VectorXd p = (1 - c.sum()) * form.V.col(set[0]);
    for (Eigen::Index i = 0; i < c.size(); ++i) p += c(i) * form.V.col(set[static_cast<std::size_t>(i) + 1]);
    if (scaled_residual(form, p) <= tol * image_of(form.M, p.data()).norm() * diameter)
      kept.push_back({p, set});
  };
  const double negligible = 1e3 * std::numeric_limits<double>::epsilon() * reach;
  if (largest_set > 0) visit_independent(W, largest_set, negligible, set, basis, visit);
  std::ranges::stable_sort(kept, {}, [](const Kept& candidate) { return candidate.face.size(); });

  const NearestPoint to_zero = nearest_point(Eigen::VectorXd::Zero(d), W);
  if (to_zero.distance <= tol * reach) {
    kept.push_back({Eigen::VectorXd::Zero(d), {}});
    for (Eigen::Index k = 0; k < m; ++k)
      if (to_zero.weights(k) > tol) kept.back().face.push_back(k);
  }
  std::vector<Kept> distinct;
  for (const Kept& candidate : kept)
    if (std::ranges::none_of(distinct, [&](const Kept& other) {
          return (other.point - candidate.point).norm() <= 10 * tol * size;
        }))
      distinct.push_back(candidate);

  found.points.resize(d, static_cast<Eigen::Index>(distinct.size()));
  for (std::size_t i = 0; i < distinct.size(); ++i) {
    found.points.col(static_cast<Eigen::Index>(i)) = scaled_by_power(distinct[i].point, -form.shift);
    found.residuals.push_back(
        std::ldexp(scaled_residual(form, distinct[i].point), -form.form_shift - 2 * form.shift));
    found.faces.push_back(distinct[i].face);
  }
  return found;
}

}  // namespace detail

/// How far a point x of a polytope is from attending to itself most [GLPR23, eq. (Ax15)]:
///
///     r(x) = maxₖ ⟨Mx, vₖ⟩ − ⟨Mx, x⟩.
///
/// On the polytope r ≥ 0, and r(x) = 0 iff x ∈ 𝒮, the set of limit_candidates. M: d × d, symmetric positive
/// definite; vertices: d × m; point: x, d. Infinite beyond the largest double, −∞ for m = 0. O(d³ + d m).
/// \throws std::invalid_argument unless the shapes agree, all is finite, M is symmetric (to 10⁻¹² of its
/// largest entry) and positive definite.
template <class Form, class Derived, class PointType>
requires KernelScalar<typename Form::Scalar> && KernelScalar<typename Derived::Scalar> &&
    KernelScalar<typename PointType::Scalar>
[[nodiscard]] double candidate_residual(const Eigen::MatrixBase<Form>& M,
                                        const Eigen::MatrixBase<Derived>& vertices,
                                        const Eigen::MatrixBase<PointType>& point) {
  const Eigen::MatrixXd single = point.template cast<double>();
  const detail::FormAndVertices form = detail::validated_form("candidate_residual", M.template cast<double>(),
                                                              vertices.template cast<double>(), single);
  if (vertices.cols() == 0) return -std::numeric_limits<double>::infinity();
  const Eigen::VectorXd x = detail::scaled_by_power(single, form.shift);
  return std::ldexp(detail::scaled_residual(form, x), -form.form_shift - 2 * form.shift);
}

/// By how much each vertex prefers another one to itself:
///
///     maxₖ ⟨Mv, vₖ⟩ / ⟨Mv, v⟩ − 1,   0 for v = 0.
///
/// Never negative, and 0 for all vertices of a polytope that is the limit of tokens [GLPR23, Theorem 3.1],
/// whereas other polytopes may well have vertices that are not. M: d × d, symmetric positive definite;
/// vertices: d × m. Returns m numbers, infinite beyond the largest double. O(d³ + d m²).
/// \throws std::invalid_argument as candidate_residual.
template <class Form, class Derived>
requires KernelScalar<typename Form::Scalar> && KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::VectorXd self_attention_residual(const Eigen::MatrixBase<Form>& M,
                                                      const Eigen::MatrixBase<Derived>& vertices) {
  const Eigen::MatrixXd original = vertices.template cast<double>();
  const detail::FormAndVertices form = detail::validated_form(
      "self_attention_residual", M.template cast<double>(), original, Eigen::VectorXd::Zero(vertices.rows()));
  Eigen::VectorXd residuals = Eigen::VectorXd::Zero(form.V.cols());
  for (Eigen::Index k = 0; k < form.V.cols(); ++k) {
    // v = 2^{−own} u with u near 1: so ⟨Mv, v⟩ vanishes for no v other than 0.
    const int own = detail::unit_shift(original.col(k));
    const Eigen::VectorXd u = detail::scaled_by_power(original.col(k), own);
    if (u.isZero(0)) continue;
    const Eigen::VectorXd Mu = detail::image_of(form.M, u.data());
    double largest = 0;
    for (Eigen::Index j = 0; j < form.V.cols(); ++j)
      largest = (std::max)(largest, Mu.dot(form.V.col(j) - form.V.col(k)));
    residuals(k) = std::ldexp(largest / Mu.dot(u), own - form.shift);
  }
  return residuals;
}

/// The points at which tokens can end where V = I and M = QᵀK is symmetric positive definite, given the
/// vertices of the polytope 𝒦 that their hull shrinks to [GLPR23, Theorem 3.1, eq. (Ax15)]:
///
///     𝒮 = { x ∈ 𝒦 : ⟨Mx, x⟩ = maxₖ ⟨Mx, vₖ⟩ }.
///
/// A point of 𝒮 is the one of least M-norm in the affine hull of the smallest face that holds it. So each
/// affinely independent set of vertices is tried: the point p = ∑ cⱼ vⱼ of least M-norm in its affine hull
/// is kept if all cⱼ > tol and
///
///     maxₖ ⟨Mp, vₖ⟩ ≤ ⟨Mp, p⟩ + tol ‖Mp‖ diam.
///
/// Sets of d vertices or fewer will do, as the affine hull of more is everything and p = 0; and 0 ∈ 𝒮 iff
/// 0 ∈ 𝒦, which nearest_point tells, to tol times the largest M-norm of a vertex. Of points closer than
/// 10 tol times the largest ‖vₖ‖ the one of the smallest face stays.
///
/// M: d × d; vertices: d × m, any m, without duplicates (merged_vertices). tol is near 10⁻⁹ for exact
/// vertices and near 10 e^{−T} for those of a simulation up to time T. A set of k vertices takes about
/// d (d + 2m + 4k) multiplications, and there are ∑_{k ≤ d} C(m, k) sets. Where that exceeds max_subsets or
/// max_work, only the sets of the smallest sizes are tried; `complete` and `sets_left_out` tell.
/// \throws std::invalid_argument as candidate_residual, and unless 0 < tol < 1, max_subsets ≥ 0 and
/// max_work ≥ 0.
template <class Form, class Derived>
requires KernelScalar<typename Form::Scalar> && KernelScalar<typename Derived::Scalar>
[[nodiscard]] LimitCandidates limit_candidates(const Eigen::MatrixBase<Form>& M,
                                               const Eigen::MatrixBase<Derived>& vertices, double tol = 1e-9,
                                               const LimitCandidatesOptions& options = {}) {
  if (!(tol > 0 && tol < 1))
    detail::refuse("limit_candidates: tol is ", tol, ", expected a number in (0, 1)");
  if (!(options.max_subsets >= 0))
    detail::refuse("LimitCandidatesOptions::max_subsets is ", options.max_subsets, ", expected at least 0");
  if (!(options.max_work >= 0))
    detail::refuse("LimitCandidatesOptions::max_work is ", options.max_work, ", expected at least 0");
  return detail::limit_candidates_of(M.template cast<double>(), vertices.template cast<double>(), tol,
                                     options);
}

/// The distance from a point to the nearest of the candidates; infinite if there are none.
/// \throws std::invalid_argument unless it has as many coordinates as the candidates, and all are finite.
template <class PointType>
requires KernelScalar<typename PointType::Scalar>
[[nodiscard]] double distance_to_candidates(const LimitCandidates& candidates,
                                            const Eigen::MatrixBase<PointType>& point) {
  if (point.rows() != candidates.points.rows() || point.cols() != 1)
    detail::refuse("distance_to_candidates: point is ", point.rows(), " x ", point.cols(), ", expected ",
                   candidates.points.rows(), " x 1, as the candidates are");
  detail::refuse_unless_finite("distance_to_candidates", "point", point, "column");
  const Eigen::VectorXd x = point.template cast<double>();
  double nearest = std::numeric_limits<double>::infinity();
  for (Eigen::Index i = 0; i < candidates.points.cols(); ++i)
    nearest = (std::min)(nearest, detail::safe_norm(Eigen::VectorXd(candidates.points.col(i) - x)));
  return nearest;
}

}}  // namespace attnflow
