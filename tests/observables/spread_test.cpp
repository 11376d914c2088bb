#include <attnflow/observables/tokens/spread.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

using attnflow::diameter;
using attnflow::distance_to_consensus;
using Eigen::Index;

TEST_CASE("diameter and distance to a point are largest distances", "[clustering]") {
  std::mt19937_64 generator(1);
  for (const Index d : {1, 3, 10})
    for (const Index n : {0, 1, 2, 25})
      for (const double size : {1e-300, 1., 1e300}) {
        const Eigen::MatrixXd x = random(d, n, generator);
        const Eigen::VectorXd p = random(d, 1, generator);
        double widest = 0, farthest = 0;
        for (Index i = 0; i < n; ++i) {
          farthest = std::max(farthest, (x.col(i) - p).norm());
          for (Index j = 0; j < i; ++j) widest = std::max(widest, (x.col(i) - x.col(j)).norm());
        }
        const double tolerance = 16 * std::numeric_limits<double>::epsilon();
        CHECK(diameter((size * x).eval()) == Approx(size * widest).epsilon(tolerance));
        CHECK(distance_to_consensus((size * x).eval(), (size * p).eval()) ==
              Approx(size * farthest).epsilon(tolerance));
      }
  CHECK(diameter((Eigen::MatrixXf(2, 2) << 3, 0, 0, 4).finished()) == 5);
  CHECK(diameter((Eigen::MatrixXd(1, 2) << -1.7e308, 1.7e308).finished()) ==
        std::numeric_limits<double>::infinity());
}

TEST_CASE("what has no spread is refused in words", "[clustering]") {
  Eigen::MatrixXd x = Eigen::MatrixXd::Identity(2, 2);
  CHECK(refusal([&] { (void)distance_to_consensus(x, Eigen::VectorXd::Zero(3)); }) ==
        "distance_to_consensus: point is 3 x 1, expected 2 x 1, as the tokens are");
  x(0, 0) = std::nan("");
  CHECK(refusal([&] { (void)diameter(x); }) ==
        "diameter: token 0 of x is (nan   0), expected finite numbers");
}
