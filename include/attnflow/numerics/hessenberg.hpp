/// \file
/// Reduction to Hessenberg and to tridiagonal form: what an eigenvalue iteration starts from.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/numerics/products.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Householder's reflections Hₖ = I − τₖ vₖ vₖᵀ of ℝᵈ, k = 0 … d − 3, each of the coordinates after the k-th, of which
/// vₖ has 1 first [GVL13, §5.1].
class Reflections {
 public:
  explicit Reflections(Eigen::Index d)
      : v_(d, std::max<Eigen::Index>(d - 2, 0)), tau_(Eigen::VectorXd::Zero(v_.cols())) {}

  /// The number of coordinates that Hₖ changes.
  [[nodiscard]] Eigen::Index size(Eigen::Index k) const noexcept { return v_.rows() - k - 1; }
  /// vₖ, from its 1 on.
  [[nodiscard]] const double* vector(Eigen::Index k) const { return &v_(k + 1, k); }
  [[nodiscard]] double tau(Eigen::Index k) const { return tau_(k); }

  /// Hₖ such that x, of size(k) numbers, becomes (β, 0, …, 0). \returns β
  double make(Eigen::Index k, const double* x) {
    const Eigen::Index m = size(k);
    double* const v = &v_(k + 1, k);
    const double rest = inner_product(x + 1, x + 1, m - 1);
    v[0] = 1;
    if (!(rest > (std::numeric_limits<double>::min)())) {  // that little counts as nothing: Hₖ = I
      std::fill(v + 1, v + m, 0.0);
      return x[0];
    }
    const double length = std::sqrt(x[0] * x[0] + rest), beta = x[0] >= 0 ? -length : length;
    for (Eigen::Index i = 1; i < m; ++i) v[i] = x[i] / (x[0] - beta);
    tau_(k) = (beta - x[0]) / beta;
    return beta;
  }

  /// x ← Hₖ x, given the size(k) numbers that change.
  void apply(Eigen::Index k, double* x) const {
    subtract_multiple(x, tau_(k) * inner_product(vector(k), x, size(k)), vector(k), size(k));
  }

  /// H₀ H₁ ⋯, d × d. 4/3 d³ operations.
  [[nodiscard]] ColumnMatrix product() const {
    ColumnMatrix Q = ColumnMatrix::Identity(v_.rows(), v_.rows());
    for (Eigen::Index k = v_.cols(); k-- > 0;)
      for (Eigen::Index j = k + 1; j < Q.cols(); ++j) apply(k, &Q(k + 1, j));
    return Q;
  }

 private:
  ColumnMatrix v_;  // vₖ in column k, below the k-th row
  Eigen::VectorXd tau_;
};

/// A = Q H Qᵀ with Q orthogonal and H zero below its first subdiagonal [GVL13, §7.4.2].
struct HessenbergForm {
  Eigen::MatrixXd Q, H;
};

/// A: d × d, entries near 1. Backward stable; 14/3 d³ operations. \pre squares of the entries do not overflow.
[[nodiscard]] inline HessenbergForm hessenberg_form(const Eigen::MatrixXd& A) {
  const Eigen::Index d = A.rows();
  ColumnMatrix H = A;
  Eigen::VectorXd sum(d);
  Reflections reflections(d);
  for (Eigen::Index k = 0; k + 2 < d; ++k) {
    const double beta = reflections.make(k, &H(k + 1, k));
    H.col(k).tail(d - k - 1).setZero();
    H(k + 1, k) = beta;
    const double tau = reflections.tau(k);
    if (tau == 0) continue;
    const double* const v = reflections.vector(k);
    sum.setZero();  // −H v of the columns that change
    for (Eigen::Index j = k + 1; j < d; ++j) {
      reflections.apply(k, &H(k + 1, j));
      subtract_multiple(sum.data(), v[j - k - 1], &H(0, j), d);
    }
    for (Eigen::Index j = k + 1; j < d; ++j) subtract_multiple(&H(0, j), -tau * v[j - k - 1], sum.data(), d);
  }
  return {reflections.product(), std::move(H)};
}

/// A symmetric A = Q T Qᵀ with Q orthogonal and T tridiagonal [GVL13, §8.3.1].
struct TridiagonalForm {
  Eigen::MatrixXd Q;  ///< empty where it is not wanted
  Eigen::VectorXd diagonal, subdiagonal;
};

/// A: d × d, entries near 1, of which the lower triangle is read. 4/3 d³ operations, and as many for Q.
[[nodiscard]] inline TridiagonalForm tridiagonal_form(ColumnMatrix A, bool with_Q) {
  const Eigen::Index d = A.rows();
  TridiagonalForm form{{}, Eigen::VectorXd(d), Eigen::VectorXd(std::max<Eigen::Index>(d - 1, 0))};
  Eigen::VectorXd w(d);
  Reflections reflections(d);
  for (Eigen::Index k = 0; k + 2 < d; ++k) {
    form.subdiagonal(k) = reflections.make(k, &A(k + 1, k));
    const double tau = reflections.tau(k);
    if (tau == 0) continue;
    const double* const v = reflections.vector(k);
    const Eigen::Index m = reflections.size(k);
    // With p = τ A v and w = p − (τ/2) ⟨p, v⟩ v, HAH = A − v wᵀ − w vᵀ.
    w.head(m).setZero();
    for (Eigen::Index j = 0; j < m; ++j) {  // column j from the diagonal on, and row j up to it
      const double* const a = &A(k + 1 + j, k + 1 + j);
      subtract_multiple(w.data() + j, -tau * v[j], a, m - j);
      w(j) += tau * inner_product(a + 1, v + j + 1, m - j - 1);
    }
    subtract_multiple(w.data(), tau / 2 * inner_product(w.data(), v, m), v, m);
    for (Eigen::Index j = 0; j < m; ++j) {
      double* const a = &A(k + 1 + j, k + 1 + j);
      subtract_multiple(a, v[j], w.data() + j, m - j);
      subtract_multiple(a, w(j), v + j, m - j);
    }
  }
  form.diagonal = A.diagonal();
  if (d > 1) form.subdiagonal(d - 2) = A(d - 1, d - 2);
  if (with_Q) form.Q = reflections.product();
  return form;
}

}}}  // namespace attnflow::detail
