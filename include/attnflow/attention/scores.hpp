/// \file
/// Scores that cannot overflow: directions of the queries, and their scale kept apart.
#pragma once

#include <attnflow/algebra/scaled_matrix.hpp>
#include <attnflow/detail/pack.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string_view>
#include <utility>
#include <vector>

namespace attnflow {

/// What decides the scores of one head: sᵢⱼ = β xᵢᵀ M xⱼ with M = QᵀK, as a scaled matrix.
template <int Dim = Eigen::Dynamic>
struct ScoreForm {
  ScaledMatrix<Dim> M;  ///< d × d
  double beta = 1;
};

/// M = QᵀK of a head, computed in double without overflow, with the factor β. Cost: O(d_k d²).
template <class Scalar, int Dim>
[[nodiscard]] ScoreForm<Dim> score_form(const Head<Scalar, Dim>& head, double beta) {
  using Projection = Eigen::Matrix<double, Eigen::Dynamic, Dim>;
  Projection Q = head.Q.template cast<double>(), K = head.K.template cast<double>();
  const int q = detail::exponent_of(Q.cwiseAbs().maxCoeff()),
            k = detail::exponent_of(K.cwiseAbs().maxCoeff());
  detail::scale_by_power_of_two(Q, -q);
  detail::scale_by_power_of_two(K, -k);
  auto M = ScaledMatrix<Dim>::of(Q.transpose() * K);
  M.log_scale += (q + k) * std::numbers::ln2;
  return {std::move(M), beta};
}

namespace detail {

/// y = A x, without the overhead that a general product has for a few rows.
template <class A, class X, class Y>
void multiply(const A& a, const X& x, Y& y) {
  const Eigen::Index d = a.rows();
  if (d > 8) {
    y.noalias() = a * x;
    return;
  }
  y.resize(d, x.cols());
  for (Eigen::Index j = 0; j < x.cols(); ++j)
    for (Eigen::Index i = 0; i < d; ++i) {
      typename Y::Scalar sum = a(i, 0) * x(0, j);
      for (Eigen::Index k = 1; k < a.cols(); ++k) sum += a(i, k) * x(k, j);
      y(i, j) = sum;
    }
}

/// The tokens and queries of one evaluation, laid out for the row kernels. Scratch space: grows, never
/// shrinks, one for each thread.
///
///     score(i, j) = half_scale[i]² ⟨query i, key j⟩,   xⱼ = 2^exponent · key j
///
/// Keys stand coordinate by coordinate, each coordinate padded to whole packs with copies of key 0. A query's
/// largest entry is below 4 and half_scale is at most the largest finite number, so that a difference of
/// scores (δ · half_scale) · half_scale is 0 for δ = 0 and −∞ or finite for δ < 0, but never NaN, however
/// large the scale [spec: scalar-shifted scores].
template <class Scalar, int Dim>
struct PreparedScores {
  Eigen::Index n = 0, d = 0, padded = 0;
  int exponent = 0;
  std::vector<Scalar> keys;        // d × padded
  std::vector<Scalar> queries;     // n × d: the query of row i is contiguous
  std::vector<Scalar> half_scale;  // n
  Eigen::Matrix<double, Dim, Eigen::Dynamic> x, y, u;

  [[nodiscard]] const Scalar* key_coordinate(Eigen::Index c) const { return keys.data() + c * padded; }
  [[nodiscard]] Scalar key(Eigen::Index c, Eigen::Index j) const {
    return keys[static_cast<std::size_t>(c * padded + j)];
  }
  [[nodiscard]] const Scalar* query(Eigen::Index i) const { return queries.data() + i * d; }
  [[nodiscard]] Scalar half_scale_of(Eigen::Index i) const { return half_scale[static_cast<std::size_t>(i)]; }

  /// Prepares sᵢⱼ = β xᵢᵀ Eᵀ M E xⱼ; E is the identity where `flow` is null.
  /// \returns false, and prepares nothing, if a token is not finite.
  bool prepare(const Eigen::Ref<const Tokens<Scalar, Dim>>& tokens, const ScoreForm<Dim>& form,
               const ScaledMatrix<Dim>* flow);

  /// The scratch space of this thread.
  [[nodiscard]] static PreparedScores& of_this_thread() {
    static thread_local PreparedScores scratch;
    return scratch;
  }

 private:
  /// e^{log / 2} · 2^{power / 2} for an even power, at most the largest finite Scalar.
  static Scalar half_scale_for(double log, int power) {
    const double root = std::exp(0.5 * log);
    const double half =
        std::isnormal(root) ? std::ldexp(root, power / 2) : std::exp(0.5 * (log + power * std::numbers::ln2));
    return static_cast<Scalar>(std::min(half, static_cast<double>(std::numeric_limits<Scalar>::max())));
  }
};

template <class Scalar, int Dim>
bool PreparedScores<Scalar, Dim>::prepare(const Eigen::Ref<const Tokens<Scalar, Dim>>& tokens,
                                          const ScoreForm<Dim>& form, const ScaledMatrix<Dim>* flow) {
  n = tokens.cols();
  d = tokens.rows();
  if (n == 0) return true;
  const Scalar largest = tokens.cwiseAbs().template maxCoeff<Eigen::PropagateNaN>();
  if (!std::isfinite(largest)) return false;

  // Keys: tokens as they are, unless their products could overflow.
  constexpr int comfortable = std::numeric_limits<Scalar>::max_exponent / 2;
  exponent = std::max(0, exponent_of(largest) - comfortable);
  const Scalar shrink = std::ldexp(Scalar(1), -exponent);
  constexpr Eigen::Index width = pack_width<Scalar>;
  padded = (n + width - 1) / width * width;
  keys.resize(static_cast<std::size_t>(d * padded));
  for (Eigen::Index c = 0; c < d; ++c) {
    Scalar* row = keys.data() + c * padded;
    for (Eigen::Index j = 0; j < n; ++j) row[j] = tokens(c, j) * shrink;
    std::fill(row + n, row + padded, row[0]);
  }

  // Queries: Eᵀ Mᵀ E xᵢ in double, each then scaled to the size of one.
  constexpr int comfortable_double = std::numeric_limits<double>::max_exponent / 2;
  const int query_exponent = std::max(0, exponent_of(static_cast<double>(largest)) - comfortable_double);
  x = tokens.template cast<double>() * std::ldexp(1.0, -query_exponent);
  double log = form.M.log_scale;
  if (flow != nullptr) {
    multiply(flow->matrix, x, y);
    multiply(form.M.matrix.transpose(), y, u);
    multiply(flow->matrix.transpose(), u, y);
    y.swap(u);
    log = ScaledMatrix<Dim>::clamp_log(log + 2 * flow->log_scale);
  } else {
    multiply(form.M.matrix.transpose(), x, u);
  }
  int beta_exponent = 0;
  const double beta_mantissa = std::frexp(form.beta, &beta_exponent);
  queries.resize(static_cast<std::size_t>(n * d));
  half_scale.resize(static_cast<std::size_t>(n));
  const int others = query_exponent + exponent + beta_exponent;
  // Neighbours share their power of two as a rule: what depends on it is computed when it changes.
  int down = std::numeric_limits<int>::min();
  double first = 0, second = 0;  // 2^{−down} in two factors: by itself it may not be a double
  Scalar half = 0;
  for (Eigen::Index i = 0; i < n; ++i) {
    double size = 0;
    for (Eigen::Index c = 0; c < d; ++c) size = std::max(size, std::abs(u(c, i)));
    int wanted = exponent_of(size);
    if ((wanted + others) % 2 != 0) --wanted;  // an even power has an exact root
    if (wanted != down) {
      down = wanted;
      first = std::ldexp(beta_mantissa, -(down / 2));
      second = std::ldexp(1.0, -(down - down / 2));
      half = form.beta == 0 ? Scalar(0) : half_scale_for(log, down + others);
    }
    for (Eigen::Index c = 0; c < d; ++c)
      queries[static_cast<std::size_t>(i * d + c)] = static_cast<Scalar>(u(c, i) * second * first);
    half_scale[static_cast<std::size_t>(i)] = half;
  }
  return true;
}

}  // namespace detail
}  // namespace attnflow
