/// \file
/// What all programs are given: weights, tokens and the names of rows.
#pragma once

#include <attnflow/tokens/initial_laws.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <string>
#include <type_traits>

namespace bench {

template <class Scalar>
inline constexpr const char* name_of = std::is_same_v<Scalar, double> ? "double" : "float";

/// A head without structure that a kernel could use: Q, K and V are Gaussian with columns of norm about one,
/// so that scores of tokens in [−1, 1]^d are a few units.
template <class Scalar, int Dim = Eigen::Dynamic>
[[nodiscard]] attnflow::Head<Scalar, Dim> general_head(Eigen::Index d) {
  attnflow::Generator generator(2);
  const double sigma = 1 / std::sqrt(static_cast<double>(d));
  attnflow::Head<Scalar, Dim> head;
  head.Q = attnflow::gaussian<Scalar>(generator, d, d, sigma);
  head.K = attnflow::gaussian<Scalar>(generator, d, d, sigma);
  head.V = attnflow::gaussian<Scalar>(generator, d, d, sigma);
  return head;
}

template <class Scalar, int Dim = Eigen::Dynamic>
[[nodiscard]] attnflow::Tokens<Scalar, Dim> tokens(Eigen::Index n, Eigen::Index d) {
  attnflow::Generator generator(1);
  return attnflow::uniform_box<Scalar, Dim>(generator, n, d, -1, 1);
}

[[nodiscard]] inline std::string size_name(Eigen::Index n, Eigen::Index d) {
  return "/n:" + std::to_string(n) + "/d:" + std::to_string(d);
}

}  // namespace bench
