// A positional bias of one's own that is a function: a bias is a slope.
// expect unsatisfied: PositionalBias
// expect: 'bias.slope'
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

struct Fall {
#ifdef MISUSE
  double operator()(Eigen::Index i, Eigen::Index j) const { return static_cast<double>(j - i); }
#else
  double slope = 1;
#endif
  void validate() const {}
};

Eigen::Index f(const Head<double, 2>& head) {
  return TokenDynamics<double, 2, Softmax, NoMask, Fall>(head).dim();
}
