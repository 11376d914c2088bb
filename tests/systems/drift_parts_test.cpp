// Parts of a drift on their own: their equations, and what they refuse.
#include <attnflow/systems/drift_parts.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <random>
#include <string>

namespace {

using attnflow::ExternalField;
using attnflow::LinearPart;
using attnflow::ResidualInput;
using attnflow::Tokens;
using reference::Index;
using reference::Real;
using reference::Wide;
using reference::wide;
using Matrix = Eigen::MatrixXd;

/// What a part adds to velocities that are there already.
template <class Part, class State>
State added(const Part& part, const State& x, State dx) {
  part.add(0.3, x, dx);
  return dx;
}

template <class Scalar, int Dim>
void check_definitions(std::mt19937_64& generator, Index d) {
  CAPTURE(d, Dim);
  const Index n = 6;
  const auto draw = [&](Index columns) { return reference::random<Tokens<Scalar>>(generator, d, columns); };
  const Tokens<Scalar> b = draw(n), one = draw(1), input = draw(n), C = draw(d), Omega = draw(d);
  const Tokens<Scalar, Dim> x = draw(n), before = draw(n);
  const Real gamma = 0.75L;
  Wide own(d, n), shared(d, n), pull(d, n), push(d, n), linear(d, n);
  for (Index i = 0; i < n; ++i)
    for (Index c = 0; c < d; ++c) {
      const Real start = static_cast<Real>(before(c, i));
      own(c, i) = start + static_cast<Real>(b(c, i));
      shared(c, i) = start + static_cast<Real>(one(c, 0));
      pull(c, i) = start + gamma * (static_cast<Real>(input(c, i)) - static_cast<Real>(x(c, i)));
      push(c, i) = linear(c, i) = start;
      for (Index e = 0; e < d; ++e) {
        push(c, i) += static_cast<Real>(C(c, e)) * static_cast<Real>(input(e, i));
        linear(c, i) += static_cast<Real>(Omega(c, e)) * static_cast<Real>(x(e, i));
      }
    }
  // Sums of at most d + 1 numbers of size 2.
  const Real bound = 2 * static_cast<Real>((d + 1) * (d + 1)) * reference::epsilon<Scalar>;
  CHECK(reference::excess(wide(added(ExternalField(b), x, before)), own, bound) <= 1);
  CHECK(reference::excess(wide(added(ExternalField(one), x, before)), shared, bound) <= 1);
  CHECK(reference::excess(wide(added(ResidualInput(0.75, input), x, before)), pull, bound) <= 1);
  CHECK(reference::excess(wide(added(ResidualInput(C, input), x, before)), push, bound) <= 1);
  CHECK(reference::excess(wide(added(LinearPart(Omega), x, before)), linear, bound) <= 1);
  CHECK(added(ResidualInput(0.75, x), x, before) == before);  // nothing at the input, to the last bit
}

}  // namespace

TEMPLATE_TEST_CASE("parts add what their equations say", "[systems][drift_parts]", float, double,
                   long double) {
  std::mt19937_64 generator(110);
  for (const Index d : {1, 3, 12}) check_definitions<TestType, Eigen::Dynamic>(generator, d);
  check_definitions<TestType, 2>(generator, 2);
}

TEST_CASE("parts take expressions, and no tokens", "[systems][drift_parts]") {
  const Matrix none(2, 0);
  CHECK(added(ExternalField(Matrix::Ones(2, 1)), none, none).cols() == 0);
  CHECK(added(LinearPart(2 * Matrix::Identity(2, 2)), none, none).cols() == 0);
  CHECK(added(ExternalField(Eigen::Vector2d(1, 2)), none, none).cols() == 0);
  STATIC_REQUIRE(std::is_same_v<decltype(ExternalField(Eigen::Vector2f(1, 2))), ExternalField<float>>);
  STATIC_REQUIRE(attnflow::DifferentiablePart<LinearPart<double>, Tokens<double, 3>>);
  STATIC_REQUIRE(!attnflow::DriftPart<LinearPart<float>, Matrix>);
}

TEST_CASE("parts refuse what does not fit", "[systems][drift_parts]") {
  using Catch::Matchers::ContainsSubstring;
  const Matrix I = Matrix::Identity(2, 2), x = Matrix::Ones(2, 3), broken = I / 0.0;
  const auto check = [](const auto& call, const std::string& words) {
    CHECK_THAT(refusal(call), ContainsSubstring(words));
  };
  check([&] { ExternalField f(Matrix(2, 0)); },
        "ExternalField: b is 2 x 0, expected at least one row and one column");
  check([&] { ExternalField f(broken); }, "ExternalField: b has an entry that is not finite");
  check([&] { (void)added(ExternalField(I), x, x); }, "ExternalField: the tokens are 2 x 3, expected 2 x 2");
  check([&] { (void)added(ExternalField(Matrix::Ones(3, 1)), x, x); },
        "ExternalField: the tokens are 2 x 3, expected 3 x any number");
  check([&] { ResidualInput f(std::nan(""), I); }, "ResidualInput: gamma is nan, expected a finite number");
  check([&] { ResidualInput f(1, broken); }, "ResidualInput: the input has an entry that is not finite");
  check([&] { ResidualInput f(x, I); }, "ResidualInput: C is 2 x 3, expected 2 x 2, as the input has rows");
  check([&] { ResidualInput f(1e200 * I, 1e200 * I); }, "ResidualInput: C times the input has an entry");
  check([&] { (void)added(ResidualInput(1, I), x, x); },
        "ResidualInput: the tokens are 2 x 3, expected 2 x 2");
  check([&] { LinearPart f(x); }, "LinearPart: Omega is 2 x 3, expected a square matrix");
  check([&] { LinearPart f(broken); }, "LinearPart: Omega has an entry that is not finite");
  check([&] { (void)added(LinearPart(Matrix::Identity(3, 3)), x, x); }, "LinearPart: the tokens are 2 x 3");
}
