// A condition, which is true or false, for locate(), which looks for changes of sign.
// expect unsatisfied: EventFunction
#include <attnflow/observers/locate.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

auto f() {
#ifdef MISUSE
  return locate<Plane>([](double, const Plane& x) { return x.norm() > 1; });
#else
  return locate<Plane>([](double, const Plane& x) { return x.norm() - 1; });
#endif
}
