// A law of one's own without an inverse temperature.
// expect unsatisfied: WeightLaw
// expect: 'law.beta'
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

struct Mine {
  static constexpr bool rows_sum_to_one = true;
  static constexpr WeightFunction function = WeightFunction::exponential;
#ifndef MISUSE
  double beta = 1;
#endif
};

Eigen::Index f(const Head<double, 2>& head) { return TokenDynamics<double, 2, Mine>(head).dim(); }
