/// \file
/// The real Schur form, and its reordering. The one header with Eigen's real Schur decomposition, which takes
/// long to compile.
#pragma once

#include <attnflow/algebra/decompositions.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/spectral/symmetric_eigen.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

/// V = U T Uᵀ with U orthogonal and T quasi upper triangular: a 1 × 1 block on its diagonal for each real
/// eigenvalue, a 2 × 2 block for each pair a ± ib.
struct SchurForm {
  Eigen::MatrixXd U;  ///< d × d
  Eigen::MatrixXd T;  ///< d × d

  /// A diagonal block of T.
  struct Block {
    /// Its first row.
    Eigen::Index start;
    Eigen::Index size;  ///< 1 or 2

    friend bool operator==(const Block&, const Block&) = default;
  };

  /// d.
  [[nodiscard]] Eigen::Index dim() const noexcept { return T.rows(); }

  /// The diagonal blocks from top to bottom.
  [[nodiscard]] std::vector<Block> blocks() const {
    std::vector<Block> found;
    for (Eigen::Index j = 0; j < dim(); j += found.back().size)
      found.push_back({j, j + 1 < dim() && T(j + 1, j) != 0 ? 2 : 1});
    return found;
  }

  /// The eigenvalue of a block; of a pair the one with positive imaginary part.
  [[nodiscard]] std::complex<double> eigenvalue(Block block) const {
    const Eigen::Index j = block.start;
    if (block.size == 1) return T(j, j);
    const double half = T(j, j) / 2 - T(j + 1, j + 1) / 2;
    const double mean = T(j + 1, j + 1) + half;
    // Squares in units of the block: they neither overflow nor vanish.
    const double size = std::max({std::abs(half), std::abs(T(j, j + 1)), std::abs(T(j + 1, j))});
    if (!(size > 0)) return mean;
    const int unit = std::ilogb(size);
    const auto scaled = [unit](double value) { return std::ldexp(value, -unit); };
    const double square =
        scaled(half) * scaled(half) + scaled(T(j, j + 1)) * scaled(T(j + 1, j));  // < 0 for a pair
    return {mean, std::ldexp(std::sqrt(std::max(-square, 0.0)), unit)};
  }
};

namespace detail {

/// X with A X − X B = C for blocks of size at most 2, by elimination with complete pivoting on the Kronecker
/// form; pivots below `least` are replaced by it, as for eigenvalues that coincide up to rounding.
[[nodiscard]] inline Eigen::MatrixXd small_sylvester(const Eigen::MatrixXd& A, const Eigen::MatrixXd& B,
                                                     const Eigen::MatrixXd& C, double least) {
  const Eigen::Index p = A.rows(), q = B.rows(), m = p * q;
  Eigen::MatrixXd S = Eigen::MatrixXd::Zero(m, m);  // unknown X(i, j) is number i + p j
  for (Eigen::Index j = 0; j < q; ++j) {
    S.block(p * j, p * j, p, p) += A;
    for (Eigen::Index l = 0; l < q; ++l)
      for (Eigen::Index i = 0; i < p; ++i) S(i + p * j, i + p * l) -= B(l, j);
  }
  Eigen::VectorXd r = C.reshaped();
  std::vector<Eigen::Index> column(static_cast<std::size_t>(m));
  for (Eigen::Index k = 0; k < m; ++k) column[static_cast<std::size_t>(k)] = k;
  for (Eigen::Index k = 0; k < m; ++k) {
    Eigen::Index row = 0, col = 0;
    S.bottomRightCorner(m - k, m - k).cwiseAbs().maxCoeff(&row, &col);
    S.row(k).swap(S.row(k + row));
    std::swap(r(k), r(k + row));
    S.col(k).swap(S.col(k + col));
    std::swap(column[static_cast<std::size_t>(k)], column[static_cast<std::size_t>(k + col)]);
    if (std::abs(S(k, k)) < least) S(k, k) = least;
    for (Eigen::Index i = k + 1; i < m; ++i) {
      const double factor = S(i, k) / S(k, k);
      S.row(i) -= factor * S.row(k);
      r(i) -= factor * r(k);
    }
  }
  Eigen::MatrixXd X(p, q);
  for (Eigen::Index k = m; k-- > 0;) {
    for (Eigen::Index l = k + 1; l < m; ++l) r(k) -= S(k, l) * r(l);
    r(k) /= S(k, k);
  }
  for (Eigen::Index k = 0; k < m; ++k) X.reshaped()(column[static_cast<std::size_t>(k)]) = r(k);
  return X;
}

/// Exchanges the neighbouring diagonal blocks at j, of sizes p and q, by an orthogonal similarity [BD93]:
/// (−X; I) spans the invariant subspace of the lower block where T₁₁ X − X T₂₂ = T₁₂. Reflections take it to
/// the first coordinates.
inline void exchange_blocks(SchurForm& form, Eigen::Index j, Eigen::Index p, Eigen::Index q) {
  Eigen::MatrixXd& T = form.T;
  const Eigen::Index d = form.dim(), m = p + q;
  if (T.block(j, j + p, p, q).isZero(0)) {  // a permutation, and what is zero stays zero
    Eigen::PermutationMatrix<Eigen::Dynamic> order(m);
    for (Eigen::Index k = 0; k < m; ++k) order.indices()(k) = static_cast<int>(k < p ? k + q : k - p);
    T.middleCols(j, m) = (T.middleCols(j, m) * order.transpose()).eval();
    T.middleRows(j, m) = (order * T.middleRows(j, m)).eval();
    form.U.middleCols(j, m) = (form.U.middleCols(j, m) * order.transpose()).eval();
    return;
  }
  const double least = std::max(std::numeric_limits<double>::epsilon() * T.block(j, j, m, m).norm(),
                                std::numeric_limits<double>::min());
  Eigen::MatrixXd W(m, q);
  W.topRows(p) =
      -small_sylvester(T.block(j, j, p, p), T.block(j + p, j + p, q, q), T.block(j, j + p, p, q), least);
  W.bottomRows(q).setIdentity();
  for (Eigen::Index k = 0; k < q; ++k) {
    Eigen::VectorXd w = W.col(k).tail(m - k);
    w /= w.cwiseAbs().maxCoeff();
    w(0) += w(0) < 0 ? -w.norm() : w.norm();
    w.normalize();
    const auto reflect_rows = [&](auto&& block) {
      const Eigen::RowVectorXd product = 2 * (w.transpose() * block);
      block -= w * product;
    };
    const auto reflect_columns = [&](auto&& block) {
      const Eigen::VectorXd product = 2 * (block * w);
      block -= product * w.transpose();
    };
    reflect_rows(W.bottomRows(m - k));
    reflect_rows(T.block(j + k, j, m - k, d - j));
    reflect_columns(T.block(0, j + k, j + m, m - k));
    reflect_columns(form.U.middleCols(j + k, m - k));
  }
  T.block(j + q, j, p, q).setZero();
}

inline void require_schur_in_range(const SchurForm& form) {
  bool in_range = form.T.allFinite();
  if (in_range)
    for (const auto block : form.blocks())
      in_range = in_range && std::isfinite(std::abs(form.eigenvalue(block)));
  if (!in_range)
    refuse("schur_form: V has an eigenvalue beyond the range of double, expected smaller entries");
}

/// From this power of two on, squares of entries are out of range; below, scaling has nothing to mend.
inline constexpr int extreme_scale = 256;

/// The form of 2^shift V.
[[nodiscard]] inline SchurForm scaled_form(const SchurForm& form, int shift) {
  return {form.U, scaled_by_power(form.T, shift)};
}

}  // namespace detail

/// The real Schur form of V [GVL13, §7.4]. A symmetric V gets its eigenvectors, T diagonal; a diagonal V
/// stays as it is.
///
/// V: d × d, d ≥ 1, at any scale. Backward stable: ‖U T Uᵀ − V‖ is a small multiple of d ε ‖V‖. O(d³) time: on a
/// current machine 1 s at d = 512, 16 s at 1024, four minutes at 2048; for a symmetric V 1 s at 1024. O(d²) memory.
/// \throws std::invalid_argument unless V is square and finite, and its eigenvalues are in the range of
/// double; std::runtime_error if the iteration does not converge.
[[nodiscard]] inline SchurForm schur_form(const Eigen::MatrixXd& V) {
  detail::validate_square("schur_form", "V", V);
  const Eigen::Index d = V.rows();
  if (V.isDiagonal(0)) return {Eigen::MatrixXd::Identity(d, d), V};
  if (V == V.transpose()) {
    detail::SymmetricEigen found = detail::symmetric_eigen("schur_form", V, true);
    const SchurForm form{std::move(found.vectors), found.values.asDiagonal()};
    detail::require_schur_in_range(form);
    return form;
  }
  const int shift = detail::unit_shift(V);
  detail::RealSchurParts<Eigen::MatrixXd> parts =
      detail::real_schur<Eigen::MatrixXd>(detail::scaled_by_power(V, shift));
  if (!parts.converged) throw std::runtime_error("schur_form: no eigenvalues found");
  SchurForm form{std::move(parts.U), detail::scaled_by_power(parts.T, -shift)};
  for (Eigen::Index j = 0; j + 2 < d; ++j) form.T.col(j).tail(d - j - 2).setZero();
  detail::require_schur_in_range(form);
  return form;
}

/// Moves the chosen diagonal blocks to the top, in their order, by orthogonal similarities [BD93]: the first
/// columns of U then are an orthonormal basis of the invariant subspace of their eigenvalues.
///
/// chosen: one flag for each of form.blocks(). O(d³) at worst. \returns the dimension of that subspace.
/// \throws std::invalid_argument if the number of flags is wrong.
inline Eigen::Index move_to_top(SchurForm& form, std::vector<bool> chosen) {
  std::vector<SchurForm::Block> blocks = form.blocks();
  if (chosen.size() != blocks.size())
    detail::refuse("move_to_top: chosen has ", chosen.size(), " flags, expected ", blocks.size(),
                   ", one for each diagonal block");
  Eigen::Index top = 0;
  std::size_t place = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    if (!chosen[b]) continue;
    const Eigen::Index size = blocks[b].size;
    for (std::size_t c = b; c > place; --c) {  // upwards past those not chosen
      const Eigen::Index above = blocks[c - 1].size, start = blocks[c - 1].start;
      detail::exchange_blocks(form, start, above, size);
      blocks[c - 1] = {start, size};
      blocks[c] = {start + size, above};
      chosen[c] = chosen[c - 1];
      chosen[c - 1] = true;
    }
    ++place;
    top += size;
  }
  return top;
}

}  // namespace attnflow::inline ATTNFLOW_ABI
