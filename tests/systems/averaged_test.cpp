#include <attnflow/systems/averaged.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"
#include "velocity.hpp"

#include <cstddef>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::averaged;
using attnflow::Head;
using attnflow::TokenDynamics;
using attnflow::Tokens;

}  // namespace

TEMPLATE_TEST_CASE("averaged heads are the mean of the heads", "[systems][averaged]", float, double) {
  std::mt19937_64 generator(60);
  const auto eps = std::numeric_limits<TestType>::epsilon();
  for (const std::size_t H : {1U, 2U, 3U, 8U}) {
    CAPTURE(H);
    std::vector<Head<TestType>> heads;
    const auto x = reference::random<Tokens<TestType>>(generator, 3, 11);
    Tokens<TestType> mean = Tokens<TestType>::Zero(3, 11);
    for (std::size_t h = 0; h < H; ++h) {
      heads.push_back(random_head<TestType>(generator, 3));
      mean += velocity(TokenDynamics<TestType>(heads[h]), 0, x) / static_cast<TestType>(H);
    }
    // H drifts of size 3 at most, each with a few roundings.
    CHECK((velocity(TokenDynamics<TestType>(averaged(heads)), 0, x) - mean).cwiseAbs().maxCoeff() <=
          60 * eps);
    // As many times the same head is that head, to the roundings of V/H and of the sum.
    const std::vector<Head<TestType>> same(H, heads[0]);
    const Tokens<TestType> one = velocity(TokenDynamics<TestType>(heads[0]), 0, x),
                           all = velocity(TokenDynamics<TestType>(averaged(same)), 0, x);
    CHECK((all - one).cwiseAbs().maxCoeff() <= 20 * eps);
    if (H <= 2) CHECK(all == one);
    // A power of two rounds nothing.
    if (H != 3) CHECK(averaged(heads)[H - 1].V * static_cast<TestType>(H) == heads[H - 1].V);
    CHECK(averaged(heads)[H - 1].Q == heads[H - 1].Q);
  }
}

TEST_CASE("averaging refuses to have no head", "[systems][averaged]") {
  CHECK(refusal([] { (void)averaged(std::vector<Head<double>>{}); }) ==
        "averaged: no head given, expected at least one");
}
