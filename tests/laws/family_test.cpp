// One battery for every (space, law, mask) of the family: what each claims, a model is held to.
#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/biases/token_masses.hpp>
#include <attnflow/attention/graph.hpp>
#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/attention/laws/l2_softmax.hpp>
#include <attnflow/attention/laws/linear.hpp>
#include <attnflow/attention/laws/position_weighted.hpp>
#include <attnflow/attention/laws/relu_weights.hpp>
#include <attnflow/attention/laws/sigmoid.hpp>
#include <attnflow/attention/laws/sinkhorn.hpp>
#include <attnflow/attention/laws/softplus_weights.hpp>
#include <attnflow/attention/laws/sparsemax.hpp>
#include <attnflow/attention/laws/top_k.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/geometry/sphere.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "catch.hpp"
#include "draws.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::Softmax;
using attnflow::Tokens;
using Eigen::Index;

constexpr double eps = std::numeric_limits<double>::epsilon();
constexpr Index n = 24, d = 3;

template <class System>
Tokens<double> velocity(const System& system, const Tokens<double>& x) {
  Tokens<double> dx;
  system(0, x, dx);
  return dx;
}

/// What a model claims beside what its types say.
struct Claims {
  bool order_does_not_matter = false;  ///< renumbering tokens backwards commutes with the drift
  bool positive = true;                ///< no weight is negative
  bool mean_moves_by_value = false;    ///< ∑ᵢ ẋᵢ = V ∑ᵢ xᵢ
  bool first_rests = false;  ///< the first token attends to itself alone: on the sphere with V = I it rests
};

/// The battery. Bounds are roundings of sums of n weights, each at most e^β / n or one, and of d products.
template <class Law, class Mask, class Bias>
void hold_to_claims(const std::string& name, const Law& law, const Mask& mask, const Bias& bias,
                    const Claims& claims) {
  CAPTURE(name);
  std::mt19937_64 generator(71);
  const auto head = random_head<double>(generator, d), other = random_head<double>(generator, d);
  const auto plain = Head<double>::identity(d);
  Tokens<double> x = reference::random<Tokens<double>>(generator, d, n);
  x.colwise().normalize();
  const double bound = 1e4 * eps;  // velocities are of size 1 to 10

  using Drift = attnflow::TokenDynamics<double, Eigen::Dynamic, Law, Mask, Bias>;
  using Sphere = attnflow::SphereDynamics<double, Eigen::Dynamic, Law, Mask, Bias>;
  const Drift heads(std::vector{head, other}, law, mask, bias), isotropic(plain, law, mask, bias);
  const Tokens<double> v = velocity(heads, x);
  REQUIRE(v.allFinite());
  // Several heads are the sum of each.
  CHECK((v - velocity(Drift(head, law, mask, bias), x) - velocity(Drift(other, law, mask, bias), x))
            .cwiseAbs()
            .maxCoeff() <= bound);
  // Relabelling.
  const Tokens<double> reversed = x.rowwise().reverse();
  const double order = (velocity(heads, reversed) - v.rowwise().reverse()).cwiseAbs().maxCoeff();
  if (claims.order_does_not_matter)
    CHECK(order <= bound);
  else
    CHECK(order > 1e-3);  // the claim tells models apart
  // Rotations commute where Q = K = V = I.
  Eigen::Matrix3d turn, tilt;
  turn << 0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1;
  tilt << 1, 0, 0, 0, 0.28, -0.96, 0, 0.96, 0.28;
  turn *= tilt;
  const Tokens<double> turned = turn * x;
  CHECK((velocity(isotropic, turned) - turn * velocity(isotropic, x)).cwiseAbs().maxCoeff() <= bound);

  // The sphere: tangent, and norms stay.
  const Sphere sphere(plain, law, mask, bias), general(std::vector{head, other}, law, mask, bias);
  const Tokens<double> tangent = velocity(general, x);
  for (Index i = 0; i < n; ++i)
    CHECK(std::abs(tangent.col(i).dot(x.col(i))) <= 8 * eps * tangent.col(i).norm() + 1e-300);
  Tokens<double> moved = x;
  attnflow::OnSphere<attnflow::Euler<Tokens<double>>> stepper;
  for (int k = 0; k < 20; ++k) stepper.step(general, 0.05 * k, moved, 0.05);
  CHECK((moved.colwise().norm().array() - 1).abs().maxCoeff() <= 4 * eps);
  if (claims.first_rests)
    CHECK(velocity(sphere, x).col(0).norm() <= 16 * eps * std::exp(std::abs(static_cast<double>(law.beta))));
  // From a hemisphere {⟨x, w⟩ > 0} no token leaves: the one nearest to its edge does not go nearer.
  if (claims.positive) {
    Tokens<double> half = x;
    for (Index i = 0; i < n; ++i)
      if (half(0, i) < 0) half.col(i) = -half.col(i);
    Index edge = 0;
    half.row(0).minCoeff(&edge);
    CHECK(velocity(sphere, half)(0, edge) >= -bound);
  }
  // Rows that sum to one keep z in the hull for V = I: what is outermost in a direction does not go further.
  if constexpr (attnflow::detail::rows_sum_to_one<Law>()) {
    const attnflow::RescaledDynamics<double, Eigen::Dynamic, Law, Mask, Bias> rescaled(
        Head<double>{head.Q, head.K, plain.V}, law, mask, bias);
    Tokens<double> dz;
    rescaled(0.6, x, dz);
    for (int k = 0; k < 20; ++k) {
      const Eigen::VectorXd direction =
          reference::random<Eigen::MatrixXd>(generator, d, 1).col(0).normalized();
      Index outermost = 0;
      (direction.transpose() * x).maxCoeff(&outermost);
      CHECK(direction.dot(dz.col(outermost)) <= bound);
    }
    if (claims.mean_moves_by_value) CHECK(dz.rowwise().sum().cwiseAbs().maxCoeff() <= 100 * n * 1e-12);
  }
  const double off = (velocity(Drift(head, law, mask, bias), x).rowwise().sum() - head.V * x.rowwise().sum())
                         .cwiseAbs()
                         .maxCoeff();
  if (claims.mean_moves_by_value)
    CHECK(off <= 100 * n * 1e-12);  // columns are off by the tolerance of the iteration
  else
    CHECK(off > 1e-3);
}

}  // namespace

TEST_CASE("every law is held to what it claims", "[laws][family]") {
  using namespace attnflow;
  const Claims alike{.order_does_not_matter = true};
  hold_to_claims("softmax", Softmax{2}, NoMask{}, NoBias{}, alike);
  hold_to_claims("unnormalised", Unnormalized{1}, NoMask{}, NoBias{}, alike);
  hold_to_claims("hardmax without self", Hardmax{}, ExcludeSelf{}, NoBias{}, alike);
  hold_to_claims("sigmoid", Sigmoid{2, -0.5}, NoMask{}, NoBias{}, alike);
  hold_to_claims("linear", Linear{}, NoMask{}, NoBias{}, {.order_does_not_matter = true, .positive = false});
  hold_to_claims("ReLU", ReluWeights{}, NoMask{}, NoBias{}, alike);
  hold_to_claims("softplus", SoftplusWeights{2}, NoMask{}, NoBias{}, alike);
  hold_to_claims("top-k", TopK{3, 2}, NoMask{}, NoBias{}, alike);
  hold_to_claims("sparsemax", Sparsemax{2}, NoMask{}, NoBias{}, alike);
  hold_to_claims("1.5-entmax", Entmax15{2}, NoMask{}, NoBias{}, alike);
  hold_to_claims("L2", L2Softmax{1}, NoMask{}, NoBias{}, alike);
  hold_to_claims("Sinkhorn", Sinkhorn{1}, NoMask{}, NoBias{},
                 {.order_does_not_matter = true, .mean_moves_by_value = true});
  hold_to_claims("Sinkhorn without self", Sinkhorn{1}, ExcludeSelf{}, NoBias{},
                 {.order_does_not_matter = true, .mean_moves_by_value = true});
}

TEST_CASE("every mask is held to what it claims", "[laws][family]") {
  using namespace attnflow;
  hold_to_claims("causal softmax", Softmax{2}, Causal{}, NoBias{}, {.first_rests = true});
  hold_to_claims("causal sigmoid", Sigmoid{2}, Causal{}, NoBias{}, {.first_rests = true});
  hold_to_claims("band", Softmax{2}, Band{3, 3}, NoBias{}, {.order_does_not_matter = true});
  hold_to_claims("graph", Unnormalized{1}, Graph(n, [](Index i, Index j) { return (i + 3 * j) % 5 < 2; }),
                 NoBias{}, {});
  hold_to_claims("positions alone", PositionWeighted{1}, StrictCausal{}, Alibi{0.1}, {.first_rests = true});
  TokenMasses masses;
  for (Index j = 0; j < n; ++j) masses.masses.push_back(1 + static_cast<double>(j));
  hold_to_claims("weighted tokens", Softmax{2}, NoMask{}, masses, {});
}

TEST_CASE("on the sphere the energy grows by its dissipation", "[laws][family]") {
  using namespace attnflow;
  std::mt19937_64 generator(72);
  Tokens<double> x = reference::random<Tokens<double>>(generator, d, n);
  x.colwise().normalize();
  const double beta = 1.7;
  // E = ∑ᵢⱼ e^{β⟨xᵢ, xⱼ⟩} / (2 β n²): along the flow ∑ᵢ ⟨∇ᵢE, ẋᵢ⟩ is ∑ᵢ ‖ẋᵢ‖² / n, each weighed by Z̄ᵢ for softmax.
  const Eigen::MatrixXd K = (beta * (x.transpose() * x)).array().exp();
  const Eigen::MatrixXd gradient = x * K / (n * n);
  const auto growth = [&](const Tokens<double>& v) { return (gradient.array() * v.array()).sum(); };
  const Eigen::VectorXd speed =
      velocity(SphereDynamics<double, Eigen::Dynamic, Softmax>(Head<double>::identity(d), {beta}), x)
          .colwise()
          .squaredNorm();
  const Eigen::VectorXd mean = K.rowwise().mean();
  const double softmax =
      growth(velocity(SphereDynamics<double, Eigen::Dynamic, Softmax>(Head<double>::identity(d), {beta}), x));
  CHECK(std::abs(softmax - mean.dot(speed) / n) <= 1e3 * eps * softmax);
  const Tokens<double> v =
      velocity(SphereDynamics<double, Eigen::Dynamic, Unnormalized>(Head<double>::identity(d), {beta}), x);
  CHECK(std::abs(growth(v) - v.squaredNorm() / n) <= 1e3 * eps * growth(v));
}
