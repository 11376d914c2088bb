// A lambda as a system: nobody can tell what its state is.
// expect GNU: required for the satisfaction of 'VectorField<
// expect: no type named 'State' in
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

#ifdef MISUSE
const auto decay = [](double, const Plane& x, Plane& dx) { dx = -x; };
#else
struct Decay {
  using State = Plane;
  void operator()(double, const Plane& x, Plane& dx) const { dx = -x; }
};
const Decay decay;
#endif

Report f(Plane& x) { return integrate(decay, RungeKutta4<Plane>{}, x, {.to = 1, .step = 0.1}); }
