/// \file
/// UTF-8 text: its characters, and text from elsewhere that may not be UTF-8.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The character of UTF-8 text that starts at `at`, which is moved behind it; what is not UTF-8 is U+FFFD,
/// one for each byte. [Unicode 15, table 3-7]
[[nodiscard]] inline char32_t next_character(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned first = byte(at++);
  if (first < 0x80) return first;
  const std::size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
  if (first < 0xC2 || first > 0xF4 || at + more > text.size()) return U'\uFFFD';
  char32_t code = first & (0x3FU >> more);
  for (std::size_t k = 0; k < more; ++k) {
    if ((byte(at + k) & 0xC0U) != 0x80) return U'\uFFFD';
    code = code << 6 | (byte(at + k) & 0x3FU);
  }
  constexpr std::array<char32_t, 4> least{0, 0x80, 0x800, 0x10000};
  if (code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return U'\uFFFD';
  at += more;
  return code;
}

/// Whether a byte that is not UTF-8 starts at `at`, which is moved behind it or behind the character there.
[[nodiscard]] inline bool skip_wrong_byte(std::string_view text, std::size_t& at) {
  const std::size_t start = at;
  return next_character(text, at) == U'\uFFFD' && at == start + 1;
}

/// The text, with U+FFFD for each byte that is not UTF-8.
[[nodiscard]] inline std::string as_utf8(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (skip_wrong_byte(text, at))
      out += "\xEF\xBF\xBD";
    else
      out += text.substr(start, at - start);
  }
  return out;
}

}}}  // namespace attnflow::detail
