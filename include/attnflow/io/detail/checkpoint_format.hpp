/// \file
/// The layout of a checkpoint file, which is read as if its writer were an enemy.
///
/// The file, all numbers little-endian, u64 and i64 of 8 bytes, f64 and f32 as IEEE 754 has them; a text is its
/// length as u64, then its bytes:
///
///     magic               8 bytes: 89 'A' 'F' 'C' 'K' 0d 0a 1a
///     format version      u64: 1
///     size of the file    u64, in bytes
///     checksum            u64: CRC-64 (xz) of all that follows
///     program, version, build, simd                                      four texts
///     t f64, steps, rejected, evaluations, evaluations_again i64, seconds f64
///     next_step, previous_error f64, after_rejection u64: 0 or 1
///     options             u64: how many; each a name and a value, two texts
///     arrays              u64: how many; each a name (text), the size of an element u64: 4 (f32) or 8 (f64), the
///                         number of axes u64, the sizes as u64 each, the elements in C order
#pragma once

#include <attnflow/io/checkpoint_contents.hpp>
#include <attnflow/io/detail/checkpoint_bytes.hpp>
#include <attnflow/version.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

#define ATTNFLOW_DETAIL_TEXT_(x) #x
#define ATTNFLOW_DETAIL_TEXT(x) ATTNFLOW_DETAIL_TEXT_(x)

/// What the bits of a run depend on beside its options: compilers order sums in their own ways.
[[nodiscard]] inline std::string build_text() {
  std::string text = "attnflow ";
  text += version;
#if defined(__clang__)
  text += ", clang++ " __clang_version__ ", ";
#elif defined(__GNUC__)
  text += ", g++ " __VERSION__ ", ";
#else
  text += ", ";
#endif
  text += ATTNFLOW_DETAIL_TEXT(ATTNFLOW_ABI);
  return text;
}

#undef ATTNFLOW_DETAIL_TEXT
#undef ATTNFLOW_DETAIL_TEXT_

inline constexpr std::string_view checkpoint_magic(
    "\x89"
    "AFCK\r\n\x1a",
    8);
inline constexpr std::uint64_t checkpoint_format = 1;
inline constexpr std::size_t checkpoint_header = 32;  // magic, format, size, checksum

/// The number of elements of a shape; nothing if a size is negative or there are 2⁶³ bytes of them or more.
[[nodiscard]] inline std::optional<std::uint64_t> checkpoint_elements(const std::vector<Eigen::Index>& shape,
                                                                      std::size_t element) {
  const std::uint64_t most = static_cast<std::uint64_t>((std::numeric_limits<std::int64_t>::max)()) / element;
  std::uint64_t count = 1;
  bool empty = false;
  for (const Eigen::Index size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) empty = true;
    if (size != 0 && count > most / static_cast<std::uint64_t>(size)) return std::nullopt;
    if (size != 0) count *= static_cast<std::uint64_t>(size);
  }
  return empty ? 0 : count;
}

/// What cannot be in a checkpoint, or "".
[[nodiscard]] inline std::string flaw_of(const Checkpoint& c) {
  const auto finite = [](double value, double least) { return std::isfinite(value) && value >= least; };
  if (!std::isfinite(c.t)) return "has a time that is not finite";
  for (const auto& [value, name] : {std::pair(c.steps, "steps"),
                                    {c.rejected, "rejected steps"},
                                    {c.evaluations, "evaluations"},
                                    {c.evaluations_again, "evaluations to repeat"}})
    if (value < 0)
      return std::string("has ")
          .append(std::to_string(value))
          .append(" ")
          .append(name)
          .append(", expected at least 0");
  if (c.evaluations_again > c.evaluations) return "has more evaluations to repeat than were made";
  if (!finite(c.seconds, 0)) return "has a duration that is not finite or less than 0";
  if (!finite(c.next_step, 0) || !(finite(c.previous_error, 0) && c.previous_error > 0))
    return "has a stepper's memory that no stepper makes";
  const auto twice = [](const auto& named) {
    std::vector<std::string_view> names(named.size());
    std::transform(named.begin(), named.end(), names.begin(),
                   [](const auto& each) { return std::string_view(each.first); });
    std::sort(names.begin(), names.end());
    return std::adjacent_find(names.begin(), names.end()) != names.end();
  };
  if (twice(c.options)) return "has two options of one name";
  if (twice(c.arrays)) return "has two arrays of one name";
  for (const auto& [name, array] : c.arrays) {
    const bool matches = std::visit(
        [&shape = array.shape](const auto& values) {
          return checkpoint_elements(shape, sizeof(values[0])) == std::uint64_t{values.size()};
        },
        array.values);
    if (!matches)
      return "has the array '" + printable(name, true, 40) + "' whose shape is not that of its elements";
  }
  return "";
}

template <class Encoder>
void encode(Encoder& to, const Checkpoint& c) {
  for (const std::string* text : {&c.program, &c.version, &c.build, &c.simd}) to.text(*text);
  to.number(c.t);
  for (const long count : {c.steps, c.rejected, c.evaluations, c.evaluations_again})
    to.number(static_cast<std::int64_t>(count));
  for (const double value : {c.seconds, c.next_step, c.previous_error}) to.number(value);
  to.number(std::uint64_t{c.after_rejection ? 1U : 0U});
  to.number(std::uint64_t{c.options.size()});
  for (const auto& [name, value] : c.options) {
    to.text(name);
    to.text(value);
  }
  to.number(std::uint64_t{c.arrays.size()});
  for (const auto& [name, array] : c.arrays) {
    to.text(name);
    std::visit(
        [&to, &shape = array.shape]<class T>(const std::vector<T>& values) {
          to.number(std::uint64_t{sizeof(T)});
          to.number(std::uint64_t{shape.size()});
          for (const Eigen::Index size : shape) to.number(static_cast<std::uint64_t>(size));
          to.numbers(std::span<const T>(values));
        },
        array.values);
  }
}

[[nodiscard]] inline Checkpoint decode(CheckpointDecoder& from) {
  Checkpoint c;
  c.program = from.text("the program's name");
  c.version = from.text("the program's version");
  c.build = from.text("the build");
  c.simd = from.text("the vector instructions");
  c.t = from.number<double>("the time");
  const auto count = [&from](const char* what) {
    const auto value = from.number<std::int64_t>(what);
    if (!std::in_range<long>(value)) from.fail("has a count that this machine cannot hold");
    return static_cast<long>(value);
  };
  c.steps = count("the number of steps");
  c.rejected = count("the number of rejected steps");
  c.evaluations = count("the number of evaluations");
  c.evaluations_again = count("the number of evaluations to repeat");
  c.seconds = from.number<double>("the duration");
  c.next_step = from.number<double>("the stepper's memory");
  c.previous_error = from.number<double>("the stepper's memory");
  const auto after = from.number<std::uint64_t>("the stepper's memory");
  if (after > 1) from.fail("has a stepper's memory that no stepper makes");
  c.after_rejection = after == 1;
  for (auto k = from.number<std::uint64_t>("the number of options"); k > 0; --k) {
    std::string name = from.text("the name of an option");
    c.options.emplace_back(std::move(name), from.text("the value of an option"));
  }
  for (auto k = from.number<std::uint64_t>("the number of arrays"); k > 0; --k) {
    CheckpointArray& array =
        c.arrays.emplace_back(from.text("the name of an array"), CheckpointArray{}).second;
    const auto element = from.number<std::uint64_t>("the type of an array");
    if (element != 4 && element != 8) from.fail("has an array of elements that are neither float nor double");
    const auto axes = from.number<std::uint64_t>("the number of axes of an array");
    for (const std::uint64_t size : from.numbers<std::uint64_t>(axes, "the shape of an array")) {
      if (!std::in_range<Eigen::Index>(size)) from.fail("has an array whose shape this machine cannot hold");
      array.shape.push_back(static_cast<Eigen::Index>(size));
    }
    const auto elements = checkpoint_elements(array.shape, static_cast<std::size_t>(element));
    if (!elements) from.fail("has an array whose shape this machine cannot hold");
    if (element == 8)
      array.values = from.numbers<double>(*elements, "the elements of an array");
    else
      array.values = from.numbers<float>(*elements, "the elements of an array");
  }
  if (from.left() > 0) from.fail("has bytes after its last array: malformed, though its checksum is right");
  return c;
}

/// What the first bytes of a file say of the rest: its checksum. `size` is that of the whole file.
/// \throws FileError unless they are those of a checkpoint of this format and of this size.
[[nodiscard]] inline std::uint64_t check_checkpoint_header(std::span<const std::byte> bytes,
                                                           std::uintmax_t size, std::string_view name) {
  CheckpointDecoder from(bytes, name);
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                               (std::min)(bytes.size(), checkpoint_magic.size()));
  if (start != checkpoint_magic.substr(0, start.size()))
    from.fail("is not a checkpoint: it starts with '" + printable(start, true) + "'");
  if (bytes.size() < checkpoint_header)
    from.fail("has " + std::to_string(size) + " bytes, too few for a checkpoint: cut short");
  static_cast<void>(from.number<std::uint64_t>("the magic number"));
  const auto format = from.number<std::uint64_t>("the format version");
  if (format != checkpoint_format)
    from.fail("is a checkpoint of format version " + std::to_string(format) + ", expected " +
              std::to_string(checkpoint_format) + ": damaged, or of another version of the library");
  const auto written = from.number<std::uint64_t>("the size");
  if (written != size)
    from.fail("has " + std::to_string(size) + " bytes, expected " + std::to_string(written) +
              (size < written ? ": cut short" : ": damaged, or bytes too many"));
  return from.number<std::uint64_t>("the checksum");
}

}}}  // namespace attnflow::detail
