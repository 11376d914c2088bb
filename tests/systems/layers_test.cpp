#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/graph.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/systems/layers.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::Layers;
using attnflow::RescaledLayers;
using attnflow::Softmax;
using attnflow::TokenDynamics;
using attnflow::Tokens;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

}  // namespace

TEMPLATE_TEST_CASE("a layer is an Euler step of the drift", "[systems][layers]", float, double) {
  std::mt19937_64 generator(70);
  for (const Index d : {1, 2, 3, 6})
    for (const std::size_t count : {1U, 3U})
      for (const double step : {1.0, 0.1, 3.0}) {
        std::vector<Head<TestType>> heads;
        for (std::size_t h = 0; h < count; ++h) heads.push_back(random_head<TestType>(generator, d));
        const auto x = reference::random<Tokens<TestType>>(generator, d, 14);
        Tokens<TestType> drift, y = x;
        TokenDynamics<TestType>(heads, Softmax{0.8})(0, x, drift);
        const Layers<TestType> layers(heads, step, Softmax{0.8});
        layers.apply(y);
        const Wide expected = wide(x) + static_cast<Real>(static_cast<TestType>(step)) * wide(drift);
        const Wide bound = 2 * reference::epsilon<TestType> *
                           (wide(x).cwiseAbs() + static_cast<Real>(step) * wide(drift).cwiseAbs());
        CHECK(reference::excess(wide(y), expected, bound) <= 1);
        CHECK(layers.step() == step);
      }
}

TEST_CASE("layers under masks and biases are their double loops", "[systems][layers]") {
  std::mt19937_64 generator(75);
  const auto check = [&](auto mask, auto bias) {
    const Index d = 3, n = 13;
    const auto head = random_head<double>(generator, d), other = random_head<double>(generator, d);
    const auto x = reference::random<Tokens<double>>(generator, d, n);
    const double step = 0.4;
    Wide expected = wide(x);
    for (const auto& h : {head, other})
      for (Index i = 0; i < n; ++i) {
        const auto range = mask.keys(i, n);
        Wide mean = Wide::Zero(d, 1);
        Real sum = 0;
        for (Index j = range.begin; j < range.end; ++j) {
          if constexpr (requires { mask.attends(i, j); })
            if (!mask.attends(i, j)) continue;
          const Wide score = (wide(h.Q) * wide(x).col(i)).transpose() * (wide(h.K) * wide(x).col(j));
          const Real weight = std::exp(Real(0.7L) * score(0) -
                                       static_cast<Real>(bias.slope) * std::abs(static_cast<Real>(i - j)));
          sum += weight;
          mean += weight * wide(x).col(j);
        }
        if (sum > 0) expected.col(i) += static_cast<Real>(step) / sum * (wide(h.V) * mean);
      }
    Tokens<double> y = x;
    const Layers layers(std::vector{head, other}, step, Softmax{0.7}, mask, bias);
    layers.apply(y);
    // Scores of size 2 d², two heads whose V has rows of size d.
    CHECK(reference::excess(wide(y), expected, 200 * reference::epsilon<double>) <= 1);
    if (expected.col(0) == wide(x).col(0)) CHECK(y.col(0) == x.col(0));  // nothing to attend to
  };
  check(attnflow::NoMask{}, attnflow::NoBias{});
  check(attnflow::Causal{}, attnflow::NoBias{});
  check(attnflow::StrictCausal{}, attnflow::NoBias{});
  check(attnflow::StrictCausal{}, attnflow::Alibi{0.3});
  check(attnflow::Band{2, 1}, attnflow::NoBias{});
  check(attnflow::ExcludeSelf{}, attnflow::Alibi{0.3});
  check(attnflow::Graph(13, [](Index i, Index j) { return i > 0 && (i * j) % 3 == 1; }), attnflow::NoBias{});
}

TEST_CASE("rescaled layers are the layers seen from a moving frame", "[systems][layers]") {
  // zᵏ = R⁻ᵏ xᵏ for k up to 40. Weights small enough for the x-run to stay well conditioned: roundings of k layers,
  // amplified by ‖Rᵏ‖ ‖R⁻ᵏ‖ and by the slope of the scores.
  std::mt19937_64 generator(71);
  for (const Index d : {1, 2, 3, 5})
    for (const double step : {1.0, 0.1}) {
      for (int draw = 0; draw < 3; ++draw) {
        CAPTURE(d, step, draw);
        auto head = random_head<double>(generator, d);
        head.V *= 0.1 / static_cast<double>(d);
        head.Q *= 0.5, head.K *= 0.5;
        const Layers<double> layers(head, step);
        const RescaledLayers<double> rescaled(head, step);
        CHECK(rescaled.step() == step);
        Tokens<double> x = reference::random<Tokens<double>>(generator, d, 12), z = x;
        const Wide R = Wide::Identity(d, d) + static_cast<Real>(step) * wide(head.V);
        Wide Rk = Wide::Identity(d, d);
        // |V| ≤ 0.1 and step ≤ 1: (1.1)⁴⁰ = 45 each way at most; the scores' slope is below 1, V times it below 0.1.
        const double bound =
            std::numeric_limits<double>::epsilon() * 40 * (static_cast<double>(d) + 20) * 45 * 45;
        for (long k = 0; k <= 40; ++k) {
          // By the reference power of R, not by the library's own.
          REQUIRE(reference::excess(wide(x), Rk * wide(z), static_cast<Real>(bound)) <= 1);
          if (k % 8 == 0) {
            CHECK((rescaled.rescale(k, x) - z).cwiseAbs().maxCoeff() <= bound);
            CHECK((rescaled.unrescale(k, z) - x).cwiseAbs().maxCoeff() <= bound);
            CHECK((rescaled.attention(k, z) - layers.drift().attention(0, x)).cwiseAbs().maxCoeff() <= bound);
          }
          rescaled.apply(k, z);
          layers.apply(x);
          Rk = (R * Rk).eval();
        }
      }
    }
}

TEMPLATE_TEST_CASE("a rescaled layer is its double loop", "[systems][layers]", float, double) {
  // z + Δt ∑ⱼ Pᵢⱼ(Rᵏ z) R⁻¹ V (zⱼ − zᵢ), with V that do not commute with M.
  std::mt19937_64 generator(72);
  constexpr Real eps = reference::epsilon<TestType>;
  for (const Index d : {1, 2, 3, 5})
    for (const long k : {0L, 1L, 2L, 5L}) {
      CAPTURE(d, k);
      auto head = random_head<TestType>(generator, d);
      head.V *= TestType(0.5) / static_cast<TestType>(d);
      const double step = 0.5;
      const double beta = -0.7;
      const auto z = reference::random<Tokens<TestType>>(generator, d, 17);
      const Wide V = wide(head.V), I = Wide::Identity(d, d), R = I + V / 2;
      Wide Rk = I, inverse = I, term = I;
      for (long j = 0; j < k; ++j) Rk = (R * Rk).eval();
      for (int j = 1; j < 200; ++j) term = (-term * V / 2).eval(), inverse += term;  // ‖V/2‖ < 1
      REQUIRE(reference::largest(R * inverse - I) < Real(1e-17));
      const auto a = reference::attention(wide(head.Q), wide(head.K), static_cast<Real>(beta), Rk,
                                          Wide::Constant(d, d, reference::largest(Rk)), wide(z));
      const Wide sums = reference::displacements(a, wide(z)), A = inverse * V / 2;
      const Wide expected = wide(z) + A * sums;
      Tokens<TestType> moved = z;
      const RescaledLayers<TestType> layers(head, step, Softmax{beta});
      layers.apply(k, moved);
      const Wide bound = reference::product_bound(
                             A, sums,
                             reference::sum_bound(a, wide(z), true, eps, 4 * d,
                                                  20 * static_cast<Real>(k) * reference::epsilon<double>),
                             3 * eps) +
                         2 * eps * expected.cwiseAbs();
      CHECK(reference::excess(wide(moved), expected, bound) <= 1);
      CHECK(reference::excess(wide(layers.attention(k, z)), a.P,
                              a.bound(eps, 4 * d, 20 * static_cast<Real>(k) * reference::epsilon<double>)) <=
            1);
    }
}

TEMPLATE_TEST_CASE("for V = I the hulls of rescaled layers are nested at every step size",
                   "[systems][layers]", float, double) {
  // n = 30 in the plane, Δt = 1 and 0.1, and a large one: no support function ever increases.
  std::mt19937_64 generator(73);
  for (const double step : {1.0, 0.1, 20.0}) {
    const RescaledLayers<TestType, 2> layers(Head<TestType, 2>::identity(), step);
    Tokens<TestType, 2> z = reference::random<Tokens<TestType, 2>>(generator, 2, 30, -5, 5);
    const double start = static_cast<double>(z.cwiseAbs().maxCoeff());
    const int directions = 64;
    Eigen::MatrixXd u(directions, 2);
    for (int k = 0; k < directions; ++k) u.row(k) << std::cos(0.1 * k), std::sin(0.1 * k);
    Eigen::VectorXd support = (u * z.template cast<double>()).rowwise().maxCoeff();
    double above = 0, shrunk = 0;
    for (long k = 0; k < 60; ++k) {
      layers.apply(k, z);
      const Eigen::VectorXd now = (u * z.template cast<double>()).rowwise().maxCoeff();
      above = std::max(above, (now - support).maxCoeff());
      shrunk = std::max(shrunk, (support - now).maxCoeff());
      support = now;
    }
    // A convex combination of tokens of size 5, rounded: a few units in its last place.
    CHECK(above <= 8 * static_cast<double>(std::numeric_limits<TestType>::epsilon()) * start);
    CHECK(shrunk > 0);
  }
}

TEMPLATE_TEST_CASE("a Boolean row contracts by exactly 1 / (1 + step) per layer", "[systems][layers]", float,
                   double) {
  for (const double step : {1.0, 0.5, 0.25}) {
    const RescaledLayers<TestType, 1> layers(Head<TestType, 1>::identity(), step);
    Tokens<TestType, 1> z(1, 2);
    z << 1, 2;
    const long late = 400;  // scores (1 + Δt)^{2k}: Boolean
    double distance = 1;
    for (long k = late; k < late + 10; ++k) {
      layers.apply(k, z);
      distance /= 1 + step;
      CHECK(z(1) == 2);
      CHECK(static_cast<double>(2 - z(0)) ==
            Approx(distance).margin(40 * static_cast<double>(std::numeric_limits<TestType>::epsilon())));
    }
  }
}

TEMPLATE_TEST_CASE("a million layers later everything is finite", "[systems][layers]", float, double) {
  using H = Head<TestType, 3>;
  using Square = typename H::Square;
  std::mt19937_64 generator(74);
  std::vector<Square> values{Square::Identity(), Square(Square::Identity() * TestType(-0.5)),
                             reference::random<Square>(generator, 3, 3)};
  values.push_back((Square() << 1, 1, 0, 0, 1, 1, 0, 0, 1).finished());
  values.push_back((Square() << 0, 1, 0, -1, 0, 0, 0, 0, TestType(-0.25)).finished());
  values.push_back((Square() << 0, 1, 0, 0, 0, 1, 0, 0, 0).finished());
  for (const Square& V : values)
    for (const long k : {0L, 1000L, 1000000L, std::numeric_limits<int>::max() * 1L}) {
      CAPTURE(V, k);
      H head = H::identity();
      head.V = V;
      const RescaledLayers<TestType, 3> layers(head, 1);
      Tokens<TestType, 3> z = reference::random<Tokens<TestType, 3>>(generator, 3, 12);
      for (long j = 0; j < 3; ++j) layers.apply(k + j, z);
      CHECK(z.allFinite());
      CHECK((layers.attention(k, z).rowwise().sum().array() - 1).abs().maxCoeff() <=
            50 * std::numeric_limits<TestType>::epsilon());
    }
}

TEMPLATE_TEST_CASE("layers of the largest tokens are not NaN", "[systems][layers]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  for (const TestType size : {Limits::max(), Limits::max() / 2, Limits::min(), Limits::denorm_min()}) {
    CAPTURE(size);
    Tokens<TestType, 2> z(2, 3);
    z << size, -size, 0, size, -size, size;
    const Tokens<TestType, 2> start = z;
    const RescaledLayers<TestType, 2> rescaled(Head<TestType, 2>::identity(), 1);
    for (long k = 0; k < 5; ++k) rescaled.apply(k, z);
    CHECK(z.allFinite());  // V = I: they stay in the hull
    CHECK(z.cwiseAbs().maxCoeff() <= size);
    // Attracted by the opposite ones: differences of tokens are beyond the range, half of them is not.
    z = start;
    const RescaledLayers<TestType, 2> crossing(Head<TestType, 2>::identity(), 1, Softmax{-1});
    for (long k = 0; k < 5; ++k) crossing.apply(k, z);
    CHECK(z.allFinite());
    CHECK(z.cwiseAbs().maxCoeff() <= size);
    z = start;
    Layers<TestType, 2>(Head<TestType, 2>::identity(), 1).apply(z);
    CHECK_FALSE(z.array().isNaN().any());
  }
}

TEST_CASE("layers refuse steps and heads that they cannot use", "[systems][layers]") {
  using Catch::Matchers::ContainsSubstring;
  using H = Head<double>;
  const auto I = H::identity(2);
  for (const double bad :
       {0.0, -1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THAT(refusal([&] { Layers<double> l(I, bad); }), ContainsSubstring("Layers: step is"));
    CHECK_THAT(refusal([&] { RescaledLayers<double> l(I, bad); }),
               ContainsSubstring("RescaledLayers: step is"));
  }
  H broken = I;
  broken.V(0, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THAT(refusal([&] { RescaledLayers<double> l(broken, 1); }),
             ContainsSubstring("RescaledLayers: V has an entry that is not finite"));
  CHECK_THAT(refusal([&] { Layers<double> l(broken, 1); }),
             ContainsSubstring("V has an entry that is not finite"));
  // −1/Δt is an eigenvalue of V.
  const auto singular = [&](const Eigen::MatrixXd& V, double step) {
    return refusal([&] { RescaledLayers<double> l(H::with_value(V), step); });
  };
  using Eigen::MatrixXd;
  CHECK_THAT(singular(-MatrixXd::Identity(2, 2), 1),
             ContainsSubstring("RescaledLayers: R = I + step V is singular") &&
                 ContainsSubstring("-1/step = -1 is not an eigenvalue of V"));
  CHECK_THAT(singular(-4 * MatrixXd::Identity(3, 3), 0.25), ContainsSubstring("-1/step = -4"));
  CHECK_THAT(singular(MatrixXd(Eigen::Vector2d(1, -2).asDiagonal()), 0.5), ContainsSubstring("singular"));
  CHECK_THAT(singular((MatrixXd(2, 2) << 0, 1, 1, 0).finished(), 1), ContainsSubstring("singular"));
  CHECK_THAT(singular(-(1 + 1e-17) * MatrixXd::Constant(1, 1, 1), 1), ContainsSubstring("singular"));
  CHECK(singular(-MatrixXd::Identity(2, 2), 0.5) == "nothing was refused");
  CHECK(singular((MatrixXd(2, 2) << 0, 1, -1, 0).finished(), 1) == "nothing was refused");
}
