/// \file
/// Section 5: good triples, where tokens go to parallel hyperplanes.
#pragma once

#include "programs/theorems/dynamics.hpp"

#include <attnflow/numerics/matrix_exponential.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/prediction/good_triple.hpp>
#include <attnflow/prediction/spectrum.hpp>

#include <Eigen/LU>

#include <complex>
#include <numbers>

namespace laboratory {

/// The example matrices of the authors' scripts, and the symmetric one of the codimension conjecture.
inline Matrix example_value(int which) {
  if (which == 0) return (Matrix(2, 2) << .64709742, .81911926, .61210449, .63263484).finished();
  if (which == 1)
    return (Matrix(3, 3) << .2362413, .0599536, .40506019, .81321448, .49948705, .33754772, .2160645,
            .38505272, .14588075)
        .finished();
  if (which == 2)
    return (Matrix(3, 3) << .18608476, .34391026, .13905949, .35244288, .6694859, .39992145, .46685606,
            .17094454, .42092308)
        .finished();
  return (Matrix(3, 3) << .92761287, .94333073, .3827744, .94333073, .59991396, .47825472, .3827744,
          .47825472, .46668605)
      .finished();
}

/// A good triple with room to all sides: V from the examples or with entries in [0, 1], M = I, positive definite
/// or generic.
inline Head<double> good_head(Trial& trial) {
  const Index d = trial.d;
  Head<double> head{identity(d), identity(d), trial.uniform_matrix(d, d, 0, 1)};
  if (d == 2 && trial.coin()) head.V = example_value(0);
  if (d == 3 && trial.coin()) head.V = example_value(1 + static_cast<int>(trial.uniform(0, 3)));
  const double form = trial.uniform(0, 3);
  if (form > 2)
    head.K = trial.uniform_matrix(d, d);
  else if (form > 1)
    head.Q = head.K = positive_definite(trial, d);
  const attnflow::GoodTriple good = attnflow::is_good_triple(head);
  trial.exclude_if(!good, "not a good triple");
  trial.exclude_if(attnflow::spectral_gap(good.pair).relative < 0.05, "spectral gap < 0.05 λ1");
  trial.exclude_if(good.hypotheses.back().margin < 1e-3, "<Qφ1, Kφ1> < 1e-3 ‖M‖");
  trial.margins_of(good.hypotheses);
  return head;
}

/// How far φ₁* of a leader may be from the extreme that the first coordinate alone would choose.
///
/// e^{−λ₁T} xᵢ = cᵢφ₁ + rᵢ with |rᵢ| ≤ r, which falls like e^{−(λ₁ − |λ₂|)T}. Let row i choose l, and c_j be the
/// extreme on the side of cᵢ, m = ⟨Qφ₁, Kφ₁⟩. Of its score on l, which is at least that on j, the first
/// coordinates make m cᵢ c_l, and all else at most differs by 2‖M‖r(|cᵢ| + r) + ‖M‖r |c_j − c_l|, so
///
///     |c_j − c_l| ≤ 2‖M‖ r (|cᵢ| + r) / (m |cᵢ| − ‖M‖ r)     if the denominator is positive.
struct LeadingPart {
  double m, M, r;

  /// ∞ where the other coordinates may still decide.
  [[nodiscard]] double tie(double c) const {
    const double rest = m * std::abs(c) - M * r;
    return rest > 0 ? 2 * M * r * (std::abs(c) + r) / rest : infinity;
  }
};

inline LeadingPart leading_part(const Head<double>& head, const attnflow::LeadingEigenpair& pair, double T,
                                const Matrix& z) {
  const Matrix M = head.Q.transpose() * head.K;
  const double lambda = pair.value.real();
  const Matrix x = attnflow::MatrixExponential<>(head.V - lambda * identity(head.V.rows()))(T).plain() * z;
  const Matrix rest = x - pair.right * (pair.left * z);
  return {pair.right.dot(M * pair.right), operator_norm(M), rest.colwise().norm().maxCoeff()};
}

inline void hyperplanes(Trial& trial) {
  const Index d = trial.d, n = trial.n;
  const Head<double> head = good_head(trial);
  const attnflow::LeadingEigenpair pair = attnflow::leading_eigenpair(head.V);
  const double lambda = pair.value.real(), T = 14 / lambda;
  const Matrix start = trial.uniform_matrix(d, n, -5, 5);
  const Vector c0 = (pair.left * start).transpose();
  trial.exclude_if(c0.maxCoeff() - c0.minCoeff() < 0.1 || c0.cwiseAbs().maxCoeff() < 0.5,
                   "all φ1*(z_i(0)) alike or small");
  const Rescaled field(head);
  const Path z = follow(field, start, T);
  const Decision decision = decide(field, z, 0.25 / lambda);

  // Every real eigenfunctional with λ_k ≥ 0: its maximum does not increase, its minimum does not decrease.
  const attnflow::Spectrum spectrum = attnflow::spectrum(head.V);
  for (Index k = 0; k < d; ++k) {
    const std::complex<double> value = spectrum.eigenvalues(k);
    if (value.imag() != 0 || value.real() < 0 || spectrum.left.size() == 0) continue;
    const Eigen::RowVectorXd functional = spectrum.left.row(k).real();
    const double size = functional.cwiseAbs().sum();
    const auto allowed = [&](const Matrix& x) { return 2 * size * allowance(x); };
    trial.check("l:fj", largest_increase(
                            z, [&](const Matrix& x) { return (functional * x).maxCoeff(); }, allowed));
    trial.check("l:fj", largest_increase(
                            z, [&](const Matrix& x) { return -(functional * x).minCoeff(); }, allowed));
    if (value.real() == 0) continue;
    const double range = (functional * start).maxCoeff() - (functional * start).minCoeff();
    for (Index i = 0; i < n; ++i)
      if (decision.decided(i) && value.real() * (T - decision.since_of(i)) > 3)
        trial.check("growing coordinates",
                    std::abs(functional.dot(z.end().col(i) - z.end().col(decision.leader_of(i)))),
                    decision.left_of(i, value.real(), range) + 20 * allowed(z.end()));
  }

  const LeadingPart leading = leading_part(head, pair, T, z.end());
  const Eigen::RowVectorXd c_end = pair.left * z.end();
  const double c_range = c0.maxCoeff() - c0.minCoeff();
  const auto level_decided = [&](Index i) {
    return decision.decided(i) && leading.tie(c_end(decision.leader_of(i))) < 1e-3 * c_range;
  };
  double farthest = 0;  // from its level, of all tokens
  const auto look_at_levels = [&](const char* label, const Eigen::RowVectorXd& functional) {
    const Eigen::RowVectorXd c = functional * z.end(), first = functional * start;
    const double range = first.maxCoeff() - first.minCoeff(), a = c.minCoeff(), b = c.maxCoeff();
    for (Index i = 0; i < n; ++i) {
      const double allowed = level_decided(i)
                                 ? decision.left_of(i, lambda, range) +
                                       leading.tie(c_end(decision.leader_of(i))) * range / c_range +
                                       40 * functional.cwiseAbs().sum() * allowance(z.end())
                                 : infinity;
      farthest = std::max(farthest, allowed / range);
      if (level_decided(i)) trial.check(label, std::min({std::abs(c(i)), c(i) - a, b - c(i)}), allowed);
    }
  };
  long open = 0;
  for (Index i = 0; i < n; ++i) open += level_decided(i) ? 0 : 1;
  trial.skip("l:3hyperplanes11", open);
  look_at_levels("l:3hyperplanes11", pair.left);
  if (farthest < 0.25e-3) {
    const Index levels = attnflow::detect_clusters(c_end, 1e-3 * c_range).count();
    trial.check("number of hyperplanes", static_cast<double>(levels), 3);
    trial.count("number of hyperplanes", "levels", levels);
  } else {
    trial.leave_out("number of hyperplanes", "a token may be range/4000 and more from its level");
  }
  const double turned = std::acos(std::min(1.0, std::abs(pair.left.dot(pair.right)) / pair.left.norm()));
  if (turned > 0.03) {
    look_at_levels("planes orthogonal to φ1", pair.right.transpose());
    trial.number("planes orthogonal to φ1", "angle of φ1 and φ1* in degrees",
                 turned * 180 / std::numbers::pi);
  }

  if (decision.undecided() > 0) return trial.leave_out("rate -λ1", "a row still undecided at T");
  const std::size_t k1 = z.at(decision.last()), k2 = z.at(decision.last() + 6 / lambda);
  const double duration = z.t[k2] - z.t[k1];
  for (Index i = 0; i < n; ++i) {
    const Index l = decision.leader_of(i);
    const auto distance = [&](std::size_t k) {
      return std::abs(pair.left.dot(z.x[k].col(i) - z.x[k].col(l)));
    };
    const double erred = 2 * static_cast<double>(k2 - k1) * pair.left.cwiseAbs().sum() * allowance(z.x[k2]);
    if (i == l || distance(k2) < 100 * erred || duration * lambda < 1) continue;
    const double strayed = c_range * decision.strayed(i, lambda, z.t[k1], z.t[k2]);
    trial.check("rate -λ1", std::abs(std::log(distance(k1) / distance(k2)) / (lambda * duration) - 1),
                2 * (erred + strayed) / distance(k2) / (lambda * duration));
  }
}

/// |φ_k*(x_i)| ≤ e^{|λ_k| t} max_j |φ_k*(x_j(0))| for all V, complex eigenvalues too.
inline void eigenfunctionals(Trial& trial) {
  const Head<double> head = generic_head(trial, 2);
  const attnflow::Spectrum spectrum = attnflow::spectrum(head.V);
  trial.exclude_if(spectrum.left.size() == 0 || spectrum.basis_condition > 1e3,
                   "eigenbasis of condition > 1000");
  const Path x = follow(Unrescaled(Head<double>(head)), trial.uniform_matrix(trial.d, trial.n, -2, 2), 4);
  const Eigen::MatrixXcd first = attnflow::eigen_coordinates(spectrum, x.start());
  Vector erred = Vector::Zero(trial.d);
  for (std::size_t k = 1; k < x.size(); ++k) {
    const Eigen::MatrixXcd coordinates = attnflow::eigen_coordinates(spectrum, x.x[k]);
    for (Index e = 0; e < trial.d; ++e) {
      const double modulus = std::abs(spectrum.eigenvalues(e)), size = spectrum.left.row(e).cwiseAbs().sum();
      erred(e) = erred(e) * std::exp(modulus * (x.t[k] - x.t[k - 1])) + 2 * size * allowance(x.x[k]);
      trial.check(spectrum.eigenvalues(e).imag() == 0 ? "l:nottoofassst" : "l:nottoofassst, complex",
                  coordinates.row(e).cwiseAbs().maxCoeff() -
                      std::exp(modulus * x.t[k]) * first.row(e).cwiseAbs().maxCoeff(),
                  erred(e));
    }
  }
}

/// A Jordan block (λ 1; 0 λ) beside other eigenvalues, in an oblique basis. In the norm of (a, b/δ) the block is
/// shorter than |λ| + δ, which is the constant C of the paper made explicit.
inline void jordan_block(Trial& trial) {
  const Index d = trial.d;
  const double lambda = trial.uniform(-1, 1), delta = 0.1;
  Matrix J = 0.5 * trial.uniform_matrix(d, d);
  J.topRows(2).setZero();
  J.leftCols(2).setZero();
  J(0, 0) = J(1, 1) = lambda;
  J(0, 1) = 1;
  const Matrix B = oblique(trial, d), inverse = B.inverse();
  const Head<double> head{trial.uniform_matrix(d, d), trial.uniform_matrix(d, d), B * J * inverse};
  const Path x = follow(Unrescaled(Head<double>(head)), trial.uniform_matrix(d, trial.n, -1, 1), 3);
  Matrix coordinates = inverse.topRows(2);
  coordinates.row(1) /= delta;
  const double first = (coordinates * x.start()).colwise().norm().maxCoeff(), rate = std::abs(lambda) + delta;
  double erred = 0;
  for (std::size_t k = 1; k < x.size(); ++k) {
    erred =
        erred * std::exp(rate * (x.t[k] - x.t[k - 1])) + 2 * coordinates.norm() * length_allowance(x.x[k]);
    trial.check("r:notdiagonalizable",
                (coordinates * x.x[k]).colwise().norm().maxCoeff() - std::exp(rate * x.t[k]) * first, erred);
  }
}

inline std::vector<Experiment> section_5() {
  const std::vector<Size> planes{{2, 20}, {3, 5},  {8, 20}, {2, 100}, {3, 100},
                                 {8, 5},  {3, 20}, {2, 5},  {8, 100}};
  const std::vector<Size> all{{2, 5}, {3, 20}, {8, 20}, {2, 100}, {3, 100}, {8, 5}};
  const std::string distance =
      "2 range e^(-λ1(T - t_i)): from t_i on row i gives less than 1e-6 to others than its leader; what it "
      "gives them; and 2‖M‖r(|c| + r)/(m|c| - ‖M‖r), where other coordinates still weigh in the scores";
  return {
      {"hyperplanes",
       planes,
       hyperplanes,
       {{"l:fj", Kind::lemma, "max and min of every real eigenfunctional with λ_k >= 0 are monotone",
         "2 ‖φ*‖₁ (rtol max|z| + atol), what the integrator allows a step"},
        {"l:3hyperplanes11", Kind::theorem,
         "φ1*(z_i) -> {0, a, b}, tokens whose rows are decided, and by φ1 up to range/1000", distance},
        {"number of hyperplanes", Kind::theorem,
         "at most three levels of φ1*, told apart at range/1000, once all are reached up to range/4000", "3"},
        {"rate -λ1", Kind::derived, "φ1*(z_i - z_leader) has rate -λ1",
         "step allowances and what rows give to others, over the distance"},
        {"growing coordinates", Kind::derived, "every real coordinate with λ_k > 0 tends to the leader's",
         "2 range_k e^(-λ_k(T - t_i)), and what rows give to others"},
        {"planes orthogonal to φ1", Kind::erratum,
         "levels of the right eigenvector (where it is 2 degrees or more off)", distance}}},
      {"eigenfunctionals",
       all,
       eigenfunctionals,
       {{"l:nottoofassst", Kind::lemma, "|φ_k*(x_i(t))| <= e^(|λ_k|t) max_j |φ_k*(x_j(0))|, any V, real λ_k",
         "step allowances, grown by e^(|λ_k|t)"},
        {"l:nottoofassst, complex", Kind::lemma, "the same for complex λ_k", "step allowances, grown"}}},
      {"Jordan block",
       all,
       jordan_block,
       {{"r:notdiagonalizable", Kind::lemma, "|π_F x_i| <= C e^((|λ| + δ)t) for a Jordan block, δ = 0.1",
         "step allowances, grown; C explicit in the norm of (a, b/δ)"}}}};
}

}  // namespace laboratory
