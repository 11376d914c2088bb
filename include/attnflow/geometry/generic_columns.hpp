/// \file
/// Lengths and tangents of tokens whose scalar no kernel is compiled for.
#pragma once

#include <attnflow/detail/value_of.hpp>
#include <attnflow/numerics/scaled_matrix.hpp>

#include <Eigen/Core>

#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// ⟨x, y⟩, every product a Scalar before it is added (see multiply_entries).
template <class Scalar>
[[nodiscard]] Scalar generic_dot(const Scalar* x, const Scalar* y, Eigen::Index d) {
  Scalar sum = x[0] * y[0];
  for (Eigen::Index c = 1; c < d; ++c) {
    const Scalar term = x[c] * y[c];
    sum += term;
  }
  return sum;
}

/// A column with the power of two taken out that makes its largest number 1 to 2. \returns the power; the largest
/// number is NaN, ∞ or 0 where the column is not finite or vanishes.
template <class Scalar>
int extract_power_of_two(const Scalar* x, Eigen::Index d, std::vector<Scalar>& scaled,
                         Value<Scalar>& largest) {
  largest = 0;
  for (Eigen::Index c = 0; c < d; ++c) {
    const Value<Scalar> size = std::abs(value_of(x[c]));
    if (!(size <= largest) && !std::isnan(largest)) largest = size;
  }
  const int exponent = exponent_of(largest);
  scaled.assign(x, x + d);
  Eigen::Map<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> map(scaled.data(), d);
  scale_by_power_of_two(map, -exponent);
  return exponent;
}

/// y − (⟨x, y⟩ / ‖x‖²) x in two passes, see sphere::project_tangent. A token at the origin or not finite leaves y.
template <class Scalar>
void project_generic_column(const Scalar* x, Scalar* y, Eigen::Index d) {
  std::vector<Scalar> direction, vector;
  Value<Scalar> largest = 0;
  extract_power_of_two(x, d, direction, largest);
  if (!(largest > 0) || !std::isfinite(largest)) return;
  const int exponent = extract_power_of_two(y, d, vector, largest);
  if (!std::isfinite(largest)) return;
  const Scalar squares = generic_dot(direction.data(), direction.data(), d);
  for (int pass = 0; pass < 2; ++pass) {
    const Scalar share = generic_dot(direction.data(), vector.data(), d) / squares;
    for (std::size_t c = 0; c < vector.size(); ++c) {
      const Scalar radial = share * direction[c];
      vector[c] -= radial;
    }
  }
  Eigen::Map<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> result(y, d);
  result = Eigen::Map<const Eigen::Matrix<Scalar, Eigen::Dynamic, 1>>(vector.data(), d);
  scale_by_power_of_two(result, exponent);
}

/// x / ‖x‖, see sphere::normalize. \returns ‖x‖.
template <class Scalar>
Scalar normalize_generic_column(Scalar* x, Eigen::Index d) {
  using Number = Value<Scalar>;
  using std::sqrt;
  std::vector<Scalar> scaled;
  Number largest = 0;
  const int exponent = extract_power_of_two(x, d, scaled, largest);
  if (!std::isfinite(largest)) return static_cast<Scalar>(std::numeric_limits<Number>::quiet_NaN());
  if (largest == 0) return Scalar(0);
  const Scalar squares = generic_dot(scaled.data(), scaled.data(), d);
  if constexpr (std::floating_point<Scalar>) {
    const Scalar off = std::abs(std::ldexp(squares, 2 * exponent) - 1);
    if (off <= static_cast<Scalar>(d + 4) * std::numeric_limits<Scalar>::epsilon()) return 1;
  }
  const Scalar length = sqrt(squares);
  for (Eigen::Index c = 0; c < d; ++c) x[c] = scaled[static_cast<std::size_t>(c)] / length;
  Eigen::Matrix<Scalar, 1, 1> result(length);
  scale_by_power_of_two(result, exponent);
  return result(0);
}

}}}  // namespace attnflow::detail
