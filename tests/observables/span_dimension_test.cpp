#include <attnflow/observables/tokens/span_dimension.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace {

using attnflow::span_dimension;
using Eigen::Index;

}  // namespace

TEST_CASE("the span of tokens is counted above the threshold", "[clustering]") {
  std::mt19937_64 generator(1);
  // Tokens of known singular values: U diag(σ) Wᵀ with orthonormal columns.
  for (const auto& [d, n] : {std::pair<Index, Index>{6, 9}, {9, 6}, {6, 6}}) {
    const Eigen::MatrixXd U = orthogonal(d), W = orthogonal(n);
    const Eigen::VectorXd sigma = (Eigen::VectorXd(6) << 3, 1, 0.04, 0.03, 1e-3, 0).finished();
    const Eigen::MatrixXd x = U.leftCols(6) * sigma.asDiagonal() * W.leftCols(6).transpose();
    CHECK(span_dimension(x) == 3);  // 0.04² = 0.0016 is above 0.001, 0.03² = 0.0009 is not
    CHECK(span_dimension(x, 0.0008) == 4);
    CHECK(span_dimension(x, 1.1) == 1);
    CHECK(span_dimension(x, 10) == 0);
    CHECK(span_dimension(x, 1e-7) == 5);
    CHECK(span_dimension(x.transpose(), 0.0008) == 4);
    CHECK(span_dimension(x.cast<float>()) == 3);
  }
}

TEST_CASE("clusters on the sphere span at most as many dimensions", "[clustering]") {
  attnflow::Generator generator(2);
  const Eigen::MatrixXd centres = attnflow::uniform_sphere(generator, 4, 16);
  Eigen::MatrixXd x(16, 40);
  for (Index i = 0; i < 40; ++i) x.col(i) = centres.col(i % 4);
  CHECK(span_dimension(x) == 4);
  CHECK(span_dimension(x.leftCols(1)) == 1);
  CHECK(span_dimension(attnflow::uniform_sphere(generator, 40, 16)) == 16);
  CHECK(span_dimension(attnflow::uniform_sphere(generator, 10, 16)) == 10);
  CHECK(span_dimension(attnflow::equiangular(5, 5, -0.25)) == 4);  // the simplex
  CHECK(span_dimension(Eigen::MatrixXd(3, 0)) == 0);
  CHECK(span_dimension(Eigen::MatrixXd::Zero(3, 5)) == 0);
}

TEST_CASE("what spans nothing is refused in words", "[clustering]") {
  Eigen::MatrixXd x = Eigen::MatrixXd::Identity(2, 2);
  CHECK(refusal([&] { (void)span_dimension(x, -1); }) ==
        "span_dimension: threshold is -1, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)span_dimension((1e200 * x).eval()); }) ==
        "span_dimension: a product of tokens overflows, expected tokens within 10^150");
  x(0, 1) = std::nan("");
  CHECK(refusal([&] { (void)span_dimension(x); }) ==
        "span_dimension: token 1 of x is (nan   1), expected finite numbers");
}
