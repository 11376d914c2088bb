// A run and its analysis.
#include <attnflow/prediction/analyze.hpp>

#include "run.hpp"

int main() {
  const Run run;
  const attnflow::Analysis analysis = attnflow::analyze(run.head, run.trajectory);
  return analysis.prediction.limit == attnflow::LimitCase::polytope ? 0 : 1;
}
