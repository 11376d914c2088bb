// Laws, masks and biases: every row is one drift with another kind of attention, timed in turns with the
// drift of softmax over all tokens. An item is a pair of tokens that the mask leaves: n (n + 1) / 2 where it
// is causal.
#include "cases.hpp"
#include "harness.hpp"

#include <attnflow/attention/alibi.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/attention/softmax.hpp>
#include <attnflow/attention/unnormalized.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <limits>

namespace {

using attnflow::Alibi;
using attnflow::Causal;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::Softmax;
using attnflow::StrictCausal;
using attnflow::Unnormalized;

/// The pairs that the mask leaves.
template <class Mask>
double pairs(const Mask& mask, Eigen::Index n) {
  double sum = 0;
  for (Eigen::Index i = 0; i < n; ++i)
    sum += static_cast<double>(mask.keys(i, n).end - mask.keys(i, n).begin);
  return sum;
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
  const Eigen::MatrixXd queries = head.Q.template cast<double>() * x.template cast<double>();
  const Eigen::MatrixXd keys = head.K.template cast<double>() * x.template cast<double>();
  const Eigen::MatrixXd values = head.V.template cast<double>() * x.template cast<double>();
  double error = 0, scale = 0, largest_score = 1;
  for (Eigen::Index i = 0; i < n; ++i) {
    const auto [begin, end] = mask.keys(i, n);
    Eigen::VectorXd sum = Eigen::VectorXd::Zero(d);
    double normalizer = 0;
    for (Eigen::Index j = begin; j < end; ++j) {
      const double score =
          law.beta * queries.col(i).dot(keys.col(j)) - bias.slope * std::abs(static_cast<double>(i - j));
      largest_score = std::max(largest_score, std::abs(score));
      sum += std::exp(score) * values.col(j);
      normalizer += std::exp(score);
    }
    if (begin < end) sum *= std::exp(law.log_row_factor(std::log(normalizer), n)) / normalizer;
    scale = std::max(scale, sum.cwiseAbs().maxCoeff());
    error = std::max(error, (sum - dx.col(i).template cast<double>()).cwiseAbs().maxCoeff());
  }
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
                   if (!is_the_law<Scalar>(law, mask, bias, d))
                     return bench::fail(state, "the drift is not that of the law");
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
    add_law<Scalar>("softmax_beta_4", n, d, Softmax<Scalar>{4});
    add_law<Scalar>("unnormalized", n, d, Unnormalized<Scalar>{});
    add_law<Scalar>("causal", n, d, Softmax<Scalar>{}, Causal{});
    add_law<Scalar>("strict_causal", n, d, Softmax<Scalar>{}, StrictCausal{});
    add_law<Scalar>("alibi", n, d, Softmax<Scalar>{}, NoMask{}, Alibi{0.01});
    add_law<Scalar>("causal_alibi", n, d, Softmax<Scalar>{}, Causal{}, Alibi{0.01});
    for (const double t : {0., 3.}) add_rescaled<Scalar>(n, d, t);
  }
}

void add_rows() {
  add_rows_of<double>();
  add_rows_of<float>();
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, add_rows); }
