// One long run of many tokens: long_run [n = 100000] [t = 5]. Uniform in [−1, 1]^3, Q = K = V = I,
// RescaledDynamics, DormandPrince5 at rtol 1e-6. Tells the time, the evaluations of the drift and the peak
// memory of the process.
#ifndef NDEBUG
#error "the time of a build with assertions says nothing: compile with -DNDEBUG"
#endif

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/observers/progress.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  const Eigen::Index n = argc > 1 ? std::atol(argv[1]) : 100'000;
  const double end = argc > 2 ? std::atof(argv[2]) : 5;
  if (n < 1 || !(end > 0)) {
    std::cerr << "usage: long_run [n] [t], n at least 1 and t positive\n";
    return 2;
  }
  using Tokens = attnflow::Tokens<double, 3>;
  attnflow::Generator generator(0);
  Tokens z = attnflow::uniform_box<double, 3>(generator, n, 3, -1, 1);
  const attnflow::RescaledDynamics<double, 3> field(attnflow::Head<double, 3>::identity());
  attnflow::DormandPrince5<Tokens> stepper;
  attnflow::Progress progress(std::cerr, 0, end);
  const auto start = std::chrono::steady_clock::now();
  const auto report =
      attnflow::integrate(field, stepper, z, {.to = end, .rtol = 1e-6, .atol = 1e-9}, progress);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  progress.finish();

  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double pairs =
      static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(report.evaluations);
  std::cout << "n = " << n << ", d = 3, t = " << report.t << ": " << seconds << " s, " << report.steps
            << " steps, " << report.rejected << " rejected, " << report.evaluations << " evaluations, "
            << seconds / pairs * 1e9 << " ns a pair, peak memory of the process "
            << static_cast<double>(usage.ru_maxrss) / 1024 << " MB\n";
  return report.outcome == attnflow::Outcome::reached_end ? EXIT_SUCCESS : EXIT_FAILURE;
}
