/// \file
/// The refusal of tokens, or other columns, that are not finite.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/words.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Numbers in a row, as Eigen prints them: all as wide as the widest.
[[nodiscard]] inline std::string row_of(const Eigen::VectorXd& x) {
  std::vector<std::string> numbers;
  std::size_t width = 0;
  for (Eigen::Index c = 0; c < x.size(); ++c) {
    numbers.push_back(words(x(c)));
    width = (std::max)(width, numbers.back().size());
  }
  std::string row;
  for (const std::string& number : numbers) {
    if (!row.empty()) row += ' ';
    row.append(width - number.size(), ' ') += number;
  }
  return row;
}

/// \throws std::invalid_argument naming `function`, the column of `name` at fault and its coordinates.
template <class Derived>
void refuse_unless_finite(const char* function, const char* name, const Eigen::MatrixBase<Derived>& x,
                          const char* column = "token") {
  for (Eigen::Index i = 0; i < x.cols(); ++i)
    if (!x.col(i).allFinite())
      refuse(function, ": ", column, " ", i, " of ", name, " is (", row_of(x.col(i).template cast<double>()),
             "), expected finite numbers");
}

}}}  // namespace attnflow::detail
