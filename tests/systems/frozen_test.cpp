// Tokens that rest and act, and attention to other tokens.
#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/laws/relu_weights.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/systems/convex_layers.hpp>
#include <attnflow/systems/cross_attention.hpp>
#include <attnflow/systems/driven.hpp>
#include <attnflow/systems/frozen.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/definition.hpp"
#include "catch.hpp"
#include "refusal.hpp"

#include <cmath>
#include <random>
#include <vector>

namespace {

using attnflow::Causal;
using attnflow::CrossAttention;
using attnflow::Driven;
using attnflow::Frozen;
using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::Rotary;
using attnflow::Softmax;
using attnflow::Tokens;
using attnflow::Within;
using Catch::Matchers::ContainsSubstring;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

using State = Tokens<double>;

template <class Scalar>
Head<Scalar> any_head(std::mt19937_64& generator, Index d) {
  return {reference::random<Tokens<Scalar>>(generator, d, d),
          reference::random<Tokens<Scalar>>(generator, d, d),
          reference::random<Tokens<Scalar>>(generator, d, d)};
}

template <class System>
State end_of(const System& system, State x, double t, double tolerance = 1e-11) {
  const auto report = attnflow::integrate(system, attnflow::DormandPrince5<State>{}, x,
                                          {.to = t, .rtol = tolerance, .atol = tolerance});
  CHECK(report.outcome == attnflow::Outcome::reached_end);
  return x;
}

/// CrossAttention::add against its equation.
template <class Scalar, class Mask, class Bias>
void check_cross(std::mt19937_64& generator, Index d, const Mask& mask, const Bias& bias) {
  constexpr Index n = 5, m = 5;
  const std::vector<Head<Scalar>> heads{any_head<Scalar>(generator, d), any_head<Scalar>(generator, d)};
  const auto x = reference::random<Tokens<Scalar>>(generator, d, n),
             y = reference::random<Tokens<Scalar>>(generator, d, m);
  const Softmax law{1 / static_cast<double>(d)};
  const CrossAttention<Scalar, Eigen::Dynamic, Softmax, Mask, Bias> part(heads, y, law, mask, bias);
  Wide expected = Wide::Zero(d, n);
  const auto pairs = definition::listed(mask, wide(x), wide(y));
  for (std::size_t h = 0; h < 2; ++h) {
    const Wide P =
        definition::weights(wide(heads[h].Q) * wide(x), wide(heads[h].K) * wide(y), law, pairs, bias);
    expected += wide(heads[h].V) * wide(y) * P.transpose();
    CHECK(reference::largest(wide(part.attention(0, x, h)) - P) <=
          200 * static_cast<Real>(d) * reference::epsilon<Scalar>);
  }
  Tokens<Scalar> dx = Tokens<Scalar>::Ones(d, n);
  part.add(0, x, dx);
  CHECK(reference::largest(wide(dx) - Wide::Ones(d, n) - expected) <=
        200 * static_cast<Real>(d * d) * reference::epsilon<Scalar>);
}

}  // namespace

TEST_CASE("frozen tokens keep their bits, and the others move as if they were free", "[systems][frozen]") {
  std::mt19937_64 generator(31);
  const auto head = any_head<double>(generator, 3);
  const State x = reference::random<State>(generator, 3, 9);
  const attnflow::TokenDynamics<double> free(head);
  const Frozen prompt(free, 4);
  State dx, all;
  prompt(0, x, dx);
  free(0, x, all);
  CHECK(dx.leftCols(4).isZero(0));
  CHECK(dx.rightCols(5) == all.rightCols(5));
  const State end = end_of(prompt, x, 1.5);
  CHECK(end.leftCols(4) == x.leftCols(4));
  CHECK((end - x).rightCols(5).cwiseAbs().maxCoeff() > 0.1);
  // By indices, in any order.
  const Frozen chosen(free, std::vector<Index>{7, 0});
  chosen(0, x, dx);
  for (const Index i : {0, 7}) CHECK(dx.col(i).isZero(0));
  CHECK(dx.col(3) == all.col(3));
  // On the sphere, and in layers.
  const State on_sphere = x.colwise().normalized();
  const Frozen sphere(attnflow::SphereDynamics<double>(head), 4);
  State moved = on_sphere;
  CHECK(attnflow::integrate(sphere, attnflow::OnSphere(attnflow::DormandPrince5<State>{}), moved, {.to = 3})
            .outcome == attnflow::Outcome::reached_end);
  CHECK((moved - on_sphere).leftCols(4).cwiseAbs().maxCoeff() <= 1e-15);
  CHECK((moved - on_sphere).rightCols(5).cwiseAbs().maxCoeff() > 0.1);
  State layer = x, other = x;
  const Frozen layers(attnflow::Layers<double>(head, 0.1), 4);
  layers.apply(layer);
  layers.system().apply(other);
  CHECK(layer.leftCols(4) == x.leftCols(4));
  CHECK(layer.rightCols(5) == other.rightCols(5));
  // Of a driven system no part moves them.
  const Frozen driven(Driven(free, attnflow::LinearPart<double>(State::Identity(3, 3))), 2);
  driven(0, x, dx);
  CHECK(dx.leftCols(2).isZero(0));

  CHECK(refusal([&] { Frozen(free, -1); }) == "Frozen: count is -1, expected at least 0");
  CHECK(refusal([&] {
          Frozen(free, std::vector<Index>{3, -2});
        }) == "Frozen: a token is -2, expected at least 0");
  CHECK(refusal([&] { Frozen(free, 10)(0, x, dx); }) ==
        "Frozen: token 9 is to be frozen, but there are 9 tokens");
}

TEST_CASE("in the rescaled frame a frozen token is e^{-tV} x", "[systems][frozen]") {
  State V(2, 2);
  V << 0.8, 0.3, -0.2, 0.5;
  const Head<double> head{State::Identity(2, 2), State::Identity(2, 2), V};
  std::mt19937_64 generator(32);
  const State x = reference::random<State>(generator, 2, 8);
  const attnflow::RescaledDynamics<double> rescaled(head);
  const State z = end_of(Frozen(rescaled, 3), x, 1.5),
              end = end_of(Frozen(attnflow::TokenDynamics<double>(head), 3), x, 1.5);
  const State flow = rescaled.exponential()(1.5).plain();
  CHECK((flow * z - end).cwiseAbs().maxCoeff() < 1e-9);
  // Its Jacobian, by differences.
  const Frozen system(rescaled, 3);
  const Eigen::MatrixXd J = system.jacobian(0.7, x);
  for (Index k = 0; k < x.size(); ++k) {
    State right = x, left = x, up, down;
    right(k % 2, k / 2) += 1e-6;
    left(k % 2, k / 2) -= 1e-6;
    system(0.7, right, up);
    system(0.7, left, down);
    const State slope = (up - down) / 2e-6;
    CHECK((J.col(k) - slope.reshaped()).cwiseAbs().maxCoeff() < 1e-8);
  }
}

// Weights that no row sum divides are those of the free tokens and of the prompt side by side.
TEST_CASE("a prompt acts as attention to other tokens does", "[systems][frozen]") {
  using Law = attnflow::ReluWeights;
  std::mt19937_64 generator(33);
  const auto head = any_head<double>(generator, 3);
  const State x = reference::random<State>(generator, 3, 10);
  const Law law{1, attnflow::RowScale::none};
  using Dynamics = attnflow::TokenDynamics<double, Eigen::Dynamic, Law>;
  const State end = end_of(Frozen(Dynamics(head, law), 4), x, 0.3);
  const CrossAttention<double, Eigen::Dynamic, Law> part(head, State(x.leftCols(4)), law);
  const State free = end_of(Driven(Dynamics(head, law), part), x.rightCols(6), 0.3);
  CHECK((end.rightCols(6) - free).cwiseAbs().maxCoeff() < 1e-9);
}

TEMPLATE_TEST_CASE("attention to other tokens is its equation", "[systems][frozen]", float, double,
                   long double) {
  std::mt19937_64 generator(34);
  for (const Index d : {1, 3, 12}) {
    check_cross<TestType>(generator, d, NoMask{}, NoBias{});
    check_cross<TestType>(generator, d, Causal{}, attnflow::Alibi{0.3});
    check_cross<TestType>(generator, d, Within{std::sqrt(static_cast<double>(d))}, NoBias{});
  }
  check_cross<TestType>(generator, 4, NoMask{}, Rotary{});
}

TEST_CASE("attention to tokens that move by themselves, through the factors of a head", "[systems][frozen]") {
  std::mt19937_64 generator(35);
  const Head<double> head{
      reference::random<State>(generator, 4, 40), reference::random<State>(generator, 4, 40),
      reference::random<State>(generator, 4, 40), reference::random<State>(generator, 40, 4)};
  const State x = reference::random<State>(generator, 40, 30),
              y = reference::random<State>(generator, 40, 70);
  const CrossAttention<double> part(
      head, [&](double t, State& others) { others = (1 + t) * y; }, Softmax{0.1});
  State dx = State::Zero(40, 30), expected;
  part.add(2, x, dx);
  attend(head, Softmax{0.1}, NoMask{}, NoBias{}, x, State(3 * y), expected);
  CHECK((dx - expected).cwiseAbs().maxCoeff() <= 1e-13 * expected.cwiseAbs().maxCoeff());
  CHECK_THROWS_WITH(part.add(0, State(x.topRows(39)), dx),
                    ContainsSubstring("CrossAttention: the tokens are 39 x 30"));
  CHECK(refusal([&] { CrossAttention<double>(head, State(y.topRows(2))); }) ==
        "CrossAttention: the others: x has 2 rows, expected d = 40");
  const CrossAttention<double> wrong(head, [](double, State& others) { others = State::Ones(3, 2); });
  CHECK(refusal([&] { wrong.add(0, x, dx); }) == "CrossAttention: the others: x has 3 rows, expected d = 40");
}
