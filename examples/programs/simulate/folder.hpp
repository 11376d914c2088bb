// Where files may be written: nothing of another run is replaced unasked, and two runs do not write to one place.
#pragma once

#include "programs/json_place.hpp"
#include "programs/simulate/checkpoint.hpp"
#include "programs/simulate/report.hpp"
#include "programs/system.hpp"

#include <attnflow/io/atomic_file.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace simulation {

inline constexpr const char* output_files[] = {"times.npy", "tokens.npy", "attention.npy", "report.json",
                                               "view.html"};
inline constexpr const char* lock_name = ".attnflow-lock";

/// Whether the folder of a run that is resumed holds nothing but what the run left there itself: a report with the same
/// options, as of a run that was stopped, or, without a report, the lock of a process of this run that was killed.
/// Refuses a report that is not one, unless it may be replaced.
inline bool holds_same_run(const Options& o, Json options, const std::string& left, const std::string& run) {
  std::error_code error;
  const fs::path report = fs::path(o.out) / "report.json";
  if (!fs::exists(report, error)) return line_after(left, "run ") == run;
  Json found;
  try {
    const programs::JsonPlace::Json json = programs::JsonPlace::load(report);
    const programs::JsonPlace place(json, report.string());
    if (place["version"].text() != attnflow::version) return false;
    found = place["options"].object();
  } catch (const std::runtime_error& mistake) {
    if (o.force) return false;
    refuse("--out: ", mistake.what(), " in the report of a run (or --force to replace it)");
  }
  options = Json::parse(text_of(options));
  for (const char* free :
       {"threads", "out", "checkpoint", "checkpoint_every", "resume"}) {  // without effect on it
    found.erase(free);
    options.erase(free);
  }
  return found == options;
}

/// A lock for a run. Temporary files that a killed process left beside it are removed.
inline programs::Lock lock_for(const char* option, const std::string& what, const fs::path& file) {
  try {
    programs::Lock lock(file);
    const std::string tag = line_after(lock.left(), "temporaries ");
    if (tag.size() == 8) attnflow::detail::remove_temporaries(file.parent_path(), tag);
    return lock;
  } catch (const programs::Locked& locked) {
    refuse(option, ": ", what, " is in use by ", locked.what(), ", expected one that no other run writes to");
  } catch (const std::exception& failure) {
    refuse(option, ": ", what, " cannot be written: ", failure.what());
  }
}

/// What the lock of this process says: who it is, how its temporary files are called, and the name of its run.
inline std::string lock_text(const std::string& run) {
  return programs::this_process(program_name) + "\ntemporaries " + attnflow::detail::temporary_tag() +
         (run.empty() ? "" : "\nrun " + run) + '\n';
}

/// The folder of a run: made if need be, and locked. Folders that were made and are empty in the end are removed.
class OutputFolder {
 public:
  explicit OutputFolder(const Options& o) : path_(o.out) {
    std::error_code error;
    const fs::file_status status = fs::status(o.out, error);
    if (fs::exists(status) && !fs::is_directory(status))
      refuse("--out: ", o.out, " is a file, expected a folder");
    for (fs::path missing = absolute(o.out); !fs::exists(missing, error) && missing.has_relative_path();
         missing = missing.parent_path())
      made_.push_back(missing);
    fs::create_directories(o.out, error);
    if (error) {
      remove_empty();
      refuse("--out: ", o.out, " cannot be created: ", error.message());
    }
    try {
      lock_.emplace(lock_for("--out", o.out, fs::path(o.out) / lock_name));
    } catch (...) {
      remove_empty();
      throw;
    }
  }
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder() {
    if (lock_) release();
  }

  /// What a killed process said of itself that had the lock before; else empty.
  [[nodiscard]] const std::string& left() const { return lock_->left(); }

  /// The folder becomes that of the run: its lock says so. Before that the lock says what it said.
  void take(const std::string& run) {
    lock_->write(lock_text(run));
    taken_ = true;
  }

  void release() {
    std::error_code error;
    const auto is_there = [&](const char* name) { return fs::exists(path_ / name, error); };
    // Files without a report are known by the lock.
    if (taken_ ? !is_there("report.json") && std::ranges::any_of(output_files, is_there) : !left().empty())
      lock_->keep_file();
    lock_.reset();
    remove_empty();
  }

 private:
  void remove_empty() {
    std::error_code ignored;
    for (const fs::path& folder : made_) fs::remove(folder, ignored);
    made_.clear();
  }

  fs::path path_;
  std::vector<fs::path> made_;  // the deepest first
  std::optional<programs::Lock> lock_;
  bool taken_ = false;
};

/// Refuses a folder with files of another run, unless they may be replaced. \pre it is locked.
inline void check_folder(const Options& o) {
  std::error_code error;
  for (const char* name : output_files)
    if (!o.force && fs::exists(fs::path(o.out) / name, error))
      refuse("--out: ", o.out, " holds ", name,
             " of another run, expected an empty folder (or --force to replace it)");
}

/// The lock of a checkpoint, in the folder where the file is.
inline programs::Lock lock_checkpoint(const char* option, const std::string& checkpoint) {
  std::error_code error;
  fs::path file = fs::weakly_canonical(checkpoint, error);
  if (error) file = absolute(checkpoint);
  file += ".lock";
  programs::Lock lock = lock_for(option, checkpoint, file);
  lock.write(lock_text(""));
  return lock;
}

/// The checkpoint's file must be in a folder that there is, or in that of the run.
inline void check_place_of_checkpoint(const Options& o) {
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
}

/// The file must be new, or the one that is resumed, or a checkpoint that --force gives up. \pre it is locked.
inline void check_checkpoint(const Options& o) {
  std::error_code error;
  if (fs::exists(o.checkpoint, error) &&
      !(!o.resume.empty() && fs::equivalent(o.checkpoint, o.resume, error))) {
    std::string start(attnflow::detail::checkpoint_magic.size(), ' ');
    if (fs::is_regular_file(o.checkpoint, error))  // to open a pipe would wait for its other end
      std::ifstream(o.checkpoint, std::ios::binary)
          .read(start.data(), static_cast<std::streamsize>(start.size()));
    if (start != attnflow::detail::checkpoint_magic)
      refuse("--checkpoint: ", o.checkpoint, " exists and is not a checkpoint, expected a new file");
    if (!o.force)
      refuse(
          "--checkpoint: ", o.checkpoint,
          " is of another run, expected a new file (or --force to replace it, or --resume to go on with it)");
  }
  try {
    attnflow::AtomicFile probe(o.checkpoint);
  } catch (const std::exception& failure) {
    refuse("--checkpoint: ", failure.what());
  }
}

/// Makes room for the files of a run that are about to be given their names: those of an earlier run go, its report
/// first, so that a folder never holds files of two runs, and one without a report is not finished. A symbolic link
/// stays; what it points to goes.
inline void remove_earlier_files(const fs::path& folder) {
  for (const char* name : {"report.json", "view.html", "attention.npy", "tokens.npy", "times.npy"}) {
    std::error_code error;
    fs::path file = folder / name;
    if (fs::is_symlink(fs::symlink_status(file, error))) file = fs::weakly_canonical(file, error);
    fs::remove(file, error);
    if (error) throw attnflow::FileError(file, "cannot be replaced: " + error.message());
  }
}

/// Returns when the files of the run, and their names, are on the disk: not before may its checkpoint go.
inline void wait_for_disk(const Options& o) {
  for (const char* name : output_files) programs::wait_for_disk(fs::path(o.out) / name);
  programs::wait_for_disk(o.out);
}

}  // namespace simulation
