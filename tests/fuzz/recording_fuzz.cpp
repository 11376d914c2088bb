// The files that `render` is given, as one input: x.npy, times.npy and P.npy, one after the other, parted by
// a line of three bars.
#include "fuzz/fuzz.hpp"

#include "programs/render/recording.hpp"

#include "folder.hpp"

#include <array>
#include <cmath>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  render::Options o;
  std::array<std::string*, 3> paths{&o.tokens, &o.times, &o.attention};
  for (std::size_t k = 0; k < paths.size() && (k == 0 || !rest.empty()); ++k) {
    constexpr std::string_view bars = "\n|||\n";
    const std::size_t end = k + 1 == paths.size() ? rest.size() : std::min(rest.find(bars), rest.size());
    if (end > 0 || k == 0) {
      *paths[k] = (folder / std::array{"x.npy", "times.npy", "P.npy"}[k]).string();
      std::ofstream(*paths[k], std::ios::binary).write(rest.data(), static_cast<std::streamsize>(end));
    }
    rest.remove_prefix(std::min(end + bars.size(), rest.size()));
  }
  try {
    const render::Recording r = render::read(o);
    const auto count = static_cast<std::size_t>(r.m * r.n * r.d);
    fuzz::require(r.m >= 1 && r.n >= 1 && r.d >= 1, "there is something to draw");
    fuzz::require(r.positions.size() == count && count <= size / 4, "positions are those of the file");
    fuzz::require(r.times.size() == static_cast<std::size_t>(r.m), "each moment has a time");
    for (std::size_t k = 0; k < r.times.size(); ++k)
      fuzz::require(std::isfinite(r.times[k]) && (k == 0 || r.times[k] > r.times[k - 1]), "times increase");
    fuzz::require(r.attention.empty() || r.attention.size() == static_cast<std::size_t>(r.m * r.n * r.n),
                  "each moment has a matrix");
  } catch (const std::invalid_argument& error) {
    fuzz::require_refusal(error.what(), "");
  }
  return 0;
}
