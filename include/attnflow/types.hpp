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

/// The weights of one attention head. The score of query i on key j is ⟨Q xᵢ, K xⱼ⟩ and token j
/// carries the value V xⱼ. Only the products M = QᵀK (the bilinear form) and V enter the dynamics.
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic>
struct Head {
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  /// Q and K: d_k × d.
  using Projection = detail::ColumnMajor<Scalar, Eigen::Dynamic, Dim>;
  /// V: d × d.
  using Square = detail::ColumnMajor<Scalar, Dim, Dim>;

  Projection Q;  ///< d_k × d
  Projection K;  ///< d_k × d
  Square V;      ///< d × d

  /// Q = K = V = I in dimension d.
  [[nodiscard]] static Head identity(Eigen::Index d = Dim) {
    if (d < 1) detail::refuse("Head::identity: d is ", d, ", expected at least 1");
    return {Projection::Identity(d, d), Projection::Identity(d, d), Square::Identity(d, d)};
  }

  /// Q = K = I and the given V (d × d).
  [[nodiscard]] static Head with_value(Square value) {
    const Eigen::Index d = value.rows();
    return {Projection::Identity(d, d), Projection::Identity(d, d), std::move(value)};
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept { return V.rows(); }

  /// \throws std::invalid_argument naming `owner` and the matrix at fault, unless the shapes agree
  /// (Q and K both d_k × d with d_k ≥ 1, V d × d) and every entry is finite.
  void validate(std::string_view owner) const {
    const auto fail = [&](const char* what, const auto& m, const std::string& expected) {
      detail::refuse(owner, ": ", what, " is ", m.rows(), " x ", m.cols(), ", expected ", expected);
    };
    if (V.rows() < 1 || V.rows() != V.cols()) fail("V", V, "a square matrix of size at least 1");
    const std::string columns = "d = " + std::to_string(V.rows()) + " columns, as V has";
    if (Q.rows() < 1 || Q.cols() != V.cols()) fail("Q", Q, "at least one row and " + columns);
    if (K.rows() < 1 || K.cols() != V.cols()) fail("K", K, "at least one row and " + columns);
    if (Q.rows() != K.rows()) fail("K", K, std::to_string(Q.rows()) + " rows, as Q has");
    const auto finite = [&](const char* what, const auto& m) {
      if (!m.allFinite()) detail::refuse(owner, ": ", what, " has an entry that is not finite");
    };
    finite("Q", Q);
    finite("K", K);
    finite("V", V);
  }
};

}}  // namespace attnflow
