// A static object whose destructor calls drifts: it runs after the thread_local objects of main's thread have been
// destroyed. The address sanitizer sees memory that is used after that; status 1 says that a result differs.
#include <attnflow/attention/laws/linear.hpp>
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/systems/circle_dynamics.hpp>
#include <attnflow/systems/circle_series.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <cmath>
#include <cstdlib>
#include <vector>

namespace {

using Dynamic = attnflow::Tokens<double>;

/// n tokens of R^d that are no two alike.
template <class State>
State spread(Eigen::Index d, Eigen::Index n) {
  State x(d, n);
  for (Eigen::Index i = 0; i < x.size(); ++i)
    x.data()[i] = static_cast<typename State::Scalar>(std::sin(static_cast<double>(i * i + 1)));
  return x;
}

template <class System>
void add_velocities(const System& system, Eigen::Index d, Eigen::Index n, std::vector<double>& to) {
  const auto x = spread<typename System::State>(d, n);
  typename System::State dx;
  system(0.25, x, dx);
  for (Eigen::Index i = 0; i < dx.size(); ++i) to.push_back(static_cast<double>(dx.data()[i]));
}

/// Velocities of n tokens by systems that between them use every kind of scratch space.
std::vector<double> velocities(Eigen::Index n) {
  using attnflow::Head;
  std::vector<double> all;
  Head<double> head = Head<double>::identity(17);
  head.V(0, 1) = 2;
  add_velocities(attnflow::TokenDynamics<double>(head), 17, n, all);
  add_velocities(attnflow::TokenDynamics<double, Eigen::Dynamic, attnflow::Linear>(head), 17, n, all);
  add_velocities(attnflow::TokenDynamics<long double, 2>(Head<long double, 2>::identity()), 2, n, all);
  add_velocities(attnflow::RescaledDynamics<double, 2>(Head<double, 2>::identity()), 2, n, all);
  add_velocities(attnflow::SphereDynamics<double, 3>(Head<double, 3>::identity()), 3, n, all);
  add_velocities(attnflow::CircleDynamics<double>(), 1, n, all);
  add_velocities(attnflow::CircleSeries<double>(), 1, n, all);
  return all;
}

struct Last {
  std::vector<double> expected;
  ~Last() {
    if (!expected.empty() && velocities(200) != expected) std::_Exit(1);
  }
} last;

}  // namespace

int main() {
  (void)velocities(10);
  last.expected = velocities(200);
}
