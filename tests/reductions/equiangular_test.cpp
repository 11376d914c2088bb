#include <attnflow/attention/laws/l2_softmax.hpp>
#include <attnflow/attention/laws/sigmoid.hpp>
#include <attnflow/attention/laws/sinkhorn.hpp>
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/reductions/equiangular.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <string>

namespace {

using attnflow::equiangular_correlation;
using attnflow::equiangular_rate;
using attnflow::equiangular_time;
using Catch::Matchers::ContainsSubstring;
using SA = attnflow::Softmax;
using USA = attnflow::Unnormalized;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("equiangular rates are their formulas", "[equiangular]") {
  for (const double beta : {0.0, 0.7, 4.0, -2.0, 40.0})
    for (const int n : {2, 3, 32, 1000})
      for (const double share : {0.0, 0.1, 0.5, 0.999, 1.0}) {
        const double low = -1. / (n - 1), rho = share == 1 ? 1 : low + share * (1 - low);
        CAPTURE(beta, n, rho);
        const double shape = 2 * (1 - rho) * ((n - 1) * rho + 1);
        // Exponents are of size β: an error of ε β of the weight; and 1 + (n−1) ρ cancels near −1/(n−1).
        const double tolerance = 16 * epsilon * (1 + std::abs(beta)), rest = 16 * epsilon * n;
        const double sa = std::exp(beta * rho) / (std::exp(beta) + (n - 1) * std::exp(beta * rho));
        CHECK(equiangular_rate(SA{beta}, n, rho) == Approx(shape * sa).epsilon(tolerance).margin(rest * sa));
        const double usa = std::exp(beta * rho) / n;
        CHECK(equiangular_rate(USA{beta}, n, rho) ==
              Approx(shape * usa).epsilon(tolerance).margin(rest * usa));
        CHECK(equiangular_rate(USA{beta, true}, n, rho) ==
              Approx(shape * usa * std::exp(-beta)).epsilon(tolerance).margin(rest * usa * std::exp(-beta)));
      }
  // Beyond the range of e^β.
  CHECK(equiangular_rate(SA{1000}, 3, 0.999) ==
        Approx(2 * 0.001 * 2.998 / (std::exp(1.) + 2)).epsilon(1e-12));
}

TEST_CASE("equiangular rates of other laws are their formulas, and times their integrals", "[equiangular]") {
  using attnflow::L2Softmax, attnflow::Sigmoid, attnflow::Sinkhorn;
  const int n = 5;
  for (const double rho : {-0.2, 0.0, 0.6, 0.99}) {
    const double shape = 2 * (1 - rho) * ((n - 1) * rho + 1);
    CHECK(equiangular_rate(Sinkhorn{1.5}, n, rho) == equiangular_rate(SA{1.5}, n, rho));
    CHECK(equiangular_rate(L2Softmax{1.5, 0.7}, n, rho) ==
          Approx(shape / (std::exp(2 * 1.5 * 0.7 * (1 - rho)) + n - 1)).epsilon(1e-13));
    CHECK(equiangular_rate(Sigmoid{1.5, -0.4}, n, rho) ==
          Approx(shape / n / (1 + std::exp(0.4 - 1.5 * rho))).epsilon(1e-13));
  }
  // A time by the midpoint rule in ρ: its error is h² times a second derivative of some ten.
  const Sigmoid law{2, 0.3, attnflow::RowScale::none};
  double time = 0;
  for (int k = 0; k < 20000; ++k)
    time += 0.6 / 20000 / equiangular_rate(law, n, 0.1 + 0.6 * (k + 0.5) / 20000);
  CHECK(equiangular_time(law, n, 0.1, 0.7) == Approx(time).epsilon(1e-7));
}

// Times from ρ = 0 to 0.999, computed elsewhere to the digits given; and some by 30-digit quadrature.
TEST_CASE("equiangular times are those of the table", "[equiangular]") {
  struct Row {
    int n;
    double beta, sa, usa;
  };
  for (const auto& row : std::array<Row, 7>{{{32, 0, 5.186261, 5.186261},
                                             {32, 1, 5.270284, 2.897049},
                                             {32, 4, 6.953502, 1.130770},
                                             {32, 6, 15.995314, 0.870230},
                                             {32, 9, 178.730930, 0.685988},
                                             {128, 6, 10.353018, 1.433966},
                                             {128, 9, 82.593358, 1.212534}}}) {
    CAPTURE(row.n, row.beta);
    CHECK(equiangular_time(SA{row.beta}, row.n, 0, 0.999) == Approx(row.sa).epsilon(0).margin(5.1e-7));
    CHECK(equiangular_time(USA{row.beta}, row.n, 0, 0.999) == Approx(row.usa).epsilon(0).margin(5.1e-7));
  }
  const auto close = [](double value) { return Approx(value).epsilon(64 * epsilon); };
  CHECK(equiangular_time(SA{9}, 32, 0, 0.999) == close(178.730929519039128708785));
  CHECK(equiangular_time(SA{9}, 128, 0, 0.999) == close(82.593357501980948375980));
  CHECK(equiangular_time(SA{6}, 2, -0.2, 0.9) == close(116.150442043147420193298));
}

TEST_CASE("two tokens without temperature follow tanh t", "[equiangular]") {
  for (const double t : {1e-12, 1e-3, 0.1, 1.0, 3.0, 10.0, 18.0, -2.0, -0.5}) {
    CAPTURE(t);
    CHECK(equiangular_correlation(SA{0}, 2, 0, t) == Approx(std::tanh(t)).epsilon(8 * epsilon));
    if (std::abs(t) <= 3)  // beyond, tanh t does not tell t
      CHECK(equiangular_time(USA{0}, 2, 0, std::tanh(t)) == Approx(t).epsilon(500 * epsilon));
  }
  CHECK(equiangular_correlation(SA{0}, 2, 0, 1e6) == 1);
  CHECK(equiangular_correlation(SA{0}, 2, 0, -1e6) == -1);
  CHECK(equiangular_correlation(SA{0}, 2, 0.3, 0) == 0.3);
}

TEST_CASE("times add up, and correlations invert them", "[equiangular]") {
  for (const double beta : {-50.0, -1.0, 0.0, 1.0, 9.0, 60.0, 600.0})
    for (const int n : {2, 5, 128})
      for (const double from : {-0.005, 0.0, 0.4, 0.95}) {
        CAPTURE(beta, n, from);
        const SA law{beta};
        const double middle = from + 0.3 * (1 - from), to = from + 0.99 * (1 - from);
        const double first = equiangular_time(law, n, from, middle),
                     second = equiangular_time(law, n, middle, to);
        // Exponents of size β carry an error of ε β.
        const double tolerance = (32 + 4 * std::abs(beta)) * epsilon;
        CHECK(first > 0);
        CHECK(equiangular_time(law, n, from, to) == Approx(first + second).epsilon(tolerance));
        CHECK(equiangular_time(law, n, middle, from) == -first);
        // The error of the time, in ρ.
        const double back = equiangular_rate(law, n, middle) * first * tolerance;
        CHECK(equiangular_correlation(law, n, from, first) ==
              Approx(middle).epsilon(8 * epsilon).margin(back));
        const double forth = equiangular_rate(law, n, from) * first * tolerance;
        CHECK(equiangular_correlation(law, n, middle, -first) ==
              Approx(from).epsilon(8 * epsilon).margin(forth + 8 * epsilon));
      }
}

TEST_CASE("thin layers are seen: beta of a million", "[equiangular]") {
  // Near ρ = 1 the time is ∫ (e^{βq} + n − 1) / (2 n q) dq, and from q = a/β it is Ei's: scale invariant. For
  // small steps of ρ it is the step over the rate.
  const SA law{1e6};
  const double one = equiangular_time(law, 3, 1 - 2e-6, 1 - 1e-6),
               two = equiangular_time(SA{1e4}, 3, 1 - 2e-4, 1 - 1e-4);
  CHECK(one == Approx(two).epsilon(2e-4));
  // A run that leaves an exponentially slow start: nearly all of the time is spent in the first 1/β of the
  // way, and T ≈ 1/(β ρ̇(0.9999)) as ρ̇ grows like e^{βρ}.
  const double start = 0.9999, rate = equiangular_rate(law, 3, start);
  CHECK(equiangular_time(law, 3, start, 0.9999999) * rate * 1e6 == Approx(1).epsilon(0.02));
  // A layer of 10⁻⁶ at the end of a way of 0.5: no node of a rule for the whole way is in it.
  CHECK(equiangular_time(USA{-1e6}, 2, -0.5, 0) * equiangular_rate(USA{-1e6}, 2, 0) * 1e6 ==
        Approx(1).epsilon(1e-5));
  CHECK(equiangular_time(law, 3, 0, 0.5) == infinity);  // e^{10⁶}
  CHECK(equiangular_correlation(law, 3, 0, 1e300) == Approx(0).margin(1e-15));
}

TEST_CASE("rest points are never left nor reached", "[equiangular]") {
  CHECK(equiangular_time(SA{1}, 4, 0, 1) == infinity);
  CHECK(equiangular_time(SA{1}, 5, -0.25, 0) == infinity);
  CHECK(equiangular_time(SA{1}, 4, 1, 0) == -infinity);
  CHECK(equiangular_time(SA{1}, 4, 1, 1) == 0);
  CHECK(equiangular_correlation(SA{1}, 5, -0.25, 100) == -0.25);
  CHECK(equiangular_correlation(SA{1}, 4, 1, 100) == 1);
  CHECK(equiangular_rate(SA{1}, 4, 1) == 0);
  // Near one, 1 − ρ decays like e^{−2t} (SA) and e^{−2 e^β t} (USA).
  const double h = 1e-4, q = 1e-9, e = std::exp(2.);
  CHECK((1 - equiangular_correlation(SA{2}, 7, 1 - q, 1)) / q == Approx(std::exp(-2.)).epsilon(1e-6));
  CHECK((1 - equiangular_correlation(USA{2}, 7, 1 - q, h)) / q == Approx(std::exp(-2 * e * h)).epsilon(1e-6));
}

TEST_CASE("equiangular functions refuse what has no meaning", "[equiangular]") {
  CHECK_THAT(refusal([] { (void)equiangular_rate(SA{1}, 1, 0); }),
             ContainsSubstring("equiangular_rate: n is 1, expected at least 2"));
  CHECK_THAT(
      refusal([] { (void)equiangular_time(SA{1}, 4, -0.5, 0); }),
      ContainsSubstring("equiangular_time: from is -0.5, expected a number from -0.333333 = -1/(n-1) to 1"));
  CHECK_THAT(refusal([] { (void)equiangular_time(SA{1}, 4, 0, 1.5); }),
             ContainsSubstring("equiangular_time: to is 1.5"));
  CHECK_THAT(refusal([] { (void)equiangular_time(SA{1}, 4, 0, std::nan("")); }),
             ContainsSubstring("equiangular_time: to is "));
  CHECK_THAT(refusal([] { (void)equiangular_correlation(SA{1}, 4, 0, infinity); }),
             ContainsSubstring("equiangular_correlation: t is inf, expected a finite number"));
  CHECK_THAT(refusal([] { (void)equiangular_correlation(SA{1}, 4, 2, 0); }),
             ContainsSubstring("equiangular_correlation: rho is 2"));
  CHECK_THAT(refusal([] { (void)equiangular_rate(SA{infinity}, 4, 0); }),
             ContainsSubstring("Softmax::beta is inf"));
}
