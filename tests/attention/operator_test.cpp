// The operator on three sets of points, and heads by their factors, against their definitions in long double.
#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/graph.hpp>
#include <attnflow/prediction/predict_limit.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/definition.hpp"
#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::AttentionScratch;
using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::RowRecord;
using attnflow::Softmax;
using attnflow::Tokens;
using attnflow::WeightFunction;
using Catch::Matchers::ContainsSubstring;
using reference::Index;
using reference::Real;
using reference::Wide;
using reference::wide;

template <class Scalar, class Law, class Mask, class Bias>
void check_three_sets(const Tokens<Scalar>& q, const Tokens<Scalar>& k, const Tokens<Scalar>& v,
                      const Law& law, const Mask& mask, const Bias& bias) {
  const Wide w = definition::weights(wide(q), wide(k), law, mask, bias), expected = wide(v) * w.transpose();
  const Real score = std::abs(static_cast<Real>(law.beta)) *
                         (wide(q).cwiseAbs().transpose() * wide(k).cwiseAbs()).maxCoeff() +
                     std::abs(static_cast<Real>(bias.slope)) * static_cast<Real>(q.cols() + k.cols());
  Real row = w.cwiseAbs().rowwise().sum().maxCoeff();
  if constexpr (std::is_same_v<Law, attnflow::Linear>) row += score;
  const Real relative = reference::epsilon<Scalar> *
                        (static_cast<Real>(2 * q.rows() + 8) * score + static_cast<Real>(2 * k.cols() + 16));
  const Real bound = 4 * relative * row * wide(v).cwiseAbs().maxCoeff() +
                     static_cast<Real>(std::numeric_limits<Scalar>::min());
  CAPTURE(q.rows(), v.rows(), q.cols(), k.cols(), law.beta, bias.slope);
  AttentionScratch<Scalar> scratch;
  for (const auto level : definition::levels_here()) {
    scratch.level = level;
    CAPTURE(std::string(attnflow::name_of(level)));
    Tokens<Scalar> out;
    attend(q, k, v, law, mask, bias, out, nullptr, &scratch);
    CHECK(reference::excess(wide(out), expected, bound) <= 1);
    RowRecord rows;
    attend(q, k, v, law, mask, bias, out, &rows, &scratch);
    CHECK(reference::excess(wide(out), expected, bound) <= 1);
    REQUIRE(rows.largest_key.size() == static_cast<std::size_t>(q.cols()));
  }
}

template <class Scalar>
Tokens<Scalar> draw(std::mt19937_64& generator, Index d, Index n, double size, double middle = 0) {
  return reference::random<Tokens<Scalar>>(generator, d, n, middle - size, middle + size);
}

/// A head whose matrices have entries of about the sizes given.
template <class Scalar>
Head<Scalar> factored(std::mt19937_64& generator, Index d, Index d_k, Index d_v) {
  return {draw<Scalar>(generator, d_k, d, 1), draw<Scalar>(generator, d_k, d, 1),
          draw<Scalar>(generator, d_v, d, 1), draw<Scalar>(generator, d, d_v, 1)};
}

/// The drift of heads by its definition, and how far a drift in working precision may be from it.
template <class Scalar, class Law, class Mask, class Bias>
void check_drift(const std::vector<Head<Scalar>>& heads, const Law& law, const Mask& mask, const Bias& bias,
                 const Tokens<Scalar>& x) {
  const Wide X = wide(x);
  Wide expected = Wide::Zero(x.rows(), x.cols()), bound = expected;
  for (const auto& head : heads) {
    const Wide q = wide(head.Q) * X, k = wide(head.K) * X;
    const Wide w = definition::weights(q, k, law, mask, bias);
    expected += wide(head.O) * (wide(head.V) * (X * w.transpose()));
    // Errors of scores are those of the images, whose terms are |Q| |x| and |K| |x − c|, c within the cloud.
    const Wide centred = X.colwise() - X.rowwise().mean();
    const Wide sizes = (wide(head.Q).cwiseAbs() * X.cwiseAbs()).transpose() *
                       (wide(head.K).cwiseAbs() * (2 * centred.cwiseAbs()));
    const bool shifts =
        attnflow::detail::rows_sum_to_one<Law>() && Law::function == WeightFunction::exponential;
    const Wide all =
        (wide(head.Q).cwiseAbs() * X.cwiseAbs()).transpose() * (wide(head.K).cwiseAbs() * X.cwiseAbs());
    const Real score = std::abs(static_cast<Real>(law.beta)) * (shifts ? sizes : all).maxCoeff() +
                       std::abs(static_cast<Real>(bias.slope)) * static_cast<Real>(x.cols());
    Real row = w.cwiseAbs().rowwise().sum().maxCoeff();
    if constexpr (std::is_same_v<Law, attnflow::Linear>) row += score;
    const Real relative = reference::epsilon<Scalar> * (static_cast<Real>(4 * x.rows() + 8) * (1 + score) +
                                                        static_cast<Real>(2 * x.cols() + 16));
    const Wide reach = wide(head.O).cwiseAbs() * (wide(head.V).cwiseAbs() * X.cwiseAbs());
    bound.array() += 2 * relative * row * reach.maxCoeff();
  }
  CAPTURE(x.rows(), x.cols(), heads.size(), heads[0].Q.rows(), heads[0].V.rows(), law.beta, bias.slope);
  const attnflow::TokenDynamics<Scalar, Eigen::Dynamic, Law, Mask, Bias> field(heads, law, mask, bias);
  Tokens<Scalar> dx;
  field(0, x, dx);
  CHECK(reference::excess(wide(dx), expected, bound) <= 1);
  if (heads.size() == 1) {
    Tokens<Scalar> out;
    attend(heads[0], law, mask, bias, x, out);
    CHECK(out == dx);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("three sets of points are their definition at every level", "[attention][operator]", float,
                   double) {
  using Scalar = TestType;
  std::mt19937_64 generator(31);
  for (const auto& [d_k, d_v] : {std::pair<Index, Index>{1, 1}, {2, 2}, {3, 5}, {9, 1}, {5, 17}})
    for (const auto& [m, n] : {std::pair<Index, Index>{1, 70}, {70, 1}, {19, 40}, {40, 19}}) {
      const double size = 1.5 / std::sqrt(static_cast<double>(d_k));
      // Keys off the origin: bounded rows see them from their middle.
      const auto q = draw<Scalar>(generator, d_k, m, size), k = draw<Scalar>(generator, d_k, n, size, 0.7),
                 v = draw<Scalar>(generator, d_v, n, 1, -0.4);
      check_three_sets<Scalar>(q, k, v, Softmax{1.5}, NoMask{}, NoBias{});
      check_three_sets<Scalar>(q, k, v, Softmax{-1}, attnflow::Causal{}, NoBias{});
      check_three_sets<Scalar>(q, k, v, Softmax{1}, attnflow::StrictCausal{}, attnflow::Alibi{0.2});
      check_three_sets<Scalar>(q, k, v, Softmax{1}, attnflow::Band{3, 2}, attnflow::Alibi{-0.1});
      check_three_sets<Scalar>(q, k, v, Softmax{1}, attnflow::ExcludeSelf{}, NoBias{});
      check_three_sets<Scalar>(q, k, v, attnflow::Unnormalized{1}, NoMask{}, NoBias{});
      check_three_sets<Scalar>(q, k, v, attnflow::PositionWeighted{1}, attnflow::Causal{},
                               attnflow::Alibi{0.2});
      check_three_sets<Scalar>(q, k, v, attnflow::Sigmoid{1, 0.5}, attnflow::Causal{}, NoBias{});
      check_three_sets<Scalar>(q, k, v, attnflow::Linear{1}, NoMask{}, NoBias{});
      check_three_sets<Scalar>(q, k, v, attnflow::Linear{1}, attnflow::Causal{}, attnflow::Alibi{0.2});
      check_three_sets<Scalar>(q, k, v, attnflow::Hardmax{1}, attnflow::Causal{}, NoBias{});
      check_three_sets<Scalar>(q, k, v, attnflow::ReluWeights{1}, attnflow::Causal{}, NoBias{});
      check_three_sets<Scalar>(q, k, v, attnflow::SoftplusWeights{2}, NoMask{}, attnflow::Alibi{0.1});
      check_three_sets<Scalar>(q, k, v, attnflow::TopK{3}, attnflow::Causal{}, attnflow::Alibi{0.1});
      check_three_sets<Scalar>(q, k, v, attnflow::Sparsemax{2}, NoMask{}, NoBias{});
      check_three_sets<Scalar>(q, k, v, attnflow::Entmax15{2}, attnflow::ExcludeSelf{}, NoBias{});
      std::vector<double> masses;
      for (Index j = 0; j < n; ++j) masses.push_back(1 + static_cast<double>(j % 3));
      check_three_sets<Scalar>(q, k, v, Softmax{1}, NoMask{}, attnflow::TokenMasses{masses});
      // Scores beyond what bounded rows take.
      check_three_sets<Scalar>(Tokens<Scalar>(q * Scalar(300)), k, v, Softmax{1}, NoMask{}, NoBias{});
    }
}

TEST_CASE("three sets of points of any size", "[attention][operator]") {
  std::mt19937_64 generator(32);
  const auto q = draw<double>(generator, 3, 5, 1), k = draw<double>(generator, 3, 8, 1),
             v = draw<double>(generator, 2, 8, 1);
  Tokens<double> plain, out;
  attend(q, k, v, Softmax{2}, NoMask{}, NoBias{}, plain);
  // Powers of two that cancel leave the bits, or the roundings of other loops.
  const auto check = [&](double of_queries, double of_keys, double of_values) {
    CAPTURE(of_queries, of_keys, of_values);
    attend(Tokens<double>(q * of_queries), Tokens<double>(k * of_keys), Tokens<double>(v * of_values),
           Softmax{2 / of_queries / of_keys}, NoMask{}, NoBias{}, out);
    CHECK((out / of_values - plain).cwiseAbs().maxCoeff() < 1e-14);
  };
  check(1, 1, 0x1p1000);
  check(1, 1, 0x1p-1000);
  check(0x1p900, 0x1p-900, 1);
  check(0x1p-900, 0x1p900, 1);
  check(0x1p500, 0x1p500, 0x1p1000);
  // Plain loops, with tokens beyond the square root of the largest number on both sides.
  const Tokens<long double> wide_x = draw<double>(generator, 3, 6, 1).cast<long double>();
  Head<long double> head = Head<long double>::identity(3);
  Tokens<long double> expected, found;
  attend(head, Softmax{1.5}, NoMask{}, NoBias{}, wide_x, expected);
  const long double size = std::ldexp(1.0L, 8500);
  head.Q /= size;
  head.K /= size;
  attend(head, Softmax{1.5}, NoMask{}, NoBias{}, Tokens<long double>(wide_x * size), found);
  CHECK((found / size - expected).cwiseAbs().maxCoeff() < 1e-17L);
}

TEST_CASE("three sets of points that are empty, not finite or of the wrong shape", "[attention][operator]") {
  Tokens<double> q = Tokens<double>::Ones(3, 2), k = Tokens<double>::Ones(3, 4),
                 v = Tokens<double>::Ones(2, 4), out;
  const auto run = [&](const Tokens<double>& queries, const Tokens<double>& keys,
                       const Tokens<double>& values) {
    attend(queries, keys, values, Softmax{}, NoMask{}, NoBias{}, out);
  };
  run(Tokens<double>(3, 0), k, v);
  CHECK(out.rows() == 2);
  CHECK(out.cols() == 0);
  run(q, Tokens<double>(3, 0), Tokens<double>(2, 0));
  CHECK(out == Tokens<double>::Zero(2, 2));
  RowRecord rows;
  attend(q, Tokens<double>(3, 0), Tokens<double>(2, 0), Softmax{}, NoMask{}, NoBias{}, out, &rows);
  CHECK(rows.log_normalizer == std::vector<double>(2, -std::numeric_limits<double>::infinity()));
  for (Tokens<double>* set : {&q, &k, &v}) {
    const double kept = (*set)(0, 1);
    (*set)(0, 1) = std::numeric_limits<double>::infinity();
    run(q, k, v);
    CHECK(out.array().isNaN().all());
    (*set)(0, 1) = kept;
  }
  CHECK_THROWS_WITH(run(Tokens<double>(2, 1), k, v),
                    ContainsSubstring("attend: queries have 2 rows, expected 3 as keys have"));
  CHECK_THROWS_WITH(run(q, k, Tokens<double>(2, 3)),
                    ContainsSubstring("attend: there are 3 values, expected 4, one for each key"));
  CHECK_THROWS_WITH(run(q, k, Tokens<double>(0, 4)), ContainsSubstring("values have 0 rows"));
  CHECK_THROWS_WITH(run(Tokens<double>(0, 2), Tokens<double>(0, 4), v),
                    ContainsSubstring("keys have 0 rows"));
}

TEMPLATE_TEST_CASE("heads by their factors are their definition", "[attention][operator]", float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(33);
  struct Shape {
    Index d, d_k, d_v, n;
  };
  for (const Shape& s : {Shape{9, 2, 2, 40}, Shape{20, 1, 3, 33}, Shape{17, 4, 1, 70}, Shape{24, 5, 16, 50}})
    for (const double middle : {0., 3.}) {
      const auto x = draw<Scalar>(generator, s.d, s.n, 1, middle);
      std::vector<Head<Scalar>> heads;
      for (int h = 0; h < 3; ++h) heads.push_back(factored<Scalar>(generator, s.d, s.d_k, s.d_v));
      const attnflow::detail::HeadFactors<Scalar> factors(heads[0]);
      REQUIRE(factors.pay(s.d, s.n, s.n));
      const double beta = 0.3 / static_cast<double>(s.d);
      const std::vector<Head<Scalar>> one(heads.begin(), heads.begin() + 1);
      check_drift(one, Softmax{beta}, NoMask{}, NoBias{}, x);
      check_drift(heads, Softmax{beta}, attnflow::Causal{}, NoBias{}, x);
      check_drift(heads, Softmax{-beta}, NoMask{}, attnflow::Alibi{0.2}, x);
      check_drift(heads, attnflow::Unnormalized{beta / 10}, NoMask{}, NoBias{}, x);
      check_drift(heads, attnflow::Sigmoid{beta, 0.5}, NoMask{}, NoBias{}, x);
      check_drift(heads, attnflow::Linear{beta}, NoMask{}, NoBias{}, x);
      check_drift(heads, attnflow::Linear{beta}, attnflow::Causal{}, NoBias{}, x);
      check_drift(heads, Softmax{1e5 * beta}, NoMask{}, NoBias{}, x);  // leaders alone
    }
}

TEMPLATE_TEST_CASE("factors of any size, and a cloud far from the origin", "[attention][operator]", float,
                   double) {
  using Scalar = TestType;
  constexpr bool single = std::is_same_v<Scalar, float>;
  std::mt19937_64 generator(34);
  const Index d = 12, n = 30;
  const auto x = draw<Scalar>(generator, d, n, 1);
  const auto head = factored<Scalar>(generator, d, 2, 3);
  const Softmax law{0.2};
  Tokens<Scalar> plain, out;
  attend(head, law, NoMask{}, NoBias{}, x, plain);
  const Scalar scale = plain.cwiseAbs().maxCoeff(), far = 400 * std::numeric_limits<Scalar>::epsilon();
  const auto of_size = [&](int q, int k, int v, int o) {
    Head<Scalar> other = head;
    other.Q *= std::ldexp(Scalar(1), q);
    other.K *= std::ldexp(Scalar(1), k);
    other.V *= std::ldexp(Scalar(1), v);
    other.O *= std::ldexp(Scalar(1), o);
    return other;
  };
  // Powers of two leave the bits.
  const int big = single ? 100 : 900;
  attend(of_size(big, -big, 0, 0), law, NoMask{}, NoBias{}, x, out);
  CHECK(out == plain);
  attend(of_size(0, 0, big, -big), law, NoMask{}, NoBias{}, x, out);
  CHECK(out == plain);
  // Tokens of extreme size are taken through the forms.
  for (const int size : {single ? 60 : 700, single ? -60 : -700}) {
    const Scalar unit = std::ldexp(Scalar(1), size);
    attend(of_size(-size, -size, 0, 0), law, NoMask{}, NoBias{}, Tokens<Scalar>(x * unit), out);
    CHECK((out / unit - plain).cwiseAbs().maxCoeff() <= far * scale);
  }
  // A softmax sees no shift of the keys. Here queries are tokens, too: of V alone the shift is seen.
  const Scalar away = single ? Scalar(1e3) : Scalar(1e7);
  Tokens<Scalar> shifted = x;
  shifted.array() += away;
  Head<Scalar> level = head;
  const Tokens<Scalar> rows = level.Q;
  level.Q = rows - rows.rowwise().mean().replicate(1, d);  // Q takes vectors of equal entries to zero
  Tokens<Scalar> near, distant;
  attend(level, law, NoMask{}, NoBias{}, x, near);
  attend(level, law, NoMask{}, NoBias{}, shifted, distant);
  const Tokens<Scalar> moved = (level.value() * Tokens<Scalar>::Constant(d, n, away));
  CHECK((distant - moved - near).cwiseAbs().maxCoeff() <=
        far * away * level.O.cwiseAbs().rowwise().sum().maxCoeff() * static_cast<Scalar>(d));
}

TEST_CASE("heads whose units differ, and heads that are zero", "[attention][operator]") {
  std::mt19937_64 generator(35);
  const Index d = 10, n = 20;
  const auto x = draw<double>(generator, d, n, 1);
  const auto large = factored<double>(generator, d, 2, 2);
  auto none = factored<double>(generator, d, 2, 2), small = factored<double>(generator, d, 2, 2);
  none.O.setZero();
  small.V *= 0x1p-700;
  small.O *= 0x1p-300;
  Tokens<double> alone, out;
  attend(large, Softmax{}, NoMask{}, NoBias{}, x, alone);
  for (const auto& heads :
       {std::vector{none, large, small}, std::vector{small, none, large}, std::vector{large, none}}) {
    const attnflow::TokenDynamics<double> field(heads);
    field(0, x, out);
    CHECK((out - alone).cwiseAbs().maxCoeff() <= 1e-15 * alone.cwiseAbs().maxCoeff());
  }
  // What is small is not lost beside a zero.
  Tokens<double> tiny;
  attend(small, Softmax{}, NoMask{}, NoBias{}, x, tiny);
  CHECK(tiny.cwiseAbs().maxCoeff() > 0);
  for (const auto& heads : {std::vector{none, small}, std::vector{small, none}}) {
    const attnflow::TokenDynamics<double> field(heads);
    field(0, x, out);
    CHECK(out == tiny);
  }
  // An O V that is below every number is zero, whatever its factors are.
  auto lost = factored<double>(generator, d, 2, 2);
  lost.V *= 0x1p-700;
  lost.O *= 0x1p-700;
  for (const auto& heads : {std::vector{lost, large}, std::vector{large, lost}}) {
    const attnflow::TokenDynamics<double> field(heads);
    field(0, x, out);
    CHECK((out - alone).cwiseAbs().maxCoeff() <= 1e-15 * alone.cwiseAbs().maxCoeff());
  }
  auto beyond = lost;
  beyond.V *= 0x1p1000, beyond.V *= 0x1p400;
  beyond.O *= 0x1p1000, beyond.O *= 0x1p400;
  CHECK_THROWS_WITH(attnflow::TokenDynamics<double>(beyond),
                    ContainsSubstring("TokenDynamics: O V has an entry that is not finite"));
}

TEST_CASE("a head knows its output", "[attention][operator]") {
  std::mt19937_64 generator(36);
  auto head = factored<double>(generator, 5, 2, 3);
  CHECK(head.dim() == 5);
  CHECK(head.value().isApprox(head.O * head.V, 1e-15));
  CHECK(Head<double>::identity(4).value() == Eigen::MatrixXd::Identity(4, 4));
  const auto refuse = [](const Head<double>& wrong, const std::string& words) {
    CHECK_THROWS_WITH(wrong.validate("head"), ContainsSubstring(words));
  };
  head.O.resize(5, 2);
  head.O.setZero();
  refuse(head, "head: O is 5 x 2, expected 5 x 3, the shape of V transposed");
  head.O.resize(5, 0);
  refuse(head, "head: V is 3 x 5, expected a square matrix of size at least 1");
  head.O = draw<double>(generator, 5, 3, 1);
  head.O(0, 0) = std::numeric_limits<double>::quiet_NaN();
  refuse(head, "head: O has an entry that is not finite");
  // What a theorem says of a head is said of O V.
  Head<double> with_output = Head<double>::identity(2);
  with_output.V = Eigen::MatrixXd::Identity(2, 2) * 2;
  with_output.O = Eigen::MatrixXd::Identity(2, 2) / 2;
  CHECK(attnflow::predict_limit(std::vector{with_output}).limit ==
        attnflow::predict_limit(std::vector{Head<double>::identity(2)}).limit);
  with_output.O = -Eigen::MatrixXd::Identity(2, 2) / 2;
  CHECK(
      attnflow::predict_limit(std::vector{with_output}).limit ==
      attnflow::predict_limit(std::vector{Head<double>::with_value(-Eigen::MatrixXd::Identity(2, 2))}).limit);
}

TEST_CASE("results do not depend on the scratch space", "[attention][operator]") {
  std::mt19937_64 generator(37);
  AttentionScratch<double> used;
  for (const Index n : {70, 3, 41}) {
    const auto q = draw<double>(generator, 3, n, 1), k = draw<double>(generator, 3, n + 5, 1),
               v = draw<double>(generator, 7, n + 5, 1);
    Tokens<double> a, b;
    attend(q, k, v, Softmax{}, attnflow::Causal{}, attnflow::Alibi{0.1}, a, nullptr, &used);
    AttentionScratch<double> fresh;
    attend(q, k, v, Softmax{}, attnflow::Causal{}, attnflow::Alibi{0.1}, b, nullptr, &fresh);
    CHECK(a == b);
    attend(q, k, v, Softmax{}, attnflow::Causal{}, attnflow::Alibi{0.1}, b);
    CHECK(a == b);
  }
}
