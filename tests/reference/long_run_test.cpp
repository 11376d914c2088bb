#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/prediction/invariant_basis.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numbers>
#include <type_traits>

namespace {

using attnflow::AdaptiveSteps;
using attnflow::DormandPrince5;
using attnflow::integrate;
using attnflow::Outcome;
using attnflow::RescaledDynamics;

template <class Scalar>
attnflow::Tokens<Scalar> start(Eigen::Index d, Eigen::Index n = 25) {
  attnflow::Generator generator(11);
  return attnflow::uniform_box<Scalar>(generator, n, d, -5, 5);
}

/// The tolerances of long runs: by default for double, and what float resolves.
template <class Scalar>
AdaptiveSteps plan_to(double to) {
  return std::is_same_v<Scalar, float> ? AdaptiveSteps{.to = to, .rtol = 1e-5, .atol = 1e-6}
                                       : AdaptiveSteps{.to = to, .rtol = 1e-9, .atol = 1e-11};
}

/// How far the tokens z lie outside the convex hull of z0, by its support function in 400 directions: in no direction u
/// is max ⟨u, z⟩ above max ⟨u, z0⟩. The directions cover the circle, or the sphere by a spiral.
class Hull {
 public:
  explicit Hull(const Eigen::MatrixXd& z0) : directions_(z0.rows(), 400) {
    for (Eigen::Index k = 0; k < directions_.cols(); ++k) {
      const double share = (static_cast<double>(k) + 0.5) / static_cast<double>(directions_.cols());
      if (z0.rows() == 2) {
        const double angle = 2 * std::numbers::pi * share;
        directions_.col(k) << std::cos(angle), std::sin(angle);
      } else {
        const double height = 1 - 2 * share, radius = std::sqrt(1 - height * height);
        const double angle = std::numbers::pi * (1 + std::sqrt(5.0)) * static_cast<double>(k);
        directions_.col(k) << radius * std::cos(angle), radius * std::sin(angle), height;
      }
    }
    support_ = (directions_.transpose() * z0).rowwise().maxCoeff();
    for (Eigen::Index i = 0; i < z0.cols(); ++i)
      diameter_ = std::max(diameter_, (z0.colwise() - z0.col(i)).colwise().norm().maxCoeff());
  }
  [[nodiscard]] double excess(const Eigen::MatrixXd& z) const {
    return ((directions_.transpose() * z).rowwise().maxCoeff() - support_).maxCoeff();
  }
  [[nodiscard]] double diameter() const { return diameter_; }

 private:
  Eigen::MatrixXd directions_;
  Eigen::VectorXd support_;
  double diameter_ = 0;
};

}  // namespace

// For V = I every token moves towards a mean of tokens: hulls are nested, and once rows of P are Boolean nothing moves but
// towards a leader that rests. What is left is rounding and the error control: leaders are pulled only by tokens of
// their own cluster. The bounds are a thousand times the tolerance for float (nothing accumulates: 1e-3 of
// the diameter) and ten times for double.
TEMPLATE_TEST_CASE("a long run stays in the hull of its start, and its clusters stay where they are",
                   "[long_run]", float, double) {
  const double allowed = std::is_same_v<TestType, float> ? 1e-3 : 1e-8;
  for (const Eigen::Index d : {2, 3}) {
    CAPTURE(d);
    using State = attnflow::Tokens<TestType>;
    const RescaledDynamics<TestType> field(attnflow::Head<TestType>::identity(d));
    State z = start<TestType>(d);
    const Hull hull(z.template cast<double>());
    double outside = 0, moved = 0, row_error = 0;
    Eigen::MatrixXd settled;
    long steps = 0;
    const auto look = [&](double t, const State& x) {
      const Eigen::MatrixXd now = x.template cast<double>();
      outside = std::max(outside, hull.excess(now));
      if (t < 30) return;
      if (settled.size() == 0) settled = now;
      moved = std::max(moved, (now - settled).colwise().norm().maxCoeff());
      if (steps++ % 50 == 0)
        row_error = std::max(
            row_error,
            static_cast<double>((field.attention(t, x).rowwise().sum().array() - 1).abs().maxCoeff()));
    };
    const auto report = integrate(field, DormandPrince5<State>{}, z, plan_to<TestType>(1e4), look);
    CHECK(report.outcome == Outcome::reached_end);
    CHECK(report.t == 1e4);
    CHECK(z.allFinite());
    CHECK(outside <= allowed * hull.diameter());
    CHECK(moved <= allowed * hull.diameter());
    CHECK(row_error <= 4 * 25 * static_cast<double>(std::numeric_limits<TestType>::epsilon()));
    // Not because nothing happened: tokens are in clusters, and those inside have moved far.
    CHECK((z - start<TestType>(d)).cwiseAbs().maxCoeff() > 1);
  }
}

// V = diag(1, 1, −1/2): the third coordinate of z grows like e^{t/2} for ever and passes the largest number at
// t = 2 (ln max − ln |z₃(0)| + …), with |z₃(0)| up to 5, as far as tokens differ: a few units of time before 2 ln max.
TEMPLATE_TEST_CASE("a run that grows for ever ends where its numbers do", "[long_run]", float, double) {
  using State = attnflow::Tokens<TestType>;
  State V = State::Zero(3, 3);
  V.diagonal() << 1, 1, TestType(-0.5);
  const RescaledDynamics<TestType> field(attnflow::Head<TestType>::with_value(V));
  State z = start<TestType>(3, 10);
  double last = 0;
  bool finite = true;
  const auto look = [&](double t, const State& x) {
    last = t;
    finite = finite && x.allFinite();
  };
  const auto report = integrate(field, DormandPrince5<State>{}, z, plan_to<TestType>(1e4), look);
  const double end = 2 * std::log(static_cast<double>(std::numeric_limits<TestType>::max()));
  INFO(report.t << " of " << end << ", " << report.steps << " steps, " << report.rejected << " rejected");
  CHECK(report.outcome == Outcome::non_finite);
  CHECK(report.t == last);
  CHECK(report.t > end - 10);
  CHECK(report.t < end + 1);
  CHECK(finite);
  CHECK(z.allFinite());
  // The last finite state is within a step, h ≤ 1, of the end: a factor e^{1/2} or so, and 1e-3 is far below that.
  CHECK(z.row(2).cwiseAbs().maxCoeff() > TestType(1e-3) * std::numeric_limits<TestType>::max());
}

// A symmetric V in 32 dimensions, in coordinates of its eigenvectors. By t = 13.6 a coordinate is 3.5e10 large, and a token
// that passes zero in it changes its leader: no step in double is so short that the error is below 1e-11.
TEST_CASE("a token that changes its leader where its coordinate is zero does not end a run", "[long_run]") {
  const std::filesystem::path folder = std::filesystem::path(ATTNFLOW_TEST_DATA) / "early_end";
  const Eigen::MatrixXd V =
      attnflow::matrices_from<double>(attnflow::load_npy(folder / "V.npy"), "V").front();
  const auto x = attnflow::tokens_from<double>(attnflow::load_npy(folder / "x.npy"), "x");
  const attnflow::InvariantBasis coordinates = attnflow::invariant_basis(V);
  REQUIRE_FALSE(coordinates.is_identity);
  const RescaledDynamics<double> field({coordinates.basis, coordinates.basis, coordinates.blocks});
  const auto run = [&](AdaptiveSteps plan) {
    attnflow::Tokens<double> z = coordinates.inverse * x;
    const auto report = integrate(field, DormandPrince5<attnflow::Tokens<double>>{}, z, plan);
    CHECK(report.outcome == Outcome::reached_end);
    CHECK(report.t == 45);
    return z;
  };
  const Eigen::MatrixXd z = run(plan_to<double>(45)), exact = run({.to = 45, .rtol = 1e-12, .atol = 1e-14});
  const Eigen::VectorXd largest = exact.rowwise().lpNorm<Eigen::Infinity>();
  CHECK(largest.maxCoeff() > 1e30);
  CHECK((z - exact).rowwise().lpNorm<Eigen::Infinity>().cwiseQuotient(largest).maxCoeff() < 1e-6);
}

// Eigenvalues 1 and 0.999 with nearly parallel eigenvectors: coordinates in that basis are known to ε times its condition,
// 833, which is 1e-4 in float.
TEST_CASE("a float run takes no basis that costs most of its digits", "[long_run]") {
  const Eigen::Matrix3d V = (Eigen::Matrix3d() << 1, 1, 0, 0, 0.999, 0.3, 0, 0, -0.5).finished();
  const attnflow::Tokens<double> x = 0.04 * start<double>(3).cast<float>().cast<double>();
  attnflow::Tokens<double> exact = x;
  const attnflow::TokenDynamics<double> plain(attnflow::Head<double>::with_value(V));
  const auto report = integrate(plain, DormandPrince5<attnflow::Tokens<double>>{}, exact,
                                {.to = 2, .rtol = 1e-12, .atol = 1e-14});
  REQUIRE(report.outcome == Outcome::reached_end);
  const auto error_in_float = [&](double max_condition) {
    const attnflow::InvariantBasis c = attnflow::invariant_basis(V, max_condition);
    using State = attnflow::Tokens<float>;
    const RescaledDynamics<float> field(
        {c.basis.cast<float>(), c.basis.cast<float>(), c.blocks.cast<float>()});
    State z = (c.inverse * x).cast<float>();
    CHECK(integrate(field, DormandPrince5<State>{}, z, plan_to<float>(2)).outcome == Outcome::reached_end);
    const Eigen::MatrixXd end = c.basis * attnflow::unrescale(field.exponential(), 2, z).cast<double>();
    return (end - exact).cwiseAbs().maxCoeff() / exact.cwiseAbs().maxCoeff();
  };
  CHECK(error_in_float(attnflow::largest_basis_condition<float>()) < 1e-5);
  CHECK(error_in_float(attnflow::largest_basis_condition<double>()) > 3e-5);
}
