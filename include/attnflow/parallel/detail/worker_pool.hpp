/// \file
/// The threads that help with loops.
#pragma once

#include <attnflow/detail/abi.hpp>

#ifndef ATTNFLOW_NO_THREADS

#include <Eigen/Core>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Tells the core that this is a waiting loop, so that it leaves resources to its other hardware thread.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits until done() for at most `microseconds`. \returns whether it is done.
template <class Done>
[[nodiscard]] bool spin_until(const Done& done, int microseconds) {
  if (done()) return true;
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  do {
    for (int k = 0; k < 8; ++k) {
      pause();
      if (done()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// Where libstdc++ has no futex (MinGW, g++ on macOS), a thread that waits for an atomic looks at it before it takes the
// mutex that it sleeps by, and g++ 12 notifies without that mutex: a notification in between is lost, and the thread
// sleeps for ever. Besides, these mutexes are static objects, which may end before the pool. A test may ask for the same.
#if defined(__GLIBCXX__) && !defined(_GLIBCXX_HAVE_LINUX_FUTEX) && !defined(ATTNFLOW_DETAIL_OWN_WAITING)
#define ATTNFLOW_DETAIL_OWN_WAITING
#endif

/// A number that threads wait for.
class Awaited : public std::atomic<int> {
 public:
  using std::atomic<int>::atomic;

#ifdef ATTNFLOW_DETAIL_OWN_WAITING
  /// Sleeps until the number is another than `old`, and somebody notifies.
  void wait(int old) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return load(std::memory_order_acquire) != old; });
  }
  /// Wakes the one who waits. \pre the number has been changed.
  void notify_one() {
    { const std::lock_guard lock(mutex_); }  // who has seen the old number sleeps now, and can be woken
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
#else
  void wait(int old) const { std::atomic<int>::wait(old, std::memory_order_acquire); }
#endif
};

/// The threads that help with loops: started when first needed, asleep between loops, joined at the end of
/// the process. On which processors they run is for the system to say.
///
/// One loop at a time: its chunks are counted off by all who take part. A worker takes part while the gate is
/// open; the caller closes it once no chunk is left and waits only for those inside, so a worker that wakes
/// up late, or that another process keeps from its core, delays nobody. In a child made by fork() there are
/// no workers, and loops run on their caller. A body must not fork a child that goes on with the loop.
class WorkerPool {
 public:
  using Call = void (*)(void* body, Eigen::Index chunk);

  /// Calls body(chunk) for every chunk, once, with at most `helpers` workers beside the caller. \returns
  /// false, and calls nothing, if the pool is busy (a loop within a loop, or of another thread), has no
  /// worker or has ended.
  static bool run(Eigen::Index chunks, int helpers, void* body, Call call) {
    if (has_ended().load(std::memory_order_relaxed)) return false;
    WorkerPool& pool = instance();
    if (pool.busy_.exchange(true, std::memory_order_acquire)) return false;
    struct Release {
      std::atomic<bool>& busy;
      ~Release() { busy.store(false, std::memory_order_release); }
    } release{pool.busy_};
    return pool.lead({chunks, helpers, body, call});
  }

  /// The number of workers started so far; zero as long as no loop was worth waking anybody.
  [[nodiscard]] static int started() noexcept { return started_count().load(std::memory_order_relaxed); }
  /// The number of loops so far for which workers were called.
  [[nodiscard]] static long shared_loops() noexcept { return loop_count().load(std::memory_order_relaxed); }

  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

 private:
  struct Job {
    Eigen::Index chunks = 0;
    int helpers = 0;
    void* body = nullptr;
    Call call = nullptr;
  };
  struct alignas(64) Worker {
    Awaited signal{0};
    std::thread thread;
  };
  // How long a waiting thread keeps its core before it sleeps: what two loops of one step of an integrator
  // lie apart, and less than what waking up costs.
  static constexpr int spin_microseconds = 30;
  static constexpr int closed = 1 << 30;

  WorkerPool() = default;
  ~WorkerPool() {
    has_ended().store(true, std::memory_order_relaxed);
    if (process() != owner_) {  // the child of a fork: its workers are names of threads that it does not have
      for (auto& worker : workers_) (void)worker.release();
      return;
    }
    stopping_.store(true, std::memory_order_relaxed);
    for (auto& worker : workers_) wake(*worker);
    for (auto& worker : workers_) worker->thread.join();
  }

  static WorkerPool& instance() {
    static WorkerPool pool;
    return pool;
  }
  // These outlive the pool: loops in the destructors of static objects ask them.
  static std::atomic<bool>& has_ended() noexcept {
    static constinit std::atomic<bool> ended{false};
    return ended;
  }
  static std::atomic<int>& started_count() noexcept {
    static constinit std::atomic<int> count{0};
    return count;
  }
  static std::atomic<long>& loop_count() noexcept {
    static constinit std::atomic<long> count{0};
    return count;
  }
  static long process() noexcept {
#if __has_include(<unistd.h>)
    return static_cast<long>(::getpid());
#else
    return 0;
#endif
  }

  static void wake(Worker& worker) {
    worker.signal.fetch_add(1, std::memory_order_release);
    worker.signal.notify_one();
  }

  bool lead(const Job& job) {
    if (process() != owner_) return false;
    const int helpers = start(job.helpers);
    if (helpers == 0) return false;
    loop_count().fetch_add(1, std::memory_order_relaxed);
    job_ = job;
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    gate_.fetch_and(~closed, std::memory_order_release);
    for (int k = 0; k < helpers; ++k) wake(*workers_[static_cast<std::size_t>(k)]);
    take_chunks();
    gate_.fetch_or(closed, std::memory_order_relaxed);
    const auto inside = [&] { return gate_.load(std::memory_order_acquire) & ~closed; };
    if (!spin_until([&] { return inside() == 0; }, spin_microseconds))
      for (int value = gate_.load(std::memory_order_acquire); value != closed;
           value = gate_.load(std::memory_order_acquire))
        gate_.wait(value);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return true;
  }

  /// Sees to it that there are `wanted` workers. \returns how many there are of them: fewer where the system
  /// gives no more threads.
  int start(int wanted) {
    while (static_cast<int>(workers_.size()) < wanted && !exhausted_) {
      workers_.push_back(std::make_unique<Worker>());
      Worker& worker = *workers_.back();
      const int index = static_cast<int>(workers_.size()) - 1;
      try {
        worker.thread = std::thread([this, &worker, index] { serve(worker, index); });
      } catch (const std::system_error&) {
        workers_.pop_back();
        exhausted_ = true;
      }
    }
    started_count().store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    return (std::min)(wanted, static_cast<int>(workers_.size()));
  }

  void serve(Worker& worker, int index) {
    for (int seen = 0;;) {
      const auto called = [&] { return worker.signal.load(std::memory_order_acquire) != seen; };
      if (!spin_until(called, spin_microseconds)) worker.signal.wait(seen);
      seen = worker.signal.load(std::memory_order_acquire);
      if (stopping_.load(std::memory_order_relaxed)) return;
      if ((gate_.fetch_add(1, std::memory_order_acquire) & closed) == 0 && index < job_.helpers)
        take_chunks();
      if (gate_.fetch_sub(1, std::memory_order_release) == closed + 1) gate_.notify_one();
    }
  }

  void take_chunks() noexcept {
    for (;;) {
      const Eigen::Index chunk = next_.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= job_.chunks) return;
      try {
        job_.call(job_.body, chunk);
      } catch (...) {
        // Chunks before this one have been taken and will end; none after it need begin. So the first in
        // order wins, as in a loop on one thread.
        next_.store(job_.chunks, std::memory_order_relaxed);
        const std::lock_guard lock(error_mutex_);
        if (!error_ || chunk < error_chunk_) {
          error_ = std::current_exception();
          error_chunk_ = chunk;
        }
      }
    }
  }

  alignas(64) std::atomic<Eigen::Index> next_{0};
  alignas(64) Awaited gate_{closed};  // how many workers are inside, and whether more may come
  alignas(64) std::atomic<bool> busy_{false};
  std::atomic<bool> stopping_{false};
  Job job_;
  std::mutex error_mutex_;
  std::exception_ptr error_;
  Eigen::Index error_chunk_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
  bool exhausted_ = false;
  const long owner_ = process();
};

/// Counts the loops that run now, in whatever threads of the process.
class RunningLoop {
 public:
  RunningLoop() noexcept : others_(count().fetch_add(1, std::memory_order_relaxed)) {}
  ~RunningLoop() { count().fetch_sub(1, std::memory_order_relaxed); }
  RunningLoop(const RunningLoop&) = delete;
  RunningLoop& operator=(const RunningLoop&) = delete;

  /// How many others there were when this one began.
  [[nodiscard]] int others() const noexcept { return others_; }

 private:
  static std::atomic<int>& count() noexcept {
    static constinit std::atomic<int> running{0};
    return running;
  }
  int others_;
};

}}}  // namespace attnflow::detail

#endif  // ATTNFLOW_NO_THREADS
