/// \file
/// Layers that move each token a part of the way to the mean that it attends to.
#pragma once

#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <functional>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The step sizes of Frank and Wolfe's method: γₖ = 2/(k + 2), which is 1 for the first layer, k = 0. \pre k ≥ 0.
[[nodiscard]] inline double frank_wolfe_step(long k) noexcept { return 2 / (static_cast<double>(k) + 2); }

/// γ = α/(1 + α) for the step α of layers that are divided by 1 + α: (x + α y)/(1 + α) = (1 − γ) x + γ y [AFZ24].
/// \throws std::invalid_argument unless α is positive and finite.
[[nodiscard]] inline double convex_step(double alpha) {
  if (!(alpha > 0) || !std::isfinite(alpha))
    detail::refuse("convex_step: alpha is ", alpha, ", expected a positive finite number");
  return alpha / (1 + alpha);
}

/// Attention layers of convex combinations, for a law whose rows sum to one:
///
///     xᵢᵏ⁺¹ = (1 − γₖ) xᵢᵏ + γₖ ∑ⱼ wᵢⱼ xⱼᵏ = xᵢᵏ + γₖ ∑ⱼ wᵢⱼ (xⱼᵏ − xᵢᵏ),   w = law(⟨Q xᵢᵏ, K xⱼᵏ⟩),   0 < γₖ ≤ 1.
///
/// As β → ∞ token i goes towards the tokens that maximise ⟨Q xᵢ, K y⟩: the layers of [AFZ24] with γ = α/(1 + α), and a
/// step of Frank and Wolfe's method on the hull of the tokens [AGR25]. For QᵀK = I, finite β of either sign and γ that
/// does not vanish, all tokens meet in a point of that hull.
///
/// Taken by displacements, which the operator gives: a token that attends to itself alone rests, to the last bit, and
/// one with nothing to attend to does. Rounding apart, hulls are nested. V is the identity, as tokens are averaged as
/// they are: Layers has any V. The flow that is followed with γ → 0, ẋᵢ = ∑ⱼ wᵢⱼ (xⱼ − xᵢ), is TokenDynamics with
/// LinearPart(−I), see Driven.
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic, WeightLaw Law = Softmax, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
class ConvexLayers {
  static_assert(detail::rows_sum_to_one<Law>(),
                "ConvexLayers needs a weight law whose rows sum to one, such as Softmax");

 public:
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  using State = Tokens<Scalar, Dim>;
  /// k ↦ γₖ, for k = 0, 1, ….
  using Schedule = std::function<double(long)>;

  /// The same γ in every layer.
  /// \throws std::invalid_argument if the head is wrong, V is not the identity, or γ is not in (0, 1].
  ConvexLayers(Head<Scalar_, Dim_> head, double gamma, Law law = {}, Mask mask = {}, Bias bias = {})
      : ConvexLayers(std::move(head), Schedule([gamma](long /*k*/) { return gamma; }), law, mask, bias) {
    (void)this->gamma(0);
  }
  /// γₖ by a function, such as frank_wolfe_step. Errors as above; each γₖ is looked at when its layer is applied.
  ConvexLayers(Head<Scalar_, Dim_> head, Schedule gamma, Law law = {}, Mask mask = {}, Bias bias = {})
      : form_(detail::form_of((validate(head), detail::validate_law(law), bias.validate(), head), law)),
        dim_(head.dim()),
        schedule_(std::move(gamma)),
        law_(std::move(law)),
        mask_(std::move(mask)),
        bias_(std::move(bias)) {
    detail::require_rows_of_one(law_, "ConvexLayers");
    if (!schedule_) detail::refuse("ConvexLayers: gamma is an empty function, expected k -> gamma_k");
  }

  /// Replaces xᵏ (d × n) by xᵏ⁺¹. Cost: one drift. \pre k ≥ 0.
  /// \throws std::invalid_argument unless x has d rows and γₖ is in (0, 1].
  void apply(long k, State& x) const {
    detail::require_dimension("ConvexLayers", x, dim_);
    static constinit thread_local detail::Scratch<State> kept;
    State& displacement = *kept;
    const auto step = static_cast<Scalar>(gamma(k));
    const int exponent = detail::attend_scaled(form_, nullptr, Weighted::displacements, law_, mask_, bias_, x,
                                               displacement, nullptr);
    displacement *= step;
    if (exponent != 0) {  // a move may be beyond the range of Scalar although its end is not: in two halves
      detail::scale_by_power_of_two(displacement, exponent - 1);
      x += displacement;
    }
    x += displacement;
  }

  /// The weights at x, rows summing to one. \throws std::invalid_argument if x has not d rows or a token is not finite.
  template <TokenSource<Scalar_, Dim_> X>
  [[nodiscard]] SquareMatrix<Scalar> attention(const X& x) const {
    detail::require_dimension("ConvexLayers", x, dim_);
    return detail::weights<Scalar, Dim>(form_, nullptr, law_, mask_, bias_,
                                        detail::TokenView<Scalar, Dim>(x));
  }

  /// γₖ. \throws std::invalid_argument unless it is in (0, 1].
  [[nodiscard]] double gamma(long k) const {
    const double value = schedule_(k);
    if (!(value > 0 && value <= 1))
      detail::refuse("ConvexLayers: gamma of layer ", k, " is ", value, ", expected a number in (0, 1]");
    return value;
  }
  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept { return dim_; }

 private:
  static void validate(const Head<Scalar, Dim>& head) {
    head.validate("ConvexLayers");
    if (!detail::in_double(head.value()).isIdentity(0))
      detail::refuse("ConvexLayers: V is not the identity, expected V = I: tokens are averaged as they are");
  }

  detail::FormOf<Scalar, Dim, Law> form_;
  Eigen::Index dim_;
  Schedule schedule_;
  Law law_;
  [[no_unique_address]] Mask mask_;
  [[no_unique_address]] Bias bias_;
};

}}  // namespace attnflow
