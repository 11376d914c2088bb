// Catch2 by one name: version 3 (catch_all.hpp) or version 2 (catch.hpp), with version 3's spelling of
// what differs: Catch::Matchers::ContainsSubstring. Approx is meant unqualified.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)

#include <catch2/catch_all.hpp>

using Catch::Approx;

#else

#include <catch2/catch.hpp>

namespace Catch::Matchers {
inline auto ContainsSubstring(const std::string& text, CaseSensitive::Choice choice = CaseSensitive::Yes) {
  return Contains(text, choice);
}
}  // namespace Catch::Matchers

#endif
