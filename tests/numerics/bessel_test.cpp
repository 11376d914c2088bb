#include <attnflow/numerics/bessel.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

namespace {

using attnflow::bessel_ratios;
using attnflow::scaled_bessel_i;
using attnflow::scaled_bessel_series;
using Catch::Matchers::ContainsSubstring;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// The next double is at most one epsilon away, relatively: some units in the last place.
auto close(double value, double units = 8) { return Approx(value).epsilon(units * epsilon); }

}  // namespace

// By 40-digit arithmetic: the power series, Hankel's expansion or the recurrence.
TEST_CASE("scaled Bessel functions are those of 40 digits", "[bessel]") {
  struct Row {
    double order, x, value;
  };
  for (const Row& row : std::array<Row, 19>{{{0, 1e-3, 0.99900074958351555937},
                                             {0, 1, 0.4657596075936404365},
                                             {1, 1, 0.20791041534970844887},
                                             {0.25, 0.5, 0.49715860440173415772},
                                             {2.5, 3, 0.075444308632476116495},
                                             {7, 24.75, 0.029548354940625933003},
                                             {7, 25.25, 0.029842376920065465358},
                                             {0.75, 25, 0.07928102368528623109},
                                             {3.5, 30, 0.059442727575546820542},
                                             {40, 12, 2.4006092543770206591e-22},
                                             {300, 25, 9.0175604156606161333e-297},
                                             {300, 1000, 4.9103801083448401659e-22},
                                             {63.5, 10000, 0.003261010629393928789},
                                             {499, 100000, 0.00036325384981359403967},
                                             {0, 1e6, 0.00039894233026924577878},
                                             {1000, 1e6, 0.00024197070435489395783},
                                             {3000, 1e6, 4.431853951745946085e-6},
                                             {120, 1, 4.1458108734010054789e-236},
                                             {0, 1e10, 3.9894228040641945645e-6}}}) {
    CAPTURE(row.order, row.x);
    CHECK(scaled_bessel_i(row.order, row.x) == close(row.value));
  }
  // Beyond 2¹⁵ the exponential of Debye's expansion: ε times its exponent, 27 and 1.
  CHECK(scaled_bessel_i(32768, 2e7) == close(1.9606210374534623776e-16, 64));
  CHECK(scaled_bessel_i(40000, 8e8) == close(5.1888437164061724065e-6));
}

TEST_CASE("half-integer Bessel functions are elementary", "[bessel]") {
  // e^{−x} I_½ = √(2/πx) e^{−x} sinh x and e^{−x} I_{3/2} = √(2/πx) e^{−x} (cosh x − sinh x / x).
  for (const double x : {0.5, 1.0, 3.0, 10.0, 24.9, 25.1, 60.0, 1e3, 1e6, 1e12, 1e300}) {
    CAPTURE(x);
    const double front = 1 / std::sqrt(2 * std::numbers::pi * x), gone = std::exp(-2 * x);
    CHECK(scaled_bessel_i(0.5, x) == close(-front * std::expm1(-2 * x)));
    // At x = ½ the difference cosh x − sinh x / x has lost one digit in twelve.
    CHECK(scaled_bessel_i(1.5, x) == close(front * (1 + gone + std::expm1(-2 * x) / x), 32));
  }
}

TEST_CASE("the series is the kernel on the circle", "[bessel]") {
  for (const double x : {0.0, 1e-5, 0.3, 2.0, 24.0, 26.0, 400.0, 1e4, 1e6}) {
    const int count = static_cast<int>(9 * std::sqrt(x)) + 10;
    const std::vector<double> series = scaled_bessel_series(count, x);
    CAPTURE(x);
    CHECK(series.back() < 0x1p-52 * series.front());
    for (const double u : {0.0, 1e-3, 0.1, 1.0, 3.0}) {
      double sum = 0, size = 0;
      for (int k = count - 1; k >= 0; --k) {
        const double term = (k > 0 ? 2 : 1) * series[static_cast<std::size_t>(k)];
        sum += term * std::cos(k * u);
        size += term;
      }
      // The terms add up to 1, and with a few roundings of each: k u is rounded before its cosine, at k² Iₖ ≈ x.
      const double half = std::sin(u / 2);
      CHECK(std::abs(sum - std::exp(-2 * x * half * half)) <= (16 + std::sqrt(x)) * epsilon);
      CHECK(size == Approx(1).epsilon(8 * epsilon));
    }
  }
}

TEST_CASE("series, ratios and single values agree", "[bessel]") {
  for (const double x : {1e-4, 0.7, 6.0, 25.0, 90.0, 5e3, 1e6})
    for (const int count : {1, 2, 3, 40, 200}) {
      const std::vector<double> series = scaled_bessel_series(count, x);
      const std::vector<double> ratios = bessel_ratios(2.5, count, x);
      REQUIRE(series.size() == static_cast<std::size_t>(count));
      const double base = scaled_bessel_i(2.5, x);
      for (int k = 0; k < count; ++k) {
        CAPTURE(x, count, k);
        const auto at = static_cast<std::size_t>(k);
        if (series[at] > 1e-290) CHECK(series[at] == close(scaled_bessel_i(k, x), 16));
        if (ratios[at] * base > 1e-290) CHECK(ratios[at] * base == close(scaled_bessel_i(2.5 + k, x), 16));
      }
    }
  CHECK(bessel_ratios(0.5, 11, 3).back() == close(1.5616923231377562502e-6));
  CHECK(bessel_ratios(15.5, 31, 50).back() == close(3.1199138084028941905e-8));
  CHECK(bessel_ratios(200, 101, 1e5).back() == close(0.77880002049114554861));
  CHECK(bessel_ratios(0, 301, 1e5).back() == close(0.63762693214943210487));
  // After thousands of steps, and below 10⁻¹⁰⁰.
  CHECK(bessel_ratios(0, 1501, 2e4).back() == close(3.8173167098078421434e-25));
  CHECK(bessel_ratios(0.5, 9001, 1e6).back() == close(2.5658372831874292422e-18));
  CHECK(bessel_ratios(300, 6001, 1e6).back() == close(2.5176390396760523388e-9));
  CHECK(bessel_ratios(15.5, 201, 60).back() == close(2.3781918477198754716e-115, 16));
  CHECK(bessel_ratios(1e9, 3, 1e9)[1] ==
        close(std::numbers::sqrt2 - 1, 1e8));  // √(1 + z²) − z + O(1/ν) at z = 1
}

TEST_CASE("Bessel functions at the ends of the range", "[bessel]") {
  CHECK(scaled_bessel_i(0, 0) == 1);
  CHECK(scaled_bessel_i(0.5, 0) == 0);
  CHECK(scaled_bessel_i(0, 1e-320) == 1);
  CHECK(scaled_bessel_i(0.5, 1e-320) == close(std::sqrt(1e-320) * std::sqrt(2 / std::numbers::pi)));
  CHECK(scaled_bessel_i(1, 1e-320) == Approx(5e-321).epsilon(1e-3));  // subnormal
  CHECK(scaled_bessel_i(300, 1e-3) == 0);
  CHECK(scaled_bessel_i(1e9, 1) == 0);
  CHECK(scaled_bessel_i(1e15, 1e16) == 0);
  CHECK(scaled_bessel_i(1e200, 1e300) == 0);
  CHECK(scaled_bessel_i(1e100, 1e300) == close(1 / std::sqrt(2e300 * std::numbers::pi)));
  CHECK(bessel_ratios(10, 5, 1e-300) == std::vector<double>{1, 1e-300 / 22, 0, 0, 0});
  CHECK(bessel_ratios(3, 3, 0) == std::vector<double>{1, 0, 0});
  CHECK(scaled_bessel_series(0, 1).empty());
  CHECK(scaled_bessel_series(2, 0) == std::vector<double>{1, 0});
  // I_k(−x) = (−1)ᵏ I_k(x).
  CHECK(scaled_bessel_i(3, -2) == -scaled_bessel_i(3, 2));
  CHECK(scaled_bessel_i(4, -2) == scaled_bessel_i(4, 2));
  const std::vector<double> plus = scaled_bessel_series(4, 7), minus = scaled_bessel_series(4, -7);
  CHECK(minus == std::vector<double>{plus[0], -plus[1], plus[2], -plus[3]});
}

TEST_CASE("Bessel functions refuse what has no meaning", "[bessel]") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK_THAT(refusal([] { (void)scaled_bessel_i(-1, 1); }),
             ContainsSubstring("scaled_bessel_i: order is -1, expected a finite number, at least 0"));
  CHECK_THAT(refusal([] { (void)scaled_bessel_i(1, std::nan("")); }),
             ContainsSubstring("scaled_bessel_i: x is nan, expected a finite number"));
  CHECK_THAT(
      refusal([] { (void)scaled_bessel_i(0.5, -2); }),
      ContainsSubstring("scaled_bessel_i: order is 0.5, expected an integer for a negative x, which is -2"));
  CHECK_THAT(refusal([] { (void)bessel_ratios(0, -1, 2); }),
             ContainsSubstring("bessel_ratios: count is -1, expected at least 0"));
  CHECK_THAT(refusal([] { (void)bessel_ratios(infinity, 2, 2); }),
             ContainsSubstring("bessel_ratios: order is inf"));
  CHECK_THAT(refusal([] { (void)bessel_ratios(1e9, 2, 1e15); }),
             ContainsSubstring("bessel_ratios: x is 1e+15, expected at most 2^40"));
  CHECK_THAT(refusal([] { (void)scaled_bessel_series(3, infinity); }), ContainsSubstring("x is inf"));
}
