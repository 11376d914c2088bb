#include "figures/figure_scripts.hpp"
#include <attnflow/io/npy.hpp>

#include "catch.hpp"
#include "folder.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Catch::Matchers::ContainsSubstring;
using figures::FigureScripts;
using figures::write_figure_scripts;

/// Runs the command in a shell; its output goes to `log` in the folder.
bool runs(const fs::path& folder, const std::string& command) {
  return std::system(("cd '" + folder.string() + "' && " + command + " >log 2>&1").c_str()) == 0;
}
bool gnuplot_is_there() {
  static const bool found = std::system("gnuplot --version >/dev/null 2>&1") == 0;
  return found;
}
/// The first Python that has NumPy and Matplotlib, or nothing.
std::string python() {
  static const std::string found = [] {
    for (const std::string name : {"python3", "/usr/bin/python3"})
      if (std::system((name + " -c 'import numpy, matplotlib' >/dev/null 2>&1").c_str()) == 0) return name;
    return std::string();
  }();
  return found;
}

constexpr Eigen::Index moments = 12, tokens = 5;
double time_of(Eigen::Index k) { return 0.25 * static_cast<double>(k * k); }
double number(Eigen::Index k, Eigen::Index i, Eigen::Index c) {
  return std::sin(static_cast<double>(1 + k + 3 * i) * 0.3 + static_cast<double>(c)) *
         static_cast<double>(c + 1);
}

template <class Scalar>
void save(const Folder& folder, Eigen::Index d, bool long_header) {
  std::vector<Scalar> times, values;
  for (Eigen::Index k = 0; k < moments; ++k) {
    times.push_back(static_cast<Scalar>(time_of(k)));
    for (Eigen::Index i = 0; i < tokens; ++i)
      for (Eigen::Index c = 0; c < d; ++c) values.push_back(static_cast<Scalar>(number(k, i, c)));
  }
  const auto write = [&](const char* name, const std::vector<Eigen::Index>& shape,
                         std::span<const Scalar> numbers) {
    attnflow::AtomicFile file(folder / name);
    file.write(attnflow::detail::npy_header<Scalar>(shape, long_header ? 320 : 0));  // else 128 bytes
    attnflow::detail::write_elements(file, numbers);
    file.commit();
  };
  write("times.npy", {moments}, times);
  write("tokens.npy", {moments, tokens, d}, values);
}

/// The numbers of a table of gnuplot, curve by curve.
std::vector<std::vector<std::vector<double>>> curves_of(const fs::path& path) {
  std::vector<std::vector<std::vector<double>>> curves;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("# Curve ") || line.starts_with("# Surface ")) curves.emplace_back();
    if (line.empty() || line[0] == '#' || curves.empty()) continue;
    std::istringstream words(line);
    std::vector<double> row;
    for (double value = 0; words >> value;) row.push_back(value);
    if (!row.empty()) curves.back().push_back(row);
  }
  return curves;
}

}  // namespace

TEST_CASE("figure scripts: gnuplot draws the numbers of the files", "[io]") {
  if (!gnuplot_is_there()) {
    WARN("skipped: gnuplot is not installed");
    return;
  }
  const Eigen::Index d = GENERATE(1, 2, 3, 5);
  const bool narrow = GENERATE(false, true);
  const Folder folder;
  if (narrow)
    save<float>(folder, d, true);
  else
    save<double>(folder, d, false);
  write_figure_scripts(folder.path, {.title = R"(it's z_1, e^{−tV} & "~{}" \_ @)"});
  // The same plots as a table instead of a picture.
  std::string script = get(folder / "plot.gp");
  const std::size_t at = script.find("set output out\n");
  REQUIRE(at != std::string::npos);
  script.replace(at, 15, "set table 'table.txt'\nset format '%.15g'\n");
  std::ofstream(folder / "table.gp", std::ios::binary) << script;
  const bool tabled = runs(folder.path, "gnuplot table.gp");
  INFO(get(folder / "log"));
  REQUIRE(tabled);
  const auto curves = curves_of(folder / "table.txt");
  REQUIRE(curves.size() == static_cast<std::size_t>(tokens) + 1);
  // Tables have six digits or more.
  const auto same = [](double found, double expected) {
    CHECK(found == Approx(expected).epsilon(1e-5).margin(1e-5));
  };
  const auto check = [&](const std::vector<double>& row, Eigen::Index k, Eigen::Index i) {
    if (d == 1) {
      same(row.at(0), time_of(k));
      same(row.at(1), number(k, i, 0));
    } else {
      for (Eigen::Index c = 0; c < std::min<Eigen::Index>(d, 3); ++c)
        same(row.at(static_cast<std::size_t>(c)), number(k, i, c));
    }
  };
  for (Eigen::Index i = 0; i < tokens; ++i) {
    const auto& curve = curves[static_cast<std::size_t>(i)];
    REQUIRE(curve.size() == static_cast<std::size_t>(moments));
    for (Eigen::Index k = 0; k < moments; ++k) check(curve[static_cast<std::size_t>(k)], k, i);
  }
  REQUIRE(curves.back().size() == static_cast<std::size_t>(tokens));
  for (Eigen::Index i = 0; i < tokens; ++i) check(curves.back()[static_cast<std::size_t>(i)], moments - 1, i);

  REQUIRE(runs(folder.path, "gnuplot -e \"out='plot.svg'\" plot.gp"));
  CHECK(get(folder / "log").empty());  // no warning either
  CHECK_THAT(get(folder / "plot.svg"), ContainsSubstring("</svg>"));
  if (d != 2 || narrow) return;
  REQUIRE(runs(folder.path, "gnuplot plot.gp"));
  CHECK(get(folder / "plot.pdf").substr(0, 4) == "%PDF");
}

TEST_CASE("figure scripts: Matplotlib draws the numbers of the files", "[io]") {
  if (python().empty()) {
    WARN("skipped: no Python with NumPy and Matplotlib is installed");
    return;
  }
  const Eigen::Index d = GENERATE(1, 2, 3, 5);
  const Folder folder;
  save<double>(folder, d, d == 2);
  write_figure_scripts(folder.path, {.title = R"(it's z_1, e^{−t V} & $x$ \_ %)", .most = d == 5 ? 2 : 1000});
  // What the script drew, asked of Matplotlib itself.
  std::ofstream(folder / "ask.py", std::ios::binary)
      << "import runpy, sys\nsys.argv = ['plot.py', 'plot.svg']\nscript = runpy.run_path('plot.py')\n"
         "for line in script['axes'].lines:\n"
         "    data = line.get_data_3d() if hasattr(line, 'get_data_3d') else line.get_data()\n"
         "    print('# Curve ')\n    for row in zip(*data): print(*row)\n";
  const bool asked = runs(folder.path, python() + " ask.py");
  INFO(get(folder / "log"));
  REQUIRE(asked);
  const auto curves = curves_of(folder / "log");
  const Eigen::Index step = d == 5 ? 3 : 1, drawn = d == 5 ? 2 : tokens;
  REQUIRE(curves.size() == static_cast<std::size_t>(drawn) + 1);
  const auto check = [&](const std::vector<double>& row, Eigen::Index k, Eigen::Index i) {
    if (d == 1) {
      CHECK(row.at(0) == time_of(k));
      CHECK(row.at(1) == number(k, i, 0));
    } else {
      for (Eigen::Index c = 0; c < std::min<Eigen::Index>(d, 3); ++c)
        CHECK(row.at(static_cast<std::size_t>(c)) == number(k, i, c));
    }
  };
  for (Eigen::Index i = 0; i < drawn; ++i)
    for (Eigen::Index k = 0; k < moments; ++k)
      check(curves[static_cast<std::size_t>(i)].at(static_cast<std::size_t>(k)), k, i * step);
  for (Eigen::Index i = 0; i < drawn; ++i)
    check(curves.back().at(static_cast<std::size_t>(i)), moments - 1, i * step);
  const std::string picture = get(folder / "plot.svg");
  CHECK_THAT(picture, ContainsSubstring("</svg>"));
}

TEST_CASE("figure scripts: any name is a file and any title is text, to gnuplot and to Python", "[io]") {
  const Folder folder;
  save<double>(folder, 1, false);
  const std::vector<std::string> names{"< touch run", "| touch run", "-",   "+",     "++",       "$x",
                                       "@x",          "`touch run`", "a'b", "'",     "a\"b",     "a\\n",
                                       "\n",          "#",           "~",   "*.npy", "\xff.npy", "é.npy"};
  const auto check = [&](const FigureScripts& what) {
    write_figure_scripts(folder.path, what);
    INFO(what.times << ' ' << what.tokens << ' ' << what.title << '\n' << get(folder / "plot.gp"));
    for (const std::string& command :
         {gnuplot_is_there() ? "gnuplot -e \"out='g.svg'\" plot.gp" : std::string(),
          python().empty() ? "" : python() + " plot.py p.svg"}) {
      if (command.empty()) continue;
      const bool ran = runs(folder.path, command);
      INFO(command << '\n' << get(folder / "log"));
      CHECK(ran);
      CHECK_FALSE(fs::exists(folder / "run"));
    }
    if (gnuplot_is_there()) CHECK(get(folder / "log").empty());
  };
  if (!gnuplot_is_there()) WARN("skipped: gnuplot is not installed");
  if (python().empty()) WARN("skipped: no Python with NumPy and Matplotlib is installed");
  // Matplotlib takes a second or two to start: every second name is the tokens' where the other one is the times'.
  for (std::size_t k = 0; k < names.size(); k += 2) {
    std::error_code error;
    fs::copy_file(folder / "times.npy", folder / names[k].c_str(), error);
    fs::copy_file(folder / "tokens.npy", folder / names[k + 1].c_str(), error);
    check({.times = names[k], .tokens = names[k + 1], .title = names[k] + names[k + 1]});
  }
  if (!gnuplot_is_there()) return;
  // The title that is seen.
  for (const std::string title : {"''quoted''", "'", "`touch run` \\", "\\101 {x} @y ~z & a"}) {
    write_figure_scripts(folder.path, {.title = title, .axes = {"'y'"}, .time = "\""});
    REQUIRE(runs(folder.path, "gnuplot -e \"out='g.svg'\" plot.gp"));
    CHECK(get(folder / "log").empty());
    std::string seen;  // the text of the picture, without its elements
    bool inside = false;
    for (const char c : get(folder / "g.svg")) {
      inside = c == '<' || (inside && c != '>');
      if (!inside && c != '>') seen += c;
    }
    for (const auto& [entity, character] :
         {std::pair{"&amp;", "&"}, {"&quot;", "\""}, {"&lt;", "<"}, {"&#39;", "'"}, {"&apos;", "'"}})
      for (std::size_t at = 0; (at = seen.find(entity)) != seen.npos;)
        seen.replace(at, std::string(entity).size(), character);
    CHECK_THAT(seen, ContainsSubstring(title) && ContainsSubstring("'y'"));
  }
}

TEST_CASE("figure scripts: names and texts stand in them, mistakes are refused", "[io]") {
  const Folder folder;
  save<double>(folder, 2, false);
  write_figure_scripts(folder.path, {.title = "a'b\nc", .axes = {"u_{10}", "v"}});
  const std::string gp = get(folder / "plot.gp"), py = get(folder / "plot.py");
  CHECK_THAT(gp, ContainsSubstring("set title \"a'b c\"\n"));
  CHECK_THAT(gp, ContainsSubstring("set xlabel \"u_{10}\"\n"));
  CHECK_THAT(py, ContainsSubstring("axes.set_title('a\\'b c')\n"));
  CHECK_THAT(py, ContainsSubstring(R"(axes.set_xlabel('u$_{\\mathrm{10}}$'))"));
  CHECK_THAT(py, ContainsSubstring("# shape (12, 5, 2)"));
  CHECK(folder.files() == 4);

  CHECK_THROWS_WITH(write_figure_scripts(folder.path, {.axes = {"u"}}),
                    "FigureScripts::axes has 1 entries, expected none or d = 2");
  CHECK_THROWS_WITH(write_figure_scripts(folder.path, {.most = 0}),
                    "FigureScripts::most is 0, expected at least 1");
  CHECK_THROWS_WITH(write_figure_scripts(folder.path, {.tokens = "absent.npy"}),
                    ContainsSubstring("absent.npy: cannot be read"));
  CHECK_THROWS_WITH(write_figure_scripts(folder.path, {.tokens = "times.npy"}),
                    ContainsSubstring("has the shape (12,), expected 3 axes"));
  attnflow::save_npy<double>(folder / "short.npy", {2}, std::array<double, 2>{0, 1});
  CHECK_THROWS_WITH(write_figure_scripts(folder.path, {.times = "short.npy"}),
                    ContainsSubstring("has 2 times, expected 12 as tokens.npy has states"));
  std::ofstream(folder / "text.npy", std::ios::binary) << "not an array of numbers";
  CHECK_THROWS_WITH(write_figure_scripts(folder.path, {.times = "text.npy"}),
                    ContainsSubstring("not an .npy file"));
  attnflow::save_npy<double>(folder / "none.npy", {12, 0, 2}, {});
  CHECK_THROWS_WITH(write_figure_scripts(folder.path, {.tokens = "none.npy"}),
                    ContainsSubstring("nothing to draw"));
}
