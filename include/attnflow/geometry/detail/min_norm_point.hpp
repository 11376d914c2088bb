/// \file
/// Wolfe's algorithm: the point of a convex hull that is nearest to the origin.
#pragma once

#include <attnflow/numerics/orthonormal_basis.hpp>
#include <attnflow/numerics/products.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Affinely independent columns of P, and positive weights that sum to one.
class Corral {
 public:
  explicit Corral(const Eigen::MatrixXd& P) : P_(&P), basis_(P.rows(), P.cols()) {}

  /// Adds column j with weight 0, unless it lies within `negligible` of the affine hull.
  bool add(Eigen::Index j, double negligible) {
    if (!columns_.empty() && !basis_.append(P_->col(j) - P_->col(columns_[0]), negligible)) return false;
    columns_.push_back(j);
    weights_.conservativeResize(size());
    weights_(size() - 1) = size() == 1 ? 1 : 0;
    return true;
  }

  /// Walks from the weighted point towards the affine hull's point nearest to 0. Where a weight reaches 0
  /// its column leaves, and the walk goes on in the hull of the others. False if they are dependent.
  bool settle(double negligible) {
    for (;;) {
      const Eigen::VectorXd target = affine_weights();
      double step = 1;
      Eigen::Index leaving = -1;
      for (Eigen::Index i = 0; i < size(); ++i) {
        if (target(i) > 0) continue;
        const double fall = weights_(i) - target(i);
        const double ratio = fall > 0 ? weights_(i) / fall : 0;
        if (leaving < 0 || ratio < step) {
          step = ratio;
          leaving = i;
        }
      }
      if (leaving < 0) {
        weights_ = target;
        return true;
      }
      weights_ += step * (target - weights_);
      weights_(leaving) = 0;
      if (!drop_weightless(negligible)) return false;
    }
  }

  /// The point of the affine hull nearest to 0.
  [[nodiscard]] Eigen::VectorXd point() const { return basis_.rejection(P_->col(columns_[0])); }

  [[nodiscard]] Eigen::Index size() const noexcept { return static_cast<Eigen::Index>(columns_.size()); }
  [[nodiscard]] const std::vector<Eigen::Index>& columns() const noexcept { return columns_; }
  [[nodiscard]] const Eigen::VectorXd& weights() const noexcept { return weights_; }

 private:
  /// c with ∑ c = 1 and ∑ cᵢ pᵢ nearest to 0: that is p₀ + ∑ cᵢ (pᵢ − p₀) ⊥ all pᵢ − p₀.
  [[nodiscard]] Eigen::VectorXd affine_weights() const {
    Eigen::VectorXd c(size());
    c.tail(size() - 1) = basis_.coefficients(-P_->col(columns_[0]));
    c(0) = 1 - c.tail(size() - 1).sum();
    return c;
  }

  bool drop_weightless(double negligible) {
    std::size_t kept = 0, unmoved = 0;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const double weight = weights_(static_cast<Eigen::Index>(i));
      if (!(weight > 0)) continue;
      if (kept == i) ++unmoved;
      weights_(static_cast<Eigen::Index>(kept)) = weight;
      columns_[kept++] = columns_[i];
    }
    columns_.resize(kept);
    weights_.conservativeResize(size());
    unmoved = std::max<std::size_t>(unmoved, 1);
    basis_.truncate(static_cast<Eigen::Index>(unmoved) - 1);
    for (std::size_t i = unmoved; i < kept; ++i)
      if (!basis_.append(P_->col(columns_[i]) - P_->col(columns_[0]), negligible)) return false;
    return true;
  }

  const Eigen::MatrixXd* P_;
  std::vector<Eigen::Index> columns_;
  Eigen::VectorXd weights_;
  OrthonormalBasis basis_;  // of the differences from the first column
};

/// The point of conv{p₁ … p_m} nearest to 0, and how it is made of them.
struct MinNormPoint {
  Eigen::VectorXd point;              ///< x
  double length = 0;                  ///< ‖x‖
  double gap = 0;                     ///< maxₖ ⟨x, x − pₖ⟩ / ‖x‖ or ‖x‖, the smaller one
  std::vector<Eigen::Index> columns;  ///< affinely independent, their hull has x inside
  Eigen::VectorXd weights;            ///< positive, sum to one
};

/// Wolfe's algorithm [Wol76]. The point x of the hull of a few columns (the corral) is the nearest of
/// all iff no column lies beyond the plane through x orthogonal to it. One that does, the lowest, joins
/// the corral; x becomes the nearest point of its affine hull; columns that would weigh less than nothing
/// leave. ‖x‖ decreases strictly, so that no corral comes twice.
///
/// x is the rejection of a column by an orthonormal basis, and so orthogonal to the corral's directions to
/// rounding of its own length: that is what makes distances of 10⁻¹² of the size right to rounding.
/// The end: gap ≤ (8 + √d) ε maxₖ ‖pₖ‖, or ‖x‖ is as little, or rounding would let a corral come back.
/// A step costs O(d m + d k²) for k columns in the corral; there are usually a few d of them.
/// \pre m ≥ 1; the largest entry is near 1, or all are 0.
[[nodiscard]] inline MinNormPoint min_norm_point(const Eigen::MatrixXd& P) {
  const auto d = static_cast<double>(P.rows());
  const Eigen::VectorXd squares = P.colwise().squaredNorm().transpose();
  constexpr double epsilon = std::numeric_limits<double>::epsilon();
  const double reach = std::sqrt(squares.maxCoeff());
  const double negligible = epsilon * reach, tiny = (8 + std::sqrt(d)) * epsilon * reach;
  Eigen::Index lowest = 0;
  squares.minCoeff(&lowest);
  Corral corral(P);
  corral.add(lowest, 0);

  MinNormPoint found;
  found.point = P.col(lowest);
  found.length = found.point.norm();
  const Eigen::Index limit = 1000 + 100 * P.rows();  // never met; the gap would tell
  Eigen::Index stalled = 0;
  for (Eigen::Index step = 0;; ++step) {
    const Eigen::VectorXd& x = found.point;
    found.gap = 0;
    if (found.length > 0) {
      transposed_image(P, x.data()).minCoeff(&lowest);
      found.gap = std::clamp(x.dot(x - P.col(lowest)) / found.length, 0.0, found.length);
    }
    if (found.gap <= tiny || step == limit || stalled > P.rows()) break;
    if (std::ranges::find(corral.columns(), lowest) != corral.columns().end()) break;
    Corral next = corral;
    if (!next.add(lowest, negligible) || !next.settle(negligible)) break;
    if (next.columns() == corral.columns()) break;
    const Eigen::VectorXd y = next.point();
    const double length = y.norm();
    if (length > found.length + tiny) break;
    if (length >= found.length) ++stalled;
    corral = std::move(next);
    found.point = y;
    found.length = length;
  }
  found.columns = corral.columns();
  found.weights = corral.weights() / corral.weights().sum();
  return found;
}

}}}  // namespace attnflow::detail
