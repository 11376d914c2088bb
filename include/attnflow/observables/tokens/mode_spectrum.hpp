/// \file
/// Fourier modes of angles on the circle: order parameters, their growth, and the clusters that a mode predicts.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <complex>
#include <cstddef>
#include <numbers>
#include <optional>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The Fourier modes of the measure of n angles [BPA24],
///
///     c_k = (1/n) ∑ⱼ e^{−i k θⱼ},   k = 0, …, K,
///
/// so that c₀ = 1 and |c_k| is the k-th order parameter of the circle: 1 where the angles are equal modulo 2π/k, of
/// size n^{−1/2} for random ones. About the uniform law each grows at its own rate, and the fastest decides how many
/// clusters appear.
///
/// angles: a row or a column of n numbers, in any 2π-interval. Powers of e^{−iθ} by multiplication: errors of some K
/// ε, and of |θ| K ε by the angle itself. O(n K).
/// \throws std::invalid_argument unless there is an angle, all are finite and K ≥ 0.
template <class Derived>
requires KernelScalar<typename Derived::Scalar> &&(Derived::IsVectorAtCompileTime == 1)
    [[nodiscard]] Eigen::VectorXcd mode_spectrum(const Eigen::MatrixBase<Derived>& angles, Eigen::Index K) {
  if (angles.size() < 1) detail::refuse("mode_spectrum: there are no angles, expected at least one");
  if (K < 0) detail::refuse("mode_spectrum: K is ", K, ", expected at least 0");
  Eigen::VectorXcd modes = Eigen::VectorXcd::Zero(K + 1);
  for (Eigen::Index j = 0; j < angles.size(); ++j) {
    const auto theta = static_cast<double>(angles(j));
    if (!std::isfinite(theta))
      detail::refuse("mode_spectrum: angle ", j, " is ", theta, ", expected a finite number");
    const std::complex<double> turn = std::polar(1.0, -theta);
    std::complex<double> power = 1;
    for (Eigen::Index k = 0; k <= K; ++k) {
      modes(k) += power;
      power = {power.real() * turn.real() - power.imag() * turn.imag(),
               power.real() * turn.imag() + power.imag() * turn.real()};
    }
  }
  return modes / static_cast<double>(angles.size());
}

/// The k-th order parameter of the circle, |(1/n) ∑ⱼ e^{i k θⱼ}|, with errors as in mode_spectrum; k may be negative.
/// O(n).
/// \throws std::invalid_argument unless there is an angle and all are finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar> &&(Derived::IsVectorAtCompileTime == 1)
    [[nodiscard]] double circle_order_parameter(const Eigen::MatrixBase<Derived>& angles, long k = 1) {
  if (angles.size() < 1) detail::refuse("circle_order_parameter: there are no angles, expected at least one");
  double cosines = 0, sines = 0;
  for (Eigen::Index j = 0; j < angles.size(); ++j) {
    const double phase = static_cast<double>(k) * static_cast<double>(angles(j));
    if (!std::isfinite(phase))
      detail::refuse("circle_order_parameter: angle ", j, " is ", angles(j), ", expected a finite number");
    cosines += std::cos(phase);
    sines += std::sin(phase);
  }
  return std::hypot(cosines, sines) / static_cast<double>(angles.size());
}

/// Where a density 1 + 2 Re(c e^{i k θ}), that is the uniform law with its mode k alone, is largest: the k centres
///
///     θ_m = (2π m − arg c) / k,   m = 0, …, k − 1,
///
/// of the clusters that appear first if mode k grows fastest [BPA24], in [0, 2π), increasing. c as mode_spectrum has
/// it.
/// \throws std::invalid_argument unless k ≥ 1 and c is finite and not 0.
[[nodiscard]] inline std::vector<double> predicted_centres(std::complex<double> c, Eigen::Index k) {
  if (k < 1) detail::refuse("predicted_centres: k is ", k, ", expected at least 1");
  if (!std::isfinite(c.real()) || !std::isfinite(c.imag()) || c == 0.0)
    detail::refuse("predicted_centres: c is (", c.real(), ",", c.imag(),
                   "), expected a finite number other than 0");
  constexpr double turn = 2 * std::numbers::pi;
  double phase = -std::arg(c);  // in [−π, π]
  if (phase < 0) phase += turn;
  if (phase >= turn) phase = 0;
  std::vector<double> centres;
  for (Eigen::Index m = 0; m < k; ++m)
    centres.push_back((turn * static_cast<double>(m) + phase) / static_cast<double>(k));
  return centres;
}

/// The growth rate of mode k, |c_k(t)| ≈ prefactor · e^{rate t}, by least squares on its logarithm over the points with
/// low < |c_k| < high (fit_exponential_rate, with the sign of growth). Leave out what is still other modes' or noise
/// (`low`), and what is no longer small (`high`).
///
/// spectra: for each time what mode_spectrum gives, with K ≥ k. No value if under 3 points are in the window.
/// \throws std::invalid_argument unless there are as many spectra as times, each with a mode k, times are finite, and
/// 0 ≤ low < high.
[[nodiscard]] inline std::optional<RateFit> fit_mode_growth(std::span<const double> times,
                                                            std::span<const Eigen::VectorXcd> spectra,
                                                            Eigen::Index k, const FitWindow& window = {}) {
  std::vector<double> sizes;
  for (std::size_t s = 0; s < spectra.size(); ++s) {
    if (k < 0 || k >= spectra[s].size())
      detail::refuse("fit_mode_growth: k is ", k, ", expected 0 to ", spectra[s].size() - 1,
                     ", the modes of spectra[", s, "]");
    sizes.push_back(std::abs(spectra[s](k)));
  }
  window.validate("fit_mode_growth");
  detail::validate_series("fit_mode_growth", times, "spectra", sizes, (std::numeric_limits<double>::max)());
  std::optional<RateFit> fit = detail::fit_logarithms(times, sizes, window);
  return fit;
}

}}  // namespace attnflow
