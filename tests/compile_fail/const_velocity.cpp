// The velocity as a constant.
// expect GNU: discards qualifiers
// expect Clang: would lose const qualifier
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Velocity = const Tokens<double, 2>;
#else
using Velocity = Tokens<double, 2>;
#endif

void f(const TokenDynamics<double, 2>& system, const Tokens<double, 2>& x, Velocity& dx) { system(0, x, dx); }
