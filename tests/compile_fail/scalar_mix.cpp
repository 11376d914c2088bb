// A double head with float tokens.
// expect unsatisfied: TokenSource
#include <attnflow/attention/attend.hpp>

using namespace attnflow;

#ifdef MISUSE
using Mine = float;
#else
using Mine = double;
#endif

Tokens<Mine, 2> f(const Head<double, 2>& head, const Tokens<Mine, 2>& x) { return attend(head, x); }
