// The command line: options, what each may be, and the one way in which a mistake is answered.
#pragma once

#include "programs/system.hpp"

#include <attnflow/integrators/plan.hpp>
#include <attnflow/parallel/threads.hpp>
#include <attnflow/simd/level.hpp>
#include <attnflow/version.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace simulation {

/// What the caller did wrong: one line, exit status 2, nothing written.
struct Mistake : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The shortest decimal that reads back as the value: 1.0000001 does not look like 1.
inline std::string exact(double value) {
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
  std::string system = "rescaled", law = "softmax", mask = "none";
  std::string stepper, precision = "double", times, out, checkpoint, resume;
  std::uint64_t seed = 0;
  double beta = 1, t_end = attnflow::required;
  std::optional<double> alibi, rope, within, dt, rtol, atol, save_every, checkpoint_every;
  std::optional<int> threads, law_k, frozen;
  bool attention = false, quiet = false, force = false;
};

/// Calls visit(name, value) for every option that decides what is computed: those a checkpoint keeps, and that
/// --resume does without.
template <class OptionsRef, class Visit>
void for_each_run_option(OptionsRef& o, const Visit& visit) {
  visit("tokens", o.tokens);
  visit("uniform-box", o.uniform_box);
  visit("gaussian", o.gaussian);
  visit("uniform-sphere", o.uniform_sphere);
  visit("seed", o.seed);
  visit("query", o.query);
  visit("key", o.key);
  visit("value", o.value);
  visit("system", o.system);
  visit("law", o.law);
  visit("law-k", o.law_k);
  visit("beta", o.beta);
  visit("mask", o.mask);
  visit("alibi", o.alibi);
  visit("rope", o.rope);
  visit("within", o.within);
  visit("frozen", o.frozen);
  visit("t-end", o.t_end);
  visit("stepper", o.stepper);
  visit("dt", o.dt);
  visit("rtol", o.rtol);
  visit("atol", o.atol);
  visit("precision", o.precision);
  visit("save-every", o.save_every);
  visit("times", o.times);
  visit("attention", o.attention);
}

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
inline Options parse(int argc, char** argv) {
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
  model->add_option(
      "--system", o.system,
      "rescaled: z = exp(-tV) x (default) | tokens: x | sphere: x of norm one | layers: residual "
      "layers");
  model->add_option(
      "--law", o.law,
      "softmax (default) | unnormalized: exp(score) / n | hardmax: the largest score alone | sinkhorn: "
      "doubly stochastic | sigmoid: 1 / (1 + exp(-score)) / n | linear: score / n | l2: softmax of "
      "-beta |Qx - Ky|^2 | relu, softplus: the function of the score, over the sum of the row | top-k: "
      "softmax "
      "of the K largest scores | sparsemax | entmax15");
  model->add_option("--law-k", o.law_k, "K of --law top-k")->check(require_number<int>);
  model->add_option("--beta", o.beta, "factor of the scores (default 1)")->check(require_number<double>);
  model->add_option("--mask", o.mask, "none (default) | causal: j <= i | strict-causal: j < i");
  model->add_option("--alibi", o.alibi, "slope L of a bias: scores fall by L |i - j|")
      ->check(require_number<double>);
  model->add_option("--rope", o.rope, "rotary positions: Qx and Kx turn by i BASE^(-2k / d_k) in plane k")
      ->check(require_number<double>);
  model->add_option("--within", o.within, "tokens attend to those at a distance of at most R")
      ->check(require_number<double>);
  model->add_option("--frozen", o.frozen, "the first N tokens act and do not move")
      ->check(require_number<int>);

  auto* run = group("Run");
  run->add_option("--t-end", o.t_end, "final time, from 0 (required)")->check(require_number<double>);
  run->add_option("--stepper", o.stepper, "dopri5 (default) | rk4 | euler");
  run->add_option("--dt", o.dt, "step of rk4 and euler; of a layer")->check(require_number<double>);
  run->add_option("--rtol", o.rtol, "relative tolerance of dopri5 (default 1e-9; float 1e-5)")
      ->check(require_number<double>);
  run->add_option("--atol", o.atol, "absolute tolerance of dopri5 (default 1e-11; float 1e-6)")
      ->check(require_number<double>);
  run->add_option("--precision", o.precision, "double (default) | float");
  run->add_option("--threads", o.threads,
                  "at most so many (default: one a processor); results do not depend on it")
      ->check(require_number<int>);

  auto* output = group("Output");
  output->add_option("--out", o.out, "folder, created if absent (required; with --resume: that of the run)");
  output->add_option("--save-every", o.save_every, "save at 0, DT, 2 DT, … (default: 101 equal times)")
      ->check(require_number<double>);
  output->add_option("--times", o.times, "file times.npy of increasing times in [0, t-end] to save at");
  output->add_flag("--attention", o.attention, "write the attention matrices, too");
  output->add_flag("--force", o.force, "replace the files of another run in the folder, and its checkpoint");
  output->add_flag("--quiet", o.quiet, "say nothing but errors");

  auto* stops = group("Long runs");
  stops->add_option("--checkpoint", o.checkpoint,
                    "file that is kept up to date while the run lasts, and from which it can be resumed");
  stops
      ->add_option("--checkpoint-every", o.checkpoint_every, "seconds in between (default 60; 0: every step)")
      ->check(require_number<double>);
  stops->add_option(
      "--resume", o.resume,
      "checkpoint file of a run that did not end: goes on to the same bits; takes --out, --checkpoint, "
      "--checkpoint-every, --threads, --force and --quiet beside it");

  if (const std::string mistake = programs::mistake_of_values(app, argc, argv); !mistake.empty())
    refuse(mistake);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    const int status = app.exit(success);
    std::exit(programs::said_all("simulate") ? status : 2);
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> extras = app.remaining(true);
    for (int k = 1; k < argc; ++k)  // the first of them
      if (std::find(extras.begin(), extras.end(), argv[k]) != extras.end())
        refuse(argv[k], argv[k][0] == '-' ? ": unknown option" : ": unexpected argument",
               ", expected an option that simulate --help lists");
    refuse("unexpected arguments, expected those that simulate --help lists");
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string text =
        error.what();  // "--out: 1 required TEXT missing", "--out: At Most 1 required but received 2"
    refuse(text.substr(0, text.find(':')), text.find("received") == text.npos
                                               ? ": without a value, expected one"
                                               : ": given more than once, expected once");
  } catch (const CLI::ParseError& error) {
    refuse(error.what());
  }
  if (o.resume.empty()) {
    for (const char* needed : {"--t-end", "--out"})
      if (app.count(needed) == 0)
        refuse(needed, ": not given, expected a value (simulate --help lists the options)");
  } else {
    for_each_run_option(o, [&](const char* name, const auto&) {
      if (app.count(std::string("--") + name) > 0)
        refuse("--", name, ": given beside --resume, expected to be absent: it comes from the checkpoint");
    });
  }
  if (o.checkpoint_every) {
    if (o.checkpoint.empty() && o.resume.empty())
      refuse("--checkpoint-every: ", *o.checkpoint_every, ", expected to be absent without --checkpoint");
    if (!(std::isfinite(*o.checkpoint_every) && *o.checkpoint_every >= 0))
      refuse("--checkpoint-every: ", *o.checkpoint_every, ", expected seconds, zero or more");
  }
  return o;
}

inline void require_one_of(const char* option, const std::string& value,
                           const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  std::string expected = known.front();
  for (std::size_t k = 1; k < known.size(); ++k)
    expected += (k + 1 == known.size() ? " or " : ", ") + known[k];
  refuse(option, ": ", value, ", expected ", expected);
}

inline void require_positive(const char* option, const std::optional<double>& value) {
  if (value && !(std::isfinite(*value) && *value > 0))
    refuse(option, ": ", *value, ", expected a positive number");
}

/// Whether the weights of a token sum to one.
inline bool rows_sum_to_one(const Options& o) {
  return o.law != "unnormalized" && o.law != "sigmoid" && o.law != "linear" && o.law != "relu" &&
         o.law != "softplus";
}

/// Whether attention is the papers': softmax of all scores as they are.
inline bool is_plain(const Options& o) {
  return o.law == "softmax" && o.mask == "none" && o.alibi.value_or(0) == 0 && !o.rope && !o.within;
}

inline bool has_fixed_steps(const Options& o) { return o.system == "layers" || o.stepper != "dopri5"; }

/// Checks what one option says by itself or about another; fills in defaults that depend on others.
inline void check(Options& o) {
  require_one_of("--system", o.system, {"rescaled", "tokens", "sphere", "layers"});
  require_one_of("--law", o.law,
                 {"softmax", "unnormalized", "hardmax", "sinkhorn", "sigmoid", "linear", "l2", "relu",
                  "softplus", "top-k", "sparsemax", "entmax15"});
  if (o.law == "top-k" && !o.law_k)
    refuse("--law-k: not given, expected a number of keys, at least 1, for --law top-k");
  if (o.law_k && o.law != "top-k")
    refuse("--law-k: ", *o.law_k, ", expected to be absent: it is for --law top-k");
  if (o.law_k && *o.law_k < 1) refuse("--law-k: ", *o.law_k, ", expected at least 1");
  require_one_of("--mask", o.mask, {"none", "causal", "strict-causal"});
  if (o.alibi && !std::isfinite(*o.alibi)) refuse("--alibi: ", *o.alibi, ", expected a finite number");
  for (const auto& [option, value] : {std::pair{"--rope", o.rope}, {"--within", o.within}}) {
    require_positive(option, value);
    if (!value) continue;
    if (o.system == "rescaled")
      refuse(option, ": ", *value,
             ", expected --system tokens, sphere or layers: it is not for rescaled tokens");
    if (o.law != "softmax" && o.law != "unnormalized")
      refuse("--law: ", o.law, ", expected softmax or unnormalized with ", option);
  }
  if (o.frozen && *o.frozen < 0) refuse("--frozen: ", *o.frozen, ", expected at least 0");
  if (o.rope && o.within) refuse("--within: ", *o.within, ", expected to be absent with --rope");
  if (o.rope && o.alibi) refuse("--alibi: ", *o.alibi, ", expected to be absent with --rope");
  if (o.system == "rescaled" && !rows_sum_to_one(o))
    refuse(
        "--law: ", o.law,
        ", expected softmax, hardmax, sinkhorn, l2, top-k, sparsemax or entmax15 for --system rescaled: rows "
        "must sum to one (use --system tokens)");
  if (o.law == "sinkhorn" && o.mask != "none")
    refuse("--mask: ", o.mask,
           ", expected none for --law sinkhorn: a triangular matrix whose rows and columns sum to one is the "
           "identity");
  if (o.system == "layers" && !o.stepper.empty())
    refuse("--stepper: ", o.stepper, ", expected to be absent: --system layers is a map, layer after layer");
  if (o.stepper.empty()) o.stepper = "dopri5";
  require_one_of("--stepper", o.stepper, {"dopri5", "rk4", "euler"});
  require_one_of("--precision", o.precision, {"double", "float"});
  if (!(std::isfinite(o.t_end) && o.t_end >= 0))
    refuse("--t-end: ", o.t_end, ", expected a finite time, at least 0");
  if (!std::isfinite(o.beta)) refuse("--beta: ", o.beta, ", expected a finite number");
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

/// Sets the number of threads, and reads the environment: ATTNFLOW_SIMD and ATTNFLOW_THREADS must make sense
/// even where they are not needed. \throws std::invalid_argument unless they do.
inline void set_up_processors(const Options& o) {
  if (o.threads && *o.threads < 1) refuse("--threads: ", *o.threads, ", expected at least 1");
  static_cast<void>(attnflow::simd_level());
  const int usable = attnflow::threads();
  attnflow::set_threads(o.threads.value_or(usable));
}

}  // namespace simulation
