/// \file
/// A line that says how far a run is.
#pragma once

#include <attnflow/integrators/concepts.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <ostream>
#include <string>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Writes a bar with the time reached, the steps made and an estimate of what is left, once a run takes
/// longer than `patience` seconds; ten times a second, over the same line. finish() clears it.
///
/// The estimate follows the time reached per second since the start; steps of a stiff phase make it
/// optimistic.
class Progress {
 public:
  /// \param out  must live as long as this; a terminal as a rule.
  Progress(std::ostream& out, double from, double to, double patience = 2)
      : out_(&out), from_(from), to_(to), patience_(patience), start_(Clock::now()), last_(start_) {}

  /// Counts a step; every tenth of a second it redraws the line.
  void operator()(double t, const auto& /*x*/) {
    ++steps_;
    const auto now = Clock::now();
    if (seconds(now - start_) < patience_ || (shown_ && seconds(now - last_) < 0.1)) return;
    last_ = now;
    shown_ = true;
    const double share = to_ > from_ ? std::clamp((t - from_) / (to_ - from_), 0.0, 1.0) : 1.0;
    const double elapsed = seconds(now - start_);
    const int filled = static_cast<int>(share * 30);
    char text[160];
    std::snprintf(text, sizeof text, "\r[%.*s%*s] t = %.6g of %.6g, %ld steps, %s left   ", filled,
                  "##############################", 30 - filled, "", t, to_, steps_ - 1,
                  share > 0 ? duration(elapsed * (1 - share) / share).c_str() : "?");
    std::string line = text;
    const std::size_t width = line.size();
    if (width < width_) line.append(width_ - width, ' ');  // over what a longer line left
    width_ = width;
    *out_ << line << std::flush;
  }

  /// Clears the line, if there is one.
  void finish() {
    if (shown_) *out_ << '\r' << std::string(110, ' ') << '\r' << std::flush;
    shown_ = false;
    width_ = 0;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }
  static std::string duration(double s) {
    char text[40];
    if (s < 90)
      std::snprintf(text, sizeof text, "%.0f s", s);
    else if (s < 5400)
      std::snprintf(text, sizeof text, "%.0f min", s / 60);
    else
      std::snprintf(text, sizeof text, "%.1f h", (std::min)(s / 3600, 1e6));
    return text;
  }

  std::ostream* out_;
  double from_, to_, patience_;
  Clock::time_point start_, last_;
  std::size_t width_ = 0;  // of the line on show
  long steps_ = 0;
  bool shown_ = false;
};

}}  // namespace attnflow
