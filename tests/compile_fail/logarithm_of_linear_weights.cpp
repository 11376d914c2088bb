// log P of weights that may be negative.
// expect: Law::function == WeightFunction::exponential
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/laws/linear.hpp>

using namespace attnflow;

#ifdef MISUSE
using Law = Linear;
#else
using Law = Softmax;
#endif

Eigen::Index f(const Head<double, 2>& head, const Tokens<double, 2>& x) {
  return log_attention(head, x, Law{}).rows();
}
