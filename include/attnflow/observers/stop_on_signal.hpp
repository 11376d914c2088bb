/// \file
/// A run that ends in good order when its program is told to.
#pragma once

#include <attnflow/integrators/concepts.hpp>

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <mutex>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// The signals that ask a program to end, and what was done about them before the first watcher came.
struct SignalWatch {
  using Handler = void (*)(int);
  static constexpr std::array kinds{SIGINT, SIGTERM};
  static_assert(std::atomic<int>::is_always_lock_free, "or a signal handler could not write it");

  std::mutex mutex;
  int watchers = 0;
  std::array<Handler, kinds.size()> before{};

  static SignalWatch& instance() {
    static SignalWatch watch;
    return watch;
  }
  /// The first signal since the first watcher came, or 0.
  static std::atomic<int>& received() noexcept {
    static constinit std::atomic<int> signal{0};
    return signal;
  }
  /// Which of the signals are watched for: not those that the program ignores.
  static std::array<std::atomic<bool>, kinds.size()>& watched() noexcept {
    static constinit std::array<std::atomic<bool>, kinds.size()> each{};
    return each;
  }
  static void handle(int signal) {
    received().store(signal);
    for (std::size_t k = 0; k < kinds.size(); ++k)
      if (watched()[k].load()) std::signal(kinds[k], SIG_DFL);  // the second one ends the program at once
  }

  void add() {
    const std::lock_guard lock(mutex);
    if (watchers++ > 0) return;
    received().store(0);
    for (std::size_t k = 0; k < kinds.size(); ++k) {
      before[k] = std::signal(kinds[k], handle);
      watched()[k].store(before[k] != SIG_IGN && before[k] != SIG_ERR);
      if (before[k] == SIG_IGN) std::signal(kinds[k], SIG_IGN);  // as of nohup, and of jobs in the background
    }
  }
  void remove() {
    const std::lock_guard lock(mutex);
    if (--watchers > 0) return;
    for (std::size_t k = 0; k < kinds.size(); ++k)
      if (before[k] != SIG_ERR) std::signal(kinds[k], before[k]);
  }
};

}  // namespace detail

/// Ends a run at the end of the step in which the program was sent SIGINT (Ctrl-C) or SIGTERM (a batch system's
/// warning), and before its first step if that was earlier.
///
/// From its construction to its end, the object takes these signals over: the first is noted, a second one ends the
/// program at once, as it would have done without. Signals that the program ignores stay ignored. The outcome is
/// stopped_by_observer; one long step delays it. Several of these, in one thread or many, see the same signal; the
/// last one to go puts back what the first found.
class StopOnSignal {
 public:
  StopOnSignal() { detail::SignalWatch::instance().add(); }
  ~StopOnSignal() { detail::SignalWatch::instance().remove(); }
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  /// The signal that came, or 0.
  [[nodiscard]] int signal() const noexcept { return detail::SignalWatch::received().load(); }

  /// Stops the run once a signal has come.
  Flow operator()(double /*t*/, const auto& /*x*/) const noexcept {
    return signal() != 0 ? Flow::stop : Flow::proceed;
  }
};

}}  // namespace attnflow
