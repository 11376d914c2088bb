/// \file
/// The derivative of the attention drift with respect to the tokens.
#pragma once

#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/scaled_matrix.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Adds to J the derivative of xᵢ ↦ V mᵢ, mᵢ = ∑ⱼ Pᵢⱼ xⱼ, P = softmax(xᵢᵀ M xⱼ): with Cᵢ = ∑ⱼ Pᵢⱼ (xⱼ −
/// mᵢ)(xⱼ − mᵢ)ᵀ,
///
///     ∂(V mᵢ)/∂x_k = Pᵢₖ V (I + (x_k − mᵢ)(Mᵀ xᵢ)ᵀ) + δᵢₖ V Cᵢ Mᵀ.
///
/// Rows that are not normalised, Pᵢⱼ = exp(xᵢᵀ M xⱼ)/n, have 0 in place of mᵢ on the right. Masks and positional
/// biases are in P.
/// J is nd × nd; token i owns rows i d … i d + d − 1. Cost: O(n² d² + n d³) after P.
template <bool Normalized, class Scalar, int Dim>
void add_attention_jacobian(const SquareMatrix<Scalar>& P, const Tokens<Scalar, Dim>& x,
                            const ScaledMatrix<Dim>& M, const ColumnMajor<Scalar, Dim, Dim>& V,
                            Eigen::MatrixXd& J) {
  using Vector = Eigen::Matrix<double, Dim, 1>;
  using Square = detail::ColumnMajor<double, Dim, Dim>;
  const Eigen::Index n = x.cols(), d = x.rows();
  const double half = (std::min)(std::exp(0.5 * M.log_scale), (std::numeric_limits<double>::max)());
  const Square value = V.template cast<double>();
  const detail::ColumnMajor<double, Dim, Eigen::Dynamic> tokens = x.template cast<double>();
  for (Eigen::Index i = 0; i < n; ++i) {
    const Vector query = M.matrix.transpose() * tokens.col(i);
    Vector mean = Vector::Zero(d);
    for (Eigen::Index j = 0; Normalized && j < n; ++j) mean += static_cast<double>(P(i, j)) * tokens.col(j);
    Square covariance = Square::Zero(d, d);
    for (Eigen::Index k = 0; k < n; ++k) {
      const double p = static_cast<double>(P(i, k));
      const Vector deviation = tokens.col(k) - mean;
      covariance += p * deviation * deviation.transpose();
      Square inner = ((p * deviation) * query.transpose() * half) * half;
      inner.diagonal().array() += p;
      J.block(i * d, k * d, d, d) += value * inner;
    }
    J.block(i * d, i * d, d, d) += value * Square((covariance * M.matrix.transpose() * half) * half);
  }
}

/// From the derivative J of a drift aᵢ(x) to that of its projection P(xᵢ) aᵢ on the tangents of the sphere, in place:
///
///     ∂(P(xᵢ) aᵢ)/∂xₖ = P(xᵢ) ∂aᵢ/∂xₖ − δᵢₖ (⟨xᵢ, aᵢ⟩ I + xᵢ aᵢᵀ − 2 ⟨xᵢ, aᵢ⟩ xᵢ xᵢᵀ / ‖xᵢ‖²) / ‖xᵢ‖².
///
/// O(n² d²). \pre no token is at the origin.
template <class Scalar, int Dim>
void project_jacobian(const Tokens<Scalar, Dim>& x, const Tokens<Scalar, Dim>& drift, Eigen::MatrixXd& J) {
  const Eigen::Index d = x.rows();
  for (Eigen::Index i = 0; i < x.cols(); ++i) {
    const Eigen::VectorXd token = x.col(i).template cast<double>(), a = drift.col(i).template cast<double>();
    const double inverse = 1 / token.squaredNorm(), radial = token.dot(a) * inverse;
    auto rows = J.middleRows(i * d, d);
    const Eigen::RowVectorXd along = inverse * (token.transpose() * rows);
    rows.noalias() -= token * along;
    auto own = rows.middleCols(i * d, d);
    own.noalias() -= (inverse * token) * (a - 2 * radial * token).transpose();
    own.diagonal().array() -= radial;
  }
}

/// Laws of exponentials of products, one row by itself: those that add_attention_jacobian may be right for.
template <class Law>
concept HasKnownRows =
    Law::function == WeightFunction::exponential && !DistanceLaw<Law> && !DoublyStochasticLaw<Law>;

/// Rows either sum to one or are exponentials over a constant: of another factor this file has no derivative.
/// \throws std::invalid_argument
template <class Law>
void require_known_rows(const Law& law, Eigen::Index n, const char* owner) {
  if constexpr (!detail::rows_sum_to_one<Law>()) {
    const double slope = law.log_row_factor(1.0, n) - law.log_row_factor(0.0, n);
    if (!(std::abs(slope - 1) < 1e-9))
      refuse(owner, "::jacobian: the law's log_row_factor rises by ", slope,
             " with the log-normaliser, expected rows that sum to one (Softmax) or exponentials over a "
             "constant (1, "
             "Unnormalized)");
  }
}

/// \throws std::overflow_error unless every entry is finite.
inline void require_finite_jacobian(const Eigen::MatrixXd& J, const char* owner) {
  if (!J.allFinite())
    throw std::overflow_error(std::string(owner) + "::jacobian: an entry is beyond the range of double");
}

}}}  // namespace attnflow::detail
