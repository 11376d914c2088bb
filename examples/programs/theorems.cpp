// The laboratory: every theorem, lemma, conjecture and known slip of arXiv:2305.05465 on many random draws.
// It prints one table and fails if a theorem, a lemma or what follows from them does.

#include "gallery/program.hpp"
#include "programs/theorems/beyond.hpp"
#include "programs/theorems/dynamics.hpp"
#include "programs/theorems/field.hpp"
#include "programs/theorems/high_dimension.hpp"
#include "programs/theorems/hyperplanes.hpp"
#include "programs/theorems/identity_value.hpp"
#include "programs/theorems/line.hpp"
#include "programs/theorems/multiplicity.hpp"
#include "programs/theorems/origin.hpp"
#include "programs/theorems/picture.hpp"
#include "programs/theorems/polytope.hpp"
#include "programs/theorems/report.hpp"
#include "programs/theorems/sweep.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;
using namespace laboratory;  // NOLINT(google-build-using-namespace): it is this program's own

/// What the caller did wrong: one line, exit status 2, nothing run.
struct Mistake : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Options {
  Settings settings;
  std::string out;
  bool writes = false, list = false, quiet = false;
};

std::vector<Experiment> all_experiments() {
  std::vector<Experiment> all;
  for (const auto& section : {section_1(), section_2(), section_3(), section_3_any_dimension(), section_4(),
                              section_5(), section_6(), section_7(), section_8(), section_11(), sweep()})
    all.insert(all.end(), section.begin(), section.end());
  return all;
}

bool mentions(const Experiment& experiment, const Check& check, const std::string& text) {
  return experiment.name.find(text) != std::string::npos || check.label.find(text) != std::string::npos ||
         check.says.find(text) != std::string::npos || name_of(check.kind) == text;
}

long number(const std::string& option, const std::string& text, long least, long most) {
  long value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end || value < least || value > most)
    throw Mistake(option + ": " + text + ", expected a number from " + std::to_string(least) + " to " +
                  std::to_string(most));
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  Settings& settings = options.settings;
  std::string draws = std::to_string(settings.draws), seed = std::to_string(settings.seed);
  std::string threads = std::to_string(std::max(1U, std::thread::hardware_concurrency()));
  CLI::App app("Theorems, lemmas, conjectures and slips of arXiv:2305.05465 on random draws");
  app.add_option("--draws", draws, "draws for each statement (default " + draws + ")");
  app.add_option("--only", settings.only, "only statements whose name, label or text holds this");
  app.add_option("--seed", seed, "seed of all draws (default " + seed + ")");
  app.add_option("--threads", threads, "worker threads (default: as the machine has)");
  const CLI::Option* const out =
      app.add_option("--out", options.out, "folder for theorems.md, theorems.json and the picture");
  app.add_flag("--list", options.list, "list the statements and run nothing");
  app.add_flag("--quiet", options.quiet, "say nothing but which statements fail");
  if (const std::string mistake = programs::mistake_of_values(app, argc, argv); !mistake.empty())
    throw Mistake(mistake);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    std::exit(programs::said_all("theorems") ? 0 : 2);
  } catch (const CLI::ParseError& error) {
    throw Mistake(std::string(error.what()) + ", expected options as --help lists them");
  }
  settings.draws = number("--draws", draws, 1, 1'000'000);
  settings.seed = static_cast<std::uint64_t>(number("--seed", seed, 0, std::numeric_limits<long>::max()));
  settings.threads = static_cast<unsigned>(number("--threads", threads, 1, 1024));
  options.writes = out->count() > 0;
  return options;
}

constexpr const char* introduction =
    "# Theorems on random draws\n\n"
    "Statements of arXiv:2305.05465 by the paper's labels. Theorems, lemmas and what is derived from them "
    "must pass in every\ndraw; conjectures and errata (statements as printed or as one might read them) are "
    "counted as found. Draws that break a hypothesis\nare excluded and drawn again: rules on weights and "
    "start, runs of over 20000 steps, and, where a statement is one of limits, rows\nthat have not decided "
    "in time or other coordinates that still weigh in the scores; never the residual. Where a hypothesis\n"
    "is that of one statement alone, its draws are left out there; both are counted under `found`. `margins "
    "met` are the smallest\nthat the hypotheses had. A residual below zero is what an inequality has to "
    "spare. Shown is the draw in which residual and\ntolerance are closest.\n\n";

/// \returns the exit status.
int run(const Options& options) {
  const std::string& only = options.settings.only;
  std::vector<Experiment> experiments;
  for (Experiment& experiment : all_experiments())
    if (std::ranges::any_of(experiment.checks, [&](const Check& c) { return mentions(experiment, c, only); }))
      experiments.push_back(std::move(experiment));
  if (experiments.empty()) throw Mistake("--only: " + only + ", expected part of a statement (see --list)");
  if (options.list) {
    for (const Experiment& experiment : experiments)
      for (const Check& check : experiment.checks)
        if (mentions(experiment, check, only))
          std::cout << check.label << " (" << name_of(check.kind) << "): " << check.says << '\n';
    return programs::said_all("theorems") ? 0 : 2;
  }
  if (options.writes) gallery::make_folder(options.out, "theorems.json");

  gallery::ProgressLine progress(!options.quiet);
  std::vector<std::vector<Row>> tables(experiments.size());
  run_all(
      experiments, options.settings,
      [&](std::size_t e, std::vector<Row> rows) {
        for (const Row& row : rows)
          if (mentions(experiments[e], row.check, only)) tables[e].push_back(row);
        progress.clear();
        if (!options.quiet && !tables[e].empty() && is_sweep(tables[e].front())) {
          std::cerr << "       " << tables[e].front().experiment << '\n';
          return;
        }
        for (const Row& row : tables[e])
          if (row.failed() || !options.quiet)
            std::cerr << (row.failed() ? "FAILED " : "       ") << name_of(row.check.kind) << "  "
                      << row.check.label << ": " << row.passed << " of " << row.draws << '\n';
      },
      [&](std::size_t done, std::size_t total) {
        progress(static_cast<double>(done) / static_cast<double>(total),
                 std::to_string(done) + " of " + std::to_string(total) + " draws");
      });
  progress.clear();
  const double seconds = progress.seconds();

  std::vector<Row> rows;
  for (const auto& table : tables) rows.insert(rows.end(), table.begin(), table.end());
  const auto failed = std::ranges::count_if(rows, [](const Row& row) { return row.failed(); });
  const std::string table = report_text(rows);
  if (!options.quiet)
    std::cout << table << '\n'
              << rows.size() << " statements, " << failed << " failed, " << std::lround(seconds) << " s\n";
  if (options.writes) {
    Json document{{"program", "theorems"},
                  {"version", attnflow::version},
                  {"paper", "arXiv:2305.05465"},
                  {"draws", options.settings.draws},
                  {"seed", options.settings.seed},
                  {"failed", failed},
                  {"seconds", seconds},
                  {"statements", Json::array()}};
    for (const Row& row : rows) document["statements"].push_back(json_of(row));
    save_text(fs::path(options.out) / "theorems.json", document.dump(2) + "\n");
    save_text(fs::path(options.out) / "theorems.md", introduction + table);
    return exhibit(options.out, rows, options.settings, options.quiet);
  }
  if (!programs::said_all("theorems")) return 2;
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const Mistake& mistake) {
    std::cerr << "theorems: " << attnflow::detail::printable(mistake.what(), false) << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "theorems: " << attnflow::detail::printable(error.what(), false) << '\n';
    return 2;
  }
}
