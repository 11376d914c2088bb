/// \file
/// Scratch space of a thread, which may be used while the thread or the program ends, too.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Calls release(scratch) when this thread ends; never, if its thread_local objects have been destroyed already.
inline void release_at_thread_end(void* scratch, void (*release)(void*) noexcept) {
  static constinit thread_local bool ended = false;  // has no destructor: may be read at any time
  struct Releases {
    std::vector<std::pair<void*, void (*)(void*) noexcept>> calls;
    ~Releases() {
      ended = true;
      for (const auto& [object, call] : calls) call(object);
    }
  };
  if (ended) return;
  static thread_local Releases releases;
  releases.calls.emplace_back(scratch, release);
}

/// An object of type T for each thread, made at its first use:
///
///     static constinit thread_local Scratch<T> kept;
///     T& scratch = *kept;
///
/// A plain `static thread_local T` must not be used once the thread has destroyed it, but the destructor of a static
/// object, which runs later, may well call a drift. Here such a call makes the object again; it is then kept until the
/// process ends.
template <class T>
class Scratch {
 public:
  constexpr Scratch() noexcept = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  [[nodiscard]] T& operator*() {
    if (object_ == nullptr) make();
    return *object_;
  }

 private:
  void make() {
    object_ = new T();
    release_at_thread_end(this, [](void* self) noexcept {
      delete std::exchange(static_cast<Scratch*>(self)->object_, nullptr);
    });
  }

  T* object_ = nullptr;
};

}}}  // namespace attnflow::detail
