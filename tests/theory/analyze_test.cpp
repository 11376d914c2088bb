#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/theory/analyze.hpp>
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
  CHECK_FALSE(analyze(plane, 10, x, z).agrees());
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
// laboratory (examples/theorems.cpp); here are fewer.
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
