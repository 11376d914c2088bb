#include <attnflow/types.hpp>
#include <attnflow/version.hpp>

#include <iostream>

int main() {
  const auto head = attnflow::Head<double, 2>::identity();
  head.validate("outside");
  std::cout << "attnflow " << attnflow::version << '\n';
  return head.V == Eigen::Matrix2d::Identity() ? 0 : 1;
}
