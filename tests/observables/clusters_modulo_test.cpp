#include <attnflow/observables/tokens/clusters_modulo.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::Clusters;
using attnflow::detect_clusters;
using attnflow::detect_clusters_modulo;
using attnflow::Tokens;
using Eigen::Index;

/// A reflection with no zero in it.
Eigen::MatrixXd reflection(Index d) {
  const Eigen::VectorXd u = Eigen::VectorXd::LinSpaced(d, 1, 2).normalized();
  return Eigen::MatrixXd::NullaryExpr(d, d, [&](Index i, Index j) { return (i == j) - 2 * u(i) * u(j); });
}

}  // namespace

// Tokens are R (a; b) with R orthogonal, a on a lattice and b anything: modulo the image of b only a counts.
TEST_CASE("modulo a subspace only the other coordinates count", "[clustering]") {
  std::mt19937_64 generator(1);
  for (const Index d : {2, 3, 5})
    for (Index m = 1; m < d; ++m)
      for (int repeat = 0; repeat < 10; ++repeat) {
        const Index n = 40;
        const Eigen::MatrixXd R = reflection(d);
        Eigen::MatrixXd a = random(d - m, n, generator);
        a = (4 * a).array().round();
        Eigen::MatrixXd y(d, n);
        y << a, 1000 * random(m, n, generator);
        const Eigen::MatrixXd x = R.lazyProduct(y);
        // A basis at an angle, with more vectors than needed, of very different lengths.
        Eigen::MatrixXd G = R.rightCols(m).lazyProduct(random(m, m + 2, generator));
        for (Index k = 0; k < G.cols(); ++k) G.col(k) *= std::pow(10., 40. * static_cast<double>(k) - 120);
        G.col(m) = R.rightCols(m).rowwise().sum();
        for (const double tol : {0.5, 1.2, 2.1}) {
          const Clusters expected = detect_clusters(a, tol);
          CHECK(detect_clusters_modulo(x, G, tol) == expected);
          for (const double scale : {0x1p1000, 0x1p-900}) {
            CHECK(detect_clusters_modulo((x * scale).eval(), G, tol * scale) == expected);
            CHECK(detect_clusters_modulo(x, (G * (scale > 1 ? 1e100 : 1e-100)).eval(), tol) == expected);
          }
          CHECK(detect_clusters_modulo(x.cast<float>(), G, tol) == expected);
        }
      }
}

TEST_CASE("nearly parallel vectors span a plane, equal ones a line", "[clustering]") {
  Eigen::MatrixXd x(3, 3);
  x << 0, 5, 0,  //
      0, 0, 5,   //
      0, 0, 0;
  Eigen::MatrixXd G(3, 2);
  G << 1, 1, 0, 1e-9, 0, 0;
  CHECK(detect_clusters_modulo(x, G, 1e-5).count() == 1);
  G(1, 1) = 0;
  CHECK(detect_clusters_modulo(x, G, 1e-5) == Clusters{{0, 0, 1}, {2, 1}, {0, 2}});
  G(1, 1) = 1e-17;
  CHECK(detect_clusters_modulo(x, G, 1e-5).count() == 2);
}

TEST_CASE("an axis is projected out without a trace", "[clustering]") {
  std::mt19937_64 generator(2);
  Eigen::MatrixXd x(2, 30);
  for (Index i = 0; i < 30; ++i) x.col(i) << 1e17 * unit(generator), 0x1p-40 * static_cast<double>(i % 3);
  CHECK(detect_clusters_modulo(x, Eigen::Vector2d(7, 0), 0).count() == 3);
  CHECK(detect_clusters_modulo(x, Eigen::Vector2d(0, 1e-300), 0) == detect_clusters(x.row(0), 0));
}

TEST_CASE("no subspace, all of space, no tokens", "[clustering]") {
  std::mt19937_64 generator(3);
  for (const Index d : {1, 3}) {
    const Eigen::MatrixXd x = random(d, 20, generator);
    for (const double tol : {0., 0.1, 0.4}) {
      const Clusters plain = detect_clusters(x, tol);
      CHECK(detect_clusters_modulo(x, Eigen::MatrixXd(d, 0), tol) == plain);
      CHECK(detect_clusters_modulo(x, Eigen::MatrixXd(0, 0), tol) == plain);
      CHECK(detect_clusters_modulo(x, Eigen::MatrixXd::Zero(d, 2), tol) == plain);
      CHECK(detect_clusters_modulo(x, random(d, d + 1, generator), tol).sizes == std::vector<Index>{20});
      CHECK(detect_clusters_modulo(x, 5e-324 * reflection(d).cwiseSign(), tol).count() >= 1);
    }
  }
  CHECK(detect_clusters_modulo(Tokens<double>(3, 0), Eigen::Vector3d::UnitX(), 1) == Clusters{});
  CHECK(detect_clusters_modulo(Tokens<float, 3>::Ones(3, 1), Eigen::Vector3f::UnitX(), 0) ==
        Clusters{{0}, {1}, {0}});
  const double huge = std::numeric_limits<double>::max();
  Eigen::MatrixXd x(2, 3);
  x << huge, -huge, huge, huge, -huge, -huge;
  CHECK(detect_clusters_modulo(x, Eigen::Vector2d(huge, huge), huge) == Clusters{{0, 0, 1}, {2, 1}, {0, 2}});
  CHECK(detect_clusters_modulo((x / huge * 1e-300).eval(), Eigen::Vector2d(huge, huge), huge).count() == 1);
}

TEST_CASE("what has no clusters modulo a subspace is refused in words", "[clustering]") {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(2, 3), G = Eigen::MatrixXd::Ones(2, 2);
  CHECK(refusal([&] { (void)detect_clusters_modulo(x, G, -1); }) ==
        "detect_clusters_modulo: tol is -1, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)detect_clusters_modulo(x, G, inf); }) ==
        "detect_clusters_modulo: tol is inf, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)detect_clusters_modulo(x, Eigen::MatrixXd::Ones(3, 2), 1); }) ==
        "detect_clusters_modulo: subspace is 3 x 2, expected d = 2 rows, as the tokens have");
  G(0, 1) = inf;
  CHECK(refusal([&] { (void)detect_clusters_modulo(x, G, 1); }) ==
        "detect_clusters_modulo: vector 1 of subspace is (inf   1), expected finite numbers");
  x(1, 2) = nan;
  CHECK(refusal([&] { (void)detect_clusters_modulo(x, Eigen::MatrixXd(2, 0), 1); }) ==
        "detect_clusters_modulo: token 2 of tokens is (  0 nan), expected finite numbers");
}
