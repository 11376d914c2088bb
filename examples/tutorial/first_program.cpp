// The program of README.md: twenty tokens in the plane run to the vertices of a polytope.
#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <iostream>

int main() {
  using State = attnflow::Tokens<double, 2>;  // 2 × n, a token in each column
  attnflow::Generator generator(1);
  State z = attnflow::uniform_box<double, 2>(generator, 20, 2, -5, 5);
  const attnflow::RescaledDynamics dynamics(attnflow::Head<double, 2>::identity());  // Q = K = V = I
  const attnflow::Report report =
      attnflow::integrate(dynamics, attnflow::DormandPrince5<State>{}, z, {.to = 40});
  const auto vertices = attnflow::convex_hull(z);
  std::cout << "t = " << report.t << ", " << vertices.size() << " vertices:\n";
  for (const auto i : vertices) std::cout << "  token " << i << " at (" << z.col(i).transpose() << ")\n";
  return report.outcome == attnflow::Outcome::reached_end && vertices.size() == 4 ? 0 : 1;
}
