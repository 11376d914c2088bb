// The predicates of prediction/ and the prediction that rests on them: all of it needs the eigen-solvers, which
// take long to compile, so it is one program.
#include <attnflow/prediction/fused_weights.hpp>
#include <attnflow/prediction/good_triple.hpp>
#include <attnflow/prediction/leading_eigenpair.hpp>
#include <attnflow/prediction/predict_limit.hpp>
#include <attnflow/prediction/spectrum.hpp>

#include <Eigen/LU>

#include "catch.hpp"
#include "draws.hpp"
#include "refusal.hpp"

#include <cmath>
#include <complex>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::LeadingEigenpair;
using attnflow::LimitCase;
using attnflow::predict_limit;
using attnflow::Prediction;
using Eigen::MatrixXd;
constexpr double epsilon = std::numeric_limits<double>::epsilon();

MatrixXd draw(std::mt19937_64& generator, Eigen::Index d) {
  return reference::random<MatrixXd>(generator, d, d);
}

MatrixXd matrix(Eigen::Index d, std::initializer_list<double> row_major) {
  MatrixXd A(d, d);
  Eigen::Index k = 0;
  for (const double a : row_major) {
    A(k / d, k % d) = a;
    ++k;
  }
  return A;
}

/// A head with V given, Q = M and K = I, so that QᵀK = Mᵀ.
Head<double> head_of(const MatrixXd& V, const MatrixXd& M) {
  return {M.transpose(), MatrixXd::Identity(V.rows(), V.rows()), V};
}

/// The margin of a hypothesis; NaN if it was not tested.
double margin(const Prediction& prediction, const std::string& name) {
  for (const auto& hypothesis : prediction.hypotheses)
    if (hypothesis.name == name) return hypothesis.margin;
  return std::nan("");
}

// The example matrices that the figures of arXiv:2305.05465 were made with.
const MatrixXd plane = matrix(2, {.64709742, .81911926, .61210449, .63263484});
const MatrixXd space_a = matrix(
    3, {.2362413, .0599536, .40506019, .81321448, .49948705, .33754772, .2160645, .38505272, .14588075});
const MatrixXd space_b = matrix(
    3, {.18608476, .34391026, .13905949, .35244288, .6694859, .39992145, .46685606, .17094454, .42092308});
const MatrixXd codimension = matrix(
    3, {.92761287, .94333073, .3827744, .94333073, .59991396, .47825472, .3827744, .47825472, .46668605});

}  // namespace

TEST_CASE("the four example matrices have hyperplanes, with the vectors of the paper", "[theory]") {
  struct Example {
    const MatrixXd& V;
    double lambda;
    std::vector<double> right, left;  // φ₁ and φ₁* up to scale, printed to four digits, the last within one
    Eigen::Index k;
  };
  for (const Example& example :
       {Example{plane, 1.347990, {.7598, .6501}, {.6648, .7612}, 1},
        Example{space_a, .991010, {.3123, .8318, .4589}, {.7892, .5713, .6065}, 1},
        Example{space_b, 1.078327, {.3799, .7931, .4760}, {.5463, .6811, .5299}, 3},
        Example{codimension, 1.963445, {.6962, .6128, .3739}, {.6962, .6128, .3739}, 2}}) {
    const Prediction found = predict_limit(Head<double>::with_value(example.V));
    CHECK(found.limit == LimitCase::hyperplanes);
    CHECK(found.reference == "arXiv:2305.05465, Theorem 4.2");
    CHECK(found.rate == Approx(example.lambda).margin(1e-6));
    CHECK(found.unstable_dimension == example.k);
    CHECK(found.conjecture.empty() == (example.k == 1));
    const auto d = static_cast<std::size_t>(example.V.rows());
    const Eigen::VectorXd right = found.splitting.inside.col(0);
    const Eigen::VectorXd left = found.splitting.inside_dual.row(0).transpose();
    double size = 0;  // the printed φ₁* is scaled so that φ₁*(φ₁) = 1, to its four digits
    for (std::size_t c = 0; c < d; ++c) {
      CHECK(right(static_cast<Eigen::Index>(c)) == Approx(example.right[c]).margin(1e-4));
      CHECK(left(static_cast<Eigen::Index>(c)) == Approx(example.left[c]).margin(3e-4));
      size += example.left[c] * right(static_cast<Eigen::Index>(c));
    }
    CHECK(size == Approx(1).margin(3e-4));
    CHECK((left.transpose() * example.V - found.rate * left.transpose()).norm() <= 100 * epsilon);
    CHECK(left.dot(right) == Approx(1).epsilon(1e-14));
    for (const auto& hypothesis : found.hypotheses) CHECK(hypothesis.holds());
  }
}

TEST_CASE("each case of the theory is predicted, with its reason", "[theory]") {
  struct Case {
    Head<double> head;
    LimitCase limit;
    std::string words;  // that the reason holds
  };
  const MatrixXd I2 = MatrixXd::Identity(2, 2), I3 = MatrixXd::Identity(3, 3);
  const MatrixXd mixed = Eigen::Vector3d(1, 1, -.5).asDiagonal();
  const MatrixXd oblique = matrix(3, {1, 2, 0, 0, 1, 1, 1, 0, 1});
  const MatrixXd positive = matrix(2, {2, 1, 1, 1}), indefinite = matrix(2, {1, 0, 0, -1});
  const MatrixXd skewed = matrix(2, {1, .5, -.5, 1});  // symmetric part I, not symmetric
  const MatrixXd rotation = matrix(2, {0, -1, 1, 0});
  const MatrixXd jordan = matrix(2, {1, 1, 0, 1});
  MatrixXd jordan_below =
      MatrixXd::Zero(3, 3);  // 2 ⊕ (1 1; 0 1): the defective eigenvalue is not the leading one
  jordan_below.diagonal() << 2, 1, 1;
  jordan_below(1, 2) = 1;
  MatrixXd defective = MatrixXd::Zero(4, 4);
  defective.diagonal() << 1, 1, 1, .1;
  defective(0, 1) = defective(1, 2) = 1;
  const MatrixXd B = matrix(4, {1, 2, 0, 1, 0, 1, 3, 1, 1, 0, 1, 2, 2, 1, 1, 0});
  for (const Case& c : {
           Case{Head<double>::identity(3), LimitCase::polytope, "symmetric positive definite"},
           Case{head_of(2.5 * I2, positive), LimitCase::polytope, "V = 2.5 I"},
           Case{head_of(mixed, I3), LimitCase::polytope_times_subspace, "subspace of dimension 2"},
           Case{head_of(oblique * mixed * oblique.inverse(), I3), LimitCase::polytope_times_subspace,
                "multiplicity"},
           Case{head_of(-I2, I2), LimitCase::origin, "tend to 0"},
           Case{head_of(-3 * I2, positive), LimitCase::origin, "tend to 0"},
           Case{head_of(jordan_below, I3), LimitCase::hyperplanes, "good triple"},
           Case{head_of(B * Eigen::Vector4d(3, 1, -1, .5).asDiagonal() * B.inverse(),
                        MatrixXd::Identity(4, 4)),
                LimitCase::hyperplanes, "good triple"},
           Case{head_of(matrix(2, {1, 0, 0, .5}), indefinite), LimitCase::hyperplanes, "⟨Qφ₁, Kφ₁⟩ = 1"},
           Case{Head<double>::identity(1), LimitCase::boolean_line, "d = 1"},
           Case{head_of(MatrixXd::Constant(1, 1, -2), MatrixXd::Constant(1, 1, 3)), LimitCase::origin,
                "d = 1"},
           // No theorem, and why.
           Case{head_of(rotation, I2), LimitCase::none, "complex"},
           Case{head_of(I2 + rotation, I2), LimitCase::none, "1 ± 1i is complex"},
           Case{head_of(jordan, I2), LimitCase::none, "defective"},
           Case{head_of(defective, MatrixXd::Identity(4, 4)), LimitCase::none, "multiplicity 3 is defective"},
           Case{head_of(B * defective * B.inverse(), MatrixXd::Identity(4, 4)), LimitCase::none,
                "multiplicity 3 is defective"},
           Case{head_of(I2, indefinite), LimitCase::none, "indefinite"},
           Case{head_of(I2, -I2), LimitCase::none, "not positive definite"},
           Case{head_of(I2, skewed), LimitCase::none, "not symmetric"},
           Case{head_of(I2, MatrixXd::Zero(2, 2)), LimitCase::none, "not positive definite"},
           Case{head_of(-I2, indefinite), LimitCase::none, "indefinite"},
           Case{head_of(mixed, Eigen::Vector3d(1, -1, 1).asDiagonal()), LimitCase::none, "indefinite"},
           // What is only below a tolerance is not called by the name of what it is not.
           Case{head_of(I2, Eigen::Vector2d(1, 1e-11).asDiagonal()), LimitCase::none,
                "positive definite, but too close to singular to rely on: its smallest eigenvalue 1e-11"},
           Case{head_of(-I2, Eigen::Vector2d(1, -5.6e-16).asDiagonal()), LimitCase::none,
                "singular to rounding"},
           Case{head_of(I2, Eigen::Vector2d(0, 1).asDiagonal()), LimitCase::none, "singular to rounding"},
           Case{head_of(I2, Eigen::Vector2d(1, -1e-11).asDiagonal()), LimitCase::none, "indefinite"},
           Case{head_of(matrix(2, {1, 0, 0, .5}), Eigen::Vector2d(1e-9, 1).asDiagonal()), LimitCase::none,
                "⟨Qφ₁, Kφ₁⟩ = 1e-09 is positive, but only 1e-09 times"},
           Case{head_of(matrix(2, {1, 0, 0, .5}), -indefinite), LimitCase::none,
                "⟨Qφ₁, Kφ₁⟩ = -1 is not positive"},
           Case{head_of(matrix(2, {-1, 0, 0, .5}), I2), LimitCase::none, "-1 is negative"},
           Case{head_of(matrix(2, {1, 0, 0, -1}), I2), LimitCase::none, "another eigenvalue has the modulus"},
           Case{head_of(Eigen::Vector3d(1, 1, -1).asDiagonal(), I3), LimitCase::none,
                "another eigenvalue has the modulus"},
           Case{head_of(MatrixXd::Zero(2, 2), I2), LimitCase::none, "do not move"},
           Case{head_of(matrix(2, {0, 1, 0, 0}), I2), LimitCase::none, "no eigenvalue other than 0"},
           Case{head_of(MatrixXd::Constant(1, 1, 1), MatrixXd::Constant(1, 1, -1)), LimitCase::none,
                "QK = -1"},
           Case{head_of(MatrixXd::Zero(1, 1), MatrixXd::Ones(1, 1)), LimitCase::none, "do not move"},
       }) {
    const Prediction found = predict_limit(c.head);
    INFO("V =\n" << c.head.V << "\nQ =\n" << c.head.Q << "\nreason: " << found.reason);
    CHECK(found.limit == c.limit);
    CHECK(found.reason.find(c.words) != std::string::npos);
    CHECK(found.reference.empty() == (c.limit == LimitCase::none));
    bool all = true;
    for (const auto& hypothesis : found.hypotheses) {
      CHECK(std::isfinite(hypothesis.margin));
      all = all && hypothesis.holds();
    }
    CHECK(all == (c.limit != LimitCase::none));
    CHECK(found.M_inside.rows() == found.splitting.dim());
    // Scales of V, of M and of both sides change nothing, nor do coordinates (all but those of the margins).
    for (const double scale : {1e-100, 1e100}) {
      Head<double> other = c.head;
      other.V *= scale;
      CHECK(predict_limit(other).limit == c.limit);
      other.V = c.head.V;
      other.Q *= scale;
      CHECK(predict_limit(other).limit == c.limit);
    }
    const Eigen::Index d = c.head.dim();
    const MatrixXd R = orthogonal(d);
    CHECK(predict_limit(
              Head<double>{c.head.Q * R.transpose(), c.head.K * R.transpose(), R * c.head.V * R.transpose()})
              .limit == c.limit);
  }
}

TEST_CASE("beta counts, and its sign", "[theory]") {
  const Head<double> head = Head<double>::identity(2);
  CHECK(predict_limit(head, 3.).limit == LimitCase::polytope);
  CHECK(predict_limit(head, -1.).limit == LimitCase::none);
  CHECK(predict_limit(head, 0.).limit == LimitCase::none);
  CHECK(predict_limit(Head<float, 2>::identity(), 3.).limit == LimitCase::polytope);
}

TEST_CASE("several heads have no theorem, but may move as one", "[theory]") {
  const Head<double> one = Head<double>::identity(2);
  const Prediction alike = predict_limit(std::vector{one, one});
  CHECK(alike.limit == LimitCase::none);
  CHECK(alike.reason.find("2 heads") != std::string::npos);
  CHECK(alike.conjecture.find("V = 2 I") != std::string::npos);
  Head<double> other = one;
  other.Q *= 2;
  CHECK(predict_limit(std::vector{one, other}).conjecture.empty());
}

TEST_CASE("margins say how near the border is", "[theory]") {
  for (const double gap : {.5, 1e-3, 1e-6}) {
    const Prediction found = predict_limit(head_of(matrix(2, {1, 0, 0, 1 - gap}), MatrixXd::Identity(2, 2)));
    CHECK(found.limit == LimitCase::hyperplanes);
    CHECK(margin(found, "lambda1_dominant") == Approx(gap).epsilon(1e-9));
    CHECK(margin(found, "lambda1_real") == Approx(gap / 2).epsilon(1e-9));
  }
  // Within the tolerance the eigenvalue counts as double, and just outside it as simple.
  CHECK(predict_limit(head_of(matrix(2, {1, 0, 0, 1 - 1e-9}), MatrixXd::Identity(2, 2))).limit ==
        LimitCase::polytope);
  CHECK(predict_limit(head_of(matrix(2, {1, 0, 0, 1 - 1e-7}), MatrixXd::Identity(2, 2))).limit ==
        LimitCase::hyperplanes);
  for (const double least : {.1, 1e-5}) {
    const Prediction found = predict_limit(head_of(MatrixXd::Identity(2, 2), matrix(2, {1, 0, 0, least})));
    CHECK(found.limit == LimitCase::polytope);
    CHECK(margin(found, "M_positive") == Approx(least));
  }
  // The pair 1 ± ib turns into two real eigenvalues 1 ± b.
  for (const double b : {.1, 1e-6}) {
    CHECK(predict_limit(head_of(matrix(2, {1, b, b, 1}), MatrixXd::Identity(2, 2))).limit ==
          LimitCase::hyperplanes);
    const Prediction complex = predict_limit(head_of(matrix(2, {1, -b, b, 1}), MatrixXd::Identity(2, 2)));
    CHECK(complex.limit == LimitCase::none);
    CHECK(margin(complex, "lambda1_real") == Approx(-b).epsilon(.01));
  }
}

TEST_CASE("the leading eigenpair is the one, its vectors are right and left", "[spectral]") {
  std::mt19937_64 generator(4);
  int real = 0, complex = 0;
  for (const Eigen::Index d : {1, 2, 3, 5, 8, 20})
    for (int repeat = 0; repeat < 10; ++repeat) {
      const MatrixXd V = draw(generator, d);
      const LeadingEigenpair pair = attnflow::leading_eigenpair(V);
      const attnflow::Spectrum all = attnflow::spectrum(V);
      CHECK(std::abs(pair.value - all.eigenvalues(0)) <= 1e-12 * all.radius());
      CHECK(pair.is_simple);
      const double next = d == 1 ? 0 : std::abs(all.eigenvalues(1));
      CHECK(pair.next_modulus == Approx(next).margin(1e-12));
      CHECK(attnflow::spectral_gap(V).absolute == Approx(std::abs(all.eigenvalues(0)) - next).margin(1e-12));
      CHECK(pair.is_real == (all.eigenvalues(0).imag() == 0));
      (pair.is_real ? real : complex) += 1;
      if (!pair.is_real) continue;
      const double lambda = pair.value.real(),
                   allowed = 1e3 * epsilon * static_cast<double>(d) * V.norm() * pair.condition;
      CHECK((V * pair.right - lambda * pair.right).norm() <= allowed);
      CHECK((pair.left * V - lambda * pair.left).norm() <= allowed * pair.left.norm());
      CHECK(pair.right.norm() == Approx(1));
      CHECK(pair.right.maxCoeff() == pair.right.cwiseAbs().maxCoeff());
      CHECK((pair.left * pair.right)(0) == Approx(1));
      CHECK(pair.condition == Approx(all.eigenvalue_condition(0)));
    }
  CHECK(real > 15);
  CHECK(complex > 5);
  // A non-normal example by hand: λ₁ = 2 with φ₁ = (1, 0), φ₁* = (1, 1/3).
  const LeadingEigenpair pair = attnflow::leading_eigenpair(matrix(2, {2, 1, 0, -1}));
  CHECK((pair.right - Eigen::Vector2d(1, 0)).norm() <= 10 * epsilon);
  CHECK((pair.left - Eigen::RowVector2d(1, 1. / 3)).norm() <= 10 * epsilon);
  CHECK(pair.nearest == Approx(3));
}

TEST_CASE("a paranormal matrix splits along its eigenspaces", "[spectral]") {
  std::mt19937_64 generator(5);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const Eigen::Index d = 2 + static_cast<Eigen::Index>(generator() % 5),
                       m = 1 + static_cast<Eigen::Index>(generator() % static_cast<std::uint64_t>(d));
    const MatrixXd B = draw(generator, d);
    Eigen::VectorXd values = reference::random<Eigen::VectorXd>(generator, d, 1) * .9;
    values.head(m).setConstant(1.5);
    const MatrixXd inverse = B.inverse(), V = B * values.asDiagonal() * inverse;
    const double rounding = 1e3 * epsilon * B.norm() * inverse.norm();
    const auto found = attnflow::paranormal_splitting(V);
    REQUIRE(found.holds);
    CHECK(found.lambda == Approx(1.5).epsilon(rounding));
    CHECK(found.splitting.dim() == m);
    const MatrixXd projector = B.leftCols(m) * inverse.topRows(m);
    CHECK((found.splitting.projector() - projector).norm() <= rounding * B.norm() * inverse.norm());
    CHECK(found.rest_radius ==
          Approx(m == d ? 0 : values.tail(d - m).cwiseAbs().maxCoeff()).margin(rounding));
    // With M = I the form on ℱ is that of an orthonormal basis.
    const auto good = attnflow::is_good_triple_with_multiplicity(V, MatrixXd::Identity(d, d));
    CHECK(good.holds);
    CHECK((good.M_inside - MatrixXd::Identity(m, m)).norm() <= 1e-13);
  }
}

TEST_CASE("definiteness tells the symmetric part from the rest", "[spectral]") {
  CHECK(attnflow::definiteness(matrix(2, {2, 1, 1, 2})).smallest == Approx(1));
  CHECK(attnflow::definiteness(matrix(2, {2, 1, 1, 2})).margin == Approx(1. / 3));
  CHECK(attnflow::definiteness(matrix(2, {0, 1, -1, 0})).asymmetry == Approx(1));
  CHECK(attnflow::definiteness(matrix(2, {0, 1, -1, 0})).margin == 0);
  CHECK(attnflow::definiteness(1e200 * matrix(2, {2, 1, 1, 2})).largest == Approx(3e200));
  CHECK_FALSE(attnflow::definiteness(MatrixXd::Zero(2, 2)).is_positive_definite());
  CHECK_FALSE(attnflow::definiteness(matrix(2, {1, .1, 0, 1})).is_positive_definite());
}

TEST_CASE("fused weights come apart into heads", "[spectral]") {
  const Eigen::Index D = 12, heads = 3, size = 4;
  std::mt19937_64 generator(6);
  const MatrixXd query = draw(generator, D), key = draw(generator, D), value = draw(generator, D),
                 output = draw(generator, D);
  const Eigen::VectorXd x = reference::random<Eigen::VectorXd>(generator, D, 1),
                        y = reference::random<Eigen::VectorXd>(generator, D, 1);
  MatrixXd sum = MatrixXd::Zero(D, D);
  for (Eigen::Index h = 0; h < heads; ++h) {
    const MatrixXd V = attnflow::head_value_matrix(output, value, heads, h);
    sum += V;
    // As a layer computes it, in rows: ((xᵀ W_v)[J] W_o[J, :])ᵀ with W = (stored weight)ᵀ.
    const Eigen::RowVectorXd v = (x.transpose() * value.transpose()).segment(h * size, size);
    const Eigen::VectorXd expected = (v * output.transpose().middleRows(h * size, size)).transpose();
    CHECK((V * x - expected).norm() <= 100 * epsilon * expected.norm());
    const MatrixXd B = attnflow::head_bilinear_form(query, key, heads, h);
    const double score =
        (query * x).segment(h * size, size).dot((key * y).segment(h * size, size)) / 2;  // √4
    CHECK(x.dot(B * y) == Approx(score).epsilon(1e-12));
    CHECK(attnflow::effective_inverse_temperature(B) == Approx(B.norm() * std::sqrt(12.)));
    const attnflow::Spectrum whole = attnflow::spectrum(V),
                             core = attnflow::spectrum(attnflow::head_value_core(output, value, heads, h));
    for (Eigen::Index k = 0; k < size; ++k)
      CHECK(std::abs(whole.eigenvalues(k) - core.eigenvalues(k)) <= 1e-10 * whole.radius());
    CHECK(std::abs(whole.eigenvalues(size)) <= 1e-3 * std::abs(whole.eigenvalues(size - 1)));
  }
  CHECK((sum - output * value).norm() <= 100 * epsilon * sum.norm());
  CHECK(refusal([&] { (void)attnflow::head_value_matrix(output, value, 5, 0); }) ==
        "head_value_matrix: heads is 5, expected a divisor of D = 12");
  CHECK(refusal([&] { (void)attnflow::head_bilinear_form(query, key, 3, 3); }) ==
        "head_bilinear_form: head is 3, expected a number from 0 to 2");
  CHECK(refusal([&] { (void)attnflow::head_value_core(output, MatrixXd::Zero(11, 12), 3, 0); }) ==
        "head_value_core: value is 11 x 12, expected a square matrix of the size of output");
}

TEST_CASE("weights that make no sense are refused in words", "[theory]") {
  CHECK(refusal([&] { (void)predict_limit(std::vector<Head<double>>{}); }) ==
        "predict_limit: no head given, expected at least one");
  CHECK(refusal([&] { (void)predict_limit(Head<double>::identity(2), std::nan("")); }) ==
        "predict_limit: beta is nan, expected a finite number");
  CHECK(refusal([&] { (void)predict_limit(Head<double>::identity(2), 1., 1.); }) ==
        "predict_limit: tol is 1, expected a number from 0 to below 1");
  CHECK(refusal([&] {
          (void)predict_limit(std::vector{Head<double>::identity(2), Head<double>::identity(3)});
        }) == "predict_limit: a head has d = 3, expected 2 as in head 0");
  CHECK(refusal([&] {
          (void)attnflow::is_good_triple(MatrixXd::Identity(2, 2), MatrixXd::Identity(3, 3));
        }) == "is_good_triple: M is 3 x 3, expected 2 x 2, as V is");
}
