#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/parallel/threads.hpp>
#include <attnflow/systems/circle_dynamics.hpp>
#include <attnflow/systems/circle_series.hpp>
#include <attnflow/systems/detail/series_kernels.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "refusal.hpp"
#include "velocity.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

namespace {

using attnflow::CircleSeries;
using attnflow::Generator;
using attnflow::SimdLevel;
using attnflow::Softmax;
using attnflow::Tokens;
using attnflow::Unnormalized;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;
using reference::Real;
using Angles = Tokens<double, 1>;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

Angles uniform_angles(Index n, std::uint64_t seed, double low = -3, double high = 4) {
  Generator generator(seed);
  return attnflow::uniform_box<double, 1>(generator, n, 1, low, high);
}
/// Half of the tokens around the circle, half in a cluster of width 1/100.
Angles mixed_angles(Index n, std::uint64_t seed) {
  Angles theta = uniform_angles(n, seed);
  for (Index i = 0; i < n; i += 2) theta(0, i) = 1 + theta(0, i) / 700;
  return theta;
}

/// F and Z by their definition.
struct Sums {
  Real force = 0, mean = 0;
  Sums(double beta, const Angles& theta, Index i) {
    const Real b = static_cast<Real>(beta);
    for (Index j = 0; j < theta.cols(); ++j) {
      const Real u = static_cast<Real>(theta(0, j)) - static_cast<Real>(theta(0, i));
      const Real w = std::exp(b * std::cos(u) - std::abs(b)) / static_cast<Real>(theta.cols());
      force += w * std::sin(u);
      mean += w;
    }
  }
};

/// The largest error of F as a multiple of what is allowed, by a field of unnormalised weights e^{β (cos u − 1)}.
double excess_unnormalized(double beta, double tolerance, const Angles& theta) {
  const CircleSeries<double, Unnormalized> field({beta, true}, 1, tolerance);
  const Angles found = velocity(field, 0, theta);
  const double allowed = (tolerance + 4 * std::sqrt(1 + beta) * epsilon) * field.largest_force();
  double worst = 0;
  for (Index i = 0; i < theta.cols(); ++i)
    worst = std::max(
        worst,
        static_cast<double>(std::abs(static_cast<Real>(found(0, i)) - Sums(beta, theta, i).force)) / allowed);
  return worst;
}
double excess_softmax(double beta, double tolerance, const Angles& theta) {
  const CircleSeries<double> field({beta}, 1, tolerance);
  const Angles found = velocity(field, 0, theta);
  const double allowed = (tolerance + 4 * std::sqrt(1 + beta) * epsilon) * field.largest_force();
  double worst = 0;
  for (Index i = 0; i < theta.cols(); ++i) {
    const Sums sums(beta, theta, i);
    const Real exact = sums.force / sums.mean;
    const double factor =
        static_cast<double>((1 + std::abs(exact) / static_cast<Real>(field.largest_force())) / sums.mean);
    worst = std::max(
        worst, static_cast<double>(std::abs(static_cast<Real>(found(0, i)) - exact)) / (allowed * factor));
  }
  return worst;
}

/// A law with a row factor of its own: Z / (1 + Z) with Z = ∑ₗ e^{sᵢₗ}.
struct Sink {
  static constexpr bool rows_sum_to_one = false;
  static constexpr auto function = attnflow::WeightFunction::exponential;
  double beta = 1;
  double log_row_factor(double log_z, Index /*n*/) const { return -std::log1p(std::exp(-log_z)); }
};

}  // namespace

TEST_CASE("the series is the definition within its tolerance", "[circle_series]") {
  const std::vector<double> betas{0, 0.1, 0.7, 1, 3, 5, 20, 50, 200, 1000};
  for (const Index n : {1, 2, 200}) {
    const Angles theta = mixed_angles(n, 90);
    for (const double beta : betas)
      for (const double tolerance : {epsilon, 1e-9, 1e-3}) {
        CAPTURE(n, beta, tolerance);
        CHECK(excess_unnormalized(beta, tolerance, theta) <= 1);
        CHECK(excess_softmax(beta, tolerance, theta) <= 1);
      }
  }
  CHECK(velocity(CircleSeries<double>({5}), 0, Angles(1, 0)).cols() == 0);
  // More than a part of 1024 tokens; every 50th is checked.
  const Angles many = mixed_angles(2500, 91);
  const CircleSeries<double, Unnormalized> field({7, true});
  const Angles found = velocity(field, 0, many);
  for (Index i = 0; i < 2500; i += 50)
    CHECK(std::abs(static_cast<Real>(found(0, i)) - Sums(7, many, i).force) <=
          static_cast<Real>(4 * std::sqrt(8.) * epsilon * field.largest_force()));
}

TEST_CASE("a tolerance is used up, and no more terms are taken", "[circle_series]") {
  // One token on another, at all distances: the error is all that is left out, up to what cancels.
  Angles pairs(1, 2);
  pairs << 0, 0;
  for (const double beta : {0.5, 5., 100.})
    for (const double tolerance : {1e-3, 1e-9}) {
      double worst = 0;
      for (int k = 0; k < 60; ++k) {
        pairs(0, 1) = k * 0.05;
        worst = std::max(worst, excess_unnormalized(beta, tolerance, pairs));
      }
      CAPTURE(beta, tolerance);
      CHECK(worst > 0.005);  // half of the force is the own one, which is 0
    }
  for (const double beta : {0.1, 1., 10., 100., 1000., 1e6}) {
    const CircleSeries<double> field({beta});
    CAPTURE(beta);
    CHECK(static_cast<double>(field.terms()) <= 9 * std::sqrt(beta) + 10);
    CHECK(CircleSeries<double>({beta}, 1, 1e-6).terms() < field.terms());
    // F*, from a fine grid about the maximum near u = 1/√β.
    double largest = 0;
    for (int k = 1; k <= 4000; ++k) {
      const double u = k * 0.0005 * std::min(1.5, 2 / std::sqrt(beta)), half = std::sin(u / 2);
      largest = std::max(largest, std::exp(-2 * beta * half * half) * std::sin(u));
    }
    CHECK(field.largest_force() == Approx(largest).epsilon(1e-6));
  }
}

TEST_CASE("weights without less_one, negative beta, repulsion, float", "[circle_series]") {
  const Angles theta = mixed_angles(40, 92);
  const auto plain = velocity(CircleSeries<double, Unnormalized>({3}), 0, theta);
  const auto repelled = velocity(CircleSeries<double, Unnormalized>({3}, -2), 0, theta);
  const auto negative = velocity(CircleSeries<double, Unnormalized>({-3}), 0, theta);
  const CircleSeries<double, Unnormalized> shifted({-3, true});
  const CircleSeries<float> narrow(Softmax{3});
  const Tokens<float, 1> single = velocity(narrow, 0, theta.cast<float>());
  CHECK(narrow.terms() < CircleSeries<double>({3}).terms());
  for (Index i = 0; i < 40; ++i) {
    const Sums sums(3, theta, i), opposite(-3, theta, i);
    const double growth = std::exp(3.), bound = 64 * epsilon * growth;
    CHECK(std::abs(plain(0, i) - growth * static_cast<double>(sums.force)) <= bound);
    CHECK(std::abs(repelled(0, i) + 2 * growth * static_cast<double>(sums.force)) <= 2 * bound);
    CHECK(std::abs(negative(0, i) - growth * static_cast<double>(opposite.force)) <= bound);
    CHECK(std::abs(velocity(shifted, 0, theta)(0, i) - growth * negative(0, i)) <= growth * bound);
    CHECK(std::abs(static_cast<double>(single(0, i)) - static_cast<double>(sums.force / sums.mean)) <= 1e-5);
  }
  // e^{1000} is no double; forces that are 0 stay so.
  const auto beyond = velocity(CircleSeries<double, Unnormalized>({1000}), 0, theta);
  CHECK_FALSE(beyond.array().isNaN().any());
  CHECK(beyond.array().isInf().any());
}

TEST_CASE("the series of another law is that of the operator", "[circle_series]") {
  const Angles theta = mixed_angles(60, 93);
  const auto expected = velocity(attnflow::CircleDynamics<double, Sink>(Sink{2}), 0, theta);
  const auto found = velocity(CircleSeries<double, Sink>(Sink{2}), 0, theta);
  CHECK((found - expected).cwiseAbs().maxCoeff() <= 60 * 16 * epsilon);
}

TEST_CASE("the mean angle is conserved by the series, turns commute with it, modes grow at their rates",
          "[circle_series][laws]") {
  const Angles theta = mixed_angles(3000, 94);
  const CircleSeries<double, Unnormalized> field({5});
  const Angles v = velocity(field, 0, theta);
  CHECK(std::abs(v.mean()) <= 8 * epsilon * std::exp(5.));
  const Angles turned = (theta.array() + 2.75).matrix();
  CHECK((velocity(field, 0, turned) - v).cwiseAbs().maxCoeff() <= 64 * epsilon * std::exp(5.));
  // δ cos kθ on a uniform circle grows at the rate k² Iₖ(β)/β; the rest is of order δ².
  const Index n = 240;
  const double size = 1e-6;
  for (const auto& [k, rate] :
       std::vector<std::pair<int, double>>{{1, 4.86713}, {3, 18.59607}, {5, 10.78987}}) {
    Angles grid(1, n);
    for (Index i = 0; i < n; ++i) grid(0, i) = 2 * std::numbers::pi * static_cast<double>(i) / 240;
    const Angles mode = (k * grid.array()).cos().matrix();
    const Angles growth = velocity(field, 0, grid + size * mode) / size;
    CHECK((growth - rate * mode).cwiseAbs().maxCoeff() <= 1e-4 * rate);
  }
}

TEST_CASE("equal tokens move alike in the series, and threads leave no trace", "[circle_series][threads]") {
  Angles theta = uniform_angles(5000, 95);
  theta(0, 4999) = theta(0, 1500) = theta(0, 3);
  theta(0, 4000) = theta(0, 77) = 1e7;  // beyond the quick sine
  const CircleSeries<double> field({40});
  const int before = attnflow::threads();
  attnflow::set_threads(1);
  const Angles alone = velocity(field, 0, theta);
  CHECK(alone(0, 4999) == alone(0, 3));
  CHECK(alone(0, 1500) == alone(0, 3));
  CHECK(alone(0, 4000) == alone(0, 77));
  for (const int threads : {2, 5}) {
    attnflow::set_threads(threads);
    for (int round = 0; round < 5; ++round) CHECK((velocity(field, 0, theta).array() == alone.array()).all());
  }
  attnflow::set_threads(before);
  theta(0, 4000) = 1e300;
  CHECK(velocity(field, 0, theta).allFinite());
  theta(0, 4000) = std::numeric_limits<double>::infinity();
  CHECK(velocity(field, 0, theta).array().isNaN().all());
  const CircleSeries<double, Unnormalized> unnormalized({2});
  CHECK(velocity(unnormalized, 0, theta).array().isNaN().all());
}

TEST_CASE("trigonometric sums at every level of instructions", "[circle_series][kernels]") {
  std::mt19937_64 generator(96);
  for (const SimdLevel level : {SimdLevel::portable, SimdLevel::avx2, SimdLevel::avx512}) {
    if (!attnflow::has_simd_level(level)) continue;
    const auto kernels = attnflow::detail::series_kernels_at(level);
    const Index packs = 11, count = packs * kernels.width, terms = 20;  // whole groups of packs, and a rest
    const auto size = static_cast<std::size_t>(count);
    std::vector<double> angle(size), re(size), im(size), odd(size), even(size), a, b,
        lanes(2 * terms * static_cast<std::size_t>(kernels.width)), sums(2 * terms);
    for (const double range : {1., 30., 1e6}) {
      for (std::size_t j = 0; j < size; ++j) angle[j] = reference::uniform(generator, -range, range);
      for (int q = 0; q < 9; ++q) angle[static_cast<std::size_t>(q)] = (q - 4) * std::numbers::pi / 4;
      kernels.points(angle.data(), count, re.data(), im.data());
      double worst = 0;
      for (std::size_t j = 0; j < size; ++j) {
        const Real exact = static_cast<Real>(angle[j]);
        worst = std::max(worst, static_cast<double>(std::abs(static_cast<Real>(re[j]) - std::cos(exact))));
        worst = std::max(worst, static_cast<double>(std::abs(static_cast<Real>(im[j]) - std::sin(exact))));
      }
      CAPTURE(attnflow::name_of(level), range);
      CHECK(worst <= epsilon);
    }
    for (std::size_t k = 0; k < 2 * terms; ++k) {
      a.push_back(reference::uniform(generator, -1, 1));
      b.push_back(reference::uniform(generator, -1, 1));
    }
    kernels.sum_powers(re.data(), im.data(), count, terms, lanes.data(), sums.data());
    kernels.evaluate(re.data(), im.data(), count, terms, a.data(), b.data(), odd.data(), even.data());
    std::vector<Real> exact_sums(2 * terms, 0);
    double worst = 0;
    for (std::size_t j = 0; j < size; ++j) {
      Real x = 1, y = 0, imaginary = 0, real = 0;
      for (std::size_t k = 0; k < terms; ++k) {
        const Real next = x * static_cast<Real>(re[j]) - y * static_cast<Real>(im[j]);
        y = x * static_cast<Real>(im[j]) + y * static_cast<Real>(re[j]);
        x = next;
        exact_sums[2 * k] += x;
        exact_sums[2 * k + 1] += y;
        imaginary += x * static_cast<Real>(a[2 * k + 1]) + y * static_cast<Real>(a[2 * k]);
        real += x * static_cast<Real>(b[2 * k]) - y * static_cast<Real>(b[2 * k + 1]);
      }
      worst = std::max({worst, static_cast<double>(std::abs(imaginary - static_cast<Real>(odd[j]))),
                        static_cast<double>(std::abs(real - static_cast<Real>(even[j])))});
    }
    CAPTURE(attnflow::name_of(level));
    CHECK(worst <= 20 * 20 * epsilon);  // 20 terms of size one, each with up to 20 roundings
    for (std::size_t k = 0; k < 2 * terms; ++k)
      CHECK(std::abs(exact_sums[k] - static_cast<Real>(sums[k])) <=
            static_cast<Real>(40 * epsilon) * static_cast<Real>(count));
  }
}

TEST_CASE("the series refuses what it cannot use", "[circle_series]") {
  CHECK_THAT(refusal([] { CircleSeries<double> f({std::nan("")}); }),
             ContainsSubstring("Softmax::beta is nan"));
  CHECK_THAT(refusal([] { CircleSeries<double> f({1e9}); }),
             ContainsSubstring("CircleSeries: beta is 1e+09"));
  CHECK_THAT(refusal([] { CircleSeries<double> f({-1}); }),
             ContainsSubstring("CircleSeries: beta is -1, expected at least 0"));
  CHECK_THAT(refusal([] { CircleSeries<double> f({1}, std::nan("")); }),
             ContainsSubstring("CircleSeries: value is nan"));
  for (const double tolerance : {0., -1., 0.5, std::nan("")})
    CHECK_THAT(refusal([=] { CircleSeries<double> f({1}, 1, tolerance); }),
               ContainsSubstring("CircleSeries: tolerance is "));
  CHECK(CircleSeries<double>({2}, -1).value() == -1);
  CHECK(CircleSeries<double>({2}).law().beta == 2);
}
