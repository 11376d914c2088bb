// Writes report.json and report.md from what the programs left in a folder (see report.cmake): write_report
// FOLDER. Exit status 1 if a row ended with an error or a file is missing or broken, 2 on wrong usage.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

Json read(const fs::path& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  try {
    return Json::parse(in);
  } catch (const std::exception& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

/// The name of a row without what Google Benchmark adds to it.
std::string name_of(const Json& row) {
  std::string name = row.at("name");
  for (const std::string_view added : {"/manual_time", "/iterations:1", "/min_time:0.100"})
    if (const auto at = name.find(added); at != std::string::npos) name.erase(at, added.size());
  return name;
}

bool is_row(const Json& row) { return row.value("run_type", "iteration") == "iteration"; }
double number(const Json& row, const char* field) {
  return row.contains(field) ? row.at(field).get<double>() : 0;
}

/// Three significant digits (all those before the point), or a dash where there is no number.
std::string text(double value, const char* unit = "") {
  if (!(value != 0)) return "–";
  std::ostringstream out;
  if (std::abs(value) >= 1000)
    out << std::fixed << std::setprecision(0);
  else
    out << std::setprecision(3);
  out << value << unit;
  return out.str();
}
std::string percent(double share) {
  return share == 0 ? "–" : std::to_string(std::lround(100 * share)) + " %";
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// The share of the roofline that the operator is to reach on an AVX-512 machine, one thread; zero: none set.
double target(const std::string& scalar, long n, long d) {
  if (d <= 3 && n >= 1024) return n <= 16384 ? 0.80 : 0.72;
  if (d == 16) return scalar == "double" ? 0.80 : 0.75;
  if (n >= 2048) return 0.75;
  return n >= 40 ? 0.60 : 0;
}

class Report {
 public:
  explicit Report(fs::path folder) : folder_(std::move(folder)) {
    std::set<fs::path> paths;  // sorted
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.path().extension() == ".json" && entry.path().filename() != "report.json")
        paths.insert(entry.path());
    for (const auto& path : paths) programs_[path.stem().string()] = read(path);
    if (!programs_.contains("attend_bench_native"))
      throw std::runtime_error((folder_ / "attend_bench_native.json").string() + " is missing");
    for (const auto& [program, json] : programs_)
      for (const Json& row : json.at("benchmarks"))
        if (row.value("error_occurred", false))
          errors_.push_back(program + ": " + name_of(row) + ": " + row.value("error_message", ""));
  }

  void write() {
    Json all = Json::object();
    for (const auto& [program, json] : programs_) all[program] = json;
    std::ofstream(folder_ / "report.json") << all.dump(1) << '\n';
    std::ofstream out(folder_ / "report.md");
    out << "# Benchmarks\n\n";
    machine(out);
    limits(out);
    operator_table(out);
    peers(out);
    laws(out);
    integrators(out);
    others(out);
    memory(out);
    if (!errors_.empty()) {
      out << "## Errors\n\n";
      for (const auto& error : errors_) out << "- " << error << '\n';
    }
    out.flush();
    if (!out) throw std::runtime_error("cannot write " + (folder_ / "report.md").string());
  }

  [[nodiscard]] const std::vector<std::string>& errors() const noexcept { return errors_; }

 private:
  [[nodiscard]] const Json& operator_run() const { return programs_.at("attend_bench_native"); }

  /// Calls `visit(row, name)` for the rows of a program that ran and whose names begin so.
  template <class Visit>
  void for_rows(const std::string& program, std::string_view prefix, const Visit& visit) const {
    const auto found = programs_.find(program);
    if (found == programs_.end()) return;
    for (const Json& row : found->second.at("benchmarks"))
      if (const std::string name = name_of(row);
          is_row(row) && !row.value("error_occurred", false) && name.starts_with(prefix))
        visit(row, name);
  }

  void machine(std::ostream& out) const {
    const Json& context = operator_run().at("context");
    out << "| | |\n|---|---|\n| date | " << context.value("date", "") << " |\n| processor | "
        << context.value("processor", "not known") << ", " << context.value("num_cpus", 0) << " at "
        << context.value("mhz_per_cpu", 0) << " MHz |\n| its vectors | " << context.value("machine_level", "")
        << " |\n| compiler | " << context.value("compiler", "") << " |\n| native build compiled for | "
        << context.value("compiled_for", "") << " |\n";
    if (const auto plain = programs_.find("plain_1"); plain != programs_.end())
      out << "| plain build compiled for | " << plain->second.at("context").value("compiled_for", "")
          << " |\n";
    out << '\n';
  }

  void limits(std::ostream& out) const {
    out << "## The machine's limits\n\nMultiply-adds are measured; the exponential is the port bound at that "
           "rate "
           "(bench/limits.hpp).\n\n"
           "| | threads | GFLOP/s, median | best | exp, ns |\n|---|---|---|---|---|\n";
    for_rows("attend_bench_native", "limit/", [&](const Json& row, const std::string& name) {
      if (row.contains("gigaflops"))
        out << "| " << name.substr(6, name.find('/', 6) - 6) << " | " << number(row, "threads") << " | "
            << text(number(row, "gigaflops")) << " | " << text(number(row, "best_gigaflops")) << " | "
            << text(number(row, "exp_ns")) << " |\n";
    });
    for_rows("attend_bench_native", "limit/copy", [&](const Json& row, const std::string&) {
      out << "\nCopy, 256 MiB, bytes read and written: " << text(number(row, "gigabytes_per_second"))
          << " GB/s.\n";
    });
    out << '\n';
  }

  /// The plain build's time over the native build's: the median over the alternating runs. The two programs
  /// follow each other by a minute, in which the machine changes its speed; shares of the roofline do not
  /// change with it.
  [[nodiscard]] double plain_over_native(const std::string& name) const {
    std::vector<double> ratios;
    for (int k = 1; programs_.contains("plain_" + std::to_string(k)); ++k) {
      const auto share = [&](const std::string& build) {
        double found = 0;
        for_rows(build + "_" + std::to_string(k), name, [&](const Json& row, const std::string& row_name) {
          if (row_name == name) found = number(row, "roofline_share");
        });
        return found;
      };
      const double plain = share("plain"), native = share("native");
      if (plain > 0 && native > 0) ratios.push_back(native / plain);
    }
    return median(std::move(ratios));
  }

  void operator_table(std::ostream& out) const {
    out << "## The operator\n\nTimes in ns a pair, native build; general Q, K, V unless `identity`. Share: "
           "roofline "
           "over time. Blocked, naive: Eigen's time over ours. Target: the share that a fused kernel is "
           "known to "
           "reach (AVX-512). Plain / native: our time in a build without -march over that with it, from "
           "their shares.\n\n"
           "| scalar | n | d | threads | ns | roofline | share | target | vs blocked | vs naive | plain / "
           "native |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|\n";
    for_rows("attend_bench_native", "attend", [&](const Json& row, const std::string& name) {
      const bool identity = name.starts_with("attend_identity/");
      const std::size_t at = name.find('/') + 1;
      const std::string scalar = name.substr(at, name.find('/', at) - at);
      const auto n = static_cast<long>(number(row, "n")), d = static_cast<long>(number(row, "d"));
      const auto threads = static_cast<long>(number(row, "threads"));
      out << "| " << scalar << (identity ? ", identity" : "") << " | " << n << " | " << d << " | " << threads
          << " | " << text(number(row, "ns_per_pair")) << " | " << text(number(row, "roofline_ns_per_pair"))
          << " | " << percent(number(row, "roofline_share")) << " | "
          << percent(identity || threads > 1 ? 0 : target(scalar, n, d)) << " | "
          << text(number(row, "vs_blocked"), "×") << " | " << text(number(row, "vs_naive"), "×") << " | "
          << text(plain_over_native(name)) << " |\n";
    });
    if (operator_run().at("context").value("threads_can_be_set", "no") == "no")
      out << "\nTwo threads: not measured, the library has no `set_threads`.\n";
    out << '\n';
  }

  void peers(std::ostream& out) const {
    out << "## Peers\n\n";
    if (!programs_.contains("peers")) {
      out << "NumPy: not installed.\n\n";
      return;
    }
    out << "After the operator, not in turns with it: ratios are good to a third. Versions:";
    for (const auto& [key, value] : programs_.at("peers").at("context").items())
      out << ' ' << key << ' ' << value.get<std::string>() << ';';
    out << " one thread.\n\n| peer | scalar | n | d | ns a pair | over ours |\n|---|---|---|---|---|---|\n";
    std::map<std::string, double> ours;
    for_rows("attend_bench_native", "attend/",
             [&](const Json& row, const std::string& name) { ours[name] = number(row, "ns_per_pair"); });
    for_rows("peers", "peer/", [&](const Json& row, const std::string&) {
      const std::string scalar = row.at("scalar");
      const auto n = static_cast<long>(number(row, "n")), d = static_cast<long>(number(row, "d"));
      const auto own = ours.find("attend/" + scalar + "/n:" + std::to_string(n) + "/d:" + std::to_string(d) +
                                 "/threads:1");
      const double ns = number(row, "ns_per_pair");
      out << "| " << row.at("peer").get<std::string>() << " | " << scalar << " | " << n << " | " << d << " | "
          << text(ns) << " | " << (own == ours.end() ? "–" : text(ns / own->second, "×")) << " |\n";
    });
    out << '\n';
  }

  void laws(std::ostream& out) const {
    out << "## Laws, masks, biases\n\nNs for each pair that the mask leaves, and that over a pair of softmax "
           "without "
           "mask, timed in turns. Plain build.\n\n"
           "| row | ns | share | over softmax |\n|---|---|---|---|\n";
    for_rows("laws_bench", "", [&](const Json& row, const std::string& name) {
      out << "| " << name << " | " << text(number(row, "ns_per_pair")) << " | "
          << percent(number(row, "roofline_share")) << " | " << text(number(row, "pair_vs_softmax_pair"), "×")
          << " |\n";
    });
    out << '\n';
  }

  void integrators(std::ostream& out) const {
    out << "## Steps\n\nOverhead: what a step takes beyond its evaluations, as a share of them. Plain "
           "build.\n\n"
           "| row | µs a step | evaluations | overhead |\n|---|---|---|---|\n";
    for_rows("integrators_bench", "", [&](const Json& row, const std::string& name) {
      out << "| " << name << " | " << text(number(row, "real_time")) << " | "
          << text(number(row, "evaluations_per_step")) << " | " << percent(number(row, "overhead")) << " |\n";
    });
    out << '\n';
  }

  /// Programs without a table of their own; their rows are timed in microseconds.
  void others(std::ostream& out) const {
    for (const auto& [program, json] : programs_) {
      if (!program.ends_with("_bench") || program == "laws_bench" || program == "integrators_bench") continue;
      out << "## " << program << "\n\n| row | µs | million items a second |\n|---|---|---|\n";
      for_rows(program, "", [&](const Json& row, const std::string& name) {
        out << "| " << name << " | " << text(number(row, "real_time")) << " | "
            << text(number(row, "items_per_second") / 1e6) << " |\n";
      });
      out << '\n';
    }
  }

  void memory(std::ostream& out) const {
    std::ifstream in(folder_ / "drift_memory.txt");
    if (!in) return;
    out << "## Memory\n\nOne drift of RescaledDynamics, plain build: ";
    for (std::string line; std::getline(in, line);) out << line << '\n';
    out << '\n';
  }

  fs::path folder_;
  std::map<std::string, Json> programs_;
  std::vector<std::string> errors_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: write_report FOLDER\n";
    return 2;
  }
  try {
    Report report(argv[1]);
    report.write();
    for (const auto& error : report.errors()) std::cerr << "write_report: " << error << '\n';
    return report.errors().empty() ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception& error) {
    std::cerr << "write_report: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
