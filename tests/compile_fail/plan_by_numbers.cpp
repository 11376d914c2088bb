// Times given as numbers, as other libraries take them.
// expect: no matching function for call to 'integrate
// expect GNU: candidate expects 5 arguments, 6 provided
// expect Clang: requires at most 5 arguments, but 6 were provided
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

struct Decay {
  using State = Plane;
  void operator()(double, const Plane& x, Plane& dx) const { dx = -x; }
};

Report f(Plane& x) {
#ifdef MISUSE
  return integrate(Decay{}, RungeKutta4<Plane>{}, x, 0.0, 1.0, 0.1);
#else
  return integrate(Decay{}, RungeKutta4<Plane>{}, x, {.from = 0, .to = 1, .step = 0.1});
#endif
}
