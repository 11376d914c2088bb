/// \file
/// A run as one web page that plays: write_html().
#pragma once

#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/detail/html_page.hpp>
#include <attnflow/io/detail/page_data.hpp>
#include <attnflow/io/detail/utf8.hpp>
#include <attnflow/io/view.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// The text with &, <, > and quotes written as entities, and U+FFFD for each byte that is not UTF-8.
[[nodiscard]] inline std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : as_utf8(text)) {
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

/// The text as a JSON string that may also stand in a script element: <, > and & are written \u00XX, and U+FFFD
/// for each byte that is not UTF-8.
[[nodiscard]] inline std::string json_in_html(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : as_utf8(text)) {
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

/// A finite number as JSON, exact.
[[nodiscard]] inline std::string json_number(double value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
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

/// The text without indentation, comments and, where `program`, spaces beside punctuation: what a browser
/// needs of it. Good for what stands in io/detail/page only: a comment begins its line or follows two spaces,
/// a string ends on its line, and no regular expression holds a quote.
[[nodiscard]] inline std::string squeezed(std::string_view text, bool program) {
  constexpr std::string_view punctuation = "(){}[],;:=<>?&|*!%";
  const auto is_punctuation = [&](char c) { return punctuation.find(c) != std::string_view::npos; };
  std::string out;
  while (!text.empty()) {
    const std::size_t length = (std::min)(text.find('\n'), text.size());
    std::string_view line = text.substr(0, length);
    text.remove_prefix((std::min)(length + 1, text.size()));
    line.remove_prefix((std::min)(line.find_first_not_of(' '), line.size()));
    line = line.substr(0, line.find("  // "));
    if (line.empty() || line.starts_with("//")) continue;
    char quote = 0;
    for (std::size_t k = 0; k < line.size(); ++k) {
      const char c = line[k];
      if (program && c == ' ' && quote == 0 &&
          (is_punctuation(line[k - 1]) || (k + 1 < line.size() && is_punctuation(line[k + 1]))))
        continue;
      if (quote != 0 && c == '\\' && k + 1 < line.size()) {
        out += c;
        ++k;
      } else if (quote == 0 ? c == '\'' || c == '"' || c == '`' : c == quote) {
        quote = quote == 0 ? c : '\0';
      }
      out += line[k];
    }
    out += '\n';
  }
  return out;
}

/// Writes the values of a view, as planned, into a page's script elements.
class PageData {
 public:
  PageData(AtomicFile& file, const View& view, const PagePlan& plan)
      : file_(file), view_(view), plan_(plan), moments_(every_so_many(view.times.size(), plan.stride)) {
    for (const Eigen::Index i : plan.tokens) tokens_.push_back(static_cast<std::size_t>(i));
    if (plan.tokens.empty())
      for (Eigen::Index i = 0; i < view.tokens; ++i) tokens_.push_back(static_cast<std::size_t>(i));
  }

  void write() const {
    texts();
    const std::size_t m = moments_.size(), d = dim(), square = d * d;
    write_base64<double>(file_, "times", m, [this](std::size_t k) { return view_.times[moments_[k]]; });
    write_base64<double>(file_, "series", view_.series.size() * m,
                         [&](std::size_t k) { return view_.series[k / m].values[moments_[k % m]]; });
    positions();
    const std::size_t n = static_cast<std::size_t>(view_.tokens), matrix = n * n;
    write_base64<float>(file_, "attention", plan_.attention ? m * matrix : 0, [&](std::size_t k) {
      return view_.attention[moments_[k / matrix] * matrix + k % matrix];
    });
    const std::size_t heads = plan_.heads ? view_.heads.size() : 0;
    write_base64<double>(file_, "forms", heads * m * square, [&](std::size_t k) {
      return view_.heads[k / square / m].forms[moments_[k / square % m] * square + k % square];
    });
    write_base64<double>(file_, "scales", heads * m, [&](std::size_t k) {
      const auto& scales = view_.heads[k / m].log_scales;
      return scales.empty() ? 0.0 : scales[moments_[k % m]];
    });
    std::vector<double> numbers;
    const auto append = [&numbers](const std::vector<double>& more) {
      numbers.insert(numbers.end(), more.begin(), more.end());
    };
    for (const auto& basis : view_.bases) append(basis.rows);
    write_base64<double>(file_, "bases", numbers.size(), [&](std::size_t k) { return numbers[k]; });
    numbers.clear();
    for (const auto& flat : view_.flats) {
      append(flat.point);
      append(flat.directions);
    }
    write_base64<double>(file_, "flats-data", numbers.size(), [&](std::size_t k) { return numbers[k]; });
  }

 private:
  [[nodiscard]] std::size_t dim() const { return static_cast<std::size_t>(view_.dim); }
  /// Coordinate c of the k-th token kept at the q-th moment kept.
  [[nodiscard]] double position(std::size_t q, std::size_t k, std::size_t c) const {
    return view_.positions[(moments_[q] * static_cast<std::size_t>(view_.tokens) + tokens_[k]) * dim() + c];
  }

  void texts() const {
    const auto quoted = [](const std::string& text) { return json_in_html(text); };
    const auto number = [](auto value) { return std::to_string(value); };
    const auto name = [&](const auto& named) { return quoted(named.name); };
    const auto pair = [&](const View::Parameter& p) {
      return '[' + quoted(p.name) + ',' + quoted(p.value) + ']';
    };
    const auto basis = [&](const View::Basis& b) {
      return '[' + quoted(b.name) + ',' + json_array(b.axes, quoted) + ']';
    };
    const auto flat = [&](const View::Flat& f) {
      return '[' + quoted(f.name) + (f.predicted ? ",true," : ",false,") +
             number(f.directions.size() / dim()) + ']';
    };
    std::vector<int> clusters;
    if (!view_.clusters.empty())
      for (const std::size_t i : tokens_) clusters.push_back(view_.clusters[i]);
    std::vector<std::size_t> leaders;  // as places among the tokens kept
    for (const Eigen::Index i : view_.leaders) {
      const auto at = std::lower_bound(tokens_.begin(), tokens_.end(), static_cast<std::size_t>(i));
      if (at != tokens_.end() && *at == static_cast<std::size_t>(i))
        leaders.push_back(static_cast<std::size_t>(at - tokens_.begin()));
    }
    const char* const encodings[] = {"float64", "float32", "uint16"};
    const std::string note = view_.note + (view_.note.empty() || plan_.note.empty() ? "" : " ") + plan_.note;
    file_.write(
        "<script id=\"view\" type=\"application/json\">{\"title\":" + quoted(view_.title) +
        ",\"note\":" + quoted(note) + ",\"tokens\":" + number(tokens_.size()) +
        ",\"dim\":" + number(view_.dim) + ",\"numbers\":\"" + encodings[static_cast<int>(plan_.numbers)] +
        "\",\"ids\":" + json_array(plan_.tokens, number) + ",\"axes\":" + json_array(view_.axes, quoted) +
        ",\"clusters\":" + json_array(clusters, number) + ",\"leaders\":" + json_array(leaders, number) +
        ",\"bases\":" + json_array(view_.bases, basis) + ",\"flats\":" + json_array(view_.flats, flat) +
        ",\"heads\":" + json_array(plan_.heads ? view_.heads : std::vector<View::Head>{}, name) +
        ",\"law\":" + quoted(view_.law) + ",\"mask\":" + quoted(view_.mask) +
        ",\"slope\":" + json_number(view_.slope) + ",\"series\":" + json_array(view_.series, name) +
        ",\"parameters\":" + json_array(view_.parameters, pair) + "}</script>\n");
  }

  void positions() const {
    const std::size_t n = tokens_.size(), d = dim(), count = moments_.size() * n * d;
    const auto at = [&](std::size_t k) { return position(k / d / n, k / d % n, k % d); };
    std::vector<double> boxes;  // lowest and width of each coordinate at each moment
    if (plan_.numbers == PagePlan::Numbers::uint16)
      for (std::size_t q = 0; q < moments_.size(); ++q)
        for (std::size_t c = 0; c < d; ++c) {
          double low = 1e300, high = -1e300;
          for (std::size_t k = 0; k < n; ++k) {
            const double value = position(q, k, c);
            if (!(std::abs(value) <= 1e300)) continue;
            low = (std::min)(low, value);
            high = (std::max)(high, value);
          }
          boxes.push_back(low <= high ? low : 0);
          boxes.push_back(low <= high ? high - low : 0);
        }
    write_base64<double>(file_, "boxes", boxes.size(), [&](std::size_t k) { return boxes[k]; });
    if (plan_.numbers == PagePlan::Numbers::float64)
      write_base64<double>(file_, "positions", count, at);
    else if (plan_.numbers == PagePlan::Numbers::float32)
      write_base64<float>(file_, "positions", count, [&](std::size_t k) { return rounded(at(k)); });
    else
      write_base64<std::uint16_t>(file_, "positions", count, [&](std::size_t k) {
        const std::size_t box = 2 * (k / d / n * d + k % d);
        return part_of_range(at(k), boxes[box], boxes[box + 1]);
      });
  }

  AtomicFile& file_;
  const View& view_;
  const PagePlan& plan_;
  std::vector<std::size_t> moments_, tokens_;
};

/// write_html() with another limit.
inline void write_page(const std::filesystem::path& path, const View& view, double most_bytes) {
  view.validate();
  std::string program;
  for (const std::string_view part : page_program) program += squeezed(part, true);
  std::string page =
      "<!doctype html>\n<html lang=\"en\" data-theme=\"light\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>" +
      html_escaped(view.title) +
      "</title>\n<script>window.onerror = m => { document.documentElement.dataset.error = String(m); };"
      "</script>\n<style>";
  page.append(squeezed(page_style, false))
      .append("</style>\n</head>\n<body>")
      .append(squeezed(page_markup, false));
  const PagePlan plan = page_plan(view, most_bytes - static_cast<double>(page.size() + program.size()));
  AtomicFile file(path);
  file.write(page);
  PageData(file, view, plan).write();
  file.write("<script>" + program + "</script>\n</body>\n</html>\n");
  file.commit();
}

}  // namespace detail

/// Writes the view as one self-contained page: it plays from a file or a server, without a network. The
/// tokens move (against time, on the plane or in a box to turn; beyond three dimensions the reader chooses
/// the axes), with their convex hull, tails, clusters, leaders and limits, and beside them the attention
/// matrix, which the page computes from the heads where it is not given, the series, the inner products and
/// the parameters. Pictures can be saved as SVG and PNG. `#frame=K` or `#t=T` after the address show that
/// moment and wait; fit, tails, theme, colour, plot, basis, x, y and z may follow, as in
/// `#t=2&plot=2d&basis=1&colour=token`.
///
/// The page appears whole or not at all, and has at most 64 MB: about 100 kB of its own, and up to 32/3 bytes
/// for each number (8/3 for each coordinate, where they are many). Of a larger view moments, then tokens are
/// left out, evenly spaced, and the note says so; leaders stay.
/// \throws std::invalid_argument as View::validate(); FileError if the file cannot be written.
inline void write_html(const std::filesystem::path& path, const View& view) {
  detail::write_page(path, view, 64e6);
}

}}  // namespace attnflow
