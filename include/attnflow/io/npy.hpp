/// \file
/// NumPy's .npy files: read with every byte checked, written whole or not at all.
#pragma once

#include <attnflow/attention/token_view.hpp>
#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/detail/npy_elements.hpp>
#include <attnflow/io/detail/npy_header.hpp>
#include <attnflow/io/npy_writer.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <initializer_list>
#include <istream>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// An array of any shape, its values in C order (the last index runs fastest). Shape () is one number.
struct NpyArray {
  /// How many entries along each axis.
  std::vector<Eigen::Index> shape;
  /// As many as the product of the shape.
  std::vector<double> values;
};

namespace detail {

/// load_npy() of a stream of `size` bytes.
[[nodiscard]] inline NpyArray read_npy(std::istream& in, std::uintmax_t size,
                                       const std::filesystem::path& path) {
  const NpyLayout layout = read_npy_layout(in, size, path);
  const NpyHeader& header = layout.header;
  const std::size_t count = layout.count;

  NpyArray array{header.shape, std::vector<double>(count)};
  // The place in C order of the element that comes next in the file: an odometer over the indices.
  const std::size_t axes = header.shape.size();
  std::vector<Eigen::Index> index(axes, 0);
  std::vector<std::size_t> stride(axes, 1);
  if (header.fortran_order && count > 0)
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
  std::vector<char> buffer((std::min)(block, count) * header.element_size);
  for (std::size_t done = 0; done < count;) {
    const std::size_t now = (std::min)(block, count - done);
    read_exactly(in, buffer.data(), now * header.element_size, path);
    for (std::size_t k = 0; k < now; ++k, advance()) {
      const char* bytes = buffer.data() + k * header.element_size;
      double& value = array.values[place];
      if (header.kind == 'f') {
        value = header.element_size == 4 ? static_cast<double>(decode<float>(bytes, header.swap))
                                         : decode<double>(bytes, header.swap);
      } else if (header.element_size == 4) {
        value = static_cast<double>(decode<std::int32_t>(bytes, header.swap));
      } else {
        const auto integer = decode<std::int64_t>(bytes, header.swap);
        if (!is_exact_double(integer))
          throw FileError(path, "holds the integer " + std::to_string(integer) + ", which no double equals");
        value = static_cast<double>(integer);
      }
    }
    done += now;
  }
  return array;
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
  detail::NpyFile file(path);
  return detail::read_npy(file.in, file.size, path);
}

/// Writes an .npy file of version 1.0, little-endian and in C order on every machine; whole or not
/// at all. \param values  in C order, as many as the shape says.
/// \throws std::invalid_argument if they are not, or the shape has more than 64 axes; FileError if the file
/// cannot be written.
template <NpyElement T>
void save_npy(const std::filesystem::path& path, std::span<const Eigen::Index> shape,
              std::span<const T> values) {
  detail::refuse_many_axes("save_npy: shape", shape.size(), detail::most_npy_axes);
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
namespace detail {

template <KernelScalar Scalar>
[[nodiscard]] Scalar narrow(double value, std::string_view name) {
  if constexpr (std::same_as<Scalar, float>) {
    if (std::isfinite(value) && std::abs(value) > static_cast<double>((std::numeric_limits<float>::max)())) {
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

}}  // namespace attnflow
