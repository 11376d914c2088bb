/// \file
/// Section 2: growth, the mean field and its a-priori bounds, stability.
#pragma once

#include "programs/theorems/dynamics.hpp"

#include <attnflow/observables/tokens/wasserstein.hpp>

namespace laboratory {

/// n tokens in the ball B(0, R), more of them near its boundary than inside.
inline Matrix ball(Trial& trial, Index n, double R) {
  Matrix x = attnflow::uniform_sphere(trial.generator, n, trial.d);
  for (Index i = 0; i < n; ++i) x.col(i) *= R * std::sqrt(trial.uniform(0, 1));
  return x;
}

/// X[μ](x) for μ the empirical measure of y, by the definition.
inline Vector attention_field_by_definition(const Head<double>& head, const Matrix& y, const Vector& x) {
  Vector weights(y.cols());
  const Vector query = head.Q * x;
  for (Index j = 0; j < y.cols(); ++j) weights(j) = query.dot(head.K * y.col(j));
  weights = (weights.array() - weights.maxCoeff()).exp();
  return head.V * (y * weights) / weights.sum();
}

/// Another measure on B(0, R): independent of x, or x moved a little.
inline Matrix neighbour(Trial& trial, const Matrix& x, double R) {
  if (trial.coin()) return ball(trial, x.cols(), R);
  const double share = std::pow(10, trial.uniform(-6, -1));
  return (1 - share) * x + share * ball(trial, x.cols(), R);
}

inline void growth(Trial& trial) {
  const Head<double> head = generic_head(trial);
  const Path x = follow(Unrescaled(Head<double>(head)), trial.uniform_matrix(trial.d, trial.n, -2, 2), 3);
  const double V = operator_norm(head.V), R = x.start().colwise().norm().maxCoeff();
  double erred = 0;
  for (std::size_t k = 1; k < x.size(); ++k) {
    const double bound = R * std::exp(V * x.t[k]);
    erred = erred * std::exp(V * (x.t[k] - x.t[k - 1])) + 2 * length_allowance(x.x[k]);
    trial.check("p:wellposedparticles, growth", x.x[k].colwise().norm().maxCoeff() - bound, erred);
  }
}

inline void mean_field(Trial& trial) {
  const Head<double> head = generic_head(trial, trial.uniform(0.5, 2));
  const double R = trial.uniform(0.3, 2), V = operator_norm(head.V);
  const double M = operator_norm(head.Q.transpose() * head.K);
  const double kappa = operator_norm(head.Q) * operator_norm(head.K);
  const Matrix mu = ball(trial, trial.n, R);
  const Matrix nu = neighbour(trial, mu, R);
  const double distance = attnflow::wasserstein2(mu, nu).distance;
  const double rounding = 64 * static_cast<double>(trial.d + trial.n) * epsilon * V * R * (1 + M * R * R);
  for (int k = 0; k < 40; ++k) {
    const Vector x = ball(trial, 1, k % 2 == 0 ? R : 10 * R);
    const Vector y = x + ball(trial, 1, k % 4 < 2 ? R : 1e-4 * R);
    const Vector at_x = attention_field_by_definition(head, mu, x);
    trial.check("e:bddinx", at_x.norm() - V * R, rounding);
    const double change = (attention_field_by_definition(head, mu, y) - at_x).norm(), apart = (x - y).norm();
    trial.check("e:lipinx", change - 2 * M * V * R * R * apart, rounding);
    trial.check("e:lipinx, constant 1", change - M * V * R * R * apart, rounding);
    if (k % 2 == 0) {
      const Vector moved = attention_field_by_definition(head, nu, x);
      trial.check(
          "e:lipinmu",
          (moved - at_x).norm() - std::exp(2 * kappa * R * R) * V * (1 + 2 * kappa * R * R) * distance,
          rounding);
    }
  }
}

inline void stability(Trial& trial) {
  const Head<double> head = generic_head(trial);
  constexpr double R = 0.5, T = 0.5;
  const double V = operator_norm(head.V), M = operator_norm(head.Q.transpose() * head.K);
  const double kappa = operator_norm(head.Q) * operator_norm(head.K);
  const double reach = R * std::exp(V * T), s = reach * reach;
  // Along the flow tokens stay in B(0, reach); matched tokens part at most at Lip_x + Lip_mu, and W2 with them.
  const double C = 2 * M * V * s + std::exp(2 * kappa * s) * V * (1 + 2 * kappa * s);
  const Matrix x = ball(trial, trial.n, R), y = neighbour(trial, x, R);
  const Unrescaled field(head);
  const Path one = follow(field, x, T), other = follow(field, y, T);
  const double erred = std::exp(C * T) * (one.total_allowance() + other.total_allowance());
  trial.check("e:w2estimate",
              attnflow::wasserstein2(one.end(), other.end()).distance -
                  std::exp(C * T) * attnflow::wasserstein2(x, y).distance,
              erred);
}

/// Tokens with, in a last row, the integrals of ⟨∇g(xᵢ), X[μ_s](xᵢ)⟩ along their paths, where g(x) = cos⟨u, x⟩ and
/// the field of the integrand is that of the definition.
struct WeakForm {
  using State = Matrix;
  const Unrescaled& tokens;
  const Head<double>& head;
  Vector u;
  void operator()(double t, const Matrix& x, Matrix& dx) const {
    const Index d = u.size();
    const Matrix only = x.topRows(d);
    Matrix drift;
    tokens(t, only, drift);
    dx.resize(x.rows(), x.cols());
    dx.topRows(d) = drift;
    for (Index i = 0; i < x.cols(); ++i) {
      const Vector own = only.col(i);
      dx(d, i) = -std::sin(u.dot(own)) * u.dot(attention_field_by_definition(head, only, own));
    }
  }
};

inline void weak_form(Trial& trial) {
  const Head<double> head = generic_head(trial);
  const Unrescaled tokens(head);
  const WeakForm field{tokens, head, trial.uniform_matrix(trial.d, 1)};
  Matrix start = Matrix::Zero(trial.d + 1, trial.n);
  start.topRows(trial.d) = trial.uniform_matrix(trial.d, trial.n, -2, 2);
  const Path path = follow(field, start, 2);
  const auto mean_g = [&](const Matrix& x) {
    double sum = 0;
    for (Index i = 0; i < trial.n; ++i) sum += std::cos(field.u.dot(x.col(i).head(trial.d)));
    return sum / static_cast<double>(trial.n);
  };
  const double change = mean_g(path.end()) - mean_g(path.start());
  trial.check("d:solconti", std::abs(change - path.end().row(trial.d).mean()),
              2 * (1 + field.u.norm()) * path.total_allowance());
}

inline std::vector<Experiment> section_2() {
  const std::vector<Size> all{{1, 5}, {2, 20}, {3, 5}, {8, 20}, {2, 100}, {1, 20}, {3, 100}, {8, 5}};
  return {{"growth",
           all,
           growth,
           {{"p:wellposedparticles, growth", Kind::theorem, "|x_i(t)| <= e^(‖V‖t) max_j |x_j(0)|",
             "step allowances, grown by e^(‖V‖t)"}}},
          {"mean field",
           all,
           mean_field,
           {{"e:bddinx", Kind::lemma, "|X[μ](x)| <= ‖V‖R for all x, supp μ in B(0, R)",
             "64 (d + n) ε ‖V‖R (1 + ‖M‖R²)"},
            {"e:lipinx", Kind::lemma, "X[μ] is Lipschitz in x with constant 2‖M‖‖V‖R²", "rounding, as above"},
            {"e:lipinx, constant 1", Kind::derived, "the factor 2 can be 1", "rounding, as above"},
            {"e:lipinmu", Kind::lemma, "Lipschitz in μ for W2 with e^(2κR²)‖V‖(1 + 2κR²), κ = ‖Q‖‖K‖",
             "rounding, as above"}}},
          {"stability",
           {{1, 5}, {2, 20}, {3, 5}, {2, 5}, {3, 20}, {8, 20}, {8, 100}},
           stability,
           {{"e:w2estimate", Kind::theorem, "W2(μ_t, ν_t) <= e^(Ct) W2(μ_0, ν_0), R = T = 1/2",
             "all step allowances, e^(Ct) for their growth"}}},
          {"weak form",
           {{1, 5}, {2, 20}, {3, 5}, {8, 20}, {1, 20}, {3, 100}},
           weak_form,
           {{"d:solconti", Kind::theorem, "empirical measures solve the weak form, test function cos<u, x>",
             "all step allowances, (1 + |u|) for the slope of g"}}}};
}

}  // namespace laboratory
