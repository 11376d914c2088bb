/// \file
/// Section 11.3: the experiment in 128 dimensions, with the equation as it stands.
#pragma once

#include "programs/theorems/beyond.hpp"

#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/attention/leaders.hpp>
#include <attnflow/prediction/invariant_basis.hpp>

namespace laboratory {

/// Section 11.3 with the equation as it stands: V symmetric and sparse, its small eigenvalues moved away from 0.
inline void high_dimension(Trial& trial) {
  const Index d = trial.d, n = trial.n;
  constexpr double h = 0.02;
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
  const attnflow::InvariantBasis coordinates = attnflow::invariant_basis((V + V.transpose()) / 2);
  const attnflow::LeadingEigenpair pair = attnflow::leading_eigenpair(coordinates.blocks);
  const attnflow::SpectralGap gap = attnflow::spectral_gap(pair);
  trial.exclude_if(gap.relative < 0.05, "spectral gap < 0.05 λ1");
  // Other coordinates count in the scores of the leaders like e^{−(λ₁ − |λ₂|)t}: wait until that is e⁻⁵ at T/2.
  const double T = std::max(15.0, 10 / gap.absolute);
  const Head<double> head{coordinates.basis, coordinates.basis, coordinates.blocks};
  const Rescaled field(head);
  const Matrix start = coordinates.inverse * trial.uniform_matrix(d, n, -0.5, 0.5);
  Matrix y = start;
  std::optional<Matrix> halfway;
  double half = 0;  // its time
  if (!integrate_equal_steps(AnyField::of(field), y, T, h, [&](double t, const Matrix& state) {
        if (!halfway && t > T / 2 - h / 2) {
          halfway = state;
          half = t;
        }
        return attnflow::Flow::proceed;
      }))
    throw std::runtime_error("the run did not reach its end");
  const Matrix P = field.attention(T, y), P_halfway = field.attention(half, *halfway);
  std::vector<Index> leader(static_cast<std::size_t>(n));
  const auto leader_of = [&](Index i) { return leader[static_cast<std::size_t>(i)]; };
  double given = 0;
  for (Index i = 0; i < n; ++i) {
    P_halfway.row(i).maxCoeff(&leader[static_cast<std::size_t>(i)]);
    given = std::max(given, given_to_others(P_halfway, i, leader_of(i)));
  }
  for (Index i = 0; i < n; ++i)
    trial.exclude_if(given > Decision::small || leader_of(leader_of(i)) != leader_of(i),
                     "a row still undecided at T/2");

  // A leader is an extreme of φ1* up to what the other coordinates may decide; nearer than that, two may lead.
  const Eigen::RowVectorXd c = pair.left * *halfway;
  const LeadingPart leading = leading_part(head, pair, half, *halfway);
  long sides = 0;
  for (const double sign : {1.0, -1.0}) {
    Index extreme = 0;
    const double most = (sign * c).maxCoeff(&extreme);
    if (most <= 0) continue;
    ++sides;
    for (Index i = 0; i < n; ++i)
      trial.exclude_if(
          leader_of(i) == i && i != extreme && sign * c(i) > 0 && most - sign * c(i) <= leading.tie(c(i)),
          "two leaders of one side that φ1* does not tell apart at T/2 yet");
  }
  std::vector<Index> growing;
  for (Index k = 0; k < d; ++k)
    if (coordinates.blocks(k, k) > 0) growing.push_back(k);
  const Matrix scaled = normalised_rows(y, start, growing);
  const attnflow::Clusters clusters = attnflow::detect_clusters(scaled, 1e-3);
  const attnflow::Leaders leaders = attnflow::leaders(P, clusters.labels, 1e-9);
  trial.check("128 dimensions, leaders", std::abs(static_cast<double>(leaders.count() - sides)), 0);
  Matrix merged = Matrix::Zero(n, clusters.count());
  for (Index j = 0; j < n; ++j) merged.col(clusters.labels[static_cast<std::size_t>(j)]) += P.col(j);
  trial.check("128 dimensions, rank",
              std::abs(static_cast<double>(attnflow::effective_rank(merged, 0.5).rank - sides)), 0);
  Index most = 0;
  for (Index k = 0; k < scaled.rows(); ++k)
    most = std::max(most, attnflow::detect_clusters(scaled.row(k), 1e-3).count());
  trial.check("128 dimensions, values", static_cast<double>(most), 2);
  // From T/2 on each row follows its leader, so the distance to it grows like e^{|λ_k|t}.
  const auto followed = [&](const Matrix& state, Index k) {
    double farthest = 0;
    for (Index i = 0; i < n; ++i)
      farthest = std::max(farthest, std::abs(state(k, i) - state(k, leader_of(i))));
    return farthest;
  };
  for (Index k = 0; k < d; ++k) {
    const double value = coordinates.blocks(k, k);
    if (value > 0) continue;
    const double before = followed(*halfway, k),
                 range = halfway->row(k).maxCoeff() - halfway->row(k).minCoeff();
    const double grown = std::log(followed(y, k) / before);
    trial.check("128 dimensions, growth", std::abs(grown / (-value * (T - half)) - 1),
                std::pow(-value * h, 4) + 4 * given * range / before);
  }
  trial.number("128 dimensions, leaders", "largest |z|", y.cwiseAbs().maxCoeff());
}

inline std::vector<Experiment> section_11() {
  return {{"high dimension",
           {{32, 32}, {64, 64}, {128, 128}},
           high_dimension,
           {{"128 dimensions, leaders", Kind::derived,
             "sec. 11.3, corrected (d = n = 32, 64, 128): two leaders, one for each sign of φ1*, "
             "by T = 15 or 10/(λ1 - |λ2|), what is later",
             "0, where all rows are decided at T/2, and φ1* alone tells the leaders apart"},
            {"128 dimensions, rank", Kind::derived, "rank of P is their number, equal tokens merged",
             "0; at 1/2"},
            {"128 dimensions, values", Kind::derived, "at most two values in every growing coordinate",
             "2, told apart at range/1000: λ_k >= 1, so followers are within e^(-T/2) = range/1800"},
            {"128 dimensions, growth", Kind::derived,
             "distances to the leaders grow at the rate |λ_k| in the others, from T/2 to T",
             "(h|λ_k|)^4 of the Runge-Kutta steps, and what rows give to others at T/2"}},
           16}};
}

}  // namespace laboratory
