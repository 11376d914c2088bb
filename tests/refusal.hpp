// What a caller is told.
#pragma once

#include <stdexcept>
#include <string>

/// The text of the std::invalid_argument that a call throws, or a remark that it throws none.
template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was refused";
}
