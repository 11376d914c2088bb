/// \file
/// Numbers that begin at a cache line.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <cstddef>
#include <new>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Memory from the start of a cache line on: a pack of 64 bytes that straddles two lines takes two loads.
template <class T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t line{64};

  CacheLineAllocator() = default;
  template <class U>
  CacheLineAllocator(const CacheLineAllocator<U>&) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), line));
  }
  void deallocate(T* p, std::size_t) noexcept { ::operator delete(p, line); }
  bool operator==(const CacheLineAllocator&) const = default;
};

template <class T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

}}}  // namespace attnflow::detail
