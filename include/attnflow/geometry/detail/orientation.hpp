/// \file
/// On which side a point lies of a line in the plane or of a plane in space, decided exactly.
/// (Options that give up IEEE arithmetic, such as -ffast-math, void this.)
#pragma once

#include <attnflow/detail/abi.hpp>

#include <Eigen/Core>

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// A sum of doubles without rounding: an expansion, that is numbers of increasing magnitude whose bits do
/// not overlap, so that the last one tells the sign [She97]. \pre up to Capacity terms, no overflow.
template <std::size_t Capacity>
class ExactSum {
 public:
  void add(double term) {
    require_sums_in_order();
    for (std::size_t k = 0; k < length_; ++k) {  // term + parts_[k] = sum + rest, exactly
      const double sum = term + parts_[k];
      const double virtual_part = sum - term;
      parts_[k] = (term - (sum - virtual_part)) + (parts_[k] - virtual_part);
      term = sum;
    }
    parts_[length_++] = term;
  }
  /// Two terms. \pre the rest of the product does not underflow.
  void add_product(double p, double q) {
    const double product = p * q;
    add(std::fma(p, q, -product));
    add(product);
  }
  /// Four terms.
  void add_product(double p, double q, double r) {
    const double product = p * q;
    add_product(std::fma(p, q, -product), r);
    add_product(product, r);
  }
  [[nodiscard]] int sign() const {
    for (std::size_t k = length_; k-- > 0;)
      if (parts_[k] != 0) return parts_[k] > 0 ? 1 : -1;
    return 0;
  }

 private:
  std::array<double, Capacity> parts_{};
  std::size_t length_ = 0;
};

/// The sign, exact, of
///
///     (b − a) × (c − a) = (b₀ − a₀)(c₁ − a₁) − (b₁ − a₁)(c₀ − a₀),
///
/// positive where a, b, c turn left. First in plain arithmetic with a bound of its error, and if that
/// does not decide, as a sum of six exact products. \pre coordinates scaled as by plane_shift.
template <class Point>
[[nodiscard]] int orientation(const Point& a, const Point& b, const Point& c) {
  const double left = (b(0) - a(0)) * (c(1) - a(1));
  const double right = (b(1) - a(1)) * (c(0) - a(0));
  const double determinant = left - right;
  constexpr double half_epsilon = std::numeric_limits<double>::epsilon() / 2;
  const double bound = (3 + 16 * half_epsilon) * half_epsilon * (std::abs(left) + std::abs(right));
  if (determinant > bound) return 1;
  if (determinant < -bound) return -1;

  ExactSum<12> exact;
  exact.add_product(b(0), c(1));
  exact.add_product(-b(0), a(1));
  exact.add_product(-a(0), c(1));
  exact.add_product(-b(1), c(0));
  exact.add_product(b(1), a(0));
  exact.add_product(a(1), c(0));
  return exact.sign();
}

using SpacePoint = std::array<double, 3>;

/// Whether u − v is a double. (The rest of a rounded difference is one [She97].)
[[nodiscard]] inline bool exact_difference(double u, double v) {
  require_sums_in_order();
  const double difference = u - v, virtual_v = u - difference;
  return (u - (difference + virtual_v)) + (virtual_v - v) == 0;
}

/// The sign, exact, of the determinant
///
///     det(b − a, c − a, e − a),
///
/// positive where a, b, c turn left as seen from e. First in plain arithmetic with a bound of its error
/// [She97, §4.3]. If that does not decide and the nine differences are doubles, as for whole numbers,
/// as a sum of six exact products; and else of the 24 of det(b,c,e) − det(a,c,e) + det(a,b,e) − det(a,b,c).
/// \pre coordinates scaled as by space_shift.
[[nodiscard]] inline int orientation(const SpacePoint& a, const SpacePoint& b, const SpacePoint& c,
                                     const SpacePoint& e) {
  const SpacePoint u{b[0] - a[0], b[1] - a[1], b[2] - a[2]};
  const SpacePoint v{c[0] - a[0], c[1] - a[1], c[2] - a[2]};
  const SpacePoint w{e[0] - a[0], e[1] - a[1], e[2] - a[2]};
  double determinant = 0, size = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    const double left = u[(k + 1) % 3] * v[(k + 2) % 3], right = u[(k + 2) % 3] * v[(k + 1) % 3];
    determinant += w[k] * (left - right);
    size += (std::abs(left) + std::abs(right)) * std::abs(w[k]);
  }
  constexpr double half_epsilon = std::numeric_limits<double>::epsilon() / 2;
  const double bound = (7 + 56 * half_epsilon) * half_epsilon * size;
  if (determinant > bound) return 1;
  if (determinant < -bound) return -1;

  ExactSum<96> exact;
  const auto add = [&](const SpacePoint& x, const SpacePoint& y, const SpacePoint& z, double sign) {
    for (std::size_t k = 0; k < 3; ++k) {
      exact.add_product(sign * x[k], y[(k + 1) % 3], z[(k + 2) % 3]);
      exact.add_product(-sign * x[k], y[(k + 2) % 3], z[(k + 1) % 3]);
    }
  };
  bool plain = true;
  for (std::size_t k = 0; k < 3 && plain; ++k)
    plain = exact_difference(b[k], a[k]) && exact_difference(c[k], a[k]) && exact_difference(e[k], a[k]);
  if (plain) {
    add(u, v, w, 1);
  } else {
    add(b, c, e, 1);
    add(a, c, e, -1);
    add(a, b, e, 1);
    add(a, b, c, -1);
  }
  return exact.sign();
}

/// Coordinates below 2^{−powers} of the largest are zero from here on: products of differences would
/// otherwise underflow, and what is on which side be decided by nothing.
[[nodiscard]] inline Eigen::MatrixXd without_dust(const Eigen::MatrixXd& points, int powers) {
  if (points.size() == 0) return points;
  const double least = std::ldexp(points.cwiseAbs().maxCoeff(), -powers);
  return points.unaryExpr([least](double value) { return std::abs(value) < least ? 0.0 : value; });
}

}}}  // namespace attnflow::detail
