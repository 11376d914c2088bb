// The library inside its user's OpenMP regions. Compiled with -fopenmp where there is OpenMP.
#include "parallel/runs.hpp"

#include <attnflow/parallel/threads.hpp>

#include "catch.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#ifdef _OPENMP

namespace {

using attnflow::detail::parallel_for;
using attnflow::detail::WorkerPool;

/// A barrier that may stand inside a loop of ours.
void meet(std::atomic<int>& arrived, int all) {
  ++arrived;
  while (arrived < all) std::this_thread::yield();
}

}  // namespace

TEST_CASE("inside an OpenMP region runs have the bits of each alone", "[threads]") {
  attnflow::set_threads(1);
  const runs::Systems shared;
  std::vector<std::uint64_t> alone;
  for (int k = 0; k < runs::count; ++k) alone.push_back(runs::bits(shared, k));
  for (const int ours : {1, 2, 4})
    for (const int theirs : {2, 4}) {
      CAPTURE(ours, theirs);
      attnflow::set_threads(ours);
      std::vector<std::uint64_t> found(8);
#pragma omp parallel for num_threads(theirs) schedule(dynamic)
      for (int k = 0; k < 8; ++k) found[static_cast<std::size_t>(k)] = runs::bits(shared, k % runs::count);
      for (std::size_t k = 0; k < found.size(); ++k) CHECK(found[k] == alone[k % alone.size()]);
    }
}

TEST_CASE("a region that uses all threads gets no helpers beside them", "[threads]") {
  attnflow::set_threads(1);
  std::atomic<int> arrived{0}, ready{0}, finished{0};
  std::atomic<long> shared{0};
#pragma omp parallel num_threads(3)
  parallel_for(2, 1e9, [&](Eigen::Index chunk) {
    if (chunk != 0) return;
    // All three are in a loop of ours on their own, and three threads are what we may use.
    meet(arrived, 3);
    attnflow::set_threads(3);
    meet(ready, 3);
    const long before = WorkerPool::shared_loops();
    parallel_for(8, 1e9, [](Eigen::Index) {});
    shared += WorkerPool::shared_loops() - before;
    meet(finished, 3);
  });
  CHECK(shared == 0);
  // Afterwards there are helpers again.
  const long before = WorkerPool::shared_loops();
  parallel_for(8, 1e9, [](Eigen::Index) {});
  CHECK(WorkerPool::shared_loops() == before + 1);
}

#else

TEST_CASE("inside an OpenMP region", "[threads]") { WARN("skipped: the compiler has no OpenMP"); }

#endif
