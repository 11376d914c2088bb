/// \file
/// The one way in which a caller's mistake is answered.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <sstream>
#include <stdexcept>

namespace attnflow::inline ATTNFLOW_ABI::detail {

/// \throws std::invalid_argument whose message is the parts one after the other.
template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw std::invalid_argument(text.str());
}

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
