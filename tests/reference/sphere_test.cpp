#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/observables/attention/interaction_energy.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

// Cases tagged [laws] need weights other than softmax over all tokens.

namespace {

using attnflow::AdaptiveSteps;
using attnflow::Causal;
using attnflow::DormandPrince5;
using attnflow::FixedSteps;
using attnflow::Head;
using attnflow::integrate;
using attnflow::OnSphere;
using attnflow::Outcome;
using attnflow::Softmax;
using attnflow::SphereDynamics;
using attnflow::TokenDynamics;
using attnflow::Trajectory;
using attnflow::Unnormalized;
using State = attnflow::Tokens<double>;

/// A stored run without its law, which the test knows.
struct Case {
  explicit Case(const std::string& name)
      : folder(std::filesystem::path(ATTNFLOW_TEST_DATA) / name),
        head{matrices("Q").front(), matrices("K").front(), matrices("V").front()},
        start(attnflow::tokens_from<double>(attnflow::load_npy(folder / "x0.npy"), "x0")),
        times(attnflow::load_npy(folder / "times.npy").values) {
    for (const Eigen::MatrixXd& rows : matrices("x")) tokens.emplace_back(rows.transpose());
  }
  [[nodiscard]] std::vector<Eigen::MatrixXd> matrices(const std::string& array) const {
    return attnflow::matrices_from<double>(attnflow::load_npy(folder / (array + ".npy")), array);
  }
  [[nodiscard]] std::vector<double> numbers(const std::string& array) const {
    return attnflow::load_npy(folder / (array + ".npy")).values;
  }

  std::filesystem::path folder;
  Head<double> head;
  State start;
  std::vector<double> times;
  std::vector<State> tokens;
};

/// The states of a run at the times of the case.
template <class System, class Stepper, class Plan>
std::vector<State> run(const Case& data, const System& system, Stepper stepper, Plan plan) {
  plan.from = data.times.front();
  plan.to = data.times.back();
  Trajectory<State> record(data.times);
  State x = data.start;
  REQUIRE(integrate(system, stepper, x, plan, record).outcome == Outcome::reached_end);
  REQUIRE(record.times() == data.times);
  return record.states();
}

double worst(const std::vector<State>& found, const std::vector<State>& expected) {
  REQUIRE(found.size() == expected.size());
  double most = 0;
  for (std::size_t k = 0; k < found.size(); ++k)
    most = std::max(most, (found[k] - expected[k]).cwiseAbs().maxCoeff());
  return most;
}

/// ∑ᵢⱼ e^{β⟨Q xᵢ, K xⱼ⟩} / (2 β n²).
double energy(const Head<double>& head, double beta, const State& x) {
  const double n = static_cast<double>(x.cols());
  return attnflow::interaction_energy(Head<double>{beta * head.Q, head.K, head.V}, x).value /
         (2 * beta * n * n);
}

/// Dormand-Prince at a tight tolerance against the stored tokens and energies.
template <class Law, class Mask = attnflow::NoMask>
void check(const std::string& name, const Law& law, const Mask& mask, double tolerance) {
  const Case data(name);
  const SphereDynamics<double, Eigen::Dynamic, Law, Mask> system(data.head, law, mask);
  const auto states =
      run(data, system, OnSphere<DormandPrince5<State>>{}, AdaptiveSteps{.rtol = 1e-12, .atol = 1e-13});
  const auto energies = data.numbers("energy");
  REQUIRE(energies.size() == states.size());
  double of_energy = 0, of_length = 0;
  for (std::size_t k = 0; k < states.size(); ++k) {
    of_energy = std::max(of_energy, std::abs(energy(data.head, law.beta, states[k]) / energies[k] - 1));
    of_length = std::max(of_length, (states[k].colwise().norm().array() - 1).abs().maxCoeff());
    // The energy of the stored tokens, without a run in between: rounding alone.
    CHECK(energy(data.head, law.beta, data.tokens[k]) == Approx(energies[k]).epsilon(1e-13));
  }
  const double of_tokens = worst(states, data.tokens);
  INFO(name << ": tokens " << of_tokens << ", energy " << of_energy << ", norms " << of_length);
  CHECK(of_tokens < tolerance);
  CHECK(of_energy < 10 * tolerance);  // its derivative by a token is β times itself, over n
  CHECK(of_length <= 1e-15);          // 3.5 ε: what scaling leaves in three dimensions
}

}  // namespace

// 1e-11 is ten times what the worst case measures (9e-13, on the circle), and a hundred times what the stored
// tokens are known to.
TEST_CASE("stored runs of softmax on the sphere", "[reference][sphere]") {
  check("sphere_sa_beta1", Softmax{1}, attnflow::NoMask{}, 1e-11);
  check("sphere_sa_beta4_circle", Softmax{4}, attnflow::NoMask{}, 1e-11);
  check("sphere_general", Softmax{0.7}, attnflow::NoMask{}, 1e-11);
}

TEST_CASE("stored runs of other laws and masks on the sphere", "[reference][sphere][laws]") {
  check("sphere_usa_beta1", Unnormalized{1}, attnflow::NoMask{}, 1e-11);
  check("sphere_causal", Softmax{2}, Causal{}, 1e-11);
}

TEST_CASE("a stored run of tokens under a causal mask", "[reference][laws]") {
  const Case data("causal_3d");
  const TokenDynamics<double, Eigen::Dynamic, Softmax, Causal> system(data.head);
  const auto states = run(data, system, DormandPrince5<State>{}, AdaptiveSteps{.rtol = 1e-12, .atol = 1e-13});
  double of_tokens = 0, of_P = 0;
  const auto P = data.matrices("P");
  for (std::size_t k = 0; k < states.size(); ++k) {
    const double scale = std::max(1.0, data.tokens[k].cwiseAbs().maxCoeff());
    of_tokens = std::max(of_tokens, (states[k] - data.tokens[k]).cwiseAbs().maxCoeff() / scale);
    of_P = std::max(of_P, (system.attention(0, states[k]) - P[k]).cwiseAbs().maxCoeff());
  }
  INFO("tokens " << of_tokens << ", P " << of_P);
  CHECK(of_tokens < 1e-11);
  CHECK(of_P < 1e-10);
}

TEST_CASE("projected Euler tends to the stored run at its order", "[reference][sphere]") {
  const Case data("sphere_sa_beta1");
  const SphereDynamics<double> system(data.head);
  const auto error = [&](double h) {
    return worst(run(data, system, OnSphere<attnflow::Euler<State>>{}, FixedSteps{.step = h}), data.tokens);
  };
  const double coarse = error(0.05), fine = error(0.025);
  CHECK(coarse < 0.1);  // h, times the steepest growth of an error on the way to the consensus
  CHECK(std::log2(coarse / fine) == Approx(1).margin(0.1));
}
