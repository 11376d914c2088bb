// The least: weights, and the version that was asked for.
#include <attnflow/types.hpp>
#include <attnflow/version.hpp>

#include <iostream>

#define TEXT_OF(x) #x
#define DOTTED(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

int main() {
  constexpr std::string_view by_macros =
      DOTTED(ATTNFLOW_VERSION_MAJOR, ATTNFLOW_VERSION_MINOR, ATTNFLOW_VERSION_PATCH);
  const auto head = attnflow::Head<double, 2>::identity();
  head.validate("outside");
  std::cout << "attnflow " << attnflow::version << ", expected " << EXPECTED_VERSION << '\n';
  const bool versions_agree = attnflow::version == EXPECTED_VERSION && by_macros == EXPECTED_VERSION;
  return versions_agree && head.V == Eigen::Matrix2d::Identity() ? 0 : 1;
}
