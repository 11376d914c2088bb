// Gaussian data stay Gaussian under attention [Castin, Ablin, Carrillo and Peyré, arXiv:2501.18322]. Under softmax with
// V = I and scores ⟨Ax, y⟩ the covariance of N(0, S) obeys
//
//     S' = S A S + S Aᵀ S,   hence   S(t) = (S₀⁻¹ − t (A + Aᵀ))⁻¹.
//
// If A + Aᵀ ≤ 0 it lives for ever and loses rank: tokens cluster in all directions but those of its kernel. Else it
// blows up in finite time, 1/λ_max(S) falling to zero along nearly a line. The same flow of 4000 tokens follows both,
// as long as the sample knows the Gaussian; L2-softmax and Sinkhorn attention cannot blow up.
#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/reductions/softmax_covariance.hpp>
#include <attnflow/systems/gaussian_closure.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using attnflow::GaussianClosure;
using attnflow::GaussianLaw;
using Eigen::Index;
using Eigen::Matrix2d;
using Eigen::MatrixXd;
using figures::Figure;

constexpr Index n = 4000;

/// The eigenvalues of a covariance in the plane, the larger one first.
Eigen::Vector2d eigenvalues(const Matrix2d& S) {
  const double half = std::hypot((S(0, 0) - S(1, 1)) / 2, S(0, 1)), large = S.trace() / 2 + half;
  return {large, (S(0, 0) * S(1, 1) - S(0, 1) * S(1, 0)) / large};
}

/// S₀ = diag(1, 0.49), as in both cases.
Matrix2d start() { return Eigen::Vector2d(1, 0.49).asDiagonal(); }

Matrix2d covariance_of(const attnflow::Tokens<double, 2>& x) {
  const attnflow::Tokens<double, 2> centred = x.colwise() - x.rowwise().mean();
  return centred * centred.transpose() / static_cast<double>(x.cols());
}

/// A Gaussian sample whose mean and covariance are 0 and S₀ exactly: what differs later is not the start's.
attnflow::Tokens<double, 2> sample() {
  attnflow::Generator generator(1);
  attnflow::Tokens<double, 2> x = attnflow::gaussian<double, 2>(generator, n, 2);
  x.colwise() -= x.rowwise().mean().eval();
  const Matrix2d C = covariance_of(x);  // L Lᵀ
  const double a = std::sqrt(C(0, 0)), b = C(1, 0) / a, c = std::sqrt(C(1, 1) - b * b);
  x.row(1) = 0.7 / c * (x.row(1) - b / a * x.row(0)).eval();
  x.row(0) /= a;
  return x;
}

struct Case {
  std::string name, title;
  Matrix2d A;
  std::vector<double> shown;  // times of ellipses
  double to;                  // of the tokens
  std::vector<double> times = {};
  std::vector<Matrix2d> of_tokens = {};
  attnflow::Tokens<double, 2> tokens = {};  // at `to`

  [[nodiscard]] attnflow::Head<double, 2> head() const {
    return {A, Matrix2d::Identity(), Matrix2d::Identity()};  // ⟨Qx, Ky⟩ = ⟨Ax, y⟩
  }
  [[nodiscard]] attnflow::SoftmaxCovariance exact() const { return {head(), start()}; }

  void follow() {
    tokens = sample();
    times = attnflow::equal_times(0, to, 25);
    const attnflow::TokenDynamics<double, 2> field(head());
    attnflow::DormandPrince5<attnflow::Tokens<double, 2>> stepper;
    const auto record = [this](double, const attnflow::Tokens<double, 2>& x) {
      of_tokens.push_back(covariance_of(x));
    };
    // The error of a sample is far above these tolerances.
    const attnflow::Report report =
        attnflow::integrate(field, stepper, tokens, {.to = to, .rtol = 1e-6, .atol = 1e-7},
                            attnflow::at_times<attnflow::Tokens<double, 2>>(times, record));
    if (report.outcome != attnflow::Outcome::reached_end)
      throw std::runtime_error(name + ": the run ended early");
  }
  /// The largest relative distance of the tokens' covariance from the closure's, up to a time.
  [[nodiscard]] double distance(double until) const {
    double worst = 0;
    for (std::size_t k = 0; k < times.size(); ++k)
      if (times[k] <= until)
        worst = std::max(worst, (of_tokens[k] - exact().at(times[k])).norm() / exact().at(times[k]).norm());
    return worst;
  }
};

/// The ellipse of two standard deviations.
Figure::Line ellipse(Figure::Line style, const Matrix2d& S) {
  const double a = std::sqrt(S(0, 0)), b = S(1, 0) / a, c = std::sqrt(std::max(0., S(1, 1) - b * b));
  for (int k = 0; k <= 180; ++k) {
    const double angle = 2 * std::numbers::pi * k / 180;
    style.x.push_back(2 * a * std::cos(angle));
    style.y.push_back(2 * (b * std::cos(angle) + c * std::sin(angle)));
  }
  return style;
}

std::string number(const char* format, double value) {
  char text[40];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

Figure::Panel ellipses(const Case& c, double reach) {
  Figure::Panel panel{.title = c.title,
                      .x = {.label = "x_1", .low = -reach, .high = reach},
                      .y = {.label = "x_2", .low = -reach, .high = reach},
                      .equal = true};
  panel.layers.emplace_back(gallery::points(
      {.label = number("tokens at t = %.3g", c.to), .colour = Figure::grey, .size = 1, .opacity = 0.35},
      c.tokens));
  for (int k = 0; const double t : c.shown)
    panel.layers.emplace_back(ellipse({.label = number("t = %.3g", t), .colour = k++}, c.exact().at(t)));
  panel.layers.emplace_back(
      ellipse({.label = "their own ellipse", .colour = Figure::black, .width = 1.2, .dashed = true},
              c.of_tokens.back()));
  return panel;
}

/// f of the eigenvalues at each time, of the tokens as points.
template <class F>
Figure::Points measured(const Case& c, Figure::Points style, const F& f) {
  for (std::size_t k = 0; k < c.times.size(); ++k) {
    style.x.push_back(c.times[k]);
    style.y.push_back(f(eigenvalues(c.of_tokens[k])));
  }
  return style;
}

/// 1/λ_max along a run of the closure, and how far the run comes.
struct Growth {
  Figure::Line line;
  attnflow::Report report;
};
Growth growth(const Case& c, GaussianLaw law, double beta, double to, Figure::Line style) {
  MatrixXd x = attnflow::gaussian_state(Eigen::Vector2d::Zero(), start());
  attnflow::DormandPrince5<MatrixXd> stepper;
  const attnflow::Report report = attnflow::integrate(
      GaussianClosure(c.head(), law, beta), stepper, x, {.to = to},
      attnflow::at_times<MatrixXd>(attnflow::equal_times(0, to, 301), [&](double t, const MatrixXd& at) {
        style.x.push_back(t);
        style.y.push_back(1 / eigenvalues(at.rightCols<2>())(0));
      }));
  return {style, report};
}

void claim_clustering(gallery::Exhibit& exhibit, const Case& c) {
  // 4000 tokens know second moments to √(2/n) = 0.02, and what e^{⟨Ax, y⟩} weighs less well.
  exhibit.at_most("clustering: relative distance of the tokens' covariance from the equation's, t ≤ 8",
                  c.distance(8), 0.03);
  exhibit.equal("clustering: rank of the limit, dim ker (A + A^T)",
                static_cast<double>(c.exact().limiting_rank()), 1);
  // A_s = −0.8 uuᵀ: 1/λ_min is 1.6 t and a constant.
  const double late = 1.6e4 * eigenvalues(c.exact().at(1e4))(1);
  exhibit.claim("clustering: 1.6 t λ_min(S(t)) at t = 10⁴", late, "1 within 0.001",
                std::abs(late - 1) < 1e-3);
  exhibit.at_most("clustering: λ_min of the tokens at t = 8 over that of their start",
                  eigenvalues(c.of_tokens.back())(1) / 0.49, 0.2);
}

/// softmax, L2-softmax and Sinkhorn, each until 2 t*.
void claim_blow_up(gallery::Exhibit& exhibit, const Case& c, const std::array<Growth, 3>& laws) {
  const double end = c.exact().blow_up_time();
  exhibit.at_most("blow-up: relative distance of the tokens' covariance from the equation's, t ≤ t*/2",
                  c.distance(end / 2), 0.03);
  exhibit.note("blow-up: the same for t ≤ 3t*/4, where few tokens have most of the weight", c.distance(c.to));
  exhibit.note("blow-up: t*", end);
  const double stop = laws[0].report.t / end;
  exhibit.claim("blow-up: where a run of the equation ends, over t*", stop, "1 within 1e-6",
                std::abs(stop - 1) < 1e-6);
  // 1/λ_max(S) is the least eigenvalue of S₀⁻¹ − 2t A_s: concave, and zero at t* with the slope −2⟨v, A_s v⟩, v its
  // vector.
  Matrix2d form = -end * (c.A + c.A.transpose());
  form.diagonal() += start().diagonal().cwiseInverse();
  const Eigen::Vector2d v = Eigen::Vector2d(-form(0, 1), form(0, 0)).normalized();
  const double slope = 2 * v.dot(c.A * v), gap = 1e-4 * end;
  const double ratio = 1 / eigenvalues(c.exact().at(end - gap))(0) / (slope * gap);
  exhibit.claim("blow-up: 1/λ_max just before t* over its tangent, which is zero at t*", ratio,
                "1 within 0.001", std::abs(ratio - 1) < 1e-3);
  // L2: |M| ≤ |A|, as 2c KᵀK = I. Sinkhorn: |S'| ≤ 2|S|.
  const double norm = std::sqrt(eigenvalues(c.A.transpose() * c.A)(0));
  exhibit.at_least("L2-softmax: 1/λ_max at 2t* over its bound e^{−4|A|t*}",
                   laws[1].line.y.back() * std::exp(4 * norm * end), 1);
  exhibit.at_least("Sinkhorn: 1/λ_max at 2t* over its bound e^{−4t*}",
                   laws[2].line.y.back() * std::exp(4 * end), 1);
}

Figure::Panel fall_of(const Case& c) {
  Figure::Panel panel{.title = "clustering: one eigenvalue stays",
                      .x = {.label = "t", .low = 0, .high = c.to},
                      .y = {.label = "eigenvalues of S", .low = 0.05, .high = 2, .logarithmic = true}};
  for (int k = 0; k < 2; ++k) {
    Figure::Line line{.label = k == 0 ? "λ_{max}" : "λ_{min}", .colour = k};
    for (const double t : attnflow::equal_times(0, c.to, 161)) {
      line.x.push_back(t);
      line.y.push_back(eigenvalues(c.exact().at(t))(k));
    }
    panel.layers.emplace_back(line);
  }
  for (int k = 0; k < 2; ++k)
    panel.layers.emplace_back(
        measured(c, {.label = k == 0 ? "4000 tokens" : "", .colour = Figure::black, .size = 2.2},
                 [k](const Eigen::Vector2d& values) { return values(k); }));
  Figure::Line limit{.label = "1/(1.6 t)", .colour = Figure::black, .width = 1, .dashed = true};
  for (const double t : attnflow::equal_times(0.4, c.to, 100)) {
    limit.x.push_back(t);
    limit.y.push_back(1 / (1.6 * t));
  }
  panel.layers.emplace_back(limit);
  return panel;
}

Figure::Panel rise_of(const Case& c, const std::array<Growth, 3>& laws) {
  const double end = c.exact().blow_up_time(), top = 1.7;
  Figure::Panel panel{.title = "blow-up: 1/λ_{max} falls to zero",
                      .x = {.label = "t", .low = 0, .high = 2 * end},
                      .y = {.label = "1/λ_{max}", .low = 0, .high = top}};
  for (const Growth& law : laws) panel.layers.emplace_back(law.line);
  panel.layers.emplace_back(measured(c,
                                     {.label = "4000 tokens, softmax", .colour = Figure::black, .size = 2.2},
                                     [](const Eigen::Vector2d& values) { return 1 / values(0); }));
  panel.layers.emplace_back(Figure::Line{.label = number("t^* = %.4g", end),
                                         .x = {end, end},
                                         .y = {0, top},
                                         .colour = Figure::black,
                                         .width = 1,
                                         .dashed = true});
  return panel;
}

/// A row for each time: t, S₁₁, S₁₂, S₂₂ of the equation, and of the tokens.
MatrixXd table_of(const Case& c) {
  MatrixXd table(static_cast<Index>(c.times.size()), 7);
  for (std::size_t k = 0; k < c.times.size(); ++k) {
    const Matrix2d S = c.exact().at(c.times[k]), T = c.of_tokens[k];
    table.row(static_cast<Index>(k)) << c.times[k], S(0, 0), S(0, 1), S(1, 1), T(0, 0), T(0, 1), T(1, 1);
  }
  return table;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "gaussian_covariance", "Gaussian data under attention: clustering and blow-up",
      "The covariance of Gaussian tokens obeys an equation of its own: it loses rank or blows up in finite "
      "time, as the form of the scores is negative or not.");
  const Eigen::Vector2d u(std::cos(1.), std::sin(1.));
  Matrix2d turn, mixed;
  turn << 0, -0.5, 0.5, 0;
  mixed << -0.6, 0.5, 0.1, 0.3;
  Case clustering{
      "clustering", "⟨Ax, x⟩ ≤ 0: clustering", -0.8 * u * u.transpose() + turn, {0, 0.5, 2, 8}, 8};
  Case blow_up{"blow_up", "⟨Ax, x⟩ of both signs: blow-up", mixed, {}, 0};
  const double end = blow_up.exact().blow_up_time();

  blow_up.shown = {0, end / 4, end / 2, 0.75 * end};
  blow_up.to = 0.75 * end;
  clustering.follow();
  exhibit.progress(0.5);
  blow_up.follow();
  exhibit.progress(1);
  const std::array<Growth, 3> laws{
      growth(blow_up, GaussianLaw::softmax, 1, 2 * end, {.label = "softmax", .colour = 0}),
      growth(blow_up, GaussianLaw::l2_softmax, 0.5, 2 * end, {.label = "L2-softmax, c = ½", .colour = 2}),
      growth(blow_up, GaussianLaw::sinkhorn, 1, 2 * end, {.label = "Sinkhorn", .colour = 3})};
  claim_clustering(exhibit, clustering);
  claim_blow_up(exhibit, blow_up, laws);
  exhibit.figure(
      {.title = "Gaussian data under attention: clustering and blow-up",
       .caption = "Tokens N(0, S_0), S_0 = diag(1, 0.49), V = I, scores ⟨Ax, y⟩. Lines: the closed "
                  "equation of the covariance, ellipses of two standard deviations; black: n = 4000 tokens",
       .panels = {ellipses(clustering, 2.8), ellipses(blow_up, 4.8), fall_of(clustering),
                  rise_of(blow_up, laws)},
       .columns = 2,
       .panel_height = 380});
  for (const Case& c : {clustering, blow_up}) exhibit.data(table_of(c), "covariance_" + c.name);
  return exhibit.finish();
}
