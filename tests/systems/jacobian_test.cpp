#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::RescaledDynamics;
using attnflow::Softmax;
using attnflow::TokenDynamics;
using attnflow::Tokens;
using reference::Index;
using reference::random;

/// Central differences of the drift, column by column.
template <class Field>
Eigen::MatrixXd differences(const Field& field, double t, const Tokens<double>& x, double h) {
  Eigen::MatrixXd J(x.size(), x.size());
  for (Index k = 0; k < x.size(); ++k) {
    Tokens<double> up = x, down = x, f, g;
    up.data()[k] += h;
    down.data()[k] -= h;
    field(t, up, f);
    field(t, down, g);
    J.col(k) = (f - g).reshaped() / (up.data()[k] - down.data()[k]);
  }
  return J;
}

/// Third derivatives over six, times h² = ε^{2/3}, and roundings ε / h: with scores and their derivatives of at most a few
/// units both are ε^{2/3} times the cube of the slope of the scores.
double tolerance(double slope, double V) { return std::pow(2.3e-16, 2.0 / 3) * V * std::pow(1 + slope, 3); }
const double step = std::cbrt(2.3e-16);

template <class Scalar>
Head<Scalar> random_head(std::mt19937_64& generator, Index d, Index inner) {
  using H = Head<Scalar>;
  return {random<typename H::Projection>(generator, inner, d),
          random<typename H::Projection>(generator, inner, d), random<typename H::Square>(generator, d, d)};
}

}  // namespace

TEST_CASE("the Jacobian of the token drift is its derivative", "[systems][jacobian]") {
  std::mt19937_64 generator(50);
  for (const Index d : {1, 2, 3, 5})
    for (const Index n : {1, 2, 6})
      for (const std::size_t count : {1U, 3U})
        for (const double beta : {1.0, -0.6, 2.0}) {
          CAPTURE(d, n, count, beta);
          std::vector<Head<double>> heads;
          double slope = 0, V = 0;
          for (std::size_t h = 0; h < count; ++h) {
            heads.push_back(random_head<double>(generator, d, 1 + static_cast<Index>(h)));
            slope = std::max(slope, std::abs(beta) * heads[h].Q.norm() * heads[h].K.norm());
            V += heads[h].V.norm();
          }
          const auto x = random<Tokens<double>>(generator, d, n);
          const TokenDynamics<double> field(heads, Softmax{beta});
          slope *= x.colwise().norm().maxCoeff();
          const auto J = field.jacobian(0, x);
          CHECK((J - differences(field, 0, x, step)).cwiseAbs().maxCoeff() <= tolerance(slope, V));
        }
}

TEST_CASE("the Jacobian of the rescaled drift is its derivative", "[systems][jacobian]") {
  std::mt19937_64 generator(51);
  for (const Index d : {1, 2, 3, 5})
    for (const Index n : {1, 2, 6})
      for (const double t : {0.0, 0.5, -0.8})
        for (const double beta : {1.0, -0.6}) {
          CAPTURE(d, n, t, beta);
          const auto head = random_head<double>(generator, d, d + 2);
          const auto z = random<Tokens<double>>(generator, d, n);
          const RescaledDynamics<double> field(head, Softmax{beta});
          const double flow = field.exponential()(t).plain().norm();
          const double slope =
              std::abs(beta) * head.Q.norm() * head.K.norm() * flow * flow * z.colwise().norm().maxCoeff();
          const auto J = field.jacobian(t, z);
          CHECK((J - differences(field, t, z, step)).cwiseAbs().maxCoeff() <=
                tolerance(slope, head.V.norm()));
          if (n == 1) CHECK(J.cwiseAbs().maxCoeff() <= 1e-14);  // one token rests
        }
}

TEST_CASE("single precision Jacobians agree with double ones", "[systems][jacobian]") {
  std::mt19937_64 generator(52);
  const auto head = random_head<float>(generator, 3, 2);
  const auto x = random<Tokens<float>>(generator, 3, 7);
  const Head<double> wide{head.Q.cast<double>(), head.K.cast<double>(), head.V.cast<double>()};
  const Tokens<double> y = x.cast<double>();
  // P is rounded to float: n entries of it, times M x V of a few units.
  const double bound = 7 * 8 * static_cast<double>(std::numeric_limits<float>::epsilon()) * 10;
  CHECK((TokenDynamics<float>(head).jacobian(0, x) - TokenDynamics<double>(wide).jacobian(0, y))
            .cwiseAbs()
            .maxCoeff() <= bound);
  CHECK((RescaledDynamics<float>(head).jacobian(0.5, x) - RescaledDynamics<double>(wide).jacobian(0.5, y))
            .cwiseAbs()
            .maxCoeff() <= bound);
}

TEST_CASE("late Jacobians: minus V for followers, and out of range is an error", "[systems][jacobian]") {
  // Boolean rows do not feel the scores any more: ∂żᵢ/∂zᵢ = −V, ∂żᵢ/∂z_leader = V.
  const RescaledDynamics<double> field(Head<double>::identity(1));
  Tokens<double> z(1, 3);
  z << 1, 2, -1;
  for (const double t : {20.0, 500.0, 1e6}) {
    const Eigen::MatrixXd J = field.jacobian(t, z);
    const Eigen::MatrixXd expected = (Eigen::MatrixXd(3, 3) << -1, 1, 0, 0, 0, 0, 0, 0, 0).finished();
    CHECK(J == expected);
  }
  // A tie at that time has a slope beyond every number.
  z << 0, 2, -1;
  CHECK_THROWS_AS(field.jacobian(1e6, z), std::overflow_error);
}

/// Softmax with a sink: its rows sum to Z / (1 + Z).
struct SinkSoftmax {
  static constexpr bool rows_sum_to_one = false;
  static constexpr auto function = attnflow::WeightFunction::exponential;
  double beta = 1;
  double log_row_factor(double log_z, Eigen::Index /*n*/) const { return -std::log1p(std::exp(-log_z)); }
};

TEST_CASE("a law whose rows have another derivative has no Jacobian", "[systems][jacobian]") {
  const attnflow::TokenDynamics<double, 2, SinkSoftmax> field(Head<double, 2>::identity(), SinkSoftmax{});
  const Tokens<double, 2> x = Tokens<double, 2>::Ones(2, 3);
  CHECK_THROWS_WITH(field.jacobian(0, x),
                    Catch::Matchers::ContainsSubstring("TokenDynamics::jacobian: the law's log_row_factor"));
}
