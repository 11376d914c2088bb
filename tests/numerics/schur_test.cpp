#include <attnflow/numerics/schur.hpp>
#include <attnflow/prediction/invariant_splitting.hpp>
#include <attnflow/prediction/spectrum.hpp>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::schur_form;
using attnflow::SchurForm;
using attnflow::spectrum;
using attnflow::Spectrum;
using Complex = std::complex<double>;
constexpr double epsilon = std::numeric_limits<double>::epsilon();

Eigen::MatrixXd draw(std::mt19937_64& generator, Eigen::Index d) {
  return reference::random<Eigen::MatrixXd>(generator, d, d);
}

/// Rounding of an orthogonal similarity of size d, with room.
double rounding(const Eigen::MatrixXd& V) { return 20 * static_cast<double>(V.rows()) * epsilon * V.norm(); }

/// U T Uᵀ = V, U orthogonal, T quasi triangular.
void check_form(const SchurForm& form, const Eigen::MatrixXd& V) {
  const Eigen::Index d = V.rows();
  CHECK((form.U * form.T * form.U.transpose() - V).norm() <= rounding(V));
  CHECK((form.U.transpose() * form.U - Eigen::MatrixXd::Identity(d, d)).norm() <=
        20 * epsilon * static_cast<double>(d));
  for (Eigen::Index j = 0; j < d; ++j)
    for (Eigen::Index i = j + 1; i < d; ++i)
      if (i > j + 1) CHECK(form.T(i, j) == 0);
  for (Eigen::Index j = 0; j + 2 < d; ++j) CHECK((form.T(j + 1, j) == 0 || form.T(j + 2, j + 1) == 0));
}

std::vector<Complex> eigenvalues(const SchurForm& form) {
  std::vector<Complex> values;
  for (const auto block : form.blocks()) values.push_back(form.eigenvalue(block));
  std::ranges::sort(values, [](Complex a, Complex b) {
    return std::pair(a.real(), a.imag()) < std::pair(b.real(), b.imag());
  });
  return values;
}

}  // namespace

TEST_CASE("a Schur form gives back its matrix, and keeps its eigenvalues when reordered", "[spectral]") {
  std::mt19937_64 generator(1);
  int pairs = 0;
  for (const Eigen::Index d : {1, 2, 3, 4, 5, 8, 13, 30})
    for (int repeat = 0; repeat < 8; ++repeat) {
      const Eigen::MatrixXd V = draw(generator, d);
      SchurForm form = schur_form(V);
      check_form(form, V);
      const auto before = eigenvalues(form);
      std::vector<bool> chosen;
      Eigen::Index expected = 0;
      for (const auto block : form.blocks()) {
        chosen.push_back(generator() % 2 == 0);
        if (chosen.back()) expected += block.size;
        pairs += block.size == 2 ? 1 : 0;
      }
      std::vector<Complex> wanted;
      for (std::size_t b = 0; b < chosen.size(); ++b)
        if (chosen[b]) wanted.push_back(form.eigenvalue(form.blocks()[b]));
      CHECK(attnflow::move_to_top(form, chosen) == expected);
      check_form(form, V);
      const auto after = eigenvalues(form);
      REQUIRE(after.size() == before.size());
      for (std::size_t k = 0; k < after.size(); ++k)
        CHECK(std::abs(after[k] - before[k]) <= 100 * rounding(V));
      const auto blocks = form.blocks();  // those chosen are on top, in their order
      for (std::size_t k = 0; k < wanted.size(); ++k)
        CHECK(std::abs(form.eigenvalue(blocks[k]) - wanted[k]) <= 100 * rounding(V));
    }
  CHECK(pairs > 50);
}

TEST_CASE("equal eigenvalues and zeros are reordered, too", "[spectral]") {
  for (const auto& V :
       {Eigen::MatrixXd(Eigen::MatrixXd::Identity(4, 4)), Eigen::MatrixXd(Eigen::MatrixXd::Zero(4, 4)),
        Eigen::MatrixXd(Eigen::MatrixXd::Ones(4, 4).triangularView<Eigen::Upper>())}) {
    SchurForm form = schur_form(V);
    check_form(form, V);
    CHECK(attnflow::move_to_top(form, {false, true, false, true}) == 2);
    CHECK((form.U * form.T * form.U.transpose() - V).norm() <= rounding(V) + 20 * epsilon);
  }
  // A diagonal matrix is permuted without rounding.
  SchurForm form = schur_form(Eigen::Vector4d(1, 2, 3, 4).asDiagonal().toDenseMatrix());
  attnflow::move_to_top(form, {false, false, true, true});
  CHECK(form.T.diagonal() == Eigen::Vector4d(3, 4, 1, 2));
  CHECK(form.U.cwiseAbs().sum() == 4);
}

TEST_CASE("a splitting is invariant, and its functionals are dual to its bases", "[spectral]") {
  std::mt19937_64 generator(2);
  for (const Eigen::Index d : {1, 2, 3, 5, 9, 24})
    for (int repeat = 0; repeat < 8; ++repeat) {
      const Eigen::MatrixXd V = draw(generator, d);
      const auto split =
          attnflow::split_invariant(schur_form(V), [](Complex lambda) { return lambda.real() > 0; });
      const double allowed = rounding(V) * split.condition * 100;
      CHECK((V * split.inside - split.inside * split.V_inside).norm() <= allowed);
      CHECK((V * split.outside - split.outside * split.V_outside).norm() <= allowed);
      CHECK((split.inside_dual * V - split.V_inside * split.inside_dual).norm() <= allowed * split.condition);
      CHECK((split.inside * split.inside_dual + split.outside * split.outside_dual -
             Eigen::MatrixXd::Identity(d, d))
                .norm() <= allowed);
      CHECK((split.inside_dual * split.outside).norm() <= allowed);
      CHECK((split.projector() * split.projector() - split.projector()).norm() <= allowed * split.condition);
      CHECK(split.condition >= 1 - 1e-12);
      const auto unstable = attnflow::unstable_dimension(V);
      CHECK(unstable.dimension == split.dim());
      CHECK((unstable.dimension == 0 || unstable.smallest_positive > 0));
      CHECK(unstable.largest_other <= 0);
    }
}

TEST_CASE("an oblique splitting is told from the orthogonal one", "[spectral]") {
  const Eigen::MatrixXd V =
      (Eigen::MatrixXd(2, 2) << 2, 1, 0, -1).finished();  // eigenvectors (1, 0) and (1, −3)
  const auto split =
      attnflow::split_invariant(schur_form(V), [](Complex lambda) { return lambda.real() > 0; });
  const Eigen::MatrixXd projector = (Eigen::MatrixXd(2, 2) << 1, 1. / 3, 0, 0).finished();
  CHECK((split.projector() - projector).norm() <= 10 * epsilon);
  CHECK(split.condition == Approx(std::sqrt(10.) / 3));
  const auto found = attnflow::unstable_dimension(V);
  CHECK(found.dimension == 1);
  CHECK(found.smallest_positive == Approx(2));
  CHECK(found.largest_other == Approx(-1));
}

TEST_CASE("a spectrum diagonalises its matrix at any scale", "[spectral]") {
  std::mt19937_64 generator(3);
  for (const double scale : {1.0, 1e150, 1e-150})
    for (const Eigen::Index d : {1, 2, 3, 4, 8, 25})
      for (const bool symmetric : {false, true}) {
        Eigen::MatrixXd V = draw(generator, d);
        if (symmetric) V = (V + V.transpose()).eval();
        const Spectrum unit = spectrum(V), found = spectrum(Eigen::MatrixXd(scale * V));
        const double allowed = rounding(V) * unit.basis_condition * 10;
        CHECK((V * unit.right - unit.right * unit.eigenvalues.asDiagonal()).norm() <= allowed);
        CHECK((unit.left * V - unit.eigenvalues.asDiagonal() * unit.left).norm() <=
              allowed * unit.left.norm());
        CHECK((unit.left * unit.right - Eigen::MatrixXcd::Identity(d, d)).norm() <= allowed);
        CHECK((found.eigenvalues / scale - unit.eigenvalues).norm() <= allowed);
        for (Eigen::Index k = 0; k < d; ++k) {
          CHECK(unit.right.col(k).norm() == Approx(1));
          if (k > 0)
            CHECK(std::abs(unit.eigenvalues(k)) <= std::abs(unit.eigenvalues(k - 1)) * (1 + 4 * epsilon));
          if (unit.eigenvalues(k).imag() < 0)
            CHECK(unit.eigenvalues(k) == std::conj(unit.eigenvalues(k - 1)));
          CHECK(unit.eigenvalue_condition(k) >= 1 - 1e-9);
          if (symmetric) CHECK(unit.eigenvalue_condition(k) == Approx(1));
        }
        // Coordinates of the eigenvectors themselves are those of the identity; of tokens, they give the
        // tokens back.
        const Eigen::MatrixXd x = reference::random<Eigen::MatrixXd>(generator, d, 7);
        const Eigen::MatrixXcd coordinates = attnflow::eigen_coordinates(unit, x);
        CHECK((unit.right * coordinates - x).norm() <= allowed * 10);
      }
}

TEST_CASE("known conditions of eigenvalues", "[spectral]") {
  // (1 c; 0 0): left (1, c), right (1, 0) for λ = 1, so the condition is √(1 + c²).
  for (const double c : {0.5, 10., 1e6}) {
    const Spectrum found = spectrum((Eigen::MatrixXd(2, 2) << 1, c, 0, 0).finished());
    CHECK(found.eigenvalue_condition(0) == Approx(std::hypot(1, c)));
    CHECK(found.eigenvalue_condition(1) == Approx(std::hypot(1, c)));
  }
  const Spectrum jordan = spectrum((Eigen::MatrixXd(3, 3) << 3, 0, 0, 0, 1, 1, 0, 0, 1).finished());
  CHECK(jordan.basis_condition >= 1e14);
  CHECK(jordan.eigenvalues(0) == Complex(3));
  for (Eigen::Index k = 0; k < 3; ++k) CHECK(jordan.right.col(k).norm() == Approx(1));
}

TEST_CASE("what has no spectrum is refused in words", "[spectral]") {
  Eigen::MatrixXd V(2, 3);
  CHECK(refusal([&] { (void)spectrum(V); }) ==
        "spectrum: V is 2 x 3, expected a square matrix of size at least 1");
  CHECK(refusal([&] { (void)schur_form(Eigen::MatrixXd(0, 0)); }) ==
        "schur_form: V is 0 x 0, expected a square matrix of size at least 1");
  V = Eigen::MatrixXd::Constant(2, 2, std::nan(""));
  CHECK(refusal([&] { (void)attnflow::unstable_dimension(V); }) ==
        "unstable_dimension: V has an entry that is not finite");
  SchurForm form = schur_form(Eigen::MatrixXd::Identity(2, 2));
  CHECK(refusal([&] { attnflow::move_to_top(form, {true}); }) ==
        "move_to_top: chosen has 1 flags, expected 2, one for each diagonal block");
  const Spectrum identity = spectrum(Eigen::MatrixXd::Identity(2, 2));
  CHECK(refusal([&] { (void)attnflow::eigen_coordinates(identity, Eigen::MatrixXd::Zero(3, 1)); }) ==
        "eigen_coordinates: tokens have 3 rows, expected d = 2");
  CHECK(refusal([&] { (void)attnflow::unstable_dimension(Eigen::MatrixXd::Identity(2, 2), 2); }) ==
        "unstable_dimension: tol is 2, expected a number from 0 to below 1");
}
