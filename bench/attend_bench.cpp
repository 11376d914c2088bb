// The operator against what one would write with Eigen: every row is one drift of TokenDynamics, an item is a
// pair of tokens.
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <benchmark/benchmark.h>

namespace {

template <class Scalar>
attnflow::Tokens<Scalar> start(Eigen::Index n, Eigen::Index d) {
  attnflow::Generator generator(1);
  return attnflow::uniform_box<Scalar>(generator, n, d, -1, 1);
}

void count_pairs(benchmark::State& state) {
  const auto n = state.range(0);
  state.SetItemsProcessed(state.iterations() * n * n);
  state.counters["s/pair"] =
      benchmark::Counter(static_cast<double>(n) * static_cast<double>(n),
                         benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

template <class Scalar>
void attend(benchmark::State& state) {
  const Eigen::Index n = state.range(0), d = state.range(1);
  const attnflow::TokenDynamics field(attnflow::Head<Scalar>::identity(d));
  const auto x = start<Scalar>(n, d);
  attnflow::Tokens<Scalar> dx;
  for (auto _ : state) {
    field(0, x, dx);
    benchmark::DoNotOptimize(dx.data());
    benchmark::ClobberMemory();
  }
  count_pairs(state);
}

/// The whole matrix of scores, a column for each query, as a first program would have it.
template <class Scalar>
void naive_eigen(benchmark::State& state) {
  using Matrix = attnflow::Tokens<Scalar>;
  const Eigen::Index n = state.range(0), d = state.range(1);
  const Matrix Q = Matrix::Identity(d, d), K = Q, V = Q, x = start<Scalar>(n, d);
  Matrix weights, dx;
  for (auto _ : state) {
    weights.noalias() = (K * x).transpose() * (Q * x);
    weights.rowwise() -= weights.colwise().maxCoeff().eval();
    weights = weights.array().exp();
    dx.noalias() = V * x * weights;
    dx.array().rowwise() /= weights.colwise().sum().array();
    benchmark::DoNotOptimize(dx.data());
    benchmark::ClobberMemory();
  }
  count_pairs(state);
}

void sizes(benchmark::internal::Benchmark* bench) {
  for (const auto& [n, d] : {std::pair<long, long>{32, 2}, {1024, 2}, {4096, 3}, {1024, 16}, {128, 128}})
    bench->Args({n, d});
}

BENCHMARK_TEMPLATE(attend, double)->Apply(sizes);
BENCHMARK_TEMPLATE(naive_eigen, double)->Apply(sizes);
BENCHMARK_TEMPLATE(attend, float)->Apply(sizes);
BENCHMARK_TEMPLATE(naive_eigen, float)->Apply(sizes);

}  // namespace
