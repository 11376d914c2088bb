/// \file
/// What a page needs to compute P itself: add_head(), add_rescaled_head().
#pragma once

#include <attnflow/attention/score_form.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/io/view.hpp>
#include <attnflow/numerics/matrix_exponential.hpp>
#include <attnflow/numerics/scaled_matrix.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <string>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// Appends A e^{log_scale}, as C order has it.
inline void append_form(View::Head& head, const ScaledMatrix<>& A) {
  for (Eigen::Index i = 0; i < A.matrix.rows(); ++i)
    for (Eigen::Index j = 0; j < A.matrix.cols(); ++j) head.forms.push_back(A.matrix(i, j));
  head.log_scales.push_back(A.log_scale);
}

/// β QᵀK of a head whose d is that of the view.
template <class Scalar, int Dim>
[[nodiscard]] ScaledMatrix<> form_of_view(const char* function, const View& view,
                                          const Head<Scalar, Dim>& head, double beta) {
  head.validate(function);
  if (head.dim() != view.dim)
    refuse(function, ": the head has d = ", head.dim(), ", expected the dim of the view, ", view.dim);
  if (!std::isfinite(beta)) refuse(function, ": beta is ", beta, ", expected a finite number");
  const ScoreForm<Dim> form = score_form(head, beta);
  return {beta * form.M.matrix, form.M.log_scale};
}

}  // namespace detail

/// Adds a head to the view of tokens x: sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ at every moment. Times and dim of the view are set
/// before. m d² numbers. \throws std::invalid_argument if the head is wrong or its d is not the view's.
template <KernelScalar Scalar, int Dim>
void add_head(View& view, const Head<Scalar, Dim>& head, double beta, std::string name = "") {
  const ScaledMatrix<> form = detail::form_of_view("add_head", view, head, beta);
  View::Head& added = view.heads.emplace_back();
  added.name = std::move(name);
  for (std::size_t k = 0; k < view.times.size(); ++k) detail::append_form(added, form);
}

/// The same for the view of rescaled tokens z = e^{−tV} x: sᵢⱼ = β ⟨Q e^{tV} zᵢ, K e^{tV} zⱼ⟩. O(m d³).
///
/// Parts of e^{tV} below 10⁻¹⁶ of its norm are not resolved. Where V is not diagonal and ‖e^{tV}‖ ‖e^{−tV}‖ > e³⁰,
/// they may matter: the page gets no form for that moment and shows no P.
template <KernelScalar Scalar, int Dim>
void add_rescaled_head(View& view, const Head<Scalar, Dim>& head, double beta, std::string name = "") {
  const ScaledMatrix<> form = detail::form_of_view("add_rescaled_head", view, head, beta);
  const Eigen::MatrixXd V = head.value().template cast<double>();
  const MatrixExponential<> exponential(V);
  const bool diagonal = V.isDiagonal(0);
  View::Head& added = view.heads.emplace_back();
  added.name = std::move(name);
  for (const double t : view.times) {
    const ScaledMatrix<> flow = exponential(t), back = exponential(-t);
    const bool resolved =
        diagonal || flow.log_scale + back.log_scale + std::log(flow.matrix.norm() * back.matrix.norm()) < 30;
    ScaledMatrix<> A{flow.matrix.transpose() * form.matrix * flow.matrix,
                     ScaledMatrix<>::clamp_log(form.log_scale + 2 * flow.log_scale)};
    if (!resolved) A.matrix.setConstant(std::nan(""));
    detail::append_form(added, A);
  }
}

}}  // namespace attnflow
