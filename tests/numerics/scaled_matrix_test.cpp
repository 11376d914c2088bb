#include <attnflow/numerics/scaled_matrix.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <random>

namespace {

using attnflow::ScaledMatrix;
using Matrix = Eigen::MatrixXd;
using reference::Index;
using reference::Real;
using reference::Wide;
constexpr double eps = std::numeric_limits<double>::epsilon();

/// The matrix that it stands for, over e^{log}.
Wide value(const ScaledMatrix<>& m, double log) {
  return reference::wide(m.matrix) * std::exp(static_cast<Real>(m.log_scale) - static_cast<Real>(log));
}

}  // namespace

TEST_CASE("a scaled matrix has entries of the size of one and the value it was made of", "[algebra]") {
  std::mt19937_64 generator(2);
  for (const double size : {1.0, 3.7, 1e-150, 1e150, 1e-300, 1e300, 1e-320}) {
    const Matrix A = reference::random<Matrix>(generator, 3, 3) * size;
    const auto scaled = ScaledMatrix<>::of(A);
    const double most = scaled.matrix.cwiseAbs().maxCoeff();
    CHECK(most >= 1);
    CHECK(most < 2);
    // log_scale is rounded at its own size.
    CHECK(reference::excess(value(scaled, 0), reference::wide(A),
                            static_cast<Real>(4 * eps * (1 + std::abs(scaled.log_scale))) *
                                reference::largest(reference::wide(A))) <= 1);
  }
}

TEST_CASE("a power of two moves to the logarithm without an error", "[algebra]") {
  Matrix A(2, 2);
  A << 3, -0x1p-40, 5.25, 0;
  for (const int e : {-1000, -3, 0, 1, 700, 1020}) {
    const auto scaled = ScaledMatrix<>::of(Matrix(A * std::ldexp(1.0, e)));
    CHECK(scaled.matrix == A / 4);
    CHECK(scaled.log_scale == Approx((e + 2) * std::numbers::ln2).epsilon(2 * eps).margin(0));
  }
}

TEST_CASE("zero and empty matrices are left alone", "[algebra]") {
  auto zero = ScaledMatrix<>::of(Matrix::Zero(3, 3));
  for (int k = 0; k < 2000; ++k) zero.square();
  CHECK(zero.matrix == Matrix::Zero(3, 3));
  CHECK(std::isfinite(zero.log_scale));
  CHECK(zero.plain() == Matrix::Zero(3, 3));
  auto empty = ScaledMatrix<>::of(Matrix(0, 0));
  empty.square();
  CHECK(empty.plain().size() == 0);
  CHECK(ScaledMatrix<>::identity(2).plain() == Matrix::Identity(2, 2));
  CHECK(ScaledMatrix<3>::identity(3).plain() == Eigen::Matrix3d::Identity());
}

TEST_CASE("squares and products are those of the matrices", "[algebra]") {
  std::mt19937_64 generator(3);
  const Matrix A = reference::random<Matrix>(generator, 4, 4), B = reference::random<Matrix>(generator, 4, 4);
  for (const double a : {1e-200, 1.0, 1e200})
    for (const double b : {1e-250, 1.0, 1e250}) {
      const double log = std::log(a) + std::log(b);
      // d products and sums of entries below 1, and logarithms of several hundred.
      const Real tolerance = static_cast<Real>(eps) * (4 * 4 + 2000);
      auto product = ScaledMatrix<>::of(Matrix(A * a));
      product.premultiply(ScaledMatrix<>::of(Matrix(B * b)));
      CHECK(reference::excess(value(product, log), reference::wide(B) * reference::wide(A), tolerance) <= 1);
      auto square = ScaledMatrix<>::of(Matrix(A * a));
      square.square();
      CHECK(reference::excess(value(square, 2 * std::log(a)), reference::wide(A) * reference::wide(A),
                              tolerance) <= 1);
    }
}

TEST_CASE("a thousand squarings neither overflow nor underflow", "[algebra]") {
  for (const double entry : {3.0, 0.125, -1e300, 1e-300}) {
    auto power = ScaledMatrix<1>::of(Eigen::Matrix<double, 1, 1>::Constant(entry));
    for (int k = 0; k < 1200; ++k) power.square();
    CHECK(std::abs(power.matrix(0)) >= 1);
    CHECK(std::abs(power.matrix(0)) < 2);
    CHECK(std::abs(power.log_scale) == 1e300);
    CHECK(power.plain()(0) == (std::abs(entry) > 1 ? std::numeric_limits<double>::infinity() : 0.0));
  }
  // log (entry²⁵⁶) = 256 log entry
  auto power = ScaledMatrix<1>::of(Eigen::Matrix<double, 1, 1>::Constant(1e200));
  for (int k = 0; k < 8; ++k) power.square();
  CHECK(std::log(power.matrix(0)) + power.log_scale ==
        Approx(256 * 200 * std::numbers::ln10).epsilon(1000 * eps));
}

TEST_CASE("a plain matrix may have infinities but no NaN", "[algebra]") {
  Matrix A(2, 2);
  A << 1, 0, -1, 0x1p-60;
  const double inf = std::numeric_limits<double>::infinity();
  for (const double log : {1e300, 1e4, 1500.0}) {
    const Matrix big = ScaledMatrix<>{A, log}.plain();
    CHECK(big(0, 0) == inf);
    CHECK(big(0, 1) == 0);
    CHECK(big(1, 0) == -inf);
    CHECK(ScaledMatrix<>{A, -log}.plain() == Matrix::Zero(2, 2));
  }
  // 2⁻⁶⁰ e^{730} fits although e^{730} does not.
  CHECK(ScaledMatrix<>{A, 730}.plain()(1, 1) ==
        Approx(std::exp(730 - 60 * std::numbers::ln2)).epsilon(2000 * eps));
}
