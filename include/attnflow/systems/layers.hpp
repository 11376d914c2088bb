/// \file
/// Self-attention layer by layer: the discrete residual map and its exact rescaling.
#pragma once

#include <attnflow/detail/scratch.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/numerics/linear_systems.hpp>
#include <attnflow/numerics/scale.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <cmath>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

template <class Scalar>
[[nodiscard]] double positive_layer_step(double step, const char* owner) {
  if (!(step > 0 && step <= static_cast<double>((std::numeric_limits<Value<Scalar>>::max)())))
    refuse(owner, ": step is ", step, ", expected a positive number, finite as one of the tokens' type");
  return step;
}

}  // namespace detail

/// One residual self-attention layer without normalisation or feed-forward part [GLPR23, eq. (1.1)]:
///
///     xᵢᵏ⁺¹ = xᵢᵏ + Δt ∑ₕ ∑ⱼ Pʰᵢⱼ(xᵏ) Vₕ xⱼᵏ,
///
/// the same weights in every layer. It is the Euler step of TokenDynamics; Δt = 1 is the ordinary layer.
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic, WeightLaw Law = Softmax, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
class Layers {
 public:
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  using State = Tokens<Scalar, Dim>;

  /// \throws std::invalid_argument if a head is wrong (see Head::validate) or the step Δt is not positive and
  /// finite.
  Layers(Head<Scalar_, Dim_> head, double step, Law law = {}, Mask mask = {}, Bias bias = {})
      : Layers(std::vector<Head<Scalar, Dim>>{std::move(head)}, step, law, mask, bias) {}
  /// Several heads. Errors as above.
  Layers(std::vector<Head<Scalar_, Dim_>> heads, double step, Law law = {}, Mask mask = {}, Bias bias = {})
      : drift_(std::move(heads), law, mask, bias),
        step_(detail::positive_layer_step<Scalar>(step, "Layers")) {}

  /// Replaces x (d × n) by the output of one layer. Cost: one drift.
  /// \throws std::invalid_argument unless x has d rows.
  void apply(State& x) const {
    detail::require_dimension("Layers", x, drift_.dim());
    static constinit thread_local detail::Scratch<State> kept;
    State& update = *kept;
    drift_(0, x, update);
    x += static_cast<Scalar>(step_) * update;
  }

  /// Δt.
  [[nodiscard]] double step() const noexcept { return step_; }
  /// The drift whose Euler step a layer is.
  [[nodiscard]] const TokenDynamics<Scalar, Dim, Law, Mask, Bias>& drift() const noexcept { return drift_; }

 private:
  TokenDynamics<Scalar, Dim, Law, Mask, Bias> drift_;
  double step_;
};

/// The exact rescaling of Layers with one head, zᵏ = R⁻ᵏ xᵏ with R = I + ΔtV [GLPR23, remark on discrete
/// time]:
///
///     zᵢᵏ⁺¹ = zᵢᵏ + Δt ∑ⱼ Pᵢⱼ(Rᵏ zᵏ) R⁻¹ V (zⱼᵏ − zᵢᵏ).
///
/// As in RescaledDynamics, derivatives that Q, K and V carry are dropped, and those of the tokens are kept.
/// For V = I its hulls are nested for every Δt > 0. It is not the Euler scheme of RescaledDynamics, whose
/// factor is e^{Δt λ} and not 1 + Δt λ.
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic, WeightLaw Law = Softmax, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
class RescaledLayers {
  static_assert(detail::rows_sum_to_one<Law>(),
                "RescaledLayers needs a weight law whose rows sum to one, such as Softmax");
  static_assert(!StateMask<Mask>,
                "RescaledLayers do not take Within: rescaled coordinates have other distances than tokens");

 public:
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  using State = Tokens<Scalar, Dim>;

  /// \throws std::invalid_argument if the head is wrong, the step is not positive and finite, or R = I + ΔtV
  /// is singular to working precision: −1/Δt is an eigenvalue of V.
  RescaledLayers(Head<Scalar_, Dim_> head, double step, Law law = {}, Mask mask = {}, Bias bias = {})
      : head_((head.validate("RescaledLayers"), detail::validate_law(law), bias.validate(), std::move(head))),
        form_(detail::form_of(detail::without_derivatives(head_), law)),
        step_(detail::positive_layer_step<Scalar>(step, "RescaledLayers")),
        law_(std::move(law)),
        mask_(std::move(mask)),
        bias_(std::move(bias)) {
    detail::require_rows_of_one(law_, "RescaledLayers");
    // In units of a power of two, so that what is solved neither overflows nor vanishes.
    const Eigen::MatrixXd move = step_ * detail::in_double(head_.value());
    Eigen::MatrixXd R = Eigen::MatrixXd::Identity(move.rows(), move.cols()) + move;
    const int unit = detail::exponent_of(R.cwiseAbs().maxCoeff());
    const detail::FullPivoting lu =
        detail::solve_fully(detail::scaled_by_power(R, -unit), detail::scaled_by_power(move, -unit));
    if (!R.allFinite() || !lu.invertible || !(lu.rcond > std::numeric_limits<double>::epsilon()))
      detail::refuse("RescaledLayers: R = I + step V is singular to working precision (reciprocal condition ",
                     lu.rcond, "), expected that -1/step = ", -1 / step_, " is not an eigenvalue of V");
    growth_ = ScaledMatrix<Dim>::of(R);
    shrinkage_ = ScaledMatrix<Dim>::of(lu.inverse);
    shrinkage_.log_scale -= unit * std::numbers::ln2;
    value_ = lu.solution.template cast<Scalar>();
  }

  /// Replaces zᵏ by zᵏ⁺¹. Cost: one drift and O(d³ log k). \pre k ≥ 0.
  /// \throws std::invalid_argument unless z has d rows.
  void apply(long k, State& z) const {
    detail::require_dimension("RescaledLayers", z, head_.dim());
    static constinit thread_local detail::Scratch<State> kept_displacement, kept_update;
    State &displacement = *kept_displacement, &update = *kept_update;
    const ScaledMatrix<Dim> flow = power(growth_, k);
    const int exponent = detail::attend_scaled(form_, &flow, Weighted::displacements, law_, mask_, bias_, z,
                                               displacement, nullptr);
    update.resize(z.rows(), z.cols());
    if constexpr (KernelScalar<Scalar>)
      detail::multiply_tokens<Dim>(value_.data(), displacement.data(), update.data(), z.rows(), z.cols());
    else
      detail::multiply_entries(detail::private_copy(value_).data(), displacement.data(), update.data(),
                               z.rows(), z.cols());
    if (exponent !=
        0) {  // an update may be beyond the range of Scalar although z + update is not: in two halves
      detail::scale_by_power_of_two(update, exponent - 1);
      z += update;
    }
    z += update;
  }

  /// P of layer k, from Rᵏ zᵏ. \throws std::invalid_argument if z has not d rows or a token is not finite.
  [[nodiscard]] SquareMatrix<Scalar> attention(long k, const State& z) const {
    detail::require_dimension("RescaledLayers", z, head_.dim());
    const ScaledMatrix<Dim> flow = power(growth_, k);
    return detail::weights<Scalar, Dim>(form_, &flow, law_, mask_, bias_, detail::TokenView<Scalar, Dim>(z));
  }

  /// zᵏ = R⁻ᵏ xᵏ. \throws std::invalid_argument unless x has d rows.
  [[nodiscard]] State rescale(long k, const State& x) const {
    detail::require_dimension("RescaledLayers", x, head_.dim());
    return detail::apply_scaled<Scalar>(power(shrinkage_, k), x);
  }
  /// xᵏ = Rᵏ zᵏ; an entry beyond the range of Scalar becomes ±∞. Errors as
  /// rescale().
  [[nodiscard]] State unrescale(long k, const State& z) const {
    detail::require_dimension("RescaledLayers", z, head_.dim());
    return detail::apply_scaled<Scalar>(power(growth_, k), z);
  }

  /// Δt.
  [[nodiscard]] double step() const noexcept { return step_; }

 private:
  static ScaledMatrix<Dim> power(ScaledMatrix<Dim> base, long k) {
    ScaledMatrix<Dim> result = ScaledMatrix<Dim>::identity(base.matrix.rows());
    for (; k > 0; k /= 2) {
      if (k % 2 != 0) result.premultiply(base);
      if (k > 1) base.square();
    }
    return result;
  }

  Head<Scalar, Dim> head_;
  detail::FormOf<Scalar, Dim, Law> form_;
  double step_;
  ScaledMatrix<Dim> growth_, shrinkage_;         // R, R⁻¹
  detail::ColumnMajor<Scalar, Dim, Dim> value_;  // Δt R⁻¹ V
  Law law_;
  [[no_unique_address]] Mask mask_;
  [[no_unique_address]] Bias bias_;
};

}}  // namespace attnflow
