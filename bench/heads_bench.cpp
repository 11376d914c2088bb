// Several heads of few coordinates, and queries that are not the keys. A drift of TokenDynamics with factored heads is
// timed in turns with Eigen on the same factors; an item is a pair of tokens in one head.
#include "cases.hpp"
#include "harness.hpp"

#include <attnflow/attention/attend.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace {

using Eigen::Index;

template <class Scalar>
std::vector<attnflow::Head<Scalar>> heads_of(Index count, Index d, Index width) {
  attnflow::Generator generator(3);
  const auto gaussian = [&](Index rows, Index columns, double size) {
    return attnflow::gaussian<Scalar>(generator, columns, rows, size);
  };
  std::vector<attnflow::Head<Scalar>> heads;
  for (Index h = 0; h < count; ++h)
    heads.push_back({gaussian(width, d, 1 / std::sqrt(static_cast<double>(d))),
                     gaussian(width, d, 1 / std::sqrt(static_cast<double>(d))),
                     gaussian(width, d, 1 / std::sqrt(static_cast<double>(d))),
                     gaussian(d, width, 1 / std::sqrt(static_cast<double>(width)))});
  return heads;
}

/// Blocks of 64 queries with Eigen, for queries, keys and values that exist: adds the normalised sums to out, d_v × m.
template <class Scalar>
class BlockedSums {
 public:
  using Matrix = attnflow::Tokens<Scalar>;
  void operator()(const Matrix& queries, const Matrix& keys, const Matrix& values, Matrix& out) {
    constexpr Index block = 64;
    out.resize(values.rows(), queries.cols());
    for (Index i = 0; i < queries.cols(); i += block) {
      const Index size = std::min(block, queries.cols() - i);
      weights_.noalias() = keys.transpose() * queries.middleCols(i, size);
      weights_.rowwise() -= weights_.colwise().maxCoeff().eval();
      weights_ = weights_.array().exp();
      auto sums = out.middleCols(i, size);
      sums.noalias() = values * weights_;
      sums.array().rowwise() /= weights_.colwise().sum().array();
    }
  }

 private:
  Matrix weights_;
};

/// The least time: what the factors need of multiply-adds, and an exponential for each pair and head.
template <class Scalar>
double factored_roofline(double heads, double n, double d, double width, double rate) {
  const double operations = heads * (n * n * 4 * width + 8 * n * d * width);
  return operations / rate + heads * n * n * bench::exponential_bound<Scalar>(rate);
}

template <class Scalar>
bool agree(const attnflow::Tokens<Scalar>& a, const attnflow::Tokens<Scalar>& b) {
  const Scalar tolerance = 1000 * std::numeric_limits<Scalar>::epsilon() * b.cwiseAbs().maxCoeff();
  return (a - b).cwiseAbs().maxCoeff() <= tolerance;
}

void report(benchmark::State& state, const std::vector<bench::Contender>& contenders, double pairs,
            const bench::Gauge& rate, const std::function<double(double)>& roofline) {
  std::vector<double> shares;
  for (std::size_t r = 0; r < rate.values.size(); ++r)
    shares.push_back(roofline(rate.values[r]) / contenders[0].seconds[r]);
  bench::report_time(state, contenders[0]);
  auto& counters = state.counters;
  counters["threads"] = 1;
  counters["rounds"] = static_cast<double>(rate.values.size());
  counters["ns_per_pair"] = bench::median(contenders[0].seconds) / pairs * 1e9;
  counters["roofline_share"] = bench::median(shares);
  if (contenders.size() > 1) counters["vs_blocked"] = bench::ratio(contenders[1], contenders[0]);
}

template <class Scalar>
void drift(benchmark::State& state, Index count, Index d, Index width, Index n) {
  using Matrix = attnflow::Tokens<Scalar>;
  const auto heads = heads_of<Scalar>(count, d, width);
  const attnflow::TokenDynamics field(heads);
  const auto x = bench::tokens<Scalar>(n, d);
  Matrix dx, out(d, n), queries, keys, values, sums;
  BlockedSums<Scalar> blocked;
  bench::use_threads(1);
  std::vector<bench::Contender> contenders;
  contenders.push_back({[&] {
    field(0, x, dx);
    benchmark::DoNotOptimize(dx.data());
    benchmark::ClobberMemory();
  }});
  const auto eigen = [&] {
    for (std::size_t h = 0; h < heads.size(); ++h) {
      queries.noalias() = heads[h].Q * x;
      keys.noalias() = heads[h].K * x;
      values.noalias() = heads[h].V * x;
      blocked(queries, keys, values, sums);
      if (h == 0)
        out.noalias() = heads[h].O * sums;
      else
        out.noalias() += heads[h].O * sums;
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  };
  if (bench::settings().baselines) contenders.push_back({eigen});
  bench::Gauge rate{[&](double duration) { return bench::multiply_add_rate<Scalar>(duration, 1); }};
  bench::interleave(contenders, &rate);
  eigen();
  if (!agree(dx, out)) return bench::fail(state, "the operator and Eigen disagree");
  const double size = static_cast<double>(n);
  report(state, contenders, static_cast<double>(count) * size * size, rate, [&](double r) {
    return factored_roofline<Scalar>(static_cast<double>(count), size, static_cast<double>(d),
                                     static_cast<double>(width), r);
  });
}

template <class Scalar>
void cross(benchmark::State& state, Index m, Index n, Index width) {
  using Matrix = attnflow::Tokens<Scalar>;
  const Scalar size = 1 / std::sqrt(std::sqrt(static_cast<Scalar>(width)));
  const Matrix keys = bench::tokens<Scalar>(n, width) * size,
               values = bench::tokens<Scalar>(n, width).colwise().reverse(),
               queries = bench::tokens<Scalar>(m, width).rowwise().reverse() * size;
  Matrix out, expected;
  BlockedSums<Scalar> blocked;
  bench::use_threads(1);
  std::vector<bench::Contender> contenders;
  contenders.push_back({[&] {
    attend(queries, keys, values, attnflow::Softmax{}, attnflow::NoMask{}, attnflow::NoBias{}, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }});
  const auto eigen = [&] {
    blocked(queries, keys, values, expected);
    benchmark::DoNotOptimize(expected.data());
    benchmark::ClobberMemory();
  };
  if (bench::settings().baselines) contenders.push_back({eigen});
  bench::Gauge rate{[&](double duration) { return bench::multiply_add_rate<Scalar>(duration, 1); }};
  bench::interleave(contenders, &rate);
  eigen();
  if (!agree(out, expected)) return bench::fail(state, "the operator and Eigen disagree");
  const double pairs = static_cast<double>(m) * static_cast<double>(n);
  report(state, contenders, pairs, rate, [&](double r) {
    return pairs * (4 * static_cast<double>(width) / r + bench::exponential_bound<Scalar>(r));
  });
}

template <class Scalar>
void add_rows_of() {
  struct Layer {
    Index count, width, d;
  };
  const std::string scalar = bench::name_of<Scalar>;
  for (const Layer& layer : {Layer{8, 64, 512}, Layer{12, 64, 768}, Layer{2, 2, 4}})
    for (const Index n : {64, 256, 1024, 2048})
      bench::add_row(
          "heads/" + scalar + "/heads:" + std::to_string(layer.count) +
              "/width:" + std::to_string(layer.width) + bench::size_name(n, layer.d),
          [=](benchmark::State& state) { drift<Scalar>(state, layer.count, layer.d, layer.width, n); });
  bench::add_row("cross/" + scalar + "/m:64/n:65536/width:64",
                 [](benchmark::State& state) { cross<Scalar>(state, 64, 65536, 64); });
  bench::add_row("cross/" + scalar + "/m:64/n:65536/width:2",
                 [](benchmark::State& state) { cross<Scalar>(state, 64, 65536, 2); });
}

void add_rows() {
  add_rows_of<double>();
  add_rows_of<float>();
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, add_rows); }
