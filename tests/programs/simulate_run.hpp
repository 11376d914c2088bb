// Runs the program simulate as its users do: a command line, then what it printed and the files it left.
#pragma once

#include <attnflow/io/npy.hpp>

#include "catch.hpp"
#include "folder.hpp"

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

extern char** environ;

namespace simulate_test {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

/// A folder whose files are named by strings, as command lines want them.
struct RunFolder : Folder {
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path / name).string(); }
};

inline std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

inline std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write(const fs::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  REQUIRE(out.flush());
}

/// What a program said. `status` is −1 if a signal ended it.
struct Said {
  int status = -1;
  std::string out, err;
};

inline Said run_program(const std::string& program, const Arguments& arguments) {
  const Folder captured;
  const std::string out = captured / "out", err = captured / "err";
  Arguments words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  REQUIRE(posix_spawn_file_actions_init(&files) == 0);
  const int create = O_WRONLY | O_CREAT | O_TRUNC;
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), create, 0600);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err.c_str(), create, 0600);
  pid_t child = 0;
  const int failure = posix_spawn(&child, program.c_str(), &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  REQUIRE(failure == 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read(out), read(err)};
}

inline Said simulate(const Arguments& arguments) { return run_program(ATTNFLOW_SIMULATE, arguments); }

/// The arguments, one after the other, for INFO.
inline std::string text_of(const Arguments& arguments) {
  std::string text = "simulate";
  for (const auto& argument : arguments) text += " " + (argument.empty() ? "''" : argument);
  return text;
}

inline bool is_one_line(const std::string& text) {
  return text.size() > 1 && text.find('\n') == text.size() - 1;
}

/// Runs to the folder `out`, which must go well, and without a word on stderr.
inline Said run(Arguments arguments, const std::string& out) {
  arguments.insert(arguments.end(), {"--out", out});
  const Said said = simulate(arguments);
  INFO(text_of(arguments) << "\n" << said.err);
  REQUIRE(said.status == 0);
  REQUIRE(said.err.empty());
  return said;
}

/// Runs to the folder `out`; the numerics must end early, with one line that says how.
inline Said run_ends_early(Arguments arguments, const std::string& out, const std::string& outcome) {
  arguments.insert(arguments.end(), {"--out", out});
  const Said said = simulate(arguments);
  INFO(text_of(arguments) << "\n" << said.err);
  REQUIRE(said.status == 3);
  CHECK(is_one_line(said.err));
  CHECK(said.err.rfind("simulate: ended early", 0) == 0);
  CHECK_THAT(said.err, Catch::Matchers::ContainsSubstring(outcome));
  return said;
}

inline nlohmann::json report(const fs::path& out) { return nlohmann::json::parse(read(out / "report.json")); }

/// An array with its indices: values(k, i, c) of tokens.npy is coordinate c of token i at time k.
struct Values : attnflow::NpyArray {
  explicit Values(const fs::path& path) : attnflow::NpyArray(attnflow::load_npy(path)) {}
  template <class... Indices>
  double operator()(Indices... indices) const {
    std::size_t place = 0, axis = 0;
    ((place = place * static_cast<std::size_t>(shape[axis++]) + static_cast<std::size_t>(indices)), ...);
    return values[place];
  }
};
using Shape = std::vector<Eigen::Index>;

/// Writes an .npy file of doubles.
inline std::string put(const std::string& path, const Shape& shape, const std::vector<double>& values) {
  attnflow::save_npy<double>(path, std::span<const Eigen::Index>(shape), std::span<const double>(values));
  return path;
}

}  // namespace simulate_test
