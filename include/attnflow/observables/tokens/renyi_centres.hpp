/// \file
/// Rényi centres: tokens that come before all others near them, at which causal attention keeps its clusters.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/chords.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// Tokens in double, and the square of the chord at the separation.
struct SeparatedTokens {
  Eigen::MatrixXd x;
  double limit = 0;

  template <class Derived>
  SeparatedTokens(const char* function, const Eigen::MatrixBase<Derived>& tokens, double separation) {
    if (!(separation >= 0) || !std::isfinite(separation))
      refuse(function, ": separation is ", separation, ", expected a finite angle, at least 0");
    refuse_unless_finite(function, "x", tokens);
    x = tokens.template cast<double>();
    // No two points are farther apart than π.
    const double chord = separation < std::numbers::pi ? sphere::chord_of_angle(separation)
                                                       : std::numeric_limits<double>::infinity();
    limit = chord * chord;
  }
  [[nodiscard]] bool apart(Eigen::Index i, Eigen::Index j) const {
    double squares = 0;
    for (Eigen::Index k = 0; k < x.rows(); ++k) {
      const double difference = x(k, i) - x(k, j);
      squares += difference * difference;
    }
    return squares > limit;
  }
};

}  // namespace detail

/// The Rényi centres of tokens on the sphere, in token order [KPR24]: token i is one if it is farther than the
/// separation δ from all centres before it,
///
///     ∠(xᵢ, x_c) > δ for all centres c < i.
///
/// The first token always is; any token is within δ of a centre, and any two centres are farther apart. They are the
/// cars of Rényi's parking problem, dropped where tokens come to lie. With δ = c β^{−1/2}, c about 4, causal
/// attention hardly moves the first of them for times of the order of e^{c²/2}, while they gather the others.
///
/// x: d × n, unit columns. separation: δ in radians; from π on the first token is the only centre. Chords are
/// compared, so that small angles are told apart. O(n d) for each centre. \returns indices, increasing.
/// \throws std::invalid_argument unless all tokens are finite and δ is finite and not negative.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] std::vector<Eigen::Index> renyi_centres(const Eigen::MatrixBase<Derived>& x,
                                                      double separation) {
  const detail::SeparatedTokens tokens("renyi_centres", x, separation);
  std::vector<Eigen::Index> centres;
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    bool free = true;
    for (std::size_t c = 0; c < centres.size() && free; ++c) free = tokens.apart(i, centres[c]);
    if (free) centres.push_back(i);
  }
  return centres;
}

/// The strong Rényi centres [KPR24]: token i is one if it is farther than δ from all tokens before it, whether they are
/// centres or not. So they are some of the Rényi centres. Of n independent uniform tokens
///
///     E #centres = ∑ᵢ (1 − σ)^{i−1} = (1 − (1 − σ)ⁿ) / σ
///
/// are (mean_strong_centres), with the share σ of the sphere that a cap of geodesic radius δ takes: δ/π on the circle,
/// sin²(δ/2) for d = 3.
///
/// x, separation, indices and errors as for renyi_centres. O(n² d) at worst; a token near another is let go at once.
/// \throws std::invalid_argument as renyi_centres does.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] std::vector<Eigen::Index> strong_renyi_centres(const Eigen::MatrixBase<Derived>& x,
                                                             double separation) {
  const detail::SeparatedTokens tokens("strong_renyi_centres", x, separation);
  std::vector<Eigen::Index> centres;
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    bool free = true;
    for (Eigen::Index j = 0; j < i && free; ++j) free = tokens.apart(i, j);
    if (free) centres.push_back(i);
  }
  return centres;
}

/// Which of several points is the nearest to each token, and how far it is.
struct NearestCentres {
  std::vector<Eigen::Index> labels;  ///< n: a column of `centres`, the first of those equally near
  std::vector<double> angles;        ///< n: the geodesic distance to it, in radians
};

/// For each token the nearest of several centres on the sphere. To see which centre a cluster belongs to, give the
/// representatives of the clusters as tokens; to see how far centres have moved, the tokens at another time.
///
/// x: d × n, centres: d × m, unit columns. O(n m d).
/// \throws std::invalid_argument unless all is finite, both have d rows and there is a centre, or no token.
template <class Derived, class Centres>
requires KernelScalar<typename Derived::Scalar> && KernelScalar<typename Centres::Scalar>
[[nodiscard]] NearestCentres nearest_centres(const Eigen::MatrixBase<Derived>& x,
                                             const Eigen::MatrixBase<Centres>& centres) {
  if (centres.rows() != x.rows())
    detail::refuse("nearest_centres: centres has ", centres.rows(), " rows, expected d = ", x.rows(),
                   ", as x has");
  if (centres.cols() == 0 && x.cols() > 0)
    detail::refuse("nearest_centres: there are no centres, expected at least one");
  detail::refuse_unless_finite("nearest_centres", "x", x);
  detail::refuse_unless_finite("nearest_centres", "centres", centres, "column");
  NearestCentres found;
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    Eigen::Index nearest = 0;
    double least = std::numeric_limits<double>::infinity();
    for (Eigen::Index q = 0; q < centres.cols(); ++q) {
      const double gap = sphere::cosine_gap(x.col(i), centres.col(q));
      if (gap < least) {
        least = gap;
        nearest = q;
      }
    }
    found.labels.push_back(nearest);
    found.angles.push_back(sphere::angle(x.col(i), centres.col(nearest)));
  }
  return found;
}

}}  // namespace attnflow
