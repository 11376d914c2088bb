/// \file
/// Section 11.3: the experiment in 128 dimensions, with the equation as it stands.
#pragma once

#include "beyond.hpp"

#include <attnflow/clustering/effective_rank.hpp>
#include <attnflow/clustering/leaders.hpp>
#include <attnflow/spectral/invariant_basis.hpp>

namespace laboratory {

/// Section 11.3 with the equation as it stands: V symmetric and sparse, its small eigenvalues moved away from 0.
inline void high_dimension(Trial& trial) {
  const Index d = trial.d, n = trial.n;
  constexpr double T = 15;
  Matrix S = Matrix::Zero(d, d);
  for (Index i = 0; i < d; ++i)
    for (Index j = 0; j < d; ++j)
      if (trial.uniform(0, 1) < 0.1) S(i, j) = trial.uniform(0, 1);
  S = (S + S.transpose()).eval() / 2;
  const attnflow::InvariantBasis first = attnflow::invariant_basis(S);
  Vector values = first.blocks.diagonal();
  for (double& value : values)
    if (std::abs(value) <= 1) value = (value < 0 ? -1 : 1) * trial.uniform(1, 2);
  const Matrix V = first.basis * values.asDiagonal() * first.basis.transpose();
  require_prediction(trial, Head<double>::with_value(V), attnflow::LimitCase::hyperplanes);
  trial.exclude_if(attnflow::spectral_gap(V).relative < 0.05, "spectral gap < 0.05 λ1");
  const attnflow::InvariantBasis coordinates = attnflow::invariant_basis((V + V.transpose()) / 2);
  const Rescaled field(Head<double>{coordinates.basis, coordinates.basis, coordinates.blocks});
  const Matrix start = coordinates.inverse * trial.uniform_matrix(d, n, -0.5, 0.5);
  Matrix y = start;
  std::optional<Matrix> halfway;
  if (!integrate_equal_steps(AnyField::of(field), y, T, 0.02, [&](double t, const Matrix& state) {
        if (!halfway && t > T / 2 - 0.01) halfway = state;
        return attnflow::Flow::proceed;
      }))
    throw std::runtime_error("the run did not reach its end");
  std::vector<Index> growing;
  for (Index k = 0; k < d; ++k)
    if (coordinates.blocks(k, k) > 0) growing.push_back(k);
  const Matrix scaled = normalised_rows(y, start, growing);
  const attnflow::Clusters clusters = attnflow::detect_clusters(scaled, 1e-3);
  const Matrix P = field.attention(T, y);
  const attnflow::Leaders leaders = attnflow::leaders(P, clusters.labels, 1e-9);
  trial.check("128 dimensions, leaders", std::abs(static_cast<double>(leaders.count()) - 2), 0);
  Matrix merged = Matrix::Zero(n, clusters.count());
  for (Index j = 0; j < n; ++j) merged.col(clusters.labels[static_cast<std::size_t>(j)]) += P.col(j);
  trial.check("128 dimensions, rank",
              std::abs(static_cast<double>(attnflow::effective_rank(merged, 0.5).rank) - 2), 0);
  Index most = 0;
  for (Index k = 0; k < scaled.rows(); ++k)
    most = std::max(most, attnflow::detect_clusters(scaled.row(k), 1e-3).count());
  trial.check("128 dimensions, values", static_cast<double>(most), 2);
  for (Index k = 0; k < d; ++k) {
    const double value = coordinates.blocks(k, k);
    if (value > 0) continue;
    const double grown = std::log(y.row(k).cwiseAbs().maxCoeff() / halfway->row(k).cwiseAbs().maxCoeff());
    trial.check("128 dimensions, growth", std::abs(grown / (-value * T / 2) - 1), 0.04);
  }
  trial.number("128 dimensions, leaders", "largest |z|", y.cwiseAbs().maxCoeff());
}

inline std::vector<Experiment> section_11() {
  return {
      {"high dimension",
       {{32, 32}, {64, 64}, {128, 128}},
       high_dimension,
       {{"128 dimensions, leaders", Kind::derived, "sec. 11.3, corrected (d = n = 32, 64, 128): two leaders",
         "0"},
        {"128 dimensions, rank", Kind::derived, "rank of P is 2, equal tokens merged", "0; at 1/2"},
        {"128 dimensions, values", Kind::derived, "at most two values in every growing coordinate",
         "2, told apart at range/1000"},
        {"128 dimensions, growth", Kind::derived, "the others grow at the rate |λ_k|, from T/2 to T", "4 %"}},
       20}};
}

}  // namespace laboratory
