// A temporary as the state: the end of the run would be lost.
// expect: no matching function for call to 'integrate
// expect GNU: cannot bind non-const lvalue reference
// expect Clang: expects an lvalue for 3rd argument
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;

struct Decay {
  using State = Tokens<double, 2>;
  void operator()(double, const State& x, State& dx) const { dx = -x; }
};

Report f(Tokens<double, 2> start) {
#ifdef MISUSE
  return integrate(Decay{}, RungeKutta4<Tokens<double, 2>>{}, Tokens<double, 2>(start),
                   {.to = 1, .step = 0.1});
#else
  return integrate(Decay{}, RungeKutta4<Tokens<double, 2>>{}, start, {.to = 1, .step = 0.1});
#endif
}
