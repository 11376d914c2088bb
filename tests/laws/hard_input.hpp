// Matrices that nobody would feed to a library on purpose, and what it may answer.
#pragma once

#include "attention/reference.hpp"

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

namespace hard {

using Eigen::Index;
using reference::Real;
using reference::Wide;

enum class Kind {
  plain,      ///< in [−1, 1]
  zero,       ///< all of them, with both signs
  equal,      ///< one column again and again
  repeated,   ///< a few columns, each several times
  lattice,    ///< small integers: ties, points on lines and in planes
  line,       ///< on a line through two points that are not round
  denormal,   ///< numbers without a full mantissa
  tiny,       ///< near the smallest normal number
  huge,       ///< near the largest number, and this itself
  mixed,      ///< each entry of a size of its own, over the whole range
  far_cloud,  ///< a small cloud far away
  outlier     ///< one column is huge
};
inline constexpr std::array kinds{Kind::plain,   Kind::zero,  Kind::equal,     Kind::repeated,
                                  Kind::lattice, Kind::line,  Kind::denormal,  Kind::tiny,
                                  Kind::huge,    Kind::mixed, Kind::far_cloud, Kind::outlier};

inline const char* name_of(Kind kind) {
  constexpr std::array names{"plain",    "zero", "equal", "repeated", "lattice",   "line",
                             "denormal", "tiny", "huge",  "mixed",    "far_cloud", "outlier"};
  return names[static_cast<std::size_t>(kind)];
}

/// Numbers from 0 to count − 1.
inline Index below(std::mt19937_64& generator, Index count) {
  return static_cast<Index>(generator() % static_cast<std::uint64_t>(count));
}

template <class Matrix>
Matrix draw(std::mt19937_64& generator, Index rows, Index cols, Kind kind) {
  using Scalar = typename Matrix::Scalar;
  using Limits = std::numeric_limits<Scalar>;
  const auto uniform = [&] { return static_cast<Scalar>(reference::uniform(generator, -1, 1)); };
  const auto sign = [&] { return generator() % 2 == 0 ? Scalar(1) : Scalar(-1); };
  const auto at_exponent = [&](int exponent) {
    return std::ldexp(Scalar(1) + std::abs(uniform()) / 2, exponent) * sign();
  };
  constexpr int least = Limits::min_exponent - Limits::digits, most = Limits::max_exponent - 2;
  Matrix m(rows, cols);
  for (Index j = 0; j < cols; ++j)
    for (Index i = 0; i < rows; ++i) switch (kind) {
        case Kind::zero:
          m(i, j) = sign() * Scalar(0);
          break;
        case Kind::lattice:
          m(i, j) = static_cast<Scalar>(below(generator, 5)) - 2;
          break;
        case Kind::denormal:
          m(i, j) = static_cast<Scalar>(below(generator, 9)) * Limits::denorm_min() * sign();
          break;
        case Kind::tiny:
          m(i, j) = uniform() * Limits::min() * 4;
          break;
        case Kind::huge:
          m(i, j) = generator() % 8 == 0 ? sign() * Limits::max() : uniform() * Limits::max();
          break;
        case Kind::mixed:
          m(i, j) = generator() % 6 == 0
                        ? Scalar(0)
                        : at_exponent(least + static_cast<int>(below(generator, most - least)));
          break;
        case Kind::far_cloud:
          m(i, j) = Scalar(1000) + uniform() / 1000;
          break;
        default:
          m(i, j) = uniform();
      }
  if (kind == Kind::equal)
    for (Index j = 1; j < cols; ++j) m.col(j) = m.col(0);
  if (kind == Kind::repeated)
    for (Index j = 0; j < cols; ++j) m.col(j) = m.col(below(generator, j / 2 + 1)).eval();
  if (kind == Kind::line)
    for (Index j = 2; j < cols; ++j)
      m.col(j) = m.col(0) + static_cast<Scalar>(below(generator, 7)) * m.col(1);
  if (kind == Kind::outlier && cols > 0) m.col(below(generator, cols)) *= std::ldexp(Scalar(1), most);
  return m;
}

/// One of its entries is not a number of ordinary size any more. \pre the matrix has entries.
template <class Matrix>
void spoil(std::mt19937_64& generator, Matrix& m) {
  using Limits = std::numeric_limits<typename Matrix::Scalar>;
  const std::array bad{Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()};
  m(below(generator, m.rows()), below(generator, m.cols())) = bad[generator() % 3];
}

/// Whether a refusal is one line that names what was called and what is wrong with it.
inline bool well_formed(const std::string& message, std::string_view who) {
  const bool named = std::string_view(message).starts_with(who);
  const bool printable =
      std::ranges::all_of(message, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
  const bool says_why =
      message.find("expected") != std::string::npos || message.find("not finite") != std::string::npos;
  return named && printable && says_why && message.size() < 2000;
}

/// What a call came to: its answer, or a refusal in due form; anything else fails the test where it is used.
template <class Call>
auto answer(std::string_view who, const Call& call, std::string& failure)
    -> std::optional<std::invoke_result_t<const Call&>> {
  try {
    return call();
  } catch (const std::invalid_argument& error) {
    if (!well_formed(error.what(), who)) failure = std::string("a refusal not in form: ") + error.what();
  } catch (const std::exception& error) {
    failure = std::string("not a refusal: ") + error.what();
  }
  return std::nullopt;
}

template <class Matrix>
bool has_nan(const Matrix& m) {
  for (Index j = 0; j < m.cols(); ++j)
    for (Index i = 0; i < m.rows(); ++i)
      if (std::isnan(m(i, j))) return true;
  return false;
}
template <class Matrix>
bool all_nan(const Matrix& m) {
  for (Index j = 0; j < m.cols(); ++j)
    for (Index i = 0; i < m.rows(); ++i)
      if (!std::isnan(m(i, j))) return false;
  return true;
}

template <class Matrix>
Real largest_of(const Matrix& m) {
  Real most = 0;
  for (Index j = 0; j < m.cols(); ++j)
    for (Index i = 0; i < m.rows(); ++i) most = std::max(most, std::abs(static_cast<Real>(m(i, j))));
  return most;
}

}  // namespace hard
