#include <attnflow/observables/tokens/order_parameters.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::Clusters;
using attnflow::directional_variance;
using attnflow::intra_cluster_variance;
using attnflow::mean_cosine;
using attnflow::order_parameter;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

Eigen::MatrixXd unit_tokens(Index d, Index n, std::uint64_t seed) {
  attnflow::Generator generator(seed);
  return attnflow::uniform_sphere(generator, n, d);
}

/// (2/(n(n−1))) ∑_{i<j} ⟨xᵢ, xⱼ⟩ in long double.
long double cosines(const Eigen::MatrixXd& x) {
  long double sum = 0;
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < i; ++j)
      for (Index k = 0; k < x.rows(); ++k)
        sum += static_cast<long double>(x(k, i)) * static_cast<long double>(x(k, j));
  return 2 * sum / static_cast<long double>(x.cols() * (x.cols() - 1));
}

/// (1/n²) ∑_{i<j} ‖xᵢ − xⱼ‖², which is the variance without a mean.
long double variance(const Eigen::MatrixXd& x) {
  long double sum = 0;
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < i; ++j)
      for (Index k = 0; k < x.rows(); ++k) {
        const long double difference = static_cast<long double>(x(k, i)) - static_cast<long double>(x(k, j));
        sum += difference * difference;
      }
  return sum / static_cast<long double>(x.cols() * x.cols());
}

}  // namespace

TEST_CASE("order parameter, variance and mean cosine are their definitions", "[clustering]") {
  for (const Index d : {1, 2, 3, 20})
    for (const Index n : {2, 3, 50}) {
      const Eigen::MatrixXd x = unit_tokens(d, n, static_cast<std::uint64_t>(d * 100 + n));
      const double R = order_parameter(x), size = 4 * epsilon * static_cast<double>(n);
      CHECK(R == Approx(x.rowwise().mean().norm()).margin(size));
      CHECK(directional_variance(x) == Approx(static_cast<double>(variance(x))).epsilon(size));
      CHECK(directional_variance(x) == Approx(1 - R * R).margin(size));
      CHECK(mean_cosine(x) == Approx(static_cast<double>(cosines(x))).margin(size));
      CHECK(order_parameter(x.cast<float>()) == Approx(R).margin(1e-6));
    }
  const Eigen::MatrixXd pair = (Eigen::MatrixXd(2, 2) << 0.6, -0.6, 0.8, -0.8).finished();
  CHECK(order_parameter(pair) == 0);
  CHECK(directional_variance(pair) == Approx(1).epsilon(2 * epsilon));
  CHECK(mean_cosine(pair) == Approx(-1).epsilon(4 * epsilon));
  const Eigen::MatrixXd simplex = attnflow::equiangular(5, 4, -0.25);
  CHECK(mean_cosine(simplex) == Approx(-0.25).epsilon(8 * epsilon));
  CHECK(mean_cosine(attnflow::equiangular(5, 5, 0.3)) == Approx(0.3).epsilon(8 * epsilon));
}

TEST_CASE("near consensus the variance keeps its digits", "[clustering]") {
  std::mt19937_64 generator(2);
  for (const double spread : {1e-3, 1e-7, 1e-12}) {
    Eigen::MatrixXd x = random(3, 1, generator).normalized().replicate(1, 30);
    for (Index i = 0; i < 30; ++i) x.col(i) = (x.col(i) + spread * random(3, 1, generator)).normalized();
    CHECK(directional_variance(x) == Approx(static_cast<double>(variance(x))).epsilon(1e-13));
    CHECK(directional_variance(x) > 0.1 * spread * spread);
    CHECK(mean_cosine(x) == 1 - directional_variance(x) * 30 / 29);
  }
  CHECK(directional_variance(unit_tokens(4, 1, 1)) == 0);
  CHECK(order_parameter(unit_tokens(4, 1, 1)) == Approx(1).epsilon(2 * epsilon));
}

TEST_CASE("the variance inside clusters leaves out what is between them", "[clustering]") {
  const Eigen::MatrixXd x = unit_tokens(3, 20, 3);
  Clusters all{std::vector<Index>(20, 0), {20}, {0}};
  CHECK(intra_cluster_variance(x, all) == Approx(directional_variance(x)).epsilon(4 * epsilon));
  Clusters parts;
  for (Index i = 0; i < 20; ++i) parts.labels.push_back(i % 3);
  parts.sizes = {7, 7, 6};
  parts.representatives = {0, 1, 2};
  // Within = all − between, the law of total variance.
  double between = 0;
  for (Index q = 0; q < 3; ++q) {
    Eigen::VectorXd mean = Eigen::VectorXd::Zero(3);
    for (Index i = q; i < 20; i += 3)
      mean += x.col(i) / static_cast<double>(parts.sizes[static_cast<std::size_t>(q)]);
    between += static_cast<double>(parts.sizes[static_cast<std::size_t>(q)]) / 20 *
               (mean - x.rowwise().mean()).squaredNorm();
  }
  CHECK(intra_cluster_variance(x, parts) == Approx(directional_variance(x) - between).epsilon(16 * epsilon));
  Clusters single = attnflow::detect_clusters(x, 0);
  CHECK(single.count() == 20);
  CHECK(intra_cluster_variance(x, single) == 0);
}

TEST_CASE("what has no order parameter is refused in words", "[clustering]") {
  Eigen::MatrixXd x = Eigen::MatrixXd::Identity(2, 2);
  CHECK(refusal([&] { (void)order_parameter(Eigen::MatrixXd(2, 0)); }) ==
        "order_parameter: x has 0 tokens, expected at least 1");
  CHECK(refusal([&] { (void)mean_cosine(x.leftCols(1)); }) ==
        "mean_cosine: x has 1 tokens, expected at least 2");
  CHECK(refusal([&] {
          (void)intra_cluster_variance(x, Clusters{{0}, {1}, {0}});
        }) == "intra_cluster_variance: clusters have 1 labels, expected 2, one for each token");
  CHECK(refusal([&] {
          (void)intra_cluster_variance(x, Clusters{{0, 1}, {2}, {0}});
        }) == "intra_cluster_variance: label 1 is 1, expected 0 to 0");
  x(0, 1) = std::nan("");
  CHECK(refusal([&] { (void)directional_variance(x); }) ==
        "directional_variance: token 1 of x is (nan   1), expected finite numbers");
}
