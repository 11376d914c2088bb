// One drift of RescaledDynamics and what the whole process took for it: drift_memory [n = 50000] [d = 3].
// The n × n matrix of attention would be 20 GB at n = 50 000; the operator holds O(n d).
#ifndef NDEBUG
#error "the time of a build with assertions says nothing: compile with -DNDEBUG"
#endif

#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  const Eigen::Index n = argc > 1 ? std::atol(argv[1]) : 50'000, d = argc > 2 ? std::atol(argv[2]) : 3;
  if (n < 1 || d < 1) {
    std::cerr << "usage: drift_memory [n] [d], both at least 1\n";
    return 2;
  }
  attnflow::Generator generator(0);
  const attnflow::Tokens<double> z = attnflow::uniform_box(generator, n, d, -1, 1);
  attnflow::Tokens<double> velocity;
  const attnflow::RescaledDynamics dynamics(attnflow::Head<double>::identity(d));
  const auto start = std::chrono::steady_clock::now();
  dynamics(0.5, z, velocity);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double pairs = static_cast<double>(n) * static_cast<double>(n);
  std::cout << "n = " << n << ", d = " << d << ": " << seconds << " s, " << seconds / pairs * 1e9
            << " ns a pair, peak memory of the process " << static_cast<double>(usage.ru_maxrss) / 1024
            << " MB\n";
  return velocity.allFinite() ? EXIT_SUCCESS : EXIT_FAILURE;
}
