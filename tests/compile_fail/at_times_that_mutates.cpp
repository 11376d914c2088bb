// A function for at_times() that wants to change the state.
// expect unsatisfied: StateCallback
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

#ifdef MISUSE
using Seen = Plane&;
#else
using Seen = const Plane&;
#endif

void f() {
  (void)at_times<Plane>({0, 1}, [](double, Seen) {});
}
