/// \file
/// Rates of convergence, read off from errors along a solution.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/attention/leaders.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Which values enter a fit: those strictly between low and high.
struct FitWindow {
  /// At least 0: below it errors are rounding.
  double low = 0;
  /// More than low: above it the rate has not set in.
  double high = std::numeric_limits<double>::infinity();

  /// \throws std::invalid_argument naming the function, unless 0 ≤ low < high.
  void validate(const char* function) const {
    if (!(low >= 0)) detail::refuse(function, ": window.low is ", low, ", expected at least 0");
    if (!(high > low))
      detail::refuse(function, ": window.high is ", high, ", expected more than window.low = ", low);
  }
};

/// A straight line through logarithms.
struct RateFit {
  double rate = 0;          ///< of decay or growth, as the function says
  double prefactor = 0;     ///< the value at t = 0; 0 or ∞ where that is out of range
  double from = 0;          ///< the first time used
  double to = 0;            ///< the last time used
  Eigen::Index points = 0;  ///< how many values were used, 3 or more
  double residual = 0;      ///< the root mean square of the logarithms about the line
};

namespace detail {

/// log value ≈ log prefactor + slope t, by least squares on the values in the window; `rate` is the slope.
[[nodiscard]] inline std::optional<RateFit> fit_logarithms(std::span<const double> times,
                                                           std::span<const double> values,
                                                           const FitWindow& window) {
  std::vector<double> t, y;
  for (std::size_t k = 0; k < times.size(); ++k)
    if (values[k] > window.low && values[k] < window.high && std::isfinite(values[k])) {
      t.push_back(times[k]);
      y.push_back(std::log(values[k]));
    }
  if (t.size() < 3) return std::nullopt;
  const auto [least, most] = std::ranges::minmax(t);
  if (!(most > least)) return std::nullopt;

  // In u = (t − least) / (most − least), from 0 to 1, halved first, so that no difference overflows.
  const double half_length = most / 2 - least / 2, count = static_cast<double>(t.size());
  if (!(half_length > 0)) return std::nullopt;  // two subnormal numbers: a length that halves to zero
  std::vector<double> u;
  u.reserve(t.size());
  for (const double time : t) u.push_back((time / 2 - least / 2) / half_length);
  const double mean_u = std::accumulate(u.begin(), u.end(), 0.) / count;
  const double mean_y = std::accumulate(y.begin(), y.end(), 0.) / count;
  double uu = 0, uy = 0;
  for (std::size_t k = 0; k < u.size(); ++k) {
    uu += (u[k] - mean_u) * (u[k] - mean_u);
    uy += (u[k] - mean_u) * (y[k] - mean_y);
  }
  const double slope = uy / uu;
  double squares = 0;
  for (std::size_t k = 0; k < u.size(); ++k) {
    const double off = (y[k] - mean_y) - slope * (u[k] - mean_u);
    squares += off * off;
  }
  RateFit fit;
  fit.rate = slope / half_length / 2;
  fit.prefactor = std::exp(mean_y - slope * (mean_u + (least / 2) / half_length));
  fit.from = least;
  fit.to = most;
  fit.points = static_cast<Eigen::Index>(t.size());
  fit.residual = std::sqrt(squares / count);
  if (!std::isfinite(fit.rate)) return std::nullopt;  // times too close together for a slope
  return fit;
}

inline void validate_series(const char* function, std::span<const double> times, const char* name,
                            std::span<const double> values, double largest) {
  if (values.size() != times.size())
    refuse(function, ": there are ", values.size(), " ", name, ", expected ", times.size(),
           ", one for each time");
  for (std::size_t k = 0; k < times.size(); ++k) {
    if (!std::isfinite(times[k]))
      refuse(function, ": times[", k, "] is ", times[k], ", expected a finite number");
    if (!(values[k] >= 0 && values[k] <= largest))
      refuse(function, ": ", name, "[", k, "] is ", values[k], ", expected a ",
             std::isinf(largest) ? "number" : "finite number", ", at least 0");
  }
}

}  // namespace detail

/// The rate of errors that decay exponentially,
///
///     error(t) ≈ prefactor · e^{−rate t},
///
/// by least squares on log error over the points with low < error < high. Choose `low` well above the level
/// at which rounding or the integrator's tolerance takes over, and `high` below the transient: the rates of
/// [GLPR23] are asymptotic. For V = I the distances to the leaders have rate 1, for a good triple λ₁.
///
/// times: in any order. errors: not negative; zeros are never in the window. No value if under 3 points are in
/// the window or all at one time. A residual that is not small tells that the line does not fit. O(points).
/// \throws std::invalid_argument unless there are as many errors as times, times are finite, errors finite and
/// not negative, and 0 ≤ low < high.
[[nodiscard]] inline std::optional<RateFit> fit_exponential_rate(std::span<const double> times,
                                                                 std::span<const double> errors,
                                                                 const FitWindow& window = {}) {
  window.validate("fit_exponential_rate");
  detail::validate_series("fit_exponential_rate", times, "errors", errors,
                          (std::numeric_limits<double>::max)());
  std::optional<RateFit> fit = detail::fit_logarithms(times, errors, window);
  if (fit) fit->rate = -fit->rate;
  return fit;
}

/// The rate of gaps that decay doubly exponentially, 1 − Pᵢ,leader(t) = e^{−p(t)} with
///
///     p(t) ≈ prefactor · e^{rate t},
///
/// by least squares on log p over the points with low < p < high. For d = 1, Q = K = V = 1 the rate tends to 1
/// for a row whose runner-up goes to the same infinity as its leader, and to 2 for one whose runner-up goes to
/// the other (cf. [GLPR23, Thm 2.1]). Below p = 10 constants matter still, above 700 weights underflow.
///
/// minus_log_gap: p at each time, as log_complement gives it; not negative, ∞ allowed (and never used).
/// No value as in fit_exponential_rate. O(points).
/// \throws std::invalid_argument unless there are as many values as times, times are finite, values not
/// negative, and 0 ≤ low < high.
[[nodiscard]] inline std::optional<RateFit> fit_double_exponential_rate(std::span<const double> times,
                                                                        std::span<const double> minus_log_gap,
                                                                        const FitWindow& window = {10, 700}) {
  window.validate("fit_double_exponential_rate");
  detail::validate_series("fit_double_exponential_rate", times, "minus_log_gap", minus_log_gap,
                          std::numeric_limits<double>::infinity());
  return detail::fit_logarithms(times, minus_log_gap, window);
}

/// How little each row gives to others than its leader, as
///
///     pᵢ = −log(1 − Pᵢ,leader) = −log ∑_{j ≠ leader(i)} exp(log Pᵢⱼ),
///
/// exact to a few ε (of p) where 1 − P itself would be rounding error or underflow. ∞ where all others have
/// log P = −∞ (or there are none); never negative: what rounding leaves below 0 is 0.
///
/// log_P: m × n logarithms of weights. leaders: the leader of each row, a column. labels: empty, or the cluster
/// of each of the n tokens (as in Clusters::labels); then all of the leader's cluster is left out, as it has to
/// be once followers have become equal to their leader. O(m n) time.
/// \throws std::invalid_argument for an entry of log_P that is NaN or more than √ε (of its own Scalar), and
/// unless there are m leaders in range and n labels in range, or none.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::VectorXd log_complement(const Eigen::MatrixBase<Derived>& log_P,
                                             std::span<const Eigen::Index> leaders,
                                             std::span<const Eigen::Index> labels = {}) {
  const Eigen::Index m = log_P.rows(), n = log_P.cols();
  if (static_cast<Eigen::Index>(leaders.size()) != m)
    detail::refuse("log_complement: there are ", leaders.size(), " leaders, expected ", m,
                   ", as log_P has rows");
  std::vector<Eigen::Index> cluster;
  if (labels.empty()) {
    cluster.resize(static_cast<std::size_t>(n));
    std::iota(cluster.begin(), cluster.end(), Eigen::Index{0});
  } else {
    cluster = detail::merged_columns("log_complement", "log_P", n, labels).target;
  }
  const double most =
      std::sqrt(static_cast<double>(std::numeric_limits<typename Derived::Scalar>::epsilon()));
  constexpr double nothing = -std::numeric_limits<double>::infinity();
  Eigen::VectorXd p(m);
  for (Eigen::Index i = 0; i < m; ++i) {
    const Eigen::Index leader = leaders[static_cast<std::size_t>(i)];
    if (leader < 0 || leader >= n)
      detail::refuse("log_complement: leaders[", i, "] is ", leader, ", expected a column from 0 to ", n - 1);
    const auto other = [&](Eigen::Index j) {
      return cluster[static_cast<std::size_t>(j)] != cluster[static_cast<std::size_t>(leader)];
    };
    double largest = nothing;
    for (Eigen::Index j = 0; j < n; ++j) {
      const double value = static_cast<double>(log_P(i, j));
      if (!(value <= most))
        detail::refuse("log_complement: log_P(", i, ", ", j, ") is ", value, ", expected at most 0");
      if (other(j)) largest = (std::max)(largest, value);
    }
    if (largest == nothing) {
      p(i) = std::numeric_limits<double>::infinity();
      continue;
    }
    double sum = 0;
    for (Eigen::Index j = 0; j < n; ++j)
      if (other(j)) sum += std::exp(static_cast<double>(log_P(i, j)) - largest);
    p(i) = (std::max)(0., -(largest + std::log(sum)));
  }
  return p;
}

}}  // namespace attnflow
