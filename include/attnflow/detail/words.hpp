/// \file
/// Text from its parts, compiled once for all messages.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <concepts>
#include <initializer_list>
#include <sstream>
#include <string>
#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// A part of a message, text or a number, for the length of one expression. A chain of << would be compiled anew for
/// every message, down to the length of its literals.
class Part {
 public:
  Part(const char* text) : text_(text == nullptr ? "" : text) {}  // NOLINT: meant to convert
  Part(std::string_view text) : text_(text) {}                    // NOLINT
  Part(const std::string& text) : text_(text) {}                  // NOLINT
  template <std::floating_point T>
  Part(T x) : kind_(Kind::real), real(static_cast<double>(x)) {}  // NOLINT
  template <std::signed_integral T>
  Part(T n) : kind_(Kind::whole), whole(n) {}  // NOLINT
  template <std::unsigned_integral T>
  Part(T n) : kind_(Kind::natural), natural(n) {}  // NOLINT

  /// Writes it as << does.
  void write(std::ostream& out) const {
    switch (kind_) {
      case Kind::text:
        out << text_;
        break;
      case Kind::real:
        out << real;
        break;
      case Kind::whole:
        out << whole;
        break;
      case Kind::natural:
        out << natural;
        break;
    }
  }

 private:
  enum class Kind { text, real, whole, natural };
  Kind kind_ = Kind::text;
  std::string_view text_;
  union {
    double real = 0;
    long long whole;
    unsigned long long natural;
  };
};

/// The parts one after the other.
[[nodiscard]] inline std::string words_of(std::initializer_list<Part> parts) {
  std::ostringstream text;
  for (const Part& part : parts) part.write(text);
  return text.str();
}
template <class... Parts>
[[nodiscard]] std::string words(Parts... parts) {  // by value: literals of any length are one type
  return words_of({Part(parts)...});
}

}}}  // namespace attnflow::detail
