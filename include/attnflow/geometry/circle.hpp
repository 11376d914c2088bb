/// \file
/// The unit circle: points of angles and angles of points.
#pragma once

#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The unit circle in the plane, where a token is an angle θ or the point (cos θ, sin θ).
namespace circle {

/// The points xᵢ = (cos(θᵢ − origin), sin(θᵢ − origin)) of angles, 2 × n; x is resized. A difference of more than a turn is
/// not taken: it is rounded, and may overflow. O(n).
template <RealScalar Scalar>
void points(const Tokens<Scalar, 1>& theta, const Scalar& origin, Tokens<Scalar, 2>& x) {
  using std::cos;
  using std::sin;
  x.resize(2, theta.cols());
  for (Eigen::Index i = 0; i < theta.cols(); ++i) {
    const Scalar angle = theta(0, i) - origin;
    if (std::abs(detail::value_of(angle)) < 8) {
      x(0, i) = cos(angle);
      x(1, i) = sin(angle);
      continue;
    }
    const Scalar c = cos(theta(0, i)), s = sin(theta(0, i)), from_c = cos(origin), from_s = sin(origin);
    const Scalar cc = c * from_c, ss = s * from_s, sc = s * from_c, cs = c * from_s;
    x(0, i) = cc + ss;
    x(1, i) = sc - cs;
  }
}
/// The points (cos θᵢ, sin θᵢ), returned.
template <RealScalar Scalar>
[[nodiscard]] Tokens<Scalar, 2> points(const Tokens<Scalar, 1>& theta) {
  Tokens<Scalar, 2> x;
  points(theta, Scalar(0), x);
  return x;
}

/// The angles of points of the plane, in [−π, π]; of the origin 0. O(n).
template <RealScalar Scalar>
[[nodiscard]] Tokens<Scalar, 1> angles(const Tokens<Scalar, 2>& x) {
  using std::atan2;
  Tokens<Scalar, 1> theta(1, x.cols());
  for (Eigen::Index i = 0; i < x.cols(); ++i) theta(0, i) = atan2(x(1, i), x(0, i));
  return theta;
}

}  // namespace circle

}}  // namespace attnflow
