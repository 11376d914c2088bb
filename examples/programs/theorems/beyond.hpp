/// \file
/// Section 8: conjectures and open cases, reported as found.
#pragma once

#include "programs/theorems/hyperplanes.hpp"

#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/prediction/invariant_splitting.hpp>
#include <attnflow/systems/feed_forward.hpp>

#include <Eigen/LU>

#include <optional>
#include <stdexcept>

namespace laboratory {

/// The coordinates divided by their range at the start, of those rows that are wanted.
inline Matrix normalised_rows(const Matrix& y, const Matrix& start, const std::vector<Index>& rows) {
  Matrix out(static_cast<Index>(rows.size()), y.cols());
  for (std::size_t k = 0; k < rows.size(); ++k) {
    const Index row = rows[k];
    const double range = start.row(row).maxCoeff() - start.row(row).minCoeff();
    out.row(static_cast<Index>(k)) = y.row(row) / range;
  }
  return out;
}

/// Eigenvalues 1, some between low and high, some negative, in an orthogonal or an oblique basis; k ≥ 2 positive.
inline void codimension(Trial& trial, const std::string& label, double low, double high) {
  const Index d = trial.d, k = 2 + static_cast<Index>(trial.uniform(0, static_cast<double>(d - 1)));
  Vector values(d);
  values(0) = 1;
  for (Index e = 1; e < d; ++e) values(e) = e < k ? trial.uniform(low, high) : trial.uniform(-0.8, -0.1);
  const Matrix B = trial.coin() ? orthogonal(trial, d) : oblique(trial, d);
  const Matrix Q = trial.coin() ? identity(d) : trial.uniform_matrix(d, d);
  Head<double> head{Q, trial.coin() ? Q : trial.uniform_matrix(d, d), B * values.asDiagonal() * B.inverse()};
  const attnflow::GoodTriple good = attnflow::is_good_triple(head);
  trial.exclude_if(!good || good.hypotheses.back().margin < 1e-3, "<Qφ1, Kφ1> < 1e-3 ‖M‖");
  trial.margins_of(good.hypotheses);
  const attnflow::UnstableDimension unstable = attnflow::unstable_dimension(head.V);
  trial.exclude_if(unstable.dimension != k, "another number of positive eigenvalues");

  // In the coordinates of B growing parts cannot round the others away.
  const Rescaled field(Head<double>{head.Q * B, head.K * B, values.asDiagonal()});
  const Matrix start = B.inverse() * trial.uniform_matrix(d, trial.n, -5, 5);
  // While e^{2(λ1 − λ2)t} is moderate, tokens rest at vertices as if λ1 were multiple: wait for it to reach e⁴.
  const double gap = attnflow::spectral_gap(good.pair).absolute;
  const Matrix y = state_at(field, start, 14 / unstable.smallest_positive + 2 / gap);
  std::vector<Index> growing;
  for (Index e = 0; e < k; ++e) growing.push_back(e);
  const Index subspaces = attnflow::detect_clusters(normalised_rows(y, start, growing), 1e-3).count();
  trial.check(label, static_cast<double>(subspaces), 3);
  trial.count(label, "affine subspaces", subspaces);
}

/// V = I has k = d positive eigenvalues, so the subspaces are points.
inline void codimension_literally(Trial& trial) {
  const Rescaled field(Head<double>::identity(trial.d));
  const Matrix start = trial.uniform_matrix(trial.d, trial.n, -5, 5);
  const Matrix z = state_at(field, start, 14);
  const Index points = attnflow::detect_clusters(z, 1e-3 * diameter(start)).count();
  trial.check("c:codim, V = I", static_cast<double>(points), 3);
  trial.count("c:codim, V = I", "limit points", points);
}

/// How far tokens still move in the last fifth of a run, relative to the diameter of the start, and where they are.
/// Nothing if the integrator gave up.
struct Late {
  double moved = 0;
  Index clusters = 0;
  Matrix z;
};

inline std::optional<Late> look_late(const Rescaled& field, const Matrix& start, double T) {
  Late late{.moved = 0, .clusters = 0, .z = start};
  std::optional<Matrix> before;
  const attnflow::Report report = integrate_any(
      AnyField::of(field), late.z, T,
      [&](double t, const Matrix& state) {
        if (!before && t >= 0.8 * T) before = state;
        return attnflow::Flow::proceed;
      },
      1e-7, 40'000);
  if (report.outcome != attnflow::Outcome::reached_end || !before) return std::nullopt;
  const double size = diameter(start);
  late.moved = (late.z - *before).colwise().norm().maxCoeff() / size;
  late.clusters = attnflow::detect_clusters(late.z, 1e-3 * size).count();
  return late;
}

/// Converged is: less than 4 e^{−0.8 T} of the diameter was left to move from 0.8 T on, as with rate −1.
inline void report_late(Trial& trial, const char* label, const std::optional<Late>& late, double T) {
  if (late) {
    trial.check(label, late->moved, 100 * std::exp(-0.8 * T));
    trial.count(label, "clusters", late->clusters);
  } else {
    trial.count(label, "leaders change too fast to follow", 1);
  }
}

inline void generic_form(Trial& trial) {
  const Index d = trial.d;
  const double T = 14;
  const Matrix start = trial.uniform_matrix(d, trial.n, -5, 5);
  Head<double> head{identity(d), trial.uniform_matrix(d, d), identity(d)};
  const auto form = attnflow::definiteness(head.K);
  trial.margin("smallest eigenvalue of (M + M')/2", form.smallest);
  report_late(trial, form.largest < 0 ? "generic M, negative" : "generic M",
              look_late(Rescaled(head), start, T), T);
  if (d < 3) return;
  head.V(d - 1, d - 1) = -0.5;
  const auto late = look_late(Rescaled(head), start, T);
  if (!late) return trial.count("generic M, V paranormal", "leaders change too fast to follow", 1);
  std::vector<Index> inside;
  for (Index k = 0; k + 1 < d; ++k) inside.push_back(k);
  const Index points = attnflow::detect_clusters(normalised_rows(late->z, start, inside), 1e-3).count();
  trial.check("generic M, V paranormal", static_cast<double>(points), static_cast<double>(trial.n) / 2);
  trial.count("generic M, V paranormal", "points in F", points);
}

inline void complex_leading(Trial& trial) {
  constexpr double speeds[] = {0.2, 1, 3};
  const double omega = speeds[static_cast<std::size_t>(trial.uniform(0, 3))], T = 14;
  Head<double> head = Head<double>::identity(2);
  head.V << 1, -omega, omega, 1;
  const bool plain = trial.coin();
  if (!plain) head.Q = head.K = positive_definite(trial, 2);
  const Matrix start = trial.uniform_matrix(2, trial.n, -5, 5);
  report_late(trial, plain ? "V = I + ωJ, M = I" : "V = I + ωJ, M > 0", look_late(Rescaled(head), start, T),
              T);
}

inline void feed_forward(Trial& trial) {
  const Index d = trial.d, n = trial.n;
  const Head<double> head = Head<double>::with_value(
      d == 2 ? example_value(0) : example_value(1 + static_cast<int>(trial.uniform(0, 2))));
  const attnflow::LeadingEigenpair pair = attnflow::leading_eigenpair(head.V);
  const Rescaled attention(head);
  const Matrix start = trial.uniform_matrix(d, n, -5, 5), random = trial.uniform_matrix(d, d);
  const auto run = [&](const auto& sigma, const Matrix& W) {
    const attnflow::FeedForward field(attention, W, sigma);
    Matrix z = start;
    if (!integrate_equal_steps(AnyField::of(field), z, 10, 0.01, look_away))
      throw std::runtime_error("a feed-forward run did not reach its end");
    return z;
  };
  const auto levels = [&](const Matrix& z) {
    const Eigen::RowVectorXd c = pair.left * z;
    return attnflow::detect_clusters(c, 1e-2 * (c.maxCoeff() - c.minCoeff())).count();
  };
  const auto size = [](const Matrix& z) { return z.colwise().norm().maxCoeff(); };

  const Matrix relu = run(attnflow::Relu{}, identity(d));
  trial.check("fig: last, ReLU", static_cast<double>(levels(relu)), 3);
  trial.count("fig: last, ReLU", "levels of φ1*", levels(relu));
  trial.number("fig: last, ReLU", "largest level, times that of the start",
               (pair.left * relu).maxCoeff() / (pair.left * start).maxCoeff());
  const Matrix tanh = run(attnflow::Tanh{}, identity(d));
  trial.check("fig: last, tanh", size(tanh) / size(start), 0.05);
  trial.number("fig: last, tanh", "|z(T)| / |z(0)|", size(tanh) / size(start));
  trial.count("fig: last, tanh", "levels of φ1*", levels(tanh));
  const Matrix mixed = run(attnflow::Relu{}, random);
  trial.check("fig: last, ReLU and W", size(mixed) / size(start), 0.05);
  trial.number("fig: last, ReLU and W", "|z(T)| / |z(0)|", size(mixed) / size(start));
}

inline Matrix drift_of(const std::vector<Head<double>>& heads, const Matrix& x) {
  const Unrescaled field(heads);
  Matrix drift;
  field(0, x, drift);
  return drift;
}

inline void several_heads(Trial& trial) {
  const Index d = trial.d, n = trial.n;
  const Matrix x = trial.uniform_matrix(d, n, -2, 2);
  const Head<double> one = generic_head(trial, 2), other = generic_head(trial, 2);
  const std::size_t H = 2 + static_cast<std::size_t>(trial.uniform(0, 3));
  const double rounding = 64 * static_cast<double>(n + d) * epsilon * x.cwiseAbs().maxCoeff() *
                          (1 + x.squaredNorm() / static_cast<double>(n));
  const auto apart = [](const Matrix& a, const Matrix& b) { return (a - b).cwiseAbs().maxCoeff(); };
  Head<double> share = one;
  share.V /= static_cast<double>(H);
  trial.check("identical heads", apart(drift_of(std::vector<Head<double>>(H, share), x), drift_of({one}, x)),
              rounding);
  trial.check("permuted heads", apart(drift_of({one, other}, x), drift_of({other, one}, x)), rounding);
  Head<double> none = other;
  none.V.setZero();
  trial.check("zero head", apart(drift_of({one, none}, x), drift_of({one}, x)), rounding);
  Head<double> same = one, sum = one;
  same.V = other.V;
  sum.V += other.V;
  trial.check("heads of one P", apart(drift_of({one, same}, x), drift_of({sum}, x)), rounding);
  const Matrix by_definition = one.V * x * attention_by_definition(one, x).transpose() +
                               other.V * x * attention_by_definition(other, x).transpose();
  trial.check("sum over heads", apart(drift_of({one, other}, x), by_definition), rounding);

  // Two heads with positive entries: do the directions of tokens settle, and on how many?
  if (d == 1) return;
  std::vector<Head<double>> heads{one, other};
  for (auto& head : heads) head.V = trial.uniform_matrix(d, d, 0, 1) / static_cast<double>(d);
  Matrix state = x;
  const Unrescaled field(heads);
  const auto report = integrate_any(AnyField::of(field), state, 30, look_away, 1e-6, 20'000);
  if (report.outcome != attnflow::Outcome::reached_end) return;
  const Matrix directions = state.colwise().normalized();
  const Index found = attnflow::detect_clusters(directions, 1e-2).count();
  trial.check("two heads, directions", static_cast<double>(found), 3);
  trial.count("two heads, directions", "directions", found);
}

inline std::vector<Experiment> section_8() {
  const std::vector<Size> flat{{2, 20}, {3, 20}, {8, 20}, {2, 5}, {3, 100}, {8, 5}};
  const std::vector<Size> plane{{2, 20}, {2, 5}, {2, 40}};
  const std::string rate = "100 e^(-0.8 T): what rate -1 leaves of the diameter at 0.8 T";
  return {
      {"codimension",
       flat,
       [](Trial& trial) { codimension(trial, "c:codim", 0.5, 0.7); },
       {{"c:codim", Kind::conjecture,
         "k >= 2 positive eigenvalues, 1 and others in [0.5, 0.7]: at most three affine subspaces of "
         "codimension k",
         "3; told apart at range/1000, at T = 14/λ_min+ + 2/(λ1 - λ2)"}}},
      {"codimension, small gap",
       flat,
       [](Trial& trial) { codimension(trial, "c:codim, small gap", 0.7, 0.9); },
       {{"c:codim, small gap", Kind::conjecture,
         "the same with the others in [0.7, 0.9]: slow to leave the "
         "vertices that a multiple λ1 would have",
         "as above"}},
       2},
      {"codimension, V = I",
       {{2, 20}, {3, 20}, {2, 100}, {3, 100}},
       codimension_literally,
       {{"c:codim, V = I", Kind::erratum, "the conjecture read literally for V = I: at most three points",
         "3"}},
       2},
      {"generic M",
       {{2, 20}, {3, 20}, {8, 20}, {2, 5}, {3, 5}},
       generic_form,
       {{"generic M", Kind::conjecture, "V = I, M uniform in [-1, 1]: tokens converge, to few points", rate},
        {"generic M, negative", Kind::conjecture, "the same, (M + M')/2 negative definite", rate},
        {"generic M, V paranormal", Kind::conjecture, "V = diag(1, ..., 1, -1/2): few points in F",
         "half of n"}},
       2},
      {"complex leading eigenvalue",
       plane,
       complex_leading,
       {{"V = I + ωJ, M = I", Kind::conjecture, "'no clustering' is expected; counted is convergence", rate},
        {"V = I + ωJ, M > 0", Kind::conjecture, "the same, M positive definite", rate}},
       2},
      {"feed-forward",
       {{2, 20}, {3, 20}, {2, 5}},
       feed_forward,
       {{"fig: last, ReLU", Kind::conjecture, "caption: three hyperplanes (σ = ReLU, W = I)",
         "3 levels of φ1*, told apart at range/100"},
        {"fig: last, tanh", Kind::conjecture, "caption: collapse to 0 (σ = tanh, W = I)",
         "1/20 of the start at T = 10"},
        {"fig: last, ReLU and W", Kind::conjecture, "caption: collapse to 0 (σ = ReLU, W random)",
         "1/20 of the start at T = 10"}},
       2},
      {"several heads",
       {{1, 5}, {2, 20}, {3, 5}, {8, 20}},
       several_heads,
       {{"identical heads", Kind::derived, "H heads with V/H are one head", "64 (n + d) ε max|x| (1 + |x|²)"},
        {"permuted heads", Kind::derived, "the order of heads does not matter", "as above"},
        {"zero head", Kind::derived, "a head with V = 0 changes nothing", "as above"},
        {"heads of one P", Kind::derived, "heads of equal M are one head with the sum of V", "as above"},
        {"sum over heads", Kind::derived, "x_i' = sum_h sum_j P^h_ij V_h x_j, by the definition", "as above"},
        {"two heads, directions", Kind::conjecture,
         "two heads with positive V: directions of x settle on few", "3"}}}};
}

}  // namespace laboratory
