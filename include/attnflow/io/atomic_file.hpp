/// \file
/// Files that appear whole or not at all.
#pragma once

#include <attnflow/detail/abi.hpp>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// The text with control characters written \xNN (bytes from 0x80 up too, if `ascii_only`), and cut
/// after `limit` bytes: what a message may quote of a file that nobody has checked.
[[nodiscard]] inline std::string printable(std::string_view text, bool ascii_only, std::size_t limit = 4096) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (ascii_only && byte > 0x7f)) {
      out += "\\x";
      out += digits[byte >> 4];
      out += digits[byte & 15U];
    } else {
      out += c;
    }
  }
  if (text.size() > limit) out += "...";
  return out;
}

/// Eight hexadecimal digits, drawn once in a process: its temporary files are `.attnflow-TAG-N.tmp`, N = 0, 1, …
[[nodiscard]] inline const std::string& temporary_tag() {
  static const std::string tag = [] {
    std::array<char, 9> text{};
    std::snprintf(text.data(), text.size(), "%08x", static_cast<unsigned>(std::random_device{}()));
    return std::string(text.data());
  }();
  return tag;
}

/// Removes from a folder the temporary files of a process that has ended, and that had this tag.
inline void remove_temporaries(const std::filesystem::path& folder, const std::string& tag) {
  const std::string start = ".attnflow-" + tag + '-', end = ".tmp";
  std::error_code error;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::directory_iterator entry(folder, error), none; !error && entry != none;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(start) && name.ends_with(end)) found.push_back(entry->path());
  }
  for (const auto& path : found) std::filesystem::remove(path, error);
}

}  // namespace detail

/// A file that cannot be read or written, or does not hold what it should. The message is one line
/// and starts with the path.
class FileError : public std::runtime_error {
 public:
  /// Named by its path; `reason` says what is wrong with it, and what was expected.
  FileError(const std::filesystem::path& path, std::string_view reason) : FileError(path.string(), reason) {}
  /// Named by text, such as the path that the caller gave. What cannot be printed is escaped.
  FileError(const std::string& name, std::string_view reason)
      : std::runtime_error(detail::printable(name, false) + ": " + std::string(reason)) {}
  /// The same for a literal.
  FileError(const char* name, std::string_view reason) : FileError(std::string(name), reason) {}
};

/// A file being written under a temporary name beside its target. commit() renames it over the
/// target in one step; without commit() the destructor removes it, and a target that existed before
/// is as it was. Whoever opens the target sees the old contents or the new, never a part.
///
/// A program that is killed leaves its temporary (`.attnflow-*.tmp`) behind. A target that is a
/// symbolic link stays one: the file it points to is replaced. Where several files belong together, close() all of
/// them before the first commit(): what is left can no longer fail for lack of space. Not for use from two threads
/// at once.
class AtomicFile {
 public:
  /// Creates the temporary file.
  /// \throws FileError  if the target is a directory or a device, or the file cannot be created.
  explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)), target_(resolve(path_)) {
    static std::atomic<unsigned long> count{0};
    for (int attempt = 0; attempt < 100; ++attempt) {
      temporary_ = target_.parent_path() /
                   (".attnflow-" + detail::temporary_tag() + '-' + std::to_string(count++) + ".tmp");
      errno = 0;
      file_.reset(open_new(temporary_));
      if (file_ || errno != EEXIST) break;
    }
    if (!file_) throw FileError(path_, "cannot be created: " + reason());
  }

  /// The file goes on in the new object; the old one holds none.
  AtomicFile(AtomicFile&& other) noexcept
      : path_(std::move(other.path_)),
        target_(std::move(other.target_)),
        temporary_(std::exchange(other.temporary_, {})),
        file_(std::move(other.file_)),
        closed_(other.closed_) {}
  AtomicFile& operator=(AtomicFile&&) = delete;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  ~AtomicFile() {
    file_.reset();
    remove_temporary();
  }

  /// Appends the bytes. \throws FileError, as when the disk is full; \throws std::logic_error after commit().
  void write(std::string_view bytes) {
    require_open();
    errno = 0;
    if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size())
      throw FileError(path_, "cannot be written: " + reason());
  }

  /// Replaces bytes at the start of what has been written, as for a header that holds a count known
  /// only at the end; write() goes on at the end. \pre no more bytes than have been written.
  void rewrite_start(std::string_view bytes) {
    require_open();
    errno = 0;
    if (std::fseek(file_.get(), 0, SEEK_SET) != 0) throw FileError(path_, "cannot be written: " + reason());
    write(bytes);
    if (std::fseek(file_.get(), 0, SEEK_END) != 0) throw FileError(path_, "cannot be written: " + reason());
  }

  /// Waits until what has been written is on the disk, where the system can say so (POSIX fsync). With it before
  /// commit() the target holds the old contents or the new after a power failure, too; without it, after the
  /// program's own end, however abrupt. Takes as long as the disk does: milliseconds and more.
  /// \throws FileError if that fails.
  void sync() {
    require_open();
    errno = 0;
    bool done = std::fflush(file_.get()) == 0;
#if defined(__unix__) || defined(__APPLE__)
    done = done && (fsync(fileno(file_.get())) == 0 || errno == EINVAL);  // EINVAL: a file system without it
#endif
    if (!done) throw FileError(path_, "cannot be written: " + reason());
  }

  /// Flushes and closes: nothing more can be written, and commit() has only to rename. Once is enough.
  /// \throws FileError if that fails, or any write before did: the temporary is then gone.
  void close() {
    if (closed_) return;
    require_open();
    errno = 0;
    std::string why;
    if (std::ferror(file_.get()) != 0)
      why = "an earlier write failed";
    else if (std::fflush(file_.get()) != 0)
      why = reason();
    if (std::fclose(file_.release()) != 0 && why.empty()) why = reason();
    closed_ = true;
    if (why.empty()) return;
    remove_temporary();
    throw FileError(path_, "cannot be written: " + why);
  }

  /// Closes, if close() did not, and renames over the target. \throws FileError if any of these fails, or any
  /// write before did: the temporary is then gone and the target as it was.
  void commit() {
    close();
    if (temporary_.empty()) throw std::logic_error("AtomicFile: used after commit()");
    std::error_code error;
    std::filesystem::rename(temporary_, target_, error);
    if (error) {
      remove_temporary();
      throw FileError(path_, "cannot be renamed from its temporary name: " + error.message());
    }
    temporary_.clear();
  }

  /// The path as the caller gave it.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };

  static std::FILE* open_new(const std::filesystem::path& path) {
#ifdef _WIN32
    return _wfopen(path.c_str(), L"wbx");
#else
    return std::fopen(path.c_str(), "wbx");
#endif
  }

  static std::filesystem::path resolve(const std::filesystem::path& path) {
    if (!path.has_filename()) throw FileError(path, "cannot be created: not the name of a file");
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (std::filesystem::is_directory(status)) throw FileError(path, "cannot be created: it is a directory");
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
      throw FileError(path, "cannot be created: it exists and is not a regular file");
    if (std::filesystem::is_symlink(std::filesystem::symlink_status(path, error))) {
      const auto target = std::filesystem::weakly_canonical(path, error);
      if (!error && !std::filesystem::is_symlink(std::filesystem::symlink_status(target, error)))
        return target;
    }
    return path;
  }

  static std::string reason() {
    return errno == 0 ? "unknown reason" : std::generic_category().message(errno);
  }

  void require_open() const {
    if (!file_) throw std::logic_error("AtomicFile: used after close() or commit()");
  }

  void remove_temporary() noexcept {
    std::error_code ignored;
    if (!temporary_.empty()) std::filesystem::remove(temporary_, ignored);
    temporary_.clear();
  }

  std::filesystem::path path_, target_, temporary_;
  std::unique_ptr<std::FILE, Close> file_;
  bool closed_ = false;
};

}}  // namespace attnflow
