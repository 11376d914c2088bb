#include <attnflow/io/html.hpp>

#include "catch.hpp"
#include "folder.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <utility>
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
  for (int k = 0; k < 12; ++k) view.positions.push_back(k / 3.0);
  view.axes = {"u", "v"};
  view.clusters = {0, 1, -1};
  view.leaders = {2};
  view.attention.assign(18, 1.0F / 3);
  view.bases = {{"eigenvectors", {0, 1, 2, 0.1}, {"first", "second"}}};
  view.flats = {{"corner", true, {1, 2}, {}}, {"line", false, {0, 0.1}, {1, 3}}};
  view.series = {{"clusters", {2, 1}}, {"energy", {0.5, std::nan("")}}};
  view.parameters = {{"beta", "1"}};
  return view;
}

int count(std::string_view text, std::string_view word) {
  int found = 0;
  for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

/// The small view with two heads in the place of P.
View view_with_heads() {
  View view = small_view();
  view.attention.clear();
  view.heads = {{"one", {1, 0, 0, 1, 2, 0, 0, 2}, {}}, {"two", {1, 2, 3, 4, 5, 6, 7, 8}, {0.1, 700}}};
  view.law = "unnormalized";
  view.mask = "causal";
  view.slope = 0.1;
  return view;
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
    if (digit == std::string_view::npos) FAIL("not base64: " << c);
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
    if constexpr (sizeof(T) == 2)
      values.push_back(static_cast<T>(pattern));
    else if constexpr (sizeof(T) == 4)
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
  CHECK(decoded<float>(element(page, "positions")) ==
        std::vector<float>(view.positions.begin(), view.positions.end()));
  CHECK(decoded<float>(element(page, "attention")) == view.attention);
  CHECK(decoded<double>(element(page, "bases")) == view.bases[0].rows);
  CHECK(decoded<double>(element(page, "flats-data")) == std::vector<double>{1, 2, 0, 0.1, 1, 3});
  for (const char* id : {"boxes", "forms", "scales"}) CHECK(element(page, id).empty());
  const auto series = decoded<double>(element(page, "series"));
  REQUIRE(series.size() == 4);
  CHECK(series[0] == 2);
  CHECK(series[2] == 0.5);
  CHECK(std::isnan(series[3]));
  CHECK(element(page, "view") ==
        R"({"title":"three tokens","note":"every moment","tokens":3,"dim":2,"numbers":"float32","ids":[],)"
        R"("axes":["u","v"],"clusters":[0,1,-1],"leaders":[2],"bases":[["eigenvectors",["first","second"]]],)"
        R"("flats":[["corner",true,0],["line",false,1]],"heads":[],"law":"softmax","mask":"none","slope":0,)"
        R"("series":["clusters","energy"],"parameters":[["beta","1"]]})");
}

TEST_CASE("html: where P is computed from them, positions keep all their digits", "[io][html]") {
  const View view = view_with_heads();
  const std::string page = page_of(view);
  CHECK(decoded<double>(element(page, "positions")) == view.positions);
  CHECK(decoded<double>(element(page, "forms")) ==
        std::vector<double>{1, 0, 0, 1, 2, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(decoded<double>(element(page, "scales")) == std::vector<double>{0, 0, 0.1, 700});
  CHECK_THAT(
      std::string(element(page, "view")),
      ContainsSubstring(R"("numbers":"float64",)") &&
          ContainsSubstring(R"("heads":["one","two"],"law":"unnormalized","mask":"causal","slope":0.1,)"));
}

TEST_CASE("html: positions far from zero keep all their digits", "[io][html]") {
  View view = small_view();
  for (std::size_t k = 0; k < view.positions.size(); k += 2) view.positions[k] += 1e8;  // floats are 8 apart
  CHECK(decoded<double>(element(page_of(view), "positions")) == view.positions);
  view = small_view();
  for (std::size_t k = 0; k < view.positions.size(); k += 2) view.positions[k] = 1e8;  // without a width
  CHECK(decoded<float>(element(page_of(view), "positions")).size() == 12);
}

TEST_CASE("html: base64 of every remainder, across the blocks", "[io][html]") {
  for (const std::size_t n : {1U, 2U, 3U, 12287U, 12288U, 12289U, 40000U}) {
    View view;
    view.dim = 1;
    view.times = {0};
    view.tokens = static_cast<Eigen::Index>(n);
    for (std::size_t k = 0; k < n; ++k)
      view.positions.push_back(static_cast<double>(1.0F / static_cast<float>(k + 1)));
    const auto found = decoded<float>(element(page_of(view), "positions"));
    CHECK(std::vector<double>(found.begin(), found.end()) == view.positions);
  }
}

TEST_CASE("html: counts and ordinals in words", "[io][html]") {
  using attnflow::detail::counted;
  using attnflow::detail::ordinal;
  CHECK(counted(0) == "0");
  CHECK(counted(4096) == "4096");
  CHECK(counted(20000) == "20 000");
  CHECK(counted(123456) == "123 456");
  CHECK(counted(1234567) == "1 234 567");
  for (const auto& [k, text] : std::vector<std::pair<std::size_t, std::string>>{{2, "2nd"},
                                                                                {3, "3rd"},
                                                                                {4, "4th"},
                                                                                {11, "11th"},
                                                                                {12, "12th"},
                                                                                {13, "13th"},
                                                                                {20, "20th"},
                                                                                {21, "21st"},
                                                                                {112, "112th"},
                                                                                {122, "122nd"}})
    CHECK(ordinal(k) == text);
}

TEST_CASE("html: moments kept are evenly spaced, with the first and the last", "[io][html]") {
  using attnflow::detail::every_so_many;
  CHECK(every_so_many(1, 1) == std::vector<std::size_t>{0});
  CHECK(every_so_many(4, 1) == std::vector<std::size_t>{0, 1, 2, 3});
  CHECK(every_so_many(7, 3) == std::vector<std::size_t>{0, 3, 6});
  CHECK(every_so_many(9, 3) == std::vector<std::size_t>{0, 3, 6, 8});
  View view;
  for (const std::size_t m : {1U, 2U, 7U, 8U, 9U, 900U})
    for (const std::size_t stride : {1U, 2U, 3U, 8U}) {
      view.times.assign(m, 0);
      CHECK(attnflow::detail::PageSizes(view).kept(stride) ==
            static_cast<double>(every_so_many(m, stride).size()));
    }
}

TEST_CASE("html: tokens kept are evenly spaced and hold the leaders", "[io][html]") {
  using attnflow::detail::tokens_kept;
  CHECK(tokens_kept(10, 5, {}) == std::vector<Eigen::Index>{0, 2, 4, 6, 8});
  CHECK(tokens_kept(10, 4, {9, 9}) == std::vector<Eigen::Index>{0, 3, 6, 9});
  const auto kept = tokens_kept(200000, 5000, {7, 199999, 12345});
  CHECK(kept.size() <= 5000);
  CHECK(kept.size() > 4990);
  for (const Eigen::Index leader : {7, 199999, 12345})
    CHECK(std::binary_search(kept.begin(), kept.end(), leader));
  for (std::size_t k = 1; k < kept.size(); ++k) {
    REQUIRE(kept[k] > kept[k - 1]);
    REQUIRE(kept[k] - kept[k - 1] <= 41);  // 200 000 / 4997 = 40.02…
  }
  std::vector<Eigen::Index> all;  // more leaders than there is room: half of it is theirs
  for (Eigen::Index i = 0; i < 1000; ++i) all.push_back(i);
  CHECK(tokens_kept(1000, 100, all).size() <= 100);
}

TEST_CASE("html: the numbers' form follows their count", "[io][html]") {
  using Numbers = attnflow::detail::PagePlan::Numbers;
  const auto planned = [](std::size_t m, Eigen::Index n, bool heads) {
    View view;
    view.times.assign(m, 0);
    view.dim = 2;
    view.tokens = n;
    if (heads) view.heads = {{"", std::vector<double>(4 * m, 1), {}}};
    return attnflow::detail::page_plan(view, 63.9e6);
  };
  CHECK(planned(100, 10000, true).numbers == Numbers::float64);  // 2 million
  CHECK(planned(100, 10000, true).note.empty());
  CHECK(planned(100, 10000, false).numbers == Numbers::float32);
  CHECK(planned(100, 10001, true).numbers == Numbers::float32);
  CHECK(planned(100, 10001, true).note == "P is computed from positions of 7 digits.");
  CHECK(planned(100, 40000, false).numbers == Numbers::float32);  // 8 million
  CHECK(planned(100, 40001, false).numbers == Numbers::uint16);
  CHECK(planned(100, 40001, false).note == "Positions are exact to 1/65534 of each moment's range.");
}

TEST_CASE("html: sixteen bits resolve each moment's range", "[io][html]") {
  using attnflow::detail::part_of_range;
  CHECK(part_of_range(-1, -1, 3) == 0);
  CHECK(part_of_range(2, -1, 3) == 65534);
  CHECK(part_of_range(5, 5, 0) == 0);
  CHECK(part_of_range(std::nan(""), 0, 1) == 65535);
  CHECK(part_of_range(-std::numeric_limits<double>::infinity(), 0, 1) == 65535);

  // Two coordinates on scales that have nothing to do with one another, growing with time.
  View view;
  view.title = "growth";
  view.dim = 2;
  view.tokens = 4000;
  std::mt19937_64 generator(3);
  for (int k = 0; k < 150; ++k) {
    view.times.push_back(k);
    for (Eigen::Index i = 0; i < view.tokens; ++i) {
      const double part = static_cast<double>(generator() >> 11) * 0x1p-53;
      view.positions.push_back(1e6 + part * std::exp(0.1 * k));
      view.positions.push_back(-1e-6 * part * k);
    }
  }
  view.positions[2 * 4000 + 6] = std::nan("");
  const Folder folder;
  constexpr double limit = 5.2e6;  // 1.2 million numbers in 16 bits are 3.2 MB as text, in 32 bits 6.4 MB
  attnflow::detail::write_page(folder / "view.html", view, limit);
  const std::string page = get(folder / "view.html");
  CHECK(static_cast<double>(page.size()) < limit);
  CHECK_THAT(std::string(element(page, "view")),
             ContainsSubstring(R"("numbers":"uint16","ids":[],)") &&
                 ContainsSubstring("exact to 1/65534 of each moment's range"));
  const auto raw = decoded<std::uint16_t>(element(page, "positions"));
  const auto boxes = decoded<double>(element(page, "boxes"));
  REQUIRE(raw.size() == view.positions.size());
  REQUIRE(boxes.size() == 150 * 2 * 2);
  int bad = 0;
  for (std::size_t q = 0; q < raw.size(); ++q) {
    if (std::isnan(view.positions[q])) {
      CHECK(raw[q] == 65535);
      continue;
    }
    const std::size_t box = 2 * (q / 8000 * 2 + q % 2);
    const double read = boxes[box] + boxes[box + 1] * (raw[q] / 65534.0);
    // Half a step, and the rounding of the sum, whose terms are up to 4e6.
    bad += std::abs(read - view.positions[q]) >
           boxes[box + 1] / 65534 * 0.5001 + 1e-9 * (q % 2 == 0 ? 1 : 0) + 1e-21;
  }
  CHECK(bad == 0);
}

TEST_CASE("html: a large view keeps its page small, and the page says what is left out", "[io][html]") {
  using attnflow::detail::page_plan;
  View view;
  view.dim = 3;
  const auto kept = [&](double room) {
    const auto plan = page_plan(view, room);
    const double m = attnflow::detail::PageSizes(view).kept(plan.stride);
    const double n =
        static_cast<double>(plan.tokens.empty() ? static_cast<std::size_t>(view.tokens) : plan.tokens.size());
    CHECK(attnflow::detail::PageSizes(view).total(plan, m, n) <= room);
    return plan;
  };
  SECTION("first moments") {
    view.times.assign(900, 0);
    view.tokens = 20000;
    const auto plan = kept(63.9e6);  // 54 million numbers, 144 MB in 16 bits
    CHECK(plan.stride == 3);
    CHECK(plan.tokens.empty());
    CHECK(plan.note ==
          "Shown are every 3rd of 900 moments. Positions are exact to 1/65534 of each moment's range.");
  }
  SECTION("then tokens; P of a part is no P") {
    view.times.assign(900, 0);
    view.tokens = 200000;
    view.leaders = {199999};
    view.heads = {{"", std::vector<double>(900 * 9, 1), {}}};
    const auto plan = kept(63.9e6);
    CHECK(plan.stride == 9);  // 101 moments; 10 would leave 91
    CHECK(plan.tokens.size() > 70000);
    CHECK(plan.tokens.back() == 199999);
    CHECK_FALSE(plan.heads);
    CHECK_THAT(plan.note, Catch::Matchers::StartsWith("Shown are every 9th of 900 moments, 7") &&
                              ContainsSubstring(" of 200 000 tokens. ") &&
                              Catch::Matchers::EndsWith("P is left out: the page would be too large."));
  }
  SECTION("tokens alone") {
    view.times.assign(2, 0);
    view.tokens = 50000000;
    const auto plan = kept(63.9e6);
    CHECK(plan.stride == 1);
    CHECK(plan.tokens.size() > 1000000);
  }
  SECTION("P takes half of the room at most; what computes it takes its place") {
    view.times.assign(100, 0);
    view.tokens = 300;
    view.attention.assign(std::size_t{100} * 300 * 300, 0);  // 48 MB as text
    CHECK(kept(63.9e6).note == "P is left out: the page would be too large.");
    CHECK(kept(99e6).attention);
    view.heads = {{"", std::vector<double>(900, 1), {}}};
    CHECK_FALSE(kept(63.9e6).attention);
    CHECK(kept(63.9e6).heads);
    CHECK(kept(63.9e6).note.empty());
  }
  SECTION("more dimensions than fit") {
    view.dim = 1000000;
    view.tokens = 3;
    view.times.assign(500, 0);
    const auto plan = kept(63.9e6);
    CHECK(plan.tokens.size() == 1);
    CHECK(plan.stride > 40);
    CHECK(plan.numbers == attnflow::detail::PagePlan::Numbers::float32);  // ranges would take more
  }
}

TEST_CASE("html: of a view too large, picked moments, tokens and what belongs to them", "[io][html]") {
  // 400 moments of 3000 tokens: token i is at (i, k) at moment k.
  View view;
  view.dim = 2;
  view.tokens = 3000;
  for (int k = 0; k < 400; ++k) {
    view.times.push_back(k);
    for (int i = 0; i < 3000; ++i)
      view.positions.insert(view.positions.end(), {static_cast<double>(i), static_cast<double>(k)});
  }
  for (int i = 0; i < 3000; ++i) view.clusters.push_back(i % 7);
  view.leaders = {1499, 3};
  view.series = {{"time", view.times}};
  view.note = "A run.";
  const Folder folder;
  attnflow::detail::write_page(folder / "view.html", view, 1e6);
  const std::string page = get(folder / "view.html"), texts(element(page, "view"));
  CHECK(page.size() < 1000000);
  const auto numbers_of = [&](const std::string& name) {
    const auto start = texts.find('"' + name + "\":[") + name.size() + 4;
    std::vector<int> numbers;
    std::string list = texts.substr(start, texts.find(']', start) - start) + ',';
    for (std::size_t at = 0, end; (end = list.find(',', at)) != std::string::npos; at = end + 1)
      numbers.push_back(std::stoi(list.substr(at, end - at)));
    return numbers;
  };
  const auto ids = numbers_of("ids"), clusters = numbers_of("clusters"), leaders = numbers_of("leaders");
  const auto times = decoded<double>(element(page, "times"));
  REQUIRE(times.size() == 101);  // every 4th, and the last
  CHECK(times[1] == 4);
  CHECK(times.back() == 399);
  CHECK(decoded<double>(element(page, "series")) == times);
  REQUIRE(ids.size() > 500);
  REQUIRE(clusters.size() == ids.size());
  REQUIRE(leaders.size() == 2);
  CHECK(ids[static_cast<std::size_t>(leaders[0])] == 1499);
  CHECK(ids[static_cast<std::size_t>(leaders[1])] == 3);
  for (std::size_t k = 0; k < ids.size(); ++k) REQUIRE(clusters[k] == ids[k] % 7);
  const auto raw = decoded<std::uint16_t>(element(page, "positions"));
  const auto boxes = decoded<double>(element(page, "boxes"));
  REQUIRE(raw.size() == 101 * ids.size() * 2);
  for (const std::size_t q : {std::size_t{0}, std::size_t{50}, std::size_t{100}})
    for (std::size_t k = 0; k < ids.size(); ++k) {
      const std::size_t at = 2 * (q * ids.size() + k);
      REQUIRE(boxes[4 * q] + boxes[4 * q + 1] * raw[at] / 65534 == Approx(ids[k]).margin(3000 / 65534.0));
      REQUIRE(boxes[4 * q + 2] + boxes[4 * q + 3] * raw[at + 1] / 65534 == times[q]);
    }
  CHECK_THAT(texts, ContainsSubstring("A run. Shown are every 4th of 400 moments, ") &&
                        ContainsSubstring(" of 3000 tokens. Positions are exact to"));
}

TEST_CASE("html: squeezing leaves strings and words alone", "[io][html]") {
  using attnflow::detail::squeezed;
  CHECK(squeezed("// all\n  const a = b + c, d = [1, 2];  // say\n\n", true) == "const a=b + c,d=[1,2];\n");
  CHECK(squeezed("f('a , b', \"c : d\", `e ( ${ g }`);", true) == "f('a , b',\"c : d\",`e ( ${ g }`);\n");
  CHECK(squeezed(R"(f('it\'s , a', b , c);)", true) == R"(f('it\'s , a',b,c);)"
                                                       "\n");
  CHECK(squeezed("  a, b { c: d }\n", false) == "a, b { c: d }\n");
}

TEST_CASE("html: the page needs nothing but itself, and is small", "[io][html]") {
  View empty;
  empty.times = {0};
  const std::string page = page_of(empty);
  CHECK(page.size() < 100000);
  for (const char* word :
       {"http", "src=", "@import", "url(", "fetch(", "import(", "XMLHttpRequest", "WebSocket"}) {
    CAPTURE(word);
    CHECK(count(page, word) == 0);
  }
  CHECK(count(page, "<script") == count(page, "</script>"));
}

TEST_CASE("html: the program finds every element that it names", "[io][html]") {
  const std::string page = page_of(small_view());
  int found = 0;
  for (const std::string name : {"byId('", "bytesOf('"})
    for (auto at = page.find(name); at != std::string::npos; at = page.find(name, at + 1)) {
      const auto start = at + name.size();
      const std::string id = page.substr(start, page.find('\'', start) - start);
      if (id == "axis-") continue;  // x, y and z follow
      CAPTURE(id);
      CHECK(count(page, "id=\"" + id + "\"") == 1);
      ++found;
    }
  CHECK(found > 40);
  for (const char* id : {"axis-x", "axis-y", "axis-z"})
    CHECK(count(page, "id=\"" + std::string(id) + "\"") == 1);
}

TEST_CASE("html: text cannot leave its place", "[io][html]") {
  const int scripts = count(page_of(small_view()), "<script");
  const std::string evil = "</script><script>alert(\"1\")</script><!-- ' & \\ \n \x7f";
  View view = small_view();
  view.title = view.note = evil;
  view.axes = {evil, evil};
  view.series[0].name = view.bases[0].name = view.bases[0].axes[0] = view.flats[0].name = evil;
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

TEST_CASE("html: bytes that are not UTF-8 are U+FFFD", "[io][html]") {
  // A byte that never occurs, a surrogate, an overlong zero, a character cut short; and U+FFFD itself.
  CHECK(attnflow::detail::as_utf8("a\xff\u00e9\xed\xa0\x80\xc0\x80\uFFFD\U0001F600\xe2\x82") ==
        "a\uFFFD\u00e9\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\U0001F600\uFFFD\uFFFD");
  View view = small_view();
  view.title = view.note = "caf\xe9";
  const std::string page = page_of(view);
  CHECK_THAT(page,
             ContainsSubstring("<title>caf\uFFFD</title>") && ContainsSubstring("\"note\":\"caf\uFFFD"));
  CHECK(page.find('\xe9') == page.npos);
}

TEST_CASE("html: positions need not be finite, nor tokens be there", "[io][html]") {
  View view = small_view();
  view.positions[3] = std::numeric_limits<double>::infinity();
  view.positions[4] = std::numeric_limits<double>::quiet_NaN();
  view.positions[5] = -1e300;  // beyond a float
  const auto positions = decoded<float>(element(page_of(view), "positions"));
  CHECK(std::isinf(positions[3]));
  CHECK(std::isnan(positions[4]));
  CHECK(positions[5] == -std::numeric_limits<float>::infinity());
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
  refused([](View& v) { v.times[1] = std::nan(""); },
          "View::times has nan as entry 1, expected finite numbers");
  refused([](View& v) { v.times[1] = -1; }, "View::times decreases");
  refused([](View& v) { v.tokens = -1; }, "View::tokens is -1, expected at least 0");
  refused([](View& v) { v.dim = 0; }, "View::dim is 0, expected at least 1");
  refused([](View& v) { v.dim = 4; },
          "View::positions has 12 entries, expected times x tokens x dim = 2 x 3 x 4");
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
  refused([](View& v) { v.bases[0].axes.clear(); },
          "View::bases 'eigenvectors' has no axes, expected at least one");
  refused([](View& v) { v.bases[0].rows.pop_back(); },
          "View::bases 'eigenvectors'.rows has 3 entries, expected axes x dim = 4");
  refused([](View& v) { v.bases[0].rows[2] = std::nan(""); },
          "View::bases 'eigenvectors'.rows has nan as entry 2, expected finite numbers");
  refused([](View& v) { v.flats[0].point.push_back(0); },
          "View::flats 'corner'.point has 3 entries, expected dim = 2");
  refused([](View& v) { v.flats[0].point[1] = std::numeric_limits<double>::infinity(); },
          "View::flats 'corner'.point has inf as entry 1, expected finite numbers");
  refused([](View& v) { v.flats[1].directions[0] = std::nan(""); },
          "View::flats 'line'.directions has nan as entry 0, expected finite numbers");
  const std::string directions = " entries, expected k x dim with k from 0 to 1, dim = 2";
  refused([](View& v) { v.flats[1].directions.pop_back(); },
          "View::flats 'line'.directions has 1" + directions);
  refused(
      [](View& v) {
        v.flats[1].directions = {1, 0, 0, 1};
      },
      "View::flats 'line'.directions has 4" + directions);
}

TEST_CASE("html: heads that do not fit are refused by the name of their field", "[io][html]") {
  const auto refused = [](auto change, const std::string& message) {
    View view = view_with_heads();
    change(view);
    CHECK_THROWS_AS(view.validate(), std::invalid_argument);
    CHECK_THROWS_WITH(view.validate(), message);
  };
  CHECK_NOTHROW(view_with_heads().validate());
  refused([](View& v) { v.heads[1].forms.pop_back(); },
          "View::heads 'two'.forms has 7 entries, expected times x dim x dim = 8");
  refused([](View& v) { v.heads[1].log_scales.pop_back(); },
          "View::heads 'two'.log_scales has 1 entries, expected none or times = 2");
  refused([](View& v) { v.law = "hardmax"; }, "View::law is 'hardmax', expected softmax or unnormalized");
  refused([](View& v) { v.mask = "band"; }, "View::mask is 'band', expected none, causal or strict-causal");
  refused([](View& v) { v.slope = std::nan(""); }, "View::slope is nan, expected a finite number");
  View open = view_with_heads();  // a moment without P is allowed
  open.heads[0].forms[4] = std::nan("");
  CHECK_NOTHROW(open.validate());
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
