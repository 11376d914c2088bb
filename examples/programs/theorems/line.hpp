/// \file
/// Section 3: tokens on the line, and the lemmas on V = I behind them.
#pragma once

#include "programs/theorems/runs.hpp"

#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/observables/attention/boolean_distance.hpp>
#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/prediction/boolean_limit.hpp>

namespace laboratory {

/// The smallest and the largest token, and the gaps at both ends.
struct Ends {
  Index least = 0, most = 0;
  double low_gap = infinity, high_gap = infinity, range = 0;

  explicit Ends(const Matrix& x) {
    const double low = x.row(0).minCoeff(&least), high = x.row(0).maxCoeff(&most);
    range = high - low;
    for (Index i = 0; i < x.cols(); ++i) {
      if (i != least) low_gap = std::min(low_gap, x(0, i) - low);
      if (i != most) high_gap = std::min(high_gap, high - x(0, i));
    }
  }
};

inline Matrix start_on_the_line(Trial& trial) {
  const double size = trial.coin() ? 1 : 5;
  Matrix x = trial.uniform_matrix(1, trial.n, -size, size);
  const Ends ends(x);
  trial.exclude_if(std::min(ends.low_gap, ends.high_gap) < 1e-3 * ends.range,
                   "two extreme tokens closer than range/1000");
  trial.exclude_if(x.cwiseAbs().maxCoeff() < 0.1 * size, "all tokens small");
  return x;
}

/// Theorem 2.1, with weights V > 0 and QK > 0: time runs V times, space √(QK) times as fast.
inline void boolean_limit(Trial& trial) {
  const double V = trial.uniform(0.5, 2), Q = trial.uniform(-2, -0.5), K = trial.uniform(-2, -0.5);
  const Head<double> head{Matrix::Constant(1, 1, Q), Matrix::Constant(1, 1, K), Matrix::Constant(1, 1, V)};
  require_prediction(trial, head, attnflow::LimitCase::boolean_line);
  const Matrix start = start_on_the_line(trial) / std::sqrt(Q * K);
  const Ends ends(start);
  const Unrescaled field(head);
  const double T = 14 / V;
  const Path x = follow(field, start, T);
  const Decision decision =
      decide([&](double t, const Matrix& state) { return field.attention(t, state); }, x, 0.25 / V);
  // Each gap x_l − x_j does not decrease and |xᵢ| grows like e^{Vt}, so from a decision on −log(1 − P) does.
  trial.exclude_if(decision.undecided() > 0 || decision.last() > T - 1 / V,
                   "a row still undecided at T - 1/V");
  const Matrix& P = decision.P;
  const attnflow::BooleanDistance distance = attnflow::boolean_distance(P, ends.least, ends.most);
  trial.check("t:boolean, family", distance.to_family, 1e-9);
  trial.check("t:boolean", distance.to_pair, 1e-9);
  const double size = std::sqrt(static_cast<double>(trial.n));
  const auto rank = attnflow::effective_rank(P, size * distance.to_pair + size * epsilon * size * 4).rank;
  trial.check("t:boolean, rank", static_cast<double>(rank), 2);
  trial.count("t:boolean, rank", "rank", rank);

  // Gaps: x_{i+1} − x_i never decreases, and never falls below its initial value.
  std::vector<Index> order(static_cast<std::size_t>(trial.n));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Index>(i);
  std::ranges::sort(order, {}, [&](Index i) { return start(0, i); });
  Worst initial;
  for (std::size_t k = 1; k < x.size(); ++k)
    for (std::size_t i = 0; i + 1 < order.size(); ++i) {
      const auto gap = [&](const Matrix& s) { return s(0, order[i + 1]) - s(0, order[i]); };
      initial.see(gap(start) - gap(x.x[k]), 2 * allowance(x.x[k]) * static_cast<double>(k));
    }
  trial.check("e:infdist", initial);
}

/// Q = K = V = 1, in z: the leaders' limits, and the double exponential rate of P.
inline void unbounded_tokens(Trial& trial) {
  const Head<double> head = Head<double>::identity(1);
  require_prediction(trial, head, attnflow::LimitCase::boolean_line);
  const Matrix start = start_on_the_line(trial);
  const Ends ends(start);
  const Rescaled field(head);
  const Path z = follow(field, start, 20);
  const Decision decision = decide(field, z, 0.25);
  trial.exclude_if(decision.undecided() > 0 || decision.last() > 6, "rows still undecided at t = 6");

  // From t1 on all rows are Boolean: x_l − x_i is constant, so z_l − z_i falls like e^{−t}.
  const double t1 = decision.last() + 1;
  const std::size_t k1 = z.at(t1), k2 = z.at(t1 + 4);
  const double duration = z.t[k2] - z.t[k1], from = z.t[k1];
  const Matrix log_P1 = field.log_attention(from, z.x[k1]), log_P2 = field.log_attention(z.t[k2], z.x[k2]);
  const Vector p1 = attnflow::log_complement(log_P1, decision.leader);
  const Vector p2 = attnflow::log_complement(log_P2, decision.leader);
  for (Index i = 0; i < trial.n; ++i) {
    const Index l = decision.leader_of(i);
    trial.check("l:exactasymptotic", z.total_allowance() - std::abs(z.end()(0, i)),
                0);  // the limit γᵢ is not 0 …
    if (i != l) {
      const double early = std::abs(z.x[k1](0, i) - z.x[k1](0, l)),
                   late = std::abs(z.x[k2](0, i) - z.x[k2](0, l));
      const double erred = 2 * static_cast<double>(k2 - k1) * allowance(z.start());
      if (late > 100 * erred)
        trial.check("l:exactasymptotic, rate", std::abs(std::log(early / late) / duration - 1),
                    (2 * erred / late + 2 * Decision::small) / duration);
    }
    // p = −log(1 − P): its logarithm grows at rate 1 or 2, as the runner-up goes with the leader or not.
    if (p1(i) < 10 || std::isinf(p2(i))) continue;
    Index runner_up = l == 0 ? 1 : 0;
    for (Index j = 0; j < trial.n; ++j)
      if (j != l && log_P2(i, j) > log_P2(i, runner_up)) runner_up = j;
    const bool together = z.end()(0, runner_up) * z.end()(0, l) > 0;
    // p = x_i (x_l − x_j) − log(how many count): x_i = γ e^t − g_i, and x_l − x_j = g_j or γ' e^t − g_j.
    const double grown = std::exp(from), x_i = std::abs(z.x[k1](0, i)) * grown;
    const double g_i = std::abs(z.x[k1](0, i) - z.x[k1](0, l)) * grown;
    const Index other = decision.leader_of(runner_up);
    const double g_j = std::abs(z.x[k1](0, runner_up) - z.x[k1](0, other)) * grown;
    const double gap = std::abs(z.x[k1](0, l) - z.x[k1](0, runner_up)) * grown;
    const double transient =
        g_i / x_i + (together ? 0 : g_j / gap) + std::log(static_cast<double>(trial.n)) / p1(i);
    const double erred = 2 * static_cast<double>(k2 - k1) * allowance(z.start());
    const double late_gap = std::abs(z.x[k2](0, l) - z.x[k2](0, runner_up));
    trial.check(together ? "l:unboundedparticles, slope 1" : "l:unboundedparticles, slope 2",
                std::abs(std::log(p2(i) / p1(i)) / duration - (together ? 1 : 2)),
                (2 * transient + 2 * erred / late_gap + 2 * Decision::small) / duration);
  }
}

/// Once x_n > A it grows like e^t.
inline void threshold(Trial& trial) {
  const double A = attnflow::bounded_token_threshold(trial.n), n = static_cast<double>(trial.n);
  trial.check("A = √W₀(n²)", std::abs(A * A + std::log(A * A) - 2 * std::log(n)),
              32 * epsilon * (1 + A * A + 2 * std::log(n)));
  Matrix start = trial.uniform_matrix(1, trial.n, -5, 5);
  Index most = 0;
  start.row(0).maxCoeff(&most);
  start(0, most) = std::max(start(0, most), A * (1 + trial.uniform(1e-3, 0.5)));
  const Head<double> head = Head<double>::identity(1);
  require_prediction(trial, head, attnflow::LimitCase::boolean_line);
  const Unrescaled field(head);
  const Path x = follow(field, start, 10);
  Matrix drift;
  double settled_t = infinity, settled_x = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    const double largest = x.x[k](0, most);
    field(0, x.x[k], drift);
    const double rounding = 16 * n * epsilon * x.x[k].cwiseAbs().maxCoeff();
    trial.check("l:auxiliary", -drift(0, most), 0);
    trial.check("l:auxiliary, drift",
                std::max(largest - n / largest, largest / n - n * std::exp(-largest * largest) / largest) -
                    drift(0, most),
                rounding);
    if (settled_t == infinity && largest * largest > 2 * n) {
      settled_t = x.t[k];
      settled_x = largest;
    }
    if (settled_t < infinity) {  // (x²)' ≥ 2x² − 2n
      const double since = x.t[k] - settled_t;
      trial.check("l:auxiliary, growth", std::sqrt(settled_x * settled_x - n) * std::exp(since) / largest - 1,
                  2 * static_cast<double>(k + 1) * allowance(x.x[k]) / largest);
    }
  }
}

/// −u, 0, u: the middle token stays, and its row is not Boolean.
inline void symmetric_triple(Trial& trial) {
  const double u0 = trial.uniform(0.4, 2);
  Matrix x = (Matrix(1, 3) << -u0, 0, u0).finished(), drift;
  const Unrescaled field(Head<double>::identity(1));
  const double e = std::exp(u0 * u0);
  field(0, x, drift);
  trial.check("u' of (-u, 0, u)", std::abs(drift(0, 2) - u0 * (e - 1 / e) / (e + 1 + 1 / e)),
              16 * epsilon * u0);
  long steps = 0;
  advance(field, x, 10, [&](const Matrix& state) {
    ++steps;
    return state(0, 2) * state(0, 2) > 22;
  });
  const double u = x(0, 2);
  const Matrix P = field.attention(0, x);
  // Rounding moves the middle token by ε u a step, which grows by exp(∫ 2u²/3 dt) ≤ exp(u²/3 + …).
  const double middle = static_cast<double>(steps) * 8 * epsilon * u * std::exp(u * u / 3);
  trial.check("exceptional row of (-u, 0, u)", (P.row(1).array() - 1.0 / 3).abs().maxCoeff(),
              middle * u + 8 * epsilon);
  trial.check("exceptional row of (-u, 0, u), leaders",
              std::max(given_to_others(P, 0, 0), given_to_others(P, 2, 2)),
              2 * std::exp(-u * u) * (1 + 4 * middle * u));
  trial.check("exceptional row of (-u, 0, u), rank 3",
              std::abs(static_cast<double>(attnflow::effective_rank(P, 1e-3).rank) - 3), 0);
}

/// A bounded token among others of both signs, found by bisection of its start: its row is softmax(θγ).
inline void exceptional_row(Trial& trial) {
  Matrix start = trial.uniform_matrix(1, trial.n, 0.6, 1.2);
  for (Index i = 1; i < trial.n; ++i)
    if (i % 2 == 0) start(0, i) *= -1;
  const Unrescaled field(Head<double>::identity(1));
  /// Until the token has left, or another is that far.
  const auto run = [&](double bounded, double far, Matrix& x) {
    x = start;
    x(0, 0) = bounded;
    return advance(
        field, x, 12, [&](const Matrix& s) { return std::abs(s(0, 0)) > 2 || s.cwiseAbs().maxCoeff() > far; },
        1e-12);
  };
  double low = -0.5, high = 0.5;
  Matrix x;
  run(low, 1e3, x);
  trial.exclude_if(x(0, 0) > 0, "no bounded token between the others");
  run(high, 1e3, x);
  trial.exclude_if(x(0, 0) < 0, "no bounded token between the others");
  for (double middle = 0; middle > low && middle < high; middle = low + (high - low) / 2) {
    run(middle, 1e3, x);
    (x(0, 0) > 0 ? high : low) = middle;
    if (high - low < epsilon * std::abs(low)) break;
  }
  run(high, 5.5, x);
  const double above = x(0, 0);
  const double t = run(low, 5.5, x), size = x.cwiseAbs().maxCoeff(), bounded = x(0, 0);
  const double shrunk = std::exp(-t);
  Vector gamma = x.row(0).transpose() * shrunk;
  gamma(0) = 0;
  const attnflow::ExceptionalRow limit = attnflow::exceptional_row(gamma);
  const Matrix P = field.attention(0, x);
  double variance = 0;
  for (Index j = 1; j < trial.n; ++j) variance += P(0, j) * x(0, j) * x(0, j);
  trial.exclude_if(variance < 10, "variance of the row < 10");
  // s = x_b eᵗ and θ, at which ∑ e^{θγ_j}γ_j = 0 for the γ of now: s' = s + e^{2t} F(s), F' = e^{−2t} Var. A token that
  // stays bounded has s − θ = (θ' − θ)/Var up to terms smaller by 3/Var, so P moves by |θ' − θ| e^{−t} max|x| / Var.
  Matrix drift;
  field(0, x, drift);
  const Vector moving = (drift - x).row(0).transpose() * shrunk;  // γ', and θ' without regard to signs
  double speed = 0, spread = 0;
  for (Index j = 1; j < trial.n; ++j) {
    speed += limit.weights(j) * std::abs((1 + limit.theta * gamma(j)) * moving(j));
    spread += limit.weights(j) * gamma(j) * gamma(j);
  }
  const double shift =
      2 * (std::abs(limit.theta) + speed / spread) * shrunk / variance + std::abs(above - bounded);
  trial.check("l:boundedother", (P.row(0).transpose() - limit.weights).cwiseAbs().maxCoeff(),
              shift * size + bounded * bounded);
  trial.number("l:boundedother", "largest weight of the row", P.row(0).maxCoeff());
}

inline std::vector<Experiment> section_3() {
  const std::vector<Size> line{{1, 5}, {1, 20}, {1, 100}, {1, 2}, {1, 40}};
  const std::string steps = "twice the step allowance rtol max|x| + atol";
  return {
      {"Boolean limit",
       line,
       boolean_limit,
       {{"t:boolean, family", Kind::theorem,
         "d = 1, V > 0, QK > 0: P is near the family with columns argmin and argmax of x(0), one row free",
         "1e-9 at T = 14/V: rows give less than 1e-6 to others by T - 1/V, so (1e-6)^e at T"},
        {"t:boolean", Kind::theorem, "... and with no row free (almost every start)", "as above"},
        {"t:boolean, rank", Kind::theorem, "rank of P at most 2 for almost every start",
         "2; singular values up to √n D2 + 4nε count as 0, those of the Boolean limit are at least 1"},
        {"e:infdist", Kind::lemma, "gaps never fall below their initial values", steps + ", added up"}}},
      {"unbounded tokens",
       {{1, 5}, {1, 20}, {1, 2}, {1, 100}, {1, 3}},
       unbounded_tokens,
       {{"l:exactasymptotic", Kind::lemma, "x_i = γ_i e^t + o(e^t) with γ_i not 0",
         "0: |γ_i| exceeds all step allowances together"},
        {"l:exactasymptotic, rate", Kind::derived, "|z_i - z_leader| has rate -1 once rows are Boolean",
         "step allowances over the distance, and 2e-6 of P, divided by the time"},
        {"l:unboundedparticles, slope 1", Kind::derived,
         "log(-log(1 - P)) grows at rate 1 if the runner-up goes to the leader's infinity",
         "2(g_i/x_i + log n/p) at the begin of the window, x_i = γe^t - g_i, divided by its length"},
        {"l:unboundedparticles, slope 2", Kind::derived, "... at rate 2 if it goes to the other one",
         "2(g_i/x_i + g_j/gap + log n/p), divided by the time"}}},
      {"threshold",
       line,
       threshold,
       {{"A = √W₀(n²)", Kind::derived, "A² = n² e^(-A²)", "32 ε (1 + A² + 2 log n)"},
        {"l:auxiliary", Kind::lemma, "once x_n > A, x_n increases for ever", "0"},
        {"l:auxiliary, drift", Kind::derived, "x_n' >= x_n - n/x_n and >= x_n/n - n e^(-x_n²)/x_n",
         "16 n ε max|x|"},
        {"l:auxiliary, growth", Kind::lemma, "then x_n >= c e^t, c² = x_n² - n from x_n² = 2n on",
         "step allowances added up, relative"}}},
      {"symmetric triple",
       {{1, 3}},
       symmetric_triple,
       {{"u' of (-u, 0, u)", Kind::derived, "u' = u (e^(u²) - e^(-u²))/(e^(u²) + 1 + e^(-u²))", "16 ε u"},
        {"exceptional row of (-u, 0, u)", Kind::derived, "row of the middle token (1/3, 1/3, 1/3)",
         "rounding 8 ε u a step, unstable by e^(u²/3)"},
        {"exceptional row of (-u, 0, u), leaders", Kind::derived,
         "the other rows are Boolean within 2e^(-u²)", "2 e^(-u²)"},
        {"exceptional row of (-u, 0, u), rank 3", Kind::theorem, "rank 3 is attained", "0"}}},
      {"exceptional row",
       {{1, 3}, {1, 4}, {1, 5}, {1, 8}},
       exceptional_row,
       {{"l:boundedother", Kind::lemma, "row of a bounded interior token (found by bisection) -> softmax(θγ)",
         "2 (|θ| + |θ'|) e^(-t) max|x| over the variance of the row (10 or more), θ' as γ still moves; x_b² "
         "for "
         "its own score; what the bisection leaves open"}}}};
}

}  // namespace laboratory
