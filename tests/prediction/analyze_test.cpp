#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/prediction/analyze.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <Eigen/LU>

#include "catch.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using attnflow::Analysis;
using attnflow::analyze;
using attnflow::AnalyzeOptions;
using attnflow::Head;
using attnflow::InvariantBasis;
using attnflow::LimitCase;
using attnflow::StateVariable;
using Eigen::Index;
using Eigen::MatrixXd;
using Tokens = attnflow::Tokens<double>;
using Trajectory = attnflow::Trajectory<Tokens>;

Tokens start_of(Index n, Index d, unsigned seed = 1, double half_width = 5) {
  attnflow::Generator generator(seed);
  return attnflow::uniform_box(generator, n, d, -half_width, half_width);
}

template <class System>
Trajectory run(const System& system, Tokens x, double end) {
  Trajectory trajectory(attnflow::equal_times(0, end, 101));
  const auto report =
      attnflow::integrate(system, attnflow::DormandPrince5<Tokens>{}, x, {.to = end}, trajectory);
  REQUIRE(report.outcome == attnflow::Outcome::reached_end);
  return trajectory;
}

Trajectory run_rescaled(const Head<double>& head, const Tokens& x, double end) {
  return run(attnflow::RescaledDynamics<double>(head), x, end);
}

MatrixXd matrix(Index d, std::initializer_list<double> row_major) {
  return Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
      row_major.begin(), d, d);
}

Head<double> mixed_head() { return Head<double>::with_value(Eigen::Vector3d(1, 1, -.5).asDiagonal()); }
Head<double> plane_head() {
  return Head<double>::with_value(matrix(2, {.64709742, .81911926, .61210449, .63263484}));
}
Head<double> codimension_head() {
  return Head<double>::with_value(matrix(
      3, {.92761287, .94333073, .3827744, .94333073, .59991396, .47825472, .3827744, .47825472, .46668605}));
}

}  // namespace

TEST_CASE("a polytope is predicted, found, and near", "[theory]") {
  for (const Index d : {2, 3}) {
    const Head<double> head = Head<double>::identity(d);
    const Analysis a = analyze(head, run_rescaled(head, start_of(25, d), 16));
    CHECK(a.prediction.limit == LimitCase::polytope);
    CHECK(a.agrees());
    CHECK(*a.distance_to_prediction > 0);
    CHECK(*a.distance_to_prediction < 1e-5);
    CHECK(a.found.gap);
    const auto clusters = a.found.clusters.count();
    CHECK(clusters > 2);
    CHECK(static_cast<Index>(a.found.leaders.size()) == clusters);  // every vertex leads itself
    CHECK(a.found.rank->rank == clusters);
    CHECK(static_cast<Index>(a.found.hull_vertices->size()) == clusters);
    CHECK(a.found.ties.empty());
    CHECK(*a.found.self_attention <= 1e-6);
    REQUIRE(a.found.rate);
    CHECK(a.found.rate->rate == Approx(1).epsilon(1e-3));
    CHECK(a.found.rate->residual < 1e-3);
    CHECK(a.found.levels.empty());
  }
}

TEST_CASE("one analyzer serves many states", "[theory]") {
  const Head<double> head = Head<double>::identity(2);
  const Tokens x = start_of(20, 2);
  const Trajectory record = run_rescaled(head, x, 4);
  const attnflow::Analyzer analyzer(std::vector{head});
  CHECK(analyzer.prediction().limit == LimitCase::polytope);
  for (const std::size_t k : {std::size_t{0}, record.size() / 2, record.size() - 1}) {
    const double t = record.times()[k];
    const Tokens& state = record.states()[k];
    const Analysis one = analyze(head, t, x, state), other = analyzer.at(t, x, state);
    CHECK(other.distance_to_prediction == one.distance_to_prediction);
    CHECK(other.found.leaders == one.found.leaders);
    CHECK(other.found.clusters == one.found.clusters);
    if (!one.found.gap)
      CHECK(analyzer.tolerance_at(t, analyzer.positions(0, x), analyzer.positions(t, state)) ==
            one.found.cluster_tolerance);
    CHECK(analyzer.limit_positions(t, state) == state);  // V = I: ℱ is the whole plane
  }
  CHECK(refusal([&] { (void)analyzer.positions(1, start_of(3, 3)); }) ==
        "analyze: state has 3 rows, expected d = 2");
  CHECK(refusal([&] { (void)analyzer.limit_positions(1, start_of(3, 3)); }) ==
        "analyze: state has 3 rows, expected d = 2");
}

TEST_CASE("on the line P is Boolean, and two tokens lead", "[theory]") {
  const Head<double> head = Head<double>::identity(1);
  const Tokens x = start_of(30, 1);
  const Analysis a = analyze(head, run_rescaled(head, x, 10));
  CHECK(a.prediction.limit == LimitCase::boolean_line);
  CHECK(a.agrees());
  CHECK(a.found.boolean->to_pair < 1e-9);
  CHECK(a.found.rank->rank == 2);
  Index smallest = 0, largest = 0;
  x.row(0).minCoeff(&smallest);
  x.row(0).maxCoeff(&largest);
  CHECK(a.found.leaders == std::vector<Index>{std::min(smallest, largest), std::max(smallest, largest)});
  REQUIRE(a.found.levels.size() == 2);
  CHECK(a.found.levels[0] < 0);
  CHECK(a.found.levels[1] > 0);
}

TEST_CASE("hyperplanes are measured along the left eigenvector", "[theory]") {
  for (const auto& head : {plane_head(), codimension_head()}) {
    const double end = 14 / attnflow::predict_limit(head).rate;
    const Trajectory trajectory = run_rescaled(head, start_of(40, head.dim()), end);
    const Analysis a = analyze(head, trajectory);
    CHECK(a.prediction.limit == LimitCase::hyperplanes);
    CHECK(a.agrees());
    REQUIRE(a.found.levels.size() == 2);
    CHECK(a.found.levels[0] < 0);
    CHECK(a.found.levels[1] > 0);
    CHECK(a.found.rate->rate == Approx(a.prediction.rate).epsilon(1e-3));
    CHECK(a.found.leaders.size() == 2);
    CHECK(a.found.clusters.count() == 2);  // modulo the eigenvalues that are not positive
    // Levels are those of φ₁*, with φ₁ of unit length and its largest entry positive.
    const Eigen::RowVectorXd c = a.prediction.splitting.inside_dual.row(0) * trajectory.states().back();
    CHECK(c.minCoeff() == Approx(a.found.levels[0]));
    CHECK(c.maxCoeff() == Approx(a.found.levels[1]));
    // In coordinates where V is block diagonal everything is the same.
    const InvariantBasis basis = attnflow::invariant_basis(head.V);
    const Tokens first = basis.inverse * trajectory.states().front(),
                 last = basis.inverse * trajectory.states().back();
    const Analysis b = analyze(head, end, first, last, {.coordinates = &basis});
    CHECK(b.found.clusters == a.found.clusters);
    CHECK(b.found.leaders == a.found.leaders);
    CHECK(*b.distance_to_prediction == Approx(*a.distance_to_prediction).epsilon(1e-3));
    for (std::size_t k = 0; k < 2; ++k) CHECK(b.found.levels[k] == Approx(a.found.levels[k]).epsilon(1e-9));
  }
}

TEST_CASE("a polytope times a line is looked at modulo the line", "[theory]") {
  const Head<double> head = mixed_head();
  const Trajectory trajectory = run_rescaled(head, start_of(40, 3), 12);
  const Analysis a = analyze(head, trajectory);
  CHECK(a.prediction.limit == LimitCase::polytope_times_subspace);
  CHECK(a.agrees());
  CHECK(trajectory.states().back().row(2).cwiseAbs().maxCoeff() > 100);  // the third coordinate does diverge
  CHECK(a.found.clusters.count() == static_cast<Index>(a.found.hull_vertices->size()));
  CHECK(a.found.rate->rate == Approx(1).epsilon(1e-3));
  // An oblique splitting, in its own coordinates and in the original ones.
  const MatrixXd B = matrix(3, {1, 2, 0, 0, 1, 1, 1, 0, 1});
  const Head<double> oblique = Head<double>::with_value(B * head.V * B.inverse());
  const InvariantBasis basis = attnflow::invariant_basis(oblique.V);
  const Head<double> inside{oblique.Q * basis.basis, oblique.K * basis.basis, basis.blocks};
  const Tokens x = start_of(30, 3), y = basis.inverse * x;
  const Trajectory in_blocks = run_rescaled(inside, y, 12);
  const Analysis b = analyze(oblique, 12, y, in_blocks.states().back(), {.coordinates = &basis});
  const Analysis c = analyze(oblique, 12, x, Tokens(basis.basis * in_blocks.states().back()));
  CHECK(b.prediction.limit == LimitCase::polytope_times_subspace);
  CHECK(b.agrees());
  CHECK(c.agrees());
  CHECK(b.found.clusters == c.found.clusters);
  CHECK(*b.distance_to_prediction == Approx(*c.distance_to_prediction).epsilon(1e-3));
}

TEST_CASE("tokens that go to the origin do so slowly, and agree", "[theory]") {
  const Head<double> head = Head<double>::with_value(-MatrixXd::Identity(2, 2));
  const Tokens x = start_of(10, 2, 1, 2);
  const Trajectory trajectory = run(attnflow::TokenDynamics<double>(head), x, 1000);
  const Analysis a = analyze(head, trajectory, {.variable = StateVariable::tokens});
  CHECK(a.prediction.limit == LimitCase::origin);
  CHECK(a.agrees());
  CHECK(*a.distance_to_prediction == Approx(trajectory.states().back().colwise().norm().maxCoeff()));
  CHECK(*a.distance_to_prediction > 1e-3);
}

TEST_CASE("tokens, layers and rescaled tokens give one finding", "[theory]") {
  const Head<double> head = plane_head();
  const Tokens x = start_of(20, 2);
  const double end = 8;
  const Analysis z = analyze(head, run_rescaled(head, x, end));
  const Analysis tokens =
      analyze(head, run(attnflow::TokenDynamics<double>(head), x, end), {.variable = StateVariable::tokens});
  CHECK(tokens.found.clusters == z.found.clusters);
  CHECK(tokens.found.leaders == z.found.leaders);
  CHECK(*tokens.distance_to_prediction == Approx(*z.distance_to_prediction).epsilon(1e-4));
  for (std::size_t k = 0; k < 2; ++k)
    CHECK(tokens.found.levels[k] == Approx(z.found.levels[k]).epsilon(1e-6));

  const double step = .25;
  const attnflow::Layers<double> layers(head, step);
  const attnflow::RescaledLayers<double> rescaled(head, step);
  Tokens xk = x, zk = x;
  for (long k = 0; k < 32; ++k) {
    layers.apply(xk);
    rescaled.apply(k, zk);
  }
  const Analysis of_x = analyze(head, end, x, xk, {.variable = StateVariable::tokens, .layer_step = step});
  const Analysis of_z = analyze(head, end, x, zk, {.layer_step = step});
  CHECK(of_x.agrees());
  CHECK(of_z.agrees());
  CHECK(of_x.found.leaders == of_z.found.leaders);
  CHECK(*of_x.distance_to_prediction == Approx(*of_z.distance_to_prediction).epsilon(1e-6));
  CHECK(*of_x.expected_distance == Approx(*of_z.expected_distance));
}

// What the analysis must be able to deny.
TEST_CASE("a state that is not at its limit does not agree", "[theory]") {
  const Head<double> head = Head<double>::identity(2);
  const Tokens x = start_of(20, 2);
  const Trajectory trajectory = run_rescaled(head, x, 16);
  const Tokens& limit = trajectory.states().back();
  CHECK(analyze(head, 16, x, limit).agrees());
  const Analysis early = analyze(head, .5, x, run_rescaled(head, x, .5).states().back());
  CHECK_FALSE(early.conclusive);
  CHECK_FALSE(early.agrees());
  Tokens moved = limit;  // one token halfway to another vertex
  const auto& leaders = analyze(head, trajectory).found.leaders;
  Index follower = 0;
  while (std::ranges::count(leaders, follower) > 0) ++follower;
  moved.col(follower) = (limit.col(leaders[0]) + 2 * limit.col(leaders[1])) / 3;
  CHECK(analyze(head, 16, x, moved).conclusive);
  CHECK_FALSE(analyze(head, 16, x, moved).agrees());
  CHECK_FALSE(analyze(head, 16, x, x).agrees());
  // The line's levels, one of them left.
  const Head<double> plane = plane_head();
  Tokens z = run_rescaled(plane, x, 10).states().back();
  CHECK(analyze(plane, 10, x, z).agrees());
  const auto found = analyze(plane, 10, x, z).found.leaders;
  for (Index i = 0; i < z.cols(); ++i)
    if (std::ranges::count(found, i) == 0) {
      z.col(i) /= 2;
      break;
    }
  CHECK(analyze(plane, 10, x, z).conclusive);
  CHECK_FALSE(analyze(plane, 10, x, z).agrees());
}

TEST_CASE("no verdict on the line before its scores decide", "[theory]") {
  attnflow::Generator generator(1);
  const Tokens x = attnflow::uniform_box(generator, 40, 1, -1, 1);
  const Head<double> head = Head<double>::identity(1);
  const Analysis early = analyze(head, run_rescaled(head, x, 1));
  CHECK_FALSE(early.conclusive);
  CHECK(*early.distance_to_prediction > 1);
  const Analysis late = analyze(head, run_rescaled(head, x, 20));
  CHECK(late.agrees());
  REQUIRE(late.decided_since);
  CHECK(*late.decided_since < 8);
  // Boolean in other columns than the outermost ones: that is a verdict.
  Tokens inverted = run_rescaled(head, x, 20).states().back();
  Index largest = 0, inner = 0;
  x.row(0).maxCoeff(&largest);
  x.row(0).cwiseAbs().minCoeff(&inner);
  inverted(0, inner) = 2 * inverted(0, largest);
  const Analysis wrong = analyze(head, 20, x, inverted);
  CHECK(wrong.conclusive);
  CHECK_FALSE(wrong.agrees());
}

TEST_CASE("two levels of one sign are no limit, however far apart they are", "[theory]") {
  attnflow::Generator generator(3);
  Tokens x(2, 12);
  x << Tokens(attnflow::gaussian(generator, 6, 2, .1).colwise() + Eigen::Vector2d(.5, 3)),
      Tokens(attnflow::gaussian(generator, 6, 2, .1).colwise() + Eigen::Vector2d(1, -3));
  const Head<double> head = Head<double>::with_value(Eigen::Vector2d(1, .99).asDiagonal());
  const Analysis early = analyze(head, run_rescaled(head, x, 20));
  CHECK(early.prediction.limit == LimitCase::hyperplanes);
  CHECK(early.found.boolean->to_pair < 1e-6);  // P has decided, but will do so again
  CHECK_FALSE(early.conclusive);
  CHECK_FALSE(early.decided_since);
  const Analysis late = analyze(head, run_rescaled(head, x, 300));
  CHECK(late.agrees());
  CHECK(late.found.levels.size() == 1);
  CHECK(*late.decided_since > 100);
}

TEST_CASE("a vertex close to another one is not merged away", "[theory]") {
  // Every token of a circle attends to itself; two of them are 1 % of the extent apart, and yet decide from the start.
  Tokens x(2, 12);
  const std::vector<double> angles{0, .03, 1, 1.9, 2.7, 3.6, 4.4, 5.3};
  for (Index i = 0; i < x.cols(); ++i) {
    const double angle = angles[static_cast<std::size_t>(i) % angles.size()];
    x.col(i) = (i < 8 ? 100. : 40.) * Eigen::Vector2d(std::cos(angle), std::sin(angle));
  }
  const Head<double> head = Head<double>::identity(2);
  for (const double t : {5.5, 6., 8.}) {
    const Analysis a = analyze(head, run_rescaled(head, x, t));
    CHECK(a.agrees());
    CHECK(*a.distance_to_prediction < 300 * std::exp(-t));
    CHECK(a.found.boolean->to_pair > 1);  // more than two lead
  }
}

// 10⁻²⁰⁰ from where both leaders weigh the same, a token stays there until the deviation has grown by e^{H/2}.
TEST_CASE("a token that has been undecided for long is late, and no contradiction", "[theory]") {
  const Head<double> head = Head<double>::identity(2);
  const Tokens x = (Tokens(2, 3) << -1, 1, 1e-200, 0, 0, 0).finished();
  const Analysis early = analyze(head, run_rescaled(head, x, 4));
  CHECK_FALSE(early.conclusive);
  const Analysis late = analyze(head, run_rescaled(head, x, 8));
  CHECK(late.agrees());
  CHECK(*late.decided_since > 3);
  CHECK(*late.distance_to_prediction > 10 * std::exp(-8));
}

// The third token attends to the leaders (±1, −3) more than to itself, so that in the past as it is computed its row
// turns from one of them to the other. A run from 10⁻⁸ beside the tie has been there: H is near 2 log 10⁸ = 37, far
// below what double precision allows. Without that time the run is a contradiction, 0.0055 instead of 0.0052.
TEST_CASE("a tie of two leaders that a run can have held is counted", "[theory]") {
  const Head<double> head = Head<double>::identity(2);
  const Tokens x = (Tokens(2, 3) << -1, 1, 1e-8, -3, -3, -1).finished();
  const Analysis a = analyze(head, run_rescaled(head, x, 7));
  CHECK(a.agrees());
  CHECK(*a.distance_to_prediction > 6 * std::exp(-7.));
  CHECK(*a.decided_since > 2.4);
  CHECK(*a.decided_since < 3.2);
}

TEST_CASE("leaders and Boolean distance are those of P where tokens coincide modulo a subspace", "[theory]") {
  const Head<double> head = Head<double>::with_value(Eigen::Vector2d(1, -.9).asDiagonal());
  Tokens x(2, 8);
  x.row(0).setConstant(.01);
  x.row(1) << .0236, .9009, -.7117, .8973, -.3763, -.1533, .6554, -.1816;
  const Trajectory trajectory = run_rescaled(head, x, 3);
  const MatrixXd P = attnflow::RescaledDynamics<double>(head).attention(3, trajectory.states().back());
  const Analysis a = analyze(head, trajectory);
  CHECK(P.maxCoeff() < .2);
  CHECK(a.found.leaders == attnflow::leaders(P, 1e-12).indices);
  CHECK(a.found.leaders == std::vector<Index>{1, 2});
  CHECK(a.found.boolean->to_family > 1);
  CHECK(a.found.decision_margin < .1);
  CHECK(a.found.clusters.count() == 1);  // modulo the second coordinate
}

TEST_CASE("layers with V = -I need a step below 2", "[theory]") {
  const Head<double> head = Head<double>::with_value(-MatrixXd::Identity(2, 2));
  const Tokens x = start_of(10, 2, 1, 2);
  const auto of_step = [&](double step) {
    return analyze(head, 6 * step, x, x, {.variable = StateVariable::tokens, .layer_step = step});
  };
  CHECK(of_step(1.9).prediction.limit == LimitCase::origin);
  const Analysis diverging = of_step(3);
  CHECK(diverging.prediction.limit == LimitCase::none);
  CHECK(
      diverging.prediction.reason ==
      "V = -1 I: the tokens of the differential equation tend to 0, but layers of step 3 multiply their mean "
      "by -2, expected a step below 2/1 = 2");
  CHECK_FALSE(diverging.conclusive);
}

TEST_CASE("candidate points of a polytope in many dimensions are bounded, and what is left out is told",
          "[theory]") {
  const Tokens x = start_of(20, 100, 1, .1);  // scores too small to decide
  const Analysis a = analyze(Head<double>::identity(100), 0, x, x);
  CHECK_FALSE(a.conclusive);
  CHECK_FALSE(a.candidates_complete);
  CHECK(a.candidate_sets_left_out > 1e6);
}

namespace {

double uniform(attnflow::Generator& generator, double low, double high) {
  return low + (high - low) * static_cast<double>(generator() >> 11) * 0x1p-53;
}

MatrixXd uniform_matrix(attnflow::Generator& generator, Index d, double low) {
  MatrixXd A(d, d);
  for (double& entry : A.reshaped()) entry = uniform(generator, low, 1);
  return A;
}

/// Weights of one of seven kinds.
Head<double> draw_of_kind(attnflow::Generator& generator, int kind, Index d) {
  const MatrixXd I = MatrixXd::Identity(d, d), G = uniform_matrix(generator, d, -1);
  const MatrixXd A = I + .3 * uniform_matrix(generator, d, -1);  // AᵀA is positive definite
  switch (kind) {
    case 0:
      return {A, A, uniform(generator, .3, 2) * I};
    case 1:
      return Head<double>::with_value(uniform_matrix(generator, d, 0));
    case 2:
      return Head<double>::with_value((G + G.transpose()) / 2);
    case 3:
      return {A, A, G};
    case 4: {  // polytope × subspace, oblique
      Eigen::VectorXd values = Eigen::VectorXd::Ones(d);
      for (Index k = 2; k < d; ++k) values(k) = uniform(generator, -.9, .9);
      return {A, A, A * values.asDiagonal() * A.inverse()};
    }
    case 5:
      return {A, A, -uniform(generator, .3, 2) * I};
    default: {
      MatrixXd V = (Eigen::VectorXd::Ones(d) * uniform(generator, .3, 2)).asDiagonal();
      for (Index k = 1; k < d; ++k) V(k, k) *= uniform(generator, -.9, .95);
      return {A, A, V};
    }
  }
}

}  // namespace

// Theorems hold. So no verdict on a run may be false, and no true one may be taken back by a longer run.
TEST_CASE("a verdict is not taken back", "[theory]") {
  attnflow::Generator generator(11);
  Index told = 0, draws = 0;
  for (int kind = 0; kind < 7; ++kind)
    for (int k = 0; k < (kind == 2 ? 60 : 8); ++k) {
      const Index d = kind == 0 && k < 4 ? 1 : kind == 4 ? 3 + k % 2 : k >= 8 ? 12 : 2 + k % 3;
      const Head<double> head = draw_of_kind(generator, kind, d);
      const attnflow::Prediction prediction = attnflow::predict_limit(head);
      if (prediction.limit == LimitCase::none) continue;
      const bool origin = prediction.limit == LimitCase::origin;
      const double rate = origin ? -head.V(0, 0) : prediction.rate;
      const InvariantBasis basis = attnflow::invariant_basis(head.V);
      const Head<double> inside{head.Q * basis.basis, head.K * basis.basis, basis.blocks};
      AnalyzeOptions options;
      if (origin)
        options.variable = StateVariable::tokens;
      else
        options.coordinates = &basis;
      Tokens x = start_of(12, d, 100 + static_cast<unsigned>(k), k % 2 == 0 ? 1 : 5);
      if (!origin) x = basis.inverse * x;
      const std::vector<double> times{0,        1 / rate,  2 / rate,  4 / rate,
                                      8 / rate, 14 / rate, 20 / rate, 40 / rate};
      Trajectory run(times);
      Tokens end = x;
      // An absolute tolerance as fits coordinates that grow.
      const attnflow::AdaptiveSteps plan{.to = times.back(), .atol = 1e-6};
      if (origin)
        (void)attnflow::integrate(attnflow::TokenDynamics<double>(head), attnflow::DormandPrince5<Tokens>{},
                                  end, plan, run);
      else
        (void)attnflow::integrate(attnflow::RescaledDynamics<double>(inside),
                                  attnflow::DormandPrince5<Tokens>{}, end, plan, run);
      REQUIRE(run.size() > 5);  // a step limit may end a run early
      bool before = false;
      INFO("kind " << kind << ", draw " << k << ", " << attnflow::name_of(prediction.limit));
      for (std::size_t i = 1; i < run.size(); ++i) {
        const Analysis a = analyze(head, times[i], run.states()[0], run.states()[i], options);
        INFO("t = " << times[i]);
        CHECK(a.agrees() == a.conclusive);
        CHECK(a.agrees() >= before);
        before = a.agrees();
        if (i == 4) told += before;
      }
      ++draws;
    }
  CHECK(draws > 40);
  CHECK(3 * told >= 2 * draws);
}

TEST_CASE("where no theorem applies the finding stands alone", "[theory]") {
  const Head<double> turning = Head<double>::with_value(matrix(2, {1, -1, 1, 1}));
  const Analysis a = analyze(turning, run_rescaled(turning, start_of(20, 2), 6));
  CHECK(a.prediction.limit == LimitCase::none);
  CHECK_FALSE(a.distance_to_prediction);
  CHECK_FALSE(a.conclusive);
  CHECK(a.found.clusters.count() > 1);
  // Several heads: positions are those of the tokens.
  const std::vector<Head<double>> heads{Head<double>::identity(2), plane_head()};
  const Trajectory trajectory = run(attnflow::TokenDynamics<double>(heads), start_of(8, 2, 1, 1), 2);
  const Analysis b = analyze(heads, trajectory, {.variable = StateVariable::tokens});
  CHECK(b.prediction.limit == LimitCase::none);
  CHECK_FALSE(b.found.boolean);
  CHECK_FALSE(b.found.rank);
  CHECK_FALSE(b.found.leaders.empty());
}

TEST_CASE("an analysis of few tokens, of none, and of extreme ones", "[theory]") {
  const Head<double> head = Head<double>::identity(2);
  const Analysis none = analyze(head, 1, Tokens(2, 0), Tokens(2, 0));
  CHECK(none.found.clusters.count() == 0);
  CHECK_FALSE(none.distance_to_prediction);
  const Tokens single = (Tokens(2, 1) << 1, 2).finished();
  const Analysis one = analyze(head, 10, single, single);
  CHECK(one.found.clusters.count() == 1);
  CHECK(one.found.leaders == std::vector<Index>{0});
  CHECK(*one.distance_to_prediction == 0);
  const Tokens zeros = Tokens::Zero(2, 5);
  CHECK(analyze(head, 10, zeros, zeros).found.clusters.count() == 1);
  const Tokens equal = single.replicate(1, 4);
  CHECK(analyze(head, 10, equal, equal).found.leaders == std::vector<Index>{0});
  const Tokens huge =
      Tokens::Constant(2, 3, 1e308).cwiseProduct((Tokens(2, 3) << 1, -1, 1, -1, 1, 1).finished());
  const Analysis far = analyze(head, 10, huge, huge);
  CHECK(far.found.clusters.count() == 3);
  CHECK_FALSE(far.distance_to_prediction);
  // float: rounding is that of the states, not that of the computation.
  const Tokens x = start_of(15, 2);
  const attnflow::Tokens<float> start = x.cast<float>();
  attnflow::Tokens<float> z = start;
  const attnflow::RescaledDynamics<float> field(Head<float>::identity(2));
  (void)attnflow::integrate(field, attnflow::DormandPrince5<attnflow::Tokens<float>>{}, z,
                            {.to = 12, .rtol = 1e-5, .atol = 1e-6});
  const Analysis single_precision = analyze(Head<float>::identity(2), 12, start, z, {.accuracy = 1e-4});
  const Analysis reference = analyze(head, run_rescaled(head, x, 12));
  CHECK(single_precision.agrees());
  CHECK(single_precision.found.clusters == reference.found.clusters);
}

TEST_CASE("what cannot be analysed is refused in words", "[theory]") {
  const Head<double> head = Head<double>::identity(2);
  const Tokens x = start_of(3, 2);
  Tokens bad = x;
  bad(1, 2) = std::numeric_limits<double>::infinity();
  CHECK(refusal([&] { (void)analyze(head, -1, x, x); }) ==
        "analyze: t is -1, expected a finite time, at least 0");
  CHECK(refusal([&] { (void)analyze(head, 1, x, bad); }) == "analyze: state has an entry that is not finite");
  CHECK(refusal([&] { (void)analyze(head, 1, x, start_of(4, 2)); }) ==
        "analyze: state has 4 tokens, expected 3 as start has");
  CHECK(refusal([&] { (void)analyze(head, 1, start_of(3, 3), x); }) ==
        "analyze: start has 3 rows, expected d = 2");
  CHECK(refusal([&] { (void)analyze(std::vector<Head<double>>{}, 1, x, x); }) ==
        "analyze: no head given, expected at least one");
  CHECK(
      refusal([&] {
        (void)analyze(std::vector{head, head}, 1, x, x);
      }) ==
      "analyze: variable is rescaled with 2 heads, expected tokens: several heads have no common rescaling");
  CHECK(refusal([&] {
          (void)analyze(head, Trajectory({0, 1}));
        }) == "analyze: the trajectory is empty, expected at least one state");
  CHECK(refusal([&] { (void)analyze(head, 1, x, x, {.layer_step = -1}); }) ==
        "analyze: layer_step is -1, expected zero or a positive number");
}

// The high-dimensional experiment of arXiv:2305.05465, Section 11, with its equation corrected: a sparse symmetric V
// whose small eigenvalues are moved to modulus 1 … 2, Q = K = I. In 128 dimensions it is a statement of the theorem
// laboratory (examples/programs/theorems.cpp); here are fewer.
TEST_CASE("in many dimensions one or two tokens lead", "[theory]") {
  const Index d = 24;
  std::size_t most_leaders = 0;
  for (const unsigned seed : {7u, 8u, 9u}) {
    attnflow::Generator generator(seed);
    const auto unit = [&] { return static_cast<double>(generator() >> 11) * 0x1p-53; };
    MatrixXd sparse = MatrixXd::Zero(d, d);
    for (double& entry : sparse.reshaped())
      if (unit() < .5) entry = unit();
    const attnflow::detail::SymmetricEigen eigen =
        attnflow::detail::symmetric_eigen("test", (sparse + sparse.transpose()) / 2, true);
    Eigen::VectorXd values = eigen.values;
    for (double& lambda : values)
      if (std::abs(lambda) <= 1) lambda = (lambda < 0 ? -1 : 1) * (1 + unit());
    // In eigen-coordinates, in which growing ones do not round away the others: V is diagonal, Q = K = I as before.
    const Head<double> head = Head<double>::with_value(values.asDiagonal());
    const Tokens x = eigen.vectors.transpose() * attnflow::uniform_box(generator, d, d, -.5, .5);
    const double end = 15;
    const Trajectory trajectory = run_rescaled(head, x, end);
    const Analysis a = analyze(head, trajectory);
    CHECK(a.prediction.limit == LimitCase::hyperplanes);
    CHECK(a.agrees());
    CHECK(a.found.leaders.size() <= 2);
    most_leaders = std::max(most_leaders, a.found.leaders.size());
    const auto leaders = static_cast<Index>(a.found.leaders.size());
    CHECK(a.found.rank->rank == leaders);
    CHECK(a.found.clusters.count() == leaders);
    CHECK(a.prediction.unstable_dimension == (values.array() > 0).count());
    CHECK(a.prediction.unstable_dimension < d);
    const Tokens& z = trajectory.states().back();
    CHECK(z.cwiseAbs().maxCoeff() > 1e8);
    for (Index k = 0; k < d; ++k) {
      if (values(k) > 0) {
        CHECK(attnflow::detect_clusters(z.row(k), 1e-3).count() <= leaders);
      } else {  // grows like e^{|λ| t}: from t = 12 to 15
        const double before = trajectory.states()[80].row(k).cwiseAbs().maxCoeff();
        const double growth =
            std::log(z.row(k).cwiseAbs().maxCoeff() / before) / (end - trajectory.times()[80]);
        CHECK(growth == Approx(-values(k)).epsilon(.04));
      }
    }
  }
  CHECK(most_leaders == 2);
}
