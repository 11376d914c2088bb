/// \file
/// Tokens with one inner product among them: the n-token dynamics on the sphere as one scalar equation.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// ∫ e^{g(u)} du over [a, b] by the Gauss–Kronrod pair (7, 15), e^g at most 1 or little more, halving until
/// the two differ by at most `tolerance` relative (the error of the 15 nodes is then far less) and no end
/// stands out of the nodes: a layer at an end thinner than the outermost node is far from it would else be
/// missed. What is below 10⁻¹⁰⁰ counts for nothing. \pre the noise of e^g is below the tolerance.
template <class Exponent>
[[nodiscard]] double integrate_exponential(const Exponent& g, double a, double b, double at_a, double at_b,
                                           double tolerance) {
  constexpr std::array<double, 8> nodes{
      0.991455371120812639206854697526329, 0.949107912342758524526189684047851,
      0.864864423359769072789712788640926, 0.741531185599394439863864773280788,
      0.586087235467691130294144691693,    0.405845151377397166906606412076961,
      0.207784955007898467600689403773245, 0};
  constexpr std::array<double, 8> fifteen{
      0.022935322010529224963732008058970, 0.063092092629978553290700663189204,
      0.104790010322250183839876322541518, 0.140653259715525918745189590510238,
      0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
      0.204432940075298892414161999234649, 0.209482141084727828012999174891714};
  constexpr std::array<double, 4> seven{
      0.129484966168869693270611432679082, 0.279705391489276667901467771423780,
      0.381830050505118944950369775488975, 0.417959183673469387755102040816327};
  const double middle = a + (b - a) / 2, half = (b - a) / 2;
  double fine = 0, coarse = 0, most = 0;
  for (std::size_t k = 0; k < nodes.size(); ++k)
    for (const double side : {-1., 1.}) {
      if (k + 1 == nodes.size() && side > 0) break;  // the middle counts once
      const double value = std::exp(g(middle + side * nodes[k] * half));
      fine += fifteen[k] * value;
      if (k % 2 == 1) coarse += seven[k / 2] * value;
      most = (std::max)(most, value);
    }
  const bool resolved =
      std::abs(fine - coarse) <= tolerance * fine + 1e-100 && (std::max)(at_a, at_b) <= 4 * most + 1e-100;
  if (resolved || middle <= a || middle >= b) return half * fine;
  const double between = std::exp(g(middle));
  return integrate_exponential(g, a, middle, at_a, between, tolerance) +
         integrate_exponential(g, middle, b, between, at_b, tolerance);
}

/// ∫ e^{g(w)} dw from u to v, the time between two places where g is the logarithm of a slowness whose exponents
/// are of size β; negative if v < u, ±∞ to and from ±∞.
template <class LogSlowness>
[[nodiscard]] double integrate_slowness(const LogSlowness& g, double u, double v, double beta) {
  if (u == v) return 0;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (std::isinf(u) || std::isinf(v)) return v > u ? infinity : -infinity;
  const double a = (std::min)(u, v), b = (std::max)(u, v);
  const double at_a = g(a), at_b = g(b), largest = (std::max)(at_a, at_b);
  const auto relative = [&](double at) { return g(at) - largest; };
  // The exponent is a difference of scores of size β.
  const double tolerance = (std::max)(1e-12, 32 * std::numeric_limits<double>::epsilon() * std::abs(beta));
  const double integral =
      integrate_exponential(relative, a, b, std::exp(at_a - largest), std::exp(at_b - largest), tolerance);
  // In two factors: the first may overflow, or underflow, where the product does not.
  const double root = std::exp(largest / 2);
  return std::copysign(root * integral * root, v - u);
}

/// The scalar equation in the coordinate u = log((1 + (n−1) ρ) / (1 − ρ)), in which it reads u̇ = 2 n
/// w(ρ(u)): rest points at ±∞, a bounded positive velocity between.
template <class Law>
class EquiangularFlow {
 public:
  EquiangularFlow(const char* function, const Law& law, Eigen::Index tokens)
      : law_(law), tokens_(tokens), n_(static_cast<double>(tokens)) {
    detail::validate_law(law);
    if (tokens < 2) refuse(function, ": n is ", tokens, ", expected at least 2");
  }

  /// \throws std::invalid_argument unless −1/(n−1) ≤ ρ ≤ 1, the first up to rounding.
  void validate(const char* function, const char* name, double rho) const {
    if (!(rho <= 1 && 1 + (n_ - 1) * rho >= -std::numeric_limits<double>::epsilon()))
      refuse(function, ": ", name, " is ", rho, ", expected a number from ", -1 / (n_ - 1),
             " = -1/(n-1) to 1");
  }
  [[nodiscard]] double coordinate(double rho) const {
    return std::log1p((std::max)(-1.0, (n_ - 1) * rho)) - std::log1p(-rho);
  }
  [[nodiscard]] double correlation(double u) const {
    // (e^u − 1) / (e^u + n − 1), no difference of like numbers and no overflow
    return u < 0 ? std::expm1(u) / (std::exp(u) + n_ - 1) : -std::expm1(-u) / (1 + (n_ - 1) * std::exp(-u));
  }
  /// log w, w the weight of a token on another.
  [[nodiscard]] double log_weight(double rho) const {
    double own = law_.beta, other = law_.beta * rho;
    if constexpr (DistanceLaw<Law>) {
      own = 0;
      other = -2 * law_.beta * law_.scale * (1 - rho);
    }
    if constexpr (Law::function == WeightFunction::pointwise) {
      const double log_other = law_.log_weight(other);
      if (law_.rows == RowScale::none) return log_other;
      if (law_.rows == RowScale::mean) return log_other - std::log(n_);
      const double log_own = law_.log_weight(own), top = (std::max)(log_own, log_other);
      return log_other - top - std::log(std::exp(log_own - top) + (n_ - 1) * std::exp(log_other - top));
    } else {
      const double top = (std::max)(own, other);
      const double log_sum = top + std::log(std::exp(own - top) + (n_ - 1) * std::exp(other - top));
      return log_row_factor(law_, log_sum, tokens_) + other - log_sum;
    }
  }
  /// log dt/du.
  [[nodiscard]] double log_slowness(double u) const { return -std::log(2 * n_) - log_weight(correlation(u)); }
  /// The time from u to v; negative if v < u.
  [[nodiscard]] double time(double u, double v) const {
    double size = law_.beta;  // of the scores
    if constexpr (DistanceLaw<Law>) size *= 4 * law_.scale;
    return integrate_slowness([this](double at) { return log_slowness(at); }, u, v, size);
  }
  /// Where u is after the time t, by Newton's method inside a bracket that is halved where Newton is slow.
  [[nodiscard]] double after(double u, double t) const {
    if (t == 0 || std::isinf(u)) return u;
    const double sign = t > 0 ? 1 : -1;
    double behind = u, beyond = u, rest = std::abs(t);  // `rest` is left at `behind`
    for (double stride = 1;; stride *= 2) {
      beyond = behind + sign * stride;
      const double passed = std::abs(time(behind, beyond));
      if (passed >= rest) break;
      rest -= passed;
      behind = beyond;
      if (std::abs(behind) > 1e4) return behind;  // at rest to the last bit
    }
    // Times are measured from `behind`: as differences of later ones they would be lost where slownesses
    // differ by powers of ten. `excess` is the time at `at` less the time wanted.
    double at = behind, excess = -rest;
    bool slow = false;
    while (excess != 0) {
      const double resolution = 2 * std::numeric_limits<double>::epsilon() * (std::max)(1.0, std::abs(at));
      if (std::abs(beyond - behind) <= resolution) break;
      const double stride = -std::copysign(std::exp(std::log(std::abs(excess)) - log_slowness(at)), excess);
      double next = at + sign * stride;
      if (std::abs(stride) <= resolution) return next;
      if (slow || !(sign * (next - behind) > 0 && sign * (beyond - next) > 0))
        next = behind + (beyond - behind) / 2;
      const double passed = std::abs(time(behind, next)), before = std::abs(excess);
      at = next;
      if (passed <= rest) {
        behind = next;
        rest -= passed;
        excess = -rest;
      } else {
        beyond = next;
        excess = passed - rest;
      }
      slow = std::abs(excess) > before / 2;
    }
    return at;
  }

 private:
  const Law& law_;
  Eigen::Index tokens_;
  double n_;
};

/// A law whose weights are positive and depend on the scores alone: exponentials, and functions of a score that know their
/// logarithm. (Equiangular scores are symmetric with equal row sums: Sinkhorn's weights are those of softmax.)
template <class Law>
concept PositiveLaw = WeightLaw<Law> &&
    (Law::function == WeightFunction::exponential || requires(const Law& law, double score) {
      { law.log_weight(score) } -> std::convertible_to<double>;
    });

/// One with an exponential of β ⟨xᵢ, xⱼ⟩, one row by itself.
template <class Law>
concept ExponentialLaw = PositiveLaw<Law> && Law::function == WeightFunction::exponential &&
                         !DistanceLaw<Law> && !DoublyStochasticLaw<Law>;

}  // namespace detail

/// Tokens with ⟨xᵢ, xⱼ⟩ = ρ for all i ≠ j keep that form under SphereDynamics with Q = K = V = I [GLPR25],
///
///     ρ̇ = 2 w(ρ) (1 − ρ) (1 + (n−1) ρ),
///
/// w the weight of a token on another: 1/(e^{β(1−ρ)} + n − 1) for Softmax and Sinkhorn, e^{βρ}/n for Unnormalized,
/// 1/(e^{2βc(1−ρ)} + n − 1) for L2Softmax, σ(βρ + b)/n for Sigmoid. For large d, n independent uniform tokens stay close to the solution from ρ = 0.
/// \returns ρ̇ for n tokens.
/// \throws std::invalid_argument unless n ≥ 2, −1/(n−1) ≤ ρ ≤ 1 and the law is valid.
template <detail::PositiveLaw Law>
[[nodiscard]] double equiangular_rate(const Law& law, Eigen::Index n, double rho) {
  const detail::EquiangularFlow<Law> flow("equiangular_rate", law, n);
  flow.validate("equiangular_rate", "rho", rho);
  const double spread = (1 - rho) * (std::max)(0.0, 1 + static_cast<double>(n - 1) * rho);
  return spread == 0 ? 0 : 2 * spread * std::exp(flow.log_weight(rho));
}

/// The time that n equiangular tokens take from the inner product `from` to the inner product `to`,
///
///     T = ∫ dρ / ρ̇,
///
/// with a relative error of some ε (10 + |β|); negative if to < from, infinite to or from a rest point and
/// beyond 10³⁰⁸. By quadrature in u = log((1 + (n−1) ρ)/(1 − ρ)), where u̇ = 2 n w is smooth and has no zero:
/// some 10 + |β| evaluations of 15 nodes.
/// \throws std::invalid_argument unless n ≥ 2, both lie in [−1/(n−1), 1] and the law is valid.
template <detail::PositiveLaw Law>
[[nodiscard]] double equiangular_time(const Law& law, Eigen::Index n, double from, double to) {
  const detail::EquiangularFlow<Law> flow("equiangular_time", law, n);
  flow.validate("equiangular_time", "from", from);
  flow.validate("equiangular_time", "to", to);
  return from == to ? 0 : flow.time(flow.coordinate(from), flow.coordinate(to));
}

/// The inner product of n equiangular tokens at time t, where it is rho at time 0; t may be negative. The
/// inverse of equiangular_time, by Newton's method. For two tokens with β = 0 and rho = 0 it is tanh t.
/// \throws std::invalid_argument unless n ≥ 2, −1/(n−1) ≤ rho ≤ 1, t is finite and the law is valid.
template <detail::PositiveLaw Law>
[[nodiscard]] double equiangular_correlation(const Law& law, Eigen::Index n, double rho, double t) {
  const detail::EquiangularFlow<Law> flow("equiangular_correlation", law, n);
  flow.validate("equiangular_correlation", "rho", rho);
  if (!std::isfinite(t)) detail::refuse("equiangular_correlation: t is ", t, ", expected a finite number");
  return t == 0 ? rho : flow.correlation(flow.after(flow.coordinate(rho), t));
}

}}  // namespace attnflow
