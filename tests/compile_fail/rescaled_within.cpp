// A mask of distances in the frame z = e^(-tV) x, where distances are others.
// expect: RescaledDynamics does not take Within: rescaled coordinates have other distances than tokens
#include <attnflow/attention/within.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Mask = Within;
#else
using Mask = NoMask;
#endif

Eigen::Index f(const Head<double, 2>& head) { return RescaledDynamics<double, 2, Softmax, Mask>(head).dim(); }
