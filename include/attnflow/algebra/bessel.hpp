/// \file
/// Modified Bessel functions of the first kind, without their exponential growth.
#pragma once

#include <attnflow/algebra/double_double.hpp>
#include <attnflow/detail/refuse.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
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
  const DoubleDouble square = exact_product(x / 2, x / 2);
  int terms = 0;
  for (double term = 1; term > 1e-19 || terms < x; term *= square.high / terms / (order + terms)) ++terms;
  DoubleDouble sum{1, 0};
  for (int k = terms; k > 0; --k)
    sum = DoubleDouble{1, 0} + sum * square / (exact_sum(k, order) * DoubleDouble{static_cast<double>(k), 0});
  const double power = order == 0 ? 1 : std::pow(x, order) * std::exp2(-order) / std::tgamma(1 + order);
  return sum.high * power * std::exp(-x);
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

/// rₖ = I_{ν+k}(x) / I_{ν+k−1}(x) for k = 1 … count, from the recurrence downwards [OLBC10, 10.29.1],
///
///     r_{μ} = x / (2μ + x r_{μ+1}),   μ = ν + k,
///
/// which is its stable direction. It starts so far above that the convergent of the continued fraction of the last
/// ratio has converged: two of them differ by 1/(BⱼBⱼ₋₁), Bⱼ their denominators. O(count + √x). \pre count ≥ 1, x > 0.
[[nodiscard]] inline std::vector<DoubleDouble> bessel_quotients(double order, int count, double x) {
  const double top = order + count, first = 2 * top / x;
  double before = 1, last = first, above = 1;  // B₀, B₁
  for (const double enough = 0x1p35 * std::sqrt(1 + first); last < enough; ++above) {
    const double next = 2 * (top + above) / x * last + before;
    before = last;
    last = next;
  }
  const DoubleDouble X{x, 0};
  const auto twice = [&](double k) {
    const DoubleDouble sum = exact_sum(order, k);
    return DoubleDouble{2 * sum.high, 2 * sum.low};
  };
  DoubleDouble ratio;
  for (double k = count + above; k > count; --k) ratio = X / (twice(k) + X * ratio);
  std::vector<DoubleDouble> ratios(static_cast<std::size_t>(count));
  for (int k = count; k > 0; --k)
    ratios[static_cast<std::size_t>(k - 1)] = ratio = X / (twice(k) + X * ratio);
  return ratios;
}

/// A product of many factors, whose partial products may underflow: number · 2^exponent.
class LongProduct {
 public:
  void multiply(DoubleDouble factor) {
    number_ = number_ * factor;
    if (std::abs(number_.high) >= 0x1p-400) return;
    number_ = {number_.high * 0x1p800, number_.low * 0x1p800};
    exponent_ -= 800;
  }
  /// The product, times `scale`; 0 where that underflows.
  [[nodiscard]] double value(double scale = 1) const {
    return std::ldexp(number_.high * scale, (std::max)(exponent_, -4000));
  }
  /// The logarithm of the product.
  [[nodiscard]] double log() const { return std::log(number_.high) + exponent_ * std::numbers::ln2; }

 private:
  DoubleDouble number_{1, 0};
  int exponent_ = 0;
};

}  // namespace detail

/// I_{ν+k}(x) / I_ν(x) for k = 0 … count − 1, where I is the modified Bessel function of the first kind: 1, then
/// falling numbers between 0 and 1 that underflow at last; for negative x times (−1)ᵏ.
///
/// Within some 4 units in the last place, by the recurrence in 106 bits from above, or by Hankel's expansion if
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
    detail::LongProduct product;
    const std::vector<detail::DoubleDouble> quotients = detail::bessel_quotients(order, count - 1, size);
    for (std::size_t k = 1; k < values.size(); ++k) {
      product.multiply(quotients[k - 1]);
      values[k] = product.value();
      if (values[k] == 0) break;
    }
  }
  if (x < 0)
    for (std::size_t k = 1; k < values.size(); k += 2) values[k] = -values[k];
  return values;
}

/// e^{−|x|} I_ν(x), for real ν ≥ 0: of size 1/√(2π|x|) for ν² below |x|, and never more than 1.
///
/// Within some 8 units in the last place for ν up to 2¹⁵, in the range of double: the power series or Hankel's
/// expansion for the fractional part of ν, and the recurrence in 106 bits from there, O(ν + √x). For larger ν by
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
  if (whole == 0) return base;
  detail::LongProduct product;
  for (const detail::DoubleDouble quotient : detail::bessel_quotients(part, static_cast<int>(whole), size))
    product.multiply(quotient);
  return sign * product.value(base);
}

/// e^{−|x|} I_k(x) for k = 0 … count − 1: the cosine series of a kernel on the circle,
///
///     e^{x (cos u − 1)} = e^{−x} (I₀(x) + 2 ∑ₖ I_k(x) cos ku),   x ≥ 0.
///
/// Within some 6 units in the last place. Terms with k beyond 9 √|x| + 10 are less than 2⁻⁵³ of the first. Cost:
/// O(count + √x).
/// \throws std::invalid_argument as bessel_ratios does.
[[nodiscard]] inline std::vector<double> scaled_bessel_series(int count, double x) {
  std::vector<double> values = bessel_ratios(0, count, x);
  const double base = scaled_bessel_i(0, x);
  for (double& value : values) value *= base;
  return values;
}

}}  // namespace attnflow
