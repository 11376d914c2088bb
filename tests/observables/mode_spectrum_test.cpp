#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/observables/tokens/mode_spectrum.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <complex>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

namespace {

using attnflow::circle_order_parameter;
using attnflow::fit_mode_growth;
using attnflow::mode_spectrum;
using attnflow::predicted_centres;
using Eigen::Index;

constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double pi = std::numbers::pi;

/// c_k in long double.
std::complex<double> mode(const Eigen::RowVectorXd& theta, long k) {
  std::complex<long double> sum = 0;
  for (const double angle : theta)
    sum += std::polar(1.0L, -static_cast<long double>(k) * static_cast<long double>(angle));
  sum /= static_cast<long double>(theta.size());
  return {static_cast<double>(sum.real()), static_cast<double>(sum.imag())};
}

}  // namespace

TEST_CASE("modes are their sums", "[clustering]") {
  std::mt19937_64 generator(1);
  for (const Index n : {1, 2, 100})
    for (const double reach : {1., 10.}) {
      const Eigen::RowVectorXd theta = reach * random(1, n, generator);
      const Eigen::VectorXcd modes = mode_spectrum(theta, 40);
      CHECK(modes.size() == 41);
      CHECK(modes(0) == 1.0);
      for (Index k = 1; k <= 40; ++k) {
        const double bound = 4 * static_cast<double>(k) * (1 + reach) * epsilon;
        CHECK(std::abs(modes(k) - mode(theta, k)) <= bound);
        CHECK(std::abs(circle_order_parameter(theta, k) - std::abs(modes(k))) <= bound);
      }
      CHECK(circle_order_parameter(theta.transpose(), -3) == Approx(circle_order_parameter(theta, 3)));
      CHECK((mode_spectrum(theta.transpose().cast<float>(), 3) - modes.head(4)).norm() < 1e-5 * reach);
    }
  // Angles equal modulo 2π/5: modes 5, 10, … have modulus 1, the others vanish for a regular pentagon.
  const Eigen::RowVectorXd pentagon =
      Eigen::RowVectorXd::NullaryExpr(5, [](Index j) { return 0.3 + 2 * pi * static_cast<double>(j) / 5; });
  for (Index k = 1; k <= 12; ++k)
    CHECK(std::abs(mode_spectrum(pentagon, 12)(k)) == Approx(k % 5 == 0 ? 1 : 0).margin(100 * epsilon));
}

TEST_CASE("a mode predicts its centres", "[clustering]") {
  for (const Index k : {1, 2, 7})
    for (const double phase : {-3.1, -1., 0., 0.5, pi}) {
      const std::complex<double> c = std::polar(0.2, phase);
      const auto centres = predicted_centres(c, k);
      REQUIRE(centres.size() == static_cast<std::size_t>(k));
      for (std::size_t m = 0; m < centres.size(); ++m) {
        CHECK((centres[m] >= 0 && centres[m] < 2 * pi));
        if (m > 0) CHECK(centres[m] - centres[m - 1] == Approx(2 * pi / static_cast<double>(k)));
        // Where 1 + 2 Re(c e^{ikθ}) is 1 + 2 |c|.
        CHECK(std::real(c * std::polar(1.0, static_cast<double>(k) * centres[m])) == Approx(0.2));
      }
    }
  // The centres of clusters that are there: k equal ones, turned.
  const Eigen::RowVectorXd square =
      Eigen::RowVectorXd::NullaryExpr(4, [](Index j) { return 0.4 + pi * static_cast<double>(j) / 2; });
  CHECK(predicted_centres(mode_spectrum(square, 4)(4), 4).front() == Approx(0.4));
}

TEST_CASE("growth of a mode is fitted", "[clustering]") {
  std::vector<double> times;
  std::vector<Eigen::VectorXcd> spectra;
  for (int k = 0; k <= 20; ++k) {
    times.push_back(0.1 * k);
    Eigen::VectorXcd modes = Eigen::VectorXcd::Zero(4);
    modes(2) = std::polar(1e-4 * std::exp(3 * times.back()), 0.3 * k);
    modes(3) = std::polar(1e-3 * std::exp(-2 * times.back()), 1.);
    spectra.push_back(modes);
  }
  CHECK(fit_mode_growth(times, spectra, 2).value().rate == Approx(3).epsilon(1e-12));
  CHECK(fit_mode_growth(times, spectra, 2).value().prefactor == Approx(1e-4).epsilon(1e-12));
  CHECK(fit_mode_growth(times, spectra, 3).value().rate == Approx(-2).epsilon(1e-12));
  CHECK(fit_mode_growth(times, spectra, 2, {.low = 1e-3, .high = 1e-2}).value().points < 10);
  CHECK(!fit_mode_growth(times, spectra, 1).has_value());
}

// λ_k of the linearised circle, β = 5, about 240 equally spaced angles: unnormalised attention, k = 1, 3, 5, from the
// modified Bessel functions to 6 digits. A perturbation of 10⁻⁶ is linear up to its square; explicit Euler steps of h
// grow like (1 + h λ)^m.
TEST_CASE("modes of attention grow at the rates of the linearisation", "[clustering]") {
  const Index n = 240;
  const attnflow::SphereDynamics<double, 2, attnflow::Unnormalized> field(
      attnflow::Head<double, 2>::identity(), {5});
  for (const auto& [k, expected] : {std::pair{1, 4.86713}, {3, 18.59607}, {5, 10.78987}}) {
    Eigen::RowVectorXd theta(n);
    for (Index j = 0; j < n; ++j) {
      const double angle = 2 * pi * static_cast<double>(j) / static_cast<double>(n);
      theta(j) = angle + 1e-6 * std::sin(k * angle);
    }
    std::vector<double> times;
    std::vector<Eigen::VectorXcd> spectra;
    const double h = 1e-4;
    attnflow::Tokens<double, 2> x(2, n), dx;
    for (int step = 0; step < 20; ++step) {
      times.push_back(h * step);
      spectra.push_back(mode_spectrum(theta, 6));
      for (Index j = 0; j < n; ++j) x.col(j) << std::cos(theta(j)), std::sin(theta(j));
      field(0, x, dx);
      for (Index j = 0; j < n; ++j) theta(j) += h * (x(0, j) * dx(1, j) - x(1, j) * dx(0, j));
    }
    const double rate = std::expm1(h * fit_mode_growth(times, spectra, k).value().rate) / h;
    CHECK(rate == Approx(expected).epsilon(1e-5));
  }
}

TEST_CASE("the modes of no angles, or of none that is finite, are refused", "[clustering]") {
  const Eigen::RowVectorXd theta = Eigen::RowVectorXd::Constant(2, std::nan(""));
  CHECK(refusal([&] { (void)mode_spectrum(Eigen::RowVectorXd(), 3); }) ==
        "mode_spectrum: there are no angles, expected at least one");
  CHECK(refusal([&] { (void)mode_spectrum(Eigen::RowVectorXd::Zero(2), -1); }) ==
        "mode_spectrum: K is -1, expected at least 0");
  CHECK(refusal([&] { (void)mode_spectrum(theta, 1); }) ==
        "mode_spectrum: angle 0 is nan, expected a finite number");
  CHECK(refusal([&] { (void)circle_order_parameter(theta); }) ==
        "circle_order_parameter: angle 0 is nan, expected a finite number");
  CHECK(refusal([&] { (void)circle_order_parameter(Eigen::VectorXd()); }) ==
        "circle_order_parameter: there are no angles, expected at least one");
  CHECK(refusal([&] { (void)predicted_centres(1, 0); }) == "predicted_centres: k is 0, expected at least 1");
  CHECK(refusal([&] { (void)predicted_centres(0, 2); }) ==
        "predicted_centres: c is (0,0), expected a finite number other than 0");
  const std::vector<double> times{0};
  const std::vector<Eigen::VectorXcd> spectra{Eigen::VectorXcd::Zero(2)};
  CHECK(refusal([&] { (void)fit_mode_growth(times, spectra, 2); }) ==
        "fit_mode_growth: k is 2, expected 0 to 1, the modes of spectra[0]");
  CHECK(refusal([&] { (void)fit_mode_growth({}, spectra, 1); }) ==
        "fit_mode_growth: there are 1 spectra, expected 0, one for each time");
  CHECK(refusal([&] { (void)fit_mode_growth(times, spectra, 1, {.low = -1}); }) ==
        "fit_mode_growth: window.low is -1, expected at least 0");
}
