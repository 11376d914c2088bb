// Scores and tokens at the ends of the range: no overflow, no NaN, and what exact arithmetic would say.
#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::RowRecord;
using attnflow::ScaledMatrix;
using attnflow::Tokens;
using attnflow::Weighted;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

/// Rows that exact reasoning makes Boolean: every other weight is below the smallest Scalar.
template <class Scalar>
std::vector<bool> boolean_rows(const reference::Attention& a, Index inner) {
  std::vector<bool> boolean;
  for (Index i = 0; i < a.P.rows(); ++i) {
    bool decided = true;
    for (Index j = 0; j < a.P.cols(); ++j) {
      const Real roundings = static_cast<Real>(inner + 8) * reference::epsilon<Scalar> * a.condition(i, j);
      if (j != a.leader[static_cast<std::size_t>(i)] && !(a.score_differences(i, j) + roundings < -800))
        decided = false;
    }
    boolean.push_back(decided);
  }
  return boolean;
}

/// Each Boolean row must be exactly its leader; returns how many there were.
template <class Scalar, int Dim>
Index check_boolean(const Head<Scalar, Dim>& head, const Tokens<Scalar, Dim>& x) {
  const Index n = x.cols(), d = x.rows();
  const auto expected = reference::attention_of(head, 1, wide(x));
  const auto boolean = boolean_rows<Scalar>(expected, d + head.Q.rows());
  const auto form = score_form(head, 1);
  const auto P = attention_matrix(form, nullptr, x);
  const auto log_P = log_attention(form, nullptr, x);
  CHECK_FALSE(log_P.array().isNaN().any());
  RowRecord rows;
  Tokens<Scalar, Dim> mean, displaced;
  attend(form, nullptr, Weighted::tokens, x, mean, &rows);
  attend(form, nullptr, Weighted::displacements, x, displaced);
  CHECK(mean.allFinite());
  CHECK_FALSE(displaced.array().isNaN().any());
  Index count = 0;
  bool right = true;
  for (Index i = 0; i < n; ++i) {
    if (!boolean[static_cast<std::size_t>(i)]) continue;
    ++count;
    const Index leader = expected.leader[static_cast<std::size_t>(i)];
    right = right && rows.largest_key[static_cast<std::size_t>(i)] == leader;
    for (Index j = 0; j < n; ++j) right = right && P(i, j) == (j == leader ? 1 : 0);
    // The weights are exactly 0 and 1, so the sums are exactly the leader and one rounded difference.
    right = right && mean.col(i) == x.col(leader);
    right = right && displaced.col(i) == (x.col(leader) - x.col(i)).eval();
  }
  CHECK(right);
  return count;
}

}  // namespace

TEMPLATE_TEST_CASE("scores of a hundred million and far beyond give Boolean rows", "[attention][extreme]",
                   float, double) {
  using Limits = std::numeric_limits<TestType>;
  std::mt19937_64 generator(20);
  for (const Index d : {1, 2, 3, 5, 17})
    for (const TestType size :
         {TestType(1e4), TestType(1e15), std::sqrt(Limits::max()), Limits::max() / 64, Limits::max()}) {
      CAPTURE(d, size);
      Head<TestType> head = Head<TestType>::identity(d);
      for (const bool plain : {true, false}) {
        if (!plain) {
          head.Q = reference::random<typename Head<TestType>::Projection>(generator, d + 1, d);
          head.K = reference::random<typename Head<TestType>::Projection>(generator, d + 1, d);
        }
        const Tokens<TestType> x = reference::random<Tokens<TestType>>(generator, d, 33) * size;
        CHECK(check_boolean(head, x) >= 25);  // of 33 rows: the test looked at something
      }
    }
}

TEMPLATE_TEST_CASE("huge weights and tiny tokens, and the other way round", "[attention][extreme]", float,
                   double) {
  std::mt19937_64 generator(21);
  constexpr Real eps = reference::epsilon<TestType>;
  const int most = std::numeric_limits<TestType>::max_exponent - 8;
  for (const Index d : {1, 2, 3, 6}) {
    const auto x = reference::random<Tokens<TestType>>(generator, d, 21, -2, 2);
    Head<TestType> head{reference::random<typename Head<TestType>::Projection>(generator, d + 1, d),
                        reference::random<typename Head<TestType>::Projection>(generator, d + 1, d),
                        Head<TestType>::Square::Identity(d, d)};
    const auto P = attention_matrix(head, x);
    const auto expected = reference::attention_of(head, 1, wide(x));
    for (const int e : {1, most / 4, most / 2, most - 40, -most / 4, -most / 2, -most + 40}) {
      CAPTURE(d, e);
      // x 2ᵉ, Q 2⁻ᵉ, K 2⁻ᵉ: not a rounding differs, so neither may the result by more than the scale's.
      Head<TestType> scaled = head;
      scaled.Q *= std::ldexp(TestType(1), -e);
      scaled.K *= std::ldexp(TestType(1), -e);
      const Tokens<TestType> y = x * std::ldexp(TestType(1), e);
      const auto R = attention_matrix(scaled, y);
      // The scale 2^{2e} passes through a logarithm of size |e|: its error is ε |e| of the score in double.
      const Real slack = 8 * reference::epsilon<double> * std::abs(static_cast<Real>(e));
      CHECK(reference::excess(wide(R), wide(P), 2 * expected.bound(eps, 2 * d + 1, slack)) <= 1);
      Tokens<TestType> mean;
      attend(score_form(scaled, 1), nullptr, Weighted::tokens, y, mean);
      const Wide unscaled = wide(mean) * std::ldexp(Real(1), -e);
      CHECK(reference::excess(unscaled, reference::means(expected, wide(x)),
                              reference::sum_bound(expected, wide(x), false, eps, 2 * d + 1, slack)) <= 1);
    }
  }
}

TEMPLATE_TEST_CASE("tokens too small to have a score are weighed alike", "[attention][extreme]", float,
                   double) {
  using Limits = std::numeric_limits<TestType>;
  std::mt19937_64 generator(22);
  for (const TestType size :
       {Limits::min() * 8, Limits::min() / 16, Limits::denorm_min() * 100, TestType(0)}) {
    const Tokens<TestType, 3> x = reference::random<Tokens<TestType, 3>>(generator, 3, 10) * size;
    const auto head = Head<TestType, 3>::identity();
    const auto P = attention_matrix(head, x);
    CHECK((P.array() - TestType(0.1)).abs().maxCoeff() <= 4 * Limits::epsilon());
    const Wide mean = wide(x).rowwise().mean();
    const Tokens<TestType, 3> out = attend(head, x);
    // Denormal products are rounded to multiples of the smallest number: n of them.
    const Real bound =
        20 * static_cast<Real>(Limits::epsilon() * size) + 20 * static_cast<Real>(Limits::denorm_min());
    CHECK(reference::excess(wide(out), mean.replicate(1, 10), bound) <= 1);
  }
}

TEMPLATE_TEST_CASE("near ties far from the origin are resolved to relative accuracy", "[attention][extreme]",
                   float, double) {
  // Tokens that differ by 10⁻¹⁰ (float: 10⁻⁴) at a score scale e^{2L} that makes the differences matter. Raw scores
  // would be 10¹⁰, rounded at 10⁻⁶ and more; differences of tokens are exact, and the reference uses the same tokens.
  std::mt19937_64 generator(23);
  constexpr bool single = std::is_same_v<TestType, float>;
  constexpr Real eps = reference::epsilon<TestType>;
  for (const Index d : {1, 2, 3, 4, 5, 17})
    for (const Index n : {2, 19, 40})
      for (const double strength : {0.1, 3.0, 30.0}) {
        CAPTURE(d, n, strength);
        const double gap = single ? 1e-4 : 1e-10;
        const Tokens<TestType> base = reference::random<Tokens<TestType>>(generator, d, 1, 1, 2);
        const Tokens<TestType> x =
            base.replicate(1, n) +
            static_cast<TestType>(gap) * reference::random<Tokens<TestType>>(generator, d, n);
        const double L = 0.5 * std::log(strength / gap);
        const auto flow = ScaledMatrix<>{Eigen::MatrixXd::Identity(d, d), L};
        const Wide I = Wide::Identity(d, d), E = I * std::exp(static_cast<Real>(L));
        const auto expected = reference::attention(I, I, 1, E, E, wide(x));
        const auto form = score_form(Head<TestType>::identity(d), 1);
        const Real slack = 8 * reference::epsilon<double> * static_cast<Real>(1 + L);  // e^{2L}, L rounded
        CHECK(reference::excess(wide(log_attention(form, &flow, x)), expected.log_P,
                                expected.log_bound(eps, d, slack) + eps * expected.log_P.cwiseAbs()) <= 1);
        Tokens<TestType> out;
        RowRecord rows;
        attend(form, &flow, Weighted::displacements, x, out, &rows);
        CHECK(reference::excess(wide(out), reference::displacements(expected, wide(x)),
                                reference::sum_bound(expected, wide(x), true, eps, d, slack)) <= 1);
        Index wrong = 0;
        for (Index i = 0; i < n; ++i) {
          const Index key = rows.largest_key[static_cast<std::size_t>(i)];
          if (-expected.score_differences(i, key) >
              static_cast<Real>(d + 8) * eps * expected.condition(i, key))
            ++wrong;
        }
        CHECK(wrong == 0);
      }
}

TEMPLATE_TEST_CASE("a scale beyond every number decides by the sign of exact differences",
                   "[attention][extreme]", float, double) {
  // At e^{2·10³⁰⁰} the largest score wins by any margin; equal scores share.
  const auto head = Head<TestType, 1>::identity();
  const TestType next = std::nextafter(TestType(1), TestType(2));
  Tokens<TestType, 1> x(1, 5);
  x << 1, next, -1, next, 0;
  for (const double L : {400.0, 1e6, 1e300}) {
    const ScaledMatrix<1> flow{Eigen::Matrix<double, 1, 1>::Ones(), L};
    const auto P = attention_matrix(score_form(head, 1), &flow, x);
    Eigen::Matrix<TestType, 5, 5> expected = Eigen::Matrix<TestType, 5, 5>::Zero();
    for (const Index i : {0, 1, 3}) expected(i, 1) = expected(i, 3) = TestType(0.5);
    expected(2, 2) = 1;                          // the query −1 prefers the key −1
    expected.row(4).setConstant(TestType(0.2));  // the query 0 has no preference
    CHECK((P - expected).cwiseAbs().maxCoeff() <= 4 * std::numeric_limits<TestType>::epsilon());
    Tokens<TestType, 1> out;
    attend(score_form(head, 1), &flow, Weighted::displacements, x, out);
    CHECK(out(1) == 0);
    CHECK(out(2) == 0);
    CHECK(out(3) == 0);
    CHECK(out(0) == next - 1);
  }
  // And at e^{−2·10³⁰⁰} nobody has one.
  const ScaledMatrix<1> flow{Eigen::Matrix<double, 1, 1>::Ones(), -1e300};
  CHECK((attention_matrix(score_form(head, 1), &flow, x).array() - TestType(0.2)).abs().maxCoeff() <=
        4 * std::numeric_limits<TestType>::epsilon());
}

TEMPLATE_TEST_CASE("the logarithm of the normaliser is right where it is beyond float",
                   "[attention][extreme]", float, double) {
  // log ∑ⱼ e^{sᵢⱼ} of one token is its score e^{2L} |x|².
  const auto head = Head<TestType, 1>::identity();
  const Tokens<TestType, 1> x = Tokens<TestType, 1>::Constant(1, 1, TestType(1.5));
  for (const double L : {0.0, 20.0, 80.0, 120.0, 300.0}) {
    CAPTURE(L);
    const ScaledMatrix<1> flow{Eigen::Matrix<double, 1, 1>::Ones(), L};
    RowRecord rows;
    Tokens<TestType, 1> out;
    attend(score_form(head, 1), &flow, Weighted::tokens, x, out, &rows);
    CHECK(rows.log_normalizer[0] ==
          Approx(2.25 * std::exp(2 * L))
              .epsilon(16 * static_cast<double>(std::numeric_limits<TestType>::epsilon()) + 1e-13));
  }
}

TEMPLATE_TEST_CASE("tiny tokens have scores where the weights make up for it", "[attention][extreme]", float,
                   double) {
  // M = diag(1, 2⁻ᵏ), tokens on the second axis: products of the two small numbers alone would underflow.
  Head<TestType, 2> head = Head<TestType, 2>::identity();
  constexpr bool single = std::is_same_v<TestType, float>;
  const int k = single ? 100 : 400, e = single ? 120 : 900;
  head.Q(1, 1) = std::ldexp(TestType(1), -k);
  Tokens<TestType, 2> x(2, 3);
  x << 0, 0, 0, 1, 2, -1;
  x *= std::ldexp(TestType(1), -e);
  // Scores 2^{−k} 2^{−2e} e^{2L} (1, 2, −1): chosen so that they are 1, 2, −1.
  const ScaledMatrix<2> flow{Eigen::Matrix2d::Identity(), 0.5 * (k + 2 * e) * std::log(2.0)};
  const auto P = attention_matrix(score_form(head, 1), &flow, x);
  const double sum = std::exp(1.0) + std::exp(2.0) + std::exp(-1.0);
  CHECK(static_cast<double>(P(0, 0)) == Approx(std::exp(1.0) / sum).epsilon(single ? 1e-5 : 1e-11));
  CHECK(static_cast<double>(P(0, 1)) == Approx(std::exp(2.0) / sum).epsilon(single ? 1e-5 : 1e-11));
  CHECK(static_cast<double>(P(0, 2)) == Approx(std::exp(-1.0) / sum).epsilon(single ? 1e-5 : 1e-11));
}

TEMPLATE_TEST_CASE("equal tokens: uniform weights, the token itself, and exactly no displacement",
                   "[attention][extreme]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  std::mt19937_64 generator(24);
  for (const Index d : {1, 2, 3, 5, 17})
    for (const Index n : {1, 2, 7, 25, 100})
      for (const TestType size : {TestType(1), TestType(1e6), Limits::max(), Limits::min(), TestType(0)}) {
        CAPTURE(d, n, size);
        const Tokens<TestType> token = reference::random<Tokens<TestType>>(generator, d, 1) * size;
        const Tokens<TestType> x = token.replicate(1, n);
        const auto form = score_form(Head<TestType>::identity(d), 1);
        for (const double L : {0.0, 1e6}) {
          const auto flow = ScaledMatrix<>{Eigen::MatrixXd::Identity(d, d), L};
          const auto P = attention_matrix(form, &flow, x);
          CHECK((P.array() - TestType(1) / static_cast<TestType>(n)).abs().maxCoeff() <=
                4 * Limits::epsilon());
          Tokens<TestType> out;
          attend(form, &flow, Weighted::displacements, x, out);
          CHECK(out == Tokens<TestType>::Zero(d, n));
          attend(form, &flow, Weighted::tokens, x, out);
          CHECK(out == x);
        }
      }
}

TEMPLATE_TEST_CASE("duplicates share what one token had", "[attention][extreme]", float, double) {
  // Three copies of every token: the same sums, a third of each weight, the same bits for equal queries.
  std::mt19937_64 generator(25);
  constexpr Real eps = reference::epsilon<TestType>;
  for (const Index d : {1, 2, 3, 5})
    for (const TestType size : {TestType(1), TestType(3), TestType(1e5)}) {
      const Tokens<TestType> x = reference::random<Tokens<TestType>>(generator, d, 11) * size;
      const Tokens<TestType> tripled = x.replicate(1, 3);
      const auto head = Head<TestType>::identity(d);
      const auto expected = reference::attention_of(head, 1, wide(x));
      const auto P = attention_matrix(head, tripled);
      CHECK(reference::excess(3 * wide(P).topLeftCorner(11, 11), expected.P,
                              3 * expected.bound(eps, 2 * d)) <= 1);
      CHECK(P.middleRows(11, 11) == P.topRows(11));
      const Tokens<TestType> out = attend(head, tripled);
      CHECK(out.leftCols(11) == out.rightCols(11));
      CHECK(reference::excess(wide(out).leftCols(11), reference::means(expected, wide(x)),
                              3 * reference::sum_bound(expected, wide(x), false, eps, 2 * d)) <= 1);
    }
}

TEST_CASE("a tie of the two largest scores is shared evenly at any scale", "[attention][extreme]") {
  // Query (0, 1) scores (±1, 1) alike; (1, 1) prefers itself.
  Tokens<double, 2> x(2, 3);
  x << 0, 1, -1, 1, 1, 1;
  x *= 1e150;
  const auto P = attention_matrix(Head<double, 2>::identity(), x);
  const double third = 1.0 / 3;
  CHECK(P(0, 0) == Approx(third).epsilon(1e-15));
  CHECK(P(0, 1) == Approx(third).epsilon(1e-15));
  CHECK(P(0, 2) == Approx(third).epsilon(1e-15));
  CHECK(P.row(1) == Eigen::RowVector3d(0, 1, 0));
  CHECK(P.row(2) == Eigen::RowVector3d(0, 0, 1));
}

TEMPLATE_TEST_CASE("one head's values do not turn finite results into NaN", "[attention][extreme]", float,
                   double) {
  // V x = 0 with entries of V and x near the largest number: ∞ − ∞ on a careless way.
  // A power of two: products are exact, fused or not.
  const TestType big = std::ldexp(TestType(1), std::numeric_limits<TestType>::max_exponent - 2);
  Head<TestType, 2> head = Head<TestType, 2>::identity();
  head.V << big, -big, 1, 0;
  const Tokens<TestType, 2> x = Tokens<TestType, 2>::Constant(2, 3, big);
  const Tokens<TestType, 2> out = attend(head, x);
  CHECK(out.row(0).isZero(0));
  CHECK((out.row(1).array() == big).all());
}
