/// \file
/// The hypotheses of the clustering theorems: good triples, paranormal V, good triples with multiplicity.
#pragma once

#include <attnflow/detail/words.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/prediction/definiteness.hpp>
#include <attnflow/prediction/leading_eigenpair.hpp>
#include <attnflow/prediction/verdict.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <string>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

[[nodiscard]] inline std::string text_of(std::complex<double> z) {
  if (z.imag() == 0) return words(z.real());
  const double real = std::abs(z.real()) < 1e-14 * std::abs(z) ? 0 : z.real();  // and no -5.55112e-17
  return words(real, " ± ", std::abs(z.imag()), "i");
}

/// λ₁ real, positive, with their margins: half the distance to the nearest other eigenvalue, relative to λ₁
/// and at most 1, which is what it takes to make a pair of two, and λ₁/|λ₁|.
inline bool require_real_and_positive(Verdict& verdict, const LeadingEigenpair& pair) {
  const double modulus = pair.modulus();
  if (!(modulus > 0)) {
    verdict.require({"lambda1_real", "the leading eigenvalue is real", 0, 0},
                    "V has no eigenvalue other than 0");
    return false;
  }
  const double apart = (std::min)(1.0, pair.nearest / modulus / 2);
  const bool real = verdict.require({"lambda1_real", "the leading eigenvalue λ₁ of V is real",
                                     pair.is_real ? apart : -std::abs(pair.value.imag()) / modulus, 0},
                                    "the leading eigenvalue " + text_of(pair.value) + " is complex");
  return verdict.require({"lambda1_positive", "λ₁ > 0", pair.value.real() / modulus, 0},
                         "the leading eigenvalue " + text_of(pair.value) + " is negative") &&
         real;
}

}  // namespace detail

/// Is (Q, K, V) a good triple, and by how much?
struct GoodTriple : Verdict {
  /// λ₁ with φ₁ and φ₁*.
  LeadingEigenpair pair;
  double form = 0;  ///< ⟨Qφ₁, Kφ₁⟩ = φ₁ᵀMφ₁; 0 where φ₁ is not defined
};

/// Good triples [GLPR23, definition of a good triple, Theorem 4.2]: for M = QᵀK,
///
///     (i) the eigenvalue λ₁ of V of largest modulus is real, positive and simple, λ₁ > |λ₂| ≥ …;
///     (ii) ⟨Qφ₁, Kφ₁⟩ = φ₁ᵀMφ₁ > 0 for V φ₁ = λ₁ φ₁.
///
/// Margins: lambda1_real, lambda1_positive, lambda1_dominant = (λ₁ − |λ₂|)/λ₁ > tol, phi1_M_phi1 =
/// φ₁ᵀMφ₁/‖M‖_F > tol. \param M  d × d, β included. O(d³).
/// \throws std::invalid_argument unless V and M are square, finite and of one size, and tol in [0, 1).
[[nodiscard]] inline GoodTriple is_good_triple(const Eigen::MatrixXd& V, const Eigen::MatrixXd& M,
                                               LeadingEigenpair pair, double tol = 1e-8) {
  detail::validate_tolerance("is_good_triple", tol);
  detail::validate_square("is_good_triple", "M", M);
  if (M.rows() != V.rows())
    detail::refuse("is_good_triple: M is ", M.rows(), " x ", M.cols(), ", expected ", V.rows(), " x ",
                   V.rows(), ", as V is");
  GoodTriple answer;
  answer.pair = std::move(pair);
  const LeadingEigenpair& p = answer.pair;
  if (!detail::require_real_and_positive(answer, p)) return answer;
  const double gap = spectral_gap(p).relative;
  if (!answer.require(
          {"lambda1_dominant", "λ₁ is simple and larger than all other moduli: (λ₁ − |λ₂|)/λ₁", gap, tol},
          p.is_simple ? detail::words("another eigenvalue has the modulus of λ₁ = ", p.value.real())
                      : detail::words("λ₁ = ", p.value.real(), " has multiplicity ", p.multiplicity)))
    return answer;
  const int shift = detail::unit_shift(M);
  const Eigen::MatrixXd scaled = detail::scaled_by_power(M, shift);
  const double size = scaled.norm(), product = p.right.dot(detail::image_of(scaled, p.right.data()));
  answer.form = std::ldexp(product, -shift);
  answer.require({"phi1_M_phi1", "⟨Qφ₁, Kφ₁⟩ > 0, relative to ‖QᵀK‖", size > 0 ? product / size : 0, tol},
                 answer.form > 0 ? detail::words("⟨Qφ₁, Kφ₁⟩ = ", answer.form, " is positive, but only ",
                                                 product / size, " times ‖QᵀK‖, expected more than ", tol)
                                 : detail::words("⟨Qφ₁, Kφ₁⟩ = ", answer.form, " is not positive"));
  return answer;
}

/// The same, the leading eigenpair computed here. Margins, cost and errors as above.
[[nodiscard]] inline GoodTriple is_good_triple(const Eigen::MatrixXd& V, const Eigen::MatrixXd& M,
                                               double tol = 1e-8) {
  return is_good_triple(V, M, leading_eigenpair(V, tol), tol);
}

/// The same for a head, β a factor of the scores.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] GoodTriple is_good_triple(const Head<Scalar, Dim>& head, double tol = 1e-8, double beta = 1) {
  return is_good_triple(Eigen::MatrixXd(head.value().template cast<double>()), bilinear_form(head, beta),
                        tol);
}

/// Is V paranormal, and how does it split?
struct ParanormalSplitting : Verdict {
  double lambda = 0;             ///< of ℱ; 0 where there is none
  double rest_radius = 0;        ///< ρ(V|𝒢)
  double defect = 0;             ///< ‖V|ℱ − λI‖_F / (λ √dim ℱ)
  InvariantSplitting splitting;  ///< ℱ inside, 𝒢 outside; meaningful where the answer is yes
};

/// Paranormal matrices [GLPR23, definition of paranormal, Theorem 5.2]: ℝᵈ = ℱ ⊕ 𝒢, both invariant under V,
/// with
///
///     V|ℱ = λ I, λ > 0, and ρ(V|𝒢) < λ.
///
/// λ is the leading eigenvalue, ℱ = ker(V − λ), 𝒢 the invariant subspace of the others. Margins:
/// lambda1_real, lambda1_positive, semisimple = tol − ‖V|ℱ − λI‖ (relative) ≥ 0, rest_smaller = (λ −
/// ρ(V|𝒢))/λ > tol (1 for ℱ = ℝᵈ). dim ℱ ≥ 1: a simple λ₁ counts. O(d³). Errors as leading_eigenpair.
[[nodiscard]] inline ParanormalSplitting paranormal_splitting(LeadingEigenpair pair, double tol = 1e-8) {
  detail::validate_tolerance("paranormal_splitting", tol);
  ParanormalSplitting answer;
  const bool good = detail::require_real_and_positive(answer, pair);
  answer.rest_radius = pair.rest_radius;
  answer.splitting = std::move(pair.splitting);
  if (!good) return answer;
  answer.lambda = pair.value.real();
  const Eigen::Index m = answer.splitting.dim();
  answer.defect = (answer.splitting.V_inside / answer.lambda - Eigen::MatrixXd::Identity(m, m)).norm() /
                  std::sqrt(static_cast<double>(m));
  // Rounding of V alone makes a defect of this size.
  const double allowed =
      (std::max)(tol, (std::min)(pair.uncertainty / answer.lambda, (std::numeric_limits<double>::max)()));
  answer.require({"semisimple", "V is λ₁ times the identity on ℱ: allowed defect less the one found",
                  allowed - answer.defect, -(std::numeric_limits<double>::min)()},
                 detail::words("the leading eigenvalue ", answer.lambda, " of multiplicity ", m,
                               " is defective: V on its invariant subspace differs from ", answer.lambda,
                               " I by ", answer.defect, " (relative)"));
  answer.require(
      {"rest_smaller", "ρ(V|𝒢) < λ₁: (λ₁ − ρ(V|𝒢))/λ₁", 1 - answer.rest_radius / answer.lambda, tol},
      detail::words("another eigenvalue has the modulus of λ₁ = ", answer.lambda));
  return answer;
}

/// The same, the leading eigenpair computed here. Margins, cost and errors as above.
[[nodiscard]] inline ParanormalSplitting paranormal_splitting(const Eigen::MatrixXd& V, double tol = 1e-8) {
  detail::validate_square("paranormal_splitting", "V", V);
  return paranormal_splitting(leading_eigenpair(V, tol), tol);
}

namespace detail {

/// Of a symmetric form whose margin is at most tol. An eigenvalue that is within the rounding of a
/// decomposition, ten d ε of the largest, has no sign.
[[nodiscard]] inline std::string why_not_positive_definite(const Definiteness& form, double tol) {
  const std::string from_to =
      words("eigenvalues of its symmetric part from ", form.smallest, " to ", form.largest);
  if (form.largest <= 0)
    return words("QᵀK is not positive definite (smallest eigenvalue ", form.smallest, ")");
  if (std::abs(form.margin) <= 10 * static_cast<double>(form.dim) * std::numeric_limits<double>::epsilon())
    return words("QᵀK is singular to rounding (", from_to, ")");
  if (form.smallest < 0) return words("QᵀK is indefinite (", from_to, ")");
  return words("QᵀK is positive definite, but too close to singular to rely on: its smallest eigenvalue ",
               form.smallest, " is ", form.margin, " times the largest, expected more than ", tol);
}

inline void require_positive_definite(Verdict& verdict, const Definiteness& form, double tol) {
  if (verdict.require({"M_symmetric", "QᵀK is symmetric: allowed asymmetry less the one found",
                       tol - form.asymmetry, -(std::numeric_limits<double>::min)()},
                      words("QᵀK is not symmetric (asymmetry ", form.asymmetry, ")")))
    verdict.require({"M_positive", "QᵀK is positive definite: smallest eigenvalue, relative to the largest",
                     form.margin, tol},
                    why_not_positive_definite(form, tol));
}

}  // namespace detail

/// Is (Q, K, V) a good triple with multiplicity?
struct GoodTripleWithMultiplicity : Verdict {
  /// ℱ, 𝒢 and λ.
  ParanormalSplitting paranormal;
  Definiteness form;         ///< of M
  Eigen::MatrixXd M_inside;  ///< M on ℱ: its Gram matrix in the basis splitting.inside, m × m
};

/// Good triples with multiplicity [GLPR23, Theorem 5.2]: V is paranormal and M = QᵀK symmetric positive
/// definite.
///
/// M_inside is the form that decides the limit polytope in ℱ: the leading score is e^{2λt} ⟨Qπz, Kπz'⟩; the
/// printed definition with πA in place of it holds only where A = M^{1/2} keeps the splitting.
/// Margins of both, M_symmetric and M_positive (smallest/largest eigenvalue > 1e−10). O(d³).
/// \throws std::invalid_argument unless V and M are square, finite and of one size, and tol in [0, 1).
[[nodiscard]] inline GoodTripleWithMultiplicity is_good_triple_with_multiplicity(
    const Eigen::MatrixXd& M, ParanormalSplitting paranormal) {
  detail::validate_square("is_good_triple_with_multiplicity", "M", M);
  if (M.rows() != paranormal.splitting.inside.rows())
    detail::refuse("is_good_triple_with_multiplicity: M is ", M.rows(), " x ", M.cols(), ", expected ",
                   paranormal.splitting.inside.rows(), " rows, as V has");
  GoodTripleWithMultiplicity answer;
  static_cast<Verdict&>(answer) = paranormal;
  answer.paranormal = std::move(paranormal);
  answer.form = definiteness(M);
  detail::require_positive_definite(answer, answer.form, 1e-10);
  const Eigen::MatrixXd& basis = answer.paranormal.splitting.inside;
  answer.M_inside = detail::transposed_product(basis, detail::product_of(M, basis));
  return answer;
}

/// The same, the splitting of V computed here. Margins, cost and errors as above.
[[nodiscard]] inline GoodTripleWithMultiplicity is_good_triple_with_multiplicity(const Eigen::MatrixXd& V,
                                                                                 const Eigen::MatrixXd& M,
                                                                                 double tol = 1e-8) {
  return is_good_triple_with_multiplicity(M, paranormal_splitting(V, tol));
}

/// The same for a head, β a factor of the scores.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] GoodTripleWithMultiplicity is_good_triple_with_multiplicity(const Head<Scalar, Dim>& head,
                                                                          double tol = 1e-8,
                                                                          double beta = 1) {
  return is_good_triple_with_multiplicity(Eigen::MatrixXd(head.value().template cast<double>()),
                                          bilinear_form(head, beta), tol);
}

}}  // namespace attnflow
