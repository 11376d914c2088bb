/// \file
/// The eigenvalue of V that decides what the tokens do, and its vectors.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/scale.hpp>
#include <attnflow/numerics/schur.hpp>
#include <attnflow/prediction/invariant_splitting.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// λ₁, the eigenvalue of largest modulus (of several, the one with the largest real part), with φ₁ and φ₁*.
struct LeadingEigenpair {
  std::complex<double> value;     ///< λ₁; the mean of a cluster; Im λ₁ > 0 of a pair
  Eigen::Index multiplicity = 1;  ///< how many eigenvalues are λ₁, within tolerance and rounding
  /// λ₁ is real, within rounding.
  bool is_real = false;
  bool is_positive = false;  ///< real and > 0
  bool is_simple = false;    ///< of multiplicity one, which rounding of V would not change
  bool is_dominant = false;  ///< simple, and |λ₂| < |λ₁| (1 − tol)
  /// φ₁: V φ₁ = λ₁ φ₁, unit, its largest entry positive. Empty unless λ₁ is real and simple.
  Eigen::VectorXd right;
  /// φ₁*: φ₁* V = λ₁ φ₁*, φ₁*(φ₁) = 1. Empty unless λ₁ is real and simple.
  Eigen::RowVectorXd left;
  double next_modulus = 0;  ///< |λ₂| with multiplicity: |λ₁| if λ₁ is multiple or complex; 0 for d = 1
  double rest_radius = 0;  ///< the largest modulus of the eigenvalues other than λ₁ (and its conjugate)
  /// The distance from λ₁ to the nearest other eigenvalue.
  double nearest = std::numeric_limits<double>::infinity();
  /// Of the invariant subspace of λ₁, ‖φ₁*‖ if simple: λ₁ is known to about ε ‖V‖ times that.
  double condition = 1;
  double uncertainty = 0;  ///< 10 d ε ‖V‖_F · condition, within which eigenvalues are not told apart
  /// ℱ: the invariant subspace of λ₁ (and its conjugate). 𝒢: that of the others.
  InvariantSplitting splitting;

  /// |λ₁|, the spectral radius of V.
  [[nodiscard]] double modulus() const { return std::abs(value); }
};

/// λ₁ − |λ₂|: the room between the leading eigenvalue and the others. 0 where λ₁ is multiple or complex.
struct SpectralGap {
  double absolute = 0;  ///< |λ₁| − |λ₂|
  double relative = 0;  ///< divided by |λ₁|: 1 for d = 1; 0 for V = 0
};

namespace detail {

/// Grows a cluster of diagonal blocks around λ₁: eigenvalues within tol |λ₁|, then, while the cluster's
/// invariant subspace is so badly conditioned that rounding could have split an eigenvalue, the nearest one
/// within that uncertainty. A defective eigenvalue, which rounding splits into a ring of well separated ones,
/// is put together again in this way.
class LeadingCluster {
 public:
  LeadingCluster(const SchurForm& form, double tol) : form_(form), blocks_(form.blocks()) {
    for (const auto block : blocks_) values_.push_back(form.eigenvalue(block));
    double radius = 0;
    for (const auto lambda : values_) radius = (std::max)(radius, std::abs(lambda));
    std::size_t leader = 0;
    bool found = false;
    for (std::size_t b = 0; b < values_.size(); ++b) {
      if (std::abs(values_[b]) < radius * (1 - tol)) continue;
      if (!found || values_[b].real() > values_[leader].real() + tol * radius) leader = b;
      found = true;
    }
    value = values_[leader];
    inside_.assign(values_.size(), false);
    for (std::size_t b = 0; b < values_.size(); ++b)
      inside_[b] = std::abs(values_[b] - value) <= tol * radius;
    const double unit =
        10 * static_cast<double>(form.dim()) * std::numeric_limits<double>::epsilon() * form.T.norm();
    for (;;) {
      measure(tol * radius, unit);
      const std::size_t next = nearest_outside();
      if (next == values_.size()) return;
      nearest = std::abs(values_[next] - value);
      if (nearest > uncertainty) return;
      inside_[next] = true;
    }
  }

  [[nodiscard]] double rest_radius() const {
    double radius = 0;
    for (std::size_t b = 0; b < values_.size(); ++b)
      if (!inside_[b]) radius = (std::max)(radius, std::abs(values_[b]));
    return radius;
  }

  std::complex<double> value;
  Eigen::Index multiplicity = 1;
  bool is_real = true;
  double nearest = std::numeric_limits<double>::infinity();
  double uncertainty = 0;
  double condition = 1;
  InvariantSplitting splitting;

 private:
  void measure(double tolerance, double unit) {
    splitting = split_invariant(form_, inside_);
    const auto m = static_cast<double>(splitting.dim());
    const double mean = splitting.V_inside.trace() / m;
    double spread = 0;  // the largest imaginary part inside
    for (std::size_t b = 0; b < values_.size(); ++b)
      if (inside_[b]) spread = (std::max)(spread, std::abs(values_[b].imag()));
    condition = splitting.condition;
    if (spread > 0 && splitting.dim() == 2) {  // one pair: how close is it to a defective real eigenvalue?
      const double departure = splitting.V_inside.squaredNorm() - 2 * std::norm(value);
      condition *= std::sqrt(1 + (std::max)(departure, 0.0) / (4 * spread * spread));
    }
    uncertainty = unit * condition;
    reach_ = (std::max)({reach_, uncertainty, tolerance});
    is_real = spread <= reach_;
    if (is_real) {
      value = mean;
      if (spread > 0) condition = splitting.condition;
    }
    multiplicity = is_real ? splitting.dim() : splitting.dim() / 2;
  }

  [[nodiscard]] std::size_t nearest_outside() const {
    std::size_t best = values_.size();
    for (std::size_t b = 0; b < values_.size(); ++b)
      if (!inside_[b] &&
          (best == values_.size() || std::abs(values_[b] - value) < std::abs(values_[best] - value)))
        best = b;
    return best;
  }

  const SchurForm& form_;
  std::vector<SchurForm::Block> blocks_;
  std::vector<std::complex<double>> values_;
  std::vector<bool> inside_;
  double reach_ = 0;  // the largest distance at which eigenvalues were taken for one
};

inline void validate_tolerance(const char* function, double tol) {
  if (!(tol >= 0 && tol < 1)) refuse(function, ": tol is ", tol, ", expected a number from 0 to below 1");
}

}  // namespace detail

/// The leading eigenpair from a Schur form. O(d³), without the rest of the eigenvectors.
[[nodiscard]] inline LeadingEigenpair leading_eigenpair(const SchurForm& form, double tol = 1e-8) {
  detail::validate_tolerance("leading_eigenpair", tol);
  const int shift = detail::unit_shift(form.T);
  if (std::abs(shift) > detail::extreme_scale) {
    LeadingEigenpair pair = leading_eigenpair(detail::scaled_form(form, shift), tol);
    pair.value = {std::ldexp(pair.value.real(), -shift), std::ldexp(pair.value.imag(), -shift)};
    for (double* size : {&pair.next_modulus, &pair.rest_radius, &pair.nearest, &pair.uncertainty})
      *size = std::ldexp(*size, -shift);
    for (Eigen::MatrixXd* V : {&pair.splitting.V_inside, &pair.splitting.V_outside})
      *V = detail::scaled_by_power(*V, -shift);
    if (!std::isfinite(pair.modulus()) || !pair.splitting.V_inside.allFinite() ||
        !pair.splitting.V_outside.allFinite())
      detail::refuse(
          "leading_eigenpair: V has an eigenvalue beyond the range of double, expected smaller entries");
    return pair;
  }
  detail::LeadingCluster cluster(form, tol);
  LeadingEigenpair pair;
  pair.value = cluster.value;
  pair.multiplicity = cluster.multiplicity;
  pair.nearest = cluster.is_real ? cluster.nearest : (std::min)(cluster.nearest, 2 * cluster.value.imag());
  pair.condition = cluster.condition;
  pair.uncertainty = cluster.uncertainty;
  pair.rest_radius = cluster.rest_radius();
  pair.is_real = cluster.is_real;
  pair.is_positive = pair.is_real && pair.value.real() > 0;
  pair.is_simple = pair.multiplicity == 1;
  pair.next_modulus = pair.is_real && pair.is_simple ? pair.rest_radius : pair.modulus();
  pair.is_dominant = pair.is_real && pair.is_simple && pair.next_modulus < pair.modulus() * (1 - tol);
  pair.splitting = std::move(cluster.splitting);
  if (pair.is_real && pair.is_simple) {
    pair.right = pair.splitting.inside.col(0);
    pair.left = pair.splitting.inside_dual.row(0);
    const double largest = pair.right.cwiseAbs().maxCoeff();
    Eigen::Index k = 0;
    while (std::abs(pair.right(k)) < largest * (1 - 1e-10)) ++k;
    if (pair.right(k) < 0) {
      pair.right = -pair.right;
      pair.left = -pair.left;
    }
  }
  return pair;
}

/// The leading eigenpair of V [GLPR23, §4]: d × d, real, at any scale.
///
/// \param tol  eigenvalues within tol |λ₁| of λ₁ count as λ₁, moduli within it as equal.
/// Flags that a change of V by rounding could turn are decided for the degenerate case: a defective λ₁, which
/// rounding splits, is multiple. O(d³), see schur_form.
/// \throws std::invalid_argument unless V is square and finite, its eigenvalues and its blocks are in the range
/// of double, and tol from 0 to below 1.
[[nodiscard]] inline LeadingEigenpair leading_eigenpair(const Eigen::MatrixXd& V, double tol = 1e-8) {
  detail::validate_square("leading_eigenpair", "V", V);
  return leading_eigenpair(schur_form(V), tol);
}

/// The spectral gap of a leading eigenpair.
[[nodiscard]] inline SpectralGap spectral_gap(const LeadingEigenpair& pair) {
  const double modulus = pair.modulus();
  if (!(modulus > 0)) return {};
  return {modulus - pair.next_modulus, 1 - pair.next_modulus / modulus};
}

/// The spectral gap of V. Cost and errors as leading_eigenpair.
[[nodiscard]] inline SpectralGap spectral_gap(const Eigen::MatrixXd& V) {
  detail::validate_square("spectral_gap", "V", V);
  return spectral_gap(leading_eigenpair(V));
}

}}  // namespace attnflow
