// The files of simulate: data are never lost to what is derived from them, a folder never holds files of two runs, two
// runs never write to one place, and what cannot be said or stored is an error.
#include "programs/simulate_run.hpp"

#include <attnflow/io/checkpoint.hpp>
#include <attnflow/version.hpp>

#ifdef __linux__
#include <sys/ptrace.h>
#include <sys/syscall.h>
#endif
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace simulate_test;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;

const Arguments small_run{"--uniform-box", "6,2,-2,2", "--t-end", "1", "--quiet"};
const Arguments endless_run{"--uniform-box", "6,2,-2,2", "--t-end", "1e9", "--quiet"};

Said shell(const std::string& line) { return run_program("/bin/sh", {"-c", line}); }

std::string problems_of(const fs::path& out) {
  std::string all;
  const json r = report(out);
  for (const auto& problem : r.at("problems")) all += problem.get<std::string>() + "\n";
  return all;
}

void wait_for(Started& program, const std::function<bool()>& holds) {
  while (!program.has_ended() && !holds()) std::this_thread::sleep_for(std::chrono::microseconds(200));
}

/// The finished runs with seeds 1 and 2, to compare with.
struct TwoRuns {
  explicit TwoRuns(const RunFolder& folder) {
    for (const char* seed : {"1", "2"})
      run(small_run + Arguments{"--seed", seed}, whole.emplace_back(folder / ("whole" + std::string(seed))));
  }
  /// The file is whole, and that of one of the runs.
  [[nodiscard]] bool has(const fs::path& file) const {
    const std::string bytes = read(file);
    for (const fs::path out : whole)
      if (bytes == read(out / file.filename())) return true;
    return false;
  }
  /// All files of the folder are of the run that its report is of; the page may be missing.
  void check_one_run(const fs::path& out) const {
    const auto seed = report(out).at("options").at("seed").get<std::size_t>();
    for (const char* name : {"times.npy", "tokens.npy", "view.html"}) {
      INFO(name << " of seed " << seed);
      if (std::string(name) == "view.html" && !fs::exists(out / name)) continue;
      CHECK((read(out / name) == read(fs::path(whole.at(seed - 1)) / name)));
    }
  }
  std::vector<std::string> whole;
};

}  // namespace

TEST_CASE("what fails after a run costs no data, and is said", "[simulate]") {
  const RunFolder folder;
  const auto check = [&](const std::string& out, const std::string& command, const std::string& problem) {
    const Said said = shell(command);
    INFO(command << "\n" << said.err);
    CHECK(said.status == 3);
    CHECK_THAT(said.err, ContainsSubstring(problem));
    CHECK_THAT(problems_of(out), ContainsSubstring(problem));
    CHECK(report(out).at("outcome") == "reached_end");
    CHECK(report(out).at("found").is_null());
    CHECK(names_in(out) == std::set<std::string>{"report.json", "times.npy", "tokens.npy", "view.html"});
    CHECK(Values(out + "/tokens.npy").shape[0] == Values(out + "/times.npy").shape[0]);
  };
  const std::string start = ATTNFLOW_SIMULATE " --quiet --out ";
  const std::string huge = folder / "huge";
  check(huge, start + huge + " --uniform-box 6,2,-2,2 --t-end 1 --beta 1e308", "analysis: ");
#ifndef ATTNFLOW_TEST_SANITIZED  // sanitizers take all addresses there are
  const std::string many = folder / "many";
  check(many, "ulimit -v 110000; " + start + many + " --gaussian 2000,3 --t-end 0 --threads 1",
        "analysis: not enough memory");
#endif
}

TEST_CASE("names of files that are not UTF-8 are written, and said as well as JSON can", "[simulate]") {
  const RunFolder folder;
  const std::string out = folder / "out\xff", x = put(folder / "x\xfe.npy", {2, 1}, {0, 1});
  run({"--tokens", x, "--t-end", "1", "--quiet"}, out);
  CHECK_THAT(report(out).at("options").at("out").get<std::string>(), ContainsSubstring("out\uFFFD"));
  CHECK(read(out + "/view.html").find('\xfe') == std::string::npos);
  // Such a run goes on as any other.
  const std::string file = folder / "c";
  Started program(ATTNFLOW_SIMULATE, {"--tokens", x, "--t-end", "1e9", "--out", folder / "s\xff",
                                      "--checkpoint", file, "--checkpoint-every", "0", "--quiet"});
  wait_for(program, [&] { return fs::exists(file); });
  program.send(SIGTERM);
  REQUIRE(program.wait().status == 3);
  Started again(ATTNFLOW_SIMULATE, {"--resume", file, "--quiet"});
  wait_for(again, [&] { return fs::exists(folder / "s\xff/.attnflow-lock"); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  again.send(SIGTERM);
  const Said said = again.wait();
  INFO(said.err);
  CHECK((said.status == 3 || said.status == -1));  // and not 2: the folder is known as its own
}

TEST_CASE("a signal during the analysis ends it, and the report says that it is missing", "[simulate]") {
  const RunFolder folder;
  const std::string out = folder / "out", file = folder / "c";
  for (const int signal : {SIGTERM, SIGINT}) {
    Started program(ATTNFLOW_SIMULATE,
                    {"--gaussian", "2000,60", "--system", "layers", "--dt", "1e-3", "--t-end", "1e-3",
                     "--out", out, "--checkpoint", file, "--save-every", "1e-3"});
    wait_for(program, [&] { return fs::exists(out + "/report.json"); });
    const auto began = std::chrono::steady_clock::now();
    program.send(signal);
    const Said said = program.wait();
    INFO(said.err);
    CHECK(said.status == 3);
    CHECK(is_one_line(said.err));
    CHECK_THAT(said.err, ContainsSubstring("a signal ended the analysis") &&
                             ContainsSubstring("; to go on: --resume " + file));
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(1));
    CHECK(report(out).at("found").is_null());
    CHECK_THAT(problems_of(out), ContainsSubstring("analysis: not made: the program was ended before\n") &&
                                     ContainsSubstring("view.html: not made"));
    CHECK(names_in(out) == std::set<std::string>{"report.json", "times.npy", "tokens.npy"});
    CHECK(names_in(folder.path) == std::set<std::string>{"out", "c"});
    fs::remove_all(out);
    fs::remove(file);
  }
}

TEST_CASE("weights that are infinite are counted, and the report says so", "[simulate]") {
  const RunFolder folder;
  // e^{40²}/2 is beyond the range of double; the row at t = 0 is saved before the run ends there.
  const std::string x = put(folder / "x.npy", {2, 1}, {40, 1}), out = folder / "out";
  const Said said = simulate({"--tokens", x, "--system", "tokens", "--law", "unnormalized", "--t-end", "1",
                              "--attention", "--out", out, "--quiet"});
  INFO(said.err);
  CHECK(said.status == 3);
  CHECK_THAT(said.err, ContainsSubstring("weights beyond the range of double, which are not finite: 1"));
  CHECK(report(out).at("outcome") == "non_finite");
  CHECK_THAT(problems_of(out), ContainsSubstring("attention.npy: weights beyond the range of double"));
  std::size_t strange = 0;
  for (const double weight : Values(out + "/attention.npy").values)
    strange += std::isfinite(weight) ? 0U : 1U;
  CHECK(strange == 1);
}

TEST_CASE("the report says how many digits the saved tokens keep, and how balanced Sinkhorn's weights are",
          "[simulate]") {
  const RunFolder folder;
  // V = R diag(1, −0.9) Rᵀ: z grows like e^{0.9 t} along the second eigenvector and rests along the first one, of which
  // 16 − log₁₀ e^{36} = 0.4 digits are left at t = 40.
  const double c = std::cos(0.6), s = std::sin(0.6);
  const std::string V =
      put(folder / "V.npy", {2, 2}, {c * c - 0.9 * s * s, 1.9 * c * s, 1.9 * c * s, s * s - 0.9 * c * c});
  const Said said =
      simulate({"--uniform-box", "20,2,-1,1", "--value", V, "--t-end", "40", "--out", folder / "long"});
  INFO(said.err);
  CHECK(said.status == 0);
  CHECK_THAT(said.err, ContainsSubstring("tokens.npy holds only 0.") && ContainsSubstring("at t = 40"));
  CHECK(report(folder / "long").at("saved_digits").get<double>() == Approx(0.4).margin(0.5));
  run({"--uniform-box", "20,2,-1,1", "--value", V, "--t-end", "4"}, folder / "short");
  CHECK(report(folder / "short").at("saved_digits").get<double>() == Approx(14).margin(1));
  run(small_run, folder / "identity");
  CHECK(report(folder / "identity").at("saved_digits").is_null());
  CHECK(report(folder / "identity").at("marginal_error").is_null());
  for (const std::string system : {"rescaled", "tokens"}) {
    run({"--uniform-box", "6,2,-1,1", "--law", "sinkhorn", "--t-end", "0.5", "--system", system,
         "--attention"},
        folder / system);
    const double error = report(folder / system).at("marginal_error");
    const Values P(folder / (system + "/attention.npy"));
    double largest = 0;
    for (Eigen::Index k = 0; k < P.shape[0]; ++k)
      for (Eigen::Index j = 0; j < 6; ++j) {
        double sum = -1;
        for (Eigen::Index i = 0; i < 6; ++i) sum += P(k, i, j);
        largest = std::max(largest, std::abs(sum));
      }
    CHECK(error > 0);
    CHECK(error <= 1e-12);
    CHECK(error == Approx(largest).margin(2e-14));
  }
}

// --- Two runs, one place ------------------------------------------------------------------------------------

TEST_CASE("of two runs into one folder at once one is refused, and the files are of the other",
          "[simulate]") {
  const RunFolder folder;
  const TwoRuns runs(folder);
  for (int pair = 0; pair < 30; ++pair) {
    const std::string out = folder / "out";
    const bool force = pair % 3 == 2;
    std::vector<std::unique_ptr<Started>> programs;
    for (const char* seed : {"1", "2"})
      programs.push_back(
          std::make_unique<Started>(ATTNFLOW_SIMULATE, small_run + Arguments{"--seed", seed, "--out", out} +
                                                           (force ? Arguments{"--force"} : Arguments{})));
    int good = 0;
    for (const auto& program : programs) {
      const Said said = program->wait();
      INFO(said.err);
      good += said.status == 0 ? 1 : 0;
      if (said.status == 0) continue;
      CHECK(said.status == 2);
      CHECK(is_one_line(said.err));
      CHECK((said.err.find("out is in use by simulate, process ") != std::string::npos ||
             (!force && said.err.find("of another run") != std::string::npos)));
    }
    CHECK((good == 1 || (force && good == 2)));
    CHECK(problems_of(out).empty());
    runs.check_one_run(out);
    CHECK(names_in(out).size() == 4);
    fs::remove_all(out);
  }
}

TEST_CASE("a folder and a checkpoint are locked by the run that writes to them, and free when it is killed",
          "[simulate]") {
  const RunFolder folder;
  const std::string file = folder / "c", out = folder / "out";
  auto program = std::make_unique<Started>(
      ATTNFLOW_SIMULATE,
      endless_run + Arguments{"--checkpoint", file, "--checkpoint-every", "0", "--out", out});
  wait_for(*program, [&] { return fs::exists(file) && attnflow::load_checkpoint(file).steps > 1; });
  const auto in_use = [&](const Arguments& arguments, const std::string& what) {
    const Said said = simulate(arguments);
    INFO(text_of(arguments) << "\n" << said.err);
    CHECK(said.status == 2);
    CHECK(is_one_line(said.err));
    CHECK_THAT(said.err, ContainsSubstring(what + " is in use by simulate, process ") &&
                             ContainsSubstring(" UTC, expected one that no other run writes to"));
  };
  in_use(small_run + Arguments{"--out", out, "--force"}, "--out: " + out);
  in_use(small_run + Arguments{"--out", folder / "other", "--checkpoint", file, "--force"},
         "--checkpoint: " + file);
  CHECK_FALSE(fs::exists(folder / "other"));
  in_use({"--resume", file}, "--resume: " + file);
  in_use({"--resume", file, "--checkpoint", folder / "second"}, "--out: " + out);
  fs::create_symlink("c", folder.path / "link");
  in_use(small_run + Arguments{"--out", folder / "other", "--checkpoint", folder / "link", "--force"},
         "--checkpoint: " + (folder / "link"));
  program->send(SIGKILL);
  static_cast<void>(program->wait());
  CHECK(fs::exists(out + "/.attnflow-lock"));
  write(out + "/.attnflow-0badc0de-1.tmp", "of somebody else");
  Started again(ATTNFLOW_SIMULATE, {"--resume", file, "--quiet"});
  wait_for(again, [&] { return names_in(out).size() >= 4; });
  again.send(SIGTERM);
  const Said said = again.wait();
  INFO(said.err);
  CHECK((said.status == 3 || said.status == -1));
  if (said.status == -1) return;
  CHECK(names_in(out) == std::set<std::string>{".attnflow-0badc0de-1.tmp", "report.json", "times.npy",
                                               "tokens.npy", "view.html"});
  CHECK(names_in(folder.path) == std::set<std::string>{"c", "link", "out"});
}

TEST_CASE("a resumed run replaces no file that it did not write", "[simulate][refusal]") {
  const RunFolder folder;
  const std::string file = folder / "c", out = folder / "out";
  Started program(ATTNFLOW_SIMULATE,
                  endless_run + Arguments{"--checkpoint", file, "--checkpoint-every", "0", "--out", out});
  wait_for(program, [&] { return fs::exists(file); });
  program.send(SIGKILL);
  static_cast<void>(program.wait());
  fs::remove_all(out);
  fs::create_directories(out);
  write(out + "/tokens.npy", "precious");
  CHECK(simulate({"--resume", file}).status == 2);
  CHECK(names_in(folder.path) == std::set<std::string>{"c", "out"});  // what the killed run left is gone
  for (const char* name : {"tokens.npy", "view.html"}) {
    write(out + "/" + name, "precious");
    check_refusal(
        folder, {{"--resume", file}, {"out holds " + std::string(name) + " of another run", "--force"}}, "");
    CHECK(read(out + "/" + name) == "precious");
    CHECK(names_in(out).size() == 1);  // and no lock that would claim it
    write(out + "/.attnflow-lock",
          "simulate, process 1\nrun 0123456789abcdef\n");  // as of another run, killed
    CHECK(simulate({"--resume", file}).status == 2);
    CHECK_THAT(read(out + "/.attnflow-lock"), ContainsSubstring("run 0123456789abcdef"));  // still its own
    fs::remove(out + "/.attnflow-lock");
    fs::remove(out + "/" + name);
  }
  REQUIRE(mkfifo((out + "/report.json").c_str(), 0600) == 0);
  check_refusal(folder, {{"--resume", file}, {"--out: " + out + "/report.json cannot be read"}}, "");
  fs::remove(out + "/report.json");
  const std::string version = R"({"version": ")" + std::string(attnflow::version) + "\"";
  const std::vector<std::pair<std::string, std::string>> reports{
      {"", " is not JSON, expected an object"},
      {"{\"version", " is not JSON, expected an object"},
      {"[1]", " is an array, expected an object"},
      {"17", " is a number, expected an object"},
      {"null", " is null, expected an object"},
      {"{}", ": version is missing"},
      {R"({"version": 1})", ": version is a number, expected a string"},
      {version + "}", ": options is missing"},
      {version + R"(, "options": []})", ": options is an array, expected an object"},
  };
  for (const auto& [contents, complaint] : reports) {
    write(out + "/report.json", contents);
    check_refusal(folder, {{"--resume", file}, {"--out: " + out + "/report.json" + complaint, "--force"}},
                  "");
    CHECK(read(out + "/report.json") == contents);
  }
  for (const std::string options : {R"({})", R"({"seed": []})"}) {
    write(out + "/report.json", version + ", \"options\": " + options + "}");
    check_refusal(folder, {{"--resume", file}, {"out holds report.json of another run", "--force"}}, "");
  }
}

#if defined(__linux__) && defined(PTRACE_GET_SYSCALL_INFO)
namespace {

/// Runs simulate up to its k-th system call that removes or renames a file, and kills it before that.
/// \returns whether there were so many.
bool killed_before_change(const Arguments& arguments, int k) {
  Arguments words{ATTNFLOW_SIMULATE};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE);
  long pass_on = 0;
  pid_t thread = child;
  for (int seen = 0;;) {
    ptrace(PTRACE_SYSCALL, thread, nullptr, pass_on);
    pass_on = 0;
    thread = waitpid(-1, &status, __WALL);
    if (thread < 0 || (thread == child && !WIFSTOPPED(status))) return false;
    if (!WIFSTOPPED(status)) continue;  // the end of a thread
    const int signal = WSTOPSIG(status);
    if (signal != (SIGTRAP | 0x80)) {
      if (signal != SIGTRAP && signal != SIGSTOP) pass_on = signal;  // those are the tracer's own
      continue;
    }
    __ptrace_syscall_info info{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY)
      continue;
    bool change =
        info.entry.nr == SYS_renameat || info.entry.nr == SYS_renameat2 || info.entry.nr == SYS_unlinkat;
#ifdef SYS_rename
    change = change || info.entry.nr == SYS_rename || info.entry.nr == SYS_unlink;
#endif
    if (!change || ++seen < k) continue;
    kill(child, SIGKILL);
    while (waitpid(-1, &status, __WALL) != child) {
    }
    return true;
  }
}

}  // namespace

TEST_CASE("killed between any two changes of names, a folder holds files of one run or no report",
          "[simulate]") {
  const RunFolder folder;
  const TwoRuns runs(folder);
  const std::string out = folder / "out", file = folder / "c";
  const Arguments first = small_run + Arguments{"--seed", "1", "--out", out},
                  second = small_run + Arguments{"--seed", "2", "--out", out, "--force"};
  int k = 1, without_report = 0;
  for (bool killed = true; killed; ++k) {
    INFO("killed before change " << k);
    fs::remove_all(out);
    REQUIRE(simulate(first).status == 0);
    killed = killed_before_change(second, k);
    if (fs::exists(out + "/report.json")) {
      runs.check_one_run(out);
    } else {
      ++without_report;
      for (const char* name : {"times.npy", "tokens.npy", "view.html"})
        if (fs::exists(out + "/" + name)) CHECK(runs.has(out + "/" + name));
    }
    REQUIRE(simulate(second).status == 0);
    runs.check_one_run(out);
    CHECK(names_in(out).size() == 4);
  }
  if (k == 2) {
    WARN("skipped: programs cannot be traced here");
    return;
  }
  CHECK(k > 11);  // five removals, two files of data, three reports, the page, the lock
  CHECK(without_report >= 4);

  // With a checkpoint the run goes on wherever it was killed, and nothing is left behind.
  int resumed = 0;
  k = 1;
  for (bool killed = true; killed; ++k) {
    INFO("killed before change " << k);
    fs::remove_all(out);
    fs::remove(file);
    killed = killed_before_change(small_run + Arguments{"--seed", "1", "--out", out, "--checkpoint", file,
                                                        "--checkpoint-every", "0.003"},
                                  k);
    if (!fs::exists(file)) continue;
    const Said said = simulate({"--resume", file, "--quiet"});
    INFO(said.err);
    REQUIRE(said.status == 0);
    ++resumed;
    runs.check_one_run(out);
    CHECK(names_in(out).size() == 4);
    CHECK(names_in(folder.path) == std::set<std::string>{"out", "whole1", "whole2"});
  }
  CHECK(resumed > 10);
}
#endif

// --- Smaller mistakes ---------------------------------------------------------------------------------------

TEST_CASE("places and values that cannot be meant are refused", "[simulate][refusal]") {
  const RunFolder folder;
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  const std::string name(300, 'x');
  check_refusals(
      folder,
      {{small_run + Arguments{"--checkpoint", folder / "pipe"}, {"pipe exists and is not a checkpoint"}},
       {{"--resume", folder / "pipe"}, {"pipe: cannot be read: not a regular file"}},
       {small_run + Arguments{"--checkpoint", folder / name}, {"--checkpoint: ", "File name too long"}},
       {small_run + Arguments{"--checkpoint", folder / ("out/" + name)},
        {"--checkpoint: ", "File name too long"}},
       {small_run + Arguments{"--seed", "--force"}, {"--seed: --force, expected a value"}},
       {{"--gaussian", "4,2", "--t-end", "5e-324"}, {"--t-end: 5e-324, expected 0, or"}},
       {{"--gaussian", "4,2", "--t-end", "1e-300", "--save-every", "1e-324"}, {"--save-every: 0, expected"}},
       {{"--gaussian", "900000000,1000", "--t-end", "1"},
        {"--gaussian: 900000000,1000: 900000000 tokens in dimension 1000 need at least ",
         " GB of memory, expected at most "}}});
  CHECK(names_in(folder.path) == std::set<std::string>{"pipe"});
  check_refusal(folder,
                {{"--gaussian", "4,2", "--t-end", "1", "--out", "--quiet"},
                 {"--out: --quiet, expected a value (a name that starts with -- is written ./--quiet)"}},
                "");
  CHECK_FALSE(fs::exists("--quiet"));
}

TEST_CASE("a file beyond the limit of the shell is an error, and so is an answer that nobody gets",
          "[simulate]") {
  const RunFolder folder;
  const Said limited =
      shell("ulimit -f 4; exec " ATTNFLOW_SIMULATE " --gaussian 50,3 --t-end 1 --out " + (folder / "a"));
  CHECK(limited.status == 2);
  CHECK_THAT(limited.err, ContainsSubstring("tokens.npy: cannot be written: File too large"));
  CHECK(names_in(folder.path).empty());  // nor the folder
  if (!fs::exists("/dev/full")) return;
  const std::string command = std::string(ATTNFLOW_SIMULATE) + " --gaussian 5,2 --t-end 1 --out ";
  const Said full = shell(command + (folder / "b") + " >/dev/full");
  CHECK(full.status == 3);
  CHECK_THAT(full.err,
             ContainsSubstring("simulate: standard output cannot be written: No space left on device"));
  CHECK(report(folder / "b").at("outcome") == "reached_end");
  CHECK(shell(std::string(ATTNFLOW_SIMULATE) + " --help >/dev/full").status == 2);
  CHECK(shell(command + (folder / "c") + " --quiet >/dev/full").status == 0);  // nothing to say
}
