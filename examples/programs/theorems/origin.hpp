/// \file
/// Section 7: V = −I, where tokens tend to the origin like t^(−1/2).
#pragma once

#include "programs/theorems/runs.hpp"

#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/attention/interaction_energy.hpp>

#include <Eigen/LU>

namespace laboratory {

inline void origin(Trial& trial) {
  const Index d = trial.d, n = trial.n;
  constexpr double T = 1000;
  // M = A²: y = Ax moves as for M = I.
  const Matrix A = trial.coin() ? identity(d) : positive_definite(trial, d);
  const Head<double> head{A, A, -identity(d)}, plain{identity(d), identity(d), -identity(d)};
  require_prediction(trial, head, attnflow::LimitCase::origin);
  const Matrix start = trial.uniform_matrix(d, n, -2, 2);
  const auto deviations = [](const Matrix& y) { return Matrix(y.colwise() - y.rowwise().mean()); };
  const Index r = std::min(d, n - 1);
  const double least = attnflow::effective_rank(deviations(A * start)).singular_values(r - 1);
  trial.exclude_if(least * least / static_cast<double>(n) < 0.1, "least eigenvalue of C(0) < 0.1");

  const Unrescaled field(head);
  Path y = follow(field, start, T);
  for (Matrix& state : y.x) state = A * state;
  const double norm = operator_norm(A);
  const Vector first = y.start().colwise().norm();
  const double circle = std::sqrt(2 * static_cast<double>(n));
  Worst decreasing, circles, pairs;
  double erred = 0, energy = attnflow::interaction_energy(plain, y.start()).log;
  Matrix velocity;
  for (std::size_t k = 1; k < y.size(); ++k) {
    const Matrix &before = y.x[k - 1], &x = y.x[k];
    const double step = 2 * norm * length_allowance(before), size = before.colwise().norm().maxCoeff();
    erred += step;
    circles.see((x.colwise().norm().transpose() - first.cwiseMax(circle)).maxCoeff(), erred);
    const double next = attnflow::interaction_energy(plain, x).log;
    decreasing.see(next - energy, 2 * size * step + 16 * static_cast<double>(n) * epsilon);
    energy = next;
    if (k % 8 != 0) continue;
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < i; ++j)
        pairs.see((x.col(i) - x.col(j)).norm() - (before.col(i) - before.col(j)).norm(), 2 * step);
    // d/dt ∑ e^{⟨xᵢ, xⱼ⟩} by the chain rule, and −2 ∑ Zᵢ |xᵢ'|².
    Unrescaled(Head<double>(plain))(0, x, velocity);
    double derivative = 0, dissipated = 0, scale = 0;
    for (Index i = 0; i < n; ++i) {
      double Z = 0;
      for (Index j = 0; j < n; ++j) {
        const double weight = std::exp(x.col(i).dot(x.col(j)));
        Z += weight;
        derivative += weight * (velocity.col(i).dot(x.col(j)) + x.col(i).dot(velocity.col(j)));
        scale += weight * 2 * x.col(i).norm() * velocity.col(j).norm();
      }
      dissipated += 2 * Z * velocity.col(i).squaredNorm();
    }
    trial.check("energy identity", std::abs(derivative + dissipated),
                64 * static_cast<double>(n + d) * epsilon * scale * (1 + size * size));
    trial.check("energy identity, energy_rate", std::abs(attnflow::energy_rate(plain, x).value + dissipated),
                64 * static_cast<double>(n + d) * epsilon * scale * (1 + size * size));
  }
  trial.check("l:cas1circle", circles);
  trial.check("energy decreases", decreasing);
  trial.check("energy >= n²", 2 * std::log(static_cast<double>(n)) - energy,
              16 * static_cast<double>(n) * epsilon);
  trial.check("distances decrease", pairs);

  const auto spread = [&](std::size_t k) {
    return deviations(y.x[k]).squaredNorm() / static_cast<double>(n);
  };
  const std::size_t earlier = y.at(T / 10);
  const double limit = static_cast<double>(r) / 2;
  trial.check("t tr C -> r/2", std::abs(T * spread(y.size() - 1) / limit - 1), 0.1);
  const double exponent = std::log(spread(earlier) / spread(y.size() - 1)) / std::log(T / y.t[earlier]);
  trial.check("algebraic rate", std::abs(exponent - 1), 0.1);
  trial.number("algebraic rate", "t tr C / (r/2)", T * spread(y.size() - 1) / limit);
  trial.check("t:cas-Idintro", y.end().colwise().norm().maxCoeff(),
              std::sqrt(1.2 * static_cast<double>(n) * limit / T));
  const double faster = spread(earlier) * std::exp(-(T - y.t[earlier]) / 100);
  trial.check("exponential rate", spread(y.size() - 1), faster);
  trial.check(
      "t:cas-Idintro, P -> 1/n",
      (field.attention(T, A.inverse() * y.end()).array() - 1 / static_cast<double>(n)).abs().maxCoeff(),
      1 / T);
}

/// Tokens of V = −I, M = I, with, in a last row, ∫ |xᵢ'|² dt.
struct Dissipation {
  using State = Matrix;
  const Unrescaled& tokens;
  void operator()(double t, const Matrix& x, Matrix& dx) const {
    const Index d = tokens.dim();
    const Matrix only = x.topRows(d);
    Matrix drift;
    tokens(t, only, drift);
    dx.resize(d + 1, x.cols());
    dx.topRows(d) = drift;
    dx.row(d) = drift.colwise().squaredNorm();
  }
};

inline void finite_integral(Trial& trial) {
  const Index d = trial.d, n = trial.n;
  const Head<double> head{identity(d), identity(d), -identity(d)};
  require_prediction(trial, head, attnflow::LimitCase::origin);
  const Unrescaled tokens(head);
  Matrix start = Matrix::Zero(d + 1, n);
  start.topRows(d) = trial.uniform_matrix(d, n, -2, 2) / std::sqrt(static_cast<double>(d));
  const Path path = follow(Dissipation{tokens}, start, 30);
  const double count = static_cast<double>(n);
  const double energy = attnflow::interaction_energy(head, Matrix(start.topRows(d))).value;
  trial.check("e:finiteinegral", path.end().row(d).sum() - (energy - count * count) / 2,
              count * path.total_allowance());
}

inline std::vector<Experiment> section_7() {
  const std::vector<Size> all{{2, 20}, {1, 5}, {3, 5}, {8, 20}, {2, 100}, {3, 20}, {8, 100}, {1, 20}, {2, 5}};
  return {
      {"origin",
       all,
       origin,
       {{"l:cas1circle", Kind::lemma, "V = -I, M = I: |x_i(t)| <= max(|x_i(0)|, √(2n))",
         "all step allowances"},
        {"energy identity", Kind::lemma, "d/dt sum e^<x_i,x_j> = -2 sum Z_i |x_i'|²",
         "64 (n + d) ε (1 + |x|²) of the terms"},
        {"energy identity, energy_rate", Kind::lemma, "the same by the library's energy_rate", "as above"},
        {"energy decreases", Kind::lemma, "the energy is non-increasing",
         "2 max|x| step allowances, of its logarithm"},
        {"energy >= n²", Kind::derived, "the energy is at least n²", "16 n ε, of its logarithm"},
        {"distances decrease", Kind::derived, "|x_i - x_j| is non-increasing", "2 step allowances"},
        {"t:cas-Idintro", Kind::theorem, "x_i -> 0: by T = 1000 max|x_i| is what t tr C -> r/2 leaves",
         "√(1.2 n r/(2T)): all of tr C in one token"},
        {"t:cas-Idintro, P -> 1/n", Kind::theorem, "|P - 1/n| at T", "1/T"},
        {"t tr C -> r/2", Kind::derived, "t tr C -> r/2, r = min(d, n - 1)",
         "0.1: C^(-1) = C(0)^(-1) + 2t and 1/λ_min(C(0)) is under 1 % of 2T"},
        {"algebraic rate", Kind::derived, "tr C ~ t^(-1) from T/10 to T",
         "0.1 in the exponent, as tr C is within 10 % at both ends"},
        {"exponential rate", Kind::erratum, "if the decay were exponential, at a rate of 1/100 or more",
         "tr C(T/10) e^(-0.9 T/100)"}}},
      {"finite integral",
       {{2, 20}, {1, 5}, {3, 5}, {8, 20}, {2, 100}},
       finite_integral,
       {{"e:finiteinegral", Kind::lemma, "sum_i int |x_i'|² dt <= (energy(0) - n²)/2",
         "n times all step allowances"}}}};
}

}  // namespace laboratory
