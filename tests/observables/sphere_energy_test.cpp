#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/observables/attention/sphere_energy.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

namespace {

using attnflow::energy_balance;
using attnflow::Head;
using attnflow::normalized_energy;
using attnflow::Softmax;
using attnflow::sphere_energy;
using attnflow::SphereDynamics;
using attnflow::Tokens;
using attnflow::Unnormalized;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double inf = std::numeric_limits<double>::infinity();

Tokens<double> unit_tokens(Index d, Index n, std::uint64_t seed) {
  attnflow::Generator generator(seed);
  return attnflow::uniform_sphere(generator, n, d);
}

/// (1/n²) ∑ᵢⱼ e^{β (⟨Q xᵢ, K xⱼ⟩ − shift)} in long double.
long double mean_exponential(const Head<double>& head, double beta, double shift, const Eigen::MatrixXd& x) {
  using Wide = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;
  const Wide query = head.Q.cast<long double>().lazyProduct(x.cast<long double>()),
             key = head.K.cast<long double>().lazyProduct(x.cast<long double>());
  long double sum = 0;
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < x.cols(); ++j)
      sum += std::exp(static_cast<long double>(beta) *
                      (query.col(i).dot(key.col(j)) - static_cast<long double>(shift)));
  return sum / static_cast<long double>(x.cols() * x.cols());
}

/// Q = B, K = I, V = B with B symmetric: QᵀK = V.
Head<double> symmetric_head(Index d, std::mt19937_64& generator) {
  const Eigen::MatrixXd A = random(d, d, generator), B = (A + A.transpose()) / 2;
  return {B, Eigen::MatrixXd::Identity(d, d), B};
}

template <class Law>
Tokens<double> velocity(const Law& law, const Head<double>& head, const Tokens<double>& x) {
  Tokens<double> dx;
  SphereDynamics<double, Eigen::Dynamic, Law>(head, law)(0, x, dx);
  return dx;
}

/// Both rates agree to what the rounding of velocities does, 8 (n + β) ε (1/n) ∑ᵢ Zᵢ ‖V‖ ‖ẋᵢ‖.
template <class Law>
void check_balance(const Law& law, const Head<double>& head, const Tokens<double>& x, double sign) {
  const Tokens<double> v = velocity(law, head, x);
  const auto balance = energy_balance(law, head, x, v);
  const auto n = static_cast<double>(x.cols());
  double rounding = 0;
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < x.cols(); ++j)
      rounding += std::exp(law.beta * (head.Q * x.col(i)).dot(head.K * x.col(j))) * v.col(i).norm() / n / n;
  rounding *= 8 * (n + law.beta) * epsilon * head.V.norm();
  CHECK(balance.dissipation.value > 0);
  CHECK(std::abs(balance.rate.value - sign * balance.dissipation.value) <= rounding);
  const double share = 2 * law.beta / static_cast<double>(mean_exponential(head, law.beta, 0, x));
  CHECK(std::abs(balance.rate.logarithmic - share * balance.rate.value) <=
        64 * epsilon * n * std::abs(balance.rate.logarithmic));
  CHECK(balance.dissipation.logarithmic ==
        Approx(share * balance.dissipation.value).epsilon(64 * epsilon * (n + law.beta)));
}

}  // namespace

TEST_CASE("the energy on the sphere is the double sum", "[energies]") {
  std::mt19937_64 generator(1);
  for (const Index d : {1, 2, 5})
    for (const Index n : {1, 2, 9})
      for (const double beta : {-2., 1e-3, 1., 30.}) {
        const Head<double> head{random(3, d, generator), random(3, d, generator), random(d, d, generator)};
        const auto x = unit_tokens(d, n, generator());
        const double expected =
            static_cast<double>(mean_exponential(head, beta, 0, x) / (2 * static_cast<long double>(beta)));
        CHECK(sphere_energy(head, beta, x) ==
              Approx(expected).epsilon(4 * epsilon * static_cast<double>(n * n) * (1 + 9 * std::abs(beta))));
      }
  // β = 0: the limit of E − 1/(2β); 1e-6 is far above the rounding of 1/(2β), and E bends by β.
  const Head<double> head{random(3, 4, generator), random(3, 4, generator), random(4, 4, generator)};
  const auto x = unit_tokens(4, 7, 5);
  CHECK(sphere_energy(head, 0, x) == Approx(sphere_energy(head, 1e-6, x) - 1 / 2e-6).margin(1e-5));
  const Eigen::VectorXd mean = x.rowwise().mean();
  CHECK(sphere_energy(Head<double>::identity(4), 0, x) ==
        Approx(mean.squaredNorm() / 2).epsilon(8 * epsilon));
  CHECK(sphere_energy(Head<double>::identity(4), 3, Tokens<double>(4, 0)) == 0);
  const Tokens<double> one = Eigen::VectorXd::Unit(3, 1).replicate(1, 5);
  CHECK(sphere_energy(Head<double>::identity(3), 4, one) == Approx(std::exp(4.) / 8).epsilon(4 * epsilon));
  CHECK(sphere_energy(Head<double>::identity(3), 1e4, one) == inf);
  CHECK(sphere_energy(Head<double>::identity(3), 720, (-one).eval()) == inf);
}

TEST_CASE("the normalised energy is the double sum, to the last digits at any beta", "[energies]") {
  for (const Index d : {2, 3, 9})
    for (const Index n : {1, 2, 12})
      for (const double beta : {-3., 0., 0.5, 4., 100.}) {
        const auto x = unit_tokens(d, n, static_cast<std::uint64_t>(7 * d + n));
        const Head<double> head = Head<double>::identity(d);
        const double found = normalized_energy(x, beta);
        // Lengths are one up to ε only, which β multiplies.
        const double tolerance = 8 * epsilon * (static_cast<double>(n) + 2 * std::abs(beta));
        CHECK(found == Approx(static_cast<double>(mean_exponential(head, beta, 1, x))).epsilon(tolerance));
        if (beta >= 0) CHECK((found > 0 && found <= 1));
        if (beta > 0)
          CHECK(found == Approx(2 * beta * std::exp(-beta) * sphere_energy(head, beta, x))
                             .epsilon(16 * epsilon * (static_cast<double>(n) + 2 * beta)));
      }
  const Tokens<double> one = unit_tokens(3, 1, 4).replicate(1, 6);
  for (const double beta : {0., 2., 1e3, 1e300, -1e300}) CHECK(normalized_energy(one, beta) == 1);
  // Two tokens at an angle φ: (1 + e^{−β(1 − cos φ)})/2 with 1 − cos φ = 2 sin²(φ/2).
  for (const double angle : {1e-7, 1e-3, 1.})
    for (const double beta : {1., 1e6, 1e14}) {
      Tokens<double> pair(2, 2);
      pair << 1, std::cos(angle), 0, std::sin(angle);
      const double exponent = 2 * beta * std::pow(std::sin(angle / 2), 2);
      CHECK(normalized_energy(pair, beta) == Approx((1 + std::exp(-exponent)) / 2).epsilon(8 * epsilon));
    }
  CHECK(normalized_energy(Tokens<double>(3, 0), 2) == 1);
  CHECK(normalized_energy((Tokens<double>(1, 2) << 1, -1).finished(), -1e3) == inf);
  CHECK(normalized_energy((Tokens<double>(1, 2) << 1e200, -1e200).finished(), 1) == 0.5);
}

TEST_CASE("well separated clusters have the sum of the squares of their masses", "[energies]") {
  // 4, 2 and 1 of 7 tokens at three unit vectors with products 0: corrections are e^{−β}.
  Tokens<double> x(3, 7);
  for (Index i = 0; i < 7; ++i) x.col(i) = Eigen::VectorXd::Unit(3, i < 4 ? 0 : i < 6 ? 1 : 2);
  const double between = 1 - 21. / 49;  // share of pairs of different clusters
  for (const double beta : {5., 20., 800.})
    CHECK(normalized_energy(x, beta) == Approx(21. / 49 + between * std::exp(-beta)).epsilon(16 * epsilon));
}

TEST_CASE("energy grows by what the velocities dissipate", "[energies]") {
  std::mt19937_64 generator(3);
  for (const Index d : {2, 3, 6})
    for (const Index n : {2, 8, 40})
      for (const double beta : {0., 0.5, 4., 12.}) {
        const auto x = unit_tokens(d, n, generator());
        for (const Head<double>& head : {Head<double>::identity(d), symmetric_head(d, generator)}) {
          check_balance(Softmax{beta}, head, x, 1);
          check_balance(Unnormalized{beta}, head, x, 1);
          check_balance(Unnormalized{beta, true}, head, x, 1);
          Head<double> repulsive = head;
          repulsive.V = -head.V;
          check_balance(Softmax{beta}, repulsive, x, -1);
          check_balance(Unnormalized{beta}, repulsive, x, -1);
        }
      }
}

TEST_CASE("the balance is the derivative of the energy along any motion", "[energies]") {
  std::mt19937_64 generator(4);
  for (const double beta : {-1., 0., 2.}) {
    const Head<double> head{random(2, 3, generator), random(2, 3, generator), random(3, 3, generator)};
    const auto x = unit_tokens(3, 6, generator());
    const Eigen::MatrixXd v = random(3, 6, generator);
    const double h = 1e-5;  // the third derivative times h², and roundings 10⁻¹⁶/h
    const Eigen::MatrixXd ahead = x + h * v, behind = x - h * v;
    const double expected = (sphere_energy(head, beta, ahead) - sphere_energy(head, beta, behind)) / (2 * h);
    const auto balance = energy_balance(Softmax{beta}, head, x, v);
    CHECK(balance.rate.value == Approx(expected).epsilon(1e-7).margin(1e-9));
    const long double sum = mean_exponential(head, beta, 0, x);
    CHECK(balance.rate.logarithmic ==
          Approx(2 * beta * balance.rate.value / static_cast<double>(sum)).epsilon(1e-13).margin(1e-15));
  }
  // The weights of the squares, by hand: two tokens, ⟨x₁, x₂⟩ = 0, speeds 1 and 2.
  const Head<double> head = Head<double>::identity(2);
  const Tokens<double> x = Tokens<double>::Identity(2, 2);
  const Tokens<double> v = (Tokens<double>(2, 2) << 0, 2, 1, 0).finished();
  const double Z = (std::exp(3.) + 1) / 2;
  CHECK(energy_balance(Softmax{3}, head, x, v).dissipation.value == Approx(Z * 5 / 2).epsilon(8 * epsilon));
  CHECK(energy_balance(Unnormalized{3}, head, x, v).dissipation.value == Approx(2.5).epsilon(8 * epsilon));
  CHECK(energy_balance(Unnormalized{3, true}, head, x, v).dissipation.value ==
        Approx(2.5 * std::exp(3.)).epsilon(8 * epsilon));
}

TEST_CASE("beyond the range of energies their logarithms are balanced", "[energies]") {
  const double beta = 2000;
  const Head<double> head = Head<double>::identity(2);
  Tokens<double> x(2, 3);  // 1/√β apart, where forces are largest
  for (Index i = 0; i < 3; ++i)
    x.col(i) << std::cos(static_cast<double>(i) / std::sqrt(beta)),
        std::sin(static_cast<double>(i) / std::sqrt(beta));
  const auto sa = energy_balance(Softmax{beta}, head, x, velocity(Softmax{beta}, head, x));
  CHECK(sa.rate.value == inf);
  CHECK(sa.dissipation.value == inf);
  // Speeds are 1/√β, velocities right to ε: the square to 2 √β ε. Scores are right to β ε.
  CHECK(sa.rate.logarithmic == Approx(sa.dissipation.logarithmic).epsilon(32 * beta * epsilon));
  const Unnormalized usa{beta, true};
  const auto slow = energy_balance(usa, head, x, velocity(usa, head, x));
  CHECK(slow.rate.logarithmic == Approx(slow.dissipation.logarithmic).epsilon(32 * beta * epsilon));
  CHECK(slow.rate.logarithmic > 0.01);
  CHECK(energy_balance(usa, head, Tokens<double>(2, 0), Tokens<double>(2, 0)).rate.value == 0);
}

TEST_CASE("what has no energy on the sphere is refused in words", "[energies]") {
  const Head<double> head = Head<double>::identity(2);
  Tokens<double> x = Tokens<double>::Identity(2, 2);
  CHECK(refusal([&] { (void)sphere_energy(head, std::nan(""), x); }) ==
        "sphere_energy: beta is nan, expected a finite number");
  CHECK(refusal([&] { (void)sphere_energy(head, 1, Tokens<double>(3, 2)); }) ==
        "sphere_energy: x has 3 rows, expected d = 2");
  CHECK(refusal([&] { (void)sphere_energy(head, 0, (1e200 * x).eval()); }) ==
        "sphere_energy: the product of the means of Q x and K x is inf, expected a finite number");
  CHECK(refusal([&] { (void)normalized_energy(x, inf); }) ==
        "normalized_energy: beta is inf, expected a finite number");
  CHECK(refusal([&] { (void)energy_balance(Softmax{}, head, x, Tokens<double>(2, 3)); }) ==
        "energy_balance: velocity is 2 x 3, expected 2 x 2, as x is");
  CHECK(refusal([&] { (void)energy_balance(Softmax{inf}, head, x, x); }) ==
        "Softmax::beta is inf, expected a finite number");
  CHECK(refusal([&] { (void)energy_balance(Softmax{}, head, x, (1e200 * x).eval()); }) ==
        "energy_balance: the rate of log energy is inf, expected a finite number");
  x(1, 0) = inf;
  CHECK(refusal([&] { (void)normalized_energy(x, 1); }) ==
        "normalized_energy: token 0 of x is (  1 inf), expected finite numbers");
  CHECK(refusal([&] { (void)energy_balance(Softmax{}, head, Tokens<double>::Identity(2, 2).eval(), x); }) ==
        "energy_balance: column 0 of velocity is (  1 inf), expected finite numbers");
}
