// Weights and matrices that several tests draw.
#pragma once

#include <attnflow/types.hpp>

#include "attention/reference.hpp"

#include <cmath>
#include <random>

/// A number in [0, 1).
inline double unit(std::mt19937_64& generator) { return static_cast<double>(generator() >> 11) * 0x1p-53; }

/// Entries uniform in [−1, 1).
inline Eigen::MatrixXd random(Eigen::Index rows, Eigen::Index cols, std::mt19937_64& generator) {
  return Eigen::MatrixXd::NullaryExpr(rows, cols,
                                      [&](Eigen::Index, Eigen::Index) { return 2 * unit(generator) - 1; });
}

/// Q, K and V with entries uniform in [−1, 1).
template <class Scalar, int Dim = Eigen::Dynamic>
attnflow::Head<Scalar, Dim> random_head(std::mt19937_64& generator, Eigen::Index d) {
  using H = attnflow::Head<Scalar, Dim>;
  return {reference::random<typename H::Projection>(generator, d, d),
          reference::random<typename H::Projection>(generator, d, d),
          reference::random<typename H::Square>(generator, d, d)};
}

/// An orthogonal matrix with no zero in it: the product of plane rotations by fixed angles.
inline Eigen::MatrixXd orthogonal(Eigen::Index d) {
  Eigen::MatrixXd R = Eigen::MatrixXd::Identity(d, d);
  for (Eigen::Index i = 0; i < d; ++i)
    for (Eigen::Index j = i + 1; j < d; ++j) {
      const double a = 0.7 + 0.31 * static_cast<double>(i) + 0.17 * static_cast<double>(j);
      Eigen::MatrixXd G = Eigen::MatrixXd::Identity(d, d);
      G(i, i) = G(j, j) = std::cos(a);
      G(i, j) = -std::sin(a);
      G(j, i) = std::sin(a);
      R = (R * G).eval();
    }
  return R;
}
