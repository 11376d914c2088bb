/// \file
/// An orthonormal basis that grows vector by vector.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/numerics/products.hpp>

#include <Eigen/Core>

#include <algorithm>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Orthonormal q₁ … q_k with the span of the vectors appended so far, and the triangle R of
///
///     aⱼ = ∑_{i ≤ j} qᵢ Rᵢⱼ.
///
/// Gram and Schmidt's process, repeated until the rest of a vector stands: the basis is orthonormal to
/// rounding however close to dependent the vectors are [GLR05]. Here and below, \pre: no square overflows.
class OrthonormalBasis {
 public:
  OrthonormalBasis(Eigen::Index d, Eigen::Index capacity)
      : Q_(d, (std::min)(d, capacity)), R_(ColumnMatrix::Zero(Q_.cols(), Q_.cols())) {}

  [[nodiscard]] Eigen::Index size() const noexcept { return size_; }

  /// Appends a, unless what is left of it outside the span is at most `negligible` long. O(d k).
  bool append(const Eigen::VectorXd& a, double negligible) {
    if (size_ == Q_.cols()) return false;
    Eigen::VectorXd rest = a, along = Eigen::VectorXd::Zero(size_);
    remove_span(rest, along);
    const double length = rest.norm();
    if (!(length > negligible)) return false;
    R_.col(size_).head(size_) = along;
    R_(size_, size_) = length;
    Q_.col(size_) = rest / length;
    ++size_;
    return true;
  }

  /// Forgets all but the first `count` vectors.
  void truncate(Eigen::Index count) { size_ = (std::min)(size_, count); }

  /// The part of x orthogonal to the span: so even to a small rest's own rounding. 0 for k = d. O(d k).
  [[nodiscard]] Eigen::VectorXd rejection(const Eigen::VectorXd& x) const {
    if (size_ == x.size()) return Eigen::VectorXd::Zero(x.size());
    Eigen::VectorXd rest = x, along = Eigen::VectorXd::Zero(size_);
    remove_span(rest, along);
    return rest;
  }

  /// c with ∑ⱼ cⱼ aⱼ the orthogonal projection of x to the span. O(d k + k²).
  [[nodiscard]] Eigen::VectorXd coefficients(const Eigen::VectorXd& x) const {
    Eigen::VectorXd c = transposed_image(Q_.leftCols(size_), x.data());
    for (Eigen::Index j = size_; j-- > 0;) {
      c(j) /= R_(j, j);
      subtract_multiple(c.data(), c(j), &R_(0, j), j);
    }
    return c;
  }

 private:
  void remove_span(Eigen::VectorXd& rest, Eigen::VectorXd& along) const {
    if (size_ == 0) return;
    // A pass leaves rounding of the size of what it found; it is repeated while most of that is gone.
    double before = rest.norm();
    for (int pass = 0; pass < 4; ++pass) {
      const Eigen::VectorXd part = transposed_image(Q_.leftCols(size_), rest.data());
      for (Eigen::Index j = 0; j < size_; ++j)
        subtract_multiple(rest.data(), part(j), &Q_(0, j), rest.size());
      along += part;
      const double after = rest.norm();
      if (after > 0.5 * before) break;
      before = after;
    }
  }

  ColumnMatrix Q_;  // d × capacity
  ColumnMatrix R_;  // upper triangular
  Eigen::Index size_ = 0;
};

}}}  // namespace attnflow::detail
