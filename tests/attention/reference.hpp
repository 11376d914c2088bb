// The equations once more, slowly: long double, double loops, nothing shared with the library. And how far a result
// computed in working precision may be from them, entry by entry.
#pragma once

#include "refusal.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace reference {

using Eigen::Index;
using Real = long double;
using Wide = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic>;

template <class M>
Wide wide(const M& m) {
  return m.template cast<Real>();
}
template <class Scalar>
inline constexpr Real epsilon = static_cast<Real>(std::numeric_limits<Scalar>::epsilon());

/// Uniform in [low, high), the same numbers on every platform.
inline double uniform(std::mt19937_64& generator, double low, double high) {
  return low + (high - low) * (static_cast<double>(generator() >> 11) * 0x1p-53);
}
template <class Matrix>
Matrix random(std::mt19937_64& generator, Index rows, Index cols, double low = -1, double high = 1) {
  Matrix m(rows, cols);
  for (Index j = 0; j < cols; ++j)
    for (Index i = 0; i < rows; ++i)
      m(i, j) = static_cast<typename Matrix::Scalar>(uniform(generator, low, high));
  return m;
}

inline Real largest(const Wide& m) {
  Real most = 0;
  for (Index k = 0; k < m.size(); ++k) {
    if (std::isnan(m.data()[k])) return std::numeric_limits<Real>::quiet_NaN();
    most = std::max(most, std::abs(m.data()[k]));
  }
  return most;
}
inline Real one_norm(const Wide& m) {
  return m.size() == 0 ? Real(0) : m.cwiseAbs().colwise().sum().maxCoeff();
}

/// The largest of |a − b| / bound, entry by entry: at most 1 is within the bound. Where the bound is 0, a must be b.
inline double excess(const Wide& a, const Wide& b, const Wide& bound) {
  if (a.rows() != b.rows() || a.cols() != b.cols() || a.rows() != bound.rows() || a.cols() != bound.cols())
    return std::numeric_limits<double>::infinity();
  Real most = 0;
  for (Index k = 0; k < a.size(); ++k) {
    const Real off = std::abs(a.data()[k] - b.data()[k]);
    if (off == 0) continue;
    const Real ratio = off / bound.data()[k];
    if (!(ratio <= most)) most = ratio;  // a NaN stays
    if (std::isnan(most)) break;
  }
  return static_cast<double>(most);
}
inline double excess(const Wide& a, const Wide& b, Real bound) {
  return excess(a, b, Wide::Constant(b.rows(), b.cols(), bound));
}

/// e^A by Taylor series of A / 2^s and s squarings; relative error about 10⁻¹⁹ (1 + ‖A‖), ‖A‖ up to 10⁴.
inline Wide exponential(const Wide& A) {
  const Index d = A.rows();
  int squarings = 0;
  Real scale = 1;
  while (one_norm(A) * scale > Real(0.25)) scale /= 2, ++squarings;
  const Wide B = A * scale;
  Wide term = Wide::Identity(d, d), sum = term;
  for (int k = 1; k <= 24; ++k) {
    term = (term * B / static_cast<Real>(k)).eval();
    sum += term;
  }
  for (int k = 0; k < squarings; ++k) sum = (sum * sum).eval();
  return sum;
}

/// Attention by its definition, on scores β ⟨Q E xᵢ, K E xⱼ⟩.
struct Attention {
  Wide P, log_P;
  Wide score_differences;  ///< sᵢⱼ − maxₗ sᵢₗ
  Wide condition;          ///< β ∑ |…| |…|: the score difference with every term taken positive
  std::vector<Real> log_normalizer, normalizer_condition;
  std::vector<Index> leader;

  /// What log Pᵢⱼ may be off by when d + d_k products, a rounding of query, scale and difference, and an n-term sum are
  /// done with unit `eps`, and E is known to `flow_eps` of its norm.
  [[nodiscard]] Wide log_bound(Real eps, Index inner, Real flow_eps = 0) const {
    const Index n = P.rows();
    Wide bound(n, n);
    const Real unit = static_cast<Real>(inner + 8) * eps + 2 * flow_eps;
    for (Index i = 0; i < n; ++i) {
      Real mean = 0;
      for (Index l = 0; l < n; ++l) mean += P(i, l) * condition(i, l);
      for (Index j = 0; j < n; ++j)
        bound(i, j) = unit * (condition(i, j) + mean) + eps * static_cast<Real>(n + 8);
    }
    return bound;
  }
  /// The same for Pᵢⱼ, log P having been rounded once. A weight that underflows is below 2·10⁻³⁸ (float) or 10⁻³⁰⁷.
  [[nodiscard]] Wide bound(Real eps, Index inner, Real flow_eps = 0) const {
    Wide b = log_bound(eps, inner, flow_eps);
    for (Index k = 0; k < b.size(); ++k) {
      const Real p = P.data()[k];
      const Real tiny = eps > Real(1e-10) ? Real(2e-38) : Real(1e-307);
      b.data()[k] = p * std::expm1(std::min(
                            Real(50), b.data()[k] + (p > 0 ? eps * std::abs(log_P.data()[k]) : Real(0)))) +
                    tiny;
    }
    return b;
  }
};

/// `magnitude` bounds |E| entry by entry, for the condition numbers.
inline Attention attention(const Wide& Q, const Wide& K, Real beta, const Wide& E, const Wide& magnitude,
                           const Wide& x) {
  const Index n = x.cols(), d = x.rows();
  Attention a;
  a.P.setZero(n, n), a.log_P.setZero(n, n), a.score_differences.setZero(n, n), a.condition.setZero(n, n);
  const Wide sizes = magnitude.transpose() * (K.transpose().cwiseAbs() * Q.cwiseAbs()) * magnitude;
  for (Index i = 0; i < n; ++i) {
    // ⟨Q E xᵢ, K E v⟩ = ⟨qᵢ, v⟩
    const Wide query = E.transpose() * (K.transpose() * (Q * (E * x.col(i)))) * beta;
    const Wide size = sizes * x.col(i).cwiseAbs() * std::abs(beta);
    Index leader = 0;
    for (int pass = 0; pass < 2; ++pass) {  // differences from differences of tokens
      Index best = leader;
      Real most = 0;
      for (Index j = 0; j < n; ++j) {
        Real delta = 0;
        for (Index c = 0; c < d; ++c) delta += query(c) * (x(c, j) - x(c, leader));
        if (delta > most) most = delta, best = j;
      }
      leader = best;
    }
    Real sum = 0;
    for (Index j = 0; j < n; ++j) {
      Real delta = 0, condition = 0;
      for (Index c = 0; c < d; ++c) {
        delta += query(c) * (x(c, j) - x(c, leader));
        condition += size(c) * std::abs(x(c, j) - x(c, leader));
      }
      a.score_differences(i, j) = delta;
      a.condition(i, j) = condition;
      sum += std::exp(delta);
    }
    for (Index j = 0; j < n; ++j) {
      a.log_P(i, j) = a.score_differences(i, j) - std::log(sum);
      a.P(i, j) = std::exp(a.log_P(i, j));
    }
    a.leader.push_back(leader);
    Real score = 0, condition = 0;
    for (Index c = 0; c < d; ++c)
      score += query(c) * x(c, leader), condition += size(c) * std::abs(x(c, leader));
    a.log_normalizer.push_back(score + std::log(sum));
    a.normalizer_condition.push_back(condition);
  }
  return a;
}
inline Attention attention(const Wide& Q, const Wide& K, Real beta, const Wide& x) {
  const Wide I = Wide::Identity(x.rows(), x.rows());
  return attention(Q, K, beta, I, I, x);
}
template <class Head>
Attention attention_of(const Head& head, double beta, const Wide& x) {
  return attention(wide(head.Q), wide(head.K), static_cast<Real>(beta), x);
}

/// ∑ⱼ Pᵢⱼ xⱼ, column i.
inline Wide means(const Attention& a, const Wide& x) {
  Wide m = Wide::Zero(x.rows(), x.cols());
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < x.cols(); ++j) m.col(i) += a.P(i, j) * x.col(j);
  return m;
}
/// ∑ⱼ Pᵢⱼ (xⱼ − xᵢ), column i.
inline Wide displacements(const Attention& a, const Wide& x) {
  Wide m = Wide::Zero(x.rows(), x.cols());
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < x.cols(); ++j) m.col(i) += a.P(i, j) * (x.col(j) - x.col(i));
  return m;
}
/// What a weighted sum may be off by: weights by their bounds, taken about the leader, and the roundings of the result,
/// whose two summands are leader − from and the rest (from: 0, or xᵢ for displacements). Where scores are moderate the
/// sum is taken about the middle of the box around the tokens, and n + 6 roundings are of the box's size.
inline Wide sum_bound(const Attention& a, const Wide& x, bool displacements, Real eps, Index inner,
                      Real flow_eps = 0) {
  const Wide b = a.bound(eps, inner, flow_eps);
  const Index n = x.cols();
  Wide bound = Wide::Zero(x.rows(), n);
  if (n == 0) return bound;
  const Wide half_width = (x.rowwise().maxCoeff() - x.rowwise().minCoeff()) / 2;
  bound.colwise() += static_cast<Real>(n + 6) * eps * half_width.col(0);
  for (Index i = 0; i < n; ++i) {
    const auto leader = x.col(a.leader[static_cast<std::size_t>(i)]);
    for (Index j = 0; j < n; ++j)
      bound.col(i) += (b(i, j) + eps * static_cast<Real>(n + 4) * a.P(i, j)) * (x.col(j) - leader).cwiseAbs();
    if (displacements)
      bound.col(i) += 3 * eps * (leader - x.col(i)).cwiseAbs();
    else
      bound.col(i) += 3 * eps * leader.cwiseAbs();
  }
  return bound;
}
/// The bound after a product with V.
inline Wide product_bound(const Wide& V, const Wide& sums, const Wide& bound, Real eps) {
  return V.cwiseAbs() * (bound + static_cast<Real>(V.rows() + 2) * eps * sums.cwiseAbs());
}

}  // namespace reference
