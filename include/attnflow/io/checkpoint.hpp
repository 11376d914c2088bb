/// \file
/// Checkpoints: what a run needs to go on after its program has ended, in one file.
///
/// A checkpoint is saved by an observer at the end of a step, which changes no bit of the run:
///
///     Checkpoint c = new_checkpoint("my_program", "1.0");
///     auto keep = every_seconds<State>(60, [&](const StepView<State>& step) {
///       c.t = step.t1();
///       c.steps = step.report().steps;
///       c.remember(stepper);
///       c.set("state", step.state());
///       save_checkpoint("run.checkpoint", c);
///     });
///     integrate(field, stepper, x, plan, keep);
///
/// and another process goes on to the same bits, by the same binary:
///
///     const Checkpoint c = load_checkpoint("run.checkpoint");
///     require_same_program(c, "my_program", "1.0", "run.checkpoint");
///     c.restore(stepper);
///     x = c.tokens<double>("state");
///     plan.from = c.t;                // AdaptiveSteps; FixedSteps: plan.first = c.steps
///     integrate(field, stepper, x, plan, observer);
///
/// There, c.steps is what it was and step.report().steps; observers that record at given times are given those after
/// c.t. `simulate --checkpoint` (examples/programs/simulate/go.hpp) does all of it.
///
/// detail/checkpoint_format.hpp has the layout of the file.
#pragma once

#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/checkpoint_contents.hpp>
#include <attnflow/io/detail/checkpoint_format.hpp>
#include <attnflow/simd/level.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A checkpoint of this program to be filled: with the build and the level of vector instructions it runs with.
[[nodiscard]] inline Checkpoint new_checkpoint(std::string program, std::string program_version) {
  Checkpoint c;
  c.program = std::move(program);
  c.version = std::move(program_version);
  c.build = detail::build_text();
  c.simd = name_of(simd_level());
  return c;
}

/// Refuses what would not go on to the same bits.
/// \param name  what the message calls the checkpoint, such as its path.
/// \throws FileError unless program, version, build and level of vector instructions are this program's own.
inline void require_same_program(const Checkpoint& c, std::string_view program,
                                 std::string_view program_version, const std::string& name) {
  const auto require = [&](const std::string& found, const std::string& expected) {
    if (found != expected)
      throw FileError(name,
                      "was written by " + detail::printable(found, true, 200) + ", expected " + expected);
  };
  require(c.program, std::string(program));
  const std::string own(program);
  require(c.program + " " + c.version, own + " " + std::string(program_version));
  require(own + " built by " + c.build, own + " built by " + detail::build_text());
  const std::string level(name_of(simd_level()));
  if (c.simd == level) return;
  const bool here = std::ranges::any_of(
      simd_levels, [&](SimdLevel each) { return name_of(each) == c.simd && has_simd_level(each); });
  throw FileError(name, "was computed with " + detail::printable(c.simd, true, 40) + " instructions, " +
                            (here ? "this program runs with " + level + ": ATTNFLOW_SIMD chooses them"
                                  : "which this processor or compiler does not have"));
}

/// Writes a checkpoint, whole or not at all: until the last moment, and where anything fails, the file is what it
/// was. Waits for the disk, so that this holds for a power failure, too. Memory: none beside the checkpoint's own.
/// \throws std::invalid_argument if it is none that load_checkpoint() would take; FileError as when the disk is full.
inline void save_checkpoint(const std::filesystem::path& path, const Checkpoint& c) {
  if (const std::string flaw = detail::flaw_of(c); !flaw.empty())
    detail::refuse("save_checkpoint: the checkpoint ", flaw);
  AtomicFile file(path);
  const auto write = [&file](std::string_view bytes) { file.write(bytes); };
  write(std::string(detail::checkpoint_header, '\0'));
  detail::CheckpointEncoder content(write);
  detail::encode(content, c);
  std::string start;
  detail::CheckpointEncoder header([&start](std::string_view bytes) { start += bytes; });
  header.bytes(detail::checkpoint_magic);
  header.number(detail::checkpoint_format);
  header.number(content.size() + detail::checkpoint_header);
  header.number(content.checksum());
  file.rewrite_start(start);
  file.sync();
  file.commit();
}

/// Reads a checkpoint from memory. Every byte is checked: what is returned is what was written.
/// \param name  what messages call the bytes, such as a path.
/// \throws FileError saying what is wrong: no checkpoint, of another format, cut short, damaged, malformed.
[[nodiscard]] inline Checkpoint parse_checkpoint(std::span<const std::byte> bytes, const std::string& name) {
  const std::uint64_t expected = detail::check_checkpoint_header(
      bytes.first((std::min)(bytes.size(), detail::checkpoint_header)), bytes.size(), name);
  const std::span<const std::byte> content = bytes.subspan(detail::checkpoint_header);
  detail::Crc64 crc;
  crc.add({reinterpret_cast<const char*>(content.data()), content.size()});
  if (crc.value() != expected) throw FileError(name, "is damaged: its checksum is wrong");
  detail::CheckpointDecoder from(content, name);
  Checkpoint c = detail::decode(from);
  if (const std::string flaw = detail::flaw_of(c); !flaw.empty()) throw FileError(name, flaw);
  return c;
}

/// Reads a checkpoint file. Its start is checked before room is made for the rest.
/// \throws FileError as parse_checkpoint(), or if the file is missing, no file, or cannot be read.
[[nodiscard]] inline Checkpoint load_checkpoint(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) throw FileError(path, "cannot be read: no such file");
  if (!std::filesystem::is_regular_file(status)) throw FileError(path, "cannot be read: not a regular file");
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) throw FileError(path, "cannot be read: " + std::generic_category().message(errno));
  // Of the file that is open: a run may give its name to a newer one at any moment.
  in.seekg(0, std::ios::end);
  const std::streamoff length = in.tellg();
  in.seekg(0, std::ios::beg);
  if (length < 0 || !in) throw FileError(path, "cannot be read: its size is unknown");
  const auto size = static_cast<std::uintmax_t>(length);
  std::vector<std::byte> bytes;
  const auto read_up_to = [&](std::uintmax_t end) {
    const std::size_t begin = bytes.size();
    bytes.resize(static_cast<std::size_t>(end));
    const std::size_t count = bytes.size() - begin;
    if (!in.read(reinterpret_cast<char*>(bytes.data() + begin), static_cast<std::streamsize>(count)))
      throw FileError(path, "ended while it was being read");
  };
  const std::string name = path.string();
  read_up_to(std::min<std::uintmax_t>(size, detail::checkpoint_header));
  static_cast<void>(detail::check_checkpoint_header(bytes, size, name));
  read_up_to(size);
  return parse_checkpoint(bytes, name);
}

}}  // namespace attnflow
