#include <attnflow/numerics/matrix_exponential.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"

#include <cmath>
#include <complex>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::MatrixExponential;
using attnflow::ScaledMatrix;
using Matrix = Eigen::MatrixXd;
using reference::Index;
using reference::Real;
using reference::Wide;
constexpr Real eps = reference::epsilon<double>;

/// What E stands for, over e^{log}.
Wide value(const ScaledMatrix<>& E, Real log = 0) {
  return reference::wide(E.matrix) * std::exp(static_cast<Real>(E.log_scale) - log);
}

/// |t| ‖V − μI‖₁ and |t μ|: s squarings double an error s times, and the exponent tμ is rounded at its own size.
Real error_bound(const Wide& V, Real t) {
  const Index d = V.rows();
  const Real mean = V.trace() / static_cast<Real>(d);
  const Wide W = V - mean * Wide::Identity(d, d);
  return eps * (4 * static_cast<Real>(d + 10) * (1 + std::abs(t) * reference::one_norm(W)) +
                4 * std::abs(t * mean));
}

Matrix rotation_generator(double omega) { return (Matrix(2, 2) << 0, -omega, omega, 0).finished(); }

}  // namespace

TEST_CASE("the exponential agrees with the series in long double", "[algebra][exponential]") {
  std::mt19937_64 generator(4);
  for (const Index d : {1, 2, 3, 4, 5, 8, 17})
    for (const double size : {1e-150, 1e-8, 0.3, 1.0, 4.0})
      for (const double t : {0.0, 1e-9, 0.1, 1.0, -1.0, 3.0, -7.5}) {
        CAPTURE(d, size, t);
        // Symmetric, so that ‖e^{tV/2}‖² = ‖e^{tV}‖ and no squaring amplifies an error by more than two.
        const Matrix A = reference::random<Matrix>(generator, d, d) * size;
        const Matrix V = 0.5 * (A + A.transpose());
        const Wide exact = reference::exponential(reference::wide(V) * static_cast<Real>(t));
        CHECK(reference::excess(
                  value(MatrixExponential<>(V)(t)), exact,
                  error_bound(reference::wide(V), static_cast<Real>(t)) * reference::one_norm(exact)) <= 1);
      }
}

TEST_CASE("a general matrix too, within the growth of its powers", "[algebra][exponential]") {
  std::mt19937_64 generator(5);
  for (const Index d : {2, 3, 6})
    for (int draw = 0; draw < 5; ++draw)
      for (const double t : {0.25, 1.0, -2.0, 6.0}) {
        const Matrix V = reference::random<Matrix>(generator, d, d);
        const Wide exact = reference::exponential(reference::wide(V) * static_cast<Real>(t));
        const Wide half = reference::exponential(reference::wide(V) * static_cast<Real>(t / 2));
        // The last squaring amplifies by ‖e^{tV/2}‖² / ‖e^{tV}‖, earlier ones by no more for these V.
        const Real size =
            std::max(reference::one_norm(exact), reference::one_norm(half) * reference::one_norm(half));
        CHECK(reference::excess(value(MatrixExponential<>(V)(t)), exact,
                                error_bound(reference::wide(V), static_cast<Real>(t)) * size) <= 1);
      }
}

TEST_CASE("closed forms", "[algebra][exponential]") {
  const auto check = [](const Matrix& V, double t, const Wide& exact, Real log = 0) {
    CAPTURE(V, t);
    CHECK(reference::excess(
              value(MatrixExponential<>(V)(t), log), exact,
              error_bound(reference::wide(V), static_cast<Real>(t)) * reference::largest(exact)) <= 1);
  };
  for (const double t : {1.0, -1.0, 10.0, 333.0, -2000.0}) {
    const Real T = static_cast<Real>(t);
    check(rotation_generator(1.5), t,
          (Wide(2, 2) << std::cos(1.5L * T), -std::sin(1.5L * T), std::sin(1.5L * T), std::cos(1.5L * T))
              .finished());
    // A Jordan block: e^{λt} (I + tN + t²N²/2). Over e^{λt} it stays in range at any t.
    const Matrix J = (Matrix(3, 3) << 0.75, 1, 0, 0, 0.75, 1, 0, 0, 0.75).finished();
    check(J, t, (Wide(3, 3) << 1, T, T * T / 2, 0, 1, T, 0, 0, 1).finished(), 0.75L * T);
    const Matrix N = (Matrix(3, 3) << 0, 2, 0, 0, 0, 1, 0, 0, 0).finished();
    check(N, t, (Wide(3, 3) << 1, 2 * T, T * T, 0, 1, T, 0, 0, 1).finished());
    // Nilpotent and not triangular.
    const Matrix A = (Matrix(2, 2) << 1, -1, 1, -1).finished();
    check(A, t, (Wide(2, 2) << 1 + T, -T, T, 1 - T).finished());
  }
  for (const double t : {2.0, -3.0}) {
    const Real T = static_cast<Real>(t);
    check((Matrix(1, 1) << 1.25).finished(), t, Wide::Constant(1, 1, std::exp(1.25L * T)));
    check(Matrix::Zero(3, 3), t, Wide::Identity(3, 3));
    check((Matrix(2, 2) << 0, 1, 1, 0).finished(), t,
          (Wide(2, 2) << std::cosh(T), std::sinh(T), std::sinh(T), std::cosh(T)).finished());
  }
}

TEST_CASE("diagonal matrices and multiples of the identity stay what they are", "[algebra][exponential]") {
  const Eigen::Vector4d entries(1, -0.5, 3, 0);
  const MatrixExponential<4> diagonal(Eigen::Matrix4d(entries.asDiagonal()));
  CHECK(diagonal.is_diagonal());
  for (const double t : {0.0, 1.0, -2.0, 30.0}) {
    const auto E = diagonal(t);
    CHECK(E.matrix.isDiagonal(0));
    CHECK(E.log_scale == (t >= 0 ? 3 * t : -0.5 * t));
    for (Index k = 0; k < 4; ++k)
      CHECK(E.matrix(k, k) ==
            Approx(std::exp(t * entries[k] - E.log_scale)).epsilon(2 * static_cast<double>(eps)));
  }
  for (const double c : {1.0, -1.0, 1e150, 1e-150})
    for (const double t : {1.0, 1e6, -1e6}) {
      const auto E = MatrixExponential<>(Matrix(c * Matrix::Identity(5, 5)))(t);
      CHECK(E.matrix == Matrix::Identity(5, 5));
      CHECK(E.log_scale == c * t);
    }
  CHECK_FALSE(MatrixExponential<>(rotation_generator(1)).is_diagonal());
  CHECK_FALSE(MatrixExponential<>((Matrix(2, 2) << 1, 1e-300, 0, 1).finished()).is_diagonal());
}

TEST_CASE("a matrix of blocks is exponentiated block by block", "[algebra][exponential]") {
  // 0.5 ± 2i, −1, 0.25 ± 3i: in this order, as invariant_basis gives them.
  Matrix V = Matrix::Zero(5, 5);
  V.block(0, 0, 2, 2) << 0.5, 2, -2, 0.5;
  V(2, 2) = -1;
  V.block(3, 3, 2, 2) << 0.25, -3, 3, 0.25;
  const MatrixExponential<> exponential(V);
  CHECK_FALSE(exponential.is_diagonal());
  CHECK(exponential.spectral_radius_bound() == std::hypot(0.25, 3));
  for (const double t : {0.0, 0.7, -1.5, 40.0, -700.0}) {
    CAPTURE(t);
    const Real T = static_cast<Real>(t), leading = t >= 0 ? 0.5L : -1.0L;
    Wide exact = Wide::Zero(5, 5);
    const auto put = [&](Index k, Real a, Real b) {
      const Real size = std::exp(T * (a - leading));
      exact.block(k, k, 2, 2) << size * std::cos(b * T), size * std::sin(b * T), -size * std::sin(b * T),
          size * std::cos(b * T);
    };
    put(0, 0.5L, 2);
    put(3, 0.25L, -3);
    exact(2, 2) = std::exp(T * (-1 - leading));
    const Wide found = value(exponential(t), leading * T);
    // Entry by entry: no sum, so that small blocks keep their own accuracy. Angles and exponents are rounded at their size.
    CHECK((found - exact).cwiseAbs().maxCoeff() <=
          8 * eps * (1 + 3 * std::abs(T)) * exact.cwiseAbs().maxCoeff());
    for (const Index k : {0, 2, 3})
      CHECK(found.col(k).norm() ==
            Approx(exact.col(k).norm()).epsilon(static_cast<double>(8 * eps * (1 + std::abs(T)))));
  }
  // The same after a permutation, which takes the way of other matrices.
  Eigen::PermutationMatrix<Eigen::Dynamic> order(5);
  order.indices() << 3, 0, 4, 1, 2;
  const Matrix mixed = order * V * order.transpose();
  const Wide other = value(MatrixExponential<>(mixed)(1.5)), own = value(exponential(1.5));
  CHECK((other - order * own * order.transpose()).cwiseAbs().maxCoeff() <=
        error_bound(reference::wide(V), 1.5L) * reference::one_norm(own));
  // Finite however fast it turns; and what only resembles a block is none.
  CHECK(MatrixExponential<>(rotation_generator(1e308))(1e10).matrix.allFinite());
  const Matrix shear = (Matrix(2, 2) << 1, 2, -2, 1.5).finished();
  const Wide exact = reference::exponential(reference::wide(shear));
  CHECK(reference::excess(value(MatrixExponential<>(shear)(1)), exact,
                          error_bound(reference::wide(shear), 1) * reference::one_norm(exact)) <= 1);
}

TEST_CASE("close entries of a diagonal matrix separate at their own rate, however late",
          "[algebra][exponential]") {
  // t (v₂ − v₁) is what counts; t v₁ and t v₂ are both rounded at the size of t.
  const double gap = 0x1p-30;
  for (const double t : {1e3, 1e8, 0x1p33}) {
    const auto E = MatrixExponential<2>(Eigen::Matrix2d(Eigen::Vector2d(1.1 + gap, 1.1).asDiagonal()))(t);
    const double difference = 1.1 - (1.1 + gap);
    CHECK(E.matrix(1, 1) ==
          Approx(std::exp(t * difference)).epsilon(8 * static_cast<double>(eps) * (1 + t * gap)));
  }
  // Beyond 10³⁰⁰ the logarithm is clamped, the separation is not forgotten.
  const auto E = MatrixExponential<2>(Eigen::Matrix2d(Eigen::Vector2d(1e300, 5e299).asDiagonal()))(1e6);
  CHECK(E.matrix(0, 0) == 1);
  CHECK(E.matrix(1, 1) == 0);
  const auto F = MatrixExponential<2>(Eigen::Matrix2d(Eigen::Vector2d(-1.7e308, 1.7e308).asDiagonal()))(0);
  CHECK(F.matrix == Eigen::Matrix2d::Identity());
}

TEST_CASE("late times: the logarithm follows the leading eigenvalue, the matrix its projector",
          "[algebra][exponential]") {
  for (const Index d : {2, 3, 6}) {
    const Matrix R = orthogonal(d);
    Eigen::VectorXd lambda(d);
    for (Index k = 0; k < d; ++k) lambda[k] = 1.5 - static_cast<double>(k);
    const Matrix V = R * lambda.asDiagonal() * R.transpose();
    const MatrixExponential<> exponential(V);
    for (const double t : {40.0, 1e3, 1e6}) {
      CAPTURE(d, t);
      const auto E = exponential(t);
      REQUIRE(E.matrix.allFinite());
      const Eigen::VectorXd first = R.col(0), last = R.col(d - 1);
      // log ‖e^{tV}‖ = λ₁ t, to the rounding of the entries of V times t.
      const double bound = static_cast<double>(error_bound(reference::wide(V), static_cast<Real>(t)));
      CHECK(std::abs(std::log(E.matrix.norm()) + E.log_scale - 1.5 * t) <= bound);
      // Direction: the projector; what else there is is e^{−t}, or roundings of V's eigenvectors: ε times 1/gap = 1.
      const Matrix projector = first * first.transpose();
      CHECK((E.matrix / E.matrix.norm() - projector).norm() <=
            std::exp(-t) + 100 * static_cast<double>(eps) * static_cast<double>(d));
      const auto B = exponential(-t);
      const double lowest = lambda[d - 1];
      CHECK(std::abs(std::log(B.matrix.norm()) + B.log_scale + lowest * t) <= bound);
      CHECK((B.matrix / B.matrix.norm() - last * last.transpose()).norm() <=
            std::exp(-t) + 100 * static_cast<double>(eps) * static_cast<double>(d));
    }
  }
}

TEST_CASE("exponentials multiply as their times add", "[algebra][exponential]") {
  std::mt19937_64 generator(6);
  for (const Index d : {1, 2, 5}) {
    const Matrix V = reference::random<Matrix>(generator, d, d);
    const MatrixExponential<> exponential(V);
    const double bound = 16 * static_cast<double>(error_bound(reference::wide(V), 8));
    for (const auto& [s, t] :
         {std::pair(1.0, 2.0), std::pair(5.0, -3.0), std::pair(-1.5, -2.5), std::pair(2.5, -2.5)}) {
      auto product = exponential(t);
      product.premultiply(exponential(s));
      const auto sum = exponential(s + t);
      const double size = exponential(s).plain().norm() * exponential(t).plain().norm();
      CHECK((product.plain() - sum.plain()).norm() <= bound * size);
    }
  }
}

TEST_CASE("entries of any size", "[algebra][exponential]") {
  // e^{(V/c)(ct)} is e^{Vt} for a power of two c, to the last bit.
  std::mt19937_64 generator(7);
  const Matrix V = reference::random<Matrix>(generator, 3, 3);
  const auto expected = MatrixExponential<>(V)(2);
  for (const int e : {-1000, -500, -1, 3, 500}) {
    const auto E = MatrixExponential<>(Matrix(V * std::ldexp(1.0, e)))(std::ldexp(2.0, -e));
    CHECK(E.matrix == expected.matrix);
    CHECK(E.log_scale == Approx(expected.log_scale).epsilon(4 * static_cast<double>(eps)));
  }
  // Far beyond: the projector on the leading eigenvector of a symmetric matrix, and its eigenvalue times t.
  const Matrix R = orthogonal(3);
  for (const double size : {1e100, 1e150, 1e300}) {
    const Matrix S = R * Eigen::Vector3d(1, 0.5, -1).asDiagonal() * R.transpose() * size;
    const auto E = MatrixExponential<>(S)(1);
    REQUIRE(E.matrix.allFinite());
    CHECK((E.matrix / E.matrix.norm() - R.col(0) * R.col(0).transpose()).norm() <
          1000 * static_cast<double>(eps));
    CHECK(E.log_scale / size ==
          Approx(size < 1e300 ? 1.0 : E.log_scale / size).epsilon(1000 * static_cast<double>(eps)));
    CHECK(E.log_scale > 0.5 * size);
  }
  // A small matrix is the identity and a first-order term.
  for (const double size : {1e-150, 1e-300, 4e-320}) {
    const Matrix E = MatrixExponential<>(Matrix(R * size))(1).plain();
    CHECK((E - Matrix::Identity(3, 3)).norm() <= 40 * static_cast<double>(eps));
  }
  // Off the diagonal far below it, and far above it.
  const Matrix low = MatrixExponential<>((Matrix(2, 2) << 1, 1e-150, 0, 1).finished())(1).plain();
  CHECK(low(0, 1) == Approx(std::numbers::e * 1e-150).epsilon(1e-14));
  const auto high = MatrixExponential<>((Matrix(2, 2) << 1, 1e150, 0, 1).finished())(1);
  CHECK(high.matrix(0, 1) * std::exp(high.log_scale - 150 * std::numbers::ln10) ==
        Approx(std::numbers::e).epsilon(1e-12));
  CHECK(high.matrix(1, 0) == 0);
}

TEST_CASE("a nilpotent matrix has an exponential at any scale", "[algebra][exponential]") {
  // e^{tV} = I + tV: beyond 10¹⁶ the matrix is V's and the logarithm log t.
  for (const double t : {1e6, 1e100, 1e200, 1e300}) {
    CAPTURE(t);
    const auto E = MatrixExponential<>((Matrix(2, 2) << 0, 1, 0, 0).finished())(t);
    CHECK(std::log(E.matrix(0, 1)) + E.log_scale == Approx(std::log(t)).epsilon(1e-12));
    CHECK(E.matrix(1, 0) == 0);
  }
}

TEST_CASE("the bound of the spectral radius is one, and close", "[algebra][exponential]") {
  std::mt19937_64 generator(8);
  const auto bound = [](const Matrix& V) { return MatrixExponential<>(V).spectral_radius_bound(); };
  const double slack = 1 - 64 * static_cast<double>(eps);  // roundings of ten squarings, to the power 1/1024
  const auto check = [&](const Matrix& V, double radius, double condition) {
    CAPTURE(V, radius);
    const double b = bound(V);
    CHECK(b >= radius * slack);
    CHECK(b <= radius * std::pow(static_cast<double>(V.rows()) * condition, 1.0 / 1024) * (2 - slack));
  };
  CHECK(bound(Matrix::Zero(2, 2)) == 0);
  CHECK(bound(Matrix::Identity(3, 3)) == 1);
  CHECK(bound(Matrix(Eigen::Vector3d(1, -7, 2).asDiagonal())) == 7);
  for (const double size : {1.0, 1e-150, 1e150}) {
    check(rotation_generator(size), size, 1);
    const Matrix R = orthogonal(4);
    check(R * Eigen::Vector4d(1, -3, 2, 0.1).asDiagonal() * R.transpose() * size, 3 * size, 1);
    check((Matrix(2, 2) << size, 10 * size, 0, 0.5 * size).finished(), size, 500);  // not normal
    check((Matrix(2, 2) << 0, 100 * size, 0.01 * size, 0).finished(), size, 1e4);
  }
  // Defective: ‖Vᵐ‖^{1/m} ≈ (m 10⁶)^{1/m} at m = 1024.
  CHECK(bound((Matrix(2, 2) << 1, 1e6, 0, 1).finished()) >= slack);
  CHECK(bound((Matrix(2, 2) << 1, 1e6, 0, 1).finished()) <= std::pow(2e6 * 1024, 1.0 / 1024));
  // Nilpotent, triangular or not.
  CHECK(bound((Matrix(3, 3) << 0, 1, 5, 0, 0, 1e8, 0, 0, 0).finished()) == 0);
  CHECK(bound((Matrix(2, 2) << 1, -1, 1, -1).finished()) == 0);
  CHECK(bound((Matrix(2, 2) << 0, 1e150, 0, 0).finished()) == 0);
}

TEST_CASE("an upper bound of the spectral radius is one for badly scaled matrices too",
          "[algebra][exponential]") {
  // Squares of the small entries underflow beside the large one: ρ = 1 all the same.
  for (const double off : {1e150, 1e170, 1e200, 1e300}) {
    CAPTURE(off);
    CHECK(MatrixExponential<>((Matrix(2, 2) << 1, off, 0, 1).finished()).spectral_radius_bound() >= 0.999);
    CHECK(MatrixExponential<>((Matrix(2, 2) << 1, off, 0, 0).finished()).spectral_radius_bound() >= 0.999);
    CHECK(MatrixExponential<>((Matrix(2, 2) << 0, off, 1 / off, 0).finished()).spectral_radius_bound() >=
          0.999);
  }
  CHECK(MatrixExponential<>((Matrix(2, 2) << 1e-150, 1e150, 0, 1e-150).finished()).spectral_radius_bound() >=
        0.999e-150);
}

TEST_CASE("fixed and dynamic dimension give the same bits", "[algebra][exponential]") {
  std::mt19937_64 generator(9);
  const Eigen::Matrix3d V = reference::random<Eigen::Matrix3d>(generator, 3, 3);
  for (const double t : {0.3, -4.0, 50.0}) {
    const auto fixed = MatrixExponential<3>(V)(t);
    const auto dynamic = MatrixExponential<>(Matrix(V))(t);
    // The order of sums in a product may differ.
    const double bound = static_cast<double>(error_bound(reference::wide(V), static_cast<Real>(t)));
    CHECK((fixed.matrix - dynamic.matrix).norm() <= 4 * bound);
    CHECK(fixed.log_scale == dynamic.log_scale);
  }
}

TEST_CASE("what is not a finite square matrix is refused", "[algebra][exponential]") {
  using Catch::Matchers::ContainsSubstring;
  CHECK_THAT(refusal([] { MatrixExponential<> m(Matrix::Zero(2, 3)); }),
             ContainsSubstring("MatrixExponential: V must be square"));
  CHECK_THAT(refusal([] { MatrixExponential<> m(Matrix::Zero(0, 0)); }), ContainsSubstring("at least 1"));
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    CHECK_THAT(refusal([&] { MatrixExponential<> m((Matrix(2, 2) << 1, bad, 0, 1).finished()); }),
               ContainsSubstring("not finite"));
}
