/// \file
/// Numbers and texts of SVG pictures: digits that matter, sub- and superscripts, widths.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/io/detail/utf8.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace figures {

using attnflow::detail::next_character;

/// The value with so many digits after the point, in any locale; zero has no sign.
[[nodiscard]] inline std::string fixed(double value, int digits) {
  std::array<char, 400> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, digits);
  std::string out(text.data(), end.ptr);
  return out.find_first_not_of("-0.") == std::string::npos && out[0] == '-' ? out.substr(1) : out;
}

/// A position or length in pixels: to a hundredth, without zeros at the end.
[[nodiscard]] inline std::string px(double value) {
  std::string out = fixed(value, 2);
  out.erase(out.find_last_not_of('0') + 1);
  if (out.back() == '.') out.pop_back();
  return out;
}

/// The text as the content of an XML element or attribute: entities for markup, and U+FFFD for what XML 1.0
/// does not let in.
[[nodiscard]] inline std::string xml_escaped(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    const char32_t c = next_character(text, at);
    if (c == U'&')
      out += "&amp;";
    else if (c == U'<')
      out += "&lt;";
    else if (c == U'>')
      out += "&gt;";
    else if (c == U'"')
      out += "&quot;";
    else if (c == U'\n' || c == U'\t')
      out += ' ';
    else if (c < 0x20 || c == 0x7F || c == U'\uFFFD' || c == U'\uFFFE' || c == U'\uFFFF')
      out += "\xEF\xBF\xBD";
    else
      out += text.substr(start, at - start);
  }
  return out;
}

/// A piece of text on one level: the line (0), lower (−1) or higher (1).
struct Run {
  std::string text;
  int level = 0;
};

/// Reads "z_1", "e^{−tV}", "a\_b" as Figure says; a mark with nothing after it, or an open brace, is itself.
[[nodiscard]] inline std::vector<Run> runs_of(std::string_view text) {
  std::vector<Run> runs(1);
  const auto append = [&](std::string_view piece, int level) {
    if (runs.back().level != level) runs.push_back({"", level});
    runs.back().text += piece;
  };
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    const bool mark = c == '_' || c == '^';
    if (c == '\\' && at + 1 < text.size() && (text[at + 1] == '_' || text[at + 1] == '^')) {
      append(text.substr(at + 1, 1), 0);
      at += 2;
    } else if (mark && at + 1 < text.size() && text[at + 1] == '{' &&
               text.find('}', at) != std::string_view::npos) {
      const std::size_t end = text.find('}', at);
      append(text.substr(at + 2, end - at - 2), c == '_' ? -1 : 1);
      at = end + 1;
    } else if (mark && at + 1 < text.size()) {
      const std::size_t start = ++at;
      static_cast<void>(next_character(text, at));
      append(text.substr(start, at - start), c == '_' ? -1 : 1);
    } else {
      const std::size_t start = at;
      static_cast<void>(next_character(text, at));
      append(text.substr(start, at - start), 0);
    }
  }
  return runs;
}

/// Sizes of text in pixels.
inline constexpr double tick_size = 11, label_size = 12.5, title_size = 14;

/// Scripts are this much smaller, and moved by this part of the size of the text.
inline constexpr double script_size = 0.72, script_down = 0.22, script_up = 0.38;

/// How wide the text is in DejaVu Sans of this size, in pixels; other scripts are taken as its widest
/// letters.
[[nodiscard]] inline double text_width(std::string_view text, double size) {
  // Advances of U+0020 to U+007E in thousandths of the size.
  constexpr std::array<short, 95> advances{
      318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361,  318, 337, 636, 636, 636,
      636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
      575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635,  611, 732, 684, 989, 685,
      611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352,  635, 634, 278, 278, 579,
      278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592,  525, 636, 337, 636, 838};
  double width = 0;
  for (const Run& run : runs_of(text))
    for (std::size_t at = 0; at < run.text.size();) {
      const char32_t c = next_character(run.text, at);
      const double advance = c >= 0x20 && c < 0x7F        ? advances[c - 0x20]
                             : c >= 0x300 && c < 0x370    ? 0  // combining marks
                             : c >= 0x1100 && c < 0x20000 ? (c < 0x2E80 ? 700 : 1000)
                                                          : 640;
      width += advance * size / 1000 * (run.level == 0 ? 1 : script_size);
    }
  return width;
}

/// The size at which the text fits into the room, at most `size`.
[[nodiscard]] inline double fitting_size(std::string_view text, double size, double room) {
  const double width = text_width(text, size);
  return width <= room || width <= 0 ? size : (std::max)(size * room / width, 1.0);
}

/// The text in lines no wider than the room where there are spaces to break at, none of them within braces.
[[nodiscard]] inline std::vector<std::string> wrapped(std::string_view text, double size, double room) {
  std::vector<std::string> lines;
  std::string line, word;
  int depth = 0;
  const auto flush = [&] {
    if (!line.empty() && text_width(line + ' ' + word, size) > room) {
      lines.push_back(line);
      line.clear();
    }
    line += (line.empty() || word.empty() ? "" : " ") + word;
    word.clear();
  };
  for (const char c : text) {
    depth += c == '{' ? 1 : c == '}' && depth > 0 ? -1 : 0;
    if (c == '\n' || (c == ' ' && depth == 0))
      flush();
    else
      word += c;
    if (c == '\n') {
      lines.push_back(line);
      line.clear();
    }
  }
  flush();
  if (!line.empty()) lines.push_back(line);
  return lines;
}

/// The inside of a text element: escaped, scripts as spans of their own.
[[nodiscard]] inline std::string spans(std::string_view text, double size) {
  std::string out;
  double shift = 0;
  for (const Run& run : runs_of(text)) {
    if (run.text.empty()) continue;
    const double wanted = run.level < 0 ? script_down * size : run.level > 0 ? -script_up * size : 0;
    if (run.level == 0 && shift == 0) {
      out += xml_escaped(run.text);
    } else {
      out += "<tspan dy=\"" + px(wanted - shift) + '"';
      if (run.level != 0) out += " font-size=\"" + px(script_size * size) + '"';
      out += '>' + xml_escaped(run.text) + "</tspan>";
    }
    shift = wanted;
  }
  return out;
}

/// A text element at (x, y), its baseline. \param more  further attributes, each with a space before it.
[[nodiscard]] inline std::string text_element(double x, double y, std::string_view text, double size,
                                              std::string_view more = "") {
  return "<text x=\"" + px(x) + "\" y=\"" + px(y) + "\" font-size=\"" + px(size) + '"' + std::string(more) +
         '>' + spans(text, size) + "</text>\n";
}

/// The same turned by so many degrees about (x, y).
[[nodiscard]] inline std::string turned_text(double x, double y, double degrees, std::string_view text,
                                             double size, std::string_view more = "") {
  return text_element(
      x, y, text, size,
      " transform=\"rotate(" + px(degrees) + ' ' + px(x) + ' ' + px(y) + ")\"" + std::string(more));
}

/// The text without markup, for those who hear the picture.
[[nodiscard]] inline std::string spoken(std::string_view text) {
  std::string out;
  for (const Run& run : runs_of(text)) {
    if (run.text.empty()) continue;
    std::size_t at = 0;
    static_cast<void>(next_character(run.text, at));
    const std::string mark = run.level == 0 ? "" : run.level < 0 ? "_" : "^";
    out += at == run.text.size() || mark.empty() ? mark + run.text : mark + '{' + run.text + '}';
  }
  return xml_escaped(out);
}

}  // namespace figures
