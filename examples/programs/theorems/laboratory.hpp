/// \file
/// The laboratory: statements, draws, the workers that make them, and what they amount to.
#pragma once

#include <attnflow/prediction/verdict.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace laboratory {

using Eigen::Index;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

enum class Kind { theorem, lemma, derived, conjecture, erratum };

constexpr const char* name_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::theorem:
      return "theorem";
    case Kind::lemma:
      return "lemma";
    case Kind::derived:
      return "derived";
    case Kind::conjecture:
      return "conjecture";
    case Kind::erratum:
      break;
  }
  return "erratum";
}

/// Theorems, lemmas and what follows from them must hold in every draw; the others are reported as found.
constexpr bool is_asserted(Kind kind) noexcept { return kind != Kind::conjecture && kind != Kind::erratum; }

/// One row of the table: what is claimed, and where the tolerance comes from.
struct Check {
  std::string label;  ///< the paper's label, if it has one
  Kind kind;
  std::string says;
  std::string tolerance;
};

struct Size {
  Index d, n;
};

/// A residual beside what it may be.
struct Measured {
  double residual = 0;
  double tolerance = std::numeric_limits<double>::infinity();

  [[nodiscard]] bool passed() const noexcept { return residual <= tolerance; }
  /// Whether this is nearer to failing than the other, or fails by more; NaN is worst.
  [[nodiscard]] bool worse_than(const Measured& other) const noexcept {
    const auto share = [](const Measured& m) {
      if (std::isnan(m.residual) || std::isnan(m.tolerance)) return std::numeric_limits<double>::infinity();
      if (m.residual <= 0) return m.residual <= m.tolerance ? 0.0 : std::numeric_limits<double>::infinity();
      return m.residual / std::max(m.tolerance, std::numeric_limits<double>::min());
    };
    const double mine = share(*this), theirs = share(other);
    return mine > theirs || (mine == theirs && residual > other.residual);
  }
};

/// The worst of many measurements in one draw.
struct Worst {
  Measured measured;
  bool any = false;
  void see(double residual, double tolerance) {
    const Measured next{residual, tolerance};
    if (!any || next.worse_than(measured)) measured = next;
    any = true;
  }
};

/// A draw that breaks a hypothesis, or that the rule of exclusion leaves out: it is drawn again.
struct Excluded {
  std::string rule;
};

/// What one draw found of one check.
struct Finding {
  Worst worst;
  long skipped = 0;      ///< tokens left out by their decision margin
  std::string left_out;  ///< which hypothesis of this check the draw breaks, if any
  std::map<std::string, std::map<long, long>> counts;  ///< how often a count came out as it did
  std::map<std::string, double> numbers;
};

/// One draw of an experiment: its own generator, its size, and what is found.
class Trial {
 public:
  attnflow::Generator generator;
  const Index d, n;

  Trial(const std::vector<Check>& checks, Size size, std::uint64_t seed)
      : generator(seed), d(size.d), n(size.n), findings(checks.size()), checks_(checks) {}

  [[nodiscard]] double uniform(double low, double high) {
    return attnflow::uniform_box(generator, 1, 1, low, high)(0, 0);
  }
  [[nodiscard]] bool coin() { return uniform(0, 1) < 0.5; }
  /// An m × k matrix with independent entries.
  [[nodiscard]] Matrix uniform_matrix(Index m, Index k, double low, double high) {
    return attnflow::uniform_box(generator, k, m, low, high);
  }
  [[nodiscard]] Matrix uniform_matrix(Index m, Index k) { return uniform_matrix(m, k, -1, 1); }

  void exclude_if(bool breaks_rule, const char* rule) const {
    if (breaks_rule) throw Excluded{rule};
  }
  void margin(const std::string& name, double value) {
    const auto [place, is_new] = margins.emplace(name, value);
    if (!is_new) place->second = std::min(place->second, value);
  }
  void margins_of(const std::vector<attnflow::Hypothesis>& hypotheses) {
    for (const auto& h : hypotheses) margin(h.name, h.margin);
  }

  void check(std::string_view label, double residual, double tolerance) {
    at(label).worst.see(residual, tolerance);
  }
  void check(std::string_view label, const Worst& worst) {
    if (worst.any) at(label).worst.see(worst.measured.residual, worst.measured.tolerance);
  }
  void skip(std::string_view label, long tokens) { at(label).skipped += tokens; }
  /// The draw breaks a hypothesis of this check alone: it is not counted, and the table says how many are not.
  void leave_out(std::string_view label, std::string why) { at(label).left_out = std::move(why); }
  void count(std::string_view label, const std::string& what, long value) { ++at(label).counts[what][value]; }
  void number(std::string_view label, const std::string& what, double value) {
    at(label).numbers[what] = value;
  }

  std::map<std::string, double> margins;
  std::vector<Finding> findings;

 private:
  Finding& at(std::string_view label) {
    for (std::size_t k = 0; k < checks_.size(); ++k)
      if (checks_[k].label == label) return findings[k];
    throw std::logic_error("no check has the label " + std::string(label));
  }
  const std::vector<Check>& checks_;
};

/// One way to draw weights and a start, and all that is checked on it.
struct Experiment {
  std::string name;
  std::vector<Size> sizes;  ///< taken in turn
  std::function<void(Trial&)> run;
  std::vector<Check> checks;
  long fewer = 1;  ///< divides the number of draws, where one draw is dear
};

/// What all draws of one check amount to.
struct Row {
  Check check;
  std::string experiment;
  long made = 0;   ///< draws of the experiment
  long draws = 0;  ///< in which the check applied
  long passed = 0;
  long skipped = 0;
  long excluded = 0;
  Measured worst;
  double seconds = 0;  ///< of the whole experiment, summed over workers
  std::map<std::string, double> margins;
  std::map<std::string, long> rules;     ///< of exclusion: how often each
  std::map<std::string, long> left_out;  ///< draws that break a hypothesis of this check: how often each
  std::map<std::string, std::map<long, long>> counts;
  std::map<std::string, std::array<double, 3>> numbers;  ///< smallest, mean, largest
  std::vector<std::string> errors;

  [[nodiscard]] bool failed() const {
    const bool never_applied = draws == 0 && made >= 20;
    return !errors.empty() || (is_asserted(check.kind) && (passed < draws || never_applied));
  }
};

struct Settings {
  long draws = 100;
  std::uint64_t seed = 1;
  unsigned threads = 1;
  std::string only;
};

namespace detail {

/// Mixes bits so that neighbouring seeds have nothing in common (the finaliser of SplitMix64).
constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

/// The seed of one attempt at one draw: the same whatever else runs, and on however many threads.
constexpr std::uint64_t seed_of(std::uint64_t seed, std::string_view experiment, long draw, long attempt) {
  std::uint64_t hash = mix(seed);
  for (const char c : experiment) hash = mix(hash ^ static_cast<unsigned char>(c));
  return mix(mix(hash ^ static_cast<std::uint64_t>(draw)) ^ static_cast<std::uint64_t>(attempt));
}

struct DrawResult {
  std::vector<Finding> findings;
  std::map<std::string, double> margins;
  std::map<std::string, long> rules;
  std::string error;
  double seconds = 0;
};

/// Draws until the rules of exclusion are met.
inline DrawResult make_draw(const Experiment& experiment, const Settings& settings, long draw) {
  constexpr long most_attempts = 1000;
  const auto began = std::chrono::steady_clock::now();
  const Size size = experiment.sizes[static_cast<std::size_t>(draw) % experiment.sizes.size()];
  DrawResult result;
  try {
    for (long attempt = 0;; ++attempt) {
      Trial trial(experiment.checks, size, seed_of(settings.seed, experiment.name, draw, attempt));
      try {
        experiment.run(trial);
        result.findings = std::move(trial.findings);
        result.margins = std::move(trial.margins);
        break;
      } catch (const Excluded& excluded) {
        ++result.rules[excluded.rule];
        if (attempt + 1 == most_attempts) throw std::runtime_error("always excluded: " + excluded.rule);
      }
    }
  } catch (const std::exception& error) {
    result.error = "draw " + std::to_string(draw) + " (d = " + std::to_string(size.d) +
                   ", n = " + std::to_string(size.n) + "): " + error.what();
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return result;
}

inline std::vector<Row> summarise(const Experiment& experiment, const std::vector<DrawResult>& results) {
  std::vector<Row> rows;
  for (std::size_t c = 0; c < experiment.checks.size(); ++c) {
    Row row;
    row.check = experiment.checks[c];
    row.experiment = experiment.name;
    row.made = static_cast<long>(results.size());
    std::map<std::string, long> times_seen;
    for (const DrawResult& result : results) {
      row.seconds += result.seconds;
      for (const auto& [rule, times] : result.rules) {
        row.rules[rule] += times;
        row.excluded += times;
      }
      if (!result.error.empty()) row.errors.push_back(result.error);
      for (const auto& [name, value] : result.margins) {
        const auto [place, is_new] = row.margins.emplace(name, value);
        if (!is_new) place->second = std::min(place->second, value);
      }
      if (result.findings.empty()) continue;
      const Finding& finding = result.findings[c];
      row.skipped += finding.skipped;
      if (!finding.left_out.empty()) ++row.left_out[finding.left_out];
      for (const auto& [what, histogram] : finding.counts)
        for (const auto& [value, times] : histogram) row.counts[what][value] += times;
      for (const auto& [what, value] : finding.numbers) {
        const auto [place, is_new] = row.numbers.emplace(what, std::array{value, value, value});
        const auto seen = static_cast<double>(times_seen[what]++);
        if (is_new) continue;
        auto& [least, mean, most] = place->second;
        least = std::min(least, value);
        mean += (value - mean) / (seen + 1);
        most = std::max(most, value);
      }
      if (!finding.worst.any) continue;
      if (row.draws++ == 0 || finding.worst.measured.worse_than(row.worst))
        row.worst = finding.worst.measured;
      if (finding.worst.measured.passed()) ++row.passed;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace detail

/// Makes all draws of all experiments, one list for all workers, and calls finished(rows, done, total) as each
/// experiment ends, and tick(done, total) after each draw; never two at a time.
template <class Finished, class Tick>
void run_all(const std::vector<Experiment>& experiments, const Settings& settings, const Finished& finished,
             const Tick& tick) {
  struct Job {
    std::size_t experiment;
    long draw;
  };
  std::vector<Job> jobs;
  std::vector<std::vector<detail::DrawResult>> results(experiments.size());
  std::vector<std::size_t> open(experiments.size());
  for (std::size_t e = 0; e < experiments.size(); ++e) {
    const long draws = std::max(1L, settings.draws / experiments[e].fewer);
    results[e].resize(static_cast<std::size_t>(draws));
    open[e] = results[e].size();
    for (long k = 0; k < draws; ++k) jobs.push_back({e, k});
  }
  std::atomic<std::size_t> next{0};
  std::size_t done = 0;
  std::mutex mutex;
  const auto work = [&] {
    for (std::size_t j = next++; j < jobs.size(); j = next++) {
      const auto [e, draw] = jobs[j];
      detail::DrawResult result = detail::make_draw(experiments[e], settings, draw);
      const std::lock_guard lock(mutex);
      results[e][static_cast<std::size_t>(draw)] = std::move(result);
      tick(++done, jobs.size());
      if (--open[e] == 0) finished(e, detail::summarise(experiments[e], results[e]));
    }
  };
  std::vector<std::thread> workers;
  try {
    for (std::size_t k = 1; k < std::min<std::size_t>(settings.threads, jobs.size()); ++k)
      workers.emplace_back(work);
  } catch (const std::system_error&) {  // the system has no more threads: those that there are do it
  }
  work();
  for (auto& worker : workers) worker.join();
}

}  // namespace laboratory
