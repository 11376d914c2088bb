/// \file
/// Queries and keys of a head, turned by their positions.
#pragma once

#include <attnflow/attention/detail/forms.hpp>
#include <attnflow/attention/kernels/multiply.hpp>
#include <attnflow/attention/positions/rotary.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// R_i q and R_j k of one evaluation, whose products are ⟨q, k⟩ in units of 2^exponent.
template <class Scalar>
struct TurnedPoints {
  Tokens<Scalar> queries, keys;  ///< d_k × m and d_k × n
  int exponent = 0;

  /// Turns what queries and keys hold; the first query stands at a position among the keys.
  template <RotatingPositions Positions>
  void turn(const Positions& positions, Eigen::Index first_position) {
    rotate(positions, queries.data(), queries.rows(), queries.cols(), first_position, keys.cols());
    rotate(positions, keys.data(), keys.rows(), keys.cols(), 0, keys.cols());
  }
};

/// Q and K of a head under rotary positions, each in units of a power of two.
/// \throws std::invalid_argument unless d_k is even.
template <class Scalar>
struct RotatedHead {
  using Matrix = ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  Matrix Q, K;
  int exponent = 0;  ///< of both together

  template <int Dim>
  explicit RotatedHead(const Head<Scalar, Dim>& head) : Q(head.Q), K(head.K) {
    require_planes(Q.rows());
    for (Matrix* A : {&Q, &K}) {
      const int unit = exponent_of(largest_number(A->data(), A->size()));
      scale_by_power_of_two(*A, -unit);
      exponent += unit;
    }
  }

  /// R_i Q xᵢ and R_j K xⱼ. Cost: O((m + n) d d_k).
  template <RotatingPositions Positions, int Dim>
  void images(const Positions& positions, const PointViews<Scalar, Dim>& views,
              TurnedPoints<Scalar>& turned) const {
    turned.exponent = exponent + image(Q, views.queries, turned.queries) + image(K, views.keys, turned.keys);
    turned.turn(positions, views.first_position);
  }

 private:
  /// to = A x 2^{−e}, where e is returned.
  template <int Dim>
  static int image(const Matrix& A, const TokenView<Scalar, Dim>& x, Tokens<Scalar>& to) {
    const auto largest = largest_number(x.data(), x.rows() * x.cols());
    const int unit = std::isfinite(largest) ? exponent_of(largest) : 0;
    Tokens<Scalar> scaled = x.map();
    scale_by_power_of_two(scaled, -unit);
    to.resize(A.rows(), x.cols());
    if constexpr (KernelScalar<Scalar>)
      multiply_columns(A.data(), A.rows(), A.cols(), scaled.data(), A.cols(), to.data(), x.cols());
    else
      to = entries_of_product<Scalar, Eigen::Dynamic>(Matrix(private_copy(A).transpose()), scaled);
    return unit;
  }
};

}}}  // namespace attnflow::detail
