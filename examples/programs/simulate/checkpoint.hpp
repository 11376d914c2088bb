// A run in a checkpoint: its options as texts; what it starts from, where it is and the rows it has saved as arrays.
// Resumed, it needs no file but this one.
#pragma once

#include "programs/simulate/inputs.hpp"
#include "programs/system.hpp"

#include <attnflow/geometry/sphere.hpp>
#include <attnflow/integrators/plan.hpp>
#include <attnflow/io/checkpoint.hpp>

#include <charconv>
#include <chrono>
#include <filesystem>
#include <iomanip>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <type_traits>
#include <variant>

namespace simulation {

namespace fs = std::filesystem;
using attnflow::Checkpoint;

inline constexpr const char* program_name = "simulate";

/// One spelling for each path, whatever the working directory.
inline fs::path absolute(const std::string& path) {
  const fs::path whole = fs::absolute(path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

// --- To a checkpoint ---------------------------------------------------------------------------------------

/// Where the files go: `out` as it was given, `folder` from anywhere.
inline void keep_folder(const Options& o, Checkpoint& c) {
  std::erase_if(c.options,
                [](const auto& option) { return option.first == "out" || option.first == "folder"; });
  c.options.emplace_back("out", o.out);
  c.options.emplace_back("folder", absolute(o.out).string());
}

/// A name that no other run has: 16 hexadecimal digits.
inline std::string new_run_name() {
  std::random_device random;
  std::ostringstream name;
  name << std::hex << std::setfill('0') << std::setw(8) << (random() & 0xffffffffU) << std::setw(8)
       << (random() & 0xffffffffU);
  return name.str();
}

/// What follows `start` in the line of the text that starts so; else empty.
inline std::string line_after(const std::string& text, const std::string& start) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.rfind(start, 0) == 0) return line.substr(start.size());
  return "";
}

/// The options that are set.
inline void keep_options(const Options& o, Checkpoint& c) {
  for_each_run_option(o, [&](const std::string& name, const auto& value) {
    using Value = std::decay_t<decltype(value)>;
    const auto put = [&](std::string text) { c.options.emplace_back(name, std::move(text)); };
    if (name == "stepper" && o.system == "layers") return;  // which have none
    if constexpr (std::is_same_v<Value, std::string>) {
      if (!value.empty()) put(value);
    } else if constexpr (std::is_same_v<Value, bool>) {
      if (value) put("yes");
    } else if constexpr (std::is_same_v<Value, std::optional<double>>) {
      if (value) put(exact(*value));
    } else if constexpr (std::is_same_v<Value, std::optional<int>>) {
      if (value) put(std::to_string(*value));
    } else if constexpr (std::is_same_v<Value, double>) {
      put(exact(value));
    } else {
      put(std::to_string(value));
    }
  });
  keep_folder(o, c);
}

inline void keep_problem(const Problem& p, Checkpoint& c) {
  c.set("start", p.start);
  const auto put = [&](const char* name, const auto& matrix_of) {
    const Eigen::MatrixXd& first = matrix_of(p.heads[0]);
    std::vector<double> values;
    for (const auto& head : p.heads)
      for (Index i = 0; i < first.rows(); ++i)
        for (Index j = 0; j < first.cols(); ++j) values.push_back(matrix_of(head)(i, j));
    c.array(name) = {{static_cast<Index>(p.heads.size()), first.rows(), first.cols()}, std::move(values)};
  };
  put("Q", [](const Head<double>& h) -> const Eigen::MatrixXd& { return h.Q; });
  put("K", [](const Head<double>& h) -> const Eigen::MatrixXd& { return h.K; });
  put("V", [](const Head<double>& h) -> const Eigen::MatrixXd& { return h.V; });
  c.array("times") = {{static_cast<Index>(p.times.size())}, p.times};
}

// --- From a checkpoint -------------------------------------------------------------------------------------

/// Loads what --resume names, and takes over its level of vector instructions unless ATTNFLOW_SIMD names one: to be
/// called before anything is computed.
inline Checkpoint load_resumed(const Options& o) {
  try {
    Checkpoint c = attnflow::load_checkpoint(o.resume);
    for (const attnflow::SimdLevel level : attnflow::simd_levels)
      if (attnflow::name_of(level) == c.simd && attnflow::has_simd_level(level))
        programs::set_default("ATTNFLOW_SIMD", c.simd);
    attnflow::require_same_program(c, program_name, attnflow::version, o.resume);
    return c;
  } catch (const attnflow::FileError& error) {
    refuse("--resume: ", error.what());
  }
}

/// Puts the options of the run beside those of the command line.
inline void take_options(const Checkpoint& c, Options& o) {
  std::size_t known = 3;  // out, folder and run
  for_each_run_option(o, [&](const std::string& name, auto& value) {
    using Value = std::decay_t<decltype(value)>;
    const std::optional<std::string> text = c.option(name);
    if (!text) return;
    ++known;
    if constexpr (std::is_same_v<Value, std::string>) {
      value = *text;
    } else if constexpr (std::is_same_v<Value, bool>) {
      value = *text == "yes";
    } else {
      bool is_number = false;
      if constexpr (std::is_same_v<Value, std::uint64_t> || std::is_same_v<Value, std::optional<int>>) {
        const char* const end = text->data() + text->size();
        std::conditional_t<std::is_same_v<Value, std::uint64_t>, std::uint64_t, int> number{};
        const auto [stopped, error] = std::from_chars(text->data(), end, number);
        is_number = error == std::errc{} && stopped == end;
        value = number;
      } else {  // libc++ has no from_chars for double
        char* stopped = nullptr;
        value = std::strtod(text->c_str(), &stopped);
        is_number = !text->empty() && stopped == text->c_str() + text->size();
      }
      if (!is_number) refuse("--", name, ": ", *text, ", expected a number");
    }
  });
  const auto out = c.option("out"), folder = c.option("folder");
  if (!out || !folder || !c.option("run") || c.options.size() != known)
    refuse("options that are not those of a run");
  if (o.out.empty()) o.out = absolute(*out) == *folder ? *out : *folder;
  if (o.checkpoint.empty()) o.checkpoint = o.resume;
}

/// The doubles of an array of so many axes, none of them empty, all of them finite.
inline const std::vector<double>& doubles(const Checkpoint& c, const char* name, std::size_t axes) {
  const attnflow::CheckpointArray* const array = c.find(name);
  const auto* const values = array != nullptr ? std::get_if<std::vector<double>>(&array->values) : nullptr;
  if (values == nullptr || values->empty() || array->shape.size() != axes ||
      !std::all_of(values->begin(), values->end(), [](double v) { return std::isfinite(v); }))
    refuse("no array ", name, " as a run has it");
  return *values;
}

/// What the run started from.
inline Problem problem_of(const Checkpoint& c, const Options& o) {
  Problem p;
  static_cast<void>(doubles(c, "start", 2));
  p.start = c.tokens<double>("start");
  require_unit_tokens(o, p.start);
  const Index d = p.start.rows();
  const std::vector<double>&Q = doubles(c, "Q", 3), &K = doubles(c, "K", 3), &V = doubles(c, "V", 3);
  const std::vector<Index> shape = c.find("Q")->shape;
  if (c.find("K")->shape != shape || shape[2] != d ||
      c.find("V")->shape != std::vector<Index>{shape[0], d, d} || (o.system == "rescaled" && shape[0] != 1))
    refuse("weights whose shapes do not fit");
  const auto matrix = [d](const std::vector<double>& values, Index which, Index rows) -> Eigen::MatrixXd {
    using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<const RowMajor>(values.data() + which * rows * d, rows, d);
  };
  for (Index h = 0; h < shape[0]; ++h)
    p.heads.push_back({matrix(Q, h, shape[1]), matrix(K, h, shape[1]), matrix(V, h, d)});
  p.times = doubles(c, "times", 1);
  for (std::size_t k = 0; k < p.times.size(); ++k)
    if (!(p.times[k] >= 0 && p.times[k] <= o.t_end && (k == 0 || p.times[k] > p.times[k - 1])))
      refuse("times that do not increase from 0 to the end");
  return p;
}

/// The layer whose output is shown at t.
inline long layer_at(double t, double step) { return static_cast<long>(std::floor(t / step + 1e-9)); }

/// Where the run is, as far as its files go: a row for each time up to there. Leaves the state in x.
/// \returns how many rows there are.
template <class Scalar>
std::size_t take_state(const Checkpoint& c, const Options& o, const Problem& p, Tokens<Scalar>& x) {
  const Index n = p.start.cols(), d = p.start.rows();
  const attnflow::CheckpointArray* const rows = c.find("rows");
  const auto* const values = rows != nullptr ? std::get_if<std::vector<Scalar>>(&rows->values) : nullptr;
  if (values == nullptr || rows->shape.size() != 3 || rows->shape[1] != n || rows->shape[2] != d ||
      !std::all_of(values->begin(), values->end(), [](Scalar v) { return std::isfinite(v); }))
    refuse("no array rows as a run has it");
  x = c.tokens<Scalar>("state");
  if (x.rows() != d || x.cols() != n || !x.allFinite()) refuse("a state that is not one of the run's");
  bool right_time = c.t >= 0 && c.t <= o.t_end;
  if (o.system == "layers")
    right_time = c.steps <= layer_at(o.t_end, *o.dt);
  else if (has_fixed_steps(o))
    right_time = attnflow::FixedSteps{.to = o.t_end, .step = *o.dt}.time_after(c.steps) == c.t;
  std::size_t reached = 0;
  for (const double t : p.times)
    reached += (o.system == "layers" ? layer_at(t, *o.dt) <= c.steps : t <= c.t) ? 1U : 0U;
  if (!right_time || static_cast<std::size_t>(rows->shape[0]) != reached)
    refuse("a time that does not fit its steps and rows");
  return reached;
}

// --- While a run goes on -----------------------------------------------------------------------------------

/// The checkpoint of a run that goes on, and its file. Without a file it only counts. Beside the run's own memory it
/// takes that of the rows saved.
template <class Scalar>
class Keeper {
 public:
  using State = Tokens<Scalar>;

  /// \param kept  of a new run, or the one that is resumed.
  Keeper(fs::path file, Checkpoint kept)
      : file_(std::move(file)),
        kept_(std::move(kept)),
        before_{
            .t = kept_.t, .steps = kept_.steps, .rejected = kept_.rejected, .evaluations = kept_.evaluations},
        again_(kept_.evaluations_again),
        seconds_(kept_.seconds) {}

  [[nodiscard]] bool active() const { return !file_.empty(); }
  [[nodiscard]] const fs::path& file() const { return file_; }
  /// Where the run stood when this was made: the time, and what had been made by then.
  [[nodiscard]] const attnflow::Report& before() const { return before_; }
  [[nodiscard]] const Checkpoint& kept() const { return kept_; }

  /// Of the whole run, given the part since then. What the part had to evaluate again counts once.
  [[nodiscard]] attnflow::Report whole(attnflow::Report part) const {
    part.evaluations += before_.evaluations - (part.evaluations > 0 ? again_ : 0);
    part.steps += before_.steps;
    part.rejected += before_.rejected;
    return part;
  }
  [[nodiscard]] double seconds() const {
    return seconds_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  }

  /// The clock starts here; so it does when this is made.
  void begin() { began_ = std::chrono::steady_clock::now(); }

  /// A state that has been saved.
  void add_row(const State& x) {
    if (!active()) return;
    attnflow::CheckpointArray& rows = kept_.array("rows");
    auto& values = std::get<std::vector<Scalar>>(rows.values);
    values.insert(values.end(), x.data(), x.data() + x.size());
    ++rows.shape[0];
  }
  [[nodiscard]] State row(Index k, Index n, Index d) const {
    const auto& values = std::get<std::vector<Scalar>>(kept_.find("rows")->values);
    return Eigen::Map<const State>(values.data() + k * n * d, d, n);
  }

  /// Writes the file. \param slope_known  the stepper has evaluated the slope at x, and loses it with this process.
  template <class Stepper>
  void save(const attnflow::Report& part, const State& x, bool slope_known, const Stepper& stepper) {
    const attnflow::Report all = whole(part);
    kept_.t = all.t;
    kept_.steps = all.steps;
    kept_.rejected = all.rejected;
    kept_.evaluations = all.evaluations;
    kept_.evaluations_again = part.evaluations > 0 ? (slope_known ? 1 : 0) : again_;
    kept_.seconds = seconds();
    kept_.remember(stepper);
    kept_.set("state", x);
    attnflow::save_checkpoint(file_, kept_);
  }

  /// The run needs it no more.
  void remove() const noexcept {
    std::error_code ignored;
    if (active()) fs::remove(file_, ignored);
  }

 private:
  fs::path file_;
  Checkpoint kept_;
  attnflow::Report before_;
  long again_;
  double seconds_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

/// The checkpoint that a new run begins with. \param run  its name.
template <class Scalar>
Checkpoint first_checkpoint(const Options& o, const Problem& p, const std::string& run) {
  Checkpoint c = attnflow::new_checkpoint(program_name, std::string(attnflow::version));
  keep_options(o, c);
  c.options.emplace_back("run", run);
  keep_problem(p, c);
  c.array("rows") = {{0, p.start.cols(), p.start.rows()}, std::vector<Scalar>{}};
  return c;
}

}  // namespace simulation
