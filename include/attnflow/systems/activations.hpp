/// \file
/// Functions of one number, applied coordinate by coordinate: Identity, Relu, Tanh, Gelu.
#pragma once

#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <concepts>
#include <numbers>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A function σ of one number. Where its slope is bounded, sup |σ'| may be named `slope`: what holds σ then has a
/// Lipschitz constant, and FeedForward knows a largest step.
template <class A, class Scalar>
concept Activation = requires(const A& sigma, Scalar y) {
  { sigma(y) } -> std::same_as<Scalar>;
};

/// σ with its derivative: derivative(y) = σ'(y), one of the two at a kink.
template <class A, class Scalar>
concept DifferentiableActivation = Activation<A, Scalar> && requires(const A& sigma, Scalar y) {
  { sigma.derivative(y) } -> std::same_as<Scalar>;
};

/// σ with its primitive: primitive(y) = ∫ σ from 0 to y.
template <class A, class Scalar>
concept IntegrableActivation = Activation<A, Scalar> && requires(const A& sigma, Scalar y) {
  { sigma.primitive(y) } -> std::same_as<Scalar>;
};

namespace detail {
template <class A>
concept BoundedSlope = requires {
  { A::slope } -> std::convertible_to<double>;
};
}  // namespace detail

/// σ(y) = y.
struct Identity {
  /// sup |σ'|.
  static constexpr double slope = 1;
  /// y itself.
  template <RealScalar Scalar>
  [[nodiscard]] Scalar operator()(const Scalar& y) const {
    return y;
  }
  /// σ' = 1.
  template <RealScalar Scalar>
  [[nodiscard]] Scalar derivative(const Scalar& /*y*/) const {
    return Scalar(1);
  }
  /// y²/2.
  template <RealScalar Scalar>
  [[nodiscard]] Scalar primitive(const Scalar& y) const {
    return Scalar(y * y) / Scalar(2);
  }
};

/// σ(y) = max(y, 0); NaN stays NaN.
struct Relu {
  /// sup |σ'|.
  static constexpr double slope = 1;
  /// max(y, 0).
  template <RealScalar Scalar>
  [[nodiscard]] Scalar operator()(const Scalar& y) const {
    return y < Scalar(0) ? Scalar(0) : y;
  }
  /// 1 for y > 0, else 0.
  template <RealScalar Scalar>
  [[nodiscard]] Scalar derivative(const Scalar& y) const {
    return y > Scalar(0) ? Scalar(1) : y <= Scalar(0) ? Scalar(0) : y;
  }
  /// max(y, 0)²/2.
  template <RealScalar Scalar>
  [[nodiscard]] Scalar primitive(const Scalar& y) const {
    return y < Scalar(0) ? Scalar(0) : Scalar(y * y) / Scalar(2);
  }
};

/// σ(y) = tanh y.
struct Tanh {
  /// sup |σ'|.
  static constexpr double slope = 1;
  /// tanh y.
  template <RealScalar Scalar>
  [[nodiscard]] Scalar operator()(const Scalar& y) const {
    using std::tanh;
    return tanh(y);
  }
  /// 1/cosh² y, from e^{−|y|}: nothing cancels where tanh y is near ±1.
  template <RealScalar Scalar>
  [[nodiscard]] Scalar derivative(const Scalar& y) const {
    using std::exp;
    const Scalar u = exp(y < Scalar(0) ? y : Scalar(-y)), twice = Scalar(2) * u,
                 ratio = twice / (Scalar(1) + u * u);
    return ratio * ratio;
  }
  /// log cosh y = |y| + log((1 + e^{−2|y|}) / 2), right to ε.
  template <RealScalar Scalar>
  [[nodiscard]] Scalar primitive(const Scalar& y) const {
    using std::exp;
    using std::log;
    const Scalar size = y < Scalar(0) ? Scalar(-y) : y, tail = exp(Scalar(-2) * size);
    return size + log((Scalar(1) + tail) / Scalar(2));
  }
};

/// σ(y) = y Φ(y) with the normal distribution function Φ [HG16], by erfc: for y < 0 nothing cancels. A user's scalar
/// needs an erfc beside its type, which Eigen::AutoDiffScalar does not have.
struct Gelu {
  static constexpr double slope =
      1.1289041451;  ///< at y = √2, where σ'' = (2 − y²) φ(y) vanishes; rounded up
  /// y Φ(y).
  template <RealScalar Scalar>
  [[nodiscard]] Scalar operator()(const Scalar& y) const {
    const Scalar tail = twice_phi(y);
    return tail == Scalar(0) ? Scalar(0) : Scalar(y / Scalar(2) * tail);  // also at y = −∞
  }
  /// Φ(y) + y φ(y), φ = Φ'.
  template <RealScalar Scalar>
  [[nodiscard]] Scalar derivative(const Scalar& y) const {
    const Scalar half = twice_phi(y) / Scalar(2), density = normal_density(y);
    return density == Scalar(0) ? half : Scalar(half + y * density);
  }
  /// ¼ + ½ ((y² − 1) Φ(y) + y φ(y)), right to ε (1 + y²).
  template <RealScalar Scalar>
  [[nodiscard]] Scalar primitive(const Scalar& y) const {
    const Scalar half = twice_phi(y) / Scalar(2), density = normal_density(y),
                 quarter = Scalar(1) / Scalar(4);
    if (half == Scalar(0)) return quarter;
    const Scalar slope_part = density == Scalar(0) ? Scalar(0) : Scalar(y * density),
                 rest = (y * y - Scalar(1)) * half;
    return quarter + (rest + slope_part) / Scalar(2);
  }

 private:
  template <class Scalar>
  static Scalar twice_phi(const Scalar& y) {
    using std::erfc;
    const Scalar argument = -y * static_cast<Scalar>(std::numbers::sqrt2_v<detail::Value<Scalar>> / 2);
    return erfc(argument);
  }
  template <class Scalar>
  static Scalar normal_density(const Scalar& y) {
    using std::exp;
    using Number = detail::Value<Scalar>;
    const Scalar size = exp(Scalar(-y * y) / Scalar(2));
    return size * static_cast<Scalar>(std::numbers::inv_sqrtpi_v<Number> / std::numbers::sqrt2_v<Number>);
  }
};

}}  // namespace attnflow
