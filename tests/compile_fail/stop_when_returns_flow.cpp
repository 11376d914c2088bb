// A condition for stop_when() that answers with a Flow instead of a truth value.
// expect unsatisfied: ObserverOf
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

struct Decay {
  using State = Plane;
  void operator()(double, const Plane& x, Plane& dx) const { dx = -x; }
};

Report f(Plane& x) {
#ifdef MISUSE
  return integrate(Decay{}, RungeKutta4<Plane>{}, x, {.to = 1, .step = 0.1},
                   stop_when([](double t, const Plane&) { return t > 0.5 ? Flow::stop : Flow::proceed; }));
#else
  return integrate(Decay{}, RungeKutta4<Plane>{}, x, {.to = 1, .step = 0.1},
                   stop_when([](double t, const Plane&) { return t > 0.5; }));
#endif
}
