#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <utility>

namespace {

using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::RowRecord;
using attnflow::Softmax;
using attnflow::Tokens;
using attnflow::Weighted;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

template <class Scalar, int Dim>
Head<Scalar, Dim> random_head(std::mt19937_64& generator, Index d, Index inner) {
  using H = Head<Scalar, Dim>;
  return {reference::random<typename H::Projection>(generator, inner, d),
          reference::random<typename H::Projection>(generator, inner, d),
          reference::random<typename H::Square>(generator, d, d)};
}

/// attend, attention_matrix and log_attention against the double loop, at one size.
template <class Scalar, int Dim>
void check_definition(std::mt19937_64& generator, Index n, Index d, Index inner, double beta) {
  CAPTURE(n, d, inner, beta);
  constexpr Real eps = reference::epsilon<Scalar>;
  const auto head = random_head<Scalar, Dim>(generator, d, inner);
  const auto x = reference::random<Tokens<Scalar, Dim>>(generator, d, n, -2, 2);
  const Wide X = wide(x), V = wide(head.V);
  const auto expected = reference::attention_of(head, beta, X);
  const Wide bound = expected.bound(eps, d + inner);

  Tokens<Scalar, Dim> out(d, 3);  // attend resizes
  RowRecord rows;
  attend(head, Softmax{beta}, NoMask{}, NoBias{}, x, out, &rows);
  const Wide sums = reference::means(expected, X);
  const Wide sums_bound = reference::sum_bound(expected, X, false, eps, d + inner);
  CHECK(reference::excess(wide(out), V * sums, reference::product_bound(V, sums, sums_bound, eps)) <= 1);

  REQUIRE(rows.log_normalizer.size() == static_cast<std::size_t>(n));
  REQUIRE(rows.largest_key.size() == static_cast<std::size_t>(n));
  Real log_excess = 0, key_excess = 0;
  for (Index i = 0; i < n; ++i) {
    const auto k = static_cast<std::size_t>(i);
    const Real unit = static_cast<Real>(d + inner + 8) * eps;
    Real mean = 0;
    for (Index l = 0; l < n; ++l) mean += expected.P(i, l) * expected.condition(i, l);
    const Real off = std::abs(static_cast<Real>(rows.log_normalizer[k]) - expected.log_normalizer[k]);
    log_excess = std::max(log_excess, off / (unit * (expected.normalizer_condition[k] + mean) +
                                             static_cast<Real>(n + 8) * eps));
    // The largest key is that of the largest score, or one that roundings cannot tell from it.
    const Index key = rows.largest_key[k];
    REQUIRE((key >= 0 && key < n));
    if (expected.score_differences(i, key) < 0)
      key_excess =
          std::max(key_excess, -expected.score_differences(i, key) / (unit * expected.condition(i, key)));
  }
  CHECK(log_excess <= 1);
  CHECK(key_excess <= 1);

  Tokens<Scalar, Dim> displaced;
  attend(score_form(head, beta), nullptr, Weighted::displacements, x, displaced);
  CHECK(reference::excess(wide(displaced), reference::displacements(expected, X),
                          reference::sum_bound(expected, X, true, eps, d + inner)) <= 1);

  const auto P = attention_matrix(head, x, Softmax{beta});
  const auto log_P = log_attention(head, x, Softmax{beta});
  CHECK(reference::excess(wide(P), expected.P, bound) <= 1);
  CHECK(reference::excess(wide(log_P), expected.log_P,
                          expected.log_bound(eps, d + inner) + eps * expected.log_P.cwiseAbs()) <= 1);
  if (n > 0) {
    CHECK(P.minCoeff() >= 0);
    CHECK(reference::excess(wide(P).rowwise().sum(), Wide::Ones(n, 1), 4 * static_cast<Real>(n) * eps) <= 1);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("attention is its double loop, every shape and beta", "[attention]", float, double) {
  std::mt19937_64 generator(10);
  for (const Index d : {1, 2, 3, 4, 5, 6, 17})
    for (const Index n : {0, 1, 2, 25})
      for (const Index inner : {Index(1), d, d + 3})
        for (const double beta : {0.0, 0.3, 1.0, -2.0})
          check_definition<TestType, Eigen::Dynamic>(generator, n, d, inner, beta);
  for (const Index d : {1, 2, 3, 4, 6, 17})
    check_definition<TestType, Eigen::Dynamic>(generator, 257, d, d > 1 ? d - 1 : 2, 1);
}

TEMPLATE_TEST_CASE("attention is its double loop for fixed dimensions", "[attention]", float, double) {
  std::mt19937_64 generator(11);
  const auto check = [&](auto dim) {
    constexpr int Dim = decltype(dim)::value;
    for (const Index n : {0, 1, 2, 3, 25, 257})
      for (const double beta : {1.0, -2.0, 0.3})
        check_definition<TestType, Dim>(generator, n, Dim, Dim + 1, beta);
  };
  check(std::integral_constant<int, 1>{});
  check(std::integral_constant<int, 2>{});
  check(std::integral_constant<int, 3>{});
  check(std::integral_constant<int, 4>{});
  check(std::integral_constant<int, 5>{});
  check(std::integral_constant<int, 9>{});
}

TEMPLATE_TEST_CASE("attention with a flow is attention of the flowed tokens", "[attention]", float, double) {
  // E applied inside is E applied before: to scores, not to the values that are summed.
  std::mt19937_64 generator(12);
  constexpr Real eps = reference::epsilon<TestType>;
  for (const Index d : {1, 2, 3, 5, 17}) {
    const auto head = random_head<TestType, Eigen::Dynamic>(generator, d, d + 1);
    const auto x = reference::random<Tokens<TestType>>(generator, d, 25);
    const attnflow::ScaledMatrix<> flow{reference::random<Eigen::MatrixXd>(generator, d, d), 0.4};
    const Wide X = wide(x), E = wide(flow.matrix) * std::exp(static_cast<Real>(flow.log_scale));
    const auto expected = reference::attention(wide(head.Q), wide(head.K), 1, E, E.cwiseAbs(), X);
    const auto form = score_form(head, 1);
    CHECK(reference::excess(wide(attention_matrix(form, &flow, x)), expected.P,
                            expected.bound(eps, 3 * d + 1)) <= 1);
    for (const bool displaced : {false, true}) {
      Tokens<TestType> out;
      attend(form, &flow, displaced ? Weighted::displacements : Weighted::tokens, x, out);
      CHECK(reference::excess(
                wide(out), displaced ? reference::displacements(expected, X) : reference::means(expected, X),
                reference::sum_bound(expected, X, displaced, eps, 3 * d + 1)) <= 1);
    }
  }
}

TEMPLATE_TEST_CASE("beta zero weighs all tokens alike", "[attention]", float, double) {
  std::mt19937_64 generator(13);
  const auto head = random_head<TestType, 3>(generator, 3, 3);
  for (const TestType size : {TestType(1), std::numeric_limits<TestType>::max() / 4}) {
    const Tokens<TestType, 3> x = reference::random<Tokens<TestType, 3>>(generator, 3, 7) * size;
    const auto P = attention_matrix(head, x, Softmax{0});
    CHECK((P.array() - TestType(1) / 7).abs().maxCoeff() <= 4 * std::numeric_limits<TestType>::epsilon());
  }
}

TEMPLATE_TEST_CASE("a call leaves nothing behind for the next one", "[attention]", float, double) {
  // The scratch space of a thread is shared by all calls: sizes, exponents and references must be this call's.
  std::mt19937_64 generator(14);
  const auto head = random_head<TestType, Eigen::Dynamic>(generator, 3, 3);
  const auto x = reference::random<Tokens<TestType>>(generator, 3, 9);
  const Tokens<TestType> first = attend(head, x);
  const Tokens<TestType> huge = Tokens<TestType>::Constant(3, 40, std::numeric_limits<TestType>::max());
  CHECK(attend(Head<TestType>::identity(3), huge) == huge);
  CHECK(attend(head, x) == first);
  CHECK(attend(Head<TestType>::identity(5), Tokens<TestType>(Tokens<TestType>::Ones(5, 2))) ==
        Tokens<TestType>::Ones(5, 2));
  CHECK(attend(head, x) == first);
  CHECK(attend(Head<TestType>::identity(3), Tokens<TestType>(3, 0)).cols() == 0);
  CHECK(attend(head, x) == first);
}

TEMPLATE_TEST_CASE("a token that is not finite makes everything NaN", "[attention]", float, double) {
  using Catch::Matchers::ContainsSubstring;
  using Limits = std::numeric_limits<TestType>;
  const auto head = Head<TestType, 2>::identity();
  for (const TestType bad : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()})
    for (const Index at : {0, 5, 12}) {
      Tokens<TestType, 2> x = Tokens<TestType, 2>::Ones(2, 13);
      x(1, at) = bad;
      RowRecord rows;
      Tokens<TestType, 2> out;
      attend(head, Softmax{}, NoMask{}, NoBias{}, x, out, &rows);
      REQUIRE(out.cols() == 13);
      CHECK(out.array().isNaN().all());
      CHECK(std::isnan(rows.log_normalizer[3]));
      attend(score_form(head, 1), nullptr, Weighted::displacements, x, out);
      CHECK(out.array().isNaN().all());
      CHECK_THAT(refusal([&] { static_cast<void>(attention_matrix(head, x)); }),
                 ContainsSubstring("x has an entry that is not finite"));
      CHECK_THAT(refusal([&] { static_cast<void>(log_attention(head, x)); }),
                 ContainsSubstring("x has an entry that is not finite"));
    }
}

TEST_CASE("a caller's mistakes are refused by name", "[attention]") {
  using Catch::Matchers::ContainsSubstring;
  using H = Head<double>;
  using Matrix = Eigen::MatrixXd;
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const Tokens<double> x = Tokens<double>::Ones(2, 3);
  const auto call = [&](const H& head, double beta = 1) {
    return refusal([&] {
      Tokens<double> out;
      attend(head, Softmax{beta}, NoMask{}, NoBias{}, x, out);
    });
  };
  const Matrix I = Matrix::Identity(2, 2);
  CHECK(call(H{I, I, I}) == "nothing was refused");
  CHECK_THAT(call(H{I, I, Matrix(2, 3)}), ContainsSubstring("attend: V is 2 x 3"));
  CHECK_THAT(call(H{I, I, Matrix(0, 0)}), ContainsSubstring("attend: V is 0 x 0"));
  CHECK_THAT(call(H{Matrix(2, 3), I, I}), ContainsSubstring("attend: Q is 2 x 3"));
  CHECK_THAT(call(H{Matrix(0, 2), Matrix(0, 2), I}), ContainsSubstring("attend: Q is 0 x 2"));
  CHECK_THAT(call(H{I, Matrix(2, 1), I}), ContainsSubstring("attend: K is 2 x 1"));
  CHECK_THAT(call(H{I, Matrix(3, 2), I}), ContainsSubstring("attend: K is 3 x 2, expected 2 rows"));
  for (const double bad : {nan, inf, -inf}) {
    const Matrix B = (Matrix(2, 2) << 1, 0, bad, 1).finished();
    CHECK_THAT(call(H{B, I, I}), ContainsSubstring("attend: Q has an entry that is not finite"));
    CHECK_THAT(call(H{I, B, I}), ContainsSubstring("attend: K has an entry that is not finite"));
    CHECK_THAT(call(H{I, I, B}), ContainsSubstring("attend: V has an entry that is not finite"));
    CHECK_THAT(call(H{I, I, I}, bad), ContainsSubstring("Softmax::beta is"));
  }
  CHECK_THAT(call(H::identity(3)), ContainsSubstring("attend: x has 2 rows, expected d = 3"));
  CHECK_THAT(refusal([&] { static_cast<void>(log_attention(H::identity(3), x)); }),
             ContainsSubstring("log_attention: x has 2 rows"));
  CHECK_THAT(refusal([&] { static_cast<void>(attention_matrix(H::identity(3), x)); }),
             ContainsSubstring("x has 2 rows, expected d = 3"));
  CHECK_THAT(refusal([&] { static_cast<void>(H::identity(0)); }), ContainsSubstring("Head::identity: d"));
}
