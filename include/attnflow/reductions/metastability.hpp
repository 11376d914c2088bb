/// \file
/// How long clusters on the sphere are certain to last, and when they have contracted.
#pragma once

#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What the theorem of dynamic metastability says of n tokens in caps, see metastability_bounds.
struct MetastabilityBounds {
  double gamma = 0;     ///< γ; the theorem applies if it is positive
  double rate = 0;      ///< any λ in (0, rate) will do; 0 if there is none
  double lasts = 0;     ///< T₂: no token leaves its cap S_q(2ε) before
  double shortest = 0;  ///< 2n e^{8εβ}, the part of T₁ that does not depend on λ
  double per_rate = 0;  ///< e n β²/(β − 1), by which T₁ grows with λ

  /// Whether γ > 0 and there is a λ.
  [[nodiscard]] bool applies() const noexcept { return gamma > 0 && rate > 0; }
  /// T₁ ≤ this: from then on ‖xᵢ − xⱼ‖² ≤ 2 e^{−λβ} inside each cap. Less than T₂ for λ < rate.
  [[nodiscard]] double contracted(double lambda) const noexcept { return shortest + per_rate * lambda; }
};

/// The theorem of dynamic metastability [GKPR24, §2]: Q = K = V = I, Softmax or Unnormalized with less_one, n tokens
/// each of which starts in one of the caps S_q(ε) = {⟨x, w_q⟩ ≥ 1 − ε}; α = cap_overlap(w, ε) is the largest inner
/// product of points of different caps S(2ε). If
///
///     γ = 1 − α − 8ε − (1/β) log(2n²/ε) > 0,
///     0 < λ < min( e^{(1−α)β} (1 − e^{−γβ}) (β−1) ε / (e β² n²),  1 − α − 8ε − (1/β) log(2n²/(1 − 8ε)) ),
///
/// then up to T₂ = (ε/n) e^{(1−α)β} tokens of S_q(ε) stay in S_q(2ε), and from T₁ ≤ 2n e^{8εβ} + e n λ β²/(β−1) on up
/// to T₂ those of each cap are within ‖xᵢ − xⱼ‖² ≤ 2 e^{−λβ}.
///
/// The first bound on λ says T₁ < T₂; in it the paper prints ε(β−1)/(eβ²n²) inverted, by a sign before its logarithm,
/// which would not. Times are bounds, far from sharp: the distances within caps shrink sooner, and clusters last
/// longer.
///
/// ∞ where a time is beyond 10³⁰⁸.
/// \throws std::invalid_argument unless n ≥ 1, β > 1 finite, 0 < ε < 1/16 and −1 ≤ α ≤ 1.
[[nodiscard]] inline MetastabilityBounds metastability_bounds(Eigen::Index n, double beta, double epsilon,
                                                              double alpha) {
  if (n < 1) detail::refuse("metastability_bounds: n is ", n, ", expected at least 1");
  if (!(beta > 1) || !std::isfinite(beta))
    detail::refuse("metastability_bounds: beta is ", beta, ", expected a finite number above 1");
  if (!(epsilon > 0 && epsilon < 0.0625))
    detail::refuse("metastability_bounds: epsilon is ", epsilon, ", expected a number between 0 and 1/16");
  if (!(alpha >= -1 && alpha <= 1))
    detail::refuse("metastability_bounds: alpha is ", alpha, ", expected a number from -1 to 1");
  const auto tokens = static_cast<double>(n);
  const double log_pairs = std::log(2.) + 2 * std::log(tokens), exponent = (1 - alpha) * beta;
  MetastabilityBounds found;
  found.gamma = 1 - alpha - 8 * epsilon - (log_pairs - std::log(epsilon)) / beta;
  found.lasts = std::exp(exponent + std::log(epsilon) - std::log(tokens));
  found.shortest = 2 * tokens * std::exp(8 * epsilon * beta);
  found.per_rate = std::numbers::e * tokens * beta * (beta / (beta - 1));
  if (!(found.gamma > 0)) return found;
  // (T₂ − 2n e^{8εβ}) / (e n β²/(β−1)), in one exponential: its factors are out of range sooner than it is.
  const double ordered =
      std::exp(exponent + std::log(epsilon) - std::log(tokens) - std::log(found.per_rate)) *
      -std::expm1(-found.gamma * beta);
  const double contracting = 1 - alpha - 8 * epsilon - (log_pairs - std::log1p(-8 * epsilon)) / beta;
  found.rate = (std::max)(0., (std::min)(ordered, contracting));
  return found;
}

}}  // namespace attnflow
