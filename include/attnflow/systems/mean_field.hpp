/// \file
/// Attention as a vector field that a measure makes, its gradient, and what is known a priori about both.
#pragma once

#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// ‖A‖₂ ≤ min(‖A‖_F, √(‖A‖₁ ‖A‖_∞)), enlarged by what rounding may have taken off; ∞ where it overflows.
[[nodiscard]] inline double operator_norm_bound(const Eigen::MatrixXd& A) {
  if (A.size() == 0) return 0;
  const double one = A.cwiseAbs().colwise().sum().maxCoeff(),
               infinity = A.cwiseAbs().rowwise().sum().maxCoeff();
  const double frobenius = A.stableNorm(), mixed = std::sqrt(one) * std::sqrt(infinity);
  const double bound = frobenius < mixed ? frobenius : mixed;  // a NaN of the first does no harm
  return bound * (1 + 4 * static_cast<double>(A.size()) * std::numeric_limits<double>::epsilon());
}

/// a b with 0 · ∞ = 0, for bounds.
[[nodiscard]] inline double times(double a, double b) { return a == 0 || b == 0 ? 0 : a * b; }

/// A head, the tokens of μ and the points, in double.
struct MeanField {
  Head<double> head;
  Eigen::MatrixXd y, x;

  template <class Scalar, int Dim, class Mu, class Points>
  MeanField(const char* function, const Head<Scalar, Dim>& given, const Eigen::MatrixBase<Mu>& mu,
            const Eigen::MatrixBase<Points>& points, const char* name) {
    given.validate(function);
    const Eigen::Index d = given.dim();
    if (mu.rows() != d) refuse(function, ": mu has ", mu.rows(), " rows, expected d = ", d);
    if (mu.cols() == 0) refuse(function, ": mu has no tokens, expected at least one");
    if (points.rows() != d) refuse(function, ": ", name, " has ", points.rows(), " rows, expected d = ", d);
    refuse_unless_finite(function, "mu", mu);
    refuse_unless_finite(function, name, points, "column");
    head = {given.Q.template cast<double>(), given.K.template cast<double>(), given.V.template cast<double>(),
            given.O.template cast<double>()};
    y = mu.template cast<double>();
    x = points.template cast<double>();
  }
};

}  // namespace detail

/// The field of the empirical measure μ = (1/n) ∑ δ(yⱼ) at the points x₁ … x_m [GLPR23, §6]:
///
///     X[μ](x) = ∫ e^{⟨Qx, Ky⟩} V y dμ(y) / ∫ e^{⟨Qx, Ky⟩} dμ(y) = ∑ⱼ softmaxⱼ(⟨Qx, Kyⱼ⟩) V yⱼ.
///
/// The measures of particle solutions solve ∂ₜμ + div(X[μ]μ) = 0: at the tokens themselves the field is their
/// velocity. It lies in V · conv{yⱼ}.
///
/// mu: d × n, n ≥ 1; x: d × m points, anywhere. Returns d × m: attend of the points to the tokens, in double, with scores of
/// any size. Cost as attend.
/// \throws std::invalid_argument if the head is wrong; unless mu and x have d rows, mu a column and both are
/// finite; if the field overflows.
template <class Scalar, int Dim, class Mu, class Points>
requires KernelScalar<typename Mu::Scalar> && KernelScalar<typename Points::Scalar>
[[nodiscard]] Eigen::MatrixXd attention_field(const Head<Scalar, Dim>& head, const Eigen::MatrixBase<Mu>& mu,
                                              const Eigen::MatrixBase<Points>& x) {
  const detail::MeanField field("attention_field", head, mu, x, "x");
  Tokens<double> values;
  attend(field.head, Softmax{}, NoMask{}, NoBias{}, field.x, field.y, values);
  if (!values.allFinite())
    detail::refuse("attention_field: the field overflows, expected smaller tokens or V");
  return values;
}

/// The gradient of the field at one point, entry (k, l) = ∂X[μ]ₖ/∂xₗ:
///
///     ∇X[μ](x) = V C Mᵀ,   M = QᵀK,   C = ∑ⱼ wⱼ (yⱼ − m)(yⱼ − m)ᵀ,   m = ∑ⱼ wⱼ yⱼ,
///
/// with the weights w of x (attention_matrix). Proof: ∇ₓ⟨Qx, Ky⟩ = M y, so ∂m = ∑ⱼ wⱼ (yⱼ − m)(M yⱼ)ᵀ = C Mᵀ, as the weighted
/// deviations sum to zero. μ is held fixed. O(n d² + d² d_k) time.
/// \throws std::invalid_argument as attention_field does, and unless the point is d × 1.
template <class Scalar, int Dim, class Mu, class Point>
requires KernelScalar<typename Mu::Scalar> && KernelScalar<typename Point::Scalar>
[[nodiscard]] Eigen::MatrixXd attention_field_gradient(const Head<Scalar, Dim>& head,
                                                       const Eigen::MatrixBase<Mu>& mu,
                                                       const Eigen::MatrixBase<Point>& point) {
  if (point.cols() != 1)
    detail::refuse("attention_field_gradient: point has ", point.cols(), " columns, expected one");
  const detail::MeanField field("attention_field_gradient", head, mu, point, "point");
  const Eigen::VectorXd weights =
      attention_matrix(field.head, field.x, field.y, Softmax{}, NoMask{}, NoBias{}).row(0).transpose();
  Eigen::Index leader = 0;
  weights.maxCoeff(&leader);
  const Eigen::Index d = head.dim(), n = field.y.cols();
  Eigen::MatrixXd deviation = field.y;  // from the leader first: tokens far from the origin lose no digits
  for (Eigen::Index j = 0; j < n; ++j) deviation.col(j) -= field.y.col(leader);
  const Eigen::VectorXd mean = deviation.lazyProduct(weights);
  Eigen::MatrixXd C = Eigen::MatrixXd::Zero(d, d);
  for (Eigen::Index j = 0; j < n; ++j) {
    deviation.col(j) -= mean;
    for (Eigen::Index l = 0; l < d; ++l) C.col(l) += (weights(j) * deviation(l, j)) * deviation.col(j);
  }
  const Eigen::MatrixXd VC = field.head.value().lazyProduct(C),
                        KQ = field.head.K.transpose().lazyProduct(field.head.Q);
  const Eigen::MatrixXd gradient = VC.lazyProduct(KQ);  // Mᵀ = KᵀQ
  if (!gradient.allFinite())
    detail::refuse("attention_field_gradient: the gradient overflows, expected smaller tokens or weights");
  return gradient;
}

/// What holds for all μ, ν with support in the ball B(0, R) [GLPR23, §6]. ∞ where a bound overflows.
struct FieldBounds {
  double value = 0;           ///< ‖X[μ](x)‖ ≤ ‖V‖ R for all x
  double gradient = 0;        ///< ‖∇X[μ](x)‖ ≤ 2 ‖M‖ ‖V‖ R² for all x, as in the paper
  double gradient_sharp = 0;  ///< the same without the 2
  double wasserstein = 0;     ///< ‖X[μ](x) − X[ν](x)‖ ≤ this · W₂(μ, ν) for ‖x‖ ≤ R
};

/// The a-priori bounds of the field, with M = QᵀK, κ = ‖Q‖ ‖K‖:
///
///     ‖V‖ R,   2 ‖M‖ ‖V‖ R²,   ‖M‖ ‖V‖ R²,   e^{2κR²} ‖V‖ (1 + 2κR²).
///
/// For ‖A‖ stands its upper bound min(‖A‖_F, √(‖A‖₁ ‖A‖_∞)), at most √d too large and exact for multiples of the
/// identity; so the inequalities hold as they stand. The third: ∇X = V C Mᵀ (attention_field_gradient) and C is
/// at most ∑ wⱼ yⱼ yⱼᵀ, so ‖C‖ ≤ R². The fourth: with f(y) = e^{⟨Qx, Ky⟩} and Z, N the integrals of f and f y,
///
///     N_μ/Z_μ − N_ν/Z_ν = (N_μ − N_ν)/Z_μ + (N_ν/Z_ν)(Z_ν − Z_μ)/Z_μ,
///
/// where 1/Z ≤ e^{κR²}, ‖N_ν/Z_ν‖ ≤ R, and on the ball f has Lipschitz constant κR e^{κR²}, f y one of
/// (1 + κR²) e^{κR²}; an integral of a function with Lipschitz constant L moves by at most L W₁ ≤ L W₂.
/// \throws std::invalid_argument if the head is wrong, and unless R is finite and not negative.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] FieldBounds field_bounds(const Head<Scalar, Dim>& head, double R) {
  head.validate("field_bounds");
  if (!(R >= 0) || !std::isfinite(R))
    detail::refuse("field_bounds: R is ", R, ", expected a finite number, at least 0");
  using detail::times;
  const Eigen::MatrixXd Q = head.Q.template cast<double>(), K = head.K.template cast<double>();
  const double v = detail::operator_norm_bound(head.value().template cast<double>());
  const double kappa = times(detail::operator_norm_bound(Q), detail::operator_norm_bound(K));
  const Eigen::MatrixXd M = Q.transpose().lazyProduct(K);
  // The rounding errors of M are at most d_k ε √(‖Q‖_F ‖K‖_F)²; if M has overflowed κ remains.
  const double computed = detail::operator_norm_bound(M) + 4 * static_cast<double>(Q.rows()) *
                                                               std::numeric_limits<double>::epsilon() *
                                                               times(Q.stableNorm(), K.stableNorm());
  const double m = computed < kappa ? computed : kappa;
  const double rounding = 1 + 16 * std::numeric_limits<double>::epsilon();
  FieldBounds bounds;
  bounds.value = times(v, R) * rounding;
  bounds.gradient_sharp = times(times(m, v), times(R, R)) * rounding;
  bounds.gradient = 2 * bounds.gradient_sharp;
  const double exponent = 2 * times(kappa, times(R, R)) * rounding;
  bounds.wasserstein = times(v, std::exp(exponent) * (1 + exponent)) * rounding;
  return bounds;
}

/// A constant C for the stability of the mean-field flow, for data in B(0, R) and 0 ≤ t ≤ T [GLPR23, §6]:
///
///     W₂(μₜ, νₜ) ≤ e^{C t} W₂(μ₀, ν₀),   C = ‖M‖ ‖V‖ ρ² + e^{2κρ²} ‖V‖ (1 + 2κρ²),   ρ = R e^{‖V‖T}.
///
/// Proof. By the first of field_bounds the largest norm r(t) in either support obeys r' ≤ ‖V‖ r, so both stay in
/// B(0, ρ) until T. Couple μ₀ and ν₀ optimally and let pairs (x, y) move along the flows of X[μₜ] and X[νₜ]; this
/// couples μₜ and νₜ. Let D² be the mean of ‖x − y‖², so that W₂(μₜ, νₜ) ≤ D(t), with equality at 0. Then
///
///     ‖X[μₜ](x) − X[νₜ](y)‖ ≤ ‖X[μₜ](x) − X[μₜ](y)‖ + ‖X[μₜ](y) − X[νₜ](y)‖ ≤ L ‖x − y‖ + L' W₂(μₜ, νₜ)
///
/// with the third and the fourth of field_bounds at ρ (the gradient bound holds on the whole segment from x to y,
/// the other at ‖y‖ ≤ ρ). Hence D' ≤ L D + L' W₂ ≤ (L + L') D, and Gronwall's inequality gives the claim.
///
/// The constant is astronomical unless R and T are of size ½; ∞ where it overflows. Norms as in field_bounds.
/// \throws std::invalid_argument if the head is wrong, and unless R and T are finite and not negative.
template <KernelScalar Scalar, int Dim>
[[nodiscard]] double stability_bound(const Head<Scalar, Dim>& head, double R, double T) {
  head.validate("stability_bound");
  if (!(R >= 0) || !std::isfinite(R))
    detail::refuse("stability_bound: R is ", R, ", expected a finite number, at least 0");
  if (!(T >= 0) || !std::isfinite(T))
    detail::refuse("stability_bound: T is ", T, ", expected a finite number, at least 0");
  const double v = detail::operator_norm_bound(head.value().template cast<double>());
  if (v == 0) return 0;  // nothing moves
  const double growth = std::exp(detail::times(v, T) * (1 + 4 * std::numeric_limits<double>::epsilon()));
  const double radius = detail::times(R, growth) * (1 + 4 * std::numeric_limits<double>::epsilon());
  if (!std::isfinite(radius)) return std::numeric_limits<double>::infinity();
  const FieldBounds bounds = field_bounds(head, radius);
  return bounds.gradient_sharp + bounds.wasserstein;
}

}}  // namespace attnflow
