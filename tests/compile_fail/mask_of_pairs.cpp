// A mask whose ranges of keys are a pair of int.
// expect unsatisfied: AttentionMask
// expect GNU: 'mask.keys(i, n)' does not satisfy return-type-requirement
// expect Clang: because type constraint 'std::same_as<std::pair<int, int>, attnflow::KeyRange>' was not satisfied
#include <attnflow/systems/token_dynamics.hpp>

#include <utility>

using namespace attnflow;

struct Window {
#ifdef MISUSE
  std::pair<int, int> keys(int i, int /*n*/) const { return {i, i + 1}; }
#else
  KeyRange keys(Eigen::Index i, Eigen::Index /*n*/) const { return {i, i + 1}; }
#endif
};

Eigen::Index f(const Head<double, 2>& head) { return TokenDynamics<double, 2, Softmax, Window>(head).dim(); }
