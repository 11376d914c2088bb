// An ensemble whose starts are drawn by (generator, k) where (k, generator) is expected.
// expect GNU: 'StartSource<
// expect Clang: constraints not satisfied for class template 'Ensemble'
#include <attnflow/ensembles/ensemble.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;
using Plane = Tokens<double, 2>;

struct Decay {
  using State = Plane;
  void operator()(double, const Plane& x, Plane& dx) const { dx = -x; }
};

#ifdef MISUSE
const auto start = [](Generator& g, Eigen::Index) { return uniform_box<double, 2>(g, 3, 2, -1, 1); };
#else
const auto start = [](Eigen::Index, Generator& g) { return uniform_box<double, 2>(g, 3, 2, -1, 1); };
#endif

Eigen::Index f() {
  return Ensemble(
             4, [](Eigen::Index) { return Decay{}; }, start)
      .count();
}
