#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/trajectory.hpp>

#include "catch.hpp"
#include "reference/reference_case.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::DormandPrince5;
using attnflow::FixedSteps;
using attnflow::integrate;
using attnflow::Outcome;
using attnflow::RescaledDynamics;
using attnflow::RungeKutta4;
using attnflow::TokenDynamics;
using attnflow::Trajectory;

struct Errors {
  double tokens = 0;  ///< the largest, relative to max(1, |tokens|)
  double P = 0;       ///< the largest
};

/// Runs the system over the times of the case and compares what it recorded.
template <class System, class Stepper, class Plan>
Errors compare(const ReferenceCase& data, const System& system, Stepper stepper, Plan plan) {
  using State = typename System::State;
  plan.from = data.times.front();
  plan.to = data.times.back();
  Trajectory<State> record(data.times);
  State x = data.start.template cast<typename System::Scalar>();
  REQUIRE(integrate(system, stepper, x, plan, record).outcome == Outcome::reached_end);
  REQUIRE(record.times() == data.times);
  Errors worst;
  for (std::size_t k = 0; k < data.times.size(); ++k) {
    const Eigen::MatrixXd found = record.states()[k].template cast<double>();
    const Eigen::MatrixXd P = system.attention(data.times[k], record.states()[k]).template cast<double>();
    REQUIRE(found.allFinite());
    const double scale = std::max(1.0, data.tokens[k].cwiseAbs().maxCoeff());
    worst.tokens = std::max(worst.tokens, (found - data.tokens[k]).cwiseAbs().maxCoeff() / scale);
    worst.P = std::max(worst.P, (P - data.P[k]).cwiseAbs().maxCoeff());
  }
  return worst;
}

template <class Scalar, class Stepper, class Plan>
Errors compare_as(const ReferenceCase& data, const Stepper& stepper, const Plan& plan) {
  if (data.rescaled) return compare(data, RescaledDynamics<Scalar>(data.head_as<Scalar>()), stepper, plan);
  return compare(data, TokenDynamics<Scalar>(data.head_as<Scalar>()), stepper, plan);
}

/// The linear field ż = ∑ⱼ Pᵢⱼ V (zⱼ − zᵢ) with P held fixed.
struct FrozenField {
  using State = attnflow::Tokens<double>;
  Eigen::MatrixXd P, V;
  void operator()(double, const State& z, State& dz) const { dz = V * (z * P.transpose() - z); }
};

constexpr const char* cases[] = {"polytope_2d",      "polytope_2d_qk",   "polytope_3d", "hyperplanes_2d",
                                 "hyperplanes_3d_a", "hyperplanes_3d_b", "mixed_3d",    "codimension_3d",
                                 "general_4d",       "line_1d",          "origin_3d",   "general_x_4d"};

}  // namespace

TEST_CASE("stored runs are as described", "[reference]") {
  for (const char* name : cases) {
    INFO(name);
    const ReferenceCase data(name);
    CHECK(data.tokens.size() == data.times.size());
    CHECK(data.P.size() == data.times.size());
    CHECK(data.times.front() == 0);
    CHECK(data.tokens.front() == data.start);
    // P at the stored tokens, without a run in between: rounding alone, times the scores (some hundred) and what
    // the stored tokens are known to (2e-9 at worst, where a row of P has just changed its leader).
    for (std::size_t k = 0; k < data.times.size(); ++k) {
      CHECK((data.P[k].rowwise().sum().array() - 1).abs().maxCoeff() < 1e-13);
      const Eigen::MatrixXd P =
          data.rescaled ? RescaledDynamics<double>(data.head).attention(data.times[k], data.tokens[k])
                        : TokenDynamics<double>(data.head).attention(data.times[k], data.tokens[k]);
      CHECK((P - data.P[k]).cwiseAbs().maxCoeff() < 1e-9);
    }
  }
}

// 1e-8 is ten times the uncertainty that the worst case has (2.3e-9); P is smooth but steep in the tokens, whence 1e-7.
TEST_CASE("Dormand-Prince at a tight tolerance is within 1e-8 of the stored runs", "[reference]") {
  for (const char* name : cases) {
    const ReferenceCase data(name);
    const Errors errors = compare_as<double>(data, DormandPrince5<attnflow::Tokens<double>>{},
                                             AdaptiveSteps{.rtol = 1e-11, .atol = 1e-13});
    INFO(name << ": tokens " << errors.tokens << ", P " << errors.P);
    CHECK(errors.tokens < 1e-8);
    CHECK(errors.P < 1e-7);
  }
}

TEST_CASE("Runge-Kutta with small steps agrees with the stored runs", "[reference]") {
  const RungeKutta4<attnflow::Tokens<double>> stepper;
  const Errors errors = compare_as<double>(ReferenceCase("general_4d"), stepper, FixedSteps{.step = 0.001});
  CHECK(errors.tokens < 1e-6);
  CHECK(errors.P < 1e-6);
  CHECK(compare_as<double>(ReferenceCase("general_x_4d"), stepper, FixedSteps{.step = 0.001}).tokens < 1e-6);
}

TEST_CASE("the tolerance tells a matrix that is frozen over a step from one taken at every stage",
          "[reference]") {
  // A method that takes P at the start of each step is of order one; at the same steps it must be seen.
  const ReferenceCase data("general_4d");
  const RescaledDynamics<double> system(data.head);
  attnflow::Tokens<double> z = data.start;
  RungeKutta4<attnflow::Tokens<double>> stepper;
  const long steps = std::lround(data.times.back() / 0.001);
  for (long k = 0; k < steps; ++k) {
    const double t = static_cast<double>(k) * 0.001;
    stepper.step(FrozenField{system.attention(t, z), data.head.V}, t, z, 0.001);
    stepper.reset();
  }
  const double scale = std::max(1.0, data.tokens.back().cwiseAbs().maxCoeff());
  CHECK((z - data.tokens.back()).cwiseAbs().maxCoeff() / scale > 1e-5);
}

TEST_CASE("tokens and rescaled tokens are integrated to the same end", "[reference]") {
  // λ₁ T ≤ 5, so that x grows by at most e⁵ = 150 and the errors of both runs stay comparable.
  for (const char* name : {"polytope_2d", "polytope_3d", "hyperplanes_3d_a", "general_4d", "line_1d"}) {
    INFO(name);
    const ReferenceCase data(name);
    const RescaledDynamics<double> rescaled(data.head);
    const TokenDynamics<double> plain(data.head);
    const double radius = 1 / rescaled.max_step();
    const double T = std::min(data.times.back(), 5 / std::max(radius, 1e-3));
    attnflow::Tokens<double> z = data.start, x = data.start;
    const AdaptiveSteps plan{.to = T, .rtol = 1e-11, .atol = 1e-13};
    REQUIRE(integrate(rescaled, DormandPrince5<attnflow::Tokens<double>>{}, z, plan).outcome ==
            Outcome::reached_end);
    REQUIRE(integrate(plain, DormandPrince5<attnflow::Tokens<double>>{}, x, plan).outcome ==
            Outcome::reached_end);
    const attnflow::Tokens<double> image = attnflow::unrescale(rescaled.exponential(), T, z);
    const double difference = (image - x).norm() / x.norm();
    INFO("T = " << T << ", relative difference " << difference);
    CHECK(difference < 1e-7);
    CHECK((attnflow::rescale(rescaled.exponential(), T, x) - z).norm() / z.norm() < 1e-7);
    CHECK((x - data.start).norm() > 1e-3);
  }
}

TEST_CASE("float follows a stored run to its own accuracy", "[reference]") {
  // The error control allows rtol = 1e-5 of the tokens a step, and with V = I the flow contracts: errors do not add up.
  // P(t) feels them by the factor of its scores, up to the gaps where rows have become Boolean. Measured: 1e-6 for both.
  const ReferenceCase data("polytope_2d");
  const Errors errors = compare_as<float>(data, DormandPrince5<attnflow::Tokens<float>>{},
                                          AdaptiveSteps{.rtol = 1e-5, .atol = 1e-6});
  CHECK(errors.tokens < 2e-5);
  CHECK(errors.P < 1e-4);
}
