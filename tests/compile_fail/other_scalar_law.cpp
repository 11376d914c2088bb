// A law of another scalar type than the tokens.
// expect unsatisfied: WeightLaw
// expect unsatisfied: same_as
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Law = Softmax<float>;
#else
using Law = Softmax<double>;
#endif

TokenDynamics<double, 2, Law> f(const Head<double, 2>& head) { return TokenDynamics<double, 2, Law>(head); }
