#include <attnflow/observables/attention/effective_rank.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using attnflow::effective_rank;
using attnflow::EffectiveRank;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// H₁ diag(s) H₂ (m × n) with two Householder reflections: the singular values are s.
Eigen::MatrixXd with_singular_values(const Eigen::VectorXd& s, Index m, Index n) {
  const auto reflection = [](Index size, double phase) {
    Eigen::VectorXd v(size);
    for (Index k = 0; k < size; ++k) v(k) = std::sin(phase + 1.7 * static_cast<double>(k));
    v.normalize();
    return (Eigen::MatrixXd::Identity(size, size) - 2 * v * v.transpose()).eval();
  };
  Eigen::MatrixXd diagonal = Eigen::MatrixXd::Zero(m, n);
  diagonal.diagonal() = s;
  return reflection(m, 0.3) * diagonal * reflection(n, 1.1);
}

double entropy_rank_of(const Eigen::VectorXd& s) {
  double entropy = 0;
  for (const double value : s)
    if (value > 0) entropy -= value / s.sum() * std::log(value / s.sum());
  return std::exp(entropy);
}

}  // namespace

TEST_CASE("singular values that are known come out, of any shape", "[clustering]") {
  for (const auto& [m, n] :
       std::vector<std::pair<Index, Index>>{{1, 1}, {5, 5}, {40, 40}, {90, 90}, {30, 50}, {70, 20}}) {
    const Index r = std::min(m, n);
    const Eigen::VectorXd s =
        Eigen::VectorXd::NullaryExpr(r, [](Index k) { return 3 / static_cast<double>(1 + k); });
    const EffectiveRank found = effective_rank(with_singular_values(s, m, n));
    CHECK((found.singular_values - s).cwiseAbs().maxCoeff() <
          3 * static_cast<double>(std::max(m, n)) * epsilon * 3);
    CHECK(found.rank == r);
    CHECK(found.stable_rank == Approx(s.squaredNorm() / 9).epsilon(1e-12));
    CHECK(found.entropy_rank == Approx(entropy_rank_of(s)).epsilon(1e-12));
    CHECK(found.tolerance == Approx(static_cast<double>(std::max(m, n)) * epsilon * 3));
  }
}

TEST_CASE("a circulant attention matrix has the moduli of its Fourier sums", "[clustering]") {
  const Index n = 24;
  const std::vector<double> weights = {0.6, 0.3, 0.1};
  Eigen::MatrixXd P = Eigen::MatrixXd::Zero(n, n);
  for (Index i = 0; i < n; ++i)
    for (Index k = 0; k < 3; ++k) P(i, (i + k) % n) = weights[static_cast<std::size_t>(k)];
  Eigen::VectorXd s(n);
  for (Index q = 0; q < n; ++q) {
    std::complex<double> sum = 0;
    for (Index k = 0; k < 3; ++k)
      sum += weights[static_cast<std::size_t>(k)] *
             std::polar(1., 2 * std::acos(-1.) * static_cast<double>(q * k) / static_cast<double>(n));
    s(q) = std::abs(sum);
  }
  std::sort(s.begin(), s.end(), std::greater<>());
  const EffectiveRank found = effective_rank(P);
  CHECK((found.singular_values - s).cwiseAbs().maxCoeff() < 24 * epsilon);
  CHECK(found.rank == n);
  CHECK(found.stable_rank == Approx(P.squaredNorm()).epsilon(1e-12));  // σ₁ = 1
  CHECK(found.entropy_rank == Approx(entropy_rank_of(s)).epsilon(1e-12));
}

TEMPLATE_TEST_CASE("a Boolean matrix has the rank of its leaders", "[clustering]", float, double) {
  using Matrix = Eigen::Matrix<TestType, Eigen::Dynamic, Eigen::Dynamic>;
  for (const Index n : {3, 10, 100}) {
    Matrix P = Matrix::Zero(n, n);  // one row follows token 0, all others the last one
    P(0, 0) = 1;
    for (Index i = 1; i < n; ++i) P(i, n - 1) = 1;
    const auto others = static_cast<double>(n - 1);
    const EffectiveRank found = effective_rank(P);
    CHECK(found.rank == 2);
    CHECK(found.singular_values(0) == Approx(std::sqrt(others)));
    CHECK(found.singular_values(1) == Approx(1));
    CHECK(found.stable_rank == Approx((others + 1) / others));
    CHECK(found.entropy_rank == Approx(entropy_rank_of(Eigen::Vector2d(std::sqrt(others), 1))));
    CHECK(found.tolerance ==
          Approx(static_cast<double>(n) * static_cast<double>(std::numeric_limits<TestType>::epsilon()) *
                 std::sqrt(others)));
  }
}

TEST_CASE("the extremes are one and n", "[clustering]") {
  for (const Index n : {1, 4, 50}) {
    const EffectiveRank one = effective_rank(Eigen::MatrixXd::Constant(n, n, 1 / static_cast<double>(n)));
    CHECK(one.rank == 1);
    CHECK(one.stable_rank == Approx(1));
    CHECK(one.entropy_rank == Approx(1).epsilon(1e-12));
    const EffectiveRank all = effective_rank(Eigen::MatrixXd::Identity(n, n));
    CHECK(all.rank == n);
    CHECK(all.stable_rank == Approx(static_cast<double>(n)));
    CHECK(all.entropy_rank == Approx(static_cast<double>(n)));
  }
  CHECK(effective_rank(Eigen::Matrix3d::Identity()).rank == 3);
}

TEST_CASE("the tolerance decides the plain rank and nothing else", "[clustering]") {
  const Eigen::VectorXd s = (Eigen::VectorXd(4) << 1, 1e-3, 1e-6, 1e-18).finished();
  const Eigen::MatrixXd P = with_singular_values(s, 4, 4);
  CHECK(effective_rank(P).rank == 3);
  CHECK(effective_rank(P, 1e-4).rank == 2);
  CHECK(effective_rank(P, 0.5).rank == 1);
  CHECK(effective_rank(P, 2).rank == 0);
  CHECK(effective_rank(P, 1e-4).tolerance == 1e-4);
  CHECK(effective_rank(P, 1e-4).entropy_rank == effective_rank(P).entropy_rank);
  // What counts exactly is "above": a singular value equal to the tolerance is zero.
  CHECK(effective_rank(Eigen::MatrixXd::Identity(3, 3), 1).rank == 0);
  // In float the rounding of the entries is larger, and so is the tolerance.
  CHECK(effective_rank(with_singular_values(Eigen::Vector2d(1, 1e-7), 2, 2).cast<float>()).rank == 1);
}

TEST_CASE("ranks do not depend on the scale", "[clustering]") {
  const Eigen::VectorXd s =
      (Eigen::VectorXd(20) << Eigen::VectorXd::LinSpaced(15, 2, 1), Eigen::VectorXd::Zero(5)).finished();
  const Eigen::MatrixXd P = with_singular_values(s, 20, 20);
  const EffectiveRank expected = effective_rank(P);
  REQUIRE(expected.rank == 15);
  for (const int exponent : {1000, -960}) {
    const EffectiveRank found = effective_rank(P * std::ldexp(1., exponent));
    CHECK(found.rank == 15);
    CHECK(found.stable_rank == expected.stable_rank);
    CHECK(found.entropy_rank == expected.entropy_rank);
    CHECK(found.singular_values == expected.singular_values * std::ldexp(1., exponent));
  }
}

TEST_CASE("a matrix of zeros, or of nothing, has rank zero", "[clustering]") {
  for (const EffectiveRank& found :
       {effective_rank(Eigen::MatrixXd::Zero(4, 4)), effective_rank(Eigen::MatrixXf(0, 0)),
        effective_rank(Eigen::MatrixXd(0, 3), 1e-3)}) {
    CHECK(found.rank == 0);
    CHECK(found.stable_rank == 0);
    CHECK(found.entropy_rank == 0);
    CHECK((found.singular_values.array() == 0).all());
  }
  CHECK(effective_rank(Eigen::MatrixXd::Zero(4, 4)).singular_values.size() == 4);
}

TEST_CASE("what has no rank is refused in words", "[clustering]") {
  Eigen::MatrixXd P = Eigen::MatrixXd::Identity(3, 3);
  CHECK(refusal([&] { (void)effective_rank(P, -1.0); }) ==
        "effective_rank: tolerance is -1, expected a finite number, at least 0");
  CHECK(refusal([&] { (void)effective_rank(P, std::nan("")); }) ==
        "effective_rank: tolerance is nan, expected a finite number, at least 0");
  P(1, 2) = std::numeric_limits<double>::infinity();
  CHECK(refusal([&] { (void)effective_rank(P); }) ==
        "effective_rank: P(1, 2) is inf, expected a finite number");
}
