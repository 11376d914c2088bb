// Weights by their definition, in extended precision, for every law, mask and bias; and the operator held against them at
// every level of vector instructions.
#pragma once

#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/hardmax.hpp>
#include <attnflow/attention/l2_softmax.hpp>
#include <attnflow/attention/linear.hpp>
#include <attnflow/attention/position_weighted.hpp>
#include <attnflow/attention/sigmoid.hpp>
#include <attnflow/attention/sinkhorn.hpp>
#include <attnflow/attention/unnormalized.hpp>

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

/// The kernels for any number of coordinates at a level, which is otherwise chosen once for the program.
template <class Scalar, ad::RowKind Kind>
ad::RowKernels<Scalar> kernels_at(SimdLevel level, Index d) {
  switch (d) {
    case 1:
      return ad::row_kernels_at<Scalar, 1, Kind>(level);
    case 2:
      return ad::row_kernels_at<Scalar, 2, Kind>(level);
    case 3:
      return ad::row_kernels_at<Scalar, 3, Kind>(level);
    case 4:
      return ad::row_kernels_at<Scalar, 4, Kind>(level);
    default:
      return ad::row_kernels_at<Scalar, 0, Kind>(level);
  }
}

/// Runs the operator at a level. Sinkhorn and distances are made of softmax.
template <class Scalar, class Law, class Mask, class Bias>
Tokens<Scalar> attend_at(SimdLevel level, const attnflow::ScoreForm<>& form, const Law& law, const Mask& mask,
                         const Bias& bias, const Tokens<Scalar>& x, bool all_exact,
                         Weighted what = Weighted::tokens) {
  auto& scores = ad::PreparedScores<Scalar>::of_this_thread();
  REQUIRE(scores.prepare_keys(x.data(), x.rows(), x.cols()));
  const auto kernels = kernels_at<Scalar, ad::row_kind<Law, Mask, Bias>()>(level, x.rows());
  const attnflow::ScaledMatrix<>* flow = nullptr;
  const auto slope = static_cast<double>(bias.slope);
  std::vector<double> terms;
  if constexpr (ad::MassiveBias<Bias>) ad::log_relative_masses(bias, x.cols(), terms);
  Tokens<Scalar> out(x.rows(), x.cols());
  if constexpr (Law::function == WeightFunction::logistic || Law::function == WeightFunction::linear) {
    for (double& term : terms) term = std::exp(term);
    REQUIRE(scores.prepare_function(form, flow, mask, slope, kernels, Law::function, ad::constant_of(law),
                                    terms));
    ad::attend_function_rows(scores, kernels, what, law.row_factor(x.cols()), out.data());
  } else {
    scores.prepare_queries(form, flow, mask, slope, kernels,
                           all_exact || Law::function == WeightFunction::maximum, terms);
    if constexpr (Law::function == WeightFunction::maximum) {
      scores.function = Law::function;
      scores.tie_tolerance = law.tolerance;
    }
    ad::attend_rows<Eigen::Dynamic>(scores, kernels, what, law, out.data(), nullptr,
                                    ad::positions_for<Law>(mask, bias, terms));
  }
  return out;
}

// --- the definitions ------------------------------------------------------------------------------------------

/// What a law of exponentials makes of a score, given log ∑ₗ e^{sᵢₗ} and log ∑ₗ e^{bias(i, l)}.
template <class Scalar>
Real log_weight(const attnflow::Softmax<Scalar>&, Real score, Real log_sum, Real, Index) {
  return score - log_sum;
}
template <class Scalar>
Real log_weight(const attnflow::L2Softmax<Scalar>&, Real score, Real log_sum, Real, Index) {
  return score - log_sum;
}
template <class Scalar>
Real log_weight(const attnflow::Unnormalized<Scalar>& law, Real score, Real, Real, Index n) {
  return score - std::log(static_cast<Real>(n)) - (law.less_one ? static_cast<Real>(law.beta) : 0);
}
template <class Scalar>
Real log_weight(const attnflow::PositionWeighted<Scalar>& law, Real score, Real, Real log_positions, Index) {
  return score - log_positions - (law.less_one ? static_cast<Real>(law.beta) : 0);
}

/// The scores before bias: β ⟨Q xᵢ, K xⱼ⟩, or −β c ‖Q xᵢ − K xⱼ‖².
template <class Law>
Wide scores(const Wide& Q, const Wide& K, const Law& law, const Wide& x) {
  if constexpr (attnflow::DistanceLaw<Law>) {
    Wide s(x.cols(), x.cols());
    for (Index i = 0; i < x.cols(); ++i)
      for (Index j = 0; j < x.cols(); ++j)
        s(i, j) = -static_cast<Real>(law.beta) * static_cast<Real>(law.scale) *
                  (Q * x.col(i) - K * x.col(j)).squaredNorm();
    return s;
  } else {
    return static_cast<Real>(law.beta) * ((Q * x).transpose() * (K * x));
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

/// The weights, n × n.
template <class Law, class Mask, class Bias>
Wide weights(const Wide& Q, const Wide& K, const Law& law, const Mask& mask, const Bias& bias,
             const Wide& x) {
  const Index n = x.cols();
  const std::vector<Real> m = masses(bias, n);
  const Wide plain = scores(Q, K, law, x);
  Wide w = Wide::Zero(n, n);
  std::vector<std::vector<Index>> keys(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) {
      const attnflow::KeyRange range = mask.keys(i, n);
      bool taken = range.begin <= j && j < range.end;
      if constexpr (attnflow::PickingMask<Mask>) taken = taken && mask.attends(i, j);
      if (taken) keys[static_cast<std::size_t>(i)].push_back(j);
    }
  const auto positional = [&](Index i, Index j) {
    return -static_cast<Real>(bias.slope) * static_cast<Real>(std::abs(i - j));
  };
  for (Index i = 0; i < n; ++i) {
    const auto& row = keys[static_cast<std::size_t>(i)];
    if (row.empty()) continue;
    Real largest = -std::numeric_limits<Real>::infinity(), sum = 0, positions = 0;
    for (const Index j : row) {
      const Real mass = m[static_cast<std::size_t>(j)];
      w(i, j) = plain(i, j) + positional(i, j);
      if constexpr (Law::function == WeightFunction::exponential) w(i, j) += std::log(mass);
      largest = std::max(largest, w(i, j));
      positions += std::exp(positional(i, j)) * mass;
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
      } else {
        if constexpr (Law::function == WeightFunction::logistic)
          entry = 1 / (1 + std::exp(-entry - static_cast<Real>(law.bias)));
        entry *= static_cast<Real>(law.row_factor(n)) * m[static_cast<std::size_t>(j)];
      }
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
  CAPTURE(n, d, size, law.beta, bias.slope, Law::rows_sum_to_one);
  constexpr Real eps = reference::epsilon<Scalar>;
  attnflow::Head<Scalar> head{reference::random<Tokens<Scalar>>(generator, d, d),
                              reference::random<Tokens<Scalar>>(generator, d, d),
                              reference::random<Tokens<Scalar>>(generator, d, d)};
  Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, d, n) * static_cast<Scalar>(size);
  x.array() += static_cast<Scalar>(0.3 * size);
  const Wide X = wide(x), Q = wide(head.Q), K = wide(head.K);
  const Wide w = weights(Q, K, law, mask, bias, X), sums = X * w.transpose();
  // Roundings of the scores, and of sums of n weights, as a multiple of the largest weighted token. A score of distances
  // has terms of the size of |Q x|² and |K x|², too.
  const Wide sizes = X.cwiseAbs().transpose() * (Q.cwiseAbs().transpose() * K.cwiseAbs()) * X.cwiseAbs();
  Real score = std::abs(static_cast<Real>(law.beta)) * sizes.maxCoeff() +
               std::abs(static_cast<Real>(bias.slope)) * static_cast<Real>(n);
  if constexpr (attnflow::DistanceLaw<Law>) {
    const Wide reach = (Q.cwiseAbs() + K.cwiseAbs()) * X.cwiseAbs();
    score += 4 * std::abs(static_cast<Real>(law.beta)) * static_cast<Real>(law.scale) *
             reach.colwise().squaredNorm().maxCoeff();
  }
  Real relative = eps * (static_cast<Real>(2 * d + 8) * score + static_cast<Real>(2 * n + 16));
  // A column that is off by the tolerance, or by the roundings of its sum, moves what the next sweep makes of it.
  if constexpr (attnflow::DoublyStochasticLaw<Law>)
    relative = 50 * (relative + static_cast<Real>(law.tolerance));
  Real row = w.cwiseAbs().rowwise().sum().maxCoeff();  // one for softmax, if there is a row
  if constexpr (Law::function == WeightFunction::linear) row += score;
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
      const attnflow::KeyRange keys = mask.keys(i, n);
      return keys.begin <= j && j < keys.end && ad::is_attended(mask, i, j);
    };
    if (ad::nearest_key(mask, i, n) < 0) {
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
  if constexpr (!attnflow::DistanceLaw<Law> && !attnflow::DoublyStochasticLaw<Law>) {
    const auto form = attnflow::score_form(head, law.beta);
    for (const SimdLevel level : levels_here())
      for (const bool all_exact : {false, true}) {
        CAPTURE(std::string(attnflow::name_of(level)), all_exact);
        CHECK(reference::excess(wide(attend_at(level, form, law, mask, bias, x, all_exact)), sums, bound) <=
              1);
      }
  }
}

}  // namespace definition
