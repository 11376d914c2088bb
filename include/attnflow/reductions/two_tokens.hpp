/// \file
/// How long two tokens, or two clusters, take to merge on the sphere.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/reductions/equiangular.hpp>

#include <algorithm>
#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The time in which the inner product of two tokens on the sphere grows from `from` to `to` under SphereDynamics
/// with Q = K = V = I. They move along the great circle through both [GLPR25]:
///
///     T = ∫ (e^{β(1−ρ)} + 1) / (2 (1 − ρ²)) dρ for Softmax,   ∫ e^{−βρ} / (1 − ρ²) dρ for Unnormalized
///
/// (times e^β with less_one). It is equiangular_time for n = 2, with its error and its limits: infinite from −1 and
/// to 1, negative if to < from. For large β it is nearly e^{β(1−from)} / (2β (1 − from²)) under Softmax: two tokens
/// that are apart rest for a time exponential in β.
/// \throws std::invalid_argument unless both lie in [−1, 1] and the law is valid.
template <detail::PositiveLaw Law>
[[nodiscard]] double two_token_time(const Law& law, double from, double to) {
  return equiangular_time(law, 2, from, to);
}

/// The same for two clusters, a and b, that hold the fractions p and 1 − p of all tokens, each in one point
/// [GKPR24]:
///
///     ρ̇ = (w_a + w_b)(1 − ρ²),   w_a = (1−p) e^{βρ} / (p e^β + (1−p) e^{βρ}),
///                                w_b = p e^{βρ} / ((1−p) e^β + p e^{βρ})
///
/// for Softmax: w_a is what a token of a gives to b. For Unnormalized w_a + w_b = e^{βρ}, whatever p. With further
/// clusters far away it is the time in which the closest pair merges. By quadrature in u = log((1+ρ)/(1−ρ)), where
/// u̇ = 2 (w_a + w_b), as exact as equiangular_time.
/// \param share  p.
/// \throws std::invalid_argument unless 0 < p < 1, `from` and `to` lie in [−1, 1] and the law is valid.
template <detail::ExponentialLaw Law>
[[nodiscard]] double two_cluster_time(const Law& law, double share, double from, double to) {
  const detail::EquiangularFlow<Law> pair("two_cluster_time", law, 2);
  if (!(share > 0 && share < 1))
    detail::refuse("two_cluster_time: share is ", share, ", expected a number between 0 and 1");
  pair.validate("two_cluster_time", "from", from);
  pair.validate("two_cluster_time", "to", to);
  if (from == to) return 0;
  const double beta = law.beta;
  const auto log_slowness = [&](double u) {
    const double rho = pair.correlation(u), top = (std::max)(beta, beta * rho);
    // log w of a token of a cluster with the fraction `own`: the fractions are weights, and n is 1.
    const auto log_weight = [&](double own) {
      const double sum = top + std::log(own * std::exp(beta - top) + (1 - own) * std::exp(beta * rho - top));
      return detail::log_row_factor(law, sum, 1) + std::log(1 - own) + beta * rho - sum;
    };
    const double a = log_weight(share), b = log_weight(1 - share), larger = (std::max)(a, b);
    return -larger - std::log(2 * (1 + std::exp((std::min)(a, b) - larger)));
  };
  return detail::integrate_slowness(log_slowness, pair.coordinate(from), pair.coordinate(to), beta);
}

}}  // namespace attnflow
