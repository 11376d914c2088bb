/// \file
/// The real Schur form and the eigenvalues of a symmetric matrix, by plain loops over columns.
///
/// The iterations are the classical ones. Eigen's solvers of the same name take a third of the time that a program
/// which analyses needs to compile; d is that of a token, and a run needs them a few times.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/numerics/hessenberg.hpp>
#include <attnflow/numerics/products.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// A = U T Uᵀ, U orthogonal, T with 1 × 1 and 2 × 2 blocks on its diagonal.
struct RealSchurParts {
  Eigen::MatrixXd U, T;
  bool converged;
};

/// Francis's implicit double shifts on a Hessenberg matrix T, gathered in U [GVL13, §7.5].
class FrancisIteration {
 public:
  FrancisIteration(ColumnMatrix& T, ColumnMatrix& U) : T_(T), U_(U) {}

  /// \returns whether it converged, in 40 d sweeps.
  bool run() {
    const Eigen::Index d = T_.rows();
    Eigen::Index sweeps = 0, since = 0;  // all, and those since an eigenvalue was found
    const double tiny = (std::max)(T_.norm() * epsilon * epsilon, (std::numeric_limits<double>::min)());
    for (Eigen::Index last = d - 1; last > 0;) {
      const Eigen::Index first = start_of_block(last, tiny);
      if (first >= last - 1) {
        if (first == last - 1) part_real_pair(first);
        last = first - 1;
        since = 0;
        continue;
      }
      if (++sweeps > 40 * d) return false;
      ++since;
      sweep(first, last, since % 10 == 0);
    }
    return true;
  }

 private:
  static constexpr double epsilon = std::numeric_limits<double>::epsilon();

  /// The first row of the block that ends with row `last`: subdiagonal entries that are negligible become 0.
  Eigen::Index start_of_block(Eigen::Index last, double tiny) {
    Eigen::Index k = last;
    for (; k > 0; --k) {
      const double size = std::abs(T_(k - 1, k - 1)) + std::abs(T_(k, k));
      if (std::abs(T_(k, k - 1)) > (std::max)(epsilon * size, tiny)) continue;
      T_(k, k - 1) = 0;
      break;
    }
    return k;
  }

  /// Two real eigenvalues in the block at k become two blocks; a pair stays as it is.
  void part_real_pair(Eigen::Index k) {
    const double half = (T_(k, k) - T_(k + 1, k + 1)) / 2, below = T_(k + 1, k);
    const double square = half * half + T_(k, k + 1) * below;
    if (square < 0) return;
    // (x, below) is the eigenvector of T(k + 1, k + 1) + x.
    const double x = half + (half < 0 ? -std::sqrt(square) : std::sqrt(square)),
                 length = std::hypot(x, below);
    const double cosine = x / length, sine = below / length;
    for (Eigen::Index j = k; j < T_.cols(); ++j) rotate(T_(k, j), T_(k + 1, j), cosine, sine);
    for (Eigen::Index i = 0; i <= k + 1; ++i) rotate(T_(i, k), T_(i, k + 1), cosine, sine);
    for (Eigen::Index i = 0; i < U_.rows(); ++i) rotate(U_(i, k), U_(i, k + 1), cosine, sine);
    T_(k + 1, k) = 0;
  }

  static void rotate(double& a, double& b, double cosine, double sine) {
    const double old = a;
    a = cosine * old + sine * b;
    b = cosine * b - sine * old;
  }

  /// One double step on the rows first … last, three at least. Every tenth has shifts of its own: those of the
  /// corner can go round in circles, as for a cyclic permutation.
  void sweep(Eigen::Index first, Eigen::Index last, bool exceptional) {
    double a = T_(last, last), b = T_(last - 1, last - 1), bc = T_(last, last - 1) * T_(last - 1, last);
    if (exceptional) {
      const double size = std::abs(T_(last, last - 1)) + std::abs(T_(last - 1, last - 2));
      a = b = 0.75 * size + T_(last, last);
      bc = -0.4375 * size * size;
    }
    // v is the first column of (T − s)(T − t) for the shifts s and t, divided by T(m + 1, m), where the step starts at
    // m: as far down as two small subdiagonal entries in a row allow.
    std::array<double, 3> v{};
    Eigen::Index m = last - 2;
    for (;; --m) {
      const double own = T_(m, m), r = a - own, s = b - own;
      v = {(r * s - bc) / T_(m + 1, m) + T_(m, m + 1), T_(m + 1, m + 1) - own - r - s, T_(m + 2, m + 1)};
      if (m == first) break;
      const double before = std::abs(T_(m, m - 1)) * (std::abs(v[1]) + std::abs(v[2]));
      const double around = std::abs(T_(m - 1, m - 1)) + std::abs(own) + std::abs(T_(m + 1, m + 1));
      if (before < epsilon * std::abs(v[0]) * around) break;
    }
    for (Eigen::Index k = m; k < last; ++k) {
      const Eigen::Index rows = std::min<Eigen::Index>(3, last - k + 1);
      if (k > m) v = {T_(k, k - 1), T_(k + 1, k - 1), rows == 3 ? T_(k + 2, k - 1) : 0};
      if (rows == 2) v[2] = 0;
      const double largest = (std::max)({std::abs(v[0]), std::abs(v[1]), std::abs(v[2])});
      if (largest == 0) continue;
      for (double& entry : v) entry /= largest;
      const double rest = v[1] * v[1] + v[2] * v[2];
      if (rest == 0) continue;
      const double length = std::sqrt(v[0] * v[0] + rest), beta = v[0] >= 0 ? -length : length;
      const double tau = (beta - v[0]) / beta, unit = v[0] - beta;
      v = {1, v[1] / unit, v[2] / unit};
      if (k > m) {
        T_(k, k - 1) = beta * largest;
        for (Eigen::Index i = k + 1; i < k + rows; ++i) T_(i, k - 1) = 0;
      } else if (k > first) {
        T_(k, k - 1) *= 1 - tau;
      }
      reflect(k, rows, v, tau, (std::min)(k + 3, last));
    }
  }

  /// T ← H T H and U ← U H with H = I − τ v vᵀ of the coordinates from k on; T is zero beyond row `end` of its columns.
  void reflect(Eigen::Index k, Eigen::Index rows, const std::array<double, 3>& v, double tau,
               Eigen::Index end) {
    const Eigen::Index d = T_.rows();
    for (Eigen::Index j = k; j < d; ++j) {
      double* const t = &T_(k, j);
      const double sum = tau * (t[0] + v[1] * t[1] + (rows == 3 ? v[2] * t[2] : 0));
      t[0] -= sum;
      t[1] -= sum * v[1];
      if (rows == 3) t[2] -= sum * v[2];
    }
    const auto reflect_columns = [&](ColumnMatrix& A, Eigen::Index count) {
      double *const x = &A(0, k), *const y = x + d, *const z = rows == 3 ? y + d : y;
      const double last = rows == 3 ? v[2] : 0;
      for (Eigen::Index i = 0; i < count; ++i) {
        const double sum = tau * (x[i] + v[1] * y[i] + last * z[i]);
        x[i] -= sum;
        y[i] -= sum * v[1];
        if (rows == 3) z[i] -= sum * last;
      }
    };
    reflect_columns(T_, end + 1);
    reflect_columns(U_, d);
  }

  ColumnMatrix& T_;
  ColumnMatrix& U_;
};

/// A: d × d. Backward stable; about 25 d³ operations. \pre the entries of A are near 1: squares neither overflow nor
/// vanish.
[[nodiscard]] inline RealSchurParts real_schur(const Eigen::MatrixXd& A) {
  HessenbergForm form = hessenberg_form(A);
  ColumnMatrix T = std::move(form.H), U = std::move(form.Q);
  const bool converged = FrancisIteration(T, U).run();
  return {std::move(U), std::move(T), converged};
}

/// A symmetric A = vectors · diag(values) · vectorsᵀ, values increasing.
struct SymmetricParts {
  Eigen::VectorXd values;
  Eigen::MatrixXd vectors;  ///< none where none are wanted
  bool converged = true;
};

/// The implicit symmetric QR step with Wilkinson's shift on the rows first … last of a tridiagonal matrix, of diagonal
/// a and subdiagonal b [GVL13, §8.3.3]; Q, if it has rows, is multiplied by its rotations.
inline void tridiagonal_step(Eigen::VectorXd& a, Eigen::VectorXd& b, Eigen::Index first, Eigen::Index last,
                             ColumnMatrix& Q) {
  const double half = (a(last - 1) - a(last)) / 2, corner = b(last - 1);
  const double root = std::hypot(half, corner);
  const double shift = a(last) - corner * (corner / (half < 0 ? half - root : half + root));
  double x = a(first) - shift, z = b(first);
  for (Eigen::Index k = first; k < last; ++k) {
    const double length = std::hypot(x, z);
    const double cosine = length > 0 ? x / length : 1, sine = length > 0 ? z / length : 0;
    if (k > first) b(k - 1) = length;
    const double p = a(k), q = b(k), t = a(k + 1);
    const double difference = sine * (t - p) + 2 * cosine * q;  // written so that p + t is kept
    a(k) = p + sine * difference;
    a(k + 1) = t - sine * difference;
    b(k) = cosine * difference - q;
    if (k + 1 < last) {
      x = b(k);
      z = sine * b(k + 1);
      b(k + 1) *= cosine;
    }
    double *const left = Q.data() + k * Q.rows(), *const right = left + Q.rows();
    for (Eigen::Index i = 0; i < Q.rows(); ++i) {
      const double old = left[i];
      left[i] = cosine * old + sine * right[i];
      right[i] = cosine * right[i] - sine * old;
    }
  }
}

/// A: d × d, of which the lower triangle is read. Backward stable; 4/3 d³ operations, 9 d³ with vectors. \pre as above.
[[nodiscard]] inline SymmetricParts symmetric_parts(const Eigen::MatrixXd& A, bool with_vectors) {
  TridiagonalForm form = tridiagonal_form(A, with_vectors);
  ColumnMatrix Q = std::move(form.Q);
  Eigen::VectorXd &a = form.diagonal, &b = form.subdiagonal;
  const Eigen::Index d = A.rows();
  constexpr double epsilon = std::numeric_limits<double>::epsilon();
  double size =
      (std::numeric_limits<double>::min)();  // entries below ε² of the largest are nothing to the matrix
  for (Eigen::Index k = 0; k + 1 < d; ++k) size = (std::max)({size, std::abs(a(k)), std::abs(b(k))});
  const double tiny = size * epsilon * epsilon;
  Eigen::Index steps = 0;
  for (Eigen::Index last = d - 1; last > 0;) {
    Eigen::Index first = last;
    for (; first > 0; --first) {
      double& below = b(first - 1);
      if (std::abs(below) > (std::max)(epsilon * (std::abs(a(first - 1)) + std::abs(a(first))), tiny))
        continue;
      below = 0;
      break;
    }
    if (first == last) {
      --last;
      continue;
    }
    if (++steps > 40 * d) return {{}, {}, false};
    tridiagonal_step(a, b, first, last, Q);
  }
  std::vector<Eigen::Index> order(static_cast<std::size_t>(d));
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Eigen::Index i, Eigen::Index k) { return a(i) < a(k); });
  SymmetricParts parts{Eigen::VectorXd(d), Eigen::MatrixXd(Q.rows(), Q.cols())};
  for (Eigen::Index k = 0; k < d; ++k) {
    const Eigen::Index from = order[static_cast<std::size_t>(k)];
    parts.values(k) = a(from);
    if (with_vectors) parts.vectors.col(k) = Q.col(from);
  }
  return parts;
}

}}}  // namespace attnflow::detail
