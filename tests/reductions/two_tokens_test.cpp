#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/reductions/two_tokens.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>

namespace {

using attnflow::two_cluster_time;
using attnflow::two_token_time;
using Catch::Matchers::ContainsSubstring;
using SA = attnflow::Softmax;
using USA = attnflow::Unnormalized;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// The time by small steps of the equation of the angles of two clusters on the circle: a at α turns to b with speed
/// w_a sin(β − α), and b to a. Fourth order, until the inner product is `to`.
double time_by_steps(double beta, double share, bool softmax, double from, double to) {
  const auto closing = [&](double gap) {  // − d gap / dt
    const double own = std::exp(beta), other = std::exp(beta * std::cos(gap));
    const double a =
        softmax ? (1 - share) * other / (share * own + (1 - share) * other) : (1 - share) * other;
    const double b = softmax ? share * other / ((1 - share) * own + share * other) : share * other;
    return (a + b) * std::sin(gap);
  };
  // dt = −d gap / closing(gap), by Simpson's rule on equal steps of the gap.
  const double begin = std::acos(to), end = std::acos(from);
  const int steps = 20000;
  double sum = 0;
  for (int k = 0; k <= steps; ++k) {
    const int weight = k == 0 || k == steps ? 1 : k % 2 == 1 ? 4 : 2;
    sum += weight / closing(begin + (end - begin) * k / steps);
  }
  return sum * (end - begin) / steps / 3;
}

}  // namespace

TEST_CASE("two tokens take the time of the integral", "[two_tokens]") {
  // Computed elsewhere with 30 digits.
  CHECK(two_token_time(SA{6}, -0.2, 0.9) == Approx(116.150442043147420193298).epsilon(64 * epsilon));
  CHECK(two_token_time(SA{0}, 0, std::tanh(1.)) == Approx(1).epsilon(64 * epsilon));
  CHECK(two_token_time(SA{3}, -1, 0) == infinity);
  CHECK(two_token_time(USA{3}, 0, 1) == infinity);
  for (const double beta : {0.0, 2.0, 6.0})
    for (const bool softmax : {true, false}) {
      CAPTURE(beta, softmax);
      const double time =
          softmax ? two_token_time(SA{beta}, -0.7, 0.95) : two_token_time(USA{beta}, -0.7, 0.95);
      // Simpson's rule with 20000 steps on a layer of width 1/β.
      CHECK(time == Approx(time_by_steps(beta, 0.5, softmax, -0.7, 0.95)).epsilon(1e-11));
    }
  // The metastable time, with a correction of 1/β.
  CHECK(two_token_time(SA{400}, 0.1, 0.9) * std::exp(-400 * 0.9 + 300) ==
        Approx(std::exp(300.) / (800 * 0.99)).epsilon(0.01));
}

TEST_CASE("two clusters take the time of their equation", "[two_tokens]") {
  for (const double beta : {0.0, 2.0, 6.0, -1.0})
    for (const double share : {0.5, 0.1, 0.75}) {
      CAPTURE(beta, share);
      CHECK(two_cluster_time(SA{beta}, share, -0.7, 0.95) ==
            Approx(time_by_steps(beta, share, true, -0.7, 0.95)).epsilon(1e-11));
      CHECK(two_cluster_time(USA{beta}, share, -0.7, 0.95) ==
            Approx(time_by_steps(beta, share, false, -0.7, 0.95)).epsilon(1e-11));
      CHECK(two_cluster_time(USA{beta, true}, share, -0.7, 0.95) ==
            Approx(std::exp(beta) * two_cluster_time(USA{beta}, share, -0.7, 0.95)).epsilon(1e-12));
      // Which is called a does not matter, and equal halves are two tokens.
      CHECK(two_cluster_time(SA{beta}, share, 0, 0.5) ==
            Approx(two_cluster_time(SA{beta}, 1 - share, 0, 0.5)).epsilon(1e-13));
      if (share == 0.5)
        CHECK(two_cluster_time(SA{beta}, share, -0.2, 0.9) ==
              Approx(two_token_time(SA{beta}, -0.2, 0.9)).epsilon(1e-13));
    }
  CHECK(two_cluster_time(SA{2}, 0.3, 0.5, 0.5) == 0);
  CHECK(two_cluster_time(SA{2}, 0.3, 0.5, 0.2) == -two_cluster_time(SA{2}, 0.3, 0.2, 0.5));
  CHECK(two_cluster_time(SA{2}, 0.3, 0.5, 1) == infinity);
}

TEST_CASE("merge times refuse what has no meaning", "[two_tokens]") {
  CHECK_THAT(refusal([] { (void)two_token_time(SA{1}, -1.5, 0); }), ContainsSubstring("from is -1.5"));
  CHECK_THAT(refusal([] { (void)two_cluster_time(SA{1}, 0, 0, 0.5); }),
             ContainsSubstring("two_cluster_time: share is 0, expected a number between 0 and 1"));
  CHECK_THAT(refusal([] { (void)two_cluster_time(SA{1}, 0.5, 0, 1.5); }),
             ContainsSubstring("two_cluster_time: to is 1.5"));
  CHECK_THAT(refusal([] { (void)two_cluster_time(SA{infinity}, 0.5, 0, 0.5); }),
             ContainsSubstring("Softmax::beta is inf"));
}
