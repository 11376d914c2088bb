// The general program: self-attention dynamics from files or a random start, to .npy files, a report and a
// page. `simulate --help` lists the options; examples/README.md says what is written.

#include "simulate/folder.hpp"
#include "simulate/go.hpp"
#include "simulate/page.hpp"

#include <attnflow/clustering/clusters.hpp>
#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/html.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/observers/progress.hpp>
#include <attnflow/theory/analyze.hpp>
#include <attnflow/version.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace simulation {
namespace {

/// A float holds neither a token nor a weight beyond its range.
void require_range_of_float(const Problem& problem) {
  constexpr auto largest = static_cast<double>(std::numeric_limits<float>::max());
  if (problem.start.cwiseAbs().maxCoeff() > largest)
    refuse("--precision: float, expected double: a token is beyond its range");
  for (const auto& h : problem.heads)
    if (std::max({h.Q.cwiseAbs().maxCoeff(), h.K.cwiseAbs().maxCoeff(), h.V.cwiseAbs().maxCoeff()}) > largest)
      refuse("--precision: float, expected double: a weight is beyond its range");
}

/// The problem and the state of a checkpoint; what is wrong with them is said of the file.
template <class Scalar>
Problem resume(const Checkpoint& c, const Options& o, Tokens<Scalar>& state) {
  try {
    Problem problem = problem_of(c, o);
    static_cast<void>(take_state(c, o, problem, state));
    return problem;
  } catch (const std::exception& error) {
    refuse("--resume: ", o.resume, " holds ", error.what());
  }
}

/// \param resumed  the checkpoint to go on from, if any.
/// \returns the exit status.
template <class Scalar>
int simulate(const Options& o, std::optional<Checkpoint> resumed) {
  Tokens<Scalar> inside;
  const Problem problem = resumed ? resume(*resumed, o, inside) : read_problem(o);
  const std::vector<double>& times = problem.times;
  const std::vector<Head<double>>& heads = problem.heads;
  const Index n = problem.start.cols(), d = problem.start.rows();
  if constexpr (std::is_same_v<Scalar, float>) require_range_of_float(problem);
  const Tokens<Scalar> start = problem.start.template cast<Scalar>();
  Tokens<Scalar> inside_start = start;
  const Run<Scalar> run = set_up(o, heads, inside_start);
  if (!resumed) inside = inside_start;
  if (o.attention) {
    const double bytes = static_cast<double>(times.size()) * static_cast<double>(heads.size()) *
                         static_cast<double>(n) * static_cast<double>(n) * sizeof(Scalar);
    if (bytes > 4e9)
      refuse("--attention: attention.npy would have ", bytes / 1e9,
             " GB, expected at most 4 (save fewer times, or leave it out)");
  }
  const Json options = resolved(o, n, d, heads.size(), times.size());
  if (!(resumed && resumed->option("folder") == absolute(o.out).string() && holds_same_run(o, options)))
    check_folder(o);
  check_checkpoint(o);
  make_folder(o);
  const attnflow::StopOnSignal signal;  // from here on there is something to save

  const fs::path folder = o.out;
  attnflow::NpyWriter<double> times_file(folder / "times.npy", {});
  attnflow::NpyWriter<Scalar> tokens_file(folder / "tokens.npy", {n, d});
  std::optional<attnflow::NpyWriter<Scalar>> attention_file;
  if (o.attention) {
    std::vector<Index> shape{n, n};
    if (heads.size() > 1) shape.insert(shape.begin(), static_cast<Index>(heads.size()));
    attention_file.emplace(folder / "attention.npy", shape);
  }
  const attnflow::detail::Analyzer analyzer(heads, analyze_options(o, run));
  PageBuilder<Scalar> page(o, times, start, heads, analyzer);
  const auto save = [&](double t, const Tokens<Scalar>& state) {
    const Tokens<Scalar> x = run.shown(state);
    times_file.append(std::span(&t, 1));
    tokens_file.append(std::span(x.data(), static_cast<std::size_t>(x.size())));
    page.add(t, x, state, run);
    if (!attention_file) return;
    std::vector<Scalar> row_major;
    for (const auto& P : run.attention(t, state))
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) row_major.push_back(P(i, j));
    attention_file->append(row_major);
  };

  const std::ptrdiff_t rows = resumed ? resumed->find("rows")->shape[0] : 0;
  if (resumed) keep_folder(o, *resumed);
  Keeper<Scalar> keeper(o.checkpoint, resumed ? *std::move(resumed) : first_checkpoint<Scalar>(o, problem));
  for (std::ptrdiff_t k = 0; k < rows; ++k)  // as if they had just been computed
    save(times[static_cast<std::size_t>(k)], keeper.row(k, n, d));
  const auto record = [&](double t, const Tokens<Scalar>& state) {
    save(t, state);
    keeper.add_row(state);
  };
  std::optional<attnflow::Progress> progress;
  keeper.begin();
  if (!o.quiet && isatty(STDERR_FILENO) != 0) progress.emplace(std::cerr, keeper.before().t, o.t_end);
  const attnflow::Report report = go<Scalar>(run, o, inside,
                                             {{times.begin() + rows, times.end()},
                                              record,
                                              progress ? &*progress : nullptr,
                                              signal,
                                              keeper,
                                              o.checkpoint_every.value_or(60)});
  if (progress) progress->finish();
  const double seconds = keeper.seconds();

  std::vector<Eigen::MatrixXd> P;
  if (n <= attnflow::AnalyzeOptions{}.most_tokens)
    P = attnflow::detail::stochastic(run.pattern(report.t, inside));
  attnflow::Analysis analysis =
      analyzer.at(report.t, inside_start.template cast<double>(), inside.template cast<double>(),
                  static_cast<double>(std::numeric_limits<Scalar>::epsilon()), std::move(P));
  if (!theory_speaks_of(o)) analysis.prediction.conjecture = expected_of(o, heads);
  const attnflow::Finding& found = analysis.found;
  const Json document{{"program", "simulate"},
                      {"version", attnflow::version},
                      {"options", options},
                      {"outcome", name_of(report.outcome)},
                      {"t", report.t},
                      {"steps", report.steps},
                      {"rejected", report.rejected},
                      {"evaluations", report.evaluations},
                      {"seconds", seconds},
                      {"prediction", json_of(analysis.prediction)},
                      {"found", json_of(analysis, n)}};
  const std::string title = "Self-attention dynamics, " + o.system + ": " + std::to_string(n) +
                            " tokens in dimension " + std::to_string(d);
  if (page.is_empty())
    page.add(report.t, run.shown(inside), inside, run);  // it ended before the first saved time
  const attnflow::View view = page.finish(title, analysis, parameters_of(o, n, d, heads.size(), report));

  // What needs the most room comes first: where it fails, nothing of an earlier run has been replaced.
  StagedFile view_file(folder / "view.html");
  attnflow::write_html(view_file.staged(), view);
  attnflow::AtomicFile report_file(folder / "report.json");
  report_file.write(document.dump(2) + "\n");
  times_file.finish();
  tokens_file.finish();
  if (attention_file)
    attention_file->finish();
  else
    fs::remove(folder / "attention.npy");
  report_file.commit();
  view_file.commit();
  const bool stopped = report.outcome == attnflow::Outcome::stopped_by_observer;
  if (keeper.active() && !stopped) {
    wait_for_disk(o);
    keeper.remove();
  }

  const bool whole = report.outcome == attnflow::Outcome::reached_end;
  if (!o.quiet) {
    std::cout << name_of(report.outcome) << " at t = " << report.t << " after " << report.steps << " steps; "
              << found.clusters.count() << " cluster(s)";
    if (!found.leaders.empty()) std::cout << ", " << found.leaders.size() << " leader(s)";
    if (found.rank) std::cout << ", rank of P " << found.rank->rank;
    std::cout << "\npredicted: " << analysis.prediction.reason;
    if (!analysis.prediction.reference.empty()) std::cout << " (" << analysis.prediction.reference << ")";
    if (analysis.prediction.limit == attnflow::LimitCase::none && !analysis.prediction.conjecture.empty())
      std::cout << "\nexpected: " << analysis.prediction.conjecture;
    if (analysis.distance_to_prediction) {
      std::cout << "\nfound: distance to the predicted " << attnflow::name_of(analysis.prediction.limit)
                << " " << *analysis.distance_to_prediction;
      if (analysis.conclusive)
        std::cout << (analysis.agrees() ? ", within the " : ", more than the ") << *analysis.expected_distance
                  << " expected by now";
      else
        std::cout << "; too early to tell";
    }
    std::cout << "\nwritten: " << (folder / "view.html").string() << '\n';
  }
  if (!whole)
    std::cerr << "simulate: ended early at t = " << report.t << " of " << o.t_end << " ("
              << name_of(report.outcome) << ": " << meaning_of(report.outcome)
              << "); what was computed is in " << o.out
              << (stopped && keeper.active() ? "; to go on: --resume " + o.checkpoint : "") << '\n';
  return whole ? 0 : 3;
}

}  // namespace
}  // namespace simulation

int main(int argc, char** argv) {
  using namespace simulation;
  try {
    Options options = parse(argc, argv);
    std::optional<Checkpoint> resumed;
    if (!options.resume.empty()) resumed = load_resumed(options);
    try {
      if (resumed) take_options(*resumed, options);
      check(options);
    } catch (const Mistake& mistake) {
      if (!resumed) throw;
      refuse("--resume: ", options.resume, " holds ", mistake.what());
    }
    set_up_processors(options);
    return options.precision == "float" ? simulate<float>(options, std::move(resumed))
                                        : simulate<double>(options, std::move(resumed));
  } catch (const Mistake& mistake) {
    std::cerr << "simulate: " << attnflow::detail::printable(mistake.what(), false) << '\n';  // one line
    return 2;
  } catch (const std::bad_alloc&) {
    std::cerr << "simulate: not enough memory for a run of this size\n";
    return 2;
  } catch (const std::exception& error) {  // a file that could be created, but not written to its end
    std::cerr << "simulate: " << attnflow::detail::printable(error.what(), false) << '\n';
    return 2;
  }
}
