/// \file
/// A run as one web page that plays: write_html().
#pragma once

#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/detail/html_page.hpp>
#include <attnflow/io/view.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace attnflow::inline ATTNFLOW_ABI {

namespace detail {

/// The text with &, <, > and quotes written as entities.
[[nodiscard]] inline std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += c;
  }
  return out;
}

/// The text as a JSON string that may also stand in a script element: <, > and & are written \u00XX.
[[nodiscard]] inline std::string json_in_html(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&') {
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15U];
    } else {
      out += c;
    }
  }
  return out += '"';
}

/// A JSON array of what `text` makes of each element.
template <class Range, class Text>
[[nodiscard]] std::string json_array(const Range& range, Text text) {
  std::string out = "[";
  for (const auto& element : range) {
    if (out.size() > 1) out += ',';
    out += text(element);
  }
  return out += ']';
}

/// Writes the bytes of the values, little-endian, in base64 as the text of a script element.
template <class T>
void write_base64(AtomicFile& file, std::string_view id, std::span<const T> values) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  file.write("<script id=\"" + std::string(id) + "\" type=\"text/plain\">");
  constexpr std::size_t block = 3 * 4096;  // elements: whole groups of three bytes in each block
  std::string text;
  std::vector<unsigned char> bytes;
  for (std::size_t start = 0; start < values.size(); start += block) {
    bytes.clear();
    text.clear();
    for (const T value : values.subspan(start, std::min(block, values.size() - start))) {
      auto raw = std::bit_cast<std::array<unsigned char, sizeof(T)>>(value);
      if constexpr (std::endian::native == std::endian::big) std::reverse(raw.begin(), raw.end());
      bytes.insert(bytes.end(), raw.begin(), raw.end());
    }
    for (std::size_t k = 0; k < bytes.size(); k += 3) {
      const std::size_t left = bytes.size() - k;
      const std::uint32_t group = static_cast<std::uint32_t>(bytes[k]) << 16 |
                                  (left > 1 ? static_cast<std::uint32_t>(bytes[k + 1]) << 8 : 0U) |
                                  (left > 2 ? static_cast<std::uint32_t>(bytes[k + 2]) : 0U);
      text += digits[group >> 18];
      text += digits[group >> 12 & 63U];
      text += left > 1 ? digits[group >> 6 & 63U] : '=';
      text += left > 2 ? digits[group & 63U] : '=';
    }
    file.write(text);
  }
  file.write("</script>\n");
}

}  // namespace detail

/// Writes the view as one self-contained page: it plays from a file or a server, without a network.
/// The tokens move (in 1-D against time, in 2-D on the plane, in 3-D in a box to turn), with their
/// convex hull, tails, clusters and leaders, and beside them the attention matrix, the series and the
/// parameters. `#frame=K` or `#t=T` after the address show that moment and wait. The page appears
/// whole or not at all. Its size: about 65 kB and 16/3 bytes for each number in the view.
/// \throws std::invalid_argument as View::validate(); FileError if the file cannot be written.
inline void write_html(const std::filesystem::path& path, const View& view) {
  view.validate();
  AtomicFile file(path);
  file.write("<!doctype html>\n<html lang=\"en\" data-theme=\"light\">\n<head>\n<meta charset=\"utf-8\">\n");
  file.write("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
  file.write("<link rel=\"icon\" href=\"data:,\">\n<title>" + detail::html_escaped(view.title) +
             "</title>\n");
  file.write(
      "<script>window.onerror = m => { document.documentElement.dataset.error = String(m); };</script>\n");
  file.write("<style>");
  file.write(detail::page_style);
  file.write("</style>\n</head>\n<body>");
  file.write(detail::page_markup);

  const auto quoted = [](const std::string& text) { return detail::json_in_html(text); };
  const auto number = [](auto value) { return std::to_string(value); };
  const auto pair = [&](const View::Parameter& p) {
    return '[' + quoted(p.name) + ',' + quoted(p.value) + ']';
  };
  const auto name = [&](const View::Series& s) { return quoted(s.name); };
  file.write("<script id=\"view\" type=\"application/json\">{\"title\":" + quoted(view.title) +
             ",\"note\":" + quoted(view.note) + ",\"tokens\":" + std::to_string(view.tokens) +
             ",\"dim\":" + std::to_string(view.dim) + ",\"axes\":" + detail::json_array(view.axes, quoted) +
             ",\"clusters\":" + detail::json_array(view.clusters, number) +
             ",\"leaders\":" + detail::json_array(view.leaders, number) +
             ",\"series\":" + detail::json_array(view.series, name) +
             ",\"parameters\":" + detail::json_array(view.parameters, pair) + "}</script>\n");
  std::vector<double> series;
  for (const View::Series& s : view.series) series.insert(series.end(), s.values.begin(), s.values.end());
  detail::write_base64<double>(file, "times", view.times);
  detail::write_base64<double>(file, "series", series);
  detail::write_base64<float>(file, "positions",
                              std::vector<float>(view.positions.begin(), view.positions.end()));
  detail::write_base64<float>(file, "attention", view.attention);

  file.write("<script>");
  file.write(detail::page_script_model);
  file.write(detail::page_script_drawing);
  file.write(detail::page_script_controls);
  file.write("</script>\n</body>\n</html>\n");
  file.commit();
}

}  // namespace attnflow::inline ATTNFLOW_ABI
