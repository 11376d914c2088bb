/// \file
/// Scratch space of a thread, which may be used while the thread or the program ends, too.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <utility>
#include <vector>

// GCC for Windows keeps thread_local objects in memory that is freed before their destructors run: there nothing may be
// read at the end of a thread but what the thread library keeps for it, which std::thread is made of.
#if defined(__MINGW32__) && defined(__GLIBCXX__) && !defined(__clang__)
#include <bits/gthr.h>
#define ATTNFLOW_DETAIL_EMULATED_THREAD_LOCAL
#endif

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

#ifdef ATTNFLOW_DETAIL_EMULATED_THREAD_LOCAL

/// Destroys the object when this thread ends, the main thread excepted: its objects stay.
inline void destroy_at_thread_end(void* object, void (*destroy)(void*) noexcept) {
  using Calls = std::vector<std::pair<void*, void (*)(void*) noexcept>>;
  static const __gthread_key_t key = [] {
    __gthread_key_t made{};
    __gthread_key_create(&made, [](void* list) {
      const Calls* const ended = static_cast<Calls*>(list);
      for (const auto& [kept, call] : *ended) call(kept);
      delete ended;
    });
    return made;
  }();
  auto* calls = static_cast<Calls*>(__gthread_getspecific(key));
  if (calls == nullptr) __gthread_setspecific(key, calls = new Calls());
  calls->emplace_back(object, destroy);
}

#else

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

#endif

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
#ifdef ATTNFLOW_DETAIL_EMULATED_THREAD_LOCAL
    destroy_at_thread_end(object_, [](void* object) noexcept { delete static_cast<T*>(object); });
#else
    release_at_thread_end(this, [](void* self) noexcept {
      delete std::exchange(static_cast<Scratch*>(self)->object_, nullptr);
    });
#endif
  }

  T* object_ = nullptr;
};

}}}  // namespace attnflow::detail
