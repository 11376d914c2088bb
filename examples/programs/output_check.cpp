// Linked into programs that are shown to readers, as they are: where standard output cannot be written, such a program
// says so at its end, with exit status 2.

#include "programs/system.hpp"

#include <cstdlib>

namespace {

struct AtEnd {
  AtEnd() = default;
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;
  ~AtEnd() {
    if (!programs::said_all(ATTNFLOW_PROGRAM)) std::_Exit(2);
  }
};
const AtEnd at_end;

}  // namespace
