#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/observables/tokens/caps.hpp>
#include <attnflow/reductions/metastability.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::metastability_bounds;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// n tokens in caps S_q(depth) about the first basis vectors, by turns.
attnflow::Tokens<double> in_caps(Index d, Index n, Index caps, double depth, attnflow::Generator& generator) {
  attnflow::Tokens<double> x(d, n);
  for (Index i = 0; i < n; ++i) do {
      x.col(i) = (Eigen::VectorXd::Unit(d, i % caps) +
                  std::sqrt(2 * depth) * attnflow::uniform_box(generator, 1, d, -1, 1).col(0))
                     .normalized();
    } while (x(i % caps, i) < 1 - depth);
  return x;
}

/// Follows the law by projected Euler steps up to T₁, and holds tokens against the theorem.
template <class Law>
void follow(const Law& law, attnflow::Tokens<double> x, const Eigen::MatrixXd& w, double depth,
            double lambda) {
  const attnflow::SphereDynamics<double, Eigen::Dynamic, Law> field(
      attnflow::Head<double>::identity(x.rows()), law);
  const auto labels = attnflow::cap_labels(x, w, depth);
  const auto bounds = metastability_bounds(x.cols(), law.beta, depth, attnflow::cap_overlap(w, depth));
  REQUIRE(bounds.applies());
  REQUIRE(lambda < bounds.rate);
  const double T1 = bounds.contracted(lambda), h = 0.25;
  REQUIRE(T1 < bounds.lasts);
  attnflow::Tokens<double> dx;
  std::size_t left = 0;
  for (double t = 0; t < T1; t += h) {
    field(t, x, dx);
    x += h * dx;
    attnflow::sphere::normalize(x);
    left += attnflow::cap_statistics(x, w, labels, depth).outside.size();
  }
  CHECK(left == 0);
  CHECK(attnflow::cap_statistics(x, w, labels, depth).widest <= 2 * std::exp(-lambda * law.beta));
}

}  // namespace

TEST_CASE("the bounds are their formulas", "[theory]") {
  const Index n = 6;
  const double beta = 40, depth = 0.002, alpha = 0.17;
  const auto found = metastability_bounds(n, beta, depth, alpha);
  const double gamma = 1 - alpha - 8 * depth - std::log(72 / depth) / beta;
  CHECK(found.gamma == Approx(gamma).epsilon(8 * epsilon));
  CHECK(found.lasts == Approx(depth / 6 * std::exp((1 - alpha) * beta)).epsilon(128 * epsilon));
  CHECK(found.contracted(0.5) ==
        Approx(12 * std::exp(8 * depth * beta) + std::exp(1) * 6 * 0.5 * beta * beta / (beta - 1))
            .epsilon(16 * epsilon));
  CHECK(found.rate ==
        Approx(1 - alpha - 8 * depth - std::log(72 / (1 - 8 * depth)) / beta).epsilon(16 * epsilon));
  CHECK(found.applies());
  // T₁ < T₂ for λ below the rate, and for no larger one where the first bound is the smaller.
  for (const double b : {2., 8., 12., 15., 20., 40.})
    for (const double a : {-1., -0.5, 0., 0.3})
      for (const double e : {1e-6, 1e-3, 0.05})
        for (const Index tokens : {1, 2, 10}) {
          const auto bounds = metastability_bounds(tokens, b, e, a);
          if (!bounds.applies()) continue;
          CHECK(bounds.contracted(bounds.rate * (1 - 1e-9)) < bounds.lasts);
          const double second =
              1 - a - 8 * e - std::log(2. * static_cast<double>(tokens * tokens) / (1 - 8 * e)) / b;
          CHECK(bounds.rate <= second * (1 + 1e-12));
          if (bounds.rate < second * (1 - 1e-9))
            CHECK(bounds.contracted(bounds.rate) == Approx(bounds.lasts).epsilon(1e-10));
        }
  // Hypotheses that fail, and times beyond the range.
  CHECK(!metastability_bounds(6, 40, 0.002, 0.9).applies());
  CHECK(metastability_bounds(6, 40, 0.002, 0.9).rate == 0);
  CHECK(metastability_bounds(6, 1e4, 0.002, 0.1).lasts == std::numeric_limits<double>::infinity());
  CHECK(std::isfinite(metastability_bounds(6, 1e4, 0.002, 0.1).rate));
  CHECK(std::isfinite(metastability_bounds(6, 1e300, 0.002, 0.1).gamma));
}

TEST_CASE("clusters last and contract as long as the theorem says", "[theory]") {
  attnflow::Generator generator(1);
  const double depth = 0.002, beta = 40;
  const Eigen::MatrixXd w = Eigen::MatrixXd::Identity(3, 3);
  for (int draw = 0; draw < 3; ++draw) {
    const auto x = in_caps(3, 6, 3, depth, generator);
    follow(attnflow::Softmax{beta}, x, w, depth, 0.65);
    follow(attnflow::Unnormalized{beta, true}, x, w, depth, 0.65);
  }
}

TEST_CASE("what has no bounds is refused in words", "[theory]") {
  CHECK(refusal([] { (void)metastability_bounds(0, 2, 0.01, 0); }) ==
        "metastability_bounds: n is 0, expected at least 1");
  CHECK(refusal([] { (void)metastability_bounds(2, 1, 0.01, 0); }) ==
        "metastability_bounds: beta is 1, expected a finite number above 1");
  CHECK(refusal([] { (void)metastability_bounds(2, 2, 0.0625, 0); }) ==
        "metastability_bounds: epsilon is 0.0625, expected a number between 0 and 1/16");
  CHECK(refusal([] { (void)metastability_bounds(2, 2, 0.01, std::nan("")); }) ==
        "metastability_bounds: alpha is nan, expected a number from -1 to 1");
}
