// JSON files that may hold anything: what is read from them is there and has the type that is asked for.
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

namespace programs {

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
    const auto found = object().find(key);
    const std::string place = key_.empty() ? key : key_ + "." + key;
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
  [[nodiscard]] const Json& object() const {
    if (!json_.is_object()) refuse("an object");
    return json_;
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

}  // namespace programs
