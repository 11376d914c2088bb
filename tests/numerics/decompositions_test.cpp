#include <attnflow/numerics/decompositions.hpp>
#include <attnflow/numerics/hessenberg.hpp>
#include <attnflow/numerics/linear_systems.hpp>

#include "catch.hpp"
#include "draws.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

namespace {

using namespace attnflow::detail;
using Eigen::Index;
using Eigen::MatrixXd;
constexpr double epsilon = std::numeric_limits<double>::epsilon();

MatrixXd draw(std::mt19937_64& generator, Index rows, Index columns) {
  return reference::random<MatrixXd>(generator, rows, columns);
}

MatrixXd identity(Index d) { return MatrixXd::Identity(d, d); }

/// d backward stable operations of size `size`, with room.
double rounding(Index d, double size = 1) { return 20 * static_cast<double>(d) * epsilon * size; }

void check_orthogonal(const MatrixXd& Q) {
  CHECK((Q.transpose() * Q - identity(Q.rows())).norm() <= rounding(Q.rows()));
}

MatrixXd tridiagonal(const TridiagonalForm& form) {
  MatrixXd T = form.diagonal.asDiagonal();
  T.diagonal(1) = form.subdiagonal;
  T.diagonal(-1) = form.subdiagonal;
  return T;
}

/// d × d of every kind that an iteration may stumble over, entries near 1.
std::vector<MatrixXd> hard_matrices() {
  std::mt19937_64 generator(6);
  std::vector<MatrixXd> found;
  for (const Index d : {1, 2, 3, 4, 5, 8, 13, 40, 120}) found.push_back(draw(generator, d, d));
  for (const Index d : {3, 4, 5, 6, 9, 12, 30}) {
    MatrixXd shift = MatrixXd::Zero(d, d);
    shift.diagonal(-1).setOnes();
    found.push_back(shift);              // nilpotent
    found.push_back(shift.transpose());  // the same, triangular
    shift(0, d - 1) = 1;
    found.push_back(shift);  // cyclic: the eigenvalues are all as large, shifts of the corner are 0
    MatrixXd jordan = MatrixXd::Identity(d, d);
    jordan.diagonal(1).setOnes();
    const MatrixXd Q = hessenberg_form(draw(generator, d, d)).Q;
    found.push_back(Q * jordan * Q.transpose());
    MatrixXd graded = draw(generator, d, d);
    for (Index i = 0; i < d; ++i)
      for (Index j = 0; j < d; ++j) graded(i, j) *= std::pow(10., -0.5 * static_cast<double>(i + 2 * j));
    found.push_back(graded);
    MatrixXd rotations = MatrixXd::Zero(d, d);  // the same pair over and over
    for (Index i = 0; i + 1 < d; i += 2) rotations.block(i, i, 2, 2) << 0.6, -0.8, 0.8, 0.6;
    found.push_back(Q * rotations * Q.transpose());
    found.push_back(draw(generator, d, 1) * draw(generator, 1, d));  // of rank one
    found.push_back(MatrixXd::Ones(d, d));
    MatrixXd low = draw(generator, d, d);
    low.bottomLeftCorner(d / 2, d - d / 2).setZero();  // parts that do not see each other
    found.push_back(low);
  }
  found.push_back(MatrixXd::Zero(4, 4));
  found.push_back(1e-9 * MatrixXd::Ones(5, 5) + MatrixXd(draw(generator, 5, 1).asDiagonal()));
  return found;
}

}  // namespace

TEST_CASE("inverses and solutions leave residuals of rounding", "[algebra]") {
  std::mt19937_64 generator(1);
  for (const Index d : {1, 2, 3, 4, 7, 30, 90})
    for (const bool rows_from_zero : {false, true}) {
      MatrixXd A = draw(generator, d, d);
      if (rows_from_zero && d > 1) A(0, 0) = 1e-20;  // a pivot that must not be taken
      const MatrixXd B = draw(generator, d, 3), inverse = inverse_of(A);
      CHECK((A * inverse - identity(d)).norm() <= rounding(d, A.norm() * inverse.norm()));
      const FullPivoting full = solve_fully(A, B);
      REQUIRE(full.invertible);
      CHECK((A * full.inverse - identity(d)).norm() <= rounding(d, A.norm() * full.inverse.norm()));
      CHECK((A * full.solution - B).norm() <= rounding(d, A.norm() * full.solution.norm()));
      CHECK((inverse - full.inverse).norm() <= rounding(d, A.norm() * inverse.norm() * inverse.norm()));
    }
}

TEST_CASE("permutations are inverted without rounding", "[algebra]") {
  MatrixXd P = MatrixXd::Zero(4, 4);
  P(0, 2) = P(1, 0) = P(2, 3) = P(3, 1) = 1;
  CHECK(inverse_of(P) == P.transpose());
  const FullPivoting full = solve_fully(P, P);
  CHECK(full.inverse == P.transpose());
  CHECK(full.solution == identity(4));
  CHECK(full.rcond == 1);
}

TEST_CASE("singular matrices are told, and nearly singular ones measured", "[algebra]") {
  std::mt19937_64 generator(2);
  for (const Index d : {2, 3, 8}) {
    const MatrixXd thin = draw(generator, d, d - 1), singular = thin * draw(generator, d - 1, d);
    CHECK_FALSE(solve_fully(singular, singular).invertible);
    CHECK(solve_fully(singular, singular).rcond == 0);
    CHECK_FALSE(inverse_of(singular).cwiseAbs().maxCoeff() < 1e12);  // large, or not finite
  }
  CHECK_FALSE(solve_fully(MatrixXd::Zero(2, 2), MatrixXd::Zero(2, 2)).invertible);
  CHECK_FALSE(inverse_of(MatrixXd::Zero(2, 2)).allFinite());
  // ‖A‖₁ = 4, and A⁻¹ = (1 −3; 0 1) has the same norm.
  const MatrixXd A = (MatrixXd(2, 2) << 1, 3, 0, 1).finished();
  CHECK(solve_fully(A, A).rcond == 1. / 16);
  CHECK(solve_fully(Eigen::Vector3d(1, 1e-10, 4).asDiagonal(), identity(3)).rcond ==
        Approx(2.5e-11).epsilon(1e-12));
}

TEST_CASE("a Cholesky factor gives back its matrix", "[algebra]") {
  std::mt19937_64 generator(3);
  for (const Index d : {1, 2, 5, 20}) {
    const MatrixXd half = draw(generator, d, d + 2), A = half * half.transpose();
    const CholeskyFactor factor = cholesky(A);
    CHECK(factor.upper.isUpperTriangular(0));
    CHECK(factor.upper.diagonal().minCoeff() > 0);
    CHECK((factor.upper.transpose() * factor.upper - A).norm() <= rounding(d, A.norm()));
    CHECK((factor.upper * factor.inverse - identity(d)).norm() <=
          rounding(d, factor.upper.norm() * factor.inverse.norm()));
  }
}

TEST_CASE("a Hessenberg form is similar to its matrix", "[algebra]") {
  std::mt19937_64 generator(4);
  for (const Index d : {1, 2, 3, 4, 8, 40}) {
    const MatrixXd A = draw(generator, d, d);
    const HessenbergForm form = hessenberg_form(A);
    check_orthogonal(form.Q);
    CHECK((form.Q * form.H * form.Q.transpose() - A).norm() <= rounding(d, A.norm()));
    for (Index j = 0; j < d; ++j)
      for (Index i = j + 2; i < d; ++i) CHECK(form.H(i, j) == 0);
    // Once more: nothing is left to be done.
    const HessenbergForm again = hessenberg_form(form.H);
    CHECK(again.H == form.H);
    CHECK(again.Q == identity(d));
  }
}

TEST_CASE("a tridiagonal form is similar to its symmetric matrix", "[algebra]") {
  std::mt19937_64 generator(5);
  for (const Index d : {1, 2, 3, 4, 8, 40}) {
    const MatrixXd half = draw(generator, d, d);
    const MatrixXd A = half + half.transpose();
    MatrixXd lower = A;  // what is above the diagonal is not read
    for (Index j = 0; j < d; ++j) lower.col(j).head(j).setConstant(std::nan(""));
    const TridiagonalForm form = tridiagonal_form(lower, true);
    check_orthogonal(form.Q);
    CHECK((form.Q * tridiagonal(form) * form.Q.transpose() - A).norm() <= rounding(d, A.norm()));
    const TridiagonalForm values = tridiagonal_form(A, false);
    CHECK(values.Q.size() == 0);
    CHECK(values.diagonal == form.diagonal);
    CHECK(values.subdiagonal == form.subdiagonal);
  }
  // A zero column needs no reflection, and the rest still does.
  MatrixXd sparse = MatrixXd::Zero(4, 4);
  sparse.bottomRightCorner(3, 3) << 1, 2, 3, 2, 5, 6, 3, 6, 9;
  const TridiagonalForm form = tridiagonal_form(sparse, true);
  CHECK((form.Q * tridiagonal(form) * form.Q.transpose() - sparse).norm() <= rounding(4, sparse.norm()));
}

TEST_CASE("a real Schur form is similar to its matrix, whatever that is", "[algebra]") {
  int pairs = 0;
  for (const MatrixXd& A : hard_matrices()) {
    const Index d = A.rows();
    const RealSchurParts parts = real_schur(A);
    REQUIRE(parts.converged);
    check_orthogonal(parts.U);
    CHECK((parts.U * parts.T * parts.U.transpose() - A).norm() <= rounding(d, A.norm()));
    const MatrixXd& T = parts.T;
    for (Index j = 0; j < d; ++j)
      for (Index i = j + 2; i < d; ++i) CHECK(T(i, j) == 0);
    for (Index j = 0; j + 1 < d; ++j) {
      if (T(j + 1, j) == 0) continue;
      ++pairs;
      const double half = (T(j, j) - T(j + 1, j + 1)) / 2;
      CHECK(half * half + T(j, j + 1) * T(j + 1, j) < 0);  // real eigenvalues stand alone
      if (j + 2 < d) CHECK(T(j + 2, j + 1) == 0);
    }
  }
  CHECK(pairs > 100);
}

TEST_CASE("eigenvalues that are known", "[algebra]") {
  for (const Index d : {3, 6, 11, 24}) {  // the d-th roots of one
    MatrixXd cyclic = MatrixXd::Zero(d, d);
    cyclic.diagonal(-1).setOnes();
    cyclic(0, d - 1) = 1;
    const MatrixXd T = real_schur(cyclic).T;
    for (Index j = 0; j < d; ++j)
      if (j + 1 < d && T(j + 1, j) != 0) {
        CHECK(std::sqrt(T(j, j) * T(j + 1, j + 1) - T(j, j + 1) * T(j + 1, j)) == Approx(1).epsilon(1e-13));
        ++j;
      } else {
        CHECK(std::abs(T(j, j)) == Approx(1).epsilon(1e-13));
      }
  }
  for (const Index d : {1, 2, 5, 60}) {  // 2 − 2 cos(kπ/(d + 1))
    MatrixXd second = 2 * identity(d);
    second.diagonal(1).setConstant(-1);
    second.diagonal(-1).setConstant(-1);
    const Eigen::VectorXd values = symmetric_parts(second, false).values;
    for (Index k = 0; k < d; ++k) {
      const double angle = static_cast<double>(k + 1) * std::numbers::pi / static_cast<double>(d + 1);
      CHECK(std::abs(values(k) - (2 - 2 * std::cos(angle))) <= rounding(d));
    }
  }
}

TEST_CASE("a symmetric matrix has an orthonormal basis of eigenvectors", "[algebra]") {
  std::vector<MatrixXd> matrices;
  for (const MatrixXd& A : hard_matrices()) {
    matrices.push_back(A + A.transpose());
    MatrixXd singular = MatrixXd::Zero(2 * A.rows(), 2 * A.rows());  // eigenvalues ±σ
    singular.topRightCorner(A.rows(), A.rows()) = A;
    singular.bottomLeftCorner(A.rows(), A.rows()) = A.transpose();
    matrices.push_back(singular);
  }
  std::mt19937_64 generator(7);
  const MatrixXd noise = draw(generator, 9, 9);
  matrices.push_back(identity(9) + 1e-14 * (noise + noise.transpose()));
  for (const MatrixXd& A : matrices) {
    const Index d = A.rows();
    const SymmetricParts parts = symmetric_parts(A, true);
    REQUIRE(parts.converged);
    check_orthogonal(parts.vectors);
    CHECK((A * parts.vectors - parts.vectors * parts.values.asDiagonal()).norm() <= rounding(d, A.norm()));
    for (Index k = 0; k + 1 < d; ++k) CHECK(parts.values(k) <= parts.values(k + 1));
    const SymmetricParts alone = symmetric_parts(A, false);
    CHECK(alone.values == parts.values);
    CHECK(alone.vectors.size() == 0);
  }
}
