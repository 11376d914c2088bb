#include <attnflow/io/atomic_file.hpp>

#include "catch.hpp"
#include "folder.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <type_traits>
#include <utility>

#if __has_include(<sys/resource.h>)
#include <sys/resource.h>

#include <csignal>
#endif

namespace {

namespace fs = std::filesystem;
using attnflow::AtomicFile;
using attnflow::FileError;
using Catch::Matchers::ContainsSubstring;

void put(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

static_assert(!std::is_copy_constructible_v<AtomicFile> && std::is_nothrow_move_constructible_v<AtomicFile>);

}  // namespace

TEST_CASE("atomic file: nothing is seen before commit, everything after", "[io]") {
  const Folder folder;
  AtomicFile file(folder / "a");
  file.write(std::string_view("12\0\n\r\n", 6));
  file.write("");
  file.write("end");
  CHECK_FALSE(fs::exists(folder / "a"));
  file.commit();
  CHECK(get(folder / "a") == std::string("12\0\n\r\nend", 9));
  CHECK(folder.files() == 1);
  CHECK(file.path() == folder / "a");
  CHECK_THROWS_AS(file.write("more"), std::logic_error);
  CHECK_THROWS_AS(file.commit(), std::logic_error);
}

TEST_CASE("atomic file: without commit the target is as it was", "[io]") {
  const Folder folder;
  put(folder / "a", "before");
  { AtomicFile(folder / "a").write("after"); }
  CHECK(get(folder / "a") == "before");
  CHECK(folder.files() == 1);
  AtomicFile file(folder / "a");
  file.write("after");
  file.commit();
  CHECK(get(folder / "a") == "after");
  CHECK(folder.files() == 1);
}

TEST_CASE("atomic file: the start can be rewritten, and writing goes on at the end", "[io]") {
  const Folder folder;
  AtomicFile file(folder / "a");
  file.write("????body");
  file.rewrite_start("head");
  file.write(" tail");
  file.rewrite_start("HE");
  file.commit();
  CHECK(get(folder / "a") == "HEadbody tail");
}

TEST_CASE("atomic file: moved, it is committed or removed once", "[io]") {
  const Folder folder;
  {
    AtomicFile first(folder / "a");
    first.write("one ");
    AtomicFile second(std::move(first));
    second.write("two");
    second.commit();
    AtomicFile third(folder / "b");
    const AtomicFile fourth(std::move(third));
    CHECK(folder.files() == 2);
  }
  CHECK(get(folder / "a") == "one two");
  CHECK(folder.files() == 1);
}

TEST_CASE("atomic file: closed, it has only to be renamed", "[io]") {
  const Folder folder;
  {
    AtomicFile file(folder / "a");
    file.write("whole");
    file.close();
    file.close();
    CHECK_THROWS_AS(file.write("more"), std::logic_error);
    CHECK_FALSE(fs::exists(folder / "a"));
    AtomicFile moved(std::move(file));
    moved.commit();
    CHECK_THROWS_AS(moved.commit(), std::logic_error);
    AtomicFile never(folder / "b");
    never.close();
  }
  CHECK(get(folder / "a") == "whole");
  CHECK(folder.files() == 1);
}

TEST_CASE("atomic file: temporaries of a process are known by its tag", "[io]") {
  const Folder folder;
  const std::string tag = attnflow::detail::temporary_tag();
  CHECK(tag.size() == 8);
  AtomicFile file(folder / "a");
  const std::string name = fs::directory_iterator(folder.path)->path().filename().string();
  CHECK(name.rfind(".attnflow-" + tag + "-", 0) == 0);
  put(folder / ".attnflow-0badc0de-7.tmp", "");
  attnflow::detail::remove_temporaries(folder.path, "0badc0d");
  attnflow::detail::remove_temporaries(folder.path / "none", tag);
  CHECK(folder.files() == 2);
  attnflow::detail::remove_temporaries(folder.path, "0badc0de");
  CHECK(folder.files() == 1);
  attnflow::detail::remove_temporaries(folder.path, tag);
  CHECK(folder.files() == 0);
  CHECK_THROWS_AS(file.commit(), FileError);  // its temporary is gone
}

TEST_CASE("atomic file: two writers of one target do not disturb each other", "[io]") {
  const Folder folder;
  AtomicFile first(folder / "a"), second(folder / "a");
  first.write("first");
  second.write("second");
  second.commit();
  CHECK(get(folder / "a") == "second");
  first.commit();
  CHECK(get(folder / "a") == "first");
}

TEST_CASE("atomic file: what cannot be created says which and why", "[io]") {
  const Folder folder;
  CHECK_THROWS_WITH(AtomicFile(folder.path / "none" / "a"),
                    (folder.path / "none" / "a").string() + ": cannot be created: No such file or directory");
  CHECK_THROWS_WITH(AtomicFile(folder.path), ContainsSubstring("cannot be created: it is a directory"));
  CHECK_THROWS_WITH(AtomicFile(folder.path / ""),
                    ContainsSubstring("cannot be created: not the name of a file"));
  CHECK_THROWS_WITH(AtomicFile(""), ContainsSubstring("cannot be created: not the name of a file"));
  put(folder / "file", "");
  CHECK_THROWS_AS(AtomicFile(folder.path / "file" / "a"), FileError);
  CHECK_THROWS_WITH(AtomicFile(folder.path / "line\nbreak" / "a"), ContainsSubstring("line\\x0abreak"));
#ifdef __unix__
  CHECK_THROWS_WITH(AtomicFile("/dev/null"), ContainsSubstring("not a regular file"));
#endif
}

TEST_CASE("atomic file: a target that turns into a directory is a failed rename, and leaves nothing",
          "[io]") {
  const Folder folder;
  AtomicFile file(folder / "a");
  fs::create_directories(folder.path / "a" / "b");
  CHECK_THROWS_WITH(file.commit(), ContainsSubstring("a: cannot be renamed from its temporary name: "));
  CHECK(folder.files() == 1);
}

#ifdef __unix__
TEST_CASE("atomic file: a symbolic link stays one", "[io]") {
  const Folder folder;
  put(folder / "a", "before");
  fs::create_symlink("a", folder / "link");
  AtomicFile file(folder / "link");
  file.write("after");
  file.commit();
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(get(folder / "a") == "after");
  CHECK(folder.files() == 2);
}
#endif

#if __has_include(<sys/resource.h>)
TEST_CASE("atomic file: a full disk is an error, and leaves nothing", "[io]") {
  const Folder folder;
  put(folder / "a", "before");
  // A limit on the size of a file stands for a full disk: the write fails in the same place.
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = 10000;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  std::string large, late;
  try {
    AtomicFile file(folder / "a");
    file.write(std::string(100000, 'x'));
  } catch (const FileError& error) {
    large = error.what();
  }
  {
    AtomicFile file(folder / "a");
    try {
      file.write(std::string(100000, 'x'));
    } catch (const FileError&) {
      try {
        file.commit();
      } catch (const FileError& error) {
        late = error.what();
      }
    }
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK_THAT(large, ContainsSubstring((folder / "a").string() + ": cannot be written: File too large"));
  CHECK_THAT(late, ContainsSubstring("cannot be written: an earlier write failed"));
  CHECK(get(folder / "a") == "before");
  CHECK(folder.files() == 1);
}
#endif
