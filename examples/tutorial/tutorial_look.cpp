// Step 1 of the tutorial (README.md): tokens move, and a page plays them.
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/io/add_heads.hpp>
#include <attnflow/io/html.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <iostream>

int main() {
  using State = attnflow::Tokens<double, 2>;
  const auto head = attnflow::Head<double, 2>::identity();  // Q = K = V = I
  attnflow::Generator generator(1);
  State z = attnflow::uniform_box<double, 2>(generator, 20, 2, -5, 5);
  attnflow::Trajectory<State> path(attnflow::equal_times(0, 5, 101));
  const auto report = attnflow::integrate(attnflow::RescaledDynamics(head), attnflow::DormandPrince5<State>{},
                                          z, {.to = 5}, path);

  attnflow::View view;
  view.title = "Twenty tokens";
  view.times = path.times();
  view.tokens = z.cols();
  for (const State& moment : path.states())
    view.positions.insert(view.positions.end(), moment.reshaped().begin(), moment.reshaped().end());
  attnflow::add_rescaled_head(view, head, 1);  // β = 1: the page shows P, too
  attnflow::write_html("tokens.html", view);
  std::cout << report.steps << " steps, " << path.size() << " moments: open tokens.html in a browser\n";
}
