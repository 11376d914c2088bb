/// \file
/// What one head makes of tokens: by the form of its scores, or by its factors where these are smaller.
#pragma once

#include <attnflow/attention/detail/attend_points.hpp>
#include <attnflow/attention/detail/distances.hpp>
#include <attnflow/attention/detail/forms.hpp>
#include <attnflow/attention/kernels/multiply.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdlib>
#include <limits>
#include <numbers>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// A matrix in units of a power of two, so that its product with sums of tokens overflows at the very end or not at all.
template <class Scalar, int Rows, int Columns = Rows>
struct ScaledValue {
  ColumnMajor<Scalar, Rows, Columns> matrix;
  int exponent = 0;
  bool identity = false;  ///< the matrix is 2^exponent I

  ScaledValue() = default;
  explicit ScaledValue(ColumnMajor<Scalar, Rows, Columns> V) : matrix(std::move(V)) {
    if (matrix.size() == 0) return;
    if constexpr (KernelScalar<Scalar>)
      exponent = exponent_of(matrix.cwiseAbs().maxCoeff());
    else
      exponent = exponent_of(largest_number(matrix.data(), matrix.size()));
    scale_by_power_of_two(matrix, -exponent);
    if constexpr (std::floating_point<Scalar>)  // without derivatives
      identity = matrix.rows() == matrix.cols() && matrix.isIdentity(0);
  }

  /// out = V x 2^{−exponent}. \pre x and out are different objects; x may be moved from.
  template <int Dim>
  void apply(Tokens<Scalar, Dim>& x, Tokens<Scalar, Dim>& out) const {
    out.resize(x.rows(), x.cols());
    if (identity)
      out.swap(x);
    else
      multiply(x, out.data());
  }
  /// The same to memory of that shape.
  template <int Dim>
  void apply(Tokens<Scalar, Dim>& x, Eigen::Map<Tokens<Scalar, Dim>>& out) const {
    if (identity)
      out = x;
    else
      multiply(x, out.data());
  }

 private:
  template <int Dim>
  void multiply(const Tokens<Scalar, Dim>& x, Scalar* out) const {
    if constexpr (KernelScalar<Scalar>)
      multiply_tokens<Dim>(matrix.data(), x.data(), out, x.rows(), x.cols());
    else
      multiply_entries(private_copy(matrix).data(), x.data(), out, x.rows(), x.cols());
  }
};

/// The factors of a head, each in units of a power of two: queries Q x and keys K (x − c) in d_k coordinates, values V (x − c)
/// in d_v, and O of their sums; c is the middle of the tokens. Without O the values are the tokens.
template <KernelScalar Scalar>
struct HeadFactors {
  using Matrix = ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
  ScaledValue<Scalar, Eigen::Dynamic> Q, K, V, O;

  HeadFactors() = default;
  template <int Dim>
  explicit HeadFactors(const Head<Scalar, Dim>& head)
      : Q(Matrix(head.Q)),
        K(Matrix(head.K)),
        V(head.O.size() == 0 ? Matrix() : Matrix(head.V)),
        O(Matrix(head.O)) {}

  [[nodiscard]] bool has_values() const noexcept { return V.matrix.size() != 0; }
  /// The exponent of O V.
  [[nodiscard]] int exponent() const noexcept { return V.exponent + O.exponent; }

  /// Whether n tokens take fewer operations by the factors than by the forms M = QᵀK and O V: 2 d_k + 2 d_v against 4 d for
  /// each pair, 4 d (d_k + d_v) against 4 d² for each token.
  [[nodiscard]] bool pay(Eigen::Index d, Eigen::Index n) const noexcept {
    const auto width = static_cast<double>(d), count = static_cast<double>(n),
               d_k = static_cast<double>(Q.matrix.rows());
    const double d_v = has_values() ? static_cast<double>(V.matrix.rows()) : width;
    const double factors =
        count * (2 * d_k + 2 * d_v) + 4 * width * d_k + (has_values() ? 4 * width * d_v : 2 * width * width);
    return d > most_small_coordinates && factors < 0.95 * (count * 4 * width + 4 * width * width);
  }

  /// The images A (x − c) of tokens as points with the origin A c, kept in `images`. Cost: O(rows d n).
  static void map(const ScaledValue<Scalar, Eigen::Dynamic>& A, const PointLayout<Scalar>& tokens,
                  AlignedVector<Scalar>& images, PointLayout<Scalar>& layout) {
    const Eigen::Index rows = A.matrix.rows(), d = A.matrix.cols();
    images.resize(static_cast<std::size_t>(rows * tokens.n));
    multiply_columns(A.matrix.data(), rows, d, tokens.centred.data(), tokens.step, images.data(), tokens.n);
    layout.read(images.data(), rows, tokens.n);
    layout.origin.assign(static_cast<std::size_t>(rows), 0);
    for (Eigen::Index k = 0; k < d; ++k)
      for (Eigen::Index i = 0; i < rows; ++i)
        layout.origin[static_cast<std::size_t>(i)] +=
            static_cast<double>(A.matrix(i, k)) *
            static_cast<double>(tokens.centre[static_cast<std::size_t>(k)]);
  }

  /// Writes out = O ∑ⱼ wᵢⱼ V xⱼ (d × n) in units of 2^{exponent()}, or ∑ⱼ wᵢⱼ xⱼ where there is no O.
  /// \returns false for tokens so large or so small that the forms are safer: out is not written then.
  template <class Law, class Mask, class Bias>
  [[nodiscard]] bool attend(const Law& law, const Mask& mask, const Bias& bias,
                            const PointLayout<Scalar>& tokens, Scalar* out,
                            AttentionScratch<Scalar>& scratch) const {
    constexpr int comfortable = std::numeric_limits<Scalar>::max_exponent / 4;
    if (!tokens.finite || std::abs(exponent_of(tokens.largest)) > comfortable) return false;
    const Eigen::Index n = tokens.n, d = tokens.d, d_k = Q.matrix.rows();
    scratch.query_images.resize(static_cast<std::size_t>(d_k * n));
    multiply_columns(Q.matrix.data(), d_k, d, tokens.given(), d, scratch.query_images.data(), n);
    map(K, tokens, scratch.key_images, scratch.keys);
    QuerySource<Scalar> source;
    source.points = scratch.query_images.data();
    source.count = n;
    source.largest = 2 * static_cast<double>(d) * tokens.largest;  // entries of Q are below 2
    source.beta = law.beta;
    source.log_scale = (Q.exponent + K.exponent) * std::numbers::ln2;
    if (!has_values())
      return attend_points<Eigen::Dynamic, Eigen::Dynamic, false>(
          source, scratch.keys, tokens, Weighted::tokens, law, mask, bias, out, nullptr, scratch);
    map(V, tokens, scratch.value_images, scratch.values);
    const Eigen::Index d_v = V.matrix.rows();
    scratch.value_sums.resize(static_cast<std::size_t>(d_v * n));
    if (!attend_points<Eigen::Dynamic, Eigen::Dynamic, false>(source, scratch.keys, scratch.values,
                                                              Weighted::tokens, law, mask, bias,
                                                              scratch.value_sums.data(), nullptr, scratch))
      return false;
    multiply_columns(O.matrix.data(), d, d_v, scratch.value_sums.data(), d_v, out, n);
    return true;
  }
};

/// Whether a law of a head with these scalars may be taken through its factors.
template <class Scalar, int Dim, class Law>
inline constexpr bool may_factor =
    KernelScalar<Scalar> && !is_small<Dim> && !DistanceLaw<Law> && !DoublyStochasticLaw<Law>;

/// One head of a layer: the form of its scores, O V, and its factors.
template <class Scalar, int Dim, class Law>
struct HeadOperator {
  struct Nothing {
    explicit Nothing(const Head<Scalar, Dim>&) {}
  };
  using Factors =
      std::conditional_t<may_factor<Scalar, Dim, Law>,
                         HeadFactors<std::conditional_t<may_factor<Scalar, Dim, Law>, Scalar, double>>,
                         Nothing>;
  FormOf<Scalar, Dim, Law> form;
  ScaledValue<Scalar, Dim> value;  ///< O V
  [[no_unique_address]] Factors factors;

  HeadOperator(const Head<Scalar, Dim>& head, const Law& law)
      : form(form_of(head, law)), value(head.value()), factors(head) {}

  /// Whether O V = 0. A zero that may carry derivatives does not vanish.
  [[nodiscard]] bool vanishes() const {
    if constexpr (std::floating_point<Scalar>)
      return value.matrix.isZero(0);
    else
      return false;
  }

  /// out = ∑ⱼ wᵢⱼ O V xⱼ in units of 2^e, where e is returned. `sums` is memory.
  template <class Mask, class Bias, class Out>
  int attend(const Law& law, const Mask& mask, const Bias& bias, const TokenView<Scalar, Dim>& x,
             Tokens<Scalar, Dim>& sums, Out& out, RowRecord* rows = nullptr) const {
    if constexpr (KernelScalar<Scalar> && !DistanceLaw<Law>) {
      auto& scratch = AttentionScratch<Scalar>::of_this_thread();
      scratch.tokens.template read<Dim>(x.data(), x.rows(), x.cols());
      return attend(law, mask, bias, scratch.tokens, x, sums, out, rows, scratch);
    } else {
      const int exponent = attend_scaled(form, nullptr, Weighted::tokens, law, mask, bias, x, sums, rows);
      value.apply(sums, out);
      return exponent + value.exponent;
    }
  }

  /// The same of tokens that are laid out.
  template <class Mask, class Bias, class Out>
  int attend(const Law& law, const Mask& mask, const Bias& bias, const PointLayout<Scalar>& layout,
             const TokenView<Scalar, Dim>& x, Tokens<Scalar, Dim>& sums, Out& out, RowRecord* rows,
             AttentionScratch<Scalar>& scratch) const requires(KernelScalar<Scalar> && !DistanceLaw<Law>) {
    if constexpr (may_factor<Scalar, Dim, Law>)
      if (rows == nullptr && factors.pay(layout.d, layout.n)) {
        sums.resize(x.rows(), x.cols());
        if (factors.attend(law, mask, bias, layout, sums.data(), scratch)) {
          if (factors.has_values()) {
            if constexpr (std::is_same_v<Out, Tokens<Scalar, Dim>>)
              out.swap(sums);
            else
              out = sums;
            return factors.exponent();
          }
          value.apply(sums, out);
          return value.exponent;
        }
      }
    const int exponent =
        attend_tokens(form, nullptr, Weighted::tokens, law, mask, bias, layout, x, sums, rows, scratch);
    value.apply(sums, out);
    return exponent + value.exponent;
  }
};

}}}  // namespace attnflow::detail
