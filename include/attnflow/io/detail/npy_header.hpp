/// \file
/// The header of an .npy file: read with every byte checked.
#pragma once

#include <attnflow/io/atomic_file.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <istream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// "(3, 2)", "(3,)", "()": a shape as Python writes it.
[[nodiscard]] inline std::string shape_text(std::span<const Eigen::Index> shape) {
  std::string text = "(";
  for (std::size_t k = 0; k < shape.size(); ++k) text += (k ? ", " : "") + std::to_string(shape[k]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

/// The number of elements of a shape, or nothing if a size is negative or the elements would take
/// 2⁶³ bytes or more; sizes 0 are left out of that product, so that no order of factors overflows.
[[nodiscard]] inline std::optional<std::size_t> element_count(std::span<const Eigen::Index> shape,
                                                              std::size_t element_size) {
  constexpr auto most = static_cast<std::size_t>((std::numeric_limits<std::int64_t>::max)());
  std::size_t bytes = element_size;
  bool empty = false;
  for (const Eigen::Index size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) {
      empty = true;
      continue;
    }
    if (bytes > most / static_cast<std::size_t>(size)) return std::nullopt;
    bytes *= static_cast<std::size_t>(size);
  }
  return empty ? 0 : bytes / element_size;
}

/// NumPy's arrays have no more.
inline constexpr std::size_t most_npy_axes = 64;

/// What the header of an .npy file says.
struct NpyHeader {
  char kind = 'f';  ///< 'f' or 'i'
  std::size_t element_size = 8;
  bool swap = false;  ///< the bytes of an element are in the other order than this machine's
  bool fortran_order = false;
  std::vector<Eigen::Index> shape;
};

/// Parses the dictionary in the header of an .npy file: a Python literal with the keys 'descr',
/// 'fortran_order' and 'shape', each once, in any order, and nothing besides. Strict, and it never
/// recurses: nested brackets are refused where they open.
class NpyHeaderParser {
 public:
  NpyHeaderParser(const std::filesystem::path& path, std::string_view text) : path_(path), text_(text) {}

  [[nodiscard]] NpyHeader parse() {
    bool have_descr = false, have_order = false, have_shape = false;
    expect('{', "a dictionary '{...}'");
    while (!accept('}')) {
      const std::string key = string("a key in quotes, or '}'");
      bool* have = key == "descr"           ? &have_descr
                   : key == "fortran_order" ? &have_order
                   : key == "shape"         ? &have_shape
                                            : nullptr;
      if (have == nullptr)
        fail("has the key '" + printable(key, true, 40) +
             "' in its header, expected 'descr', 'fortran_order' and 'shape'");
      if (std::exchange(*have, true)) fail("has the key '" + key + "' twice in its header");
      expect(':', "':' after a key");
      if (have == &have_descr) descr();
      if (have == &have_order) header_.fortran_order = boolean();
      if (have == &have_shape) shape();
      if (!accept(',')) {
        expect('}', "',' or '}'");
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) unexpected("nothing after the '}'");
    for (const auto& [have, key] :
         {std::pair(have_descr, "descr"), {have_order, "fortran_order"}, {have_shape, "shape"}})
      if (!have) fail("has no key '" + std::string(key) + "' in its header");
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw FileError(path_, what); }

  [[noreturn]] void unexpected(const std::string& expected) const {
    const std::string found =
        at_ < text_.size() ? "'" + printable(text_.substr(at_), true, 24) + "'" : std::string("the end");
    fail("has " + found + " at byte " + std::to_string(at_) + " of its header text, expected " + expected);
  }

  void skip_space() { at_ = (std::min)(text_.find_first_not_of(" \t\n\r", at_), text_.size()); }

  bool accept(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void expect(char c, const char* what) {
    if (!accept(c)) unexpected(what);
  }

  std::string string(const char* what) {
    skip_space();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) unexpected(what);
    const std::size_t close = text_.find(text_[at_], at_ + 1);
    if (close == std::string_view::npos) unexpected("a closing quote");
    const std::string_view inside = text_.substr(at_ + 1, close - at_ - 1);
    if (inside.find_first_of("\\\n\r") != std::string_view::npos) unexpected("a string without escapes");
    at_ = close + 1;
    return std::string(inside);
  }

  bool boolean() {
    skip_space();
    for (const auto& [word, value] :
         {std::pair(std::string_view("True"), true), {std::string_view("False"), false}})
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    unexpected("True or False");
  }

  void descr() {
    constexpr const char* readable = "expected f4, f8, i4 or i8 with '<', '>', '=' or '|' before it";
    skip_space();
    if (at_ < text_.size() && (text_[at_] == '[' || text_[at_] == '('))
      fail(std::string("has a structured element type, ") + readable);
    const std::string type = string("an element type in quotes");
    std::string_view rest = type;
    char order = '=';
    if (!rest.empty() && std::string_view("<>=|").find(rest[0]) != std::string_view::npos) {
      order = rest[0];
      rest.remove_prefix(1);
    }
    if (rest != "f4" && rest != "f8" && rest != "i4" && rest != "i8")
      fail("has the element type '" + printable(type, true, 40) + "', " + readable);
    header_.kind = rest[0];
    header_.element_size = rest[1] == '4' ? 4 : 8;
    header_.swap = std::endian::native == std::endian::little ? order == '>' : order == '<';
  }

  void shape() {
    expect('(', "a shape such as (3, 2)");
    bool comma = true;
    while (!accept(')')) {
      if (!comma) unexpected("',' or ')' in the shape");
      if (header_.shape.size() == most_npy_axes) fail("has a shape of more than 64 axes");
      header_.shape.push_back(size());
      comma = accept(',');
    }
    if (header_.shape.size() == 1 && !comma) unexpected("a ',' in a shape of one axis, as in (3,)");
  }

  Eigen::Index size() {
    constexpr auto most = (std::numeric_limits<Eigen::Index>::max)();
    skip_space();
    const std::size_t start = at_;
    Eigen::Index value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const int digit = text_[at_] - '0';
      if (value > (most - digit) / 10) {
        at_ = start;
        unexpected("sizes below 2^63 in the shape");
      }
      value = 10 * value + digit;
    }
    if (at_ == start) unexpected("a size (0, 1, 2, ...) in the shape");
    if (text_[start] == '0' && at_ - start > 1) {
      at_ = start;
      unexpected("a size without leading zeros in the shape");
    }
    return value;
  }

  const std::filesystem::path& path_;
  std::string_view text_;
  std::size_t at_ = 0;
  NpyHeader header_;
};

/// What an .npy file says of itself, and where its numbers start.
struct NpyLayout {
  NpyHeader header;
  std::size_t start = 0;  ///< bytes before the first number
  std::size_t count = 0;  ///< of the numbers
};

/// Exactly so many bytes. \throws FileError if there are fewer.
inline void read_exactly(std::istream& in, char* to, std::size_t bytes, const std::filesystem::path& path) {
  if (!in.read(to, static_cast<std::streamsize>(bytes)))
    throw FileError(path, "ended while it was being read");
}

/// Reads everything before the numbers from a stream of `size` bytes, and leaves it there. No size that the
/// file claims is believed before it has been compared with `size`. \throws FileError in the name of `path`.
[[nodiscard]] inline NpyLayout read_npy_layout(std::istream& in, std::uintmax_t size,
                                               const std::filesystem::path& path) {
  const auto fail = [&](const std::string& what) { throw FileError(path, what); };
  if (size < 10) fail("has " + std::to_string(size) + " bytes, too few for an .npy file");
  std::array<char, 12> head{};
  read_exactly(in, head.data(), 8, path);
  if (std::string_view(head.data(), 6) != "\x93NUMPY")
    fail("starts with '" + printable({head.data(), 6}, true) + "', expected '\\x93NUMPY': not an .npy file");
  const auto byte = [&](std::size_t k) {
    return static_cast<std::size_t>(static_cast<unsigned char>(head[k]));
  };
  if (byte(6) < 1 || byte(6) > 3 || byte(7) != 0)
    fail("is of .npy version " + std::to_string(byte(6)) + '.' + std::to_string(byte(7)) +
         ", expected 1.0, 2.0 or 3.0");
  const std::size_t length_bytes = byte(6) == 1 ? 2 : 4;
  const std::size_t before = 8 + length_bytes;
  if (size < before) fail("ends inside the length of its header");
  read_exactly(in, head.data() + 8, length_bytes, path);
  std::size_t length = byte(8) | byte(9) << 8;
  if (length_bytes == 4) length |= byte(10) << 16 | byte(11) << 24;
  if (length > size - before)
    fail("has a header of " + std::to_string(length) + " bytes, but only " + std::to_string(size - before) +
         " follow: cut short, or not an .npy file");
  constexpr std::size_t longest_header = 1 << 20;
  if (length > longest_header)
    fail("has a header of " + std::to_string(length) + " bytes, expected at most " +
         std::to_string(longest_header));
  std::string text(length, '\0');
  read_exactly(in, text.data(), length, path);

  NpyLayout layout{NpyHeaderParser(path, text).parse(), before + length};
  const NpyHeader& header = layout.header;
  const auto count = element_count(header.shape, header.element_size);
  if (!count) fail("has the shape " + shape_text(header.shape) + ", expected fewer than 2^63 bytes");
  layout.count = *count;
  const std::uintmax_t found = size - layout.start, expected = *count * header.element_size;
  if (found != expected)
    fail("holds " + std::to_string(found) + " bytes after its header, expected " + std::to_string(expected) +
         " for shape " + shape_text(header.shape) + " of '" + header.kind +
         std::to_string(header.element_size) + "': " + (found < expected ? "cut short" : "bytes too many"));
  return layout;
}

/// A file opened for reading, and its size.
struct NpyFile {
  std::ifstream in;
  std::uintmax_t size = 0;

  /// \throws FileError unless it is a regular file that can be read.
  explicit NpyFile(const std::filesystem::path& path) {
    const auto fail = [&](const std::string& what) { throw FileError(path, "cannot be read: " + what); };
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (error && !std::filesystem::exists(status)) fail(error.message());
    if (!std::filesystem::exists(status)) fail("no such file");
    if (!std::filesystem::is_regular_file(status)) fail("not a regular file");
    size = std::filesystem::file_size(path, error);
    if (error) fail(error.message());
    errno = 0;
    in.open(path, std::ios::binary);
    if (!in) fail(std::generic_category().message(errno));
  }
};
}}}  // namespace attnflow::detail
