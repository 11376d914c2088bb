/// \file
/// How the values of a View go into a page: which numbers, which moments and which tokens there is room for,
/// and numbers as base64.
#pragma once

#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/detail/base64.hpp>
#include <attnflow/io/view.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// What of a view is written to its page, and how.
struct PagePlan {
  enum class Numbers { float64, float32, uint16 };
  Numbers numbers = Numbers::float32;  ///< of the positions
  std::size_t stride = 1;              ///< every so many moments, and the last
  std::vector<Eigen::Index> tokens;    ///< the tokens kept; none: all
  bool attention = false, heads = false;
  std::string note;  ///< in words, what was left out and how exact the positions are; may be empty
};

/// The length of so many bytes in base64.
[[nodiscard]] inline double in_base64(double bytes) { return std::ceil(bytes / 3) * 4; }

/// A count in words, in groups of three digits from five on: 4096, 20 000.
[[nodiscard]] inline std::string counted(std::size_t count) {
  std::string text = std::to_string(count);
  if (text.size() > 4)
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, 1, ' ');
  return text;
}

/// 1st, 2nd, 3rd, 4th, …, 11th, …, 21st.
[[nodiscard]] inline std::string ordinal(std::size_t k) {
  const bool teen = k / 10 % 10 == 1;
  const char* ending = teen || k % 10 > 3 || k % 10 == 0 ? "th"
                       : k % 10 == 1                     ? "st"
                       : k % 10 == 2                     ? "nd"
                                                         : "rd";
  return counted(k) + ending;
}

/// The moments 0, stride, 2 stride, … and the last one.
[[nodiscard]] inline std::vector<std::size_t> every_so_many(std::size_t count, std::size_t stride) {
  std::vector<std::size_t> kept;
  for (std::size_t k = 0; k < count; k += stride) kept.push_back(k);
  if (count > 0 && kept.back() != count - 1) kept.push_back(count - 1);
  return kept;
}

/// Evenly spaced tokens and the leaders, `count` of n in all (of the leaders at most half as many, evenly
/// spaced too).
[[nodiscard]] inline std::vector<Eigen::Index> tokens_kept(Eigen::Index n, std::size_t count,
                                                           std::vector<Eigen::Index> leaders) {
  const auto pick = [](std::size_t of, std::size_t k, std::size_t all) {
    return static_cast<std::size_t>(static_cast<double>(k) * static_cast<double>(all) /
                                    static_cast<double>(of));
  };
  std::sort(leaders.begin(), leaders.end());
  leaders.erase(std::unique(leaders.begin(), leaders.end()), leaders.end());
  std::vector<Eigen::Index> kept;
  const std::size_t marked = (std::min)(leaders.size(), count / 2);
  for (std::size_t k = 0; k < marked; ++k) kept.push_back(leaders[pick(marked, k, leaders.size())]);
  for (std::size_t k = marked; k < count; ++k)
    kept.push_back(static_cast<Eigen::Index>(pick(count - marked, k - marked, static_cast<std::size_t>(n))));
  std::sort(kept.begin(), kept.end());
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  return kept;
}

/// The sizes from which a page is planned, in bytes; in double, since they may exceed what an integer holds.
struct PageSizes {
  double moments, tokens, dim;
  double fixed = 8192;  ///< whatever is shown: texts, bases, limits
  double moment;        ///< of each moment: its time, the series
  double P, forms;      ///< of each moment, where P is stored, or computed

  explicit PageSizes(const View& view)
      : moments(static_cast<double>(view.times.size())),
        tokens(static_cast<double>(view.tokens)),
        dim(view.dim),
        moment(in_base64(8 + 8 * static_cast<double>(view.series.size()))),
        P(view.attention.empty() ? 0 : in_base64(4 * tokens * tokens)),
        forms(in_base64(8 * (dim * dim + 1)) * static_cast<double>(view.heads.size())) {
    // A character is at most six, as in \u003c; punctuation.
    const auto add = [this](const std::string& text) { fixed += 32 + 6 * static_cast<double>(text.size()); };
    const auto add_numbers = [this](std::size_t count) {
      fixed += in_base64(8 * static_cast<double>(count));
    };
    add(view.title);
    add(view.title);
    add(view.note);
    for (const auto& name : view.axes) add(name);
    for (const auto& s : view.series) add(s.name);
    for (const auto& head : view.heads) add(head.name);
    for (const auto& p : view.parameters) add(p.name + p.value);
    for (const auto& basis : view.bases) {
      add(basis.name);
      for (const auto& name : basis.axes) add(name);
      add_numbers(basis.rows.size());
    }
    for (const auto& flat : view.flats) {
      add(flat.name);
      add_numbers(flat.point.size() + flat.directions.size());
    }
  }
  /// How many moments are kept: 0, stride, 2 stride, … and the last.
  [[nodiscard]] double kept(std::size_t stride) const {
    return std::ceil((moments - 1) / static_cast<double>(stride)) + 1;
  }
  /// Of `m` moments of `n` tokens.
  [[nodiscard]] double total(const PagePlan& plan, double m, double n) const {
    const bool boxes = plan.numbers == PagePlan::Numbers::uint16;
    const double each = boxes ? 2 : plan.numbers == PagePlan::Numbers::float32 ? 4 : 8;
    const double of_token = 40;  // its number, its label, its place among the leaders
    return fixed + m * (moment + (plan.attention ? P : 0) + (plan.heads ? forms : 0)) +
           in_base64(each * m * n * dim) + (boxes ? in_base64(16 * m * dim) : 0) + of_token * n;
  }
};

/// Whether floats would blur the picture: a coordinate stays within a part of 10⁻⁴ of its size.
[[nodiscard]] inline bool far_from_zero(const View& view) {
  const auto d = static_cast<std::size_t>(view.dim);
  for (std::size_t c = 0; c < d; ++c) {
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (std::size_t k = c; k < view.positions.size(); k += d) {
      if (!std::isfinite(view.positions[k])) continue;
      low = (std::min)(low, view.positions[k]);
      high = (std::max)(high, view.positions[k]);
    }
    if (low < high && high - low < 1e-4 * (std::max)(std::abs(low), std::abs(high))) return true;
  }
  return false;
}

/// Plans a page whose data take at most `room` bytes. Positions are float64 where P is computed from them, or
/// floats would blur them, and they are at most 2 million numbers, float32 up to 8 million, beyond that
/// 16-bit parts of each moment's box. P takes at most half of the room, or is left out. What is still too
/// much: first moments, until 100 are left, then tokens.
[[nodiscard]] inline PagePlan page_plan(const View& view, double room) {
  using Numbers = PagePlan::Numbers;
  PagePlan plan;
  const PageSizes size(view);
  const double n = size.tokens;
  plan.attention = size.P > 0 && size.moments * size.P <= room / 2;
  plan.heads = !plan.attention && size.forms > 0 && size.moments * size.forms <= room / 2;
  const double numbers = size.moments * n * size.dim;
  const Numbers least =
      n > 8 ? Numbers::uint16 : Numbers::float32;  // a range takes as much as eight parts of it
  const bool exact = numbers <= 2e6 && (plan.heads || far_from_zero(view));
  plan.numbers = exact ? Numbers::float64 : numbers <= 8e6 ? Numbers::float32 : least;
  if (size.total(plan, size.moments, n) > room) plan.numbers = least;
  const auto too_much = [&](double tokens) {
    return size.total(plan, size.kept(plan.stride), tokens) > room;
  };
  while (too_much(n) && size.kept(plan.stride + 1) >= 100) ++plan.stride;
  if (too_much(n)) {
    plan.attention = plan.heads = false;  // P is of all tokens
    while (too_much(1) && size.kept(plan.stride) > 2) ++plan.stride;
    const double m = size.kept(plan.stride), empty = size.total(plan, m, 0);
    const double each = (size.total(plan, m, 3000) - empty) / 3000;
    const double count = std::clamp(std::floor((room - empty) / each), 1.0, n);
    if (count < n) plan.tokens = tokens_kept(view.tokens, static_cast<std::size_t>(count), view.leaders);
  }

  std::string shown;
  if (plan.stride > 1)
    shown = "every " + ordinal(plan.stride) + " of " + counted(view.times.size()) + " moments";
  if (!plan.tokens.empty())
    shown += (shown.empty() ? "" : ", ") + counted(plan.tokens.size()) + " of " +
             counted(static_cast<std::size_t>(view.tokens)) + " tokens";
  if (!shown.empty()) plan.note = "Shown are " + shown + ".";
  const auto say = [&plan](const char* sentence) {
    plan.note += (plan.note.empty() ? "" : " ") + std::string(sentence);
  };
  if (plan.numbers == Numbers::uint16) say("Positions are exact to 1/65534 of each moment's range.");
  const bool shows_P = plan.attention || plan.heads;
  if (!shows_P && (size.P > 0 || size.forms > 0)) say("P is left out: the page would be too large.");
  if (plan.heads && plan.numbers == Numbers::float32) say("P is computed from positions of 7 digits.");
  if (plan.heads && plan.numbers == Numbers::uint16) say("P is computed from these rounded positions.");
  return plan;
}

/// The coordinate as a part of the range from low to low + width, 0 to 65534; 65535 for what is not drawn.
[[nodiscard]] inline std::uint16_t part_of_range(double value, double low, double width) {
  if (!(std::abs(value) <= 1e300)) return 65535;
  return width > 0 ? static_cast<std::uint16_t>(std::lround((value - low) / width * 65534))
                   : std::uint16_t{0};
}

/// To float; what exceeds its range is infinite, and not drawn.
[[nodiscard]] inline float rounded(double value) {
  constexpr auto most = static_cast<double>((std::numeric_limits<float>::max)());
  if (std::abs(value) > most)
    return std::copysign(std::numeric_limits<float>::infinity(), value > 0 ? 1.0F : -1.0F);
  return static_cast<float>(value);
}

/// Writes the bytes of count values at(0), at(1), …, little-endian, in base64 as the text of a script
/// element.
template <class T, class At>
void write_base64(AtomicFile& file, std::string_view id, std::size_t count, At at) {
  file.write("<script id=\"" + std::string(id) + "\" type=\"text/plain\">");
  constexpr std::size_t block = 3 * 4096;  // elements: whole groups of three bytes in each block
  std::string bytes;
  for (std::size_t start = 0; start < count; start += block) {
    bytes.clear();
    for (std::size_t q = start; q < (std::min)(count, start + block); ++q) {
      auto raw = std::bit_cast<std::array<char, sizeof(T)>>(static_cast<T>(at(q)));
      if constexpr (std::endian::native == std::endian::big) std::reverse(raw.begin(), raw.end());
      bytes.append(raw.begin(), raw.end());
    }
    file.write(base64(bytes));
  }
  file.write("</script>\n");
}

}}}  // namespace attnflow::detail
