// A part of another number type than that of the system.
// expect: DriftPart<
// expect: LinearPart<float>
// expect GNU: evaluated to 'false'
// expect Clang: because 'part.add(t, x, dx)' would be invalid
#include <attnflow/systems/driven.hpp>
#include <attnflow/systems/token_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Part = LinearPart<float>;
#else
using Part = LinearPart<double>;
#endif

Eigen::Index f(const TokenDynamics<double>& system, const Part& part) {
  return Driven<TokenDynamics<double>, Part>(system, part).dim();
}
