/// \file
/// Tokens in memory of any owner, read and written in place.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <concepts>
#include <type_traits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A matrix of Eigen from which d × n tokens can be read: Tokens, an Eigen::Map, a Ref or a Block of the same scalar
/// type, or an expression. A number of rows known at compile time has to be Dim, where that is known, too.
template <class X, class Scalar, int Dim>
concept TokenSource = std::derived_from<X, Eigen::MatrixBase<X>> &&
    std::same_as<typename X::Scalar, Scalar> &&
    (Dim == Eigen::Dynamic || int{X::RowsAtCompileTime} == Eigen::Dynamic ||
     int{X::RowsAtCompileTime} == Dim);

/// A matrix of Eigen that d × n velocities can be written to: Tokens, which are resized, or an Eigen::Map, a Ref or a
/// Block of the right shape.
template <class X, class Scalar, int Dim>
concept TokenTarget =
    TokenSource<std::remove_cvref_t<X>, Scalar, Dim> && !std::is_const_v<std::remove_reference_t<X>> &&
    (static_cast<unsigned>(std::remove_cvref_t<X>::Flags) & Eigen::LvalueBit) != 0 &&
    (static_cast<unsigned>(std::remove_cvref_t<X>::Flags) & Eigen::DirectAccessBit) != 0;

namespace detail {

/// Whether the columns of a matrix follow one another in memory, as those of Tokens do.
template <class X>
[[nodiscard]] bool lies_as_tokens(const X& x) {
  return (x.rows() <= 1 || x.rowStride() == 1) && (x.cols() <= 1 || x.colStride() == x.rows());
}

/// d × n tokens, column by column without gaps, which the operator reads.
///
/// Tokens, and a Map, Ref or Block that lies in memory as they do, are read in place: nothing is copied. Another
/// stride (rows of a larger matrix, a row-major Map, every second column) and an expression cost one copy, which
/// lives as long as the view.
template <class Scalar, int Dim>
class TokenView {
 public:
  template <TokenSource<Scalar, Dim> X>
  TokenView(const X& x) : rows_(x.rows()), cols_(x.cols()) {  // NOLINT: meant to convert
    if constexpr ((static_cast<unsigned>(X::Flags) & Eigen::DirectAccessBit) != 0)
      if (lies_as_tokens(x)) {
        data_ = x.data();
        return;
      }
    copy_ = x;
    data_ = copy_.data();
  }
  TokenView(const TokenView&) = delete;
  TokenView& operator=(const TokenView&) = delete;

  [[nodiscard]] const Scalar* data() const noexcept { return data_; }
  [[nodiscard]] Eigen::Index rows() const noexcept { return rows_; }
  [[nodiscard]] Eigen::Index cols() const noexcept { return cols_; }
  /// The tokens as a matrix of Eigen.
  [[nodiscard]] Eigen::Map<const Tokens<Scalar, Dim>> map() const { return {data_, rows_, cols_}; }

 private:
  Eigen::Index rows_, cols_;
  const Scalar* data_ = nullptr;
  detail::ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic> copy_;
};

/// The three sets of points of an evaluation, in plain memory: row i is the query at position first_position + i among the
/// keys. Keys and values are as many. Self-attention has one set of tokens for all three.
template <class Scalar, int Dim>
struct PointViews {
  const TokenView<Scalar, Dim>& queries;  ///< d_k × m
  const TokenView<Scalar, Dim>& keys;     ///< d_k × n
  const TokenView<Scalar, Dim>& values;   ///< d_v × n
  Eigen::Index first_position = 0;

  PointViews(const TokenView<Scalar, Dim>& tokens)  // NOLINT: meant to convert
      : queries(tokens), keys(tokens), values(tokens) {}
  PointViews(const TokenView<Scalar, Dim>& of_queries, const TokenView<Scalar, Dim>& of_keys,
             const TokenView<Scalar, Dim>& of_values, Eigen::Index first)
      : queries(of_queries), keys(of_keys), values(of_values), first_position(first) {}
};

/// Refuses tokens of another dimension than d, in the name of a function or class.
template <class X>
void require_dimension(const char* owner, const X& x, Eigen::Index d) {
  if (x.rows() != d) refuse(owner, ": x has ", x.rows(), " rows, expected d = ", d);
}

/// Calls write(map) with a map of d × n tokens that lies in `out`, or, where out has another layout, in memory that is
/// copied to it afterwards.
/// \throws std::invalid_argument unless out has the shape or can be resized to it.
template <class Scalar, int Dim, class Out, class Write>
void write_in_place(const char* owner, Eigen::Index rows, Eigen::Index cols, Out& out, Write&& write) {
  using Map = Eigen::Map<Tokens<Scalar, Dim>>;
  constexpr int fixed = Out::RowsAtCompileTime;
  if constexpr (std::derived_from<Out, Eigen::PlainObjectBase<Out>> &&
                Out::ColsAtCompileTime == Eigen::Dynamic)
    if (fixed == Eigen::Dynamic || fixed == rows) out.resize(rows, cols);
  if (out.rows() != rows || out.cols() != cols)
    refuse(owner, ": dx is ", out.rows(), " x ", out.cols(), ", expected ", rows, " x ", cols, " as x is");
  if (lies_as_tokens(out)) {
    Map map(out.data(), rows, cols);
    std::forward<Write>(write)(map);
    return;
  }
  detail::ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic> elsewhere(rows, cols);
  Map map(elsewhere.data(), rows, cols);
  std::forward<Write>(write)(map);
  out = elsewhere;
}

}  // namespace detail
}}  // namespace attnflow
