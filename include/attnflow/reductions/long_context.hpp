/// \file
/// One attention layer on a long context: the temperature at which tokens neither collapse nor stay apart.
#pragma once

#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>

#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The cosine between the outputs yᵢ = ∑ⱼ wᵢⱼ xⱼ of two among n unit tokens with ⟨xᵢ, xⱼ⟩ = ρ for all i ≠ j, where
/// wᵢⱼ ∝ e^{β⟨xᵢ, xⱼ⟩} [CLPR26]. With t = e^{β(1−ρ)} − 1 and s = 1 + (n−1) ρ,
///
///     1 − cos = (1−ρ) t² / (t² + 2ts + ns),
///
/// as yᵢ is a multiple of t xᵢ + ∑ⱼ xⱼ. Within some ε (1 + |β|), with no overflow for any β and n.
/// \throws std::invalid_argument unless n ≥ 2, −1/(n−1) ≤ ρ ≤ 1 and β is finite; if the outputs vanish (β = 0 on a
/// regular simplex).
[[nodiscard]] inline double attention_layer_cosine(Eigen::Index n, double beta, double rho) {
  if (n < 2) detail::refuse("attention_layer_cosine: n is ", n, ", expected at least 2");
  const double count = static_cast<double>(n), s = 1 + (count - 1) * rho;
  if (!(rho <= 1 && s >= -std::numeric_limits<double>::epsilon()))
    detail::refuse("attention_layer_cosine: rho is ", rho, ", expected a number from ", -1 / (count - 1),
                   " = -1/(n-1) to 1");
  if (!std::isfinite(beta))
    detail::refuse("attention_layer_cosine: beta is ", beta, ", expected a finite number");
  const double t = std::expm1(beta * (1 - rho)), sum = s > 0 ? s : 0;
  if (std::abs(t) > 1) return 1 - (1 - rho) / (1 + sum / t * (2 + count / t));
  const double square = t * t + sum * (2 * t + count);
  if (square == 0)
    detail::refuse(
        "attention_layer_cosine: the outputs vanish, expected beta other than 0 on a regular simplex");
  return 1 - (1 - rho) * (t * t / square);
}

/// The γ at which attention with β = γ log n is critical for tokens with inner products ρ: 1/(1−ρ) for 0 < ρ < 1; ½ for
/// orthogonal tokens; infinite for equal ones.
/// \throws std::invalid_argument unless 0 ≤ ρ ≤ 1.
[[nodiscard]] inline double critical_attention_scale(double rho) {
  if (!(rho >= 0 && rho <= 1))
    detail::refuse("critical_attention_scale: rho is ", rho, ", expected a number from 0 to 1");
  return rho == 0 ? 0.5 : 1 / (1 - rho);
}

/// The limit of attention_layer_cosine(n, γ log n, ρ) as n → ∞ [CLPR26]:
///
///     1 for γ < 1/(1−ρ): all tokens collapse;   4ρ/(1+3ρ) for γ = 1/(1−ρ);   ρ for larger γ: nothing happens.
///
/// For ρ = 0 it is 1, ½ and 0 for γ below, at and above ½: with t² = n then, 1 − cos = t²/(t² + 2t + n) → ½. Numbers
/// within 4 ε of the critical γ are taken for it.
/// \throws std::invalid_argument unless γ is finite and 0 ≤ ρ ≤ 1.
[[nodiscard]] inline double long_context_cosine(double gamma, double rho) {
  if (!std::isfinite(gamma))
    detail::refuse("long_context_cosine: gamma is ", gamma, ", expected a finite number");
  if (!(rho >= 0 && rho <= 1))
    detail::refuse("long_context_cosine: rho is ", rho, ", expected a number from 0 to 1");
  const double critical = critical_attention_scale(rho);
  if (std::abs(gamma - critical) <= 4 * std::numeric_limits<double>::epsilon() * critical)
    return rho == 0 ? 0.5 : 4 * rho / (1 + 3 * rho);
  return gamma < critical ? 1 : rho;
}

}}  // namespace attnflow
