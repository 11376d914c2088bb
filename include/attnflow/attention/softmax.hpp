/// \file
/// The weight law of the papers: softmax.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <concepts>

namespace attnflow {

/// Softmax weights at inverse temperature β: wᵢⱼ = exp(β sᵢⱼ) / ∑ₗ exp(β sᵢₗ), sᵢⱼ = ⟨Q xᵢ, K xⱼ⟩.
/// β may be zero (uniform weights) or negative.
template <RealScalar Scalar_>
struct Softmax {
  using Scalar = Scalar_;
  static constexpr bool rows_sum_to_one = true;

  double beta = 1;

  /// \throws std::invalid_argument unless β is finite.
  void validate() const {
    if (!std::isfinite(beta)) detail::refuse("Softmax::beta is ", beta, ", expected a finite number");
  }
};

/// How one row of scores becomes weights. Softmax is the law there is so far; a law is a small
/// value type that names its scalar, says whether its rows sum to one, and carries β.
template <class L, class Scalar>
concept WeightLaw = std::same_as<typename L::Scalar, Scalar> && requires(const L& law) {
  { L::rows_sum_to_one } -> std::convertible_to<bool>;
  { law.beta } -> std::convertible_to<double>;
  { law.validate() } -> std::same_as<void>;
};

/// Every token attends to every token, itself included.
struct NoMask {};
/// Scores carry no term that depends on the positions i and j.
struct NoBias {};

/// Which keys a query may attend to; NoMask is the only mask so far.
template <class M>
concept AttentionMask = std::same_as<M, NoMask>;
/// What is added to a score for its positions; NoBias is the only bias so far.
template <class B>
concept PositionalBias = std::same_as<B, NoBias>;

}  // namespace attnflow
