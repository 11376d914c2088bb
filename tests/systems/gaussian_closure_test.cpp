#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/gaussian_closure.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "reductions/gaussian.hpp"
#include "refusal.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using Catch::Matchers::ContainsSubstring;
using namespace gaussian;

using attnflow::gaussian_state;
using attnflow::GaussianClosure;
using attnflow::GaussianLaw;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::array<GaussianLaw, 4> laws{GaussianLaw::softmax, GaussianLaw::l2_softmax, GaussianLaw::linear,
                                          GaussianLaw::sinkhorn};

}  // namespace

TEST_CASE("fields of Gaussians are the integrals of their laws", "[gaussian]") {
  std::mt19937_64 generator(3);
  for (int draw = 0; draw < 3; ++draw) {
    const Head head{random(3, 2, generator), random(3, 2, generator), random(2, 2, generator)};
    const VectorXd a = random(2, 1, generator);
    const MatrixXd S = covariance(generator, 2);
    const double beta = 0.8;
    for (const VectorXd& x : {VectorXd(a), VectorXd(random(2, 1, generator))}) {
      const auto expected = [&](GaussianLaw law) -> VectorXd {
        const VectorXd query = head.Q * x;
        const auto weight = [&](const VectorXd& y) {
          const VectorXd key = head.K * y;
          if (law == GaussianLaw::linear) return beta * query.dot(key);
          return std::exp(law == GaussianLaw::softmax ? beta * query.dot(key)
                                                      : -beta * (query - key).squaredNorm());
        };
        const VectorXd sum =
            mean_in_plane(a, S, [&](const VectorXd& y) -> VectorXd { return weight(y) * y; });
        const double total = law == GaussianLaw::linear ? 1 : mean_in_plane(a, S, weight);
        return head.V * sum / total;
      };
      for (const GaussianLaw law : {GaussianLaw::softmax, GaussianLaw::l2_softmax, GaussianLaw::linear}) {
        CAPTURE(draw, static_cast<int>(law));
        const auto field = GaussianClosure(head, law, beta).field(gaussian_state(a, S));
        CHECK((field.mean + field.gradient * (x - a) - expected(law)).norm() < 1e-12);
      }
    }
  }
}

TEST_CASE("Sinkhorn's plan of Gaussians has their marginals and the kernel's interaction", "[gaussian]") {
  std::mt19937_64 generator(5);
  for (const Index d : {1, 2, 4}) {
    const Head head{3 * random(d, d, generator), random(d, d, generator), identity(d)};
    const MatrixXd S = covariance(generator, d), A = 0.8 * head.K.transpose() * head.Q;
    const VectorXd a = random(d, 1, generator);
    const auto field = GaussianClosure(head, GaussianLaw::sinkhorn, 0.8).field(gaussian_state(a, S));
    CHECK(field.mean == a);
    // The plan is N((a, a), (S C; Cᵀ S)) with Cᵀ = M S. Its density is e^{⟨Ax, y⟩} times functions of x and y alone:
    // the block of x and y in the inverse covariance is −Aᵀ.
    const MatrixXd C = (field.gradient * S).transpose();
    MatrixXd joint(2 * d, 2 * d);
    joint << S, C, C.transpose(), S;
    const MatrixXd precision = attnflow::detail::inverse_of(joint);
    CAPTURE(d);
    CHECK((precision.topRightCorner(d, d) + A.transpose()).norm() < 1e-12 * precision.norm());
    CHECK(attnflow::detail::symmetric_eigen("test", joint, false).values(0) > 0);
  }
  // On the line: c = (√(1 + 4a²s²) − 1)/(2a), s' = 2vc.
  const double a0 = 1.7, s = 0.6, v = -0.3, c = (std::sqrt(1 + 4 * a0 * a0 * s * s) - 1) / (2 * a0);
  const Head head{MatrixXd::Constant(1, 1, a0), identity(1), MatrixXd::Constant(1, 1, v)};
  MatrixXd dx;
  GaussianClosure(head, GaussianLaw::sinkhorn)(
      0, gaussian_state(VectorXd::Constant(1, 2), MatrixXd::Constant(1, 1, s)), dx);
  CHECK(dx(0, 0) == Approx(2 * v).epsilon(8 * epsilon));
  CHECK(dx(0, 1) == Approx(2 * v * c).epsilon(16 * epsilon));
}

TEST_CASE("velocities are those of the field, summed over heads", "[gaussian]") {
  std::mt19937_64 generator(7);
  for (const GaussianLaw law : laws)
    for (const Index d : {1, 3}) {
      const std::vector<Head> heads{random_head<double>(generator, d), random_head<double>(generator, d)};
      const MatrixXd S = covariance(generator, d), x = gaussian_state(random(d, 1, generator), S);
      const GaussianClosure both(heads, law, 0.7), one(heads[0], law, 0.7), other(heads[1], law, 0.7);
      const auto field = both.field(x);
      MatrixXd dx, first, second;
      both(0, x, dx);
      one(0, x, first);
      other(0, x, second);
      CAPTURE(static_cast<int>(law), d);
      CHECK((dx - first - second).norm() < 1e-13 * (1 + dx.norm()));
      CHECK((dx.col(0) - field.mean).norm() < 1e-13 * (1 + dx.norm()));
      const MatrixXd rate = field.gradient * S + S * field.gradient.transpose();
      CHECK((dx.rightCols(d) - rate).norm() < 1e-12 * (1 + rate.norm()));
      CHECK(dx.rightCols(d) == MatrixXd(dx.rightCols(d).transpose()));
      // Nothing moves where all tokens are in the origin.
      both(0, MatrixXd::Zero(d, d + 1), dx);
      CHECK(dx.isZero(0));
    }
}

TEST_CASE("linear attention closes for any tokens", "[gaussian]") {
  std::mt19937_64 generator(11);
  const Head head = random_head<double>(generator, 2);
  const MatrixXd A = head.K.transpose() * head.Q;
  MatrixXd x = random(2, 5, generator);
  const auto moments = [](const MatrixXd& tokens) {
    const VectorXd a = tokens.rowwise().mean();
    const MatrixXd centred = tokens.colwise() - a;
    return gaussian_state(a, centred * centred.transpose() / static_cast<double>(tokens.cols()));
  };
  const MatrixXd closed = run(GaussianClosure(head, GaussianLaw::linear), moments(x), 1);
  const auto velocity = [&](const MatrixXd& y) -> MatrixXd {
    MatrixXd v = MatrixXd::Zero(2, 5);
    for (Index i = 0; i < 5; ++i)
      for (Index j = 0; j < 5; ++j) v.col(i) += (A * y.col(i)).dot(y.col(j)) / 5 * (head.V * y.col(j));
    return v;
  };
  const double h = 1e-3;  // the classical method: an error of h⁴
  for (int k = 0; k < 1000; ++k) {
    const MatrixXd k1 = velocity(x), k2 = velocity(x + h / 2 * k1), k3 = velocity(x + h / 2 * k2),
                   k4 = velocity(x + h * k3);
    x += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
  }
  CHECK((moments(x) - closed).norm() < 1e-10);
}

TEST_CASE("L2-softmax and Sinkhorn cannot blow up", "[gaussian]") {
  std::mt19937_64 generator(19);
  const auto norm = [](const MatrixXd& m) {
    return std::sqrt(attnflow::detail::symmetric_eigen("test", m.transpose() * m, false).values.tail<1>()(0));
  };
  for (const double scale : {1e-3, 1.0, 1e3, 1e9})
    for (int draw = 0; draw < 5; ++draw) {
      const Head head = random_head<double>(generator, 3);
      const MatrixXd S = scale * covariance(generator, 3), A = 0.6 * head.K.transpose() * head.Q,
                     B = 0.6 * head.K.transpose() * head.K;
      const MatrixXd x = gaussian_state(VectorXd::Zero(3), S);
      // |M| ≤ 2c |V| |(2c KᵀK)⁻¹| |A|: with A and B holding c, |V| |B⁻¹| |A|.
      const double bound = norm(head.V) * norm(attnflow::detail::inverse_of(B)) * norm(A);
      CHECK(norm(GaussianClosure(head, GaussianLaw::l2_softmax, 0.6).field(x).gradient) <=
            bound * (1 + 1e-9));
      MatrixXd dx;
      GaussianClosure(head, GaussianLaw::sinkhorn, 0.6)(0, x, dx);
      CHECK(norm(dx.rightCols(3)) <= 2 * norm(head.V) * norm(S) * (1 + 1e-12));
    }
  // Where softmax has blown up, at t = 1/2.
  const Head head = Head::identity(2);
  for (const GaussianLaw law : {GaussianLaw::l2_softmax, GaussianLaw::sinkhorn}) {
    const MatrixXd end = run(GaussianClosure(head, law), gaussian_state(VectorXd::Zero(2), identity(2)), 2);
    CHECK(end.norm() < 2 * std::exp(4.));
  }
  MatrixXd x = gaussian_state(VectorXd::Zero(2), identity(2));
  attnflow::DormandPrince5<MatrixXd> stepper;
  const auto report = attnflow::integrate(GaussianClosure(head), stepper, x, {.to = 1});
  CHECK(report.outcome != attnflow::Outcome::reached_end);
  CHECK(report.t == Approx(0.5).epsilon(1e-6));
}

TEST_CASE("closures take what is not finite and refuse what is not Gaussian", "[gaussian]") {
  const Head head = Head::identity(2);
  MatrixXd x = gaussian_state(VectorXd::Zero(2), identity(2)), dx;
  x(1, 2) = infinity;
  for (const GaussianLaw law : laws) {
    GaussianClosure(head, law)(0, x, dx);
    CHECK(dx.array().isNaN().all());
  }
  CHECK_THAT(refusal([] { (void)gaussian_state(VectorXd::Zero(3), identity(2)); }),
             ContainsSubstring("gaussian_state: mean has 3 rows, expected d = 2"));
  CHECK_THAT(refusal([] { (void)gaussian_state(VectorXd::Zero(2), matrix(1, 0.5, 0.2, 1)); }),
             ContainsSubstring("gaussian_state: covariance differs from its transpose by 0.3"));
  CHECK_THAT(refusal([] { (void)gaussian_state(VectorXd::Zero(2), matrix(1, 2, 2, 1)); }),
             ContainsSubstring(
                 "gaussian_state: covariance has the eigenvalue -1, expected a positive semidefinite"));
  CHECK_THAT(refusal([] { (void)gaussian_state(VectorXd::Constant(2, infinity), identity(2)); }),
             ContainsSubstring("gaussian_state: mean has an entry that is not finite"));
  CHECK_THAT(refusal([] { (void)gaussian_state(VectorXd::Zero(2), MatrixXd::Zero(2, 3)); }),
             ContainsSubstring("gaussian_state: covariance is 2 x 3"));
  CHECK_THAT(refusal([] { GaussianClosure{std::vector<Head>{}}; }), ContainsSubstring("no head given"));
  CHECK_THAT(refusal([&] { GaussianClosure(head, GaussianLaw::l2_softmax, -1); }),
             ContainsSubstring("GaussianClosure: beta is -1"));
  CHECK_THAT(refusal([&] {
               GaussianClosure(std::vector<Head>{head, Head::identity(3)});
             }),
             ContainsSubstring("GaussianClosure: V has d = 3, expected 2 as in head 0"));
  CHECK_THAT(refusal([&] {
               GaussianClosure(Head{1e200 * identity(2), 1e200 * identity(2), identity(2)});
             }),
             ContainsSubstring("overflows"));
  CHECK_THAT(refusal([&] { (void)GaussianClosure(head).field(identity(2)); }),
             ContainsSubstring("GaussianClosure::field: x is 2 x 2, expected 2 x 3"));
}
