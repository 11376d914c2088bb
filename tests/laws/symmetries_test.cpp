// What may be done to tokens and weights, and what it does to P and to the velocity: the table of the paper's symmetries,
// each tried on TokenDynamics and on RescaledDynamics.
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::Tokens;
using reference::Index;
using reference::Real;
using reference::wide;
using reference::Wide;

template <class Scalar>
struct Setting {
  Head<Scalar> head;
  Tokens<Scalar> x;
  double t = 0.6;
};

struct Law {
  std::string name;
  bool holds = true;
  std::function<Wide(const Wide&)> P;      ///< what the law says the new P is, from the old one
  std::function<Wide(const Wide&)> drift;  ///< the same for the velocity
};

template <class Scalar>
struct Result {
  Wide P, drift;
  Real P_bound, drift_bound;  ///< roundings of the library, by the condition of the scores
};

/// Both systems at one setting. The frame moves with e^{tV}; the bounds are those of the definition tests.
template <class Scalar>
Result<Scalar> evaluate(const Setting<Scalar>& s, bool rescaled) {
  constexpr Real eps = reference::epsilon<Scalar>;
  Result<Scalar> result;
  Tokens<Scalar> drift;
  const Wide V = wide(s.head.V), X = wide(s.x);
  const Index d = X.rows(), inner = 3 * d + s.head.Q.rows();
  const Wide I = Wide::Identity(d, d);
  reference::Attention a;
  Real flow_eps = 0;
  if (rescaled) {
    const attnflow::RescaledDynamics<Scalar> field(s.head);
    field(s.t, s.x, drift);
    result.P = wide(field.attention(s.t, s.x));
    const Wide E = reference::exponential(V * static_cast<Real>(s.t));
    a = reference::attention(wide(s.head.Q), wide(s.head.K), 1, E,
                             Wide::Constant(d, d, reference::largest(E)), X);
    flow_eps = reference::epsilon<double> * static_cast<Real>(8 * (d + 10)) *
               (1 + static_cast<Real>(s.t) * reference::one_norm(V));
  } else {
    const attnflow::TokenDynamics<Scalar> field(s.head);
    field(s.t, s.x, drift);
    result.P = wide(field.attention(s.t, s.x));
    a = reference::attention(wide(s.head.Q), wide(s.head.K), 1, I, I, X);
  }
  result.drift = wide(drift);
  result.P_bound = reference::largest(a.bound(eps, inner, flow_eps));
  const Wide sums = rescaled ? reference::displacements(a, X) : reference::means(a, X);
  result.drift_bound = reference::largest(
      reference::product_bound(V, sums, reference::sum_bound(a, X, rescaled, eps, inner, flow_eps), eps));
  return result;
}

template <class Scalar>
void check(const Law& law, const Setting<Scalar>& before, const Setting<Scalar>& after, bool rescaled) {
  const auto a = evaluate(before, rescaled), b = evaluate(after, rescaled);
  INFO(law.name << (rescaled ? " (rescaled)" : " (tokens)"));
  // Weights of the new setting are rounded when they are made: a few units of each entry, as the bounds have for M.
  const double P = reference::excess(b.P, law.P(a.P), 2 * (a.P_bound + b.P_bound));
  const double drift = reference::excess(b.drift, law.drift(a.drift), 2 * (a.drift_bound + b.drift_bound));
  if (law.holds) {
    CHECK(P <= 1);
    CHECK(drift <= 1);
  } else {
    CHECK(P > 8);  // not by a rounding, which the bounds exaggerate already: it is another matrix
    CHECK(drift > 8);
  }
}

Wide same(const Wide& m) { return m; }

/// [[A, b], [cᵀ, e]]
template <class Scalar>
typename Head<Scalar>::Projection bordered(const typename Head<Scalar>::Projection& A, Scalar corner,
                                           const Eigen::Matrix<Scalar, Eigen::Dynamic, 1>& last) {
  typename Head<Scalar>::Projection m(A.rows() + 1, A.cols() + 1);
  m.setZero();
  m.topLeftCorner(A.rows(), A.cols()) = A;
  m.topRightCorner(A.rows(), 1) = last;
  m(A.rows(), A.cols()) = corner;
  return m;
}

}  // namespace

TEMPLATE_TEST_CASE("the symmetries of attention", "[laws]", float, double) {
  using Scalar = TestType;
  using H = Head<Scalar>;
  using Square = typename H::Square;
  using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
  std::mt19937_64 generator(30);
  for (const Index d : {1, 2, 3, 5})
    for (const Index n : {1, 2, 12})
      for (const bool rescaled : {false, true}) {
        CAPTURE(d, n);
        const auto matrix = [&](Index r, Index c) { return reference::random<Square>(generator, r, c); };
        const Setting<Scalar> base{{matrix(d + 1, d), matrix(d + 1, d), matrix(d, d)},
                                   reference::random<Tokens<Scalar>>(generator, d, n, -1.5, 1.5)};

        {  // Tokens with a constant last coordinate: adding cᵢ = ⟨w, xᵢ⟩ + c to row i of the scores changes nothing.
          // In this form sᵢⱼ → ⟨Q xᵢ, K (xⱼ − c)⟩ too, whose shift −⟨Q xᵢ, K c⟩ is the same for all keys j.
          const Vector c = matrix(d, 1), none = Vector::Zero(d + 1);
          const auto extend = [&](const Vector& key_shift, Scalar corner) {
            Setting<Scalar> s = base;
            s.head.Q = bordered<Scalar>(base.head.Q, 1, none);
            s.head.K = bordered<Scalar>(base.head.K, corner, key_shift);
            s.head.V = Square::Zero(d + 1, d + 1);
            s.head.V.topLeftCorner(d, d) = base.head.V;
            s.x.resize(d + 1, n);
            s.x.topRows(d) = base.x;
            s.x.row(d).setOnes();
            return s;
          };
          const auto extended = [](const Wide& drift) {
            Wide m = Wide::Zero(drift.rows() + 1, drift.cols());
            m.topRows(drift.rows()) = drift;
            return m;
          };
          check({"an idle coordinate", true, same, extended}, base, extend(none, 0), rescaled);
          check({"rows shifted by a constant", true, same, extended}, base, extend(none, Scalar(2.5)),
                rescaled);
          check({"keys shifted by -K c", true, same, extended}, base, extend(Vector(-(base.head.K * c)), 0),
                rescaled);
        }
        {  // Permutations.
          Eigen::PermutationMatrix<Eigen::Dynamic> order(n);
          order.setIdentity();
          for (Index i = 0; i < n; ++i) order.applyTranspositionOnTheRight(i, (i * 7 + 3) % n);
          Setting<Scalar> s = base;
          s.x = (base.x * order).eval();
          const Wide Pi = wide(Eigen::MatrixXd(order.toDenseMatrix().template cast<double>()));
          check({"tokens renumbered", true, [&](const Wide& P) -> Wide { return Pi.transpose() * P * Pi; },
                 [&](const Wide& f) -> Wide { return f * Pi; }},
                base, s, rescaled);
        }
        {  // Only QᵀK counts: turn both by an orthogonal matrix, exact in binary (a quarter turn and a reflection).
          Setting<Scalar> s = base;
          const auto turn = [&](const typename H::Projection& m) {
            typename H::Projection r = m;
            r.row(0) = -m.row(d);
            r.row(d) = m.row(0);
            return r;
          };
          s.head.Q = turn(base.head.Q), s.head.K = turn(base.head.K);
          check({"Q and K turned together", true, same, same}, base, s, rescaled);
          s.head.Q = Square::Identity(d, d);
          s.head.K = base.head.Q.transpose() * base.head.K;
          check({"Q = I, K = M", true, same, same}, base, s, rescaled);
          s.head.Q = base.head.Q * Scalar(4), s.head.K = base.head.K / Scalar(4);
          check({"a factor moved from K to Q", true, same, same}, base, s, rescaled);
        }
        {  // A change of coordinates, B unimodular: B and its inverse are integers.
          Square B = Square::Identity(d, d), inverse = Square::Identity(d, d);
          for (Index k = 0; k + 1 < d; ++k) {
            Square T = Square::Identity(d, d);
            T(k, k + 1) = (k % 2 == 0) ? Scalar(1) : Scalar(-1);
            Square back = T;
            back(k, k + 1) = -T(k, k + 1);
            B = (B * T.transpose()).eval();
            inverse = (back.transpose() * inverse).eval();
          }
          REQUIRE((B * inverse - Square::Identity(d, d)).isZero(0));
          Setting<Scalar> s = base;
          s.head.V = B * base.head.V * inverse;
          s.head.Q = base.head.Q * inverse;
          s.head.K = base.head.K * inverse;
          s.x = B * base.x;
          check({"y = B x", true, same, [&](const Wide& f) -> Wide { return wide(B) * f; }}, base, s,
                rescaled);
        }
        {
          Setting<Scalar> s = base;
          s.x = -base.x;
          check({"x to -x", true, same, [](const Wide& f) -> Wide { return -f; }}, base, s, rescaled);
          s = base;
          s.x *= 4;
          s.head.Q /= 16;
          check({"x to 4 x, M to M / 16", true, same, [](const Wide& f) -> Wide { return 4 * f; }}, base, s,
                rescaled);
          s = base;
          s.head.V *= 8;
          s.t /= 8;
          check({"V to 8 V, t to t / 8", true, same, [](const Wide& f) -> Wide { return 8 * f; }}, base, s,
                rescaled);
        }
        {  // The whole list twice: only the empirical measure counts.
          Setting<Scalar> s = base;
          s.x.resize(d, 2 * n);
          s.x << base.x, base.x;
          check({"every token twice", true, [](const Wide& P) -> Wide { return P.replicate(2, 2) / 2; },
                 [](const Wide& f) -> Wide { return f.replicate(1, 2); }},
                base, s, rescaled);
        }
        if (n > 2) {  // Not symmetries.
          Setting<Scalar> s = base;
          s.x.colwise() += Vector(Vector::Constant(d, Scalar(0.75)));
          // The velocity of TokenDynamics would gain V c if P were the same; RescaledDynamics' would not change.
          const Wide gain =
              rescaled ? Wide(Wide::Zero(d, n))
                       : Wide(wide(Vector(base.head.V * Vector::Constant(d, Scalar(0.75)))).replicate(1, n));
          check({"tokens moved by a constant", false, same, [&](const Wide& f) -> Wide { return f + gain; }},
                base, s, rescaled);
          if (d > 1) {
            s = base;
            const Square M = base.head.Q.transpose() * base.head.K;
            s.head.Q = Square::Identity(d, d);
            s.head.K = Scalar(0.5) * (M + M.transpose());
            check({"M made symmetric", false, same, same}, base, s, rescaled);
          }
        }
      }
}

TEMPLATE_TEST_CASE("equal tokens move alike, to the last bit", "[laws]", float, double) {
  std::mt19937_64 generator(31);
  for (const Index d : {1, 2, 3, 4, 5, 17})
    for (const double t : {0.0, 0.5, 50.0, 1e4}) {
      const Head<TestType> head{reference::random<typename Head<TestType>::Projection>(generator, d, d),
                                reference::random<typename Head<TestType>::Projection>(generator, d, d),
                                reference::random<typename Head<TestType>::Square>(generator, d, d)};
      Tokens<TestType> x = reference::random<Tokens<TestType>>(generator, d, 23), f;
      for (const Index copy : {4, 11, 22}) x.col(copy) = x.col(2);
      attnflow::RescaledDynamics<TestType>{head}(t, x, f);
      for (const Index copy : {4, 11, 22}) CHECK(f.col(copy) == f.col(2));
      attnflow::TokenDynamics<TestType>{head}(t, x, f);
      for (const Index copy : {4, 11, 22}) CHECK(f.col(copy) == f.col(2));
    }
}

TEMPLATE_TEST_CASE("tokens of an invariant subspace stay in it", "[laws]", float, double) {
  // V maps the plane of the first two coordinates to itself, Q and K are anything: the third velocity is exactly zero.
  std::mt19937_64 generator(32);
  Head<TestType, 3> head{reference::random<typename Head<TestType, 3>::Projection>(generator, 2, 3),
                         reference::random<typename Head<TestType, 3>::Projection>(generator, 2, 3),
                         reference::random<typename Head<TestType, 3>::Square>(generator, 3, 3)};
  head.V(2, 0) = head.V(2, 1) = 0;
  Tokens<TestType, 3> x = reference::random<Tokens<TestType, 3>>(generator, 3, 20), f;
  x.row(2).setZero();
  attnflow::TokenDynamics<TestType, 3>{head}(0, x, f);
  CHECK(f.row(2).isZero(0));
  CHECK_FALSE(f.row(1).isZero(0));
  for (const double t : {0.0, 1.0, 100.0, -3.0}) {
    attnflow::RescaledDynamics<TestType, 3>{head}(t, x, f);
    CHECK(f.row(2).isZero(0));
    CHECK_FALSE(f.row(1).isZero(0));
  }
}

TEMPLATE_TEST_CASE("velocities point into the hull", "[laws]", float, double) {
  // V = I: zᵢ + żᵢ = ∑ⱼ Pᵢⱼ zⱼ is in the convex hull, so no support function of the tokens is exceeded.
  std::mt19937_64 generator(33);
  for (const Index d : {1, 2, 3, 6})
    for (const double t : {-1.0, 0.0, 2.0, 40.0, 1e5}) {
      const Head<TestType> head{reference::random<typename Head<TestType>::Projection>(generator, d, d),
                                reference::random<typename Head<TestType>::Projection>(generator, d, d),
                                Head<TestType>::Square::Identity(d, d)};
      const auto z = reference::random<Tokens<TestType>>(generator, d, 40);
      Tokens<TestType> f;
      attnflow::RescaledDynamics<TestType>{head}(t, z, f);
      const Wide reached = wide(z) + wide(f);
      Real above = 0;
      for (int k = 0; k < 60; ++k) {
        const Wide u = reference::random<Wide>(generator, 1, d);
        // n weights that sum to one within n ε, of tokens of at most √d.
        above = std::max(above, (u * reached).maxCoeff() - (u * wide(z)).maxCoeff());
      }
      CHECK(above <= 50 * reference::epsilon<TestType> * static_cast<Real>(d));
    }
}
