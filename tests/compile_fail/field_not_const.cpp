// A system that changes itself when it is called: its call is not const.
// expect unsatisfied: VectorField
// expect GNU: the required expression 'f(t, x, dx)' is invalid
// expect Clang: because 'f(t, x, dx)' would be invalid
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;

struct Decay {
  using State = Tokens<double, 2>;
#ifdef MISUSE
  void operator()(double /*t*/, const State& x, State& dx) {
    ++calls;
    dx = -x;
  }
  long calls = 0;
#else
  void operator()(double /*t*/, const State& x, State& dx) const { dx = -x; }
#endif
};

Report f(Tokens<double, 2>& x) {
  return integrate(Decay{}, RungeKutta4<Tokens<double, 2>>{}, x, {.to = 1, .step = 0.1});
}
