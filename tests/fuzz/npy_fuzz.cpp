// load_npy(), and what is made of its array: what is accepted is written and read again to the bits, and what
// is refused is refused by a FileError.
#include "fuzz/fuzz.hpp"

#include <attnflow/io/npy.hpp>
#include "figures/figure_scripts.hpp"

#include "folder.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using attnflow::FileError;
using attnflow::NpyArray;

/// The answer, or nothing and a refusal in due form.
template <class Call>
auto asked(std::string_view who, const Call& call) -> std::optional<std::invoke_result_t<const Call&>> {
  try {
    return call();
  } catch (const FileError& error) {
    fuzz::require_refusal(error.what(), who);
  }
  return std::nullopt;
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t k = 0; k < a.size(); ++k)
    if (std::bit_cast<std::uint64_t>(a[k]) != std::bit_cast<std::uint64_t>(b[k])) return false;
  return true;
}

/// Scripts that draw the array as tokens, with times to fit.
void check_scripts(const Folder& folder, std::string_view bytes, const NpyArray& array) {
  std::ofstream(folder / "tokens.npy", std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  attnflow::save_npy<double>(
      folder / "times.npy", {array.shape[0]},
      std::vector<double>(static_cast<std::size_t>(std::min<Eigen::Index>(array.shape[0], 1000))));
  const auto scripts = asked(folder.path.string(), [&] {
    const figures::FigureScripts what;
    return figures::ScriptWriter(folder.path, what).gnuplot();
  });
  if (scripts)
    fuzz::require(scripts->find("skip=") != std::string::npos, "the script reads the file", *scripts);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::istringstream in{std::string(bytes)};
  const auto array = asked("fuzz.npy: ", [&] { return attnflow::detail::read_npy(in, size, "fuzz.npy"); });
  if (!array) return 0;
  fuzz::require(array->values.size() <= size / 4 + 1, "no more numbers than bytes");
  Eigen::Index count = 1;
  for (const Eigen::Index axis : array->shape) count = axis == 0 || count == 0 ? 0 : count * axis;
  fuzz::require(array->values.size() == static_cast<std::size_t>(count), "as many numbers as the shape says");

  attnflow::save_npy<double>(folder / "a.npy", array->shape, std::span<const double>(array->values));
  const NpyArray again = attnflow::load_npy(folder / "a.npy");
  fuzz::require(again.shape == array->shape && same_bits(again.values, array->values),
                "written and read again it is equal");

  if (const auto tokens =
          asked("fuzz.npy: ", [&] { return attnflow::tokens_from<double>(*array, "fuzz.npy"); }))
    fuzz::require(tokens->size() == count && tokens->cols() == array->shape[0], "tokens are the array");
  if (const auto narrow =
          asked("fuzz.npy: ", [&] { return attnflow::tokens_from<float>(*array, "fuzz.npy"); }))
    for (Eigen::Index k = 0; k < narrow->size(); ++k)
      fuzz::require(!std::isinf(narrow->data()[k]) || std::isinf(array->values[static_cast<std::size_t>(k)]),
                    "no number becomes infinite");
  if (const auto matrices =
          asked("fuzz.npy: ", [&] { return attnflow::matrices_from<double>(*array, "fuzz.npy"); })) {
    Eigen::Index entries = 0;
    for (const auto& matrix : *matrices) entries += matrix.size();
    fuzz::require(entries == count, "matrices are the array");
  }
  if (array->shape.size() == 3 && array->shape[0] <= 1000) check_scripts(folder, bytes, *array);
  return 0;
}
