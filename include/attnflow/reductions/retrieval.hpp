/// \file
/// Which position of a prompt the last token retrieves: causal attention with ALiBi on the circle.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/bessel.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// log k_λ(s, s₀), see alibi_density.
[[nodiscard]] inline double log_alibi_density(double lambda, double s, double from) {
  if (lambda == 0) return -std::log(s);
  const double decay = lambda > 0 ? -lambda * (s - from) : lambda * from;
  return decay + std::log(std::abs(lambda) / -std::expm1(-std::abs(lambda) * s));
}

/// Y = ∫ k_λ(r, r) dr from s₀ to s = log((e^{λs} − 1)/(e^{λs₀} − 1)), log(s/s₀) for λ = 0. \pre 0 < s₀ ≤ s.
[[nodiscard]] inline double alibi_depth(double lambda, double s, double from) {
  const double gap = s - from, size = std::abs(lambda);
  if (lambda == 0) return std::log1p(gap / from);
  return (lambda > 0 ? lambda * gap : 0) + std::log1p(-std::expm1(-size * gap) / std::expm1(size * from));
}

}  // namespace detail

/// What the token at position s of a prompt, in (0, 1] with 1 for the last one, gives to the position s₀ ≤ s when
/// weights depend on positions alone, ∝ e^{−λ(s−s₀)}, as they do with ALiBi [PSL22] in the limit of many tokens
/// [DGR26]:
///
///     k_λ(s, s₀) = λ e^{−λ(s−s₀)} / (1 − e^{−λs}),   1/s for λ = 0,
///
/// a density in s₀ on (0, s). λ < 0 prefers the far end. Within a few ε (1 + |λ|), without overflow.
/// \throws std::invalid_argument unless λ and s are finite, s > 0 and 0 ≤ s₀ ≤ s.
[[nodiscard]] inline double alibi_density(double lambda, double s, double from) {
  if (!std::isfinite(lambda))
    detail::refuse("alibi_density: lambda is ", lambda, ", expected a finite number");
  if (!(s > 0) || !std::isfinite(s))
    detail::refuse("alibi_density: s is ", s, ", expected a finite number, greater than 0");
  if (!(from >= 0 && from <= s))
    detail::refuse("alibi_density: from is ", from, ", expected a number from 0 to s = ", s);
  return std::exp(detail::log_alibi_density(lambda, s, from));
}

/// How much of the token at s₀ is in the token at s after the time t, for perturbations that attention multiplies by a:
/// the solution g of [DGR26]
///
///     ∂ₜ g = a (k_λ(s, s₀) + ∫ k_λ(s, r) g(t, r) dr over [s₀, s]),   g = 0 at t = 0,
///
///     g_a(t, s; s₀) = k_λ(s, s₀) √(at/Y) I₁(2 √(atY)),   Y = log((e^{λs} − 1)/(e^{λs₀} − 1)),
///
/// with log(s/s₀) for Y if λ = 0. At s₀ = s it is a t k_λ(s, s), and it is infinite at s₀ = 0. Within some
/// ε (1 + |log g|); infinite beyond 10³⁰⁸.
/// \throws std::invalid_argument unless λ, s, a and t are finite, a ≥ 0, t ≥ 0, s > 0 and 0 ≤ s₀ ≤ s.
[[nodiscard]] inline double retrieval_gain(double a, double lambda, double t, double s, double from) {
  if (!(a >= 0) || !std::isfinite(a))
    detail::refuse("retrieval_gain: a is ", a, ", expected a finite number, at least 0");
  if (!std::isfinite(lambda))
    detail::refuse("retrieval_gain: lambda is ", lambda, ", expected a finite number");
  if (!(t >= 0) || !std::isfinite(t))
    detail::refuse("retrieval_gain: t is ", t, ", expected a finite number, at least 0");
  if (!(s > 0) || !std::isfinite(s))
    detail::refuse("retrieval_gain: s is ", s, ", expected a finite number, greater than 0");
  if (!(from >= 0 && from <= s))
    detail::refuse("retrieval_gain: from is ", from, ", expected a number from 0 to s = ", s);
  if (a == 0 || t == 0) return 0;
  if (from == 0) return std::numeric_limits<double>::infinity();
  const double z = 2 * std::sqrt(a) * std::sqrt(t) * std::sqrt(detail::alibi_depth(lambda, s, from));
  // √(at/Y) I₁(z) = at I₁(z)/(z/2), which tends to at.
  const double share = z > 1e-8 ? std::log(2 * scaled_bessel_i(1, z) / z) + z : 0;
  return std::exp(detail::log_alibi_density(lambda, s, from) + std::log(a) + std::log(t) + share);
}

/// The retrieval profile of causal attention with ALiBi on the circle [DGR26].
///
/// The model: θ̇ⱼ = −β ∑_{k<j} ωⱼₖ sin(θⱼ − θₖ) e^{β cos(θⱼ − θₖ)} with weights ωⱼₖ ∝ e^{−λ(j−k)/N} that sum to one
/// over k < j; the first token rests. The prompt is of N independent uniform angles, and the last one has to be
/// decoded to the nearest of M codewords, equally spaced. Of the soft accuracy at source position s₀ in (0, 1], the
/// mean of the periodic Gaussian ∑ₖ exp(−M² (D − 2πk)²/(2π²)) of D = θ_N(t) − θ_{s₀N}(0), what depends on s₀ is
/// √(2π)/(M N) times
///
///     S_t(s₀) = ∑_{n≥1} ω_n g_{aₙ}(t, 1; s₀),   aₙ = n² Iₙ(β),   ω_n = e^{−π²n²/(2M²)},
///
/// with g of retrieval_gain, to the first order in 1/N. The sum is cut where aₙ is below rounding.
///
/// Theorem: if λ > 0 and t ≤ certified_time() the profile is U-shaped: infinite as s₀ → 0 (primacy), rising at s₀ = 1
/// (recency), with one minimum between. The slope at s₀ = 1 is positive exactly for t < critical_time().
class RetrievalProfile {
 public:
  /// \param codewords  M.
  /// \throws std::invalid_argument unless 0 ≤ β ≤ 700, λ is finite and M ≥ 1.
  RetrievalProfile(double beta, double lambda, int codewords) : lambda_(lambda) {
    if (!(beta >= 0 && beta <= 700))
      detail::refuse("RetrievalProfile: beta is ", beta, ", expected a number from 0 to 700");
    if (!std::isfinite(lambda))
      detail::refuse("RetrievalProfile: lambda is ", lambda, ", expected a finite number");
    if (codewords < 1) detail::refuse("RetrievalProfile: codewords is ", codewords, ", expected at least 1");
    // Beyond 9 √β + 10 Iₙ(β) is below 2⁻⁵³ I₀(β).
    const int count = static_cast<int>(9 * std::sqrt(beta)) + 10;
    const std::vector<double> series = scaled_bessel_series(count + 1, beta);
    for (int n = 1; n <= count; ++n) {
      const double square = static_cast<double>(n) * n, ratio = std::numbers::pi / codewords;
      rates_.push_back(square * series[static_cast<std::size_t>(n)] * std::exp(beta));
      weights_.push_back(std::exp(-square * ratio * ratio / 2));
    }
  }

  /// S_t(s₀). \throws std::invalid_argument unless t ≥ 0 is finite and 0 ≤ s₀ ≤ 1.
  [[nodiscard]] double operator()(double t, double from) const {
    if (!(t >= 0) || !std::isfinite(t))
      detail::refuse("RetrievalProfile: t is ", t, ", expected a finite number, at least 0");
    if (!(from >= 0 && from <= 1))
      detail::refuse("RetrievalProfile: from is ", from, ", expected a number from 0 to 1");
    double sum = 0;
    for (std::size_t n = 0; n < rates_.size(); ++n)
      sum += weights_[n] * retrieval_gain(rates_[n], lambda_, t, 1, from);
    return sum;
  }

  /// The time until which the profile rises towards s₀ = 1: 2 (1 − e^{−λ}) ∑ ω_n aₙ / ∑ ω_n aₙ², at least 0; infinite
  /// for β = 0. Proof: near s₀ = 1, g = k_λ(1, s₀)(at + a²t²Y/2 + …), k grows at the rate λ there and Y falls
  /// at λ/(1 − e^{−λ}).
  [[nodiscard]] double critical_time() const {
    double first = 0, second = 0;
    for (std::size_t n = 0; n < rates_.size(); ++n) {
      first += weights_[n] * rates_[n];
      second += weights_[n] * rates_[n] * rates_[n];
    }
    if (second == 0) return std::numeric_limits<double>::infinity();
    return 2 * (std::max)(0., -std::expm1(-lambda_)) * (first / second);
  }

  /// The time until which the theorem makes the profile U-shaped: min{3 − √3, 2 (1 − e^{−λ})} / supₙ aₙ, at least 0.
  [[nodiscard]] double certified_time() const {
    const double bound = (std::min)(3 - std::numbers::sqrt3, -2 * std::expm1(-lambda_));
    return (std::max)(0., bound) / *std::max_element(rates_.begin(), rates_.end());
  }

  /// aₙ for n = 1, 2, ….
  [[nodiscard]] const std::vector<double>& rates() const noexcept { return rates_; }
  /// ω_n for n = 1, 2, ….
  [[nodiscard]] const std::vector<double>& weights() const noexcept { return weights_; }

 private:
  double lambda_;
  std::vector<double> rates_, weights_;
};

}}  // namespace attnflow
