/// \file
/// The weights of one head out of the fused projections of a transformer layer.
#pragma once

#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>

#include <cmath>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// A matrix that is read: an Eigen::Map or a block of a larger matrix is not copied. (One whose rows stand together
/// in memory is.)
using ConstMatrix = Eigen::Ref<const Eigen::MatrixXd>;

/// The size d_k of a head, after the checks that all four functions share.
[[nodiscard]] inline Eigen::Index head_size(const char* function, const char* first_name,
                                            const ConstMatrix& first, const char* second_name,
                                            const ConstMatrix& second, Eigen::Index heads,
                                            Eigen::Index head) {
  const Eigen::Index D = first.rows();
  const auto require_square = [&](const char* name, const ConstMatrix& W) {
    if (W.rows() != D || W.cols() != D || D < 1)
      refuse(function, ": ", name, " is ", W.rows(), " x ", W.cols(), ", expected a square matrix",
             D > 0 ? " of the size of " : "", D > 0 ? first_name : "");
    if (!W.allFinite()) refuse(function, ": ", name, " has an entry that is not finite");
  };
  require_square(first_name, first);
  require_square(second_name, second);
  if (heads < 1 || D % heads != 0) refuse(function, ": heads is ", heads, ", expected a divisor of D = ", D);
  if (head < 0 || head >= heads)
    refuse(function, ": head is ", head, ", expected a number from 0 to ", heads - 1);
  return D / heads;
}

}  // namespace detail

// Stored weights are (out × in), as a linear layer y = W x keeps them, D × D with the heads one after the
// other: head h owns the outputs J = [h d_k, (h + 1) d_k) of the query, key and value projections, and these
// inputs of the output projection. Biases and normalisation are not part of the model.

/// V_h = O[:, J] U[J, :], D × D and of rank at most d_k, for the stored output weight O and value weight U.
/// ∑ₕ V_h = O U. O(D² d_k). \throws std::invalid_argument unless the shapes agree and all is finite.
[[nodiscard]] inline Eigen::MatrixXd head_value_matrix(const detail::ConstMatrix& output,
                                                       const detail::ConstMatrix& value, Eigen::Index heads,
                                                       Eigen::Index head) {
  const Eigen::Index size =
      detail::head_size("head_value_matrix", "output", output, "value", value, heads, head);
  return output.middleCols(head * size, size) * value.middleRows(head * size, size);
}

/// U[J, :] O[:, J], d_k × d_k: it has the eigenvalues of V_h other than the D − d_k trivial zeros. Use it
/// for spectra: O(d_k³) instead of O(D³). Errors as head_value_matrix.
[[nodiscard]] inline Eigen::MatrixXd head_value_core(const detail::ConstMatrix& output,
                                                     const detail::ConstMatrix& value, Eigen::Index heads,
                                                     Eigen::Index head) {
  const Eigen::Index size =
      detail::head_size("head_value_core", "output", output, "value", value, heads, head);
  return value.middleRows(head * size, size) * output.middleCols(head * size, size);
}

/// B_h = W_Q[J, :]ᵀ W_K[J, :] / √d_k, D × D: the form M of the scores xᵢᵀ M xⱼ, for the stored query and key
/// weights. In general it is not symmetric. O(D² d_k). Errors as head_value_matrix.
[[nodiscard]] inline Eigen::MatrixXd head_bilinear_form(const detail::ConstMatrix& query,
                                                        const detail::ConstMatrix& key, Eigen::Index heads,
                                                        Eigen::Index head) {
  const Eigen::Index size = detail::head_size("head_bilinear_form", "query", query, "key", key, heads, head);
  return query.middleRows(head * size, size).transpose() * key.middleRows(head * size, size) /
         std::sqrt(static_cast<double>(size));
}

/// √(‖B‖_F² D): the inverse temperature that B has for tokens of norm √D, were it a multiple of the
/// identity's size.
[[nodiscard]] inline double effective_inverse_temperature(const detail::ConstMatrix& B) {
  if (!B.allFinite()) detail::refuse("effective_inverse_temperature: B has an entry that is not finite");
  return B.stableNorm() * std::sqrt(static_cast<double>(B.rows()));
}

}}  // namespace attnflow
