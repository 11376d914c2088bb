/// \file
/// Scores of distances as scores of products, in two coordinates more.
#pragma once

#include <attnflow/attention/detail/forms.hpp>
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/row_record.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/numerics/scaled_matrix.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numbers>
#include <type_traits>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Tokens lifted so that distances become products. With x = c + y, c the middle of the box around the tokens,
/// G = EᵀQᵀK E and H = EᵀKᵀK E, and beside what depends on i alone,
///
///     −‖Q E xᵢ − K E xⱼ‖² = 2 yᵢᵀ G yⱼ + 2 cᵀ(G − H) yⱼ − yⱼᵀ H yⱼ = x̃ᵢᵀ M̃ x̃ⱼ,   x̃ = (y, yᵀ H y, 1).
///
/// Everything is of the size of the cloud: nothing is lost far from the origin. Tokens of extreme size are taken in
/// units of 2^exponent. Cost: O(n d² + d³).
template <class Scalar, class Wide, int Dim>
struct LiftedTokens {
  static constexpr int size = Dim == Eigen::Dynamic ? Eigen::Dynamic : Dim + 2;
  using Square = ColumnMajor<Wide, Eigen::Dynamic, Eigen::Dynamic>;
  bool finite = true;
  int exponent = 0;
  Tokens<Scalar, size> tokens;           ///< (d + 2) × n
  ColumnMajor<Wide, size, size> matrix;  ///< M̃
  Tokens<Scalar, Dim> middle;            ///< c, d × 1
  Wide log_scale = 0;                    ///< of the scores, beside 2^{form.exponent + 2 exponent}

  LiftedTokens(const DistanceForm<Wide, Dim>& form, const ScaledMatrix<Dim>* flow,
               const TokenView<Scalar, Dim>& x)
      : middle(x.rows(), 1) {
    const Eigen::Index d = x.rows(), n = x.cols();
    const auto largest = largest_number(x.data(), d * n);
    finite = std::isfinite(largest);
    if (!finite || n == 0) return;
    constexpr int ordinary = std::numeric_limits<Value<Scalar>>::max_exponent / 4;
    if (std::abs(exponent_of(largest)) > ordinary) exponent = exponent_of(largest);
    Square G = form.product, H = form.keys;
    if (flow != nullptr) {
      Square E = flow->matrix.template cast<Wide>();
      G = conjugate(E, G);
      H = conjugate(E, H);
      log_scale = Wide(2 * flow->log_scale);
    }
    tokens.resize(d + 2, n);
    for (Eigen::Index c = 0; c < d; ++c) {
      Eigen::Index least = 0, most = 0;
      for (Eigen::Index j = 0; j < n; ++j) {
        tokens(c, j) = x.data()[j * d + c];
        if (exponent != 0) shrink(tokens(c, j));
        if (value_of(tokens(c, j)) < value_of(tokens(c, least))) least = j;
        if (value_of(tokens(c, j)) > value_of(tokens(c, most))) most = j;
      }
      // A number: the scores do not depend on where the middle is.
      middle(c, 0) = static_cast<Scalar>(value_of(tokens(c, least)) +
                                         (value_of(tokens(c, most)) - value_of(tokens(c, least))) / 2);
    }
    for (Eigen::Index j = 0; j < n; ++j) {
      for (Eigen::Index c = 0; c < d; ++c) tokens(c, j) -= middle(c, 0);
      tokens(d, j) = static_cast<Scalar>(square(H, j));
      tokens(d + 1, j) = Scalar(1);
    }
    matrix.resize(d + 2, d + 2);
    matrix.setConstant(Wide(0));
    matrix(d + 1, d) = Wide(-1);
    for (Eigen::Index j = 0; j < d; ++j) {
      Wide slope = Wide(0);
      for (Eigen::Index i = 0; i < d; ++i) {
        const Wide entry = G(i, j) + G(i, j), difference = G(i, j) - H(i, j);
        matrix(i, j) = entry;
        const Wide term = static_cast<Wide>(middle(i, 0)) * difference;
        slope += term + term;
      }
      matrix(d + 1, j) = slope;
    }
  }

  /// The form of the scores of the lifted tokens.
  [[nodiscard]] Form<Scalar, size> form(const DistanceForm<Wide, Dim>& of) const {
    const int power = of.exponent + 2 * exponent;
    if constexpr (KernelScalar<Scalar>) {
      auto M = ScaledMatrix<size>::of(matrix);
      M.log_scale = ScaledMatrix<size>::clamp_log(M.log_scale + (log_scale + power * std::numbers::ln2));
      return {std::move(M), of.beta};
    } else {
      return {matrix, power, static_cast<double>(value_of(log_scale)), of.beta};
    }
  }

  /// What depends on i alone, −β c ‖Q E xᵢ − K E c‖².
  [[nodiscard]] double own_score(const DistanceForm<Wide, Dim>& of, const ScaledMatrix<Dim>* flow,
                                 Eigen::Index i) const {
    const Eigen::Index d = middle.rows();
    using Vector = Eigen::VectorXd;
    Vector y(d), c(d);
    for (Eigen::Index k = 0; k < d; ++k) {
      y(k) = static_cast<double>(value_of(tokens(k, i)));
      c(k) = static_cast<double>(value_of(middle(k, 0)));
    }
    if (flow != nullptr) {
      y = flow->matrix * y;
      c = flow->matrix * c;
    }
    const auto R = in_double(of.queries), G = in_double(of.product), H = in_double(of.keys);
    const double square =
        y.dot(R * y) + 2 * y.dot(R * c - G * c) + c.dot(R * c - G * c - G.transpose() * c + H * c);
    const double log =
        (of.exponent + 2 * exponent) * std::numbers::ln2 + static_cast<double>(value_of(log_scale));
    if (square <= 0 || of.beta == 0) return 0;
    return -std::copysign(std::exp((std::min)(log + std::log(square) + std::log(std::abs(of.beta)), 709.0)),
                          of.beta);
  }

 private:
  void shrink(Scalar& entry) const {
    const int half = -exponent / 2;
    entry *= power_of_two<Scalar>(half);
    entry *= power_of_two<Scalar>(-exponent - half);
  }
  static Square conjugate(const Square& E, const Square& A) {
    const Square AE = entries_of_product<Wide, Eigen::Dynamic>(Square(A.transpose()), E);
    return entries_of_product<Wide, Eigen::Dynamic>(E, AE);
  }
  /// yⱼᵀ H yⱼ.
  [[nodiscard]] Wide square(const Square& H, Eigen::Index j) const {
    Wide sum = Wide(0);
    for (Eigen::Index b = 0; b < H.cols(); ++b) {
      Wide image = Wide(0);
      for (Eigen::Index a = 0; a < H.rows(); ++a) {
        const Wide term = static_cast<Wide>(tokens(a, j)) * H(a, b);
        image += term;
      }
      const Wide term = image * static_cast<Wide>(tokens(b, j));
      sum += term;
    }
    return sum;
  }
};

/// attend_scaled (attend_points.hpp) for a law of distances: softmax of the lifted tokens.
template <class Scalar, class Wide, int Dim, class Law, class Mask, class Bias, class... Scratch>
int attend_scaled(const DistanceForm<Wide, Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                  Weighted what, const Law& law, const Mask& given_mask, const Bias& bias,
                  const std::type_identity_t<TokenView<Scalar, Dim>>& x, Tokens<Scalar, Dim>& out,
                  RowRecord* rows, Scratch&... scratch) {
  const PointViews<Scalar, Dim> views(x);
  const auto& mask = bound_mask(given_mask, views);
  const Eigen::Index d = x.rows(), n = x.cols();
  const LiftedTokens<Scalar, Wide, Dim> lifted(form, flow, x);
  out.resize(d, n);
  clear(rows, n);
  if (!lifted.finite) {
    out.setConstant(static_cast<Scalar>(std::numeric_limits<Value<Scalar>>::quiet_NaN()));
    return 0;
  }
  if (n == 0) return 0;
  constexpr int size = LiftedTokens<Scalar, Wide, Dim>::size;
  Tokens<Scalar, size> sums;
  const int exponent = attend_scaled(lifted.form(form), nullptr, what, Softmax{form.beta}, mask, bias,
                                     TokenView<Scalar, size>(lifted.tokens), sums, rows, scratch...);
  for (Eigen::Index i = 0; i < n; ++i) {
    // One where there is something to attend to: the last coordinate of every key.
    const bool attends = what == Weighted::displacements || nearest_key(mask, i, n) >= 0;
    for (Eigen::Index c = 0; c < d; ++c) {
      out(c, i) = sums(c, i);
      if (what != Weighted::tokens || !attends) continue;
      Scalar from = lifted.middle(c, 0);
      if (exponent != 0) from *= power_of_two<Scalar>(-exponent);
      out(c, i) += from;
    }
    if (rows != nullptr) {
      double& log_normalizer = rows->log_normalizer[static_cast<std::size_t>(i)];
      if (!(std::isinf(log_normalizer) && log_normalizer < 0))
        log_normalizer += lifted.own_score(form, flow, i);
    }
  }
  static_cast<void>(law);
  return exponent + lifted.exponent;
}

/// log_weights (attention_matrix.hpp) for a law of distances.
template <class Scalar, class Wide, int Dim, class Law, class Mask, class Bias>
[[nodiscard]] ColumnMajor<Scalar, Eigen::Dynamic, Eigen::Dynamic> log_weights_of_distances(
    const DistanceForm<Wide, Dim>& form, const std::type_identity_t<ScaledMatrix<Dim>>* flow, const Law&,
    const Mask& given_mask, const Bias& bias, const TokenView<Scalar, Dim>& x) {
  const PointViews<Scalar, Dim> views(x);
  const auto& mask = bound_mask(given_mask, views);
  const LiftedTokens<Scalar, Wide, Dim> lifted(form, flow, x);
  if (!lifted.finite) refuse("log_attention: x has an entry that is not finite");
  if (x.cols() == 0) return {0, 0};
  constexpr int size = LiftedTokens<Scalar, Wide, Dim>::size;
  return log_weights<Scalar>(lifted.form(form), nullptr, Softmax{form.beta}, mask, bias,
                             TokenView<Scalar, size>(lifted.tokens));
}

}}}  // namespace attnflow::detail
