// The general program: self-attention dynamics from files or a random start, to .npy files, a report and a
// page. `simulate --help` lists the options; examples/README.md says what is written.

#include "programs/simulate/cost.hpp"
#include "programs/simulate/ending.hpp"
#include "programs/simulate/folder.hpp"
#include "programs/simulate/go.hpp"
#include "programs/simulate/page.hpp"

#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/html.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/observers/progress.hpp>
#include <attnflow/prediction/analyze.hpp>
#include <attnflow/version.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace simulation { namespace {

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

/// What was predicted and found, in a few lines on standard output.
void say(const attnflow::Analysis& analysis) {
  const attnflow::Finding& found = analysis.found;
  std::cout << "; " << found.clusters.count() << " cluster(s)";
  if (!found.leaders.empty()) std::cout << ", " << found.leaders.size() << " leader(s)";
  if (found.rank) std::cout << ", rank of P " << found.rank->rank;
  std::cout << "\npredicted: " << analysis.prediction.reason;
  if (!analysis.prediction.reference.empty()) std::cout << " (" << analysis.prediction.reference << ")";
  if (analysis.prediction.limit == attnflow::LimitCase::none && !analysis.prediction.conjecture.empty())
    std::cout << "\nexpected: " << analysis.prediction.conjecture;
  if (!analysis.distance_to_prediction) return;
  std::cout << "\nfound: distance to the predicted " << attnflow::name_of(analysis.prediction.limit) << " "
            << *analysis.distance_to_prediction;
  if (analysis.conclusive)
    std::cout << (analysis.agrees() ? ", within the " : ", more than the ") << *analysis.expected_distance
              << " expected by now";
  else
    std::cout << "; too early to tell";
}

/// \param resumed  the checkpoint to go on from, if any.
/// \param checkpoint_lock  of the checkpoint that is written, if it is taken already.
/// \returns the exit status.
template <class Scalar>
int simulate(const Options& o, std::optional<Checkpoint> resumed,
             std::optional<programs::Lock> checkpoint_lock) {
  Tokens<Scalar> inside;
  const Problem problem = resumed ? resume(*resumed, o, inside) : read_problem(o);
  const std::vector<double>& times = problem.times;
  const std::vector<Head<double>>& heads = problem.heads;
  const Index n = problem.start.cols(), d = problem.start.rows();
  if constexpr (std::is_same_v<Scalar, float>) require_range_of_float(problem);
  require_memory(o, source_of(o), static_cast<double>(n), static_cast<double>(d),
                 static_cast<double>(times.size()));
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

  // From here to its end the run has its places for itself.
  const std::string name = resumed ? *resumed->option("run") : new_run_name();
  check_place_of_checkpoint(o);
  OutputFolder place(o);
  if (!(resumed && resumed->option("folder") == absolute(o.out).string() &&
        holds_same_run(o, options, place.left(), name)))
    check_folder(o);
  place.take(name);
  if (!o.checkpoint.empty()) {
    if (!checkpoint_lock) checkpoint_lock.emplace(lock_checkpoint("--checkpoint", o.checkpoint));
    check_checkpoint(o);
  }
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
  Problems problems;
  std::optional<attnflow::Analyzer> analyzer;
  problems.attempt("analysis", [&] { analyzer.emplace(heads, analyze_options(o, run)); });
  std::optional<PageBuilder<Scalar>> page;
  const auto on_page = [&](const auto& work) {  // a page that cannot be made costs the run nothing
    if (!problems.has("view.html") && !problems.attempt("view.html", work)) page.reset();
  };
  on_page([&] { page.emplace(o, times, start, heads, analyzer ? &*analyzer : nullptr); });
  SavedDigits digits;
  std::optional<double> marginal_error;
  std::size_t strange_weights = 0;
  const auto save = [&](double t, const Tokens<Scalar>& state) {
    const Tokens<Scalar> x = run.shown(state);
    times_file.append(std::span(&t, 1));
    tokens_file.append(std::span(x.data(), static_cast<std::size_t>(x.size())));
    if (run.coordinates) digits.see(t, *run.coordinates, x, state);
    if (run.marginal_error)
      if (const double error = run.marginal_error(t, state); !(error <= marginal_error.value_or(-1)))
        marginal_error = error;
    on_page([&] { page->add(t, x, state, run); });
    if (!attention_file) return;
    std::vector<Scalar> row_major;
    for (const auto& P : run.attention(t, state))
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) {
          row_major.push_back(P(i, j));
          strange_weights += std::isfinite(P(i, j)) ? 0U : 1U;
        }
    attention_file->append(row_major);
  };

  if (!o.quiet)
    if (const std::string cost = cost_of(o, run, inside_start, heads.size()); !cost.empty())
      std::cerr << "simulate: " << cost << '\n';
  const std::ptrdiff_t rows = resumed ? resumed->find("rows")->shape[0] : 0;
  if (resumed) keep_folder(o, *resumed);
  Keeper<Scalar> keeper(o.checkpoint,
                        resumed ? *std::move(resumed) : first_checkpoint<Scalar>(o, problem, name));
  for (std::ptrdiff_t k = 0; k < rows; ++k)  // as if they had just been computed
    save(times[static_cast<std::size_t>(k)], keeper.row(k, n, d));
  const auto record = [&](double t, const Tokens<Scalar>& state) {
    save(t, state);
    keeper.add_row(state);
  };
  std::optional<attnflow::Progress> progress;
  keeper.begin();
  if (!o.quiet && programs::stderr_is_terminal()) progress.emplace(std::cerr, keeper.before().t, o.t_end);
  const attnflow::Report report = go<Scalar>(run, o, inside,
                                             {{times.begin() + rows, times.end()},
                                              record,
                                              progress ? &*progress : nullptr,
                                              signal,
                                              keeper,
                                              o.checkpoint_every.value_or(60)});
  if (progress) progress->finish();
  const double seconds = keeper.seconds();

  // The data first: all of it is on its way to the disk before anything of an earlier run is removed.
  times_file.close();
  tokens_file.close();
  if (attention_file) attention_file->close();
  remove_earlier_files(folder);
  times_file.finish();
  tokens_file.finish();
  if (attention_file) attention_file->finish();

  // Then what is derived from it. The report says at every moment what there is.
  if (strange_weights > 0)
    problems.add("attention.npy", "weights beyond the range of " + o.precision +
                                      ", which are not finite: " + std::to_string(strange_weights));
  if (const double tolerance = attnflow::detail::column_tolerance<Scalar>(attnflow::Sinkhorn{});
      marginal_error && !(*marginal_error <= tolerance))
    problems.add("marginal_error", exact(*marginal_error) + ", expected at most " + exact(tolerance) +
                                       ": columns of the weights do not sum to one");
  Json document{{"program", "simulate"},
                {"version", attnflow::version},
                {"options", options},
                {"outcome", name_of(report.outcome)},
                {"reason", meaning_of(report)},
                {"t", report.t},
                {"steps", report.steps},
                {"rejected", report.rejected},
                {"evaluations", report.evaluations},
                {"seconds", seconds},
                {"saved_digits", optional_json(digits.least(), number)},
                {"marginal_error", optional_json(marginal_error, number)},
                {"problems", Json::array()},
                {"prediction", nullptr},
                {"found", nullptr}};
  const auto write_report = [&](const std::vector<std::string>& to_come) {
    Problems now = problems;
    for (const std::string& part : to_come) now.add(part, "not made: the program was ended before");
    document["problems"] = now.texts();
    problems.attempt("report.json", [&] {
      attnflow::AtomicFile file(folder / "report.json");
      file.write(text_of(document));
      file.commit();
    });
  };
  std::optional<attnflow::Analysis> analysis;
  const auto make_the_rest = [&] {
    if (analyzer)
      problems.attempt("analysis", [&] {
        std::vector<SquareMatrix<Scalar>> P;
        if (n <= attnflow::AnalyzeOptions{}.most_tokens) P = run.pattern(report.t, inside);
        attnflow::Analysis made = analyzer->at(report.t, inside_start, inside, P);
        if (!theory_speaks_of(o)) made.prediction.conjecture = expected_of(o, heads);
        document["prediction"] = json_of(made.prediction);
        document["found"] = json_of(made, n);
        analysis = std::move(made);
      });
    write_report({"view.html"});
    on_page([&] {
      if (page->is_empty())
        page->add(report.t, run.shown(inside), inside, run);  // it ended before the first saved time
      const std::string title = "Self-attention dynamics, " + o.system + ": " + std::to_string(n) +
                                " tokens in dimension " + std::to_string(d);
      attnflow::write_html(folder / "view.html",
                           page->finish(title, analysis, parameters_of(o, n, d, heads.size(), report)));
    });
    write_report({});
  };
  const auto derive = [&] { problems.attempt("report.json", make_the_rest); };
  write_report({"analysis", "view.html"});
  const bool stopped = report.outcome == attnflow::Outcome::stopped_by_observer;
  if (stopped) {
    derive();  // the signal was for the run; a second one ends the program at once
  } else if (!done_before_signal(signal, derive)) {
    attnflow::detail::remove_temporaries(folder, attnflow::detail::temporary_tag());
    place.release();
    checkpoint_lock.reset();
    std::cerr << "simulate: a signal ended the analysis; the data are in " << o.out
              << ", and report.json says what is missing"
              << (fs::exists(o.checkpoint) ? "; to go on: --resume " + o.checkpoint : "") << std::endl;
    std::_Exit(3);
  }

  const bool all_made =
      !problems.has("analysis") && !problems.has("view.html") && !problems.has("report.json");
  if (keeper.active() && !stopped && all_made &&
      problems.attempt("the disk", [&] { wait_for_disk(o); }))  // else there is something left to do
    keeper.remove();

  if (!o.quiet) {
    std::cout << name_of(report.outcome) << " at t = " << report.t << " after " << report.steps << " steps";
    if (analysis) say(*analysis);
    std::cout << "\nwritten: "
              << (folder / (problems.has("view.html") ? "report.json" : "view.html")).string() << '\n';
  }
  const bool whole = report.outcome == attnflow::Outcome::reached_end;
  constexpr double few_digits = std::is_same_v<Scalar, float> ? 3 : 6;
  if (whole && !o.quiet && digits.least() && *digits.least() < few_digits)
    std::cerr << "simulate: tokens.npy holds only " << std::setprecision(2) << *digits.least()
              << " digits of a coordinate in the eigenbasis of V at t = " << digits.t()
              << ", where other coordinates are far larger (report.json: saved_digits)\n";
  const bool resumable = fs::exists(o.checkpoint);
  if (!whole)
    std::cerr << "simulate: ended early at t = " << report.t << " of " << o.t_end << " ("
              << name_of(report.outcome) << ": " << meaning_of(report) << "); what was computed is in "
              << o.out
              << (o.law == "hardmax" && report.outcome == attnflow::Outcome::step_limit
                      ? "; hardmax attention has steps of a fixed size with --system layers --dt H"
                      : "")
              << (resumable ? "; to go on: --resume " + o.checkpoint : "") << '\n';
  for (const std::string& text : problems.texts())
    std::cerr << "simulate: " << attnflow::detail::printable(text, false)
              << (whole && resumable ? "; to try again: --resume " + o.checkpoint : "") << '\n';
  return whole && problems.texts().empty() ? 0 : 3;
}

}  // namespace
}  // namespace simulation

int main(int argc, char** argv) {
  using namespace simulation;
  programs::report_files_that_are_too_large();
  int status = 2;
  try {
    Options options = parse(argc, argv);
    std::optional<Checkpoint> resumed;
    std::optional<programs::Lock> checkpoint_lock;
    if (!options.resume.empty()) {
      std::error_code error;
      if ((options.checkpoint.empty() || options.checkpoint == options.resume) &&
          fs::is_regular_file(options.resume, error))
        checkpoint_lock.emplace(lock_checkpoint("--resume", options.resume));
      resumed = load_resumed(options);
    }
    try {
      if (resumed) take_options(*resumed, options);
      check(options);
    } catch (const Mistake& mistake) {
      if (!resumed) throw;
      refuse("--resume: ", options.resume, " holds ", mistake.what());
    }
    set_up_processors(options);
    status = options.precision == "float"
                 ? simulate<float>(options, std::move(resumed), std::move(checkpoint_lock))
                 : simulate<double>(options, std::move(resumed), std::move(checkpoint_lock));
  } catch (const std::bad_alloc&) {
    std::cerr << "simulate: not enough memory for a run of this size\n";
  } catch (const std::exception&
               error) {  // a mistake, or a file that could be created, but not written to its end
    std::cerr << "simulate: " << attnflow::detail::printable(error.what(), false) << '\n';  // one line
  }
  return programs::said_all("simulate") || status != 0 ? status : 3;
}
