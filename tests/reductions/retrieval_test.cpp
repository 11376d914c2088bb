#include <attnflow/reductions/retrieval.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace {

using attnflow::alibi_density;
using attnflow::retrieval_gain;
using attnflow::RetrievalProfile;
using Catch::Matchers::ContainsSubstring;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// ∫ f over [a, b] by Simpson's rule.
template <class F>
double integral(double a, double b, const F& f) {
  constexpr int steps = 2000;
  double sum = 0;
  for (int k = 0; k <= steps; ++k)
    sum += (k == 0 || k == steps ? 1 : k % 2 == 1 ? 4 : 2) * f(a + (b - a) * k / steps);
  return sum * (b - a) / steps / 3;
}

}  // namespace

TEST_CASE("densities of ALiBi are exponential and have mass one", "[retrieval]") {
  for (const double lambda : {-40.0, -1.0, 0.0, 1e-9, 1.0, 8.0})
    for (const double s : {0.1, 1.0}) {
      CAPTURE(lambda, s);
      CHECK(integral(0, s, [&](double r) { return alibi_density(lambda, s, r); }) == Approx(1).epsilon(1e-6));
      CHECK(alibi_density(lambda, s, s) / alibi_density(lambda, s, s / 2) ==
            Approx(std::exp(lambda * s / 2)).epsilon(1e-13));
    }
  CHECK(alibi_density(0, 0.4, 0.1) == Approx(2.5).epsilon(4 * epsilon));
  CHECK(alibi_density(1e-14, 0.4, 0.1) == Approx(2.5).epsilon(1e-13));
  CHECK(alibi_density(5000, 1, 1) == Approx(5000).epsilon(1e-12));
  CHECK(alibi_density(-5000, 1, 0) == Approx(5000).epsilon(1e-12));
  CHECK(alibi_density(5000, 1, 0) == 0);
}

TEST_CASE("gains solve their integral equation", "[retrieval]") {
  for (const double lambda : {-2.0, 0.0, 1.0, 6.0})
    for (const double a : {0.4, 3.0})
      for (const double from : {0.05, 0.6})
        for (const double t : {0.2, 2.0}) {
          const double s = 0.9, h = 3e-3 * t;
          const auto gain = [&](double at, double place) {
            return retrieval_gain(a, lambda, at, place, from);
          };
          // Of the fourth order in h; analytic in t with a scale of at least t: an error below 1e-8.
          const double slope =
              (8 * (gain(t + h, s) - gain(t - h, s)) - gain(t + 2 * h, s) + gain(t - 2 * h, s)) / (12 * h);
          const double sum =
              integral(from, s, [&](double r) { return alibi_density(lambda, s, r) * gain(t, r); });
          CAPTURE(lambda, a, from, t);
          CHECK(slope == Approx(a * (alibi_density(lambda, s, from) + sum)).epsilon(1e-8));
          CHECK(gain(0, s) == 0);
        }
}

TEST_CASE("gains at the ends of their range", "[retrieval]") {
  CHECK(retrieval_gain(2, 1, 0.5, 0.7, 0.7) == Approx(alibi_density(1, 0.7, 0.7)).epsilon(8 * epsilon));
  CHECK(retrieval_gain(2, 1, 0.5, 0.7, 0) == infinity);
  CHECK(retrieval_gain(0, 1, 0.5, 0.7, 0) == 0);
  // The limit of no bias, from both sides; √(at/Y) I₁(2√(atY)) with atY = 1 is √(at)√(at) I₁(2), I₁(2) = 1.59063685….
  const double from = std::exp(-2.), limit = retrieval_gain(0.5, 0, 1, 1, from);
  CHECK(limit == Approx(0.5 * 1.59063685463732906).epsilon(32 * epsilon));
  for (const double lambda : {-1e-9, 1e-9})
    CHECK(retrieval_gain(0.5, lambda, 1, 1, from) == Approx(limit).epsilon(1e-8));
  // I₁(2√(atY)) is e^{1673} and k_λ e^{−1000}: the product is in the range of double.
  const double large = retrieval_gain(700, 2000, 1, 1, 0.5);
  CHECK(std::log(large) == Approx(2 * std::sqrt(700 * 1000.) - 1000).epsilon(0.01));
  CHECK(retrieval_gain(1e4, 2000, 1, 1, 0.5) == infinity);
  CHECK(retrieval_gain(1e-300, 1, 1e-3, 1, 0.5) == Approx(1e-303 * alibi_density(1, 1, 0.5)).epsilon(1e-12));
}

TEST_CASE("the right end turns at the critical time", "[retrieval]") {
  struct Row {
    double beta, time;
  };
  for (const Row& row : std::array<Row, 4>{{{0.5, 5.911579}, {1, 2.457489}, {2, 0.600716}, {3, 0.174018}}}) {
    const RetrievalProfile profile(row.beta, 1, 8);
    CAPTURE(row.beta);
    CHECK(profile.critical_time() == Approx(row.time).epsilon(0).margin(5.1e-7));
    const auto slope = [&](double t) { return profile(t, 1) - profile(t, 1 - 1e-5); };
    CHECK(slope(0.99 * row.time) > 0);
    CHECK(slope(1.01 * row.time) < 0);
    CHECK(profile.certified_time() < profile.critical_time());
  }
  // The largest of a₁ = 0.5652 and a₂ = 0.5430 for β = 1; the smaller of 3 − √3 and 2 (1 − e^{−λ}).
  CHECK(RetrievalProfile(1, 1, 8).certified_time() ==
        Approx(2 * (1 - std::exp(-1.)) / 0.56515910399248502721).epsilon(32 * epsilon));
  CHECK(RetrievalProfile(1, 4, 8).certified_time() ==
        Approx((3 - std::sqrt(3.)) / 0.56515910399248502721).epsilon(32 * epsilon));
  CHECK(RetrievalProfile(1, 0, 8).critical_time() == 0);
  CHECK(RetrievalProfile(1, -1, 8).critical_time() == 0);
  CHECK(RetrievalProfile(1, -1, 8).certified_time() == 0);
  CHECK(RetrievalProfile(0, 1, 8).critical_time() == infinity);
  CHECK(RetrievalProfile(0, 1, 8)(3, 0.5) == 0);
}

TEST_CASE("profiles are U-shaped as long as that is proved", "[retrieval]") {
  for (const double beta : {0.5, 1.0, 3.0, 20.0})
    for (const double lambda : {0.2, 1.0, 4.0}) {
      const RetrievalProfile profile(beta, lambda, 8);
      const double t = profile.certified_time();
      CAPTURE(beta, lambda, t);
      CHECK(profile(t, 1e-250) > 4 * profile(t, 1e-9));  // primacy; it is infinite, like e^{2√(at log 1/s₀)}
      CHECK(profile(t, 1) > profile(t, 1 - 1e-4));       // recency
      int turns = 0;
      double before = profile(t, 1e-3), last = before;
      bool falling = true;
      for (int k = 2; k <= 1000; ++k) {
        before = last;
        last = profile(t, k * 1e-3);
        if ((last < before) != falling) ++turns;
        falling = last < before;
      }
      CHECK(turns == 1);
      CHECK_FALSE(falling);
    }
}

TEST_CASE("the modes of a profile are those of the circle", "[retrieval]") {
  const RetrievalProfile profile(2, 1, 8);
  // 9 I₃(2) and e^{−9π²/128}.
  CHECK(profile.rates()[2] == Approx(9 * 0.21273995923985265553).epsilon(16 * epsilon));
  CHECK(profile.weights()[2] == Approx(std::exp(-9 * 9.8696044010893586 / 128)).epsilon(4 * epsilon));
  double sum = 0;
  for (std::size_t n = 0; n < profile.rates().size(); ++n)
    sum += profile.weights()[n] * retrieval_gain(profile.rates()[n], 1, 0.3, 1, 0.25);
  CHECK(profile(0.3, 0.25) == Approx(sum).epsilon(4 * epsilon));
}

TEST_CASE("retrieval refuses what has no meaning", "[retrieval]") {
  CHECK_THAT(refusal([] { (void)alibi_density(1, 0, 0); }), ContainsSubstring("alibi_density: s is 0"));
  CHECK_THAT(refusal([] { (void)alibi_density(infinity, 1, 0); }),
             ContainsSubstring("alibi_density: lambda is inf"));
  CHECK_THAT(refusal([] { (void)alibi_density(1, 0.5, 0.6); }),
             ContainsSubstring("alibi_density: from is 0.6, expected a number from 0 to s = 0.5"));
  CHECK_THAT(refusal([] { (void)retrieval_gain(-1, 1, 1, 1, 0.5); }),
             ContainsSubstring("retrieval_gain: a is -1"));
  CHECK_THAT(refusal([] { (void)retrieval_gain(1, infinity, 1, 1, 0.5); }),
             ContainsSubstring("retrieval_gain: lambda is inf"));
  CHECK_THAT(refusal([] { (void)retrieval_gain(1, 1, -1, 1, 0.5); }),
             ContainsSubstring("retrieval_gain: t is -1"));
  CHECK_THAT(refusal([] { (void)retrieval_gain(1, 1, 1, -1, 0.5); }),
             ContainsSubstring("retrieval_gain: s is -1"));
  CHECK_THAT(refusal([] { (void)retrieval_gain(1, 1, 1, 1, 1.5); }),
             ContainsSubstring("retrieval_gain: from is 1.5"));
  CHECK_THAT(refusal([] { (void)RetrievalProfile(-1, 1, 8); }),
             ContainsSubstring("RetrievalProfile: beta is -1"));
  CHECK_THAT(refusal([] { (void)RetrievalProfile(1, infinity, 8); }),
             ContainsSubstring("RetrievalProfile: lambda is inf"));
  CHECK_THAT(refusal([] { (void)RetrievalProfile(1, 1, 0); }),
             ContainsSubstring("RetrievalProfile: codewords is 0"));
  CHECK_THAT(refusal([] { (void)RetrievalProfile(1, 1, 8)(-1, 0.5); }),
             ContainsSubstring("RetrievalProfile: t is -1"));
  CHECK_THAT(refusal([] { (void)RetrievalProfile(1, 1, 8)(1, 2); }),
             ContainsSubstring("RetrievalProfile: from is 2"));
}
