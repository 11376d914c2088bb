/// \file
/// All eigenvalues and eigenvectors of V, with their conditioning.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/numerics/linear_systems.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/scale.hpp>
#include <attnflow/numerics/schur.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// V = right · diag(eigenvalues) · left, and how far that can be trusted.
struct Spectrum {
  Eigen::VectorXcd eigenvalues;  ///< decreasing modulus; of a pair first the one with Im λ > 0
  Eigen::MatrixXcd right;        ///< d × d: unit columns φₖ, their largest entry real and positive
  Eigen::MatrixXcd left;         ///< d × d: rows φₖ* with left · right = I; empty if right is singular
  Eigen::VectorXd eigenvalue_condition;  ///< ‖φₖ*‖ ‖φₖ‖ ≥ 1: a change δV moves λₖ by about that times ‖δV‖
  double basis_condition = 1;  ///< ‖right‖_F ‖left‖_F / d ≥ 1; 1/ε and more: V is defective, or near it

  /// d, the number of eigenvalues.
  [[nodiscard]] Eigen::Index dim() const noexcept { return eigenvalues.size(); }
  /// max |λₖ|.
  [[nodiscard]] double radius() const { return std::abs(eigenvalues(0)); }
};

namespace detail {

/// The eigenvector of T (quasi triangular) for the eigenvalue of one block, by substitution from that block
/// upwards. Divisors that vanish up to rounding are replaced by rounding, so that every eigenvalue, double
/// or defective, has a vector whose residual is of that size.
[[nodiscard]] inline Eigen::VectorXcd schur_eigenvector(const SchurForm& form,
                                                        const std::vector<SchurForm::Block>& blocks,
                                                        std::size_t which, double least) {
  using Complex = std::complex<double>;
  const Eigen::MatrixXd& T = form.T;
  const auto [j, size] = blocks[which];
  const Complex lambda = form.eigenvalue(blocks[which]);
  Eigen::VectorXcd x = Eigen::VectorXcd::Zero(j + size);
  if (size == 1) {
    x(j) = 1;
  } else if (std::abs(T(j, j + 1)) >= std::abs(T(j + 1, j))) {
    x(j) = T(j, j + 1);
    x(j + 1) = lambda - T(j, j);
  } else {
    x(j) = lambda - T(j + 1, j + 1);
    x(j + 1) = T(j + 1, j);
  }
  x /= x.cwiseAbs().maxCoeff();
  Eigen::VectorXcd r = Eigen::VectorXcd::Zero(j);
  const auto subtract = [&](Eigen::Index start, Eigen::Index count, Eigen::Index rows) {  // column by column
    for (Eigen::Index k = start; k < start + count; ++k)
      for (Eigen::Index i = 0; i < rows; ++i) r(i) -= T(i, k) * x(k);
  };
  subtract(j, size, j);
  for (std::size_t b = which; b-- > 0;) {
    const auto [i, s] = blocks[b];
    if (s == 1) {
      Complex divisor = T(i, i) - lambda;
      if (std::abs(divisor) < least) divisor = least;
      x(i) = r(i) / divisor;
    } else {
      // By the largest entry first: a block may hold entries of very different sizes.
      std::array<std::array<Complex, 2>, 2> A{
          {{T(i, i) - lambda, T(i, i + 1)}, {T(i + 1, i), T(i + 1, i + 1) - lambda}}};
      std::array<Complex, 2> right{r(i), r(i + 1)};
      Eigen::Index column = i;  // of the unknown that is eliminated
      const auto largest_in = [](const std::array<Complex, 2>& row) {
        return (std::max)(std::abs(row[0]), std::abs(row[1]));
      };
      if (largest_in(A[1]) > largest_in(A[0])) {
        std::swap(A[0], A[1]);
        std::swap(right[0], right[1]);
      }
      if (std::abs(A[0][1]) > std::abs(A[0][0])) {
        std::swap(A[0][0], A[0][1]);
        std::swap(A[1][0], A[1][1]);
        column = i + 1;
      }
      if (std::abs(A[0][0]) < least) A[0][0] = least;
      const Complex factor = A[1][0] / A[0][0];
      Complex pivot = A[1][1] - factor * A[0][1];
      if (std::abs(pivot) < least) pivot = least;
      const Complex second = (right[1] - factor * right[0]) / pivot;
      x(2 * i + 1 - column) = second;
      x(column) = (right[0] - A[0][1] * second) / A[0][0];
    }
    subtract(i, s, i);
    const double largest = x.segment(i, s).cwiseAbs().maxCoeff();
    if (largest > 1e100) {
      x /= largest;
      r.head(i) /= largest;
    }
  }
  return x;
}

/// The largest entry (the first of those equal to it up to rounding) becomes real and positive, the norm 1.
inline void fix_phase(Eigen::Ref<Eigen::VectorXcd> v) {
  v /= v.cwiseAbs().maxCoeff();
  v.normalize();
  const double largest = v.cwiseAbs().maxCoeff();
  for (Eigen::Index k = 0; k < v.size(); ++k) {
    if (std::abs(v(k)) < largest * (1 - 1e-10)) continue;
    v *= std::conj(v(k)) / std::abs(v(k));
    v(k) = v(k).real();
    return;
  }
}

}  // namespace detail

/// The spectrum of a Schur form. O(d³).
[[nodiscard]] inline Spectrum spectrum(const SchurForm& form) {
  const int shift = detail::unit_shift(form.T);
  if (std::abs(shift) > detail::extreme_scale) {
    Spectrum found = spectrum(detail::scaled_form(form, shift));
    for (std::complex<double>& value : found.eigenvalues)
      value = {std::ldexp(value.real(), -shift), std::ldexp(value.imag(), -shift)};
    return found;
  }
  const Eigen::Index d = form.dim();
  const auto blocks = form.blocks();
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater{},
                           [&](std::size_t b) { return std::abs(form.eigenvalue(blocks[b])); });
  const double least = (std::max)(std::numeric_limits<double>::epsilon() * form.T.cwiseAbs().maxCoeff(),
                                  (std::numeric_limits<double>::min)());
  const bool diagonal = form.T.isDiagonal(0);

  Spectrum found;
  found.eigenvalues.resize(d);
  found.right.resize(d, d);
  Eigen::MatrixXd basis(d, d);  // of a pair the real and the imaginary part of its vector
  Eigen::Index k = 0;
  for (const std::size_t b : order) {
    const auto [start, size] = blocks[b];
    const std::complex<double> lambda = form.eigenvalue(blocks[b]);
    Eigen::VectorXcd v = form.U.col(start).cast<std::complex<double>>();
    if (!diagonal) {
      const Eigen::VectorXcd inside = detail::schur_eigenvector(form, blocks, b, least);
      const Eigen::VectorXd real = inside.real(), imag = inside.imag();
      v.real() = detail::image_of(form.U.leftCols(start + size), real.data());
      v.imag() = detail::image_of(form.U.leftCols(start + size), imag.data());
    }
    detail::fix_phase(v);
    found.eigenvalues(k) = lambda;
    found.right.col(k) = v;
    basis.col(k) = v.real();
    if (size == 2) {
      found.eigenvalues(k + 1) = std::conj(lambda);
      found.right.col(k + 1) = v.conjugate();
      basis.col(k + 1) = v.imag();
    }
    k += size;
  }

  Eigen::MatrixXd inverse = basis.transpose();
  if (!diagonal) inverse = detail::inverse_of(basis);
  found.eigenvalue_condition = Eigen::VectorXd::Constant(d, std::numeric_limits<double>::infinity());
  if (!inverse.allFinite()) {
    found.basis_condition = std::numeric_limits<double>::infinity();
    return found;
  }
  found.left.resize(d, d);
  for (k = 0; k < d;) {
    if (found.eigenvalues(k).imag() == 0) {
      found.left.row(k) = inverse.row(k);
      k += 1;
    } else {  // x = 2 Re(c φ) = a Re φ + b Im φ with c = (a − ib) / 2
      found.left.row(k).real() = inverse.row(k) / 2;
      found.left.row(k).imag() = -inverse.row(k + 1) / 2;
      found.left.row(k + 1) = found.left.row(k).conjugate();
      k += 2;
    }
  }
  found.eigenvalue_condition = found.left.rowwise().norm();
  found.basis_condition = found.right.norm() * found.left.norm() / static_cast<double>(d);
  return found;
}

/// The full spectrum of V: d × d, real, at any scale.
///
/// Eigenvalues come from the real Schur form, vectors by substitution in it, functionals from the inverse of
/// the basis. For a defective V the vectors still have residuals of rounding size, but are dependent:
/// basis_condition is then of order 1/ε or infinite, and left not to be used. O(d³), see schur_form.
/// \throws std::invalid_argument unless V is square and finite; std::runtime_error if the iteration does not
/// converge.
[[nodiscard]] inline Spectrum spectrum(const Eigen::MatrixXd& V) {
  detail::validate_square("spectrum", "V", V);
  return spectrum(schur_form(V));
}

/// The coordinates of tokens along the eigenvectors, φₖ*(xᵢ) in row k and column i; complex in pairs.
///
/// tokens: d × n. Errors of the tokens grow by up to the eigenvalue's condition. O(n d²).
/// \throws std::invalid_argument unless V has a basis of eigenvectors and the tokens d finite coordinates.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] Eigen::MatrixXcd eigen_coordinates(const Spectrum& spectrum,
                                                 const Eigen::MatrixBase<Derived>& tokens) {
  if (spectrum.left.size() == 0)
    detail::refuse("eigen_coordinates: V has no basis of eigenvectors (condition ", spectrum.basis_condition,
                   "), expected a matrix that can be diagonalised");
  if (tokens.rows() != spectrum.dim())
    detail::refuse("eigen_coordinates: tokens have ", tokens.rows(), " rows, expected d = ", spectrum.dim());
  const Eigen::MatrixXd x = tokens.template cast<double>();
  if (!x.allFinite()) detail::refuse("eigen_coordinates: tokens have an entry that is not finite");
  Eigen::MatrixXcd coordinates(x.rows(), x.cols());
  coordinates.real() = spectrum.left.real() * x;
  coordinates.imag() = spectrum.left.imag() * x;
  return coordinates;
}

}}  // namespace attnflow
