// Scalars that no kernel is compiled for: a type of one's own, which computes as double does, against the kernels; and
// long double against the definition.
#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/biases/token_masses.hpp>
#include <attnflow/attention/graph.hpp>
#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/attention/laws/l2_softmax.hpp>
#include <attnflow/attention/laws/linear.hpp>
#include <attnflow/attention/laws/position_weighted.hpp>
#include <attnflow/attention/laws/relu_weights.hpp>
#include <attnflow/attention/laws/sigmoid.hpp>
#include <attnflow/attention/laws/sinkhorn.hpp>
#include <attnflow/attention/laws/softplus_weights.hpp>
#include <attnflow/attention/laws/sparsemax.hpp>
#include <attnflow/attention/laws/top_k.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <type_traits>

namespace own {

/// A number that is not a fundamental type. It converts to double when asked, and only then.
struct Number {
  double v = 0;
  Number() = default;
  Number(double value) : v(value) {}
  explicit operator double() const { return v; }
  Number& operator+=(Number o) { return v += o.v, *this; }
  Number& operator-=(Number o) { return v -= o.v, *this; }
  Number& operator*=(Number o) { return v *= o.v, *this; }
  Number& operator/=(Number o) { return v /= o.v, *this; }
  friend Number operator+(Number a, Number b) { return a.v + b.v; }
  friend Number operator-(Number a, Number b) { return a.v - b.v; }
  friend Number operator*(Number a, Number b) { return a.v * b.v; }
  friend Number operator/(Number a, Number b) { return a.v / b.v; }
  friend Number operator-(Number a) { return -a.v; }
  friend bool operator==(Number a, Number b) { return a.v == b.v; }
  friend bool operator!=(Number a, Number b) { return a.v != b.v; }
  friend Number exp(Number a) { return std::exp(a.v); }
  friend Number log(Number a) { return std::log(a.v); }
  friend Number sqrt(Number a) { return std::sqrt(a.v); }
};

}  // namespace own

namespace Eigen {
template <>
struct NumTraits<own::Number> : GenericNumTraits<double> {
  using Real = own::Number;
  using NonInteger = own::Number;
  using Nested = own::Number;
  enum { RequireInitialization = 1 };
};
}  // namespace Eigen

namespace {

using attnflow::Alibi;
using attnflow::Causal;
using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::RowRecord;
using attnflow::Softmax;
using attnflow::StrictCausal;
using attnflow::Tokens;
using attnflow::Unnormalized;
using attnflow::Weighted;
using own::Number;
using reference::Index;
using reference::Real;
using reference::Wide;
using reference::wide;

constexpr double epsilon = std::numeric_limits<double>::epsilon();

template <class Scalar, int Dim>
Head<Scalar, Dim> as(const Head<double, Dim>& head) {
  return {head.Q.template cast<Scalar>(), head.K.template cast<Scalar>(), head.V.template cast<Scalar>()};
}
template <class Derived>
Eigen::MatrixXd plain(const Eigen::MatrixBase<Derived>& m) {
  return attnflow::detail::in_double(m);
}

/// The largest |a − b|, where ±∞ agree with themselves; NaN if there is one.
double distance(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.cols() == b.cols());
  double most = 0;
  for (Index k = 0; k < a.size(); ++k) {
    if (a.data()[k] == b.data()[k]) continue;
    const double off = std::abs(a.data()[k] - b.data()[k]);
    if (!(off <= most)) most = off;
    if (std::isnan(most)) break;
  }
  return most;
}

template <class Law>
Law law_at(double beta) {
  Law law;
  law.beta = beta;
  if constexpr (std::is_same_v<Law, attnflow::TopK>) law.k = 3;
  return law;
}

/// Everything the operator yields, by the kernels and by plain loops, must agree. `scores` bounds the scores.
template <int Dim, class Law, class Mask, class Bias>
void expect_agreement(const Head<double, Dim>& head, const Tokens<double, Dim>& x, double beta,
                      const Mask& mask, const Bias& bias) {
  const Law law = law_at<Law>(beta), own_law = law;
  const Head<Number, Dim> own_head = as<Number>(head);
  const Tokens<Number, Dim> own_x = x.template cast<Number>();
  const double size = x.size() == 0 ? 0 : x.colwise().norm().maxCoeff(), n = static_cast<double>(x.cols());
  double scores = std::abs(beta) * head.Q.norm() * head.K.norm() * size * size +
                  std::abs(static_cast<double>(bias.slope)) * n;
  if constexpr (attnflow::DistanceLaw<Law>)  // has squares of both, too
    scores = std::abs(beta) * 4 * std::pow((head.Q.norm() + head.K.norm()) * size, 2);
  if constexpr (attnflow::DoublyStochasticLaw<Law>)  // is off by its tolerance, and not by roundings
    scores = (1 + scores) * attnflow::detail::column_tolerance<double>(law) / epsilon;
  // Both are off by that many roundings of the largest score, and of their sums.
  const double off = epsilon * (4 * static_cast<double>(x.rows() + head.Q.rows() + 4) * scores + 2 * n + 16);
  const Eigen::MatrixXd P = attention_matrix(head, x, law, mask, bias);
  if constexpr (Law::function == attnflow::WeightFunction::exponential) {
    const Eigen::MatrixXd log_P = log_attention(head, x, law, mask, bias);
    CHECK(distance(plain(log_attention(own_head, own_x, own_law, mask, bias)), log_P) <= 2 * off);
  }
  const double largest = P.size() == 0 ? 0 : P.cwiseAbs().maxCoeff();
  CHECK(distance(plain(attention_matrix(own_head, own_x, own_law, mask, bias)), P) <=
        (std::expm1(2 * off) + 2 * epsilon) * largest);

  Tokens<double, Dim> out;
  Tokens<Number, Dim> own_out;
  RowRecord rows, own_rows;
  attend(head, law, mask, bias, x, out, &rows);
  attend(own_head, own_law, mask, bias, own_x, own_out, &own_rows);
  const double row = P.size() == 0 ? 0 : P.cwiseAbs().rowwise().sum().maxCoeff();
  CHECK(distance(plain(own_out), out) <= (std::expm1(2 * off) + 8 * epsilon) * row * head.V.norm() * size);
  for (std::size_t i = 0; i < rows.log_normalizer.size(); ++i) {
    CHECK((own_rows.log_normalizer[i] == rows.log_normalizer[i] ||
           std::abs(own_rows.log_normalizer[i] - rows.log_normalizer[i]) <= 2 * off));
    const auto query = static_cast<Index>(i);
    if (attnflow::detail::nearest_key(mask, query, x.cols()) >= 0)
      CHECK(std::abs(P(query, own_rows.largest_key[i]) - P(query, rows.largest_key[i])) <=
            std::expm1(4 * off) * largest);
  }
}

template <int Dim, class Law>
void expect_agreement_everywhere(Index d) {
  std::mt19937_64 generator(61);
  for (const Index n : {0, 1, 2, 19})
    for (const double beta : {1.0, -0.7, 0.0, 6.0}) {
      CAPTURE(d, n, beta);
      const auto head = random_head<double, Dim>(generator, d);
      const auto x = reference::random<Tokens<double, Dim>>(generator, d, n);
      expect_agreement<Dim, Law>(head, x, beta, NoMask{}, NoBias{});
      expect_agreement<Dim, Law>(head, x, beta, Causal{}, NoBias{});
      expect_agreement<Dim, Law>(head, x, beta, StrictCausal{}, Alibi{0.3});
      expect_agreement<Dim, Law>(head, x, beta, NoMask{}, Alibi{-0.2});
    }
}

}  // namespace

TEST_CASE("a scalar of one's own gives what the kernels give", "[attention][generic]") {
  expect_agreement_everywhere<Eigen::Dynamic, Softmax>(1);
  expect_agreement_everywhere<Eigen::Dynamic, Softmax>(9);
  expect_agreement_everywhere<3, Softmax>(3);
  expect_agreement_everywhere<3, Unnormalized>(3);
  expect_agreement_everywhere<Eigen::Dynamic, Unnormalized>(6);

  // exp(β (s − 1)) / n.
  std::mt19937_64 generator(62);
  const auto head = random_head<double>(generator, 3);
  const auto x = reference::random<Tokens<double>>(generator, 3, 7);
  const Eigen::MatrixXd P = attention_matrix(head, x, Unnormalized{2, true});
  const Tokens<Number> own_x = x.cast<Number>();
  CHECK(distance(plain(attention_matrix(as<Number>(head), own_x, Unnormalized{2, true})), P) <=
        64 * epsilon * P.maxCoeff());
}

TEST_CASE("every law gives what the kernels give", "[attention][generic]") {
  std::mt19937_64 generator(66);
  for (const Index n : {1, 2, 19}) {
    CAPTURE(n);
    const auto head = random_head<double, 3>(generator, 3);
    const auto x = reference::random<Tokens<double, 3>>(generator, 3, n);
    const attnflow::Graph graph(n, [](Index i, Index j) { return i % 5 != 2 && (i + j * j) % 3 != 0; });
    attnflow::TokenMasses masses{{}, 0.1};
    for (Index j = 0; j < n; ++j) masses.masses.push_back(1 + static_cast<double>(j % 4));
    expect_agreement<3, Softmax>(head, x, 1.5, graph, NoBias{});
    expect_agreement<3, attnflow::PositionWeighted>(head, x, 1, attnflow::ExcludeSelf{}, masses);
    expect_agreement<3, attnflow::L2Softmax>(head, x, 0.7, Causal{}, NoBias{});
    expect_agreement<3, attnflow::Hardmax>(head, x, -1, attnflow::ExcludeSelf{}, NoBias{});
    expect_agreement<3, attnflow::Sigmoid>(head, x, 2, graph, masses);
    expect_agreement<3, attnflow::Linear>(head, x, 1, Causal{}, Alibi{0.2});
    expect_agreement<3, attnflow::ReluWeights>(head, x, 2, graph, masses);
    expect_agreement<3, attnflow::SoftplusWeights>(head, x, 2, Causal{}, Alibi{0.2});
    expect_agreement<3, attnflow::TopK>(head, x, 2, graph, NoBias{});
    expect_agreement<3, attnflow::Sparsemax>(head, x, 2, Causal{}, Alibi{0.2});
    expect_agreement<3, attnflow::Entmax15>(head, x, 2, attnflow::ExcludeSelf{}, NoBias{});
    expect_agreement<3, attnflow::Sinkhorn>(head, x, 0.5, NoMask{}, masses);
  }
}

TEST_CASE("generic rows keep to the definition at scores of any size", "[attention][generic]") {
  std::mt19937_64 generator(63);
  using H = Head<double>;
  for (const Index d : {1, 3, 6})
    for (const double scale : {1.0, 1e4, 1e8, 1e75, 1e-80}) {  // of tokens: scores up to 10¹⁶⁰
      CAPTURE(d, scale);
      const H head = random_head<double>(generator, d);
      Tokens<double> x = reference::random<Tokens<double>>(generator, d, 12, -scale, scale);
      x.col(5) = x.col(3);  // a tie
      if (scale < 1e10) x.col(7) = x.col(3) * (1 + 4 * epsilon);
      const reference::Attention expected = reference::attention_of(head, 1, wide(x));
      const Head<Number> own_head = as<Number>(head);
      const Tokens<Number> own_x = x.cast<Number>();
      const Index inner = 2 * d;
      const auto P = plain(attention_matrix(own_head, own_x)), log_P = plain(log_attention(own_head, own_x));
      CHECK(reference::excess(wide(P), expected.P, expected.bound(reference::epsilon<double>, inner)) <= 1);
      CHECK(reference::excess(wide(log_P), expected.log_P,
                              expected.log_bound(reference::epsilon<double>, inner) +
                                  reference::epsilon<double> * expected.log_P.cwiseAbs()) <= 1);
      for (const Weighted what : {Weighted::tokens, Weighted::displacements}) {
        Tokens<Number> out;
        attend(score_form(own_head, 1), nullptr, what, own_x, out);
        const bool displaced = what == Weighted::displacements;
        const Wide sums = displaced ? displacements(expected, wide(x)) : means(expected, wide(x));
        CHECK(reference::excess(wide(plain(out)), sums,
                                sum_bound(expected, wide(x), displaced, reference::epsilon<double>, inner)) <=
              1);
      }
    }
}

TEST_CASE("generic rows neither overflow nor become NaN", "[attention][generic]") {
  std::mt19937_64 generator(64);
  for (const double tokens : {1e300, 1e155, 1e-300, 1.0})
    for (const double weights : {1e200, 1.0, 1e-200})
      for (const double log_scale : {0.0, 1e6, 1e300, -1e300}) {
        CAPTURE(tokens, weights, log_scale);
        Head<double> head = random_head<double>(generator, 3);
        head.Q *= weights;
        Tokens<double> x = reference::random<Tokens<double>>(generator, 3, 6, -tokens, tokens);
        x.col(1) = x.col(0);
        const attnflow::ScaledMatrix<> flow{Eigen::MatrixXd::Identity(3, 3) * 1.5, log_scale};
        const auto form = score_form(head, 1);
        const Eigen::MatrixXd P = attention_matrix(form, &flow, x);
        const Tokens<Number> own_x = x.cast<Number>();
        const Eigen::MatrixXd own_P = plain(attention_matrix(form, &flow, own_x));
        CHECK(!own_P.hasNaN());
        CHECK((own_P.rowwise().sum().array() - 1).abs().maxCoeff() <= 16 * epsilon);
        // Scores that are large, small or nothing at all: both sides must see the same rows. Those of the size of one
        // occur at (1, 1, 0) alone, where roundings are those of scores of a few units.
        CHECK(distance(own_P, P) <= 256 * epsilon);
        Tokens<double> out;
        Tokens<Number> own_out;
        attend(form, &flow, Weighted::displacements, x, out);
        attend(form, &flow, Weighted::displacements, own_x, own_out);
        CHECK(distance(plain(own_out), out) <= 256 * epsilon * tokens);
      }
  // A token that is not finite makes all of it NaN, and the matrix is refused.
  Tokens<Number> x = Tokens<Number>::Constant(2, 3, 1.0);
  x(1, 2) = std::numeric_limits<double>::infinity();
  Tokens<Number> out;
  const auto head = Head<Number>::identity(2);
  attend(head, Softmax{}, NoMask{}, NoBias{}, x, out);
  CHECK(std::isnan(out(0, 0).v));
  CHECK_THAT(refusal([&] { static_cast<void>(attention_matrix(head, x)); }),
             Catch::Matchers::ContainsSubstring("x has an entry that is not finite"));
  // Weights whose true value is beyond the range: nothing times ∞ is nothing.
  Tokens<Number> far = Tokens<Number>::Constant(1, 2, 40.0);
  far(0, 1) = 0.0;
  attend(Head<Number>::identity(1), Unnormalized{1}, NoMask{}, NoBias{}, far, out);
  CHECK(std::isinf(out(0, 0).v));
  CHECK(out(0, 1).v == 20);
}

TEST_CASE("long double is more accurate than double", "[attention][generic]") {
  // The reference computes in long double as well, but by other operations: agreement to some of its epsilons is more
  // than double could give.
  constexpr Real unit = std::numeric_limits<Real>::epsilon();
  std::mt19937_64 generator(65);
  for (const Index d : {1, 4, 7})
    for (const double beta : {1.0, -3.0, 50.0}) {
      CAPTURE(d, beta);
      using H = Head<Real>;
      const Index inner = d + 1;
      const H head{reference::random<H::Projection>(generator, inner, d) / 3,
                   reference::random<H::Projection>(generator, inner, d) / 7,
                   reference::random<H::Square>(generator, d, d)};
      const Tokens<Real> x = reference::random<Tokens<Real>>(generator, d, 15) / 3;
      const reference::Attention expected = reference::attention_of(head, beta, x);
      const Softmax law{beta};
      const Wide P = attention_matrix(head, x, law), log_P = log_attention(head, x, law);
      CHECK(reference::excess(P, expected.P, 2 * expected.bound(unit, inner + d)) <= 1);
      CHECK(reference::excess(log_P, expected.log_P,
                              2 * expected.log_bound(unit, inner + d) + unit * expected.log_P.cwiseAbs()) <=
            1);
      Tokens<Real> out;
      RowRecord rows;
      attend(head, law, NoMask{}, NoBias{}, x, out, &rows);
      const Wide sums = means(expected, x);
      CHECK(reference::excess(out, head.V * sums,
                              2 * reference::product_bound(
                                      head.V, sums, sum_bound(expected, x, false, unit, inner + d), unit)) <=
            1);
      // Double is off by some 2¹¹ times as much; a step of long double done in double would be, too.
      const Tokens<double> narrow_x = x.cast<double>();
      const Head<double> narrow{head.Q.cast<double>(), head.K.cast<double>(), head.V.cast<double>()};
      Tokens<double> narrow_out;
      attend(narrow, Softmax{beta}, NoMask{}, NoBias{}, narrow_x, narrow_out);
      const Wide narrow_log_P = wide(log_attention(narrow, narrow_x, Softmax{beta}));
      CHECK(reference::largest(log_P - expected.log_P) * 100 <=
            reference::largest(narrow_log_P - expected.log_P));
      CHECK(reference::largest(out - head.V * sums) * 100 <=
            reference::largest(wide(narrow_out) - head.V * sums));
    }
}
