// Writes the pages that page_test.py opens, and beside each small one its numbers as JSON, so that the test can
// say what must be seen. Positions are formulas: what they look like is known without a run.
//
//     make_pages FOLDER
#include <attnflow/io/html.hpp>
#include <attnflow/io/view.hpp>

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <numbers>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using attnflow::View;

/// A number in [−1, 1).
double draw(std::mt19937_64& bits) { return static_cast<double>(bits() >> 11) * 0x1p-52 - 1; }

std::vector<double> draws(std::mt19937_64& bits, std::size_t count, double scale) {
  std::vector<double> values(count);
  for (double& value : values) value = scale * draw(bits);
  return values;
}

/// n tokens that turn and drift towards one of `clusters` points, token i towards point i mod clusters: their
/// distance to it falls like e^{−t}. At the end, t = 4, a fiftieth of it is left.
View gathering(int d, std::size_t n, std::size_t m, std::size_t clusters, unsigned seed) {
  std::mt19937_64 bits(seed);
  const auto dim = static_cast<std::size_t>(d);
  const std::vector<double> from = draws(bits, n * dim, 3), to = draws(bits, clusters * dim, 3);
  View view;
  view.title = std::to_string(n) + " tokens in dimension " + std::to_string(d);
  view.dim = d;
  view.tokens = static_cast<Eigen::Index>(n);
  view.positions.reserve(m * n * dim);
  for (std::size_t k = 0; k < m; ++k) {
    const double t = m > 1 ? 4.0 * static_cast<double>(k) / static_cast<double>(m - 1) : 0;
    view.times.push_back(t);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t c = 0; c < dim; ++c) {
        const double end = to[i % clusters * dim + c], way = from[i * dim + c] - end;
        view.positions.push_back(end + way * std::exp(-t) * std::cos(0.5 * t * static_cast<double>(c + 1)));
      }
  }
  for (std::size_t i = 0; i < n; ++i) view.clusters.push_back(static_cast<int>(i % clusters));
  return view;
}

/// Forms without symmetry that grow with t, as those of the rescaled system do: e^{log scale} = e^{2t}.
View::Head head(const View& view, const std::string& name, unsigned seed) {
  std::mt19937_64 bits(seed);
  const auto square = static_cast<std::size_t>(view.dim * view.dim);
  View::Head result{name, {}, {}};
  const std::vector<double> form = draws(bits, square, 0.4);
  for (const double t : view.times) {
    for (std::size_t k = 0; k < square; ++k) result.forms.push_back(form[k] * (1 + 0.1 * t));
    result.log_scales.push_back(2 * t);
  }
  return result;
}

View line() {
  View view = gathering(1, 12, 41, 3, 1);
  view.leaders = {0, 4};
  view.axes = {"x"};
  const double last = view.positions[view.positions.size() - 12];
  view.flats = {{"limit", true, {last}, {}}, {"found", false, {last + 0.01}, {}}};
  View::Series decay{"distance to the limit", {}}, count{"clusters", {}};
  for (const double t : view.times) {
    decay.values.push_back(std::exp(-4 * t));  // seven decades
    count.values.push_back(t < 2 ? 12 : 3);
  }
  view.series = {decay, count};
  view.parameters = {{"V", "identity"}, {"β", "1"}};
  return view;
}

View plane() {
  View view = gathering(2, 30, 61, 4, 2);
  view.title = "30 tokens & <four> vertices";
  view.note = "Formulas, not a run.";
  view.leaders = {0, 1, 2, 3};
  view.heads = {head(view, "head 1", 21), head(view, "head 2", 22)};
  const auto at = view.positions.size() - 60;
  for (std::size_t c = 0; c < 4; ++c)
    view.flats.push_back(
        {"vertices", c < 2, {view.positions[at + 2 * c], view.positions[at + 2 * c + 1]}, {}});
  view.flats.push_back({"line", true, {0.5, 0.25}, {1, 0.5}});
  View::Series sinking{"energy", {}};
  for (const double t : view.times) sinking.values.push_back(1 - std::exp(-t));
  view.series = {sinking};
  view.parameters = {{"system", "none: formulas"}, {"n", "30"}, {"seed", "2"}};
  return view;
}

/// Weights e^s / n of the tokens j ≤ i, with a slope: rows that do not sum to one.
View causal() {
  View view = gathering(2, 16, 21, 2, 3);
  view.heads = {head(view, "", 23)};
  for (double& scale : view.heads[0].log_scales) scale = 0;
  view.law = "unnormalized";
  view.mask = "causal";
  view.slope = 0.3;
  return view;
}

/// Tokens 10⁸ away, a unit apart, and scores that leave the range of double: P is what differences of tokens say.
View far() {
  View view = gathering(2, 12, 4, 3, 12);
  view.heads = {head(view, "", 26)};
  for (double& position : view.positions) position += 1e8;
  view.heads[0].log_scales = {-18, 0, 700, 1e5};
  return view;
}

/// The same matrix of weights given, not computed: P(i, j) = (1 + 10 i + j) / sum of the row, at every moment.
View given() {
  View view = gathering(3, 8, 11, 2, 4);
  for (std::size_t k = 0; k < 11; ++k)
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < 8; ++j)
        view.attention.push_back(static_cast<float>((1 + 10 * i + j) / (8.0 * (1 + 10 * i) + 28)));
  return view;
}

View space() {
  View view = gathering(3, 40, 51, 5, 5);
  view.leaders = {0, 1, 2, 3, 4};
  view.flats = {{"limit plane", true, {0, 0, 1}, {1, 0, 0.2, 0, 1, 0}},
                {"limit line", true, {1, 1, 0}, {0, 0, 1}},
                {"found plane", false, {0, 0, 1.05}, {1, 0, 0.2, 0, 1, 0}}};
  return view;
}

View ten() {
  View view = gathering(10, 25, 31, 3, 6);
  std::mt19937_64 bits(7);
  view.bases = {{"eigenvectors of V", draws(bits, 40, 1), {"φ₁", "φ₂", "φ₃", "φ₄"}}};
  view.leaders = {0, 1, 2};
  return view;
}

/// A quarter of the numbers are not finite, one token at every moment, one moment of every token.
View holes() {
  View view = gathering(2, 16, 9, 2, 8);
  constexpr double inf = std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < view.positions.size(); ++k) {
    const std::size_t moment = k / 32, token = k / 2 % 16;
    if (token == 3 || moment == 4) view.positions[k] = std::numeric_limits<double>::quiet_NaN();
    if (token == 5 && moment > 2) view.positions[k] = k % 2 == 0 ? inf : -inf;
  }
  view.heads = {head(view, "", 24)};
  return view;
}

std::string text_of(double value) {
  if (!std::isfinite(value)) return "null";
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}
template <class Range>
std::string json(const Range& values) {
  std::string text = "[";
  for (const auto value : values) text += (text.size() > 1 ? "," : "") + text_of(static_cast<double>(value));
  return text + "]";
}
std::string quoted(const std::string& text) { return "\"" + text + "\""; }  // names here need no escapes

void write(const fs::path& folder, const std::string& name, const View& view, bool with_numbers = true) {
  attnflow::write_html(folder / (name + ".html"), view);
  if (!with_numbers) return;
  std::string heads, bases, flats;
  for (const auto& h : view.heads)
    heads += (heads.empty() ? "" : ",") + ("{\"name\":" + quoted(h.name) + ",\"forms\":" + json(h.forms) +
                                           ",\"log_scales\":" + json(h.log_scales) + "}");
  for (const auto& b : view.bases) bases += (bases.empty() ? "" : ",") + json(b.rows);
  for (const auto& f : view.flats)
    flats += (flats.empty() ? "" : ",") +
             ("{\"name\":" + quoted(f.name) + ",\"predicted\":" + (f.predicted ? "true" : "false") +
              ",\"point\":" + json(f.point) + ",\"directions\":" + json(f.directions) + "}");
  std::ofstream out(folder / (name + ".json"));
  out << "{\"title\":" << quoted(view.title) << ",\"n\":" << view.tokens << ",\"d\":" << view.dim
      << ",\"times\":" << json(view.times) << ",\"positions\":" << json(view.positions)
      << ",\"clusters\":" << json(view.clusters) << ",\"leaders\":" << json(view.leaders)
      << ",\"attention\":" << json(view.attention) << ",\"law\":" << quoted(view.law)
      << ",\"mask\":" << quoted(view.mask) << ",\"slope\":" << text_of(view.slope) << ",\"heads\":[" << heads
      << "],\"bases\":[" << bases << "],\"flats\":[" << flats << "]}\n";
  if (!out.flush()) throw std::runtime_error("cannot write the numbers of " + name);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_pages FOLDER\n";
    return 2;
  }
  try {
    const fs::path folder = argv[1];
    fs::create_directories(folder);
    write(folder, "line", line());
    write(folder, "plane", plane());
    write(folder, "causal", causal());
    write(folder, "far", far());
    write(folder, "given", given());
    write(folder, "space", space());
    write(folder, "ten", ten());
    write(folder, "holes", holes());
    View one = gathering(2, 1, 1, 1, 9);
    write(folder, "one token", one);  // a name that an address must escape
    write(folder, "none", gathering(3, 0, 5, 1, 9));
    View many = gathering(2, 2500, 5, 6, 10);  // too many for all of P: a sample
    many.heads = {head(many, "", 25)};
    for (double& scale : many.heads[0].log_scales) scale = 0;
    write(folder, "sample", many);
    for (const std::size_t n : {1000U, 5000U, 20000U})
      write(folder, "frames " + std::to_string(n), gathering(3, n, 200, 7, 11), false);
    View weighted = gathering(3, 1000, 200, 7, 11);  // and all of P to compute at every moment
    weighted.heads = {head(weighted, "", 27)};
    write(folder, "frames 1000 with P", weighted, false);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "make_pages: " << error.what() << '\n';
    return 1;
  }
}
