// A run, its analysis, and a page that shows both.
#include <attnflow/io/add_heads.hpp>
#include <attnflow/io/add_limits.hpp>
#include <attnflow/io/html.hpp>
#include <attnflow/prediction/analyze.hpp>

#include "run.hpp"

int main(int argc, char** argv) {
  const Run run;
  const attnflow::Analysis analysis = attnflow::analyze(run.head, run.trajectory);
  attnflow::View view{.title = "A run", .times = run.trajectory.times(), .tokens = 20, .dim = 2};
  for (const Run::State& z : run.trajectory.states())
    view.positions.insert(view.positions.end(), z.data(), z.data() + z.size());
  attnflow::add_rescaled_head(view, run.head, 1);
  attnflow::add_limits(view, analysis, run.head.V);
  if (argc > 1) attnflow::write_html(argv[1], view);
  return analysis.prediction.limit == attnflow::LimitCase::polytope ? 0 : 1;
}
