#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"
#include "velocity.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::MatrixExponential;
using attnflow::RescaledDynamics;
using attnflow::Softmax;
using attnflow::TokenDynamics;
using attnflow::Tokens;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;
using Matrix = Eigen::MatrixXd;

struct Spectrum {
  std::string name;
  Matrix V;
};

/// A 3 × 3 value matrix of every kind.
std::vector<Spectrum> spectra() {
  const Matrix R = orthogonal(3);
  const auto diagonal = [](double a, double b, double c) {
    return Matrix(Eigen::Vector3d(a, b, c).asDiagonal());
  };
  const Matrix pair = (Matrix(3, 3) << 0.5, -2, 0, 2, 0.5, 0, 0, 0, -1).finished();
  const Matrix jordan = (Matrix(3, 3) << 1, 1, 0, 0, 1, 1, 0, 0, 1).finished();
  const Matrix defective = (Matrix(3, 3) << 0.5, 1, 0, 0, 0.5, 0, 0, 0, -1).finished();
  const Matrix nilpotent = (Matrix(3, 3) << 0, 1, 0, 0, 0, 1, 0, 0, 0).finished();
  return {{"identity", Matrix::Identity(3, 3)},
          {"positive", diagonal(1, 0.5, 0.25)},
          {"mixed", diagonal(1, 1, -0.5)},
          {"rotated mixed", R * diagonal(1, 1, -0.5) * R.transpose()},
          {"rotated positive", R * diagonal(1, 0.5, 0.25) * R.transpose()},
          {"complex pair", pair},
          {"rotated complex pair", R * pair * R.transpose()},
          {"Jordan", jordan},
          {"rotated Jordan", R * jordan * R.transpose()},
          {"defective", defective},
          {"nilpotent", nilpotent},
          {"zero", Matrix::Zero(3, 3)},
          {"minus identity", -Matrix::Identity(3, 3)},
          {"skew", (Matrix(3, 3) << 0, 1, -2, -1, 0, 0.5, 2, -0.5, 0).finished()}};
}

}  // namespace

TEMPLATE_TEST_CASE("the rescaled drift is its double loop", "[systems][rescaled]", float, double) {
  std::mt19937_64 generator(60);
  constexpr Real eps = reference::epsilon<TestType>;
  using H = Head<TestType>;
  for (const Index d : {1, 2, 3, 4, 5, 17})
    for (const Index n : {0, 1, 2, 30})
      for (const double t : {0.0, 0.4, 1.0, -0.7})
        for (const double beta : {1.0, -0.5}) {
          CAPTURE(d, n, t, beta);
          const H head{
              reference::random<typename H::Projection>(generator, d + 1, d),
              reference::random<typename H::Projection>(generator, d + 1, d),
              reference::random<typename H::Square>(generator, d, d) / std::sqrt(static_cast<TestType>(d))};
          const RescaledDynamics<TestType> field(head, Softmax{beta});
          const auto z = reference::random<Tokens<TestType>>(generator, d, n);
          const Wide V = wide(head.V), Z = wide(z), E = reference::exponential(V * static_cast<Real>(t));
          const auto a = reference::attention(wide(head.Q), wide(head.K), static_cast<Real>(beta), E,
                                              Wide::Constant(d, d, reference::largest(E)), Z);
          const Real flow_eps = reference::epsilon<double> * static_cast<Real>(8 * (d + 10)) *
                                (1 + std::abs(static_cast<Real>(t)) * reference::one_norm(V));
          const Wide sums = reference::displacements(a, Z);
          const Wide bound = reference::product_bound(
              V, sums, reference::sum_bound(a, Z, true, eps, 4 * d + 1, flow_eps), eps);
          CHECK(reference::excess(wide(velocity(field, t, z)), V * sums, bound) <= 1);
          CHECK(reference::excess(wide(field.attention(t, z)), a.P, a.bound(eps, 4 * d + 1, flow_eps)) <= 1);
          CHECK(reference::excess(wide(field.log_attention(t, z)), a.log_P,
                                  a.log_bound(eps, 4 * d + 1, flow_eps) + eps * a.log_P.cwiseAbs()) <= 1);
          const auto rows = field.rows(t, z);
          Real most = 0;
          for (Index i = 0; i < n; ++i) {
            const Real unit = static_cast<Real>(4 * d + 9) * eps + 2 * flow_eps;
            const auto k = static_cast<std::size_t>(i);
            Real mean = 0;
            for (Index l = 0; l < n; ++l) mean += a.P(i, l) * a.condition(i, l);
            most = std::max(most,
                            std::abs(static_cast<Real>(rows.log_normalizer[k]) - a.log_normalizer[k]) /
                                (unit * (a.normalizer_condition[k] + mean) + static_cast<Real>(n + 8) * eps));
          }
          CHECK(most <= 1);
        }
}

TEMPLATE_TEST_CASE("the identity: żᵢ is the mean of e^{2t}-weighted tokens less zᵢ", "[systems][rescaled]",
                   float, double) {
  std::mt19937_64 generator(61);
  constexpr Real eps = reference::epsilon<TestType>;
  const auto z = reference::random<Tokens<TestType, 3>>(generator, 3, 25);
  const auto head = Head<TestType, 3>::identity();
  for (const double t : {0.0, 1.0, 3.0}) {
    const Wide E = Wide::Identity(3, 3) * std::exp(static_cast<Real>(t));
    const auto a = reference::attention(wide(head.Q), wide(head.K), 1, E, E, wide(z));
    const Wide expected = reference::displacements(a, wide(z));
    CHECK(reference::excess(wide(velocity(RescaledDynamics<TestType, 3>(head), t, z)), expected,
                            2 * reference::sum_bound(a, wide(z), true, eps, 6)) <= 1);
  }
  // One token, and tokens that are all equal, rest exactly, at any time and for any V.
  for (const auto& [name, V] : spectra())
    for (const double t : {0.0, 5.0, 1e6, -5.0}) {
      Head<TestType, 3> general = head;
      general.V = V.template cast<TestType>();
      const Tokens<TestType, 3> equal = z.col(0).replicate(1, 9);
      CHECK(velocity(RescaledDynamics<TestType, 3>(general), t, equal).isZero(0));
      CHECK(
          velocity(RescaledDynamics<TestType, 3>(general), t, Tokens<TestType, 3>(z.leftCols(1))).isZero(0));
    }
}

TEST_CASE("x and z have the same attention matrix, and velocities that convert", "[systems][rescaled]") {
  // P(x) at x = e^{tV} z is P(t, z), and ẋ = e^{tV} (ż + V z).
  std::mt19937_64 generator(62);
  constexpr Real eps = reference::epsilon<double>;
  using H = Head<double>;
  for (const Index d : {1, 2, 3, 6, 12})
    for (const double t : {0.0, 0.3, 1.0, -1.0, 2.0}) {
      CAPTURE(d, t);
      const H head{reference::random<H::Projection>(generator, d, d),
                   reference::random<H::Projection>(generator, d, d),
                   reference::random<H::Square>(generator, d, d) / std::sqrt(static_cast<double>(d))};
      const RescaledDynamics<double> rescaled(head);
      const TokenDynamics<double> plain(head);
      const auto z = reference::random<Tokens<double>>(generator, d, 20);
      const Tokens<double> x = unrescale(rescaled.exponential(), t, z);
      const Wide E = reference::exponential(wide(head.V) * static_cast<Real>(t));
      const Real size = reference::largest(E);
      const auto a =
          reference::attention(wide(head.Q), wide(head.K), 1, E, Wide::Constant(d, d, size), wide(z));
      const Real flow_eps = eps * static_cast<Real>(8 * (d + 10)) *
                            (1 + std::abs(static_cast<Real>(t)) * reference::one_norm(wide(head.V)));
      const Wide P_bound = 3 * a.bound(eps, 6 * d, flow_eps);
      CHECK(reference::excess(wide(plain.attention(t, x)), wide(rescaled.attention(t, z)), P_bound) <= 1);

      const Wide converted = E * (wide(velocity(rescaled, t, z)) + wide(head.V) * wide(z));
      const Wide velocity_bound =
          Wide::Constant(d, 20, size) * reference::largest(wide(head.V).cwiseAbs().rowwise().sum());
      const Real error = reference::largest(reference::sum_bound(a, wide(z), false, eps, 6 * d, flow_eps)) +
                         flow_eps * static_cast<Real>(d);
      CHECK(reference::excess(wide(velocity(plain, t, x)), converted,
                              static_cast<Real>(4 * d) * error * velocity_bound) <= 1);
    }
}

TEMPLATE_TEST_CASE("rescaling there and back", "[systems][rescaled]", float, double) {
  std::mt19937_64 generator(63);
  for (const auto& [name, V] : spectra())
    for (const double t : {0.0, 0.5, -2.0, 3.0})
      for (const TestType size : {TestType(1), std::numeric_limits<TestType>::max() / 1000000,
                                  std::numeric_limits<TestType>::min() * 1000000}) {
        CAPTURE(name, t, size);
        const MatrixExponential<> exponential(V);
        const Tokens<TestType> x = reference::random<Tokens<TestType>>(generator, 3, 6) * size;
        const Wide expected = reference::exponential(wide(V) * static_cast<Real>(-t)) * wide(x);
        const Wide back = reference::exponential(wide(V) * static_cast<Real>(t));
        const Real there = reference::one_norm(reference::exponential(wide(V) * static_cast<Real>(-t)));
        // The exponential to double's roundings, times its condition there and back, and one rounding to Scalar each way.
        const Real unit = 400 * reference::epsilon<double> *
                              (1 + std::abs(static_cast<Real>(t)) * reference::one_norm(wide(V))) +
                          reference::epsilon<TestType>;
        const auto z = rescale(exponential, t, x);
        CHECK(reference::excess(wide(z), expected, 3 * unit * there * static_cast<Real>(size)) <= 1);
        CHECK(reference::excess(wide(unrescale(exponential, t, z)), wide(x),
                                9 * unit * there * reference::one_norm(back) * static_cast<Real>(size)) <= 1);
      }
  // Beyond the range: infinities of the right sign, zeros, never NaN.
  const MatrixExponential<> growth(Matrix::Identity(2, 2));
  Tokens<TestType> x(2, 2);
  x << 1, -2, 0, 3;
  const TestType inf = std::numeric_limits<TestType>::infinity();
  CHECK(unrescale(growth, 1e5, x) == (Tokens<TestType>(2, 2) << inf, -inf, 0, inf).finished());
  CHECK(rescale(growth, 1e5, x).isZero(0));
  CHECK(unrescale(growth, 1e5, Tokens<TestType>(2, 0)).cols() == 0);
  // What was not finite stays so, quietly.
  x(0, 0) = inf;
  CHECK_FALSE(rescale(growth, 1, x).allFinite());
  x(0, 0) = std::numeric_limits<TestType>::quiet_NaN();
  CHECK_FALSE(rescale(growth, 1, x).allFinite());
}

TEMPLATE_TEST_CASE("the rescaled drift is never NaN for finite input, whatever V and t",
                   "[systems][rescaled]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  std::mt19937_64 generator(64);
  const TestType root = std::sqrt(Limits::max());
  const Tokens<TestType, 3> plain = reference::random<Tokens<TestType, 3>>(generator, 3, 13);
  for (const auto& [name, V] : spectra())
    for (const TestType weight : {TestType(1), Limits::max() / 8, Limits::min(), root})
      for (const TestType size :
           {TestType(1), root, 1 / root, Limits::denorm_min() * 50, TestType(0), Limits::max()}) {
        Head<TestType, 3> head = Head<TestType, 3>::identity();
        head.V = V.template cast<TestType>() * weight;
        const RescaledDynamics<TestType, 3> field(head);
        Tokens<TestType, 3> z = plain * size;
        z.col(4) = z.col(2);
        z.col(5).setZero();
        z.col(6).setConstant(size), z.col(7).setConstant(-size);
        for (const double t : {0.0, 1.0, 30.0, 300.0, 1e4, 1e6, -5.0}) {
          CAPTURE(name, weight, size, t);
          const auto f = velocity(field, t, z);
          CHECK_FALSE(f.array().isNaN().any());
          // A velocity is at most ‖V‖ times the diameter: finite where that is.
          if (weight <= root && size <= root / 100) CHECK(f.allFinite());
          const auto P = field.attention(t, z);
          CHECK((P.rowwise().sum().array() - 1).abs().maxCoeff() <= 4 * 13 * Limits::epsilon());
          CHECK_FALSE(field.log_attention(t, z).array().isNaN().any());
        }
      }
}

TEMPLATE_TEST_CASE("late in a run leaders rest and followers go straight for them", "[systems][rescaled]",
                   float, double) {
  // Rows are exactly Boolean, so żᵢ = V (z_leader − zᵢ) to a rounding, and a token that leads itself has velocity zero.
  std::mt19937_64 generator(65);
  for (const auto& [name, V] : spectra()) {
    if (name == "zero" || name == "minus identity" || name == "skew" || name == "nilpotent")
      continue;  // scores do not grow
    for (const double t : {300.0, 1e4, 1e6}) {
      CAPTURE(name, t);
      Head<TestType, 3> head = Head<TestType, 3>::identity();
      head.V = V.template cast<TestType>();
      const RescaledDynamics<TestType, 3> field(head);
      const auto z = reference::random<Tokens<TestType, 3>>(generator, 3, 30);
      const auto f = velocity(field, t, z);
      const auto rows = field.rows(t, z);
      const auto P = field.attention(t, z);
      Index leaders = 0;
      for (Index i = 0; i < 30; ++i) {
        const Index leader = rows.largest_key[static_cast<std::size_t>(i)];
        CHECK(P(i, leader) == 1);
        if (leader == i) {
          ++leaders;
          CHECK(f.col(i).isZero(0));
        }
        const Wide step = wide(z.col(leader)) - wide(z.col(i));
        CHECK(reference::excess(
                  wide(f.col(i)), wide(head.V) * step,
                  Wide(6 * reference::epsilon<TestType> * (wide(head.V).cwiseAbs() * step.cwiseAbs()))) <= 1);
      }
      CHECK(leaders >= 1);
    }
  }
}

TEST_CASE("late leaders are those of exact arithmetic", "[systems][rescaled]") {
  // V = diag(1, 1, −1/2): at late times the score is that of the first two coordinates; a near tie there is decided by them.
  std::mt19937_64 generator(66);
  Head<double, 3> head = Head<double, 3>::identity();
  head.V(2, 2) = -0.5;
  Tokens<double, 3> z = reference::random<Tokens<double, 3>>(generator, 3, 40);
  z.row(2) *= 1e100;
  for (const double t : {300.0, 700.0, 1e5}) {
    const auto rows = RescaledDynamics<double, 3>(head).rows(t, z);
    for (Index i = 0; i < 40; ++i) {
      Index leader = 0;
      (wide(z.topRows(2)).transpose() * wide(z.col(i).head(2))).col(0).maxCoeff(&leader);
      CHECK(rows.largest_key[static_cast<std::size_t>(i)] == leader);
    }
  }
}

TEST_CASE("the step limit is one over the spectral radius", "[systems][rescaled]") {
  const auto limit = [](const Matrix& V) {
    return RescaledDynamics<double>(Head<double>::with_value(V)).max_step();
  };
  CHECK(limit(Matrix::Identity(3, 3)) == 1);
  CHECK(limit(-4 * Matrix::Identity(2, 2)) == 0.25);
  CHECK(limit(Matrix(Eigen::Vector3d(1, -2, 0.5).asDiagonal())) == 0.5);
  CHECK(limit((Matrix(2, 2) << 0, -4, 4, 0).finished()) == Approx(0.25).epsilon(2e-3));
  CHECK(limit((Matrix(2, 2) << 0, -4, 4, 0).finished()) <= 0.25 * (1 + 1e-13));
  CHECK(limit(Matrix::Zero(2, 2)) == std::numeric_limits<double>::infinity());
  CHECK(limit((Matrix(2, 2) << 0, 1, 0, 0).finished()) == std::numeric_limits<double>::infinity());
  const Matrix R = orthogonal(3);
  const double mixed = limit(R * Eigen::Vector3d(1, 1, -0.5).asDiagonal() * R.transpose());
  CHECK(mixed <= 1 + 1e-13);
  CHECK(mixed >= std::pow(3, -1.0 / 1024) * (1 - 1e-13));
}

TEST_CASE("the rescaled system refuses what it cannot use", "[systems][rescaled]") {
  using Catch::Matchers::ContainsSubstring;
  Head<double> bad = Head<double>::identity(2);
  bad.V(0, 1) = std::numeric_limits<double>::infinity();
  CHECK_THAT(refusal([&] { RescaledDynamics<double> f(bad); }),
             ContainsSubstring("RescaledDynamics: V has an entry that is not finite"));
  bad = Head<double>::identity(2);
  bad.Q.resize(3, 2);
  bad.Q.setZero();
  CHECK_THAT(refusal([&] { RescaledDynamics<double> f(bad); }),
             ContainsSubstring("RescaledDynamics: K is 2 x 2"));
  CHECK_THAT(refusal([] {
               RescaledDynamics<double> f(Head<double>::identity(2),
                                          Softmax{std::numeric_limits<double>::quiet_NaN()});
             }),
             ContainsSubstring("Softmax::beta"));
  const RescaledDynamics<double> field(Head<double>::identity(2));
  Tokens<double> z = Tokens<double>::Ones(2, 3);
  z(1, 2) = std::numeric_limits<double>::quiet_NaN();
  CHECK(velocity(field, 1, z).array().isNaN().all());
  CHECK_THAT(refusal([&] { static_cast<void>(field.attention(1, z)); }),
             ContainsSubstring("x has an entry that is not finite"));
  CHECK_THAT(refusal([&] { static_cast<void>(field.log_attention(1, z)); }),
             ContainsSubstring("x has an entry that is not finite"));
  CHECK(field.dim() == 2);
}
