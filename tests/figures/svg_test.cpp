#include "figures/svg.hpp"

#include "catch.hpp"
#include "draws.hpp"
#include "figures/picture.hpp"
#include "folder.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using Catch::Matchers::ContainsSubstring;
using figures::Figure;
using figures::svg;

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
/// What a reader can see; positions are written to hundredths, labels exactly.
constexpr double half_a_pixel = 0.5;

Figure figure_of(Figure::Panel panel) {
  Figure figure;
  figure.panels.push_back(std::move(panel));
  return figure;
}
Element panel_of(const Figure& figure, std::size_t k = 0) {
  return *Xml::parse(svg(figure)).all("panel").at(k);
}
Element panel_of(const Figure::Panel& panel) { return panel_of(figure_of(panel)); }

/// n points uniform in a box.
Figure::Points cloud(std::size_t n, std::array<double, 3> low, std::array<double, 3> high, bool space) {
  std::mt19937_64 generator(5);
  Figure::Points points;
  const auto draw = [&](std::size_t k) { return std::lerp(low[k], high[k], unit(generator)); };
  for (std::size_t k = 0; k < n; ++k) {
    points.x.push_back(draw(0));
    points.y.push_back(draw(1));
    if (space) points.z.push_back(draw(2));
  }
  return points;
}

/// The fill at a pixel, by the rectangles of a heat map, in the order of painting.
std::string colour_at(const Element& cells, double x, double y) {
  std::array<double, 6> m{1, 0, 0, 1, 0, 0};
  if (const auto given = numbers(cells["transform"]); given.size() == 6)
    std::copy(given.begin(), given.end(), m.begin());
  std::string colour;
  for (const Element& path : cells.children) {
    const auto d = numbers(path["d"]);  // x, y, width, height, −width for each
    for (std::size_t k = 0; k + 4 < d.size(); k += 5) {
      const auto [left, right] = std::minmax({m[4] + m[0] * d[k], m[4] + m[0] * (d[k] + d[k + 2])});
      const auto [top, bottom] = std::minmax({m[5] + m[3] * d[k + 1], m[5] + m[3] * (d[k + 1] + d[k + 3])});
      if (x >= left && x < right && y >= top && y < bottom) colour = path["fill"];
    }
  }
  return colour;
}

std::string message_of(const Figure& figure) {
  try {
    static_cast<void>(svg(figure));
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing thrown";
}
template <class Layer>
std::string message_with(const Layer& layer) {
  Figure::Panel panel;
  panel.layers = {Figure::Line{}, layer};
  return message_of(figure_of(panel));
}

}  // namespace

TEST_CASE("svg: points and lines are where the labels of the axes say", "[io]") {
  const bool log_x = GENERATE(false, true), log_y = GENERATE(false, true);
  const auto mark = GENERATE(Figure::Mark::circle, Figure::Mark::square, Figure::Mark::triangle,
                             Figure::Mark::diamond, Figure::Mark::cross);
  const bool down = GENERATE(false, true);
  Figure::Panel panel;
  panel.x = {.label = "x", .logarithmic = log_x};
  panel.y = {.label = "y", .logarithmic = log_y};
  if (down) panel.y = {.label = "y", .low = 30, .high = 0.02, .logarithmic = log_y};
  auto points = cloud(60, {0.3, 0.05, 0}, {4000, 20, 0}, false);
  points.mark = mark;
  points.x[7] = nan_value;
  points.y[9] = infinity;
  points.x[11] = points.y[11] = 1e308;
  if (log_x) points.x[13] = -1;
  Figure::Line line{.x = points.x, .y = points.y};
  panel.layers = {points, line};
  const Element seen = panel_of(panel);
  const SeenAxis x(seen, "x", log_x), y(seen, "y", log_y);
  CHECK(y.slope().second * (down ? 1 : -1) > 0);

  std::set<std::size_t> expected, drawn;
  for (std::size_t k = 0; k < points.x.size(); ++k)
    if (k != 7 && k != 9 && k != 11 && !(log_x && k == 13)) expected.insert(k);
  for (const Element* point : seen.all("point")) {
    const auto k = static_cast<std::size_t>(point->number("data-k"));
    drawn.insert(k);
    CHECK(middle(*point).first == Approx(x.x(points.x[k])).margin(half_a_pixel));
    CHECK(middle(*point).second == Approx(y.y(points.y[k])).margin(half_a_pixel));
  }
  CHECK(drawn == expected);

  // The line has a corner at each point that is finite, in pieces between the others, and a single point is
  // none.
  const auto path = seen.one("line").one("path")["d"];
  CHECK(std::count(path.begin(), path.end(), 'M') == 2);
  const auto corners = numbers(path);
  std::vector<std::size_t> in_turn;
  for (const std::size_t k : expected)
    if (k != 8 && k != 10 && !(log_x && k == 12)) in_turn.push_back(k);
  REQUIRE(corners.size() == 2 * in_turn.size());
  for (std::size_t i = 0; i < in_turn.size(); ++i) {
    CHECK(corners[2 * i] == Approx(x.x(points.x[in_turn[i]])).margin(half_a_pixel));
    CHECK(corners[2 * i + 1] == Approx(y.y(points.y[in_turn[i]])).margin(half_a_pixel));
  }
}

TEST_CASE("svg: a box in space is a linear view, and what is near is drawn last", "[io]") {
  const double yaw = GENERATE(0.6, -1.0, 2.5, 4.0), pitch = GENERATE(0.4, 0.15, -0.5);
  const bool equal = GENERATE(false, true), log_z = GENERATE(false, true);
  if (equal && log_z) return;
  Figure::Panel panel;
  panel.yaw = yaw;
  panel.pitch = pitch;
  panel.equal = equal;
  panel.z.logarithmic = log_z;
  auto points = cloud(50, {-5, 10, 0.01}, {5, 14, 7}, true);
  panel.layers = {points};
  const Element seen = panel_of(panel);
  const SeenAxis x(seen, "x"), y(seen, "y"), z(seen, "z", log_z);
  const auto marks = seen.all("point");
  REQUIRE(marks.size() == 50);
  // The first point is what the others are measured from.
  const auto first = static_cast<std::size_t>(marks[0]->number("data-k"));
  const auto start = middle(*marks[0]);
  double nearness = -infinity;
  for (const Element* mark : marks) {
    const auto k = static_cast<std::size_t>(mark->number("data-k"));
    const double dx = points.x[k] - points.x[first], dy = points.y[k] - points.y[first],
                 dz = z.measure(points.z[k]) - z.measure(points.z[first]);
    const auto at = middle(*mark);
    CHECK(at.first - start.first ==
          Approx(dx * x.slope().first + dy * y.slope().first + dz * z.slope().first).margin(half_a_pixel));
    CHECK(at.second - start.second ==
          Approx(dx * x.slope().second + dy * y.slope().second + dz * z.slope().second).margin(half_a_pixel));
    // Nearness is along the direction of the eye; a unit is as long as its axis, so only where they are
    // equal.
    if (!equal) continue;
    const double near = std::cos(pitch) * (std::cos(yaw) * points.x[k] + std::sin(yaw) * points.y[k]) +
                        std::sin(pitch) * points.z[k];
    CHECK(near >= nearness);
    nearness = near;
  }
  if (equal) {  // and the view is the one that yaw and pitch say, in pixels of one size
    const double pixel = -z.slope().second / std::cos(pitch);
    CHECK(pixel > 0);
    CHECK(x.slope().first == Approx(-pixel * std::sin(yaw)).margin(0.1));
    CHECK(y.slope().first == Approx(pixel * std::cos(yaw)).margin(0.1));
    CHECK(x.slope().second == Approx(pixel * std::sin(pitch) * std::cos(yaw)).margin(0.1));
    CHECK(y.slope().second == Approx(pixel * std::sin(pitch) * std::sin(yaw)).margin(0.1));
    CHECK(z.slope().first == Approx(0).margin(1e-9));
  }
}

TEST_CASE("svg: a heat map has the colour of each entry at its place", "[io]") {
  const bool down = GENERATE(false, true), turned = GENERATE(false, true), log_axis = GENERATE(false, true);
  const auto shade = GENERATE(Figure::Shade::linear, Figure::Shade::root, Figure::Shade::logarithmic);
  std::mt19937_64 generator(3);
  Figure::HeatMap map;
  map.label = "P_{ij}";
  map.values = (random(7, 11, generator).array() + 1.0001) * 40;
  map.values(2, 3) = nan_value;
  map.values.row(4).setConstant(13);  // a run
  map.x_low = 1;
  map.x_high = 12;
  map.y_low = 3;
  map.y_high = 10;
  if (turned) std::swap(map.y_low, map.y_high);
  map.shade = shade;
  Figure::Panel panel;
  panel.x.logarithmic = log_axis;
  if (down) panel.y = {.low = 10, .high = 3};
  panel.layers = {map};
  const Element seen = panel_of(panel);
  const SeenAxis x(seen, "x", log_axis), y(seen, "y");
  const Element& cells = seen.one("cells");
  const double least = map.values.row(0).minCoeff() < 0 ? 0 : [&] {
    double low = infinity;
    for (const double v : map.values.reshaped())
      if (v < low) low = v;
    return low;
  }();
  const double most = [&] {
    double high = -infinity;
    for (const double v : map.values.reshaped())
      if (v > high) high = v;
    return high;
  }();
  for (Eigen::Index i = 0; i < 7; ++i)
    for (Eigen::Index j = 0; j < 11; ++j) {
      const double value = map.values(i, j);
      const double along_x = 1.5 + static_cast<double>(j);
      const double along_y = turned ? 9.5 - static_cast<double>(i) : 3.5 + static_cast<double>(i);
      const std::string found = colour_at(cells, x.x(along_x), y.y(along_y));
      if (std::isnan(value)) {
        CHECK(found.empty());
        continue;
      }
      const double part = (value - least) / (most - least);
      const double place = shade == Figure::Shade::linear ? part
                           : shade == Figure::Shade::root ? std::sqrt(part)
                                                          : std::log(value / least) / std::log(most / least);
      const double rounded = std::round(place * 254) / 254;
      CHECK(found == figures::colour_text(figures::viridis(rounded)));
    }
  // Its edges are where they should be, too: no cell leaves them out.
  const auto near = [&](double along_x, double along_y, double dx, double dy) {
    return colour_at(cells, x.x(along_x) + dx, y.y(along_y) + dy).empty();
  };
  const double in = half_a_pixel, down_or_up = down ? -in : in;
  CHECK_FALSE(near(1, 3, in, -down_or_up));
  CHECK_FALSE(near(12, 10, -in, down_or_up));
  CHECK(near(1, 3, -in, down_or_up));
  CHECK(near(12, 10, in, -down_or_up));
  // The bar: its labels are where their shades are.
  const Element& bar = seen.one("colour-bar");
  const Element& frame = seen.one("frame");
  for (const Element* tick : bar.all("tick")) {
    const double value = value_of(tick->one("text")), part = (value - least) / (most - least);
    const double place = shade == Figure::Shade::linear ? part
                         : shade == Figure::Shade::root ? std::sqrt(part)
                                                        : std::log(value / least) / std::log(most / least);
    CHECK(numbers(tick->one("path")["d"])[1] ==
          Approx(frame.number("y") + frame.number("height") * (1 - place)).margin(half_a_pixel));
  }
  CHECK(bar.all("tick").size() >= 2);
}

TEST_CASE("svg: a large matrix is a picture of its averages", "[io]") {
  CHECK(attnflow::detail::base64("") == "");
  CHECK(attnflow::detail::base64("f") == "Zg==");
  CHECK(attnflow::detail::base64("fo") == "Zm8=");
  CHECK(attnflow::detail::base64("foobar") == "Zm9vYmFy");

  Figure::HeatMap map;
  std::mt19937_64 generator(3);
  const Eigen::Index rows = GENERATE(300, 1024);
  map.values = random(rows, 300, generator);
  map.values.topRightCorner(rows / 2, 150).setConstant(1);
  map.least = -1;
  map.most = 1;
  map.x_high = 300;
  map.y_high = static_cast<double>(rows);
  Figure::Panel panel;
  panel.layers = {map};
  const std::string text = svg(figure_of(panel));
  CHECK(text.size() < 400000);
  const std::string code = panel_of(panel).one("cells")["xlink:href"];
  const std::string start = "data:image/png;base64,";
  REQUIRE(code.substr(0, start.size()) == start);
  std::string bytes;
  {
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned group = 0;
    int bits = 0;
    for (const char c : code.substr(start.size())) {
      if (c == '=') break;
      group = group << 6 | static_cast<unsigned>(digits.find(c));
      bits += 6;
      if (bits >= 8) bytes += static_cast<char>(group >> (bits -= 8) & 0xFFU);
    }
  }
  const auto word = [&](std::size_t at) {
    std::size_t value = 0;
    for (std::size_t k = 0; k < 4; ++k) value = value << 8 | static_cast<unsigned char>(bytes[at + k]);
    return value;
  };
  REQUIRE(bytes.substr(0, 8) == "\x89PNG\r\n\x1a\n");
  CHECK(word(16) == 300);
  const std::size_t height = word(20);
  CHECK(height == std::min<std::size_t>(static_cast<std::size_t>(rows), 512));
  CHECK(bytes.substr(bytes.size() - 12) == std::string("\0\0\0\0IEND\xae\x42\x60\x82", 12));  // its known sum
  std::size_t at = bytes.find("IDAT") + 4 + 2;
  std::string data;
  for (bool last = false; !last;) {  // stored blocks
    last = bytes[at] == 1;
    const std::size_t size =
        static_cast<unsigned char>(bytes[at + 1]) + 256U * static_cast<unsigned char>(bytes[at + 2]);
    data += bytes.substr(at + 5, size);
    at += 5 + size;
  }
  REQUIRE(data.size() == height * 301);
  const Eigen::Index each =
      rows / static_cast<Eigen::Index>(height);  // rows of the matrix in one of the picture
  int wrong = 0;
  for (std::size_t i = 0; i < height; ++i)
    for (std::size_t j = 0; j < 300; ++j) {
      const Eigen::Index row = rows - each * static_cast<Eigen::Index>(i + 1);
      const double mean = map.values.block(row, static_cast<Eigen::Index>(j), each, 1).mean();
      const double shade = static_cast<unsigned char>(data[i * 301 + 1 + j]);
      wrong += std::abs(shade - (mean + 1) / 2 * 254) > 0.51;
    }
  CHECK(wrong == 0);
}

TEST_CASE("svg: bars, bands and polygons, cut at the frame", "[io]") {
  Figure::Panel panel;
  panel.x = {.low = 0, .high = 4};
  panel.y = {.low = -1, .high = 3};
  panel.layers = {
      Figure::Bars{.edges = {-1, 1, 2, 3.5}, .heights = {2, 5, -0.5}},
      Figure::Band{
          .x = {1, 2, 3, nan_value, 3.5, 3.8}, .low = {0, 0.5, 0, 0, 1, 1}, .high = {1, 2, 1, 1, 2, 1.5}},
      Figure::Polygon{.x = {1, 9, 1}, .y = {-1, 1, 3}}, Figure::Line{.x = {-4, 8}, .y = {0, 2}},
      Figure::Points{.x = {4, 4.001, 0, 2}, .y = {3, 0, -1, 1}}};
  const Element seen = panel_of(panel);
  const SeenAxis x(seen, "x"), y(seen, "y");
  const auto bars = seen.all("bar");
  REQUIRE(bars.size() == 3);
  const auto corners = [&](std::size_t k) {
    const Element& b = *bars[k];
    return std::array<double, 4>{b.number("x"), b.number("x") + b.number("width"), b.number("y"),
                                 b.number("y") + b.number("height")};
  };
  const auto box = [&](double left, double right, double top, double bottom) {
    return std::array<double, 4>{x.x(left), x.x(right), y.y(top), y.y(bottom)};
  };
  const auto same = [](const std::array<double, 4>& a, const std::array<double, 4>& b) {
    for (std::size_t k = 0; k < 4; ++k) CHECK(a[k] == Approx(b[k]).margin(0.05));
  };
  same(corners(0), box(0, 1, 2, 0));
  same(corners(1), box(1, 2, 3, 0));
  same(corners(2), box(2, 3.5, 0, -0.5));

  const auto bands = seen.one("band").all("path");
  REQUIRE(bands.size() == 2);
  const auto first = numbers((*bands[0])["d"]);
  REQUIRE(first.size() == 12);
  CHECK(first[2] == Approx(x.x(2)).margin(0.05));
  CHECK(first[3] == Approx(y.y(2)).margin(0.05));
  CHECK(first[9] == Approx(y.y(0.5)).margin(0.05));

  // Nothing leaves the frame, and the line meets it where it should: at (0, 2/3) and (4, 4/3).
  const Element& frame = seen.one("frame");
  for (const Element* path : seen.one("layers").all("path")) {
    const auto d = numbers((*path)["d"]);
    for (std::size_t k = 0; k + 1 < d.size(); k += 2) {
      CHECK(d[k] >= frame.number("x") - 0.01);
      CHECK(d[k] <= frame.number("x") + frame.number("width") + 0.01);
      CHECK(d[k + 1] >= frame.number("y") - 0.01);
      CHECK(d[k + 1] <= frame.number("y") + frame.number("height") + 0.01);
    }
  }
  const auto line = numbers(seen.one("line").one("path")["d"]);
  REQUIRE(line.size() == 4);
  CHECK(line[0] == Approx(x.x(0)).margin(0.05));
  CHECK(line[1] == Approx(y.y(2. / 3)).margin(0.05));
  CHECK(line[3] == Approx(y.y(4. / 3)).margin(0.05));
  // The polygon is cut at x = 4, and its outline does not run along the frame.
  const auto polygon = seen.one("polygon").all("path");
  REQUIRE(polygon.size() == 2);
  CHECK(numbers((*polygon[0])["d"]).size() == 8);
  const std::string outline = (*polygon[1])["d"];
  CHECK(std::count(outline.begin(), outline.end(), 'M') == 2);
  // Points on the frame are whole, points beyond are not there.
  CHECK(seen.all("point").size() == 3);
}

TEST_CASE("svg: ticks are at round numbers, and their labels say so and do not touch", "[io]") {
  std::mt19937_64 generator(11);
  for (int draw = 0; draw < 400; ++draw) {
    const bool log = draw % 2 == 1;
    figures::Scale scale{0, 1, log, draw % 7 == 0};
    if (log) {
      scale.low = std::pow(10, 30 * unit(generator) - 15);
      scale.high = scale.low * std::pow(10, std::pow(10, 4 * unit(generator) - 2));
      if (!std::isfinite(scale.high)) continue;
    } else {
      const double size = std::pow(10, 40 * unit(generator) - 20);
      scale.low = size * (2 * unit(generator) - 1);
      scale.high = scale.low + size * std::pow(10, -6 * unit(generator));
    }
    if (draw % 3 == 0) std::swap(scale.low, scale.high);
    const double length = 60 + 600 * unit(generator);
    const auto ticks = figures::ticks_across(scale, length);
    REQUIRE(ticks.at.size() == ticks.labels.size());
    REQUIRE(ticks.at.size() <= 12);
    const double range = std::abs(scale.high - scale.low);
    CAPTURE(scale.low, scale.high, length, log);
    for (std::size_t k = 0; k < ticks.at.size(); ++k) {
      CHECK(scale.place(ticks.at[k]) > -1e-6);
      CHECK(scale.place(ticks.at[k]) < 1 + 1e-6);
      if (scale.whole && !log) CHECK(ticks.at[k] == std::round(ticks.at[k]));
      const Element label = Xml::parse("<text>" + figures::spans(ticks.labels[k], 11) + "</text>");
      CHECK(value_of(label) * std::pow(10, ticks.power) ==
            Approx(ticks.at[k]).epsilon(1e-9).margin(log ? 0 : 1e-9 * range));
      if (k == 0) continue;
      CHECK(ticks.labels[k] != ticks.labels[k - 1]);
      const double apart = std::abs(scale.place(ticks.at[k]) - scale.place(ticks.at[k - 1])) * length;
      CHECK(apart >
            (figures::text_width(ticks.labels[k], 11) + figures::text_width(ticks.labels[k - 1], 11)) / 2 +
                3);
    }
  }
  // The usual cases, by their labels.
  const auto labels = [](double low, double high, bool log, int most) {
    return figures::ticks_of({low, high, log, false}, most).labels;
  };
  using Labels = std::vector<std::string>;
  CHECK(labels(-0.1, 1.1, false, 6) == Labels{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  CHECK(labels(-5, 5, false, 6) == Labels{"−4", "−2", "0", "2", "4"});
  CHECK(labels(0, 3e7, false, 4) == Labels{"0", "1", "2", "3"});
  CHECK(labels(1e-4, 1, true, 6) == Labels{"10^{−4}", "10^{−3}", "10^{−2}", "10^{−1}", "10^{0}"});
  CHECK(labels(0.5, 20, true, 9) == Labels{"0.5", "1", "2", "5", "10", "20"});
}

TEST_CASE("svg: texts with scripts and markup", "[io]") {
  Figure::Panel panel;
  panel.title = R"(a < b & "c" \_ \^ z_1^2 e^{−tV} _)";
  panel.x.label = std::string("bad \xff\xc3 \x01 byte, open z_{ and x^");
  panel.layers = {Figure::Text{.text = "<script>", .x = 1, .y = 2}};
  Figure figure = figure_of(panel);
  figure.title = "e^{−λt} ∑_j P_{ij} & a_";
  figure.caption = "1 < 2";
  const Element document = Xml::parse(svg(figure));
  CHECK(document.children[0].name == "title");
  CHECK(document.children[0].text == "e^{−λt} ∑_j P_{ij} & a_");
  CHECK(document.children[1].name == "desc");
  CHECK_THAT(document.children[1].text, ContainsSubstring("1 < 2"));
  const Element& title = *document.all("panel")[0]->all("title")[0];
  CHECK(title.text == R"(a < b & "c" _ ^ z12 e−tV _)");
  // Scripts are smaller; what follows them is on the line again: the moves add up to none.
  double sum = 0;
  int small = 0;
  for (const Element& span : title.children) {
    sum += span.number("dy");
    small += span["font-size"].empty() ? 0 : 1;
  }
  CHECK(small == 3);
  CHECK(sum == Approx(0).margin(0.02));
  CHECK(title.children[0].number("dy") > 0);
  CHECK(title.children[1].number("dy") < 0);
  CHECK(document.one("layers").one("text").text == "<script>");
  CHECK_THAT(svg(figure), ContainsSubstring("\xEF\xBF\xBD"));
  CHECK(figures::text_width("z_1", 10) < figures::text_width("z1", 10));
  const auto lines = figures::wrapped("one two e^{a b} three", 10, 45);
  CHECK(lines == std::vector<std::string>{"one two", "e^{a b}", "three"});
}

TEST_CASE("svg: a legend covers nothing, or stands below", "[io]") {
  Figure::Panel panel;
  auto points = cloud(60, {0, 0, 0}, {1, 1, 0}, false);
  const bool crowded = GENERATE(false, true);
  for (double& y : points.y)
    if (!crowded) y = points.x[static_cast<std::size_t>(&y - points.y.data())];  // the diagonal
  if (crowded) points = cloud(3000, {0, 0, 0}, {1, 1, 0}, false);
  points.label = "tokens";
  Figure::Line line{.label = "tokens", .x = {0, 1}, .y = {0, 1}, .colour = 1};
  panel.layers = {points, line, Figure::Line{.label = "z_1", .x = {0, 1}, .y = {0, 1}, .dashed = true},
                  Figure::Line{.x = {0, 1}, .y = {0, 1}}};
  panel.x.label = "x";
  const Element seen = panel_of(panel);
  const Element& legend = seen.one("legend");
  const auto entries = legend.all("entry");
  REQUIRE(entries.size() == 2);
  CHECK(entries[0]->one("text").text == "tokens");
  CHECK(entries[1]->one("text").text == "z1");
  CHECK(entries[0]->all("circle").size() == 1);
  CHECK(entries[0]->all("path").size() == 1);
  CHECK((*entries[1]->all("path")[0])["stroke-dasharray"] != "");
  const Element& frame = seen.one("frame");
  const double bottom = frame.number("y") + frame.number("height");
  if (crowded) {
    for (const Element* text : legend.all("text")) CHECK(text->number("y") > bottom + 30);  // below the label
    for (const Element* text : legend.all("text")) CHECK(text->number("y") < 340);
  } else {
    const Element& box = *legend.all("rect")[0];
    CHECK(box.number("y") + box.number("height") < bottom);
    for (const Element* point : seen.all("point")) {
      const auto [x, y] = middle(*point);
      const bool covered = x > box.number("x") - 3 && x < box.number("x") + box.number("width") + 3 &&
                           y > box.number("y") - 3 && y < box.number("y") + box.number("height") + 3;
      CHECK_FALSE(covered);
    }
  }
  panel.legend = false;
  CHECK(panel_of(panel).all("legend").empty());
}

TEST_CASE("svg: panels in a grid, equal units, letters", "[io]") {
  Figure figure;
  figure.columns = GENERATE(0, 2);
  for (int k = 0; k < 4; ++k) {
    Figure::Panel panel;
    panel.equal = k != 2;
    panel.x.label = k % 2 == 0 ? "" : "x";
    panel.y.label = "y";
    panel.layers = {cloud(20, {0, -3, 0}, {k == 1 ? 50.0 : 2.0, 4, 0}, false)};
    if (k == 3) panel.y = {.low = -3, .high = 4};
    figure.panels.push_back(panel);
  }
  std::get<Figure::Points>(figure.panels[3].layers[0]).x[0] = 1;
  figure.panels[3].x = {.low = 0, .high = 2};
  const Element document = Xml::parse(svg(figure));
  const auto panels = document.all("panel");
  REQUIRE(panels.size() == 4);
  CHECK(panels[0]->one("letter").text == "(a)");
  CHECK(panels[3]->one("letter").text == "(d)");
  CHECK(document.number("width") == 840);
  CHECK(numbers((*panels[3])["transform"])[0] == 420);
  for (const std::size_t k : {0U, 1U, 3U}) {
    const SeenAxis x(*panels[k], "x"), y(*panels[k], "y");
    CHECK(x.slope().first == Approx(-y.slope().second).epsilon(1e-3));
  }
  // Frames of a row begin and end at the same height, unless a bounded one is smaller.
  CHECK(panels[0]->one("frame").number("y") == panels[1]->one("frame").number("y"));
  CHECK(panels[0]->one("frame").number("height") == panels[1]->one("frame").number("height"));
  CHECK(panels[0]->one("frame").number("x") == panels[2]->one("frame").number("x"));
  // Every text is within its panel.
  for (const Element* panel : panels)
    for (const Element* text : panel->all("text")) {
      CHECK(text->number("x") > 0);
      CHECK(text->number("x") < 420);
      CHECK(text->number("y") > 0);
      CHECK(text->number("y") < 340);
    }
}

TEST_CASE("svg: nothing, equal numbers, huge numbers and many points give a sane picture", "[io]") {
  const auto sane = [](const Figure& figure) {
    const std::string text = svg(figure);
    CHECK(text == svg(figure));
    const Element document = Xml::parse(text);
    for (const char* word : {"nan", "inf", "e+", "NaN"}) {
      const std::size_t at = text.find(word);
      INFO(text.substr(at == std::string::npos ? 0 : at - std::min<std::size_t>(at, 200), 400));
      CHECK(at == std::string::npos);
    }
    return document;
  };
  CHECK(sane({}).all("panel").empty());
  CHECK(sane(figure_of({})).all("tick").size() >= 4);
  const std::vector<double> tiny{1, 1 + 1e-15, 1 - 1e-15}, same(3, -4), all{nan_value, infinity, -infinity},
      huge{-1e300, 5e-324, 1e300}, wide{1e-300, 1, 1e300}, zero(3, 0);
  for (const bool log : {false, true})
    for (const auto& x : {tiny, same, all, huge, wide, zero})
      for (const auto& y : {tiny, all, huge, wide}) {
        Figure::Panel panel;
        panel.x.logarithmic = panel.y.logarithmic = log;
        Figure::HeatMap map{.label = "v", .values = Eigen::Map<const Eigen::MatrixXd>(y.data(), 3, 1)};
        map.shade = log ? Figure::Shade::logarithmic : Figure::Shade::root;
        panel.layers = {Figure::Points{.label = "p", .x = x, .y = y},
                        Figure::Line{.label = "l", .x = x, .y = y},
                        Figure::Polygon{.x = x, .y = y},
                        Figure::Band{.x = x, .low = y, .high = y},
                        Figure::Bars{.edges = {0, 1, 2, 3}, .heights = y},
                        map,
                        Figure::Text{.text = "t", .x = x[0], .y = y[0]}};
        sane(figure_of(panel));
        panel.layers = {Figure::Points{.x = x, .y = y, .z = y}, Figure::Line{.x = x, .y = y, .z = x},
                        Figure::Polygon{.x = x, .y = y, .z = x}};
        panel.pitch = 1.5707963267948966;
        sane(figure_of(panel));
        panel.equal = true;
        panel.x.logarithmic = panel.y.logarithmic = false;
        sane(figure_of(panel));
      }
  Figure::Panel crowd;
  auto points = cloud(20001, {0, 0, 0}, {1, 1, 0}, false);
  for (std::size_t k = 0; k < points.x.size(); ++k) points.colours.push_back(static_cast<int>(k % 3));
  crowd.layers = {points};
  const Element seen = sane(figure_of(crowd));
  CHECK(seen.all("point").empty());
  REQUIRE(seen.one("layers").all("path").size() == 3);
  const SeenAxis x(seen, "x"), y(seen, "y");
  std::size_t total = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    const auto d = numbers((*seen.one("layers").all("path")[c])["d"]);  // x, y, 0 for each
    CHECK(d[0] == Approx(x.x(points.x[c])).margin(half_a_pixel));
    CHECK(d[1] == Approx(y.y(points.y[c])).margin(half_a_pixel));
    total += d.size() / 3;
  }
  CHECK(total > 19500);  // a few stand on the same tenth of a pixel
  CHECK(total <= 20001);
}

TEST_CASE("svg: mistakes are refused by their names", "[io]") {
  using namespace std::string_literals;
  CHECK(message_with(Figure::Points{.x = {1, 2}, .y = {1}}) ==
        "Figure::panels[0].layers[1].y has 1 entries, expected that of x = 2");
  CHECK(message_with(Figure::Line{.x = {1}, .y = {1}, .z = {1, 2}}) ==
        "Figure::panels[0].layers[1].z has 2 entries, expected that of x = 1");
  CHECK(message_with(Figure::Points{.x = {1}, .y = {1}, .colours = {1, 2}}) ==
        "Figure::panels[0].layers[1].colours has 2 entries, expected none or that of x = 1");
  CHECK_THAT(message_with(Figure::Points{.colour = -4}),
             ContainsSubstring("colour is -4, expected at least -3"));
  CHECK_THAT(message_with(Figure::Points{.opacity = nan_value}), ContainsSubstring("opacity is nan"));
  CHECK_THAT(message_with(Figure::Points{.size = -1}), ContainsSubstring("size is -1"));
  CHECK_THAT(message_with(Figure::Line{.width = -1}), ContainsSubstring("width is -1"));
  CHECK_THAT(message_with(Figure::Band{.x = {1}, .low = {1}}), ContainsSubstring("high has 0 entries"));
  CHECK_THAT(message_with(Figure::Bars{.edges = {1}, .heights = {1}}),
             ContainsSubstring("edges has 1 entries, expected one more than heights = 2"));
  CHECK_THAT(message_with(Figure::HeatMap{.x_low = 1, .x_high = 1}),
             ContainsSubstring("reaches from (1, 0) to (1, 1)"));
  CHECK_THAT(message_with(Figure::HeatMap{.least = 2, .most = 1}),
             ContainsSubstring("least = 2 and most = 1"));
  CHECK_THAT(message_with(Figure::HeatMap{.shade = Figure::Shade::logarithmic, .least = 0}),
             ContainsSubstring("positive numbers for logarithmic shades"));
  Figure::Panel panel;
  panel.layers = {Figure::Line{.x = {1}, .y = {1}, .z = {1}}, Figure::Bars{}};
  CHECK(message_of(figure_of(panel)) ==
        "Figure::panels[0].layers[1] lies in the plane, expected points, lines, polygons or texts");
  panel = {};
  panel.y = {.low = -1, .logarithmic = true};
  CHECK(message_of(figure_of(panel)) ==
        "Figure::panels[0].y ends at -1, expected NaN or a positive number, at most 1e300");
  panel = {};
  panel.x = {.low = 2, .high = 2};
  CHECK_THAT(message_of(figure_of(panel)), ContainsSubstring("Figure::panels[0].x has low = 2 and high = 2"));
  panel = {};
  panel.equal = panel.x.logarithmic = true;
  CHECK(message_of(figure_of(panel)) == "Figure::panels[0].equal is true and x logarithmic");
  panel = {};
  panel.pitch = infinity;
  CHECK_THAT(message_of(figure_of(panel)), ContainsSubstring("Figure::panels[0].pitch is inf"));
  Figure figure;
  figure.columns = -1;
  CHECK(message_of(figure) == "Figure::columns is -1, expected at least 0");
  figure.columns = 0;
  figure.panel_width = 10;
  CHECK(message_of(figure) == "Figure::panel_width is 10, expected 120 to 10000");
}

TEST_CASE("svg: a file holds the text, and appears whole or not at all", "[io]") {
  const Folder folder;
  Figure::Panel panel;
  panel.layers = {cloud(10, {0, 0, 0}, {1, 1, 0}, false)};
  const Figure figure = figure_of(panel);
  figures::write_svg(folder / "figure.svg", figure);
  CHECK(get(folder / "figure.svg") == svg(figure));
  Figure wrong = figure;
  wrong.columns = -1;
  CHECK_THROWS_AS(figures::write_svg(folder / "other.svg", wrong), std::invalid_argument);
  CHECK_THROWS_AS(figures::write_svg(folder / "absent" / "figure.svg", figure), attnflow::FileError);
  CHECK(folder.files() == 1);
}
