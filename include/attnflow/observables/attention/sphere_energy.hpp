/// \file
/// The energy of attention on the sphere: at any β, normalised to (0, 1], and against its dissipation.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/attention/energy_scores.hpp>
#include <attnflow/observables/attention/interaction_energy.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstddef>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The interaction energy of tokens on the sphere [GLPR25, §3],
///
///     E(x) = (1 / (2 β n²)) ∑ᵢⱼ e^{β ⟨Q xᵢ, K xⱼ⟩},
///
/// at β = 0 what is left of it without the constant 1/(2β): ⟨m, M m⟩/2 with the mean m and M = QᵀK. For Q = K = I and
/// unit tokens it is largest, e^β/(2β) for β > 0, where all are one. SphereDynamics with V = M symmetric lets it
/// grow, see energy_balance, and V = −M fall.
///
/// x: d × n. ±∞ beyond 10³⁰⁸ (normalized_energy stays in range), 0 without tokens. Accuracy as interaction_energy.
/// O(n² d_k + n d d_k) time, O(n d_k) memory.
/// \throws std::invalid_argument if the head is wrong, β is not finite, x has not d rows or is not finite, or a
/// log-normaliser overflows, at β = 0 ⟨m, M m⟩.
template <class Scalar, int Dim, class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] double sphere_energy(const Head<Scalar, Dim>& head, double beta,
                                   const Eigen::MatrixBase<Derived>& x) {
  const Eigen::MatrixXd tokens = detail::energy_tokens("sphere_energy", head, x);
  if (!std::isfinite(beta)) detail::refuse("sphere_energy: beta is ", beta, ", expected a finite number");
  const auto n = static_cast<double>(x.cols());
  if (x.cols() == 0) return 0;
  if (beta != 0)
    return std::exp(detail::EnergyRows("sphere_energy", head, tokens, beta).log_sum - 2 * std::log(n)) /
           (2 * beta);
  const Eigen::VectorXd query = detail::applied(head.Q, tokens).rowwise().sum() / n,
                        key = detail::applied(head.K, tokens).rowwise().sum() / n;
  const double product = query.dot(key);
  if (!std::isfinite(product))
    detail::refuse("sphere_energy: the product of the means of Q x and K x is ", product,
                   ", expected a finite number");
  return product / 2;
}

/// The energy on the sphere for Q = K = I relative to that of one cluster [GKPR24],
///
///     Ê(x) = (1/n²) ∑ᵢⱼ e^{β(⟨xᵢ, xⱼ⟩ − 1)} = (1/n²) ∑ᵢⱼ e^{−β ‖xᵢ − xⱼ‖²/2},
///
/// which is 2β e^{−β} E. For β ≥ 0 it lies in (0, 1] and is 1 where all tokens are one; clusters with the shares m_q of
/// the tokens, far apart in units of β^{−1/2}, have ∑ m_q² (plateau_energy), n separate tokens 1/n.
///
/// From chords, so that exponents keep their digits where tokens nearly agree: the relative error is 10 n ε for unit
/// tokens at any β ≥ 0. For β < 0 at most e^{2|β|}, ∞ beyond 10³⁰⁸. x: d × n, unit columns. 1 without tokens. O(n² d).
/// \throws std::invalid_argument unless β and all tokens are finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] double normalized_energy(const Eigen::MatrixBase<Derived>& x, double beta) {
  if (!std::isfinite(beta)) detail::refuse("normalized_energy: beta is ", beta, ", expected a finite number");
  detail::refuse_unless_finite("normalized_energy", "x", x);
  if (beta == 0 || x.cols() < 2) return 1;
  const Eigen::MatrixXd tokens = x.template cast<double>();
  const auto n = static_cast<double>(x.cols());
  double pairs = 0;
  for (Eigen::Index i = 1; i < x.cols(); ++i) {
    double row = 0;
    for (Eigen::Index j = 0; j < i; ++j) {
      double squares = 0;
      for (Eigen::Index k = 0; k < x.rows(); ++k) {
        const double difference = tokens(k, i) - tokens(k, j);
        squares += difference * difference;
      }
      row += std::exp(squares / -2 * beta);
    }
    pairs += row;
  }
  return (1 + 2 * (pairs / n)) / n;
}

/// How fast the energy changes, and what the equation of the sphere says of it.
struct EnergyBalance {
  EnergyRate rate;         ///< from its definition and the velocities
  EnergyRate dissipation;  ///< the squares of the velocities, weighted
};

/// dE/dt along given velocities, in two ways: from the definition of E (sphere_energy),
///
///     dE/dt = (1/(2n²)) ∑ᵢⱼ e^{β ⟨Q xᵢ, K xⱼ⟩} (⟨Q ẋᵢ, K xⱼ⟩ + ⟨Q xᵢ, K ẋⱼ⟩),
///
/// and as what SphereDynamics with V = QᵀK symmetric dissipates [GLPR25, §3],
///
///     (1/n) ∑ᵢ gᵢ ‖ẋᵢ‖²,   gᵢ = (1/n) ∑ⱼ e^{β ⟨Q xᵢ, K xⱼ⟩} for Softmax, 1 for Unnormalized:
///
/// in general wᵢⱼ gᵢ = e^{β⟨Q xᵢ, K xⱼ⟩}/n for the weights wᵢⱼ of the law. The two agree up to what rounding does to
/// the velocities, some (n + β) ε (1/n) ∑ᵢ Zᵢ ‖V‖ ‖ẋᵢ‖ with Zᵢ the gᵢ of Softmax (ε of the Scalar that they were
/// computed in); for V = −QᵀK they differ by their sign. Along any other velocities, those of another V or with a
/// mask, the first is still the rate and the second has no meaning.
///
/// Also as d log ∑ᵢⱼ e^{β⟨Q xᵢ, K xⱼ⟩}/dt, which stays in range where E does not and vanishes for β = 0; times
/// normalized_energy it is dÊ/dt. law: with its β. head: Q, K, V. x, velocity: d × n. Cost as sphere_energy, twice.
/// \throws std::invalid_argument as sphere_energy does, unless the law is valid, the velocities are finite and have the
/// shape of x, and where a rate overflows.
template <class Law, class Scalar, int Dim, class Derived, class Velocity>
requires WeightLaw<Law> &&(Law::function == WeightFunction::exponential) &&
    KernelScalar<typename Derived::Scalar>&& KernelScalar<
        typename Velocity::Scalar> [[nodiscard]] EnergyBalance
    energy_balance(const Law& law, const Head<Scalar, Dim>& head, const Eigen::MatrixBase<Derived>& x,
                   const Eigen::MatrixBase<Velocity>& velocity) {
  detail::validate_law(law);
  const auto beta = static_cast<double>(law.beta);
  const Eigen::MatrixXd tokens = detail::energy_tokens("energy_balance", head, x);
  if (velocity.rows() != x.rows() || velocity.cols() != x.cols())
    detail::refuse("energy_balance: velocity is ", velocity.rows(), " x ", velocity.cols(), ", expected ",
                   x.rows(), " x ", x.cols(), ", as x is");
  detail::refuse_unless_finite("energy_balance", "velocity", velocity, "column");
  const Eigen::Index n = x.cols();
  if (n == 0) return {};
  const Eigen::MatrixXd v = velocity.template cast<double>();
  double rate = 0, dissipation = 0;
  const detail::EnergyRows rows("energy_balance", head, tokens, beta, &v, &rate);
  rate /= 2;
  const double log_sum = rows.log_sum, log_mean = log_sum - 2 * std::log(static_cast<double>(n));
  for (Eigen::Index i = 0; i < n; ++i) {
    const double log_row = rows.rows.log_normalizer[static_cast<std::size_t>(i)],
                 speed = v.col(i).stableNorm();
    const double factor = std::exp((log_row - detail::log_row_factor(law, log_row, n) - log_sum) / 2) * speed;
    dissipation += factor * factor;
  }
  for (const double value : {rate, dissipation})
    if (!std::isfinite(2 * beta * value))
      detail::refuse("energy_balance: the rate of log energy is ", 2 * beta * value,
                     ", expected a finite number");
  return {{detail::scaled_by_exponential(rate, log_mean), 2 * beta * rate},
          {detail::scaled_by_exponential(dissipation, log_mean), 2 * beta * dissipation}};
}

}}  // namespace attnflow
