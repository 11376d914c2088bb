/// \file
/// Functions of the tokens whose zeros are events: distances, hyperplanes, caps of the sphere.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/geometry/chords.hpp>

#include <Eigen/Core>

#include <cmath>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {
/// Token i of x as numbers of double. \throws std::invalid_argument unless x has it, and d coordinates where d > 0.
template <class X>
[[nodiscard]] Eigen::VectorXd token_of(const char* function, const X& x, Eigen::Index i, Eigen::Index d = 0) {
  if (i < 0 || i >= x.cols())
    refuse(function, ": token ", i, " is asked for, expected an index from 0 to ", x.cols() - 1);
  if (d > 0 && x.rows() != d)
    refuse(function, ": tokens have ", x.rows(), " coordinates, expected ", d, ", as the vector has");
  return in_double(x.col(i));
}
}  // namespace detail

/// g(t, x) = ‖xᵢ − xⱼ‖ − δ, which falls through zero where two tokens meet. On the sphere a distance is a chord:
/// δ = sphere::chord_of_angle(angle). O(d).
/// \throws std::invalid_argument unless δ is positive and finite; when called, unless x has both tokens.
[[nodiscard]] inline auto token_distance(Eigen::Index i, Eigen::Index j, double delta) {
  if (!(delta > 0 && std::isfinite(delta)))
    detail::refuse("token_distance: delta is ", delta, ", expected a positive finite number");
  return [i, j, delta](double /*t*/, const auto& x) {
    return (detail::token_of("token_distance", x, i) - detail::token_of("token_distance", x, j))
               .stableNorm() -
           delta;
  };
}

/// g(t, x) = ⟨a, xᵢ⟩ − c, which changes its sign where token i crosses the hyperplane ⟨a, x⟩ = c. a: d numbers. O(d).
/// \throws std::invalid_argument unless all is finite and a is not 0; when called, unless x has d rows and token i.
template <class Derived>
[[nodiscard]] auto hyperplane_crossing(const Eigen::MatrixBase<Derived>& a, double c, Eigen::Index i) {
  Eigen::VectorXd normal = a.reshaped().template cast<double>();
  if (!normal.allFinite() || normal.isZero(0))
    detail::refuse("hyperplane_crossing: a is 0 or not finite, expected a finite vector other than 0");
  if (!std::isfinite(c)) detail::refuse("hyperplane_crossing: c is ", c, ", expected a finite number");
  return [normal = std::move(normal), c, i](double /*t*/, const auto& x) {
    return normal.dot(detail::token_of("hyperplane_crossing", x, i, normal.size())) - c;
  };
}

/// g(t, x) = 1 − ⟨xᵢ, w⟩ − ε, which rises through zero where token i leaves the cap {x : ⟨x, w⟩ ≥ 1 − ε} of the unit
/// sphere (see cap_labels); 1 − ⟨xᵢ, w⟩ is sphere::cosine_gap. A cap of the angle φ has ε = 1 − cos φ. O(d).
/// \param w  d numbers, of length one.
/// \throws std::invalid_argument unless w is finite and 0 < ε < 2; when called, unless x has d rows and token i.
template <class Derived>
[[nodiscard]] auto cap_exit(const Eigen::MatrixBase<Derived>& w, double epsilon, Eigen::Index i) {
  Eigen::VectorXd centre = w.reshaped().template cast<double>();
  if (!centre.allFinite()) detail::refuse("cap_exit: w is not finite, expected a unit vector");
  if (!(epsilon > 0 && epsilon < 2))
    detail::refuse("cap_exit: epsilon is ", epsilon, ", expected a number between 0 and 2");
  return [centre = std::move(centre), epsilon, i](double /*t*/, const auto& x) {
    return sphere::cosine_gap(detail::token_of("cap_exit", x, i, centre.size()), centre) - epsilon;
  };
}

}}  // namespace attnflow
