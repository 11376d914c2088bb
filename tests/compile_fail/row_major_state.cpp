// Tokens in rows of memory given to a system whose tokens are columns.
// expect: no matching function for call to 'integrate
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Mine = Eigen::Matrix<double, 2, Eigen::Dynamic, Eigen::RowMajor>;
#else
using Mine = Tokens<double, 2>;
#endif

Report f(const TokenDynamics<double, 2>& system, Mine& x) {
  return integrate(system, RungeKutta4<Tokens<double, 2>>{}, x, {.to = 1, .step = 0.1});
}
