#include <attnflow/io/html.hpp>

#include "catch.hpp"
#include "folder.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;
using attnflow::View;
using attnflow::write_html;
using Catch::Matchers::ContainsSubstring;

std::string page_of(const View& view) {
  const Folder folder;
  write_html(folder.path / "view.html", view);
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator{}) == 1);
  std::ifstream in(folder.path / "view.html", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Two moments of three tokens in the plane, with everything that a view can hold.
View small_view() {
  View view;
  view.title = "three tokens";
  view.note = "every moment";
  view.times = {0, 0.1};
  view.tokens = 3;
  view.dim = 2;
  for (int k = 0; k < 12; ++k) view.positions.push_back(static_cast<float>(k) / 3);
  view.axes = {"u", "v"};
  view.clusters = {0, 1, -1};
  view.leaders = {2};
  view.attention.assign(18, 1.0F / 3);
  view.series = {{"clusters", {2, 1}}, {"energy", {0.5, std::nan("")}}};
  view.parameters = {{"beta", "1"}};
  return view;
}

int count(std::string_view text, std::string_view word) {
  int found = 0;
  for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

/// What stands in the script element of this name.
std::string_view element(std::string_view page, const std::string& id) {
  const auto tag = page.find("<script id=\"" + id + "\"");
  REQUIRE(tag != std::string_view::npos);
  const auto start = page.find('>', tag) + 1;
  return page.substr(start, page.find("</script>", start) - start);
}

/// The values whose little-endian bytes are written in base64.
template <class T>
std::vector<T> decoded(std::string_view text) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  REQUIRE(text.size() % 4 == 0);
  std::vector<std::uint8_t> bytes;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (c == '=') break;
    const auto digit = digits.find(c);
    REQUIRE(digit != std::string_view::npos);
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes.push_back(static_cast<std::uint8_t>(bits >> held & 0xffU));
  }
  REQUIRE(bytes.size() % sizeof(T) == 0);
  std::vector<T> values;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    std::uint64_t pattern = 0;
    for (std::size_t k = 0; k < sizeof(T); ++k)
      pattern |= static_cast<std::uint64_t>(bytes[at + k]) << (8 * k);
    if constexpr (sizeof(T) == 4)
      values.push_back(std::bit_cast<T>(static_cast<std::uint32_t>(pattern)));
    else
      values.push_back(std::bit_cast<T>(pattern));
  }
  return values;
}

}  // namespace

TEST_CASE("html: the data in the page are the values of the view", "[io][html]") {
  const View view = small_view();
  const std::string page = page_of(view);
  CHECK(decoded<double>(element(page, "times")) == view.times);
  CHECK(decoded<float>(element(page, "positions")) == view.positions);
  CHECK(decoded<float>(element(page, "attention")) == view.attention);
  const auto series = decoded<double>(element(page, "series"));
  REQUIRE(series.size() == 4);
  CHECK(series[0] == 2);
  CHECK(series[2] == 0.5);
  CHECK(std::isnan(series[3]));
  CHECK(
      element(page, "view") ==
      R"({"title":"three tokens","note":"every moment","tokens":3,"dim":2,"axes":["u","v"],"clusters":[0,1,-1],)"
      R"("leaders":[2],"series":["clusters","energy"],"parameters":[["beta","1"]]})");
}

TEST_CASE("html: base64 of every remainder, across the blocks", "[io][html]") {
  for (const std::size_t n : {1U, 2U, 3U, 12287U, 12288U, 12289U, 40000U}) {
    View view;
    view.dim = 1;
    view.times = {0};
    view.tokens = static_cast<Eigen::Index>(n);
    for (std::size_t k = 0; k < n; ++k) view.positions.push_back(1.0F / static_cast<float>(k + 1));
    CHECK(decoded<float>(element(page_of(view), "positions")) == view.positions);
  }
}

TEST_CASE("html: the page needs nothing but itself, and is small", "[io][html]") {
  View empty;
  empty.times = {0};
  const std::string page = page_of(empty);
  CHECK(page.size() < 100000);
  for (const char* word : {"http", "src=", "@import", "url(", "fetch(", "import("}) {
    CAPTURE(word);
    CHECK(count(page, word) == 0);
  }
  CHECK(count(page, "<script") == count(page, "</script>"));
}

TEST_CASE("html: the program finds every element that it names", "[io][html]") {
  const std::string page = page_of(small_view());
  int found = 0;
  for (auto at = page.find("byId('"); at != std::string::npos; at = page.find("byId('", at + 1)) {
    const auto start = at + 6;
    const std::string id = page.substr(start, page.find('\'', start) - start);
    CAPTURE(id);
    CHECK(count(page, "id=\"" + id + "\"") == 1);
    ++found;
  }
  CHECK(found > 20);
}

TEST_CASE("html: text cannot leave its place", "[io][html]") {
  const int scripts = count(page_of(small_view()), "<script");
  const std::string evil = "</script><script>alert(\"1\")</script><!-- ' & \\ \n \x7f";
  View view = small_view();
  view.title = view.note = evil;
  view.axes = {evil, evil};
  view.series[0].name = evil;
  view.parameters = {{evil, evil}};
  const std::string page = page_of(view);
  CHECK(count(page, "<script") == scripts);
  CHECK(count(page, "</script>") == scripts);
  CHECK(count(page, "alert(\"1\")") == 0);
  CHECK(count(page, "<!--") == 0);
  CHECK_THAT(page, ContainsSubstring("<title>&lt;/script&gt;&lt;script&gt;alert(&quot;1&quot;)"));
  CHECK_THAT(std::string(element(page, "view")),
             ContainsSubstring(R"("title":"\u003c/script\u003e\u003cscript\u003ealert(\u00221\u0022))"));
  CHECK_THAT(std::string(element(page, "view")), ContainsSubstring(R"(' \u0026 \u005c \u000a \u007f")"));
}

TEST_CASE("html: positions need not be finite, nor tokens be there", "[io][html]") {
  View view = small_view();
  view.positions[3] = std::numeric_limits<float>::infinity();
  view.positions[4] = std::numeric_limits<float>::quiet_NaN();
  const auto positions = decoded<float>(element(page_of(view), "positions"));
  CHECK(std::isinf(positions[3]));
  CHECK(std::isnan(positions[4]));
  View none;
  none.times = {0, 1};
  CHECK(element(page_of(none), "positions").empty());
}

TEST_CASE("html: a view that does not fit together is refused by the name of its field", "[io][html]") {
  const auto refused = [](auto change, const std::string& message) {
    View view = small_view();
    change(view);
    CHECK_THROWS_AS(view.validate(), std::invalid_argument);
    CHECK_THROWS_WITH(view.validate(), message);
  };
  CHECK_NOTHROW(small_view().validate());
  refused([](View& v) { v.times.clear(); }, "View::times is empty, expected at least one");
  refused([](View& v) { v.times[1] = std::nan(""); }, "View::times has an entry that is not finite");
  refused([](View& v) { v.times[1] = -1; }, "View::times decreases");
  refused([](View& v) { v.tokens = -1; }, "View::tokens is -1, expected at least 0");
  refused([](View& v) { v.dim = 4; }, "View::dim is 4, expected 1, 2 or 3");
  refused([](View& v) { v.positions.pop_back(); },
          "View::positions has 11 entries, expected times x tokens x dim = 2 x 3 x 2");
  refused([](View& v) { v.tokens = std::numeric_limits<Eigen::Index>::max() / 2 + 1; },
          "View::positions has 12 entries, expected times x tokens x dim = 2 x 4611686018427387904 x 2");
  refused([](View& v) { v.axes.pop_back(); }, "View::axes has 1 entries, expected none or dim = 2");
  refused([](View& v) { v.clusters.pop_back(); },
          "View::clusters has 2 entries, expected none or tokens = 3");
  refused([](View& v) { v.clusters[0] = -2; }, "View::clusters has the label -2, expected at least -1");
  refused([](View& v) { v.leaders[0] = 3; }, "View::leaders has token 3, expected 0 to 2");
  refused([](View& v) { v.attention.pop_back(); },
          "View::attention has 17 entries, expected none or times x tokens x tokens = 2 x 3 x 3");
  refused([](View& v) { v.series[1].values.pop_back(); },
          "View::series 'energy' has 1 entries, expected times = 2");
}

TEST_CASE("html: a view that is refused, or a folder that is not there, leaves nothing", "[io][html]") {
  const Folder folder;
  View view = small_view();
  CHECK_THROWS_WITH(write_html(folder.path / "none" / "view.html", view),
                    ContainsSubstring("view.html: cannot be created: "));
  view.dim = 0;
  CHECK_THROWS_AS(write_html(folder.path / "view.html", view), std::invalid_argument);
  CHECK(fs::is_empty(folder.path));
}
