// Layers of convex combinations: their equation, and what is known of hard and soft ones.
#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/graph.hpp>
#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/systems/convex_layers.hpp>
#include <attnflow/systems/driven.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"
#include "draws.hpp"
#include "velocity.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::Alibi;
using attnflow::Causal;
using attnflow::ConvexLayers;
using attnflow::ExcludeSelf;
using attnflow::Graph;
using attnflow::Hardmax;
using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::Softmax;
using attnflow::StrictCausal;
using attnflow::Tokens;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;
using Matrix = Eigen::MatrixXd;

/// Scores ⟨B xᵢ, xⱼ⟩.
template <class Scalar = double>
Head<Scalar> form(const Matrix& B) {
  const Matrix identity = Matrix::Identity(B.rows(), B.rows());
  return {B.cast<Scalar>(), identity.cast<Scalar>(), identity.cast<Scalar>()};
}

template <class Mask>
bool attends(const Mask& mask, Index i, Index j) {
  if constexpr (requires { mask.attends(i, j); }) return mask.attends(i, j);
  return true;
}

/// (1 − γ) xᵢ + γ ∑ⱼ wᵢⱼ xⱼ by double loops; a row without keys rests.
template <class Mask>
Wide layer(const Wide& B, Real beta, Real slope, const Mask& mask, Real gamma, const Wide& x) {
  const Index n = x.cols();
  Wide next = x;
  for (Index i = 0; i < n; ++i) {
    const auto range = mask.keys(i, n);
    Wide mean = Wide::Zero(x.rows(), 1);
    Real sum = 0;
    for (Index j = range.begin; j < range.end; ++j) {
      if (!attends(mask, i, j)) continue;
      Real score = -slope * std::abs(static_cast<Real>(i - j));
      for (Index a = 0; a < x.rows(); ++a)
        for (Index b = 0; b < x.rows(); ++b) score += beta * B(b, a) * x(a, i) * x(b, j);
      sum += std::exp(score);
      mean += std::exp(score) * x.col(j);
    }
    if (sum > 0) next.col(i) = (1 - gamma) * x.col(i) + gamma / sum * mean;
  }
  return next;
}

double diameter(const Matrix& x) { return (x.rowwise().maxCoeff() - x.rowwise().minCoeff()).maxCoeff(); }

/// How far tokens are outside of the hull of others, negative for inside, seen in 32 directions of the plane.
double outside(const Matrix& x, const Matrix& hull) {
  double most = -std::numeric_limits<double>::infinity();
  for (int k = 0; k < 32; ++k) {
    const double angle = k * std::numbers::pi / 16;
    const Eigen::RowVector2d u(std::cos(angle), std::sin(angle));
    most = std::max(most, (u * x).maxCoeff() - (u * hull).maxCoeff());
  }
  return most;
}

}  // namespace

TEMPLATE_TEST_CASE("a layer of convex combinations is its double loop", "[systems][convex_layers]", float,
                   double) {
  std::mt19937_64 generator(130);
  for (const Index d : {1, 3, 6}) {
    CAPTURE(d);
    const Matrix B = random(d, d, generator).cast<TestType>().template cast<double>();
    const auto x = reference::random<Tokens<TestType>>(generator, d, 11);
    const auto check = [&](auto mask, auto bias, double gamma) {
      CAPTURE(gamma);
      const ConvexLayers layers(form<TestType>(B), gamma, Softmax{1.5}, mask, bias);
      Tokens<TestType> y = x;
      layers.apply(0, y);
      const Wide expected = layer(wide(B), 1.5L, static_cast<Real>(bias.slope), mask,
                                  static_cast<Real>(static_cast<TestType>(gamma)), wide(x));
      // Weights of scores of size 2 d², and a sum of n numbers.
      const Real bound = (8 * static_cast<Real>(d * d) + 20) * reference::epsilon<TestType>;
      CHECK(reference::excess(wide(y), expected, bound) <= 1);
      CHECK(layers.dim() == d);
    };
    check(NoMask{}, NoBias{}, 0.3);
    check(NoMask{}, NoBias{}, 1);
    check(Causal{}, NoBias{}, 0.5);
    check(StrictCausal{}, Alibi{0.4}, 0.8);
    check(ExcludeSelf{}, NoBias{}, 0.8);
    check(Graph(11, [](Index i, Index j) { return i > 2 && (i + j) % 3 == 0; }), NoBias{}, 0.8);
  }
}

TEST_CASE("steps come from their schedule", "[systems][convex_layers]") {
  const auto head = Head<double>::identity(2);
  CHECK(attnflow::frank_wolfe_step(0) == 1);
  CHECK(attnflow::frank_wolfe_step(2) == 0.5);
  CHECK(attnflow::convex_step(0.5) == Approx(1 / 3.0));
  CHECK(ConvexLayers(head, 0.25).gamma(7) == 0.25);
  CHECK(ConvexLayers(head, attnflow::frank_wolfe_step).gamma(6) == 0.25);
  const ConvexLayers halving(head, [](long k) { return std::ldexp(1.0, static_cast<int>(-k)); });
  CHECK(halving.gamma(3) == 0.125);
  // Layer k takes γₖ.
  std::mt19937_64 generator(131);
  const Matrix x = random(2, 6, generator);
  Matrix y = x, z = x;
  halving.apply(2, y);
  ConvexLayers(head, 0.25).apply(0, z);
  CHECK(y == z);
  CHECK((halving.attention(x).rowwise().sum().array() - 1).abs().maxCoeff() <= 1e-15);
}

TEST_CASE("who attends to oneself alone, or to nobody, rests to the last bit", "[systems][convex_layers]") {
  std::mt19937_64 generator(132);
  Matrix x = random(3, 9, generator);
  const Matrix start = x;
  const ConvexLayers causal(Head<double>::identity(3), 0.37, Softmax{2}, Causal{});
  const ConvexLayers strict(Head<double>::identity(3), 0.37, Softmax{2}, StrictCausal{});
  for (long k = 0; k < 300; ++k) causal.apply(k, x);
  CHECK(x.col(0) == start.col(0));
  CHECK((x.colwise() - start.col(0)).cwiseAbs().maxCoeff() <= 1e-9);  // all come to the first
  x = start;
  strict.apply(0, x);
  CHECK(x.col(0) == start.col(0));
  CHECK((x.col(1) - (start.col(1) + 0.37 * (start.col(0) - start.col(1)))).cwiseAbs().maxCoeff() <= 1e-15);
}

TEST_CASE("hard layers with B > 0 go straight to the vertex of their cell", "[systems][convex_layers]") {
  // x^t = ∏ (1 − γ) x⁰ + (1 − ∏ (1 − γ)) v for the vertex v that maximises ⟨B x⁰, v⟩ [AGR25]. B^{1/2} takes the vertices
  // to a circle, so that each is in its own cell.
  std::mt19937_64 generator(133);
  const Matrix root = (Matrix(2, 2) << 1.2, 0.3, 0.3, 0.7).finished(), B = root * root;
  const Matrix back = (Matrix(2, 2) << 0.7, -0.3, -0.3, 1.2).finished() / (1.2 * 0.7 - 0.09);
  const Index k = 7, n = 40;
  Matrix vertices(2, k), x(2, n);
  for (Index j = 0; j < k; ++j) {
    const double angle = 2 * std::numbers::pi * (static_cast<double>(j) + 0.3 * unit(generator)) / 7;
    vertices.col(j) = back * Eigen::Vector2d(std::cos(angle), std::sin(angle));
  }
  x.leftCols(k) = vertices;
  std::vector<Index> goal(n);
  for (Index i = 0; i < n;) {
    if (i >= k) {  // somewhere inside
      Eigen::VectorXd weights = Eigen::VectorXd::NullaryExpr(k, [&](Index) { return unit(generator); });
      x.col(i) = vertices * weights / weights.sum();
    }
    Eigen::VectorXd scores = vertices.transpose() * (B * x.col(i));
    const double best = scores.maxCoeff(&goal[static_cast<std::size_t>(i)]);
    scores(goal[static_cast<std::size_t>(i)]) = -1e9;
    if (best - scores.maxCoeff() > 1e-3) ++i;  // in one cell
  }
  const Matrix start = x;
  const auto check = [&](const auto& layers) {
    x = start;
    double left = 1;
    for (long t = 0; t < 40; ++t) {
      layers.apply(t, x);
      left *= 1 - layers.gamma(t);
      double off = 0;
      for (Index i = 0; i < n; ++i)
        off = std::max(off, (x.col(i) - left * start.col(i) -
                             (1 - left) * vertices.col(goal[static_cast<std::size_t>(i)]))
                                .cwiseAbs()
                                .maxCoeff());
      REQUIRE(off <= 1e-15 * static_cast<double>(t + 2));  // roundings of numbers of size 2
      REQUIRE(x.leftCols(k) == vertices);                  // the hull stays, to the last bit
    }
  };
  check(ConvexLayers(form(B), 0.3, Hardmax{}));
  check(ConvexLayers(
      form(B), [](long t) { return 1 / (static_cast<double>(t) + 2); }, Hardmax{}));
  check(ConvexLayers(form(B), attnflow::frank_wolfe_step, Softmax{1e9}));  // weights of e^{−10⁶} and less
  // And the flow is e^{−t} x⁰ + (1 − e^{−t}) v: its velocity is v − x.
  const attnflow::TokenDynamics attention(form(B), Hardmax{});
  const Matrix v =
      velocity(attnflow::Driven(attention, attnflow::LinearPart(-Matrix::Identity(2, 2))), 0, start);
  for (Index i = 0; i < n; ++i)
    CHECK(
        (v.col(i) - (vertices.col(goal[static_cast<std::size_t>(i)]) - start.col(i))).cwiseAbs().maxCoeff() <=
        1e-15);
}

TEST_CASE("hard layers with B < 0 need not come to the origin", "[systems][convex_layers]") {
  // d = 1, tokens 3 and −1, γ = 2/(t + 2): they change places, and both end at 1/3 [AGR25, against its statement].
  const Matrix minus = -Matrix::Identity(1, 1);
  const ConvexLayers layers(form(minus), attnflow::frank_wolfe_step, Hardmax{});
  Matrix x = (Matrix(1, 2) << 3, -1).finished();
  const std::vector<std::pair<double, double>> known{{-1, 3}, {5 / 3.0, 1 / 3.0}, {1, 1 / 3.0}};
  for (long t = 0; t < 3; ++t) {
    layers.apply(t, x);
    CHECK(x(0) == Approx(known[static_cast<std::size_t>(t)].first).epsilon(1e-15));
    CHECK(x(1) == Approx(known[static_cast<std::size_t>(t)].second).epsilon(1e-15));
  }
  for (long t = 3; t < 2000; ++t) layers.apply(t, x);
  CHECK(x(1) == Approx(1 / 3.0).epsilon(1e-14));
  // From t = 2 on the other is at distance 4/3 ∏ₛ (1 − 2/(s + 2)) of it, s = 2, …, t − 1: 8/(t (t + 1)).
  CHECK(x(0) - x(1) == Approx(8 / (2000.0 * 2001)).epsilon(1e-9));
}

TEST_CASE("leaders rest while they lead, and are never fewer", "[systems][convex_layers]") {
  // Hardmax with α = 1/2 from the four starts of [AFZ24], random tokens drawn anew; A = I and A = B > 0.
  std::mt19937_64 generator(135);
  const auto within = [&](Index n, double size) { return Matrix(size * random(2, n, generator)); };
  Matrix late(2, 8), triangle(2, 9), square(2, 10), tied(2, 10);
  late << 1, -1 / 12.0, -1, 0, -0.3, -0.6, 0.8, 0.6, 1 / 3.0, 1 / 12.0, -1, 0.25, -0.7, -0.9, 0.1, 0.15;
  triangle.leftCols(5) << 1, 0.5, -1, 0.3, 0.1, 1, -0.5, -1, -0.2, -0.2;
  triangle.rightCols(4) = within(4, 0.4);
  square.leftCols(4) << 1, 1, -1, -1, 1, -1, 1, -1;
  square.rightCols(6) = within(6, 0.5);
  tied.leftCols(6) << square.leftCols(4), Eigen::Vector2d(0.5, 0), Eigen::Vector2d(-0.5, 0);
  tied.rightCols(4) = within(4, 0.5);
  const Matrix B = (Matrix(2, 2) << 1, 0.3, 0.3, 0.6).finished();
  for (const Matrix& A : {Matrix(Matrix::Identity(2, 2)), B})
    for (const Matrix& start : {late, triangle, square, tied}) {
      const ConvexLayers layers(form(A), attnflow::convex_step(0.5), Hardmax{});
      const auto leads = [&](const Matrix& x, Index i) { return layers.attention(x)(i, i) == 1; };
      Matrix x = start;
      Index first = 0, last = 0;
      for (long k = 0; k < 30; ++k) {
        const Matrix before = x;
        layers.apply(k, x);
        last = 0;
        for (Index i = 0; i < x.cols(); ++i) {
          if (k == 0 && leads(before, i)) ++first;
          if (leads(x, i)) ++last;
          if (!leads(before, i)) continue;
          REQUIRE(x.col(i) == before.col(i));
          REQUIRE(leads(x, i));
        }
      }
      CHECK(first >= 2);
      CHECK(last >= first);
      if (start.cols() == 8 && A.isIdentity(0)) {  // one more, late
        CHECK(first == 2);
        CHECK(last == 3);
      }
      if (start.cols() == 10 && A.isIdentity(0)) CHECK(last == 4);
    }
  // Two leaders draw (1/2, 0) alike: it comes to the foot of the origin on their edge, and leads nobody.
  const ConvexLayers layers(form(Matrix::Identity(2, 2)), attnflow::convex_step(0.5), Hardmax{});
  for (long k = 0; k < 60; ++k) layers.apply(k, tied);
  CHECK((tied.col(4) - Eigen::Vector2d(1, 0)).norm() <= 1e-10);
  CHECK(layers.attention(tied)(4, 0) == 0.5);
}

TEST_CASE("soft layers bring all tokens to one point of their hull", "[systems][convex_layers]") {
  std::mt19937_64 generator(134);
  const Matrix start = random(2, 12, generator);
  for (const double beta : {-2.0, 0.0, 1.0, 3.0})
    for (const double gamma : {0.3, 1.0}) {
      CAPTURE(beta, gamma);
      const ConvexLayers layers(Head<double>::identity(2), gamma, Softmax{beta});
      Matrix x = start;
      double beyond = 0;
      for (long k = 0; k < 2000; ++k) {
        const Matrix before = x;
        layers.apply(k, x);
        beyond = std::max(beyond, outside(x, before));
      }
      CHECK(diameter(x) <= 1e-12);
      CHECK(beyond <= 1e-15);  // hulls are nested but for a rounding
      CHECK(outside(x, start) < 0);
    }
}

TEMPLATE_TEST_CASE("layers of the largest tokens stay finite", "[systems][convex_layers]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  for (const TestType size : {Limits::max(), Limits::min(), Limits::denorm_min()})
    for (const double beta : {1.0, -1.0}) {
      CAPTURE(size, beta);
      Tokens<TestType> x(2, 3);
      x << size, -size, 0, size, -size, size;
      const ConvexLayers layers(Head<TestType>::identity(2), 0.75, Softmax{beta});
      for (long k = 0; k < 5; ++k) layers.apply(k, x);
      CHECK(x.allFinite());
      CHECK(x.cwiseAbs().maxCoeff() <= size);
    }
}

TEST_CASE("convex layers refuse what they are not", "[systems][convex_layers]") {
  using Catch::Matchers::ContainsSubstring;
  const auto head = Head<double>::identity(2);
  for (const double bad : {0.0, -0.1, 1.0001, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THAT(refusal([&] { ConvexLayers l(head, bad); }),
               ContainsSubstring("ConvexLayers: gamma of layer 0 is") &&
                   ContainsSubstring("expected a number in (0, 1]"));
  CHECK_THAT(refusal([&] { ConvexLayers l(head, ConvexLayers<double>::Schedule{}); }),
             ContainsSubstring("ConvexLayers: gamma is an empty function"));
  Matrix x = Matrix::Ones(2, 3);
  CHECK_THAT(
      refusal([&] { ConvexLayers(head, [](long k) { return 1.0 + static_cast<double>(k); }).apply(2, x); }),
      ContainsSubstring("ConvexLayers: gamma of layer 2 is 3"));
  CHECK_THAT(refusal([&] { ConvexLayers l(Head<double>::with_value(2 * Matrix::Identity(2, 2)), 0.5); }),
             ContainsSubstring("ConvexLayers: V is not the identity, expected V = I"));
  CHECK_THAT(refusal([&] { ConvexLayers l(Head<double>::with_value(Matrix::Ones(2, 3)), 0.5); }),
             ContainsSubstring("ConvexLayers: V is 2 x 3"));
  CHECK_THAT(refusal([&] {
               ConvexLayers l(head, 0.5, Hardmax{1, attnflow::Ties::all});
             }),
             ContainsSubstring("ConvexLayers: the law is Hardmax with Ties::all"));
  CHECK_THAT(refusal([&] { (void)attnflow::convex_step(0); }), ContainsSubstring("convex_step: alpha is 0"));
  CHECK_THAT(refusal([&] { (void)ConvexLayers(head, 0.5).attention(Matrix(Matrix::Ones(3, 1))); }),
             ContainsSubstring("ConvexLayers: x has 3 rows, expected d = 2"));
}
