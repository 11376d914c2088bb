// What a run costs: refused where memory cannot hold it, said where it takes long.
#pragma once

#include "programs/simulate/options.hpp"
#include "programs/system.hpp"

#include <chrono>
#include <cmath>
#include <cstddef>
#include <iomanip>
#include <sstream>
#include <string>

namespace simulation {

/// "12 GB", in three digits.
inline std::string in_gigabytes(double bytes) {
  std::ostringstream text;
  text << std::setprecision(3) << bytes / 1e9 << " GB";
  return text.str();
}

/// "5 minutes".
inline std::string duration_text(double seconds) {
  constexpr struct {
    double seconds;
    const char* name;
  } units[] = {{31557600, " years"}, {86400, " days"}, {3600, " hours"}, {60, " minutes"}, {0, " seconds"}};
  std::ostringstream text;
  for (const auto& unit : units) {
    if (seconds < 2 * unit.seconds) continue;
    text << std::setprecision(2) << (unit.seconds > 0 ? seconds / unit.seconds : seconds) << unit.name;
    break;
  }
  return text.str();
}

/// The least memory in bytes that a run takes: the tokens as they were drawn, where they start, where they are, and what
/// the stepper holds; with a checkpoint, all rows that are saved.
inline double least_memory(const Options& o, double n, double d, double saved) {
  const double held = o.system == "layers" ? 2 : o.stepper == "dopri5" ? 9 : o.stepper == "rk4" ? 5 : 3;
  const double rows = o.checkpoint.empty() ? 0 : saved;
  return n * d * (8 + (o.precision == "float" ? 4 : 8) * (3 + held + rows));
}

/// Refuses what does not fit into the memory there is.
inline void require_memory(const Options& o, const std::string& source, double n, double d, double saved) {
  const double needed = least_memory(o, n, d, saved), limit = programs::memory_limit();
  if (needed <= limit) return;
  refuse(source, ": ", static_cast<long>(n), " tokens in dimension ", static_cast<long>(d),
         saved > 0 ? " and their checkpoint" : "", " need at least ", in_gigabytes(needed),
         " of memory, expected at most ", in_gigabytes(limit), ", which is all there is here");
}

/// What a run of many tokens costs, in words, where one drift takes more than a minute; else empty. Found by computing
/// the drift of the first 2000 tokens.
template <class Run, class State>
std::string cost_of(const Options& o, const Run& run, const State& x, std::size_t heads) {
  constexpr Eigen::Index few = 2000;
  constexpr double long_time = 60;
  const auto n = static_cast<double>(x.cols());
  if (x.cols() < 10 * few) return "";
  const State part = x.leftCols(few);
  using Clock = std::chrono::steady_clock;
  const auto began = Clock::now();
  State moved = part;
  if (o.system == "layers")
    run.layer(moved);
  else
    run.field(0, part, moved);
  const double taken = std::chrono::duration<double>(Clock::now() - began).count();
  const double pairs = n * n * static_cast<double>(heads) * (o.mask == "none" ? 1 : 0.5);
  const double seconds = taken * (n / few) * (n / few);
  if (!(seconds > long_time)) return "";
  std::ostringstream text;
  text << std::setprecision(2) << "each " << (o.system == "layers" ? "layer" : "evaluation of the drift")
       << " is of " << pairs << " pairs of tokens and takes about " << duration_text(seconds)
       << " on this machine; a run takes at least "
       << in_gigabytes(least_memory(o, n, static_cast<double>(x.rows()), 0)) << " of memory";
  return text.str();
}

}  // namespace simulation
