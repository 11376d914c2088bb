// A stepper of vectors of the standard library: a state is a matrix of Eigen.
// expect unsatisfied: StateMatrix
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/types.hpp>

#include <vector>

using namespace attnflow;

#ifdef MISUSE
using State = std::vector<double>;
#else
using State = Tokens<double>;
#endif

int f() { return RungeKutta4<State>::order; }
