// What tests of Gaussian data share.
#pragma once

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/gaussian_closure.hpp>

#include "catch.hpp"
#include "draws.hpp"

#include <cmath>
#include <random>

namespace gaussian {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using Head = attnflow::Head<double>;

inline MatrixXd matrix(double a, double b, double c, double d) {
  return (MatrixXd(2, 2) << a, b, c, d).finished();
}
inline MatrixXd identity(Index d) { return MatrixXd::Identity(d, d); }

/// A covariance whose eigenvalues are at least a tenth.
inline MatrixXd covariance(std::mt19937_64& generator, Index d) {
  const MatrixXd F = random(d, d, generator);
  return F * F.transpose() + 0.1 * identity(d);
}

/// The state of a run of the closure until t, to 1e-10.
inline MatrixXd run(const attnflow::GaussianClosure& closure, MatrixXd x, double t) {
  attnflow::DormandPrince5<MatrixXd> stepper;
  const auto report = attnflow::integrate(closure, stepper, x, {.to = t, .rtol = 1e-12, .atol = 1e-13});
  REQUIRE(report.outcome == attnflow::Outcome::reached_end);
  return x;
}

/// ∫ f(y) dN(a, S)(y) in the plane, y = a + L z with LLᵀ = S, by equal steps in z, which are as good as exact for
/// f that grows like e^{3|z|} at most.
template <class F>
auto mean_in_plane(const VectorXd& a, const MatrixXd& S, const F& f) {
  MatrixXd L = MatrixXd::Zero(2, 2);
  L(0, 0) = std::sqrt(S(0, 0));
  L(1, 0) = S(1, 0) / L(0, 0);
  L(1, 1) = std::sqrt(S(1, 1) - L(1, 0) * L(1, 0));
  decltype(f(a)) sum = 0 * f(a);
  double total = 0;
  for (int i = -20; i <= 20; ++i)
    for (int j = -20; j <= 20; ++j) {
      const Eigen::Vector2d z(i / 2., j / 2.);
      const VectorXd y = a + L * z;
      const double weight = std::exp(-z.squaredNorm() / 2);
      sum += weight * f(y);
      total += weight;
    }
  return decltype(f(a))(sum / total);
}

}  // namespace gaussian
