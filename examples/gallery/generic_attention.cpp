// Generic QᵀK [GLPR23, sec. 4, first and second figure]: with entries uniform in [−1, 1], far from the
// positive definite matrix of the theorems, the patterns persist: few points for V = I, lines over few points
// for V = diag(1, 1, −½).

#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"
#include "gallery/run.hpp"

#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/prediction/definiteness.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <numbers>
#include <string>
#include <vector>

using Eigen::Index;
using Eigen::MatrixXd;
using figures::Figure;

namespace {

/// K with uniform entries and Q = I, so that QᵀK = K; 40 tokens; everything from one seed.
gallery::Run draw(unsigned seed, const MatrixXd& V, double T) {
  attnflow::Generator generator(seed);
  attnflow::Head<double> head = attnflow::Head<double>::with_value(V);
  head.K = attnflow::uniform_box(generator, V.rows(), V.rows(), -1, 1);
  return gallery::follow(head, attnflow::uniform_box(generator, 40, V.rows(), -5, 5),
                         {.to = T, .count = 121});
}

/// z in ℱ, the plane in which V is the identity.
MatrixXd plane(const MatrixXd& z) { return z.topRows(2); }

/// The largest growth of the support function of the hull in ℱ from one saved time to the next, in 64
/// directions.
double hull_growth(const gallery::Run& run) {
  double growth = 0;
  for (int direction = 0; direction < 64; ++direction) {
    const double angle = 2 * std::numbers::pi * direction / 64;
    const Eigen::Vector2d u(std::cos(angle), std::sin(angle));
    for (std::size_t k = 1; k < run.z.size(); ++k)
      growth =
          std::max(growth, attnflow::support(plane(run.z[k]), u) - attnflow::support(plane(run.z[k - 1]), u));
  }
  return growth;
}

/// Paths of the tokens in the colours of their clusters; in space up to the time `shown`.
Figure::Panel picture(const gallery::Run& run, const attnflow::Clusters& clusters, double shown) {
  const bool space = run.head.dim() == 3;
  const auto form = attnflow::definiteness(run.head.K.topLeftCorner(2, 2));
  std::array<char, 80> title;
  std::snprintf(title.data(), title.size(), "λ(M_s) = %s%.2f, %s%.2f", form.smallest < 0 ? "−" : "",
                std::abs(form.smallest), form.largest < 0 ? "−" : "", std::abs(form.largest));
  Figure::Panel panel{title.data(), {"z_1"}, {"z_2"}};
  panel.z.label = "z_3";
  panel.legend = false;
  panel.equal = !space;
  const MatrixXd& start = run.z.front();
  if (!space) {
    Figure::Polygon hull{.label = "", .colour = Figure::grey, .opacity = 0.06};
    gallery::add(hull, start(Eigen::placeholders::all_t(), attnflow::convex_hull(start)));
    panel.layers.emplace_back(hull);
  }
  const std::vector<MatrixXd> seen = gallery::until(run, shown).z;
  const std::vector<int> colours(clusters.labels.begin(), clusters.labels.end());
  gallery::add_paths(panel, {.label = "", .width = 0.7, .opacity = 0.6}, seen, colours);
  panel.layers.emplace_back(gallery::points({.label = "", .colours = colours, .size = 3}, seen.back()));
  return panel;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "generic_attention", "Generic QᵀK: the patterns persist",
      "The theorems want QᵀK positive definite; with random entries the tokens still end at few points, "
      "or on few parallel lines.");
  const double T = 12;
  struct Row {
    std::string name, file;
    MatrixXd V;
    unsigned first_seed;
    double shown, played;  ///< until when, by the figure and by the page
  };
  const std::vector<Row> rows{
      {"V = I", "identity", MatrixXd::Identity(2, 2), 1, T, T},
      {"V = diag(1, 1, −½)", "paranormal", Eigen::Vector3d(1, 1, -0.5).asDiagonal(), 21, 5, 3.5}};
  Figure figure{"Generic M = Q^TK, entries uniform in [−1, 1]",
                "a to d: V = I, d = 2, seeds 1 to 4, to t = 12, grey: hull at 0; e to h: V = diag(1, 1, −½), "
                "d = 3, seeds 21 to 24, to "
                "t = 5; n = 40 tokens uniform in [−5, 5]^d; M_s: symmetric part of M in the plane of λ = 1"};
  figure.columns = 4;
  figure.panel_width = 310;
  figure.panel_height = 310;
  double growth = 0, excess = 0, done = 0;
  for (const auto& [name, file, V, first_seed, shown, played] : rows) {
    double late = 0;
    Index most = 0;
    for (unsigned seed = first_seed; seed < first_seed + 4; ++seed) {
      const gallery::Run run = draw(seed, V, T);
      const MatrixXd start = plane(run.z.front()), end = plane(run.z.back());
      const double extent = (start.rowwise().maxCoeff() - start.rowwise().minCoeff()).norm();
      const attnflow::Clusters clusters = attnflow::detect_clusters(end, 1e-2 * extent);
      growth = std::max(growth, hull_growth(run) / extent);
      late = std::max(late, (end - plane(run.z[96])).colwise().norm().maxCoeff() / extent);  // from 0.8 T on
      most = std::max(most, clusters.count());
      if (V.rows() == 3)  // V is diagonal: the third coordinate of x = e^{tV} z grows no faster than e^{t/2}
        for (std::size_t k = 1; k < run.z.size(); ++k)
          excess = std::max(excess, run.z[k].row(2).cwiseAbs().maxCoeff() /
                                        run.z[0].row(2).cwiseAbs().maxCoeff() * std::exp(-run.times[k]));
      exhibit.note(name + ", seed " + std::to_string(seed) + ": points in the plane of λ = 1",
                   static_cast<double>(clusters.count()));
      figure.panels.push_back(picture(run, clusters, shown));
      exhibit.data(run, file + "_seed_" + std::to_string(seed));
      if (seed == first_seed + 1)
        exhibit.page(gallery::view_of(gallery::until(run, played),
                                      "Generic QᵀK, " + name + ", seed " + std::to_string(seed)),
                     file);
      exhibit.progress(++done / 8);
    }
    // With rate −1 what is left to move at 0.8 T is e^{−0.8 T}; a hundred times that is allowed for late
    // decisions.
    const std::string text =
        name + ": largest motion in the plane of λ = 1 from 0.8 T on, over the extent of the start";
    if (V.rows() == 2)
      exhibit.at_most(text, late, 100 * std::exp(-0.8 * T));
    else
      exhibit.note(text, late);
  }
  // The hull shrinks for every QᵀK: rows of P are probabilities, and V is the identity in this plane.
  exhibit.at_most("growth of the hull in the plane of λ = 1 between saved times, over its extent", growth,
                  1e-8);
  exhibit.at_most("|z_3| over its bound e^{t} max_j |z_{3j}(0)| for V = diag(1, 1, −½)", excess, 1 + 1e-9);
  exhibit.figure(figure);
  return exhibit.finish();
}
