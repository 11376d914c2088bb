// Doubly stochastic weights under a causal mask: only the identity is both.
// expect: Sinkhorn needs a mask that may be symmetric, such as NoMask, Band, ExcludeSelf or Graph
#include <attnflow/attention/laws/sinkhorn.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Mask = Causal;
#else
using Mask = ExcludeSelf;
#endif

void f(const TokenDynamics<double, 2, Sinkhorn, Mask>& system, const Tokens<double, 2>& x,
       Tokens<double, 2>& dx) {
  system(0, x, dx);
}
