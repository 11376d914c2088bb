/// \file
/// Section 4: V = λI and M = QᵀK positive definite, where tokens go to the vertices of a polytope.
#pragma once

#include "dynamics.hpp"

#include <attnflow/clustering/effective_rank.hpp>
#include <attnflow/polytope/distance_to_hull.hpp>
#include <attnflow/polytope/limit_candidates.hpp>
#include <attnflow/polytope/merged_vertices.hpp>

namespace laboratory {

/// What the checks of sections 4 and 6 share: positions w in which V is λI, the form M that decides there, and who
/// follows whom.
struct PolytopeRun {
  Path w;
  Matrix M;
  double lambda;
  double step_error;  ///< what a step may add to the length of some wᵢ
  Decision decision;

  /// 2 diam e^{−λ(T − tᵢ)} and what the integrator may add while distances shrink.
  [[nodiscard]] double distance_allowed(double since) const {
    return 2 * diameter(w.start()) * std::exp(-lambda * (w.t.back() - since)) + 20 * step_error;
  }
};

/// Distances to the leaders, the leaders as vertices of the hull, their self-attention, the rank of P, the rate.
inline void check_polytope(Trial& trial, const PolytopeRun& run, const std::string& distance_label,
                           double self_allowed) {
  const Matrix& end = run.w.end();
  const Index n = end.cols();
  trial.skip(distance_label, run.decision.undecided());
  for (Index i = 0; i < n; ++i)
    if (run.decision.decided(i))
      trial.check(distance_label, (end.col(i) - end.col(run.decision.leader_of(i))).norm(),
                  run.distance_allowed(run.decision.since_of(i)));
  if (run.decision.undecided() > 0) return;  // the polytope is not known yet

  const std::vector<Index> leaders = run.decision.leaders();
  const double tolerance = 3 * run.distance_allowed(run.decision.last());
  const Matrix places = end(Eigen::placeholders::all_t(), leaders);
  trial.check("hull of the leaders", attnflow::hull_hausdorff(end, places),
              run.distance_allowed(run.decision.last()));
  if (smallest_separation(places) < 2 * tolerance) {  // followers are still as far as other leaders
    trial.count("leaders = vertices", "too early to tell leaders apart", 1);
    return;
  }
  const std::vector<Index> vertices = attnflow::merged_vertices(end, tolerance, leaders);
  const Matrix corners = end(Eigen::placeholders::all_t(), vertices);
  trial.check("leaders = vertices",
              std::abs(static_cast<double>(leaders.size()) - static_cast<double>(vertices.size())), 0);
  trial.check("vertex self-attention", attnflow::self_attention_residual(run.M, corners).maxCoeff(),
              self_allowed);
  trial.count("leaders = vertices", "vertices", static_cast<long>(vertices.size()));
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
  if (late > 100 * erred && duration > 1 / run.lambda)
    trial.check(
        "rate -λ", std::abs(std::log(early / late) / (run.lambda * duration) - 1),
        (2 * erred / late + 2 * Decision::small * diameter(run.w.x[k1]) / early * run.lambda * duration) /
            (run.lambda * duration));
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
  for (Index i = 0; i < n; ++i)
    if (run.decision.decided(i))
      trial.check("Boolean rows", given_to_others(run.decision.P, i, run.decision.leader_of(i)), 1e-6);

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
      distance.see(attnflow::distance_to_candidates(candidates, z.end().col(i)),
                   run.distance_allowed(run.decision.since_of(i)));
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
                  2 * diameter(z.start()) * std::exp(-rate * (z.t.back() - decision.since_of(i))) +
                      64 * static_cast<double>(last) * epsilon * diameter(z.start()));
  if (decision.undecided() > 0) return;
  const Matrix corners = z.end()(Eigen::placeholders::all_t(), decision.leaders());
  trial.check("r:discretetime, self-attention",
              attnflow::self_attention_residual(Matrix(A * A), corners).maxCoeff(), 1e-6);
}

inline std::vector<Experiment> section_4() {
  const std::vector<Size> all{{2, 20}, {3, 20},  {1, 5},   {8, 5}, {2, 100}, {3, 5},
                              {8, 20}, {1, 100}, {3, 100}, {2, 5}, {8, 100}, {1, 20}};
  const std::string distance =
      "2 diam e^(-λ(T - t_i)): from t_i on row i gives less than 1e-6 to others than its leader";
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
        {"leaders = vertices", Kind::derived, "as many leaders as vertices of the merged hull", "0"},
        {"rank = leaders", Kind::derived, "rank of P is the number of leaders",
         "0; a Boolean matrix has singular values >= 1, those under 1/2 count as 0"},
        {"Boolean rows", Kind::derived, "rows of P are Boolean at T", "1e-6"},
        {"rate -λ", Kind::derived, "distance to the leader has rate -λ",
         "step allowances over the distance, and 2e-6 of P"},
        {"almost monotone norm", Kind::derived, "|Az_i|² falls after t by at most (n - 1)e^(-2λt)/e",
         "that bound, and 4‖A‖²|z| step allowances"},
        {"e^(λt)|A(z_i - z_j)|", Kind::derived, "|A(x_i - x_j)| is non-decreasing",
         "4 ‖A‖ step allowances e^(λh)"}}},
      {"polytope of layers",
       all,
       polytope_of_layers,
       {{"r:discretetime", Kind::theorem, "rescaled layers: each z_i tends to its leader, step 1 and 0.1",
         "2 diam (1 + step)^(-(k - k_i)) and rounding of all layers"},
        {"r:discretetime, self-attention", Kind::theorem, "rescaled layers: leaders attend to themselves",
         "1e-6"}}}};
}

}  // namespace laboratory
