/// \file
/// Loops on several threads, and how many threads they may use.
///
/// The helpers are one pool of std::threads for the process: no flag to compile with, and none to link with
/// either (glibc before 2.34 wants -pthread). OpenMP is not a second way, on purpose. Its loops exist only
/// where -fopenmp is given, so the same inline function would be two different ones in two objects; GNU's
/// runtime does not survive fork(); and the bits of a result would be the same anyway.
///
/// Loops may begin in any thread: the caller's own, one of an OpenMP region, one of a task library. One loop
/// has the helpers at a time, the others run on their callers. Each running loop counts as a thread in use,
/// so that as many callers as there are processors get no helpers, which would only crowd them. A loop within
/// one that has helpers runs on its thread.
///
/// What the whole process shares is const-initialised and atomic, or a static object that the language locks
/// while it is made: the number of threads, the pool and its counters, the number of running loops, the level
/// of vector instructions (simd_level(), chosen at its first use), the last number given to a
/// MatrixExponential. Scratch space belongs to a thread; between two calls it holds memory and remembered
/// e^{tV}, nothing that a result depends on. So systems are const objects that any number of threads may call
/// at once; a stepper and an observer belong to one run at a time. The process must not end while a thread
/// other than main's is in a loop.
///
/// With ATTNFLOW_NO_THREADS defined, or where the standard library has no threads, every loop runs on its
/// caller, to the same bits. All files of a program had better agree on it: the library's names differ, but
/// those of a user's own inline functions that call it do not.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/parallel/detail/worker_pool.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>
#include <type_traits>

#ifndef ATTNFLOW_NO_THREADS
#include <mutex>
#include <thread>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// The number of processors that the calling thread may use: those that taskset, cpusets or an MPI launcher
/// leave it, not all that the machine has. At least 1, and 1 without threads.
[[nodiscard]] inline int usable_processors() {
#ifdef ATTNFLOW_NO_THREADS
  return 1;
#else
  const int all = (std::max)(1, static_cast<int>(std::thread::hardware_concurrency()));
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return std::clamp(CPU_COUNT(&allowed), 1, all);
#endif
  return all;
#endif
}

/// The number that the environment variable ATTNFLOW_THREADS asks for; where it is not set, one thread for
/// each usable processor. \throws std::invalid_argument unless the variable holds a positive integer and
/// nothing else.
[[nodiscard]] inline int default_threads() {
  const char* text = std::getenv("ATTNFLOW_THREADS");
  if (text == nullptr) return usable_processors();
  int n = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, n);
  if (error != std::errc{} || rest != end || n < 1)
    refuse("ATTNFLOW_THREADS is \"", text, "\", expected a positive integer");
  return n;
}

inline std::atomic<int> chosen_threads{0};  // 0: not chosen yet

}  // namespace detail

/// How many threads a loop may use, the caller's among them: the number given to set_threads(), else that of
/// the environment variable ATTNFLOW_THREADS, else the number of processors that the process may use. No
/// result depends on it.
/// \throws std::invalid_argument if the variable is read and holds anything but a positive integer.
[[nodiscard]] inline int threads() {
  int n = detail::chosen_threads.load(std::memory_order_relaxed);
  if (n == 0) {
    const int initial = detail::default_threads();
    if (detail::chosen_threads.compare_exchange_strong(n, initial, std::memory_order_relaxed)) n = initial;
  }
  return n;
}

/// Sets the number of threads for all loops that begin from now on, in the whole process.
/// \throws std::invalid_argument unless n ≥ 1.
inline void set_threads(int n) {
  if (n < 1) detail::refuse("set_threads: n is ", n, ", expected at least 1");
  detail::chosen_threads.store(n, std::memory_order_relaxed);
}

namespace detail {

// What a body locks while it writes what others write, too.
#ifndef ATTNFLOW_NO_THREADS
using Mutex = std::mutex;
using Lock = std::lock_guard<std::mutex>;
#else
struct Mutex {};
struct Lock {
  explicit Lock(Mutex& /*nobody else*/) noexcept {}
};
#endif

/// What a loop must be worth, in nanoseconds of one thread, before anybody is woken for it.
inline constexpr double least_parallel_ns = 40e3;

/// body(0), …, body(chunks − 1), each once, on up to threads() threads. Who calls which is left to chance:
/// body must not let it show. A loop below least_parallel_ns, one within another and one that finds the
/// workers taken by another thread run on the caller alone, and so does one beside threads() − 1 others. If
/// body throws, the exception of the first chunk that threw is the caller's.
/// \param work_ns  an estimate of what the whole loop takes on one thread, in nanoseconds.
template <class F>
void parallel_for(Eigen::Index chunks, [[maybe_unused]] double work_ns, F&& body) {
  const auto alone = [&] {
    for (Eigen::Index chunk = 0; chunk < chunks; ++chunk) body(chunk);
  };
#ifndef ATTNFLOW_NO_THREADS
  if (chunks > 1 && work_ns >= least_parallel_ns) {
    const RunningLoop running;
    const Eigen::Index most = std::min<Eigen::Index>(threads() - running.others(), chunks);
    using Body = std::remove_reference_t<F>;
    const auto call = [](void* object, Eigen::Index chunk) { (*static_cast<Body*>(object))(chunk); };
    void* object = const_cast<void*>(static_cast<const void*>(std::addressof(body)));
    if (most > 1 && WorkerPool::run(chunks, static_cast<int>(most) - 1, object, call)) return;
    return alone();  // and counted as long as it runs
  }
#endif
  alone();
}

}  // namespace detail

}}  // namespace attnflow
