/// \file
/// A picture of up to 256 colours as the bytes of a PNG file.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace figures {

/// Appends a number of four bytes, the highest first.
inline void append_word(std::string& out, std::uint32_t value) {
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(value >> shift & 0xFFU);
}

/// Appends a chunk: its length, its name, its data and their check sum, the CRC of [ISO 3309].
inline void append_chunk(std::string& out, std::string_view name, std::string_view data) {
  append_word(out, static_cast<std::uint32_t>(data.size()));
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const std::string_view part : {name, data})
    for (const char c : part) {
      out += c;
      crc ^= static_cast<unsigned char>(c);
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0);
    }
  append_word(out, ~crc);
}

/// A PNG file [ISO 15948] of width × height colours out of a palette, row by row from the top. Colour 255 is
/// transparent. Not compressed: its blocks of zlib data [RFC 1950, 1951] are stored as they are.
[[nodiscard]] inline std::string png(std::size_t width, std::size_t height,
                                     const std::vector<std::uint8_t>& colours,
                                     const std::vector<std::array<std::uint8_t, 3>>& palette) {
  std::string out = "\x89PNG\r\n\x1a\n", header, table, alpha, rows, zlib = "\x78\x01";
  append_word(header, static_cast<std::uint32_t>(width));
  append_word(header, static_cast<std::uint32_t>(height));
  header +=
      std::string_view("\x08\x03\0\0\0", 5);  // 8 bits, by palette; the only compression and filter; in turn
  for (const auto& rgb : palette)
    for (const std::uint8_t part : rgb) table += static_cast<char>(part);
  for (std::size_t k = 0; k < palette.size(); ++k) alpha += static_cast<char>(k == 255 ? 0 : 255);
  for (std::size_t i = 0; i < height; ++i) {
    rows += '\0';  // no filter
    for (std::size_t j = 0; j < width; ++j) rows += static_cast<char>(colours[i * width + j]);
  }
  std::uint32_t a = 1, b = 0;  // Adler's check sum
  for (const char c : rows) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  for (std::size_t at = 0; at < rows.size();) {
    const std::size_t size = std::min<std::size_t>(rows.size() - at, 65535);
    zlib += static_cast<char>(at + size == rows.size());
    for (const std::size_t word : {size, ~size})
      for (const unsigned shift : {0U, 8U}) zlib += static_cast<char>(word >> shift & 0xFFU);
    zlib += rows.substr(at, size);
    at += size;
  }
  append_word(zlib, b << 16 | a);
  append_chunk(out, "IHDR", header);
  append_chunk(out, "PLTE", table);
  append_chunk(out, "tRNS", alpha);
  append_chunk(out, "IDAT", zlib);
  append_chunk(out, "IEND", "");
  return out;
}

}  // namespace figures
