/// \file
/// Section 6: V = λI on a subspace ℱ and smaller on its complement 𝒢, M positive definite: polytope × subspace.
#pragma once

#include "programs/theorems/polytope.hpp"

#include <attnflow/numerics/matrix_exponential.hpp>
#include <attnflow/prediction/good_triple.hpp>

#include <Eigen/LU>

namespace laboratory {

inline void multiplicity(Trial& trial) {
  const Index d = trial.d, n = trial.n, m = d == 3 ? 2 : 2 + static_cast<Index>(trial.uniform(0, 2));
  const double lambda = trial.coin() ? 1 : trial.uniform(0.5, 2), T = 12 / lambda;
  Vector values = Vector::Constant(d, lambda);
  for (Index k = m; k < d; ++k) values(k) = lambda * trial.uniform(-0.6, 0.4);
  const double which = trial.uniform(0, 3);
  const Matrix B = which < 1 ? identity(d) : which < 2 ? orthogonal(trial, d) : oblique(trial, d);
  const Matrix V = which < 1 ? Matrix(values.asDiagonal()) : Matrix(B * values.asDiagonal() * B.inverse());
  Matrix A = trial.uniform(0, 3) < 1 ? identity(d) : positive_definite(trial, d);
  const Matrix C = trial.uniform_matrix(d, d);
  if (trial.coin()) A = C * C.transpose() + 0.05 * identity(d);  // couples F and 𝒢 strongly
  const Matrix M = A * A;
  const Head<double> head{A, A, V};
  require_prediction(trial, head, attnflow::LimitCase::polytope_times_subspace);
  const attnflow::ParanormalSplitting paranormal = attnflow::paranormal_splitting(V);
  const Matrix& F = paranormal.splitting.inside;
  const Matrix& dual = paranormal.splitting.inside_dual;

  // Half of the draws are integrated in the basis B, where the growing 𝒢-part cannot round the others.
  const bool in_basis = trial.coin();
  const Rescaled field(in_basis ? Head<double>{A * B, A * B, values.asDiagonal()} : head);
  const Matrix start = trial.uniform_matrix(d, n, -5, 5);
  Path y = follow(field, in_basis ? Matrix(B.inverse() * start) : start, T);
  Decision decision = decide(field, y, 0.25 / lambda);
  double size = 0, step_error = 0;
  for (const Matrix& state : y.x)
    size = std::max(size, allowance(in_basis ? Matrix(state.topRows(m)) : state));
  step_error = 2 * size * (in_basis ? operator_norm(dual * B.leftCols(m)) : operator_norm(dual)) *
               std::sqrt(static_cast<double>(d));
  Path w = y;
  Matrix z = y.end();
  if (in_basis) z = B * z;
  for (Matrix& state : w.x) state = dual * (in_basis ? Matrix(B * state) : state);
  const PolytopeRun run{w, F.transpose() * M * F, lambda, step_error, std::move(decision)};

  const Matrix U = attnflow::uniform_sphere(trial.generator, 32, m);
  Worst growth;
  for (std::size_t k = 1; k < w.size(); ++k)
    growth.see(
        ((U.transpose() * w.x[k]).rowwise().maxCoeff() - (U.transpose() * w.x[k - 1]).rowwise().maxCoeff())
            .maxCoeff(),
        step_error);
  trial.check("t:multiplicity, hulls", growth);

  // The row of a leader is decided by all of its score; what 𝒢 has in it is left over at time T.
  const Matrix tokens = attnflow::MatrixExponential<>(V - lambda * identity(d))(T).plain() * z;
  const Matrix inside = F * w.end();
  const std::vector<Index> leaders = run.decision.leaders();
  double left_over = 0, printed = 0;
  const Matrix projected = F * dual * A * inside;
  for (const Index v : leaders)
    for (const Index k : leaders) {
      const double own = inside.col(v).dot(M * inside.col(v));
      const double full = tokens.col(v).dot(M * (tokens.col(k) - tokens.col(v)));
      const double part = inside.col(v).dot(M * (inside.col(k) - inside.col(v)));
      left_over = std::max(left_over, std::abs(full - part) / own);
      printed =
          std::max(printed, projected.col(v).dot(projected.col(k)) / projected.col(v).squaredNorm() - 1);
    }
  check_polytope(trial, run, "t:multiplicity", 1e-6 + left_over);
  if (run.decision.undecided() > 0)
    return trial.leave_out("e:boundrj, S as printed", "a row still undecided at T");
  trial.check("e:boundrj, S as printed", printed, 1e-6 + left_over);
  trial.number("e:boundrj, S as printed", "violation of self-attention", printed);
}

inline std::vector<Experiment> section_6() {
  const std::vector<Size> sizes{{3, 20}, {8, 20}, {3, 5}, {3, 100}, {8, 100}, {8, 5}};
  const std::string distance =
      "2 diam e^(-λ(T - t_i)): from t_i on row i gives less than 1e-6 to others than its leader; and "
      "what it gives them, times diam";
  return {{"multiplicity",
           sizes,
           multiplicity,
           {{"t:multiplicity, hulls", Kind::lemma,
             "π_F conv z(t) is non-increasing (oblique splittings, too)", "2 √d ‖dual‖ (rtol max|z| + atol)"},
            {"t:multiplicity", Kind::theorem, "π_F z_i tends to the vertex of its leader in ∂K", distance},
            {"hull of the leaders", Kind::theorem, "π_F conv z(t) -> K, the hull of the leaders", distance},
            {"vertex self-attention", Kind::derived, "vertices attend to themselves in the form M_F = M on F",
             "1e-6 and what the G-part still has in the scores, computed"},
            {"leaders = vertices", Kind::derived,
             "as many leaders as vertices of the merged hull, if each <M_F v, v> exceeds all <M_F v, v_k> "
             "by what merges",
             "0"},
            {"rank = leaders", Kind::derived, "rank of P is the number of leaders", "0, at 1/2"},
            {"rate -λ", Kind::derived, "distance to the leader in F has rate -λ",
             "step allowances and what rows give to others, over the distance"},
            {"e:boundrj, S as printed", Kind::erratum,
             "vertices attend to themselves in the printed form <π_F Av, π_F Av_k>", "as for M_F"}}}};
}

}  // namespace laboratory
