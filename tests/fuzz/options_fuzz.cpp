// The command line of `simulate`, an argument a line: what is accepted is within its bounds and means the
// same when it is written out again; what is refused is a Mistake of one line.
#include "fuzz/fuzz.hpp"

#include "programs/simulate/inputs.hpp"
#include "programs/simulate/options.hpp"

#include <attnflow/io/atomic_file.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using simulation::Options;

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < 64) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    std::erase(lines.back(), '\0');  // no argument holds one
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::optional<Options> parsed(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "simulate");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  try {
    Options o = simulation::parse(static_cast<int>(argv.size()), argv.data());
    simulation::check(o);
    return o;
  } catch (const simulation::Mistake& mistake) {
    fuzz::require_refusal(attnflow::detail::printable(mistake.what(), false), "");
    return std::nullopt;
  }
}

/// The options as a command line that spells out all of them.
std::vector<std::string> spelled_out(const Options& o) {
  std::vector<std::string> arguments;
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) arguments.push_back(std::string(name) + "=" + value);
  };
  const auto number = [&](const char* name, const std::optional<double>& value) {
    if (value) text(name, simulation::exact(*value));
  };
  text("--tokens", o.tokens), text("--uniform-box", o.uniform_box), text("--gaussian", o.gaussian);
  text("--uniform-sphere", o.uniform_sphere), text("--query", o.query), text("--key", o.key),
      text("--value", o.value);
  text("--system", o.system), text("--law", o.law), text("--mask", o.mask), text("--precision", o.precision);
  if (o.system != "layers") text("--stepper", o.stepper);
  text("--times", o.times), text("--out", o.out), text("--seed", std::to_string(o.seed));
  text("--checkpoint", o.checkpoint), number("--checkpoint-every", o.checkpoint_every);
  number("--beta", o.beta), number("--t-end", o.t_end), number("--alibi", o.alibi), number("--dt", o.dt);
  number("--rtol", o.rtol), number("--atol", o.atol), number("--save-every", o.save_every);
  if (o.threads) text("--threads", std::to_string(*o.threads));
  if (o.attention) arguments.emplace_back("--attention");
  if (o.quiet) arguments.emplace_back("--quiet");
  if (o.force) arguments.emplace_back("--force");
  return arguments;
}

bool same(const Options& a, const Options& b) {
  return a.tokens == b.tokens && a.uniform_box == b.uniform_box && a.gaussian == b.gaussian &&
         a.uniform_sphere == b.uniform_sphere && a.query == b.query && a.key == b.key && a.value == b.value &&
         a.system == b.system && a.law == b.law && a.mask == b.mask && a.stepper == b.stepper &&
         a.precision == b.precision && a.times == b.times && a.out == b.out && a.seed == b.seed &&
         a.beta == b.beta && a.t_end == b.t_end && a.alibi == b.alibi && a.dt == b.dt && a.rtol == b.rtol &&
         a.atol == b.atol && a.save_every == b.save_every && a.threads == b.threads &&
         a.checkpoint == b.checkpoint && a.checkpoint_every == b.checkpoint_every && a.resume == b.resume &&
         a.attention == b.attention && a.quiet == b.quiet && a.force == b.force;
}

void check_bounds(const Options& o) {
  const auto positive = [](const std::optional<double>& value) {
    return !value || (std::isfinite(*value) && *value > 0);
  };
  fuzz::require(std::isfinite(o.t_end) && o.t_end >= 0, "t-end is a time");
  fuzz::require(std::isfinite(o.beta), "beta is finite");
  fuzz::require(!o.alibi || std::isfinite(*o.alibi), "the slope is finite");
  fuzz::require(positive(o.dt) && positive(o.save_every), "steps are positive");
  fuzz::require(o.dt.has_value() == simulation::has_fixed_steps(o), "a step where steps are fixed");
  fuzz::require(o.rtol.has_value() != simulation::has_fixed_steps(o), "a tolerance where they are not");
}

/// The lists N,D,… , read by themselves: whole numbers from 1 on, and the others finite.
void check_lists(const Options& o) {
  struct List {
    const char* option;
    const std::string& text;
    std::size_t count;
  };
  for (const auto& [option, text, count] : {List{"--uniform-box", o.uniform_box, 4},
                                            {"--gaussian", o.gaussian, 2},
                                            {"--uniform-sphere", o.uniform_sphere, 2}}) {
    if (text.empty()) continue;
    try {
      const std::vector<double> numbers = simulation::read_numbers(option, text, count, "the form");
      fuzz::require(numbers.size() == count, "as many numbers as asked for", text);
      std::string again;
      for (std::size_t k = 0; k < count; ++k) {
        fuzz::require(std::isfinite(numbers[k]), "numbers are finite", text);
        if (k < 2)
          fuzz::require(numbers[k] >= 1 && numbers[k] == std::floor(numbers[k]), "sizes are whole", text);
        again += (k == 0 ? "" : ",") + simulation::exact(numbers[k]);
      }
      fuzz::require(simulation::read_numbers(option, again, count, "the form") == numbers,
                    "the same when written again", text + " is " + again);
    } catch (const simulation::Mistake& mistake) {
      fuzz::require_refusal(attnflow::detail::printable(mistake.what(), false), option);
    }
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::string> arguments = lines_of({reinterpret_cast<const char*>(data), size});
  for (const std::string& argument : arguments)  // these print and exit
    if (argument.starts_with("-h") || argument.starts_with("--h") || argument.starts_with("--v")) return 0;
  const std::optional<Options> o = parsed(arguments);
  if (!o || !o->resume.empty()) return 0;  // the rest comes from the checkpoint
  check_bounds(*o);
  check_lists(*o);
  const std::optional<Options> again = parsed(spelled_out(*o));
  fuzz::require(again && same(*again, *o), "the same when spelled out");
  if (o->times.empty() && o->t_end / o->save_every.value_or(o->t_end) < 1e4) {
    const std::vector<double> times = simulation::read_times(*o);
    fuzz::require(
        !times.empty() && times.front() == 0 && times.back() <= o->t_end && std::ranges::is_sorted(times),
        "times to save at lie in the run");
  }
  return 0;
}
