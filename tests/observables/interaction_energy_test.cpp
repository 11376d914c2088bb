#include <attnflow/observables/attention/interaction_energy.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <random>

namespace {

using attnflow::covariance;
using attnflow::covariance_decay;
using attnflow::energy_rate;
using attnflow::Head;
using attnflow::interaction_energy;
using attnflow::Tokens;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double inf = std::numeric_limits<double>::infinity();

/// ⟨Q xᵢ, K xⱼ⟩ in long double.
long double score(const Head<double>& head, const Eigen::MatrixXd& x, Index i, Index j) {
  long double sum = 0;
  for (Index r = 0; r < head.Q.rows(); ++r) {
    long double query = 0, key = 0;
    for (Index k = 0; k < x.rows(); ++k) {
      query += static_cast<long double>(head.Q(r, k)) * static_cast<long double>(x(k, i));
      key += static_cast<long double>(head.K(r, k)) * static_cast<long double>(x(k, j));
    }
    sum += query * key;
  }
  return sum;
}

long double energy(const Head<double>& head, const Eigen::MatrixXd& x) {
  long double sum = 0;
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < x.cols(); ++j) sum += std::exp(score(head, x, i, j));
  return sum;
}

/// ẋᵢ = ∑ⱼ Pᵢⱼ V xⱼ, and Zᵢ.
Eigen::MatrixXd velocity(const Head<double>& head, const Eigen::MatrixXd& x, Eigen::VectorXd& Z) {
  Eigen::MatrixXd means = Eigen::MatrixXd::Zero(x.rows(), x.cols());
  Z = Eigen::VectorXd::Zero(x.cols());
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < x.cols(); ++j) {
      const double weight = static_cast<double>(std::exp(score(head, x, i, j)));
      Z(i) += weight;
      means.col(i) += weight * x.col(j);
    }
  for (Index i = 0; i < x.cols(); ++i) means.col(i) /= Z(i);
  return head.V.lazyProduct(means);
}

Head<double> collapse(Index d) { return Head<double>::with_value(-Eigen::MatrixXd::Identity(d, d)); }

}  // namespace

TEST_CASE("the energy is the double sum", "[energies]") {
  std::mt19937_64 generator(1);
  for (const Index d : {1, 2, 5})
    for (const Index n : {1, 2, 9})
      for (const double size : {0.1, 1., 4.}) {
        const Head<double> head{random(3, d, generator), random(3, d, generator), random(d, d, generator)};
        const Eigen::MatrixXd x = size * random(d, n, generator);
        const auto found = interaction_energy(head, x);
        const long double expected = energy(head, x);
        // Scores up to 3 d² size², and n² terms.
        const double tolerance =
            4 * epsilon * static_cast<double>(n * n) * (1 + 3 * static_cast<double>(d * d) * size * size);
        CHECK(found.value == Approx(static_cast<double>(expected)).epsilon(tolerance));
        CHECK(found.log ==
              Approx(static_cast<double>(std::log(expected))).epsilon(tolerance).margin(tolerance));
        const Head<float> coarse{head.Q.cast<float>(), head.K.cast<float>(), head.V.cast<float>()};
        CHECK(interaction_energy(coarse, x.cast<float>()).log ==
              Approx(found.log).epsilon(1e-4).margin(1e-4));
      }
}

TEST_CASE("an energy beyond the range has a logarithm", "[energies]") {
  const Head<double> one = Head<double>::identity(1);
  const auto large = interaction_energy(one, (Tokens<double>(1, 2) << 100, 100).finished());
  CHECK(large.value == inf);
  CHECK(large.log == Approx(1e4 + std::log(4.)).epsilon(2 * epsilon));
  const auto largest = interaction_energy(one, (Tokens<double>(1, 2) << 1e150, -1e150).finished());
  CHECK(largest.log == Approx(1e300));
  const Head<double> negative{Eigen::MatrixXd::Constant(1, 1, -1), Eigen::MatrixXd::Ones(1, 1),
                              Eigen::MatrixXd::Ones(1, 1)};
  const auto small = interaction_energy(negative, Tokens<double>::Constant(1, 3, 100));
  CHECK(small.value == 0);
  CHECK(small.log == Approx(-1e4 + std::log(9.)).epsilon(2 * epsilon));
  CHECK(interaction_energy(one, Tokens<double>(1, 0)).value == 0);
  CHECK(interaction_energy(one, Tokens<double>(1, 0)).log == -inf);
}

TEST_CASE("the energy of many tokens keeps its digits", "[energies]") {
  std::mt19937_64 generator(11);
  const Index d = 3, n = 200;
  for (const double size : {0.1, 2., 8.}) {
    const Head<double> head{random(2, d, generator), random(2, d, generator), random(d, d, generator)};
    const Eigen::MatrixXd x = size * random(d, n, generator);
    const auto found = interaction_energy(head, x);
    const long double expected = energy(head, x);
    const double log = static_cast<double>(std::log(expected));
    const double tolerance = 4 * epsilon * (static_cast<double>(n) + std::abs(log));
    CHECK(std::abs(found.log - log) <= tolerance);
    CHECK(std::abs(found.value / static_cast<double>(expected) - 1) <= tolerance);
  }
  // A score of -10^320 has no share in a row that has others: rows 1 + 0 and 1 + 1.
  Head<double> negative = Head<double>::identity(1);
  negative.Q(0, 0) = -1;
  CHECK(interaction_energy(negative, (Tokens<double>(1, 2) << 1e160, 0).finished()).value ==
        Approx(3).epsilon(4 * epsilon));
}

TEST_CASE("the energy is least where all tokens are zero", "[energies]") {
  std::mt19937_64 generator(2);
  for (const Index d : {1, 3})
    for (const Index n : {1, 4, 11}) {
      const auto at_zero = interaction_energy(Head<double>::identity(d), Eigen::MatrixXd::Zero(d, n));
      CHECK(at_zero.value ==
            Approx(static_cast<double>(n * n)).epsilon(2 * epsilon * static_cast<double>(n)));
      for (const double size : {1e-3, 0.1, 3.})
        CHECK(interaction_energy(Head<double>::identity(d), (size * random(d, n, generator)).eval()).value >
              static_cast<double>(n * n));
    }
}

TEST_CASE("the rate is the derivative along the velocity", "[energies]") {
  std::mt19937_64 generator(3);
  for (const Index d : {1, 2, 4})
    for (const Index n : {1, 2, 7}) {
      const Head<double> head{random(2, d, generator), random(2, d, generator), random(d, d, generator)};
      const Eigen::MatrixXd x = random(d, n, generator);
      Eigen::VectorXd Z;
      const Eigen::MatrixXd v = velocity(head, x, Z);
      // A central difference: an error of h² times a third derivative, and of roundings of 10⁻¹⁹ over h.
      const double h = 1e-5;
      const Eigen::MatrixXd ahead = x + h * v, behind = x - h * v;
      const double expected = static_cast<double>((energy(head, ahead) - energy(head, behind)) / (2e-5L));
      const auto found = energy_rate(head, x);
      CHECK(found.value == Approx(expected).epsilon(1e-7).margin(1e-7 * static_cast<double>(n * n)));
      CHECK(found.logarithmic * interaction_energy(head, x).value == Approx(found.value).epsilon(1e-13));
    }
}

TEST_CASE("for V = -I the energy is dissipated by the squared velocities", "[energies]") {
  std::mt19937_64 generator(4);
  for (const Index d : {1, 2, 3})
    for (const Index n : {1, 2, 10}) {
      const Eigen::MatrixXd x = 2 * random(d, n, generator);
      Eigen::VectorXd Z;
      const Eigen::MatrixXd v = velocity(collapse(d), x, Z);
      double expected = 0;
      for (Index i = 0; i < n; ++i) expected -= 2 * Z(i) * v.col(i).squaredNorm();
      CHECK(energy_rate(collapse(d), x).value == Approx(expected).epsilon(1e-13));
      // M symmetric: 2 ∑ Zᵢ ⟨ẋᵢ, M mᵢ⟩ with mᵢ = −ẋᵢ.
      Head<double> head = collapse(d);
      head.Q = head.K = random(d, d, generator);
      const Eigen::MatrixXd w = velocity(head, x, Z), Qw = head.Q.lazyProduct(w);
      double metric = 0;
      for (Index i = 0; i < n; ++i) metric -= 2 * Z(i) * Qw.col(i).squaredNorm();
      CHECK(energy_rate(head, x).value == Approx(metric).epsilon(1e-12));
    }
  CHECK(energy_rate(collapse(2), Eigen::MatrixXd::Zero(2, 5)).value == 0);
  CHECK(energy_rate(collapse(2), Eigen::MatrixXd(2, 0)).logarithmic == 0);
  // One token of the line: 𝓛 = e^{x²}, ẋ = −x; beyond the range the logarithm's rate −2x² remains.
  const auto steep = energy_rate(collapse(1), Tokens<double>::Constant(1, 1, 100));
  CHECK(steep.value == -inf);
  CHECK(steep.logarithmic == Approx(-2e4).epsilon(4 * epsilon));
}

TEST_CASE("the covariance is that of the definition, wherever the tokens are", "[energies]") {
  std::mt19937_64 generator(5);
  for (const Index d : {1, 2, 4})
    for (const Index n : {1, 2, 20}) {
      const Eigen::MatrixXd x =
          random(d, n, generator).unaryExpr([](double v) { return std::round(v * 1024) / 1024; });
      Eigen::MatrixXd expected = Eigen::MatrixXd::Zero(d, d);
      const Eigen::VectorXd mean = x.rowwise().mean();
      for (Index i = 0; i < n; ++i)
        for (Index k = 0; k < d; ++k)
          for (Index l = 0; l < d; ++l)
            expected(k, l) += (x(k, i) - mean(k)) * (x(l, i) - mean(l)) / static_cast<double>(n);
      for (const double shift : {0., 1e6, -1e12}) {
        const Eigen::MatrixXd C = covariance((x.array() + shift).matrix().eval());  // exact, in 2⁻¹⁰
        CHECK((C - expected).cwiseAbs().maxCoeff() <= 8 * epsilon * static_cast<double>(n));
        CHECK(C == C.transpose());
      }
      CHECK(covariance_decay(3, x).isApprox(3 * covariance(x), 4 * epsilon));
      CHECK(covariance_decay(0, x).isZero(0));
      CHECK(covariance(x.cast<float>()).isApprox(covariance(x), 1e-15));
    }
  CHECK(covariance(Tokens<double>::Constant(2, 7, 1e300)).isZero(0));
  CHECK(covariance((Tokens<double>(1, 2) << -1e150, 1e150).finished())(0, 0) == Approx(1e300));
}

// ẋᵢ = −∑ Pᵢⱼ xⱼ by Heun's method with growing steps: a step of 0.3 is far inside its stability, and the error
// of order 2 in t·C is well under the 10 % that remain at t = 2000.
TEST_CASE("tokens of V = -I collapse like one over the square root of t", "[energies]") {
  std::mt19937_64 generator(6);
  const Index n = 6, d = 2;
  const Head<double> head = collapse(d);
  Eigen::MatrixXd x = 2 * random(d, n, generator);
  Eigen::VectorXd Z;
  double t = 0, last = interaction_energy(head, x).value;
  for (int k = 0; k < 8000; ++k) {
    const double h = t < 10 ? 0.02 : 0.3;
    const Eigen::MatrixXd v = velocity(head, x, Z), ahead = x + h * v;
    x += h / 2 * (v + velocity(head, ahead, Z));
    t += h;
    if (k % 100 == 0) {
      const double now = interaction_energy(head, x).value;
      CHECK(now <= last * (1 + 4 * epsilon * static_cast<double>(n * n)));
      last = now;
    }
  }
  CHECK(t > 2000);
  const Eigen::MatrixXd tC = covariance_decay(t, x);
  CHECK((tC - Eigen::MatrixXd::Identity(d, d) / 2).cwiseAbs().maxCoeff() < 0.01);
}

TEST_CASE("what has no energy is refused in words", "[energies]") {
  const Head<double> head = Head<double>::identity(2);
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(2, 3);
  CHECK(refusal([&] { (void)interaction_energy(head, Eigen::MatrixXd::Zero(3, 1)); }) ==
        "interaction_energy: x has 3 rows, expected d = 2");
  CHECK(refusal([&] { (void)energy_rate(Head<double>{}, x); }) ==
        "energy_rate: V is 0 x 0, expected a square matrix of size at least 1");
  CHECK(refusal([&] { (void)covariance(Eigen::MatrixXd(2, 0)); }) ==
        "covariance: x has no tokens, expected at least one");
  CHECK(refusal([&] { (void)covariance_decay(-1, x); }) ==
        "covariance_decay: t is -1, expected a finite number, at least 0");
  x(0, 1) = 1e200;
  CHECK(refusal([&] { (void)interaction_energy(head, x); }) ==
        "interaction_energy: the scores of query 1 have the log-normaliser inf, expected a finite number");
  CHECK(refusal([&] { (void)covariance(x); }) ==
        "covariance: entry (0, 0) is inf, expected tokens within 10^154");
  x(0, 1) = 1e154;
  CHECK(refusal([&] { (void)covariance_decay(10, x); }) ==
        "covariance_decay: t C overflows at t = 10, expected smaller tokens");
  x(0, 1) = std::nan("");
  CHECK(refusal([&] { (void)energy_rate(head, x); }) ==
        "energy_rate: token 1 of x is (nan   0), expected finite numbers");
  CHECK(refusal([&] { (void)covariance(x); }) ==
        "covariance: token 1 of x is (nan   0), expected finite numbers");
}
