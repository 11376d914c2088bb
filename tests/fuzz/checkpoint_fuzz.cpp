// parse_checkpoint(): what is accepted is written again to the same bytes, what is refused is refused by a
// FileError. An input that starts with an odd byte is what follows the header, which is put before it: no
// search finds a checksum.
#include "fuzz/fuzz.hpp"

#include <attnflow/io/checkpoint.hpp>

#include <span>
#include <string>
#include <string_view>

namespace {

namespace detail = attnflow::detail;

std::string with_header(std::string_view content) {
  detail::Crc64 crc;
  crc.add(content);
  std::string all;
  detail::CheckpointEncoder header([&all](std::string_view bytes) { all += bytes; });
  header.bytes(detail::checkpoint_magic);
  header.number(detail::checkpoint_format);
  header.number(static_cast<std::uint64_t>(content.size() + detail::checkpoint_header));
  header.number(crc.value());
  return all.append(content);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string bytes = data[0] % 2 == 0 ? std::string(rest) : with_header(rest);
  try {
    const attnflow::Checkpoint c =
        attnflow::parse_checkpoint(std::as_bytes(std::span(bytes.data(), bytes.size())), "fuzz");
    fuzz::require(detail::flaw_of(c).empty(), "what is accepted could be saved", detail::flaw_of(c));
    std::string content;
    detail::CheckpointEncoder again([&content](std::string_view part) { content += part; });
    detail::encode(again, c);
    fuzz::require(with_header(content) == bytes, "written again it has the same bytes");
  } catch (const attnflow::FileError& error) {
    fuzz::require_refusal(error.what(), "fuzz: ");
  }
  return 0;
}
