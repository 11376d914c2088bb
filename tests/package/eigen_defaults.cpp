// What must not depend on Eigen's defaults: a run to a polytope, P, products of many rows, and files. Compiled with
// each of them changed, assertions on.
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <array>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>

namespace {

using Eigen::Index;

void require(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "false: " << what << '\n';
  std::exit(1);
}

/// README.md's first program: the vertices, with the digits shown there.
void run_to_polytope() {
  using State = attnflow::Tokens<double, 2>;
  attnflow::Generator generator(1);
  State z = attnflow::uniform_box<double, 2>(generator, 20, 2, -5, 5);
  const attnflow::RescaledDynamics dynamics(attnflow::Head<double, 2>::identity());
  const auto report = attnflow::integrate(dynamics, attnflow::DormandPrince5<State>{}, z, {.to = 40});
  require(report.outcome == attnflow::Outcome::reached_end, "the run reaches its end");
  const auto vertices = attnflow::convex_hull(z);
  const double expected[4][3] = {
      {0, -3.80577, -4.30429}, {6, 2.97001, -2.66778}, {14, 3.85239, -1.33761}, {2, -1.49426, 4.10747}};
  require(vertices.size() == 4, "four vertices");
  for (std::size_t k = 0; k < 4; ++k) {
    require(static_cast<double>(vertices[k]) == expected[k][0], "the vertices are those of README.md");
    for (Index i = 0; i < 2; ++i)  // five digits after the point are shown
      require(std::abs(z(i, vertices[k]) - expected[k][i + 1]) < 0.6e-5,
              "vertices stand where README.md says");
  }
}

/// Weights without symmetry: a matrix read by rows where columns are meant gives another answer. For 2, 5 and 11 rows,
/// each of which has its own loops of products, and with e^{tV} applied.
template <int Dim>
void compare_with_definition(Index d, double t) {
  const Index n = 9;
  attnflow::Head<double, Dim> head = attnflow::Head<double, Dim>::identity(d);
  attnflow::Generator generator(7);
  const auto draw = [&](auto& matrix, double size) {
    for (Index i = 0; i < matrix.rows(); ++i)
      for (Index j = 0; j < matrix.cols(); ++j)
        matrix(i, j) = size * (2 * attnflow::detail::draw_unit(generator) - 1);
  };
  attnflow::Tokens<double, Dim> x(d, n), out, dz;
  draw(head.Q, 1);
  draw(head.K, 1);
  draw(head.V, 1);
  draw(x, 1);

  attnflow::attend(head, attnflow::Softmax{}, attnflow::NoMask{}, attnflow::NoBias{}, x, out);
  const auto P = attnflow::attention_matrix(head, x);
  double worst = 0;
  for (Index i = 0; i < n; ++i) {
    double sum = 0;
    std::array<double, 9> w{};
    for (Index j = 0; j < n; ++j) {
      double score = 0;
      for (Index k = 0; k < d; ++k) {
        double q = 0, key = 0;
        for (Index c = 0; c < d; ++c) {
          q += head.Q(k, c) * x(c, i);
          key += head.K(k, c) * x(c, j);
        }
        score += q * key;
      }
      sum += w[static_cast<std::size_t>(j)] = std::exp(score);
    }
    for (Index j = 0; j < n; ++j)
      worst = std::max(worst, std::abs(P(i, j) - w[static_cast<std::size_t>(j)] / sum));
    for (Index k = 0; k < d; ++k) {
      double expected = 0;
      for (Index j = 0; j < n; ++j)
        for (Index c = 0; c < d; ++c)
          expected += w[static_cast<std::size_t>(j)] / sum * head.V(k, c) * x(c, j);
      worst = std::max(worst, std::abs(out(k, i) - expected));
    }
  }
  // Sums of at most d² n = 1089 terms of size at most 1.
  require(worst < 1e-13, "attention is what its formula says");

  // In the frame z = e^{−tV} x the velocity is ∑ⱼ Pᵢⱼ V (zⱼ − zᵢ) with P that of x = e^{tV} z.
  const attnflow::RescaledDynamics<double, Dim> dynamics(head);
  dynamics(t, x, dz);
  const auto moved = attnflow::attention_matrix(head, attnflow::unrescale(dynamics.exponential(), t, x));
  worst = 0;
  for (Index i = 0; i < n; ++i)
    for (Index k = 0; k < d; ++k) {
      double expected = 0;
      for (Index j = 0; j < n; ++j)
        for (Index c = 0; c < d; ++c) expected += moved(i, j) * head.V(k, c) * (x(c, j) - x(c, i));
      worst = std::max(worst, std::abs(dz(k, i) - expected));
    }
  require(worst < 1e-12, "the rescaled velocity is what its formula says");
}

/// Files hold token after token, whatever the order of matrices in memory.
void write_and_read() {
  attnflow::Tokens<double> x(3, 4);
  for (Index j = 0; j < 4; ++j)
    for (Index i = 0; i < 3; ++i) x(i, j) = static_cast<double>(10 * j + i);
  attnflow::save_npy("tokens.npy", x);
  const attnflow::NpyArray array = attnflow::load_npy("tokens.npy");
  require(array.shape.size() == 2 && array.shape[0] == 4 && array.shape[1] == 3,
          "the array has shape (n, d)");
  for (std::size_t k = 0; k < 12; ++k)
    require(array.values[k] == static_cast<double>(10 * (k / 3) + k % 3), "numbers stand token after token");
  require(attnflow::tokens_from<double>(array, "tokens.npy") == x, "tokens come back as they were");
  const auto matrix = attnflow::matrices_from<double>(array, "tokens.npy").at(0);
  require(matrix(1, 2) == 12 && matrix(3, 0) == 30, "a matrix comes back by its rows and columns");
}

}  // namespace

int main() {
  run_to_polytope();
  compare_with_definition<2>(2, 0.7);
  compare_with_definition<Eigen::Dynamic>(5, 0.7);
  compare_with_definition<Eigen::Dynamic>(11, 0.2);
  compare_with_definition<1>(1, 0.7);
  write_and_read();
}
