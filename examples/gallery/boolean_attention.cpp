// The attention matrix loses its rank. arXiv:2305.05465, Theorem 2.1: on the line with V > 0 and QK > 0, P(t)
// tends to a matrix of 𝒫, whose rows are e_first or e_last, the first and the last token, but for at most one
// free row; almost surely its rank is 1 or 2. A free row exists for symmetric tokens −u, 0, u, and is as
// unstable as their symmetry. In the dimension of the paper's figure, d = 80 with V = BBᵀ, no theorem speaks
// of P; it is seen to lose its rank all the same.
#include "gallery/exhibit.hpp"
#include "gallery/run.hpp"

#include <attnflow/observables/attention/boolean_distance.hpp>
#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

namespace {

using Eigen::Index;
using figures::Figure;

constexpr Index n = 40;

/// Numbers of tokens in the order of some key.
std::vector<Index> order_by(const Eigen::RowVectorXd& keys) {
  std::vector<Index> order(static_cast<std::size_t>(keys.size()));
  std::iota(order.begin(), order.end(), Index{0});
  std::ranges::sort(order, {}, [&](Index i) { return keys(i); });
  return order;
}

/// Q = K = V = 1 and tokens in [−5, 5], in their order on the line.
gallery::Run on_the_line() {
  attnflow::Generator generator(4);
  const Eigen::MatrixXd start = attnflow::uniform_box(generator, n, 1, -5, 5);
  return gallery::follow(attnflow::Head<double>::identity(1),
                         start(Eigen::placeholders::all_t(), order_by(start)), {.to = 10, .count = 201});
}

/// d = 80, V = BBᵀ · 3/4d, Q = K = I: entries of B in [−1, 1] have the variance ⅓, so that λ₁ ≈ 1.
gallery::Run in_many_dimensions() {
  constexpr Index d = 80;
  attnflow::Generator generator(5);
  const Eigen::MatrixXd B = attnflow::uniform_box(generator, d, d, -1, 1),
                        identity = Eigen::MatrixXd::Identity(d, d);
  return gallery::follow({identity, identity, B * B.transpose() * (0.75 / static_cast<double>(d))},
                         attnflow::uniform_box(generator, n, d, -1, 1), {.to = 14, .count = 141});
}

/// Singular values up to the distance of P to a Boolean matrix could be perturbations of zero (Weyl).
Index rank_up_to(const Eigen::MatrixXd& P, double distance) {
  return attnflow::effective_rank(P, std::sqrt(static_cast<double>(P.rows())) * (distance + 1e-15)).rank;
}

void claims(gallery::Exhibit& exhibit, const gallery::Run& line) {
  const Eigen::MatrixXd& P = line.P.back();
  const attnflow::BooleanDistance distance = attnflow::boolean_distance(P, 0, n - 1);
  exhibit.at_most("d = 1, t = 10: distance of P to rows e_{first}, e_{last}", distance.to_pair, 1e-9);
  exhibit.at_most("d = 1, t = 10: rank of P", static_cast<double>(rank_up_to(P, distance.to_pair)), 2);
  Index turns = 0;
  for (Index i = 0; i + 1 < n; ++i) turns += (P(i, 0) > 0.5) != (P(i + 1, 0) > 0.5);
  exhibit.at_most("d = 1, t = 10: changes from rows e_{first} to rows e_{last}", static_cast<double>(turns),
                  1);
  // Gaps of x never shrink. x = e^t z amplifies the integrator's 1e-9 by e^t, so only a while is looked at.
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t k = 1; line.times[k] <= 5; ++k) {
    const Eigen::RowVectorXd x = std::exp(line.times[k]) * line.z[k].row(0), before = line.z[0].row(0);
    least = std::min(
        least, ((x.tail(n - 1) - x.head(n - 1)).array() / (before.tail(n - 1) - before.head(n - 1)).array())
                   .minCoeff());
  }
  exhibit.at_least("d = 1, t ≤ 5: least x_{i+1} − x_i over its value at t = 0", least, 1 - 1e-3);
}

/// −1, 0, 1: the middle row stays (⅓, ⅓, ⅓), and P(t) → 𝒫 with rank 3. At t = 2 the others are Boolean to
/// e^{−20}, and rounding has not been amplified to anything yet, by exp ∫ Var_P(x) ≈ e⁹; some time later it
/// breaks the symmetry.
Eigen::MatrixXd symmetric_triple(gallery::Exhibit& exhibit) {
  const Eigen::MatrixXd start = Eigen::RowVector3d(-1, 0, 1);
  const gallery::Run run = gallery::follow(attnflow::Head<double>::identity(1), start,
                                           {.to = 2, .count = 21, .rtol = 1e-12, .atol = 1e-14});
  const Eigen::MatrixXd P = run.P.back();
  const attnflow::BooleanDistance distance = attnflow::boolean_distance(P, 0, 2);
  exhibit.at_most("−1, 0, 1, t = 2: distance of P to 𝒫", distance.to_family, 1e-6);
  exhibit.at_most("−1, 0, 1, t = 2: the free row less (⅓, ⅓, ⅓)",
                  (P.row(1).array() - 1. / 3).abs().maxCoeff(), 1e-6);
  exhibit.equal("−1, 0, 1, t = 2: rank of P", static_cast<double>(rank_up_to(P, distance.to_family)), 3);
  return P;
}

/// Row 1 at the top, as matrices are written.
Figure::Panel matrix(const Eigen::MatrixXd& P, const std::string& title) {
  const double size = static_cast<double>(P.rows()) + 0.5;
  return {.title = title,
          .x = {.label = "j", .whole = true},
          .y = {.label = "i", .low = size, .high = 0.5, .whole = true},
          .layers = {Figure::HeatMap{.label = "P_{ij}",
                                     .values = P,
                                     .x_low = 0.5,
                                     .x_high = size,
                                     .y_low = 0.5,
                                     .y_high = size,
                                     .shade = Figure::Shade::root,
                                     .least = 0,
                                     .most = 1}},
          .equal = true};
}

Index rank_of(const attnflow::EffectiveRank& found) {
  return (found.singular_values.array() > 1e-6 * found.singular_values(0)).count();
}

/// P at a moment of a run with its rank, tokens in the order of the leading coordinate φ₁*(z(0)).
Figure::Panel moment(const gallery::Run& run, double t) {
  const auto k = static_cast<std::size_t>(std::ranges::lower_bound(run.times, t - 1e-9) - run.times.begin());
  const Index d = run.z[0].rows();
  char title[60];
  std::snprintf(title, sizeof title, "d = %d: P(%.3g), rank %d", static_cast<int>(d), run.times[k],
                static_cast<int>(rank_of(attnflow::effective_rank(run.P[k]))));
  if (d == 1) return matrix(run.P[k], title);
  const std::vector<Index> order = order_by(run.analysis.prediction.splitting.inside_dual * run.z[0]);
  return matrix(run.P[k](order, order), title);
}

struct Curves {
  std::vector<double> rank, entropy, distance;
  explicit Curves(const gallery::Run& run) {
    for (const Eigen::MatrixXd& P : run.P) {
      const attnflow::EffectiveRank found = attnflow::effective_rank(P);
      rank.push_back(static_cast<double>(rank_of(found)));
      entropy.push_back(found.entropy_rank);
      distance.push_back(attnflow::boolean_distance(P, 0, P.cols() - 1).to_pair);
    }
  }
  [[nodiscard]] Figure::Panel ranks(const gallery::Run& run) const {
    return {.title = "d = " + std::to_string(run.z[0].rows()) + ": ranks of P(t)",
            .x = {"t"},
            .y = {.label = "rank", .low = 0, .high = 42},
            .layers = {Figure::Line{.label = "rank", .x = run.times, .y = rank},
                       Figure::Line{.label = "entropy rank", .x = run.times, .y = entropy, .colour = 1},
                       Figure::Line{.label = "2",
                                    .x = {0, run.times.back()},
                                    .y = {2, 2},
                                    .colour = Figure::black,
                                    .width = 1,
                                    .dashed = true}}};
  }
};

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "boolean_attention", "The attention matrix loses its rank",
      "On the line P(t) tends to a Boolean matrix in which everybody attends to the first or to the last "
      "token (Theorem 2.1), so that its rank falls to 2.");
  const gallery::Run line = on_the_line();
  claims(exhibit, line);
  const Eigen::MatrixXd triple = symmetric_triple(exhibit);
  exhibit.progress(0.1);
  const gallery::Run many = in_many_dimensions();
  const Curves falls(line), falls_too(many);
  exhibit.note("d = 80, t = 14: rank of P", static_cast<double>(falls_too.rank.back()));
  exhibit.note("d = 80, t = 14: distance of P to 𝒫", attnflow::boolean_distance(many.P.back()).to_family);

  Figure figure{.title = "The attention matrix loses its rank",
                .caption =
                    "n = 40. Above: Q = K = V = 1, tokens in their order on the line. Middle: Q = K = I, "
                    "V = 3BB^T/4d, entries of B uniform in [−1, 1], tokens in the order of φ_1^*(z(0)). "
                    "Rank: singular values above 10^{−6} of the largest. Last panel: tokens −1, 0, 1",
                .columns = 4,
                .panel_width = 330,
                .panel_height = 280};
  for (const double t : {0., 1., 2.5, 6.}) figure.panels.push_back(moment(line, t));
  for (const double t : {0., 4., 7., 14.}) figure.panels.push_back(moment(many, t));
  figure.panels.push_back(falls.ranks(line));
  figure.panels.push_back(falls_too.ranks(many));
  figure.panels.push_back(
      {.title = "d = 1: distance to rows e_1, e_n",
       .x = {.label = "t", .low = 0, .high = 6},
       .y = {.label = "ℓ^1 distance of P(t)", .low = 1e-16, .high = 4, .logarithmic = true},
       .layers = {Figure::Line{.label = "", .x = line.times, .y = falls.distance}}});
  figure.panels.push_back(matrix(triple, "−1, 0, 1: P(2), a free row"));
  exhibit.figure(figure);
  exhibit.page(gallery::view_of(line, "The attention matrix loses its rank"));
  exhibit.page(gallery::view_of(many, "The attention matrix loses its rank, d = 80"), "many_dimensions");
  exhibit.data(line);
  exhibit.data(many, "many_dimensions");
  exhibit.data(line.P.back(), "attention_at_end");
  exhibit.progress(1);
  return exhibit.finish();
}
