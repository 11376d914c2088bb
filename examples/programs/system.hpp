// What the programs ask of the operating system: everything that POSIX and Windows spell differently is here.
#pragma once

#include <attnflow/io/atomic_file.hpp>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#include <process.h>
#include <share.h>
#include <sys/stat.h>
#else
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace programs {

namespace fs = std::filesystem;

[[nodiscard]] inline bool stderr_is_terminal() {
#ifdef _WIN32
  return _isatty(_fileno(stderr)) != 0;
#else
  return isatty(STDERR_FILENO) != 0;
#endif
}

/// What is wrong with the values on a command line, whoever reads it: one is empty, as "$OUT" with OUT not set, or is
/// not there, so that the next option stands in its place, as --quiet in `--out --quiet`. Empty if nothing is wrong.
/// \param takes_value  whether an option, such as "--out", takes a value.
template <class TakesValue>
[[nodiscard]] std::string mistake_of_values(int argc, char** argv, const TakesValue& takes_value) {
  for (int k = 1; k < argc; ++k) {
    const std::string word = argv[k], next = k + 1 < argc ? argv[k + 1] : "";
    if (word.empty()) return std::string(k > 1 ? argv[k - 1] : "command line") + ": empty, expected a value";
    if (!word.starts_with("--")) continue;
    if (word.find('=') == word.size() - 1)
      return word.substr(0, word.size() - 1) + ": empty, expected a value";
    if (next.starts_with("--") && takes_value(word))
      return word + ": " + next + ", expected a value (a name that starts with -- is written ./" + next + ")";
  }
  return {};
}
/// Of the options of a CLI::App.
template <class App>
[[nodiscard]] std::string mistake_of_values(const App& app, int argc, char** argv) {
  return mistake_of_values(argc, argv, [&](const std::string& name) {
    const auto* const option = app.get_option_no_throw(name);
    return option != nullptr && option->get_expected_min() > 0;
  });
}

/// Whether all that was said on standard output has arrived, by std::cout or by printf; if not, says so on standard
/// error.
[[nodiscard]] inline bool said_all(const char* program) {
  errno = 0;
  if (std::cout.flush() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return true;
  std::cerr << program << ": standard output cannot be written"
            << (errno != 0 ? ": " + std::generic_category().message(errno) : std::string()) << '\n';
  return false;
}

/// Sets a variable of the environment, unless it is set.
inline void set_default(const char* name, const std::string& value) {
  if (std::getenv(name) != nullptr) return;
#ifdef _WIN32
  _putenv_s(name, value.c_str());
#else
  ::setenv(name, value.c_str(), 0);
#endif
}

/// Makes a file that outgrows the limit of the shell (`ulimit -f`) an error of writing instead of a signal that ends
/// the program without a word.
inline void report_files_that_are_too_large() {
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);
#endif
}

/// Returns when a file, or the names in a folder, are on the disk; nothing where the system cannot say so.
/// \throws attnflow::FileError if that fails.
inline void wait_for_disk([[maybe_unused]] const fs::path& path) {
#ifndef _WIN32
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;                                       // no such file
  const bool failed = ::fsync(file) != 0 && errno != EINVAL;  // EINVAL: a file system without it
  const std::string why = std::generic_category().message(errno);
  ::close(file);
  if (failed) throw attnflow::FileError(path, "cannot be written: " + why);
#endif
}

/// The bytes of memory that this process may take: those of the machine and its swap space, of its control group, or
/// of the limit of the shell (`ulimit -v`), whichever is least. Infinite where the system does not say.
[[nodiscard]] inline double memory_limit() {
  double least = std::numeric_limits<double>::infinity();
#ifndef _WIN32
#ifdef _SC_PHYS_PAGES
  if (const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE); pages > 0 && size > 0)
    least = static_cast<double>(pages) * static_cast<double>(size);
#endif
  std::ifstream machine("/proc/meminfo");  // Linux
  for (std::string name, unit; machine >> name;) {
    double kilobytes = 0;
    if (name == "SwapTotal:" && machine >> kilobytes) least += 1024 * kilobytes;
    std::getline(machine, unit);
  }
  if (double group = 0; std::ifstream("/sys/fs/cgroup/memory.max") >> group && group < least) least = group;
  rlimit shell{};
  if (getrlimit(RLIMIT_AS, &shell) == 0 && shell.rlim_cur != RLIM_INFINITY &&
      static_cast<double>(shell.rlim_cur) < least)
    least = static_cast<double>(shell.rlim_cur);
#endif
  return least;
}

/// "NAME, process 123 on HOST, since 2026-01-31 12:00:00 UTC".
[[nodiscard]] inline std::string this_process(const std::string& name) {
#ifdef _WIN32
  const int process = _getpid();
  std::string where = std::getenv("COMPUTERNAME") != nullptr ? std::getenv("COMPUTERNAME") : "this machine";
#else
  const auto process = getpid();
  std::array<char, 256> host{};
  std::string where = gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "this machine";
#endif
  std::array<char, 64> since{};
  const std::time_t now = std::time(nullptr);
  if (const std::tm* utc = std::gmtime(&now))
    std::strftime(since.data(), since.size(), ", since %Y-%m-%d %H:%M:%S UTC", utc);
  return name + ", process " + std::to_string(process) + " on " + where + since.data();
}

/// Somebody else has the lock; what() says who.
struct Locked : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A lock that one process has at a time: a file in which its owner may say who it is, and that goes away with the
/// lock. The lock of a process that was killed is free at once, whatever file it left; left() is what that file says.
/// On a file system without locks everybody gets it.
class Lock {
 public:
  /// \throws Locked; attnflow::FileError if the file cannot be created.
  explicit Lock(fs::path path) : path_(std::move(path)) {
#ifdef _WIN32
    // Nobody else may write to the file, and it is removed when it is closed, by the system if need be.
    const int failure = _wsopen_s(&file_, path_.c_str(), _O_CREAT | _O_RDWR | _O_TEMPORARY | _O_BINARY,
                                  _SH_DENYWR, _S_IREAD | _S_IWRITE);
    if (failure == EACCES && fs::exists(path_)) throw Locked("another process");
    if (failure != 0)
      throw attnflow::FileError(path_, "cannot be created: " + std::generic_category().message(failure));
#else
    for (;;) {
      file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
      if (file_ < 0)
        throw attnflow::FileError(path_, "cannot be created: " + std::generic_category().message(errno));
      if (::flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        std::string holder = contents();
        for (int wait = 0; holder.empty() && wait < 20; ++wait) {  // it is about to be written
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
          holder = contents();
        }
        ::close(file_);
        throw Locked(holder.empty() ? "another process" : holder.substr(0, holder.find('\n')));
      }
      // The file may have been removed, with the lock of its owner, after it was opened here: then it locks nothing.
      struct stat mine {
      }, named{};
      if (::fstat(file_, &mine) == 0 && ::stat(path_.c_str(), &named) == 0 && mine.st_ino == named.st_ino &&
          mine.st_dev == named.st_dev)
        break;
      ::close(file_);
    }
    left_ = contents();
#endif
  }
  Lock(Lock&& other) noexcept
      : path_(std::move(other.path_)),
        left_(std::move(other.left_)),
        file_(std::exchange(other.file_, -1)),
        keeps_file_(other.keeps_file_) {}
  Lock& operator=(Lock&&) = delete;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() {
    if (file_ < 0) return;
#ifdef _WIN32
    _close(file_);
#else
    if (!keeps_file_) ::unlink(path_.c_str());  // before it is free: nobody else can have it by this name
    ::close(file_);
#endif
  }

  /// Makes the text what the file says; its first line names the owner. A disk without room for it is no error: the lock
  /// holds without.
  void write(const std::string& text) const {
#ifdef _WIN32
    static_cast<void>(_write(file_, text.data(), static_cast<unsigned>(text.size())));
#else
    static_cast<void>(::pwrite(file_, text.data(), text.size(), 0) < 0 ||
                      ::ftruncate(file_, static_cast<off_t>(text.size())) != 0);
#endif
  }

  /// What a process wrote that had the lock and was killed; else empty.
  [[nodiscard]] const std::string& left() const noexcept { return left_; }
  /// Leaves the file as if the process had been killed: who has the lock next reads it.
  void keep_file() noexcept { keeps_file_ = true; }

 private:
#ifndef _WIN32
  [[nodiscard]] std::string contents() const {
    std::array<char, 1024> bytes{};
    const auto count = ::pread(file_, bytes.data(), bytes.size(), 0);
    return count > 0 ? std::string(bytes.data(), static_cast<std::size_t>(count)) : std::string();
  }
#endif

  fs::path path_;
  std::string left_;
  int file_ = -1;
  bool keeps_file_ = false;
};

}  // namespace programs
