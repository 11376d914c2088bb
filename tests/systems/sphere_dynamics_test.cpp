#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/observables/attention/interaction_energy.hpp>
#include <attnflow/reductions/equiangular.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"
#include "velocity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

// Cases tagged [laws] need weights other than softmax over all tokens.

namespace {

using attnflow::AdaptiveSteps;
using attnflow::Causal;
using attnflow::DormandPrince5;
using attnflow::Euler;
using attnflow::FixedSteps;
using attnflow::Generator;
using attnflow::Head;
using attnflow::integrate;
using attnflow::NoMask;
using attnflow::OnSphere;
using attnflow::Outcome;
using attnflow::Softmax;
using attnflow::SphereDynamics;
using attnflow::Tokens;
using attnflow::Unnormalized;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// The weights of one head by their definition.
template <class Law, class Mask, class H>
Wide weights(const H& head, const Law& law, const Mask& mask, const Wide& x) {
  const Index n = x.cols();
  const Wide scores = static_cast<Real>(law.beta) * (wide(head.Q) * x).transpose() * (wide(head.K) * x);
  Wide w = Wide::Zero(n, n);
  for (Index i = 0; i < n; ++i) {
    const auto keys = mask.keys(i, n);
    for (Index j = keys.begin; j < keys.end; ++j) w(i, j) = std::exp(scores(i, j));
    if constexpr (attnflow::detail::rows_sum_to_one<Law>())
      w.row(i) /= w.row(i).sum();
    else
      w.row(i) /= static_cast<Real>(n);
  }
  return w;
}

/// P(xᵢ) ∑ₕ ∑ⱼ wʰᵢⱼ Vₕ xⱼ by double loops, and the largest ‖∑ₕ ∑ⱼ wʰᵢⱼ Vₕ xⱼ‖.
template <class Law, class Mask, class H>
std::pair<Wide, Real> definition(const std::vector<H>& heads, const Law& law, const Mask& mask,
                                 const Wide& x) {
  Wide a = Wide::Zero(x.rows(), x.cols());
  for (const auto& head : heads) a += wide(head.V) * x * weights(head, law, mask, x).transpose();
  const Real size = x.cols() == 0 ? 0 : a.colwise().norm().maxCoeff();
  for (Index i = 0; i < x.cols(); ++i)
    a.col(i) -= (x.col(i).transpose() * a.col(i))(0, 0) / x.col(i).squaredNorm() * x.col(i);
  return {a, size};
}

template <class Scalar, int Dim = Eigen::Dynamic, class Law, class Mask>
void check_definition(const Law& law, const Mask& mask) {
  std::mt19937_64 generator(60);
  for (const Index d : {1, 2, 3, 5, 17}) {
    if (Dim != Eigen::Dynamic && d != Dim) continue;
    for (const Index n : {0, 1, 2, 31})
      for (const std::size_t count : {1U, 3U}) {
        CAPTURE(d, n, count, law.beta);
        std::vector<Head<Scalar, Dim>> heads;
        for (std::size_t h = 0; h < count; ++h) heads.push_back(random_head<Scalar, Dim>(generator, d));
        const Tokens<Scalar, Dim> x = attnflow::uniform_sphere<Scalar, Dim>(generator, n, d);
        const SphereDynamics<Scalar, Dim, Law, Mask> field(heads, law, mask);
        const auto [expected, size] = definition(heads, law, mask, wide(x));
        const Wide found = wide(velocity(field, 0, x));
        REQUIRE(found.cols() == n);
        // Scores are at most |β| d² in size; what a rounding does to one, it does to its weight.
        const Real eps = reference::epsilon<Scalar>,
                   scores = 1 + static_cast<Real>(std::abs(law.beta)) * static_cast<Real>(d * d);
        CHECK(reference::largest(found - expected) <=
              static_cast<Real>(8 * count + 8) * eps * (scores + static_cast<Real>(d)) * (1 + size));
        // Tangent, to the size of the velocity itself.
        for (Index i = 0; i < n; ++i)
          CHECK(std::abs((wide(x.col(i)).transpose() * found.col(i))(0, 0)) <=
                static_cast<Real>(d + 8) * eps * (found.col(i).norm() + eps * size));
        for (std::size_t h = 0; h < count; ++h)
          CHECK(reference::largest(wide(field.attention(0, x, h)) - weights(heads[h], law, mask, wide(x))) <=
                16 * eps * (scores + static_cast<Real>(d)) *
                    (attnflow::detail::rows_sum_to_one<Law>() ? 1 : std::exp(scores)));
      }
  }
}

/// n tokens, uniform on the part of the sphere where the first coordinate is at least 0.1.
Tokens<double, 3> in_a_hemisphere(Index n) {
  Generator generator(61);
  Tokens<double, 3> x(3, n);
  for (Index i = 0; i < n;) {
    const auto candidate = attnflow::uniform_sphere<double, 3>(generator, 1, 3);
    if (std::abs(candidate(0)) < 0.1) continue;
    x.col(i++) = candidate(0) > 0 ? candidate : Tokens<double, 3>(-candidate);
  }
  return x;
}

/// E = ∑ᵢⱼ e^{β⟨xᵢ, xⱼ⟩} / (2 β n²).
template <int Dim>
double energy(double beta, const Tokens<double, Dim>& x) {
  auto head = Head<double, Dim>::identity(x.rows());
  head.Q *= beta;
  const double n = static_cast<double>(x.cols());
  return attnflow::interaction_energy(head, x).value / (2 * beta * n * n);
}

/// The largest relative error of dE/dt = ∑ᵢ mᵢ ‖ẋᵢ‖² / n, where mᵢ is ∑ⱼ e^{β⟨xᵢ, xⱼ⟩} / n for softmax and 1
/// else; over the states of a run, in which E grows and the smallest ⟨xᵢ, e₁⟩ does not fall.
template <class Law>
void check_ascent(const Law& law) {
  const SphereDynamics<double, 3, Law> field(Head<double, 3>::identity(), law);
  Tokens<double, 3> x = in_a_hemisphere(24), dx;
  double last_energy = 0, last_margin = 0, worst_identity = 0;
  const auto look = [&](double t, const Tokens<double, 3>& at) {
    const double now = energy(law.beta, at), margin = at.row(0).minCoeff();
    CAPTURE(t);
    // E is a sum of positive terms; the run is known to its tolerance.
    CHECK(now >= last_energy * (1 - 1e-13));
    CHECK(margin >= last_margin - 1e-11);
    last_energy = now;
    last_margin = margin;
    field(0, at, dx);
    const Real n = static_cast<Real>(at.cols());
    Real rate = 0, claimed = 0;
    for (Index i = 0; i < at.cols(); ++i) {
      Real mass = 0;
      Wide pull = Wide::Zero(3, 1);
      for (Index j = 0; j < at.cols(); ++j) {
        const Real weight =
            std::exp(static_cast<Real>(law.beta) * (wide(at.col(i)).transpose() * wide(at.col(j)))(0, 0));
        mass += weight / n;
        pull += weight * wide(at.col(j)) / (n * n);
      }
      rate += (pull.transpose() * wide(dx.col(i)))(0, 0);
      const Real speed = wide(dx.col(i)).norm();
      claimed += (attnflow::detail::rows_sum_to_one<Law>() ? mass : Real(1)) * speed * speed / n;
    }
    // Velocities carry ε of the drift, whose size is one: both sides are off by that, times ẋ.
    if (claimed > 1e-12L)
      worst_identity = std::max(worst_identity, static_cast<double>(std::abs(rate / claimed - 1)));
  };
  REQUIRE(integrate(field, OnSphere<DormandPrince5<Tokens<double, 3>>>{}, x,
                    {.to = 12, .rtol = 1e-11, .atol = 1e-13}, look)
              .outcome == Outcome::reached_end);
  CHECK(worst_identity < 1e-8);  // 64 ε / √1e-12
  CHECK((x.colwise() - x.col(0)).colwise().norm().maxCoeff() < 1e-3);
  CHECK(last_energy == Approx(std::exp(law.beta) / (2 * law.beta)).epsilon(1e-5));
}

/// The inner products at t of equiangular tokens that started from rho: the mean, and how far any is from it.
template <class Law>
void check_equiangular(const Law& law, Index n, Index d, double rho, double t, double tolerance) {
  CAPTURE(law.beta, n, d, rho, t);
  const SphereDynamics<double, Eigen::Dynamic, Law> field(Head<double>::identity(d), law);
  Tokens<double> x = attnflow::equiangular(n, d, rho);
  REQUIRE(
      integrate(field, OnSphere<DormandPrince5<Tokens<double>>>{}, x, {.to = t, .rtol = 1e-12, .atol = 1e-14})
          .outcome == Outcome::reached_end);
  const double expected = attnflow::equiangular_correlation(law, n, rho, t);
  const Eigen::MatrixXd gram = x.transpose() * x;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < i; ++j) CHECK(gram(i, j) == Approx(expected).epsilon(0).margin(tolerance));
}

}  // namespace

TEMPLATE_TEST_CASE("the sphere field is its double loop, tangent to its own size", "[sphere]", float,
                   double) {
  for (const double beta : {1.0, -0.7, 0.0}) check_definition<TestType>(Softmax{beta}, NoMask{});
  check_definition<TestType, 3>(Softmax{1}, NoMask{});
}

TEMPLATE_TEST_CASE("the sphere field for other laws and masks is its double loop", "[sphere][laws]", float,
                   double) {
  for (const double beta : {0.3, -0.2, 0.0}) {
    check_definition<TestType>(Unnormalized{beta}, NoMask{});
    check_definition<TestType>(Softmax{beta}, Causal{});
    check_definition<TestType, 3>(Unnormalized{beta}, Causal{});
  }
}

TEMPLATE_TEST_CASE("equal tokens and antipodal pairs rest", "[sphere]", float, double) {
  const TestType eps = std::numeric_limits<TestType>::epsilon();
  std::mt19937_64 generator(62);
  for (const Index d : {1, 2, 3, 17})
    for (const double beta : {0.0, 1.0, 9.0, -4.0}) {
      CAPTURE(d, beta);
      const SphereDynamics<TestType> field(Head<TestType>::identity(d), Softmax{beta});
      const Tokens<TestType> one = attnflow::uniform_sphere<TestType>(generator, 1, d);
      const Tokens<TestType> equal = one.replicate(1, 20);
      // V = I: the drift is the token, up to a rounding of each coordinate.
      CHECK(velocity(field, 0, equal).cwiseAbs().maxCoeff() <= 2 * eps);
      CHECK(velocity(field, 0, one).cwiseAbs().maxCoeff() <= 2 * eps);
      Tokens<TestType> pair(d, 2);
      pair << one, -one;
      CHECK(velocity(field, 0, pair).cwiseAbs().maxCoeff() <= 4 * eps);
      // Near a consensus velocities are as small as the distances, and tangent still.
      Tokens<TestType> near = equal + 64 * eps * reference::random<Tokens<TestType>>(generator, d, 20);
      attnflow::sphere::normalize(near);
      const Tokens<TestType> slow = velocity(field, 0, near);
      const auto spread = (near.colwise() - near.col(0)).cwiseAbs().maxCoeff();
      CHECK(slow.colwise().norm().maxCoeff() <= 4 * std::sqrt(static_cast<TestType>(d)) * (spread + 4 * eps));
      // ε of the velocity; the rounding of the drift, ε, leaves ε² of itself.
      for (Index i = 0; i < 20; ++i)
        CHECK(reference::largest(wide(near.col(i)).transpose() * wide(slow.col(i))) <=
              static_cast<Real>(d + 8) * static_cast<Real>(eps) *
                  (wide(slow.col(i)).norm() + static_cast<Real>(eps)));
    }
}

TEST_CASE("rotations and relabellings commute with the sphere field", "[sphere]") {
  std::mt19937_64 generator(63);
  for (const Index d : {2, 3, 7}) {
    const Tokens<double> x = attnflow::uniform_sphere<double>(generator, 12, d);
    const Eigen::MatrixXd R = orthogonal(d);
    const auto compare = [&](const Head<double>& head, const Head<double>& turned) {
      const Softmax law{1.7};
      const Tokens<double> rotated = R * x;
      const Tokens<double> of_rotated = velocity(SphereDynamics<double>(turned, law), 0, rotated);
      const Tokens<double> rotated_of = R * velocity(SphereDynamics<double>(head, law), 0, x);
      CHECK((of_rotated - rotated_of).cwiseAbs().maxCoeff() <= 100 * static_cast<double>(d * d) * epsilon);
      CHECK(of_rotated.cwiseAbs().maxCoeff() > 0.01);
    };
    compare(Head<double>::identity(d), Head<double>::identity(d));
    const Head<double> head = random_head<double>(generator, d);
    compare(head, {head.Q * R.transpose(), head.K * R.transpose(), R * head.V * R.transpose()});
    const SphereDynamics<double> field(head, Softmax{1.7});
    Eigen::PermutationMatrix<Eigen::Dynamic> order(12);
    order.setIdentity();
    std::shuffle(order.indices().data(), order.indices().data() + 12, generator);
    const Tokens<double> relabelled = x * order;
    CHECK((velocity(field, 0, relabelled) - velocity(field, 0, x) * order).cwiseAbs().maxCoeff() <=
          100 * static_cast<double>(d) * epsilon);
  }
}

TEST_CASE("energy grows at its rate, and a hemisphere is never left", "[sphere]") {
  for (const double beta : {0.5, 2.0}) check_ascent(Softmax{beta});
}

TEST_CASE("unnormalised weights are the gradient of the energy", "[sphere][laws]") {
  for (const double beta : {0.5, 2.0}) check_ascent(Unnormalized{beta});
}

TEST_CASE("equiangular tokens follow their scalar equation", "[sphere][equiangular]") {
  // The run's tolerance is 1e-12; 1e-10 leaves room for its hundred steps.
  check_equiangular(Softmax{2.5}, 4, 6, 0.2, 3, 1e-10);
  check_equiangular(Softmax{1}, 16, 16, 0, 4, 1e-10);
  check_equiangular(Softmax{4}, 5, 5, -0.2, 5, 1e-10);
  check_equiangular(Softmax{-1}, 3, 3, 0.5, 2, 1e-10);
  CHECK(attnflow::equiangular_correlation(Softmax{2.5}, 4, 0.2, 3) ==
        Approx(0.9777287617).epsilon(0).margin(1e-10));
  // Two tokens: tanh t; and the time of a slow merge.
  check_equiangular(Softmax{0}, 2, 2, 0, 2, 1e-10);
  const double merge = attnflow::equiangular_time(Softmax{6}, 2, -0.2, 0.9);
  CHECK(merge == Approx(116.150442).epsilon(1e-9));
  check_equiangular(Softmax{6}, 2, 3, -0.2, merge, 1e-9);  // longer, and steep at its end: ρ̇ = 0.25
}

TEST_CASE("equiangular tokens with unnormalised weights follow their scalar equation",
          "[sphere][equiangular][laws]") {
  check_equiangular(Unnormalized{2.5}, 4, 6, 0.2, 0.5, 1e-10);
  check_equiangular(Unnormalized{1}, 16, 16, 0, 2, 1e-10);
  check_equiangular(Unnormalized{3, true}, 5, 5, 0.1, 4, 1e-10);
}

TEST_CASE("under a causal mask the first token rests and the others come to it", "[sphere][laws]") {
  Generator generator(64);
  for (const double beta : {0.0, 1.0, 3.0}) {
    const SphereDynamics<double, 3, Softmax, Causal> field(Head<double, 3>::identity(), Softmax{beta});
    Tokens<double, 3> x = attnflow::uniform_sphere<double, 3>(generator, 6, 3);
    const Eigen::Vector3d first = x.col(0);
    CHECK(velocity(field, 0, x).col(0).cwiseAbs().maxCoeff() <= epsilon);
    REQUIRE(integrate(field, OnSphere<DormandPrince5<Tokens<double, 3>>>{}, x, {.to = 400}).outcome ==
            Outcome::reached_end);
    CHECK((x.col(0) - first).cwiseAbs().maxCoeff() <=
          400 * epsilon);  // the velocity's rounding, over 400 units of time
    CHECK((x.colwise() - first).colwise().norm().maxCoeff() < 1e-3);
    // Tokens to come change nothing for those before.
    const Tokens<double, 3> y = attnflow::uniform_sphere<double, 3>(generator, 6, 3);
    const Tokens<double, 3> beginning = y.leftCols(4);
    CHECK((velocity(field, 0, beginning) - velocity(field, 0, y).leftCols(4)).cwiseAbs().maxCoeff() <=
          16 * epsilon);
  }
}

TEST_CASE("the Jacobian of the sphere field is its derivative", "[sphere][jacobian]") {
  std::mt19937_64 generator(65);
  for (const Index d : {2, 3})
    for (const std::size_t count : {1U, 2U})
      for (const double radius : {1.0, 0.7}) {
        CAPTURE(d, count, radius);
        std::vector<Head<double>> heads;
        for (std::size_t h = 0; h < count; ++h) heads.push_back(random_head<double>(generator, d));
        const SphereDynamics<double> field(heads, Softmax{1.3});
        const Tokens<double> x = radius * attnflow::uniform_sphere<double>(generator, 5, d);
        const Eigen::MatrixXd J = field.jacobian(0, x);
        const double h = 1e-4;  // five points: errors of h⁴ and ε/h
        Eigen::MatrixXd differences(x.size(), x.size());
        for (Index k = 0; k < x.size(); ++k) {
          const auto at = [&](double s) {
            Tokens<double> y = x;
            y.data()[k] += s * h;
            return Eigen::VectorXd(velocity(field, 0, y).reshaped());
          };
          differences.col(k) = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h);
        }
        CHECK((J - differences).cwiseAbs().maxCoeff() <= 1e-10);
        CHECK(J.cwiseAbs().maxCoeff() > 0.1);
      }
}

TEST_CASE("the sphere system refuses what it cannot use", "[sphere]") {
  using H = Head<double>;
  CHECK_THAT(refusal([] { SphereDynamics<double> f(std::vector<H>{}); }),
             ContainsSubstring("SphereDynamics: no head given"));
  CHECK_THAT(refusal([] {
               SphereDynamics<double> f({H::identity(2), H::identity(3)});
             }),
             ContainsSubstring("SphereDynamics, head 1: V has d = 3, expected 2"));
  CHECK_THAT(refusal([] {
               H head = H::identity(2);
               head.K.resize(1, 2);
               SphereDynamics<double> f(head);
             }),
             ContainsSubstring("SphereDynamics: K is 1 x 2"));
  CHECK_THAT(refusal([] { SphereDynamics<double> f(H::identity(2), Softmax{std::nan("")}); }),
             ContainsSubstring("Softmax::beta is nan"));
  const SphereDynamics<double> field(H::identity(2));
  CHECK_THROWS_WITH(field.attention(0, Tokens<double>::Identity(2, 2), 1),
                    "SphereDynamics::attention: head 1 of 1");
  CHECK_THROWS_AS(field.attention(0, Tokens<double>::Identity(2, 2), 1), std::out_of_range);
  CHECK(field.dim() == 2);
  CHECK(field.heads().size() == 1);
}

// What becomes of uniform tokens by the papers' own method: on S², β = 1, to t = 15 they all meet.
TEST_CASE("projected Euler takes random tokens to a consensus", "[sphere]") {
  Generator generator(66);
  const SphereDynamics<float, 3> field(Head<float, 3>::identity(), Softmax{1});
  Tokens<float, 3> x = attnflow::uniform_sphere<float, 3>(generator, 64, 3);
  const auto report =
      integrate(field, OnSphere<Euler<Tokens<float, 3>>>{}, x, FixedSteps{.to = 30, .step = 0.1});
  REQUIRE(report.outcome == Outcome::reached_end);
  CHECK(report.evaluations == 300);
  CHECK((x.transpose() * x).minCoeff() > 0.99F);
  CHECK((x.colwise().norm().array() - 1).abs().maxCoeff() <= 4 * std::numeric_limits<float>::epsilon());
}
