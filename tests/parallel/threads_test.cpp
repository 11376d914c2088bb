#include <attnflow/parallel/threads.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

using attnflow::set_threads;
using attnflow::threads;
using attnflow::detail::least_parallel_ns;
using attnflow::detail::parallel_for;
using attnflow::detail::WorkerPool;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;

constexpr double worth_it = 1e9;

/// Sets the number of threads for one test.
struct Threads {
  explicit Threads(int n) : before(threads()) { set_threads(n); }
  ~Threads() { set_threads(before); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  int before;
};

/// How often each chunk was called in a loop.
std::vector<int> calls(Index chunks, double work_ns) {
  std::vector<std::atomic<int>> count(static_cast<std::size_t>(chunks));
  parallel_for(chunks, work_ns, [&](Index chunk) { ++count[static_cast<std::size_t>(chunk)]; });
  return {count.begin(), count.end()};
}

std::vector<int> once(Index chunks) { return std::vector<int>(static_cast<std::size_t>(chunks), 1); }

/// Keeps the processor for a while, as work does.
void work(int microseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  while (std::chrono::steady_clock::now() < end) {
  }
}

/// Loops until a worker has taken part; threads are not promised a processor in any one loop.
template <class Body>
bool some_loop_is_shared(const Body& body) {
  const auto caller = std::this_thread::get_id();
  for (int attempt = 0; attempt < 2000; ++attempt) {
    std::atomic<bool> helped{false};
    parallel_for(64, worth_it, [&](Index chunk) {
      body(chunk);
      work(20);
      if (std::this_thread::get_id() != caller) helped = true;
    });
    if (helped) return true;
  }
  return false;
}

/// What default_threads() makes of a value of the variable; nullptr: not set.
std::string with_environment(const char* value) {
  const char* held = std::getenv("ATTNFLOW_THREADS");
  const std::string before = held == nullptr ? "" : held;
  if (value == nullptr)
    unsetenv("ATTNFLOW_THREADS");
  else
    setenv("ATTNFLOW_THREADS", value, 1);
  std::string answer;
  const std::string message = refusal([&] { answer = std::to_string(attnflow::detail::default_threads()); });
  if (held == nullptr)
    unsetenv("ATTNFLOW_THREADS");
  else
    setenv("ATTNFLOW_THREADS", before.c_str(), 1);
  return answer.empty() ? message : answer;
}

}  // namespace

TEST_CASE("the number of threads is what was set, else the environment's, else the processors'",
          "[threads]") {
  CHECK(threads() >= 1);
  {
    const Threads three(3);
    CHECK(threads() == 3);
    CHECK_THAT(refusal([] { set_threads(0); }),
               ContainsSubstring("set_threads: n is 0, expected at least 1"));
    CHECK_THAT(refusal([] { set_threads(-2); }), ContainsSubstring("n is -2"));
    CHECK(threads() == 3);
  }
  CHECK(with_environment(nullptr) == std::to_string(attnflow::detail::usable_processors()));
  CHECK(with_environment("1") == "1");
  CHECK(with_environment("17") == "17");
  for (const char* wrong : {"0", "-3", "two", "2x", " 2", "2.5", "", "99999999999"})
    CHECK(with_environment(wrong) ==
          "ATTNFLOW_THREADS is \"" + std::string(wrong) + "\", expected a positive integer");
}

TEST_CASE("the default is no more than the processors that the thread may use", "[threads]") {
  const int all = attnflow::detail::usable_processors();
  CHECK(all >= 1);
  CHECK(all <= std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
#if defined(__linux__)
  std::thread([] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0) CHECK(attnflow::detail::usable_processors() == 1);
  }).join();
#endif
}

TEST_CASE("a small loop wakes nobody", "[threads]") {
  const Threads four(4);
  const int workers = WorkerPool::started();
  const long loops = WorkerPool::shared_loops();
  const auto caller = std::this_thread::get_id();
  for (int k = 0; k < 1000; ++k) {
    parallel_for(16, 0.999 * least_parallel_ns,
                 [&](Index) { REQUIRE(std::this_thread::get_id() == caller); });
    parallel_for(1, worth_it, [&](Index) { REQUIRE(std::this_thread::get_id() == caller); });
    parallel_for(0, worth_it, [&](Index) { FAIL("there is no chunk"); });
  }
  {
    const Threads one(1);
    CHECK(calls(100, worth_it) == once(100));
  }
  CHECK(WorkerPool::started() == workers);
  CHECK(WorkerPool::shared_loops() == loops);
  CHECK(calls(100, least_parallel_ns) == once(100));
  CHECK(WorkerPool::started() == std::max(workers, 3));
  CHECK(WorkerPool::shared_loops() == loops + 1);
}

TEST_CASE("every chunk is called once, by whoever comes first", "[threads]") {
  for (const int n : {1, 2, 3, 8}) {
    const Threads some(n);
    for (const Index chunks : {0, 1, 2, 7, 1000})
      for (int repeat = 0; repeat < 50; ++repeat) REQUIRE(calls(chunks, worth_it) == once(chunks));
  }
  // Loops at all distances from each other: workers are found awake, going to sleep, and asleep.
  const Threads two(2);
  for (int gap = 0; gap < 100; ++gap) {
    REQUIRE(calls(5, worth_it) == once(5));
    work(gap);
  }
  CHECK(some_loop_is_shared([](Index) {}));
  CHECK(WorkerPool::started() <= 7);  // no more than the largest number asked for, less the caller
}

#if defined(__linux__)
TEST_CASE("workers may use the processors that the process may use", "[threads]") {
  const Threads two(2);
  cpu_set_t allowed;
  REQUIRE(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  std::atomic<int> others{0};
  CHECK(some_loop_is_shared([&](Index) {
    cpu_set_t own;
    if (sched_getaffinity(0, sizeof own, &own) != 0 || !CPU_EQUAL(&own, &allowed)) ++others;
  }));
  CHECK(others == 0);
}
#endif

TEST_CASE("what the workers write is there after the loop", "[threads]") {
  const Threads two(2);
  std::vector<double> y(4096);  // plain memory, written without locks
  for (int round = 1; round <= 200; ++round) {
    parallel_for(64, worth_it, [&](Index chunk) {
      for (std::size_t k = 0; k < 64; ++k) y[static_cast<std::size_t>(chunk) * 64 + k] += round;
    });
    for (const double value : y) REQUIRE(value == round * (round + 1) / 2);
  }
}

TEST_CASE("a loop within a loop and loops of several threads run each chunk once", "[threads]") {
  const Threads three(3);
  std::vector<std::atomic<int>> count(20 * 30);
  const long before = WorkerPool::shared_loops();
  parallel_for(20, worth_it, [&](Index outer) {
    const auto me = std::this_thread::get_id();
    parallel_for(30, worth_it, [&](Index inner) {
      if (std::this_thread::get_id() == me) ++count[static_cast<std::size_t>(outer * 30 + inner)];
    });
  });
  CHECK(WorkerPool::shared_loops() == before + 1);
  for (const auto& each : count) REQUIRE(each == 1);

  std::vector<std::thread> users;
  std::atomic<int> wrong{0};
  for (int user = 0; user < 4; ++user)
    users.emplace_back([&] {
      for (int k = 0; k < 200; ++k) wrong += calls(13, worth_it) == once(13) ? 0 : 1;
    });
  for (auto& user : users) user.join();
  CHECK(wrong == 0);
}

TEST_CASE("the exception of the first chunk that throws reaches the caller", "[threads]") {
  for (const int n : {1, 4}) {
    const Threads some(n);
    for (int repeat = 0; repeat < 100; ++repeat) {
      std::vector<std::atomic<int>> count(200);
      std::string message = "none";
      try {
        parallel_for(200, worth_it, [&](Index chunk) {
          ++count[static_cast<std::size_t>(chunk)];
          if (chunk >= 37 && chunk % 3 == 1) throw std::runtime_error("chunk " + std::to_string(chunk));
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      REQUIRE(message == "chunk 37");
      for (std::size_t chunk = 0; chunk <= 37; ++chunk) REQUIRE(count[chunk] == 1);
      for (const auto& each : count) REQUIRE(each <= 1);
      REQUIRE(calls(50, worth_it) == once(50));  // the pool is as good as new
    }
  }
  // Also where a worker throws, and where the caller itself comes to no exception.
  const Threads two(2);
  const auto caller = std::this_thread::get_id();
  bool thrown = false;
  for (int attempt = 0; attempt < 2000 && !thrown; ++attempt) try {
      parallel_for(64, worth_it, [&](Index) {
        work(20);
        if (std::this_thread::get_id() != caller) throw std::logic_error("of a worker");
      });
    } catch (const std::logic_error&) {
      thrown = true;
    }
  CHECK(thrown);
}

#if defined(__linux__)
TEST_CASE("the child of a fork runs its loops alone", "[threads]") {
  const Threads two(2);
  CHECK(calls(10, worth_it) == once(10));
  std::cout << std::flush;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);  // waiting for workers that do not exist would take for ever
    std::exit(calls(1000, worth_it) == once(1000) ? 0 : 1);  // with the destructors of static objects
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
#endif

namespace {

/// A static object made before the pool and so destroyed after it; its destructor runs a loop.
struct LastOne {
  ~LastOne() {
    if (calls(100, worth_it) != once(100)) std::_Exit(3);
  }
} last_one;

}  // namespace
