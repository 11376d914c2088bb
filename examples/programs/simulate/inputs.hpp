// What a run starts from: tokens, weights and times, from files or drawn.
#pragma once

#include "programs/simulate/cost.hpp"
#include "programs/simulate/options.hpp"

#include <attnflow/io/npy.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/tokens/initial_laws.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace simulation {

using attnflow::Head;
using attnflow::Tokens;
using Eigen::Index;

/// The numbers of N,D,… with n and d at least 1.
inline std::vector<double> read_numbers(const char* option, const std::string& text, std::size_t count,
                                        const char* form) {
  std::vector<double> numbers;
  std::istringstream fields(text);
  bool good = !text.empty() && text.back() != ',';
  for (std::string field; good && std::getline(fields, field, ',');) {
    std::size_t used = 0;
    try {
      numbers.push_back(std::stod(field, &used));
    } catch (const std::exception&) {
    }
    good = used == field.size() && used > 0 && std::isfinite(numbers.back());
  }
  good = good && numbers.size() == count;
  for (std::size_t k = 0; good && k < 2; ++k)
    good = numbers[k] >= 1 && numbers[k] <= 1e9 && numbers[k] == std::floor(numbers[k]);
  if (!good) refuse(option, ": ", text, ", expected ", form, " with whole numbers N and D, at least 1");
  return numbers;
}

/// "1, 0" for element 2 of an array of shape (3, 2).
inline std::string index_text(const std::vector<Index>& shape, std::size_t element) {
  std::string text;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    const auto size = static_cast<std::size_t>(shape[axis]);
    text = std::to_string(element % size) + (text.empty() ? "" : ", ") + text;
    element /= size;
  }
  return text;
}

inline attnflow::NpyArray load(const char* option, const std::string& path) {
  try {
    attnflow::NpyArray array = attnflow::load_npy(path);
    for (std::size_t k = 0; k < array.values.size(); ++k)
      if (!std::isfinite(array.values[k]))
        refuse(path, " has ", array.values[k], " at [", index_text(array.shape, k),
               "], expected finite numbers");
    return array;
  } catch (const std::exception& error) {
    refuse(option, ": ", error.what());
  }
}

/// The start as it was asked for: "--tokens: x.npy".
inline std::string source_of(const Options& o) {
  if (!o.tokens.empty()) return "--tokens: " + o.tokens;
  if (!o.gaussian.empty()) return "--gaussian: " + o.gaussian;
  if (!o.uniform_box.empty()) return "--uniform-box: " + o.uniform_box;
  return "--uniform-sphere: " + o.uniform_sphere;
}

inline Tokens<double> read_start(const Options& o) {
  const int given =
      !o.tokens.empty() + !o.uniform_box.empty() + !o.gaussian.empty() + !o.uniform_sphere.empty();
  if (given != 1)
    refuse("the start: ", given == 0 ? "not given" : "given more than once",
           ", expected one of --tokens, --uniform-box, --gaussian, --uniform-sphere");
  attnflow::Generator generator(o.seed);
  const auto size = [&](const std::vector<double>& numbers) {  // before there is one
    require_memory(o, source_of(o), numbers[0], numbers[1], 0);
    return std::pair(static_cast<Index>(numbers[0]), static_cast<Index>(numbers[1]));
  };
  if (!o.uniform_box.empty()) {
    const auto v = read_numbers("--uniform-box", o.uniform_box, 4, "N,D,LOW,HIGH");
    if (!(v[2] < v[3] && std::isfinite(v[3] - v[2])))
      refuse("--uniform-box: ", o.uniform_box,
             ", expected LOW < HIGH, and HIGH - LOW in the range of double");
    const auto [n, d] = size(v);
    return attnflow::uniform_box(generator, n, d, v[2], v[3]);
  }
  if (!o.gaussian.empty()) {
    const auto v = read_numbers("--gaussian", o.gaussian, 2, "N,D");
    const auto [n, d] = size(v);
    return attnflow::gaussian(generator, n, d);
  }
  if (!o.uniform_sphere.empty()) {
    const auto v = read_numbers("--uniform-sphere", o.uniform_sphere, 2, "N,D");
    const auto [n, d] = size(v);
    return attnflow::uniform_sphere(generator, n, d);
  }
  const attnflow::NpyArray array = load("--tokens", o.tokens);
  if (array.shape.size() != 2 || array.shape[0] < 1 || array.shape[1] < 1)
    refuse("--tokens: ", o.tokens, " has shape ", attnflow::detail::shape_text(array.shape),
           ", expected (n, d), both at least 1");
  return attnflow::tokens_from<double>(array, o.tokens);
}

/// The sphere is where tokens are, not where they are put: a start off it is likelier a mistake than a wish.
inline void require_unit_tokens(const Options& o, const Tokens<double>& x) {
  if (o.system != "sphere") return;
  for (Index i = 0; i < x.cols(); ++i) {
    const double norm = x.col(i).stableNorm();
    if (!(std::abs(norm - 1) <= 1e-6))
      refuse(source_of(o), " has token ", i, " of norm ", norm,
             ", expected norm 1 up to 1e-6 for --system sphere");
  }
}

/// The heads of the weight files, for tokens of dimension d.
inline std::vector<Head<double>> read_heads(const Options& o, Index d) {
  using Matrices = std::vector<Eigen::MatrixXd>;
  const auto read = [&](const char* option, const std::string& path, bool square) {
    Matrices matrices;
    if (path.empty()) return matrices;
    const attnflow::NpyArray array = load(option, path);
    const std::size_t axes = array.shape.size();
    const bool good = (axes == 2 || axes == 3) && !array.values.empty() && array.shape[axes - 1] == d &&
                      (!square || array.shape[axes - 2] == d);
    if (!good)
      refuse(option, ": ", path, " has shape ", attnflow::detail::shape_text(array.shape), ", expected ",
             square ? "(d, d) or (heads, d, d)" : "(d_k, d) or (heads, d_k, d)", " with d = ", d,
             " as the tokens have");
    return attnflow::matrices_from<double>(array, path);
  };
  const Matrices Q = read("--query", o.query, false), K = read("--key", o.key, false),
                 V = read("--value", o.value, true);
  const std::size_t heads = std::max({Q.size(), K.size(), V.size(), std::size_t{1}});
  const auto require_count = [&](const char* option, const std::string& path, const Matrices& m) {
    if (!m.empty() && m.size() != heads)
      refuse(option, ": ", path, " has ", m.size(), " head(s), expected ", heads,
             " as the other weights have");
  };
  require_count("--query", o.query, Q);
  require_count("--key", o.key, K);
  require_count("--value", o.value, V);
  std::vector<Head<double>> result;
  for (std::size_t h = 0; h < heads; ++h) {
    const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(d, d);
    Head<double> head{Q.empty() ? identity : Q[h], K.empty() ? identity : K[h], V.empty() ? identity : V[h]};
    if (head.Q.rows() != head.K.rows())
      refuse(o.key.empty() ? "--query: " : "--key: ", o.key.empty() ? o.query : o.key,
             " has d_k = ", o.key.empty() ? head.Q.rows() : head.K.rows(), ", expected ",
             o.key.empty() ? head.K.rows() : head.Q.rows(), " as the ",
             o.key.empty() ? "keys have" : "queries have");
    result.push_back(std::move(head));
  }
  if (o.system == "rescaled" && heads > 1)
    refuse("--system: rescaled with ", heads,
           " heads, expected one head (several have no common rescaling: use tokens)");
  return result;
}

inline std::vector<double> read_times(const Options& o) {
  if (!o.times.empty()) {
    const attnflow::NpyArray array = load("--times", o.times);
    if (array.shape.size() != 1 || array.values.empty())
      refuse("--times: ", o.times, " has shape ", attnflow::detail::shape_text(array.shape),
             ", expected (m,), m at least 1");
    for (std::size_t k = 0; k < array.values.size(); ++k) {
      if (!(array.values[k] >= 0 && array.values[k] <= o.t_end))
        refuse("--times: ", o.times, " has ", array.values[k], " at [", k,
               "], expected times in [0, --t-end = ", o.t_end, "]");
      if (k > 0 && !(array.values[k] > array.values[k - 1]))
        refuse("--times: ", o.times, " has ", array.values[k], " at [", k, "], expected times that increase");
    }
    return array.values;
  }
  const auto increasing = [](const std::vector<double>& times) {
    return std::adjacent_find(times.begin(), times.end(), std::greater_equal<>{}) == times.end();
  };
  if (!o.save_every) {
    std::vector<double> times = attnflow::equal_times(0, o.t_end, 101);
    if (!increasing(times))
      refuse("--t-end: ", o.t_end, ", expected 0, or a time that 101 times up to it can be told apart");
    return times;
  }
  const double count = std::floor(o.t_end / *o.save_every * (1 + 1e-12) + 1e-9);
  if (count > 1e8)
    refuse("--save-every: ", *o.save_every, ", expected at most 1e8 times up to --t-end ", o.t_end);
  std::vector<double> times;
  for (double k = 0; k <= count; ++k) times.push_back(std::min(k * *o.save_every, o.t_end));
  if (!increasing(times))
    refuse("--save-every: ", *o.save_every, ", expected times up to --t-end ", o.t_end,
           " that can be told apart");
  return times;
}

/// What a run starts from, wherever it comes from: files, a random draw or a checkpoint.
struct Problem {
  Tokens<double> start;
  std::vector<Head<double>> heads;
  std::vector<double> times;  ///< to save at
};

inline Problem read_problem(const Options& o) {
  Problem p;
  p.start = read_start(o);
  require_unit_tokens(o, p.start);
  p.heads = read_heads(o, p.start.rows());
  p.times = read_times(o);
  return p;
}

}  // namespace simulation
