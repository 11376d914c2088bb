// What reads weights and states: hulls, clusters, spectra, ranks, predictions. An item is a token, a row of a
// matrix or one prediction, as the name of the row says.
#include "cases.hpp"
#include "harness.hpp"

#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/numerics/schur.hpp>
#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/prediction/predict_limit.hpp>
#include <attnflow/prediction/spectrum.hpp>
#include <attnflow/systems/token_dynamics.hpp>

namespace {

using benchmark::State;

/// Times `work`; `items` of it are counted for each call.
template <class Work>
void repeat(State& state, Eigen::Index items, const Work& work) {
  for (auto _ : state) {
    auto result = work();
    benchmark::DoNotOptimize(result);
  }
  state.SetItemsProcessed(state.iterations() * items);
  state.SetComplexityN(items);
}

/// Uniform in the box: the hull has O(log^{d−1} n) vertices.
template <int Dim>
void hull_of_tokens(State& state) {
  const Eigen::Index n = state.range(0);
  const auto x = bench::tokens<double, Dim>(n, Dim);
  repeat(state, n, [&] { return attnflow::convex_hull(x); });
}

/// As late in a run: eight clusters of width 10⁻⁶.
void clusters_of_tokens(State& state) {
  const Eigen::Index n = state.range(0);
  const auto centres = bench::tokens<double, 3>(8, 3);
  attnflow::Tokens<double, 3> x = bench::tokens<double, 3>(n, 3) * 1e-6;
  for (Eigen::Index i = 0; i < n; ++i) x.col(i) += centres.col(i % 8);
  repeat(state, n, [&] { return attnflow::detect_clusters(x, 1e-3); });
}

/// As at the start of a run: no two tokens in one cluster.
void clusters_of_separate_tokens(State& state) {
  const Eigen::Index n = state.range(0);
  const auto x = bench::tokens<double, 3>(n, 3);
  repeat(state, n, [&] { return attnflow::detect_clusters(x, 1e-6); });
}

Eigen::MatrixXd general_value(Eigen::Index d) { return bench::general_head<double>(d).V; }

void schur_form_of_value(State& state) {
  const auto V = general_value(state.range(0));
  repeat(state, state.range(0), [&] { return attnflow::schur_form(V); });
}

void spectrum_of_value(State& state) {
  const auto V = general_value(state.range(0));
  repeat(state, state.range(0), [&] { return attnflow::spectrum(V); });
}

void effective_rank_of_attention(State& state) {
  const Eigen::Index n = state.range(0);
  const attnflow::TokenDynamics<double> field(bench::general_head<double>(3));
  const Eigen::MatrixXd P = field.attention(0, bench::tokens<double>(n, 3));
  repeat(state, n, [&] { return attnflow::effective_rank(P); });
}

void predict_limit_of_identity(State& state) {
  const auto head = attnflow::Head<double>::identity(state.range(0));
  repeat(state, 1, [&] { return attnflow::predict_limit(head); });
}

void predict_limit_of_general_head(State& state) {
  const auto head = bench::general_head<double>(state.range(0));
  repeat(state, 1, [&] { return attnflow::predict_limit(head); });
}

void add_rows() {
  const auto add = [](const char* name, void (*function)(State&), const std::vector<int>& sizes) {
    auto* row = benchmark::RegisterBenchmark(name, function)->MinTime(0.1)->Unit(benchmark::kMicrosecond);
    for (const int size : sizes) row->Arg(size);
    return row;
  };
  using benchmark::oNLogN;
  add("convex_hull/d:2/n", hull_of_tokens<2>, {100, 1000, 10'000})->Complexity(oNLogN);
  add("convex_hull/d:3/n", hull_of_tokens<3>, {100, 1000, 10'000})->Complexity(oNLogN);
  add("detect_clusters/eight/n", clusters_of_tokens, {100, 1000, 10'000})->Complexity();
  add("detect_clusters/separate/n", clusters_of_separate_tokens, {100, 1000, 10'000})->Complexity(oNLogN);
  add("schur_form/d", schur_form_of_value, {3, 16, 64})->Complexity(benchmark::oNCubed);
  add("spectrum/d", spectrum_of_value, {3, 16, 64})->Complexity(benchmark::oNCubed);
  add("effective_rank/n", effective_rank_of_attention, {32, 128, 512})->Complexity(benchmark::oNCubed);
  add("predict_limit/identity/d", predict_limit_of_identity, {3, 16});
  add("predict_limit/general/d", predict_limit_of_general_head, {3, 16});
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, add_rows); }
