// Tokens with moving masses: their equation, the energy that they ascend, and solutions that are known.
#include <attnflow/attention/biases/token_masses.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/fisher_rao.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"
#include "velocity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

namespace {

using attnflow::FisherRaoOptions;
using attnflow::Head;
using attnflow::Tokens;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;
using Dynamics = attnflow::FisherRaoDynamics<double>;

Matrix on_sphere(Matrix x) {
  x.colwise().normalize();
  return x;
}
Vector random_masses(std::mt19937_64& generator, Index n) {
  return Vector::NullaryExpr(n, [&](Index) { return 0.1 + unit(generator); });
}

/// The velocities of tokens and of log-masses, by double loops.
Wide definition(const FisherRaoOptions& o, const Wide& s) {
  const Index d = s.rows() - 1, n = s.cols();
  const Real beta = static_cast<Real>(o.beta), sign = o.repulsive ? -1 : 1;
  Wide m(1, n), F = Wide::Zero(1, n), v = Wide::Zero(d + 1, n);
  Real total = 0;
  for (Index i = 0; i < n; ++i) total += m(i) = std::exp(s(d, i));
  m /= total;
  for (Index i = 0; i < n; ++i) {
    Real Z = 0, along = 0, size = 0;
    for (Index j = 0; j < n; ++j) {
      Real product = -1;
      for (Index c = 0; c < d; ++c) product += s(c, i) * s(c, j);
      const Real k = std::exp(beta * product);
      F(i) += m(j) * (beta == 0 ? product : (k - 1) / beta);
      Z += m(j) * k;
      for (Index c = 0; c < d; ++c) v(c, i) += sign * m(j) * k * s(c, j);
    }
    for (Index c = 0; c < d; ++c) along += s(c, i) * v(c, i), size += s(c, i) * s(c, i);
    for (Index c = 0; c < d; ++c) v(c, i) = (v(c, i) - along / size * s(c, i)) / (o.normalized ? Z : 1);
  }
  Real mean = 0;
  for (Index j = 0; j < n; ++j) mean += m(j) * F(j);
  for (Index i = 0; i < n; ++i) v(d, i) = sign * static_cast<Real>(o.rate) * (F(i) - mean);
  return v;
}

/// A run to `to`, watched.
template <class Watch>
Matrix run(const Dynamics& field, Matrix s, double to, Watch&& watch) {
  const auto report =
      attnflow::integrate(field, attnflow::DormandPrince5<Matrix>{}, s, attnflow::AdaptiveSteps{.to = to},
                          [&](double t, const Matrix& x) { watch(t, x); });
  REQUIRE(report.outcome == attnflow::Outcome::reached_end);
  return s;
}

}  // namespace

TEMPLATE_TEST_CASE("tokens and masses move as their equations say", "[systems][fisher_rao]", float, double) {
  std::mt19937_64 generator(140);
  using Field = attnflow::FisherRaoDynamics<TestType>;
  for (const Index d : {1, 2, 5})
    for (const double beta : {0.0, 0.7, 6.0})
      for (const int kind : {0, 1, 2}) {
        CAPTURE(d, beta, kind);
        const FisherRaoOptions options{beta, 1.3, kind == 1, kind == 2};
        const Matrix x = on_sphere(random(d, 9, generator));
        const Tokens<TestType> s =
            Field::state(x.cast<TestType>(), random_masses(generator, 9).cast<TestType>());
        // Tokens are unit to ε, and scores known to d ε: β times that, in sums of weight 1.
        const Real bound =
            20 * static_cast<Real>((1 + beta) * static_cast<double>(d + 9)) * reference::epsilon<TestType>;
        CHECK(reference::excess(wide(velocity(Field(options), 0, s)), definition(options, wide(s)), bound) <=
              1);
      }
  using Long = attnflow::FisherRaoDynamics<long double>;
  const Tokens<long double> two = Wide::Identity(2, 2), pair = Long::state(two, Wide::Ones(2, 1));
  CHECK(reference::excess(velocity(Long(), 0, pair), definition({}, pair),
                          10 * reference::epsilon<long double>) <= 1);
  const attnflow::FisherRaoDynamics<TestType, 3> fixed;
  const Matrix x = on_sphere(random(3, 6, generator));
  const Tokens<TestType, 4> s = fixed.state(x.cast<TestType>(), Vector::Ones(6).cast<TestType>());
  CHECK((velocity(fixed, 0, s) - velocity(Field(), 0, s)).cwiseAbs().maxCoeff() <=
        10 * std::numeric_limits<TestType>::epsilon());
}

TEST_CASE("masses at rest are those of ordinary attention", "[systems][fisher_rao]") {
  std::mt19937_64 generator(141);
  const Matrix x = on_sphere(random(3, 10, generator));
  const double beta = 2;
  const Matrix s = Dynamics::state(x, Vector::Constant(10, 7));
  const attnflow::SphereDynamics usa(Head<double>::identity(3), attnflow::Unnormalized{beta, true});
  const attnflow::SphereDynamics sa(Head<double>::identity(3), attnflow::Softmax{beta});
  const Matrix u = velocity(Dynamics({.beta = beta, .rate = 0}), 0, s),
               v = velocity(Dynamics({.beta = beta, .rate = 0, .normalized = true}), 0, s);
  CHECK((u.topRows(3) - velocity(usa, 0, x)).cwiseAbs().maxCoeff() <= 1e-15);
  CHECK((v.topRows(3) - velocity(sa, 0, x)).cwiseAbs().maxCoeff() <= 1e-15);
  CHECK(u.row(3).isZero(0));
  // Of any masses: those of a bias.
  const Vector m = random_masses(generator, 10);
  const attnflow::SphereDynamics weighted(Head<double>::identity(3), attnflow::Softmax{beta},
                                          attnflow::NoMask{}, attnflow::TokenMasses{{m.begin(), m.end()}});
  const Matrix w =
      velocity(Dynamics({.beta = beta, .rate = 0, .normalized = true}), 0, Dynamics::state(x, m));
  CHECK((w.topRows(3) - velocity(weighted, 0, x)).cwiseAbs().maxCoeff() <= 1e-15);
}

TEST_CASE("a token of twice the mass is two tokens", "[systems][fisher_rao]") {
  std::mt19937_64 generator(142);
  const Matrix three = on_sphere(random(3, 3, generator));
  Matrix four(3, 4);
  four << three.col(0), three;
  for (const bool normalized : {false, true}) {
    const Dynamics field({.beta = 3, .rate = 0.8, .normalized = normalized});
    const auto nothing = [](double, const Matrix&) {};
    const Matrix one = run(field, Dynamics::state(three, Eigen::Vector3d(2, 1, 3)), 4, nothing),
                 two = run(field, Dynamics::state(four, Eigen::Vector4d(1, 1, 1, 3)), 4, nothing);
    CHECK((Dynamics::tokens(two).rightCols(3) - Dynamics::tokens(one)).cwiseAbs().maxCoeff() <= 1e-7);
    const Vector m = Dynamics::masses(one), n = Dynamics::masses(two);
    CHECK(n(0) == n(1));
    CHECK(n(0) + n(1) == Approx(m(0)).epsilon(1e-7));  // steps of relative error 1e-9
    CHECK(n(3) == Approx(m(2)).epsilon(1e-7));
  }
}

TEST_CASE("opposite tokens rest, and the heavier takes the mass by a known law", "[systems][fisher_rao]") {
  // λ = log(m₁/m₂) obeys λ' = c κ tanh(λ/2), κ = (1 − e^{−2β})/β: sinh(λ/2) grows like e^{cκt/2}.
  const double beta = 1.5, rate = 2, T = 6, kappa = (1 - std::exp(-2 * beta)) / beta;
  for (const Index d : {1, 3}) {
    Matrix x = Matrix::Zero(d, 2);
    x(0, 0) = 1, x(0, 1) = -1;
    const Matrix s = run(Dynamics({.beta = beta, .rate = rate}),
                         Dynamics::state(x, Eigen::Vector2d(0.6, 0.4)), T, [](double, const Matrix&) {});
    CHECK(Dynamics::tokens(s) == x);
    const double start = std::log(1.5);
    const double expected = 2 * std::asinh(std::sinh(start / 2) * std::exp(rate * kappa * T / 2));
    CHECK(s(d, 0) - s(d, 1) == Approx(expected).epsilon(1e-7));
    CHECK(Dynamics::masses(s)(1) == Approx(1 / (1 + std::exp(expected))).epsilon(1e-6));
  }
}

TEST_CASE("the energy changes as the metric says, one way, and all mass comes together",
          "[systems][fisher_rao]") {
  std::mt19937_64 generator(143);
  const Index d = 3, n = 12;
  const Matrix start = Dynamics::state(on_sphere(random(d, n, generator)), random_masses(generator, n));
  for (const int kind : {0, 1, 2, 3}) {
    const FisherRaoOptions options{
        .beta = 2, .rate = 1.7, .normalized = kind % 2 == 1, .repulsive = kind >= 2};
    CAPTURE(options.normalized, options.repulsive);
    const Dynamics field(options);
    const double sign = options.repulsive ? -1 : 1;
    const Matrix ds = velocity(field, 0, start);
    const Vector m = Dynamics::masses(start);
    double expected = 0;
    for (Index i = 0; i < n; ++i) {
      double Z = 0;
      for (Index j = 0; j < n; ++j)
        Z += m(j) * std::exp(options.beta * (start.col(i).head(d).dot(start.col(j).head(d)) - 1));
      expected += m(i) * ((options.normalized ? Z : 1) * ds.col(i).head(d).squaredNorm() +
                          ds(d, i) * ds(d, i) / options.rate);
    }
    const double h = 1e-5;
    CHECK((field.energy(start + h * ds) - field.energy(start - h * ds)) / (2 * h) ==
          Approx(sign * expected).epsilon(1e-8));  // h² and ε/h
    double last = field.energy(start), wrong_way = 0, lost = 0, drift = 0;
    const Matrix end = run(field, start, 40, [&](double, const Matrix& s) {
      wrong_way = std::max(wrong_way, sign * (last - field.energy(s)));
      last = field.energy(s);
      lost = std::max(lost, std::abs(Dynamics::masses(s).sum() - 1));
      drift = std::max(drift, (Dynamics::tokens(s).colwise().norm().array() - 1).abs().maxCoeff());
      CHECK(Dynamics::masses(s).minCoeff() > 0);
    });
    CHECK(wrong_way <= 1e-8);  // of rtol 1e-9
    CHECK(lost <= 1e-15);
    CHECK(drift <= 1e-6);                          // some hundred steps of 1e-9
    if (!options.repulsive) CHECK(last >= -1e-6);  // of the largest energy, 0: one cluster
  }
}

TEST_CASE("extreme masses, temperatures and distances", "[systems][fisher_rao]") {
  std::mt19937_64 generator(144);
  const Matrix x = on_sphere(random(3, 6, generator));
  for (const bool normalized : {false, true})
    for (const double beta : {0.0, 1.0, 1e6, 1e300}) {
      CAPTURE(normalized, beta);
      Matrix s = Dynamics::state(x, Vector::Ones(6));
      s.row(3) << -2000, 0, 3000, 1, -1e6, 5;
      const Dynamics field({.beta = beta, .rate = 1, .normalized = normalized});
      CHECK(velocity(field, 0, s).allFinite());
      CHECK(std::isfinite(field.energy(s)));
      CHECK(Dynamics::masses(s).sum() == 1);
      CHECK(velocity(field, 0, Matrix(4, 0)).cols() == 0);
      CHECK(velocity(field, 0, s.col(0)).isZero(0));  // alone
    }
  // Tokens 1e-9 apart: velocities of that size, log-masses of its square, both to a few digits less than all.
  Matrix close(2, 3);
  const double e = 1e-9;
  close << 1, 1, 1, 0, e, 3 * e;
  const Matrix s = Dynamics::state(close, Eigen::Vector3d(1, 2, 1));
  const Matrix v = velocity(Dynamics({.beta = 1, .rate = 1}), 0, s);
  const double toward = 0.25 * 0 + 0.5 * e + 0.25 * 3 * e;  // the mean place
  CHECK(v(1, 0) == Approx(toward).epsilon(1e-12));
  CHECK(v(1, 2) == Approx(toward - 3 * e).epsilon(1e-12));
  const double F[3] = {-(0.5 + 0.25 * 9) / 2, -(0.25 + 0.25 * 4) / 2, -(0.25 * 9 + 0.5 * 4) / 2};
  const double mean = 0.25 * F[0] + 0.5 * F[1] + 0.25 * F[2];
  for (Index i = 0; i < 3; ++i) CHECK(v(2, i) == Approx(e * e * (F[i] - mean)).epsilon(1e-12));
}

TEST_CASE("moving masses refuse what they cannot be", "[systems][fisher_rao]") {
  using Catch::Matchers::ContainsSubstring;
  const auto check = [](const auto& call, const std::string& words) {
    CHECK_THAT(refusal(call), ContainsSubstring(words));
  };
  check([] { Dynamics f({.beta = -1}); },
        "FisherRaoOptions::beta is -1, expected a finite number, at least 0");
  check([] { Dynamics f({.rate = std::numeric_limits<double>::infinity()}); },
        "FisherRaoOptions::rate is inf");
  check([] { attnflow::FisherRaoDynamics<float> f({.beta = 1e300}); },
        "FisherRaoDynamics: beta is 1e+300 and rate 1, expected numbers finite as those of the tokens' type");
  const Matrix I = Matrix::Identity(2, 2);
  check([&] { (void)Dynamics::state(I, Vector::Ones(3)); },
        "there are 3 masses, expected 2, as there are tokens");
  check([&] { (void)Dynamics::state(I, Eigen::Vector2d(1, 0)); }, "FisherRaoDynamics::state: mass 1 is 0");
  check([&] { (void)Dynamics::state(I, Eigen::Vector2d(std::numeric_limits<double>::infinity(), 1)); },
        "mass 0 is inf");
  check([&] { (void)Dynamics::state(2 * I, Vector::Ones(2)); }, "token 0 has norm 2, expected 1");
  check([&] { (void)Dynamics::state(I / 0.0, Vector::Ones(2)); }, "token 0 has norm");
  check([&] { (void)Dynamics::state(Matrix(0, 1), Vector::Ones(1)); }, "tokens have no rows");
}
