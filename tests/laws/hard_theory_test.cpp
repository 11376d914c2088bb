// The spectrum, the prediction and the analysis of weights of hostile size: what they promise, or a refusal.
#include <attnflow/prediction/analyze.hpp>
#include <attnflow/prediction/boolean_limit.hpp>
#include <attnflow/prediction/definiteness.hpp>
#include <attnflow/prediction/good_triple.hpp>
#include <attnflow/prediction/leading_eigenpair.hpp>
#include <attnflow/prediction/predict_limit.hpp>
#include <attnflow/prediction/spectrum.hpp>

#include "catch.hpp"
#include "laws/hard_input.hpp"
#include "refusal.hpp"

#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::Head;
using hard::answer;
using hard::Index;
using hard::Kind;
using hard::Real;
using hard::well_formed;

constexpr std::uint64_t seed = 20260803;

}  // namespace

TEST_CASE("hostile weights: spectra", "[laws]") {
  std::mt19937_64 generator(seed);
  for (int k = 0; k < 800; ++k) {
    const Index d = std::vector<Index>{1, 2, 3, 4, 6, 10}[generator() % 6];
    const Kind kind = hard::kinds[generator() % hard::kinds.size()];
    INFO("draw " << k << ": " << hard::name_of(kind) << ", d = " << d);
    Eigen::MatrixXd V = hard::draw<Eigen::MatrixXd>(generator, d, d, kind);
    if (k % 5 == 0) V = V.triangularView<Eigen::Upper>().toDenseMatrix().eval();
    if (k % 7 == 0) V = Eigen::MatrixXd(V.diagonal().asDiagonal());
    const Real size = reference::wide(V).norm();
    std::string failure;
    const auto answered = answer(
        "schur_form: V has an eigenvalue beyond", [&] { return attnflow::spectrum(V); }, failure);
    INFO(failure);
    REQUIRE(failure.empty());
    REQUIRE((answered ||
             size > 1e308L));  // an eigenvalue, or an entry of the Schur form, may be as large as the norm
    if (!answered) continue;
    const attnflow::Spectrum& s = *answered;
    REQUIRE(s.dim() == d);
    for (Index i = 0; i < d; ++i) {
      const std::complex<Real> lambda(static_cast<Real>(s.eigenvalues(i).real()),
                                      static_cast<Real>(s.eigenvalues(i).imag()));
      if (size < 1e307L) REQUIRE(std::isfinite(std::abs(lambda)));
      if (i > 0 && size < 1e307L)
        REQUIRE(std::abs(s.eigenvalues(i)) <= std::abs(s.eigenvalues(i - 1)) * (1 + 1e-12) + 1e-322);
      REQUIRE(std::abs(s.right.col(i).norm() - 1) <= 1e-12);
      // ‖V φ − λ φ‖ ≤ c d ε ‖V‖
      Real residual = 0;
      for (Index r = 0; r < d; ++r) {
        std::complex<Real> entry = 0;
        for (Index c = 0; c < d; ++c)
          entry += static_cast<Real>(V(r, c)) * std::complex<Real>(static_cast<Real>(s.right(c, i).real()),
                                                                   static_cast<Real>(s.right(c, i).imag()));
        entry -= lambda * std::complex<Real>(static_cast<Real>(s.right(r, i).real()),
                                             static_cast<Real>(s.right(r, i).imag()));
        residual += std::norm(entry);
      }
      if (size < 1e307L)
        REQUIRE(std::sqrt(residual) <= 200 * static_cast<Real>(d) * reference::epsilon<double> * size +
                                           64 * static_cast<Real>(std::numeric_limits<double>::denorm_min()));
    }
    const auto leading = answer(
        "leading_eigenpair: V has an eigenvalue beyond", [&] { return attnflow::leading_eigenpair(V); },
        failure);
    INFO(failure);
    REQUIRE(failure.empty());
    REQUIRE((leading || size > 1e307L));
    if (!leading) continue;
    const attnflow::LeadingEigenpair& pair = *leading;
    REQUIRE(pair.multiplicity >= 1);
    REQUIRE(pair.multiplicity <= d);
    REQUIRE_FALSE(std::isnan(pair.modulus()));
    const attnflow::SpectralGap gap = attnflow::spectral_gap(pair);
    REQUIRE_FALSE((std::isnan(gap.relative) || std::isnan(gap.absolute)));
    const attnflow::Definiteness form = attnflow::definiteness(V);
    REQUIRE_FALSE((std::isnan(form.asymmetry) || std::isnan(form.margin)));
    REQUIRE((form.asymmetry >= 0 && form.asymmetry <= 1 + 1e-12));
    for (const attnflow::Verdict& verdict :
         {static_cast<attnflow::Verdict>(
              attnflow::is_good_triple(V, Eigen::MatrixXd(Eigen::MatrixXd::Identity(d, d)))),
          static_cast<attnflow::Verdict>(attnflow::paranormal_splitting(V))}) {
      REQUIRE((verdict.holds || !verdict.reason.empty()));
      for (const auto& tested : verdict.hypotheses) {
        INFO(tested.name << ": " << tested.margin);
        REQUIRE_FALSE(std::isnan(tested.margin));
      }
    }
    hard::spoil(generator, V);
    CHECK(well_formed(refusal([&] { (void)attnflow::spectrum(V); }), "spectrum: V "));
    CHECK(well_formed(refusal([&] { (void)attnflow::leading_eigenpair(V); }), "leading_eigenpair: V "));
    CHECK(well_formed(refusal([&] { (void)attnflow::definiteness(V); }), "definiteness: M "));
    CHECK(well_formed(refusal([&] { (void)attnflow::paranormal_splitting(V); }), "paranormal_splitting: V "));
  }
}

TEST_CASE("hostile weights and tokens: prediction and analysis", "[laws]") {
  std::mt19937_64 generator(seed + 1);
  int answered = 0;
  for (int k = 0; k < 400; ++k) {
    const Index d = std::vector<Index>{1, 2, 3, 5}[generator() % 4],
                n = std::vector<Index>{0, 1, 2, 3, 9}[generator() % 5];
    const Kind weights = k % 2 == 0 ? Kind::plain : hard::kinds[generator() % hard::kinds.size()],
               tokens = hard::kinds[generator() % hard::kinds.size()];
    INFO("draw " << k << ": weights " << hard::name_of(weights) << ", tokens " << hard::name_of(tokens)
                 << ", d = " << d << ", n = " << n);
    Head<double> head{hard::draw<Eigen::MatrixXd>(generator, d, d, weights),
                      hard::draw<Eigen::MatrixXd>(generator, d, d, weights),
                      hard::draw<Eigen::MatrixXd>(generator, d, d, weights)};
    if (k % 3 == 0) head.Q.setIdentity(), head.K.setIdentity();
    if (k % 6 == 0) head.V.setIdentity();
    std::string failure;
    const auto prediction = answer(
        "", [&] { return attnflow::predict_limit(head); }, failure);
    INFO(failure);
    REQUIRE(failure.empty());
    REQUIRE((prediction || std::max({hard::largest_of(head.Q), hard::largest_of(head.K),
                                     hard::largest_of(head.V)}) > 1e100L));
    if (prediction) {
      REQUIRE_FALSE(prediction->reason.empty());
      REQUIRE_FALSE(std::isnan(prediction->rate));
      for (const auto& margin : prediction->hypotheses) REQUIRE_FALSE(std::isnan(margin.margin));
    }
    const auto start = hard::draw<attnflow::Tokens<double>>(generator, d, n, tokens);
    const double t = std::vector<double>{0, 1, 30, 1e5}[generator() % 4];
    CAPTURE(t);
    for (const auto variable : {attnflow::StateVariable::rescaled, attnflow::StateVariable::tokens,
                                attnflow::StateVariable::unit_tokens}) {
      std::optional<attnflow::Analysis> analysis;
      try {
        analysis = attnflow::analyze(head, t, start, start, {.variable = variable});
        ++answered;
      } catch (const std::invalid_argument& error) {
        // What it is made of may refuse in its own name; not without need.
        INFO(error.what());
        REQUIRE(well_formed(error.what(), ""));
        REQUIRE((hard::largest_of(start) > 1e100L || hard::largest_of(head.Q) > 1e100L ||
                 hard::largest_of(head.V) > 1e100L));
        continue;
      }
      const attnflow::Finding& found = analysis->found;
      REQUIRE(found.clusters.labels.size() == static_cast<std::size_t>(n));
      REQUIRE_FALSE(std::isnan(found.cluster_tolerance));
      REQUIRE_FALSE(std::isnan(found.decision_margin));
      for (const Index i : found.leaders) REQUIRE((i >= 0 && i < n));
      if (analysis->distance_to_prediction) REQUIRE_FALSE(std::isnan(*analysis->distance_to_prediction));
      for (const double level : found.levels) REQUIRE_FALSE(std::isnan(level));
      if (found.rank) REQUIRE(found.rank->rank <= n);
    }
    if (n == 0) continue;
    attnflow::Tokens<double> bad = start;
    hard::spoil(generator, bad);
    CHECK(refusal([&] { (void)attnflow::analyze(head, t, start, bad); }) ==
          "analyze: state has an entry that is not finite");
  }
  CHECK(answered > 600);
}

TEST_CASE("hostile limits on the line", "[laws]") {
  std::mt19937_64 generator(seed + 2);
  for (int k = 0; k < 400; ++k) {
    const Index n = 1 + hard::below(generator, 9);
    const Kind kind = hard::kinds[generator() % hard::kinds.size()];
    INFO("draw " << k << ": " << hard::name_of(kind) << ", n = " << n);
    const Eigen::VectorXd gamma = hard::draw<Eigen::MatrixXd>(generator, n, 1, kind);
    std::string failure;
    const auto row = answer(
        "exceptional_row", [&] { return attnflow::exceptional_row(gamma); }, failure);
    INFO(failure);
    REQUIRE(failure.empty());
    const bool both = (gamma.array() > 0).any() && (gamma.array() < 0).any();
    REQUIRE((!row || both));
    if (!row) continue;
    REQUIRE(std::isfinite(row->theta));
    REQUIRE((row->weights.array() >= 0).all());
    REQUIRE(std::abs(row->weights.sum() - 1) <= 1e-14);
  }
}
