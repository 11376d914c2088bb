#include <attnflow/reductions/uniform_state.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

namespace {

using attnflow::fastest_degree;
using attnflow::noise_threshold;
using attnflow::uniform_growth_rates;
using attnflow::uniform_normalizer;
using Catch::Matchers::ContainsSubstring;
using SA = attnflow::Softmax;
using USA = attnflow::Unnormalized;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double pi = std::numbers::pi;

/// The rate at which displacements sin kθ of a uniform grid of n angles grow, by a difference quotient of the double
/// loop θ̇ᵢ = ∑ⱼ wᵢⱼ sin(θⱼ − θᵢ).
double rate_on_grid(double beta, bool softmax, int k) {
  constexpr int n = 240;
  constexpr double step = 1e-4;  // its square and ε/step are the errors, 1e-8
  std::array<double, n> theta{};
  const auto grid = [](int i) { return 2 * pi * i / n; };
  double growth = 0;
  for (const double side : {-1., 1.}) {
    for (int i = 0; i < n; ++i)
      theta[static_cast<std::size_t>(i)] = grid(i) + side * step * std::sin(k * grid(i));
    for (int i = 0; i < n; ++i) {
      double force = 0, sum = 0;
      for (const double other : theta) {
        const double gap = other - theta[static_cast<std::size_t>(i)],
                     weight = std::exp(beta * std::cos(gap));
        force += weight * std::sin(gap);
        sum += weight;
      }
      growth += side * force / (softmax ? sum : n) * std::sin(k * grid(i));
    }
  }
  return growth / (2 * step) / (n / 2);
}

/// ∫ f(t) (1 − t²)^{(d−3)/2} dt over [−1, 1], divided by that of 1: the mean of f(⟨x, e⟩) on the sphere in R^d. By the
/// substitution t = tanh(π/2 sinh u), which makes equal steps as exact as rounding allows.
template <class F>
double mean_on_sphere(int d, const F& f) {
  double sum = 0, total = 0;
  for (int k = -128; k <= 128; ++k) {
    const double u = k / 32., v = pi / 2 * std::sinh(u), t = std::tanh(v);
    const double density = std::pow(1 / std::cosh(v), d - 1) * std::cosh(u);  // (1 − t²)^{(d−3)/2} dt/du
    sum += density * f(t);
    total += density;
  }
  return sum / total;
}

/// The zonal harmonic of degree l on the sphere in R^d, 1 at t = 1, by its recurrence.
double zonal(int d, int l, double t) {
  double before = 1, last = t;
  if (l == 0) return 1;
  for (int k = 1; k < l; ++k) {
    const double next = ((2 * k + d - 2) * t * last - k * before) / (k + d - 2);
    before = last;
    last = next;
  }
  return last;
}

}  // namespace

TEST_CASE("growth rates on the circle are those of a fine grid", "[uniform_state]") {
  for (const double beta : {5.0, 1.0, -3.0, 0.0})
    for (const int k : {1, 2, 3, 5}) {
      CAPTURE(beta, k);
      const auto at = static_cast<std::size_t>(k);
      const double sa = uniform_growth_rates(SA{beta}, 2, 6)[at],
                   usa = uniform_growth_rates(USA{beta}, 2, 6)[at];
      CHECK(sa == Approx(rate_on_grid(beta, true, k)).epsilon(1e-6).margin(1e-9));
      CHECK(usa == Approx(rate_on_grid(beta, false, k)).epsilon(1e-6).margin(1e-9));
      CHECK(uniform_growth_rates(USA{beta, true}, 2, 6)[at] ==
            Approx(usa * std::exp(-beta)).epsilon(32 * epsilon).margin(1e-300));
    }
  // k² I_k(5)/5 and the same over I₀(5), by 30 digits.
  const std::vector<double> usa = uniform_growth_rates(USA{5}, 2, 6), sa = uniform_growth_rates(SA{5}, 2, 6);
  CHECK(usa[1] == Approx(4.8671284284901054398).epsilon(16 * epsilon));
  CHECK(usa[3] == Approx(18.596070304472049097).epsilon(16 * epsilon));
  CHECK(usa[5] == Approx(10.789872736612732335).epsilon(16 * epsilon));
  CHECK(sa[1] == Approx(0.17867662740881704432).epsilon(16 * epsilon));
  CHECK(sa[3] == Approx(0.68267833361674648649).epsilon(16 * epsilon));
  CHECK(sa[5] == Approx(0.3961058556546830995).epsilon(16 * epsilon));
  CHECK(sa[0] == 0);
}

TEST_CASE("growth rates on spheres are the eigenvalues of the kernel", "[uniform_state]") {
  for (const int d : {3, 4, 7, 20})
    for (const double beta : {0.3, 2.0, 9.0, -4.0}) {
      const double Z = mean_on_sphere(d, [&](double t) { return std::exp(beta * t); });
      CAPTURE(d, beta);
      // Integrals of functions of size e^{|β|} with signs that cancel: an error of ε e^{|β|}, 1e-12.
      const double tolerance = 1e-12;
      CHECK(uniform_normalizer(d, beta) == Approx(Z).epsilon(tolerance));
      const std::vector<double> sa = uniform_growth_rates(SA{beta}, d, 6),
                                usa = uniform_growth_rates(USA{beta}, d, 6);
      for (int l = 1; l < 6; ++l) {
        const auto at = static_cast<std::size_t>(l);
        const double a = mean_on_sphere(d, [&](double t) { return std::exp(beta * t) * zonal(d, l, t); });
        CHECK(usa[at] == Approx(l * (l + d - 2) / beta * a).epsilon(tolerance).margin(1e-11));
        CHECK(sa[at] == Approx(usa[at] / Z).epsilon(tolerance).margin(1e-11));
      }
    }
  // In R³ the normaliser is sinh β/β and λ₁ of Softmax 2 (β coth β − 1)/β².
  for (const double beta : {0.5, 3.0, 600.0})
    CHECK(uniform_normalizer(3, beta) == Approx(std::sinh(beta) / beta).epsilon(16 * epsilon));
  CHECK(uniform_growth_rates(SA{3}, 3, 2)[1] ==
        Approx(2 * (3 / std::tanh(3.) - 1) / 9).epsilon(16 * epsilon));
  // d = 8, β = 4 and 1000, by 30 digits.
  CHECK(uniform_normalizer(8, 4) == Approx(2.5029568338152582759).epsilon(16 * epsilon));
  CHECK(uniform_growth_rates(USA{1000, true}, 8, 2)[1] ==
        Approx(uniform_growth_rates(SA{1000}, 8, 2)[1] * 6.029069847622617539e-10).epsilon(16 * epsilon));
}

TEST_CASE("the uniform state at the ends of beta", "[uniform_state]") {
  CHECK(uniform_growth_rates(SA{0}, 5, 4) == std::vector<double>{0, 4. / 5, 0, 0});
  CHECK(uniform_growth_rates(USA{1e-9}, 2, 3)[1] == Approx(0.5).epsilon(1e-8));
  CHECK(uniform_growth_rates(USA{1e4}, 2, 2)[1] == infinity);
  CHECK(uniform_growth_rates(SA{1e6}, 1000, 2)[1] == Approx(999 / 1e6).epsilon(1e-3));
  CHECK(uniform_growth_rates(SA{1}, 2, 0).empty());
  // Near the end of double, against 40 digits. β is in an exponent.
  const auto close = [](double value, double beta) { return Approx(value).epsilon(2 * beta * epsilon); };
  CHECK(uniform_normalizer(82, 705) == close(7.7045747854850806348e249, 705));
  CHECK(uniform_normalizer(81, 705) == close(2.3452368223002003741e250, 705));
  CHECK(uniform_normalizer(23, 710) == close(6.1492988591528676928e286, 710));
  CHECK(uniform_normalizer(24, -710) == close(1.0865538386706735293e286, 710));
  CHECK(uniform_normalizer(200002, 16860) == close(3.479440678231868e307, 16860));
  // And less one, e^{−β} Z: within some ε.
  const auto less_one = [](int dim, double beta) {
    return uniform_growth_rates(USA{beta, true}, dim, 2)[1] / uniform_growth_rates(SA{beta}, dim, 2)[1];
  };
  CHECK(less_one(23, 710) == Approx(2.7526021780785772691e-22).epsilon(16 * epsilon));
  CHECK(less_one(203, 1e4) == Approx(4.0431853104831106931e-216).epsilon(16 * epsilon));
  CHECK(less_one(850, 1420) == Approx(2.3155406771684785497e-307).epsilon(16 * epsilon));
  CHECK(less_one(1000, 1e4) == 0);
  CHECK(uniform_normalizer(850, 1420) == infinity);
  // In high dimension ⟨x, y⟩ is nearly Gaussian of variance 1/d, and Z near e^{β²/2d}.
  CHECK(uniform_normalizer(100000, 20) == Approx(std::exp(400 / 2e5)).epsilon(1e-6));
  // The next term of the exponent is −β⁴/4d³; where e^{−β} Z is far below the range of double.
  const double beta = 53000, d = 2e6, square = beta * beta;
  CHECK(uniform_normalizer(2000000, beta) ==
        Approx(std::exp(square / (2 * d) - square * square / (4 * d * d * d))).epsilon(1e-3));
}

TEST_CASE("the number of first clusters", "[uniform_state]") {
  CHECK(fastest_degree(2, 5) == 3);
  CHECK(fastest_degree(2, 7) == 4);
  CHECK(fastest_degree(2, 20) == 6);
  CHECK(fastest_degree(2, 50) == 10);
  for (const double beta : {1e3, 1e6})
    CHECK(fastest_degree(2, beta) == Approx(std::sqrt(2 * beta)).epsilon(1 / std::sqrt(beta)));
  for (const int d : {2, 3, 8, 128})
    for (const double beta : {-30.0, -2.0, 0.0, 0.5, 10.0, 300.0}) {
      const std::vector<double> rates = uniform_growth_rates(SA{beta}, d, 60);
      int best = 1;
      for (int l = 2; l < 60; ++l)
        if (rates[static_cast<std::size_t>(l)] > rates[static_cast<std::size_t>(best)]) best = l;
      CAPTURE(d, beta);
      CHECK(fastest_degree(d, beta) == best);
    }
}

TEST_CASE("noise takes the uniform law's instability away", "[uniform_state]") {
  CHECK(noise_threshold(USA{0}, 2) == Approx(2).epsilon(8 * epsilon));
  CHECK(noise_threshold(USA{0}, 7) == Approx(7).epsilon(8 * epsilon));
  CHECK(noise_threshold(USA{1}, 2) == Approx(1.7694132376805825857).epsilon(16 * epsilon));
  CHECK(noise_threshold(USA{2}, 2) == Approx(1.2573580161739727886).epsilon(16 * epsilon));
  CHECK(noise_threshold(USA{5}, 2) == Approx(0.20545995748672341324).epsilon(16 * epsilon));
  CHECK(noise_threshold(USA{4}, 8) == Approx(3.7657451190554691799).epsilon(16 * epsilon));
  // The growth of mode 1 at 0.97 and 1.03 of the threshold.
  const double rate = uniform_growth_rates(USA{2}, 2, 2)[1], threshold = noise_threshold(USA{2}, 2);
  CHECK(rate - 1 / (0.97 * threshold) == Approx(-0.0246).margin(5e-5));
  CHECK(rate - 1 / (1.03 * threshold) == Approx(0.0232).margin(5e-5));
}

TEST_CASE("functions of the uniform state refuse what has no meaning", "[uniform_state]") {
  CHECK_THAT(refusal([] { (void)uniform_growth_rates(SA{1}, 1, 3); }),
             ContainsSubstring("uniform_growth_rates: d is 1, expected at least 2"));
  CHECK_THAT(refusal([] { (void)uniform_growth_rates(SA{1}, 2, -1); }), ContainsSubstring("count is -1"));
  CHECK_THAT(refusal([] { (void)uniform_growth_rates(USA{infinity}, 2, 3); }),
             ContainsSubstring("Unnormalized::beta is inf"));
  CHECK_THAT(refusal([] { (void)uniform_normalizer(3, std::nan("")); }),
             ContainsSubstring("uniform_normalizer: beta is nan"));
  CHECK_THAT(refusal([] { (void)fastest_degree(2, infinity); }),
             ContainsSubstring("fastest_degree: beta is inf, expected at most 2^40 in modulus"));
}
