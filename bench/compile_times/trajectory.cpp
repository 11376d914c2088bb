// A run of TokenDynamics with RungeKutta4, its states kept: what takes longest to compile of most programs.
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

int main() {
  using State = attnflow::Tokens<double, 3>;
  attnflow::Generator generator(1);
  State x = attnflow::uniform_box<double, 3>(generator, 20, 3, -5, 5);
  const attnflow::TokenDynamics dynamics(attnflow::Head<double, 3>::identity());
  attnflow::Trajectory<State> trajectory(attnflow::equal_times(0, 1, 11));
  const attnflow::Report report =
      attnflow::integrate(dynamics, attnflow::RungeKutta4<State>{}, x, {.to = 1, .step = 0.1}, trajectory);
  return report.outcome == attnflow::Outcome::reached_end && trajectory.size() == 11 ? 0 : 1;
}
