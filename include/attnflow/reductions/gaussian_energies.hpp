/// \file
/// Energies of Gaussian data under attention, in closed form.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/symmetric_eigen.hpp>
#include <attnflow/systems/gaussian_closure.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// A = KᵀQ β, the mean, S^{1/2}, and T = S^{1/2} A S^{1/2} with TᵀT = vectors · diag(squares) · vectorsᵀ.
struct GaussianEnergyParts {
  Eigen::MatrixXd A;
  Eigen::VectorXd mean;
  ColumnMatrix root;
  SymmetricEigen squares;

  template <KernelScalar Scalar, int Dim>
  GaussianEnergyParts(const char* function, const Head<Scalar, Dim>& head, double beta,
                      const Tokens<double>& x) {
    head.validate(function);
    if (!std::isfinite(beta)) refuse(function, ": beta is ", beta, ", expected a finite number");
    const Eigen::Index d = head.dim();
    if (x.rows() != d || x.cols() != d + 1)
      refuse(function, ": x is ", x.rows(), " x ", x.cols(), ", expected ", d, " x ", d + 1);
    if (!x.allFinite()) refuse(function, ": x has an entry that is not finite");
    A = beta * transposed_product(head.K.template cast<double>(), head.Q.template cast<double>());
    mean = x.col(0);
    root = symmetric_root(function, validated_covariance(function, x.rightCols(d)));
    const ColumnMatrix T = product_of(product_of(root, A), root);
    squares = symmetric_eigen(function, transposed_product(T, T), true);
  }
};

}  // namespace detail

/// E = (1/2β) ∫∫ e^{β⟨Qx, Ky⟩} dμ(x) dμ(y) of μ = N(a, S), the interaction energy of many tokens. With A = βKᵀQ, T =
/// S^{1/2} A S^{1/2} and g = Aᵀa + AᵀS A a,
///
///     2βE = det(I − TᵀT)^{−1/2} e^{⟨Aa, a⟩ + ½⟨Aa, S A a⟩ + ½⟨g, S^{1/2} (I − TᵀT)⁻¹ S^{1/2} g⟩},
///
/// and infinite if TᵀT has an eigenvalue of 1 or more. Under softmax with a symmetric KᵀQ = V it never falls:
/// dE/dt = ∫ Z |Γ|² dμ, Γ being the velocity and Z(x) = ∫ e^{⟨Ax, y⟩} dμ(y).
/// x: what gaussian_state makes.
/// \throws std::invalid_argument unless the head and x are valid and β is finite, other than 0.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] double gaussian_interaction_energy(const Head<Scalar, Dim>& head, const Tokens<double>& x,
                                                 double beta = 1) {
  if (beta == 0) detail::refuse("gaussian_interaction_energy: beta is 0, expected another number");
  const detail::GaussianEnergyParts parts("gaussian_interaction_energy", head, beta, x);
  const Eigen::VectorXd Aa = detail::image_of(parts.A, parts.mean.data());
  const Eigen::VectorXd root_Aa = detail::transposed_image(parts.root, Aa.data());
  const Eigen::VectorXd SAa = detail::image_of(parts.root, root_Aa.data());
  const Eigen::VectorXd sum = parts.mean + SAa;
  const Eigen::VectorXd g = detail::transposed_image(parts.A, sum.data());
  const Eigen::VectorXd root_g = detail::transposed_image(parts.root, g.data());
  const Eigen::VectorXd along = detail::transposed_image(parts.squares.vectors, root_g.data());
  double exponent = Aa.dot(parts.mean) + root_Aa.squaredNorm() / 2;
  for (Eigen::Index k = 0; k < along.size(); ++k) {
    const double rest = 1 - parts.squares.values(k);
    if (!(rest > 0)) return std::copysign(std::numeric_limits<double>::infinity(), beta);
    exponent += along(k) * along(k) / (2 * rest) - std::log(rest) / 2;
  }
  return std::exp(exponent) / (2 * beta);
}

/// The entropic energy of Sinkhorn attention on μ = N(a, S) [SABP22],
///
///     F = max_π ∫ ⟨Ax, y⟩ dπ − KL(π | μ⊗μ) = ⟨Aa, a⟩ + ∑ᵢ (Dᵢ σᵢ + ½ log(1 − σᵢ²)),   σ = 2D/(1 + √(1 + 4D²)),
///
/// over the plans π with both marginals μ; D are the singular values of S^{1/2} A S^{1/2}, A = βKᵀQ. With a symmetric
/// KᵀQ = V the velocity Γ is its Wasserstein gradient but for a factor, and dF/dt = 2β ∫ |Γ|² dμ along GaussianClosure.
/// x: what gaussian_state makes.
/// \throws std::invalid_argument unless the head and x are valid and β is finite.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] double gaussian_transport_energy(const Head<Scalar, Dim>& head, const Tokens<double>& x,
                                               double beta = 1) {
  const detail::GaussianEnergyParts parts("gaussian_transport_energy", head, beta, x);
  const Eigen::VectorXd Aa = detail::image_of(parts.A, parts.mean.data());
  double energy = Aa.dot(parts.mean);
  for (const double value : parts.squares.values) {
    const double square = (std::max)(0., value), scale = 2 / (1 + std::sqrt(1 + 4 * square));
    energy += square * scale + std::log(scale) / 2;  // σ = D scale, and 1 − σ² = scale
  }
  return energy;
}

}}  // namespace attnflow
