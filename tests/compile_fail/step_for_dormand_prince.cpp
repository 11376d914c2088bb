// An equal step asked of an adaptive stepper in braces: the plan's type has to be spelled out.
// expect: AdaptiveSteps
// expect GNU: couldn't deduce template parameter 'Plan'
// expect Clang: couldn't infer template argument 'Plan'
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

struct Decay {
  using State = Plane;
  void operator()(double, const Plane& x, Plane& dx) const { dx = -x; }
};

Report f(Plane& x) {
#ifdef MISUSE
  return integrate(Decay{}, DormandPrince5<Plane>{}, x, {.to = 1, .step = 0.1});
#else
  return integrate(Decay{}, DormandPrince5<Plane>{}, x, FixedSteps{.to = 1, .step = 0.1});
#endif
}
