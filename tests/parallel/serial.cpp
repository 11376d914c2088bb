// The library as it is where there are no threads, in a program that has them.
#undef ATTNFLOW_EXTERN_KERNELS  // these are compiled for loops on threads
#define ATTNFLOW_NO_THREADS

#include "serial.hpp"

#include "runs.hpp"

#include <attnflow/parallel/threads.hpp>

std::uint64_t serial_bits(int k) {
  attnflow::set_threads(4);  // nobody comes
  return runs::bits(runs::Systems{}, k);
}

bool serial_has_pool() {
#if defined(_GLIBCXX_THREAD) || defined(_LIBCPP_THREAD)
  return true;
#else
  return false;
#endif
}
