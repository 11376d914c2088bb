/// \file
/// What the weights say about the limit, before anything is integrated.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/words.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/schur.hpp>
#include <attnflow/prediction/definiteness.hpp>
#include <attnflow/prediction/good_triple.hpp>
#include <attnflow/prediction/invariant_splitting.hpp>
#include <attnflow/prediction/leading_eigenpair.hpp>
#include <attnflow/prediction/verdict.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The limits that are proved. All but the last two speak of z = e^{−tV} x.
enum class LimitCase {
  polytope,                 ///< vertices of a convex polytope, feet of perpendiculars on its faces, or 0
  hyperplanes,              ///< at most three parallel hyperplanes
  polytope_times_subspace,  ///< a polytope in ℱ, times 𝒢
  origin,                   ///< x tends to 0
  boolean_line,             ///< d = 1: P tends to a Boolean matrix of rank 1 or 2 (almost surely)
  none                      ///< no theorem applies
};

/// The name of a case as reports spell it.
[[nodiscard]] constexpr const char* name_of(LimitCase limit) noexcept {
  switch (limit) {
    case LimitCase::polytope:
      return "polytope";
    case LimitCase::hyperplanes:
      return "hyperplanes";
    case LimitCase::polytope_times_subspace:
      return "polytope_times_subspace";
    case LimitCase::origin:
      return "origin";
    case LimitCase::boolean_line:
      return "boolean_line";
    case LimitCase::none:
      break;
  }
  return "none";
}

/// What is predicted, why, and how safely.
struct Prediction {
  /// Which theorem applies.
  LimitCase limit = LimitCase::none;
  std::string reference;               ///< the theorem; empty for `none`
  std::string reason;                  ///< what the weights are, or the first hypothesis that fails
  std::string conjecture;              ///< what is expected beyond the theorems; empty where nothing is
  std::vector<Hypothesis> hypotheses;  ///< all that were tested, with their margins
  /// λ₁ > 0: in z followers approach their leaders like e^{−λ₁ t}. 0 where no rate is known.
  double rate = 0;
  Eigen::Index unstable_dimension = 0;  ///< the number of eigenvalues of V with positive real part
  /// ℱ, in which the limit is: ℝᵈ for a polytope, the line of φ₁ for hyperplanes (inside_dual is φ₁*, φ₁ with
  /// its largest entry positive). For `none` the invariant subspace of the leading eigenvalue; empty for
  /// several heads.
  InvariantSplitting splitting;
  Eigen::MatrixXd M_inside;  ///< QᵀK on ℱ, in the basis splitting.inside
};

namespace detail {

/// V = λ I up to rounding: all of ℝᵈ, without the rounding of a decomposition.
[[nodiscard]] inline InvariantSplitting whole_space(const Eigen::MatrixXd& V) {
  const Eigen::Index d = V.rows();
  const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(d, d);
  return {identity, Eigen::MatrixXd(d, 0), identity, Eigen::MatrixXd(0, d), V, Eigen::MatrixXd(0, 0), 1};
}

/// Fails the prediction with the reason of a verdict.
inline void take_over(Prediction& prediction, const Verdict& verdict) {
  prediction.hypotheses = verdict.hypotheses;
  prediction.reason = verdict.reason;
}

inline void predict_on_the_line(Prediction& prediction, double V, double M) {
  Verdict verdict;
  const bool origin = V < 0;
  if (origin)
    verdict.require({"V_negative", "V < 0 (the number itself)", -V, 0}, "");
  else
    verdict.require({"V_positive", "V > 0 (the number itself)", V, 0}, "V = 0: the tokens do not move");
  verdict.require({"M_positive", "QK > 0 (the number itself)", M, 0}, words("QK = ", M, " is not positive"));
  take_over(prediction, verdict);
  if (!verdict.holds) return;
  if (origin) {
    prediction.limit = LimitCase::origin;
    prediction.reference = "arXiv:2305.05465, Section 8";
    prediction.reason = "d = 1, V < 0 and QK > 0: the tokens x tend to 0, like t^(-1/2)";
    return;
  }
  prediction.limit = LimitCase::boolean_line;
  prediction.reference = "arXiv:2305.05465, Theorem 2.1";
  prediction.reason = "d = 1, V > 0 and QK > 0: P tends to a Boolean matrix, of rank at most 2 almost surely";
  prediction.rate = V;
}

inline void predict_for_scalar_value(Prediction& prediction, double lambda, double defect, double tol,
                                     const Eigen::MatrixXd& M) {
  Verdict verdict;
  verdict.require({"V_scalar", "V is λ times the identity: allowed defect less the one found", tol - defect,
                   -(std::numeric_limits<double>::min)()},
                  "");
  const bool moves = verdict.require(
      {lambda < 0 ? "lambda_negative" : "lambda_positive",
       lambda < 0 ? "λ < 0 (the number itself)" : "λ > 0 (the number itself)", std::abs(lambda), 0},
      "V = 0: the tokens do not move");
  if (moves) require_positive_definite(verdict, definiteness(M), 1e-10);
  take_over(prediction, verdict);
  if (!verdict.holds) {
    if (lambda > 0)
      prediction.conjecture =
          "the conclusions of Theorem 3.1 seem to persist for generic QᵀK (arXiv:2305.05465, open)";
    return;
  }
  if (lambda > 0) {
    prediction.limit = LimitCase::polytope;
    prediction.reference = "arXiv:2305.05465, Theorem 3.1";
    prediction.reason = words("V = ", lambda, " I and QᵀK is symmetric positive definite");
    prediction.rate = lambda;
  } else {
    prediction.limit = LimitCase::origin;
    prediction.reference = "arXiv:2305.05465, Section 8";
    prediction.reason = words("V = ", lambda,
                              " I and QᵀK is symmetric positive definite, as for V = -I and QᵀK = I "
                              "in the variable (QᵀK)^(1/2) x: the tokens x tend to 0, like t^(-1/2)");
  }
}

inline void predict_in_general(Prediction& prediction, const Eigen::MatrixXd& V, const Eigen::MatrixXd& M,
                               LeadingEigenpair pair, double tol) {
  prediction.splitting = pair.splitting;
  const bool complex = !pair.is_real;
  if (!pair.is_positive || pair.is_simple) {
    GoodTriple good = is_good_triple(V, M, std::move(pair), tol);
    take_over(prediction, good);
    if (complex)
      prediction.conjecture =
          "the paper expects no clustering; in the plane, with V = I + ωJ, tokens were seen to converge "
          "all the same";
    if (!good) return;
    prediction.limit = LimitCase::hyperplanes;
    prediction.reference = "arXiv:2305.05465, Theorem 4.2";
    prediction.reason = words("good triple: λ₁ = ", good.pair.value.real(),
                              " is real, positive, simple and dominant, "
                              "and ⟨Qφ₁, Kφ₁⟩ = ",
                              good.form, " > 0");
    prediction.rate = good.pair.value.real();
    prediction.splitting.inside.col(0) = good.pair.right;
    prediction.splitting.inside_dual.row(0) = good.pair.left;
    if (prediction.unstable_dimension > 1)
      prediction.conjecture =
          words("at most three parallel affine subspaces of codimension ", prediction.unstable_dimension,
                " (arXiv:2305.05465, codimension conjecture)");
    return;
  }
  const GoodTripleWithMultiplicity good =
      is_good_triple_with_multiplicity(M, paranormal_splitting(std::move(pair), tol));
  take_over(prediction, good);
  if (!good) {
    if (good.paranormal)
      prediction.conjecture =
          "the conclusions of Theorem 5.2 seem to persist for generic QᵀK (arXiv:2305.05465, open)";
    return;
  }
  prediction.limit = LimitCase::polytope_times_subspace;
  prediction.reference = "arXiv:2305.05465, Theorem 5.2";
  prediction.reason = words("good triple with multiplicity: V = ", good.paranormal.lambda,
                            " I on a subspace of dimension ", prediction.splitting.dim(),
                            ", smaller on its complement, and QᵀK is symmetric positive "
                            "definite");
  prediction.rate = good.paranormal.lambda;
}

/// predict_limit with of_value() for the Schur form of V, which is asked for at most once.
template <class Scalar, int Dim>
[[nodiscard]] Prediction predict_limit_by(const std::function<SchurForm()>& of_value,
                                          const std::vector<Head<Scalar, Dim>>& heads, double beta,
                                          double tol) {
  if (heads.empty()) refuse("predict_limit: no head given, expected at least one");
  validate_tolerance("predict_limit", tol);
  if (!std::isfinite(beta)) refuse("predict_limit: beta is ", beta, ", expected a finite number");
  for (const auto& head : heads) {
    head.validate("predict_limit");
    if (head.dim() != heads[0].dim())
      refuse("predict_limit: a head has d = ", head.dim(), ", expected ", heads[0].dim(), " as in head 0");
  }
  const Eigen::MatrixXd V = heads[0].value().template cast<double>(), M = bilinear_form(heads[0], beta);
  Prediction prediction;
  if (heads.size() > 1) {
    prediction.reason = words("there are ", heads.size(), " heads, and no theorem covers several");
    bool alike = true;
    Head<double> sum{heads[0].Q.template cast<double>(), heads[0].K.template cast<double>(), V};
    for (std::size_t h = 1; h < heads.size(); ++h) {
      alike = alike && (bilinear_form(heads[h], beta) - M).norm() <= 1e-12 * M.norm();
      sum.V += heads[h].value().template cast<double>();
    }
    if (alike && sum.V.allFinite()) {
      const Prediction one =
          predict_limit_by([&] { return schur_form(sum.V); }, std::vector<Head<double>>{sum}, beta, tol);
      prediction.conjecture = words(
          "all heads have the same QᵀK, so they move as one head with the sum of "
          "their V: ",
          name_of(one.limit), ", ", one.reason);
    }
    return prediction;
  }

  const Eigen::Index d = V.rows();
  const int shift = unit_shift(V);
  const Eigen::MatrixXd scaled = scaled_by_power(V, shift);
  const double mean = scaled.trace() / static_cast<double>(d), size = scaled.norm();
  const double defect = size > 0 ? (scaled - mean * Eigen::MatrixXd::Identity(d, d)).norm() / size : 0;
  if (defect <= tol) {
    const double lambda = std::ldexp(mean, -shift);
    prediction.unstable_dimension = lambda > 0 ? d : 0;
    prediction.splitting = whole_space(V);
    if (d == 1)
      predict_on_the_line(prediction, V(0, 0), M(0, 0));
    else
      predict_for_scalar_value(prediction, lambda, defect, tol, M);
  } else {
    const SchurForm form = of_value();
    LeadingEigenpair pair = leading_eigenpair(form, tol);
    for (const auto block : form.blocks())
      if (form.eigenvalue(block).real() > 1e-12 * pair.modulus()) prediction.unstable_dimension += block.size;
    predict_in_general(prediction, V, M, std::move(pair), tol);
  }
  const Eigen::MatrixXd& inside = prediction.splitting.inside;
  prediction.M_inside = transposed_product(inside, product_of(M, inside));
  return prediction;
}

}  // namespace detail

/// The limit that the theorems of [GLPR23] give for the weights: which one applies, with the margin of each
/// of its hypotheses, or that none does, and why.
///
///     case                     theorem       hypotheses
///     boolean_line             2.1           d = 1, V > 0, QK > 0
///     polytope                 3.1           V = λI, λ > 0, QᵀK symmetric positive definite
///     hyperplanes              4.2           good triple (is_good_triple)
///     polytope_times_subspace  5.2           good triple with multiplicity (is_good_triple_with_multiplicity)
///     origin                   Section 8     V = −cI, c > 0, QᵀK symmetric positive definite
///
/// The paper states the second for λ = 1, the last for c = 1 and QᵀK = I; changes of time and of variable, y
/// = (QᵀK)^{1/2} x, give them as they stand here. Several heads have no theorem; if all have the same QᵀK
/// they move as one with V = ∑ₕ Vₕ, which `conjecture` says.
///
/// \param beta  the factor of the scores, as in Softmax. \param tol  relative: eigenvalues closer than that to λ₁, or
/// moduli, count as equal. Cost: one real Schur form of V and the eigenvalues of a symmetric matrix, O(d³).
/// \throws std::invalid_argument if there is no head, a head is wrong (Head::validate) or of another
/// dimension, β is not finite, or tol not in [0, 1).
template <KernelScalar Scalar, int Dim>
[[nodiscard]] Prediction predict_limit(const std::vector<Head<Scalar, Dim>>& heads, double beta = 1,
                                       double tol = 1e-8) {
  return detail::predict_limit_by([&] { return schur_form(heads[0].value().template cast<double>()); }, heads,
                                  beta, tol);
}

/// The same for one head.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] Prediction predict_limit(const Head<Scalar, Dim>& head, double beta = 1, double tol = 1e-8) {
  return predict_limit(std::vector<Head<Scalar, Dim>>{head}, beta, tol);
}

}}  // namespace attnflow
