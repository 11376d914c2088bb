// Fields that the tests of integrators and observers share.
#pragma once

#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>
#include <attnflow/types.hpp>

#include <complex>

/// ż = t z² in the complex plane from z(0) = i: z(t) = −1 / (t²/2 + i). Nonlinear and with t in it:
/// on an oscillator, a stepper that evaluates f at the wrong times still shows full order.
struct Riccati {
  using State = attnflow::Tokens<double, 2>;
  void operator()(double t, const State& x, State& dx) const {
    dx.resize(2, x.cols());
    dx.row(0) = t * (x.row(0).array().square() - x.row(1).array().square());
    dx.row(1) = 2 * t * x.row(0).array() * x.row(1).array();
  }
  static State exact(double t) {
    const auto z = -1.0 / std::complex<double>(t * t / 2, 1);
    return (State(2, 1) << z.real(), z.imag()).finished();
  }
};

/// ẋ = x², which leaves every bound at t = 1 if x(0) = 1.
template <class Scalar>
struct BlowUp {
  using State = attnflow::Tokens<Scalar>;
  void operator()(double, const State& x, State& dx) const { dx = x.cwiseProduct(x); }
};

/// ẋ = −λ x.
struct Decay {
  using State = attnflow::Tokens<double>;
  double lambda = 1;
  void operator()(double, const State& x, State& dx) const { dx = -lambda * x; }
};

/// A field whose V has complex eigenvalues, is not normal and commutes with neither Q nor K: P depends
/// on t, and a stepper that takes P at another time than its stage's loses its order.
template <class Scalar = double>
attnflow::RescaledDynamics<Scalar, 3> twisted_attention() {
  attnflow::Head<Scalar, 3> head;
  head.Q.resize(3, 3);
  head.K.resize(3, 3);
  head.Q << Scalar(1.0), Scalar(0.3), Scalar(-0.2), Scalar(0.0), Scalar(0.8), Scalar(0.5), Scalar(0.4),
      Scalar(0.0), Scalar(1.1);
  head.K << Scalar(0.9), Scalar(-0.5), Scalar(0.0), Scalar(0.3), Scalar(1.0), Scalar(0.2), Scalar(0.0),
      Scalar(0.6), Scalar(-0.7);
  head.V << Scalar(0.9), Scalar(1.1), Scalar(0.0), Scalar(-0.8), Scalar(0.6), Scalar(0.4), Scalar(0.3),
      Scalar(0.0), Scalar(0.5);
  return attnflow::RescaledDynamics<Scalar, 3>(head);
}

/// n tokens in [−1, 1]³, the same at every call.
template <class Scalar = double>
attnflow::Tokens<Scalar, 3> small_tokens(Eigen::Index n = 6) {
  attnflow::Generator generator(7);
  return attnflow::uniform_box<Scalar, 3>(generator, n, 3, -1, 1);
}

/// Whether two matrices have the same shape and the same numbers.
template <class A, class B>
bool same_bits(const A& a, const B& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && (a.array() == b.array()).all();
}
