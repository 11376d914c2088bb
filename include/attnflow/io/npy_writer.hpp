/// \file
/// An .npy file written row by row: NpyWriter.
#pragma once

#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/detail/npy_elements.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Writes an array of shape (m, row_shape...) row by row, m being known only at the end: states
/// (n, d) of a trajectory, or its attention matrices (n, n). The file appears with finish(), and
/// without it not at all. Memory: none beyond the buffer of the file.
template <NpyElement T>
class NpyWriter {
 public:
  /// \throws std::invalid_argument if a size is negative, the product overflows or there are more than 63
  /// axes; FileError if the file cannot be created.
  NpyWriter(const std::filesystem::path& path, std::span<const Eigen::Index> row_shape)
      : shape_(with_row_count(row_shape)), row_size_(size_of_row(row_shape)), file_(path) {
    // As many bytes as the largest m needs, so that finish() writes a header of the same length.
    std::vector<Eigen::Index> longest = shape_;
    longest[0] = (std::numeric_limits<Eigen::Index>::max)();
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

  /// Writes m into the header and closes the file, which has no name yet: finish() then has only to give it one.
  /// \throws FileError if that fails; std::logic_error if called twice.
  void close() {
    file_.rewrite_start(detail::npy_header<T>(shape_, width_));
    file_.close();
    closed_ = true;
  }

  /// Closes the file, if close() did not, and gives it its name. \throws FileError if that fails;
  /// std::logic_error if called twice.
  void finish() {
    if (!closed_) close();
    file_.commit();
  }

 private:
  static std::vector<Eigen::Index> with_row_count(std::span<const Eigen::Index> row_shape) {
    detail::refuse_many_axes("NpyWriter: row_shape", row_shape.size(), detail::most_npy_axes - 1);
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
  bool closed_ = false;
};
}}  // namespace attnflow
