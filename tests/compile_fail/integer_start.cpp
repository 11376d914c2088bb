// Tokens drawn as integers.
// expect GNU: required for the satisfaction of 'floating_point<
// expect Clang: constraints not satisfied for alias template 'Tokens' [with Scalar = int
#include <attnflow/tokens/initial_laws.hpp>

using namespace attnflow;

#ifdef MISUSE
using Mine = int;
#else
using Mine = double;
#endif

Eigen::Index f(Generator& generator) { return uniform_box<Mine>(generator, 20, 2, -5, 5).cols(); }
