/// \file
/// How every program here measures: the things that a row compares run in turns, and a ratio is the median of
/// the ratios of the rounds. The speed of a machine with neighbours changes by a third within seconds; the
/// ratio of two bursts that follow each other does not.
#pragma once

#ifndef NDEBUG
#error "the time of a build with assertions says nothing: compile with -DNDEBUG"
#endif

#include "limits.hpp"

#include <attnflow/types.hpp>
#if __has_include(<attnflow/parallel/threads.hpp>)
#include <attnflow/parallel/threads.hpp>
#define BENCH_HAS_THREADS 1
#endif

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

/// What a program is asked for beside the options of Google Benchmark.
struct Settings {
  double seconds = 1.5;   ///< --seconds=S: about so long for each row, at least three rounds
  bool baselines = true;  ///< --baselines=0: time the library alone
  bool failed = false;    ///< a row ended with an error
};
[[nodiscard]] inline Settings& settings() {
  static Settings instance;
  return instance;
}

/// Ends a row with an error; the program's exit status will say so.
inline void fail(benchmark::State& state, const std::string& message) {
  settings().failed = true;
  state.SkipWithError(message.c_str());
}

[[nodiscard]] inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// The library's threads; without the header that sets them there is one.
inline void use_threads([[maybe_unused]] int threads) {
#ifdef BENCH_HAS_THREADS
  attnflow::set_threads(threads);
#endif
}

/// A thing to be timed, and what the rounds found: `seconds[r]` is the mean of one call in round r.
struct Contender {
  std::function<void()> run;
  std::vector<double> seconds = {};

  double time(int calls) const {
    const auto start = Clock::now();
    for (int k = 0; k < calls; ++k) run();
    return seconds_since(start) / calls;
  }
};

/// A measurement of the machine that is taken beside the first contender in every round, just before and just
/// after it; `values[r]` is the mean of the two.
struct Gauge {
  std::function<double(double duration)> read;
  std::vector<double> values = {};
};

/// Runs the contenders in turns, each in bursts of at least 2 ms, for about settings().seconds: 3 to 25
/// rounds, but a single one if a round takes more than 10 s. The calls that calibrate also warm the caches.
inline void interleave(std::vector<Contender>& contenders, Gauge* gauge = nullptr) {
  constexpr double burst = 2e-3;
  std::vector<int> calls;
  double round = 0;
  for (const Contender& contender : contenders) {
    double once = contender.time(1);
    if (once < 1) once = contender.time(once < burst / 10 ? 10 : 1);
    calls.push_back(static_cast<int>(std::clamp(std::ceil(burst / once), 1.0, 1e6)));
    round += once * calls.back();
  }
  const double gauge_time = std::clamp(round / 20, 1e-3, 2e-2);
  if (gauge != nullptr) round += 2 * gauge_time;
  const int rounds = round > 10 ? 1 : static_cast<int>(std::clamp(settings().seconds / round, 3.0, 25.0));
  for (int r = 0; r < rounds; ++r)
    for (std::size_t k = 0; k < contenders.size(); ++k) {
      const bool gauged = k == 0 && gauge != nullptr;
      const double before = gauged ? gauge->read(gauge_time) : 0;
      contenders[k].seconds.push_back(contenders[k].time(calls[k]));
      if (gauged) gauge->values.push_back((before + gauge->read(gauge_time)) / 2);
    }
}

/// The median over the rounds of a's time over b's.
[[nodiscard]] inline double ratio(const Contender& a, const Contender& b) {
  std::vector<double> ratios;
  for (std::size_t r = 0; r < std::min(a.seconds.size(), b.seconds.size()); ++r)
    ratios.push_back(a.seconds[r] / b.seconds[r]);
  return median(std::move(ratios));
}

/// Fills a row of one iteration: its time is the median of the rounds.
inline void report_time(benchmark::State& state, const Contender& contender) {
  for (auto _ : state) state.SetIterationTime(median(contender.seconds));
}

/// A row that does its own rounds.
template <class Body>
void add_row(const std::string& name, Body body, benchmark::TimeUnit unit = benchmark::kMicrosecond) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(body))->Iterations(1)->UseManualTime()->Unit(unit);
}

/// What the JSON says about the machine and the build.
inline void describe() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.starts_with("model name")) {
      benchmark::AddCustomContext("processor", line.substr(line.find(':') + 2));
      break;
    }
  benchmark::AddCustomContext("machine_level", ports<double>(machine_level()).name);
#if defined(__clang__)
  benchmark::AddCustomContext("compiler", "clang " __clang_version__);
#elif defined(__GNUC__)
  benchmark::AddCustomContext("compiler", "g++ " __VERSION__);
#endif
#if defined(__AVX512F__)
  benchmark::AddCustomContext("compiled_for", "AVX-512");
#elif defined(__AVX2__)
  benchmark::AddCustomContext("compiled_for", "AVX2");
#elif defined(__SSE2__)
  benchmark::AddCustomContext("compiled_for", "SSE2");
#else
  benchmark::AddCustomContext("compiled_for", "its own defaults");
#endif
  benchmark::AddCustomContext("threads_can_be_set",
#ifdef BENCH_HAS_THREADS
                              "yes"
#else
                              "no"
#endif
  );
}

/// The main function of every program: `add_rows` registers what is to be measured.
inline int run(int argc, char** argv, void (*add_rows)()) {
  std::vector<char*> left;
  for (int k = 0; k < argc; ++k) {
    const std::string_view option = argv[k];
    if (option.starts_with("--seconds=")) {
      settings().seconds = std::atof(argv[k] + std::string_view("--seconds=").size());
      if (!(settings().seconds > 0)) {
        std::cerr << argv[0] << ": --seconds is " << option.substr(10) << ", expected a positive number\n";
        return 2;
      }
    } else if (option == "--baselines=0" || option == "--baselines=1") {
      settings().baselines = option.back() == '1';
    } else {
      left.push_back(argv[k]);
    }
  }
  int count = static_cast<int>(left.size());
  left.push_back(nullptr);
  benchmark::Initialize(&count, left.data());
  if (benchmark::ReportUnrecognizedArguments(count, left.data())) return 2;
  use_threads(1);
  describe();
  add_rows();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return settings().failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace bench
