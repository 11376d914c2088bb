// A law of one's own that does not say when it is wrong.
// expect unsatisfied: WeightLaw
// expect: 'law.validate()'
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

struct Mine {
  using Scalar = double;
  static constexpr bool rows_sum_to_one = true;
  static constexpr WeightFunction function = WeightFunction::exponential;
  double beta = 1;
#ifndef MISUSE
  void validate() const {}
#endif
  double log_row_factor(double, Eigen::Index) const { return 0; }
};

Eigen::Index f(const Head<double, 2>& head) { return TokenDynamics<double, 2, Mine>(head).dim(); }
