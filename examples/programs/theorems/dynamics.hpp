/// \file
/// Section 1: the two forms of the dynamics, and the layers.
#pragma once

#include "programs/theorems/runs.hpp"

#include <attnflow/systems/layers.hpp>

#include <Eigen/LU>

namespace laboratory {

/// P as the paper defines it, in double loops: softmax over j of ⟨Q xᵢ, K xⱼ⟩.
inline Matrix attention_by_definition(const Head<double>& head, const Matrix& x) {
  const Index n = x.cols();
  Matrix P(n, n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) P(i, j) = (head.Q * x.col(i)).dot(head.K * x.col(j));
    P.row(i) = (P.row(i).array() - P.row(i).maxCoeff()).exp();
    P.row(i) /= P.row(i).sum();
  }
  return P;
}

/// Random weights with ‖Q‖_F = ‖K‖_F = size, ‖V‖_F = 1: none symmetric, nothing shared.
inline Head<double> generic_head(Trial& trial, double size = 1) {
  Head<double> head{trial.uniform_matrix(trial.d, trial.d), trial.uniform_matrix(trial.d, trial.d),
                    trial.uniform_matrix(trial.d, trial.d)};
  for (auto* W : {&head.Q, &head.K, &head.V}) W->normalize();
  head.Q *= size;
  head.K *= size;
  return head;
}

/// A bound of how fast two solutions part while tokens stay in B(0, R): the gradient of the drift in all tokens.
inline double parting_rate(const Head<double>& head, double R) {
  const double V = operator_norm(head.V), M = operator_norm(head.Q.transpose() * head.K);
  return V * (1 + 4 * M * R * R);
}

inline void two_forms(Trial& trial) {
  const Head<double> head = generic_head(trial);
  const Unrescaled tokens(head);
  const Rescaled rescaled(head);
  const Matrix start = trial.uniform_matrix(trial.d, trial.n) / std::sqrt(static_cast<double>(trial.d));
  const double t = trial.uniform(0.5, 1.0);
  const Path x = follow(tokens, start, t), z = follow(rescaled, start, t);
  const Matrix x_of_z = attnflow::unrescale(rescaled.exponential(), t, z.end());

  double R = 0;
  for (const Matrix& state : x.x) R = std::max(R, state.colwise().norm().maxCoeff());
  const double growth = std::exp(operator_norm(head.V) * t);
  trial.check("e:Rres, paths", (x_of_z - x.end()).cwiseAbs().maxCoeff(),
              2 * growth * std::exp(parting_rate(head, R) * t) * (x.total_allowance() + z.total_allowance()));

  const Matrix P = attention_by_definition(head, x_of_z);
  const double rounding = 32 * static_cast<double>(trial.d) * epsilon * (1 + R * R);
  trial.check("eq:P", (tokens.attention(t, x_of_z) - P).cwiseAbs().maxCoeff(), rounding);
  trial.check("eq:P, rescaled", (rescaled.attention(t, z.end()) - P).cwiseAbs().maxCoeff(),
              rounding * growth);
  Matrix drift;
  tokens(t, x_of_z, drift);
  trial.check("eq:trans_dyn", (drift - head.V * x_of_z * P.transpose()).cwiseAbs().maxCoeff(),
              rounding * R * static_cast<double>(trial.n));
  rescaled(t, z.end(), drift);
  const Matrix displacement = z.end() * P.transpose() - z.end();
  trial.check("e:Rres", (drift - head.V * displacement).cwiseAbs().maxCoeff(),
              rounding * growth * R * static_cast<double>(trial.n));
}

inline void antipodal_pair(Trial& trial) {
  const Head<double> head = generic_head(trial, 2);
  const Vector w = trial.uniform_matrix(trial.d, 1);
  Matrix x(trial.d, 2), drift;
  x << -w, w;
  const Unrescaled field(head);
  field(0, x, drift);
  const double score = w.dot(head.Q.transpose() * (head.K * w));
  trial.check("antipodal pair", (drift.col(1) - std::tanh(score) * (head.V * w)).norm(),
              32 * static_cast<double>(trial.d) * epsilon * (1 + std::abs(score)) * w.norm());
}

inline double some_step(Trial& trial) {
  constexpr double steps[] = {0.01, 0.1, 0.5, 1};
  return steps[static_cast<std::size_t>(trial.uniform(0, 4))];
}

inline void layers_and_rescaled_layers(Trial& trial) {
  const Head<double> head = generic_head(trial);
  const double step = some_step(trial);
  trial.exclude_if((identity(trial.d) + step * head.V).determinant() < 0.05, "det(I + step V) < 0.05");
  const attnflow::Layers<double> layers(head, step);
  const attnflow::RescaledLayers<double> rescaled(head, step);
  Matrix x = 0.5 * trial.uniform_matrix(trial.d, trial.n), z = x;
  double growth = 1, R = x.colwise().norm().maxCoeff();
  const double condition =
      std::max(1.0, operator_norm((identity(trial.d) + step * head.V).inverse()) * (1 + step));
  for (long k = 0; k < 6; ++k) {
    growth *= (1 + step * parting_rate(head, R)) * condition;
    layers.apply(x);
    rescaled.apply(k, z);
    R = std::max(R, x.colwise().norm().maxCoeff());
  }
  trial.check("r:discreterescaling", (rescaled.unrescale(6, z) - x).cwiseAbs().maxCoeff(),
              64 * static_cast<double>(trial.n + trial.d) * epsilon * R * growth);
}

/// V = I: hulls and errors of the rescaled layers, and of Euler steps of the rescaled equation.
inline void layers_contract(Trial& trial) {
  const Index d = trial.d;
  const Matrix A = trial.coin() ? identity(d) : positive_definite(trial, d);
  const Head<double> head{A, A, identity(d)};
  require_prediction(trial, head, d == 1 ? attnflow::LimitCase::boolean_line : attnflow::LimitCase::polytope);
  const Matrix start = trial.uniform_matrix(d, trial.n, -5, 5);
  const double step = some_step(trial), scale = 5 * std::sqrt(static_cast<double>(d));
  const Matrix U = attnflow::uniform_sphere(trial.generator, 32, d);
  const double rounding = 16 * static_cast<double>(d + trial.n) * epsilon * scale;

  const auto walk = [&](const char* hulls, const char* errors, double factor, const auto& apply,
                        const auto& P) {
    Matrix z = start;
    const long count = static_cast<long>(std::ceil(6 / step));
    for (long k = 0; k < count; ++k) {
      const Matrix weights = P(k, z), before = z;
      apply(k, z);
      trial.check(hulls,
                  ((U.transpose() * z).rowwise().maxCoeff() - (U.transpose() * before).rowwise().maxCoeff())
                      .maxCoeff(),
                  rounding);
      for (Index i = 0; i < trial.n; ++i) {
        Index l = 0, own = 0;
        weights.row(i).maxCoeff(&l);
        weights.row(l).maxCoeff(&own);
        const double rest = given_to_others(weights, i, l) + given_to_others(weights, l, l);
        const double distance = (before.col(i) - before.col(l)).norm();
        if (own != l || i == l || rest > 1e-3 || distance < 1e-3) continue;
        trial.check(errors, std::abs((z.col(i) - z.col(l)).norm() / distance - factor),
                    (2 * step * scale * rest + rounding) / distance);
      }
    }
  };
  const attnflow::RescaledLayers<double> layers(head, step);
  walk(
      "r:discreterescaling, hulls", "r:discreterescaling, errors", 1 / (1 + step),
      [&](long k, Matrix& z) { layers.apply(k, z); },
      [&](long k, const Matrix& z) { return layers.attention(k, z); });
  const Rescaled field(head);
  walk(
      "Euler on z, hulls", "Euler on z, errors", 1 - step,
      [&](long k, Matrix& z) {
        Matrix velocity;
        field(static_cast<double>(k) * step, z, velocity);
        z += step * velocity;
      },
      [&](long k, const Matrix& z) { return field.attention(static_cast<double>(k) * step, z); });
}

inline std::vector<Experiment> section_1() {
  const std::vector<Size> all{{1, 5}, {2, 20}, {3, 5}, {8, 20}, {2, 100}, {1, 20}, {3, 100}, {8, 5}};
  return {
      {"two forms",
       all,
       two_forms,
       {{"e:Rres, paths", Kind::theorem, "x = e^(tV) z for two independent integrations",
         "all step allowances, e^(‖V‖t) and e^(‖V‖(1 + 4‖M‖R²)t) for what the flow makes of them"},
        {"eq:P", Kind::derived, "P of the tokens x is the softmax of <Qx_i, Kx_j>", "32 d ε (1 + R²)"},
        {"eq:P, rescaled", Kind::theorem, "z at time t has the P of x = e^(tV) z",
         "32 d ε (1 + R²) e^(‖V‖t)"},
        {"eq:trans_dyn", Kind::derived, "drift x_i' = sum_j P_ij V x_j", "32 d ε (1 + R²) n R"},
        {"e:Rres", Kind::derived, "drift z_i' = sum_j P_ij V (z_j - z_i)", "32 d ε (1 + R²) n R e^(‖V‖t)"}}},
      {"antipodal pair",
       {{1, 2}, {2, 2}, {3, 2}, {8, 2}},
       antipodal_pair,
       {{"antipodal pair", Kind::derived, "x = (-w, w): w' = tanh(w'Mw) Vw", "32 d ε (1 + |w'Mw|) |w|"}}},
      {"layers",
       all,
       layers_and_rescaled_layers,
       {{"r:discreterescaling", Kind::theorem,
         "RescaledLayers is Layers seen from z = R^(-k) x, R = I + step V",
         "64 (n + d) ε R times the factor by which six layers and R^(-1) amplify"}}},
      {"layers, V = I",
       all,
       layers_contract,
       {{"r:discreterescaling, hulls", Kind::derived, "V = I: hulls of rescaled layers are nested, any step",
         "16 (d + n) ε 5 √d"},
        {"r:discreterescaling, errors", Kind::derived,
         "a Boolean row's distance to its leader contracts by 1/(1 + step) a layer",
         "rounding and what the row still gives to others, over the distance"},
        {"Euler on z, hulls", Kind::derived, "Euler steps of the z-equation: hulls nested for step <= 1",
         "16 (d + n) ε 5 √d"},
        {"Euler on z, errors", Kind::derived, "a Boolean row's distance contracts by 1 - step an Euler step",
         "rounding and what the row still gives to others, over the distance"}}}};
}

}  // namespace laboratory
