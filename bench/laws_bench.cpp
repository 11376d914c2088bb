// Laws, masks and biases: every row is one drift with another kind of attention, timed in turns with the
// drift of softmax over all tokens. An item is a pair of tokens that the mask leaves: n (n + 1) / 2 where it
// is causal.
#include "cases.hpp"
#include "harness.hpp"

#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/biases/bias_table.hpp>
#include <attnflow/attention/biases/token_masses.hpp>
#include <attnflow/attention/graph.hpp>
#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/attention/laws/l2_softmax.hpp>
#include <attnflow/attention/laws/linear.hpp>
#include <attnflow/attention/laws/position_weighted.hpp>
#include <attnflow/attention/laws/relu_weights.hpp>
#include <attnflow/attention/laws/sigmoid.hpp>
#include <attnflow/attention/laws/sinkhorn.hpp>
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/softplus_weights.hpp>
#include <attnflow/attention/laws/sparsemax.hpp>
#include <attnflow/attention/laws/top_k.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/attention/positions/rotary.hpp>
#include <attnflow/attention/within.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <Eigen/Geometry>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

namespace {

using attnflow::Alibi;
using attnflow::Band;
using attnflow::BiasTable;
using attnflow::Causal;
using attnflow::Entmax15;
using attnflow::ExcludeSelf;
using attnflow::Graph;
using attnflow::Hardmax;
using attnflow::L2Softmax;
using attnflow::Linear;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::PositionWeighted;
using attnflow::ReluWeights;
using attnflow::Rotary;
using attnflow::Sigmoid;
using attnflow::Sinkhorn;
using attnflow::Softmax;
using attnflow::SoftplusWeights;
using attnflow::Sparsemax;
using attnflow::StrictCausal;
using attnflow::TokenMasses;
using attnflow::TopK;
using attnflow::Unnormalized;
using attnflow::WeightFunction;
using attnflow::Within;

/// The scores of row i to the weights of a law of whole rows.
template <class Law, class Mask>
void weigh_row(const Law& law, const Mask& mask, Eigen::Index i, Eigen::MatrixXd& w) {
  const auto [begin, end] = mask.keys(i, w.cols());
  std::vector<double> row;
  double largest = -std::numeric_limits<double>::infinity();
  for (Eigen::Index j = begin; j < end; ++j) largest = std::max(largest, w(i, j));
  for (Eigen::Index j = begin; j < end; ++j) row.push_back(w(i, j) - largest);
  law.weigh_row(std::span<double>(row));
  for (Eigen::Index j = begin; j < end; ++j) w(i, j) = row[static_cast<std::size_t>(j - begin)];
}

/// The pairs that are looked at: those in the ranges of the mask.
template <class Mask>
double pairs(const Mask& mask, Eigen::Index n) {
  double sum = 0;
  for (Eigen::Index i = 0; i < n; ++i)
    sum += static_cast<double>(mask.keys(i, n).end - mask.keys(i, n).begin);
  return sum;
}

Graph half_of_all(Eigen::Index n) {
  return Graph(n, [](Eigen::Index i, Eigen::Index j) { return (i * 31 + j * 17) % 64 < 32; });
}
TokenMasses some_masses(Eigen::Index n) {
  TokenMasses masses;
  for (Eigen::Index j = 0; j < n; ++j) masses.masses.push_back(1 + static_cast<double>(j % 3));
  return masses;
}

/// The definition as a double loop in double (concepts.hpp): a row that times another operator is worth
/// nothing.
template <class Scalar, class Law, class Mask, class Bias>
bool is_the_law(const Law& law, const Mask& mask, const Bias& bias, Eigen::Index d) {
  const Eigen::Index n = 48;
  const auto head = bench::general_head<Scalar>(d);
  const auto x = bench::tokens<Scalar>(n, d);
  attnflow::Tokens<Scalar> dx;
  attnflow::TokenDynamics<Scalar, Eigen::Dynamic, Law, Mask, Bias>(head, law, mask, bias)(0, x, dx);
  Eigen::MatrixXd queries = head.Q.template cast<double>() * x.template cast<double>();
  Eigen::MatrixXd keys = head.K.template cast<double>() * x.template cast<double>();
  if constexpr (attnflow::RotatingPositions<Bias>)
    for (Eigen::MatrixXd* points : {&queries, &keys})
      for (Eigen::Index p = 0; p < n; ++p)
        for (Eigen::Index k = 0; k < d / 2; ++k) {
          const Eigen::Rotation2D<double> turn(bias.angle(k, d / 2, p, n));
          points->block<2, 1>(2 * k, p) = turn * Eigen::Vector2d(points->block<2, 1>(2 * k, p));
        }
  const Eigen::MatrixXd values = head.V.template cast<double>() * x.template cast<double>();
  double error = 0, scale = 0, largest_score = 1;
  Eigen::VectorXd masses = Eigen::VectorXd::Ones(n);
  if constexpr (requires { bias.masses; }) {
    for (Eigen::Index j = 0; j < n; ++j) masses(j) = bias.masses[static_cast<std::size_t>(j)];
    masses *= static_cast<double>(n) / masses.sum();
  }
  const auto is_taken = [&](Eigen::Index i, Eigen::Index j) {
    const auto [begin, end] = mask.keys(i, n);
    bool taken = begin <= j && j < end;
    if constexpr (attnflow::PickingMask<Mask>) taken = taken && mask.attends(i, j);
    if constexpr (attnflow::StateMask<Mask>) taken = taken && mask.takes(x.col(i).data(), x.col(j).data(), d);
    return taken;
  };
  Eigen::MatrixXd w = Eigen::MatrixXd::Zero(n, n);
  for (Eigen::Index i = 0; i < n; ++i) {
    double normalizer = 0, positions = 0, largest = -std::numeric_limits<double>::infinity();
    for (Eigen::Index j = 0; j < n; ++j) {
      if (!is_taken(i, j)) continue;
      const double fall = bias.slope * std::abs(static_cast<double>(i - j));
      double score = law.beta * queries.col(i).dot(keys.col(j));
      if constexpr (attnflow::DistanceLaw<Law>)
        score = -law.beta * law.scale * (queries.col(i) - keys.col(j)).squaredNorm();
      score -= fall;
      if constexpr (attnflow::TabledBias<Bias>) score += bias.at(i, j);
      largest_score = std::max(largest_score, std::abs(score));
      largest = std::max(largest, score);
      if constexpr (Law::function == WeightFunction::exponential)
        w(i, j) = std::exp(score) * masses(j);
      else if constexpr (Law::function == WeightFunction::pointwise)
        w(i, j) = law.weight(score) * masses(j);
      else
        w(i, j) = score;
      normalizer += w(i, j);
      positions += std::exp(-fall) * masses(j);
    }
    if (positions == 0) continue;
    if constexpr (Law::function == WeightFunction::maximum)
      w.row(i) = (w.row(i).array() == largest).template cast<double>();
    else if constexpr (Law::function == WeightFunction::pointwise)
      w.row(i) *= attnflow::detail::row_factor(law.rows, normalizer, n);
    else if constexpr (Law::function == WeightFunction::row)
      weigh_row(law, mask, i, w);
    else if constexpr (attnflow::PositionAware<Law>)
      w.row(i) *= std::exp(law.log_row_factor(std::log(normalizer), n, std::log(positions))) / normalizer;
    else if constexpr (Law::function == WeightFunction::exponential)
      w.row(i) *= std::exp(attnflow::detail::log_row_factor(law, std::log(normalizer), n)) / normalizer;
  }
  if constexpr (attnflow::DoublyStochasticLaw<Law>)
    for (int sweep = 0; sweep < law.iterations; ++sweep) {
      w = (w * w.colwise().sum().cwiseInverse().asDiagonal()).eval();
      w = (w.rowwise().sum().cwiseInverse().asDiagonal() * w).eval();
    }
  const Eigen::MatrixXd sums = values * w.transpose();
  error = (sums - dx.template cast<double>()).cwiseAbs().maxCoeff();
  scale = sums.cwiseAbs().maxCoeff();
  // The error of a score is a relative error of its weight.
  return error <=
         64 * static_cast<double>(std::numeric_limits<Scalar>::epsilon()) * (1 + largest_score) * scale;
}

/// Times `drift`, whose pairs are `left`, in turns with softmax over all n² pairs.
template <class Scalar>
void against_softmax(benchmark::State& state, Eigen::Index n, Eigen::Index d, double left,
                     std::function<void()> drift) {
  const attnflow::TokenDynamics<Scalar> softmax(bench::general_head<Scalar>(d));
  const auto x = bench::tokens<Scalar>(n, d);
  attnflow::Tokens<Scalar> dx;
  std::vector<bench::Contender> contenders;
  contenders.push_back({std::move(drift)});
  contenders.push_back({[&] {
    softmax(0, x, dx);
    benchmark::DoNotOptimize(dx.data());
    benchmark::ClobberMemory();
  }});
  bench::Gauge rate{[](double duration) { return bench::multiply_add_rate<Scalar>(duration); }};
  bench::interleave(contenders, &rate);
  std::vector<double> shares;
  for (std::size_t r = 0; r < rate.values.size(); ++r)
    shares.push_back(
        bench::roofline<Scalar>(static_cast<double>(n), static_cast<double>(d), left, rate.values[r]) /
        contenders[0].seconds[r]);
  const double all = static_cast<double>(n) * static_cast<double>(n);
  bench::report_time(state, contenders[0]);
  auto& counters = state.counters;
  counters["n"] = static_cast<double>(n);
  counters["d"] = static_cast<double>(d);
  counters["threads"] = 1;
  counters["rounds"] = static_cast<double>(rate.values.size());
  counters["ns_per_pair"] = bench::median(contenders[0].seconds) / left * 1e9;
  counters["roofline_share"] = bench::median(shares);
  counters["pair_vs_softmax_pair"] = bench::ratio(contenders[0], contenders[1]) * all / left;
}

template <class Scalar, class Law, class Mask = NoMask, class Bias = NoBias>
void add_law(const std::string& name, Eigen::Index n, Eigen::Index d, Law law, Mask mask = {},
             Bias bias = {}) {
  bench::add_row("law/" + name + "/" + bench::name_of<Scalar> + bench::size_name(n, d),
                 [=](benchmark::State& state) {
                   bool right = false;
                   if constexpr (std::is_same_v<Mask, Graph>)
                     right = is_the_law<Scalar>(law, half_of_all(48), bias, d);
                   else if constexpr (std::is_same_v<Bias, TokenMasses>)
                     right = is_the_law<Scalar>(law, mask, some_masses(48), d);
                   else
                     right = is_the_law<Scalar>(law, mask, bias, d);
                   if (!right) return bench::fail(state, "the drift is not that of the law");
                   const attnflow::TokenDynamics<Scalar, Eigen::Dynamic, Law, Mask, Bias> field(
                       bench::general_head<Scalar>(d), law, mask, bias);
                   const auto x = bench::tokens<Scalar>(n, d);
                   attnflow::Tokens<Scalar> dx;
                   against_softmax<Scalar>(state, n, d, pairs(mask, n), [&] {
                     field(0, x, dx);
                     benchmark::DoNotOptimize(dx.data());
                     benchmark::ClobberMemory();
                   });
                 });
}

/// The same drift in the rescaled frame, whose scores are taken from differences of tokens, at t = 0 and t =
/// 3.
template <class Scalar>
void add_rescaled(Eigen::Index n, Eigen::Index d, double t) {
  bench::add_row("rescaled/t:" + std::to_string(static_cast<int>(t)) + "/" + bench::name_of<Scalar> +
                     bench::size_name(n, d),
                 [=](benchmark::State& state) {
                   const attnflow::RescaledDynamics<Scalar> field(bench::general_head<Scalar>(d));
                   const auto z = bench::tokens<Scalar>(n, d);
                   attnflow::Tokens<Scalar> dz;
                   against_softmax<Scalar>(state, n, d, pairs(NoMask{}, n), [&] {
                     field(t, z, dz);
                     benchmark::DoNotOptimize(dz.data());
                     benchmark::ClobberMemory();
                   });
                 });
}

template <class Scalar>
void add_rows_of() {
  for (const auto& [n, d] : {std::pair<Eigen::Index, Eigen::Index>{4096, 3}, {1024, 16}}) {
    add_law<Scalar>("softmax_beta_4", n, d, Softmax{4});
    add_law<Scalar>("unnormalized", n, d, Unnormalized{});
    add_law<Scalar>("causal", n, d, Softmax{}, Causal{});
    add_law<Scalar>("strict_causal", n, d, Softmax{}, StrictCausal{});
    add_law<Scalar>("alibi", n, d, Softmax{}, NoMask{}, Alibi{0.01});
    add_law<Scalar>("bias_table", n, d, Softmax{}, NoMask{}, BiasTable(Eigen::MatrixXd::Random(n, n)));
    add_law<Scalar>("within", n, d, Softmax{}, Within{2});
    if (d % 2 == 0) add_law<Scalar>("rotary", n, d, Softmax{}, NoMask{}, Rotary{});
    add_law<Scalar>("causal_alibi", n, d, Softmax{}, Causal{}, Alibi{0.01});
    add_law<Scalar>("exclude_self", n, d, Softmax{}, ExcludeSelf{});
    add_law<Scalar>("band", n, d, Softmax{}, Band{n / 8, n / 8});
    add_law<Scalar>("graph", n, d, Softmax{}, half_of_all(n));
    add_law<Scalar>("masses", n, d, Softmax{}, NoMask{}, some_masses(n));
    add_law<Scalar>("position_weighted", n, d, PositionWeighted{}, StrictCausal{}, Alibi{0.01});
    add_law<Scalar>("hardmax", n, d, Hardmax{});
    add_law<Scalar>("sigmoid", n, d, Sigmoid{});
    add_law<Scalar>("relu", n, d, ReluWeights{});
    add_law<Scalar>("softplus", n, d, SoftplusWeights{});
    add_law<Scalar>("top_k", n, d, TopK{8});
    add_law<Scalar>("sparsemax", n, d, Sparsemax{});
    add_law<Scalar>("entmax15", n, d, Entmax15{});
    add_law<Scalar>("linear", n, d, Linear{});
    add_law<Scalar>("linear_causal", n, d, Linear{}, Causal{});
    add_law<Scalar>("l2", n, d, L2Softmax{});
    add_law<Scalar>("sinkhorn_2_sweeps", n, d, Sinkhorn{1, 2, 0});
    for (const double t : {0., 3.}) add_rescaled<Scalar>(n, d, t);
  }
}

void add_rows() {
  add_rows_of<double>();
  add_rows_of<float>();
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, add_rows); }
