/// \file
/// Gaussian data under attention: the mean and the covariance as a closed system of equations.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/linear_systems.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/symmetric_eigen.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// S = (S + Sᵀ)/2. \throws std::invalid_argument unless it is square, finite, and up to rounding symmetric and positive
/// semidefinite.
[[nodiscard]] inline Eigen::MatrixXd validated_covariance(const char* function, const Eigen::MatrixXd& S) {
  validate_square(function, "covariance", S);
  const double rounding =
      64 * static_cast<double>(S.rows()) * std::numeric_limits<double>::epsilon() * S.cwiseAbs().maxCoeff();
  const double asymmetry = (S - S.transpose()).cwiseAbs().maxCoeff();
  if (asymmetry > rounding)
    refuse(function, ": covariance differs from its transpose by ", asymmetry,
           ", expected a symmetric matrix");
  Eigen::MatrixXd symmetric = (S + S.transpose()) / 2;
  const double least = symmetric_eigen(function, symmetric, false).values(0);
  if (least < -rounding)
    refuse(function, ": covariance has the eigenvalue ", least, ", expected a positive semidefinite matrix");
  return symmetric;
}

/// f(A) of a symmetric A, f of its eigenvalues.
template <class Function>
[[nodiscard]] ColumnMatrix symmetric_function(const char* owner, const Eigen::MatrixXd& A,
                                              const Function& f) {
  const SymmetricEigen parts = symmetric_eigen(owner, A, true);
  ColumnMatrix scaled = parts.vectors;
  for (Eigen::Index k = 0; k < scaled.cols(); ++k) scaled.col(k) *= f(parts.values(k));
  return product_of(scaled, parts.vectors.transpose());
}

/// S^{1/2}, what rounding has made negative taken for zero.
[[nodiscard]] inline ColumnMatrix symmetric_root(const char* owner, const Eigen::MatrixXd& S) {
  return symmetric_function(owner, S, [](double value) { return std::sqrt((std::max)(0., value)); });
}

}  // namespace detail

/// N(a, S) as a state that integrate() can move: d × (d+1), the mean a and beside it the covariance S.
/// \throws std::invalid_argument unless a is finite, of as many rows as S, and S finite, symmetric and positive
/// semidefinite, both up to 64 d ε of its largest entry.
[[nodiscard]] inline Tokens<double> gaussian_state(const Eigen::VectorXd& mean,
                                                   const Eigen::MatrixXd& covariance) {
  const Eigen::MatrixXd S = detail::validated_covariance("gaussian_state", covariance);
  if (mean.size() != S.rows())
    detail::refuse("gaussian_state: mean has ", mean.size(), " rows, expected d = ", S.rows());
  if (!mean.allFinite()) detail::refuse("gaussian_state: mean has an entry that is not finite");
  Tokens<double> state(S.rows(), S.rows() + 1);
  state.col(0) = mean;
  state.rightCols(S.rows()) = S;
  return state;
}

/// The laws that keep Gaussians Gaussian: those whose field is affine where tokens are.
enum class GaussianLaw {
  softmax,     ///< weights ∝ e^{β⟨Qx, Ky⟩}
  l2_softmax,  ///< weights ∝ e^{−β‖Qx − Ky‖²}
  linear,      ///< weights β⟨Qx, Ky⟩/n
  sinkhorn     ///< e^{β⟨Qx, Ky⟩} scaled to unit rows and columns
};

/// The mean-field equation ∂ₜμ + div(Γ[μ]μ) = 0 of TokenDynamics on Gaussians μ = N(a, S), for one head or several
/// [CACP25]. There Γ(x) = ∑ₕ (mₕ + Mₕ(x − a)), so that with the sums m and M over heads
///
///     a' = m,   S' = M S + S Mᵀ.
///
/// With A = βKᵀQ, the scores being ⟨Ax, y⟩, and B = βKᵀK each head has
///
///     softmax       m = V (I + S A) a,                   M = V S A
///     L2-softmax    m = V (I + 2 S B)⁻¹ (I + 2 S A) a,   M = 2 V (I + 2 S B)⁻¹ S A
///     linear        m = V (S + a aᵀ) A a,                M = V (S + a aᵀ) A
///     Sinkhorn      m = V a,                             M = V Cᵀ S⁻¹
///
/// where C is the covariance of query and key in the plan e^{⟨Ax, y⟩ + f(x) + g(y)} with both marginals μ: with T =
/// S^{1/2} A S^{1/2}, C = S^{1/2} R S^{1/2} and R = 2 (I + (I + 4 TᵀT)^{1/2})⁻¹ Tᵀ. For linear attention a and the
/// second moment close for any law, hence for n tokens exactly.
///
/// State: gaussian_state(a, S), d × (d+1). S may be singular; its rank is kept. Softmax and linear attention may
/// blow up in finite time: a run ends there with Outcome::non_finite or step_limit. One call costs O(H d³).
class GaussianClosure {
 public:
  using State = Tokens<double>;

  /// m and M of the field Γ(x) = m + M(x − a).
  struct Field {
    Eigen::VectorXd mean;      ///< m, which is a'
    Eigen::MatrixXd gradient;  ///< M, d × d
  };

  /// \param beta  β; for L2-softmax the constant before the squared distance, at least 0.
  /// \throws std::invalid_argument naming the head, unless all are valid (Head::validate) and for one d; unless β is
  /// finite and the products are.
  template <KernelScalar Scalar, int Dim>
  explicit GaussianClosure(const std::vector<Head<Scalar, Dim>>& heads,
                           GaussianLaw law = GaussianLaw::softmax, double beta = 1)
      : law_(law) {
    if (heads.empty()) detail::refuse("GaussianClosure: no head given, expected at least one");
    if (!std::isfinite(beta) || (law == GaussianLaw::l2_softmax && beta < 0))
      detail::refuse("GaussianClosure: beta is ", beta,
                     ", expected a finite number, at least 0 for L2-softmax");
    for (const Head<Scalar, Dim>& head : heads) {
      head.validate("GaussianClosure");
      if (head.dim() != heads.front().dim())
        detail::refuse("GaussianClosure: V has d = ", head.dim(), ", expected ", heads.front().dim(),
                       " as in head 0");
      const Eigen::MatrixXd Q = head.Q.template cast<double>(), K = head.K.template cast<double>();
      Form form{beta * detail::transposed_product(K, Q), beta * detail::transposed_product(K, K),
                head.value().template cast<double>()};
      if (!form.A.allFinite() || !form.B.allFinite())
        detail::refuse("GaussianClosure: beta KᵀQ or beta KᵀK overflows, expected smaller weights");
      forms_.push_back(std::move(form));
    }
  }
  /// One head. Errors as above.
  template <KernelScalar Scalar, int Dim>
  explicit GaussianClosure(const Head<Scalar, Dim>& head, GaussianLaw law = GaussianLaw::softmax,
                           double beta = 1)
      : GaussianClosure(std::vector<Head<Scalar, Dim>>{head}, law, beta) {}

  /// Writes (a', S') to dx, resized to fit; NaN if the state is not finite. \pre x is d × (d+1).
  void operator()(double /*t*/, const State& x, State& dx) const {
    eigen_assert(x.rows() == dim() && x.cols() == dim() + 1);
    const Eigen::Index d = dim();
    dx.setConstant(d, d + 1, x.allFinite() ? 0 : std::numeric_limits<double>::quiet_NaN());
    if (!x.allFinite()) return;
    const Eigen::MatrixXd S = x.rightCols(d);
    for (const Form& form : forms_) {
      const Parts parts = parts_of(form, x.col(0), S);
      dx.col(0) += detail::image_of(form.V, parts.mean.data());
      const detail::ColumnMatrix half = detail::product_of(form.V, parts.covariance);
      dx.rightCols(d) += half + half.transpose();
    }
  }

  /// The field that moves the tokens of N(a, S). For Sinkhorn and a singular S it is meant on the range of S, where
  /// tokens are.
  /// \throws std::invalid_argument unless x is what gaussian_state makes, for this d.
  [[nodiscard]] Field field(const State& x) const {
    const Eigen::Index d = dim();
    if (x.rows() != d || x.cols() != d + 1)
      detail::refuse("GaussianClosure::field: x is ", x.rows(), " x ", x.cols(), ", expected ", d, " x ",
                     d + 1);
    if (!x.allFinite()) detail::refuse("GaussianClosure::field: x has an entry that is not finite");
    const Eigen::MatrixXd S = detail::validated_covariance("GaussianClosure::field", x.rightCols(d));
    // M S = V cov, of which M = V cov S⁻¹.
    const double cut =
        static_cast<double>(d) * std::numeric_limits<double>::epsilon() * S.cwiseAbs().maxCoeff();
    const detail::ColumnMatrix inverse = detail::symmetric_function(
        "GaussianClosure::field", S, [cut](double value) { return value > cut ? 1 / value : 0; });
    Field found{Eigen::VectorXd::Zero(d), Eigen::MatrixXd::Zero(d, d)};
    for (const Form& form : forms_) {
      const Parts parts = parts_of(form, x.col(0), S);
      found.mean += detail::image_of(form.V, parts.mean.data());
      const detail::ColumnMatrix gradient =
          law_ == GaussianLaw::sinkhorn ? detail::product_of(parts.covariance, inverse) : parts.gradient;
      found.gradient += detail::product_of(form.V, gradient);
    }
    return found;
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept { return forms_.front().V.rows(); }

 private:
  struct Form {
    Eigen::MatrixXd A, B, V;  // βKᵀQ, βKᵀK, V
  };
  /// What V is applied to: the mean of the keys at x = a, its gradient in x (but for Sinkhorn), and gradient times S.
  struct Parts {
    Eigen::VectorXd mean;
    detail::ColumnMatrix gradient, covariance;
  };

  [[nodiscard]] Parts parts_of(const Form& form, const Eigen::VectorXd& a, const Eigen::MatrixXd& S) const {
    using detail::image_of;
    using detail::product_of;
    if (law_ == GaussianLaw::sinkhorn) {
      const detail::ColumnMatrix root = detail::symmetric_root("GaussianClosure", (S + S.transpose()) / 2);
      const detail::ColumnMatrix T = product_of(product_of(root, form.A), root);
      const detail::ColumnMatrix scale = detail::symmetric_function(
          "GaussianClosure", detail::transposed_product(T, T),
          [](double square) { return 2 / (1 + std::sqrt(1 + 4 * (std::max)(0., square))); });
      // Cᵀ = S^{1/2} T scale S^{1/2}
      return {a, {}, product_of(product_of(root, product_of(T, scale)), root)};
    }
    if (law_ == GaussianLaw::linear) {
      const detail::ColumnMatrix second = S + a * a.transpose();
      Parts parts{{}, product_of(second, form.A), {}};
      parts.mean = image_of(parts.gradient, a.data());
      parts.covariance = product_of(parts.gradient, S);
      return parts;
    }
    Parts parts{a, product_of(S, form.A), {}};
    if (law_ == GaussianLaw::l2_softmax) {
      const Eigen::Index d = S.rows();
      detail::ColumnMatrix right(d, d + 1);
      right.leftCols(d) = 2 * parts.gradient;
      right.col(d) = a;
      // (I + 2 S B)⁻¹ of both: eigenvalues of S B are not negative
      const detail::ColumnMatrix solved =
          detail::Elimination(Eigen::MatrixXd::Identity(d, d) + 2 * product_of(S, form.B), false)
              .solve(right);
      parts.gradient = solved.leftCols(d);
      parts.mean = solved.col(d);
    }
    parts.mean += image_of(parts.gradient, a.data());
    parts.covariance = product_of(parts.gradient, S);
    return parts;
  }

  GaussianLaw law_;
  std::vector<Form> forms_;
};

}}  // namespace attnflow
