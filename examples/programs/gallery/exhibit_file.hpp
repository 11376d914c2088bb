// What an example of the gallery wrote about itself, read again. See gallery/exhibit.hpp.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
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

/// A value of a JSON file and where it stands, such as claims[2].holds.
class JsonPlace {
 public:
  using Json = nlohmann::ordered_json;

  /// \throws std::runtime_error naming the file, unless it holds JSON.
  static Json load(const std::filesystem::path& file) {
    std::ifstream in;
    if (std::error_code error; std::filesystem::is_regular_file(file, error)) in.open(file);
    if (!in.is_open()) throw std::runtime_error(file.string() + " cannot be read, expected a file");
    Json json = Json::parse(in, nullptr, false);
    if (json.is_discarded()) throw std::runtime_error(file.string() + " is not JSON, expected an object");
    return json;
  }

  JsonPlace(const Json& json, std::string file, std::string key = "")
      : json_(json), file_(std::move(file)), key_(std::move(key)) {}

  // Each throws std::runtime_error naming the file, the key, what is there and what was expected.
  [[nodiscard]] JsonPlace operator[](const char* key) const {
    if (!json_.is_object()) refuse("an object");
    const std::string place = key_.empty() ? key : key_ + "." + key;
    const auto found = json_.find(key);
    if (found == json_.end()) throw std::runtime_error(file_ + ": " + place + " is missing");
    return {*found, file_, place};
  }
  [[nodiscard]] std::vector<JsonPlace> elements() const {
    if (!json_.is_array()) refuse("an array");
    std::vector<JsonPlace> all;
    for (std::size_t k = 0; k < json_.size(); ++k)
      all.emplace_back(json_[k], file_, key_ + "[" + std::to_string(k) + "]");
    return all;
  }
  [[nodiscard]] std::string text() const {
    if (!json_.is_string()) refuse("a string");
    return json_.get<std::string>();
  }
  [[nodiscard]] bool truth() const {
    if (!json_.is_boolean()) refuse("true or false");
    return json_.get<bool>();
  }
  [[nodiscard]] std::optional<double> number_or_null() const {
    if (json_.is_null()) return std::nullopt;
    if (!json_.is_number()) refuse("a number or null");
    return json_.get<double>();
  }

 private:
  [[noreturn]] void refuse(const char* expected) const {
    const std::string type = json_.type_name(), article = type == "array" || type == "object" ? "an " : "a ";
    throw std::runtime_error(file_ + (key_.empty() ? "" : ": " + key_) + " is " +
                             (json_.is_null() ? type : article + type) + ", expected " + expected);
  }

  const Json& json_;
  std::string file_, key_;
};

/// \throws std::runtime_error naming the file, the key, what is there and what was expected.
inline ExhibitFile read_exhibit(const std::filesystem::path& path) {
  const JsonPlace::Json json = JsonPlace::load(path);
  const JsonPlace file(json, path.string());
  ExhibitFile read{.title = file["title"].text(),
                   .sentence = file["sentence"].text(),
                   .passed = file["passed"].truth(),
                   .claims = {},
                   .files = {}};
  for (const JsonPlace& claim : file["claims"].elements())
    read.claims.push_back({claim["text"].text(), claim["expected"].text(), claim["value"].number_or_null(),
                           claim["claimed"].truth(), claim["holds"].truth()});
  for (const JsonPlace& one : file["files"].elements())
    read.files.push_back({one["kind"].text(), one["file"].text()});
  return read;
}

}  // namespace gallery
