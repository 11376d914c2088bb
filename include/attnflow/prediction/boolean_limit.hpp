/// \file
/// Tokens on the line and the Boolean limit of their attention: who escapes, and the row that may not
/// be Boolean.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The threshold A > 0 beyond which the outermost of n tokens on the line cannot turn back [GLPR23, §7],
/// d = 1 and Q = K = V = 1: the solution of
///
///     A² = n² e^{−A²},   that is A = √W₀(n²) with Lambert's function W₀.
///
/// If the largest token ever exceeds A it grows like eᵗ from then on, and likewise the smallest below −A.
/// Computed as the root u = A² of u + log u = 2 log n by Newton's method: the left side is concave and
/// increases, so from below the iterates rise to the root. A relative error of a few ε; n = 1: 0.7531,
/// n = 2: 1.0958, n = 40: 2.376.
/// \throws std::invalid_argument unless n ≥ 1.
[[nodiscard]] inline double bounded_token_threshold(Eigen::Index n) {
  if (n < 1) detail::refuse("bounded_token_threshold: n is ", n, ", expected at least 1");
  const double level = 2 * std::log(static_cast<double>(n));
  // Below the root: level − log level gives log(1 − log(level) / level) ≤ 0, and 1/2 + log(1/2) < 0.
  double u = level > 1 ? level - std::log(level) : 0.5;
  for (int k = 0; k < 60; ++k) {
    const double next = u * (1 + level - std::log(u)) / (1 + u);  // u − (u + log u − level) / (1 + 1/u)
    if (!(next > u)) break;
    u = next;
  }
  return std::sqrt(u);
}

/// The one row of the Boolean limit that need not be Boolean.
struct ExceptionalRow {
  double theta = 0;         ///< the limit of eᵗ x_b for the token that stays bounded
  Eigen::VectorXd weights;  ///< softmax(θγ): not negative, summing to one, orthogonal to γ
};

/// The row of a token that stays bounded while all others escape, xₗ ≈ γₗ eᵗ (d = 1, Q = K = V = 1, cf.
/// [GLPR23, §7]): its rescaled position eᵗ x_b tends to the minimiser θ of the convex function
///
///     θ ↦ log ∑ₗ e^{θγₗ},
///
/// and its row to α = softmax(θγ), which makes the drift ∑ₗ αₗ γₗ vanish. In general α is not Boolean.
///
/// gamma: the limits γₗ of e^{−t} xₗ, of both signs; 0 for the bounded token itself (and for as many entries
/// as there are: they share in α). Without both signs the function has no minimiser: all tokens escape to the
/// same side and no token is bounded.
///
/// θ is the root of log ∑_{γₗ>0} γₗ e^{θγₗ} = log ∑_{γₗ<0} |γₗ| e^{θγₗ}, whose difference increases with a
/// slope between m = min γ₊ + min γ₋ and M = max γ₊ + max γ₋ (sizes of the positive and of the negative
/// entries); so the root lies between −f(0)/M and −f(0)/m, where Newton's steps that leave the bracket become
/// bisections. |∑ αₗ γₗ| is left at a few ε (n + |θ| max |γ|) of ∑ αₗ |γₗ|. No exponential overflows. O(n)
/// for each of some ten steps.
/// \throws std::invalid_argument unless gamma is finite and has both signs, and θ is within range.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] ExceptionalRow exceptional_row(const Eigen::MatrixBase<Derived>& gamma) {
  if (gamma.rows() != 1 && gamma.cols() != 1)
    detail::refuse("exceptional_row: gamma is ", gamma.rows(), " x ", gamma.cols(), ", expected a vector");
  const Eigen::Index n = gamma.size();
  Eigen::VectorXd g(n);
  double largest = 0;
  for (Eigen::Index l = 0; l < n; ++l) {
    g(l) = static_cast<double>(gamma.rows() == 1 ? gamma(0, l) : gamma(l, 0));
    if (!std::isfinite(g(l)))
      detail::refuse("exceptional_row: gamma(", l, ") is ", g(l), ", expected a finite number");
    largest = (std::max)(largest, std::abs(g(l)));
  }
  if (!((g.array() > 0).any() && (g.array() < 0).any()))
    detail::refuse("exceptional_row: gamma has no entries of ",
                   (g.array() > 0).any() ? "negative" : "positive",
                   " sign, expected both, as there is no minimiser otherwise");
  const int exponent = std::ilogb(largest);  // θ γ = (θ 2^e) (γ 2^{−e})
  for (double& value : g) value = std::ldexp(value, -exponent);

  // Of each sign the smallest and the largest size, and log ∑ |γ| e^{θγ} with its derivative.
  struct Side {
    double least = std::numeric_limits<double>::infinity(), most = 0;
    double log_sum = 0, slope = 0;
  };
  Side above, below;
  for (const double value : g) {
    Side& side = value > 0 ? above : below;
    if (value == 0) continue;
    side.least = (std::min)(side.least, std::abs(value));
    side.most = (std::max)(side.most, std::abs(value));
  }
  const auto evaluate = [&](double theta) {
    for (Side* side : {&above, &below}) {
      const double sign = side == &above ? 1 : -1;
      double top = -std::numeric_limits<double>::infinity(), sum = 0, moment = 0;
      for (const double value : g)
        if (sign * value > 0) top = (std::max)(top, theta * value);
      for (const double value : g)
        if (sign * value > 0) {
          const double term = std::abs(value) * std::exp(theta * value - top);
          sum += term;
          moment += value * term;
        }
      side->log_sum = top + std::log(sum);
      side->slope = moment / sum;
    }
    return above.log_sum - below.log_sum;
  };

  const double start = evaluate(0);
  const double one = (0 - start) / (above.most + below.most),
               other = (0 - start) / (above.least + below.least);
  double low = (std::min)(one, other), high = (std::max)(one, other), theta = one;
  for (int k = 0; k < 300 && low < high; ++k) {
    const double value = evaluate(theta);
    if (!std::isfinite(value))
      detail::refuse("exceptional_row: theta is beyond ", std::ldexp(theta, -exponent),
                     ", expected entries of gamma that are less far apart");
    if (value == 0) break;
    (value > 0 ? high : low) = theta;
    const double newton = theta - value / (above.slope - below.slope);
    const double next = newton > low && newton < high ? newton : low / 2 + high / 2;
    if (next == theta) break;
    theta = next;
  }

  ExceptionalRow row;
  row.theta = std::ldexp(theta, -exponent);
  if (!std::isfinite(row.theta))
    detail::refuse("exceptional_row: theta is ", row.theta,
                   ", expected entries of gamma that are less far apart, or larger");
  double top = -std::numeric_limits<double>::infinity();
  for (const double value : g) top = (std::max)(top, theta * value);
  row.weights.resize(n);
  for (Eigen::Index l = 0; l < n; ++l) row.weights(l) = std::exp(theta * g(l) - top);
  row.weights /= row.weights.sum();
  return row;
}

}}  // namespace attnflow
