// What an example of the gallery wrote about itself, read again. See gallery/exhibit.hpp.
#pragma once

#include "programs/json_place.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace gallery {

/// exhibit.json.
struct ExhibitFile {
  struct Claim {
    std::string text, expected;
    std::optional<double> value;  ///< none where it was not finite
    bool claimed = false, holds = false;
  };
  struct File {
    std::string kind, name;
  };

  std::string title, sentence;
  bool passed = false;
  std::vector<Claim> claims;
  std::vector<File> files;
};

/// \throws std::runtime_error naming the file, the key, what is there and what was expected.
inline ExhibitFile read_exhibit(const std::filesystem::path& path) {
  const programs::JsonPlace::Json json = programs::JsonPlace::load(path);
  const programs::JsonPlace file(json, path.string());
  ExhibitFile read{.title = file["title"].text(),
                   .sentence = file["sentence"].text(),
                   .passed = file["passed"].truth(),
                   .claims = {},
                   .files = {}};
  for (const programs::JsonPlace& claim : file["claims"].elements())
    read.claims.push_back({claim["text"].text(), claim["expected"].text(), claim["value"].number_or_null(),
                           claim["claimed"].truth(), claim["holds"].truth()});
  for (const programs::JsonPlace& one : file["files"].elements())
    read.files.push_back({one["kind"].text(), one["file"].text()});
  return read;
}

}  // namespace gallery
