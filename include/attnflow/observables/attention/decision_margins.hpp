/// \file
/// How clearly each token has decided whom to follow.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/attention/leaders.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// Calls report(i, best, second) with the largest and second-largest location of each row of `values`, where a
/// location's value is the maximum over its columns; −∞ for a location that is not there.
template <class Derived, class Report>
void for_each_decision(const char* function, const char* name, const Eigen::MatrixBase<Derived>& values,
                       std::span<const Eigen::Index> labels, const Report& report) {
  const MergedColumns merged = merged_columns(function, name, values.cols(), labels);
  constexpr double nowhere = -std::numeric_limits<double>::infinity();
  Eigen::VectorXd largest(merged.count());
  for (Eigen::Index i = 0; i < values.rows(); ++i) {
    largest.setConstant(nowhere);
    for (Eigen::Index j = 0; j < values.cols(); ++j) {
      const double value = static_cast<double>(values(i, j));
      if (!(value < std::numeric_limits<double>::infinity()))
        refuse(function, ": ", name, "(", i, ", ", j, ") is ", value,
               ", expected a number or minus infinity");
      double& most = largest(merged.target[static_cast<std::size_t>(j)]);
      most = (std::max)(most, value);
    }
    double best = nowhere, second = nowhere;
    for (const double value : largest)
      if (value > best) {
        second = best;
        best = value;
      } else {
        second = (std::max)(second, value);
      }
    report(i, best, second);
  }
}

}  // namespace detail

/// How clearly each row has decided, relative to its scores: between the best location and the second best
///
///     marginᵢ = (σᵢ* − σᵢ') / |σᵢ*|.
///
/// A row with a small margin may follow another leader after a small perturbation, or in another precision;
/// tests leave rows under 10⁻³ alone. A location is a cluster of tokens, and its score the largest of its
/// columns: coincident tokens do not compete with each other.
///
/// scores: m × n, σᵢⱼ = ⟨Q xᵢ, K xⱼ⟩; −∞ where i may not attend to j. labels: n numbers from 0 to n − 1, equal
/// for tokens of one cluster (as in Clusters::labels). The margin is ∞ where there is nothing to decide between
/// (one location or none, apart from −∞), and where σᵢ* = 0 > σᵢ'; it is 0 for a tie, even of zeros.
/// O(m n) time, O(n) memory.
/// \throws std::invalid_argument for a score that is NaN or +∞, and unless there are n labels in range.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::VectorXd decision_margins(const Eigen::MatrixBase<Derived>& scores,
                                               std::span<const Eigen::Index> labels) {
  Eigen::VectorXd margins(scores.rows());
  detail::for_each_decision("decision_margins", "scores", scores, labels,
                            [&](Eigen::Index i, double best, double second) {
                              if (std::isinf(second)) {
                                margins(i) = std::numeric_limits<double>::infinity();
                              } else if (best == second) {
                                margins(i) = 0;
                              } else {
                                // Beyond the range of double the difference is at least half the largest number: divide first.
                                const double gap = best - second, size = std::abs(best);
                                margins(i) = std::isfinite(gap) ? gap / size : best / size - second / size;
                              }
                            });
  return margins;
}

/// The same gap without the division, from the logarithms of attention weights (or from scores: the
/// normalizer of a row cancels):
///
///     log Pᵢ* − log Pᵢ' = σᵢ* − σᵢ',
///
/// so e^{−gap} is what the second-best token of another location weighs against the best one. ∞ where there is
/// nothing to decide between, or where the second has underflowed to −∞. Cost as decision_margins.
/// \throws std::invalid_argument for an entry that is NaN or +∞, and unless there are n labels in range.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::VectorXd log_margins(const Eigen::MatrixBase<Derived>& log_P,
                                          std::span<const Eigen::Index> labels) {
  Eigen::VectorXd margins(log_P.rows());
  detail::for_each_decision(
      "log_margins", "log_P", log_P, labels, [&](Eigen::Index i, double best, double second) {
        margins(i) = std::isinf(second) ? std::numeric_limits<double>::infinity() : best - second;
      });
  return margins;
}

}}  // namespace attnflow
