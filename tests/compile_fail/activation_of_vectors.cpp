// An activation that takes a column: it acts on one number.
// expect unsatisfied: Activation
// expect: 'sigma(y)'
#include <attnflow/systems/feed_forward.hpp>
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

struct Square {
#ifdef MISUSE
  Eigen::VectorXd operator()(const Eigen::VectorXd& y) const { return y.cwiseAbs2(); }
#else
  double operator()(double y) const { return y * y; }
#endif
};

Eigen::Index f(const TokenDynamics<double>& system) {
  return FeedForward<TokenDynamics<double>, Square>(system, Eigen::MatrixXd::Identity(2, 2)).dim();
}
