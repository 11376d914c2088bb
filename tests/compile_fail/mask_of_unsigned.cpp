// A mask that counts positions without a sign: i - 3 is a huge number for the first tokens.
// expect unsatisfied: AttentionMask
// expect unsatisfied: SignedPositions
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

struct Window {
#ifdef MISUSE
  using Position = unsigned;
#else
  using Position = Eigen::Index;
#endif
  KeyRange keys(Position i, Position /*n*/) const { return {i - 3 > 0 ? i - 3 : 0, i + 1}; }
};

Eigen::Index f(const Head<double, 2>& head) { return TokenDynamics<double, 2, Softmax, Window>(head).dim(); }
