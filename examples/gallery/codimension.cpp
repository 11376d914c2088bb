// Two positive eigenvalues: tokens approach parallel lines, the affine subspaces of codimension 2 [GLPR23,
// conjecture on the codimension, with the value matrix of its picture]. What is proved on the way is claimed
// as well.

#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"
#include "gallery/run.hpp"

#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/prediction/spectrum.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

using Eigen::Index;
using Eigen::MatrixXd;
using figures::Figure;

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "codimension", "Two positive eigenvalues: parallel lines",
      "The conjecture: every eigenvalue of V with positive real part takes one dimension "
      "away from the limit. With two of three, the tokens end on parallel lines.");
  const Eigen::Matrix3d V{
      {.92761287, .94333073, .3827744}, {.94333073, .59991396, .47825472}, {.3827744, .47825472, .46668605}};
  const attnflow::Spectrum spectrum = attnflow::spectrum(V);
  // λ₁ > λ₂ > 0 > λ₃, by decreasing modulus; φₖ* are the rows of `phi`.
  const Eigen::Vector3d lambda = spectrum.eigenvalues.real();
  const Eigen::Matrix3d phi = spectrum.left.real();
  const double T = 14 / lambda(1);  // until the slowest of the growing coordinates has settled to e⁻¹⁴
  attnflow::Generator generator(3);
  const MatrixXd start = attnflow::uniform_box(generator, 40, 3, -5, 5);
  const gallery::Run run =
      gallery::follow(attnflow::Head<double>::with_value(V), start, {.to = T, .count = 401});
  const std::size_t m = run.times.size();
  const Index n = start.cols();

  // (φ₁*, φ₂*)(zᵢ), each divided by its range at the start, and how many values it takes.
  const MatrixXd first = phi * start;
  const Eigen::Vector3d range = first.rowwise().maxCoeff() - first.rowwise().minCoeff();
  const MatrixXd last = phi * run.z.back();
  const MatrixXd joint = range.head(2).cwiseInverse().asDiagonal() * last.topRows(2);
  const attnflow::Clusters lines = attnflow::detect_clusters(joint, 5 * std::exp(-lambda(1) * T));
  exhibit.at_most("joint values of φ_1*, φ_2* at T = 14/λ_2, told apart at 5 e^{−14} of their range",
                  static_cast<double>(lines.count()), 3);
  // For λₖ > 0 the interval [minⱼ φₖ*(zⱼ), maxⱼ φₖ*(zⱼ)] shrinks; along λ₃ < 0, |φ₃*(zᵢ)| ≤ e^{2|λ₃|t} maxⱼ
  // |φ₃*(zⱼ(0))|.
  double growth = 0, excess = 0;
  for (std::size_t k = 1; k < m; ++k) {
    const MatrixXd before = phi * run.z[k - 1], now = phi * run.z[k];
    for (Index c = 0; c < 2; ++c)
      growth = std::max({growth, (now.row(c).maxCoeff() - before.row(c).maxCoeff()) / range(c),
                         (before.row(c).minCoeff() - now.row(c).minCoeff()) / range(c)});
    excess = std::max(excess, now.row(2).cwiseAbs().maxCoeff() / first.row(2).cwiseAbs().maxCoeff() *
                                  std::exp(2 * lambda(2) * run.times[k]));
  }
  exhibit.at_most("growth of the range of φ_1*, φ_2* between two saved times, of the range at the start",
                  growth, 1e-8);
  exhibit.at_most("|φ_3*(z_i(t))| over its bound e^{2|λ_3|t} max_j |φ_3*(z_j(0))|", excess, 1 + 1e-9);
  exhibit.note("parallel lines found", static_cast<double>(lines.count()));
  exhibit.note(
      "rate of growth along the lines, over |λ_3|",
      std::log(last.row(2).cwiseAbs().maxCoeff() / (phi.row(2) * run.z[m / 2]).cwiseAbs().maxCoeff()) /
          (T - run.times[m / 2]) / -lambda(2));

  const auto line_of = [&](Index i) {
    return lines.representatives[static_cast<std::size_t>(lines.labels[static_cast<std::size_t>(i)])];
  };
  const std::vector<int> colours(lines.labels.begin(), lines.labels.end());
  const double shown = 12;  // where the picture of space ends: later the lines are long
  Figure::Panel space{"tokens in eigen-coordinates, t ≤ 12", {"φ_1^*"}, {"φ_2^*"}, {"φ_3^*"}};
  Figure::Panel plane{"the lines seen end on", {"φ_1^*(z_i)"}, {"φ_2^*(z_i)"}};
  Figure::Panel distance{"approach to the lines", {"t"}, {"max_i |φ_k^*(z_i) − φ_k^*(line)|", 1e-9}};
  Figure::Panel along{"motion along the lines", {"t"}, {"|φ_3^*(z_i)|"}};
  distance.y.logarithmic = along.y.logarithmic = true;
  const std::vector<MatrixXd> early = gallery::images(phi, gallery::until(run, shown).z);
  const MatrixXd& now = early.back();
  std::vector<MatrixXd> grown = gallery::graphs(run.times, phi.row(2), run.z);
  for (MatrixXd& f : grown) f = f.cwiseAbs().eval();
  const Figure::Line style{.label = "", .width = 0.8, .opacity = 0.6};
  gallery::add_paths(space, style, early, colours);
  gallery::add_paths(plane, style, gallery::images(phi.topRows(2), run.z), colours);
  gallery::add_paths(along, style, grown, colours);
  for (const Index i : lines.representatives)
    space.layers.emplace_back(Figure::Line{.label = "line",
                                           .x = {last(0, i), last(0, i)},
                                           .y = {last(1, i), last(1, i)},
                                           .z = {now.row(2).minCoeff(), now.row(2).maxCoeff()},
                                           .colour = Figure::black,
                                           .width = 1,
                                           .dashed = true});
  space.layers.emplace_back(gallery::points({.label = "t = 12", .colours = colours, .size = 3}, now));
  plane.layers.emplace_back(
      gallery::points({.label = "t = 0", .colour = Figure::grey, .size = 2.5}, first.topRows(2)));
  plane.layers.emplace_back(gallery::points({.label = "t = T", .colours = colours}, last.topRows(2)));
  const auto slope = [&](const std::string& label, int palette, double size, double rate) {
    return gallery::exponential({.label = label, .colour = palette, .dashed = true}, run.times, size, rate);
  };
  for (int c = 0; c < 2; ++c) {
    const std::string k = std::to_string(c + 1);
    Figure::Line measured{.label = "k = " + k, .x = run.times, .y = {}, .z = {}, .colour = c + 2};
    for (const MatrixXd& z : run.z) {
      double most = 0;
      for (Index i = 0; i < n; ++i)
        most = std::max(most, std::abs(phi.row(c).dot(z.col(i)) - last(c, line_of(i))));
      measured.y.push_back(most > distance.y.low ? most : std::nan(""));
    }
    distance.layers.emplace_back(measured);
    distance.layers.emplace_back(slope("slope −λ_" + k, c + 2, range(c), -lambda(c)));
  }
  along.layers.emplace_back(
      slope("slope |λ_3|", Figure::black, first.row(2).cwiseAbs().maxCoeff(), -lambda(2)));

  std::array<char, 60> eigenvalues;
  std::snprintf(eigenvalues.data(), eigenvalues.size(), "%.3f, %.3f, −%.3f", lambda(0), lambda(1),
                -lambda(2));
  Figure figure{"Codimension: k = 2 positive eigenvalues in d = 3",
                std::string("Q = K = I, V symmetric with eigenvalues ") + eigenvalues.data() +
                    "; n = 40 tokens uniform in [−5, 5]^3, seed 3",
                {space, plane, distance, along}};
  figure.columns = 2;
  exhibit.figure(figure);
  attnflow::View view = gallery::view_of(gallery::until(run, 15), "Two positive eigenvalues: parallel lines");
  std::erase_if(view.flats, [](const attnflow::View::Flat& flat) { return !flat.predicted; });
  const Eigen::Vector3d third = spectrum.right.col(2).real();  // the lines' direction, φ₃
  for (const Index i : lines.representatives) {
    const Eigen::Vector3d point = run.z.back().col(i) - last(2, i) * third;
    view.flats.push_back(
        {"found: parallel lines", false, {point.begin(), point.end()}, {third.begin(), third.end()}});
  }
  exhibit.page(view);
  exhibit.data(run);
  return exhibit.finish();
}
