// Steps of the integrators: every row is one step, timed in turns with the evaluations of the drift that it
// makes. `overhead` is what a step takes beyond them, as a share of them; an item is a pair of tokens in one
// evaluation.
#include "cases.hpp"
#include "harness.hpp"

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

namespace {

/// One step as the driver makes it: an embedded pair also estimates its error and accepts.
template <class Stepper, class F, class State>
void step(Stepper& stepper, const F& field, double t, State& x, double h) {
  if constexpr (requires { stepper.accept(x); }) {
    benchmark::DoNotOptimize(stepper.attempt(field, t, x, h, 1e-9, 1e-11));
    stepper.accept(x);
  } else {
    stepper.step(field, t, x, h);
  }
}

template <class Field, class Stepper>
void steps(benchmark::State& state, Eigen::Index n) {
  using State = typename Field::State;
  const auto start = bench::tokens<double, Field::Dim>(n, Field::Dim);
  const Field field(bench::general_head<double, Field::Dim>(Field::Dim));
  long evaluations = 0, made = 0;
  const attnflow::CountedField<Field> counted{field, evaluations};
  Stepper stepper;
  State x = start, dx;
  double t = 0, h = 1e-3;
  std::vector<bench::Contender> contenders;
  contenders.push_back({[&] {
    step(stepper, counted, t, x, h);
    t += h;
    if (++made % 100 == 0) h = -h;  // forth and back, without a jump: what a stepper keeps stays valid
    benchmark::DoNotOptimize(x.data());
    benchmark::ClobberMemory();
  }});
  contenders.push_back({[&] {
    field(0.05, start, dx);
    benchmark::DoNotOptimize(dx.data());
    benchmark::ClobberMemory();
  }});
  contenders[0].run();  // a first step may evaluate once more
  evaluations = made = 0;
  bench::interleave(contenders);
  const double per_step = static_cast<double>(evaluations) / static_cast<double>(made);
  const double pairs = static_cast<double>(n) * static_cast<double>(n);
  bench::report_time(state, contenders[0]);
  state.counters["n"] = static_cast<double>(n);
  state.counters["d"] = Field::Dim;
  state.counters["threads"] = 1;
  state.counters["rounds"] = static_cast<double>(contenders[0].seconds.size());
  state.counters["evaluations_per_step"] = per_step;
  state.counters["overhead"] = bench::ratio(contenders[0], contenders[1]) / per_step - 1;
  state.counters["ns_per_pair"] = bench::median(contenders[0].seconds) / per_step / pairs * 1e9;
}

template <class Field>
void add_rows_of(const char* system) {
  using State = typename Field::State;
  for (const Eigen::Index n : {64, 1024}) {
    const auto name = [&](const char* stepper) {
      return std::string("step/") + stepper + "/" + system + bench::size_name(n, Field::Dim);
    };
    bench::add_row(name("euler"), [n](benchmark::State& s) { steps<Field, attnflow::Euler<State>>(s, n); });
    bench::add_row(name("rk4"),
                   [n](benchmark::State& s) { steps<Field, attnflow::RungeKutta4<State>>(s, n); });
    bench::add_row(name("dopri5"),
                   [n](benchmark::State& s) { steps<Field, attnflow::DormandPrince5<State>>(s, n); });
  }
}

void add_rows() {
  add_rows_of<attnflow::TokenDynamics<double, 2>>("tokens");
  add_rows_of<attnflow::TokenDynamics<double, 3>>("tokens");
  add_rows_of<attnflow::RescaledDynamics<double, 2>>("rescaled");
  add_rows_of<attnflow::RescaledDynamics<double, 3>>("rescaled");
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, add_rows); }
