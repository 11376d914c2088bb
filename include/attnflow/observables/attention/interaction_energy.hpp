/// \file
/// The interaction energy, its rate along solutions, and the covariance of tokens that collapse.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/attention/energy_scores.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// An energy, and its logarithm, which is in range where the energy is not.
struct InteractionEnergy {
  double value = 0;  ///< 𝓛; ∞ beyond 10³⁰⁸, 0 below 10⁻³²³
  double log = -std::numeric_limits<double>::infinity();  ///< log 𝓛; −∞ without tokens
};

/// How fast an energy changes.
struct EnergyRate {
  double value = 0;        ///< d𝓛/dt; ±∞ beyond 10³⁰⁸
  double logarithmic = 0;  ///< d log 𝓛/dt
};

/// The interaction energy of tokens, for V = −I a Lyapunov function [GLPR23, §8]:
///
///     𝓛(x) = ∑ᵢ Zᵢ,   Zᵢ = ∑ⱼ e^{⟨Q xᵢ, K xⱼ⟩}.
///
/// For M = QᵀK positive semidefinite 𝓛 ≥ n², with equality where all tokens are 0 (if M is definite, only
/// there): by Jensen's inequality log(𝓛/n²) ≥ ⟨m, M m⟩ with the mean m, and so ≥ 0.
///
/// x: d × n; from the log-normalisers log Zᵢ of the operator, so that `log` is exact to a few ε (n + |log 𝓛|) whatever the
/// scores, and `value` to that relative error. O(n² d_k + n d d_k) time, O(n d_k) memory.
/// \throws std::invalid_argument if the head is wrong, x has not d rows or is not finite, or log Zᵢ overflows.
template <class Scalar, int Dim, class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] InteractionEnergy interaction_energy(const Head<Scalar, Dim>& head,
                                                   const Eigen::MatrixBase<Derived>& x) {
  const detail::EnergyRows rows("interaction_energy", head,
                                detail::energy_tokens("interaction_energy", head, x));
  return {rows.sum(), rows.log_sum};
}

/// The rate of the interaction energy along ẋᵢ = ∑ⱼ Pᵢⱼ V xⱼ, for any head:
///
///     d𝓛/dt = ∑ᵢⱼ e^{⟨Q xᵢ, K xⱼ⟩} (⟨Q ẋᵢ, K xⱼ⟩ + ⟨Q xᵢ, K ẋⱼ⟩).
///
/// For V = −I and M = QᵀK = I it is −2 ∑ᵢ Zᵢ ‖ẋᵢ‖² ≤ 0 [GLPR23, §8], and for any symmetric M it is
/// 2 ∑ᵢ Zᵢ ⟨ẋᵢ, M mᵢ⟩ with mᵢ = ∑ⱼ Pᵢⱼ xⱼ, ẋᵢ = V mᵢ: so 𝓛 decreases for V = −I and M positive semidefinite, and
/// increases for V = I. Without symmetry of M it need not be monotone.
///
/// Both sums over j are attention: the second is Zᵢ (⟨Q ẋᵢ, ∑ⱼ Pᵢⱼ K xⱼ⟩ + ⟨Q xᵢ, ∑ⱼ Pᵢⱼ K ẋⱼ⟩). `logarithmic` does not
/// overflow with 𝓛. Cost as interaction_energy, twice. Without tokens both rates are 0.
/// \throws std::invalid_argument as interaction_energy does, and if the logarithmic rate overflows.
template <class Scalar, int Dim, class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] EnergyRate energy_rate(const Head<Scalar, Dim>& head, const Eigen::MatrixBase<Derived>& x) {
  const Eigen::MatrixXd tokens = detail::energy_tokens("energy_rate", head, x);
  if (x.cols() == 0) return {};
  const Head<double> wide{head.Q.template cast<double>(), head.K.template cast<double>(),
                          head.V.template cast<double>(), head.O.template cast<double>()};
  const Eigen::MatrixXd velocity = attend(wide, tokens);
  double rate = 0;
  const detail::EnergyRows rows("energy_rate", head, tokens, 1, &velocity, &rate);
  if (!std::isfinite(rate))
    detail::refuse("energy_rate: the rate of log energy is ", rate, ", expected a finite number");
  return {detail::scaled_by_exponential(rate, rows.log_sum), rate};
}

/// The covariance of tokens with mean m,
///
///     C = (1/n) ∑ᵢ (xᵢ − m)(xᵢ − m)ᵀ,   d × d, positive semidefinite.
///
/// Deviations are taken from the first token before their mean is subtracted, so tokens far from the origin
/// lose no digits. One token: zero. O(n d²) time.
/// \throws std::invalid_argument unless there is a token, every token is finite and so is C.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::MatrixXd covariance(const Eigen::MatrixBase<Derived>& x) {
  if (x.cols() == 0) detail::refuse("covariance: x has no tokens, expected at least one");
  detail::refuse_unless_finite("covariance", "x", x);
  const Eigen::Index d = x.rows(), n = x.cols();
  Eigen::MatrixXd deviation = x.template cast<double>();
  const Eigen::VectorXd first = deviation.col(0);
  deviation.colwise() -= first;
  const Eigen::VectorXd mean = (deviation / static_cast<double>(n)).rowwise().sum();
  deviation.colwise() -= mean;
  Eigen::MatrixXd C(d, d);
  for (Eigen::Index k = 0; k < d; ++k)
    for (Eigen::Index l = 0; l <= k; ++l) {
      double sum = 0;
      for (Eigen::Index i = 0; i < n; ++i)
        sum += deviation(k, i) * (deviation(l, i) / static_cast<double>(n));
      if (!std::isfinite(sum))
        detail::refuse("covariance: entry (", k, ", ", l, ") is ", sum, ", expected tokens within 10^154");
      C(k, l) = C(l, k) = sum;
    }
  return C;
}

/// t C(x(t)), which shows how tokens collapse for V = −I, Q = K = I: near 0 the covariance obeys Ċ ≈ −2 C², so
/// that C⁻¹ ≈ C(0)⁻¹ + 2t on the span of the deviations and
///
///     t C → ½ · (the orthogonal projector on the span of the deviations xᵢ − m),   t tr C → min(d, n − 1)/2
///
/// for tokens in general position. The collapse is thus algebraic, ‖xᵢ‖ ~ t^{−1/2}, while the mean vanishes like
/// e^{−t}. (For M = QᵀK symmetric positive definite t M C tends to half a projector.) Slow for directions of
/// small initial spread: 2t has to be large against 1/λ_min(C(0)).
/// \throws std::invalid_argument as covariance does, unless t is finite and not negative, and if t C overflows.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::MatrixXd covariance_decay(double t, const Eigen::MatrixBase<Derived>& x) {
  if (!(t >= 0) || !std::isfinite(t))
    detail::refuse("covariance_decay: t is ", t, ", expected a finite number, at least 0");
  Eigen::MatrixXd C = covariance(x);
  C *= t;
  if (!C.allFinite())
    detail::refuse("covariance_decay: t C overflows at t = ", t, ", expected smaller tokens");
  return C;
}

}}  // namespace attnflow
