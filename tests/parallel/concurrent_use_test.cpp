// The library in several threads of its user at once. This program is linked without -pthread, as all tests
// are.
#include "parallel/runs.hpp"
#include "parallel/serial.hpp"

#include <attnflow/parallel/threads.hpp>

#include "catch.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using attnflow::detail::parallel_for;
using attnflow::detail::WorkerPool;
using Eigen::Index;

constexpr double worth_it = 1e9;

struct Threads {
  explicit Threads(int n) : before(attnflow::threads()) { attnflow::set_threads(n); }
  ~Threads() { attnflow::set_threads(before); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  int before;
};

/// Each run alone, on one thread.
const std::vector<std::uint64_t>& alone() {
  static const std::vector<std::uint64_t> bits = [] {
    const Threads one(1);
    std::vector<std::uint64_t> each;
    for (int k = 0; k < runs::count; ++k) each.push_back(runs::bits(runs::Systems{}, k));
    return each;
  }();
  return bits;
}

/// Run k % count in thread k of `users`, `times` times, and how many did not give the bits of the run alone.
template <class SystemsOf>
int wrong_beside_others(int users, int times, const SystemsOf& systems_of) {
  const std::vector<std::uint64_t>& expected = alone();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int user = 0; user < users; ++user)
    threads.emplace_back([&, user] {
      for (int repeat = 0; repeat < times; ++repeat) {
        const int k = (user + repeat) % runs::count;
        if (runs::bits(systems_of(user), k) != expected[static_cast<std::size_t>(k)]) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  return wrong;
}

}  // namespace

TEST_CASE("a run has the same bits alone, on several threads, and in a program without them", "[threads]") {
  REQUIRE(alone().size() == runs::count);
  const long before = WorkerPool::shared_loops();
  for (int k = 0; k < runs::count; ++k) {
    CAPTURE(k);
    const Threads three(3);
    CHECK(runs::bits(runs::Systems{}, k) == alone()[static_cast<std::size_t>(k)]);
    CHECK(serial_bits(k) == alone()[static_cast<std::size_t>(k)]);
    CHECK(attnflow::threads() == 3);  // what is set without threads is another number
  }
  CHECK(WorkerPool::shared_loops() > before);  // else nothing was compared
}

TEST_CASE("runs in several threads at once have the bits of each alone", "[threads]") {
  for (const int n : {1, 2, 4}) {
    const Threads some(n);
    CAPTURE(n);
    // Each user has systems of its own,
    std::vector<runs::Systems> own(4);
    CHECK(wrong_beside_others(
              4, 3, [&](int user) -> const auto& { return own[static_cast<std::size_t>(user)]; }) == 0);
    // or all look at the same ones.
    const runs::Systems shared;
    CHECK(wrong_beside_others(
              5, 2, [&](int) -> const auto& { return shared; }) == 0);
  }
}

TEST_CASE("the number of threads may change while loops run", "[threads]") {
  const Threads two(2);
  std::atomic<bool> done{false};
  std::thread restless([&] {
    for (int n = 1; !done; n = n % 5 + 1) {
      attnflow::set_threads(n);
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  });
  const runs::Systems shared;
  CHECK(wrong_beside_others(
            3, 4, [&](int) -> const auto& { return shared; }) == 0);
  done = true;
  restless.join();
}

TEST_CASE("each of several threads gets its own exception", "[threads]") {
  const Threads three(3);
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int user = 0; user < 4; ++user)
    users.emplace_back([&, user] {
      for (int repeat = 0; repeat < 200; ++repeat) {
        const std::string mine = std::to_string(user) + " " + std::to_string(repeat);
        try {
          parallel_for(16, worth_it, [&](Index chunk) {
            if (chunk >= 5) throw std::runtime_error(mine);
          });
          ++wrong;
        } catch (const std::runtime_error& error) {
          if (error.what() != mine) ++wrong;
        }
      }
    });
  for (std::thread& user : users) user.join();
  CHECK(wrong == 0);
}

TEST_CASE("callers count as threads in use", "[threads]") {
  // Another thread is in a loop of its own, which found one thread to use.
  std::atomic<bool> inside{false}, done{false};
  const Threads one(1);
  std::thread other([&] {
    parallel_for(2, worth_it, [&](Index) {
      inside = true;
      while (!done) std::this_thread::yield();
    });
  });
  while (!inside) std::this_thread::yield();
  const auto shared = [](int threads) {
    attnflow::set_threads(threads);
    const long before = WorkerPool::shared_loops();
    parallel_for(8, worth_it, [](Index) {});
    return WorkerPool::shared_loops() - before;
  };
  // Two threads are at work: with two, there is none to spare; with three, there is one.
  CHECK(shared(2) == 0);
  CHECK(shared(3) == 1);
  done = true;
  other.join();
  CHECK(shared(2) == 1);
  // A body that throws has left, too.
  CHECK_THROWS_AS(parallel_for(8, worth_it, [](Index) { throw std::logic_error("out"); }), std::logic_error);
  CHECK(shared(2) == 1);
}

TEST_CASE("without threads no thread header is included", "[threads]") {
#if defined(_GLIBCXX_THREAD) || defined(_LIBCPP_THREAD)  // else this library's header has another guard
  CHECK_FALSE(serial_has_pool());
#endif
}
