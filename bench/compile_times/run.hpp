// What the programs that analyse have in common: a run of RescaledDynamics with DormandPrince5.
#pragma once

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

struct Run {
  using State = attnflow::Tokens<double, 2>;
  attnflow::Head<double, 2> head = attnflow::Head<double, 2>::identity();
  attnflow::Trajectory<State> trajectory{attnflow::equal_times(0, 20, 41)};

  Run() {
    attnflow::Generator generator(1);
    State z = attnflow::uniform_box<double, 2>(generator, 20, 2, -5, 5);
    const attnflow::RescaledDynamics dynamics(head);
    (void)attnflow::integrate(dynamics, attnflow::DormandPrince5<State>{}, z, {.to = 20}, trajectory);
  }
};
