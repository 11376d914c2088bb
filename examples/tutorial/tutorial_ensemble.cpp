// Step 3 of the tutorial (README.md): fifty runs at once, and their mean beside a scalar equation.
#include <attnflow/ensembles/ensemble.hpp>
#include <attnflow/ensembles/statistics.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/reductions/equiangular.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>

#include <cmath>
#include <cstdio>

int main() {
  using State = attnflow::Tokens<float>;  // 16 tokens in dimension 256
  const attnflow::Softmax softmax{.beta = 2};
  const attnflow::SphereDynamics attention(attnflow::Head<float>::identity(256), softmax);
  const attnflow::Ensemble runs(
      50, [&](auto) -> const auto& { return attention; },
      [](auto, attnflow::Generator& g) { return attnflow::uniform_sphere<float>(g, 16, 256); });
  const auto mean_product = [](double, const State& x) {  // of the pairs of different tokens
    return (static_cast<double>(x.rowwise().sum().squaredNorm()) - 16) / (16 * 15);
  };
  const auto [mean, report] = runs.run(attnflow::OnSphere<attnflow::Euler<State>>{}, {.to = 4, .step = 0.05},
                                       attnflow::mean_at_times<State>({1, 2, 3, 4}, mean_product));
  bool close = report.reached_end == 50;
  for (std::size_t k = 0; k < mean.size(); ++k) {
    const double rho = attnflow::equiangular_correlation(softmax, 16, 0, mean.times()[k]);
    std::printf("t = %.0f: mean %.2f, orthogonal start %.2f\n", mean.times()[k], mean[k].mean(), rho);
    close = close && std::abs(mean[k].mean() - rho) < 0.04;
  }
  return close ? 0 : 1;
}
