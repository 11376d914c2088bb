// Tokens in somebody else's memory: a map, a block or a reference gives the bits that Tokens give, and what lies in
// memory as Tokens do is not copied.
#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "folder.hpp"
#include "heap.hpp"
#include "refusal.hpp"

#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::RescaledDynamics;
using attnflow::Softmax;
using attnflow::SphereDynamics;
using attnflow::TokenDynamics;
using attnflow::Tokens;
using Catch::Matchers::ContainsSubstring;
using Eigen::Index;
using Eigen::Map;

/// What a call takes from the heap, once it has been made before.
template <class Call>
long taken_by([[maybe_unused]] const Call& call) {
#ifdef ATTNFLOW_TEST_COUNTS
  call();
  const long before = taken;
  call();
  return taken - before;
#else
  return 0;
#endif
}
#ifdef ATTNFLOW_TEST_COUNTS
constexpr bool counts = true;
#else
constexpr bool counts = false;
#endif

template <class A, class B>
bool same(const A& a, const B& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && (a.array() == b.array()).all();
}

/// Every way to hand d × n tokens over, and what it costs: f(view, copies).
template <class Scalar, int Dim, class F>
void for_each_view(const Tokens<Scalar, Dim>& x, const F& f) {
  const Index d = x.rows(), n = x.cols();
  using State = Tokens<Scalar, Dim>;
  std::vector<Scalar> buffer(x.data(), x.data() + x.size());
  f(Map<const State>(buffer.data(), d, n), 0);
  f(Map<State>(buffer.data(), d, n), 0);
  f(Map<Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>>(buffer.data(), d, n),
    0);  // rows known at run time
  State larger(d, n + 3);
  larger.setConstant(7);
  larger.middleCols(2, n) = x;
  f(larger.middleCols(2, n), 0);
  const Eigen::Ref<const State> reference = larger.middleCols(2, n);
  f(reference, 0);
  // Other strides: a row-major map, rows of a larger matrix, every second token.
  const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> transposed = x;
  const Index copies = d > 1 && n > 1 ? 1 : 0;
  f(Map<const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(transposed.data(), d,
                                                                                      n),
    copies);
  Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> taller(d + 2, n);
  taller.setConstant(7);
  taller.middleRows(1, d) = x;
  f(taller.middleRows(1, d), n > 1 ? 1 : 0);
  Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> sparse(d, 2 * n);
  sparse.setConstant(7);
  for (Index i = 0; i < n; ++i) sparse.col(2 * i) = x.col(i);
  using Strided = Map<const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>, 0, Eigen::OuterStride<>>;
  f(Strided(sparse.data(), d, n, Eigen::OuterStride<>(2 * d)), n > 1 ? 1 : 0);
  f(Scalar(1) * x, 1);  // an expression
}

template <class System>
void expect_views(const System& system, const typename System::State& x) {
  using State = typename System::State;
  using Scalar = typename System::Scalar;
  State expected;
  system(0.3, x, expected);
  const auto P = system.attention(0.3, x);
  const long taken_by_matrix = taken_by([&] { static_cast<void>(system.attention(0.3, x)); });
  for_each_view<Scalar, System::Dim>(x, [&](const auto& view, Index copies) {
    CAPTURE(x.rows(), x.cols(), copies);
    // Results in Tokens, in a buffer, and in a part of a matrix.
    State dx;
    system(0.3, view, dx);
    CHECK(same(dx, expected));
    std::vector<Scalar> buffer(static_cast<std::size_t>(x.size()), Scalar(5));
    Map<State> out(buffer.data(), x.rows(), x.cols());
    system(0.3, view, out);
    CHECK(same(out, expected));
    Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic> taller(x.rows() + 1, x.cols());
    taller.setConstant(5);
    system(0.3, view, taller.bottomRows(x.rows()));
    CHECK(same(taller.bottomRows(x.rows()), expected));
    CHECK((taller.row(0).array() == Scalar(5)).all());
    CHECK(same(system.attention(0.3, view), P));
    if (counts) {
      CHECK(taken_by([&] { system(0.3, view, out); }) == copies);
      CHECK(taken_by([&] { static_cast<void>(system.attention(0.3, view)); }) == taken_by_matrix + copies);
    }
  });
}

template <class Scalar, int Dim>
void expect_views_of_systems(Index d, Index n) {
  std::mt19937_64 generator(81);
  const auto head = random_head<Scalar, Dim>(generator, d), other = random_head<Scalar, Dim>(generator, d);
  auto x = reference::random<Tokens<Scalar, Dim>>(generator, d, n);
  using H = Head<Scalar, Dim>;
  expect_views(TokenDynamics<Scalar, Dim>(head), x);
  expect_views(TokenDynamics<Scalar, Dim>(std::vector<H>{head, H::identity(d), other}), x);
  expect_views(RescaledDynamics<Scalar, Dim>(head), x);
  expect_views(RescaledDynamics<Scalar, Dim>(H::identity(d)), x);
  if (n > 0) attnflow::sphere::normalize(x);
  expect_views(SphereDynamics<Scalar, Dim>(head), x);
}

}  // namespace

TEST_CASE("systems read and write tokens where they lie", "[systems][views]") {
  expect_views_of_systems<double, 3>(3, 37);
  expect_views_of_systems<double, Eigen::Dynamic>(7, 37);
  expect_views_of_systems<float, 2>(2, 20);
  expect_views_of_systems<double, 1>(1, 5);
  expect_views_of_systems<double, 3>(3, 1);
}

TEST_CASE("the operator and its matrix read tokens where they lie", "[attention][views]") {
  std::mt19937_64 generator(82);
  const auto head = random_head<double, 3>(generator, 3);
  const auto x = reference::random<Tokens<double, 3>>(generator, 3, 25);
  const Softmax law{1.5};
  const auto form = score_form(head, 1.5);
  const attnflow::MatrixExponential<3> exponential(head.V);
  Tokens<double, 3> expected, means;
  attend(head, law, NoMask{}, NoBias{}, x, expected);
  attend(form, nullptr, attnflow::Weighted::displacements, x, means);
  const auto P = attention_matrix(head, x, law), log_P = log_attention(head, x, law);
  Tokens<double, 3> out;
  const auto call = [&](const auto& tokens) { attend(head, law, NoMask{}, NoBias{}, tokens, out); };
  const long usual = taken_by([&] { call(x); });
  for_each_view<double, 3>(x, [&](const auto& view, Index copies) {
    CAPTURE(copies);
    call(view);
    CHECK(same(out, expected));
    if (counts) CHECK(taken_by([&] { call(view); }) == usual + copies);
    attend(form, nullptr, attnflow::Weighted::displacements, view, out);
    CHECK(same(out, means));
    CHECK(same(attend(head, view), attend(head, x)));
    CHECK(same(attention_matrix(head, view, law), P));
    CHECK(same(log_attention(head, view, law), log_P));
    CHECK(same(attention_matrix(form, nullptr, view), P));
    CHECK(same(rescale(exponential, 1.2, view), rescale(exponential, 1.2, x)));
    CHECK(same(unrescale(exponential, 1.2, view), unrescale(exponential, 1.2, x)));
  });
}

TEST_CASE("tokens are saved from where they lie", "[io][views]") {
  std::mt19937_64 generator(83);
  const auto x = reference::random<Tokens<float, 3>>(generator, 3, 11);
  const Folder folder;
  attnflow::save_npy(folder / "tokens.npy", x);
  const std::string expected = get(folder / "tokens.npy");
  for_each_view<float, 3>(x, [&](const auto& view, Index copies) {
    CAPTURE(copies);
    attnflow::save_npy(folder / "view.npy", view);
    CHECK(get(folder / "view.npy") == expected);
  });
}

TEST_CASE("views of another shape are refused, other scalars do not compile", "[systems][views]") {
  const TokenDynamics<double, 3> system(Head<double, 3>::identity());
  std::vector<double> buffer(24, 1.0), result(24);
  using Matrix = Eigen::MatrixXd;
  const Map<const Matrix> x(buffer.data(), 3, 8), wrong(buffer.data(), 4, 6);
  Map<Matrix> dx(result.data(), 3, 8), short_dx(result.data(), 3, 7);
  CHECK_THAT(refusal([&] { system(0, wrong, dx); }),
             ContainsSubstring("TokenDynamics: x has 4 rows, expected d = 3"));
  CHECK_THAT(refusal([&] { system(0, x, short_dx); }),
             ContainsSubstring("TokenDynamics: dx is 3 x 7, expected 3 x 8 as x is"));
  CHECK_THAT(refusal([&] { static_cast<void>(system.attention(0, wrong)); }), ContainsSubstring("4 rows"));
  const RescaledDynamics<double, 3> rescaled(Head<double, 3>::identity());
  CHECK_THAT(refusal([&] { rescaled(0, wrong, dx); }), ContainsSubstring("RescaledDynamics: x has 4 rows"));
  CHECK_THAT(refusal([&] { static_cast<void>(rescaled.rows(0, wrong)); }), ContainsSubstring("4 rows"));
  CHECK_THAT(refusal([&] { static_cast<void>(attention_matrix(Head<double, 3>::identity(), wrong)); }),
             ContainsSubstring("4 rows"));

  using System = TokenDynamics<double, 3>;
  const auto takes = []<class X, class Out>(std::type_identity<X>, std::type_identity<Out>) {
    return std::is_invocable_v<System, double, X, Out>;
  };
  const auto type = []<class T>(const T&) { return std::type_identity<T>{}; };
  CHECK(takes(type(x), std::type_identity<Map<Matrix>&>{}));
  CHECK(takes(type(x), std::type_identity<Map<Matrix>>{}));                // a temporary map
  CHECK(!takes(type(x), std::type_identity<Map<const Matrix>&>{}));        // of constants
  CHECK(!takes(type(x), std::type_identity<const Tokens<double, 3>&>{}));  // constant
  CHECK(
      !takes(std::type_identity<Map<const Eigen::MatrixXf>>{}, std::type_identity<Map<Matrix>>{}));  // float
  CHECK(!takes(std::type_identity<Tokens<double, 2>>{}, std::type_identity<Map<Matrix>>{}));  // of the plane
}
