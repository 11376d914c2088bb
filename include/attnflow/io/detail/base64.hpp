/// \file
/// Bytes as text.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The bytes in base64. [RFC 4648, §4]
[[nodiscard]] inline std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto byte = [&](std::size_t k) -> std::uint32_t {
    return k < bytes.size() ? static_cast<unsigned char>(bytes[k]) : 0;
  };
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t k = 0; k < bytes.size(); k += 3) {
    const std::uint32_t group = byte(k) << 16 | byte(k + 1) << 8 | byte(k + 2);
    text += digits[group >> 18];
    text += digits[group >> 12 & 63U];
    text += k + 1 < bytes.size() ? digits[group >> 6 & 63U] : '=';
    text += k + 2 < bytes.size() ? digits[group & 63U] : '=';
  }
  return text;
}

}}}  // namespace attnflow::detail
