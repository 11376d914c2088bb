// Tokens of long double in a file: NumPy's format has no such number on every machine.
// expect unsatisfied: KernelScalar
#include <attnflow/io/npy.hpp>

using namespace attnflow;

#ifdef MISUSE
using Mine = long double;
#else
using Mine = double;
#endif

void f(const Tokens<Mine, 2>& x) { save_npy("tokens.npy", x); }
