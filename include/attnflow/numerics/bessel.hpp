/// \file
/// Modified Bessel functions of the first kind, without their exponential growth.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/double_double.hpp>

#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// From here on Hankel's expansion has all digits, if ν² ≤ x besides.
inline constexpr double hankel_from = 25;

/// Hankel's expansion is used: x is large, and terms fall from the first on.
[[nodiscard]] inline bool in_hankel_range(double order, double x) {
  return x >= hankel_from && order * order <= x;
}

/// √(2πx) e^{−x} I_ν(x) = ∑ₖ (−1)ᵏ (4ν²−1)(4ν²−9)…(4ν²−(2k−1)²) / (k! (8x)ᵏ), less e^{−2x} [OLBC10, 10.40.1].
[[nodiscard]] inline double hankel_sum(double order, double x) {
  double sum = 1, term = 1;
  for (int k = 1; std::abs(term) > 1e-18; ++k) {
    const double odd = 2 * k - 1;
    term *= -(2 * order - odd) * (2 * order + odd) / (8 * k) / x;
    sum += term;
  }
  return sum;
}

/// e^{−x} I_ν(x) of 0 ≤ ν < 1 for x up to 25, by its power series [OLBC10, 10.25.2],
///
///     I_ν(x) = (x/2)^ν / Γ(ν+1) ∑ₖ (x²/4)ᵏ / (k! (ν+1)(ν+2)…(ν+k)),
///
/// a sum of positive terms, from its end.
[[nodiscard]] inline double bessel_by_series(double order, double x) {
  const double square = x / 2 * (x / 2);
  int terms = 0;
  for (double term = 1; term > 1e-19 || terms < x; term *= square / terms / (order + terms)) ++terms;
  double sum = 1;
  for (int k = terms; k > 0; --k) sum = 1 + sum * (square / ((k + order) * k));
  const double power = order == 0 ? 1 : std::pow(x, order) * std::exp2(-order) / std::tgamma(1 + order);
  return sum * power * std::exp(-x);
}

/// e^{−x} I_ν(x) for ν ≥ 2¹⁵, uniformly in x, by Debye's expansion [OLBC10, 10.41.3] to its fourth term.
[[nodiscard]] inline double bessel_by_debye(double order, double x) {
  const double length = std::hypot(order, x), angle = std::asinh(order / x);
  const double half = std::sinh(angle / 2);
  const double exponent = 2 * x * half * half - order * angle;  // √(ν²+x²) − x − ν asinh(ν/x)
  const double p = order / length, q = p * p, first = (3 - 5 * q) / 24,
               second = (81 + q * (-462 + 385 * q)) / 1152,
               third = (30375 + q * (-369603 + q * (765765 - 425425 * q))) / 414720;
  const double sum = 1 + (first + (second + third / length) / length) / length;
  return std::exp(exponent) * sum / std::sqrt(2 * std::numbers::pi * length);
}

/// The numbers I_{ν+k}(x) / I_ν(x), k = 0 … count − 1, by Miller's method: the recurrence downwards [OLBC10, 10.29.1],
///
///     I_{μ−1} = (2μ/x) I_μ + I_{μ+1},   μ = ν + k,
///
/// its stable direction, a sum of positive terms, from (1, 0) far above. What additions round off is carried along
/// beside the values. It starts where the continued fraction of I_{ν+count} / I_{ν+count−1} has converged: two of its
/// convergents differ by 1/(BⱼBⱼ₋₁), Bⱼ their denominators. O(count + √x). \pre count ≥ 1, x > 0.
[[nodiscard]] inline std::vector<double> ratios_from_above(double order, int count, double x) {
  std::vector<double> values(static_cast<std::size_t>(count), 0);
  values[0] = 1;
  if (x / 2 * (x / 2) < 0x1p-60 * (order + 1)) {  // the first term of the power series has all digits
    for (std::size_t k = 1; k < values.size() && values[k - 1] > 0; ++k)
      values[k] = values[k - 1] * (x / 2 / (order + static_cast<double>(k)));
    return values;
  }
  double k = count, before = 1, last = 2 * (order + count) / x;  // B₀, B₁
  for (const double enough = 0x1p30 * std::sqrt(1 + last); last < enough;)
    before = std::exchange(last, 2 * (order + ++k) / x * last + before);

  DoubleDouble value{1, 0}, above{0, 0};  // of I_{ν+k} and I_{ν+k+1}: a sum and what it lacks
  for (; k > 0; --k) {
    if (k < count) values[static_cast<std::size_t>(k)] = value.high + value.low;
    const double factor = 2 * (order + k) / x;
    const DoubleDouble sum = exact_sum(above.high, factor * value.high);
    above = std::exchange(value, {sum.high, factor * value.low + (above.low + sum.low)});
    if (value.high < 0x1p600) continue;
    for (double* part : {&value.high, &value.low, &above.high, &above.low}) *part *= 0x1p-600;
    for (auto above_k = static_cast<std::size_t>(k); above_k < values.size() && values[above_k] > 0;
         ++above_k)
      values[above_k] *= 0x1p-600;
  }
  for (std::size_t j = 1; j < values.size(); ++j) values[j] /= value.high + value.low;
  return values;
}

}  // namespace detail

/// I_{ν+k}(x) / I_ν(x) for k = 0 … count − 1, where I is the modified Bessel function of the first kind: 1, then
/// falling numbers between 0 and 1 that underflow at last; for negative x times (−1)ᵏ.
///
/// Within some 4 units in the last place, 16 below 10⁻¹⁰⁰, by the recurrence from above, or by Hankel's expansion if
/// (ν + count)² ≤ x. O(count + √x).
/// \throws std::invalid_argument unless ν and x are finite, ν ≥ 0, count ≥ 0 and (|x| ≤ 2⁴⁰ or (ν + count)² ≤ |x|).
[[nodiscard]] inline std::vector<double> bessel_ratios(double order, int count, double x) {
  if (!(order >= 0) || !std::isfinite(order))
    detail::refuse("bessel_ratios: order is ", order, ", expected a finite number, at least 0");
  if (count < 0) detail::refuse("bessel_ratios: count is ", count, ", expected at least 0");
  if (!std::isfinite(x)) detail::refuse("bessel_ratios: x is ", x, ", expected a finite number");
  std::vector<double> values(static_cast<std::size_t>(count), 0);
  if (count == 0) return values;
  values[0] = 1;
  if (count == 1 || x == 0) return values;
  const double size = std::abs(x);
  if (detail::in_hankel_range(order + count, size)) {
    const double base = detail::hankel_sum(order, size);
    for (int k = 1; k < count; ++k)
      values[static_cast<std::size_t>(k)] = detail::hankel_sum(order + k, size) / base;
  } else {
    if (size > 0x1p40)
      detail::refuse("bessel_ratios: x is ", x,
                     ", expected at most 2^40 in modulus, or at least (order + count)^2");
    values = detail::ratios_from_above(order, count, size);
  }
  if (x < 0)
    for (std::size_t k = 1; k < values.size(); k += 2) values[k] = -values[k];
  return values;
}

/// e^{−|x|} I_ν(x), for real ν ≥ 0: of size 1/√(2π|x|) for ν² below |x|, and never more than 1.
///
/// Within some 8 units in the last place for ν up to 2¹⁵, 16 below 10⁻¹⁰⁰, in the range of double: the power series or
/// Hankel's expansion for the fractional part of ν, and the recurrence down to there, O(ν + √x). For larger ν by
/// Debye's expansion, whose exponential makes the relative error ε |log result|.
/// \throws std::invalid_argument unless ν and x are finite, ν ≥ 0, and ν is an integer if x < 0.
[[nodiscard]] inline double scaled_bessel_i(double order, double x) {
  if (!(order >= 0) || !std::isfinite(order))
    detail::refuse("scaled_bessel_i: order is ", order, ", expected a finite number, at least 0");
  if (!std::isfinite(x)) detail::refuse("scaled_bessel_i: x is ", x, ", expected a finite number");
  const double whole = std::floor(order), part = order - whole, size = std::abs(x);
  if (x < 0 && part != 0)
    detail::refuse("scaled_bessel_i: order is ", order, ", expected an integer for a negative x, which is ",
                   x);
  if (x == 0) return order == 0 ? 1 : 0;
  const double sign = x < 0 && std::fmod(whole, 2) == 1 ? -1 : 1;
  const auto by_hankel = [&](double nu) {
    return detail::hankel_sum(nu, size) / std::sqrt(2 * std::numbers::pi * size);
  };
  if (detail::in_hankel_range(order, size)) return sign * by_hankel(order);
  // By Debye's exponent the result is below e^{−760}.
  if (order >= 2 && std::hypot(order, size) - size - order * std::asinh(order / size) < -760) return 0;
  if (order >= 0x1p15) return sign * detail::bessel_by_debye(order, size);
  const double base = size >= detail::hankel_from ? by_hankel(part) : detail::bessel_by_series(part, size);
  return sign * base * detail::ratios_from_above(part, static_cast<int>(whole) + 1, size).back();
}

/// e^{−|x|} I_k(x) for k = 0 … count − 1: the cosine series of a kernel on the circle,
///
///     e^{x (cos u − 1)} = e^{−x} (I₀(x) + 2 ∑ₖ I_k(x) cos ku),   x ≥ 0.
///
/// Within some 8 units in the last place, 16 below 10⁻¹⁰⁰. Terms with k beyond 9 √|x| + 10 are less than 2⁻⁵³ of the first. Cost:
/// O(count + √x).
/// \throws std::invalid_argument as bessel_ratios does.
[[nodiscard]] inline std::vector<double> scaled_bessel_series(int count, double x) {
  std::vector<double> values = bessel_ratios(0, count, x);
  const double base = scaled_bessel_i(0, x);
  for (double& value : values) value *= base;
  return values;
}

}}  // namespace attnflow
