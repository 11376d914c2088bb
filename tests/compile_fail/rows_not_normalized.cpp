// The frame z = e^(-tV) x with a law whose rows do not sum to one.
// expect: RescaledDynamics needs a weight law whose rows sum to one, such as Softmax
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Law = Unnormalized;
#else
using Law = Softmax;
#endif

Eigen::Index f(const Head<double, 2>& head) { return RescaledDynamics<double, 2, Law>(head).dim(); }
