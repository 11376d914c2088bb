/// \file
/// One number for how aligned tokens on the sphere are: order parameter, mean cosine, variance of directions.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstddef>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// Tokens in double, of which there are at least so many.
template <class Derived>
[[nodiscard]] Eigen::MatrixXd tokens_of(const char* function, const Eigen::MatrixBase<Derived>& x,
                                        Eigen::Index least) {
  if (x.cols() < least) refuse(function, ": x has ", x.cols(), " tokens, expected at least ", least);
  refuse_unless_finite(function, "x", x);
  return x.template cast<double>();
}

/// \throws std::invalid_argument if a number is not finite, as of tokens that are far from the unit sphere.
[[nodiscard]] inline double finite_result(const char* function, double value) {
  if (!std::isfinite(value)) refuse(function, ": the result is ", value, ", expected tokens within 10^150");
  return value;
}

/// ∑ ‖xᵢ − m‖² over the tokens of one label, m their mean. Deviations are taken from the first of them before their
/// mean is subtracted, so that nothing is lost where they nearly agree. `of`: whether token i counts.
template <class Of>
[[nodiscard]] double sum_of_squared_deviations(const Eigen::MatrixXd& x, Eigen::Index first, const Of& of) {
  Eigen::VectorXd mean = Eigen::VectorXd::Zero(x.rows());
  double count = 0;
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    if (of(i)) {
      mean += x.col(i) - x.col(first);
      ++count;
    }
  mean /= count;
  double squares = 0;
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    if (of(i)) squares += (x.col(i) - x.col(first) - mean).squaredNorm();
  return squares;
}

}  // namespace detail

/// The order parameter of Kuramoto's model on any sphere, the length of the mean,
///
///     R = ‖(1/n) ∑ᵢ xᵢ‖ ∈ [0, 1],
///
/// 1 at consensus; 1 − R² is directional_variance, which has all digits there. x: d × n, unit columns. O(n d).
/// \throws std::invalid_argument unless there is a token, all are finite and so is the result.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] double order_parameter(const Eigen::MatrixBase<Derived>& x) {
  const Eigen::MatrixXd tokens = detail::tokens_of("order_parameter", x, 1);
  return detail::finite_result("order_parameter",
                               (tokens / static_cast<double>(x.cols())).rowwise().sum().stableNorm());
}

/// The variance of directions [KGPR25],
///
///     (1/n) ∑ᵢ ‖xᵢ − m‖² = 1 − ‖m‖²,   m = (1/n) ∑ᵢ xᵢ,
///
/// the second for unit tokens only. 0 at consensus, 1 for an antipodal pair and wherever m = 0. Computed by the
/// first, with a relative error of some n ε (and an absolute one of ε² by the lengths of unit tokens): rates of its
/// decay can be read off down to 10⁻³⁰. x: d × n. O(n d).
/// \throws std::invalid_argument unless there is a token, all are finite and so is the result.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] double directional_variance(const Eigen::MatrixBase<Derived>& x) {
  const Eigen::MatrixXd tokens = detail::tokens_of("directional_variance", x, 1);
  return detail::finite_result("directional_variance", detail::sum_of_squared_deviations(
                                                           tokens, 0, [](Eigen::Index) { return true; }) /
                                                           static_cast<double>(x.cols()));
}

/// The same inside clusters, weighted by their sizes: with m_q the mean of the cluster that token i belongs to,
///
///     (1/n) ∑ᵢ ‖xᵢ − m_{q(i)}‖².
///
/// clusters: a partition of the tokens, as detect_clusters gives it. O(n d) for each cluster.
/// \throws std::invalid_argument unless there is a token, all are finite, each has a label in range and the result is
/// finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] double intra_cluster_variance(const Eigen::MatrixBase<Derived>& x, const Clusters& clusters) {
  const Eigen::MatrixXd tokens = detail::tokens_of("intra_cluster_variance", x, 1);
  if (static_cast<Eigen::Index>(clusters.labels.size()) != x.cols())
    detail::refuse("intra_cluster_variance: clusters have ", clusters.labels.size(), " labels, expected ",
                   x.cols(), ", one for each token");
  const auto label = [&](Eigen::Index i) { return clusters.labels[static_cast<std::size_t>(i)]; };
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    if (label(i) < 0 || label(i) >= clusters.count())
      detail::refuse("intra_cluster_variance: label ", i, " is ", label(i), ", expected 0 to ",
                     clusters.count() - 1);
  double squares = 0;
  for (Eigen::Index q = 0; q < clusters.count(); ++q) {
    Eigen::Index first = 0;
    while (first < x.cols() && label(first) != q) ++first;
    if (first == x.cols()) continue;
    squares +=
        detail::sum_of_squared_deviations(tokens, first, [&](Eigen::Index i) { return label(i) == q; });
  }
  return detail::finite_result("intra_cluster_variance", squares / static_cast<double>(x.cols()));
}

/// The mean over the pairs i < j of ⟨xᵢ, xⱼ⟩, for unit tokens the mean cosine [KGPR25],
///
///     (2/(n(n−1))) ∑_{i<j} ⟨xᵢ, xⱼ⟩ = 1 − (n/(n−1)) (1/n) ∑ᵢ ‖xᵢ − m‖² = 1 − directional_variance(x) n/(n−1),
///
/// from −1/(n−1) to 1, to an error of a few ε in O(n d). Near consensus take n/(n−1) times the variance for 1 less it.
/// x: d × n, unit columns.
/// \throws std::invalid_argument unless there are two tokens, all are finite and so is the result.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] double mean_cosine(const Eigen::MatrixBase<Derived>& x) {
  const Eigen::MatrixXd tokens = detail::tokens_of("mean_cosine", x, 2);
  const auto n = static_cast<double>(x.cols());
  return detail::finite_result(
      "mean_cosine",
      1 - detail::sum_of_squared_deviations(tokens, 0, [](Eigen::Index) { return true; }) / (n - 1));
}

}}  // namespace attnflow
