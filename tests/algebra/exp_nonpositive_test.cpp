#include <attnflow/detail/pack.hpp>

#include "attention/reference.hpp"
#include "catch.hpp"

#include <cmath>
#include <cstddef>
#include <limits>
#include <random>

namespace {

namespace ad = attnflow::detail;
using reference::Real;

template <class Scalar>
Scalar exp_of(Scalar x) {
  return ad::lanes_of<Scalar>(ad::exp_nonpositive<Scalar>(ad::broadcast<Scalar>(x)))[0];
}

/// |computed − eˣ| in units in the last place of eˣ.
template <class Scalar>
double error_in_ulp(Scalar x) {
  const Real exact = std::exp(static_cast<Real>(x));
  const Real ulp = std::ldexp(Real(1), std::ilogb(exact) - (std::numeric_limits<Scalar>::digits - 1));
  return static_cast<double>(std::abs(static_cast<Real>(exp_of(x)) - exact) / ulp);
}

}  // namespace

TEMPLATE_TEST_CASE("the packed exponential is right to two units in the last place", "[algebra][pack]", float,
                   double) {
  using Scalar = TestType;
  constexpr Scalar lowest = ad::ExpConstants<Scalar>::lowest;
  std::mt19937_64 generator(1);
  double worst = 0;
  const auto look = [&](Scalar x) {
    if (x > lowest && x <= 0) worst = std::max(worst, error_in_ulp(x));
  };
  for (int k = 0; k < 300000; ++k)
    look(static_cast<Scalar>(reference::uniform(generator, static_cast<double>(lowest), 0)));
  // Small arguments of every size, and both sides of every place where the power of two changes.
  for (int k = 0; k < 100000; ++k)
    look(static_cast<Scalar>(-std::exp2(reference::uniform(generator, -80, 1))));
  for (int k = 0; k < 1022; ++k) {
    Scalar x = static_cast<Scalar>(-(k + 0.5) * std::log(2.0));
    for (int s = 0; s < 20; ++s) x = std::nextafter(x, Scalar(0));
    for (int s = 0; s < 40; ++s) look(x = std::nextafter(x, -std::numeric_limits<Scalar>::infinity()));
  }
  look(std::nextafter(lowest, Scalar(0)));
  CHECK(worst <= 2);
  CHECK(worst > 0.4);  // something was measured: even correct rounding errs by nearly half a unit
}

TEMPLATE_TEST_CASE("the packed exponential at its ends", "[algebra][pack]", float, double) {
  using Scalar = TestType;
  using Limits = std::numeric_limits<Scalar>;
  constexpr Scalar lowest = ad::ExpConstants<Scalar>::lowest;
  CHECK(exp_of(Scalar(0)) == 1);
  CHECK(exp_of(-Scalar(0)) == 1);
  CHECK(exp_of(-Limits::denorm_min()) == 1);
  CHECK(exp_of(-Limits::min()) == 1);
  CHECK(exp_of(std::nextafter(lowest, Scalar(0))) >= Limits::min());  // no denormal ever
  CHECK(exp_of(lowest) == 0);
  CHECK(exp_of(std::nextafter(lowest, Scalar(-1000))) == 0);
  CHECK(exp_of(Limits::lowest()) == 0);
  CHECK(exp_of(-Limits::infinity()) == 0);
  CHECK(exp_of(Limits::quiet_NaN()) == 0);
}

TEMPLATE_TEST_CASE("every entry of a pack is computed alike", "[algebra][pack]", float, double) {
  using Scalar = TestType;
  ad::Lanes<Scalar> x{};
  for (std::size_t l = 0; l < x.size(); ++l) x[l] = static_cast<Scalar>(-0.37 * static_cast<double>(l * l));
  x[0] = -std::numeric_limits<Scalar>::infinity();  // and one entry does not disturb the others
  const ad::Lanes<Scalar> y = ad::lanes_of<Scalar>(ad::exp_nonpositive<Scalar>(ad::load(x.data())));
  for (std::size_t l = 0; l < x.size(); ++l) CHECK(y[l] == exp_of(x[l]));
}

TEMPLATE_TEST_CASE("sums and maxima across a pack", "[algebra][pack]", float, double) {
  using Scalar = TestType;
  ad::Lanes<Scalar> x{};
  Scalar sum = 0;
  for (std::size_t l = 0; l < x.size(); ++l) {
    x[l] = static_cast<Scalar>(-3 - static_cast<int>((l * 5) % x.size()));
    sum += x[l];
  }
  const ad::Pack<Scalar> p = ad::load(x.data());
  CHECK(ad::horizontal_sum<Scalar>(p) == sum);
  CHECK(ad::horizontal_max<Scalar>(p) == -3);
}
