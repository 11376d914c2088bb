/// \file
/// The covariance of Gaussian data under softmax attention with V = I, in closed form.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/symmetric_eigen.hpp>
#include <attnflow/systems/gaussian_closure.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The solution of S' = S A S + S Aᵀ S, the covariance of N(a, S) under softmax attention whose values are multiples
/// vₕ I of the identity, A = β ∑ₕ vₕ KₕᵀQₕ [CACP25]. As d/dt S⁻¹ = −(A + Aᵀ),
///
///     S(t) = (S₀⁻¹ − 2t A_s)⁻¹ = S₀^{1/2} (I − 2t B)⁻¹ S₀^{1/2},   A_s = (A + Aᵀ)/2,   B = S₀^{1/2} A_s S₀^{1/2},
///
/// the second form for a singular S₀, too. It blows up at t* = 1/(2 λ_max(B)) if that is positive: 1/λ_max(S(t))
/// falls to zero there, for S₀ = I along a straight line. If B ≤ 0 it exists for ever and tends to a covariance whose
/// rank is the dimension of ker A_s for an invertible S₀: in all other directions tokens cluster.
class SoftmaxCovariance {
 public:
  /// \param covariance  S₀, d × d.
  /// \throws std::invalid_argument unless the heads are valid, of one d, and their V multiples of the identity;
  /// unless S₀ is d × d, finite, symmetric and positive semidefinite up to rounding; unless β is finite.
  template <KernelScalar Scalar, int Dim>
  SoftmaxCovariance(const std::vector<Head<Scalar, Dim>>& heads, const Eigen::MatrixXd& covariance,
                    double beta = 1) {
    const GaussianClosure checked(heads, GaussianLaw::softmax, beta);
    const Eigen::MatrixXd S = detail::validated_covariance("SoftmaxCovariance", covariance);
    const Eigen::Index d = S.rows();
    if (d != checked.dim())
      detail::refuse("SoftmaxCovariance: covariance is ", d, " x ", d, ", expected d = ", checked.dim(),
                     " of V");
    Eigen::MatrixXd A = Eigen::MatrixXd::Zero(d, d);
    for (const Head<Scalar, Dim>& head : heads) {
      const Eigen::MatrixXd V = head.value().template cast<double>();
      if (V != V(0, 0) * Eigen::MatrixXd::Identity(d, d))
        detail::refuse("SoftmaxCovariance: V is no multiple of the identity, expected one");
      A += beta * V(0, 0) *
           detail::transposed_product(head.K.template cast<double>(), head.Q.template cast<double>());
    }
    const detail::SymmetricEigen spread = detail::symmetric_eigen("SoftmaxCovariance", S, false);
    const double cut = static_cast<double>(d) * std::numeric_limits<double>::epsilon();
    kernel_ = (spread.values.array() <= cut * spread.values(d - 1)).count();
    const detail::ColumnMatrix root = detail::symmetric_root("SoftmaxCovariance", S);
    const Eigen::MatrixXd B = detail::product_of(detail::product_of(root, (A + A.transpose()) / 2), root);
    detail::SymmetricEigen parts =
        detail::symmetric_eigen("SoftmaxCovariance", (B + B.transpose()) / 2, true);
    rates_ = parts.values;
    const double size = rates_.cwiseAbs().maxCoeff();
    for (double& rate : rates_)
      if (std::abs(rate) <= 4 * cut * size) rate = 0;  // rounding of B
    modes_ = detail::product_of(root, parts.vectors);
  }
  /// One head. Errors as above.
  template <KernelScalar Scalar, int Dim>
  SoftmaxCovariance(const Head<Scalar, Dim>& head, const Eigen::MatrixXd& covariance, double beta = 1)
      : SoftmaxCovariance(std::vector<Head<Scalar, Dim>>{head}, covariance, beta) {}

  /// t* = 1/(2 λ_max(B)), infinite if no eigenvalue of B is positive.
  [[nodiscard]] double blow_up_time() const {
    const double largest = rates_.maxCoeff();
    return largest > 0 ? 1 / (2 * largest) : std::numeric_limits<double>::infinity();
  }

  /// S(t), for negative t, too. \throws std::invalid_argument unless I − 2t B is positive: t < t* and, for negative t,
  /// t > 1/(2 λ_min(B)) if that is negative.
  [[nodiscard]] Eigen::MatrixXd at(double t) const {
    if (!std::isfinite(t)) detail::refuse("SoftmaxCovariance: t is ", t, ", expected a finite time");
    Eigen::VectorXd factors = (1 - 2 * t * rates_.array()).matrix();
    if (!(factors.minCoeff() > 0))
      detail::refuse("SoftmaxCovariance: t is ", t, ", expected a time at which the covariance exists, ",
                     t > 0 ? "before " : "after ", 1 / (2 * (t > 0 ? rates_.maxCoeff() : rates_.minCoeff())));
    return sum_of(factors.cwiseInverse());
  }

  /// The limit of S(t) as t → ∞. Eigenvalues of B up to `tolerance` times the largest modulus count as zero.
  /// \throws std::invalid_argument if S(t) blows up, and unless the tolerance is in [0, 1).
  [[nodiscard]] Eigen::MatrixXd limit(double tolerance = 1e-10) const { return sum_of(resting(tolerance)); }

  /// The rank of the limit: dim ker A_s if S₀ is invertible. Tolerance and errors as those of limit().
  [[nodiscard]] Eigen::Index limiting_rank(double tolerance = 1e-10) const {
    return static_cast<Eigen::Index>(resting(tolerance).sum()) - kernel_;
  }

 private:
  /// ∑ₖ factorₖ modeₖ modeₖᵀ
  [[nodiscard]] Eigen::MatrixXd sum_of(const Eigen::VectorXd& factors) const {
    detail::ColumnMatrix scaled = modes_;
    for (Eigen::Index k = 0; k < scaled.cols(); ++k) scaled.col(k) *= factors(k);
    const Eigen::MatrixXd S = detail::product_of(scaled, modes_.transpose());
    return (S + S.transpose()) / 2;
  }
  /// 1 for the modes that stay, 0 for those that vanish.
  [[nodiscard]] Eigen::VectorXd resting(double tolerance) const {
    if (!(tolerance >= 0 && tolerance < 1))
      detail::refuse("SoftmaxCovariance: tolerance is ", tolerance, ", expected a number from 0 to 1");
    const double cut = tolerance * rates_.cwiseAbs().maxCoeff();
    if (rates_.maxCoeff() > cut)
      detail::refuse("SoftmaxCovariance: the covariance blows up at t = ", blow_up_time(),
                     ", expected one that has a limit");
    return (rates_.array() >= -cut).cast<double>().matrix();
  }

  Eigen::VectorXd rates_;    // the eigenvalues of B, increasing
  Eigen::MatrixXd modes_;    // S₀^{1/2} times its eigenvectors
  Eigen::Index kernel_ = 0;  // dim ker S₀
};

}}  // namespace attnflow
