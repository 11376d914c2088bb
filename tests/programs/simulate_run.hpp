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
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ATTNFLOW_TEST_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ATTNFLOW_TEST_SANITIZED
#endif
#endif

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

/// A program that runs beside the test; it is ended with the test, at the latest. Signals find it as a terminal's
/// would, whatever the test itself ignores.
class Started {
 public:
  Started(const std::string& program, const Arguments& arguments) {
    const std::string out = captured_ / "out", err = captured_ / "err";
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
    posix_spawnattr_t attributes;
    REQUIRE(posix_spawnattr_init(&attributes) == 0);
    sigset_t usual;
    sigemptyset(&usual);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGTERM);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    const int failure = posix_spawn(&child_, program.c_str(), &files, &attributes, argv.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    REQUIRE(failure == 0);
  }
  ~Started() {
    if (ended_) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

  [[nodiscard]] bool has_ended() {
    if (!ended_) ended_ = waitpid(child_, &status_, WNOHANG) == child_;
    return ended_;
  }
  void send(int signal) {
    if (!has_ended()) kill(child_, signal);
  }
  /// What it said, once it has ended.
  [[nodiscard]] Said wait() {
    if (!ended_) REQUIRE(waitpid(child_, &status_, 0) == child_);
    ended_ = true;
    return {WIFEXITED(status_) ? WEXITSTATUS(status_) : -1, read(captured_ / "out"), read(captured_ / "err")};
  }

 private:
  RunFolder captured_;
  pid_t child_ = 0;
  int status_ = 0;
  bool ended_ = false;
};

inline Said run_program(const std::string& program, const Arguments& arguments) {
  return Started(program, arguments).wait();
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

/// A command line that simulate must refuse.
struct Refusal {
  Arguments arguments;             // all but --out
  std::vector<std::string> words;  // the option or file, the value, what was expected
};

/// Status 2, one line on stderr with these words, nothing on stdout, and nothing written.
inline void check_refusal(const RunFolder& folder, const Refusal& refusal, const std::string& out) {
  const auto before = names_in(folder.path);
  Arguments arguments = refusal.arguments;
  if (!out.empty()) arguments.insert(arguments.end(), {"--out", out});
  const Said said = simulate(arguments);
  INFO(text_of(arguments) << "\n" << said.err);
  CHECK(said.status == 2);
  CHECK(said.out.empty());
  CHECK(is_one_line(said.err));
  CHECK(said.err.rfind("simulate: ", 0) == 0);
  for (const auto& word : refusal.words) CHECK_THAT(said.err, Catch::Matchers::ContainsSubstring(word));
  CHECK(names_in(folder.path) == before);
}

inline void check_refusals(const RunFolder& folder, const std::vector<Refusal>& refusals) {
  for (const auto& refusal : refusals) check_refusal(folder, refusal, folder / "out");
}

inline Arguments operator+(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// A variable of the environment, or none where `value` is null, for the programs that are run while this lives.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    if (value != nullptr)
      ::setenv(name, value, 1);
    else
      ::unsetenv(name);
  }
  ~Environment() {
    if (before_)
      ::setenv(name_, before_->c_str(), 1);
    else
      ::unsetenv(name_);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

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
