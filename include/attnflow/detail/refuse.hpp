/// \file
/// The one way in which a caller's mistake is answered.
#pragma once

#include <attnflow/detail/words.hpp>

#include <initializer_list>
#include <stdexcept>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

[[noreturn]] inline void refuse_for(std::initializer_list<Part> reason) {
  throw std::invalid_argument(words_of(reason));
}

/// \throws std::invalid_argument whose message is the parts one after the other.
template <class... Parts>
[[noreturn]] void refuse(Parts... parts) {  // by value: literals of any length are one type
  refuse_for({Part(parts)...});
}

/// Refuses a matrix of another shape than rows × columns, in the name of a function or class.
template <class Matrix, class Index>
void require_shape(const char* owner, const char* name, const Matrix& m, Index rows, Index columns) {
  if (m.rows() != rows || m.cols() != columns)
    refuse(owner, ": ", name, " is ", m.rows(), " x ", m.cols(), ", expected ", rows, " x ", columns);
}

}}}  // namespace attnflow::detail
