#include <attnflow/reductions/softmax_covariance.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "reductions/gaussian.hpp"
#include "refusal.hpp"

#include <limits>
#include <random>
#include <vector>

namespace {

using Catch::Matchers::ContainsSubstring;
using namespace gaussian;

using attnflow::gaussian_state;
using attnflow::GaussianClosure;
using attnflow::GaussianLaw;
using attnflow::SoftmaxCovariance;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("softmax with V = I is solved in closed form", "[gaussian]") {
  const Head head{matrix(-0.6, 0.5, 0.1, 0.3), identity(2), identity(2)};
  const MatrixXd S0 = matrix(1, 0, 0, 0.49);
  const SoftmaxCovariance exact(head, S0);
  const MatrixXd S = exact.at(0.5);
  CHECK(S(0, 0) == Approx(0.6459).margin(5e-5));
  CHECK(S(0, 1) == Approx(0.1113).margin(5e-5));
  CHECK(S(1, 1) == Approx(0.5936).margin(5e-5));
  CHECK((run(GaussianClosure(head), gaussian_state(VectorXd::Ones(2), S0), 0.5).rightCols(2) - S).norm() <
        1e-10);
  // S(t) = (S₀⁻¹ − 2t A_s)⁻¹, with β and several heads: A = β ∑ vₕ KₕᵀQₕ.
  std::mt19937_64 generator(13);
  std::vector<Head> heads{random_head<double>(generator, 3), random_head<double>(generator, 3)};
  heads[0].V = -0.6 * identity(3);
  heads[1].V = 0.2 * identity(3);
  const MatrixXd A =
      0.5 * (-0.6 * heads[0].K.transpose() * heads[0].Q + 0.2 * heads[1].K.transpose() * heads[1].Q);
  const MatrixXd start = covariance(generator, 3);
  const SoftmaxCovariance several(heads, start, 0.5);
  const double blow_up = several.blow_up_time();
  REQUIRE(blow_up < 100);
  for (const double t : {-0.1, 0.0, 0.3 * blow_up, 0.9 * blow_up}) {
    const MatrixXd inverse = attnflow::detail::inverse_of(start) - t * (A + A.transpose());
    CAPTURE(t);
    CHECK((several.at(t) * inverse - identity(3)).norm() < 1e-11);
    if (t > 0) {
      const MatrixXd end =
          run(GaussianClosure(heads, GaussianLaw::softmax, 0.5), gaussian_state(VectorXd::Zero(3), start), t);
      CHECK((end.rightCols(3) - several.at(t)).norm() < 1e-9 * end.norm());
    }
  }
  // The blow-up: det(S₀⁻¹ − 2t A_s) = 0 there, and not before.
  CHECK(several.at(blow_up * (1 - 1e-9)).norm() > 1e8);
  // On the line s(t) = s₀/(1 − 2 v a s₀ t).
  const Head line{MatrixXd::Constant(1, 1, 1.5), identity(1), MatrixXd::Constant(1, 1, 0.5)};
  const SoftmaxCovariance on_line(line, MatrixXd::Constant(1, 1, 0.4));
  CHECK(on_line.blow_up_time() == Approx(1 / 0.6).epsilon(8 * epsilon));
  CHECK(on_line.at(1)(0, 0) == Approx(0.4 / (1 - 0.6)).epsilon(16 * epsilon));
}

TEST_CASE("covariances lose the rank that they must", "[gaussian]") {
  // A_s = −FFᵀ has rank 2 in R⁴, and so has the limit. The skew part of A does nothing.
  std::mt19937_64 generator(17);
  const MatrixXd F = random(4, 2, generator), J = random(4, 4, generator);
  const Head head{-F * F.transpose() + J - J.transpose(), identity(4), identity(4)};
  const MatrixXd S0 = covariance(generator, 4);
  const SoftmaxCovariance exact(head, S0);
  CHECK(exact.blow_up_time() == infinity);
  CHECK(exact.limiting_rank() == 2);
  const MatrixXd limit = exact.limit();
  CHECK((exact.at(1e8) - limit).norm() < 1e-6);
  CHECK((F.transpose() * limit).norm() < 1e-12);
  // On ker A_s the inverse of the limit is that of S₀: for v in it, limit · S₀⁻¹ v = v.
  const MatrixXd inverse = attnflow::detail::inverse_of(S0);
  CHECK((limit * inverse * limit - limit).norm() < 1e-11);
  // A singular start loses less: its range meets ker A_s in a smaller space.
  const MatrixXd G = random(4, 3, generator);
  const SoftmaxCovariance flat(head, G * G.transpose());
  CHECK(flat.limiting_rank() == 1);
  CHECK((flat.at(1e8) - flat.limit()).norm() < 1e-5);
  const SoftmaxCovariance still(Head{J - J.transpose(), identity(4), identity(4)}, S0);
  CHECK(still.limiting_rank() == 4);
  CHECK((still.limit() - S0).norm() < 1e-13);
  CHECK(still.blow_up_time() == infinity);
  const Head shrinking{-identity(4), identity(4), identity(4)};
  CHECK(SoftmaxCovariance(shrinking, S0).limiting_rank() == 0);
  CHECK(SoftmaxCovariance(shrinking, MatrixXd::Zero(4, 4)).limiting_rank() == 0);
}

TEST_CASE("closed forms refuse what they do not solve", "[gaussian]") {
  const Head head = Head::identity(2);
  CHECK_THAT(refusal([&] { SoftmaxCovariance(Head::with_value(matrix(1, 0, 0, 2)), identity(2)); }),
             ContainsSubstring("SoftmaxCovariance: V is no multiple of the identity"));
  CHECK_THAT(refusal([&] { SoftmaxCovariance(head, identity(3)); }),
             ContainsSubstring("SoftmaxCovariance: covariance is 3 x 3, expected d = 2 of V"));
  const SoftmaxCovariance both_ways(Head{matrix(1, 0, 0, -0.5), identity(2), identity(2)}, identity(2));
  CHECK_THAT(refusal([&] { (void)both_ways.at(0.75); }),
             ContainsSubstring(
                 "SoftmaxCovariance: t is 0.75, expected a time at which the covariance exists, before 0.5"));
  CHECK_THAT(refusal([&] { (void)both_ways.at(-1.5); }), ContainsSubstring("covariance exists, after -1"));
  CHECK_THAT(refusal([&] { (void)SoftmaxCovariance(head, identity(2)).limiting_rank(); }),
             ContainsSubstring("the covariance blows up at t = 0.5"));
  CHECK_THAT(refusal([&] { (void)SoftmaxCovariance(head, identity(2)).limit(1); }),
             ContainsSubstring("tolerance is 1"));
}
