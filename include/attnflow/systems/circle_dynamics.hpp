/// \file
/// Self-attention dynamics on the unit circle, in angles.
#pragma once

#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/geometry/circle.hpp>
#include <attnflow/systems/jacobian.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <limits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Self-attention on the unit circle with Q = K = I and V = v I, a generalised Kuramoto model [GLPR25]: of the
/// points xᵢ = (cos θᵢ, sin θᵢ) of SphereDynamics the angles,
///
///     θ̇ᵢ = v ∑ⱼ wᵢⱼ sin(θⱼ − θᵢ),   w = law(cos(θᵢ − θⱼ)).
///
/// State: 1 × n, angles in radians, of any number of turns. v > 0 attracts, v < 0 repels. Softmax is (SA); with
/// Unnormalized, wᵢⱼ = e^{β cos(θᵢ − θⱼ)}/n, it is (USA): for v = 1 the ascent of the energy
/// E = ∑ᵢⱼ e^{β cos(θᵢ − θⱼ)} / (2 β n²), dE/dt = ∑ᵢ θ̇ᵢ² / n, and the mean angle is conserved, the force being odd.
/// β = 0 is the Kuramoto model of equal frequencies. A turn of all angles commutes with the flow. Heads other than
/// multiples of the identity: SphereDynamics in two dimensions.
///
/// Tokens that are equal contribute exactly nothing to each other: θ̇ᵢ is right to a few (1 + |β|) ε |v| ∑ⱼ wᵢⱼ, the
/// sum over the tokens that differ from token i, where β ≥ 0 and i is among its own keys. So forces between clusters
/// of equal tokens are right relative to themselves, however small beside the weights of size one within. When all
/// tokens are near each other, errors are small against their differences: angles are taken from the first one.
///
/// One call costs O(n²) time, three to six times that of SphereDynamics for the sake of accuracy, and O(n) memory. For
/// many tokens and moderate β there is CircleSeries, O(n √β).
template <RealScalar Scalar_, WeightLaw Law = Softmax, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
class CircleDynamics {
 public:
  using Scalar = Scalar_;
  /// A token is one number.
  static constexpr int Dim = 1;
  using State = Tokens<Scalar, 1>;

  /// \param value  v, by which forces are multiplied.
  /// \throws std::invalid_argument unless law and bias are valid and v is finite.
  explicit CircleDynamics(Law law = {}, double value = 1, Mask mask = {}, Bias bias = {})
      : form_(
            detail::form_of(Head<Scalar, 2>::identity(), (detail::validate_law(law), bias.validate(), law))),
        law_(std::move(law)),
        value_(value),
        mask_(std::move(mask)),
        bias_(std::move(bias)) {
    if (!std::isfinite(value))
      detail::refuse("CircleDynamics: value is ", value, ", expected a finite number");
  }

  /// Writes the velocities of the angles to dtheta, resized to fit: zeros for v = 0. An angle that is not finite makes all
  /// NaN; a velocity beyond the range of Scalar (Unnormalized with large β, without less_one) is not finite.
  void operator()(double /*t*/, const State& theta, State& dtheta) const {
    static constinit thread_local detail::Scratch<Tokens<Scalar, 2>> kept_x, kept_sums;
    Tokens<Scalar, 2>&x = *kept_x, &sums = *kept_sums;
    place(theta, x);
    RowRecord* exact = nullptr;
    if constexpr (KernelScalar<Scalar>) {
      static constinit thread_local detail::Scratch<RowRecord> kept;
      exact = &*kept;  // rows that are asked for a record take differences of tokens before products
    }
    // Points of the circle need no scaling by a power of two.
    detail::attend_scaled(form_, nullptr, Weighted::displacements, law_, mask_, bias_, x, sums, exact);
    dtheta.resize(1, x.cols());
    const auto v = static_cast<Scalar>(value_);
    const bool rests = value_ == 0 && std::isfinite(detail::largest_number(theta.data(), theta.size()));
    for (Eigen::Index i = 0; i < x.cols(); ++i) {
      if (rests) {  // also where the sums overflow
        dtheta(0, i) = x(0, i) - x(0, i);
        continue;
      }
      const Scalar across = x(0, i) * sums(1, i), along = x(1, i) * sums(0, i);
      dtheta(0, i) = v * (across - along);
    }
  }

  /// The weights w at theta: P for softmax, rows summing to one.
  /// \throws std::invalid_argument if an angle is not finite.
  [[nodiscard]] SquareMatrix<Scalar> attention(double /*t*/, const State& theta) const {
    Tokens<Scalar, 2> x;
    place(theta, x);
    return detail::weights<Scalar, 2>(form_, nullptr, law_, mask_, bias_, detail::TokenView<Scalar, 2>(x));
  }

  /// The derivative of the field, n × n. With u = θₖ − θᵢ and Sᵢ = ∑ⱼ wᵢⱼ sin(θⱼ − θᵢ), which is left out where rows are
  /// not normalised,
  ///
  ///     ∂θ̇ᵢ/∂θₖ = v wᵢₖ (cos u − β sin u (sin u − Sᵢ)),   k ≠ i,
  ///
  /// and rows sum to zero. O(n²).
  /// \throws std::invalid_argument if an angle is not finite, std::overflow_error where an entry is beyond double.
  [[nodiscard]] Eigen::MatrixXd jacobian(double t, const State& theta) const
      requires(KernelScalar<Scalar_>&& detail::HasKnownRows<Law>) {
    const Eigen::Index n = theta.cols();
    detail::require_known_rows(law_, n, "CircleDynamics");
    const SquareMatrix<Scalar> w = attention(t, theta);
    Eigen::MatrixXd J = Eigen::MatrixXd::Zero(n, n);
    if (value_ == 0) return J;
    const auto rotation = [&](Eigen::Index i, Eigen::Index k) {  // cos u and sin u, as the points have them
      const double u = static_cast<double>(theta(0, k) - theta(0, i));
      if (std::abs(u) < 8) return std::pair(std::cos(u), std::sin(u));
      const auto to = static_cast<double>(theta(0, k)), from = static_cast<double>(theta(0, i));
      return std::pair(std::cos(to) * std::cos(from) + std::sin(to) * std::sin(from),
                       std::sin(to) * std::cos(from) - std::cos(to) * std::sin(from));
    };
    for (Eigen::Index i = 0; i < n; ++i) {
      double mean = 0, sum = 0;
      for (Eigen::Index k = 0; detail::rows_sum_to_one<Law>() && k < n; ++k)
        mean += static_cast<double>(w(i, k)) * rotation(i, k).second;
      for (Eigen::Index k = 0; k < n; ++k) {
        if (k == i) continue;
        const auto [cosine, sine] = rotation(i, k);
        J(i, k) = value_ * static_cast<double>(w(i, k)) * (cosine - law_.beta * sine * (sine - mean));
        sum += J(i, k);
      }
      J(i, i) = -sum;
    }
    detail::require_finite_jacobian(J, "CircleDynamics");
    return J;
  }

  /// 1, the dimension of the tokens.
  [[nodiscard]] static constexpr Eigen::Index dim() noexcept { return 1; }
  /// The weight law, with its β.
  [[nodiscard]] const Law& law() const noexcept { return law_; }
  /// v, by which forces are multiplied.
  [[nodiscard]] double value() const noexcept { return value_; }

 private:
  /// Points, turned so that the first token is (1, 0): near a consensus their differences keep the angles' accuracy.
  static void place(const State& theta, Tokens<Scalar, 2>& x) {
    circle::points(theta, theta.cols() > 0 ? theta(0, 0) : Scalar(0), x);
  }

  detail::FormOf<Scalar, 2, Law> form_;
  Law law_;
  double value_;
  [[no_unique_address]] Mask mask_;
  [[no_unique_address]] Bias bias_;
};

}}  // namespace attnflow
