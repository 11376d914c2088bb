/// \file
/// How many: tokens in a hemisphere and in a cap, and the centres that causal attention lets stand.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/double_double.hpp>

#include <Eigen/Core>

#include <cmath>
#include <numbers>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// 2^{−N} ∑ₖ C(N, k), k < terms: terms by their quotients, the exponent apart. \pre 1 ≤ terms ≤ N + 1.
[[nodiscard]] inline double binomial_share(Eigen::Index N, Eigen::Index terms) {
  DoubleDouble term{1, 0}, sum = term;
  double exponent = -static_cast<double>(N);
  for (Eigen::Index k = 1; k < terms; ++k) {
    term = term * DoubleDouble{static_cast<double>(N - k + 1), 0} / DoubleDouble{static_cast<double>(k), 0};
    sum = sum + term;
    if (sum.high < 0x1p500) continue;
    term = {term.high * 0x1p-500, term.low * 0x1p-500};
    sum = {sum.high * 0x1p-500, sum.low * 0x1p-500};
    exponent += 500;
  }
  return exponent < -2000 ? 0 : std::ldexp(sum.high, static_cast<int>(exponent));
}

/// 1/B(a, ½) = Γ(a + ½) / (√π Γ(a)) for a multiple a ≥ ½ of ½.
[[nodiscard]] inline double half_beta_inverse(double a) {
  double factor = 1;
  for (; a < 60; ++a) factor *= a / (a + 0.5);  // Γ(a + ½)/Γ(a) = a/(a + ½) Γ(a + 3/2)/Γ(a + 1)
  const double w = a - 0.25, q = 1 / (w * w);
  return factor * std::sqrt(w / std::numbers::pi) *
         (1 + q * (1. / 64 + q * (-19. / 8192 + q * 631 / 524288)));
}

/// I_x(a, b) B(a, b) for 0 < x ≤ a/(a+b), y = 1 − x: the continued fraction [OLBC10, 8.17.22], forwards.
[[nodiscard]] inline double incomplete_beta(double a, double b, double x, double y) {
  double d = 1 / (1 - (a + b) * x / (a + 1)), c = 1, value = d, change = 0;
  const auto advance = [&](double numerator) {
    d = 1 / (1 + numerator * d);
    c = 1 + numerator / c;
    value *= change = c * d;
  };
  for (double m = 1; std::abs(change - 1) > 1e-16 && m < 1e6; ++m) {
    advance(m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)));
    advance(-(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)));
  }
  // Near 1 a number has lost the digits that its power needs; its complement has them.
  const auto power = [](double base, double complement, double exponent) {
    return base > 0.5 ? std::exp(exponent * std::log1p(-complement)) : std::pow(base, exponent);
  };
  return power(x, y, a) * power(y, x, b) / a * value;
}

}  // namespace detail

/// The probability that n independent uniform points on the unit sphere of R^d lie in a hemisphere [Wen62],
///
///     P = 2^{−(n−1)} ∑_{k<d} C(n−1, k),   1 if n ≤ d.
///
/// It is that of convergence to one cluster by the argument of the hemisphere [GLPR25]: tokens with ⟨xᵢ, w⟩ > 0 for
/// all i meet. Right to the last bits, for any n. O(min(n, d)).
/// \throws std::invalid_argument unless n ≥ 0 and d ≥ 1.
[[nodiscard]] inline double hemisphere_probability(Eigen::Index n, Eigen::Index d) {
  if (n < 0) detail::refuse("hemisphere_probability: n is ", n, ", expected at least 0");
  if (d < 1) detail::refuse("hemisphere_probability: d is ", d, ", expected at least 1");
  if (n <= d) return 1;
  const Eigen::Index N = n - 1;
  return d <= N / 2 ? detail::binomial_share(N, d) : 1 - detail::binomial_share(N, N - d + 1);
}

/// σ, the share of the unit sphere of R^d within the angle δ of a point,
///
///     σ = ½ I_{sin² δ}((d−1)/2, ½) for δ ≤ π/2,   σ(π − δ) = 1 − σ(δ):
///
/// δ/π on the circle, sin²(δ/2) in R³. I is the regularised incomplete beta function. Relative error: some 10 ε, and
/// ε d |log sin δ| where the share is tiny. O(√d).
/// \throws std::invalid_argument unless d ≥ 2 and 0 ≤ δ ≤ π.
[[nodiscard]] inline double cap_share(Eigen::Index d, double angle) {
  if (d < 2) detail::refuse("cap_share: d is ", d, ", expected at least 2");
  if (!(angle >= 0 && angle <= std::numbers::pi))
    detail::refuse("cap_share: angle is ", angle, ", expected a number from 0 to pi");
  if (angle == 0) return 0;
  const double a = (static_cast<double>(d) - 1) / 2, sine = std::sin(angle), cosine = std::cos(angle);
  const double x = sine * sine, y = cosine * cosine, front = detail::half_beta_inverse(a);
  if (x <= a / (a + 0.5)) {
    const double share = x == 0 ? 0 : front * detail::incomplete_beta(a, 0.5, x, y) / 2;
    return cosine > 0 ? share : 1 - share;
  }
  const double beyond = y == 0 ? 0 : front * detail::incomplete_beta(0.5, a, y, x) / 2;  // from the equator
  return cosine > 0 ? 0.5 - beyond : 0.5 + beyond;
}

/// The mean number of strong Rényi centres among n independent uniform tokens [KPR24],
///
///     (1 − (1−σ)ⁿ)/σ,
///
/// which under causal attention with V = I stay nearly where they are for long: tokens farther than δ from all
/// previous ones, the k-th with probability (1−σ)^{k−1}. It tends to 1/σ.
/// \param share  σ = cap_share(d, δ); in the paper δ is some β^{−1/2}.
/// \throws std::invalid_argument unless n ≥ 0 and 0 ≤ σ ≤ 1.
[[nodiscard]] inline double mean_strong_centres(Eigen::Index n, double share) {
  if (n < 0) detail::refuse("mean_strong_centres: n is ", n, ", expected at least 0");
  if (!(share >= 0 && share <= 1))
    detail::refuse("mean_strong_centres: share is ", share, ", expected a number from 0 to 1");
  const double count = static_cast<double>(n);
  if (share == 0 || n == 0) return count;
  return share == 1 ? 1 : -std::expm1(count * std::log1p(-share)) / share;
}

/// Rényi's parking constant ∫₀^∞ exp(−2 ∫₀^t (1 − e^{−s})/s ds) dt: the share of a long street that cars of unit
/// length take which park at random until no gap has room [Ren58].
inline constexpr double parking_constant = 0.7475979202534114;

/// The mean number of Rényi centres on the circle of angles once infinitely many tokens have come: tokens farther than
/// δ from all previous *centres* [KPR24], 2π/δ times the parking constant. A centre takes an arc of length δ, as a car
/// does; with the first one the circle is a street of length 2π − δ, and the boundary terms cancel: what is left out
/// falls faster than exponentially in 2π/δ.
/// \throws std::invalid_argument unless 0 < δ ≤ π.
[[nodiscard]] inline double saturated_centres(double separation) {
  if (!(separation > 0 && separation <= std::numbers::pi))
    detail::refuse("saturated_centres: separation is ", separation,
                   ", expected a number from 0 to pi, not 0");
  return parking_constant * 2 * std::numbers::pi / separation;
}

/// The angle at which attention between two tokens of the circle pulls hardest: the maximum in (0, π) of
/// e^{β(cos u − 1)} sin u [KPR24],
///
///     cos u = (√(4β²+1) − 1)/(2β):   π/2 at β = 0, nearly β^{−1/2} for large β.
///
/// \throws std::invalid_argument unless β is finite.
[[nodiscard]] inline double interaction_range(double beta) {
  if (!std::isfinite(beta)) detail::refuse("interaction_range: beta is ", beta, ", expected a finite number");
  // 1 − cos u = 2/(2|β| + 1 + √), 1 + cos u = 1 + 2|β|/(1 + √), and tan²(u/2) is their quotient.
  const double size = 2 * std::abs(beta), root = std::hypot(1, size);
  const double range = 2 * std::atan(std::sqrt(2 / (size + 1 + root) / (1 + size / (1 + root))));
  return beta >= 0 ? range : std::numbers::pi - range;
}

}}  // namespace attnflow
