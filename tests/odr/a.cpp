// With b.cpp: two files that include every header, linked into one program.
#include <every_header.hpp>

std::string_view version_seen_by_b();

int main() { return version_seen_by_b() == attnflow::version ? 0 : 1; }
