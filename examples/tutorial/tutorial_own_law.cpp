// Step 3 of the tutorial (README.md): a weight law of one's own.
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/reductions/equiangular.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <cmath>
#include <iostream>

/// Softmax with a sink, a key of score 0 and value 0: wᵢⱼ = e^{sᵢⱼ} / (1 + ∑ₗ e^{sᵢₗ}).
struct SinkSoftmax {
  static constexpr bool rows_sum_to_one = false;  // but to Z / (1 + Z), Z = ∑ₗ e^{sᵢₗ}
  static constexpr auto function = attnflow::WeightFunction::exponential;
  double beta = 1;
  double log_row_factor(double log_z, Eigen::Index /*n*/) const { return -std::log1p(std::exp(-log_z)); }
};

int main() {
  auto x = attnflow::equiangular(8, 8, 0);  // orthogonal tokens: ⟨xᵢ, xⱼ⟩ stays the same for all pairs
  const attnflow::SphereDynamics attention(attnflow::Head<double>::identity(8), SinkSoftmax{});
  attnflow::OnSphere<attnflow::DormandPrince5<attnflow::Tokens<double>>> stepper;
  const auto report = attnflow::integrate(attention, stepper, x, {.to = 3});
  const double product = x.col(0).dot(x.col(1));
  const double expected = attnflow::equiangular_correlation(SinkSoftmax{}, 8, 0, report.t);
  std::cout << "inner product " << product << ", by its scalar equation " << expected << '\n';
  return std::abs(product - expected) < 1e-8 ? 0 : 1;
}
