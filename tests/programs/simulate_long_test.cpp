// simulate over the time that the theory speaks of: V = I to t = 10⁶ with default options.
#include "programs/simulate_run.hpp"

#include <Eigen/Core>

#include <cmath>
#include <cstddef>
#include <numbers>

namespace {

using namespace simulate_test;
using Eigen::Index;

/// Unit vectors all around, as columns: in the plane at equal angles, in space along a golden spiral.
Eigen::MatrixXd directions(Index d, Index count) {
  Eigen::MatrixXd u(d, count);
  for (Index k = 0; k < count; ++k) {
    const double part = (static_cast<double>(k) + 0.5) / static_cast<double>(count);
    if (d == 2) {
      u.col(k) << std::cos(2 * std::numbers::pi * part), std::sin(2 * std::numbers::pi * part);
    } else {
      const double height = 1 - 2 * part, radius = std::sqrt(1 - height * height);
      const double angle = 2 * std::numbers::pi * static_cast<double>(k) / std::numbers::phi;
      u.col(k) << radius * std::cos(angle), radius * std::sin(angle), height;
    }
  }
  return u;
}

Eigen::MatrixXd tokens_at(const Values& tokens, Index k) {
  Eigen::MatrixXd z(tokens.shape[2], tokens.shape[1]);
  for (Index i = 0; i < z.cols(); ++i)
    for (Index c = 0; c < z.rows(); ++c) z(c, i) = tokens(k, i, c);
  return z;
}

double diameter(const Eigen::MatrixXd& z) {
  double largest = 0;
  for (Index i = 0; i < z.cols(); ++i)
    largest = std::max(largest, (z.colwise() - z.col(i)).colwise().norm().maxCoeff());
  return largest;
}

/// For V = QᵀK = I the hull of z shrinks [GLPR23, Theorem 3.1], and its vertices are reached like e^{−t}.
void check_run_to_a_million(Index d, const std::string& precision, double row_tolerance, double tolerance) {
  const RunFolder folder;
  const std::vector<double> at{0, 1, 10, 30, 31, 100, 1e3, 1e4, 1e5, 5e5, 1e6};
  const std::string times = put(folder / "t.npy", {static_cast<Index>(at.size())}, at), out = folder / "out";
  run({"--uniform-box", "25," + std::to_string(d) + ",-5,5", "--t-end", "1e6", "--precision", precision,
       "--times", times, "--attention"},
      out);
  const auto r = report(out);
  CHECK(r.at("outcome") == "reached_end");
  CHECK(r.at("t") == 1e6);

  const Values tokens(out + "/tokens.npy"), attention(out + "/attention.npy");
  REQUIRE(tokens.shape == Shape{11, 25, d});
  REQUIRE(attention.shape == Shape{11, 25, 25});
  for (std::size_t row = 0; row < attention.values.size(); row += 25) {
    double sum = 0;
    for (std::size_t j = 0; j < 25; ++j) sum += attention.values[row + j];
    CHECK(std::abs(sum - 1) < row_tolerance);
  }

  const Eigen::MatrixXd start = tokens_at(tokens, 0), u = directions(d, 5000);
  const double size = diameter(start);
  CHECK(size > 5);
  const Eigen::VectorXd support = (u.transpose() * start).rowwise().maxCoeff();
  for (Index k = 0; k < 11; ++k) {
    INFO("t = " << at[static_cast<std::size_t>(k)]);
    const Eigen::MatrixXd z = tokens_at(tokens, k);
    REQUIRE(z.allFinite());
    CHECK(((u.transpose() * z).rowwise().maxCoeff() - support).maxCoeff() < tolerance * size);
    if (k < 4) continue;
    CHECK((z - tokens_at(tokens, 3)).colwise().norm().maxCoeff() < tolerance * size);  // at rest from t = 30
  }
}

}  // namespace

TEST_CASE("the plane, double, to t = 1e6", "[simulate][plane]") {
  check_run_to_a_million(2, "double", 1e-12, 1e-8);
}
TEST_CASE("space, double, to t = 1e6", "[simulate][space]") {
  check_run_to_a_million(3, "double", 1e-12, 1e-8);
}
TEST_CASE("the plane, float, to t = 1e6", "[simulate][plane]") {
  check_run_to_a_million(2, "float", 1e-5, 1e-3);
}
TEST_CASE("space, float, to t = 1e6", "[simulate][space]") { check_run_to_a_million(3, "float", 1e-5, 1e-3); }
