#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/graph.hpp>
#include <attnflow/attention/masks.hpp>

#include "attention/definition.hpp"
#include "catch.hpp"

#include <cfenv>
#include <numbers>
#include <type_traits>
#include <utility>

namespace {

using attnflow::Alibi;
using attnflow::Band;
using attnflow::Causal;
using attnflow::ExcludeSelf;
using attnflow::Graph;
using attnflow::Hardmax;
using attnflow::Head;
using attnflow::L2Softmax;
using attnflow::Linear;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::PositionWeighted;
using attnflow::RowRecord;
using attnflow::Sigmoid;
using attnflow::Sinkhorn;
using attnflow::Softmax;
using attnflow::StrictCausal;
using attnflow::Ties;
using attnflow::TokenMasses;
using attnflow::Tokens;
using attnflow::Unnormalized;
using attnflow::Weighted;
using attnflow::WeightFunction;
using Catch::Matchers::ContainsSubstring;
using definition::check_definition;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

/// A graph without a pattern, some of whose rows are empty.
Graph any_graph(Index n) {
  return Graph(n, [](Index i, Index j) { return i % 7 != 3 && (i * 31 + j * j * 17) % 5 < 2; });
}
TokenMasses any_masses(Index n, double slope = 0) {
  TokenMasses masses{{}, slope};
  for (Index j = 0; j < n; ++j) masses.masses.push_back(0.1 + static_cast<double>(j * 7 % 5));
  return masses;
}

/// attention_matrix and log_attention of queries on keys against the definition, where `taken` says what the mask leaves.
template <class Scalar, class Law, class Mask, class Bias, class Taken>
void check_matrix(const Law& law, const Mask& mask, const Bias& bias, const Tokens<Scalar>& queries,
                  const Tokens<Scalar>& keys, const Taken& taken) {
  const Index m = queries.cols(), n = keys.cols();
  CAPTURE(m, n, law.beta, bias.slope);
  const std::vector<Real> mass = definition::masses(bias, n);
  const auto P = attention_matrix(queries, keys, law, mask, bias);
  REQUIRE((P.rows() == m && P.cols() == n));
  attnflow::SquareMatrix<Scalar> logs;
  if constexpr (Law::function == WeightFunction::exponential)
    logs = log_attention(queries, keys, law, mask, bias);
  // Biases, and what a law is told of positions, are doubles whatever the scalar.
  constexpr bool of_doubles = !std::is_same_v<Bias, NoBias> || attnflow::PositionAware<Law>;
  constexpr Real eps =
      std::max(reference::epsilon<Scalar>, of_doubles ? reference::epsilon<double> : Real(0));
  const Real tolerance = 64 * eps * static_cast<Real>(n + 8);
  for (Index i = 0; i < m; ++i) {
    std::vector<Real> score(static_cast<std::size_t>(n));
    Real sum = 0, positions = 0;
    for (Index j = 0; j < n; ++j) {
      Real& s = score[static_cast<std::size_t>(j)];
      for (Index c = 0; c < keys.rows(); ++c)
        s += static_cast<Real>(law.beta) * static_cast<Real>(queries(c, i)) * static_cast<Real>(keys(c, j));
      const Real fall = static_cast<Real>(bias.slope) * static_cast<Real>(std::abs(i - j)),
                 own = mass[static_cast<std::size_t>(j)];
      s -= fall;
      if (!taken(i, j)) continue;
      sum += std::exp(s) * own;
      positions += std::exp(-fall) * own;
    }
    for (Index j = 0; j < n; ++j) {
      const Real s = score[static_cast<std::size_t>(j)], own = mass[static_cast<std::size_t>(j)];
      Real expected = 0;
      if (!taken(i, j)) {
      } else if constexpr (Law::function == WeightFunction::exponential) {
        expected =
            std::exp(definition::log_weight(law, s + std::log(own), std::log(sum), std::log(positions), n));
      } else {
        expected = own * definition::weight(law, s);
        if (law.rows == attnflow::RowScale::mean) expected /= static_cast<Real>(n);
      }
      REQUIRE(std::abs(static_cast<Real>(P(i, j)) - expected) <= tolerance * (1 + std::abs(expected)));
      if constexpr (Law::function == WeightFunction::exponential) {
        if (taken(i, j))
          REQUIRE(std::abs(static_cast<Real>(logs(i, j)) - std::log(expected)) <= tolerance);
        else
          REQUIRE(logs(i, j) == -std::numeric_limits<Scalar>::infinity());
      }
    }
  }
}
template <class Scalar, class Law>
void check_matrices(const Law& law, const Tokens<Scalar>& queries, const Tokens<Scalar>& keys) {
  const Index n = keys.cols();
  const auto all = [](Index, Index) { return true; };
  const auto before = [](Index i, Index j) { return j <= i; };
  const auto near = [](Index i, Index j) { return std::abs(i - j) <= 2; };
  check_matrix(law, NoMask{}, NoBias{}, queries, keys, all);
  check_matrix(law, Causal{}, Alibi{0.3}, queries, keys, before);
  check_matrix(law, StrictCausal{}, NoBias{}, queries, keys, [](Index i, Index j) { return j < i; });
  check_matrix(law, Band{2, 2}, Alibi{0.1}, queries, keys, near);
  check_matrix(law, ExcludeSelf{}, NoBias{}, queries, keys, [](Index i, Index j) { return i != j; });
  if (n > 0) check_matrix(law, NoMask{}, any_masses(n, 0.2), queries, keys, all);
}

}  // namespace

TEMPLATE_TEST_CASE("weights of queries on keys are their definition", "[attention][laws]", float, double,
                   long double) {
  using Scalar = TestType;
  std::mt19937_64 generator(23);
  for (const auto& [rows, columns] : {std::pair<Index, Index>{3, 11}, {12, 5}, {1, 1}, {0, 4}, {4, 0}}) {
    const Index m = rows, n = columns;
    const auto queries = reference::random<Tokens<Scalar>>(generator, 3, m, -2, 2),
               keys = reference::random<Tokens<Scalar>>(generator, 3, n, -2, 2);
    check_matrices(Softmax{1.5}, queries, keys);
    check_matrices(Unnormalized{0.5}, queries, keys);
    check_matrices(PositionWeighted{0.5}, queries, keys);
    check_matrices(Sigmoid{1, 0.5}, queries, keys);
    check_matrices(Linear{1}, queries, keys);
    // Through a head: queries Q y and keys K x. Roundings of two products.
    const Head<Scalar> head{reference::random<Tokens<Scalar>>(generator, 2, 3),
                            reference::random<Tokens<Scalar>>(generator, 2, 3),
                            reference::random<Tokens<Scalar>>(generator, 3, 3)};
    const Tokens<Scalar> Qy = head.Q.lazyProduct(queries), Kx = head.K.lazyProduct(keys);
    const auto check_head = [&](const auto& law, const auto& mask, const auto& bias) {
      const auto P = attention_matrix(head, queries, keys, law, mask, bias),
                 expected = attention_matrix(Qy, Kx, law, mask, bias);
      REQUIRE((P.rows() == m && P.cols() == n));
      if (P.size() != 0)
        CHECK(reference::largest(wide(P) - wide(expected)) <= 256 * reference::epsilon<Scalar>);
    };
    check_head(Softmax{2}, NoMask{}, NoBias{});
    check_head(Softmax{2}, Causal{}, Alibi{0.5});
    check_head(Sigmoid{1, 0.5}, Band{1, 1}, NoBias{});
  }
  // Ties of the maximum are those of the keys, whatever the query's own position.
  const Tokens<Scalar> query = Tokens<Scalar>::Constant(1, 1, 3),
                       keys = (Tokens<Scalar>(1, 4) << 1, 2, 0, 2).finished();
  CHECK(attention_matrix(query, keys, Hardmax{1}, NoMask{}, NoBias{}) ==
        (Tokens<Scalar>(1, 4) << 0, Scalar(0.5), 0, Scalar(0.5)).finished());
  // Views that are no tokens in memory, and what does not fit.
  CHECK(attention_matrix(keys.rightCols(3), keys, Softmax{1}, NoMask{}, NoBias{}) ==
        attention_matrix(Tokens<Scalar>(keys.rightCols(3)), keys, Softmax{1}, NoMask{}, NoBias{}));
  const auto refused = [&](const Tokens<Scalar>& of, const Tokens<Scalar>& on) {
    return refusal([&] { (void)attention_matrix(of, on, Softmax{1}, NoMask{}, NoBias{}); });
  };
  CHECK(refused(Tokens<Scalar>::Ones(2, 1), keys) ==
        "attention_matrix: queries have 2 rows, expected 1 as keys have");
  CHECK(refused(Tokens<Scalar>(0, 1), Tokens<Scalar>(0, 1)) ==
        "attention_matrix: keys have 0 rows, expected d_k, at least 1");
  const Tokens<Scalar> bad = Tokens<Scalar>::Constant(1, 2, std::numeric_limits<Scalar>::infinity());
  CHECK_THAT(refused(bad, keys), ContainsSubstring("not finite"));
  CHECK_THAT(refused(query, bad), ContainsSubstring("not finite"));
}

// Each law with each mask and bias that it takes is its double loop, at every level; 70 tokens make tiles of three, two and
// one packs and a part of one at every width, 700 several chunks and panels.
TEMPLATE_TEST_CASE("masks with holes are their definition at every level", "[attention][laws]", float,
                   double) {
  using Scalar = TestType;
  std::mt19937_64 generator(11);
  for (const Index d : {1, 3, 6})
    for (const Index n : {1, 2, 17, 70}) {
      const double beta = 1.5 / static_cast<double>(d);
      check_definition<Scalar>(generator, n, d, Softmax{beta}, ExcludeSelf{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, Softmax{beta}, any_graph(n), Alibi{0.2}, 2);
      check_definition<Scalar>(generator, n, d, Unnormalized{beta}, Band{4, 9}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, Softmax{-beta}, Band{-2, 5}, NoBias{}, 1);
    }
  check_definition<Scalar>(generator, 700, 3, Softmax{1}, ExcludeSelf{}, NoBias{}, 1);
  check_definition<Scalar>(generator, 700, 6, Softmax{1}, any_graph(700), Alibi{0.2}, 1);
}

TEMPLATE_TEST_CASE("laws of exponentials are their definition at every level", "[attention][laws]", float,
                   double) {
  using Scalar = TestType;
  std::mt19937_64 generator(12);
  for (const Index d : {1, 2, 3, 6})
    for (const Index n : {1, 2, 17, 70}) {
      const double beta = 1.5 / static_cast<double>(d);
      check_definition<Scalar>(generator, n, d, L2Softmax{beta, 0.5}, NoMask{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, PositionWeighted{beta}, StrictCausal{}, Alibi{0.3}, 1);
      check_definition<Scalar>(generator, n, d, Softmax{beta}, Causal{}, any_masses(n, 0.1), 1);
      check_definition<Scalar>(generator, n, d, PositionWeighted{beta, true}, Causal{}, any_masses(n, -0.1),
                               1);
    }
}

TEMPLATE_TEST_CASE("laws without exponentials are their definition at every level", "[attention][laws]",
                   float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(13);
  for (const Index d : {1, 2, 3, 6})
    for (const Index n : {1, 2, 17, 70}) {
      check_definition<Scalar>(generator, n, d, Hardmax{}, NoMask{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, Hardmax{-1, Ties::first}, ExcludeSelf{}, Alibi{0.1}, 1);
      check_definition<Scalar>(generator, n, d, Sigmoid{2, -1}, Causal{}, NoBias{}, 2);
      check_definition<Scalar>(generator, n, d, Sigmoid{1, 0.5, attnflow::RowScale::none}, ExcludeSelf{},
                               any_masses(n, 0.2), 1);
      check_definition<Scalar>(generator, n, d, Linear{}, NoMask{}, NoBias{}, 2);
      check_definition<Scalar>(generator, n, d, Linear{-0.7}, Causal{}, Alibi{0.1}, 2);
    }
}

TEMPLATE_TEST_CASE("functions of a score, and laws of whole rows, are their definition at every level",
                   "[attention][laws]", float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(20);
  using namespace attnflow;
  for (const Index d : {1, 2, 3, 6})
    for (const Index n : {1, 2, 17, 70}) {
      check_definition<Scalar>(generator, n, d, ReluWeights{1}, NoMask{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, ReluWeights{-2, RowScale::mean}, Causal{}, any_masses(n, 0.1),
                               1);
      check_definition<Scalar>(generator, n, d, SoftplusWeights{2}, StrictCausal{}, NoBias{}, 2);
      check_definition<Scalar>(generator, n, d, SoftplusWeights{1, RowScale::none}, any_graph(n), NoBias{},
                               1);
      check_definition<Scalar>(generator, n, d, TopK{4}, NoMask{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, TopK{2, -1}, Causal{}, Alibi{0.1}, 2);
      check_definition<Scalar>(generator, n, d, Sparsemax{1}, ExcludeSelf{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, Sparsemax{0}, NoMask{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, Entmax15{1}, any_graph(n), Alibi{0.1}, 1);
      check_definition<Scalar>(generator, n, d, Entmax15{0.1}, Causal{}, NoBias{}, 1);
    }
}

TEMPLATE_TEST_CASE(
    "rotary positions, tables of biases and masks of distances are their definition at every level",
    "[attention][laws]", float, double) {
  using Scalar = TestType;
  using namespace attnflow;
  std::mt19937_64 generator(24);
  for (const Index n : {1, 2, 17, 70}) {
    const BiasTable table(reference::random<Tokens<double>>(generator, n, n + 2, -2, 2));
    const BiasFunction relative{[](Index i, Index j) { return std::sin(static_cast<double>(j - i)); }};
    for (const Index d : {2, 6, 12}) {
      const double beta = 1.5 / static_cast<double>(d);
      check_definition<Scalar>(generator, n, d, Softmax{beta}, NoMask{}, Rotary{}, 1);
      check_definition<Scalar>(generator, n, d, Softmax{beta}, Causal{}, Rotary{100, RotaryPlanes::halves},
                               2);
      check_definition<Scalar>(generator, n, d, Unnormalized{beta}, Band{3, 2}, RingRotary{{3, -1}}, 1);
      check_definition<Scalar>(generator, n, d, Hardmax{}, ExcludeSelf{}, RingRotary{}, 1);
      check_definition<Scalar>(generator, n, d, SoftplusWeights{1}, NoMask{}, Rotary{}, 1);
      check_definition<Scalar>(generator, n, d, Sparsemax{1}, any_graph(n), Rotary{}, 1);
    }
    for (const Index d : {1, 3, 12}) {
      const double beta = 1.5 / static_cast<double>(d), near = std::sqrt(static_cast<double>(d));
      check_definition<Scalar>(generator, n, d, Softmax{beta}, NoMask{}, table, 1);
      check_definition<Scalar>(generator, n, d, PositionWeighted{beta}, Causal{}, relative, 1);
      check_definition<Scalar>(generator, n, d, L2Softmax{beta, 0.5}, NoMask{}, table, 1);
      check_definition<Scalar>(generator, n, d, Sigmoid{1, 0.5}, any_graph(n), relative, 1);
      check_definition<Scalar>(generator, n, d, Hardmax{}, NoMask{}, table, 1);
      check_definition<Scalar>(generator, n, d, Entmax15{1}, ExcludeSelf{}, table, 1);
      check_definition<Scalar>(generator, n, d, Softmax{beta}, Within{near}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, Unnormalized{beta}, Within{near}, Alibi{0.2}, 1);
      check_definition<Scalar>(generator, n, d, L2Softmax{beta, 0.5}, Within{near}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, ReluWeights{1}, Within{near}, relative, 1);
      check_definition<Scalar>(generator, n, d, TopK{2}, Within{near}, NoBias{}, 1);
    }
  }
  check_definition<Scalar>(generator, 17, 4, Softmax{1}, Within{1.5}, Rotary{}, 1);
  check_definition<Scalar>(generator, 17, 40, Softmax{0.1}, Within{6}, NoBias{}, 1);
}

TEST_CASE("angles of rotary positions, and what is refused", "[attention][laws]") {
  using namespace attnflow;
  CHECK(Rotary{}.angle(0, 4, 7, 100) == 7);
  CHECK(std::abs(Rotary{}.angle(2, 4, 7, 100) - 0.07) < 1e-16);
  CHECK(std::abs(RingRotary{{0, 3}}.angle(1, 2, 5, 16) - 2 * std::numbers::pi * 15 / 16) < 1e-15);
  CHECK(RingRotary{{0, 3}}.angle(1, 2, 16, 16) == 0);
  CHECK(RingRotary{{1}}.angle(1, 2, 5, 16) == 0);
  // Scores depend on the difference of positions alone; on a ring modulo n.
  const Tokens<double> same = Tokens<double>::Constant(4, 6, 0.5);
  const auto P = attention_matrix(same, same, Softmax{1}, Causal{}, Rotary{}),
             ring = attention_matrix(same, same, Softmax{1}, NoMask{}, RingRotary{{1, 2}});
  CHECK(std::abs(P(3, 1) / P(3, 2) - P(5, 3) / P(5, 4)) < 1e-14);
  for (Index i = 0; i < 6; ++i)
    for (Index j = 0; j < 6; ++j) CHECK(std::abs(ring(i, j) - ring(0, (j - i + 6) % 6)) < 1e-15);
  const auto message = [&](const Tokens<double>& x, const auto& mask, const auto& bias) {
    return refusal([&] { (void)attention_matrix(x, x, Softmax{1}, mask, bias); });
  };
  CHECK(message(Tokens<double>::Ones(3, 2), NoMask{}, Rotary{}) ==
        "rotary positions: d_k is 3, expected an even number");
  CHECK(message(same, NoMask{}, Rotary{-1}) == "Rotary::base is -1, expected a finite positive number");
  CHECK(message(same, Within{0}, NoBias{}) == "Within::radius is 0, expected a positive number");
  CHECK(message(same, NoMask{}, BiasTable(Eigen::MatrixXd::Zero(6, 5))) ==
        "BiasTable: b is 6 x 5, but there are 6 queries and 6 keys");
  CHECK(refusal([] {
          BiasTable(Eigen::MatrixXd::Constant(1, 2, std::numeric_limits<double>::infinity()));
        }) == "BiasTable: b(0, 0) is inf, expected a finite number");
}

TEST_CASE("limits and special cases of the laws of whole rows", "[attention][laws]") {
  using namespace attnflow;
  std::mt19937_64 generator(21);
  const auto head = Head<double>::identity(3);
  const Tokens<double> x = reference::random<Tokens<double>>(generator, 3, 12);
  const auto P = [&](const auto& law) { return attention_matrix(head, x, law); };
  CHECK((P(TopK{12, 2}) - P(Softmax{2})).cwiseAbs().maxCoeff() < 1e-15);
  CHECK((P(TopK{100, 2}) - P(Softmax{2})).cwiseAbs().maxCoeff() < 1e-15);
  CHECK(P(TopK{1, 2}) == P(Hardmax{}));
  CHECK(P(Sparsemax{1e9}) == P(Hardmax{}));
  CHECK(P(Entmax15{1e9}) == P(Hardmax{}));
  // Keys that tie for the last place all count.
  Tokens<double> tied(1, 4);
  tied << 2, 1, 1, 0;
  const Tokens<double> first = attention_matrix(Head<double>::identity(1), tied, TopK{2}).row(0);
  CHECK(first(3) == 0);
  CHECK(first(1) == first(2));
  CHECK(first(1) > 0);
  // [MA16]: of the scores (0, −t) the second has the weight max(0, (1 − t)/2).
  Tokens<double> pair(1, 2);
  pair << 1, 0.6;
  CHECK(std::abs(attention_matrix(Head<double>::identity(1), pair, Sparsemax{})(0, 1) - 0.3) < 1e-15);
  // [PNM19]: with p = (a², b²), a − b = t/2 and a² + b² = 1.
  const double weight = attention_matrix(Head<double>::identity(1), pair, Entmax15{})(0, 1);
  CHECK(std::abs(std::sqrt(1 - weight) - std::sqrt(weight) - 0.2) < 1e-15);
  const Tokens<double> sums = P(Sparsemax{3}).rowwise().sum();
  CHECK((sums.array() - 1).abs().maxCoeff() < 1e-15);
  CHECK((P(Sparsemax{3}).array() == 0).any());
  CHECK_THROWS_WITH(P(TopK{0}), ContainsSubstring("TopK::k is 0, expected at least 1"));
}

TEMPLATE_TEST_CASE("exponentials for weight laws are exact to roundings of the score", "[attention][laws]",
                   float, double) {
  using Scalar = TestType;
  using Limits = std::numeric_limits<Scalar>;
  std::mt19937_64 generator(22);
  const double lowest = std::log(static_cast<double>(Limits::min())),
               highest = std::log(static_cast<double>(Limits::max()));
  for (int k = 0; k < 2000; ++k) {
    const auto s = static_cast<Scalar>(reference::uniform(generator, lowest * 0.999, highest * 0.999));
    const Real expected = std::exp(static_cast<Real>(s)),
               found = static_cast<Real>(attnflow::pointwise::exp(s));
    CHECK(std::abs(found - expected) <=
          reference::epsilon<Scalar> * (4 + std::abs(static_cast<Real>(s))) * expected);
    const auto u = static_cast<Scalar>(reference::uniform(generator, 0, 1));
    const Real log = std::log1p(static_cast<Real>(u));
    CHECK(std::abs(static_cast<Real>(attnflow::pointwise::log1p_of_fraction(u)) - log) <=
          4 * reference::epsilon<Scalar> * log);
  }
  CHECK(attnflow::pointwise::exp(Scalar(0)) == 1);
  CHECK(attnflow::pointwise::exp(Scalar(2 * lowest)) == 0);
  for (double s = lowest - 2; s < lowest + 2; s += 0.001) {
    const Scalar tiny = attnflow::pointwise::exp(static_cast<Scalar>(s));
    CHECK((tiny >= 0 && tiny < 16 * Limits::min()));
  }
  CHECK(attnflow::pointwise::exp(-Limits::infinity()) == 0);
  CHECK(attnflow::pointwise::exp(Scalar(2 * highest)) == Limits::infinity());
  CHECK(std::isnan(attnflow::pointwise::exp(Limits::quiet_NaN())));
}

TEMPLATE_TEST_CASE("Sinkhorn is the doubly stochastic scaling", "[attention][laws]", float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(14);
  for (const Index d : {2, 6})
    for (const Index n : {1, 2, 17, 70}) {
      const double beta = 0.8 / static_cast<double>(d);
      check_definition<Scalar>(generator, n, d, Sinkhorn{beta}, NoMask{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, Sinkhorn{beta, 2}, NoMask{}, any_masses(n), 1);
    }
  // Two tokens that may not attend to themselves change places, whatever their scores.
  check_definition<Scalar>(generator, 2, 3, Sinkhorn{1}, ExcludeSelf{}, NoBias{}, 1);
}

TEST_CASE("Sinkhorn keeps the mean, reports its marginals, and is softmax without iterations",
          "[attention][laws]") {
  std::mt19937_64 generator(15);
  const Head<double> head{reference::random<Tokens<double>>(generator, 3, 3),
                          reference::random<Tokens<double>>(generator, 3, 3), Eigen::Matrix3d::Identity()};
  const Tokens<double> x = reference::random<Tokens<double>>(generator, 3, 40);
  Tokens<double> out, softmax;
  RowRecord rows;
  attend(head, Sinkhorn{1}, NoMask{}, NoBias{}, x, out, &rows);
  CHECK(rows.iterations > 2);
  CHECK(rows.marginal_error <= 1e-12);
  CHECK((out.rowwise().sum() - x.rowwise().sum()).cwiseAbs().maxCoeff() <= 40 * 1e-12);
  const auto P = attention_matrix(head, x, Sinkhorn{1});
  CHECK((P.colwise().sum().array() - 1).abs().maxCoeff() <= 2e-12);
  CHECK((P.rowwise().sum().array() - 1).abs().maxCoeff() <= 1e-14);

  attend(head, Sinkhorn{1, 0}, NoMask{}, NoBias{}, x, out, &rows);
  attend(head, Softmax{1}, NoMask{}, NoBias{}, x, softmax);
  CHECK(rows.iterations == 0);
  CHECK(rows.marginal_error > 0.1);
  CHECK((out - softmax).cwiseAbs().maxCoeff() <= 1e-14);
  // Row and column potentials do not count: with Q = K distances and products have one scaling.
  Head<double> symmetric = head;
  symmetric.K = symmetric.Q;
  const Wide Q = wide(symmetric.Q), X = wide(x);
  Wide K0(40, 40);
  for (Index i = 0; i < 40; ++i)
    for (Index j = 0; j < 40; ++j) K0(i, j) = std::exp(-(Q * X.col(i) - Q * X.col(j)).squaredNorm() / 2);
  for (int sweep = 0; sweep < 20000; ++sweep) {
    for (Index j = 0; j < 40; ++j) K0.col(j) /= K0.col(j).sum();
    for (Index i = 0; i < 40; ++i) K0.row(i) /= K0.row(i).sum();
  }
  CHECK((wide(attention_matrix(symmetric, x, Sinkhorn{1})) - K0).cwiseAbs().maxCoeff() <= 1e-11L);
  CHECK_THROWS_WITH(attend(head, Sinkhorn{1}, Band{1, 0}, NoBias{}, x, out),
                    ContainsSubstring("Sinkhorn: the mask lets a token attend to one that does not"));
}

namespace {

/// The weights of Sinkhorn are the only ones with these rows and columns and with log Pᵢⱼ = sᵢⱼ + fᵢ + gⱼ: both are checked,
/// the latter in long double on differences of four entries, which neither f nor g enters.
template <class Scalar, class Mask, class Bias>
void check_scaling(const Head<Scalar>& head, const Tokens<Scalar>& x, const Mask& mask, const Bias& bias) {
  constexpr Real eps = reference::epsilon<Scalar>;
  const Index n = x.cols();
  const Sinkhorn law;
  const Wide S = (wide(head.Q) * wide(x)).transpose() * (wide(head.K) * wide(x));
  const Wide log_P = wide(log_attention(head, x, law, mask, bias)),
             P = wide(attention_matrix(head, x, law, mask, bias));
  const std::vector<Real> mass = definition::masses(bias, n);
  const auto m = Eigen::Map<const Eigen::Matrix<Real, Eigen::Dynamic, 1>>(mass.data(), n);
  Tokens<Scalar> out, again;
  RowRecord rows;
  attend(head, law, mask, bias, x, out, &rows);
  attend(head, law, mask, bias, x, again);
  const Real allowed =
      static_cast<Real>(attnflow::detail::column_tolerance<Scalar>(law)) + 2 * static_cast<Real>(n) * eps;
  CAPTURE(n, static_cast<double>(S.maxCoeff() - S.minCoeff()), rows.iterations);
  CHECK((P.rowwise().sum().array() - 1).abs().maxCoeff() <= 2 * static_cast<Real>(n) * eps);
  const Real off = ((P.transpose() * m - m).array() / m.array()).abs().maxCoeff();
  CHECK(off <= allowed);
  CHECK(rows.marginal_error <= attnflow::detail::column_tolerance<Scalar>(law));
  CHECK(std::abs(static_cast<Real>(rows.marginal_error) - off) <=
        4 * static_cast<Real>(n) * eps);                                                // as measured
  const Wide mean = wide(x) * m, moved = wide(out) * m, moved_again = wide(again) * m;  // V = I
  const Real bound = allowed * static_cast<Real>(n) * wide(x).cwiseAbs().maxCoeff();
  CHECK((moved - mean).cwiseAbs().maxCoeff() <= bound);
  CHECK((moved_again - mean).cwiseAbs().maxCoeff() <= bound);
  const Real rounding = 16 * eps * static_cast<Real>(x.rows()) * (S.cwiseAbs().maxCoeff() + 10);
  Real most = 0;
  for (Index i = 1; i < n; ++i)
    for (Index j = 1; j < n; ++j) {
      const auto four = [&](const Wide& A) { return A(i, j) - A(0, j) - A(i, 0) + A(0, 0); };
      if (std::isfinite(four(log_P))) most = (std::max)(most, std::abs(four(log_P) - four(S)));
    }
  CHECK(most <= rounding);
}

}  // namespace

TEMPLATE_TEST_CASE("Sinkhorn's rows and columns sum to one at scores of any spread", "[attention][laws]",
                   float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(1);
  const auto tokens = [&](Index d, Index n, double size) {
    return reference::random<Tokens<Scalar>>(generator, d, n, -size, size);
  };
  const auto identity = Head<Scalar>::identity(2);
  for (const double size : {2., 5., 15., 70.})  // scores that differ by up to 10⁴
    check_scaling(identity, tokens(2, 40, size), NoMask{}, NoBias{});
  check_scaling(identity, tokens(2, 20, 120), NoMask{}, NoBias{});
  check_scaling(identity, tokens(2, 310, 3), NoMask{}, NoBias{});  // by conjugate gradients
  check_scaling(identity, tokens(2, 30, 8), NoMask{}, any_masses(30));
  check_scaling(identity, tokens(2, 30, 8), ExcludeSelf{}, NoBias{});
  check_scaling(identity, tokens(2, 30, 8), Band{3, 3}, NoBias{});
  Head<Scalar> any{reference::random<Tokens<Scalar>>(generator, 3, 3),
                   reference::random<Tokens<Scalar>>(generator, 3, 3),
                   Eigen::Matrix<Scalar, 3, 3>::Identity()};
  check_scaling(any, tokens(3, 25, 40), NoMask{}, NoBias{});
  // Far from the origin, where scores are large and their differences are not.
  Tokens<Scalar> far = tokens(2, 12, 2);
  far.array() += Scalar(1024);
  check_scaling(identity, far, NoMask{}, NoBias{});
  // A token on its own has neither a row nor a column, and the others do not notice.
  Tokens<Scalar> four = tokens(2, 4, 1);
  const Graph alone(4, [](Index i, Index j) { return i != 1 && j != 1; });
  const auto P = attention_matrix(identity, four, Sinkhorn{}, alone);
  Tokens<Scalar> three(2, 3);
  three << four.col(0), four.col(2), four.col(3);
  const auto without = attention_matrix(identity, three, Sinkhorn{});
  const std::vector<Index> others{0, 2, 3};
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 3; ++j)
      CHECK(std::abs(P(others[static_cast<std::size_t>(i)], others[static_cast<std::size_t>(j)]) -
                     without(i, j)) <=
            4 * static_cast<Scalar>(attnflow::detail::column_tolerance<Scalar>(Sinkhorn{})));
  CHECK(P.row(1).isZero(0));
  CHECK(P.col(1).isZero(0));
  // Two tokens that may not attend to each other's like: the identity is the limit, not a scaling.
  const Graph ends(3, [](Index i, Index j) { return i + j >= 1 && i + j <= 2; });
  check_scaling(identity, tokens(2, 3, 1), ends, NoBias{});
}

TEMPLATE_TEST_CASE("Sinkhorn says where it has no weights", "[attention][laws]", float, double, long double) {
  using Scalar = TestType;
  std::mt19937_64 generator(2);
  const auto identity = Head<Scalar>::identity(2);
  const Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, 2, 6, -4, 4);
  const Graph star(6, [](Index i, Index j) { return (i == 0) != (j == 0); });
  Tokens<Scalar> out;
  RowRecord rows;
  attend(identity, Sinkhorn{}, star, NoBias{}, x, out, &rows);
  CHECK(out.array().isNaN().all());
  CHECK(rows.marginal_error > 0.5);
  CHECK_THROWS_AS(attention_matrix(identity, x, Sinkhorn{}, star), std::runtime_error);
  CHECK_THROWS_WITH(log_attention(identity, x, Sinkhorn{}, star),
                    ContainsSubstring("expected the tolerance: the mask may leave no weights"));
  if constexpr (std::is_same_v<Scalar, double>) {
    const Tokens<double> huge = x * 1e200;
    attend(identity, Sinkhorn{}, NoMask{}, NoBias{}, huge, out, &rows);
    CHECK(out.array().isNaN().all());
    CHECK(std::isinf(rows.marginal_error));
    CHECK_THROWS_WITH(attention_matrix(identity, huge, Sinkhorn{}),
                      ContainsSubstring("Sinkhorn: the scores are beyond what has logarithms"));
  }
}

TEST_CASE("linear weights beyond the range are infinite, and so is the drift", "[attention][laws]") {
  const Tokens<double> x = (Tokens<double>(1, 3) << 1e200, 0, -1e200).finished();
  const auto head = Head<double>::identity(1);
  const auto P = attention_matrix(head, x, Linear{1});
  CHECK(P(0, 0) == std::numeric_limits<double>::infinity());
  CHECK(P(0, 2) == -std::numeric_limits<double>::infinity());
  CHECK(P.row(1).isZero(0));
  Tokens<double> out;
  attend(head, Linear{1}, Causal{}, NoBias{}, x, out);
  CHECK(out(0, 0) == std::numeric_limits<double>::infinity());
  CHECK(out(0, 1) == 0);
}

TEMPLATE_TEST_CASE("ties are shared, decided or counted", "[attention][laws]", float, double) {
  using Scalar = TestType;
  // The corners of a square, turned so that equal scores are not equal in rounding: the origin and the axes tie.
  const Scalar c = std::cos(Scalar(0.3)), s = std::sin(Scalar(0.3));
  Eigen::Matrix<Scalar, 2, 2> turn;
  turn << c, -s, s, c;
  Tokens<Scalar> x(2, 7);
  x << 1, -1, -1, 1, 0, Scalar(0.5), 0,  //
      1, 1, -1, -1, 0, 0, Scalar(0.25);
  for (const bool turned : {false, true}) {
    Tokens<Scalar> y = x;
    if (turned) y = turn * x;
    const auto head = Head<Scalar>::identity(2);
    Tokens<Scalar> average, first, all;
    attend(head, Hardmax{}, NoMask{}, NoBias{}, y, average);
    attend(head, Hardmax{1, Ties::first}, NoMask{}, NoBias{}, y, first);
    RowRecord rows;
    attend(head, Hardmax{1, Ties::all}, NoMask{}, NoBias{}, y, all, &rows);
    const Scalar eps = 8 * std::numeric_limits<Scalar>::epsilon();
    for (Index i = 0; i < 4; ++i) CHECK(average.col(i) == y.col(i));  // leaders follow themselves
    CHECK((average.col(5) - (y.col(0) + y.col(3)) / 2).norm() <= eps);
    CHECK((average.col(6) - (y.col(0) + y.col(1)) / 2).norm() <= eps);
    CHECK((average.col(4) - y.rowwise().mean()).norm() <= eps);  // all seven tie at the origin
    CHECK(first.col(5) == y.col(0));
    CHECK(first.col(6) == y.col(0));
    CHECK(first.col(4) == y.col(0));
    CHECK((all.col(5) - (y.col(0) + y.col(3))).norm() <= eps);
    CHECK(rows.largest_key == std::vector<Index>{0, 1, 2, 3, 0, 0, 0});
    const auto P = attention_matrix(head, y, Hardmax{});
    CHECK(P(5, 0) == Scalar(0.5));
    CHECK(P(5, 3) == Scalar(0.5));
    CHECK(attention_matrix(head, y, Hardmax{1, Ties::all}).row(6).sum() == 2);
  }
  // Scores 0.1 and 0.0999, whose difference 0.0001 is made of 0.0999 and 0.1: equal to 5·10⁻⁴ of that.
  Tokens<Scalar> close(2, 3), mean;
  close << 1, 0, Scalar(0.1),  //
      0, Scalar(0.999), Scalar(0.1);
  attend(Head<Scalar>::identity(2), Hardmax{1, Ties::average, 1e-3}, ExcludeSelf{}, NoBias{}, close, mean);
  CHECK(mean(0, 2) == Scalar(0.5));
  attend(Head<Scalar>::identity(2), Hardmax{1, Ties::average, 1e-4}, ExcludeSelf{}, NoBias{}, close, mean);
  CHECK(mean(0, 2) == Scalar(1));
  // Each token's best match is itself, and with itself left out its neighbour.
  Tokens<Scalar> arc(2, 5);
  for (Index j = 0; j < 5; ++j) {
    const Scalar angle = Scalar(0.2) * static_cast<Scalar>(j * (j + 1));
    arc.col(j) << std::cos(angle), std::sin(angle);
  }
  Tokens<Scalar> out;
  attend(Head<Scalar>::identity(2), Hardmax{}, NoMask{}, NoBias{}, arc, out);
  CHECK(out == arc);
  attend(Head<Scalar>::identity(2), Hardmax{1, Ties::first}, ExcludeSelf{}, NoBias{}, arc, out);
  CHECK(out.col(0) == arc.col(1));
  CHECK(out.col(1) == arc.col(0));
}

TEMPLATE_TEST_CASE("hardmax is the limit of softmax at any scale", "[attention][laws]", float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(16);
  const Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, 3, 33);
  const auto head = Head<Scalar>::identity(3);
  Tokens<Scalar> hard, soft;
  attend(head, Hardmax{}, NoMask{}, NoBias{}, x, hard);
  attend(head, Softmax{1e30}, NoMask{}, NoBias{}, x, soft);
  CHECK(hard == soft);
  // Scores that underflow or overflow decide as well.
  for (const double size : {1e-25, 1e25}) {
    const Tokens<Scalar> y = x * static_cast<Scalar>(size);
    Tokens<Scalar> scaled;
    attend(head, Hardmax{}, NoMask{}, NoBias{}, y, scaled);
    CHECK((scaled - hard * static_cast<Scalar>(size)).cwiseAbs().maxCoeff() <=
          4 * std::numeric_limits<Scalar>::epsilon() * static_cast<Scalar>(size));
  }
}

TEMPLATE_TEST_CASE("distances are taken from differences", "[attention][laws]", float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(17);
  const Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, 2, 30);
  const auto head = Head<Scalar>::identity(2);
  const L2Softmax law{2};
  Tokens<Scalar> near_origin, far_away;
  attend(head, law, NoMask{}, NoBias{}, x, near_origin);
  // Moved by a power of two: tokens lose bits, and are compared with what is left of them.
  const Scalar shift = std::is_same_v<Scalar, float> ? Scalar(0x1p12) : Scalar(0x1p30);
  Tokens<Scalar> moved = x;
  moved.array() += shift;
  Tokens<Scalar> back = moved;
  back.array() -= shift;
  attend(head, law, NoMask{}, NoBias{}, back, near_origin);
  attend(head, law, NoMask{}, NoBias{}, moved, far_away);
  far_away.array() -= shift;
  CHECK((far_away - near_origin).cwiseAbs().maxCoeff() <= 4 * shift * std::numeric_limits<Scalar>::epsilon());
  const auto P = attention_matrix(head, moved, law);
  CHECK((P - attention_matrix(head, back, law)).cwiseAbs().maxCoeff() <=
        400 * std::numeric_limits<Scalar>::epsilon());
  // On the sphere with Q = K and c = 1/2, distances are products.
  Tokens<Scalar> unit = x;
  unit.colwise().normalize();
  CHECK((attention_matrix(head, unit, L2Softmax{2, 0.5}) - attention_matrix(head, unit, Softmax{2}))
            .cwiseAbs()
            .maxCoeff() <= 100 * std::numeric_limits<Scalar>::epsilon());
  // log ∑ⱼ e^{−β c ‖Q xᵢ − K xⱼ‖²}.
  RowRecord rows;
  attend(head, law, NoMask{}, NoBias{}, moved, far_away, &rows);
  double sum = 0;
  for (Index j = 0; j < 30; ++j)
    sum += std::exp(-2 * static_cast<double>((moved.col(4) - moved.col(j)).squaredNorm()));
  CHECK(std::abs(rows.log_normalizer[4] - std::log(sum)) <=
        1000 * double(std::numeric_limits<Scalar>::epsilon()));
  // Of any size: the nearest key counts alone, or all alike.
  for (const double size : {1e-30, 1e30}) {
    const Tokens<Scalar> y = x * static_cast<Scalar>(size);
    Tokens<Scalar> out;
    attend(head, law, NoMask{}, NoBias{}, y, out);
    const Tokens<Scalar> expected = size > 1 ? y : Tokens<Scalar>(y.rowwise().mean().replicate(1, 30));
    CHECK((out - expected).cwiseAbs().maxCoeff() <=
          64 * std::numeric_limits<Scalar>::epsilon() * static_cast<Scalar>(size));
  }
}

TEST_CASE("a mass counts as often as it says", "[attention][laws]") {
  std::mt19937_64 generator(18);
  const Head<double> head{reference::random<Tokens<double>>(generator, 2, 2),
                          reference::random<Tokens<double>>(generator, 2, 2),
                          reference::random<Tokens<double>>(generator, 2, 2)};
  const Tokens<double> x = reference::random<Tokens<double>>(generator, 2, 4);
  Tokens<double> copies(2, 8);
  copies << x.col(0), x.col(1), x.col(1), x.col(1), x.col(2), x.col(2), x.col(3), x.col(3);
  const TokenMasses masses{{1, 3, 2, 2}};
  const auto check = [&](const auto& law) {
    Tokens<double> weighted, plain;
    attend(head, law, NoMask{}, masses, x, weighted);
    attend(head, law, NoMask{}, NoBias{}, copies, plain);
    CHECK((weighted.col(0) - plain.col(0)).norm() <= 1e-12);
    CHECK((weighted.col(1) - plain.col(2)).norm() <= 1e-12);
    CHECK((weighted.col(3) - plain.col(7)).norm() <= 1e-12);
  };
  check(Softmax{1.5});
  check(Unnormalized{1.5});
  check(Sigmoid{1.5, -0.5});
  check(Linear{});
  check(L2Softmax{1.5});
  check(Sinkhorn{1.5, 1000, 1e-14});
  check(Sinkhorn{1.5});
}

TEST_CASE("laws, masks and masses refuse what makes no sense", "[attention][laws]") {
  const auto head = Head<double>::identity(2);
  const Tokens<double> x = Tokens<double>::Ones(2, 3);
  Tokens<double> out;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto attending = [&](const auto& law, const auto& mask, const auto& bias) {
    return [&head, &x, &out, law, mask, bias] { attend(head, law, mask, bias, x, out); };
  };
  CHECK_THROWS_WITH(attending(Hardmax{nan}, NoMask{}, NoBias{})(), ContainsSubstring("Hardmax::beta is nan"));
  CHECK_THROWS_WITH(attending(Hardmax{1, Ties::first, -1}, NoMask{}, NoBias{})(),
                    ContainsSubstring("Hardmax::tolerance is -1, expected a number from 0 to below 1"));
  CHECK_THROWS_WITH(attending(Sigmoid{1, nan}, NoMask{}, NoBias{})(),
                    ContainsSubstring("Sigmoid::bias is nan"));
  CHECK_THROWS_WITH(attending(Linear{nan}, NoMask{}, NoBias{})(), ContainsSubstring("Linear::beta is nan"));
  CHECK_THROWS_WITH(attending(L2Softmax{1, 0}, NoMask{}, NoBias{})(),
                    ContainsSubstring("L2Softmax::scale is 0, expected a positive number"));
  CHECK_THROWS_WITH(attending(Sinkhorn{1, -1}, NoMask{}, NoBias{})(),
                    ContainsSubstring("Sinkhorn::iterations is -1"));
  CHECK_THROWS_WITH(attending(PositionWeighted{nan}, NoMask{}, NoBias{})(),
                    ContainsSubstring("PositionWeighted::beta is nan"));
  CHECK_THROWS_WITH(attending(Softmax{}, NoMask{}, TokenMasses{{1, 2}})(),
                    ContainsSubstring("TokenMasses: 2 masses for 3 tokens"));
  CHECK_THROWS_WITH(attending(Softmax{}, NoMask{}, TokenMasses{{1, 0, 2}})(),
                    ContainsSubstring("TokenMasses::masses[1] is 0, expected a positive number"));
  CHECK_THROWS_WITH(attending(Softmax{}, any_graph(4), NoBias{})(),
                    ContainsSubstring("Graph: for 4 tokens, but there are 3"));
  CHECK_THROWS_WITH(Graph::from_matrix(Eigen::MatrixXd::Ones(2, 3)),
                    ContainsSubstring("Graph: the matrix is 2 x 3"));
  CHECK(Graph::from_matrix(Eigen::MatrixXd::Ones(3, 3)).symmetric());
  CHECK(!Graph(3, [](Index i, Index j) { return i < j; }).symmetric());
}

// Clang computes what a mask drops, and its exceptions with it, unless it is told otherwise (-ffp-exception-behavior).
#ifndef __clang__
namespace {

/// The floating-point exceptions that f raises. A program with feenableexcept(…) dies of them.
template <class F>
std::string exceptions_of(const F& f) {
  std::feclearexcept(FE_ALL_EXCEPT);
  f();
  std::string raised;
  if (std::fetestexcept(FE_DIVBYZERO) != 0) raised += "division by zero ";
  if (std::fetestexcept(FE_INVALID) != 0) raised += "invalid ";
  if (std::fetestexcept(FE_OVERFLOW) != 0) raised += "overflow ";
  return raised;
}

template <class Scalar, class Law, class Mask, class Bias>
void expect_no_exceptions(const Law& law, const Mask& mask, const Bias& bias, const Tokens<Scalar>& given) {
  // Weights that are not normalised overflow where their true value does.
  const bool normalized =
      attnflow::detail::rows_sum_to_one<Law>() || Law::function != WeightFunction::exponential;
  const Tokens<Scalar> x = normalized ? given : Tokens<Scalar>(given / Scalar(20));
  const auto head = Head<Scalar>::identity(x.rows());
  Tokens<Scalar> out;
  RowRecord rows;
  CAPTURE(x.rows(), x.cols(), law.beta);
  CHECK(exceptions_of([&] { attend(head, law, mask, bias, x, out); }).empty());
  CHECK(exceptions_of([&] { attend(head, law, mask, bias, x, out, &rows); }).empty());
  CHECK(exceptions_of([&] { (void)attention_matrix(head, x, law, mask, bias); }).empty());
  const auto form = attnflow::detail::form_of(head, law);
  if constexpr (attnflow::DoublyStochasticLaw<Law>) {
    for (const auto level : definition::levels_here()) {
      CAPTURE(std::string(attnflow::name_of(level)));
      attnflow::AttentionScratch<Scalar> scratch;
      const auto kernels =
          attnflow::detail::row_kernels<Scalar, Eigen::Dynamic, attnflow::detail::RowKind::general>(level,
                                                                                                    x.rows());
      REQUIRE(scratch.tokens.read(x.data(), x.rows(), x.cols()));
      const attnflow::detail::QuerySource<Scalar> source(
          attnflow::detail::QueryPoints<Scalar>::of(scratch.tokens), form);
      CHECK(exceptions_of([&] {
              (void)attnflow::detail::balance_rows(source, scratch.tokens, law, mask, bias, kernels, scratch,
                                                   {});
            }).empty());
    }
  } else if constexpr (!attnflow::DistanceLaw<Law>) {
    for (const auto level : definition::levels_here())
      for (const bool exact : {false, true})
        for (const Weighted what : {Weighted::tokens, Weighted::displacements}) {
          CAPTURE(std::string(attnflow::name_of(level)), exact);
          CHECK(exceptions_of([&] {
                  (void)definition::attend_at(level, form, law, mask, bias, x, exact, what);
                }).empty());
        }
  }
}
template <class Scalar, class Mask, class Bias>
void expect_no_exceptions_of_laws(const Mask& mask, const Bias& bias, const Tokens<Scalar>& x) {
  expect_no_exceptions(Softmax{1.5}, mask, bias, x);
  expect_no_exceptions(Unnormalized{1}, mask, bias, x);
  expect_no_exceptions(PositionWeighted{1}, mask, bias, x);
  expect_no_exceptions(L2Softmax{1}, mask, bias, x);
  expect_no_exceptions(Sigmoid{1, 0.5}, mask, bias, x);
  expect_no_exceptions(Linear{1}, mask, bias, x);
  expect_no_exceptions(attnflow::ReluWeights{1}, mask, bias, x);
  expect_no_exceptions(attnflow::SoftplusWeights{1}, mask, bias, x);
  if constexpr (!attnflow::detail::MassiveBias<Bias>) {
    expect_no_exceptions(Hardmax{1}, mask, bias, x);
    expect_no_exceptions(attnflow::TopK{3}, mask, bias, x);
    expect_no_exceptions(attnflow::Sparsemax{1}, mask, bias, x);
    expect_no_exceptions(attnflow::Entmax15{1}, mask, bias, x);
  }
  if constexpr (requires { mask.symmetric(); })
    if (mask.symmetric()) expect_no_exceptions(Sinkhorn{1}, mask, bias, x);
}

}  // namespace

TEMPLATE_TEST_CASE("no law raises a floating-point exception under any mask", "[attention][laws]", float,
                   double) {
  using Scalar = TestType;
  std::mt19937_64 generator(19);
  for (const Index d : {2, 6})
    for (const Index n : {1, 2, 19}) {           // parts of packs at every width
      for (const double size : {0., 1., 40.}) {  // all tokens in one place, bounded rows, exact ones
        const Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, d, n, -size, size);
        expect_no_exceptions_of_laws(NoMask{}, NoBias{}, x);
        expect_no_exceptions_of_laws(Causal{}, NoBias{}, x);
        expect_no_exceptions_of_laws(StrictCausal{}, Alibi{0.3}, x);
        expect_no_exceptions_of_laws(Band{2, 2}, any_masses(n), x);
        expect_no_exceptions_of_laws(ExcludeSelf{}, NoBias{}, x);
        expect_no_exceptions_of_laws(any_graph(n), NoBias{}, x);
      }
    }
}
#endif
