// Reads pictures back: a small XML reader, and the axes of a panel of svg().
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// An element of an XML document.
struct Element {
  std::string name, text;  ///< all text inside, entities decoded
  std::map<std::string, std::string> attributes;
  std::vector<Element> children;

  [[nodiscard]] std::string operator[](const std::string& key) const {
    const auto found = attributes.find(key);
    return found == attributes.end() ? "" : found->second;
  }
  [[nodiscard]] double number(const std::string& key) const {
    const std::string value = (*this)[key];
    if (value.empty()) throw std::runtime_error(name + " has no " + key);
    return std::strtod(value.c_str(), nullptr);
  }
  /// All elements below with this class, in the order of the document.
  [[nodiscard]] std::vector<const Element*> all(const std::string& wanted) const {
    std::vector<const Element*> found;
    for (const Element& child : children) {
      if (child["class"] == wanted || child.name == wanted) found.push_back(&child);
      const auto below = child.all(wanted);
      found.insert(found.end(), below.begin(), below.end());
    }
    return found;
  }
  [[nodiscard]] const Element& one(const std::string& wanted) const {
    const auto found = all(wanted);
    if (found.size() != 1)
      throw std::runtime_error(std::to_string(found.size()) + " elements '" + wanted + "', expected one");
    return *found[0];
  }
};

/// Reads what svg() writes: elements, attributes and the five entities. Throws where it is not well-formed.
class Xml {
 public:
  static Element parse(std::string_view text) {
    Xml reader(text);
    reader.space();
    Element root = reader.element();
    reader.space();
    if (reader.at_ != text.size()) throw std::runtime_error("something after the document");
    return root;
  }

 private:
  explicit Xml(std::string_view text) : text_(text) {}
  [[nodiscard]] char peek() const {
    if (at_ >= text_.size()) throw std::runtime_error("the document ends early");
    return text_[at_];
  }
  void expect(std::string_view word) {
    if (text_.substr(at_, word.size()) != word)
      throw std::runtime_error("expected " + std::string(word) + " at " + std::string(text_.substr(at_, 40)));
    at_ += word.size();
  }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  std::string name() {
    const std::size_t start = at_;
    while (std::isalnum(static_cast<unsigned char>(peek())) != 0 || peek() == '-' || peek() == ':') ++at_;
    if (at_ == start) throw std::runtime_error("a name is empty");
    return std::string(text_.substr(start, at_ - start));
  }
  char character() {
    const char c = peek();
    if (c == '<' || (static_cast<unsigned char>(c) < 0x20 && c != '\n'))
      throw std::runtime_error("a bare character");
    if (c != '&') return ++at_, c;
    for (const auto& [entity, meaning] :
         {std::pair("&amp;", '&'), {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}})
      if (text_.substr(at_, std::string_view(entity).size()) == entity) {
        at_ += std::string_view(entity).size();
        return meaning;
      }
    throw std::runtime_error("an unknown entity");
  }
  Element element() {
    Element e;
    expect("<");
    e.name = name();
    for (space(); peek() != '>' && peek() != '/'; space()) {
      const std::string key = name();
      expect("=\"");
      std::string value;
      while (peek() != '"') value += character();
      expect("\"");
      if (!e.attributes.emplace(key, value).second) throw std::runtime_error(key + " is there twice");
    }
    if (peek() == '/') {
      expect("/>");
      return e;
    }
    expect(">");
    for (;;) {
      if (text_.substr(at_, 2) == "</") break;
      if (peek() == '<') {
        e.children.push_back(element());
        e.text += e.children.back().text;
      } else {
        e.text += character();
      }
    }
    expect("</" + e.name + ">");
    return e;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// The numbers of a path or of a transform, commands left out.
inline std::vector<double> numbers(const std::string& text) {
  std::vector<double> out;
  for (const char* at = text.c_str(); *at != 0;) {
    char* end = nullptr;
    const double value = std::strtod(at, &end);
    if (end == at) {
      ++at;
    } else {
      out.push_back(value);
      at = end;
    }
  }
  return out;
}

/// What a label of a tick says: "−0.5", "10^{−3}" (with its script) or "5·10^{4}".
inline double value_of(const Element& label) {
  std::string text = label.text;
  for (std::size_t at; (at = text.find("−")) != std::string::npos;)
    text.replace(at, std::string("−").size(), "-");
  if (label.children.empty()) return std::strtod(text.c_str(), nullptr);
  const std::string power = [&] {
    std::string script = label.children[0].text;
    for (std::size_t at; (at = script.find("−")) != std::string::npos;)
      script.replace(at, std::string("−").size(), "-");
    return script;
  }();
  const double mantissa = text.find("·") == std::string::npos ? 1 : std::strtod(text.c_str(), nullptr);
  return mantissa * std::pow(10, std::strtod(power.c_str(), nullptr));
}

/// An axis as a reader sees it: where its labels are and what they say.
struct SeenAxis {
  std::vector<double> values;
  std::vector<std::pair<double, double>> pixels;
  bool logarithmic = false;

  SeenAxis(const Element& panel, const std::string& which, bool log = false) : logarithmic(log) {
    for (const Element* tick : panel.one("axis " + which).all("tick")) {
      const auto labels = tick->all("text");
      if (labels.empty()) continue;
      values.push_back(value_of(*labels[0]));
      const auto at = numbers(tick->all("path")[0]->attributes.at("d"));
      pixels.emplace_back(at[0], at[1]);
    }
    if (values.size() < 2) throw std::runtime_error("the axis has fewer than two labels");
  }
  [[nodiscard]] double measure(double v) const { return logarithmic ? std::log10(v) : v; }
  /// Pixels across and down for each unit, or decade.
  [[nodiscard]] std::pair<double, double> slope() const {
    const double length = measure(values.back()) - measure(values.front());
    return {(pixels.back().first - pixels.front().first) / length,
            (pixels.back().second - pixels.front().second) / length};
  }
  [[nodiscard]] double x(double v) const {
    return pixels[0].first + slope().first * (measure(v) - measure(values[0]));
  }
  [[nodiscard]] double y(double v) const {
    return pixels[0].second + slope().second * (measure(v) - measure(values[0]));
  }
};

/// Where the middle of a point's mark is.
inline std::pair<double, double> middle(const Element& mark) {
  if (mark.name == "circle") return {mark.number("cx"), mark.number("cy")};
  const auto at = numbers(mark["d"]);
  return {at[0], at[1]};
}
