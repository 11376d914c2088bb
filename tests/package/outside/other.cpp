// A second file of the program: what both instantiate (starts, stepper, hull) is one function in the program. It runs
// before the first.
#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <cmath>
#include <cstdlib>
#include <iostream>

namespace {

using State = attnflow::Tokens<double, 2>;

struct Decay {
  using State = ::State;
  void operator()(double /*t*/, const State& x, State& dx) const { dx = -x; }
};

const bool ran_before = [] {
  attnflow::Generator generator(1);
  const State start = attnflow::uniform_box<double, 2>(generator, 20, 2, -5, 5);
  State x = start;
  const auto report = attnflow::integrate(Decay{}, attnflow::DormandPrince5<State>{}, x, {.to = 1});
  const double error = (x - std::exp(-1.0) * start).cwiseAbs().maxCoeff();
  // rtol is 1e-9 a step, for some tens of steps.
  if (report.outcome != attnflow::Outcome::reached_end || error > 1e-7 ||
      attnflow::convex_hull(x) != attnflow::convex_hull(start)) {
    std::cerr << "the second file is wrong\n";
    std::exit(1);
  }
  return true;
}();

}  // namespace
