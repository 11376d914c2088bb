// What `render` is given: the options, and the arrays that they name, checked against each other.
#pragma once

#include "programs/system.hpp"

#include <attnflow/detail/refuse.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/version.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <numeric>
#include <string>
#include <system_error>
#include <vector>

namespace render {

namespace fs = std::filesystem;
using attnflow::detail::refuse;  // one line, exit status 2, nothing written
using Eigen::Index;

struct Options {
  std::string tokens, times, attention, out, svg, title;
  bool force = false;
};

/// The trajectories of n tokens in dimension d at m moments.
struct Recording {
  Index m = 0, n = 0, d = 0;
  std::vector<double> times;      ///< m, increasing
  std::vector<double> positions;  ///< m × n × d in C order
  std::vector<double> attention;  ///< m × n × n in C order, finite and not negative; or none

  using Moment = Eigen::Map<const Eigen::MatrixXd>;
  /// The tokens at moment k, d × n.
  [[nodiscard]] Moment at(Index k) const { return {positions.data() + k * n * d, d, n}; }
};

inline Options parse(int argc, char** argv) {
  Options o;
  CLI::App app("Trajectories from elsewhere as a page that plays, and as a figure.", "render");
  app.set_version_flag("--version", std::string(attnflow::version));
  app.add_option("x.npy", o.tokens, "the tokens: shape (m, n, d), or (n, d) for one moment")->required();
  app.add_option("times.npy", o.times, "increasing times, shape (m,) (default: 0, 1, 2, ...)");
  app.add_option("--attention", o.attention, "file P.npy of shape (m, n, n), or (n, n) for one moment");
  app.add_option("--out", o.out, "the page, view.html")->required();
  app.add_option("--svg", o.svg, "a figure of the trajectories, too");
  app.add_option("--title", o.title, "of the page and the figure (default: the file's name)");
  app.add_flag("--force", o.force, "replace files that exist");
  if (const std::string mistake = programs::mistake_of_values(app, argc, argv); !mistake.empty())
    refuse(mistake);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    const int status = app.exit(success);
    std::exit(programs::said_all("render") ? status : 2);
  } catch (const CLI::ParseError& error) {
    refuse(error.what(), ", expected render x.npy [times.npy] --out view.html (see --help)");
  }
  return o;
}

/// The shortest decimal that reads back as the value: 1.0000001 does not look like 1.
inline std::string exact(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

inline attnflow::NpyArray load(const char* what, const std::string& path) {
  try {
    return attnflow::load_npy(path);
  } catch (const std::exception& error) {
    refuse(what, ": ", error.what());
  }
}

inline std::vector<double> read_times(const std::string& path, Index m) {
  if (path.empty()) {
    std::vector<double> times(static_cast<std::size_t>(m));
    std::iota(times.begin(), times.end(), 0.0);
    return times;
  }
  const attnflow::NpyArray array = load("times", path);
  if (array.shape != std::vector<Index>{m})
    refuse("times: ", path, " has shape ", attnflow::detail::shape_text(array.shape), ", expected (", m,
           ",) as there are ", m, " moments");
  for (std::size_t k = 0; k < array.values.size(); ++k) {
    const double t = array.values[k];
    if (!std::isfinite(t)) refuse("times: ", path, " has ", t, " at [", k, "], expected finite times");
    if (k > 0 && !(t > array.values[k - 1]))
      refuse("times: ", path, " has ", exact(t), " at [", k, "] after ", exact(array.values[k - 1]),
             ", expected times that increase");
  }
  return array.values;
}

/// \throws std::invalid_argument naming the file, what it holds and what was expected.
inline Recording read(const Options& o) {
  attnflow::NpyArray tokens = load("tokens", o.tokens);
  const std::size_t axes = tokens.shape.size();
  if ((axes != 2 && axes != 3) || tokens.values.empty())
    refuse("tokens: ", o.tokens, " has shape ", attnflow::detail::shape_text(tokens.shape),
           ", expected (m, n, d), or (n, d) for one moment, all at least 1");
  Recording r;
  r.m = axes == 3 ? tokens.shape[0] : 1;
  r.n = tokens.shape[axes - 2];
  r.d = tokens.shape[axes - 1];
  if (r.d > 4096) refuse("tokens: ", o.tokens, " has dimension ", r.d, ", expected at most 4096");
  r.positions = std::move(tokens.values);
  r.times = read_times(o.times, r.m);
  if (o.attention.empty()) return r;
  attnflow::NpyArray P = load("--attention", o.attention);
  const std::vector<Index> all{r.m, r.n, r.n}, one{r.n, r.n};
  if (P.shape != all && !(r.m == 1 && P.shape == one))
    refuse("--attention: ", o.attention, " has shape ", attnflow::detail::shape_text(P.shape), ", expected ",
           attnflow::detail::shape_text(all), " as the tokens have",
           r.m == 1 ? ", or that of one moment" : "");
  for (std::size_t k = 0; k < P.values.size(); ++k) {
    const double weight = P.values[k];
    if (std::isfinite(weight) && weight >= 0) continue;
    const auto entry = static_cast<Index>(k);
    refuse("--attention: ", o.attention, " has ", exact(weight), " at frame ", entry / (r.n * r.n), ", row ",
           entry / r.n % r.n, ", column ", entry % r.n,
           ", expected weights that are finite and not negative (counted from 0)");
  }
  r.attention = std::move(P.values);
  return r;
}

/// Refuses places that cannot be written to before anything is.
inline void check_outputs(const Options& o) {
  const auto same = [](const std::string& a, const std::string& b) {
    std::error_code error;
    return !a.empty() && !b.empty() &&
           (fs::path(a).lexically_normal() == fs::path(b).lexically_normal() || fs::equivalent(a, b, error));
  };
  for (const auto& [option, path] : {std::pair{"--out", o.out}, {"--svg", o.svg}}) {
    if (path.empty()) continue;
    for (const std::string& input : {o.tokens, o.times, o.attention})
      if (same(path, input)) refuse(option, ": ", path, " is a file to read from, expected another one");
    std::error_code error;
    if (!o.force && fs::exists(path, error))
      refuse(option, ": ", path, " exists, expected a new file (or --force to replace it)");
    try {
      attnflow::AtomicFile probe(path);  // removed at once: it is not committed
    } catch (const std::exception& failure) {
      refuse(option, ": ", failure.what());
    }
  }
  if (same(o.out, o.svg)) refuse("--svg: ", o.svg, ", expected another file than --out");
}

}  // namespace render
