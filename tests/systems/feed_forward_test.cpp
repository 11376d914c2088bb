#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/feed_forward.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"
#include "velocity.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::FeedForward;
using attnflow::Gelu;
using attnflow::Head;
using attnflow::Identity;
using attnflow::Relu;
using attnflow::RescaledDynamics;
using attnflow::Tanh;
using attnflow::TokenDynamics;
using attnflow::Tokens;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;
using Matrix = Eigen::MatrixXd;

Real phi(Real y) { return std::erfc(-y / std::sqrt(Real(2))) / 2; }

/// A sawtooth of a user: no slope is named.
struct Fractional {
  double operator()(double y) const { return y - std::floor(y); }
};

/// A field of a user without a dimension or a largest step: ẋ = x.
struct Growth {
  using State = Tokens<double, 2>;
  void operator()(double /*t*/, const State& x, State& dx) const { dx = x; }
};

template <class Scalar, int Dim, class Sigma>
void check_definition(Index d, const std::function<Real(Real)>& sigma, std::mt19937_64& generator) {
  using System = RescaledDynamics<Scalar, Dim>;
  using Field = FeedForward<System, Sigma>;
  const Index n = 9;
  const double t = 0.4;
  const Head<Scalar, Dim> head = random_head<Scalar, Dim>(generator, d);
  const auto W = reference::random<typename Field::Weights>(generator, d, d);
  const auto b = reference::random<typename Field::BiasVector>(generator, d, 1);
  const auto c = reference::random<typename Field::BiasVector>(generator, d, 1);
  const auto z = reference::random<typename System::State>(generator, d, n);
  const Field field(System(head), W, Sigma{}, b, c);

  // W σ(V ∑ⱼ Pᵢⱼ (zⱼ − zᵢ) + b) + c from the definition of P, with long double throughout.
  const Wide E = reference::exponential(wide(head.V) * static_cast<Real>(t)), Z = wide(z);
  const auto P = reference::attention(wide(head.Q), wide(head.K), 1, E, E.cwiseAbs(), Z);
  Wide expected = wide(c).replicate(1, n);
  for (Index i = 0; i < n; ++i) {
    const Wide y = wide(head.V) * reference::displacements(P, Z).col(i);
    for (Index row = 0; row < d; ++row)
      for (Index k = 0; k < d; ++k)
        expected(row, i) += static_cast<Real>(W(row, k)) * sigma(y(k, 0) + static_cast<Real>(b(k)));
  }
  // Sums of d numbers of size at most |V| |z| d; the weights carry the errors of scores of size d² and of
  // e^{tV}.
  const Real bound = 40 * static_cast<Real>(d * d * d) * reference::epsilon<Scalar>;
  CHECK(reference::excess(wide(velocity(field, t, z)), expected, bound) <= 1);
  CHECK(field.attention(t, z) == field.system().attention(t, z));
  CHECK(field.dim() == d);
}

}  // namespace

TEMPLATE_TEST_CASE("the feed-forward drift is its double loop", "[systems][feed_forward]", float, double) {
  std::mt19937_64 generator(90);
  const std::function<Real(Real)> relu = [](Real y) { return std::max(y, Real(0)); },
                                  tanh = [](Real y) { return std::tanh(y); },
                                  gelu = [](Real y) { return y * phi(y); }, id = [](Real y) { return y; };
  for (const Index d : {1, 3, 12}) {
    CAPTURE(d);
    check_definition<TestType, Eigen::Dynamic, Relu>(d, relu, generator);
    check_definition<TestType, Eigen::Dynamic, Tanh>(d, tanh, generator);
    check_definition<TestType, Eigen::Dynamic, Gelu>(d, gelu, generator);
    check_definition<TestType, Eigen::Dynamic, Identity>(d, id, generator);
  }
  check_definition<TestType, 2, Relu>(2, relu, generator);
}

TEST_CASE("activations at the ends of their range", "[systems][feed_forward]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(Relu{}(-inf) == 0);
  CHECK(Relu{}(inf) == inf);
  CHECK(std::isnan(Relu{}(nan)));
  CHECK(Tanh{}(inf) == 1);
  CHECK(Gelu{}(-inf) == 0);
  CHECK(Gelu{}(inf) == inf);
  CHECK(Gelu{}(0.0) == 0);
  // Relative to its size where 1 + erf(y / √2) would have cancelled: a relative error ε of the argument is
  // one of about y² ε in the tail.
  for (const double y : {-30.0, -9.0, -1.0, 0.25, 4.0}) {
    const Real exact = static_cast<Real>(y) * phi(static_cast<Real>(y));
    CHECK(std::abs(static_cast<Real>(Gelu{}(y)) / exact - 1) <=
          static_cast<Real>(8 + 2 * y * y) * reference::epsilon<double>);
  }
  // The slope named bounds every difference quotient, and is nearly attained.
  double most = 0;
  for (double y = -6; y < 6; y += 1e-3) most = std::max(most, (Gelu{}(y + 1e-3) - Gelu{}(y)) / 1e-3);
  CHECK(most <= Gelu::slope * (1 + 1e-12));
  CHECK(most >= Gelu::slope * (1 - 1e-6));
}

TEMPLATE_TEST_CASE("W = I and σ = id are the system itself, to the bits", "[systems][feed_forward]", float,
                   double) {
  std::mt19937_64 generator(91);
  using State = Tokens<TestType>;
  for (const Index d : {1, 2, 5, 11})
    for (const Index n : {0, 1, 13}) {
      CAPTURE(d, n);
      const auto head = random_head<TestType>(generator, d);
      const State z = reference::random<State>(generator, d, n);
      const State I = State::Identity(d, d);
      for (const double t : {0.0, 1.0, 40.0}) {
        const RescaledDynamics<TestType> rescaled(head);
        CHECK(velocity(FeedForward(rescaled, I, Identity{}), t, z) == velocity(rescaled, t, z));
        // One part at a time: σ, a bias inside, a bias outside.
        const State v = velocity(rescaled, t, z);
        const Eigen::Matrix<TestType, Eigen::Dynamic, 1> none,
            bias = reference::random<Eigen::Matrix<TestType, Eigen::Dynamic, 1>>(generator, d, 1);
        const State shifted = v.colwise() + bias;
        CHECK(velocity(FeedForward(rescaled, I, Relu{}), t, z) == v.cwiseMax(TestType(0)));
        CHECK(velocity(FeedForward(rescaled, I, Relu{}, bias), t, z) == shifted.cwiseMax(TestType(0)));
        CHECK(velocity(FeedForward(rescaled, I, Identity{}, none, bias), t, z) == shifted);
      }
      const TokenDynamics<TestType> tokens(head);
      CHECK(velocity(FeedForward(tokens, I, Identity{}), 0, z) == velocity(tokens, 0, z));
      CHECK(velocity(FeedForward(tokens, I, Tanh{}), 0, z).cwiseAbs().sum() <= static_cast<TestType>(d * n));
    }
}

TEST_CASE("relabelling tokens commutes with a feed-forward part, equal tokens stay equal",
          "[systems][feed_forward]") {
  std::mt19937_64 generator(92);
  for (const Index d : {2, 12}) {
    const auto head = random_head<double>(generator, d);
    const FeedForward field(RescaledDynamics<double>(head), random(d, d, generator), Tanh{},
                            Eigen::VectorXd(random(d, 1, generator)),
                            Eigen::VectorXd(random(d, 1, generator)));
    Matrix z = random(d, 15, generator);
    z.col(11) = z.col(3);
    const Matrix v = velocity(field, 0.5, z);
    CHECK(v.col(11) == v.col(3));
    // The sums over tokens run in another order: n roundings of numbers of size d.
    const Matrix reversed = velocity(field, 0.5, z.rowwise().reverse());
    CHECK((reversed - v.rowwise().reverse()).cwiseAbs().maxCoeff() <= 1e-14 * static_cast<double>(d * d));
  }
}

TEST_CASE("what rests in the system rests behind σ(0) = 0, and ReLU moves every coordinate up",
          "[systems][feed_forward]") {
  std::mt19937_64 generator(93);
  Head<double> head = Head<double>::identity(3);
  head.V = Eigen::Vector3d(1, 0.7, 0.4).asDiagonal();
  const RescaledDynamics<double> system(head);
  const Matrix z = random(3, 20, generator);
  const auto late = system.rows(300, z);
  const Matrix v = velocity(FeedForward(system, random(3, 3, generator), Tanh{}), 300, z);
  Index resting = 0;
  for (Index i = 0; i < 20; ++i)
    if (late.largest_key[static_cast<std::size_t>(i)] == i) {
      CHECK(v.col(i).isZero(0));
      ++resting;
    }
  CHECK(resting >= 1);
  CHECK(
      velocity(FeedForward(system, random(3, 3, generator), Gelu{}), 1, z.col(0).replicate(1, 5)).isZero(0));

  // The driver takes the field, and its largest step: none of its steps is longer.
  Matrix state = z, before = z;
  const FeedForward field(system, 2 * Matrix::Identity(3, 3), Relu{});
  double last = 0, longest = 0, fall = 0;
  const auto report = attnflow::integrate(field, attnflow::DormandPrince5<Matrix>{}, state,
                                          attnflow::AdaptiveSteps{.to = 10}, [&](double t, const Matrix& x) {
                                            longest = std::max(longest, t - last);
                                            fall = std::max(fall, (before - x).maxCoeff());
                                            last = t;
                                            before = x;
                                          });
  CHECK(report.outcome == attnflow::Outcome::reached_end);
  CHECK(longest <= 0.5 * (1 + 1e-12));
  CHECK(fall <= 1e-8);  // of rtol 1e-9: the method's weights are not all positive
  CHECK((state - z).maxCoeff() > 0.1);
}

TEST_CASE("the largest step passes through, less the growth of σ and W", "[systems][feed_forward]") {
  const RescaledDynamics<double> system(Head<double>::with_value(-4 * Matrix::Identity(2, 2)));
  const Matrix I = Matrix::Identity(2, 2);
  CHECK(FeedForward(system, I, Identity{}).max_step() == 0.25);
  CHECK(FeedForward(system, I, Relu{}).max_step() == 0.25);
  CHECK(FeedForward(system, 2 * I, Tanh{}).max_step() == Approx(0.125));
  CHECK(FeedForward(system, I, Gelu{}).max_step() == Approx(0.25 / 1.1289041451));
  CHECK(FeedForward(system, Matrix::Zero(2, 2), Relu{}).max_step() ==
        std::numeric_limits<double>::infinity());
  // ‖W‖ = 5 for the rank one matrix (3, 4)ᵀ (0, 1); the bound √(7 · 4) is a little more.
  const Matrix W = (Matrix(2, 2) << 0, 3, 0, 4).finished();
  CHECK(FeedForward(system, W, Relu{}).max_step() == Approx(0.25 / std::sqrt(28.0)));
  static_assert(attnflow::StepBoundedField<FeedForward<RescaledDynamics<double>, Relu>>);
  static_assert(!attnflow::StepBoundedField<FeedForward<RescaledDynamics<double>, Fractional>>);
  static_assert(!attnflow::StepBoundedField<FeedForward<TokenDynamics<double>, Relu>>);
  static_assert(attnflow::VectorField<FeedForward<Growth, Fractional>>);
  const Tokens<double, 2> x = (Tokens<double, 2>(2, 1) << 1.25, -0.5).finished();
  CHECK(velocity(FeedForward(Growth{}, Eigen::Matrix2d::Identity().eval(), Fractional{}), 0, x) ==
        Eigen::Vector2d(0.25, 0.5));
}

TEST_CASE("a feed-forward part refuses what does not fit", "[systems][feed_forward]") {
  using Catch::Matchers::ContainsSubstring;
  const RescaledDynamics<double> system(Head<double>::identity(2));
  const auto refused = [&](const Matrix& W, const Eigen::VectorXd& b, const Eigen::VectorXd& c) {
    return refusal([&] { FeedForward field(system, W, Relu{}, b, c); });
  };
  const Matrix I = Matrix::Identity(2, 2);
  const Eigen::VectorXd none;
  CHECK(refused(I, none, none) == "nothing was refused");
  CHECK_THAT(refused(Matrix::Ones(2, 3), none, none),
             ContainsSubstring("FeedForward: W is 2 x 3, expected a square"));
  CHECK_THAT(refused(Matrix::Ones(3, 3), none, none),
             ContainsSubstring("FeedForward: W is 3 x 3, expected 2 x 2"));
  CHECK_THAT(refused(Matrix(0, 0), none, none), ContainsSubstring("W is 0 x 0"));
  CHECK_THAT(refused(I / 0.0, none, none), ContainsSubstring("W has an entry that is not finite"));
  CHECK_THAT(refused(I, Eigen::VectorXd::Ones(3), none),
             ContainsSubstring("FeedForward: bias_inside has 3 entries, expected none or 2"));
  CHECK_THAT(refused(I, none, Eigen::VectorXd::Ones(1)), ContainsSubstring("bias_outside has 1 entries"));
  CHECK_THAT(refused(I, none, Eigen::VectorXd::Constant(2, std::nan(""))),
             ContainsSubstring("bias_outside has an entry that is not finite"));
}
