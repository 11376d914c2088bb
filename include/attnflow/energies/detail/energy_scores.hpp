/// \file
/// Sums of exponentials of scores over all pairs of tokens, and their rate along velocities.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
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

/// Scores β ⟨Q xᵢ, K xⱼ⟩, and the largest.
struct EnergyScores {
  Eigen::MatrixXd query, key;  // Q x and K x
  double beta = 1, largest = -std::numeric_limits<double>::infinity();

  template <class Scalar, int Dim, class Derived>
  EnergyScores(const char* function, const Head<Scalar, Dim>& head, const Eigen::MatrixBase<Derived>& x,
               double inverse_temperature = 1)
      : beta(inverse_temperature) {
    head.validate(function);
    if (!std::isfinite(beta)) refuse(function, ": beta is ", beta, ", expected a finite number");
    if (x.rows() != head.dim()) refuse(function, ": x has ", x.rows(), " rows, expected d = ", head.dim());
    refuse_unless_finite(function, "x", x);
    const Eigen::MatrixXd tokens = x.template cast<double>();
    query = applied(head.Q, tokens);
    key = applied(head.K, tokens);
    for (Eigen::Index i = 0; i < x.cols(); ++i)
      for (Eigen::Index j = 0; j < x.cols(); ++j) {
        const double score = (*this)(i, j);
        if (!std::isfinite(score))
          refuse(function, ": the score of query ", i, " on key ", j, " is ", score,
                 ", expected a finite number");
        largest = (std::max)(largest, score);
      }
  }

  [[nodiscard]] double operator()(Eigen::Index i, Eigen::Index j) const {
    return beta * query.col(i).dot(key.col(j));
  }
  /// ∑ᵢⱼ e^{sᵢⱼ − largest}.
  [[nodiscard]] double sum() const {
    double sum = 0;
    for (Eigen::Index i = 0; i < query.cols(); ++i)
      for (Eigen::Index j = 0; j < key.cols(); ++j) sum += std::exp((*this)(i, j) - largest);
    return sum;
  }
  /// log ∑ⱼ e^{sᵢⱼ}, relative to the largest of the row.
  [[nodiscard]] double log_row_sum(Eigen::Index i) const {
    double top = (*this)(i, 0), sum = 0;
    for (Eigen::Index j = 1; j < key.cols(); ++j) top = (std::max)(top, (*this)(i, j));
    for (Eigen::Index j = 0; j < key.cols(); ++j) sum += std::exp((*this)(i, j) - top);
    return top + std::log(sum);
  }
  /// ∑ᵢⱼ (e^{sᵢⱼ}/∑ e^s) d⟨Q xᵢ, K xⱼ⟩/dt where queries Q x and keys K x change at these rates; β times that is
  /// d log ∑ e^s / dt. `sum` as above.
  [[nodiscard]] double mean_rate(const Eigen::MatrixXd& query_rate, const Eigen::MatrixXd& key_rate,
                                 double sum) const {
    double rate = 0;
    for (Eigen::Index i = 0; i < query.cols(); ++i)
      for (Eigen::Index j = 0; j < key.cols(); ++j) {
        const double change = query_rate.col(i).dot(key.col(j)) + query.col(i).dot(key_rate.col(j));
        rate += std::exp((*this)(i, j) - largest) / sum * change;
      }
    return rate;
  }
};

/// rate · e^{log size}, 0 where the rate is 0 and not 0 · ∞.
[[nodiscard]] inline double scaled_by_exponential(double rate, double log_size) {
  return rate == 0 ? 0 : std::copysign(std::exp(std::log(std::abs(rate)) + log_size), rate);
}

}}}  // namespace attnflow::detail
