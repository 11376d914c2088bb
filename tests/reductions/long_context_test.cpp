#include <attnflow/reductions/long_context.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>

namespace {

using attnflow::attention_layer_cosine;
using attnflow::critical_attention_scale;
using attnflow::long_context_cosine;
using Catch::Matchers::ContainsSubstring;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// The same of the tokens themselves, by the double loop.
double cosine_of_tokens(Eigen::Index n, double beta, double rho) {
  const Eigen::MatrixXd x = attnflow::equiangular(n, n, rho);
  Eigen::MatrixXd y = Eigen::MatrixXd::Zero(n, n);
  for (Eigen::Index i = 0; i < n; ++i)
    for (Eigen::Index j = 0; j < n; ++j) y.col(i) += std::exp(beta * x.col(i).dot(x.col(j))) * x.col(j);
  return y.col(0).dot(y.col(n - 1)) / (y.col(0).norm() * y.col(n - 1).norm());
}

}  // namespace

TEST_CASE("the cosine after a layer is that of the tokens", "[long_context]") {
  for (const Eigen::Index n : {2, 3, 17})
    for (const double beta : {-3.0, -0.2, 0.0, 0.3, 2.0, 11.0})
      for (const double share : {0.02, 0.3, 0.7, 1.0}) {
        const double low = -1. / static_cast<double>(n - 1), rho = low + share * (1 - low);
        CAPTURE(n, beta, rho);
        // Sums of n² terms of size e^β, of which ten in a hundred may be left.
        CHECK(attention_layer_cosine(n, beta, rho) == Approx(cosine_of_tokens(n, beta, rho)).margin(1e-12));
      }
  // On a simplex attention leaves the directions, or turns all of them round.
  CHECK(attention_layer_cosine(3, 2, -0.5) == Approx(-0.5).epsilon(8 * epsilon));
  CHECK(attention_layer_cosine(3, -2, -0.5) == Approx(-0.5).epsilon(8 * epsilon));
  CHECK(attention_layer_cosine(1000000000000, 1e5, 0.25) == 0.25);
  CHECK(attention_layer_cosine(1000000000000, 0, 0.25) == 1);
}

TEST_CASE("the layer tends to its limit in three regimes", "[long_context]") {
  CHECK(long_context_cosine(critical_attention_scale(0.2), 0.2) == Approx(0.5));
  CHECK(critical_attention_scale(0.2) == 1.25);
  for (const double rho : {0.0, 0.1, 0.5, 0.9}) {
    const double critical = critical_attention_scale(rho);
    const auto at = [&](double gamma, Eigen::Index n) {
      return attention_layer_cosine(n, gamma * std::log(static_cast<double>(n)), rho);
    };
    CAPTURE(rho);
    // At the critical scale the error falls like 1/n, or 1/√n for orthogonal tokens; beside it like a power of n.
    double last = 1;
    for (const Eigen::Index n : {100, 10000, 1000000}) {
      const double error = std::abs(at(critical, n) - long_context_cosine(critical, rho));
      CHECK(error < (rho == 0 ? 0.11 : 0.02) * last);
      last = error;
    }
    CHECK(long_context_cosine(0.8 * critical, rho) == 1);
    CHECK(long_context_cosine(1.2 * critical, rho) == rho);
    const Eigen::Index n = 1000000000000000;
    CHECK(at(0.8 * critical, n) == Approx(1).epsilon(0.01));
    CHECK(at(1.2 * critical, n) == Approx(rho).margin(0.01));
  }
  CHECK(long_context_cosine(-1, 0.4) == 1);
  CHECK(long_context_cosine(7, 1) == 1);
  for (int k = 1; k < 100; ++k) {  // however the critical scale was rounded
    const double rho = k / 100.;
    for (const double turn : {1 - 2 * epsilon, 1., 1 + 2 * epsilon})
      CHECK(long_context_cosine(turn / (1 - rho), rho) == Approx(4 * rho / (1 + 3 * rho)));
  }
}

TEST_CASE("long contexts refuse what has no meaning", "[long_context]") {
  CHECK_THAT(refusal([] { (void)attention_layer_cosine(1, 1, 0); }),
             ContainsSubstring("attention_layer_cosine: n is 1, expected at least 2"));
  CHECK_THAT(refusal([] { (void)attention_layer_cosine(5, 1, -0.5); }),
             ContainsSubstring("attention_layer_cosine: rho is -0.5, expected a number from -0.25"));
  CHECK_THAT(refusal([] { (void)attention_layer_cosine(5, std::nan(""), 0.5); }),
             ContainsSubstring("attention_layer_cosine: beta is nan"));
  CHECK_THAT(refusal([] { (void)attention_layer_cosine(2, 0, -1); }),
             ContainsSubstring("attention_layer_cosine: the outputs vanish"));
  CHECK_THAT(refusal([] { (void)long_context_cosine(std::nan(""), 0.5); }),
             ContainsSubstring("long_context_cosine: gamma is nan"));
  CHECK_THAT(refusal([] { (void)long_context_cosine(1, -0.1); }),
             ContainsSubstring("long_context_cosine: rho is -0.1, expected a number from 0 to 1"));
  CHECK_THAT(refusal([] { (void)critical_attention_scale(1.1); }),
             ContainsSubstring("critical_attention_scale: rho is 1.1"));
}
