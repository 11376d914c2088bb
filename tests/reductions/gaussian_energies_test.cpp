#include <attnflow/reductions/gaussian_energies.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "reductions/gaussian.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>

namespace {

using Catch::Matchers::ContainsSubstring;
using namespace gaussian;

using attnflow::gaussian_interaction_energy;
using attnflow::gaussian_state;
using attnflow::gaussian_transport_energy;
using attnflow::GaussianClosure;
using attnflow::GaussianLaw;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("energies of Gaussians are their integrals and grow at their rates", "[gaussian]") {
  // Means in the plane of what the energies are defined by.
  const MatrixXd B = matrix(0.5, 0.2, 0.2, -0.3);
  const Head head{B, identity(2), B};
  const VectorXd a = (VectorXd(2) << 0.4, -0.2).finished();
  const MatrixXd S = matrix(0.8, 0.3, 0.3, 0.5), x = gaussian_state(a, S);
  const double beta = 0.9;
  const auto Z = [&](const VectorXd& at) {
    return mean_in_plane(a, S, [&](const VectorXd& y) { return std::exp(beta * at.dot(B * y)); });
  };
  const GaussianClosure softmax(head, GaussianLaw::softmax, beta),
      sinkhorn(head, GaussianLaw::sinkhorn, beta);
  double energy = 0, dissipation = 0;
  {
    const auto field = softmax.field(x);
    const auto both = [&](const VectorXd& at) -> Eigen::Vector2d {
      const double z = Z(at);
      return {z / (2 * beta), z * (field.mean + field.gradient * (at - a)).squaredNorm()};
    };
    const Eigen::Vector2d means = mean_in_plane(a, S, both);
    energy = means(0);
    dissipation = means(1);
  }
  CHECK(gaussian_interaction_energy(head, x, beta) == Approx(energy).epsilon(1e-12));
  const Head skew{matrix(0.5, 0.4, -0.1, -0.3), matrix(1, 0.2, 0, 1), B};
  const double of_skew = mean_in_plane(a, S, [&](const VectorXd& at) {
    const VectorXd query = skew.Q * at;
    return mean_in_plane(a, S, [&](const VectorXd& y) { return std::exp(beta * query.dot(skew.K * y)); });
  });
  CHECK(gaussian_interaction_energy(skew, x, beta) == Approx(of_skew / (2 * beta)).epsilon(1e-12));
  MatrixXd dx;
  const auto rate = [&](const GaussianClosure& closure, const auto& of) {
    closure(0, x, dx);
    const double h = 1e-4;
    return (of(MatrixXd(x + h * dx)) - of(MatrixXd(x - h * dx))) / (2 * h);  // an error of h²
  };
  CHECK(rate(softmax, [&](const MatrixXd& at) { return gaussian_interaction_energy(head, at, beta); }) ==
        Approx(dissipation).epsilon(1e-6));
  const auto field = sinkhorn.field(x);
  const double squares = field.mean.squaredNorm() + (field.gradient * S * field.gradient.transpose()).trace();
  CHECK(rate(sinkhorn, [&](const MatrixXd& at) { return gaussian_transport_energy(head, at, beta); }) ==
        Approx(2 * beta * squares).epsilon(1e-6));
  // ⟨Aa, a⟩ + tr(A C) − KL(π | μ⊗μ), which is ½ log det of the marginals over that of the plan, on the line.
  const double s = 0.6, c = (std::sqrt(1 + 4 * 1.7 * 1.7 * s * s) - 1) / (2 * 1.7);
  const Head line{MatrixXd::Constant(1, 1, 1.7), identity(1), identity(1)};
  CHECK(gaussian_transport_energy(line,
                                  gaussian_state(VectorXd::Constant(1, 2), MatrixXd::Constant(1, 1, s))) ==
        Approx(1.7 * 4 + 1.7 * c + std::log(1 - c * c / (s * s)) / 2).epsilon(16 * epsilon));
  // Beyond |S^{1/2} A S^{1/2}| = 1 the integral is infinite.
  CHECK(gaussian_interaction_energy(Head::identity(2), gaussian_state(VectorXd::Zero(2), identity(2))) ==
        infinity);
  CHECK(gaussian_interaction_energy(Head::identity(2), gaussian_state(VectorXd::Zero(2), identity(2)), 0.6) ==
        Approx(1 / (1 - 0.36) / 1.2).epsilon(16 * epsilon));
}

TEST_CASE("energies of Gaussians refuse what has none", "[gaussian]") {
  const Head head = Head::identity(2);
  MatrixXd x = gaussian_state(VectorXd::Zero(2), identity(2));
  x(1, 2) = infinity;
  CHECK_THAT(refusal([&] { (void)gaussian_interaction_energy(head, x, 0); }),
             ContainsSubstring("gaussian_interaction_energy: beta is 0"));
  CHECK_THAT(refusal([&] { (void)gaussian_transport_energy(head, x); }),
             ContainsSubstring("gaussian_transport_energy: x has an entry that is not finite"));
}
