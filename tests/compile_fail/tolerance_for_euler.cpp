// Error control asked of a stepper that estimates no error.
// expect unsatisfied: AdaptiveStepperFor
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

struct Decay {
  using State = Plane;
  void operator()(double, const Plane& x, Plane& dx) const { dx = -x; }
};

#ifdef MISUSE
using Stepper = Euler<Plane>;
#else
using Stepper = DormandPrince5<Plane>;
#endif

Report f(Plane& x) { return integrate(Decay{}, Stepper{}, x, {.to = 1, .rtol = 1e-6}); }
