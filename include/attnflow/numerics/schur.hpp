/// \file
/// The real Schur form, and its reordering.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/decompositions.hpp>
#include <attnflow/numerics/symmetric_eigen.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

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
    const double size = (std::max)({std::abs(half), std::abs(T(j, j + 1)), std::abs(T(j + 1, j))});
    if (!(size > 0)) return mean;
    const int unit = std::ilogb(size);
    const auto scaled = [unit](double value) { return std::ldexp(value, -unit); };
    const double square =
        scaled(half) * scaled(half) + scaled(T(j, j + 1)) * scaled(T(j + 1, j));  // < 0 for a pair
    return {mean, std::ldexp(std::sqrt((std::max)(-square, 0.0)), unit)};
  }
};

namespace detail {

/// A few columns of at most four numbers.
using SmallColumns = std::array<std::array<double, 4>, 2>;

/// X with T₁₁ X − X T₂₂ = T₁₂ for the neighbouring diagonal blocks at j, of sizes p and q up to 2, by elimination with
/// complete pivoting on the Kronecker form; pivots below `least` are replaced by it, as for eigenvalues that coincide
/// up to rounding. \returns the q columns of X
[[nodiscard]] inline SmallColumns small_sylvester(const Eigen::MatrixXd& T, Eigen::Index j, Eigen::Index p,
                                                  Eigen::Index q, double least) {
  const auto n = static_cast<std::size_t>(p), m = static_cast<std::size_t>(p * q);
  const auto entry = [&](std::size_t i, std::size_t k) {
    return T(j + static_cast<Eigen::Index>(i), j + static_cast<Eigen::Index>(k));
  };
  std::array<std::array<double, 5>, 4> S{};  // unknown X(i, k) is number i + p k; the right side comes last
  std::array<std::size_t, 4> column{0, 1, 2, 3};
  for (std::size_t e = 0; e < m; ++e) {
    const std::size_t i = e % n, k = e / n;
    for (std::size_t l = 0; l < n; ++l) S[e][l + n * k] += entry(i, l);
    for (std::size_t l = 0; l < m / n; ++l) S[e][i + n * l] -= entry(n + l, n + k);
    S[e][4] = entry(i, n + k);
  }
  for (std::size_t k = 0; k < m; ++k) {
    std::size_t row = k, best = k;
    for (std::size_t c = k; c < m; ++c)
      for (std::size_t r = k; r < m; ++r)
        if (std::abs(S[r][c]) > std::abs(S[row][best])) {
          row = r;
          best = c;
        }
    std::swap(S[k], S[row]);
    for (std::size_t r = 0; r < m; ++r) std::swap(S[r][k], S[r][best]);
    std::swap(column[k], column[best]);
    if (std::abs(S[k][k]) < least) S[k][k] = least;
    for (std::size_t r = k + 1; r < m; ++r) {
      const double factor = S[r][k] / S[k][k];
      for (std::size_t c = k; c < m; ++c) S[r][c] -= factor * S[k][c];
      S[r][4] -= factor * S[k][4];
    }
  }
  SmallColumns X{};
  for (std::size_t k = m; k-- > 0;) {
    for (std::size_t c = k + 1; c < m; ++c) S[k][4] -= S[k][c] * S[c][4];
    S[k][4] /= S[k][k];
    X[column[k] / n][column[k] % n] = S[k][4];
  }
  return X;
}

/// Exchanges the neighbouring diagonal blocks at j, of sizes p and q, by an orthogonal similarity [BD93]:
/// (−X; I) spans the invariant subspace of the lower block where T₁₁ X − X T₂₂ = T₁₂. Reflections take it to
/// the first coordinates.
inline void exchange_blocks(SchurForm& form, Eigen::Index j, Eigen::Index p, Eigen::Index q) {
  Eigen::MatrixXd& T = form.T;
  const Eigen::Index d = form.dim(), m = p + q;
  double above = 0, squares = 0;
  for (Eigen::Index c = j; c < j + m; ++c)
    for (Eigen::Index r = j; r < j + m; ++r) {
      squares += T(r, c) * T(r, c);
      if (r < j + p && c >= j + p) above = (std::max)(above, std::abs(T(r, c)));
    }
  if (above == 0) {  // a permutation, and what is zero stays zero
    const auto exchange_columns = [&](Eigen::MatrixXd& A) {
      const Eigen::MatrixXd first = A.middleCols(j, p), second = A.middleCols(j + p, q);
      A.middleCols(j, q) = second;
      A.middleCols(j + q, p) = first;
    };
    exchange_columns(T);
    exchange_columns(form.U);
    const Eigen::MatrixXd first = T.middleRows(j, p), second = T.middleRows(j + p, q);
    T.middleRows(j, q) = second;
    T.middleRows(j + q, p) = first;
    return;
  }
  const double least = (std::max)(std::numeric_limits<double>::epsilon() * std::sqrt(squares),
                                  (std::numeric_limits<double>::min)());
  SmallColumns W = small_sylvester(T, j, p, q, least);
  const auto rows = static_cast<std::size_t>(m), upper = static_cast<std::size_t>(p);
  for (std::size_t k = 0; k < rows - upper; ++k)
    for (std::size_t i = 0; i < rows; ++i) W[k][i] = i < upper ? -W[k][i] : (i - upper == k ? 1 : 0);
  for (std::size_t k = 0; k < rows - upper; ++k) {
    // w, of the coordinates from k on, with (I − 2 w wᵀ) W e_k a multiple of the first of them.
    std::array<double, 4> w{};
    double largest = 0, length = 0;
    for (std::size_t i = k; i < rows; ++i) largest = (std::max)(largest, std::abs(W[k][i]));
    for (std::size_t i = k; i < rows; ++i) length = std::hypot(length, w[i] = W[k][i] / largest);
    w[k] += w[k] < 0 ? -length : length;
    length = 0;
    for (std::size_t i = k; i < rows; ++i) length = std::hypot(length, w[i]);
    for (std::size_t i = k; i < rows; ++i) w[i] /= length;
    const auto reflect = [&](auto&& at) {  // the numbers at(k), …, at(m − 1)
      double along = 0;
      for (std::size_t i = k; i < rows; ++i) along += w[i] * at(i);
      for (std::size_t i = k; i < rows; ++i) at(i) -= 2 * along * w[i];
    };
    for (std::size_t c = 0; c < rows - upper; ++c) reflect([&](std::size_t i) -> double& { return W[c][i]; });
    for (Eigen::Index c = j; c < d; ++c)
      reflect([&](std::size_t i) -> double& { return T(j + static_cast<Eigen::Index>(i), c); });
    for (Eigen::Index r = 0; r < j + m; ++r)
      reflect([&](std::size_t i) -> double& { return T(r, j + static_cast<Eigen::Index>(i)); });
    for (Eigen::Index r = 0; r < d; ++r)
      reflect([&](std::size_t i) -> double& { return form.U(r, j + static_cast<Eigen::Index>(i)); });
  }
  for (Eigen::Index c = j; c < j + q; ++c)
    for (Eigen::Index r = j + q; r < j + m; ++r) T(r, c) = 0;
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
/// current machine 1 s at d = 512, 16 s at 1024, four minutes at 2048; for a symmetric V 2 s at 1024. O(d²) memory.
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
  detail::RealSchurParts parts = detail::real_schur(detail::scaled_by_power(V, shift));
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

}}  // namespace attnflow
