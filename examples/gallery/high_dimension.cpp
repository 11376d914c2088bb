// The 128-dimensional experiment of [GLPR23], with the equation as it stands: in every eigen-coordinate of V
// with λ_k > 0 the tokens take at most two values, those of two leaders; the others grow like e^{|λ_k| t}.

#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"
#include "gallery/run.hpp"

#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/prediction/invariant_basis.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using figures::Figure;

namespace {

/// Sparse, symmetric, entries of [0, 1] where there are any; eigenvalues of modulus up to 1 move out to ±[1,
/// 2], so that every coordinate has a rate. In the basis of eigenvectors, of decreasing modulus before they
/// moved.
attnflow::InvariantBasis draw_value(attnflow::Generator& generator, Index d) {
  MatrixXd S = attnflow::uniform_box(generator, d, d, 0, 1);
  const MatrixXd kept = attnflow::uniform_box(generator, d, d, 0, 1);
  S = (kept.array() < 0.1).select(S, 0);
  attnflow::InvariantBasis V = attnflow::invariant_basis((S + S.transpose()) / 2);
  const MatrixXd away = attnflow::uniform_box(generator, 1, d, 1, 2);
  for (Index k = 0; k < d; ++k)
    if (std::abs(V.blocks(k, k)) <= 1) V.blocks(k, k) = std::copysign(away(k, 0), V.blocks(k, k));
  return V;
}

/// Mean, and mean ± standard deviation, against t.
struct Spread {
  std::vector<double> mean, low, high;
  static double deviation(const VectorXd& values) {
    return std::sqrt((values.array() - values.mean()).square().mean());
  }
  void add(const VectorXd& values) {
    mean.push_back(values.mean());
    low.push_back(mean.back() - deviation(values));
    high.push_back(mean.back() + deviation(values));
  }
};

/// How many eigenvalues V has where.
Figure::Panel spectrum_of(const VectorXd& values) {
  Figure::Panel panel{"spectrum of V",
                      {"λ_k", std::floor(values.minCoeff()) - 0.5, std::ceil(values.maxCoeff()) + 0.5},
                      {"number of eigenvalues"}};
  panel.y.whole = true;
  Figure::Bars below{"λ_k < 0", {}, {}}, above{"λ_k > 0", {}, {}};
  below.colour = 1;
  for (Figure::Bars* bars : {&below, &above}) {
    const bool positive = bars == &above;
    const double step = 0.25, from = positive ? 0 : std::floor(values.minCoeff() / step) * step;
    const double to = positive ? std::ceil(values.maxCoeff() / step) * step : 0;
    for (double edge = from; edge <= to; edge += step) bars->edges.push_back(edge);
    for (std::size_t b = 0; b + 1 < bars->edges.size(); ++b)
      bars->heights.push_back(static_cast<double>(
          (values.array() >= bars->edges[b] && values.array() < bars->edges[b + 1]).count()));
    if (positive) bars->heights.back() += static_cast<double>((values.array() == bars->edges.back()).count());
    panel.layers.emplace_back(*bars);
  }
  return panel;
}

/// One coordinate of the tokens that follow each leader: mean ± standard deviation, and the leaders' own as
/// they end.
Figure::Panel coordinate(const gallery::Run& run, Index k, double lambda,
                         const std::vector<std::vector<Index>>& followers) {
  std::array<char, 40> title;
  std::snprintf(title.data(), title.size(), "coordinate of λ = %.2f", lambda);
  Figure::Panel panel{
      title.data(), {"t", 0, std::min(run.times.back(), 10 / lambda)}, {"φ_k^*(z_i), mean ± spread"}};
  for (std::size_t g = 0; g < followers.size(); ++g) {
    Spread spread;
    std::vector<double> times;
    for (std::size_t t = 0; t < run.times.size() && run.times[t] <= panel.x.high; ++t) {
      times.push_back(run.times[t]);
      spread.add(VectorXd(run.z[t].row(k)(followers[g])));
    }
    Figure::Band band{"", times, spread.low, spread.high};
    Figure::Line mean{
        "leader " + std::to_string(g + 1) + ": " + std::to_string(followers[g].size()) + " tokens", times,
        spread.mean};
    band.colour = mean.colour = static_cast<int>(g);
    panel.layers.emplace_back(band);
    panel.layers.emplace_back(mean);
  }
  return panel;
}

/// A size of each of several coordinates against t, from 10⁻¹⁰ on, beside e^{slope t}.
Figure::Panel rates(const gallery::Run& run, const std::vector<Index>& coordinates, Figure::Panel panel,
                    int colour, const std::function<double(const Eigen::RowVectorXd&)>& size,
                    const std::string& label, double slope) {
  panel.y.logarithmic = true;
  for (const Index k : coordinates) {
    Figure::Line line{
        .label = "", .x = run.times, .y = {}, .z = {}, .colour = colour, .width = 0.7, .opacity = 0.6};
    for (const MatrixXd& z : run.z) {
      const double value = size(z.row(k));
      line.y.push_back(value > 1e-10 ? value : std::nan(""));
    }
    panel.layers.emplace_back(line);
  }
  panel.layers.emplace_back(
      gallery::exponential({.label = label, .colour = Figure::black, .dashed = true}, run.times, 1, slope));
  return panel;
}

/// The page of a few coordinates.
attnflow::View page(const gallery::Run& run, const std::vector<Index>& coordinates) {
  attnflow::View view = gallery::view_of(run, "Two leaders in 128 dimensions: five eigen-coordinates");
  view.dim = static_cast<int>(coordinates.size());
  view.positions.clear();
  view.flats.clear();  // of 128 dimensions
  view.bases.clear();
  view.axes.clear();
  for (const Index k : coordinates) {
    std::array<char, 40> name;
    std::snprintf(name.data(), name.size(), "λ = %.2f", run.head.V(k, k));
    view.axes.emplace_back(name.data());
  }
  for (const MatrixXd& z : run.z) {
    const MatrixXd seen = z(coordinates, Eigen::placeholders::all_t());
    view.positions.insert(view.positions.end(), seen.data(), seen.data() + seen.size());
  }
  return view;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(
      argc, argv, "high_dimension", "Two leaders in 128 dimensions",
      "In every eigen-coordinate of V with a positive eigenvalue, 128 tokens end at no more than two "
      "values; in all others they run away, each at its own rate.");
  const Index d = 128, n = 128;
  const double T = 15;
  attnflow::Generator generator(2);
  const attnflow::InvariantBasis V = draw_value(generator, d);
  const VectorXd values = V.blocks.diagonal();
  // Eigen-coordinates y = basis⁻¹ x: V is diagonal, Q = K = I becomes Q = K = basis. Coordinates that grow to
  // 10¹⁸ do not round off those that converge.
  const attnflow::Head<double> head{V.basis, V.basis, values.asDiagonal()};
  const MatrixXd start = V.inverse * attnflow::uniform_box(generator, n, d, -0.5, 0.5);
  const gallery::Run run =
      gallery::follow(head, start, {.to = T, .count = 301, .attention = false, .rtol = 1e-7, .atol = 1e-9});
  const MatrixXd& y = run.z.back();

  std::vector<Index> growing, clustered;  // by the sign of λ_k, not by where a token ends
  for (Index k = 0; k < d; ++k) (values(k) > 0 ? clustered : growing).push_back(k);
  MatrixXd scaled(static_cast<Index>(clustered.size()), n);
  Index most = 0;
  for (std::size_t c = 0; c < clustered.size(); ++c) {
    const auto row = static_cast<Index>(c);
    scaled.row(row) =
        y.row(clustered[c]) / (start.row(clustered[c]).maxCoeff() - start.row(clustered[c]).minCoeff());
    most = std::max(most, attnflow::detect_clusters(scaled.row(row), 1e-3).count());
  }
  const attnflow::Clusters groups = attnflow::detect_clusters(scaled, 1e-3);
  exhibit.equal("leaders", static_cast<double>(run.analysis.found.leaders.size()), 2);
  exhibit.equal("rank of P", static_cast<double>(run.analysis.found.rank.value().rank), 2);
  exhibit.at_most("values in a coordinate with λ_k > 0, told apart at 1/1000 of the range at the start",
                  static_cast<double>(most), 2);
  double rate_error = 0;
  for (const Index k : growing) {
    const double grown = std::log(y.row(k).cwiseAbs().maxCoeff() / run.z[150].row(k).cwiseAbs().maxCoeff());
    rate_error = std::max(rate_error, std::abs(grown / (-values(k) * T / 2) - 1));
  }
  exhibit.at_most("rate of growth over |λ_k| for λ_k < 0, from T/2 to T: largest relative error", rate_error,
                  0.04);
  exhibit.note("largest |y_ik| at T", y.cwiseAbs().maxCoeff());
  exhibit.note("λ_1", values.maxCoeff());
  exhibit.note("coordinates with λ_k > 0", static_cast<double>(clustered.size()));
  exhibit.note("tokens that follow the first leader", static_cast<double>(groups.sizes.front()));

  // What to look at: the tokens that follow either leader, in the coordinates of three positive eigenvalues.
  std::vector<std::vector<Index>> followers(static_cast<std::size_t>(groups.count()));
  for (Index i = 0; i < n; ++i)
    followers[static_cast<std::size_t>(groups.labels[static_cast<std::size_t>(i)])].push_back(i);
  std::ranges::sort(clustered, std::ranges::greater{}, [&](Index k) { return values(k); });
  Figure figure{"Eigen-coordinates of tokens in dimension 128",
                "Q = K = I, V sparse and symmetric, eigenvalues of modulus at least 1; n = d = 128, tokens "
                "uniform in [−½, ½]^{128}, seed 2, to t = 15",
                {spectrum_of(values)}};
  figure.columns = 3;
  for (const Index k : {clustered.front(), clustered[clustered.size() / 2], clustered.back()})
    figure.panels.push_back(coordinate(run, k, values(k), followers));
  figure.panels.push_back(rates(
      run, clustered, {"every coordinate with λ_k > 0 settles", {"t"}, {"spread around a leader", 1e-10}}, 0,
      [&](const Eigen::RowVectorXd& values_of_all) {
        double widest = 0;
        for (const auto& group : followers)
          widest = std::max(widest, Spread::deviation(values_of_all(group)));
        return widest;
      },
      "e^{−λt}, the least λ > 0", -values(clustered.back())));
  figure.panels.push_back(rates(
      run, growing, {"every coordinate with λ_k < 0 runs away", {"t"}, {"max_i |φ_k^*(z_i)|"}}, 1,
      [](const Eigen::RowVectorXd& values_of_all) { return values_of_all.cwiseAbs().maxCoeff(); },
      "e^{|λ|t}, the least λ", -values.minCoeff()));
  exhibit.figure(figure);

  gallery::Run thin = run;  // every fourth moment is enough for a page
  thin.times.clear();
  thin.z.clear();
  for (std::size_t k = 0; k < run.times.size(); k += 4) {
    thin.times.push_back(run.times[k]);
    thin.z.push_back(run.z[k]);
  }
  exhibit.data(thin);
  exhibit.page(page(thin, {clustered.front(), clustered[clustered.size() / 2], clustered.back(),
                           growing.front(), growing.back()}));
  return exhibit.finish();
}
