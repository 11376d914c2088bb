// Attention on the circle: the cosine series against sums over pairs, both with one thread. An item of the series is a
// term of a token, n K in all; the counters tell how many times as long the n² pairs take, with CircleDynamics, which
// keeps the accuracy of small forces, and with SphereDynamics, which does not.
#include "harness.hpp"

#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/geometry/circle.hpp>
#include <attnflow/systems/circle_dynamics.hpp>
#include <attnflow/systems/circle_series.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace {

using Angles = attnflow::Tokens<double, 1>;
using Points = attnflow::Tokens<double, 2>;
using Eigen::Index;

Angles angles(Index n) {
  attnflow::Generator generator(1);
  return attnflow::uniform_box<double, 1>(generator, n, 1, -3.14, 3.14);
}

/// Whether the series has the velocities of pairs: a row that times another field is worth nothing.
template <class Law>
bool is_the_field(const Law& law) {
  const Angles theta = angles(500);
  Angles fast, slow;
  const attnflow::CircleSeries<double, Law> series(law);
  series(0, theta, fast);
  const attnflow::CircleDynamics<double, Law> pairs(law);
  pairs(0, theta, slow);
  return (fast - slow).cwiseAbs().maxCoeff() <= 1e-12;
}

template <class Law>
void add_series(const std::string& name, Index n, const Law& law) {
  bench::add_row("circle_series/" + name + "/beta:" + std::to_string(static_cast<int>(law.beta)) +
                     "/n:" + std::to_string(n),
                 [=](benchmark::State& state) {
                   if (!is_the_field(law)) return bench::fail(state, "the series is not the field");
                   const attnflow::CircleSeries<double, Law> series(law);
                   const attnflow::CircleDynamics<double, Law> pairs(law);
                   const attnflow::SphereDynamics<double, 2, Law> sphere(
                       attnflow::Head<double, 2>::identity(), law);
                   const Angles theta = angles(n);
                   const Points x = attnflow::circle::points(theta);
                   Angles dtheta;
                   Points dx;
                   std::vector<bench::Contender> contenders;
                   contenders.push_back({[&] {
                     series(0, theta, dtheta);
                     benchmark::DoNotOptimize(dtheta.data());
                     benchmark::ClobberMemory();
                   }});
                   if (bench::settings().baselines) {
                     contenders.push_back({[&] {
                       pairs(0, theta, dtheta);
                       benchmark::DoNotOptimize(dtheta.data());
                       benchmark::ClobberMemory();
                     }});
                     contenders.push_back({[&] {
                       sphere(0, x, dx);
                       benchmark::DoNotOptimize(dx.data());
                       benchmark::ClobberMemory();
                     }});
                   }
                   bench::interleave(contenders);
                   bench::report_time(state, contenders[0]);
                   auto& counters = state.counters;
                   counters["n"] = static_cast<double>(n);
                   counters["terms"] = static_cast<double>(series.terms());
                   counters["threads"] = 1;
                   counters["ns_per_term"] =
                       bench::median(contenders[0].seconds) / static_cast<double>(n * series.terms()) * 1e9;
                   if (contenders.size() < 3) return;
                   counters["circle_dynamics_over_series"] = bench::ratio(contenders[1], contenders[0]);
                   counters["sphere_dynamics_over_series"] = bench::ratio(contenders[2], contenders[0]);
                 });
}

void add_rows() {
  for (const double beta : {5., 50.}) {
    for (const Index n : {256, 4096, 20000})
      add_series("unnormalized", n, attnflow::Unnormalized{beta, true});
    add_series("softmax", 20000, attnflow::Softmax{beta});
  }
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, add_rows); }
