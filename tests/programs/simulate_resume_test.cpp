// simulate over long times: killed at any moment and resumed it writes the bytes of a run that was never stopped;
// told to stop it leaves whole files; what cannot be resumed it refuses; a full disk takes nothing away.
#include "programs/simulate_run.hpp"

#include <attnflow/io/checkpoint.hpp>
#include <attnflow/simd/level.hpp>
#include <attnflow/version.hpp>

#include <sys/resource.h>

#include <chrono>
#include <functional>
#include <thread>

namespace {

using namespace simulate_test;
using attnflow::Checkpoint;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

const Arguments each_step{"--checkpoint-every", "0"};

/// The report without what may differ: the time taken, and where files are.
json essence(const fs::path& out) {
  json r = report(out);
  CHECK(r.at("seconds").get<double>() >= 0);
  r.erase("seconds");
  for (const char* key : {"threads", "out", "checkpoint", "checkpoint_every", "resume"})
    r.at("options").erase(key);
  return r;
}

void check_same_files(const fs::path& out, const fs::path& expected) {
  REQUIRE(names_in(out) == names_in(expected));
  for (const auto& name : names_in(expected)) {
    INFO(name);
    if (name == "report.json")
      CHECK(essence(out) == essence(expected));
    else
      CHECK((read(out / name) == read(expected / name)));
  }
}

/// Waits until `holds`, or until the program has ended.
void wait_until(Started& program, const std::function<bool()>& holds) {
  while (!program.has_ended() && !holds()) std::this_thread::sleep_for(std::chrono::microseconds(200));
}

/// Files that are to be are there whole; beside them, temporaries that a killed program could not remove.
void remove_temporaries(const fs::path& out) {
  for (const auto& name : names_in(out))
    if (name.rfind(".attnflow-", 0) == 0) fs::remove(out / name);
}

/// Kills a run again and again, resumes it each time, and compares what it writes in the end.
void check_killed_and_resumed(const std::string& name, const Arguments& arguments, unsigned seed) {
  INFO(name);
  const RunFolder folder;
  const std::string whole = folder / "whole", out = folder / "out", file = folder / "checkpoint";
  run(arguments + Arguments{"--quiet"}, whole);
  const Arguments begin = arguments + each_step + Arguments{"--quiet", "--checkpoint", file, "--out", out};
  const Arguments go_on = each_step + Arguments{"--quiet", "--resume", file};

  std::mt19937 bits(seed);
  double longest = 0.4;  // seconds before a kill, at most; shorter where runs are
  long killed = 0, midway = 0;
  for (int attempt = 0; attempt < 40 && (killed < 4 || midway < 2 || !fs::exists(file)); ++attempt) {
    const bool resumes = fs::exists(file);
    Started program(ATTNFLOW_SIMULATE, resumes ? go_on : begin);
    if (!resumes) wait_until(program, [&] { return fs::exists(file); });
    std::this_thread::sleep_for(Seconds(longest * static_cast<double>(bits()) * 0x1p-32));
    program.send(SIGKILL);
    const Said said = program.wait();
    INFO(said.err);
    REQUIRE((said.status == 0 || said.status == -1));
    killed += said.status == 0 ? 0 : 1;
    if (said.status == 0) {  // it was faster
      longest /= 2;
      killed = midway = 0;
      CHECK_FALSE(fs::exists(file));
    }
    if (fs::exists(file)) {
      midway += attnflow::load_checkpoint(file).steps > 0 ? 1 : 0;  // whole at every moment
    } else if (fs::exists(out + "/view.html")) {                    // its last file: the run was at its end
      remove_temporaries(out);                                      // the lock, which nobody has
      check_same_files(out, whole);
      fs::remove_all(out);
    }
  }
  REQUIRE(killed >= 4);
  REQUIRE(midway >= 2);
  REQUIRE(fs::exists(file));
  const Said said = simulate(go_on);
  INFO(said.err);
  REQUIRE(said.status == 0);
  CHECK(said.err.empty());
  CHECK_FALSE(fs::exists(file));
  check_same_files(out, whole);  // what a killed run left beside them is gone
  CHECK(names_in(folder.path) == std::set<std::string>{"out", "whole"});
}

/// Numbers without a pattern in [−1, 1).
std::vector<double> scattered(std::size_t count, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<double> values(count);
  for (double& value : values) value = static_cast<double>(bits()) * 0x1p-31 - 1;
  return values;
}

}  // namespace

TEST_CASE("a run killed at any moment and resumed writes the bytes of one never stopped", "[simulate]") {
  const RunFolder inputs;
  // V with eigenvalues of both signs, not symmetric: what is integrated are other coordinates than those shown.
  const std::string V = put(inputs / "V.npy", {2, 2}, {0.3, 1.1, 0.7, -0.4}),
                    Q = put(inputs / "Q.npy", {2, 1, 3}, scattered(6, 1)),
                    K = put(inputs / "K.npy", {2, 1, 3}, scattered(6, 2)),
                    heads = put(inputs / "heads.npy", {2, 3, 3}, scattered(18, 3)),
                    x = put(inputs / "x.npy", {7, 3}, scattered(21, 4)),
                    times = put(inputs / "times.npy", {6}, {0, 0.1, 0.101, 0.6, 0.7, 1.3});
  const Arguments box{"--uniform-box", "9,2,-2,2"}, end{"--t-end", "1.5"};
  check_killed_and_resumed("rescaled, dopri5", box + end + Arguments{"--attention", "--threads", "2"}, 1);
  check_killed_and_resumed("rescaled, dopri5, both signs, float",
                           box + Arguments{"--t-end", "4", "--value", V, "--precision", "float"}, 2);
  check_killed_and_resumed(
      "rescaled, rk4, both signs",
      box + end + Arguments{"--value", V, "--stepper", "rk4", "--dt", "0.037", "--attention"}, 3);
  check_killed_and_resumed(
      "tokens, euler, two heads, own times",
      end + Arguments{"--tokens", x, "--query", Q, "--key", K, "--value", heads, "--system", "tokens",
                      "--stepper", "euler", "--dt", "0.03", "--times", times, "--attention"},
      4);
  const Arguments sphere{"--uniform-sphere", "12,3", "--seed", "3", "--system", "sphere", "--beta", "4"};
  check_killed_and_resumed("sphere, dopri5, causal", sphere + end + Arguments{"--mask", "causal"}, 5);
  check_killed_and_resumed("sphere, rk4, float",
                           sphere + end +
                               Arguments{"--stepper", "rk4", "--dt", "0.04", "--precision", "float",
                                         "--save-every", "0.3", "--attention"},
                           6);
  check_killed_and_resumed("layers, ALiBi",
                           Arguments{"--gaussian", "9,2", "--t-end", "2", "--system", "layers", "--dt",
                                     "0.05", "--alibi", "0.5", "--attention"},
                           7);
}

TEST_CASE("told to stop, a run leaves its rows and a whole report, and goes on later", "[simulate]") {
  const RunFolder folder;
  const std::string whole = folder / "whole", file = folder / "checkpoint";
  const Arguments arguments{"--uniform-box", "10,2,-2,2", "--t-end",     "3",
                            "--rtol",        "1e-10",     "--attention", "--quiet"};
  run(arguments, whole);
  const std::string all = read(whole + "/tokens.npy");
  for (const int signal : {SIGINT, SIGTERM})
    for (const std::string system : {"rescaled", "layers"}) {
      INFO("signal " << signal << ", " << system);
      const bool layers = system == "layers";
      const std::string out = folder / (system + std::to_string(signal));
      const Arguments form =
          layers ? Arguments{"--uniform-box", "10,2,-2,2", "--t-end", "3",           "--system",
                             "layers",        "--dt",      "0.02",    "--attention", "--quiet"}
                 : arguments;
      Started program(ATTNFLOW_SIMULATE, form + each_step + Arguments{"--checkpoint", file, "--out", out});
      wait_until(program, [&] { return fs::exists(file) && attnflow::load_checkpoint(file).steps > 1; });
      program.send(signal);
      const Said said = program.wait();
      INFO(said.err);
      REQUIRE(said.status == 3);
      CHECK(is_one_line(said.err));
      CHECK_THAT(said.err, ContainsSubstring("(stopped: by a signal)") &&
                               ContainsSubstring("; to go on: --resume " + file));
      const json r = report(out);
      CHECK(r.at("outcome") == "stopped");
      const double t = r.at("t");
      CHECK(t > 0);
      CHECK(t < 3);
      CHECK(r.at("found").at("labels").size() == 10);
      CHECK(names_in(out).size() == 5);
      const Values times(out + "/times.npy"), tokens(out + "/tokens.npy"), P(out + "/attention.npy");
      REQUIRE(times.shape[0] >= 1);
      REQUIRE(times.shape[0] < 101);
      CHECK(tokens.shape[0] == times.shape[0]);
      CHECK(P.shape[0] == times.shape[0]);
      CHECK(times.values.back() <
            t + (layers ? 0.02 : 1e-12));           // the output of a layer is shown until the next
      CHECK(times.values.back() + 3.0 / 100 >= t);  // no row that was reached is missing
      if (!layers) {
        const std::string rows = read(out + "/tokens.npy");
        CHECK(all.compare(128, rows.size() - 128, rows, 128) == 0);  // after the header
      }
      const Checkpoint kept = attnflow::load_checkpoint(file);
      CHECK(kept.t == t);
      CHECK(kept.steps == r.at("steps"));
      CHECK(kept.evaluations == r.at("evaluations"));
      // Into the same folder: what is there is the run's own. Without a report only the lock of a run that was killed
      // says so.
      if (signal == SIGTERM) {
        fs::remove(out + "/report.json");
        check_refusal(folder, {{"--resume", file}, {"holds times.npy of another run", "--force"}}, "");
        write(out + "/.attnflow-lock", "simulate, process 1\nrun " + kept.option("run").value() + "\n");
      }
      const Said resumed = simulate({"--resume", file, "--quiet"});
      INFO(resumed.err);
      REQUIRE(resumed.status == 0);
      if (!layers) check_same_files(out, whole);
      CHECK(report(out).at("outcome") == "reached_end");
      CHECK_FALSE(fs::exists(file));
    }
  // Before the first row there is a page of the last state, and the files are empty.
  const std::string late = put(folder / "late.npy", {1}, {9e6}), none = folder / "none";
  run_ends_early({"--uniform-box", "10,2,-2,2", "--t-end", "1e7", "--system", "tokens", "--times", late},
                 none, "non_finite");
  CHECK(names_in(none).size() == 4);
  CHECK(Values(none + "/tokens.npy").shape == Shape{0, 10, 2});
  // Without a checkpoint it stops as well.
  const std::string out = folder / "out";
  Started program(ATTNFLOW_SIMULATE, {"--uniform-box", "10,2,-2,2", "--t-end", "1e7", "--out", out});
  wait_until(program, [&] { return fs::exists(out) && names_in(out).size() >= 2; });  // its first rows
  program.send(SIGTERM);
  const Said said = program.wait();
  INFO(said.err);
  CHECK(said.status == 3);
  CHECK(report(out).at("outcome") == "stopped");
  CHECK_THAT(said.out, ContainsSubstring("stopped at t = "));
  CHECK(said.err.find("--resume") == std::string::npos);
}

// --- What can be resumed, where to, and what cannot ---------------------------------------------------------

namespace {

/// A run that was told to stop in the middle, once for all tests: its checkpoint's bytes.
class Stopped {
 public:
  Arguments arguments{"--uniform-box", "8,2,-2,2", "--t-end", "3",      "--stepper",
                      "rk4",           "--dt",     "0.02",    "--quiet"};

  explicit Stopped(const RunFolder& folder, const std::string& out = "stopped")
      : file(folder / "checkpoint") {
    Started program(ATTNFLOW_SIMULATE,
                    arguments + each_step + Arguments{"--checkpoint", file, "--out", folder / out});
    wait_until(program, [&] { return fs::exists(file) && attnflow::load_checkpoint(file).steps > 3; });
    program.send(SIGTERM);
    REQUIRE(program.wait().status == 3);
  }
  std::string file;
};

}  // namespace

TEST_CASE("a run resumed elsewhere, on other threads, to another checkpoint, or again", "[simulate]") {
  const RunFolder folder;
  const Stopped stopped(folder);
  run(stopped.arguments, folder / "whole");
  fs::remove_all(folder / "stopped");
  run({"--resume", stopped.file, "--quiet", "--threads", "1", "--checkpoint", folder / "second"},
      folder / "elsewhere");
  check_same_files(folder / "elsewhere", folder / "whole");
  CHECK_FALSE(fs::exists(folder / "second"));
  CHECK(fs::exists(stopped.file));  // only the file that it writes to is removed
  run({"--resume", stopped.file, "--quiet", "--checkpoint", folder / "again/inside"}, folder / "again");
  check_same_files(folder / "again", folder / "whole");
  CHECK(report(folder / "again").at("options").at("resume") == stopped.file);
  // A relative folder is where it was, from wherever the run is resumed.
  const auto from = [&](const std::string& place, const Arguments& arguments) {
    std::string line = "cd '" + place + "' && exec '" ATTNFLOW_SIMULATE "'";
    for (const auto& argument : arguments) line += " '" + argument + "'";
    return run_program("/bin/sh", {"-c", line});
  };
  fs::create_directories(folder / "here");
  REQUIRE(
      from(folder / "here", stopped.arguments + Arguments{"--out", "run", "--checkpoint", "c", "--t-end=0"})
          .status == 2);
  Started program(
      "/bin/sh",
      {"-c", "cd '" + (folder / "here") +
                 "' && exec '" ATTNFLOW_SIMULATE
                 "' --uniform-box 8,2,-2,2 --t-end 3 --stepper rk4 --dt 0.02 --out run --checkpoint c "
                 "--checkpoint-every 0 --quiet"});
  wait_until(program, [&] {
    return fs::exists(folder / "here/c") && attnflow::load_checkpoint(folder / "here/c").steps > 3;
  });
  program.send(SIGKILL);
  REQUIRE(program.wait().status == -1);
  REQUIRE(from(folder.path.string(), {"--resume", "here/c", "--quiet"}).status == 0);
  check_same_files(folder / "here/run", folder / "whole");
}

TEST_CASE("a run is resumed on its own level of vector instructions, or not at all", "[simulate]") {
  const auto levels = attnflow::simd_levels;
  const std::string lowest(name_of(levels.back()));
  const RunFolder folder;
  {
    const Environment forced("ATTNFLOW_SIMD", lowest.c_str());
    const Stopped stopped(folder);
    run(stopped.arguments, folder / "whole");
  }
  const std::string file = folder / "checkpoint", out = folder / "out";
  const attnflow::SimdLevel best = attnflow::detail::choose_simd_level(nullptr);
  if (best != levels.back()) {
    const Environment forced("ATTNFLOW_SIMD", std::string(name_of(best)).c_str());
    check_refusal(folder,
                  {{"--resume", file},
                   {"computed with " + lowest + " instructions", "runs with " + std::string(name_of(best)),
                    "ATTNFLOW_SIMD"}},
                  out);
  }
  const Environment unset("ATTNFLOW_SIMD", nullptr);
  run({"--resume", file, "--quiet"}, out);
  CHECK(report(out).at("options").at("simd") == lowest);
  check_same_files(out, folder / "whole");
}

TEST_CASE("what cannot be resumed is refused, and costs nothing", "[simulate][refusal]") {
  const RunFolder folder;
  const Stopped stopped(folder);
  const std::string file = stopped.file, out = folder / "out";
  const Arguments resume{"--resume", file};
  for (const std::string option : {"--tokens=x.npy",
                                   "--uniform-box=8,2,-2,2",
                                   "--gaussian=8,2",
                                   "--uniform-sphere=8,2",
                                   "--seed=0",
                                   "--query=q",
                                   "--key=k",
                                   "--value=v",
                                   "--system=rescaled",
                                   "--law=softmax",
                                   "--beta=1",
                                   "--mask=none",
                                   "--alibi=1",
                                   "--t-end=3",
                                   "--stepper=rk4",
                                   "--dt=0.02",
                                   "--rtol=1e-6",
                                   "--atol=1e-6",
                                   "--precision=double",
                                   "--save-every=1",
                                   "--times=t.npy",
                                   "--attention"}) {
    const std::string name = option.substr(0, option.find('='));
    check_refusal(
        folder, {resume + Arguments{option}, {name + ": given beside --resume, expected to be absent"}}, out);
  }
  write(folder / "text", "no checkpoint, but something that is longer than its header");
  const std::string good = read(file);
  write(folder / "short", good.substr(0, good.size() - 9));
  std::string damaged = good;
  damaged[good.size() / 2] = static_cast<char>(damaged[good.size() / 2] ^ 16);
  write(folder / "damaged", damaged);
  check_refusals(
      folder,
      {{{"--resume", folder / "none"}, {"--resume: ", "none: cannot be read: no such file"}},
       {{"--resume", folder.path.string()}, {"--resume: ", "not a regular file"}},
       {{"--resume", folder / "text"}, {"text: is not a checkpoint: it starts with 'no check'"}},
       {{"--resume", folder / "short"}, {"short: has ", "cut short"}},
       {{"--resume", folder / "damaged"}, {"damaged: is damaged: its checksum is wrong"}},
       {resume + Arguments{"--checkpoint-every", "-1"}, {"--checkpoint-every: -1, expected seconds"}},
       {resume + Arguments{"--checkpoint-every", "nan"}, {"--checkpoint-every: nan, expected seconds"}},
       {resume + Arguments{"--threads", "0"}, {"simulate: --threads: 0, expected at least 1"}}});

  // Sealed as it should be, but not by this program, or not of one run.
  const auto changed = [&](const std::function<void(Checkpoint&)>& change,
                           const std::vector<std::string>& words) {
    Checkpoint c = attnflow::load_checkpoint(file);
    change(c);
    save_checkpoint(folder / "changed", c);
    check_refusal(folder, {{"--resume", folder / "changed"}, words}, out);
  };
  const auto set = [](Checkpoint& c, const std::string& name, const std::string& value) {
    for (auto& [key, text] : c.options)
      if (key == name) text = value;
  };
  const std::string own = "expected simulate " + std::string(attnflow::version);
  changed([](Checkpoint& c) { c.program = "walk"; }, {"was written by walk, expected simulate"});
  changed([](Checkpoint& c) { c.version = "9.9.9"; }, {"was written by simulate 9.9.9, " + own});
  changed([](Checkpoint& c) { c.build += "x"; },
          {"was written by simulate built by attnflow ", ", expected simulate built by"});
  changed([](Checkpoint& c) { c.simd = "mmx"; }, {"computed with mmx instructions, which this processor"});
  changed([&](Checkpoint& c) { set(c, "dt", "fast"); }, {"changed holds --dt: fast, expected a number"});
  changed([&](Checkpoint& c) { set(c, "dt", "-1"); }, {"changed holds --dt: -1, expected a positive number"});
  changed([&](Checkpoint& c) { set(c, "law", "old"); }, {"changed holds --law: old, expected"});
  changed([](Checkpoint& c) { c.options.emplace_back("speed", "1"); },
          {"holds options that are not those of a run"});
  changed([&](Checkpoint& c) { set(c, "precision", "float"); }, {"holds no array rows"});
  changed([](Checkpoint& c) { c.steps += 1; }, {"holds a time that does not fit its steps and rows"});
  changed([](Checkpoint& c) { c.t = 4; }, {"holds a time that does not fit its steps and rows"});
  changed(
      [](Checkpoint& c) {
        attnflow::CheckpointArray& rows = c.array("rows");
        rows.shape[0] -= 1;
        std::get<0>(rows.values).resize(std::get<0>(rows.values).size() - 16);
      },
      {"holds a time that does not fit its steps and rows"});
  changed([](Checkpoint& c) { std::get<0>(c.array("state").values)[3] = std::nan(""); }, {"holds a state"});
  changed([](Checkpoint& c) { c.array("state").shape = {2, 8}; }, {"holds a state"});
  changed([](Checkpoint& c) { std::get<0>(c.array("times").values)[3] = 9; },
          {"holds times that do not increase"});
  for (const char* name : {"start", "Q", "K", "V", "times"}) {
    changed([&](Checkpoint& c) { std::get<0>(c.array(name).values)[0] = std::nan(""); },
            {std::string("holds no array ") + name});
    changed(
        [&](Checkpoint& c) {
          c.array(name) = {{0}, std::vector<double>{}};
        },
        {std::string("holds no array ") + name});
  }
  changed(
      [](Checkpoint& c) {
        c.array("V") = {{1, 1, 4}, std::vector<double>(4, 1)};
      },
      {"holds weights whose shapes do not fit"});
  changed(
      [](Checkpoint& c) {
        c.array("Q") = {{4, 1, 1}, std::vector<double>(4, 1)};
      },
      {"holds weights whose shapes do not fit"});
  CHECK((read(file) == good));

  // A folder that now holds another run's files.
  run({"--uniform-box", "8,2,-2,2", "--t-end", "1", "--force", "--quiet"}, folder / "stopped");
  check_refusal(folder, {resume, {"--out: ", "stopped holds times.npy of another run", "--force"}}, "");
  CHECK(report(folder / "stopped").at("t") == 1);
  run(resume + Arguments{"--force", "--quiet"}, folder / "stopped");
  CHECK(report(folder / "stopped").at("t") == 3);
}

TEST_CASE("a checkpoint takes no file's place unasked", "[simulate][refusal]") {
  const RunFolder folder;
  const Stopped stopped(folder);
  const std::string good = read(stopped.file);
  const Arguments usual{"--uniform-box", "4,2,-1,1", "--t-end", "1", "--quiet"};
  write(folder / "text", "precious");
  const std::string out = folder / "out";
  check_refusals(
      folder,
      {{usual + Arguments{"--checkpoint", stopped.file},
        {"--checkpoint: ", "is of another run", "--force", "--resume"}},
       {usual + Arguments{"--checkpoint", folder / "text"}, {"text exists and is not a checkpoint"}},
       {usual + Arguments{"--checkpoint", folder / "text", "--force"},
        {"text exists and is not a checkpoint"}},
       {{"--resume", stopped.file, "--checkpoint", folder / "text"}, {"text exists and is not a checkpoint"}},
       {usual + Arguments{"--checkpoint", folder / "no/c"},
        {"no/c, expected a file in a folder that exists"}},
       {usual + Arguments{"--checkpoint", out + "/tokens.npy"},
        {"expected a file other than those that the run writes"}},
       {usual + Arguments{"--checkpoint", folder.path.string()}, {"--checkpoint: "}},
       {usual + Arguments{"--checkpoint", ""}, {"--checkpoint: empty, expected a value"}},
       {usual + Arguments{"--resume", ""}, {"--resume: empty, expected a value"}},
       {usual + each_step, {"--checkpoint-every: 0, expected to be absent without --checkpoint"}}});
  CHECK(read(folder / "text") == "precious");
  CHECK((read(stopped.file) == good));
  run(usual + Arguments{"--checkpoint", stopped.file, "--force"}, out);
  CHECK_FALSE(fs::exists(stopped.file));
}

TEST_CASE("where the disk is full, files and checkpoint stay what they were", "[simulate]") {
  // A limit on the size of a file stands for the disk: writes fail in the same place.
  struct Limit {
    explicit Limit(rlim_t bytes) {
      getrlimit(RLIMIT_FSIZE, &before);
      rlimit now = before;
      now.rlim_cur = bytes;
      handler = std::signal(SIGXFSZ, SIG_IGN);  // both are passed on to programs
      setrlimit(RLIMIT_FSIZE, &now);
    }
    ~Limit() {
      setrlimit(RLIMIT_FSIZE, &before);
      std::signal(SIGXFSZ, handler);
    }
    rlimit before{};
    void (*handler)(int) = nullptr;
  };
  const RunFolder folder;
  const Stopped stopped(folder);
  run(stopped.arguments, folder / "whole");
  const auto contents = [&](const std::string& where) {
    std::string all;
    for (const auto& name : names_in(folder / where)) all += name + read(fs::path(folder / where) / name);
    return all;
  };
  const std::string checkpoint = read(stopped.file), files = contents("stopped");
  const auto kept = [&] {  // written anew or not: it says the same
    Checkpoint c = attnflow::load_checkpoint(stopped.file);
    c.seconds = 0;
    return c;
  };
  const Checkpoint before = kept();
  const auto fails = [&](const Arguments& arguments, rlim_t bytes) {
    std::optional<Limit> limit(bytes);
    const Said said = simulate(arguments);
    limit.reset();
    INFO(text_of(arguments) << "\n" << said.err);
    CHECK(said.status == 2);
    CHECK(is_one_line(said.err));
    CHECK(said.out.empty());
    CHECK_THAT(said.err, ContainsSubstring("cannot be written: "));
    CHECK((kept() == before));
    CHECK((contents("stopped") == files));
  };
  const Arguments resume = each_step + Arguments{"--quiet", "--resume", stopped.file};
  fails(resume, 1000);
  fails(resume, checkpoint.size() - 1);  // not even the first checkpoint
  CHECK((read(stopped.file) == checkpoint));
  fails(stopped.arguments + Arguments{"--out", folder / "stopped", "--force"}, 10000);
  // Room for all but the page: the data are written, and the report and stderr say what is missing.
  {
    std::optional<Limit> limit(60000);
    const Said said = simulate({"--quiet", "--resume", stopped.file, "--checkpoint-every", "1000"});
    limit.reset();
    INFO(said.err);
    CHECK(said.status == 3);
    CHECK(is_one_line(said.err));
    CHECK_THAT(said.err, ContainsSubstring("view.html: cannot be written: File too large") &&
                             ContainsSubstring("; to try again: --resume " + stopped.file));
    CHECK((read(folder / "stopped/tokens.npy") == read(folder / "whole/tokens.npy")));
    const json r = report(folder / "stopped");
    CHECK(r.at("outcome") == "reached_end");
    REQUIRE(r.at("problems").size() == 1);
    CHECK_THAT(r.at("problems")[0].get<std::string>(), ContainsSubstring("view.html: "));
    CHECK(r.at("found").at("labels").size() == 8);
    CHECK(names_in(folder / "stopped") == std::set<std::string>{"report.json", "times.npy", "tokens.npy"});
    CHECK(fs::exists(stopped.file));  // there is something left to do
  }
  const Said said = simulate(resume);
  INFO(said.err);
  REQUIRE(said.status == 0);
  check_same_files(folder / "stopped", folder / "whole");
}
