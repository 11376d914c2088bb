// Rotary positions in the frame z = e^(-tV) x, whose scores are those of a form.
// expect: rotary positions turn Q x and K x: they are for attend(), attention_matrix(), TokenDynamics
#include <attnflow/attention/positions/rotary.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>

using namespace attnflow;

#ifdef MISUSE
using Bias = Rotary;
#else
using Bias = NoBias;
#endif

void f(const RescaledDynamics<double, 2, Softmax, NoMask, Bias>& system, const Tokens<double, 2>& z,
       Tokens<double, 2>& dz) {
  system(0, z, dz);
}
