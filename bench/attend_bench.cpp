// The operator against the machine and against Eigen. Every row is one drift of TokenDynamics with general
// weights, double or float; an item is a pair of tokens.
#include "cases.hpp"
#include "eigen_forms.hpp"
#include "harness.hpp"

#include <attnflow/systems/token_dynamics.hpp>

#include <limits>
#include <optional>

namespace {

enum Baselines { none = 0, blocked = 1, naive = 2, both = 3 };

/// A speed is worth nothing if the results differ. Sums of n terms in two orders, and scores of size |s|
/// whose error becomes a relative error of a weight: 64 ε (1 + max |s|) of the largest velocity is wide of
/// both.
template <class Scalar>
bool agree(const attnflow::Tokens<Scalar>& a, const attnflow::Tokens<Scalar>& b,
           const attnflow::Head<Scalar>& head, const attnflow::Tokens<Scalar>& x) {
  const Scalar score = (head.Q * x).colwise().norm().maxCoeff() * (head.K * x).colwise().norm().maxCoeff();
  const Scalar scale = (head.V * x).cwiseAbs().maxCoeff();
  const Scalar tolerance = 64 * std::numeric_limits<Scalar>::epsilon() * (1 + score) * scale;
  return (a - b).cwiseAbs().maxCoeff() <= tolerance;
}

template <class Scalar>
void attend(benchmark::State& state, Eigen::Index n, Eigen::Index d, int threads, unsigned baselines,
            bool identity) {
  const auto head = identity ? attnflow::Head<Scalar>::identity(d) : bench::general_head<Scalar>(d);
  const attnflow::TokenDynamics field(head);
  const auto x = bench::tokens<Scalar>(n, d);
  attnflow::Tokens<Scalar> dx;
  bench::EigenForms<Scalar> eigen(head, x);

  bench::use_threads(threads);
  if (!bench::settings().baselines) baselines = none;
  std::vector<bench::Contender> contenders;
  const auto add = [&](std::function<void()> run) {
    contenders.push_back({std::move(run)});
    return contenders.size() - 1;
  };
  const auto ours = add([&] {
    field(0, x, dx);
    benchmark::DoNotOptimize(dx.data());
    benchmark::ClobberMemory();
  });
  std::optional<std::size_t> with_blocked, with_naive;
  if ((baselines & blocked) != 0) with_blocked = add([&] { eigen.blocked(threads); });
  if ((baselines & naive) != 0) with_naive = add([&] { eigen.naive(threads); });
  bench::Gauge rate{[&](double duration) { return bench::multiply_add_rate<Scalar>(duration, threads); }};
  bench::interleave(contenders, &rate);
  if (!with_blocked && n <= 16384) eigen.blocked();
  bench::use_threads(1);
  if (n <= 16384 && !agree(dx, eigen.out(), head, x))
    return bench::fail(state, "the operator and Eigen disagree");

  const double pairs = static_cast<double>(n) * static_cast<double>(n);
  std::vector<double> limits, shares;
  for (std::size_t r = 0; r < rate.values.size(); ++r) {
    limits.push_back(
        bench::roofline<Scalar>(static_cast<double>(n), static_cast<double>(d), pairs, rate.values[r]));
    shares.push_back(limits[r] / contenders[ours].seconds[r]);
  }
  bench::report_time(state, contenders[ours]);
  auto& counters = state.counters;
  counters["n"] = static_cast<double>(n);
  counters["d"] = static_cast<double>(d);
  counters["threads"] = threads;
  counters["rounds"] = static_cast<double>(rate.values.size());
  counters["ns_per_pair"] = bench::median(contenders[ours].seconds) / pairs * 1e9;
  counters["roofline_ns_per_pair"] = bench::median(limits) / pairs * 1e9;
  counters["roofline_share"] = bench::median(shares);
  if (with_blocked) {
    counters["blocked_ns_per_pair"] = bench::median(contenders[*with_blocked].seconds) / pairs * 1e9;
    counters["vs_blocked"] = bench::ratio(contenders[*with_blocked], contenders[ours]);
  }
  if (with_naive) {
    counters["naive_ns_per_pair"] = bench::median(contenders[*with_naive].seconds) / pairs * 1e9;
    counters["vs_naive"] = bench::ratio(contenders[*with_naive], contenders[ours]);
  }
}

template <class Scalar>
void add_limits(int threads) {
  bench::add_row(
      std::string("limit/") + bench::name_of<Scalar> + "/threads:" + std::to_string(threads),
      [threads](benchmark::State& state) {
        std::vector<double> rates;
        for (int r = 0; r < 31; ++r)
          rates.push_back(bench::multiply_add_rate<Scalar>(2e-3 * threads, threads));
        const double rate = bench::median(rates);
        const double exponential = bench::exponential_bound<Scalar>(rate);
        for (auto _ : state) state.SetIterationTime(exponential);
        state.counters["threads"] = threads;
        state.counters["gigaflops"] = rate / 1e9;
        state.counters["best_gigaflops"] = std::ranges::max(rates) / 1e9;
        state.counters["exp_ns"] = exponential * 1e9;
      },
      benchmark::kNanosecond);
}

template <class Scalar>
void add_attend(Eigen::Index n, Eigen::Index d, unsigned baselines, int threads = 1, bool identity = false) {
  bench::add_row((identity ? "attend_identity/" : "attend/") + std::string(bench::name_of<Scalar>) +
                     bench::size_name(n, d) + "/threads:" + std::to_string(threads),
                 [=](benchmark::State& state) { attend<Scalar>(state, n, d, threads, baselines, identity); });
}

template <class Scalar>
void add_rows_of() {
  struct Size {
    Eigen::Index n, d;
    unsigned baselines;
  };
  // The whole matrix of 16384 tokens is 2 GB in double: one size is enough. Beyond it a pair costs Eigen no
  // less.
  const std::vector<Size> sizes = {{32, 2, both},   {40, 80, both},   {128, 128, both},    {1024, 2, both},
                                   {1024, 3, both}, {1024, 16, both}, {2048, 128, both},   {4096, 2, both},
                                   {4096, 3, both}, {4096, 64, both}, {16384, 2, blocked}, {16384, 3, both},
                                   {65536, 3, none}};
  for (const Size& size : sizes) add_attend<Scalar>(size.n, size.d, size.baselines);
  for (const Eigen::Index n : {1024, 4096}) add_attend<Scalar>(n, 3, none, 1, true);
#ifdef BENCH_HAS_THREADS
  for (const Size& size : sizes)
    if (size.n >= 4096) add_attend<Scalar>(size.n, size.d, size.baselines & blocked, 2);
#endif
}

void add_rows() {
  for (const int threads : {1, 2}) {
    add_limits<double>(threads);
    add_limits<float>(threads);
  }
  bench::add_row(
      "limit/copy",
      [](benchmark::State& state) {
        const double bandwidth = bench::copy_bandwidth();
        for (auto _ : state) state.SetIterationTime(1 / bandwidth);
        state.counters["gigabytes_per_second"] = bandwidth / 1e9;
      },
      benchmark::kNanosecond);
  add_rows_of<double>();
  add_rows_of<float>();
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, add_rows); }
