// The phase diagram of self-attention on the sphere [GLPR25]: when do n uniform tokens meet, for which β?
// One picture over β and t, beside the curve of tokens that start orthogonal. It checks what it shows.

#include "gallery/exhibit.hpp"
#include "gallery/program.hpp"

#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/ensembles/ensemble.hpp>
#include <attnflow/ensembles/statistics.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/reductions/equiangular.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/version.hpp>
#include "figures/figure.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Eigen::Index;
using Json = nlohmann::ordered_json;

constexpr double threshold = 0.999, first_beta = 0.1, last_beta = 9;
constexpr Index time_count = 200;
constexpr long fewest_systems = 8;  // whose spread tells the error of their mean: below, nothing is claimed

/// What the caller did wrong: one line, exit status 2, nothing run.
struct Mistake : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Options {
  long dim = 2, systems = 2048, tokens = 32, betas = 90, threads = 0;
  std::uint64_t seed = 0;
  std::string law = "softmax", precision = "float", out;
  bool quiet = false;

  [[nodiscard]] bool softmax() const { return law == "softmax"; }
  /// For Unnormalized, whose tokens move e^β times as fast, the steps of the papers' figure, which bound the
  /// move of a token.
  [[nodiscard]] double step(double beta) const {
    return softmax() ? 0.1 : 0.1 / std::max(std::sqrt(beta) * std::exp(beta - 0.5), 1.0);
  }
  [[nodiscard]] double end() const { return softmax() ? 30 : 1; }
};

/// The step that ends nearest to each time, as the driver counts and times them.
struct NearestSteps {
  std::vector<double> ends;        ///< increasing
  std::vector<std::size_t> which;  ///< of each time its place in `ends`

  NearestSteps(const std::vector<double>& times, const attnflow::FixedSteps& plan) {
    const auto end_of = [&](double k) {
      return k * plan.step > plan.to - 1e-9 * plan.step ? plan.to : k * plan.step;
    };
    for (const double t : times) {
      const double before = end_of(std::floor(t / plan.step)), after = end_of(std::floor(t / plan.step) + 1);
      const double nearest = t - before <= after - t ? before : after;
      if (ends.empty() || nearest > ends.back()) ends.push_back(nearest);
      which.push_back(ends.size() - 1);
    }
  }
};

/// The share of pairs that have met, and the standard deviation of this mean over the systems.
struct Diagram {
  std::vector<double> betas, times;
  Eigen::MatrixXd fraction, error;  ///< betas × times
  long steps = 0;
  double seconds = 0, cpu_seconds = 0;  ///< by the clock, and of all threads together
};

template <class Scalar, int Dim, class Law>
Diagram sweep(const Options& o) {
  using State = attnflow::Tokens<Scalar, Dim>;
  Diagram diagram;
  diagram.times = attnflow::equal_times(0, o.end(), time_count);
  diagram.betas = attnflow::equal_times(first_beta, last_beta, static_cast<std::size_t>(o.betas));
  diagram.fraction.resize(o.betas, time_count);
  diagram.error.resize(o.betas, time_count);
  double work = 0, done = 0;
  for (const double beta : diagram.betas) work += 1 / o.step(beta);
  gallery::ProgressLine progress(!o.quiet);
  const std::clock_t cpu = std::clock();
  for (Index b = 0; b < o.betas; ++b) {
    const double beta = diagram.betas[static_cast<std::size_t>(b)];
    const attnflow::SphereDynamics<Scalar, Dim, Law> system(attnflow::Head<Scalar, Dim>::identity(o.dim),
                                                            Law{beta});
    // The same starts for all β: what changes along β is β alone.
    const attnflow::Ensemble ensemble(
        o.systems, [&](Index) -> const auto& { return system; },
        [&](Index, attnflow::Generator& generator, State& x) {
          x = attnflow::uniform_sphere<Scalar, Dim>(generator, o.tokens, o.dim);
        },
        o.seed);
    const attnflow::FixedSteps plan{.to = o.end(), .step = o.step(beta)};
    const NearestSteps nearest(diagram.times, plan);
    const auto [mean, report] =
        ensemble.run(attnflow::OnSphere<attnflow::Euler<State>>{}, plan,
                     attnflow::mean_at_times<State>(nearest.ends, [](double /*t*/, const State& x) {
                       return attnflow::share_of_aligned_pairs(x, threshold);
                     }));
    if (report.reached_end != o.systems) throw std::runtime_error("a system did not reach the end");
    diagram.steps += report.steps;
    for (Index k = 0; k < time_count; ++k) {
      const attnflow::Moments& moments = mean[nearest.which[static_cast<std::size_t>(k)]];
      diagram.fraction(b, k) = moments.mean();
      diagram.error(b, k) = o.systems >= fewest_systems ? moments.standard_error() : 1;
    }
    done += 1 / o.step(beta);
    char where[40];
    std::snprintf(where, sizeof where, "beta = %.2f", beta);
    progress(done / work, where);
  }
  progress.clear();
  diagram.seconds = progress.seconds();
  diagram.cpu_seconds = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  return diagram;
}

/// Dimensions of the papers' figures are fixed at compile time, which makes small steps faster.
template <class Scalar, class Law>
Diagram sweep(const Options& o) {
  if (o.dim == 2) return sweep<Scalar, 2, Law>(o);
  if constexpr (std::is_same_v<Law, attnflow::Softmax>) {
    if (o.dim == 8) return sweep<Scalar, 8, Law>(o);
    if (o.dim == 32) return sweep<Scalar, 32, Law>(o);
  }
  return sweep<Scalar, Eigen::Dynamic, Law>(o);
}
template <class Scalar>
Diagram sweep(const Options& o) {
  return o.softmax() ? sweep<Scalar, attnflow::Softmax>(o) : sweep<Scalar, attnflow::Unnormalized>(o);
}

/// When tokens that start orthogonal have met.
double meeting_time(const Options& o, double beta) {
  return o.softmax() ? equiangular_time(attnflow::Softmax{beta}, o.tokens, 0, threshold)
                     : equiangular_time(attnflow::Unnormalized{beta}, o.tokens, 0, threshold);
}

/// The claims, each with what was measured and what it may be.
Json check(const Options& o, const Diagram& diagram) {
  Json checks = Json::array();
  const auto claim = [&](const char* text, double measured, const char* expected, bool holds) {
    checks.push_back({{"claim", text}, {"measured", measured}, {"expected", expected}, {"holds", holds}});
  };
  if (o.systems < fewest_systems) return checks;
  double fall = 0;
  for (Index b = 0; b < diagram.fraction.rows(); ++b)
    for (Index k = 0; k + 1 < time_count; ++k)
      if (const double by = diagram.fraction(b, k) - diagram.fraction(b, k + 1); by > 0)
        fall = std::max(fall, by / (diagram.error(b, k) + diagram.error(b, k + 1)));
  claim("at every beta the fraction grows with t: largest fall, in standard errors", fall, "at most 3",
        fall <= 3);
  if (o.softmax()) {
    const double last = diagram.fraction(0, time_count - 1);
    claim("at the smallest beta all pairs meet: fraction at the end", last, "at least 0.99", last >= 0.99);
  }
  // Weights e^{βρ} spread the meetings of unnormalized attention, softmax divides the spread out.
  if (!o.softmax() || o.dim < o.tokens) return checks;
  double apart = 0;
  for (Index b = 0; b < diagram.fraction.rows(); ++b) {
    const double expected = meeting_time(o, diagram.betas[static_cast<std::size_t>(b)]);
    if (expected > 0.8 * o.end()) continue;
    // When the fraction may first be a half, and when it is last, within three standard errors.
    Index first = 0, last = time_count - 1;
    while (first + 1 < time_count && diagram.fraction(b, first) + 3 * diagram.error(b, first) < 0.5) ++first;
    while (last > first && diagram.fraction(b, last - 1) - 3 * diagram.error(b, last - 1) >= 0.5) --last;
    apart = std::max({apart, diagram.times[static_cast<std::size_t>(first)] / expected - 1,
                      1 - diagram.times[static_cast<std::size_t>(last)] / expected});
  }
  claim(
      "d >= n: half the pairs, up to three standard errors, have met when orthogonal tokens have: largest "
      "relative difference",
      apart, "at most 0.2", apart <= 0.2);
  return checks;
}

figures::Figure picture(const Options& o, const Diagram& diagram) {
  using figures::Figure;
  const auto half = [](const std::vector<double>& v) { return (v[1] - v[0]) / 2; };  // both equally spaced
  Figure::HeatMap map{.label = "fraction of pairs with ⟨x_i, x_j⟩ > 0.999", .values = diagram.fraction};
  map.x_low = diagram.times.front() - half(diagram.times);
  map.x_high = diagram.times.back() + half(diagram.times);
  map.y_low = diagram.betas.front() - half(diagram.betas);
  map.y_high = diagram.betas.back() + half(diagram.betas);
  map.least = 0;
  map.most = 1;
  Figure::Line meeting{.label = "equiangular tokens from ρ(0) = 0 reach ρ(t) = 0.999"};
  for (const double beta : attnflow::equal_times(0, last_beta + 1, 401)) {
    meeting.x.push_back(meeting_time(o, beta));
    meeting.y.push_back(beta);
  }
  meeting.colour = Figure::black;
  meeting.width = 2.5;
  Figure::Line halo = meeting;  // seen on every shade
  halo.label.clear();
  halo.colour = Figure::white;
  halo.width = 6;

  Figure figure;
  figure.title = std::string("Pairs that have met: ") +
                 (o.softmax() ? "softmax attention (SA)" : "unnormalized attention (USA)") + " on the sphere";
  figure.caption = "n = " + std::to_string(o.tokens) + " uniform tokens, d = " + std::to_string(o.dim) +
                   ", mean over " + std::to_string(o.systems) + " systems at each of " +
                   std::to_string(o.betas) + " values of β; projected Euler, Q = K = V = I";
  figure.panel_width = 760;
  figure.panel_height = 520;
  figure.panels = {{.x = {.label = "time t", .low = map.x_low, .high = map.x_high},
                    .y = {.label = "inverse temperature β", .low = map.y_low, .high = map.y_high},
                    .layers = {map, halo, meeting}}};
  return figure;
}

void write(const fs::path& path, const std::string& text) {
  attnflow::AtomicFile file(path);
  file.write(text);
  file.commit();
}

Options parse(int argc, char** argv) {
  Options o;
  CLI::App app("The phase diagram of self-attention on the sphere over beta and t", "phase_diagram");
  std::string dim = std::to_string(o.dim), systems = std::to_string(o.systems),
              tokens = std::to_string(o.tokens), betas = std::to_string(o.betas),
              seed = std::to_string(o.seed), threads;
  app.add_option("--dim", dim, "d (default 2)");
  app.add_option("--systems", systems, "independent systems at each beta (default 2048)");
  app.add_option("--tokens", tokens, "n (default 32)");
  app.add_option("--betas", betas, "values of beta from 0.1 to 9 (default 90)");
  app.add_option("--law", o.law, "softmax (default) | unnormalized");
  app.add_option("--precision", o.precision, "float (default) | double");
  const CLI::Option* const limit =
      app.add_option("--threads", threads, "at most so many threads (default: as the machine has)");
  app.add_option("--seed", seed, "of the starts (default 0)");
  app.add_option("--out", o.out, "folder, created if absent")->required();
  app.add_flag("--quiet", o.quiet, "say nothing but which claims fail");
  if (const std::string mistake = programs::mistake_of_values(app, argc, argv); !mistake.empty())
    throw Mistake(mistake);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    std::exit(programs::said_all("phase_diagram") ? 0 : 2);
  } catch (const CLI::ParseError& error) {
    throw Mistake(std::string(error.what()) + ", expected options as --help lists them");
  }
  const auto number = [](const char* option, const std::string& text, auto& value, auto least, auto most) {
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || rest != end || value < least || value > most)
      throw Mistake(std::string(option) + ": " + text + ", expected a whole number from " +
                    std::to_string(least) + " to " + std::to_string(most));
  };
  number("--dim", dim, o.dim, 2L, 4096L);
  number("--systems", systems, o.systems, 1L, 1'000'000L);
  number("--tokens", tokens, o.tokens, 2L, 4096L);
  number("--betas", betas, o.betas, 2L, 1000L);
  if (limit->count() > 0) number("--threads", threads, o.threads, 1L, 1024L);
  number("--seed", seed, o.seed, std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max());
  if (o.law != "softmax" && o.law != "unnormalized")
    throw Mistake("--law: " + o.law + ", expected softmax or unnormalized");
  if (o.precision != "float" && o.precision != "double")
    throw Mistake("--precision: " + o.precision + ", expected float or double");
  gallery::make_folder(o.out, "report.json");
  return o;
}

/// \returns the exit status.
int run(const Options& o) {
  if (o.threads > 0) attnflow::set_threads(static_cast<int>(o.threads));
  const Diagram diagram = o.precision == "float" ? sweep<float>(o) : sweep<double>(o);
  const Json checks = check(o, diagram);

  const fs::path folder = o.out;
  const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> table = diagram.fraction;
  attnflow::save_npy<double>(folder / "fraction.npy", {table.rows(), table.cols()},
                             std::span(table.data(), static_cast<std::size_t>(table.size())));
  attnflow::save_npy<double>(folder / "betas.npy", {table.rows()}, diagram.betas);
  attnflow::save_npy<double>(folder / "times.npy", {table.cols()}, diagram.times);
  gallery::Exhibit exhibit(
      folder, "phase_diagram", "When tokens on the sphere meet, over β and t",
      "Uniform tokens on the sphere: the fraction of pairs that have met, beside the curve of tokens "
      "that start orthogonal.",
      o.quiet);
  exhibit.figure(picture(o, diagram), "phase_diagram");
  const Json report{{"program", "phase_diagram"},
                    {"version", attnflow::version},
                    {"options",
                     {{"dim", o.dim},
                      {"systems", o.systems},
                      {"tokens", o.tokens},
                      {"betas", o.betas},
                      {"law", o.law},
                      {"precision", o.precision},
                      {"threads", attnflow::threads()},
                      {"seed", o.seed},
                      {"t_end", o.end()},
                      {"threshold", threshold}}},
                    {"steps", diagram.steps},
                    {"seconds", diagram.seconds},
                    {"cpu_seconds", diagram.cpu_seconds},
                    {"checks", checks}};
  write(folder / "report.json", report.dump(2) + "\n");

  if (!o.quiet)
    std::printf("%ld steps of %ld tokens in %.2f s, each %.3f us of a core\n", diagram.steps, o.tokens,
                diagram.seconds, diagram.cpu_seconds * 1e6 / static_cast<double>(diagram.steps));
  for (const Json& c : checks) exhibit.claim(c["claim"], c["measured"], c["expected"], c["holds"]);
  for (const char* file : {"fraction.npy", "betas.npy", "times.npy", "report.json"})
    exhibit.wrote("data", file);
  return exhibit.finish();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "phase_diagram: " << attnflow::detail::printable(error.what(), false) << '\n';
    return 2;
  }
}
