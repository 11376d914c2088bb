#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "velocity.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

namespace {

using attnflow::Alibi;
using attnflow::Causal;
using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::RescaledDynamics;
using attnflow::RescaledLayers;
using attnflow::Softmax;
using attnflow::StrictCausal;
using attnflow::TokenDynamics;
using attnflow::Unnormalized;
using State = attnflow::Tokens<double>;

/// The largest difference between jacobian() and central differences of the field, relative to the largest entry.
template <class Field>
double jacobian_error(const Field& field, double t, const State& x) {
  const Eigen::MatrixXd J = field.jacobian(t, x);
  const double h = 1e-5;
  double worst = 0;
  for (Eigen::Index k = 0; k < x.size(); ++k) {
    State after = x, before = x;
    after.data()[k] += h;
    before.data()[k] -= h;
    const State slope = (velocity(field, t, after) - velocity(field, t, before)) / (2 * h);
    for (Eigen::Index i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(slope.data()[i] - J(i, k)));
  }
  return worst / J.cwiseAbs().maxCoeff();
}

}  // namespace

TEST_CASE("masks and biases in the rescaled frame are those of the tokens", "[systems][masks]") {
  std::mt19937_64 generator(1);
  const auto check = [&](auto mask, auto bias) {
    const auto head = random_head<double>(generator, 3);
    const TokenDynamics tokens(head, Softmax{0.7}, mask, bias);
    const RescaledDynamics rescaled(head, Softmax{0.7}, mask, bias);
    const State z = random(3, 12, generator);
    for (const double t : {0.0, 0.4}) {
      const State x = unrescale(rescaled.exponential(), t, z);
      CHECK((rescaled.attention(t, z) - tokens.attention(0, x)).cwiseAbs().maxCoeff() < 1e-13);
      State expected = rescale(rescaled.exponential(), t, State(velocity(tokens, 0, x) - head.V * x));
      if (mask.keys(0, 12).end == 0)
        expected.col(0).setZero();  // nothing to attend to: at rest in either frame
      CHECK((velocity(rescaled, t, z) - expected).cwiseAbs().maxCoeff() <
            1e-13 * std::max(1.0, expected.cwiseAbs().maxCoeff()));
    }
    // One layer and its rescaling, too: row by row the same weights.
    const RescaledLayers layers(head, 0.5, Softmax{0.7}, mask, bias);
    CHECK((layers.attention(0, z) - tokens.attention(0, z)).cwiseAbs().maxCoeff() < 1e-13);
  };
  check(Causal{}, NoBias{});
  check(StrictCausal{}, NoBias{});
  check(NoMask{}, Alibi{0.3});
  check(StrictCausal{}, Alibi{0.3});
}

TEST_CASE("jacobians with laws, masks and biases", "[systems][masks]") {
  std::mt19937_64 generator(2);
  const auto head = random_head<double>(generator, 2), other = random_head<double>(generator, 2);
  const State x = random(2, 6, generator);
  // Central differences with h = 1e-5 are right to about 1e-9.
  CHECK(jacobian_error(TokenDynamics(head, Unnormalized{0.8}), 0, x) < 1e-8);
  CHECK(jacobian_error(TokenDynamics(head, Unnormalized{0.8, true}, Causal{}, Alibi{0.2}), 0, x) < 1e-8);
  CHECK(jacobian_error(TokenDynamics(std::vector{head, other}, Softmax{1.2}, StrictCausal{}), 0, x) < 1e-8);
  CHECK(jacobian_error(RescaledDynamics(head, Softmax{1.2}, Causal{}, Alibi{0.4}), 0.3, x) < 1e-8);
  CHECK(jacobian_error(RescaledDynamics(head, Softmax{1.2}, StrictCausal{}), 0.3, x) < 1e-8);
}

TEST_CASE("a causal token does not see what comes after it", "[systems][masks]") {
  std::mt19937_64 generator(3);
  const auto head = random_head<double>(generator, 3);
  const State x = random(3, 40, generator);
  State changed = x;
  changed.rightCols(15) *= -2;
  const TokenDynamics causal(head, Softmax{}, Causal{});
  CHECK((velocity(causal, 0, x) - velocity(causal, 0, changed)).leftCols(25).cwiseAbs().maxCoeff() < 1e-14);
  CHECK((velocity(causal, 0, x) - velocity(causal, 0, changed)).rightCols(15).cwiseAbs().minCoeff() > 1e-6);
  // Strictly causal: not itself either. A steep fall with distance leaves the token before.
  const TokenDynamics strict(head, Softmax{}, StrictCausal{}, Alibi{200});
  const State v = velocity(strict, 0, x);
  CHECK(v.col(0).isZero(0));
  CHECK((v.rightCols(39) - head.V * x.leftCols(39)).cwiseAbs().maxCoeff() < 1e-13);
}
