/// \file
/// The uniform law on the sphere under attention: how fast each harmonic of a perturbation grows, and how many
/// clusters come first.
#pragma once

#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/bessel.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// Z = ∫ e^{β⟨x, y⟩} dσ(y) of the uniform law σ, as it is and times e^{−|β|}.
struct UniformNormalizer {
  double plain, scaled;
};

/// Z = Γ(ν+1) (2/x)^ν I_ν(x) = ∑ₖ (x²/4)ᵏ / (k! (ν+1)(ν+2)…(ν+k)) for x ≥ 0, ν = (d−2)/2 ≥ 0.
///
/// By Debye's expansion log Z is √(ν²+x²) − ν − ν log((1 + √(1+(x/ν)²))/2) up to a few units and log x. The sum has
/// some log Z terms; it is used for log Z ≤ 720. Beyond, Z is infinite, and e^{−x} Z is positive for ν < 1000 alone.
[[nodiscard]] inline UniformNormalizer normalizer_of_order(double nu, double x) {
  if (x == 0) return {1, 1};
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const double length = std::hypot(nu, x);
  const double less_x = nu * (nu / (length + x)) - nu - (nu > 0 ? nu * std::log((1 + length / nu) / 2) : 0);
  if (less_x + x <= 720) {
    const DoubleDouble square = exact_product(x / 2, x / 2);
    DoubleDouble sum{0x1p-100, 0}, term = sum;  // Z 2⁻¹⁰⁰
    for (double k = 1; term.high > 1e-19 * sum.high; ++k) {
      term = term * square / (exact_sum(nu, k) * DoubleDouble{k, 0});
      sum = sum + term;
    }
    const double decay = std::exp(-x / 4);  // whose square may be subnormal
    return {sum.high * 0x1p100, sum.high * decay * decay * 0x1p100 * decay * decay};
  }
  if (less_x < -800) return {infinity, 0};
  const double whole = std::floor(nu), part = nu - whole;
  DoubleDouble product{std::tgamma(1 + part) * std::pow(2 / x, part) / std::sqrt(2 * std::numbers::pi * x),
                       0};
  for (double k = 1; k <= whole; ++k)
    product = product * DoubleDouble{2 * (part + k), 0} / DoubleDouble{x, 0};
  const double series =
      in_hankel_range(nu, x)
          ? hankel_sum(nu, x)
          : ratios_from_above(part, static_cast<int>(whole) + 1, x).back() * hankel_sum(part, x);
  return {infinity, product.high * series};
}

/// ν = (d−2)/2 of the sphere in R^d.
[[nodiscard]] inline double bessel_order(const char* function, Eigen::Index d) {
  if (d < 2) refuse(function, ": d is ", d, ", expected at least 2");
  return (static_cast<double>(d) - 2) / 2;
}

/// What the weights of a point add up to in the uniform law, for a law that is known to depend on β alone.
[[nodiscard]] inline double uniform_row_sum(const Softmax& /*law*/, double /*nu*/) { return 1; }
[[nodiscard]] inline double uniform_row_sum(const Unnormalized& law, double nu) {
  const UniformNormalizer Z = normalizer_of_order(nu, std::abs(law.beta));
  if (!law.less_one) return Z.plain;
  return law.beta >= 0 ? Z.scaled : Z.plain * std::exp(-law.beta);
}

}  // namespace detail

/// Softmax or Unnormalized: laws whose linearisation at the uniform law is known.
template <class Law>
concept UniformStateLaw = requires(const Law& law) {
  { law.beta } -> std::convertible_to<double>;
  detail::validate_law(law);
  { detail::uniform_row_sum(law, 0.) } -> std::same_as<double>;
};

/// Z = ∫ e^{β⟨x, y⟩} dσ(y), σ uniform on the unit sphere of R^d,
///
///     Z = Γ(ν+1) (2/β)^ν I_ν(β),   ν = (d−2)/2:   I₀(β) on the circle, sinh(β)/β on the sphere in R³.
///
/// For β > 0, Z/(2β) is the interaction energy of the uniform law, the least of all laws. Relative error: some ε for
/// |β| ≤ 700, then ε |β|; infinite beyond 10³⁰⁸.
/// \throws std::invalid_argument unless d ≥ 2 and β is finite.
[[nodiscard]] inline double uniform_normalizer(Eigen::Index d, double beta) {
  const double nu = detail::bessel_order("uniform_normalizer", d);
  if (!std::isfinite(beta))
    detail::refuse("uniform_normalizer: beta is ", beta, ", expected a finite number");
  return detail::normalizer_of_order(nu, std::abs(beta)).plain;
}

/// The rates λ₀ … λ_{count−1} at which the harmonics of degree l grow in a small perturbation of the uniform law under
/// SphereDynamics with Q = K = V = I, for many tokens. With ν = (d−2)/2 [BPA24 for the circle],
///
///     λ_l = Z l (l+d−2)/β · I_{ν+l}(β)/I_ν(β),   Z = 1 for Softmax, ∫ e^{β⟨x, y⟩} dσ(y) for Unnormalized:
///
/// k² I_k(β)/(β I₀(β)) and k² I_k(β)/β for mode k of the circle. Proof: the field is ∇ log ∫ e^{β⟨x, y⟩} dμ(y) / β for
/// Softmax, without the logarithm for Unnormalized; by the formula of Funk and Hecke e^{β⟨x, y⟩} has the eigenvalue
/// Γ(ν+1) (2/β)^ν I_{ν+l}(β) on degree l, and −Δ has l (l+d−2).
///
/// For β < 0 even degrees decay; at β = 0 all but λ₁ = (d−1)/d vanish. With V = −I all signs turn. Relative error: some
/// ε, and ε |β| for Unnormalized with |β| > 700 unless less_one. O(count + √|β|).
/// \throws std::invalid_argument unless d ≥ 2, count ≥ 0, the law is valid and |β| ≤ 2⁴⁰ or count small.
template <UniformStateLaw Law>
[[nodiscard]] std::vector<double> uniform_growth_rates(const Law& law, Eigen::Index d, int count) {
  const double nu = detail::bessel_order("uniform_growth_rates", d), n = static_cast<double>(d);
  detail::validate_law(law);
  if (count < 0) detail::refuse("uniform_growth_rates: count is ", count, ", expected at least 0");
  const double beta = law.beta, sum = detail::uniform_row_sum(law, nu);
  std::vector<double> rates = bessel_ratios(nu, count, beta);
  for (std::size_t k = 0; k < rates.size(); ++k) {
    const double l = static_cast<double>(k);
    // I_{ν+1}(β) / (β I_ν(β)) tends to 1/d
    const double share = beta != 0 ? rates[k] / beta : k == 1 ? 1 / n : 0;
    rates[k] = k == 0 || share == 0 ? 0 : l * (l + n - 2) * share * sum;
  }
  return rates;
}

/// The degree l ≥ 1 that grows fastest at the uniform law of the unit sphere in R^d, the least of them if there are
/// several: for Softmax and Unnormalized alike. On the circle it is the number of clusters that a large uniform sample
/// forms first [BPA24]: 3, 4, 6 and 10 for β = 5, 7, 20 and 50, about √(2β) for large β. O(√(|β|/d)) but for constants.
/// \throws std::invalid_argument unless d ≥ 2 and |β| ≤ 2⁴⁰.
[[nodiscard]] inline int fastest_degree(Eigen::Index d, double beta) {
  const double nu = detail::bessel_order("fastest_degree", d), n = static_cast<double>(d);
  if (!(std::abs(beta) <= 0x1p40))
    detail::refuse("fastest_degree: beta is ", beta, ", expected at most 2^40 in modulus");
  // l (l+d−2) I_{ν+l} is log-concave in l: its maximum is where it falls for the first time. For β < 0 among odd l.
  const int stride = beta < 0 ? 2 : 1;
  for (int count = 16;; count *= 2) {
    const std::vector<double> ratios = bessel_ratios(nu, count, std::abs(beta));
    const auto rate = [&](int l) { return l * (l + n - 2) * ratios[static_cast<std::size_t>(l)]; };
    for (int l = 1; l + stride < count; l += stride)
      if (rate(l + stride) <= rate(l)) return l;
  }
}

/// The threshold κ_c of independent noise: under ẋ = drift + √(2/κ) Ẇ, W a Brownian motion of the sphere, degree l grows
/// at the rate λ_l − l (l+d−2)/κ, and the uniform law loses its stability to degree 1 at [Rig25]
///
///     κ_c = (d−1)/λ₁:   β/I₁(β) on the circle for Unnormalized, d for β = 0.
///
/// \throws std::invalid_argument as uniform_growth_rates does.
template <UniformStateLaw Law>
[[nodiscard]] double noise_threshold(const Law& law, Eigen::Index d) {
  return (static_cast<double>(d) - 1) / uniform_growth_rates(law, d, 2)[1];
}

}}  // namespace attnflow
