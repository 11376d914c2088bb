// Masses under hardmax, to which they mean nothing.
// expect: Hardmax does not take masses: they do not change which score is the largest
#include <attnflow/attention/hardmax.hpp>
#include <attnflow/attention/token_masses.hpp>
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Bias = TokenMasses;
#else
using Bias = NoBias;
#endif

void f(const TokenDynamics<double, 2, Hardmax<double>, NoMask, Bias>& system, const Tokens<double, 2>& x,
       Tokens<double, 2>& dx) {
  system(0, x, dx);
}
