// A part that is written as a system is: it would replace the velocity. A part adds to it.
// expect: DriftPart<
// expect: Wind
// expect GNU: evaluated to 'false'
// expect Clang: because 'part.add(t, x, dx)' would be invalid
#include <attnflow/systems/driven.hpp>
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

struct Wind {
#ifdef MISUSE
  void operator()(double, const Eigen::MatrixXd&, Eigen::MatrixXd& dx) const { dx.setOnes(); }
#else
  void add(double, const Eigen::MatrixXd&, Eigen::MatrixXd& dx) const { dx.array() += 1; }
#endif
};

auto f(const TokenDynamics<double>& system) {
  return Driven<TokenDynamics<double>, Wind>(system, Wind{}).dim();
}
