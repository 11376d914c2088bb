// What serial.cpp, compiled with ATTNFLOW_NO_THREADS, has computed.
#pragma once

#include <cstdint>

/// runs::bits() without threads.
std::uint64_t serial_bits(int k);
/// Whether the headers included <thread> all the same.
bool serial_has_pool();
