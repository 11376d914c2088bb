/// \file
/// Section 3, the statements for any dimension: V = I, the potential, and the example of Remark 7.9.
#pragma once

#include "programs/theorems/runs.hpp"

#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/tokens/clusters.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace laboratory {

/// V = I, in any dimension: ‖A(xᵢ − xⱼ)‖ does not decrease.
inline void distances_in(Trial& trial, const char* label, const Matrix& A) {
  const Head<double> head{A, A, identity(trial.d)};
  require_prediction(trial, head,
                     trial.d == 1 ? attnflow::LimitCase::boolean_line : attnflow::LimitCase::polytope);
  const double size = trial.uniform(0.5, 3);
  const Unrescaled field(head);
  const Path x = follow(field, trial.uniform_matrix(trial.d, trial.n, -size, size), 4);
  const double norm = operator_norm(A);
  Worst worst;
  Matrix before = A * x.start(), after;
  for (std::size_t k = 1; k < x.size(); ++k) {
    after = A * x.x[k];
    const double allowed = 4 * norm * length_allowance(x.x[k]);
    for (Index i = 0; i < trial.n; ++i)
      for (Index j = 0; j < i; ++j)
        worst.see((before.col(i) - before.col(j)).norm() - (after.col(i) - after.col(j)).norm(), allowed);
    before = after;
  }
  trial.check(label, worst);
}

inline void distances(Trial& trial) {
  distances_in(trial, "l:distnondec", identity(trial.d));
  distances_in(trial, "l:distnondec, norm of A", positive_definite(trial, trial.d));
}

inline void log_sum_exp(Trial& trial) {
  const double size = trial.uniform(0.5, 3);
  const Matrix y = trial.uniform_matrix(trial.d, trial.n, -size, size);
  const auto potential = [&](const Vector& x) {
    const Vector s = y.transpose() * x;
    const double top = s.maxCoeff();
    return top + std::log((s.array() - top).exp().sum());
  };
  const double R = y.colwise().norm().maxCoeff();
  for (int k = 0; k < 20; ++k) {
    const Vector a = trial.uniform_matrix(trial.d, 1, -size, size),
                 b = trial.uniform_matrix(trial.d, 1, -size, size);
    const double share = trial.uniform(0, 1),
                 largest = std::max(std::abs(potential(a)), std::abs(potential(b)));
    const double rounding = 32 * static_cast<double>(trial.d + trial.n) * epsilon * (1 + R * R + largest);
    trial.check("l:logsumexp",
                potential(share * a + (1 - share) * b) - share * potential(a) - (1 - share) * potential(b),
                rounding);
    // The drift of a token at a among the tokens y and itself is the gradient for the same list.
    const double h = 1e-4;
    const Matrix drift_of_y = [&] {
      Matrix drift;
      Unrescaled(Head<double>::identity(trial.d))(0, y, drift);
      return drift;
    }();
    const Vector u = b.normalized(), x = y.col(0);
    // A third derivative of log-sum-exp along u is a third cumulant, at most 8R³ in size: (2R)³ h² / 6.
    trial.check("l:logsumexp, gradient",
                std::abs((potential(x + h * u) - potential(x - h * u)) / (2 * h) - u.dot(drift_of_y.col(0))),
                8 * R * R * R * h * h / 6 + rounding / h);
  }
}

/// Remark 7.9: z → (1, ±b) with b > 0, from the scalar equation for y = b e^t.
struct RemarkOracle {
  using State = Matrix;
  void operator()(double /*t*/, const Matrix& y, Matrix& dy) const {
    dy.resize(1, 1);  // the logarithm of y: it spans 20 orders of magnitude
    const double square = std::exp(2 * y(0, 0));
    dy(0, 0) = 1 - 2 / (1 + std::exp(2 * square));
  }
};

inline void remark_7_9(Trial& trial) {
  const double start = trial.uniform(0.12, 1), T = 30;
  const Matrix x = (Matrix(2, 2) << 1, 1, start, -start).finished();
  const Rescaled field(Head<double>::identity(2));
  const Path z = follow(field, x, T);
  const Matrix log_y = state_at(RemarkOracle{}, Matrix::Constant(1, 1, std::log(start)), T);
  const double b = std::exp(log_y(0, 0) - T);
  trial.check("r:higherdimclus, limit", std::abs(z.end()(1, 0) - b), 4 * z.total_allowance());
  trial.check("r:higherdimclus, first coordinate", std::abs(z.end()(0, 0) - 1), 4 * z.total_allowance());
  const auto clusters = attnflow::detect_clusters(z.end(), b).count();
  const Matrix P = field.attention(T, z.end());
  trial.check("r:higherdimclus, as printed", z.end()(1, 0), 10 * z.total_allowance());
  trial.count("r:higherdimclus, as printed", "clusters of z", clusters);
  trial.count("r:higherdimclus, as printed", "rank of P", attnflow::effective_rank(P, 1e-6).rank);
  trial.number("r:higherdimclus, as printed", "second coordinate of the limit", b);
  trial.number("r:higherdimclus, as printed", "2 ε² |log b|", -2 * start * start * std::log(b));
}

inline std::vector<Experiment> section_3_any_dimension() {
  const std::vector<Size> all{{1, 5}, {2, 20}, {3, 5}, {8, 20}, {2, 100}, {1, 20}, {3, 100}, {8, 100}};
  return {
      {"distances",
       all,
       distances,
       {{"l:distnondec", Kind::lemma, "V = M = I: |x_i - x_j| is non-decreasing", "4 step allowances √d"},
        {"l:distnondec, norm of A", Kind::derived, "V = I, M = A²: |A(x_i - x_j)| is non-decreasing",
         "4 ‖A‖ step allowances √d"}}},
      {"log-sum-exp",
       all,
       log_sum_exp,
       {{"l:logsumexp", Kind::lemma, "x -> log sum_j e^<x, x_j> is convex", "32 (d + n) ε (1 + R² + |L|)"},
        {"l:logsumexp, gradient", Kind::lemma, "the drift is its gradient",
         "central differences: (2R)³h²/6 and rounding/h, h = 1e-4"}}},
      {"Remark 7.9",
       {{2, 2}},
       remark_7_9,
       {{"r:higherdimclus, limit", Kind::derived,
         "x = (1, ±ε): z_2 -> b of y' = y(1 - 2/(1 + e^(2y²))), y = b e^t", "4 times all step allowances"},
        {"r:higherdimclus, first coordinate", Kind::derived, "z_1 stays 1", "4 times all step allowances"},
        {"r:higherdimclus, as printed", Kind::erratum,
         "'collapse to (1, 0) while P -> I': passes where b is rounding", "10 times all step allowances"}}}};
}

}  // namespace laboratory
