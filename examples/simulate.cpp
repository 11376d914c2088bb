// The general program: self-attention dynamics from files or a random start, to .npy files, a report and a
// page. `simulate --help` lists the options; examples/README.md says what is written.

#include <attnflow/clustering/clusters.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/html.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/observers/progress.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/spectral/invariant_basis.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/theory/analyze.hpp>
#include <attnflow/tokens/initial_laws.hpp>
#include <attnflow/version.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;
using attnflow::Head;
using attnflow::SquareMatrix;
using attnflow::Tokens;
using Eigen::Index;
using Json = nlohmann::ordered_json;

/// What the caller did wrong: one line, exit status 2, nothing written.
struct Mistake : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The shortest decimal that reads back as the value: 1.0000001 does not look like 1.
std::string exact(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream text;
  const auto put = [&](const auto& part) {
    if constexpr (std::is_same_v<std::decay_t<decltype(part)>, double>)
      text << exact(part);
    else
      text << part;
  };
  (put(parts), ...);
  throw Mistake(text.str());
}

struct Options {
  std::string tokens, uniform_box, gaussian, uniform_sphere;
  std::string query, key, value;
  std::string system = "rescaled", law = "softmax", mask = "none", alibi;
  std::string stepper, precision = "double", times, out;
  std::uint64_t seed = 0;
  double beta = 1, t_end = attnflow::required;
  std::optional<double> dt, rtol, atol, save_every;
  long threads = 1;
  bool attention = false, quiet = false, force = false;
};

// --- Reading the command line ------------------------------------------------------------------------------

/// What CLI11's own conversions let pass (an empty value, −1 as an unsigned number) or refuse without saying
/// what was expected. An answer other than "" is the rest of the message.
template <class Number>
std::string require_number(const std::string& text) {
  const char* const end = text.data() + text.size();
  if constexpr (std::is_floating_point_v<Number>) {
    char* stopped = nullptr;
    std::strtod(text.c_str(), &stopped);
    return !text.empty() && stopped == end ? "" : text + ", expected a number";
  } else {
    Number value{};
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc{} && stopped == end) return "";
    return text + ", expected a whole number from " + (std::is_unsigned_v<Number> ? "0" : "1") + " to " +
           std::to_string(std::numeric_limits<Number>::max());
  }
}

/// Exits by exception (Mistake), and with status 0 after --help and --version.
Options parse(int argc, char** argv) {
  Options o;
  CLI::App app("Self-attention dynamics: tokens that attend to each other, and what they converge to.",
               "simulate");
  app.set_version_flag("--version", std::string(attnflow::version));
  const auto group = [&](const char* name) { return app.add_option_group(name); };

  auto* start = group("Start (one of)");
  start->add_option("--tokens", o.tokens, "file x0.npy of shape (n, d)");
  start->add_option("--uniform-box", o.uniform_box,
                    "N,D,LOW,HIGH: independent coordinates, uniform in [LOW, HIGH)");
  start->add_option("--gaussian", o.gaussian, "N,D: independent standard normal coordinates");
  start->add_option("--uniform-sphere", o.uniform_sphere, "N,D: independent, uniform on the unit sphere");
  app.add_option("--seed", o.seed, "of the random start (default 0)")->check(require_number<std::uint64_t>);

  auto* weights = group("Weights (identity when absent)");
  weights->add_option("--query", o.query, "file Q.npy of shape (d_k, d) or (heads, d_k, d)");
  weights->add_option("--key", o.key, "file K.npy of the same shape");
  weights->add_option("--value", o.value, "file V.npy of shape (d, d) or (heads, d, d)");

  auto* model = group("Model");
  model->add_option("--system", o.system,
                    "rescaled: z = exp(-tV) x (default) | tokens: x | layers: residual layers");
  model->add_option("--law", o.law, "softmax");
  model->add_option("--beta", o.beta, "factor of the scores (default 1)")->check(require_number<double>);
  model->add_option("--mask", o.mask, "none");
  model->add_option("--alibi", o.alibi)->group("");

  auto* run = group("Run");
  run->add_option("--t-end", o.t_end, "final time, from 0")->check(require_number<double>)->required();
  run->add_option("--stepper", o.stepper, "dopri5 (default) | rk4 | euler");
  run->add_option("--dt", o.dt, "step of rk4 and euler; of a layer")->check(require_number<double>);
  run->add_option("--rtol", o.rtol, "relative tolerance of dopri5 (default 1e-9; float 1e-5)")
      ->check(require_number<double>);
  run->add_option("--atol", o.atol, "absolute tolerance of dopri5 (default 1e-11; float 1e-6)")
      ->check(require_number<double>);
  run->add_option("--precision", o.precision, "double (default) | float");
  run->add_option("--threads", o.threads, "at most so many threads; results do not depend on it")
      ->check(require_number<long>);

  auto* output = group("Output");
  output->add_option("--out", o.out, "folder, created if absent")->required();
  output->add_option("--save-every", o.save_every, "save at 0, DT, 2 DT, … (default: 101 equal times)")
      ->check(require_number<double>);
  output->add_option("--times", o.times, "file times.npy of increasing times in [0, t-end] to save at");
  output->add_flag("--attention", o.attention, "write the attention matrices, too");
  output->add_flag("--force", o.force, "replace the files of another run in the folder");
  output->add_flag("--quiet", o.quiet, "say nothing but errors");

  for (int k = 1; k < argc; ++k) {  // such as "$Q" with Q not set
    const std::string argument = argv[k];
    if (!argument.empty() && (argument.rfind("--", 0) != 0 || argument.find('=') != argument.size() - 1))
      continue;
    if (argument.empty()) refuse(k > 1 ? argv[k - 1] : "command line", ": empty, expected a value");
    refuse(argument.substr(0, argument.size() - 1), ": empty, expected a value");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    std::exit(app.exit(success));
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> extras = app.remaining(true);
    for (int k = 1; k < argc; ++k)  // the first of them
      if (std::find(extras.begin(), extras.end(), argv[k]) != extras.end())
        refuse(argv[k], argv[k][0] == '-' ? ": unknown option" : ": unexpected argument",
               ", expected an option that simulate --help lists");
    refuse("unexpected arguments, expected those that simulate --help lists");
  } catch (const CLI::RequiredError& error) {
    const std::string text = error.what();  // "--out is required"
    refuse(text.substr(0, text.find(' ')),
           ": not given, expected a value (simulate --help lists the options)");
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string text =
        error.what();  // "--out: 1 required TEXT missing", "--out: At Most 1 required but received 2"
    refuse(text.substr(0, text.find(':')), text.find("received") == text.npos
                                               ? ": without a value, expected one"
                                               : ": given more than once, expected once");
  } catch (const CLI::ParseError& error) {
    refuse(error.what());
  }
  return o;
}

void require_one_of(const char* option, const std::string& value, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  std::string expected = known.front();
  for (std::size_t k = 1; k < known.size(); ++k)
    expected += (k + 1 == known.size() ? " or " : ", ") + known[k];
  refuse(option, ": ", value, ", expected ", expected);
}

void require_positive(const char* option, const std::optional<double>& value) {
  if (value && !(std::isfinite(*value) && *value > 0))
    refuse(option, ": ", *value, ", expected a positive number");
}

bool has_fixed_steps(const Options& o) { return o.system == "layers" || o.stepper != "dopri5"; }

/// Checks what one option says by itself or about another; fills in defaults that depend on others.
void check(Options& o) {
  require_one_of("--system", o.system, {"rescaled", "tokens", "layers"});
  require_one_of("--law", o.law, {"softmax"});
  require_one_of("--mask", o.mask, {"none"});
  if (!o.alibi.empty())
    refuse("--alibi: ", o.alibi, ", expected to be absent: there are no positional biases yet");
  if (o.system == "layers" && !o.stepper.empty())
    refuse("--stepper: ", o.stepper, ", expected to be absent: --system layers is a map, layer after layer");
  if (o.stepper.empty()) o.stepper = "dopri5";
  require_one_of("--stepper", o.stepper, {"dopri5", "rk4", "euler"});
  require_one_of("--precision", o.precision, {"double", "float"});
  if (!(std::isfinite(o.t_end) && o.t_end >= 0))
    refuse("--t-end: ", o.t_end, ", expected a finite time, at least 0");
  if (!std::isfinite(o.beta)) refuse("--beta: ", o.beta, ", expected a finite number");
  if (o.threads < 1) refuse("--threads: ", o.threads, ", expected at least 1");
  require_positive("--dt", o.dt);
  require_positive("--save-every", o.save_every);
  if (o.save_every && !o.times.empty())
    refuse("--times: ", o.times, ", expected either --times or --save-every");

  const std::string steps = o.system == "layers" ? "--system layers" : "--stepper " + o.stepper;
  if (has_fixed_steps(o)) {
    if (!o.dt) refuse("--dt: not given, expected a positive step for ", steps);
    if (o.t_end / *o.dt > 1e12)
      refuse("--dt: ", *o.dt, ", expected at most 1e12 steps up to --t-end ", o.t_end);
    if (o.rtol) refuse("--rtol: ", *o.rtol, ", expected to be absent: ", steps, " has fixed steps");
    if (o.atol) refuse("--atol: ", *o.atol, ", expected to be absent: ", steps, " has fixed steps");
    return;
  }
  if (o.dt) refuse("--dt: ", *o.dt, ", expected to be absent: dopri5 chooses its steps (see --rtol)");
  const bool is_float = o.precision == "float";
  if (!o.rtol) o.rtol = is_float ? 1e-5 : 1e-9;
  if (!o.atol) o.atol = is_float ? 1e-6 : 1e-11;
  const double least = 10 * (is_float ? static_cast<double>(std::numeric_limits<float>::epsilon())
                                      : std::numeric_limits<double>::epsilon());
  if (!(std::isfinite(*o.rtol) && *o.rtol >= least))
    refuse("--rtol: ", *o.rtol, ", expected at least ", least, ", ten times the rounding of ", o.precision);
  if (!(std::isfinite(*o.atol) && *o.atol >= 0))
    refuse("--atol: ", *o.atol, ", expected zero or a positive number");
}

/// The numbers of N,D,… with n and d at least 1.
std::vector<double> read_numbers(const char* option, const std::string& text, std::size_t count,
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

// --- Reading tokens, weights and times --------------------------------------------------------------------

/// "1, 0" for element 2 of an array of shape (3, 2).
std::string index_text(const std::vector<Index>& shape, std::size_t element) {
  std::string text;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    const auto size = static_cast<std::size_t>(shape[axis]);
    text = std::to_string(element % size) + (text.empty() ? "" : ", ") + text;
    element /= size;
  }
  return text;
}

attnflow::NpyArray load(const char* option, const std::string& path) {
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

Tokens<double> read_start(const Options& o) {
  const int given =
      !o.tokens.empty() + !o.uniform_box.empty() + !o.gaussian.empty() + !o.uniform_sphere.empty();
  if (given != 1)
    refuse("the start: ", given == 0 ? "not given" : "given more than once",
           ", expected one of --tokens, --uniform-box, --gaussian, --uniform-sphere");
  attnflow::Generator generator(o.seed);
  if (!o.uniform_box.empty()) {
    const auto v = read_numbers("--uniform-box", o.uniform_box, 4, "N,D,LOW,HIGH");
    if (!(v[2] < v[3] && std::isfinite(v[3] - v[2])))
      refuse("--uniform-box: ", o.uniform_box,
             ", expected LOW < HIGH, and HIGH - LOW in the range of double");
    return attnflow::uniform_box(generator, static_cast<Index>(v[0]), static_cast<Index>(v[1]), v[2], v[3]);
  }
  if (!o.gaussian.empty()) {
    const auto v = read_numbers("--gaussian", o.gaussian, 2, "N,D");
    return attnflow::gaussian(generator, static_cast<Index>(v[0]), static_cast<Index>(v[1]));
  }
  if (!o.uniform_sphere.empty()) {
    const auto v = read_numbers("--uniform-sphere", o.uniform_sphere, 2, "N,D");
    return attnflow::uniform_sphere(generator, static_cast<Index>(v[0]), static_cast<Index>(v[1]));
  }
  const attnflow::NpyArray array = load("--tokens", o.tokens);
  if (array.shape.size() != 2 || array.shape[0] < 1 || array.shape[1] < 1)
    refuse("--tokens: ", o.tokens, " has shape ", attnflow::detail::shape_text(array.shape),
           ", expected (n, d), both at least 1");
  return attnflow::tokens_from<double>(array, o.tokens);
}

/// The heads of the weight files, for tokens of dimension d.
std::vector<Head<double>> read_heads(const Options& o, Index d) {
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

std::vector<double> read_times(const Options& o) {
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
  if (!o.save_every) return attnflow::equal_times(0, o.t_end, 101);
  const double count = std::floor(o.t_end / *o.save_every * (1 + 1e-12) + 1e-9);
  if (count > 1e8)
    refuse("--save-every: ", *o.save_every, ", expected at most 1e8 times up to --t-end ", o.t_end);
  std::vector<double> times;
  for (double k = 0; k <= count; ++k) times.push_back(std::min(k * *o.save_every, o.t_end));
  return times;
}

// --- The folder
// ---------------------------------------------------------------------------------------------

const char* const output_files[] = {"times.npy", "tokens.npy", "attention.npy", "report.json", "view.html"};

void check_folder(const Options& o) {
  std::error_code error;
  const fs::file_status status = fs::status(o.out, error);
  if (fs::exists(status) && !fs::is_directory(status))
    refuse("--out: ", o.out, " is a file, expected a folder");
  for (const char* name : output_files)
    if (!o.force && fs::exists(fs::path(o.out) / name, error))
      refuse("--out: ", o.out, " holds ", name,
             " of another run, expected an empty folder (or --force to replace it)");
}

void make_folder(const Options& o) {
  std::error_code error;
  fs::create_directories(o.out, error);
  if (error) refuse("--out: ", o.out, " cannot be created: ", error.message());
  try {
    attnflow::AtomicFile probe(fs::path(o.out) / "times.npy");  // removed at once: it is not committed
  } catch (const std::exception& failure) {
    refuse("--out: ", o.out, " cannot be written: ", failure.what());
  }
}

// --- The run
// ------------------------------------------------------------------------------------------------

/// A system ready to run: how to advance, and what can be asked of it.
template <class Scalar>
struct Run {
  std::vector<double> times;
  /// Runs from x, shows states at the saved times, leaves the last state in x.
  std::function<attnflow::Report(Tokens<Scalar>& x,
                                 const std::function<void(double, const Tokens<Scalar>&)>& save,
                                 attnflow::Progress* progress)>
      go;
  /// P of each head at a state.
  std::function<std::vector<SquareMatrix<Scalar>>(double, const Tokens<Scalar>&)> attention;
  /// The coordinates that are integrated, where they are not those that are shown.
  std::optional<attnflow::InvariantBasis> coordinates;
  /// From the coordinates that are integrated to those that are shown.
  std::function<Tokens<Scalar>(const Tokens<Scalar>&)> shown = [](const Tokens<Scalar>& x) { return x; };
};

template <class Scalar, class System>
auto go_with(std::shared_ptr<const System> system, const Options& o, std::vector<double> times) {
  return [=](Tokens<Scalar>& x, const std::function<void(double, const Tokens<Scalar>&)>& save,
             attnflow::Progress* progress) {
    using State = Tokens<Scalar>;
    auto record = attnflow::at_times<State>(times, save);
    auto tell = [progress](double t, const State& state) {
      if (progress != nullptr) (*progress)(t, state);
    };
    auto observers = attnflow::together<State>(record, tell);
    if (o.stepper == "dopri5")
      return attnflow::integrate(*system, attnflow::DormandPrince5<State>{}, x,
                                 {.to = o.t_end, .rtol = *o.rtol, .atol = *o.atol}, observers);
    const attnflow::FixedSteps plan{.to = o.t_end, .step = *o.dt};
    if (o.stepper == "rk4")
      return attnflow::integrate(*system, attnflow::RungeKutta4<State>{}, x, plan, observers);
    return attnflow::integrate(*system, attnflow::Euler<State>{}, x, plan, observers);
  };
}

/// Layers are a map, not a flow: the state shown at t is the output of layer ⌊t / Δt⌋.
template <class Scalar>
attnflow::Report go_through_layers(const attnflow::Layers<Scalar>& layers, double t_end,
                                   const std::vector<double>& times, Tokens<Scalar>& x,
                                   const std::function<void(double, const Tokens<Scalar>&)>& save,
                                   attnflow::Progress* progress) {
  attnflow::Report report;
  const auto layer_of = [&](double t) { return static_cast<long>(std::floor(t / layers.step() + 1e-9)); };
  const long last = layer_of(t_end);
  std::size_t next = 0;
  for (long k = 0;; ++k) {
    report.t = std::min(static_cast<double>(k) * layers.step(), t_end);
    for (; next < times.size() && layer_of(times[next]) == k; ++next) save(times[next], x);
    if (progress != nullptr) (*progress)(report.t, x);
    if (k == last) return report;
    Tokens<Scalar> before = x;
    layers.apply(x);
    ++report.evaluations;
    if (!x.allFinite()) {
      x = std::move(before);
      report.outcome = attnflow::Outcome::non_finite;
      return report;
    }
    ++report.steps;
  }
}

template <class Scalar>
std::vector<Head<Scalar>> cast_heads(const std::vector<Head<double>>& heads) {
  std::vector<Head<Scalar>> result;
  for (const auto& h : heads)
    result.push_back({h.Q.template cast<Scalar>(), h.K.template cast<Scalar>(), h.V.template cast<Scalar>()});
  return result;
}

/// Sets up the system; moves x to the coordinates that are integrated.
template <class Scalar>
Run<Scalar> set_up(const Options& o, std::vector<Head<double>> heads, Tokens<Scalar>& x) {
  const attnflow::Softmax<Scalar> law{.beta = o.beta};
  Run<Scalar> run{.times = read_times(o), .go = {}, .attention = {}, .coordinates = {}};
  if (o.system == "rescaled") {
    const attnflow::InvariantBasis coordinates = attnflow::invariant_basis(heads[0].V);
    if (!coordinates.is_identity) {
      run.coordinates = coordinates;
      heads[0] = {heads[0].Q * coordinates.basis, heads[0].K * coordinates.basis, coordinates.blocks};
      const Tokens<Scalar> start = x;
      x = (coordinates.inverse * start.template cast<double>()).template cast<Scalar>();
      const Tokens<Scalar> inside = x;
      run.shown = [=, basis = coordinates.basis](const Tokens<Scalar>& y) -> Tokens<Scalar> {
        if (y == inside) return start;
        return (basis * y.template cast<double>()).template cast<Scalar>();
      };
    }
    auto system =
        std::make_shared<const attnflow::RescaledDynamics<Scalar>>(cast_heads<Scalar>(heads)[0], law);
    run.go = go_with<Scalar>(system, o, run.times);
    run.attention = [system](double t, const Tokens<Scalar>& z) {
      return std::vector<SquareMatrix<Scalar>>{system->attention(t, z)};
    };
    return run;
  }
  auto system = std::make_shared<const attnflow::TokenDynamics<Scalar>>(cast_heads<Scalar>(heads), law);
  if (o.system == "layers") {
    auto layers = std::make_shared<const attnflow::Layers<Scalar>>(cast_heads<Scalar>(heads), *o.dt, law);
    run.go = [layers, o, times = run.times](Tokens<Scalar>& state, const auto& save,
                                            attnflow::Progress* progress) {
      return go_through_layers(*layers, o.t_end, times, state, save, progress);
    };
  } else {
    run.go = go_with<Scalar>(system, o, run.times);
  }
  run.attention = [system, count = heads.size()](double t, const Tokens<Scalar>& state) {
    std::vector<SquareMatrix<Scalar>> P;
    for (std::size_t h = 0; h < count; ++h) P.push_back(system->attention(t, state, h));
    return P;
  };
  return run;
}

// --- What was found
// -----------------------------------------------------------------------------------------

/// A number of the report: what is not finite is null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

template <class T, class Read>
Json optional_json(const std::optional<T>& value, const Read& read) {
  return value ? Json(read(*value)) : Json(nullptr);
}

/// What the states of the run are, and how exact. The answer refers to run.coordinates.
template <class Scalar>
attnflow::AnalyzeOptions analyze_options(const Options& o, const Run<Scalar>& run) {
  attnflow::AnalyzeOptions options{.beta = o.beta};
  if (o.system != "rescaled") options.variable = attnflow::StateVariable::tokens;
  if (o.system == "layers") options.layer_step = *o.dt;
  options.coordinates = run.coordinates ? &*run.coordinates : nullptr;
  if (o.rtol) options.accuracy = std::max(options.accuracy, 10 * *o.rtol);
  if (o.precision == "float") options.accuracy = std::max(options.accuracy, 1e-4);
  return options;
}

Json json_of(const attnflow::Prediction& prediction) {
  Json margins = Json::object(), hypotheses = Json::array();
  for (const auto& h : prediction.hypotheses) {
    margins[h.name] = number(h.margin);
    hypotheses.push_back({{"name", h.name},
                          {"meaning", h.meaning},
                          {"margin", number(h.margin)},
                          {"needed", number(h.needed)},
                          {"holds", h.holds()}});
  }
  const auto text = [](const std::string& s) { return s.empty() ? Json(nullptr) : Json(s); };
  return {{"case", attnflow::name_of(prediction.limit)},
          {"reference", text(prediction.reference)},
          {"reason", prediction.reason},
          {"conjecture", text(prediction.conjecture)},
          {"margins", std::move(margins)},
          {"hypotheses", std::move(hypotheses)},
          {"rate", prediction.rate > 0 ? number(prediction.rate) : Json(nullptr)},
          {"unstable_dimension", prediction.unstable_dimension}};
}

Json json_of(const attnflow::Analysis& analysis, Index n) {
  const attnflow::Finding& f = analysis.found;
  const bool seen = n <= attnflow::AnalyzeOptions{}.most_tokens;
  const auto same = [](const auto& value) { return value; };
  return {{"clusters", f.clusters.count()},
          {"cluster_tolerance", f.cluster_tolerance},
          {"cluster_gap", optional_json(f.gap, [](const auto& gap) { return number(gap.ratio); })},
          {"labels", f.clusters.labels},
          {"sizes", f.clusters.sizes},
          {"leaders", seen ? Json(f.leaders) : Json(nullptr)},
          {"decision_margin", seen ? number(f.decision_margin) : Json(nullptr)},
          {"hull_vertices", optional_json(f.hull_vertices, same)},
          {"hyperplane_levels", f.levels.empty() ? Json(nullptr) : Json(f.levels)},
          {"boolean_distance", optional_json(f.boolean, [](const auto& b) { return b.to_family; })},
          {"boolean_distance_to_pair", optional_json(f.boolean, [](const auto& b) { return b.to_pair; })},
          {"rank", optional_json(f.rank, [](const auto& r) { return r.rank; })},
          {"effective_rank", optional_json(f.rank, [](const auto& r) { return r.entropy_rank; })},
          {"stable_rank", optional_json(f.rank, [](const auto& r) { return r.stable_rank; })},
          {"self_attention", optional_json(f.self_attention, number)},
          {"distance_to_prediction", optional_json(analysis.distance_to_prediction, number)},
          {"expected_distance", optional_json(analysis.expected_distance, number)},
          {"agrees", analysis.conclusive ? Json(analysis.agrees()) : Json(nullptr)}};
}

const char* name_of(attnflow::Outcome outcome) {
  switch (outcome) {
    case attnflow::Outcome::reached_end:
      return "reached_end";
    case attnflow::Outcome::stopped_by_observer:
      return "stopped";
    case attnflow::Outcome::step_limit:
      return "step_limit";
    case attnflow::Outcome::non_finite:
      return "non_finite";
  }
  return "unknown";
}

const char* meaning_of(attnflow::Outcome outcome) {
  switch (outcome) {
    case attnflow::Outcome::reached_end:
      return "all was computed";
    case attnflow::Outcome::stopped_by_observer:
      return "it was told to stop";
    case attnflow::Outcome::step_limit:
      return "too many steps, or too small ones, would be needed to go on";
    case attnflow::Outcome::non_finite:
      return "the next numbers are beyond the range of the precision";
  }
  return "unknown";
}

Json resolved(const Options& o, Index n, Index d, std::size_t heads, std::size_t saved) {
  const auto text = [](const std::string& s) { return s.empty() ? Json(nullptr) : Json(s); };
  const auto number = [](const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); };
  return {{"tokens", text(o.tokens)},
          {"uniform_box", text(o.uniform_box)},
          {"gaussian", text(o.gaussian)},
          {"uniform_sphere", text(o.uniform_sphere)},
          {"seed", o.seed},
          {"n", n},
          {"d", d},
          {"heads", heads},
          {"query", text(o.query)},
          {"key", text(o.key)},
          {"value", text(o.value)},
          {"system", o.system},
          {"law", o.law},
          {"beta", o.beta},
          {"mask", o.mask},
          {"alibi", nullptr},
          {"stepper", o.system == "layers" ? Json(nullptr) : Json(o.stepper)},
          {"dt", number(o.dt)},
          {"rtol", number(o.rtol)},
          {"atol", number(o.atol)},
          {"t_end", o.t_end},
          {"save_every", number(o.save_every)},
          {"times", text(o.times)},
          {"saved_times", saved},
          {"attention", o.attention},
          {"precision", o.precision},
          {"threads", o.threads},
          {"out", o.out}};
}

// --- The page
// -----------------------------------------------------------------------------------------------

/// Collects what the page shows while the run goes on: at most so many numbers, and says what was left out.
template <class Scalar>
class PageBuilder {
 public:
  PageBuilder(const Options& o, const std::vector<double>& times, const Tokens<Scalar>& start,
              const attnflow::detail::Analyzer& analyzer)
      : analyzer_(analyzer), tokens_(start.cols()) {
    constexpr double most_numbers = 8e6;  // of positions: 43 MB as text
    constexpr double most_attention = 1e6;
    const auto d = static_cast<int>(start.rows());
    view_.dim = std::min(d, 3);
    const double room = most_numbers / view_.dim;
    shown_ = static_cast<Index>(std::min<double>(static_cast<double>(start.cols()), room / 25));
    const double frames =
        std::max(1.0, std::min(static_cast<double>(times.size()), room / static_cast<double>(shown_)));
    stride_ = static_cast<std::size_t>(std::ceil(static_cast<double>(times.size()) / frames));
    view_.tokens = shown_;
    const auto kept = static_cast<double>((times.size() + stride_ - 1) / stride_);
    with_attention_ = start.cols() == shown_ && kept * static_cast<double>(shown_ * shown_) <= most_attention;
    const char* letter = o.system == "rescaled" ? "z" : "x";
    const char* const subscripts[] = {"₁", "₂", "₃"};
    for (int c = 0; c < view_.dim; ++c) view_.axes.push_back(std::string(letter) + subscripts[c]);
    if (shown_ < start.cols())
      view_.note += "Shown are the first " + std::to_string(shown_) + " of " + std::to_string(start.cols()) +
                    " tokens. ";
    if (stride_ > 1) view_.note += "Every " + std::to_string(stride_) + "th saved time is shown. ";
    if (d > 3) view_.note += "Shown are the first three of " + std::to_string(d) + " coordinates. ";
  }

  void add(double t, const Tokens<Scalar>& x, const Tokens<Scalar>& inside, const Run<Scalar>& run) {
    if (count_++ % stride_ != 0) return;
    view_.times.push_back(t);
    for (Index j = 0; j < shown_; ++j)
      for (Index c = 0; c < view_.dim; ++c) view_.positions.push_back(static_cast<float>(x(c, j)));
    clusters_.push_back(x.cols() <= 1000 ? clusters_at(t, inside) : attnflow::required);
    if (!with_attention_) return;
    const SquareMatrix<Scalar> P = run.attention(t, inside)[0];
    for (Index i = 0; i < shown_; ++i)
      for (Index j = 0; j < shown_; ++j) view_.attention.push_back(static_cast<float>(P(i, j)));
  }

  /// The page; labels and leaders are of all tokens.
  attnflow::View finish(const std::string& title, const attnflow::Clusters& clusters,
                        const std::vector<Index>& leaders, std::vector<attnflow::View::Parameter> parameters,
                        std::size_t heads) {
    view_.title = title;
    for (Index j = 0; j < shown_; ++j)
      view_.clusters.push_back(static_cast<int>(clusters.labels[static_cast<std::size_t>(j)]));
    for (const Index i : leaders)
      if (i < shown_) view_.leaders.push_back(i);
    if (tokens_ <= 1000) view_.series.push_back({"clusters", clusters_});
    view_.parameters = std::move(parameters);
    if (heads > 1 && with_attention_) view_.note += "The attention matrix is that of the first head. ";
    return std::move(view_);
  }

 private:
  attnflow::View view_;
  /// The number of clusters of the positions, as in the report.
  double clusters_at(double t, const Tokens<Scalar>& inside) {
    const Eigen::MatrixXd now = analyzer_.positions(t, inside.template cast<double>());
    if (clusters_.empty()) first_ = now;
    return static_cast<double>(
        attnflow::detect_clusters(now, analyzer_.tolerance_at(t, first_, now)).count());
  }

  const attnflow::detail::Analyzer& analyzer_;
  Index tokens_;
  Eigen::MatrixXd first_;  // positions at the first frame
  std::vector<double> clusters_;
  Index shown_ = 0;
  std::size_t stride_ = 1, count_ = 0;
  bool with_attention_ = false;
};

std::string compact(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

std::vector<attnflow::View::Parameter> parameters_of(const Options& o, Index n, Index d, std::size_t heads,
                                                     const attnflow::Report& report) {
  std::vector<attnflow::View::Parameter> rows{
      {"system", o.system}, {"n", std::to_string(n)}, {"d", std::to_string(d)}};
  if (heads > 1) rows.push_back({"heads", std::to_string(heads)});
  rows.push_back({"start", !o.tokens.empty()        ? fs::path(o.tokens).filename().string()
                           : !o.uniform_box.empty() ? "uniform box " + o.uniform_box
                           : !o.gaussian.empty()    ? "Gaussian " + o.gaussian
                                                    : "uniform sphere " + o.uniform_sphere});
  if (o.tokens.empty()) rows.push_back({"seed", std::to_string(o.seed)});
  for (const auto& [name, path] : {std::pair{"Q", o.query}, {"K", o.key}, {"V", o.value}})
    rows.push_back({name, path.empty() ? "identity" : fs::path(path).filename().string()});
  rows.push_back({"β", compact(o.beta)});
  if (o.system != "layers") rows.push_back({"stepper", o.stepper});
  if (o.dt) rows.push_back({"step", compact(*o.dt)});
  if (o.rtol) rows.push_back({"tolerance", compact(*o.rtol) + ", " + compact(*o.atol)});
  rows.push_back({"precision", o.precision});
  rows.push_back({"steps", std::to_string(report.steps)});
  rows.push_back({"ended", std::string(name_of(report.outcome)) + " at t = " + compact(report.t)});
  return rows;
}

// --- All of it
// ----------------------------------------------------------------------------------------------

/// \returns the exit status.
template <class Scalar>
int simulate(const Options& o) {
  const Tokens<double> given = read_start(o);
  const Index n = given.cols(), d = given.rows();
  const std::vector<Head<double>> heads = read_heads(o, d);
  if constexpr (std::is_same_v<Scalar, float>) {
    constexpr auto largest = static_cast<double>(std::numeric_limits<float>::max());
    if (given.cwiseAbs().maxCoeff() > largest)
      refuse("--precision: float, expected double: a token is beyond its range");
    for (const auto& h : heads)
      if (std::max({h.Q.cwiseAbs().maxCoeff(), h.K.cwiseAbs().maxCoeff(), h.V.cwiseAbs().maxCoeff()}) >
          largest)
        refuse("--precision: float, expected double: a weight is beyond its range");
  }
  const Tokens<Scalar> start = given.template cast<Scalar>();
  Tokens<Scalar> inside = start;
  const Run<Scalar> run = set_up(o, heads, inside);
  const Tokens<Scalar> inside_start = inside;
  if (o.attention) {
    const double bytes = static_cast<double>(run.times.size()) * static_cast<double>(heads.size()) *
                         static_cast<double>(n) * static_cast<double>(n) * sizeof(Scalar);
    if (bytes > 4e9)
      refuse("--attention: attention.npy would have ", bytes / 1e9,
             " GB, expected at most 4 (save fewer times, or leave it out)");
  }
  check_folder(o);
  make_folder(o);

  const fs::path folder = o.out;
  attnflow::NpyWriter<double> times_file(folder / "times.npy", {});
  attnflow::NpyWriter<Scalar> tokens_file(folder / "tokens.npy", {n, d});
  std::optional<attnflow::NpyWriter<Scalar>> attention_file;
  if (o.attention) {
    std::vector<Index> shape{n, n};
    if (heads.size() > 1) shape.insert(shape.begin(), static_cast<Index>(heads.size()));
    attention_file.emplace(folder / "attention.npy", shape);
  }
  const attnflow::detail::Analyzer analyzer(heads, analyze_options(o, run));
  PageBuilder<Scalar> page(o, run.times, start, analyzer);
  const auto save = [&](double t, const Tokens<Scalar>& state) {
    const Tokens<Scalar> x = run.shown(state);
    times_file.append(std::span(&t, 1));
    tokens_file.append(std::span(x.data(), static_cast<std::size_t>(x.size())));
    page.add(t, x, state, run);
    if (!attention_file) return;
    std::vector<Scalar> row_major;
    for (const auto& P : run.attention(t, state))
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) row_major.push_back(P(i, j));
    attention_file->append(row_major);
  };

  const auto began = std::chrono::steady_clock::now();
  std::optional<attnflow::Progress> progress;
  if (!o.quiet && isatty(STDERR_FILENO) != 0) progress.emplace(std::cerr, 0, o.t_end);
  const attnflow::Report report = run.go(inside, save, progress ? &*progress : nullptr);
  if (progress) progress->finish();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();

  std::vector<Eigen::MatrixXd> P;
  if (n <= attnflow::AnalyzeOptions{}.most_tokens)
    P = attnflow::detail::stochastic(run.attention(report.t, inside));
  const attnflow::Analysis analysis =
      analyzer.at(report.t, inside_start.template cast<double>(), inside.template cast<double>(),
                  static_cast<double>(std::numeric_limits<Scalar>::epsilon()), std::move(P));
  const attnflow::Finding& found = analysis.found;
  const Json document{{"program", "simulate"},
                      {"version", attnflow::version},
                      {"options", resolved(o, n, d, heads.size(), run.times.size())},
                      {"outcome", name_of(report.outcome)},
                      {"t", report.t},
                      {"steps", report.steps},
                      {"rejected", report.rejected},
                      {"evaluations", report.evaluations},
                      {"seconds", seconds},
                      {"prediction", json_of(analysis.prediction)},
                      {"found", json_of(analysis, n)}};
  const std::string title = "Self-attention dynamics, " + o.system + ": " + std::to_string(n) +
                            " tokens in dimension " + std::to_string(d);
  const attnflow::View view = page.finish(title, found.clusters, found.leaders,
                                          parameters_of(o, n, d, heads.size(), report), heads.size());

  times_file.finish();
  tokens_file.finish();
  if (attention_file)
    attention_file->finish();
  else
    fs::remove(folder / "attention.npy");
  attnflow::AtomicFile report_file(folder / "report.json");
  report_file.write(document.dump(2) + "\n");
  report_file.commit();
  attnflow::write_html(folder / "view.html", view);

  const bool whole = report.outcome == attnflow::Outcome::reached_end;
  if (!o.quiet) {
    std::cout << name_of(report.outcome) << " at t = " << report.t << " after " << report.steps << " steps; "
              << found.clusters.count() << " cluster(s)";
    if (!found.leaders.empty()) std::cout << ", " << found.leaders.size() << " leader(s)";
    if (found.rank) std::cout << ", rank of P " << found.rank->rank;
    std::cout << "\npredicted: " << analysis.prediction.reason;
    if (!analysis.prediction.reference.empty()) std::cout << " (" << analysis.prediction.reference << ")";
    if (analysis.distance_to_prediction) {
      std::cout << "\nfound: distance to the predicted " << attnflow::name_of(analysis.prediction.limit)
                << " " << *analysis.distance_to_prediction;
      if (analysis.conclusive)
        std::cout << (analysis.agrees() ? ", within the " : ", more than the ") << *analysis.expected_distance
                  << " expected by now";
      else
        std::cout << "; too early to tell";
    }
    std::cout << "\nwritten: " << (folder / "view.html").string() << '\n';
  }
  if (!whole)
    std::cerr << "simulate: ended early at t = " << report.t << " of " << o.t_end << " ("
              << name_of(report.outcome) << ": " << meaning_of(report.outcome)
              << "); what was computed is in " << o.out << '\n';
  return whole ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Options options = parse(argc, argv);
    check(options);
    return options.precision == "float" ? simulate<float>(options) : simulate<double>(options);
  } catch (const Mistake& mistake) {
    std::cerr << "simulate: " << attnflow::detail::printable(mistake.what(), false) << '\n';  // one line
    return 2;
  } catch (const std::bad_alloc&) {
    std::cerr << "simulate: not enough memory for a run of this size\n";
    return 2;
  } catch (const std::exception& error) {  // a file that could be created, but not written to its end
    std::cerr << "simulate: " << attnflow::detail::printable(error.what(), false) << '\n';
    return 2;
  }
}
