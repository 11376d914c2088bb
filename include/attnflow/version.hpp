/// \file
/// The version of the library. The build reads it from here.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

/// The first number of the version.
#define ATTNFLOW_VERSION_MAJOR 0
/// The second number: before 1.0 it may break what was.
#define ATTNFLOW_VERSION_MINOR 1
/// The third number: corrections.
#define ATTNFLOW_VERSION_PATCH 0

#define ATTNFLOW_DETAIL_TEXT_OF(x) #x
#define ATTNFLOW_DETAIL_DOTTED(a, b, c) \
  ATTNFLOW_DETAIL_TEXT_OF(a) "." ATTNFLOW_DETAIL_TEXT_OF(b) "." ATTNFLOW_DETAIL_TEXT_OF(c)

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// "major.minor.patch"
inline constexpr std::string_view version =
    ATTNFLOW_DETAIL_DOTTED(ATTNFLOW_VERSION_MAJOR, ATTNFLOW_VERSION_MINOR, ATTNFLOW_VERSION_PATCH);

}}  // namespace attnflow

#undef ATTNFLOW_DETAIL_DOTTED
#undef ATTNFLOW_DETAIL_TEXT_OF
