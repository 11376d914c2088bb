/// \file
/// The state and the weights: Tokens and Head.
///
/// Read here is the core of Eigen alone: a program that inverts or decomposes matrices includes <Eigen/Dense> itself.
#pragma once

#include <attnflow/detail/column_major.hpp>
#include <attnflow/detail/refuse.hpp>

#include <Eigen/Core>

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A scalar that tokens can be made of: float, double, long double, or a user's real number type such as
/// Eigen::AutoDiffScalar; never an integer, never complex.
template <class S>
concept RealScalar = !std::integral<S> && !Eigen::NumTraits<S>::IsInteger && !Eigen::NumTraits<S>::IsComplex;

/// A scalar that the vectorised kernels are compiled for.
template <class S>
concept KernelScalar = std::same_as<S, float> || std::same_as<S, double>;

/// Tokens x₁ … xₙ as the columns of a d × n matrix: the same bytes as a NumPy array of shape (n, d).
template <RealScalar Scalar, int Dim = Eigen::Dynamic>
using Tokens = detail::ColumnMajor<Scalar, Dim, Eigen::Dynamic>;

/// The weights of one attention head. The score of query i on key j is ⟨Q xᵢ, K xⱼ⟩ and token j carries the value
/// O V xⱼ, or V xⱼ where there is no O. Only the products M = QᵀK (the bilinear form) and O V enter the dynamics; where the
/// factors are smaller than d × d, the operator works with them.
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic>
struct Head {
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  /// Q and K: d_k × d; V: d_v × d.
  using Projection = detail::ColumnMajor<Scalar, Eigen::Dynamic, Dim>;
  /// O: d × d_v.
  using Output = detail::ColumnMajor<Scalar, Dim, Eigen::Dynamic>;
  /// O V: d × d.
  using Square = detail::ColumnMajor<Scalar, Dim, Dim>;

  Projection Q;  ///< d_k × d
  Projection K;  ///< d_k × d
  /// d_v × d; d × d where there is no O. Made d × d, without values, where d is known.
  Projection V = Projection((Dim > 0 ? Dim : 0), (Dim > 0 ? Dim : 0));
  Output O{};  ///< d × d_v; without entries for the identity

  /// Q = K = V = I in dimension d.
  [[nodiscard]] static Head identity(Eigen::Index d = Dim) {
    if (d < 1) detail::refuse("Head::identity: d is ", d, ", expected at least 1");
    return {Projection::Identity(d, d), Projection::Identity(d, d), Projection::Identity(d, d)};
  }

  /// Q = K = I and the given V (d × d).
  [[nodiscard]] static Head with_value(Square value) {
    const Eigen::Index d = value.rows();
    return {Projection::Identity(d, d), Projection::Identity(d, d), std::move(value)};
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept { return V.cols(); }

  /// O V, or V where there is no O: the matrix in front of a token. Cost: O(d² d_v).
  /// \throws std::invalid_argument unless O has a column for each row of V.
  [[nodiscard]] Square value() const {
    if (O.size() == 0) return V;
    if (O.cols() != V.rows())
      detail::refuse("Head::value: O is ", O.rows(), " x ", O.cols(), ", expected ", V.cols(), " x ",
                     V.rows());
    Square product(O.rows(), V.cols());
    for (Eigen::Index j = 0; j < V.cols(); ++j)
      for (Eigen::Index i = 0; i < O.rows(); ++i) {
        // Every term becomes a Scalar before it is added: it may carry derivatives.
        Scalar sum = O(i, 0) * V(0, j);
        for (Eigen::Index k = 1; k < V.rows(); ++k) {
          const Scalar term = O(i, k) * V(k, j);
          sum += term;
        }
        product(i, j) = sum;
      }
    return product;
  }

  /// \throws std::invalid_argument naming `owner` and the matrix at fault, unless the shapes agree (Q and K both d_k × d
  /// with d_k ≥ 1; V d × d, or V d_v × d and O d × d_v with d_v ≥ 1) and every entry is finite, of O V, too. Cost: that of value().
  void validate(std::string_view owner) const {
    const auto fail = [&](const char* what, const auto& m, const std::string& expected) {
      detail::refuse(owner, ": ", what, " is ", m.rows(), " x ", m.cols(), ", expected ", expected);
    };
    if (O.size() == 0 && (V.rows() < 1 || V.rows() != V.cols()))
      fail("V", V, "a square matrix of size at least 1");
    if (V.rows() < 1 || V.cols() < 1) fail("V", V, "at least one row and one column");
    if (O.size() != 0 && (O.rows() != V.cols() || O.cols() != V.rows()))
      fail("O", O,
           std::to_string(V.cols()) + " x " + std::to_string(V.rows()) + ", the shape of V transposed");
    const std::string columns = "d = " + std::to_string(V.cols()) + " columns, as V has";
    if (Q.rows() < 1 || Q.cols() != V.cols()) fail("Q", Q, "at least one row and " + columns);
    if (K.rows() < 1 || K.cols() != V.cols()) fail("K", K, "at least one row and " + columns);
    if (Q.rows() != K.rows()) fail("K", K, std::to_string(Q.rows()) + " rows, as Q has");
    const auto finite = [&](const char* what, const auto& m) {
      if (!m.allFinite()) detail::refuse(owner, ": ", what, " has an entry that is not finite");
    };
    finite("Q", Q);
    finite("K", K);
    finite("V", V);
    finite("O", O);
    if (O.size() != 0) finite("O V", value());
  }
};

}}  // namespace attnflow
