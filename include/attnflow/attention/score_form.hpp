/// \file
/// The bilinear form from which the scores of a head are made.
#pragma once

#include <attnflow/detail/value_of.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/scaled_matrix.hpp>
#include <attnflow/types.hpp>

#include <numbers>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What decides the scores of one head: sᵢⱼ = β xᵢᵀ M xⱼ with M = QᵀK, as a scaled matrix.
template <int Dim = Eigen::Dynamic>
struct ScoreForm {
  ScaledMatrix<Dim> M;  ///< d × d
  /// The factor of the scores.
  double beta;
  typename ScaledMatrix<Dim>::Matrix transposed;  ///< M.matrixᵀ, which products with queries read
  detail::ColumnMajor<float, Dim, Dim> narrow;    ///< the same in float

  /// \param form  M. \param inverse_temperature  β.
  ScoreForm(ScaledMatrix<Dim> form, double inverse_temperature)
      : M(std::move(form)),
        beta(inverse_temperature),
        transposed(M.matrix.transpose()),
        narrow(transposed.template cast<float>()) {}
};

/// M = QᵀK of a head, computed in double without overflow, with the factor β; of weights that carry derivatives, the
/// numbers. Cost: O(d_k d²).
template <RealScalar Scalar, int Dim>
[[nodiscard]] ScoreForm<Dim> score_form(const Head<Scalar, Dim>& head, double beta) {
  Eigen::MatrixXd Q = detail::in_double(head.Q), K = detail::in_double(head.K);
  const int q = detail::exponent_of(Q.cwiseAbs().maxCoeff()),
            k = detail::exponent_of(K.cwiseAbs().maxCoeff());
  detail::scale_by_power_of_two(Q, -q);
  detail::scale_by_power_of_two(K, -k);
  const Eigen::MatrixXd product = detail::transposed_product(Q, K);
  auto M = ScaledMatrix<Dim>::of(product);
  M.log_scale += (q + k) * std::numbers::ln2;
  return {std::move(M), beta};
}

}}  // namespace attnflow
