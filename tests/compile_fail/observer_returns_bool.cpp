// An observer that answers true where it means Flow::stop.
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

const auto look = [](double t, const Plane&) {
#ifdef MISUSE
  return t > 0.5;
#else
  return t > 0.5 ? Flow::stop : Flow::proceed;
#endif
};

Report f(Plane& x) { return integrate(Decay{}, RungeKutta4<Plane>{}, x, {.to = 1, .step = 0.1}, look); }
