/// \file
/// A hidden layer beside attention: a perceptron, and the perceptron that is the gradient of a potential.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/numerics/multiply.hpp>
#include <attnflow/numerics/norm_bound.hpp>
#include <attnflow/systems/activations.hpp>
#include <attnflow/systems/drift_parts.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <concepts>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// k functions of a token, σ(⟨uᵣ, x⟩ + bᵣ), and d × k weights that they are added up with.
template <class Scalar, class Sigma>
struct HiddenLayer {
  using Matrix = Tokens<Scalar>;
  Matrix W, U;                                 // d × k, k × d
  Eigen::Matrix<Scalar, Eigen::Dynamic, 1> b;  // k, or none
  [[no_unique_address]] Sigma sigma;

  /// U x + b, k × n.
  template <int Dim>
  void arguments(const Tokens<Scalar, Dim>& x, Matrix& hidden) const {
    hidden.resize(U.rows(), x.cols());
    apply(U, x.data(), hidden.data(), x.cols());
    if (b.size() > 0) hidden.colwise() += private_copy(b);
  }
  /// dx += W σ(U x + b).
  template <int Dim>
  void add(const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& dx) const {
    static constinit thread_local Scratch<Matrix> kept_hidden;
    static constinit thread_local Scratch<Tokens<Scalar, Dim>> kept_sums;
    Matrix& hidden = *kept_hidden;
    Tokens<Scalar, Dim>& sums = *kept_sums;
    arguments(x, hidden);
    hidden = hidden.unaryExpr([this](const Scalar& y) { return sigma(y); });
    sums.resize(x.rows(), x.cols());
    apply(W, hidden.data(), sums.data(), x.cols());
    dx += sums;
  }
  /// Adds W diag(σ'(U xᵢ + b)) U to block i.
  template <int Dim>
  void add_jacobian(const Tokens<Scalar, Dim>& x, Eigen::MatrixXd& J) const {
    Matrix hidden;
    arguments(x, hidden);
    const Eigen::MatrixXd out = in_double(W), in = in_double(U);
    const Eigen::Index d = x.rows();
    for (Eigen::Index i = 0; i < x.cols(); ++i)
      for (Eigen::Index r = 0; r < U.rows(); ++r) {
        const double slope = static_cast<double>(value_of(sigma.derivative(hidden(r, i))));
        for (Eigen::Index c = 0; c < d; ++c)
          J.col(i * d + c).segment(i * d, d) += (slope * in(r, c)) * out.col(r);
      }
  }

 private:
  static void apply(const Matrix& A, const Scalar* x, Scalar* y, Eigen::Index n) {
    if constexpr (KernelScalar<Scalar>)
      if (A.rows() * A.cols() > few_rows * few_rows)
        return multiply_many_rows(A.data(), x, y, A.rows(), A.cols(), n);
    multiply_few_rows(private_copy(A).data(), x, y, A.rows(), A.cols(), n);
  }
};

}  // namespace detail

/// One hidden layer beside attention, the same for all tokens [GRR24]: fᵢ = W σ(U xᵢ + b).
///
/// W is d × k, U is k × d, b are k numbers, zero unless given; σ acts on each coordinate. O(n d k) a call. The drift is
/// ẋᵢ = attention + fᵢ: the sum, and not one after the other as in a block of a network, which would be the
/// Lie–Trotter splitting of it. FeedForward, W σ(attention), is another equation.
template <RealScalar Scalar_, Activation<Scalar_> Sigma = Relu>
class Perceptron {
 public:
  using Scalar = Scalar_;
  /// W and U.
  using Matrix = Tokens<Scalar>;
  /// b.
  using BiasVector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

  /// \throws std::invalid_argument unless W is d × k, U is k × d, b none or k numbers, and all is finite.
  Perceptron(Matrix W, Matrix U, Sigma activation = {}, BiasVector b = {})
      : layer_{std::move(W), std::move(U), std::move(b), std::move(activation)} {
    detail::require_part("Perceptron", "W", layer_.W);
    detail::require_part("Perceptron", "U", layer_.U);
    const Eigen::Index d = layer_.W.rows(), k = layer_.W.cols();
    if (layer_.U.rows() != k || layer_.U.cols() != d)
      detail::refuse("Perceptron: U is ", layer_.U.rows(), " x ", layer_.U.cols(), ", expected ", k, " x ", d,
                     ", as W is ", d, " x ", k);
    if (layer_.b.size() != 0 && layer_.b.size() != k)
      detail::refuse("Perceptron: b has ", layer_.b.size(), " entries, expected none or ", k,
                     ", as U has rows");
    if (!layer_.b.allFinite()) detail::refuse("Perceptron: b has an entry that is not finite");
  }

  /// dxᵢ += W σ(U xᵢ + b). \throws std::invalid_argument unless x has d rows and dx is as x is.
  template <int Dim>
  void add(double /*t*/, const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& dx) const {
    detail::require_tokens("Perceptron", x, dx, dim());
    layer_.add(x, dx);
  }
  /// W diag(σ'(U xᵢ + b)) U on diagonal block i. \throws std::invalid_argument unless x has d rows and J is nd × nd.
  template <int Dim>
  void add_jacobian(double /*t*/, const Tokens<Scalar, Dim>& x,
                    Eigen::MatrixXd& J) const requires DifferentiableActivation<Sigma, Scalar> {
    detail::require_jacobian("Perceptron::add_jacobian", x, J, dim());
    layer_.add_jacobian(x, J);
  }
  /// sup |σ'| times bounds of ‖W‖ and ‖U‖.
  [[nodiscard]] double lipschitz() const requires detail::BoundedSlope<Sigma> {
    return static_cast<double>(Sigma::slope) * detail::norm_bound(layer_.W) * detail::norm_bound(layer_.U);
  }
  /// d.
  [[nodiscard]] Eigen::Index dim() const noexcept { return layer_.W.rows(); }
  /// W.
  [[nodiscard]] const Matrix& outer_weights() const noexcept { return layer_.W; }
  /// U.
  [[nodiscard]] const Matrix& inner_weights() const noexcept { return layer_.U; }

 private:
  detail::HiddenLayer<Scalar, Sigma> layer_;
};
/// From W, U and σ.
template <class W, class U, class Sigma = Relu>
Perceptron(const Eigen::MatrixBase<W>&, const Eigen::MatrixBase<U>&, Sigma = {})
    -> Perceptron<typename W::Scalar, Sigma>;
/// From W, U, σ and b.
template <class W, class U, class Sigma, class B>
Perceptron(const Eigen::MatrixBase<W>&, const Eigen::MatrixBase<U>&, Sigma, const Eigen::MatrixBase<B>&)
    -> Perceptron<typename W::Scalar, Sigma>;

/// The perceptron that is a gradient [AGR26]: with k directions aⱼ, the columns of A (d × k), and k weights ωⱼ,
///
///     fᵢ = ∇v(xᵢ) = ∑ⱼ ωⱼ σ(⟨aⱼ, xᵢ⟩) aⱼ,   v(x) = ∑ⱼ ωⱼ φ(⟨aⱼ, x⟩),   φ' = σ,   φ(0) = 0:
///
/// W = A diag(ω), U = Aᵀ and no bias in Perceptron. Where attention ascends an energy E of the tokens' distribution μ,
/// attention and this part together ascend E[μ] + ∫ v dμ. O(n d k) a call.
template <RealScalar Scalar_, Activation<Scalar_> Sigma = Relu>
class PerceptronPotential {
 public:
  using Scalar = Scalar_;
  /// A.
  using Matrix = Tokens<Scalar>;
  /// ω.
  using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

  /// \throws std::invalid_argument unless A has as many columns as there are weights and all is finite, ωⱼ aⱼ included.
  PerceptronPotential(Vector omega, const Matrix& A, Sigma activation = {})
      : omega_((validate(omega, A), std::move(omega))),
        layer_{A * omega_.asDiagonal(), A.transpose(), {}, std::move(activation)} {
    detail::require_part("PerceptronPotential", "A diag(omega)", layer_.W);
  }

  /// dxᵢ += ∇v(xᵢ). \throws std::invalid_argument unless x has d rows and dx is as x is.
  template <int Dim>
  void add(double /*t*/, const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& dx) const {
    detail::require_tokens("PerceptronPotential", x, dx, dim());
    layer_.add(x, dx);
  }
  /// The Hessian ∑ⱼ ωⱼ σ'(⟨aⱼ, xᵢ⟩) aⱼ aⱼᵀ on diagonal block i. \throws std::invalid_argument unless x has d rows and J is
  /// nd × nd.
  template <int Dim>
  void add_jacobian(double /*t*/, const Tokens<Scalar, Dim>& x,
                    Eigen::MatrixXd& J) const requires DifferentiableActivation<Sigma, Scalar> {
    detail::require_jacobian("PerceptronPotential::add_jacobian", x, J, dim());
    layer_.add_jacobian(x, J);
  }
  /// ∫ v dμ = (1/n) ∑ᵢ v(xᵢ), added up in double; 0 without tokens.
  /// \throws std::invalid_argument unless x has d rows.
  template <int Dim>
  [[nodiscard]] double energy(const Tokens<Scalar, Dim>& x) const requires
      IntegrableActivation<Sigma, Scalar> {
    detail::require_tokens("PerceptronPotential::energy", x, dim());
    Matrix arguments;
    layer_.arguments(x, arguments);
    double sum = 0;
    for (Eigen::Index i = 0; i < x.cols(); ++i)
      for (Eigen::Index j = 0; j < omega_.size(); ++j)
        sum += static_cast<double>(detail::value_of(omega_(j))) *
               static_cast<double>(detail::value_of(layer_.sigma.primitive(arguments(j, i))));
    return x.cols() == 0 ? 0 : sum / static_cast<double>(x.cols());
  }
  /// sup |σ'| times bounds of ‖A diag(ω)‖ and ‖A‖.
  [[nodiscard]] double lipschitz() const requires detail::BoundedSlope<Sigma> {
    return static_cast<double>(Sigma::slope) * detail::norm_bound(layer_.W) * detail::norm_bound(layer_.U);
  }
  /// d.
  [[nodiscard]] Eigen::Index dim() const noexcept { return layer_.W.rows(); }
  /// ω.
  [[nodiscard]] const Vector& weights() const noexcept { return omega_; }
  /// Aᵀ, k × d.
  [[nodiscard]] const Matrix& directions() const noexcept { return layer_.U; }

 private:
  static void validate(const Vector& omega, const Matrix& A) {
    detail::require_part("PerceptronPotential", "omega", omega);
    detail::require_part("PerceptronPotential", "A", A);
    if (A.cols() != omega.size())
      detail::refuse("PerceptronPotential: A is ", A.rows(), " x ", A.cols(), ", expected ", omega.size(),
                     " columns, as omega has entries");
  }

  Vector omega_;
  detail::HiddenLayer<Scalar, Sigma> layer_;
};
/// From ω, A and σ.
template <class Omega, class A, class Sigma = Relu>
PerceptronPotential(const Eigen::MatrixBase<Omega>&, const Eigen::MatrixBase<A>&, Sigma = {})
    -> PerceptronPotential<typename A::Scalar, Sigma>;

}}  // namespace attnflow
