// Runs a target on files, or on all files of folders: REPLAY PATH...
#include "fuzz/fuzz.hpp"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

namespace {

void replay(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  // Cut short anywhere it is input, too.
  for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 64)
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), size);
}

}  // namespace

int main(int argc, char** argv) {
  int files = 0;
  for (int k = 1; k < argc; ++k)
    if (std::filesystem::is_directory(argv[k])) {
      for (const auto& entry : std::filesystem::directory_iterator(argv[k])) {
        replay(entry.path());
        ++files;
      }
    } else {
      replay(argv[k]);
      ++files;
    }
  std::cout << files << " files\n";
  return files > 0 ? 0 : 1;
}
