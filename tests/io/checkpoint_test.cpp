// Checkpoints: their file, every damage to it, and runs that go on from them to the same bits.
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/io/checkpoint.hpp>
#include <attnflow/observers/every_seconds.hpp>
#include <attnflow/observers/stop_on_signal.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>

#include "catch.hpp"
#include "folder.hpp"
#include "integrators/fields.hpp"
#include "refusal.hpp"

#include <bit>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#if __has_include(<sys/resource.h>)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

namespace fs = std::filesystem;
using attnflow::AdaptiveSteps;
using attnflow::Checkpoint;
using attnflow::DormandPrince5;
using attnflow::FileError;
using attnflow::FixedSteps;
using attnflow::Flow;
using attnflow::integrate;
using attnflow::OnSphere;
using attnflow::Outcome;
using attnflow::StepView;
using Catch::Matchers::ContainsSubstring;

constexpr double infinity = std::numeric_limits<double>::infinity();

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

Checkpoint parse(const std::string& text) { return attnflow::parse_checkpoint(bytes_of(text), "file"); }

/// What reading says of the bytes, or a remark that it says nothing.
std::string complaint(const std::string& text) {
  try {
    static_cast<void>(parse(text));
  } catch (const FileError& error) {
    return error.what();
  }
  return "nothing is wrong";
}

void put(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string saved(const Checkpoint& c) {
  const Folder folder;
  save_checkpoint(folder / "c", c);
  return get(folder / "c");
}

// --- The layout a second time, number by number and bit by bit ---------------------------------------------

std::string number(std::uint64_t value) {
  std::string text;
  for (int k = 0; k < 8; ++k) text += static_cast<char>((value >> (8 * k)) & 255U);
  return text;
}
std::string number(double value) { return number(std::bit_cast<std::uint64_t>(value)); }
std::string text(const std::string& value) { return number(std::uint64_t{value.size()}) + value; }

/// CRC-64 of xz by the definition: a division of polynomials, bit after bit.
std::uint64_t checksum(const std::string& bytes) {
  std::uint64_t crc = ~std::uint64_t{0};
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? (crc >> 1) ^ 0xc96c5795d7870f42 : crc >> 1;
  }
  return ~crc;
}

/// A file with this content and a header that fits.
std::string sealed(const std::string& content) {
  return std::string(
             "\x89"
             "AFCK\r\n\x1a",
             8) +
         number(std::uint64_t{1}) + number(std::uint64_t{32 + content.size()}) + number(checksum(content)) +
         content;
}

/// The content of a checkpoint, part by part, for tests to spoil one.
struct Parts {
  std::string names = text("program") + text("1.2") + text("a build") + text("avx2");
  std::string t = number(0.5);
  std::vector<std::uint64_t> counts{7, 2, 50, 1};
  std::string seconds = number(2.5), memory = number(0.25) + number(1e-4) + number(std::uint64_t{1});
  std::string options = number(std::uint64_t{2}) + text("beta") + text("2") + text("note") + text("a\nb");
  std::string arrays = number(std::uint64_t{1}) + text("x") + number(std::uint64_t{4}) +
                       number(std::uint64_t{2}) + number(std::uint64_t{1}) + number(std::uint64_t{2}) +
                       std::string("\0\0\x80?\0\0\0\xc0", 8);  // 1 and −2
  [[nodiscard]] std::string file() const {
    std::string content = names + t;
    for (const std::uint64_t count : counts) content += number(count);
    return sealed(content + seconds + memory + options + arrays);
  }
};

Checkpoint small() {
  Checkpoint c;
  c.program = "program";
  c.version = "1.2";
  c.build = "a build";
  c.simd = "avx2";
  c.t = 0.5;
  c.steps = 7;
  c.rejected = 2;
  c.evaluations = 50;
  c.evaluations_again = 1;
  c.seconds = 2.5;
  c.next_step = 0.25;
  c.after_rejection = true;
  c.options = {{"beta", "2"}, {"note", "a\nb"}};
  c.set("x", attnflow::Tokens<float>(Eigen::MatrixXf{{1}, {-2}}));
  return c;
}

}  // namespace

TEST_CASE("a checkpoint's bytes are those of the layout", "[checkpoint]") {
  CHECK(checksum("123456789") == 0x995dc9bbdf1939fa);  // as published
  attnflow::detail::Crc64 crc;
  crc.add("123456789");
  CHECK(crc.value() == 0x995dc9bbdf1939fa);
  CHECK(saved(small()) == Parts{}.file());
  CHECK(parse(Parts{}.file()) == small());
  for (const std::size_t size :
       {0U, 1U, 7U, 8U, 9U, 15U, 16U, 1000U}) {  // whole words and what is left of them
    std::string bytes;
    for (std::size_t k = 0; k < size; ++k) bytes += static_cast<char>(k * k + 3 * k);
    attnflow::detail::Crc64 whole, parts;
    whole.add(bytes);
    parts.add(std::string_view(bytes).substr(0, size / 3));
    parts.add(std::string_view(bytes).substr(size / 3));
    CHECK(whole.value() == checksum(bytes));
    CHECK(parts.value() == checksum(bytes));
  }
}

TEST_CASE("what is saved is loaded, to the last bit", "[checkpoint]") {
  const Folder folder;
  const fs::path path = folder / "c";
  const auto check = [&](const Checkpoint& c) {
    save_checkpoint(path, c);
    CHECK(attnflow::load_checkpoint(path) == c);
    CHECK(parse(get(path)) == c);
  };
  check({});
  check(small());
  Checkpoint c = attnflow::new_checkpoint("a program", "3");
  CHECK(c.simd == attnflow::name_of(attnflow::simd_level()));
  CHECK_THAT(c.build, ContainsSubstring("attnflow " + std::string(attnflow::version)));
  c.steps = std::numeric_limits<long>::max();
  c.options = {{"", std::string("\0\xff", 2)}, {"path", "with = and \\"}};
  c.set("none", attnflow::Tokens<double>(3, 0));
  c.set("plane", attnflow::Tokens<double, 2>(Eigen::Matrix<double, 2, 3>{{1, 2, 3}, {-0.0, 1e-310, 1e300}}));
  c.array("number").values = std::vector<double>{4};  // no axes: one number
  c.array("cube") = {{2, 1, 2}, std::vector<float>{1, 2, 3, 4}};
  check(c);
  CHECK(c.find("plane")->shape == std::vector<Eigen::Index>{3, 2});
  CHECK(std::signbit(std::get<0>(parse(saved(c)).find("plane")->values)[1]));
  CHECK(c.tokens<double, 2>("plane")(0, 1) == 2);

  c.set("plane", attnflow::Tokens<double>(Eigen::MatrixXd{{std::nan("")}, {-infinity}}));
  save_checkpoint(path, c);
  const auto loaded = attnflow::load_checkpoint(path).tokens<double>("plane");
  CHECK(std::isnan(loaded(0, 0)));
  CHECK(loaded(1, 0) == -infinity);

  CHECK(small().option("beta") == "2");
  CHECK_FALSE(small().option("gamma"));
  CHECK(small().find("y") == nullptr);
  CHECK_THAT(refusal([] { static_cast<void>(small().tokens<float>("y")); }),
             ContainsSubstring("no array is called y"));
  CHECK_THAT(refusal([] { static_cast<void>(small().tokens<double>("x")); }),
             ContainsSubstring("expected double"));
  CHECK_THAT(refusal([] { static_cast<void>(small().tokens<float, 3>("x")); }),
             ContainsSubstring("shape (n, d)"));
  CHECK_THAT(refusal([&] { static_cast<void>(c.tokens<float>("cube")); }), ContainsSubstring("3 axes"));
}

TEST_CASE("any damage to a checkpoint is noticed and named", "[checkpoint]") {
  const std::string good = saved(small());
  const auto noticed = [](const std::string& bytes) {
    const std::string what = complaint(bytes);
    return what.rfind("file: ", 0) == 0 && what.find('\n') == std::string::npos;
  };
  long unnoticed = 0;
  for (std::size_t k = 0; k < good.size(); ++k)
    for (int flip = 1; flip < 256; ++flip) {
      std::string bad = good;
      bad[k] = static_cast<char>(bad[k] ^ flip);
      unnoticed += noticed(bad) ? 0 : 1;
    }
  for (std::size_t size = 0; size < good.size(); ++size) unnoticed += noticed(good.substr(0, size)) ? 0 : 1;
  for (std::size_t k = 0; k + 8 <= good.size(); ++k) {  // a byte moved, and eight set to zero
    std::string bad = good;
    std::rotate(bad.begin() + static_cast<std::ptrdiff_t>(k),
                bad.begin() + static_cast<std::ptrdiff_t>(k) + 1, bad.end());
    unnoticed += bad == good || noticed(bad) ? 0 : 1;
    bad = good;
    bad.replace(k, 8, 8, '\0');
    unnoticed += bad == good || noticed(bad) ? 0 : 1;
  }
  CHECK(unnoticed == 0);

  CHECK_THAT(complaint(""), ContainsSubstring("has 0 bytes, too few for a checkpoint"));
  CHECK_THAT(complaint(good.substr(0, 20)),
             ContainsSubstring("has 20 bytes, too few for a checkpoint: cut short"));
  CHECK_THAT(complaint("\x93NUMPY, or another file altogether, and long"),
             ContainsSubstring("is not a checkpoint: it starts with '\\x93NUMPY, '"));
  CHECK_THAT(complaint(good.substr(0, 100)), ContainsSubstring("has 100 bytes, expected 266: cut short"));
  CHECK_THAT(complaint(good + "x"),
             ContainsSubstring("has 267 bytes, expected 266: damaged, or bytes too many"));
  std::string other = good;
  other[8] = 2;
  CHECK_THAT(complaint(other), ContainsSubstring("of format version 2, expected 1"));
  other = good;
  other[100] = static_cast<char>(other[100] ^ 4);
  CHECK_THAT(complaint(other), ContainsSubstring("is damaged: its checksum is wrong"));
}

TEST_CASE("a checkpoint that no program wrote is refused, whatever its checksum", "[checkpoint]") {
  const auto spoilt = [](const std::function<void(Parts&)>& spoil) {
    Parts parts;
    spoil(parts);
    return complaint(parts.file());
  };
  const std::uint64_t most = ~std::uint64_t{0};
  CHECK_THAT(complaint(sealed("")), ContainsSubstring("ends inside the program's name"));
  CHECK_THAT(spoilt([&](Parts& p) { p.names = number(most) + "abc"; }),
             ContainsSubstring("ends inside the program's name"));
  CHECK_THAT(spoilt([](Parts& p) { p.t = number(std::nan("")); }),
             ContainsSubstring("a time that is not finite"));
  for (std::size_t k = 0; k < 4; ++k)
    CHECK_THAT(spoilt([&](Parts& p) { p.counts[k] = most; }), ContainsSubstring("has -1 "));
  CHECK_THAT(spoilt([](Parts& p) { p.counts[3] = 51; }),
             ContainsSubstring("more evaluations to repeat than were made"));
  CHECK_THAT(spoilt([](Parts& p) { p.seconds = number(-1.0); }), ContainsSubstring("has a duration"));
  for (const auto& memory : {number(-1.0) + number(1.0) + number(std::uint64_t{0}),
                             number(1.0) + number(0.0) + number(std::uint64_t{0}),
                             number(1.0) + number(infinity) + number(std::uint64_t{0}),
                             number(1.0) + number(1.0) + number(std::uint64_t{2})})
    CHECK_THAT(spoilt([&](Parts& p) { p.memory = memory; }), ContainsSubstring("has a stepper's memory"));
  for (const std::uint64_t count : {std::uint64_t{3}, most})
    CHECK(spoilt([&](Parts& p) { p.options.replace(0, 8, number(count)); }) != "nothing is wrong");
  CHECK_THAT(spoilt([](Parts& p) {
               p.options = number(std::uint64_t{2}) + text("a") + text("") + text("a") + text("");
             }),
             ContainsSubstring("two options of one name"));

  const auto array = [&](std::uint64_t element, const std::vector<std::uint64_t>& shape,
                         const std::string& elements) {
    std::string all =
        number(std::uint64_t{1}) + text("x") + number(element) + number(std::uint64_t{shape.size()});
    for (const std::uint64_t size : shape) all += number(size);
    return spoilt([&](Parts& p) { p.arrays = all + elements; });
  };
  CHECK(array(8, {1}, number(1.0)) == "nothing is wrong");
  CHECK(array(8, {7, 0, 3}, "") == "nothing is wrong");
  CHECK_THAT(array(2, {1}, "ab"), ContainsSubstring("neither float nor double"));
  CHECK_THAT(array(8, {2}, number(1.0)), ContainsSubstring("ends inside the elements of an array"));
  CHECK_THAT(array(8, {1}, number(1.0) + "x"), ContainsSubstring("has bytes after its last array"));
  CHECK_THAT(array(8, {most}, ""), ContainsSubstring("shape this machine cannot hold"));
  // 2⁶¹ doubles, 2³² times 2³²: no product may wrap around to what is there.
  CHECK_THAT(array(8, {std::uint64_t{1} << 61}, ""), ContainsSubstring("shape this machine cannot hold"));
  CHECK_THAT(array(8, {std::uint64_t{1} << 32, std::uint64_t{1} << 32}, ""),
             ContainsSubstring("cannot hold"));
  CHECK_THAT(array(4, {std::uint64_t{1} << 40}, ""),
             ContainsSubstring("ends inside the elements of an array"));
  CHECK_THAT(spoilt([&](Parts& p) {
               p.arrays = number(std::uint64_t{1}) + text("x") + number(std::uint64_t{4}) + number(most);
             }),
             ContainsSubstring("ends inside the shape of an array"));
  const std::string empty =
      text("x") + number(std::uint64_t{8}) + number(std::uint64_t{1}) + number(std::uint64_t{0});
  CHECK_THAT(spoilt([&](Parts& p) { p.arrays = number(std::uint64_t{2}) + empty + empty; }),
             ContainsSubstring("two arrays of one name"));

  // Nor is one written.
  const Folder folder;
  const auto unsaved = [&](const std::function<void(Checkpoint&)>& spoil) {
    Checkpoint c = small();
    spoil(c);
    return refusal([&] { save_checkpoint(folder / "c", c); });
  };
  CHECK_THAT(unsaved([](Checkpoint& c) { c.t = std::nan(""); }),
             ContainsSubstring("save_checkpoint: the checkpoint has a time"));
  CHECK_THAT(unsaved([](Checkpoint& c) { c.steps = -1; }), ContainsSubstring("has -1 steps"));
  CHECK_THAT(unsaved([](Checkpoint& c) { c.array("x").shape[0] = 2; }),
             ContainsSubstring("the array 'x' whose shape"));
  CHECK_THAT(unsaved([](Checkpoint& c) { c.options.emplace_back("beta", "3"); }),
             ContainsSubstring("two options"));
  CHECK(folder.files() == 0);
}

TEST_CASE("a file that is no checkpoint is refused at once", "[checkpoint]") {
  const Folder folder;
  const auto load = [&](const char* name) { return attnflow::load_checkpoint(folder / name); };
  CHECK_THROWS_WITH(load("none"), (folder / "none").string() + ": cannot be read: no such file");
  fs::create_directory(folder / "folder");
  CHECK_THROWS_WITH(load("folder"), ContainsSubstring("not a regular file"));
  put(folder / "large", "anything");
  fs::resize_file(folder / "large", std::uintmax_t{1} << 42);  // 4 TB with nothing in them: not to be read
  CHECK_THROWS_WITH(load("large"), ContainsSubstring("is not a checkpoint"));
  put(folder / "like", Parts{}.file());
  fs::resize_file(folder / "like", std::uintmax_t{1} << 42);
  CHECK_THROWS_WITH(load("like"), ContainsSubstring("expected 266: damaged, or bytes too many"));
  CHECK_THROWS_AS(save_checkpoint(folder.path / "no" / "c", small()), FileError);
}

#if __has_include(<sys/resource.h>)
TEST_CASE("a checkpoint that finds no room leaves the one before whole", "[checkpoint]") {
  const Folder folder;
  save_checkpoint(folder / "c", small());
  Checkpoint large = small();
  large.set("large", attnflow::Tokens<double>(100, 1000));
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit few = before;
  few.rlim_cur = 10000;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &few) == 0);
  std::string said;
  try {
    save_checkpoint(folder / "c", large);
  } catch (const FileError& error) {
    said = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK_THAT(said, ContainsSubstring("c: cannot be written: File too large"));
  CHECK(attnflow::load_checkpoint(folder / "c") == small());
  CHECK(folder.files() == 1);
}
#endif

TEST_CASE("a checkpoint of another program, build or level is refused by name", "[checkpoint]") {
  const Checkpoint good = attnflow::new_checkpoint("walk", "1.0");
  const auto said = [&](const std::function<void(Checkpoint&)>& change) {
    Checkpoint c = good;
    change(c);
    try {
      require_same_program(c, "walk", "1.0", "file");
    } catch (const FileError& error) {
      return std::string(error.what());
    }
    return std::string("nothing is wrong");
  };
  CHECK(said([](Checkpoint&) {}) == "nothing is wrong");
  CHECK(said([](Checkpoint& c) { c.program = "run"; }) == "file: was written by run, expected walk");
  CHECK(said([](Checkpoint& c) { c.version = "0.9"; }) == "file: was written by walk 0.9, expected walk 1.0");
  CHECK_THAT(said([](Checkpoint& c) { c.build = "hand"; }),
             ContainsSubstring("file: was written by walk built by hand, expected walk built by attnflow "));
  CHECK_THAT(
      said([](Checkpoint& c) { c.simd = "mmx"; }),
      ContainsSubstring("computed with mmx instructions, which this processor or compiler does not have"));
  for (const attnflow::SimdLevel level : attnflow::simd_levels)
    if (attnflow::has_simd_level(level) && level != attnflow::simd_level())
      CHECK_THAT(said([&](Checkpoint& c) { c.simd = attnflow::name_of(level); }),
                 ContainsSubstring("this program runs with " + good.simd + ": ATTNFLOW_SIMD"));
}

// --- Runs that go on ---------------------------------------------------------------------------------------

namespace {

/// Stops a run after each of its steps in turn, saves, loads, and goes on with nothing but the file.
template <class Stepper, class Field, class Plan>
void check_resumed(const Field& field, const typename Field::State& start, const Plan& plan) {
  using State = typename Field::State;
  using Scalar = typename State::Scalar;
  const std::vector<double> times = attnflow::equal_times(plan.from, plan.to, 8);
  State x = start;
  Stepper stepper;
  attnflow::Trajectory<State> rows(times);
  const auto whole = integrate(field, stepper, x, plan, rows);
  REQUIRE(whole.outcome == Outcome::reached_end);
  REQUIRE(whole.steps > 8);
  const Folder folder;
  for (long k = 0; k <= whole.steps; ++k) {
    INFO("stopped after step " << k);
    attnflow::Trajectory<State> first_rows(times);
    {
      State y = start;
      Stepper another;
      const auto look = [&](const StepView<State>& step) {
        const long evaluations = step.report().evaluations;
        first_rows(step);
        if (step.report().steps < k) return Flow::proceed;
        Checkpoint c = attnflow::new_checkpoint("test", "1");
        c.t = step.t1();
        c.steps = step.report().steps;
        c.evaluations = step.report().evaluations;
        const bool known =
            attnflow::AdaptiveStepperFor<Stepper, Field> || step.report().evaluations > evaluations;
        c.evaluations_again = c.steps > 0 && known ? 1 : 0;
        c.remember(another);
        c.set("state", step.state());
        save_checkpoint(folder / "c", c);
        return Flow::stop;
      };
      REQUIRE(integrate(field, another, y, plan, look).steps == k);
    }
    const Checkpoint c = attnflow::load_checkpoint(folder / "c");
    Plan rest = plan;
    if constexpr (std::is_same_v<Plan, FixedSteps>)
      rest.first = c.steps;
    else
      rest.from = c.t;
    Stepper resumed;
    c.restore(resumed);
    State y = c.tokens<Scalar, State::RowsAtCompileTime>("state");
    attnflow::Trajectory<State> last_rows(
        {times.begin() + static_cast<std::ptrdiff_t>(first_rows.size()), times.end()});
    const auto report = integrate(field, resumed, y, rest, last_rows);
    CHECK(report.outcome == Outcome::reached_end);
    CHECK(report.t == whole.t);
    CHECK(c.steps + report.steps == whole.steps);
    if (report.evaluations > 0)
      CHECK(c.evaluations - c.evaluations_again + report.evaluations == whole.evaluations);
    CHECK(same_bits(x, y));
    REQUIRE(first_rows.size() + last_rows.size() == rows.size());
    bool same = true;
    for (std::size_t row = 0; row < rows.size(); ++row)
      same = same && same_bits(rows.states()[row], row < first_rows.size()
                                                       ? first_rows.states()[row]
                                                       : last_rows.states()[row - first_rows.size()]);
    CHECK(same);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a run resumed from a file after any step has the bits of one never stopped",
                   "[checkpoint]", double, float) {
  using Scalar = TestType;
  using State = attnflow::Tokens<Scalar, 3>;
  using DP5 = DormandPrince5<State>;
  const AdaptiveSteps adaptive{
      .from = 0.1, .to = 3, .rtol = std::is_same_v<Scalar, float> ? 1e-5 : 1e-6, .atol = 1e-7};
  // No step of it is a binary number: times that are summed are others than those multiplied.
  const FixedSteps fixed{.from = 0.1, .to = 2.37, .step = 0.1};
  SECTION("z") {
    const auto field = twisted_attention<Scalar>();
    const State start = small_tokens<Scalar>();
    check_resumed<attnflow::Euler<State>>(field, start, fixed);
    check_resumed<attnflow::RungeKutta4<State>>(field, start, fixed);
    check_resumed<DP5>(field, start, fixed);
    check_resumed<DP5>(field, start, adaptive);
  }
  SECTION("on the sphere") {
    const attnflow::SphereDynamics<Scalar, 3> field(attnflow::Head<Scalar, 3>::identity());
    State start = small_tokens<Scalar>();
    attnflow::sphere::normalize(start);
    check_resumed<OnSphere<attnflow::RungeKutta4<State>>>(field, start, fixed);
    check_resumed<OnSphere<DP5>>(field, start, adaptive);
  }
}

TEST_CASE("equal steps resume where so many have been made, and nowhere else", "[checkpoint]") {
  const auto first = [](long k, double to = 1) {
    return refusal([=] { FixedSteps{.from = 0, .to = to, .step = 0.3, .first = k}.validate(); });
  };
  for (const long k : {0L, 1L, 3L, 4L}) CHECK(first(k) == "nothing was refused");  // the fourth is shortened
  for (const long k : {-1L, 5L, std::numeric_limits<long>::max()})
    CHECK_THAT(first(k), ContainsSubstring("FixedSteps::first is "));
  CHECK(first(3, 0.9) == "nothing was refused");  // 3 · 0.3 is more than 0.9 in double: the end
  CHECK_THAT(first(4, 0.9), ContainsSubstring("FixedSteps::first is 4"));
  CHECK_THAT(first(1, 0), ContainsSubstring("FixedSteps::first is 1"));

  std::vector<std::pair<double, double>> seen;
  Decay::State x = Decay::State::Constant(1, 1, 1);
  const auto look = [&](const StepView<Decay::State>& step) { seen.emplace_back(step.t0(), step.t1()); };
  auto report =
      integrate(Decay{}, attnflow::Euler<Decay::State>{}, x, {.to = 1, .step = 0.3, .first = 2}, look);
  CHECK(report.steps == 2);
  CHECK(seen == std::vector<std::pair<double, double>>{{0.6, 0.6}, {0.6, 3 * 0.3}, {3 * 0.3, 1}});
  report = integrate(Decay{}, attnflow::Euler<Decay::State>{}, x, {.to = 1, .step = 0.3, .first = 4});
  CHECK(report.steps == 0);
  CHECK(report.t == 1);
}

TEST_CASE("by the clock: every step, or the start alone, and never another bit", "[checkpoint]") {
  using State = Decay::State;
  const auto steps_shown = [](double interval) {
    std::vector<long> shown;
    auto look = attnflow::every_seconds<State>(
        interval, [&](const StepView<State>& step) { shown.push_back(step.report().steps); });
    State x = State::Constant(2, 2, 1), y = x;
    REQUIRE(integrate(Decay{}, DormandPrince5<State>{}, x, {.to = 3}, look).outcome == Outcome::reached_end);
    REQUIRE(integrate(Decay{}, DormandPrince5<State>{}, y, {.to = 3}).steps > 5);
    CHECK(same_bits(x, y));
    return shown;
  };
  const std::vector<long> all = steps_shown(0);
  for (std::size_t k = 0; k < all.size(); ++k) CHECK(all[k] == static_cast<long>(k));
  CHECK(all.size() > 6);
  CHECK(steps_shown(1e9) == std::vector<long>{0});
  const auto none = [](double, const State&) {};
  for (const double wrong : {-1.0, std::nan(""), infinity})
    CHECK_THAT(refusal([&] { static_cast<void>(attnflow::every_seconds<State>(wrong, none)); }),
               ContainsSubstring("every_seconds: interval is "));
  // The interval is counted from the end of a call, and an answer is passed on.
  auto stop = attnflow::every_seconds<State>(
      0, [](double t, const State&) { return t > 1 ? Flow::stop : Flow::proceed; });
  State x = State::Constant(1, 1, 1);
  CHECK(integrate(Decay{}, attnflow::Euler<State>{}, x, {.to = 3, .step = 0.25}, stop).t == 1.25);
}

TEST_CASE("a signal ends a run at the end of the step it comes in", "[checkpoint]") {
  using State = Decay::State;
  const auto before = std::signal(SIGTERM, SIG_DFL), interrupt = std::signal(SIGINT, SIG_DFL);
  const auto run = [](int signal, double at) {
    attnflow::StopOnSignal stop;
    CHECK(stop.signal() == 0);  // one that ended another run does not end this one
    State x = State::Constant(1, 1, 1);
    const auto look = [&](double t, const State& y) {
      if (t == at) std::raise(signal);
      return stop(t, y);
    };
    const auto report = integrate(Decay{}, attnflow::Euler<State>{}, x, {.to = 3, .step = 0.25}, look);
    CHECK(stop.signal() == (at <= 3 ? signal : 0));
    return report;
  };
  for (const int signal : {SIGINT, SIGTERM}) {
    CHECK(run(signal, 1).t == 1);
    CHECK(run(signal, 1).outcome == Outcome::stopped_by_observer);
    CHECK(run(signal, 0).steps == 0);
  }
  CHECK(run(SIGINT, 9).outcome == Outcome::reached_end);
  {
    const attnflow::StopOnSignal outer;
    { const attnflow::StopOnSignal inner; }
    std::raise(SIGTERM);  // still watched for
    CHECK(outer.signal() == SIGTERM);
  }
  CHECK(std::signal(SIGTERM, SIG_IGN) == SIG_DFL);  // put back
  {
    const attnflow::StopOnSignal stop;
    std::raise(SIGTERM);
    CHECK(stop.signal() == 0);  // what is ignored stays ignored,
    std::raise(SIGINT);
    CHECK(stop.signal() == SIGINT);
    std::raise(SIGTERM);  // after the first signal, too
  }
  CHECK(std::signal(SIGTERM, before) == SIG_IGN);  // which is what it found
  CHECK(std::signal(SIGINT, interrupt) == SIG_DFL);
}

#if __has_include(<sys/wait.h>)
TEST_CASE("a second signal ends the program at once", "[checkpoint]") {
  for (const int second : {SIGINT, SIGTERM}) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      std::signal(SIGINT, SIG_DFL);
      std::signal(SIGTERM, SIG_DFL);
      const attnflow::StopOnSignal stop;
      std::raise(SIGTERM);
      if (stop.signal() == SIGTERM) std::raise(second);
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == second);
  }
}
#endif
