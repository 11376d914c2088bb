/// \file
/// The one way in which a caller's mistake is answered.
#pragma once

#include <attnflow/detail/words.hpp>

#include <initializer_list>
#include <stdexcept>

namespace attnflow::inline ATTNFLOW_ABI::detail {

[[noreturn]] inline void refuse_for(std::initializer_list<Part> reason) {
  throw std::invalid_argument(words_of(reason));
}

/// \throws std::invalid_argument whose message is the parts one after the other.
template <class... Parts>
[[noreturn]] void refuse(Parts... parts) {  // by value: literals of any length are one type
  refuse_for({Part(parts)...});
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
