// Ensembles: every row is 256 systems of 32 tokens on the sphere, 20 projected Euler steps each, timed in turns with
// the same number of bare drifts. `ns_per_system_step` counts the threads together; `overhead` is what a step takes
// beyond its drift, as a share of it. An item is a pair of tokens in one evaluation.
#include "cases.hpp"
#include "harness.hpp"

#include <attnflow/ensembles/ensemble.hpp>
#include <attnflow/ensembles/statistics.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>

namespace {

template <class Scalar, int Dim>
void runs(benchmark::State& state, int threads) {
  using Field = attnflow::SphereDynamics<Scalar, Dim>;
  using State = typename Field::State;
  constexpr Eigen::Index systems = 256, n = 32;
  constexpr int steps = 20;
  const Field field(attnflow::Head<Scalar, Dim>::identity(), {.beta = 4});
  const auto start = [](Eigen::Index, attnflow::Generator& generator, State& x) {
    x = attnflow::uniform_sphere<Scalar, Dim>(generator, n, Dim);
  };
  const attnflow::Ensemble ensemble(
      systems, [&](Eigen::Index) -> const Field& { return field; }, start);
  const auto mean = attnflow::mean_at_times<State>(
      {1, 2}, [](double, const State& x) { return static_cast<double>(x(0, 0)); });
  std::vector<bench::Contender> contenders;
  contenders.push_back({[&] {
    bench::use_threads(threads);
    const auto result =
        ensemble.run(attnflow::OnSphere<attnflow::Euler<State>>{}, {.to = 2, .step = 0.1}, mean);
    benchmark::DoNotOptimize(result.report.steps);
  }});
  attnflow::Generator generator(1);
  const State x = attnflow::uniform_sphere<Scalar, Dim>(generator, n, Dim);
  State dx;
  contenders.push_back({[&] {
    bench::use_threads(1);
    for (Eigen::Index k = 0; k < systems * steps; ++k) {
      field(0, x, dx);
      benchmark::DoNotOptimize(dx.data());
      benchmark::ClobberMemory();
    }
  }});
  bench::interleave(contenders);
  bench::use_threads(1);
  const double made = static_cast<double>(systems) * steps;
  bench::report_time(state, contenders[0]);
  state.counters["n"] = static_cast<double>(n);
  state.counters["d"] = Dim;
  state.counters["threads"] = threads;
  state.counters["rounds"] = static_cast<double>(contenders[0].seconds.size());
  state.counters["ns_per_system_step"] = bench::median(contenders[0].seconds) / made * 1e9;
  state.counters["ns_per_pair"] = bench::median(contenders[0].seconds) / made / (n * n) * 1e9;
  state.counters["overhead"] = bench::ratio(contenders[0], contenders[1]) * threads - 1;
}

template <class Scalar, int Dim>
void add_rows_of(const char* scalar) {
  for (const int threads : {1, 2})
    bench::add_row(
        std::string("ensemble/") + scalar + bench::size_name(32, Dim) + "/threads:" + std::to_string(threads),
        [threads](benchmark::State& s) { runs<Scalar, Dim>(s, threads); });
}

void add_rows() {
  add_rows_of<float, 2>("float");
  add_rows_of<double, 2>("double");
  add_rows_of<float, 8>("float");
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, add_rows); }
