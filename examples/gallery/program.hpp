// What programs with options of their own share: a line that says how far they are, and a folder.
#pragma once

#include "programs/system.hpp"

#include <attnflow/io/atomic_file.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace gallery {

/// Written over itself, ten times a second at most, once a program takes over two seconds and if stderr is a
/// terminal; clear() makes room for other lines.
class ProgressLine {
 public:
  explicit ProgressLine(bool wanted) : wanted_(wanted && programs::stderr_is_terminal()) {}

  /// \param share  from 0 to 1. \param where  a few words.
  void operator()(double share, const std::string& where) {
    const double now = seconds();
    if (!wanted_ || now < 2 || (shown_ && now < last_ + 0.1)) return;
    last_ = now;
    shown_ = true;
    const int filled = static_cast<int>(share * 30);
    char bar[80];
    std::snprintf(bar, sizeof bar, "\r[%.*s%*s] ", filled, "##############################", 30 - filled, "");
    char left[40] = "";
    if (share > 0) std::snprintf(left, sizeof left, ", about %.0f s left", now * (1 - share) / share);
    std::cerr << bar << where << left << "\033[K" << std::flush;
  }
  void clear() {
    if (shown_) std::cerr << "\r\033[K" << std::flush;
    shown_ = false;
  }
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double last_ = 0;
  bool wanted_, shown_ = false;
};

/// Creates the folder that --out names. \throws std::runtime_error if that fails or if `file` cannot be created there:
/// refused before a run, not after it.
inline void make_folder(const std::string& out, const char* file) {
  std::error_code error;
  std::filesystem::create_directories(out, error);
  if (error || !std::filesystem::is_directory(out, error))
    throw std::runtime_error("--out: " + out + ", expected a folder, or a place where one can be created");
  try {
    const attnflow::AtomicFile probe(std::filesystem::path(out) / file);
  } catch (const attnflow::FileError& refused) {
    throw std::runtime_error("--out: " + std::string(refused.what()));
  }
}

}  // namespace gallery
