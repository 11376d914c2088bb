/// \file
/// Scores that cannot overflow: directions of the queries, and their scale kept apart.
#pragma once

#include <attnflow/algebra/multiply.hpp>
#include <attnflow/algebra/scaled_matrix.hpp>
#include <attnflow/detail/pack.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

/// What decides the scores of one head: sᵢⱼ = β xᵢᵀ M xⱼ with M = QᵀK, as a scaled matrix.
template <int Dim = Eigen::Dynamic>
struct ScoreForm {
  ScaledMatrix<Dim> M;  ///< d × d
  double beta = 1;
};

/// M = QᵀK of a head, computed in double without overflow, with the factor β. Cost: O(d_k d²).
template <class Scalar, int Dim>
[[nodiscard]] ScoreForm<Dim> score_form(const Head<Scalar, Dim>& head, double beta) {
  Eigen::MatrixXd Q = head.Q.template cast<double>(), K = head.K.template cast<double>();
  const int q = detail::exponent_of(Q.cwiseAbs().maxCoeff()),
            k = detail::exponent_of(K.cwiseAbs().maxCoeff());
  detail::scale_by_power_of_two(Q, -q);
  detail::scale_by_power_of_two(K, -k);
  const Eigen::MatrixXd product = Q.transpose() * K;
  auto M = ScaledMatrix<Dim>::of(product);
  M.log_scale += (q + k) * std::numbers::ln2;
  return {std::move(M), beta};
}

namespace detail {

/// The tokens and queries of one evaluation, laid out for the row kernels. Scratch space: grows, never
/// shrinks, one for each thread.
///
///     score(i, j) = half_scale[i]² ⟨query i, key j⟩,   xⱼ = 2^exponent · key j
///
/// Keys stand coordinate by coordinate, each coordinate padded to whole packs with copies of key 0. A query's
/// largest entry is below 4 and half_scale_of is at most the largest finite number, so that a difference of
/// scores (δ · half_scale) · half_scale is 0 for δ = 0 and −∞ or finite for δ < 0, but never NaN, however
/// large the scale.
template <class Scalar>
struct PreparedScores {
  Eigen::Index n = 0, d = 0, padded = 0;
  int exponent = 0;
  std::vector<Scalar> keys;        // d × padded
  std::vector<Scalar> queries;     // n × d: the query of row i is contiguous
  std::vector<double> half_scale;  // n

  [[nodiscard]] Scalar key(Eigen::Index c, Eigen::Index j) const {
    return keys[static_cast<std::size_t>(c * padded + j)];
  }
  [[nodiscard]] const Scalar* query(Eigen::Index i) const { return queries.data() + i * d; }
  /// At most the largest finite Scalar.
  [[nodiscard]] Scalar half_scale_of(Eigen::Index i) const {
    constexpr double most = static_cast<double>(std::numeric_limits<Scalar>::max());
    return static_cast<Scalar>(std::min(half_scale[static_cast<std::size_t>(i)], most));
  }

  /// Prepares sᵢⱼ = β xᵢᵀ Eᵀ M E xⱼ; E is the identity where `flow` is null.
  /// \returns false, and prepares nothing, if a token is not finite.
  template <int Dim>
  bool prepare(const Tokens<Scalar, Dim>& x, const ScoreForm<Dim>& form, const ScaledMatrix<Dim>* flow) {
    if (flow == nullptr)
      return prepare(x.data(), x.rows(), x.cols(), form.M.matrix.data(), nullptr, form.beta,
                     form.M.log_scale);
    const double log = ScaledMatrix<Dim>::clamp_log(form.M.log_scale + 2 * flow->log_scale);
    return prepare(x.data(), x.rows(), x.cols(), form.M.matrix.data(), flow->matrix.data(), form.beta, log);
  }

  /// The scratch space of this thread.
  [[nodiscard]] static PreparedScores& of_this_thread() {
    static thread_local PreparedScores scratch;
    return scratch;
  }

 private:
  /// The same for d × n tokens and d × d matrices of doubles; E may be null. \param log  of the factor of the
  /// scores beside β.
  bool prepare(const Scalar* x, Eigen::Index rows, Eigen::Index columns, const double* M, const double* E,
               double beta, double log);
  void set_keys(const Scalar* x, Scalar largest);
  void set_queries(const std::vector<double>& u, double beta, double log, int query_exponent);

  /// e^{log / 2} · 2^{power / 2} for an even power, at most the largest finite double.
  static double half_scale_for(double log, int power) {
    const double root = std::exp(0.5 * log);
    const double half =
        std::isnormal(root) ? std::ldexp(root, power / 2) : std::exp(0.5 * (log + power * std::numbers::ln2));
    return std::min(half, std::numeric_limits<double>::max());
  }

  std::vector<double> u_, v_, transposed_;
};

template <class Scalar>
bool PreparedScores<Scalar>::prepare(const Scalar* x, Eigen::Index rows, Eigen::Index columns,
                                     const double* M, const double* E, double beta, double log) {
  d = rows;
  n = columns;
  if (n == 0) return true;
  const auto size = static_cast<std::size_t>(n * d);
  Scalar largest = 0;
  for (std::size_t k = 0; k < size; ++k) {
    if (!std::isfinite(x[k])) return false;
    largest = std::max(largest, std::abs(x[k]));
  }
  set_keys(x, largest);

  // Queries: Eᵀ Mᵀ E xᵢ in double, from tokens whose products neither overflow nor vanish.
  constexpr int comfortable = std::numeric_limits<double>::max_exponent / 2;
  const int magnitude = exponent_of(static_cast<double>(largest));
  const int query_exponent = magnitude - std::clamp(magnitude, -comfortable, comfortable);
  const double shrink = std::ldexp(1.0, -query_exponent);
  u_.resize(size);
  v_.resize(size);
  for (std::size_t k = 0; k < size; ++k) u_[k] = static_cast<double>(x[k]) * shrink;
  const auto apply = [&](const double* a) {
    multiply(a, u_.data(), v_.data(), d, n);
    u_.swap(v_);
  };
  const auto apply_transpose = [&](const double* a) {
    transposed_.resize(static_cast<std::size_t>(d * d));
    for (Eigen::Index i = 0; i < d; ++i)
      for (Eigen::Index k = 0; k < d; ++k) transposed_[static_cast<std::size_t>(i * d + k)] = a[k * d + i];
    apply(transposed_.data());
  };
  if (E != nullptr) apply(E);
  apply_transpose(M);
  if (E != nullptr) apply_transpose(E);
  set_queries(u_, beta, log, query_exponent);
  return true;
}

/// Tokens as they are, unless their products could overflow.
template <class Scalar>
void PreparedScores<Scalar>::set_keys(const Scalar* x, Scalar largest) {
  constexpr int comfortable = std::numeric_limits<Scalar>::max_exponent / 2;
  exponent = std::max(0, exponent_of(largest) - comfortable);
  const Scalar shrink = std::ldexp(Scalar(1), -exponent);
  constexpr Eigen::Index width = pack_width<Scalar>;
  padded = (n + width - 1) / width * width;
  keys.resize(static_cast<std::size_t>(d * padded));
  for (Eigen::Index c = 0; c < d; ++c) {
    Scalar* row = keys.data() + c * padded;
    for (Eigen::Index j = 0; j < n; ++j) row[j] = x[j * d + c] * shrink;
    std::fill(row + n, row + padded, row[0]);
  }
}

/// Each query is brought to the size of one; half_scale takes the power of two that is left.
template <class Scalar>
void PreparedScores<Scalar>::set_queries(const std::vector<double>& u, double beta, double log,
                                         int query_exponent) {
  int beta_exponent = 0;
  const double beta_mantissa = std::frexp(beta, &beta_exponent);
  const int others = query_exponent + exponent + beta_exponent;
  queries.resize(u.size());
  half_scale.resize(static_cast<std::size_t>(n));
  // Neighbours share their power of two as a rule: what depends on it is computed when it changes.
  int down = std::numeric_limits<int>::min();
  double first = 0, second = 0;  // 2^{−down} in two factors: by itself it may not be a double
  double half = 0;
  for (std::size_t i = 0, k = 0; i < half_scale.size(); ++i) {
    const std::size_t end = k + static_cast<std::size_t>(d);
    double size = 0;
    for (std::size_t c = k; c < end; ++c) size = std::max(size, std::abs(u[c]));
    int wanted = exponent_of(size);
    if ((wanted + others) % 2 != 0) --wanted;  // an even power has an exact root
    if (wanted != down) {
      down = wanted;
      first = std::ldexp(beta_mantissa, -(down / 2));
      second = std::ldexp(1.0, -(down - down / 2));
      half = beta == 0 ? 0 : half_scale_for(log, down + others);
    }
    for (; k < end; ++k) queries[k] = static_cast<Scalar>(u[k] * second * first);
    half_scale[i] = half;
  }
}

}  // namespace detail
}  // namespace attnflow::inline ATTNFLOW_ABI
