#include <attnflow/geometry/affine_distance.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <type_traits>

namespace {

using attnflow::distance_to_affine;
using attnflow::distance_to_hyperplane;
using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

MatrixXd draws(std::mt19937_64& generator, Index rows, Index cols) {
  MatrixXd x(rows, cols);
  for (double& value : x.reshaped()) value = static_cast<double>(generator() >> 11) * 0x1p-52 - 1;
  return x;
}
VectorXd draw(std::mt19937_64& generator, Index d) { return draws(generator, d, 1); }

VectorXd point(double x, double y) { return Eigen::Vector2d(x, y); }

}  // namespace

TEST_CASE("the distance to a hyperplane is that of the formula", "[polytope]") {
  std::mt19937_64 generator(1);
  for (const Index d : {1, 2, 3, 17}) {
    const MatrixXd x = draws(generator, d, 30);
    const VectorXd n = draw(generator, d);
    const double c = draw(generator, 1)(0);
    const VectorXd found = distance_to_hyperplane(n, c, x);
    REQUIRE(found.size() == 30);
    for (Index i = 0; i < x.cols(); ++i) {
      long double product = 0, squares = 0;
      for (Index k = 0; k < d; ++k) {
        product += static_cast<long double>(n(k)) * static_cast<long double>(x(k, i));
        squares += static_cast<long double>(n(k)) * static_cast<long double>(n(k));
      }
      const double expected =
          static_cast<double>(std::abs(product - static_cast<long double>(c)) / std::sqrt(squares));
      const double size = x.col(i).norm() + std::abs(c) / n.norm();
      CHECK(std::abs(found(i) - expected) <= static_cast<double>(d) * epsilon * size);
      CHECK(distance_to_hyperplane(n, c, x.col(i)) == found(i));
    }
  }
  static_assert(std::is_same_v<decltype(distance_to_hyperplane(VectorXd(), 0., MatrixXd())), VectorXd>);
  static_assert(std::is_same_v<decltype(distance_to_hyperplane(VectorXd(), 0., VectorXd())), double>);
  static_assert(std::is_same_v<decltype(distance_to_affine(VectorXd(), MatrixXd(), MatrixXd())), VectorXd>);
  static_assert(std::is_same_v<decltype(distance_to_affine(VectorXd(), MatrixXd(), VectorXd())), double>);
}

TEST_CASE("a hyperplane in whole numbers, at any scale", "[polytope]") {
  const VectorXd n = point(3, 4), on = point(-1, 2), off = point(6, 8);
  CHECK(distance_to_hyperplane(n, 5, on) == 0);
  CHECK(distance_to_hyperplane(n, 5, off) == 9);
  CHECK(distance_to_hyperplane(n, 0, point(0, 0)) == 0);
  CHECK(distance_to_hyperplane(n, -10, point(0, 0)) == 2);
  CHECK(distance_to_hyperplane(Eigen::Vector2f(3, 4), 5, Eigen::Vector2f(6, 8)) == 9);
  for (const int a : {900, -900})
    for (const int b : {0, 100, -100}) {
      const VectorXd scaled = n * std::ldexp(1., a), at = off * std::ldexp(1., b);
      CHECK(distance_to_hyperplane(scaled, std::ldexp(5., a + b), at) == std::ldexp(9., b));
    }
  const VectorXd tiny = n * 0x1p-1000, far = off * 0x1p1015;
  CHECK(distance_to_hyperplane(tiny, 5 * 0x1p15, far) == 9 * 0x1p1015);
  CHECK(distance_to_hyperplane(tiny, 0, far) == 10 * 0x1p1015);
  CHECK(distance_to_hyperplane(tiny, 1e300, off) == std::numeric_limits<double>::infinity());
  const VectorXd small = n * 0x1p-900, near = off * 0x1p-1000;  // the level outweighs ⟨n, x⟩ by far
  CHECK(distance_to_hyperplane(small, 0x1p100, near) == Approx(0x1p1000 / 5).epsilon(1e-15));
  CHECK(distance_to_hyperplane(n, 5e-324, point(0, 0)) >= 0);
  CHECK(distance_to_hyperplane(n, 1, MatrixXd(2, 0)).size() == 0);
}

TEST_CASE("the distance to an affine subspace is that of the rest of an orthogonal sum", "[polytope]") {
  std::mt19937_64 generator(2);
  for (const Index d : {1, 2, 3, 8, 40})
    for (Index k = 0; k <= d; k += 1 + d / 6) {
      // Reflected coordinate axes: the first k span, the others measure.
      VectorXd u = draw(generator, d);
      u /= u.norm();
      const MatrixXd R = MatrixXd::Identity(d, d) - 2 * u * u.transpose();
      MatrixXd mix = draws(generator, k, k + 3);  // k + 3 columns, so that some are dependent
      for (Index j = 0; j < mix.cols(); ++j)
        mix.col(j) *= std::pow(10., static_cast<double>(40 * (j % 5)) - 80);
      MatrixXd basis = R.leftCols(k) * mix;
      if (k == 0) basis = MatrixXd::Zero(d, 2);
      const VectorXd p = draw(generator, d);
      const MatrixXd coordinates = draws(generator, d, 10);
      const MatrixXd x = (R * coordinates).colwise() + p;
      const VectorXd found = distance_to_affine(p, basis, x);
      for (Index i = 0; i < x.cols(); ++i) {
        const double expected = coordinates.col(i).tail(d - k).norm();
        CHECK(std::abs(found(i) - expected) <=
              1e4 * static_cast<double>(d) * epsilon);  // bases of that condition
        CHECK(distance_to_affine(p, basis, x.col(i)) == found(i));
      }
      if (k == d) CHECK(found.isZero(0));
    }
}

TEST_CASE("a subspace of codimension one is a hyperplane", "[polytope]") {
  std::mt19937_64 generator(3);
  const VectorXd n = draw(generator, 3), p = draw(generator, 3);
  MatrixXd basis(3, 2);
  basis << n(1), n(2), -n(0), 0, 0, -n(0);
  const MatrixXd x = draws(generator, 3, 50);
  const VectorXd difference = distance_to_affine(p, basis, x) - distance_to_hyperplane(n, n.dot(p), x);
  CHECK(difference.cwiseAbs().maxCoeff() <= 50 * epsilon);
}

TEST_CASE("bases that are hardly one", "[polytope]") {
  const VectorXd origin = VectorXd::Zero(3), x = Eigen::Vector3d(1, 2, 3);
  CHECK(distance_to_affine(origin, MatrixXd(3, 0), x) == x.norm());
  CHECK(distance_to_affine(origin, MatrixXd(MatrixXd::Zero(3, 4)), x) == x.norm());
  CHECK(distance_to_affine(x, MatrixXd(3, 0), x) == 0);
  MatrixXd same = MatrixXd::Ones(3, 5);
  same.col(2) *= -1e200;
  same.col(3) *= 1e-320;
  CHECK(distance_to_affine(origin, same, x) == Approx(std::sqrt(2.)).epsilon(1e-14));
  same(0, 4) += 1e-9;  // a direction of its own after all, known to seven digits
  CHECK(distance_to_affine(origin, same, x) == Approx(1 / std::sqrt(2.)).epsilon(1e-5));
  const MatrixXd axis = (MatrixXd(3, 1) << 1e-300, 0, 0).finished();
  CHECK(distance_to_affine(origin, axis, VectorXd(x * 0x1p1000)) == std::sqrt(13.) * 0x1p1000);
  CHECK(distance_to_affine(origin, axis, VectorXd(x * 0x1p-1000)) == std::sqrt(13.) * 0x1p-1000);
  CHECK(distance_to_affine(VectorXd(-x * 0x1p1022), axis, VectorXd(Eigen::Vector3d(0, 0, 0x1p1022))) ==
        std::numeric_limits<double>::infinity());
  CHECK(distance_to_affine(origin, axis, MatrixXd(3, 0)).size() == 0);
  CHECK(distance_to_affine(Eigen::Vector2f(1, 1), Eigen::Vector2f(1, 1), Eigen::Vector2f(0, 2)) ==
        Approx(std::sqrt(2.)).epsilon(1e-14));
}

TEST_CASE("what has no distance to a plane is refused in words", "[polytope]") {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  const MatrixXd x = MatrixXd::Ones(2, 3), bad = x * nan;
  const VectorXd n = point(1, 2), three = VectorXd::Zero(3), zero = point(0, 0), infinite = point(inf, 0);
  CHECK(refusal([&] { (void)distance_to_hyperplane(three, 0, x); }) ==
        "distance_to_hyperplane: normal is 3 x 1, expected 2 x 1, as x has 2 rows");
  CHECK(refusal([&] { (void)distance_to_hyperplane(zero, 0, x); }) ==
        "distance_to_hyperplane: normal is zero, expected a direction");
  CHECK(refusal([&] { (void)distance_to_hyperplane(n, nan, x); }) ==
        "distance_to_hyperplane: level is nan, expected a finite number");
  CHECK(refusal([&] { (void)distance_to_hyperplane(infinite, 0, x); }) ==
        "distance_to_hyperplane: column 0 of normal is (inf   0), expected finite numbers");
  CHECK(refusal([&] { (void)distance_to_hyperplane(n, 0, bad); }) ==
        "distance_to_hyperplane: column 0 of x is (nan nan), expected finite numbers");
  CHECK(refusal([&] { (void)distance_to_affine(three, x, x); }) ==
        "distance_to_affine: point_on_it is 3 x 1, expected 2 x 1, as x has 2 rows");
  CHECK(refusal([&] { (void)distance_to_affine(n, MatrixXd(3, 1), x); }) ==
        "distance_to_affine: basis has 3 rows, expected 2, as x has");
  CHECK(refusal([&] { (void)distance_to_affine(infinite, x, x); }) ==
        "distance_to_affine: column 0 of point_on_it is (inf   0), expected finite numbers");
  CHECK(refusal([&] { (void)distance_to_affine(n, bad, x); }) ==
        "distance_to_affine: column 0 of basis is (nan nan), expected finite numbers");
  CHECK(refusal([&] { (void)distance_to_affine(n, x, bad); }) ==
        "distance_to_affine: column 0 of x is (nan nan), expected finite numbers");
}
