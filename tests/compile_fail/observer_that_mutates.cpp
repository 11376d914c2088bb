// An observer that wants to change the state.
// expect unsatisfied: ObserverOf
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

struct Decay {
  using State = Plane;
  void operator()(double, const Plane& x, Plane& dx) const { dx = -x; }
};

#ifdef MISUSE
using Seen = Plane&;
#else
using Seen = const Plane&;
#endif

Report f(Plane& x) {
  return integrate(Decay{}, RungeKutta4<Plane>{}, x, {.to = 1, .step = 0.1}, [](double, Seen) {});
}
