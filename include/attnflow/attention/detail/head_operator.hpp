/// \file
/// What one head makes of tokens: by the form of its scores, or by its factors where these are smaller.
#pragma once

#include <attnflow/attention/detail/attend_points.hpp>
#include <attnflow/attention/detail/distances.hpp>
#include <attnflow/attention/detail/forms.hpp>
#include <attnflow/attention/detail/rotated_head.hpp>
#include <attnflow/attention/kernels/multiply.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/attention/within.hpp>
#include <attnflow/detail/scratch.hpp>
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

  /// Whether m queries on n tokens take fewer operations by the factors than by the forms M = QᵀK and O V: 2 d_k + 2 d_v
  /// against 4 d for each pair; 2 d (d_k + d_v) for each query and each token against 4 d² for each query.
  [[nodiscard]] bool pay(Eigen::Index d, Eigen::Index n, Eigen::Index m) const noexcept {
    const auto width = static_cast<double>(d), keys = static_cast<double>(n),
               queries = static_cast<double>(m), d_k = static_cast<double>(Q.matrix.rows()),
               d_v = has_values() ? static_cast<double>(V.matrix.rows()) : width;
    const double with_factors =
                     keys * queries * 2 * (d_k + d_v) + (keys + queries) * 2 * width * d_k +
                     (has_values() ? (keys + queries) * 2 * width * d_v : queries * 2 * width * width),
                 with_forms = keys * queries * 4 * width + queries * 4 * width * width;
    return d > most_small_coordinates && with_factors < 0.95 * with_forms;
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

  /// Writes out = O ∑ⱼ wᵢⱼ V xⱼ (d × m) in units of 2^{exponent()}, or ∑ⱼ wᵢⱼ xⱼ where there is no O.
  /// \returns false for tokens so large or so small that the forms are safer: out is not written then.
  template <class Law, class Mask, class Bias>
  [[nodiscard]] bool attend(const Law& law, const Mask& mask, const Bias& bias,
                            const PointLayout<Scalar>& tokens, const QueryPoints<Scalar>& points, Scalar* out,
                            AttentionScratch<Scalar>& scratch) const {
    constexpr int comfortable = std::numeric_limits<Scalar>::max_exponent / 4;
    for (const double size : {tokens.largest, points.largest})
      if (std::abs(exponent_of(size)) > comfortable) return false;
    if (!tokens.finite) return false;
    const Eigen::Index d = tokens.d, d_k = Q.matrix.rows(), m = points.count;
    scratch.query_images.resize(static_cast<std::size_t>(d_k * m));
    multiply_columns(Q.matrix.data(), d_k, d, points.points, d, scratch.query_images.data(), m);
    map(K, tokens, scratch.key_images, scratch.keys);
    QueryPoints<Scalar> images = points;
    images.points = scratch.query_images.data();
    images.largest = 2 * static_cast<double>(d) * points.largest;  // entries of Q are below 2
    const QuerySource<Scalar> source(images, law.beta, (Q.exponent + K.exponent) * std::numbers::ln2);
    const auto sum = [&](const PointLayout<Scalar>& values, Scalar* to) {
      return attend_points<Eigen::Dynamic, Eigen::Dynamic, false>(
          source, scratch.keys, values, Weighted::tokens, law, mask, bias, to, nullptr, scratch);
    };
    if (!has_values()) return sum(tokens, out);
    map(V, tokens, scratch.value_images, scratch.values);
    const Eigen::Index d_v = V.matrix.rows();
    scratch.value_sums.resize(static_cast<std::size_t>(d_v * m));
    if (!sum(scratch.values, scratch.value_sums.data())) return false;
    multiply_columns(O.matrix.data(), d, d_v, scratch.value_sums.data(), d_v, out, m);
    return true;
  }
};

/// Whether a law of a head with these scalars may be taken through its factors.
template <class Scalar, int Dim, class Law>
inline constexpr bool may_factor =
    KernelScalar<Scalar> && !is_small<Dim> && !DistanceLaw<Law> && !DoublyStochasticLaw<Law>;

/// One head of a layer: the form of its scores, O V, and its factors; under rotary positions Q and K.
template <class Scalar, int Dim, class Law, class Bias = NoBias>
struct HeadOperator {
  static constexpr bool turns = RotatingPositions<Bias>;
  static_assert(
      !turns || !(DistanceLaw<Law> || DoublyStochasticLaw<Law>),
      "rotary positions are for laws of products, one row by itself: neither L2Softmax nor Sinkhorn");
  struct Nothing {
    explicit Nothing(const Head<Scalar, Dim>&) {}
  };
  static constexpr bool factored = may_factor<Scalar, Dim, Law> && !turns;
  using Factors = std::conditional_t<
      turns, RotatedHead<Scalar>,
      std::conditional_t<factored, HeadFactors<std::conditional_t<factored, Scalar, double>>, Nothing>>;
  FormOf<Scalar, Dim, Law> form;
  ScaledValue<Scalar, Dim> value;  ///< O V
  [[no_unique_address]] Factors factors;
  /// Whether O V = 0, also where it is below every number. A zero that may carry derivatives does not vanish.
  bool vanishes = false;

  HeadOperator(const Head<Scalar, Dim>& head, const Law& law)
      : form(form_of(head, law)), value(head.value()), factors(head) {
    if constexpr (std::floating_point<Scalar>) vanishes = value.matrix.isZero(0);
  }

  /// out = ∑ⱼ wᵢⱼ O V xⱼ in units of 2^e, where e is returned, for queries among the keys of `views`. `sums` is memory.
  template <class Mask, class Out>
  int attend(const Law& law, const Mask& mask, const Bias& bias, const PointViews<Scalar, Dim>& views,
             Tokens<Scalar, Dim>& sums, Out& out, RowRecord* rows = nullptr) const {
    const TokenView<Scalar, Dim>& x = views.keys;
    if constexpr (turns) {
      static constinit thread_local Scratch<TurnedPoints<Scalar>> kept;
      static constinit thread_local Scratch<Tokens<Scalar>> kept_sums;
      TurnedPoints<Scalar>& turned = *kept;
      factors.images(bias, views, turned);
      const TokenView<Scalar, Eigen::Dynamic> q(turned.queries), k(turned.keys), v(views.values.map());
      const int exponent =
          attend_views(PointViews<Scalar, Eigen::Dynamic>(q, k, v, views.first_position), turned.exponent,
                       law, bound_mask(mask, views), NoBias{}, *kept_sums, rows, nullptr);
      sums = *kept_sums;
      value.apply(sums, out);
      return exponent + value.exponent;
    } else if constexpr (KernelScalar<Scalar> && !DistanceLaw<Law>) {
      auto& scratch = AttentionScratch<Scalar>::of_this_thread();
      scratch.tokens.template read<Dim>(x.data(), x.rows(), x.cols());
      const auto points = query_points(views, scratch.tokens);
      return attend(law, mask, bias, scratch.tokens, points, views, sums, out, rows, scratch);
    } else {
      int exponent = 0;
      if constexpr (DistanceLaw<Law>)  // of tokens to one another
        exponent = attend_scaled(form, nullptr, Weighted::tokens, law, mask, bias, x, sums, rows);
      else
        exponent = attend_generically(form, nullptr, Weighted::tokens, law, mask, bias, views, sums, rows);
      value.apply(sums, out);
      return exponent + value.exponent;
    }
  }

  /// The same of tokens that are laid out.
  template <class Mask, class Out>
  int attend(const Law& law, const Mask& given_mask, const Bias& bias, const PointLayout<Scalar>& layout,
             const QueryPoints<Scalar>& points, const PointViews<Scalar, Dim>& views,
             Tokens<Scalar, Dim>& sums, Out& out, RowRecord* rows, AttentionScratch<Scalar>& scratch) const
      requires(KernelScalar<Scalar> && !DistanceLaw<Law> && !turns) {
    const auto& mask = bound_mask(given_mask, views);
    if constexpr (factored)
      if (rows == nullptr && !vanishes && factors.pay(layout.d, layout.n, points.count)) {
        sums.resize(layout.d, points.count);
        if (factors.attend(law, mask, bias, layout, points, sums.data(), scratch)) {
          if (!factors.has_values()) {
            value.apply(sums, out);
            return value.exponent;
          }
          if constexpr (std::is_same_v<Out, Tokens<Scalar, Dim>>)
            out.swap(sums);
          else
            out = sums;
          return factors.exponent();
        }
      }
    const int exponent = attend_tokens(form, nullptr, Weighted::tokens, law, mask, bias, layout, points,
                                       views, sums, rows, scratch);
    value.apply(sums, out);
    return exponent + value.exponent;
  }
};

}}}  // namespace attnflow::detail
