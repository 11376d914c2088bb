// A statistic of an ensemble that cannot be put together from its parts.
// expect unsatisfied: StatisticOf
// expect: 'statistic.merge(other)'
#include <attnflow/ensembles/ensemble.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

struct Decay {
  using State = Plane;
  void operator()(double, const Plane& x, Plane& dx) const { dx = -x; }
};

struct Count {
  long steps = 0;
  void operator()(Eigen::Index, double, const Plane&) { ++steps; }
#ifndef MISUSE
  void merge(const Count& later) { steps += later.steps; }
#endif
};

long f() {
  const Ensemble ensemble(
      4, [](Eigen::Index) { return Decay{}; },
      [](Eigen::Index, Generator& g) { return uniform_box<double, 2>(g, 3, 2, -1, 1); });
  return ensemble.run(RungeKutta4<Plane>{}, {.to = 1, .step = 0.1}, Count{}).statistic.steps;
}
