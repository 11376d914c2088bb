/// \file
/// Whether tokens lie in an open hemisphere, and how deep.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/distance_to_hull.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// minᵢ ⟨xᵢ, w⟩: how deep the tokens lie in the hemisphere of pole w, if positive. Along SphereDynamics with Q = K =
/// V = I, at any β and for every law with positive weights, it does not decrease while it is positive, and all tokens
/// then meet exponentially fast [GLPR25, §4]. ∞ without tokens. x: d × n, w: d. O(n d).
/// \throws std::invalid_argument unless all is finite and w has d coordinates.
template <class Derived, class Pole>
requires KernelScalar<typename Derived::Scalar> && KernelScalar<typename Pole::Scalar>
[[nodiscard]] double hemisphere_margin(const Eigen::MatrixBase<Derived>& x,
                                       const Eigen::MatrixBase<Pole>& w) {
  if (w.rows() != x.rows() || w.cols() != 1)
    detail::refuse("hemisphere_margin: w is ", w.rows(), " x ", w.cols(), ", expected ", x.rows(),
                   " x 1, as the tokens are");
  detail::refuse_unless_finite("hemisphere_margin", "x", x);
  detail::refuse_unless_finite("hemisphere_margin", "w", w, "column");
  double least = std::numeric_limits<double>::infinity();
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    double product = 0;
    for (Eigen::Index k = 0; k < x.rows(); ++k)
      product += static_cast<double>(x(k, i)) * static_cast<double>(w(k));
    least = (std::min)(least, product);
  }
  return least;
}

/// The answer of open_hemisphere, with a witness of it.
struct OpenHemisphere {
  bool contains = false;  ///< whether some w has ⟨xᵢ, w⟩ > 0 for all i
  double margin = 0;  ///< minᵢ ⟨xᵢ, w⟩ for that pole, the largest of all unit w; 0 if there is no hemisphere
  Eigen::VectorXd pole;     ///< w, of length one; of size 0 if there is no hemisphere
  Eigen::VectorXd weights;  ///< n: none negative, sum one; ‖∑ weights xᵢ‖ = margin up to rounding
};

/// Whether tokens lie in an open hemisphere {x : ⟨x, w⟩ > 0}, with the pole w of largest margin.
///
/// Let q be the point of conv{x₁ … xₙ} nearest to 0. By the theorem of the separating plane all tokens lie in an open
/// hemisphere if and only if q ≠ 0, and then
///
///     max over unit w of minᵢ ⟨xᵢ, w⟩ = ‖q‖,   attained at w = q/‖q‖ alone.
///
/// Both answers have a witness: ⟨xᵢ, w⟩ ≥ margin > 0, or weights with ∑ weights xᵢ = 0. The margin is computed from
/// w, so that a yes is certain; tokens whose margin is below rounding, 10 √d ε maxᵢ ‖xᵢ‖, are taken for a no, as an
/// antipodal pair is. Of n independent uniform tokens the probability is 2^{−(n−1)} ∑_{k<d} C(n−1, k)
/// (hemisphere_probability) [Wen62]; for n ≤ d it is 1.
///
/// x: d × n, unit columns. Without tokens the answer is no. Cost of nearest_point: O(n d) for each of a few d steps.
/// \throws std::invalid_argument unless all tokens are finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] OpenHemisphere open_hemisphere(const Eigen::MatrixBase<Derived>& x) {
  detail::refuse_unless_finite("open_hemisphere", "x", x);
  OpenHemisphere found;
  if (x.size() == 0) return found;
  const Eigen::MatrixXd tokens = x.template cast<double>();
  const NearestPoint nearest = nearest_point(Eigen::VectorXd::Zero(x.rows()), tokens);
  found.weights = nearest.weights;
  const double largest =
      detail::scaled_by_power(tokens, detail::unit_shift(tokens)).colwise().norm().maxCoeff();
  const double rounding = 10 * std::sqrt(static_cast<double>(x.rows())) *
                          std::numeric_limits<double>::epsilon() *
                          std::ldexp(largest, -detail::unit_shift(tokens));
  if (!(nearest.distance > rounding)) return found;
  const Eigen::VectorXd direction = detail::scaled_by_power(nearest.point, detail::unit_shift(nearest.point));
  const Eigen::VectorXd pole = direction / direction.norm();
  const double margin = hemisphere_margin(tokens, pole);
  if (!(margin > rounding)) return found;
  found.contains = true;
  found.margin = margin;
  found.pole = pole;
  return found;
}

}}  // namespace attnflow
