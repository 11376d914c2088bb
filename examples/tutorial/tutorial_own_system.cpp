// Step 3 of the tutorial (README.md): a system of one's own.
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/observers/event_functions.hpp>
#include <attnflow/observers/locate.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <iostream>

/// Attention in a potential that confines the tokens: ẋᵢ = ∑ⱼ Pᵢⱼ xⱼ − ‖xᵢ‖² xᵢ.
struct ConfinedTokens {
  using State = attnflow::Tokens<double, 2>;
  attnflow::TokenDynamics<double, 2> attention{attnflow::Head<double, 2>::identity()};

  void operator()(double t, const State& x, State& dx) const {
    attention(t, x, dx);
    dx -= x * x.colwise().squaredNorm().asDiagonal();
  }
};

int main() {
  attnflow::Generator generator(1);
  ConfinedTokens::State x = attnflow::uniform_box<double, 2>(generator, 10, 2, 0, 1);
  attnflow::DormandPrince5<ConfinedTokens::State> stepper;
  auto near = attnflow::locate<ConfinedTokens::State>(attnflow::token_distance(0, 1, 0.1));
  attnflow::StopWhenConsensus met{.tol = 1e-6};
  auto both = attnflow::together<ConfinedTokens::State>(near, met);
  const auto report = attnflow::integrate(ConfinedTokens{}, stepper, x, {.to = 100}, both);
  for (const auto& event : near.events())
    std::cout << "tokens 0 and 1 were 0.1 apart at t = " << event.t << '\n';
  std::cout << "met after " << report.steps << " steps at |x| = " << x.col(0).norm() << '\n';
  return report.outcome == attnflow::Outcome::stopped_by_observer ? 0 : 1;
}
