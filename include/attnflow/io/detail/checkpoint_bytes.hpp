/// \file
/// The numbers, texts and arrays of a checkpoint as bytes, both ways.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/detail/crc64.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

static_assert(std::numeric_limits<float>::is_iec559 && std::numeric_limits<double>::is_iec559);

/// An unsigned number with the bits of T.
template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 1, std::uint8_t,
                                  std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>;

/// Hands bytes to `sink`, and their checksum and number to whoever asks. Numbers are little-endian on every machine.
template <class Sink>
class CheckpointEncoder {
 public:
  explicit CheckpointEncoder(Sink sink) : sink_(std::move(sink)) {}

  void bytes(std::string_view bytes) {
    crc_.add(bytes);
    size_ += bytes.size();
    sink_(bytes);
  }
  template <class T>
  void number(T value) {
    static_assert(sizeof(T) == 1 || sizeof(T) == 4 || sizeof(T) == 8);
    const std::uint64_t bits = std::bit_cast<BitsOf<T>>(value);
    std::array<char, sizeof(T)> little{};
    for (std::size_t k = 0; k < sizeof(T); ++k) little[k] = static_cast<char>((bits >> (8 * k)) & 255U);
    bytes({little.data(), little.size()});
  }
  void text(std::string_view text) {
    number(static_cast<std::uint64_t>(text.size()));
    bytes(text);
  }
  template <class T>
  void numbers(std::span<const T> values) {
    if constexpr (std::endian::native == std::endian::little)
      bytes({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
    else
      for (const T value : values) number(value);
  }

  [[nodiscard]] std::uint64_t checksum() const noexcept { return crc_.value(); }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  Sink sink_;
  Crc64 crc_;
  std::uint64_t size_ = 0;
};

/// Takes numbers, texts and arrays off the front of bytes that nobody has checked. Nothing is allocated that the
/// bytes at hand do not fill. Each member throws FileError if too few bytes are left for `what`.
class CheckpointDecoder {
 public:
  CheckpointDecoder(std::span<const std::byte> bytes, std::string_view name) : rest_(bytes), name_(name) {}

  [[noreturn]] void fail(const std::string& what) const { throw FileError(std::string(name_), what); }

  template <class T>
  [[nodiscard]] T number(const char* what) {
    const std::span<const std::byte> raw = take(sizeof(T), what);
    std::uint64_t bits = 0;
    for (std::size_t k = 0; k < sizeof(T); ++k) bits |= std::to_integer<std::uint64_t>(raw[k]) << (8 * k);
    return std::bit_cast<T>(static_cast<BitsOf<T>>(bits));
  }
  [[nodiscard]] std::string text(const char* what) {
    const auto size = number<std::uint64_t>(what);
    const std::span<const std::byte> raw = take(size, what);
    return {reinterpret_cast<const char*>(raw.data()), raw.size()};
  }
  template <class T>
  [[nodiscard]] std::vector<T> numbers(std::uint64_t count, const char* what) {
    if (count > rest_.size() / sizeof(T)) too_short(what);
    std::vector<T> values(static_cast<std::size_t>(count));
    if constexpr (std::endian::native == std::endian::little) {
      const std::span<const std::byte> raw = take(count * sizeof(T), what);
      if (!raw.empty()) std::memcpy(values.data(), raw.data(), raw.size());
    } else {
      for (T& value : values) value = number<T>(what);
    }
    return values;
  }
  /// How many bytes are left.
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }

 private:
  [[noreturn]] void too_short(const char* what) const {
    fail(std::string("ends inside ").append(what).append(": malformed, though its checksum is right"));
  }

  std::span<const std::byte> take(std::uint64_t count, const char* what) {
    if (count > rest_.size()) too_short(what);
    const auto size = static_cast<std::size_t>(count);
    const std::span<const std::byte> front = rest_.first(size);
    rest_ = rest_.subspan(size);
    return front;
  }

  std::span<const std::byte> rest_;
  std::string_view name_;
};

}}}  // namespace attnflow::detail
