// Rotary positions under a law of distances.
// expect: rotary positions are for laws of products, one row by itself: neither L2Softmax nor Sinkhorn
#include <attnflow/attention/laws/l2_softmax.hpp>
#include <attnflow/attention/positions/rotary.hpp>
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Law = L2Softmax;
#else
using Law = Softmax;
#endif

Eigen::Index f(const Head<double, 2>& head) {
  return TokenDynamics<double, 2, Law, NoMask, Rotary>(head).dim();
}
