/// \file
/// The checksum of files that must not be read when they are damaged.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// CRC-64 as xz has it (polynomial of ECMA-182, bits reflected, inverted before and after): every error within 64
/// bits in a row is found, any other one but for one in 2⁶⁴. "123456789" has 995dc9bbdf1939fa. Eight bytes at a time,
/// each by a table of its own.
class Crc64 {
 public:
  void add(std::string_view bytes) noexcept {
    const Tables& t = tables();
    std::size_t k = 0;
    for (; k + 8 <= bytes.size(); k += 8) {
      for (std::size_t i = 0; i < 8; ++i) state_ ^= byte(bytes, k + i) << (8 * i);
      std::uint64_t next = 0;
      for (std::size_t i = 0; i < 8; ++i) next ^= t[7 - i][(state_ >> (8 * i)) & 255U];
      state_ = next;
    }
    for (; k < bytes.size(); ++k) state_ = (state_ >> 8) ^ t[0][(state_ ^ byte(bytes, k)) & 255U];
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return ~state_; }

 private:
  using Tables = std::array<std::array<std::uint64_t, 256>, 8>;

  static std::uint64_t byte(std::string_view bytes, std::size_t k) noexcept {
    return static_cast<unsigned char>(bytes[k]);
  }

  /// tables()[k][b]: what byte b becomes once k more bytes have followed it.
  static const Tables& tables() noexcept {
    static const Tables made = [] {
      constexpr std::uint64_t polynomial = 0xc96c5795d7870f42;
      Tables t{};
      for (std::size_t b = 0; b < 256; ++b) {
        std::uint64_t crc = b;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? polynomial : 0);
        t[0][b] = crc;
      }
      for (std::size_t k = 1; k < 8; ++k)
        for (std::size_t b = 0; b < 256; ++b) t[k][b] = (t[k - 1][b] >> 8) ^ t[0][t[k - 1][b] & 255U];
      return t;
    }();
    return made;
  }

  std::uint64_t state_ = ~std::uint64_t{0};
};

}}}  // namespace attnflow::detail
