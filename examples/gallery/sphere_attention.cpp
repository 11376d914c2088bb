// Attention on the sphere climbs its energy until all tokens are one [GLPR25]. With Q = K = V = I
//
//     dE/dt = (1/n) ∑ᵢ gᵢ ‖ẋᵢ‖²,   E = (1/(2βn²)) ∑ᵢⱼ e^{β⟨xᵢ, xⱼ⟩},
//
// gᵢ the mean of e^{β⟨xᵢ, xⱼ⟩} over j for softmax attention (SA), and 1 without its denominator (USA), which is
// faster by e^β where tokens are near each other. Tokens that start in an open hemisphere meet exponentially fast.
#include "gallery/exhibit.hpp"
#include "gallery/layers.hpp"

#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/geometry/hemisphere.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/observables/attention/sphere_energy.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/observables/tokens/inner_products.hpp>
#include <attnflow/observables/tokens/order_parameters.hpp>
#include <attnflow/observables/tokens/spread.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/reductions/equiangular.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using figures::Figure;

constexpr double beta = 1, horizon = 15;
constexpr Index n = 64;
constexpr std::size_t moments = 1001, thin = 4;  // times, and of how many one is drawn
const std::vector<double> edges = attnflow::equal_times(-1, 1, 41);

/// The states of a run of either law at equal times.
template <class Law>
attnflow::Trajectory<MatrixXd> follow(const Law& law, MatrixXd x, double to, std::size_t count) {
  const attnflow::SphereDynamics<double, Eigen::Dynamic, Law> field(
      attnflow::Head<double>::identity(x.rows()), law);
  attnflow::Trajectory<MatrixXd> record(attnflow::equal_times(0, to, count));
  const auto report =
      attnflow::integrate(field, attnflow::OnSphere<attnflow::DormandPrince5<MatrixXd>>{}, x,
                          attnflow::AdaptiveSteps{.to = to, .rtol = 1e-10, .atol = 1e-12}, record);
  if (report.outcome != attnflow::Outcome::reached_end) throw std::runtime_error("a run ended early");
  return record;
}

/// What is observed of a run.
struct Run {
  std::vector<double> times;
  std::vector<MatrixXd> x;
  std::vector<double> energy, rate, dissipation;  // Ê, dÊ/dt from its definition, and from the velocities
  std::vector<double> cosine;                     // the mean of ⟨xᵢ, xⱼ⟩

  template <class Law>
  Run(const Law& law, const MatrixXd& start) {
    const auto head = attnflow::Head<double>::identity(3);
    const attnflow::SphereDynamics<double, Eigen::Dynamic, Law> field(head, law);
    const auto record = follow(law, start, horizon, moments);
    times = record.times();
    x = record.states();
    MatrixXd velocity;
    for (const MatrixXd& state : x) {
      field(0, state, velocity);
      const auto balance = attnflow::energy_balance(law, head, state, velocity);
      energy.push_back(attnflow::normalized_energy(state, law.beta));
      rate.push_back(energy.back() * balance.rate.logarithmic);
      dissipation.push_back(energy.back() * balance.dissipation.logarithmic);
      cosine.push_back(attnflow::mean_cosine(state));
    }
  }
};

/// Ê(0) plus what has been dissipated since, by Simpson's rule; at every other time.
std::vector<double> integrated(const Run& run) {
  std::vector<double> sum{run.energy.front()};
  const auto& f = run.dissipation;
  for (std::size_t k = 2; k < f.size(); k += 2)
    sum.push_back(sum.back() + (run.times[k] - run.times[k - 2]) / 6 * (f[k - 2] + 4 * f[k - 1] + f[k]));
  return sum;
}

void claim_energy(gallery::Exhibit& exhibit, const std::string& name, const Run& run) {
  double fall = 0, apart = 0, off = 0;
  const std::vector<double> sum = integrated(run);
  for (std::size_t k = 0; k < run.times.size(); ++k) {
    if (k > 0) fall = std::max(fall, run.energy[k - 1] - run.energy[k]);
    apart = std::max(apart, std::abs(run.rate[k] - run.dissipation[k]));
    if (k % 2 == 0) off = std::max(off, std::abs(run.energy[k] - sum[k / 2]));
  }
  exhibit.at_most(name + ": largest fall of Ê from one time to the next", fall, 1e-13);
  exhibit.at_most(name + ": |dE/dt − dissipation|, of Ê", apart, 1e-13);
  exhibit.at_most(name + ": |Ê(t) − Ê(0) − ∫ dissipation|", off, 1e-8);
  exhibit.at_most(name + ": diameter of the tokens at the end", attnflow::diameter(run.x.back()), 1e-3);
}

/// From a half sphere: how deep tokens lie in it, and how fast they come to their limit.
struct HalfSphere {
  std::vector<double> margin, distance;
  HalfSphere(const Run& run, const Eigen::VectorXd& pole) {
    const Eigen::VectorXd end = run.x.back().rowwise().mean().normalized();
    for (const MatrixXd& x : run.x) {
      margin.push_back(attnflow::hemisphere_margin(x, pole));
      distance.push_back(attnflow::distance_to_consensus(x, end));
    }
  }
  void claims(gallery::Exhibit& exhibit, const std::string& name, const Run& run, double expected) const {
    double fall = 0;
    for (std::size_t k = 1; k < margin.size(); ++k) fall = std::max(fall, margin[k - 1] - margin[k]);
    exhibit.at_most(name + ", half sphere: largest fall of min_i ⟨x_i, w⟩", fall, 1e-12);
    const auto fit = attnflow::fit_exponential_rate(run.times, distance, {.low = 1e-5, .high = 1e-2});
    const double rate = fit ? fit->rate : std::nan("");
    exhibit.claim(name + ", half sphere: rate of max_i |x_i − x*|", rate,
                  name == "SA" ? "1 within 1 %" : "e^β within 1 %", std::abs(rate / expected - 1) < 0.01);
  }
};

Figure::Panel space(const std::string& title, const Run& run, int colour) {
  Figure::Line globe{.label = "", .colour = Figure::grey, .width = 0.4, .opacity = 0.7};
  const auto circle = [&](const auto& point) {
    MatrixXd ring(3, 73);
    for (Index k = 0; k < 73; ++k) ring.col(k) = point(static_cast<double>(k) * std::numbers::pi / 36);
    gallery::add_piece(globe, ring);
  };
  for (const double height : {-0.8, -0.4, 0., 0.4, 0.8})
    circle([&](double a) {
      const double radius = std::sqrt(1 - height * height);
      return Eigen::Vector3d(radius * std::cos(a), radius * std::sin(a), height);
    });
  for (int k = 0; k < 4; ++k)
    circle([&](double a) {
      const double along = k * std::numbers::pi / 4;
      return Eigen::Vector3d(std::cos(a) * std::cos(along), std::cos(a) * std::sin(along), std::sin(a));
    });
  std::vector<MatrixXd> drawn;
  for (std::size_t k = 0; k < run.x.size(); k += thin) drawn.push_back(run.x[k]);
  return {
      .title = title,
      .x = {"x_1"},
      .y = {"x_2"},
      .z = {"x_3"},
      .layers = {globe, gallery::paths({.label = "", .colour = colour, .width = 0.8, .opacity = 0.8}, drawn),
                 gallery::points({.label = "", .colour = Figure::black, .size = 1.8}, run.x.front()),
                 gallery::points({.label = "", .colour = colour, .size = 5}, run.x.back())},
      .equal = true,
      .legend = false,
      .yaw = 0.7,
      .pitch = 0.35};
}

/// The density of inner products against t.
Figure::Panel histograms(const std::string& title, const Run& run, double to) {
  Figure::HeatMap map{.label = "density", .shade = Figure::Shade::logarithmic};
  const auto count = static_cast<std::size_t>(to / horizon * (moments - 1)) / thin;
  map.values.resize(static_cast<Index>(edges.size()) - 1, static_cast<Index>(count));
  for (std::size_t k = 0; k < count; ++k) {
    const auto density = attnflow::inner_product_histogram(run.x[k * thin], edges).density();
    for (std::size_t b = 0; b < density.size(); ++b)
      map.values(static_cast<Index>(b), static_cast<Index>(k)) = density[b];
  }
  map.x_high = to;
  map.y_low = -1;
  map.least = 0.02;
  map.most = 20;
  return {.title = title, .x = {"t", 0, to}, .y = {"⟨x_i, x_j⟩, i ≠ j", -1, 1}, .layers = {map}};
}

Figure::Line curve(const std::string& label, const Run& run, const std::vector<double>& values, int colour) {
  Figure::Line line{.label = label, .colour = colour, .width = 2};
  for (std::size_t k = 0; k < run.times.size(); k += thin) {
    line.x.push_back(run.times[k]);
    line.y.push_back(values[k]);
  }
  return line;
}

Figure::Line sums(const std::string& label, const Run& run) {
  Figure::Line line{.label = label, .colour = Figure::black, .width = 1, .dashed = true};
  const std::vector<double> sum = integrated(run);
  for (std::size_t k = 0; k < sum.size(); k += thin / 2) {
    line.x.push_back(run.times[2 * k]);
    line.y.push_back(sum[k]);
  }
  return line;
}

template <class Law>
Figure::Line equiangular(const std::string& label, const Law& law, int colour) {
  Figure::Line line{.label = label, .colour = colour, .width = 1.2, .dashed = true};
  for (const double t : attnflow::equal_times(0, 8, 161)) {
    line.x.push_back(t);
    line.y.push_back(attnflow::equiangular_correlation(law, n, 0, t));
  }
  return line;
}

attnflow::View page(const std::string& title, const Run& run, const std::string& law) {
  attnflow::View view;
  view.title = title;
  view.tokens = n;
  view.dim = 3;
  view.law = law;
  view.heads.emplace_back();
  view.parameters = {{"n", "64"}, {"d", "3"}, {"β", "1"}, {"Q, K, V", "identity"}};
  attnflow::View::Series energy{"normalised energy", {}}, cosine{"mean ⟨xᵢ, xⱼ⟩", {}};
  for (std::size_t k = 0; k < run.times.size(); k += 2 * thin) {
    view.times.push_back(run.times[k]);
    view.positions.insert(view.positions.end(), run.x[k].data(), run.x[k].data() + run.x[k].size());
    for (const double entry : (beta * MatrixXd::Identity(3, 3)).reshaped())
      view.heads[0].forms.push_back(entry);
    energy.values.push_back(run.energy[k]);
    cosine.values.push_back(run.cosine[k]);
  }
  view.series = {energy, cosine};
  return view;
}

}  // namespace

int main(int argc, char** argv) {
  gallery::Exhibit exhibit(argc, argv, "sphere_attention", "Attention on the sphere",
                           "Tokens on the sphere climb their interaction energy until all are one; near to "
                           "each other they are faster "
                           "without the denominator of softmax.");
  const attnflow::Softmax softmax{beta};
  const attnflow::Unnormalized unnormalized{beta};
  attnflow::Generator generator(4);
  const MatrixXd start = attnflow::uniform_sphere(generator, n, 3);
  const Run sa(softmax, start), usa(unnormalized, start);
  claim_energy(exhibit, "SA", sa);
  claim_energy(exhibit, "USA", usa);

  // Tokens that start orthogonal have one inner product among them, which obeys an equation of its own.
  double off = 0;
  const auto orthogonal = [&](const auto& law) {
    const double met = attnflow::equiangular_time(law, n, 0, 0.999);
    const MatrixXd end = follow(law, MatrixXd::Identity(n, n), met, 1).states().back();
    off = std::max(off, std::abs(attnflow::mean_cosine(end) - 0.999));
    return met;
  };
  const double sa_met = orthogonal(softmax), usa_met = orthogonal(unnormalized);
  exhibit.note("64 orthogonal tokens, SA: time at which ρ is 0.999", sa_met);
  exhibit.note("64 orthogonal tokens, USA: time at which ρ is 0.999", usa_met);
  exhibit.at_most("64 orthogonal tokens: |ρ − 0.999| at these times, for n tokens", off, 1e-9);
  exhibit.at_most("64 orthogonal tokens: time of USA over that of SA", usa_met / sa_met, 0.6);
  const auto first_time = [](const Run& run) {
    const auto met = std::ranges::find_if(run.cosine, [](double c) { return c >= 0.999; });
    return met == run.cosine.end() ? std::nan("")
                                   : run.times[static_cast<std::size_t>(met - run.cosine.begin())];
  };
  // On S² a last token at the other end is slow: without the denominator its speed is e^{β⟨x, y⟩}, with it one.
  exhibit.note("uniform start, SA: time at which the mean of ⟨x_i, x_j⟩ is 0.999", first_time(sa));
  exhibit.note("uniform start, USA: time at which the mean of ⟨x_i, x_j⟩ is 0.999", first_time(usa));

  MatrixXd half = start;
  for (Index i = 0; i < n; ++i) half(2, i) = std::abs(half(2, i));
  const auto hemisphere = attnflow::open_hemisphere(half);
  exhibit.at_least("half sphere: margin of the best pole at the start", hemisphere.margin, 1e-3);
  exhibit.equal("uniform start: whether in an open hemisphere",
                static_cast<double>(attnflow::open_hemisphere(start).contains), 0);
  const Run half_sa(softmax, half), half_usa(unnormalized, half);
  const HalfSphere deep(half_sa, hemisphere.pole), deeper(half_usa, hemisphere.pole);
  deep.claims(exhibit, "SA", half_sa, 1);
  deeper.claims(exhibit, "USA", half_usa, std::exp(beta));

  Figure figure{.title = "Attention on the sphere",
                .caption =
                    "Q = K = V = I, β = 1, n = 64, d = 3, to t = 15; softmax (SA), and e^{β⟨x, y⟩}/n (USA). "
                    "Black dots: starts. (e): dashed, Ê(0) and what the velocities have dissipated. (f): "
                    "dashed, tokens that start orthogonal. (h): w, the pole of the best hemisphere at t = 0",
                .columns = 3,
                .panel_height = 350};
  Figure::Panel energies{.title = "energy, and its dissipation", .x = {"t", 0, 8}, .y = {"Ê"}};
  energies.layers = {curve("SA", sa, sa.energy, 0), curve("USA", usa, usa.energy, 1), sums("Ê(0) + ∫", sa),
                     sums("Ê(0) + ∫", usa)};
  Figure::Panel cosines{.title = "mean of the inner products", .x = {"t", 0, 8}, .y = {"mean of ⟨x_i, x_j⟩"}};
  cosines.layers = {curve("SA", sa, sa.cosine, 0), curve("USA", usa, usa.cosine, 1),
                    equiangular("SA, orthogonal", softmax, 0),
                    equiangular("USA, orthogonal", unnormalized, 1)};
  Figure::Panel margins{
      .title = "tokens stay in their hemisphere", .x = {"t", 0, 8}, .y = {"min_i ⟨x_i, w⟩"}};
  margins.layers = {curve("SA", half_sa, deep.margin, 0), curve("USA", half_usa, deeper.margin, 1)};
  Figure::Panel distances{.title = "and meet exponentially fast",
                          .x = {"t", 0, horizon},
                          .y = {.label = "max_i |x_i − x^*|", .low = 1e-7, .high = 3, .logarithmic = true}};
  distances.layers = {curve("SA", half_sa, deep.distance, 0), curve("USA", half_usa, deeper.distance, 1)};
  for (const auto& [label, rate, size] :
       {std::tuple{"e^{−t}", 1., 3.}, {"e^{−2.718 t}", std::exp(beta), 30.}}) {
    Figure::Line line =
        gallery::exponential({.label = label, .colour = Figure::black, .width = 1, .dashed = true},
                             attnflow::equal_times(0, horizon, 61), size, -rate);
    distances.layers.emplace_back(line);
  }
  figure.panels = {space("SA", sa, 0),
                   space("USA", usa, 1),
                   space("SA from a half sphere", half_sa, 0),
                   histograms("SA: inner products", sa, 8),
                   energies,
                   cosines,
                   histograms("USA: inner products", usa, 8),
                   margins,
                   distances};
  exhibit.figure(figure);
  exhibit.page(page("Attention on the sphere: softmax (SA)", sa, "softmax"), "softmax");
  exhibit.page(page("Attention on the sphere: unnormalized (USA)", usa, "unnormalized"), "unnormalized");
  MatrixXd table(static_cast<Index>(moments), 5);
  for (Index k = 0; k < table.rows(); ++k) {
    const auto at = static_cast<std::size_t>(k);
    table.row(k) << sa.times[at], sa.energy[at], usa.energy[at], sa.cosine[at], usa.cosine[at];
  }
  exhibit.data(table, "energies");  // t, Ê and mean cosine, SA and USA
  return exhibit.finish();
}
