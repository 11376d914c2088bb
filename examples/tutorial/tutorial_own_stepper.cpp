// The stepper of CONTRIBUTING.md: Heun's method, and its order measured.
#include <attnflow/integrators/hermite.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <iostream>

/// Heun's method, x(t + h) ≈ x + h/2 (k₁ + k₂), k₂ = f(t + h, x + h k₁): order 2, two evaluations a step.
template <class State_>
class Heun {
 public:
  using State = State_;
  static constexpr int order = 2;
  static constexpr int dense_order = 2;

  template <attnflow::VectorField F>
  void step(const F& f, double t, State& x, double h) {
    using Scalar = typename State::Scalar;
    if (!end_.is_at(t, x)) end_.place(t, x);  // else its slope may be known
    begin_.swap(end_);
    const State& k1 = begin_.value(f);
    stage_ = x + static_cast<Scalar>(h) * k1;
    f(t + h, stage_, k2_);
    x += static_cast<Scalar>(h / 2) * (k1 + k2_);
    end_.place(t + h, x);
  }
  /// The state at a time of the step made last.
  template <attnflow::VectorField F>
  void interpolate(const F& f, double t, State& x) {
    end_.value(f);
    attnflow::hermite(begin_, end_, t, x);
  }
  /// Forgets the last step.
  void reset() noexcept { end_.reset(); }

 private:
  attnflow::Slope<State> begin_, end_;  // of the step made last
  State stage_, k2_;
};

/// ẋ = −t x from x(0) = 1: x(1) = e^{−1/2}.
struct Decay {
  using State = attnflow::Tokens<double, 1>;
  void operator()(double t, const State& x, State& dx) const { dx = -t * x; }
};

double error_at_one(double h) {
  Decay::State x = Decay::State::Ones(1, 1);
  const auto report = attnflow::integrate(Decay{}, Heun<Decay::State>{}, x, {.to = 1, .step = h});
  return std::abs(x(0) - std::exp(-0.5 * report.t));
}

int main() {
  const double order = std::log2(error_at_one(1. / 64) / error_at_one(1. / 128));
  std::cout << "order " << std::round(10 * order) / 10 << '\n';
  return std::abs(order - 2) < 0.1 ? 0 : 1;
}
