#include <attnflow/attention/graph.hpp>
#include <attnflow/attention/laws/sinkhorn.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::Softmax;
using attnflow::TokenDynamics;
using attnflow::Tokens;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

template <class Scalar, int Dim = Eigen::Dynamic>
Head<Scalar, Dim> random_head(std::mt19937_64& generator, Index d, Index inner) {
  using H = Head<Scalar, Dim>;
  return {reference::random<typename H::Projection>(generator, inner, d),
          reference::random<typename H::Projection>(generator, inner, d),
          reference::random<typename H::Square>(generator, d, d)};
}
template <class Field>
typename Field::State velocity(const Field& field, const typename Field::State& x) {
  typename Field::State dx;
  field(0, x, dx);
  return dx;
}

/// ∑ₕ Vₕ ∑ⱼ Pʰᵢⱼ xⱼ and what roundings may add to it.
template <class Scalar, int Dim>
std::pair<Wide, Wide> definition(const std::vector<Head<Scalar, Dim>>& heads, double beta, const Wide& x) {
  constexpr Real eps = reference::epsilon<Scalar>;
  Wide sum = Wide::Zero(x.rows(), x.cols()), bound = sum, sizes = sum;
  for (const auto& head : heads) {
    const auto a = reference::attention_of(head, beta, x);
    const Wide means = reference::means(a, x), V = wide(head.V);
    const Wide error = reference::sum_bound(a, x, false, eps, x.rows() + head.Q.rows());
    sum += V * means;
    bound += reference::product_bound(V, means, error, eps);
    sizes += V.cwiseAbs() * means.cwiseAbs();
  }
  return {sum, bound + static_cast<Real>(heads.size()) * eps * sizes};
}

}  // namespace

TEMPLATE_TEST_CASE("the token drift is its double loop, for one head and for several", "[systems]", float,
                   double) {
  std::mt19937_64 generator(40);
  for (const Index d : {1, 2, 3, 4, 5, 17})
    for (const Index n : {0, 1, 2, 31})
      for (const std::size_t count : {1U, 2U, 5U})
        for (const double beta : {1.0, -0.7, 0.0}) {
          CAPTURE(d, n, count, beta);
          std::vector<Head<TestType>> heads;
          for (std::size_t h = 0; h < count; ++h)
            heads.push_back(random_head<TestType>(generator, d, 1 + static_cast<Index>(h)));
          const auto x = reference::random<Tokens<TestType>>(generator, d, n, -1.5, 1.5);
          const TokenDynamics<TestType> field(heads, Softmax{beta});
          const auto [expected, bound] = definition(heads, beta, wide(x));
          CHECK(reference::excess(wide(velocity(field, x)), expected, bound) <= 1);
          for (std::size_t h = 0; h < count; ++h) {
            const auto a = reference::attention_of(heads[h], beta, wide(x));
            CHECK(reference::excess(wide(field.attention(0, x, h)), a.P,
                                    a.bound(reference::epsilon<TestType>, d + 6)) <= 1);
          }
        }
}

TEMPLATE_TEST_CASE("the token drift for a fixed dimension", "[systems]", float, double) {
  std::mt19937_64 generator(41);
  const std::vector<Head<TestType, 3>> heads{random_head<TestType, 3>(generator, 3, 2),
                                             random_head<TestType, 3>(generator, 3, 4)};
  const auto x = reference::random<Tokens<TestType, 3>>(generator, 3, 50);
  const auto [expected, bound] = definition(heads, 1, wide(x));
  CHECK(reference::excess(wide(velocity(TokenDynamics<TestType, 3>(heads), x)), expected, bound) <= 1);
}

TEMPLATE_TEST_CASE("an antipodal pair parts at tanh", "[systems]", float, double) {
  // x = (−w, w): ẇ = tanh(wᵀ M w) V w.
  std::mt19937_64 generator(42);
  constexpr Real eps = reference::epsilon<TestType>;
  for (const Index d : {1, 2, 3, 5})
    for (const TestType size : {TestType(0.01), TestType(1), TestType(30)}) {
      const auto head = random_head<TestType>(generator, d, d);
      Tokens<TestType> x(d, 2);
      x.col(1) = reference::random<Tokens<TestType>>(generator, d, 1) * size;
      x.col(0) = -x.col(1);
      const Wide w = wide(x.col(1)), M = wide(head.Q).transpose() * wide(head.K);
      const Real score = (w.transpose() * M * w)(0, 0),
                 condition = (w.cwiseAbs().transpose() * wide(head.Q).cwiseAbs().transpose() *
                              wide(head.K).cwiseAbs() * w.cwiseAbs())(0, 0);
      const Wide expected = std::tanh(score) * wide(head.V) * w;
      // d tanh = (1 − tanh²) ds; the mean is a sum about one of the two tokens.
      const Real slope = (1 - std::tanh(score) * std::tanh(score)) * static_cast<Real>(2 * d + 8) * condition;
      const Real scale = reference::largest(wide(head.V).cwiseAbs() * w.cwiseAbs());
      const Wide f = wide(velocity(TokenDynamics<TestType>(head), x));
      CHECK(reference::excess(f.col(1), expected, eps * scale * (slope + 24 + static_cast<Real>(d))) <= 1);
      CHECK(reference::excess(f.col(0), -expected, eps * scale * (slope + 24 + static_cast<Real>(d))) <= 1);
    }
}

TEMPLATE_TEST_CASE("a symmetric triple on the line", "[systems]", float, double) {
  // (−u, 0, u): u̇ = u (e^{u²} − e^{−u²}) / (e^{u²} + 1 + e^{−u²}), and the middle one rests.
  for (const TestType u : {TestType(0.125), TestType(0.5), TestType(1), TestType(3)}) {
    const Tokens<TestType, 1> x = (Tokens<TestType, 1>(1, 3) << -u, 0, u).finished();
    const auto f = velocity(TokenDynamics<TestType, 1>(Head<TestType, 1>::identity()), x);
    const Real U = static_cast<Real>(u), p = std::exp(U * U), q = 1 / p;
    const Real eps = reference::epsilon<TestType>;
    const Real bound = eps * U * (16 + 8 * U * U);
    CHECK(std::abs(static_cast<Real>(f(2)) - U * (p - q) / (p + 1 + q)) <= bound);
    CHECK(std::abs(static_cast<Real>(f(0)) + U * (p - q) / (p + 1 + q)) <= bound);
    CHECK(std::abs(static_cast<Real>(f(1))) <= 4 * eps * U);
  }
}

TEMPLATE_TEST_CASE("one token, and tokens that are all equal, follow V x", "[systems]", float, double) {
  std::mt19937_64 generator(43);
  for (const Index d : {1, 3, 5})
    for (const Index n : {1, 2, 20}) {
      const auto head = random_head<TestType>(generator, d, d + 1);
      const Tokens<TestType> token = reference::random<Tokens<TestType>>(generator, d, 1, -9, 9);
      const auto f = velocity(TokenDynamics<TestType>(head), token.replicate(1, n));
      // The mean is the token to the last bit; a product of d terms follows.
      const Wide bound = static_cast<Real>(d + 1) * reference::epsilon<TestType> *
                         (wide(head.V).cwiseAbs() * wide(token).cwiseAbs());
      CHECK(reference::excess(wide(f), (wide(head.V) * wide(token)).replicate(1, n), bound.replicate(1, n)) <=
            1);
    }
}

TEMPLATE_TEST_CASE("identical heads that share V are one head", "[systems][heads]", float, double) {
  std::mt19937_64 generator(44);
  const auto head = random_head<TestType>(generator, 3, 2);
  const auto x = reference::random<Tokens<TestType>>(generator, 3, 15);
  auto quarter = head;
  quarter.V /= 4;  // exact
  const auto one = velocity(TokenDynamics<TestType>(head), x);
  CHECK(velocity(TokenDynamics<TestType>(std::vector(4, quarter)), x)
            .isApprox(one, 16 * std::numeric_limits<TestType>::epsilon()));
  CHECK(velocity(TokenDynamics<TestType>(std::vector(1, head)), x) == one);
}

TEMPLATE_TEST_CASE("the order of the heads changes roundings only, and a zero head nothing",
                   "[systems][heads]", float, double) {
  std::mt19937_64 generator(45);
  const TestType big = std::sqrt(std::numeric_limits<TestType>::max()) / 100;
  for (const TestType second : {TestType(1), 1 / big, big}) {
    std::vector<Head<TestType>> heads;
    for (int h = 0; h < 3; ++h) heads.push_back(random_head<TestType>(generator, 3, 3));
    heads[1].V *= second;
    const auto x = reference::random<Tokens<TestType>>(generator, 3, 15);
    const auto [expected, bound] = definition(heads, 1, wide(x));
    for (const auto& order : {std::vector{0, 1, 2}, std::vector{1, 0, 2}, std::vector{2, 0, 1}}) {
      std::vector<Head<TestType>> shuffled;
      for (const int h : order) shuffled.push_back(heads[static_cast<std::size_t>(h)]);
      CHECK(reference::excess(wide(velocity(TokenDynamics<TestType>(shuffled), x)), expected, bound) <= 1);
      Head<TestType> zero = random_head<TestType>(generator, 3, 2);
      zero.V.setZero();
      const auto without = velocity(TokenDynamics<TestType>(shuffled), x);
      for (std::size_t at = 0; at <= shuffled.size(); ++at) {
        auto with = shuffled;
        with.insert(with.begin() + static_cast<std::ptrdiff_t>(at), zero);
        CHECK(velocity(TokenDynamics<TestType>(with), x) == without);
      }
    }
  }
  Head<TestType> nothing = Head<TestType>::identity(2);
  nothing.Q.setZero(), nothing.K.setZero(), nothing.V.setZero();
  CHECK(velocity(TokenDynamics<TestType>(nothing), Tokens<TestType>::Ones(2, 4)) ==
        Tokens<TestType>::Zero(2, 4));
}

TEMPLATE_TEST_CASE("heads of very different size add up in any order", "[systems][heads]", float, double) {
  // 10²⁰⁰ and 10⁻²⁰⁰ (float: 10³⁰ and 10⁻³⁰): the sum is the large one, finite, whichever comes first.
  using Limits = std::numeric_limits<TestType>;
  std::mt19937_64 generator(46);
  for (const TestType big : {std::is_same_v<TestType, float> ? TestType(1e30) : static_cast<TestType>(1e200),
                             Limits::max() / 16}) {
    Head<TestType> large = random_head<TestType>(generator, 2, 2),
                   small = random_head<TestType>(generator, 2, 2);
    large.V *= big;
    small.V /= big;
    const auto x = reference::random<Tokens<TestType>>(generator, 2, 9);
    const auto alone = velocity(TokenDynamics<TestType>(large), x);
    REQUIRE(alone.allFinite());
    CHECK(velocity(TokenDynamics<TestType>({large, small}), x) == alone);
    CHECK(velocity(TokenDynamics<TestType>({small, large}), x) == alone);
    CHECK(velocity(TokenDynamics<TestType>({small, small, large, small}), x) == alone);
    auto zero = small;
    zero.V.setZero();
    CHECK(velocity(TokenDynamics<TestType>({zero, large}), x) == alone);
    const auto tiny = velocity(TokenDynamics<TestType>(small), x);
    CHECK(velocity(TokenDynamics<TestType>({zero, small}), x) == tiny);
    CHECK(velocity(TokenDynamics<TestType>({small, zero}), x) == tiny);
    const Tokens<TestType> far = x * TestType(1e9);  // and no unit of a zero head turns these into infinities
    CHECK(velocity(TokenDynamics<TestType>({zero, small}), far) ==
          velocity(TokenDynamics<TestType>(small), far));
  }
}

TEMPLATE_TEST_CASE("the token drift is never NaN for finite input", "[systems]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  std::mt19937_64 generator(47);
  for (const Index d : {1, 2, 3, 5, 9})
    for (const TestType size :
         {TestType(0), Limits::denorm_min(), Limits::min(), 1 / std::sqrt(Limits::max()), TestType(1),
          std::sqrt(Limits::max()), Limits::max()})
      for (const TestType weight : {Limits::denorm_min(), Limits::min(), TestType(0), TestType(1),
                                    std::sqrt(Limits::max()), Limits::max()}) {
        CAPTURE(d, size, weight);
        Head<TestType> head = random_head<TestType>(generator, d, d);
        head.Q *= weight, head.K *= weight, head.V *= weight;
        Tokens<TestType> x = reference::random<Tokens<TestType>>(generator, d, 9) * size;
        x.col(3).setConstant(size);
        x.col(4).setConstant(-size);
        CHECK_FALSE(velocity(TokenDynamics<TestType>(head), x).array().isNaN().any());
        CHECK_FALSE(
            velocity(TokenDynamics<TestType>({head, Head<TestType>::identity(d)}), x).array().isNaN().any());
        CHECK(attention_matrix(head, x).allFinite());
      }
  // V x cancels although V and x are about as large as they come; powers of two, so that products are exact, fused or not.
  const TestType big = std::ldexp(TestType(1), Limits::max_exponent - 1);
  Head<TestType> head = Head<TestType>::identity(2);
  head.V << big, -big, 0, 1;
  const auto f = velocity(TokenDynamics<TestType>(head), Tokens<TestType>::Constant(2, 3, big));
  CHECK(f.row(0).isZero(0));
}

TEST_CASE("the token system refuses what it cannot use", "[systems]") {
  using Catch::Matchers::ContainsSubstring;
  using H = Head<double>;
  CHECK_THAT(refusal([] { TokenDynamics<double> f(std::vector<H>{}); }),
             ContainsSubstring("TokenDynamics: no head given"));
  CHECK_THAT(refusal([] {
               TokenDynamics<double> f({H::identity(2), H::identity(3)});
             }),
             ContainsSubstring("TokenDynamics, head 1: V has d = 3, expected 2"));
  H bad = H::identity(2);
  bad.K(1, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THAT(refusal([&] { TokenDynamics<double> f(bad); }),
             ContainsSubstring("TokenDynamics: K has an entry that is not finite"));
  CHECK_THAT(refusal([&] {
               TokenDynamics<double> f({H::identity(2), bad});
             }),
             ContainsSubstring("TokenDynamics, head 1: K has"));
  CHECK_THAT(refusal([] {
               TokenDynamics<double> f(H::identity(2), Softmax{std::numeric_limits<double>::infinity()});
             }),
             ContainsSubstring("Softmax::beta"));
  const TokenDynamics<double> field(H::identity(2));
  CHECK_THROWS_AS(field.attention(0, Tokens<double>::Ones(2, 2), 1), std::out_of_range);
  Tokens<double> x = Tokens<double>::Ones(2, 2);
  x(0, 0) = std::numeric_limits<double>::infinity();
  CHECK_THAT(refusal([&] { static_cast<void>(field.attention(0, x)); }), ContainsSubstring("not finite"));
  CHECK(velocity(field, x).array().isNaN().all());
  CHECK(field.dim() == 2);
  CHECK(field.heads().size() == 1);
}

// Columns that sum to one: d/dt ∑ᵢ xᵢ = V ∑ᵢ xᵢ. The scores grow until they differ by 10⁴.
TEST_CASE("a run under Sinkhorn keeps the mean, or ends", "[systems]") {
  using attnflow::Graph, attnflow::Sinkhorn;
  std::mt19937_64 generator(1);
  const auto head = Head<double, 2>::identity();
  const auto start = reference::random<Tokens<double, 2>>(generator, 2, 40, -2, 2);
  using State = Tokens<double, 2>;
  State x = start;
  const TokenDynamics<double, 2, Sinkhorn> field(head);
  const auto report =
      integrate(field, attnflow::DormandPrince5<State>{}, x, attnflow::AdaptiveSteps{.to = 3});
  CHECK(report.outcome == attnflow::Outcome::reached_end);
  const State grown = std::exp(3.0) * start;
  CHECK((x.rowwise().mean() - grown.rowwise().mean()).norm() <= 1e-8);
  CHECK((field.attention(3, x).colwise().sum().array() - 1).abs().maxCoeff() <= 2e-12);

  // Leaves that attend to the centre alone: its column sums to their number.
  State leaves = start.leftCols(5);
  const Graph star(5, [](Index i, Index j) { return (i == 0) != (j == 0); });
  CHECK(integrate(TokenDynamics<double, 2, Sinkhorn, Graph>(head, {}, star),
                  attnflow::DormandPrince5<State>{}, leaves, attnflow::AdaptiveSteps{.to = 1})
            .outcome == attnflow::Outcome::non_finite);
}
