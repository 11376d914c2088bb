// Rotary positions and masks of distances in the systems, against closed formulas.
#include <attnflow/attention/masks.hpp>
#include <attnflow/attention/positions/rotary.hpp>
#include <attnflow/attention/within.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <numbers>
#include <random>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::RingRotary;
using attnflow::Rotary;
using attnflow::RotaryPlanes;
using attnflow::Softmax;
using attnflow::Tokens;
using attnflow::Within;
using reference::Index;

constexpr Index ring_size = 16;

using RingDynamics = attnflow::SphereDynamics<double, 2, Softmax, NoMask, RingRotary>;

RingDynamics on_ring(double beta, Index turns) {
  return RingDynamics(Head<double, 2>::identity(), Softmax{beta}, NoMask{}, RingRotary{{turns}});
}

/// The velocities of the angles of tokens on the circle.
std::vector<double> angular_velocity(const RingDynamics& system, const std::vector<double>& angles) {
  Tokens<double, 2> x(2, ring_size), dx;
  for (Index i = 0; i < ring_size; ++i) {
    const double angle = angles[static_cast<std::size_t>(i)];
    x.col(i) << std::cos(angle), std::sin(angle);
  }
  system(0, x, dx);
  std::vector<double> velocity;
  for (Index i = 0; i < ring_size; ++i) velocity.push_back(x(0, i) * dx(1, i) - x(1, i) * dx(0, i));
  return velocity;
}

/// The twisted state of q turns.
std::vector<double> twisted(Index q) {
  std::vector<double> angles;
  for (Index i = 0; i < ring_size; ++i)
    angles.push_back(0.3 + 2 * std::numbers::pi * static_cast<double>(q * i) / ring_size);
  return angles;
}

/// The largest real part of the linearisation at a twisted state, but that of its rotation: its matrix is circulant, so its
/// eigenvalues are the Fourier sums of what one displaced token does to the others.
double slowest_rate(const RingDynamics& system, Index q) {
  constexpr double h = 1e-5;
  std::vector<double> right = twisted(q), left = right;
  right[0] += h;
  left[0] -= h;
  const std::vector<double> up = angular_velocity(system, right), down = angular_velocity(system, left);
  double slowest = -std::numeric_limits<double>::infinity();
  for (Index p = 1; p < ring_size; ++p) {
    double rate = 0;
    for (Index l = 0; l < ring_size; ++l) {
      const auto at = static_cast<std::size_t>(l);
      rate += (up[at] - down[at]) / (2 * h) *
              std::cos(2 * std::numbers::pi * static_cast<double>(p * l) / ring_size);
    }
    slowest = std::max(slowest, rate);
  }
  return slowest;
}

}  // namespace

// The tokens of a consensus attend by aₗ ∝ e^{β cos(2πml/n)}, a symmetric circulant matrix: the slowest mode decays like one
// less its second eigenvalue. Without rotary positions the rate is one.
TEST_CASE("rotary positions on a ring slow consensus down", "[systems][positions]") {
  const RingDynamics system = on_ring(2, 3);
  double second = -1;
  for (Index p = 1; p < ring_size; ++p) {
    double sum = 0, share = 0;
    for (Index l = 0; l < ring_size; ++l) {
      const double a = std::exp(2 * std::cos(2 * std::numbers::pi * static_cast<double>(3 * l) / ring_size));
      sum += a;
      share += a * std::cos(2 * std::numbers::pi * static_cast<double>(p * l) / ring_size);
    }
    second = std::max(second, share / sum);
  }
  CHECK(std::abs(1 - second - 0.302225342) < 1e-9);
  CHECK(std::abs(slowest_rate(system, 0) + 0.302225342) < 1e-8);
  CHECK(std::abs(slowest_rate(on_ring(2, 0), 0) + 1) < 1e-8);
}

TEST_CASE("twisted states rest, and are stable where their turns fit the positions", "[systems][positions]") {
  for (const double beta : {0.5, 1., 4.})
    for (Index m = 0; m < ring_size; ++m)
      for (Index q = 0; q < ring_size; ++q) {
        const RingDynamics system = on_ring(beta, m);
        double fastest = 0;
        for (const double velocity : angular_velocity(system, twisted(q)))
          fastest = std::max(fastest, std::abs(velocity));
        CHECK(fastest < 1e-13);  // roundings of 16 angles, times β
        if (q != 0 && beta == 0.5) CHECK(slowest_rate(system, q) > 0);
      }
  CHECK(std::abs(slowest_rate(on_ring(1, 2), 7) + 0.2319) < 1e-4);
  CHECK(std::abs(slowest_rate(on_ring(1, 4), 6) + 0.2320) < 1e-4);
  CHECK(std::abs(slowest_rate(on_ring(1, 8), 12) + 0.2486) < 1e-4);
  CHECK(slowest_rate(on_ring(1, 2), 6) > 0);
  CHECK(std::abs(slowest_rate(on_ring(4, 1), 10) + 0.2506) < 1e-4);
  // A start nearby comes back, to the same differences of angles.
  using State = Tokens<double, 2>;
  State x(2, ring_size);
  const std::vector<double> angles = twisted(10);
  for (Index i = 0; i < ring_size; ++i) {
    const double angle = angles[static_cast<std::size_t>(i)] + 1e-3 * std::sin(static_cast<double>(i * i));
    x.col(i) << std::cos(angle), std::sin(angle);
  }
  const attnflow::Report report =
      attnflow::integrate(on_ring(4, 1), attnflow::OnSphere(attnflow::DormandPrince5<State>{}), x,
                          {.to = 200, .rtol = 1e-12, .atol = 1e-12});
  CHECK(report.outcome == attnflow::Outcome::reached_end);
  for (Index i = 1; i < ring_size; ++i) {
    const double turn = std::atan2(x(1, i), x(0, i)) - std::atan2(x(1, i - 1), x(0, i - 1)),
                 off = turn - 2 * std::numbers::pi * 10 / ring_size;
    CHECK(std::abs(std::remainder(off, 2 * std::numbers::pi)) < 1e-10);
  }
}

TEST_CASE("planes of rotary positions are pairs of rows of Q and K in either order", "[systems][positions]") {
  std::mt19937_64 generator(3);
  Head<double> head{reference::random<Tokens<double>>(generator, 6, 4),
                    reference::random<Tokens<double>>(generator, 6, 4),
                    reference::random<Tokens<double>>(generator, 4, 4)};
  const Tokens<double> x = reference::random<Tokens<double>>(generator, 4, 9);
  Tokens<double> adjacent, halves, stepped = x;
  using Dynamics = attnflow::TokenDynamics<double, Eigen::Dynamic, Softmax, NoMask, Rotary>;
  Dynamics(head, Softmax{1}, NoMask{}, Rotary{100})(0, x, adjacent);
  // Rows 0 1 | 2 3 | 4 5 as 0 2 4 | 1 3 5.
  const std::vector<Index> order{0, 2, 4, 1, 3, 5};
  Head<double> sorted = head;
  for (Index k = 0; k < 6; ++k) {
    sorted.Q.row(k) = head.Q.row(order[static_cast<std::size_t>(k)]);
    sorted.K.row(k) = head.K.row(order[static_cast<std::size_t>(k)]);
  }
  Dynamics(sorted, Softmax{1}, NoMask{}, Rotary{100, RotaryPlanes::halves})(0, x, halves);
  CHECK((adjacent - halves).cwiseAbs().maxCoeff() < 1e-14);
  // Layers are Euler's steps, several heads add, and tokens of any size are no matter.
  attnflow::Layers<double, Eigen::Dynamic, Softmax, NoMask, Rotary>(head, 0.5, Softmax{1}, NoMask{},
                                                                    Rotary{100})
      .apply(stepped);
  CHECK((stepped - (x + 0.5 * adjacent)).cwiseAbs().maxCoeff() < 1e-15);
  Tokens<double> both;
  Dynamics({head, sorted}, Softmax{1}, NoMask{}, Rotary{100})(0, x, both);
  Dynamics(sorted, Softmax{1}, NoMask{}, Rotary{100})(0, x, halves);
  CHECK((both - adjacent - halves).cwiseAbs().maxCoeff() < 1e-14);
  for (const double size : {1e-300, 1e300}) {
    const Tokens<double> scaled = x * size;
    Dynamics(head, Softmax{1 / size / size == 0 ? 1e-300 : 1}, NoMask{}, Rotary{100})(0, scaled, both);
    CHECK(both.allFinite());
  }
  CHECK_THROWS_WITH(Dynamics(Head<double>::identity(3)),
                    "rotary positions: d_k is 3, expected an even number");
}

// Krause's and Hegselmann and Krause's models: groups farther apart than the radius do not see one another, so that the
// weights are a block matrix whose eigenvalue one is as often as there are groups.
TEST_CASE("tokens within a distance form groups that ignore one another", "[systems][positions]") {
  std::mt19937_64 generator(4);
  const Tokens<double> left = reference::random<Tokens<double>>(generator, 2, 7, -0.3, 0.3);
  Tokens<double> right = reference::random<Tokens<double>>(generator, 2, 5, -0.3, 0.3);
  right.row(0).array() += 3;
  Tokens<double> x(2, 12);
  x << left, right;
  // β = 0: each token goes to the mean of those that it sees.
  using Dynamics = attnflow::TokenDynamics<double, Eigen::Dynamic, Softmax, Within>;
  attnflow::Head<double> head = Head<double>::identity(2);
  const Dynamics system(head, Softmax{0}, Within{1});
  const auto P = system.attention(0, x);
  CHECK(P.topRightCorner(7, 5).isZero(0));
  CHECK(P.bottomLeftCorner(5, 7).isZero(0));
  CHECK((P.topLeftCorner(7, 7).array() - 1. / 7).abs().maxCoeff() < 1e-15);
  Tokens<double> dx, alone;
  const Dynamics sharper(head, Softmax{3}, Within{1});
  sharper(0, x, dx);
  sharper(0, left, alone);
  CHECK((dx.leftCols(7) - alone).cwiseAbs().maxCoeff() < 1e-15);
  // A radius that all are within is no mask.
  Dynamics(head, Softmax{3}, Within{100})(0, x, dx);
  attnflow::TokenDynamics<double>(head, Softmax{3})(0, x, alone);
  CHECK((dx - alone).cwiseAbs().maxCoeff() < 1e-14);
  // On the sphere the distance is the chord.
  Tokens<double> pole(2, 3);
  pole << 1, 0, -1, 0, 1, 0;
  const attnflow::SphereDynamics<double, Eigen::Dynamic, Softmax, Within> chord(head, Softmax{1},
                                                                                Within{1.42});
  CHECK(chord.attention(0, pole)(0, 2) == 0);
  CHECK(chord.attention(0, pole)(0, 1) > 0);
}
