// A function for every() that takes the state first.
// expect unsatisfied: StateCallback
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

#ifdef MISUSE
const auto look = [](const Plane&, double) {};
#else
const auto look = [](double, const Plane&) {};
#endif

void f() { (void)every<Plane>(0.1, look); }
