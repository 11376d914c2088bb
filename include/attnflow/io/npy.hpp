/// \file
/// NumPy's .npy files: read with every byte checked, written whole or not at all.
#pragma once

#include <attnflow/attention/token_view.hpp>
#include <attnflow/io/atomic_file.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

/// An array of any shape, its values in C order (the last index runs fastest). Shape () is one number.
struct NpyArray {
  /// How many entries along each axis.
  std::vector<Eigen::Index> shape;
  /// As many as the product of the shape.
  std::vector<double> values;
};

/// What an .npy file is written from: float, double, and signed integers of 4 or 8 bytes.
template <class T>
concept NpyElement = KernelScalar<T> ||(std::signed_integral<T> && (sizeof(T) == 4 || sizeof(T) == 8));

namespace detail {

static_assert(std::numeric_limits<float>::is_iec559 && std::numeric_limits<double>::is_iec559);

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
  constexpr auto most = static_cast<std::size_t>(std::numeric_limits<std::int64_t>::max());
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

  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\n\r", at_), text_.size()); }

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
    constexpr std::size_t most_axes = 64;
    expect('(', "a shape such as (3, 2)");
    bool comma = true;
    while (!accept(')')) {
      if (!comma) unexpected("',' or ')' in the shape");
      if (header_.shape.size() == most_axes) fail("has a shape of more than 64 axes");
      header_.shape.push_back(size());
      comma = accept(',');
    }
    if (header_.shape.size() == 1 && !comma) unexpected("a ',' in a shape of one axis, as in (3,)");
  }

  Eigen::Index size() {
    constexpr auto most = std::numeric_limits<Eigen::Index>::max();
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

/// The start of an .npy 1.0 file: magic, length and dictionary, padded with spaces to a multiple of
/// 64 bytes and to at least `width`. NumPy writes the same bytes.
template <NpyElement T>
[[nodiscard]] std::string npy_header(std::span<const Eigen::Index> shape, std::size_t width = 0) {
  std::string text = "{'descr': '<";
  text += std::floating_point<T> ? 'f' : 'i';
  text += sizeof(T) == 4 ? '4' : '8';
  text += "', 'fortran_order': False, 'shape': " + shape_text(shape) + ", }";
  constexpr std::size_t before = 10;
  const std::size_t total = std::max(width, (before + text.size() + 1 + 63) / 64 * 64);
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

/// Reads an .npy file of version 1.0, 2.0 or 3.0 that holds f4, f8, i4 or i8 in C or Fortran order.
/// '=' and '|' before the type, or nothing, mean this machine's byte order, as in NumPy. NaN and
/// infinities are values like any other. Time and memory are linear in the size of the file: shape
/// and size are compared with it before anything is allocated for them.
/// \throws FileError  naming the file, what was found and what is expected: the file is missing, cut
/// short, longer than its shape says, of another type, malformed in its header, or holds an integer
/// that is not exactly a double.
[[nodiscard]] inline NpyArray load_npy(const std::filesystem::path& path) {
  const auto fail = [&](const std::string& what) { throw FileError(path, what); };
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (error && !std::filesystem::exists(status)) fail("cannot be read: " + error.message());
  if (!std::filesystem::exists(status)) fail("cannot be read: no such file");
  if (!std::filesystem::is_regular_file(status)) fail("cannot be read: not a regular file");
  const std::uintmax_t file_size = std::filesystem::file_size(path, error);
  if (error) fail("cannot be read: " + error.message());
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("cannot be read: " + std::generic_category().message(errno));
  const auto read = [&](char* to, std::size_t bytes) {
    if (!in.read(to, static_cast<std::streamsize>(bytes))) fail("ended while it was being read");
  };

  if (file_size < 10) fail("has " + std::to_string(file_size) + " bytes, too few for an .npy file");
  std::array<char, 12> start{};
  read(start.data(), 8);
  if (std::string_view(start.data(), 6) != "\x93NUMPY")
    fail("starts with '" + detail::printable({start.data(), 6}, true) +
         "', expected '\\x93NUMPY': not an .npy file");
  const auto byte = [&](std::size_t k) {
    return static_cast<std::size_t>(static_cast<unsigned char>(start[k]));
  };
  if (byte(6) < 1 || byte(6) > 3 || byte(7) != 0)
    fail("is of .npy version " + std::to_string(byte(6)) + '.' + std::to_string(byte(7)) +
         ", expected 1.0, 2.0 or 3.0");
  const std::size_t length_bytes = byte(6) == 1 ? 2 : 4;
  const std::size_t before = 8 + length_bytes;
  if (file_size < before) fail("ends inside the length of its header");
  read(start.data() + 8, length_bytes);
  std::size_t length = byte(8) | byte(9) << 8;
  if (length_bytes == 4) length |= byte(10) << 16 | byte(11) << 24;
  if (length > file_size - before)
    fail("has a header of " + std::to_string(length) + " bytes, but only " +
         std::to_string(file_size - before) + " follow: cut short, or not an .npy file");
  constexpr std::size_t longest_header = 1 << 20;
  if (length > longest_header)
    fail("has a header of " + std::to_string(length) + " bytes, expected at most " +
         std::to_string(longest_header));
  std::string text(length, '\0');
  read(text.data(), length);
  const detail::NpyHeader header = detail::NpyHeaderParser(path, text).parse();

  const auto count = detail::element_count(header.shape, header.element_size);
  if (!count) fail("has the shape " + detail::shape_text(header.shape) + ", expected fewer than 2^63 bytes");
  const std::uintmax_t found = file_size - before - length, expected = *count * header.element_size;
  if (found != expected)
    fail("holds " + std::to_string(found) + " bytes after its header, expected " + std::to_string(expected) +
         " for shape " + detail::shape_text(header.shape) + " of '" + header.kind +
         std::to_string(header.element_size) + "': " + (found < expected ? "cut short" : "bytes too many"));

  NpyArray array{header.shape, std::vector<double>(*count)};
  // The place in C order of the element that comes next in the file: an odometer over the indices.
  const std::size_t axes = header.shape.size();
  std::vector<Eigen::Index> index(axes, 0);
  std::vector<std::size_t> stride(axes, 1);
  if (header.fortran_order && *count > 0)
    for (std::size_t k = axes; k-- > 1;)
      stride[k - 1] = stride[k] * static_cast<std::size_t>(header.shape[k]);
  std::size_t place = 0;
  const auto advance = [&] {
    if (!header.fortran_order) {
      ++place;
      return;
    }
    for (std::size_t k = 0; k < axes; ++k) {
      place += stride[k];
      if (++index[k] < header.shape[k]) return;
      place -= stride[k] * static_cast<std::size_t>(index[k]);
      index[k] = 0;
    }
  };

  constexpr std::size_t block = 8192;
  std::vector<char> buffer(std::min(block, *count) * header.element_size);
  for (std::size_t done = 0; done < *count;) {
    const std::size_t now = std::min(block, *count - done);
    read(buffer.data(), now * header.element_size);
    for (std::size_t k = 0; k < now; ++k, advance()) {
      const char* bytes = buffer.data() + k * header.element_size;
      double& value = array.values[place];
      if (header.kind == 'f') {
        value = header.element_size == 4 ? static_cast<double>(detail::decode<float>(bytes, header.swap))
                                         : detail::decode<double>(bytes, header.swap);
      } else if (header.element_size == 4) {
        value = static_cast<double>(detail::decode<std::int32_t>(bytes, header.swap));
      } else {
        const auto integer = detail::decode<std::int64_t>(bytes, header.swap);
        if (!detail::is_exact_double(integer))
          fail("holds the integer " + std::to_string(integer) + ", which no double equals");
        value = static_cast<double>(integer);
      }
    }
    done += now;
  }
  return array;
}

/// Writes an .npy file of version 1.0, little-endian and in C order on every machine; whole or not
/// at all. \param values  in C order, as many as the shape says.
/// \throws std::invalid_argument if they are not; FileError if the file cannot be written.
template <NpyElement T>
void save_npy(const std::filesystem::path& path, std::span<const Eigen::Index> shape,
              std::span<const T> values) {
  const auto count = detail::element_count(shape, sizeof(T));
  if (!count || *count != values.size())
    throw std::invalid_argument("save_npy: shape " + detail::shape_text(shape) + " does not fit " +
                                std::to_string(values.size()) + " values");
  AtomicFile file(path);
  file.write(detail::npy_header<T>(shape));
  detail::write_elements(file, values);
  file.commit();
}

/// The same with the shape in braces: `save_npy<double>(path, {n, d}, values)`.
template <NpyElement T>
void save_npy(const std::filesystem::path& path, std::initializer_list<Eigen::Index> shape,
              std::type_identity_t<std::span<const T>> values) {
  save_npy<T>(path, std::span<const Eigen::Index>(shape.begin(), shape.size()), values);
}

/// Writes tokens (d × n) as an array of shape (n, d): tokens_from() reads them back. An Eigen::Map, Ref or Block that
/// lies in memory as Tokens do is written from there; another is copied once.
template <class X>
requires TokenSource<X, typename X::Scalar, Eigen::Dynamic> && KernelScalar<typename X::Scalar>
void save_npy(const std::filesystem::path& path, const X& tokens) {
  using Scalar = typename X::Scalar;
  const detail::TokenView<Scalar, Eigen::Dynamic> view(tokens);
  save_npy<Scalar>(path, {view.cols(), view.rows()},
                   std::span<const Scalar>(view.data(), static_cast<std::size_t>(view.rows() * view.cols())));
}

/// Writes an array of shape (m, row_shape...) row by row, m being known only at the end: states
/// (n, d) of a trajectory, or its attention matrices (n, n). The file appears with finish(), and
/// without it not at all. Memory: none beyond the buffer of the file.
template <NpyElement T>
class NpyWriter {
 public:
  /// \throws std::invalid_argument if a size is negative or the product overflows; FileError if the
  /// file cannot be created.
  NpyWriter(const std::filesystem::path& path, std::span<const Eigen::Index> row_shape)
      : shape_(with_row_count(row_shape)), row_size_(size_of_row(row_shape)), file_(path) {
    // As many bytes as the largest m needs, so that finish() writes a header of the same length.
    std::vector<Eigen::Index> longest = shape_;
    longest[0] = std::numeric_limits<Eigen::Index>::max();
    width_ = detail::npy_header<T>(longest).size();
    file_.write(detail::npy_header<T>(shape_, width_));
  }
  /// The same for a shape that is written out. Errors as above.
  NpyWriter(const std::filesystem::path& path, std::initializer_list<Eigen::Index> row_shape)
      : NpyWriter(path, std::span<const Eigen::Index>(row_shape.begin(), row_shape.size())) {}

  /// Appends one row, in C order. \throws std::invalid_argument unless it has the size of row_shape;
  /// FileError if it cannot be written; std::logic_error after finish().
  void append(std::span<const T> row) {
    if (row.size() != row_size_)
      throw std::invalid_argument("NpyWriter::append: a row of " + std::to_string(row.size()) +
                                  " values, expected " + std::to_string(row_size_));
    detail::write_elements(file_, row);
    ++shape_[0];
  }

  /// m, the number of rows so far.
  [[nodiscard]] Eigen::Index rows() const noexcept { return shape_[0]; }

  /// Writes m into the header and gives the file its name. \throws FileError if that fails;
  /// std::logic_error if called twice.
  void finish() {
    file_.rewrite_start(detail::npy_header<T>(shape_, width_));
    file_.commit();
  }

 private:
  static std::vector<Eigen::Index> with_row_count(std::span<const Eigen::Index> row_shape) {
    std::vector<Eigen::Index> shape(row_shape.size() + 1, 0);
    std::copy(row_shape.begin(), row_shape.end(), shape.begin() + 1);
    return shape;
  }

  static std::size_t size_of_row(std::span<const Eigen::Index> row_shape) {
    const auto count = detail::element_count(row_shape, sizeof(T));
    if (!count)
      throw std::invalid_argument("NpyWriter: row_shape is " + detail::shape_text(row_shape) +
                                  ", expected sizes from 0 and fewer than 2^63 bytes");
    return *count;
  }

  std::vector<Eigen::Index> shape_;
  std::size_t row_size_;
  AtomicFile file_;
  std::size_t width_ = 0;
};

namespace detail {

template <KernelScalar Scalar>
[[nodiscard]] Scalar narrow(double value, std::string_view name) {
  if constexpr (std::same_as<Scalar, float>) {
    if (std::isfinite(value) && std::abs(value) > static_cast<double>(std::numeric_limits<float>::max())) {
      std::array<char, 32> text{};
      std::snprintf(text.data(), text.size(), "%.9g", value);
      throw FileError(std::string(name),
                      "holds " + std::string(text.data()) + ", which is too large for float");
    }
  }
  return static_cast<Scalar>(value);
}

}  // namespace detail

/// Tokens (d × n) from an array of shape (n, d): the same numbers in the same order.
/// \param name  what messages call the array, such as its path.
/// \throws FileError naming the shape found and expected, or a number too large for float.
template <KernelScalar Scalar>
[[nodiscard]] Tokens<Scalar> tokens_from(const NpyArray& array, std::string_view name) {
  if (array.shape.size() != 2 || array.shape[1] < 1)
    throw FileError(std::string(name),
                    "has shape " + detail::shape_text(array.shape) + ", expected (n, d) with d at least 1");
  Tokens<Scalar> tokens(array.shape[1], array.shape[0]);
  for (Eigen::Index k = 0; k < tokens.size(); ++k)
    tokens.data()[k] = detail::narrow<Scalar>(array.values[static_cast<std::size_t>(k)], name);
  return tokens;
}

/// Matrices from an array of shape (heads, rows, cols), or one from (rows, cols); entry (i, j) of the
/// array is entry (i, j) of the matrix. \throws as tokens_from().
template <KernelScalar Scalar>
[[nodiscard]] std::vector<Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>> matrices_from(
    const NpyArray& array, std::string_view name) {
  const std::size_t axes = array.shape.size();
  if ((axes != 2 && axes != 3) || array.values.empty())
    throw FileError(std::string(name), "has shape " + detail::shape_text(array.shape) +
                                           ", expected (rows, cols) or (heads, rows, cols), none of them 0");
  const Eigen::Index heads = axes == 3 ? array.shape[0] : 1;
  const Eigen::Index rows = array.shape[axes - 2], cols = array.shape[axes - 1];
  std::vector<Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>> matrices;
  std::size_t k = 0;
  for (Eigen::Index h = 0; h < heads; ++h) {
    auto& matrix = matrices.emplace_back(rows, cols);
    for (Eigen::Index i = 0; i < rows; ++i)
      for (Eigen::Index j = 0; j < cols; ++j) matrix(i, j) = detail::narrow<Scalar>(array.values[k++], name);
  }
  return matrices;
}

}  // namespace attnflow::inline ATTNFLOW_ABI
