/// \file
/// Section 4: V = λI and M = QᵀK positive definite, where tokens go to the vertices of a polytope.
#pragma once

#include "programs/theorems/dynamics.hpp"

#include <attnflow/geometry/distance_to_hull.hpp>
#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/prediction/limit_candidates.hpp>
#include <attnflow/prediction/merged_vertices.hpp>

namespace laboratory {

/// What the checks of sections 4 and 6 share: positions w in which V is λI, the form M that decides there, and who
/// follows whom.
struct PolytopeRun {
  Path w;
  Matrix M;
  double lambda;
  double step_error;  ///< what a step may add to the length of some wᵢ
  Decision decision;

  /// How far a token may be from its leader at the end: 2 diam e^{−λ(T − tᵢ)}, what its row still gives to others,
  /// and what the integrator may add while distances shrink.
  [[nodiscard]] double distance_allowed(Index i) const {
    return decision.left_of(i, lambda, diameter(w.start())) + 20 * step_error;
  }
};

/// How far each of these points, at least, lies beyond the hull of the others: v beyond ⟨Mv, ·⟩ ≤ max_k ⟨Mv, v_k⟩.
/// Negative where a point attends more to another one than to itself.
inline double exposure(const Matrix& M, const Matrix& points) {
  double least = infinity;
  for (Index v = 0; v < points.cols(); ++v) {
    const Vector normal = M * points.col(v);
    for (Index k = 0; k < points.cols(); ++k)
      if (k != v) least = std::min(least, normal.dot(points.col(v) - points.col(k)) / normal.norm());
  }
  return least;
}

/// Distances to the leaders, the leaders as vertices of the hull, their self-attention, the rank of P, the rate.
inline void check_polytope(Trial& trial, const PolytopeRun& run, const std::string& distance_label,
                           double self_allowed) {
  const Matrix& end = run.w.end();
  const Index n = end.cols();
  trial.skip(distance_label, run.decision.undecided());
  double farthest_allowed = 0;
  for (Index i = 0; i < n; ++i) {
    if (!run.decision.decided(i)) continue;
    trial.check(distance_label, (end.col(i) - end.col(run.decision.leader_of(i))).norm(),
                run.distance_allowed(i));
    farthest_allowed = std::max(farthest_allowed, run.distance_allowed(i));
  }
  if (run.decision.undecided() > 0) {  // the polytope is not known yet
    for (const char* label :
         {"hull of the leaders", "vertex self-attention", "leaders = vertices", "rank = leaders", "rate -λ"})
      trial.leave_out(label, "a row still undecided at T");
    return;
  }

  const std::vector<Index> leaders = run.decision.leaders();
  const double tolerance = 3 * farthest_allowed;
  const Matrix places = end(Eigen::placeholders::all_t(), leaders);
  trial.check("hull of the leaders", attnflow::hull_hausdorff(end, places), farthest_allowed);
  trial.check("vertex self-attention", attnflow::self_attention_residual(run.M, places).maxCoeff(),
              self_allowed);
  // A leader attends most to itself, so it is exposed; by how much, its scores say. Followers are up to a third of
  // the tolerance away, so leaders exposed by twice the tolerance are told apart from them and from each other.
  if (exposure(run.M, places) < 2 * tolerance) {
    trial.leave_out("leaders = vertices", "a leader exposed by less than followers may be away");
  } else {
    const auto vertices = static_cast<long>(attnflow::merged_vertices(end, tolerance, leaders).size());
    trial.check("leaders = vertices",
                std::abs(static_cast<double>(leaders.size()) - static_cast<double>(vertices)), 0);
    trial.count("leaders = vertices", "vertices", vertices);
  }
  trial.check("rank = leaders",
              std::abs(static_cast<double>(attnflow::effective_rank(run.decision.P, 0.5).rank) -
                       static_cast<double>(leaders.size())),
              0);

  const std::size_t k1 = run.w.at(run.decision.last()), k2 = run.w.at(run.decision.last() + 6 / run.lambda);
  const double duration = run.w.t[k2] - run.w.t[k1];
  Index farthest = 0;
  double late = 0;
  for (Index i = 0; i < n; ++i) {
    const double distance = (run.w.x[k2].col(i) - run.w.x[k2].col(run.decision.leader_of(i))).norm();
    if (distance > late) {
      late = distance;
      farthest = i;
    }
  }
  const Index leader = run.decision.leader_of(farthest);
  const double early = (run.w.x[k1].col(farthest) - run.w.x[k1].col(leader)).norm();
  const double erred = static_cast<double>(k2 - k1) * run.step_error;
  const double strayed =
      diameter(run.w.x[k1]) * run.decision.strayed(farthest, run.lambda, run.w.t[k1], run.w.t[k2]);
  if (late > 100 * erred && duration > 1 / run.lambda)
    trial.check("rate -λ", std::abs(std::log(early / late) / (run.lambda * duration) - 1),
                2 * (erred + strayed) / late / (run.lambda * duration));
  else
    trial.leave_out("rate -λ", "decided too late, or too near, to measure a rate");
}

inline void polytope(Trial& trial) {
  const Index d = trial.d, n = trial.n;
  const Matrix A = trial.coin() ? identity(d) : positive_definite(trial, d), M = A * A;
  const double lambda = trial.coin() ? 1 : trial.uniform(0.5, 2);
  const Head<double> head{A, A, lambda * identity(d)};
  require_prediction(trial, head, d == 1 ? attnflow::LimitCase::boolean_line : attnflow::LimitCase::polytope);
  const Rescaled field(head);
  const double T = 16 / lambda;
  const Path z = follow(field, trial.uniform_matrix(d, n, -5, 5), T);
  const PolytopeRun run{z, M, lambda, 2 * length_allowance(z.start()), decide(field, z, 0.25 / lambda)};

  trial.check("p:noninc", support_growth(trial, z));
  for (const double share : {0.1, 0.5, 1.0}) {
    const std::size_t k = z.at(share * T), before = k / 2;
    trial.check("p:noninc, hulls", attnflow::hull_hausdorff(z.x[k], z.x[before]), 2 * z.total_allowance());
    trial.check("c:theziunifbdd", attnflow::hull_hausdorff(z.x[k], z.start()), 2 * z.total_allowance());
  }
  check_polytope(trial, run, "t:Idcase11", 1e-6);
  // For xᵢ = e^{λs}x_l − (x_l − xᵢ) all exponents ⟨Axᵢ, A(x_l − x_j)⟩, 13.8 and more at s = 0, grow by e^{λs} or more.
  if (const double last = run.decision.last(); run.decision.undecided() > 0 || lambda * (T - last) < 2) {
    trial.leave_out("Boolean rows", "a row still undecided at T - 2/λ");
  } else {
    const std::size_t later = z.at(last + 2 / lambda);
    const Matrix P = field.attention(z.t[later], z.x[later]);
    const double exponent = std::exp(lambda * (z.t[later] - last)) / 2;
    for (Index i = 0; i < n; ++i)
      trial.check("Boolean rows", given_to_others(P, i, run.decision.leader_of(i)),
                  static_cast<double>(n) * std::pow(Decision::small, exponent));
  }

  // Backwards: how far ‖Azᵢ‖² falls after each time; and ‖A(zᵢ − zⱼ)‖ e^{λt} step by step.
  const double norm = operator_norm(A);
  Vector least = Vector::Constant(n, infinity);
  Worst drop, apart;
  double erred = 0;
  for (std::size_t k = z.size(); k-- > 0;) {
    const Matrix y = A * z.x[k];
    const Vector square = y.colwise().squaredNorm();
    least = least.cwiseMin(square);
    erred += 4 * norm * norm * z.x[k].colwise().norm().maxCoeff() * length_allowance(z.x[k]);
    drop.see((square - least).maxCoeff(),
             static_cast<double>(n - 1) * std::exp(-2 * lambda * z.t[k] - 1) + erred);
    if (k == 0 || k % 2 == 1) continue;
    const double grown = std::exp(lambda * (z.t[k] - z.t[k - 1])),
                 allowed = 4 * norm * length_allowance(z.x[k]) * grown;
    const Matrix before = A * z.x[k - 1];
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < i; ++j)
        apart.see((before.col(i) - before.col(j)).norm() - grown * (y.col(i) - y.col(j)).norm(), allowed);
  }
  trial.check("almost monotone norm", drop);
  trial.check("e^(λt)|A(z_i - z_j)|", apart);

  if (d <= 3 && run.decision.undecided() == 0) {
    const Matrix corners = z.end()(Eigen::placeholders::all_t(), run.decision.leaders());
    const auto candidates = attnflow::limit_candidates(M, corners, 1e-6);
    Worst distance;
    for (Index i = 0; i < n; ++i)
      distance.see(attnflow::distance_to_candidates(candidates, z.end().col(i)), run.distance_allowed(i));
    trial.check("t:Idcase11, S", distance);
    trial.count("t:Idcase11, S", "|S| - |V|", candidates.points.cols() - corners.cols());
  }
}

/// The layers: the same with (1 + step λ)^k for e^{λt}.
inline void polytope_of_layers(Trial& trial) {
  const Index d = trial.d;
  const Matrix A = trial.coin() ? identity(d) : positive_definite(trial, d);
  const double step = trial.coin() ? 1 : 0.1, rate = std::log1p(step);
  const Head<double> head{A, A, identity(d)};
  require_prediction(trial, head, d == 1 ? attnflow::LimitCase::boolean_line : attnflow::LimitCase::polytope);
  const attnflow::RescaledLayers<double> layers(head, step);
  Path z;  // time counts layers, so the rate is log(1 + step)
  Matrix state = trial.uniform_matrix(d, trial.n, -5, 5);
  const long last = static_cast<long>(std::ceil(16 / rate));
  for (long k = 0; k <= last; ++k) {
    z.t.push_back(static_cast<double>(k));
    z.x.push_back(state);
    layers.apply(k, state);
  }
  const auto attention = [&](double k, const Matrix& x) { return layers.attention(std::lround(k), x); };
  const Decision decision = decide(attention, z, step == 1 ? 1 : 2);
  trial.skip("r:discretetime", decision.undecided());
  for (Index i = 0; i < trial.n; ++i)
    if (decision.decided(i))
      trial.check("r:discretetime", (z.end().col(i) - z.end().col(decision.leader_of(i))).norm(),
                  decision.left_of(i, rate, diameter(z.start())) +
                      64 * static_cast<double>(last) * epsilon * diameter(z.start()));
  if (decision.undecided() > 0)
    return trial.leave_out("r:discretetime, self-attention", "a row still undecided at the last layer");
  const Matrix corners = z.end()(Eigen::placeholders::all_t(), decision.leaders());
  trial.check("r:discretetime, self-attention",
              attnflow::self_attention_residual(Matrix(A * A), corners).maxCoeff(), 1e-6);
}

inline std::vector<Experiment> section_4() {
  const std::vector<Size> all{{2, 20}, {3, 20},  {1, 5},   {8, 5}, {2, 100}, {3, 5},
                              {8, 20}, {1, 100}, {3, 100}, {2, 5}, {8, 100}, {1, 20}};
  const std::string distance =
      "2 diam e^(-λ(T - t_i)): from t_i on row i gives less than 1e-6 to others than its leader; and "
      "what it gives them, times diam";
  return {
      {"polytope",
       all,
       polytope,
       {{"p:noninc", Kind::lemma,
         "V = λI, M > 0: support functions of the hull do not increase (32 directions)",
         "2 √d (rtol max|z| + atol), what the integrator allows a step"},
        {"p:noninc, hulls", Kind::lemma, "later tokens lie in earlier hulls (nearest point)",
         "all step allowances"},
        {"c:theziunifbdd", Kind::lemma, "z_i(t) in conv z(0)", "all step allowances"},
        {"t:Idcase11", Kind::theorem, "each z_i tends to a point of S: the vertex of its leader", distance},
        {"t:Idcase11, S", Kind::theorem, "distance to the computed S of the limit polytope (d <= 3)",
         distance},
        {"hull of the leaders", Kind::theorem, "conv z(t) -> K, the hull of the leaders", distance},
        {"vertex self-attention", Kind::theorem, "V in S: max_k <Mv, v_k>/<Mv, v> <= 1",
         "1e-6: the vertices are exact to e^(-λT) = 1e-7"},
        {"leaders = vertices", Kind::derived,
         "as many leaders as vertices of the merged hull, if each <Mv, v> exceeds all <Mv, v_k> by what "
         "merges",
         "0"},
        {"rank = leaders", Kind::derived, "rank of P is the number of leaders",
         "0; a Boolean matrix has singular values >= 1, those under 1/2 count as 0"},
        {"Boolean rows", Kind::derived,
         "once all rows give 1e-6 to others, they become Boolean double exponentially: 2/λ later",
         "n (1e-6)^(e²/2): exponents grow at least like e^(λt); half of that, as rows were not Boolean "
         "before"},
        {"rate -λ", Kind::derived, "distance to the leader has rate -λ",
         "step allowances and what rows give to others, over the distance"},
        {"almost monotone norm", Kind::derived, "|Az_i|² falls after t by at most (n - 1)e^(-2λt)/e",
         "that bound, and 4‖A‖²|z| step allowances"},
        {"e^(λt)|A(z_i - z_j)|", Kind::derived, "|A(x_i - x_j)| is non-decreasing",
         "4 ‖A‖ step allowances e^(λh)"}}},
      {"polytope of layers",
       all,
       polytope_of_layers,
       {{"r:discretetime", Kind::theorem, "rescaled layers: each z_i tends to its leader, step 1 and 0.1",
         "2 diam (1 + step)^(-(k - k_i)), what rows give to others, and rounding of all layers"},
        {"r:discretetime, self-attention", Kind::theorem, "rescaled layers: leaders attend to themselves",
         "1e-6"}}}};
}

}  // namespace laboratory
