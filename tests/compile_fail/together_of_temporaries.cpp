// together() holds its observers by reference: a temporary would be gone.
// expect GNU: cannot bind non-const lvalue reference of type 'attnflow::
// expect Clang: expects an lvalue for 1st argument
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/types.hpp>

using namespace attnflow;

void f() {
#ifdef MISUSE
  (void)together<Tokens<double, 2>>(StopWhenConsensus{}, StopWhenConsensus{});
#else
  StopWhenConsensus stop;
  (void)together<Tokens<double, 2>>(stop, stop);
#endif
}
