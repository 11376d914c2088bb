// The program render from outside: the page is that of the view that the arrays say, byte for byte; the figure
// has the points where they are; what it refuses and in which words.
#include "programs/simulate_run.hpp"

#include <attnflow/io/html.hpp>

#include <array>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace simulate_test;
using attnflow::View;
using Catch::Matchers::ContainsSubstring;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

Said render(const Arguments& arguments) { return run_program(ATTNFLOW_RENDER, arguments); }

/// The page that the library writes of the view.
std::string page_of(const RunFolder& folder, const View& view) {
  attnflow::write_html(folder / "expected.html", view);
  return read(folder / "expected.html");
}

/// Two moments of four tokens in the plane; in the end 0 and 2 are one cluster, 1 and 3 are alone. The spread is
/// 10 at the start, so that what is up to 0.2 apart is one.
const std::vector<double> plane{0, 0, 10, 0, 0, 1, 5, 5, 0, 0, 4, 0, 0, 0.19, 4, 0.21};
const std::vector<double> weights{1,   0,   0,   0,   0, 0.5, 0.5, 0, 0.25, 0.25, 0.25, 0.25, 0, 0, 0, 1,  //
                                  0.1, 0.7, 0.1, 0.1, 0, 1,   0,   0, 0.1,  0.2,  0.3,  0.4,  0, 0, 0, 0};

View plane_view() {
  View view;
  view.title = "x.npy";
  view.times = {0, 1};
  view.tokens = 4;
  view.positions = plane;
  view.clusters = {0, 1, 0, 2};
  view.series = {{"clusters", {4, 3}}};
  view.parameters = {{"tokens", "x.npy"}, {"n", "4"}, {"d", "2"}, {"moments", "2"}};
  return view;
}
const View::Parameter tolerance{"one cluster", "up to 0.2 apart, 2 % of the spread"};

}  // namespace

TEST_CASE("the page shows the arrays as they are", "[render]") {
  const RunFolder folder;
  const std::string x = put(folder / "x.npy", {2, 4, 2}, plane), out = folder / "view.html";
  View view = plane_view();

  SECTION("alone: times 0, 1, the file's name as the title") {
    const Said said = render({x, "--out", out});
    CHECK(said.status == 0);
    CHECK(said.err.empty());
    CHECK_THAT(said.out, ContainsSubstring("4 tokens in dimension 2 at 2 moments") && ContainsSubstring(out));
    view.parameters.push_back(tolerance);
    CHECK((read(out) == page_of(folder, view)));
  }
  SECTION("with times, attention, and a title") {
    const std::string t = put(folder / "t.npy", {2}, {-1, 0.5}),
                      P = put(folder / "P.npy", {2, 4, 4}, weights);
    REQUIRE(render({x, t, "--attention", P, "--out", out, "--title", "a <title> & more"}).status == 0);
    view.title = "a <title> & more";
    view.times = {-1, 0.5};
    view.leaders = {1, 3};  // of the last moment: rows 0 and 1, row 2; row 3 gives nothing to anyone
    view.attention.assign(weights.begin(), weights.end());
    view.parameters.insert(view.parameters.end(), {{"times", "t.npy"}, {"P", "P.npy"}, tolerance});
    CHECK((read(out) == page_of(folder, view)));
  }
  SECTION("one moment, without the axis of moments") {
    const std::string one = put(folder / "x.npy", {4, 2}, {plane.begin() + 8, plane.end()});
    const std::string P = put(folder / "P.npy", {4, 4}, {weights.begin() + 16, weights.end()});
    REQUIRE(render({one, "--out", out, "--attention", P}).status == 0);
    view.times = {0};
    view.positions.assign(plane.begin() + 8, plane.end());
    view.attention.assign(weights.begin() + 16, weights.end());
    view.leaders = {1, 3};
    view.clusters = {0, 1, 2, 3};  // the spread is 4: 0.19 apart is two
    view.series = {{"clusters", {4}}};
    view.parameters = {{"tokens", "x.npy"}, {"n", "4"},
                       {"d", "2"},          {"moments", "1"},
                       {"P", "P.npy"},      {"one cluster", "up to 0.08 apart, 2 % of the spread"}};
    CHECK((read(out) == page_of(folder, view)));
  }
  SECTION("numbers that are not finite: said, not drawn, in no cluster") {
    std::vector<double> some = plane;
    some[2] = not_a_number;
    some[10] = infinity;
    put(folder / "x.npy", {2, 4, 2}, some);
    std::vector<double> P = weights;
    P[16] = 1e300;  // as an unnormalized law may give
    put(folder / "P.npy", {2, 4, 4}, P);
    const Said said = render({x, "--attention", folder / "P.npy", "--out", out});
    CHECK(said.status == 0);
    CHECK(is_one_line(said.err));
    CHECK_THAT(said.err, ContainsSubstring("x.npy has 2 numbers that are not finite"));
    view.positions = some;
    view.clusters = {0, -1, 1, 2};  // the finite ones spread over 5 at the start: up to 0.1 apart
    view.series = {{"clusters", {3, 3}}};
    view.leaders = {0, 1, 3};
    view.attention.assign(P.begin(), P.end());
    view.attention[16] = std::numeric_limits<float>::max();
    view.parameters.insert(view.parameters.end(),
                           {{"P", "P.npy"}, {"one cluster", "up to 0.1 apart, 2 % of the spread"}});
    CHECK((read(out) == page_of(folder, view)));
  }
}

TEST_CASE("any dimension, with a figure beside the page", "[render]") {
  const RunFolder folder;
  const auto figure = [&](const Shape& shape, std::vector<double> values) {
    const std::string x = put(folder / "x_1.npy", shape, values), svg = folder / "figure.svg";
    INFO("d = " << shape[2]);
    const Said said = render({x, "--out", folder / "view.html", "--svg", svg, "--force"});
    INFO(said.err);
    REQUIRE(said.status == 0);
    CHECK_THAT(said.out, ContainsSubstring(svg));
    const std::string text = read(svg);
    CHECK(text.find("<svg") < 200);
    CHECK(text.find("NaN") == std::string::npos);
    CHECK(text.find("nan") == std::string::npos);
    CHECK_THAT(text, ContainsSubstring("x_1.npy"));  // not x with an index
    return text;
  };
  // The places of the points, as "cx, cy".
  const auto places = [](const std::string& text) {
    std::vector<std::array<double, 2>> found;
    for (std::size_t at = 0; (at = text.find("class=\"point\"", at)) != std::string::npos; ++at)
      found.push_back({std::stod(text.substr(text.find("cx=", at) + 4)),
                       std::stod(text.substr(text.find("cy=", at) + 4))});
    return found;
  };
  const auto points = [&](const std::string& text) { return places(text).size(); };
  CHECK(points(figure({3, 2, 1}, {0, 1, 2, 3, 4, 4.01})) == 2);  // the ends of the lines
  const auto drawn = places(figure({2, 4, 2}, plane));
  REQUIRE(drawn.size() == 8);
  // The starts in their order, then the ends, those of the cluster first; one unit is as long along x as along y.
  const double unit = (drawn[1][0] - drawn[0][0]) / 10;
  const std::array<double, 2> data[] = {{0, 0}, {10, 0},   {0, 1}, {5, 5},
                                        {0, 0}, {0, 0.19}, {4, 0}, {4, 0.21}};
  for (std::size_t k = 0; k < 8; ++k) {
    INFO("point " << k);
    CHECK(drawn[k][0] == Approx(drawn[0][0] + unit * data[k][0]).margin(0.5));  // half a pixel
    CHECK(drawn[k][1] == Approx(drawn[0][1] - unit * data[k][1]).margin(0.5));
  }
  CHECK(points(figure({2, 1, 3}, {0, 0, 0, 1, 2, 3})) == 2);
  CHECK_THAT(figure({1, 2, 5}, std::vector<double>(10, 1.0)),
             ContainsSubstring("first three of 5 coordinates"));
  CHECK(points(figure({2, 2, 2}, {0, 0, not_a_number, 0, 1, 1, not_a_number, not_a_number})) == 2);
  CHECK(names_in(folder.path) == std::set<std::string>{"figure.svg", "view.html", "x_1.npy"});
}

TEST_CASE("a title that is not UTF-8 is shown as well as it can be", "[render]") {
  const RunFolder folder;
  const std::string x = put(folder / "x\xff.npy", {2, 4, 2}, plane), out = folder / "view.html";
  REQUIRE(render({x, "--out", out, "--title", "\xe9t\xe9 \xc3\xa9", "--svg", folder / "figure.svg"}).status ==
          0);
  for (const std::string& text : {read(out), read(folder / "figure.svg")}) {
    CHECK_THAT(text, ContainsSubstring("\uFFFDt\uFFFD \u00e9"));
    CHECK(text.find('\xff') == text.npos);  // a byte that UTF-8 does not have
    CHECK(text.find("\xe9t") == text.npos);
  }
}

TEST_CASE("what makes no sense is refused, and nothing is written", "[render][refusal]") {
  const RunFolder folder;
  const std::string x = put(folder / "x.npy", {2, 4, 2}, plane), out = folder / "view.html";
  const std::string t = put(folder / "t.npy", {2}, {0, 1}), P = put(folder / "P.npy", {2, 4, 4}, weights);
  const auto file = [&](const std::string& name, const Shape& shape, const std::vector<double>& values) {
    return put(folder / name, shape, values);
  };
  const auto with_weight = [&](const std::string& name, std::size_t at, double weight) {
    std::vector<double> P_changed = weights;
    P_changed[at] = weight;
    return file(name, {2, 4, 4}, P_changed);
  };
  const std::string flat = file("flat.npy", {3}, {1, 2, 3}), deep = file("deep.npy", {1, 1, 1, 1}, {1}),
                    none = file("none.npy", {2, 0, 2}, {}), three = file("three.npy", {3}, {0, 1, 2}),
                    equal = file("equal.npy", {2}, {1.0000001, 1.0000001}),
                    back = file("back.npy", {2}, {1, 0.5}), never = file("never.npy", {2}, {0, not_a_number}),
                    odd[] = {with_weight("nan.npy", 0, not_a_number), with_weight("inf.npy", 7, infinity),
                             with_weight("minus_inf.npy", 16, -infinity),
                             with_weight("negative.npy", 30, -1e-30)},
                    one = file("one.npy", {4, 4}, {weights.begin(), weights.begin() + 16});
  write(folder / "text.npy", "1 2\n3 4\n5 6\n");
  std::string bytes = read(x);
  write(folder / "short.npy", bytes.substr(0, bytes.size() - 1));
  bytes.replace(bytes.find("<f8"), 3, "<c8");
  write(folder / "complex.npy", bytes);
  write(folder / "there.html", "mine");
  const auto before = names_in(folder.path);

  struct Refusal {
    Arguments arguments;
    std::vector<std::string> words;
  };
  const std::vector<Refusal> refusals{
      {{folder / "absent.npy", "--out", out}, {"tokens: ", "absent.npy", "o such file"}},
      {{folder / "text.npy", "--out", out}, {"tokens: ", "text.npy", "NUMPY"}},
      {{folder / "short.npy", "--out", out}, {"short.npy", "cut short"}},
      {{folder / "complex.npy", "--out", out}, {"complex.npy", "'<c8'", "expected f4, f8, i4 or i8"}},
      {{flat, "--out", out}, {"tokens: ", "flat.npy", "(3,)", "expected (m, n, d), or (n, d)"}},
      {{deep, "--out", out}, {"tokens: ", "deep.npy", "(1, 1, 1, 1)", "expected (m, n, d)"}},
      {{none, "--out", out}, {"tokens: ", "none.npy", "(2, 0, 2)", "at least 1"}},
      {{x, three, "--out", out}, {"times: ", "three.npy", "(3,)", "expected (2,)"}},
      {{x, x, "--out", out}, {"times: ", "x.npy", "(2, 4, 2)", "expected (2,)"}},
      {{x, equal, "--out", out}, {"times: ", "1.0000001 at [1] after 1.0000001", "increase"}},
      {{x, back, "--out", out}, {"times: ", "back.npy", "0.5 at [1] after 1", "increase"}},
      {{x, never, "--out", out}, {"times: ", "never.npy", "nan at [1]", "finite"}},
      {{x, "--attention", x, "--out", out}, {"--attention: ", "x.npy", "(2, 4, 2)", "expected (2, 4, 4)"}},
      {{x, "--attention", one, "--out", out}, {"--attention: ", "one.npy", "(4, 4)", "expected (2, 4, 4)"}},
      {{x, "--attention", odd[0], "--out", out},
       {"--attention: ", "nan.npy has nan at frame 0, row 0, column 0, expected", "finite and not negative"}},
      {{x, "--attention", odd[1], "--out", out}, {"inf.npy has inf at frame 0, row 1, column 3, expected"}},
      {{x, "--attention", odd[2], "--out", out},
       {"minus_inf.npy has -inf at frame 1, row 0, column 0, expected"}},
      {{x, "--attention", odd[3], "--out", out},
       {"negative.npy has -1e-30 at frame 1, row 3, column 2, expected"}},
      {{x, "--attention", folder / "absent.npy", "--out", out}, {"--attention: ", "absent.npy"}},
      {{x}, {"--out", "required"}},
      {{"--out", out}, {"x.npy", "required"}},
      {{x, t, t, "--out", out}, {"t.npy"}},
      {{x, "--out", ""}, {"--out: empty"}},
      {{x, "--out", out, "--title", "--force"}, {"--title: --force, expected a value", "./--force"}},
      {{x, "--out", out, "--colour", "red"}, {"--colour"}},
      {{x, "--out", folder / "there.html"}, {"--out: ", "there.html exists", "--force"}},
      {{x, "--out", out, "--svg", folder / "there.html"}, {"--svg: ", "there.html exists", "--force"}},
      {{x, "--out", x, "--force"}, {"--out: ", "x.npy is a file to read from"}},
      {{x, "--attention", P, "--out", out, "--svg", folder / "./P.npy", "--force"},
       {"--svg: ", "to read from"}},
      {{x, "--out", out, "--svg", folder / "./view.html"}, {"--svg: ", "expected another file than --out"}},
      {{x, "--out", folder.path.string(), "--force"}, {"--out: ", "directory"}},
      {{x, "--out", folder / "below/view.html"}, {"--out: ", "below/view.html", "cannot be created"}},
  };
  for (const auto& [arguments, words] : refusals) {
    const Said said = render(arguments);
    INFO(text_of(arguments) << "\n" << said.err);
    CHECK(said.status == 2);
    CHECK(said.out.empty());
    CHECK(is_one_line(said.err));
    CHECK(said.err.rfind("render: ", 0) == 0);
    for (const auto& word : words) CHECK_THAT(said.err, ContainsSubstring(word));
    CHECK(names_in(folder.path) == before);
  }
  CHECK(read(folder / "there.html") == "mine");
  CHECK(render({x, t, "--attention", P, "--out", folder / "there.html", "--force"}).status == 0);
  CHECK(read(folder / "there.html") != "mine");

  const Said help = render({"--help"});
  CHECK(help.status == 0);
  for (const char* option : {"--attention", "--out", "--svg", "--title", "--force", "times.npy"})
    CHECK_THAT(help.out, ContainsSubstring(option));
}
