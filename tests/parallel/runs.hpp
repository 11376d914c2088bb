// Runs whose last bit is compared: with threads and without, alone and beside others.
#pragma once

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

// With and without threads these are other functions, of one program.
namespace runs { inline namespace ATTNFLOW_ABI {

inline constexpr int count = 4;

/// The bits of a state: FNV-1a of its bytes.
template <class State>
std::uint64_t digest(const State& x) {
  std::vector<unsigned char> bytes(static_cast<std::size_t>(x.size()) * sizeof(typename State::Scalar));
  std::memcpy(bytes.data(), x.data(), bytes.size());
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3U;
  return hash;
}

/// Systems that any number of runs may share.
struct Systems {
  attnflow::TokenDynamics<double, 3> tokens{attnflow::Head<double, 3>::identity()};
  attnflow::RescaledDynamics<float> rescaled{attnflow::Head<float>::identity(5)};
  attnflow::SphereDynamics<double, 3> sphere{attnflow::Head<double, 3>::identity(), {.beta = 4}};
  attnflow::Layers<double, 3> layers{attnflow::Head<double, 3>::identity(), 0.1};
};

/// Run k of `count`, from the start to its last state. Every drift is worth a loop on several threads.
inline std::uint64_t bits(const Systems& systems, int k) {
  using namespace attnflow;
  Generator generator(static_cast<std::uint64_t>(k));
  if (k == 1) {
    Tokens<float> z = uniform_box(generator, 700, 5, -2, 2).cast<float>();
    (void)integrate(systems.rescaled, DormandPrince5<Tokens<float>>{}, z,
                    AdaptiveSteps{.to = 0.5, .rtol = 1e-4, .atol = 1e-5});
    return digest(z);
  }
  Tokens<double, 3> x = uniform_sphere(generator, 500, 3);
  if (k == 0)
    (void)integrate(systems.tokens, RungeKutta4<Tokens<double, 3>>{}, x, {.to = 0.2, .step = 0.05});
  else if (k == 2)
    (void)integrate(systems.sphere, OnSphere(RungeKutta4<Tokens<double, 3>>{}), x, {.to = 0.2, .step = 0.05});
  else {
    x *= 30;  // scores of 900: rows that look for their largest score first
    for (int layer = 0; layer < 6; ++layer) systems.layers.apply(x);
  }
  return digest(x);
}

}}  // namespace runs
