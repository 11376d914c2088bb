// What every system keeps, whatever its equation: the battery that a new one joins by a line in for_each_system.
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/integrators/concepts.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/circle_dynamics.hpp>
#include <attnflow/systems/circle_series.hpp>
#include <attnflow/systems/convex_layers.hpp>
#include <attnflow/systems/driven.hpp>
#include <attnflow/systems/feed_forward.hpp>
#include <attnflow/systems/fisher_rao.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/perceptron.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::CircleDynamics;
using attnflow::CircleSeries;
using attnflow::Driven;
using attnflow::ExternalField;
using attnflow::FeedForward;
using attnflow::FisherRaoDynamics;
using attnflow::LinearPart;
using attnflow::Perceptron;
using attnflow::RescaledDynamics;
using attnflow::Softmax;
using attnflow::SphereDynamics;
using attnflow::Tanh;
using attnflow::TokenDynamics;
using attnflow::Tokens;
using attnflow::Unnormalized;
using Eigen::Index;

/// Calls check(name, system) for one of each kind, for tokens in dimension d. All attend to all tokens: a mask or a bias tells
/// tokens apart by their positions.
template <class Scalar, class Check>
void for_each_system(std::mt19937_64& generator, Index d, const Check& check) {
  const auto head = random_head<Scalar>(generator, d), other = random_head<Scalar>(generator, d);
  const auto W = reference::random<typename attnflow::Head<Scalar>::Square>(generator, d, d);
  check("TokenDynamics", TokenDynamics<Scalar>(head));
  check("TokenDynamics, two heads, unnormalised", TokenDynamics(std::vector{head, other}, Unnormalized{0.5}));
  check("RescaledDynamics", RescaledDynamics<Scalar>(head));
  check("SphereDynamics", SphereDynamics<Scalar>(head));
  check("FeedForward", FeedForward(RescaledDynamics<Scalar>(head), W, Tanh{}));
  const auto U = reference::random<Tokens<Scalar>>(generator, 16, d),
             A = reference::random<Tokens<Scalar>>(generator, d, 16);
  const ExternalField field(Tokens<Scalar>::Ones(d, 1));
  check("Driven", Driven(TokenDynamics<Scalar>(head), field, LinearPart(W), Perceptron(A, U, Tanh{})));
  check("Driven on the sphere", Driven(SphereDynamics<Scalar>(head), field, Perceptron(A, U, Tanh{})));
  if (d > 1)
    check("FisherRaoDynamics", FisherRaoDynamics<Scalar>({.beta = 2}));  // d − 1 coordinates and a mass
  if (d > 1) return;
  check("CircleDynamics", CircleDynamics<Scalar>(Softmax{2}, -1));
  check("CircleSeries", CircleSeries<Scalar, Unnormalized>(Unnormalized{2}));
}

template <class System>
typename System::State velocity(const System& system, const typename System::State& x) {
  constexpr int rows = System::Dim == Eigen::Dynamic ? 3 : System::Dim;
  typename System::State dx = System::State::Constant(rows, 5, 7);  // of another shape, with something in it
  system(0.4, x, dx);
  return dx;
}

template <class A, class B>
bool same_bits(const A& a, const B& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && (a.array() == b.array()).all();
}

}  // namespace

TEMPLATE_TEST_CASE("every system treats tokens alike and keeps nothing between calls", "[laws]", float,
                   double) {
  using Scalar = TestType;
  std::mt19937_64 generator(40);
  for (const Index d : {1, 2, 3, 7})
    for_each_system<Scalar>(generator, d, [&](const std::string& name, const auto& system) {
      using System = std::remove_cvref_t<decltype(system)>;
      STATIC_REQUIRE(attnflow::VectorField<System>);
      CAPTURE(name, d);
      Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, d, 23);
      x.colwise().normalize();  // also a state of the sphere
      x.col(19) = x.col(4);
      const Tokens<Scalar> v = velocity(system, x);
      REQUIRE(v.rows() == d);
      REQUIRE(v.cols() == 23);
      REQUIRE(v.allFinite());
      if (d > 1) CHECK_FALSE(v.isZero(0));
      CHECK(v.col(19) == v.col(4));  // equal tokens move alike, to the last bit

      // Sums over tokens run in another order: n roundings of numbers of size d² at most.
      const Tokens<Scalar> reversed = velocity(system, x.rowwise().reverse());
      const auto bound = static_cast<Scalar>(100 * d * d) * std::numeric_limits<Scalar>::epsilon();
      CHECK((reversed - v.rowwise().reverse()).cwiseAbs().maxCoeff() <= bound);

      const Tokens<Scalar> none(d, 0), one = x.col(0);
      CHECK(velocity(system, none).cols() == 0);
      CHECK(velocity(system, one).allFinite());
      Tokens<Scalar> damaged = x;
      damaged(0, 3) = std::numeric_limits<Scalar>::quiet_NaN();
      CHECK_FALSE(velocity(system, damaged).allFinite());
      CHECK(same_bits(velocity(system, x), v));  // as if nothing had been between
    });
}

TEST_CASE("every system refuses tokens of another dimension, and names both", "[laws]") {
  std::mt19937_64 generator(41);
  const Index d = 3;
  const auto names_both = [](const auto& call, Index given, Index wanted) {
    const std::string message = refusal(call);
    CAPTURE(message);
    CHECK(message.find(std::to_string(given)) != std::string::npos);
    CHECK(message.find(std::to_string(wanted)) != std::string::npos);
  };
  for_each_system<double>(generator, d, [&](const std::string& name, const auto& system) {
    CAPTURE(name);
    using System = std::remove_cvref_t<decltype(system)>;
    if constexpr (System::Dim == Eigen::Dynamic && requires { system.dim(); }) {
      for (const Index given : {2, 4}) {
        Tokens<double> x = reference::random<Tokens<double>>(generator, given, 9), dx;
        names_both([&] { system(0.4, x, dx); }, given, d);
        names_both(
            [&] {
              (void)attnflow::integrate(system, attnflow::DormandPrince5<Tokens<double>>{}, x, {.to = 1});
            },
            given, d);
        if constexpr (requires { system.attention(0.4, x); })
          names_both([&] { (void)system.attention(0.4, x); }, given, d);
        if constexpr (requires { system.jacobian(0.4, x); })
          names_both([&] { (void)system.jacobian(0.4, x); }, given, d);
        if constexpr (attnflow::TangentField<System>)
          names_both([&] { system.project(x, dx = x); }, given, d);
      }
    }
  });
  const auto head = random_head<double>(generator, d);
  const attnflow::Layers<double> layers(head, 0.5);
  const attnflow::RescaledLayers<double> rescaled(head, 0.5);
  const attnflow::ConvexLayers<double> convex(attnflow::Head<double>::identity(d), 0.5);
  const RescaledDynamics<double> system(head);
  const LinearPart<double> linear(Tokens<double>::Identity(d, d));
  for (const Index given : {2, 4}) {
    Tokens<double> x = reference::random<Tokens<double>>(generator, given, 9),
                   fitting = Tokens<double>::Zero(d, 9);
    Eigen::MatrixXd J = Eigen::MatrixXd::Zero(9 * given, 9 * given);
    names_both([&] { layers.apply(x); }, given, d);
    names_both([&] { rescaled.apply(1, x); }, given, d);
    names_both([&] { (void)rescaled.attention(1, x); }, given, d);
    names_both([&] { (void)rescaled.rescale(1, x); }, given, d);
    names_both([&] { (void)rescaled.unrescale(1, x); }, given, d);
    names_both([&] { convex.apply(1, x); }, given, d);
    names_both([&] { (void)attnflow::rescale(system.exponential(), 1, x); }, given, d);
    names_both([&] { (void)attnflow::unrescale(system.exponential(), 1, x); }, given, d);
    names_both([&] { linear.add(0, x, x); }, given, d);
    names_both([&] { linear.add(0, fitting, x); }, given, d);
    names_both([&] { linear.add_jacobian(0, x, J); }, given, d);
    names_both([&] { linear.add_jacobian(0, fitting, J); }, 9 * given, 9 * d);
  }
  Tokens<double> one = Tokens<double>::Zero(1, 5), ds;
  const FisherRaoDynamics<double> masses;
  names_both([&] { masses(0, one, ds); }, 1, 2);
  names_both([&] { (void)masses.energy(one); }, 1, 2);
}

TEST_CASE("a field whose velocities have another shape than the state is refused", "[laws]") {
  struct Transposed {
    using State = Tokens<double>;
    void operator()(double, const State& x, State& dx) const { dx = x.transpose(); }
  };
  Tokens<double> x = Tokens<double>::Ones(2, 3);
  CHECK(refusal([&] {
          (void)attnflow::integrate(Transposed{}, attnflow::DormandPrince5<Tokens<double>>{}, x, {.to = 1});
        }) == "integrate: the field wrote a velocity of 3 x 2, expected 2 x 3 as the state is");
}

// Error control measures a system with parts as it measures the system.
static_assert(attnflow::RowScaledField<FeedForward<RescaledDynamics<double>>>);
static_assert(attnflow::RowScaledField<Driven<RescaledDynamics<double>, LinearPart<double>>>);
static_assert(!attnflow::RowScaledField<Driven<TokenDynamics<double>, LinearPart<double>>>);
