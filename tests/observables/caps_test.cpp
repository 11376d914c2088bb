#include <attnflow/observables/tokens/caps.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

namespace {

using attnflow::cap_labels;
using attnflow::cap_overlap;
using attnflow::cap_statistics;
using attnflow::no_cap;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// The unit vector at an angle from u towards the direction of v.
Eigen::VectorXd turned(const Eigen::VectorXd& u, const Eigen::VectorXd& v, double angle) {
  return std::cos(angle) * u + std::sin(angle) * (v - u.dot(v) * u).normalized();
}

}  // namespace

TEST_CASE("tokens are in the caps of the definition", "[clustering]") {
  attnflow::Generator generator(1);
  for (const Index d : {2, 3, 6})
    for (const double depth : {0., 0.01, 0.1, 0.5, 1.}) {
      const Eigen::MatrixXd x = attnflow::uniform_sphere(generator, 200, d),
                            w = attnflow::uniform_sphere(generator, 5, d);
      const auto labels = cap_labels(x, w, depth);
      for (Index i = 0; i < 200; ++i) {
        Index expected = no_cap;
        double largest = 1 - depth;
        for (Index q = 0; q < 5; ++q)
          if (x.col(i).dot(w.col(q)) >= largest) {
            largest = x.col(i).dot(w.col(q));
            expected = q;
          }
        CHECK(labels[static_cast<std::size_t>(i)] == expected);
      }
      CHECK(cap_labels(w, w, depth) == std::vector<Index>{0, 1, 2, 3, 4});
    }
  CHECK(cap_labels(Eigen::MatrixXd(3, 0), Eigen::MatrixXd::Identity(3, 1), 0.1).empty());
}

TEST_CASE("spread in caps and tokens that have left are those of the definition", "[clustering]") {
  attnflow::Generator generator(2);
  std::mt19937_64 draws(2);
  const double depth = 0.05;
  const Eigen::MatrixXd w = Eigen::MatrixXd::Identity(4, 4);
  Eigen::MatrixXd x(4, 40);
  std::vector<Index> labels;
  for (Index i = 0; i < 40; ++i) {
    labels.push_back(i % 5 == 4 ? no_cap : i % 5);
    x.col(i) = turned(w.col(i % 4), attnflow::uniform_sphere(generator, 1, 4).col(0), unit(draws));
  }
  const auto found = cap_statistics(x, w, labels, depth);
  std::vector<double> spread(4, 0);
  std::vector<Index> outside;
  for (Index i = 0; i < 40; ++i) {
    const Index q = labels[static_cast<std::size_t>(i)];
    if (q == no_cap) continue;
    if (x.col(i).dot(w.col(q)) < 1 - 2 * depth) outside.push_back(i);
    for (Index j = 0; j < 40; ++j)
      if (labels[static_cast<std::size_t>(j)] == q)
        spread[static_cast<std::size_t>(q)] =
            std::max(spread[static_cast<std::size_t>(q)], (x.col(i) - x.col(j)).squaredNorm());
  }
  CHECK(found.outside == outside);
  CHECK(!outside.empty());
  CHECK(outside.size() < 32);
  for (std::size_t q = 0; q < 4; ++q) CHECK(found.spread[q] == Approx(spread[q]).epsilon(16 * epsilon));
  CHECK(found.widest == *std::ranges::max_element(found.spread));
  const auto one = cap_statistics(w, w, std::vector<Index>{0, 1, 2, 3}, 0);
  CHECK(one.widest == 0);
  CHECK(one.outside.empty());
}

TEST_CASE("the overlap of caps is their largest inner product", "[clustering]") {
  attnflow::Generator generator(3);
  std::mt19937_64 draws(3);
  // Orthogonal centres: 4 (1 − 2ε) √(ε (1 − ε)).
  for (const double depth : {0., 1e-9, 0.002, 0.05})
    CHECK(cap_overlap(Eigen::MatrixXd::Identity(3, 3), depth) ==
          Approx(4 * (1 - 2 * depth) * std::sqrt(depth * (1 - depth))).margin(4 * epsilon));
  CHECK(cap_overlap(Eigen::MatrixXd::Identity(3, 1), 0.01) == -1);
  // Caps that touch: ψ = 2φ.
  CHECK(cap_overlap(Eigen::MatrixXd::Identity(2, 2), 0.5 * (1 - std::cos(std::numbers::pi / 4))) ==
        Approx(1).epsilon(4 * epsilon));
  CHECK(cap_overlap(Eigen::MatrixXd::Identity(2, 2), 0.4) == 1);
  // Points drawn on the rims come near the largest product, and never beyond it.
  const double depth = 0.01, half_angle = std::acos(1 - 2 * depth);
  const Eigen::MatrixXd w = attnflow::uniform_sphere(generator, 4, 3);
  const double alpha = cap_overlap(w, depth);
  double largest = -1;
  for (Index p = 0; p < 4; ++p)
    for (Index q = 0; q < p; ++q)
      for (int k = 0; k < 4000; ++k) {
        const Eigen::MatrixXd to = attnflow::uniform_sphere(generator, 2, 3);
        largest = std::max(
            largest, turned(w.col(p), to.col(0), half_angle).dot(turned(w.col(q), to.col(1), half_angle)));
      }
  CHECK(largest <= alpha + 4 * epsilon);
  CHECK(largest > alpha - 0.01);
}

TEST_CASE("what is no cap is refused in words", "[clustering]") {
  const Eigen::MatrixXd x = Eigen::MatrixXd::Identity(2, 2);
  const std::vector<Index> labels{0, 2}, few{0};
  CHECK(refusal([&] { (void)cap_labels(x, x, -0.1); }) ==
        "cap_labels: epsilon is -0.1, expected a number from 0 to 1");
  CHECK(refusal([&] { (void)cap_labels(x, Eigen::MatrixXd(2, 0), 0.1); }) ==
        "cap_labels: w has no columns, expected a centre at least");
  CHECK(refusal([&] { (void)cap_labels(x, Eigen::MatrixXd::Zero(3, 1), 0.1); }) ==
        "cap_labels: w has 3 rows, expected d = 2, as x has");
  CHECK(refusal([&] { (void)cap_statistics(x, x, labels, 0.1); }) ==
        "cap_statistics: labels[1] is 2, expected -1 to 1");
  CHECK(refusal([&] { (void)cap_statistics(x, x, few, 0.1); }) ==
        "cap_statistics: there are 1 labels, expected 2, one for each token");
  CHECK(refusal([&] { (void)cap_statistics(x, Eigen::MatrixXd::Zero(3, 1), labels, 0.1); }) ==
        "cap_statistics: w has 3 rows, expected d = 2, as x has");
  CHECK(refusal([&] { (void)cap_statistics(x, x, labels, 0.6); }) ==
        "cap_statistics: epsilon is 0.6, expected a number from 0 to 0.5");
  CHECK(refusal([&] { (void)cap_overlap(Eigen::MatrixXd(2, 0), 0.1); }) ==
        "cap_overlap: w has no columns, expected a centre at least");
  CHECK(refusal([&] { (void)cap_overlap(Eigen::MatrixXd::Ones(1, 2), 0.1); }) ==
        "cap_overlap: w has 1 rows, expected d of at least 2");
}
