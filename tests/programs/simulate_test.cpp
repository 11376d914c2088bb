// The program simulate from outside: what it computes against the formulas as double loops, what it writes,
// what it refuses and in which words, and how it ends when the numbers do.
#include "programs/simulate_run.hpp"

#include <attnflow/attention/graph.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/attention/positions/rotary.hpp>
#include <attnflow/parallel/threads.hpp>
#include <attnflow/simd/level.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/version.hpp>

#include <Eigen/Core>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <sstream>

namespace {

using namespace simulate_test;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;
using Eigen::MatrixXd;
using nlohmann::json;

const std::set<std::string> usual_files{"report.json", "times.npy", "tokens.npy", "view.html"};

// --- The formulas ------------------------------------------------------------------------------------------

struct TestHead {
  MatrixXd Q, K, V;
};

/// e^A: Taylor's series of A / 2^s, squared s times.
MatrixXd exponential(const MatrixXd& A) {
  int squarings = 0;
  double scale = 1;
  while (A.cwiseAbs().maxCoeff() * scale > 1.0 / 16) {
    scale /= 2;
    ++squarings;
  }
  MatrixXd term = MatrixXd::Identity(A.rows(), A.rows()), sum = term;
  for (int k = 1; k < 20; ++k) {
    term = MatrixXd(term * A) * (scale / k);
    sum += term;
  }
  for (int s = 0; s < squarings; ++s) sum = MatrixXd(sum * sum);
  return sum;
}

/// P of tokens x (d × n): row i is the softmax of β ⟨Q xᵢ, K xⱼ⟩ over j.
MatrixXd attention_of(const TestHead& head, double beta, const MatrixXd& x) {
  MatrixXd P(x.cols(), x.cols());
  for (Index i = 0; i < x.cols(); ++i) {
    for (Index j = 0; j < x.cols(); ++j) P(i, j) = beta * (head.Q * x.col(i)).dot(head.K * x.col(j));
    const double largest = P.row(i).maxCoeff();
    for (Index j = 0; j < x.cols(); ++j) P(i, j) = std::exp(P(i, j) - largest);
    P.row(i) /= P.row(i).sum();
  }
  return P;
}

/// ẋᵢ = ∑ₕ ∑ⱼ Pʰᵢⱼ(x) Vₕ xⱼ
MatrixXd token_drift(const std::vector<TestHead>& heads, double beta, const MatrixXd& x) {
  MatrixXd dx = MatrixXd::Zero(x.rows(), x.cols());
  for (const auto& head : heads) {
    const MatrixXd P = attention_of(head, beta, x);
    for (Index i = 0; i < x.cols(); ++i)
      for (Index j = 0; j < x.cols(); ++j) dx.col(i) += P(i, j) * head.V * x.col(j);
  }
  return dx;
}

/// żᵢ = ∑ⱼ Pᵢⱼ(e^{tV} z) V (zⱼ − zᵢ)
MatrixXd rescaled_drift(const TestHead& head, double beta, double t, const MatrixXd& z) {
  const MatrixXd P = attention_of(head, beta, exponential(t * head.V) * z);
  MatrixXd dz = MatrixXd::Zero(z.rows(), z.cols());
  for (Index i = 0; i < z.cols(); ++i)
    for (Index j = 0; j < z.cols(); ++j) dz.col(i) += P(i, j) * head.V * (z.col(j) - z.col(i));
  return dz;
}

/// Numbers without a pattern in [−scale, scale).
std::vector<double> scattered(std::size_t count, unsigned seed, double scale = 1) {
  std::mt19937 bits(seed);
  std::vector<double> values(count);
  for (double& value : values) value = scale * (std::ldexp(static_cast<double>(bits()), -31) - 1);
  return values;
}

MatrixXd matrix(const std::vector<double>& row_major, Index rows, Index cols, Index which = 0) {
  MatrixXd m(rows, cols);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j)
      m(i, j) = row_major[static_cast<std::size_t>((which * rows + i) * cols + j)];
  return m;
}

/// Row k of tokens.npy, as d × n.
MatrixXd tokens_at(const Values& tokens, Index k) {
  MatrixXd x(tokens.shape[2], tokens.shape[1]);
  for (Index i = 0; i < x.cols(); ++i)
    for (Index c = 0; c < x.rows(); ++c) x(c, i) = tokens(k, i, c);
  return x;
}

double distance(const MatrixXd& a, const MatrixXd& b) { return (a - b).cwiseAbs().maxCoeff(); }

bool all_finite(const Values& array) {
  return std::all_of(array.values.begin(), array.values.end(), [](double v) { return std::isfinite(v); });
}

/// The largest deviation of a row of P from the sum one.
double deviation_of_rows(const Values& attention) {
  const auto n = static_cast<std::size_t>(attention.shape.back());
  double worst = 0;
  for (std::size_t row = 0; row < attention.values.size(); row += n) {
    double sum = 0;
    for (std::size_t j = 0; j < n; ++j) {
      sum += attention.values[row + j];
      if (!(attention.values[row + j] >= 0)) return std::numeric_limits<double>::infinity();
    }
    worst = std::max(worst, std::abs(sum - 1));
  }
  return worst;
}

std::string element_type(const std::string& file) {
  const std::string bytes = read(file);
  const std::size_t at = bytes.find("'descr': '");
  REQUIRE(at < 64);
  return bytes.substr(at + 10, 3);
}

/// How weights are made of scores.
struct TestLaw {
  std::string law = "softmax";
  int mask = 0;      // 0: none, 1: causal, 2: strictly causal
  double slope = 0;  // of ALiBi
  [[nodiscard]] bool rows_sum_to_one() const {
    return law != "unnormalized" && law != "sigmoid" && law != "linear" && law != "relu" && law != "softplus";
  }
};

/// The law's function of sᵢⱼ = β ⟨Q xᵢ, K xⱼ⟩ − slope |i − j|, or of −β ‖Q xᵢ − K xⱼ‖² − slope |i − j| (l2), over the j that
/// the mask leaves.
MatrixXd weights_of(const TestHead& head, double beta, const MatrixXd& x, const TestLaw& law) {
  const Index n = x.cols();
  MatrixXd w = MatrixXd::Zero(n, n);
  for (Index i = 0; i < n; ++i) {
    const Index keys = law.mask == 0 ? n : law.mask == 1 ? i + 1 : i;
    if (keys == 0) continue;
    const Eigen::VectorXd query = head.Q * x.col(i);
    for (Index j = 0; j < keys; ++j) {
      const Eigen::VectorXd key = head.K * x.col(j);
      w(i, j) = (law.law == "l2" ? -beta * (query - key).squaredNorm() : beta * query.dot(key)) -
                law.slope * std::abs(static_cast<double>(i - j));
    }
    auto row = w.row(i).head(keys).array();
    if (law.law == "hardmax")
      row = (row == row.maxCoeff()).cast<double>();
    else if (law.law == "sigmoid")
      row = 1 / (1 + (-row).exp()) / static_cast<double>(n);
    else if (law.law == "linear") {
      row /= static_cast<double>(n);
    } else if (law.law == "relu" || law.law == "softplus") {
      row = law.law == "relu" ? row.max(0).eval() : row.exp().log1p().eval();
      if (row.sum() != 0) row /= row.sum();
    } else if (law.law == "top-k") {  // of two
      std::vector<double> sorted(row.begin(), row.end());
      std::sort(sorted.rbegin(), sorted.rend());
      row = (row >= sorted[std::min<std::size_t>(1, sorted.size() - 1)]).select(row.exp(), 0).eval();
      row /= row.sum();
    } else if (law.law == "sparsemax" || law.law == "entmax15") {
      const double power = law.law == "sparsemax" ? 1 : 2;  // w = max(s / power − τ, 0)^power
      double low = row.maxCoeff() / power - 1, high = low + 1;
      for (int k = 0; k < 100; ++k) {
        const double middle = (low + high) / 2;
        ((row / power - middle).max(0).pow(power).sum() > 1 ? low : high) = middle;
      }
      row = (row / power - low).max(0).pow(power).eval();
    } else
      row = row.exp() / (law.law == "unnormalized" ? static_cast<double>(n) : row.exp().sum());
  }
  if (law.law == "sinkhorn")
    for (int sweep = 0; sweep < 20000; ++sweep) {
      w = (w * w.colwise().sum().cwiseInverse().asDiagonal()).eval();
      w = (w.rowwise().sum().cwiseInverse().asDiagonal() * w).eval();
    }
  return w;
}

}  // namespace

// --- A good run --------------------------------------------------------------------------------------------

TEST_CASE("a run writes the saved times, tokens, attention, a report and a page", "[simulate]") {
  const RunFolder folder;
  const std::string out = folder / "nested/out";
  const Said said = run({"--uniform-box", "20,2,-5,5", "--t-end", "2", "--attention"}, out);
  CHECK_THAT(said.out, ContainsSubstring("reached_end at t = 2"));
  auto expected = usual_files;
  expected.insert("attention.npy");
  CHECK(names_in(out) == expected);  // and no temporary

  const Values times(out + "/times.npy"), tokens(out + "/tokens.npy"), attention(out + "/attention.npy");
  REQUIRE(times.shape == Shape{101});
  REQUIRE(tokens.shape == Shape{101, 20, 2});
  REQUIRE(attention.shape == Shape{101, 20, 20});
  for (Index k = 0; k <= 100; ++k) CHECK(times(k) == Approx(0.02 * static_cast<double>(k)).margin(1e-15));
  CHECK(times(100) == 2);
  CHECK(all_finite(tokens));
  CHECK(deviation_of_rows(attention) < 1e-14);
  for (Index i = 0; i < 40; ++i) {
    const double start = tokens.values[static_cast<std::size_t>(i)];
    CHECK((start >= -5 && start < 5));
  }

  SECTION("the attention is that of the tokens beside it") {
    const TestHead identity{MatrixXd::Identity(2, 2), MatrixXd::Identity(2, 2), MatrixXd::Identity(2, 2)};
    for (const Index k : {Index{0}, Index{50}, Index{100}}) {
      const MatrixXd P = attention_of(identity, 1, std::exp(times(k)) * tokens_at(tokens, k));
      double worst = 0;
      for (Index i = 0; i < 20; ++i)
        for (Index j = 0; j < 20; ++j) worst = std::max(worst, std::abs(P(i, j) - attention(k, i, j)));
      CHECK(worst < 1e-10);
    }
  }

  SECTION("the report holds every key") {
    const json r = report(out);
    CHECK(r.at("program") == "simulate");
    CHECK(r.at("version") == std::string(attnflow::version));
    CHECK(r.at("outcome") == "reached_end");
    CHECK(r.at("t") == 2);
    CHECK(r.at("steps").get<long>() > 5);
    CHECK(r.at("evaluations").get<long>() >= 6 * r.at("steps").get<long>());
    CHECK(r.at("seconds").get<double>() > 0);
    CHECK(r.at("seconds").get<double>() < 250);

    const json& options = r.at("options");
    for (const char* key : {"tokens", "gaussian", "uniform_sphere", "query", "key", "value", "law_k", "alibi",
                            "rope", "within", "frozen", "dt", "save_every", "times"}) {
      INFO(key);
      CHECK(options.at(key).is_null());
    }
    CHECK(options.at("uniform_box") == "20,2,-5,5");
    CHECK(options.at("seed") == 0);
    CHECK(options.at("n") == 20);
    CHECK(options.at("d") == 2);
    CHECK(options.at("heads") == 1);
    CHECK(options.at("system") == "rescaled");
    CHECK(options.at("law") == "softmax");
    CHECK(options.at("beta") == 1);
    CHECK(options.at("mask") == "none");
    CHECK(options.at("stepper") == "dopri5");
    CHECK(options.at("rtol") == 1e-9);
    CHECK(options.at("atol") == 1e-11);
    CHECK(options.at("t_end") == 2);
    CHECK(options.at("attention") == true);
    CHECK(options.at("precision") == "double");
    CHECK(options.at("threads") == attnflow::threads());
    CHECK(options.at("simd") == std::string(attnflow::name_of(attnflow::simd_level())));
    CHECK(options.at("out") == out);

    const json& prediction = r.at("prediction");
    CHECK(prediction.at("case") == "polytope");
    CHECK(prediction.at("reference").is_string());
    CHECK(prediction.at("reason").is_string());
    CHECK(prediction.at("margins").is_object());

    const json& found = r.at("found");
    const auto labels = found.at("labels").get<std::vector<long>>();
    const auto sizes = found.at("sizes").get<std::vector<long>>();
    const auto clusters = found.at("clusters").get<long>();
    CHECK(labels.size() == 20);
    CHECK((clusters >= 1 && clusters <= 20));
    CHECK(static_cast<long>(sizes.size()) == clusters);
    CHECK(std::accumulate(sizes.begin(), sizes.end(), 0L) == 20);
    for (const long label : labels) CHECK((label >= 0 && label < clusters));
    for (const char* key : {"leaders", "hull_vertices"}) {
      INFO(key);
      const auto indices = found.at(key).get<std::vector<long>>();
      CHECK_FALSE(indices.empty());
      for (const long i : indices) CHECK((i >= 0 && i < 20));
    }
    for (const char* key : {"rank", "effective_rank"}) {
      INFO(key);
      CHECK(found.at(key).get<double>() >= 1);
      CHECK(found.at(key).get<double>() <= 20);
    }
    CHECK(found.at("hyperplane_levels").is_null());
    CHECK(found.at("distance_to_prediction").get<double>() > 0);
    CHECK(found.at("agrees").is_null());  // too early to tell
    CHECK(found.at("boolean_distance").get<double>() <= found.at("boolean_distance_to_pair").get<double>());
  }

  SECTION("the page stands alone") {
    const std::string page = read(out + "/view.html");
    CHECK(page.size() > 2000);
    CHECK(page.find("<html") != page.npos);
    CHECK(page.find("</html>") != page.npos);
    for (const char* reference : {"http", "src=", "@import", "url("}) {
      INFO(reference);
      CHECK(page.find(reference) == std::string::npos);
    }
    for (std::size_t at = page.find("href=\""); at != std::string::npos; at = page.find("href=\"", at + 1))
      CHECK(page.substr(at, 11) == "href=\"data:");
  }
}

TEST_CASE("row 0 is the start to the last bit, in every system and precision", "[simulate]") {
  const RunFolder folder;
  const auto start = scattered(14, 1);
  const std::string x = put(folder / "x.npy", {7, 2}, start);
  const std::string V = put(folder / "V.npy", {2, 2}, {0.3, -1.1, 0.7, 0.4});
  const std::string S = put(folder / "S.npy", {2, 2}, {0.3, 0.7, 0.7, -0.4});
  int runs = 0;
  for (const Arguments& system : {Arguments{"rescaled"}, {"tokens"}, {"layers", "--dt", "0.1"}})
    for (const std::string& value : {std::string(), V, S})
      for (const std::string precision : {"double", "float"}) {
        Arguments arguments{"--tokens", x, "--t-end", "0.5", "--precision", precision, "--system"};
        arguments.insert(arguments.end(), system.begin(), system.end());
        if (!value.empty()) arguments.insert(arguments.end(), {"--value", value});
        const std::string out = folder / std::to_string(runs++);
        run(arguments, out);
        const Values tokens(out + "/tokens.npy");
        INFO(text_of(arguments));
        for (std::size_t k = 0; k < start.size(); ++k)
          CHECK(tokens.values[k] ==
                (precision == "double" ? start[k] : static_cast<double>(static_cast<float>(start[k]))));
      }
}

TEST_CASE("the same seed gives the same bytes, another seed other ones", "[simulate]") {
  const RunFolder folder;
  const Arguments usual{"--uniform-box", "20,2,-5,5", "--t-end", "3", "--attention"};
  const auto with = [&](Arguments more, const char* name) {
    more.insert(more.begin(), usual.begin(), usual.end());
    run(more, folder / name);
    return folder.path / name;
  };
  const auto zero = with({}, "default"), again = with({"--seed", "0"}, "again"),
             other = with({"--seed", "1"}, "other");
  const auto threads = with({"--threads", "3"}, "threads");
  CHECK(report(threads).at("options").at("threads") == 3);
  const auto largest = with({"--seed", "18446744073709551615"}, "largest");
  for (const char* name : {"times.npy", "tokens.npy", "attention.npy", "view.html"}) {
    INFO(name);
    CHECK((read(zero / name) == read(again / name)));
    CHECK((read(zero / name) == read(threads / name)));
  }
  CHECK((read(zero / "tokens.npy") != read(other / "tokens.npy")));
  CHECK((read(zero / "tokens.npy") != read(largest / "tokens.npy")));
  CHECK(report(largest).at("options").at("seed") == std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("random starts have the shape and the law they say", "[simulate]") {
  const RunFolder folder;
  run({"--gaussian", "2000,3", "--t-end", "0", "--seed", "5"}, folder / "gaussian");
  const Values gaussian(folder / "gaussian/tokens.npy");
  REQUIRE(gaussian.shape == Shape{1, 2000, 3});  // at t = 0 there is one time to save
  const double count = 6000, sum = std::accumulate(gaussian.values.begin(), gaussian.values.end(), 0.0);
  const double squares =
      std::inner_product(gaussian.values.begin(), gaussian.values.end(), gaussian.values.begin(), 0.0);
  CHECK(std::abs(sum / count) < 5 / std::sqrt(count));
  CHECK(std::abs(squares / count - 1) < 5 * std::sqrt(2 / count));

  run({"--uniform-sphere", "300,4", "--t-end", "0"}, folder / "sphere");
  const Values sphere(folder / "sphere/tokens.npy");
  REQUIRE(sphere.shape == Shape{1, 300, 4});
  CHECK(distance(tokens_at(sphere, 0).colwise().norm(), MatrixXd::Ones(1, 300)) < 1e-14);
}

TEST_CASE("--quiet says nothing", "[simulate]") {
  const RunFolder folder;
  const Said said = run({"--uniform-box", "5,2,-1,1", "--t-end", "1", "--quiet"}, folder / "out");
  CHECK(said.out.empty());
  CHECK(names_in(folder / "out") == usual_files);
}

TEST_CASE("--help names every option, --version the version", "[simulate]") {
  const Said help = simulate({"--help"});
  CHECK(help.status == 0);
  CHECK(help.err.empty());
  for (const char* option : {"--tokens",
                             "--uniform-box",
                             "--gaussian",
                             "--uniform-sphere",
                             "--seed",
                             "--query",
                             "--key",
                             "--value",
                             "--system",
                             "--law",
                             "--beta",
                             "--mask",
                             "--alibi",
                             "--rope",
                             "--within",
                             "--frozen",
                             "--stepper",
                             "--dt",
                             "--rtol",
                             "--atol",
                             "--t-end",
                             "--save-every",
                             "--times",
                             "--attention",
                             "--precision",
                             "--threads",
                             "--quiet",
                             "--out",
                             "--force",
                             "--checkpoint",
                             "--checkpoint-every",
                             "--resume"}) {
    INFO(option);
    CHECK_THAT(help.out,
               ContainsSubstring(std::string(option) + " ") || ContainsSubstring(std::string(option) + "\n"));
  }
  const Said version = simulate({"--version"});
  CHECK(version.status == 0);
  CHECK(version.out == std::string(attnflow::version) + "\n");
}

TEST_CASE("--precision float writes float tokens and attention that agree with double", "[simulate]") {
  const RunFolder folder;
  const Arguments arguments{"--uniform-box", "12,3,-1,1", "--t-end", "2", "--attention"};
  run(arguments, folder / "double");
  Arguments narrow = arguments;
  narrow.insert(narrow.end(), {"--precision", "float"});
  run(narrow, folder / "float");
  CHECK(element_type(folder / "double/tokens.npy") == "<f8");
  CHECK(element_type(folder / "float/tokens.npy") == "<f4");
  CHECK(element_type(folder / "float/attention.npy") == "<f4");
  CHECK(element_type(folder / "float/times.npy") == "<f8");
  CHECK(report(folder / "float").at("options").at("precision") == "float");
  CHECK(report(folder / "float").at("options").at("rtol") == 1e-5);
  CHECK(report(folder / "float").at("options").at("atol") == 1e-6);
  const Values a(folder / "double/tokens.npy"), b(folder / "float/tokens.npy");
  REQUIRE(a.shape == b.shape);
  CHECK(distance(tokens_at(a, 100), tokens_at(b, 100)) < 1e-4);
  CHECK(deviation_of_rows(Values(folder / "float/attention.npy")) < 1e-6);
}

TEST_CASE("one token, one dimension", "[simulate]") {
  const RunFolder folder;
  const std::string x = put(folder / "x.npy", {1, 1}, {0.5});
  run({"--tokens", x, "--t-end", "1", "--system", "tokens", "--attention"}, folder / "out");
  const Values tokens(folder / "out/tokens.npy");
  REQUIRE(tokens.shape == Shape{101, 1, 1});
  CHECK(tokens(100, 0, 0) == Approx(0.5 * std::exp(1.0)).epsilon(1e-8));
  CHECK(Values(folder / "out/attention.npy")(100, 0, 0) == 1);
  CHECK(report(folder / "out").at("found").at("clusters") == 1);
}

// --- What it computes --------------------------------------------------------------------------------------

TEST_CASE("euler follows the formula: rectangular Q and K, V without symmetry, beta", "[simulate]") {
  const RunFolder folder;
  constexpr Index n = 6, d = 3, d_k = 2;
  constexpr double h = 0.0625, beta = 1.5;  // h: exact in binary
  const auto q = scattered(d_k * d, 2), k = scattered(d_k * d, 3), v = scattered(d * d, 4),
             x0 = scattered(n * d, 5);
  const TestHead head{matrix(q, d_k, d), matrix(k, d_k, d), matrix(v, d, d)};
  const bool three_axes = GENERATE(false, true);
  const auto shape = [&](Index rows) { return three_axes ? Shape{1, rows, d} : Shape{rows, d}; };
  const Arguments usual{"--tokens",     put(folder / "x.npy", {n, d}, x0),
                        "--query",      put(folder / "Q.npy", shape(d_k), q),
                        "--key",        put(folder / "K.npy", shape(d_k), k),
                        "--value",      put(folder / "V.npy", shape(d), v),
                        "--beta",       "1.5",
                        "--stepper",    "euler",
                        "--dt",         "0.0625",
                        "--save-every", "0.0625",
                        "--t-end",      "1",
                        "--attention",  "--system"};
  const auto run_as = [&](const char* system) {
    Arguments arguments = usual;
    arguments.emplace_back(system);
    run(arguments, folder / system);
    CHECK(report(folder / system).at("steps") == 16);
    return Values(folder / system + "/tokens.npy");
  };
  const MatrixXd start = matrix(x0, n, d).transpose();

  SECTION("tokens") {
    const Values tokens = run_as("tokens");
    REQUIRE(tokens.shape == Shape{17, n, d});
    const Values attention(folder / "tokens/attention.npy");
    MatrixXd x = start;
    for (Index step = 0; step <= 16; ++step) {
      CHECK(distance(tokens_at(tokens, step), x) < 1e-12);
      const MatrixXd P = attention_of(head, beta, x);
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) CHECK(attention(step, i, j) == Approx(P(i, j)).margin(1e-12));
      x += h * token_drift({head}, beta, x);
    }
  }
  SECTION("rescaled") {
    const Values tokens = run_as("rescaled");
    REQUIRE(tokens.shape == Shape{17, n, d});
    const Values attention(folder / "rescaled/attention.npy");
    MatrixXd z = start;
    for (Index step = 0; step <= 16; ++step) {
      const double t = h * static_cast<double>(step);
      CHECK(distance(tokens_at(tokens, step), z) < 1e-12);
      const MatrixXd P = attention_of(head, beta, exponential(t * head.V) * z);
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) CHECK(attention(step, i, j) == Approx(P(i, j)).margin(1e-12));
      z += h * rescaled_drift(head, beta, t, z);
    }
  }
}

TEST_CASE("several heads: the drifts add, and each has its attention", "[simulate]") {
  const RunFolder folder;
  constexpr Index n = 5, d = 2, heads = 3;
  const auto q = scattered(heads * d, 6), v = scattered(heads * d * d, 7, 0.5), x0 = scattered(n * d, 8);
  std::vector<TestHead> all;  // d_k = 1
  for (Index h = 0; h < heads; ++h)
    all.push_back({matrix(q, 1, d, h), matrix(q, 1, d, h), matrix(v, d, d, h)});
  const std::string Q = put(folder / "Q.npy", {heads, 1, d}, q), V = put(folder / "V.npy", {heads, d, d}, v);
  const bool layers = GENERATE(false, true);
  Arguments arguments{"--tokens",
                      put(folder / "x.npy", {n, d}, x0),
                      "--query",
                      Q,
                      "--key",
                      Q,
                      "--value",
                      V,
                      "--dt",
                      "0.25",
                      "--t-end",
                      "2",
                      "--save-every",
                      "0.25",
                      "--attention",
                      "--system",
                      layers ? "layers" : "tokens"};
  if (!layers) arguments.insert(arguments.end(), {"--stepper", "euler"});
  run(arguments, folder / "out");
  const Values tokens(folder / "out/tokens.npy"), attention(folder / "out/attention.npy");
  REQUIRE(tokens.shape == Shape{9, n, d});
  REQUIRE(attention.shape == Shape{9, heads, n, n});
  CHECK(report(folder / "out").at("options").at("heads") == 3);
  MatrixXd x = matrix(x0, n, d).transpose();
  for (Index k = 0; k <= 8; ++k) {
    CHECK(distance(tokens_at(tokens, k), x) < 1e-12);
    for (Index h = 0; h < heads; ++h) {
      const MatrixXd P = attention_of(all[static_cast<std::size_t>(h)], 1, x);
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) CHECK(attention(k, h, i, j) == Approx(P(i, j)).margin(1e-12));
    }
    x += 0.25 * token_drift(all, 1, x);
  }
}

TEST_CASE("rk4 and euler come to what dopri5 finds, each with its error", "[simulate]") {
  const RunFolder folder;
  const auto final_tokens = [&](Arguments more, const std::string& name) {
    more.insert(more.end(), {"--uniform-box", "10,2,-1,1", "--t-end", "2"});
    run(more, folder / name);
    return tokens_at(Values(folder / name + "/tokens.npy"), 100);
  };
  for (const std::string system : {"rescaled", "tokens"}) {
    INFO(system);
    const MatrixXd best = final_tokens({"--system", system}, system);
    const MatrixXd tight =
        final_tokens({"--system", system, "--rtol", "1e-12", "--atol", "1e-13"}, system + "-tight");
    const MatrixXd loose =
        final_tokens({"--system", system, "--rtol", "1e-3", "--atol", "1e-4"}, system + "-loose");
    const auto with_step = [&](const std::string& stepper, const std::string& h) {
      return final_tokens({"--system", system, "--stepper", stepper, "--dt", h}, system + stepper + h);
    };
    CHECK(distance(best, tight) < 1e-7);
    CHECK(distance(loose, tight) < 1e-2);
    CHECK(distance(loose, tight) > distance(best, tight));
    // Halving the step divides the error by 2 for euler and by 16 for rk4.
    const double euler = distance(with_step("euler", "0.02"), tight),
                 finer_euler = distance(with_step("euler", "0.01"), tight);
    CHECK(euler / finer_euler == Approx(2).epsilon(0.15));
    const double rk4 = distance(with_step("rk4", "0.1"), tight),
                 finer_rk4 = distance(with_step("rk4", "0.05"), tight);
    CHECK(rk4 / finer_rk4 == Approx(16).epsilon(0.4));
    CHECK(finer_rk4 < 1e-4);
  }
}

TEST_CASE("--save-every and --times say when", "[simulate]") {
  const RunFolder folder;
  const Arguments usual{"--uniform-box", "6,2,-1,1", "--t-end", "1.1"};
  const auto with = [&](const char* option, const std::string& value) {
    Arguments arguments = usual;
    arguments.insert(arguments.end(), {option, value});
    run(arguments, folder / "out");
    const Values times(folder / "out/times.npy"), tokens(folder / "out/tokens.npy");
    CHECK(tokens.shape == Shape{times.shape[0], 6, 2});
    const json options = report(folder / "out").at("options");
    CHECK(options.at("saved_times") == times.shape[0]);
    fs::remove_all(folder.path / "out");
    return std::pair(times.values, tokens);
  };
  CHECK(with("--save-every", "0.25").first == std::vector<double>{0, 0.25, 0.5, 0.75, 1});
  CHECK(with("--save-every", "2").first == std::vector<double>{0});
  CHECK(with("--save-every", "0.1").first.size() == 12);
  CHECK(with("--save-every", "0.1").first.back() == 1.1);

  const std::vector<double> some{0.125, 0.3, 1, 1.1};
  const auto [times, tokens] = with("--times", put(folder / "t.npy", {4}, some));
  CHECK(times == some);
  const std::vector<double> all{0, 0.125, 0.3, 1, 1.1};
  const auto more = with("--times", put(folder / "all.npy", {5}, all)).second;
  for (Index k = 0; k < 4; ++k)  // what is saved beside it does not change a state
    CHECK(tokens_at(tokens, k) == tokens_at(more, k + 1));
}

TEST_CASE("layers: at t the output of layer floor(t / dt), which is the Euler step", "[simulate]") {
  const RunFolder folder;
  const std::string V = put(folder / "V.npy", {2, 2}, {0.3, -1.1, 0.7, 0.4});
  const Arguments usual{"--uniform-box", "8,2,-2,2", "--value", V, "--dt", "0.125", "--t-end", "2"};
  const auto with = [&](Arguments more, const char* name) {
    more.insert(more.begin(), usual.begin(), usual.end());
    run(more, folder / name);
    return Values(folder / name + std::string("/tokens.npy"));
  };
  const Values euler = with({"--system", "tokens", "--stepper", "euler", "--save-every", "0.125"}, "euler");
  const std::vector<double> at{0, 0.0625, 0.124, 0.125, 0.126, 0.3, 0.5, 1.9375, 1.999, 2};
  const std::string times = put(folder / "t.npy", {10}, at);
  const Values layers = with({"--system", "layers", "--times", times}, "layers");
  REQUIRE(euler.shape == Shape{17, 8, 2});
  REQUIRE(layers.shape == Shape{10, 8, 2});
  for (Index k = 0; k < 10; ++k) {
    const auto layer = static_cast<Index>(std::floor(at[static_cast<std::size_t>(k)] / 0.125));
    INFO("at t = " << at[static_cast<std::size_t>(k)] << ", layer " << layer);
    CHECK(distance(tokens_at(layers, k), tokens_at(euler, layer)) < 1e-12);
    if (layer > 0) CHECK(distance(tokens_at(layers, k), tokens_at(euler, layer - 1)) > 1e-3);
  }
  CHECK(report(folder / "layers").at("steps") == 16);
  CHECK(report(folder / "layers").at("outcome") == "reached_end");
}

TEST_CASE("rescaled and tokens are one motion: x = exp(tV) z", "[simulate]") {
  const RunFolder folder;
  struct Case {
    const char* name;
    Index d;
    std::vector<double> V;  // none: --value left out
  };
  const auto& c = GENERATE(values<Case>(
      {{"the identity", 2, {}},
       {"complex eigenvalues", 2, {0.3, -1.1, 0.7, 0.4}},
       {"complex and real eigenvalues", 3, {0.2, -0.9, 0.4, 0.8, 0.1, -0.3, 0.1, 0.5, -0.6}},
       {"symmetric, eigenvalues of both signs", 3, {0.2, 0.7, -0.4, 0.7, -0.5, 0.3, -0.4, 0.3, 0.6}},
       {"a Jordan block", 2, {0.5, 1, 0, 0.5}},
       {"singular", 2, {1, 1, 1, 1}}}));
  INFO(c.name);
  Arguments usual{
      "--uniform-box", "12," + std::to_string(c.d) + ",-1,1", "--t-end", "3", "--save-every", "0.5",
      "--attention"};
  MatrixXd V = MatrixXd::Identity(c.d, c.d);
  if (!c.V.empty()) {
    V = matrix(c.V, c.d, c.d);
    usual.insert(usual.end(), {"--value", put(folder / "V.npy", {c.d, c.d}, c.V)});
  }
  const auto as = [&](const char* system) {
    Arguments arguments = usual;
    arguments.insert(arguments.end(), {"--system", system});
    run(arguments, folder / system);
    return Values(folder / system + "/tokens.npy");
  };
  const Values x = as("tokens"), z = as("rescaled");
  REQUIRE(x.shape == Shape{7, 12, c.d});
  REQUIRE(z.shape == x.shape);
  CHECK(tokens_at(x, 0) == tokens_at(z, 0));
  for (Index k = 1; k < 7; ++k) {
    const MatrixXd expected = exponential(0.5 * static_cast<double>(k) * V) * tokens_at(z, k);
    CHECK(distance(tokens_at(x, k), expected) < 1e-6 * std::max(1.0, expected.cwiseAbs().maxCoeff()));
  }
  const Values P(folder / "tokens/attention.npy"), R(folder / "rescaled/attention.npy");
  REQUIRE(P.values.size() == R.values.size());
  for (std::size_t k = 0; k < P.values.size(); ++k) CHECK(P.values[k] == Approx(R.values[k]).margin(1e-5));
}

TEST_CASE("the reference runs of the sphere, of masks and of laws are met", "[simulate]") {
  struct Case {
    const char* name;
    Arguments options;
  };
  const auto& c =
      GENERATE(values<Case>({{"sphere_sa_beta1", {"--system", "sphere"}},
                             {"sphere_general", {"--system", "sphere", "--beta", "0.7"}},
                             {"sphere_usa_beta1", {"--system", "sphere", "--law", "unnormalized"}},
                             {"sphere_causal", {"--system", "sphere", "--mask", "causal", "--beta", "2"}},
                             {"causal_3d", {"--system", "tokens", "--mask", "causal"}}}));
  INFO(c.name);
  const RunFolder folder;
  const std::string data = std::string(ATTNFLOW_TEST_DATA) + "/" + c.name + "/";
  const Values times(data + "times.npy"), expected(data + "x.npy");
  std::ostringstream last;
  last.precision(17);
  last << times.values.back();
  Arguments arguments{"--tokens", data + "x0.npy", "--query", data + "Q.npy",     "--key",   data + "K.npy",
                      "--value",  data + "V.npy",  "--times", data + "times.npy", "--t-end", last.str()};
  arguments.insert(arguments.end(), c.options.begin(), c.options.end());
  run(arguments, folder / "out");
  const Values tokens(folder / "out/tokens.npy");
  REQUIRE(tokens.shape == expected.shape);
  const bool sphere = std::string(c.name).rfind("sphere", 0) == 0;
  for (Index k = 0; k < times.shape[0]; ++k) {
    CHECK(distance(tokens_at(tokens, k), tokens_at(expected, k)) < 1e-8);
    if (sphere) CHECK((tokens_at(tokens, k).colwise().norm().array() - 1).abs().maxCoeff() < 1e-15);
  }
}

TEST_CASE("euler follows the formula for every system with law, mask and ALiBi", "[simulate]") {
  const RunFolder folder;
  constexpr Index n = 7, d = 3, heads = 2;
  constexpr double h = 0.0625, beta = 1.5;
  const auto q = scattered(heads * d * d, 12), k = scattered(heads * d * d, 13),
             v = scattered(heads * d * d, 14);
  MatrixXd x = matrix(scattered(n * d, 15, 0.5), n, d).transpose();  // not so large as to blow up
  const auto& formula = GENERATE(values<TestLaw>({{"unnormalized", 0, 0},
                                                  {"softmax", 1, 0},
                                                  {"unnormalized", 1, 0.75},
                                                  {"softmax", 2, -0.25},
                                                  {"softmax", 0, 0.5},
                                                  {"hardmax", 1, 0},
                                                  {"hardmax", 0, 0.5},
                                                  {"sinkhorn", 0, 0},
                                                  {"sigmoid", 2, 0.5},
                                                  {"linear", 1, 0},
                                                  {"relu", 1, 0},
                                                  {"softplus", 0, 0.25},
                                                  {"top-k", 1, 0.25},
                                                  {"sparsemax", 0, 0},
                                                  {"entmax15", 2, 0.25},
                                                  {"l2", 1, 0.25}}));
  const std::string system = GENERATE("tokens", "rescaled", "layers", "sphere");
  if (system == "rescaled" && !formula.rows_sum_to_one()) return;
  const std::string mask = formula.mask == 0 ? "none" : formula.mask == 1 ? "causal" : "strict-causal";
  INFO(system << ", " << mask << ", " << formula.law << ", slope " << formula.slope);
  // Sinkhorn is off by its tolerance, times what the weights make of it.
  const double bound = formula.law == "sinkhorn" ? 1e-10 : 1e-12;
  const Index used = system == "rescaled" ? 1 : heads;
  if (system == "sphere") x.colwise().normalize();
  const MatrixXd start = x;
  const auto shaped = [&](const char* name, const std::vector<double>& numbers) {
    const auto count = static_cast<std::ptrdiff_t>(used * d * d);
    return put(folder / name, {used, d, d}, {numbers.begin(), numbers.begin() + count});
  };
  const std::string query = shaped("Q.npy", q), key = shaped("K.npy", k), value = shaped("V.npy", v);
  Arguments arguments{"--tokens",     put(folder / "x.npy", {n, d}, {x.data(), x.data() + x.size()}),
                      "--query",      query,
                      "--key",        key,
                      "--value",      value,
                      "--beta",       "1.5",
                      "--dt",         "0.0625",
                      "--save-every", "0.0625",
                      "--t-end",      "0.5",
                      "--attention",  "--system",
                      system,         "--mask",
                      mask,           "--law",
                      formula.law};
  if (system != "layers") arguments.insert(arguments.end(), {"--stepper", "euler"});
  if (formula.law == "top-k") arguments.insert(arguments.end(), {"--law-k", "2"});
  if (formula.slope != 0) arguments.insert(arguments.end(), {"--alibi", std::to_string(formula.slope)});
  run(arguments, folder / "out");

  const Values tokens(folder / "out/tokens.npy"), attention(folder / "out/attention.npy");
  for (Index step = 0; step <= 8; ++step) {
    // Eight steps whose roundings grow by factors of a few at most, numbers of size ten.
    CHECK(distance(tokens_at(tokens, step), x) < bound);
    MatrixXd dx = MatrixXd::Zero(d, n);
    double worst = 0;
    for (Index head = 0; head < used; ++head) {
      const TestHead own{matrix(q, d, d, head), matrix(k, d, d, head), matrix(v, d, d, head)};
      const double t = h * static_cast<double>(step);
      const MatrixXd seen = system == "rescaled" ? MatrixXd(exponential(t * own.V) * x) : x;
      const MatrixXd w = weights_of(own, beta, seen, formula);
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j) {
          dx.col(i) += w(i, j) * own.V * (system == "rescaled" ? MatrixXd(x.col(j) - x.col(i)) : x.col(j));
          const double found = used == 1 ? attention(step, i, j) : attention(step, head, i, j);
          worst = std::max(worst, std::abs(found - w(i, j)) / (1 + w(i, j)));
        }
    }
    CHECK(worst < bound);
    if (system == "sphere")
      for (Index i = 0; i < n; ++i) dx.col(i) -= x.col(i).dot(dx.col(i)) * x.col(i);
    x += h * dx;
    if (system == "sphere") x.colwise().normalize();
  }

  const json r = report(folder / "out"), found = r.at("found");
  CHECK(r.at("options").at("mask") == mask);
  CHECK(r.at("options").at("law") == formula.law);
  if (formula.slope == 0)
    CHECK(r.at("options").at("alibi").is_null());
  else
    CHECK(r.at("options").at("alibi") == formula.slope);
  CHECK(r.at("prediction").at("case") == "none");
  const std::string reason = r.at("prediction").at("reason");
  CHECK((reason.find("sphere") != reason.npos) == (system == "sphere"));
  CHECK((reason.find("--law " + formula.law) != reason.npos) == (formula.law != "softmax"));
  CHECK((reason.find("do not sum to one") != reason.npos) == !formula.rows_sum_to_one());
  CHECK((reason.find("--mask " + mask) != reason.npos) == (formula.mask > 0));
  CHECK((reason.find("--alibi") != reason.npos) == (formula.slope != 0));
  CHECK(found.at("agrees").is_null());
  CHECK(found.at("distance_to_prediction").is_null());
  // Weights of either sign are no shares, of which tokens could lead.
  CHECK(found.at("leaders").empty() == (formula.law == "linear"));
  // Of one head, and of rows that are probability vectors.
  CHECK(found.at("boolean_distance").is_number() == (used == 1 && formula.mask < 2));
  CHECK(found.at("rank").is_number() == (used == 1));
  if (formula.mask == 2) {  // the first token attends to nothing, and nobody attends to the last
    const double rounding = system == "rescaled" ? 1e-15 : 0;  // of a change of coordinates and back
    for (Index step = 0; step <= 8; ++step)
      CHECK(distance(tokens_at(tokens, step).col(0), start.col(0)) <= rounding);
    for (const long leader : found.at("leaders")) CHECK(leader < n - 1);
  }
}

TEST_CASE("with a causal mask and a steep ALiBi a token attends to itself alone", "[simulate]") {
  const RunFolder folder;
  const std::vector<double> v{0.3, -1.1, 0.7, 0.4};
  run({"--uniform-box", "9,2,-1,1", "--system", "tokens", "--value", put(folder / "V.npy", {2, 2}, v),
       "--mask", "causal", "--alibi", "1e6", "--t-end", "2", "--attention"},
      folder / "out");
  const Values tokens(folder / "out/tokens.npy"), attention(folder / "out/attention.npy");
  const MatrixXd expected = exponential(2 * matrix(v, 2, 2)) * tokens_at(tokens, 0);
  CHECK(distance(tokens_at(tokens, 100), expected) < 1e-7);
  for (Index i = 0; i < 9; ++i)
    for (Index j = 0; j < 9; ++j) CHECK(attention(100, i, j) == (i == j ? 1 : 0));
  // A slope of zero is no bias, and prediction holds.
  const Arguments plain{"--uniform-box", "9,2,-1,1", "--t-end", "2"};
  run(plain, folder / "none");
  Arguments flat = plain;
  flat.insert(flat.end(), {"--alibi", "0"});
  run(flat, folder / "flat");
  CHECK((read(folder / "none/tokens.npy") == read(folder / "flat/tokens.npy")));
  CHECK(report(folder / "flat").at("options").at("alibi") == 0);
  CHECK(report(folder / "flat").at("prediction").at("case") == "polytope");
}

TEST_CASE("simulate --rope and --within run the systems of the library", "[simulate]") {
  const RunFolder folder;
  const Arguments usual{"--uniform-box", "9,4,-1,1", "--system", "tokens", "--stepper",    "euler",
                        "--dt",          "0.25",     "--t-end",  "0.25",   "--save-every", "0.25",
                        "--attention",   "--beta",   "2",        "--mask", "causal"};
  const auto check = [&](const std::string& option, const std::string& value, const auto& system) {
    Arguments arguments = usual;
    arguments.insert(arguments.end(), {"--" + option, value});
    run(arguments, folder / option);
    const Values tokens(folder / (option + "/tokens.npy")), attention(folder / (option + "/attention.npy"));
    const MatrixXd x = tokens_at(tokens, 0), P = system.attention(0, x);
    MatrixXd dx;
    system(0, x, dx);
    CHECK(distance(tokens_at(tokens, 1), x + 0.25 * dx) < 1e-15);
    for (Index i = 0; i < 9; ++i)
      for (Index j = 0; j < 9; ++j) CHECK(std::abs(attention(0, i, j) - P(i, j)) < 1e-15);
    const json r = report(folder / option);
    CHECK(r.at("options").at(option) == std::stod(value));
    CHECK(r.at("prediction").at("case") == "none");
    CHECK_THAT(r.at("prediction").at("reason").get<std::string>(), ContainsSubstring("--" + option));
  };
  const auto head = attnflow::Head<double>::identity(4);
  const attnflow::Softmax law{2};
  check("rope", "100",
        attnflow::TokenDynamics<double, -1, attnflow::Softmax, attnflow::Causal, attnflow::Rotary>(
            head, law, {}, attnflow::Rotary{100}));
  // The mask of both at once, as a graph.
  const MatrixXd x = tokens_at(Values(folder / "rope/tokens.npy"), 0);
  const attnflow::Graph near(9,
                             [&](Index i, Index j) { return j <= i && (x.col(i) - x.col(j)).norm() <= 1.1; });
  check("within", "1.1",
        attnflow::TokenDynamics<double, -1, attnflow::Softmax, attnflow::Graph>(head, law, near));
}

TEST_CASE("frozen tokens stay where they are in every system", "[simulate]") {
  const RunFolder folder;
  for (const std::string system : {"tokens", "sphere", "layers", "rescaled"}) {
    CAPTURE(system);
    Arguments arguments{system == "sphere" ? "--uniform-sphere" : "--uniform-box",
                        system == "sphere" ? "8,3" : "8,3,-1,1",
                        "--system",
                        system,
                        "--frozen",
                        "3",
                        "--t-end",
                        "1",
                        "--save-every",
                        "1"};
    if (system == "layers") arguments.insert(arguments.end(), {"--dt", "0.25"});
    run(arguments, folder / system);
    const Values tokens(folder / (system + "/tokens.npy"));
    const MatrixXd start = tokens_at(tokens, 0), end = tokens_at(tokens, 1);
    // What rests is x = e^{t} z.
    const double scale = system == "rescaled" ? std::exp(1.0) : 1;
    CHECK(distance((scale * end).leftCols(3), start.leftCols(3)) < 1e-9);
    CHECK(distance((scale * end).rightCols(5), start.rightCols(5)) > 0.1);
    const json r = report(folder / system);
    CHECK(r.at("options").at("frozen") == 3);
    CHECK(r.at("prediction").at("case") == "none");
    CHECK_THAT(r.at("prediction").at("reason").get<std::string>(),
               ContainsSubstring("frozen tokens (--frozen)"));
  }
}

TEST_CASE("on the sphere all tokens meet, and the report counts them there", "[simulate]") {
  const RunFolder folder;
  // With V = diag(1, −1/2) positions in R^d would be taken modulo its second eigenvector, and tokens that differ in
  // that coordinate alone would be one.
  const std::string V = put(folder / "V.npy", {2, 2}, {1, 0, 0, -0.5});
  const std::string mirrored = put(folder / "x.npy", {4, 2}, {0.6, 0.8, 0.6, -0.8, 0.6, 0.8, 0.6, -0.8});
  run({"--tokens", mirrored, "--value", V, "--system", "sphere", "--t-end", "0"}, folder / "mirrored");
  CHECK(report(folder / "mirrored").at("found").at("clusters") == 2);

  const Arguments sphere{"--uniform-sphere", "40,3", "--system", "sphere", "--t-end", "30"};
  for (const std::string precision : {"double", "float"}) {
    Arguments arguments = sphere;
    arguments.insert(arguments.end(), {"--precision", precision});
    run(arguments, folder / precision);
    const json r = report(folder / precision), found = r.at("found");
    CHECK(found.at("clusters") == 1);
    CHECK(found.at("rank") == 1);
    CHECK(r.at("prediction").at("case") == "none");
    CHECK_THAT(r.at("prediction").at("conjecture").get<std::string>(), ContainsSubstring("all tokens meet"));
    const Values tokens(folder / precision + "/tokens.npy");
    const double rounding = precision == "float" ? 1e-6 : 1e-15;
    CHECK((tokens_at(tokens, 100).colwise().norm().array() - 1).abs().maxCoeff() < rounding);
  }
  CHECK(distance(tokens_at(Values(folder / "double/tokens.npy"), 50),
                 tokens_at(Values(folder / "float/tokens.npy"), 50)) < 1e-3);
}

TEST_CASE("results do not depend on the number of threads, and hardly on the level of instructions",
          "[simulate]") {
  const RunFolder folder;
  // 500 tokens: enough for loops to be shared out.
  const Arguments usual{"--uniform-sphere", "500,3",   "--system", "sphere",       "--mask",
                        "causal",           "--t-end", "1",        "--save-every", "0.5"};
  const auto with = [&](const std::string& name, const Arguments& more = {}) {
    Arguments arguments = usual;
    arguments.insert(arguments.end(), more.begin(), more.end());
    run(arguments, folder / name);
    return report(folder / name).at("options");
  };
  for (const std::string threads : {"1", "2", "3"}) {
    CHECK(with(threads, {"--threads", threads}).at("threads") == std::stoi(threads));
    CHECK((read(folder / threads + "/tokens.npy") == read(folder / "1/tokens.npy")));
  }
  {
    const Environment two("ATTNFLOW_THREADS", "2");
    CHECK(with("environment").at("threads") == 2);
    CHECK(with("option", {"--threads", "3"}).at("threads") == 3);
  }
  for (const attnflow::SimdLevel level : attnflow::simd_levels) {
    const std::string name(attnflow::name_of(level));
    const Environment forced("ATTNFLOW_SIMD", name.c_str());
    if (attnflow::has_simd_level(level)) {
      CHECK(with(name).at("simd") == name);
      CHECK(distance(tokens_at(Values(folder / name + "/tokens.npy"), 2),
                     tokens_at(Values(folder / "1/tokens.npy"), 2)) < 1e-9);
    } else {
      const Said said = simulate({"--uniform-sphere", "5,3", "--t-end", "1", "--out", folder / "none"});
      CHECK(said.status == 2);
      CHECK_THAT(said.err, ContainsSubstring("which this processor or compiler does not have"));
    }
  }
}

// --- What it refuses ---------------------------------------------------------------------------------------

namespace {

const Arguments start{"--uniform-box", "4,2,-1,1"};
const Arguments end{"--t-end", "1"};
const Arguments usual = start + end;
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("the run that the refusals vary is a good one", "[simulate]") {
  const RunFolder folder;
  run(usual, folder / "out");
}

TEST_CASE("wrong files are refused", "[simulate][refusal]") {
  const RunFolder folder;
  const auto file = [&](const std::string& name, const Shape& shape) {
    std::size_t count = 1;
    for (const Index size : shape) count *= static_cast<std::size_t>(size);
    return put(folder / name, shape, scattered(count, 9));
  };
  const std::string x = file("x.npy", {4, 2}), V = file("V.npy", {2, 2});
  const std::string flat = file("flat.npy", {6}), deep = file("deep.npy", {2, 3, 2, 2}),
                    none = file("none.npy", {0, 2});
  const std::string wide = file("wide.npy", {2, 3}), tall = file("tall.npy", {3, 2}),
                    cube = file("cube.npy", {2, 2, 2});
  const std::string three = file("three.npy", {3, 2, 2}), row = file("row.npy", {1, 2}),
                    thin = file("thin.npy", {4, 0});
  const std::string square = file("square.npy", {3, 3});

  SECTION("of the wrong shape") {
    check_refusals(
        folder,
        {{end + Arguments{"--tokens", flat}, {"--tokens: ", "flat.npy", "(6,)", "expected (n, d)"}},
         {end + Arguments{"--tokens", cube}, {"--tokens: ", "cube.npy", "(2, 2, 2)", "expected (n, d)"}},
         {end + Arguments{"--tokens", none}, {"--tokens: ", "none.npy", "(0, 2)", "at least 1"}},
         {end + Arguments{"--tokens", thin}, {"--tokens: ", "thin.npy", "(4, 0)", "at least 1"}},
         {usual + Arguments{"--value", wide},
          {"--value: ", "wide.npy", "(2, 3)", "expected (d, d)", "d = 2"}},
         {usual + Arguments{"--value", tall},
          {"--value: ", "tall.npy", "(3, 2)", "expected (d, d)", "d = 2"}},
         {usual + Arguments{"--value", square},
          {"--value: ", "square.npy", "(3, 3)", "expected (d, d)", "d = 2"}},
         {usual + Arguments{"--value", flat}, {"--value: ", "flat.npy", "(6,)", "(heads, d, d)"}},
         {usual + Arguments{"--value", deep}, {"--value: ", "deep.npy", "(2, 3, 2, 2)", "(heads, d, d)"}},
         {usual + Arguments{"--query", wide, "--key", wide},
          {"--query: ", "wide.npy", "(2, 3)", "(d_k, d)", "d = 2"}},
         {usual + Arguments{"--query", flat}, {"--query: ", "flat.npy", "(6,)", "(heads, d_k, d)"}},
         {usual + Arguments{"--query", none}, {"--query: ", "none.npy", "(0, 2)", "(d_k, d)"}},
         {usual + Arguments{"--key", wide}, {"--key: ", "wide.npy", "(2, 3)", "(d_k, d)", "d = 2"}},
         {usual + Arguments{"--key", deep}, {"--key: ", "deep.npy", "(2, 3, 2, 2)", "(d_k, d)"}}});
  }
  SECTION("that do not fit each other") {
    check_refusals(
        folder,
        {{usual + Arguments{"--query", tall, "--key", row}, {"--key: ", "row.npy", "d_k = 1", "expected 3"}},
         {usual + Arguments{"--query", tall}, {"--query: ", "tall.npy", "d_k = 3", "expected 2"}},
         {usual + Arguments{"--key", tall}, {"--key: ", "tall.npy", "d_k = 3", "expected 2"}},
         {usual + Arguments{"--value", cube}, {"--system: ", "rescaled", "2 heads", "expected one head"}},
         {usual + Arguments{"--value", three, "--query", cube, "--system", "tokens"},
          {"--query: ", "cube.npy", "2 head(s)", "expected 3"}},
         {usual + Arguments{"--query", cube, "--key", three, "--system", "tokens"},
          {"--query: ", "cube.npy", "2 head(s)", "expected 3"}},
         {usual + Arguments{"--query", tall, "--key", tall, "--value", cube, "--system", "tokens"},
          {"--query: ", "tall.npy", "1 head(s)", "expected 2"}}});
  }
  SECTION("missing, cut short, or no .npy file") {
    write(folder / "text.npy", "1 2\n3 4\n5 6\n");
    write(folder / "empty.npy", "");
    const std::string whole = read(x);
    write(folder / "short.npy", whole.substr(0, whole.size() - 1));
    write(folder / "long.npy", whole + "x");
    write(folder / "header.npy", whole.substr(0, 40));
    std::string unsigned_type = whole;
    unsigned_type.replace(unsigned_type.find("<f8"), 3, "<u8");
    write(folder / "unsigned.npy", unsigned_type);
    for (const std::string option : {"--tokens", "--query", "--key", "--value", "--times"}) {
      const Arguments others = option == "--tokens" ? end : usual;
      check_refusals(
          folder,
          {{others + Arguments{option, folder / "absent.npy"},
            {option + ": ", "absent.npy", "cannot be read", "o such file"}},
           {others + Arguments{option, folder / "short.npy"},
            {option + ": ", "short.npy", "63 bytes", "expected 64", "cut short"}},
           {others + Arguments{option, folder / "long.npy"},
            {option + ": ", "long.npy", "65 bytes", "expected 64"}},
           {others + Arguments{option, folder / "header.npy"}, {option + ": ", "header.npy"}},
           {others + Arguments{option, folder / "empty.npy"}, {option + ": ", "empty.npy", "0 bytes"}},
           {others + Arguments{option, folder / "text.npy"}, {option + ": ", "text.npy", "NUMPY"}},
           {others + Arguments{option, folder / "unsigned.npy"},
            {option + ": ", "unsigned.npy", "<u8", "expected f4"}},
           {others + Arguments{option, folder.path.string()}, {option + ": ", "not a regular file"}}});
    }
  }
  SECTION("with a NaN or an infinity inside") {
    const double inf = std::numeric_limits<double>::infinity();
    put(folder / "nan.npy", {2, 2}, {1, 0, not_a_number, 1});
    put(folder / "inf.npy", {2, 2}, {1, -inf, 0, 1});
    put(folder / "t.npy", {2}, {0, not_a_number});
    for (const std::string option : {"--tokens", "--query", "--key", "--value"}) {
      const Arguments others = option == "--tokens" ? end : usual;
      check_refusals(folder, {{others + Arguments{option, folder / "nan.npy"},
                               {option + ": ", "nan.npy", "has nan at [1, 0]", "expected finite numbers"}},
                              {others + Arguments{option, folder / "inf.npy"},
                               {option + ": ", "inf.npy", "has -inf at [0, 1]", "expected finite numbers"}}});
    }
    check_refusals(folder, {{usual + Arguments{"--times", folder / "t.npy"},
                             {"--times: ", "t.npy", "has nan at [1]", "finite"}}});
  }
  SECTION("beyond the range of float") {
    const std::string large = put(folder / "large.npy", {2, 2}, {1e300, 0, 0, 1});
    for (const std::string option : {"--tokens", "--query", "--key", "--value"})
      check_refusals(
          folder, {{(option == "--tokens" ? end : usual) + Arguments{option, large, "--precision", "float"},
                    {"--precision: float", "expected double", "range"}}});
  }
}

TEST_CASE("times that cannot be saved at are refused", "[simulate][refusal]") {
  const RunFolder folder;
  const auto times = [&](const std::string& name, const Shape& shape, const std::vector<double>& values) {
    return usual + Arguments{"--times", put(folder / name, shape, values)};
  };
  check_refusals(
      folder,
      {{times("twice.npy", {3}, {0, 0.5, 0.5}),
        {"--times: ", "twice.npy", "has 0.5 at [2]", "expected times that increase"}},
       {times("back.npy", {3}, {0, 0.5, 0.25}),
        {"--times: ", "back.npy", "has 0.25 at [2]", "expected times that increase"}},
       {times("late.npy", {2}, {0, 1.0000001}),
        {"--times: ", "late.npy", "has 1.0000001 at [1]", "expected times in [0, --t-end = 1]"}},
       {times("early.npy", {2}, {-0.5, 1}),
        {"--times: ", "early.npy", "has -0.5 at [0]", "expected times in [0, "}},
       {times("flat.npy", {2, 1}, {0, 1}), {"--times: ", "flat.npy", "(2, 1)", "expected (m,)"}},
       {times("empty.npy", {0}, {}), {"--times: ", "empty.npy", "(0,)", "at least 1"}},
       {times("number.npy", {}, {0.5}), {"--times: ", "number.npy", "()", "expected (m,)"}},
       {times("good.npy", {2}, {0, 1}) + Arguments{"--save-every", "0.5"},
        {"--times: ", "either --times or --save-every"}},
       {usual + Arguments{"--save-every", "0"}, {"--save-every: 0,", "expected a positive number"}},
       {usual + Arguments{"--save-every", "-1"}, {"--save-every: -1,", "expected a positive number"}},
       {usual + Arguments{"--save-every", "nan"}, {"--save-every: nan,", "expected a positive number"}},
       {usual + Arguments{"--save-every", "1e-300"},
        {"--save-every: 1e-300,", "expected at most 1e8 times"}}});
}

TEST_CASE("a start that is none, or more than one, or malformed, is refused", "[simulate][refusal]") {
  const RunFolder folder;
  const std::string x = put(folder / "x.npy", {4, 2}, scattered(8, 9));
  const std::string all = "expected one of --tokens, --uniform-box, --gaussian, --uniform-sphere";
  std::vector<Refusal> refusals{
      {end, {"not given", all}},
      {usual + Arguments{"--gaussian", "4,2"}, {"more than once", all}},
      {usual + Arguments{"--tokens", x}, {"more than once", all}},
      {end + Arguments{"--gaussian", "4,2", "--uniform-sphere", "4,2"}, {"more than once", all}}};
  for (const std::string box :
       {"20,2,-5", "20", "20,2,-5,5,6", "0,2,-5,5", "-3,2,-5,5", "2.5,2,-5,5", "20,0,-5,5", "20,1.5,-5,5",
        "20,2,-5,5,", ",20,2,-5,5", "20,,-5,5", "20,2,nan,5", "20,2,-5,inf", "a,b,c,d", "20 2 -5 5",
        "20,2,-5,5x", "1e300,2,-5,5"})
    refusals.push_back(
        {end + Arguments{"--uniform-box", box}, {"--uniform-box: " + box + ",", "expected N,D,LOW,HIGH"}});
  for (const std::string box : {"20,2,5,-5", "20,2,5,5", "20,2,-1.7e308,1.7e308"})
    refusals.push_back(
        {end + Arguments{"--uniform-box", box}, {"--uniform-box: " + box + ",", "expected LOW < HIGH"}});
  for (const std::string option : {"--gaussian", "--uniform-sphere"})
    for (const std::string shape : {"20", "20,2,1", "0,2", "20,0", "20,2,", "20,x", "1.5,2"})
      refusals.push_back({end + Arguments{option, shape}, {option + ": " + shape + ",", "expected N,D"}});
  check_refusals(folder, refusals);
}

TEST_CASE("options without a meaning are refused", "[simulate][refusal]") {
  const RunFolder folder;
  const Arguments rk4 = usual + Arguments{"--stepper", "rk4"},
                  layers = usual + Arguments{"--system", "layers"};
  check_refusals(
      folder,
      {{start, {"--t-end: not given, expected a value"}},
       {start + Arguments{"--t-end"}, {"--t-end: --out, expected a value"}},
       {start + Arguments{"--t-end", "-1"}, {"--t-end: -1,", "expected a finite time, at least 0"}},
       {start + Arguments{"--t-end=-1"}, {"--t-end: -1,", "expected a finite time, at least 0"}},
       {start + Arguments{"--t-end", "nan"}, {"--t-end: nan,", "expected a finite time"}},
       {start + Arguments{"--t-end", "inf"}, {"--t-end: inf,", "expected a finite time"}},
       {start + Arguments{"--t-end", "1e999"}, {"--t-end: ", "expected a finite time"}},
       {start + Arguments{"--t-end", "soon"}, {"--t-end: soon, expected a number"}},
       {start + Arguments{"--t-end", "1s"}, {"--t-end: 1s, expected a number"}},
       {start + Arguments{"--t-end", ""}, {"--t-end: empty, expected a value"}},
       {start + Arguments{"--t-end="}, {"--t-end: empty, expected a value"}},
       {usual + end, {"--t-end: given more than once, expected once"}},
       {usual + Arguments{"--speed", "3"}, {"--speed: unknown option", "simulate --help"}},
       {usual + Arguments{"--speed=3"}, {"--speed=3: unknown option", "simulate --help"}},
       {usual + Arguments{"x.npy"}, {"x.npy: unexpected argument", "simulate --help"}},
       {usual + Arguments{"--new\nline"}, {"--new\\x0aline: unknown option"}},
       {usual + Arguments{"--system", "sideways"},
        {"--system: sideways, expected rescaled, tokens, sphere or layers"}},
       {usual + Arguments{"--system", "side\nways"}, {"--system: side\\x0aways, expected"}},
       {usual + Arguments{"--law", "softmin"},
        {"--law: softmin, expected softmax, unnormalized, hardmax, sinkhorn, sigmoid, linear, l2, relu, "
         "softplus, top-k, sparsemax or entmax15"}},
       {usual + Arguments{"--law", "sinkhorn", "--mask", "causal"},
        {"--mask: causal, expected none for --law sinkhorn"}},
       {usual + Arguments{"--law", "unnormalized"},
        {"--law: unnormalized, expected softmax, hardmax, sinkhorn, l2, top-k, sparsemax or entmax15 for "
         "--system rescaled",
         "sum to one"}},
       {usual + Arguments{"--law", "sigmoid"}, {"--law: sigmoid, expected softmax, hardmax"}},
       {usual + Arguments{"--law", "top-k"}, {"--law-k: not given, expected a number of keys, at least 1"}},
       {usual + Arguments{"--law-k", "3"}, {"--law-k: 3, expected to be absent"}},
       {usual + Arguments{"--law", "top-k", "--law-k", "0"}, {"--law-k: 0, expected"}},
       {usual + Arguments{"--mask", "carnival"},
        {"--mask: carnival, expected none, causal or strict-causal"}},
       {usual + Arguments{"--alibi", "inf"}, {"--alibi: inf, expected a finite number"}},
       {usual + Arguments{"--alibi", "nan"}, {"--alibi: nan, expected a finite number"}},
       {usual + Arguments{"--alibi", "steep"}, {"--alibi: steep, expected a number"}},
       {usual + Arguments{"--frozen", "-1"}, {"--frozen: -1, expected at least 0"}},
       {usual + Arguments{"--frozen", "99"}, {"--frozen: 99, expected at most 4, the number of tokens"}},
       {usual + Arguments{"--rope", "100"}, {"--rope: 100, expected --system tokens, sphere or layers"}},
       {usual + Arguments{"--system", "tokens", "--within", "-1"},
        {"--within: -1, expected a positive number"}},
       {usual + Arguments{"--system", "tokens", "--within", "1", "--law", "linear"},
        {"--law: linear, expected softmax or unnormalized with --within"}},
       {usual + Arguments{"--system", "tokens", "--within", "1", "--rope", "2"},
        {"--within: 1, expected to be absent with --rope"}},
       {usual + Arguments{"--system", "tokens", "--alibi", "1", "--rope", "2"},
        {"--alibi: 1, expected to be absent with --rope"}},
       {Arguments{"--uniform-box", "5,3,-1,1", "--t-end", "1", "--system", "tokens", "--rope", "2"},
        {"--rope: Q has 3 rows, expected an even number"}},
       {usual + Arguments{"--stepper", "ab2"}, {"--stepper: ab2, expected dopri5, rk4 or euler"}},
       {usual + Arguments{"--precision", "half"}, {"--precision: half, expected double or float"}},
       {usual + Arguments{"--query", ""}, {"--query: empty, expected a value"}},
       {usual + Arguments{"--seed", "-1"}, {"--seed: -1, expected a whole number from 0"}},
       {usual + Arguments{"--seed", "1.5"}, {"--seed: 1.5, expected a whole number"}},
       {usual + Arguments{"--seed", "18446744073709551616"},
        {"--seed: 18446744073709551616, expected a whole number", "to 18446744073709551615"}},
       {usual + Arguments{"--threads", "0"}, {"--threads: 0, expected at least 1"}},
       {usual + Arguments{"--threads", "-2"}, {"--threads: -2, expected at least 1"}},
       {usual + Arguments{"--threads", "two"}, {"--threads: two, expected a whole number"}},
       {usual + Arguments{"--threads", "3000000000"},
        {"--threads: 3000000000, expected a whole number", "to 2147483647"}},
       {usual + Arguments{"--beta", "inf"}, {"--beta: inf, expected a finite number"}},
       {usual + Arguments{"--beta", "nan"}, {"--beta: nan, expected a finite number"}},
       {usual + Arguments{"--beta", "hot"}, {"--beta: hot, expected a number"}},
       {rk4, {"--dt: not given", "--stepper rk4"}},
       {usual + Arguments{"--system", "layers", "--dt", "1", "--stepper", "euler"},
        {"--stepper: euler, expected to be absent", "--system layers"}},
       {usual + Arguments{"--stepper", "euler"}, {"--dt: not given", "--stepper euler"}},
       {layers, {"--dt: not given", "--system layers"}},
       {rk4 + Arguments{"--dt", "0"}, {"--dt: 0, expected a positive number"}},
       {rk4 + Arguments{"--dt", "-0.1"}, {"--dt: -0.1, expected a positive number"}},
       {layers + Arguments{"--dt", "nan"}, {"--dt: nan, expected a positive number"}},
       {rk4 + Arguments{"--dt", "1e-15"}, {"--dt: 1e-15, expected at most 1e12 steps"}},
       {rk4 + Arguments{"--dt", "0.1", "--rtol", "1e-6"},
        {"--rtol: 1e-06, expected to be absent", "fixed steps"}},
       {layers + Arguments{"--dt", "0.1", "--atol", "1e-6"},
        {"--atol: 1e-06, expected to be absent", "fixed steps"}},
       {usual + Arguments{"--dt", "0.1"}, {"--dt: 0.1, expected to be absent", "dopri5"}},
       {usual + Arguments{"--rtol", "2e-15"}, {"--rtol: 2e-15, expected at least 2.22", "e-15", "double"}},
       {usual + Arguments{"--rtol", "0"}, {"--rtol: 0, expected at least"}},
       {usual + Arguments{"--rtol", "nan"}, {"--rtol: nan, expected at least"}},
       {usual + Arguments{"--rtol", "1e-6", "--precision", "float"},
        {"--rtol: 1e-06, expected at least 1.19", "e-06", "float"}},
       {usual + Arguments{"--atol", "-1"}, {"--atol: -1, expected zero or a positive number"}},
       {end + Arguments{"--uniform-box", "3000,2,-5,5", "--attention"},
        {"--attention: ", "7.272 GB", "expected at most 4"}},
       {end + Arguments{"--uniform-box", "4000,2,-5,5", "--attention", "--precision", "float"},
        {"--attention: ", "6.464 GB", "expected at most 4"}}});
}

TEST_CASE("tokens off the sphere are refused by --system sphere", "[simulate][refusal]") {
  const RunFolder folder;
  const Arguments sphere = end + Arguments{"--system", "sphere"};
  const std::string off = put(folder / "off.npy", {3, 2}, {1, 0, 0.6, -0.8, 0, 1.000002}),
                    large = put(folder / "large.npy", {2, 2}, {0, 1, 1e200, 0}),
                    near = put(folder / "near.npy", {2, 2}, {0, 1.0000009, -0.9999991, 0});
  check_refusals(
      folder,
      {{sphere + Arguments{"--tokens", off},
        {"--tokens: ", "off.npy has token 2 of norm 1.000002, expected norm 1 up to 1e-6"}},
       {sphere + Arguments{"--tokens", large}, {"large.npy has token 1 of norm 1e+200, expected norm 1"}},
       {sphere + Arguments{"--gaussian", "4,2"},
        {"--gaussian: 4,2 has token 0 of norm ", "expected norm 1", "--system sphere"}},
       {sphere + start, {"--uniform-box: 4,2,-1,1 has token 0 of norm "}}});
  run(sphere + Arguments{"--tokens", near}, folder / "near");
  CHECK(distance(tokens_at(Values(folder / "near/tokens.npy"), 0), matrix({0, 1, -1, 0}, 2, 2).transpose()) <=
        std::numeric_limits<double>::epsilon());
}

TEST_CASE("an environment without a meaning is refused", "[simulate][refusal]") {
  const RunFolder folder;
  const auto check = [&](const char* name, const char* value, const std::string& expected) {
    const Environment set(name, value);
    check_refusals(folder, {{usual, {expected}}, {usual + Arguments{"--threads", "2"}, {expected}}});
  };
  check("ATTNFLOW_SIMD", "mmx", "ATTNFLOW_SIMD is \"mmx\", expected avx512, avx2 or ");
  check("ATTNFLOW_SIMD", "", "ATTNFLOW_SIMD is \"\", expected");
  check("ATTNFLOW_THREADS", "0", "ATTNFLOW_THREADS is \"0\", expected a positive integer");
  check("ATTNFLOW_THREADS", "2 ", "ATTNFLOW_THREADS is \"2 \", expected a positive integer");
}

TEST_CASE("a folder that cannot be written to is refused", "[simulate][refusal]") {
  const RunFolder folder;
  write(folder / "file", "precious");
  check_refusal(folder, {usual, {"--out: not given, expected a value"}}, "");
  check_refusal(folder, {usual + Arguments{"--out"}, {"--out: without a value, expected one"}}, "");
  check_refusal(folder, {usual + Arguments{"--out", ""}, {"--out: empty, expected a value"}}, "");
  check_refusal(folder, {usual, {"--out: ", "file is a file, expected a folder"}}, folder / "file");
  check_refusal(folder, {usual, {"--out: ", "file/below", "cannot be created"}}, folder / "file/below");
  check_refusal(folder, {usual, {"--out: ", "file/far/below", "cannot be created"}},
                folder / "file/far/below");
  check_refusal(folder, {usual + Arguments{"--force"}, {"--out: ", "expected a folder"}}, folder / "file");
  CHECK(read(folder / "file") == "precious");
}

TEST_CASE("a folder with another run's files is refused, or replaced by --force", "[simulate][refusal]") {
  const RunFolder folder;
  const fs::path out = folder.path / "out";
  const auto contents = [&] {
    std::map<std::string, std::string> files;
    for (const auto& name : names_in(out)) files[name] = read(out / name);
    return files;
  };
  SECTION("any one of the files is enough") {
    for (const std::string name : {"times.npy", "tokens.npy", "attention.npy", "report.json", "view.html"}) {
      fs::create_directories(out);
      write(out / name, "precious");
      check_refusal(folder, {usual, {"--out: ", "out holds " + name, "expected an empty folder", "--force"}},
                    out.string());
      CHECK(contents() == std::map<std::string, std::string>{{name, "precious"}});
      fs::remove_all(out);
    }
  }
  SECTION("a whole run") {
    run(usual + Arguments{"--attention"}, out.string());
    write(out / "notes.txt", "mine");
    const auto before = contents();
    REQUIRE(before.size() == 6);
    check_refusal(folder, {usual + Arguments{"--seed", "1"}, {"--out: ", "another run"}}, out.string());
    CHECK((contents() == before));
    // A mistake beside --force costs nothing.
    check_refusal(folder, {usual + Arguments{"--force", "--rtol", "0"}, {"--rtol: 0"}}, out.string());
    CHECK((contents() == before));

    run(usual + Arguments{"--seed", "1", "--force"}, out.string());
    const auto after = contents();
    CHECK(after.count("attention.npy") == 0);  // it would be another run's
    CHECK(after.at("notes.txt") == "mine");
    CHECK(after.size() == 5);
    CHECK((after.at("tokens.npy") != before.at("tokens.npy")));
    CHECK(report(out).at("options").at("seed") == 1);
  }
  SECTION("other files are no obstacle, and an empty folder is none") {
    fs::create_directories(out);
    run(usual, out.string());
    fs::remove_all(out);
    fs::create_directories(out);
    write(out / "notes.txt", "mine");
    run(usual, out.string());
    CHECK(read(out / "notes.txt") == "mine");
  }
}

// --- How it ends when the numbers do -----------------------------------------------------------------------

namespace {

/// What every run that ended early left: whole files up to there, finite, and a report that says so.
json check_early_end(const std::string& out, double t_end) {
  CHECK(names_in(out) == usual_files);
  const Values times(out + "/times.npy"), tokens(out + "/tokens.npy");
  const json r = report(out);
  const double t = r.at("t");
  CHECK(r.at("outcome") == "non_finite");
  CHECK(t > 0);
  CHECK(t < t_end);
  REQUIRE(times.shape[0] >= 1);
  REQUIRE(times.shape[0] < 101);
  CHECK(tokens.shape[0] == times.shape[0]);
  CHECK(all_finite(tokens));
  CHECK(times.values.back() <= t);
  CHECK(times.values.back() + t_end / 100 >= t);  // nothing that was reached is missing
  CHECK(r.at("prediction").at("case").is_string());
  CHECK(r.at("found").at("labels").size() == static_cast<std::size_t>(tokens.shape[1]));
  return r;
}

const double log_max = std::log(std::numeric_limits<double>::max());

}  // namespace

TEST_CASE("V = diag(1, 1, -1/2) carries z beyond the range of double at t = 2 ln(max)", "[simulate][early]") {
  const RunFolder folder;
  const std::string V = put(folder / "V.npy", {3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, -0.5}), out = folder / "out";
  run_ends_early({"--uniform-box", "20,3,-5,5", "--value", V, "--t-end", "3000"}, out, "non_finite");
  CHECK(check_early_end(out, 3000).at("t").get<double>() == Approx(2 * log_max).epsilon(0.01));
}

TEST_CASE("a symmetric V with eigenvalues of both signs ends by its negative one", "[simulate][early]") {
  const RunFolder folder;
  const std::string V =
      put(folder / "V.npy", {3, 3},
          {.92761287, .94333073, .3827744, .94333073, .59991396, .47825472, .3827744, .47825472, .46668605});
  const std::string out = folder / "out";
  run_ends_early({"--uniform-box", "25,3,-5,5", "--value", V, "--t-end", "1e5"}, out, "non_finite");
  const json r = check_early_end(out, 1e5);
  CHECK(r.at("t").get<double>() == Approx(log_max / 0.222104).epsilon(0.02));
  CHECK(r.at("seconds").get<double>() < 60);
}

TEST_CASE("tokens and layers grow until they cannot be represented", "[simulate][early]") {
  const RunFolder folder;
  const std::string out = folder / "out";
  const Arguments box{"--uniform-box", "20,2,-5,5"};
  SECTION("tokens in double, like e^t") {
    run_ends_early(box + Arguments{"--system", "tokens", "--t-end", "1000"}, out, "non_finite");
    CHECK(check_early_end(out, 1000).at("t").get<double>() == Approx(log_max).epsilon(0.02));
  }
  SECTION("tokens in float") {
    run_ends_early(box + Arguments{"--system", "tokens", "--t-end", "1000", "--precision", "float"}, out,
                   "non_finite");
    const double log_max_float = std::log(static_cast<double>(std::numeric_limits<float>::max()));
    CHECK(check_early_end(out, 1000).at("t").get<double>() == Approx(log_max_float).epsilon(0.05));
  }
  SECTION("layers, like 2^k") {
    run_ends_early(box + Arguments{"--system", "layers", "--dt", "1", "--t-end", "2000"}, out, "non_finite");
    CHECK(check_early_end(out, 2000).at("t").get<double>() == Approx(1024).epsilon(0.01));
  }
  SECTION("--quiet leaves the one line on stderr") {
    const Said said = run_ends_early(box + Arguments{"--system", "tokens", "--t-end", "1000", "--quiet"}, out,
                                     "non_finite");
    CHECK(said.out.empty());
  }
}

TEST_CASE("unnormalised weights end a run when they overflow", "[simulate][early]") {
  const RunFolder folder;
  const std::string out = folder / "out";
  const Arguments law{"--law", "unnormalized", "--uniform-box", "8,2,-1,1"};
  SECTION("in the course of layers") {
    run_ends_early(law + Arguments{"--system", "layers", "--dt", "0.5", "--t-end", "100"}, out, "non_finite");
    const json found = check_early_end(out, 100).at("found");
    CHECK_FALSE(found.at("leaders").empty());  // of e^{s} beyond the range of double as of any other weights
    CHECK(found.at("rank").is_number());
  }
  SECTION("at the start") {
    const Said said = run_ends_early(
        {"--law", "unnormalized", "--uniform-box", "8,2,-90,90", "--system", "tokens", "--t-end", "1"}, out,
        "non_finite");
    CHECK(Values(out + "/tokens.npy").shape == Shape{1, 8, 2});
    CHECK(report(out).at("t") == 0);
    CHECK_FALSE(report(out).at("found").at("leaders").empty());
  }
}

TEST_CASE("hardmax attention that slides along a tie ends early and names the layers", "[simulate][early]") {
  const RunFolder folder;
  const std::string out = folder / "out", V = put(folder / "V.npy", {2, 2}, {-1, 0, 0, -1});
  const Said said = run_ends_early(
      {"--uniform-box", "15,2,-1,1", "--system", "tokens", "--law", "hardmax", "--value", V, "--t-end", "3"},
      out, "step_limit");
  CHECK_THAT(said.err,
             ContainsSubstring("steps have collapsed") && ContainsSubstring("--system layers --dt"));
  CHECK_THAT(report(out).at("reason").get<std::string>(), ContainsSubstring("steps have collapsed"));
}

TEST_CASE("tokens at the ends of the range of double are run, too", "[simulate][early]") {
  const RunFolder folder;
  const std::string x = put(folder / "x.npy", {3, 2}, {1.7e308, 0, -1.7e308, 1, 0, 1.7e308}),
                    out = folder / "out";
  const Said said = simulate({"--tokens", x, "--t-end", "1", "--out", out});
  INFO(said.err);
  CHECK((said.status == 0 || said.status == 3));
  CHECK(all_finite(Values(out + "/tokens.npy")));
  CHECK(names_in(out) == usual_files);
}

TEST_CASE("the report tells which theorem applies, and when none does", "[simulate]") {
  const RunFolder folder;
  const auto predicted = [&](const Arguments& more) {
    run(more + Arguments{"--t-end", "0.5", "--force"}, folder / "out");
    const json prediction = report(folder / "out").at("prediction");
    CHECK(prediction.at("reference").is_null() == (prediction.at("case") == "none"));
    CHECK_FALSE(prediction.at("reason").get<std::string>().empty());
    return prediction.at("case").get<std::string>();
  };
  const std::string minus = put(folder / "minus.npy", {2, 2}, {-1, 0, 0, -1});
  const std::string heads = put(folder / "heads.npy", {2, 2, 2}, {1, 0, 0, 1, 1, 0, 0, 1});
  CHECK(predicted(start) == "polytope");
  CHECK(predicted(start + Arguments{"--value", minus}) == "origin");
  CHECK(predicted(start + Arguments{"--query", minus}) == "none");
  CHECK(predicted(start + Arguments{"--value", heads, "--system", "tokens"}) == "none");
  CHECK(predicted({"--gaussian", "5,1", "--system", "tokens"}) == "boolean_line");
  const std::string hyperplanes = put(folder / "hyperplanes.npy", {2, 2}, {1, 0, 0, -0.5});
  const std::string turning = put(folder / "turning.npy", {2, 2}, {1, -1, 1, 1});
  CHECK(predicted(start + Arguments{"--value", hyperplanes}) == "hyperplanes");
  CHECK(predicted(start + Arguments{"--value", turning}) == "none");
  const std::string mixed = put(folder / "mixed.npy", {3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, -0.5});
  CHECK(predicted({"--gaussian", "5,3", "--value", mixed}) == "polytope_times_subspace");
}

TEST_CASE("the report tells what was found beside what was predicted", "[simulate]") {
  const RunFolder folder;
  const auto found_after = [&](const Arguments& more) {
    run(more + Arguments{"--uniform-box", "30,2,-5,5", "--force"}, folder / "out");
    return report(folder / "out").at("found");
  };
  // An oblique V, with eigenvalues 1.348 and −0.068: in the report z is seen modulo the second one.
  const std::string V = put(folder / "V.npy", {2, 2}, {.64709742, .81911926, .61210449, .63263484});
  std::vector<json> all;
  for (const Arguments& variant :
       {Arguments{"--t-end", "10"}, Arguments{"--t-end", "10", "--system", "tokens"},
        Arguments{"--t-end", "10", "--system", "layers", "--dt", "0.01"},
        Arguments{"--t-end", "10", "--precision", "float"}}) {
    const json found = found_after(variant + Arguments{"--value", V});
    CHECK(found.at("agrees") == true);
    CHECK(found.at("clusters") == 2);
    CHECK(found.at("hyperplane_levels").size() == 2);
    CHECK(found.at("hyperplane_levels")[0].get<double>() < 0);
    CHECK(found.at("hyperplane_levels")[1].get<double>() > 0);
    CHECK(found.at("rank") == 2);
    CHECK(found.at("leaders").size() == 2);
    CHECK(found.at("boolean_distance_to_pair").get<double>() < 1e-6);
    all.push_back(found.at("hyperplane_levels"));
  }
  for (std::size_t k = 0; k < 2; ++k) {
    CHECK(all[1][k].get<double>() == Approx(all[0][k].get<double>()).epsilon(1e-6));
    CHECK(all[2][k].get<double>() ==
          Approx(all[0][k].get<double>()).epsilon(0.05));  // layers of a small step
    CHECK(all[3][k].get<double>() == Approx(all[0][k].get<double>()).epsilon(1e-3));
  }
  const json early = found_after({"--t-end", "0.1"});
  CHECK(early.at("agrees").is_null());
  CHECK(early.at("distance_to_prediction").get<double>() > 0.1);
}
