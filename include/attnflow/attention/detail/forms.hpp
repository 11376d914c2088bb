/// \file
/// What the operator takes the scores of a head from, for each scalar and law.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/generic/generic_rows.hpp>
#include <attnflow/attention/score_form.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/types.hpp>

#include <numbers>
#include <type_traits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The form of scores β ⟨Q xᵢ, K xⱼ⟩ in a scalar.
template <class Scalar, int Dim>
using Form = std::conditional_t<KernelScalar<Scalar>, ScoreForm<Dim>, GenericForm<Scalar, Dim>>;

/// The form of distances, −β c ‖Q xᵢ − K xⱼ‖², from the products QᵀQ, QᵀK, KᵀK: 2^exponent e^{log_scale} times these.
template <class Scalar, int Dim>
struct DistanceForm {
  using Square = ColumnMajor<Scalar, Dim, Dim>;
  Square queries, product, keys;  ///< d × d
  int exponent = 0;
  double beta = 1;  ///< β c
};

/// The form of a head under a law.
template <class Scalar, int Dim, class Law>
using FormOf = std::conditional_t<DistanceLaw<Law>,
                                  DistanceForm<std::conditional_t<KernelScalar<Scalar>, double, Scalar>, Dim>,
                                  Form<Scalar, Dim>>;

/// AᵀB, entry by entry.
template <class Scalar, int Dim, class A, class B>
[[nodiscard]] ColumnMajor<Scalar, Dim, Dim> entries_of_product(const A& a, const B& b) {
  ColumnMajor<Scalar, Dim, Dim> product(a.cols(), b.cols());
  for (Eigen::Index j = 0; j < b.cols(); ++j)
    for (Eigen::Index i = 0; i < a.cols(); ++i) {
      Scalar sum = a(0, i) * b(0, j);
      for (Eigen::Index k = 1; k < a.rows(); ++k) {
        const Scalar term = a(k, i) * b(k, j);
        sum += term;
      }
      product(i, j) = sum;
    }
  return product;
}

/// The form of distances of a head, without overflow. Cost: O(d_k d²).
template <class Wide, class Scalar, int Dim>
[[nodiscard]] DistanceForm<Wide, Dim> distance_form(const Head<Scalar, Dim>& head, double beta) {
  using Matrix = ColumnMajor<Wide, Eigen::Dynamic, Eigen::Dynamic>;
  Matrix Q = head.Q.template cast<Wide>(), K = head.K.template cast<Wide>();
  const int unit = (std::max)(exponent_of(largest_number(Q.data(), Q.size())),
                              exponent_of(largest_number(K.data(), K.size())));
  scale_by_power_of_two(Q, -unit);
  scale_by_power_of_two(K, -unit);
  return {entries_of_product<Wide, Dim>(Q, Q), entries_of_product<Wide, Dim>(Q, K),
          entries_of_product<Wide, Dim>(K, K), 2 * unit, beta};
}

/// The form of a head under a law.
template <class Scalar, int Dim, class Law>
[[nodiscard]] FormOf<Scalar, Dim, Law> form_of(const Head<Scalar, Dim>& head, const Law& law) {
  if constexpr (DistanceLaw<Law>)
    return distance_form<std::conditional_t<KernelScalar<Scalar>, double, Scalar>>(head,
                                                                                   law.beta * law.scale);
  else if constexpr (KernelScalar<Scalar>)
    return score_form(head, law.beta);
  else
    return generic_form(head, law.beta);
}

/// The form for a scalar of scores given in double.
template <class Scalar, int Dim>
[[nodiscard]] decltype(auto) form_for(const ScoreForm<Dim>& form) {
  if constexpr (KernelScalar<Scalar>)
    return (form);
  else
    return GenericForm<Scalar, Dim>{form.M.matrix.template cast<Scalar>(), 0, form.M.log_scale, form.beta};
}
/// The form that the plain loops take.
template <class Scalar, int Dim>
[[nodiscard]] GenericForm<Scalar, Dim> generic_form_of(const ScoreForm<Dim>& form) {
  // In double the matrix may be beyond the range of float: its size is in the logarithm.
  return {form.M.matrix.template cast<Scalar>(), 0, form.M.log_scale, form.beta};
}
template <class Scalar, int Dim>
[[nodiscard]] const GenericForm<Scalar, Dim>& generic_form_of(const GenericForm<Scalar, Dim>& form) {
  return form;
}

/// The form of the scores with queries and keys in each other's place: columns of P as rows.
template <int Dim>
[[nodiscard]] ScoreForm<Dim> transposed_form(const ScoreForm<Dim>& form) {
  return {ScaledMatrix<Dim>{form.transposed, form.M.log_scale}, form.beta};
}
template <class Scalar, int Dim>
[[nodiscard]] GenericForm<Scalar, Dim> transposed_form(const GenericForm<Scalar, Dim>& form) {
  return {form.M.transpose(), form.exponent, form.log_scale, form.beta};
}

}}}  // namespace attnflow::detail
