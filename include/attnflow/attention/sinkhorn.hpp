/// \file
/// Doubly stochastic weights.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/value_of.hpp>

#include <cmath>
#include <limits>
#include <type_traits>

namespace attnflow::inline ATTNFLOW_ABI {

/// Doubly stochastic attention, the weights of Sinkformers [SABP22]: the scaling
///
///     Pᵢⱼ = e^{sᵢⱼ + fᵢ + gⱼ},   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),
///
/// of which rows and columns sum to one, by Sinkhorn's iteration on the logarithms f and g: rows, then columns and rows
/// again, `iterations` times at most. In [SABP22]'s count these are 2 iterations + 1 steps; iterations = 0 is Softmax.
/// The iteration ends before, once every column sums to one within `tolerance`. Rows are scaled last and sum to one to
/// rounding in any case.
///
/// Columns that sum to one keep the mean: d/dt ∑ᵢ xᵢ = V ∑ᵢ xᵢ. Masses mⱼ (TokenMasses) replace the ones by
/// ∑ᵢ mᵢ Pᵢⱼ = mⱼ. A mask has to be symmetric (Band, ExcludeSelf, a symmetric Graph): a triangular matrix with unit
/// rows and columns is the identity.
///
/// The matrix is never formed: a sweep costs two drifts of softmax. How many it takes grows with the spread of the
/// scores, like e^{spread} in the worst case. Scores beyond 10³⁰⁰ have no logarithms f, g in double: the result is NaN, and a
/// run ends there.
template <RealScalar Scalar_>
struct Sinkhorn {
  using Scalar = Scalar_;
  /// P is a stochastic matrix, and nearly its transpose, too.
  static constexpr bool rows_sum_to_one = true;
  /// A weight is an exponential of its score.
  static constexpr WeightFunction function = WeightFunction::exponential;

  /// β, finite.
  double beta = 1;
  /// The most sweeps over columns and rows.
  int iterations = 1000;
  /// The largest |∑ᵢ Pᵢⱼ − 1| at which the iteration ends.
  double tolerance = std::is_same_v<detail::Value<Scalar_>, float> ? 1e-5 : 1e-12;

  /// \throws std::invalid_argument unless β is finite, the number of iterations at least 0, the tolerance too.
  void validate() const {
    if (!std::isfinite(beta)) detail::refuse("Sinkhorn::beta is ", beta, ", expected a finite number");
    if (iterations < 0)
      detail::refuse("Sinkhorn::iterations is ", iterations, ", expected zero or a positive number");
    if (!(tolerance >= 0))
      detail::refuse("Sinkhorn::tolerance is ", tolerance, ", expected zero or a positive number");
  }
  /// f = 0: rows are those of a softmax whose scores have gⱼ added.
  [[nodiscard]] double log_row_factor(double /*log_normalizer*/, Eigen::Index /*n*/) const noexcept {
    return 0;
  }
};

}  // namespace attnflow::inline ATTNFLOW_ABI
