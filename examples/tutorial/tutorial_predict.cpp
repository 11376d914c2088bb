// Step 2 of the tutorial (README.md): what the theorems say of the weights, beside what the tokens did.
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/prediction/analyze.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <iostream>

int main() {
  using State = attnflow::Tokens<double, 2>;
  const auto head = attnflow::Head<double, 2>::with_value(Eigen::Matrix2d{{0.65, 0.82}, {0.61, 0.63}});
  const attnflow::Prediction prediction = attnflow::predict_limit(head);
  std::cout << attnflow::name_of(prediction.limit) << ", " << prediction.reference << '\n';
  for (const auto& hypothesis : prediction.hypotheses)
    std::cout << "  " << hypothesis.name << " holds by " << hypothesis.margin << '\n';

  attnflow::Generator generator(1);
  State z = attnflow::uniform_box<double, 2>(generator, 40, 2, -5, 5);
  attnflow::Trajectory<State> path(attnflow::equal_times(0, 10, 101));
  const auto report = attnflow::integrate(attnflow::RescaledDynamics(head), attnflow::DormandPrince5<State>{},
                                          z, {.to = 10}, path);
  const attnflow::Analysis analysis = attnflow::analyze(head, path);
  std::cout << "t = " << report.t << ": " << analysis.found.levels.size() << " lines, "
            << analysis.found.leaders.size() << " leaders, rank of P " << analysis.found.rank->rank << '\n'
            << "prediction and finding " << (analysis.agrees() ? "agree" : "do not agree") << '\n';
  return analysis.agrees() ? 0 : 1;
}
