// A system of complex tokens.
// expect unsatisfied: RealScalar
#include <attnflow/systems/token_dynamics.hpp>

#include <complex>

using namespace attnflow;

#ifdef MISUSE
using Mine = std::complex<double>;
#else
using Mine = double;
#endif

Eigen::Index f() { return TokenDynamics<Mine>(Head<Mine>::identity(2)).dim(); }
