// Every system and every call of the operator on matrices of hostile shape and size: no NaN, sums within the
// hull, rows that sum to one; or the refusal that is documented.
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/systems/feed_forward.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "catch.hpp"
#include "laws/hard_input.hpp"
#include "refusal.hpp"

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace {

using attnflow::Alibi;
using attnflow::Causal;
using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::Softmax;
using attnflow::StrictCausal;
using attnflow::Tokens;
using attnflow::Unnormalized;
using hard::has_nan;
using hard::Index;
using hard::Kind;
using hard::Real;

constexpr std::uint64_t seed = 20260801;

std::string shortest(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

/// A shape, and what is drawn for it.
template <class Scalar, int Dim>
struct Draw {
  Index d, n;
  Kind tokens, weights;
  Head<Scalar, Dim> head;
  Tokens<Scalar, Dim> x;
  double beta;

  explicit Draw(std::mt19937_64& generator) {
    d = Dim > 0 ? Dim : std::vector<Index>{1, 2, 3, 4, 5, 9, 17}[generator() % 7];
    n = std::vector<Index>{0, 1, 2, 3, 7, 16, 33}[generator() % 7];
    tokens = hard::kinds[generator() % hard::kinds.size()];
    weights = hard::kinds[generator() % hard::kinds.size()];
    if (generator() % 3 == 0) weights = Kind::plain;
    const Index d_k = generator() % 4 == 0 ? 1 : d;
    head = {hard::draw<typename Head<Scalar, Dim>::Projection>(generator, d_k, d, weights),
            hard::draw<typename Head<Scalar, Dim>::Projection>(generator, d_k, d, weights),
            hard::draw<typename Head<Scalar, Dim>::Square>(generator, d, d, weights)};
    x = hard::draw<Tokens<Scalar, Dim>>(generator, d, n, tokens);
    beta = std::vector<double>{1, 0, -2, 1e-300, 1e300}[generator() % 5];
  }
  [[nodiscard]] std::string text() const {
    std::string all = std::string(sizeof(Scalar) == 4 ? "float" : "double") + ", Dim " + std::to_string(Dim) +
                      ": d = " + std::to_string(d) + ", n = " + std::to_string(n) + ", tokens " +
                      hard::name_of(tokens);
    return all + ", weights " + hard::name_of(weights) + ", beta = " + shortest(beta);
  }
};

template <class Mask>
bool attends(const Mask& mask, Index i, Index n) {
  const attnflow::KeyRange range = mask.keys(i, n);
  return range.begin < range.end;
}

/// Rows of P: probability vectors, zero where the mask leaves nothing; log P is their logarithm.
template <class Scalar, class Mask>
void check_rows(const attnflow::SquareMatrix<Scalar>& P, const attnflow::SquareMatrix<Scalar>& log_P,
                const Mask& mask) {
  const Index n = P.rows();
  constexpr Real eps = reference::epsilon<Scalar>;
  Real worst = 0;
  bool in_range = true, masked = true;
  for (Index i = 0; i < n; ++i) {
    const attnflow::KeyRange range = mask.keys(i, n);
    Real sum = 0;
    for (Index j = 0; j < n; ++j) {
      const bool there = range.begin <= j && j < range.end;
      in_range =
          in_range && P(i, j) >= 0 && static_cast<Real>(P(i, j)) <= 1 + 4 * eps && !std::isnan(log_P(i, j));
      masked = masked && (there || (P(i, j) == 0 && log_P(i, j) == -std::numeric_limits<Scalar>::infinity()));
      sum += static_cast<Real>(P(i, j));
    }
    if (attends(mask, i, n)) worst = std::max(worst, std::abs(sum - 1));
  }
  REQUIRE(in_range);
  REQUIRE(masked);
  // A log P of −700 (float: −80) is off by its rounding, and e to it by as much of itself: little beside the
  // largest.
  REQUIRE(worst <= static_cast<Real>(8 * n + 16) * eps);
}

/// ∑ⱼ wᵢⱼ xⱼ coordinate by coordinate between the least and the largest of the tokens attended to, and that
/// of P as far as roundings of the scores leave it determined.
template <class Scalar, int Dim, class Mask>
void check_means(const Tokens<Scalar, Dim>& x, const Tokens<Scalar, Dim>& means,
                 const attnflow::SquareMatrix<Scalar>& P, const Mask& mask, Real scores) {
  // Large tokens are handled in units of 2^{half of the largest exponent} of theirs, in which small
  // coordinates vanish.
  constexpr Real eps = reference::epsilon<Scalar>;
  const Real least =
      static_cast<Real>(std::numeric_limits<Scalar>::denorm_min()) *
      std::max<Real>(1, std::ldexp(hard::largest_of(x), -std::numeric_limits<Scalar>::max_exponent / 2));
  const Index n = x.cols();
  Real outside = 0, off = 0;
  for (Index i = 0; i < n; ++i) {
    if (!attends(mask, i, n)) {
      REQUIRE(means.col(i).isZero(0));
      continue;
    }
    const attnflow::KeyRange range = mask.keys(i, n);
    for (Index c = 0; c < x.rows(); ++c) {
      Real low = static_cast<Real>(x(c, range.begin)), high = low, sum = 0, all = 0;
      for (Index j = 0; j < n; ++j) all = std::max(all, std::abs(static_cast<Real>(x(c, j))));
      for (Index j = range.begin; j < range.end; ++j) {
        low = std::min(low, static_cast<Real>(x(c, j)));
        high = std::max(high, static_cast<Real>(x(c, j)));
        sum += static_cast<Real>(P(i, j)) * static_cast<Real>(x(c, j));
      }
      // Sums are taken about the middle of the box around all tokens: n + 6 roundings of that size.
      const Real rounding = static_cast<Real>(n + 8) * eps * all + 4 * least,
                 found = static_cast<Real>(means(c, i));
      outside = std::max(outside, std::max(low - found, found - high) / rounding);
      // Scores up to 2048 (float: 256) in base two may be rounded before the exponential.
      const Real exponents = std::max<Real>(std::is_same_v<Scalar, float> ? 300 : 2100, 4 * scores);
      const Real weights = std::min<Real>(1, exponents * eps * static_cast<Real>(n + 8)) * (high - low);
      off = std::max(off, std::abs(found - sum) / (rounding + weights));
    }
  }
  REQUIRE(outside <= 1);
  REQUIRE(off <= 4);
}

template <class Scalar, int Dim, class Law, class Mask, class Bias>
void check_operator(const Draw<Scalar, Dim>& s, const Law& law, const Mask& mask, const Bias& bias) {
  const auto P = attnflow::attention_matrix(s.head, s.x, law, mask, bias);
  const auto log_P = attnflow::log_attention(s.head, s.x, law, mask, bias);
  REQUIRE(P.rows() == s.n);
  REQUIRE(P.cols() == s.n);
  Head<Scalar, Dim> plain = s.head;
  plain.V.setIdentity();
  Tokens<Scalar, Dim> means, same, drift;
  attnflow::attend(plain, law, mask, bias, s.x, means);
  attnflow::RowRecord rows;
  attnflow::attend(plain, law, mask, bias, s.x, same, &rows);
  attnflow::attend(s.head, law, mask, bias, s.x, drift);
  REQUIRE(means.rows() == s.d);
  REQUIRE(means.cols() == s.n);
  REQUIRE(rows.largest_key.size() == static_cast<std::size_t>(s.n));
  // Documented: with a slope, rows of scores beyond the range of numbers are weights, but not determined.
  const Real scores = hard::largest_of(s.head.Q) * hard::largest_of(s.head.K) * hard::largest_of(s.x) *
                      hard::largest_of(s.x) * std::abs(static_cast<Real>(s.beta)) *
                      static_cast<Real>(s.d * s.d * s.d);
  const bool determined =
      std::is_same_v<Bias, NoBias> || scores < static_cast<Real>(std::numeric_limits<Scalar>::max()) / 64;
  if constexpr (attnflow::detail::rows_sum_to_one<Law>()) {
    check_rows(P, log_P, mask);
    check_means(s.x, means, P, mask, scores);
    check_means(s.x, same, P, mask, scores);
  }
  if (attnflow::detail::rows_sum_to_one<Law>() ||
      means.allFinite()) {  // another law's weights may be beyond the range of numbers
    REQUIRE_FALSE(has_nan(means));
    REQUIRE_FALSE(has_nan(drift));
  }
  for (std::size_t i = 0; i < rows.largest_key.size(); ++i) {
    const auto row = static_cast<Index>(i);
    REQUIRE_FALSE(std::isnan(rows.log_normalizer[i]));
    if (!attends(mask, row, s.n)) {
      REQUIRE(rows.log_normalizer[i] == -std::numeric_limits<double>::infinity());
      continue;
    }
    const attnflow::KeyRange range = mask.keys(row, s.n);
    REQUIRE(rows.largest_key[i] >= range.begin);
    REQUIRE(rows.largest_key[i] < range.end);
    // The key of the largest score has the largest weight, up to the rounding of a weight.
    if constexpr (attnflow::detail::rows_sum_to_one<Law>())
      if (determined)
        REQUIRE(P(row, rows.largest_key[i]) >=
                P.row(row).maxCoeff() * (1 - 8 * std::numeric_limits<Scalar>::epsilon()));
  }
}

/// |⟨x, ẋ⟩| ≤ c ε ‖x‖ ‖ẋ‖ for each token, in long double, whose range holds the squares.
template <class State>
void check_tangent(const State& x, const State& drift, const State& dx) {
  using Scalar = typename State::Scalar;
  const hard::Wide X = reference::wide(x), F = reference::wide(dx);
  for (Index i = 0; i < x.cols(); ++i) {
    if (!F.col(i).allFinite() || X.col(i).isZero(0)) continue;
    const Real size = X.col(i).norm() * F.col(i).norm(), product = std::abs(X.col(i).dot(F.col(i)));
    const Real least =
        static_cast<Real>(std::numeric_limits<Scalar>::denorm_min());  // entries of ẋ are off by
    // For d = 1 nothing but rounding is left: ε of ε of the drift.
    constexpr Real eps = reference::epsilon<Scalar>;
    const Real rest = eps * eps * X.col(i).norm() * reference::wide(drift.col(i)).norm();
    const Real scale = X.col(i).norm();
    REQUIRE(product <= 16 * static_cast<Real>(x.rows()) * (eps * size + rest) +
                           64 * static_cast<Real>(x.rows()) * least * scale * (1 + scale));
  }
}

template <class Scalar, int Dim>
void check_systems(const Draw<Scalar, Dim>& s, std::mt19937_64& generator) {
  using State = Tokens<Scalar, Dim>;
  const double t = std::vector<double>{0, 1, -3, 40, 1e4, 1e15, 1e300}[generator() % 7];
  const double step = std::vector<double>{1, 1e-3, 7, 1e-30, 1e30}[generator() % 5];
  INFO("t = " << t << ", step " << step);
  const Softmax law{s.beta};
  State f(s.d, 3);
  f.setConstant(std::numeric_limits<Scalar>::quiet_NaN());  // of another size, and not to be read
  const attnflow::TokenDynamics<Scalar, Dim> tokens(s.head, law);
  tokens(t, s.x, f);
  REQUIRE(f.rows() == s.d);
  REQUIRE(f.cols() == s.n);
  REQUIRE_FALSE(has_nan(f));
  Head<Scalar, Dim> other = s.head;
  other.V = -other.V;
  attnflow::TokenDynamics<Scalar, Dim>(std::vector{s.head, other}, law)(t, s.x, f);
  // Two heads that cancel: zero, whatever the size of their sums, unless these overflow.
  if (f.allFinite()) REQUIRE(f.isZero(0));

  const attnflow::RescaledDynamics<Scalar, Dim> rescaled(s.head, law);
  rescaled(t, s.x, f);
  REQUIRE_FALSE(has_nan(f));
  if (s.n == 1 || s.tokens == Kind::equal || s.tokens == Kind::zero) REQUIRE(f.isZero(0));
  check_rows(rescaled.attention(t, s.x), rescaled.log_attention(t, s.x), NoMask{});
  REQUIRE(rescaled.rows(t, s.x).largest_key.size() == static_cast<std::size_t>(s.n));

  const attnflow::SphereDynamics<Scalar, Dim> sphere(s.head, law);
  sphere(t, s.x, f);
  State drift;
  tokens(t, s.x, drift);
  if (drift.allFinite()) {
    // Documented: finite unless the norm of the drift overflows.
    if (hard::largest_of(drift) * std::sqrt(static_cast<Real>(s.d)) <
        static_cast<Real>(std::numeric_limits<Scalar>::max()))
      REQUIRE(f.allFinite());
    check_tangent(s.x, drift, f);
  }

  State x = s.x;
  attnflow::Layers<Scalar, Dim>(s.head, step, law).apply(x);
  REQUIRE_FALSE(has_nan(x));
  std::string failure;
  const auto layers = hard::answer(
      "RescaledLayers", [&] { return attnflow::RescaledLayers<Scalar, Dim>(s.head, step, law); }, failure);
  REQUIRE(failure.empty());
  if (layers)
    for (const long k : {0L, 1L, 1000L, 1000000L}) {
      CAPTURE(k);
      State z = s.x;
      layers->apply(k, z);
      REQUIRE_FALSE(has_nan(z));
      if (s.n == 1) REQUIRE(z == s.x);
      check_rows(layers->attention(k, s.x), layers->attention(k, s.x).array().log().matrix().eval(),
                 NoMask{});
    }

  using Weights = typename Head<Scalar, Dim>::Square;
  const Weights W = hard::draw<Weights>(generator, s.d, s.d, Kind::plain);
  using Vector = Eigen::Matrix<Scalar, Dim, 1>;
  const Vector b = hard::draw<Vector>(generator, s.d, 1, Kind::plain);
  const auto check_part = [&](const auto& sigma) {
    attnflow::FeedForward(rescaled, W, sigma, b, b)(t, s.x, f);
    REQUIRE(f.cols() == s.n);
    State velocity;
    rescaled(t, s.x, velocity);
    if (hard::largest_of(velocity) < 1e30L) REQUIRE_FALSE(has_nan(f));
  };
  check_part(attnflow::Relu{});
  check_part(attnflow::Tanh{});
  check_part(attnflow::Gelu{});
}

/// A token that is not finite: velocities are NaN, all of them, and matrices are refused.
template <class Scalar, int Dim>
void check_spoiled(Draw<Scalar, Dim> s, std::mt19937_64& generator) {
  using State = Tokens<Scalar, Dim>;
  hard::spoil(generator, s.x);
  State f;
  const Softmax law{s.beta};
  const attnflow::TokenDynamics<Scalar, Dim> tokens(s.head, law);
  const attnflow::RescaledDynamics<Scalar, Dim> rescaled(s.head, law);
  attnflow::RowRecord rows;
  attnflow::attend(s.head, law, NoMask{}, NoBias{}, s.x, f, &rows);
  REQUIRE(hard::all_nan(f));
  tokens(0, s.x, f);
  REQUIRE(hard::all_nan(f));
  rescaled(1, s.x, f);
  REQUIRE(hard::all_nan(f));
  attnflow::SphereDynamics<Scalar, Dim>(s.head, law)(0, s.x, f);
  REQUIRE(hard::all_nan(f));
  State x = s.x;
  attnflow::Layers<Scalar, Dim>(s.head, 0.5, law).apply(x);
  REQUIRE(hard::all_nan(x));
  attnflow::FeedForward(tokens, s.head.V, attnflow::Relu{})(0, s.x, f);
  REQUIRE(hard::all_nan(f));
  for (const std::string& message : {refusal([&] { (void)attnflow::attention_matrix(s.head, s.x, law); }),
                                     refusal([&] { (void)attnflow::log_attention(s.head, s.x, law); }),
                                     refusal([&] { (void)tokens.attention(0, s.x); }),
                                     refusal([&] { (void)rescaled.log_attention(2, s.x); })})
    REQUIRE(hard::well_formed(message, "log_attention: x "));
  // A weight that is not finite: nothing is made of it.
  Head<Scalar, Dim> head = s.head;
  const bool value = generator() % 2 == 0;
  if (value)
    hard::spoil(generator, head.V);
  else
    hard::spoil(generator, head.K);
  const std::string expected = std::string(": ") + (value ? "V" : "K") + " has an entry that is not finite";
  CHECK(refusal([&] { (void)attnflow::TokenDynamics<Scalar, Dim>(head); }) == "TokenDynamics" + expected);
  CHECK(refusal([&] { (void)attnflow::RescaledDynamics<Scalar, Dim>(head); }) ==
        "RescaledDynamics" + expected);
  CHECK(refusal([&] { (void)attnflow::SphereDynamics<Scalar, Dim>(head); }) == "SphereDynamics" + expected);
  CHECK(refusal([&] { (void)attnflow::RescaledLayers<Scalar, Dim>(head, 1); }) ==
        "RescaledLayers" + expected);
  CHECK(refusal([&] { (void)attnflow::attention_matrix(head, s.x); }) == "attention_matrix" + expected);
  CHECK(refusal([&] { attnflow::attend(head, law, NoMask{}, NoBias{}, s.x, f); }) == "attend" + expected);
}

template <class Scalar, int Dim>
struct Case {
  using Number = Scalar;
  static constexpr int dim = Dim;
};

}  // namespace

TEMPLATE_TEST_CASE("hostile tokens and weights: the operator", "[laws]", (Case<double, Eigen::Dynamic>),
                   (Case<float, 2>)) {
  using Scalar = typename TestType::Number;
  std::mt19937_64 generator(seed);
  for (int k = 0; k < 3000; ++k) {
    const Draw<Scalar, TestType::dim> s(generator);
    INFO("draw " << k << ", " << s.text());
    const double slope = std::vector<double>{0, 0.5, -0.5, 1e6, 1e300}[generator() % 5];
    INFO("slope " << slope);
    const Softmax law{s.beta};
    switch (generator() % 4) {
      case 0:
        check_operator(s, law, NoMask{}, NoBias{});
        break;
      case 1:
        check_operator(s, law, Causal{}, Alibi{slope});
        break;
      case 2:
        check_operator(s, law, StrictCausal{}, NoBias{});
        break;
      default:
        check_operator(s, Unnormalized{s.beta}, NoMask{}, Alibi{slope});
    }
  }
}

TEMPLATE_TEST_CASE("hostile tokens and weights: the systems", "[laws]", (Case<double, 3>),
                   (Case<float, Eigen::Dynamic>)) {
  using Scalar = typename TestType::Number;
  std::mt19937_64 generator(seed + 1);
  for (int k = 0; k < 1200; ++k) {
    const Draw<Scalar, TestType::dim> s(generator);
    INFO("draw " << k << ", " << s.text());
    check_systems(s, generator);
    if (s.n > 0) check_spoiled(s, generator);
  }
}

TEMPLATE_TEST_CASE("powers of two pass through the operator without a rounding", "[laws]", float, double) {
  std::mt19937_64 generator(seed + 2);
  for (int k = 0; k < 300; ++k) {
    const Index d = 1 + hard::below(generator, 6), n = 1 + hard::below(generator, 20);
    const int power = static_cast<int>(hard::below(generator, 41)) - 20;
    CAPTURE(d, n, power);
    using H = Head<TestType>;
    const H head{hard::draw<typename H::Projection>(generator, d, d, Kind::plain),
                 hard::draw<typename H::Projection>(generator, d, d, Kind::plain),
                 hard::draw<typename H::Square>(generator, d, d, Kind::plain)};
    Tokens<TestType> x = hard::draw<Tokens<TestType>>(generator, d, n,
                                                      k % 2 == 0 ? Kind::plain : Kind::lattice),
                     f, g;
    const TestType factor = std::ldexp(TestType(1), power);
    attnflow::TokenDynamics<TestType>{head}(0, x, f);
    const auto P = attnflow::attention_matrix(head, x);
    const Softmax law{std::ldexp(1.0, -2 * power)};
    x *= factor;
    attnflow::TokenDynamics<TestType>(head, law)(0, x, g);
    REQUIRE(g == factor * f);
    REQUIRE(attnflow::attention_matrix(head, x, law) == P);
  }
}

TEST_CASE("a step beyond the range of the tokens' numbers is refused", "[laws]") {
  // In float it would be infinite, and infinity times a velocity of zero NaN.
  const auto head = Head<float>::identity(2);
  for (const double step : {1e39, std::numeric_limits<double>::max()}) {
    CHECK(hard::well_formed(refusal([&] { (void)attnflow::Layers<float>(head, step); }), "Layers: step is "));
    CHECK(hard::well_formed(refusal([&] { (void)attnflow::RescaledLayers<float>(head, step); }),
                            "RescaledLayers: step is "));
    (void)attnflow::Layers<double>(Head<double>::identity(2), step);
  }
  Tokens<float> x = Tokens<float>::Zero(2, 3);
  attnflow::Layers<float>(head, 1e38).apply(x);
  CHECK(x.isZero(0));
}

namespace {

/// Any field behind one type, as a user's own code may hold it.
struct AnyField {
  using State = Tokens<double>;
  std::function<void(double, const State&, State&)> field;
  void operator()(double t, const State& x, State& dx) const { field(t, x, dx); }
};

}  // namespace

TEST_CASE("a feed-forward part behind another of the same type", "[laws]") {
  std::mt19937_64 generator(seed + 3);
  const Index d = 3;
  const Eigen::MatrixXd W = hard::draw<Eigen::MatrixXd>(generator, d, d, Kind::plain),
                        U = hard::draw<Eigen::MatrixXd>(generator, d, d, Kind::plain);
  const auto x = hard::draw<Tokens<double>>(generator, d, 9, Kind::plain);
  using Part = attnflow::FeedForward<AnyField, attnflow::Tanh>;
  const Part inner(AnyField{[](double, const Tokens<double>& y, Tokens<double>& dy) { dy = y; }}, W);
  const Part outer(AnyField{[&](double t, const Tokens<double>& y, Tokens<double>& dy) { inner(t, y, dy); }},
                   U);
  Tokens<double> f;
  outer(0, x, f);
  const Eigen::MatrixXd expected = U * (W * x.array().tanh().matrix()).array().tanh().matrix();
  CHECK((f - expected).cwiseAbs().maxCoeff() <= 1e-14);
}
