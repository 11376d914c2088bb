/// \file
/// Softmax of squared distances.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// L2 attention [KPM21, CACP25]: softmax of distances between queries and keys,
///
///     wᵢⱼ = e^{sᵢⱼ} / ∑ₗ e^{sᵢₗ},   sᵢⱼ = −β c ‖Q xᵢ − K xⱼ‖² + bias(i, j).
///
/// c = 1 is the choice of [CACP25]; with c = ½ and Q = K on the unit sphere it is Softmax, whose scores differ by what a
/// row has in common. Distances are taken from differences of tokens: far from the origin nothing is lost. One drift
/// costs that of softmax in d + 2 coordinates.
struct L2Softmax {
  static constexpr const char* name = "L2Softmax";
  static constexpr auto function = WeightFunction::exponential;
  static constexpr bool rows_sum_to_one = true;
  /// β, finite.
  double beta = 1;
  /// c, finite and positive.
  double scale = 1;

  /// \throws std::invalid_argument unless c is positive and finite, and β c finite.
  void validate() const {
    if (!(std::isfinite(scale) && scale > 0))
      detail::refuse("L2Softmax::scale is ", scale, ", expected a positive number");
    if (!std::isfinite(beta * scale))
      detail::refuse("L2Softmax: beta times scale is ", beta * scale, ", expected a finite number");
  }
};

}}  // namespace attnflow
