// Weights for three dimensions and tokens in two.
// expect unsatisfied: TokenSource
#include <attnflow/attention/attention_matrix.hpp>

using namespace attnflow;

#ifdef MISUSE
using Weights = Head<double, 3>;
#else
using Weights = Head<double, 2>;
#endif

SquareMatrix<double> f(const Weights& head, const Tokens<double, 2>& x) { return attention_matrix(head, x); }
