// What the targets share. A target is a function of bytes that aborts where a promise is broken. libFuzzer
// calls it with bytes of its own (cmake --preset fuzz), replay.cpp with those of the corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

/// Ends the program unless `holds`.
inline void require(bool holds, const char* what, std::string_view detail = {}) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s: %.*s\n", what, static_cast<int>(detail.size()), detail.data());
  std::abort();
}

/// A refusal is one line of printable bytes that starts with `who`, and not a whole file.
inline void require_refusal(const std::string& message, std::string_view who) {
  require(std::string_view(message).starts_with(who), "a message names what is wrong", message);
  for (const char c : message)
    require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "a message is one printable line", message);
  require(message.size() > who.size() && message.size() < 10000, "a message says something", message);
}

}  // namespace fuzz
