// What a user waits for: compiles every public header alone, and a few programs, one after the other.
//
//     compile_times [--only=TEXT] FOLDER SOURCE COMPILER OPTION...
//
// SOURCE is the root of this repository, FOLDER takes what is written: a table to the standard output and to
// compile_times.md, the same in Google Benchmark's form to compile_times.json. --only leaves out rows without TEXT.
// Seconds are those of the processor in user mode, of the compiler and all that it starts: neighbours on the machine
// lengthen them little. A missed budget is shown and fails nothing; what does not compile makes the exit status 1.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// What is compiled, and what it may take; 0 is no budget.
struct Row {
  std::string name;
  fs::path file;
  double seconds_allowed = 0, megabytes_allowed = 0;
};

struct Cost {
  bool compiled = false;
  double seconds = 0, wall = 0, megabytes = 0;
};

/// Runs a command to its end: what it took with all that it started.
Cost run(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("no process could be started");
  if (child == 0) {
    execvp(arguments[0], arguments.data());
    std::perror(arguments[0]);
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  if (wait4(child, &status, 0, &usage) != child) throw std::runtime_error("a process was lost");
  Cost cost;
  cost.compiled = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  cost.seconds =
      static_cast<double>(usage.ru_utime.tv_sec) + 1e-6 * static_cast<double>(usage.ru_utime.tv_usec);
  cost.wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
#if defined(__APPLE__)
  cost.megabytes = static_cast<double>(usage.ru_maxrss) / (1024 * 1024);  // there in bytes
#else
  cost.megabytes = static_cast<double>(usage.ru_maxrss) / 1024;
#endif
  return cost;
}

/// What a preprocessed file holds.
struct Text {
  long lines = 0;                   ///< that are not empty
  bool has_decompositions = false;  ///< eigenvalues, which no light header needs
};

Text read_preprocessed(const fs::path& path) {
  Text text;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#'))
      text.has_decompositions =
          text.has_decompositions || line.find("numerics/decompositions.hpp") != line.npos;
    else if (line.find_first_not_of(" \t") != line.npos)
      ++text.lines;
  }
  return text;
}

/// All public headers of the library: those of detail/ and the kernels nobody includes.
std::vector<std::string> public_headers(const fs::path& include) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(include / "attnflow")) {
    const std::string name = fs::relative(entry.path(), include).generic_string();
    if (entry.path().extension() == ".hpp" && name.find("/detail/") == name.npos &&
        name.find("/kernels/") == name.npos)
      names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

std::string fixed(double value, int digits) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

/// A budget and whether it is met, as a cell of the table.
std::string budget(double spent, double allowed, int digits) {
  if (allowed == 0) return "–";
  return "≤ " + fixed(allowed, digits) + (spent <= allowed ? ", met" : ", **not met**");
}

class Report {
 public:
  explicit Report(const fs::path& folder) : table_(folder / "compile_times.md") {
    print("| | seconds | budget | peak MB | budget | lines |\n|---|--:|---|--:|---|--:|\n");
  }

  void add(const Row& row, const Cost& cost, long lines) {
    print("| " + row.name + " | " + (cost.compiled ? fixed(cost.seconds, 1) : "does not compile") + " | " +
          budget(cost.seconds, row.seconds_allowed, 0) + " | " + fixed(cost.megabytes, 0) + " | " +
          budget(cost.megabytes, row.megabytes_allowed, 0) + " | " + std::to_string(lines) + " |\n");
    std::ostringstream entry;
    entry << "    {\"name\": \"compile/" << row.name << "\", \"run_name\": \"compile/" << row.name
          << "\", \"run_type\": \"iteration\", \"repetitions\": 1, \"repetition_index\": 0, \"threads\": 1, "
          << "\"iterations\": 1, \"real_time\": " << cost.wall * 1e3
          << ", \"cpu_time\": " << cost.seconds * 1e3
          << ", \"time_unit\": \"ms\", \"peak_megabytes\": " << cost.megabytes << ", \"lines\": " << lines;
    if (row.seconds_allowed > 0) entry << ", \"budget_seconds\": " << row.seconds_allowed;
    if (row.megabytes_allowed > 0) entry << ", \"budget_megabytes\": " << row.megabytes_allowed;
    if (!cost.compiled) entry << R"(, "error_occurred": true, "error_message": "does not compile")";
    entries_.push_back(entry.str() + "}");
  }

  void write_json(const fs::path& path, const std::vector<std::string>& command) const {
    const std::time_t now = std::time(nullptr);
    std::string line;
    for (const std::string& part : command) line += (line.empty() ? "" : " ") + part;
    std::ofstream out(path);
    out << "{\n  \"context\": {\"date\": \"" << std::put_time(std::localtime(&now), "%FT%T%z")
        << "\", \"executable\": \"compile_times\", \"num_cpus\": " << std::thread::hardware_concurrency()
        << ", \"compiler\": " << std::quoted(line) << "},\n  \"benchmarks\": [\n";
    for (std::size_t k = 0; k < entries_.size(); ++k) out << (k > 0 ? ",\n" : "") << entries_[k];
    out << "\n  ]\n}\n";
    if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
  }

 private:
  void print(const std::string& text) {
    std::cout << text << std::flush;
    table_ << text << std::flush;
  }

  std::ofstream table_;
  std::vector<std::string> entries_;
};

int measure(const fs::path& folder, const fs::path& source, const std::string& only,
            const std::vector<std::string>& command) {
  fs::create_directories(folder / "headers");
  std::vector<Row> rows{
      {"first program", source / "examples/tutorial/first_program.cpp", 8},
      {"trajectory", source / "bench/compile_times/trajectory.cpp", 8},
      {"analyze", source / "bench/compile_times/analyze.cpp", 25, 1200},
      {"analyze and page", source / "bench/compile_times/analyze_and_page.cpp"},
      {"everything", source / "bench/compile_times/everything.cpp"},
  };
  const std::size_t programs = rows.size();
  for (const std::string& name : public_headers(source / "include")) {
    std::string flat = name + ".cpp";
    std::ranges::replace(flat, '/', '-');
    rows.push_back({name, folder / "headers" / flat});
    std::ofstream(rows.back().file) << "#include <" << name << ">\n";
  }
  Report report(folder);
  bool all_compiled = true;
  for (std::size_t k = 0; k < rows.size(); ++k) {
    Row& row = rows[k];
    if (row.name.find(only) == row.name.npos) continue;
    const auto with = [&](const char* what, const fs::path& output) {
      std::vector<std::string> whole = command;
      whole.insert(whole.end(), {what, row.file.string(), "-o", output.string()});
      return run(whole);
    };
    const fs::path preprocessed = folder / "preprocessed.ii";
    (void)with("-E", preprocessed);
    const Text text = read_preprocessed(preprocessed);
    if (k >= programs && !text.has_decompositions) row.seconds_allowed = 6;
    const Cost cost = with("-c", folder / "object.o");
    all_compiled = all_compiled && cost.compiled;
    report.add(row, cost, text.lines);
  }
  report.write_json(folder / "compile_times.json", command);
  return all_compiled ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  std::string only;
  if (!arguments.empty() && arguments[0].starts_with("--only=")) {
    only = arguments[0].substr(std::string_view("--only=").size());
    arguments.erase(arguments.begin());
  }
  if (arguments.size() < 3) {
    std::cerr << "usage: compile_times [--only=TEXT] FOLDER SOURCE COMPILER OPTION...\n";
    return 2;
  }
  try {
    setenv("CCACHE_DISABLE", "1", 1);  // a compiler cache would be measured instead
    return measure(arguments[0], arguments[1], only, {arguments.begin() + 2, arguments.end()});
  } catch (const std::exception& error) {
    std::cerr << "compile_times: " << error.what() << '\n';
    return 1;
  }
}
