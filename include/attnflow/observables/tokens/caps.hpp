/// \file
/// Caps of the sphere around given centres: which tokens are in them, which have left, and how wide they are spread.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/chords.hpp>
#include <attnflow/observables/tokens/renyi_centres.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The label of a token that is in no cap.
inline constexpr Eigen::Index no_cap = -1;

namespace detail {
template <class Centres>
void validate_caps(const char* function, const Eigen::MatrixBase<Centres>& w, double epsilon,
                   double largest) {
  if (!(epsilon >= 0 && epsilon <= largest))
    refuse(function, ": epsilon is ", epsilon, ", expected a number from 0 to ", largest);
  if (w.cols() < 1) refuse(function, ": w has no columns, expected a centre at least");
  refuse_unless_finite(function, "w", w, "column");
}
}  // namespace detail

/// For each token the cap S_q(ε) = {x : ⟨x, w_q⟩ ≥ 1 − ε} that it is in [GKPR24], of several the one with the nearest
/// centre; no_cap if it is in none. ⟨x, w⟩ ≥ 1 − ε is ‖x − w‖² ≤ 2ε, which is what is compared.
///
/// x: d × n, w: d × k, unit columns. O(n k d).
/// \throws std::invalid_argument unless all is finite, both have d rows, there is a centre, and 0 ≤ ε ≤ 1.
template <class Derived, class Centres>
requires KernelScalar<typename Derived::Scalar> && KernelScalar<typename Centres::Scalar>
[[nodiscard]] std::vector<Eigen::Index> cap_labels(const Eigen::MatrixBase<Derived>& x,
                                                   const Eigen::MatrixBase<Centres>& w, double epsilon) {
  detail::validate_caps("cap_labels", w, epsilon, 1);
  detail::refuse_unless_finite("cap_labels", "x", x);
  if (w.rows() != x.rows())
    detail::refuse("cap_labels: w has ", w.rows(), " rows, expected d = ", x.rows(), ", as x has");
  NearestCentres nearest = nearest_centres(x, w);
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    Eigen::Index& label = nearest.labels[static_cast<std::size_t>(i)];
    if (sphere::cosine_gap(x.col(i), w.col(label)) > epsilon) label = no_cap;
  }
  return nearest.labels;
}

/// What tokens do that started in caps.
struct CapStatistics {
  /// For each cap max ‖xᵢ − xⱼ‖² over its tokens; 0 for fewer than two.
  std::vector<double> spread;
  /// The largest of them.
  double widest = 0;
  /// The tokens that are not in the cap S_q(2ε) of their label, increasing.
  std::vector<Eigen::Index> outside;
};

/// How far tokens are spread that belong to caps, and which of them have left the caps of twice the depth [GKPR24].
/// While a theorem (metastability_bounds) holds none has, and from a time on their spread is at most 2 e^{−λβ}. The
/// time at which token i leaves the cap of its centre w is found by locate() with cap_exit(w, 2ε, i).
///
/// x: d × n at some time; w: d × k, the centres; labels: n, those of cap_labels at the start (what has no_cap is left
/// out). epsilon: that of the start. O(n² d) at worst, for one cap.
/// \throws std::invalid_argument as cap_labels does, unless there are n labels from −1 to k − 1 and ε ≤ ½.
template <class Derived, class Centres>
requires KernelScalar<typename Derived::Scalar> && KernelScalar<typename Centres::Scalar>
[[nodiscard]] CapStatistics cap_statistics(const Eigen::MatrixBase<Derived>& x,
                                           const Eigen::MatrixBase<Centres>& w,
                                           std::span<const Eigen::Index> labels, double epsilon) {
  detail::validate_caps("cap_statistics", w, epsilon, 0.5);
  if (w.rows() != x.rows())
    detail::refuse("cap_statistics: w has ", w.rows(), " rows, expected d = ", x.rows(), ", as x has");
  detail::refuse_unless_finite("cap_statistics", "x", x);
  if (static_cast<Eigen::Index>(labels.size()) != x.cols())
    detail::refuse("cap_statistics: there are ", labels.size(), " labels, expected ", x.cols(),
                   ", one for each token");
  CapStatistics found;
  found.spread.assign(static_cast<std::size_t>(w.cols()), 0);
  std::vector<std::vector<Eigen::Index>> members(found.spread.size());
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    const Eigen::Index q = labels[static_cast<std::size_t>(i)];
    if (q < no_cap || q >= w.cols())
      detail::refuse("cap_statistics: labels[", i, "] is ", q, ", expected -1 to ", w.cols() - 1);
    if (q == no_cap) continue;
    if (sphere::cosine_gap(x.col(i), w.col(q)) > 2 * epsilon) found.outside.push_back(i);
    auto& others = members[static_cast<std::size_t>(q)];
    double& spread = found.spread[static_cast<std::size_t>(q)];
    for (const Eigen::Index j : others)
      spread = (std::max)(spread, 2 * sphere::cosine_gap(x.col(i), x.col(j)));
    others.push_back(i);
    found.widest = (std::max)(found.widest, spread);
  }
  return found;
}

/// α(ε), the largest inner product of points of different caps S_p(2ε) and S_q(2ε) [GKPR24]: with the angle φ of such
/// a cap, cos φ = 1 − 2ε, and the least angle ψ of two centres,
///
///     α = cos(max(0, ψ − 2φ));
///
/// −1 for a single cap. At orthogonal centres α = sin 2φ = 4 (1 − 2ε) √(ε (1 − ε)), about 4√ε.
///
/// w: d × k, unit columns. O(k² d).
/// \throws std::invalid_argument unless w is finite, has a column, d ≥ 2 or k = 1, and 0 ≤ ε ≤ ½.
template <class Centres>
requires KernelScalar<typename Centres::Scalar>
[[nodiscard]] double cap_overlap(const Eigen::MatrixBase<Centres>& w, double epsilon) {
  detail::validate_caps("cap_overlap", w, epsilon, 0.5);
  if (w.cols() == 1) return -1;
  if (w.rows() < 2) detail::refuse("cap_overlap: w has ", w.rows(), " rows, expected d of at least 2");
  double least = std::numbers::pi;
  for (Eigen::Index p = 1; p < w.cols(); ++p)
    for (Eigen::Index q = 0; q < p; ++q) least = (std::min)(least, sphere::angle(w.col(p), w.col(q)));
  const double half_angle = 2 * std::asin(std::sqrt(epsilon));  // φ, by 1 − cos φ = 2 sin²(φ/2)
  return std::cos((std::max)(0., least - 2 * half_angle));
}

}}  // namespace attnflow
