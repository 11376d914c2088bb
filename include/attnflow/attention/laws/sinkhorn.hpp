/// \file
/// Doubly stochastic weights.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>

#include <limits>
#include <optional>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Doubly stochastic attention, the weights of Sinkformers [SABP22]: the scaling
///
///     Pᵢⱼ = e^{sᵢⱼ + fᵢ + gⱼ},   sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ + bias(i, j),
///
/// of which rows and columns sum to one: the limit of Sinkhorn's iteration, which scales rows, then columns and rows again.
/// It is taken on the logarithms f and g as long as it converges fast, and found by Newton's method otherwise. Rows sum
/// to one to rounding, columns within `tolerance`; RowRecord::marginal_error says how well.
///
/// Where that cannot be had, velocities are NaN, so that a run ends as Outcome::non_finite, and log_attention,
/// attention_matrix and the attention() of a system throw std::runtime_error. So it is under a mask that leaves no matrix
/// with such rows and columns (a star: the leaves attend to the centre alone), for scores beyond 10³⁰⁰, which have no
/// logarithms f and g in double, and where the smallest differences of scores decide and are lost in rounding.
///
/// With `iterations` set, P is what so many sweeps over columns and rows make, whatever its columns sum to: 2 iterations + 1
/// steps in [SABP22]'s count, softmax for 0. They end before, once every column sums to one within the tolerance.
///
/// Columns that sum to one keep the mean: d/dt ∑ᵢ xᵢ = V ∑ᵢ xᵢ. Masses mⱼ (TokenMasses) replace the ones by
/// ∑ᵢ mᵢ Pᵢⱼ = mⱼ. A mask has to be symmetric (Band, ExcludeSelf, a symmetric Graph): a triangular matrix with unit
/// rows and columns is the identity.
///
/// A sweep costs two drifts of softmax and O(n d) memory, and 100 are made at most. A Newton step costs a pass of
/// plain loops in double and O(n³), or above 300 tokens conjugate gradients; the weights that count are listed, up to 16 n²
/// bytes where all do. Scores that differ by 10⁴ take some 80 steps.
struct Sinkhorn {
  static constexpr const char* name = "Sinkhorn";
  static constexpr auto function = WeightFunction::exponential;
  static constexpr bool rows_sum_to_one = true;
  /// β, finite.
  double beta = 1;
  /// How many sweeps over columns and rows are made at most; the largest int stands for their limit.
  int iterations = (std::numeric_limits<int>::max)();
  /// The largest |∑ᵢ Pᵢⱼ − 1|; not less than what rounding makes of the sum of a column, (n + 4) ε. Without a number it is
  /// 10⁻¹², for tokens in float 10⁻⁵.
  std::optional<double> tolerance = {};

  /// \throws std::invalid_argument unless the number of iterations and the tolerance are at least 0.
  void validate() const {
    if (iterations < 0)
      detail::refuse("Sinkhorn::iterations is ", iterations, ", expected zero or a positive number");
    if (tolerance && !(*tolerance >= 0))
      detail::refuse("Sinkhorn::tolerance is ", *tolerance, ", expected zero or a positive number");
  }
};

}}  // namespace attnflow
