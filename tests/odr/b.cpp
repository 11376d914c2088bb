#include <every_header.hpp>

std::string_view version_seen_by_b();

std::string_view version_seen_by_b() { return attnflow::version; }
