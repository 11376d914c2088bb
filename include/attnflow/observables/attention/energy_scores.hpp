/// \file
/// Sums of exponentials of scores over all pairs of tokens, and their rate along velocities.
#pragma once

#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// A x in double, by plain loops: no large product is worth what Eigen's kernels take to compile.
template <class Matrix>
[[nodiscard]] Eigen::MatrixXd applied(const Matrix& A, const Eigen::MatrixXd& x) {
  const Eigen::MatrixXd B = A.template cast<double>();
  Eigen::MatrixXd y = Eigen::MatrixXd::Zero(B.rows(), x.cols());
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    for (Eigen::Index k = 0; k < x.rows(); ++k) y.col(i) += x(k, i) * B.col(k);
  return y;
}

/// Log-normalisers log Zᵢ = log ∑ⱼ e^{sᵢⱼ} of the scores sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩, and the logarithm of their sum.
struct EnergyRows {
  Tokens<double> query, key;  ///< Q x and K x
  RowRecord rows;
  double log_sum = -std::numeric_limits<double>::infinity();  ///< log ∑ᵢ Zᵢ

  /// \param tangent  null, or d × n velocities ẋ: writes d log ∑ᵢ Zᵢ/dt, divided by β, to *rate.
  /// Cost: O(n² d_k + n d d_k) time, O(n d_k) memory.
  template <class Scalar, int Dim>
  EnergyRows(const char* function, const Head<Scalar, Dim>& head, const Eigen::MatrixXd& x, double beta = 1,
             const Eigen::MatrixXd* tangent = nullptr, double* rate = nullptr)
      : query(applied(head.Q, x)), key(applied(head.K, x)) {
    const Eigen::Index d_k = key.rows(), n = x.cols();
    if (n == 0) return;
    // ∑ⱼ e^{sᵢⱼ} (⟨Q ẋᵢ, K xⱼ⟩ + ⟨Q xᵢ, K ẋⱼ⟩) = Zᵢ (⟨Q ẋᵢ, aᵢ⟩ + ⟨Q xᵢ, bᵢ⟩) with the means a of K x and b of K ẋ.
    Tokens<double> values = key, means;
    if (tangent != nullptr) {
      values.conservativeResize(2 * d_k, n);
      values.bottomRows(d_k) = applied(head.K, *tangent);
    }
    if (!query.allFinite() || !values.allFinite())
      refuse(function, ": products of tokens or velocities with Q or K overflow, expected smaller ones");
    attend(query, key, values, Softmax{beta}, NoMask{}, NoBias{}, means, &rows);
    double largest = log_sum, sum = 0;
    for (Eigen::Index i = 0; i < n; ++i) {
      const double log_row = rows.log_normalizer[static_cast<std::size_t>(i)];
      if (!std::isfinite(log_row))
        refuse(function, ": the scores of query ", i, " have the log-normaliser ", log_row,
               ", expected a finite number");
      largest = (std::max)(largest, log_row);
    }
    for (const double log_row : rows.log_normalizer) sum += std::exp(log_row - largest);
    log_sum = largest + std::log(sum);
    if (tangent == nullptr) return;
    const Tokens<double> query_rate = applied(head.Q, *tangent);
    *rate = 0;
    for (Eigen::Index i = 0; i < n; ++i)
      *rate += std::exp(rows.log_normalizer[static_cast<std::size_t>(i)] - largest) / sum *
               (query_rate.col(i).dot(means.col(i).head(d_k)) + query.col(i).dot(means.col(i).tail(d_k)));
  }

  /// ∑ᵢ Zᵢ; ∞ beyond 10³⁰⁸.
  [[nodiscard]] double sum() const { return std::exp(log_sum); }
};

/// Tokens in double. \throws std::invalid_argument if they or the head are wrong, in the name of a function.
template <class Scalar, int Dim, class Derived>
[[nodiscard]] Eigen::MatrixXd energy_tokens(const char* function, const Head<Scalar, Dim>& head,
                                            const Eigen::MatrixBase<Derived>& x) {
  head.validate(function);
  require_dimension(function, x, head.dim());
  refuse_unless_finite(function, "x", x);
  return x.template cast<double>();
}

/// rate · e^{log size}, 0 where the rate is 0 and not 0 · ∞.
[[nodiscard]] inline double scaled_by_exponential(double rate, double log_size) {
  return rate == 0 ? 0 : std::copysign(std::exp(std::log(std::abs(rate)) + log_size), rate);
}

}}}  // namespace attnflow::detail
