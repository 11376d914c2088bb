/// \file
/// How far apart unit vectors are, by chord, cosine and angle, with all digits where they nearly agree.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <numbers>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// ‖x − y‖² and ‖x + y‖².
struct ChordSquares {
  double apart = 0, together = 0;

  template <class A, class B>
  ChordSquares(const char* function, const Eigen::MatrixBase<A>& x, const Eigen::MatrixBase<B>& y) {
    if (x.size() != y.size())
      refuse(function, ": y has ", y.size(), " coordinates, expected ", x.size(), ", as x has");
    for (Eigen::Index k = 0; k < x.size(); ++k) {
      const auto a = static_cast<double>(x(k)), b = static_cast<double>(y(k));
      apart += (a - b) * (a - b);
      together += (a + b) * (a + b);
    }
  }
};

}  // namespace detail

namespace sphere {

/// 1 − ⟨x, y⟩ of two unit vectors, as half the square of their chord:
///
///     1 − ⟨x, y⟩ = ‖x − y‖² / 2.
///
/// From the product itself nothing is left where the two agree to √ε. This has a relative error of (d + 4) ε, beside
/// an absolute one of ((d + 4) ε)²/2, that is down to 10⁻³⁰, although lengths are one only up to (d + 4) ε/2: what
/// they are off enters by its square, ‖x − y‖² = 2 ‖x‖ ‖y‖ (1 − cos) + (‖x‖ − ‖y‖)².
///
/// x, y: rows or columns of d numbers each, unit vectors up to what sphere::normalize leaves. O(d).
/// \throws std::invalid_argument unless both have the same number of coordinates.
template <class A, class B>
requires KernelScalar<typename A::Scalar> && KernelScalar<typename B::Scalar>
[[nodiscard]] double cosine_gap(const Eigen::MatrixBase<A>& x, const Eigen::MatrixBase<B>& y) {
  return detail::ChordSquares("sphere::cosine_gap", x, y).apart / 2;
}

/// The angle between two unit vectors, their geodesic distance on the sphere,
///
///     ∠(x, y) = 2 atan2(‖x − y‖, ‖x + y‖) ∈ [0, π],
///
/// with an error of (d + 4) ε, relative to the angle where that is above √ε; near 0 and near π, where the arc cosine
/// loses half of the digits, too. O(d).
/// \throws std::invalid_argument unless both have the same number of coordinates.
template <class A, class B>
requires KernelScalar<typename A::Scalar> && KernelScalar<typename B::Scalar>
[[nodiscard]] double angle(const Eigen::MatrixBase<A>& x, const Eigen::MatrixBase<B>& y) {
  const detail::ChordSquares squares("sphere::angle", x, y);
  return 2 * std::atan2(std::sqrt(squares.apart), std::sqrt(squares.together));
}

/// The chord ‖x − y‖ = 2 sin(angle/2) of unit vectors at an angle: on the sphere ∠(x, y) ≤ δ is ‖x − y‖ ≤
/// chord_of_angle(δ).
/// \throws std::invalid_argument unless 0 ≤ angle ≤ π.
[[nodiscard]] inline double chord_of_angle(double angle) {
  if (!(angle >= 0 && angle <= std::numbers::pi))
    detail::refuse("sphere::chord_of_angle: angle is ", angle, ", expected a number from 0 to pi");
  return 2 * std::sin(angle / 2);
}

/// The chord ‖x − y‖ = √(2 (1 − cosine)) of unit vectors with ⟨x, y⟩ = cosine.
///
/// So the clusters of the papers on the sphere, the connected components of the graph ⟨xᵢ, xⱼ⟩ ≥ c, are
/// detect_clusters(x, sphere::chord_of_cosine(c)).
/// \throws std::invalid_argument unless −1 ≤ cosine ≤ 1.
[[nodiscard]] inline double chord_of_cosine(double cosine) {
  if (!(std::abs(cosine) <= 1))
    detail::refuse("sphere::chord_of_cosine: cosine is ", cosine, ", expected a number from -1 to 1");
  return std::sqrt(2 * (1 - cosine));
}

}  // namespace sphere

}}  // namespace attnflow
