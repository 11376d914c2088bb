// A stepper for another state than the field's: three rows where the field has two.
// expect unsatisfied: StepperFor
// expect: 'stepper.step(f, t, x, h)'
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;

struct Decay {
  using State = Tokens<double, 2>;
  void operator()(double, const State& x, State& dx) const { dx = -x; }
};

#ifdef MISUSE
using Stepper = RungeKutta4<Tokens<double, 3>>;
#else
using Stepper = RungeKutta4<Tokens<double, 2>>;
#endif

Report f(Tokens<double, 2>& x) { return integrate(Decay{}, Stepper{}, x, {.to = 1, .step = 0.1}); }
