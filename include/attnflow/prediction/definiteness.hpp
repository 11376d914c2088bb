/// \file
/// Is the bilinear form M = QᵀK symmetric, and positive definite?
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/symmetric_eigen.hpp>
#include <attnflow/prediction/verdict.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// M = β QᵀK, the form with which the scores are sᵢⱼ = xᵢᵀ M xⱼ; d × d, in double. O(d² d_k).
/// \throws std::invalid_argument if the head is wrong (Head::validate), β or a product not finite.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] Eigen::MatrixXd bilinear_form(const Head<Scalar, Dim>& head, double beta = 1) {
  head.validate("bilinear_form");
  if (!std::isfinite(beta)) detail::refuse("bilinear_form: beta is ", beta, ", expected a finite number");
  const Eigen::MatrixXd Q = head.Q.template cast<double>(), K = head.K.template cast<double>();
  Eigen::MatrixXd M = beta * detail::transposed_product(Q, K);
  if (!M.allFinite())
    detail::refuse(
        "bilinear_form: beta QᵀK overflows, expected weights whose products are in the range of double");
  return M;
}

/// The signs of a bilinear form xᵀMx, and how symmetric it is. All relative to ‖M‖, so without unit.
struct Definiteness {
  double asymmetry = 0;  ///< ‖M − Mᵀ‖_F / 2‖M‖_F: 0 for a symmetric M, 1 for a skew one
  double smallest = 0;   ///< eigenvalues of the symmetric part (M + Mᵀ)/2
  /// The largest eigenvalue of the symmetric part.
  double largest = 0;
  double margin = 0;  ///< smallest / max(|smallest|, |largest|): 1/condition if positive definite; ≤ 0 if not
  Eigen::Index dim = 0;  ///< d

  /// M is symmetric and xᵀMx > 0 for x ≠ 0, up to a relative tolerance.
  [[nodiscard]] bool is_positive_definite(double tol = 1e-10) const noexcept {
    return asymmetry <= tol && margin > tol;
  }
};

/// The definiteness of M, d × d. O(d³), from the eigenvalues of the symmetric part.
/// \throws std::invalid_argument unless M is square and finite.
[[nodiscard]] inline Definiteness definiteness(const Eigen::MatrixXd& M) {
  detail::validate_square("definiteness", "M", M);
  Definiteness found;
  found.dim = M.rows();
  const int shift = detail::unit_shift(M);
  const Eigen::MatrixXd scaled = detail::scaled_by_power(M, shift);
  if (scaled.isZero(0)) return found;
  const Eigen::MatrixXd symmetric = (scaled + scaled.transpose()) / 2;
  found.asymmetry = (scaled - symmetric).norm() / scaled.norm();
  const Eigen::VectorXd values = symmetric.isDiagonal(0)
                                     ? Eigen::VectorXd(symmetric.diagonal())
                                     : detail::symmetric_eigen("definiteness", symmetric, false).values;
  const double smallest = values.minCoeff(), largest = values.maxCoeff();
  const double size = (std::max)(std::abs(smallest), std::abs(largest));
  found.margin = size > 0 ? smallest / size : 0;
  found.smallest = std::ldexp(smallest, -shift);
  found.largest = std::ldexp(largest, -shift);
  return found;
}

}}  // namespace attnflow
