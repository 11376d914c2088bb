// What must hold with every compiler, library and processor: x's drift and a run of z against plain loops, in float and
// double, at each level of instructions that ATTNFLOW_SIMD names and the machine has; loops on threads; files.
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/io/checkpoint.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/parallel/threads.hpp>
#include <attnflow/simd/level.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <cmath>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <limits>
#include <thread>

namespace {

using Eigen::Index;

void require(bool holds, const char* what, double error) {
  if (holds) return;
  std::cerr << "false: " << what << " (" << error << ")\n";
  std::exit(1);
}

/// ∑ⱼ softmaxⱼ⟨xᵢ, xⱼ⟩ xⱼ, as it is written.
Eigen::MatrixXd drift(const Eigen::MatrixXd& x) {
  Eigen::MatrixXd dx = Eigen::MatrixXd::Zero(x.rows(), x.cols());
  for (Index i = 0; i < x.cols(); ++i) {
    const Eigen::VectorXd scores = x.transpose() * x.col(i);
    const Eigen::VectorXd weights = (scores.array() - scores.maxCoeff()).exp();
    dx.col(i) = x * weights / weights.sum();
  }
  return dx;
}

template <class Scalar>
void drift_and_run(Index d) {
  using State = attnflow::Tokens<Scalar>;
  const double epsilon = std::numeric_limits<Scalar>::epsilon();
  attnflow::Generator generator(1);
  const State x = attnflow::uniform_box<Scalar>(generator, 20, d, -2, 2);
  State dx;
  attnflow::TokenDynamics<Scalar>(attnflow::Head<Scalar>::identity(d))(0, x, dx);
  // Weights are off by ε times the scores, which reach 4 d.
  const double off = (dx.template cast<double>() - drift(x.template cast<double>())).cwiseAbs().maxCoeff();
  require(off <= 40 * static_cast<double>(d) * epsilon, "the drift is the sum over all tokens", off);

  // z = e^{−t} x moves at e^{−t} drift(x) − z. Four steps of the classical method with h = 1/64 to t = 1/16, in double.
  Eigen::MatrixXd by_hand = x.template cast<double>();
  const auto velocity = [](double t, const Eigen::MatrixXd& z) -> Eigen::MatrixXd {
    return std::exp(-t) * drift(std::exp(t) * z) - z;
  };
  const double h = 1. / 64;
  for (int step = 0; step < 4; ++step) {
    const double t = step * h;
    const Eigen::MatrixXd k1 = velocity(t, by_hand), k2 = velocity(t + h / 2, by_hand + h / 2 * k1),
                          k3 = velocity(t + h / 2, by_hand + h / 2 * k2),
                          k4 = velocity(t + h, by_hand + h * k3);
    by_hand += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
  }
  State z = x;
  const double tolerance = sizeof(Scalar) == sizeof(float) ? 2e-6 : 1e-9;
  const auto report = attnflow::integrate(
      attnflow::RescaledDynamics<Scalar>(attnflow::Head<Scalar>::identity(d)),
      attnflow::DormandPrince5<State>{}, z, {.to = 4 * h, .rtol = tolerance, .atol = tolerance});
  require(report.outcome == attnflow::Outcome::reached_end, "the run reaches its end", report.t);
  const double apart = (z.template cast<double>() - by_hand).cwiseAbs().maxCoeff();
  require(apart <= tolerance, "the run is that of the plain loops", apart);
}

/// Threads help, and must let the program end.
void on_threads() {
  attnflow::Generator generator(2);
  const attnflow::Tokens<double> x = attnflow::uniform_box<double>(generator, 1000, 2, -1, 1);
  const attnflow::TokenDynamics<double> dynamics(attnflow::Head<double>::identity(2));
  attnflow::Tokens<double> many, one;
  attnflow::set_threads(1);
  dynamics(0, x, one);
  attnflow::set_threads(4);
  for (int k = 0; k < 50; ++k) dynamics(0, x, many);
  require(many == one, "the number of threads does not change a bit", (many - one).norm());
}

/// Each thread has scratch space of its own, which goes with it: also where its thread_local objects go first.
void on_threads_that_end() {
  attnflow::Generator generator(4);
  const attnflow::Tokens<double> x = attnflow::uniform_box<double>(generator, 30, 6, -1, 1);
  const attnflow::TokenDynamics<double> dynamics(attnflow::Head<double>::identity(6));
  for (int k = 0; k < 50; ++k) {
    attnflow::Tokens<double> dx;
    std::thread([&] { dynamics(0, x, dx); }).join();
    require((dx - drift(x)).norm() < 1e-12, "a thread that ends has computed the drift", k);
  }
}

/// A name with a letter beyond ASCII, in a folder with a space.
void files() {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / fs::path(u8"attnflow \u00e9");
  fs::remove_all(folder);
  fs::create_directories(folder);
  attnflow::Generator generator(3);
  const attnflow::Tokens<double> x = attnflow::uniform_box<double>(generator, 7, 3, -1, 1);
  for (int k = 0; k < 2; ++k) {  // the second time in place of the first
    attnflow::save_npy(folder / fs::path(u8"\u03b2.npy"), x);
    attnflow::Checkpoint checkpoint;
    checkpoint.t = 0.5 + k;
    attnflow::save_checkpoint(folder / fs::path(u8"\u03b2.checkpoint"), checkpoint);
  }
  const Eigen::MatrixXd read =
      attnflow::tokens_from<double>(attnflow::load_npy(folder / fs::path(u8"\u03b2.npy")), "x");
  require(read == x, "a file holds what was saved", static_cast<double>(read.size()));
  require(attnflow::load_checkpoint(folder / fs::path(u8"\u03b2.checkpoint")).t == 1.5,
          "a checkpoint is the last one", 0);
  int left = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder)) ++left;
  require(left == 2, "nothing else is in the folder", left);
  fs::remove_all(folder);
}

}  // namespace

int main() {
  try {
    std::cout << attnflow::name_of(attnflow::simd_level()) << '\n';
  } catch (const std::exception&) {
    return 0;  // not a level of this machine
  }
  for (const Index d : {1, 2, 6}) {
    drift_and_run<float>(d);
    drift_and_run<double>(d);
  }
  files();
  on_threads_that_end();
  on_threads();  // last: its threads have not yet fallen asleep when the program ends
  return 0;
}
