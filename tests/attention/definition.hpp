// Weights by their definition, in extended precision, for every law, mask and bias; and the operator held against them at
// every level of vector instructions.
#pragma once

#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/biases/bias_table.hpp>
#include <attnflow/attention/graph.hpp>
#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/attention/laws/l2_softmax.hpp>
#include <attnflow/attention/laws/linear.hpp>
#include <attnflow/attention/laws/position_weighted.hpp>
#include <attnflow/attention/laws/relu_weights.hpp>
#include <attnflow/attention/laws/sigmoid.hpp>
#include <attnflow/attention/laws/sinkhorn.hpp>
#include <attnflow/attention/laws/softplus_weights.hpp>
#include <attnflow/attention/laws/sparsemax.hpp>
#include <attnflow/attention/laws/top_k.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/positions/rotary.hpp>
#include <attnflow/attention/within.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace definition {

namespace ad = attnflow::detail;
using attnflow::SimdLevel;
using attnflow::Tokens;
using attnflow::Weighted;
using attnflow::WeightFunction;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

inline std::vector<SimdLevel> levels_here() {
  std::vector<SimdLevel> levels;
  for (const SimdLevel level : attnflow::simd_levels)
    if (attnflow::has_simd_level(level)) levels.push_back(level);
  return levels;
}

/// Runs the operator at a level. Sinkhorn and distances are made of softmax.
template <class Scalar, class Law, class Mask, class Bias>
Tokens<Scalar> attend_at(SimdLevel level, const attnflow::ScoreForm<>& form, const Law& law, const Mask& mask,
                         const Bias& bias, const Tokens<Scalar>& x, bool all_exact,
                         Weighted what = Weighted::tokens) {
  attnflow::AttentionScratch<Scalar> scratch;
  scratch.level = level;
  auto& layout = scratch.tokens;
  REQUIRE(layout.read(x.data(), x.rows(), x.cols()));
  Tokens<Scalar> out(x.rows(), x.cols());
  const auto source = ad::QuerySource<Scalar>(ad::QueryPoints<Scalar>::of(layout), form);
  REQUIRE(ad::attend_points<Eigen::Dynamic, Eigen::Dynamic, true>(
      source, layout, layout, what, law, mask, bias, out.data(), nullptr, scratch, all_exact));
  return out;
}

// --- the definitions ------------------------------------------------------------------------------------------

/// What a law of exponentials makes of a score, given log ∑ₗ e^{sᵢₗ} and log ∑ₗ e^{bias(i, l)}.
inline Real log_weight(const attnflow::Softmax&, Real score, Real log_sum, Real, Index) {
  return score - log_sum;
}
inline Real log_weight(const attnflow::L2Softmax&, Real score, Real log_sum, Real, Index) {
  return score - log_sum;
}
inline Real log_weight(const attnflow::Unnormalized& law, Real score, Real, Real, Index n) {
  return score - std::log(static_cast<Real>(n)) - (law.less_one ? static_cast<Real>(law.beta) : 0);
}
inline Real log_weight(const attnflow::PositionWeighted& law, Real score, Real, Real log_positions, Index) {
  return score - log_positions - (law.less_one ? static_cast<Real>(law.beta) : 0);
}

/// Pointwise laws, before rows are scaled.
inline Real weight(const attnflow::Linear&, Real s) { return s; }
inline Real weight(const attnflow::ReluWeights&, Real s) { return std::max(s, Real(0)); }
inline Real weight(const attnflow::SoftplusWeights&, Real s) {
  return s > 0 ? s + std::log1p(std::exp(-s)) : std::log1p(std::exp(s));
}
inline Real weight(const attnflow::Sigmoid& law, Real s) {
  return 1 / (1 + std::exp(-s - static_cast<Real>(law.bias)));
}

/// The number τ at which a falling sum of a row is one, by bisection between two numbers.
template <class Sum>
Real threshold(Real low, Real high, const Sum& sum) {
  for (int k = 0; k < 300; ++k) {
    const Real middle = (low + high) / 2;
    (sum(middle) > 1 ? low : high) = middle;
  }
  return (low + high) / 2;
}

/// Laws of whole rows: the scores of the keys that a row takes, to weights.
inline void weigh(const attnflow::TopK& law, std::vector<Real>& row) {
  std::vector<Real> sorted = row;
  std::sort(sorted.rbegin(), sorted.rend());
  const Real last = sorted[std::min(static_cast<std::size_t>(law.k), sorted.size()) - 1], most = sorted[0];
  Real sum = 0;
  for (Real& s : row) sum += s = s < last ? 0 : std::exp(s - most);
  for (Real& s : row) s /= sum;
}
inline void weigh(const attnflow::Sparsemax&, std::vector<Real>& row) {
  const Real most = *std::max_element(row.begin(), row.end());
  const Real tau = threshold(most - 1, most, [&](Real t) {
    Real sum = 0;
    for (const Real s : row) sum += std::max(s - t, Real(0));
    return sum;
  });
  for (Real& s : row) s = std::max(s - tau, Real(0));
}
inline void weigh(const attnflow::Entmax15&, std::vector<Real>& row) {
  const Real most = *std::max_element(row.begin(), row.end()) / 2;
  const auto square = [](Real x) { return x > 0 ? x * x : 0; };
  const Real tau = threshold(most - 1, most, [&](Real t) {
    Real sum = 0;
    for (const Real s : row) sum += square(s / 2 - t);
    return sum;
  });
  for (Real& s : row) s = square(s / 2 - tau);
}

/// The scores before bias of images q = Q y and k = K x: β ⟨qᵢ, kⱼ⟩, or −β c ‖qᵢ − kⱼ‖².
template <class Law>
Wide scores(const Wide& q, const Wide& k, const Law& law) {
  if constexpr (attnflow::DistanceLaw<Law>) {
    Wide s(q.cols(), k.cols());
    for (Index i = 0; i < q.cols(); ++i)
      for (Index j = 0; j < k.cols(); ++j)
        s(i, j) =
            -static_cast<Real>(law.beta) * static_cast<Real>(law.scale) * (q.col(i) - k.col(j)).squaredNorm();
    return s;
  } else {
    return static_cast<Real>(law.beta) * (q.transpose() * k);
  }
}

/// n mⱼ / ∑ₗ mₗ.
template <class Bias>
std::vector<Real> masses(const Bias& bias, Index n) {
  std::vector<Real> m(static_cast<std::size_t>(n), 1);
  if constexpr (ad::MassiveBias<Bias>) {
    Real sum = 0;
    for (const double mass : bias.masses) sum += static_cast<Real>(mass);
    for (std::size_t j = 0; j < m.size(); ++j)
      m[j] = static_cast<Real>(n) * static_cast<Real>(bias.masses[j]) / sum;
  }
  return m;
}

/// R_p of the column p, where positions turn queries and keys; n is the number of keys.
template <class Bias>
Wide turned(Wide points, [[maybe_unused]] const Bias& bias, [[maybe_unused]] Index n) {
  if constexpr (attnflow::RotatingPositions<Bias>) {
    const Index h = points.rows() / 2;
    for (Index p = 0; p < points.cols(); ++p)
      for (Index k = 0; k < h; ++k) {
        const bool adjacent = bias.planes == attnflow::RotaryPlanes::adjacent;
        const Index a = adjacent ? 2 * k : k, b = adjacent ? a + 1 : a + h;
        const Real angle = static_cast<Real>(bias.angle(k, h, p, n)), u = points(a, p), v = points(b, p);
        points(a, p) = std::cos(angle) * u - std::sin(angle) * v;
        points(b, p) = std::sin(angle) * u + std::cos(angle) * v;
      }
  }
  return points;
}

/// A mask of distances as a list of pairs, for as many queries as keys.
template <class Mask>
auto listed(const Mask& mask, [[maybe_unused]] const Wide& queries, [[maybe_unused]] const Wide& keys) {
  if constexpr (attnflow::StateMask<Mask>) {
    const auto near = [&](Index i, Index j) {
      return (queries.col(i) - keys.col(j)).norm() <= static_cast<Real>(mask.radius);
    };
    return attnflow::Graph(keys.cols(), near);
  } else {
    return mask;
  }
}

/// What a bias adds to the score of a pair.
template <class Bias>
Real positional(const Bias& bias, Index i, Index j) {
  Real sum = -static_cast<Real>(bias.slope) * static_cast<Real>(std::abs(i - j));
  if constexpr (attnflow::TabledBias<Bias>) sum += static_cast<Real>(bias.at(i, j));
  return sum;
}

/// The weights of queries on keys, a row for each query.
template <class Law, class Mask, class Bias>
Wide weights(const Wide& q, const Wide& k, const Law& law, const Mask& mask, const Bias& bias) {
  const Index n = k.cols(), rows = q.cols();
  const std::vector<Real> m = masses(bias, n);
  const Wide plain = scores(turned(q, bias, n), turned(k, bias, n), law);
  Wide w = Wide::Zero(rows, n);
  std::vector<std::vector<Index>> keys(static_cast<std::size_t>(rows));
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < n; ++j) {
      const attnflow::KeyRange range = mask.keys(i, n);
      bool taken = range.begin <= j && j < range.end;
      if constexpr (attnflow::PickingMask<Mask>) taken = taken && mask.attends(i, j);
      if (taken) keys[static_cast<std::size_t>(i)].push_back(j);
    }
  for (Index i = 0; i < rows; ++i) {
    const auto& row = keys[static_cast<std::size_t>(i)];
    if (row.empty()) continue;
    Real largest = -std::numeric_limits<Real>::infinity(), sum = 0, positions = 0;
    for (const Index j : row) {
      const Real mass = m[static_cast<std::size_t>(j)];
      w(i, j) = plain(i, j) + positional(bias, i, j);
      if constexpr (Law::function == WeightFunction::exponential) w(i, j) += std::log(mass);
      largest = std::max(largest, w(i, j));
      positions += std::exp(positional(bias, i, j)) * mass;
    }
    for (const Index j : row) sum += std::exp(w(i, j) - largest);
    Index ties = 0;
    for (const Index j : row) {
      Real& entry = w(i, j);
      if constexpr (attnflow::DoublyStochasticLaw<Law>) {
        entry = std::exp(entry - largest - std::log(sum));
      } else if constexpr (Law::function == WeightFunction::exponential) {
        entry = std::exp(log_weight(law, entry, largest + std::log(sum), std::log(positions), n));
      } else if constexpr (Law::function == WeightFunction::maximum) {
        entry = entry == largest && (ties == 0 || law.ties != attnflow::Ties::first) ? 1 : 0;
        ties += entry == 1;
      } else if constexpr (Law::function == WeightFunction::pointwise) {
        entry = weight(law, entry) * m[static_cast<std::size_t>(j)];
        if (law.rows == attnflow::RowScale::mean) entry /= static_cast<Real>(n);
      }
    }
    if constexpr (Law::function == WeightFunction::pointwise)
      if (const Real all = w.row(i).sum(); law.rows == attnflow::RowScale::sum && all != 0) w.row(i) /= all;
    if constexpr (Law::function == WeightFunction::row) {
      std::vector<Real> entries;
      for (const Index j : row) entries.push_back(w(i, j));
      weigh(law, entries);
      for (std::size_t l = 0; l < row.size(); ++l) w(i, row[l]) = entries[l];
    }
    if constexpr (Law::function == WeightFunction::maximum)
      if (law.ties == attnflow::Ties::average) w.row(i) /= static_cast<Real>(ties);
  }
  if constexpr (attnflow::DoublyStochasticLaw<Law>)
    for (int sweep = 0; sweep < 20000; ++sweep) {
      for (Index j = 0; j < n; ++j) {
        Real sum = 0;
        for (Index i = 0; i < n; ++i) sum += m[static_cast<std::size_t>(i)] * w(i, j);
        if (sum > 0) w.col(j) *= m[static_cast<std::size_t>(j)] / sum;
      }
      Real off = 0;
      for (Index i = 0; i < n; ++i) {
        const Real sum = w.row(i).sum();
        if (sum > 0) w.row(i) /= sum, off = std::max(off, std::abs(sum - 1));
      }
      if (off < 1e-18L || sweep >= law.iterations - 1) break;
    }
  return w;
}

/// attend, attention_matrix and every level against the definition, for random tokens of a size and random heads.
template <class Scalar, class Law, class Mask, class Bias>
void check_definition(std::mt19937_64& generator, Index n, Index d, const Law& law, const Mask& mask,
                      const Bias& bias, double size) {
  CAPTURE(n, d, size, law.beta, bias.slope, attnflow::detail::rows_sum_to_one<Law>());
  constexpr Real eps = reference::epsilon<Scalar>;
  attnflow::Head<Scalar> head{reference::random<Tokens<Scalar>>(generator, d, d),
                              reference::random<Tokens<Scalar>>(generator, d, d),
                              reference::random<Tokens<Scalar>>(generator, d, d)};
  Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, d, n) * static_cast<Scalar>(size);
  x.array() += static_cast<Scalar>(0.3 * size);
  const Wide X = wide(x), Q = wide(head.Q), K = wide(head.K);
  const auto pairs = listed(mask, X, X);
  const Wide w = weights(Q * X, K * X, law, pairs, bias), sums = X * w.transpose();
  // Roundings of the scores, and of sums of n weights, as a multiple of the largest weighted token. A score of distances
  // has terms of the size of |Q x|² and |K x|², too.
  const Wide sizes = X.cwiseAbs().transpose() * (Q.cwiseAbs().transpose() * K.cwiseAbs()) * X.cwiseAbs();
  Real score = std::abs(static_cast<Real>(law.beta)) * sizes.maxCoeff() +
               std::abs(static_cast<Real>(bias.slope)) * static_cast<Real>(n);
  if constexpr (attnflow::TabledBias<Bias>)
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < n; ++j) score = std::max(score, std::abs(positional(bias, i, j)));
  if constexpr (attnflow::RotatingPositions<Bias>) score *= 4;  // roundings of the rotations
  if constexpr (attnflow::DistanceLaw<Law>) {
    const Wide reach = (Q.cwiseAbs() + K.cwiseAbs()) * X.cwiseAbs();
    score += 4 * std::abs(static_cast<Real>(law.beta)) * static_cast<Real>(law.scale) *
             reach.colwise().squaredNorm().maxCoeff();
  }
  Real relative = eps * (static_cast<Real>(2 * d + 8) * score + static_cast<Real>(2 * n + 16));
  // A column that is off by the tolerance, or by the roundings of its sum, moves what the next sweep makes of it.
  if constexpr (attnflow::DoublyStochasticLaw<Law>)
    relative = 50 * (relative + static_cast<Real>(ad::column_tolerance<Scalar>(law)));
  Real row = w.cwiseAbs().rowwise().sum().maxCoeff();  // one for softmax, if there is a row
  if constexpr (std::is_same_v<Law, attnflow::Linear>) row += score;
  const Real bound =
      relative * row * X.cwiseAbs().maxCoeff() + static_cast<Real>(std::numeric_limits<Scalar>::min());

  Tokens<Scalar> out, again;
  attnflow::RowRecord rows;
  attend(head, law, mask, bias, x, out, &rows);
  attend(head, law, mask, bias, x, again);
  const Wide expected = wide(head.V) * sums;
  CHECK(reference::excess(wide(out), expected, bound * static_cast<Real>(d) * 2) <= 1);
  CHECK(reference::excess(wide(again), expected, bound * static_cast<Real>(d) * 2) <= 1);
  const auto P = attention_matrix(head, x, law, mask, bias);
  CHECK(reference::excess(wide(P), w, relative * row) <= 1);
  for (Index i = 0; i < n; ++i) {
    const auto taken = [&](Index j) {
      const attnflow::KeyRange keys = pairs.keys(i, n);
      return keys.begin <= j && j < keys.end && ad::is_attended(pairs, i, j);
    };
    if (ad::nearest_key(pairs, i, n) < 0) {
      CHECK(out.col(i).isZero(0));
      CHECK(again.col(i).isZero(0));
      CHECK(P.row(i).isZero(0));
      CHECK(rows.log_normalizer[static_cast<std::size_t>(i)] == -std::numeric_limits<double>::infinity());
    } else {
      const Index key = rows.largest_key[static_cast<std::size_t>(i)];
      REQUIRE((key >= 0 && key < n));
      REQUIRE(taken(key));
      if constexpr (!ad::MassiveBias<Bias> || Law::function == WeightFunction::exponential)
        for (Index j = 0; j < n; ++j)
          if (taken(j)) REQUIRE(w(i, j) <= w(i, key) + 2 * relative * row);
    }
    for (Index j = 0; j < n; ++j)
      if (!taken(j)) REQUIRE(P(i, j) == 0);
  }
  if constexpr (attnflow::RotatingPositions<Bias>) {
    // Queries, keys and values given as such; products of Q and K round once more.
    const Tokens<Scalar> q = head.Q * x, k = head.K * x;
    const Wide of_images =
        wide(x) * weights(wide(q), wide(k), law, listed(mask, wide(q), wide(k)), bias).transpose();
    for (const SimdLevel level : levels_here()) {
      attnflow::AttentionScratch<Scalar> scratch;
      scratch.level = level;
      attend(q, k, x, law, mask, bias, out, nullptr, &scratch);
      CAPTURE(std::string(attnflow::name_of(level)));
      CHECK(reference::excess(wide(out), of_images, bound) <= 1);
    }
  } else if constexpr (!attnflow::DistanceLaw<Law> && !attnflow::DoublyStochasticLaw<Law> &&
                       !attnflow::TabledBias<Bias>) {
    const auto form = attnflow::score_form(head, law.beta);
    for (const SimdLevel level : levels_here())
      for (const bool all_exact : {false, true}) {
        CAPTURE(std::string(attnflow::name_of(level)), all_exact);
        CHECK(reference::excess(wide(attend_at(level, form, law, pairs, bias, x, all_exact)), sums, bound) <=
              1);
      }
  }
}

}  // namespace definition
