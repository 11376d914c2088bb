// Tokens of integers.
// expect unsatisfied: RealScalar
#include <attnflow/types.hpp>

using namespace attnflow;

#ifdef MISUSE
using Mine = int;
#else
using Mine = float;
#endif

Eigen::Index f(const Tokens<Mine, 2>& x) { return x.cols(); }
