// Where files may be written: nothing of another run is replaced unasked.
#pragma once

#include "checkpoint.hpp"
#include "report.hpp"

#include <attnflow/io/atomic_file.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace simulation {

inline constexpr const char* output_files[] = {"times.npy", "tokens.npy", "attention.npy", "report.json",
                                               "view.html"};

inline void check_folder(const Options& o) {
  std::error_code error;
  const fs::file_status status = fs::status(o.out, error);
  if (fs::exists(status) && !fs::is_directory(status))
    refuse("--out: ", o.out, " is a file, expected a folder");
  for (const char* name : output_files)
    if (!o.force && fs::exists(fs::path(o.out) / name, error))
      refuse("--out: ", o.out, " holds ", name,
             " of another run, expected an empty folder (or --force to replace it)");
}

/// Whether the folder of a run that is resumed holds nothing but what the run left there itself: a report with the same
/// options, as of a run that was stopped, or none, as of one that was killed while it wrote its files.
inline bool holds_same_run(const Options& o, Json options) {
  std::ifstream in(fs::path(o.out) / "report.json");
  if (!in) return fs::is_directory(o.out);
  Json found = Json::parse(in, nullptr, false);
  if (!found.is_object() || found["version"] != std::string(attnflow::version) ||
      !found["options"].is_object())
    return false;
  found = Json(found["options"]);
  for (const char* free :
       {"threads", "out", "checkpoint", "checkpoint_every", "resume"}) {  // without effect on it
    found.erase(free);
    options.erase(free);
  }
  return found == options;
}

inline void make_folder(const Options& o) {
  std::error_code error;
  fs::create_directories(o.out, error);
  if (error) refuse("--out: ", o.out, " cannot be created: ", error.message());
  try {
    attnflow::AtomicFile probe(fs::path(o.out) / "times.npy");  // removed at once: it is not committed
  } catch (const std::exception& failure) {
    refuse("--out: ", o.out, " cannot be written: ", failure.what());
  }
}

/// The checkpoint's file must be new, or the one that is resumed, or a checkpoint that --force gives up.
inline void check_checkpoint(const Options& o) {
  if (o.checkpoint.empty()) return;
  std::error_code error;
  const fs::path folder = absolute(o.checkpoint).parent_path();
  if (folder == absolute(o.out)) {
    for (const char* name : output_files)
      if (fs::path(o.checkpoint).filename() == name)
        refuse("--checkpoint: ", o.checkpoint, ", expected a file other than those that the run writes");
  } else if (!fs::is_directory(folder, error)) {
    refuse("--checkpoint: ", o.checkpoint, ", expected a file in a folder that exists");
  }
  if (fs::exists(o.checkpoint, error) &&
      !(!o.resume.empty() && fs::equivalent(o.checkpoint, o.resume, error))) {
    std::string start(attnflow::detail::checkpoint_magic.size(), ' ');
    std::ifstream(o.checkpoint, std::ios::binary)
        .read(start.data(), static_cast<std::streamsize>(start.size()));
    if (start != attnflow::detail::checkpoint_magic)
      refuse("--checkpoint: ", o.checkpoint, " exists and is not a checkpoint, expected a new file");
    if (!o.force)
      refuse(
          "--checkpoint: ", o.checkpoint,
          " is of another run, expected a new file (or --force to replace it, or --resume to go on with it)");
  }
  if (!fs::is_directory(folder, error)) return;  // the run's own, which is still to be made
  try {
    attnflow::AtomicFile probe(o.checkpoint);
  } catch (const std::exception& failure) {
    refuse("--checkpoint: ", failure.what());
  }
}

/// A file that is written beside its place, by whom it may, and moved there later; or removed.
class StagedFile {
 public:
  explicit StagedFile(const fs::path& path)
      : path_(path), staged_(path.parent_path() / ".attnflow-staged.tmp") {}
  StagedFile(const StagedFile&) = delete;
  StagedFile& operator=(const StagedFile&) = delete;
  ~StagedFile() {
    std::error_code ignored;
    fs::remove(staged_, ignored);
  }
  [[nodiscard]] const fs::path& staged() const { return staged_; }
  void commit() const { fs::rename(staged_, path_); }

 private:
  fs::path path_, staged_;
};

/// Returns when the files of the run, and their names, are on the disk: not before may its checkpoint go.
inline void wait_for_disk(const Options& o) {
  const auto sync = [](const fs::path& path) {
    const int file = ::open(path.c_str(), O_RDONLY);
    if (file < 0) return;                                       // no attention.npy, as a rule
    const bool failed = ::fsync(file) != 0 && errno != EINVAL;  // EINVAL: a file system without it
    const std::string why = std::generic_category().message(errno);
    ::close(file);
    if (failed) throw attnflow::FileError(path, "cannot be written: " + why);
  };
  for (const char* name : output_files) sync(fs::path(o.out) / name);
  sync(o.out);
}

}  // namespace simulation
