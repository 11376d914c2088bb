// The general program: self-attention dynamics from files or a random start, to .npy files, a report and a
// page. `simulate --help` lists the options; examples/README.md says what is written.

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
#include <chrono>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace simulation {
namespace {

const char* const output_files[] = {"times.npy", "tokens.npy", "attention.npy", "report.json", "view.html"};

void check_folder(const Options& o) {
  std::error_code error;
  const fs::file_status status = fs::status(o.out, error);
  if (fs::exists(status) && !fs::is_directory(status))
    refuse("--out: ", o.out, " is a file, expected a folder");
  for (const char* name : output_files)
    if (!o.force && fs::exists(fs::path(o.out) / name, error))
      refuse("--out: ", o.out, " holds ", name,
             " of another run, expected an empty folder (or --force to replace it)");
}

void make_folder(const Options& o) {
  std::error_code error;
  fs::create_directories(o.out, error);
  if (error) refuse("--out: ", o.out, " cannot be created: ", error.message());
  try {
    attnflow::AtomicFile probe(fs::path(o.out) / "times.npy");  // removed at once: it is not committed
  } catch (const std::exception& failure) {
    refuse("--out: ", o.out, " cannot be written: ", failure.what());
  }
}

/// \returns the exit status.
template <class Scalar>
int simulate(const Options& o) {
  const Tokens<double> given = read_start(o);
  require_unit_tokens(o, given);
  const Index n = given.cols(), d = given.rows();
  const std::vector<Head<double>> heads = read_heads(o, d);
  if constexpr (std::is_same_v<Scalar, float>) {
    constexpr auto largest = static_cast<double>(std::numeric_limits<float>::max());
    if (given.cwiseAbs().maxCoeff() > largest)
      refuse("--precision: float, expected double: a token is beyond its range");
    for (const auto& h : heads)
      if (std::max({h.Q.cwiseAbs().maxCoeff(), h.K.cwiseAbs().maxCoeff(), h.V.cwiseAbs().maxCoeff()}) >
          largest)
        refuse("--precision: float, expected double: a weight is beyond its range");
  }
  const Tokens<Scalar> start = given.template cast<Scalar>();
  Tokens<Scalar> inside = start;
  const Run<Scalar> run = set_up(o, heads, inside);
  const Tokens<Scalar> inside_start = inside;
  if (o.attention) {
    const double bytes = static_cast<double>(run.times.size()) * static_cast<double>(heads.size()) *
                         static_cast<double>(n) * static_cast<double>(n) * sizeof(Scalar);
    if (bytes > 4e9)
      refuse("--attention: attention.npy would have ", bytes / 1e9,
             " GB, expected at most 4 (save fewer times, or leave it out)");
  }
  check_folder(o);
  make_folder(o);

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
  PageBuilder<Scalar> page(o, run.times, start, heads, analyzer);
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

  const auto began = std::chrono::steady_clock::now();
  std::optional<attnflow::Progress> progress;
  if (!o.quiet && isatty(STDERR_FILENO) != 0) progress.emplace(std::cerr, 0, o.t_end);
  const attnflow::Report report = go<Scalar>(run, o, inside, save, progress ? &*progress : nullptr);
  if (progress) progress->finish();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();

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
                      {"options", resolved(o, n, d, heads.size(), run.times.size())},
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
  const attnflow::View view = page.finish(title, analysis, parameters_of(o, n, d, heads.size(), report));

  times_file.finish();
  tokens_file.finish();
  if (attention_file)
    attention_file->finish();
  else
    fs::remove(folder / "attention.npy");
  attnflow::AtomicFile report_file(folder / "report.json");
  report_file.write(document.dump(2) + "\n");
  report_file.commit();
  attnflow::write_html(folder / "view.html", view);

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
              << "); what was computed is in " << o.out << '\n';
  return whole ? 0 : 3;
}

}  // namespace
}  // namespace simulation

int main(int argc, char** argv) {
  using namespace simulation;
  try {
    Options options = parse(argc, argv);
    check(options);
    set_up_processors(options);
    return options.precision == "float" ? simulate<float>(options) : simulate<double>(options);
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
