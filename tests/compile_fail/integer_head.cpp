// Weights of integers.
// expect unsatisfied: RealScalar
#include <attnflow/types.hpp>

using namespace attnflow;

#ifdef MISUSE
using Mine = int;
#else
using Mine = double;
#endif

Eigen::Index f() { return Head<Mine>::identity(2).dim(); }
