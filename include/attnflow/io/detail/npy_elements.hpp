/// \file
/// The elements of .npy files, and the header of those that are written.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/detail/npy_header.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What an .npy file is written from: float, double, and signed integers of 4 or 8 bytes.
template <class T>
concept NpyElement = KernelScalar<T> ||(std::signed_integral<T> && (sizeof(T) == 4 || sizeof(T) == 8));

namespace detail {

static_assert(std::numeric_limits<float>::is_iec559 && std::numeric_limits<double>::is_iec559);

template <class T>
[[nodiscard]] T decode(const char* bytes, bool swap) noexcept {
  std::array<char, sizeof(T)> raw;
  std::memcpy(raw.data(), bytes, sizeof(T));
  if (swap) std::reverse(raw.begin(), raw.end());
  return std::bit_cast<T>(raw);
}

/// Whether the integer is a double: no more than 53 bits between its highest and its lowest one.
[[nodiscard]] constexpr bool is_exact_double(std::int64_t value) noexcept {
  const auto bits = static_cast<std::uint64_t>(value);
  const std::uint64_t magnitude = value < 0 ? 0 - bits : bits;
  return magnitude == 0 || magnitude >> std::countr_zero(magnitude) < std::uint64_t{1} << 53;
}
/// A header of more axes than NumPy has might not even fit in the 2¹⁶ bytes of version 1.0.
/// \throws std::invalid_argument naming `what`.
inline void refuse_many_axes(const char* what, std::size_t axes, std::size_t most) {
  if (axes > most) refuse(what, " has ", axes, " axes, expected at most ", most);
}

/// The start of an .npy 1.0 file: magic, length and dictionary, padded with spaces to a multiple of
/// 64 bytes and to at least `width`. NumPy writes the same bytes.
template <NpyElement T>
[[nodiscard]] std::string npy_header(std::span<const Eigen::Index> shape, std::size_t width = 0) {
  std::string text = "{'descr': '<";
  text += std::floating_point<T> ? 'f' : 'i';
  text += sizeof(T) == 4 ? '4' : '8';
  text += "', 'fortran_order': False, 'shape': " + shape_text(shape) + ", }";
  constexpr std::size_t before = 10;
  const std::size_t total = (std::max)(width, (before + text.size() + 1 + 63) / 64 * 64);
  text.resize(total - before - 1, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}
/// Appends the values to the file in the given byte order, whatever this machine's is.
template <std::endian Order = std::endian::little, class T>
void write_elements(AtomicFile& file, std::span<const T> values) {
  if constexpr (Order == std::endian::native) {
    file.write({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  } else {
    std::string buffer;
    for (std::size_t start = 0; start < values.size(); start += 4096) {
      buffer.clear();
      for (const T& value : values.subspan(start, std::min<std::size_t>(4096, values.size() - start))) {
        auto raw = std::bit_cast<std::array<char, sizeof(T)>>(value);
        std::reverse(raw.begin(), raw.end());
        buffer.append(raw.data(), raw.size());
      }
      file.write(buffer);
    }
  }
}
}  // namespace detail

}}  // namespace attnflow
