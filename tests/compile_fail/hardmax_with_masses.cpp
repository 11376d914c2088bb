// Masses under hardmax, to which they mean nothing.
// expect: Hardmax, TopK, Sparsemax and Entmax15 do not take masses
#include <attnflow/attention/biases/token_masses.hpp>
#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Bias = TokenMasses;
#else
using Bias = NoBias;
#endif

void f(const TokenDynamics<double, 2, Hardmax, NoMask, Bias>& system, const Tokens<double, 2>& x,
       Tokens<double, 2>& dx) {
  system(0, x, dx);
}
