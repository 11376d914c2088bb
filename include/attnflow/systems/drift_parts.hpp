/// \file
/// What is added to the drift of attention, token by token: a constant field, the input again, a linear map.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/integrators/concepts.hpp>
#include <attnflow/numerics/multiply.hpp>
#include <attnflow/numerics/norm_bound.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <concepts>
#include <string>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A part of a drift, fᵢ(t, x): a const call add(t, x, dx) that adds it to the velocities dx, for Driven to compose.
/// Optional: dim(), the dimension it is for, and lipschitz(), a bound of the Lipschitz constant of x ↦ f(t, x).
template <class P, class State>
concept DriftPart = StateMatrix<State> && requires(const P& part, double t, const State& x, State& dx) {
  { part.add(t, x, dx) } -> std::same_as<void>;
};

/// One that adds its derivative to that of the drift, too: J is nd × nd, token i owns rows and columns i d … i d + d − 1.
template <class P, class State>
concept DifferentiablePart = DriftPart<P, State> &&
    requires(const P& part, double t, const State& x, Eigen::MatrixXd& J) {
  { part.add_jacobian(t, x, J) } -> std::same_as<void>;
};

namespace detail {

/// \throws std::invalid_argument unless the matrix has an entry and all are finite.
template <class Derived>
void require_part(const char* owner, const char* name, const Eigen::MatrixBase<Derived>& m) {
  if (m.rows() < 1 || m.cols() < 1)
    refuse(owner, ": ", name, " is ", m.rows(), " x ", m.cols(),
           ", expected at least one row and one column");
  if (!m.allFinite()) refuse(owner, ": ", name, " has an entry that is not finite");
}

/// \throws std::invalid_argument unless x is d × n; n < 0 stands for any number of tokens.
template <class X>
void require_tokens(const char* owner, const X& x, Eigen::Index d, Eigen::Index n = -1) {
  if (x.rows() != d || (n >= 0 && x.cols() != n))
    refuse(owner, ": the tokens are ", x.rows(), " x ", x.cols(), ", expected ", d, " x ",
           n < 0 ? std::string("any number") : std::to_string(n));
}

/// What add() needs. \throws std::invalid_argument unless x is d × n and dx as x is.
template <class X>
void require_tokens(const char* owner, const X& x, const X& dx, Eigen::Index d, Eigen::Index n = -1) {
  require_tokens(owner, x, d, n);
  require_shape(owner, "dx", dx, x.rows(), x.cols());
}

/// What add_jacobian() needs. \throws std::invalid_argument unless x has d rows and J is nd × nd.
template <class X>
void require_jacobian(const char* owner, const X& x, const Eigen::MatrixXd& J, Eigen::Index d) {
  require_tokens(owner, x, d);
  require_shape(owner, "J", J, x.size(), x.size());
}

/// dx += A x for a d × d matrix.
template <class Scalar, int Dim>
void add_product(const Tokens<Scalar>& A, const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& dx) {
  static constinit thread_local Scratch<Tokens<Scalar, Dim>> kept;
  Tokens<Scalar, Dim>& product = *kept;
  product.resize(x.rows(), x.cols());
  if constexpr (KernelScalar<Scalar>)
    multiply<Dim>(A.data(), x.data(), product.data(), x.rows(), x.cols());
  else
    multiply_few_rows(private_copy(A).data(), x.data(), product.data(), x.rows(), x.rows(), x.cols());
  dx += product;
}

/// Adds A to every diagonal block of J.
inline void add_to_diagonal_blocks(const Eigen::MatrixXd& A, Eigen::MatrixXd& J) {
  for (Eigen::Index k = 0; k < J.rows(); k += A.rows()) J.block(k, k, A.rows(), A.rows()) += A;
}

}  // namespace detail

/// A constant field: fᵢ = bᵢ, its own for every token (b is d × n), or fᵢ = b for all (d × 1).
template <RealScalar Scalar_>
class ExternalField {
 public:
  using Scalar = Scalar_;
  /// d × n or d × 1.
  using Matrix = Tokens<Scalar>;

  /// \throws std::invalid_argument unless b has an entry and all are finite.
  explicit ExternalField(Matrix b) : b_(std::move(b)) { detail::require_part("ExternalField", "b", b_); }

  /// dxᵢ += bᵢ. \throws std::invalid_argument unless x is d × n, or d × any for one field for all, and dx as x is.
  template <int Dim>
  void add(double /*t*/, const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& dx) const {
    const bool shared = b_.cols() == 1;
    detail::require_tokens("ExternalField", x, dx, b_.rows(), shared ? -1 : b_.cols());
    decltype(auto) b = detail::private_copy(b_);
    for (Eigen::Index i = 0; i < x.cols(); ++i) dx.col(i) += b.col(shared ? 0 : i);
  }
  /// Zero.
  template <int Dim>
  void add_jacobian(double /*t*/, const Tokens<Scalar, Dim>& /*x*/, Eigen::MatrixXd& /*J*/) const noexcept {}
  /// Zero.
  [[nodiscard]] double lipschitz() const noexcept { return 0; }
  /// d.
  [[nodiscard]] Eigen::Index dim() const noexcept { return b_.rows(); }
  /// b.
  [[nodiscard]] const Matrix& field() const noexcept { return b_; }

 private:
  Matrix b_;
};
/// From b, a matrix or an expression.
template <class Derived>
ExternalField(const Eigen::MatrixBase<Derived>&) -> ExternalField<typename Derived::Scalar>;

/// The input x⁰ of a run again, at every time (input injection, as in recurrent attention [TK25]): fᵢ = γ (xᵢ⁰ − xᵢ)
/// draws a token back to where it came from, fᵢ = C xᵢ⁰ drives it.
template <RealScalar Scalar_>
class ResidualInput {
 public:
  using Scalar = Scalar_;
  /// The input, d × n, and C, d × d.
  using Matrix = Tokens<Scalar>;

  /// fᵢ = γ (xᵢ⁰ − xᵢ). \throws std::invalid_argument unless γ and the input are finite and the latter has a token.
  ResidualInput(double gamma, Matrix input) : input_(std::move(input)), gamma_(gamma), draws_(true) {
    if (!std::isfinite(gamma))
      detail::refuse("ResidualInput: gamma is ", gamma, ", expected a finite number");
    detail::require_part("ResidualInput", "the input", input_);
  }
  /// fᵢ = C xᵢ⁰. \throws std::invalid_argument unless C is d × d for the input's d and all is finite, C x⁰ included.
  ResidualInput(const Matrix& C, const Matrix& input) {
    detail::require_part("ResidualInput", "the input", input);
    detail::require_part("ResidualInput", "C", C);
    if (C.rows() != input.rows() || C.cols() != input.rows())
      detail::refuse("ResidualInput: C is ", C.rows(), " x ", C.cols(), ", expected ", input.rows(), " x ",
                     input.rows(), ", as the input has rows");
    input_.setZero(input.rows(), input.cols());
    detail::add_product(C, input, input_);
    detail::require_part("ResidualInput", "C times the input", input_);
  }

  /// dxᵢ += fᵢ. \throws std::invalid_argument unless x is d × n as the input is, and dx, too.
  template <int Dim>
  void add(double /*t*/, const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& dx) const {
    detail::require_tokens("ResidualInput", x, dx, input_.rows(), input_.cols());
    if (draws_)
      dx += static_cast<Scalar>(gamma_) * (detail::private_copy(input_) - x);
    else
      dx += detail::private_copy(input_);
  }
  /// −γ I on the diagonal; zero for C.
  template <int Dim>
  void add_jacobian(double /*t*/, const Tokens<Scalar, Dim>& /*x*/, Eigen::MatrixXd& J) const {
    J.diagonal().array() -= gamma_;
  }
  /// |γ|; zero for C.
  [[nodiscard]] double lipschitz() const noexcept { return std::abs(gamma_); }
  /// d.
  [[nodiscard]] Eigen::Index dim() const noexcept { return input_.rows(); }

 private:
  Matrix input_;  // x⁰ or C x⁰
  double gamma_ = 0;
  bool draws_ = false;
};
/// From γ and the input.
template <class Derived>
ResidualInput(double, const Eigen::MatrixBase<Derived>&) -> ResidualInput<typename Derived::Scalar>;
/// From C and the input.
template <class C, class Derived>
ResidualInput(const Eigen::MatrixBase<C>&, const Eigen::MatrixBase<Derived>&)
    -> ResidualInput<typename Derived::Scalar>;

/// A linear map: fᵢ = Ω xᵢ. For an antisymmetric Ω, which turns, it is tangent to the spheres and keeps the norms;
/// Ω = −I with TokenDynamics and V = I is ẋᵢ = ∑ⱼ wᵢⱼ (xⱼ − xᵢ) for rows that sum to one.
template <RealScalar Scalar_>
class LinearPart {
 public:
  using Scalar = Scalar_;
  /// Ω, d × d.
  using Matrix = Tokens<Scalar>;

  /// \throws std::invalid_argument unless Ω is square and finite.
  explicit LinearPart(Matrix Omega) : Omega_(std::move(Omega)) {
    detail::require_part("LinearPart", "Omega", Omega_);
    if (Omega_.rows() != Omega_.cols())
      detail::refuse("LinearPart: Omega is ", Omega_.rows(), " x ", Omega_.cols(),
                     ", expected a square matrix");
  }

  /// dxᵢ += Ω xᵢ. \throws std::invalid_argument unless x has d rows and dx is as x is.
  template <int Dim>
  void add(double /*t*/, const Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& dx) const {
    detail::require_tokens("LinearPart", x, dx, Omega_.rows());
    detail::add_product(Omega_, x, dx);
  }
  /// Ω on every diagonal block. \throws std::invalid_argument unless x has d rows and J is nd × nd.
  template <int Dim>
  void add_jacobian(double /*t*/, const Tokens<Scalar, Dim>& x, Eigen::MatrixXd& J) const {
    detail::require_jacobian("LinearPart::add_jacobian", x, J, Omega_.rows());
    detail::add_to_diagonal_blocks(detail::in_double(Omega_), J);
  }
  /// A bound of ‖Ω‖₂, √(‖Ω‖₁ ‖Ω‖_∞).
  [[nodiscard]] double lipschitz() const { return detail::norm_bound(Omega_); }
  /// d.
  [[nodiscard]] Eigen::Index dim() const noexcept { return Omega_.rows(); }
  /// Ω.
  [[nodiscard]] const Matrix& map() const noexcept { return Omega_; }

 private:
  Matrix Omega_;
};
/// From Ω, a matrix or an expression.
template <class Derived>
LinearPart(const Eigen::MatrixBase<Derived>&) -> LinearPart<typename Derived::Scalar>;

}}  // namespace attnflow
