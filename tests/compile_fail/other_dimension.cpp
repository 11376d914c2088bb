// Weights for three dimensions and tokens in two.
// expect GNU: deduced conflicting values for non-type parameter 'Dim' ('3' and '2')
// expect Clang: deduced conflicting values for parameter 'Dim' (3 vs. 2)
#include <attnflow/attention/attention_matrix.hpp>

using namespace attnflow;

#ifdef MISUSE
using Weights = Head<double, 3>;
#else
using Weights = Head<double, 2>;
#endif

SquareMatrix<double> f(const Weights& head, const Tokens<double, 2>& x) { return attention_matrix(head, x); }
