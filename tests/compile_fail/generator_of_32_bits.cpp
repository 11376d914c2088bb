// The generator that comes to mind first: its integers have 32 bits.
// expect unsatisfied: BitGenerator64
#include <attnflow/tokens/initial_laws.hpp>

#include <random>

using namespace attnflow;

#ifdef MISUSE
using Mine = std::mt19937;
#else
using Mine = std::mt19937_64;
#endif

Eigen::Index f(Mine& generator) { return uniform_box(generator, 20, 2, -5, 5).cols(); }
